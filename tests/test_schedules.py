"""Schedules: the formulas of the papers in exact arithmetic, the peers' numbers, properties, and every message."""

import ast
import copy
import dataclasses
import inspect
import math
import pickle
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallline import schedules
from fallline.schedules import (
    ReduceOnPlateau,
    constant,
    cosine,
    cosine_restarts,
    cyclic,
    exponential,
    inverse_sqrt,
    inverse_time,
    linear,
    multi_step,
    one_cycle,
    piecewise,
    polynomial,
    sequence,
    step,
    warmup,
    warmup_stable_decay,
)

EPS = sys.float_info.epsilon
TINY = 1e-323  # two subnormal spacings: a product that underflows is off by an absolute amount

ENDING = {  # with the step from which the value stays
    linear(0.1, total=30, final=0.02): 30,
    polynomial(0.1, total=30, power=1.7, final=0.02): 30,
    cosine(0.1, total=30, final=0.02): 30,
    warmup_stable_decay(0.1, total=30, warmup=5, cooldown=10): 30,
    warmup_stable_decay(0.1, 30, 5, 10, "cosine", start=0.01, final=0.02): 30,
    warmup_stable_decay(0.1, total=30, warmup=0, cooldown=30, shape="1-sqrt"): 30,
    warmup_stable_decay(0.1, total=30, warmup=5, cooldown=10, shape="1-square"): 30,
    constant(0.3): 0,
    exponential(0.1, gamma=0.5, final=0.01): 4,
    exponential(0.1, gamma=2, final=1.0): 4,
    multi_step(0.1, [10, 15, 30], gamma=0.5): 30,
    piecewise([0.1, 0.5, 0.01], [7, 30]): 30,
    one_cycle(0.1, total=31): 30,
    one_cycle(0.85, 31, initial=0.95, final=0.95, shape="linear"): 30,
    one_cycle(0.1, total=31, three_phase=True): 30,
    warmup(10, cosine(0.1, total=20)): 30,
    warmup(10, linear(0.1, total=30), start=0.01, overlap=True): 30,
    warmup(30, 0.1): 30,
    sequence([linear(0.1, total=5), 0.2, cosine(0.1, total=10)], [5, 20]): 30,
}
ENDLESS = [
    exponential(0.1, gamma=0.9, every=4),
    exponential(0.1, gamma=0.9, every=4, staircase=True),
    inverse_time(0.1, decay=0.5, every=3),
    inverse_time(0.1, decay=0.5, every=3, staircase=True),
    inverse_sqrt(0.1),
    inverse_sqrt(0.1, warmup=10),
    step(0.1, every=7),
    cosine_restarts(0.1, period=7),
    cosine_restarts(0.1, period=5, mult=3, final=0.01),
    cyclic(0.01, 0.1),
    cyclic(0.01, 0.1, up=3, down=5),
    cyclic(0.95, 0.85, up=3, mode="triangular2"),
    cyclic(0.01, 0.1, up=3, mode="exp_range", gamma=0.99),
]
ALL = [*ENDING, *ENDLESS]
NAMES = [name for name in schedules.__all__ if name not in ("Schedule", "ReduceOnPlateau")]
every_schedule = pytest.mark.parametrize("schedule", ALL, ids=repr)


def values(schedule, steps):
    return [schedule(t) for t in range(steps)]


# ---- What all schedules promise --------------------------------------------------------------------------------------


def test_every_schedule_is_examined():
    assert {type(schedule).__name__ for schedule in ALL} == set(NAMES)


@every_schedule
def test_values_are_finite_python_floats(schedule):
    assert all(type(v) is float and 0 <= v < math.inf for v in values(schedule, 100))


@every_schedule
def test_order_of_calls_does_not_matter(schedule):
    forward = values(schedule, 60)
    backward = [schedule(t) for t in reversed(range(60))]
    assert forward == backward[::-1]


@pytest.mark.parametrize(("schedule", "end"), ENDING.items(), ids=repr)
def test_stays_at_its_final_value(schedule, end):
    assert {schedule(t) for t in (end, end + 1, 10 * end + 7, 10**15)} == {schedule(end)}
    assert end == 0 or schedule(end - 1) != schedule(end)


@every_schedule
def test_reads_as_the_call_that_made_it(schedule):
    assert eval(repr(schedule), vars(schedules)) == schedule


def test_repr_is_plain():
    assert repr(cosine(np.float32(0.5), np.int64(50_000))) == "cosine(lr=0.5, total=50000, final=0.0)"
    assert repr(warmup(5, step(1, 2))) == (
        "warmup(steps=5, schedule=step(lr=1.0, every=2, gamma=0.1), start=0.0, overlap=False)"
    )


@every_schedule
@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s)), dataclasses.replace]
)
def test_copies_are_equal_and_hash_alike(schedule, clone):
    other = clone(schedule)
    assert other == schedule
    assert hash(other) == hash(schedule)
    assert values(other, 50) == values(schedule, 50)


def test_different_schedules_are_different():
    assert len(set(ALL)) == len(ALL)
    assert cosine(0.1, total=10) != linear(0.1, total=10)
    assert cosine(0.1, total=10) != cosine(0.1, total=11)
    assert warmup(5, cosine(0.1, total=10)) != warmup(5, cosine(0.2, total=10))


