"""What happens around every rule: gradients are scaled, clipped, negated and decayed, weights averaged."""

import itertools

import ml_dtypes
import numpy as np
import pytest

import fallline as fl
from rules import ROWS

EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)


def prologue(grads, params, *, grad_scale, clip_value, clip_norm, maximize, weight_decay):
    """Return what the rule sees, literally and in the documented order; the last two are one number for each tensor."""
    grads = [grad_scale * g for g in grads]
    if clip_value is not None:
        grads = [np.clip(g, -clip_value, clip_value) for g in grads]
    if clip_norm is not None:
        norm = np.sqrt(sum((g**2).sum() for g in grads))
        if norm > clip_norm:
            grads = [g * (clip_norm / norm) for g in grads]
    grads = [-g if up else g for g, up in zip(grads, maximize, strict=True)]
    return [g + decay * p for g, p, decay in zip(grads, params, weight_decay, strict=True)]


OPTIONS = [
    pytest.param(*chosen, id="-".join(map(str, chosen)))
    for chosen in itertools.product(
        (1.0, 0.375, 3.0), (None, 0.75), (None, 2.5, 40.0), ((0, 0), (1, 1), (0, 1)), ((0, 0), (0.5, 0.25))
    )
]


def data(dtype, seed=4):
    rng = np.random.default_rng(seed)
    shapes = [(33, 40), (3,)]
    return [rng.standard_normal(s).astype(dtype) for s in shapes], [
        rng.standard_normal(s).astype(dtype) for s in shapes
    ]


@pytest.mark.parametrize(("grad_scale", "clip_value", "clip_norm", "maximize", "weight_decay"), OPTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_combination_in_the_documented_order(dtype, grad_scale, clip_value, clip_norm, maximize, weight_decay):
    """The first momentum buffer is what the rule saw."""
    params, grads = data(dtype)
    expected = prologue(
        [g.astype(np.float64) for g in grads], [p.astype(np.float64) for p in params], grad_scale=grad_scale,
        clip_value=clip_value, clip_norm=clip_norm, maximize=maximize, weight_decay=weight_decay,
    )  # fmt: skip
    groups = [
        {"params": p, "maximize": bool(up), "weight_decay": decay}
        for p, up, decay in zip(params, maximize, weight_decay, strict=True)
    ]
    opt = fl.Momentum(groups, lr=1.0, momentum=0.5, grad_scale=grad_scale, clip_value=clip_value, clip_norm=clip_norm)
    before = [p.copy() for p in params]
    opt.step(grads)
    eps = np.finfo(dtype).eps
    for i in range(2):
        found = opt.state[str(i)]["b"]
        # The bound, the factor, the products and the sum are rounded once each; terms that may cancel are below 4.
        np.testing.assert_allclose(found, expected[i], rtol=4 * eps, atol=4 * eps)
        assert np.array_equal(params[i], before[i] - found)


@EVERY_ROW
def test_every_rule_sees_the_same_prologue(row):
    """The references, handed gradients that were prepared literally, for a run of steps."""
    rng = np.random.default_rng(8)
    p = [rng.standard_normal((4, 5)), rng.standard_normal(3)]
    truth = [x.copy() for x in p]
    state = [row.start(x) for x in p]
    options = {"grad_scale": 0.5, "clip_value": 0.75, "clip_norm": 1.5}
    opt = getattr(fl, row.cls)(p, maximize=True, **options, **row.keywords)
    for t in range(1, 6):
        grads = [rng.standard_normal(x.shape) for x in p]
        seen = prologue(grads, truth, maximize=(1, 1), weight_decay=(0, 0), **options)
        opt.step(grads)
        truth = [row.reference(x, g, s, t, **row.keywords) for x, g, s in zip(truth, seen, state, strict=True)]
    for x, y in zip(p, truth, strict=True):
        # 8 ulp a step of the largest value, twice what the rule has by itself: a gradient has another rounding or two.
        np.testing.assert_allclose(x, y, rtol=0, atol=5 * 16 * np.spacing(np.abs(y).max() + 2))


# ---------------------------------------------------------------------------------------------------------------------
# The global norm
# ---------------------------------------------------------------------------------------------------------------------


def clipped(grads, clip_norm, **options):
    """Return what clip_norm makes of gradients."""
    params = [np.zeros_like(g) for g in grads]
    fl.SGD(params, lr=1.0, clip_norm=clip_norm, **options).step(grads)
    return [-p for p in params]


def test_a_norm_at_the_bound_is_left_alone():
    g = [np.array([3.0]), np.array([4.0])]
    assert clipped(g, 5.0) == g
    assert clipped(g, 5.5) == g
    assert clipped(g, np.nextafter(5.0, 0)) != g


@pytest.mark.parametrize("big", [1e20, 1e150, 1e200, 1e300])
def test_squares_of_float64_may_overflow(big):
    (found,) = clipped([np.array([3 * big, 4 * big])], 1.0)
    np.testing.assert_allclose(found, [0.6, 0.8], rtol=1e-15)


def test_a_norm_of_float64_may_overflow():
    """Every gradient is finite and none may pass unclipped, though their norm is 1.5 times the largest double."""
    (found,) = clipped([np.full(4, 0.75 * np.finfo(np.float64).max)], 1.0)
    np.testing.assert_allclose(found, 0.5, rtol=1e-14)  # the factor, 7e-309, is subnormal: 4 bits fewer


@pytest.mark.parametrize(("dtype", "big"), [(np.float32, 1e30), (np.float16, 1e4), (ml_dtypes.bfloat16, 1e30)])
def test_squares_of_smaller_formats_do_not_overflow(dtype, big):
    (found,) = clipped([np.array([3 * big, 4 * big]).astype(dtype)], 1.0)
    np.testing.assert_allclose(found.astype(np.float64), [0.6, 0.8], rtol=2.0**-8)


def test_the_norm_is_summed_in_double():
    """In float32, 2^24 + 1 is 2^24: the ones would be lost, which are 1.2e-4 of the sum."""
    g = np.ones(32768, np.float32)
    g[0] = 4096
    (found,) = clipped([g], 1.0)
    norm = np.sqrt(2.0**24 + 32767)
    np.testing.assert_allclose(found[[0, 1]], [4096 / norm, 1 / norm], rtol=2.0**-23)
    assert abs(norm / 4096 - 1) > 100 * 2.0**-23


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_norm_does_not_depend_on_threads(dtype):
    rng = np.random.default_rng(1)
    grads = [rng.standard_normal(n).astype(dtype) for n in (100_000, 3, 70_001, 1)]
    alone = clipped(grads, 0.5, threads=1)
    assert np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in alone)) == pytest.approx(0.5, rel=1e-7)
    for threads in (2, 3, 8):
        assert [g.tobytes() for g in clipped(grads, 0.5, threads=threads)] == [g.tobytes() for g in alone]


