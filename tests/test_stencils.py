"""The arithmetic of differences, against exact fractions: weights, error constants, norms, noise, extrapolation."""

import math
from fractions import Fraction

import numpy as np
import pytest

from fallline import _core
from fallline.bounds import Bounds
from fallline.evaluate import Function
from fallline.lines import CODES, Differences, Lines, power_of_two, stencil
from fallline.noise import measure_noise
from fallline.space import Space

CENTRAL = [("central", order, accuracy) for order in range(1, 7) for accuracy in (2, 4, 6, 8)]
ONE_SIDED = [(side, order, p) for side in ("forward", "backward") for order in range(1, 7) for p in range(1, 9)]

# Of textbooks: weights from the lowest node up, C of the error C h^p f^(d+p), and the sum of the magnitudes.
TABLES = [
    ("central", 1, 2, "-1/2 1/2", "1/6", 1.0),
    ("central", 1, 4, "1/12 -8/12 8/12 -1/12", "-1/30", 1.5),
    ("central", 1, 6, "-1/60 9/60 -45/60 45/60 -9/60 1/60", "1/140", 1.8333),
    ("central", 1, 8, "3/840 -32/840 168/840 -672/840 672/840 -168/840 32/840 -3/840", "-1/630", 2.0833),
    ("central", 2, 2, "1 -2 1", "1/12", 4.0),
    ("central", 2, 4, "-1/12 16/12 -30/12 16/12 -1/12", "-1/90", 5.3333),
    ("central", 2, 6, "2/180 -27/180 270/180 -490/180 270/180 -27/180 2/180", "1/560", 6.0444),
    ("central", 2, 8, "-9/5040 128/5040 -1008/5040 8064/5040 -14350/5040 8064/5040 -1008/5040 128/5040 -9/5040",
     "-1/3150", 6.5016),
    ("forward", 1, 1, "-1 1", "1/2", 2.0),
    ("forward", 1, 2, "-3/2 4/2 -1/2", "-1/3", 4.0),
    ("forward", 1, 3, "-11/6 18/6 -9/6 2/6", "1/4", 6.6667),
    ("forward", 1, 4, "-25/12 48/12 -36/12 16/12 -3/12", "-1/5", 10.6667),
    ("forward", 1, 5, "-137/60 300/60 -300/60 200/60 -75/60 12/60", "1/6", 17.0667),
    ("forward", 1, 6, "-147/60 360/60 -450/60 400/60 -225/60 72/60 -10/60", "-1/7", 27.7333),
    ("forward", 1, 7, "-1089/420 2940/420 -4410/420 4900/420 -3675/420 1764/420 -490/420 60/420", "1/8", 46.0190),
    ("forward", 1, 8, "-2283/840 6720/840 -11760/840 15680/840 -14700/840 9408/840 -3920/840 960/840 -105/840", "-1/9",
     78.0190),
    ("forward", 2, 1, "1 -2 1", "1", 4.0),
    ("forward", 2, 2, "2 -5 4 -1", "-11/12", 12.0),
    ("forward", 2, 4, "45/12 -154/12 214/12 -156/12 61/12 -10/12", "-137/180", 53.3333),
    ("forward", 2, 6, "938/180 -4014/180 7911/180 -9490/180 7380/180 -3618/180 1019/180 -126/180", "-363/560",
     191.6444),
    ("forward", 2, 8, ("32575/5040 -165924/5040 422568/5040 -704368/5040 818874/5040 -667800/5040 375704/5040 "
     "-139248/5040 30663/5040 -3044/5040"), "-7129/12600", 666.819),
]  # fmt: skip


def exact_weights(order, nodes):
    """Solve sum w_k s_k^i = (order! if i == order else 0) in fractions."""
    n = len(nodes)
    rows = [[Fraction(int(s)) ** i for s in nodes] + [Fraction(math.factorial(order) * (i == order))] for i in range(n)]
    for i in range(n):
        pivot = next(r for r in range(i, n) if rows[r][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for r in range(n):
            if r != i:
                rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i], strict=True)]
    return [row[-1] for row in rows]


def moment(order, nodes, weights, power):
    return sum(w * Fraction(int(s)) ** power for w, s in zip(weights, nodes, strict=True)) / math.factorial(power)


