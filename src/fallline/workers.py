"""Processes, or whatever else a user has, as a function like map."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fallline.runtime import usable_cpus

__all__ = ["worker_map"]


@contextmanager
def worker_map(owner: str, workers: Any) -> Iterator[Callable[..., Any] | None]:
    """Hold a function like map for as long as it is needed: the given one, or that of new processes; or raise.

    Parameters
    ----------
    owner : str
    workers : None, int or callable
        None and 1: no workers. -1: as many processes as this one may use CPUs.
    """
    if workers is None or callable(workers):
        yield workers
        return
    try:
        n = operator.index(workers)
    except TypeError:
        n = 0
    if isinstance(workers, bool) or (n != -1 and n < 1):
        raise ValueError(
            f"{owner}(workers): must be a positive integer, -1 for all CPUs, or a function like map; got {workers!r}. "
            f"Pass one of these."
        )
    n = usable_cpus() if n == -1 else n
    if n == 1:
        yield None
        return
    import multiprocessing

    with multiprocessing.Pool(n) as pool:
        yield pool.map
