"""What other libraries' numerical derivatives were measured to get wrong, done right."""

import math

import numpy as np
import pytest

import fallline as fl


def pseudo_noise(x):
    return math.sin(x) + 1e-6 * math.sin(1e9 * x)


FAULTS = {
    # name: (f, x, truth or None where there is none, the worst error that the bound may be)
    "kink of abs": (abs, 0.0, None, None),
    "kink of relu": (lambda x: max(0.0, x), 0.0, None, None),
    "log near 0": (math.log, 0.1, 10.0, 1e-9),
    "log very near 0": (math.log, 1e-3, 1e3, 1e-6),
    "zero derivative": (lambda x: (x - 1) ** 3, 1.0, 0.0, 1e-12),
    "noise of 1e-6": (pseudo_noise, 1.0, math.cos(1), 1e-3),
    "sin at 1": (math.sin, 1.0, math.cos(1), 1e-12),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_derivative_is_never_overconfident(name):
    f, x, truth, worst = FAULTS[name]
    found = fl.derivative(f, x, full_output=True)
    if truth is None:
        assert found.status == "kink"
        assert found.error >= 1
        return
    assert found.status == "ok"
    assert abs(found.value - truth) <= found.error <= worst


def test_sin_at_1e20_has_no_derivative_in_double_precision():
    found = fl.derivative(math.sin, 1e20, full_output=True)
    assert (found.status, found.error) == ("unresolved", np.inf)


def test_central_steps_see_noise():
    """Of 0.14, the error of a step that is blind to it."""
    assert abs(fl.derivative(pseudo_noise, 1.0, method="central", noise="estimate") - math.cos(1)) < 1e-3
    blind = fl.derivative(pseudo_noise, 1.0, method="central", full_output=True)
    assert abs(blind.value - math.cos(1)) <= blind.error


def test_evaluations_for_ten_variables():
    calls = []
    fl.gradient(lambda x: calls.append(1) or float(np.sin(x).sum()), np.linspace(0, 1, 10))
    assert len(calls) == 20


def test_the_central_step_is_the_cube_root_of_eps():
    x = np.linspace(0.5, 1.5, 50)
    assert np.median(np.abs(fl.derivative(np.sin, x, method="central") - np.cos(x))) < 3e-11


def test_hessians_are_not_nested_differences():
    """Nested forward differences gave 6 for 2, and a fixed step made more accurate stencils worse."""
    f = lambda x: float(x[0] ** 2 + 1e3 * x[1])  # noqa: E731
    for options in ({}, {"accuracy": 4}, {"accuracy": 8}, {"method": "forward"}, {"method": "forward", "accuracy": 4}):
        assert fl.hessian(f, [1.0, 2.0], **options) == pytest.approx(np.array([[2.0, 0], [0, 0]]), abs=2e-2)
        assert fl.hvp(f, [1.0, 2.0], [1.0, 1.0], **options) == pytest.approx([2.0, 0], abs=2e-2)
    g = lambda x: float(np.exp(np.sin(0.2 * x[0] + 0.1 * x[1])))  # noqa: E731
    slope, bend = math.cos(0.4), -math.sin(0.4)
    truth = math.exp(math.sin(0.4)) * (slope**2 + bend) * np.outer([0.2, 0.1], [0.2, 0.1])
    errors = [np.abs(fl.hessian(g, [1.0, 2.0], accuracy=p) - truth).max() for p in (2, 4, 8)]
    assert errors[0] > errors[1] > errors[2]


def test_an_accuracy_that_there_is_not_is_refused():
    """And not rounded silently."""
    with pytest.raises(ValueError, match="must be even"):
        fl.gradient(lambda x: x @ x, [1.0, 1.0], accuracy=3)
