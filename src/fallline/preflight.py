"""What is asked before any derivative is compared: whether f and its gradient are functions of x at all.

x and the arguments must come back unchanged, and calls must repeat. The gradient must have x's structure and finite
numbers, must not depend on what was called before, and must not be overwritten by the next call.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.causes import CATALOGUE, Cause
from fallline.evaluate import as_python
from fallline.native import is_native
from fallline.space import Space, as_array, kind_of
from fallline.trees import leaves

__all__ = ["Calls", "Preflight", "cause", "preflight", "preflight_map"]

Array = npt.NDArray[Any]

ROUNDING = 64.0  # of eps: how far two runs of threaded sums may be apart


def cause(number: int, text: str, block: str | None = None) -> Cause:
    """Return a cause that is certain."""
    return Cause(number, CATALOGUE[number][0], block, text, 2.0)


class Misshapen(Exception):
    """The gradient has not the structure of x; carries the sentence and, if it tells one, the cause."""

    def __init__(self, text: str, found: Cause | None = None) -> None:
        super().__init__(text)
        self.found = found


class Calls:
    """f and its gradient, called with copies and watched; warnings of NumPy are left to whoever calls.

    Parameters
    ----------
    owner : str
    f, df : callable
        If df is True, f returns the value and the gradient.
    args : tuple
    space : Space
    name, what, of : str
        What messages call df, what it returns, and f.

    Attributes
    ----------
    changed : list of str
        What was found changed after a call, in words.
    nfev, ngev : int
        Calls of f and of the gradient so far.
    """

    def __init__(
        self,
        owner: str,
        f: Any,
        df: Any,
        args: tuple[Any, ...],
        space: Space,
        name: str = "df",
        what: str = "gradient",
        of: str = "f",
    ) -> None:
        if df is not True and (is_native(df) or not callable(df)):
            raise TypeError(
                f"{owner}(df): must be a Python function of x, or True if f returns (value, gradient); got "
                f"{type(df).__name__}. Pass the gradient as one."
            )
        self.owner, self.f, self.df, self.args, self.space = owner, f, df, args, space
        self.name, self.what, self.of = name, what, of
        self._python_f = as_python(owner, f, space, args)
        self.changed: list[str] = []
        self.ngev = self.nfev = 0
        self._seen: set[str] = set()
        self._originals = [np.array(arg, order="K") if isinstance(arg, np.ndarray) else None for arg in args]

    @property
    def value_of(self) -> Any:
        """Return f alone, for differences."""
        if self.df is not True:
            return self.f
        f = self._python_f
        return lambda x, *args: self._pair(f(x, *args))[0]

    def value(self, flat: Array) -> Any:
        """Call f, watched."""
        self.nfev += 1
        return self._watched(self.of, self.value_of if self.df is True else self._python_f, flat)

    def gradient(self, flat: Array) -> Any:
        """Call the gradient, watched; return what it returned."""
        self.ngev += 1
        if self.df is not True:
            return self._watched(self.name, self.df, flat)
        self.nfev += 1
        return self._pair(self._watched(self.of, self._python_f, flat))[1]

    def _pair(self, result: Any) -> tuple[Any, Any]:
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise TypeError(
                f"{self.owner}(f): must return (value, gradient) if df=True; got {type(result).__name__}. Return both, "
                f"or pass the gradient as df."
            )
        return result[0], result[1]

    def _watched(self, name: str, function: Callable[..., Any], flat: Array) -> Any:
        result, x, is_same = self.space.watch(function, self.args, flat)
        if not is_same or self.space.has_single:  # float64 arrays are views of what was given, others are copies
            self._find_change(name, x, self.space.arrange(flat))
        if name not in self._seen:  # who leaves the arguments alone once will do so again
            self._seen.add(name)
            self._restore_args(name)
        return result

    def _restore_args(self, name: str) -> None:
        for i, (arg, original) in enumerate(zip(self.args, self._originals, strict=True)):
            if original is not None and not _same_bytes(arg, original):
                arg[...] = original
                self._seen.discard(name)
                self._note(f"{name} changes args[{i}] in place")

    def _find_change(self, name: str, now: Any, before: Any) -> None:
        for (leaf, array), (_, original) in zip(leaves(now), leaves(before), strict=False):
            if not _same_bytes(array, original):
                self._note(f"{name} changes x in place" + ("" if self.space.is_array else f", in {leaf}"))

    def _note(self, text: str) -> None:
        if text not in self.changed:
            self.changed.append(text)

    def flatten(self, result: Any) -> tuple[Array, float]:
        """Return a gradient as a flat vector of doubles, a copy, and its precision's eps; or raise `Misshapen`."""
        gathered = self.space.gather(result)
        if gathered is not None:
            return gathered
        given = dict(leaves(result)) if not self.space.is_array else {self.space.leaves[0].name: result}
        expected = [leaf.name for leaf in self.space.leaves]
        missing = [self.space.label(leaf) for leaf in self.space.leaves if given.get(leaf.name) is None]
        if missing:
            raise Misshapen(f"the gradient has nothing for {', '.join(map(repr, missing[:5]))}")
        if len(given) > len(expected):
            surplus = [name for name in given if name not in expected]
            raise Misshapen(f"the gradient has {', '.join(map(repr, surplus[:5]))}, which x has not")
        parts, eps = [], 0.0
        for leaf in self.space.leaves:
            array = as_array(given[leaf.name])
            if array.dtype.kind not in "iufb":
                raise TypeError(
                    f"{self.owner}({self.name}): must return real numbers; got {kind_of(given[leaf.name], array)} for "
                    f"{self.space.label(leaf)}. Return arrays of floats in x's structure."
                )
            if array.shape != leaf.shape and not (array.size == leaf.size == 1):
                raise _misshapen(self.space.label(leaf), array.shape, leaf.shape, self.args)
            eps = max(eps, float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0)
            parts.append(array.ravel())
        return np.concatenate(parts, dtype=np.float64), eps

    def place(self, entry: int) -> str:
        """Say in words where an entry of the flat vector is."""
        return self.space.place(entry)


