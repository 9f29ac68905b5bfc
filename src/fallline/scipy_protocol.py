"""The optimizers as methods of `scipy.optimize.minimize`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fallline.minimizing import minimize
from fallline.result import Result

__all__ = ["scipy_method"]

_OPTIONS = ("maxiter", "gtol", "ftol", "xtol", "maxtime", "record", "every", "step", "rng", "projection")


def scipy_method(method: str = "adam", **hyperparameters: Any) -> Callable[..., Any]:
    """Return an optimizer in the form that `scipy.optimize.minimize` takes as `method`.

    Parameters
    ----------
    method : str
        As for `fallline.minimize`.
    **hyperparameters
        lr and others of the optimizer.

    Returns
    -------
    callable
        Honours SciPy's fun, x0, args, jac, bounds, callback and tol; its options are `maxiter`, `gtol`, `ftol`, `xtol`,
        `maxtime`, `step`, `rng`, `record`, `every`, `projection` and `disp`. tol stands for gtol. Returns an
        `OptimizeResult`. Constraints are refused.

    Notes
    -----
    SciPy wraps the function, so that each step goes through Python: `fallline.minimize` itself is faster, most of all
    on compiled functions.

    Examples
    --------
    >>> import fallline as fl
    >>> from scipy.optimize import minimize, rosen, rosen_der  # doctest: +SKIP
    >>> minimize(rosen, [2.0, 2.0], jac=rosen_der, method=fl.scipy_method("adam", lr=0.01)).success  # doctest: +SKIP
    True
    """

    def run(
        fun: Callable[..., Any],
        x0: Any,
        args: tuple[Any, ...] = (),
        jac: Any = None,
        hess: Any = None,
        hessp: Any = None,
        bounds: Any = None,
        constraints: Any = (),
        callback: Callable[..., Any] | None = None,
        **options: Any,
    ) -> Any:
        from scipy.optimize import OptimizeResult

        if constraints not in ((), None, []):
            raise ValueError(
                "scipy_method(constraints): must be empty; got some. Pass bounds, or a projection in the options."
            )
        display, tol = options.pop("disp", False), options.pop("tol", None)
        if unknown := [name for name in options if name not in _OPTIONS]:
            raise TypeError(
                f"scipy_method(options): must be among {', '.join(_OPTIONS)} and disp; got {unknown[0]!r}. Give "
                "hyperparameters to scipy_method itself."
            )
        if tol is not None:
            options.setdefault("gtol", tol)
        result = minimize(
            fun, x0, args, jac=_gradient(jac), method=method, bounds=bounds, callback=_called(callback),
            **options, **hyperparameters,
        )  # fmt: skip
        if display:
            print(f"{result.message}\n{result.nit} steps, {result.nfev} evaluations, f = {result.fun:.10g}")
        return OptimizeResult(result)

    return run


def _gradient(jac: Any) -> Any:
    return None if jac is None or jac is False else jac


def _called(callback: Callable[..., Any] | None) -> Callable[[Result], Any] | None:
    """SciPy's protocol: ``callback(intermediate_result)``, by that very name, or ``callback(xk)``."""
    if callback is None:
        return None
    from scipy.optimize import OptimizeResult

    if set(inspect.signature(callback).parameters) == {"intermediate_result"}:
        return lambda result: callback(intermediate_result=OptimizeResult(result))
    return lambda result: callback(result.x)
