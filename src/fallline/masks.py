"""Points that hide mistakes: what is 0 or 1 or all equal there, and which shapes would let a transpose pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fallline.space import Leaf, Space

__all__ = ["is_uniform", "notes"]


def notes(space: Space, args: tuple[Any, ...]) -> list[str]:
    """Say what about x and the arguments may let a wrong gradient pass."""
    found = []
    for leaf in space.leaves:
        found += [f"{space.label(leaf)} is {text}" for text in _about(leaf, space.flat[leaf.part])]
    for i, arg in enumerate(args):
        if isinstance(arg, np.ndarray) and arg.ndim > 1 and len(arg) == 1:
            found.append(f"args[{i}] has one row: mistakes in sums and means over rows cannot show")
    return found


def _about(leaf: Leaf, values: Any) -> Iterator[str]:
    if _is_uniform(values):
        if values[0] == 0:
            yield "0: mistakes in what it multiplies, or in its decay, cannot show here"
        elif values[0] == 1:
            yield "1: a factor of it that is missing cannot show here"
        elif leaf.size > 1:
            yield "the same in all entries: a wrong order of them may not show here"
    if len(leaf.shape) == 2 and leaf.shape[0] == leaf.shape[1] > 1:
        yield "square: with a transpose missing or extra, all shapes are right"


def is_uniform(space: Space) -> bool:
    """Tell whether an array is 0, or 1, or the same everywhere, so that a point nearby may show more."""
    arrays = [space.flat[leaf.part] for leaf in space.leaves]
    return any(_is_uniform(values) and (len(values) > 1 or values[0] in (0, 1)) for values in arrays)


def _is_uniform(values: Any) -> bool:
    """Tell whether all of some numbers are the same; most are told by the first and the last."""
    if len(values) <= 1:
        return len(values) == 1
    return values[0] == values[-1] and bool((values == values[0]).all())
