"""The derivative functions: structures, methods, orders, steps, bounds, and what they report.

Truths are analytic, or SymPy's and mpmath's; the counts of evaluations are in test_evaluate.py, the error bounds in
test_zoo.py.
"""

import contextlib
import inspect
import math
import types
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import sympy

import fallline as fl

METHODS = ["central", "forward", "backward", "complex", "adaptive"]
ALL = [fl.derivative, fl.partial, fl.gradient, fl.jacobian, fl.hessian, fl.hvp, fl.directional, fl.vjp]


def recorded(f):
    """Return f with a list of all its points."""

    def wrapper(x, *args):
        wrapper.points.append(np.array(x, copy=True))
        return f(x, *args)

    wrapper.points = []
    return wrapper


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


# ---------------------------------------------------------------------------------------------------------------------
# Against SymPy
# ---------------------------------------------------------------------------------------------------------------------

T = sympy.Symbol("t")
FUNCTIONS = [
    sympy.sin(T),
    sympy.exp(T) * sympy.cos(3 * T),
    1 / (1 + T**2),
    sympy.log(2 + T),
    T**5 - 3 * T**2,
    sympy.tanh(T),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("f", FUNCTIONS, ids=str)
def test_first_derivatives(f, method):
    truth, call = sympy.diff(f, T), sympy.lambdify(T, f, "numpy")
    for x in (0.0, 0.3, 1.7):
        wanted = float(truth.evalf(30, subs={T: x}))
        assert fl.derivative(call, x, method=method) == pytest.approx(wanted, rel=2e-8, abs=2e-8)
    assert fl.derivative(call, 0.3) == pytest.approx(float(truth.evalf(30, subs={T: Fraction(3, 10)})), rel=1e-11)


@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize("f", FUNCTIONS, ids=str)
def test_higher_derivatives(f, order):
    truth, call = sympy.diff(f, T, order), sympy.lambdify(T, f, "numpy")
    wanted = float(truth.evalf(30, subs={T: sympy.Rational(3, 10)}))
    found = fl.derivative(call, 0.3, order=order, full_output=True)
    scale = max(abs(wanted), math.factorial(order))
    assert abs(found.value - wanted) <= min(found.error, 10.0 ** (order - 12) * scale)
    assert found.error < 10.0 ** (order - 9) * scale
    assert fl.derivative(call, 0.3, order=order, method="central", accuracy=4) == pytest.approx(
        wanted, abs=3e-3 * scale
    )
    if order <= 4:
        forward = fl.derivative(call, 0.3, order=order, method="forward", accuracy=6)
        assert forward == pytest.approx(wanted, abs=1e-2 * scale)


@pytest.mark.parametrize(
    ("method", "accuracy", "worst"),
    [("central", 2, 1e-10), ("central", 4, 3e-12), ("central", 6, 5e-13), ("central", 8, 5e-13), ("forward", 1, 2e-7),
     ("forward", 2, 1e-9), ("forward", 4, 1e-10), ("forward", 8, 5e-11), ("backward", 3, 2e-10),
     ("backward", 6, 3e-11)],
)  # fmt: skip
def test_accuracies(method, accuracy, worst):
    """What each stencil can do with its best step, within a factor."""
    x = np.linspace(-2, 2, 41)
    assert np.abs(fl.derivative(np.sin, x, method=method, accuracy=accuracy) - np.cos(x)).max() < worst
    assert np.abs(fl.derivative(np.exp, x, method=method, accuracy=accuracy) / np.exp(x) - 1).max() < 10 * worst


@pytest.mark.parametrize(
    ("side", "accuracy"),
    [("central", 2), ("central", 4), ("central", 6), ("forward", 1), ("forward", 3), ("backward", 2), ("backward", 5)],
)
@pytest.mark.parametrize("order", [1, 2])
def test_the_error_falls_with_the_power_of_the_step(side, accuracy, order):
    steps = [0.2, 0.1]
    errors = [fl.derivative(np.exp, 0.0, order=order, method=side, accuracy=accuracy, step=h) - 1 for h in steps]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(accuracy, abs=0.45)


def test_gradient_and_hessian_of_several_variables():
    names = sympy.symbols("x y z")
    f = sympy.exp(names[0] * names[1]) + names[2] ** 3 * sympy.sin(names[0]) - names[1] * names[2]
    at = dict(zip(names, (0.4, -1.2, 2.0), strict=True))
    gradient = np.array([float(f.diff(a).subs(at)) for a in names])
    hessian = np.array([[float(f.diff(a, b).subs(at)) for a in names] for b in names])
    call = sympy.lambdify([names], f, "numpy")
    x = np.array(list(at.values()))
    for method in METHODS:
        assert fl.gradient(call, x, method=method) == pytest.approx(gradient, rel=1e-7)
    for options in ({"method": "adaptive"}, {"accuracy": 4}, {"method": "forward", "accuracy": 4}):
        assert fl.hessian(call, x, **options) == pytest.approx(hessian, rel=1e-6, abs=1e-6)
        assert fl.hvp(call, x, [1.0, 2.0, 3.0], **options) == pytest.approx(hessian @ [1, 2, 3], rel=1e-6)
        assert fl.gradient(call, x, order=2, **options) == pytest.approx(np.diag(hessian), rel=1e-6, abs=1e-6)
    assert fl.hessian(call, x) == pytest.approx(hessian, abs=1e-5)
    assert fl.directional(call, x, [1.0, 2.0, 3.0]) == pytest.approx(gradient @ [1, 2, 3])
    assert fl.directional(call, x, [1.0, 2.0, 3.0], order=2) == pytest.approx([1, 2, 3] @ hessian @ [1, 2, 3], rel=1e-5)
    for i in range(3):
        assert fl.partial(call, x, i) == pytest.approx(gradient[i], rel=1e-10)
        assert fl.partial(call, x, i, order=2, method="central", accuracy=4) == pytest.approx(hessian[i, i], abs=1e-7)
    calls = [sympy.lambdify([names], f.diff(a), "numpy") for a in names]
    jac = lambda x: np.array([c(x) for c in calls])  # noqa: E731
    for method in METHODS:
        assert fl.hessian(None, x, jac=jac, method=method) == pytest.approx(hessian, rel=1e-7, abs=1e-7)
        assert fl.hvp(None, x, [1.0, 2.0, 3.0], jac=jac, method=method) == pytest.approx(hessian @ [1, 2, 3], rel=1e-7)


# ---------------------------------------------------------------------------------------------------------------------
# Structures
# ---------------------------------------------------------------------------------------------------------------------


class Point(NamedTuple):
    a: np.ndarray
    b: float


MATRIX = [[1.0, 2.0], [3.0, 4.0]]
TREES = [
    3.0, np.float64(3.0), np.float32(3.0), 3, np.array(3.0), np.ones(3), np.ones(3, np.float32), np.arange(1, 4),
    [1.0, 2.0], (1, 2.0), MATRIX, np.ones((2, 2, 2)), {"a": np.ones(2), "b": 2.0},
    [np.ones(2), np.ones((1, 2), np.float32)], {"l": [np.ones(1), {"c": (np.ones(2), 4)}]}, Point(np.ones(2), 3.0),
    Point(2.0, 3.0), [Point(2.0, 3.0)], np.arange(1, 4, dtype=np.uint8),
    [[1.0], [2.0, 3.0]], np.zeros(0), {}, [], {"a": np.zeros((0, 3)), "b": 1.0},
]  # fmt: skip


def flat(tree):
    if isinstance(tree, dict):
        return [v for child in tree.values() for v in flat(child)]
    if isinstance(tree, (list, tuple)):
        return [v for child in tree for v in flat(child)]
    return np.ravel(tree).tolist()


def shape_of(tree):
    """Return a tree's containers, and what its leaves are."""
    if isinstance(tree, dict):
        return {key: shape_of(child) for key, child in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree), [shape_of(child) for child in tree]
    return type(tree) if isinstance(tree, np.generic) else (tree.shape, tree.dtype)


def expected_shape(tree):
    if tree is MATRIX:
        return (2, 2), np.float64
    is_plain = isinstance(tree, (list, tuple)) and not hasattr(tree, "_fields")
    if is_plain and all(isinstance(v, (int, float)) for v in tree):
        return (len(tree),), np.float64
    if isinstance(tree, dict):
        return {key: expected_shape(child) for key, child in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree), [expected_shape(child) for child in tree]
    if isinstance(tree, np.ndarray):
        return tree.shape, np.float32 if tree.dtype == np.float32 else np.float64
    return np.float32 if isinstance(tree, np.float32) else np.float64


@pytest.mark.parametrize("x", TREES, ids=str)
def test_the_gradient_has_the_structure_of_x(x):
    weights = np.arange(1.0, len(flat(x)) + 1)
    f = lambda y: float(weights @ np.array(flat(y), float)) if len(weights) else 0.0  # noqa: E731
    for method in ("central", "forward", "adaptive"):
        found = fl.gradient(f, x, method=method)
        assert shape_of(found) == expected_shape(x)
        assert flat(found) == pytest.approx(weights, rel=1e-4 if "float32" in str(shape_of(found)) else 1e-8)
    u = fl.vjp(lambda y: np.array([f(y), 2 * f(y)]), x, [1.0, 1.0])
    assert shape_of(u) == expected_shape(x)
    assert flat(u) == pytest.approx(3 * weights, rel=1e-4)


def test_the_jacobian_has_the_shape_of_f_and_then_of_x():
    x = np.arange(6.0).reshape(2, 3)
    for shape in ((), (1,), (4,), (2, 2), (0,), (3, 0)):
        a = np.random.default_rng(0).normal(size=(*shape, 2, 3))
        found = fl.jacobian(lambda x, a=a: np.tensordot(a, x, axes=2), x)
        assert found.shape == a.shape
        assert found == pytest.approx(a, abs=1e-8)
    tree = fl.jacobian(lambda t: np.outer(t["a"], t["b"]), {"a": np.ones(2), "b": np.ones(3), "c": 1.0})
    assert {key: part.shape for key, part in tree.items()} == {"a": (2, 3, 2), "b": (2, 3, 3), "c": (2, 3)}
    assert fl.jacobian(lambda x: np.ones((2, 3)), np.zeros(0)).shape == (2, 3, 0)
    assert fl.jacobian(lambda x: np.array([x, x**2]), 3.0) == pytest.approx([1.0, 6.0])
    assert fl.jacobian(lambda x: x**2, 3.0) == pytest.approx(6.0)


def test_derivative_at_many_points():
    x = np.array([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]])
    assert fl.derivative(math.sin, x) == pytest.approx(np.cos(x))
    assert fl.derivative(lambda t: np.array([[t], [t**2]]), x).shape == (2, 3, 2, 1)
    assert fl.derivative(lambda t: np.array([[t], [t**2]]), x)[1, 2, :, 0] == pytest.approx([1, 6])
    assert fl.derivative(math.sin, {"a": 0.5, "b": [1.0, 2.0]})["b"] == pytest.approx(np.cos([1.0, 2.0]))
    assert fl.derivative(lambda t: np.array([t, 2 * t]), {"a": np.ones(3)})["a"].shape == (3, 2)
    assert fl.derivative(math.sin, np.zeros(0)).shape == (0,)
    assert type(fl.derivative(math.sin, 1.0)) is np.float64
    assert fl.derivative(math.sin, np.array(1.0)).shape == ()
    assert fl.derivative(np.sin, x.astype(np.float32)).dtype == np.float32
    seen = []
    fl.derivative(lambda t: seen.append(type(t)) or float(t), np.float32([1.0, 2.0]))
    assert set(seen) == {np.float32}
    assert fl.derivative(lambda t: 1e39 * float(t), np.float32(1.0)) == np.inf  # no float32 is that large
    mixed = fl.derivative(lambda t: np.exp(float(t)), {"single": np.float32([0.5]), "double": np.array([0.3])})
    assert mixed["double"] == pytest.approx(math.exp(0.3), rel=1e-12)
    assert fl.derivative(np.sin, x, method="complex", bounds=(np.zeros((2, 3)), 4.0), typical=x) == pytest.approx(
        np.cos(x)
    )


