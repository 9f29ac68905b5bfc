"""Sparse Jacobians: columns that share no row are differentiated together (Curtis, Powell & Reid 1974).

References
----------
Curtis, Powell & Reid (1974), On the estimation of sparse Jacobian matrices, IMA J. Applied Mathematics 13(1), 117-119.
Coleman & Moré (1983), Estimation of sparse Jacobian matrices and graph coloring problems, SIAM J. Numer. Anal. 20(1).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.adaptive import resolve
from fallline.lines import Differences, Lines
from fallline.noise import measure_noise
from fallline.task import Slopes, Task

__all__ = ["Pattern", "colour_columns", "sparse_slopes"]

Array = npt.NDArray[Any]

AGREES = 1e-6  # relative to the sum of magnitudes of a row
SAFETY = 4.0  # an error bound holds in 99 of 100 cases, and a row is the worst of many


class Pattern:
    """Where a Jacobian may differ from 0.

    Parameters
    ----------
    owner : str
    sparsity : array_like or scipy.sparse array, shape (outputs, size of x)
    size : int
        Of x.

    Attributes
    ----------
    rows, columns : ndarray of int
    shape : (outputs, size)
    """

    def __init__(self, owner: str, sparsity: Any, size: int) -> None:
        self.sparse = hasattr(sparsity, "tocoo")
        if self.sparse:
            pattern = sparsity.tocoo(copy=True)
            pattern.sum_duplicates()
            keep = pattern.data != 0
            self.rows, self.columns = np.asarray(pattern.row)[keep], np.asarray(pattern.col)[keep]
            self.shape = tuple(pattern.shape)
        else:
            pattern = np.asarray(sparsity)
            self.shape = pattern.shape
            if pattern.ndim == 2:
                self.rows, self.columns = np.nonzero(pattern)
        if len(self.shape) != 2 or self.shape[1] != size:
            raise ValueError(
                f"{owner}(sparsity): must be a matrix with a column for each of x's {size} entries; got shape "
                f"{self.shape}. Pass one row for each output."
            )

    def check_outputs(self, outputs: int) -> None:
        """Raise unless there is a row for every output."""
        if outputs != self.shape[0]:
            raise ValueError(
                f"jacobian(sparsity): must have a row for each output of f; got {self.shape[0]} rows for {outputs} "
                f"outputs. Correct the pattern."
            )

    def fill(self, values: Array) -> Any:
        """Return a matrix with the values at (rows, columns): sparse if the pattern was. Text stays as it is then."""
        if self.sparse and values.dtype.kind == "U":
            return values
        if self.sparse:
            from scipy.sparse import csr_array

            return csr_array((values, (self.rows, self.columns)), shape=self.shape)
        matrix = (
            np.full(self.shape, "ok", values.dtype) if values.dtype.kind == "U" else np.zeros(self.shape, values.dtype)
        )
        matrix[self.rows, self.columns] = values
        return matrix


def colour_columns(rows: Array, columns: Array, n_columns: int) -> Array:
    """Return a colour for every column, such that columns of one colour share no row.

    Greedy, the fullest columns first. A row remembers the colours it has seen as the bits of an integer.

    Examples
    --------
    >>> import numpy as np
    >>> from fallline.sparsity import colour_columns
    >>> rows, columns = np.nonzero(np.eye(4) + np.eye(4, k=1))
    >>> colour_columns(rows, columns, 4).tolist()
    [1, 0, 1, 0]
    """
    order = np.argsort(columns, kind="stable")
    starts = np.searchsorted(columns[order], np.arange(n_columns + 1))
    seen: dict[int, int] = {}
    colours = np.zeros(n_columns, np.intp)
    for column in np.argsort(-np.diff(starts), kind="stable"):
        own = rows[order[starts[column] : starts[column + 1]]].tolist()
        taken = 0
        for row in own:
            taken |= seen.get(row, 0)
        free = ~taken & (taken + 1)  # the lowest bit that is 0
        colours[column] = free.bit_length() - 1
        for row in own:
            seen[row] = seen.get(row, 0) | free
    return colours


def sparse_slopes(task: Task, pattern: Pattern) -> Slopes:
    """Return the derivatives of the pattern's entries, or raise unless they are all that are not 0.

    Columns that share no row are moved together. The pattern is not trusted: one more direction, over all columns, must
    agree with them, within the bounds of the errors; these are only asked for if it does not at first sight.
    """
    if task.options.order != 1:
        raise ValueError(
            f"jacobian(order): must be 1 if sparsity is given, which is verified by sums of first derivatives; got "
            f"{task.options.order}. Leave one out."
        )
    if task.space.size == 0:
        pattern.check_outputs(task.function.outputs())
        return Slopes.none(0)
    groups = _Groups(task, pattern)
    found = groups.slopes(task)
    pattern.check_outputs(found.value.shape[1])
    entries = groups.entries(found)
    with np.errstate(all="ignore"):
        if not _agree(task, groups, entries):
            bounded = replace(task.options, full_output=True)
            options, task.options = task.options, bounded
            _agree_or_raise(task, groups, groups.entries(groups.slopes(task)))
            task.options = options
    return entries


class _Groups:
    """Lines that move the columns of one colour each, and one that moves all columns at random."""

    def __init__(self, task: Task, pattern: Pattern) -> None:
        space = task.space
        self.pattern = pattern
        steps = task.steps(task.coordinates())
        self.units = np.maximum(np.abs(space.flat), task.typical) if steps is None else steps
        self.colours = colour_columns(pattern.rows, pattern.columns, space.size)
        order = np.argsort(self.colours, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.colours))])
        self.lines = Lines(space, starts, order, self.units[order], task.typical, task.bounds)
        self.steps = None if steps is None else np.ones(len(self.lines))
        self.across = Lines.random(space, task.typical, task.bounds, task.rng, size=self.units)

    def slopes(self, task: Task) -> Slopes:
        """Differentiate along the groups."""
        slopes = task.slopes(self.lines, self.steps)
        task.refuse_nothing(slopes, self.lines)
        return slopes

    def entries(self, slopes: Slopes) -> Slopes:
        """Return the derivatives of the pattern's entries."""
        at, scale = (self.colours[self.pattern.columns], self.pattern.rows), self.units[self.pattern.columns]
        return Slopes(slopes.value[at] / scale, slopes.error[at] / scale, slopes.step[at] * scale, slopes.status[at])

    def sum(self, entries: Array) -> Array:
        """Multiply a matrix of the pattern by the random direction."""
        total = np.zeros(self.pattern.shape[0], entries.dtype)
        np.add.at(total, self.pattern.rows, entries * self.across.units[self.pattern.columns])
        return total

    def sum_of_magnitudes(self, entries: Array) -> Array:
        """Do the same with magnitudes."""
        total = np.zeros(self.pattern.shape[0])
        np.add.at(total, self.pattern.rows, np.abs(entries * self.across.units[self.pattern.columns]))
        return total


