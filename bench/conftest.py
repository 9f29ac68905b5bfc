"""The report that ends a run of the benchmarks; its tables also go into the JSON that pytest-benchmark saves."""

import dataclasses
import importlib.metadata
import os
import platform

import cpuinfo
import pytest

import fallline as fl

THREADS = 2
PEERS = ["torch", "jax", "optax", "thinc", "scikit-learn"]
REPORT = pytest.StashKey[list]()
MACHINE = pytest.StashKey[dict]()


def pytest_configure(config):
    config.stash[REPORT] = []
    config.stash[MACHINE] = machine()
    config.addinivalue_line("filterwarnings", "default")  # the peers' warnings are not our errors
    os.environ["NPROC"] = str(THREADS)  # XLA, which optax runs on, reads it when it makes its thread pool


@pytest.fixture(scope="session")
def threads():
    return THREADS


@pytest.fixture(scope="session")
def report(request):
    """Return a function that adds a table to the report."""
    return request.config.stash[REPORT].append


def machine():
    """Return what the figures depend on, by name."""
    versions = {}
    for name in PEERS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    config = fl.show_config(mode="dict")
    return {
        "processor": cpuinfo.get_cpu_info().get("brand_raw", platform.processor()),
        "instruction set": config["instruction_set"],
        "threads": THREADS,
        "load before": load(),
        "fallline": config["version"],
        "Python": config["python"],
        "NumPy": config["numpy"],
        **versions,
    }


def load():
    """Return how many threads ran or waited during the last minute: with others than ours, times are too long."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def pytest_terminal_summary(terminalreporter, config):
    tables = config.stash[REPORT]
    if not tables:
        return
    write = terminalreporter.write_line
    terminalreporter.section("benchmarks")
    write("; ".join(f"{name} {value}" for name, value in (config.stash[MACHINE] | {"load after": load()}).items()))
    write("Times are the shortest of interleaved rounds; ratios are those of the shortest times, (of the medians).")
    for table in tables:
        write(f"\n{table}")
    bars = [bar for table in tables for bar in table.bars]
    write(f"\n{sum(bar.met for bar in bars)} of {len(bars)} bars met")


def pytest_benchmark_update_json(config, output_json):
    output_json["machine"] = config.stash[MACHINE]
    output_json["tables"] = [dataclasses.asdict(table) for table in config.stash[REPORT]]
