"""Points that hide mistakes: what is 0 or 1 or all equal there, and which shapes would let a transpose pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from fallline import _core
from fallline.causes.evidence import listed
from fallline.space import Leaf, Space

__all__ = ["each_of", "is_uniform", "notes"]

NAMED = 4
SQUARE = "square: with a transpose missing or extra, all shapes are right"


def notes(space: Space, args: tuple[Any, ...]) -> list[str]:
    """Say what about x and the arguments may let a wrong gradient pass."""
    names: dict[str, list[str]] = {}  # of the arrays that a text is true of
    uniform = set(_core.uniform(space.leaves, space.flat))
    for leaf in space.leaves:
        if leaf in uniform and (text := _about(leaf, space.flat[leaf.start])):
            names.setdefault(text, []).append(space.label(leaf))
        if len(leaf.shape) == 2 and leaf.shape[0] == leaf.shape[1] > 1:
            names.setdefault(SQUARE, []).append(space.label(leaf))
    found = [f"{each_of(those)} is {text}" for text, those in names.items()]
    for i, arg in enumerate(args):
        if isinstance(arg, np.ndarray) and arg.ndim > 1 and len(arg) == 1:
            found.append(f"args[{i}] has one row: mistakes in sums and means over rows cannot show")
    return found


def each_of(names: list[str]) -> str:
    """Return a name, or several as the subject of a sentence, of which a reader sees the first."""
    if len(names) == 1:
        return names[0]
    shown, more = names[:NAMED], len(names) - NAMED
    return f"each of {', '.join(shown)} and {more} more" if more > 0 else f"each of {listed(shown)}"


def _about(leaf: Leaf, value: float) -> str:
    """Say what hides where all entries of a leaf are the same; nothing, if one entry is not 0 or 1."""
    if value == 0:
        return "0: mistakes in what it multiplies, or in its decay, cannot show here"
    if value == 1:
        return "1: a factor of it that is missing cannot show here"
    return "the same in all entries: a wrong order of them may not show here" if leaf.size > 1 else ""


def is_uniform(space: Space) -> bool:
    """Tell whether an array is 0, or 1, or the same everywhere, so that a point nearby may show more."""
    uniform = _core.uniform(space.leaves, space.flat)
    return any(_about(leaf, space.flat[leaf.start]) for leaf in uniform)
