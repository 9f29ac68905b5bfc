"""The command line: ``fallline`` and ``python -m fallline``.

A subcommand is a function ``(arguments) -> Answer`` and an entry in `_parser`. It prints nothing itself: `main` prints
the answer as text or, with ``--json``, as JSON, and turns errors into messages and exit codes.
"""

import argparse
import inspect
import io
import json
import math
import os
import platform
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np

import fallline
from fallline import demo, subcommands
from fallline.answer import Answer, table, words, wrap
from fallline.usage import Parser, WrongUsageError, parse

__all__ = ["main"]

_EPILOG = """\
examples:
  fallline demo                         train digits with every optimizer, draw pictures
  fallline explain "x*sin(x**2)"        derive by rule, step by step
  fallline check model:loss model:grad --at weights.npz
  fallline minimize rosenbrock --lr 0.01
  fallline race beale --html race.html  all optimizers from one start, as a page to play
  fallline optimizers                   list optimizers with their defaults
  fallline info --json                  describe this installation, for scripts

exit codes: 0 done, 1 failed, 2 wrong usage, 3 undecided, 130 interrupted by Ctrl-C
"""

_DEMO = """\
Check the hand-written gradient of a small network, and show a bug being found.
Train a two-layer network on scikit-learn's handwritten digits with every optimizer,
let every optimizer descend a surface, print a table, and draw pictures of both.
Needs the extra: pip install "fallline[demo]"
"""

