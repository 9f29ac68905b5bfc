"""minimize against loops written out here, and what a user relies on."""

import math
import signal
import time

import numpy as np
import pytest

import fallline as fl
from fallline import _core

ROSENBROCK = "100*(y - x**2)**2 + (1 - x)**2"
START = [-1.2, 1.0]
g = fl.compile(ROSENBROCK)


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def rosenbrock_gradient(x):
    return np.array([-400 * (x[1] - x[0] ** 2) * x[0] - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])


def bowl(x):
    return float(((np.asarray(x) - 3) ** 2).sum())


def bowl_gradient(x):
    return 2 * (x - 3)


# ---- the steps are those of the optimizers

OPTIONS = {
    "adam": {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.01},
    "adamw": {"lr": 0.02, "weight_decay": 0.1},
    "momentum": {"lr": 1e-4, "momentum": 0.8, "weight_decay": 0.1},
    "nesterov": {"lr": 1e-4, "momentum": 0.8, "weight_decay": 0.1},
    "sgd": {"lr": 1e-4, "weight_decay": 0.1},
    "rmsprop": {"lr": 1e-3, "alpha": 0.9, "momentum": 0.5, "centered": True},
    "adagrad": {"lr": 0.1, "lr_decay": 0.01, "initial_accumulator_value": 0.1},
    "lamb": {"lr": 0.01, "weight_decay": 0.1},
}


@pytest.mark.parametrize("name", fl.optimizers())
@pytest.mark.parametrize("maximize", [False, True])
def test_every_optimizers_steps_bit_for_bit(name, maximize):
    options = OPTIONS.get(name, {"lr": 1e-3})
    g = fl.compile(f"-({ROSENBROCK})" if maximize else ROSENBROCK)
    x = np.array(START)
    optimizer = fl.optimizers()[name](x, maximize=maximize, **options)
    path = [x.copy()]
    for _ in range(300):
        optimizer.step(g.gradient(x))
        path.append(x.copy())
    common = {"method": name, "maxiter": 300, "gtol": None, "record": "path", "maximize": maximize}
    native = fl.minimize(g, START, **common, **options)
    python = fl.minimize(lambda x: g(x), START, jac=g.gradient, **common, **options)
    assert native.path.tobytes() == python.path.tobytes() == np.array(path).tobytes()
    values = [g(point) for point in path]
    assert native.fun == (max if maximize else min)(values)
    assert g(native.x) == native.fun
    assert native.jac.tobytes() == g.gradient(native.x).tobytes()
    assert (native.nit, native.nfev, native.njev) == (300, 301, 301)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": fl.schedules.cosine(0.1, total=400)},
        {"lr": fl.schedules.cosine(0.1, total=400), "betas": (lambda t: 0.9 - t / 1000, 0.99)},
        {"lr": 0.01, "weight_decay": lambda t: 0.1 / (1 + t), "clip_norm": 5.0, "ema": 0.9},
        {"lr": 0.01, "clip_value": lambda t: 10.0 + t},  # more than the rule's numbers change
    ],
)
def test_schedules(options):
    x = np.array(START)
    optimizer, path = fl.Adam(x, **options), []
    for _ in range(400):
        optimizer.step(g.gradient(x))
        path.append(x.copy())
    result = fl.minimize(g, START, maxiter=400, gtol=None, record=1, **options)
    assert result.path[1:].tobytes() == np.array(path).tobytes()


def test_running_products_end_at_zero():
    """0.9^t would stay at the least subnormal number for ever, and slow every step down."""
    x = np.ones(2)
    optimizer = fl.Adam(x)
    for _ in range(7500):
        optimizer.step(np.ones(2))
    assert optimizer.state["0"]["b1t"] == 0
    assert 0 < optimizer.state["0"]["b2t"] < 1


# ---- when it ends


