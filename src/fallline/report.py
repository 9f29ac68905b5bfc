"""What a check has found: for reading, for notebooks, for programs."""

from __future__ import annotations

import html
import math
import textwrap
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from fallline.causes import Cause

__all__ = ["BlockReport", "EntryReport", "Report"]

Verdict = Literal["pass", "fail", "inconclusive"]

WIDTH = 80  # columns of text
MANY = 12  # blocks that are shown one by one
# Nearer to the text's own colour, which is light on dark pages; browsers that cannot mix take the first.
COLOURS = {
    verdict: f"color: {colour}; color: color-mix(in srgb, currentColor 30%, {colour})"
    for verdict, colour in (("pass", "#1a7f37"), ("fail", "#cf222e"), ("inconclusive", "#9a6700"))
}


@dataclass(frozen=True, slots=True)
class BlockReport:
    """One array of x.

    Attributes
    ----------
    name : str
    shape : tuple of int
    verdict : str
        "right", "wrong", "unclear", or "unseen": its derivatives are too small beside the noise of f.
    error : float or None
        Norm of the difference relative to that of the numerical gradient, over the entries looked at, if any were.
    power : float or None
        A relative error of the block above this would have been seen; None where yours is 0.
    place : str
        Where it is wrong, in words.
    """

    name: str
    shape: tuple[int, ...]
    verdict: str
    error: float | None = None
    power: float | None = None
    place: str = ""

    def with_power(self, power: float | None) -> BlockReport:
        """Return the same with the power."""
        return replace(self, power=power)


