"""Descents that see only values: the hiker who cannot see the slope, and simultaneous perturbation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SPSA", "hike"]

Array = npt.NDArray[np.float64]

_EXPONENT = 0.101  # of c_k = c/(k + 1)^0.101; Spall 1998, section III.B
_LONGER = 1.5  # the step after one that led down; after four that did not, it is as long as before
_SHORTER = _LONGER**-0.25


class SPSA:
    """Gradients from two values, whatever the number of coordinates.

    Every entry of x is moved by +c or -c at once, at random, and back: g = (f(x + cd) - f(x - cd))/(2c) d, where d
    is the vector of signs. Its mean is the gradient to second order in c, which shrinks as c/(k + 1)^0.101.

    Parameters
    ----------
    value : callable
        f of a flat point.
    c : float
    rng : numpy.random.Generator
    maximize : bool
    project : callable, optional
        Moves a point into the allowed region, before f is called there.

    References
    ----------
    Spall 1992, IEEE Trans. Automatic Control 37(3), 332-341; Spall 1998, IEEE Trans. Aerospace and Electronic Systems
    34(3), 817-823 (the gains).
    """

    def __init__(
        self,
        value: Callable[[Array], float],
        c: float,
        rng: np.random.Generator,
        maximize: bool,
        project: Callable[[Array], Array] | None = None,
    ) -> None:
        self.value, self.c, self.rng, self.project = value, c, rng, project
        self.sign = -1.0 if maximize else 1.0
        self.k = 0
        self.best, self.best_x = math.inf * self.sign, np.empty(0)

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return the mean of two values beside x, and the estimate of the gradient."""
        c = self.c / (self.k + 1) ** _EXPONENT
        self.k += 1
        signs = self.rng.choice((-1.0, 1.0), size=x.size)
        ends = [x + c * signs, x - c * signs]
        if self.project is not None:
            ends = [self.project(end) for end in ends]
        high, low = (self._seen(end) for end in ends)
        reach = ends[0] - ends[1]  # 2c*signs, unless a bound is near
        slopes = np.divide(high - low, reach, out=np.zeros_like(x), where=reach != 0)
        return (high + low) / 2, slopes

    def _seen(self, x: Array) -> float:
        value = self.value(x)
        if self.sign * value < self.sign * self.best:
            self.best, self.best_x = value, x
        return value


def hike(
    value: Callable[[Array], float],
    x: Array,
    length: float,
    rng: np.random.Generator,
    maximize: bool,
    project: Callable[[Array], Array] | None = None,
) -> Iterator[tuple[Array, float, float]]:
    """Go down blindfolded: try a random step, and take it if it leads down.

    The steps are normally distributed. Their length follows the rule of one fifth: it grows by 1.5 where a step led
    down and shrinks by the fourth root of that where it did not, so that about every fifth does.

    Yields
    ------
    x, f(x), length
        After every try, the start first.

    References
    ----------
    Rechenberg 1973, Evolutionsstrategie; the lecture's picture of the hiker.
    """
    here = value(x)
    yield x, here, length
    while True:
        trial = x + length * rng.standard_normal(x.size)
        if project is not None:
            trial = project(trial)
        there = value(trial)
        if (there > here) if maximize else (there < here):
            x, here, length = trial, there, length * _LONGER
        else:
            length *= _SHORTER
        yield x, here, length


def default_rng(owner: str, rng: Any) -> np.random.Generator:
    """Return a generator by SPEC 7, or raise."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise TypeError(
            f"{owner}(rng): must be None, an integer >= 0 or a numpy.random.Generator; got {rng!r}. Pass a seed."
        ) from None
