"""Check the references of rules.py themselves: by hand in fractions, and against torch and optax where they agree."""

from __future__ import annotations

import inspect
import itertools
import math
from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest

from rules import ROWS, maximized

BY_ID = {row.id: row for row in ROWS}
STEPS = 12
EPSILON = np.finfo(np.float64).eps


def ids(rows):
    return [pytest.param(row, id=row.id) for row in rows]


def problem():
    """Return parameters and gradients with some zeros; the gradients shrink, so that a maximum of v matters."""
    rng = np.random.default_rng(20240229)
    p = rng.standard_normal((3, 4))
    gradients = rng.standard_normal((STEPS, 3, 4)) * np.linspace(3, 0.3, STEPS)[:, None, None]
    p[0, 0] = 0
    gradients[:, 0, 0] = 0
    gradients[:, 1, 1] = 0
    gradients[4, 2, 2] = 0
    return p, gradients


def trajectory(row, reference=None):
    """Return the parameters after each step of the problem, one array per step, and the last state."""
    p, gradients = problem()
    s = row.start(p)
    path = []
    for t, g in enumerate(gradients, 1):
        p = (reference or row.reference)(p, g, s, t, **row.keywords)
        path.append(p)
    return np.array(path), s


# ---------------------------------------------------------------------------------------------------------------------
# By hand
# ---------------------------------------------------------------------------------------------------------------------


def case(id, numbers, p, steps, *, t=1, s=None, ends=None, note=""):
    """Return a worked example of row `id`: from `p`, state `s` and step number `t`, each (g, expected p) of `steps`.

    The switches (booleans and names) are the row's; `numbers` are all its other keywords. `ends` is the expected state.
    """
    return pytest.param(id, numbers, p, steps, t, s or {}, ends or {}, id=id + note)


# A single step number 2 with b1 = 1/2 and b2 = 3/5 has the corrections 1 - b1**2 = 3/4 and 1 - b2**2 = 16/25, whose
# root is 4/5. With m = 1 before it, a gradient of 1 gives m = 1 and mhat = 4/3. With v = 6 it gives v = 18/5 + 2/5 = 4,
# vhat = 25/4, and its root 5/2.
second = {"betas": (F(1, 2), F(3, 5)), "lr": F(3, 4)}
moments = {"m": 1, "v": 6}

