"""What a difference with a chosen step is worth, by half the step, the noise, and a look from near."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.jump import find_jumps
from fallline.lines import Applied, Differences, by_side, power_of_two
from fallline.near import Near, look_near, widen_by_nearer
from fallline.noise import is_wild, least_noise

__all__ = ["bound_errors"]

Array = npt.NDArray[Any]

# Calibrated by tests/calibrate.py, as are those of the other files; docs/trust.md has the figures.
WORST = 6.0  # standard deviations of noise
SAFETY = 4.0  # the truncation at one point in a second step's eyes; it may pass through zero
GROWTH = 1.25  # D(h/2)/D(h) of differences that diverge
STEEP = 16.0  # times what f changes by within an eighth of its scale, or less: a slope that is none
AROUND = 2.0 ** -np.arange(3, 7)  # relative to the scale: how far to go to see how much f varies


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
        "ok", "kink", "diverges", "unresolved", "not finite".
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
        apart = np.where(near.contradicts(applied.value), np.abs(applied.value - near.slope), 0.0)
        far_off = np.fmax(apart, np.where(distance > rounding, distance, 0.0))
        suspected = _is_steep(differences, applied, near, far_off) & (status == "ok")
        status[find_jumps(differences, applied, suspected)] = "unresolved"
    else:
        diverges = (np.abs(half) > GROWTH * np.abs(applied.value)) & (distance > 8 * rounding)
        error[diverges], status[diverges] = np.inf, "diverges"
        widen_by_nearer(differences, np.arange(len(h)), applied.side, h, applied.value, error, noise)
    wild = _wild(differences, applied, noise) & (error > np.abs(applied.value))
    error[wild], status[wild] = np.inf, "unresolved"
    lost = ~np.isfinite(applied.value)
    error[lost], status[lost] = np.inf, "not finite"
    return error, status


def _is_steep(differences: Differences, applied: Applied, near: Near, far_off: Array) -> Array:
    """Tell where a value is far off, and it or what was seen from near no slope that f has for long."""
    found = 2 * far_off > np.abs(applied.value)
    rows = np.flatnonzero(found.any(axis=1))
    if len(rows):
        slope = np.fmax(np.abs(applied.value), np.abs(near.slope))[rows]
        found[rows] &= slope * differences.lines.scale[rows, None] > STEEP * _change_around(differences, rows)[0]
    return found


def _wild(differences: Differences, applied: Applied, noise: Array) -> Array:
    """Tell where f is nothing but noise; only where it may be, f is evaluated farther away."""
    wild = is_wild(noise, applied.size, 0.0 * noise)
    rows = np.flatnonzero(wild.any(axis=1))
    if len(rows):
        span, size = _change_around(differences, rows)
        wild[rows] = is_wild(noise[rows], np.fmax(applied.size[rows], size), span)
    return wild


def _change_around(differences: Differences, rows: Array) -> tuple[Array, Array]:
    """Return by how much f changes around x on some lines, and how large it is there."""
    nodes = np.concatenate([-AROUND, [0.0], AROUND])
    values = differences.values(rows, nodes, power_of_two(differences.lines.scale[rows]))[0]
    distance = np.abs(values - values[:, len(AROUND), None])
    span, size = (np.max(of, axis=1, initial=0.0, where=np.isfinite(of)) for of in (distance, np.abs(values)))
    return span, size
