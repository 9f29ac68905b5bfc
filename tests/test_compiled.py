"""Compiled expressions against arithmetic of 40 digits, against formulas by hand, and against themselves."""

import concurrent.futures
import json
import os
import pickle
import subprocess
import sys

import mpmath
import numpy as np
import pytest
import sympy

import fallline as fl
from fallline import _core, calculus
from fallline.calculus.lowering import lower

EPS = 2.0**-52

# ---- every operation, its first and its second derivative


def mp_sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def mp_softplus(x):
    return mpmath.log1p(mpmath.exp(x))


UNARY = {  # name: (function of mpmath, points in the domain)
    "exp": (mpmath.exp, [-30.0, -1.5, 0.0, 0.3, 5.0]),
    "log": (mpmath.log, [1e-8, 0.3, 1.7, 900.0]),
    "sqrt": (mpmath.sqrt, [1e-8, 0.3, 4.0, 900.0]),
    "sin": (mpmath.sin, [-3.0, -0.2, 0.7, 9.0]),
    "cos": (mpmath.cos, [-3.0, -0.2, 0.7, 9.0]),
    "tan": (mpmath.tan, [-1.2, -0.2, 0.7, 4.0]),
    "asin": (mpmath.asin, [-0.9, -0.2, 0.1, 0.7]),
    "acos": (mpmath.acos, [-0.9, -0.2, 0.1, 0.7]),
    "atan": (mpmath.atan, [-9.0, -0.2, 0.1, 30.0]),
    "sinh": (mpmath.sinh, [-3.0, -0.2, 0.1, 6.0]),
    "cosh": (mpmath.cosh, [-3.0, -0.2, 0.1, 6.0]),
    "tanh": (mpmath.tanh, [-15.0, -0.2, 0.1, 6.0]),
    "sigmoid": (mp_sigmoid, [-40.0, -0.2, 0.1, 6.0, 40.0]),
    "softplus": (mp_softplus, [-40.0, -0.2, 0.1, 6.0, 40.0]),
    "relu": (lambda x: max(x, 0), [-2.5, -0.1, 0.2, 7.0]),
    "abs": (abs, [-2.5, -0.1, 0.2, 7.0]),
    "sign": (mpmath.sign, [-2.5, -0.1, 0.2, 7.0]),
    "step": (lambda x: mpmath.mpf(x > 0), [-2.5, -0.1, 0.2, 7.0]),
}
BINARY = {
    "x + y": lambda x, y: x + y,
    "x - y": lambda x, y: x - y,
    "x*y": lambda x, y: x * y,
    "x/y": lambda x, y: x / y,
    "x**y": lambda x, y: x**y,
    "max(x, y)": max,
    "min(x, y)": min,
}
POINTS = [(0.7, 2.5), (3.0, -1.25), (12.0, 0.3), (1e-3, 4.0), (2.0, 7.5)]


def mp_derivative(f, point, order):
    """Return a partial derivative to some 25 digits."""
    with mpmath.workdps(60):
        return mpmath.diff(f, tuple(map(mpmath.mpf, point)), order) if any(order) else f(*map(mpmath.mpf, point))


def close(ours, truth, ulps=8, scale=0.0):
    """Tell whether a number is right up to some roundings: the functions of the C library have one to two each."""
    return abs(ours - truth) <= ulps * EPS * max(abs(truth), scale)


@pytest.mark.parametrize("name", UNARY)
def test_functions(name):
    f, points = UNARY[name]
    g = fl.compile(f"{name}(x)")
    for x in points:
        truths = [mp_derivative(f, (x,), (order,)) for order in range(3)]
        value, gradient = g.value_and_gradient([x])
        assert close(value, truths[0]), (x, value)
        assert close(gradient[0], truths[1]), (x, gradient)
        assert close(g.hessian([x])[0, 0], truths[2], ulps=20), (x, g.hessian([x]))


@pytest.mark.parametrize("text", BINARY)
def test_operators(text):
    f = BINARY[text]
    g = fl.compile(text)
    for point in POINTS:
        value, gradient = g.value_and_gradient(point)
        assert close(value, f(*map(mpmath.mpf, point)))
        for i, order in enumerate([(1, 0), (0, 1)]):
            assert close(gradient[i], mp_derivative(f, point, order)), (point, i)
        hessian = g.hessian(point)
        for i, j in ((0, 0), (0, 1), (1, 1)):
            truth = mp_derivative(f, point, tuple((i == k) + (j == k) for k in range(2)))
            assert close(hessian[i, j], truth, ulps=30, scale=abs(value) * 1e-9), (point, i, j)