@pytest.mark.parametrize(("side", "order", "accuracy"), CENTRAL + ONE_SIDED)
def test_every_stencil_is_the_exact_one_rounded(side, order, accuracy):
    found = stencil(side, order, accuracy)
    nodes = found.nodes if side == "central" and order % 2 else np.sort(found.nodes)
    exact = dict(zip(nodes, exact_weights(order, nodes), strict=True))
    assert found.weights.tolist() == [float(exact[node]) for node in found.nodes]
    assert found.accuracy == accuracy
    assert found.norm == pytest.approx(float(sum(map(abs, exact.values()))), rel=1e-15)
    # The first power that it gets wrong is the one that it says, by the constant that it says.
    all_nodes, weights = list(exact), list(exact.values())
    for power in range(order + accuracy):
        assert moment(order, all_nodes, weights, power) == (power == order)
    assert found.constant == pytest.approx(float(moment(order, all_nodes, weights, order + accuracy)), rel=1e-15)
    reach = np.abs(found.nodes).max()
    assert reach == ((order + 1) // 2 - 1 + accuracy // 2 if side == "central" else order + accuracy - 1)
    assert {"central": len(exact), "forward": (nodes >= 0).sum(), "backward": (nodes <= 0).sum()}[side] == len(exact)


@pytest.mark.parametrize(("side", "order", "accuracy", "weights", "constant", "norm"), TABLES)
def test_stencils_of_the_textbooks(side, order, accuracy, weights, constant, norm):
    found = stencil(side, order, accuracy)
    ascending = np.argsort(found.nodes)
    assert found.weights[ascending].tolist() == [float(Fraction(w)) for w in weights.split()]
    assert found.constant == pytest.approx(float(Fraction(constant)), rel=1e-15)
    assert found.norm == pytest.approx(norm, abs=5e-5 * norm)
    mirrored = stencil("backward", order, accuracy)
    if side == "forward":
        assert (mirrored.weights * (-1) ** order).tolist() == found.weights.tolist()
        assert (-mirrored.nodes).tolist() == found.nodes.tolist()


@pytest.mark.parametrize(
    ("side", "order", "accuracy", "h64", "h32"),
    [
        ("central", 1, 2, 8.7e-6, 7.1e-3), ("central", 1, 8, 3.2e-2, 0.30), ("central", 2, 4, 6.1e-3, 0.175),
        ("forward", 1, 1, 3.0e-8, 6.9e-4), ("forward", 1, 6, 9.5e-3, 0.17), ("forward", 2, 8, 4.8e-2, 0.36),
    ],
)  # fmt: skip
def test_the_step_balances_truncation_and_roundoff(side, order, accuracy, h64, h32):
    found = stencil(side, order, accuracy)
    assert found.step(2.0**-52) == pytest.approx(h64, rel=0.02)
    assert found.step(2.0**-23) == pytest.approx(h32, rel=0.02)
    h = found.step(1e-9)
    cost = lambda h: abs(found.constant) * h**accuracy + 1e-9 * found.norm / h**order  # noqa: E731
    assert cost(h) <= min(cost(0.99 * h), cost(1.01 * h))


def test_weights_for_any_nodes():
    """Fornberg's problem: nodes need not be equally spaced, nor about the point."""
    rng = np.random.default_rng(0)
    for order in range(5):
        nodes = np.sort(rng.uniform(-1, 1, order + 4))
        weights = _core.stencil(order, nodes)
        for power in range(len(nodes)):
            wanted = math.factorial(order) if power == order else 0
            assert weights @ nodes**power == pytest.approx(wanted, abs=1e-9 * np.abs(weights).sum())
    for order, n in ((4, 4), (0, 33), (1, 0)):
        with pytest.raises(IndexError):
            _core.stencil(order, np.arange(float(n)))


def test_powers_of_two():
    assert power_of_two([1.0, 1.4, 1.42, 0.7, 0.72, 2.0**-1040]).tolist() == [1.0, 1.0, 2.0, 0.5, 1.0, 2.0**-1040]


def differences_of(f, x, side, accuracy, order=1, low=-np.inf, high=np.inf):
    space = Space("test", x)
    n = space.size
    bounds = Bounds(np.full(n, low), np.full(n, high), np.isinf([low, high]).all())
    lines = Lines.coordinates(space, np.arange(n), np.ones(n), bounds)
    return Differences(Function("test", f, space), lines, order, accuracy, side)


@pytest.mark.parametrize(("side", "order", "accuracy"), [c for c in CENTRAL + ONE_SIDED if c[1] <= 2])
def test_a_stencil_is_exact_for_polynomials_of_its_degree(side, order, accuracy):
    """With a step of 1/2 and small integer coefficients there is no rounding."""
    degree = accuracy + order - 1
    polynomial = np.polynomial.Polynomial(np.arange(1.0, degree + 2))
    found = differences_of(lambda x: float(polynomial(x[0])), [1.0], side, accuracy, order)(np.array([0.5]))
    assert found.value[0, 0] == pytest.approx(float(polynomial.deriv(order)(1.0)), rel=1e-9)
    assert found.side.tolist() == [CODES[side]]


def test_where_x_plus_h_is_rounded_the_weights_know_it():
    """With the step that was asked for instead of the one taken, the error would be 1e-8 and not 1e-11."""
    x = np.array([1000.1])
    found = differences_of(lambda x: float(x[0]), x, "central", 4)(np.array([1e-5]))
    assert abs(found.value[0, 0] - 1) < 1e-8  # roundoff of f's own: eps * 1000 / 1e-5
    exact = differences_of(lambda x: float(x[0]) - 1000.1, x, "central", 4)(np.array([1e-5]))
    assert abs(exact.value[0, 0] - 1) < 1e-15
    single = differences_of(lambda x: float(x[0]) - float(np.float32(1.3)), np.array([1.3], np.float32), "forward", 3)
    assert abs(single(np.array([1e-3])).value[0, 0] - 1) < 1e-14


def test_a_step_that_x_swallows_gives_nan():
    found = differences_of(lambda x: float(x[0]), [1e9], "central", 2).plain(np.array([1e-9]), np.arange(1))
    assert np.isnan(found.value).all()


# ---------------------------------------------------------------------------------------------------------------------
# Noise and extrapolation
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [1e-12, 1e-8, 1e-4])
@pytest.mark.parametrize("f", [np.sin, np.exp, lambda x: 3 * x**2 + 1])
def test_noise_is_found(f, sigma):
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(100):
        t = rng.uniform(0, 2) + np.arange(-3, 4) * 1e-8
        level, way = _core.noise(f(t) + sigma * rng.normal(size=7))
        assert way == "found"
        ratios.append(level / sigma)
    assert 0.8 < np.median(ratios) < 1.25
    assert np.quantile(ratios, 0.05) > 0.3
    assert np.quantile(ratios, 0.95) < 2.5


