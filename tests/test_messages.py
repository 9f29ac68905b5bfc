"""Every message: how to get it, what it says, and that what failed changed nothing.

A row is one way to get one message. The last tests compare the rows with the messages that stand in the sources.
"""
# ruff: noqa: E501 - a message stands in one piece, so that searching for it finds it

import ast
import copy
import fnmatch
import io
import json
import os
import pickle
import re
import subprocess
import sys
import types
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fallline as fl

SOURCE = Path(__file__).parents[1] / "src" / "fallline"
HOUSE_FORM = re.compile(r"[^:]+: (.* )?must .+; got .+\. [A-Z].+\.", re.DOTALL)


def ones(*shape, dtype=np.float64):
    return np.ones(shape, dtype)


# ---------------------------------------------------------------------------------------------------------------------
# The optimizers that rows begin with, after a step
# ---------------------------------------------------------------------------------------------------------------------


def stepped(opt, grads):
    opt.step(grads)
    return opt


def adam():
    params = {"W": ones(3, 4, dtype=np.float32), "l": {"b": ones(5)}, "h": ones(6, dtype=np.float16)}
    grads = {"W": ones(3, 4, dtype=np.float32), "l": {"b": ones(5)}, "h": ones(6, dtype=np.float16)}
    return stepped(fl.Adam(params, lr=0.5, ema=0.5, rng=0), grads)


def listed():
    return stepped(fl.Adam([ones(3), [ones(2), ones()]], lr=0.5, rng=0), [ones(3), [ones(2), ones()]])


def grouped():
    return stepped(fl.SGD([{"params": ones(3), "lr": 0.25}, {"params": ones(2)}], lr=0.5, rng=0), [ones(3), ones(2)])


def fortran():
    p = np.ones((3, 4), order="F")
    return stepped(fl.Adam({"W": p}, rng=0), {"W": p.copy()})


def fresh():
    return fl.Adam(ones(3))


def late(wrong, name="lr"):
    """Return a maker of an optimizer with a schedule that is wrong from the second step on."""
    return lambda: stepped(fl.SGD(ones(3), **{name: lambda t: 0.5 if t < 1 else wrong}), ones(3))


def picture(opt, folder):
    """Return all that must be as it was: parameters, states, counters, settings, buffers, files."""
    params = [a.tobytes() for _, a in leaves(opt.params)]
    state = {f"{n}:{k}": a.tobytes() for n, own in opt.state.items() for k, a in own.items()}
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    settings = [{name: getattr(group, name) for name in vars(group)["names"]} for group in map(settings_of, opt.groups)]
    return (
        params,
        state,
        files,
        settings,
        repr(opt),
        opt.rng,
        opt.steps,
        opt.skipped,
        opt.nonfinite,
        opt.threads,
        opt.clip_norm,
    )


def settings_of(group):
    names = re.findall(r"(\w+)=", re.sub(r"\([^()]*\)", "", repr(group)[len("Group(") : -1]))
    return types.SimpleNamespace(names=names, **{name: getattr(group, name) for name in names})


def leaves(tree, path=""):
    if isinstance(tree, dict):
        return [leaf for key, child in tree.items() for leaf in leaves(child, f"{path}/{key}")]
    if isinstance(tree, (list, tuple)):
        return [leaf for i, child in enumerate(tree) for leaf in leaves(child, f"{path}/{i}")]
    return [(path, tree)]


# ---------------------------------------------------------------------------------------------------------------------
# Rows
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """`provoke(opt, folder)`, after `prepare` likewise, fails with `kind` and `text`, in which "..." stands for anything."""

    id: str
    provoke: Any
    kind: type
    text: str
    make: Any = fresh
    prepare: Any = None


ROWS: list[Row] = []


def row(id, provoke, kind, text, make=fresh, prepare=None):
    """Add a row."""
    ROWS.append(Row(id, provoke, kind, text, make, prepare))


def build(id, kind, text, cls=fl.Adam, params=None, **keywords):
    """Add a row for a constructor."""
    row(id, lambda opt, folder: cls(ones(3) if params is None else params(), **keywords), kind, text)


def step(id, grads, kind, text, make=adam, prepare=None):
    """Add a row for a step with the given gradients, or what a function of the optimizer returns."""
    row(id, lambda opt, folder: opt.step(grads(opt) if callable(grads) else grads), kind, text, make, prepare)


def assign(id, name, value, kind, text, make=adam, group=None):
    row(id, lambda opt, folder: setattr(opt if group is None else opt.groups[group], name, value), kind, text, make)


# ---- how an optimizer is called

build(
    "keyword",
    TypeError,
    "Adam: must be given its own keywords (lr, betas, eps, ...); got 'beta'. See help(Adam).",
    beta=1,
)
for word in ("fused", "foreach", "capturable", "differentiable"):
    build(
        word, TypeError, f"Adam: must be given its own keywords (...); got '{word}'. Remove it: a step here is always fused.",
        **{word: True},
    )  # fmt: skip
row(
    "no-params", lambda opt, folder: fl.SGD(lr=0.5), TypeError,
    "SGD: must be called as SGD(params, ...); got a call with missing a required argument: 'params'. Pass the parameters first, "
    "and each argument once.",
)  # fmt: skip
row(
    "too-many", lambda opt, folder: fl.Lion(ones(3), 0.5, (0.9, 0.99), 0.0, True), TypeError,
    "Lion: must be called as Lion(params, ...); got a call with too many positional arguments. Pass the parameters first, and "
    "each argument once.",
)  # fmt: skip
row(
    "twice", lambda opt, folder: fl.SGD(ones(3), 0.5, lr=0.5), TypeError,
    "SGD: must be called as SGD(params, ...); got a call with multiple values for argument 'lr'. Pass the parameters first, and "
    "each argument once.",
)  # fmt: skip
row(
    "base", lambda opt, folder: fl.Optimizer(ones(3)), TypeError,
    "Optimizer: must be a class with a rule; got the base of all optimizers. Use one of them, for example Adam.",
)  # fmt: skip

# ---- numbers

