"""How noisy a function is, and steps that fit its noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.grid import grids, odd_look, units_of
from fallline.lines import Differences, Lines, power_of_two

__all__ = ["is_wild", "least_noise", "measure_noise", "shi_steps"]

Array = npt.NDArray[Any]

POINTS = 7
DISTANCES = tuple(2.0**-k for k in (13, 20, 27, 34, 41, 48))  # relative to the scale of the line; x's spacing follows
MUCH = 1e-3  # of f's size: more is no noise, or f is nothing but that
JUMP = 64.0  # by how much values on both sides of a jump differ more than others
FALLS = 4.0  # by how much noise may seem to fall by chance
ODD = 1.0737  # times a power of two, a number of many digits
_NODES = np.arange(POINTS, dtype=np.float64) - POINTS // 2

# Shi, Xie, Xuan & Nocedal (2022), section 3
SHI_LOW, SHI_HIGH, SHI_RATIO, SHI_TRIES = 1.5, 6.0, 3.0, 20


def least_noise(eps: float, size: Array, rise: Array) -> Array:
    """Return what rounding makes of a value, at least: of itself, and of what it is computed from.

    Parameters
    ----------
    eps : float
        Of f's numbers.
    size : ndarray
        The magnitude of f.
    rise : ndarray
        The magnitude of its derivative, times that of x: 1 - x has lost digits near x = 1 that log(1 - x) shows.
    """
    return np.asarray(eps * np.fmax(size / 4, rise / 8))


def is_wild(noise: Array, size: Array, span: Array) -> Array:
    """Tell where noise is a large part of f, and of how much f varies: no difference of it says anything.

    Parameters
    ----------
    noise : ndarray
    size : ndarray
        The magnitude of f.
    span : ndarray
        How far its values are apart on the scale of x.
    """
    # What is 0 wherever it was looked at is no noise: that was seen along another direction.
    return np.asarray((noise > MUCH * size) & (noise > 0.1 * span) & (size > 0))


def measure_noise(differences: Differences, line: int = 0) -> tuple[Array, Array, float]:
    """Estimate the noise of f along a line, in every output, from difference tables.

    Parameters
    ----------
    differences : Differences
        Of the function; f(x) is shared with it.
    line : int

    Returns
    -------
    noise : ndarray, shape (outputs,)
        Standard deviation of the error of one value; at least what rounding the value makes. NaN where f is not finite.
    size : ndarray, shape (outputs,)
        The greatest magnitude of f seen.
    within : float
        Relative to the line's scale: where what looked like noise last fell. From farther away f varies too quickly.

    References
    ----------
    Moré & Wild (2011), Estimating computational noise, SIAM J. Sci. Comput. 33(3), 1292-1314.
    """
    lines, scale, spacing = differences.lines, differences.lines.scale[line], float(differences.lines.eps[line])
    seen: _Looks | None = None
    for distance in (*(distance for distance in DISTANCES if distance > 2 * spacing), spacing):
        h = _distance(lines, line, scale * distance)
        if h == 0:
            break
        nodes = _nodes_within(lines, line, h)
        values = differences.values(np.array([line]), nodes, np.array([h]))[0][0]
        if seen is None:
            seen = _Looks(differences, line, values.shape[1])
        seen.take(distance, nodes, values)
        if seen.sure.all():
            break
    if seen is None:
        size = np.abs(differences.f0(np.array([line]))[0])
        return size * differences.function.eps / 4, size, 1.0
    return seen.conclude(), seen.size, seen.within


class _Looks:
    """What looks at f along a line, from nearer each time, say of every output.

    Attributes
    ----------
    size : ndarray, shape (outputs,)
        The greatest magnitude seen.
    sure : ndarray of bool
        The noise need not be looked at again.
    within : float
        The distance, relative to the line's scale, at which noise last fell.
    """

    def __init__(self, differences: Differences, line: int, outputs: int) -> None:
        self.differences, self.line, self.eps = differences, line, differences.function.eps
        self.size, self.sure, self.within = np.zeros(outputs), np.zeros(outputs, bool), 1.0
        self._noise, self._highest = np.full((2, outputs), np.nan)
        self._constant, self._constant_within = np.zeros(outputs, bool), float(differences.lines.eps[line])

    def take(self, distance: float, nodes: Array, values: Array) -> None:
        """Take what values at equal distances say."""
        self.size = np.fmax(self.size, np.max(np.abs(values), axis=0, initial=0.0, where=np.isfinite(values)))
        rounding, before = self.eps * self.size, self._noise.copy()
        units = self._stairs(distance, values)
        for output in np.flatnonzero(~self.sure):
            so_far = before[output], rounding[output], self.size[output]
            self._noise[output], self.sure[output] = _narrower(nodes, values[:, output], *so_far)
        self.sure &= ~(units > 0)  # values may have been rounded: on a regular stair no noise is seen
        same = np.isnan(units) & np.isfinite(values).all(axis=0)
        if same.any():
            self._constant, self._constant_within = self._constant | same, distance
        self._highest = np.fmax(self._highest, self._noise)
        if (self._noise < before / FALLS).any():
            self.within = distance

    def _stairs(self, distance: float, values: Array) -> Array:
        """Return the units of outputs that are not sure, of values at equal distances that are on a grid.

        So are those of every straight line. The first time, when f may well be one, a look at other distances tells.
        """
        units = units_of(values, self.eps, ~self.sure)
        if distance == DISTANCES[0] and (units > 0).any():
            units[odd_look(self.differences, self.line, distance, units > 0) == 0] = 0
        return units

    def conclude(self) -> Array:
        """Return the noise, which contains rounding."""
        # That it fell a little is no sign of a smooth f: where it is high even so, waves are not resolved.
        noise = np.where(self._noise > MUCH * self.size, self._highest, self._noise)
        if self._constant.any():
            units = grids(self.differences, self.line, self._constant, self._constant_within)
            noise = np.fmax(noise, units / 12**0.5)
        return np.asarray(np.fmax(noise, self.eps / 4 * self.size))


def _narrower(nodes: Array, values: Array, before: float, rounding: float, size: float) -> tuple[float, bool]:
    """Return the noise after a look at a smaller distance, and whether it is sure.

    What looks like noise may be a kink, which falls with the distance, or a function that varies quickly: noise does
    not depend on the distance, and is a small part of the value.
    """
    beside_jump = _beside_a_jump(nodes, values, rounding)
    if beside_jump is not None:
        return beside_jump, False  # whether the jump is at x or near it, nearer values tell
    level, found = _level(values)
    if level <= 2 * rounding:
        return level, True
    if np.isnan(level):
        return before, False
    return level, bool(found and level <= MUCH * size and level >= before / FALLS)


def _beside_a_jump(nodes: Array, values: Array, rounding: float) -> float | None:
    """Return by how much values that are neighbours differ, but for a jump at x; None if there is none.

    A jump does not fall with the distance, as noise does not; but next to it f is as smooth as elsewhere.
    """
    steps = np.abs(np.diff(values))
    touch = (nodes[1:] == 0) | (nodes[:-1] == 0)
    rest = float(steps[~touch].max())
    return rest if steps[touch].max() > JUMP * max(rest, rounding) else None


def _distance(lines: Lines, line: int, wanted: float) -> float:
    """Return a distance of nodes for which there is room on one side.

    It is a multiple of x's spacing, so that x + h is exact, of many digits: at a power of two rounding has patterns.
    """
    room = max(lines.left[line], lines.right[line]) / (POINTS - 1)
    spacing = float(np.exp2(np.floor(np.log2(lines.eps[line] * lines.scale[line]))))
    return float(np.floor(min(ODD * wanted, room) / spacing)) * spacing


def _nodes_within(lines: Lines, line: int, h: float) -> Array:
    """Return equally spaced nodes, moved to one side where the bounds are near."""
    reach = POINTS // 2
    if lines.left[line] < reach * h:
        return _NODES + reach
    return _NODES - reach if lines.right[line] < reach * h else _NODES


def _level(values: Array) -> tuple[float, bool]:
    """Return the noise level of values at equal distances, NaN where some are not finite, and whether it is sure."""
    if not np.isfinite(values).all():
        return np.nan, False
    parts = (values.real, values.imag) if values.dtype.kind == "c" else (values,)
    levels, ways = zip(*(_core.noise(np.ascontiguousarray(part)) for part in parts), strict=True)
    return math.hypot(*levels), "large" not in ways


def shi_steps(differences: Differences, noise: Array) -> Array:
    """Search a step for every line whose truncation and noise are in balance, without knowing derivatives.

    Parameters
    ----------
    differences : Differences
    noise : ndarray, shape (lines or 1, outputs)
        Absolute error of f.

    Returns
    -------
    ndarray, shape (lines,)

    Notes
    -----
    The differences with steps h and 3h are compared: the ratio of what they differ by to what noise makes them differ
    by shall be between 1.5 and 6. For several outputs the one with the greatest ratio decides. Where the ratio stays
    small, as it does for a linear function, the step ends at the scale of x. Where f is not finite at the
    first step, no other is looked for.

    References
    ----------
    Shi, Xie, Xuan & Nocedal (2022), Adaptive finite-difference interval estimation for noisy derivative-free
    optimization, SIAM J. Sci. Comput. 44(4), A2302-A2321.
    """
    lines = differences.lines
    size = np.fmax(np.abs(differences.f0(np.arange(len(lines)))), noise)
    relative = float(np.nanmax(noise / np.where(size > 0, size, 1), initial=2.0**-52))
    h = np.minimum(differences.steps(relative), lines.scale)
    first = differences(h)
    stays = (first.side == differences.fit(h, np.arange(len(h)))[0]) & (first.step >= h / 2)
    least = 4 * lines.eps * lines.scale
    low, high = np.zeros(len(lines)), np.full(len(lines), np.inf)
    active = np.flatnonzero(stays)
    for _ in range(SHI_TRIES):
        if len(active) == 0:
            break
        ratio = _shi_ratio(differences, h, active, noise[active] if len(noise) > 1 else noise)
        small, large = ratio < SHI_LOW, ratio > SHI_HIGH
        low[active[small]], high[active[large]] = h[active[small]], h[active[large]]
        at_end = (small & (h[active] >= lines.scale[active])) | (large & (h[active] <= least[active]))
        active = active[(small | large) & ~at_end]
        bracketed = np.isfinite(high[active]) & (low[active] > 0)
        with np.errstate(invalid="ignore"):
            middle = np.sqrt(low[active] * high[active])
        wider = np.where(np.isinf(high[active]), h[active] * 4, h[active] / 4)
        h[active] = np.clip(np.where(bracketed, middle, wider), least[active], lines.scale[active])
    return power_of_two(h)


def _shi_ratio(differences: Differences, h: Array, which: Array, noise: Array) -> Array:
    near, far = differences.plain(h[which], which), differences.plain(SHI_RATIO * h[which], which)
    order = differences.order
    norm = differences.stencil(differences.side).norm * (1 + SHI_RATIO**-order)
    spread = np.abs(near.value - far.value) * (h[which] ** order)[:, None] / norm
    spread[~np.isfinite(spread)] = np.inf
    return np.asarray((spread / np.where(noise > 0, noise, np.finfo(np.float64).tiny)).max(axis=1))
