"""The errors that are reported with second and higher derivatives, over a zoo of functions of random parameters.

As in test_zoo.py, a bound must hold in 99 of 100 cases of every family and method. Truths are written by hand.
"""

import math

import numpy as np
import pytest

import fallline as fl
from test_zoo import Outcome, is_missed, name, noise_of

METHODS = [
    {"method": "adaptive"},
    {"method": "central"},
    {"method": "central", "accuracy": 4},
    {"method": "central", "accuracy": 8},
    {"method": "central", "noise": "estimate"},
    {"method": "central", "step": "shi"},
    {"method": "forward", "accuracy": 1},
    {"method": "forward", "accuracy": 3},
]
EACH = 200  # cases of every family and method


def pair(rng):
    """Return a smooth function of scale 1 in x and f, and its second derivative."""
    a, b, c = rng.uniform(0.5, 2.0, 3)
    polynomial = np.polynomial.Polynomial(rng.normal(size=rng.integers(3, 7)))
    bent = polynomial.deriv(2)
    pairs = [
        (lambda x: a * math.sin(b * x + c), lambda x: -a * b * b * math.sin(b * x + c)),
        (lambda x: a * math.exp(b * x), lambda x: a * b * b * math.exp(b * x)),
        (lambda x: math.tanh(b * x - c), lambda x: -2 * b * b * math.tanh(b * x - c) / math.cosh(b * x - c) ** 2),
        (lambda x: math.log(a + b * x * x), lambda x: 2 * b * (a - b * x * x) / (a + b * x * x) ** 2),
        (lambda x: math.sqrt(a + x * x) + c, lambda x: a / (a + x * x) ** 1.5),
        (lambda x: 1 / (a + b * x * x), lambda x: 2 * b * (3 * b * x * x - a) / (a + b * x * x) ** 3),
        (lambda x: float(polynomial(x)), lambda x: float(bent(x))),
    ]
    return pairs[rng.integers(len(pairs))]


# Each of these returns a function, a point and the second derivative there.


def smooth(rng):
    (f, second), x, scale = pair(rng), rng.uniform(-2, 2), 10.0 ** rng.uniform(-9, 9)
    return lambda t: scale * f(t), x, scale * second(x)


def noisy(rng):
    (f, second), x, level = pair(rng), rng.uniform(-2, 2), 10.0 ** rng.uniform(-14, -6)
    return lambda t: f(t) + level * noise_of(t), x, second(x)


def badly_scaled(rng):
    (f, second), x = pair(rng), rng.uniform(-2, 2)
    stretch, scale = 10.0 ** rng.uniform(-3, 6), 10.0 ** rng.uniform(-12, 12)
    x = x * stretch
    return lambda t: scale * f(t / stretch), x, scale / stretch**2 * second(x / stretch)


def far_from_zero(rng):
    """Vary on the scale of 1, or of less than the steps, where x is up to a million."""
    (f, second), at = pair(rng), rng.choice((-1, 1)) * 10.0 ** rng.uniform(0, 6)
    x = at + rng.uniform(-2, 2)
    return lambda t: f(t - at), x, second(x - at)


def near_zero(rng):
    m, a, c = rng.uniform(-2, 2), 10.0 ** rng.uniform(-6, 6), rng.choice([0.0, rng.normal()])
    x = m + rng.choice([0.0, 10.0 ** rng.uniform(-12, -2)])
    d = x - m
    pairs = [
        (lambda t: c + a * (t - m) ** 3, 6 * a * d),
        (lambda t: c + a * (t - m) ** 4, 12 * a * d * d),
        (lambda t: c + a * math.sin(t - m), -a * math.sin(d)),
        (lambda t: c + a * t, 0.0),
        (lambda t: c, 0.0),
    ]
    f, second = pairs[rng.integers(len(pairs))]
    return f, x, second