WORKED = [
    # g = 1 + 4/4 = 2; p = 4 - 1
    case("sgd", {"lr": F(1, 2), "weight_decay": F(1, 4)}, 4, [(1, 3), (-1, F(25, 8))]),  # g = -1 + 3/4 = -1/4
    # g: 2, -1/4. b: 2, then 1/2 2 + 1/2 (-1/4) = 7/8
    case(
        "sgd-dampening",
        {"lr": F(1, 2), "momentum": F(1, 2), "dampening": F(1, 2), "weight_decay": F(1, 4)},
        4,
        [(1, 3), (-1, F(41, 16))],
        ends={"b": F(7, 8)},
    ),
    case(
        "momentum-dampening",
        {"lr": F(1, 2), "momentum": F(1, 2), "dampening": F(1, 2), "weight_decay": F(1, 4)},
        4,
        [(1, 3), (-1, F(41, 16))],
        ends={"b": F(7, 8)},
    ),
    # g = 2, b = 2, p = 4 - 1/2 (2 + 1) = 5/2; g = -1 + 5/8 = -3/8, b = 1 - 3/8 = 5/8, p = 5/2 - 1/2 (-3/8 + 5/16)
    *(
        case(
            id,
            {"lr": F(1, 2), "momentum": F(1, 2), "weight_decay": F(1, 4)},
            4,
            [(1, F(5, 2)), (-1, F(81, 32))],
            ends={"b": F(5, 8)},
        )
        for id in ("sgd-nesterov", "nesterov")
    ),
    # g = 2, v = -1; g = -1/4, v = -1/2 + 1/8 = -3/8
    *(
        case(
            id,
            {"lr": F(1, 2), "momentum": F(1, 2), "weight_decay": F(1, 4)},
            4,
            [(1, 3), (-1, F(21, 8))],
            ends={"v": F(-3, 8)},
        )
        for id in ("sgd-classic", "momentum-classic")
    ),
    # g = 2, v = -1, p = 4 + (-1/2 - 1); g = -3/8, v = -1/2 + 3/16 = -5/16, p = 5/2 + (-5/32 + 3/16)
    *(
        case(
            id,
            {"lr": F(1, 2), "momentum": F(1, 2), "weight_decay": F(1, 4)},
            4,
            [(1, F(5, 2)), (-1, F(81, 32))],
            ends={"v": F(-5, 16)},
        )
        for id in ("sgd-classic-nesterov", "nesterov-classic")
    ),
    # g = 4, s = 9 + 16, p = 4 - 4/(5 + 3); g = 12, s = 25 + 144, lr = 1/2, p = 7/2 - 1/2 12/(13 + 3)
    case(
        "adagrad",
        {"lr": 1, "lr_decay": 1, "weight_decay": F(1, 2), "initial_accumulator_value": 9, "eps": 3},
        4,
        [(2, F(7, 2)), (F(41, 4), F(25, 8))],
        ends={"s": 169},
    ),
    # g = 4, s + eps = 5 + 16 + 4; g = 52/5 + 8/5 = 12, s + eps = 21 + 144 + 4, lr = 1/2, p = 16/5 - 1/2 12/13
    case(
        "adagrad-eps-inside",
        {"lr": 1, "lr_decay": 1, "weight_decay": F(1, 2), "initial_accumulator_value": 5, "eps": 4},
        4,
        [(2, F(16, 5)), (F(52, 5), F(178, 65))],
        ends={"s": 165},
    ),
    # g = 4, v = 8, update = 1/3 4, u = 1/2 16/9
    case(
        "adadelta",
        {"lr": F(1, 2), "rho": F(1, 2), "eps": 1, "weight_decay": 1},
        1,
        [(3, F(1, 3))],
        ends={"v": 8, "u": F(8, 9)},
    ),
    # g = 2, v = 1 + 2, update = 2/2 2, u = 3/2 + 4/2
    case(
        "adadelta",
        {"lr": F(1, 2), "rho": F(1, 2), "eps": 1, "weight_decay": 1},
        1,
        [(1, 0)],
        t=2,
        s={"v": 2, "u": 3},
        ends={"v": 3, "u": F(7, 2)},
        note=" later",
    ),
    # g = -2 + 3 = 1 in all of them. v = 7/2 + 1/2 = 4
    case(
        "rmsprop",
        {"lr": 2, "alpha": F(1, 2), "eps": 2, "weight_decay": 1},
        3,
        [(-2, F(5, 2))],
        s={"v": 7},
        ends={"v": 4},
    ),
    case(
        "rmsprop-eps-inside",
        {"lr": F(3, 2), "alpha": F(1, 2), "eps": 5, "weight_decay": 1},
        3,
        [(-2, F(5, 2))],
        s={"v": 7},
    ),
    # v = 5, a = 1, variance = 4
    case(
        "rmsprop-centered",
        {"lr": 2, "alpha": F(1, 2), "eps": 2, "weight_decay": 1},
        3,
        [(-2, F(5, 2))],
        s={"v": 9, "a": 1},
        ends={"v": 5, "a": 1},
    ),
    case(
        "rmsprop-centered-eps-inside",
        {"lr": F(3, 2), "alpha": F(1, 2), "eps": 5, "weight_decay": 1},
        3,
        [(-2, F(5, 2))],
        s={"v": 9, "a": 1},
    ),
    # v = 1/2, a = 2: the variance -7/2 counts as 0, d = 1/(0 + 2)
    case(
        "rmsprop-centered",
        {"lr": 2, "alpha": F(1, 2), "eps": 2, "weight_decay": 1},
        3,
        [(-2, 2)],
        s={"v": 0, "a": 3},
        note=" clamped",
    ),
    # d = 1/4, b = 1/2 + 1/4
    case(
        "rmsprop-momentum",
        {"lr": 2, "alpha": F(1, 2), "eps": 2, "weight_decay": 1, "momentum": F(1, 2)},
        3,
        [(-2, F(3, 2))],
        s={"v": 7, "b": 1},
        ends={"b": F(3, 4)},
    ),
    # d = 1/4, b = 1/2 + 2/4
    case(
        "rmsprop-classic",
        {"lr": 2, "alpha": F(1, 2), "eps": 2, "weight_decay": 1, "momentum": F(1, 2)},
        3,
        [(-2, 2)],
        s={"v": 7, "b": 1},
        ends={"b": 1},
    ),
    # b1 = b2 = 1/2: g = 5, mhat = 5, vhat = 25, p = 2 - 3/5 5/6; g = 1, mhat = (5 + 2)/3, vhat = (25 + 2)/3 = 9
    case(
        "adam",
        {"lr": F(3, 5), "betas": (F(1, 2), F(1, 2)), "eps": 1, "weight_decay": F(1, 2)},
        2,
        [(4, F(3, 2)), (F(1, 4), F(23, 20))],
        ends={"m": F(7, 4), "v": F(27, 4)},
    ),
    # the same gradients, p = 7/10 2 - 1/2 and 7/10 9/10 - 7/20
    *(
        case(
            id,
            {"lr": F(3, 5), "betas": (F(1, 2), F(1, 2)), "eps": 1, "weight_decay": F(1, 2)},
            2,
            [(5, F(9, 10)), (1, F(7, 25))],
        )
        for id in ("adam-decoupled", "adamw")
    ),
    # p = 1/2 2 - 1/2 and 1/2 1/2 - 7/20
    case(
        "adamw-fixed-decay",
        {"lr": F(3, 5), "betas": (F(1, 2), F(1, 2)), "eps": 1, "weight_decay": F(1, 2)},
        2,
        [(5, F(1, 2)), (1, F(-1, 10))],
    ),
    # p = 2, g = 0 + 1/2 2 = 1. lr 4/5 / (3/4) m / (2 + 2) = 3/4 16/15 1/4 = 1/5
    case("adam-hat", second | {"eps": 2, "weight_decay": F(1, 2)}, 2, [(0, F(9, 5))], t=2, s=moments),
    # 3/4 4/3 / sqrt(25/4 + 11/4) = 1/3
    case("adam-inside", second | {"eps": F(11, 4), "weight_decay": F(1, 2)}, 2, [(0, F(5, 3))], t=2, s=moments),
    # vmax = 9 > 4, and its root corrected 15/4
    case(
        "adam-amsgrad",
        second | {"eps": F(1, 4), "weight_decay": F(1, 2)},
        2,
        [(0, F(7, 4))],
        t=2,
        s=moments | {"vmax": 9},
        ends={"m": 1, "v": 4, "vmax": 9},
    ),
    # vmax = 1 < 4
    case(
        "adam-amsgrad",
        second | {"eps": F(3, 2), "weight_decay": F(1, 2)},
        2,
        [(0, F(7, 4))],
        t=2,
        s=moments | {"vmax": 1},
        ends={"vmax": 4},
        note=" rising",
    ),
    # 3/4 16/15 1/(3 + 1)
    case(
        "adam-amsgrad-hat",
        second | {"eps": 1, "weight_decay": F(1, 2)},
        2,
        [(0, F(9, 5))],
        t=2,
        s=moments | {"vmax": 9},
    ),
    # 3/4 4/3 / sqrt(225/16 + 31/16)
    case(
        "adam-amsgrad-inside",
        second | {"eps": F(31, 16), "weight_decay": F(1, 2)},
        2,
        [(0, F(7, 4))],
        t=2,
        s=moments | {"vmax": 9},
    ),
    # vmax = 9 > 25/4
    case(
        "adam-amsgrad-corrected",
        second | {"eps": 1, "weight_decay": F(1, 2)},
        2,
        [(0, F(7, 4))],
        t=2,
        s=moments | {"vmax": 9},
        ends={"vmax": 9},
    ),
    # vmax = 5 < 25/4, though 5 > 4
    case(
        "adam-amsgrad-corrected",
        second | {"eps": F(3, 2), "weight_decay": F(1, 2)},
        2,
        [(0, F(7, 4))],
        t=2,
        s=moments | {"vmax": 5},
        ends={"vmax": F(25, 4)},
        note=" rising",
    ),
    # sqrt(9) with its correction taken off again is 12/5: 3/4 16/15 1/(12/5 + 8/5)
    case(
        "adam-amsgrad-corrected-hat",
        second | {"eps": F(8, 5), "weight_decay": F(1, 2)},
        2,
        [(0, F(9, 5))],
        t=2,
        s=moments | {"vmax": 9},
    ),
    # 3/4 4/3 / sqrt(9 + 7)
    case(
        "adam-amsgrad-corrected-inside",
        second | {"eps": 7, "weight_decay": F(1, 2)},
        2,
        [(0, F(7, 4))],
        t=2,
        s=moments | {"vmax": 9},
    ),
    # m = 2, mhat = 8/3. u = max(4, 1 + 1): 3/4 8/3 1/4; then u = max(1/2, 1 + 1)
    *(
        case(
            "adamax",
            {"lr": F(3, 4), "betas": (F(1, 2), F(1, 4)), "eps": 1, "weight_decay": F(1, 2)},
            2,
            [(0, expected)],
            t=2,
            s={"m": 3, "u": before},
            ends={"m": 2, "u": after},
            note=note,
        )
        for before, after, expected, note in ((16, 4, F(3, 2), ""), (2, 2, 1, " rising"))
    ),
    # u = max(4, 1), divided by 4 + 1; u = max(1/4, 1), divided by 1 + 1
    *(
        case(
            "adamax-divisor",
            {"lr": F(3, 4), "betas": (F(1, 2), F(1, 4)), "eps": 1, "weight_decay": F(1, 2)},
            2,
            [(0, expected)],
            t=2,
            s={"m": 3, "u": before},
            ends={"m": 2, "u": after},
            note=note,
        )
        for before, after, expected, note in ((16, 4, F(8, 5), ""), (1, 1, 1, " rising"))
    ),
    # psi = 1: mu_1 = 1/2 (1 - 12/25) = 13/50, mu_2 = 1/2 (1 - 1/2 (24/25)**2) = 337/1250; g = 2, m = 1, vhat = 4:
    # (2 + mu_2 / (1 - mu_1 mu_2)) / (2 + 2), where 1 - mu_1 mu_2 = 58119/62500
    case(
        "nadam",
        {"lr": 1, "betas": (F(1, 2), F(3, 4)), "eps": 2, "weight_decay": F(1, 2), "momentum_decay": 1},
        2,
        [(1, 2 - (2 + F(337, 1250) / F(58119, 62500)) / 4)],
    ),
    # rho_inf = 9 and rho = 9 - 4 (16/25)/(9/25) = 17/9 at t = 2: no second moment; mhat = 4/3
    case(
        "radam",
        {"lr": F(3, 4), "betas": (F(1, 2), F(4, 5)), "eps": 2, "weight_decay": F(1, 2)},
        2,
        [(0, 1)],
        t=2,
        s=moments,
        note=" early",
    ),
    # t = 10: rho = 9 - 20 (4/5)**10 / (1 - (4/5)**10) = 57481921/8717049 > 5; m = 1, v = 19/4 4/5 + 1/5 = 4
    case(
        "radam",
        {"lr": F(3, 4), "betas": (F(1, 2), F(4, 5)), "eps": 2, "weight_decay": F(1, 2)},
        2,
        [
            (
                0,
                2
                - (3 / 4)
                / (1023 / 1024)
                * math.sqrt(
                    (F(57481921, 8717049) - 4)
                    * (F(57481921, 8717049) - 2)
                    * 9
                    / (5 * 7 * F(57481921, 8717049))
                    * F(8717049, 9765625)
                )
                / (2 + 2),
            )
        ],
        t=10,
        s={"m": 1, "v": F(19, 4)},
    ),
    # the sizes: 1 (nothing before), 2, 3 (not 4), 3/2 and no move, 3/2 (nothing before)
    case(
        "rprop",
        {"lr": 1, "etas": (F(1, 2), 2), "step_sizes": (F(1, 4), 3)},
        5,
        [(1, 4), (2, 2), (1, -1), (-1, -1), (-7, F(1, 2))],
        ends={"step": F(3, 2), "prev": -7},
    ),
    # eta: 1/2, 1/2 / 2**2, 1/2 / 3**2, 1/2 / 4**2. mu: 1, 1, 1, 1/2. p: 0 - 1/2 2; -3/4 - 1/8 2; -8/9; 15/16 of that
    case(
        "asgd",
        {"lr": F(1, 2), "lambd": 2, "alpha": 2, "t0": 1, "weight_decay": F(1, 2)},
        2,
        [(1, -1), (F(5, 2), -1), (F(1, 2), F(-8, 9)), (F(4, 9), F(-5, 6))],
        ends={"a": F(-31, 36)},
    ),
    # p = 3/4 4 - 1/2, m = 1/4; 1/8 - 1/8 has no sign, p = 3/4 5/2, m = 1/8; 1/16 - 1/2 < 0, p = 3/4 15/8 + 1/2
    case(
        "lion",
        {"lr": F(1, 2), "betas": (F(1, 2), F(3, 4)), "weight_decay": F(1, 2)},
        4,
        [(1, F(5, 2)), (F(-1, 4), F(15, 8)), (-1, F(61, 32))],
        ends={"m": F(-5, 32)},
    ),
    # m = 3/2 + 1/2 = 2, mhat = 8/3; s = 3/5 4 + 2/5 (1 - 2)**2 + 6/5 = 4, root of shat = 5/2; 3/4 8/3 / (5/2 + 6/5)
    case(
        "adabelief",
        second | {"eps": F(6, 5), "weight_decay": F(1, 2)},
        2,
        [(0, F(54, 37))],
        t=2,
        s={"m": 3, "s": 4},
        ends={"m": 2, "s": 4},
    ),
    # p = (1 - 3/8) 2 - 20/37
    case(
        "adabelief-decoupled",
        second | {"eps": F(6, 5), "weight_decay": F(1, 2)},
        2,
        [(1, F(5, 4) - F(20, 37))],
        t=2,
        s={"m": 3, "s": 4},
    ),
    # v = 22/5 - 2/5 = 4, root of vhat = 5/2
    case(
        "yogi",
        second | {"eps": F(3, 2), "weight_decay": F(1, 2), "initial_accumulator_value": 1},
        2,
        [(0, F(7, 4))],
        t=2,
        s={"m": 1, "v": F(22, 5)},
        ends={"m": 1, "v": 4},
    ),
    # v = 3/5 + 2/5, root of vhat = 5/4; and v = 1 = g**2 stays
    *(
        case(
            "yogi",
            second | {"eps": F(3, 4), "weight_decay": F(1, 2), "initial_accumulator_value": 1},
            2,
            [(0, F(3, 2))],
            t=2,
            s={"m": 1, "v": v},
            ends={"v": 1},
            note=note,
        )
        for v, note in ((F(3, 5), " rising"), (1, " level"))
    ),
    # both moments start at 9: m = 9/2 + 1/2 = 5, mhat = 10; v = 9 - 1/2 = 17/2, vhat = 17
    case(
        "yogi-decoupled",
        {"lr": F(1, 2), "betas": (F(1, 2), F(1, 2)), "eps": 3, "weight_decay": F(1, 2), "initial_accumulator_value": 9},
        4,
        [(1, 3 - 5 / (math.sqrt(17) + 3))],
        ends={"m": 5, "v": F(17, 2)},
    ),
    # g = 2, m = 1; g = -1, m = 0: no move; g = -1/4, m = -1/8
    case(
        "signum",
        {"lr": F(1, 2), "momentum": F(1, 2), "weight_decay": F(1, 2)},
        2,
        [(1, F(3, 2)), (F(-7, 4), F(3, 2)), (-1, 2)],
        ends={"m": F(-1, 8)},
    ),
    # g = 0; g = -1
    case(
        "signum-without-momentum", {"lr": F(1, 2), "momentum": 0, "weight_decay": F(1, 2)}, 2, [(-1, 2), (-2, F(5, 2))]
    ),
    # t = 1: no difference yet, mhat = 2, vhat = 0, nhat = 4: (4 - 2/(2 + 2)) / 2
    case(
        "adan",
        {"lr": 1, "betas": (F(1, 2), F(1, 4), F(3, 5)), "eps": 2, "weight_decay": 1},
        4,
        [(2, F(7, 4))],
        s={"prev": 7},
        ends={"m": 1, "v": 0, "n": F(8, 5), "prev": 2},
        note=" first",
    ),
    # difference -1; m = 1, mhat = 4/3; v = 1/4 - 3/4, vhat = -1/2 16/15; n = 3/5 151/24 + 2/5 (1 - 1/4)**2 = 4, root of
    # nhat = 5/2; (2 - 1/2 (4/3 - 1/4 8/15) / 4) / (1 + 1/2)
    case(
        "adan",
        {"lr": F(1, 2), "betas": (F(1, 2), F(1, 4), F(3, 5)), "eps": F(3, 2), "weight_decay": 1},
        2,
        [(1, F(37, 30))],
        t=2,
        s={"m": 1, "v": 1, "n": F(151, 24), "prev": 2},
        ends={"m": 1, "v": F(-1, 2), "n": 4, "prev": 1},
    ),
    # n: 9, 25, 169, 85**2; sigma: 4, 16, 144; z: 4 + 1 - 4 = 1 is within l1; 13, p = -11 / (2 (1/2 + 13) + 1/2) = -2/5;
    # 13 - 84 - 2/5 + 144 2/5 = -69/5, p = 59/5 / (2 (1/2 + 85) + 1/2)
    case(
        "ftrl",
        {
            "lr": F(1, 2),
            "l1": 2,
            "l2": F(1, 4),
            "l2_shrinkage": F(1, 2),
            "beta": F(1, 2),
            "initial_accumulator_value": 9,
        },
        1,
        [(4, 0), (12, F(-2, 5)), (-84, F(118, 1715))],
        ends={"n": 7225, "z": F(-69, 5)},
    ),
    # |p| = |g| = 5, ratio 5/(5 + 5 + 10) = 1/4, d = (7, 1)/4, b = (2, 4) + d = (15, 17)/4, p = (3, 4) - 2 b
    case(
        "lars",
        {"lr": 2, "momentum": F(1, 2), "weight_decay": 1, "trust_coefficient": 1, "eps": 10},
        [3, 4],
        [([4, -3], [F(-9, 2), F(-9, 2)])],
        s={"b": [4, 8]},
        ends={"b": [F(15, 4), F(17, 4)]},
    ),
    # d + b/2 = (29, 19)/8
    case(
        "lars-nesterov",
        {"lr": 2, "momentum": F(1, 2), "weight_decay": 1, "trust_coefficient": 1, "eps": 10},
        [3, 4],
        [([4, -3], [F(-17, 4), F(-3, 4)])],
        s={"b": [4, 8]},
        ends={"b": [F(15, 4), F(17, 4)]},
    ),
    # a norm of zero: the ratio is 1
    case(
        "lars",
        {"lr": 2, "momentum": F(1, 2), "weight_decay": 1, "trust_coefficient": 1, "eps": 10},
        [0, 0],
        [([4, -3], [-8, 6])],
        note=" from zero",
    ),
    case(
        "lars",
        {"lr": F(1, 2), "momentum": F(1, 2), "weight_decay": 1, "trust_coefficient": 1, "eps": 10},
        [3, 4],
        [([0, 0], [F(3, 2), 2])],
        note=" without gradient",
    ),
    # m = (21/2, 30), mhat = (14, 40), v = 4, the divisor 5/2 + 3/2: r = (7/2, 10) + (3/2, 2), |r| = 13, |p| = 5
    case(
        "lamb",
        second | {"lr": F(13, 5), "eps": F(3, 2), "weight_decay": F(1, 2)},
        [3, 4],
        [([1, 1], [-2, -8])],
        t=2,
        s={"m": [20, 59], "v": [6, 6]},
        ends={"m": [F(21, 2), 30], "v": [4, 4]},
    ),
    # 13/5 instead of 5: the ratio is 1/5
    case(
        "lamb-max-norm",
        second | {"lr": F(13, 5), "eps": F(3, 2), "weight_decay": F(1, 2), "max_norm": F(13, 5)},
        [3, 4],
        [([1, 1], [F(2, 5), F(-56, 25)])],
        t=2,
        s={"m": [20, 59], "v": [6, 6]},
    ),
    case(
        "lamb-max-norm",
        second | {"lr": F(13, 5), "eps": F(3, 2), "weight_decay": F(1, 2), "max_norm": 10},
        [3, 4],
        [([1, 1], [-2, -8])],
        t=2,
        s={"m": [20, 59], "v": [6, 6]},
        note=" not reached",
    ),
    # a norm of zero: the ratio is 1; r = (7/2, 10), then r = 0
    case(
        "lamb",
        second | {"lr": 2, "eps": F(3, 2), "weight_decay": F(1, 2)},
        [0, 0],
        [([1, 1], [-7, -20])],
        t=2,
        s={"m": [20, 59], "v": [6, 6]},
        note=" from zero",
    ),
    case(
        "lamb",
        second | {"lr": 2, "eps": F(3, 2), "weight_decay": 0},
        [3, 4],
        [([0, 0], [3, 4])],
        t=2,
        note=" without gradient",
    ),
    # b3 is below b1, so that it is not warmed up: m1hat = 4/3, m2 = 5/4 + 3/4 = 2, the divisor 4; alpha = 2 of 3:
    # (4/3 + 4)/4 + 1 = 7/3
    case(
        "ademamix-warmup-of-alpha",
        {
            "lr": F(3, 7),
            "betas": (F(1, 2), F(3, 5), F(1, 4)),
            "eps": F(3, 2),
            "weight_decay": F(1, 2),
            "alpha": 3,
            "warmup_steps": 3,
        },
        2,
        [(1, 1)],
        t=2,
        s={"m1": 1, "m2": 5, "v": 6},
        ends={"m1": 1, "m2": 2, "v": 4},
    ),
    # b1 = b3**4 and t/T = 1/3: b3 is raised to 4 / (2/3 + 4/3), and is 1/4. m1 = 15/256 + 15/16 = 255/256 and its
    # correction the same, m2 = 5/4 + 3/4 = 2, alpha = 1: (1 + 2)/4 + 1 = 7/4
    case(
        "ademamix-warmup",
        {
            "lr": F(4, 7),
            "betas": (F(1, 16), F(3, 5), F(1, 2)),
            "eps": F(3, 2),
            "weight_decay": F(1, 2),
            "alpha": 3,
            "warmup_steps": 6,
        },
        2,
        [(1, 1)],
        t=2,
        s={"m1": F(15, 16), "m2": 5, "v": 6},
        ends={"m1": F(255, 256), "m2": 2, "v": 4},
        note=" slow mean",
    ),
    # alpha = 3: (4/3 + 6)/4 + 1 = 17/6; the same after a warm-up
    case(
        "ademamix",
        {"lr": F(6, 17), "betas": (F(1, 2), F(3, 5), F(1, 4)), "eps": F(3, 2), "weight_decay": F(1, 2), "alpha": 3},
        2,
        [(1, 1)],
        t=2,
        s={"m1": 1, "m2": 5, "v": 6},
    ),
    case(
        "ademamix-warmup",
        {
            "lr": F(6, 17),
            "betas": (F(1, 2), F(3, 5), F(1, 4)),
            "eps": F(3, 2),
            "weight_decay": F(1, 2),
            "alpha": 3,
            "warmup_steps": 1,
        },
        2,
        [(1, 1)],
        t=2,
        s={"m1": 1, "m2": 5, "v": 6},
        note=" over",
    ),
    # g = 2, v = 4, no move; g = 6, 6/4 clipped at 1, m = 1/2, v = 3 + 9; g = 2, 2/4, m = 1/4 + 1/4, v = 9 + 1
    case(
        "adopt",
        {"lr": F(1, 2), "betas": (F(1, 2), F(3, 4)), "eps": 4, "weight_decay": F(1, 2)},
        2,
        [(1, 2), (5, F(7, 4)), (F(9, 8), F(3, 2))],
        ends={"m": F(1, 2), "v": 10},
    ),
    # no decay in the step without a move; v = 1, p = 3/4 2 - 1/2 1/2; v = 3/4 + 16/4, p = 3/4 5/4 - 1/2 1/2 (1/2 + 1/4)
    case(
        "adopt-decoupled",
        {"lr": F(1, 2), "betas": (F(1, 2), F(3, 4)), "eps": 4, "weight_decay": F(1, 2)},
        2,
        [(1, 2), (4, F(5, 4)), (1, F(3, 4))],
        ends={"m": F(3, 8), "v": F(61, 16)},
    ),
    # the bound at t = 17 is 16**(1/4) = 2: m = 1/2 - 1
    case(
        "adopt-decoupled",
        {"lr": F(1, 2), "betas": (F(1, 2), F(3, 4)), "eps": F(1, 2), "weight_decay": F(1, 2)},
        2,
        [(-5, F(7, 4))],
        t=17,
        s={"m": 1, "v": 1},
        ends={"m": F(-1, 2), "v": 7},
        note=" later",
    ),
    # gamma: 1/2, 1, 1. weights: 1/4, 2, 3; c: 1, 8/9, 4/7. g: 4, 9, 7. z: 2, -7, -14. x: 2, -6, -74/7
    case(
        "schedulefreesgd-warmup",
        {"lr": 1, "momentum": F(1, 2), "weight_decay": F(1, 2), "warmup_steps": 2, "r": 1, "weight_lr_power": 2},
        4,
        [(2, 2), (8, F(-13, 2)), (F(41, 4), F(-86, 7))],
        ends={"z": -14},
    ),
    # c: 1, 1/2. z: 4 - 4, 0 - 3; x: 0, -3/2
    case(
        "schedulefreesgd",
        {"lr": 1, "momentum": F(1, 2), "weight_decay": F(1, 2), "weight_lr_power": 2},
        4,
        [(2, 0), (3, F(-9, 4))],
        s={"z": 99},
        ends={"z": -3},
    ),
    # vhat = 9 twice. gamma: 1/2, 1; weights: 1/2, 1; c: 1, 2/3. z: 4 - 1/2 (3/4 + 2), 21/8 - (-3/4 + 21/16).
    # x: 21/8, 1/3 21/8 + 2/3 33/16 = 9/4
    case(
        "schedulefreeadamw-warmup",
        {
            "lr": 1,
            "betas": (F(1, 2), F(1, 2)),
            "eps": 1,
            "weight_decay": F(1, 2),
            "warmup_steps": 2,
            "r": 0,
            "weight_lr_power": 1,
        },
        4,
        [(3, F(21, 8)), (-3, F(69, 32))],
        s={"z": 99},
        ends={"z": F(33, 16), "v": F(27, 4)},
    ),
]


