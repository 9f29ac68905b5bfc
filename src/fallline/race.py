"""A race: every optimizer from one start, with every learning rate of a sweep, ranked by how soon it arrives."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.calculus.compiled import Compiled, compile
from fallline.handwriting import Data, init_network, load_data, loss_and_grad
from fallline.minimizing import build_optimizer, minimize
from fallline.optim import optimizers
from fallline.problems import Problem
from fallline.train import train

__all__ = ["Entry", "Race", "Run", "race", "race_digits", "rates_of"]

Array = npt.NDArray[np.float64]

_SWEEP = tuple(float(f"{lr:.1g}") for lr in np.geomspace(1e-4, 10, 11))
_NEAR = 1e-6  # the target: so much of the way from the start's value to the minimum is left
_TIMED_STEPS = 5000
_HIDDEN = 32  # of the network that reads digits
_GRID = 81  # points of the surface in each direction
_MARGIN = 0.15  # of what the page shows, around the paths


@dataclass(frozen=True, slots=True)
class Run:
    """One descent.

    Attributes
    ----------
    lr : float
    values : ndarray, shape (steps + 1,)
        f at the visited points.
    path : ndarray, shape (steps + 1, n), or None
        The points, as far as they are finite; None for training, whose points have too many coordinates.
    diverged : bool
        Whether it ended above the start, or where f is not finite.
    steps_to_target : int or None
        The step from which on f stays within the target.
    """

    lr: float
    values: Array
    path: Array | None
    diverged: bool
    steps_to_target: int | None

    @property
    def rank(self) -> tuple[float, float]:
        """What runs are sorted by: steps to the target, then the last value."""
        steps = math.inf if self.steps_to_target is None else self.steps_to_target
        return steps, self.values[-1] if math.isfinite(self.values[-1]) else math.inf


@dataclass(frozen=True, slots=True)
class Entry:
    """An optimizer, its runs in the order of the learning rates, and the seconds that one of its steps takes."""

    name: str
    title: str
    runs: tuple[Run, ...]
    seconds_per_step: float

    @property
    def best(self) -> Run:
        """The run with the learning rate that leads soonest to the target."""
        return min(self.runs, key=lambda run: run.rank)

    @property
    def seconds_to_target(self) -> float | None:
        """The time that the best run needs."""
        steps = self.best.steps_to_target
        return None if steps is None else steps * self.seconds_per_step


@dataclass(frozen=True, slots=True)
class Race:
    """What came out of a race.

    Attributes
    ----------
    title, about : str
        What was raced on.
    xlabel, ylabel : str
        What a step is, and what is plotted against steps.
    minimum : float
        From which values are counted; the least that was seen, where the minimum is not known.
    target : float
        The distance from the minimum that counts as arrived.
    entries : tuple of Entry
        The soonest first.
    problem : Problem or None
        None for training.
    interrupted : bool
        Whether Ctrl-C ended it; the entries are those of the optimizers that were done.
    """

    title: str
    about: str
    xlabel: str
    ylabel: str
    minimum: float
    target: float
    entries: tuple[Entry, ...]
    problem: Problem | None = None
    interrupted: bool = False

    def rows(self) -> list[dict[str, Any]]:
        """Return the ranking, in plain numbers."""
        return [
            {
                "optimizer": entry.name,
                "lr": entry.best.lr,
                "steps_to_target": entry.best.steps_to_target,
                "seconds_to_target": entry.seconds_to_target,
                "value": float(entry.best.values[-1]) if math.isfinite(entry.best.values[-1]) else None,
                "diverged": entry.best.diverged,
            }
            for entry in self.entries
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return what `write_page` takes."""
        drawable = self.problem is not None and self.problem.dimensions == 2
        return {
            "title": f"Race on {self.title}",
            "about": self.about,
            "caption": f"Ranked by the {self.xlabel}s from which on it stays in the target, at the best learning rate",
            "xlabel": self.xlabel,
            "ylabel": self.ylabel,
            "target": self.target,
            "surface": self._surface(self.problem) if drawable and self.problem is not None else None,
            "methods": [self._entry(entry) for entry in self.entries],
        }

    def _entry(self, entry: Entry) -> dict[str, Any]:
        runs = [
            {
                "lr": run.lr,
                "losses": [_short(value - self.minimum) for value in run.values],
                "path": None if run.path is None else [[_short(x) for x in point] for point in run.path],
                "steps_to_target": run.steps_to_target,
                "seconds_to_target": None
                if run.steps_to_target is None
                else run.steps_to_target * entry.seconds_per_step,
                "diverged": run.diverged,
            }
            for run in entry.runs
        ]
        return {"name": entry.name, "title": entry.title, "best": entry.runs.index(entry.best), "runs": runs}

    def _surface(self, problem: Problem) -> dict[str, Any]:
        """Return heights between 0 and 1 on a grid around the paths; equal steps are equal factors of f."""
        (x_low, x_high), (y_low, y_high) = self._view(problem)
        grid = np.stack(np.meshgrid(np.linspace(x_low, x_high, _GRID), np.linspace(y_low, y_high, _GRID)))
        height = problem(grid) - problem.minimum
        height = np.where(np.isfinite(height), height, np.nanmax(height[np.isfinite(height)]))
        low = max(np.quantile(height, 0.0005), 1e-7 * height.max(), 1e-300)
        level = np.log(np.maximum(height, low) / low) / max(math.log(max(height.max() / low, 1.0)), 1e-9)
        return {
            "x": [x_low, x_high],
            "y": [y_low, y_high],
            "heights": level.round(3).tolist(),
            "start": list(problem.start),
            "minima": [list(point) for point in problem.minima],
        }

    def _view(self, problem: Problem) -> list[tuple[float, float]]:
        """Return what the best paths, the start and the minima need, within the problem's bounds."""
        paths = [entry.best.path for entry in self.entries[:8] if not entry.best.diverged]
        best = [path for path in paths if path is not None]
        points = np.concatenate([np.array([problem.start, *problem.minima]), *best])
        view = []
        for along, (low, high) in zip(points.T, problem.bounds, strict=True):
            inside = along[(along >= low) & (along <= high)]
            first, last = float(inside.min()), float(inside.max())
            margin = max(_MARGIN * (last - first), 0.05 * (high - low))
            view.append((max(low, first - margin), min(high, last + margin)))
        return view


