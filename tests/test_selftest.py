"""The C self-test: it passes, and it notices a wrong rule."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MATH = re.search(r"^MATH *:= *(.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split()


@pytest.fixture(scope="module")
def selftest(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which((sysconfig.get_config_var("CC") or "gcc").split()[0])
    if compiler is None:
        pytest.skip("needs a C compiler")
    program = tmp_path_factory.mktemp("selftest") / "selftest"
    sources = sorted((ROOT / "csrc").glob("*.c"))
    command = [compiler, "-std=c11", "-O2", *MATH, "-pthread", f"-I{ROOT / 'csrc'}", *sources, "-lm", "-o", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    *failures, last = done.stdout.splitlines()
    passed, failed = map(int, re.fullmatch(r"(\d+) passed, (\d+) failed", last).groups())
    return done.returncode, failures, passed, failed


def test_core_is_right_and_quiet(selftest):
    status, failures, passed, failed = run(selftest)
    assert (status, failures, failed) == (0, [], 0)
    assert passed > 1000


@pytest.mark.parametrize("fault", ["formula", "rounding", "tail"])
def test_wrong_rule_is_caught(selftest, fault):
    status, failures, _, failed = run(selftest, "--wrong-rule", fault)
    assert status == 1
    assert failed > 0
    assert all(line.startswith("adam, ") for line in failures), failures
