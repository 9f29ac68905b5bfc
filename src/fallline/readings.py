"""What values of f on a line through x say of yours, and how readings at several distances are compared.

A reading is about the Taylor remainder along a direction v,

    rho(t) = f(x + t v) - f(x) - yours . (what x really moved by),

which starts with t**2 if yours is right. Its slope at 0 is the residual: what yours lacks along v. The same values tell
the noise of f (by a difference table), the truncation (by a second stencil), and how large a kink at x may be: the sums
rho(t) + rho(-t) are c t + a t**2, where c is 0 for a smooth function, and else what the one-sided slopes differ by.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fallline import _core

__all__ = [
    "SMALLEST",
    "Judgement",
    "Line",
    "MatrixSlope",
    "Reading",
    "Slope",
    "agree",
    "contradict",
    "rank",
    "same_kink",
    "select",
    "within_waves",
]

Array = npt.NDArray[Any]

SMALLEST = 2.0**-44  # distance, relative to the scale of the direction
LARGE = 1e-3  # relative error that two readings prove; less takes three
FLAT = 8.0  # how many times less than yours a derivative across waves is


@dataclass(frozen=True, slots=True)
class Line:
    """The direction of a reading: entry ``index[i]`` of the flat vector moves by ``units[i]`` per unit of t.

    `is_whole`: the index is that of all entries, in order.
    """

    index: Array
    units: Array
    is_whole: bool = False

    def of(self, values: Array) -> Array:
        """Return what belongs to the entries that move, along the last axis; it may be what was given."""
        return values if self.is_whole else values[..., self.index]

    def weighted(self, weights: Array) -> Line:
        """Return the line that moves every entry by so much more."""
        return Line(self.index, self.units * weights, self.is_whole)

    def part(self, chosen: Array) -> Line:
        """Return the line that moves only some of the entries: a mask or indices into `index`."""
        return Line(self.index[chosen], self.units[chosen])


class Slope(Protocol):
    """Yours, as far as lines can see it."""

    def along(self, line: Line, t: Array, taken: Array) -> Array:
        """Return what yours says f changes by, (points, outputs): at parameters t, where x moved by `taken`."""

    def size(self, line: Line) -> Array:
        """Return the size of the terms that yours along the line is made of, (outputs,)."""


class MatrixSlope:
    """A gradient, (1, size), or a Jacobian, (outputs, size): exact for whatever x moved by."""

    def __init__(self, matrix: Array) -> None:
        self.matrix = matrix

    def along(self, line: Line, t: Array, taken: Array) -> Array:
        """Return the products with what x moved by."""
        return np.asarray(taken @ line.of(self.matrix).T)

    def size(self, line: Line) -> Array:
        """Return the root of the sum of the squared terms: what they add up to with random signs."""
        return np.asarray(np.sqrt(line.of(self.matrix) ** 2 @ line.units**2))


class Reading(_core.Reading):
    """What six values of f say about one direction; arrays have one number for each output.

    Attributes
    ----------
    line : Line
    distance : float
        Of neighbouring points, in t.
    numeric, yours, residual : ndarray
        The derivatives along the line; the first less the second.
    truncation : ndarray
        How far two stencils are apart.
    own : ndarray
        How far the rounding of yours may have moved it.
    gain : float
        By how much noise in f is multiplied in the residual.
    whole, odd : ndarray
        Noise found in the values, and in their odd part, which has no kink at x. NaN where nothing was found, infinite
        where this distance tells nothing.
    bend, bend_error : ndarray
        c as two of the distances tell it, and how far the third disagrees; 0 where it was not looked for.
    kink_error : ndarray
        How well the kink is known.
    size : ndarray
        Of yours along such lines: what the residual is to be compared with.
    noise : ndarray
        Standard deviation of the error of a value, as all readings along the line tell it.
    rounding : ndarray
        The part of the bound that noise makes.
    bound : ndarray
        How large the residual may be if yours is right; infinite where this distance tells nothing.
    qualities : ndarray
        The bounds relative to the sizes of yours: the least errors that would be seen here.
    quality : float
        The worst of them; infinite where this distance tells nothing.
    rank : tuple of float
        What readings of one line are ordered by: the quality and, where yours is 0, the greatest bound itself.
    constant, finite, is_wild : bool
        f did not change; f was finite; the values vary by so much that it cannot be called noise.
    is_stuck : bool
        f did not change, and yours says that it does.
    is_bounded, is_right, has_kink : bool
        All bounds are finite; yours agrees; there is a kink at x, clearly.
    is_noisy : bool
        Noise makes most of the bound.
    """

    __slots__ = ()

    @property
    def is_bent(self) -> bool:
        """Whether the values bend as at a kink, at x or well within their distance."""
        return bool((self.bend > 6 * self.bend_error).any())

    @property
    def leeway(self) -> Array:
        """Return how far off a kink at x lets yours be: an end of the interval is as right as its middle."""
        return np.asarray((1.01 * self.bend + self.kink_error) / 2)

    def is_wrong(self, readings: list[Reading]) -> bool:
        """Tell whether neither truncation nor noise nor a kink, as nearer readings know it, explains the residual."""
        leeway = np.min([other.leeway for other in readings if other.distance <= self.distance], axis=0)
        return bool((np.abs(self.residual) > self.bound + leeway).any())

    @property
    def is_far_off(self) -> bool:
        """Whether the residual is so large a part of yours that rounded values do not make it twice by chance."""
        return bool((np.abs(self.residual) > LARGE * self.size).any())

    @property
    def follows_yours(self) -> bool:
        """Whether f changes as yours says, even if its noise, as waves make it look, is said to hide that."""
        return bool((np.abs(self.residual) <= LARGE * np.abs(self.yours)).all())

    @property
    def is_flat(self) -> Array:
        """Return where the derivative is so much less than yours that it may be one across many waves of f."""
        return np.asarray(np.abs(self.numeric) < np.abs(self.yours) / FLAT)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What readings along one line say of yours.

    `finding` is "right", "wrong", "kink" (right, as one of many), "wrong at kink" or "unclear"; `reading` is the best.
    """

    finding: str
    reading: Reading