def test_the_hessian_has_the_shape_of_x_twice():
    x = np.ones((2, 2))
    found = fl.hessian(lambda x: float((x**2).sum() + x[0, 1] * x[1, 0]), x, accuracy=4)
    assert found.shape == (2, 2, 2, 2)
    assert found[0, 1, 1, 0] == pytest.approx(1)
    assert found[0, 1] == pytest.approx(np.array([[0.0, 2], [1, 0]]), abs=1e-7)
    tree = {"a": np.ones((2, 1)), "b": 2.0}
    found = fl.hessian(lambda t: (t["a"] ** 2).sum() * t["b"], tree, accuracy=4)
    assert found["a"]["a"].shape == (2, 1, 2, 1)
    assert found["a"]["b"].shape == found["b"]["a"].shape == (2, 1)
    assert found["b"]["a"][:, 0] == pytest.approx([2, 2])
    assert found["b"]["b"] == pytest.approx(0, abs=1e-6)
    assert fl.hessian(lambda x: x**3, 2.0) == pytest.approx(12)
    product = fl.hvp(lambda t: (t["a"] ** 2).sum() * t["b"], tree, {"a": np.ones((2, 1)), "b": 1.0}, accuracy=4)
    assert product["a"] == pytest.approx(np.full((2, 1), 2 * 2 + 2 * 1), abs=1e-6)
    assert product["b"] == pytest.approx(2 * 1 + 2 * 1, abs=1e-6)
    assert fl.hessian(lambda x: 0.0, np.zeros(0)).shape == (0, 0)


def test_partial_names_an_entry():
    x = {"W": np.arange(6.0).reshape(2, 3), "l": [np.ones(2), 3.0]}
    f = lambda t: 10 * t["W"][1, 2] + 20 * t["l"][0][1] + 30 * t["l"][1]  # noqa: E731
    assert fl.partial(f, x, ("W", (1, 2))) == pytest.approx(10)
    assert fl.partial(f, x, ("W", (-1, -1))) == pytest.approx(10)
    assert fl.partial(f, x, ("l/0", 1)) == pytest.approx(20)
    assert fl.partial(f, x, "l/1") == pytest.approx(30)
    assert fl.partial(lambda x: x[1, 0] ** 2, np.ones((2, 2)), (1, 0)) == pytest.approx(2)
    assert fl.partial(lambda x: np.array([x[1], x[1] ** 2]), [1.0, 2.0], 1) == pytest.approx([1, 4])
    assert fl.partial(lambda x: x**2, 3.0, ()) == pytest.approx(6)


