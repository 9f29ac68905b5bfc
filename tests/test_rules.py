"""The rules: rows of rules.py times properties; see replay.py for what their bits must be."""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
import json
import math
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fallline as fl
import replay
from fallline import _core, problems, schedules, trees
from rules import ROWS, maximized, schedule_free_weight

EPSILON = np.finfo(np.float64).eps
TABLE = _core.rules()
RULES = replay.rules()
SIZES = (0, 1, 2, 15, 16, 17, 255, 256, 257, 1000)
DTYPES = (np.float32, np.float64)
BY_ID = {row.id: row for row in ROWS}


def each(rows):
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in rows])


every_row = each(ROWS)
both_precisions = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


# ---------------------------------------------------------------------------------------------------------------------
# Optimizers and data
# ---------------------------------------------------------------------------------------------------------------------


def build(row, params, **options):
    return getattr(fl, row.cls)(params, **row.keywords | options)


RULE_OF = {row.id: build(row, np.ones(1))._built for row in ROWS}
WITH_NORMS = [row for row in ROWS if RULES[RULE_OF[row.id]].norms]
ELEMENTWISE = [row for row in ROWS if row not in WITH_NORMS]


def ordinary(rng, n, dtype):
    """Return numbers of everyday size, and some zeros."""
    return (rng.standard_normal(n) * (rng.random(n) > 0.05)).astype(dtype)


def extreme(rng, n, dtype):
    """Return zeros of both signs, subnormal, tiny, everyday and huge numbers; element i tends to one kind."""
    limits = np.finfo(dtype)
    kinds = [0, 3 * limits.smallest_subnormal, 0.7 * limits.smallest_normal, 1e-30, 1e-3, 1, 1e30]
    kinds += [1e-170, 1e170] if dtype is np.float64 else []
    kind = np.where(rng.random(n) < 0.7, np.arange(n), rng.integers(len(kinds), size=n)) % len(kinds)
    return (np.array(kinds)[kind] * rng.uniform(1, 2, n) * rng.choice([-1, 1], n)).astype(dtype)


def arrays(rng, sizes, dtype, draw=ordinary):
    return [draw(rng, n, dtype) for n in sizes]


def copied(tree):
    return [x.copy() for x in tree]


def canonical(x):
    """Give every NaN the same bits: which of two NaNs an operation passes on, and with what sign, is not specified."""
    x = np.array(x, order="C")
    x[np.isnan(x)] = np.nan
    return x


def assert_same_bits(a, b, what=""):
    a, b = canonical(a), canonical(b)
    assert (a.dtype, a.shape) == (b.dtype, b.shape), what
    if a.tobytes() != b.tobytes():
        bits = f"u{a.itemsize}"
        i = int(np.flatnonzero(a.ravel().view(bits) != b.ravel().view(bits))[0])
        pytest.fail(f"{what}: {a.ravel()[i]!r} is not {b.ravel()[i]!r} at {i}")


def snapshot(opt):
    """Return a copy of all that steps change, by name."""
    found = {name: x.copy() for name, x in trees.leaves(opt.params)}
    return found | {f"{name}:{key}": x.copy() for name, own in opt.state.items() for key, x in own.items()}


def of_tensor(opt, name):
    """Return a copy of all that belongs to one tensor."""
    return {"p": dict(trees.leaves(opt.params))[name].copy()} | {key: x.copy() for key, x in opt.state[name].items()}


def assert_same(a, b, what=""):
    """Compare two snapshots."""
    assert a.keys() == b.keys()
    for name in a:
        assert_same_bits(a[name], b[name], f"{what} {name}")


def each_number(x, change):
    """Apply a change to a hyperparameter: to a number, or each number of a tuple; not to switches."""
    if isinstance(x, tuple):
        return tuple(each_number(y, change) for y in x)
    return x if isinstance(x, bool | str) else change(x)


# ---------------------------------------------------------------------------------------------------------------------
# Against the literal references
# ---------------------------------------------------------------------------------------------------------------------

N = 40  # elements; enters the error of the norms


def bias(b, t):
    """Return the ulps by which two ways of computing 1 - b**t may differ.

    The core multiplies t factors, the reference takes a power: (t + 1)/2 ulp of b**t, which leaves 1 - b**t.
    """
    return (t + 1) / 2 * b**t / (1 - b**t)


def rectification(b2, t):
    """Return the ulps by which RAdam's r may differ: rho - 4 is the small rest of two numbers near 2/(1 - b2)."""
    limit, share = 2 / (1 - b2) - 1, b2**t / (1 - b2**t)
    rho = limit - 2 * t * share
    if rho <= 5:
        return 0.0
    of_rho = limit + 2 * t * share * (1 + (t + 1) / 2 / (1 - b2**t))
    return of_rho * (1 / (rho - 4) + 1 / (rho - 2) + 1 / rho) / 2


