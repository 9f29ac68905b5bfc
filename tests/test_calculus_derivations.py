"""Derivations as the lecture writes them: its worked examples line by line, styles, points, marking."""

import numpy as np
import pytest

import fallline as fl
from fallline import calculus


def lines(derivation):
    """Return the equality chain that is printed."""
    return [line.split("=", 1)[1].strip() for line in str(derivation).splitlines() if "=" in line]


# The lecture's examples, section B, typed from it.
LECTURE = {
    ("x + y", "x"): ["∂/∂x [x + y]", "∂/∂x x + ∂/∂x y", "1 + 0", "1"],
    ("x + y", "y"): ["∂/∂y [x + y]", "∂/∂y x + ∂/∂y y", "0 + 1", "1"],
    ("2*x + 3*y**2", "x"): [
        "∂/∂x [2x + 3y²]",
        "∂/∂x 2x + ∂/∂x 3y²",
        "2·∂/∂x x + 3·∂/∂x y²",
        "2·1 + 3·0",
        "2",
    ],
    ("2*x + 3*y**2", "y"): [
        "∂/∂y [2x + 3y²]",
        "∂/∂y 2x + ∂/∂y 3y²",
        "2·∂/∂y x + 3·∂/∂y y²",
        "2·0 + 3·2y¹",
        "6y",
    ],
    ("x*y", "x"): ["∂/∂x [x·y]", "y ∂/∂x x", "y·1", "y"],
    ("x*y", "y"): ["∂/∂y [x·y]", "x ∂/∂y y", "x·1", "x"],
    ("3*x**3*z - y**2 + 5*z + 2*y*z", "x"): [
        "∂/∂x 3x³z − ∂/∂x y² + ∂/∂x 5z + ∂/∂x 2yz",
        "3z·∂/∂x x³ − ∂/∂x y² + 5·∂/∂x z + 2·∂/∂x yz",
        "3z·3x² − 0 + 5·0 + 2·0",
        "9x²z",
    ],
    ("3*x**3*z - y**2 + 5*z + 2*y*z", "y"): [
        "3·∂/∂y x³z − ∂/∂y y² + 5·∂/∂y z + 2z·∂/∂y y",
        "3·0 − 2y + 5·0 + 2z·1",
        "−2y + 2z",
    ],
    ("3*x**3*z - y**2 + 5*z + 2*y*z", "z"): [
        "3x³·∂/∂z z − ∂/∂z y² + 5·∂/∂z z + 2y·∂/∂z z",
        "3x³·1 − 0 + 5·1 + 2y·1",
        "3x³ + 5 + 2y",
    ],
}


@pytest.mark.parametrize(("text", "variable"), LECTURE)
def test_the_lectures_lines(text, variable):
    derivation = calculus.explain(text).partials[variable]
    assert lines(derivation) == LECTURE[text, variable]
    assert str(derivation).startswith(f"∂/∂{variable} f = ")


def test_the_lectures_gradient_is_a_column():
    printed = str(calculus.explain("3*x**3*z - y**2 + 5*z + 2*y*z"))
    assert printed.startswith("f(x, y, z) = 3x³z − y² + 5z + 2yz\n")
    column = [line.strip("∇f= ⎡⎢⎣⎤⎥⎦") for line in printed.splitlines()[-3:]]
    assert column == ["9x²z", "−2y + 2z", "3x³ + 5 + 2y"]


def test_the_text_may_be_written_by_hand():
    for text in ("3x^3 z - y^2 + 5z + 2 y z", "3x³z − y² + 5z + 2·y·z"):
        assert calculus.parse(text, "x y z") == calculus.parse("3*x**3*z - y**2 + 5*z + 2*y*z")


def test_one_rule_a_line():
    derivation = calculus.explain("x*sin(x**2)", "x", style="every-rule")
    assert [line.rule.partition(":")[0] for line in derivation.lines] == [
        "", "product rule", "identity rule", "chain rule with the sine rule", "power rule", "simplified",
    ]  # fmt: skip
    assert lines(derivation) == [
        "d/dx [x·sin(x²)]",
        "d/dx [x]·sin(x²) + x d/dx sin(x²)   product rule: f = x, g = sin(x²)",
        "1·sin(x²) + x d/dx sin(x²)          identity rule",
        "1·sin(x²) + x·cos(x²)·d/dx x²       chain rule with the sine rule: u = x², f'(u) = cos(x²)",
        "1·sin(x²) + x·cos(x²)·(2x)          power rule: n = 2",
        "sin(x²) + 2x²·cos(x²)               simplified",
    ]