def wavy(rng):
    (f, second), x = pair(rng), rng.uniform(-2, 2)
    height, waves = 10.0 ** rng.uniform(-3, 0), 10.0 ** rng.uniform(0, 3)
    truth = second(x) - height * waves**2 * math.cos(waves * x)
    return lambda t: f(t) + height * math.cos(waves * t), x, truth


FAMILIES = [smooth, noisy, badly_scaled, far_from_zero, near_zero, wavy]
SMOOTH = (smooth, noisy, badly_scaled)  # on the scale of x: bounds are of use there


def survey(family, options, *seed, each=EACH):
    """Differentiate functions of a family twice, the same ones every time; others with another seed."""
    rng = np.random.default_rng([FAMILIES.index(family), METHODS.index(options), *seed])
    outcomes = []
    for _ in range(each):
        f, x, truth = family(rng)
        found = fl.derivative(f, x, order=2, full_output=True, **options)
        off = abs(float(found.value) - truth)
        outcomes.append(Outcome(x, truth, off, float(found.error), found.status, found.nfev))
    return outcomes


@pytest.mark.parametrize("options", METHODS, ids=name)
@pytest.mark.parametrize("family", FAMILIES)
def test_errors_are_bounded(family, options):
    outcomes = survey(family, options)
    missed = list(filter(is_missed, outcomes))
    assert len(missed) <= EACH // 100, missed
    if family in SMOOTH:
        assert np.median([o.error / max(o.off, 1e-16 * abs(o.truth), 1e-300) for o in outcomes]) < 1000


@pytest.mark.parametrize("options", METHODS, ids=name)
@pytest.mark.parametrize("x", [1e3, -1e5, 1e8])
def test_waves_that_the_steps_skip_are_not_called_flat(options, x):
    """Every step across many waves of the sine has a difference near 0, and the halved one agrees."""
    found = fl.derivative(math.sin, x, order=2, full_output=True, **options)
    assert abs(found.value + math.sin(x)) <= found.error


def test_second_derivatives_of_complex_waves_have_errors_of_both_parts():
    x = np.array([1e4, 2.0])
    for method in ("adaptive", "central"):
        found = fl.derivative(lambda t: np.exp(1j * t), x, order=2, method=method, full_output=True)
        assert (abs(found.value + np.exp(1j * x)) <= found.error).all()


def test_the_curvatures_of_a_gradient_do_not_depend_on_those_of_other_entries():
    f = lambda v: math.sin(v[0]) + v[1] ** 2  # noqa: E731
    found = fl.gradient(f, [1e8, 1.0], order=2, method="adaptive", full_output=True)
    assert (abs(found.value - [-math.sin(1e8), 2]) <= found.error).all()
    assert found.value == pytest.approx([-math.sin(1e8), 2], abs=1e-3)


def smooth_with_second(rng):
    """Return a smooth function, a point and the second derivative there."""
    a, b, c, x = *rng.uniform(0.5, 2.0, 3), rng.uniform(-2, 2)
    scale = 10.0 ** rng.uniform(-6, 6)
    u = b * x + c
    pairs = [
        (lambda x: scale * a * math.sin(b * x + c), -scale * a * b * b * math.sin(u)),
        (lambda x: scale * math.exp(b * x), scale * b * b * math.exp(b * x)),
        (lambda x: scale * math.log(a + b * x * x), scale * 2 * b * (a - b * x * x) / (a + b * x * x) ** 2),
        (lambda x: scale * x**4, scale * 12 * x * x),
        (lambda x: scale * (c + a * x), 0.0),
        (lambda x: scale * (a * x + b * x * x), 2 * scale * b),
    ]
    f, second = pairs[rng.integers(len(pairs))]
    return f, x, second


HIGHER = [{"method": "adaptive"}, {"method": "central"}, {"method": "central", "accuracy": 4}, {"method": "forward"}]


