"""Memory for the states of all tensors: one allocation for each precision, from which pieces are cut."""

from collections.abc import Iterable
from typing import Any

import numpy as np

LINE = 64  # bytes; every piece begins on a cache line


def real_of(array: np.ndarray) -> Any:
    """Return the precision that a parameter is stepped in."""
    return np.float64 if array.dtype == np.float64 else np.float32


class Shelf:
    """Zeros to be taken in pieces.

    Parameters
    ----------
    wanted : iterable of (array, int)
        Every parameter, and how many arrays of its size it needs.
    """

    def __init__(self, wanted: Iterable[tuple[np.ndarray, int]]) -> None:
        sizes = {np.float32: 0, np.float64: 0}
        for array, n in wanted:
            real = real_of(array)
            sizes[real] += n * self._padded(array, real)
        self.arrays = {real: np.zeros(size + LINE, real) for real, size in sizes.items() if size > 0}
        self._next = {real: -(array.ctypes.data % -LINE) // array.itemsize for real, array in self.arrays.items()}

    @staticmethod
    def _padded(array: np.ndarray, real: Any) -> int:
        line = LINE // int(np.dtype(real).itemsize)
        return -(-max(array.size, 1) // line) * line

    def take(self, array: np.ndarray, n: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return n pieces for a parameter, flat and in the parameter's shape and order."""
        real = real_of(array)
        flat = []
        for _ in range(n):
            start = self._next[real]
            flat.append(self.arrays[real][start : start + array.size])
            self._next[real] = start + self._padded(array, real)
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        shaped = [one.reshape(array.shape[::-1]).T if fortran else one.reshape(array.shape) for one in flat]
        return flat, shaped
