"""Where a gradient is wrong: which block, which slab, which entry, in few directional derivatives.

The residual is linear in the direction: r(v) = E . v, with E numeric less yours. So if one entry is wrong, a direction
and the same direction times a ramp give its index as their ratio; if not, parts of the direction tell the parts of E.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from fallline.readings import Line, Reading
from fallline.site import Site
from fallline.space import Leaf, Space

__all__ = [
    "Entries",
    "all_of_it",
    "along_axes",
    "choose_entries",
    "describe_mask",
    "entries_at_kinks",
    "explained_by",
    "find_few",
    "find_single",
    "measure_entries",
    "scattered",
    "single_entry",
    "wrong_leaves",
]

Array = npt.NDArray[np.float64]

FEW = 24  # entries that are simply all looked at
SMALL = 400  # entries of a block all of which are looked at
SCATTERED = 64  # entries of a larger one, anywhere
LINES, LONGEST = 2, 400  # rows, columns, ... of a larger one, and how many entries of each
AT_KINKS = 12  # entries that are looked at where a direction finds a kink
MOST_PARTS = 24  # parts of a block that are followed by halves
CLEAR, NEARLY = 1e-6, 4.0  # a bound beside yours so small that so many times as much will do for the next entry
NAMED = 16  # blocks that are asked one by one


@dataclass(slots=True)
class Entries:
    """Numerical derivatives by single entries of the flat vector; all arrays of one length.

    Attributes
    ----------
    index : ndarray of int
    numeric, error : ndarray
        The error includes the rounding of yours. At a kink at which yours is between the one-sided derivatives, numeric
        is yours.
    leeway : ndarray
        How far from their mean yours may be at such a kink; 0 elsewhere.
    wrong : ndarray of bool
    """

    index: npt.NDArray[np.intp]
    numeric: Array
    error: Array
    leeway: Array
    wrong: npt.NDArray[np.bool_]

    def only(self, chosen: npt.NDArray[np.bool_]) -> Entries:
        """Return some of them."""
        return Entries(*(getattr(self, part.name)[chosen] for part in fields(self)))

    def joined(self, others: Entries) -> Entries:
        """Return these and others, in order."""
        order = np.argsort(np.concatenate([self.index, others.index]))
        parts = ((getattr(self, part.name), getattr(others, part.name)) for part in fields(self))
        return Entries(*(np.concatenate(pair)[order] for pair in parts))


def find_single(site: Site, reading: Reading) -> Reading | None:
    """Return a reading of the one entry that alone explains the residual of a reading, or None.

    Two more directions are enough: the line weighted by a ramp, whose residual tells the index, and the entry itself.
    """
    line, n = reading.line, len(reading.line.index)
    if n <= FEW:
        return None
    weighted = site.probe.read(site.slope, line.weighted(np.arange(1, n + 1) / n), reading.distance)
    whole, part = float(reading.residual[0]), float(weighted.residual[0])
    where = n * part / whole - 1
    blur = n * float(weighted.bound[0] + reading.bound[0] * min(abs(part / whole), 1)) / abs(whole)
    if not -1 < where < n or not blur < n / 8:
        return None
    guess = min(max(round(where), 0), n - 1)
    alone = site.probe.read(site.slope, line.part(np.array([guess])), reading.distance)
    if _explains(alone, reading):
        return alone
    near = np.arange(max(0, round(where - blur)), min(n - 1, round(where + blur)) + 1)
    if len(near) < 2:
        return None
    inside = site.probe.read(site.slope, line.part(near), reading.distance)
    if not _explains(inside, reading):
        return None
    if len(near) > FEW:
        return find_single(site, inside)  # a ramp over these alone
    each = (site.probe.read(site.slope, line.part(np.array([i])), reading.distance) for i in near if i != guess)
    return next((alone for alone in each if _explains(alone, reading)), None)


def find_few(site: Site, reading: Reading) -> npt.NDArray[np.intp]:
    """Return the entries that may explain the residual of a reading, if they are few among many; else none."""
    if len(reading.line.index) <= SMALL:
        return np.zeros(0, np.intp)
    parts = [reading.line]
    while len(parts[0].index) > 1:
        halves = [half for line in parts for half in _wrong_halves(site, line, reading.distance)]
        if not 0 < len(halves) <= MOST_PARTS:
            return np.zeros(0, np.intp)
        parts = sorted(halves, key=lambda half: -len(half.index))
    return np.sort(np.concatenate([line.index for line in parts]))


def _wrong_halves(site: Site, line: Line, distance: float) -> list[Line]:
    """Return which halves of a line lack something; one of them does."""
    middle = len(line.index) // 2
    if middle == 0:
        return [line]
    left, right = line.part(np.arange(middle)), line.part(np.arange(middle, len(line.index)))
    if site.probe.read(site.slope, left, distance).is_right:
        return [right]
    return [left] if site.probe.read(site.slope, right, distance).is_right else [left, right]


def explained_by(alone: Reading, other: Reading) -> bool:
    """Tell whether what one entry lacks is all that another direction finds."""
    entry = np.searchsorted(other.line.index, alone.line.index[0])
    expected = alone.residual * other.line.units[entry] / alone.line.units[0]
    allowed = other.bound + alone.bound * abs(other.line.units[entry] / alone.line.units[0])
    return bool(np.isfinite(allowed).all() and (np.abs(other.residual - expected) <= allowed).all())


def all_of_it(site: Site, entries: Entries, line: Line, distance: float) -> bool:
    """Tell whether what some entries lack is all that another direction finds."""
    other = site.probe.read(site.slope, line, distance)
    units = np.zeros(site.space.size)
    units[line.index] = line.units
    expected = (entries.numeric - site.gradient[entries.index]) @ units[entries.index]
    allowed = other.bound + entries.error @ np.abs(units[entries.index])
    return bool(np.isfinite(allowed).all() and (np.abs(other.residual - expected) <= allowed).all())


def _explains(part: Reading, whole: Reading) -> bool:
    """Tell whether the residual of a part of a line is all of the line's."""
    allowed = part.bound + whole.bound
    return bool(np.isfinite(allowed).all() and (np.abs(part.residual - whole.residual) <= allowed).all())


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
    """Return the entries of a block to look at: all of a small one, else some anywhere, and lines along every axis."""
    return np.union1d(scattered(leaf, rng), along_axes(leaf, rng))


