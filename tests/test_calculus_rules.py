"""Derivatives by rule against SymPy and 90-digit arithmetic, on expressions that hypothesis makes.

`make derivations` takes thousands of them, the suite a sample.
"""

import functools
import os
from fractions import Fraction

import hypothesis
import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import strategies as st

from fallline import calculus
from fallline.calculus.expression import Constant, Derivative, Number, Symbol, postorder
from fallline.calculus.rules import RULES, derive

EXAMPLES = int(os.environ.get("FALLLINE_EXAMPLES", "60"))
sample = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
)

X, Y = sympy.symbols("x y", positive=True)
ONE_SIDED = ("relu", "abs", "max", "min")
SMOOTH = ("exp", "log", "sqrt", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "sigmoid", "softplus")
IN_SYMPY = {
    "sigmoid": lambda u: 1 / (1 + sympy.exp(-u)),
    "softplus": lambda u: sympy.log(1 + sympy.exp(u)),
    "relu": lambda u: sympy.Max(u, 0),
    "abs": sympy.Abs,
    "max": sympy.Max,
    "min": sympy.Min,
    "x": X,
    "y": Y,
    "e": sympy.E,
}
IN_MPMATH = {
    **{name: getattr(mpmath, name) for name in ("exp", "log", "sin", "cos", "tan", "asin", "acos", "atan")},
    **{name: getattr(mpmath, name) for name in ("sqrt", "sinh", "cosh", "tanh", "sign")},
    "sigmoid": lambda u: 1 / (1 + mpmath.exp(-u)),
    "softplus": lambda u: mpmath.log1p(mpmath.exp(u)),
    "relu": lambda u: max(u, mpmath.mpf(0)),
    "step": lambda u: mpmath.mpf(u > 0),
    "abs": abs,
    "max": max,
    "min": min,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "neg": lambda a: -a,
}


class Undefined(Exception):
    """The expression has no real value at the point."""


def mp_value(expr, **point):
    """Evaluate in 90 digits, by code that shares nothing with the package's."""
    made = {}
    for node in postorder(expr):
        args = [made[id(arg)] for arg in node.args]
        if isinstance(node, Number):
            made[id(node)] = mpmath.mpf(node.value.numerator) / node.value.denominator
        elif isinstance(node, Symbol):
            made[id(node)] = point[node.name]
        elif isinstance(node, Constant):
            made[id(node)] = mpmath.pi if node.name == "pi" else mpmath.e
        else:
            try:
                made[id(node)] = IN_MPMATH[node.op](*args)
            except (ZeroDivisionError, ValueError, OverflowError) as error:
                raise Undefined from error
        value = made[id(node)]
        if isinstance(value, mpmath.mpc) or not mpmath.isfinite(value):
            raise Undefined
    return made[id(expr)]


def texts(functions=(*SMOOTH, *ONE_SIDED)):
    """Return a strategy for texts in x and y."""
    numbers = st.sampled_from(["1", "2", "3", "5", "0.5", "1.25", "10"])
    leaves = st.one_of(st.sampled_from(["x", "x", "y", "pi"]), numbers)

    def extend(inner):
        binary = st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner)
        powers = st.builds("({})**{}".format, inner, st.sampled_from(["2", "3", "(-1)", "0.5", "x", "y"]))
        exponentials = st.builds("{}**({})".format, st.sampled_from(["2", "e"]), inner)
        calls = st.builds("{}({})".format, st.sampled_from([f for f in functions if f not in ("max", "min")]), inner)
        twos = st.builds("{}({}, {})".format, st.sampled_from(["max", "min"]), inner, inner)
        signs = st.builds("-({})".format, inner)
        return st.one_of(binary, binary, calls, powers, signs, exponentials, *([twos] if "max" in functions else []))

    return st.recursive(leaves, extend, max_leaves=7)


def heaviside(u, *_):
    return mpmath.mpf((u > 0) + (u >= 0)) / 2


