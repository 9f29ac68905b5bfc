"""The mistakes that people make with each rule, as what they write instead of the right result.

For a step of a derivation these are generators of pairs: what was done, in words, and the wrong result. The results of
the steps below are taken as right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fallline.calculus.expression import Expr, as_expression, call, replace, terms
from fallline.calculus.rules import Step

__all__ = ["mistakes"]

Mistake = tuple[str, Expr]


def mistakes(step: Step) -> Iterator[Mistake]:
    """Yield what may have been done instead of this step, the likeliest first."""
    made = _MISTAKES.get(step.rule)
    if made is not None:
        yield from made(step)
    elif not step.children:
        yield from _of_function(step)


def _results(step: Step) -> tuple[Expr, ...]:
    return tuple(child.result for child in step.children)


def _operand(step: Step) -> Expr:
    return step.before.args[0]


def _constant(step: Step) -> Iterator[Mistake]:
    operand = _operand(step)
    yield f"the derivative of a constant is 0, but {operand} was kept", operand
    yield f"the derivative of a constant is 0, not 1: {operand} does not contain {step.before.name}", as_expression(1)


def _identity(step: Step) -> Iterator[Mistake]:
    yield f"the derivative of {step.before.name} is 1, but {step.before.name} was kept", _operand(step)
    yield f"the derivative of {step.before.name} is 1, not 0", as_expression(0)


def _linear(step: Step) -> Iterator[Mistake]:
    operand, slope = _operand(step), step.result
    yield f"the constant {step.bindings['b']} was kept, though its derivative is 0", slope + step.bindings["b"]
    yield f"the factor {slope} was lost", as_expression(1)
    yield f"{operand} was kept", operand


def _sum(step: Step) -> Iterator[Mistake]:
    signs = [sign for sign, _ in terms(_operand(step))]
    parts = [part for _, part in terms(_operand(step))]
    results = _results(step)
    for i, part in enumerate(parts):
        flipped = [*results[:i], -results[i], *results[i + 1 :]]
        yield f"the sign of the term with {part} was changed", step.combine(*flipped)
    for i, part in enumerate(parts):
        kept = [*results[:i], as_expression(0), *results[i + 1 :]]
        yield f"the term with {part} was lost", step.combine(*kept)
    if len(parts) == 2 and signs[0] > 0:
        yield "the derivatives of a sum's terms were multiplied instead of added", results[0] * results[1]


def _constant_multiple(step: Step) -> Iterator[Mistake]:
    (derivative,) = _results(step)
    factor, function = step.bindings["k"], step.bindings["f"]
    yield f"the constant factor {factor} was lost", derivative
    yield f"a product with the constant {factor} was taken for a constant: the derivative is not 0", as_expression(0)
    yield f"the constant {factor} was added instead of multiplied", factor + derivative
    yield f"{function} was kept, only the constant was looked at", factor * function


def _product(step: Step) -> Iterator[Mistake]:
    (df, dg), f, g = _results(step), step.bindings["f"], step.bindings["g"]
    yield "product rule: the derivatives of the factors were multiplied; it is f'·g + f·g'", df * dg
    yield "product rule: the sign between the terms must be +; it is f'·g + f·g'", df * g - f * dg
    yield f"product rule: the term f·g' was left out, with f = {f}, g = {g}", df * g
    yield f"product rule: the term f'·g was left out, with f = {f}, g = {g}", f * dg
    yield "product rule: each factor stays with its own derivative; it is f'·g + f·g'", df * f + g * dg
    yield "product rule: the derivatives of the factors were added; it is f'·g + f·g'", df + dg


def _quotient(step: Step) -> Iterator[Mistake]:
    (df, dg), f, g = _results(step), step.bindings["f"], step.bindings["g"]
    yield "quotient rule: the derivatives were divided; it is (f'·g − f·g')/g²", df / dg
    yield "quotient rule: the terms above the line were exchanged; it is f'·g − f·g'", (f * dg - df * g) / g**2
    yield "quotient rule: the sign above the line must be −; it is f'·g − f·g'", (df * g + f * dg) / g**2
    yield "quotient rule: the denominator was not squared; it is (f'·g − f·g')/g²", (df * g - f * dg) / g
    yield "quotient rule: the denominator was left out; it is (f'·g − f·g')/g²", df * g - f * dg
    yield "quotient rule: only the numerator was derived", df / g


def _power(step: Step) -> Iterator[Mistake]:
    operand = _operand(step)
    if operand.op == "pow":
        yield from _of_power(*operand.args)
    else:
        yield from _of_function(step)


def _of_power(base: Expr, exponent: Expr) -> Iterator[Mistake]:
    lowered = base ** (exponent - 1)
    yield f"power rule: the exponent must be lowered by 1, to {exponent} − 1", exponent * base**exponent
    yield f"power rule: the exponent was raised instead of lowered, from {exponent}", exponent * base ** (exponent + 1)
    yield f"power rule: the factor {exponent} was lost", lowered
    yield f"power rule: the factor is the old exponent, {exponent}, not the new one", (exponent - 1) * lowered
    yield f"power rule: the sign of the exponent {exponent} was lost", -exponent * lowered
    yield "this is the integral: the exponent goes down for a derivative", base ** (exponent + 1) / (exponent + 1)
    yield f"power rule: the exponent was multiplied with {base}, which loses a power", exponent * base


def _of_function(step: Step) -> Iterator[Mistake]:
    operand, result = _operand(step), step.result
    yield f"the sign of the derivative of {operand} is wrong: it is {result}", -result
    yield f"{operand} was kept; its derivative is {result}", operand
    yield from _of_slope(step.rule, operand)


def _of_slope(rule: str, operand: Expr) -> Iterator[Mistake]:
    """Yield wrong slopes of an outer function, applied to what it is applied to."""
    if rule == "exponential" and operand.op == "exp":
        (u,) = operand.args
        yield "the power rule was used for an exponential, whose variable is in the exponent", u * call("exp", u - 1)
    elif rule == "exponential":
        base, u = operand.args
        yield "the power rule was used for an exponential, whose variable is in the exponent", u * base ** (u - 1)
        yield f"the factor ln({base}) was lost", operand
    elif rule == "logarithm":
        (u,) = operand.args
        yield f"the derivative of ln({u}) is 1 divided by {u}", 1 / operand
        yield f"the derivative of ln({u}) is 1 divided by {u}, which must be below the line", u
    elif rule == "power" and operand.op == "sqrt":
        (u,) = operand.args
        yield "the factor ½ of the derivative of a root was lost", 1 / operand
        yield "the root belongs below the line: its exponent is ½ − 1 = −½", operand / 2
        yield "the factor 2 below the line must be multiplied with the root", 2 / operand
    elif rule == "tangent":
        (u,) = operand.args
        yield "the derivative of tan is 1/cos², not 1/sin²", 1 / call("sin", u) ** 2
        yield "the derivative of tan is 1/cos², with a square", 1 / call("cos", u)
    elif rule == "hyperbolic tangent":
        yield "the derivative of tanh is 1 − tanh², with a minus", 1 + operand**2
    elif rule == "sigmoid":
        yield "the derivative of the sigmoid s is s·(1 − s); the factor s was lost", 1 - operand
        yield "the derivative of the sigmoid s is s·(1 − s), with a minus", operand * (1 + operand)


def _chain(step: Step) -> Iterator[Mistake]:
    operand, (du,) = _operand(step), _results(step)
    u, slope = step.bindings["u"], step.bindings["f'(u)"]
    yield f"chain rule: the derivative of the inside, {u}, is missing as a factor", slope
    inside_derived = replace(slope, lambda node: du if node is u else None)
    yield f"chain rule: the outer derivative must be taken at {u}, not at its derivative", inside_derived
    yield f"chain rule: the derivative of the inside, {u}, was added instead of multiplied", slope + du
    yield f"chain rule: only the inside, {u}, was derived, the outer function was lost", du
    yield f"chain rule: the outer function was kept, but must be derived too, at {u}", operand * du
    yield f"chain rule: the factor is the derivative of the inside, not {u} itself", slope * u
    yield f"the sign of the derivative of {operand} is wrong", -(slope * du)
    if operand.op == "pow" and step.outer == "power":
        outer = _of_power(*operand.args)
    else:
        outer = _of_slope(step.outer, operand)
    for what, wrong in outer:
        yield what, wrong * du
        yield f"{what}; and the derivative of the inside, {u}, is missing as a factor", wrong


def _general_power(step: Step) -> Iterator[Mistake]:
    f, g = step.bindings["f"], step.bindings["g"]
    operand = _operand(step)
    yield "the power rule was used though the exponent depends on the variable", g * f ** (g - 1)
    yield "the exponential rule was used though the base depends on the variable", operand * call("log", f)
    yield "the factor f^g itself was lost: it is f^g·(g·ln f)'", step.children[0].result


def _extreme(step: Step) -> Iterator[Mistake]:
    df, dg = _results(step)
    what = "the larger" if step.rule == "maximum" else "the smaller"
    yield f"only the first argument was derived; where the second is {what} its derivative counts", df
    yield f"only the second argument was derived; where the first is {what} its derivative counts", dg
    yield f"the derivative is that of {what} argument, not {what} derivative", call(step.before.args[0].op, df, dg)


_MISTAKES: dict[str, Callable[[Step], Iterator[Mistake]]] = {
    "constant": _constant,
    "identity": _identity,
    "linear": _linear,
    "constant multiple": _constant_multiple,
    "sum": _sum,
    "difference": _sum,
    "sum and difference": _sum,
    "product": _product,
    "quotient": _quotient,
    "power": _power,
    "chain": _chain,
    "general power": _general_power,
    "maximum": _extreme,
    "minimum": _extreme,
}
