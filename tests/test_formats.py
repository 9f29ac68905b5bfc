"""float16, bfloat16 and arbitrary strides, against NumPy's and ml_dtypes' conversions and contiguous runs."""

import functools
import itertools
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import fallline as fl
from rules import ROWS

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT16 = np.dtype(np.float16)
HALVES = [pytest.param(FLOAT16, id="float16"), pytest.param(BFLOAT16, id="bfloat16")]
EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
EVERY_HALF = pytest.mark.parametrize("half", HALVES)


def codes(half):
    """Return all 65536 numbers of a half format."""
    return np.arange(65536, dtype=np.uint16).view(half)


def rounded(x, half):
    with np.errstate(over="ignore", invalid="ignore"):  # to infinity, and of signalling NaN
        return np.asarray(x, np.float32).astype(half)


def assert_same(found, expected):
    """Check that halves are the same bits, or both NaN."""
    nan = np.isnan(expected.astype(np.float32))
    assert np.array_equal(np.isnan(found.astype(np.float32)), nan)
    assert np.array_equal(found.view(np.uint16)[~nan], expected.view(np.uint16)[~nan])


def bits(tree):
    if isinstance(tree, dict):
        return {key: bits(child) for key, child in tree.items()}
    return [bits(child) for child in tree] if isinstance(tree, (list, tuple)) else tree.tobytes()


def states(opt, *without):
    return {f"{n}:{k}": a.tobytes() for n, own in opt.state.items() for k, a in own.items() if k not in without}


# ---------------------------------------------------------------------------------------------------------------------
# Decoding and encoding
# ---------------------------------------------------------------------------------------------------------------------


@EVERY_HALF
def test_every_code_of_a_gradient_is_decoded(half):
    """The first momentum buffer is the gradient, in float32."""
    g = codes(half)
    opt = fl.Momentum(np.zeros(65536, half), lr=0.5, momentum=0.5, nonfinite="ignore")
    opt.step(g)
    assert np.array_equal(opt.state["0"]["b"], g.astype(np.float32), equal_nan=True)


@EVERY_HALF
def test_every_code_of_a_parameter_is_decoded_and_encoded(half):
    """The first moving average is the parameter, in float32; a step of 0 gives every code back."""
    p = codes(half).copy()
    opt = fl.SGD(p, lr=0.5, half_params="nearest", ema=0.5)
    opt.step(np.zeros(65536, half))
    assert np.array_equal(opt.state["0"]["average"], codes(half).astype(np.float32), equal_nan=True)
    assert_same(p, codes(half))


def numbers_to_round(half):
    """Return float32 numbers: exact ones, ties and their neighbours, overflow, underflow, and random bits."""
    exact = codes(half).astype(np.float32)
    exact = np.unique(exact[np.isfinite(exact)])
    ties = (exact[1:].astype(np.float64) + exact[:-1].astype(np.float64)) / 2
    largest = float(exact[-1])
    over = largest + (largest - float(exact[-2])) * np.array([0.25, 0.4999, 0.5, 0.5001, 0.75, 1, 2])
    with np.errstate(over="ignore"):
        ties, over = ties.astype(np.float32), np.concatenate([over, -over]).astype(np.float32)
    tiny = np.arange(1, 4096, dtype=np.uint32).view(np.float32)
    anything = np.random.default_rng(5).integers(0, 2**32, 300_000, np.uint32).view(np.float32)
    inf = np.float32(np.inf)
    several = [exact, ties, np.nextafter(ties, inf), np.nextafter(ties, -inf), over, tiny, -tiny, anything]
    return np.concatenate([*several, np.array([np.inf, -np.inf, np.nan], np.float32)])


@EVERY_HALF
@pytest.mark.parametrize("how", ["nearest", "master"])
def test_encoding_rounds_to_nearest_even(half, how):
    """A step of lr=1 from 0 against -x arrives at x."""
    x = numbers_to_round(half)
    p = np.zeros(x.size, half)
    fl.SGD(p, lr=1.0, half_params=how, nonfinite="ignore").step(-x)
    expected = rounded(x, half)
    expected[x == 0] = 0  # 0 - 0 is +0
    assert_same(p, expected)


def test_bfloat16_is_known_without_importing_ml_dtypes():
    code = "import sys, fallline; fallline.Adam([]).step([]); print('ml_dtypes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# ---------------------------------------------------------------------------------------------------------------------
