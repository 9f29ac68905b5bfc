"""Small models with a loss, its gradient written by hand, and a point to check it at.

Every model is called as ``model(rng, dtype=np.float64, **sizes)`` and returns a `Case`. The sizes of a model differ, no
parameter is zero, and no gamma is 1, so that a wrong factor, axis or index can show, and be told from others.

The gradients are put together from `PARTS`, small functions that know one rule each. ``df(x, *args, parts=...)`` takes
others, which is how mutants.py plants its bugs: everything around a bug is the code that is proved right here. A part
takes what reaches it from above as `d`, the derivative of the loss by its output.

Losses that are analytic are coded analytically, so the complex step is an independent truth (test_gallery.py).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """A function ``f(x, *args)``, its gradient ``df(x, *args)`` in the structure of x, and where to check it."""

    name: str
    f: Callable[..., Any]
    df: Callable[..., Any]
    x: Any
    args: tuple[Any, ...] = ()


# ---------------------------------------------------------------------------------------------------------------------
# Forward
# ---------------------------------------------------------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def relu(z):
    return np.maximum(z, 0)


def softmax(z):
    e = np.exp(z - z.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(z):
    z = z - z.real.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def one_hot(y, like):
    return np.eye(like.shape[-1], dtype=like.dtype)[y]


def standardise(z, axis, eps=1e-5):
    z = z - z.mean(axis=axis, keepdims=True)
    std = np.sqrt((z**2).mean(axis=axis, keepdims=True) + eps)
    return z / std, std


def windows(shape, size, stride):
    """Return the flat indices of all windows of an array, shape (windows, entries of a window)."""
    starts = itertools.product(*(range(0, n - k + 1, s) for n, k, s in zip(shape, size, stride, strict=True)))
    flat = np.arange(np.prod(shape)).reshape(shape)
    return np.array([flat[tuple(slice(i, i + k) for i, k in zip(at, size, strict=True))].ravel() for at in starts])


def taps(kernel, out, stride):
    """Yield every position in a kernel with the slices of the padded input that it is multiplied with."""
    for tap in np.ndindex(*kernel):
        yield tap, tuple(slice(t, t + s * (n - 1) + 1, s) for t, n, s in zip(tap, out, stride, strict=True))


def padded(a, pad):
    return np.pad(a, [(0, 0), (0, 0), *((p, p) for p in pad)])


def convolve(a, kernel, stride, pad):
    """Correlate a (N, C, ...) with kernel (F, C, ...), as networks do, in any number of dimensions."""
    a = padded(a, pad)
    size = kernel.shape[2:]
    out = [(n - k) // s + 1 for n, k, s in zip(a.shape[2:], size, stride, strict=True)]
    return sum(
        np.einsum("nc...,fc->nf...", a[(..., *where)], kernel[(..., *tap)]) for tap, where in taps(size, out, stride)
    )


# ---------------------------------------------------------------------------------------------------------------------
# Backward: the parts
# ---------------------------------------------------------------------------------------------------------------------


def unbroadcast(d, shape):
    d = d.sum(axis=tuple(range(d.ndim - len(shape))))
    return d.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


def scatter(shape, index, d):
    g = np.zeros(shape, d.dtype)
    np.add.at(g, index, d)
    return g


def standardise_back(d, z, std, axis):
    """Take d back through `standardise`, whose output was z: it depends on an input directly, by mean, by variance."""
    by_mean = d.mean(axis=axis, keepdims=True)
    by_variance = z * (d * z).mean(axis=axis, keepdims=True)
    return (d - by_mean - by_variance) / std


def convolve_back_input(d, kernel, shape, stride, pad):
    g = padded(np.zeros(shape, d.dtype), pad)
    for tap, where in taps(kernel.shape[2:], d.shape[2:], stride):
        g[(..., *where)] += np.einsum("nf...,fc->nc...", d, kernel[(..., *tap)])
    return g[(..., *(slice(p, p + n) for p, n in zip(pad, shape[2:], strict=True)))]


def convolve_back_kernel(d, a, shape, stride, pad):
    a = padded(a, pad)
    g = np.zeros(shape, d.dtype)
    axes = (0, *range(2, d.ndim))
    for tap, where in taps(shape[2:], d.shape[2:], stride):
        g[(..., *tap)] = np.tensordot(d, a[(..., *where)], axes=(axes, axes))
    return g


@dataclass(frozen=True)
class Parts:
    """The rules of differentiation that the gradients below are made of."""

    share: Callable = lambda X, d: 1 / len(X)  # of one row in a mean over the batch
    square: Callable = lambda r: 2 * r
    half_square: Callable = lambda r: r
    l1: Callable = lambda w, lam, n: lam * np.sign(w)  # n is the size of the batch
    l2: Callable = lambda w, lam, n: lam * w  # of lam / 2 * sum(w**2)
    l2_whole: Callable = lambda w, lam, n: 2 * lam * w  # of lam * sum(w**2)
    l2_bias: Callable = lambda b, lam, n: 0 * b

    linear: Callable = lambda d, z, a: d  # activations: a = act(z)
    tanh: Callable = lambda d, z, a: d * (1 - a**2)
    sigmoid: Callable = lambda d, z, a: d * a * (1 - a)
    relu: Callable = lambda d, z, a: d * (z > 0)
    huber: Callable = lambda r, delta: np.where(np.abs(r) <= delta, r, delta * np.sign(r))
    clip: Callable = lambda d, z, low, high: d * ((z > low) & (z < high))

    weight: Callable = lambda a, d: a.T @ d  # of out = a @ W + b
    bias: Callable = lambda d: d.sum(axis=0)
    through: Callable = lambda d, W: d @ W.T
    add: Callable = lambda total, term: total + term  # of what is used more than once
    scatter: Callable = scatter  # of a[index]
    unbroadcast: Callable = unbroadcast
    conv_input: Callable = convolve_back_input
    conv_kernel: Callable = convolve_back_kernel

    softmax: Callable = lambda d, p: p * (d - (d * p).sum(axis=-1, keepdims=True))
    cross_entropy: Callable = lambda p, target: p - target  # of -sum(target * log(p)), by the logits

    standardise: Callable = standardise_back
    scale: Callable = lambda d, gamma: d * gamma
    unit: Callable = lambda d, u, length: (d - u * (u * d).sum(axis=0)) / length  # of u = v / |v|, by column
    simplex: Callable = lambda d, u, total: (d - (u * d).sum()) / total  # of u = x / sum(x)
    centre: Callable = lambda d: d - d.mean()  # of x - mean(x)
    dropout: Callable = lambda d, mask, p: d * mask / (1 - p)
    mask: Callable = lambda d, mask: d * mask
    log_chart: Callable = lambda d, value: d * value  # of value = exp(x), by x
    previous: Callable = lambda t: t - 1  # the state that step t began with

    # Elementwise functions of several branches
    softplus: Callable = lambda x: np.where(x < -20, np.exp(np.minimum(x, -20)), sigmoid(np.maximum(x, -20)))
    log_cosh: Callable = lambda x: np.where(np.abs(x) > 20, np.sign(x), np.tanh(x))
    elu: Callable = lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0)))


PARTS = Parts()

# ---------------------------------------------------------------------------------------------------------------------
# Points
# ---------------------------------------------------------------------------------------------------------------------


def draw(rng, *shape, dtype=np.float64, scale=0.6):
    """Draw normal numbers, each moved away from zero."""
    z = rng.standard_normal(shape)
    return np.asarray(scale * (z + 0.3 * np.sign(z)), dtype)


def draw_labels(rng, n, classes):
    """Draw n labels; every class occurs if n allows, and not all equally often."""
    return np.concatenate([np.arange(classes), rng.integers(0, max(classes - 1, 1), max(n - classes, 0))])[:n]


def away(make, distance, margin):
    """Draw until the distance to the nearest kink is at least the margin."""
    for _ in range(200):
        case = make()
        if distance(case) >= margin:
            break
    return case


# ---------------------------------------------------------------------------------------------------------------------
# Linear models and likelihoods
# ---------------------------------------------------------------------------------------------------------------------


def quadratic(rng, dtype=np.float64, n=6):
    """Take a form whose matrix is not symmetric."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, A, b):
        return 0.5 * x @ A @ x - b @ x

    def df(x, A, b, *, parts=PARTS):
        return 0.5 * parts.add(A @ x, A.T @ x) - b

    return Case("quadratic", f, df, normal(n), (normal(n, n), normal(n)))


