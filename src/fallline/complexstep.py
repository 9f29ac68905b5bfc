"""The complex step: the imaginary part of f(x + ih)/h, which has no cancellation, where f is analytic in its code.

Code that is not (``abs``, a cast to real, a conjugate) gives wrong answers without a sign, mostly 0. So every block is
compared once with real differences, along a random direction.

References
----------
Squire & Trapp (1998), Using complex variables to estimate derivatives of real functions, SIAM Review 40(1), 110-112.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.evaluate import Function
from fallline.lines import Differences, Lines
from fallline.space import Leaf

__all__ = ["complex_step"]

Array = npt.NDArray[Any]

H = 1e-20  # relative to the scale; its square is nothing beside 1
AGREE = 1e-6  # relative; real differences are good to 1e-9 or so, and wrong code is not that near
CURE = 'Use method="central".'


def complex_step(
    function: Function, lines: Lines, typical: Array, rng: np.random.Generator, max_memory: int
) -> tuple[Array, Array]:
    """Differentiate along lines by the complex step.

    Returns
    -------
    value : ndarray, shape (lines, outputs)
    step : ndarray, shape (lines,)

    Raises
    ------
    ValueError
        If f, at complex points, gives real numbers or disagrees with real differences.
    """
    if function.native is not None:
        raise ValueError(
            f'{function.owner}(f): must take complex numbers for method="complex"; got a native function of doubles. '
            f"{CURE}"
        )
    h = lines.scale * H
    block = max(1, max_memory // (16 * max(1, function.space.size)))
    values = [
        _imaginary(function, lines, np.arange(first, min(first + block, len(lines))), h)
        for first in range(0, len(lines), block)
    ]
    for leaf in function.space.leaves:
        entries = np.unique(lines.index[(lines.index >= leaf.start) & (lines.index < leaf.stop)])
        if len(entries):
            _cross_check(function, Lines.random(function.space, typical, lines.bounds, rng, entries), leaf)
    return np.concatenate(values), h


def _imaginary(function: Function, lines: Lines, which: Array, h: Array) -> Array:
    """Return the imaginary part of f at x + ih along some lines, over h."""
    points = np.tile(function.space.flat.astype(np.complex128), (len(which), 1))
    for row, line in zip(points, which, strict=True):
        part = slice(lines.starts[line], lines.starts[line + 1])
        row[lines.index[part]] += 1j * h[line] * lines.units[part]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)  # the comparison is what decides
            results = function.at_rows(points)
    except TypeError as error:
        raise ValueError(
            f'{function.owner}(f): must take complex numbers for method="complex"; got {type(error).__name__} '
            f"({error}). {CURE}"
        ) from error
    for result in results:
        if result.dtype.kind != "c":
            raise ValueError(
                f'{function.owner}(f): must return complex numbers at complex points for method="complex"; got '
                f"{result.dtype}: somewhere it drops the imaginary part. {CURE}"
            )
    function.shape = results[0].shape
    return np.array([result.imag.ravel() for result in results]) / h[which, None]


def _cross_check(function: Function, line: Lines, leaf: Leaf) -> None:
    """Compare with a real difference along a random line in one block, or raise."""
    by_complex = _imaginary(function, line, np.arange(1), line.scale * H)[0]
    differences = Differences(function, line, 1, 2, "central")
    applied = differences(differences.steps(line.eps))
    real = applied.value[0]
    relative = applied.step[0] / line.scale[0]
    error = (8 * line.eps[0] / relative + 16 * relative**2) * applied.size[0] / line.scale[0]
    allowed = AGREE * np.fmax(np.abs(real), np.abs(by_complex)) + error
    wrong = np.flatnonzero(~(np.abs(real - by_complex) <= allowed))
    if len(wrong):
        where = "" if function.space.is_array else f" in {leaf.name!r}"
        raise ValueError(
            f'{function.owner}(f): must be real at real points and analytic in its code for method="complex"; got a '
            f"derivative of {by_complex[wrong[0]]:.6g} where real differences give {real[wrong[0]]:.6g}, along a "
            f"random direction{where}. abs, conj, casts to real and the like are not analytic. {CURE}"
        )
