"""Minimizing from many starts at once: basins of attraction, and sweeps over learning rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.minimizing import NO_SCHEDULE, Settings, build_optimizer, check_start, minimize, outcome
from fallline.native import as_objective
from fallline.optimizer import Optimizer
from fallline.region import Region
from fallline.result import Result
from fallline.runtime import check_threads

__all__ = ["multistart"]

Array = npt.NDArray[np.float64]

_ROUND = 500_000  # steps of all starts together between looks at Ctrl-C: some hundredths of a second


def multistart(
    fun: Any,
    X0: npt.ArrayLike,
    *,
    method: str = "adam",
    lr: Any = None,
    bounds: Any = None,
    maxiter: int = 10_000,
    gtol: float | None = 1e-5,
    ftol: float | None = None,
    xtol: float | None = None,
    maximize: bool = False,
    threads: int | None = None,
    **hyperparameters: Any,
) -> Result:
    """Minimize from many starts: what `minimize` does from each of them, bit for bit, in parallel.

    Parameters
    ----------
    fun : Compiled, native function, or callable
        As for `minimize`. Compiled and native functions run on threads without Python (a native one must be safe to
        call from several); a Python function runs from one start after the other, and further keywords of `minimize`,
        such as `jac`, are passed on.
    X0 : array_like, shape (starts, n)
        One start in a row.
    method, bounds, maxiter, gtol, ftol, xtol, maximize
        As for `minimize`.
    lr : float, schedule, or array_like of shape (starts,), optional
        One learning rate for all, or one for each start: a sweep, where X0 repeats the same start.
    threads : int, optional
        At most so many; by default as many as `fallline.get_num_threads` says.
    **hyperparameters
        Of the optimizer.

    Returns
    -------
    Result
        As that of `minimize`, with one entry for each start: x (starts, n), fun (starts,), jac (starts, n), success,
        status, nit, nfev, njev (starts,), message (a list), and x0. A start where a compiled or native function is not
        finite has status 6; that of a Python function is an error, as in `minimize`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> g = fl.compile("(x**2 - 1)**2")
    >>> fl.multistart(g, [[-2.0], [-0.1], [0.5]], lr=0.05).x.round(3).ravel()
    array([-1., -1.,  1.])
    >>> sweep = fl.multistart(g, np.full((3, 1), 2.0), method="sgd", lr=[1e-3, 1e-2, 1.0], maxiter=50)
    >>> sweep.status
    array([3, 3, 6])
    """
    starts = _check_starts(X0)
    rates = _check_rates(lr, len(starts))
    stops = Settings("multistart", maxiter, gtol, ftol, xtol)
    threads = _core.default_threads() if threads is None else check_threads("multistart(threads)", threads)
    if isinstance(fun, _core.Tape) and starts.shape[1] != len(fun.variables):
        raise ValueError(
            f"multistart(X0): must have shape (starts, {len(fun.variables)}), for {', '.join(fun.variables)}; got "
            f"shape {starts.shape}. Pass one start in a row."
        )
    if as_objective("multistart", fun) is not None and method != "hiker":
        own = hyperparameters if rates[0] is None else hyperparameters | {"lr": rates[0]}
        template = build_optimizer("multistart", method, starts[0].copy(), maximize, own)
        if template._timetable(0) is not None:  # else each step has to ask the schedules
            return _in_parallel(fun, starts, rates, template, bounds, stops, maximize, threads)
    found = [
        minimize(
            fun, x, method=method, bounds=bounds, maxiter=maxiter, gtol=gtol, ftol=ftol, xtol=xtol, maximize=maximize,
            **({} if rate is None else {"lr": rate}), **hyperparameters,
        )
        for x, rate in zip(starts, rates, strict=True)
    ]  # fmt: skip
    return _stacked(starts, found)


def _check_starts(X0: Any) -> Array:
    starts = check_start("multistart", X0)
    if starts.ndim != 2:
        raise ValueError(
            f"multistart(X0): must have shape (starts, n); got shape {starts.shape}. Pass one start in a row."
        )
    return starts


def _check_rates(lr: Any, n: int) -> list[Any]:
    if lr is None or callable(lr) or np.ndim(lr) == 0:
        return [lr] * n
    rates = np.asarray(lr, dtype=np.float64)
    if rates.shape != (n,):
        raise ValueError(
            f"multistart(lr): must be one number, or one for each of {n} starts; got shape {rates.shape}. Repeat it."
        )
    for i in np.flatnonzero(~((rates > 0) & np.isfinite(rates)))[:1]:
        raise ValueError(f"multistart(lr): must be finite and > 0; got {rates[i]} for start {i}. Leave such ones out.")
    return [float(rate) for rate in rates]


def _in_parallel(
    fun: Any,
    starts: Array,
    rates: list[Any],
    template: Optimizer,
    bounds: Any,
    stops: Settings,
    maximize: bool,
    threads: int,
) -> Result:
    """Advance all descents in rounds; `template` is the optimizer at the first start."""
    descents = []
    for x, rate in zip(starts.copy(), rates, strict=True):
        region, objective = Region("multistart", x, bounds, None), as_objective("multistart", fun)
        assert objective is not None
        plan = template._replica(x, rate if isinstance(rate, float) else None)
        descent = _core.Descent(plan, objective, region.native, *stops.tolerances, maximize)
        descent.start()
        descents.append(descent)
    values = [descent.value for descent in descents]
    each = max(64, _ROUND // len(starts))
    for done in range(0, stops.maxiter, each):
        going = [descent for descent in descents if descent.stop == "going"]
        if not going:
            break
        steps = min(each, stops.maxiter - done)
        index, table = template._timetable(steps, done) or NO_SCHEDULE
        _core.advance_all(going, steps, index, table, threads)
    return _stacked(starts, [_result(*one) for one in zip(descents, values, strict=True)])


def _result(descent: _core.Descent, start: float) -> Result:
    reason = "maxiter" if descent.stop == "going" else descent.stop
    return Result(
        x=descent.best_x, fun=descent.best, jac=descent.best_gradient,
        **outcome(reason, descent.n_steps, start, descent.best),
        nit=descent.n_steps, nfev=descent.n_evaluations, njev=descent.n_evaluations,
    )  # fmt: skip


def _stacked(starts: Array, found: list[Result]) -> Result:
    stacked: dict[str, Any] = {name: [one[name] for one in found] for name in found[0] if name != "path"}
    arrays = {name: np.array(values) for name, values in stacked.items() if name != "message" and values[0] is not None}
    return Result(stacked | arrays | {"x0": starts})
