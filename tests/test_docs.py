"""The documents: their code runs and prints what they say, and their list of mistakes is that of the code."""

import importlib.util
import re
from pathlib import Path

import pytest

from fallline.causes import CATALOGUE

DOCS = Path(__file__).parents[1] / "docs"
OPTIONAL = {"torch", "jax", "autograd"}


def blocks(path):
    return re.findall(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", path.read_text(), re.DOTALL)


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_code_runs_and_prints_what_it_says(path, capsys):
    names = {}
    for code, shown in blocks(path):
        needed = OPTIONAL & set(re.findall(r"^import (\w+)", code, re.MULTILINE))
        if any(importlib.util.find_spec(name) is None for name in needed):
            continue  # the libraries of others
        exec(compile(code, path.name, "exec"), names)
        said = "\n".join(re.findall(r"print\(.*# (.*)$", code, re.MULTILINE)) or shown.strip()
        assert capsys.readouterr().out.strip() == said


def test_the_list_of_mistakes_is_that_of_the_code():
    rows = re.findall(r"^\| (\d+)(?: †)? \| ([\w-]+) \|", (DOCS / "gradient-bugs.md").read_text(), re.MULTILINE)
    assert [(int(number), name) for number, name in rows] == [(n, slug) for n, (slug, _) in CATALOGUE.items()]


def test_links_lead_somewhere():
    for path in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), (path.name, target)
