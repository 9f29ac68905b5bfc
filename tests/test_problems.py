"""Test problems against the formulas of their papers, written once more, and against arithmetic of forty digits."""

import copy
import pickle

import mpmath
import numpy as np
import pytest
import sympy
from numpy import abs, cos, exp, pi, sin, sqrt

import fallline as fl
from fallline import problems

# Each as its paper or the survey has it; x has the coordinates on its first axis, i counts from 1.
LITERAL = {
    "sphere": lambda x: (x**2).sum(0),
    "sum_squares": lambda x: sum((i + 1) * v**2 for i, v in enumerate(x)),
    "rosenbrock": lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum(0),
    "rastrigin": lambda x: 10 * len(x) + (x**2 - 10 * cos(2 * pi * x)).sum(0),
    "ackley": lambda x: -20 * exp(-0.2 * sqrt((x**2).mean(0))) - exp(cos(2 * pi * x).mean(0)) + 20 + np.e,
    "griewank": lambda x: 1 + (x**2).sum(0) / 4000 - np.prod([cos(v / sqrt(i + 1)) for i, v in enumerate(x)], 0),
    "levy": lambda x: levy(1 + (x - 1) / 4),
    "zakharov": lambda x: (x**2).sum(0) + half_weighted(x) ** 2 + half_weighted(x) ** 4,
    "dixon_price": lambda x: (x[0] - 1) ** 2 + sum((i + 1) * (2 * x[i] ** 2 - x[i - 1]) ** 2 for i in range(1, len(x))),
    "schwefel": lambda x: -(x * sin(sqrt(abs(x)))).mean(0),
    "styblinski_tang": lambda x: (x**4 - 16 * x**2 + 5 * x).sum(0) / 2,
    "trid": lambda x: ((x - 1) ** 2).sum(0) - (x[1:] * x[:-1]).sum(0),
    "ravine": lambda x: 0.5 * (x[0] ** 2 + 25 * x[1] ** 2),
    "booth": lambda x: (x[0] + 2 * x[1] - 7) ** 2 + (2 * x[0] + x[1] - 5) ** 2,
    "matyas": lambda x: 0.26 * (x[0] ** 2 + x[1] ** 2) - 0.48 * x[0] * x[1],
    "beale": lambda x: sum((c - x[0] * (1 - x[1] ** k)) ** 2 for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))),
    "leon": lambda x: 100 * (x[1] - x[0] ** 3) ** 2 + (1 - x[0]) ** 2,
    "mccormick": lambda x: sin(x[0] + x[1]) + (x[0] - x[1]) ** 2 - 1.5 * x[0] + 2.5 * x[1] + 1,
    "easom": lambda x: -cos(x[0]) * cos(x[1]) * exp(-((x[0] - pi) ** 2) - (x[1] - pi) ** 2),
    "brown_badly_scaled": lambda x: (x[0] - 1e6) ** 2 + (x[1] - 2e-6) ** 2 + (x[0] * x[1] - 2) ** 2,
    "powell_badly_scaled": lambda x: (1e4 * x[0] * x[1] - 1) ** 2 + (exp(-x[0]) + exp(-x[1]) - 1.0001) ** 2,
    "jennrich_sampson": lambda x: sum((2 + 2 * i - exp(i * x[0]) - exp(i * x[1])) ** 2 for i in range(1, 11)),
    "freudenstein_roth": lambda x: (
        (-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1]) ** 2 + (-29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]) ** 2
    ),
    "powell_singular": lambda x: (
        (x[0] + 10 * x[1]) ** 2 + 5 * (x[2] - x[3]) ** 2 + (x[1] - 2 * x[2]) ** 4 + 10 * (x[0] - x[3]) ** 4
    ),
    "wood": lambda x: (
        (10 * (x[1] - x[0] ** 2)) ** 2
        + (1 - x[0]) ** 2
        + 90 * (x[3] - x[2] ** 2) ** 2
        + (1 - x[2]) ** 2
        + 10 * (x[1] + x[3] - 2) ** 2
        + 0.1 * (x[1] - x[3]) ** 2
    ),
    "himmelblau": lambda x: (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2,
    "three_hump_camel": lambda x: 2 * x[0] ** 2 - 1.05 * x[0] ** 4 + x[0] ** 6 / 6 + x[0] * x[1] + x[1] ** 2,
    "six_hump_camel": lambda x: (
        4 * x[0] ** 2 - 2.1 * x[0] ** 4 + x[0] ** 6 / 3 + x[0] * x[1] - 4 * x[1] ** 2 + 4 * x[1] ** 4
    ),
    "branin": lambda x: (
        (x[1] - 5.1 / (4 * pi**2) * x[0] ** 2 + 5 / pi * x[0] - 6) ** 2 + 10 * (1 - 1 / (8 * pi)) * cos(x[0]) + 10
    ),
    "goldstein_price": lambda x: goldstein_price(*x),
    "bohachevsky": lambda x: x[0] ** 2 + 2 * x[1] ** 2 - 0.3 * cos(3 * pi * x[0]) - 0.4 * cos(4 * pi * x[1]) + 0.7,
    "michalewicz": lambda x: -sum(sin(v) * sin((i + 1) * v**2 / pi) ** 20 for i, v in enumerate(x)),
    "cross_in_tray": lambda x: (
        -1e-4 * (abs(sin(x[0]) * sin(x[1]) * exp(abs(100 - sqrt(x[0] ** 2 + x[1] ** 2) / pi))) + 1) ** 0.1
    ),
    "holder_table": lambda x: -abs(sin(x[0]) * cos(x[1]) * exp(abs(1 - sqrt(x[0] ** 2 + x[1] ** 2) / pi))),
    "drop_wave": lambda x: -(1 + cos(12 * sqrt(x[0] ** 2 + x[1] ** 2))) / (0.5 * (x[0] ** 2 + x[1] ** 2) + 2),
    "bukin6": lambda x: 100 * sqrt(abs(x[1] - 0.01 * x[0] ** 2)) + 0.01 * abs(x[0] + 10),
}