@every_schedule
def test_is_immutable(schedule):
    before = repr(schedule)
    for name in (*(f.name for f in dataclasses.fields(schedule)), "surplus"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(schedule, name, 1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(schedule, name)
    assert repr(schedule) == before


def test_lists_are_copied():
    milestones = [3, 5]
    schedule = multi_step(1.0, milestones)
    milestones[0] = 1
    assert schedule == multi_step(1.0, (3, 5))


def test_replace_makes_a_changed_one():
    assert dataclasses.replace(one_cycle(0.1, total=10), lr=0.2)(0) == 0.2 / 25


@every_schedule
def test_takes_any_integer_type(schedule):
    assert schedule(np.int64(12)) == schedule(np.uint8(12)) == schedule(np.array(12)) == schedule(12)


def test_takes_numbers_of_numpy():
    assert linear(np.array(0.5), np.int32(4), np.float64(0.25)) == linear(0.5, 4, 0.25)
    assert piecewise(np.array([0.5, 0.25]), np.array([3])) == piecewise([0.5, 0.25], [3])
    assert warmup(3, np.float64(0.5))(3) == 0.5


def test_imports_only_the_standard_library():
    tree = ast.parse(Path(inspect.getfile(schedules)).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {a.name for node in imports if isinstance(node, ast.Import) for a in node.names}
    names |= {"." * node.level + (node.module or "") for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize("name", [*NAMES, "ReduceOnPlateau"])
def test_parameters_are_documented(name):
    cls = getattr(schedules, name)
    documented = cls.__doc__.partition("Parameters\n")[2].partition("Examples\n")[0]
    listed = [p for line in documented.splitlines() if " : " in line for p in line.split(" : ")[0].strip().split(", ")]
    assert {f.name for f in dataclasses.fields(cls)} == set(listed)


# ---- Formulas, in exact or independent arithmetic --------------------------------------------------------------------


def exactly(schedule, formula, steps):
    """Compare with rational numbers; a formula of few operations is within 4 units in the last place of its scale."""
    wanted = [Fraction(formula(t)) for t in range(steps)]
    slack = 4 * Fraction(EPS) * max(wanted)
    assert all(abs(Fraction(schedule(t)) - w) <= slack for t, w in enumerate(wanted))


def test_constant():
    assert values(constant(0.3), 3) == [0.3, 0.3, 0.3]


def test_linear():
    exactly(linear(0.75, total=7, final=0.125), lambda t: Fraction(3, 4) - Fraction(5, 8) * min(Fraction(t, 7), 1), 20)
    exactly(linear(0.125, total=7, final=0.75), lambda t: Fraction(1, 8) + Fraction(5, 8) * min(Fraction(t, 7), 1), 20)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_polynomial(power):
    schedule = polynomial(0.75, total=7, power=power, final=0.125)
    exactly(schedule, lambda t: Fraction(5, 8) * (1 - min(Fraction(t, 7), 1)) ** power + Fraction(1, 8), 20)


def test_polynomial_of_a_root():
    assert polynomial(2.0, total=100, power=0.5)(36) == pytest.approx(2 * 0.8, rel=4 * EPS)


def test_cosine():
    schedule = cosine(3.0, total=12, final=1.0)  # 2 + cos(pi t / 12), with the cosines of the clock face
    root2, root3 = math.sqrt(2), math.sqrt(3)
    wanted = {
        0: 3,
        2: 2 + root3 / 2,
        3: 2 + root2 / 2,
        4: 2.5,
        6: 2,
        8: 1.5,
        9: 2 - root2 / 2,
        10: 2 - root3 / 2,
        12: 1,
    }
    assert {t: schedule(t) for t in wanted} == pytest.approx(wanted, rel=4 * EPS)


@pytest.mark.parametrize(
    ("shape", "wanted"),  # over 16 steps, at q = 0, 1/16, 1/4, 9/16, 1
    [
        ("linear", [1, Fraction(15, 16), Fraction(3, 4), Fraction(7, 16), 0]),
        ("1-sqrt", [1, Fraction(3, 4), Fraction(1, 2), Fraction(1, 4), 0]),
        ("1-square", [1, Fraction(255, 256), Fraction(15, 16), Fraction(175, 256), 0]),
        ("cosine", [(1 + math.cos(math.pi * q)) / 2 for q in (0, 1 / 16, 1 / 4, 9 / 16)] + [0]),
    ],
)
def test_warmup_stable_decay(shape, wanted):
    schedule = warmup_stable_decay(2.0, total=50, warmup=4, cooldown=16, shape=shape, start=1.0, final=0.5)
    assert values(schedule, 4) == [1.0, 1.25, 1.5, 1.75]
    assert {schedule(t) for t in range(4, 35)} == {2.0}
    cooling = [schedule(34 + k) for k in (0, 1, 4, 9, 16)]
    assert cooling == pytest.approx([0.5 + 1.5 * float(w) for w in wanted], rel=4 * EPS)


def test_exponential():
    schedule = exponential(3.0, gamma=0.25, every=3)
    for t in range(30):  # no roots needed: value**3 = 27 gamma**t
        assert schedule(t) ** 3 == pytest.approx(float(27 * Fraction(1, 4) ** t), rel=16 * EPS)
    exactly(exponential(3.0, gamma=0.25, every=3, staircase=True), lambda t: 3 * Fraction(1, 4) ** (t // 3), 30)
    exactly(exponential(3.0, gamma=0.5, final=0.25), lambda t: max(3 * Fraction(1, 2) ** t, Fraction(1, 4)), 30)
    exactly(exponential(3.0, gamma=2, final=100), lambda t: min(3 * 2**t, 100), 30)
    exactly(exponential(2.0**-60, gamma=1.5, final=100), lambda t: min(Fraction(3, 2) ** t / 2**60, 100), 200)
    assert exponential(0.5, gamma=1, final=1.0)(3) == 1.0  # with gamma 1, final is a floor


def test_exponential_never_overflows_a_bound():
    assert exponential(1e-7, gamma=1e8, every=100, final=10.0)(10**6) == 10.0


def test_inverse_time():
    decay = Fraction(3, 8)
    exactly(inverse_time(3.0, decay=0.375, every=5), lambda t: 3 / (1 + decay * Fraction(t, 5)), 40)
    exactly(inverse_time(3.0, decay=0.375, every=5, staircase=True), lambda t: 3 / (1 + decay * (t // 5)), 40)


def test_inverse_time_is_the_optimal_rate_of_scikit_learn():
    alpha, t0 = 0.25, 32
    exactly(inverse_time(1 / (alpha * t0), decay=1 / t0), lambda t: 1 / (Fraction(alpha) * (t + t0)), 100)


@pytest.mark.parametrize(("d_model", "steps"), [(512, 4000), (64, 10), (7, 1)])
def test_inverse_sqrt_is_the_transformers_rate(d_model, steps):
    schedule = inverse_sqrt((d_model * steps) ** -0.5, warmup=steps)
    for n in {1, 2, steps // 2 + 1, steps - 1 or 1, steps, steps + 1, 3 * steps, 10**6}:
        wanted = d_model**-0.5 * min(n**-0.5, n * steps**-1.5)  # equation 3 of the paper
        assert schedule(n - 1) == pytest.approx(wanted, rel=8 * EPS)


def test_inverse_sqrt_peaks_at_lr():
    schedule = inverse_sqrt(0.3, warmup=10)
    assert max(values(schedule, 100)) == schedule(9) == 0.3


def test_step_and_multi_step_follow_a_loop():
    lr = lr_multi = Fraction(3)
    for t in range(60):
        if t > 0 and t % 7 == 0:
            lr *= Fraction(1, 4)
        if t in (3, 4, 30):
            lr_multi *= Fraction(1, 4)
        assert step(3.0, every=7, gamma=0.25)(t) == lr  # powers of two: no rounding
        assert multi_step(3.0, [3, 4, 30], gamma=0.25)(t) == lr_multi


def test_multi_step_without_milestones_is_constant():
    assert values(multi_step(0.5, []), 9) == [0.5] * 9


def test_piecewise():
    assert values(piecewise([0.1, 0.5, 0.2], [2, 3]), 5) == [0.1, 0.1, 0.5, 0.2, 0.2]
    assert values(piecewise([0.1], []), 3) == [0.1] * 3


@pytest.mark.parametrize("mult", [1, 2, 3])
def test_cosine_restarts_walks_through_its_cycles(mult):
    schedule = cosine_restarts(0.5, period=4, mult=mult, final=0.125)
    since, period = 0, 4  # T_cur and T_i of the paper
    for t in range(200):
        wanted = 0.125 + 0.5 * (0.5 - 0.125) * (1 + math.cos(since / period * math.pi))
        assert schedule(t) == pytest.approx(wanted, rel=4 * EPS)
        since += 1
        if since == period:
            since, period = 0, period * mult


def test_cosine_restarts_far_away():
    assert cosine_restarts(0.5, period=10, mult=2)(10 * (2**200 - 1)) == 0.5  # the restart of cycle 200
    assert cosine_restarts(0.5, period=10)(10**300 + 5) == pytest.approx(0.25, rel=EPS)


def test_one_cycle_linear():
    schedule = one_cycle(2.0, total=21, initial=1.0, final=0.5, pct_start=11 / 21, shape="linear")  # peak at t = 10
    exactly(
        schedule, lambda t: 1 + Fraction(t, 10) if t <= 10 else max(2 - Fraction(3, 20) * (t - 10), Fraction(1, 2)), 40
    )


def test_one_cycle_cosine():
    schedule = one_cycle(2.0, total=13, initial=1.0, final=0.5, pct_start=7 / 13)  # up in 6 steps, down in 6
    quarter = math.sqrt(3) / 2
    up = [1.5 - 0.5 * c for c in (1, quarter, 0.5, 0, -0.5, -quarter, -1)]
    down = [1.25 + 0.75 * c for c in (quarter, 0.5, 0, -0.5, -quarter, -1)]
    assert values(schedule, 13) == pytest.approx(up + down, rel=8 * EPS)


def test_one_cycle_three_phases():
    schedule = one_cycle(2.0, total=32, initial=1.0, final=0.0, pct_start=0.25, shape="linear", three_phase=True)
    exactly(
        schedule,  # 1 at 0, 2 at 7, 1 at 14, 0 at 31
        lambda t: (
            1 + Fraction(t, 7) if t <= 7 else 2 - Fraction(t - 7, 7) if t <= 14 else 1 - Fraction(min(t, 31) - 14, 17)
        ),
        50,
    )


def test_one_cycle_defaults():
    schedule = one_cycle(1.0, total=100)
    assert schedule(0) == pytest.approx(1 / 25, rel=EPS)
    assert schedule(29) == pytest.approx(1, rel=EPS)  # 30 % of the steps
    assert schedule(99) == pytest.approx(1 / 25 / 10_000, rel=EPS)


def test_one_cycle_with_half_the_steps_rising_keeps_one_for_the_third_phase():
    schedule = one_cycle(1.0, total=10, initial=0.5, final=0.0, pct_start=0.5, three_phase=True)
    assert [schedule(t) for t in (0, 4, 8, 9)] == [0.5, 1.0, 0.5, 0.0]


@pytest.mark.parametrize("total", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("pct_start", [0.01, 0.25, 0.5, 0.99])
def test_one_cycle_of_few_steps_ends_at_its_final_value(total, pct_start):
    schedule = one_cycle(1.0, total=total, initial=0.5, final=0.25, pct_start=pct_start)
    assert schedule(total - 1) == 0.25
    assert all(0.25 * (1 - EPS) <= v <= 1 + EPS for v in values(schedule, 20))


def test_one_cycle_that_begins_at_its_peak():
    assert one_cycle(1.0, total=4, initial=0.5, final=0.25, pct_start=0.25)(0) == 1.0


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
def test_cyclic_is_the_formula_of_the_paper(mode):
    gamma = 0.75 if mode == "exp_range" else 1.0
    schedule = cyclic(0.125, 1.0, up=5, mode=mode, gamma=gamma)

    def paper(t):  # cycle counts from 1, x is the distance from the top
        cycle = 1 + t // 10
        x = abs(Fraction(t, 5) - 2 * cycle + 1)
        scale = {"triangular": 1, "triangular2": Fraction(1, 2 ** (cycle - 1)), "exp_range": Fraction(3, 4) ** t}
        return Fraction(1, 8) + Fraction(7, 8) * max(0, 1 - x) * scale[mode]

    exactly(schedule, paper, 60)


def test_cyclic_rises_for_two_thousand_steps_by_default():
    assert [cyclic(0.0, 1.0)(t) for t in (1000, 2000, 3000, 4000)] == [0.5, 1.0, 0.5, 0.0]


def test_cyclic_uneven_and_downward():
    assert values(cyclic(1.0, 0.0, up=1, down=4), 7) == [1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 0.0]


def test_warmup_starts_the_inner_clock_after_itself():
    inner = linear(1.0, total=4)
    assert values(warmup(4, inner), 9) == [0.0, 0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0]
    assert values(warmup(4, inner, start=0.5), 5) == [0.5, 0.625, 0.75, 0.875, 1.0]
    assert values(warmup(2, 0.5), 4) == [0.0, 0.25, 0.5, 0.5]


def test_warmup_over_a_running_clock():
    assert values(warmup(2, linear(1.0, total=4), overlap=True), 6) == [0.0, 0.375, 0.5, 0.25, 0.0, 0.0]
    assert values(warmup(2, linear(1.0, total=4), start=0.5, overlap=True), 3) == [0.5, 0.625, 0.5]


def test_sequence_starts_each_clock_at_its_boundary():
    schedule = sequence([linear(1.0, total=4), 0.125, lambda t: 10 + t], [2, 3])
    assert values(schedule, 6) == [1.0, 0.75, 0.125, 10.0, 11.0, 12.0]
    assert values(sequence([0.5], []), 3) == [0.5] * 3


def test_schedules_nest():
    inner = sequence([warmup(2, 1.0), step(1.0, every=1, gamma=0.5)], [3])
    assert values(warmup(2, inner, start=1.0), 8) == [1.0, 0.5, 0.0, 0.5, 1.0, 1.0, 0.5, 0.25]


def test_own_functions_and_classes_take_part():
    class Rising(schedules.Schedule):
        def _value(self, t):
            return float(t)

    assert values(warmup(2, Rising(), overlap=True), 4) == [0.0, 0.5, 2.0, 3.0]
    assert values(warmup(1, lambda t: np.float32(0.5)), 3) == [0.0, 0.5, 0.5]


# ---- Properties ------------------------------------------------------------------------------------------------------

rates = st.floats(0, 100)
lengths = st.integers(1, 10**6)
steps_done = st.integers(0, 2 * 10**6)
shapes = st.sampled_from(["linear", "cosine", "1-sqrt", "1-square"])


def falls(lr, final, total, power, shape):
    return [
        linear(lr, total, final),
        polynomial(lr, total, power, final),
        cosine(lr, total, final),
        warmup_stable_decay(lr, total, 0, total, shape, final=final),
    ]


@settings(deadline=None)
@given(lr=rates, final=rates, total=lengths, power=st.floats(0.25, 4), shape=shapes, t=steps_done)
def test_falls_stay_between_their_ends_and_go_one_way(lr, final, total, power, shape, t):
    low, high = min(lr, final), max(lr, final)
    slack = 2 * EPS * high + TINY  # two products and a sum
    for schedule in falls(lr, final, total, power, shape):
        assert (schedule(0), schedule(total)) == (lr, final)
        now, later = schedule(t), schedule(t + 1)
        assert low - slack <= now <= high + slack
        assert (later - now) * (final - lr) >= -2 * slack * abs(final - lr)


@settings(deadline=None)
@given(lr=rates, start=rates, total=lengths, share=st.floats(0, 1), t=steps_done, shape=shapes)
def test_warmup_stable_decay_has_a_plateau(lr, start, total, share, t, shape):
    rise = int(share * (total - 1))
    cooldown = max(1, (total - rise) // 2)
    schedule = warmup_stable_decay(lr, total, rise, cooldown, shape, start=start)
    assert schedule(rise) == schedule(total - cooldown) == lr
    assert schedule(0) == (start if rise else lr)
    assert schedule(total) == 0
    assert 0 <= schedule(t) <= max(lr, start) * (1 + 2 * EPS) + TINY


@settings(deadline=None)
@given(lr=rates, start=rates, steps=lengths, total=lengths, t=steps_done, overlap=st.booleans())
def test_warmup_meets_what_it_leads_into(lr, start, steps, total, t, overlap):
    inner = cosine(lr, total)
    schedule = warmup(steps, inner, start, overlap)
    assert schedule(0) == start
    assert schedule(steps + t) == inner(steps + t if overlap else t)
    # The last rise is one part in `steps`, and the inner schedule itself moves by at most lr pi / (2 total) a step.
    jump = abs(schedule(steps) - schedule(steps - 1))
    assert jump <= max(lr, start) * (1 / steps + overlap * math.pi / (2 * total) + 4 * EPS) + 2 * TINY


@settings(deadline=None)
@given(
    st.floats(1e-3, 1),
    st.integers(2, 10**5),
    st.integers(1, 49),
    st.sampled_from(["cosine", "linear"]),
    st.booleans(),
    st.integers(0, 10**5),
)
def test_one_cycle_has_no_jumps(lr, total, percent, shape, three_phase, t):
    schedule = one_cycle(lr, total, pct_start=percent / 100, shape=shape, three_phase=three_phase)
    now, then = schedule(t), schedule(t + 1)
    assert 0 < now <= lr * (1 + 2 * EPS)
    assert schedule(10**6) == schedule(total - 1) == lr / 25 / 10_000
    shortest = min(percent / 100 * total - 1, total - 1 - percent / 100 * total)
    if shortest >= 1:
        assert abs(then - now) <= lr * (math.pi / 2 / shortest + 4 * EPS)


@settings(deadline=None)
@given(base=rates, peak=rates, up=lengths, down=lengths, cycles=st.integers(0, 1000), t=steps_done)
def test_cyclic_repeats(base, peak, up, down, cycles, t):
    schedule = cyclic(base, peak, up, down)
    assert schedule(t) == schedule(t + cycles * (up + down))
    assert (schedule(cycles * (up + down)), schedule(cycles * (up + down) + up)) == (base, peak)
    slack = 4 * EPS * max(base, peak) + 2 * TINY
    assert abs(schedule(t + 1) - schedule(t)) <= abs(peak - base) / min(up, down) + slack


@settings(deadline=None)
@given(lr=rates, period=lengths, mult=st.integers(1, 4), k=st.integers(0, 30), t=steps_done)
def test_cosine_restarts_at_the_ends_of_its_cycles(lr, period, mult, k, t):
    schedule = cosine_restarts(lr, period, mult)
    assert schedule(period * sum(mult**i for i in range(k))) == lr
    assert 0 <= schedule(t) <= lr


@settings(deadline=None)
@given(lr=rates, gamma=st.floats(0.01, 1), every=lengths, t=steps_done)
def test_staircases_lie_above_and_touch(lr, gamma, every, t):
    smooth, stairs = exponential(lr, gamma, every), exponential(lr, gamma, every, staircase=True)
    assert stairs(t) == step(lr, every, gamma)(t) == smooth(t - t % every)
    assert stairs(t) * (1 + 2 * EPS) + TINY >= smooth(t)


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), unique=True, max_size=6).map(sorted), st.integers(0, 2000))
def test_pieces_agree_with_each_other(boundaries, t):
    pieces = [0.5**k for k in range(len(boundaries) + 1)]
    assert piecewise(pieces, boundaries)(t) == sequence(pieces, boundaries)(t) == multi_step(1.0, boundaries, 0.5)(t)


@settings(deadline=None)
@given(data=st.data(), cls=st.sampled_from([linear, polynomial, cosine]))
def test_equality_hash_and_pickle_go_by_value(data, cls):
    lr, total = data.draw(rates), data.draw(lengths)
    schedule = cls(lr, total)
    assert schedule == cls(lr=lr, total=total) == pickle.loads(pickle.dumps(schedule)) == eval(repr(schedule))
    assert schedule != cls(lr + 1, total)
    assert hash(schedule) == hash(cls(lr, total))


# ---- Peers -----------------------------------------------------------------------------------------------------------

STEPS = 60
# torch multiplies its way from step to step: 60 roundings, and near the end of a fall the factors lose up to 60 units.
TORCH = 60 * 60 * EPS


def torch_rates(make, steps=STEPS, key="lr"):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0][key])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (constant(1.0), lambda s, o: s.ConstantLR(o, factor=1.0)),
        (piecewise([0.25, 1.0], [20]), lambda s, o: s.ConstantLR(o, factor=0.25, total_iters=20)),
        (linear(0.2, 40, 0.9), lambda s, o: s.LinearLR(o, start_factor=0.2, end_factor=0.9, total_iters=40)),
        (linear(1.0, 40), lambda s, o: s.LinearLR(o, start_factor=1.0, end_factor=0.0, total_iters=40)),
        (polynomial(1.0, 40, 1.5), lambda s, o: s.PolynomialLR(o, total_iters=40, power=1.5)),
        (polynomial(1.0, 5), lambda s, o: s.PolynomialLR(o)),
        (cosine(1.0, STEPS, 0.1), lambda s, o: s.CosineAnnealingLR(o, T_max=STEPS, eta_min=0.1)),
        (exponential(1.0, 0.93), lambda s, o: s.ExponentialLR(o, gamma=0.93)),
        (step(1.0, 7), lambda s, o: s.StepLR(o, step_size=7)),
        (step(1.0, 7, 0.8), lambda s, o: s.StepLR(o, step_size=7, gamma=0.8)),
        (multi_step(1.0, [5, 11, 40]), lambda s, o: s.MultiStepLR(o, [5, 11, 40])),
        (cosine_restarts(1.0, 7), lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=7)),
        (cosine_restarts(1.0, 5, 2, 0.1), lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=5, T_mult=2, eta_min=0.1)),
        (one_cycle(0.5, STEPS), lambda s, o: s.OneCycleLR(o, max_lr=0.5, total_steps=STEPS)),
        (
            one_cycle(0.5, STEPS, initial=0.05, final=0.005, pct_start=0.37, shape="linear"),
            lambda s, o: s.OneCycleLR(
                o, 0.5, STEPS, pct_start=0.37, anneal_strategy="linear", div_factor=10, final_div_factor=10
            ),
        ),
        (
            one_cycle(0.5, STEPS, pct_start=0.42, three_phase=True),
            lambda s, o: s.OneCycleLR(o, max_lr=0.5, total_steps=STEPS, pct_start=0.42, three_phase=True),
        ),
        (one_cycle(0.5, STEPS, pct_start=0.01), lambda s, o: s.OneCycleLR(o, 0.5, STEPS, pct_start=0.01)),
        (cyclic(0.1, 0.5), lambda s, o: s.CyclicLR(o, 0.1, 0.5)),
        (cyclic(0.1, 0.5, 7, 4), lambda s, o: s.CyclicLR(o, 0.1, 0.5, 7, 4)),
        (cyclic(0.1, 0.5, 7, 4, "triangular2"), lambda s, o: s.CyclicLR(o, 0.1, 0.5, 7, 4, "triangular2")),
        (cyclic(0.1, 0.5, 7, 4, "exp_range", 0.97), lambda s, o: s.CyclicLR(o, 0.1, 0.5, 7, 4, "exp_range", 0.97)),
        (
            warmup(10, cosine(1.0, STEPS), start=0.1),
            lambda s, o: s.SequentialLR(
                o, [s.LinearLR(o, 0.1, 1.0, 10), s.CosineAnnealingLR(o, STEPS)], milestones=[10]
            ),
        ),
        (
            sequence([1.0, exponential(1.0, 0.9), step(1.0, 3)], [10, 30]),
            lambda s, o: s.SequentialLR(
                o, [s.ConstantLR(o, 1.0), s.ExponentialLR(o, 0.9), s.StepLR(o, 3)], milestones=[10, 30]
            ),
        ),
    ],
    ids=lambda x: repr(x) if isinstance(x, schedules.Schedule) else "",
)
def test_gives_the_numbers_of_torch(schedule, make):
    assert values(schedule, STEPS) == pytest.approx(torch_rates(make), rel=0, abs=TORCH)


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (one_cycle(0.85, STEPS, initial=0.95, final=0.95), lambda s, o: s.OneCycleLR(o, 0.5, STEPS)),
        (cyclic(0.9, 0.8, 7), lambda s, o: s.CyclicLR(o, 0.1, 0.5, 7)),
        (
            cyclic(0.95, 0.8, 7, 3, "triangular2"),
            lambda s, o: s.CyclicLR(o, 0.1, 0.5, 7, 3, "triangular2", max_momentum=0.95),
        ),
    ],
    ids=lambda x: repr(x) if isinstance(x, schedules.Schedule) else "",
)
def test_gives_the_momentum_of_torch(schedule, make):
    assert values(schedule, STEPS) == pytest.approx(torch_rates(make, key="momentum"), rel=0, abs=TORCH)


def test_gives_the_decay_of_torchs_adagrad():
    torch = pytest.importorskip("torch")
    p = torch.zeros(1, dtype=torch.float64)
    optimizer = torch.optim.Adagrad([p], lr=0.5, lr_decay=0.125, initial_accumulator_value=0, eps=0)
    moved = []
    for t in range(20):
        p.grad, before = torch.ones_like(p), p.item()
        optimizer.step()
        moved.append((before - p.item()) * math.sqrt(t + 1))  # Adagrad divides by the root of the sum of squares
    # The parameter is of order 3 and its changes of order 0.1, so a difference is off by some 30 units.
    assert values(inverse_time(0.5, decay=0.125), 20) == pytest.approx(moved, rel=100 * EPS)


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (linear(0.2, 40, 0.9), lambda o: o.linear_schedule(0.2, 0.9, 40)),
        (polynomial(0.9, 40, 2.5, 0.1), lambda o: o.polynomial_schedule(0.9, 0.1, 2.5, 40)),
        (cosine(0.8, 40, 0.2), lambda o: o.cosine_decay_schedule(0.8, 40, alpha=0.25)),
        (exponential(0.8, 0.5, 9), lambda o: o.exponential_decay(0.8, 9, 0.5)),
        (exponential(0.8, 0.5, 9, True), lambda o: o.exponential_decay(0.8, 9, 0.5, staircase=True)),
        (exponential(0.8, 0.5, 9, False, 0.1), lambda o: o.exponential_decay(0.8, 9, 0.5, end_value=0.1)),
        (
            exponential(0.1, 1.5, 9, True, 0.9),
            lambda o: o.exponential_decay(0.1, 9, 1.5, staircase=True, end_value=0.9),
        ),
        (multi_step(0.8, [9, 30], 0.5), lambda o: o.piecewise_constant_schedule(0.8, {9: 0.5, 30: 0.5})),
        (piecewise([0.8, 0.4, 0.1], [9, 30]), lambda o: o.piecewise_constant_schedule(0.8, {9: 0.5, 30: 0.25})),
        (warmup(9, 0.8, 0.1), lambda o: o.warmup_constant_schedule(0.1, 0.8, 9)),
        (warmup(9, cosine(0.8, 31, 0.2)), lambda o: o.warmup_cosine_decay_schedule(0.0, 0.8, 9, 40, 0.2)),
        (warmup(9, exponential(0.8, 0.5, 7)), lambda o: o.warmup_exponential_decay_schedule(0.0, 0.8, 9, 7, 0.5)),
        (
            cosine_restarts(0.8, 10, 2),
            lambda o: o.join_schedules([o.cosine_decay_schedule(0.8, n) for n in (10, 20, 40)], [10, 30]),
        ),
        (
            warmup_stable_decay(0.8, 50, 10, 20, final=0.2),
            lambda o: o.join_schedules(
                [o.linear_schedule(0.0, 0.8, 10), o.constant_schedule(0.8), o.linear_schedule(0.8, 0.2, 20)], [10, 30]
            ),
        ),
        (
            sequence([linear(0.8, 20), 0.5, cosine(0.4, 20)], [11, 29]),
            lambda o: o.join_schedules(
                [o.linear_schedule(0.8, 0.0, 20), o.constant_schedule(0.5), o.cosine_decay_schedule(0.4, 20)], [11, 29]
            ),
        ),
    ],
    ids=lambda x: repr(x) if isinstance(x, schedules.Schedule) else "",
)
def test_gives_the_numbers_of_optax(schedule, make):
    peer = make(pytest.importorskip("optax"))
    # optax computes in float32: a handful of operations, each within one unit of 2**-23 of a value below 1.
    assert values(schedule, STEPS) == pytest.approx([float(peer(t)) for t in range(STEPS)], rel=0, abs=16 * 2**-23)