def test_every_operation_is_tested():
    written = {"add": "x + y", "sub": "x - y", "mul": "x*y", "div": "x/y", "pow": "x**y"}
    binary = {written.get(name, f"{name}(x, y)") for name, (_, n) in _core.operations().items() if n == 2}
    unary = {name for name, (_, n) in _core.operations().items() if n == 1}
    assert binary == set(BINARY)
    assert unary == set(UNARY) | {"neg"}
    assert set(_core.operations()) == {*calculus.functions.FUNCTIONS, *calculus.functions.OPERATORS}


@pytest.mark.parametrize("exponent", [*range(-17, 18), 0.5, -1.5, 2.25])
def test_constant_powers(exponent):
    g = fl.compile(calculus.symbols("x") ** exponent)
    for x in (0.3, 1.7, 40.0) + ((-0.3, -3.0) if exponent == int(exponent) else ()):
        n, power = mpmath.mpf(exponent), mpmath.mpf(x)
        value, gradient = g.value_and_gradient([x])
        assert close(value, power**n, ulps=12)
        assert close(gradient[0], n * power ** (n - 1) if n else 0, ulps=30)
        assert close(g.hessian([x])[0, 0], n * (n - 1) * power ** (n - 2) if n * (n - 1) else 0, ulps=60)


# ---- whole expressions

LECTURE = "3*x**3*z - y**2 + 5*z + 2*y*z"


def test_the_lectures_function():
    g = fl.compile(LECTURE)
    for x, y, z in [(1.0, 2.0, 3.0), (-2.0, 0.5, 4.0), (0.0, 0.0, 0.0)]:  # exact in double precision
        value, gradient = g.value_and_gradient([x, y, z])
        assert value == g([x, y, z]) == 3 * x**3 * z - y**2 + 5 * z + 2 * y * z
        assert gradient.tolist() == [9 * x**2 * z, -2 * y + 2 * z, 3 * x**3 + 5 + 2 * y]
        assert g.gradient([x, y, z]).tolist() == gradient.tolist()
        assert g.hessian([x, y, z]).tolist() == [[18 * x * z, 0, 9 * x**2], [0, -2, 2], [9 * x**2, 2, 0]]


EXPRESSIONS = [
    "100*(y - x**2)**2 + (1 - x)**2",
    "sin(x*y)/(1 + exp(-x)) + z**3*cos(y - z)",
    "exp(-(x**2 + y**2)/2)*(x*z - tanh(y))",
    "log(1 + x**2 + y**2)*sqrt(1 + z**2) - atan(x/(2 + y**2))",
    "(x + y)**2*(x + y)**3/(1 + (x + y)**2)",
    "x**(1 + y**2)*2**z + softplus(x - y)*sigmoid(z)",
    "-(-x)*cosh(y/3)*sinh(z/2) - x/y/z",
    "(1 + x)**1.5 + (x*y*z)**2/3 + pi*x - e*y",
]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_against_sympy(text):
    g = fl.compile(text, "x y z")
    symbols = sympy.symbols("x y z")
    own = {"sigmoid": lambda t: 1 / (1 + sympy.exp(-t)), "softplus": lambda t: sympy.log(1 + sympy.exp(t))}
    f = sympy.sympify(text, locals=dict(zip("xyz", symbols, strict=True)) | own | {"e": sympy.E})
    first = [sympy.diff(f, s) for s in symbols]
    second = [[sympy.diff(d, s) for s in symbols] for d in first]
    for point in np.random.default_rng(5).uniform(0.2, 2, (3, 3)):
        at = {s: sympy.Float(float(v), 40) for s, v in zip(symbols, point, strict=True)}
        value, gradient = g.value_and_gradient(point)
        assert np.isclose(value, float(f.evalf(40, subs=at)), rtol=1e-13, atol=1e-15)
        truth = np.array([float(d.evalf(40, subs=at)) for d in first])
        np.testing.assert_allclose(gradient, truth, rtol=1e-12, atol=1e-13 * abs(truth).max())
        truth = np.array([[float(d.evalf(40, subs=at)) for d in row] for row in second])
        np.testing.assert_allclose(g.hessian(point), truth, rtol=1e-11, atol=1e-12 * abs(truth).max())
        assert (g.hessian(point) == g.hessian(point).T).all()