def ridge(rng, dtype=np.float64, n=7, d=5, k=3):
    """Regress several outputs: mean of squares without a half, L2 without a half."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, Y, lam):
        return np.sum((X @ x["W"] + x["b"] - Y) ** 2) / len(X) + lam * np.sum(x["W"] ** 2)

    def df(x, X, Y, lam, *, parts=PARTS):
        r = X @ x["W"] + x["b"] - Y
        d = parts.square(r) * parts.share(X, r)
        return {
            "W": parts.weight(X, d) + parts.l2_whole(x["W"], lam, len(X)),
            "b": parts.bias(d) + parts.l2_bias(x["b"], lam, len(X)),
        }

    x = {"W": normal(d, k), "b": normal(k)}
    return Case("ridge", f, df, x, (normal(n, d), normal(n, k), 0.17))


def elastic_net(rng, dtype=np.float64, n=7, d=5):
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, y, l1, l2):
        r = X @ x["w"] + x["b"] - y
        return r @ r / (2 * len(X)) + l1 * np.sum(np.abs(x["w"])) + l2 / 2 * np.sum(x["w"] ** 2)

    def df(x, X, y, l1, l2, *, parts=PARTS):
        r = X @ x["w"] + x["b"] - y
        d = parts.half_square(r) * parts.share(X, X)
        penalty = parts.l1(x["w"], l1, len(X)) + parts.l2(x["w"], l2, len(X))
        return {"w": parts.weight(X, d) + penalty, "b": parts.bias(d) + parts.l2_bias(x["b"], l2, len(X))}

    x = {"w": normal(d), "b": normal()}
    return Case("elastic_net", f, df, x, (normal(n, d), normal(n), 0.13, 0.29))


def sparse_coding(rng, dtype=np.float64, d=5, k=8):
    """Code a signal in an overcomplete dictionary, with an L1 penalty."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, A, y, l1):
        r = A @ x - y
        return 0.5 * r @ r + l1 * np.sum(np.abs(x))

    def df(x, A, y, l1, *, parts=PARTS):
        return A.T @ parts.half_square(A @ x - y) + parts.l1(x, l1, len(y))

    return Case("sparse_coding", f, df, normal(k), (normal(d, k), normal(d), 0.21))


def nonnegative(rng, dtype=np.float64, n=7, d=5):
    """Regress with the positive part of the parameters."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, A, y):
        r = A @ relu(x) - y
        return r @ r / (2 * len(A))

    def df(x, A, y, *, parts=PARTS):
        a = relu(x)
        d = parts.half_square(A @ a - y) * parts.share(A, A)
        return parts.relu(parts.weight(A, d), x, a)

    x = normal(d)
    x[:2] = np.abs(x[:2]) * [1, -1]  # both signs, always
    return Case("nonnegative", f, df, x, (normal(n, d), normal(n)))


def huber(rng, dtype=np.float64, n=9, d=4):
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, y, delta):
        r = X @ x["w"] + x["b"] - y
        size = np.where(r.real < 0, -r, r)
        return np.sum(np.where(size.real <= delta, r**2 / 2, delta * (size - delta / 2))) / len(X)

    def df(x, X, y, delta, *, parts=PARTS):
        d = parts.huber(X @ x["w"] + x["b"] - y, delta) * parts.share(X, X)
        return {"w": parts.weight(X, d), "b": parts.bias(d)}

    def make():
        x = {"w": normal(d), "b": normal()}
        return Case("huber", f, df, x, (normal(n, d), normal(n), 0.7))

    def distance(case):
        X, y, delta = case.args
        return np.min(np.abs(np.abs(X @ case.x["w"] + case.x["b"] - y) - delta))

    return away(make, distance, 0.03)


def logistic(rng, dtype=np.float64, n=7, d=5):
    """Take all parameters as one vector, the bias first; it is not regularised."""
    normal = partial(draw, rng, dtype=dtype)

    def f(theta, X, y, lam):
        margin = np.where(y > 0, 1, -1).astype(X.dtype) * (theta[0] + X @ theta[1:])
        return np.mean(np.log1p(np.exp(-margin))) + lam / 2 * np.sum(theta[1:] ** 2)

    def df(theta, X, y, lam, *, parts=PARTS):
        d = (sigmoid(theta[0] + X @ theta[1:]) - y.astype(X.dtype)) * parts.share(X, X)
        bias = parts.bias(d) + parts.l2_bias(theta[0], lam, len(X))
        return np.concatenate([[bias], parts.weight(X, d) + parts.l2(theta[1:], lam, len(X))]).astype(X.dtype)

    return Case("logistic", f, df, normal(d + 1), (normal(n, d), draw_labels(rng, n, 2), 0.19))


def poisson(rng, dtype=np.float64, n=7, d=5):
    """Take a log-linear rate, the mean negative log-likelihood without its constant, and an L1 penalty."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, y, l1):
        eta = X @ x["w"] + x["b"]
        return np.mean(np.exp(eta) - y * eta) + l1 * np.sum(np.abs(x["w"]))

    def df(x, X, y, l1, *, parts=PARTS):
        d = (np.exp(X @ x["w"] + x["b"]) - y) * parts.share(X, X)
        return {"w": parts.weight(X, d) + parts.l1(x["w"], l1, len(X)), "b": parts.bias(d)}

    x = {"w": normal(d, scale=0.4), "b": normal()}
    return Case("poisson", f, df, x, (normal(n, d), rng.poisson(2.0, n).astype(dtype), 0.11))


def gaussian(rng, dtype=np.float64, n=7, d=5, k=3, chart="log"):
    """Take the mean negative log-likelihood of a regression whose outputs have a sigma each, or its logarithm."""
    normal = partial(draw, rng, dtype=dtype)
    name = "log_sigma" if chart == "log" else "sigma"

    def f(x, X, Y):
        log_sigma = x[name] if chart == "log" else np.log(x[name])
        r = (X @ x["W"] + x["b"] - Y) / np.exp(log_sigma)
        return np.sum(r**2 / 2 + log_sigma) / len(X)

    def df(x, X, Y, *, parts=PARTS):
        sigma = np.exp(x[name]) if chart == "log" else x[name]
        r = (X @ x["W"] + x["b"] - Y) / sigma
        d = parts.half_square(r) / sigma * parts.share(X, r)
        d_sigma = np.sum((1 - r**2) / sigma, axis=0) * parts.share(X, r)
        return {
            "W": parts.weight(X, d),
            "b": parts.bias(d),
            name: parts.log_chart(d_sigma, sigma) if chart == "log" else d_sigma,
        }

    x = {"W": normal(d, k), "b": normal(k)}
    x[name] = normal(k) if chart == "log" else np.exp(normal(k))
    title = "gaussian" if chart == "log" else "gaussian_sigma"
    return Case(title, f, df, x, (normal(n, d), normal(n, k)))


