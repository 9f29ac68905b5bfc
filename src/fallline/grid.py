"""The grid that values of a function were rounded to, whose unit no difference of neighbours shows."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.digits import decimal_unit
from fallline.lines import Differences, real_parts

__all__ = ["grids", "odd_look", "units_of"]

Array = npt.NDArray[Any]

REACH, APART = 2.0**-3, 2.0**5  # relative to the scale: how far to go where f may be rounded, and the stages
DISTINCT = 4  # values that a grid must have: f with fewer has jumps
FINEST = 2.0**10  # the least unit of a grid, in roundings of f
_ODDLY = np.array([-1, -1, -1, 1, 1, 1]) * np.sqrt([0.91, 0.37, 0.07, 0.13, 0.51, 0.89])  # nobody's grid


def grids(differences: Differences, line: int, constant: Array, within: float) -> Array:
    """Return the unit of which all values are multiples, for outputs that are constant from near; 0 if there is none.

    Values that were rounded to decimals are constant from near, where no difference shows their error. So f is looked
    at from farther and farther away, until some of its values are distinct.
    """
    units, reach = np.where(constant, np.nan, 0.0), 4 * within
    while np.isnan(units).any() and reach < APART * REACH:
        unknown = np.isnan(units)
        units[unknown] = odd_look(differences, line, min(reach, REACH), unknown)[unknown]
        reach *= APART
    return np.asarray(np.nan_to_num(units))


def odd_look(differences: Differences, line: int, reach: float, which: Array) -> Array:
    """Return, for some outputs, the unit of values at distances of which no polynomial has a grid."""
    lines = differences.lines
    far = np.fmin(reach * lines.scale[line], np.where(_ODDLY > 0, lines.right[line], lines.left[line]))
    values = differences.values(np.array([line]), _ODDLY * far, np.ones(1))[0][0]
    return units_of(values, differences.function.eps, which)


def units_of(values: Array, eps: float, which: Array) -> Array:
    """Return, for some outputs, the unit of which all values are multiples (see `_unit`), and 0 for the others."""
    units = np.zeros(values.shape[1])
    for output in np.flatnonzero(which):
        parts = real_parts(values[:, output, None]).T.tolist()
        units[output] = max((_unit(part, eps) for part in parts), key=lambda unit: (unit > 0, unit != unit))
    return units


def _unit(values: list[float], eps: float) -> float:
    """Return the greatest common divisor of what values differ by (Euclid), 0 if there is none; NaN for too few values.

    A remainder that is 0 seems to be the more, the smaller the divisor: about rounding * most / divisor. What is too
    fine beside `most` for that may still be seen in the decimal digits of the values.
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
            return _decimals(values, rounding)
        if distance > least:  # it is a multiple, and tells the unit more accurately than remainders
            unit = distance / round(distance / unit)
    fits = unit > 0 and all(abs(distance - round(distance / unit) * unit) <= 8 * rounding for distance in distances)
    return unit if fits else _decimals(values, rounding)


def _decimals(values: list[float], rounding: float) -> float:
    """Return the unit of values with few decimal digits, or 0."""
    unit = decimal_unit(values)
    return unit if unit > FINEST * rounding else 0.0
