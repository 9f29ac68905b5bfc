"""The rules of differentiation, each once, and the tree of steps they make.

`derive` asks for every part of an expression which rule it falls under. A rule says which derivatives it needs and how
the result is made of them; with ∂/∂x in their place it is the line that a reader sees, with their results it is the
derivative. So what is shown and what is computed cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from fallline.calculus.expression import (
    Constant,
    Derivative,
    Expr,
    Number,
    Operation,
    Symbol,
    as_expression,
    call,
    factors,
    postorder,
    terms,
)
from fallline.calculus.simplifying import constant_value

__all__ = ["RULES", "Step", "derive"]

#: The rules by their names, and what each says. f and g depend on the variable, k, m, b and a do not, n is any
#: exponent.
RULES = {
    "constant": "d/dx k = 0",
    "identity": "d/dx x = 1",
    "linear": "d/dx (m·x + b) = m",
    "constant multiple": "d/dx (k·f) = k·d/dx f",
    "sum": "d/dx (f + g) = d/dx f + d/dx g",
    "difference": "d/dx (f − g) = d/dx f − d/dx g",
    "power": "d/dx xⁿ = n·xⁿ⁻¹",
    "product": "d/dx (f·g) = d/dx f·g + f·d/dx g",
    "quotient": "d/dx (f/g) = (d/dx f·g − f·d/dx g)/g²",
    "chain": "d/dx f(u) = f'(u)·d/dx u",
    "exponential": "d/dx aˣ = aˣ·ln(a), d/dx exp(x) = exp(x)",
    "logarithm": "d/dx ln(x) = 1/x",
    "general power": "d/dx f^g = f^g·d/dx (g·ln(f))",
    "sine": "d/dx sin(x) = cos(x)",
    "cosine": "d/dx cos(x) = −sin(x)",
    "tangent": "d/dx tan(x) = 1/cos(x)²",
    "inverse sine": "d/dx asin(x) = 1/√(1 − x²)",
    "inverse cosine": "d/dx acos(x) = −1/√(1 − x²)",
    "inverse tangent": "d/dx atan(x) = 1/(1 + x²)",
    "hyperbolic sine": "d/dx sinh(x) = cosh(x)",
    "hyperbolic cosine": "d/dx cosh(x) = sinh(x)",
    "hyperbolic tangent": "d/dx tanh(x) = 1 − tanh(x)²",
    "sigmoid": "d/dx sigmoid(x) = sigmoid(x)·(1 − sigmoid(x))",
    "softplus": "d/dx softplus(x) = sigmoid(x)",
    "relu": "d/dx relu(x) = step(x), which is 0 below 0 and 1 above",
    "absolute value": "d/dx |x| = sign(x)",
    "piecewise constant": "d/dx f = 0 between the jumps of f",
    "maximum": "d/dx max(f, g) = d/dx f where f > g, d/dx g where f < g",
    "minimum": "d/dx min(f, g) = d/dx f where f < g, d/dx g where f > g",
}

Domain = tuple[str, tuple[Expr, ...]]  # a text with places for expressions, and these


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One rule, applied to one derivative.

    Attributes
    ----------
    rule : str
        Its name, a key of `RULES`; "sum and difference" if a sum has both signs.
    before : Derivative
        What is to be derived.
    bindings : dict
        What the letters of the rule stand for: f, g, k, m, b, n, a, u.
    outer : str
        For the chain rule, the rule of the outer function; else empty.
    domain : tuple
        Where it holds, if not everywhere: a text with places for expressions, and these.
    children : tuple of Step
        The steps for the derivatives that the rule asks for, in their order.
    result : Expr
        The derivative, not simplified.
    combine : callable
        Makes an expression of those in the place of the children.
    """

    rule: str
    before: Derivative
    bindings: dict[str, Expr]
    outer: str
    domain: Domain
    children: tuple[Step, ...]
    result: Expr
    combine: Callable[..., Expr] = field(repr=False)

    @property
    def after(self) -> Expr:
        """What the rule makes of `before`, with derivatives still to be taken."""
        return self.combine(*(child.before for child in self.children))

    @property
    def note(self) -> str:
        """Where it holds, in words; empty if everywhere."""
        text, about = self.domain
        return text.format(*about)

    def walk(self) -> Iterator[Step]:
        """Yield it and all steps below, each once, in the order of reading."""
        seen: set[int] = set()
        stack = [self]
        while stack:
            step = stack.pop()
            if id(step) not in seen:
                seen.add(id(step))
                yield step
                stack.extend(reversed(step.children))