FINITE = "must be a finite number"
CURE = "Pass a number in that range, or a schedule."
NUMBERS: list[tuple[str, Any, type, str, dict[str, Any]]] = [
    ("negative", fl.Adam, ValueError, f"Adam(lr): {FINITE} >= 0; got -0.5. {CURE}", {"lr": -0.5}),
    ("nan", fl.Adam, ValueError, f"Adam(lr): {FINITE} >= 0; got nan. {CURE}", {"lr": float("nan")}),
    ("inf", fl.Adam, ValueError, f"Adam(weight_decay): {FINITE} >= 0; got inf. {CURE}", {"weight_decay": float("inf")}),
    ("huge", fl.SGD, ValueError, f"SGD(lr): {FINITE} >= 0; got 1000.... {CURE}", {"lr": 10**400}),
    ("string", fl.Adam, TypeError, f"Adam(lr): {FINITE} >= 0; got '0.5'. {CURE}", {"lr": "0.5"}),
    ("none", fl.Adam, TypeError, f"Adam(lr): {FINITE} >= 0; got None. {CURE}", {"lr": None}),
    ("bool", fl.Adam, TypeError, f"Adam(lr): {FINITE} >= 0; got True. {CURE}", {"lr": True}),
    ("numpy-bool", fl.Adam, TypeError, f"Adam(eps): {FINITE} >= 0; got np.True_. {CURE}", {"eps": np.bool_(True)}),
    ("complex", fl.Adam, TypeError, f"Adam(lr): {FINITE} >= 0; got 1j. {CURE}", {"lr": 1j}),
    ("array", fl.Adam, TypeError, f"Adam(lr): {FINITE} >= 0; got array([0.5]). {CURE}", {"lr": np.array([0.5])}),
    ("tuple-for-number", fl.Adam, TypeError, f"Adam(lr): {FINITE} >= 0; got (0.5,). {CURE}", {"lr": (0.5,)}),
    ("class", fl.Adam, TypeError, f"Adam(lr): {FINITE} >= 0; got <class 'fallline.schedules.cosine'>. {CURE}", {"lr": fl.schedules.cosine}),
    ("above", fl.SGD, ValueError, f"SGD(clip_norm): {FINITE} > 0; got 0. {CURE}", {"clip_norm": 0}),
    ("above-value", fl.SGD, ValueError, f"SGD(clip_value): {FINITE} > 0; got -1.0. {CURE}", {"clip_value": -1.0}),
    ("above-scale", fl.SGD, ValueError, f"SGD(grad_scale): {FINITE} > 0; got 0.0. {CURE}", {"grad_scale": 0.0}),
    ("below", fl.SGD, ValueError, f"SGD(ema): {FINITE} >= 0 and < 1; got 1. {CURE}", {"ema": 1}),
    ("ftrl", fl.FTRL, ValueError, f"FTRL(lr): {FINITE} > 0; got 0.0. {CURE}", {"lr": 0.0}),
    ("rho", fl.Adadelta, ValueError, f"Adadelta(rho): {FINITE} >= 0 and < 1; got 1.0. {CURE}", {"rho": 1.0}),
    ("infinite", fl.LAMB, ValueError, f"LAMB(max_norm): must be a number > 0; got nan. {CURE}", {"max_norm": float("nan")}),
    ("scalar-betas", fl.Adam, TypeError, "Adam(betas): must be a tuple of 2 numbers; got 0.9. Pass (0.9, 0.999), for example.", {"betas": 0.9}),
    ("betas-schedule", fl.Adam, TypeError, "Adam(betas): must be a tuple of 2 numbers; got <function .... Pass (0.9, 0.999), for example.", {"betas": lambda t: (0.9, 0.99)}),
    ("one-beta", fl.Adam, ValueError, "Adam(betas): must be a tuple of 2 numbers; got (0.9,). Pass (0.9, 0.999), for example.", {"betas": (0.9,)}),
    ("three-betas", fl.Adan, ValueError, "Adan(betas): must be a tuple of 3 numbers; got (0.9, 0.8). Pass (0.98, 0.92, 0.99), for example.", {"betas": (0.9, 0.8)}),
    ("beta-1", fl.Adam, ValueError, f"Adam(betas): {FINITE} >= 0 and < 1; got (0.9, 1.0). {CURE}", {"betas": (0.9, 1.0)}),
    ("beta-string", fl.Adam, TypeError, f"Adam(betas): {FINITE} >= 0 and < 1; got ('a', 0.9). {CURE}", {"betas": ("a", 0.9)}),
    ("beta-0", fl.ScheduleFreeSGD, ValueError, f"ScheduleFreeSGD(momentum): {FINITE} > 0 and < 1; got 0.0. {CURE}", {"momentum": 0.0}),
]  # fmt: skip
for id, cls, kind, text, keywords in NUMBERS:
    build(id, kind, text, cls, **keywords)

SINGLE = "must be 0, or between 1.4e-45 and 3.4e38, the range of float32"
IN_SINGLE = "Use a number in that range, or float64 parameters."
SMALLEST = f"{SINGLE}; got 1e-50. {IN_SINGLE}"
build("eps-vanishes", ValueError, f"Adam(eps): {SMALLEST}", params=lambda: ones(3, dtype=np.float32), eps=1e-50)
build(
    "eps-vanishes-half",
    ValueError,
    f"RMSprop(eps): {SMALLEST}",
    fl.RMSprop,
    lambda: ones(3, dtype=np.float16),
    eps=1e-50,
)
build(
    "eps-vanishes-mixed",
    ValueError,
    f"Adam(eps): {SMALLEST}",
    params=lambda: [ones(3), ones(3, dtype=np.float32)],
    eps=1e-50,
)
build(
    "eps-vanishes-group", ValueError, f"Adam...(eps): {SMALLEST}",
    params=lambda: [{"params": ones(3), "eps": 0.5}, {"params": ones(3, dtype=np.float32), "eps": 1e-50}],
)  # fmt: skip
assign("eps-vanishes-later", "eps", 1e-50, ValueError, f"Adam(eps): {SMALLEST}")
build(
    "overflows",
    ValueError,
    f"Adam(eps): {SINGLE}; got 1e+300. {IN_SINGLE}",
    params=lambda: ones(3, dtype=np.float32),
    eps=1e300,
)

assign("assign-negative", "lr", -1, ValueError, f"Adam(lr): {FINITE} >= 0; got -1. {CURE}")
assign("assign-betas", "betas", (0.5, 2), ValueError, f"Adam(betas): {FINITE} >= 0 and < 1; got (0.5, 2). {CURE}")
assign("assign-option", "clip_norm", "1", TypeError, f"Adam(clip_norm): {FINITE} > 0; got '1'. {CURE}")
assign("assign-group", "lr", -1.0, ValueError, f"groups[1]...(lr): {FINITE} >= 0; got -1.0. {CURE}", grouped, 1)
assign(
    "assign-lr-scale",
    "lr_scale",
    float("inf"),
    ValueError,
    f"groups[0]...(lr_scale): {FINITE} >= 0; got inf. {CURE}",
    grouped,
    0,
)
assign(
    "assign-frozen",
    "frozen",
    1,
    TypeError,
    "groups[0]...(frozen): must be one of False, True; got 1. Pass one of these.",
    grouped,
    0,
)

# ---- schedules: the message says that it was one, and of which step

LATE = [
    ("negative", -0.5, ValueError), ("nan", float("nan"), ValueError), ("none", None, TypeError), ("string", "0.5", TypeError),
    ("pair", (0.5, 0.5), TypeError), ("schedule", fl.schedules.linear(0.5, total=3), TypeError),
]  # fmt: skip
GAVE = "The schedule {} gave it at t={}: correct it."
BY_FUNCTION = GAVE.replace("{}", "<function ...>", 1)
for id, wrong, kind in LATE:
    step(
        f"schedule-{id}", ones(3), kind, f"SGD(lr): {FINITE} >= 0; got {wrong!r}. {BY_FUNCTION.format(1)}", late(wrong)
    )
for id, wrong, kind in (("option", 0, ValueError), ("option-type", "1", TypeError)):
    step(
        f"schedule-{id}",
        ones(3),
        kind,
        f"SGD(clip_norm): {FINITE} > 0; got {wrong!r}. {BY_FUNCTION.format(1)}",
        late(wrong, "clip_norm"),
    )
step(
    "schedule-not-optional",
    ones(3),
    TypeError,
    f"SGD(grad_scale): {FINITE} > 0; got None. {BY_FUNCTION.format(1)}",
    late(None, "grad_scale"),
)
build("schedule-first", ValueError, f"Adam(lr): {FINITE} >= 0; got -1. {BY_FUNCTION.format(0)}", lr=lambda t: -1)
build(
    "schedule-named", ValueError, f"Adam(betas): {FINITE} >= 0 and < 1; got 1.5. {GAVE.format('constant(lr=1.5)', 0)}",
    betas=(0.5, fl.schedules.constant(1.5)),
)  # fmt: skip
build(
    "schedule-beta",
    ValueError,
    f"Adam(betas): {FINITE} >= 0 and < 1; got 1. {BY_FUNCTION.format(0)}",
    betas=(lambda t: 1, 0.5),
)
assign("schedule-assigned", "lr", lambda t: -t, ValueError, f"Adam(lr): {FINITE} >= 0; got -1. {BY_FUNCTION.format(1)}")
build(
    "schedule-eps-vanishes",
    ValueError,
    f"Adam(eps): {SMALLEST}",
    params=lambda: ones(3, dtype=np.float32),
    eps=lambda t: 1e-50,
)
step(
    "schedule-eps-vanishes-later", ones(3, dtype=np.float32), ValueError, f"Adam(eps): {SMALLEST}",
    lambda: stepped(
        fl.Adam(ones(3, dtype=np.float32), eps=lambda t: 0.5 if t < 1 else 1e-50), ones(3, dtype=np.float32)
    ),
)  # fmt: skip
build(
    "ftrl-scaled-to-zero", ValueError, f"FTRL(lr): {FINITE} > 0; got 0.0. {CURE}", fl.FTRL,
    lambda: [{"params": ones(3), "lr_scale": 0.0}],
)  # fmt: skip
assign(
    "ftrl-assigned-to-zero", "lr_scale", 0, ValueError, f"FTRL(lr): {FINITE} > 0; got 0.0. {CURE}",
    lambda: stepped(fl.FTRL(ones(3)), ones(3)), 0,
)  # fmt: skip
step(
    "ftrl-scheduled-to-zero", [ones(3)], ValueError, f"FTRL(lr): {FINITE} > 0; got 0.0. {CURE}",
    lambda: stepped(fl.FTRL([{"params": ones(3), "lr_scale": lambda t: 1.0 - t}]), [ones(3)]),
)  # fmt: skip
step(
    "ftrl-scheduled-below-the-smallest", [ones(3)], ValueError, f"FTRL(lr): {FINITE} > 0; got 0.0. ...",
    lambda: stepped(fl.FTRL([{"params": ones(3), "lr_scale": 0.25}], lr=lambda t: 0.5 if t < 1 else 5e-324), [ones(3)]),
)  # fmt: skip

