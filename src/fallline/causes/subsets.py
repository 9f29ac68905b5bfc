"""Mistakes in some entries while the others are right: slices, borders, masks, rows that an index names twice."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from .catalogue import Array
from .evidence import (
    ENOUGH,
    Finding,
    Part,
    Scene,
    axis_name,
    condition_on,
    digits_of,
    explains,
    listed,
    matches,
    nearness,
    pattern_digits,
)
from .groups import row_factors

ZEROED = 1.0  # digits, that g is 0 in all of a pattern
ENOUGH_OF_PATTERN = 2.0  # digits, where the wrong entries form a pattern and all others are right


def _slab(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for zeros of g in one contiguous slab, the rest being right."""
    for axis in range(len(part.shape)):
        rows = np.unique(np.nonzero(part.off)[axis])
        if not rows.size or rows[-1] - rows[0] + 1 != rows.size or rows.size == part.shape[axis]:
            continue
        inside = np.zeros(part.shape, bool)
        np.moveaxis(inside, axis, 0)[rows] = True
        model = np.where(inside, 0.0, part.d)
        if np.any(part.g[inside] != 0) or not (part.fine & ~inside).any():
            continue
        if explains(part, model, 1.0, 0, part.shape[axis] ** 2.0) and not np.any(part.fine & inside):
            at = f"{rows[0]}" if rows.size == 1 else f"{rows[0]} to {rows[-1]}"
            edge = "last" if rows[-1] == part.shape[axis] - 1 else "first" if rows[0] == 0 else "middle"
            start = f"g = 0 at index {at} of axis {axis} and g = D elsewhere"
            yield Finding(32, 0.88, f"{start}: the {edge} of the {axis_name(part, axis)} are left out")
            return


def _cut(part: Part, scene: Scene) -> Iterator[Finding]:
    if not scene.spared and all(not np.any(p.g) and np.nanmax(np.abs(p.d)) < 1 for p in scene.wrong):
        return  # integers, perhaps
    if not np.any(part.g) and digits_of(part, part.tol) >= ENOUGH and part.off.any():
        yield Finding(41, 0.6, f"g = 0 in the whole of {part.name}, and D is not: nothing flows back to it")