class _Applied(NamedTuple):
    """A rule for one expression: the operands whose derivatives it needs, and what it makes of them."""

    rule: str
    operands: tuple[Expr, ...]
    combine: Callable[..., Expr]
    bindings: dict[str, Expr]
    outer: str = ""
    domain: Domain = ("", ())


def derive(expr: Expr, name: str) -> Step:
    """Return the tree of steps that leads to the derivative by a variable; equal parts share their steps."""
    rules = _Rules(expr, name)
    applied: dict[int, _Applied] = {}
    order: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(expr, False)]
    while stack:
        operand, ready = stack.pop()
        if ready:
            order.append(operand)
        elif id(operand) not in applied:
            found = applied[id(operand)] = rules.apply(operand)
            stack.append((operand, True))
            stack.extend((inner, False) for inner in reversed(found.operands))
    steps: dict[int, Step] = {}
    for operand in order:
        steps[id(operand)] = _step(operand, name, applied[id(operand)], steps)
    return steps[id(expr)]


def _step(operand: Expr, name: str, found: _Applied, steps: dict[int, Step]) -> Step:
    children = tuple(steps[id(inner)] for inner in found.operands)
    result = found.combine(*(child.result for child in children))
    before = Derivative(operand, name)
    return Step(found.rule, before, found.bindings, found.outer, found.domain, children, result, found.combine)


