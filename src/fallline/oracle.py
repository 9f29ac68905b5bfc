"""A user's function and gradient in the forms that `minimize` takes, as one function of x that counts its calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.derivatives import gradient as difference_gradient

__all__ = ["DIFFERENCES", "Oracle"]

Array = npt.NDArray[np.float64]

# SciPy's names of differences, and what they are here.
DIFFERENCES: dict[str, dict[str, Any]] = {
    "2-point": {"method": "forward", "accuracy": 1},
    "3-point": {"method": "central", "accuracy": 2},
    "cs": {"method": "complex"},
}


class Oracle:
    """Value and gradient at flat points; both are checked at every call.

    Parameters
    ----------
    owner : str
        Begins the messages.
    fun : callable
        f(x, *args), or (f, gradient) of it.
    jac : True, callable, or a key of `DIFFERENCES`
    args : tuple
    shape : tuple of int
        x's.
    bounds : (low, high) or None
        Flat; differences stay inside.
    step : float or None
        That of the differences.
    """

    def __init__(
        self,
        owner: str,
        fun: Callable[..., Any],
        jac: Any,
        args: tuple[Any, ...],
        shape: tuple[int, ...],
        bounds: tuple[Array, Array] | None = None,
        step: float | None = None,
    ) -> None:
        self.owner, self.fun, self.jac, self.args, self.shape, self.step = owner, fun, jac, args, shape, step
        self.bounds = None if bounds is None else (bounds[0].reshape(shape), bounds[1].reshape(shape))
        self.nfev = self.njev = 0

    def __call__(self, flat: Array) -> tuple[float, Array]:
        """Return the value and the gradient at a flat point."""
        x = flat.reshape(self.shape)
        if self.jac is True:
            result = self._call(self.fun, x)
            self.njev += 1
            if not isinstance(result, (tuple, list)) or len(result) != 2:
                raise TypeError(
                    f"{self.owner}(fun): must return (value, gradient) with jac=True; got {type(result).__name__}. "
                    "Return both, or pass jac another way."
                )
            return self._number(result[0]), self._slopes(result[1])
        value = self.value(flat)
        self.njev += 1
        if callable(self.jac):
            return value, self._slopes(self.jac(x.copy(), *self.args))
        return value, self._differences(x)

    def value(self, flat: Array) -> float:
        """Return f alone."""
        return self._number(self._call(self.fun, flat.reshape(self.shape)))

    def _call(self, fun: Callable[..., Any], x: Array) -> Any:
        self.nfev += 1
        return fun(x.copy(), *self.args)

    def _number(self, value: Any) -> float:
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in "biuf":
            what = f"an array of shape {array.shape}" if array.size != 1 else array.dtype
            raise TypeError(f"{self.owner}(fun): must return a real number; got {what}. Sum it up, or take its mean.")
        return float(array.reshape(()))

    def _slopes(self, gradient: Any) -> Array:
        array = np.asarray(gradient)
        if array.shape != self.shape or array.dtype.kind not in "biuf":
            raise ValueError(
                f"{self.owner}(jac): must return real numbers in the shape of x, {self.shape}; got {array.dtype} of "
                f"shape {array.shape}. Check the formula, or the broadcasting in it."
            )
        return np.ascontiguousarray(array, dtype=np.float64).reshape(-1)

    def _differences(self, x: Array) -> Array:
        def counted(x: Any) -> Any:
            self.nfev += 1
            return self.fun(x, *self.args)

        options = DIFFERENCES[self.jac] | ({} if self.bounds is None else {"bounds": self.bounds})
        if self.step is not None:
            options["step"] = self.step
        return np.asarray(difference_gradient(counted, x, **options), dtype=np.float64).reshape(-1)