def density(rng, dtype=np.float64, n=5):
    """Take an unnormalised normal density, not its logarithm."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, mean, P):
        return np.exp(-0.5 * (x - mean) @ P @ (x - mean))

    def df(x, mean, P, *, parts=PARTS):
        return parts.log_chart(-P @ (x - mean), f(x, mean, P))

    A = normal(n, n)
    P = np.asarray(A @ A.T / n + 0.2 * np.eye(n), dtype)
    return Case("density", f, df, normal(n), (normal(n), P))


def gaussian_process(rng, dtype=np.float64, n=7, d=2):
    """Take the negative log marginal likelihood by log amplitude, log length and log noise, in one vector."""
    normal = partial(draw, rng, dtype=dtype)

    def kernel(x, X):
        amplitude, length, noise = np.exp(x)
        distance = ((X[:, None] - X) ** 2).sum(axis=-1) / length**2
        smooth = amplitude**2 * np.exp(-distance / 2)
        return smooth, distance, smooth + noise**2 * np.eye(len(X), dtype=X.dtype)

    def f(x, X, y):
        K = kernel(x, X)[2]
        return 0.5 * y @ np.linalg.solve(K, y) + 0.5 * np.linalg.slogdet(K)[1]

    def df(x, X, y, *, parts=PARTS):
        smooth, distance, K = kernel(x, X)
        inverse = np.linalg.inv(K)
        alpha = inverse @ y
        dK = 0.5 * (inverse - np.outer(alpha, alpha))
        return np.array(
            [np.sum(dK * 2 * smooth), np.sum(dK * smooth * distance), np.trace(dK) * 2 * np.exp(2 * x[2])], X.dtype
        )

    x = np.asarray([0.4, -0.3, -0.8] + 0.2 * rng.standard_normal(3), dtype)
    return Case("gaussian_process", f, df, x, (normal(n, d), normal(n)))


def covariance(rng, dtype=np.float64, n=4):
    """Fit a covariance matrix; only the symmetric part of the parameter counts."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, C):
        S = (x + x.T) / 2
        return 0.5 * np.linalg.slogdet(S)[1] + 0.5 * np.trace(np.linalg.solve(S, C))

    def df(x, C, *, parts=PARTS):
        inverse = np.linalg.inv((x + x.T) / 2)
        return 0.5 * (inverse - inverse @ C @ inverse)

    A, B = normal(2, n, n + 3)
    return Case("covariance", f, df, A @ A.T / n, (B @ B.T / n,))


def packed_covariance(rng, dtype=np.float64, n=4):
    """Fit a covariance matrix given by its lower triangle, row by row: what is off the diagonal counts twice."""
    i, j = np.tril_indices(n)

    def unpack(x):
        S = np.zeros((n, n), x.dtype)
        S[i, j] = S[j, i] = x
        return S

    full = covariance(rng, dtype, n)

    def f(x, C):
        return full.f(unpack(x), C)

    def df(x, C, *, parts=PARTS):
        g = full.df(unpack(x), C)
        return np.where(i == j, g[i, j], parts.add(g[i, j], g[j, i])).astype(x.dtype)

    return Case("packed_covariance", f, df, full.x[i, j], full.args)


# ---------------------------------------------------------------------------------------------------------------------
# Functions of a vector, entry by entry or nearly so
# ---------------------------------------------------------------------------------------------------------------------


def elementwise(name, function, rng, dtype=np.float64, n=9, tails=0.0):
    """Weigh a function of every entry; two entries on either side lie beyond `tails`."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, c):
        return np.sum(c * function(x))

    def df(x, c, *, parts=PARTS):
        return c * getattr(parts, name)(x).astype(x.dtype)

    x = normal(n)
    if tails:
        x[[1, 4]] = tails + rng.uniform(0.5, 1.5, 2)
        x[[2, 6]] = -tails - rng.uniform(0.5, 1.5, 2)
    else:
        x[:2] = np.abs(x[:2]) * [1, -1]
    return Case(name, f, df, x, (normal(n),))


def softplus_forward(x):
    tail = np.exp(np.where(x.real < -20, x, -20))  # log1p would do as well; users write it like this
    return np.where(x.real < -20, tail, np.log1p(np.exp(np.where(x.real < -20, 0, x))))


def log_cosh_forward(x):
    size = np.where(x.real < 0, -x, x)
    return np.where(size.real > 20, size - math.log(2), np.log(np.cosh(np.where(size.real > 20, 0, x))))


def elu_forward(x):
    return np.where(x.real > 0, x, np.exp(np.where(x.real > 0, 0, x)) - 1)


softplus = partial(elementwise, "softplus", softplus_forward, tails=20.0)
log_cosh = partial(elementwise, "log_cosh", log_cosh_forward, tails=20.0)
elu = partial(elementwise, "elu", elu_forward)


def clipped(rng, dtype=np.float64, n=8):
    normal = partial(draw, rng, dtype=dtype)

    def f(x, target, low, high):
        return np.sum((np.where(x.real < low, low, np.where(x.real > high, high, x)) - target) ** 2) / len(x)

    def df(x, target, low, high, *, parts=PARTS):
        r = np.clip(x, low, high) - target
        return parts.clip(parts.square(r) * parts.share(x, r), x, low, high)

    x = rng.uniform(-0.6, 0.6, n).astype(dtype)
    x[[1, 4, 6]] = np.array([1.3, -1.4, 0.9], dtype) + rng.uniform(0, 0.5, 3).astype(dtype) * [1, -1, 1]
    return Case("clipped", f, df, x, (normal(n), -0.75, 0.8))


def smooth(rng, dtype=np.float64, n=9):
    """Smooth a series: neighbours are drawn together by a quartic with weights of their own."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, y, c):
        return np.sum((x - y) ** 2) / 2 + np.sum(c * (x[1:] - x[:-1]) ** 4)

    def df(x, y, c, *, parts=PARTS):
        d = 4 * c * (x[1:] - x[:-1]) ** 3
        g = x - y
        g[1:] += d
        g[:-1] -= d
        return g

    return Case("smooth", f, df, normal(n), (normal(n), np.abs(normal(n - 1))))


def baseline(rng, dtype=np.float64, n=6):
    """Weigh the cubes of deviations from the mean."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, c):
        return np.sum(c * (x - x.mean()) ** 3)

    def df(x, c, *, parts=PARTS):
        return parts.centre(3 * c * (x - x.mean()) ** 2)

    return Case("baseline", f, df, normal(n), (normal(n),))


def simplex(rng, dtype=np.float64, n=7, d=5):
    """Mix columns with weights that are divided by their sum."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, A, y):
        r = A @ (x / x.sum()) - y
        return r @ r / (2 * len(A))

    def df(x, A, y, *, parts=PARTS):
        total = x.sum()
        d = parts.weight(A, parts.half_square(A @ (x / total) - y) * parts.share(A, A))
        return parts.simplex(d, x / total, total)

    return Case("simplex", f, df, np.abs(normal(d)), (normal(n, d), normal(n)))


def gates(rng, dtype=np.float64, n=7, d=5, act="sigmoid"):
    """Regress with inputs that have a gate each."""
    normal = partial(draw, rng, dtype=dtype)
    function = sigmoid if act == "sigmoid" else np.tanh

    def f(x, X, y):
        r = X @ (function(x["gate"]) * x["w"]) - y
        return r @ r / (2 * len(X))

    def df(x, X, y, *, parts=PARTS):
        a = function(x["gate"])
        r = X @ (a * x["w"]) - y
        d = parts.weight(X, parts.half_square(r) * parts.share(X, X))
        return {"gate": getattr(parts, act)(d * x["w"], x["gate"], a), "w": d * a}

    x = {"gate": normal(d, scale=0.9), "w": normal(d)}
    return Case(f"{act}_gates", f, df, x, (normal(n, d), normal(n)))


