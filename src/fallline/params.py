"""Which arrays can be parameters: NumPy arrays of a floating dtype that can be written, each in memory of its own."""

from typing import Any

import numpy as np

from fallline import _core


def check_params(named: list[tuple[str, Any]]) -> None:
    """Raise unless all arrays can be parameters of one optimizer.

    Parameters
    ----------
    named : list of (str, object)
        The leaves of the parameter tree.
    """
    seen = set()
    for name, array in named:
        _check_param(name, array)
        if name in seen:
            raise ValueError(
                f"params[{name!r}]: must have a name of its own; got two arrays of that name (keys are joined by '/'). "
                f"Rename a key."
            )
        seen.add(name)
    both = _overlapping(named)
    if both:
        raise ValueError(
            f"params[{both[1]!r}]: must not share memory with another parameter; got an array that overlaps "
            f"params[{both[0]!r}]. Pass a shared array once, or copy it."
        )


def _check_param(name: str, array: Any) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"params[{name!r}]: must be a NumPy array; got {type(array).__name__}. "
            f"Convert it once (numpy.asarray), and use that array from then on: it is updated in place."
        )
    if not _core.is_supported(array.dtype):
        raise TypeError(
            f"params[{name!r}]: must be float32, float64, float16 or bfloat16, in native byte order; got "
            f"{array.dtype}. Convert it, for example with .astype(numpy.float32)."
        )
    if not array.flags.writeable:
        raise ValueError(
            f"params[{name!r}]: must be writeable, because it is updated in place; got a read-only array. Pass a copy."
        )
    if not _has_a_place_for_each(array):
        raise ValueError(
            f"params[{name!r}]: must have one place in memory for every element; got a view with shape {array.shape} "
            f"and strides {array.strides}. Pass a copy."
        )


def _has_a_place_for_each(array: np.ndarray) -> bool:
    """Return whether, from the smallest stride up, each axis steps over all that the axes before it reach."""
    reach = array.itemsize
    for stride, n in sorted((abs(stride), n) for stride, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < reach:
            return array.size == 0
        reach += stride * (n - 1)
    return True


def _overlapping(arrays: list[tuple[str, np.ndarray]]) -> tuple[str, str] | None:
    """Return the names of two arrays that share memory, or None. Sorts by address, so that few pairs are looked at."""
    spans = sorted((*np.lib.array_utils.byte_bounds(array), name, array) for name, array in arrays if array.size)
    reach: list[tuple[int, str, np.ndarray]] = []
    for low, high, name, array in spans:
        reach = [other for other in reach if other[0] > low]
        for _, other_name, other in reach:
            if np.shares_memory(array, other):
                return other_name, name
        reach.append((high, name, array))
    return None