_DEMO_EPILOG = """\
examples:
  fallline demo
  fallline demo --epochs 5 --output quick
  fallline demo --json > results.json   progress stays on the terminal

Ctrl-C ends the training and keeps what was done.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        Exit code: 0 done, 1 failed, 2 wrong usage, 3 undecided (a check that is inconclusive, a descent that did not
        arrive), 130 interrupted, 141 if the reader of our output has gone.

    Examples
    --------
    >>> from fallline.cli import main
    >>> main(["optimizers", "--json"])  # doctest: +ELLIPSIS
    [
      {
        "name": "sgd",
    ...
    0
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character gets a question mark
    given = _joined(sys.argv[1:] if argv is None else argv)
    try:
        code = _answer(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at exit, which must not fail then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def _joined(argv: Sequence[str]) -> list[str]:
    """Return the arguments with ``--start -1,2`` as ``--start=-1,2``, where the parser would look for an option."""
    joined: list[str] = []
    for text in argv:
        if joined and joined[-1] in ("--start", "--at") and re.match(r"-[\d.]", text):
            joined[-1] += f"={text}"
        else:
            joined.append(text)
    return joined


def _answer(given: list[str]) -> int:
    as_json = "--json" in given
    try:
        arguments = parse(_parser(), given)
        answer: Answer = arguments.run(arguments)
    except WrongUsageError as error:
        print(error.parser.format_usage(), end="", file=sys.stderr)
        return _fail(as_json, str(error), 2)
    except KeyboardInterrupt as error:
        return _fail(as_json, str(error) or "interrupted", 130)
    except (ImportError, OSError, ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        return _fail(as_json, str(error), 1)
    print(_json(answer.data) if as_json else answer.text)
    return answer.code


def _fail(as_json: bool, message: str, code: int) -> int:
    print(f"fallline: {message}", file=sys.stderr)
    if as_json:
        print(_json({"error": message}))
    return code


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, allow_nan=False)


def _parser() -> Parser:
    parser = Parser(
        prog="fallline",
        description="Gradient descent on NumPy arrays.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fallline {fallline.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    command = _add(commands, "demo", _demo, "train digits with every optimizer, draw pictures", _DEMO, _DEMO_EPILOG)
    command.add_argument(
        "--output", metavar="DIR", default="fallline-demo", help="folder for the pictures (default: %(default)s)"
    )
    command.add_argument(
        "--epochs",
        metavar="N",
        type=_positive,
        default=demo.EPOCHS,
        help="passes over the digits (default: %(default)s)",
    )
    for subcommand in subcommands.ALL:
        parser_of = _add(commands, subcommand.name, subcommand.run, subcommand.summary, "", subcommand.epilog)
        subcommand.arguments(parser_of)
    _add(commands, "optimizers", _optimizers, "list the optimizers with their defaults")
    _add(commands, "info", _info, "describe this installation: version, instruction sets, threads, extras")
    return parser


def _add(commands: Any, name: str, run: Any, summary: str, description: str = "", epilog: str = "") -> Any:
    parser = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run, parser=parser)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer; got {text!r}. Write for instance 100.")
    return int(text)


# Subcommands


def _demo(arguments: argparse.Namespace) -> Answer:
    results = demo.run(arguments.output, epochs=arguments.epochs)
    header = ["Optimizer", "batch", "learning rate", "loss", "accuracy", "steps", "per step", "in optimizer"]
    rows = [
        [
            row["optimizer"],
            str(row["batch_size"] or "all"),
            f"{row['lr']:g}{' to 0' if row['decay'] else ''}",
            "diverged" if row["loss"] is None else f"{row['loss']:.4f}",
            f"{row['accuracy']:.3f}",
            str(row["steps"]),
            f"{row['seconds_per_step'] * 1e6:.0f} µs",
            f"{row['optimizer_share']:.1%}",
        ]
        for row in results["results"]
    ]
    data = results["data"]
    passes = "1 pass" if results["epochs"] == 1 else f"{results['epochs']} passes"
    notes = (
        f"{passes} over {data['train']} handwritten digits each. Loss: over all of them at the end. "
        f"Accuracy: on {data['test']} others. Time per step: all of it, and the optimizer's share."
    )
    lines = [table(header, rows, optional=("learning rate", "batch")), "", wrap(notes), ""]
    lines += [f"{name}: {path}" for name, path in results["pictures"].items()]
    lines.append(f"page: {results['page']}")
    lines += ["", f"{'interrupted after' if results['interrupted'] else 'done in'} {results['seconds']:.1f} s"]
    return Answer(results, "\n".join(lines), 130 if results["interrupted"] else 0)


def _optimizers(arguments: argparse.Namespace) -> Answer:
    data: list[dict[str, Any]] = []
    common = inspect.signature(fallline.Optimizer).parameters
    for name, kind in fallline.optimizers().items():
        own = [p for p in inspect.signature(kind).parameters.values() if p.name not in common]
        data.append(
            {
                "name": name,
                "class": kind.__name__,
                "summary": (inspect.getdoc(kind) or "").partition("\n")[0],
                "defaults": {p.name: str(p.default) if p.default == math.inf else p.default for p in own},
                "states": [key for key, value in kind(np.ones(2)).state["0"].items() if value.shape == (2,)],
            }
        )
    lines = []
    for row in data:
        defaults = ", ".join(f"{key}={value!r}" for key, value in row["defaults"].items())
        lines += [
            wrap(f"{row['name']}: {row['summary']}"),
            wrap(f"fl.{row['class']}(params, {defaults})", indent="    "),
        ]
    return Answer(data, "\n".join(lines))


def _info(arguments: argparse.Namespace) -> Answer:
    config: Any = fallline.show_config(mode="dict")
    data = {**config, "platform": platform.platform(), "extras": _extras()}
    width = max(map(len, data)) + 2
    lines = [
        wrap(words(value), indent=" " * width, first=f"{key:<{width}}", whole=False) for key, value in data.items()
    ]
    return Answer(data, "\n".join(lines))


def _extras() -> dict[str, bool]:
    """Tell for each extra whether all it needs is installed."""
    extras: dict[str, bool] = {}
    for requirement in metadata.requires("fallline") or ():
        match = re.match(r"([\w.-]+).*\bextra *== *[\"']([\w-]+)", requirement)
        if match:
            installed = bool(list(metadata.distributions(name=match[1])))
            extras[match[2]] = extras.get(match[2], True) and installed
    return extras
