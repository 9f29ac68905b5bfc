"""A point at which yours is compared with f, and directions through it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.bounds import Bounds
from fallline.probes import Probe
from fallline.readings import Line, MatrixSlope
from fallline.space import Space

__all__ = ["Site", "nearby", "random_line", "usual_scales"]

Array = npt.NDArray[Any]

SMALL = 8.0  # an entry counts as at least the median magnitude of its block over this
NEAR = 2.0**-8  # so near to a bound, relative to the scale, directions go away from it
UNSEEN = 1e3  # noise times this hides a block


@dataclass(slots=True)
class Site:
    """A point at which a gradient is compared.

    Attributes
    ----------
    probe : Probe
    slope : MatrixSlope
        Yours there.
    scales : ndarray, shape (size,)
        How far an entry moves per unit of t.
    gradient : ndarray, shape (size,)
    """

    probe: Probe
    slope: MatrixSlope
    scales: Array
    gradient: Array

    @property
    def space(self) -> Space:
        """Return the structure of x, at this point."""
        return self.probe.space

    def line(self, rng: np.random.Generator) -> Line:
        """Return a random direction."""
        return random_line(self.space, self.scales, self.probe.bounds, rng)

    def fair_line(self, rng: np.random.Generator) -> Line:
        """Return a random direction to which all blocks contribute alike, as far as noise lets the least be seen."""
        line = self.line(rng)
        parts = _core.norms(self.space.leaves, self.gradient * self.scales)
        visible = max(self.probe.noise.tolist()) / self.probe.distance * UNSEEN
        least = max(min((part for part in parts if part > 0), default=math.inf), min(visible, max(parts)))
        units = line.units
        for leaf, part in zip(self.space.leaves, parts, strict=True):
            if part > least:
                units[leaf.part] *= least / part
        return line


def usual_scales(space: Space) -> Array:
    """Return how far every entry moves: its magnitude, or what is usual in its block, or in the others."""
    return _core.usual_scales(space.leaves, space.flat, SMALL)


def random_line(space: Space, scales: Array, bounds: Bounds, rng: np.random.Generator) -> Line:
    """Return a random direction into the bounds, in which no entry moves so little that it would be overlooked.

    All move by 1/2 to 3/2 of their scales: no two errors cancel for certain.
    """
    units = _core.random_units(rng.random(space.size), scales)
    if bounds.is_free:
        return Line(space.index, units, is_whole=True)
    below, above = space.flat - bounds.low, bounds.high - space.flat
    inward = np.where(np.minimum(below, above) < NEAR * scales, np.where(below < above, 1.0, -1.0), 0.0)
    units = np.where(inward != 0, inward * np.abs(units), units)
    units[bounds.low == bounds.high] = 0.0
    return Line(space.index, units, is_whole=True)


def nearby(space: Space, distances: Array, bounds: Bounds, rng: np.random.Generator) -> Array:
    """Return a random point at about these distances, within the bounds."""
    return bounds.clip(space.flat + _core.random_units(rng.random(space.size), distances))
