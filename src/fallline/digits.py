"""What the digits of f's values tell of how they were rounded: to single precision, or to decimals."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

__all__ = ["decimal_unit", "is_single"]

FEW = 12  # significant decimal digits that no double has by chance
SHORT = 2.0**12  # binary fractions with fewer digits than this tell nothing


def is_single(*values: float) -> bool:
    """Tell whether doubles are numbers that single precision has, and not all of them so short that any has."""
    with np.errstate(over="ignore"):  # compared as doubles: NumPy would round them first
        fit = all(value == float(np.float32(value)) for value in values)
    return fit and not all((math.frexp(value)[0] * SHORT).is_integer() for value in values)


def decimal_unit(values: Iterable[float]) -> float:
    """Return the unit that numbers were rounded to for few decimal digits, 0 if they were not.

    Examples
    --------
    >>> import math
    >>> decimal_unit([0.125, 3.1416, 2.0]), decimal_unit([0.125, math.pi])
    (0.0001, 0.0)
    """
    exponents = []
    for value in map(float, values):
        text = f"{value:.{FEW - 1}e}"
        if not abs(float(text) - value) <= 2 * math.ulp(value):
            return 0.0
        digits, _, exponent = text.partition("e")
        exponents.append(int(exponent) - len(digits.partition(".")[2].rstrip("0")))
    return 10.0 ** min(exponents, default=0)