def levy(w):
    inner = (w[:-1] - 1) ** 2 * (1 + 10 * sin(pi * w[:-1] + 1) ** 2)
    return sin(pi * w[0]) ** 2 + inner.sum(0) + (w[-1] - 1) ** 2 * (1 + sin(2 * pi * w[-1]) ** 2)


def half_weighted(x):
    return sum(0.5 * (i + 1) * v for i, v in enumerate(x))


def goldstein_price(x, y):
    a = 19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2
    b = 18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2
    return (1 + (x + y + 1) ** 2 * a) * (30 + (2 * x - 3 * y) ** 2 * b)


OPEN = ["sphere", "sum_squares", "rosenbrock", "rastrigin", "ackley", "griewank", "levy", "zakharov", "dixon_price"]
OPEN += ["schwefel", "styblinski_tang", "trid"]
ALL = [problems.get(name) for name in problems.names()] + [problems.get(name, dimensions=5) for name in OPEN]
KINKED = {"ackley", "drop_wave", "bukin6"}  # as written, they have no derivative at their minima
every_problem = pytest.mark.parametrize("problem", ALL, ids=lambda p: f"{p.name}-{p.dimensions}")


def inside(problem, n, seed=3):
    low, high = np.transpose(problem.bounds)
    return np.random.default_rng(seed).uniform(low, high, (n, problem.dimensions)).T


def test_there_are_many():
    assert set(problems.names()) == set(LITERAL)
    assert len(problems.names()) >= 25
    assert len({p.title for p in map(problems.get, problems.names())}) == len(problems.names())


@every_problem
def test_the_value_is_that_of_the_paper(problem):
    x = inside(problem, 50)
    literal = LITERAL[problem.name](x)
    np.testing.assert_allclose(problem(x), literal, rtol=1e-12, atol=1e-12 * np.abs(literal).max())


def in_sympy(problem):
    names = sympy.symbols(problem.variables, real=True)
    text = problem.formula.replace("abs", "Abs")
    f = sympy.nsimplify(sympy.sympify(text, locals={str(s): s for s in names} | {"e": sympy.E}), rational=True)
    return names, f, [sympy.diff(f, name) for name in names]


@every_problem
def test_the_gradient_agrees_with_sympys_at_forty_digits(problem):
    names, _, partials = in_sympy(problem)
    with mpmath.workdps(40):
        f = sympy.lambdify(names, partials, modules="mpmath")
        for x in inside(problem, 4).T:
            truth = np.array([float(d) for d in f(*map(mpmath.mpf, x))])
            np.testing.assert_allclose(problem.gradient(x), truth, rtol=1e-10, atol=1e-11 * np.abs(truth).max())


@every_problem
def test_compiled_it_is_the_same(problem):
    g, x = fl.compile(problem), inside(problem, 20)
    assert g.variables == problem.variables
    values, gradients = g.batch_value_and_gradient(x.T)
    np.testing.assert_allclose(values, problem(x), rtol=1e-12, atol=1e-12 * np.abs(values).max())
    np.testing.assert_allclose(gradients.T, problem.gradient(x), rtol=1e-9, atol=1e-11 * np.abs(gradients).max())


@every_problem
def test_minima_are_correct_to_double_precision(problem):
    names, f, partials = in_sympy(problem)
    with mpmath.workdps(40):
        value, slopes = (sympy.lambdify(names, one, modules="mpmath") for one in (f, partials))
        for point in problem.minima:
            exact = [mpmath.mpf(v) for v in point]
            if problem.name not in KINKED | {"powell_singular"}:  # whose Hessian is singular: 0 is its minimum exactly
                start = exact if any(slopes(*exact)) else None
                exact = exact if start is None else list(mpmath.findroot(slopes, start))
            assert [float(v) for v in exact] == pytest.approx(point, rel=0, abs=np.spacing(np.abs(point).max()))
            # What is left of 1e-6 or e in decimals is that far from 0.
            assert float(value(*exact)) == pytest.approx(problem.minimum, rel=1e-15, abs=1e-20)