def broadcasting(rng, dtype=np.float64, n=2, c=3, t=5):
    """Scale along one axis and shift along another."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, R):
        return np.sum(R * np.tanh(x["scale"] * X + x["shift"])) / len(X)

    def df(x, X, R, *, parts=PARTS):
        z = x["scale"] * X + x["shift"]
        d = parts.tanh(R * parts.share(X, R), z, np.tanh(z))
        return {"scale": parts.unbroadcast(d * X, x["scale"].shape), "shift": parts.unbroadcast(d, x["shift"].shape)}

    x = {"scale": normal(c, 1), "shift": normal(t)}
    return Case("broadcasting", f, df, x, (normal(n, c, t), normal(n, c, t)))


def anova(rng, dtype=np.float64, n=2, rows=4, columns=7):
    """Fit a table, measured n times, by a mean, row effects and column effects."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, Y):
        return np.sum((x["mean"] + x["row"] + x["column"] - Y) ** 2) / 2

    def df(x, Y, *, parts=PARTS):
        d = parts.half_square(x["mean"] + x["row"] + x["column"] - Y)
        return {name: parts.unbroadcast(d, effect.shape) for name, effect in x.items()}

    x = {"mean": normal(), "row": normal(rows, 1), "column": normal(columns)}
    return Case("anova", f, df, x, (normal(n, rows, columns),))


# ---------------------------------------------------------------------------------------------------------------------
# Softmax
# ---------------------------------------------------------------------------------------------------------------------


def softmax_regression(rng, dtype=np.float64, n=7, d=5, c=3):
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, y, lam):
        log_p = log_softmax(X @ x["W"] + x["b"])
        return -np.mean(log_p[np.arange(len(y)), y]) + lam / 2 * np.sum(x["W"] ** 2)

    def df(x, X, y, lam, *, parts=PARTS):
        p = softmax(X @ x["W"] + x["b"])
        d = parts.cross_entropy(p, one_hot(y, p)) * parts.share(X, p)
        return {
            "W": parts.weight(X, d) + parts.l2(x["W"], lam, len(X)),
            "b": parts.bias(d) + parts.l2_bias(x["b"], lam, len(X)),
        }

    x = {"W": normal(d, c), "b": normal(c)}
    return Case("softmax_regression", f, df, x, (normal(n, d), draw_labels(rng, n, c), 0.23))


def logit_table(rng, dtype=np.float64, n=6, c=4):
    """Take the logits themselves as the parameter, a row for every example."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, y):
        return -np.mean(log_softmax(x)[np.arange(len(y)), y])

    def df(x, y, *, parts=PARTS):
        p = softmax(x)
        return parts.cross_entropy(p, one_hot(y, p)) * parts.share(x, p)

    return Case("logit_table", f, df, normal(n, c), (draw_labels(rng, n, c),))


def brier(rng, dtype=np.float64, n=7, d=5, c=3):
    """Score probabilities by their squared distance to the label."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, y):
        p = softmax(X @ x["W"] + x["b"])
        return np.sum((p - one_hot(y, p)) ** 2) / len(X)

    def df(x, X, y, *, parts=PARTS):
        p = softmax(X @ x["W"] + x["b"])
        d = parts.softmax(parts.square(p - one_hot(y, p)) * parts.share(X, p), p)
        return {"W": parts.weight(X, d), "b": parts.bias(d)}

    x = {"W": normal(d, c), "b": normal(c)}
    return Case("brier", f, df, x, (normal(n, d), draw_labels(rng, n, c)))


def policy(rng, dtype=np.float64, states=6, actions=4):
    """Expect a reward under a softmax policy with a temperature."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, weight, reward, temperature):
        return -np.sum(weight[:, None] * softmax(x / temperature) * reward)

    def df(x, weight, reward, temperature, *, parts=PARTS):
        return parts.softmax(-weight[:, None] * reward, softmax(x / temperature)) / temperature

    args = (np.abs(normal(states)), normal(states, actions), 1.3)
    return Case("policy", f, df, normal(states, actions), args)


def mixture(rng, dtype=np.float64, n=7, d=5, k=3):
    """Mix k linear models by a softmax."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, y):
        r = X @ x["W"] @ softmax(x["logits"]) - y
        return r @ r / (2 * len(X))

    def df(x, X, y, *, parts=PARTS):
        p = softmax(x["logits"])
        experts = X @ x["W"]
        d = parts.half_square(experts @ p - y) * parts.share(X, experts)
        return {"logits": parts.softmax(parts.weight(experts, d), p), "W": parts.weight(X, np.outer(d, p))}

    x = {"logits": normal(k), "W": normal(d, k)}
    return Case("mixture", f, df, x, (normal(n, d), normal(n)))


def attention(rng, dtype=np.float64, queries=6, keys=5, d=4, k=3, out=2):
    """Attend from one sequence to another, with a learned bias for every pair."""
    normal = partial(draw, rng, dtype=dtype)

    def forward(x, X, Z):
        q, key, value = X @ x["Q"], Z @ x["K"], Z @ x["V"]
        return q, key, value, softmax(q @ key.T / q.shape[1] ** 0.5 + x["B"])

    def f(x, X, Z, Y):
        *_, value, p = forward(x, X, Z)
        return np.sum((p @ value - Y) ** 2) / (2 * len(X))

    def df(x, X, Z, Y, *, parts=PARTS):
        q, key, value, p = forward(x, X, Z)
        d = parts.half_square(p @ value - Y) * parts.share(X, Y)
        scores = parts.softmax(parts.through(d, value), p)
        scaled = scores / q.shape[1] ** 0.5
        return {
            "Q": parts.weight(X, scaled @ key),
            "K": parts.weight(Z, scaled.T @ q),
            "V": parts.weight(Z, p.T @ d),
            "B": scores,
        }

    x = {"Q": normal(d, k), "K": normal(d, k), "V": normal(d, out)}
    x["B"] = normal(queries, keys)
    args = (normal(queries, d), normal(keys, d), normal(queries, out))
    return Case("attention", f, df, x, args)


# ---------------------------------------------------------------------------------------------------------------------
# Multilayer perceptrons
# ---------------------------------------------------------------------------------------------------------------------

ACTIVATIONS = {"linear": lambda z: z, "tanh": np.tanh, "sigmoid": sigmoid, "relu": relu}


