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


def test_the_example_runs_and_prints_what_it_says(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert 15 <= len(code.strip().splitlines()) <= 25
    exec(compile(code, "README.md", "exec"), {})
    said = re.search(r"print\(.*# (.*)$", code, re.MULTILINE)[1]
    assert capsys.readouterr().out.strip() == said


@pytest.mark.parametrize("target", ["demo", "test", "bench", "lint", "wheel"])
def test_the_commands_it_names_are_targets_of_the_makefile(target):
    assert f"make {target}" in README.read_text().replace("make\nwheel", "make wheel")
    assert re.search(rf"^{target}:", (README.parent / "Makefile").read_text(), re.MULTILINE)


if __name__ == "__main__":
    print(table())
