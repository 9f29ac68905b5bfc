"""What this process runs on: threads and instruction sets."""

import os
import sys
from typing import Any

from fallline import _core


def _quota() -> float:
    """CPUs that the control group of this process may use (Linux), or infinity."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # version 2, version 1
        try:
            text = " ".join([_read(f"/sys/fs/cgroup/{name}") for name in names])
            quota, period = map(float, text.split())
        except (OSError, ValueError):  # no such file, or "max": no quota
            continue
        if quota > 0:
            return quota / period
    return float("inf")


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def usable_cpus() -> int:
    """CPUs that this process may use: its affinity, cut to its quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(allowed, _quota())))


def set_num_threads(n: int) -> None:
    """Set how many threads a step uses at most, for all optimizers that were not given `threads`.

    Parameters
    ----------
    n : int
        At least 1. The start value is the number of CPUs that this process may use (affinity and control-group quota).
        Small models are stepped by one thread whatever `n` is. The bits of a result do not depend on it.

    Examples
    --------
    >>> import fallline as fl
    >>> before = fl.get_num_threads()
    >>> fl.set_num_threads(1)
    >>> fl.get_num_threads()
    1
    >>> fl.set_num_threads(before)
    """
    _core.set_default_threads(check_threads("set_num_threads(n)", n))


def get_num_threads() -> int:
    """Return how many threads a step uses at most, unless the optimizer was given `threads`."""
    return _core.default_threads()


def check_threads(owner: str, n: Any) -> int:
    """Return n as an int, or raise."""
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"{owner}: must be an integer >= 1; got {n!r}. Pass the number of threads.")
    if not 1 <= int(n) <= 256:
        raise ValueError(f"{owner}: must be between 1 and 256; got {n!r}. Pass the number of threads.")
    return int(n)


def show_config(mode: str = "print") -> dict[str, Any] | None:
    """Show the version, the instruction sets and the threads; ``mode="dict"`` returns them instead, as in NumPy.

    Examples
    --------
    >>> import fallline as fl
    >>> sorted(fl.show_config(mode="dict"))
    ['instruction_set', 'instruction_sets', 'numpy', 'python', 'threads', 'version']
    """
    import numpy as np

    from fallline import __version__

    if mode not in ("print", "dict"):
        raise ValueError(f'show_config(mode): must be "print" or "dict"; got {mode!r}. Pass one of these.')
    config: dict[str, Any] = {
        "version": __version__,
        "instruction_set": _core.instruction_set(),
        "instruction_sets": _core.instruction_sets(),
        "threads": get_num_threads(),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }
    if mode == "dict":
        return config
    has = config["instruction_sets"]
    sets = ", ".join(name if has[name] else f"{name} (not on this machine)" for name in has)
    print(
        f"fallline {config['version']}\n"
        f"  instruction set  {config['instruction_set']}, of {sets}; FALLLINE_ISA forces one\n"
        f"  threads          {config['threads']}; fallline.set_num_threads changes it\n"
        f"  NumPy {config['numpy']}, Python {config['python']}"
    )
    return None


_core.set_default_threads(usable_cpus())