def literal_sgd(f, df, x, lr, maxiter, gtol=-1.0, ftol=-1.0, xtol=-1.0):
    """Return why gradient descent ends, and after how many steps."""
    value = f(x)
    if abs(df(x)).max() <= gtol:
        return 0, 0
    for nit in range(1, maxiter + 1):
        before, old = x, value
        x = x - lr * df(x)
        value = f(x)
        if abs(df(x)).max() <= gtol:
            return 0, nit
        if abs(value - old) <= ftol * max(1, abs(value)):
            return 1, nit
        if all(abs(x - before) <= xtol * np.maximum(1, abs(x))):
            return 2, nit
    return 3, maxiter


@pytest.mark.parametrize(
    ("status", "options"),
    [
        (0, {"gtol": 1e-3}),
        (1, {"gtol": None, "ftol": 1e-7}),
        (2, {"gtol": None, "xtol": 1e-5}),
        (3, {"gtol": 1e-30}),
        (3, {"gtol": None}),
        (0, {"gtol": 100.0}),
    ],
)
@pytest.mark.parametrize("fun", [fl.compile("(x - 3)**2 + (y - 3)**2"), bowl])
def test_tolerances(fun, status, options):
    jac = None if isinstance(fun, fl.Compiled) else bowl_gradient
    result = fl.minimize(fun, [50.0, -7.0], jac=jac, method="sgd", lr=0.1, maxiter=90, **options)
    given = {name: value for name, value in options.items() if value is not None}
    expected = literal_sgd(bowl, bowl_gradient, np.array([50.0, -7.0]), 0.1, 90, **given)
    assert (result.status, result.nit) == expected
    assert result.status == status
    assert result.success == (status < 3)


def test_the_best_point_is_kept_through_divergence():
    result = fl.minimize(g, START, method="sgd", lr=lambda t: 1e-3 * 1.05**t, gtol=None, record="path")
    values = [g(x) for x in result.path]
    assert (result.status, result.success) == (6, False)
    assert result.fun == np.nanmin(values) < values[0]
    assert result.x.tolist() == result.path[int(np.nanargmin(values))].tolist()
    assert "diverged" in result.message


def test_no_descent_is_told():
    result = fl.minimize(
        lambda x: bowl(x), [1.0, 2.0], jac=lambda x: -bowl_gradient(x), method="sgd", lr=1e-3, maxiter=20
    )
    assert (result.status, result.x.tolist(), result.fun) == (7, [1.0, 2.0], 5.0)
    assert "check_gradient" in result.message


def test_no_steps():
    result = fl.minimize(g, START, maxiter=0, record="path")
    assert (result.nit, result.nfev, result.status, result.path.tolist()) == (0, 1, 3, [START])


def test_maxtime():
    began = time.perf_counter()
    result = fl.minimize(g, START, lr=1e-9, gtol=None, maxiter=10**9, maxtime=0.2)
    assert 0.2 <= time.perf_counter() - began < 2
    assert result.status == 4
    assert result.nit > 1000


def test_maxtime_of_a_slow_function():
    def slow(x):
        time.sleep(0.02)
        return bowl(x)

    result = fl.minimize(slow, [1.0, 9.0], jac=bowl_gradient, maxtime=0.1, lr=1e-3)
    assert result.status == 4
    assert result.nit < 20


def test_ctrl_c_stops_the_native_loop():
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        began = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            fl.minimize(g, START, lr=1e-9, gtol=None, maxiter=10**10)
        assert time.perf_counter() - began < 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- what is seen on the way


@pytest.mark.parametrize("fun", [g, rosenbrock])
def test_callback(fun):
    seen = []
    options = {"jac": None if fun is g else rosenbrock_gradient, "maxiter": 1000, "gtol": None}
    result = fl.minimize(fun, START, callback=seen.append, every=300, record=300, **options)
    assert [one.nit for one in seen] == [300, 600, 900]
    assert [one.x.tolist() for one in seen] == result.path[1:].tolist()
    assert [one.fun for one in seen] == [fun(one.x) for one in seen]

    def stop(intermediate_result):
        if intermediate_result.nit == 7:
            raise StopIteration

    result = fl.minimize(fun, START, callback=stop, **options)
    assert (result.nit, result.status) == (7, 5)