def mlp_forward(x, X, act):
    """Return the inputs of all activations and their outputs, the first of which is X; the last layer is linear."""
    z, a = [], [X]
    for i in range(1, len(x) // 2 + 1):
        z.append(a[-1] @ x[f"W{i}"] + x[f"b{i}"])
        a.append(ACTIVATIONS[act](z[-1]))
    return z, a


def mlp_f(x, X, y, lam, act, head, regularised):
    out = mlp_forward(x, X, act)[0][-1]
    if head == "softmax":
        loss = -np.mean(log_softmax(out)[np.arange(len(y)), y])
    else:
        loss = np.sum((out - y) ** 2) / (2 * len(X))
    return loss + lam / 2 * sum(np.sum(p**2) for name, p in x.items() if name[0] in regularised)


def mlp_df(x, X, y, lam, act, head, regularised, parts):
    z, a = mlp_forward(x, X, act)
    out = z[-1]
    d = parts.cross_entropy(softmax(out), one_hot(y, out)) if head == "softmax" else parts.half_square(out - y)
    d = d * parts.share(X, out)
    g = {}
    for i in range(len(z), 0, -1):
        W, b = x[f"W{i}"], x[f"b{i}"]
        g[f"b{i}"] = parts.bias(d) + (parts.l2 if "b" in regularised else parts.l2_bias)(b, lam, len(X))
        g[f"W{i}"] = parts.weight(a[i - 1], d) + parts.l2(W, lam, len(X))
        if i > 1:
            d = getattr(parts, act)(parts.through(d, W), z[i - 2], a[i - 1])
    return {name: g[name] for name in x}


def mlp(name, act, head, regularised, rng, dtype=np.float64, n=7, d=5, h=4, c=3, square=False, margin=0.0):
    """Take two layers, or three, whose middle one is square; L2 for names that begin with a letter of `regularised`."""
    normal = partial(draw, rng, dtype=dtype)
    sizes = (d, h, h, c) if square else (d, h, c)

    def f(x, X, y, lam):
        return mlp_f(x, X, y, lam, act, head, regularised)

    def df(x, X, y, lam, *, parts=PARTS):
        return mlp_df(x, X, y, lam, act, head, regularised, parts)

    def make():
        x = {}
        for i, (rows, columns) in enumerate(itertools.pairwise(sizes), start=1):
            x[f"W{i}"] = normal(rows, columns)
            x[f"b{i}"] = normal(columns)
        y = draw_labels(rng, n, c) if head == "softmax" else normal(n, c)
        return Case(name, f, df, x, (normal(n, d), y, 0.31))

    def distance(case):
        return min(np.min(np.abs(z)) for z in mlp_forward(case.x, case.args[0], act)[0][:-1])

    return away(make, distance, margin)


tanh_mlp = partial(mlp, "tanh_mlp", "tanh", "square", "W", square=True)
linear_mlp = partial(mlp, "linear_mlp", "linear", "square", "W", square=True)
relu_mlp = partial(mlp, "relu_mlp", "relu", "square", "W", margin=0.02)
sigmoid_mlp = partial(mlp, "sigmoid_mlp", "sigmoid", "square", "Wb")
softmax_mlp = partial(mlp, "softmax_mlp", "tanh", "softmax", "W")


def residual(rng, dtype=np.float64, n=7, d=5, h=4, k=3):
    """Add to a layer's input what it computes: the derivative comes back by two ways."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, Y):
        a = X @ x["W"]
        return np.sum(((a + np.tanh(a @ x["V"])) @ x["U"] - Y) ** 2) / (2 * len(X))

    def df(x, X, Y, *, parts=PARTS):
        a = X @ x["W"]
        z = a @ x["V"]
        b = np.tanh(z)
        d = parts.half_square((a + b) @ x["U"] - Y) * parts.share(X, Y)
        skip = parts.through(d, x["U"])
        branch = parts.tanh(skip, z, b)
        return {
            "W": parts.weight(X, parts.add(skip, parts.through(branch, x["V"]))),
            "V": parts.weight(a, branch),
            "U": parts.weight(a + b, d),
        }

    x = {"W": normal(d, h), "V": normal(h, h), "U": normal(h, k)}
    return Case("residual", f, df, x, (normal(n, d), normal(n, k)))


def siamese(rng, dtype=np.float64, n=7, d=5, h=3):
    """Compare two inputs that go through the same layer."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, Z, y):
        r = np.sum((np.tanh(X @ x["W"] + x["b"]) - np.tanh(Z @ x["W"] + x["b"])) ** 2, axis=1) - y
        return r @ r / (2 * len(X))

    def df(x, X, Z, y, *, parts=PARTS):
        u, v = X @ x["W"] + x["b"], Z @ x["W"] + x["b"]
        difference = np.tanh(u) - np.tanh(v)
        r = np.sum(difference**2, axis=1) - y
        d = parts.square(difference) * (parts.half_square(r) * parts.share(X, u))[:, None]
        du, dv = parts.tanh(d, u, np.tanh(u)), parts.tanh(-d, v, np.tanh(v))
        return {
            "W": parts.add(parts.weight(X, du), parts.weight(Z, dv)),
            "b": parts.add(parts.bias(du), parts.bias(dv)),
        }

    x = {"W": normal(d, h), "b": normal(h)}
    args = (normal(n, d), normal(n, d), normal(n))
    return Case("siamese", f, df, x, args)


def dropout_mlp(rng, dtype=np.float64, n=7, d=5, h=4, k=3):
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, Y, mask, p):
        a = np.tanh(X @ x["W1"] + x["b1"]) * mask / (1 - p)
        return np.sum((a @ x["W2"] + x["b2"] - Y) ** 2) / (2 * len(X))

    def df(x, X, Y, mask, p, *, parts=PARTS):
        z = X @ x["W1"] + x["b1"]
        a = np.tanh(z)
        kept = a * mask / (1 - p)
        d2 = parts.half_square(kept @ x["W2"] + x["b2"] - Y) * parts.share(X, Y)
        d1 = parts.tanh(parts.dropout(parts.through(d2, x["W2"]), mask, p), z, a)
        return {
            "W1": parts.weight(X, d1),
            "b1": parts.bias(d1),
            "W2": parts.weight(kept, d2),
            "b2": parts.bias(d2),
        }

    x = {"W1": normal(d, h), "b1": normal(h)}
    x |= {"W2": normal(h, k), "b2": normal(k)}
    args = (normal(n, d), normal(n, k), draw_mask(rng, n, h, dtype=dtype), 0.35)
    return Case("dropout_mlp", f, df, x, args)


def draw_mask(rng, *shape, dtype):
    mask = (rng.random(shape) < 0.65).astype(dtype)
    mask.flat[:2] = 0, 1  # both kinds, always
    return mask


def dropconnect(rng, dtype=np.float64, n=7, d=5, k=3):
    """Drop weights instead of activations."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, Y, mask, p):
        return np.sum((X @ (x["W"] * mask / (1 - p)) + x["b"] - Y) ** 2) / (2 * len(X))

    def df(x, X, Y, mask, p, *, parts=PARTS):
        d = parts.half_square(X @ (x["W"] * mask / (1 - p)) + x["b"] - Y) * parts.share(X, Y)
        return {"W": parts.dropout(parts.weight(X, d), mask, p), "b": parts.bias(d)}

    x = {"W": normal(d, k), "b": normal(k)}
    args = (normal(n, d), normal(n, k), draw_mask(rng, d, k, dtype=dtype), 0.35)
    return Case("dropconnect", f, df, x, args)


def dropout_regression(rng, dtype=np.float64, n=7, d=5):
    """Drop inputs."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, y, mask, p):
        r = (X * mask / (1 - p)) @ x["w"] + x["b"] - y
        return r @ r / (2 * len(X))

    def df(x, X, y, mask, p, *, parts=PARTS):
        d = parts.half_square((X * mask / (1 - p)) @ x["w"] + x["b"] - y) * parts.share(X, X)
        return {"w": parts.dropout(X * d[:, None], mask, p).sum(axis=0), "b": parts.bias(d)}

    x = {"w": normal(d), "b": normal()}
    args = (normal(n, d), normal(n), draw_mask(rng, n, d, dtype=dtype), 0.35)
    return Case("dropout_regression", f, df, x, args)


