"""Simplification as at the end of a derivation: numbers are computed, like terms and like powers are brought together.

Nothing is expanded or factored, and the order in which terms first appear is kept. What is computed is exact.

A sum (through +, - and signs) or a product (through × and ÷) is taken as a whole, from its highest node, its head. One
pass over the nodes below it counts how often each operand occurs, so that shared nodes cost no more than others. The
result of a product is a coefficient and a power of each base; sums add the coefficients of equal products.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from fallline.calculus.expression import Constant, Expr, Number, Operation, Symbol, like, number, postorder

__all__ = ["constant_value", "simplify"]

_SUM = frozenset(("add", "sub", "neg"))
_PRODUCT = frozenset(("mul", "div"))
_LARGE = 16  # operands of a sum or product that occurs twice and yet is merged into others: so that time stays linear
_MANY = 16  # factors of a product within a sum of one term, which is merged with the product around that
_BITS = 4096  # of a number that is computed rather than left as a power

_HALF = Fraction(1, 2)
_Rational: TypeAlias = int | Fraction  # an int where it is whole: half the time of differentiating goes into these


class _Term(NamedTuple):
    """A product: a coefficient times powers of what is no product itself."""

    coefficient: _Rational
    decimal: bool
    powers: dict[Expr, _Rational]


def simplify(expr: Expr, order: Sequence[str] = ()) -> Expr:
    """Simplify an expression.

    Parameters
    ----------
    expr : Expr
    order : sequence of str, optional
        The variables in the order in which products show them; others follow, sorted.

    Returns
    -------
    Expr
        Equal wherever the given one is defined. It may be defined at more points: x/x becomes 1.

    Examples
    --------
    >>> from fallline import calculus
    >>> print(calculus.simplify(calculus.parse("3*z*3*x**2 - 0 + 5*0 + 2*0")))
    9x²z
    """
    return _Simplifier(order).simplify(expr)


def constant_value(expr: Expr) -> tuple[Fraction, bool] | None:
    """Return the value of a number as it may be written (3, -3, 0.5 or 1/2) and whether it is decimal, or None."""
    if isinstance(expr, Number):
        return expr.value, expr.decimal
    if expr.op == "neg":
        inner = constant_value(expr.args[0]) if expr.args[0].op != "neg" else None
        return None if inner is None else (-inner[0], inner[1])
    if (
        expr.op == "div"
        and isinstance(expr.args[0], Number)
        and isinstance(expr.args[1], Number)
        and expr.args[1].value
    ):
        return expr.args[0].value / expr.args[1].value, expr.args[0].decimal or expr.args[1].decimal
    return None


class _Simplifier:
    def __init__(self, order: Sequence[str]) -> None:
        self.rank = {name: place for place, name in enumerate(order)}
        self.done: dict[int, Expr] = {}  # by the id of a given node
        self.terms: dict[int, _Term] = {}  # by the id of a simplified node
        self.closed: set[int] = set()  # sums and products that stay together in others, by the id of the given node
        self.kept: list[Expr] = []  # whatever has its id in a table must stay alive

    def simplify(self, root: Expr) -> Expr:
        heads, self.closed = _heads(root)
        for node in heads:
            self.done[id(node)] = self.simplified(node)
        return self.done[id(root)]

    def simplified(self, node: Expr) -> Expr:
        if node.op in _SUM:
            return self.sum(node)
        if node.op in _PRODUCT:
            return self.product(node)
        args = tuple(self.done[id(arg)] for arg in node.args)
        if node.op == "pow":
            return self.power(*args)
        if not args:
            return node
        known = _evaluated(node.op, args)
        return like(node, args) if known is None else known

    # ---- sums ----

    def sum(self, head: Expr) -> Expr:
        operands = self.operands(head, _SUM)
        merged: dict[frozenset[tuple[Expr, _Rational]], _Term] = {}
        for operand, times in operands:
            term = self.term(self.done[id(operand)])
            key = frozenset(term.powers.items())
            before = merged.get(key)
            coefficient = times * term.coefficient + (before.coefficient if before else 0)
            powers = before.powers if before else term.powers
            merged[key] = _Term(coefficient, term.decimal or (before is not None and before.decimal), powers)
        return self.written_sum([term for term in merged.values() if term.coefficient])

    def written_sum(self, terms: list[_Term]) -> Expr:
        if not terms:
            return Number(Fraction(0))
        first, *rest = terms
        result = self.written(first)
        for term in rest:
            op, size = ("add", term.coefficient) if term.coefficient > 0 else ("sub", -term.coefficient)
            result = Operation(op, (result, self.written(_Term(size, term.decimal, term.powers))))
        return result

    # ---- products and powers ----

    def product(self, head: Expr) -> Expr:
        coefficient: _Rational = 1
        decimal, powers = False, dict[Expr, _Rational]()
        for operand, times in self.operands(head, _PRODUCT):
            raised = self.raised(self.factor(self.done[id(operand)]), times)
            coefficient, decimal = coefficient * raised.coefficient, decimal or raised.decimal
            for base, exponent in raised.powers.items():
                powers[base] = powers.get(base, 0) + exponent
        return self.written(_Term(coefficient, decimal, {base: power for base, power in powers.items() if power}))

    def factor(self, expr: Expr) -> _Term:
        """Return a simplified operand of a product; one of very many factors stays together."""
        term = self.term(expr)
        return term if len(term.powers) <= _MANY else _Term(1, False, {expr: 1})

    def raised(self, term: _Term, exponent: int) -> _Term:
        """Return a power of a product, with a whole exponent."""
        if exponent == 1:
            return term
        powers = {base: power * exponent for base, power in term.powers.items()}
        if _is_computable(term.coefficient, exponent):
            return _Term(_plain(Fraction(term.coefficient) ** exponent), term.decimal, powers)
        return _Term(1, False, {Number(Fraction(term.coefficient), term.decimal): exponent, **powers})

    def power(self, base: Expr, exponent: Expr) -> Expr:
        value = constant_value(exponent)
        if value is None:
            return Number(Fraction(1)) if _is_number(base, 1) else Operation("pow", (base, exponent))
        if value[0] == 0:
            return Number(Fraction(1))
        if value[0].denominator == 1:
            return self.written(self.raised(self.term(base), value[0].numerator))
        if _is_number(base, 1):
            return base
        root = _square_root(base) if value[0] == _HALF and isinstance(base, Number) else None
        return self.written(_Term(1, False, {base: value[0]})) if root is None else root

    def term(self, expr: Expr) -> _Term:
        """Return a simplified expression as a product."""
        known = self.terms.get(id(expr))
        if known is not None:
            return known
        if isinstance(expr, Number):
            return _Term(_plain(expr.value), expr.decimal, {})
        if expr.op == "sqrt":
            return _Term(1, False, {expr.args[0]: _HALF})
        return _Term(1, False, {expr: 1})

    # ---- writing ----

    def written(self, term: _Term) -> Expr:
        if term.coefficient == 0:
            return Number(Fraction(0))
        above, below = self.written_powers(term.powers)
        coefficient = term.coefficient if term.coefficient > 0 else -term.coefficient
        divisor = coefficient.denominator
        if divisor != 1 and not (term.decimal and _terminates(divisor)):
            below.insert(0, Number(Fraction(divisor)))
            coefficient = coefficient.numerator
        if coefficient != 1 or not above:
            above.insert(0, Number(Fraction(coefficient), term.decimal))
        result = _multiplied(above)
        if below:
            result = Operation("div", (result, _multiplied(below)))
        if term.coefficient < 0:
            result = (
                Number(-result.value, result.decimal) if isinstance(result, Number) else Operation("neg", (result,))
            )
        self.terms[id(result)] = term
        self.kept.append(result)
        return result

    def written_powers(self, powers: dict[Expr, _Rational]) -> tuple[list[Expr], list[Expr]]:
        """Return the factors above and below the line."""
        above: list[Expr] = []
        below: list[Expr] = []
        for base in sorted(powers, key=self.place):
            exponent = powers[base]
            if exponent < 0 and _is_number(base, 0):  # defined nowhere: it stays a power, for text has no 1/0
                above.append(Operation("pow", (base, Number(Fraction(exponent)))))
                continue
            (above if exponent > 0 else below).append(_written_power(base, exponent if exponent > 0 else -exponent))
        return above, below

    def place(self, base: Expr) -> tuple[int, int, str]:
        if isinstance(base, Symbol):
            return 2, self.rank.get(base.name, len(self.rank)), base.name
        return (0 if isinstance(base, Number) else 1 if isinstance(base, Constant) else 3), 0, ""

    # ---- what a sum or product is made of ----

    def operands(self, head: Expr, kind: frozenset[str]) -> list[tuple[Expr, int]]:
        """Return what is added (or multiplied), and how often; -1 is once subtracted (or divided by)."""
        nodes, inner = _below(head, kind, self.closed)
        times = {id(node): 0 for node in nodes}
        times[id(head)] = 1
        for node in reversed(nodes):
            if id(node) in inner:
                here = times[id(node)]
                times[id(node.args[-1])] += here if node.op in ("add", "mul") else -here
                if len(node.args) == 2:
                    times[id(node.args[0])] += here
        return [(node, times[id(node)]) for node in nodes if id(node) not in inner]


def _heads(root: Expr) -> tuple[list[Expr], set[int]]:
    """Return the nodes that are simplified by themselves, and those of them that are not merged into others.

    The first are all but the inner ones of sums and products, the second those that are large and occur twice.
    """
    nodes = list(postorder(root))
    uses: dict[int, int] = {}
    for node in nodes:
        for arg in node.args:
            uses[id(arg)] = uses.get(id(arg), 0) + 1
    heads, closed, sizes = {id(root)}, set[int](), dict[int, int]()
    for node in nodes:
        kind = _kind(node)
        heads.update(id(arg) for arg in node.args if arg.op not in kind)
        sizes[id(node)] = sum(sizes[id(arg)] if arg.op in kind and id(arg) not in closed else 1 for arg in node.args)
        if kind and uses.get(id(node), 0) > 1 and sizes[id(node)] > _LARGE:
            closed.add(id(node))
    return [node for node in nodes if id(node) in heads or id(node) in closed], closed


def _kind(node: Expr) -> frozenset[str]:
    return _SUM if node.op in _SUM else _PRODUCT if node.op in _PRODUCT else frozenset()


def _below(head: Expr, kind: frozenset[str], closed: set[int]) -> tuple[list[Expr], set[int]]:
    """Return the nodes of a sum or product, operands first, and which of them are inner ones."""
    nodes: list[Expr] = []
    seen: set[int] = set()
    inner: set[int] = set()
    stack = [(head, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            nodes.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            if node.op not in kind or (id(node) in closed and node is not head):
                nodes.append(node)
                continue
            inner.add(id(node))
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(node.args))
    return nodes, inner


def _multiplied(factors: list[Expr]) -> Expr:
    result = factors[0]
    for factor in factors[1:]:
        result = Operation("mul", (result, factor))
    return result


def _written_power(base: Expr, exponent: _Rational) -> Expr:
    if exponent == 1:
        return base
    if exponent == _HALF:
        return Operation("sqrt", (base,))
    if exponent.denominator == 1:
        return Operation("pow", (base, Number(Fraction(exponent))))
    return Operation("pow", (base, Operation("div", (number(exponent.numerator), number(exponent.denominator)))))


def _terminates(divisor: int) -> bool:
    """Tell whether a fraction with this denominator is a finite decimal."""
    for prime in (2, 5):
        while divisor % prime == 0:
            divisor //= prime
    return divisor == 1


def _plain(value: Fraction) -> _Rational:
    return value.numerator if value.denominator == 1 else value


def _is_computable(value: _Rational, exponent: int) -> bool:
    bits = max(abs(value.numerator).bit_length(), value.denominator.bit_length())
    return not (value == 0 and exponent < 0) and (bits <= 1 or bits * abs(exponent) <= _BITS)


def _is_number(expr: Expr, value: int) -> bool:
    return isinstance(expr, Number) and expr.value == value


# ---- functions at numbers ----

_AT_ZERO = {
    **dict.fromkeys(("sin", "tan", "asin", "atan", "sinh", "tanh"), 0),
    **dict.fromkeys(("exp", "cos", "cosh"), 1),
}


def _evaluated(function: str, args: tuple[Expr, ...]) -> Expr | None:
    """Return the value of a function where it is a rational number."""
    values = [arg for arg in args if isinstance(arg, Number)]
    if len(values) < len(args):
        is_e = isinstance(args[0], Constant) and args[0].name == "e"
        return Number(Fraction(1)) if function == "log" and is_e else None
    first = values[0]
    if function in _AT_ZERO:
        return Number(Fraction(_AT_ZERO[function])) if first.value == 0 else None
    if function == "log":
        return Number(Fraction(0)) if first.value == 1 else None
    if function == "sqrt":
        return _square_root(first)
    if function == "abs":
        return Number(abs(first.value), first.decimal)
    if function in ("sign", "step"):
        return Number(Fraction((first.value > 0) - (first.value < 0 and function == "sign")))
    if function == "relu":
        return first if first.value > 0 else Number(Fraction(0))
    if function in ("max", "min"):
        return (max if function == "max" else min)(values, key=lambda value: value.value)
    return None


def _square_root(value: Number) -> Number | None:
    if value.value < 0:
        return None
    root = Fraction(math.isqrt(value.value.numerator), math.isqrt(value.value.denominator))
    return Number(root, value.decimal) if root**2 == value.value and (value.decimal or root.denominator == 1) else None