def test_complex_valued_functions():
    """The derivative by a real x of f = u + iv is u' + iv'."""
    f = lambda t: np.exp(1j * t)  # noqa: E731
    for method in ("central", "forward", "adaptive"):
        assert fl.derivative(f, 0.7, method=method) == pytest.approx(1j * np.exp(0.7j), abs=1e-7)
    full = fl.derivative(f, 0.7, full_output=True)
    assert abs(full.value - 1j * np.exp(0.7j)) <= full.error < 1e-11
    x = np.array([0.3, 0.5])
    assert fl.gradient(lambda x: np.exp(1j * x[0]) * x[1], x) == pytest.approx(
        np.exp(0.3j) * np.array([0.5j, 1]), abs=1e-9
    )
    full = fl.jacobian(lambda x: np.array([x[0] * 1j, x[1]]), x, full_output=True, accuracy=4)
    assert full.value == pytest.approx(np.array([[1j, 0], [0, 1]]), abs=1e-9)
    assert (abs(full.value - [[1j, 0], [0, 1]]) <= full.error).all()
    assert fl.hessian(lambda x: x[0] * x[1] * 1j, x) == pytest.approx(1j * np.array([[0, 1], [1, 0]]), abs=1e-6)
    for method in ("central", "forward", "adaptive"):
        assert fl.derivative(lambda t: t**2 + 0j, 0.7, method=method) == pytest.approx(1.4, abs=1e-7)
        assert fl.derivative(lambda t: complex(1e-20, math.exp(t)), 0.7, method=method) == pytest.approx(
            1j * math.exp(0.7), abs=1e-7
        )
        for f in (lambda t: abs(t) + 1j * t, lambda t: t + 1j * abs(t)):  # a kink of either part
            assert fl.derivative(f, 0.0, method=method, full_output=True).status == "kink"
        for unit in (1, 1j):  # the other part is known exactly
            full = fl.derivative(lambda t, u=unit: u * math.exp(9 * math.sin(t)), 0.7, method=method, full_output=True)
            truth = unit * 9 * math.cos(0.7) * math.exp(9 * math.sin(0.7))
            assert 0 < abs(full.value - truth) <= full.error < 1e-2 * abs(truth)


@pytest.mark.parametrize("method", ["central", "forward", "adaptive"])
def test_single_precision(method):
    """Steps fit float32, in x or in f alone: 1e-6 would leave no digit."""
    x = np.linspace(0.5, 2.0, 4, dtype=np.float32)
    calls = {"x and f": (lambda x: np.sin(x).sum(), x), "f": (lambda x: np.float32(np.sin(x).sum()), x.astype(float))}
    for f, point in calls.values():
        found = fl.gradient(f, point, method=method)
        assert found.dtype == point.dtype
        assert found == pytest.approx(np.cos(x), rel=5e-3 if method == "forward" else 1e-3)
    stacked = lambda x: np.sin(x).sum(axis=-1).astype(np.float32)  # noqa: E731
    assert fl.gradient(stacked, x.astype(float), method=method, vectorized=True) == pytest.approx(np.cos(x), abs=5e-3)
    found = fl.gradient(lambda x: float(np.sin(x.astype(float)).sum()), x, method="central", accuracy=4)
    assert found == pytest.approx(np.cos(x.astype(float)), abs=1e-5)
    full = fl.gradient(lambda x: np.sin(x).sum(), x, method=method, full_output=True)
    assert (abs(full.value - np.cos(x.astype(float))) <= full.error).all()
    assert full.error.max() < 1e-2


@pytest.mark.parametrize("method", ["central", "forward", "adaptive"])
def test_single_precision_in_a_part_of_x(method):
    """Every entry has steps that fit its own precision."""
    x = {"single": np.float32([0.1, 0.7, 2.3]), "double": np.array([0.1, 0.7, 2.3])}
    f = lambda t: np.sin(t["single"].astype(float)).sum() + np.sin(t["double"]).sum()  # noqa: E731
    full = fl.gradient(f, x, method=method, full_output=True)
    for name, allowed in (("single", 5e-3 if method == "forward" else 1e-4), ("double", 1e-7)):
        exact = np.cos(x[name].astype(float))
        assert full.value[name].dtype == x[name].dtype
        assert full.value[name] == pytest.approx(exact, abs=allowed)
        assert (abs(full.value[name] - exact) <= full.error[name]).all()
    assert (full.step["double"] < full.step["single"]).all() or method == "adaptive"


def test_what_x_really_moves_by_in_single_precision():
    """A line has the same slope however far x moves, and 0.1 + 0.003 is rounded to 24 bits."""
    for x in (np.float32([0.1, 0.7]), {"a": np.float32([0.1, 0.7]), "b": 2.0}):
        line = lambda x: 3 * float(x["a"][0] + 0.0 if isinstance(x, dict) else x[0])  # noqa: E731
        found = fl.gradient(line, x, step=0.003)
        assert (found["a"] if isinstance(x, dict) else found)[0] == np.float32(3)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_order_of_x_in_memory(order):
    weights = np.arange(1.0, 7.0).reshape(2, 3)
    x = np.array(weights, order=order)
    assert fl.gradient(lambda x: float((weights * x).sum()), x) == pytest.approx(weights)
    assert fl.gradient(lambda x: float((weights * x[::-1]).sum()), x[:, ::-1]) == pytest.approx(weights[::-1])


# ---------------------------------------------------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------------------------------------------------


def distances(f, x):
    return sorted({float(abs(np.ravel(p - np.asarray(x))).max()) for p in f.points})


def test_steps_that_are_asked_for():
    f = recorded(lambda x: float((x**2).sum()))
    x = np.array([1.0, -200.0, 0.0])
    fl.gradient(f, x, step=0.25)
    assert [p.tolist() for p in f.points[:2]] == [[0.75, -200.0, 0.0], [1.25, -200.0, 0.0]]
    assert distances(f, x) == [0.25]
    f.points.clear()
    fl.gradient(f, x, step=[0.5, 2.0, 0.25])
    assert [float(abs(p - x).max()) for p in f.points] == [0.5, 0.5, 2.0, 2.0, 0.25, 0.25]
    f.points.clear()
    fl.gradient(f, x, step=0.25, relative=True)
    assert [float(abs(p - x).max()) for p in f.points] == [0.25, 0.25, 50.0, 50.0, 0.25, 0.25]
    f.points.clear()
    fl.gradient(f, x, step=0.25, relative=True, typical=[1.0, 1.0, 8.0])
    assert [float(abs(p - x).max()) for p in f.points][4:] == [2.0, 2.0]
    tree = {"a": np.ones(2), "b": 3.0}
    found = fl.gradient(lambda t: t["a"][0] * t["b"], tree, step={"b": 0.5, "a": [0.25, 0.125]}, full_output=True)
    assert found.step["a"].tolist() == [0.25, 0.125]
    assert found.step["b"] == 0.5


def test_default_steps_are_powers_of_two_of_the_scale():
    f = recorded(lambda x: float((x**2).sum()))
    x = np.array([0.0, 1e-5, 1.0, 300.0])
    full = fl.gradient(f, x, full_output=True)
    assert np.array_equal(np.log2(full.step) % 1, np.zeros(4))
    assert full.step / np.maximum(abs(x), 1) == pytest.approx(8.7e-6, rel=0.45)
    assert full.value == pytest.approx(2 * x, abs=1e-5)
    smaller = fl.gradient(f, x, typical=1e-5, full_output=True)
    assert smaller.step[:2] / 1e-5 == pytest.approx(8.7e-6, rel=0.45)
    single = fl.gradient(lambda x: (x**2).sum(), x.astype(np.float32), full_output=True)
    assert single.step[2] == pytest.approx(7.1e-3, rel=0.45)


