"""Bugs that people write into gradients, planted in the models of gallery.py, for every entry of the catalogue.

`MUTANTS` has one row per bug. ``mutant.make(rng)`` returns what was `Planted`: the case with the bug, the case without,
and where the gradient is wrong. There are three ways to plant:

replaced    another rule in the backward pass, as somebody would write it
edited      something done to the finished gradient
rigged      a bug of the functions, not of the numbers: state, shapes, precision

`expected` is the set of entries that are right to name. It is more than the entry itself only where f, df, x and args
are the same for two of them. `tellable` is False where no number gives the cause away: such a gradient must fail, but
nothing can be asked of the diagnosis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from fallline.trees import leaves, rebuild
from gallery import KINKS, MODELS, PARTS, Case, sigmoid, softmax, unbroadcast


@dataclass(frozen=True)
class Planted:
    """A case with a bug; `wrong` has a mask for every block, or is None where the entries are not what is wrong."""

    case: Case
    correct: Case
    expected: frozenset[int]
    tellable: bool
    wrong: dict[str, np.ndarray] | None


@dataclass(frozen=True)
class Mutant:
    number: int
    id: str
    make: Callable[[np.random.Generator], Planted]


MUTANTS: list[Mutant] = []


def differs(g: Any, truth: Any, rtol: float) -> dict[str, np.ndarray]:
    """Return for every block where two gradients differ by more than rounding."""
    largest = max(np.max(np.abs(leaf)) for _, leaf in leaves(truth))
    masks = {}
    for (name, a), (_, b) in zip(leaves(g), leaves(truth), strict=True):
        masks[name] = np.abs(a - b) > rtol * np.maximum(np.abs(a), np.abs(b)) + 1e-14 * largest
    return masks


def add(number, model, label, plant, expected, tellable, rtol=None):
    """Add a row; with `rtol`, the entries are wrong, and models are drawn until some are."""

    def make(rng):
        for _ in range(100):
            correct = MODELS[model](rng)
            case = plant(correct)
            wrong = None
            if rtol is not None:
                wrong = differs(case.df(case.x, *case.args), correct.df(correct.x, *correct.args), rtol)
            if wrong is None or any(mask.any() for mask in wrong.values()):
                return Planted(case, correct, frozenset(expected or {number}), tellable, wrong)
        raise AssertionError(f"{number} {model} {label}: never wrong")

    MUTANTS.append(Mutant(number, f"{number:02}-{model}-{label}", make))


def replaced(number, model, label, *, expected=None, tellable=True, **parts):
    def plant(case):
        return replace(case, df=partial(case.df, parts=replace(PARTS, **parts)))

    add(number, model, label, plant, expected, tellable, rtol=1e-8)


def edited(number, model, label, edit, *, expected=None, tellable=True, rtol=1e-8):
    """Plant ``edit(g, x, *args)``, which may change g in place, or return another."""

    def plant(case):
        def df(x, *args):
            g = case.df(x, *args)
            changed = edit(g, x, *args)
            return g if changed is None else changed

        return replace(case, df=df)

    add(number, model, label, plant, expected, tellable, rtol)


def rigged(number, model, label, rig, *, expected=None, tellable=True):
    add(number, model, label, rig, expected, tellable)


def tree_map(function, *trees):
    """Return a tree of function(leaf, ...)."""
    named = [dict(leaves(tree)) for tree in trees]
    return rebuild(trees[0], lambda name: function(*(leaf[name] for leaf in named)))


def block(name, change):
    """Return an edit of one block."""

    def edit(g, *_):
        g[name] = change(g[name])

    return edit


# ---------------------------------------------------------------------------------------------------------------------
# 1-3: signs
# ---------------------------------------------------------------------------------------------------------------------


def negated(g, *_):
    return tree_map(np.negative, g)


edited(1, "quadratic", "ascent", negated)
edited(1, "poisson", "log-likelihood", negated)
edited(1, "gaussian_process", "log-likelihood", negated)
edited(1, "tanh_mlp", "ascent", negated)

edited(2, "tanh_mlp", "W2", block("W2", np.negative))
edited(2, "gaussian", "log_sigma", block("log_sigma", np.negative))
edited(2, "rnn", "h0", block("h0", np.negative))
edited(2, "attention", "K", block("K", np.negative))
edited(2, "deblur2d", "image", block("image", np.negative))
# One term of a sum: E is twice that term, which is no multiple of anything known.
edited(2, "gaussian", "one-term", block("log_sigma", lambda g: g - 2), tellable=False)


def smooth_sign(g, x, y, c):
    g[:-1] += 8 * c * (x[1:] - x[:-1]) ** 3


edited(2, "smooth", "one-term", smooth_sign, tellable=False)

replaced(3, "softplus", "left-tail", softplus=lambda x: np.where(x < -20, -1, 1) * PARTS.softplus(x))
replaced(3, "log_cosh", "left-tail", log_cosh=lambda x: np.where(np.abs(x) > 20, 1, np.tanh(x)))
replaced(3, "elu", "negative", elu=lambda x: np.where(x > 0, 1, -np.exp(np.minimum(x, 0))))
replaced(
    3,
    "huber",
    "linear-part",
    huber=lambda r, delta: np.where(np.abs(r) <= delta, r, -delta * np.sign(r)),
    tellable=False,  # branches of residuals, of which every parameter sees a sum
)

# ---------------------------------------------------------------------------------------------------------------------
# 4-7: factors
# ---------------------------------------------------------------------------------------------------------------------

for model in ("softmax_mlp", "ridge", "logistic", "tied_embedding", "rnn"):
    replaced(4, model, "sum", share=lambda X, d: 1.0)

for model in ("softmax_regression", "tanh_mlp", "gaussian", "brier"):
    replaced(5, model, "mean-twice", share=lambda X, d: 1 / len(X) ** 2)

replaced(6, "softmax_regression", "classes", share=lambda X, d: 1 / d.shape[1])
replaced(6, "ridge", "features", share=lambda X, d: 1 / X.shape[1])
replaced(6, "elastic_net", "features", share=lambda X, d: 1 / X.shape[1])
replaced(6, "logistic", "features", share=lambda X, d: 1 / X.shape[1])
replaced(6, "sigmoid_mlp", "all-entries", share=lambda X, d: 1 / d.size)


def root_missing(g, x, *_):
    for name in ("Q", "K"):
        g[name] *= x["Q"].shape[1] ** 0.5


edited(6, "attention", "no-root", root_missing)

for model in ("ridge", "brier", "clipped", "average_energy"):
    replaced(7, model, "no-2", square=lambda r: r)
for model in ("tanh_mlp", "anova", "deblur1d"):
    replaced(7, model, "extra-2", half_square=lambda r: 2 * r)

# ---------------------------------------------------------------------------------------------------------------------
# 8-13: regularisation
#
# E = b * w. Whether the loss has lam * w² or lam / 2 * w² stands in its code alone, so a term of the wrong factor, a
# term left out and a term taken twice are the same numbers: b = -lam is 8 of the first and 9 of the second loss,
# b = lam is 8 or 10 of the second, b = -2 lam is 9 of the first and 10 (wrong sign) of the second.
# ---------------------------------------------------------------------------------------------------------------------

for model in ("softmax_regression", "logistic", "sigmoid_mlp"):
    replaced(8, model, "2-lam-for-lam", l2=lambda w, lam, n: 2 * lam * w, expected={8, 10})
replaced(8, "ridge", "lam-for-2-lam", l2_whole=lambda w, lam, n: lam * w, expected={8, 9})

for model in ("softmax_mlp", "tanh_mlp", "factorisation"):
    replaced(9, model, "dropped", l2=lambda w, lam, n: 0 * w, expected={8, 9})
replaced(9, "ridge", "dropped", l2_whole=lambda w, lam, n: 0 * w, expected={9, 10})

for model in ("elastic_net", "factorisation", "softmax_mlp"):
    replaced(10, model, "sign", l2=lambda w, lam, n: -lam * w, expected={9, 10})
replaced(10, "ridge", "sign", l2_whole=lambda w, lam, n: -2 * lam * w)
replaced(10, "ridge", "twice", l2_whole=lambda w, lam, n: 4 * lam * w)
replaced(10, "tanh_mlp", "twice", l2=lambda w, lam, n: 2 * lam * w, expected={8, 10})

for model in ("softmax_regression", "logistic", "sigmoid_mlp"):
    replaced(11, model, "divided", l2=lambda w, lam, n: lam * w / n)
replaced(11, "ridge", "divided", l2_whole=lambda w, lam, n: 2 * lam * w / n)

for model in ("softmax_regression", "logistic", "tanh_mlp", "elastic_net"):
    replaced(12, model, "regularised", l2_bias=lambda b, lam, n: lam * b)


def bias_excluded(g, x, X, y, lam):
    for name in ("b1", "b2"):
        g[name] -= lam * x[name]


edited(12, "sigmoid_mlp", "excluded", bias_excluded)

replaced(13, "elastic_net", "dropped", l1=lambda w, lam, n: 0 * w)
replaced(13, "sparse_coding", "sign", l1=lambda w, lam, n: -lam * np.sign(w))
replaced(13, "poisson", "divided", l1=lambda w, lam, n: lam * np.sign(w) / n)
replaced(13, "poisson", "twice", l1=lambda w, lam, n: 2 * lam * np.sign(w))

# ---------------------------------------------------------------------------------------------------------------------
# 14-15: activations. A ratio g / D is a function of the unit only where one parameter is one unit's input.
# ---------------------------------------------------------------------------------------------------------------------

replaced(14, "sigmoid_gates", "missing", sigmoid=lambda d, z, a: d)
replaced(14, "tanh_gates", "missing", tanh=lambda d, z, a: d)
replaced(14, "sigmoid_mlp", "missing", sigmoid=lambda d, z, a: d, tellable=False)
replaced(14, "tanh_mlp", "missing", tanh=lambda d, z, a: d, tellable=False)
replaced(14, "conv1d_net", "missing", tanh=lambda d, z, a: d, tellable=False)

replaced(15, "sigmoid_gates", "at-a", sigmoid=lambda d, z, a: d * sigmoid(a) * (1 - sigmoid(a)))
replaced(15, "sigmoid_gates", "tanh-formula", sigmoid=lambda d, z, a: d * (1 - a**2))
replaced(15, "tanh_gates", "at-a", tanh=lambda d, z, a: d * (1 - np.tanh(a) ** 2))
replaced(15, "tanh_gates", "sigmoid-formula", tanh=lambda d, z, a: d * a * (1 - a))
replaced(15, "sigmoid_mlp", "tanh-formula", sigmoid=lambda d, z, a: d * (1 - a**2), tellable=False)
replaced(15, "tanh_mlp", "at-a", tanh=lambda d, z, a: d * (1 - np.tanh(a) ** 2), tellable=False)

# ---------------------------------------------------------------------------------------------------------------------
# 16-19: softmax
# ---------------------------------------------------------------------------------------------------------------------

for model in ("policy", "attention", "brier", "mixture"):
    # In attention, only the sum over a row of scores is seen to be lost, and that is no proof.
    replaced(16, model, "diagonal", softmax=lambda d, p: d * p * (1 - p), tellable=model != "attention")

for model in ("logit_table", "softmax_regression", "softmax_mlp", "tied_embedding"):
    replaced(17, model, "no-label", cross_entropy=lambda p, target: p)

# That the sums over classes stay zero is no proof. Where the parameters are the logits, there is an exact one.
for model in ("logit_table", "softmax_regression", "softmax_mlp"):
    replaced(
        18,
        model,
        "jacobian-again",
        cross_entropy=lambda p, target: PARTS.softmax(p - target, p),
        tellable=model == "logit_table",
    )
replaced(18, "logit_table", "of-probabilities", cross_entropy=lambda p, target: softmax(p) - target)
replaced(18, "policy", "of-probabilities", softmax=lambda d, p: PARTS.softmax(d, softmax(p)), tellable=False)
replaced(18, "brier", "jacobian-again", softmax=lambda d, p: PARTS.softmax(PARTS.softmax(d, p), p), tellable=False)

for model in ("logit_table", "softmax_regression", "softmax_mlp", "tied_embedding"):
    replaced(19, model, "plus-label", cross_entropy=lambda p, target: p + target)

# ---------------------------------------------------------------------------------------------------------------------
# 20-23: axes
# ---------------------------------------------------------------------------------------------------------------------


def reordered(g):
    return g.ravel(order="F").reshape(g.shape)


edited(20, "ridge", "reshape-W", block("W", reordered))
edited(20, "softmax_regression", "reshape-W", block("W", reordered))
edited(20, "tanh_mlp", "transposed-W2", block("W2", np.transpose))
edited(20, "rnn", "transposed-Wh", block("Wh", np.transpose))
edited(20, "attention", "reshape-Q", block("Q", reordered))
edited(20, "conv1d_net", "channels-K1", block("K1", lambda g: g.swapaxes(0, 1).reshape(g.shape)))
edited(20, "deblur2d", "reshape-kernel", block("kernel", lambda g: g.swapaxes(2, 3).reshape(g.shape)))


def not_transposed(d, W):
    return d @ (W if W.shape[0] == W.shape[1] else W.T)


# Linear layers are the exception: the gradient of one bias is that of the next, times W or its transpose.
replaced(21, "linear_mlp", "W-for-W.T", through=not_transposed)
for model in ("tanh_mlp", "rnn", "linear_rnn", "residual"):
    replaced(21, model, "W-for-W.T", through=not_transposed, tellable=False)

for model in ("tanh_mlp", "softmax_regression", "gaussian", "logistic", "rnn"):
    replaced(22, model, "mean-for-sum", bias=lambda d: d.mean(axis=0))


def bias_not_summed(case):
    return replace(case, df=partial(case.df, parts=replace(PARTS, bias=lambda d: d)))


for model in ("ridge", "dropconnect"):
    rigged(22, model, "not-summed", bias_not_summed)


def total(d, shape):
    return np.full(shape, d.sum(), d.dtype)


def mean_for_sum(d, shape):
    return unbroadcast(d, shape) / (d.size // np.prod(shape, dtype=int))


for model in ("broadcasting", "anova", "adapter"):
    replaced(23, model, "total-everywhere", unbroadcast=total)
# What is added is a bias, whose mean instead of sum is 22 as well.
for model in ("broadcasting", "anova", "conv2d_net"):
    replaced(23, model, "mean-for-sum", unbroadcast=mean_for_sum, expected={22, 23})
replaced(
    23,
    "conv1d_net",
    "length-twice",
    unbroadcast=lambda d, shape: unbroadcast(d, shape) * d.shape[-1],
    expected={22, 23},
)

# ---------------------------------------------------------------------------------------------------------------------
# 24-25: normalisation. A mean or a variance whose path is missing is one that was detached: 24 is 41 here.
# ---------------------------------------------------------------------------------------------------------------------


def without_mean(d, z, std, axis):
    return (d - z * (d * z).mean(axis=axis, keepdims=True)) / std


def without_variance(d, z, std, axis):
    return (d - d.mean(axis=axis, keepdims=True)) / std


# In a net, only a bias before the norm over the batch, whose D is zero, shows which it is.
for model in ("standardised", "batchnorm_net", "layernorm_net"):
    for label, bug, known in (
        ("mean", without_mean, ("standardised", "batchnorm_net")),
        ("variance", without_variance, ("standardised",)),
        ("both", lambda d, z, std, axis: d / std, ("standardised", "batchnorm_net")),
    ):
        replaced(24, model, label, standardise=bug, expected={24, 41}, tellable=model in known)

for model in ("standardised", "batchnorm_net", "adapter", "weight_norm"):
    replaced(25, model, "dropped", scale=lambda d, gamma: d)
# Over the features, gamma is inside the sums: dropping it changes more than a factor.
replaced(25, "layernorm_net", "dropped", scale=lambda d, gamma: d, tellable=False)

# ---------------------------------------------------------------------------------------------------------------------
# 26-28, 30: state
# ---------------------------------------------------------------------------------------------------------------------


def normalises_in_place(case):
    def f(x, *args):
        x["v"] /= np.sqrt((x["v"] ** 2).sum(axis=0))  # the value is the same, and x is not
        return case.f(x, *args)

    return replace(case, f=f)


def relu_in_place(case):
    def f(x, A, y):
        r = A @ np.maximum(x, 0, out=x) - y
        return r @ r / (2 * len(A))

    return replace(case, f=f)


def steps_itself(case):
    def df(x, *args):
        g = case.df(x, *args)
        for name, p in x.items():
            p -= 1e-3 * g[name]
        return g

    return replace(case, df=df)


def built_in_x(case):
    def df(x, y, c):
        d = 4 * c * (x[1:] - x[:-1]) ** 3
        g = x  # meant to be a copy
        g -= y
        g[1:] += d
        g[:-1] -= d
        return g

    return replace(case, df=df)


def residual_in_data(case):
    def df(x, X, y, l1):
        y -= np.exp(X @ x["w"] + x["b"])  # changes the data of every later call
        d = -y / len(X)
        return {"w": X.T @ d + l1 * np.sign(x["w"]), "b": d.sum()}

    return replace(case, df=df)


rigged(26, "weight_norm", "f-normalises-x", normalises_in_place)
rigged(26, "nonnegative", "f-cuts-x", relu_in_place)
rigged(26, "tanh_mlp", "df-steps-x", steps_itself)
rigged(26, "smooth", "df-built-in-x", built_in_x)
rigged(26, "poisson", "df-changes-data", residual_in_data)


def copied(tree):
    return tree_map(np.copy, tree)


def stale(case):
    cache = {}

    def f(x, *args):
        cache["x"] = copied(x)
        return case.f(x, *args)

    def df(x, *args):
        return case.df(cache.get("x", x), *args)

    return replace(case, f=f, df=df)


def stale_residual(case):
    cache = {}

    def f(x, X, Y, lam):
        cache["r"] = X @ x["W"] + x["b"] - Y
        return np.sum(cache["r"] ** 2) / len(X) + lam * np.sum(x["W"] ** 2)

    def df(x, X, Y, lam):
        d = 2 * cache["r"] / len(X) if cache else 2 * (X @ x["W"] + x["b"] - Y) / len(X)
        return {"W": X.T @ d + 2 * lam * x["W"], "b": d.sum(axis=0)}

    return replace(case, f=f, df=df)


for model in ("tanh_mlp", "logistic", "quadratic", "rnn"):
    rigged(27, model, "last-forward", stale)
rigged(27, "ridge", "residual", stale_residual)


def accumulating(case, copy=True):
    buffer = tree_map(np.zeros_like, case.x)

    def df(x, *args):
        for (_, total), (_, g) in zip(leaves(buffer), leaves(case.df(x, *args)), strict=True):
            total += g
        return copied(buffer) if copy else buffer

    return replace(case, df=df)


for model in ("quadratic", "softmax_mlp", "conv1d_net"):
    rigged(28, model, "not-zeroed", accumulating)
# Both at once: the buffer that is not zeroed is what is returned.
rigged(28, "brier", "not-zeroed-nor-copied", partial(accumulating, copy=False), expected={28, 30})


def aliasing(case):
    buffer = tree_map(np.zeros_like, case.x)

    def df(x, *args):
        for (_, kept), (_, g) in zip(leaves(buffer), leaves(case.df(x, *args)), strict=True):
            kept[...] = g
        return buffer

    return replace(case, df=df)


for model in ("policy", "ridge", "rnn"):
    rigged(30, model, "buffer", aliasing)

# ---------------------------------------------------------------------------------------------------------------------
# 29, 31-33: sums and indices
# ---------------------------------------------------------------------------------------------------------------------


def assigned(shape, index, d):
    g = np.zeros(shape, d.dtype)
    g[index] = d
    return g


# Rows that an index names twice give it away. One of two terms of a dense sum is only a wrong number.
for model in ("bag_of_words", "factorisation"):
    replaced(29, model, "rows", scatter=assigned)
for model in ("rnn", "linear_rnn", "tied_embedding", "residual", "siamese"):
    replaced(29, model, "last-term", add=lambda total, term: term, tellable=False)
for model in ("siamese", "residual"):
    replaced(29, model, "first-term", add=lambda total, term: total, tellable=False)

for model in ("rnn", "leaky_rnn", "linear_rnn"):
    replaced(31, model, "h-after", previous=lambda t: t, tellable=False)


def last_zeroed(name, axis):
    def edit(g, *_):
        np.moveaxis(g if name is None else g[name], axis, 0)[-1] = 0

    return edit


edited(32, "smooth", "last-entry", last_zeroed(None, 0))
edited(32, "logit_table", "last-row", last_zeroed(None, 0))
edited(32, "softmax_regression", "last-class", last_zeroed("W", 1))
edited(32, "deblur1d", "last-tap", last_zeroed("kernel", 2))
edited(32, "anova", "last-column", last_zeroed("column", 0))
# The last row of the data: a sum over rows without one.
replaced(32, "huber", "last-sample", weight=lambda a, d: a[:-1].T @ d[:-1], tellable=False)

edited(33, "smooth", "roll", lambda g, *_: np.roll(g, 1))
edited(33, "smooth", "shift", lambda g, *_: np.concatenate([[0], g[:-1]]))
edited(33, "logit_table", "roll-rows", lambda g, *_: np.roll(g, 1, axis=0))
edited(33, "deblur1d", "roll-taps", block("kernel", lambda g: np.roll(g, -1, axis=2)))
edited(33, "anova", "roll-columns", block("column", lambda g: np.roll(g, 2)))

# ---------------------------------------------------------------------------------------------------------------------
# 34-36: chance and kinks
# ---------------------------------------------------------------------------------------------------------------------


def new_mask(case):
    rng = np.random.default_rng(1)

    def drawn(function):
        def call(x, X, Y, mask, p):
            return function(x, X, Y, (rng.random(mask.shape) > p).astype(mask.dtype), p)

        return call

    return replace(case, f=drawn(case.f), df=drawn(case.df))


def minibatch(case):
    rng = np.random.default_rng(1)

    def drawn(function):
        def call(x, X, Y, lam):
            rows = rng.permutation(len(X))[: len(X) // 2]
            return function(x, X[rows], Y[rows], lam)

        return call

    return replace(case, f=drawn(case.f), df=drawn(case.df))


def noisy_inputs(case):
    rng = np.random.default_rng(1)

    def f(x, X, *args):
        return case.f(x, X + 1e-3 * rng.standard_normal(X.shape), *args)

    return replace(case, f=f)


rigged(34, "dropout_mlp", "new-mask", new_mask)
rigged(34, "ridge", "minibatch", minibatch)
rigged(34, "tanh_mlp", "noisy-inputs", noisy_inputs)

for model in ("dropout_mlp", "dropconnect", "dropout_regression"):
    replaced(35, model, "no-scale", dropout=lambda d, mask, p: d * mask)
for model in ("dropout_mlp", "dropconnect"):
    replaced(35, model, "scale-twice", dropout=lambda d, mask, p: d * mask / (1 - p) ** 2)


def add_kink(model):
    """Not a bug: the derivative at the kink by another convention than the gallery's. Nothing is wrong."""

    def make(rng):
        correct, other = KINKS[model](rng)
        none = {name: np.zeros(np.shape(leaf), bool) for name, leaf in leaves(correct.x)}
        return Planted(other, correct, frozenset({36}), True, none)

    MUTANTS.append(Mutant(36, f"36-{model}-convention", make))