def _border(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for errors on the border of some axes, or in one residue class of an index."""
    n, k = int((part.off | part.fine).sum()), int(part.off.sum())
    if not 0 < k < n or part.g.ndim > 5 or part.g.size > 10**5:
        return
    tables = _tables(part, scene)
    for text, chosen, choices in _patterns(part.shape, tables):
        hit = not (part.off & ~chosen).any() and not (part.fine & chosen).any()
        zeroed = not np.any(part.g[part.off])
        if not zeroed and ("not" in text[0] or _is_end(chosen)):
            continue
        digits = pattern_digits(n, k, choices) + (ZEROED if zeroed else 0.0)
        if hit and digits >= ENOUGH_OF_PATTERN:
            kind = "g is 0 and D is not," if zeroed else "E is not 0"
            start = f"{kind} {text[0]}, and g = D elsewhere ({k} of {n} entries)"
            yield Finding(38, 0.64 if zeroed else 0.62, f"{start}: {text[1]}")
            return


def _is_end(chosen: Array) -> bool:
    """Tell whether entries are one slice at an end of an axis, as one unit is, or one example."""
    places = (np.unique(index) for index in np.nonzero(chosen))
    return any(len(p) == 1 < n and p[0] in (0, n - 1) for p, n in zip(places, chosen.shape, strict=True))


def _tables(part: Part, scene: Scene) -> set[int]:
    """Return the axes along which an index array looks up entries, the wrong ones among them: these have no border."""
    found = set()
    for _, rows in _index_arrays(scene.setting.arrays):
        for axis, n in enumerate(part.shape):
            wrong = np.unique(np.nonzero(part.off)[axis])
            if rows.min() >= 0 and rows.max() < n and np.isin(wrong, rows).all():
                found.add(axis)
    return found


def _patterns(shape: tuple[int, ...], tables: set[int]) -> Iterator[tuple[tuple[str, str], Array, float]]:
    """Yield the sets of entries that padding and strides single out, in words, and among how many like it."""
    axes = [a for a, n in enumerate(shape) if n > 2 and a not in tables]
    index = np.indices(shape, sparse=True)
    for chosen, words in _borders(shape, axes, index):
        yield (f"exactly on the border, {words}", "the padding is wrong"), chosen, 30.0
    for axis, stride in itertools.product(axes, (2, 3, 4)):
        for rest, positive in itertools.product(range(stride), (True, False)):
            if shape[axis] > 2 * stride - 1:
                chosen = np.broadcast_to((index[axis] % stride == rest) == positive, shape)
                word = f"{rest} modulo {stride}" if positive else f"not {rest} modulo {stride}"
                yield (f"exactly where the index of axis {axis} is {word}", "the stride is wrong"), chosen, 30.0


def _borders(shape: tuple[int, ...], axes: list[int], index: Sequence[Array]) -> Iterator[tuple[Array, str]]:
    for axis, left, right in itertools.product(axes, range(4), range(4)):
        if 0 < left + right < shape[axis]:
            side = (index[axis] < left) | (index[axis] >= shape[axis] - right)
            yield np.broadcast_to(side, shape), f"{left} and {right} wide, of axis {axis}"
    for k in range(2, len(axes) + 1):
        for some in itertools.combinations(axes, k):
            for widths in itertools.product((1, 2, 3), repeat=k):
                sides = [(index[a] < w) | (index[a] >= shape[a] - w) for a, w in zip(some, widths, strict=True)]
                chosen = np.logical_or.reduce(np.broadcast_arrays(*sides))
                named = listed([str(a) for a in some])
                yield np.broadcast_to(chosen, shape), f"{listed([str(w) for w in widths])} wide, of axis {named}"


def _masks(part: Part, scene: Scene) -> Iterator[tuple[str, Array]]:
    for name, array in scene.setting.arrays.items():
        a = np.asarray(array)
        if a.dtype.kind in "biuf" and a.ndim and a.size > 1 and len(np.unique(a)) <= 3 and (a == 0).any():
            if a.ndim <= part.g.ndim and a.shape == part.shape[part.g.ndim - a.ndim :]:
                yield name, np.broadcast_to(a == 0, part.shape)
            elif a.ndim == 1 and part.g.ndim > 1 and a.size == part.shape[0]:
                yield name, np.broadcast_to((a == 0).reshape(-1, *[1] * (part.g.ndim - 1)), part.shape)


def _mask_ignored(part: Part, scene: Scene) -> Iterator[Finding]:
    if not part.off.any() or np.any(part.off & ~part.zero) or not part.fine.any():
        return
    n = int(part.off.sum())
    start = f"E is not 0 exactly where D = 0 ({n} of {int(part.alive.sum())} entries)"
    for name, empty in _masks(part, scene):
        if not np.any(part.off & ~empty) and not np.any(part.fine & empty):
            yield Finding(40, 0.9, f"{start}, which is where {name} = 0: the mask is ignored")
            return
    condition = condition_on(part.x, part.off, part.fine)
    if condition:
        yield Finding(40, 0.87, f"{start}, which is where {condition}: the clip or condition is ignored")
    elif part.fine.sum() > 1:
        yield Finding(40, 0.7 if n > 1 else 0.6, f"{start}: a condition or a mask is ignored")


def _masked_scale(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for a factor, 0 or a dropout scale, on one side of a mask."""
    for name, empty in _masks(part, scene):
        for side, chosen in (("= 0", empty), ("≠ 0", ~empty)):
            model = np.where(chosen, 0.0, part.d)
            fine = bool((part.fine & ~chosen).any()) and not np.any(part.g[chosen] != 0)
            if fine and not np.any(part.fine & chosen) and explains(part, model, 1.0, 0, 8):
                start = f"g = 0 exactly where {name} {side} and g = D elsewhere"
                yield Finding(40, 0.8, f"{start}: a mask is applied that f does not have")


def _used_twice(part: Part, scene: Scene) -> Iterator[Finding]:
    square = len(part.shape) == 2 and part.shape[0] == part.shape[1] > 1 and part.complete
    if square and matches(part, part.d - part.g.T, part.tol) and digits_of(part, part.tol) >= ENOUGH:
        text = "D = g + gᵀ: the matrix is used twice, once transposed, and one of the two terms is missing"
        yield Finding(29, 0.85, text)
    for name, rows in _index_arrays(scene.setting.arrays):
        for axis, n in enumerate(part.shape):
            if rows.size and rows.min() >= 0 and rows.max() < n:
                yield from _overwritten(part, name, np.bincount(rows, minlength=n), axis)


def _index_arrays(arrays: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    for name, array in arrays.items():
        a = np.asarray(array)
        if a.dtype.kind in "iu" and a.size > 1:
            yield name, a.ravel()


def _overwritten(part: Part, name: str, counts: Array, axis: int) -> Iterator[Finding]:
    """Compare the wrong rows with those that an index array names more than once."""
    other = tuple(a for a in range(len(part.shape)) if a != axis)
    wrong, alive = part.off.any(axis=other), (part.off | part.fine).any(axis=other)
    often = counts > 1
    n, k = int(alive.sum()), int((alive & often).sum())
    if not k or not np.array_equal(wrong & alive, often & alive):
        return
    share = np.divide(1.0, counts, out=np.ones(len(counts)), where=often)
    ratio = np.broadcast_to(np.expand_dims(share, other), part.shape)
    place = f"{name} holds the index of axis {axis} more than once"
    if explains(part, ratio * part.d, ratio, 0, 4):
        text = f"g = D/k where {name} holds the index of axis {axis} k times: the contributions are not added up"
        yield Finding(29, 0.86, text)
    elif pattern_digits(n, k) >= 0.9 and np.any(alive & (counts == 1)):  # or whatever is used at all is wrong
        yield Finding(
            29, 0.75, f"E is not 0 exactly where {place} ({k} of {n}): the contributions overwrite each other"
        )
    elif len(part.shape) > 1 and row_factors(part, axis) is not None:
        text = f"g/D is one number for each of the {n} indices of axis {axis}, and {name} holds them all more than once"
        yield Finding(29, 0.72, f"{text}: the contributions overwrite each other")


def _quadratic_form(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for A x where f has x·A·x, whose derivative is (A + Aᵀ) x."""
    for name, array in scene.setting.arrays.items():
        a = np.asarray(array)
        if part.g.ndim != 1 or a.shape != (part.g.size, part.g.size) or a.dtype.kind not in "iuf":
            continue
        for used, left, missing in (("A", "Aᵀ", a.T @ part.x), ("Aᵀ", "A", a @ part.x)):
            for c in (0.5, 1.0, 2.0):
                if explains(part, part.d - c * missing, 1.0, 0, 12):
                    text = f"D - g = {c:g}·{left}·x with A = {name} {nearness(part, part.d - c * missing)}"
                    yield Finding(29, 0.88, f"{text}: only {used}·x of the derivative of x·A·x is there")


OF_BLOCK = (_slab, _cut, _border, _mask_ignored, _masked_scale, _used_twice, _quadratic_form)
