"""What fallline costs besides time: its import, its wheel, the memory of its states."""

import os
import pathlib
import subprocess
import sys

import pytest

from bench.harness import Bar, Race, Table

# The processor time of one thread, which other work on the machine disturbs less than the time that passes.
IMPORT = "import time; start = time.thread_time(); import {}; print(time.thread_time() - start)"

# Prints the bytes of the states and the growth of the peak of memory. A small run first starts threads and loads code.
MEMORY = """
import numpy as np
import fallline as fl

def memory(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))

def train(n):
    params, grads = np.ones(n, np.float32), np.ones(n, np.float32)
    before = memory("VmRSS")
    opt = fl.Adam(params)
    for _ in range(10):
        opt.step(grads)
    return sum(array.nbytes for array in opt.state["0"].values()), memory("VmHWM") - before

train(1_000_000)
print(*train(25_000_000))
"""


def fresh(code):
    """Return what `code` prints in an interpreter of its own, with byte code cached as for an installed package."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def test_import(benchmark, report):
    race = Race("import, in fresh interpreters")
    race.contenders["import fallline"] = lambda: float(fresh(IMPORT.format("fallline")))
    race.contenders["import numpy"] = lambda: float(fresh(IMPORT.format("numpy")))
    race.run(benchmark, rounds=21)
    table = race.table("import numpy")
    table.bars = [race.bar("import fallline", "import numpy", 1.3)]
    report(table)


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory(report):
    states, growth = map(int, fresh(MEMORY).split())
    rows = [["states of Adam", megabytes(states)], ["growth of the peak in 10 steps", megabytes(growth)]]
    # The kernel counts pages per thread and adds the counts up late, so less than 1 MB says nothing.
    bar = Bar("memory beyond two states of 4 bytes", (growth - 2 * 4 * 25_000_000) / 1e6, 1.0, "MB")
    report(Table("memory, 25e6 parameters, float32", ["", ""], rows, [bar]))


def test_wheel(report, tmp_path):
    root = pathlib.Path(__file__).parents[1]
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    [wheel] = tmp_path.iterdir()
    size = wheel.stat().st_size
    report(Table("wheel", ["", ""], [[wheel.name, megabytes(size)]], [Bar("size", size / 1e6, 1.5, "MB")]))


def megabytes(count):
    return f"{count / 1e6:.2f} MB"