def pruned(rng, dtype=np.float64, n=7, d=5, k=3):
    """Regress with weights some of which are switched off."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, Y, mask):
        return np.sum((np.tanh(X @ (x["W"] * mask) + x["b"]) - Y) ** 2) / (2 * len(X))

    def df(x, X, Y, mask, *, parts=PARTS):
        z = X @ (x["W"] * mask) + x["b"]
        d = parts.tanh(parts.half_square(np.tanh(z) - Y) * parts.share(X, Y), z, np.tanh(z))
        return {"W": parts.mask(parts.weight(X, d), mask), "b": parts.bias(d)}

    x = {"W": normal(d, k), "b": normal(k)}
    args = (normal(n, d), normal(n, k), draw_mask(rng, d, k, dtype=dtype))
    return Case("pruned", f, df, x, args)


# ---------------------------------------------------------------------------------------------------------------------
# Normalisation
# ---------------------------------------------------------------------------------------------------------------------


def norm_net(name, axis, rng, dtype=np.float64, n=7, d=5, h=4, k=3):
    """Normalise a layer over the batch (axis 0; then b1 does nothing) or over its features (axis 1)."""
    normal = partial(draw, rng, dtype=dtype)

    def forward(x, X):
        z, std = standardise(X @ x["W1"] + x["b1"], axis)
        return z, std, np.tanh(x["gamma"] * z + x["beta"])

    def f(x, X, Y):
        return np.sum((forward(x, X)[2] @ x["W2"] - Y) ** 2) / (2 * len(X))

    def df(x, X, Y, *, parts=PARTS):
        z, std, a = forward(x, X)
        d2 = parts.half_square(a @ x["W2"] - Y) * parts.share(X, Y)
        d = parts.tanh(parts.through(d2, x["W2"]), None, a)
        d1 = parts.standardise(parts.scale(d, x["gamma"]), z, std, axis)
        return {
            "W1": parts.weight(X, d1),
            "b1": parts.bias(d1),
            "gamma": parts.unbroadcast(d * z, x["gamma"].shape),
            "beta": parts.unbroadcast(d, x["beta"].shape),
            "W2": parts.weight(a, d2),
        }

    x = {"W1": normal(d, h), "b1": normal(h)}
    x |= {"gamma": normal(h, scale=0.8), "beta": normal(h)}
    x["W2"] = normal(h, k)
    return Case(name, f, df, x, (normal(n, d), normal(n, k)))


batchnorm_net = partial(norm_net, "batchnorm_net", 0)
layernorm_net = partial(norm_net, "layernorm_net", 1)


def standardised(rng, dtype=np.float64, n=7, h=4):
    """Take the batch itself as a parameter, normalise it and weigh the result."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, R):
        return np.sum(R * np.tanh(x["gamma"] * standardise(x["batch"], 0)[0] + x["beta"]))

    def df(x, R, *, parts=PARTS):
        z, std = standardise(x["batch"], 0)
        d = parts.tanh(R, None, np.tanh(x["gamma"] * z + x["beta"]))
        return {
            "batch": parts.standardise(parts.scale(d, x["gamma"]), z, std, 0),
            "gamma": parts.unbroadcast(d * z, x["gamma"].shape),
            "beta": parts.unbroadcast(d, x["beta"].shape),
        }

    x = {"batch": normal(n, h), "gamma": normal(h, scale=0.8)}
    x["beta"] = normal(h)
    return Case("standardised", f, df, x, (normal(n, h),))


def weight_norm(rng, dtype=np.float64, n=7, d=5, k=3):
    """Regress with columns of a length and a direction."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, Y):
        u = x["v"] / np.sqrt((x["v"] ** 2).sum(axis=0))
        return np.sum((X @ (u * x["length"]) + x["b"] - Y) ** 2) / (2 * len(X))

    def df(x, X, Y, *, parts=PARTS):
        size = np.sqrt((x["v"] ** 2).sum(axis=0))
        u = x["v"] / size
        d = parts.half_square(X @ (u * x["length"]) + x["b"] - Y) * parts.share(X, Y)
        dW = parts.weight(X, d)
        return {
            "v": parts.unit(parts.scale(dW, x["length"]), u, size),
            "length": (dW * u).sum(axis=0),
            "b": parts.bias(d),
        }

    x = {"v": normal(d, k), "length": normal(k), "b": normal(k)}
    return Case("weight_norm", f, df, x, (normal(n, d), normal(n, k)))


def adapter(rng, dtype=np.float64, n=7, d=5, k=3):
    """Scale and shift what a layer computes, without normalising it."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, R):
        return np.sum(R * np.tanh(x["gamma"] * (X @ x["W"]) + x["beta"]))

    def df(x, X, R, *, parts=PARTS):
        z = X @ x["W"]
        d = parts.tanh(R, None, np.tanh(x["gamma"] * z + x["beta"]))
        return {
            "W": parts.weight(X, parts.scale(d, x["gamma"])),
            "gamma": parts.unbroadcast(d * z, x["gamma"].shape),
            "beta": parts.unbroadcast(d, x["beta"].shape),
        }

    x = {"W": normal(d, k), "gamma": normal(k, scale=0.8)}
    x["beta"] = normal(k)
    return Case("adapter", f, df, x, (normal(n, d), normal(n, k)))


# ---------------------------------------------------------------------------------------------------------------------
# Indices: embeddings, sequences
# ---------------------------------------------------------------------------------------------------------------------


def tied_embedding(rng, dtype=np.float64, n=6, t=3, v=8, d=4):
    """Predict a word from its context; the embedding is used to look up and to score."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, ids, y):
        log_p = log_softmax(np.tanh(x["E"][ids].sum(axis=1)) @ x["E"].T + x["b"])
        return -np.mean(log_p[np.arange(len(y)), y])

    def df(x, ids, y, *, parts=PARTS):
        z = x["E"][ids].sum(axis=1)
        a = np.tanh(z)
        p = softmax(a @ x["E"].T + x["b"])
        d = parts.cross_entropy(p, one_hot(y, p)) * parts.share(ids, p)
        words = np.repeat(parts.tanh(d @ x["E"], z, a)[:, None], ids.shape[1], axis=1)
        return {
            "E": parts.add(parts.weight(d, a), parts.scatter(x["E"].shape, ids, words)),
            "b": parts.bias(d),
        }

    x = {"E": normal(v, d), "b": normal(v)}
    ids = rng.integers(0, v - 2, (n, t))  # some words are repeated, two are never looked up
    return Case("tied_embedding", f, df, x, (ids, rng.integers(0, v, n)))


def bag_of_words(rng, dtype=np.float64, n=6, t=4, v=9, d=3):
    """Add up embeddings; word 0 is padding and does not count."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, ids, y):
        r = (x["E"][ids] * (ids != 0)[..., None]).sum(axis=1) @ x["w"] - y
        return r @ r / (2 * len(ids))

    def df(x, ids, y, *, parts=PARTS):
        a = (x["E"][ids] * (ids != 0)[..., None]).sum(axis=1)
        d = parts.half_square(a @ x["w"] - y) * parts.share(ids, a)
        words = np.broadcast_to(np.outer(d, x["w"])[:, None], (*ids.shape, len(x["w"])))
        words = parts.mask(words, (ids != 0)[..., None])
        return {"E": parts.scatter(x["E"].shape, ids, words), "w": parts.weight(a, d)}

    x = {"E": normal(v, d), "w": normal(d)}
    ids = rng.integers(1, v - 1, (n, t))
    ids[::2, -1] = 0
    ids[1, :2] = 3, 3
    return Case("bag_of_words", f, df, x, (ids, normal(n)))


