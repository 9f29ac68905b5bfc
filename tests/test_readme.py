"""The README's example runs, and its table says what the code does. Run as a script, this file prints the table."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import fallline as fl

README = Path(__file__).parent.parent / "README.md"


def table() -> str:
    lines = ["| optimizer | class | what it does | arguments | state |", "| --- | --- | --- | --- | --- |"]
    common = inspect.signature(fl.Optimizer).parameters
    for cls in fl.optimizers().values():
        name, _, summary = inspect.getdoc(cls).partition("\n")[0].rstrip(".").partition(": ")
        arguments = [name for name in inspect.signature(cls).parameters if name not in common]
        states = [name for name, array in cls(np.ones(2)).state["0"].items() if array.shape == (2,)]
        lines.append(
            f"| {name} | `{cls.__name__}` | {summary} | {', '.join(arguments)} | {', '.join(states) or 'none'} |"
        )
    return "\n".join(lines)


def section(name: str) -> str:
    return re.search(rf"<!-- {name}[^>]*-->\n(.*?)\n?<!-- /{name} -->", README.read_text(), re.DOTALL)[1].strip()


def test_the_table_of_optimizers_is_the_code():
    assert section("optimizers") == table()


EXAMPLES = re.findall(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", README.read_text(), re.DOTALL)


@pytest.mark.parametrize(("code", "shown"), EXAMPLES)
def test_the_examples_run_and_print_what_they_say(code, shown, capsys):
    """What is printed stands behind the print, or in the block below; errors and their bounds depend on the machine."""
    exec(compile(code, "README.md", "exec"), {})
    said = "\n".join(re.findall(r"print\(.*# (.*)$", code, re.MULTILINE))
    printed = capsys.readouterr().out.strip()
    assert without_errors(printed) == without_errors(said or shown.strip())


def without_errors(text: str) -> str:
    """Leave out numbers like 3e-12, and the spaces that they change."""
    return re.sub(r"[ \t]+", " ", re.sub(r"\d(?:\.\d)?e-\d\d", "#", text))


def test_the_first_example_has_twenty_lines_or_so():
    assert 15 <= len(EXAMPLES[0][0].strip().splitlines()) <= 25


@pytest.mark.parametrize("target", ["demo", "test", "bench", "docs", "lint", "wheel"])
def test_the_commands_it_names_are_targets_of_the_makefile(target):
    assert f"make {target}" in README.read_text().replace("make\nwheel", "make wheel")
    assert re.search(rf"^{target}:", (README.parent / "Makefile").read_text(), re.MULTILINE)


if __name__ == "__main__":
    print(table())
