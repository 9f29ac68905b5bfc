"""Readings of f around a point: at which distances, on which side, and what they say together.

A reading evaluates f at six equally spaced points on a line through x (`readings`). Where the bound of its residual is
not small, the distance changes: nearer if the stencils disagree, farther if noise hides the derivative. Nothing but
"right" is said after one look.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.bounds import Bounds
from fallline.digits import decimal_unit
from fallline.evaluate import Function, Points, Rows
from fallline.readings import (
    SMALLEST,
    Judgement,
    Line,
    Reading,
    Slope,
    agree,
    contradict,
    rank,
    same_kink,
    select,
    within_waves,
)

__all__ = ["Probe"]

Array = npt.NDArray[Any]

FIRST = 2.0**-15  # the first distance of the points, relative to the scale of the direction
LARGEST = 2.0**-2
NO_ROOM = 2.0**-60  # a distance at which nothing moves
TRIES = 8
WAVES = 4  # looks within waves, at most
PLAIN = 0.01  # with a bound so small beside yours, waves hide nothing
TARGET = 1e-8  # with a bound this small beside yours, no better distance is looked for
FINE = 64.0  # noise of so many roundings is that of floating point
AT_ONCE = 2**21  # numbers held for points
# Distances for a second look, relative to the first; no simple fractions, so that rounding does not repeat itself.
NEARER, FARTHER = (0.3719, 0.1127, 2.7183), (103.6837, 10.6837, 0.3719)

STEPS = {
    "central": np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]),
    "forward": np.arange(1.0, 7.0),
    "backward": -np.arange(1.0, 7.0),
}


@lru_cache
def _points(side: str) -> _core.SixPoints:
    """Return the six points, with the weights of first derivatives of accuracy 6 and 4."""
    steps = STEPS[side]
    six = _core.stencil(1, np.append(0.0, steps))[1:]
    four = np.zeros(6)
    near = np.argsort(np.abs(steps), kind="stable")[:4]
    four[near] = _core.stencil(1, np.append(0.0, steps[near]))[1:]
    return _core.SixPoints(steps, six, four, float(np.linalg.norm(six)))


class Probe:
    """Take readings of f around a point.

    Parameters
    ----------
    function : Function
    value : ndarray, shape (outputs,)
        f at the point.
    bounds : Bounds
    eps : float
        Of the precision that yours was computed in.
    noise : float, optional
        The absolute error of f; found from the readings if not given.
    """

    def __init__(
        self, function: Function, value: Array, bounds: Bounds, eps: float, noise: float | None = None
    ) -> None:
        self.function, self.space, self.value, self.bounds, self.eps = function, function.space, value, bounds, eps
        self.given_noise = noise
        self.noise = np.zeros(len(value))  # at least; as the first line shows it
        self.knows_noise = False
        self.distance, self.target = FIRST, TARGET  # where lines begin, and the bound that is good enough
        self.side = "central"  # on which f is finite, along the line that was measured last

    def measure(self, slope: Slope, line: Line) -> tuple[list[Reading], Reading]:
        """Read along a line at several distances, until the bound is small or gets no smaller; say which is best."""
        for side in STEPS:
            self.side = side
            readings = self._search(slope, line)
            if any(reading.finite for reading in readings):
                break
        best = select(readings)
        if best.is_bounded:
            if not self.knows_noise:
                self.distance, self.noise = best.distance, np.fmax(self.noise, best.noise)
            self.knows_noise = True
        return readings, best

    def judge(self, slope: Slope, line: Line, suspected: bool = False) -> Judgement:
        """Read along a line, and look again, at other distances, before saying anything but "right".

        Where a mistake is known to be, one that is plain needs no second look (`suspected`).
        """
        is_first = not self.knows_noise
        judgement = self._judge(slope, line, suspected)
        if is_first and self.knows_noise:  # better than before the other looks
            reading = judgement.reading
            self.distance, self.noise = reading.distance, np.fmax(self.noise, reading.noise)
        return judgement

    def _judge(self, slope: Slope, line: Line, suspected: bool) -> Judgement:
        readings, best = self.measure(slope, line)
        if not best.is_bounded:
            return Judgement("unclear", best)
        if suspected and best.is_far_off and best.is_wrong(readings) and not best.has_kink:
            return Judgement("wrong", best)
        noisy = best.is_noisy and best.distance < LARGEST / FARTHER[0]
        for factor in FARTHER if noisy else NEARER:
            judgement = self._decide(slope, line, best, readings)
            if judgement is not None:
                return judgement
            self._look(slope, line, best.distance * factor, readings)
            best = select(readings)
        last = Judgement("right" if best.is_right else "unclear", best)  # what bends less and less is no kink
        return self._decide(slope, line, best, readings) or last

    def _decide(self, slope: Slope, line: Line, best: Reading, readings: list[Reading]) -> Judgement | None:
        """Return what readings say together, or None if that is not sure yet."""
        if best.is_right and not best.has_kink:
            return Judgement("right", best)
        is_wrong = best.is_wrong(readings)
        if best.has_kink and any(same_kink(best, other) for other in readings):
            return Judgement("wrong at kink" if is_wrong else "kink", best)
        witnesses = [r for r in readings if r is not best and r.is_wrong(readings) and agree(best, r)]
        if not is_wrong or len(witnesses) < (1 if best.is_far_off else 2):
            return None
        if best.has_kink:
            return Judgement("wrong at kink", best)
        if best.is_flat.any():
            nearest = self._look_within_waves(slope, line, best, readings)
            if (nearest.is_wild and nearest.distance == SMALLEST) or nearest.follows_yours:
                return Judgement("unclear", best)  # neighbouring numbers are many waves apart, or many are
        others = [o for o in readings if o.is_right and not o.is_bent and contradict(best, o)]
        # Waves are seen from nearby; if f rounds its values, it follows yours as far as they can tell.
        return Judgement("right", min(others, key=rank)) if others else Judgement("wrong", best)

    def _look_within_waves(self, slope: Slope, line: Line, best: Reading, readings: list[Reading]) -> Reading:
        """Look nearer, and nearer again where waves still hide what yours says."""
        nearest = best
        for _ in range(WAVES):
            if not self._look(slope, line, within_waves(nearest), readings):
                break
            nearest = readings[-1]
            if nearest.follows_yours or (not nearest.is_wild and nearest.quality < PLAIN):
                break
        return readings[-1]

    def _search(self, slope: Slope, line: Line) -> list[Reading]:
        readings: list[Reading] = []
        distance = self.distance
        while distance > 0 and len(readings) < TRIES and self._look(slope, line, distance, readings):
            distance = _next_distance(readings, self.target)
        return readings

    def _look(self, slope: Slope, line: Line, distance: float, readings: list[Reading]) -> bool:
        """Take another reading, unless the bounds leave room only for one that has been taken."""
        side, distance = self._fit(line, distance, self.side)
        if distance in [other.distance for other in readings]:
            return False
        readings.append(self.read(slope, line, distance, side))
        _core.settle(readings)
        return True

    def read(self, slope: Slope, line: Line, distance: float, side: str | None = None) -> Reading:
        """Read along a line at one distance, or on one side or nearer where the bounds leave no room for it.

        The side is that of the line that was measured last, unless it is given.
        """
        side, distance = self._fit(line, distance, side or self.side)
        points = _points(side)
        values, along = self._evaluate(slope, line, points.steps * distance)
        size = slope.size(line)
        given = np.nan if self.given_noise is None else self.given_noise
        known = _core.Known(self.value, self.noise, given, self.function.eps, self.eps)
        reading = Reading(points, known, line, distance, values, along, size, _units(values))
        if reading.is_stuck and distance < LARGEST and not self._is_fine():
            reading.distrust()  # f should have changed: a larger distance may show how
        return reading

    def _fit(self, line: Line, distance: float, side: str) -> tuple[str, float]:
        """Return the side and the distance that are wanted, or what the bounds leave room for."""
        if self.bounds.is_free:
            return side, distance
        at = self.space.flat[line.index]
        moves = line.units != 0
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = (self.bounds.low[line.index] - at) / line.units, (self.bounds.high[line.index] - at) / line.units
        right = np.maximum(*ends)[moves].min(initial=np.inf)
        left = -np.minimum(*ends)[moves].max(initial=-np.inf)
        both, one = min(left, right) / 3, max(left, right) / 6
        if side == "central" and (both >= distance or both > one):
            return side, float(min(distance, both))
        if side == "central":
            side = "forward" if right >= left else "backward"
        return side, float(max(min(distance, (right if side == "forward" else left) / 6), NO_ROOM))

    def _evaluate(self, slope: Slope, line: Line, t: Array) -> tuple[Array, Array]:
        """Return the values at the parameters t, and what yours says of the changes; (points, outputs) both."""
        at = line.of(self.space.flat)
        values, along = [], []
        size = max(1, AT_ONCE // max(1, len(at)))
        for first in range(0, len(t), size):
            some = t[first : first + size]
            rows, taken = _core.points_along(at, line.units, some)
            if self.space.has_single or not self.bounds.is_free:
                rows = self.bounds.clip(self.space.round(rows, line.index), line.index)
                taken = rows - at
            along.append(slope.along(line, some, taken))
            values.append(self.function(Rows(rows) if line.is_whole else Points.rows(rows, line.index)))
        return (values[0], along[0]) if len(values) == 1 else (np.concatenate(values), np.concatenate(along))

    def _is_fine(self) -> bool:
        """Tell whether f is known to follow small changes: what then is constant is so."""
        rounding = self.function.eps * np.abs(self.value)
        return bool(((self.noise > 0) & (self.noise <= FINE * rounding)).all())


def _units(values: Array) -> Array | None:
    """Return the noise of every output whose values were rounded to few decimal digits, NaN for others; None if all."""
    units = None
    for j, row in enumerate(values.T.tolist()):
        unit = decimal_unit(row)
        if unit > 0 and row.count(row[0]) < len(row):
            units = np.full(values.shape[1], np.nan) if units is None else units
            units[j] = unit / 3
    return units


def _next_distance(readings: list[Reading], target: float) -> float:
    """Return a distance at which the bound may be less, or 0."""
    reading = readings[-1]
    quality = reading.quality
    if min([other.quality for other in readings]) <= target:
        return 0.0
    if not reading.is_bounded or reading.is_wild:
        factor = 2.0**4 if reading.constant else 2.0**-7
    elif len(readings) == 1 and (reading.rounding > 64 * reading.own).any():
        factor = 2.0**-7  # what looks like noise may be a kink
    elif (reading.truncation > reading.rounding / 2).any():  # below, the two stencils differ by noise
        falls, grows = float(reading.truncation.max()), float(reading.rounding.max())
        factor = min(max((grows / (_core.SAFETY * falls)) ** 0.2, 2.0**-8), 0.5)
    elif reading.rounding.any():
        factor = min(max(quality / target, 2.0), 2.0**6)
    else:
        return 0.0
    wanted = float(np.exp2(np.round(np.log2(min(max(reading.distance * factor, SMALLEST), LARGEST)))))
    return 0.0 if any(wanted == other.distance for other in readings) else wanted
