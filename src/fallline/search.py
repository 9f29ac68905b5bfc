"""From a direction that disagrees to blocks, entries and causes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.causes import Block, Cause, find_causes
from fallline.locate import (
    SCATTERED,
    SMALL,
    Entries,
    all_of_it,
    along_axes,
    choose_entries,
    describe_mask,
    explained_by,
    find_few,
    find_single,
    measure_entries,
    scattered,
    single_entry,
    wrong_leaves,
)
from fallline.preflight import Calls, cause
from fallline.readings import Reading
from fallline.report import BlockReport, EntryReport
from fallline.setting import describe
from fallline.site import Site
from fallline.space import Leaf

__all__ = ["Found", "Search"]

Array = npt.NDArray[Any]

WORST_SHOWN = 10
EVIDENCE = 12  # entries of a right block that are looked at when another one is wrong
SINGLE_ERROR = 1e-4  # what single precision may do to a gradient


@dataclass(slots=True)
class Found:
    """What a search found: reports of blocks by name, the worst entries, causes; or that there are only kinks."""

    blocks: dict[str, BlockReport] = field(default_factory=dict)
    worst: list[EntryReport] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    only_kinks: bool = False


class Search:
    """Look for what is wrong at a site.

    Parameters
    ----------
    site : Site
    calls : Calls
        f, df and their arguments, for what they tell of sizes and coefficients.
    rng : numpy.random.Generator
    """

    def __init__(self, site: Site, calls: Calls, rng: np.random.Generator) -> None:
        self.site, self.space, self.calls, self.rng = site, site.space, calls, rng
        self.entries: dict[str, Entries] = {}  # by the name of their block
        self.unmoved: list[Cause] = []  # for blocks that f does not depend on
        self.found = Found()

    def all(self) -> Found:
        """Look at every entry."""
        return self._look_at([np.arange(leaf.start, leaf.stop) for leaf in self.space.leaves])

    def _look_at(self, chosen: list[npt.NDArray[np.intp]]) -> Found:
        """Look at some entries of every block."""
        for leaf, index in zip(self.space.leaves, chosen, strict=True):
            self.entries[leaf.name] = measure_entries(self.site, index)
            self._describe(leaf, is_wrong=bool(self.entries[leaf.name].wrong.any()))
        return self._finish()

    def by_halves(self, reading: Reading) -> Found:
        """Look where a reading points: at one entry if it explains everything, else at the blocks that are wrong."""
        alone = find_single(self.site, reading)
        if alone is not None and self._nothing_else(alone):
            leaf = self.space.leaf_of(int(alone.line.index[0]))
            self.entries[leaf.name] = single_entry(self.site, alone)
            self._describe(leaf)
            return self._finish()
        for leaf, finding, part in wrong_leaves(self.site, reading.line):
            self.entries[leaf.name] = self._measure(leaf, part)
            if finding == "unclear" and not self.entries[leaf.name].wrong.any():
                continue  # kinks or noise, along that direction
            self._describe(leaf)
            if part.constant:
                text = f"f does not change at all when {self.space.label(leaf)} does, and g there is not 0"
                self.unmoved.append(cause(42, f"{text}: f casts it to integers, or ignores it.", leaf.name))
        if not self.found.blocks:  # at kinks, directions may be right where entries are not
            return self._look_at([choose_entries(leaf, self.rng) for leaf in self.space.leaves])
        for leaf in self.space.leaves:  # what is right is evidence, too
            if leaf.name not in self.entries and leaf.size:
                few = self.rng.choice(np.arange(leaf.start, leaf.stop), min(leaf.size, EVIDENCE), replace=False)
                self.entries[leaf.name] = measure_entries(self.site, few)
        return self._finish()

    def is_kinks_alone(self, reading: Reading) -> bool:
        """Tell whether no entry is wrong, and kinks at some allow for all that a direction lacks."""
        if any(entries.wrong.any() for entries in self.entries.values()):
            return False
        units = np.zeros(self.space.size)
        units[reading.line.index] = np.abs(reading.line.units)
        leeway = sum(float(entries.leeway @ units[entries.index]) for entries in self.entries.values())
        return abs(float(reading.residual[0])) <= leeway + float(reading.bound[0])

    def _measure(self, leaf: Leaf, reading: Reading) -> Entries:
        """Differentiate by the entries of a block that lack all that it lacks, if they are few, else by a sample."""
        few = find_few(self.site, reading)
        if len(few):
            entries = measure_entries(self.site, few)
            line = self.site.line(self.rng).part(np.arange(leaf.start, leaf.stop))
            if all_of_it(self.site, entries, line, reading.distance):
                return entries.only(entries.wrong)
        entries = measure_entries(self.site, scattered(leaf, self.rng), suspected=True)
        return entries if entries.wrong.all() else self._along_axes(leaf, entries)

    def _along_axes(self, leaf: Leaf, entries: Entries) -> Entries:
        """Look at further entries of a large block, on lines, where those that are scattered leave questions."""
        more = np.setdiff1d(along_axes(leaf, self.rng), entries.index)
        return entries.joined(measure_entries(self.site, more, suspected=True)) if len(more) else entries

    def _nothing_else(self, alone: Reading) -> bool:
        """Tell whether another direction, too, lacks no more than this entry does."""
        other = self.site.probe.read(self.site.slope, self.site.line(self.rng), alone.distance)
        return explained_by(alone, other)

    def _finish(self) -> Found:
        precision = self._single_precision()
        if precision is not None:
            self.found.causes.append(precision)
        elif self.found.blocks:
            fitting = self._causes() or (self._causes() if self._look_further() else [])
            wrong = sum(block.verdict == "wrong" for block in self.found.blocks.values())
            explains_all = len(self.unmoved) == wrong
            self.found.causes = [*self.unmoved, *fitting] if explains_all else [*fitting, *self.unmoved]
        self._list_worst()
        return self.found

    def _causes(self) -> list[Cause]:
        value = float(self.site.probe.value[0])
        setting = describe(self.calls.f, self.calls.df, self.calls.args, self.space, value)
        return find_causes([self._block(leaf) for leaf in self.space.leaves], setting)

    def _look_further(self) -> bool:
        """Look along the axes of large blocks that are wrong wherever they were looked at, if there are any."""
        blocks = [leaf for leaf in self.space.leaves if leaf.size > SMALL and leaf.name in self.found.blocks]
        blocks = [leaf for leaf in blocks if len(self.entries[leaf.name].index) == SCATTERED]
        for leaf in blocks:
            self.entries[leaf.name] = self._along_axes(leaf, self.entries[leaf.name])
            self._describe(leaf)
        return len(blocks) > 0

    # Blocks and entries

    def _describe(self, leaf: Leaf, is_wrong: bool = True) -> None:
        entries = self.entries[leaf.name]
        yours = self.site.gradient[entries.index]
        size = _size(entries, yours)
        mask, known = np.zeros(leaf.size, bool), np.zeros(leaf.size, bool)
        known[entries.index - leaf.start] = True
        mask[entries.index - leaf.start] = entries.wrong
        self.found.blocks[leaf.name] = BlockReport(
            self.space.label(leaf),
            leaf.shape,
            "wrong" if is_wrong else "right",
            error=float(np.linalg.norm(yours - entries.numeric)) / size,
            place=describe_mask(mask.reshape(leaf.shape), known.reshape(leaf.shape)) if is_wrong else "",
        )

    def _list_worst(self) -> None:
        """List the entries that are wrong, by their errors relative to their blocks."""
        ranked: list[tuple[float, EntryReport]] = []
        for name, entries in self.entries.items():
            if name not in self.found.blocks:
                continue
            size = _size(entries, self.site.gradient[entries.index])
            for k in np.flatnonzero(entries.wrong):
                entry = int(entries.index[k])
                leaf = self.space.leaf_of(entry)
                yours, numeric = float(self.site.gradient[entry]), float(entries.numeric[k])
                report = EntryReport(self.space.label(leaf), leaf.index(entry), yours, numeric, float(entries.error[k]))
                ranked.append((abs(yours - numeric) / size, report))
        ranked.sort(key=lambda pair: -pair[0])
        self.found.worst = [report for _, report in ranked[:WORST_SHOWN]]

    # Causes

    def _block(self, leaf: Leaf) -> Block:
        numeric, error = np.full(leaf.size, np.nan), np.full(leaf.size, np.nan)
        entries = self.entries.get(leaf.name)
        if entries is not None:
            numeric[entries.index - leaf.start], error[entries.index - leaf.start] = entries.numeric, entries.error
        report = self.found.blocks.get(leaf.name)
        return Block(
            self.space.label(leaf),
            self.space.flat[leaf.part].reshape(leaf.shape),
            self.site.gradient[leaf.part].reshape(leaf.shape),
            numeric.reshape(leaf.shape),
            error.reshape(leaf.shape),
            wrong=report is not None and report.verdict == "wrong",
        )

    def _single_precision(self) -> Cause | None:
        """Return the cause where yours has the digits of single precision, and is as near as those allow."""
        wrong = [entries for entries in self.entries.values() if entries.wrong.any()]
        if not wrong or self.space.has_single:
            return None
        numeric = np.concatenate([entries.numeric for entries in wrong])
        yours = self.site.gradient[np.concatenate([entries.index for entries in wrong])]
        near = np.linalg.norm(yours - numeric) <= SINGLE_ERROR * np.linalg.norm(numeric)
        if not near or not np.array_equal(yours, yours.astype(np.float32)):
            return None
        text = "all of g are float32 numbers, as near to D as those can be: df computes in single precision."
        return cause(43, text)


def _size(entries: Entries, yours: Array) -> float:
    """Return the size of the numerical derivatives, or of yours if those are 0 within their errors."""
    size = float(np.linalg.norm(entries.numeric))
    return size if size > np.linalg.norm(entries.error) else float(np.linalg.norm(yours)) or 1.0