def numeric(value):
    return tuple(map(float, value)) if isinstance(value, tuple) else float(value)


def array(value):
    return np.array([float(x) for x in value] if isinstance(value, list) else float(value))


def is_switch(value):
    return isinstance(value, bool | str)


@pytest.mark.parametrize(("id", "numbers", "p", "steps", "first", "s", "ends"), WORKED)
def test_agrees_with_the_calculation_by_hand(id, numbers, p, steps, first, s, ends):
    row = BY_ID[id]
    switches = {key: value for key, value in row.keywords.items() if is_switch(value)}
    assert numbers.keys() | switches.keys() == row.keywords.keys()
    row = replace(row, keywords=switches | {key: numeric(value) for key, value in numbers.items()})
    p = array(p)
    state = row.start(p) | {name: array(value) for name, value in s.items()}
    for t, (g, expected) in enumerate(steps, first):
        p = row.reference(p, array(g), state, t, **row.keywords)
        # the fractions themselves are rounded, and each of about ten operations rounds once
        np.testing.assert_allclose(p, array(expected), rtol=10 * EPSILON, atol=10 * EPSILON)
    for name, expected in ends.items():
        np.testing.assert_allclose(state[name], array(expected), rtol=10 * EPSILON, atol=10 * EPSILON)


def test_every_row_has_a_witness():
    by_hand = {parameters.values[0] for parameters in WORKED}
    assert [row.id for row in ROWS if not (row.torch or row.optax or row.id in by_hand)] == []
    references = {BY_ID[id].reference for id in by_hand}
    assert [row.id for row in ROWS if row.reference not in references] == []


