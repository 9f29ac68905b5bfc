"""What a hypothesis is given, how it is tested, and the words it is told in.

Notation: g is yours, D is numeric, E = g - D. A hypothesis is a function that looks at one part (a block, or all wrong
blocks joined) and yields findings. It may speak only when

- its model reproduces g, or an identity that D obeys is broken by g, within the bounds of error wherever D is known,
  and
- the agreement is no accident: `digits_of` counts the decimal digits by which g = D fails where the model holds. Every
  fitted parameter gives up its best entry, every choice among c candidates gives up log10(c) digits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .catalogue import Array, Block, Setting

SLACK = 4.0  # a model may miss g by this many bounds of error: the bounds of two derivatives and of the fit add up
CLEAR = 100.0  # bounds of error above which an entry is known well enough to be called right
ENOUGH = 4.0  # digits of evidence for a claim
NAMED = 6  # blocks that a sentence names


class Finding(NamedTuple):
    """What a hypothesis yields: entry of the catalogue, how specific it is (0..1), a sentence without its full stop."""

    number: int
    level: float
    text: str


class Told(NamedTuple):
    """A finding about several blocks, and which."""

    finding: Finding
    parts: list["Part"]


class Part:
    """Hold a block, or several joined end to end, ready for arithmetic; NaN where D is not known."""

    def __init__(self, name: str, x: Array, g: Array, d: Array, error: Array) -> None:
        self.name, self.x, self.g = name, x, g
        self.agrees = False  # whether directions have told that g = D
        self.known = np.isfinite(d) & np.isfinite(error) & np.isfinite(g)
        self.d = np.where(self.known, d, np.nan)
        rounding = np.finfo(float).eps * np.maximum(np.abs(g), np.abs(d)) + np.finfo(float).tiny
        self.tol = np.where(self.known, np.maximum(error, rounding), np.nan)
        self.e = self.g - self.d
        self.off = np.abs(self.e) > SLACK * self.tol  # clearly wrong
        self.zero = np.abs(self.d) <= self.tol
        self.alive = self.known & ~(self.zero & (np.abs(self.g) <= self.tol))  # carries information
        self.fine = (np.abs(self.e) <= SLACK * self.tol) & (np.abs(self.d) > CLEAR * self.tol)  # clearly right

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the arrays."""
        return self.g.shape

    @property
    def complete(self) -> bool:
        """Whether D is known everywhere."""
        return bool(self.known.all())

    @property
    def right(self) -> bool:
        """Whether g = D, with at least one entry to show it, or directions that have told so of all."""
        shown = self.alive.any() or (self.agrees and not self.known.any() and np.any(self.g != 0))
        return not self.off.any() and bool(shown)


def part_of(block: Block) -> Part:
    """Return a block as a part."""
    arrays = (np.asarray(a, dtype=float) for a in (block.x, block.yours, block.numeric, block.error))
    part = Part(block.name, *arrays)
    part.agrees = not block.wrong
    return part


