"""LaTeX read back by SymPy, in 90 digits: what is printed means the function that it stands for."""

import re

import hypothesis
import mpmath
import pytest
import sympy

from fallline import calculus
from fallline.calculus.expression import Derivative, postorder
from test_calculus_derivations import LECTURE
from test_calculus_rules import BY_RULE, IN_MPMATH, Undefined, mp_value, parsed, sample, texts

pytest.importorskip("antlr4", reason="SymPy reads LaTeX with it")
from sympy.parsing.latex import parse_latex

# What SymPy's grammar has no words for becomes a function, a variable or a constant of one letter.
LETTERS = {
    r"\operatorname{sigmoid}": "S", r"\operatorname{softplus}": "P", r"\operatorname{relu}": "R",
    r"\operatorname{sign}": "N", r"\operatorname{step}": "H", r"\mathrm{e}": "E", r"\mathrm{rate}": "Q",
}  # fmt: skip
OPENED, CLOSED = r"A\left(", r"\right)"
MEANING = {
    **{letter: IN_MPMATH[re.search(r"\{(\w+)", name)[1]] for name, letter in LETTERS.items() if "operator" in name},
    "A": abs, "max": max, "min": min,
}  # fmt: skip
OURS = {"x_{1}": "x1", "Q": "rate"}  # what we call the variables that SymPy reads otherwise
POINTS = [("0.37", "1.21", "0.7"), ("1.9", "0.63", "2.2"), ("0.83", "2.4", "1.6")]


def by_sympy(latex):
    for name, letter in LETTERS.items():
        latex = latex.replace(name, letter)
    latex = latex.replace(r"\left|", OPENED).replace(r"\right|", CLOSED)
    assert not re.search(r"\\(?:operatorname|mathrm)", latex), latex
    return parse_latex(latex, backend="antlr")


def same(expr, names=("x", "y", "z")):
    """Compare an expression with its LaTeX at the points where it is defined; return at how many.

    `names` are those of the variables where SymPy reads them.
    """
    theirs = by_sympy(expr.latex)
    symbols = [sympy.Symbol(name) for name in names]
    constants = {sympy.Symbol("pi"): sympy.pi, sympy.Symbol("E"): sympy.E}
    evaluate = sympy.lambdify(symbols, theirs.subs(constants), modules=[MEANING, "mpmath"])
    compared = 0
    with mpmath.workdps(90):
        for point in POINTS:
            values = {OURS.get(name, name): mpmath.mpf(value) for name, value in zip(names, point, strict=False)}
            try:
                truth = mp_value(expr, **values)
            except Undefined:
                continue
            read = evaluate(*map(mpmath.mpf, point))
            assert abs(read - truth) <= mpmath.mpf("1e-60") * max(1, abs(truth)), (expr.text, expr.latex, str(theirs))
            compared += 1
    return compared


@pytest.mark.parametrize("text", [text for text, _ in LECTURE] + [text for pair in BY_RULE.values() for text in pair])
def test_the_catalogue(text):
    expr = calculus.parse(text)
    assert same(expr) > 0
    for name in expr.variables:
        for style in ("lecture", "every-rule"):
            for line in calculus.explain(expr, name, style=style).lines:
                if not any(isinstance(node, Derivative) for node in postorder(line.expr)):
                    same(line.expr)


@sample
@hypothesis.given(texts())
def test_derivatives_of_what_hypothesis_makes(text):
    expr = parsed(text)
    hypothesis.assume("x" in expr.variables)
    same(expr)
    same(calculus.differentiate(expr, "x"))


def test_names_of_several_letters():
    assert calculus.parse("rate").latex == r"\mathrm{rate}"
    expr = calculus.parse("2*x1*alpha - rate*x1**2/alpha")
    assert same(expr, ("x_{1}", "alpha", "Q")) == 3


@pytest.mark.parametrize(
    ("latex", "right"),
    [("x - y", "x + y"), ("x + y z", "(x + y)*z"), ("x^{y} + 1", "x**(y + 1)"), (r"\left|x - y\right|", "x - y")],
)
def test_the_comparison_compares(monkeypatch, latex, right):
    """A sign, a bracket or an exponent that is lost on the way to LaTeX is seen."""
    expr = calculus.parse(right)
    assert same(expr) == 3
    monkeypatch.setattr(type(expr), "latex", latex)
    with pytest.raises(AssertionError):
        same(expr)