def test_errors_of_the_users_functions_are_passed_on():
    calls = []

    def fails(x):
        calls.append(1)
        if len(calls) > 3:
            raise LookupError("mine")
        return bowl(x)

    with pytest.raises(LookupError, match="mine"):
        fl.minimize(fails, [1.0, 2.0], jac=bowl_gradient)
    assert len(calls) == 4
    with pytest.raises(ZeroDivisionError):
        fl.minimize(bowl, [1.0], jac=bowl_gradient, callback=lambda result: 1 / 0)
    with pytest.raises(LookupError):
        fl.minimize(g, START, projection=lambda x: fails(x) or x)


def test_record():
    every = fl.minimize(g, START, maxiter=1000, record="path", gtol=None).path
    assert every.shape == (1001, 2)
    assert fl.minimize(g, START, maxiter=1000, record=7, gtol=None).path.tolist() == every[::7].tolist()
    assert "path" not in fl.minimize(g, START, maxiter=10)
    python = fl.minimize(bowl, np.ones((2, 3)), jac=bowl_gradient, maxiter=10, record=2)
    assert python.path.shape == (6, 2, 3)


def test_progress(capsys):
    pytest.importorskip("rich")
    fl.minimize(g, START, maxiter=5000, progress=True)
    shown = capsys.readouterr()
    assert "f " in shown.err
    assert shown.out == ""


# ---- x


def test_shapes_and_the_users_arrays():
    x0 = np.arange(6.0).reshape(2, 3)

    def spoils(x):
        assert x.shape == (2, 3)
        value = bowl(x)
        x[:] = np.nan
        return value

    def gradient(x):
        return bowl_gradient(x)

    result = fl.minimize(spoils, x0, jac=gradient, method="sgd", lr=0.1)
    np.testing.assert_allclose(result.x, np.full((2, 3), 3.0), atol=1e-4)
    assert result.jac.shape == (2, 3)
    assert x0.tolist() == np.arange(6.0).reshape(2, 3).tolist()
    assert fl.minimize(lambda x: (x - 2) ** 2, 5, jac=lambda x: 2 * (x - 2), lr=0.1).x.shape == ()
    assert fl.minimize(bowl, np.array([1, 2]), jac=bowl_gradient, maxiter=3).x.dtype == np.float64
    assert (
        fl.minimize(lambda x, a, b: bowl(x) + a - b, [1.0], (5.0, 2.0), jac=lambda x, a, b: bowl_gradient(x)).fun >= 3
    )


def test_arrays_that_cannot_be_written_to_are_read():
    """JAX returns such gradients."""

    def frozen(array):
        array.flags.writeable = False
        return array

    result = fl.minimize(bowl, [1.0, 9.0], jac=lambda x: frozen(bowl_gradient(x)), maxiter=50)
    assert result.x.tobytes() == fl.minimize(bowl, [1.0, 9.0], jac=bowl_gradient, maxiter=50).x.tobytes()
    fl.minimize(g, frozen(np.array(START)), projection=lambda x: frozen(np.clip(x, -2, 2)), maxiter=5)
    bounds = np.broadcast_to([-2.0, 2.0], (2, 2))
    fl.minimize(g, START, bounds=bounds, maxiter=5)
    fl.multistart(g, np.broadcast_to(START, (3, 2)), maxiter=5)


def test_value_and_gradient_in_one():
    separate = fl.minimize(bowl, [1.0, 9.0], jac=bowl_gradient, maxiter=50)
    together = fl.minimize(lambda x: (bowl(x), bowl_gradient(x)), [1.0, 9.0], jac=True, maxiter=50)
    assert together.x.tobytes() == separate.x.tobytes()
    assert (together.nfev, together.njev) == (51, 51)


@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs"])
def test_differences(jac):
    calls = []

    def counted(x):
        calls.append(1)
        return ((x - 3) ** 2).sum()

    result = fl.minimize(counted, [1.0, 9.0], jac=jac, method="sgd", lr=0.2, maxiter=200)
    np.testing.assert_allclose(result.x, 3, atol=1e-4)
    assert result.success
    assert result.nfev == len(calls)
    assert result.njev == result.nit + 1
    if jac in ("2-point", "3-point"):
        wide = fl.minimize(counted, [1.0], jac=jac, step=1e-2, method="sgd", lr=0.2, maxiter=100, gtol=1e-9)
        assert wide.x == pytest.approx(3 - 0.005 * (jac == "2-point"), abs=1e-6)  # forward: 2(x - 3) + step


