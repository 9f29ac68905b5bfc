"""Python functions to expressions, by calling them once with symbols."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fallline.calculus.expression import Expr, Symbol, as_expression

__all__ = ["trace", "traced_variables"]


def traced_variables(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a function's arguments, in their order."""
    if not callable(function):
        raise TypeError(
            f"function: must be callable; got {type(function).__name__}. Pass for instance lambda x, y: x*y."
        )
    parameters = inspect.signature(function).parameters.values()
    if unclear := [p.name for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]:
        raise TypeError(
            f"function: must name each of its arguments, which become the variables; got *{unclear[0]}. "
            "Wrap it: lambda x, y: f(x, y)."
        )
    return tuple(p.name for p in parameters if p.default is p.empty)


def trace(function: Callable[..., Any]) -> Expr:
    """Call a Python function with symbols and return what it computes as an expression.

    Parameters
    ----------
    function : callable
        Of scalar arguments, whose names become the variables; arguments with defaults keep them. It may use operators,
        NumPy functions, and loops; what depends on the values of its arguments, such as ``if x > 0``, cannot be traced.

    Returns
    -------
    Expr

    Raises
    ------
    TypeError
        If `function` is not callable, takes ``*args``, returns something else than a scalar, or asks for the truth of
        an expression.

    Examples
    --------
    >>> import numpy as np
    >>> from fallline import calculus
    >>> calculus.trace(lambda x, y: np.sin(x) * y**2)
    sin(x)*y**2
    """
    result = function(*map(Symbol, traced_variables(function)))
    if hasattr(result, "ndim") and result.ndim == 0:
        result = result[()]
    return as_expression(result, "function's result")