def allowed_ulps(row, t):
    """Return 4, and more where a subtraction or a sum magnifies what two orders of rounding differ by."""
    k, rule = row.keywords, RULES[RULE_OF[row.id]]
    ulps = 4.0
    for name, b, weight in zip(("b1t", "b2t", "b3t"), k.get("betas", ()), (1, 1 / 2, 1 / 2), strict=False):
        ulps += weight * bias(b, t) * (name in rule.running)  # half for what enters below a root
    if row.cls == "Adan":
        ulps += bias(k["betas"][1], t) / 2  # b2 is not below a root here
    if row.cls == "NAdam":
        ulps += bias(k["betas"][0], t)  # its b1 is a product too, of smaller numbers
    if row.cls == "RAdam":
        ulps += rectification(k["betas"][1], t)
    if rule.norms:
        ulps += 2 * (N / 16 + 4 + N / 8 + 3 + 2) / 4  # the depths of both sums and their squares, below a root
    if "warmup_steps" in k and row.cls == "AdEMAMix":
        ulps += 4 * k["betas"][2] / (1 - k["betas"][2])  # logarithms and exponential before 1 - b3
    return ulps


def terms(row, p, g, before, after, t):
    """Return magnitudes that are added on the way to p and that p itself, before and after, does not show."""
    k = row.keywords
    if row.cls == "FTRL":
        root = np.sqrt(after["n"])
        h, sigma = 2 * k["l2_shrinkage"] * np.abs(p), (root - np.sqrt(before["n"])) / k["lr"]
        z = np.max([np.abs(before["z"]), np.abs(g), h, sigma * np.abs(p), np.abs(after["z"]), 0 * g + k["l1"]], axis=0)
        return [z / ((k["beta"] + root) / k["lr"] + 2 * k["l2"])]
    if row.cls.startswith("ScheduleFree"):  # the reference goes through x = (y - (1 - mu) z)/mu
        mu = k["momentum"] if "momentum" in k else k["betas"][0]
        return [np.abs(before["z"] if t > 1 else p) / mu, np.abs(p) / mu, np.abs(after["z"]) / mu]
    if row.cls == "LARS":
        return [k["lr"] * np.abs(after["b"]), k["lr"] * k["momentum"] * np.abs(before["b"])]
    if row.cls in ("NAdam", "Adan", "AdEMAMix", "LAMB"):  # sums of directions, of which each has about the size lr
        directions = 1 + k.get("alpha", 0) + (3 if row.cls == "Adan" else 0)
        return [np.full_like(p, k["lr"] * directions)]
    return []


@pytest.mark.parametrize("maximize", [False, True])
@every_row
def test_a_step_is_within_4_ulp_of_the_reference(row, maximize):
    rng = np.random.default_rng(1)
    reference = maximized(row.reference) if maximize else row.reference
    p = ordinary(rng, N, np.float64)
    opt = build(row, p, maximize=maximize)
    for t in range(1, 31):
        g = ordinary(rng, N, np.float64) * 3 / np.sqrt(t)
        old, before = p.copy(), {name: opt.state["0"][name].copy() for name in row.states}
        after = dict(before)
        new = reference(old, g, after, t, **row.keywords)
        opt.step(g)
        ulps = allowed_ulps(row, t)
        assert_within(ulps, p, new, [old, *terms(row, old, g, before, after, t)], f"p, step {t}")
        for name in row.states:
            assert_within(ulps, opt.state["0"][name], after[name], [before[name]], f"{name}, step {t}")


def assert_within(ulps, got, expected, others, what):
    """Compare in ulps of the largest of what is added up; `others` are the value before, and more such terms."""
    scale = np.max([np.abs(x) for x in (expected, expected - others[0], *others)], axis=0)
    error = np.abs(got - expected)
    i = int(np.argmax(error - ulps * EPSILON * scale))
    assert error[i] <= ulps * EPSILON * scale[i], f"{what}: {got[i]!r} is not {expected[i]!r} (scale {scale[i]})"


# ---------------------------------------------------------------------------------------------------------------------
# Against the replay, bit for bit
# ---------------------------------------------------------------------------------------------------------------------


def replayed(opt):
    """Return the replay of an optimizer over a list of arrays, before its first step."""
    return replay.Replay(RULES[opt._built], opt.params, opt._numbers(0, 0)[0], average=opt.ema is not None)


def step_both(opt, twin, grads):
    """Step the optimizer and its replay by the same numbers."""
    clips = {name: opt.current(name) or math.inf for name in ("clip_value", "clip_norm")}
    options = {"maximize": opt.maximize, "grad_scale": opt.current("grad_scale"), "decay": opt.current("ema") or 0.0}
    twin.step(grads, *opt._numbers(0, opt.steps), **clips, **options)
    opt.step(grads)


def assert_agrees(opt, twin, what=""):
    found = {"p": np.concatenate(opt.params)}
    expected = {"p": twin.p} | twin.state | ({} if twin.average is None else {"average": twin.average})
    found |= {name: np.concatenate([own[name] for own in opt.state.values()]) for name in expected if name != "p"}
    assert_same(found, expected, what)
    for name, number in twin.running.items():
        for own in opt.state.values():
            assert_same_bits(own[name], number, f"{what} {name}")


