"""Sparse Jacobians: columns that share no row are differentiated together (Curtis, Powell & Reid 1974).

References
----------
Curtis, Powell & Reid (1974), On the estimation of sparse Jacobian matrices, IMA J. Applied Mathematics 13(1), 117-119.
Coleman & Moré (1983), Estimation of sparse Jacobian matrices and graph coloring problems, SIAM J. Numer. Anal. 20(1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Pattern", "colour_columns"]

Array = npt.NDArray[Any]


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
            pattern = sparsity.tocoo()
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