# ---- Reduce on plateau -----------------------------------------------------------------------------------------------

metrics = st.lists(st.floats(0.01, 10) | st.sampled_from([0.5, 1.0, math.nan, math.inf]), max_size=60)


def test_plateau_waits_reduces_and_cools_down():
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=2, cooldown=2)
    #         better    bad            reduce  cooling    bad            reduce
    losses = [2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    wanted = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25]
    assert [plateau.update(loss) for loss in losses] == wanted
    assert (plateau.best, plateau.current, plateau.cooldown_left, plateau.bad_updates) == (1.0, 0.25, 2, 0)


def test_plateau_has_the_defaults_of_torch():
    plateau = ReduceOnPlateau(1.0)
    rates = [plateau.update(1.0) for _ in range(24)]
    assert rates == pytest.approx([1.0] * 11 + [0.1] * 11 + [0.01] * 2, rel=2 * EPS)


def test_plateau_has_no_best_before_the_first_metric():
    assert (ReduceOnPlateau(1.0).best, ReduceOnPlateau(1.0, mode="max").best) == (math.inf, -math.inf)


def test_plateau_returns_its_current_value_at_any_step():
    plateau = ReduceOnPlateau(1.0, patience=0, factor=0.5)
    assert (plateau(0), plateau(10**9)) == (1.0, 1.0)
    plateau.update(1.0)
    plateau.update(1.0)
    assert (plateau(0), plateau(np.int64(7))) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("options", "metrics", "better"),
    [
        ({}, (1.0, 0.99), True),
        ({}, (1.0, 0.99995), False),  # by less than one part in ten thousand
        ({"threshold": 0.5}, (1.0, 0.5), False),  # must be more than the threshold
        ({"threshold_mode": "abs", "threshold": 0.25}, (8.0, 7.75), False),
        ({"threshold_mode": "abs", "threshold": 0.25}, (8.0, 7.5), True),
        ({"mode": "max"}, (0.5, 0.6), True),
        ({"mode": "max"}, (0.5, 0.50001), False),
        ({"mode": "max"}, (0.5, 0.4), False),
        ({"mode": "max", "threshold_mode": "abs", "threshold": 0.25}, (0.5, 0.75), False),
        ({"mode": "max", "threshold_mode": "abs", "threshold": 0.25}, (0.5, 0.875), True),
        ({}, (-100.0, -100.0), False),  # a log-likelihood that stands still is no improvement
        ({}, (-100.0, -99.999), False),
        ({}, (-100.0, -100.1), True),
        ({"mode": "max"}, (-100.0, -100.001), False),
        ({"mode": "max"}, (-100.0, -99.0), True),
        ({}, (0.0, 0.0), False),
        ({}, (0.0, -1e-9), True),
        ({}, (1.0, math.nan), False),
        ({}, (1.0, -math.inf), False),
        ({}, (math.nan, 1.0), True),
        ({}, (math.inf, 1.0), True),
        ({"mode": "max"}, (math.inf, 1.0), True),
    ],
)
def test_plateau_knows_an_improvement(options, metrics, better):
    plateau = ReduceOnPlateau(1.0, **options)
    for metric in metrics:
        plateau.update(metric)
    assert (plateau.best == metrics[-1]) is better or metrics[0] == metrics[-1]
    assert (plateau.bad_updates == 0) is better


