"""Compiled expressions against SymPy's lambdify and NumPy by hand: one point, and a million."""

import numpy as np

import fallline as fl
from bench.harness import Bar, Race

LECTURE = "3*x**3*z - y**2 + 5*z + 2*y*z"
HEAVY = "exp(-(x**2 + y**2)/2)*sin(x*z) + log(1 + z**2)"
N = 10**6


def partials(text):
    import sympy

    symbols = sympy.symbols("x y z")
    f = sympy.sympify(text)
    return symbols, [f, *(sympy.diff(f, s) for s in symbols)]


def lambdified(text, X):
    """Return SymPy's value and gradient at all points, common subexpressions computed once."""
    import sympy

    symbols, wanted = partials(text)
    f = sympy.lambdify(symbols, wanted, modules="numpy", cse=True)
    x, y, z = np.ascontiguousarray(X.T)
    return lambda: f(x, y, z)


def plain_numpy(X):
    def run():
        x, y, z = X.T
        value = 3 * x**3 * z - y**2 + 5 * z + 2 * y * z
        return value, np.stack((9 * x**2 * z, -2 * y + 2 * z, 3 * x**3 + 5 + 2 * y), axis=1)

    return run


def tuned_numpy(X):
    """Return the lecture's function by hand, for the same arrays: every product once, nothing allocated."""
    x, y, z, square, t, u, value = np.empty((7, len(X)))
    gradient = np.empty_like(X)

    def run():
        for column, own in zip(X.T, (x, y, z), strict=True):
            np.copyto(own, column)  # contiguous, for the many uses
        np.multiply(x, x, out=square)
        np.multiply(square, z, out=t)
        np.multiply(t, 9, out=gradient[:, 0])
        np.multiply(t, x, out=value)
        np.multiply(value, 3, out=value)
        np.multiply(square, x, out=square)
        np.multiply(square, 3, out=square)
        np.add(square, 5, out=square)
        np.add(y, y, out=t)
        np.add(square, t, out=gradient[:, 2])
        np.add(z, z, out=u)
        np.subtract(u, t, out=gradient[:, 1])
        np.add(t, 5, out=t)
        np.multiply(t, z, out=t)
        np.add(value, t, out=value)
        np.multiply(y, y, out=t)
        np.subtract(value, t, out=value)
        return value, gradient

    return run


def check_alike(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_million_points(benchmark, report, threads):
    X = np.random.default_rng(0).normal(size=(N, 3))
    g = fl.compile(LECTURE)
    check_alike(g.batch_value_and_gradient(X), plain_numpy(X)())
    check_alike(g.batch_value_and_gradient(X), tuned_numpy(X)())
    race = Race(f"value and gradient of the lecture's f at {N} points")
    out = np.empty(N), np.empty((N, 3))
    race.add("fallline", lambda: g.batch_value_and_gradient(X, out=out, threads=threads))
    race.add("fallline, 1 thread", lambda: g.batch_value_and_gradient(X, out=out, threads=1))
    race.add("fallline, new arrays", lambda: g.batch_value_and_gradient(X, threads=threads))
    race.add("NumPy, tuned by hand", tuned_numpy(X))
    race.add("NumPy", plain_numpy(X))
    race.invite("sympy.lambdify, cse", lambdified, LECTURE, X)
    race.run(benchmark)
    table = race.table("fallline")
    table.bars = [race.bar("fallline", "NumPy, tuned by hand", 1 / 4)]
    if "sympy.lambdify, cse" in race.seconds:
        table.bars.append(race.bar("fallline", "sympy.lambdify, cse", 1 / 8))
    report(table)


def test_a_million_points_of_functions(benchmark, report, threads):
    X = np.random.default_rng(0).normal(size=(N, 3))
    g = fl.compile(HEAVY)
    race = Race(f"value and gradient at {N} points: {HEAVY}")
    race.add("fallline", lambda: g.batch_value_and_gradient(X, threads=threads))
    race.add("fallline, 1 thread", lambda: g.batch_value_and_gradient(X, threads=1))
    race.invite("sympy.lambdify, cse", lambdified, HEAVY, X)
    race.run(benchmark)
    report(race.table("fallline"))


def test_one_point(benchmark, report):
    g, x, numbers = fl.compile(LECTURE), np.array([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0]
    race = Race("one point from Python: the lecture's f")
    race.add("g(x), an array", "g(x)", g=g, x=x)
    race.add("g(x), a list", "g(x)", g=g, x=numbers)
    race.add("g.value_and_gradient(x), an array", "g.value_and_gradient(x)", g=g, x=x)
    race.invite("sympy.lambdify (math), value", scalar_lambdified, slice(0, 1))
    race.invite("sympy.lambdify (math, cse), value and gradient", scalar_lambdified, slice(None))
    race.run(benchmark, rounds=14)
    table = race.table("g(x), an array")
    table.bars = [
        Bar("g(x)", race.best("g(x), an array") * 1e6, 0.3, "µs"),
        Bar("g.value_and_gradient(x)", race.best("g.value_and_gradient(x), an array") * 1e6, 0.6, "µs"),
    ]
    report(table)


def scalar_lambdified(which):
    import sympy

    symbols, wanted = partials(LECTURE)
    f = sympy.lambdify(symbols, wanted[which], modules="math", cse=True)
    return lambda: f(1.0, 2.0, 3.0)
