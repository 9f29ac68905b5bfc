"""The keywords that all derivative functions share: their defaults, checks and documentation."""

from __future__ import annotations

import difflib
import functools
import inspect
import numbers
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fallline.bounds import Bounds
from fallline.space import Space, constant
from fallline.workers import worker_map

__all__ = ["Options", "with_options"]

Array = npt.NDArray[Any]
Method = Literal["central", "forward", "backward", "complex", "adaptive"]

METHODS = ("central", "forward", "backward", "complex", "adaptive")
HIGHEST_ORDER = 6

_PARAMETERS = """\
Other Parameters
----------------
order : int, default 1
    Which derivative: 1 or 2; `derivative` takes up to 6. With 2, pure second derivatives.
method : {"central", "forward", "backward", "complex", "adaptive"}
    Differences on both sides or on one; the complex step (order 1, of f that is analytic in its code: a comparison with
    real differences refuses others); or a ladder of steps, extrapolated to 0.
accuracy : int, default 2
    The error is of order step**accuracy: 2, 4, 6 or 8 for "central", 1 to 8 for "forward" and "backward".
step : number, x's structure, or "shi", optional
    Absolute step. "shi": search one for every entry that fits the noise (Shi, Xie, Xuan & Nocedal 2022). By default
    what balances truncation and rounding for a function that varies on the scale of max(abs(x), typical).
relative : bool, default False
    `step` is relative to max(abs(x), typical).
typical : number or x's structure, default 1.0
    The magnitude below which an entry of x counts as this big, so that x = 0 has a step.
bounds : (low, high), optional
    Numbers or x's structure each, or an object with ``lb`` and ``ub`` (`scipy.optimize.Bounds`). f is never called
    outside: formulas go to one side, with the same accuracy, or steps shrink.
noise : None, "estimate" or number, optional
    The absolute error of one value of f. None: rounding. "estimate": measured along one random direction (Moré & Wild
    2011). Steps are chosen to fit it.
args : tuple, optional
    Further arguments: ``f(x, *args)``.
vectorized : bool, default False
    f takes many points at once: x with a new leading axis, (points, ...), and returns (points, ...).
workers : int or callable, optional
    Evaluate in that many processes (-1: all CPUs), or through a function like ``map``: that of a pool or an executor
    (of mpi4py, too), or one that calls joblib or dask and returns the results, in any order. f must be picklable where
    processes are involved.
max_memory : int, default 2**26
    Bytes of points in one call of a vectorized f.
full_output : bool, default False
    Return a `Derivative`: value, bound of the error, step, noise, number of evaluations and status. Takes more
    evaluations unless the method is "adaptive".
rng : int or numpy.random.Generator, default 0
    Of the random directions for noise and cross-checks.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The keywords of one call, checked."""

    order: int = 1
    method: Method = "central"
    accuracy: int | None = None
    step: Any = None
    relative: bool = False
    typical: Any = 1.0
    bounds: Any = None
    noise: Any = None
    args: tuple[Any, ...] = ()
    vectorized: bool = False
    workers: Any = None
    max_memory: int = 2**26
    full_output: bool = False
    rng: Any = 0

    @property
    def power(self) -> int:
        """Return the accuracy, or its default."""
        return 2 if self.accuracy is None else self.accuracy

    def check(self, owner: str, highest: int = 2) -> None:
        """Raise unless each of them, and their combination, makes sense."""
        if self.method not in METHODS:
            raise ValueError(
                f"{owner}(method): must be one of {', '.join(map(repr, METHODS))}; got {self.method!r}. Pass one of "
                f"these."
            )
        _check_integer(owner, "order", self.order, 1, highest)
        _check_integer(owner, "max_memory", self.max_memory, 1, 2**62)
        if self.method == "complex" and self.order != 1:
            raise ValueError(
                f'{owner}(order): must be 1 for method="complex", which has no cancellation only there; got '
                f'{self.order}. Use method="central" or "adaptive".'
            )
        if self.relative and self.step is None:
            raise ValueError(f"{owner}(relative): must go with a step; got none. Pass step, or leave relative out.")
        if self.method in ("complex", "adaptive"):
            self._check_absent(owner, "accuracy", "step")
        self._check_accuracy(owner)

    def _check_absent(self, owner: str, *names: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise ValueError(
                    f'{owner}({name}): must be left out for method="{self.method}", which chooses by itself; got '
                    f"{getattr(self, name)!r}. Leave it out, or choose another method."
                )

    def _check_accuracy(self, owner: str) -> None:
        _check_integer(owner, "accuracy", self.power, 1, 8)
        if self.method == "central" and self.power % 2:
            raise ValueError(
                f'{owner}(accuracy): must be even for method="central", whose odd terms cancel; got {self.power}. '
                f"Use {self.power + 1}, which costs no more."
            )

    def typical_of(self, owner: str, space: Space) -> Array:
        """Return the typical magnitudes, (size,), or raise."""
        if type(self.typical) is float and 0 < self.typical < np.inf:
            return constant(self.typical, space.size)
        typical = space.spread(f"{owner}(typical)", self.typical)
        _check_all(f"{owner}(typical)", typical, np.isfinite(typical) & (typical > 0), "positive and finite")
        return typical

    def bounds_of(self, owner: str, space: Space) -> Bounds:
        """Return the bounds, or raise."""
        given = self.bounds
        if given is None:
            return Bounds(constant(-np.inf, space.size), constant(np.inf, space.size), is_free=True)
        if hasattr(given, "lb") and hasattr(given, "ub"):
            given = tuple(_one_or_all(bound) for bound in (given.lb, given.ub))
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise TypeError(
                f"{owner}(bounds): must be a pair (low, high), or have lb and ub; got {given!r}. For one range for all "
                f"entries write bounds=(0, 1)."
            )
        low, high = (space.round(space.spread(f"{owner}(bounds)", bound)) for bound in given)
        inside = (low <= space.flat) & (space.flat <= high)
        if not inside.all():
            entry = int(np.argmin(inside))
            raise ValueError(
                f"{owner}(x): must be within the bounds; got {space.flat[entry]} at {space.place(entry)}, outside of "
                f"[{low[entry]}, {high[entry]}]. Move x or widen the bounds."
            )
        return Bounds(low, high, bool(np.isinf(low).all() and np.isinf(high).all()))

    def steps_of(self, owner: str, space: Space, typical: Array) -> Array | None:
        """Return the absolute steps that were asked for, (size,), or None; "shi" is not asked here."""
        if self.step is None:
            return None
        step = space.spread(f"{owner}(step)", self.step)
        _check_all(f"{owner}(step)", step, np.isfinite(step) & (step > 0), "positive and finite")
        return step * np.maximum(np.abs(space.flat), typical) if self.relative else step

    def noise_of(self, owner: str) -> float | None:
        """Return the noise that was given, or None if it is to be found; or raise."""
        if self.noise is None or (isinstance(self.noise, str) and self.noise == "estimate"):
            return None
        is_number = isinstance(self.noise, numbers.Real) and not isinstance(self.noise, (bool, np.bool_))
        if not (is_number and 0 <= float(self.noise) < np.inf):
            raise ValueError(
                f'{owner}(noise): must be None, "estimate" or the absolute error of f; got {self.noise!r}. Pass one of '
                f"these."
            )
        return float(self.noise)

    def check_rng(self, owner: str) -> None:
        """Raise unless it makes a random generator."""
        if type(self.rng) is not int or self.rng < 0:  # making one takes longer than looking
            self.generator(owner)

    def generator(self, owner: str) -> np.random.Generator:
        """Return the random generator, or raise."""
        try:
            return np.random.default_rng(self.rng)
        except (TypeError, ValueError):
            raise TypeError(
                f"{owner}(rng): must be an integer or a numpy.random.Generator; got {self.rng!r}. Pass a seed."
            ) from None


def _one_or_all(bound: Any) -> Any:
    """Return a bound; as a number if it is one in an array, which is what `scipy.optimize.Bounds` makes of it."""
    return bound.item() if isinstance(bound, np.ndarray) and bound.shape == (1,) else bound


def _check_integer(owner: str, name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise ValueError(
            f"{owner}({name}): must be an integer from {low} to {high}; got {value!r}. Pass such a number."
        )


def _check_all(owner: str, values: Array, good: Array, what: str) -> None:
    if not good.all():
        raise ValueError(f"{owner}: must be {what}; got {values[int(np.argmin(good))]}. Correct it.")


def with_options(omit: tuple[str, ...] = (), **defaults: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function that ends with ``options: Options`` the shared keywords: signature, check and documentation.

    Parameters
    ----------
    omit : tuple of str
        Keywords that it does not take.
    **defaults
        Defaults other than those of `Options`.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(function)
        required = [p for p in own.parameters.values() if p.default is p.empty and p.name != "options"]
        base = Options(**defaults)
        shared = {field.name: getattr(base, field.name) for field in fields(Options) if field.name not in omit}

        @functools.wraps(function)
        def wrapper(*args: Any, **keywords: Any) -> Any:
            given = {name: keywords.pop(name) for name in list(keywords) if name in shared}
            for name in keywords:
                if name not in own.parameters or name == "options":
                    _refuse_keyword(function.__name__, name, [p for p in (*own.parameters, *shared) if p != "options"])
            if keywords or len(args) != len(required):
                _check_call(function.__name__, own, args, keywords)
            with worker_map(function.__name__, given.get("workers")) as given["workers"]:
                return function(*args, **keywords, options=Options(**(defaults | given)))

        parameters = [p for p in own.parameters.values() if p.name != "options"]
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default) for name, default in shared.items()
        ]
        wrapper.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapper.__doc__ = _document(inspect.cleandoc(function.__doc__ or ""), shared)
        return wrapper

    return decorate


def _refuse_keyword(owner: str, name: str, known: list[str]) -> None:
    near = difflib.get_close_matches(name, known, 1, 0.75)
    cure = f"Perhaps {near[0]!r} is meant." if near else f"It takes {', '.join(known)}."
    raise TypeError(f"{owner}({name}): must be a keyword that it takes; got {name!r}. {cure}")


def _check_call(owner: str, signature: inspect.Signature, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    try:
        signature.bind(*args, **keywords, options=None)
    except TypeError as error:
        raise TypeError(
            f"{owner}: must be called with its arguments, and options by keyword; got a call with {error}. See "
            f"help(fallline.{owner})."
        ) from None


def _document(doc: str, shared: dict[str, Any]) -> str:
    """Put the shared keywords before the section that follows the parameters and returns."""
    heading, *entries = _split_entries(_PARAMETERS)
    kept = heading + "".join(entry for entry in entries if entry.partition(" :")[0] in shared)
    for section in ("Raises\n", "Notes\n", "References\n", "Examples\n"):
        before, found, after = doc.partition(f"\n{section}")
        if found:
            return f"{before}\n{kept}\n{section}{after}"
    return f"{doc}\n\n{kept}"


def _split_entries(text: str) -> list[str]:
    """Cut a numpydoc section into its heading and its entries."""
    parts: list[str] = []
    for line in textwrap.dedent(text).splitlines(keepends=True):
        if len(parts) < 1 or (" : " in line and not line.startswith(" ")):
            parts.append(line)
        else:
            parts[-1] += line
    return parts
