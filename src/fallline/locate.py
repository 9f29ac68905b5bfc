"""Where a gradient is wrong: which block, which slab, which entry, in few directional derivatives.

The residual is linear in the direction: r(v) = E . v, with E numeric less yours. So if one entry is wrong, a direction and the
same direction times a ramp give its index as their ratio; and if not, parts of the direction tell the parts of E.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fallline.probes import Line, MatrixSlope, Probe, Reading
from fallline.space import Leaf, Space

__all__ = ["Entries", "Site", "choose_entries", "describe_mask", "find_single", "measure_entries", "wrong_leaves"]

Array = npt.NDArray[np.float64]

FEW = 24  # entries that are simply all looked at
WIDEST = 3.0  # entries about the index that two directions tell, of which one may be it
SAMPLED = 400  # entries of a large block
LINES = 3  # whole rows, columns, ... of a large block
NAMED = 16  # blocks that are asked one by one


@dataclass(slots=True)
class Site:
    """A point at which the gradient is compared.

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
        """Return the structure of x."""
        return self.probe.space


@dataclass(slots=True)
class Entries:
    """Numerical derivatives by single entries of the flat vector; all arrays of one length.

    Attributes
    ----------
    index : ndarray of int
    numeric, error : ndarray
        The error includes the rounding of yours. At a kink at which yours is between the one-sided derivatives, numeric is
        yours.
    at_kink, wrong : ndarray of bool
    """

    index: npt.NDArray[np.intp]
    numeric: Array
    error: Array
    at_kink: npt.NDArray[np.bool_]
    wrong: npt.NDArray[np.bool_]


def find_single(site: Site, reading: Reading) -> int | None:
    """Return the entry that alone explains the residual of a reading, or None.

    Two more directions are enough: the line weighted by a ramp, and the entry itself, to be sure.
    """
    line, n = reading.line, len(reading.line.index)
    if n <= FEW:
        return None
    ramp = np.arange(1, n + 1) / n
    weighted = site.probe.read(site.slope, line.weighted(ramp), reading.distance)
    whole, part = float(reading.residual[0]), float(weighted.residual[0])
    where = n * part / whole - 1
    blur = n * float(weighted.bound[0] + reading.bound[0] * min(abs(part / whole), 1)) / abs(whole)
    if not -1 < where < n or blur > n / 8:
        return None
    candidates = np.arange(max(0, round(where - blur)), min(n - 1, round(where + blur)) + 1)
    if len(candidates) > WIDEST:  # too many: once more, with a ramp over these alone
        inside = site.probe.read(site.slope, line.part(candidates), reading.distance)
        return find_single(site, inside) if _explains(inside, reading) and len(candidates) < n / 2 else None
    for candidate in sorted(candidates, key=lambda i: abs(i - where)):
        alone = site.probe.read(site.slope, line.part(np.array([candidate])), reading.distance)
        if _explains(alone, reading):
            return int(line.index[candidate])
    return None


def _explains(part: Reading, whole: Reading) -> bool:
    """Tell whether the residual of a part of a line is all of the line's."""
    return bool((np.abs(part.residual - whole.residual) <= part.bound + whole.bound).all())


def wrong_leaves(site: Site, line: Line) -> list[tuple[Leaf, str, Reading]]:
    """Return the blocks with what a direction that moves only them says, where that is not "right".

    Many blocks are asked by halves.
    """
    starts = np.searchsorted(line.index, [leaf.start for leaf in site.space.leaves])
    stops = np.searchsorted(line.index, [leaf.stop for leaf in site.space.leaves])
    found: list[tuple[Leaf, str, Reading]] = []

    def ask(first: int, last: int) -> None:
        part = np.arange(starts[first], stops[last - 1])
        if len(part) == 0:
            return
        judgement = site.probe.judge(site.slope, line.part(part))
        if judgement.finding in ("right", "kink"):
            return
        if last - first == 1:
            found.append((site.space.leaves[first], judgement.finding, judgement.reading))
            return
        split(first, last)

    def split(first: int, last: int) -> None:
        parts = range(first, last) if last - first <= NAMED else (first, (first + last) // 2)
        for start, stop in itertools.pairwise([*parts, last]):
            ask(start, stop)

    split(0, len(site.space.leaves))
    return found


def choose_entries(leaf: Leaf, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return the entries of a block to look at: all of a small one; some whole lines along every axis, and others, else."""
    if leaf.size <= 4 * SAMPLED:
        return np.arange(leaf.start, leaf.stop)
    chosen = [rng.choice(leaf.size, SAMPLED, replace=False)]
    shape = leaf.shape
    places = np.arange(leaf.size).reshape(shape)
    for axis in range(len(shape)):
        for _ in range(LINES):
            corner: list[int | slice] = [int(rng.integers(n)) for n in shape]
            length = min(shape[axis], SAMPLED)
            start = int(rng.integers(shape[axis] - length + 1))
            corner[axis] = slice(start, start + length)
            chosen.append(places[tuple(corner)])
    return leaf.start + np.unique(np.concatenate(chosen))


def measure_entries(site: Site, index: npt.NDArray[np.intp]) -> Entries:
    """Differentiate by single entries, each at a distance that suits it."""
    n = len(index)
    entries = Entries(index, np.empty(n), np.empty(n), np.zeros(n, bool), np.zeros(n, bool))
    for k, entry in enumerate(index):
        scale = site.scales[entry]
        line = Line(np.array([entry]), np.array([scale]))
        judgement = site.probe.judge(site.slope, line)
        reading = judgement.reading
        entries.wrong[k] = judgement.finding in ("wrong", "wrong at kink")
        entries.at_kink[k] = judgement.finding == "kink"
        entries.numeric[k] = site.gradient[entry] if entries.at_kink[k] else reading.numeric[0] / scale
        entries.error[k] = reading.bound[0] / scale
    return entries


def describe_mask(wrong: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]) -> str:
    """Say in words where a block is wrong: "row 3", "columns 0 and 2", "everywhere", "12 of 20 entries"."""
    if not wrong.any():
        return "spread, in no single entry"
    places = np.argwhere(wrong)
    if len(places) == 1 and wrong.size > 1:
        return f"entry {_index(places[0])}"
    if (wrong == known).all():
        return "everywhere" if known.all() else f"in all {known.sum()} entries looked at"
    names = ("row", "column") if wrong.ndim == 2 else tuple(f"axis {axis}, index" for axis in range(wrong.ndim))
    for axis in range(wrong.ndim if wrong.ndim > 1 else 0):
        indices = np.unique(places[:, axis])
        if len(indices) <= 3 < wrong.shape[axis] or len(indices) == 1 < wrong.shape[axis]:
            listed = " and ".join(map(str, indices))
            return f"{names[axis]}{'s' if len(indices) > 1 and wrong.ndim == 2 else ''} {listed}"
    return f"{len(places)} of {known.sum()} entries" + ("" if known.all() else " looked at")


def _index(place: npt.NDArray[np.intp]) -> str:
    return f"[{', '.join(map(str, place))}]"