def test_differences_stay_within_bounds():
    def log(x):
        assert (x >= 0).all()
        return float((x - np.log(x + 1e-300)).sum())

    result = fl.minimize(log, [0.5, 2.0], bounds=[(0, None), (0, 3)], lr=0.1, maxiter=500)
    np.testing.assert_allclose(result.x, 1, atol=1e-4)


# ---- where x may be


def test_bounds_are_projections():
    low, high = np.array([-2.0, -1.0]), np.array([0.5, 2.0])
    x, path = np.array(START), [np.array(START)]
    for _ in range(200):
        x = np.clip(x - 1e-3 * rosenbrock_gradient(x), low, high)
        path.append(x)

    class Bounds:
        lb, ub = low, high

    pairs = list(zip(low, high, strict=True))
    for bounds, fun, jac in [(pairs, g, None), (Bounds, g, None), (pairs, rosenbrock, rosenbrock_gradient)]:
        result = fl.minimize(
            fun, START, jac=jac, method="sgd", lr=1e-3, bounds=bounds, maxiter=200, gtol=None, record=1
        )
        np.testing.assert_allclose(result.path, path, rtol=1e-12)
    disc = fl.minimize(
        g, START, projection=lambda x: np.clip(x, low, high), method="sgd", lr=1e-3, maxiter=200, gtol=None
    )
    assert disc.x.tobytes() == result.x.tobytes() or np.allclose(disc.x, result.x, rtol=1e-12)


def test_gtol_asks_for_the_projected_gradient():
    line = fl.compile("x + 2*y")
    result = fl.minimize(line, [0.5, 0.5], bounds=[(0, 1), (-1, 1)], method="sgd", lr=0.07)
    assert (result.status, result.x.tolist(), result.jac.tolist()) == (0, [0, -1], [1, 2])
    up = fl.minimize(line, [0.5, 0.5], bounds=[(0, 1), (-1, 1)], method="sgd", lr=0.07, maximize=True)
    assert (up.status, up.x.tolist(), up.fun) == (0, [1, 1], 3)


def test_projection_onto_a_disc():
    def disc(x):
        return x / max(1.0, float(np.hypot(*x)))

    result = fl.minimize(
        fl.compile("(x - 3)**2 + (y - 4)**2"), [0.1, 0.0], projection=disc, method="sgd", lr=0.1, gtol=1e-9
    )
    np.testing.assert_allclose(result.x, [0.6, 0.8], atol=1e-7)  # the point of the disc nearest to (3, 4)
    assert result.success


def test_maximize():
    result = fl.minimize(fl.compile("5 - (x - 2)**2"), [0.0], lr=0.1, maximize=True)
    assert result.success
    assert result.x == pytest.approx([2], abs=1e-4)
    assert result.fun == pytest.approx(5)


# ---- blindfolded


def literal_spsa(f, x, lr, c, steps, seed):
    """Spall 1998, with a constant gain; return the best of all points that were evaluated."""
    rng, best = np.random.default_rng(seed), (math.inf, None)
    for k in range(steps + 1):
        delta = rng.choice((-1.0, 1.0), size=x.size)
        ck = c / (k + 1) ** 0.101
        ends = x + ck * delta, x - ck * delta
        for end in ends:
            best = min(best, (f(end), tuple(end)))
        x = x - lr * (f(ends[0]) - f(ends[1])) / (2 * ck) / delta
    return best


def test_spsa():
    calls = []

    def counted(x):
        calls.append(1)
        return bowl(x)

    result = fl.minimize(counted, [1.0, 5.0, -2.0], jac="spsa", method="sgd", lr=0.02, step=0.3, maxiter=60, rng=4)
    value, point = literal_spsa(bowl, np.array([1.0, 5.0, -2.0]), 0.02, 0.3, 60, 4)
    assert result.fun == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(result.x, point, rtol=1e-9)
    assert result.nfev == len(calls) == 2 * 61
    assert bowl(result.x) == result.fun
    assert result.jac is None
    long = fl.minimize(rosenbrock, START, jac="spsa", lr=0.02, maxiter=20_000, rng=0)
    assert long.fun < 1e-2
    assert (
        fl.minimize(rosenbrock, START, jac="spsa", maxiter=5, rng=0).x.tolist()
        == fl.minimize(rosenbrock, START, jac="spsa", maxiter=5, rng=np.random.default_rng(0)).x.tolist()
    )