for model in KINKS:
    add_kink(model)

# ---------------------------------------------------------------------------------------------------------------------
# 37-41: windows, borders, masks, detached paths
# ---------------------------------------------------------------------------------------------------------------------

for model in ("average_energy", "patch_energy", "max_energy"):
    replaced(37, model, "assigned", scatter=assigned)
# Windows that do not count the same: D / g is no integer.
for model in ("average_pool_net", "max_pool_net"):
    replaced(37, model, "assigned", scatter=assigned, tellable=False)


def without_border(d, kernel, shape, stride, pad):
    g = PARTS.conv_input(d, kernel, shape, stride, pad)
    inner = np.zeros_like(g)
    where = (..., *(slice(p, n - p) for p, n in zip(pad, shape[2:], strict=True)))
    inner[where] = g[where]
    return inner


def without_padded_windows(d, kernel, shape, stride, pad):
    """Leave out the windows that reach into the padding."""
    d = d.copy()
    for axis, (k, n, s, p) in enumerate(zip(kernel.shape[2:], shape[2:], stride, pad, strict=True), start=2):
        start = np.arange(d.shape[axis]) * s
        np.moveaxis(d, axis, 0)[(start < p) | (start + k > n + p)] = 0
    return PARTS.conv_input(d, kernel, shape, stride, pad)


