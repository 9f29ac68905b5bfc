"""How thresholds were found: each is moved, and what goes wrong on either side of it is counted.

``make calibration`` prints a table for each; `make test` moves some of them a little. The functions are those of
test_zoo.py and the gradients those of correct.py and mutants.py, with other seeds than the tests have.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

import fallline as fl
import test_zoo as zoo
import test_zoo_second as higher
from correct import FAMILIES as CORRECT
from correct import correct_gradient
from fallline import _core, adaptive, check, fixed, grid, jump, near, noise, probes, readings, task
from test_mutation import SAMPLE, measure, verdict_of

SEED = 1000  # no test has it
MOVED = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Threshold:
    """A constant of a module, what to count, and the values to try: factors, if no others are given."""

    module: ModuleType
    name: str
    evidence: Callable[[int], dict[str, str]]
    values: tuple[float, ...] | None = None

    @property
    def title(self) -> str:
        return f"{self.module.__name__.removeprefix('fallline.')}.{self.name}"

    def tried(self) -> list[float]:
        value = getattr(self.module, self.name)
        return list(self.values or [value * factor for factor in MOVED])


@contextmanager
def moved(threshold: Threshold, value: float) -> Iterator[None]:
    before = getattr(threshold.module, threshold.name)
    setattr(threshold.module, threshold.name, value)
    try:
        yield
    finally:
        setattr(threshold.module, threshold.name, before)


# ---- numerical derivatives


def of_families(families: tuple[Any, ...], methods: tuple[int, ...], each: int) -> dict[str, str]:
    """Count bounds that do not hold and smooth functions that are not called so; say how wide the bounds are."""
    missed = blamed = total = 0
    wide: list[float] = []
    for family, method in itertools.product(families, methods):
        outcomes = zoo.survey(family, zoo.METHODS[method], SEED, each=each)
        missed += sum(map(zoo.is_missed, outcomes))
        blamed += sum(o.status != "ok" for o in outcomes if family in zoo.SMOOTH)
        wide += [o.error / max(o.off, 1e-16 * abs(o.truth), 1e-300) for o in outcomes if family in zoo.SMOOTH]
        total += len(outcomes)
    found = {"bounds that do not hold": f"{missed} of {total}"}
    if wide:
        found |= {"smooth, not ok": f"{blamed} of {len(wide)}", "bound / error": f"{np.median(wide):.0f}"}
    return found


def where_there_is_none(methods: tuple[int, ...], each: int) -> dict[str, str]:
    """Count errors that are small where no derivative exists."""
    small = total = 0
    for method, family in itertools.product(methods, (zoo.kink, zoo.noisy_kink, zoo.relu, zoo.jump)):
        rng = np.random.default_rng([SEED, method])
        for _ in range(each):
            f, x, width = family(rng)
            found = fl.derivative(f, x, full_output=True, **zoo.METHODS[method])
            small += not found.error >= width / 4
            total += 1
    return {"kinks and jumps overlooked": f"{small} of {total}"}


WAVY = (zoo.wavy, zoo.very_wavy, zoo.single_wavy)
ADAPTIVE, CENTRAL, ESTIMATED = (0,), (1, 5), (3,)


def fixed_bounds(each: int) -> dict[str, str]:
    return of_families((*zoo.SMOOTH, zoo.near_domain_end), CENTRAL + ESTIMATED, each)


def adaptive_bounds(each: int) -> dict[str, str]:
    return of_families((*zoo.SMOOTH, zoo.near_domain_end), ADAPTIVE, each) | where_there_is_none(ADAPTIVE, each // 2)


def looks_near(each: int) -> dict[str, str]:
    families = (zoo.smooth, zoo.noisy, zoo.single, zoo.near_kink, zoo.near_jump)
    methods = ADAPTIVE + CENTRAL[:1]
    return of_families(families, methods, each) | where_there_is_none(methods, each // 2)


def waves(each: int) -> dict[str, str]:
    return of_families((zoo.single, *WAVY), ADAPTIVE + CENTRAL[:1] + ESTIMATED, each)


def bends(each: int) -> dict[str, str]:
    """Count what `looks_near` does, and waves that are called kinks."""
    cases = itertools.product(WAVY[:2], ADAPTIVE + CENTRAL[:1] + ESTIMATED)
    outcomes = [o for family, method in cases for o in zoo.survey(family, zoo.METHODS[method], SEED, each=each)]
    blamed = sum(o.status == "kink" for o in outcomes)
    return looks_near(each) | {"waves called kinks": f"{blamed} of {len(outcomes)}"}


def noises(each: int) -> dict[str, str]:
    families = (zoo.noisy, zoo.single, zoo.near_jump, zoo.wavy)
    return of_families(families, CENTRAL[:1] + ESTIMATED, each) | where_there_is_none(ESTIMATED, each // 2)


def rounded(each: int) -> dict[str, str]:
    return of_families((zoo.near_zero, zoo.noisy, zoo.rounded), ADAPTIVE + CENTRAL[:1] + ESTIMATED, each)


def powers(each: int) -> dict[str, str]:
    """Count powers of the distance that are called kinks, and kinks beside something smooth that are called powers."""
    rng = np.random.default_rng(SEED)
    blamed = 0
    for _ in range(each):
        p, slope = rng.uniform(1.1, 1.95), rng.normal()
        power = lambda x, p=p, slope=slope: abs(x) ** p + slope * x  # noqa: E731
        found = fl.derivative(power, 0.0, method="central", full_output=True)
        blamed += found.status != "ok"
    return {"powers called kinks": f"{blamed} of {each}"} | where_there_is_none(CENTRAL[:1], each)


def second(each: int) -> dict[str, str]:
    """Count smooth functions whose second derivative is called a kink, and jumps of it that are not seen."""
    rng = np.random.default_rng(SEED)
    blamed = overlooked = total = 0
    for options, _ in itertools.product(higher.HIGHER, range(each)):
        f, x, _ = higher.smooth_with_second(rng)
        blamed += fl.derivative(f, x, order=2, full_output=True, **options).status != "ok"
        g, c, b = zoo.smooth_pair(rng)[0], rng.uniform(-2, 2), 10.0 ** rng.uniform(-1, 2)
        jumping = lambda t, g=g, c=c, b=b: g(t) + b * (t - c) * abs(t - c)  # noqa: E731
        overlooked += fl.derivative(jumping, c, order=2, full_output=True, **options).status == "ok"
        total += 1
    return {"smooth, not ok": f"{blamed} of {total}", "jumps overlooked": f"{overlooked} of {total}"}


def curvatures(each: int) -> dict[str, str]:
    """Count bounds of second derivatives that do not hold; say how wide those of smooth functions are."""
    missed = total = 0
    wide: list[float] = []
    for family, method in itertools.product(higher.FAMILIES, (0, 1, 3, 7)):
        outcomes = higher.survey(family, higher.METHODS[method], SEED, each=each)
        missed += sum(map(zoo.is_missed, outcomes))
        total += len(outcomes)
        wide += [o.error / max(o.off, 1e-16 * abs(o.truth), 1e-300) for o in outcomes if family in higher.SMOOTH]
    return {"bounds that do not hold": f"{missed} of {total}", "bound / error": f"{np.median(wide):.1f}"}


def jumps_within(each: int) -> dict[str, str]:
    """Count jumps within fixed steps that have no status, and smooth or wavy functions that are said to jump."""
    rng = np.random.default_rng(SEED)
    overlooked = blamed = 0
    for _ in range(each):
        g, x = zoo.smooth_pair(rng)[0], rng.uniform(-2, 2)
        at, height = x + 10.0 ** rng.uniform(-9, -6), 10.0 ** rng.uniform(-3, 6)
        jumping = lambda t, g=g, at=at, height=height: g(t) + height * (t > at)  # noqa: E731
        overlooked += fl.derivative(jumping, x, method="central", full_output=True).status == "ok"
    cases = tuple(itertools.product((*zoo.SMOOTH, *WAVY), CENTRAL))
    for family, method in cases:
        outcomes = zoo.survey(family, zoo.METHODS[method], SEED, each=each)
        blamed += sum(o.status == "unresolved" for o in outcomes)
    return {"jumps without a status": f"{overlooked} of {each}", "unresolved": f"{blamed} of {len(cases) * each}"}


def narrow_bounds(each: int) -> dict[str, str]:
    """Count second derivatives within narrow bounds that are wrong altogether, and good ones that are refused."""
    rng = np.random.default_rng(SEED)
    wrong = refused = 0
    for _ in range(each):
        f, x, truth = higher.smooth(rng)
        bounds = x - 10.0 ** rng.uniform(-12, -3), x + 10.0 ** rng.uniform(-12, -3)
        found = fl.derivative(f, x, order=2, method="central", bounds=bounds, full_output=True)
        is_far = abs(found.value - truth) > abs(truth)
        wrong += bool(is_far) and found.status == "ok"
        refused += not is_far and found.status == "no room"
    return {"wrong and ok": f"{wrong} of {each}", "right and refused": f"{refused} of {each}"}


# ---- the checker


def verdicts(each: int) -> dict[str, str]:
    """Count what is said of right gradients, and of bugs."""
    said = [verdict_of(family, (SEED, i))[0] for i in range(max(1, each // 5)) for family in CORRECT]
    found = [measure(mutant, SEED + i).found for i in range(max(1, each // 50)) for mutant in SAMPLE]
    return {
        "false alarms": f"{said.count('fail')} of {len(said)}",
        "right, inconclusive": f"{said.count('inconclusive')}",
        "bugs that pass": f"{found.count(False)} of {len(found)}",
        "bugs below the power": f"{found.count(None)}",
    }


def use_of_bounds(each: int) -> dict[str, str]:
    """Return how much of each part of the bound right gradients need: of the truncation, and of the terms' rounding.

    The residual may be SAFETY*truncation + rounding + SUMMANDS*eps*size, constants of csrc/fallline.h.
    """
    seen: list[Any] = []
    original = probes.Probe.judge

    def judge(self: Any, *asked: Any) -> Any:
        seen.append(original(self, *asked))
        return seen[-1]

    probes.Probe.judge = judge  # type: ignore[method-assign]
    try:
        for i, family in itertools.product(range(each), CORRECT):
            case = correct_gradient(family, (SEED, i))
            fl.check_gradient(case.f, case.df, case.x, args=case.args, rng=i)
    finally:
        probes.Probe.judge = original  # type: ignore[method-assign]
    smooth = [judgement.reading for judgement in seen if judgement.finding == "right"]
    names = ("residual", "truncation", "rounding", "own", "bound")
    residual, truncation, rounding, own, bound = (np.abs([getattr(r, name)[0] for r in smooth]) for name in names)
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.nan_to_num(residual / bound)
        truncations = np.nan_to_num((residual - rounding - own) / truncation, nan=-np.inf)
        summands = np.nan_to_num((residual - rounding - _core.SAFETY * truncation) / (own / 32), nan=-np.inf)
    return {
        "lines": str(len(smooth)),
        "bound used, median": f"{np.median(used):.3f}",
        "most": f"{used.max():.3f}",
        "SAFETY needed, at most": f"{max(truncations.max(), 0):.2f}",
        "SUMMANDS needed, at most": f"{max(summands.max(), 0):.2f}",
    }


THRESHOLDS = [
    Threshold(fixed, "WORST", fixed_bounds),
    Threshold(fixed, "SAFETY", fixed_bounds),
    Threshold(adaptive, "WORST", adaptive_bounds),
    Threshold(adaptive, "SAFETY", adaptive_bounds),
    Threshold(adaptive, "MUCH", adaptive_bounds),
    Threshold(adaptive, "APPARENT", curvatures),
    Threshold(fixed, "STEEP", jumps_within),
    Threshold(jump, "STAYS", jumps_within, (0.1, 0.3, 0.5, 0.7, 0.9)),
    Threshold(task, "NARROW", narrow_bounds),
    Threshold(task, "HIDES", narrow_bounds),
    Threshold(near, "WORST", looks_near),
    Threshold(near, "SMOOTH", bends, (20.0, 35.0, 50.0, 100.0, 150.0, 200.0, 250.0)),
    Threshold(near, "BEND", looks_near),
    Threshold(near, "GROWTH", looks_near, (1.1, 1.5, 2.0, 3.0, 6.0)),
    Threshold(near, "POWER", powers, (4.1, 4.3, 4.5, 5.0, 6.0)),
    Threshold(near, "SAME", powers, (0.001, 0.01, 0.05, 0.1, 0.5)),
    Threshold(near, "WAVES", waves, tuple(2.0**k for k in (-30, -27, -24, -21, -18))),
    Threshold(near, "SPACINGS", waves, tuple(2.0**k for k in (4, 7, 10, 13, 16))),
    Threshold(near, "LEAST", curvatures, tuple(2.0**k for k in (8, 12, 16, 20, 24))),
    Threshold(near, "ALIKE", curvatures, (0.01, 0.1, 0.25, 0.5, 1.0)),
    Threshold(near, "STAYS", second, (0.55, 0.6, 0.7, 0.8, 0.95)),
    Threshold(near, "FARTHEST", second, tuple(2.0**k for k in (-9, -6, -3, -1, 1))),
    Threshold(noise, "MUCH", noises, (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
    Threshold(noise, "JUMP", noises),
    Threshold(noise, "FALLS", noises),
    Threshold(grid, "DISTINCT", rounded, (2, 3, 4, 5, 6)),
    Threshold(grid, "FINEST", rounded, tuple(2.0**k for k in (4, 7, 10, 13, 16))),
    Threshold(grid, "REACH", rounded, tuple(2.0**k for k in (-9, -6, -3, -1, 1))),
    Threshold(grid, "APART", rounded, tuple(2.0**k for k in (1, 3, 5, 8, 12))),
    Threshold(check, "NO_POWER", verdicts, (0.0005, 0.005, 0.05, 0.2, 0.5)),
    Threshold(check, "MISS", verdicts, (1.0, 10.0, 30.0, 100.0, 1000.0)),
    Threshold(readings, "LARGE", verdicts, (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
    Threshold(readings, "FLAT", verdicts),
    Threshold(probes, "TARGET", verdicts, (1e-12, 1e-10, 1e-8, 1e-6, 1e-4)),
    Threshold(probes, "FIRST", verdicts, tuple(2.0**k for k in (-23, -19, -15, -11, -7))),
]


def calibrate(threshold: Threshold, each: int) -> None:
    """Print the table of a threshold."""
    present = getattr(threshold.module, threshold.name)
    for i, value in enumerate(threshold.tried()):
        with moved(threshold, value):
            found = threshold.evidence(each)
        if i == 0:
            print(f"\n{threshold.title:24}" + "".join(f"{name:>29}" for name in found))
        mark = "*" if value == present else " "
        print(f"{mark}{value:<23.4g}" + "".join(f"{cell:>29}" for cell in found.values()), flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--each", type=int, default=200, help="functions of a family")
    parser.add_argument("--only", default="", help="thresholds whose names have this in them")
    options = parser.parse_args(arguments)
    for threshold in THRESHOLDS:
        if options.only in threshold.title:
            calibrate(threshold, options.each)
    if options.only in "check.bounds":
        print("\nwhat right gradients need of the checker's bound")
        for name, cell in use_of_bounds(options.each // 4).items():
            print(f"  {name:28}{cell}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
