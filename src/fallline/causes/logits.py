"""Mistakes in a softmax whose argument is the parameter itself."""

from collections.abc import Iterator

import numpy as np

from .activations import softmax
from .catalogue import Array
from .evidence import ENOUGH, SLACK, Finding, Part, Scene, best_fit, decimal, digits_of, explains, matches, nearness
from .groups import sums_to_zero


def _logits(part: Part, scene: Scene) -> Iterator[Finding]:
    for axis in range(len(part.shape)):
        if part.shape[axis] < 2 or not part.complete or not sums_to_zero(part, part.d, np.ones(part.shape), (axis,)):
            continue
        temperatures = {1.0, *(v for v in scene.setting.numbers.values() if v > 0)}
        for t in sorted(temperatures | {1 / v for v in temperatures}, key=lambda t: abs(np.log(t))):
            s, words = softmax(part.x / t, axis), "s = softmax(x)" if t == 1 else f"s = softmax(x/{t:g})"
            if s.min() > 1e-12:
                yield from _jacobian(part, s, axis, words)
                yield from _one_hot(part, s, axis, words)


def _jacobian(part: Part, s: Array, axis: int, words: str) -> Iterator[Finding]:
    """Look for a diagonal in the place of the Jacobian s(u - Σs·u), and for a Jacobian too many."""

    def backward(u: Array) -> Array:
        return np.asarray(s * (u - (s * u).sum(axis=axis, keepdims=True)))

    for name, diagonal in (("s(1 - s)", s * (1 - s)), ("s", s)):
        tol = part.tol + s * (s * part.tol / diagonal * 2).sum(axis=axis, keepdims=True)
        if matches(part, part.g + backward(part.g / diagonal) - part.d, tol) and digits_of(part, tol, 0, 8) >= ENOUGH:
            start = f"with {words}, D is u = g/({name}) taken through the whole Jacobian of the softmax"
            yield Finding(16, 0.9, f"{start}: g has its diagonal only")
    for name, model in (("s(D - Σs·D)", backward(part.d)), ("s(1 - s)·D", s * (1 - s) * part.d)):
        if explains(part, model, 1.0, 0, 8):
            start = f"g = {name} with {words} {nearness(part, model)}"
            yield Finding(18, 0.9, f"{start}: the softmax is differentiated once too often")


def _one_hot(part: Part, s: Array, axis: int, words: str) -> Iterator[Finding]:
    """Look for E = c at one entry of each line, the label, and for softmax(s) in the place of s."""
    values = part.e[part.off]
    if np.all(part.off.sum(axis=axis) == 1) and np.ptp(values) <= 2 * SLACK * part.tol[part.off].max():
        c = float(values.mean())
        start = f"E = {c:.5g} at one entry of each line along axis {axis} and 0 elsewhere"
        for rest, number, text in ((0.0, 17, "not subtracted"), (c / 2, 19, "added, not subtracted")):
            fit = best_fit(part, [s], np.where(part.off, rest, 0.0))
            if fit is not None and fit.exact:
                yield Finding(number, 0.91, f"{start}, and g is a softmax otherwise: the one-hot labels are {text}")
    fit = best_fit(part, [softmax(s, axis) - s], part.d)
    if fit is not None and fit.exact and fit.digits >= ENOUGH:
        start = f"g = D + {decimal(float(fit.coefficients[0]))}·(softmax(s) - s) {nearness(part, fit.model)}"
        yield Finding(18, 0.9, f"{start}, with {words}: softmax is applied twice")


OF_BLOCK = (_logits,)