def _same_bytes(a: Any, b: Any) -> bool:
    """Tell whether two arrays or numbers are the same bit by bit, NaN included, as fast as memory allows."""
    if isinstance(a, np.ndarray) and a.flags.c_contiguous and b.flags.c_contiguous and a.dtype.kind in "biufc":
        return a.shape == b.shape and _core.same_bytes(a, b)
    return np.array_equal(a, b, equal_nan=np.asarray(b).dtype.kind in "fc")


def _misshapen(name: str, got: tuple[int, ...], expected: tuple[int, ...], args: tuple[Any, ...]) -> Misshapen:
    text = f"the gradient of {name} has shape {got}, and {name} has {expected}"
    if len(got) > 1 and got[::-1] == expected:
        return Misshapen(text, cause(20, f"{text}: it is transposed.", name))
    if len(got) > len(expected) and got[len(got) - len(expected) :] == expected:
        rows = [i for i, arg in enumerate(args) if isinstance(arg, np.ndarray) and arg.shape[:1] == got[:1]]
        batch = f", as many as args[{rows[0]}] has rows" if rows else ""
        return Misshapen(text, cause(22, f"{text}: it is not summed over its first axis, of {got[0]}{batch}.", name))
    if len(got) == len(expected) and all(a == b or 1 in (a, b) for a, b in zip(got, expected, strict=True)):
        return Misshapen(text, cause(23, f"{text}: a broadcast is summed over the wrong axes, or not at all.", name))
    return Misshapen(text)


@dataclass(slots=True)
class Preflight:
    """What is known before any derivative.

    Attributes
    ----------
    value : float
    gradient : ndarray or None
        Flat; None if there is none to be compared.
    eps : float
        Of the gradient's precision.
    noise : float
        By how much two calls of f differed.
    verdict : str or None
        "fail" or "inconclusive" if there is nothing more to ask.
    reason : str
        The sentence that goes with the verdict.
    """

    value: float = np.nan
    gradient: Array | None = None
    eps: float = 0.0
    noise: float = 0.0
    verdict: str | None = None
    reason: str = ""
    causes: list[Cause] = field(default_factory=list)

    def stop(self, verdict: str, reason: str, found: Cause | None = None) -> Preflight:
        """End here."""
        self.verdict, self.reason = verdict, reason
        if found is not None:
            self.causes.append(found)
        return self


def preflight(calls: Calls, nearby: Array) -> Preflight:
    """Call f three times and the gradient three times, at x and at a point nearby, and compare.

    Raises
    ------
    TypeError, ValueError
        If f does not return one real number, or the gradient no real numbers.
    """
    with np.errstate(all="ignore"):
        return _preflight(calls, nearby)