def one_residue(d, kernel, shape, stride, pad):
    """Write only where the first tap of a window can be."""
    g = PARTS.conv_input(d, kernel, shape, stride, pad)
    for axis, (s, p) in enumerate(zip(stride, pad, strict=True), start=2):
        np.moveaxis(g, axis, 0)[(np.arange(g.shape[axis]) + p) % s != 0] = 0
    return g


replaced(38, "deblur1d", "border", conv_input=without_border)
replaced(38, "deblur2d", "border", conv_input=without_border)
replaced(38, "deblur1d", "padded-windows", conv_input=without_padded_windows)
replaced(38, "deblur1d", "residue", conv_input=one_residue)
replaced(38, "deblur2d", "residue", conv_input=one_residue)
for model in ("conv1d_net", "conv2d_net"):
    replaced(38, model, "border", conv_input=without_border, tellable=False)  # seen through the first layer's kernels


def flipped(d, a, shape, stride, pad):
    g = PARTS.conv_kernel(d, a, shape, stride, pad)
    return np.flip(g, axis=tuple(range(2, g.ndim)))


for model in ("deblur1d", "deblur2d", "conv1d_net", "conv2d_net"):
    replaced(39, model, "flipped", conv_kernel=flipped)

replaced(40, "clipped", "clip", clip=lambda d, z, low, high: d)
# The mask of a ReLU is its derivative, and that is missing.
replaced(40, "nonnegative", "relu", relu=lambda d, z, a: d, expected={14, 40})
replaced(40, "pruned", "mask", mask=lambda d, mask: d)
replaced(40, "dropconnect", "mask", dropout=lambda d, mask, p: d / (1 - p))
replaced(40, "bag_of_words", "padding", mask=lambda d, mask: d)
replaced(40, "huber", "clip", huber=lambda r, delta: r, tellable=False)  # sums over rows, clipped and not