# ---- choices, seeds, threads

CHOICES: list[tuple[str, type, str, dict[str, Any]]] = [
    ("policy", ValueError, "Adam(nonfinite): must be one of 'raise', 'skip', 'ignore'; got 'warn'. Pass one of these.", {"nonfinite": "warn"}),
    ("policy-type", TypeError, "Adam(nonfinite): must be one of 'raise', 'skip', 'ignore'; got None. Pass one of these.", {"nonfinite": None}),
    ("half", ValueError, "Adam(half_params): must be one of 'master', 'stochastic', 'nearest'; got 'fp32'. Pass one of these.", {"half_params": "fp32"}),
    ("flag", TypeError, "Adam(amsgrad): must be one of False, True; got 1. Pass one of these.", {"amsgrad": 1}),
    ("flag-string", TypeError, "Adam(maximize): must be one of False, True; got 'yes'. Pass one of these.", {"maximize": "yes"}),
    ("mode", ValueError, "Adam(eps_mode): must be one of 'outside', 'hat', 'inside'; got 'out'. Pass one of these.", {"eps_mode": "out"}),
    ("seed", ValueError, "Adam(rng): must be None, an integer >= 0 or a numpy.random.Generator; got -1. Pass a seed.", {"rng": -1}),
    ("seed-type", TypeError, "Adam(rng): must be None, an integer >= 0 or a numpy.random.Generator; got 1.5. Pass a seed.", {"rng": 1.5}),
    ("seed-bool", TypeError, "Adam(rng): must be None, an integer >= 0 or a numpy.random.Generator; got True. Pass a seed.", {"rng": True}),
    ("seed-legacy", TypeError, "Adam(rng): must be None, an integer >= 0 or a numpy.random.Generator; got RandomState.... Pass a seed.", {"rng": np.random.RandomState(1)}),
    ("threads", ValueError, "Adam(threads): must be between 1 and 256; got 0. Pass the number of threads.", {"threads": 0}),
    ("threads-many", ValueError, "Adam(threads): must be between 1 and 256; got 257. Pass the number of threads.", {"threads": 257}),
    ("threads-type", TypeError, "Adam(threads): must be an integer >= 1; got 2.0. Pass the number of threads.", {"threads": 2.0}),
    ("threads-bool", TypeError, "Adam(threads): must be an integer >= 1; got True. Pass the number of threads.", {"threads": True}),
]  # fmt: skip
for id, kind, text, keywords in CHOICES:
    build(id, kind, text, **keywords)
assign(
    "assign-threads",
    "threads",
    -1,
    ValueError,
    "Adam(threads): must be between 1 and 256; got -1. Pass the number of threads.",
)
assign(
    "assign-policy",
    "nonfinite",
    "no",
    ValueError,
    "Adam(nonfinite): must be one of 'raise', 'skip', 'ignore'; got 'no'. Pass one of these.",
)
row(
    "set-threads", lambda opt, folder: fl.set_num_threads(0), ValueError,
    "set_num_threads(n): must be between 1 and 256; got 0. Pass the number of threads.",
)  # fmt: skip
row(
    "set-threads-type", lambda opt, folder: fl.set_num_threads("4"), TypeError,
    "set_num_threads(n): must be an integer >= 1; got '4'. Pass the number of threads.",
)  # fmt: skip
row(
    "show-config", lambda opt, folder: fl.show_config(mode="json"), ValueError,
    "show_config(mode): must be \"print\" or \"dict\"; got 'json'. Pass one of these.",
)  # fmt: skip

# ---- attributes

for name, value in (("amsgrad", True), ("half_params", "nearest"), ("eps_mode", "hat"), ("rng", 3)):
    assign(
        f"not-live-{name}", name, value, AttributeError,
        f"Adam({name}): must be chosen when the optimizer is built; got an assignment of {value!r}. Build a new optimizer.",
    )  # fmt: skip
assign(
    "unknown-attribute", "learning_rate", 0.5, AttributeError,
    "Adam.learning_rate: must be a hyperparameter to be assigned (...lr...); got 'learning_rate'. Check the spelling.",
)  # fmt: skip
assign(
    "group-attribute", "clip_norm", 1.0, AttributeError,
    "groups[0]: must be asked for a hyperparameter (...lr...); got 'clip_norm'. ...", grouped, 0,
)  # fmt: skip
row(
    "group-read", lambda opt, folder: opt.groups[1].beta, AttributeError,
    "groups[1]: must be asked for a hyperparameter (...lr...); got 'beta'. Check the spelling.", grouped,
)  # fmt: skip
row(
    "differ", lambda opt, folder: opt.lr, AttributeError,
    "SGD.lr: must be the same in all groups to be read here; got 0.25, 0.5. Read opt.groups[i].lr.", grouped,
)  # fmt: skip
row(
    "current", lambda opt, folder: opt.current("rate"), ValueError,
    "current(name): must be a hyperparameter (...lr...); got 'rate'. Check the spelling.",
)  # fmt: skip
row(
    "current-group", lambda opt, folder: opt.current("lr", group=2), IndexError,
    "current(group): must be the number of a group, from 0 to 1; got 2. Look at opt.groups.", grouped,
)  # fmt: skip

# ---- settings that do not go together, or need state that is not there

build(
    "nesterov",
    ValueError,
    "SGD(momentum): must be > 0 with nesterov; got 0. Pass momentum=0.9, for example.",
    fl.SGD,
    nesterov=True,
)
build(
    "nesterov-dampening", ValueError, "SGD(dampening): must be 0 with nesterov or form='classic'; got 0.5. Leave it out.", fl.SGD,
    nesterov=True, momentum=0.9, dampening=0.5,
)  # fmt: skip
build(
    "classic-dampening", ValueError, "Momentum(dampening): must be 0 with nesterov or form='classic'; got 0.5. Leave it out.",
    fl.Momentum, form="classic", dampening=0.5,
)  # fmt: skip
build(
    "classic-dampening-groups", ValueError, "SGD(dampening): must be 0 with nesterov or form='classic'; got ...0.5.... Leave it out.",
    fl.SGD, lambda: [{"params": ones(3), "dampening": 0.5}, {"params": ones(2)}], form="classic", momentum=0.9,
)  # fmt: skip
assign(
    "assign-dampening", "dampening", 0.5, ValueError,
    "SGD(dampening): must be 0 with nesterov or form='classic'; got 0.5. Leave it out.",
    lambda: stepped(fl.SGD(ones(3), momentum=0.5, nesterov=True), ones(3)),
)  # fmt: skip
build(
    "etas",
    ValueError,
    "Rprop(etas): must be a pair around 1; got (0.5, 0.9). Pass (0.5, 1.2), for example.",
    fl.Rprop,
    etas=(0.5, 0.9),
)
build(
    "step-sizes", ValueError, "Rprop(step_sizes): must be the smallest and the largest step; got (2, 1). Exchange them.", fl.Rprop,
    step_sizes=(2, 1),
)  # fmt: skip
assign(
    "assign-etas", "etas", (1.5, 2), ValueError, "Rprop(etas): must be a pair around 1; got (1.5, 2). Pass (0.5, 1.2), for example.",
    lambda: stepped(fl.Rprop(ones(3)), ones(3)),
)  # fmt: skip
NOT_BUILT = "must need the state that was built; got {}. Build a new optimizer."
assign("late-momentum", "momentum", 0.9, ValueError, f"SGD(momentum): {NOT_BUILT.format(0.9)}", grouped)
assign(
    "late-momentum-group", "momentum", 0.9, ValueError, f"groups[1]...(momentum): {NOT_BUILT.format(0.9)}", grouped, 1
)
assign("late-ema", "ema", 0.5, ValueError, f"SGD(ema): {NOT_BUILT.format(0.5)}", grouped)
assign("late-no-ema", "ema", None, ValueError, f"Adam(ema): {NOT_BUILT.format(None)}")
row(
    "averaged", lambda opt, folder: opt.averaged(), RuntimeError,
    "averaged: must be called on an optimizer that averages; got SGD without ema. Build it with ema=0.999, for example.", grouped,
)  # fmt: skip