def test_inputs_and_constants_alone():
    assert fl.compile("x").value_and_gradient([3.0])[1].tolist() == [1]
    value, gradient = fl.compile("7", "x y").value_and_gradient([1.0, 2.0])
    assert (value, gradient.tolist()) == (7, [0, 0])
    none = fl.compile("2 + 3")
    assert (none.variables, none([]), none.gradient([]).shape, none.hessian([]).shape) == ((), 5, (0,), (0, 0))
    assert fl.compile("y", "x y z").gradient([1.0, 2.0, 3.0]).tolist() == [0, 1, 0]
    assert fl.compile("x*x*x").gradient([2.0]).tolist() == [12]


def test_constants_are_folded_and_common_parts_computed_once():
    program = lower(calculus.parse("(1/3 + 2**10)*x + sin(x*y)/(y*x) + cos(0)"), ["x", "y"])
    assert program.constants == [1 / 3 + 1024, 1.0]
    assert sorted(name for name, *_ in program.instructions) == ["add", "add", "div", "mul", "mul", "sin"]
    assert lower(calculus.parse("0.1 + 0.2"), []).constants == [0.1 + 0.2]
    assert lower(calculus.parse("0*x + log(2)"), ["x"]).constants[1] == np.log(2)


# ---- kinks, domains


def test_kinks():
    for text in ("abs(x)", "relu(x)", "sign(x)", "step(x)"):
        assert fl.compile(text).value_and_gradient([0.0])[1].tolist() == [0], text
    for text in ("max(x, y)", "min(x, y)"):
        assert fl.compile(text).gradient([3.0, 3.0]).tolist() == [0.5, 0.5]
    assert fl.compile("max(x, y)").gradient([3.0, 4.0]).tolist() == [0, 1]
    assert fl.compile("min(x, y)").gradient([3.0, 4.0]).tolist() == [1, 0]
    for name in ("abs", "relu", "max", "min"):  # as the derivatives by rule
        expr = calculus.parse(f"{name}(x, 2)" if name in ("max", "min") else f"{name}(x)")
        for x in (-1.0, 0.0, 2.0, 3.0):
            assert fl.compile(expr).gradient([x])[0] == calculus.differentiate(expr, "x")(x=x)


EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 1e308, -1e308, 5e-324]


@pytest.mark.parametrize("name", [*UNARY, "x**y", "x/y", "max(x, y)", "min(x, y)"])
def test_outside_of_the_domain_the_value_is_numpys(name):
    if name in UNARY:
        g, expr = fl.compile(f"{name}(x)"), calculus.parse(f"{name}(x)")
        points = [{"x": x} for x in EDGES]
    else:
        g, expr = fl.compile(name), calculus.parse(name)
        points = [{"x": x, "y": y} for x in EDGES for y in EDGES]
    for point in points:
        x = list(point.values())
        with np.errstate(all="raise"):
            values = g(x), g.batch([x] * 9)[8]
            g.value_and_gradient(x)
            g.hessian(x)
        np.testing.assert_allclose(values, [expr(**point)] * 2, rtol=1e-15)


def test_zero_to_a_power_that_varies():
    gradient = fl.compile("x**y").gradient([0.0, 2.5])
    assert gradient.tolist() == [0, 0]  # 0^y is 0 for every y > 0


# ---- many points


