"""The demonstration: a hand-written gradient is checked, then every optimizer trains with it, and descends surfaces.

`run` does it all and returns plain numbers; ``fallline demo`` prints them. The network's forward and backward pass are
written by hand in NumPy, and training is a call of `fallline.train`, as in a program of one's own. All random numbers
have fixed seeds.
"""

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fallline import optim, plot, problems, schedules
from fallline.check import check_gradient
from fallline.handwriting import Data, init_network, load_data, loss_and_grad, predict
from fallline.page import write_page
from fallline.race import race
from fallline.report import Report
from fallline.train import Epoch, History, train

__all__ = ["METHODS", "Method", "check_network", "run"]

Array = npt.NDArray[Any]

EPOCHS = 60
HIDDEN = 128
SURFACE = problems.ravine
SURFACE_STEPS = 80
RACED = problems.beale  # on the interactive page
# Standard deviation of the noise that stands for drawing single samples: on the surface there are none to draw.
SAMPLE_NOISE = 8.0

_PACKAGES = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "rich": "rich"}


@dataclass(frozen=True, slots=True)
class Method:
    """Say how an optimizer is used in the demonstration.

    Attributes
    ----------
    group : str
        The row of pictures it belongs to.
    title, short : str
        The lecture's name, and its abbreviation for curves.
    name : str
        Name in `fallline.optimizers`.
    batch_size : int or None
        Samples in a batch; None is the whole data.
    digits, surface : dict
        Hyperparameters for the digits and for the surface.
    decay : bool
        Let the learning rate on the digits fall to zero along half a cosine.
    averaged : bool
        The weights to use are the optimizer's average.
    """

    group: str
    title: str
    short: str
    name: str
    digits: dict[str, Any]
    surface: dict[str, Any]
    batch_size: int | None = 32
    decay: bool = False
    averaged: bool = False

    def build(self, params: Any, options: dict[str, Any]) -> Any:
        """Make the optimizer over `params`."""
        return optim.optimizers()[self.name](params, **options)

    def weights(self, optimizer: Any) -> Any:
        """Return the weights to use."""
        return optimizer.averaged() if self.averaged else optimizer.params


_PLAIN, _ADAPTIVE, _FURTHER = "Gradient descent and momentum", "Adaptive learning rates", "Further optimizers"

METHODS = (
    Method(_PLAIN, "Gradient Descent", "Gradient Descent", "sgd", {"lr": 0.3}, {"lr": 0.075}, batch_size=None),
    Method(_PLAIN, "Stochastic Gradient Descent", "SGD", "sgd", {"lr": 0.01}, {"lr": 0.02}, batch_size=1, decay=True),
    Method(_PLAIN, "Mini-Batch SGD", "Mini-Batch SGD", "sgd", {"lr": 0.2}, {"lr": 0.05}),
    Method(_PLAIN, "SGD with momentum", "SGD with momentum", "momentum", {"lr": 0.03}, {"lr": 0.01}, decay=True),
    Method(_PLAIN, "Nesterov Accelerated Gradient", "NAG", "nesterov", {"lr": 0.03}, {"lr": 0.01}, decay=True),
    Method(_ADAPTIVE, "AdaGrad", "AdaGrad", "adagrad", {"lr": 0.02}, {"lr": 1.0}),
    Method(_ADAPTIVE, "AdaDelta", "AdaDelta", "adadelta", {"lr": 1.0}, {"lr": 1.0, "eps": 1e-2}),
    Method(_ADAPTIVE, "RMSprop", "RMSprop", "rmsprop", {"lr": 1e-3}, {"lr": 0.1, "alpha": 0.9}, decay=True),
    Method(_ADAPTIVE, "Adam", "Adam", "adam", {"lr": 2e-3}, {"lr": 0.2}, decay=True),
    Method(
        _FURTHER,
        "AdamW",
        "AdamW",
        "adamw",
        {"lr": 2e-3, "weight_decay": 0.1},
        {"lr": 0.2, "weight_decay": 0.1},
        decay=True,
    ),
    Method(_FURTHER, "NAdam", "NAdam", "nadam", {"lr": 2e-3}, {"lr": 0.2}, decay=True),
    Method(_FURTHER, "AdaBelief", "AdaBelief", "adabelief", {"lr": 2e-3}, {"lr": 0.2}, decay=True),
    Method(
        _FURTHER,
        "Lion",
        "Lion",
        "lion",
        {"lr": 3e-4, "weight_decay": 1.0},
        {"lr": schedules.cosine(0.12, total=SURFACE_STEPS)},
        decay=True,
    ),
    Method(
        _FURTHER,
        "Schedule-Free AdamW",
        "Schedule-Free",
        "schedulefreeadamw",
        {"lr": 3e-3, "weight_decay": 0.1, "warmup_steps": 100},
        {"lr": 0.5},
        averaged=True,
    ),
)