# ---------------------------------------------------------------------------------------------------------------------
# By peers
# ---------------------------------------------------------------------------------------------------------------------


def assert_same_path(path, peer):
    """Compare two paths that round differently: a few ulp of the larger of p and 1 in each of the steps so far."""
    allowed = 4 * EPSILON * np.arange(1, STEPS + 1)[:, None, None]
    assert np.all(np.abs(path - peer) <= allowed * np.maximum(1, np.abs(path)))


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam's product and ASGD's eta are kept in the default type
    yield torch
    torch.set_default_dtype(before)


@pytest.fixture
def optax():
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield optax
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("row", ids(row for row in ROWS if row.torch))
def test_agrees_with_torch(row, maximize, torch):
    path, _ = trajectory(row, maximized(row.reference) if maximize else None)
    p, gradients = problem()
    p = torch.tensor(p)
    optimizer = row.torch(torch, [p], foreach=False, maximize=maximize)
    peer = []
    for g in gradients:
        p.grad = torch.tensor(g)
        optimizer.step()
        peer.append(p.numpy().copy())
    assert_same_path(path, peer)


@pytest.mark.parametrize("row", ids(row for row in ROWS if row.optax))
def test_agrees_with_optax(row, optax):
    path, _ = trajectory(row)
    p, gradients = problem()
    transformation = row.optax(optax)
    p = optax.tree.cast(p, np.float64)
    state = transformation.init(p)
    peer = []
    for g in gradients:
        updates, state = transformation.update(optax.tree.cast(g, np.float64), state, p)
        p = optax.apply_updates(p, updates)
        peer.append(np.asarray(p))
    assert peer[-1].dtype == np.float64
    assert_same_path(path, peer)


