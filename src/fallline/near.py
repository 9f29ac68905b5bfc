"""A look at a function very near x, where truncation is small: it finds kinks, jumps, and steps that are far too large.

Where f has many waves on the scale of x, a second look, from within one of them, corrects the first.

With S(h) = f(x+h) - 2f(x) + f(x-h): a smooth function has S(16h)/S(h) = 256, a kink within h has 16 or somewhat more, a
jump has 1. A power of the distance to x, p between 1 and 2, has 16**p, and S(16h)/S(4h) = S(4h)/S(h), so that it is not
mistaken for a kink within h. The one-sided S, f(x) - 2f(x+h) + f(x+2h), serves at the ends of a domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.lines import (
    CENTRAL,
    FORWARD,
    Differences,
    Lines,
    Stencil,
    by_side,
    power_of_two,
    real_and_imaginary,
    real_parts,
    stencil,
)

__all__ = ["Near", "compare_sides", "look_near", "widen_by_nearer"]

Array = npt.NDArray[Any]

RATIO = 16.0  # of the two steps
FACTORS = (1.0, RATIO**0.5, RATIO)  # steps of a look; the middle one only where a kink is seen
POWER, SAME = 4.5, 0.05  # S(4h)/S(h) of a power above 1.08, where a kink has 4; what S(16h)/S(4h) may differ by
WORST = 4.0  # standard deviations of noise
SMOOTH = 50.0  # S(16h)/S(h) that no longer counts as a kink: one at 0.7 h or farther is seen by the slopes
BEND = 14.0  # the least S, in noise
WAVES = 2.0**-24  # f that is smooth only nearer than that, relative to the scale of x, is looked at twice
SPACINGS = 2.0**10  # the same in spacings of x, for numbers so coarse (float32) that these are more
STAYS = 0.7  # of the distance between both sides, at half the step: 1/2 where f is smooth, 1 at a kink
FARTHEST = 2.0**-3  # the greatest step of that comparison, relative to the scale of x
NEARER = (2.0**-9, 2.0**-18, 2.0**-27)  # steps of further differences of higher order, relative to theirs
LEAST = 2.0**16  # the smallest of them, in spacings of x
ALIKE = 0.25  # relative: how far differences with one step and with twice as much may be apart that are not noise
GROWTH = 2.0  # D(h)/D(16h) of differences that diverge: 16 at a jump, 4 at a square root


@dataclass(slots=True)
class Near:
    """What was seen; all of shape (lines, outputs).

    Attributes
    ----------
    slope : ndarray
        The difference with the smaller of the two steps; that with step 0 where f is a power.
    allowed : ndarray
        By how much it may be off: rounding, and truncation as the larger step tells it.
    bend : ndarray
        S over that step: for a kink within it, by how much the one-sided derivatives differ.
    kink, diverges, unresolved : ndarray of bool
    power : ndarray of bool
        What bends like a kink is a power of the distance, as abs(x)**1.5 is at 0: f has a derivative.
    """

    slope: Array
    allowed: Array
    bend: Array
    kink: Array
    diverges: Array
    unresolved: Array
    power: Array

    def widen(self, value: Array, error: Array, status: Array) -> None:
        """Widen the errors of values, and correct their statuses, in place."""
        distance = np.abs(value - self.slope)
        wider = self.contradicts(value)
        error[wider] = np.fmax(error, 2 * distance)[wider]
        error[self.kink] = np.fmax(error, distance + self.bend)[self.kink]
        status[self.kink & ~self.power] = "kink"
        error[self.diverges], status[self.diverges] = np.inf, "diverges"
        error[self.unresolved], status[self.unresolved] = np.inf, "unresolved"

    def contradicts(self, value: Array) -> Array:
        """Tell which values are not what was seen."""
        return np.asarray(np.abs(value - self.slope) > self.allowed)

    def believe(self, nearer: Near) -> None:
        """Take what a nearer look saw wherever the two cannot both be within what they allow, in place."""
        wrong = np.abs(self.slope - nearer.slope) > self.allowed + nearer.allowed
        for name in ("slope", "allowed", "bend", "kink", "diverges", "unresolved", "power"):
            getattr(self, name)[wrong] = getattr(nearer, name)[wrong]


def look_near(
    differences: Differences, which: Array, sides: Array, most: Array, value: Array, size: Array, noise: Array
) -> Near:
    """Evaluate f near x: on both sides where there is room and it is finite, else on the side that was taken.

    Parameters
    ----------
    differences : Differences
    which : ndarray of int, shape (lines,)
        Which of its lines.
    sides : ndarray of int, shape (lines,)
    most : ndarray, shape (lines,)
        The greatest step.
    value, size : ndarray, shape (lines, outputs)
        The derivative and the magnitude of f, roughly.
    noise : ndarray, shape (lines, outputs)
        If values have two columns for each complex output, so has the result.

    Notes
    -----
    A kink bends by its size times h, a smooth function by f''h**2, and noise is a limit to both: the step balances the
    last two, for an f that varies as its slope says, or by a thousandth of itself.
    """
    lines = differences.lines
    scale = lines.scale[which]
    variation = np.fmax(np.abs(value) * scale[:, None], size * 2.0**-10)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.nan_to_num(noise / variation, nan=0.0).max(axis=1, initial=0.0)
    h = scale * np.sqrt(64 * np.clip(relative, lines.eps[which] / 4, 2.0**-20))
    h = _within_bounds(lines, which, sides, power_of_two(np.fmin(h, most)))
    near = _look(differences, which, sides, h, noise, value.dtype)
    within = differences.smooth_within
    if within < max(WAVES, SPACINGS * float(lines.eps[which].max())):
        h = power_of_two(np.fmin(h, scale * np.fmax(within / RATIO, lines.eps[which])))
        nearer = _look(differences, which, sides, h, noise, value.dtype)
        too_far = RATIO * h > 2 * within * scale  # from one number to the next f is smooth, but not at the larger step
        nearer.unresolved = (nearer.kink | nearer.diverges) & ~near.diverges & too_far[:, None]
        near.believe(nearer)
    return near


def widen_by_nearer(
    differences: Differences, which: Array, sides: Array, h: Array, value: Array, error: Array, noise: Array
) -> None:
    """Widen the errors of differences of higher order, in place, where others from much nearer contradict them.

    Across many waves of f, differences are as small as a power of the step makes them, and so is all that they tell of
    their error. Noise that is more than is known of it does not look alike with two steps.

    Parameters
    ----------
    differences : Differences
    which : ndarray of int, shape (lines,)
        Which of its lines.
    sides : ndarray of int, shape (lines,)
    h : ndarray, shape (lines,)
    value, error, noise : ndarray, shape (lines, outputs)
        If values have two columns for each complex output, so have the others.
    """
    lines = differences.lines
    for factor in NEARER:
        step = power_of_two(h * factor)
        rows = np.flatnonzero(step >= LEAST * lines.eps[which] * lines.scale[which])
        for side, part in by_side(sides[rows]):
            here = rows[part]
            chosen = stencil(side, differences.order, 2 if side == "central" else 1)
            rounding = WORST * noise[here] * (chosen.norm * step[here] ** -float(chosen.order))[:, None]
            nearer = _apply(differences, which[here], chosen, step[here], value.dtype)
            distance = np.abs(nearer - value[here])
            apart = distance > error[here] + rounding
            doubtful = np.flatnonzero(apart.any(axis=1))
            if len(doubtful):
                again = here[doubtful]
                twice = _apply(differences, which[again], chosen, 2 * step[again], value.dtype)
                apart[doubtful] &= np.abs(twice - nearer[doubtful]) <= ALIKE * np.abs(nearer[doubtful])
                error[here] = np.where(apart, np.fmax(error[here], 2 * distance), error[here])


def _apply(differences: Differences, which: Array, chosen: Stencil, h: Array, dtype: Any) -> Array:
    """Apply a stencil to some lines; complex outputs stay so only if the dtype is complex."""
    values = differences.values(which, chosen.nodes, h)[0]
    values = values if dtype.kind == "c" else real_parts(values)
    weights, factors = chosen.weights[None, :], h ** -float(chosen.order)
    return real_and_imaginary(lambda part: _core.differences(weights, part, factors), values)


def _within_bounds(lines: Lines, which: Array, sides: Array, h: Array) -> Array:
    """Return steps of a look for which the bounds leave room: on both sides, or on the one that it then takes."""
    if lines.bounds.is_free:
        return h
    left, right = lines.left[which], lines.right[which]
    one = np.where(_is_forward(sides, left, right), right, left)
    room = np.fmax(np.fmin(left, right), one / 2) / RATIO
    return np.where(h > room, np.exp2(np.floor(np.log2(room))), h)


def _is_forward(sides: Array, left: Array, right: Array) -> Array:
    """Tell on which side a look is taken that cannot be on both."""
    return np.where(sides == CENTRAL, right >= left, sides == FORWARD)


def compare_sides(differences: Differences, h: Array, noise: Array) -> tuple[Array, Array]:
    """Compare the differences of higher order on both sides of x: at a kink of a lower derivative they stay apart.

    Parameters
    ----------
    differences : Differences
    h : ndarray, shape (lines,)
        The greatest of three steps, if it is not too large to see x.
    noise : ndarray, shape (lines, outputs)

    Returns
    -------
    gap : ndarray, shape (lines, outputs)
        How far they are apart.
    kink : ndarray of bool
        It is no smaller with half the step and a quarter, where that of a smooth function falls with the step. Where
        bounds leave room on one side only, there is nothing to compare.
    """
    order, h = differences.order, power_of_two(np.fmin(h, FARTHEST * differences.lines.scale))
    nodes = np.arange(-order, order + 1.0)
    ahead, behind = stencil("forward", order, 1), stencil("backward", order, 1)
    weights = np.zeros((1, len(nodes)))
    weights[0, order:] += ahead.weights
    weights[0, order::-1] -= behind.weights
    rows = np.flatnonzero(np.fmin(differences.lines.left, differences.lines.right) >= order * h)
    gaps = np.zeros((3, *noise.shape))
    if len(rows) == 0:
        return gaps[0], gaps[0] > 0
    for gap, step in zip(gaps, (h, h / 2, h / 4), strict=True):
        values = differences.values(rows, nodes, step[rows])[0]
        factors = step[rows] ** -float(order)
        gap[rows] = np.abs(real_and_imaginary(lambda part: _core.differences(weights, part, factors), values))  # noqa: B023
    rounding = WORST * noise * (ahead.norm + behind.norm) * ((h / 4) ** -float(order))[:, None]
    falls = gaps[1:] < STAYS * gaps[:-1]
    grows = gaps[1:] * STAYS > gaps[:-1]
    return gaps.max(axis=0), ~(falls | grows).any(axis=0) & (gaps[2] > 2 * rounding)


def _look(differences: Differences, which: Array, sides: Array, h: Array, noise: Array, dtype: Any) -> Near:
    """Evaluate f at steps h and RATIO*h, and say what the values look like; at a third step where that is a kink."""
    left, right = differences.lines.left[which], differences.lines.right[which]
    seen = np.full((2, len(FACTORS), *noise.shape), np.nan, dtype)
    slopes, bends = seen[:, ::2]
    _fill(seen, differences, which, h, np.fmin(left, right) >= RATIO * h, 0.0, FACTORS[::2])
    lost = ~np.isfinite(slopes).all(axis=(0, 2))
    forward = _is_forward(sides, left, right)
    _fill(seen, differences, which, h, lost & forward, 1.0, FACTORS[::2])
    _fill(seen, differences, which, h, lost & ~forward, -1.0, FACTORS[::2])
    rounding = 4 * WORST * noise / h[:, None]
    bend, farther = np.abs(bends)
    kink = (bend > farther / SMOOTH) & (bend > BEND * noise)
    diverges = np.abs(slopes[0]) > GROWTH * np.abs(slopes[1])
    diverges &= np.abs(slopes[0] - slopes[1]) > 2 * rounding
    allowed = rounding + np.abs(slopes[0] - slopes[1]) / RATIO
    near = Near(slopes[0], allowed, bend / h[:, None], kink, diverges, np.zeros_like(kink), np.zeros_like(kink))
    flagged = kink.any(axis=1)
    if flagged.any():
        for side, rows in ((0.0, ~lost), (1.0, lost & forward), (-1.0, lost & ~forward)):
            _fill(seen, differences, which, h, rows & flagged, side, FACTORS[1:2])
        _allow_powers(near, *seen)
    return near


def _allow_powers(near: Near, slopes: Array, bends: Array) -> None:
    """Where S grows by one factor twice, and by more than at a kink, f is a power: extrapolate its slope, in place.

    With curvature beside it, S of a kink grows by ever more; a kink within the steps, by ever less.
    """
    growth = np.abs(bends[1:] / bends[:-1])
    near.power = near.kink & (growth.min(axis=0) > POWER) & (np.abs(growth[1] / growth[0] - 1) < SAME)
    first, second = slopes[1] - slopes[0], slopes[2] - slopes[1]
    limit = slopes[0] - first * np.nan_to_num(first / (second - first))
    near.slope[near.power], near.allowed[near.power] = limit[near.power], 0


def _fill(
    seen: Array, differences: Differences, which: Array, h: Array, rows: Array, side: float, factors: tuple[float, ...]
) -> None:
    """Fill in some rows of slopes and bends, with multiples of steps h, on both sides (0) or one of them."""
    if not rows.any():
        return
    nodes = np.array([-1.0, 0.0, 1.0]) if side == 0 else side * np.array([0.0, 1.0, 2.0])
    for place, factor in enumerate(FACTORS):
        if factor not in factors:
            continue
        values = differences.values(which[rows], factor * nodes, h[rows])[0]
        values = values if seen.dtype.kind == "c" else real_parts(values)
        first, middle, last = np.moveaxis(values, 1, 0)
        rise = last - first if side == 0 else side * (4 * (middle - first) - (last - first))
        seen[0, place, rows] = rise / (2 * factor * h[rows, None])
        seen[1, place, rows] = (last - middle) - (middle - first)