def scattered(leaf: Leaf, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return all entries of a small block, some of a larger one."""
    if leaf.size <= SMALL:
        return np.arange(leaf.start, leaf.stop)
    return leaf.start + np.sort(rng.choice(leaf.size, SCATTERED, replace=False))


def along_axes(leaf: Leaf, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return the entries on some lines along every axis of a block that is not small."""
    chosen = [np.zeros(0, np.intp)]
    places = np.arange(leaf.start, leaf.stop).reshape(leaf.shape)
    for axis, n in enumerate(leaf.shape if leaf.size > SMALL else ()):
        for _ in range(LINES):
            corner: list[int | slice] = [int(rng.integers(m)) for m in leaf.shape]
            start = int(rng.integers(n - min(n, LONGEST) + 1))
            corner[axis] = slice(start, start + LONGEST)
            chosen.append(places[tuple(corner)])
    return np.unique(np.concatenate(chosen))


def entries_at_kinks(space: Space, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return some entries that a kink may be at: whole numbers first."""
    order = rng.permutation(space.size)
    order = order[np.argsort(space.flat[order] != np.round(space.flat[order]), kind="stable")]
    return np.sort(order[:AT_KINKS])


def measure_entries(site: Site, index: npt.NDArray[np.intp], suspected: bool = False) -> Entries:
    """Differentiate by single entries, each at a distance that suits it; some of them are known to be wrong, or not."""
    n, first = len(index), (site.probe.distance, site.probe.target)
    entries = Entries(index, np.empty(n), np.empty(n), np.zeros(n), np.zeros(n, bool))
    for k, entry in enumerate(index):
        scale = site.scales[entry]
        judgement = site.probe.judge(site.slope, Line(np.array([entry]), np.array([scale])), suspected)
        reading = judgement.reading
        entries.wrong[k] = judgement.finding in ("wrong", "wrong at kink")
        is_kink = judgement.finding == "kink"
        entries.leeway[k] = reading.leeway[0] / scale if is_kink else 0.0
        entries.numeric[k] = site.gradient[entry] if is_kink else reading.numeric[0] / scale
        entries.error[k] = reading.bound[0] / scale
        if suspected and reading.quality < CLEAR:  # the next will be much like it
            site.probe.distance, site.probe.target = reading.distance, max(first[1], NEARLY * reading.quality)
    site.probe.distance, site.probe.target = first
    return entries


def single_entry(site: Site, alone: Reading) -> Entries:
    """Return what a reading of one entry says, which is known to be wrong."""
    index, scale = alone.line.index, alone.line.units
    numeric, error = site.gradient[index] + alone.residual / scale, alone.bound / np.abs(scale)
    return Entries(index, numeric, error, np.zeros(1), np.ones(1, bool))


def describe_mask(wrong: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]) -> str:
    """Say in words where a block is wrong: "row 3", "columns 0 and 2", "everywhere", "12 of 20 entries"."""
    if not wrong.any():
        return "spread, in no single entry" if known.all() else f"in none of the {known.sum()} entries looked at"
    places = np.argwhere(wrong)
    everywhere = (wrong == known).all()
    if len(places) == 1 < wrong.size and (everywhere or known.all()):
        return f"entry {_index(places[0])}"
    if everywhere and known.all():
        return "everywhere"
    if everywhere:
        few = len(places) < SCATTERED  # found by halves: the others are right
        return f"{len(places)} of {wrong.size} entries" if few else f"in all {len(places)} entries looked at"
    names = ("row", "column") if wrong.ndim == 2 else tuple(f"axis {axis}, index" for axis in range(wrong.ndim))
    for axis in range(wrong.ndim if wrong.ndim > 1 and len(places) > 1 else 0):
        indices = np.unique(places[:, axis])
        if len(indices) <= 3 < wrong.shape[axis] or len(indices) == 1 < wrong.shape[axis]:
            listed = " and ".join(map(str, indices))
            return f"{names[axis]}{'s' if len(indices) > 1 and wrong.ndim == 2 else ''} {listed}"
    return f"{len(places)} of {known.sum()} entries" + ("" if known.all() else " looked at")


def _index(place: npt.NDArray[np.intp]) -> str:
    return f"[{', '.join(map(str, place))}]"
