"""Minimizing a function of an array: any optimizer, in one native loop."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.blindfolded import SPSA, default_rng, hike
from fallline.evaluate import check_args
from fallline.native import as_objective
from fallline.optim import optimizers
from fallline.optimizer import Optimizer
from fallline.oracle import DIFFERENCES, Oracle
from fallline.region import Region
from fallline.result import STATUSES, Result

__all__ = ["NO_SCHEDULE", "Settings", "build_optimizer", "check_start", "minimize", "outcome"]

Array = npt.NDArray[np.float64]

_FIRST_CHUNK = 256  # steps of a native function, before it is known how long they take
_CHUNK_SECONDS = 0.01  # between looks at the clock, at Ctrl-C and at the bar
NO_SCHEDULE = np.zeros(0, np.uintp), np.zeros((0, 0))
_SPSA_STEP = 0.1
_HIKER_LENGTH = 0.1
_HIKER_XTOL = 1e-8


def minimize(
    fun: Any,
    x0: npt.ArrayLike,
    args: tuple[Any, ...] = (),
    *,
    jac: Any = None,
    method: str = "adam",
    bounds: Any = None,
    projection: Callable[[Array], Array] | None = None,
    maxiter: int = 10_000,
    gtol: float | None = 1e-5,
    ftol: float | None = None,
    xtol: float | None = None,
    maxtime: float | None = None,
    maximize: bool = False,
    callback: Callable[[Result], Any] | None = None,
    every: int = 1,
    record: str | int | None = None,
    step: float | None = None,
    rng: Any = None,
    progress: bool = False,
    **hyperparameters: Any,
) -> Result:
    """Minimize a function by gradient descent, with any of the optimizers.

    Parameters
    ----------
    fun : callable, Compiled, or native function
        ``f(x, *args)`` -> a real number. What `fallline.compile` returns, or a C function ``double f(const double *x,
        size_t n, double *gradient, void *user_data)`` (of ctypes, Numba, or a `scipy.LowLevelCallable`) that returns
        the value and fills the gradient, is minimized without any Python in between.
    x0 : array_like of real numbers
        The start, of any shape; it is not changed.
    args : tuple
        Further arguments of `fun` and `jac`.
    jac : callable, True, {"2-point", "3-point", "cs", "spsa"}, optional
        The gradient: a function of x; True if `fun` returns (value, gradient); or how to estimate it, by differences
        (see `fallline.gradient`), or from two values whatever the size of x (simultaneous perturbation, Spall 1992).
        Default: what a compiled or native function has, else "3-point".
    method : str
        A name of `fallline.optimizers`, or "hiker": try random steps, keep those that lead down (no gradient;
        Rechenberg 1973).
    bounds : sequence of (low, high), or scipy.optimize.Bounds, optional
        After every step x goes to the nearest point within; f is never evaluated outside.
    projection : callable, optional
        The same for any region: x -> the nearest allowed point.
    maxiter : int
        The greatest number of steps.
    gtol : float, optional
        Stop where no entry of the gradient is larger; with bounds or a projection P, of P(x - gradient) - x. Not used
        with "spsa", whose gradients are noisy.
    ftol : float, optional
        Stop where a step changes f by at most ftol*max(1, abs(f)).
    xtol : float, optional
        Stop where a step changes no entry of x by more than xtol*max(1, abs(x)). For the hiker: where the steps are
        shorter than this; by default 1e-8.
    maxtime : float, optional
        Seconds, to some hundredths.
    maximize : bool
        Go uphill.
    callback : callable, optional
        ``callback(intermediate_result)`` with x, fun, nit and nfev at every `every`-th step. StopIteration ends the
        descent.
    every : int
        See `callback`.
    record : "path" or int, optional
        Return the visited points: all of them, or those of every so many steps. The start is the first.
    step : float, optional
        That of the differences, chosen by `fallline.gradient` by default; for "spsa" the first perturbation, 0.1 by
        default.
    rng : None, int or numpy.random.Generator
        Of "spsa" and "hiker".
    progress : bool
        Show a live bar on the terminal (standard error); needs the extra ``progress``.
    **hyperparameters
        lr and others of the optimizer, with its defaults; schedules are allowed. The hiker has lr only, the length of
        the first steps, 0.1 by default.

    Returns
    -------
    Result
        x, fun, jac (gradient), success, status, message, nit, nfev, njev, and path if it was recorded. x is the best
        point that was seen, also after divergence; fun and jac are those at x.

        ====== ======= ==================================================
        status success what ended it
        ====== ======= ==================================================
        0      yes     gtol is reached
        1      yes     ftol is reached
        2      yes     xtol is reached
        3      no      maxiter is reached
        4      no      maxtime is reached
        5      no      the callback raised StopIteration
        6      no      the value or the gradient is not finite
        7      no      maxiter or maxtime, and no step was better than x0
        ====== ======= ==================================================

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, f or its gradient is not finite at x0, or f returns something else than a real
        number, or the gradient another shape than x's. What `fun`, `jac` and `callback` raise is passed on; so is
        KeyboardInterrupt, within hundredths of a second also from a native loop.

    Notes
    -----
    Everything is float64. The steps are those of the optimizer's class, bit for bit. Gradient descent has no line
    search: a learning rate that is too large diverges, and momentum passes places where a step is small.

    Examples
    --------
    >>> import fallline as fl
    >>> g = fl.compile("100*(y - x**2)**2 + (1 - x)**2")
    >>> result = fl.minimize(g, [-1.2, 1.0], method="adam", lr=0.01, maxiter=100_000)
    >>> result.success, result.x.round(3)
    (True, array([1., 1.]))
    >>> fl.minimize(lambda x: ((x - 3) ** 2).sum(), [0.0, 9.0], method="sgd", lr=0.1).x.round(3)
    array([3., 3.])
    """
    x = check_start("minimize", x0)
    stops = Settings("minimize", maxiter, gtol, ftol, xtol, maxtime, every, record)
    if callback is not None and not callable(callback):
        raise TypeError(
            f"minimize(callback): must be callable; got {type(callback).__name__}. Pass a function of one result."
        )
    region = Region("minimize", x, bounds, projection)
    args = check_args("minimize", args)
    watch = _Watch(stops, callback, x.shape)
    with _bar(watch, maxiter) if progress else nullcontext():
        if method == "hiker":
            if jac is not None:
                raise ValueError(f'minimize(jac): must be left out with "hiker"; got {jac!r}. He only sees values.')
            values = Oracle("minimize", _callable(fun), True, args, x.shape)
            generator = default_rng("minimize", rng)
            return _hike(values, x, region, watch, maximize, generator, _hiker_length(hyperparameters))
        objective, oracle = _objective(fun, jac, args, x, region, step, rng, maximize)
        optimizer = build_optimizer("minimize", method, x, maximize, hyperparameters)
        return _descend(objective, oracle, optimizer, x, region, watch, maximize)


# ---- arguments


@dataclass(frozen=True, slots=True)
class Settings:
    """When to stop and what to record, checked."""

    owner: str
    maxiter: int
    gtol: float | None
    ftol: float | None
    xtol: float | None
    maxtime: float | None = None
    every: int = 1
    record: str | int | None = None

    def __post_init__(self) -> None:
        self._check_count("maxiter", self.maxiter, 0)
        self._check_count("every", self.every, 1)
        if self.record not in (None, "path"):
            self._check_count("record", self.record, 1, ' or "path"')
        for name in ("gtol", "ftol", "xtol", "maxtime"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0):
                raise ValueError(
                    f"{self.owner}({name}): must be a number >= 0 or None; got {value!r}. None switches it off."
                )

    def _check_count(self, name: str, value: Any, least: int, also: str = "") -> None:
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
            raise ValueError(
                f"{self.owner}({name}): must be an integer >= {least}{also}; got {value!r}. Pass a number of steps."
            )

    @property
    def stride(self) -> int:
        """Steps between recorded points; 0: none."""
        return 0 if self.record is None else 1 if self.record == "path" else int(self.record)

    @property
    def tolerances(self) -> tuple[float, float, float]:
        """What a `Descent` takes: gtol, ftol, xtol, or -1."""
        gtol, ftol, xtol = (-1.0 if one is None else float(one) for one in (self.gtol, self.ftol, self.xtol))
        return gtol, ftol, xtol


def check_start(owner: str, x0: Any) -> Array:
    """Return a copy of the start, or raise."""
    given = np.asarray(x0)
    if given.dtype.kind not in "biuf" or given.size == 0:
        what = "an empty array" if given.dtype.kind in "biuf" else given.dtype
        raise TypeError(f"{owner}(x0): must be real numbers; got {what}. Pass an array of floats.")
    x = np.array(given, dtype=np.float64, order="C")
    if not np.isfinite(x).all():
        entry = np.flatnonzero(~np.isfinite(x))[0]
        raise ValueError(f"{owner}(x0): must be finite; got {x.flat[entry]} at entry {entry}. Choose another start.")
    return x


def build_optimizer(owner: str, method: Any, x: Array, maximize: bool, hyperparameters: dict[str, Any]) -> Optimizer:
    """Return the optimizer of that name over x, or raise."""
    known = optimizers()
    if method not in known:
        also = [] if owner == "race" else ["hiker"]  # which has no class, and takes no gradient
        near = difflib.get_close_matches(str(method).lower(), [*known, *also], n=2)
        cure = f"Did you mean {' or '.join(map(repr, near))}?" if near else "See fallline.optimizers()."
        names = ", ".join(known) + ', or "hiker"' * len(also)
        raise ValueError(f"{owner}(method): must be one of {names}; got {method!r}. {cure}")
    lr = hyperparameters.get("lr")
    if isinstance(lr, (int, float)) and not lr > 0:
        raise ValueError(f"{owner}(lr): must be > 0; got {lr!r}. Leave it out for the optimizer's default.")
    return known[method](x, maximize=maximize, **hyperparameters)


def _callable(fun: Any) -> Callable[..., Any]:
    if not callable(fun):
        raise TypeError(
            f"minimize(fun): must be callable; got {type(fun).__name__}. Pass a function of x, or compile it."
        )
    function: Callable[..., Any] = fun
    return function


def _objective(
    fun: Any, jac: Any, args: tuple[Any, ...], x: Array, region: Region, step: float | None, rng: Any, maximize: bool
) -> tuple[_core.Objective, Oracle | SPSA | None]:
    """Return what the native loop calls, and the Python behind it, if there is some."""
    native = as_objective("minimize", fun)
    if native is not None and jac in (None, True):
        _check_native(fun, args, x)
        _check_step(jac, step)
        return native, None
    if native is not None and not isinstance(fun, _core.Tape):
        raise TypeError(f"minimize(jac): must be left out with a native function; got {jac!r}. It fills the gradient.")
    jac = "3-point" if jac is None else jac
    if jac is not True and not callable(jac) and jac not in DIFFERENCES and jac != "spsa":
        near = difflib.get_close_matches(str(jac), [*DIFFERENCES, "spsa"], n=1)
        cure = f"Did you mean {near[0]!r}?" if near else "Pass a function that returns the gradient."
        raise ValueError(
            f'minimize(jac): must be a function, True, "2-point", "3-point", "cs" or "spsa"; got {jac!r}. {cure}'
        )
    _check_step(jac, step)
    oracle = Oracle("minimize", _callable(fun), jac, args, x.shape, region.box, step)
    if jac != "spsa":
        return _core.Objective(oracle, None), oracle
    project = None if region.is_everywhere else region.project
    spsa = SPSA(oracle.value, _SPSA_STEP if step is None else step, default_rng("minimize", rng), maximize, project)
    return _core.Objective(spsa, None), spsa


def _check_step(jac: Any, step: Any) -> None:
    if step is None:
        return
    if jac not in ("2-point", "3-point", "spsa"):
        raise ValueError(
            f'minimize(step): must be left out unless jac is "2-point", "3-point" or "spsa"; got {step!r}. '
            "It is that of the differences."
        )
    if isinstance(step, bool) or not isinstance(step, (int, float)) or not 0 < step < math.inf:
        raise ValueError(f"minimize(step): must be a finite number > 0; got {step!r}. Leave it out for the default.")


def _check_native(fun: Any, args: tuple[Any, ...], x: Array) -> None:
    if args:
        raise TypeError(
            f"minimize(args): must be left out with a native or compiled function; got {len(args)}. Put constants into "
            "its user_data, or into the expression."
        )
    if x.ndim != 1 or (isinstance(fun, _core.Tape) and x.size != len(fun.variables)):
        shape = f"({len(fun.variables)},), for {', '.join(fun.variables)}" if isinstance(fun, _core.Tape) else "(n,)"
        raise ValueError(
            f"minimize(x0): must have shape {shape} with this function; got shape {x.shape}. Pass one number for each "
            "variable."
        )


def _hiker_length(hyperparameters: dict[str, Any]) -> float:
    unknown = [name for name in hyperparameters if name != "lr"]
    length = hyperparameters.get("lr", _HIKER_LENGTH)
    if unknown:
        raise TypeError(
            f'minimize: must be given lr only with "hiker"; got {unknown[0]!r}. It is the length of the first step.'
        )
    if isinstance(length, bool) or not isinstance(length, (int, float)) or not 0 < length < math.inf:
        raise ValueError(
            f"minimize(lr): must be a finite number > 0; got {length!r}. It is the length of the first step."
        )
    return float(length)


# ---- what happens between the steps


class _Watch:
    """The callback, the clock, the path and the bar."""

    def __init__(self, stops: Settings, callback: Callable[[Result], Any] | None, shape: tuple[int, ...]) -> None:
        self.stops, self.callback, self.shape = stops, callback, shape
        self.end = math.inf if stops.maxtime is None else time.perf_counter() + stops.maxtime
        self.draw: Callable[[int, float], None] | None = None
        self.parts: list[Array] = []

    def room(self, nit: int, chunk: int) -> int:
        """Return how many steps to take at once."""
        left = self.stops.maxiter - nit
        until_callback = left if self.callback is None else self.stops.every - nit % self.stops.every
        return min(chunk, left, until_callback)

    def look(self, x: Array, fun: float, nit: int, nfev: int) -> str | None:
        """Return what ends the descent now, if anything does."""
        if self.draw is not None:
            self.draw(nit, fun)
        if self.callback is not None and nit and nit % self.stops.every == 0:
            try:
                self.callback(Result(x=x.reshape(self.shape).copy(), fun=fun, nit=nit, nfev=nfev))
            except StopIteration:
                return "callback"
        if nit >= self.stops.maxiter:
            return "maxiter"
        return "maxtime" if time.perf_counter() >= self.end else None

    def path(self) -> dict[str, Any]:
        return {"path": np.concatenate(self.parts).reshape(-1, *self.shape)} if self.stops.stride else {}


@contextmanager
def _bar(watch: _Watch, maxiter: int) -> Iterator[None]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'minimize(progress): rich must be installed; got none. Run: pip install "fallline[progress]"', name="rich"
        ) from None
    value = TextColumn("{task.fields[value]}", markup=False)
    columns = BarColumn(), MofNCompleteColumn(), value, TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        task, due = bar.add_task("", total=maxiter, value=""), 0.0

        def draw(nit: int, fun: float) -> None:
            nonlocal due
            bar.update(task, completed=nit, value=f"f {fun:.6g}")
            if time.perf_counter() >= due:
                bar.refresh()
                due = time.perf_counter() + 0.1

        watch.draw = draw
        try:
            yield
        finally:
            bar.refresh()


# ---- the descents


def outcome(reason: str, nit: int, start: float, best: float) -> dict[str, Any]:
    """Return success, status and message; a descent without a better point than its start says so."""
    if reason in ("maxiter", "maxtime") and nit and best == start:
        reason = "no descent"
    status, success, message = STATUSES[reason]
    return {"success": success, "status": status, "message": message}


def _descend(
    objective: _core.Objective,
    oracle: Oracle | SPSA | None,
    optimizer: Optimizer,
    x: Array,
    region: Region,
    watch: _Watch,
    maximize: bool,
) -> Result:
    gtol, ftol, xtol = watch.stops.tolerances
    is_blind = isinstance(oracle, SPSA)
    tolerances = (-1.0 if is_blind else gtol), ftol, xtol
    descent = _core.Descent(optimizer._plan, objective, region.native, *tolerances, maximize)
    descent.start()
    if descent.stop == "diverged":
        raise ValueError(
            f"minimize(fun): must be finite at x0, and its gradient too; got {descent.value} and "
            f"{descent.best_gradient}. Choose another start."
        )
    start, flat, stride = descent.value, x.reshape(-1), watch.stops.stride
    watch.parts.append(flat[None].copy())
    chunk = _FIRST_CHUNK if objective.is_native else 1  # a Python function may take long
    reason = watch.look(flat, start, 0, descent.n_evaluations)
    while descent.stop == "going" and reason is None:
        room = watch.room(descent.n_steps, chunk)
        began = time.perf_counter()
        took = advance(optimizer, descent, room, stride)
        if stride and took is not None:
            watch.parts.append(took)
        reason = watch.look(flat, descent.value, descent.n_steps, descent.n_evaluations)
        seconds = time.perf_counter() - began
        if seconds < _CHUNK_SECONDS / 2 and room == chunk:
            chunk *= 2
        elif seconds > 2 * _CHUNK_SECONDS:
            chunk = max(1, chunk // 2)
    if descent.stop != "going":
        reason = descent.stop
    best, best_x = descent.best, descent.best_x
    jac: Array | None = descent.best_gradient.reshape(x.shape)
    nfev = njev = descent.n_evaluations
    if isinstance(oracle, SPSA):
        best, best_x, jac, nfev, start = oracle.best, oracle.best_x, None, 2 * njev, math.nan
    elif oracle is not None:
        nfev, njev = oracle.nfev, oracle.njev
    assert reason is not None
    return Result(
        x=best_x.reshape(x.shape), fun=best, jac=jac, **outcome(reason, descent.n_steps, start, best),
        nit=descent.n_steps, nfev=nfev, njev=njev, **watch.path(),
    )  # fmt: skip


def advance(optimizer: Optimizer, descent: _core.Descent, n_steps: int, stride: int) -> Array | None:
    """Take so many steps, or one if the schedules cannot be written down before; return the recorded points."""
    timetable = optimizer._timetable(n_steps)
    if timetable is None:
        optimizer._follow_schedules()
        n_steps, timetable = 1, NO_SCHEDULE
    index, table = timetable
    return descent.advance(n_steps, index, table, stride)


def _hike(
    oracle: Oracle, x: Array, region: Region, watch: _Watch, maximize: bool, rng: np.random.Generator, length: float
) -> Result:
    project = None if region.is_everywhere else region.project
    shortest = _HIKER_XTOL if watch.stops.xtol is None else watch.stops.xtol
    stride = watch.stops.stride
    reason: str | None = None
    for nit, (here, value, step) in enumerate(hike(oracle.value, x.reshape(-1), length, rng, maximize, project)):
        if nit == 0:
            start = value
            if not math.isfinite(start):
                raise ValueError(f"minimize(fun): must be finite at x0; got {start}. Choose another start.")
        if stride and nit % stride == 0:
            watch.parts.append(here[None])
        reason = watch.look(here, value, nit, oracle.nfev) or ("step" if step <= shortest else None)
        if reason is not None:
            break
    assert reason is not None
    return Result(
        x=here.reshape(x.shape).copy(), fun=value, jac=None, **outcome(reason, nit, start, value), nit=nit,
        nfev=oracle.nfev, njev=0, **watch.path(),
    )  # fmt: skip
