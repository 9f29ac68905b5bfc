"""Rows of messages: how to get each, what it says; and which messages of the sources have none."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from test_messages import HOUSE_FORM, INTERNAL, SOURCE, fits, pattern_of, statements


@dataclass
class Row:
    """One way to get one message; in `text`, "..." stands for anything."""

    id: str
    call: Callable[..., Any]
    kind: type
    text: str


def message(row):
    """Provoke a row's message."""
    with pytest.raises(row.kind) as caught:
        row.call()
    return str(caught.value)


def check_row(row, picture=lambda: None):
    """Compare a row's message with its text and with the house's form, and the pictures before and after it."""
    before = picture()
    said = message(row)
    first, _, below = said.partition("\n")
    assert fits(first, row.text), said
    # A question ends with its own mark, a command to run with none.
    command = row.text.partition("Run: ")[2]
    sentence = first + "." if command and first.endswith(command) else re.sub(r"\?$", ".", first)
    assert HOUSE_FORM.fullmatch(sentence), said
    assert not below or re.fullmatch(r"    .*\n +\^", below), said  # a text, and a caret below its mistake
    assert picture() == before


def check_ids(rows):
    ids = [row.id for row in rows]
    assert len(ids) == len(set(ids))


def without_a_row(rows, files, skip=lambda text: False):
    """Return how many messages stand in files of the package, and those that no row provokes."""
    messages = [message(row).partition("\n")[0] for row in rows]
    found, missing = 0, []
    for file in files:
        for place, statement, text in statements(SOURCE / file):
            if text in INTERNAL or skip(text):
                continue
            found += 1
            assert getattr(statement.exc, "args", None), (place, text)
            pattern = pattern_of(statement.exc.args[0])
            if not any(re.fullmatch(pattern, said, re.DOTALL) for said in messages):
                missing.append((place, text))
    return found, missing