# Half parameters: master copy, nearest
# ---------------------------------------------------------------------------------------------------------------------


def start(half, seed=3):
    """Return half parameters and the gradients of six steps."""
    rng = np.random.default_rng(seed)
    shapes = {"W": (40, 31), "b": (7,)}
    params = {name: rng.standard_normal(shape).astype(np.float32).astype(half) for name, shape in shapes.items()}
    grads = [{n: rng.standard_normal(s).astype(np.float32).astype(half) for n, s in shapes.items()} for _ in range(6)]
    return params, grads


def widened(tree):
    return {name: array.astype(np.float32) for name, array in tree.items()}


@EVERY_HALF
@EVERY_ROW
def test_a_master_copy_gives_the_float32_run_rounded(row, half):
    params, grads = start(half)
    twin = widened(params)
    build = functools.partial(getattr(fl, row.cls), ema=0.75, clip_norm=20.0, grad_scale=0.5, **row.keywords)
    opt, other = build(params), build(twin)
    for one in grads:
        opt.step(one)
        other.step(widened(one))
        for name in params:
            assert_same(params[name], rounded(twin[name], half))
            assert opt.state[name]["master"].tobytes() == twin[name].tobytes()
    assert states(opt, "master") == states(other)
    assert bits(opt.averaged()) == bits({name: rounded(a, half) for name, a in other.averaged().items()})


@EVERY_HALF
@EVERY_ROW
def test_nearest_rounds_after_every_step(row, half):
    params, grads = start(half)
    twin = widened(params)
    build = functools.partial(getattr(fl, row.cls), ema=0.75, clip_norm=20.0, grad_scale=0.5, **row.keywords)
    opt, other = build(params, half_params="nearest"), build(twin)
    for one in grads:
        for name in twin:
            twin[name][...] = params[name]
        opt.step(one)
        other.step(widened(one))
        for name in params:
            assert_same(params[name], rounded(twin[name], half))
    assert states(opt) == states(other)
    assert all("master" not in own for own in opt.state.values())


@EVERY_HALF
@pytest.mark.parametrize("how", ["master", "nearest", "stochastic"])
def test_float32_gradients_of_half_parameters(half, how):
    params, grads = start(half)
    twin = {name: array.copy() for name, array in params.items()}
    opt, other = (fl.Adam(tree, lr=0.1, half_params=how, rng=1) for tree in (params, twin))
    for one in grads:
        opt.step(one)
        other.step(widened(one))
    assert bits(params) == bits(twin)
    finer = {name: np.full(array.shape, 1 + 2.0**-20, np.float32) for name, array in params.items()}
    momentum = fl.Momentum(params, half_params=how)
    momentum.step(finer)
    assert (momentum.state["W"]["b"] == np.float32(1 + 2.0**-20)).all()


@EVERY_HALF
@pytest.mark.parametrize("how", ["master", "nearest", "stochastic"])
def test_moments_of_half_parameters_are_float32(half, how):
    opt = fl.Adam(np.zeros(100, half), half_params=how, amsgrad=True, ema=0.5)
    arrays = {key: a for key, a in opt.state["0"].items() if a.shape}
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}
    assert set(arrays) == {"m", "v", "vmax", "average"} | ({"master"} if how == "master" else set())


@EVERY_HALF
@pytest.mark.parametrize("how", ["master", "nearest", "stochastic"])
@pytest.mark.parametrize("name", fl.optimizers())
def test_a_zero_gradient_makes_no_nan(half, how, name):
    """An eps of 1e-8 is 0 in float16, and 0/0 is NaN, if the arithmetic is done in float16."""
    p = np.linspace(-1, 1, 64).astype(half)
    opt = fl.optimizers()[name](p, half_params=how, rng=0)
    for _ in range(3):
        opt.step(np.zeros(64, half))
    assert np.isfinite(p.astype(np.float32)).all()


@EVERY_HALF
def test_adam_moves_half_parameters_with_its_default_beta2(half):
    """0.999 is 1 in bfloat16: a second moment kept in it stays 0 and so does the parameter."""
    p = np.full(8, 0.5, half)
    opt = fl.Adam(p, lr=0.01)
    for _ in range(10):
        opt.step(np.ones(8, half))
    np.testing.assert_allclose(p.astype(np.float32), 0.4, rtol=2.0**-9)  # half a unit in the last place of bfloat16


