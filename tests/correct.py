"""Correct gradients of every kind that a checker could take for wrong.

``correct_gradients(count, seed)`` yields cases in which nothing is to be found: a checker that says "fail" is mistaken.
"Inconclusive" is right for some of them. The name of a case is "family/model".
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fallline import problems
from fallline.trees import leaves, rebuild
from gallery import KINKS, MODELS, Case

FAMILIES: dict[str, Callable[[np.random.Generator], Case]] = {}


def correct_gradients(count: int, seed: int = 0) -> Iterator[Case]:
    """Yield `count` cases, all families in turn; case i is the same whatever the count."""
    names = list(FAMILIES)
    for i in range(count):
        yield correct_gradient(names[i % len(names)], (seed, i))


def correct_gradient(family: str, seed: Any) -> Case:
    case = FAMILIES[family](np.random.default_rng(seed))
    return replace(case, name=f"{family}/{case.name}")


def family(function):
    FAMILIES[function.__name__] = function
    return function


def tree_map(function, tree):
    named = dict(leaves(tree))
    return rebuild(tree, lambda name: function(named[name]))


def any_model(rng, dtype=np.float64):
    """Draw a model of the gallery, in other sizes than its own."""
    model = MODELS[rng.choice(list(MODELS))]
    sizes = {
        name: default.default + int(rng.integers(0, 4))
        for name, default in inspect.signature(model).parameters.items()
        if type(default.default) is int
    }
    return model(rng, dtype, **sizes)


def any_vector_model(rng):
    """Draw a model whose parameter is one array."""
    while True:
        case = any_model(rng)
        if isinstance(case.x, np.ndarray):
            return case


# ---------------------------------------------------------------------------------------------------------------------
# The gallery, as it is and transformed
# ---------------------------------------------------------------------------------------------------------------------


@family
def model(rng):
    return any_model(rng)


@family
def scaled_value(rng):
    case = any_model(rng)
    factor = 10.0 ** rng.integers(-12, 13)
    return replace(
        case,
        f=lambda x, *args: factor * case.f(x, *args),
        df=lambda x, *args: tree_map(lambda g: factor * g, case.df(x, *args)),
    )


def in_units(case, unit):
    """Measure x in another unit: f(x / unit) at x * unit. `unit` is a number or an array like x."""

    def plain(x):
        return tree_map(lambda leaf: leaf / unit, x)

    return replace(
        case,
        f=lambda x, *args: case.f(plain(x), *args),
        df=lambda x, *args: tree_map(lambda g: g / unit, case.df(plain(x), *args)),
        x=tree_map(lambda leaf: leaf * unit, case.x),
    )


@family
def scaled_variables(rng):
    return in_units(any_model(rng), 10.0 ** rng.integers(-6, 7))


@family
def badly_scaled_variables(rng):
    case = any_vector_model(rng)
    return in_units(case, 10.0 ** rng.uniform(-4, 4, case.x.shape))


@family
def shifted_value(rng):
    """Add a constant that is large beside what varies."""
    case = any_model(rng)
    constant = rng.choice([-1, 1]) * 10.0 ** rng.integers(0, 9)
    return replace(case, f=lambda x, *args: case.f(x, *args) + constant)


@family
def single_precision(rng):
    return any_model(rng, np.float32)


@family
def scaled_single_precision(rng):
    case = any_model(rng, np.float32)
    factor = np.float32(10.0 ** rng.integers(-8, 9))
    return replace(
        case,
        f=lambda x, *args: factor * case.f(x, *args),
        df=lambda x, *args: tree_map(lambda g: factor * g, case.df(x, *args)),
    )


def fraction(x):
    """Return a number in [-1, 1) that looks like chance and is a function of the bits of x."""
    digest = hashlib.blake2b(digest_size=8)
    for _, leaf in leaves(x):
        digest.update(np.ascontiguousarray(leaf))
    return int.from_bytes(digest.digest(), "little") / 2**63 - 1


@family
def noise(rng):
    """Add an error that repeats, as an inner solver or quadrature leaves it."""
    case = any_model(rng)
    size = 10.0 ** rng.uniform(-12, -6) * abs(case.f(case.x, *case.args))
    return replace(case, f=lambda x, *args: case.f(x, *args) + size * fraction(x))


@family
def rounded_value(rng):
    """Round f to some decimal digits, as a text interface does."""
    case = any_model(rng)
    unit = 10.0 ** np.floor(np.log10(abs(case.f(case.x, *case.args))) - rng.integers(8, 13))
    return replace(case, f=lambda x, *args: unit * np.round(case.f(x, *args) / unit))


@family
def unused_parameters(rng):
    """Add parameters that f does not depend on."""
    case = any_model(rng)
    x = {"model": case.x, "unused": rng.standard_normal((2, 3)), "scalar": np.array(rng.standard_normal())}
    return Case(
        case.name,
        lambda x, *args: case.f(x["model"], *args),
        lambda x, *args: {"model": case.df(x["model"], *args), "unused": np.zeros((2, 3)), "scalar": np.zeros(())},
        x,
        case.args,
    )


@family
def nested(rng):
    """Add up two models, their parameters in a list and a tuple."""
    a, b = any_model(rng), any_model(rng)
    return Case(
        f"{a.name} and {b.name}",
        lambda x: a.f(x[0], *a.args) + b.f(x[1][0], *b.args),
        lambda x: [a.df(x[0], *a.args), (b.df(x[1][0], *b.args),)],
        [a.x, (b.x,)],
    )


@family
def tiny_block(rng):
    """Add a block of parameters that hardly matter."""
    case = any_model(rng)
    weight = 10.0 ** rng.uniform(-14, -2) * rng.standard_normal(4)
    return Case(
        case.name,
        lambda x, *args: case.f(x["model"], *args) + weight @ np.sin(x["tiny"]),
        lambda x, *args: {"model": case.df(x["model"], *args), "tiny": weight * np.cos(x["tiny"])},
        {"model": case.x, "tiny": rng.standard_normal(4)},
        case.args,
    )


@family
def tiny_entries(rng):
    """Let the derivatives by the entries of one vector span many orders of magnitude."""
    n = int(rng.integers(2, 30))
    c = rng.standard_normal(n) * 10.0 ** rng.uniform(-14, 2, n)
    return Case("sines", lambda x, c: c @ np.sin(x), lambda x, c: c * np.cos(x), rng.standard_normal(n), (c,))


# ---------------------------------------------------------------------------------------------------------------------
# Simple functions
# ---------------------------------------------------------------------------------------------------------------------


@family
def constant(rng):
    value = rng.choice([0.0, 1.0, -1.0, 1e-300, 1e300, rng.standard_normal()])
    shape = tuple(rng.integers(1, 5, rng.integers(0, 4)))
    return Case("constant", lambda x: value, np.zeros_like, np.asarray(rng.standard_normal(shape)))


@family
def linear(rng):
    n = int(10 ** rng.uniform(0, 3))
    offset = rng.choice([0.0, 10.0 ** rng.integers(-3, 7)])
    c = rng.standard_normal(n)
    return Case("linear", lambda x, c: c @ x + offset, lambda x, c: c.copy(), rng.standard_normal(n), (c,))


@family
def polynomial(rng):
    n = int(10 ** rng.uniform(0, np.log10(2000)))
    degree = int(rng.integers(1, 6))
    c = rng.standard_normal((degree + 1, n))

    def f(x, c):
        value = c[degree]
        for row in c[degree - 1 :: -1]:
            value = value * x + row
        return np.mean(value)

    def df(x, c):
        value = degree * c[degree]
        for power in range(degree - 1, 0, -1):
            value = value * x + power * c[power]
        return value / n

    return Case(f"polynomial of degree {degree}", f, df, rng.standard_normal(n), (c,))


POLYNOMIALS = ["ravine", "booth", "matyas", "rosenbrock", "beale", "himmelblau", "three_hump_camel", "styblinski_tang"]


@family
def classical(rng):
    problem = problems.get(rng.choice(POLYNOMIALS))
    low, high = np.array(problem.bounds).T
    x = rng.choice([np.array(problem.start), rng.uniform(low, high), np.array(problem.minima[0])], axis=0)
    return Case(problem.name, problem, problem.gradient, x)


@family
def stationary(rng):
    """Take a point at which the gradient is zero but for rounding."""
    n = int(rng.integers(1, 20))
    kind = rng.choice(["minimum", "saddle", "quartic", "cubic", "cosine", "least squares"])
    x = rng.standard_normal(n)
    if kind in ("minimum", "saddle"):
        A = rng.standard_normal((n, n))
        A = A @ A.T + np.eye(n) if kind == "minimum" else A + A.T
        return Case(kind, lambda x, A, x0: (x - x0) @ A @ (x - x0) / 2, lambda x, A, x0: A @ (x - x0), x, (A, x.copy()))
    if kind in ("quartic", "cubic"):
        p = 4 if kind == "quartic" else 3
        return Case(kind, lambda x, x0: np.sum((x - x0) ** p), lambda x, x0: p * (x - x0) ** (p - 1), x, (x.copy(),))
    if kind == "cosine":
        return Case(kind, lambda x: np.sum(np.cos(x)), lambda x: -np.sin(x), np.pi * rng.integers(-3, 4, n))
    X, y = rng.standard_normal((n + 5, n)), rng.standard_normal(n + 5)
    return Case(
        kind,
        lambda x, X, y: np.sum((X @ x - y) ** 2) / 2,
        lambda x, X, y: X.T @ (X @ x - y),
        np.linalg.lstsq(X, y)[0],
        (X, y),
    )


@family
def wavy(rng):
    """Take a frequency so high that a step of ordinary size goes over many waves."""
    n = int(rng.integers(1, 8))
    k = 10.0 ** rng.uniform(0, 5)
    return Case(
        "sine", lambda x, k: np.sum(np.sin(k * x)) / k, lambda x, k: np.cos(k * x), rng.standard_normal(n), (k,)
    )


@family
def far_from_zero(rng):
    """Take an x that is large beside the length over which f varies."""
    n = int(rng.integers(1, 8))
    x = 10.0 ** rng.uniform(2, 8) + rng.standard_normal(n)
    return Case("sine", lambda x: np.sum(np.sin(x)), np.cos, x)


@family
def exponential(rng):
    """Let the value grow by orders of magnitude from entry to entry."""
    n = int(rng.integers(1, 8))
    return Case("exponential", lambda x: np.sum(np.exp(x)), np.exp, rng.uniform(-30, 30, n))


# ---------------------------------------------------------------------------------------------------------------------
# Kinks and ends of domains
# ---------------------------------------------------------------------------------------------------------------------

# name: function and derivative; at the kink, 0, the second takes any slope in `slopes`
KINKED = {
    "abs": (np.abs, np.sign, (-1, 1)),
    "relu": (lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, 1.0, 0.0), (0, 1)),
    "leaky relu": (lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, 1.0, 0.1), (0.1, 1)),
    "hinge": (lambda x: np.maximum(-x, 0), lambda x: np.where(x < 0, -1.0, 0.0), (-1, 0)),
    "clip": (lambda x: np.clip(x, 0, 1), lambda x: np.where((x > 0) & (x < 1), 1.0, 0.0), (0, 1)),
    "elu and more": (
        lambda x: np.where(x > 0, 2 * x, np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 2, np.exp(np.minimum(x, 0))),
        (1, 2),
    ),
}


def kinked(rng, distance):
    """Weigh a function with a kink at 0, of entries some of which are at this distance from it."""
    name = rng.choice(list(KINKED))
    function, derivative, slopes = KINKED[name]
    n = int(rng.integers(1, 12))
    x = rng.uniform(0.1, 0.9, n) * rng.choice([-1, 1], n)
    near = rng.random(n) < 0.4
    near[0] = True
    x[near] = distance * rng.choice([-1, 1], np.sum(near))
    at_kink = rng.uniform(*slopes) if rng.random() < 0.5 else rng.choice(slopes)

    def df(x, c):
        return c * np.where(x == 0, at_kink, derivative(x)) + np.cos(x)

    return Case(name, lambda x, c: c @ function(x) + np.sum(np.sin(x)), df, x, (rng.standard_normal(n),))


@family
def at_kink(rng):
    return kinked(rng, 0.0)


@family
def near_kink(rng):
    return kinked(rng, 10.0 ** rng.uniform(-12, -1))


@family
def model_at_kink(rng):
    case = KINKS[rng.choice(list(KINKS))](rng)
    return case[rng.integers(2)]


@family
def smooth_once(rng):
    """Take functions with a derivative at 0, but no second one."""
    n = int(rng.integers(1, 8))
    x = np.where(rng.random(n) < 0.5, 0, rng.standard_normal(n))
    if rng.random() < 0.5:
        return Case("x|x|", lambda x: np.sum(x * np.abs(x)), lambda x: 2 * np.abs(x), x)
    return Case("|x|^1.5", lambda x: np.sum(np.abs(x) ** 1.5), lambda x: 1.5 * np.sign(x) * np.sqrt(np.abs(x)), x)


@family
def tied_maximum(rng):
    n, ties = int(rng.integers(2, 12)), int(rng.integers(1, 4))
    x = rng.uniform(-1, 0.9, n)
    tied = rng.permutation(n)[:ties]
    x[tied] = 1.0
    to_first = rng.random() < 0.5

    def df(x):
        top = x == x.max()
        return np.where(np.arange(n) == np.argmax(x), 1.0, 0.0) if to_first else top / np.sum(top)

    return Case(f"maximum of {ties}", np.max, df, x)


# name: function, derivative, whether x must be positive or in (-1, 1)
DOMAINS = {
    "log": (np.log, lambda x: 1 / x, "positive"),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x), "positive"),
    "x log x": (lambda x: x * np.log(x), lambda x: np.log(x) + 1, "positive"),
    "1 / x": (lambda x: 1 / x, lambda x: -1 / x**2, "positive"),
    "x^0.3": (lambda x: x**0.3, lambda x: 0.3 * x**-0.7, "positive"),
    "arcsin": (np.arcsin, lambda x: 1 / np.sqrt((1 - x) * (1 + x)), "unit"),
    "arctanh": (np.arctanh, lambda x: 1 / ((1 - x) * (1 + x)), "unit"),
}


@family
def domain_end(rng):
    """Come close to where f is not defined; beyond it, f is NaN and no warning."""
    name = rng.choice(list(DOMAINS))
    function, derivative, domain = DOMAINS[name]
    n = int(rng.integers(1, 8))
    x = 10.0 ** rng.uniform(-8, 0.5, n) if domain == "positive" else 1 - 10.0 ** rng.uniform(-6, 0, n)

    def f(x, c):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sum(c * function(x))

    return Case(name, f, lambda x, c: c * derivative(x), x, (rng.standard_normal(n),))


@family
def saturated(rng):
    """Take logits so large that probabilities are 0 or 1 but for a few bits."""
    case = MODELS[rng.choice(["logit_table", "policy", "brier", "softmax_regression", "sigmoid_gates", "rnn"])](rng)
    factor = 10.0 ** rng.uniform(0.5, 1.5)
    return replace(case, x=tree_map(lambda leaf: factor * leaf, case.x))


@family
def scaled_kink(rng):
    case = kinked(rng, 0.0)
    return in_units(case, 10.0 ** rng.integers(-6, 7))


@family
def piecewise_linear(rng):
    """Take a small ReLU net with a kink at some distance."""
    sizes = {"n": int(rng.integers(3, 12)), "d": int(rng.integers(1, 6)), "h": int(rng.integers(1, 9))}
    return partial(MODELS["relu_mlp"], margin=0.0)(rng, **sizes)