# ---- parameters

ASARRAY = "Convert it once (numpy.asarray), and use that array from then on: it is updated in place."


class Tensor:
    """What another library's array looks like."""

    shape, dtype = (3,), np.dtype(np.float32)

    def __array__(self, dtype=None, copy=None):
        return ones(3, dtype=np.float32)


for id, params, where, what in (
    ("floats", lambda: [0.5, 1.5], "0", "float"),
    ("none", lambda: {"W": ones(2), "b": None}, "b", "NoneType"),
    ("nothing", lambda: {"0": None}, "0", "NoneType"),
    ("foreign", lambda: {"l": [Tensor()]}, "l/0", "Tensor"),
    ("numpy-number", lambda: np.float64(3), "0", "float64"),
    ("string", lambda: "params", "0", "str"),
    ("generator", lambda: (x for x in [ones(2)]), "0", "generator"),
):
    build(f"params-{id}", TypeError, f"params['{where}']: must be a NumPy array; got {what}. {ASARRAY}", params=params)
ASTYPE = "Convert it, for example with .astype(numpy.float32)."
for dtype, name in (
    (np.int64, "int64"), (np.bool_, "bool"), (np.complex128, "complex128"), (object, "object"), (">f4", ">f4"), (">f2", ">f2"),
    (ml_dtypes.float8_e4m3fn, "float8_e4m3fn"), (np.dtype([("x", "f4")]), "[('x', '<f4')]"),
):  # fmt: skip
    build(
        f"params-{name}", TypeError, f"params['W']: must be float32, float64, float16 or bfloat16, in native byte order; got {name}. {ASTYPE}",
        params=lambda dtype=dtype: {"W": np.zeros(3, dtype)},
    )  # fmt: skip
if np.dtype(np.longdouble).itemsize > 8:
    build(
        "params-longdouble", TypeError,
        f"params['0']: must be float32, float64, float16 or bfloat16, in native byte order; got .... {ASTYPE}", params=lambda: np.ones(3, np.longdouble),
    )  # fmt: skip


def read_only():
    array = ones(3)
    array.flags.writeable = False
    return array


build(
    "params-read-only", ValueError,
    "params['0']: must be writeable, because it is updated in place; got a read-only array. Pass a copy.", params=read_only,
)  # fmt: skip
ONE_PLACE = "must have one place in memory for every element; got "
build(
    "params-broadcast", ValueError, f"params['0']: {ONE_PLACE}a view with shape (2, 3) and strides (0, 8). Pass a copy.",
    params=lambda: np.lib.stride_tricks.as_strided(ones(3), (2, 3), (0, 8)),
)  # fmt: skip
build(
    "params-windows", ValueError, f"params['0']: {ONE_PLACE}a view with shape (3, 3) and strides (8, 8). Pass a copy.",
    params=lambda: np.lib.stride_tricks.as_strided(ones(9), (3, 3), (8, 8)),
)  # fmt: skip
SHARED = "Pass a shared array once, or copy it."


def twice():
    array = ones(3)
    return {"a": array, "b": array}


def rows_and_columns():
    table = ones(4, 4)
    return {"rows": table[1], "x": ones(2), "columns": table[:, 1]}


build(
    "params-twice",
    ValueError,
    f"params['b']: must not share memory with another parameter; got an array that overlaps params['a']. {SHARED}",
    params=twice,
)
build(
    "params-overlap", ValueError, f"params['...']: must not share memory with another parameter; got an array that overlaps params['...']. {SHARED}",
    params=rows_and_columns,
)  # fmt: skip
OWN_NAME = "must have a name of its own; got two arrays of that name (keys are joined by '/'). Rename a key."
build("params-name", ValueError, f"params['a/b']: {OWN_NAME}", params=lambda: {"a/b": ones(1), "a": {"b": ones(1)}})
build("params-name-number", ValueError, f"params['1']: {OWN_NAME}", params=lambda: {1: ones(1), "1": ones(1)})
build(
    "group-key", ValueError,
    "params[1]: must have the keys 'params' and hyperparameters that groups may have (...lr...); got 'learning_rate'. Check the spelling.",
    params=lambda: [{"params": ones(3)}, {"params": ones(2), "learning_rate": 0.5}],
)  # fmt: skip
build(
    "group-value",
    ValueError,
    f"Adam group 1 (lr): {FINITE} >= 0; got -1. {CURE}",
    params=lambda: [{"params": ones(1)}, {"params": ones(1), "lr": -1}],
)
build(
    "group-option", ValueError, "params[0]: must have the keys 'params' and hyperparameters that groups may have (...lr...); got 'clip_norm'. Pass it to the optimizer: it holds for all groups.",
    params=lambda: [{"params": ones(1), "clip_norm": 1.0}],
)  # fmt: skip

# ---- gradients

STRUCTURE = "Pass gradients in the structure of the parameters."
row(
    "no-grads", lambda opt, folder: opt.step(), RuntimeError,
    "step: must be given gradients, or find them in opt.grads; got neither. Call opt.step(grads), or fill opt.grads first.", adam,
)  # fmt: skip
step(
    "grads-not-dict",
    [ones(3)],
    TypeError,
    f"grads: must be a dict with the names of the parameters; got list. {STRUCTURE}",
)
step(
    "grads-not-dict-inside",
    {"l": ones(5)},
    TypeError,
    f"grads['l']: must be a dict with the names of the parameters; got ndarray. {STRUCTURE}",
)
step(
    "grads-not-list",
    {"0": ones(3)},
    TypeError,
    f"grads: must be a list of 2, like the parameters; got dict. {STRUCTURE}",
    listed,
)
step(
    "grads-not-list-inside",
    [ones(3), ones(2)],
    TypeError,
    f"grads['1']: must be a list of 2, like the parameters; got ndarray. {STRUCTURE}",
    listed,
)
step(
    "grads-array-for-list",
    ones(2, 3),
    TypeError,
    f"grads: must be a list of 2, like the parameters; got ndarray. {STRUCTURE}",
    listed,
)
FEW = "Pass None for a parameter that has no gradient."
step("grads-few", [ones(3)], ValueError, f"grads: must have 2 entries, like the parameters; got 1. {FEW}", listed)
step(
    "grads-many",
    [ones(3), [ones(2), ones(), ones(1)]],
    ValueError,
    f"grads['1']: must have 2 entries, like the parameters; got 3. {FEW}",
    listed,
)
step(
    "grads-surplus", {"W": ones(3, 4, dtype=np.float32), "w": ones(3)}, ValueError,
    "grads: must have only names of parameters ('W', 'l', 'h'); got also 'w'. Remove what has no parameter.",
)  # fmt: skip
step(
    "grads-surplus-inside", {"l": {"c": ones(3), "d": None}}, ValueError,
    "grads['l']: must have only names of parameters ('b'); got also 'c', 'd'. Remove what has no parameter.",
)  # fmt: skip
for id, wrong, name in (
    ("list", [1.0] * 5, "list"),
    ("float", 0.5, "float"),
    ("foreign", Tensor(), "Tensor"),
    ("dict", {"b": 1}, "dict"),
):
    step(
        f"grads-{id}", {"W": ones(3, 4, dtype=np.float32), "l": {"b": wrong}}, TypeError,
        f"grads['l/b']: must be a NumPy array or None; got {name}. Convert it, for example with numpy.asarray.",
    )  # fmt: skip
step(
    "grads-0-d-list",
    [None, [None, [1.0]]],
    TypeError,
    "grads['1/1']: must be a NumPy array or None; got list. Convert it, for example with numpy.asarray.",
    listed,
)
for id, wrong in (("bool", True), ("int", 1)):
    step(
        f"grads-0-d-{id}", [None, [None, wrong]], TypeError,
        f"grads['1/1']: must be a NumPy array or None; got {id}. Convert it, for example with numpy.asarray.", listed,
    )  # fmt: skip
