"""The time of a step of minimize, on Rosenbrock's function: all in native code, in Python, and by peers."""

import numpy as np

import fallline as fl
from bench.harness import Bar, Race

ROSENBROCK = "100*(y - x**2)**2 + (1 - x)**2"
START = [-1.2, 1.0]
STEPS = 10**6
FEW = 1000  # for whoever takes microseconds or more


def torch_adam():
    import torch

    x = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=1e-3)

    def run():
        for _ in range(FEW):
            optimizer.zero_grad()
            (100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2).backward()
            optimizer.step()

    return run


def optax_adam():
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)
    solver = optax.adam(1e-3)

    @jax.jit
    def step(x, state):
        g = jax.grad(lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2)(x)
        updates, state = solver.update(g, state)
        return optax.apply_updates(x, updates), state

    def run():
        x = jax.numpy.array(START)
        state = solver.init(x)
        for _ in range(FEW):
            x, state = step(x, state)
        x.block_until_ready()

    return run


def numpy_adam():
    def run():
        x, m, v = np.array(START), np.zeros(2), np.zeros(2)
        for t in range(1, FEW + 1):
            g = np.array([-400 * (x[1] - x[0] ** 2) * x[0] - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])
            m = 0.9 * m + 0.1 * g
            v = 0.999 * v + 0.001 * g * g
            x = x - 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)

    return run


def python_function():
    def f(x):
        a, b = x.tolist()
        r = b - a * a
        return 100 * r * r + (1 - a) ** 2, np.array([-400 * r * a - 2 * (1 - a), 200 * r])

    return lambda: fl.minimize(f, START, jac=True, lr=1e-3, maxiter=FEW, gtol=None)


def test_adam_on_rosenbrock(benchmark, report):
    g = fl.compile(ROSENBROCK)

    def descend():
        return fl.minimize(g, START, lr=1e-3, maxiter=STEPS, gtol=None)

    assert descend().nit == STEPS
    race = Race(f"Adam on Rosenbrock from Python: fallline {STEPS} steps, the others {FEW}")
    race.add("fallline, compiled", descend)
    race.add("fallline, Python function", python_function())
    race.add("NumPy", numpy_adam())
    race.invite("torch", torch_adam)
    race.invite("optax, jit", optax_adam)
    race.run(benchmark)
    steps = {"fallline, compiled": STEPS}
    race.seconds = {name: [s / steps.get(name, FEW) for s in seconds] for name, seconds in race.seconds.items()}
    table = race.table("fallline, compiled")
    table.title += "; the times are of one step"
    table.bars = [Bar("one step", race.best("fallline, compiled") * 1e9, 150, "ns")]
    report(table)


def test_many_starts(benchmark, report, threads):
    g = fl.compile("(x**2 + y - 11)**2 + (x + y**2 - 7)**2")
    X = np.random.default_rng(0).uniform(-5, 5, (1000, 2))
    options = {"lr": 0.05, "maxiter": 1000, "gtol": None}
    race = Race("1000 starts of 1000 steps of Adam")
    race.add("multistart", lambda: fl.multistart(g, X, threads=threads, **options))
    race.add("multistart, 1 thread", lambda: fl.multistart(g, X, threads=1, **options))
    race.add("minimize, one after the other", lambda: [fl.minimize(g, x, **options) for x in X])
    race.run(benchmark)
    report(race.table("multistart"))
