"""Handwritten digits, and a network that reads them, whose gradient is written by hand in NumPy."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Data", "init_network", "load_data", "loss_and_grad", "predict"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Data:
    """Hold images as rows, float32, and their digits, split for training and testing."""

    X: Array
    y: Array
    X_test: Array
    y_test: Array


def load_data() -> Data:
    """Load scikit-learn's handwritten digits, a quarter of them held out, and scale the pixels.

    Returns
    -------
    Data
        Rows of 64 pixels with mean 0 and standard deviation 1 over the training images, dtype float32.

    References
    ----------
    Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, digits = load_digits(return_X_y=True)
    split = train_test_split(pixels, digits, test_size=0.25, stratify=digits, random_state=0)
    mean, deviation = split[0].mean(), split[0].std()
    X, X_test = [((part - mean) / deviation).astype(np.float32) for part in split[:2]]
    return Data(X, split[2], X_test, split[3])


def init_network(inputs: int, hidden: int, classes: int, rng: np.random.Generator) -> dict[str, Array]:
    """Draw the weights of a two-layer network.

    Returns
    -------
    dict of str to ndarray of float32
        ``W1`` (inputs, hidden), ``b1`` (hidden,), ``W2`` (hidden, classes), ``b2`` (classes,).

    References
    ----------
    He, Zhang, Ren & Sun (2015), Delving deep into rectifiers, arXiv:1502.01852 (the scale of the weights).
    """
    params = {
        "W1": rng.standard_normal((inputs, hidden)) * math.sqrt(2 / inputs),
        "b1": np.zeros(hidden),
        "W2": rng.standard_normal((hidden, classes)) * math.sqrt(1 / hidden),
        "b2": np.zeros(classes),
    }
    return {name: weights.astype(np.float32) for name, weights in params.items()}


def _forward(params: dict[str, Array], X: Array) -> tuple[Array, Array]:
    hidden = np.maximum(X @ params["W1"] + params["b1"], 0)
    return hidden, hidden @ params["W2"] + params["b2"]


def loss_and_grad(params: dict[str, Array], X: Array, y: Array) -> tuple[Any, dict[str, Array]]:
    """Compute the mean cross-entropy over a batch and its gradient: the forward pass, then the backward pass.

    Parameters
    ----------
    params : dict
        As made by `init_network`.
    X : ndarray, shape (samples, inputs)
    y : ndarray of int, shape (samples,)

    Returns
    -------
    loss : scalar
    grads : dict of ndarrays like `params`
    """
    hidden, scores = _forward(params, X)
    scores -= scores.max(axis=1, keepdims=True)
    exp = np.exp(scores)
    total = exp.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    loss = (np.log(total[:, 0]) - scores[rows, y]).mean()

    # The derivative of the loss by the scores is softmax minus one-hot.
    d_scores = exp / total
    d_scores[rows, y] -= 1
    d_scores /= len(y)
    d_hidden = (d_scores @ params["W2"].T) * (hidden > 0)
    grads = {
        "W1": X.T @ d_hidden,
        "b1": d_hidden.sum(axis=0),
        "W2": hidden.T @ d_scores,
        "b2": d_scores.sum(axis=0),
    }
    return loss, grads


def predict(params: dict[str, Array], X: Array) -> Array:
    """Return the most likely class of each row.

    Returns
    -------
    ndarray of int, shape (samples,)
    """
    digits: Array = _forward(params, X)[1].argmax(axis=1)
    return digits
