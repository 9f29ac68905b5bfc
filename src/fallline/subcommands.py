"""The subcommands on what the user brings, or on this machine: explain, check, minimize, race, bench, schedules."""

from __future__ import annotations

import argparse
import errno
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fallline import calculus, problems, schedules
from fallline.answer import Answer, fold, table, width, wrap
from fallline.brought import bring_function, bring_point, numbers, speaking_for
from fallline.calculus.compiled import compile
from fallline.calculus.derivation import Derivation, Explanation
from fallline.check import check_gradient
from fallline.machine import measure_steps
from fallline.minimizing import minimize
from fallline.optim import optimizers
from fallline.page import write_page
from fallline.problems import Problem
from fallline.race import Race, race, race_digits, rates_of

__all__ = ["ALL", "Subcommand"]


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A name, a line about it, examples, and functions that add the arguments and that answer."""

    name: str
    summary: str
    epilog: str
    arguments: Callable[[Any], None]
    run: Callable[[argparse.Namespace], Answer]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number; got {text!r}. Write for instance 0.01.") from None


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number; got {text!r}. Write for instance 100.") from None


# ---- explain


def _explain_arguments(parser: Any) -> None:
    parser.add_argument("expression", help='for instance "3*x**3*z - y**2"')
    parser.add_argument("--wrt", metavar="x", help="derive by this variable only; x,y for first by x and then by y")
    parser.add_argument("--style", choices=["lecture", "every-rule"], default="lecture", help="default: %(default)s")
    parser.add_argument("--at", metavar="x=3,y=1", help="put numbers in, too")
    parser.add_argument("--latex", action="store_true", help="print LaTeX")


def _explain(arguments: argparse.Namespace) -> Answer:
    var = None if arguments.wrt is None else arguments.wrt.split(",")
    found = calculus.explain(arguments.expression, var, style=arguments.style, at=_numbers_by_name(arguments.at))
    partials = found.partials if isinstance(found, Explanation) else {arguments.wrt: found}
    data = {
        "expression": found.expr.text,
        "derivatives": {name: _derivation(one) for name, one in partials.items()},
    }
    text = found.text("latex" if arguments.latex else "unicode")
    text = text if _can_show(text) else found.text("text")
    return Answer(data, text if arguments.latex else fold(text))


def _can_show(text: str) -> bool:
    """Tell whether the output has all characters of a text; it would show question marks for signs and exponents."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _derivation(derivation: Derivation) -> dict[str, Any]:
    return {
        "result": derivation.result.text,
        "lines": [{"expression": line.expr.text, "rule": line.rule} for line in derivation.lines],
        "notes": list(derivation.notes),
    }


