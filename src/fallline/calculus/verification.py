"""Derivations held against numerical derivatives, at random points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fallline.calculus.expression import Derivative, Expr, compute, fold

if TYPE_CHECKING:
    from fallline.calculus.derivation import Derivation

__all__ = ["verify"]

_POINTS = 4  # at which a derivation is compared
_TRIES = 40  # points, for expressions that are defined almost nowhere
_SHARP = 1e-9  # a numerical derivative with a larger error, relative to max(1, |value|), is not used
_AGREE = 1e-6  # what is left of that error when it was multiplied by other parts of a line


def verify(derivation: Derivation, rng: Any) -> int:
    """Compare all steps and lines; see `Derivation.verify`."""
    generator = np.random.default_rng(rng)
    equations = [(step.before, step.after, step.rule) for step in derivation.step.walk()]
    equations += [(derivation.step.before, line.expr, line.rule or "line") for line in derivation.lines]
    names = derivation.expr.variables
    compared: set[int] = set()
    points = 0
    for _ in range(_TRIES):
        at_point = _Numeric(dict(zip(names, generator.normal(0, 1.5, len(names)).tolist(), strict=True)))
        held = {i for i, equation in enumerate(equations) if at_point.compare(*equation)}
        compared |= held
        points += bool(held)
        if points >= _POINTS and len(compared) == len(equations):
            break
    return len(compared)


class _Numeric:
    """Derivatives at one point, by differences."""

    def __init__(self, point: dict[str, float]) -> None:
        self.point = point
        self.known: dict[tuple[int, str], float] = {}

    def compare(self, before: Derivative, after: Expr, rule: str) -> bool:
        """Return whether the two sides could be compared; raise if they differ."""
        value, other = self.derivative(before), self.value(after)
        if not (math.isfinite(value) and math.isfinite(other)):
            return False
        if abs(value - other) > _AGREE * max(abs(value), abs(other), 1):
            where = ", ".join(f"{name} = {x:.6g}" for name, x in self.point.items())
            raise ArithmeticError(
                f"derivation: must be equal in each step ({rule}); got {before} = {value:.9g}, but "
                f"{after} = {other:.9g}, for {where}. Please report it."
            )
        return True

    def derivative(self, node: Derivative) -> float:
        """Return the numerical derivative, or NaN if it is not sharp."""
        key = id(node.args[0]), node.name
        if key not in self.known:
            self.known[key] = self.difference(node.args[0], node.name)
        return self.known[key]

    def difference(self, function: Expr, name: str) -> float:
        from fallline.derivatives import derivative

        def along(t: Any) -> Any:
            point = {**self.point, name: t}
            return fold(function, lambda node, args: compute(node, args, point))

        start = self.point.get(name, 0.0)
        with np.errstate(all="ignore"):
            if not math.isfinite(along(start)):
                return math.nan
            found = derivative(along, start, full_output=True)
        return float(found.value) if found.error <= _SHARP * max(1.0, abs(found.value)) else math.nan

    def value(self, expr: Expr) -> float:
        """Return the value of an expression, with the derivatives in it taken by differences."""

        def combine(node: Expr, args: list[Any]) -> Any:
            return self.derivative(node) if isinstance(node, Derivative) else compute(node, args, self.point)

        with np.errstate(all="ignore"):
            return float(fold(expr, combine))