rank = operator.attrgetter("rank")  # what readings of one line are ordered by


def select(readings: list[Reading]) -> Reading:
    """Return the best reading that no nearer one contradicts: from afar, waves may look like noise."""
    ranked = sorted(readings, key=rank)
    for reading in ranked:
        if not any(contradict(other, reading) for other in readings if other.distance < reading.distance):
            return reading
    return ranked[0]


def within_waves(reading: Reading) -> float:
    """Return the least distance at which noise, as a reading knows it, leaves yours in sight."""
    flat = reading.is_flat if reading.is_flat.any() else reading.residual != 0
    visible = 64 * reading.distance * float(np.max(reading.rounding[flat] / np.abs(reading.residual[flat])))
    return max(SMALLEST, min(visible, reading.distance / 64))


def contradict(a: Reading, b: Reading) -> bool:
    """Tell whether two readings cannot both be within their bounds."""
    return bool((np.abs(a.residual - b.residual) > a.bound + b.bound).any())


def same_kink(best: Reading, other: Reading) -> bool:
    """Tell whether a reading nearer to x confirms a kink, all of whose outputs are as much bent."""
    if other.distance >= best.distance:
        return False
    bent = best.bend > 3 * best.kink_error
    near = np.abs(best.bend - other.bend) <= best.bend / 100 + best.kink_error + np.fmin(
        other.kink_error, best.bend / 4
    )
    return bool((near | ~bent).all())


def agree(a: Reading, b: Reading) -> bool:
    """Tell whether two residuals are the same, as those of a wrong derivative are, and those of truncation are not."""
    allowed = np.fmax(a.bound + b.bound, np.fmin(np.abs(a.residual), np.abs(b.residual)) / 4)
    wrong = np.abs(a.residual) > a.bound
    return bool((np.abs(a.residual - b.residual)[wrong] <= allowed[wrong]).all())