@pytest.mark.parametrize("method", METHODS)
def test_at_zero_there_is_a_step(method):
    assert fl.derivative(np.exp, 0.0, method=method) == pytest.approx(1.0, rel=1e-7)
    assert fl.gradient(lambda x: np.exp(x).sum(), np.zeros(3), method=method) == pytest.approx(np.ones(3), rel=1e-7)
    assert fl.derivative(np.exp, np.float32(0), method=method) == pytest.approx(1.0, rel=2e-3)


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1.0, 1e12, 1e200])
@pytest.mark.parametrize("method", ["central", "forward", "adaptive"])
def test_scaling_f_scales_the_derivative(method, scale):
    """To the last bit, by a power of two."""
    scale = 2.0 ** round(math.log2(scale))
    one, other = (
        fl.derivative(lambda t, s=s: s * math.sin(t), 1.0, method=method, full_output=True) for s in (1.0, scale)
    )
    assert other.value == one.value * scale
    assert other.error == pytest.approx(one.error * scale, rel=1e-12)
    assert (other.status, other.step, other.nfev) == (one.status, one.step, one.nfev)


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20])
@pytest.mark.parametrize("method", ["central", "forward", "adaptive"])
def test_scaling_x_scales_the_derivative(method, scale):
    one, other = (
        fl.derivative(lambda t, s=s: math.sin(t / s), 1.3 * s, method=method, full_output=True, typical=s)
        for s in (1.0, scale)
    )
    assert other.value == one.value / scale
    assert other.step == one.step * scale


def test_noise_widens_the_steps():
    """Of sin with pseudo-noise of 1e-6, steps that are blind to noise make nothing."""
    rng = np.random.default_rng(0)
    f = lambda x: float(np.sin(x).sum() + 1e-6 * rng.uniform(-1, 1))  # noqa: E731
    x = np.linspace(0.5, 1.5, 5)
    blind = np.abs(fl.gradient(f, x) - np.cos(x)).max()
    assert blind > 1e-2
    for options in ({"noise": "estimate"}, {"noise": 6e-7}, {"step": "shi"}, {"step": "shi", "noise": 6e-7}):
        full = fl.gradient(f, x, full_output=True, **options)
        assert np.abs(full.value - np.cos(x)).max() < 1e-3
        assert (np.abs(full.value - np.cos(x)) <= full.error).all()
        assert full.error.max() < 2e-2
        assert 1e-7 < full.noise < 3e-6
        assert fl.gradient(f, x, **options) == pytest.approx(np.cos(x), abs=1e-3)
    assert fl.hessian(f, x, noise="estimate") == pytest.approx(np.diag(-np.sin(x)), abs=0.2)
    exact = fl.gradient(lambda x: float(np.sin(x).sum()), x, noise=0, full_output=True)
    assert exact.noise == 0
    assert exact.value == pytest.approx(np.cos(x))


def test_the_step_that_fits_the_noise():
    """The error h**2/6 + noise/h of central differences is least for h**3 = 3 noise; steps are powers of two."""
    nearest = lambda h: 2.0 ** round(math.log2(h))  # noqa: E731
    for slope in (8.0, 2.0**-7):  # noise counts relative to how much f varies over half the scale
        found = fl.derivative(lambda t, a=slope: a * t, 1.0, method="central", noise=2.0**-20, full_output=True)
        assert found.step == nearest((3 * 2.0**-20 / (slope / 2)) ** (1 / 3))
    found = fl.derivative(np.exp, 1.0, method="central", noise=1e-30, full_output=True)
    assert found.step == nearest((3 * 2.0**-54) ** (1 / 3))  # rounding is there in any case, a quarter of eps
    both = fl.jacobian(lambda x: np.array([8 * x[0], x[0] / 128]), [1.0], noise=2.0**-20, full_output=True)
    weak = fl.gradient(lambda x: x[0] / 128, [1.0], noise=2.0**-20, full_output=True)
    assert both.step.tolist() == [[weak.step[0]]] * 2  # the output in which noise counts most decides
    root = fl.gradient(lambda x: np.sqrt(x).sum(), np.array([0.3]), noise=1e-10)  # sqrt(0.3 - 0.5) is NaN
    assert root == pytest.approx([0.5 / math.sqrt(0.3)], rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"noise": 1e-7}, {"noise": "estimate"}, {"step": "shi"}, {"step": 0.125}, {"accuracy": 4}, {"method": "adaptive"}],
)
def test_every_entry_of_an_array_has_the_derivative_that_it_has_alone(options):
    x = np.array([0.5, 2.0, -3.0])
    options = {"method": "central", "full_output": True} | options
    together = fl.derivative(lambda t: math.exp(t) * 10, x, **options)
    for i, one in enumerate(x):
        alone = fl.derivative(lambda t: math.exp(t) * 10, one, **options)
        for name in ("value", "error", "step", "status"):
            assert getattr(together, name)[i] == getattr(alone, name), name


@pytest.mark.parametrize("level", [1e-14, 1e-10, 1e-6, 1e-4])
@pytest.mark.parametrize("method", ["forward", "central"])
def test_the_search_of_shi_xie_xuan_and_nocedal(method, level):
    """Steps of functions whose scales nobody has told, and that differ by 10^4, come within a factor of the best."""
    rng = np.random.default_rng(0)
    x, stretch = np.array([0.7, 0.7e-2, 0.7e2, 0.7]), np.array([1.0, 1e-2, 1e2, 1e-1])

    def f(x):
        u = x / stretch
        return float(np.sum(u**2 + u**3 / 3) + level * rng.normal())

    options = {"method": method, "accuracy": 1 if method == "forward" else 2}
    full = fl.gradient(f, x, step="shi", noise=level, full_output=True, **options)
    second, third = 2 + 2 * x / stretch, 2
    best = 2 * np.sqrt(level / second) if method == "forward" else (3 * level / third) ** (1 / 3)
    ratio = full.step / (best * stretch)
    assert (ratio > 0.2).all()
    assert (ratio < 4).all()