def test_plateau_reduces_a_run_that_diverges():
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=1)
    assert [plateau.update(loss) for loss in (1.0, math.nan, math.nan, math.inf)] == [1.0, 1.0, 0.5, 0.5]
    assert plateau.best == 1.0


def test_plateau_stops_at_min_lr_and_leaves_out_tiny_reductions():
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=0, min_lr=0.3)
    assert [plateau.update(1.0) for _ in range(5)] == [1.0, 0.5, 0.3, 0.3, 0.3]
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=0, eps=0.25)
    assert [plateau.update(1.0) for _ in range(5)] == [1.0, 0.5, 0.5, 0.5, 0.5]  # 0.25 is not larger than eps


@settings(deadline=None)
@given(metrics, st.integers(0, 60))
def test_plateau_goes_on_from_its_saved_state(metrics, cut):
    options = {"factor": 0.5, "patience": 1, "cooldown": 2}
    whole, first, second = (ReduceOnPlateau(1.0, **options) for _ in range(3))
    for metric in metrics[:cut]:
        whole.update(metric)
        first.update(metric)
    second.load_state_dict(first.state_dict())
    assert second == first
    assert [whole.update(m) for m in metrics[cut:]] == [second.update(m) for m in metrics[cut:]]
    assert whole.state_dict() == second.state_dict()


