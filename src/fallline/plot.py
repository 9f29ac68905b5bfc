"""Pictures of descents: loss curves, paths on contours, schedules (matplotlib, extra ``plots``).

Each function draws into an `Axes` and returns it. Colours, fonts and sizes are the reader's rcParams; line styles and
markers are added to the colours, and lines are named at their ends, so that nothing is told by colour alone. `STYLE` is
the style of the demonstration's own pictures.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fallline.problems import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]

__all__ = ["STYLE", "descent", "losses", "schedules"]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")

#: Settings for `matplotlib.rc_context`: seven colours that colour-blind readers can tell apart (Okabe & Ito 2008, Color
#: universal design; its yellow is left out, being too faint for lines), few frames, and room for labels.
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.labelcolor": "#222222",
    "axes.prop_cycle": "cycler('color', [{}])".format(", ".join(f"'{c}'" for c in _COLOURS)),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.dpi": 150,
    "font.size": 10,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "image.cmap": "YlGnBu_r",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "savefig.dpi": 150,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}

_LINESTYLES = ("-", "--", "-.", (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5, 1, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def losses(
    curves: Mapping[str, npt.ArrayLike | tuple[npt.ArrayLike, npt.ArrayLike]],
    ax: "Axes | None" = None,
    *,
    background: Iterable[npt.ArrayLike | tuple[npt.ArrayLike, npt.ArrayLike]] = (),
    xlabel: str = "epoch",
    ylabel: str = "training loss",
) -> "Axes":
    """Draw loss curves on logarithmic axes, each named at its end.

    Parameters
    ----------
    curves : mapping of str to array_like, shape (n,), or to a pair (x, loss) of them
        Losses by name. Without x they are counted from 1. What a logarithmic axis cannot show is left out: values that
        are not positive or not finite.
    ax : matplotlib.axes.Axes, optional
        Where to draw; pyplot's current axes by default.
    background : iterable of array_like, optional
        Curves to draw faintly and without names behind the others, for comparison.
    xlabel, ylabel : str

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If `curves` is not a mapping or `ax` no Axes.
    ValueError
        If there is no curve, or a curve is not one-dimensional or has no positive finite value.
    ModuleNotFoundError
        If matplotlib is missing.

    Examples
    --------
    >>> from fallline import plot, problems
    >>> from matplotlib.figure import Figure
    >>> ax = plot.losses({"fast": [1, 0.1, 0.01], "slow": [1, 0.5, 0.3]}, Figure().add_subplot())
    >>> [line.get_label() for line in ax.lines], ax.get_yscale()
    (['fast', 'slow'], 'log')
    """
    ax = _axes("losses", ax)
    drawn = {name: _curve(f"curves[{name!r}]", curve) for name, curve in _mapping("curves", curves).items()}
    for i, curve in enumerate(background):
        ax.plot(
            *_curve(f"background[{i}]", curve),
            color=_rc("grid.color"),
            linewidth=0.8,
            zorder=1,
            label=f"_background{i}",
        )
    lines: list[Any] = []
    for style, (name, (x, y)) in zip(_styles(), drawn.items(), strict=False):
        every = _markers(x, len(lines) / len(drawn))
        lines += ax.plot(x, y, label=name, markevery=every, **style)
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    _plain_ticks(ax.xaxis, max(x[-1] for x, _ in drawn.values()))
    ax.margins(x=0)
    _name_at_the_ends(ax, lines)
    return ax


def descent(
    problem: Problem,
    paths: Mapping[str, npt.ArrayLike],
    ax: "Axes | None" = None,
    *,
    bounds: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> "Axes":
    """Draw the paths of optimizers over the contours of a test problem.

    Parameters
    ----------
    problem : Problem
    paths : mapping of str to array_like, shape (steps + 1, 2)
        Visited points by name, the start first. With more than one path a legend is put beside the axes.
    ax : matplotlib.axes.Axes, optional
        Where to draw; pyplot's current axes by default.
    bounds : ((x_low, x_high), (y_low, y_high)), optional
        What to show; the problem's bounds by default. Parts of a path outside are not seen.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If `problem` is no Problem, `paths` no mapping, or `ax` no Axes.
    ValueError
        If a path does not have shape (steps + 1, 2), or the problem not 2 variables.
    ModuleNotFoundError
        If matplotlib is missing.

    Examples
    --------
    >>> from fallline import plot, problems
    >>> from matplotlib.figure import Figure
    >>> path = [(1, 1), (2, 0.2), (2.9, 0.5)]
    >>> ax = plot.descent(problems.beale, {"by hand": path}, Figure().add_subplot())
    >>> [line.get_label() for line in ax.lines]
    ['by hand', '_start', '_minimum']
    """
    ax = _axes("descent", ax)
    if not isinstance(problem, Problem):
        raise TypeError(
            f"descent: problem must be a Problem; got {type(problem).__name__}. Take one from fallline.problems."
        )
    if problem.dimensions != 2:
        raise ValueError(
            f"descent: problem must have 2 variables to be drawn; got {problem.name} with {problem.dimensions}. "
            "Choose another."
        )
    points = {name: _path(f"paths[{name!r}]", path) for name, path in _mapping("paths", paths).items()}
    x_range, y_range = bounds or (problem.bounds[0], problem.bounds[1])
    _contours(ax, problem, x_range, y_range)
    for style, (name, path) in zip(_styles(), points.items(), strict=False):
        style["markersize"] = 0.55 * style.get("markersize", _rc("lines.markersize"))
        every = max(1, len(path) // 150)
        ax.plot(*path.T, label=name, zorder=3, markevery=every, **style)
        ax.plot(*path[0], "o", color=_rc("text.color"), markerfacecolor=_rc("axes.facecolor"), zorder=4, label="_start")
    for minimum in problem.minima:
        ax.plot(
            *minimum,
            "*",
            color=_rc("text.color"),
            markersize=11,
            zorder=5,
            label="_minimum",
            markeredgecolor=_rc("axes.facecolor"),
        )
    ax.set(xlim=x_range, ylim=y_range)
    ax.grid(False)
    if len(points) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    return ax


def schedules(
    schedules: Mapping[str, Callable[[int], float]],
    steps: int,
    ax: "Axes | None" = None,
    *,
    ylabel: str = "learning rate",
) -> "Axes":
    """Draw hyperparameter schedules over the steps, each named at its end.

    Parameters
    ----------
    schedules : mapping of str to callable t -> float
        Functions of the number of steps done.
    steps : int
        The values for t = 0 .. steps - 1 are drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw; pyplot's current axes by default.
    ylabel : str

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If `schedules` is not a mapping of callables or `ax` no Axes.
    ValueError
        If there is no schedule, or `steps` is not positive.
    ModuleNotFoundError
        If matplotlib is missing.

    Examples
    --------
    >>> from fallline import plot, problems
    >>> from matplotlib.figure import Figure
    >>> ax = plot.schedules({"halved": lambda t: 0.5**t}, 10, Figure().add_subplot())
    >>> len(ax.lines[0].get_xdata())
    10
    """
    ax = _axes("schedules", ax)
    _mapping("schedules", schedules)
    if steps < 1:
        raise ValueError(f"schedules: steps must be positive; got {steps}. Pass the number of steps to draw.")
    t = np.arange(steps)
    lines: list[Any] = []
    for style, (name, schedule) in zip(_styles(), schedules.items(), strict=False):
        if not callable(schedule):
            raise TypeError(
                f"schedules[{name!r}]: must be callable; got {type(schedule).__name__}. A constant is lambda t: value."
            )
        every = (int(steps * (0.1 + 0.2 * len(lines) / len(schedules))), max(1, steps // 5))
        lines += ax.plot(t, [float(schedule(int(i))) for i in t], label=name, markevery=every, **style)
    ax.set(xlabel="step", ylabel=ylabel)
    ax.margins(x=0)
    _name_at_the_ends(ax, lines)
    return ax


# Arguments


def _axes(caller: str, ax: "Axes | None") -> "Axes":
    try:
        from matplotlib.axes import Axes
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'{caller}: matplotlib must be installed; got none. Run: pip install "fallline[plots]"', name="matplotlib"
        ) from None
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.gca()
    if not isinstance(ax, Axes):
        raise TypeError(f"{caller}: ax must be a matplotlib Axes; got {type(ax).__name__}. Pass fig.add_subplot().")
    return ax


def _mapping(name: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: must be a mapping of names; got {type(value).__name__}. Pass a dict.")
    if not value:
        raise ValueError(f"{name}: must hold at least one entry; got none. Pass a dict of names and data.")
    return value


def _curve(name: str, curve: Any) -> tuple[Array, Array]:
    x, y = curve if isinstance(curve, tuple) else (None, curve)
    y = np.asarray(y, dtype=float)
    x = np.arange(1.0, len(y) + 1) if x is None else np.asarray(x, dtype=float)
    if y.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"{name}: must be one-dimensional, x as long as the losses; got shapes {x.shape} and {y.shape}. "
            "Pass losses, or a pair (x, losses)."
        )
    shown = (x > 0) & (y > 0) & np.isfinite(x) & np.isfinite(y)
    if not shown.any():
        raise ValueError(f"{name}: must have a positive finite value to show on logarithmic axes; got none.")
    return x[shown], y[shown]


def _path(name: str, path: Any) -> Array:
    points = np.asarray(path, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"{name}: must have shape (steps + 1, 2); got {points.shape}. Pass the visited points.")
    return points


# Styles


def _rc(name: str) -> Any:
    import matplotlib

    settings: Any = matplotlib.rcParams
    return settings[name]


def _styles() -> Iterator[dict[str, Any]]:
    """Yield the reader's property cycle without end, with line styles and markers where it has none."""
    cycle = list(_rc("axes.prop_cycle"))
    for i in count():
        yield {"linestyle": _LINESTYLES[i % 5], "marker": _MARKERS[i % 7], **cycle[i % len(cycle)]}


