"""Jumps of f beside x, within the steps of differences: values that stay apart however near they are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.lines import Applied, Differences, by_side

__all__ = ["find_jumps"]

Array = npt.NDArray[Any]

HALVINGS = 48  # of the distance of two points: less than that of neighbouring numbers, at most
STAYS = 0.5  # of the change: that of a smooth function has become less before


def find_jumps(differences: Differences, applied: Applied, suspected: Array) -> Array:
    """Tell where f jumps between the points of differences.

    Parameters
    ----------
    differences : Differences
    applied : Applied
        What it gave for all lines.
    suspected : ndarray of bool, shape (lines, outputs)
        Where to look; along each line for the output that changes most, and others that jump there, too.

    Returns
    -------
    ndarray of bool, shape (lines, outputs)
    """
    jumps = np.zeros_like(suspected)
    rows = np.flatnonzero(suspected.any(axis=1))
    for side, part in by_side(applied.side[rows]):
        which = rows[part]
        nodes = np.union1d(differences.stencil(side).nodes, 0.0)
        jumps[which] = suspected[which] & _jumps(differences, which, nodes, applied.step[which], suspected[which])
    return jumps


def _jumps(differences: Differences, which: Array, nodes: Array, h: Array, suspected: Array) -> Array:
    """Halve the interval in which f changes most, on some lines."""
    values = differences.values(which, nodes, h)[0]
    change = np.nan_to_num(np.abs(np.diff(values, axis=1)) * suspected[:, None, :], posinf=0.0)
    row = np.arange(len(which))
    place, output = np.divmod(change.reshape(len(which), -1).argmax(axis=1), change.shape[2])
    low, high = nodes[place] * h, nodes[place + 1] * h
    at_low, at_high = values[row, place], values[row, place + 1]
    before = np.abs(at_high - at_low)
    for _ in range(HALVINGS):
        stays = np.abs(at_high - at_low) > STAYS * before
        if not stays[row, output].any():
            break
        middle = (low + high) / 2
        at_middle = differences.values(which, np.ones(1), middle)[0][:, 0]
        left = (np.abs(at_middle - at_low) >= np.abs(at_high - at_middle))[row, output]
        low, high = np.where(left, low, middle), np.where(left, middle, high)
        in_left = left[:, None]
        at_low, at_high = np.where(in_left, at_low, at_middle), np.where(in_left, at_middle, at_high)
    return np.asarray(stays)
