"""One wrong factor: g = aD in the whole gradient, in a block, or in the bias among the weights."""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .activations import CHARTS
from .catalogue import Array
from .evidence import (
    ENOUGH,
    SLACK,
    Finding,
    Part,
    Scene,
    Told,
    axis_name,
    best_fit,
    decimal,
    digits_of,
    listed,
    nearness,
)

LARGEST_COUNT = 10**7  # integers that are still taken for a number of entries


class Factor(NamedTuple):
    """A value that a scale can have, and how the sentence goes on then."""

    value: float
    number: int
    level: float
    text: str


def _plain(part: Part, scene: Scene) -> Iterator[Factor]:
    if scene.spared or part is not scene.whole:
        yield Factor(-1.0, 2, 0.98, f": the sign of {part.name} alone is flipped")
    else:
        yield Factor(-1.0, 1, 0.99, ": the sign is flipped")
    yield Factor(2.0, 7, 0.95, ": a factor 2 too many, as from a square whose ½ is in f")
    yield Factor(0.5, 7, 0.95, ": a factor 2 is lost, as from a square")


def _has(description: str, size: int) -> str:
    """Return "X has 7 rows" for the size "rows of X"."""
    thing, of, owner = description.replace(" in ", " of ").rpartition(" of ")
    if thing.startswith("axis"):
        return f"{description} has {size} entries"
    return f"{owner} has {size} {thing}" if of else f"{size} is {description}"


def _is_batch(description: str) -> bool:
    """Tell whether a size counts examples, as far as its description says so."""
    return not description.startswith(("column", "slice", "feature", "class", "layer", "channel"))


def _of_sizes(sizes: dict[str, int]) -> Iterator[Factor]:
    for name, n in sizes.items():
        if n < 2:
            continue
        has, batch = f", and {_has(name, n)}", _is_batch(name)
        more, less, likely = 4, 5 if batch else 6, 1.0 if n > 2 else 0.9  # 2 is more often that of a square
        mean = "the mean over the batch" if batch else "a division by their number"
        yield Factor(n, more, likely * (0.94 - 0.06 * (not batch)), f"{has}: {mean} is missing")
        yield Factor(1 / n, less, likely * (0.93 - 0.06 * (not batch)), f"{has}: they are divided by once too often")
        yield Factor(2 * n, more, 0.82, f"{has}: {mean} is missing, and there is a factor 2 too many")
        yield Factor(n / 2, more, 0.82, f"{has}: {mean} is missing, and a factor 2 is lost")
        yield Factor(2 / n, less, 0.81, f"{has}: they are divided by once too often, and there is a factor 2 too many")
        yield Factor(0.5 / n, less, 0.81, f"{has}: they are divided by once too often, and a factor 2 is lost")
        yield Factor(n / (n - 1), 6, 0.8, f"{has}: divided by {n - 1} for {n}")
        yield Factor((n - 1) / n, 6, 0.8, f"{has}: divided by {n} for {n - 1}")


def _of_pairs(sizes: dict[str, int]) -> Iterator[Factor]:
    for (first, n), (second, m) in itertools.permutations(sizes.items(), 2):
        if n > 1 and m > 1:
            has = f", and {_has(first, n)} and {_has(second, m)}"
            yield Factor(n / m, 6, 0.85, f"{has}: divided by {m} for {n}")
            yield Factor(n * m, 4, 0.8, f"{has}: the mean over both is missing")
            yield Factor(1 / (n * m), 5, 0.8, f"{has}: they are divided by once too often")


def _of_roots(sizes: dict[str, int], numbers: dict[str, float]) -> Iterator[Factor]:
    """Yield the square roots of sizes, or of what each of several heads has of one, that scores are divided by."""
    words: dict[int, str] = {}
    for (name, n), (heads, h) in itertools.product(sizes.items(), numbers.items()):
        if 1 < h < n and n % h == 0:
            words.setdefault(round(n / h), f"{_has(name, n)} in {heads} = {h:g} parts")
    for name, n in sizes.items():
        words.setdefault(n, _has(name, n))
    for n, has in words.items():
        if n > 1:
            root, inverse = (f", which is {word}√{n}, and {has}" for word in ("", "1/"))
            yield Factor(math.sqrt(n), 6, 0.86, f"{root}: the division by the square root is missing")
            yield Factor(1 / math.sqrt(n), 6, 0.86, f"{inverse}: divided by the square root once too often")
    for (n, has), (m, other) in itertools.permutations(words.items(), 2):
        if n > 1 and m > 1:
            given = f", which is √({n}/{m}), {has} and {other}"
            yield Factor(math.sqrt(n / m), 6, 0.7, f"{given}: divided by the square root of {m} for that of {n}")