def test_understood_rules_have_no_line():
    shown = calculus.explain("x*sin(x**2)", "x", style="every-rule", understood={"identity", "power"})
    assert not any(line.rule.startswith(("identity", "power")) for line in shown.lines)
    assert shown.result == calculus.differentiate("x*sin(x**2)", "x")


def test_maxsteps_leaves_out_the_middle():
    derivation = calculus.explain("exp(sin(cos(x**2)))", "x", maxsteps=3)
    printed = lines(derivation)
    assert derivation.shortened
    assert len(printed) == 4  # three, and the dots
    assert printed[-2] == "…"
    assert printed[-1] == lines(calculus.explain("exp(sin(cos(x**2)))", "x"))[-1]


def test_higher_and_mixed_derivatives():
    second = calculus.explain("x**3*y", ["x", "y"])
    assert second.result == calculus.parse("3*x**2")
    assert "∂/∂y ∂/∂x f" in str(second)
    assert second.previous.result == calculus.parse("3*x**2*y")
    assert calculus.explain("x**4", ["x", "x"]).result == calculus.parse("12*x**2")
    assert calculus.differentiate("x**4", "x", "x", "x") == calculus.parse("24*x")


def test_at_a_point():
    derivation = calculus.explain("x**2*y", "x", at={"x": 3, "y": 2})
    assert float(derivation.value()) == 12
    assert str(derivation).splitlines()[-1] == "at x = 3, y = 2: 2·3·2 = 12"
    assert "≈ −5.985951462" in str(calculus.explain("x*sin(x**2)", "x", at={"x": 2}))


def test_jacobian_and_hessian():
    assert calculus.jacobian(["x*y", "x + y**2"]) == (
        (calculus.parse("y"), calculus.parse("x")),
        (calculus.parse("1"), calculus.parse("2*y")),
    )
    hessian = calculus.hessian("x**2*y + y**3")
    assert hessian[0][1] is hessian[1][0]


def test_functions_of_python():
    assert calculus.explain(lambda x, y: x * y).gradient == (calculus.parse("y"), calculus.parse("x"))


def test_plain_text_is_ascii():
    assert calculus.explain("x**2*y + 1/x", at={"x": -1}).text("text").splitlines() == [
        "f(x, y) = x**2*y + 1/x",
        "",
        "d/dx f = d/dx [x**2*y + 1/x]",
        "       = d/dx [x**2*y] + d/dx [1/x]",
        "       = y*(d/dx [x**2]) + d/dx [1/x]",
        "       = y*(d/dx [x**2]) + (d/dx [1]*x - 1*(d/dx [x]))/x**2",
        "       = y*(2*x**1) + (0*x - 1*1)/x**2",
        "       = 2*x*y - 1/x**2",
        "for x != 0",
        "at x = -1: 2*(-1)*y - 1/(-1)**2 = -2*y - 1",
        "",
        "d/dy f = d/dy [x**2*y + 1/x]",
        "       = d/dy [x**2*y] + d/dy [1/x]",
        "       = x**2*(d/dy [y]) + d/dy [1/x]",
        "       = x**2*1 + 0",
        "       = x**2",
        "at x = -1: (-1)**2 = 1",
        "",
        "grad f = [ 2*x*y - 1/x**2 ]",
        "         [ x**2           ]",
    ]
    shown = calculus.explain("x*sqrt(x**-2)", "x", style="every-rule", at={"x": -3}, maxsteps=3).text("text")
    assert shown.isascii()


def test_latex_is_balanced():
    for text, _ in LECTURE:
        latex = calculus.explain(text).text("latex")
        assert latex.count("{") == latex.count("}")
        assert latex.count(r"\begin") == latex.count(r"\end") >= 1
    assert calculus.parse("x**2/3 + sqrt(y)").latex == r"\frac{x^{2}}{3} + \sqrt{y}"
    assert "\\frac{\\mathrm{d}}{\\mathrm{d}x}" in calculus.explain("x**2", "x").text("latex")


