"""Activations, their derivatives, and what people take for these; changes of variable."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .catalogue import Array

Function = Callable[[Array], Array]


def sigmoid(z: Array) -> Array:
    """Return the logistic function."""
    return np.asarray(1 / (1 + np.exp(-z)))


def softmax(z: Array, axis: int = -1) -> Array:
    """Return the softmax along an axis."""
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def _tanh_slope(z: Array) -> Array:
    return np.asarray(1 - np.tanh(z) ** 2)


def _sigmoid_slope(z: Array) -> Array:
    return np.asarray(sigmoid(z) * (1 - sigmoid(z)))


def _step(z: Array) -> Array:
    return np.asarray((z > 0).astype(float))


ACTIVATIONS: dict[str, Function] = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda z: np.maximum(z, 0.0),
    "identity": lambda z: z,
}
DERIVATIVES: dict[str, Function] = {
    "tanh": _tanh_slope,
    "sigmoid": _sigmoid_slope,
    "relu": _step,
    "identity": np.ones_like,
    "exp": np.exp,
    "softplus": sigmoid,
}


class Slip(NamedTuple):
    """A wrong derivative of an activation, as a function of the activation's argument z."""

    number: int
    level: float
    activation: str
    used: Function
    text: str


SLIPS = (
    *(
        Slip(14, 0.92, name, np.ones_like, f"the derivative of the {name} is missing")
        for name in DERIVATIVES
        if name != "identity"
    ),
    Slip(15, 0.91, "sigmoid", lambda z: _sigmoid_slope(sigmoid(z)), "σ'(a) stands for σ'(z)"),
    Slip(
        15,
        0.91,
        "sigmoid",
        lambda z: 1 - sigmoid(z) ** 2,
        "1 - a², which is for tanh, stands for the sigmoid's a(1 - a)",
    ),
    Slip(15, 0.90, "sigmoid", lambda z: z * (1 - z), "z(1 - z) stands for a(1 - a)"),
    Slip(15, 0.85, "sigmoid", _tanh_slope, "the derivative of a tanh stands for that of the sigmoid"),
    Slip(15, 0.85, "sigmoid", lambda z: _sigmoid_slope(z) ** 2, "the derivative of the sigmoid is applied twice"),
    Slip(15, 0.80, "sigmoid", sigmoid, "the sigmoid stands for its derivative"),
    Slip(15, 0.80, "sigmoid", lambda z: 1 - sigmoid(z), "1 - a stands for the sigmoid's a(1 - a)"),
    Slip(15, 0.91, "tanh", lambda z: _tanh_slope(np.tanh(z)), "tanh'(a) stands for tanh'(z)"),
    Slip(
        15,
        0.91,
        "tanh",
        lambda z: np.tanh(z) * (1 - np.tanh(z)),
        "a(1 - a), which is for the sigmoid, stands for tanh's 1 - a²",
    ),
    Slip(15, 0.90, "tanh", lambda z: 1 - z**2, "1 - z² stands for 1 - a²"),
    Slip(15, 0.85, "tanh", _sigmoid_slope, "the derivative of a sigmoid stands for that of the tanh"),
    Slip(15, 0.85, "tanh", lambda z: _tanh_slope(z) ** 2, "the derivative of the tanh is applied twice"),
    Slip(15, 0.80, "tanh", lambda z: 1 - np.tanh(z), "1 - a stands for tanh's 1 - a²"),
    Slip(15, 0.80, "identity", _sigmoid_slope, "a derivative of a sigmoid is applied that f does not have"),
    Slip(15, 0.80, "identity", _tanh_slope, "a derivative of a tanh is applied that f does not have"),
    Slip(15, 0.80, "identity", _step, "a derivative of a relu is applied that f does not have"),
)


CHARTS: list[tuple[str, Function, str]] = [
    ("x", lambda x: x, "g is the derivative by log x"),
    ("1/x", lambda x: 1 / x, "D is the derivative by log x, g that by x"),
    ("exp(x)", np.exp, "the parameter is a logarithm, and g is multiplied by its exponential once too often"),
    ("exp(-x)", lambda x: np.exp(-x), "the parameter is a logarithm, and g is the derivative by its exponential"),
    (
        "2x",
        lambda x: 2 * x,
        "the parameter is a root, and g is multiplied by the derivative of its square once too often",
    ),
    ("1/(2x)", lambda x: 1 / (2 * x), "the parameter is a root, and g is the derivative by its square"),
    ("x²", lambda x: x**2, "the derivative is by another function of x"),
    ("1/x²", lambda x: x**-2.0, "the derivative is by another function of x"),
    ("x(1-x)", lambda x: x * (1 - x), "g is the derivative by the logit of x"),
]
"""What a change of variable makes of a derivative: the ratio g/D in words, as a function of x, and the mistake."""
