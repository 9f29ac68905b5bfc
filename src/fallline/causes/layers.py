"""Mistakes inside dense layers, whose inputs are among f's arguments or follow from them.

A layer computes z = A W + b from N rows of inputs, so with Δ, what reaches z from above, the gradient by W is AᵀΔ and
that by b the sum of Δ. Δ is not known, but many mistakes say how the Δ of g and the Δ of D belong together: D is
Aᵀ(Δ·φ'(z)) and g is AᵀΔ when the derivative of φ is missing. These are linear equations for Δ, more than there are
unknowns if the layer has more than N/2 inputs; when they can be solved within the bounds of error, that is evidence
(`_evidence`). Both may contain the same multiple of W besides, from an L2 penalty that is right: one more unknown.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .activations import ACTIVATIONS, DERIVATIVES, SLIPS
from .catalogue import Array
from .evidence import SLACK, Finding, Part, Scene, Told

LARGEST = 50_000  # coefficients of the equations that are still solved
MOST_LAYERS = 40
MOST_INPUTS = 200  # of a layer: where all shapes are equal, any block can follow any other
ENOUGH_OF_LAYER = 6.0  # digits of evidence: some hundred combinations of layers and mistakes are tried

Linear = Callable[[Array], Array]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Hold a dense layer; a bias is one more row of the weights, whose input is 1."""

    weights: Part
    bias: Part | None
    source: str  # the inputs, in words
    a: Array  # inputs, (N, d)
    w: Array  # weights and their gradients, (d, h)
    g: Array
    d: Array
    tol: Array
    decayed: Array  # the weights, 0 for the bias

    @property
    def z(self) -> Array:
        """What the layer computes, (N, h)."""
        return np.asarray(self.a @ self.w)

    @property
    def words(self) -> str:
        """What the layer computes, in words."""
        return f"{self.source}·{self.weights.name}" + (f" + {self.bias.name}" if self.bias else "")

    @property
    def wrong(self) -> list[Part]:
        """The blocks of the layer that are wrong."""
        return [p for p in (self.weights, self.bias) if p is not None and p.off.any()]


def layers(scene: Scene) -> list[Layer]:
    """Return what can be dense layers with a wrong gradient, by shapes alone, those nearest to the arguments first."""
    return list(itertools.islice((layer for layer in _candidates(scene) if layer.wrong), MOST_LAYERS))


def _candidates(scene: Scene) -> Iterator[Layer]:
    """Yield layers of the arguments, then layers of these layers, then of those."""
    arrays = [(name, np.asarray(a)) for name, a in scene.setting.arrays.items()]
    inputs = [
        (name, a.reshape(-1, a.shape[-1]).astype(float)) for name, a in arrays if a.dtype.kind in "fiu" and a.ndim > 1
    ]
    for _ in range(3):
        new: list[Layer] = []
        for (name, a), part in itertools.product(inputs[:MOST_INPUTS], scene.parts):
            for layer in _between(name, a, part, scene):
                new.append(layer)
                yield layer
        inputs = [
            (f"{name}({layer.words})", function(layer.z))
            for layer in new[:MOST_INPUTS]
            if layer.bias is not None or not _bias(layer.weights, layer.w.shape[1], scene)
            for name, function in ACTIVATIONS.items()
            if layer.w.shape[1] > 1 and any(layer.w.shape[1] in p.shape for p in scene.wrong if p is not layer.weights)
        ]


def _bias(weights: Part, h: int, scene: Scene) -> list[Part]:
    """Return the block that is probably the bias: the first after the weights, else the last before, of h entries."""
    at = scene.parts.index(weights)
    row = [p.g.size == h and (len(p.shape) < 2 or p.shape[0] == 1) for p in scene.parts]
    after = [p for p, fits in zip(scene.parts[at + 1 :], row[at + 1 :], strict=True) if fits]
    return after[:1] or [p for p, fits in zip(scene.parts[:at], row[:at], strict=True) if fits][-1:]


def _between(name: str, a: Array, part: Part, scene: Scene) -> Iterator[Layer]:
    rows, d = a.shape
    if not 0 < len(part.shape) <= 2 or rows < 2 or d < 2 or not np.isfinite(a).all() or a.size > 20 * LARGEST:
        return
    columns = [v.reshape(len(v), -1) for v in (part.x, part.g, part.d, part.tol)]
    if part.shape[0] == d:
        for bias in (*_bias(part, columns[0].shape[1], scene), None):
            yield _layer(part, bias, name, a, columns)
    if len(part.shape) == 2 and part.shape[1] == d:
        for bias in (*_bias(part, part.shape[0], scene), None):
            yield _layer(part, bias, name, a, [v.T for v in columns])
    if part.shape[0] == d + 1:  # the bias is the first or the last row
        one = np.ones((rows, 1))
        for both, at in ((np.hstack([one, a]), 0), (np.hstack([a, one]), d)):
            decayed = columns[0].copy()
            decayed[at] = 0
            x, g, d, tol = columns
            yield Layer(part, None, name, both, x, g, d, tol, decayed)


