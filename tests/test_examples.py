"""The examples run, from another folder, and say what they promise."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SAYS = {  # what must be among the lines
    "numpy_mlp": ["pass", "of the points are right"],
    "bandit": ["the best arm is", "mean reward"],
    "gaussian_process": ["pass", "the data have 0.2"],
    "physics_fit": ["fail with the chain rule forgotten", "frequency 2.2"],
    "jax_gradient": ["pass", "-> -6.000"],
    "numba_objective": ["gtol is reached", "every entry is 1: True"],
}
NEEDS = {"jax_gradient": "jax", "numba_objective": "numba"}


@pytest.mark.skipif(not EXAMPLES.exists(), reason="needs the examples")
def test_every_example_is_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_example(name, tmp_path):
    needed = NEEDS.get(name)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs {needed}")
    path = EXAMPLES / f"{name}.py"
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", path], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(path.read_text().splitlines()) < 80
    for text in SAYS[name]:
        assert text in done.stdout, done.stdout


def test_what_they_reach(tmp_path):
    """The spiral is learned, the arm found, the noise estimated."""

    def output(name):
        done = subprocess.run([sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True, check=True)
        return done.stdout

    share = float(output("numpy_mlp").rpartition(", ")[2].partition("%")[0])
    assert share > 97
    best, preferred = (
        int(part.split()[0].strip(",")) for part in output("bandit").split("arm is ")[1].split("prefers ")
    )
    assert best == preferred
    noise = float(output("gaussian_process").rpartition("noise ")[2].split()[0])
    assert 0.1 < noise < 0.3
