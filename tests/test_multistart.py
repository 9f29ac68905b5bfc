"""multistart against minimize, start by start; scipy_method inside SciPy."""

import numpy as np
import pytest

import fallline as fl

HIMMELBLAU = "(x**2 + y - 11)**2 + (x + y**2 - 7)**2"
MINIMA = np.array([[3, 2], [-2.805118, 3.131312], [-3.779310, -3.283186], [3.584428, -1.848126]])
g = fl.compile(HIMMELBLAU)
STARTS = np.random.default_rng(2).uniform(-5, 5, (60, 2))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.05},
        {"method": "momentum", "lr": 1e-3, "momentum": 0.8, "weight_decay": 0.01},
        {"method": "sgd", "lr": fl.schedules.cosine(0.01, total=4500), "bounds": [(-5, 5), (-1, 5)]},
        {"lr": 0.05, "clip_value": lambda t: 3.0 + t, "xtol": 1e-3, "maximize": False},
    ],
)
def test_it_is_minimize_from_every_start(options, threads):
    starts = np.clip(STARTS, [-5, -1], [5, 5]) if "bounds" in options else STARTS
    given = starts.copy()
    found = fl.multistart(g, starts, maxiter=4500, threads=threads, **options)
    for i, x in enumerate(starts):
        one = fl.minimize(g, x, maxiter=4500, **options)
        for name in ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "message"):
            assert np.array_equal(found[name][i], one[name]), (i, name)
    assert found.x0.tolist() == given.tolist() == starts.tolist()


def test_basins():
    found = fl.multistart(g, STARTS, lr=0.05)
    assert found.success.all()
    nearest = abs(found.x[:, None] - MINIMA).max(axis=2)
    assert (nearest.min(axis=1) < 1e-4).all()
    assert set(nearest.argmin(axis=1)) == {0, 1, 2, 3}


def test_a_sweep_of_learning_rates():
    rates = np.geomspace(1e-5, 1, 11)
    found = fl.multistart(g, np.tile([0.0, 0.0], (11, 1)), method="sgd", lr=rates, maxiter=300)
    for i, lr in enumerate(rates):
        one = fl.minimize(g, [0.0, 0.0], method="sgd", lr=lr, maxiter=300)
        assert (found.fun[i], found.status[i]) == (one.fun, one.status)
    assert {0, 3, 6} <= set(found.status.tolist())


def test_python_functions_run_one_after_the_other():
    def f(x):
        return float(((x - 1) ** 2).sum())

    found = fl.multistart(f, [[0.0, 3.0], [5.0, 1.0]], jac=lambda x: 2 * (x - 1), lr=[0.1, 0.2], maxiter=40)
    for i, (x, lr) in enumerate([([0.0, 3.0], 0.1), ([5.0, 1.0], 0.2)]):
        one = fl.minimize(f, x, jac=lambda x: 2 * (x - 1), lr=lr, maxiter=40)
        assert (found.x[i].tolist(), found.nit[i]) == (one.x.tolist(), one.nit)


def test_a_start_that_is_not_finite():
    found = fl.multistart(fl.compile("log(x)"), [[-1.0], [2.0]], lr=1e-3, maxiter=3)
    assert found.status.tolist() == [6, 3]
    assert np.isnan(found.fun[0])


# ---- SciPy


def test_scipy_method():
    optimize = pytest.importorskip("scipy.optimize")
    direct = fl.minimize(optimize.rosen, [2.0, 2.0], jac=optimize.rosen_der, lr=0.02, maxiter=3000)
    method = fl.scipy_method("adam", lr=0.02)
    result = optimize.minimize(
        optimize.rosen, [2.0, 2.0], jac=optimize.rosen_der, method=method, options={"maxiter": 3000}
    )
    assert isinstance(result, optimize.OptimizeResult)
    assert result.x.tobytes() == direct.x.tobytes()
    assert result.nit == direct.nit


def test_scipys_protocol(capsys):
    optimize = pytest.importorskip("scipy.optimize")
    method = fl.scipy_method("sgd", lr=0.1)

    def both(x, a):
        return ((x - a) ** 2).sum(), 2 * (x - a)

    seen = []

    def by_result(intermediate_result):
        seen.append(intermediate_result.fun)

    options = {"args": (3.0,), "jac": True, "method": method}
    result = optimize.minimize(both, [0.0, 1.0], callback=by_result, tol=1e-3, **options)
    assert result.success
    assert abs(result.jac).max() <= 1e-3
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == result.nit
    points = []
    optimize.minimize(both, [0.0, 1.0], callback=points.append, options={"maxiter": 4, "disp": True}, **options)
    assert [p.shape for p in points] == [(2,)] * 4
    assert "4 steps" in capsys.readouterr().out
    bounded = optimize.minimize(both, [0.0, 1.0], bounds=optimize.Bounds([-1, -1], [2, 5]), **options)
    np.testing.assert_allclose(bounded.x, [2, 3], atol=1e-4)
    plain = optimize.minimize(lambda x: ((x - 3) ** 2).sum(), [0.0], method=method)
    np.testing.assert_allclose(plain.x, 3, atol=1e-4)

    def stop(xk):
        raise StopIteration

    assert optimize.minimize(both, [0.0, 1.0], callback=stop, **options).nit == 1
