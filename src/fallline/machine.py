"""What this machine does: the speed of its memory, and the time of a step of each optimizer against it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fallline.optim import optimizers

__all__ = ["measure_steps"]

_ROUNDS = 7


def measure_steps(size: int, report: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Time one step of every optimizer on a float32 array, and a copy that moves as many bytes.

    Parameters
    ----------
    size : int
        Elements.
    report : callable (done, all), optional
        Called after every optimizer.

    Returns
    -------
    dict
        "bytes_per_second" of copying, and "steps": for each optimizer its name, the seconds of a step, the bytes that
        it has to move for each element (gradient, parameter and states), and the ratio to a copy of as many bytes.
        Peers that are installed follow. The shortest of seven rounds.

    Examples
    --------
    >>> from fallline.machine import measure_steps
    >>> found = measure_steps(1000)
    >>> found["steps"][0]["optimizer"]
    'sgd'
    """
    speed = _copy_speed(size)
    known = optimizers()
    steps = []
    for done, (name, kind) in enumerate(known.items(), 1):
        x, g = np.ones(size, np.float32), np.full(size, 1e-3, np.float32)
        optimizer = kind(x, lr=1e-6)
        states = sum(array.nbytes for array in optimizer.state["0"].values() if array.size == size)
        moved = g.nbytes + 2 * x.nbytes + 2 * states
        steps.append(_row(name, _shortest(optimizer.step, g), moved, size, speed))
        if report is not None:
            report(done, len(known))
    return {"size": size, "bytes_per_second": speed, "steps": steps + _peers(size, speed)}


def _row(name: str, seconds: float, moved: int, size: int, speed: float) -> dict[str, Any]:
    return {
        "optimizer": name,
        "seconds": seconds,
        "bytes_per_element": moved / size,
        "times_copying": seconds * speed / moved,
    }


def _shortest(step: Callable[..., Any], *arguments: Any) -> float:
    step(*arguments)
    best = math.inf
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        step(*arguments)
        best = min(best, time.perf_counter() - began)
    return best


def _copy_speed(size: int) -> float:
    """Return the bytes that a copy reads and writes in a second."""
    source, target = np.ones(4 * size, np.float32), np.zeros(4 * size, np.float32)
    return 2 * source.nbytes / _shortest(np.copyto, target, source)


def _peers(size: int, speed: float) -> list[dict[str, Any]]:
    try:
        import torch
    except ModuleNotFoundError:
        return []
    p = torch.nn.Parameter(torch.ones(size))
    p.grad = torch.full((size,), 1e-3)
    adam = torch.optim.Adam([p], lr=1e-6, fused=True)
    return [_row("torch fused adam", _shortest(adam.step), 28 * size, size, speed)]