@EVERY_HALF
def test_small_updates_are_lost_only_with_nearest(half):
    """1000 steps of 2^-14, an eighth of float16's last place below 1: only nearest never starts."""
    n, steps, lr = 4096, 1000, 2.0**-14
    ulp = 1 - float(np.nextafter(half.type(1), half.type(0)))
    end = 1 - lr * steps
    found = {}
    for how in ("nearest", "master", "stochastic"):
        p = np.ones(n, half)
        opt = fl.SGD(p, lr=lr, half_params=how, rng=11)
        for _ in range(steps):
            opt.step(np.ones(n, half))
        found[how] = p.astype(np.float64)
    assert (found["nearest"] == 1).all()
    assert np.abs(found["master"] - end).max() <= ulp / 2 + steps * 2.0**-25  # its rounding, and float32's
    # A step is a random walk of variance at most (ulp/2)^2 for each element; 5 sigma of the mean over n.
    assert abs(found["stochastic"].mean() - end) <= 5 * (ulp / 2) * np.sqrt(steps / n)


@EVERY_HALF
@pytest.mark.parametrize("how", ["master", "nearest", "stochastic"])
def test_an_edit_of_half_parameters_between_steps_is_kept(half, how):
    """Writing into a parameter works for float32; a master copy must not silently undo it."""
    p = np.ones(4, half)
    opt = fl.SGD(p, lr=0.5, half_params=how, rng=0)
    opt.step(np.ones(4, half))
    p[:2] = 8.0
    opt.step(np.ones(4, half))
    assert p.astype(np.float32).tolist() == [7.5, 7.5, 0.0, 0.0]


# ---------------------------------------------------------------------------------------------------------------------
# Stochastic rounding
# ---------------------------------------------------------------------------------------------------------------------


def dithered(x, half, steps=1, seed=0, **options):
    """Return x rounded stochastically, by a step of lr=1 from 0 against -x, and what came of the steps before."""
    several = []
    p = np.zeros(x.size, half)
    opt = fl.SGD(p, lr=1.0, half_params="stochastic", rng=seed, nonfinite="ignore", **options)
    for _ in range(steps):
        p[:] = 0
        opt.step(-x)
        several.append(p.copy())
    return several if steps > 1 else p


@EVERY_HALF
def test_stochastic_rounding_goes_to_a_neighbour(half):
    x = numbers_to_round(half)
    x = x[np.isfinite(x) & (np.abs(x) <= np.float32(codes(half)[0x7BFF if half == FLOAT16 else 0x7F7F]))]
    exact = np.unique(codes(half).astype(np.float32))
    exact = exact[np.isfinite(exact)]
    low = exact[np.searchsorted(exact, x, "right") - 1]
    high = exact[np.searchsorted(exact, x, "left")]
    for seed in range(3):
        found = dithered(x, half, seed=seed).astype(np.float32)
        assert ((found == low) | (found == high)).all()
        assert ((found == x) | (low != high)).all()


@EVERY_HALF
def test_stochastic_rounding_keeps_exact_numbers_infinity_and_nan(half):
    for seed in range(3):
        expected = codes(half).copy()
        p = codes(half).copy()
        fl.SGD(p, lr=1.0, half_params="stochastic", rng=seed).step(np.zeros(65536, half))
        assert_same(p, expected)
    inf = np.array([np.inf, -np.inf, np.nan] * 100, np.float32)
    assert np.array_equal(dithered(inf, half).astype(np.float32), inf, equal_nan=True)


@EVERY_HALF
def test_stochastic_rounding_does_not_overflow_what_nearest_keeps(half):
    largest = float(np.finfo(half).max if half == FLOAT16 else ml_dtypes.finfo(half).max)
    gap = largest - float(np.nextafter(half.type(largest), half.type(0)))
    x = np.full(5000, np.float32(largest + gap * 0.25))
    assert np.isfinite(rounded(x, half).astype(np.float32)).all()
    assert np.isfinite(dithered(x, half).astype(np.float32)).all()


