"""Mistakes at the output of a dense layer with known labels or targets, and in the sum over its rows.

With the labels, what reaches the output from a usual loss is known up to a factor: D tells which loss it is, g what was
made of it. An L2 penalty that is right may be in both.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .activations import softmax
from .catalogue import Array
from .evidence import ENOUGH, SLACK, Finding, Part, Scene, Told
from .layers import Layer


class _Slip(NamedTuple):
    right: str
    used: str
    number: int
    text: str


_SLIPS = [
    _Slip("s - y", "s", 17, "the one-hot labels are not subtracted"),
    _Slip("s - y", "s + y", 19, "the labels are added, not subtracted"),
    _Slip("s - y", "-y", 19, "the probabilities are missing in the derivative of the log-softmax"),
    _Slip("s - y", "J(s - y)", 18, "the softmax is differentiated once too often"),
    _Slip("s - y", "s(1 - s)(s - y)", 18, "the softmax is differentiated once too often, and its diagonal only"),
    _Slip("s - y", "s(s - y)", 18, "the probabilities are multiplied in once too often"),
    _Slip("s - y", "softmax(s) - y", 18, "softmax is applied twice"),
    _Slip("J(s - y)", "s(1 - s)(s - y)", 16, "only the diagonal of the softmax Jacobian is used"),
    _Slip("J(s - y)", "s(s - y)", 16, "the sum over the classes in the softmax Jacobian is missing"),
    _Slip("J(s - y)", "s - y", 14, "the derivative of the softmax is missing"),
    _Slip("J(s - y)", "J(J(s - y))", 18, "the softmax is differentiated once too often"),
    _Slip("z - y", "z", 17, "the targets are not subtracted"),
    _Slip("z - y", "z + y", 2, "the sign of the targets is flipped"),
]


def _targets(layer: Layer, scene: Scene) -> Iterator[tuple[str, Array]]:
    rows, h = layer.z.shape
    for name, array in scene.setting.arrays.items():
        a = np.asarray(array)
        if a.dtype.kind in "iu" and a.shape == (rows,) and h > 1 and a.min() >= 0 and a.max() < h:
            yield name, np.eye(h)[a]
        elif a.dtype.kind in "iufb" and a.size == rows * h and a.ndim and len(a) == rows:
            yield name, a.reshape(rows, h).astype(float)


def _deltas(z: Array, y: Array, numbers: dict[str, float]) -> dict[str, Array]:
    """Return what reaches the outputs z from the usual losses, right and wrong, by name."""
    s, r = softmax(z), z - y

    def back(u: Array) -> Array:
        return np.asarray(s * (u - (s * u).sum(axis=-1, keepdims=True)))

    found = {
        "s - y": s - y,
        "s": s,
        "s + y": s + y,
        "-y": -y,
        "softmax(s) - y": softmax(s) - y,
        "s(s - y)": s * (s - y),
    }
    found |= {"J(s - y)": back(s - y), "J(J(s - y))": back(back(s - y)), "s(1 - s)(s - y)": s * (1 - s) * (s - y)}
    found |= {"z - y": r, "z": z, "z + y": z + y}
    return found | {f"clip(z - y, ±{name})": np.clip(r, -v, v) for name, v in numbers.items() if v > 0}


def losses(scene: Scene, found: list[Layer]) -> Iterator[Told]:
    """Compare the gradients of an output layer with those of the usual losses."""
    for layer in found:
        for name, y in _targets(layer, scene):
            deltas = _deltas(layer.z, y, scene.setting.numbers)
            clip = "the clip of the residuals is ignored"
            slips = [*_SLIPS, *(_Slip(key, "z - y", 40, clip) for key in deltas if "clip" in key)]
            fits = {right: _fit_of_d(layer, layer.a.T @ deltas[right]) for right in {s.right for s in slips}}
            for slip in (
                s for s in slips if fits[s.right] and _fits_g(layer, fits[s.right], layer.a.T @ deltas[s.used])
            ):
                given = f"with z = {layer.words} and y = {name}"
                start = f"Δ is {slip.right} in D and {slip.used} in g, up to one factor, {given}"
                yield Told(Finding(slip.number, 0.93, f"{start}: {slip.text}"), layer.wrong)


def _fit_of_d(layer: Layer, right: Array) -> tuple[float, float] | None:
    """Return c and b of D = c·right + b·W, if that is exact and has more equations than it needs."""
    known = np.isfinite(layer.d)
    design = np.stack([right[known], layer.decayed[known]], axis=-1) / layer.tol[known][:, None]
    target = (layer.d / layer.tol)[known]
    if len(target) < 4 or not np.abs(target).max() > 1e4:
        return None
    scale = np.maximum(np.linalg.norm(design, axis=0), np.finfo(float).tiny)
    c, b = np.linalg.lstsq(design / scale, target, rcond=1e-12)[0] / scale
    return (float(c), float(b)) if np.abs(design @ np.array([c, b]) - target).max() <= SLACK else None


def _fits_g(layer: Layer, factors: tuple[float, float] | None, used: Array) -> bool:
    """Tell whether g = c·used + b·W."""
    c, b = factors or (0.0, 0.0)
    tol = 2 * SLACK * np.nanmax(layer.tol) * max(1.0, np.abs(c * used).max() / np.nanmax(np.abs(layer.d)))
    return bool(np.all(np.abs(layer.g - c * used - b * layer.decayed) <= tol))


def counts(scene: Scene, found: list[Layer]) -> Iterator[Told]:
    """Look for E proportional to the number of examples of every class, in the bias of a softmax."""
    for part in (p for p in scene.wrong if p.complete and p.g.size > 1 and p.g.size == max(p.shape)):
        for name, array in scene.setting.arrays.items():
            y = np.asarray(array)
            if y.dtype.kind not in "iu" or y.ndim != 1 or y.min(initial=0) < 0 or y.max(initial=0) >= part.g.size:
                continue
            n = np.bincount(y, minlength=part.g.size).reshape(part.shape)
            for c, number, text in _label_factors(len(y)):
                if np.all(np.abs(part.e - c * n) <= SLACK * part.tol):
                    start = f"E = {c:.5g} times the number of each class in {name}"
                    yield Told(Finding(number, 0.9, f"{start}: the one-hot labels are {text}"), [part])


def _label_factors(n: int) -> Iterator[tuple[float, int, str]]:
    for c in {1.0, 1 / max(n, 1)}:
        yield c, 17, "not subtracted"
        yield 2 * c, 19, "added, not subtracted"


# Rows and steps


def rows(scene: Scene, found: list[Layer]) -> Iterator[Told]:
    """Look for g, or E, made of a single row or step of the inputs."""
    for part in (p for p in scene.wrong if len(p.shape) == 2 and p.complete):
        for name, array in scene.setting.arrays.items():
            a = np.asarray(array)
            if a.dtype.kind == "f" and a.ndim in (2, 3) and 2 <= len(a) <= 64 and a.shape[-1] in part.shape:
                yield from _steps(part, name, a, part.shape.index(a.shape[-1]))


def _steps(part: Part, name: str, a: Array, axis: int) -> Iterator[Told]:
    g, e, d = (v if axis == 0 else v.T for v in (part.g, part.e, part.d))
    tol = float(part.tol.max())
    for t, step in enumerate(a):
        place = f"{'step' if a.ndim == 3 else 'row'} {t} of {name}"
        inputs = np.atleast_2d(step).T
        if _in_span(d, inputs, tol):
            continue
        if _in_span(g, inputs, tol):
            yield Told(
                Finding(29, 0.75, f"g is made of {place} alone, D of all: the contributions are not added up"), [part]
            )
        if _in_span(e, inputs, tol):
            level = 0.78 if t in (0, len(a) - 1) else 0.7
            yield Told(Finding(32, level, f"E is made of {place} alone: it is left out, or counted wrongly"), [part])


def _in_span(values: Array, inputs: Array, tol: float) -> bool:
    """Tell whether the columns of `values` are combinations of the inputs, within the bounds and significantly."""
    basis, singular, _ = np.linalg.svd(inputs, full_matrices=False)
    basis = basis[:, singular > 1e-9 * singular[0]]
    rest = values - basis @ (basis.T @ values)
    used = int((np.abs(values) > SLACK * tol).any(axis=1).sum())  # zeros may have another reason
    spare = max(used - basis.shape[1], 0) * values.shape[1]
    digits = spare * math.log10(max(float(np.abs(values).max()) / (SLACK * tol), 1.0))
    return digits >= ENOUGH + 2 and float(np.abs(rest).max()) <= SLACK * tol * math.sqrt(len(inputs))


OF_LAYERS = (losses, counts, rows)
