"""What all entries of a unit, a channel or a row share: a ratio g/D, a part of E, a sum that vanishes in D."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

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
    constant,
    digits_of,
    explains,
    listed,
    nearness,
)


def _along(values: Array, axis: int, ndim: int) -> Array:
    return np.expand_dims(values, tuple(a for a in range(ndim) if a != axis))


def _group_ratios(part: Part, axis: int) -> tuple[Array, Array]:
    """Return the best ratio g/D for every index of an axis, and where there is one."""
    other = tuple(a for a in range(len(part.shape)) if a != axis)
    weight = np.where(part.alive, 1 / part.tol**2, 0.0) if part.alive.any() else np.zeros(part.shape)
    scale = float(weight.max()) or 1.0
    d, w = np.nan_to_num(part.d), np.nan_to_num(weight) / scale
    below = (w * d * d).sum(axis=other)
    there = below > 0
    return np.divide((w * d * part.g).sum(axis=other), below, out=np.ones(len(below)), where=there), there


def _gamma(part: Part, scene: Scene) -> Iterator[Finding]:
    """Compare g/D along an axis with 1/γ, γ being another block or an argument."""
    known = [(p.name, p.x) for p in scene.others(part)]
    known += [(f"exp({p.name})", np.exp(p.x)) for p in scene.others(part)]
    known += [(n, np.asarray(a, float)) for n, a in scene.setting.arrays.items() if np.asarray(a).dtype.kind in "iuf"]
    for name, gamma in known:
        if gamma.size < 2 or not np.isfinite(gamma).all() or not np.all(gamma != 0) or constant(np.ravel(gamma)):
            continue
        for where, scale in _spread(gamma, part.shape):
            for times, ratio, word in (("1/", 1 / scale, "is missing"), ("", scale, "is applied once too often")):
                full = np.broadcast_to(ratio, part.shape)
                if explains(part, full * part.d, full, 0, 4 * len(known) * len(part.shape)):
                    near = nearness(part, full * part.d)
                    yield Finding(25, 0.89, f"g/D = {times}{name}{where} {near}: the scale {name} {word}")


def _spread(scale: Array, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """Yield how a scale can multiply an array: entry by entry, or along an axis."""
    if scale.shape == shape and len(shape) > 1:
        yield "", scale
    for axis, n in enumerate(shape):
        if scale.size == n:
            yield f" along axis {axis}", _along(scale.ravel(), axis, len(shape))


def row_factors(part: Part, axis: int) -> Array | None:
    """Return g/D for every index of an axis, NaN where there is none, if that explains g and no single factor does."""
    ratio, there = _group_ratios(part, axis)
    full = np.broadcast_to(_along(ratio, axis, len(part.shape)), part.shape)
    values = ratio[there]
    plain = len(values) < 2 or constant(values) or np.all(np.isin(np.round(values, 6), (0, 1, -1)))
    exact = not plain and explains(part, full * part.d, full, len(values))
    one = best_fit(part, [part.d]) if exact else None
    return np.where(there, ratio, np.nan) if exact and not (one is not None and one.exact) else None


def _per_unit(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for a ratio g/D of its own for every unit."""
    for axis in range(len(part.shape) if len(part.shape) > 1 else 0):
        values = row_factors(part, axis)
        if values is not None:
            yield _unit_ratio(values, axis_name(part, axis))


def _per_unit_and_bias(scene: Scene) -> Iterator[Told]:
    """Look for the ratios g/D of the units of a layer in its bias too."""
    for weights, bias in itertools.permutations(scene.wrong, 2):
        for axis, n in enumerate(weights.shape if len(weights.shape) > 1 else ()):
            if bias.g.size == n == max(bias.shape, default=0):
                values = row_factors(_with_bias(weights, bias, axis), 1)
                if values is not None:
                    yield Told(_unit_ratio(values, axis_name(weights, axis)), [weights, bias])


def _with_bias(weights: Part, bias: Part, axis: int) -> Part:
    """Return the weights as columns, one for each index of an axis, with the bias as one more row."""
    pairs = ((getattr(weights, name), getattr(bias, name)) for name in ("x", "g", "d", "tol"))
    columns = (np.vstack([np.moveaxis(w, axis, -1).reshape(-1, b.size), b.reshape(1, -1)]) for w, b in pairs)
    return Part(weights.name, *columns)


def _unit_ratio(values: Array, units: str) -> Finding:
    """Name the mistake that multiplies every unit by a factor of its own."""
    ratio, near = values[np.isfinite(values)], 1 - 1e-6
    start = f"g/D is one number for each of the {units}, between {ratio.min():.4g} and {ratio.max():.4g}"
    if ratio.min() >= 4 * near:
        return Finding(14, 0.72, f"{start}, as when the derivative of a sigmoid, at most 1/4, is missing")
    if ratio.min() >= near:
        return Finding(14, 0.7, f"{start}, as when the derivative of a tanh, at most 1, is missing")
    if ratio.min() > 0 and ratio.max() <= 0.25 / near:
        return Finding(15, 0.66, f"{start}, as when the derivative of a sigmoid, at most 1/4, is applied twice")
    return Finding(15, 0.5, f"{start}, as when the derivative of the activation is taken at the wrong variable")


def _axes_sets(ndim: int) -> list[tuple[int, ...]]:
    """Return the axes to sum over: each alone, all but one (channels), all."""
    single = [(a,) for a in range(ndim)]
    channels = [tuple(a for a in range(ndim) if a != c) for c in range(ndim)]
    return [axes for axes in dict.fromkeys([*single, *channels, tuple(range(ndim))]) if axes]


