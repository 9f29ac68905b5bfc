"""A test problem: a formula, and everything a test or a picture wants to know about it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.calculus.differentiation import gradient
from fallline.calculus.expression import Expr, compute, postorder
from fallline.calculus.parsing import parse

__all__ = ["Problem"]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Describe a function to minimize.

    Attributes
    ----------
    name : str
        Name for `get`, lower case.
    title : str
        Name for pictures.
    formula : str
        The function, in the notation of `fallline.calculus.parse`.
    variables : tuple of str, length n
        The coordinates in their order.
    start : tuple of float, length n
        A starting point: the customary one, where there is one.
    minima : tuple of tuples of float
        All global minimizers within the bounds, each correct to double precision.
    minimum : float
        The value there.
    bounds : tuple of (low, high) pairs, one per coordinate
        The customary region to search, and to draw.
    citation : str
        Where the problem comes from.

    Examples
    --------
    >>> from fallline import problems
    >>> booth = problems.get("booth")
    >>> float(booth((1, 3))), booth.gradient((0, 0)).tolist()
    (0.0, [-34.0, -38.0])
    """

    name: str
    title: str
    formula: str
    variables: tuple[str, ...]
    start: tuple[float, ...]
    minima: tuple[tuple[float, ...], ...]
    minimum: float
    bounds: tuple[tuple[float, float], ...]
    citation: str

    @property
    def dimensions(self) -> int:
        """The number of variables."""
        return len(self.variables)

    @property
    def expression(self) -> Expr:
        """The formula, parsed."""
        return _parsed(self.formula, self.variables)[0]

    def __call__(self, x: npt.ArrayLike) -> Any:
        """Evaluate the function.

        Parameters
        ----------
        x : array_like, shape (n, ...)
            One point, or any number of them; integers become float64, other dtypes are kept.

        Returns
        -------
        scalar or ndarray, shape (...)

        Raises
        ------
        ValueError
            If the leading axis is not of length n.
        """
        return self._evaluate(x, _parsed(self.formula, self.variables)[:1])[0][()]

    def gradient(self, x: npt.ArrayLike) -> npt.NDArray[Any]:
        """Evaluate the exact gradient, which is derived by rule.

        Parameters
        ----------
        x : array_like, shape (n, ...)

        Returns
        -------
        ndarray, shape (n, ...)

        Raises
        ------
        ValueError
            If the leading axis is not of length n.
        """
        return self._evaluate(x, _parsed(self.formula, self.variables)[1:])

    def value_and_gradient(self, x: npt.ArrayLike) -> tuple[Any, npt.NDArray[Any]]:
        """Evaluate both; see `__call__` and `gradient`."""
        both = self._evaluate(x, _parsed(self.formula, self.variables))
        return both[0][()], both[1:]

    def _evaluate(self, point: npt.ArrayLike, expressions: tuple[Expr, ...]) -> npt.NDArray[Any]:
        x = np.asarray(point)
        if x.ndim == 0 or x.shape[0] != self.dimensions:
            names = ", ".join(self.variables[:4]) + (", ..." if self.dimensions > 4 else "")
            raise ValueError(
                f"{self.name}: x must have {self.dimensions} coordinates on its first axis; got shape {x.shape}. "
                f"Pass ({names}), or stack their grids."
            )
        if x.dtype.kind in "biu":
            x = x.astype(np.float64)
        values = dict(zip(self.variables, x, strict=True))
        made: dict[int, Any] = {}
        with np.errstate(all="ignore"):
            for node in postorder(*expressions):
                made[id(node)] = compute(node, [made[id(arg)] for arg in node.args], values)
        result = np.empty((len(expressions), *x.shape[1:]), x.dtype)
        for row, expression in zip(result, expressions, strict=True) if x.ndim > 1 else ():
            row[...] = made[id(expression)]
        if x.ndim == 1:
            result[:] = [made[id(expression)] for expression in expressions]
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name."""
        from fallline.problems import get

        return get, (self.name, self.dimensions)

    def __repr__(self) -> str:
        """Show name and formula."""
        return f"<Problem {self.name}: {self.formula}>"


@functools.cache
def _parsed(formula: str, variables: tuple[str, ...]) -> tuple[Expr, ...]:
    """Return the function and its partial derivatives."""
    expression = parse(formula)
    return expression, *gradient(expression, variables)
