"""Expressions to lists of operations for a tape: constants folded, common parts once, what is not needed left out."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

import numpy as np

from fallline.calculus.expression import Expr, Symbol, as_float, compute, postorder
from fallline.calculus.simplifying import constant_value

__all__ = ["Program", "lower"]

# Powers with such whole exponents are products: exact derivatives at every base, and many times faster than pow.
_MOST_FACTORS = 16
_SYMMETRIC = frozenset(("add", "mul"))  # whose operands may be swapped without a change of bits


class Program(NamedTuple):
    """Operations on values that are numbered: variables, then constants, then results.

    Attributes
    ----------
    constants : list of float
    instructions : list of (name, a, b)
        b is 0 where the operation has one operand.
    result : int
    """

    constants: list[float]
    instructions: list[tuple[str, int, int]]
    result: int


_Constant: TypeAlias = Fraction | float  # a Fraction as long as it is exact
_Place: TypeAlias = tuple[str, int]  # ("input", i), ("constant", i) or ("instruction", i)


class _Lowering:
    def __init__(self, variables: Sequence[str]) -> None:
        self.inputs: dict[str, _Place] = {name: ("input", i) for i, name in enumerate(variables)}
        self.constants: dict[str, int] = {}  # by their bits, so that 0 and -0 are two
        self.instructions: dict[tuple[str, _Place, _Place], int] = {}

    def constant(self, value: _Constant) -> _Place:
        number = as_float(value) if isinstance(value, Fraction) else float(value)
        return "constant", self.constants.setdefault(number.hex(), len(self.constants))

    def instruction(self, name: str, a: _Place, b: _Place = ("input", 0)) -> _Place:
        if name in _SYMMETRIC:
            a, b = sorted((a, b))
        return "instruction", self.instructions.setdefault((name, a, b), len(self.instructions))

    def power(self, base: _Place, exponent: int) -> _Place:
        """Multiply by squaring."""
        if exponent < 0:
            return self.instruction("div", self.constant(Fraction(1)), self.power(base, -exponent))
        result: _Place | None = None
        while True:
            if exponent % 2:
                result = base if result is None else self.instruction("mul", result, base)
            exponent //= 2
            if not exponent:
                assert result is not None
                return result
            base = self.instruction("mul", base, base)

    def operation(self, node: Expr, args: list[_Place | _Constant]) -> _Place:
        exponent = args[1] if node.op == "pow" else None
        if isinstance(exponent, Fraction) and exponent.denominator == 1 and 0 < abs(exponent) <= _MOST_FACTORS:
            return self.power(self.place(args[0]), exponent.numerator)
        return self.instruction(node.op, *map(self.place, args))

    def place(self, value: _Place | _Constant) -> _Place:
        return value if isinstance(value, tuple) else self.constant(value)


def lower(expr: Expr, variables: Sequence[str]) -> Program:
    """Return the operations that compute an expression, in linear time, however deep it is.

    Parameters
    ----------
    expr : Expr
    variables : sequence of str
        The inputs, in their order; all variables of the expression are among them.

    Returns
    -------
    Program

    Examples
    --------
    >>> from fallline import calculus
    >>> from fallline.calculus.lowering import lower
    >>> lower(calculus.parse("(x + y)**2 + 3*(y + x)"), ["x", "y"])
    Program(constants=[3.0], instructions=[('add', 0, 1), ('mul', 3, 3), ('mul', 2, 3), ('add', 4, 5)], result=6)
    """
    lowering = _Lowering(variables)
    made: dict[int, _Place | _Constant] = {}
    for node in postorder(expr):
        args = [made[id(arg)] for arg in node.args]
        if isinstance(node, Symbol):
            made[id(node)] = lowering.inputs[node.name]
        elif any(isinstance(arg, tuple) for arg in args):
            made[id(node)] = lowering.operation(node, args)
        else:
            made[id(node)] = _folded(node, [arg for arg in args if not isinstance(arg, tuple)])
    return _needed(lowering, len(variables), lowering.place(made[id(expr)]))


def _folded(node: Expr, args: list[_Constant]) -> _Constant:
    """Return the value of an operation on constants; a number as it may be written stays exact."""
    exact = constant_value(node)
    if exact is not None:
        return exact[0]
    numbers = [np.float64(as_float(arg) if isinstance(arg, Fraction) else arg) for arg in args]
    with np.errstate(all="ignore"):
        return float(compute(node, numbers, {}))


def _needed(lowering: _Lowering, n_inputs: int, root: _Place) -> Program:
    """Give numbers to the values, without those that the root does not need."""
    needed = {root}
    kept: list[tuple[str, _Place, _Place]] = []
    for (name, a, b), i in reversed(lowering.instructions.items()):
        if ("instruction", i) in needed:
            needed |= {a, b}
            kept.append((name, a, b))
    kept.reverse()
    numbers = {place: place[1] for place in needed if place[0] == "input"}
    constants = [(value, i) for value, i in lowering.constants.items() if ("constant", i) in needed]
    numbers |= {("constant", i): n_inputs + k for k, (_, i) in enumerate(constants)}
    first = n_inputs + len(constants)
    numbers |= {("instruction", lowering.instructions[row]): first + k for k, row in enumerate(kept)}
    return Program(
        [float.fromhex(value) for value, _ in constants],
        [(name, numbers[a], numbers[b]) for name, a, b in kept],
        numbers[root],
    )