class _Rules:
    """The choice of a rule, and the rules, for one variable of one expression."""

    def __init__(self, expr: Expr, name: str) -> None:
        self.name = name
        self.dependent: set[int] = set()
        self.mixed: set[int] = set()  # products with a factor that does not depend on the variable
        self.made: list[Expr] = []  # what has its id in a set must stay alive
        self.look_at(expr)

    def look_at(self, expr: Expr) -> None:
        """Find out which of the parts depend on the variable."""
        self.made.append(expr)
        for node in postorder(expr):
            if (isinstance(node, Symbol) and node.name == self.name) or any(self.depends(arg) for arg in node.args):
                self.dependent.add(id(node))
            if node.op == "mul" and (id(node.args[0]) in self.mixed or not all(map(self.depends, node.args))):
                self.mixed.add(id(node))

    def depends(self, node: Expr) -> bool:
        return id(node) in self.dependent

    def made_of(self, expr: Expr) -> Expr:
        """Return an expression that was made here of known parts, after noting that it depends on the variable."""
        self.made.append(expr)
        self.dependent.add(id(expr))
        return expr

    def product_of(self, parts: list[Expr]) -> Expr:
        result = parts[0]
        for part in parts[1:]:
            result = Operation("mul", (result, part))
            if self.depends(part):
                self.made_of(result)
        return result

    def apply(self, expr: Expr) -> _Applied:
        if expr.op == "mul" and id(expr) in self.mixed:
            return self.constant_multiple(expr)
        if expr.op in ("add", "sub"):
            return self.linear(expr) or self.sum(expr)
        if not self.depends(expr):
            return _leaf("constant", 0, {"k": expr})
        if expr.op == "symbol":
            return _leaf("identity", 1, {})
        return _BY_OPERATION[expr.op](self, expr)

    # ---- linear rules ----

    def linear(self, expr: Expr) -> _Applied | None:
        """m·x + b, with two numbers or two letters."""
        parts = terms(expr) if expr.args[0].op not in ("add", "sub") else []
        if len(parts) != 2 or expr.args[0].op == "neg":
            return None
        (_, first), (sign, second) = parts
        if self.depends(first) == self.depends(second):
            return None
        line, constant, flips = (first, second, False) if self.depends(first) else (second, first, sign < 0)
        slope = _slope(line, self.name)
        if slope is None or slope.op != constant.op or flips or constant.op not in ("number", "symbol"):
            return None
        return _Applied("linear", (), lambda: slope, {"m": slope, "b": constant})

    def sum(self, expr: Expr) -> _Applied:
        signs, parts = zip(*terms(expr), strict=True)

        def combine(*derivatives: Expr) -> Expr:
            result = Operation("neg", (derivatives[0],)) if signs[0] < 0 else derivatives[0]
            for sign, derivative in zip(signs[1:], derivatives[1:], strict=True):
                result = Operation("add" if sign > 0 else "sub", (result, derivative))
            return result

        rule = "sum" if min(signs[1:]) > 0 else "difference" if max(signs[1:]) < 0 else "sum and difference"
        bindings = dict(zip("fg", parts, strict=True)) if len(parts) == 2 else {}
        return _Applied(rule, parts, combine, bindings)

    def constant_multiple(self, expr: Expr) -> _Applied:
        parts = factors(expr)
        if self.depends(expr):
            kept = [part for part in parts if not self.depends(part)]
            moving = [part for part in parts if self.depends(part)]
        else:  # it is constant as a whole: only its coefficient is taken out
            kept, moving = parts[:1], parts[1:]
            if not isinstance(parts[0], Number):
                return _leaf("constant", 0, {"k": expr})
        constant, function = _product(kept), self.product_of(moving)
        return _Applied(
            "constant multiple",
            (function,),
            lambda df: Operation("mul", (constant, df)),
            {"k": constant, "f": function},
        )

    def negative(self, expr: Expr) -> _Applied:
        return _Applied(
            "constant multiple",
            expr.args,
            lambda df: Operation("neg", (df,)),
            {"k": Number(Fraction(-1)), "f": expr.args[0]},
        )

    # ---- products, quotients, powers ----

    def product(self, expr: Expr) -> _Applied:
        f, g = expr.args
        return _Applied("product", (f, g), lambda df, dg: df * g + f * dg, {"f": f, "g": g})

    def quotient(self, expr: Expr) -> _Applied:
        f, g = expr.args
        if not self.depends(g):
            return _Applied("constant multiple", (f,), lambda df: df / g, {"k": as_expression(1) / g, "f": f})
        domain = ("{} ≠ 0", (g,))
        return _Applied("quotient", (f, g), lambda df, dg: (df * g - f * dg) / g**2, {"f": f, "g": g}, domain=domain)

    def power(self, expr: Expr) -> _Applied:
        base, exponent = expr.args
        if not self.depends(exponent):
            return self.fixed_power(base, exponent)
        if not self.depends(base):
            return self.exponential(expr, base, exponent)
        inner = self.made_of(exponent * self.made_of(call("log", base)))
        bindings = {"f": base, "g": exponent}
        return _Applied("general power", (inner,), lambda d: expr * d, bindings, domain=("{} > 0", (base,)))

    def fixed_power(self, base: Expr, exponent: Expr) -> _Applied:
        value = constant_value(exponent)
        text = "{} > 0" if value is None or value[0].denominator != 1 else "{} ≠ 0" if value[0] < 0 else ""
        domain = (text, (base,))
        if base.op == "symbol":
            slope = _multiple(exponent, base ** _less_one(exponent))
            return _Applied("power", (), lambda: slope, {"n": exponent}, domain=domain)
        slope = _multiple(exponent, _power(base, _less_one(exponent)))
        return self.chained("power", slope, base, domain)

    def exponential(self, expr: Expr, base: Expr, exponent: Expr) -> _Applied:
        natural = isinstance(base, Constant) and base.name == "e"
        slope = expr if natural else expr * call("log", base)
        domain = ("" if natural or (isinstance(base, Number) and base.value > 0) else "{} > 0", (base,))
        if exponent.op == "symbol":
            return _Applied("exponential", (), lambda: slope, {"a": base}, domain=domain)
        return self.chained("exponential", slope, exponent, domain)

    # ---- functions ----

    def function(self, expr: Expr) -> _Applied:
        (inner,) = expr.args
        rule, slope, text = _SLOPES[expr.op]
        domain = (text, (inner,))
        if rule == "piecewise constant":
            return _leaf(rule, 0, {"f": expr}, domain)
        if inner.op == "symbol":
            return _Applied(rule, (), lambda: slope(inner), {}, domain=domain)
        return self.chained(rule, slope(inner), inner, domain)

    def chained(self, outer: str, slope: Expr, inner: Expr, domain: Domain) -> _Applied:
        def combine(du: Expr) -> Expr:
            if slope.op == "neg":
                return Operation("neg", (slope.args[0] * du,))
            return slope * du

        return _Applied("chain", (inner,), combine, {"u": inner, "f'(u)": slope}, outer, domain)

    def extreme(self, expr: Expr) -> _Applied:
        f, g = expr.args
        side = call("sign", f - g if expr.op == "max" else g - f)

        def combine(df: Expr, dg: Expr) -> Expr:
            return ((1 + side) * df + (1 - side) * dg) / 2

        rule = "maximum" if expr.op == "max" else "minimum"
        return _Applied(rule, (f, g), combine, {"f": f, "g": g}, domain=("{} ≠ {} (one-sided there)", (f, g)))


