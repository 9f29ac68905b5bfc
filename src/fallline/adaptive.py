"""Derivatives whose step is found by looking: a ladder of differences, extrapolated to step 0, with honest errors.

The differences with steps h, h/2, h/4, ... are extrapolated (Ridders), and the rounding error of each is carried along:
an entry of the table is worth no more than what noise could have made of it. What a look from near (`fallline.near`)
disagrees with is widened until it agrees, and where that is too wide, the next ladder begins nearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.lines import CODES, Differences, Side, Stencil, by_side, power_of_two, real_parts, stencil
from fallline.near import look_near, widen_by_nearer
from fallline.noise import is_wild, least_noise

__all__ = ["Resolved", "resolve"]

Array = npt.NDArray[Any]

LEVELS = 6  # steps of one ladder
FIRST = 2.0**-3  # the first step, relative to the scale
FURTHER = (2.0**-9, 2.0**-16, 2.0**-24, 2.0**6, 2.0**-31, 2.0**-38, 2.0**-47)  # where later ladders begin
APART = 2.0**7  # ladders begin at most so far apart
NEARER = (FIRST, *FURTHER[:2])  # after others, what is unresolved stays so: its waves may be higher farther away
DEEP = FURTHER[3:6]  # after these, only lines go on whose values are not finite, or bad
GOOD, BAD = 1e-9, 1e-4  # relative errors that need no further ladder, and that need one in the deep
MUCH = 64.0  # by how much a bound must be narrower than a kink to say that it is elsewhere
WORST = 3.0  # how many standard deviations of noise a bound holds against
APPARENT = 4.0  # bounds of error by which two ladders, or a derivative and 0, are clearly apart
GROWTH = 1.25  # D(h/2)/D(h) of differences that diverge: 2 at a jump, 1.41 at a square root
SAFETY = 2.0  # the least of many error estimates is too small as often as not


@dataclass(slots=True)
class Resolved:
    """Derivatives along lines with their errors; all of shape (lines, outputs).

    Attributes
    ----------
    value : ndarray
    error : ndarray
        Bound of the absolute error; infinite where no derivative is to be found.
    step : ndarray
        The smallest step that the value was made of.
    status : ndarray of str
        "ok", "kink", "diverges" (a jump, or an infinite slope), "unresolved" (f changes wildly from one floating-point
        number to the next), "not finite".
    """

    value: Array
    error: Array
    step: Array
    status: Array

    @classmethod
    def nothing(cls, n_lines: int, n_outputs: int) -> Resolved:
        """Begin without an answer."""
        nan, infinite = np.full((n_lines, n_outputs), np.nan), np.full((n_lines, n_outputs), np.inf)
        status = np.full((n_lines, n_outputs), "not finite", "<U10")
        return cls(nan, infinite, nan.copy(), status)

    def join_parts(self) -> Resolved:
        """Return complex outputs, where the real and then the imaginary parts were apart."""
        n = self.value.shape[1] // 2
        (a, b), (e, g) = ((array[:, :n], array[:, n:]) for array in (self.value, self.error))
        status = np.where(self.status[:, :n] == "ok", self.status[:, n:], self.status[:, :n])
        return Resolved(a + 1j * b, np.hypot(e, g), np.fmin(self.step[:, :n], self.step[:, n:]), status)

    def take(self, rows: Array, other: Resolved, order: int) -> None:
        """Take from another one, which is about the given rows of this one, what is better."""
        better = (other.error < self.error[rows]) | (
            (self.status[rows] == "not finite") & (other.status != "not finite")
        )
        # Where there was a kink, or the differences grew, noise may hide it nearer to x: that is no derivative yet.
        better &= (self.status[rows] != "kink") | (other.error < self.error[rows] / MUCH)
        better &= (self.status[rows] != "diverges") | (other.error < 0.5 * np.abs(other.value))
        if order > 1:
            better = np.where(self._contradicts(rows, other), other.step < self.step[rows], better)
        for name in ("value", "error", "step", "status"):
            own, others = getattr(self, name), getattr(other, name)
            own[rows] = np.where(better, others, own[rows])

    def _contradicts(self, rows: Array, other: Resolved) -> Array:
        """Tell where the two cannot both be right, and what is nearer to x is clear.

        Across many waves of f, differences of higher order are as small as the power of the step, and so are their
        errors; the first derivatives have the look from near for that.
        """
        own, others = (np.array([of.value, of.error, of.step]) for of in (self.at(rows), other))
        apart = np.abs(own[0] - others[0]) > APPARENT * (own[1] + others[1])
        value, error, _ = np.where(others[2] < own[2], others, own)
        both = (self.status[rows] == "ok") & (other.status == "ok")
        return np.asarray(apart & both & (APPARENT * error < np.abs(value)))

    def at(self, rows: Array) -> Resolved:
        """Return some of the lines."""
        return Resolved(self.value[rows], self.error[rows], self.step[rows], self.status[rows])


def resolve(differences: Differences, noise: Array) -> Resolved:
    """Find the derivatives along all lines.

    Parameters
    ----------
    differences : Differences
        Of accuracy 2 if central, 1 if one-sided: the base of the extrapolation. Complex outputs count as two.
    noise : ndarray, shape (lines, outputs)
        Absolute error of f.

    Returns
    -------
    Resolved
    """
    is_complex = differences.function.dtype.kind == "c"
    noise = np.tile(noise, (1, 2)) if is_complex else noise
    best = _descend(differences, differences.side, np.arange(len(differences.lines)), noise)
    sides: tuple[Side, Side] = ("forward", "backward")
    for side in sides:
        rows = np.flatnonzero(_unseen(best, differences, np.arange(len(differences.lines))))
        if len(rows) and side != differences.side:
            best.take(rows, _descend(differences, side, rows, noise), differences.order)
    return best.join_parts() if is_complex else best


def _descend(differences: Differences, side: Side, which: Array, noise: Array) -> Resolved:
    """Try ladders of some lines on one side (where the bounds allow it) until no other is likely to be better."""
    scale = differences.lines.scale
    best: Resolved | None = None
    rows = np.arange(len(which))
    least = 2.0 ** (LEVELS - 1) * differences.lines.eps  # the last step still moves x
    for start in (FIRST, *FURTHER):
        if start < least.min(initial=1.0) / APART:
            continue
        relative = np.fmax(start, least[which[rows]])
        ladder = _ladder(differences, side, which[rows], scale[which[rows]] * relative, noise)
        if best is None:
            best = Resolved.nothing(len(which), ladder.value.shape[1])
        best.take(rows, ladder, differences.order)
        unseen = _unseen(best, differences, which)
        poor = _is_poor(best, noise[which], differences.order)
        if start not in NEARER:
            poor &= best.status != "unresolved"
        if start in DEEP:
            poor &= best.error > BAD * np.abs(best.value)
        rows = np.flatnonzero(unseen | poor.any(axis=1))
        if len(rows) == 0:
            break
    assert best is not None
    return best


def _unseen(best: Resolved, differences: Differences, which: Array) -> Array:
    """Tell which lines have an output that is finite at x, but has no finite difference yet."""
    return np.asarray(((best.status == "not finite") & np.isfinite(real_parts(differences.f0(which)))).any(axis=1))


def _is_poor(best: Resolved, noise: Array, order: int) -> Array:
    """Tell where another ladder may help: not where the error is as small as noise allows at such steps."""
    with np.errstate(invalid="ignore"):
        allowed = 8 * SAFETY * WORST * noise / np.nan_to_num(best.step, nan=np.inf) ** order
        return np.asarray(~(best.error <= np.fmax(GOOD * np.abs(best.value), allowed)))


def _ladder(differences: Differences, side: Side, rows: Array, h0: Array, noise: Array) -> Resolved:
    """Return what one ladder of steps says about some lines, on the side that the bounds allow."""
    sides, h0 = differences.on(side).fit(power_of_two(h0), rows)
    result: Resolved | None = None
    for allowed, here in by_side(sides):
        part = _climb(differences, rows[here], allowed, h0[here], noise)
        if result is None:
            result = Resolved.nothing(len(rows), part.value.shape[1])
        result.take(here, part, differences.order)
    assert result is not None
    return result


def _climb(differences: Differences, which: Array, side: Side, h0: Array, noise: Array) -> Resolved:
    """Evaluate a ladder on one side for some lines, and extrapolate each."""
    chosen = stencil(side, differences.order, 2 if side == "central" else 1)
    with_origin = np.union1d(chosen.nodes, [0.0])
    ladder = h0[:, None] * 2.0 ** -np.arange(LEVELS)
    values = differences.values(np.repeat(which, LEVELS), with_origin, ladder.ravel())[0]
    values = real_parts(values).reshape(len(which), LEVELS, len(with_origin), -1)
    result = Resolved.nothing(len(which), values.shape[3])
    weights = np.zeros((LEVELS, len(with_origin)))
    weights[:, np.isin(with_origin, chosen.nodes)] = chosen.weights[np.argsort(chosen.nodes)]
    size = np.abs(values).max(axis=2)
    rise = np.abs(values[:, :, -1] - values[:, :, 0]) / np.ptp(with_origin) / ladder[:, :, None]
    least = least_noise(differences.function.eps, size, rise * differences.lines.scale[which, None, None])
    local = np.fmax(noise[which, None], least)
    hopeless = np.broadcast_to(~np.isfinite(real_parts(differences.f0(which))), (len(which), values.shape[3]))
    for row in range(len(which)):
        finite = (np.isfinite(values[row]) | hopeless[row]).all(axis=(1, 2))
        first = LEVELS - int(np.argmin(finite[::-1])) if not finite.all() else 0  # from there on all are finite
        if LEVELS - first >= 3:
            _extrapolate(
                result, row, chosen, weights[first:], values[row, first:], ladder[row, first:], local[row, first:],
                differences.function.dtype,
            )  # fmt: skip
    if differences.order == 1:
        most = _whole(size.max(axis=1), differences.function.dtype)
        _look(differences, result, which, side, ladder[:, -1], most, noise)
    else:
        codes = np.full(len(which), CODES[side])
        widen_by_nearer(differences, which, codes, ladder[:, -1], result.value, result.error, noise[which])
    return result


def _whole(parts: Array, dtype: np.dtype[Any]) -> Array:
    """Return the magnitudes of complex outputs for both of their parts, as the noise of either is that of the whole."""
    return np.tile(np.hypot(*np.split(parts, 2, axis=-1)), 2) if dtype.kind == "c" else parts


def _extrapolate(
    result: Resolved,
    row: int,
    chosen: Stencil,
    weights: Array,
    values: Array,
    h: Array,
    noise: Array,
    dtype: np.dtype[Any],
) -> None:
    """Fill in one row of the result from the values (levels, nodes, outputs) of one ladder with steps h."""
    central = bool(chosen.nodes.min() < 0 < chosen.nodes.max())
    by_level = h ** -float(chosen.order)
    slopes = _core.differences(weights, np.ascontiguousarray(values), by_level)
    rounding = by_level[:, None] * chosen.norm * WORST * noise
    value, error, level = _core.extrapolate(slopes, rounding, 2.0, 2 if central else 1)
    result.value[row], result.step[row] = value, h[level]
    result.error[row] = (SAFETY if central else 2 * SAFETY) * error + 4 * np.finfo(np.float64).eps * np.abs(value)
    result.status[row] = np.where(np.isfinite(value), "ok", "not finite")
    if chosen.order > 1:
        _judge_growth(result, row, slopes, rounding)
    span = values.max(axis=(0, 1)) - values.min(axis=(0, 1))
    size = np.abs(values).max(axis=(0, 1))
    wild = is_wild(noise.min(axis=0), _whole(size, dtype), _whole(span, dtype))
    result.error[row, wild], result.status[row, wild] = np.inf, "unresolved"


def _judge_growth(result: Resolved, row: int, slopes: Array, rounding: Array) -> None:
    """Where the last differences still grow, and by more than noise, there is a jump, or a kink of a lower one."""
    size = np.abs(slopes[-3:])
    grows = (size[1:] > GROWTH * size[:-1]).all(axis=0) & (size[-1] > 10 * rounding[-1])
    grows &= result.error[row] > 0.05 * np.abs(result.value[row])
    result.error[row, grows], result.status[row, grows] = np.inf, "diverges"


def _look(
    differences: Differences, result: Resolved, which: Array, side: Side, most: Array, size: Array, noise: Array
) -> None:
    """Have the first derivatives of some lines judged from near."""
    rows = np.flatnonzero((result.status != "not finite").any(axis=1))
    if len(rows) == 0:
        return
    every = [array[rows] for array in (result.value, size, noise[which])]
    near = look_near(differences, which[rows], np.full(len(rows), CODES[side]), most[rows], *every)
    error, status = result.error[rows], result.status[rows]
    wild = status == "unresolved"
    near.widen(result.value[rows], error, status)
    status[wild] = "unresolved"
    result.error[rows], result.status[rows] = error, status
