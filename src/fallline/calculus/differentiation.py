"""Derivatives as expressions: by the rules, and simplified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fallline.calculus.expression import Expr, Symbol, as_expression, check_name, postorder
from fallline.calculus.parsing import parse
from fallline.calculus.rules import derive
from fallline.calculus.simplifying import simplify
from fallline.calculus.tracing import trace, traced_variables

__all__ = ["appearance", "as_function", "check_variable", "differentiate", "gradient", "hessian", "jacobian"]


def as_function(expr: Any) -> tuple[Expr, tuple[str, ...]]:
    """Return the expression that text, a Python function or an expression stands for, and its variables in order."""
    if isinstance(expr, str):
        found = parse(expr)
    elif not isinstance(expr, Expr) and callable(expr):
        return trace(expr), traced_variables(expr)
    else:
        found = as_expression(expr, "expr")
    return found, found.variables


def appearance(expr: Expr) -> tuple[str, ...]:
    """Return the names of the variables in the order in which they first appear."""
    return tuple(dict.fromkeys(node.name for node in postorder(expr) if isinstance(node, Symbol)))


def check_variable(var: Any, owner: str) -> str:
    """Return the name of a variable that is given by it or as a symbol, or raise."""
    name = var.name if isinstance(var, Symbol) else var
    if not isinstance(name, str):
        raise TypeError(f'{owner}: must be the name of a variable; got {type(var).__name__}. Write for instance "x".')
    return check_name(name)


def differentiate(expr: Any, *variables: str | Symbol) -> Expr:
    """Differentiate by the rules.

    Parameters
    ----------
    expr : str, Expr or callable
        Text for `parse`, an expression, or a Python function for `trace`.
    *variables : str or Symbol
        One for the first derivative, several for higher and mixed ones, in the order in which they are taken. May be
        left out if the expression has one variable.

    Returns
    -------
    Expr
        Simplified. The derivative of abs is sign, that of relu is step; max and min have the mean of both sides where
        they are equal.

    Raises
    ------
    TypeError, ValueError
        If the variable is not clear; `ParseError` for text, see `parse`.

    See Also
    --------
    explain : Show the steps; the same algorithm.

    Examples
    --------
    >>> from fallline import calculus
    >>> calculus.differentiate("x**3*y", "x")
    3*x**2*y
    >>> calculus.differentiate("x**3*y", "x", "y")
    3*x**2
    """
    function, names = as_function(expr)
    if not variables and len(names) != 1:
        raise TypeError(
            f"differentiate: must be told the variable unless there is exactly one; got an expression in "
            f"{', '.join(names) or 'none'}. Pass its name."
        )
    chosen = [check_variable(variable, "variables") for variable in variables or names]
    order = appearance(function)
    for name in chosen:
        function = simplify(derive(function, name).result, order)
    return function


def gradient(expr: Any, variables: Sequence[str] | None = None) -> tuple[Expr, ...]:
    """Return all first derivatives.

    Parameters
    ----------
    expr : str, Expr or callable
        As for `differentiate`.
    variables : sequence of str, optional
        Default: those of the expression, sorted; the arguments of a Python function.

    Returns
    -------
    tuple of Expr

    Examples
    --------
    >>> from fallline import calculus
    >>> calculus.gradient("3*x**3*z - y**2 + 5*z + 2*y*z")
    (9*x**2*z, -2*y + 2*z, 3*x**3 + 5 + 2*y)
    """
    function, names = as_function(expr)
    return tuple(differentiate(function, name) for name in _chosen(variables, names))


def jacobian(exprs: Sequence[Any], variables: Sequence[str] | None = None) -> tuple[tuple[Expr, ...], ...]:
    """Return the first derivatives of several expressions.

    Parameters
    ----------
    exprs : sequence of str, Expr or callable
    variables : sequence of str, optional
        Default: those of all the expressions, sorted.

    Returns
    -------
    tuple of tuple of Expr
        One row for each expression, one column for each variable.

    Examples
    --------
    >>> from fallline import calculus
    >>> calculus.jacobian(["x*y", "x + y**2"])
    ((y, x), (1, 2*y))
    """
    functions = [as_function(expr)[0] for expr in exprs]
    names = sum(functions, start=as_expression(0)).variables
    return tuple(gradient(function, _chosen(variables, names)) for function in functions)


def hessian(expr: Any, variables: Sequence[str] | None = None) -> tuple[tuple[Expr, ...], ...]:
    """Return all second derivatives.

    Parameters
    ----------
    expr : str, Expr or callable
        As for `differentiate`.
    variables : sequence of str, optional
        Default: those of the expression, sorted; the arguments of a Python function.

    Returns
    -------
    tuple of tuple of Expr
        Symmetric: the derivatives above the diagonal are those below it.

    Examples
    --------
    >>> from fallline import calculus
    >>> calculus.hessian("x**2*y + y**3")
    ((2*y, 2*x), (2*x, 6*y))
    """
    function, names = as_function(expr)
    chosen = _chosen(variables, names)
    first = [differentiate(function, name) for name in chosen]
    lower = [[differentiate(first[i], chosen[j]) for j in range(i + 1)] for i in range(len(chosen))]
    size = range(len(chosen))
    return tuple(tuple(lower[max(i, j)][min(i, j)] for j in size) for i in size)


def _chosen(variables: Sequence[str] | None, names: Sequence[str]) -> Sequence[str]:
    if variables is None:
        return names
    listed = variables.replace(",", " ").split() if isinstance(variables, str) else variables
    return [check_variable(variable, "variables") for variable in listed]