def compared_at(text, ours, theirs):
    """Compare an expression of ours with one of SymPy's at points where both are defined; return at how many."""
    compared = 0
    evaluate = sympy.lambdify((X, Y), theirs, modules=["mpmath", {"Heaviside": heaviside}])
    with mpmath.workdps(90):
        for x, y in (("0.37", "1.21"), ("1.9", "0.63"), ("0.83", "2.4")):
            point = {"x": mpmath.mpf(x), "y": mpmath.mpf(y)}
            try:
                value, truth = mp_value(ours, **point), evaluate(point["x"], point["y"])
            except (Undefined, ZeroDivisionError, ValueError, OverflowError, TypeError):
                continue
            if isinstance(truth, mpmath.mpc) or not mpmath.isfinite(truth) or abs(truth) > 1e12:
                continue
            assert abs(value - truth) <= 1e-18 * max(1, abs(truth)), (text, str(ours), str(theirs), point)
            compared += 1
    return compared


def in_sympy(text):
    try:
        return sympy.sympify(text.replace("^", "**"), locals=IN_SYMPY, rational=True)
    except (ZeroDivisionError, OverflowError):
        hypothesis.reject()


def parsed(text):
    try:
        return calculus.parse(text)
    except calculus.ParseError as error:
        hypothesis.assume("constant 0" not in str(error))
        raise


@sample
@hypothesis.given(texts())
def test_results_against_sympy(text):
    expr = parsed(text)
    hypothesis.assume("x" in expr.variables)
    theirs = in_sympy(text)
    hypothesis.assume(not theirs.has(sympy.zoo, sympy.nan, sympy.I))
    derivative = sympy.diff(theirs, X)
    hypothesis.assume(not derivative.has(sympy.zoo, sympy.nan, sympy.I, sympy.Derivative, sympy.DiracDelta))
    hypothesis.event(f"compared at {compared_at(text, calculus.differentiate(expr, 'x'), derivative)} points")


@sample
@hypothesis.given(texts(SMOOTH))
def test_second_and_mixed_derivatives_against_sympy(text):
    expr = parsed(text)
    hypothesis.assume(expr.variables == ("x", "y"))
    theirs = in_sympy(text)
    hypothesis.assume(not theirs.has(sympy.zoo, sympy.nan, sympy.I))
    mixed, second = sympy.diff(theirs, X, Y), sympy.diff(theirs, Y, Y)
    hypothesis.assume(not (mixed.has(sympy.DiracDelta) or second.has(sympy.DiracDelta)))
    compared_at(text, calculus.differentiate(expr, "x", "y"), mixed)
    compared_at(text, calculus.hessian(expr)[1][1], second)


@sample
@hypothesis.given(texts())
def test_every_step_and_every_line_is_an_equality(text):
    expr = parsed(text)
    hypothesis.assume("x" in expr.variables)
    for style in ("lecture", "every-rule"):
        derivation = calculus.explain(expr, "x", style=style)
        derivation.verify()
        assert derivation.lines[-1].expr == derivation.result
        assert not any(isinstance(node, Derivative) for node in postorder(derivation.result))
        for notation in ("unicode", "text", "latex"):
            assert derivation.text(notation)
        assert derivation.text("text").isascii()


@sample
@hypothesis.given(texts())
def test_simplifying_changes_no_value(text):
    expr = parsed(text)
    simple = calculus.simplify(expr)
    with mpmath.workdps(90):
        for x, y in (("0.37", "1.21"), ("1.9", "0.63"), ("-0.8", "0.4")):
            point = {"x": mpmath.mpf(x), "y": mpmath.mpf(y)}
            try:
                before = mp_value(expr, **point)
            except Undefined:
                continue
            after = mp_value(simple, **point)
            assert abs(before - after) <= 1e-25 * max(1, abs(before)), (text, str(simple))
    assert calculus.simplify(simple) == simple


@sample
@hypothesis.given(texts())
def test_text_is_read_back_as_the_same_expression(text):
    expr = parsed(text)
    assert calculus.parse(expr.text) == expr
    simple = calculus.simplify(expr)
    assert calculus.parse(simple.text) == simple


