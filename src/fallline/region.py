"""Where x may be: bounds as SciPy writes them, or a projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Region"]

Array = npt.NDArray[np.float64]


class Region:
    """What keeps x where it may be.

    Parameters
    ----------
    owner : str
        Begins the messages.
    x : ndarray of float64
        The start, which must be inside the bounds.
    bounds : sequence of (low, high), or an object with lb and ub, or None
        None for one end: no bound there.
    projection : callable or None
        x -> the nearest allowed point.

    Attributes
    ----------
    box : (low, high) or None
        Flat.
    """

    def __init__(self, owner: str, x: Array, bounds: Any, projection: Any) -> None:
        if bounds is not None and projection is not None:
            raise ValueError(
                f"{owner}: must be given bounds or a projection; got both. Clip to the bounds in the projection."
            )
        if projection is not None and not callable(projection):
            raise TypeError(
                f"{owner}(projection): must be callable; got {type(projection).__name__}. Pass a function that returns "
                "the nearest allowed point."
            )
        self.owner, self.shape, self.projection = owner, x.shape, projection
        self.box = None if bounds is None else _box(owner, x, bounds)

    @property
    def native(self) -> tuple[Array, Array] | Callable[[Array], Array] | None:
        """What a `Descent` takes."""
        return self.project if self.projection is not None else self.box

    @property
    def is_everywhere(self) -> bool:
        """Whether there is nothing to keep to."""
        return self.box is None and self.projection is None

    def project(self, flat: Array) -> Array:
        """Return the nearest allowed point."""
        if self.box is not None:
            return np.clip(flat, *self.box)
        if self.projection is None:
            return flat
        moved = np.asarray(self.projection(flat.reshape(self.shape)), dtype=np.float64)
        if moved.shape != self.shape:
            raise ValueError(
                f"{self.owner}(projection): must return a point of x's shape {self.shape}; got shape {moved.shape}. "
                "Return the nearest allowed point."
            )
        return np.ascontiguousarray(moved).reshape(-1)


def _box(owner: str, x: Array, bounds: Any) -> tuple[Array, Array]:
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        low, high = bounds.lb, bounds.ub
    else:
        low, high = _ends(owner, x, bounds)
    try:
        low, high = (
            np.array(np.broadcast_to(np.asarray(end, dtype=np.float64), x.shape)).reshape(-1) for end in (low, high)
        )
    except ValueError:
        raise ValueError(
            f"{owner}(bounds): must have a low and a high end for each of {x.size} entries; got shapes {np.shape(low)} "
            f"and {np.shape(high)}. Pass one pair (low, high) for each entry of x."
        ) from None
    flat = x.reshape(-1)
    for i in np.flatnonzero(~(low <= high))[:1]:
        raise ValueError(f"{owner}(bounds): must have low <= high; got ({low[i]}, {high[i]}) at entry {i}. Swap them.")
    for i in np.flatnonzero((flat < low) | (flat > high))[:1]:
        raise ValueError(
            f"{owner}(x0): must be within the bounds; got {flat[i]} at entry {i}, outside of [{low[i]}, {high[i]}]. "
            "Move it, or widen the bounds."
        )
    return low, high


def _ends(owner: str, x: Array, bounds: Sequence[Any]) -> tuple[Any, Any]:
    try:
        pairs = [(-np.inf if low is None else low, np.inf if high is None else high) for low, high in bounds]
        low, high = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    except (TypeError, ValueError):
        raise TypeError(
            f"{owner}(bounds): must be pairs (low, high), one for each entry of x, or have lb and ub; got "
            f"{bounds!r:.80}. Write None where there is no bound."
        ) from None
    return (low.reshape(x.shape), high.reshape(x.shape)) if low.size == x.size else (low, high)
