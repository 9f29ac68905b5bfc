"""Functions of two variables: paths over contours and over the surface, and basins of attraction."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fallline.plot.style import axes_of, mapping_of, rc, styles
from fallline.problems import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]

__all__ = ["basins", "descent", "surface"]


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
    ax = axes_of("descent", ax)
    _check_drawable("descent", problem)
    points = {name: _path(f"paths[{name!r}]", path) for name, path in mapping_of("paths", paths).items()}
    x_range, y_range = bounds or (problem.bounds[0], problem.bounds[1])
    _contours(ax, problem, x_range, y_range)
    for style, (name, path) in zip(styles(), points.items(), strict=False):
        style["markersize"] = 0.55 * style.get("markersize", rc("lines.markersize"))
        every = max(1, len(path) // 150)
        ax.plot(*path.T, label=name, zorder=3, markevery=every, **style)
        ax.plot(*path[0], "o", color=rc("text.color"), markerfacecolor=rc("axes.facecolor"), zorder=4, label="_start")
    for minimum in problem.minima:
        ax.plot(
            *minimum,
            "*",
            color=rc("text.color"),
            markersize=11,
            zorder=5,
            label="_minimum",
            markeredgecolor=rc("axes.facecolor"),
        )
    ax.set(xlim=x_range, ylim=y_range)
    ax.grid(False)
    if len(points) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    return ax


def surface(
    problem: Problem,
    paths: Mapping[str, npt.ArrayLike],
    ax: "Axes | None" = None,
    *,
    bounds: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> "Axes":
    """Draw the paths of optimizers over the surface of a test problem, in three dimensions.

    Parameters
    ----------
    problem, paths, bounds
        As for `descent`; parts of a path outside of the bounds are left out.
    ax : mpl_toolkits.mplot3d.Axes3D, optional
        Where to draw: ``figure.add_subplot(projection="3d")``; by default one of pyplot's current figure.

    Returns
    -------
    mpl_toolkits.mplot3d.Axes3D
        The height is log10(1 + f - minimum), which shows valleys beside mountains.

    Raises
    ------
    TypeError
        If `problem` is no Problem, `paths` no mapping, or `ax` no three-dimensional Axes.
    ValueError
        If a path does not have shape (steps + 1, 2), or the problem not 2 variables.
    ModuleNotFoundError
        If matplotlib is missing.

    Examples
    --------
    >>> from fallline import plot, problems
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().add_subplot(projection="3d")
    >>> ax = plot.surface(problems.beale, {"by hand": [(1, 1), (2, 0.2), (2.9, 0.5)]}, ax)
    >>> [line.get_label() for line in ax.lines]
    ['by hand', '_minimum']
    """
    axes: Any = ax
    if ax is None:
        axes_of("surface", None).remove()  # which says so if matplotlib is missing
        import matplotlib.pyplot as plt

        axes = plt.gcf().add_subplot(projection="3d")
    elif getattr(ax, "name", "") != "3d":
        raise TypeError(
            f'surface: ax must be three-dimensional; got {type(ax).__name__}. Pass figure.add_subplot(projection="3d").'
        )
    _check_drawable("surface", problem)
    points = {name: _path(f"paths[{name!r}]", path) for name, path in mapping_of("paths", paths).items()}
    (x_low, x_high), (y_low, y_high) = bounds or (problem.bounds[0], problem.bounds[1])
    grid = np.stack(np.meshgrid(np.linspace(x_low, x_high, 101), np.linspace(y_low, y_high, 101)))

    def height(place: Any) -> Any:
        return np.log10(1 + np.maximum(problem(place) - problem.minimum, 0))

    axes.plot_surface(*grid, height(grid), cmap=rc("image.cmap"), alpha=0.6, linewidth=0, rcount=101, ccount=101)
    for style, (name, path) in zip(styles(), points.items(), strict=False):
        inside = (path >= [x_low, y_low]).all(axis=1) & (path <= [x_high, y_high]).all(axis=1)
        shown = path[inside]
        style["markersize"] = 0.5 * style.get("markersize", rc("lines.markersize"))
        axes.plot(*shown.T, height(shown.T) + 0.02, label=name, zorder=5, markevery=max(1, len(shown) // 30), **style)
    for minimum in problem.minima:
        axes.plot(*minimum, 0.02, "*", color=rc("text.color"), markersize=11, zorder=6, label="_minimum")
    axes.set(xlabel=problem.variables[0], ylabel=problem.variables[1], zlabel="log₁₀(1 + f − minimum)")
    axes.locator_params("both", nbins=5)  # seen from the side, more numbers run into each other
    if len(points) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.05, 1))
    drawn: Axes = axes
    return drawn


def basins(result: Any, ax: "Axes | None" = None, *, tolerance: float = 1e-2) -> "Axes":
    """Draw which minimum each start of `fallline.multistart` reaches: basins of attraction.

    Parameters
    ----------
    result : Result of `multistart`, in two variables
        x0, x, fun and status are read.
    ax : matplotlib.axes.Axes, optional
        Where to draw; pyplot's current axes by default.
    tolerance : float
        Ends that are this near to each other, relative to the spread of all ends, are one minimum.

    Returns
    -------
    matplotlib.axes.Axes
        A colour and a marker for each minimum, the lowest first, a star where it is; small crosses for starts that
        diverged.

    Raises
    ------
    TypeError
        If `ax` is no Axes.
    ValueError
        If the result is not of several starts in two variables.
    ModuleNotFoundError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> from matplotlib.figure import Figure
    >>> starts = np.random.default_rng(0).uniform(-5, 5, (50, 2))
    >>> found = fl.multistart(fl.compile(fl.problems.himmelblau), starts, lr=0.05)
    >>> ax = fl.plot.basins(found, Figure().add_subplot())
    >>> len([line for line in ax.lines if not line.get_label().startswith("_")])
    4
    """
    ax = axes_of("basins", ax)
    starts, ends = np.asarray(getattr(result, "x0", ())), np.asarray(getattr(result, "x", ()))
    if starts.ndim != 2 or starts.shape != ends.shape or starts.shape[1] != 2:
        raise ValueError(
            f"basins: result must be that of multistart in two variables; got x0 of shape {starts.shape} and x of "
            f"shape {ends.shape}. Pass fl.multistart(g, X0) with X0 of shape (starts, 2)."
        )
    diverged = np.asarray(result.status) == 6
    groups = _alike(ends[~diverged], np.asarray(result.fun)[~diverged], tolerance)
    for style, (value, where, members) in zip(styles(), groups, strict=False):
        here = starts[~diverged][members]
        marker = {"marker": style["marker"], "linestyle": "none", "markersize": 4}
        (points,) = ax.plot(
            *here.T,
            **{**style, **marker},
            label=f"({where[0]:.3g}, {where[1]:.3g}), f = {value:.3g}",
            alpha=0.7,
            zorder=2,
        )
        ax.plot(
            *where, "*", color=points.get_color(), markersize=16, zorder=4, markeredgecolor=rc("text.color"),
            label="_minimum",
        )  # fmt: skip
    if diverged.any():
        ax.plot(*starts[diverged].T, "x", color=rc("text.color"), markersize=4, label="diverged", zorder=1)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, title="reached")
    ax.set(xlabel="start, first coordinate", ylabel="start, second coordinate")
    ax.grid(False)
    return ax


def _alike(ends: Array, values: Array, tolerance: float) -> list[tuple[float, Array, Array]]:
    """Return value, place and members of each group of ends that are near each other, the lowest value first."""
    spread = float(np.ptp(ends, axis=0).max(initial=0.0)) or 1.0
    left = np.argsort(values, kind="stable")
    groups = []
    while left.size:
        first = left[0]
        near = np.abs(ends[left] - ends[first]).max(axis=1) <= tolerance * spread
        groups.append((float(values[first]), ends[first], left[near]))
        left = left[~near]
    return groups


def _check_drawable(caller: str, problem: Any) -> None:
    if not isinstance(problem, Problem):
        raise TypeError(
            f"{caller}: problem must be a Problem; got {type(problem).__name__}. Take one from fallline.problems."
        )
    if problem.dimensions != 2:
        raise ValueError(
            f"{caller}: problem must have 2 variables to be drawn; got {problem.name} with {problem.dimensions}. "
            "Choose another."
        )


def _path(name: str, path: Any) -> Array:
    points = np.asarray(path, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"{name}: must have shape (steps + 1, 2); got {points.shape}. Pass the visited points.")
    return points


def _contours(ax: "Axes", problem: Problem, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
    """Draw contours that are close where the function changes by the same factor, not by the same amount."""
    x, y = np.meshgrid(np.linspace(*x_range, 201), np.linspace(*y_range, 201))
    height = problem((x, y)) - problem.minimum
    low, high = np.quantile(height, [0.0005, 1])
    levels = np.geomspace(max(low, high * 1e-7), high, 14)
    ax.contourf(x, y, height, levels=[-1e-9 * high, *levels], norm="log", alpha=0.5, zorder=0)
    ax.contour(x, y, height, levels=levels, colors=rc("axes.edgecolor"), linewidths=0.5, alpha=0.5, zorder=1)
