"""The documents: their code runs and prints what they say, and their list of mistakes is that of the code."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

import fallline as fl
from fallline.causes import CATALOGUE

DOCS = Path(__file__).parents[1] / "docs"
OPTIONAL = {"torch", "jax", "autograd", "numba"}
WIDTH = 88  # columns of code and of what it prints: a wider page would scroll sideways


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


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_code_and_outputs_are_no_wider_than_a_page(path):
    text = path.read_text()
    wide = []
    for block in re.finditer(r"```\w*\n(.*?)```", text, re.DOTALL):
        first = text.count("\n", 0, block.start(1)) + 1
        lines = enumerate(block[1].splitlines(), first)
        wide += [f"docs/{path.name}:{number}" for number, line in lines if len(line) > WIDTH]
    assert not wide, f"must have at most {WIDTH} columns: {', '.join(wide)}"


def test_the_list_of_mistakes_is_that_of_the_code():
    rows = re.findall(r"^\| (\d+)(?: †)? \| ([\w-]+) \|", (DOCS / "gradient-bugs.md").read_text(), re.MULTILINE)
    assert [(int(number), name) for number, name in rows] == [(n, slug) for n, (slug, _) in CATALOGUE.items()]


def test_links_lead_somewhere():
    for path in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), (path.name, target)


def test_the_first_page_leads_to_every_guide():
    linked = set(re.findall(r"^- \[.*?\]\(([\w-]+\.md)\): ", (DOCS / "index.md").read_text(), re.MULTILINE))
    assert linked == {path.name for path in DOCS.glob("*.md")} - {"index.md"}


@pytest.mark.parametrize("name", fl.optimizers())
def test_each_optimizer_says_what_its_page_needs(name):
    """What it does, its mathematics, when to use it, its parameters, and where it comes from."""
    text = fl.optimizers()[name].__doc__
    for part in (".. math::", "\n    Use it ", "\n    Parameters\n", "\n    References\n", "\n    Examples\n"):
        assert part in text, part


def reference():
    """What docs/conf.py writes into the reference."""
    spec = importlib.util.spec_from_file_location("docs_conf", DOCS / "conf.py")
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    return conf


def test_the_reference_names_all_that_is_public(tmp_path):
    conf = reference()
    conf.HERE = tmp_path
    conf.write_reference(None)
    page = (tmp_path / "reference.rst").read_text()
    named = set(re.findall(r"^\.\. (?:auto\w+|data):: fallline\.([\w.]+)$", page, re.MULTILINE))
    optimizers = {kind.__name__ for kind in fl.optimizers().values()}
    modules = {name.removeprefix("fallline.") for name in conf.MODULES}
    assert set(fl.__all__) - optimizers - modules <= named
    for module in modules:
        contents = importlib.import_module(f"fallline.{module}")
        assert {f"{module}.{name}" for name in contents.__all__} <= named