def race(
    problem: Problem,
    *,
    methods: Sequence[str] | None = None,
    rates: Sequence[float] | None = None,
    steps: int = 500,
    target: float | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Race:
    """Let optimizers descend a function from one start, and rank them.

    Parameters
    ----------
    problem : Problem
    methods : sequence of str, optional
        Names of `fallline.optimizers`; all by default.
    rates : sequence of float, optional
        Learning rates to try; by default eleven from 1e-4 to 10.
    steps : int
        Of every descent.
    target : float, optional
        The distance from the minimum, in f, that counts as arrived; by default a millionth of that of the start.
    report : callable (done, all), optional
        Called after every optimizer.

    Returns
    -------
    Race

    Raises
    ------
    ValueError
        If a method is unknown; the nearest names are offered.

    Examples
    --------
    >>> from fallline import problems
    >>> from fallline.race import race
    >>> ranking = race(problems.booth, methods=["sgd", "adam"], rates=[0.01, 0.1])
    >>> [entry.name for entry in ranking.entries]
    ['sgd', 'adam']
    """
    names = _known(methods)
    start = np.array(problem.start)
    g = compile(problem)

    def enter(name: str) -> Entry:
        runs = tuple(_run(g, start, name, lr, steps) for lr in rates or _SWEEP)
        return Entry(name, optimizers()[name].__name__, runs, _seconds_per_step(g, start, name))

    entries, interrupted = _entries(names, enter, report)
    problem = _with_minimum(problem, entries)
    if target is None:
        target = _NEAR * max(float(g(start)) - problem.minimum, np.finfo(float).tiny)
    formula = f"f({', '.join(problem.variables)}) = {problem.formula}, from {_point(problem.start)}"
    return Race(
        problem.title, formula, "step", "Distance to the minimum in f, against steps", problem.minimum, target,
        _ranked(entries, problem.minimum + target), problem, interrupted,
    )  # fmt: skip


def race_digits(
    *,
    methods: Sequence[str] | None = None,
    rates: Sequence[float] | None = None,
    epochs: int = 5,
    target: float = 0.1,
    report: Callable[[int, int], None] | None = None,
) -> Race:
    """Let optimizers train a network on scikit-learn's handwritten digits, and rank them.

    Parameters
    ----------
    methods, rates, report
        As for `race`.
    epochs : int
        Passes over the digits, in batches of 32.
    target : float
        The training loss that counts as arrived.

    Returns
    -------
    Race
        A step of which is an epoch.

    Raises
    ------
    ValueError
        If a method is unknown.
    ModuleNotFoundError
        If scikit-learn is missing.

    Examples
    --------
    >>> from fallline.race import race_digits
    >>> ranking = race_digits(methods=["adam"], rates=[0.003], epochs=2)
    >>> ranking.entries[0].best.values.shape
    (3,)
    """
    names = _known(methods)
    try:
        data = load_data()
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'race: scikit-learn must be installed; got none. Run: pip install "fallline[demo]"', name="sklearn"
        ) from None

    def enter(name: str) -> Entry:
        trained = [_train(data, name, lr, epochs) for lr in rates or _SWEEP]
        seconds = min(seconds for _, seconds in trained)
        return Entry(name, optimizers()[name].__name__, tuple(run for run, _ in trained), seconds)

    entries, interrupted = _entries(names, enter, report)
    about = f"a network of {_HIDDEN} hidden units reads {len(data.X)} handwritten digits, in batches of 32"
    return Race(
        "digits", about, "epoch", "Training loss, against epochs", 0.0, target, _ranked(entries, target),
        interrupted=interrupted,
    )  # fmt: skip