for id, wrong, name in (("numpy-bool", np.True_, "bool"), ("numpy-int", np.int64(1), "int64")):
    step(
        f"grads-0-d-{id}", [None, [None, wrong]], TypeError,
        f"grads['1/1']: must have the parameter's dtype float64; got {name}. Convert it with .astype('float64').", listed,
    )  # fmt: skip
step(
    "grads-float32", {"l": {"b": ones(5, dtype=np.float32)}}, TypeError,
    "grads['l/b']: must have the parameter's dtype float64; got float32. Convert it with .astype('float64').",
)  # fmt: skip
step(
    "grads-float64", {"W": ones(3, 4)}, TypeError,
    "grads['W']: must have the parameter's dtype float32; got float64. Convert it with .astype('float32').",
)  # fmt: skip
step(
    "grads-half", {"h": ones(6)}, TypeError,
    "grads['h']: must have the parameter's dtype float16 or float32; got float64. Convert it with .astype('float16').",
)  # fmt: skip
step(
    "grads-bfloat16", {"h": np.ones(6, ml_dtypes.bfloat16)}, TypeError,
    "grads['h']: must have the parameter's dtype float16 or float32; got bfloat16. Convert it with .astype('float16').",
)  # fmt: skip
step(
    "grads-integers", {"l": {"b": np.ones(5, np.int64)}}, TypeError,
    "grads['l/b']: must have the parameter's dtype float64; got int64. Convert it with .astype('float64').",
)  # fmt: skip
step(
    "grads-swapped", {"l": {"b": np.ones(5, ">f8")}}, TypeError,
    "grads['l/b']: must have the parameter's dtype float64; got >f8. Convert it with .astype('float64').",
)  # fmt: skip
SHAPE = "Check the formula, or the broadcasting in it."
step(
    "grads-shape",
    {"W": ones(4, 3, dtype=np.float32)},
    ValueError,
    f"grads['W']: must have the parameter's shape (3, 4); got (4, 3). {SHAPE}",
)
step(
    "grads-column",
    {"l": {"b": ones(5, 1)}},
    ValueError,
    f"grads['l/b']: must have the parameter's shape (5,); got (5, 1). {SHAPE}",
)
step(
    "grads-scalar",
    {"l": {"b": ones()}},
    ValueError,
    f"grads['l/b']: must have the parameter's shape (5,); got (). {SHAPE}",
)
step(
    "grads-0-d",
    [None, [None, ones(1)]],
    ValueError,
    f"grads['1/1']: must have the parameter's shape (); got (1,). {SHAPE}",
    listed,
)
ALIAS = "Pass a copy."
step(
    "grads-param", lambda opt: {"l": {"b": opt.params["l"]["b"]}}, ValueError,
    f"grads['l/b']: must not share memory with a parameter; got an array that overlaps params['l/b']. {ALIAS}",
)  # fmt: skip
step(
    "grads-param-reversed", lambda opt: {"l": {"b": opt.params["l"]["b"][::-1]}}, ValueError,
    f"grads['l/b']: must not share memory with a parameter; got an array that overlaps params['l/b']. {ALIAS}",
)  # fmt: skip
step(
    "grads-other-param", lambda opt: [opt.params[1].view()[:3] if opt.params[1].size > 3 else opt.params[1], None], ValueError,
    f"grads['0']: must not share memory with a parameter; got an array that overlaps params['1']. {ALIAS}",
    lambda: stepped(fl.SGD([ones(3), ones(4)]), [ones(3), ones(4)]),
)  # fmt: skip
step(
    "grads-state", lambda opt: {"W": opt.state["W"]["m"]}, ValueError,
    f"grads['W']: must not share memory with the optimizer's state; got an array that does. {ALIAS}",
)  # fmt: skip
step(
    "grads-average", lambda opt: {"l": {"b": opt.state["l/b"]["average"]}}, ValueError,
    f"grads['l/b']: must not share memory with the optimizer's state; got an array that does. {ALIAS}",
)  # fmt: skip
step(
    "grads-master", lambda opt: {"h": opt.state["h"]["master"]}, ValueError,
    f"grads['h']: must not share memory with the optimizer's state; got an array that does. {ALIAS}",
)  # fmt: skip
step(
    "grads-counter", lambda opt: [None, [None, opt.state["0"]["t"]]], ValueError,
    f"grads['1/1']: must not share memory with the optimizer's state; got an array that does. {ALIAS}", listed,
)  # fmt: skip

# ---- gradients that are not finite

CAUSE = 'Nothing was changed. Look for the operation that made it, clip, or pass nonfinite="skip".'


def spoiled(shape, *where, value=np.nan, dtype=np.float64):
    array = ones(*shape, dtype=dtype)
    for index in where:
        array[index] = value
    return array


step(
    "grads-nan", {"W": spoiled((3, 4), (1, 2), (2, 0), dtype=np.float32)}, ValueError,
    f"grads['W']: must be finite; got nan at index (1, 2), 2 of 12 elements not finite. {CAUSE}",
)  # fmt: skip
step(
    "grads-inf-several", {"W": ones(3, 4, dtype=np.float32), "l": {"b": spoiled((5,), 3, value=-np.inf)}, "h": spoiled((6,), 0, dtype=np.float16)},
    ValueError, f"grads['l/b']: must be finite; got -inf at index (3,), 1 of 5 elements not finite, and 1 more tensor with such elements. {CAUSE}",
)  # fmt: skip
step(
    "grads-nan-all", {"W": spoiled((3, 4), (1, 2), dtype=np.float32), "l": {"b": spoiled((5,), 3)}, "h": spoiled((6,), 0, dtype=np.float16)},
    ValueError, f"grads['W']: must be finite; got nan at index (1, 2), 1 of 12 elements not finite, and 2 more tensors with such elements. {CAUSE}",
)  # fmt: skip
step(
    "grads-nan-0-d", [None, [None, float("nan")]], ValueError, f"grads['1/1']: must be finite; got nan at index (), 1 of 1 elements not finite. {CAUSE}",
    listed,
)  # fmt: skip
step(
    "grads-nan-fortran", {"W": np.asfortranarray(spoiled((3, 4), (1, 2)))}, ValueError,
    f"grads['W']: must be finite; got nan at index (1, 2), 1 of 12 elements not finite. {CAUSE}", fortran,
)  # fmt: skip
step(
    "grads-nan-strided", {"W": spoiled((3, 4), (2, 1))[::-1][::-1]}, ValueError,
    f"grads['W']: must be finite; got nan at index (2, 1), 1 of 12 elements not finite. {CAUSE}", fortran,
)  # fmt: skip

# ---- behind our back


def locked(opt, folder):
    opt.params["l"]["b"].flags.writeable = False


step(
    "became-read-only", lambda opt: {"W": ones(3, 4, dtype=np.float32), "l": {"b": ones(5)}}, ValueError,
    "params['l/b']: must be writeable; got an array that was made read-only after the optimizer was built. Set its flags.writeable, or "
    "freeze its group.", prepare=locked,
)  # fmt: skip
CHANGED = (
    "must keep the memory, shape, strides and dtype that the optimizer was built with; got an array that was changed since. Build a new "
    "optimizer for it."
)
for size in (4, 100_000):
    step(
        f"resized-{size}", lambda opt, size=size: {"W": ones(3, 4, dtype=np.float32), "l": {"b": ones(size)}}, RuntimeError,
        f"params['l/b']: {CHANGED}", prepare=lambda opt, folder, size=size: opt.params["l"]["b"].resize(size, refcheck=False),
    )  # fmt: skip


def change(attribute, value):
    """Return a function that sets an attribute of the parameter in place."""

    def prepare(opt, folder):
        with warnings.catch_warnings():  # newer versions of NumPy deprecate it
            warnings.simplefilter("ignore", DeprecationWarning)
            setattr(opt.params["W"], attribute, value)

    return prepare