def test_shi_of_functions_that_have_no_best_step():
    for f, slope in ((lambda x: 3 * x[0], 3.0), (lambda x: 7.0, 0.0)):
        full = fl.gradient(f, [2.0], step="shi", full_output=True)
        assert full.value == pytest.approx([slope], abs=1e-9)
        assert full.step <= 2.0
    assert fl.gradient(lambda x: math.log(x[0]), [1e-6], step="shi") == pytest.approx([1e6], rel=1e-3)
    assert fl.gradient(lambda x: x[0] ** 2, [1.0], step="shi", bounds=(0.9999, 1.0)) == pytest.approx([2.0], rel=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Bounds and domains
# ---------------------------------------------------------------------------------------------------------------------

OPTIONS = [
    {"method": "central"}, {"method": "central", "accuracy": 8}, {"method": "forward", "accuracy": 4},
    {"method": "backward", "accuracy": 1}, {"method": "adaptive"}, {"method": "central", "noise": "estimate"},
    {"method": "central", "step": "shi"}, {"method": "central", "step": 0.3}, {"method": "complex"},
]  # fmt: skip
PLACES = [
    (0.0, 1.0),
    (-1.0, 0.5),
    (0.5, 0.5 + 1e-9),
    (0.5 - 1e-7, 0.5),
    (0.5, np.inf),
    (-np.inf, 0.5),
    (0.5 - 1e-4, 0.5 + 1e-2),
]


@pytest.mark.parametrize("full_output", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("low", "high"), PLACES)
def test_f_is_never_called_outside_of_the_bounds(low, high, options, full_output):
    def inside(x):
        x = np.real(np.asarray(x))
        assert ((low <= x) & (x <= high)).all()

    def scalar(t):
        inside(t)
        return np.exp(t)

    def f(x):
        inside(x)
        return np.exp(x).sum()

    options = options | {"bounds": (low, high), "full_output": full_output}
    narrow = high - low < 1e-3
    for found in (fl.derivative(scalar, 0.5, **options), fl.gradient(f, np.full(3, 0.5), **options)):
        value = found.value if full_output else found
        assert value == pytest.approx(
            np.full(np.shape(value), math.exp(0.5)), rel=0.3 if narrow or "step" in options else 1e-6
        )
        if full_output:
            assert (np.abs(value - math.exp(0.5)) <= found.error).all()
    if "step" not in options:
        fl.directional(f, np.full(3, 0.5), [1.0, -1.0, 0.5], **options) if low < 0.5 < high else None
    if options["method"] != "complex":
        second = options | {"accuracy": 2} if options["method"] != "adaptive" else options
        for keywords in (options, second):
            with contextlib.suppress(ValueError) if narrow and not full_output else contextlib.nullcontext():
                fl.hessian(f, np.full(2, 0.5), **keywords)  # or: rounding hides it


WIDTHS = [1e-3, 1e-6, 1e-8, 1e-10, 1e-12]


@pytest.mark.parametrize("method", ["central", "forward", "backward", "adaptive"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("left", "right"), [(1, 1), (0, 1), (1, 0), (1, 0.1)])
def test_a_smooth_function_is_one_within_narrow_bounds(left, right, width, method):
    bounds = (1 - left * width, 1 + right * width)
    waves = lambda x: np.sin(100 * x)  # noqa: E731
    for f, truth in ((np.exp, math.e), (np.sin, math.cos(1)), (np.square, 2.0), (waves, 100 * math.cos(100))):
        found = fl.derivative(f, 1.0, bounds=bounds, method=method, full_output=True)
        assert found.status == "ok"
        assert abs(found.value - truth) <= found.error < 0.05 * abs(truth)


SECOND = [{"method": "adaptive"}, {"method": "central"}, {"method": "forward"}, {"method": "central", "accuracy": 4}]


@pytest.mark.parametrize("options", SECOND, ids=str)
def test_second_derivatives_that_bounds_leave_no_room_for_are_refused(options):
    for f in (np.exp, np.sin, lambda x: x**2):
        for width in (1e-8, 1e-10, 1e-12):
            narrow = options | {"bounds": (1 - width, 1 + width), "order": 2}
            with pytest.raises(ValueError, match=rf"derivative\(bounds\): must leave room .*; got {width:.0e} at x\."):
                fl.derivative(f, 1.0, **narrow)
            found = fl.derivative(f, 1.0, **narrow, full_output=True)
            assert (found.status, found.error) == ("no room", np.inf)
        x = np.array([1.0, 1.0])
        with pytest.raises(ValueError, match=r"hessian\(bounds\): must leave room .* at x\[1\]"):
            fl.hessian(lambda x, f=f: np.sum(f(x)), x, bounds=([0, 1 - 1e-9], [2, 1 + 1e-9]), **options)


@pytest.mark.parametrize("options", SECOND, ids=str)
def test_second_derivatives_that_are_seen_within_narrow_bounds(options):
    """Bounds are no hindrance where f varies as quickly as they are narrow, or values say enough."""
    for width in (1e-10, 1e-8):
        bounds = (1 - width, 1 + width)
        found = fl.derivative(lambda x, w=width: np.cosh((x - 1) / w), 1.0, order=2, bounds=bounds, **options)
        assert found == pytest.approx(width**-2, rel=0.15)
    wide = fl.derivative(np.exp, 1.0, order=2, bounds=(1 - 1e-5, 1 + 1e-5), **options, full_output=True)
    assert wide.status == "ok"
    assert abs(wide.value - math.e) <= wide.error
    assert fl.derivative(lambda x: 3 * x, 1.0, order=2, bounds=(1, 1 + 1e-4), **options) == pytest.approx(0, abs=1e-2)
    if options["method"] == "central":  # a step of the user's, not of the bounds
        fl.derivative(np.exp, 1.0, order=2, step=1e-9, bounds=(0, 2), **options)


def test_sides_switch_and_keep_their_order():
    """At an end of the bounds, the formula goes to the inside, with the same accuracy."""
    for x, sign in ((0.0, 1), (1.0, -1)):
        f = recorded(lambda x: float(np.exp(x[0])))
        for method in ("central", "forward", "backward"):
            f.points.clear()
            found = fl.gradient(f, [x], method=method, accuracy=4, bounds=(0, 1))
            assert found == pytest.approx([math.exp(x)], rel=1e-9)
            offsets = sorted(
                {
                    round(sign * float(p[0] - x) / min(abs(float(q[0]) - x) for q in f.points if q[0] != x))
                    for p in f.points
                }
            )
            assert offsets == [0, 1, 2, 3, 4]
        errors = [fl.gradient(f, [x], accuracy=4, bounds=(0, 1), step=h)[0] - math.exp(x) for h in (0.2, 0.1)]
        assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.5)


def test_bounds_of_many_forms():
    optimize = types.SimpleNamespace(lb=[0.0, -np.inf], ub=np.array([1.0, 2.0]))
    one_for_all = types.SimpleNamespace(lb=np.array([0.0]), ub=np.array([2.0]))  # as of scipy.optimize.Bounds(0, 2)
    half_open = ([-np.inf, 0], [1, np.inf])
    for bounds in ((0, 2), [0, 2], ([0, 0], [1, 2]), (0, [1, 2]), optimize, one_for_all, (-np.inf, np.inf), half_open):
        f = recorded(lambda x: float((x**3).sum()))
        assert fl.gradient(f, [1.0, 2.0], bounds=bounds) == pytest.approx([3.0, 12.0])
        assert (np.array(f.points)[:, 0] <= 1).all() or bounds in ((0, 2), [0, 2], one_for_all, (-np.inf, np.inf))
        if bounds not in ((-np.inf, np.inf), half_open):
            assert (np.array(f.points) <= [2.0, 2.0]).all()
    tree = {"a": np.ones(2), "b": 0.0}
    found = fl.gradient(lambda t: t["a"].sum() * math.exp(t["b"]), tree, bounds=({"b": 0.0, "a": [0, 0]}, 1.0))
    assert found["a"] == pytest.approx([1.0, 1.0])
    assert found["b"] == pytest.approx(2.0)
    single = np.array([0.1], np.float32)  # a little more than 0.1
    assert fl.gradient(lambda x: float(x[0]) ** 2, single, bounds=(0, 0.1)) == pytest.approx([0.2], rel=1e-3)


def test_corners_and_fixed_entries():
    """Directions through several entries go where there is room; one that is fixed is not moved."""
    x, bounds = np.array([0.0, 1.0, 0.5]), ([0, 0, 0.5], [1, 1, 0.5])

    def f(x):
        assert (x >= bounds[0]).all()
        assert (x <= bounds[1]).all()
        return float(np.exp(x[0] + 2 * x[1]) * x[2])

    for options in ({}, {"noise": "estimate"}, {"full_output": True}, {"method": "adaptive"}):
        found = fl.partial(f, x, 0, bounds=bounds, **({"method": "central"} | options))
        assert getattr(found, "value", found) == pytest.approx(math.exp(2) / 2, rel=1e-7)
    rng = np.random.default_rng(0)
    noisy = fl.partial(
        lambda x: f(x) + 1e-6 * rng.normal(), x, 0, bounds=bounds, noise="estimate", method="central", full_output=True
    )
    assert 1e-7 < noisy.noise < 1e-5
    hessian = fl.hessian(lambda y: f(np.append(y, 0.5)), x[:2], bounds=(0, 1), accuracy=4)
    assert hessian == pytest.approx(math.exp(2) / 2 * np.array([[1, 2], [2, 4]]), rel=1e-5)
    product = fl.hvp(lambda y: f(np.append(y, 0.5)), x[:2], [1.0, -1.0], bounds=(0, 1), accuracy=4)
    assert product == pytest.approx(math.exp(2) / 2 * np.array([-1, -2]), rel=1e-4)


@pytest.mark.parametrize("method", ["central", "forward", "backward", "adaptive"])
def test_retreat_from_where_f_is_not_finite(method):
    cases = [
        (math.log, 1e-9, 1e9), (math.sqrt, 1e-8, 0.5e4), (lambda t: math.log(1 - t), 1 - 1e-6, -1e6),
        (lambda t: np.log(t) if t > 0 else np.inf, 1e-3, 1e3), (lambda t: math.sqrt(1 - t) + t, 1 - 2.0**-20, -511.0),
        (lambda t: t if t >= 0 else math.nan, 0.0, 1.0), (lambda t: 2 * t if t <= 3 else math.inf, 3.0, 2.0),
    ]  # fmt: skip
    for f, x, truth in cases:
        full = fl.derivative(f, x, method=method, full_output=True)
        assert abs(full.value - truth) <= max(full.error, 1e-9 * abs(truth))
        if method in ("central", "adaptive"):  # one-sided steps may go the way where nothing tells of the end
            assert full.value == pytest.approx(truth, rel=2e-3)
            assert full.status == "ok"
        assert fl.derivative(f, x, method=method) == full.value


def test_outputs_that_are_not_finite_do_not_harm_the_others():
    f = lambda x: np.array([np.log(x[0]), x[1] ** 2, np.log(-x[0])])  # noqa: E731
    found = fl.jacobian(f, [1e-7, 3.0], full_output=True)
    assert found.value[:2] == pytest.approx(np.array([[1e7, 0], [0, 6]]), rel=1e-3, abs=1e-6)
    assert np.isnan(found.value[2]).all()
    assert found.status[2].tolist() == ["not finite"] * 2
    assert np.isposinf(found.error[2]).all()
    assert fl.jacobian(f, [1e-7, 3.0])[1] == pytest.approx([0, 6], abs=1e-8)
    assert np.isnan(fl.jacobian(f, [1e-7, 3.0], method="adaptive")[2]).all()


def test_a_vector_function_that_raises_at_some_points():
    f = lambda t: np.array([math.log(t), t, 2 * t])  # noqa: E731
    for method in ("central", "backward", "adaptive"):
        for workers in (None, map):
            assert fl.derivative(f, 1e-7, method=method, workers=workers) == pytest.approx([1e7, 1, 2], rel=2e-3)


@pytest.mark.parametrize("f", [lambda t: math.nan, lambda t: math.log(-1), lambda t: 1 / 0, lambda t: np.inf])
def test_no_answer_is_refused(f):
    for method in ("central", "forward", "adaptive"):
        with pytest.raises(ValueError, match="must have a derivative at x; got no finite difference"):
            fl.derivative(f, 1.0, method=method)
        full = fl.derivative(f, 1.0, method=method, full_output=True)
        assert np.isnan(full.value)
        assert (full.error, full.status) == (np.inf, "not finite")


# ---------------------------------------------------------------------------------------------------------------------
# What is reported
# ---------------------------------------------------------------------------------------------------------------------


FIXED = [
    *({"method": method} for method in ("central", "forward")),
    *({"method": method, "accuracy": 4} for method in ("central", "backward")),
]


@pytest.mark.parametrize("options", FIXED, ids=str)
@pytest.mark.parametrize("height", [0.1, 7.0, -1e6])
def test_a_jump_within_the_step_has_a_status(options, height):
    """The derivative is there, nearer to x, and the bound of the error is honest; but the value is of no use."""
    x, side = 1.0, -1 if options["method"] == "backward" else 1
    step = fl.derivative(lambda t: t, x, **options, full_output=True).step
    for distance in (0.9 * step, 0.4 * step, 0.01 * step, 1e-9):

        def jump(t, place=x + side * distance):
            return np.where(side * (t - place) < 0, t, t + height)

        found = fl.derivative(jump, x, **options, full_output=True)
        assert found.status in ("unresolved", "diverges")
        assert abs(found.value - 1) <= found.error


@pytest.mark.parametrize("method", ["central", "forward", "backward"])
@pytest.mark.parametrize("line", [0, 1])
@pytest.mark.parametrize("distance", [0.9, 0.4, 0.01])
def test_a_jump_of_one_output_is_told_beside_others_that_change_more(method, line, distance):
    x = np.array([1.0, 100.0])  # whose steps differ
    side = -1 if method == "backward" else 1
    place = x[line] + side * distance * fl.jacobian(np.sum, x, method=method, full_output=True).step[line]

    def f(x):
        return np.array([1e4 * x[0] + 1e4 * x[1], x[0] + x[1] + 3.0 * (side * (x[line] - place) >= 0), x[0] * x[1]])

    found = fl.jacobian(f, x, method=method, full_output=True)
    assert np.argwhere(found.status != "ok").tolist() == [[1, line]]
    assert (abs(found.value - [[1e4, 1e4], [1, 1], [100, 1]]) <= found.error).all()


@pytest.mark.parametrize("options", FIXED, ids=str)
@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: x**3, 0.0), (lambda x: x**3 + 1, 0.0), (lambda x: x**9, 0.0), (lambda x: 1.0, 0.0),
        (lambda x: math.tanh(300 * x), 0.0), (lambda x: math.cos(30 * x), 0.0), (lambda x: max(x, 0.0), 1e-7),
        (lambda x: 100 * (x - x**2) ** 2 + (1 - x) ** 2, 1.0), (lambda x: 1e-30 * math.sin(x), 1.0),
        (lambda x: math.sin(x) + 1e-3 * math.cos(1e12 * x), 1.0), (lambda x: 1e300 * math.sin(x), 1.0),
        (lambda x: math.sin(1e6 * x), 1.0), (lambda x: math.tanh(1e5 * x), 1e-6),
        (math.floor, 0.5), (lambda x: math.exp(-1 / x**2) if x else 0.0, 0.0), (math.log, 0.1),
    ],
)  # fmt: skip
def test_what_has_no_jump_has_none(f, x, options):
    assert fl.derivative(f, x, **options, full_output=True).status == "ok"


