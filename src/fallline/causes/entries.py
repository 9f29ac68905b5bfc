"""Mistakes entry by entry: branches, charts, activations of a parameter, symmetric matrices, integers."""

import math
from collections.abc import Iterator

import numpy as np

from .activations import CHARTS, DERIVATIVES, SLIPS
from .catalogue import Array
from .evidence import (
    SLACK,
    Finding,
    Part,
    Scene,
    condition_on,
    constant,
    explains,
    listed,
    nearness,
)


def _branch(part: Part, scene: Scene) -> Iterator[Finding]:
    model = np.where(part.off, -part.d, part.d)
    flipped, fine = part.off, part.fine
    if not flipped.any() or not fine.any() or not explains(part, model, 1.0, 0, 2.0 ** min(int(fine.sum()), 30)):
        return
    condition = condition_on(part.x, flipped, fine)
    n = int(flipped.sum())
    start = f"g = -D {nearness(part, model)} in {n} of {n + int(fine.sum())} entries, g = D in the others"
    if condition:
        yield Finding(
            3, 0.8, f"{start}, and these are the entries with {condition}: the sign is flipped in that branch"
        )
    elif not np.any(part.g[flipped] < 0):
        yield Finding(3, 0.6, f"{start}, and g is never negative: an absolute value is too much")
    else:
        yield Finding(3, 0.5, f"{start}: the sign is flipped in one branch")


def _ratio_fits(part: Part, ratio: Array, choices: float) -> bool:
    """Tell whether g = ratio·D, the ratio being finite and no constant."""
    if not np.isfinite(ratio).all() or constant(ratio[part.off]) or not np.any(part.g[part.off]):
        return False
    return explains(part, ratio * part.d, ratio, 0, choices)


def _chart(part: Part, scene: Scene) -> Iterator[Finding]:
    for name, function, text in CHARTS:
        ratio = function(part.x)
        if _ratio_fits(part, ratio, len(CHARTS)):
            yield Finding(44, 0.82, f"g/D = {name} {nearness(part, ratio * part.d)}: {text}")


def _activation(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for a wrong derivative of an activation whose argument is the parameter itself."""
    for slip in SLIPS:
        ratio = slip.used(part.x) / DERIVATIVES[slip.activation](part.x)
        if slip.activation != "exp" and _ratio_fits(part, ratio, len(SLIPS)):
            near = nearness(part, ratio * part.d)
            start = f"g/D is what a wrong derivative of a = {slip.activation}(x) makes it {near}"
            yield Finding(slip.number, slip.level - 0.02, f"{start}: {slip.text}")


def _symmetric(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for a factor 2 on or off the diagonal of a square matrix."""
    if len(part.shape) != 2 or part.shape[0] != part.shape[1] or part.shape[0] < 2:
        return
    diagonal = np.eye(part.shape[0], dtype=bool)
    if not (part.alive & diagonal).any() or not (part.alive & ~diagonal).any():
        return
    for place, other, chosen in (("off", "on", ~diagonal), ("on", "off", diagonal)):
        for a, word in ((2.0, "twice"), (0.5, "half")):
            ratio = np.where(chosen, a, 1.0)
            if explains(part, ratio * part.d, ratio, 0, 4):
                start = f"g = {a:g}·D {nearness(part, ratio * part.d)} {place} the diagonal and g = D {other} it"
                yield Finding(
                    44, 0.86, f"{start}: what is {place} the diagonal of a symmetric matrix is counted {word}"
                )


def _packed(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for the off-diagonal entries of a symmetric matrix that is packed into a vector."""
    n = (math.isqrt(8 * part.g.size + 1) - 1) // 2
    if len(part.shape) != 1 or n < 2 or n * (n + 1) // 2 != part.g.size:
        return
    for i, j in (np.tril_indices(n), np.triu_indices(n)):
        for a, word in ((0.5, "counted once"), (2.0, "counted twice")):
            ratio = np.where(i == j, 1.0, a)
            if (part.alive & (i == j)).any() and explains(part, ratio * part.d, ratio, 0, 4):
                near = nearness(part, ratio * part.d)
                text = f"g = {a:g}·D {near} off the diagonal of the {n}×{n} matrix that is packed in it"
                yield Finding(44, 0.87, f"{text}, g = D on it: a pair of entries is {word}")
                return


def _integers(part: Part, scene: Scene) -> Iterator[Finding]:
    g, d, alive = part.g, part.d, part.alive
    if np.any(g[part.known] != np.rint(g[part.known])) or alive.sum() < 3 or not part.off.any():
        return
    if scene.spared and not np.any(g):
        return  # nothing flows back to a part of it
    for name, function in (("truncated", np.trunc), ("rounded", np.rint), ("rounded down", np.floor)):
        low, high = function(d - SLACK * part.tol), function(d + SLACK * part.tol)
        if np.all(((low <= g) & (g <= high))[part.known]):
            integral_x = bool(np.all(part.x == np.rint(part.x)))
            level = 0.97 if integral_x else 0.9 if g[part.known].any() else 0.7
            text = f"every entry of g is an integer, D {name}: the gradient is stored in an array of integers"
            yield Finding(42, level, text)
            return


def _integer_ratio(part: Part, scene: Scene) -> Iterator[Finding]:
    alive = part.alive
    if not alive.any() or np.any(10 * SLACK * part.tol[alive] > np.abs(part.g[alive])):
        return  # any number is near an integer then
    ratio = np.ones(part.shape)
    ratio[alive] = np.rint(part.d[alive] / part.g[alive])
    counts = np.unique(ratio[alive])
    model = part.d / ratio
    plausible = counts.min() >= 1 and counts.max() <= 16 and 2 <= len(counts) <= 9
    if plausible and explains(part, model, 1.0, 0, 16.0 ** len(counts)):
        start = f"D/g is one of the integers {listed([f'{c:g}' for c in counts])} {nearness(part, model)}"
        yield Finding(37, 0.6, f"{start}: contributions to one entry overwrite each other")


OF_ALL = (_branch, _chart, _activation, _integers, _integer_ratio)
OF_BLOCK = (_symmetric, _packed)