def test_spsa_within_bounds_and_uphill():
    def inside(x):
        assert (abs(x) <= 1).all()
        return float(x.sum())

    down = fl.minimize(inside, [0.9, 0.0], bounds=[(-1, 1)] * 2, jac="spsa", method="sgd", lr=0.05, maxiter=300, rng=1)
    assert down.fun == -2
    up = fl.minimize(
        inside, [0.0, 0.0], bounds=[(-1, 1)] * 2, jac="spsa", method="sgd", lr=0.05, maxiter=300, rng=1, maximize=True
    )
    assert up.fun == 2


def literal_hike(f, x, length, tries, seed):
    rng, here, path = np.random.default_rng(seed), f(x), [x]
    for _ in range(tries):
        there = x + length * rng.standard_normal(x.size)
        if f(there) < here:
            x, here, length = there, f(there), length * 1.5
        else:
            length /= 1.5 ** (1 / 4)
        path.append(x)
    return path


def test_the_blindfolded_hiker():
    result = fl.minimize(rosenbrock, START, method="hiker", lr=0.2, maxiter=200, rng=3, record="path")
    np.testing.assert_allclose(result.path, literal_hike(rosenbrock, np.array(START), 0.2, 200, 3), rtol=1e-9)
    values = [rosenbrock(x) for x in result.path]
    assert values == sorted(values, reverse=True)
    assert (result.nit, result.nfev, result.njev) == (200, 201, 0)
    base = fl.minimize(g, START, method="hiker", rng=0, maxiter=100_000)
    assert (base.success, base.status) == (True, 2)
    np.testing.assert_allclose(base.x, 1, atol=1e-3)
    top = fl.minimize(lambda x: -bowl(x), [1.0, 2.0], method="hiker", maximize=True, rng=0, bounds=[(0, 2)] * 2)
    np.testing.assert_allclose(top.x, 2, atol=1e-6)


# ---- native functions


def test_native_functions():
    import ctypes

    kind = ctypes.CFUNCTYPE(
        ctypes.c_double,
        ctypes.POINTER(ctypes.c_double),
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_double),
        ctypes.c_void_p,
    )

    @kind
    def native(x, n, gradient, _):
        for i in range(n):
            gradient[i] = 2 * (x[i] - 3)
        return sum((x[i] - 3) ** 2 for i in range(n))

    expected = fl.minimize(bowl, [1.0, 9.0], jac=bowl_gradient, maxiter=200)
    result = fl.minimize(native, [1.0, 9.0], maxiter=200)
    np.testing.assert_allclose(result.x, expected.x, rtol=1e-12)
    assert result.nit == expected.nit
    scipy = pytest.importorskip("scipy")
    low = scipy.LowLevelCallable(ctypes.cast(native, kind))
    assert fl.minimize(low, [1.0, 9.0], maxiter=200).x.tobytes() == result.x.tobytes()


def test_many_descents_leave_nothing_behind():
    before = None
    for i in range(300):
        fl.minimize(fl.compile(f"(x - {i})**2"), [0.0], maxiter=20)
        if i == 100:
            before = memory()
    assert memory() - before < 5 * 2**20


def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_results_look_like_scipys():
    result = fl.minimize(g, START, maxiter=10)
    assert result["x"] is result.x
    assert "message: 'maxiter is reached" in repr(result)
    assert {"x", "fun", "jac", "nit", "nfev", "njev", "success", "status", "message"} <= set(dir(result))
    with pytest.raises(AttributeError, match="must be asked for one of x, fun"):
        _ = result.hess
    assert set(_core.STOPS.values()) == {"going", "gradient", "value", "step", "diverged"}