def _markers(x: Array, shift: float) -> list[int]:
    """Choose where markers go: some five, equally far apart on a logarithmic axis, different for each curve."""
    at = np.exp(np.linspace(np.log(x[0]), np.log(x[-1]), 6)[:-1] + shift * np.log(x[-1] / x[0]) / 5)
    return sorted(set(np.searchsorted(x, at).clip(0, len(x) - 1).tolist()))


# Parts of a picture


def _contours(ax: "Axes", problem: Problem, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
    """Draw contours that are close where the function changes by the same factor, not by the same amount."""
    x, y = np.meshgrid(np.linspace(*x_range, 201), np.linspace(*y_range, 201))
    height = problem((x, y)) - problem.minimum
    low, high = np.quantile(height, [0.0005, 1])
    levels = np.geomspace(max(low, high * 1e-7), high, 14)
    ax.contourf(x, y, height, levels=[-1e-9 * high, *levels], norm="log", alpha=0.5, zorder=0)
    ax.contour(x, y, height, levels=levels, colors=_rc("axes.edgecolor"), linewidths=0.5, alpha=0.5, zorder=1)


def _plain_ticks(axis: Any, last: float) -> None:
    """Write 1, 2, 5, 10, ... instead of powers of ten, as long as that is shorter."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if last <= 1000:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def _name_at_the_ends(ax: "Axes", lines: list[Any]) -> None:
    """Write each line's label right of the axes, level with the line's end as far as labels do not overlap."""
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines]
    ax.autoscale_view()  # otherwise done when drawing, and transData would still be that of empty axes
    place = ax.transAxes.inverted()
    level = np.array([place.transform(ax.transData.transform(end))[1] for end in ends])
    width, height = ax.bbox.width, ax.bbox.height
    points = ax.figure.dpi / 72
    size = _rc("font.size") * 0.9
    free = _spread(level, 1.25 * size * points / height)
    for line, end, y in zip(lines, ends, free, strict=True):
        ax.annotate(
            line.get_label(),
            end,
            xytext=(1 + 14 * points / width, y),
            textcoords="axes fraction",
            va="center",
            color=line.get_color(),
            fontsize=size,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),
                "color": line.get_color(),
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 2,
            },
        )


def _spread(wanted: Array, gap: float) -> Array:
    """Move numbers in [0, 1] apart to at least `gap`, as little as possible in the sum of squares.

    With the k-th smallest lowered by k gaps, "apart" becomes "not decreasing": isotonic regression, solved by pooling
    adjacent violators (Barlow et al. 1972, Statistical Inference under Order Restrictions).
    """
    order = np.argsort(wanted, kind="stable")
    pools: list[list[float]] = []
    for k, value in enumerate(wanted[order]):
        pools.append([value - k * gap])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    level = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
    room = max(0.0, 1 - gap * (len(wanted) - 1))
    result = np.empty_like(level)
    result[order] = level.clip(0, room) + gap * np.arange(len(wanted))
    return result