N_MEAN = 100_000
BETWEEN = [
    pytest.param(scale, share, id=f"{scale}-{share}")
    for scale, share in itertools.product(
        (1.0, -3.0, 1e-3, 2.0**-14, -(2.0**-17), 3 * 2.0**-24), (0.5, 0.25, 0.9, 1 / 64, 1 / 3)
    )
]


@EVERY_HALF
@pytest.mark.parametrize(("scale", "share"), BETWEEN)
def test_stochastic_rounding_is_unbiased(half, scale, share):
    """Of n roundings of the same number, the share that goes up is binomial; the bound is 5 sigma."""
    low = float(rounded(scale, half))
    high = float(np.nextafter(half.type(low), half.type(np.inf)))
    x = np.float32(low + share * (high - low))
    share = (float(x) - low) / (high - low)
    found = dithered(np.full(N_MEAN, x), half).astype(np.float64)
    assert set(np.unique(found)) <= {low, high}
    assert abs((found == high).mean() - share) <= 5 * np.sqrt(share * (1 - share) / N_MEAN)


@EVERY_HALF
def test_stochastic_rounding_is_independent_between_steps_elements_and_tensors(half):
    x = np.full(N_MEAN, 1 + (2.0**-11 if half == FLOAT16 else 2.0**-8), np.float32)  # half-way up
    ups = [(p.astype(np.float64) > 1).astype(float) for p in dithered(x, half, steps=4)]
    pairs = list(itertools.combinations(ups, 2))
    pairs += [(ups[0][:-lag], ups[0][lag:]) for lag in (1, 2, 8, 16, 1024, 32768)]
    pairs += [(ups[0][:-lag], ups[1][lag:]) for lag in (1, 2, 16)]
    for a, b in pairs:
        assert abs(np.corrcoef(a, b)[0, 1]) <= 5 / np.sqrt(len(a))  # 5 sigma of a correlation of nothing


@EVERY_HALF
def test_bits_depend_on_seed_step_and_element_only(half):
    x = np.random.default_rng(2).standard_normal(100_000).astype(np.float32)
    alone = dithered(x, half, steps=3, seed=4)
    assert not np.array_equal(alone[0], alone[1])
    assert not np.array_equal(dithered(x, half, seed=5), alone[0])
    for threads in (1, 2, 3):
        assert bits(dithered(x, half, steps=3, seed=4, threads=threads)) == bits(alone)
    for cuts in ([1], [50_000], [17, 1041, 1042, 33_000], [32_768, 65_536]):
        pieces = [np.zeros(n, half) for n in np.diff([0, *cuts, x.size])]
        opt = fl.SGD(pieces, lr=1.0, half_params="stochastic", rng=4)
        for step in range(3):
            for piece in pieces:
                piece[:] = 0
            opt.step(np.split(-x, cuts))
            assert bits(np.concatenate(pieces)) == bits(alone[step])


def test_seeds_by_spec_7():
    def once(rng):
        p = np.full(64, 0.5, FLOAT16)
        fl.SGD(p, lr=1e-4, half_params="stochastic", rng=rng).step(np.ones(64, FLOAT16))
        return p.tobytes()

    assert once(7) == once(7) == once(np.int64(7))
    assert once(7) != once(8)
    assert once(None) != once(None)  # equal once in 2^20 or so
    assert once(np.random.default_rng(1)) == once(np.random.default_rng(1))
    generator = np.random.default_rng(1)
    assert once(generator) != once(generator)


@EVERY_HALF
def test_two_tensors_with_their_own_counts_of_steps_still_reproduce(half):
    runs = []
    for _ in range(2):
        params, grads = start(half)
        opt = fl.Adam(params, lr=0.01, half_params="stochastic", rng=3)
        for i, one in enumerate(grads):
            opt.step(one if i % 2 else {"W": one["W"]})
        runs.append(bits(params))
    assert runs[0] == runs[1]


@EVERY_HALF
@pytest.mark.parametrize("how", ["master", "nearest", "stochastic"])
def test_half_runs_resume_at_every_step_with_the_same_bits(half, how, tmp_path):
    params, grads = start(half)
    opt = fl.AdamW(params, lr=0.01, weight_decay=0.5, half_params=how, rng=3, ema=0.5)
    for i, one in enumerate(grads):
        opt.save(tmp_path / f"{i}.npz")
        opt.step(one)
    for i in range(len(grads)):
        resumed = {name: np.zeros_like(a) for name, a in params.items()}
        other = fl.AdamW(resumed, lr=0.01, weight_decay=0.5, half_params=how, rng=99, ema=0.5)
        other.load(tmp_path / f"{i}.npz")
        for one in grads[i:]:
            other.step(one)
        assert bits(resumed) == bits(params)
        assert states(other) == states(opt)


