"""What a difference with a chosen step is worth, by half the step, the noise, and a look from near."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.lines import Applied, Differences, by_side
from fallline.near import look_near
from fallline.noise import least_noise

__all__ = ["bound_errors"]

Array = npt.NDArray[Any]

# Calibrated on tests/test_zoo.py: with two thirds of either, less than 99 of 100 bounds hold.
WORST = 6.0  # standard deviations of noise
SAFETY = 4.0  # the truncation at one point in a second step's eyes; it may pass through zero
GROWTH = 1.25  # D(h/2)/D(h) of differences that diverge


def bound_errors(differences: Differences, applied: Applied, noise: Array) -> tuple[Array, Array]:
    """Bound the errors of differences by evaluating them once more, with half the step.

    Parameters
    ----------
    differences : Differences
    applied : Applied
        What it gave for all lines.
    noise : ndarray, shape (lines, outputs)
        Standard deviation of the error of one value of f.

    Returns
    -------
    error : ndarray, shape (lines, outputs)
        Bound of the absolute error, infinite where the differences diverge.
    status : ndarray of str
        "ok", "kink", "diverges", "not finite".
    """
    h, order = applied.step, differences.order
    norm, shrunk = np.empty(len(h)), np.empty(len(h))
    for side, rows in by_side(applied.side):
        chosen = differences.stencil(side)
        norm[rows], shrunk[rows] = chosen.norm, 1 - 2.0**-chosen.accuracy  # how much of the truncation is gone at h/2
    rise = np.abs(applied.value) * differences.lines.scale[:, None]
    noise = np.fmax(noise, least_noise(differences.function.eps, applied.size, rise if order == 1 else 0 * rise))
    half = differences.repeat(applied, h / 2).value
    rounding = WORST * noise * (norm * h ** -float(order))[:, None]
    distance = np.abs(half - applied.value)
    error = SAFETY * distance / shrunk[:, None] + rounding + 4 * np.finfo(np.float64).eps * np.abs(applied.value)
    status = np.full(error.shape, "ok", "<U10")
    if order == 1:
        near = look_near(differences, np.arange(len(h)), applied.side, h, applied.value, applied.size, noise)
        near.widen(applied.value, error, status)
    else:
        diverges = (np.abs(half) > GROWTH * np.abs(applied.value)) & (distance > 8 * rounding)
        error[diverges], status[diverges] = np.inf, "diverges"
    lost = ~np.isfinite(applied.value)
    error[lost], status[lost] = np.inf, "not finite"
    return error, status