def _layer(part: Part, bias: Part | None, name: str, a: Array, columns: list[Array]) -> Layer:
    decayed = columns[0]
    if bias is not None:
        a = np.hstack([a, np.ones((len(a), 1))])
        rows = (v.reshape(1, -1) for v in (bias.x, bias.g, bias.d, bias.tol))
        columns = [np.vstack([c, row]) for c, row in zip(columns, rows, strict=True)]
        decayed = np.vstack([decayed, np.zeros((1, decayed.shape[1]))])
    x, g, d, tol = columns
    return Layer(part, bias, name, a, x, g, d, tol, decayed)


# Equations for Δ


def _rank(system: Array) -> int:
    singular = np.linalg.svd(system, compute_uv=False)
    return int((singular > 1e-11 * singular[0]).sum()) if singular.size else 0


def _evidence(for_g: tuple[Array, Array], for_d: tuple[Array, Array]) -> float | None:
    """Return the digits of evidence that two systems of equations have one solution; None if they have none.

    Each is a matrix and its right side in units of the bounds of error; the last column is the penalty's. What either
    must meet alone is no evidence. That both have the same penalty is none: any mistake above the layer leaves it.
    """
    system, target = (np.concatenate(pair) for pair in zip(for_g, for_d, strict=True))
    if not (np.isfinite(system).all() and np.isfinite(target).all()):
        return None
    left, singular, _ = np.linalg.svd(system, full_matrices=False)
    left = left[:, singular > 1e-11 * singular[0]]
    rest = target - left @ (left.T @ target)
    if np.linalg.norm(rest) > SLACK * math.sqrt(len(target)):
        return None
    spare = _rank(for_g[0]) + _rank(for_d[0]) - left.shape[1] - bool(system[:, -1].any())
    digits = min(np.log10(np.maximum(np.abs(values) / SLACK, 1.0)).mean() for _, values in (for_g, for_d))
    return float(max(spare, 0) * digits) if digits >= 1 else 0.0  # what is hardly known is met by what is nearly so


def _unit_evidence(layer: Layer, j: int, p: Array, q: Array, a_of_d: Array) -> float | None:
    """Return the digits of evidence for g = AᵀΔp, D = AᵀΔq in unit j; None if there is no such Δ."""
    known = np.isfinite(layer.d[:, j])
    tol = np.where(known, layer.tol[:, j], np.nanmax(layer.tol[:, j], initial=0.0))
    decayed = layer.decayed[:, j : j + 1]
    for_g = (np.hstack([layer.a.T * p[:, j], decayed]) / tol[:, None], layer.g[:, j] / tol)
    for_d = (np.hstack([a_of_d.T * q[:, j], decayed]) / tol[:, None], layer.d[:, j] / tol)
    return _evidence(for_g, (for_d[0][known], for_d[1][known]))


def _consistent(layer: Layer, p: Array, q: Array, a_of_d: Array | None = None) -> float:
    """Return the digits of evidence for g = AᵀΔp, D = AᵀΔq with one Δ, in the units that are wrong; 0 for none."""
    digits = 0.0
    off = (np.abs(layer.g - layer.d) > SLACK * layer.tol).any(axis=0)
    for j in np.argsort(~off) if off.any() and 2 * layer.a.size <= LARGEST else ():
        found = _unit_evidence(layer, j, p, q, layer.a if a_of_d is None else a_of_d)
        if found is None:
            return 0.0
        digits += found * off[j]
    return digits


def _jointly(layer: Layer, p: Linear, q: Linear) -> float:
    """Return the digits of evidence for g = Aᵀp(Δ), D = Aᵀq(Δ), p and q being linear in arrays (..., N, h)."""
    rows, h = len(layer.a), layer.w.shape[1]
    known = np.isfinite(layer.d).ravel()
    if 2 * rows * h * layer.w.size > LARGEST or not known.any():
        return 0.0
    basis = np.eye(rows * h).reshape(-1, rows, h)
    tol = np.where(known, layer.tol.ravel(), np.nanmax(layer.tol))[:, None]
    systems = []
    for function, values, used in ((p, layer.g, slice(None)), (q, layer.d, known)):
        system = np.einsum("nd,knh->dhk", layer.a, function(basis)).reshape(layer.w.size, -1)
        system = np.hstack([system, layer.decayed.reshape(-1, 1)]) / tol
        systems.append((system[used], (values.reshape(-1, 1) / tol)[used, 0]))
    return _evidence(systems[0], systems[1]) or 0.0


