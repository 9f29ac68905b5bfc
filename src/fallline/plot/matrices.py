"""Matrices: where a gradient is wrong."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fallline.plot.style import axes_of, rc

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["gradient_errors"]

_LEAST = 1e-12  # relative: below it, errors are rounding, and drawn as none
_WRONG = 1e-4  # relative: such entries are marked


def gradient_errors(
    yours: npt.ArrayLike, numeric: npt.ArrayLike, ax: "Axes | None" = None, *, wrong: float = _WRONG
) -> "Axes":
    """Draw how far a gradient of a weight matrix is from the numerical one, entry by entry.

    Parameters
    ----------
    yours, numeric : array_like, shape (rows, columns)
        Your gradient, and `fallline.gradient`. A vector is drawn as one row.
    ax : matplotlib.axes.Axes, optional
        Where to draw; pyplot's current axes by default.
    wrong : float
        Entries whose error is more than this part of the largest entry get a cross, so that they are seen in grey, too.

    Returns
    -------
    matplotlib.axes.Axes
        Shades are powers of ten of the error relative to the largest entry of the numerical gradient.

    Raises
    ------
    TypeError
        If `ax` is no Axes.
    ValueError
        If the shapes differ, or there are more than two axes, or nothing to draw.
    ModuleNotFoundError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from fallline import plot
    >>> from matplotlib.figure import Figure
    >>> right = np.ones((3, 4))
    >>> wrong = right + np.diag([1, 0, 0], 1)[:3, :4]
    >>> ax = plot.gradient_errors(wrong, right, Figure().add_subplot())
    >>> len(ax.images), len(ax.lines)
    (1, 1)
    """
    ax = axes_of("gradient_errors", ax)
    a, b = np.asarray(yours, dtype=float), np.asarray(numeric, dtype=float)
    if a.shape != b.shape or a.ndim > 2 or a.size == 0:
        raise ValueError(
            f"gradient_errors: yours and numeric must be matrices of one shape; got shapes {a.shape} and {b.shape}. "
            "Pass one array of the parameters at a time."
        )
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    largest = float(np.abs(b).max()) or 1.0
    error = np.nan_to_num(np.abs(a - b) / largest, nan=np.inf, posinf=np.inf)
    shades = np.log10(np.clip(error, _LEAST, 10.0))
    image: Any = ax.imshow(shades, vmin=np.log10(_LEAST), vmax=1, aspect="auto", interpolation="nearest")
    rows, columns = np.nonzero(error > wrong)
    ax.plot(columns, rows, "x", color=rc("text.color"), markersize=5, linestyle="none", label="wrong")
    ax.locator_params(integer=True)
    ax.set(xlabel="column", ylabel="row")
    ax.grid(False)
    bar = ax.figure.colorbar(image, ax=ax)
    bar.set_label("log₁₀ of the error / largest entry")
    return ax