def test_full_output():
    x = {"a": np.array([1.0, 2.0], np.float32), "b": 3.0}
    full = fl.gradient(lambda t: float((t["a"].astype(float) ** 2).sum() * t["b"]), x, full_output=True)
    assert isinstance(full, fl.Derivative)
    for part in (full.value, full.error, full.step):
        assert list(part) == ["a", "b"]
        assert part["a"].dtype == np.float32
        assert isinstance(part["b"], np.float64)
    assert full.status["a"].tolist() == ["ok", "ok"]
    assert isinstance(full.nfev, int)
    assert isinstance(full.noise, float)
    assert full.asymmetry is None
    one = fl.derivative(math.sin, 1.0, full_output=True)
    assert (type(one.status), type(one.value)) == (str, np.float64)
    jacobian = fl.jacobian(lambda x: np.array([x[0], x[1] ** 2, 1.0]), [1.0, 2.0], full_output=True)
    assert jacobian.value.shape == jacobian.error.shape == jacobian.step.shape == jacobian.status.shape == (3, 2)
    assert (abs(jacobian.value - [[1, 0], [0, 4], [0, 0]]) <= jacobian.error).all()
    hvp = fl.hvp(rosenbrock, [1.0, 1.0], [1.0, 0.0], full_output=True)
    assert (abs(hvp.value - [802, -400]) <= hvp.error).all()
    zero = fl.directional(rosenbrock, [1.0, 1.0], [0.0, 0.0], full_output=True)
    assert (zero.value, zero.error, zero.status) == (0.0, 0.0, "ok")
    assert fl.gradient(lambda x: 1.0, np.zeros(0), full_output=True).value.shape == (0,)