def test_noise_says_how_the_distance_must_change():
    t = np.arange(7.0)
    assert _core.noise(np.exp(t))[1] == "large"
    assert _core.noise(np.ones(7))[1] == "small"
    assert _core.noise(np.array([0.0, 0, 0, 0, 1, 1, 1]))[1] == "small"
    for n in (3, 33):
        with pytest.raises(IndexError):
            _core.noise(np.zeros(n))


@pytest.mark.parametrize("level", [0.0, 1e-13, 1e-9, 1e-5])
def test_the_noise_of_a_function(level):
    rng = np.random.default_rng(1)

    def f(x):
        return float(np.sin(x).sum() + level * rng.normal())

    found, size, _ = measure_noise(differences_of(f, np.ones(3), "central", 2))
    assert size[0] == pytest.approx(3 * np.sin(1), rel=1e-3)
    if level:
        assert level / 4 < found[0] < 4 * level
    else:
        assert 2.0**-52 / 4 * size[0] <= found[0] < 2.0**-52 * size[0]


def test_noise_is_measured_within_the_bounds():
    seen = []

    def f(x):
        seen.append(float(x[0]))
        return float(np.exp(x[0]))

    for low, high in ((1.0, 2.0), (0.0, 1.0), (1 - 1e-9, 1.0), (1.0, 1.0 + 1e-13)):
        seen.clear()
        found, _, _ = measure_noise(differences_of(f, [1.0], "central", 2, low=low, high=high))
        assert low <= min(seen) <= max(seen) <= high
        assert found[0] < 1e-15


def test_extrapolation_of_a_polynomial_is_exact():
    """The differences of x^5 at 1 are 5 + 10 h^2 + h^4: two extrapolations remove both terms."""
    h = 2.0 ** -np.arange(6)
    differences = (5 + 10 * h**2 + h**4)[:, None]
    value, error, level = _core.extrapolate(differences, np.zeros((6, 1)), 2.0, 2)
    assert value.tolist() == [5.0]
    assert error[0] < 1e-14
    assert level[0] >= 3
    value, error, _ = _core.extrapolate((2 + 3 * h + h**2)[:, None], np.zeros((6, 1)), 2.0, 1)
    assert value.tolist() == [2.0]


def test_extrapolation_carries_the_roundoff():
    """Without it, rounding that happens to agree would pass for certainty."""
    h = 2.0 ** -np.arange(6)
    differences, roundoff = np.full((6, 1), 7.0), (1e-3 / h)[:, None]
    value, error, level = _core.extrapolate(differences, roundoff, 2.0, 2)
    assert value.tolist() == [7.0]
    assert 1e-3 < error[0] < 1e-2
    assert level.tolist() == [1]
    value, error, _ = _core.extrapolate(differences[:1], roundoff[:1], 2.0, 2)
    assert np.isnan(value[0])  # one level says nothing of its error
    assert error[0] == np.inf


def test_the_doorway_refuses_what_does_not_fit():
    with pytest.raises(IndexError):
        _core.differences(np.ones((2, 3)), np.ones((2, 2, 1)), np.ones(2))
    with pytest.raises(IndexError):
        _core.extrapolate(np.ones((2, 1)), np.ones((3, 1)), 2.0, 2)
    with pytest.raises(IndexError):
        _core.extrapolate(np.ones((33, 1)), np.ones((33, 1)), 2.0, 2)
    assert _core.differences(np.ones((2, 2)), np.ones((2, 2, 0)), np.ones(2)).shape == (2, 0)