# The check of the gradient

CHECKED_IMAGES = 7
CHECKED_HIDDEN = 6


def check_network(data: Data, seed: int = 0) -> dict[str, Report]:
    """Check the hand-written gradient of the network, in double precision, as it is and with a bug.

    Returns
    -------
    dict of str to Report
        "network", which passes, and "planted": the same without the mean over the batch, which is found out.
    """
    network = init_network(data.X.shape[1], CHECKED_HIDDEN, 10, np.random.default_rng(seed))
    params = {name: weights.astype(np.float64) for name, weights in network.items()}
    X, y = data.X[:CHECKED_IMAGES].astype(np.float64), data.y[:CHECKED_IMAGES]

    def loss(params: dict[str, Array], X: Array, y: Array) -> Any:
        return loss_and_grad(params, X, y)[0]

    def gradient(params: dict[str, Array], X: Array, y: Array) -> dict[str, Array]:
        return loss_and_grad(params, X, y)[1]

    def without_mean(params: dict[str, Array], X: Array, y: Array) -> dict[str, Array]:
        return {name: len(y) * g for name, g in gradient(params, X, y).items()}

    return {
        "network": check_gradient(loss, gradient, params, args=(X, y), rng=seed),
        "planted": check_gradient(loss, without_mean, params, args=(X, y), rng=seed),
    }


# Training and descending


def _train(
    method: Method, data: Data, epochs: int, seed: int, report: Callable[[Epoch], None]
) -> tuple[dict[str, Any], History]:
    params = init_network(data.X.shape[1], HIDDEN, 10, np.random.default_rng(seed))
    options = dict(method.digits)
    if method.decay:
        steps = epochs * math.ceil(len(data.X) / (method.batch_size or len(data.X)))
        options["lr"] = schedules.cosine(options["lr"], total=steps)
    optimizer = method.build(params, options)
    with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is told in the table
        history = train(
            loss_and_grad,
            params,
            (data.X, data.y),
            optimizer=optimizer,
            batch_size=method.batch_size,
            epochs=epochs,
            rng=seed,
            callbacks=report,
        )
        return _result(method, method.weights(optimizer), data, history), history


def _result(method: Method, weights: dict[str, Array], data: Data, history: History) -> dict[str, Any]:
    loss = float(loss_and_grad(weights, data.X, data.y)[0])
    return {
        "optimizer": method.title,
        "name": method.name,
        "batch_size": method.batch_size,
        "lr": method.digits["lr"],
        "decay": "cosine" if method.decay else None,
        "loss": loss if math.isfinite(loss) and history.stopped != "non-finite loss" else None,
        "accuracy": float((predict(weights, data.X_test) == data.y_test).mean()),
        "epochs": history.epochs,
        "steps": history.steps,
        "seconds": history.seconds,
        "seconds_per_step": history.seconds / max(1, history.steps),
        "optimizer_share": history.optimizer_seconds / history.seconds,
        "stopped": history.stopped,
    }


def _descend(method: Method, steps: int = SURFACE_STEPS) -> Array:
    """Return the points an optimizer visits on the surface, shape (steps + 1, 2)."""
    point = np.array(SURFACE.start)
    noise = 0.0 if method.batch_size is None or method.name != "sgd" else SAMPLE_NOISE / math.sqrt(method.batch_size)
    rng = np.random.default_rng(1)
    optimizer = method.build(point, method.surface)
    path = [point.copy()]
    for _ in range(steps):
        optimizer.step(SURFACE.gradient(point) + noise * rng.standard_normal(2))
        path.append(np.array(method.weights(optimizer)))
    return np.array(path)


# Pictures


def _groups() -> dict[str, list[Method]]:
    groups: dict[str, list[Method]] = {}
    for method in METHODS:
        groups.setdefault(method.group, []).append(method)
    return groups