def scheduled(keywords):
    """Let every number follow a schedule."""
    return {name: each_number(x, lambda x: x and (lambda t: x * (1 - 0.01 * (t % 5)))) for name, x in keywords.items()}


OPTIONS = {"grad_scale": 0.7, "clip_value": 1.1, "clip_norm": 9.0, "maximize": True, "ema": 0.8}


@pytest.mark.parametrize("how", ["plain", "with options and schedules", "extreme"])
@both_precisions
@every_row
def test_every_bit_is_the_replays(row, dtype, how):
    rng = np.random.default_rng(2)
    draw = extreme if how == "extreme" else ordinary
    options = scheduled(row.keywords) | OPTIONS if how == "with options and schedules" else {}
    opt = build(row, arrays(rng, SIZES, dtype, draw), **options)
    twin = replayed(opt)
    for t in range(1, 21):
        step_both(opt, twin, arrays(rng, SIZES, dtype, draw))
        assert_agrees(opt, twin, f"step {t}:")


def single_schedules(keywords):
    """Yield the name of every number and the keywords with that one following a schedule."""
    for name, x in scheduled(keywords).items():
        if callable(x):
            yield name, keywords | {name: x}
        for i, y in enumerate(x if isinstance(x, tuple) else ()):
            mixed = (*keywords[name][:i], y, *keywords[name][i + 1 :])
            yield f"{name}[{i}]", keywords | {name: mixed}


@both_precisions
@every_row
def test_every_bit_is_the_replays_when_one_number_changes(row, dtype):
    """Numbers that follow schedules take a short way to the core; each of them alone must arrive."""
    for name, keywords in single_schedules(row.keywords):
        rng = np.random.default_rng(18)
        groups = [{"params": x, "lr_scale": 0.7} for x in arrays(rng, (17, 3), dtype)]
        opt = getattr(fl, row.cls)(groups, **keywords)
        twin = replayed(opt)
        for t in range(1, 7):
            step_both(opt, twin, arrays(rng, (17, 3), dtype))
            assert_agrees(opt, twin, f"{name}, step {t}:")


@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["plain", "options"])
@both_precisions
@each([*WITH_NORMS, BY_ID["adam"]])
def test_every_bit_is_the_replays_over_several_spans(row, dtype, options):
    rng = np.random.default_rng(3)
    sizes = (2 * replay.SPAN + 1017, 3, replay.SPAN, 1)
    opt = build(row, arrays(rng, sizes, dtype), **options)
    twin = replayed(opt)
    for t in range(1, 21):
        step_both(opt, twin, arrays(rng, sizes, dtype) if t % 4 == 1 else copied(opt.params))
        assert_agrees(opt, twin, f"step {t}:")


def test_the_replay_reads_every_rule():
    assert list(RULES) == list(TABLE)
    for name, rule in RULES.items():
        assert TABLE[name] == {
            "hypers": list(rule.hyper),
            "running": ["t", *rule.running],
            "states": list(rule.state),
        }


# ---------------------------------------------------------------------------------------------------------------------
# Tests of the tests: the replay looks at every token
# ---------------------------------------------------------------------------------------------------------------------

SWAPPED = {
    "+": "-", "-": "+", "*": "/", "/": "*", "<": ">", ">": "<", "==": "!=", "&&": "||",
    "MIN": "MAX", "MAX": "MIN", "SQRT": "ABS", "ABS": "SQRT", "SIGN": "ABS", "0": "1", "1": "2", "2": "3",
}  # fmt: skip

# Changes that change nothing, and why.
IDLE = {
    "radam": {  # the rule corrects v in r, and does not use k2
        "PREPARE:  - b2; k2 = [1]/(1 - b2t); ",
        "PREPARE: - b2; k2 = 1[/](1 - b2t); d",
        "PREPARE: b2; k2 = 1/([1] - b2t); dou",
        "PREPARE: ; k2 = 1/(1 [-] b2t); doubl",
        "PREPARE: k2 = 1/(1 - [b2t]); double li",
    },
    "yogi": {"UPDATE:  v = v - (c2[*]SIGN(v - q))"},  # the sign is 1 or -1
    "adan": {"PREPARE: T(t > 1, 0, [1]); grow = 1 "},  # first > 0
    "ademamix": {"PREPARE:  SELECT(w < [1], MIN(exp(lo"},  # the formula gives b3 at w = 1, but for rounding
    "adopt": {"PREPARE:  1, 1 - b1, [0]); lr = SELE"},  # m is clipped to 0 in the first step
    "schedule_free_sgd": {
        "PREPARE: ck = SELECT([sum] > 0, weight",  # a sum of 0 needs a learning rate of 0
        "PREPARE: weight/sum, [0]); first = S",
        "PREPARE:  SELECT(t > [1], 0, 1); a =",  # z is p after the first step too
        "PREPARE: T(t > 1, 0, [1]); a = lr*(1",
    },
    "schedule_free_adamw": {
        "PREPARE: ck = SELECT([sum] > 0, weight",
        "PREPARE: weight/sum, [0]); first = S",
        "PREPARE:  SELECT(t > [1], 0, 1); b2t",
        "PREPARE: T(t > 1, 0, [1]); b2t = TIM",
    },
}


