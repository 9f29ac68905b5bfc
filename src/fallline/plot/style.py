"""What all pictures share: colours, line styles, and the checks of their arguments."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]

__all__ = ["STYLE", "axes_of", "mapping_of", "name_at_the_ends", "rc", "styles"]

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


def axes_of(caller: str, ax: "Axes | None") -> "Axes":
    """Return the axes to draw into, or raise."""
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


def mapping_of(name: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a mapping of names that is not empty, or raise."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: must be a mapping of names; got {type(value).__name__}. Pass a dict.")
    if not value:
        raise ValueError(f"{name}: must hold at least one entry; got none. Pass a dict of names and data.")
    return value


def rc(name: str) -> Any:
    """Return one of the reader's settings."""
    import matplotlib

    settings: Any = matplotlib.rcParams
    return settings[name]


def styles() -> Iterator[dict[str, Any]]:
    """Yield the reader's property cycle without end, with line styles and markers where it has none."""
    cycle = list(rc("axes.prop_cycle"))
    for i in count():
        yield {"linestyle": _LINESTYLES[i % 5], "marker": _MARKERS[i % 7], **cycle[i % len(cycle)]}


def name_at_the_ends(ax: "Axes", lines: list[Any]) -> None:
    """Write each line's label right of the axes, level with the line's end as far as labels do not overlap."""
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines]
    ax.autoscale_view()  # otherwise done when drawing, and transData would still be that of empty axes
    place = ax.transAxes.inverted()
    level = np.array([place.transform(ax.transData.transform(end))[1] for end in ends])
    width, height = ax.bbox.width, ax.bbox.height
    points = ax.figure.dpi / 72
    size = rc("font.size") * 0.9
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
