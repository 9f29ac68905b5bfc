"""The right entries in the wrong place: transposed, reshaped, flipped, shifted, exchanged, broadcast."""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .catalogue import Array
from .evidence import ENOUGH, SLACK, Finding, Part, Scene, Told, digits_of, listed, matches, nearness

LARGE = 10**5  # entries, above which fewer shifts are tried


class _Undo(NamedTuple):
    number: int
    level: float
    text: str
    g: Array  # what D would be


def _flips(g: Array) -> Iterator[_Undo]:
    long = [a for a, n in enumerate(g.shape) if n > 1]
    for k in range(1, len(long) + 1):
        for axes in itertools.combinations(long, k):
            spatial = axes == tuple(range(g.ndim))[-k:]
            yield _Undo(
                39,
                0.87 if spatial else 0.8,
                f"g is D reversed along axis {listed([str(a) for a in axes])}",
                np.flip(g, axes),
            )


def _permuted(g: Array) -> Iterator[_Undo]:
    for order in itertools.permutations(range(g.ndim)):
        if order != tuple(range(g.ndim)):
            shape = tuple(g.shape[a] for a in order)
            undone = g.reshape(shape).transpose(np.argsort(order))
            if g.ndim == 2 and shape == g.shape:
                yield _Undo(20, 0.92, "g is D transposed", undone)
            elif shape == g.shape:
                yield _Undo(20, 0.9, f"g is D with its axes in the order {order}", undone)
            else:
                yield _Undo(
                    20,
                    0.86,
                    f"g is D with its axes in the order {order}, reshaped: a reshape stands for a transpose",
                    undone,
                )
                again = g.transpose(order).reshape(g.shape)
                yield _Undo(20, 0.85, f"g is D reshaped to {shape} and then transposed", again)


def _rolls(g: Array) -> Iterator[_Undo]:
    for axis, n in enumerate(g.shape):
        for k in range(1, min(n, 65 if g.size < LARGE else 5)):
            shift = k if k <= n // 2 else k - n
            yield _Undo(33, 0.84, f"g is D shifted by {shift:+d} along axis {axis}", np.roll(g, -k, axis))


def _rearranged(part: Part, scene: Scene) -> Iterator[Finding]:
    """Undo each rearrangement in g, which is known everywhere, and compare with D where that is known."""
    if part.g.ndim > 5 or part.off.sum() < 2:
        return
    undos = [*_permuted(part.g), *_flips(part.g), *_rolls(part.g)]
    for undo in undos:
        back = Part(part.name, part.x, undo.g, part.d, part.tol)
        if matches(back, back.d, back.tol) and digits_of(part, part.tol, 0, len(undos)) >= ENOUGH:
            yield Finding(undo.number, undo.level, f"{undo.text} {nearness(back, back.d)}")


def _shifted(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for a shift by one that loses an end instead of wrapping around."""
    for axis, k in itertools.product(range(len(part.shape)), (1, -1)):
        n = part.shape[axis]
        if n < 4 or part.off.sum() < 2:
            continue
        moved = Part(part.name, part.x, part.g, *(np.roll(a, k, axis) for a in (part.d, part.tol)))
        inner = np.ones(part.shape, bool)
        np.moveaxis(inner, axis, 0)[0 if k > 0 else -1] = False
        tested = Part(part.name, part.x, part.g, np.where(inner, part.d, np.nan), part.tol)
        agrees = np.all((np.abs(moved.e) <= SLACK * moved.tol)[inner & moved.known])
        ragged = (moved.off & ~inner).any()
        if (
            agrees
            and ragged
            and (inner & moved.known & moved.alive).sum() >= 2
            and digits_of(tested, tested.tol, 0, 8) >= ENOUGH
        ):
            yield Finding(
                33, 0.8, f"g is D shifted by {k:+d} along axis {axis} but for the end of it: an index is off by one"
            )


def _multiset(part: Part, scene: Scene) -> Iterator[Finding]:
    n = part.g.size
    if not part.complete or n < 3:
        return
    g, d = np.sort(part.g, axis=None), np.sort(part.d, axis=None)
    tol = float(part.tol.max())
    moved = int(part.off.sum())
    digits = digits_of(part, np.full(part.shape, tol)) - math.lgamma(moved + 1) / math.log(10)
    if np.all(np.abs(g - d) <= SLACK * tol) and digits >= ENOUGH:
        yield Finding(20, 0.4, "g has the values of D in another order: the entries are mixed up")


def _exchanged(scene: Scene) -> Iterator[Told]:
    if len(scene.wrong) != 2 or scene.wrong[0].g.size != scene.wrong[1].g.size:
        return
    a, b = scene.wrong
    swapped = [Part(p.name, p.x, q.g.reshape(p.shape), p.d, p.tol) for p, q in ((a, b), (b, a))]
    if not any(s.off.any() for s in swapped) and all(digits_of(p, p.tol) >= ENOUGH for p in (a, b)):
        text = f"g of {a.name} is D of {b.name} and the other way round: the two gradients are exchanged"
        yield Told(Finding(20, 0.9, text), [a, b])


def _long_axes(part: Part) -> tuple[int, ...]:
    return tuple(a for a, n in enumerate(part.shape) if n > 1)


def _broadcast(part: Part, scene: Scene) -> Iterator[Finding]:
    for axis in _long_axes(part) if np.any(part.g) else ():
        n = part.shape[axis]
        lines = np.broadcast_to(part.known.all(axis=axis, keepdims=True), part.shape)
        total = np.broadcast_to(part.d.sum(axis=axis, keepdims=True), part.shape)
        tol = np.broadcast_to(part.tol.sum(axis=axis, keepdims=True), part.shape)
        for word, model, bound in (("sum", total, tol), ("mean", total / n, np.maximum(part.tol, tol / n))):
            tested = Part(part.name, part.x, part.g, np.where(lines, part.d, np.nan), part.tol)
            if lines.any() and matches(tested, model, bound, lines) and digits_of(tested, bound, 0, 8) >= ENOUGH:
                yield Finding(
                    23, 0.85, f"g is the {word} of D over axis {axis}, repeated along it: summed over the wrong axis"
                )
                return
        if _constant_along(part, axis):
            yield Finding(
                23, 0.5, f"g is constant along axis {axis}, and D is not: a broadcast is summed over the wrong axis"
            )


def _constant_along(part: Part, axis: int) -> bool:
    mean = part.g.mean(axis=axis, keepdims=True)
    same = np.all(np.abs(part.g - mean) <= 1e-12 * np.abs(mean))
    lines = part.g.size // part.shape[axis]
    known_lines = int((part.off.sum(axis=axis) >= 2).sum())
    return bool(same and mean.any() and known_lines >= 1 and part.off.sum() >= 4 and lines > 1)


OF_BLOCK = (_rearranged, _shifted, _multiset, _broadcast)
OF_BLOCKS = (_exchanged,)
