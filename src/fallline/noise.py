"""How noisy a function is, and steps that fit its noise."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.lines import Differences, Lines, power_of_two, real_parts

__all__ = ["is_wild", "least_noise", "measure_noise", "shi_steps"]

Array = npt.NDArray[Any]

POINTS = 7
DISTANCES = tuple(2.0**-k for k in (13, 20, 27, 34, 41, 48))  # relative to the scale of the line; x's spacing follows
MUCH = 1e-3  # of f's size: more is no noise, or f is nothing but that
JUMP = 64.0  # by how much values on both sides of a jump differ more than others
FALLS = 4.0  # by how much noise may seem to fall by chance
REACH, APART = 2.0**-3, 2.0**5  # relative to the scale: how far to go where f may be rounded, and the stages
DISTINCT = 4  # values that a grid must have: f with fewer has jumps
FINEST = 2.0**10  # the least unit of a grid, in roundings of f
_ODDLY = np.array([-1, -1, -1, 1, 1, 1]) * np.sqrt([0.91, 0.37, 0.07, 0.13, 0.51, 0.89])  # nobody's grid
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
    return np.asarray((noise > MUCH * size) & (noise > 0.1 * span))


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
    lines, scale = differences.lines, differences.lines.scale[line]
    noise: Array | None = None
    size, highest, sure, constant, within = np.zeros(0), np.zeros(0), *np.zeros((2, 0), bool), 1.0
    spacing = constant_within = float(lines.eps[line])
    for distance in (*(distance for distance in DISTANCES if distance > 2 * spacing), spacing):
        h = _distance(lines, line, scale * distance)
        if h == 0:
            break
        nodes = _nodes_within(lines, line, h)
        values = differences.values(np.array([line]), nodes, np.array([h]))[0][0]
        if noise is None:
            noise, size = np.full(values.shape[1], np.nan), np.zeros(values.shape[1])
            highest, sure, constant = noise.copy(), *np.zeros((2, values.shape[1]), bool)
        size = np.fmax(size, np.max(np.abs(values), axis=0, initial=0.0, where=np.isfinite(values)))
        rounding, before = differences.function.eps * size, noise.copy()
        units = _stairs(differences, line, distance, values, ~sure)
        for output in np.flatnonzero(~sure):
            so_far = noise[output], rounding[output], size[output]
            noise[output], sure[output] = _narrower(nodes, values[:, output], *so_far)
        sure &= ~(units > 0)  # values may have been rounded: on a regular stair no noise is seen
        same = np.isnan(units) & np.isfinite(values).all(axis=0)
        constant, constant_within = constant | same, distance if same.any() else constant_within
        highest = np.fmax(highest, noise)
        if (noise < before / FALLS).any():
            within = distance
        if sure.all():
            break
    if noise is None:
        size = np.abs(differences.f0(np.array([line]))[0])
        return size * differences.function.eps / 4, size, within
    # That it fell a little is no sign of a smooth f: where it is high even so, waves are not resolved.
    noise = np.where(noise > MUCH * size, highest, noise)
    if constant.any():
        noise = np.fmax(noise, _grids(differences, line, constant, constant_within) / 12**0.5)
    return np.fmax(noise, differences.function.eps / 4 * size), size, within


def _stairs(differences: Differences, line: int, distance: float, values: Array, which: Array) -> Array:
    """Return the units of some outputs whose values, at equal distances, are on a grid.

    So are those of every straight line. The first time, when f may well be one, a look at other distances tells.
    """
    units = _units(values, differences.function.eps, which)
    if distance == DISTANCES[0] and (units > 0).any():
        units[_odd_look(differences, line, distance, units > 0) == 0] = 0
    return units


def _grids(differences: Differences, line: int, constant: Array, within: float) -> Array:
    """Return the unit of which all values are multiples, for outputs that are constant from near; 0 if there is none.

    Values that were rounded to decimals are constant from near, where no difference shows their error. So f is looked
    at from farther and farther away, until some of its values are distinct.
    """
    units, reach = np.where(constant, np.nan, 0.0), 4 * within
    while np.isnan(units).any() and reach < APART * REACH:
        unknown = np.isnan(units)
        units[unknown] = _odd_look(differences, line, min(reach, REACH), unknown)[unknown]
        reach *= APART
    return np.asarray(np.nan_to_num(units))


def _odd_look(differences: Differences, line: int, reach: float, which: Array) -> Array:
    """Return, for some outputs, the unit of values at distances of which no polynomial has a grid."""
    lines = differences.lines
    far = np.fmin(reach * lines.scale[line], np.where(_ODDLY > 0, lines.right[line], lines.left[line]))
    values = differences.values(np.array([line]), _ODDLY * far, np.ones(1))[0][0]
    return _units(values, differences.function.eps, which)


def _units(values: Array, eps: float, which: Array) -> Array:
    """Return, for some outputs, the unit of which all values are multiples (see `_unit`), and 0 for the others."""
    units = np.zeros(values.shape[1])
    for output in np.flatnonzero(which):
        parts = real_parts(values[:, output, None]).T.tolist()
        units[output] = max((_unit(part, eps) for part in parts), key=lambda unit: (unit > 0, unit != unit))
    return units


def _unit(values: list[float], eps: float) -> float:
    """Return the greatest common divisor of what values differ by (Euclid), 0 if there is none; NaN for too few values.

    A remainder that is 0 seems to be the more, the smaller the divisor: about rounding * most / divisor.
    """
    values = sorted(value for value in values if math.isfinite(value))
    if len(values) < DISTINCT:
        return math.nan
    rounding = eps * max(-values[0], values[-1])
    distances = sorted(b - a for a, b in pairwise(values))
    if distances[1 - DISTINCT] <= 8 * rounding:
        return math.nan
    most, unit = values[-1] - values[0], 0.0
    least = max(FINEST * rounding, math.sqrt(4 * rounding * most))
    for distance in distances:
        rest = distance
        while rest > least:
            unit, rest = rest, abs(unit - round(unit / rest) * rest)
        if rest * unit > 16 * rounding * most:
            return 0.0
        if distance > least:  # it is a multiple, and tells the unit more accurately than remainders
            unit = distance / round(distance / unit)
    fits = unit > 0 and all(abs(distance - round(distance / unit) * unit) <= 8 * rounding for distance in distances)
    return unit if fits else 0.0


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
