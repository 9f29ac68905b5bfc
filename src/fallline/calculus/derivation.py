"""Derivations, rule by rule, as objects that print themselves."""

from __future__ import annotations

import difflib
import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fallline.calculus.differentiation import appearance, as_function, check_variable
from fallline.calculus.expression import Expr, as_expression
from fallline.calculus.printing import in_ascii, write, write_operator
from fallline.calculus.rules import RULES, Step, derive
from fallline.calculus.simplifying import constant_value, simplify
from fallline.calculus.unfolding import STYLES, Line, Shown, unfold

__all__ = ["Derivation", "Explanation", "explain"]


@dataclass(frozen=True, eq=False)
class Derivation:
    """The way to one derivative; `print` shows it.

    Attributes
    ----------
    expr : Expr
        What is derived.
    name : str
        The variable.
    step : Step
        The root of the tree of steps.
    result : Expr
        The derivative, simplified.
    lines : tuple of Line
        The equality chain, from the derivative to be taken to the result.
    shortened : bool
        Whether lines before the last were left out.
    sign : {"d", "∂"}
        The d of the derivative: of a function of one variable, or of several.
    point : dict of str to Expr
        Where the derivative is evaluated too; may be empty.
    previous : Derivation or None
        Of a higher derivative: the way to `expr`.
    """

    expr: Expr
    name: str
    step: Step
    result: Expr
    lines: tuple[Line, ...]
    shortened: bool = False
    sign: str = "∂"
    point: Mapping[str, Expr] = field(default_factory=dict)
    previous: Derivation | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Where it holds, if not everywhere."""
        return tuple(dict.fromkeys(step.note for step in self.step.walk() if step.domain[0]))

    @property
    def value(self) -> Expr | None:
        """The derivative at the point that was asked for, or None; a number if it is rational."""
        return simplify(self._substituted()) if self.point else None

    def text(self, notation: str = "unicode") -> str:
        """Write it.

        Parameters
        ----------
        notation : {"unicode", "text", "latex"}

        Returns
        -------
        str
            A line for each step, aligned; in LaTeX an aligned environment.
        """
        own = self._latex() if notation == "latex" else self._plain(notation)
        own = in_ascii(own) if notation == "text" else own
        return f"{self.previous.text(notation)}\n\n{own}" if self.previous else own

    def verify(self, rng: Any = 0) -> int:
        """Compare every step and every line with numerical derivatives at random points.

        Parameters
        ----------
        rng : int, numpy.random.Generator or numpy.random.SeedSequence
            Where the points come from.

        Returns
        -------
        int
            The number of steps and lines that were compared: not those that are defined nowhere near the points.

        Raises
        ------
        ArithmeticError
            If a step or a line is not equal to the derivative that it stands for.

        Examples
        --------
        >>> from fallline import calculus
        >>> calculus.explain("x*sin(x)", "x").verify()
        7
        """
        from fallline.calculus.verification import verify

        return verify(self, rng)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        before = self.previous._repr_html_() if self.previous else ""
        rows = [(f"= {expr}", html.escape(rule)) for expr, rule in self._rows("html")]
        left = [f"{self._operators('html')} <i>f</i>", *[""] * (len(rows) - 1)]
        style = "style='text-align:left;vertical-align:top'"
        cells = [
            f"<tr><td {style[:-1]};white-space:nowrap'>{start}</td><td {style}>{expr}</td><td {style}>{rule}</td></tr>"
            for start, (expr, rule) in zip(left, rows, strict=True)
        ]
        return f"{before}<table>{''.join(cells)}</table>" + "".join(
            f"<div>{line}</div>" for line in self._below("html")
        )

    def _rows(self, notation: str) -> list[tuple[str, str]]:
        rows = [(write(line.expr, notation, self.sign), line.rule) for line in self.lines]
        return [*rows[:-1], (r"\cdots" if notation == "latex" else "…", ""), rows[-1]] if self.shortened else rows

    def _operators(self, notation: str) -> str:
        before = " " + self.previous._operators(notation) if self.previous else ""
        return write_operator(notation, self.sign, self.name) + before

    def _plain(self, notation: str) -> str:
        left, rows = f"{self._operators(notation)} f ", self._rows(notation)
        width = max(len(expr) for expr, _ in rows)
        lines = [f"= {expr:{width}}   {rule}" if rule else f"= {expr}" for expr, rule in rows]
        return "\n".join([left + ("\n" + " " * len(left)).join(lines), *self._below(notation)])

    def _latex(self) -> str:
        lines = [f"&= {expr}" + (rf" && \text{{{rule}}}" if rule else "") for expr, rule in self._rows("latex")]
        rows = [
            f"{self._operators('latex')} f {lines[0]}",
            *lines[1:],
            *(rf"&\text{{{line}}}" for line in self._below("latex")),
        ]
        return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"

    def _below(self, notation: str) -> list[str]:
        lines = [f"for {', '.join(self.notes)}"] if self.notes else []
        if self.value is not None:
            where = ", ".join(f"{name} = {write(value, 'unicode')}" for name, value in self.point.items())
            value = write(self.value, notation)
            chain = list(dict.fromkeys([write(self._substituted(), notation), value]))
            if constant_value(self.value) is None and not self.value.variables:
                decimal = f"{float(self.value()):.10g}".replace("-", "−")
                lines.append(f"at {where}: {' = '.join(chain)} ≈ {decimal}")
            else:
                lines.append(f"at {where}: {' = '.join(chain)}")
        return lines

    def _substituted(self) -> Expr:
        names = self.result.variables
        return self.result.substitute(**{name: value for name, value in self.point.items() if name in names})


@dataclass(frozen=True, eq=False)
class Explanation:
    """The derivatives of a function by each of its variables; `print` shows them, and the gradient.

    Attributes
    ----------
    expr : Expr
        The function.
    partials : dict of str to Derivation
        By the names of the variables.
    """

    expr: Expr
    partials: dict[str, Derivation]

    @property
    def gradient(self) -> tuple[Expr, ...]:
        """The derivatives, simplified."""
        return tuple(derivation.result for derivation in self.partials.values())

    def text(self, notation: str = "unicode") -> str:
        """Write it.

        Parameters
        ----------
        notation : {"unicode", "text", "latex"}

        Returns
        -------
        str
        """
        name = f"f({', '.join(self.partials)})" if self.partials else "f"
        head = f"{name} = {write(self.expr, notation)}"
        blocks = [head, *(derivation.text(notation) for derivation in self.partials.values())]
        return "\n\n".join(blocks + ([self._column(notation)] if len(self.partials) > 1 else []))

    def verify(self, rng: Any = 0) -> int:
        """Compare every step and line with numerical derivatives; see `Derivation.verify`.

        Parameters
        ----------
        rng : int, numpy.random.Generator or numpy.random.SeedSequence

        Returns
        -------
        int
        """
        return sum(derivation.verify(rng) for derivation in self.partials.values())

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        names = ", ".join(f"<i>{name}</i>" for name in self.partials)
        head = f"<div><i>f</i>({names}) = {write(self.expr, 'html')}</div>"
        body = "".join(derivation._repr_html_() for derivation in self.partials.values())
        if len(self.partials) < 2:
            return head + body
        entries = "".join(
            f"<tr><td style='text-align:left'>{write(entry, 'html')}</td></tr>" for entry in self.gradient
        )
        style = (
            "display:inline-table;vertical-align:middle;border-left:1px solid;border-right:1px solid;border-radius:8px"
        )
        return f"{head}{body}<div>∇<i>f</i> = <table style='{style}'>{entries}</table></div>"

    def _column(self, notation: str) -> str:
        entries = [write(entry, notation) for entry in self.gradient]
        if notation == "latex":
            return r"\nabla f = \begin{bmatrix}" + r" \\ ".join(entries) + r"\end{bmatrix}"
        width = max(map(len, entries))
        lefts, rights = "⎡" + "⎢" * (len(entries) - 2) + "⎣", "⎤" + "⎥" * (len(entries) - 2) + "⎦"
        rows = [f"{left} {entry:{width}} {right}" for left, entry, right in zip(lefts, entries, rights, strict=True)]
        if notation == "text":
            rows = [in_ascii(row) for row in rows]
        left = "grad f = " if notation == "text" else "∇f = "
        return left + ("\n" + " " * len(left)).join(rows)


def explain(
    expr: Any,
    var: str | Sequence[str] | None = None,
    *,
    style: str = "lecture",
    maxsteps: int = 100,
    understood: Collection[str] = (),
    at: Mapping[str, Any] | None = None,
) -> Derivation | Explanation:
    """Derive step by step, by the rules, as it is written on a blackboard.

    Parameters
    ----------
    expr : str, Expr or callable
        The function: text for `parse`, an expression, or a Python function for `trace`.
    var : str or sequence of str, optional
        The variable. Of several, the derivative by the first is derived by the second, and so on. By default the
        partial derivatives by all variables are shown, and the gradient.
    style : {"lecture", "every-rule"}
        "lecture": each line applies what a lecturer does at once: sums first, then constant multiples, then products
        and chains, at last what is left. "every-rule": one rule a line, with its name and what its letters stand for.
    maxsteps : int
        The greatest number of lines; the last line is always shown.
    understood : collection of str
        Names of rules, keys of `calculus.RULES`, that are applied without a line of their own.
    at : mapping of str to number, optional
        A point at which the derivative is shown too, with the numbers put in.

    Returns
    -------
    Derivation, or Explanation if `var` is not given
        To be printed; in a notebook it shows itself.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above; `ParseError` for text, see `parse`.

    Notes
    -----
    The derivative is read off the tree of steps, and so are the lines: they cannot differ. A sum of more than two terms
    is not written again in brackets, and for all variables but the first it is split and its constants are taken out in
    one line, as lecturers do.

    Examples
    --------
    >>> from fallline import calculus
    >>> print(calculus.explain("2*x + 3*y**2", "y"))
    ∂/∂y f = ∂/∂y [2x + 3y²]
           = ∂/∂y 2x + ∂/∂y 3y²
           = 2·∂/∂y x + 3·∂/∂y y²
           = 2·0 + 3·2y¹
           = 6y
    """
    function, names = as_function(expr)
    shown = _shown(style, maxsteps, understood)
    point = _point(at or {}, names)
    sign = "∂" if len(names) > 1 else "d"
    if var is None:
        return Explanation(
            function, {name: _derived(function, name, shown, sign, point, first=name == names[0]) for name in names}
        )
    derivation = None
    for name in var if isinstance(var, (tuple, list)) else [var]:
        derivation = _derived(function, check_variable(name, "var"), shown, sign, {}, previous=derivation)
        function = derivation.result
    if derivation is None:
        raise ValueError(f"var: must name a variable; got {var!r}. Leave it out to see all partial derivatives.")
    return replace(derivation, point=point)


def _derived(
    function: Expr,
    name: str,
    shown: Shown,
    sign: str,
    point: Mapping[str, Expr],
    *,
    first: bool = True,
    previous: Derivation | None = None,
) -> Derivation:
    step = derive(function, name)
    result = simplify(step.result, appearance(function))
    lines, shortened = unfold(step, result, shown, first=first)
    return Derivation(function, name, step, result, lines, shortened, sign, point, previous)


def _point(at: Mapping[str, Any], names: Sequence[str]) -> dict[str, Expr]:
    for name in at:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=2, cutoff=0.5)
            cure = f"Did you mean {' or '.join(map(repr, near))}?" if near else "Leave it out."
            raise ValueError(
                f"at: must give values to variables of the expression ({', '.join(names)}); got {name!r}. {cure}"
            )
    return {name: as_expression(value, f"at[{name!r}]") for name, value in at.items()}


def _shown(style: str, maxsteps: Any, understood: Collection[str]) -> Shown:
    if style not in STYLES:
        raise ValueError(f"style: must be one of {', '.join(STYLES)}; got {style!r}. Leave it out for the lecture's.")
    if isinstance(maxsteps, bool) or not isinstance(maxsteps, int) or maxsteps < 2:
        raise ValueError(f"maxsteps: must be an int of 2 or more; got {maxsteps!r}. The last line is always shown.")
    for rule in understood:
        if rule not in RULES:
            near = difflib.get_close_matches(str(rule), RULES, n=2)
            cure = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Known: {', '.join(RULES)}."
            raise ValueError(f"understood: must hold names of rules; got {rule!r}. {cure}")
    return Shown(style, maxsteps, frozenset(understood))