def _preflight(calls: Calls, nearby: Array) -> Preflight:
    flat = calls.space.flat
    result = Preflight()
    result.value = _number(calls, calls.value(flat))
    if not math.isfinite(result.value):
        return result.stop("inconclusive", f"f is {result.value} at x: choose a point where it is finite")
    again = _number(calls, calls.value(flat))
    result.noise = abs(again - result.value)
    if not result.noise <= ROUNDING * sys.float_info.epsilon * abs(result.value):
        text = f"f(x) is {result.value:.17g} and, called again, {again:.17g}: f is not deterministic."
        return result.stop("inconclusive", "f does not repeat itself", cause(34, text + " Fix its random numbers."))
    try:
        return _ask_gradient(calls, nearby, result)
    except Misshapen as error:
        return result.stop("fail", str(error), error.found)


def preflight_map(calls: Calls, value: Array, outputs: Callable[[Any], Array], nearby: Array) -> Preflight:
    """Ask the same where f has several outputs and yours is a linear map; `value` is f at x.

    Raises
    ------
    TypeError, ValueError
        If yours does not return real numbers of its shape.
    """
    result = Preflight()
    with np.errstate(all="ignore"):
        again = outputs(calls.value(calls.space.flat))
        if not _same(value, again):
            output = int(np.argmax(np.abs(value - again)))
            text = (
                f"output {output} is {value[output]:.17g} and, called again, {again[output]:.17g}: {calls.of} is not "
                f"deterministic. Fix its random numbers."
            )
            return result.stop("inconclusive", f"{calls.of} does not repeat itself", cause(34, text))
        return _ask_gradient(calls, nearby, result)


def _number(calls: Calls, value: Any) -> float:
    if isinstance(value, float):
        return float(value)
    array = as_array(value)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"{calls.owner}(f): must return one real number; got {kind_of(value, array)}. Return a float.")
    if array.size != 1:
        raise ValueError(
            f"{calls.owner}(f): must return one real number; got shape {array.shape}. Use check_jacobian for several "
            f"outputs."
        )
    return float(array.reshape(())[()])


def _ask_gradient(calls: Calls, nearby: Array, result: Preflight) -> Preflight:
    flat = calls.space.flat
    kept = calls.gradient(flat)
    g, result.eps = calls.flatten(kept)
    result.gradient = g
    if not np.isfinite(g).all():
        entry = int(np.argmin(np.isfinite(g)))
        return result.stop("fail", f"the {calls.what} is {g[entry]} at {calls.place(entry)}, where f is finite")
    calls.gradient(nearby)
    kept_since, _ = calls.flatten(kept)
    is_kept = _core.same_bytes(g, kept_since) or np.array_equal(g, kept_since)
    calls.value(nearby)
    after, _ = calls.flatten(calls.gradient(flat))
    if not (is_kept and _same(g, after)):
        return _depends(calls, g, after, result)
    if calls.changed:
        text = f"{' and '.join(calls.changed)}. Work on a copy."
        return result.stop("fail", calls.changed[0], cause(26, text))
    return result


def _depends(calls: Calls, g: Array, after: Array, result: Preflight) -> Preflight:
    """Ask twice more what a gradient depends on that was another one, or was overwritten, after calls elsewhere."""
    first, again = (calls.flatten(calls.gradient(calls.space.flat))[0] for _ in range(2))
    if not _same(first, again):
        if _same(first + g, again):
            text = (
                f"called again at the same x, {calls.name} adds to what it returned before: its buffer is not set to 0."
            )
            return result.stop("fail", f"the {calls.what} does not repeat itself", cause(28, text))
        text = f"called twice at the same x, {calls.name} returns two different gradients: it is not deterministic."
        return result.stop("fail", f"the {calls.what} does not repeat itself", cause(34, text))
    if not _same(g, after):
        what = calls.of if _same(after, first) else calls.name
        text = (
            f"after {what} was called at another point, {calls.name}(x) differs: it uses what the last call of {what} "
            f"left."
        )
        return result.stop("fail", f"the {calls.what} depends on the last call of {what}", cause(27, text))
    text = (
        f"the array that {calls.name} returned changes when {calls.name} is called again: it is a buffer. Return a "
        f"copy."
    )
    return result.stop("fail", f"the next call overwrites the {calls.what}", cause(30, text))


def _same(a: Array, b: Array) -> bool:
    if _core.same_bytes(a, b):
        return True
    return bool((np.abs(a - b) <= ROUNDING * sys.float_info.epsilon * np.abs(a).max(initial=0.0)).all())