def _entries(
    names: Sequence[str], enter: Callable[[str], Entry], report: Callable[[int, int], None] | None
) -> tuple[list[Entry], bool]:
    """Let one after the other run; Ctrl-C ends it, and keeps those that are done, if there are any."""
    entries: list[Entry] = []
    try:
        for name in names:
            entries.append(enter(name))
            if report is not None:
                report(len(entries), len(names))
    except KeyboardInterrupt:
        if not entries:
            text = "interrupted before the first optimizer was done: there is nothing to rank"
            raise KeyboardInterrupt(text) from None
        return entries, True
    return entries, False


def _train(data: Data, method: str, lr: float, epochs: int) -> tuple[Run, float]:
    """Return a run, and the seconds of an epoch."""
    params = init_network(data.X.shape[1], _HIDDEN, 10, np.random.default_rng(0))
    first = float(loss_and_grad(params, data.X, data.y)[0])
    with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is told in the ranking
        optimizer = optimizers()[method](params, lr=lr, nonfinite="ignore")
        history = train(loss_and_grad, params, (data.X, data.y), optimizer=optimizer, epochs=epochs, rng=0)
    if history.stopped == "interrupted":
        raise KeyboardInterrupt  # the others shall not run either
    values = np.append(first, np.asarray(history.epoch_loss, dtype=np.float64))
    diverged = history.stopped == "non-finite loss" or not values[-1] <= first
    return Run(lr, values, None, diverged, None), history.seconds / max(1, history.epochs)


def _ranked(entries: Sequence[Entry], value: float) -> tuple[Entry, ...]:
    """Return the entries with the steps from which on they stay below a value, the soonest first."""
    arrived = [replace(entry, runs=tuple(_with_target(run, value) for run in entry.runs)) for entry in entries]
    return tuple(sorted(arrived, key=lambda entry: entry.best.rank))


def _known(methods: Sequence[str] | None) -> list[str]:
    """Return the names of the optimizers to race, or raise."""
    names = list(optimizers()) if methods is None else list(methods)
    for name in names:
        build_optimizer("race", name, np.zeros(1), False, {})
    return names


def _run(g: Compiled, start: Array, method: str, lr: float, steps: int) -> Run:
    result = minimize(g, start, method=method, lr=lr, maxiter=steps, gtol=None, record="path")
    path = result.path[np.isfinite(result.path).all(axis=1)]
    values = g.batch(path)
    return Run(lr, values, path, result.status == 6 or not values[-1] <= values[0], None)


def _seconds_per_step(g: Compiled, start: Array, method: str) -> float:
    """Measure a step that hardly moves: what it costs does not depend on where it leads."""

    def measure() -> float:
        began = time.perf_counter()
        nit = minimize(g, start, method=method, lr=1e-12, maxiter=_TIMED_STEPS, gtol=None).nit
        return (time.perf_counter() - began) / max(1, int(nit))

    return min(measure() for _ in range(3))


def _with_target(run: Run, value: float) -> Run:
    away = np.flatnonzero(~(run.values <= value))
    steps = int(away[-1]) + 1 if away.size else 0
    return replace(run, steps_to_target=steps if steps < len(run.values) and not run.diverged else None)


def _with_minimum(problem: Problem, entries: Sequence[Entry]) -> Problem:
    """Return the problem; where its minimum is not known, with the least value that was seen."""
    if math.isfinite(problem.minimum):
        return problem
    runs = [run for entry in entries for run in entry.runs]
    least = min(runs, key=lambda run: float(np.nanmin(run.values)))
    at = int(np.nanargmin(least.values))
    where = () if least.path is None else (tuple(map(float, least.path[at])),)
    return replace(problem, minimum=float(least.values[at]), minima=where)


def rates_of(text: str) -> list[float] | None:
    """Return learning rates from "auto" or numbers between commas."""
    if text == "auto":
        return None
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        rates = []
    if not rates or not all(0 < rate < math.inf for rate in rates):
        raise ValueError(
            f'lr: must be "auto" or numbers > 0 between commas; got {text!r}. Write for instance 0.01,0.1.'
        )
    return rates


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _point(x: Sequence[float]) -> str:
    return f"({', '.join(f'{v:g}' for v in x)})"