def factorisation(rng, dtype=np.float64, users=6, items=5, k=3, ratings=11):
    """Factor a matrix of which some entries are known, by their row, column and value."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, i, j, y, lam):
        r = (x["U"][i] * x["V"][j]).sum(axis=1) - y
        return r @ r / 2 + lam / 2 * (np.sum(x["U"] ** 2) + np.sum(x["V"] ** 2))

    def df(x, i, j, y, lam, *, parts=PARTS):
        u, v = x["U"][i], x["V"][j]
        d = parts.half_square((u * v).sum(axis=1) - y)[:, None]
        return {
            "U": parts.scatter(x["U"].shape, i, d * v) + parts.l2(x["U"], lam, len(y)),
            "V": parts.scatter(x["V"].shape, j, d * u) + parts.l2(x["V"], lam, len(y)),
        }

    x = {"U": normal(users, k), "V": normal(items, k)}
    known = rng.permutation(users * items)[:ratings]
    return Case("factorisation", f, df, x, (known // items, known % items, normal(ratings), 0.27))


def recurrent(name, act, leak, rng, dtype=np.float64, t=5, n=7, d=3, h=4, k=6):
    """Unroll a recurrent net over t steps, with an error at each; a leaky one keeps a part of its state."""
    normal = partial(draw, rng, dtype=dtype)

    def forward(x, U):
        state, z, a = [np.tile(x["h0"], (U.shape[1], 1))], [None], [None]
        for u in U:
            z.append(u @ x["Wx"] + state[-1] @ x["Wh"] + x["b"])
            a.append(ACTIVATIONS[act](z[-1]))
            state.append((1 - leak) * state[-1] + leak * a[-1])
        return state, z, a

    def f(x, U, Y):
        state = forward(x, U)[0]
        return sum(np.sum((s @ x["Wo"] - y) ** 2) for s, y in zip(state[1:], Y, strict=True)) / (2 * U.shape[1])

    def df(x, U, Y, *, parts=PARTS):
        state, z, a = forward(x, U)
        g = {name: np.zeros_like(p) for name, p in x.items()}
        later = np.zeros_like(state[0])
        for t in range(len(U), 0, -1):
            d = parts.half_square(state[t] @ x["Wo"] - Y[t - 1]) * parts.share(U[0], Y[0])
            g["Wo"] = parts.add(g["Wo"], parts.weight(state[t], d))
            ds = later + parts.through(d, x["Wo"])
            dz = getattr(parts, act)(leak * ds, z[t], a[t])
            g["Wx"] = parts.add(g["Wx"], parts.weight(U[t - 1], dz))
            g["Wh"] = parts.add(g["Wh"], parts.weight(state[parts.previous(t)], dz))
            g["b"] = parts.add(g["b"], parts.bias(dz))
            later = (1 - leak) * ds + parts.through(dz, x["Wh"])
        g["h0"] = later.sum(axis=0)
        return g

    x = {"Wx": normal(d, h), "Wh": normal(h, h, scale=0.4), "b": normal(h)}
    x |= {"Wo": normal(h, k), "h0": normal(h)}
    return Case(name, f, df, x, (normal(t, n, d), normal(t, n, k)))


rnn = partial(recurrent, "rnn", "tanh", 1)
leaky_rnn = partial(recurrent, "leaky_rnn", "sigmoid", 0.6)
linear_rnn = partial(recurrent, "linear_rnn", "linear", 1)


# ---------------------------------------------------------------------------------------------------------------------
# Convolution and pooling
# ---------------------------------------------------------------------------------------------------------------------


def conv_net(name, rng, dtype=np.float64, n=2, shape=(9,), c=3, f1=4, f2=6, k1=(5,), k2=(3,), stride=(2,), pad=(1,)):
    """Take two layers of convolution with tanh between them, in any number of dimensions."""
    normal = partial(draw, rng, dtype=dtype)

    def forward(x, X, stride, pad):
        z = convolve(X, x["K1"], stride, pad) + x["b1"]
        a = np.tanh(z)
        return z, a, convolve(a, x["K2"], stride, pad) + x["b2"]

    def f(x, X, Y, stride, pad):
        return np.sum((forward(x, X, stride, pad)[2] - Y) ** 2) / (2 * len(X))

    def df(x, X, Y, stride, pad, *, parts=PARTS):
        z, a, out = forward(x, X, stride, pad)
        d2 = parts.half_square(out - Y) * parts.share(X, out)
        d1 = parts.tanh(parts.conv_input(d2, x["K2"], a.shape, stride, pad), z, a)
        return {
            "K1": parts.conv_kernel(d1, X, x["K1"].shape, stride, pad),
            "b1": parts.unbroadcast(d1, x["b1"].shape),
            "K2": parts.conv_kernel(d2, a, x["K2"].shape, stride, pad),
            "b2": parts.unbroadcast(d2, x["b2"].shape),
        }

    one = (1,) * len(shape)
    x = {"K1": normal(f1, c, *k1), "b1": normal(f1, *one)}
    x |= {"K2": normal(f2, f1, *k2), "b2": normal(f2, *one)}
    X = normal(n, c, *shape)
    Y = normal(*forward(x, X, stride, pad)[2].shape)
    return Case(name, f, df, x, (X, Y, stride, pad))


conv1d_net = partial(conv_net, "conv1d_net")
conv2d_net = partial(
    conv_net, "conv2d_net", shape=(7, 6), c=1, f1=3, f2=2, k1=(3, 2), k2=(2, 3), stride=(2, 1), pad=(1, 2)
)


def deblur(name, rng, dtype=np.float64, c=2, shape=(9,), filters=3, kernel=(4,), stride=(2,), pad=(2,)):
    """Look for an image and a kernel that explain what was measured."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, Y, stride, pad):
        return np.sum((convolve(x["image"][None], x["kernel"], stride, pad)[0] - Y) ** 2) / 2

    def df(x, Y, stride, pad, *, parts=PARTS):
        image = x["image"][None]
        d = parts.half_square(convolve(image, x["kernel"], stride, pad) - Y)
        return {
            "image": parts.conv_input(d, x["kernel"], image.shape, stride, pad)[0],
            "kernel": parts.conv_kernel(d, image, x["kernel"].shape, stride, pad),
        }

    x = {"image": normal(c, *shape), "kernel": normal(filters, c, *kernel)}
    Y = normal(*convolve(x["image"][None], x["kernel"], stride, pad).shape[1:])
    return Case(name, f, df, x, (Y, stride, pad))


deblur1d = partial(deblur, "deblur1d")
deblur2d = partial(deblur, "deblur2d", c=1, shape=(7, 6), filters=2, kernel=(3, 4), stride=(1, 2), pad=(1, 1))


def pooling_back(x, index, d, kind, parts):
    """Take d, shape (..., windows), back to x, shape (..., entries); a maximum that occurs twice goes to the first."""
    every = (slice(None),) * (x.ndim - 1)
    if kind == "average":
        size = index.shape[1]
        return parts.scatter(x.shape, (*every, index), np.repeat(d[..., None], size, axis=-1) / size)
    winner = index[np.arange(len(index)), x[..., index].argmax(axis=-1)]
    rows = tuple(np.ix_(*map(np.arange, winner.shape)))[:-1]
    return parts.scatter(x.shape, (*rows, winner), d)


def pool(x, index, kind):
    return x[..., index].mean(axis=-1) if kind == "average" else x[..., index].max(axis=-1)


def pooling_margin(x, index, kind):
    if kind == "average":
        return np.inf
    top = np.sort(x[..., index], axis=-1)[..., -2:]
    return np.min(top[..., 1] - top[..., 0])


