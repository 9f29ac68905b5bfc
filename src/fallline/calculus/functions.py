"""The functions an expression may hold: what each is called, and what it computes on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ALIASES", "CONSTANTS", "FUNCTIONS", "OPERATORS", "Function", "names_of_functions"]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of one or two arguments.

    Attributes
    ----------
    compute : callable
        Its values on floats or float64 arrays.
    arity : int
        The number of its arguments.
    latex : str
        Its name in LaTeX.
    """

    compute: Callable[..., Any]
    arity: int = 1
    latex: str = ""


def _sigmoid(x: Any) -> Any:
    # e^-|x| never overflows, whatever the sign of x.
    small = np.exp(-np.abs(x))
    return np.where(np.greater_equal(x, 0), 1.0, small) / (1.0 + small)


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _step(x: Any) -> Any:
    return np.heaviside(x, 0.0)


OPERATORS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "neg": np.negative,
}

# sign and step are what the derivatives of abs, max, min and relu are made of; step(0) is 0, as relu's derivative is.
FUNCTIONS: dict[str, Function] = {
    "exp": Function(np.exp, latex=r"\exp"),
    "log": Function(np.log, latex=r"\ln"),
    "sqrt": Function(np.sqrt, latex=r"\sqrt"),
    "sin": Function(np.sin, latex=r"\sin"),
    "cos": Function(np.cos, latex=r"\cos"),
    "tan": Function(np.tan, latex=r"\tan"),
    "asin": Function(np.arcsin, latex=r"\arcsin"),
    "acos": Function(np.arccos, latex=r"\arccos"),
    "atan": Function(np.arctan, latex=r"\arctan"),
    "sinh": Function(np.sinh, latex=r"\sinh"),
    "cosh": Function(np.cosh, latex=r"\cosh"),
    "tanh": Function(np.tanh, latex=r"\tanh"),
    "sigmoid": Function(_sigmoid, latex=r"\operatorname{sigmoid}"),
    "softplus": Function(_softplus, latex=r"\operatorname{softplus}"),
    "relu": Function(lambda x: np.maximum(x, 0.0), latex=r"\operatorname{relu}"),
    "abs": Function(np.abs, latex=""),
    "sign": Function(np.sign, latex=r"\operatorname{sign}"),
    "step": Function(_step, latex=r"\operatorname{step}"),
    "max": Function(np.maximum, arity=2, latex=r"\max"),
    "min": Function(np.minimum, arity=2, latex=r"\min"),
}

# Other names that NumPy, SciPy and blackboards have for them.
ALIASES = {
    "ln": "log",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "absolute": "abs",
    "fabs": "abs",
    "maximum": "max",
    "minimum": "min",
    "fmax": "max",
    "fmin": "min",
    "expit": "sigmoid",
    "logistic": "sigmoid",
    "heaviside": "step",
}

CONSTANTS = {"pi": np.pi, "e": np.e}


def names_of_functions() -> list[str]:
    """Return every name by which a function may be called."""
    return [*FUNCTIONS, *ALIASES]
