"""What minimizing returns: a dict whose entries are attributes too, as SciPy's."""

from __future__ import annotations

from typing import Any

__all__ = ["STATUSES", "Result"]

# What ended a descent: its number, whether it is a success, and what it says.
STATUSES: dict[str, tuple[int, bool, str]] = {
    "gradient": (0, True, "The gradient is small: gtol is reached."),
    "value": (1, True, "The value is steady: ftol is reached."),
    "step": (2, True, "The step is small: xtol is reached."),
    "maxiter": (3, False, "maxiter is reached. Raise it, or choose another learning rate."),
    "maxtime": (4, False, "maxtime is reached."),
    "callback": (5, False, "The callback raised StopIteration."),
    "diverged": (6, False, "It diverged: the value or its gradient is not finite. Lower the learning rate."),
    "no descent": (
        7,
        False,
        "No step was better than the start. Lower the learning rate, or check the gradient with check_gradient.",
    ),
}


class Result(dict[str, Any]):
    """The result of minimizing; its entries are attributes, too.

    Attributes
    ----------
    x : ndarray of float64
        The best point seen; for `multistart` of every start, (starts, n), and so the following.
    fun : float
        The value there.
    jac : ndarray or None
        The gradient there; None without one.
    success : bool
        Whether it ended because a tolerance was reached.
    status : int
        What ended it; see `minimize`.
    message : str
        The same in words.
    nit, nfev, njev : int
        Steps, evaluations of the function, and of its gradient.
    path : ndarray
        The visited points, if they were recorded.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"Result: must be asked for one of {', '.join(self)}; got {name!r}.") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        lines = []
        for name, value in self.items():
            text = repr(value).replace("\n", "\n" + " " * (width + 3))
            lines.append(f"{name:>{width}}: {text}")
        return "\n".join(lines)