def mutants(block):
    """Yield a description and the block for every token of a rule's parts that has a counterpart, exchanged."""
    for part, text in replay.parts(block).items():
        if part in replay.LISTS:
            continue
        start = block.index(f"{part}(") + len(part) + 1
        start = block.index(text, start)
        for token in replay.TOKEN.finditer(text):
            other = SWAPPED.get(token[0]) or exchanged(token[0], part)
            if other:
                i, j = start + token.start(), start + token.end()
                what = f"{text[max(0, token.start() - 12) : token.start()]}[{token[0]}]{text[token.end() :][:12]}"
                yield f"{part}: {what}", block[:i] + other + block[j:]


def exchanged(token, part):
    """Return another name to use for a variable, or None for what is none."""
    others = {"START": (None, None), "PREPARE": ("t", None), "RATIO": ("x", "y")}
    if not token.isidentifier() or token in {"real", "double", *replay.FUNCTIONS, *replay.IN_NUMBERS}:
        return None
    one, other = others.get(part, ("g", "p"))
    return other if token == one else one


@functools.cache
def recorded(row_id):
    """Return parameters, and for every step its gradients, the numbers it was done with, and all bits after it.

    The three tensors differ in what norms see: an ordinary one, one of zeros, and one without gradient for two steps.
    """
    rng = np.random.default_rng(4)
    params = [ordinary(rng, 33, np.float64), np.zeros(3), ordinary(rng, 5, np.float64) / 16]
    params[2][0] = 0
    opt = build(BY_ID[row_id], copied(params))
    steps = []
    for t in range(1, 13):
        grads = [8 * ordinary(rng, x.size, np.float64) / 1.2**t for x in params]
        grads[2][: 1 if t > 2 else None] = 0
        opt.groups[0].lr_scale = 1.5 if t % 4 == 3 else 1.0  # some rules look at the rate of the step before
        numbers = opt._numbers(0, opt.steps)
        opt.step(grads)
        states = [np.concatenate([own[name] for own in opt.state.values()]) for name in TABLE[opt._built]["states"]]
        running = [opt.state["0"][name] for name in TABLE[opt._built]["running"]]
        steps.append((grads, numbers, bits_of(np.concatenate(opt.params), *states, *running)))
    return params, steps


def bits_of(*found):
    return b"".join(canonical(x).tobytes() for x in found)


def agrees_with_record(row_id, rule):
    params, steps = recorded(row_id)
    try:
        twin = replay.Replay(rule, params, steps[0][1][0])
        for grads, numbers, bits in steps:
            twin.step(grads, *numbers)
            if bits_of(twin.p, *twin.state.values(), *twin.running.values()) != bits:
                return False
    except (ArithmeticError, ValueError, NameError):  # outside of a function's domain; a local variable renamed
        return False
    return True


def test_ftrl_leaves_the_weights_where_they_are_when_the_rate_changes():
    """Without a gradient, z and the divisor change with the rate so that the weights, which solve for both, do not."""
    row = next(row for row in ROWS if row.id == "ftrl")
    p = np.array([3.0, -2.0])
    opt = build(row, [p], l1=0.0, l2=0.0, l2_shrinkage=0.0)
    for _ in range(50):
        opt.step([2 * (p - [1, 3])])
    before = p.copy()
    for lr in (0.5, 0.01, 2.0):
        opt.lr = lr
        opt.step([np.zeros(2)])
        np.testing.assert_allclose(p, before, rtol=1e-13)  # roundings of z, which is many times p at small rates


@pytest.mark.parametrize("name", TABLE)
def test_the_replay_sees_every_change_of_one_token(name):
    """One token of rules.h changed, and the compiled rule is not what the text says any more: the replay must notice.

    What is not noticed is either a place that no row of this rule exercises, or idle and belongs into `IDLE`.
    """
    rows = [row.id for row in ROWS if RULE_OF[row.id] == name]
    block = replay.blocks()[name]
    assert all(agrees_with_record(row, replay.read(block)) for row in rows)
    changed = dict(mutants(block))
    unseen = {what for what in changed if all(agrees_with_record(row, replay.read(changed[what])) for row in rows)}
    assert unseen <= IDLE.get(name, set()) <= changed.keys()


def test_the_replay_refuses_what_c_would_read_otherwise():
    block = "x, HYPER(lr), RUNNING(), STATE(), DERIVED(), START(), PREPARE(), UPDATE(p = p - {};)"
    assert replay.read(block.format("lr*g")).name == "x"
    for text in ("0.5*g", "sqrt(g)", "FMA(lr, g, p)"):
        with pytest.raises(SyntaxError, match="the loop must not"):
            replay.read(block.format(text))