def energy(name, kind, rng, dtype=np.float64, shape=(11,), size=(4,), stride=(2,)):
    """Pool the squares of a signal; every window counts the same."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, size, stride):
        return np.mean(pool(x.ravel() ** 2, windows(x.shape, size, stride), kind))

    def df(x, size, stride, *, parts=PARTS):
        index = windows(x.shape, size, stride)
        d = np.full(len(index), 1 / len(index), x.dtype)
        return pooling_back(x.ravel() ** 2, index, d, kind, parts).reshape(x.shape) * parts.square(x)

    return away(
        lambda: Case(name, f, df, normal(*shape), (size, stride)),
        lambda case: pooling_margin(case.x.ravel() ** 2, windows(shape, size, stride), kind),
        0.02,
    )


average_energy = partial(energy, "average_energy", "average")
max_energy = partial(energy, "max_energy", "max")
patch_energy = partial(energy, "patch_energy", "average", shape=(6, 5), size=(3, 2), stride=(1, 2))


def pool_net(name, kind, rng, dtype=np.float64, n=3, d=5, entries=8, k=2):
    """Pool what a layer computes, in windows that overlap."""
    normal = partial(draw, rng, dtype=dtype)

    def f(x, X, Y, size, stride):
        a = pool(X @ x["W"] + x["b"], windows((x["b"].size,), size, stride), kind)
        return np.sum((a @ x["V"] - Y) ** 2) / (2 * len(X))

    def df(x, X, Y, size, stride, *, parts=PARTS):
        z = X @ x["W"] + x["b"]
        index = windows((z.shape[1],), size, stride)
        a = pool(z, index, kind)
        d = parts.half_square(a @ x["V"] - Y) * parts.share(X, Y)
        dz = pooling_back(z, index, parts.through(d, x["V"]), kind, parts)
        return {"W": parts.weight(X, dz), "b": parts.bias(dz), "V": parts.weight(a, d)}

    size, stride = (3,), (1,)
    index = windows((entries,), size, stride)

    def make():
        x = {"W": normal(d, entries), "b": normal(entries)}
        x["V"] = normal(len(index), k)
        return Case(name, f, df, x, (normal(n, d), normal(n, k), size, stride))

    return away(make, lambda case: pooling_margin(case.args[0] @ case.x["W"] + case.x["b"], index, kind), 0.02)


average_pool_net = partial(pool_net, "average_pool_net", "average")
max_pool_net = partial(pool_net, "max_pool_net", "max")


MODELS: dict[str, Callable[..., Case]] = {
    "quadratic": quadratic,
    "ridge": ridge,
    "elastic_net": elastic_net,
    "sparse_coding": sparse_coding,
    "nonnegative": nonnegative,
    "huber": huber,
    "logistic": logistic,
    "poisson": poisson,
    "gaussian": gaussian,
    "gaussian_sigma": partial(gaussian, chart="plain"),
    "density": density,
    "gaussian_process": gaussian_process,
    "covariance": covariance,
    "packed_covariance": packed_covariance,
    "softplus": softplus,
    "log_cosh": log_cosh,
    "elu": elu,
    "clipped": clipped,
    "smooth": smooth,
    "baseline": baseline,
    "simplex": simplex,
    "sigmoid_gates": gates,
    "tanh_gates": partial(gates, act="tanh"),
    "broadcasting": broadcasting,
    "anova": anova,
    "softmax_regression": softmax_regression,
    "logit_table": logit_table,
    "brier": brier,
    "policy": policy,
    "mixture": mixture,
    "attention": attention,
    "tanh_mlp": tanh_mlp,
    "linear_mlp": linear_mlp,
    "relu_mlp": relu_mlp,
    "sigmoid_mlp": sigmoid_mlp,
    "softmax_mlp": softmax_mlp,
    "residual": residual,
    "siamese": siamese,
    "dropout_mlp": dropout_mlp,
    "dropconnect": dropconnect,
    "dropout_regression": dropout_regression,
    "pruned": pruned,
    "batchnorm_net": batchnorm_net,
    "layernorm_net": layernorm_net,
    "standardised": standardised,
    "weight_norm": weight_norm,
    "adapter": adapter,
    "tied_embedding": tied_embedding,
    "bag_of_words": bag_of_words,
    "factorisation": factorisation,
    "rnn": rnn,
    "leaky_rnn": leaky_rnn,
    "linear_rnn": linear_rnn,
    "conv1d_net": conv1d_net,
    "conv2d_net": conv2d_net,
    "deblur1d": deblur1d,
    "deblur2d": deblur2d,
    "average_energy": average_energy,
    "max_energy": max_energy,
    "patch_energy": patch_energy,
    "average_pool_net": average_pool_net,
    "max_pool_net": max_pool_net,
}


# ---------------------------------------------------------------------------------------------------------------------
# Points at a kink, where more than one gradient is right
# ---------------------------------------------------------------------------------------------------------------------


def at_kink(model, move, **convention):
    """Return a function rng -> (case, the same case with another convention for the derivative at the kink)."""

    def make(rng):
        case = move(MODELS[model](rng))
        return case, replace(case, df=partial(case.df, parts=replace(PARTS, **convention)))

    return make


def with_entries(name, values):
    """Return a function that sets entries of x, or of the block of that name, to values at which there is a kink."""

    def move(case):
        block = case.x.copy() if name is None else case.x[name].copy()
        block[list(values)] = list(values.values())
        return replace(case, x=block if name is None else {**case.x, name: block})

    return move


def touching_zero(case):
    """Move a ReLU net to integers, so that exactly one of its hidden units is exactly zero for one row of data."""
    rng = np.random.default_rng(list(case.x["W1"].tobytes()))
    X = case.args[0]
    while True:
        X = rng.integers(-3, 4, X.shape).astype(X.dtype)
        x = {**case.x, "W1": rng.choice([-2.0, -1, 1, 2], case.x["W1"].shape)}
        x["b1"] = rng.choice([-1.0, 1], case.x["b1"].shape)
        if np.sum(X @ x["W1"] + x["b1"] == 0) == 1:
            return replace(case, x=x, args=(X, *case.args[1:]))


def largest_twice(case):
    x = case.x.copy()
    x[4], x[5] = 2.5, -2.5  # both in the same two windows
    return replace(case, x=x)


def tie_to_both(rng):
    first = largest_twice(MODELS["max_energy"](rng))

    def df(x, size, stride):
        g = first.df(x, size, stride)
        if abs(x[4]) != abs(x[5]):
            return g
        half = abs(g[4]) / 2
        g[4], g[5] = half * np.sign(x[4]), half * np.sign(x[5])
        return g

    return first, replace(first, df=df)


KINKS: dict[str, Callable[[np.random.Generator], tuple[Case, Case]]] = {
    "elastic_net": at_kink("elastic_net", with_entries("w", {1: 0.0}), l1=lambda w, lam, n: np.where(w < 0, -lam, lam)),
    "sparse_coding": at_kink(
        "sparse_coding",
        with_entries(None, {2: 0.0, 5: 0.0}),
        l1=lambda w, lam, n: lam * np.where(w == 0, -0.3, np.sign(w)),
    ),
    "nonnegative": at_kink("nonnegative", with_entries(None, {3: 0.0}), relu=lambda d, z, a: d * (z >= 0)),
    "clipped": at_kink(
        "clipped",
        with_entries(None, {0: 0.8, 2: -0.75}),
        clip=lambda d, z, low, high: d * ((z >= low) & (z <= high)),
    ),
    "relu_mlp": at_kink("relu_mlp", touching_zero, relu=lambda d, z, a: d * (z >= 0)),
    "max_energy": tie_to_both,
}