def _agree(task: Task, groups: _Groups, entries: Slopes) -> bool:
    """Tell whether the derivative along the random direction, taken as the entries were, is theirs."""
    options = task.options
    side = options.method if options.method in ("forward", "backward") else "central"
    differences = Differences(task.function, groups.across, 1, options.power, side)
    along = differences(differences.steps(task.function.eps) if groups.steps is None else groups.steps[:1])
    magnitude = groups.sum_of_magnitudes(entries.value)
    rounding = task.function.eps * (along.size[0] + magnitude) / along.step[0]
    distance = np.abs(along.value[0] - groups.sum(entries.value))
    return bool((distance <= AGREES * magnitude + 8 * rounding).all())


def _agree_or_raise(task: Task, groups: _Groups, entries: Slopes) -> None:
    """Raise if the derivative along the random direction is not that of the entries, whatever the errors of both."""
    differences = Differences(task.function, groups.across, 1, 2, "central")
    noise = measure_noise(differences)[0]
    along = resolve(differences, noise[None, :])
    expected = groups.sum(entries.value)
    distance = np.abs(along.value[0] - expected)
    allowed = (
        along.error[0] + groups.sum_of_magnitudes(entries.error) + AGREES * groups.sum_of_magnitudes(entries.value)
    )
    wrong = np.flatnonzero(distance > SAFETY * allowed)
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"jacobian(sparsity): must cover every entry that is not 0; got a derivative of "
            f"{along.value[0, row]:.6g} of output {row} along a random direction, where the pattern's entries make "
            f"{expected[row]:.6g}. Add the missing entries, or leave sparsity out."
        )