def test_the_replay_refuses_another_precision():
    names = {"p": np.ones(2, np.float32), "g": np.ones(2)}
    with pytest.raises(TypeError, match="must be of float32"):
        replay.run(replay.compiled("p = p - g;", "x"), replay.in_arrays(np.float32), names, np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# The bits do not depend on the machine's instructions, on threads, on how a model is cut
# ---------------------------------------------------------------------------------------------------------------------


def placed(x, elements=0, odd_bytes=0):
    """Return a copy that begins so many elements after a cache line, and so many bytes after that."""
    memory = np.zeros(x.nbytes + 64 + 32 * x.itemsize, np.uint8)
    offset = -memory.ctypes.data % 64 + elements * x.itemsize + odd_bytes
    at = np.ndarray(x.shape, x.dtype, memory, offset)
    at[...] = x
    return at


@functools.cache
def long_run(kind):
    """Return parameters, and gradients for 20 steps: all sizes, starts 1 to 15 elements off, starts at odd bytes."""
    rng = np.random.default_rng(5)
    draw = {"clipped": ordinary, "extreme": extreme}[kind]
    places = [(n, 0, 0) for n in SIZES] + [(257, i, 0) for i in range(1, 16)] + [(1100, 0, odd) for odd in (1, 2, 3)]
    places = [(dtype, *place) for dtype in DTYPES for place in places]
    params = [placed(draw(rng, n, dtype), i, odd) for dtype, n, i, odd in places]
    grads = [[placed(draw(rng, n, dtype), i * 7 % 16, odd) for dtype, n, i, odd in places] for _ in range(20)]
    return params, grads, places


RUNS = {"clipped": {"clip_norm": 20.0, "clip_value": 1.5, "ema": 0.8}, "extreme": {"ema": 0.8}}


def fingerprints():
    """Return a hash of all bits after long runs, for every row and kind of run."""
    found = {}
    for row, (kind, options) in itertools.product(ROWS, RUNS.items()):
        params, grads, places = long_run(kind)
        opt = build(row, [placed(x, i, odd) for x, (_, _, i, odd) in zip(params, places, strict=True)], **options)
        for g in grads:
            opt.step(g)
        found[f"{row.id} {kind}"] = fingerprint(opt)
    return found


def fingerprint(opt):
    return hashlib.sha256(bits_of(*snapshot(opt).values())).hexdigest()


@pytest.fixture(scope="module")
def own_fingerprints():
    return fingerprints()


OTHERS = [name for name, able in _core.instruction_sets().items() if able and name != _core.instruction_set()]


@pytest.mark.parametrize("isa", OTHERS)
def test_bits_do_not_depend_on_the_instruction_set(isa, own_fingerprints):
    program = "import json, test_rules as t; print(json.dumps([t._core.instruction_set(), t.fingerprints()]))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"FALLLINE_ISA": isa}, cwd=Path(__file__).parent, check=True, capture_output=True, text=True,
    )  # fmt: skip
    used, found = json.loads(done.stdout)
    assert used == isa
    assert [key for key in own_fingerprints if found[key] != own_fingerprints[key]] == []


@pytest.fixture(scope="module")
def aligned_grads():
    return [[placed(x) for x in g] for g in long_run("clipped")[1]]


@every_row
def test_bits_do_not_depend_on_where_arrays_begin(row, own_fingerprints, aligned_grads):
    opt = build(row, [placed(x) for x in long_run("clipped")[0]], **RUNS["clipped"])
    for g in aligned_grads:
        opt.step(g)
    assert fingerprint(opt) == own_fingerprints[f"{row.id} clipped"]