@pytest.mark.parametrize(
    "options", [{}, {"accuracy": 4}, {"method": "adaptive"}, {"method": "forward", "accuracy": 4}, {"step": 1e-2}]
)
def test_hessians_are_symmetric_and_bounded(options):
    rng = np.random.default_rng(0)
    for _ in range(10):
        n = 4
        a = rng.normal(size=(n, n))
        x = rng.normal(size=n)
        f = lambda x, a=a: float(np.exp(0.3 * np.sin(a @ x).sum()))  # noqa: E731
        s, c = np.sin(a @ x), np.cos(a @ x)
        g = 0.3 * a.T @ c
        truth = math.exp(0.3 * s.sum()) * (np.outer(g, g) - 0.3 * a.T @ np.diag(s) @ a)
        full = fl.hessian(f, x, full_output=True, **options)
        assert np.array_equal(full.value, full.value.T)
        assert (np.abs(full.value - truth) <= full.error).mean() >= 0.99
        assert full.asymmetry is None
        assert np.array_equal(fl.hessian(f, x, **options), full.value)


def test_second_derivatives_follow_the_units_of_x():
    """In units of other powers of two, values, errors and steps are the same numbers in those units, bit for bit."""
    units = np.array([2.0**12, 2.0**-6, 2.0**4])
    x, v = np.array([0.75, -1.25, 2.5]), np.array([1.0, -2.0, 0.5])
    f = lambda x: float(np.exp(x[0] - x[1]) * np.sin(x[2]))  # noqa: E731
    scaled = lambda y: f(y / units)  # noqa: E731
    for method in ("central", "adaptive"):
        plain = fl.hessian(f, x, method=method, full_output=True, noise=1e-12)
        other = fl.hessian(scaled, x * units, typical=units, method=method, full_output=True, noise=1e-12)
        pair = np.outer(units, units)
        assert (plain.error > 0).all()
        assert np.array_equal(other.value, plain.value / pair)
        assert np.array_equal(other.error, plain.error / pair)
        assert other.step == pytest.approx(plain.step * np.sqrt(pair), rel=1e-15, abs=0)
        plain = fl.hvp(f, x, v, method=method, full_output=True, noise=1e-12)
        other = fl.hvp(scaled, x * units, v * units, typical=units, method=method, full_output=True, noise=1e-12)
        assert (plain.error > 0).all()
        assert np.array_equal(other.value, plain.value / units)
        assert np.array_equal(other.error, plain.error / units)
        assert np.array_equal(other.step, plain.step * units)


def test_the_errors_of_second_derivatives_add_up():
    """Where f is constant along one of the directions, the other one has all of the error."""
    near_bounds = {"typical": 64.0, "bounds": ([-100, -100], [300, 1.01])}  # the second axis points down
    for options in ({"typical": 64.0}, near_bounds):
        for f, mixed in ((lambda x: np.exp(x[0] - x[1]), -1.0), (lambda x: np.exp(x[0] + x[1] - 2), 1.0)):
            truth = np.array([[1.0, mixed], [mixed, 1.0]])
            found = fl.hessian(f, [1.0, 1.0], full_output=True, **options)
            assert (np.abs(found.value - truth) <= found.error).all()
            assert found.error.max() < 0.5
            for v in np.eye(2):
                found = fl.hvp(f, [1.0, 1.0], v, full_output=True, **options)
                assert (np.abs(found.value - truth @ v) <= found.error).all()
                assert found.error.max() < 0.5
    alone = fl.hessian(lambda x: np.exp(x[0]), [1.0, 1.0], full_output=True, typical=64.0)
    assert alone.error[0, 1] == pytest.approx(alone.error[0, 0])  # along the diagonal, f is what it is along the axis


def test_a_kink_along_one_direction_is_a_kink_of_the_mixed_derivative():
    x = [1.0, 1.0]
    along_the_axes = fl.hessian(lambda x: abs(x[0] - x[1]), x, full_output=True)  # constant along the diagonal
    assert (along_the_axes.status != "ok").all()
    f = lambda x: 1 + abs(x[0] + x[1] - 2) * (x[0] != 1) * (x[1] != 1)  # noqa: E731
    along_the_diagonal = fl.hessian(f, x, full_output=True)
    assert (along_the_diagonal.status == "ok").tolist() == [[True, False], [False, True]]
    for axis in (0, 1):
        one = fl.hessian(lambda x, i=axis: abs(x[i] - 1) * (x[1 - i] == 1), x, full_output=True)
        assert one.status[axis, axis] != "ok"
        assert one.status[1 - axis, 1 - axis] == "ok"
        assert one.status[0, 1] == one.status[1, 0] != "ok"
    for f in (lambda x: 1 + abs(x[0] - x[1]), lambda x: 1 + abs(x[0] + x[1] - 2)):
        for v in ([1.0, 0.0], [0.0, 1.0]):
            assert (fl.hvp(f, x, v, full_output=True).status != "ok").all()


def test_a_hessian_takes_the_steps_that_are_asked_for():
    x, step = np.array([8.0, 0.5]), np.array([2.0**-4, 2.0**-9])
    f = recorded(lambda x: float(x[0] ** 2 * x[1]))
    fl.hessian(f, x, step=step, typical=0.25)
    moved = np.abs(np.array(f.points) - x)
    assert {tuple(row) for row in moved if (row == 0).any()} == {(step[0], 0.0), (0.0, step[1]), (0.0, 0.0)}
    both = moved[(moved > 0).all(axis=1)]
    assert len(both) == 2
    assert (both <= step).all()  # the least of both: the other entry moves less
    assert (both.max(axis=0) == step).any()
    f.points.clear()
    x = np.array([-1024.0, 2.0, 0.0])
    fl.hvp(f, x, [0.0, 0.0, 1.0])  # along the last axis and each, which move in proportion to their magnitudes
    moved = np.abs(np.array(f.points) - x)
    assert {tuple(row / row[2]) for row in moved if row[2] and row[:2].any()} == {(1024.0, 0.0, 1.0), (0.0, 2.0, 1.0)}


