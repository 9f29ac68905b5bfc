"""The error that is reported with a derivative, against the true one, over a zoo of functions of random parameters.

The bound must hold in 99 of 100 cases of every family and method, and still be of use: neither far above the true error
of smooth functions, nor small where no derivative exists.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fallline as fl

METHODS = [
    {"method": "adaptive"},
    {"method": "central"},
    {"method": "central", "accuracy": 8},
    {"method": "central", "noise": "estimate"},
    {"method": "central", "step": "shi"},
    {"method": "forward", "accuracy": 1},
    {"method": "forward", "accuracy": 3},
]
EACH = 100  # cases of every family and method


@dataclass
class Case:
    f: Any
    x: Any
    truth: float


@dataclass
class Outcome:
    x: Any
    truth: float
    off: float  # the true error
    error: float  # the reported one
    status: str
    nfev: int


def name(options):
    return " ".join(str(value) for value in options.values())


def survey(family, options, *seed, each=EACH):
    """Differentiate functions of a family, the same ones every time; others with another seed."""
    rng = np.random.default_rng([FAMILIES.index(family), METHODS.index(options), *seed])
    outcomes = []
    for _ in range(each):
        case = family(rng)
        found = fl.derivative(case.f, case.x, full_output=True, **options)
        off = abs(float(found.value) - case.truth)
        outcomes.append(Outcome(case.x, case.truth, off, float(found.error), found.status, found.nfev))
    return outcomes


def is_missed(outcome):
    """Tell whether a bound does not hold; the truth is known to a rounding of its own."""
    return not outcome.off <= outcome.error + 4e-16 * abs(outcome.truth)


def noise_of(x):
    """Return deterministic pseudo-noise between -1 and 1: a hash of the bits of x."""
    bits = int(np.float64(x).view(np.uint64))
    bits = (bits ^ (bits >> 31)) * 0x7FB5D329728EA185 & (2**64 - 1)
    bits = (bits ^ (bits >> 27)) * 0x81DADEF4BC2DD44D & (2**64 - 1)
    return (bits >> 11) * 2.0**-52 - 1


def smooth_pair(rng):
    """Return a smooth function of x, of scale 1 in x and f, and its derivative."""
    a, b, c = rng.uniform(0.5, 2.0, 3)
    k = rng.integers(2, 7)
    coefficients = rng.normal(size=k)
    polynomial = np.polynomial.Polynomial(coefficients)
    slope = polynomial.deriv()
    pairs = [
        (lambda x: a * math.sin(b * x + c), lambda x: a * b * math.cos(b * x + c)),
        (lambda x: a * math.exp(b * x), lambda x: a * b * math.exp(b * x)),
        (lambda x: math.tanh(b * x - c), lambda x: b / math.cosh(b * x - c) ** 2),
        (lambda x: 1 / (a + b * x * x), lambda x: -2 * b * x / (a + b * x * x) ** 2),
        (lambda x: math.log(a + b * x * x), lambda x: 2 * b * x / (a + b * x * x)),
        (lambda x: math.sqrt(a + x * x) + c, lambda x: x / math.sqrt(a + x * x)),
        (lambda x: float(polynomial(x)), lambda x: float(slope(x))),
        (lambda x: math.exp(-b * x * x) * math.cos(c * x),
         lambda x: -math.exp(-b * x * x) * (2 * b * x * math.cos(c * x) + c * math.sin(c * x))),
    ]  # fmt: skip
    return pairs[rng.integers(len(pairs))]


def smooth(rng):
    f, df = smooth_pair(rng)
    x, scale = rng.uniform(-2, 2), 10.0 ** rng.uniform(-9, 9)
    return Case(lambda t: scale * f(t), x, scale * df(x))


def noisy(rng):
    f, df = smooth_pair(rng)
    x, level = rng.uniform(-2, 2), 10.0 ** rng.uniform(-14, -6)
    return Case(lambda t: f(t) + level * noise_of(t), x, df(x))


def badly_scaled(rng):
    f, df = smooth_pair(rng)
    stretch, scale = 10.0 ** rng.uniform(-3, 6), 10.0 ** rng.uniform(-12, 12)
    u = rng.uniform(-2, 2)
    x = u * stretch
    return Case(lambda t: scale * f(t / stretch), x, scale / stretch * df(x / stretch))


def near_zero(rng):
    m, a, c = rng.uniform(-2, 2), 10.0 ** rng.uniform(-6, 6), rng.choice([0.0, rng.normal()])
    d = rng.choice([0.0, 10.0 ** rng.uniform(-12, -2)])
    x = m + d
    d = x - m
    pairs = [
        (lambda t: c + a * (t - m) ** 2, 2 * a * d),
        (lambda t: c + a * (t - m) ** 3, 3 * a * d**2),
        (lambda t: c + a * (t - m) ** 4, 4 * a * d**3),
        (lambda t: c + a * math.cos(t - m), -a * math.sin(d)),
        (lambda t: c + a * math.cosh(t - m), a * math.sinh(d)),
        (lambda t: c, 0.0),
        (lambda t: c + a * math.exp(-((t - m) ** 2)), -2 * a * d * math.exp(-(d**2))),
    ]
    return Case(*(lambda pair: (pair[0], x, pair[1]))(pairs[rng.integers(len(pairs))]))


def near_domain_end(rng):
    d = 10.0 ** rng.uniform(-7, -0.5)
    with_nan = bool(rng.integers(2))

    def guarded(f):
        def safe(t):
            try:
                return f(t)
            except (ValueError, ZeroDivisionError):
                if with_nan:
                    return math.nan
                raise

        return safe

    cases = [
        (math.log, d, 1 / d),
        (math.sqrt, d, 0.5 / math.sqrt(d)),
        (lambda t: t * math.log(t), d, math.log(d) + 1),
        (lambda t: 1 / t if t > 0 else 1 / 0, d, -1 / d**2),
        (lambda t: math.sqrt(1 - t), 1 - d, -0.5 / math.sqrt(1 - (1 - d))),
        (lambda t: math.log(1 - t * t), 1 - d, -2 * (1 - d) / (1 - (1 - d) ** 2)),
        (lambda t: math.asin(t), 1 - d, 1 / math.sqrt((1 - (1 - d)) * (1 + (1 - d)))),
        (lambda t: math.exp(t) + 0 * math.sqrt(t), 0.0, 1.0),  # at the very end
        (lambda t: math.sin(t) * math.sqrt(1 - t) / math.sqrt(1 - t), 1 - 2.0**-52, math.cos(1)),
    ]
    f, x, truth = cases[rng.integers(len(cases))]
    return Case(guarded(f), x, truth)


def single(rng):
    a, b, c = (np.float32(v) for v in rng.uniform(0.5, 2.0, 3))
    x = np.float32(rng.uniform(-2, 2))
    only_result = bool(rng.integers(2))
    pairs = [
        (lambda t: a * np.sin(b * t + c), lambda t: a * b * math.cos(b * t + c)),
        (lambda t: a * np.exp(b * t), lambda t: a * b * math.exp(b * t)),
        (lambda t: np.tanh(b * t - c), lambda t: b / math.cosh(b * t - c) ** 2),
        (lambda t: 1 / (a + b * t * t), lambda t: -2 * b * t / (a + b * t * t) ** 2),
        (lambda t: np.log(a + b * t * t), lambda t: 2 * b * t / (a + b * t * t)),
    ]
    f, df = pairs[rng.integers(len(pairs))]
    a, b, c = (float(v) for v in (a, b, c))
    truth = float(df(float(x)))
    if only_result:
        return Case(lambda t: np.float32(f(np.float32(t))), float(x), truth)
    return Case(f, x, truth)


def near_kink(rng):
    f, df = smooth_pair(rng)
    x, a = rng.uniform(-2, 2), 10.0 ** rng.uniform(-3, 1)
    c = x - rng.choice([-1, 1]) * 10.0 ** rng.uniform(-10, -1)
    return Case(lambda t: f(t) + a * abs(t - c), x, df(x) + a * np.sign(x - c))


def near_jump(rng):
    f, df = smooth_pair(rng)
    x, a = rng.uniform(-2, 2), 10.0 ** rng.uniform(-3, 1)
    c = x - rng.choice([-1, 1]) * 10.0 ** rng.uniform(-9, -1)
    return Case(lambda t: f(t) + a * (t > c), x, df(x))


def wavy(rng):
    """Return a function of many waves between 0 and x; the product of frequency and x is exact."""
    a, b, c = rng.uniform(0.5, 2.0), 2.0 ** rng.integers(-1, 2), rng.uniform(0.0, 3.0)
    x = 10.0 ** rng.uniform(4, 11)
    return wave_at(rng, x, a, b, c)


def very_wavy(rng):
    """Return a function of which neighbouring floating-point numbers are a ten-thousandth of a wave apart, or more."""
    return wave_at(rng, 10.0 ** rng.uniform(12, 16.5), rng.uniform(0.5, 2.0), 2.0 ** rng.integers(-1, 2), 0.0)


def single_wavy(rng):
    """Return waves of float32."""
    x, b = np.float32(10.0 ** rng.uniform(2, 9)), np.float32(2.0 ** rng.integers(-1, 2))
    f, df = ((np.sin, math.cos), (np.cos, lambda u: -math.sin(u)))[rng.integers(2)]
    return Case(lambda t: f(b * t), x, float(b) * df(float(b) * float(x)))


def rounded(rng):
    """Return a smooth function whose values were rounded to decimals."""
    f, df = smooth_pair(rng)
    x, decimals = rng.uniform(-2, 2), int(rng.integers(3, 12))
    return Case(lambda t: round(f(t), decimals), x, df(x))


def wave_at(rng, x, a, b, c):
    """Return waves at x; libm reduces arguments of any size exactly."""
    pairs = [
        (lambda x: a * math.sin(b * x + c), lambda x: a * b * math.cos(b * x + c)),
        (lambda x: a * math.cos(x) + math.sin(b * x), lambda x: -a * math.sin(x) + b * math.cos(b * x)),
        (lambda x: a * math.exp(math.sin(b * x)), lambda x: a * b * math.exp(math.sin(b * x)) * math.cos(b * x)),
        (lambda x: x * math.sin(x), lambda x: x * math.cos(x) + math.sin(x)),
        (lambda x: 10 + math.cos(x), lambda x: -math.sin(x)),
    ]  # fmt: skip
    f, df = pairs[rng.integers(len(pairs))]
    return Case(f, x, df(x))


FAMILIES = [
    smooth, noisy, badly_scaled, near_zero, near_domain_end, single, near_kink, near_jump, wavy, very_wavy, single_wavy,
    rounded,
]  # fmt: skip
SMOOTH = (smooth, noisy, badly_scaled, near_zero, single)  # a derivative is found there


def noisy_kink(rng):
    level, a = 10.0 ** rng.uniform(-14, -9), 10.0 ** rng.uniform(-2, 2)
    f, c = smooth_pair(rng)[0], rng.uniform(-2, 2)
    return lambda t: f(t) + a * abs(t - c) + level * noise_of(t), c, 2 * a


def kink(rng):
    f, c, a, b = smooth_pair(rng)[0], rng.uniform(-2, 2), *10.0 ** rng.uniform(-3, 3, 2)
    return lambda t: f(t) + (a * (t - c) if t > c else -b * (t - c)), c, a + b


def relu(rng):
    c, a = rng.choice([0.0, rng.uniform(-2, 2)]), 10.0 ** rng.uniform(-9, 9)
    return lambda t: a * max(0.0, t - c), c, a


def jump(rng):
    f, c, a = smooth_pair(rng)[0], rng.uniform(-2, 2), 10.0 ** rng.uniform(-3, 3)
    closed = rng.integers(2)
    return lambda t: f(t) + a * (t > c or (closed and t == c)), c, a


def infinite_slope(rng):
    f, c, a, p = smooth_pair(rng)[0], rng.uniform(-2, 2), 10.0 ** rng.uniform(-1, 3), rng.uniform(0.2, 0.6)
    return lambda t: f(t) + a * math.copysign(abs(t - c) ** p, t - c), c, a


def all_noise(rng):
    a = 10.0 ** rng.uniform(-6, 6)
    return lambda t: a * noise_of(t), rng.uniform(-2, 2), a


BROKEN = [kink, noisy_kink, relu, jump, infinite_slope, all_noise]


@pytest.mark.parametrize("options", METHODS, ids=lambda options: name(options))
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_errors_are_bounded(family, options):
    cases = survey(family, options)
    misses = [(o.x, o.truth, o.off, o.error) for o in cases if is_missed(o)]
    assert len(misses) <= EACH // 100, misses
    if family in SMOOTH:
        assert sum(o.status == "ok" for o in cases) >= 0.96 * EACH
    if family is smooth:
        # A bound must also say something: it is a few times the error itself.
        ratio = np.median([o.error / max(o.off, 1e-16 * abs(o.truth)) for o in cases])
        assert ratio < (40 if options["method"] == "adaptive" else 25)
    if family is smooth and options["method"] == "adaptive":
        assert np.mean([o.off <= 1e-9 * abs(o.truth) for o in cases]) >= 0.99


def test_rounded_values_that_look_smooth_by_chance_are_seen():
    """Seven of them are on a parabola, or a straight line, once in a hundred times: their digits tell."""
    misses = [o for seed in range(1, 16) for o in survey(rounded, {"method": "adaptive"}, seed) if is_missed(o)]
    assert len(misses) <= 15 * EACH // 300, misses


@pytest.mark.parametrize("options", METHODS, ids=lambda options: name(options))
@pytest.mark.parametrize("family", BROKEN, ids=lambda family: family.__name__)
def test_where_no_derivative_exists_no_error_is_small(family, options):
    """The bound is about as wide as the one-sided derivatives are apart, or as f is high."""
    rng = np.random.default_rng(METHODS.index(options))
    for _ in range(10):
        f, x, width = family(rng)
        found = fl.derivative(f, x, full_output=True, **options)
        assert found.error >= width / 4, (x, width, found)
        assert found.status != "ok" or family in (noisy_kink, infinite_slope, all_noise), (x, width, found)


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (np.sign, 0.0),
        (np.floor, 2.0),
        (lambda x: (x >= 1) + x, 1.0),
        (lambda x: np.sin(x) + 1e-3 * (x > 0), 0.0),
        (lambda x: 1000 + 1e-3 * (x > 0), 0.0),
        (lambda x: x + 1j * (x >= 1), 1.0),
    ],
)
@pytest.mark.parametrize("method", ["adaptive", "central", "forward", "backward"])
def test_differences_diverge_at_a_jump(f, x, method):
    """Neither its height nor what f is beside it makes a jump pass for noise."""
    found = fl.derivative(f, x, method=method, full_output=True)
    assert found.status == "diverges"
    assert found.error == np.inf


ALL = [{"method": "adaptive"}, *METHODS[1:], {"method": "backward"}]


@pytest.mark.parametrize("options", ALL, ids=name)
@pytest.mark.parametrize("f", [math.sin, lambda x: 10 + math.sin(x), lambda x: x * math.sin(x), lambda x: noise_of(x)])
def test_what_is_nothing_but_noise_is_unresolved(f, options):
    """At 1e16 neighbouring floating-point numbers are 2 apart, a third of a wave."""
    found = fl.derivative(f, 1.2345e16, full_output=True, **options)
    assert (found.status, found.error) == ("unresolved", np.inf)


@pytest.mark.parametrize("options", ALL, ids=name)
@pytest.mark.parametrize(
    ("f", "x", "truth"),
    [
        (lambda x: 3.0, 1.0, 0.0),
        (lambda x: 0.0, 0.0, 0.0),
        (lambda x: x * x, 0.0, 0.0),
        (lambda x: x * x + 1e-6 * noise_of(x), 0.0, 0.0),
        (lambda x: math.sin(x) + 1e-6 * noise_of(x), 1.0, math.cos(1)),
        (lambda x: math.cos(x) - 1 + 1e-9 * noise_of(x), 0.0, 0.0),
        (lambda x: np.float32(np.sin(np.float32(x))), 0.0, 1.0),
        (lambda x: np.float32(np.cos(np.float32(x))), 0.0, 0.0),
        (lambda x: 1e12 + math.sin(x), 1.0, math.cos(1)),
        (lambda x: math.log(x) if x > 0 else math.nan, 1.0, 1.0),
        (math.sin, 1e12, math.cos(1e12)),
    ],
)
def test_what_is_more_than_noise_is_resolved(f, x, truth, options):
    found = fl.derivative(f, x, full_output=True, **options)
    assert found.status == "ok"
    assert abs(found.value - truth) <= found.error < np.inf


def test_waves_are_resolved_as_long_as_numbers_are_close():
    """At 1e14 they are a 64th apart, 400 for each wave."""
    for x in np.random.default_rng(0).uniform(1e14, 1.4e14, 50):
        found = fl.derivative(math.sin, x, full_output=True)
        assert abs(found.value - math.cos(x)) <= min(found.error, 0.1), (x, found)


def test_noise_for_one_output_leaves_the_others_alone():
    found = fl.jacobian(lambda x: np.array([np.sin(x[0]), x[0]]), [1.2345e16], full_output=True)
    assert found.status.ravel().tolist() == ["unresolved", "ok"]
    assert found.value[1] == 1


@pytest.mark.parametrize("decimals", [3, 4, 6, 8, 10])
@pytest.mark.parametrize("f", [lambda x: float(np.sin(x)), lambda x: float(np.sin(x)) + 20 * x], ids=["sin", "steep"])
def test_noise_contains_the_grid_of_rounded_values(decimals, f):
    """An error evenly spread over a unit of the grid has a standard deviation of 0.29 units."""
    slope = (f(0.7 + 1e-6) - f(0.7 - 1e-6)) / 2e-6
    for method in ("central", "forward", "adaptive"):
        found = fl.derivative(lambda x: round(f(x), decimals), 0.7, method=method, noise="estimate", full_output=True)
        assert 0.1 <= found.noise * 10.0**decimals <= 1
        assert abs(found.value - slope) <= found.error < 1
        assert found.status == "ok"
        total = fl.gradient(
            lambda x: round(f(x[0]) + f(x[1]), decimals), [0.7, 0.7], method=method, noise="estimate", full_output=True
        )
        assert (abs(total.value - slope) <= total.error).all()
        assert 0.1 <= total.noise * 10.0**decimals <= 1


@pytest.mark.parametrize(
    "f",
    [
        lambda x: 3.5,
        lambda x: 1 + (x - 0.7) ** 2,
        lambda x: (x - 0.7) ** 3 - 2,
        lambda x: 5 + 1e-3 * (x - 0.7) ** 4,
        lambda x: max(0.0, x - 0.70001),
        lambda x: max(0.0, 2 * x - 1.41),
        lambda x: 1 + float(x > 0.71),
        lambda x: 2 + 1e-14 * x,
    ],
)
def test_what_is_constant_from_near_is_not_rounded(f):
    for options in ({"method": "central", "noise": "estimate"}, {"method": "central"}, {"method": "adaptive"}):
        found = fl.derivative(f, 0.7, full_output=True, **options)
        assert found.noise <= 1e-15 * max(1.0, abs(f(0.7)))
        assert found.status == "ok"


@pytest.mark.parametrize("options", [*METHODS, {"method": "backward"}], ids=name)
@pytest.mark.parametrize("p", [1.1, 1.2, 1.3, 1.5, 1.6, 1.75, 2.5])
@pytest.mark.parametrize("bounds", [(0, 1), (0, np.inf), (-1, 0), None])
def test_the_derivative_of_a_power_at_0_is_0(options, p, bounds):
    """It exists, though f bends there without limit, or, with bounds, from one side."""
    for a, slope in ((1.0, 0.0), (1e-3, 0.5), (50.0, -2.0)):
        f = lambda x, a=a, slope=slope: a * abs(x) ** p + slope * x  # noqa: E731
        found = fl.derivative(f, 0.0, bounds=bounds, full_output=True, **options)
        assert abs(found.value - slope) <= found.error, found
        assert found.status == "ok" or p < 1.5, found


def test_the_errors_of_a_gradient_are_bounded():
    """The noise of many coordinates is measured along one direction."""
    rng = np.random.default_rng(5)
    misses, n = 0, 8
    for round in range(60):
        a, b = rng.normal(size=n) * 10.0 ** rng.uniform(-3, 3, n), rng.uniform(0.3, 2.0, n)
        level = 0 if round % 2 else 10.0 ** rng.uniform(-12, -7)
        x = rng.uniform(-2, 2, n)
        f = lambda x, a=a, b=b, level=level: float(a @ np.sin(b * x) + level * noise_of(x.sum()))  # noqa: E731
        for method in ("central", "forward", "adaptive"):
            found = fl.gradient(f, x, method=method, full_output=True)
            misses += int((np.abs(found.value - a * b * np.cos(b * x)) > found.error).sum())
    assert misses <= 0.01 * 60 * 3 * n