@sample
@hypothesis.given(texts())
def test_exchange_with_sympy_keeps_the_value(text):
    expr = parsed(text)
    try:
        theirs = calculus.to_sympy(expr)
    except ZeroDivisionError:
        return
    if theirs.has(sympy.zoo, sympy.nan, sympy.I, sympy.oo, sympy.re, sympy.im, sympy.arg):
        return  # SymPy does not take its symbols for real
    again = calculus.from_sympy(theirs)
    with mpmath.workdps(90):
        point = {"x": mpmath.mpf("0.37"), "y": mpmath.mpf("1.21")}
        try:
            before, after = mp_value(expr, **point), mp_value(again, **point)
        except Undefined:
            return
        assert abs(before - after) <= 1e-12 * max(1, abs(before)), (text, str(again))


@sample
@hypothesis.given(texts())
def test_a_right_derivation_is_marked_right(text):
    expr = parsed(text)
    hypothesis.assume("x" in expr.variables)
    at = {name: np.array([0.3, 0.9, 2.7]) for name in expr.variables}
    derivation = calculus.explain(expr, "x")
    slope = derivation.step.result  # not simplified: x - x below a root makes it NaN everywhere
    hypothesis.assume(np.isfinite(slope(**{name: at[name] for name in slope.variables})).any())
    marking = calculus.check_steps(expr, "x", [line.expr.text for line in derivation.lines])
    assert marking.first_wrong is None, str(marking)


# ---- each rule by its statement

BY_RULE = {
    "constant": ("7", "0"),
    "identity": ("x", "1"),
    "linear": ("3*x + 2", "3"),
    "constant multiple": ("5*sin(x)", "5*cos(x)"),
    "sum": ("sin(x) + exp(x)", "cos(x) + exp(x)"),
    "difference": ("sin(x) - exp(x)", "cos(x) - exp(x)"),
    "power": ("x**7", "7*x**6"),
    "product": ("sin(x)*exp(x)", "cos(x)*exp(x) + sin(x)*exp(x)"),
    "quotient": ("sin(x)/x", "(cos(x)*x - sin(x))/x**2"),
    "chain": ("sin(x**2)", "cos(x**2)*2*x"),
    "exponential": ("2**x", "2**x*log(2)"),
    "logarithm": ("log(x)", "1/x"),
    "general power": ("x**x", "x**x*(log(x) + 1)"),
    "sine": ("sin(x)", "cos(x)"),
    "cosine": ("cos(x)", "-sin(x)"),
    "tangent": ("tan(x)", "1/cos(x)**2"),
    "inverse sine": ("asin(x)", "1/sqrt(1 - x**2)"),
    "inverse cosine": ("acos(x)", "-1/sqrt(1 - x**2)"),
    "inverse tangent": ("atan(x)", "1/(1 + x**2)"),
    "hyperbolic sine": ("sinh(x)", "cosh(x)"),
    "hyperbolic cosine": ("cosh(x)", "sinh(x)"),
    "hyperbolic tangent": ("tanh(x)", "1 - tanh(x)**2"),
    "sigmoid": ("sigmoid(x)", "sigmoid(x)*(1 - sigmoid(x))"),
    "softplus": ("softplus(x)", "sigmoid(x)"),
    "relu": ("relu(x)", "step(x)"),
    "absolute value": ("abs(x)", "sign(x)"),
    "piecewise constant": ("sign(x)", "0"),
    "maximum": ("max(x, x**2)", "((1 + sign(x - x**2))*1 + (1 - sign(x - x**2))*2*x)/2"),
    "minimum": ("min(x, x**2)", "((1 + sign(x**2 - x))*1 + (1 - sign(x**2 - x))*2*x)/2"),
}


def test_every_rule_has_a_row():
    assert set(BY_RULE) == set(RULES)


@pytest.mark.parametrize("rule", BY_RULE)
def test_rules_by_their_statements(rule):
    text, derivative = BY_RULE[rule]
    expr = calculus.parse(text)
    assert derive(expr, "x").rule == rule
    found = calculus.differentiate(expr, "x")
    with mpmath.workdps(90):
        for x in ("0.3", "0.71"):
            ours, truth = (mp_value(one, x=mpmath.mpf(x)) for one in (found, calculus.parse(derivative)))
            assert abs(ours - truth) <= 1e-30 * max(1, abs(truth))