def test_plateau_state_is_plain_numbers():
    plateau = ReduceOnPlateau(0.5)
    assert plateau.state_dict() == {"current": 0.5, "best": math.inf, "bad_updates": 0, "cooldown_left": 0}
    plateau.update(np.float32(2.0))
    state = plateau.state_dict()
    assert [type(value) for value in state.values()] == [float, float, int, int]
    arrays = {name: np.array(value) for name, value in state.items()}  # as they come out of an npz file
    other = ReduceOnPlateau(0.5)
    other.load_state_dict(arrays)
    assert other == plateau
    assert [type(value) for value in other.state_dict().values()] == [float, float, int, int]


def test_plateau_copies_are_independent():
    plateau = ReduceOnPlateau(1.0, patience=0)
    plateau.update(1.0)
    for other in (copy.copy(plateau), copy.deepcopy(plateau), pickle.loads(pickle.dumps(plateau))):
        assert other == plateau
        other.update(1.0)
        assert other != plateau
    assert plateau.current == 1.0


def test_plateau_repr_shows_arguments_and_state():
    assert repr(ReduceOnPlateau(0.1)) == (
        "ReduceOnPlateau(lr=0.1, mode='min', factor=0.1, patience=10, threshold=0.0001, threshold_mode='rel', "
        "cooldown=0, min_lr=0.0, eps=1e-08, current=0.1, best=inf, bad_updates=0, cooldown_left=0)"
    )


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize(
    "options", [{}, {"patience": 3, "factor": 0.5}, {"patience": 0, "cooldown": 2, "min_lr": 1e-3}]
)
def test_plateau_does_as_torch(mode, threshold_mode, options):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    options = {"mode": mode, "threshold_mode": threshold_mode, **options}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    plateau = ReduceOnPlateau(1.0, **options)
    losses = 1 + random.normal(size=200).cumsum() ** 2 / 50
    losses[random.integers(200, size=10)] = math.nan
    for loss in losses:
        peer.step(loss)
        assert plateau.update(loss) == optimizer.param_groups[0]["lr"]  # the same products: no rounding to allow for
        assert plateau.bad_updates == peer.num_bad_epochs
        assert plateau.cooldown_left == peer.cooldown_counter


