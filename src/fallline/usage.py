"""Wrong usage of the command line, told in the form of other messages, with the nearest command or option."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["Parser", "WrongUsageError", "parse"]


class WrongUsageError(Exception):
    """What is wrong with the arguments, and the parser whose usage is to be shown."""

    def __init__(self, message: str, parser: argparse.ArgumentParser) -> None:
        super().__init__(message)
        self.parser = parser


class Parser(argparse.ArgumentParser):
    """Raise what argparse would print and leave with, in our form."""

    def error(self, message: str) -> NoReturn:
        """Raise `WrongUsageError`."""
        raise WrongUsageError(_in_our_form(message, self.prog), self)


def _in_our_form(message: str, prog: str) -> str:
    if match := re.fullmatch(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message):
        names = re.findall(r"[\w-]+", match[3])
        cure = _nearest(match[2], names) or f"Run {prog} --help to read about them."
        return f"{match[1]}: must be one of {', '.join(names)}; got {match[2]!r}. {cure}"
    if match := re.fullmatch(r"the following arguments are required: (.*)", message):
        return f"{_command(prog)}must be followed by {match[1]}; got none. Run {prog} --help for examples."
    if match := re.fullmatch(r"argument (\S+): expected one argument", message):
        return f"{match[1]}: must be followed by a value; got none. Run {prog} --help for examples."
    return message.removeprefix("argument ")


def _command(prog: str) -> str:
    name = prog.removeprefix("fallline").strip()
    return f"{name}: " if name else ""


def _nearest(text: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(text.lower(), names, n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def parse(parser: Parser, given: list[str]) -> argparse.Namespace:
    """Return the arguments, or raise `WrongUsageError`; every command's default of `parser` is its own."""
    try:
        arguments, others = parser.parse_known_args(given)
        command = arguments.parser
    except WrongUsageError as error:
        command = error.parser
        others = [text for text in given if text.startswith("--") and _name(text) not in _options(command)]
        if command.prog == "fallline" or not others:
            raise
    if others:
        raise WrongUsageError(_too_much(others, command), command)
    return arguments


def _name(text: str) -> str:
    return text.partition("=")[0]


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return ["--help", *re.findall(r"--[\w-]+", parser.format_usage())]


def _too_much(others: list[str], command: argparse.ArgumentParser) -> str:
    cure = "Leave it out."
    if not others[0].startswith("-"):
        cure = "Put quotes around what has spaces in it."
    elif near := _nearest(_name(others[0]), _options(command)):
        cure = near
    return f"{_command(command.prog)}must be given the arguments above and no others; got {' '.join(others)!r}. {cure}"