def _fits_anything(layer: Layer) -> bool:
    """Tell whether there are enough unknowns for any two gradients, unless a relu takes some away."""
    return bool(len(layer.a) + 1 >= 2 * layer.a.shape[1])


# Hypotheses


def activations(scene: Scene, found: list[Layer]) -> Iterator[Told]:
    """Look for a wrong factor between two layers that is a function of z."""
    for layer, slip in itertools.product(found, SLIPS):
        if _fits_anything(layer) and "relu" not in slip.text:
            continue
        z = layer.z
        p, q = slip.used(z), DERIVATIVES[slip.activation](z)
        if _consistent(layer, p, q) >= ENOUGH_OF_LAYER:
            start = f"one Δ meets both g and D, with z = {layer.words}, a = {slip.activation}(z)"
            yield Told(Finding(slip.number, slip.level, f"{start}: {slip.text}"), layer.wrong)


def masks(scene: Scene, found: list[Layer]) -> Iterator[Told]:
    """Look for a mask on what a layer computes, or on its inputs, that g ignores."""
    for layer, (name, array) in itertools.product(found, scene.setting.arrays.items()):
        mask = np.asarray(array)
        if mask.dtype.kind not in "biuf" or mask.ndim != 2 or len(np.unique(mask)) > 3 or mask.all():
            continue
        one, a = np.ones(layer.z.shape), layer.a.copy()
        text = f"one Δ meets D with the mask {name} and g without: the mask is ignored"
        if mask.shape == layer.z.shape and _consistent(layer, one, mask.astype(float)) >= ENOUGH_OF_LAYER:
            yield Told(Finding(40, 0.91, text), layer.wrong)
        if mask.shape[0] == len(a) and mask.shape[1] in (a.shape[1], a.shape[1] - 1):
            a[:, : mask.shape[1]] *= mask
            if _consistent(layer, one, one, a) >= ENOUGH_OF_LAYER:
                yield Told(Finding(40, 0.9, text), layer.wrong)


def normalisations(scene: Scene, found: list[Layer]) -> Iterator[Told]:
    """Look for a missing path, or a wrong γ, in a normalisation of what a layer computes."""
    small = [v for v in scene.setting.numbers.values() if 0 < v < 0.01]
    for layer in found:
        if layer.bias is not None and layer.bias.complete and layer.bias.zero.all():  # all that is normalised lacks it
            yield from _paths(layer, _by_unit(layer), "the batch", True)
        for groups, words in _normalised_groups(layer, scene):
            yield from _paths(layer, _by_row(layer, groups), words, scene.spared or groups > 1)
            for eps in dict.fromkeys((*small, 1e-5, 0.0, 1e-8, 1e-3, 1e-6, 1e-12)):
                yield from _scales(layer, groups, eps, scene)


def _normalised_groups(layer: Layer, scene: Scene) -> Iterator[tuple[int, str]]:
    """Yield into how many groups the units of every row may be normalised: the gradients of each group cancel."""
    h = layer.w.shape[1]
    for groups in dict.fromkeys((1, *(round(v) for v in scene.setting.numbers.values() if v == round(v) > 1))):
        if h % groups == 0 and h > groups:
            total, bound = (v.reshape(len(v), groups, -1).sum(axis=2) for v in (layer.d, layer.tol))
            if np.all(np.abs(total) <= SLACK * bound):
                yield groups, "the units" if groups == 1 else f"the units in {groups} groups"


class _Paths(NamedTuple):
    """What the paths through the means and the variances of some units add to their gradients."""

    units: slice
    mean: Array  # (d, units, unknowns)
    variance: Array


def _by_unit(layer: Layer) -> Iterator[_Paths]:
    """Yield the paths of a normalisation over the rows: one mean, one variance for every unit."""
    centred = layer.z - layer.z.mean(axis=0)
    for j, column in enumerate(centred.T):
        yield _Paths(slice(j, j + 1), layer.a.sum(axis=0)[:, None, None], (layer.a.T @ column)[:, None, None])


def _by_row(layer: Layer, groups: int) -> Iterator[_Paths]:
    """Yield the paths of a normalisation over the units of a group: one mean, one variance for every row."""
    h = layer.w.shape[1] // groups
    for k in range(groups):
        units = slice(k * h, (k + 1) * h)
        centred = layer.z[:, units] - layer.z[:, units].mean(axis=1, keepdims=True)
        one = np.ones_like(centred)
        yield _Paths(units, *(np.einsum("nd,nh->dhn", layer.a, v) for v in (one, centred)))