def _draw_losses(curves: dict[str, Array]) -> Any:
    """Draw one panel for each group of optimizers, the others' curves faintly behind."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    for ax, (group, methods) in zip(figure.subplots(1, 3, sharex=True, sharey=True), _groups().items(), strict=True):
        own = {method.short: curves[method.title] for method in methods if method.title in curves}
        others = [curve for title, curve in curves.items() if title not in {method.title for method in methods}]
        if own:
            plot.losses(own, ax, background=others, xlabel="passes over the digits")
        ax.label_outer()
        ax.set_title(group)
    figure.suptitle("Learning to read digits: training loss of each optimizer", fontweight="bold", fontsize=14)
    return figure


def _draw_descent(paths: dict[str, Array]) -> Any:
    """Draw one panel for each optimizer, one row for each group."""
    from matplotlib.figure import Figure

    groups = _groups()
    figure = Figure(figsize=(15, 7.6), layout="constrained")
    grid = figure.subplots(3, 5, sharex=True, sharey=True)
    for row, methods in zip(grid, groups.values(), strict=True):
        for ax in row[len(methods) :]:
            _explain(ax)
        for ax, method in zip(row, methods, strict=False):
            path = paths[method.title]
            plot.descent(SURFACE, {method.title: path}, ax)
            ax.set_title(method.title)
            ax.text(0.97, 0.05, f"$f = {_power_of_ten(SURFACE(path[-1]))}$", transform=ax.transAxes, ha="right")
            ax.label_outer()
    figure.suptitle(
        f"{SURFACE_STEPS} steps of each optimizer down a ravine, f(x, y) = (x² + 25y²)/2, from the circle to the star",
        fontweight="bold",
        fontsize=14,
    )
    return figure


def _power_of_ten(value: float) -> str:
    digits, exponent = f"{value:.0e}".split("e")
    return rf"{digits} \times 10^{{{int(exponent)}}}"


def _explain(ax: Any) -> None:
    """Use an empty panel for what a reader should know."""
    ax.set_axis_off()
    ax.text(
        0.02,
        0.97,
        "A marker is a step, and f the value\n"
        "after the last. From one contour to\n"
        "the next, f grows by one factor.\n\n"
        "There are no samples to draw. Noise\n"
        "on the gradient stands for drawing\n"
        "one in SGD, and the noise of a mean\n"
        "for drawing 32 in Mini-Batch SGD.",
        transform=ax.transAxes,
        va="top",
        linespacing=1.4,
        in_layout=False,
    )


# Progress


def _show(checks: dict[str, Report]) -> None:
    """Tell on standard error what the check says, before the training begins."""
    titles = {
        "network": "First, the network's gradient, which is written by hand. Is it right?",
        "planted": "The same with a bug: the sum over the batch where the loss has the mean.",
    }
    for name, report in checks.items():
        print(f"{titles[name]}\n\n{report}\n", file=sys.stderr, flush=True)


class _Lines:
    """Report on standard error in plain lines, one for each optimizer: for logs and pipes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def start(self, method: Method, epochs: int) -> Callable[[Epoch], None]:
        print(f"{method.title:<30}", end="", file=sys.stderr, flush=True)
        return lambda epoch: None

    def finish(self, result: dict[str, Any]) -> None:
        print(_outcome(result), file=sys.stderr, flush=True)