def points(n, seed=3):
    return np.random.default_rng(seed).normal(size=(n, 3))


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 255, 4096, 4097, 20_000])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_points_have_the_bits_of_one(n, threads):
    g = fl.compile(EXPRESSIONS[1])
    X = points(n)
    values, gradients = g.batch_value_and_gradient(X, threads=threads)
    assert (values.shape, gradients.shape) == ((n,), (n, 3))
    assert g.batch(X, threads=threads).tobytes() == values.tobytes()
    assert g.batch_gradient(X, threads=threads).tobytes() == gradients.tobytes()
    for i in {0, n // 2, n - 1} if n else ():
        value, gradient = g.value_and_gradient(X[i])
        assert (value, gradient.tobytes()) == (values[i], gradients[i].tobytes())


@pytest.mark.parametrize("n_inputs", range(1, 10))
@pytest.mark.parametrize("n", [1, 13, 1000])
def test_rows_of_any_width_are_exact_where_the_numbers_are_whole(n, n_inputs):
    names = [f"x{j}" for j in range(n_inputs)]
    g = fl.compile(" + ".join(f"{j + 2}*{name}**2" for j, name in enumerate(names)), names)
    X = np.random.default_rng(n).integers(-99, 100, size=(n, n_inputs)).astype(np.float64)
    weights = np.arange(2.0, n_inputs + 2)
    for rows in (X, np.asfortranarray(X)):
        values, gradients = g.batch_value_and_gradient(rows)
        assert np.array_equal(values, (X**2) @ weights)
        assert np.array_equal(gradients, 2 * X * weights)


def test_results_can_be_written_to_arrays_that_are_there():
    g, X = fl.compile(LECTURE), points(600)
    values, gradients = np.full(600, np.nan), np.full((600, 3), np.nan)
    assert g.batch(X, out=values) is values
    assert g.batch_gradient(X, out=gradients) is gradients
    pair = np.full(600, np.nan), np.full((600, 3), np.nan)
    written = g.batch_value_and_gradient(X, out=pair)
    for ours, mine, alone in zip(written, pair, (values, gradients), strict=True):
        assert ours is mine
        assert mine.tobytes() == alone.tobytes()
    assert values.tobytes() == g.batch(X).tobytes()


def test_any_strides_and_dtypes():
    g, X = fl.compile(LECTURE), points(600)
    truth = g.batch_value_and_gradient(X)
    wide = np.zeros((1200, 9))
    wide[::2, ::3] = X
    odd = np.frombuffer(b"\0" + X.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(X.shape)
    for same in (np.asfortranarray(X), wide[::2, ::3], X[::-1][::-1], odd, X.tolist(), X.astype(">f8")):
        for ours, expected in zip(g.batch_value_and_gradient(same), truth, strict=True):
            assert ours.tobytes() == expected.tobytes()
    assert g.batch(X[::-1]).tobytes() == truth[0][::-1].tobytes()
    assert g.batch(np.broadcast_to(X[0], (5, 3))).tolist() == [truth[0][0]] * 5
    assert g.batch(X.astype(np.float32)).tolist() == [g(x) for x in X.astype(np.float32)]
    assert g.batch(np.array([[1, 2, 3]])).tolist() == [32.0]
    frozen = X.copy()
    frozen.flags.writeable = False
    assert g.batch(frozen).tobytes() == truth[0].tobytes()


def test_kinds_of_points():
    g = fl.compile(LECTURE)
    for x in (
        [1.0, 2.0, 3.0],
        (1, 2, 3),
        np.array([1, 2, 3]),
        np.array([3.0, 2, 1])[::-1],
        [np.float32(1), 2, True + 2],
    ):
        assert g(x) == 32
    assert type(g([1, 2, 3])) is float


def fingerprints():
    """Return values, gradients and Hessians of all expressions, in hexadecimal."""
    X = np.abs(points(300)) + 0.1
    found = []
    for text in EXPRESSIONS:
        g = fl.compile(text, "x y z")
        arrays = *g.batch_value_and_gradient(X), g.hessian(X[0])
        found += [array.tobytes().hex() for array in arrays]
    return found


OTHERS = [name for name, able in _core.instruction_sets().items() if able and name != _core.instruction_set()]


@pytest.mark.parametrize("isa", OTHERS)
def test_bits_do_not_depend_on_the_instruction_set(isa):
    program = "import json, test_compiled as t; print(json.dumps([t._core.instruction_set(), t.fingerprints()]))"
    environment = {**os.environ, "FALLLINE_ISA": isa, "PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    name, found = json.loads(done.stdout)
    assert name == isa
    assert found == fingerprints()


# ---- long expressions


def test_a_hundred_thousand_nodes_deep():
    x = calculus.symbols("x")
    expr = x
    for _ in range(50_000):
        expr = expr / 2 + 1
    g = fl.compile(expr)
    value, gradient = g.value_and_gradient([5.0])
    assert value == 2  # the fixed point, after 53 halvings
    assert gradient[0] == 0.0  # 2^-50000
    assert g.batch(np.full((9, 1), 5.0)).tolist() == [2.0] * 9
    assert pickle.loads(pickle.dumps(g))([5.0]) == 2


def test_a_hundred_thousand_nodes_wide():
    names = [f"x{i}" for i in range(25_000)]
    g = fl.compile(" + ".join(f"{i}*{name}**2" for i, name in enumerate(names)), names)
    x = np.random.default_rng(0).normal(size=len(names))
    np.testing.assert_array_equal(g.gradient(x), 2 * np.arange(len(names)) * x)


# ---- its use elsewhere


def test_variables():
    assert fl.compile("x10 + x2 + a").variables == ("a", "x2", "x10")
    assert fl.compile("x - y", ["y", "x"])([1.0, 5.0]) == 4
    assert fl.compile("x - y", "y, x").variables == ("y", "x")
    assert fl.compile(lambda b, a: b - a).variables == ("b", "a")
    assert fl.compile(lambda a, n=3: a**n)([2.0]) == 8
    g = fl.compile("x - y", calculus.symbols("y x"))
    assert fl.compile(g).variables == ("y", "x")
    assert fl.compile(fl.compile(g), "x y z").variables == ("x", "y", "z")


def test_pickle_and_repr():
    g = fl.compile(LECTURE, "z y x")
    again = pickle.loads(pickle.dumps(g))
    assert again.variables == ("z", "y", "x")
    assert again([3.0, 2.0, 1.0]) == g([3.0, 2.0, 1.0]) == 32
    assert repr(g) == f"compile({LECTURE!r}, variables=('z', 'y', 'x'))"
    assert "..." in repr(fl.compile(" + ".join(["x**2"] * 50)))


def test_threads_may_share_it():
    g, X = fl.compile(EXPRESSIONS[2]), points(2000)
    truth = [g.value_and_gradient(x) for x in X]

    def all_of_them(_):
        return all(v == g(x) and (w == g.gradient(x)).all() for x, (v, w) in zip(X, truth, strict=True))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(all_of_them, range(8)))


def test_the_derivative_functions_call_it_natively(monkeypatch):
    g, x = fl.compile(LECTURE), np.array([1.0, 2.0, 3.0])
    calls = []
    native = type(g).native
    monkeypatch.setattr(type(g), "native", lambda self: calls.append(self) or native(self), raising=False)
    np.testing.assert_allclose(fl.gradient(g, x), g.gradient(x), rtol=1e-9)
    np.testing.assert_allclose(fl.hessian(g, x), g.hessian(x), atol=1e-5)
    assert len(calls) == 2
    in_python = fl.gradient(lambda x: 3 * (x[0] * x[0] * x[0]) * x[2] - x[1] * x[1] + 5 * x[2] + 2 * x[1] * x[2], x)
    assert fl.gradient(g, x).tobytes() == in_python.tobytes()
    assert fl.check_gradient(g, g.gradient, x).verdict == "pass"
    np.testing.assert_allclose(fl.gradient(g, x, workers=map), g.gradient(x), rtol=1e-9)  # through Python
    np.testing.assert_allclose(fl.gradient(g, x.astype(np.float32)), g.gradient(x), rtol=1e-3)


def test_scipy_takes_it():
    optimize, integrate = pytest.importorskip("scipy.optimize"), pytest.importorskip("scipy.integrate")
    g = fl.compile(EXPRESSIONS[0])
    result = optimize.minimize(g.value_and_gradient, [-1.2, 1.0], jac=True, method="BFGS")
    np.testing.assert_allclose(result.x, [1, 1], atol=1e-5)
    result = optimize.minimize(g, [-1.2, 1.0], jac=g.gradient, hess=g.hessian, method="trust-exact")
    np.testing.assert_allclose(result.x, [1, 1], atol=1e-6)
    assert integrate.quad(fl.compile("x**2").low_level_callable(), 0, 3)[0] == pytest.approx(9)
    assert integrate.nquad(fl.compile("x*y**2").low_level_callable(), [[0, 1], [0, 3]])[0] == pytest.approx(4.5)