# ---------------------------------------------------------------------------------------------------------------------
# Layouts
# ---------------------------------------------------------------------------------------------------------------------


def embedded(a, shape, index):
    """Return a copy of `a` that is a view into a larger array full of a sentinel."""
    base = np.full(shape, 7, a.dtype)
    view = base[index]
    assert view.shape == a.shape
    view[...] = a
    return view


def unaligned(a):
    memory = np.zeros(a.nbytes + 1, np.uint8)
    view = memory[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert not view.flags.aligned
    return view


def permuted(a):
    """Return a copy of `a` whose axes lie in memory in another order, neither C's nor Fortran's if there are three."""
    order = (1, 2, 0) if a.ndim == 3 else tuple(range(a.ndim))[::-1]
    return np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))


LAYOUTS = {
    "contiguous": np.array,
    "fortran": lambda a: np.array(a, order="F"),
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "permuted": permuted,
    "reversed": lambda a: np.array(a[::-1])[::-1],
    "reversed-last": lambda a: np.array(a[..., ::-1])[..., ::-1],
    "rows": lambda a: embedded(a, (2 * a.shape[0] + 1, *a.shape[1:]), np.s_[1::2]),
    "columns": lambda a: embedded(a, (*a.shape[:-1], 3 * a.shape[-1] + 2), np.s_[..., 2::3]),
    "inner": lambda a: embedded(a, (*a.shape[:-1], a.shape[-1] + 5), np.s_[..., 2:-3]),
    "backward-columns": lambda a: embedded(a, (*a.shape[:-1], 2 * a.shape[-1]), np.s_[..., ::-2]),
    "unaligned": unaligned,
}
DTYPES = [np.dtype(np.float32), np.dtype(np.float64), FLOAT16, BFLOAT16]
PAIRS = [
    pytest.param(p, g, id=f"{p}-{g}")
    for p, g in itertools.product(LAYOUTS, LAYOUTS)
    if (p, g) != ("contiguous", "contiguous")
]
GUARDS = ("rows", "columns", "inner", "backward-columns")


def data(dtype, shape, seed=9):
    rng = np.random.default_rng(seed)
    draw = lambda: rng.standard_normal(shape).astype(np.float32).astype(dtype)  # noqa: E731
    return draw(), [draw() for _ in range(2)]


@functools.cache
def contiguous_run(dtype, shape, name, options):
    p, grads = data(dtype, shape)
    opt = getattr(fl, name)(p, **dict(options))
    for g in grads:
        opt.step(g)
    return p, {key: np.array(a) for key, a in opt.state["0"].items()}


def check_layout(dtype, shape, name, options, param_layout, grad_layout):
    start, grads = data(dtype, shape)
    p = LAYOUTS[param_layout](start)
    assert np.array_equal(p, start)
    opt = getattr(fl, name)(p, **options)
    for g in grads:
        opt.step(LAYOUTS[grad_layout](g))
    expected, state = contiguous_run(dtype, shape, name, tuple(options.items()))
    assert p.tobytes() == expected.tobytes()  # tobytes() is in C order
    assert {key: a.tobytes() for key, a in opt.state["0"].items()} == {key: a.tobytes() for key, a in state.items()}
    if param_layout in GUARDS:
        outside = np.ones(p.base.shape, bool)
        outside[np.isin(np.arange(p.base.size).reshape(p.base.shape), places(p))] = False
        assert (p.base[outside] == 7).all()


def places(view):
    """Return the indices, in the flat base array, of a view's elements."""
    base, item = view.base, view.itemsize
    first = (view.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // item
    index = np.full(view.shape, first)
    for axis, stride in enumerate(view.strides):
        steps = np.arange(view.shape[axis]) * (stride // item)
        index += steps.reshape([-1 if d == axis else 1 for d in range(view.ndim)])
    return index


ADAM = {"lr": 0.1, "weight_decay": 0.5, "clip_value": 1.5, "ema": 0.5, "amsgrad": True, "grad_scale": 0.5}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("param_layout", "grad_layout"), PAIRS)
def test_every_layout_gives_the_bits_of_the_contiguous_run(dtype, param_layout, grad_layout):
    """Rows of 67: blocks of 1024 elements begin and end within them."""
    check_layout(dtype, (37, 67), "Adam", ADAM, param_layout, grad_layout)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(5, 7, 61), (1031,), (3, 11_003), (1, 1, 40)], ids=str)