replaced(41, "weight_norm", "norm", unit=lambda d, u, length: d / length)
replaced(41, "simplex", "sum", simplex=lambda d, u, total: d / total)
# A mean that was detached is a mean whose path is missing.
replaced(41, "baseline", "mean", centre=lambda d: d, expected={24, 41})

# ---------------------------------------------------------------------------------------------------------------------
# 42-44: dtypes and charts
# ---------------------------------------------------------------------------------------------------------------------


def truncated(g, *_):
    return tree_map(lambda leaf: np.trunc(leaf).astype(np.int64), g)


def truncated_floats(g, *_):
    return tree_map(np.trunc, g)


edited(42, "ridge", "integer-buffer", truncated)
edited(42, "smooth", "integer-buffer", truncated)
edited(42, "softmax_mlp", "integer-buffer", truncated)
edited(42, "poisson", "integer-buffer-cast-back", truncated_floats)


def casts_to_integer(case):
    def f(x, *args):
        return case.f({**x, "W1": x["W1"].astype(int)}, *args)

    return replace(case, f=f)


rigged(42, "tanh_mlp", "f-casts-W1", casts_to_integer)


def narrow(tree):
    """Make float32 of all float64 arrays in a tree or tuple."""
    return tree_map(lambda a: a.astype(np.float32) if getattr(a, "dtype", None) == np.float64 else a, tree)