def test_the_long_runs_begin_everywhere():
    params, grads, _ = long_run("clipped")
    for found in (params, grads[0]):
        assert {x.ctypes.data % 64 // 4 for x in found if x.flags.aligned and x.itemsize == 4} == set(range(16))
        assert not all(x.flags.aligned for x in found)


@functools.cache
def large(n_steps):
    rng = np.random.default_rng(6)
    sizes = [(70_001, np.float32), (3, np.float32), (50_000, np.float64), (17, np.float64), (33_000, np.float32)]
    return [[ordinary(rng, n, dtype) for n, dtype in sizes] for _ in range(n_steps + 1)]


@every_row
def test_bits_do_not_depend_on_threads(row):
    params, *grads = large(3)
    ends = []
    for threads in (1, 2, 3, 7):
        opt = build(row, copied(params), threads=threads, **RUNS["clipped"])
        for g in grads:
            opt.step(g)
        ends.append(snapshot(opt))
    for other in ends[1:]:
        assert_same(ends[0], other)


@each(ELEMENTWISE)
def test_bits_do_not_depend_on_how_a_model_is_cut(row):
    cuts = [0, 1, 16, 33, 49, 49, 1049, 1049 + replay.SPAN, 40_000]
    params, *grads = ([x[0][:40_000], x[2][:40_000]] for x in large(3))
    options = {"clip_value": 1.5, "ema": 0.8}
    whole = build(row, copied(params), **options)
    pieces = build(row, [[x[i:j] for i, j in itertools.pairwise(cuts)] for x in copied(params)], **options)
    for g in grads:
        whole.step(g)
        pieces.step([[x[i:j] for i, j in itertools.pairwise(cuts)] for x in g])
    for i, param in enumerate(whole.params):
        assert_same_bits(np.concatenate(pieces.params[i]), param, "p")
        own = [pieces.state[f"{i}/{k}"] for k in range(len(cuts) - 1)]
        for name, x in whole.state[f"{i}"].items():
            if x.ndim:
                assert_same_bits(np.concatenate([state[name] for state in own]), x, name)
            else:
                assert all(state[name] == x for state in own)


# ---------------------------------------------------------------------------------------------------------------------
# Saving and copying
# ---------------------------------------------------------------------------------------------------------------------


def small(rng, n_steps):
    """Return parameters and gradients: float32 and float64, one and two dimensions."""

    def draw():
        return [ordinary(rng, 17, np.float32), ordinary(rng, 15, np.float64).reshape(3, 5)]

    return draw(), [draw() for _ in range(n_steps)]


@every_row
def test_a_checkpoint_after_any_step_changes_no_bit(row, tmp_path):
    params, grads = small(np.random.default_rng(7), 6)
    whole = build(row, copied(params), ema=0.8)
    path = tmp_path / "run.npz"
    whole.save(path)
    for t, g in enumerate(grads, 1):
        part = build(row, [np.full_like(x, 7) for x in params], ema=0.8)
        part.load(path)
        assert_same(snapshot(part), snapshot(whole), f"loaded after step {t - 1}:")
        part.step(g)
        part.save(path)
        whole.step(g)
        assert_same(snapshot(part), snapshot(whole), f"step {t}:")
        assert part.steps == whole.steps == t


def by_pickle(opt):
    return pickle.loads(pickle.dumps(opt))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle])
@every_row
def test_a_copy_goes_on_as_the_original(row, duplicate):
    params, grads = small(np.random.default_rng(8), 6)
    opt = build(row, params, ema=0.8)
    for g in grads[:3]:
        opt.step(g)
    other = duplicate(opt)
    before = snapshot(opt)
    for g in grads[3:]:
        other.step(g)
    assert_same(snapshot(opt), before, "the original, while its copy stepped:")
    for g in grads[3:]:
        opt.step(g)
    assert_same(snapshot(other), snapshot(opt))
    assert other.steps == opt.steps == 6


# ---------------------------------------------------------------------------------------------------------------------
# Groups, missing gradients, and tensors that step at different times
# ---------------------------------------------------------------------------------------------------------------------


def numbers_of(row):
    """Return the hyperparameters of a row that groups may differ in, and the others."""
    own = {name: x for name, x in row.keywords.items() if not isinstance(x, bool | str)}
    return own, {name: x for name, x in row.keywords.items() if name not in own}


@every_row
def test_groups_with_own_hyperparameters_are_separate_optimizers(row):
    params, grads = small(np.random.default_rng(9), 6)
    numbers, switches = numbers_of(row)
    other = {name: each_number(x, lambda x: 0.9 * x) for name, x in numbers.items()}
    groups = [{"params": copied(params), **numbers}, {"params": copied(params), **other}]
    both = getattr(fl, row.cls)(groups, **switches)
    alone = [getattr(fl, row.cls)(copied(params), **switches, **own) for own in (numbers, other)]
    for g in grads:
        both.step([g, g])
        for opt in alone:
            opt.step(g)
    for i, opt in enumerate(alone):
        for k in range(2):
            assert_same(of_tensor(both, f"{i}/{k}"), of_tensor(opt, f"{k}"), f"group {i}:")
    assert snapshot(both)["0/1"].tobytes() != snapshot(both)["1/1"].tobytes()


@every_row
def test_a_frozen_group_and_a_missing_gradient_wait(row):
    """A tensor that starts later steps as if the others had never been: its counters and corrections are its own."""
    params, grads = small(np.random.default_rng(10), 7)
    c, c_grads = np.linspace(-2, 2, 9), [np.linspace(1, t, 9) for t in range(1, 8)]
    a, b = copied(params)
    opt = build(row, [{"params": {"a": a, "b": b}}, {"params": {"c": c.copy()}, "frozen": True}], ema=0.8)
    names = {"a": "0/a", "b": "0/b", "c": "1/c"}
    waiting = {name: of_tensor(opt, names[name]) for name in "bc"}
    for t in range(3):
        missing = {} if t == 1 else {"b": None}
        opt.step([{"a": grads[t][0], **missing}, {"c": c_grads[t]}])
        for name, before in waiting.items():
            now = of_tensor(opt, names[name])
            assert {key: x.tobytes() for key, x in now.items()} == {key: x.tobytes() for key, x in before.items()}
    opt.groups[1].frozen = False
    for t in range(3, 7):
        opt.step([{"a": grads[t][0], "b": grads[t][1]}, None if t == 5 else {"c": c_grads[t]}])
    alone = build(row, {"a": params[0], "b": params[1], "c": c}, ema=0.8)
    for t in range(7):
        own = {"b": grads[t][1] if t >= 3 else None, "c": c_grads[t] if t in (3, 4, 6) else None}
        for name, g in ({"a": grads[t][0]} | own).items():
            alone.step({name: g})
    for name in "abc":
        assert_same(of_tensor(opt, names[name]), of_tensor(alone, name), name)
    assert [float(opt.state[name]["t"]) for name in names.values()] == [7, 4, 3]