def _of_totals(arrays: dict[str, Array]) -> Iterator[Factor]:
    """Yield what the total of weights or of a mask makes, by which a weighted mean is divided."""
    for name, array in arrays.items():
        a = np.asarray(array)
        total = float(a.sum()) if a.dtype.kind in "biuf" and a.size > 1 and a.min() >= 0 and a.ndim < 3 else 0.0
        if total > 0 and math.isfinite(total) and total not in (1, a.size):
            given = f", and {name} adds up to {total:.6g}"
            yield Factor(total, 4, 0.86, f"{given}: the division by that sum is missing")
            yield Factor(1 / total, 5, 0.86, f"{given}: divided by that sum once too often")
            yield Factor(total / len(a), 6, 0.86, f"{given}: divided by {len(a)}, their number, for that sum")
            yield Factor(len(a) / total, 6, 0.86, f"{given}: divided by that sum for {len(a)}, their number")


def _of_numbers(numbers: dict[str, float]) -> Iterator[Factor]:
    for name, p in numbers.items():
        given = f", and {name} = {p:g}"
        if 0 < p < 1:
            yield Factor(1 - p, 35, 0.88, f"{given}: the dropout scale 1/(1 - {name}) is missing")
            yield Factor(1 / (1 - p), 35, 0.88, f"{given}: the dropout scale 1/(1 - {name}) is applied once too often")
            yield Factor(p, 35, 0.79, f"{given}: the scale {name} is applied once too often")
            yield Factor(1 / p, 35, 0.79, f"{given}: the scale {name} is missing")
        elif p > 0:
            yield Factor(p, 6, 0.78, f"{given}: multiplied by {name} once too often")
            yield Factor(1 / p, 6, 0.78, f"{given}: the factor {name} is missing")


def _of_values(part: Part, scene: Scene) -> Iterator[Factor]:
    value = scene.setting.value
    if value != 0 and math.isfinite(value):
        yield Factor(1 / value, 44, 0.83, ", which is 1/f: g is the gradient of log f")
        yield Factor(value, 44, 0.83, ", which is f times D: g is the gradient of f, D that of log f")
    for other in scene.others(part):
        scale = float(other.x.ravel()[0]) if other.x.size == 1 else 0.0
        if scale != 0:
            yield Factor(1 / scale, 25, 0.79, f", which is D/{other.name}: the factor {other.name} is missing")
            up, down = f"exp({other.name})", f"exp(-{other.name})"
            for name, value, missing in ((down, math.exp(-scale), up), (up, math.exp(scale), down)):
                yield Factor(value, 25, 0.78, f", and {name} = {value:.5g}: the factor {missing} is missing")
    if part.x.size == 1:
        for name, function, text in CHARTS:
            value = float(function(part.x).ravel()[0])
            yield Factor(value, 44, 0.81, f", and {name} = {value:.5g}: {text}")
    for axis, n in enumerate(part.shape if part in scene.parts else ()):
        if n > 1:
            yield Factor(
                n, 23, 0.7, f", and axis {axis} of {part.name} has {n} entries: a broadcast is counted along it"
            )
            yield Factor(
                1 / n, 23, 0.7, f", and axis {axis} of {part.name} has {n} entries: a mean stands for their sum"
            )


def factors(part: Part, scene: Scene) -> list[Factor]:
    """Return the values that a scale of a part can have, and their negatives."""
    sizes, numbers = scene.setting.sizes, scene.setting.numbers
    plain = list(_plain(part, scene))
    known = [*plain[1:], *_of_sizes(sizes), *_of_pairs(sizes), *_of_numbers(numbers), *_of_values(part, scene)]
    known += [*_of_roots(sizes, numbers), *_of_totals(scene.setting.arrays)]
    flipped = [Factor(-f.value, f.number, f.level - 0.1, f"{f.text}, and the sign is flipped") for f in known]
    return [plain[0], *known, *flipped]


def named(a: float, bound: float, part: Part, scene: Scene) -> list[Factor]:
    """Return the factors that a fitted scale can be, if it is known well enough to tell them apart."""
    near = [f for f in factors(part, scene) if abs(f.value - a) <= bound]
    best = max((f.level for f in near), default=0.0)
    near = [f for f in near if f.level > best - 0.1]
    if bound > 0.01 * abs(a) or (bound > 1e-4 * abs(a) and len({f.value for f in near}) > 1):
        return []
    return near


def bias_like(part: Part, scene: Scene) -> bool:
    """Tell whether a part is made of biases: vectors or numbers beside right blocks of more dimensions."""
    members = scene.wrong if part is scene.whole else [part]
    right = max((dimensions(p) for p in scene.parts if p.right), default=0)
    return all(dimensions(p) < min(right, 2) for p in members)