def test_opposite_entries_of_a_hessian_from_gradients():
    """The mean of two numbers is off from either by half their distance, and both entries have one bound."""
    matrix = np.array([[2.0, 4.0, 0.0], [0.0, 8.0, 1.0], [0.0, 1.0, 1.0]])
    found = fl.hessian(None, [0.5, 1.0, 2.0], jac=lambda x: matrix @ x, full_output=True)
    assert found.value == pytest.approx((matrix + matrix.T) / 2, abs=1e-9)
    assert found.error[0, 1] == found.error[1, 0] == pytest.approx(2.0, rel=1e-6)
    curved = fl.hessian(
        None, [1.0, 1.0], jac=lambda x: np.array([x[1] ** 7, 7 * x[0]]), step=[1e-9, 0.1], full_output=True
    )
    assert np.array_equal(curved.error, curved.error.T)
    assert fl.hessian(None, [3.0], jac=lambda x: 2 * float(x[0])) == pytest.approx(np.array([[2.0]]))
    with pytest.raises(ValueError, match="must have a derivative at x"):
        fl.hessian(None, [0.0], jac=np.cbrt, method="adaptive")
    with pytest.raises(ValueError, match="must have a derivative at x"):
        fl.partial(lambda x: np.cbrt(x[0]) + x[1], [0.0, 1.0], 0)


def test_products_along_zero_have_the_shape_and_dtype_of_the_result():
    f = lambda x: np.array([[x[0], 1j, x[1]]])  # noqa: E731
    found = fl.directional(f, [1.0, 2.0], [0.0, 0.0])
    assert found.dtype == np.complex128
    assert np.array_equal(found, np.zeros((1, 3)))
    full = fl.directional(f, [1.0, 2.0], [0.0, 0.0], full_output=True)
    assert full.error.shape == full.status.shape == (1, 3)
    assert fl.directional(lambda x: x[:1], [1.0, 2.0], [0.0, 0.0]).dtype == np.float64


def test_the_asymmetry_tells_of_a_wrong_gradient():
    jac = lambda x: np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])  # noqa: E731
    right = fl.hessian(rosenbrock, [0.5, 2.0], jac=jac, full_output=True)
    assert right.asymmetry < 1e-5
    assert right.value == pytest.approx(np.array([[1200 * 0.25 - 800 + 2, -200], [-200, 200]]))
    wrong = fl.hessian(rosenbrock, [0.5, 2.0], jac=lambda x: jac(x) * [1.0, 2.0], full_output=True)
    assert wrong.asymmetry == pytest.approx(200, rel=1e-6)
    assert np.array_equal(wrong.value, wrong.value.T)
    assert wrong.error[0, 1] >= 100


def test_status_and_error_where_no_derivative_exists():
    step = lambda t: float(t > 0.25)  # noqa: E731
    for options in ({"method": "adaptive"}, {"method": "central"}, {"method": "forward", "accuracy": 2}):
        kink = fl.derivative(lambda t: 3 * abs(t - 1) + t, 1.0, full_output=True, **options)
        assert kink.status == "kink"
        assert -2 <= kink.value <= 4
        assert kink.value - kink.error <= -1.9
        assert kink.value + kink.error >= 3.9
        assert (
            fl.derivative(math.cbrt if hasattr(math, "cbrt") else np.cbrt, 0.0, full_output=True, **options).error
            == np.inf
        )
        assert fl.derivative(step, 0.25, full_output=True, **options).error > 1e-1
        assert fl.derivative(step, 0.2500001, full_output=True, **options).error != 0
    with pytest.raises(ValueError, match="grow when the step shrinks"):
        fl.derivative(np.cbrt, 0.0)
    with pytest.raises(ValueError, match="grow when the step shrinks"):
        fl.hessian(lambda x: abs(x[0]), [0.0], method="adaptive")
    with pytest.raises(ValueError, match=r"infinite slope, at x\[1\]\."):
        fl.gradient(lambda x: x[0] + np.cbrt(x[1]), [1.0, 0.0], method="adaptive")
    with pytest.raises(ValueError, match="wildly"):
        fl.derivative(np.sin, 1e20)


def test_the_same_seed_gives_the_same():
    x = np.linspace(1, 2, 4)
    f = lambda x: float(np.sin(x).sum())  # noqa: E731
    one, two, other = (fl.gradient(f, x, noise="estimate", full_output=True, rng=rng) for rng in (1, 1, 2))
    assert np.array_equal(one.value, two.value)
    assert one.noise == two.noise
    assert one.noise != other.noise
    assert fl.gradient(f, x, rng=np.random.default_rng(1), noise="estimate", full_output=True).noise == one.noise


@pytest.mark.parametrize("function", ALL, ids=lambda f: f.__name__)
def test_signatures_and_documentation(function):
    parameters = inspect.signature(function).parameters
    shared = {
        "method",
        "accuracy",
        "typical",
        "bounds",
        "noise",
        "args",
        "vectorized",
        "workers",
        "max_memory",
        "full_output",
        "rng",
    }
    assert shared <= set(parameters)
    assert "options" not in parameters
    assert parameters["method"].default == ("adaptive" if function in (fl.derivative, fl.partial) else "central")
    assert all(p.kind is p.KEYWORD_ONLY for name, p in parameters.items() if name in shared)
    documented = function.__doc__.split("Other Parameters")[1]
    for name in parameters:
        assert f"\n{name} :" in function.__doc__ or f"\n{name}, " in function.__doc__, name
    assert ("\norder :" in documented) == ("order" in parameters)


EMPTY = np.zeros(0)
OF_NOTHING = {
    "gradient": lambda **o: fl.gradient(lambda x: 1.0, EMPTY, **o),
    "gradient by complex": lambda **o: fl.gradient(lambda x: 1.0, EMPTY, method="complex", **o),
    "derivative": lambda **o: fl.derivative(math.sin, EMPTY, **o),
    "derivative by complex": lambda **o: fl.derivative(np.sin, EMPTY, method="complex", **o),
    "jacobian": lambda **o: fl.jacobian(lambda x: np.ones(2), EMPTY, **o),
    "jacobian with a pattern": lambda **o: fl.jacobian(lambda x: np.ones(2), EMPTY, sparsity=np.zeros((2, 0)), **o),
    "vjp": lambda **o: fl.vjp(lambda x: np.ones(2), EMPTY, np.ones(2), **o),
    "hessian": lambda **o: fl.hessian(lambda x: 1.0, EMPTY, **o),
    "hessian by gradients": lambda **o: fl.hessian(None, EMPTY, jac=lambda x: x, **o),
    "hvp": lambda **o: fl.hvp(lambda x: 1.0, EMPTY, EMPTY, **o),
}


@pytest.mark.parametrize("name", OF_NOTHING)
def test_the_derivative_by_nothing_is_empty_and_its_status_text(name):
    found = OF_NOTHING[name](full_output=True)
    assert found.status.dtype.kind == "U"
    assert found.status.shape == found.value.shape == found.error.shape == OF_NOTHING[name]().shape
    assert found.value.size == 0


@pytest.mark.parametrize("method", ["central", "forward", "adaptive"])
@pytest.mark.parametrize("x", [[0.0, 1e3, 1e-3, 2.0], [0.0, 1.0, 2.0], [3.0, 0.0]])
def test_a_product_with_a_factor_0(x, method):
    """By all other entries f is 0 wherever they are, whatever its noise is along other directions."""
    truth = [math.prod(x[:i] + x[i + 1 :]) for i in range(len(x))]
    found = fl.gradient(np.prod, x, method=method, full_output=True)
    assert found.status.tolist() == ["ok"] * len(x)
    assert (abs(found.value - truth) <= found.error).all()
    assert fl.gradient(np.prod, x, method=method) == pytest.approx(truth)