def sums_to_zero(part: Part, values: Array, weight: Array, axes: tuple[int, ...]) -> bool:
    """Tell whether D·weight sums to 0 along axes, exactly and significantly, wherever that is known."""
    total, bound = (values * weight).sum(axis=axes), (part.tol * np.abs(weight)).sum(axis=axes)
    mass = np.abs(values * weight).sum(axis=axes)
    known = np.isfinite(total) & (mass > SLACK * bound)
    digits = float(np.log10(mass[known] / (SLACK * bound[known])).sum())
    return bool(known.any() and np.all(np.abs(total[known]) <= SLACK * bound[known]) and digits >= ENOUGH)


def _breaks(part: Part, weight: Array, axes: tuple[int, ...]) -> bool:
    total, bound = (part.e * weight).sum(axis=axes), (part.tol * np.abs(weight)).sum(axis=axes)
    return bool(np.any(np.abs(total) > 2 * SLACK * bound))


def _group_fit(part: Part, columns: Sequence[Array], axes: tuple[int, ...]) -> bool:
    """Tell whether E is a combination of columns with its own coefficients in every group, significantly."""
    rest = [a for a in range(len(part.shape)) if a not in axes]
    order = (*rest, *axes)

    def grouped(a: Array) -> Array:
        groups = math.prod(part.shape[a] for a in rest)
        return np.broadcast_to(a, part.shape).transpose(order).reshape(groups, -1)

    known, e, tol = (grouped(a) for a in (part.known, part.e, part.tol))
    columns = [grouped(c) for c in columns]
    free = 0
    for i in range(len(e)):
        k = known[i]
        if not np.any(np.abs(e[i][k]) > SLACK * tol[i][k]):
            continue
        design = np.stack([c[i][k] / tol[i][k] for c in columns], axis=-1)
        norms = np.maximum(np.linalg.norm(design, axis=0), np.finfo(float).tiny)
        target = e[i][k] / tol[i][k]
        fitted = (design / norms) @ np.linalg.lstsq(design / norms, target, rcond=1e-12)[0]
        if np.any(np.abs(fitted - target) > SLACK):
            return False
        free += len(columns)
    return free > 0 and digits_of(part, part.tol, free, 20) >= ENOUGH


def _detached(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for E constant, or proportional to x or its deviation from the mean, in every group."""
    ndim = len(part.shape)
    for axes in _axes_sets(ndim) if part.g.size > 2 and part.known.any() else []:
        if math.prod(part.shape[a] for a in axes) < 3:
            continue
        deviation = part.x - part.x.mean(axis=axes, keepdims=True)
        orthogonal = sums_to_zero(part, part.d, part.x, axes)
        if not orthogonal and not sums_to_zero(part, part.d, np.ones(part.shape), axes):
            continue
        where = f"along axis {listed([str(a) for a in axes])}" if len(axes) < ndim else "in the whole block"
        for name, path, columns in _paths(part, deviation):
            if path == "norm" and not orthogonal:
                continue
            if _group_fit(part, columns, axes):
                if path == "mean" and _labelled(part, axes, scene):
                    return
                number, level = (24, 0.78) if _standardised(part, deviation, axes) else (41, 0.7 - 0.1 * len(columns))
                level += 0.1 if path == "norm" and orthogonal else 0.0
                yield Finding(number, level, f"E is {name} {where}: the path through the {path} is missing")
                return


def _labelled(part: Part, axes: tuple[int, ...], scene: Scene) -> bool:
    """Tell whether an axis may be that of the classes of an output layer.

    There, targets that do not add up to 1 leave the same trace as a missing mean.
    """
    if len(axes) != 1 or len(scene.wrong) < 2 or scene.spared:
        return False
    n, arrays = part.shape[axes[0]], [np.asarray(a) for a in scene.setting.arrays.values()]
    labels = (a for a in arrays if a.ndim == 1 and a.dtype.kind in "iu" and a.size)
    return any(a.min() >= 0 and 1 < a.max() < n for a in labels) or any(a.shape[-1:] == (n,) for a in arrays)


def _paths(part: Part, deviation: Array) -> list[tuple[str, str, list[Array]]]:
    one = np.ones(part.shape)
    return [
        ("constant", "mean", [one]),
        ("proportional to x", "norm", [part.x]),
        ("proportional to x minus its mean", "variance", [deviation]),
        ("a constant plus a multiple of x", "mean and the variance", [one, part.x]),
    ]


def _standardised(part: Part, deviation: Array, axes: tuple[int, ...]) -> bool:
    """Tell whether D comes from behind a standardisation, whose ε may keep the second sum from vanishing exactly."""
    if not part.complete or not sums_to_zero(part, part.d, np.ones(part.shape), axes):
        return False
    return bool(np.abs((part.d * deviation).sum(axis=axes)).sum() <= 1e-2 * np.abs(part.d * deviation).sum())


def _broken_identity(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for sums that vanish in D, of which g breaks exactly one: those behind a normalisation."""
    for axes in _axes_sets(len(part.shape)) if part.g.size > 2 else []:
        one = np.ones(part.shape)
        centred, orthogonal = (sums_to_zero(part, part.d, weight, axes) for weight in (one, part.x))
        where = f"over axis {listed([str(a) for a in axes])}"
        off_centre, slanted = _breaks(part, one, axes), _breaks(part, part.x, axes)
        if centred and orthogonal and off_centre != slanted:
            path, word = ("mean", "ΣD") if off_centre else ("variance", "ΣD·x")
            start = f"{word} = 0 {where}, as behind a normalisation, and g breaks that alone"
            yield Finding(24, 0.55, f"{start}, as when the path through the {path} is missing")


OF_BLOCK = (_gamma, _per_unit, _detached, _broken_identity)
OF_BLOCKS = (_per_unit_and_bias,)