class _Bars:
    """Report on standard error with live bars, one for each optimizer."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        self.wide = console.width >= 76
        text = TextColumn("{task.description}"), TextColumn("{task.fields[outcome]}", markup=False)
        # Refreshed after epochs: a thread that draws would take turns with the training, and be in its times.
        self.progress = Progress(
            text[0], BarColumn(24 if self.wide else 6), text[1], console=console, auto_refresh=False
        )
        self.next_drawing = 0.0

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.progress.stop()

    def start(self, method: Method, epochs: int) -> Callable[[Epoch], None]:
        self.task = self.progress.add_task(method.title if self.wide else method.short, total=epochs, outcome="")

        def report(epoch: Epoch) -> None:
            self.progress.update(self.task, completed=epoch.epoch, outcome=f"loss {epoch.loss:.4f}")
            if time.perf_counter() >= self.next_drawing:
                self.progress.refresh()
                self.next_drawing = time.perf_counter() + 0.1

        return report

    def finish(self, result: dict[str, Any]) -> None:
        self.progress.update(self.task, outcome=_outcome(result) if self.wide else f"{result['accuracy']:.3f}")
        self.progress.refresh()


def _outcome(result: dict[str, Any]) -> str:
    loss = "diverged" if result["loss"] is None else f"loss {result['loss']:.4f}"
    return f"{loss}  accuracy {result['accuracy']:.3f}  {result['seconds']:.1f} s"


# All together


def run(output: str | os.PathLike[str] = "fallline-demo", *, epochs: int = EPOCHS, seed: int = 0) -> dict[str, Any]:
    """Check the network's gradient, train with every optimizer, descend the surface with every one, and draw both.

    Progress goes to standard error. Ctrl-C ends the training; what was done until then is kept and drawn.

    Parameters
    ----------
    output : path, default "fallline-demo"
        Folder for the pictures, made if there is none.
    epochs : int, default 60
        Passes over the digits, the same for every optimizer.
    seed : int, default 0
        Seed of the initial weights and of the shuffles.

    Returns
    -------
    dict
        Numbers and strings only, ready for JSON: "check" (reports by name), "results" and "surface" (lists, one dict
        for each optimizer), "pictures" (paths by name), "page" (the path of an interactive race), "interrupted", and
        the circumstances.

    Raises
    ------
    ValueError
        If `epochs` is not positive.
    OSError
        If `output` cannot be written to.
    ModuleNotFoundError
        If scikit-learn, matplotlib or rich is missing.

    Examples
    --------
    >>> from fallline import demo
    >>> results = demo.run("pictures")  # doctest: +SKIP
    """
    if epochs < 1:
        raise ValueError(f"epochs: must be positive; got {epochs}. Pass a number of passes over the digits.")
    _require_extras()
    folder = _writable(output)
    began = time.perf_counter()
    data = load_data()
    checks = check_network(data, seed)
    _show(checks)
    results, curves, interrupted = _train_all(data, epochs, seed)
    paths = {method.title: _descend(method) for method in METHODS}
    pictures = _draw(folder, curves, paths)
    page = write_page(race(RACED).to_dict(), folder / "race.html")
    return {
        "data": {"name": "digits of scikit-learn", "train": len(data.X), "test": len(data.X_test)},
        "network": {"inputs": data.X.shape[1], "hidden": HIDDEN, "classes": 10},
        "epochs": epochs,
        "seed": seed,
        "check": {name: report.to_dict() for name, report in checks.items()},
        "results": results,
        "surface": [
            {"optimizer": title, "steps": len(path) - 1, "value": float(SURFACE(path[-1]))}
            for title, path in paths.items()
        ],
        "pictures": {name: str(path) for name, path in pictures.items()},
        "page": str(page),
        "interrupted": interrupted,
        "seconds": time.perf_counter() - began,
    }


def _train_all(data: Data, epochs: int, seed: int) -> tuple[list[dict[str, Any]], dict[str, Array], bool]:
    """Return the results, the loss curves by title, and whether Ctrl-C cut them short."""
    from threadpoolctl import threadpool_limits

    results: list[dict[str, Any]] = []
    curves: dict[str, Array] = {}
    # One thread: these matrices are small, and the numbers must not depend on how many cores there are.
    with threadpool_limits(1, user_api="blas"), _Bars() if sys.stderr.isatty() else _Lines() as show:
        try:
            for method in METHODS:
                result, history = _train(method, data, epochs, seed, show.start(method, epochs))
                show.finish(result)
                results.append(result)
                if history.epochs:
                    curves[method.title] = history.epoch_loss
                if history.stopped == "interrupted":
                    return results, curves, True
        except KeyboardInterrupt:  # between two calls of train, which would have kept its own results
            return results, curves, True
    return results, curves, False


def _draw(folder: Path, curves: dict[str, Array], paths: dict[str, Array]) -> dict[str, Path]:
    import matplotlib

    pictures = {}
    with matplotlib.rc_context(plot.STYLE):
        if curves:
            pictures["losses"] = folder / "losses.png"
            _draw_losses(curves).savefig(pictures["losses"])
        pictures["descent"] = folder / "descent.png"
        _draw_descent(paths).savefig(pictures["descent"])
    return pictures


def _require_extras() -> None:
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(
            f"demo: {', '.join(_PACKAGES.values())} must be installed; got no {', '.join(missing)}. "
            'Run: pip install "fallline[demo]"'
        )


def _writable(output: str | os.PathLike[str]) -> Path:
    """Make the folder, and try it before the training rather than after."""
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(
            f"output: must be a folder that can be written to; got {str(folder)!r} ({error.strerror}). "
            "Choose another with --output DIR."
        ) from None
    return folder