# ---- Every message ---------------------------------------------------------------------------------------------------

PLATEAU = ReduceOnPlateau(1.0)
LR = "constant(lr): must be a finite number >= 0; got {}. Pass a plain number such as 1e-3."
TOTAL = "cosine(total): must be a positive integer number of steps; got {}. Pass an int such as 1000."
T = "cosine(...)(t): must be the number of steps done, an integer >= 0; got {}. Pass 0 for the first step."
GAMMA = "step(gamma): must be a finite number > 0; got {}. Pass a number such as 0.5."
SHARE = "one_cycle(pct_start): must be a number > 0 and < 1; got {}. Pass a number such as 0.1."
COUNT = "warmup_stable_decay(warmup): must be an integer >= 0; got {}. Pass an int such as 10, or 0 for none."
MULT = "cosine_restarts(mult): must be a positive integer; got {}. Pass 1 for equal cycles, or 2."
FLAG = "exponential(staircase): must be True or False; got {}. Pass one of these."
SHAPE = "warmup_stable_decay(shape): must be 'linear' or 'cosine' or '1-sqrt' or '1-square'; got {}. Pass one of these."
BORDERS = "multi_step(milestones): must be a strictly increasing list of positive integers; got {}. Pass [1000, 2000]."
RATES = "piecewise(values): must be a list of finite numbers >= 0; got {}. Pass [1e-2, 1e-3]."
BOUNDARIES = "{}(boundaries): must be one fewer than the {}; got {}. Pass the first step of each but the first."
ALONE = "Pass a schedule such as cosine(1e-3, total=1000); a ReduceOnPlateau has state and works only by itself."
INNER = f"warmup(schedule): must be a pure function of t or a finite number >= 0; got {{}}. {ALONE}"
INNERS = f"sequence(schedules): must be a list, each a pure function of t or a finite number >= 0; got {{}}. {ALONE}"
RESULT = "{}: must be a function that returns finite numbers >= 0; got {}. Correct it for this step."
METRIC = "ReduceOnPlateau.update(metric): must be a number; got {}. Pass a plain number, for example float(loss)."
STATE = (
    "ReduceOnPlateau.load_state_dict(state): must be a dict of current, best, bad_updates, cooldown_left; got {}. "
    "Pass what state_dict() gave."
)