# ---------------------------------------------------------------------------------------------------------------------
# The rows
# ---------------------------------------------------------------------------------------------------------------------


def test_ids_are_unique():
    assert len(BY_ID) == len(ROWS)


@pytest.mark.parametrize("row", ids(ROWS))
def test_leaves_its_arguments_alone(row):
    p, gradients = problem()
    s = row.start(p)
    for t, g in enumerate(gradients, 1):
        given = p.copy(), g.copy()
        new = row.reference(p, g, s, t, **row.keywords)
        np.testing.assert_array_equal(p, given[0])
        np.testing.assert_array_equal(g, given[1])
        assert new.shape == p.shape
        assert new.dtype == np.float64
        assert s.keys() == set(row.states)
        for array in s.values():
            assert array.shape == p.shape
            assert array.dtype == np.float64
            assert not any(np.shares_memory(array, other) for other in (p, g, new))
        p = new
    assert np.all(np.isfinite(p))


def perturbed(keywords):
    """Yield a name and changed keywords for every number, and every element of a tuple, that is not zero."""
    for key, value in keywords.items():
        if isinstance(value, tuple):
            for i, element in enumerate(value):
                yield f"{key}[{i}]", keywords | {key: (*value[:i], 0.7 * element, *value[i + 1 :])}
        elif isinstance(value, int) and not is_switch(value):
            yield key, keywords | {key: value + 1}
        elif not is_switch(value) and value != 0:
            yield key, keywords | {key: 0.7 * value}