@pytest.mark.parametrize(
    ("text", "at", "value"),
    [
        ("abs(x)", 0, 0), ("relu(x)", 0, 0), ("max(x, 0)", 0, Fraction(1, 2)), ("min(x, 0)", 0, Fraction(1, 2)),
        ("sign(x)", 0, 0), ("x**0", 5, 0), ("x**1", 5, 1),
    ],
)  # fmt: skip
def test_conventions_at_kinks(text, at, value):
    derivative = calculus.differentiate(text, "x")
    assert float(derivative(**dict.fromkeys(derivative.variables, at))) == value


def test_values_that_overflow_are_no_warning():
    assert calculus.check_steps("exp(5**x)", "x", "exp(5^x)*5^x*ln(5)").passed


def test_a_square_is_not_linear():
    assert calculus.differentiate("x + y*y", "y") == calculus.parse("2*y")
    assert calculus.differentiate("y*y + 3", "y") == calculus.parse("2*y")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("log(x)", "x > 0"), ("sqrt(x)", "x > 0"), ("1/x", "x ≠ 0"), ("abs(x)", "x ≠ 0"), ("relu(x)", "x ≠ 0"),
        ("x**x", "x > 0"), ("max(x, 2)", "x ≠ 2"), ("x**(-3)", "x ≠ 0"), ("x**0.5", "x > 0"), ("sin(x)", None),
    ],
)  # fmt: skip
def test_where_a_rule_holds(text, note):
    notes = calculus.explain(text, "x").notes
    assert (notes == ()) if note is None else any(note in one for one in notes), notes


def nested(depth):
    """Return sines of sines, each divided by a small number, and the derivative at 0.5 as the product of the slopes."""
    expr, value, slope = calculus.symbols("x"), 0.5, 1.0
    for k in range(depth):
        expr = np.sin(expr / (k % 3 + 1))
        value /= k % 3 + 1
        slope *= np.cos(value) / (k % 3 + 1)
        value = np.sin(value)
    return expr, slope


def count(expr):
    return sum(1 for _ in postorder(expr))


def test_deep_expressions():
    expr, slope = nested(60)
    assert calculus.differentiate(expr, "x")(x=0.5) == pytest.approx(slope, rel=1e-12)
    sizes = [count(calculus.differentiate(nested(depth)[0], "x")) for depth in (900, 1800, 3600)]
    assert sizes[2] - sizes[1] == pytest.approx(2 * (sizes[1] - sizes[0]), rel=0.01)  # no more than linear


def test_wide_expressions():
    x = calculus.symbols("x")
    wide = functools.reduce(lambda total, k: total + k * x**2, range(1, 3000), x)
    assert calculus.differentiate(wide, "x")(x=2.0) == 1 + 4 * sum(range(1, 3000))


def test_the_comparisons_compare():
    """The generator makes expressions that are defined, so that most examples are really held against SymPy."""
    compared = []

    @hypothesis.settings(sample, max_examples=60)
    @hypothesis.given(texts())
    def look(text):
        expr = parsed(text)
        hypothesis.assume("x" in expr.variables)
        theirs = in_sympy(text)
        hypothesis.assume(not theirs.has(sympy.zoo, sympy.nan, sympy.I))
        derivative = sympy.diff(theirs, X)
        hypothesis.assume(not derivative.has(sympy.zoo, sympy.nan, sympy.I, sympy.Derivative, sympy.DiracDelta))
        compared.append(compared_at(text, calculus.differentiate(expr, "x"), derivative))

    look()
    assert np.mean(np.array(compared) > 0) > 0.8


def test_jacobian_and_hessian_against_sympy():
    written = ["x**2*sin(y)", "exp(x*y)/(1 + x**2)", "log(x + y)*sqrt(y)"]
    theirs = [sympy.sympify(text, locals=IN_SYMPY) for text in written]
    for text, row, f in zip(written, calculus.jacobian(written), theirs, strict=True):
        for entry, symbol in zip(row, (X, Y), strict=True):
            assert compared_at(text, entry, sympy.diff(f, symbol)) == 3
    for text, f in zip(written, theirs, strict=True):
        for row, first in zip(calculus.hessian(text), (X, Y), strict=True):
            for entry, second in zip(row, (X, Y), strict=True):
                assert compared_at(text, entry, sympy.diff(f, first, second)) == 3