@every_problem
def test_nothing_within_the_bounds_lies_below_the_minimum(problem):
    rounding = 64 * np.spacing(max(1.0, np.abs(problem.minimum)))
    assert problem(inside(problem, 100_000)).min() >= problem.minimum - rounding
    rng = np.random.default_rng(1)
    for point in problem.minima:
        near = np.array(point)[:, None] + rng.normal(size=(problem.dimensions, 2000)) * 1e-3
        assert problem(near).min() >= problem.minimum - rounding * max(1.0, np.abs(point).max())
    for point in (*problem.minima, problem.start):
        for x, (low, high) in zip(point, problem.bounds, strict=True):
            assert low <= x <= high
    assert problem(problem.start) > problem.minimum + 1e-6


@every_problem
def test_a_grid_gives_what_its_points_give(problem):
    grid = inside(problem, 15).reshape(problem.dimensions, 3, 5)
    values, gradients = problem.value_and_gradient(grid)
    assert values.shape == (3, 5)
    assert gradients.shape == (problem.dimensions, 3, 5)
    for index in np.ndindex(3, 5):
        point = grid[(slice(None), *index)]
        assert values[index] == pytest.approx(problem(point), rel=1e-12, abs=1e-12 * np.abs(values).max())
        scale = np.abs(gradients).max()
        assert gradients[(slice(None), *index)] == pytest.approx(problem.gradient(point), rel=1e-9, abs=1e-11 * scale)


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
@pytest.mark.parametrize("name", ["booth", "rosenbrock", "rastrigin", "wood", "easom"])
def test_dtypes(name, given, kept):
    problem = problems.get(name)
    x = np.ones((problem.dimensions, 4), given)
    assert problem(x).dtype == kept
    assert problem.gradient(x).dtype == kept
    assert problem(x[:, 0]).dtype == kept
    assert problem.gradient(x[:, 0]).dtype == kept


def test_the_complex_step_works_on_them():
    h = 1e-200
    for name in ("rosenbrock", "levy", "branin", "goldstein_price"):
        problem, x = problems.get(name), np.array([0.3, -0.7])
        numeric = [problem(x + 1j * h * unit).imag / h for unit in np.eye(2)]
        np.testing.assert_allclose(problem.gradient(x), numeric, rtol=1e-12)


@every_problem
def test_problems_describe_themselves(problem):
    assert problem is problems.get(problem.name, dimensions=problem.dimensions)
    assert repr(problem) == f"<Problem {problem.name}: {problem.formula}>"
    assert len(problem.start) == len(problem.bounds) == len(problem.variables) == problem.dimensions
    assert any(year in problem.citation for year in map(str, range(1950, 2030)))
    assert copy.deepcopy(problem) is problem
    assert pickle.loads(pickle.dumps(problem)) is problem
    with pytest.raises(AttributeError):
        problem.minimum = 1.0


def test_as_attributes():
    assert problems.rosenbrock is problems.get("rosenbrock")
    assert "booth" in dir(problems)
    with pytest.raises(AttributeError, match="has no attribute 'rosenbrok'"):
        _ = problems.rosenbrok


@pytest.mark.parametrize("name", ["rosenbrock", "himmelblau", "sphere", "wood", "trid"])
def test_minimize_finds_a_minimum(name):
    problem = problems.get(name)
    result = fl.minimize(fl.compile(problem), problem.start, lr=0.02, maxiter=100_000, gtol=1e-8)
    assert result.fun == pytest.approx(problem.minimum, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: problems.get("rosenbrok"),
            ValueError,
            r"name: must be a known problem; got 'rosenbrok'\. Did you mean 'rosenbrock'\?",
        ),
        (
            lambda: problems.get("zzz"),
            ValueError,
            r"name: must be a known problem; got 'zzz'\. Known problems: sphere, ",
        ),
        (lambda: problems.get(3), TypeError, r"name: must be a string; got int\. Known problems: sphere, "),
        (
            lambda: problems.get("booth", dimensions=3),
            ValueError,
            r"dimensions: must be 2 for 'booth'; got 3\. Those of any number are sphere, ",
        ),
        (
            lambda: problems.get("sphere", dimensions=1),
            ValueError,
            r"dimensions: must be an int from 2 to 1000; got 1\. Leave it out for 2\.",
        ),
        (
            lambda: problems.booth(1.0),
            ValueError,
            r"booth: x must have 2 coordinates on its first axis; got shape \(\)\. Pass \(x, y\), or stack their grids",
        ),
        (
            lambda: problems.get("sphere", 9).gradient(np.ones((5, 2))),
            ValueError,
            r"sphere: x must have 9 coordinates on its first axis; got shape \(5, 2\)\. Pass \(x1, x2, x3, x4, ",
        ),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call()