UNUSED = {
    ("radam-never-rectified", "eps"),
    ("schedulefreesgd", "weight_lr_power"),  # equal weights at a constant learning rate, whatever the power
    ("schedulefreeadamw", "weight_lr_power"),
}


@pytest.mark.parametrize("row", ids(ROWS))
def test_every_number_matters(row):
    """A row whose settings hide a hyperparameter would also hide a wrong use of it."""
    path, s = trajectory(row)
    for name, keywords in perturbed(row.keywords):
        other, other_s = trajectory(replace(row, keywords=keywords))
        seen = max(np.max(np.abs(path - other)), *(np.max(np.abs(s[n] - other_s[n])) for n in s), 0)
        assert (seen > 1e-6) != ((row.id, name) in UNUSED), name


def without_form(row):
    return {key: value for key, value in row.keywords.items() if key != "form"}


def test_variants_differ():
    """Two forms of momentum are the same path at a constant learning rate; no other two rows of a class are."""
    for one, other in itertools.combinations(ROWS, 2):
        if one.cls == other.cls:
            same = np.max(np.abs(trajectory(one)[0] - trajectory(other)[0])) < 1e-6
            assert same == (without_form(one) == without_form(other)), (one.id, other.id)


# ---------------------------------------------------------------------------------------------------------------------
# The rows and the package
# ---------------------------------------------------------------------------------------------------------------------

