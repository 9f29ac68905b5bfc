"""The time of a step: large models against the memory-traffic limit, small ones against the cost of a call."""

import numpy as np
import pytest

import fallline as fl
from bench import peers
from bench.harness import Bar, Race, Table, duration
from bench.limit import limit

LARGE = 50_000_000
EACH = 10_000_000  # larger than the caches with every number of states


def normal(n, seed):
    return np.random.default_rng(seed).standard_normal(n, dtype=np.float32)


def states(opt):
    """Return the arrays that a step reads and writes besides parameters and gradients."""
    return [array for array in opt.state["0"].values() if array.ndim]


def test_large(benchmark, report, threads):
    p, g = normal(LARGE, 0), normal(LARGE, 1)
    as_torch = fl.Adam(p, nonfinite="ignore", threads=threads)
    checked = fl.Adam(p, threads=threads)
    race = Race(f"Adam, float32, {LARGE:.0e} parameters, {threads} threads")
    race.add('fallline, nonfinite="ignore"', "opt.step(g)", opt=as_torch, g=g)
    race.add('fallline, nonfinite="raise"', "opt.step(g)", opt=checked, g=g)
    race.add("limit, 28 bytes", limit([p, *states(as_torch)], g, threads=threads))
    race.add("limit, 32 bytes", limit([p, *states(checked)], g, threads=threads, read_first=True))
    race.invite("torch fused", peers.torch_adam, [p], [g], threads=threads, fused=True)
    race.invite("torch foreach", peers.torch_adam, [p], [g], threads=threads, foreach=True)
    race.invite("optax jit", peers.optax_adam, [p], [g])
    race.invite("NumPy expression", peers.numpy_expression, [p], [g])
    race.invite("NumPy, out=", peers.numpy_in_place, [p], [g])
    race.run(benchmark, rounds=42)
    table = race.table("limit, 28 bytes", "limit, 32 bytes")
    table.bars = bars(race, 'fallline, nonfinite="ignore"', {"limit, 28 bytes": 1.08, "torch fused": 1.0})
    table.bars += bars(race, 'fallline, nonfinite="raise"', {"limit, 32 bytes": 1.08, "torch fused": 1.0})
    report(table)


def bars(race, name, references):
    """Return the bars on the ratios of `name` to those references that ran."""
    return [race.bar(name, reference, most) for reference, most in references.items() if reference in race.seconds]


def test_clipped_averaged(benchmark, report, threads):
    p, g = normal(LARGE, 0), normal(LARGE, 1)
    options = {"clip_norm": 1.0, "ema": 0.999, "threads": threads}
    opt = fl.AdamW(p, **options)
    as_torch = fl.AdamW(p, **options, nonfinite="ignore")
    race = Race(f"AdamW + global-norm clipping + moving average, float32, {LARGE:.0e} parameters, {threads} threads")
    race.add('fallline, nonfinite="raise"', "opt.step(g)", opt=opt, g=g)
    race.add('fallline, nonfinite="ignore"', "opt.step(g)", opt=as_torch, g=g)
    race.add("limit, 40 bytes", limit([p, *states(opt)], g, threads=threads, read_first=True))
    settings = {"max_norm": 1.0, "decay": 0.999}
    race.invite("torch", peers.torch_clipped_averaged, [p], [g.copy()], threads=threads, **settings)
    race.invite("optax jit", peers.optax_clipped_averaged, [p], [g], **settings)
    race.run(benchmark, rounds=42)
    table = race.table("limit, 40 bytes")
    table.bars = bars(race, 'fallline, nonfinite="raise"', {"torch": 0.7})
    report(table)


def small(title, count, size, threads):
    """Return the race of everybody's Adam on `count` tensors of `size` floats."""
    params = [normal(size, 2 * i) for i in range(count)]
    grads = [normal(size, 2 * i + 1) for i in range(count)]
    race = Race(title)
    race.add("fallline", "opt.step(grads)", opt=fl.Adam(params, threads=threads), grads=grads)
    race.invite("torch fused", peers.torch_adam, params, grads, threads=threads, fused=True)
    race.invite("torch foreach", peers.torch_adam, params, grads, threads=threads, foreach=True)
    race.invite("optax jit", peers.optax_adam, params, grads)
    race.invite("thinc", peers.thinc_adam, params, grads)
    race.invite("scikit-learn", peers.sklearn_adam, params, grads)
    race.invite("NumPy, out=", peers.numpy_in_place, params, grads)
    return race


def test_one_small_tensor(benchmark, report, threads):
    race = small("Adam, one tensor of 10 floats", 1, 10, threads)
    p, g = normal(10, 0), normal(10, 1)
    race.add("fallline, the array itself", "opt.step(g)", opt=fl.Adam(p, threads=threads), g=g)
    race.run(benchmark, rounds=28)
    table = race.table("fallline")
    table.bars = [Bar("one step of fallline", race.best("fallline") * 1e6, 0.6, "µs")]
    report(table)


def test_hundred_tensors(benchmark, report, threads):
    race = small("Adam, 100 tensors of 1000 floats", 100, 1000, threads)
    p, g = normal(100_000, 0), normal(100_000, 1)
    race.add("fallline, one tensor of 1e5", "opt.step(g)", opt=fl.Adam(p, threads=threads), g=g)
    race.run(benchmark, rounds=70)
    table = race.table("fallline, one tensor of 1e5")
    table.bars = bars(race, "fallline", {"fallline, one tensor of 1e5": 1.15})
    report(table)


def test_thousand_tensors(benchmark, report, threads):
    race = small("Adam, 1000 tensors of 100 floats", 1000, 100, threads)
    race.run(benchmark, rounds=28)
    table = race.table("fallline")
    table.bars = [Bar("one step of fallline", race.best("fallline") * 1e6, 120, "µs")]
    report(table)


@pytest.fixture(scope="module")
def rows(report):
    """Return the rows of one table for all optimizers, which is reported when they have run."""
    rows = []
    yield rows
    title = f'Every optimizer, float32, {EACH:.0e} parameters, nonfinite="ignore", against its own limit'
    title += "\n(one pass over its arrays; LARS and LAMB need a pass more, for their norms)"
    report(Table(title, ["", "states", "bytes", "time", "limit", "/ limit"], rows))


@pytest.mark.parametrize("name", fl.optimizers())
def test_every_optimizer(benchmark, rows, threads, name):
    p, g = normal(EACH, 0), normal(EACH, 1)
    opt = fl.optimizers()[name](p, nonfinite="ignore", threads=threads)
    race = Race(name)
    race.add(name, "opt.step(g)", opt=opt, g=g)
    race.add("limit", limit([p, *states(opt)], g, threads=threads))
    race.run(benchmark, rounds=28)
    count = len(states(opt))
    times = [duration(race.best(name)), duration(race.best("limit")), race.both_ratios(name, "limit")]
    rows.append([name, str(count), str(4 + 8 * (1 + count)), *times])