def join(parts: Sequence[Part]) -> Part:
    """Return the known entries of several parts, end to end."""
    if len(parts) == 1:
        return parts[0]
    columns = (np.concatenate([getattr(p, a)[p.known] for p in parts]) for a in ("x", "g", "d", "tol"))
    return Part(listed([p.name for p in parts]), *columns)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What every hypothesis may look at besides its part."""

    parts: list[Part]  # all blocks
    wrong: list[Part]
    whole: Part  # the wrong ones, joined
    setting: Setting

    def others(self, part: Part) -> list[Part]:
        """Return the other blocks."""
        return [p for p in self.parts if p is not part]

    @property
    def spared(self) -> bool:
        """Whether some blocks are right."""
        return any(p.right for p in self.parts)


def digits_of(part: Part, tol: Array, free: int = 0, choices: float = 1.0) -> float:
    """Return by how many digits g = D fails on the entries that a model with tolerance `tol` explains."""
    ratio = np.abs(part.e[part.off]) / (SLACK * tol[part.off])
    logs = np.sort(np.log10(ratio[ratio > 1]))
    return float(logs[: len(logs) - free].sum()) - math.log10(choices) if len(logs) > free else 0.0


def pattern_digits(n: int, k: int, choices: float = 1.0) -> float:
    """Return the digits in "exactly these k of n entries"."""
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(10) - math.log10(choices)


def matches(part: Part, model: Array, tol: Array, where: Array | None = None) -> bool:
    """Tell whether g agrees with a model, on all known entries or on those of `where`."""
    chosen = part.known if where is None else part.known & where
    return bool(np.all(np.abs(part.g - model)[chosen] <= SLACK * tol[chosen]))


def explains(part: Part, model: Array, ratio: Array | float = 1.0, free: int = 0, choices: float = 1.0) -> bool:
    """Tell whether a model made of D times `ratio`, and of exact numbers, reproduces g and is no accident."""
    tol = part.tol * np.maximum(1.0, np.abs(ratio))
    return matches(part, model, tol) and digits_of(part, tol, free, choices) >= ENOUGH


def constant(values: Array) -> bool:
    """Tell whether values are all the same."""
    return values.size == 0 or float(np.ptp(values)) <= 1e-6 * float(np.abs(values).max())


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Hold a least-squares fit."""

    coefficients: Array
    bounds: Array  # of their errors
    model: Array
    exact: bool
    digits: float


def best_fit(part: Part, columns: Sequence[Array], fixed: Array | float = 0.0) -> Fit | None:
    """Fit g = fixed + a·columns[0] + b·columns[1] + ... in units of the bounds of error, so that tiny entries count."""
    known = part.known
    design = np.stack([c[known] / part.tol[known] for c in columns], axis=-1)
    target = ((part.g - fixed) / part.tol)[known]
    norms = np.linalg.norm(design, axis=0)
    if not np.all(norms > 0) or not np.isfinite(norms).all():
        return None
    inverse = np.linalg.pinv(design / norms, rcond=1e-12) / norms[:, None]
    coefficients = inverse @ target
    model = fixed + sum(a * c for a, c in zip(coefficients, columns, strict=True))
    tol = part.tol * max(1.0, float(np.abs(coefficients[0])) if columns[0] is part.d else 1.0)
    growth = float(np.nanmax(tol / part.tol))
    bounds = SLACK * growth * np.abs(inverse).sum(axis=1)
    return Fit(coefficients, bounds, model, matches(part, model, tol), digits_of(part, tol, len(columns)))


# Words


def listed(names: Sequence[str]) -> str:
    """Return "a", "a and b", "a, b and c", or if they are many, the first of them and how many more."""
    if len(names) > NAMED:
        names = [*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def signed(a: float) -> str:
    """Return "+ 0.01" or "- 0.01"."""
    return f"{'-' if a < 0 else '+'} {abs(a):.5g}"


def decimal(a: float) -> str:
    """Return a factor in words."""
    return f"{a:.4f}" if 0.01 <= abs(a) < 1e5 else f"{a:.5g}"


def nearness(part: Part, model: Array) -> str:
    """Return "to 1e-11": how closely a model meets g, where that is well known, relative to its largest entry."""
    clear = part.known & (np.maximum(np.abs(part.g), np.abs(part.d)) > CLEAR * part.tol)
    chosen = clear if clear.any() else part.known
    largest = float(np.abs(part.g[chosen]).max()) or 1.0
    return f"to {max(float(np.abs(part.g - model)[chosen].max()) / largest, 1e-16):.0e}"


def axis_name(part: Part, axis: int) -> str:
    """Return what the slices along an axis are called."""
    if len(part.shape) == 2:
        return ("rows", "columns")[axis]
    return "entries" if len(part.shape) == 1 else f"slices of axis {axis}"


def condition_on(x: Array, chosen: Array, rest: Array) -> str | None:
    """Return the condition on x that separates two sets of entries, if a threshold does."""
    for name, values in (("|x|", np.abs(x)), ("x", x)):
        a, b = values[chosen], values[rest]
        if a.size and b.size and a.min() > b.max():
            return f"{name} > {(a.min() + b.max()) / 2:.3g}"
        if a.size and b.size and a.max() < b.min():
            return f"{name} < {(a.max() + b.min()) / 2:.3g}"
    return None
