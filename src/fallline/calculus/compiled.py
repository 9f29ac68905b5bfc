"""Compiled expressions: values, exact gradients and Hessians in native code, of one point or of many."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.calculus.differentiation import as_function, check_variable
from fallline.calculus.expression import Derivative, Expr, postorder
from fallline.calculus.lowering import lower
from fallline.runtime import check_threads

__all__ = ["Compiled", "compile"]

Array = npt.NDArray[np.float64]


class Compiled(_core.Tape):
    """A function of n numbers that runs in native code; made by `fallline.compile`.

    Attributes
    ----------
    expression : Expr
        What it was made of.
    variables : tuple of str, length n
        What the coordinates of x are called, in their order.

    Notes
    -----
    Everything is float64. Outside of the domain the value is NaN or infinite, as with NumPy, without a warning. The
    gradient is exact up to rounding: reverse mode, the Hessian by forward over reverse mode (Griewank & Walther 2008,
    Evaluating Derivatives). At a kink it follows the conventions of `fallline.calculus.differentiate`. One point and
    many give the same bits, whatever the number of threads. It may be called from several threads at once.

    Examples
    --------
    >>> import fallline as fl
    >>> g = fl.compile("100*(y - x**2)**2 + (1 - x)**2")
    >>> g([-1.0, 2.0]), g.gradient([-1.0, 2.0])
    (104.0, array([396., 200.]))
    >>> g.hessian([1.0, 1.0])
    array([[ 802., -400.],
           [-400.,  200.]])
    """

    expression: Expr

    def __init__(self, expression: Expr, variables: tuple[str, ...]) -> None:
        program = lower(expression, variables)
        table = _core.operations()
        rows = [(table[name][0], a, b) for name, a, b in program.instructions]
        super().__init__(
            variables,
            np.array(program.constants, dtype=np.float64),
            np.array(rows, dtype=np.uint32).reshape(len(rows), 3),
            program.result,
        )
        self.expression = expression

    def __repr__(self) -> str:
        text = self.expression.text
        return f"compile({text if len(text) <= 60 else text[:57] + '...'!r}, variables={self.variables!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Compiled, (self.expression, self.variables)

    def batch(self, X: npt.ArrayLike, *, out: Array | None = None, threads: int | None = None) -> Array:
        """Evaluate at many points.

        Parameters
        ----------
        X : array_like of real numbers, shape (points, n)
            One point in a row. Rows and columns may have any strides.
        out : ndarray of float64, shape (points,), C-contiguous, optional
            Where to write the values; it saves the time in which the system finds memory.
        threads : int, optional
            At most so many; by default as many as `fallline.get_num_threads` says.

        Returns
        -------
        ndarray of float64, shape (points,)

        Raises
        ------
        TypeError, ValueError
            If X does not have n real numbers in each row, `out` is not as above or overlaps X, or `threads` is no int
            from 1 to 256.

        Examples
        --------
        >>> import fallline as fl
        >>> fl.compile("x*y").batch([[1, 2], [3, 4]])
        array([ 2., 12.])
        """
        x = self._numbers(X, 2)
        values = _written_to("out", out, (len(x),), x)
        self._batch(x, values, None, _count(threads))
        return values

    def batch_gradient(self, X: npt.ArrayLike, *, out: Array | None = None, threads: int | None = None) -> Array:
        """Return the gradients at many points, shape (points, n); see `batch`."""
        x = self._numbers(X, 2)
        gradients = _written_to("out", out, x.shape, x)
        self._batch(x, None, gradients, _count(threads))
        return gradients

    def batch_value_and_gradient(
        self, X: npt.ArrayLike, *, out: tuple[Array, Array] | None = None, threads: int | None = None
    ) -> tuple[Array, Array]:
        """Return values and gradients at many points, for little more than the gradients; see `batch`.

        `out` is a pair: arrays for the values and for the gradients.
        """
        x = self._numbers(X, 2)
        given: Any = (None, None) if out is None else out
        if not (isinstance(given, tuple) and len(given) == 2):
            raise TypeError(
                f"out: must be a tuple of two arrays; got {type(given).__name__}. Pass (values, gradients)."
            )
        values = _written_to("out[0]", given[0], (len(x),), x)
        gradients = _written_to("out[1]", given[1], x.shape, x)
        self._batch(x, values, gradients, _count(threads))
        return values, gradients

    def low_level_callable(self) -> Any:
        """Return it for SciPy's integrators, which then call it without Python.

        Returns
        -------
        scipy.LowLevelCallable
            Of the signature ``double (int, double *, void *)``, for `scipy.integrate.quad` and `nquad`. Fallline's own
            functions need none: they take the compiled function itself, and call it without Python.

        Raises
        ------
        ModuleNotFoundError
            If SciPy is missing.

        Examples
        --------
        >>> import fallline as fl
        >>> from scipy.integrate import quad  # doctest: +SKIP
        >>> quad(fl.compile("x**2").low_level_callable(), 0, 3)[0]  # doctest: +SKIP
        9.0
        """
        try:
            from scipy import LowLevelCallable
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "low_level_callable: SciPy must be installed; got none. Run: pip install scipy", name="scipy"
            ) from None
        return LowLevelCallable(self.capsule())


def compile(expression: Any, variables: Sequence[Any] | str | None = None) -> Compiled:
    """Compile an expression to a native function with an exact gradient; no compiler is needed.

    Parameters
    ----------
    expression : str, Expr, callable, or Problem
        Text for `calculus.parse`, an expression, a Python function for `calculus.trace`, or a problem of
        `fallline.problems`.
    variables : sequence of str or Symbol, or str, optional
        The order of the coordinates of x; ones that the expression does not contain are allowed. Default: the variables
        of the expression, sorted (x2 before x10); the arguments of a Python function; those of a problem.

    Returns
    -------
    Compiled

    Raises
    ------
    TypeError, ValueError
        If it is no expression, or a variable is missing, given twice, or unknown; `ParseError` for text.

    See Also
    --------
    minimize : Runs whole descents on it in native code.

    Examples
    --------
    >>> import fallline as fl
    >>> g = fl.compile("3*x**3*z - y**2 + 5*z + 2*y*z")
    >>> g([1.0, 2.0, 3.0])
    32.0
    >>> g.value_and_gradient([1.0, 2.0, 3.0])
    (32.0, array([27.,  2., 12.]))
    >>> import numpy as np
    >>> fl.compile(lambda a, b: np.sin(a) * b).variables
    ('a', 'b')
    """
    if isinstance(getattr(expression, "expression", None), Expr):  # a problem, or a compiled function
        function, names = expression.expression, tuple(expression.variables)
    else:
        function, names = as_function(expression)
    for node in postorder(function):
        if isinstance(node, Derivative):
            raise TypeError(
                f"compile: expression must have no derivative left to be taken; got {node.text}. "
                "Use the result of differentiate."
            )
    return Compiled(function, names if variables is None else _ordered(function, variables))


def _written_to(name: str, out: Any, shape: tuple[int, ...], x: Array) -> Array:
    """Return the array to write to, a new one or the user's."""
    if out is None:
        return np.empty(shape)
    if not isinstance(out, np.ndarray) or out.dtype != np.float64:
        got = f"an array of {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"{name}: must be an array of float64; got {got}. Leave it out to get a new one.")
    if out.shape != shape or not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned):
        raise ValueError(
            f"{name}: must be writeable, C-contiguous and of shape {shape}; got shape {out.shape} and strides "
            f"{out.strides}. Leave it out to get a new one."
        )
    if np.may_share_memory(out, x):
        raise ValueError(f"{name}: must not overlap the points; got an array that does. Leave it out to get a new one.")
    return out


def _count(threads: int | None) -> int:
    return _core.default_threads() if threads is None else check_threads("threads", threads)


def _ordered(function: Expr, variables: Sequence[Any] | str) -> tuple[str, ...]:
    listed = variables.replace(",", " ").split() if isinstance(variables, str) else variables
    chosen = tuple(check_variable(variable, "variables") for variable in listed)
    known = set(chosen)
    if len(known) < len(chosen):
        twice = next(name for i, name in enumerate(chosen) if name in chosen[:i])
        raise ValueError(f"variables: must name each variable once; got {twice!r} twice. Leave one out.")
    for name in function.variables:
        if name not in known:
            near = difflib.get_close_matches(name, chosen, n=1)
            cure = f"Add it, or rename {near[0]!r}." if near else "Add it."
            raise ValueError(
                f"variables: must have all variables of the expression ({', '.join(function.variables)}); got no "
                f"{name!r}. {cure}"
            )
    return chosen