for id, make, attribute, value in (
    ("reshaped", adam, "shape", (2, 6)),
    ("reshaped-fortran", fortran, "shape", (3, 2, 2)),
    ("reshaped-still-fortran", fortran, "shape", (3, 4, 1)),
    ("other-strides", adam, "strides", (4, 12)),
    ("other-strides-fortran", fortran, "strides", (32, 8)),
    ("other-dtype", adam, "dtype", np.int32),
    ("other-dtype-fortran", fortran, "dtype", np.int64),
):
    step(
        id, lambda opt: {"W": np.ones_like(opt.params["W"])}, RuntimeError, f"params['W']: {CHANGED}", make,
        change(attribute, value),
    )  # fmt: skip
ANOTHER = (
    "must be the array that the optimizer was built with; got another, put in its place. Write into the array instead: array[...] = "
    "values."
)


def replaced(opt, folder):
    opt.params["W"] = np.zeros_like(opt.params["W"])


def removed(opt, folder):
    del opt.params["W"]


for id, prepare in (("replaced", replaced), ("removed", removed)):
    for what, provoke in (
        ("save", lambda opt, folder: opt.save(folder / "run.npz")),
        ("averaged", lambda opt, folder: opt.averaged()),
        ("grads", lambda opt, folder: opt.grads),
        ("pickle", lambda opt, folder: pickle.dumps(opt)),
        ("copy", lambda opt, folder: copy.deepcopy(opt)),
    ):
        row(f"{id}-{what}", provoke, RuntimeError, f"params['W']: {ANOTHER}", adam, prepare)


class Reentrant(str):
    """A key of gradients that steps the optimizer when it is compared."""

    optimizer: Any = None
    __hash__ = str.__hash__

    def __eq__(self, other):
        self.optimizer.step({"W": None})
        return str.__eq__(self, other)


def reentrant(opt):
    key = Reentrant("W")
    key.optimizer = opt
    return {key: ones(3, 4, dtype=np.float32)}


step(
    "reentrant", reentrant, RuntimeError,
    "step: must be called by one thread at a time; got a call while another is under way on this optimizer. Guard it by a lock, or "
    "give each thread its own optimizer.",
)  # fmt: skip

# ---- state_dict


def edited(*path, value=None):
    """Return a function of an optimizer: its state_dict with one entry changed, or removed if no value is given."""

    def edit(opt):
        state = copy.deepcopy(opt.state_dict())
        at = state
        for key in path[:-1]:
            at = at[key]
        if value is None:
            del at[path[-1]]
        else:
            at[path[-1]] = value
        return state

    return edit


def load_dict(id, edit, kind, text, make=adam):
    row(id, lambda opt, folder: opt.load_state_dict(edit(opt)), kind, text, make)


LOAD = "load_state_dict(state_dict)"
AS_SAVED = "Build the optimizer with the settings it was saved with."
load_dict(
    "state-list",
    lambda opt: [1],
    TypeError,
    f"{LOAD}: must be what state_dict returned; got list. Pass that dict unchanged.",
)
load_dict(
    "state-bare", lambda opt: {}, ValueError,
    f"{LOAD}: must be what state_dict returned; got dict without the key 'format'. Pass that dict unchanged.",
)  # fmt: skip
KEYS = ("optimizer", "rule", "choices", "options", "groups", "steps", "skipped", "rng", "state")
for key in KEYS:
    load_dict(
        f"state-without-{key}", edited(key), ValueError,
        f"{LOAD}: must be what state_dict returned; got dict without the key '{key}'. Pass that dict unchanged.",
    )  # fmt: skip
for key, name, wrong in (
    ("format", "int", "1"), ("optimizer", "str", 1), ("rule", "str", b"adam"), ("choices", "dict", [1]), ("options", "dict", "x"),
    ("groups", "list", {"0": 1}), ("steps", "int", "3"), ("steps", "int", True), ("steps", "int", 3.0), ("skipped", "int", [0]),
    ("rng", "int", "3"), ("state", "dict", [1]),
):  # fmt: skip
    load_dict(
        f"state-{key}-{type(wrong).__name__}", edited(key, value=wrong), ValueError,
        f"{LOAD}: must have a value of type {name} for '{key}'; got {wrong!r}. Pass that dict unchanged.",
    )  # fmt: skip
for key, bound in (("steps", 2**62), ("skipped", 2**62), ("rng", 2**64)):
    for wrong in (-1, bound):
        load_dict(
            f"state-{key}-{wrong}", edited(key, value=wrong), ValueError,
            f"{LOAD}: must have '{key}' between 0 and {bound - 1}; got {wrong}. Pass that dict unchanged.",
        )  # fmt: skip
load_dict(
    "state-newer",
    edited("format", value=99),
    ValueError,
    f"{LOAD}: must have a format up to 1; got 99, written by a newer fallline. Upgrade fallline.",
)
load_dict(
    "state-rule", lambda opt: fl.SGD(ones(3)).state_dict(), ValueError,
    f"{LOAD}: must be of the rule 'adam'; got 'sgd' (optimizer SGD). {AS_SAVED}",
)  # fmt: skip
OTHER_STATE = f"{LOAD}: must need the state that was built; got hyperparameters that need other. {AS_SAVED}"
load_dict("state-needs-momentum", edited("groups", 0, "momentum", value=0.9), ValueError, OTHER_STATE, grouped)
load_dict("state-needs-momentum-group", edited("groups", 1, "momentum", value=0.9), ValueError, OTHER_STATE, grouped)
load_dict("state-needs-ema", edited("options", "ema", value=0.5), ValueError, OTHER_STATE, grouped)
load_dict(
    "state-needs-no-ema",
    lambda opt: (state := opt.state_dict()) | {"options": state["options"] | {"ema": None}},
    ValueError,
    OTHER_STATE,
)
load_dict(
    "state-optimizer",
    lambda opt: fl.AdamW(ones(3)).state_dict(),
    ValueError,
    f"{LOAD}: must be of the optimizer Adam; got AdamW. {AS_SAVED}",
    fresh,
)
for name, saved in (
    ("eps_mode", "hat"), ("decoupled_weight_decay", True), ("amsgrad_max", "corrected"), ("half_params", "stochastic"),
):  # fmt: skip
    load_dict(
        f"state-{name}", lambda opt, name=name, saved=saved: fl.Adam(ones(3), **{name: saved}).state_dict(), ValueError,
        f"{LOAD}: must have been built with {{...'{name}': {getattr(fresh(), name)!r}...}}; got {{...'{name}': {saved!r}...}}. {AS_SAVED}",
        fresh,
    )  # fmt: skip