def load(**changes):
    state = {**PLATEAU.state_dict(), **changes}
    return lambda: PLATEAU.load_state_dict({name: value for name, value in state.items() if value is not None})


MESSAGES = [
    (lambda: constant("0.1"), TypeError, LR.format("'0.1'")),
    (lambda: constant(None), TypeError, LR.format("None")),
    (lambda: constant(True), TypeError, LR.format("True")),
    (lambda: constant(1j), TypeError, LR.format("1j")),
    (lambda: constant([0.1]), TypeError, LR.format("[0.1]")),
    (lambda: constant(np.array([0.1])), TypeError, LR.format("array([0.1])")),
    (lambda: constant(np.True_), TypeError, LR.format("np.True_")),
    (lambda: constant(-0.1), ValueError, LR.format("-0.1")),
    (lambda: constant(math.nan), ValueError, LR.format("nan")),
    (lambda: constant(math.inf), ValueError, LR.format("inf")),
    (lambda: constant(10**309), ValueError, LR.format(10**309)),
    (lambda: cosine(1.0, 0), ValueError, TOTAL.format("0")),
    (lambda: cosine(1.0, -5), ValueError, TOTAL.format("-5")),
    (lambda: cosine(1.0, 10.0), TypeError, TOTAL.format("10.0")),
    (lambda: cosine(1.0, True), TypeError, TOTAL.format("True")),
    (lambda: cosine(1.0, math.nan), TypeError, TOTAL.format("nan")),
    (lambda: cosine(1.0, None), TypeError, TOTAL.format("None")),
    (lambda: cosine(1.0, 10)(-1), ValueError, T.format("-1")),
    (lambda: cosine(1.0, 10)(1.0), TypeError, T.format("1.0")),
    (lambda: cosine(1.0, 10)(True), TypeError, T.format("True")),
    (lambda: cosine(1.0, 10)(math.nan), TypeError, T.format("nan")),
    (lambda: cosine(1.0, 10)("1"), TypeError, T.format("'1'")),
    (lambda: PLATEAU(-1), ValueError, T.format("-1").replace("cosine", "ReduceOnPlateau")),
    (lambda: PLATEAU(1.5), TypeError, T.format("1.5").replace("cosine", "ReduceOnPlateau")),
    (lambda: step(1.0, 5, 0), ValueError, GAMMA.format("0")),
    (lambda: step(1.0, 5, math.inf), ValueError, GAMMA.format("inf")),
    (lambda: step(1.0, 5, "x"), TypeError, GAMMA.format("'x'")),
    (lambda: one_cycle(1.0, 9, pct_start=0), ValueError, SHARE.format("0")),
    (lambda: one_cycle(1.0, 9, pct_start=1.0), ValueError, SHARE.format("1.0")),
    (lambda: one_cycle(1.0, 9, pct_start=math.nan), ValueError, SHARE.format("nan")),
    (lambda: warmup_stable_decay(1.0, 9, -1, 3), ValueError, COUNT.format("-1")),
    (lambda: warmup_stable_decay(1.0, 9, 1.0, 3), TypeError, COUNT.format("1.0")),
    (lambda: cosine_restarts(1.0, 9, 0), ValueError, MULT.format("0")),
    (lambda: cosine_restarts(1.0, 9, 1.5), TypeError, MULT.format("1.5")),
    (lambda: exponential(1.0, 0.5, 2, 1), TypeError, FLAG.format("1")),
    (lambda: warmup_stable_decay(1.0, 9, 3, 3, "cos"), ValueError, SHAPE.format("'cos'")),
    (lambda: warmup_stable_decay(1.0, 9, 3, 3, None), TypeError, SHAPE.format("None")),
    (lambda: multi_step(1.0, [3, 3]), ValueError, BORDERS.format("[3, 3]")),
    (lambda: multi_step(1.0, [0, 3]), ValueError, BORDERS.format("[0, 3]")),
    (lambda: multi_step(1.0, [5, 3]), ValueError, BORDERS.format("[5, 3]")),
    (lambda: multi_step(1.0, [1.0]), TypeError, BORDERS.format("[1.0]")),
    (lambda: multi_step(1.0, 5), TypeError, BORDERS.format("5")),
    (lambda: multi_step(1.0, "15"), TypeError, BORDERS.format("'15'")),
    (lambda: multi_step(1.0, {3: 0.1}), TypeError, BORDERS.format("{3: 0.1}")),
    (lambda: multi_step(1.0, {3}), TypeError, BORDERS.format("{3}")),
    (lambda: piecewise([0.1, -0.1], [3]), ValueError, RATES.format("[0.1, -0.1]")),
    (lambda: piecewise([0.1, "x"], [3]), TypeError, RATES.format("[0.1, 'x']")),
    (lambda: piecewise(0.1, [3]), TypeError, RATES.format("0.1")),
    (
        lambda: piecewise([0.1, 0.2], [3, 4]),
        ValueError,
        BOUNDARIES.format("piecewise", "2 values", "(3, 4)"),
    ),
    (lambda: piecewise([0.1, 0.2], []), ValueError, BOUNDARIES.format("piecewise", "2 values", "()")),
    (lambda: sequence([0.1], [3]), ValueError, BOUNDARIES.format("sequence", "1 schedules", "(3,)")),
    (
        lambda: sequence([0.1, 0.2], []),
        ValueError,
        BOUNDARIES.format("sequence", "2 schedules", "()"),
    ),
    (
        lambda: sequence([], []),
        ValueError,
        BOUNDARIES.format("sequence", "0 schedules", "()"),
    ),
    (lambda: warmup(5, PLATEAU), TypeError, INNER.format(repr(PLATEAU))),
    (lambda: warmup(5, "cosine"), TypeError, INNER.format("'cosine'")),
    (lambda: warmup(5, -1.0), ValueError, INNER.format("-1.0")),
    (lambda: warmup(5, math.nan), ValueError, INNER.format("nan")),
    (lambda: sequence([1.0, PLATEAU], [3]), TypeError, INNERS.format([1.0, PLATEAU])),
    (lambda: sequence([1.0, -1.0], [3]), ValueError, INNERS.format([1.0, -1.0])),
    (lambda: sequence(1.0, [3]), TypeError, INNERS.format("1.0")),
    (lambda: warmup(5, lambda t: None)(0), TypeError, RESULT.format("warmup(schedule)", "None")),
    (lambda: warmup(5, lambda t: math.nan)(7), ValueError, RESULT.format("warmup(schedule)", "nan")),
    (lambda: sequence([1.0, lambda t: -1], [5])(5), ValueError, RESULT.format("sequence(schedules)[1]", "-1")),
    (
        lambda: warmup_stable_decay(1.0, 9, 5, 5),
        ValueError,
        "warmup_stable_decay(total): must be at least warmup + cooldown = 10; got 9. Pass the whole length.",
    ),
    (
        lambda: one_cycle(1.0, 9, pct_start=0.6, three_phase=True),
        ValueError,
        "one_cycle(pct_start): must be at most 0.5 with three_phase=True; got 0.6. Pass a smaller share.",
    ),
    (
        lambda: cyclic(0.1, 1.0, gamma=0.9),
        ValueError,
        "cyclic(gamma): must be left out with mode='triangular'; got 0.9. Pass mode='exp_range' to use it.",
    ),
    (
        lambda: exponential(1.0, 2.0)(5000),
        ValueError,
        (
            "exponential(lr=1.0, gamma=2.0, every=1, staircase=False, final=None): must stay finite and >= 0; got inf "
            "at t=5000. Pass gamma <= 1, or final= as a bound."
        ),
    ),
    (
        lambda: cyclic(1.0, 0.0, up=1, mode="exp_range", gamma=2.0)(1),
        ValueError,
        (
            "cyclic(base=1.0, peak=0.0, up=1, down=None, mode='exp_range', gamma=2.0): must stay finite and >= 0; "
            "got -1.0 at t=1. Pass gamma <= 1, or final= as a bound."
        ),
    ),
    (
        lambda: ReduceOnPlateau(0.1, min_lr=0.2),
        ValueError,
        "ReduceOnPlateau(min_lr): must be at most lr=0.1; got 0.2. Pass a smaller number.",
    ),
    (
        lambda: ReduceOnPlateau(0.1, factor=1.0),
        ValueError,
        "ReduceOnPlateau(factor): must be a number > 0 and < 1; got 1.0. Pass a number such as 0.1.",
    ),
    (
        lambda: setattr(constant(1.0), "lr", 2),
        dataclasses.FrozenInstanceError,
        "constant.lr: must stay as made; got 2. Use dataclasses.replace(schedule, lr=...).",
    ),
    (
        lambda: delattr(constant(1.0), "lr"),
        dataclasses.FrozenInstanceError,
        "constant.lr: must stay as made; got del. Make another schedule.",
    ),
    (lambda: PLATEAU.update("0.5"), TypeError, METRIC.format("'0.5'")),
    (lambda: PLATEAU.update(None), TypeError, METRIC.format("None")),
    (lambda: PLATEAU.update(True), TypeError, METRIC.format("True")),
    (lambda: PLATEAU.update(10**309), ValueError, METRIC.format(10**309)),
    (lambda: PLATEAU.load_state_dict(3), TypeError, STATE.format("3")),
    (lambda: PLATEAU.load_state_dict({}), ValueError, STATE.format("{}")),
    (load(surplus=1), ValueError, STATE.format({**PLATEAU.state_dict(), "surplus": 1})),
    (load(best=None), ValueError, STATE.format({"current": 1.0, "bad_updates": 0, "cooldown_left": 0})),
    (
        load(current=0.5, best=math.nan),
        ValueError,
        (
            "ReduceOnPlateau.load_state_dict(state)['best']: must be a number, infinite before the first update; "
            "got nan. Load an intact state."
        ),
    ),
    (
        load(current=-1.0),
        ValueError,
        (
            "ReduceOnPlateau.load_state_dict(state)['current']: must be a finite number >= 0; got -1.0. "
            "Pass a plain number such as 1e-3."
        ),
    ),
    (
        load(current=0.5, bad_updates=1.5),
        TypeError,
        (
            "ReduceOnPlateau.load_state_dict(state)['bad_updates']: must be an integer >= 0; got 1.5. "
            "Pass an int such as 10, or 0 for none."
        ),
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), MESSAGES, ids=[m[:60] for _, _, m in MESSAGES])
def test_messages(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert (type(caught.value), str(caught.value)) == (kind, message)
    assert ReduceOnPlateau(1.0) == PLATEAU  # nothing was changed before the refusal


REQUIRED = {
    "lr": 0.1,
    "base": 0.1,
    "peak": 0.2,
    "gamma": 1.0,
    "decay": 0.1,
    "total": 9,
    "period": 9,
    "steps": 9,
    "every": 9,
}
REQUIRED |= {"warmup": 2, "cooldown": 2, "milestones": [3], "boundaries": [3], "values": [1, 2], "schedules": [1, 2]}
REQUIRED |= {"schedule": 0.1}


@pytest.mark.parametrize(
    ("name", "argument"),
    [(n, f.name) for n in (*NAMES, "ReduceOnPlateau") for f in dataclasses.fields(getattr(schedules, n)) if f.init],
)
def test_every_argument_is_checked(name, argument):
    cls = getattr(schedules, name)
    needed = {f.name: REQUIRED[f.name] for f in dataclasses.fields(cls) if f.init and f.default is dataclasses.MISSING}
    cls(**needed)
    with pytest.raises(TypeError, match=rf"^{name}\({argument}\): must be .*; got \(1\+2j\)\. \w"):
        cls(**{**needed, argument: 1 + 2j})
    with pytest.raises((TypeError, ValueError), match=rf"^{name}\({argument}\): must be .*; got nan\. \w"):
        cls(**{**needed, argument: math.nan})


@pytest.mark.parametrize("name", NAMES)
def test_unknown_keywords_are_errors(name):
    with pytest.raises(TypeError, match="unexpected keyword argument 'last_epoch'"):
        getattr(schedules, name)(last_epoch=-1)