COMMON = {"maximize", "clip_value", "clip_norm", "grad_scale", "nonfinite", "ema", "half_params", "rng", "threads"}
CHOICES = {
    ("SGD", "form"): {"torch", "classic"},
    ("Momentum", "form"): {"torch", "classic"},
    ("Nesterov", "form"): {"torch", "classic"},
    ("RMSprop", "form"): {"torch", "classic"},
    ("Adam", "eps_mode"): {"outside", "hat", "inside"},
    ("Adam", "amsgrad_max"): {"raw", "corrected"},
    ("AdamW", "eps_mode"): {"outside", "hat", "inside"},
    ("AdamW", "amsgrad_max"): {"raw", "corrected"},
    ("Adamax", "eps_mode"): {"norm", "divisor"},
}


def settings(optimizer):
    """Return the hyperparameters of a class and their defaults."""
    parameters = inspect.signature(optimizer).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p.default for p in named if p.name != "params" and p.name not in COMMON}


def test_every_keyword_of_every_optimizer_is_in_a_row():
    import fallline

    missing = []
    for optimizer in fallline.optimizers().values():
        rows = [row for row in ROWS if row.cls == optimizer.__name__]
        for name, default in settings(optimizer).items():
            if not any(row.keywords.get(name, default) != default for row in rows):
                missing.append(f"{optimizer.__name__}({name}=)")
    assert missing == []
    assert {row.cls for row in ROWS} == {optimizer.__name__ for optimizer in fallline.optimizers().values()}


def test_every_choice_is_in_a_row():
    import fallline

    for (cls, keyword), choices in CHOICES.items():
        default = settings(getattr(fallline, cls))[keyword]
        assert {row.keywords.get(keyword, default) for row in ROWS if row.cls == cls} == choices, (cls, keyword)


def test_rows_name_no_unknown_keyword():
    import fallline

    for row in ROWS:
        assert row.keywords.keys() <= settings(getattr(fallline, row.cls)).keys(), row.id
