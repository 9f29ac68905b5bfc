"""The error that is reported with a derivative, against the true one, over a zoo of functions of random parameters.

The bound must hold in 99 of 100 cases of every family and method, and still be of use: neither far above the true error of
smooth functions, nor small where no derivative exists.
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fallline as fl

METHODS = [
    {"method": "adaptive"},
    {"method": "central"},
    {"method": "central", "accuracy": 4},
    {"method": "central", "accuracy": 8},
    {"method": "central", "noise": "estimate"},
    {"method": "central", "step": "shi"},
    {"method": "forward", "accuracy": 1},
    {"method": "forward"},
    {"method": "forward", "accuracy": 5},
]
EACH = 120  # cases of every family and method


@dataclass
class Case:
    f: Any
    x: Any
    truth: float
    power: float = 0.0  # of the true error that is left when the truth itself is known only so well


def noise_of(x):
    """Return deterministic pseudo-noise between -1 and 1: a hash of the bits of x."""
    bits = int(np.float64(x).view(np.uint64))
    bits = (bits ^ (bits >> 31)) * 0x7FB5D329728EA185 & (2**64 - 1)
    bits = (bits ^ (bits >> 27)) * 0x81DADEF4BC2DD44D & (2**64 - 1)
    return (bits >> 11) * 2.0**-52 - 1


def smooth_pair(rng):
    """Return a smooth function of x, of scale 1 in x and f, and its derivative."""
    a, b, c = rng.uniform(0.5, 2.0, 3)
    k = rng.integers(2, 7)
    coefficients = rng.normal(size=k)
    polynomial = np.polynomial.Polynomial(coefficients)
    slope = polynomial.deriv()
    pairs = [
        (lambda x: a * math.sin(b * x + c), lambda x: a * b * math.cos(b * x + c)),
        (lambda x: a * math.exp(b * x), lambda x: a * b * math.exp(b * x)),
        (lambda x: math.tanh(b * x - c), lambda x: b / math.cosh(b * x - c) ** 2),
        (lambda x: 1 / (a + b * x * x), lambda x: -2 * b * x / (a + b * x * x) ** 2),
        (lambda x: math.log(a + b * x * x), lambda x: 2 * b * x / (a + b * x * x)),
        (lambda x: math.sqrt(a + x * x) + c, lambda x: x / math.sqrt(a + x * x)),
        (lambda x: float(polynomial(x)), lambda x: float(slope(x))),
        (lambda x: math.exp(-b * x * x) * math.cos(c * x),
         lambda x: -math.exp(-b * x * x) * (2 * b * x * math.cos(c * x) + c * math.sin(c * x))),
    ]  # fmt: skip
    return pairs[rng.integers(len(pairs))]


def smooth(rng):
    f, df = smooth_pair(rng)
    x, scale = rng.uniform(-2, 2), 10.0 ** rng.uniform(-9, 9)
    return Case(lambda t: scale * f(t), x, scale * df(x))


def noisy(rng):
    f, df = smooth_pair(rng)
    x, level = rng.uniform(-2, 2), 10.0 ** rng.uniform(-14, -6)
    return Case(lambda t: f(t) + level * noise_of(t), x, df(x))


def badly_scaled(rng):
    f, df = smooth_pair(rng)
    stretch, scale = 10.0 ** rng.uniform(-3, 6), 10.0 ** rng.uniform(-12, 12)
    u = rng.uniform(-2, 2)
    x = u * stretch
    return Case(lambda t: scale * f(t / stretch), x, scale / stretch * df(x / stretch))


def near_zero(rng):
    m, a, c = rng.uniform(-2, 2), 10.0 ** rng.uniform(-6, 6), rng.choice([0.0, rng.normal()])
    d = rng.choice([0.0, 10.0 ** rng.uniform(-12, -2)])
    x = m + d
    d = x - m
    pairs = [
        (lambda t: c + a * (t - m) ** 2, 2 * a * d),
        (lambda t: c + a * (t - m) ** 3, 3 * a * d**2),
        (lambda t: c + a * (t - m) ** 4, 4 * a * d**3),
        (lambda t: c + a * math.cos(t - m), -a * math.sin(d)),
        (lambda t: c + a * math.cosh(t - m), a * math.sinh(d)),
        (lambda t: c, 0.0),
        (lambda t: c + a * math.exp(-((t - m) ** 2)), -2 * a * d * math.exp(-(d**2))),
    ]
    return Case(*(lambda pair: (pair[0], x, pair[1]))(pairs[rng.integers(len(pairs))]))


def near_domain_end(rng):
    d = 10.0 ** rng.uniform(-7, -0.5)
    with_nan = bool(rng.integers(2))

    def guarded(f):
        def safe(t):
            try:
                return f(t)
            except (ValueError, ZeroDivisionError):
                if with_nan:
                    return math.nan
                raise

        return safe

    cases = [
        (math.log, d, 1 / d),
        (math.sqrt, d, 0.5 / math.sqrt(d)),
        (lambda t: t * math.log(t), d, math.log(d) + 1),
        (lambda t: 1 / t if t > 0 else 1 / 0, d, -1 / d**2),
        (lambda t: math.sqrt(1 - t), 1 - d, -0.5 / math.sqrt(1 - (1 - d))),
        (lambda t: math.log(1 - t * t), 1 - d, -2 * (1 - d) / (1 - (1 - d) ** 2)),
        (lambda t: math.asin(t), 1 - d, 1 / math.sqrt((1 - (1 - d)) * (1 + (1 - d)))),
        (lambda t: math.exp(t) + 0 * math.sqrt(t), 0.0, 1.0),  # at the very end
        (lambda t: math.sin(t) * math.sqrt(1 - t) / math.sqrt(1 - t), 1 - 2.0**-52, math.cos(1)),
    ]
    f, x, truth = cases[rng.integers(len(cases))]
    return Case(guarded(f), x, truth)


def single(rng):
    a, b, c = (np.float32(v) for v in rng.uniform(0.5, 2.0, 3))
    x = np.float32(rng.uniform(-2, 2))
    only_result = bool(rng.integers(2))
    pairs = [
        (lambda t: a * np.sin(b * t + c), lambda t: a * b * math.cos(b * t + c)),
        (lambda t: a * np.exp(b * t), lambda t: a * b * math.exp(b * t)),
        (lambda t: np.tanh(b * t - c), lambda t: b / math.cosh(b * t - c) ** 2),
        (lambda t: 1 / (a + b * t * t), lambda t: -2 * b * t / (a + b * t * t) ** 2),
        (lambda t: np.log(a + b * t * t), lambda t: 2 * b * t / (a + b * t * t)),
    ]
    f, df = pairs[rng.integers(len(pairs))]
    a, b, c = (float(v) for v in (a, b, c))
    truth = float(df(float(x)))
    if only_result:
        return Case(lambda t: np.float32(f(np.float32(t))), float(x), truth)
    return Case(f, x, truth)


def near_kink(rng):
    f, df = smooth_pair(rng)
    x, a = rng.uniform(-2, 2), 10.0 ** rng.uniform(-3, 1)
    c = x - rng.choice([-1, 1]) * 10.0 ** rng.uniform(-10, -1)
    return Case(lambda t: f(t) + a * abs(t - c), x, df(x) + a * np.sign(x - c))


def near_jump(rng):
    f, df = smooth_pair(rng)
    x, a = rng.uniform(-2, 2), 10.0 ** rng.uniform(-3, 1)
    c = x - rng.choice([-1, 1]) * 10.0 ** rng.uniform(-9, -1)
    return Case(lambda t: f(t) + a * (t > c), x, df(x))


FAMILIES = [smooth, noisy, badly_scaled, near_zero, near_domain_end, single, near_kink, near_jump]


def outcome(case, options):
    """Return the true error, the reported one, the truth and the status."""
    found = fl.derivative(case.f, case.x, full_output=True, **options)
    return abs(float(found.value) - case.truth), float(found.error), abs(case.truth), str(found.status)


def name(options):
    return " ".join(str(value) for value in options.values())


def survey(family, options, each=EACH):
    seed = FAMILIES.index(family) * 100 + METHODS.index(options)
    rng = np.random.default_rng(seed)
    return [(case := family(rng), *outcome(case, options)) for _ in range(each)]


if __name__ == "__main__":
    import sys
    each = int(sys.argv[1]) if len(sys.argv) > 1 else EACH
    fams = [f for f in FAMILIES if len(sys.argv) < 3 or f.__name__ in sys.argv[2].split(",")]
    for family in fams:
        for options in METHODS:
            if len(sys.argv) > 3 and name(options) not in sys.argv[3].split(","): continue
            out = survey(family, options, each)
            covered = np.mean([t <= e or t <= 4e-16*tr for _, t, e, tr, _ in out])
            ratio = np.median([e / max(t, 1e-16*tr, 1e-300) for _, t, e, tr, s in out])
            rel = np.median([t / max(tr, 1e-300) for _, t, e, tr, s in out])
            relerr = np.median([e / max(tr, 1e-300) for _, t, e, tr, s in out])
            st = defaultdict(int)
            for o in out: st[o[4]] += 1
            print(f"{family.__name__:16} {name(options):22} covered {covered:.4f} err/true {ratio:9.2g} rel true {rel:.1e} rel err {relerr:.1e}", dict(st))
def failures(famname, **options):
    fam = next(f for f in FAMILIES if f.__name__ == famname)
    for case, t, e, tr, s in survey(fam, options, 400):
        if not (t <= e or t <= 4e-16*tr): print(f"x={case.x!r} truth={case.truth:.6g} true err {t:.3g} reported {e:.3g} {s}", {k: c.cell_contents for k,c in zip(case.f.__code__.co_freevars, case.f.__closure__ or ())}, case.f.__code__.co_firstlineno)
