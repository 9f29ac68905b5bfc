"""A person's own derivation, marked: which line stops being equal, and which rule was probably misapplied there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fallline.calculus.differentiation import as_function, check_variable
from fallline.calculus.expression import Derivative, Expr, compute, fold, like, postorder, terms
from fallline.calculus.mistakes import mistakes
from fallline.calculus.parsing import read
from fallline.calculus.printing import write
from fallline.calculus.rules import Step, derive
from fallline.calculus.simplifying import simplify

__all__ = ["Mark", "Marking", "check_steps"]

_POINTS = 24
_ENOUGH = 4  # points at which both sides are defined
_AGREE = 1e-9  # relative to the greatest value of either side
_LEFT_SIDE = re.compile(r"\s*(?:[d∂]/[d∂]\w+\s*f(?:\([^=]*\))?|[d∂]\w+(?:\([^=]*\))?/[d∂]\w+|\w+'(?:\([^=]*\))?)\s*")

_Values = npt.NDArray[np.float64]


class Mark(NamedTuple):
    """What was found of one line.

    Attributes
    ----------
    text : str
        The line.
    right : bool
        Whether it is equal to the derivative.
    comment : str
        What is wrong, or empty.
    """

    text: str
    right: bool
    comment: str


@dataclass(frozen=True, eq=False)
class Marking:
    """A marked derivation; `print` shows it.

    Attributes
    ----------
    marks : tuple of Mark
        One for each line.
    result : Expr
        The derivative.
    finished : bool
        Whether the last line has no derivative left to be taken.
    """

    marks: tuple[Mark, ...]
    result: Expr
    finished: bool

    @property
    def passed(self) -> bool:
        """Whether all lines are right, and the last is a result."""
        return self.finished and all(mark.right for mark in self.marks)

    @property
    def first_wrong(self) -> int | None:
        """The index of the first line that is not equal to the derivative, or None."""
        return next((i for i, mark in enumerate(self.marks) if not mark.right), None)

    def __str__(self) -> str:
        lines = []
        for mark in self.marks:
            lines.append(f"{'✓' if mark.right else '✗'} {mark.text}")
            if mark.comment:  # below: beside a long line it would stand out of sight
                lines.append(f"    {mark.comment}")
        if self.passed:
            return "\n".join([*lines, "All lines are right."])
        if self.first_wrong is None:
            return "\n".join(
                [*lines, f"Right so far, but a derivative is still to be taken. The result is {self.result}."]
            )
        return "\n".join([*lines, f"The derivative is {self.result}."])

    def _repr_html_(self) -> str:
        import html

        rows = "".join(
            f"<tr><td>{'✓' if mark.right else '✗'}</td><td style='text-align:left'>{html.escape(mark.text)}</td>"
            f"<td style='text-align:left'>{html.escape(mark.comment)}</td></tr>"
            for mark in self.marks
        )
        last = str(self).rpartition("\n")[2]
        return f"<table>{rows}</table><div>{html.escape(last)}</div>"


def check_steps(expr: Any, var: str, lines: str | Sequence[str], *, rng: Any = 0) -> Marking:
    """Mark a derivation that a person wrote.

    Parameters
    ----------
    expr : str, Expr or callable
        The function; see `explain`.
    var : str
        The variable.
    lines : str or sequence of str
        The lines of the equality chain, each an expression, with d/dx or ∂/∂x before what is still to be derived (up to
        the next + or −, or a bracket [ ] right after it). Lines may hold several expressions with = between them, and
        begin with a left side such as d/dx f or f'(x). A single text is split into lines.
    rng : int, numpy.random.Generator or numpy.random.SeedSequence
        Where the random points come from at which lines are compared.

    Returns
    -------
    Marking

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above; `ParseError` for a line that is not an expression in the function's variables.

    Notes
    -----
    A line is right if it equals the derivative at random points. For the first line that does not, each step of our own
    derivation is tried with each of the mistakes that are made with its rule, for one that gives the line's values.

    Examples
    --------
    >>> from fallline import calculus
    >>> print(calculus.check_steps("sin(x**2)", "x", ["cos(x**2) * d/dx x**2", "cos(x**2) * x"]))
    ✓ cos(x**2) * d/dx x**2
    ✗ cos(x**2) * x
        d/dx [x²]: power rule: the factor 2 was lost
    The derivative is 2x·cos(x²).
    """
    function, names = as_function(expr)
    name = check_variable(var, "var")
    texts = _split(lines)
    known = frozenset((*names, name))
    written = [read(text, known, derivatives=True) for text in texts]
    root = derive(function, name)
    points = _Points(function, sorted(known), rng)
    truth = points.values(root.result)
    marks: list[Mark] = []
    for i, (text, line) in enumerate(zip(texts, written, strict=True)):
        values = points.values(_resolved(line))
        right = points.equal(values, truth)
        comment = ""
        if not right and any(not mark.right for mark in marks):
            before = points.values(_resolved(written[i - 1]))
            comment = "follows from the line before" if points.equal(values, before) else ""
        elif not right:
            comment = _diagnosis(root, line, values, written[i - 1] if i else None, points)
        marks.append(Mark(text, right, comment))
    finished = not any(isinstance(node, Derivative) for node in postorder(written[-1]))
    return Marking(tuple(marks), simplify(root.result), finished)


def _split(lines: str | Sequence[str]) -> list[str]:
    """Return the expressions between the signs of equality, without the name of the derivative at the beginning."""
    rows: list[Any] = lines.splitlines() if isinstance(lines, str) else list(lines)
    found: list[str] = []
    for row in rows:
        if not isinstance(row, str):
            raise TypeError(f'lines: must be strings; got {type(row).__name__}. Write for instance ["2*x"].')
        left, *right = row.split("=")
        named = bool(right) and (not left.strip() or _LEFT_SIDE.fullmatch(left) is not None)
        found += right if named else [left, *right]
    found = [text.strip() for text in found if text.strip()]
    if not found:
        raise ValueError(f"lines: must hold at least one expression; got {lines!r}. Write for instance 2*x.")
    return found


def _resolved(expr: Expr) -> Expr:
    """Return the expression with its derivatives taken."""

    def combine(node: Expr, args: list[Any]) -> Any:
        if isinstance(node, Derivative):
            return derive(args[0], node.name).result
        return like(node, tuple(args)) if args else node

    result: Expr = fold(expr, combine)
    return result


class _Points:
    """Random points, at which expressions are compared."""

    def __init__(self, function: Expr, names: Sequence[str], rng: Any) -> None:
        generator = np.random.default_rng(rng)
        # Half of them positive, for logarithms and roots; small, for the ends of domains.
        signs = np.where(np.arange(_POINTS) % 2, 1.0, generator.choice([-1.0, 1.0], (len(names), _POINTS)))
        sizes = generator.choice([0.3, 1.0, 3.0], (len(names), _POINTS)) * generator.uniform(
            0.5, 1.5, (len(names), _POINTS)
        )
        self.values_of = dict(zip(names, signs * sizes, strict=True))
        self.function = function

    def values(self, expr: Expr) -> _Values:
        with np.errstate(all="ignore"):
            found = fold(expr, lambda node, args: compute(node, args, self.values_of))
        return np.broadcast_to(np.asarray(found, dtype=np.float64), (_POINTS,))

    def equal(self, a: _Values, b: _Values) -> bool:
        """Tell whether they agree wherever both are defined, and the first is not defined nowhere."""
        both = np.isfinite(a) & np.isfinite(b)
        if both.sum() < min(_ENOUGH, max(1, np.isfinite(b).sum())):
            return False
        a, b = a[both], b[both]
        return bool(np.all(np.abs(a - b) <= _AGREE * np.maximum(np.abs(a), np.abs(b)) + 1e-13))


# ---- what went wrong ----


def _diagnosis(root: Step, line: Expr, values: _Values, before: Expr | None, points: _Points) -> str:
    if before is not None and not any(isinstance(node, Derivative) for node in postorder(before)):
        return _algebra(values, before, points) or "it is not equal to the line before"
    for step, what, wrong in _wrong_results(root):
        if points.equal(values, points.values(wrong)):
            return what if step is None else f"{write(step.before, 'unicode', 'd')}: {what}"
    return (
        _algebra(values, root.result, points) or "it is not equal to the derivative, and no single mistake explains it"
    )


def _wrong_results(root: Step) -> Iterator[tuple[Step | None, str, Expr]]:
    """Yield what the derivative becomes by a mistake in one step, then by the same mistake wherever it can be made."""
    steps = list(root.walk())
    for step in steps:
        for what, wrong in mistakes(step):
            yield step, what, _with_results(root, {id(step): wrong})
    kinds: dict[tuple[str, int], list[tuple[Step, str, Expr]]] = {}
    for step in steps:
        for place, (what, wrong) in enumerate(mistakes(step)):
            kinds.setdefault((step.rule, place), []).append((step, what, wrong))
    for group in kinds.values():
        if len(group) > 1:
            given = {id(step): wrong for step, _, wrong in group}
            yield None, f"{group[0][1]} (and so in each such place)", _with_results(root, given)


def _with_results(root: Step, given: dict[int, Expr]) -> Expr:
    """Return the derivative that follows if some steps had other results."""
    made: dict[int, Expr] = {}
    stack = [(root, False)]
    while stack:
        step, ready = stack.pop()
        if id(step) in given:
            made[id(step)] = given[id(step)]
        elif ready:
            made[id(step)] = step.combine(*(made[id(child)] for child in step.children))
        elif id(step) not in made:
            stack.append((step, True))
            stack.extend((child, False) for child in step.children if id(child) not in made)
    return made[id(root)]


def _algebra(values: _Values, before: Expr, points: _Points) -> str:
    """Return the sign, term or factor by which the values differ from those of an expression, in words, or nothing."""
    whole = points.values(_resolved(before))
    for sign, term in terms(simplify(_resolved(before))):
        part = sign * points.values(term)
        if points.equal(values, whole - 2 * part):
            return f"the sign of {term} was changed"
        if points.equal(values, whole - part):
            return f"the term {term} was lost"
    with np.errstate(all="ignore"):
        ratio = values / whole
    ratio = ratio[np.isfinite(ratio)]
    if ratio.size < _ENOUGH or ratio[0] == 0 or np.any(np.abs(ratio / ratio[0] - 1) > _AGREE):
        return ""
    factor = Fraction(float(ratio[0])).limit_denominator(1000)
    return f"it is {factor} times what it must be" if abs(float(factor) / ratio[0] - 1) <= _AGREE else ""