def test_notebooks_show_tables():
    html = calculus.explain("3*x**3*z - y**2")._repr_html_()
    assert html.count("<table") == html.count("</table>") >= 3
    assert "<sup>3</sup>" in html
    assert "<td>✓</td>" in calculus.check_steps("x", "x", ["1 + 0*x"])._repr_html_()


def test_derivations_agree_with_numbers():
    for text in ("x*sin(x)", "x**x", "exp(x)/x", "log(x)**2"):
        assert calculus.explain(text, "x").verify() > 2
    assert calculus.explain("x**2*y").verify(rng=3) > 2


# ---- marking


@pytest.mark.parametrize(
    ("text", "written", "wrong", "comment"),
    [
        ("(2*x + 1)**3", ["3*(2*x + 1)**2"], 0, "chain rule"),
        ("sin(x**2)", ["cos(x**2)"], 0, "chain rule"),
        ("exp(3*x)", ["exp(3*x)"], 0, "chain rule"),
        ("x**2*exp(x)", ["2*x*exp(x)"], 0, "product rule: the derivatives of the factors were multiplied"),
        ("x**2*sin(x)", ["2*x*sin(x) - x**2*cos(x)"], 0, "product rule: the sign"),
        ("5*x**3", ["3*x**2"], 0, "constant factor 5 was lost"),
        ("x**5", ["x**4"], 0, "power rule: the factor 5 was lost"),
        ("x**5", ["5*x**5"], 0, "power rule"),
        ("x**(-3)", ["-3*x**(-2)"], 0, "power rule: the exponent was raised instead of lowered"),
        ("x**2 + 7", ["2*x + 7"], 0, "7"),
        ("x**2 - sin(x)", ["2*x + cos(x)"], 0, "sign"),
        ("cos(x)", ["sin(x)"], 0, "sign"),
        ("x/sin(x)", ["1/cos(x)"], 0, "quotient rule"),
        ("x**2 + 3*x", ["d/dx x**2 + d/dx 3*x", "2*x + 3", "2*x + 4"], 2, "not equal to the line before"),
        ("x**2 + 3*x", ["2*x + 3", "2*x - 3"], 1, "the sign of 3 was changed"),
    ],
)
def test_mistakes_are_found_where_they_are(text, written, wrong, comment):
    marking = calculus.check_steps(text, "x", written)
    assert marking.first_wrong == wrong
    assert not marking.passed
    assert comment in marking.marks[wrong].comment, marking


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("x**2", "2x"),
        ("x**2", "f'(x) = 2x"),
        ("x**2", "d/dx f = d/dx [x^2] = 2*x"),
        ("sin(x)*x", ["cos(x)*x + sin(x) * d/dx x", "x*cos(x) + sin(x)"]),
        ("(x + 1)**2", ["2*(x + 1)", "2*x + 2"]),
        ("3*x**3*z - y**2 + 5*z", "3z * d/dx x**3 - d/dx y**2 + 5 * d/dx z = 9x^2 z"),
        ("log(x)", "1/x"),
    ],
)
def test_right_derivations_pass(text, written):
    marking = calculus.check_steps(text, "x", written)
    assert marking.passed, marking
    assert str(marking).endswith("All lines are right.")


def test_an_unfinished_derivation():
    marking = calculus.check_steps("x**3", "x", ["3 * x**2 * d/dx x"])
    assert marking.first_wrong is None
    assert not marking.passed
    assert "a derivative is still to be taken" in str(marking)


def test_lines_after_a_wrong_one():
    marking = calculus.check_steps("sin(x**2)", "x", ["cos(x**2)", "cos(x**2)*1"])
    assert [mark.right for mark in marking.marks] == [False, False]
    assert marking.marks[1].comment == "follows from the line before"


def test_the_same_mistake_in_numbers():
    marking = calculus.check_steps("(2*x + 1)**3", "x", ["3*(2*x + 1)**2"])
    wrong = fl.compile("3*(2*x + 1)**2")
    report = fl.check_gradient(fl.compile("(2*x + 1)**3"), lambda x: np.array([wrong(x)]), np.array([0.7]))
    assert (marking.passed, report.verdict) == (False, "fail")
