"""Draw the pictures of pictures.md: `python docs/pictures.py` writes them beside it; a test draws them again."""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import fallline as fl
from fallline import plot, problems

VALLEY = fl.compile(problems.rosenbrock)
START = problems.rosenbrock.start


def paths():
    """Return two ways down Rosenbrock's valley."""
    chosen = {"Adam": ("adam", 0.1), "Momentum": ("momentum", 0.001)}
    return {
        title: fl.minimize(VALLEY, START, method=name, lr=lr, maxiter=300, gtol=None, record="path").path
        for title, (name, lr) in chosen.items()
    }


def losses(figure):
    rng, t = np.random.default_rng(0), np.arange(1, 200)
    seeds = {
        "slow": np.exp(-t / 60 + rng.normal(0, 0.3, (20, 1))),
        "fast": np.exp(-t / 25 + rng.normal(0, 0.3, (20, 1))),
    }
    plot.losses(seeds, figure.add_subplot())


def schedules(figure):
    s = fl.schedules
    shown = {"cosine": s.cosine(0.1, total=1000), "step": s.step(0.1, every=250, gamma=0.5)}
    shown["warmup"] = s.warmup(100, s.linear(0.1, total=900))
    plot.schedules(shown, 1000, figure.add_subplot())


def sweep(figure):
    rates = np.geomspace(1e-4, 10, 11)
    starts = np.tile(START, (11, 1))
    results = {}
    for name in ("sgd", "momentum", "adam"):
        found = fl.multistart(VALLEY, starts, method=name, lr=rates, maxiter=500, gtol=None)
        results[name] = rates, np.where(found.status == 6, np.inf, found.fun)
    plot.sweep(results, figure.add_subplot())


def descent(figure):
    plot.descent(problems.rosenbrock, paths(), figure.add_subplot())


def surface(figure):
    plot.surface(problems.rosenbrock, paths(), figure.add_subplot(projection="3d"))


def basins(figure):
    starts = np.random.default_rng(0).uniform(-5, 5, (2000, 2))
    plot.basins(fl.multistart(fl.compile(problems.himmelblau), starts, lr=0.05), figure.add_subplot())


def gradient_errors(figure):
    rng = np.random.default_rng(0)
    X, y, W = rng.normal(size=(9, 12)), rng.normal(size=(9, 8)), rng.normal(size=(12, 8))
    numeric = fl.gradient(lambda W: np.mean((X @ W - y) ** 2), W)
    yours = 2 * X.T @ (X @ W - y) / y.size
    yours[4] *= -1  # a row whose sign is wrong
    plot.gradient_errors(yours, numeric, figure.add_subplot())


PICTURES = [losses, schedules, sweep, descent, surface, basins, gradient_errors]


def draw(folder):
    """Write all pictures into a folder."""
    with matplotlib.rc_context(plot.STYLE):
        for picture in PICTURES:
            figure = Figure(figsize=(6.4, 4), layout="constrained")
            picture(figure)
            figure.savefig(Path(folder, f"{picture.__name__}.png"), dpi=80)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures"
    folder.mkdir(exist_ok=True)
    draw(folder)