def test_layouts_of_other_shapes(dtype, layout, shape):
    """One to three axes, and more than one span of 32768 elements, by two threads."""
    check_layout(dtype, shape, "Adam", ADAM | {"threads": 2}, layout, "contiguous")
    check_layout(dtype, shape, "Adam", ADAM | {"threads": 2}, "contiguous", layout)
    check_layout(dtype, shape, "Adam", ADAM | {"threads": 2}, layout, layout)


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), BFLOAT16], ids=str)
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("fortran", "transposed", "permuted")])
@pytest.mark.parametrize("name", ["LAMB", "LARS"])
def test_norms_do_not_depend_on_the_layout(dtype, layout, name):
    options = {"lr": 0.1, "weight_decay": 0.5, "clip_norm": 3.0}
    check_layout(dtype, (37, 67), name, options, layout, layout)


@pytest.mark.parametrize("layout", ["fortran", "transposed"])
@pytest.mark.parametrize("name", ["LAMB", "LARS"])
def test_norms_of_fortran_arrays_differ_by_rounding_only(layout, name):
    """Fortran arrays are summed in the order of memory: n roundings of relative size 2^-53, growing like their root."""
    start, grads = data(np.float64, (37, 67))
    options = {"lr": 0.1, "weight_decay": 0.5, "clip_norm": 3.0}
    p = LAYOUTS[layout](start)
    opt = getattr(fl, name)(p, **options)
    for g in grads:
        opt.step(g)
    expected, _ = contiguous_run(np.dtype(np.float64), (37, 67), name, tuple(options.items()))
    np.testing.assert_allclose(p, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("layout", ["reversed", "rows", "columns", "inner", "unaligned"])
def test_stochastic_rounding_counts_elements_in_c_order(half, layout):
    options = {"lr": 0.01, "half_params": "stochastic", "rng": 5}
    check_layout(half, (37, 67), "SGD", options, layout, "contiguous")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_0_d_views_and_zero_sizes(dtype):
    table = np.arange(12).astype(np.float32).astype(dtype).reshape(3, 4)
    params = [table[1, 2:3].reshape(()), unaligned(np.array(5, np.float32).astype(dtype)), table[:, :0], table[:0].T]
    fl.SGD(params, lr=0.5).step(
        [np.ones((), dtype), np.ones((), dtype), np.ones((3, 0), dtype), np.ones((4, 0), dtype)]
    )
    assert float(table[1, 2]) == 5.5
    assert float(params[1]) == 4.5
    assert table.astype(np.float32).sum() == 66 - 0.5


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_column_of_a_table_may_be_a_parameter_and_another_its_gradient(dtype):
    table = np.arange(4000).reshape(1000, 4).astype(np.float32).astype(dtype)
    expected = table.astype(np.float32)
    expected[:, 3] -= 0.5 * expected[:, 1]
    fl.SGD(table[:, 3], lr=0.5).step(table[:, 1])
    assert np.array_equal(table, expected.astype(dtype))


def test_64_dimensions():
    """NumPy's most."""
    p = np.zeros((2, 3) + (1,) * 62).transpose()
    fl.SGD(p[..., ::-1], lr=1.0).step(np.arange(6.0).reshape((3, 2) + (1,) * 62).reshape(p.shape))
    assert sorted(p.ravel().tolist()) == [-5, -4, -3, -2, -1, 0]


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2"])
def test_byte_swapped_arrays_are_refused(dtype):
    with pytest.raises(TypeError, match=f"got {dtype}"):
        fl.SGD(np.ones(3, dtype))
    native = np.dtype(dtype).newbyteorder("=")
    p = np.ones(3, native)
    with pytest.raises(TypeError, match="dtype"):
        fl.SGD(p).step(np.ones(3, dtype))
    assert np.array_equal(p, np.ones(3))