def test_the_norm_is_over_the_gradients_of_this_step():
    """Not over a tensor without a gradient, and not over a frozen group."""
    a, b, c = np.zeros(1), np.zeros(1), np.zeros(1)
    opt = fl.SGD([{"params": {"a": a, "b": b}}, {"params": c, "frozen": True}], lr=1.0, clip_norm=5.0)
    opt.step([{"a": np.array([-30.0]), "b": np.array([-40.0])}, np.array([1e9])])
    np.testing.assert_allclose([a[0], b[0], c[0]], [3, 4, 0], rtol=1e-15)
    opt.step([{"a": np.array([-30.0]), "b": None}, None])
    np.testing.assert_allclose([a[0], b[0]], [8, 4], rtol=1e-15)


def test_the_norm_mixes_formats():
    grads = [
        np.array([3.0]),
        np.array([4.0], np.float32),
        np.array([12.0], np.float16),
        np.array([84.0]).astype(ml_dtypes.bfloat16),
    ]
    found = clipped(grads, 8.5)  # of a norm of 85
    np.testing.assert_allclose([float(g[0]) for g in found], [0.3, 0.4, 1.2, 8.4], rtol=2.0**-8)
    np.testing.assert_allclose(found[0], 0.3, rtol=1e-15)


# ---------------------------------------------------------------------------------------------------------------------
# Not finite
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"clip_norm": 1.0}, {"clip_value": 1.0}, {"clip_norm": 1.0, "clip_value": 1.0}], ids=str
)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_clipping_hides_nothing_from_raise_and_skip(bad, options):
    p = np.ones(3)
    opt = fl.Adam(p, lr=0.5, nonfinite="raise", **options)
    with pytest.raises(ValueError, match=r"grads\['0'\]: must be finite"):
        opt.step(np.array([1.0, bad, 2.0]))
    opt.nonfinite = "skip"
    opt.step(np.array([1.0, bad, 2.0]))
    assert np.array_equal(p, np.ones(3))
    assert (opt.steps, opt.skipped) == (0, 1)
    assert not any(array.any() for key, array in opt.state["0"].items() if key in "mv")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_under_ignore_a_norm_that_is_not_finite_spoils_no_other_element(bad, dtype):
    """Scaling by 1/inf would zero all gradients, and by 1/NaN spoil them; so nothing is scaled."""
    g = [np.array([3, bad], dtype), np.array([4], dtype)]
    found = clipped(g, 1.0, nonfinite="ignore")
    assert found[0][0] == 3
    assert found[1][0] == 4
    assert np.array_equal(found[0][1:], g[0][1:], equal_nan=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_under_ignore_clip_value_bounds_infinity_and_passes_nan(dtype):
    p = np.zeros(40, dtype)
    g = np.resize(np.array([np.nan, np.inf, -np.inf, 5, -5, 0.5], dtype), 40)
    fl.SGD(p, lr=1.0, clip_value=2.0, nonfinite="ignore").step(g)
    assert np.array_equal(-p, np.resize(np.array([np.nan, 2, -2, 2, -2, 0.5], dtype), 40), equal_nan=True)


def test_clip_value_leaves_a_finite_norm_to_clip():
    (found,) = clipped([np.array([np.inf, -7.0, 0.0])], 1.0, clip_value=3.0, nonfinite="ignore")
    np.testing.assert_allclose(found, [np.sqrt(0.5), -np.sqrt(0.5), 0], rtol=1e-15)


# ---------------------------------------------------------------------------------------------------------------------
# The moving average of the weights
# ---------------------------------------------------------------------------------------------------------------------


@EVERY_ROW
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_ema_is_the_recursion(row, dtype):
    """The first average is the first weights; then average + (1 - decay)*(weights - average), after each step."""
    rng = np.random.default_rng(6)
    p = {"W": rng.standard_normal((40, 30)).astype(dtype), "b": rng.standard_normal(5).astype(dtype)}
    twin = {name: array.copy() for name, array in p.items()}
    opt = getattr(fl, row.cls)(p, ema=0.9, **row.keywords)
    without = getattr(fl, row.cls)(twin, **row.keywords)
    expected = {}
    rest = dtype(1 - 0.9)
    for t in range(5):
        grads = {name: rng.standard_normal(array.shape).astype(dtype) for name, array in p.items()}
        if t == 0:
            del grads["b"]  # comes late
        opt.step(grads)
        without.step(grads)
        for name in grads:
            e = expected.get(name)
            expected[name] = p[name].copy() if e is None else e + rest * (p[name] - e)
            assert np.array_equal(opt.averaged()[name], expected[name])  # the same operations in the same order
    assert {name: a.tobytes() for name, a in p.items()} == {name: a.tobytes() for name, a in twin.items()}
    assert all(opt.state[name]["average"].dtype == dtype for name in p)


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("how", ["master", "nearest", "stochastic"])
def test_ema_of_half_parameters_is_kept_in_float32(half, how):
    """The average of what the rule computed, before it is rounded: by an ulp/2, if stochastically by an ulp."""
    rng = np.random.default_rng(6)
    p = rng.uniform(1, 2, 3000).astype(half)
    opt = fl.SGD(p, lr=2.0**-12, half_params=how, ema=0.75, rng=1)
    expected = None
    for _ in range(8):
        opt.step(rng.uniform(-1, 1, 3000).astype(half))
        weights = p.astype(np.float64)
        expected = weights if expected is None else 0.75 * expected + 0.25 * weights
    ulp = float(ml_dtypes.finfo(half).eps)  # of numbers from 1 to 2, which these are but for a few steps of 2^-12
    bound = ulp if how == "stochastic" else ulp / 2
    assert np.abs(opt.state["0"]["average"] - expected).max() <= bound * (1 + 2.0**-10)
    assert opt.averaged().dtype == half
    assert np.array_equal(opt.averaged(), opt.state["0"]["average"].astype(half))


@pytest.mark.parametrize("decay", [0.999, 0.9999, 0.99999])
def test_ema_of_float32_has_no_bias(decay):
    """Against decay*average + (1 - decay)*weights in float64; 3000 roundings of 3e-8 add up to 2e-6 by their root."""
    rng = np.random.default_rng(7)
    weights = rng.uniform(0.5, 1.5, (3000, 50)).astype(np.float32)
    p = weights[0].copy()
    opt = fl.SGD(p, lr=1.0, ema=decay)
    expected = weights[0].astype(np.float64)
    opt.step(np.zeros(50, np.float32))
    for now in weights[1:]:
        p[:] = now
        opt.step(np.zeros(50, np.float32))
        expected = decay * expected + (1 - decay) * now
    assert np.abs(opt.averaged() / expected - 1).max() < 5e-6


@pytest.mark.parametrize("decay", [0.0, 2.0**-20, 1 - 2.0**-20])
def test_extreme_decays(decay):
    p = np.zeros(3)
    opt = fl.SGD(p, lr=1.0, ema=decay)
    for _ in range(2):
        opt.step(np.full(3, -1.0))
    assert np.array_equal(opt.averaged(), np.full(3, decay * 1 + (1 - decay) * 2))


def test_a_skipped_step_is_not_averaged():
    p = np.zeros(1)
    opt = fl.SGD(p, lr=1.0, ema=0.5, nonfinite="skip")
    opt.step(np.array([-1.0]))
    opt.step(np.array([np.nan]))
    opt.step(np.array([-1.0]))
    assert opt.averaged()[0] == 0.5 * 1 + 0.5 * 2
