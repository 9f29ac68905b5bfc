"""What a subcommand answers, and text that fits the terminal."""

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "fold", "table", "width", "words", "wrap"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what a subcommand has to say: data for ``--json``, text without, and the exit code."""

    data: Any
    text: str
    code: int = 0


_NO_BREAK = "\N{NO-BREAK SPACE}"


def width() -> int:
    """Return the columns of the terminal."""
    return shutil.get_terminal_size().columns


def wrap(text: str, indent: str = "", first: str | None = None, *, whole: bool = True) -> str:
    """Break a text into lines of the terminal's width; words that are longer are kept whole, or broken too."""
    return textwrap.fill(
        text,
        width(),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=not whole,
    )


def fold(text: str) -> str:
    """Break the lines that are wider than the terminal, and indent what follows; none is joined with another."""
    lines = text.split("\n")
    return "\n".join(
        wrap(line, indent=" " * (len(line) - len(line.lstrip()) + 4), first="", whole=False)
        if len(line) > width()
        else line
        for line in lines
    )


def words(value: Any) -> str:
    """Say a value of a description in words."""
    if isinstance(value, dict):
        return ", ".join(
            f"{key} {'yes' if known is True else 'no' if known is False else known}" for key, known in value.items()
        )
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def table(header: list[str], rows: list[list[str]], optional: Sequence[str] = ()) -> str:
    """Lay out a table that fits the width: if need be without columns of `optional`, or in one paragraph a row."""
    widths = {name: max(map(len, column)) for name, *column in zip(header, header, *rows, strict=True)}
    shown = dict(widths)
    for name in (*optional, ""):
        if sum(shown.values()) + 2 * (len(shown) - 1) <= width():
            break
        shown.pop(name, None)
    else:
        return "\n".join(_paragraph(header, row) for row in rows)
    lines = []
    for row in (header, ["-" * width for width in widths.values()], *rows):
        cells = [cell.rjust(widths[name]) for name, cell in zip(header, row, strict=True) if name in shown]
        lines.append("  ".join([row[0].ljust(widths[header[0]]), *cells[1:]]))
    return "\n".join(lines)


def _paragraph(header: list[str], row: list[str]) -> str:
    pairs = [f"{name} {cell}".replace(" ", _NO_BREAK) for name, cell in zip(header[1:], row[1:], strict=True)]
    return f"{row[0]}\n{wrap(', '.join(pairs), indent='  ')}".replace(_NO_BREAK, " ")
