"""Expressions to SymPy's and back."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from typing import Any

from fallline.calculus.expression import (
    Constant,
    Derivative,
    Expr,
    Number,
    Symbol,
    as_expression,
    call,
    fold,
    number,
)

__all__ = ["from_sympy", "to_sympy"]

# The functions that SymPy calls by the same names.
_SAME = ("exp", "log", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "sign")


def _sympy() -> Any:
    try:
        import sympy
    except ImportError as error:
        raise ImportError(
            'to_sympy, from_sympy: SymPy must be installed; got none. Run: pip install "fallline[sympy]"', name="sympy"
        ) from error
    return sympy


def to_sympy(expr: Expr) -> Any:
    """Convert an expression to SymPy's.

    Parameters
    ----------
    expr : Expr

    Returns
    -------
    sympy.Expr
        Its symbols have the same names and no assumptions, its numbers are exact. SymPy orders and combines terms in
        its own way. sigmoid and softplus are written with exp and log, relu with Max, step with Heaviside.

    Raises
    ------
    ImportError
        If SymPy is not installed.
    TypeError
        If `expr` is no expression.

    Examples
    --------
    >>> from fallline import calculus
    >>> calculus.to_sympy(calculus.parse("x**2/3 + relu(x)"))
    x**2/3 + Max(0, x)
    """
    sympy = _sympy()
    if not isinstance(expr, Expr):
        raise TypeError(f"expr: must be an expression; got {type(expr).__name__}. Parse text first.")
    functions = _functions(sympy)

    def combine(node: Expr, args: list[Any]) -> Any:
        if isinstance(node, Number):
            return sympy.Rational(node.value.numerator, node.value.denominator)
        if isinstance(node, Symbol):
            return sympy.Symbol(node.name)
        if isinstance(node, Constant):
            return sympy.pi if node.name == "pi" else sympy.E
        if isinstance(node, Derivative):
            return sympy.Derivative(args[0], sympy.Symbol(node.name))
        return functions[node.op](*args)

    return fold(expr, combine)


def _functions(sympy: Any) -> dict[str, Callable[..., Any]]:
    return {
        **{name: getattr(sympy, name) for name in _SAME},
        "abs": sympy.Abs,
        "max": sympy.Max,
        "min": sympy.Min,
        "step": lambda x: sympy.Heaviside(x, 0),
        "relu": lambda x: sympy.Max(x, 0),
        "sigmoid": lambda x: 1 / (1 + sympy.exp(-x)),
        "softplus": lambda x: sympy.log(1 + sympy.exp(x)),
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "pow": lambda a, b: a**b,
        "neg": lambda a: -a,
    }


def from_sympy(expr: Any) -> Expr:
    """Convert an expression of SymPy's.

    Parameters
    ----------
    expr : sympy.Expr

    Returns
    -------
    Expr
        In the order in which SymPy prints it.

    Raises
    ------
    ImportError
        If SymPy is not installed.
    TypeError
        If `expr` is not SymPy's, or contains something that expressions do not have.

    Examples
    --------
    >>> import sympy
    >>> from fallline import calculus
    >>> x, y = sympy.symbols("x y")
    >>> calculus.from_sympy(sympy.sin(x) / y + 2 * x)
    2*x + sin(x)/y
    """
    sympy = _sympy()
    if not isinstance(expr, sympy.Expr):
        raise TypeError(f"expr: must be an expression of SymPy; got {type(expr).__name__}. Pass it through sympify.")
    return _Converter(sympy).convert(expr)


class _Converter:
    def __init__(self, sympy: Any) -> None:
        self.sympy = sympy
        self.made: dict[Any, Expr] = {}

    def convert(self, node: Any) -> Expr:
        if node not in self.made:
            self.made[node] = self.converted(node)
        return self.made[node]

    def converted(self, node: Any) -> Expr:
        if node.is_Rational:
            return as_expression(Fraction(int(node.p), int(node.q)))
        if node.is_Float:
            return number(float(node))
        if node.is_Symbol:
            return Symbol(node.name)
        if node in (self.sympy.pi, self.sympy.E):
            return Constant("pi" if node == self.sympy.pi else "e")
        if node.is_Add:
            return reduce(_added, map(self.convert, node.as_ordered_terms()))
        if node.is_Mul:
            return self.product(node)
        return self.power(node) if node.is_Pow else self.function(node)

    def function(self, node: Any) -> Expr:
        name = _NAMES.get(type(node).__name__)
        if name is None or (name == "step" and node.args[1:] != (0,)):
            raise TypeError(
                f"expr: must consist of numbers, symbols, operators and functions that parse knows; got {node}. "
                "Rewrite it with those."
            )
        args = map(self.convert, node.args[:1] if name == "step" else node.args)
        return reduce(lambda a, b: call(name, a, b), args) if name in ("max", "min") else call(name, *args)

    def product(self, node: Any) -> Expr:
        coefficient, rest = node.as_coeff_Mul()
        above, below = self.sympy.fraction(rest)
        size = abs(coefficient)
        if size.is_Rational:
            above, below = size.p * above, size.q * below
        else:
            above = size * above
        result = self.factors(above) if below == 1 else self.factors(above) / self.factors(below)
        return -result if coefficient < 0 else result

    def factors(self, node: Any) -> Expr:
        parts = node.as_ordered_factors() if node.is_Mul else [node]
        return reduce(lambda a, b: a * b, map(self.convert, parts))

    def power(self, node: Any) -> Expr:
        base, exponent = self.convert(node.base), node.exp
        if exponent == self.sympy.Rational(1, 2):
            return call("sqrt", base)
        if exponent.is_Integer and exponent < 0:
            return 1 / (base if exponent == -1 else base ** int(-exponent))
        return base ** self.convert(exponent)


def _added(left: Expr, right: Expr) -> Expr:
    return left - right.args[0] if right.op == "neg" else left + right


_NAMES = {
    **{name: name for name in _SAME if name != "sqrt"},
    "Abs": "abs",
    "Max": "max",
    "Min": "min",
    "Heaviside": "step",
}
