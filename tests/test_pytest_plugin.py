"""The fixture of the pytest plugin, in sessions of its own that find it through the entry point."""

import importlib.metadata
import re
import subprocess
import sys

import pytest

TESTS = """
import unittest

import numpy as np
import pytest


def f(x):
    return np.sum(np.sin(x))


X = np.array([0.3, -1.2, 2.0])


def test_right(gradient_checker):
    report = gradient_checker(f, np.cos, X)
    print("seed of right:", report.seed)
    assert report.passed


def test_wrong(gradient_checker):
    gradient_checker(f, lambda x: -np.cos(x), X)


@pytest.mark.parametrize("n", [1, 2])
def test_each(gradient_checker, n):
    print(f"seed of each {n}:", gradient_checker(f, np.cos, X).seed)


def test_seed(gradient_checker):
    assert gradient_checker(f, np.cos, X, rng=5).seed == 5


def test_options(gradient_checker):
    assert gradient_checker(lambda x, c: c * f(x), lambda x, c: c * np.cos(x), X, args=(3.0,), mode="full").passed
    with pytest.raises(TypeError):
        gradient_checker(f, np.cos, X, nonsense=1)


class TestOfUnittest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def take(self, gradient_checker):
        self.check = gradient_checker

    def test_right(self):
        self.check(f, np.cos, X)
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Run the tests above twice; return what pytest printed."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "test_mine.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")

    def run():
        command = [sys.executable, "-m", "pytest", "-v", "-s", "-p", "no:cacheprovider", "test_mine.py"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    return run(), run()


def seeds(done):
    return dict(re.findall(r"seed of (.+?): (\d+)", done.stdout))


def test_the_entry_point_is_there():
    entries = importlib.metadata.entry_points(group="pytest11")
    if "fallline" not in {entry.name for entry in entries}:
        pytest.skip("installed before there was a plugin: install again")
    assert next(entry.value for entry in entries if entry.name == "fallline") == "fallline.pytest_plugin"


def test_a_right_gradient_passes_and_a_wrong_one_fails(session):
    first, _ = session
    assert first.returncode == 1, first.stdout + first.stderr
    assert "6 passed" in first.stdout
    assert "1 failed" in first.stdout
    assert re.search(r"test_mine.py::test_wrong .*FAILED", first.stdout, re.DOTALL)


def test_the_failure_shows_the_report(session):
    first, _ = session
    assert "gradient: FAIL" in first.stdout
    assert re.search(r"cause: g = -1\.0000·D .*: the sign", first.stdout)
    assert "of the gradient; seed " in first.stdout


def test_the_failure_shows_nothing_of_the_checker(session):
    first, _ = session
    assert "> " in first.stdout
    assert re.search(r"^test_mine.py:\d+: AssertionError$", first.stdout, re.MULTILINE)
    for name in ("pytest_plugin.py:", "report.py:", "def assert_gradient", "def require"):
        assert name not in first.stdout


def test_every_test_has_a_seed_of_its_own(session):
    first, _ = session
    assert len(seeds(first)) == 3
    assert len(set(seeds(first).values())) == 3


def test_a_second_run_has_the_same_seeds(session):
    first, second = session
    assert seeds(first) == seeds(second)


def test_the_plugin_does_not_load_the_package_before_it_is_asked(tmp_path):
    """A session without gradients is not slowed down, and coverage of the package starts in time."""
    (tmp_path / "test_other.py").write_text(
        "import sys\n\n\ndef test_nothing():\n    assert 'fallline.check' not in sys.modules\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_other.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