def _leaf(rule: str, value: int, bindings: dict[str, Expr], domain: Domain = ("", ())) -> _Applied:
    result = Number(Fraction(value))
    return _Applied(rule, (), lambda: result, bindings, domain=domain)


def _slope(line: Expr, name: str) -> Expr | None:
    """Return m if it is m·x, or x, for a number or another letter m."""

    def is_x(expr: Expr) -> bool:
        return isinstance(expr, Symbol) and expr.name == name

    if is_x(line):
        return Number(Fraction(1))
    if line.op == "mul" and is_x(line.args[1]) and not line.args[0].args and not is_x(line.args[0]):
        return line.args[0]
    return None


def _product(parts: list[Expr]) -> Expr:
    result = parts[0]
    for part in parts[1:]:
        result = Operation("mul", (result, part))
    return result


def _less_one(exponent: Expr) -> Expr:
    value = constant_value(exponent)
    if value is None:
        return exponent - 1
    return Number(value[0] - 1, value[1]) if value[1] else as_expression(value[0] - 1)


def _multiple(factor: Expr, expr: Expr) -> Expr:
    """Return their product, with the minus of a number before all of it."""
    value = constant_value(factor)
    return -(-factor * expr) if value is not None and value[0] < 0 and isinstance(factor, Number) else factor * expr


def _power(base: Expr, exponent: Expr) -> Expr:
    return base if isinstance(exponent, Number) and exponent.value == 1 else base**exponent


def _of_one_minus_square(u: Expr) -> Expr:
    return 1 / call("sqrt", 1 - u**2)


# The rule of each function, its derivative, and where that holds.
_SLOPES: dict[str, tuple[str, Callable[[Expr], Expr], str]] = {
    "exp": ("exponential", lambda u: call("exp", u), ""),
    "log": ("logarithm", lambda u: 1 / u, "{} > 0"),
    "sqrt": ("power", lambda u: 1 / (2 * call("sqrt", u)), "{} > 0"),
    "sin": ("sine", lambda u: call("cos", u), ""),
    "cos": ("cosine", lambda u: -call("sin", u), ""),
    "tan": ("tangent", lambda u: 1 / call("cos", u) ** 2, "cos({}) ≠ 0"),
    "asin": ("inverse sine", _of_one_minus_square, "−1 < {} < 1"),
    "acos": ("inverse cosine", lambda u: -_of_one_minus_square(u), "−1 < {} < 1"),
    "atan": ("inverse tangent", lambda u: 1 / (1 + u**2), ""),
    "sinh": ("hyperbolic sine", lambda u: call("cosh", u), ""),
    "cosh": ("hyperbolic cosine", lambda u: call("sinh", u), ""),
    "tanh": ("hyperbolic tangent", lambda u: 1 - call("tanh", u) ** 2, ""),
    "sigmoid": ("sigmoid", lambda u: call("sigmoid", u) * (1 - call("sigmoid", u)), ""),
    "softplus": ("softplus", lambda u: call("sigmoid", u), ""),
    "relu": ("relu", lambda u: call("step", u), "{} ≠ 0 (one-sided there)"),
    "abs": ("absolute value", lambda u: call("sign", u), "{} ≠ 0 (one-sided there)"),
    "sign": ("piecewise constant", lambda u: u, "{} ≠ 0"),
    "step": ("piecewise constant", lambda u: u, "{} ≠ 0"),
}

_BY_OPERATION: dict[str, Callable[[_Rules, Expr], _Applied]] = {
    "neg": _Rules.negative,
    "mul": _Rules.product,
    "div": _Rules.quotient,
    "pow": _Rules.power,
    "max": _Rules.extreme,
    "min": _Rules.extreme,
    **dict.fromkeys(_SLOPES, _Rules.function),
}
