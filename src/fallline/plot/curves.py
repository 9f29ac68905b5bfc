"""Curves: losses against steps, schedules, and sweeps over learning rates."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fallline.plot.style import axes_of, mapping_of, name_at_the_ends, rc, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]

__all__ = ["losses", "schedules", "sweep"]


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
    curves : mapping of str to array_like, shape (n,) or (seeds, n), or to a pair (x, loss) of them
        Losses by name. Without x they are counted from 1. Of several seeds the median is drawn, and a band from the
        lower to the upper tenth. What a logarithmic axis cannot show is left out: values that are not positive or not
        finite.
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
    ax = axes_of("losses", ax)
    given = {name: _median(curve) for name, curve in mapping_of("curves", curves).items()}
    drawn = {name: _curve(f"curves[{name!r}]", curve) for name, (curve, _) in given.items()}
    for i, curve in enumerate(background):
        ax.plot(
            *_curve(f"background[{i}]", curve),
            color=rc("grid.color"),
            linewidth=0.8,
            zorder=1,
            label=f"_background{i}",
        )
    lines: list[Any] = []
    for style, (name, (x, y)) in zip(styles(), drawn.items(), strict=False):
        every = _markers(x, len(lines) / len(drawn))
        lines += ax.plot(x, y, label=name, markevery=every, **style)
        band = given[name][1]
        if band is not None:
            ax.fill_between(*band, color=lines[-1].get_color(), alpha=0.2, linewidth=0, label=f"_band of {name}")
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    _plain_ticks(ax.xaxis, max(x[-1] for x, _ in drawn.values()))
    ax.margins(x=0)
    name_at_the_ends(ax, lines)
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
    ax = axes_of("schedules", ax)
    mapping_of("schedules", schedules)
    if steps < 1:
        raise ValueError(f"schedules: steps must be positive; got {steps}. Pass the number of steps to draw.")
    t = np.arange(steps)
    lines: list[Any] = []
    for style, (name, schedule) in zip(styles(), schedules.items(), strict=False):
        if not callable(schedule):
            raise TypeError(
                f"schedules[{name!r}]: must be callable; got {type(schedule).__name__}. A constant is lambda t: value."
            )
        every = (int(steps * (0.1 + 0.2 * len(lines) / len(schedules))), max(1, steps // 5))
        lines += ax.plot(t, [float(schedule(int(i))) for i in t], label=name, markevery=every, **style)
    ax.set(xlabel="step", ylabel=ylabel)
    ax.margins(x=0)
    name_at_the_ends(ax, lines)
    return ax


def sweep(
    results: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    ax: "Axes | None" = None,
    *,
    ylabel: str = "loss at the end",
) -> "Axes":
    """Draw what each learning rate of a sweep led to, each optimizer named at its end.

    Parameters
    ----------
    results : mapping of str to a pair (learning rates, losses) of array_like, shape (n,)
        By the names of the optimizers. A loss that is not finite means that the run diverged: a cross at the top.
    ax : matplotlib.axes.Axes, optional
        Where to draw; pyplot's current axes by default.
    ylabel : str

    Returns
    -------
    matplotlib.axes.Axes
        Logarithmic; the best learning rate of each has a star.

    Raises
    ------
    TypeError
        If `results` is not a mapping or `ax` no Axes.
    ValueError
        If an entry is no pair of one-dimensional arrays of one length, or has no positive finite loss.
    ModuleNotFoundError
        If matplotlib is missing.

    Examples
    --------
    >>> from fallline import plot
    >>> from matplotlib.figure import Figure
    >>> ax = plot.sweep({"sgd": ([0.01, 0.1, 1], [2, 0.1, float("inf")])}, Figure().add_subplot())
    >>> [line.get_label() for line in ax.lines]
    ['sgd', '_best of sgd', '_diverged of sgd']
    """
    ax = axes_of("sweep", ax)
    lines: list[Any] = []
    crosses = []
    for style, (name, pair) in zip(styles(), mapping_of("results", results).items(), strict=False):
        rates, values = _swept(f"results[{name!r}]", pair)
        shown = np.isfinite(values) & (values > 0)
        lines += ax.plot(rates[shown], values[shown], label=name, **style)
        best = np.argmin(values[shown])
        colour = lines[-1].get_color()
        ax.plot(
            rates[shown][best], values[shown][best], "*", color=colour, markersize=13, zorder=4,
            markeredgecolor=rc("axes.facecolor"), label=f"_best of {name}",
        )  # fmt: skip
        crosses.append((name, rates[~np.isfinite(values)], colour))
    ax.set(xscale="log", yscale="log", xlabel="learning rate", ylabel=ylabel)
    for name, rates, colour in crosses:
        if rates.size:
            top = ax.get_xaxis_transform()
            ax.plot(rates, np.full(rates.size, 0.97), "x", color=colour, transform=top, label=f"_diverged of {name}")
    name_at_the_ends(ax, lines)
    return ax


def _swept(name: str, pair: Any) -> tuple[Array, Array]:
    rates, values = (np.asarray(one, dtype=float) for one in pair) if len(pair) == 2 else (np.empty(0), np.empty(1))
    if rates.ndim != 1 or rates.shape != values.shape or not ((values > 0) & np.isfinite(values)).any():
        raise ValueError(
            f"{name}: must be learning rates and losses, one for each, some of them positive and finite; got shapes "
            f"{rates.shape} and {values.shape}. Pass a pair of arrays."
        )
    order = np.argsort(rates)
    return rates[order], values[order]


def _median(curve: Any) -> tuple[Any, tuple[Array, Array, Array] | None]:
    """Return the median of several seeds, and the band around it: x, lower and upper tenth; None for one seed."""
    x, y = curve if isinstance(curve, tuple) else (None, curve)
    y = np.asarray(y, dtype=float)
    if y.ndim != 2 or len(y) == 0:
        return curve, None
    x = np.arange(1.0, y.shape[1] + 1) if x is None else np.asarray(x, dtype=float)
    low, median, high = np.quantile(y, [0.1, 0.5, 0.9], axis=0)
    return (x, median), (x, low, high)


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


def _markers(x: Array, shift: float) -> list[int]:
    """Choose where markers go: some five, equally far apart on a logarithmic axis, different for each curve."""
    at = np.exp(np.linspace(np.log(x[0]), np.log(x[-1]), 6)[:-1] + shift * np.log(x[-1] / x[0]) / 5)
    return sorted(set(np.searchsorted(x, at).clip(0, len(x) - 1).tolist()))


def _plain_ticks(axis: Any, last: float) -> None:
    """Write 1, 2, 5, 10, ... instead of powers of ten, as long as that is shorter."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if last <= 1000:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