def _numbers_by_name(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise ValueError(f"at: must be names and numbers; got {text!r}. Write for instance x=3,y=1.") from None


# ---- check


def _check_arguments(parser: Any) -> None:
    parser.add_argument("f", metavar="module:f", help="the function; modules of the current folder are found")
    parser.add_argument("df", metavar="module:df", help="its gradient, to be checked")
    parser.add_argument("--at", required=True, metavar="1,2|FILE", help="the point: numbers, or a .npz or .npy file")
    parser.add_argument("--mode", choices=["auto", "directions", "full"], default="auto", help="default: %(default)s")
    parser.add_argument("--seed", type=_integer, default=0, help="of the random directions (default: %(default)s)")


def _check(arguments: argparse.Namespace) -> Answer:
    f, df = bring_function("f", arguments.f), bring_function("df", arguments.df)
    point = bring_point(arguments.at)
    with speaking_for(arguments.f, arguments.df):
        report = check_gradient(f, df, point, mode=arguments.mode, rng=arguments.seed)
    code = {"pass": 0, "fail": 1, "inconclusive": 3}[report.verdict]
    return Answer(_plain(report.to_dict()), fold(report.text(width())), code)


def _plain(value: Any) -> Any:
    """Return the value with what JSON has no number for as text."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# ---- minimize

_LOOK = 1000  # steps between looks at whether Ctrl-C was pressed
_STOPPED = 5  # the status of a descent that a callback ended


def _minimize_arguments(parser: Any) -> None:
    parser.add_argument("function", help=f"an expression, or a problem: {', '.join(problems.names())}")
    parser.add_argument("--start", metavar="1,2", help="default: that of the problem")
    parser.add_argument("--method", default="adam", help='an optimizer, or "hiker" (default: %(default)s)')
    parser.add_argument("--lr", type=_number, help="learning rate (default: that of the optimizer)")
    parser.add_argument("--maxiter", type=_integer, default=10_000, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--gtol", type=_number, default=1e-5, metavar="T", help="stop at this gradient (default: %(default)s)"
    )
    parser.add_argument("--plot", metavar="PATH", help="draw the way there (two variables; needs matplotlib)")


def _minimize(arguments: argparse.Namespace) -> Answer:
    problem = _problem(arguments.function, arguments.start)
    _check_outputs(None, arguments.plot)
    options = {} if arguments.lr is None else {"lr": arguments.lr}
    with _stopping() as stop:
        result = minimize(
            compile(problem), problem.start, method=arguments.method, maxiter=arguments.maxiter, gtol=arguments.gtol,
            record="path" if arguments.plot else None, rng=0, callback=stop, every=_LOOK, **options,
        )  # fmt: skip
    interrupted = result.status == _STOPPED
    if interrupted:
        result["message"] = "Interrupted."
    data = {name: result[name] for name in ("success", "status", "message", "nit", "nfev")}
    data |= {"x": dict(zip(problem.variables, result.x.tolist(), strict=True)), "fun": float(result.fun)}
    lines = [f"{name} = {value:.10g}" for name, value in data["x"].items()]
    lines += [f"f = {result.fun:.10g}", wrap(f"{result.nit} steps, {result.nfev} evaluations. {result.message}")]
    if arguments.plot:
        data["plot"] = _draw_descent(problem, arguments.method, result, arguments.plot)
        lines.append(f"picture: {arguments.plot}")
    return Answer(_plain(data), "\n".join(lines), 130 if interrupted else 0 if result.success else 3)


@contextmanager
def _stopping() -> Iterator[Callable[[Any], None]]:
    """Yield a callback that ends a descent after Ctrl-C, so that its best point is kept; a second one ends all."""
    pressed = False

    def press(*_: Any) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop(_: Any) -> None:
        if pressed:
            raise StopIteration

    before = signal.signal(signal.SIGINT, press)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _problem(text: str, start: str | None) -> Problem:
    """Return a problem by its name, or one made of an expression and a start."""
    point = None if start is None else tuple(numbers("start", start).tolist())
    if text in problems.names():
        known = problems.get(text)
        if point is not None and len(point) != known.dimensions:
            raise ValueError(
                f"start: must have {known.dimensions} numbers for {text}; got {len(point)}. "
                f"Write one for each of {', '.join(known.variables)}."
            )
        return known if point is None else replace(known, start=point)
    variables = _expression(text).variables
    if not variables:
        raise ValueError(f'function: must have a variable; got {text!r}. Write for instance "(x - 3)**2".')
    if point is None or len(point) != len(variables):
        raise ValueError(
            f"start: must have a number for each of {', '.join(variables)}; got "
            f"{'none' if point is None else len(point)}. Write for instance --start {','.join('1' * len(variables))}."
        )
    reach = tuple((value - 5 * max(1.0, abs(value)), value + 5 * max(1.0, abs(value))) for value in point)
    return Problem("expression", text, text, variables, point, (), math.inf, reach, "")


def _expression(text: str) -> calculus.Expr:
    """Parse it; a single unknown word was probably meant as a problem."""
    if text.isidentifier() and len(text) > 2:
        problems.get(text)  # which offers the nearest names
    return calculus.parse(text)


def _draw_descent(problem: Problem, method: str, result: Any, path: str) -> str:
    from fallline import plot

    if not problem.minima:
        problem = replace(problem, minima=(tuple(result.x.tolist()),), minimum=float(result.fun))
    inside = result.path[np.isfinite(result.path).all(axis=1)]
    with _figure(path, (7, 5)) as axes:
        plot.descent(problem, {method: inside}, axes)
        axes.set(title=problem.title, xlabel=problem.variables[0], ylabel=problem.variables[-1])
    return path


def _check_outputs(page: str | None, picture: str | None) -> None:
    """Raise if a file cannot be written: before the work that it is to hold."""
    if picture:
        _picture_format(picture)
    for owner, path in (("page", page), ("plot", picture)):
        if not path:
            continue
        try:
            if Path(path).is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            tempfile.TemporaryFile(dir=Path(path).absolute().parent).close()
        except OSError as error:
            raise _unwritable(owner, path, error) from None


def _unwritable(owner: str, path: str, error: OSError) -> OSError:
    return type(error)(
        f"{owner}: must be a file that can be written; got {path!r} ({error.strerror}). Choose another path."
    )


def _picture_format(path: str) -> str:
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'plot: matplotlib must be installed; got none. Run: pip install "fallline[plots]"', name="matplotlib"
        ) from None

    ending = Path(path).suffix[1:].lower() or "png"
    if ending not in FigureCanvasBase.get_supported_filetypes():
        raise ValueError(
            f"plot: must be a file of a format that matplotlib writes; got {path!r}. End it with .png, .svg or .pdf."
        )
    return ending


@contextmanager
def _figure(path: str, size: tuple[float, float]) -> Any:
    """Make axes of a figure that is written to a file afterwards."""
    from fallline import plot

    ending = _picture_format(path)
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(plot.STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure.add_subplot()
        try:
            figure.savefig(path, format=ending)
        except OSError as error:
            raise _unwritable("plot", path, error) from None


# ---- race


def _race_arguments(parser: Any) -> None:
    parser.add_argument(
        "function", help='a problem, an expression with --start (see fallline minimize --help), or "digits"'
    )
    parser.add_argument("--start", metavar="1,2", help="default: that of the problem")
    parser.add_argument("--methods", default="all", metavar="adam,sgd", help='optimizers, or "all" (the default)')
    parser.add_argument(
        "--lr", default="auto", metavar="0.01,0.1", help='learning rates, or "auto" (the default): 1e-4 to 10'
    )
    parser.add_argument(
        "--steps", type=_integer, default=500, metavar="N", help="of each descent (default: %(default)s)"
    )
    parser.add_argument(
        "--epochs", type=_integer, default=5, metavar="N", help="passes over the digits (default: %(default)s)"
    )
    parser.add_argument("--html", metavar="PATH", help="write an interactive page: one file, which needs nothing else")
    parser.add_argument("--plot", metavar="PATH", help="draw the losses of the best (needs matplotlib)")


def _race(arguments: argparse.Namespace) -> Answer:
    methods = None if arguments.methods == "all" else arguments.methods.split(",")
    if arguments.steps < 1:
        raise ValueError(f"steps: must be positive; got {arguments.steps}. Pass the number of steps of each descent.")
    if arguments.epochs < 1:
        raise ValueError(
            f"epochs: must be positive; got {arguments.epochs}. Pass the number of passes over the digits."
        )
    options: dict[str, Any] = {"methods": methods, "rates": rates_of(arguments.lr)}
    _check_outputs(arguments.html, arguments.plot)
    with _progress() as report:
        if arguments.function == "digits":
            found = race_digits(epochs=arguments.epochs, report=report, **options)
        else:
            problem = _problem(arguments.function, arguments.start)
            found = race(problem, steps=arguments.steps, report=report, **options)
    rows = found.rows()
    step = found.xlabel
    header = ["optimizer", "learning rate", f"{step}s to target", "time to target", "at the end"]
    about = (
        f"{found.about[0].upper()}{found.about[1:]}. The target is {found.target:.3g} from {found.minimum:.6g}. Of the "
        "learning rates the best is shown."
    )
    lines = [table(header, [_row(row) for row in rows], optional=("at the end",)), "", wrap(about)]
    data: dict[str, Any] = {"race": found.title, "about": found.about, "target": found.target, "ranking": rows}
    data["interrupted"] = found.interrupted
    if found.interrupted:
        lines.append(f"interrupted after {len(rows)} of {len(methods or optimizers())} optimizers")
    if arguments.html:
        data["page"] = str(write_page(found.to_dict(), arguments.html))
        lines.append(f"page: {arguments.html}")
    if arguments.plot:
        data["plot"] = _draw_race(found, arguments.plot)
        lines.append(f"picture: {arguments.plot}")
    return Answer(_plain(data), "\n".join(lines), 130 if found.interrupted else 0)


def _row(row: dict[str, Any]) -> list[str]:
    steps, seconds = row["steps_to_target"], row["seconds_to_target"]
    return [
        row["optimizer"],
        f"{row['lr']:g}",
        "-" if steps is None else str(steps),
        "-" if seconds is None else _duration(seconds),
        "diverged" if row["diverged"] else f"{row['value']:.3g}",
    ]


def _duration(seconds: float) -> str:
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _draw_race(found: Race, path: str) -> str:
    from fallline import plot

    curves = {}
    for entry in found.entries[:7]:
        distance = entry.best.values - found.minimum
        if (distance[1:] > 0).any():
            curves[entry.title] = distance[1:]
    with _figure(path, (9, 5)) as axes:
        plot.losses(curves, axes, xlabel=found.xlabel, ylabel=found.ylabel.partition(",")[0].lower())
        axes.set_title(f"Race on {found.title}")
    return path


@contextmanager
def _progress() -> Any:
    """Show a bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ModuleNotFoundError:
        yield None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("optimizers", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


# ---- schedules

_STEPS = 1000
_SHOWN = {
    "constant(0.1)": schedules.constant(0.1),
    "linear(0.1, total=1000)": schedules.linear(0.1, total=_STEPS),
    "cosine(0.1, total=1000)": schedules.cosine(0.1, total=_STEPS),
    "exponential(0.1, gamma=0.997)": schedules.exponential(0.1, gamma=0.997),
    "step(0.1, every=250, gamma=0.5)": schedules.step(0.1, every=250, gamma=0.5),
    "one_cycle(0.1, total=1000)": schedules.one_cycle(0.1, total=_STEPS),
    "warmup(100, cosine(0.1, total=900))": schedules.warmup(100, schedules.cosine(0.1, total=_STEPS - 100)),
}


def _schedules_arguments(parser: Any) -> None:
    parser.add_argument("--plot", metavar="PATH", help="draw them (needs matplotlib)")


def _schedules(arguments: argparse.Namespace) -> Answer:
    at = (0, 100, 250, 500, 999)
    rows = [[call, *(f"{schedule(t):.3g}" for t in at)] for call, schedule in _SHOWN.items()]
    shown = {call.partition("(")[0] for call in _SHOWN}
    others = [name for name in schedules.__all__ if name not in shown and name != "Schedule"]
    text = table(["fl.schedules", *(f"t={t}" for t in at)], rows)
    lines = [text, "", wrap(f"Also: {', '.join(others)}. Any hyperparameter takes one: fl.Adam(params, lr=...).")]
    data: dict[str, Any] = {
        "schedules": {call: {str(t): schedule(t) for t in at} for call, schedule in _SHOWN.items()},
        "others": others,
    }
    if arguments.plot:
        from fallline import plot

        with _figure(arguments.plot, (9, 5)) as axes:
            plot.schedules({call.partition("(")[0]: schedule for call, schedule in _SHOWN.items()}, _STEPS, axes)
        data["plot"] = arguments.plot
        lines.append(f"picture: {arguments.plot}")
    return Answer(data, "\n".join(lines))


# ---- bench


def _bench_arguments(parser: Any) -> None:
    parser.add_argument(
        "--size", type=_integer, default=10_000_000, metavar="N", help="elements of the array (default: %(default)s)"
    )


def _bench(arguments: argparse.Namespace) -> Answer:
    if arguments.size < 1:
        raise ValueError(f"size: must be positive; got {arguments.size}. Pass the number of elements.")
    try:
        with _progress() as report:
            found = measure_steps(arguments.size, report)
    except MemoryError:
        raise ValueError(
            f"size: must leave room for the array and its states in memory; got {arguments.size}. Pass fewer elements."
        ) from None
    rows = [
        [
            row["optimizer"],
            f"{row['seconds'] * 1e3:.3g} ms",
            f"{row['seconds'] * 1e9 / arguments.size:.3g} ns",
            f"{row['bytes_per_element']:.0f}",
            f"{row['times_copying']:.2f}",
        ]
        for row in found["steps"]
    ]
    header = ["optimizer", "step", "per element", "bytes moved", "/ copying them"]
    about = (
        f"One array of {arguments.size} float32. Copying moves {found['bytes_per_second'] / 1e9:.1f} GB/s here, in one "
        "thread; steps may use more. The shortest of seven rounds each."
    )
    return Answer(found, "\n".join([table(header, rows, optional=("bytes moved", "per element")), "", wrap(about)]))


_EXPLAIN = """\
examples:
  fallline explain "3*x**3*z - y**2 + 5*z + 2*y*z"
  fallline explain "x*sin(x**2)" --style every-rule --at x=2
  fallline explain "exp(-x^2)" --latex
"""
_CHECK = """\
examples:
  fallline check model:loss model:grad --at 0.5,1.5
  fallline check model:loss model:grad --at weights.npz --mode full

exit codes: 0 pass, 1 fail, 3 inconclusive
"""
_MINIMIZE = """\
examples:
  fallline minimize rosenbrock --lr 0.01
  fallline minimize "(x - 3)**2 + x*y + y**2" --start 1,2 --method sgd --lr 0.1 --plot way.png

exit codes: 0 arrived, 1 failed, 3 not arrived
"""
_RACE = """\
examples:
  fallline race beale --html race.html
  fallline race "x**4 + y**2" --start 2,1 --methods adam,sgd --lr 0.01,0.1
  fallline race digits --methods sgd,momentum,adam --html digits.html
"""
_BENCH = """\
examples:
  fallline bench
  fallline bench --size 100000 --json
"""
_SCHEDULES = """\
examples:
  fallline schedules --plot schedules.png
"""

ALL = (
    Subcommand("explain", "derive by rule, step by step", _EXPLAIN, _explain_arguments, _explain),
    Subcommand("check", "check a gradient, and say what is wrong and where", _CHECK, _check_arguments, _check),
    Subcommand("minimize", "minimize an expression or a test problem", _MINIMIZE, _minimize_arguments, _minimize),
    Subcommand("race", "rank the optimizers from one start, by swept learning rates", _RACE, _race_arguments, _race),
    Subcommand(
        "bench", "time a step of each optimizer against this machine's memory", _BENCH, _bench_arguments, _bench
    ),
    Subcommand("schedules", "show learning-rate schedules", _SCHEDULES, _schedules_arguments, _schedules),
)