def dimensions(part: Part) -> int:
    """Return the number of axes of more than one entry."""
    return sum(n > 1 for n in part.shape)


def _scale(part: Part, scene: Scene) -> Iterator[Finding]:
    fit = best_fit(part, [part.d])
    if fit is None or not fit.exact:
        return
    a, bound = float(fit.coefficients[0]), float(fit.bounds[0])
    if abs(a - 1) <= bound or abs(a) <= bound:
        return
    start, bias = f"g = {decimal(a)}·D {nearness(part, fit.model)}", bias_like(part, scene)
    near = named(a, bound, part, scene)
    if digits_of(part, part.tol * max(1.0, abs(a)), 0, len(factors(part, scene))) >= ENOUGH:
        for f in near:
            if bias and f.number in (4, 5, 6):
                if f.level > 0.86:
                    yield Finding(22, f.level + 0.02, f"{start}{f.text}, in the bias only")
            else:
                yield Finding(f.number, f.level, start + f.text)
    if fit.digits >= ENOUGH and (bias or not near):
        yield _unnamed(a, bound, start, bias)


def _unnamed(a: float, bound: float, start: str, bias: bool) -> Finding:
    if bound > 0.01 * abs(a):
        return Finding(6, 0.3, f"{start}: a constant factor is wrong, and it is known to {bound / abs(a):.0%} only")
    n = _integer(a, bound)
    if n > 2 - bias:
        text = f"{start}, an integer that is none of the known sizes"
        return (
            Finding(23, 0.5, f"{text}: what is summed in f is counted {n} times")
            if bias
            else Finding(4, 0.5, f"{text}: as if a mean over {n} entries were missing")
        )
    n = _integer(1 / a, bound / a**2)
    if n > 2:
        text = f"{start}, and 1/{n} is none of the known sizes: as if there were a mean over {n} entries"
        return Finding(22 if bias else 5, 0.5, f"{text} for their sum" if bias else f"{text} too much")
    return Finding(6, 0.3, f"{start}: a constant factor is wrong, and it is none of the known sizes and numbers")


def _integer(a: float, bound: float) -> int:
    """Return the integer that a value is, if it is known well enough, else 0."""
    n = round(a)
    return n if abs(a - n) <= bound < 0.05 and 0 < n < LARGEST_COUNT else 0


def ends(part: Part) -> Iterator[tuple[str, Array]]:
    """Yield the first and the last slice of every axis, where the bias may stand among the weights."""
    for axis, end in itertools.product(range(len(part.shape)), (0, -1)):
        if part.shape[axis] > 2:
            chosen = np.zeros(part.shape, bool)
            np.moveaxis(chosen, axis, 0)[end] = True
            yield f"the {'first' if end == 0 else 'last'} of the {axis_name(part, axis)}", chosen


def _bias_scale(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for a mean for a sum, or the reverse, in the bias among the weights."""
    for place, chosen in ends(part):
        if (part.off & ~chosen).any() or not (part.fine & ~chosen).any():
            continue
        for f in _of_sizes(scene.setting.sizes):
            ratio = np.where(chosen, f.value, 1.0)
            model, tol = ratio * part.d, part.tol * np.maximum(1, ratio)
            exact = np.all((np.abs(part.g - model) <= SLACK * tol)[part.known])
            if f.number in (4, 5) and f.level > 0.9 and exact and digits_of(part, tol, 0, 40) >= ENOUGH:
                text = f"g = {decimal(f.value)}·D {nearness(part, model)} in {place} and g = D elsewhere"
                yield Finding(22, 0.88, f"{text}{f.text}, in the bias only")


def _mean_for_sum(scene: Scene) -> Iterator[Told]:
    """Look for blocks that are divided by the number of entries each is broadcast to, which makes one total."""
    totals = []
    for part in scene.wrong:
        fit = best_fit(part, [part.d])
        if fit is None or not fit.exact or fit.coefficients[0] == 0:
            return
        a = float(fit.coefficients[0])
        totals.append((_integer(1 / a, float(fit.bounds[0]) / a**2), part.g.size))
    products = {n * size for n, size in totals}
    if len(totals) > 1 and len(products) == 1 and products != {0} and len({n for n, _ in totals}) > 1:
        counts = listed([str(n) for n, _ in totals])
        start = f"D/g is {counts}, which makes {products.pop()} entries in every block"
        text = f"{start}: a mean stands for the sum over a broadcast"
        yield Told(Finding(23, 0.9, text), scene.wrong)


OF_ALL = (_scale,)
OF_BLOCK = (_bias_scale,)
OF_BLOCKS = (_mean_for_sum,)