@pytest.mark.parametrize("options", HIGHER, ids=name)
def test_second_derivatives_of_smooth_functions_are_no_kinks(options):
    rng = np.random.default_rng(HIGHER.index(options))
    kinks = misses = 0
    for _ in range(300):
        f, x, truth = smooth_with_second(rng)
        found = fl.derivative(f, x, order=2, full_output=True, **options)
        kinks += found.status != "ok"
        misses += not abs(found.value - truth) <= found.error
    assert (kinks, misses) <= (3, 3)
    assert misses <= 3


@pytest.mark.parametrize("options", HIGHER, ids=name)
@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("at", [0.0, 0.7, -3.0])
@pytest.mark.parametrize("rest", [lambda x: 0.0, math.sin, lambda x: 5 + math.exp(x)], ids=["alone", "sin", "exp"])
def test_a_derivative_that_jumps_is_no_derivative(options, order, at, rest):
    """Those of (x - c)**(n-1) |x - c| on both sides of c are n! and -n!."""
    f = lambda x: (x - at) ** (order - 1) * abs(x - at) + rest(x)  # noqa: E731
    found = fl.derivative(f, at, order=order, full_output=True, **options)
    assert found.status != "ok"
    assert found.error >= 2 * math.factorial(order) * 0.9


def test_a_hessian_that_jumps_is_no_hessian():
    found = fl.hessian(lambda x: float(x[0] * abs(x[0]) + x[1] ** 2), [0.0, 1.0], full_output=True)
    assert found.status.tolist()[0][0] == "kink"
    assert found.status.tolist()[1][1] == "ok"
    assert found.error[0, 0] >= 4


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("x", [33.0, 100.0, 1234.5, -1e4, 1e5, 3e6, 1e8])
def test_higher_derivatives_far_from_0_are_not_those_across_waves(x, order):
    """Differences across many waves are as small as the power of the step, and looked the more certain for it."""
    cases = [
        (math.sin, math.sin(x + order * math.pi / 2)),
        (lambda x: 3 + math.cos(2 * x), 2**order * math.cos(2 * x + order * math.pi / 2)),
    ]
    for f, truth in cases:
        found = fl.derivative(f, x, order=order, full_output=True)
        assert found.status == "ok"
        assert abs(found.value - truth) <= found.error < 1


@pytest.mark.parametrize("method", ["central", "forward", "backward"])
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("x", [1e4, 1e5, 3e6])
def test_the_bounds_of_differences_across_waves_are_honest(x, order, method):
    """One step is all that there is: the value is not corrected. An output without waves is as sure as alone."""
    f = lambda t: np.array([np.sin(t), (t / x) ** 2])  # noqa: E731
    found = fl.derivative(f, x, order=order, method=method, full_output=True)
    truth = np.array([math.sin(x + order * math.pi / 2), 2 / x**2 if order == 2 else 0.0])
    assert (abs(found.value - truth) <= found.error).all()
    alone = fl.derivative(lambda t: (t / x) ** 2, x, order=order, method=method, full_output=True)
    assert found.error[1] <= 2 * alone.error < 1e-3


@pytest.mark.parametrize("method", ["forward", "backward", "adaptive"])
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("x", [1.0, 1e5])
def test_higher_derivatives_at_a_bound_stay_within(x, order, method):
    points = []
    bounds = (-np.inf, x) if method == "backward" else (x, np.inf)
    found = fl.derivative(
        lambda t: points.append(float(t)) or math.sin(t), x, order=order, method=method, bounds=bounds, full_output=True
    )
    assert abs(found.value - math.sin(x + order * math.pi / 2)) <= found.error
    assert min(points) >= bounds[0]
    assert max(points) <= bounds[1]


@pytest.mark.parametrize("x", [100.0, 1e4, 3e6])
def test_a_hessian_far_from_0_is_not_that_across_waves(x):
    found = fl.hessian(lambda v: math.sin(v[0] + v[1]) + v[1] ** 2, [x, 1.0], method="adaptive", full_output=True)
    truth = -math.sin(x + 1) + np.array([[0, 0], [0, 2]])
    assert (abs(found.value - truth) <= found.error).all()
    assert found.value == pytest.approx(truth, abs=2e-2)