load_dict(
    "state-choice-missing", edited("choices", "amsgrad"), ValueError,
    f"{LOAD}: must have been built with {{...'amsgrad': False...}}; got {{...}}. {AS_SAVED}",
)  # fmt: skip
load_dict(
    "state-form", lambda opt: fl.RMSprop(ones(3), momentum=0.9, form="classic").state_dict(), ValueError,
    f"{LOAD}: must have been built with {{...'form': 'torch'...}}; got {{...'form': 'classic'...}}. {AS_SAVED}", lambda: fl.RMSprop(ones(3), momentum=0.9),
)  # fmt: skip
load_dict(
    "state-groups", lambda opt: fl.SGD(ones(3)).state_dict(), ValueError,
    f"{LOAD}: must have 2 parameter groups; got 1. Build the optimizer with the groups it was saved with.", grouped,
)  # fmt: skip
load_dict(
    "state-number", edited("groups", 0, "lr", value={"schedule": "cosine(...)", "state": None}), ValueError,
    f"{LOAD}: must have a number for lr of group 0, as the optimizer has; got {{'schedule': .... Assign opt.groups[0].lr first.",
)  # fmt: skip
load_dict(
    "state-schedule", lambda opt: fl.SGD(ones(3)).state_dict(), ValueError,
    f"{LOAD}: must have a schedule for lr of group 0, as the optimizer has; got 0.001. Assign opt.groups[0].lr first.",
    lambda: fl.SGD(ones(3), lr=fl.schedules.linear(0.5, total=3)),
)  # fmt: skip
ABSENT = "got 'nothing'"
load_dict(
    "state-hyper-missing", edited("groups", 0, "eps"), ValueError,
    f"{LOAD}: must have a number for eps of group 0, as the optimizer has; {ABSENT}. Assign opt.groups[0].eps first.",
)  # fmt: skip
load_dict(
    "state-hyper-surplus", edited("groups", 0, "gamma", value=0.5), ValueError,
    f"{LOAD}: must have the hyperparameters of the optimizer for group 0; got also 'gamma'. Build the optimizer that it was saved from.",
)  # fmt: skip
load_dict(
    "state-group-list", edited("groups", 0, value=[1, 2]), TypeError,
    f"{LOAD}: must have a dict for group 0; got [1, 2]. Pass that dict unchanged.",
)  # fmt: skip
load_dict(
    "state-betas", edited("groups", 0, "betas", value=[0.5]), ValueError,
    f"{LOAD}: must have a number for betas of group 0, as the optimizer has; got [0.5]. Assign opt.groups[0].betas first.",
)  # fmt: skip
load_dict(
    "state-option-missing", edited("options", "clip_norm"), ValueError,
    f"{LOAD}: must have a number for clip_norm of the options, as the optimizer has; {ABSENT}. Assign opt.clip_norm first.",
)  # fmt: skip
load_dict(
    "state-option-surplus", edited("options", "clip", value=1.0), ValueError,
    f"{LOAD}: must have the hyperparameters of the optimizer for the options; got also 'clip'. Build the optimizer that it was saved from.",
)  # fmt: skip
load_dict(
    "state-option-schedule", lambda opt: fl.SGD(ones(3), clip_norm=fl.schedules.linear(0.5, total=3)).state_dict(), ValueError,
    f"{LOAD}: must have a number for clip_norm of the options, as the optimizer has; got {{'schedule': .... Assign opt.clip_norm first.",
    lambda: fl.SGD(ones(3)),
)  # fmt: skip
load_dict(
    "state-option-number", lambda opt: fl.SGD(ones(3), clip_norm=2.0).state_dict(), ValueError,
    f"{LOAD}: must have a schedule for clip_norm of the options, as the optimizer has; got 2.0. Assign opt.clip_norm first.",
    lambda: fl.SGD(ones(3), clip_norm=fl.schedules.linear(0.5, total=3)),
)  # fmt: skip
for id, where, wrong, kind, text in (
    ("hyper-range", ("groups", 0, "lr"), -1.0, ValueError, f"Adam(lr): {FINITE} >= 0; got -1.0. {CURE}"),
    ("hyper-type", ("groups", 0, "lr"), "fast", TypeError, f"Adam(lr): {FINITE} >= 0; got 'fast'. {CURE}"),
    ("hyper-beta", ("groups", 0, "betas"), [0.5, 1.0], ValueError, f"Adam(betas): {FINITE} >= 0 and < 1; got (0.5, 1.0). {CURE}"),
    ("hyper-eps", ("groups", 0, "eps"), 1e-50, ValueError, f"Adam(eps): {SMALLEST}"),
    ("hyper-flag", ("groups", 0, "maximize"), "no", TypeError, "Adam(maximize): must be one of False, True; got 'no'. Pass one of these."),
    ("hyper-scale", ("groups", 0, "lr_scale"), -0.5, ValueError, f"Adam(lr_scale): {FINITE} >= 0; got -0.5. {CURE}"),
    ("option-range", ("options", "clip_norm"), 0.0, ValueError, f"Adam(clip_norm): {FINITE} > 0; got 0.0. {CURE}"),
    ("option-type", ("options", "grad_scale"), "1", TypeError, f"Adam(grad_scale): {FINITE} > 0; got '1'. {CURE}"),
):  # fmt: skip
    load_dict(f"state-{id}", edited(*where, value=wrong), kind, text)
BUILD = "Build the optimizer over the parameters it was saved with."
load_dict(
    "state-lacks", edited("state", "l/b"), ValueError,
    f"load: must have the names of this optimizer's state; got a checkpoint that lacks l/b:average, l/b:b1t.... {BUILD}",
)  # fmt: skip
load_dict(
    "state-lacks-one", edited("state", "W", "m"), ValueError,
    f"load: must have the names of this optimizer's state; got a checkpoint that lacks W:m. {BUILD}",
)  # fmt: skip
load_dict(
    "state-adds", edited("state", "x", value={"m": ones(3)}), ValueError,
    f"load: must have the names of this optimizer's state; got a checkpoint that adds x:m. {BUILD}",
)  # fmt: skip
load_dict(
    "state-shape", edited("state", "W", "m", value=ones(4, 3, dtype=np.float32)), ValueError,
    f"load: state['W:m'] must be float32 of shape (3, 4); got float32 of shape (4, 3). {BUILD}",
)  # fmt: skip
load_dict(
    "state-dtype", edited("state", "W", "v", value=ones(3, 4)), ValueError,
    f"load: state['W:v'] must be float32 of shape (3, 4); got float64 of shape (3, 4). {BUILD}",
)  # fmt: skip
load_dict(
    "state-not-array", edited("state", "l/b", "m", value=[0.0] * 5), TypeError,
    f"{LOAD}: must have an array for l/b:m; got [0.0, 0.0, 0.0, 0.0, 0.0]. Pass that dict unchanged.",
)  # fmt: skip
load_dict(
    "state-not-dict", edited("state", "l/b", value=[1]), TypeError,
    f"{LOAD}: must have a dict for the state of 'l/b'; got [1]. Pass that dict unchanged.",
)  # fmt: skip

# ---- files


def load_file(id, write, kind, text, make=adam, prepare=None):
    def prepared(opt, folder):
        write(opt, folder / "run.npz")
        if prepare is not None:
            prepare(opt, folder)

    row(id, lambda opt, folder: opt.load(folder / "run.npz"), kind, text, make, prepared)


def npy(array):
    """Return what numpy.save writes."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_header(**changes):
    """Return a writer of a checkpoint whose header is changed."""

    def write(opt, path):
        opt.save(path)
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        header = json.loads(str(np.load(io.BytesIO(entries["fallline.npy"])))) | changes
        entries["fallline.npy"] = npy(np.array(json.dumps({k: v for k, v in header.items() if v is not ...})))
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)

    return write


def saved_by(make):
    return lambda opt, path: make().save(path)


WHOLE = (
    "load('...run.npz'): must be a whole file that save wrote; got one that is not (...). Use an earlier checkpoint."
)
load_file("file-text", lambda opt, path: path.write_text("not a checkpoint"), ValueError, WHOLE)
load_file("file-empty", lambda opt, path: path.write_bytes(b""), ValueError, WHOLE)
load_file("file-npy", lambda opt, path: path.write_bytes(npy(ones(3))), ValueError, WHOLE)
load_file("file-npz", lambda opt, path: np.savez(path, W=ones(3)), ValueError, WHOLE)
load_file("file-pickle", lambda opt, path: path.write_bytes(pickle.dumps({"W": 1})), ValueError, WHOLE)
load_file("file-without-format", with_header(format=...), ValueError, WHOLE)
load_file("file-without-arrays", with_header(arrays=...), ValueError, WHOLE)
load_file("file-arrays-pairs", with_header(arrays=[["W", "param"]]), ValueError, WHOLE)
for key in KEYS[:-1]:  # the state is made of the arrays
    load_file(
        f"file-without-{key}", with_header(**{key: ...}), ValueError,
        f"{LOAD}: must be what state_dict returned; got dict without the key '{key}'. Pass that dict unchanged.",
    )  # fmt: skip
load_file(
    "file-without-params", with_header(arrays=[]), ValueError,
    f"load: must have the names of this optimizer's params; got a checkpoint that lacks W, h, l/b. {BUILD}",
)  # fmt: skip
load_file(
    "file-newer",
    with_header(format=2),
    ValueError,
    "load('...run.npz'): must have a format up to 1; got 2, written by a newer fallline. Upgrade fallline.",
)
load_file(
    "file-params", saved_by(lambda: fl.Adam({"W": ones(3, 4, dtype=np.float32), "l": {"c": ones(5)}, "h": ones(6, dtype=np.float16)}, ema=0.5)),
    ValueError, f"load: must have the names of this optimizer's params; got a checkpoint that lacks l/b and adds l/c. {BUILD}",
)  # fmt: skip
load_file(
    "file-shape", saved_by(lambda: fl.SGD([ones(3), ones(1, 2)])), ValueError,
    f"load: params['1'] must be float64 of shape (2,); got float64 of shape (1, 2). {BUILD}", grouped,
)  # fmt: skip
load_file(
    "file-dtype", saved_by(lambda: fl.SGD([ones(3, dtype=np.float32), ones(2)])), ValueError,
    f"load: params['0'] must be float64 of shape (3,); got float32 of shape (3,). {BUILD}", grouped,
)  # fmt: skip
load_file(
    "file-rule", saved_by(lambda: fl.Momentum([ones(3), ones(2)])), ValueError,
    f"{LOAD}: must be of the rule 'sgd'; got 'momentum' (optimizer Momentum). Build the optimizer with the settings it was saved with.",
    grouped,
)  # fmt: skip
load_file(
    "file-into-read-only", lambda opt, path: opt.save(path), ValueError,
    "params['l/b']: must be writeable; got an array that was made read-only after the optimizer was built. Set its flags.writeable.",
    prepare=locked,
)  # fmt: skip
load_file(
    "file-into-resized", lambda opt, path: opt.save(path), RuntimeError, f"params['l/b']: {CHANGED}",
    prepare=lambda opt, folder: opt.params["l"]["b"].resize(7, refcheck=False),
)  # fmt: skip
for id, prepare in (("replaced", replaced), ("removed", removed)):
    load_file(
        f"file-into-{id}", lambda opt, path: opt.save(path), RuntimeError, f"params['W']: {ANOTHER}", prepare=prepare
    )


# ---------------------------------------------------------------------------------------------------------------------
# The tests
# ---------------------------------------------------------------------------------------------------------------------


def fits(message, text):
    """Compare a message with a text in which "..." stands for anything."""
    pattern = (
        text.replace("[", "\0")
        .replace("]", "[]]")
        .replace("\0", "[[]")
        .replace("?", "[?]")
        .replace("*", "[*]")
        .replace("...", "*")
    )
    return fnmatch.fnmatchcase(message, pattern)


def get(row, folder):
    """Provoke a row's message; return it and the pictures before and after."""
    opt = row.make()
    if row.prepare is not None:
        row.prepare(opt, folder)
    before = picture(opt, folder)
    with pytest.raises(row.kind) as caught:
        row.provoke(opt, folder)
    return caught.value, before, picture(opt, folder), opt


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_message(row, tmp_path):
    error, before, after, _ = get(row, tmp_path)
    message = str(error)
    assert fits(message, row.text), message
    assert HOUSE_FORM.fullmatch(message), message
    assert "\n" not in message
    assert after == before


