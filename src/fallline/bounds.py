"""Between which numbers the entries of a variable stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Bounds"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest value of every entry.

    Attributes
    ----------
    low, high : ndarray, shape (size,)
    is_free : bool
        There are none: all of them are infinite.
    """

    low: Array
    high: Array
    is_free: bool

    def clip(self, values: Array, index: Any = slice(None)) -> Array:
        """Return values of all entries, or those of `index`, moved to the nearest that are allowed."""
        return values if self.is_free else np.clip(values, self.low[index], self.high[index])
