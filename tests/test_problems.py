"""Test problems: formula, gradient, minima and grids of each, by exact arithmetic that shares nothing with the code."""

import copy
import dataclasses
import math
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest

from fallline import problems

ALL = [problems.get(name) for name in problems.names()]
every_problem = pytest.mark.parametrize("problem", ALL, ids=lambda problem: problem.name)
POINTS = [(0.0, 0.0), (1.0, -1.0), (-1.25, 0.5), (2.75, 3.5), (-4.0, -0.125)]


def exact_value(problem, x, y):
    """Evaluate the formula in rational arithmetic; the decimal constants of a formula are read as decimals."""
    text = re.sub(r"\d+\.\d+", r"Fraction('\g<0>')", problem.formula)
    return eval(text, {"Fraction": Fraction}, {"x": Fraction(x), "y": Fraction(y)})


def exact_gradient(problem, x, y):
    """Differentiate the formula exactly: a central difference of a polynomial, extrapolated in rational arithmetic.

    A polynomial of degree d <= 7 has an odd part of at most 4 terms, so 4 steps determine its slope without error.
    """

    def slope(f):
        steps = [Fraction(k) for k in (1, 2, 3, 4)]
        odd = [(f(h) - f(-h)) / (2 * h) for h in steps]  # a polynomial in h**2, wanted at 0
        return sum(
            value * math.prod(k * k / (k * k - h * h) for k in steps if k != h)
            for h, value in zip(steps, odd, strict=True)
        )

    return (
        slope(lambda h: exact_value(problem, Fraction(x) + h, y)),
        slope(lambda h: exact_value(problem, x, Fraction(y) + h)),
    )


@every_problem
@pytest.mark.parametrize("point", POINTS)
def test_value_and_gradient_are_those_of_the_formula(problem, point):
    # 64 roundings at most, each relative to a term no larger than the value of the formula with all signs positive;
    # 1e4 bounds that for the points used.
    tolerance = 64 * np.finfo(float).eps * 1e4
    value, gradient = problem.value_and_gradient(point)
    assert value == pytest.approx(float(exact_value(problem, *point)), rel=1e-14, abs=tolerance)
    expected = [float(part) for part in exact_gradient(problem, *point)]
    assert gradient == pytest.approx(expected, rel=1e-14, abs=tolerance)


def test_the_exact_derivative_of_these_tests_is_right():
    example = dataclasses.replace(problems.booth, formula="x**6 + 3*x*y**2")
    assert exact_gradient(example, 2, 5) == (6 * 2**5 + 3 * 25, 6 * 2 * 5)


@every_problem
def test_gradient_agrees_with_the_complex_step(problem):
    rng = np.random.default_rng(3)
    low, high = np.transpose(problem.bounds)
    x = rng.uniform(low, high, (20, 2)).T
    h = 1e-200  # h**2 vanishes: no truncation error
    numeric = np.stack([problem(x + 1j * h * unit[:, None]).imag / h for unit in np.eye(2)])
    scale = np.abs(numeric).max()
    np.testing.assert_allclose(problem.gradient(x), numeric, rtol=1e-13, atol=1e-13 * scale)


@every_problem
def test_minima_are_stationary_and_have_the_value(problem):
    for point in problem.minima:
        # A minimizer rounded to double precision is off by at most half a unit in the last place, so the gradient there
        # is at most curvature times that: 2000 bounds the curvature of all problems at their minima.
        slack = 2000 * np.spacing(np.abs(point).max())
        assert np.abs(problem.gradient(point)).max() <= slack
        assert abs(problem(point) - problem.minimum) <= 8 * np.spacing(abs(problem.minimum)) + slack**2


@every_problem
def test_nothing_in_the_bounds_lies_below_the_minimum(problem):
    (x_low, x_high), (y_low, y_high) = problem.bounds
    grid = np.stack(np.meshgrid(np.linspace(x_low, x_high, 401), np.linspace(y_low, y_high, 401)))
    assert problem(grid).min() >= problem.minimum - 8 * np.spacing(abs(problem.minimum))
    for x, y in (*problem.minima, problem.start):
        assert x_low <= x <= x_high
        assert y_low <= y <= y_high
    assert problem(problem.start) > problem.minimum + 1


@every_problem
def test_minima_agree_with_sympy_at_forty_digits(problem):
    sympy = pytest.importorskip("sympy", reason="SymPy finds the minima to forty digits")
    x, y = sympy.symbols("x y")
    f = sympy.nsimplify(sympy.sympify(problem.formula), rational=True)
    for point in problem.minima:
        found = sympy.nsolve([f.diff(x), f.diff(y)], (x, y), point, prec=40)
        assert [float(value) for value in found] == pytest.approx(point, rel=0, abs=np.spacing(np.abs(point).max()))
        value = f.subs({x: found[0], y: found[1]})
        assert float(value) == pytest.approx(problem.minimum, rel=1e-15, abs=1e-30)


@every_problem
def test_a_grid_gives_what_its_points_give(problem):
    grid = np.stack(np.meshgrid(np.linspace(-2, 2, 5), np.linspace(-1, 1, 3)))
    values, gradients = problem(grid), problem.gradient(grid)
    assert values.shape == (3, 5)
    assert gradients.shape == (2, 3, 5)
    for index in np.ndindex(3, 5):
        point = grid[(slice(None), *index)]
        # Array and scalar powers may round differently by a unit in the last place of the largest term.
        assert values[index] == pytest.approx(problem(point), rel=1e-13, abs=1e-12)
        assert gradients[(slice(None), *index)] == pytest.approx(problem.gradient(point), rel=1e-13, abs=1e-12)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int64, np.float64),
        (np.bool_, np.float64),
        (np.complex128, np.complex128),
    ],
)
@every_problem
def test_dtypes(problem, given, kept):
    x = np.ones((2, 4), given)
    assert problem(x).dtype == kept
    assert problem.gradient(x).dtype == kept


@every_problem
def test_problems_describe_themselves(problem):
    assert problem.name in problems.names()
    assert problem is problems.get(problem.name)
    assert problem is getattr(problems, problem.name)
    assert repr(problem) == f"<Problem {problem.name}: {problem.formula}>"
    assert any(year in problem.citation for year in map(str, range(1950, 2030)))
    assert copy.deepcopy(problem) is problem
    assert pickle.loads(pickle.dumps(problem)) is problem
    with pytest.raises(AttributeError):
        problem.minimum = 1.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: problems.get("rosenbrok"),
            ValueError,
            r"name: must be a known problem; got 'rosenbrok'\. Did you mean 'rosenbrock'\?",
        ),
        (lambda: problems.get("zzz"), ValueError, r"name: must be a known problem; got 'zzz'\. Known problems: ravine"),
        (lambda: problems.get(3), TypeError, r"name: must be a string; got int\. Known problems: ravine"),
        (
            lambda: problems.booth(1.0),
            ValueError,
            r"booth: x must have 2 coordinates on its first axis; got shape \(\)\. Pass \(x, y\)",
        ),
        (
            lambda: problems.booth.gradient(np.ones((5, 2))),
            ValueError,
            r"booth: x must have 2 coordinates on its first axis; got shape \(5, 2\)\.",
        ),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call()