def _paths(layer: Layer, paths: Iterator[_Paths], over: str, is_certain: bool) -> Iterator[Told]:
    """Look for a missing path: E is made of what the path adds.

    Below a softmax whose targets do not add up to 1, E is what a missing path through the mean of the units makes it;
    only a right block tells that they do (`is_certain`).
    """
    known = list(paths) if layer.a.size * layer.w.shape[1] <= 4 * LARGEST else []
    for path in ("mean", "variance", "mean and the variance"):
        digits = 0.0
        for part in known:
            columns = [getattr(part, word) for word in ("mean", "variance") if word in path]
            found = _span_digits(layer, part.units, np.concatenate(columns, axis=2))
            digits = digits + found if found is not None else -math.inf
        if digits >= ENOUGH_OF_LAYER:
            start = f"E is what {layer.words}, normalised over {over}, sends back through the {path}"
            if is_certain or path != "mean":
                yield Told(Finding(24, 0.9, f"{start}: the path through the {path} is missing"), layer.wrong)
            return


def _span_digits(layer: Layer, units: slice, columns: Array) -> float | None:
    """Return the digits of evidence that E of some units is a combination of columns (d, units, n), None if not."""
    e, tol = (layer.g - layer.d)[:, units].ravel(), layer.tol[:, units].ravel()
    known = np.isfinite(e)
    if not known.any():
        return None
    e, design = (e / tol)[known], columns.reshape(len(tol), -1)[known] / tol[known, None]
    left, singular, _ = np.linalg.svd(design, full_matrices=False)
    left = left[:, singular > 1e-11 * singular[0]]
    if np.abs(e - left @ (left.T @ e)).max() > SLACK:
        return None
    logs = np.sort(np.log10(np.maximum(np.abs(e) / SLACK, 1.0)))
    return float(logs[: max(len(logs) - left.shape[1], 0)].sum())


def _scales(layer: Layer, groups: int, eps: float, scene: Scene) -> Iterator[Told]:
    whole = _standardise_back(layer.z, groups, eps)
    for gamma in scene.parts:
        if gamma.x.size != layer.w.shape[1] or gamma in (layer.bias, layer.weights):
            continue
        once, twice = (_scaled(whole, gamma.x.ravel() ** k) for k in (1, 2))
        if _jointly(layer, whole, once) >= ENOUGH_OF_LAYER:
            text = f"one Δ meets D with {gamma.name} and g without: the scale of a normalisation is missing"
            yield Told(Finding(25, 0.9, text), layer.wrong)
        elif _jointly(layer, twice, once) >= ENOUGH_OF_LAYER:
            text = f"one Δ meets D with {gamma.name} and g with its square: the scale of a normalisation is there twice"
            yield Told(Finding(25, 0.9, text), layer.wrong)


def _standardise_back(z: Array, groups: int, eps: float) -> Linear:
    """Return the way back through a normalisation of every row, in groups of units."""
    z = z.reshape(len(z), groups, -1)
    centred = z - z.mean(axis=2, keepdims=True)
    std = np.sqrt((centred**2).mean(axis=2, keepdims=True) + eps)
    unit = centred / std

    def back(u: Array) -> Array:
        v = u.reshape(*u.shape[:-1], groups, -1)
        v = v - v.mean(axis=-1, keepdims=True) - unit * (v * unit).mean(axis=-1, keepdims=True)
        return np.asarray((v / std).reshape(u.shape))

    return back


def _scaled(back: Linear, scale: Array) -> Linear:
    return lambda u: back(u * scale)


def _through(w: Array, slope: Array) -> Linear:
    return lambda u: (u @ w) * slope


def transposed(scene: Scene, found: list[Layer]) -> Iterator[Told]:
    """Look for W for Wᵀ on the way from a square layer, whose own gradient is right, to the one before it."""
    for layer, above in itertools.product(found, scene.parts):
        n = layer.w.shape[1]
        if above.shape != (n, n) or above is layer.weights or n < 2 or above.off.any():
            continue
        for act, w in itertools.product(ACTIVATIONS, (above.x, above.x.T)):
            if _fits_anything(layer) and act != "relu":
                continue
            slope = DERIVATIVES[act](layer.z)
            if _jointly(layer, _through(w, slope), _through(w.T, slope)) >= ENOUGH_OF_LAYER:
                text = f"one Δ meets both g and D if g goes back through the transpose of {above.name}"
                yield Told(Finding(21, 0.9, f"{text}: {above.name} is transposed wrongly"), layer.wrong)


OF_LAYERS = (activations, masks, normalisations, transposed)