def test_ids_are_distinct():
    ids = [row.id for row in ROWS]
    assert len(ids) == len(set(ids))


GOOD_STEPS = [row for row in ROWS if row.make in (adam, listed, grouped, fortran) and row.prepare is None]


@pytest.mark.parametrize("row", GOOD_STEPS, ids=lambda row: row.id)
def test_after_an_error_the_run_goes_on_as_if_nothing_had_happened(row, tmp_path):
    """The next step of an optimizer that refused something is the one that it would have been."""
    other = row.make()
    _, _, _, opt = get(row, tmp_path)
    grads = copy.deepcopy(opt.params)
    opt.step(grads)
    other.step(copy.deepcopy(other.params))
    assert picture(opt, tmp_path) == picture(other, tmp_path)


def test_what_a_constructor_refuses_is_left_alone():
    arrays = [ones(3), ones(3)]
    before = [a.tobytes() for a in arrays]
    for keywords in ({"lr": -1.0}, {"betas": 3}, {"fused": True}, {"lr": lambda t: -1.0}):
        with pytest.raises((TypeError, ValueError)):
            fl.Adam(arrays, **keywords)
    with pytest.raises(ValueError, match="share"):
        fl.Adam([arrays[0], arrays[0]])
    assert [a.tobytes() for a in arrays] == before
    assert sys.getrefcount(arrays[0]) == sys.getrefcount(arrays[1])


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx2 ", "none"])
def test_an_unknown_instruction_set(name):
    done = subprocess.run(
        [sys.executable, "-c", "import fallline"],
        capture_output=True,
        text=True,
        env=os.environ | {"FALLLINE_ISA": name},
        check=False,
    )
    message = done.stderr.strip().splitlines()[-1].removeprefix("ValueError: ")
    able = ", ".join(name for name, has in fl.show_config(mode="dict")["instruction_sets"].items() if has)
    assert message == (
        f"FALLLINE_ISA: must be an instruction set that is compiled in and that this machine has; got {name!r}. Choose one of {able}, or "
        f"unset it."
    )
    assert HOUSE_FORM.fullmatch(message)


# ---------------------------------------------------------------------------------------------------------------------
# The rows against the sources
# ---------------------------------------------------------------------------------------------------------------------

# Not for users: the doorway's own guards, no memory, what a base class leaves to others, what another message quotes.
INTERNAL = {"raise MemoryError", "raise IndexError", "raise KeyError(name)", "raise"}
QUOTED = {
    "raise _Newer(header['format'])": "got 2, written",
    "raise ValueError(\"it has no entry 'fallline'\")": "(it has no entry 'fallline')",
}


def statements(path):
    """Yield the source of every raise statement of a Python or Cython file, as Python."""
    lines = path.read_text().splitlines()
    for i, line in enumerate(lines):
        if not re.match(r"\s*raise\b", line):
            continue
        text = line.strip()
        more = i + 1
        while True:
            try:
                tree = ast.parse(text)
                break
            except SyntaxError:
                text += "\n" + lines[more].strip()
                more += 1
        yield f"{path.name}:{i + 1}", tree.body[0], ast.unparse(tree)


def pattern_of(node):
    """Return a regular expression for the texts that a string expression may have."""
    if isinstance(node, ast.Constant):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(pattern_of(part) for part in node.values)
    return ".*"  # a formatted value, or a variable


def message_of(statement):
    """Return the pattern of the message of a raise statement, or None if it raises none of its own."""
    exc = statement.exc
    if isinstance(exc, ast.Call) and isinstance(exc.func, ast.Attribute) and exc.func.attr == "refuse":
        *_, must, _value, cure = exc.args
        return rf".*: must be {pattern_of(must)}; got .*\. {pattern_of(cure)}"
    if isinstance(exc, ast.Call) and isinstance(exc.func, ast.Name) and exc.func.id == "_refuse":  # of checkpoint.py
        must, got, cure, *_ = exc.args
        return rf"load_state_dict\(state_dict\): must {pattern_of(must)}; got {pattern_of(got)}\. {pattern_of(cure)}"
    if isinstance(exc, ast.Call) and isinstance(exc.func, ast.Name) and exc.args:
        return pattern_of(exc.args[0])
    return None


MODULES = [
    "hyper.py",
    "optimizer.py",
    "params.py",
    "trees.py",
    "shelf.py",
    "checkpoint.py",
    "runtime.py",
    "optim.py",
    "_core/config.pxi",
    "_core/plan.pxi",
]


@pytest.mark.skipif(not SOURCE.exists(), reason="needs the sources")
def test_every_message_in_the_sources_has_a_row(tmp_path):
    """Each pattern in the sources is met by a message that a row provoked."""
    messages = [
        "FALLLINE_ISA: must be an instruction set that is compiled in and that this machine has; got 'x'. Choose one of a, or unset it."
    ]  # test_an_unknown_instruction_set
    for i, row in enumerate(ROWS):
        folder = tmp_path / str(i)
        folder.mkdir()
        opt = row.make()
        try:
            if row.prepare is not None:
                row.prepare(opt, folder)
            row.provoke(opt, folder)
        except Exception as error:
            messages.append(str(error))
    found, missing = 0, []
    for module in MODULES:
        for place, statement, text in statements(SOURCE / module):
            if text in INTERNAL:
                continue
            if text in QUOTED:
                assert any(QUOTED[text] in message for message in messages), (place, text)
                continue
            pattern = message_of(statement)
            if text == "raise AttributeError(self._unknown(name))":
                pattern = r"groups\[.*\]: must be asked for a hyperparameter .*"
            assert pattern is not None, (place, text)
            found += 1
            if not any(re.fullmatch(pattern, message, re.DOTALL) for message in messages):
                missing.append((place, text))
    assert missing == []
    assert found >= 40  # so that the search itself is known to find them
