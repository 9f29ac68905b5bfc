"""The complex step: exact where f is analytic in its code, and refused where it is not."""

import math

import numpy as np
import pytest
import sympy

import fallline as fl
from test_derivatives import recorded


def test_the_complex_step_is_exact():
    x = np.linspace(-2, 2, 9)
    f = lambda x: np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3 + 3)  # noqa: E731
    t = sympy.Symbol("t")
    truth = sympy.diff(sympy.exp(t) / sympy.sqrt(sympy.sin(t) ** 3 + sympy.cos(t) ** 3 + 3), t)
    wanted = [float(truth.evalf(30, subs={t: v})) for v in x]
    assert fl.derivative(f, x, method="complex") == pytest.approx(wanted, rel=2e-15)
    full = fl.derivative(f, x, method="complex", full_output=True)
    assert (np.abs(full.value - wanted) <= full.error).all()
    assert full.error.max() < 1e-13
    tree = {"a": x, "b": 2.0}
    found = fl.gradient(lambda t: (t["a"] ** 3).sum() * t["b"], tree, method="complex")
    assert found["a"] == pytest.approx(6 * x**2, rel=1e-15)
    assert found["b"] == pytest.approx((x**3).sum(), rel=1e-14, abs=1e-14)
    assert fl.jacobian(lambda x: np.array([x[0] * x[1], x[0] ** 2]), [2.0, 3.0], method="complex").tolist() == [
        [3, 2],
        [4, 0],
    ]
    assert fl.directional(lambda x: x[0] * x[1], [2.0, 3.0], [1.0, 1.0], method="complex") == 5.0


def test_the_complex_step_at_every_entry_of_an_array():
    """Each has its own bounds, its own typical magnitude and its own precision."""
    x, bounds = np.array([0.5, 10.0]), ([0.25, 9.5], [0.75, 10.5])
    f = recorded(np.log)
    full = fl.derivative(f, x, method="complex", bounds=bounds, typical=[4.0, 0.5], full_output=True)
    assert full.value == pytest.approx(1 / x, rel=1e-15)
    assert full.step == pytest.approx(1e-20 * np.array([4.0, 10.0]), rel=1e-12, abs=0)
    points = np.real(f.points)
    assert (
        (bounds[0][0] <= points) & (points <= bounds[1][0]) | (bounds[0][1] <= points) & (points <= bounds[1][1])
    ).all()
    mixed = {"single": np.float32([0.5, 0.7]), "double": np.array([0.5, 0.7])}
    full = fl.derivative(np.log, mixed, method="complex", full_output=True)
    assert full.value["single"].dtype == np.float32
    exact = 1 / mixed["single"].astype(float)
    assert (abs(full.value["single"] - exact) <= full.error["single"]).all()  # a number of float32 is a rounded one
    assert full.error["double"].max() < 1e-14


NOT_ANALYTIC = {
    "a small part": lambda x: (x**2).sum() + 1e-4 * np.abs(x).sum(),
    "NaN": lambda x: np.where(np.iscomplex(x), np.nan * 1j, x**2).sum(),
    "abs": lambda x: np.abs(x).sum() + 0 * x.sum(),
    "conj": lambda x: (x * np.conj(x)).sum() + 0 * x.sum(),
    "norm": lambda x: np.linalg.norm(x),
    "norm, complex": lambda x: np.linalg.norm(x) + 0 * x.sum(),
    "sqrt(z conj z)": lambda x: np.sqrt(x * np.conj(x)).sum(),
    "astype": lambda x: (x.astype(float) ** 2).sum(),
    "astype of a part": lambda x: (x**2).sum() + x.astype(float)[1] ** 2,
    "real": lambda x: (x.real**2).sum() + 0 * x.sum(),
    "float": lambda x: math.sin(x[0]),
    "one entry of many": lambda x: (x**2).sum() + np.abs(x[2]),
    "complex by nature": lambda x: np.exp(1j * x).sum(),
}


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_the_complex_step_refuses_code_that_is_not_analytic(name):
    """Each of these gives silently 0, or something near the truth, elsewhere."""
    x = np.array([-2.0, 0.5, 1.5])
    with pytest.raises(ValueError, match='method="central"'):
        fl.gradient(NOT_ANALYTIC[name], x, method="complex")
    with pytest.raises(ValueError, match='method="central"'):
        fl.jacobian(lambda x: np.array([x.sum(), NOT_ANALYTIC[name](x)]), x, method="complex")


def test_the_complex_step_takes_what_branches_on_the_real_part():
    x = np.array([-2.0, 0.5, 1.5])
    f = lambda x: sum(v**2 if v.real > 0 else -(v**3) for v in x)  # noqa: E731
    assert fl.gradient(f, x, method="complex") == pytest.approx([-12.0, 1.0, 3.0], rel=1e-14)
    f = lambda x: np.where(x.real > 0, x, 0).sum()  # noqa: E731
    assert fl.gradient(f, x, method="complex").tolist() == [0, 1, 1]
    assert fl.gradient(lambda x: np.maximum(x, 0).sum(), x, method="complex").tolist() == [0, 1, 1]
    huge = lambda x: 1e12 + (x**2).sum()  # noqa: E731  the comparison knows what rounding hides
    assert fl.gradient(huge, x, method="complex") == pytest.approx(2 * x)
    assert fl.gradient(lambda x: 0 * x.sum(), x, method="complex").tolist() == [0, 0, 0]