@every_row
def test_lr_scale_multiplies_lr(row):
    params, grads = small(np.random.default_rng(11), 6)
    lr = row.keywords["lr"]
    scaled = build(row, [{"params": copied(params), "lr_scale": 0.3}])
    plain = build(row, [{"params": copied(params)}], lr=lr * 0.3)
    for t, g in enumerate(grads):
        if t == 3:
            scaled.groups[0].lr_scale = 0.7
            plain.lr = lr * 0.7
        scaled.step([g])
        plain.step([g])
        assert_same(snapshot(scaled), snapshot(plain), f"step {t + 1}:")


COUPLED = [row for row in ROWS if row.keywords.get("weight_decay") and not build(row, np.ones(1)).decoupled]


@each(COUPLED)
def test_coupled_weight_decay_is_a_term_of_the_gradient(row):
    params, grads = small(np.random.default_rng(12), 6)
    decay = row.keywords["weight_decay"]
    coupled, by_hand = build(row, copied(params)), build(row, copied(params), weight_decay=0.0)
    for g in grads:
        coupled.step(g)
        by_hand.step([x + p.dtype.type(decay) * p for x, p in zip(g, by_hand.params, strict=True)])
        assert_same(snapshot(coupled), snapshot(by_hand))


# ---------------------------------------------------------------------------------------------------------------------
# Gradients that are zero or not finite, and arrays that are hardly any
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", ["the row's", "defaults"])
@every_row
def test_zero_gradients_stay_finite(row, numbers):
    params, _ = small(np.random.default_rng(13), 0)
    params[0][:3] = params[1][0] = 0
    chosen = {name: x for name, x in row.keywords.items() if isinstance(x, bool | str) or name == "momentum"}
    opt = getattr(fl, row.cls)(params, **(row.keywords if numbers == "the row's" else chosen))
    for _ in range(10):
        opt.step([np.zeros_like(x) for x in params])
    for name, x in snapshot(opt).items():
        assert np.all(np.isfinite(x)), name


BAD = (np.nan, np.inf, -np.inf)


@pytest.mark.parametrize("policy", ["raise", "skip"])
@every_row
def test_a_gradient_that_is_not_finite_changes_nothing(row, policy):
    params, grads = small(np.random.default_rng(14), 4)
    opt, good = (build(row, copied(params), nonfinite=policy, ema=0.8) for _ in range(2))
    for t, g in enumerate(grads):
        before = {name: x.tobytes() for name, x in snapshot(opt).items()}
        bad = copied(g)
        bad[1][2, 4] = BAD[t % 3]
        if policy == "raise":
            message = f"grads['1']: must be finite; got {BAD[t % 3]} at index (2, 4)"
            with pytest.raises(ValueError, match=re.escape(message)):
                opt.step(bad)
        else:
            opt.step(bad)
        assert {name: x.tobytes() for name, x in snapshot(opt).items()} == before
        assert (opt.steps, opt.skipped) == (t, (t + 1) * (policy == "skip"))
        opt.step(g)
        good.step(g)
        assert_same(snapshot(opt), snapshot(good))


@every_row
def test_an_ignored_gradient_steps(row):
    params, grads = small(np.random.default_rng(15), 4)
    opt, good = (build(row, copied(params), nonfinite="ignore") for _ in range(2))
    for t, g in enumerate(grads):
        good.step(g)
        bad = copied(g)
        bad[1][2, 4] = BAD[t % 3]
        opt.step(bad)
    assert (opt.steps, opt.skipped) == (4, 0)
    assert_same(of_tensor(opt, "0"), of_tensor(good, "0"))
    assert opt.state["1"]["t"] == 4
    if row in ELEMENTWISE:  # the norms carry it to the whole tensor
        for name, x in of_tensor(opt, "1").items():
            y = of_tensor(good, "1")[name]
            assert_same_bits(x.ravel()[:-1], y.ravel()[:-1], name)


@both_precisions
@every_row
def test_empty_arrays_and_numbers(row, dtype):
    """A 0-d array steps as an array of one element, and one without elements only counts."""
    shapes = {"none": (0,), "plane": (3, 0), "number": (), "one": (1,), "flat": (1, 1)}
    opt = build(row, {name: np.full(shape, 0.7, dtype) for name, shape in shapes.items()}, ema=0.8)
    for t in range(1, 6):
        opt.step({name: np.full(shape, (-1) ** t * t, dtype) for name, shape in shapes.items()})
    flat = {name: {key: x.ravel() for key, x in of_tensor(opt, name).items()} for name in shapes}
    assert flat["one"]["p"] != dtype(0.7)
    for name, shape in shapes.items():
        assert opt.params[name].shape == shape
        assert opt.state[name]["t"] == 5
        if opt.params[name].size:
            assert_same(flat[name], flat["one"])


