"""The lines of a derivation: which rules a line applies, and what the expression looks like then."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from fallline.calculus.expression import Expr, Number, Operation, terms
from fallline.calculus.rules import Step

__all__ = ["STYLES", "Line", "Shown", "unfold"]

STYLES = ("lecture", "every-rule")
LONG = 2  # terms; a longer sum is not written again in brackets, and is split once only

# A line in the lecture's style applies all rules of the first of these kinds that occurs; leaves come last.
_KINDS = {"sum": 0, "difference": 0, "sum and difference": 0, "constant multiple": 1}
_OTHER, _LEAF = 2, 3


class Line(NamedTuple):
    """One line of a derivation.

    Attributes
    ----------
    expr : Expr
        With derivatives still to be taken.
    rule : str
        The rule that led to it, and what its letters stand for; empty in the lecture's style.
    """

    expr: Expr
    rule: str = ""


class Shown(NamedTuple):
    """What is to be shown of a derivation: see `explain`."""

    style: str
    maxsteps: int
    understood: frozenset[str]


def unfold(root: Step, result: Expr, shown: Shown, *, first: bool) -> tuple[tuple[Line, ...], bool]:
    """Return the lines, and whether some were left out; `first`: sums were not split for another variable before."""
    lines: list[Line] = []
    last = Line(result, "simplified" if shown.style == "every-rule" else "")
    for line in chain(_lines(root, shown, first=first), [last]):
        if len(lines) == shown.maxsteps:
            return (*lines[:-1], last), True
        if not lines or line.expr != lines[-1].expr:
            lines.append(line)
    return tuple(lines), False


def _lines(root: Step, shown: Shown, *, first: bool) -> Iterator[Line]:
    state = _State(root)
    long = shown.style == "lecture" and len(terms(root.before.args[0])) > LONG
    if not long:
        yield Line(root.before)
    while waiting := state.waiting():
        chosen = waiting[:1] if shown.style == "every-rule" else _alike(waiting)
        state.apply(chosen)
        if long and not first and chosen[0] is root:
            state.apply([step for step in state.waiting() if _kind(step) == 1])
        while understood := [step for step in state.waiting() if step.rule in shown.understood]:
            state.apply(understood)
        yield Line(state.expression(), _named(chosen[0]) if shown.style == "every-rule" else "")


def _kind(step: Step) -> int:
    return _KINDS.get(step.rule, _OTHER) if step.children else _LEAF


def _alike(waiting: list[Step]) -> list[Step]:
    lowest = min(map(_kind, waiting))
    return [step for step in waiting if _kind(step) == lowest]


def _named(step: Step) -> str:
    name = f"{step.rule} rule" + (f" with the {step.outer} rule" if step.outer else "")
    where = ", ".join(f"{letter} = {expr}" for letter, expr in step.bindings.items())
    return f"{name}: {where}" if where else name


class _State:
    """Which rules have been applied so far."""

    def __init__(self, root: Step) -> None:
        self.root = root
        self.applied: set[int] = set()

    def apply(self, steps: list[Step]) -> None:
        self.applied.update(map(id, steps))

    def visible(self) -> list[Step]:
        """Return the steps that have been applied and those they wait for, in the order of reading."""
        seen: set[int] = set()
        found: list[Step] = []
        stack = [self.root]
        while stack:
            step = stack.pop()
            if id(step) not in seen:
                seen.add(id(step))
                found.append(step)
                if id(step) in self.applied:
                    stack.extend(reversed(step.children))
        return found

    def waiting(self) -> list[Step]:
        return [step for step in self.visible() if id(step) not in self.applied]

    def expression(self) -> Expr:
        made: dict[int, Expr] = {}
        for step in self.completed():
            if id(step) not in self.applied:
                made[id(step)] = step.before
                continue
            made[id(step)] = step.combine(*(self.shown(child, step, made) for child in step.children))
        return self.shown(self.root, None, made)

    def completed(self) -> Iterator[Step]:
        """Yield the visible steps, children first."""
        seen: set[int] = set()
        stack = [(self.root, False)]
        while stack:
            step, ready = stack.pop()
            if ready:
                yield step
            elif id(step) not in seen:
                seen.add(id(step))
                stack.append((step, True))
                if id(step) in self.applied:
                    stack.extend((child, False) for child in reversed(step.children))

    def shown(self, step: Step, parent: Step | None, made: dict[int, Expr]) -> Expr:
        """Write 2x¹ as 2x, unless a constant is still to be multiplied with it: the lecture shows 3·2y¹, but −2y."""
        expr = made[id(step)]
        multiplied = parent is not None and parent.rule == "constant multiple" and parent.after.op == "mul"
        if step.rule == "power" and id(step) in self.applied and not multiplied:
            factor, power = expr.args if expr.op == "mul" else (None, expr)
            if factor is not None and power.op == "pow" and _is_one(power.args[1]):
                return Operation("mul", (factor, power.args[0]))
        return expr


def _is_one(expr: Expr) -> bool:
    return isinstance(expr, Number) and expr.value == 1