def wide(tree):
    return tree_map(np.float64, tree)


def gradient_in_single(number, model, label):
    def plant(case):
        return replace(case, df=lambda x, *args: wide(case.df(narrow(x), *narrow(args))))

    add(number, model, label, plant, None, True, rtol=1e-11)


for model in ("tanh_mlp", "ridge", "attention"):
    gradient_in_single(43, model, "df")


# Of the next ones, f is at fault and the gradient is right.
def loss_in_single(case):
    return replace(case, f=lambda x, *args: np.float64(case.f(narrow(x), *narrow(args))))


def rounds_a_block(case):
    def f(x, *args):
        return case.f({**x, "W1": wide(narrow(x["W1"]))}, *args)

    return replace(case, f=f)


for model in ("rnn", "softmax_mlp", "quadratic"):
    rigged(43, model, "f", loss_in_single)
rigged(43, "sigmoid_mlp", "f-rounds-W1", rounds_a_block)


def by_sigma(g, x, *_):
    g["sigma"] = g["sigma"] * x["sigma"]


replaced(44, "gaussian", "by-sigma", log_chart=lambda d, value: d)
edited(44, "gaussian_sigma", "by-log-sigma", by_sigma)
edited(44, "gaussian_process", "by-plain", lambda g, x, *_: g * np.exp(-x))
replaced(44, "density", "of-log-f", log_chart=lambda d, value: d)
edited(44, "covariance", "off-diagonal-twice", lambda g, *_: 2 * g - np.diag(np.diag(g)))
replaced(44, "packed_covariance", "off-diagonal-once", add=lambda total, term: term)