# ---------------------------------------------------------------------------------------------------------------------
# Averages that belong to a rule
# ---------------------------------------------------------------------------------------------------------------------


@each([row for row in ROWS if row.cls.startswith("ScheduleFree")])
def test_schedule_free_averages_all_z(row):
    k, rng = row.keywords, np.random.default_rng(16)
    mu = k["momentum"] if "momentum" in k else k["betas"][0]
    x = y = ordinary(rng, N, np.float64)
    opt = build(row, y)
    np.testing.assert_array_equal(opt.averaged(), x)
    for t in range(1, 31):
        opt.step(ordinary(rng, N, np.float64))
        _, c = schedule_free_weight(t, k["lr"], k.get("warmup_steps", 0), k.get("r", 0.0), k["weight_lr_power"])
        x = (1 - c) * x + c * opt.state["0"]["z"]
        # every step rounds y a few times, and y is divided by mu
        np.testing.assert_allclose(opt.averaged(), x, rtol=0, atol=4 * t / mu * EPSILON * np.max(np.abs([x, y])))


def test_asgd_averages_from_t0_on():
    rng, p = np.random.default_rng(17), np.zeros(N)
    opt, path = fl.ASGD(p, lr=0.1, t0=5), []
    for t in range(1, 21):
        opt.step(ordinary(rng, N, np.float64))
        path.append(p.copy())
        mean = np.mean(path[6:], axis=0) if t > 6 else p  # as torch, which leaves out the first after t0
        np.testing.assert_allclose(opt.averaged(), mean, rtol=0, atol=t * EPSILON * np.max(np.abs(path)))


# ---------------------------------------------------------------------------------------------------------------------
# The rows reach all there is
# ---------------------------------------------------------------------------------------------------------------------


def test_every_rule_is_reached_by_a_row():
    assert {RULE_OF[row.id] for row in ROWS} == set(TABLE)


@every_row
def test_a_row_has_the_states_of_its_rule(row):
    assert set(row.states) == set(TABLE[RULE_OF[row.id]]["states"])
    opt = build(row, np.ones(2))
    assert list(opt.state["0"]) == [*TABLE[opt._built]["states"], *TABLE[opt._built]["running"]]
    for name, x in row.start(opt.params).items():
        if name != "z":  # the reference starts z at p; the rule takes it from there in the first step
            assert_same_bits(opt.state["0"][name], x, name)


@pytest.mark.parametrize("name", TABLE)
def test_every_number_of_a_rule_is_used_by_a_row(name):
    """Every state and running number changes in a row, and every hyperparameter is something else than 0 in a row."""
    changed, used = set(), set()
    for row in ROWS:
        if RULE_OF[row.id] == name:
            opt = build(row, np.ones(3))
            before = of_tensor(opt, "0")
            for t in range(1, 4):
                opt.step(np.array([1.0, -2.0, 3.0]) * t)
            changed |= {key for key, x in of_tensor(opt, "0").items() if x.tobytes() != before[key].tobytes()}
            used |= {key for key, x in zip(TABLE[name]["hypers"], opt._numbers(0, 0)[0], strict=True) if x != 0}
    assert changed == {"p", *TABLE[name]["states"], *TABLE[name]["running"]}
    assert used == set(TABLE[name]["hypers"])


# ---------------------------------------------------------------------------------------------------------------------
# They descend: a smoke test, not a proof
# ---------------------------------------------------------------------------------------------------------------------

# Where 0.01 does not do.
LR = {
    "Momentum": 0.005, "Nesterov": 0.005, "Adagrad": 0.5, "Adadelta": 3.0, "Adam": 0.05,
    "AdamW": 0.05, "Adamax": 0.05, "NAdam": 0.05, "RAdam": 0.04, "AdaBelief": 0.05, "Yogi": 0.05, "Adan": 0.05,
    "AdEMAMix": 0.1, "ADOPT": 0.05,  "FTRL": 0.5, "LARS": 2.0,
    "ScheduleFreeSGD": 0.03, "ScheduleFreeAdamW": 0.1,
}  # fmt: skip
AS_IT_IS = ("Rprop", "FTRL")  # lr is only a start, or the scale of all steps so far


@pytest.mark.parametrize("problem", ["ravine", "beale"])
@pytest.mark.parametrize("optimizer", fl.optimizers().values(), ids=fl.optimizers())
def test_descends(optimizer, problem):
    f, lr, steps = problems.get(problem), LR.get(optimizer.__name__, 0.01), 1500
    x = np.array((2.0, 0.2) if optimizer is fl.FTRL else f.start)  # it takes steps from 0, and comes by Beale's saddle
    start = f(x)
    opt = optimizer(x, lr=lr if optimizer.__name__ in AS_IT_IS else schedules.cosine(lr, total=steps))
    for _ in range(steps):
        opt.step(f.gradient(x))
    end = opt.averaged() if optimizer.__name__.startswith("ScheduleFree") else x
    assert f(end) < 1e-3 * start