@dataclass(frozen=True, slots=True)
class EntryReport:
    """One entry whose derivative is wrong.

    Attributes
    ----------
    name : str
        Of the array.
    index : tuple of int
    yours, numeric : float
    tolerance : float
        How far they may be apart by truncation, noise and rounding.
    """

    name: str
    index: tuple[int, ...]
    yours: float
    numeric: float
    tolerance: float

    @property
    def place(self) -> str:
        """Return name and index as they are written."""
        return f"{self.name}[{', '.join(map(str, self.index))}]" if self.index else self.name


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check.

    Attributes
    ----------
    verdict : {"pass", "fail", "inconclusive"}
        "pass": no error above `power`. "fail": the gradient is wrong. "inconclusive": f does not let it be told.
    reason : str
        The verdict in one sentence.
    causes : list of Cause
        What explains the difference exactly, best first; empty for "cause unknown".
    blocks : list of BlockReport
    worst : list of EntryReport
        The entries with the greatest errors, at most ten.
    nfev, ngev : int
        Evaluations of f and of the gradient.
    power : float
        A relative error of a block above this would have been seen; NaN if nothing was compared.
    notes : list of str
        Kinks, and what about this point may hide mistakes.
    seed : int or None
        Of the random directions; None for a generator of the caller's.
    what : str
        What was checked: "gradient", "jacobian", ...
    """

    verdict: Verdict
    reason: str
    causes: list[Cause] = field(default_factory=list)
    blocks: list[BlockReport] = field(default_factory=list)
    worst: list[EntryReport] = field(default_factory=list)
    nfev: int = 0
    ngev: int = 0
    power: float = math.nan
    notes: list[str] = field(default_factory=list)
    seed: int | None = None
    what: str = "gradient"

    @property
    def passed(self) -> bool:
        """Whether the verdict is "pass"."""
        return self.verdict == "pass"

    @property
    def wrong(self) -> list[str]:
        """Return the names of the blocks that are wrong."""
        return [block.name for block in self.blocks if block.verdict == "wrong"]

    def require(self) -> Self:
        """Return the report if the verdict is "pass".

        Raises
        ------
        AssertionError
            Otherwise. Its text is the report's, and its attribute ``report`` the report.
        """
        __tracebackhide__ = True  # by pytest: a failure shows the test and the report
        if not self.passed:
            error = AssertionError(str(self))
            error.report = self  # type: ignore[attr-defined]
            raise error
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain numbers, strings, lists and dicts, ready for JSON; what is not finite is None."""
        data = {**asdict(self), "passed": self.passed, "wrong": self.wrong}
        plain: dict[str, Any] = _plain(data)
        return plain

    def __str__(self) -> str:
        """Lay the report out for a terminal of 80 columns."""
        return self.text()

    def text(self, width: int = WIDTH) -> str:
        """Lay the report out as text; sentences are at most as wide as asked, tables as they must be."""
        lines = _wrapped(f"{self.what}: {self.verdict.upper()}: {self.reason}.", width)
        for text in self._cause_texts():
            lines += _wrapped(f"  {text}", width)
        if self.blocks:
            lines += ["", *_table(*self._block_table()), *(f"  {text}" for text in self._others())]
        if self.worst:
            lines += ["", *_table(*self._entry_table())]
        lines.append("")
        for note in self.notes:
            lines += _wrapped(f"  note: {note}", width)
        return "\n".join([*lines, f"  {self._counts()}"])

    def __repr__(self) -> str:
        """Show the verdict and its reason."""
        return f"<Report {self.verdict}: {self.reason}>"

    def _repr_html_(self) -> str:
        """Lay the report out for a notebook."""
        verdict = f'<strong style="{COLOURS[self.verdict]}">{html.escape(self.what)}: {self.verdict}</strong>'
        parts = [f"<p>{verdict}: {html.escape(self.reason)}.</p>"]
        parts += [f"<p>{html.escape(text)}</p>" for text in self._cause_texts()]
        if self.blocks:
            parts += [_html_table(*self._block_table()), *(f"<p>{html.escape(text)}</p>" for text in self._others())]
        if self.worst:
            parts.append(_html_table(*self._entry_table()))
        parts += [f"<p>note: {html.escape(note)}</p>" for note in self.notes]
        parts.append(f"<p><small>{html.escape(self._counts())}</small></p>")
        return "\n".join(['<div style="overflow-wrap: anywhere">', *parts, "</div>"])

    def _cause_texts(self) -> list[str]:
        if self.verdict != "fail":
            return [cause.text for cause in self.causes]
        return [f"cause: {cause.text}" for cause in self.causes] or ["cause: unknown"]

    def _counts(self) -> str:
        seed = "" if self.seed is None else f"; seed {self.seed}"
        return f"{_count(self.nfev, 'evaluation')} of f, {self.ngev} of the {self.what}{seed}"

    def _shown(self) -> list[BlockReport]:
        """Return the blocks to show one by one: all, or if they are many, some that are not right."""
        if len(self.blocks) <= MANY:
            return self.blocks
        order = ("wrong", "unclear", "unseen")
        return sorted((b for b in self.blocks if b.verdict in order), key=lambda b: order.index(b.verdict))[:MANY]

    def _others(self) -> list[str]:
        """Count the other blocks by their verdicts."""
        counts = Counter(block.verdict for block in self.blocks)
        counts.subtract(block.verdict for block in self._shown())
        others = [f"{n} {verdict}" for verdict, n in counts.items() if n]
        return [f"{'other ' if self._shown() else ''}blocks: {', '.join(others)}"] if others else []

    def _block_table(self) -> tuple[list[str], list[list[str]]]:
        header = ["block", "shape", "verdict", "relative error", "would be seen above", "where"]
        rows = [
            [
                block.name,
                str(block.shape),
                block.verdict,
                "" if block.error is None else f"{block.error:.1e}",
                "" if block.power is None else f"{block.power:.0e}",
                block.place,
            ]
            for block in self._shown()
        ]
        return _without_empty(header, rows)

    def _entry_table(self) -> tuple[list[str], list[list[str]]]:
        header = ["entry", "yours", "numeric", "difference", "tolerance"]
        rows = [
            [
                entry.place,
                f"{entry.yours:.9g}",
                f"{entry.numeric:.9g}",
                f"{entry.yours - entry.numeric:.2g}",
                f"{entry.tolerance:.0e}",
            ]
            for entry in self.worst
        ]
        return header, rows


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _without_empty(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _wrapped(text: str, width: int) -> list[str]:
    """Break a sentence into lines; what follows the first is indented."""
    return textwrap.wrap(text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    if not header:
        return []
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]


def _html_table(header: list[str], rows: list[list[str]]) -> str:
    if not header:
        return ""
    style = 'style="text-align: left; padding-right: 1.5em; white-space: nowrap; overflow-wrap: normal"'
    head = "".join(f"<th {style}>{html.escape(cell)}</th>" for cell in header)
    cells = ["".join(f"<td {style}>{html.escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div style="overflow-x: auto; margin: 1em 0">{table}</div>'


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
