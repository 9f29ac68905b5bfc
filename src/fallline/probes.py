"""Directional derivatives of f against yours, with what is needed to judge the difference.

A reading evaluates f at equally spaced points on a line through x and looks at the Taylor remainder

    rho(t) = f(x + t v) - f(x) - yours . (what x really moved by),

which starts with t**2 if yours is right. Its slope at 0 is the residual: what yours lacks along v. The same values tell
the noise of f (by a difference table), the truncation (by a second stencil), and how large a kink at x may be: the sums
rho(t) + rho(-t) are c t + a t**2, where c is 0 for a smooth function, and else what the one-sided slopes differ by.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.digits import decimal_unit
from fallline.evaluate import Function, Points

__all__ = ["Judgement", "Line", "MatrixSlope", "Probe", "Reading", "Slope"]

Array = npt.NDArray[Any]

FIRST = 2.0**-15  # the first distance of the points, relative to the scale of the direction
LARGEST = 2.0**-2
WILD = 1e-3  # what varies by more than this part of the value is not called noise
SMALLEST = 2.0**-44
NO_ROOM = 2.0**-60  # a distance at which nothing moves
TRIES = 8
TARGET = 1e-8  # with a bound this small beside yours, no better distance is looked for
SAFETY = 4.0  # on the truncation: two stencils may agree by chance
WORST = 5.0  # standard deviations of noise
SUMMANDS = 32.0  # how much larger than the result the terms may be that yours was summed from
FINE = 64.0  # noise of so many roundings is that of floating point
LARGE = 1e-3  # relative error that two readings prove; less takes three
FLAT = 8.0  # how many times less than yours a derivative across waves is
AT_ONCE = 2**21  # numbers held for points
# Distances for a second look, relative to the first; no simple fractions, so that rounding does not repeat itself.
NEARER, FARTHER = (0.3719, 0.1127, 2.7183), (10.6837, 0.3719, 0.1127)

STEPS = {
    "central": np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]),
    "forward": np.arange(1.0, 7.0),
    "backward": -np.arange(1.0, 7.0),
}


@lru_cache
def _weights(side: str) -> tuple[Array, Array, float]:
    """Return the weights of first derivatives of accuracy 6 and 4 for the six points, and the norm of the former."""
    steps = STEPS[side]
    six = _core.stencil(1, np.append(0.0, steps))[1:]
    four = np.zeros(6)
    near = np.argsort(np.abs(steps), kind="stable")[:4]
    four[near] = _core.stencil(1, np.append(0.0, steps[near]))[1:]
    return six, four, float(np.linalg.norm(six))


@dataclass(frozen=True, slots=True)
class Line:
    """The direction of a reading: entry ``index[i]`` of the flat vector moves by ``units[i]`` per unit of t."""

    index: Array
    units: Array

    def weighted(self, weights: Array) -> Line:
        """Return the line that moves every entry by so much more."""
        return Line(self.index, self.units * weights)

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
        return np.asarray(taken @ self.matrix[:, line.index].T)

    def size(self, line: Line) -> Array:
        """Return the root of the sum of the squared terms: what they add up to with random signs."""
        return np.asarray(np.sqrt(self.matrix[:, line.index] ** 2 @ line.units**2))


@dataclass(slots=True)
class Reading:
    """What seven values of f say about one direction; arrays have one number for each output.

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
    size : ndarray
        Of yours along such lines: what the residual is to be compared with.
    noise : ndarray
        Standard deviation of the error of a value, as all readings along the line tell it.
    bound : ndarray
        How large the residual may be if yours is right; infinite where this distance tells nothing.
    qualities : ndarray
        The bounds relative to the sizes of yours: the least errors that would be seen here.
    quality : float
        The worst of them; infinite where this distance tells nothing.
    constant, finite, wild : bool
        f did not change; f was finite; the values vary by so much that it cannot be called noise.
    """

    line: Line
    distance: float
    numeric: Array
    yours: Array
    residual: Array
    truncation: Array
    own: Array
    gain: float
    whole: Array
    odd: Array
    bend: Array
    bend_error: Array
    size: Array
    noise: Array
    constant: bool
    finite: bool
    wild: bool

    bound: Array = field(init=False)
    qualities: Array = field(init=False)
    quality: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the noise that this reading knows of."""
        self.know(self.noise)

    @property
    def rounding(self) -> Array:
        """Return the part of the bound that noise makes."""
        return WORST * self.gain * self.noise

    @property
    def is_right(self) -> bool:
        """Whether yours agrees."""
        return bool((np.abs(self.residual) <= self.bound).all())

    @property
    def kink_error(self) -> Array:
        """Return how well the kink is known."""
        return 2 * self.bend_error + 4 * WORST * self.noise / self.distance

    @property
    def has_kink(self) -> bool:
        """Whether there is a kink at x, clearly."""
        return bool((self.bend > 3 * self.kink_error).any())

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
    def is_flat(self) -> Array:
        """Return where the derivative is so much less than yours that it may be one across many waves of f."""
        return np.asarray(np.abs(self.numeric) < np.abs(self.yours) / FLAT)

    def know(self, noise: Array) -> None:
        """Take note of how much noise there is: what the bounds and qualities follow from."""
        self.noise = noise
        self.bound = bound = SAFETY * self.truncation + self.rounding + self.own
        size = np.fmax(np.fmax(self.size, np.abs(self.numeric)), 1e-3 * self.size.max(initial=0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            self.qualities = np.where(bound > 0, bound / size, 0.0)
        self.quality = float(self.qualities.max(initial=0.0)) if np.isfinite(bound).all() else np.inf


@dataclass(frozen=True, slots=True)
class Judgement:
    """What readings along one line say of yours.

    `finding` is "right", "wrong", "kink" (right, as one of many), "wrong at kink" or "unclear"; `reading` is the best.
    """

    finding: str
    reading: Reading


class Probe:
    """Take readings of f around a point.

    Parameters
    ----------
    function : Function
    value : ndarray, shape (outputs,)
        f at the point.
    bounds : (low, high) of ndarrays
    eps : float
        Of the precision that yours was computed in.
    noise : float, optional
        The absolute error of f; found from the readings if not given.
    """

    def __init__(
        self, function: Function, value: Array, bounds: tuple[Array, Array], eps: float, noise: float | None = None
    ) -> None:
        self.function, self.space, self.value, self.bounds, self.eps = function, function.space, value, bounds, eps
        self.is_free = bool(np.isinf(bounds).all())
        self.given_noise = noise
        self.noise = np.zeros(len(value))  # at least; as the first line shows it
        self.knows_noise = False
        self.distance = FIRST  # where lines begin

    def measure(self, slope: Slope, line: Line) -> list[Reading]:
        """Read along a line at several distances, until the bound is small or gets no smaller."""
        readings: list[Reading] = []
        for side in ("central", "forward", "backward"):
            readings += self._search(slope, line, side)
            if any(reading.finite for reading in readings):
                break
        best = _select(readings)
        if np.isfinite(best.bound).all():
            if not self.knows_noise:
                self.distance, self.noise = best.distance, np.fmax(self.noise, best.noise)
            self.knows_noise = True
        return readings

    def judge(self, slope: Slope, line: Line) -> Judgement:
        """Read along a line, and look again, at other distances, before saying anything but "right"."""
        is_first = not self.knows_noise
        judgement = self._judge(slope, line)
        if is_first and self.knows_noise:  # better than before the other looks
            reading = judgement.reading
            self.distance, self.noise = reading.distance, np.fmax(self.noise, reading.noise)
        return judgement

    def _judge(self, slope: Slope, line: Line) -> Judgement:
        readings = self.measure(slope, line)
        best = _select(readings)
        if not np.isfinite(best.bound).all():
            return Judgement("unclear", best)
        noisy = (best.rounding > best.own + SAFETY * best.truncation).all() and best.distance < LARGEST / FARTHER[0]
        for factor in (*(FARTHER if noisy else NEARER), None):
            if best.is_right and not best.has_kink:
                return Judgement("right", best)
            if best.has_kink and any(_same_kink(best, other) for other in readings):
                return Judgement("wrong at kink" if best.is_wrong(readings) else "kink", best)
            witnesses = [r for r in readings if r is not best and r.is_wrong(readings) and _agree(best, r)]
            if best.is_wrong(readings) and len(witnesses) >= (1 if best.is_far_off else 2):
                if best.has_kink:
                    return Judgement("wrong at kink", best)
                if best.is_flat.any():
                    self._look(slope, line, _within_waves(best), readings)
                    if readings[-1].wild and readings[-1].distance == SMALLEST:
                        return Judgement("unclear", best)  # neighbouring numbers are many waves apart
                others = [other for other in readings if other.is_right and _contradict(best, other)]
                # waves are seen from nearby; if f rounds its values, it follows yours as far as they can tell
                return Judgement("right", min(others, key=_rank)) if others else Judgement("wrong", best)
            if factor is not None:
                self._look(slope, line, best.distance * factor, readings)
                best = _select(readings)
        return Judgement("right" if best.is_right else "unclear", best)  # what bends less and less is no kink

    def _search(self, slope: Slope, line: Line, side: str) -> list[Reading]:
        readings: list[Reading] = []
        distance = self.distance
        while distance > 0 and len(readings) < TRIES and self._look(slope, line, distance, readings, side):
            distance = _next_distance(readings)
        return readings

    def _look(self, slope: Slope, line: Line, distance: float, readings: list[Reading], side: str = "central") -> bool:
        """Take another reading, unless the bounds leave room only for one that has been taken."""
        side, distance = self._fit(line, distance, side)
        if any(distance == other.distance for other in readings):
            return False
        readings.append(self.read(slope, line, distance, side))
        self.settle(readings)
        return True

    def read(self, slope: Slope, line: Line, distance: float, side: str = "central") -> Reading:
        """Read along a line at one distance, or on one side or nearer where the bounds leave no room for it."""
        side, distance = self._fit(line, distance, side)
        steps = STEPS[side]
        values, along = self._evaluate(slope, line, steps * distance)
        change = values - self.value
        six, four, norm = _weights(side)
        table, finite, constant = _core.reading(steps, six, four, distance, change, along)
        residual, truncation, yours, whole, odd, curvature, bend, bend_error = table
        units = _units(values)
        whole, odd = np.fmax(whole, units), np.fmax(odd, units)
        size = slope.size(line)
        rounding = self._rounding(change)
        if constant and distance < LARGEST and along.any() and not self._is_fine():
            whole = np.full(len(size), np.inf)  # it should have changed: a larger distance may show how
        return Reading(
            line=line,
            distance=distance,
            numeric=yours + residual,
            yours=yours,
            residual=residual,
            truncation=truncation,
            own=SUMMANDS * self.eps * (size + curvature),
            gain=norm / distance,
            whole=whole,
            odd=odd,
            bend=bend,
            bend_error=bend_error,
            size=size,
            noise=np.fmax(rounding, whole),
            constant=constant,
            finite=finite,
            wild=bool((odd > WILD * 4 / self.function.eps * rounding).any()),
        )

    def settle(self, readings: list[Reading]) -> None:
        """Decide how much noise there is from all readings along a line.

        Noise is the same at every distance; what a kink at x puts into the table falls with the distance, and is not in
        the odd part; what a kink nearby puts there is gone at smaller distances.
        """
        least = np.min([reading.whole for reading in readings], axis=0)
        if len(readings) > 1:
            kink = np.any([_same_bend(a, b) for a, b in itertools.combinations(readings, 2)], axis=0)
            least = np.where(kink, 0.0, least)
        for reading in readings:
            nearer = [other.odd for other in readings if other.distance <= reading.distance]
            seen = np.fmax.reduce([least, self.noise, *nearer])
            # What terms of this size are rounded by does not cancel where they do.
            floor = self.function.eps * np.fmax(np.abs(self.value), reading.size) / 4
            if self.given_noise is not None:
                seen = np.full(len(floor), self.given_noise)
            known = np.fmax(np.where(np.isfinite(seen), seen, 0.0), floor)
            reading.know(np.where(np.isinf(reading.whole), np.inf, known))

    def _fit(self, line: Line, distance: float, side: str) -> tuple[str, float]:
        """Return the side and the distance that are wanted, or what the bounds leave room for."""
        if self.is_free:
            return side, distance
        at = self.space.flat[line.index]
        moves = line.units != 0
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.stack([(bound[line.index] - at) / line.units for bound in self.bounds])[:, moves]
        right, left = ends.max(axis=0).min(initial=np.inf), -ends.min(axis=0).max(initial=-np.inf)
        both, one = min(left, right) / 3, max(left, right) / 6
        if side == "central" and (both >= distance or both > one):
            return side, float(min(distance, both))
        if side == "central":
            side = "forward" if right >= left else "backward"
        return side, float(max(min(distance, (right if side == "forward" else left) / 6), NO_ROOM))

    def _evaluate(self, slope: Slope, line: Line, t: Array) -> tuple[Array, Array]:
        """Return the values at the parameters t, and what yours says of the changes; (points, outputs) both."""
        at = self.space.flat[line.index]
        values, along = [], []
        size = max(1, AT_ONCE // max(1, len(at)))
        for first in range(0, len(t), size):
            some = t[first : first + size]
            rows = self.space.round(at + some[:, None] * line.units, line.index)
            if not self.is_free:
                rows = np.clip(rows, *(bound[line.index] for bound in self.bounds))
            values.append(self.function(Points.rows(rows, line.index)))
            along.append(slope.along(line, some, rows - at))
        return (values[0], along[0]) if len(values) == 1 else (np.concatenate(values), np.concatenate(along))

    def _is_fine(self) -> bool:
        """Tell whether f is known to follow small changes: what then is constant is so."""
        rounding = self.function.eps * np.abs(self.value)
        return bool(((self.noise > 0) & (self.noise <= FINE * rounding)).all())

    def _rounding(self, change: Array) -> Array:
        """Return what rounding f makes, at least."""
        size = np.abs(self.value) + np.fmax.reduce(np.abs(change))
        return np.asarray(self.function.eps * size / 4)


def _rank(reading: Reading) -> tuple[float, float]:
    """Return what readings of one line are ordered by; where yours is 0, the bound itself decides."""
    return reading.quality, float(reading.bound.max(initial=0.0))


def _select(readings: list[Reading]) -> Reading:
    """Return the best reading that no nearer one contradicts: from afar, waves may look like noise."""
    ranked = sorted(readings, key=_rank)
    for reading in ranked:
        if not any(_contradict(other, reading) for other in readings if other.distance < reading.distance):
            return reading
    return ranked[0]


def _within_waves(reading: Reading) -> float:
    """Return the least distance at which noise, as a reading knows it, leaves yours in sight."""
    flat = reading.is_flat
    visible = 64 * reading.distance * float(np.max(reading.rounding[flat] / np.abs(reading.residual[flat])))
    return max(SMALLEST, min(visible, reading.distance / 64))


def _contradict(a: Reading, b: Reading) -> bool:
    return bool((np.abs(a.residual - b.residual) > a.bound + b.bound).any())


def _same_bend(a: Reading, b: Reading) -> Array:
    """Tell where two readings at very different distances find the same kink; noise bends like 1/distance."""
    far = max(a.distance, b.distance) > 4 * min(a.distance, b.distance)
    least = np.fmin(a.bend, b.bend) / 8
    sure = (a.bend_error < least) & (b.bend_error < least) & (np.abs(a.bend - b.bend) < least)
    return np.asarray(sure & far)


def _same_kink(best: Reading, other: Reading) -> bool:
    """Tell whether a reading nearer to x confirms a kink, all of whose outputs are as much bent."""
    if other.distance >= best.distance:
        return False
    bent = best.bend > 3 * best.kink_error
    near = np.abs(best.bend - other.bend) <= best.bend / 100 + best.kink_error + np.fmin(
        other.kink_error, best.bend / 4
    )
    return bool((near | ~bent).all())


def _agree(a: Reading, b: Reading) -> bool:
    """Tell whether two residuals are the same, as those of a wrong derivative are, and those of truncation are not."""
    allowed = np.fmax(a.bound + b.bound, np.fmin(np.abs(a.residual), np.abs(b.residual)) / 4)
    wrong = np.abs(a.residual) > a.bound
    return bool((np.abs(a.residual - b.residual)[wrong] <= allowed[wrong]).all())


def _units(values: Array) -> Array:
    """Return the noise of every output whose values were rounded to few decimal digits, NaN for others."""
    units = [decimal_unit(row) / 3 if (row != row[0]).any() else 0.0 for row in values.T]
    return np.array([unit if unit > 0 else np.nan for unit in units])


def _next_distance(readings: list[Reading]) -> float:
    """Return a distance at which the bound may be less, or 0."""
    reading = readings[-1]
    quality = reading.quality
    if min(other.quality for other in readings) <= TARGET:
        return 0.0
    if not np.isfinite(reading.bound).all() or reading.wild:
        factor = 2.0**4 if reading.constant else 2.0**-7
    elif len(readings) == 1 and (reading.rounding > 64 * reading.own).any():
        factor = 2.0**-7  # what looks like noise may be a kink
    elif (reading.truncation > reading.rounding / 2).any():  # below, the two stencils differ by noise
        falls, grows = float(reading.truncation.max()), float(reading.rounding.max())
        factor = min(max((grows / (SAFETY * falls)) ** 0.2, 2.0**-8), 0.5)
    elif reading.rounding.any():
        factor = min(max(quality / TARGET, 2.0), 2.0**6)
    else:
        return 0.0
    wanted = float(np.exp2(np.round(np.log2(min(max(reading.distance * factor, SMALLEST), LARGEST)))))
    return 0.0 if any(wanted == other.distance for other in readings) else wanted
