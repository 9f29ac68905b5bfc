"""The checker against planted bugs and correct gradients: what it finds, names and places, and false alarms.

``make test`` runs a sample. ``python tests/test_mutation.py --full`` (``make mutation``) runs all of mutants.py with
several seeds and 10,000 correct gradients, prints rates for every entry of the catalogue, and exits with 1 below the
bars.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
import time
import warnings
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

import fallline as fl
from correct import FAMILIES, correct_gradient
from fallline.causes import CATALOGUE
from fallline.report import BlockReport, EntryReport, Report
from fallline.trees import leaves
from mutants import MUTANTS

DETECTION, CAUSE, PLACE = 0.99, 0.9, 0.95  # at least
UNDECIDED = 0.005  # of correct gradients, at most
KINK, PRECISION = 36, 43


@dataclass(frozen=True)
class Outcome:
    """What the checker made of a mutant: True, False, or None where nothing is asked."""

    id: str
    found: bool | None
    cause: bool | None
    place: bool | None
    said: str


def arrays(tree):
    return {name: np.asarray(leaf, float) for name, leaf in leaves(tree)}


def block_name(name, report_name="x"):
    return "0" if name == report_name else name


def beyond_power(planted, report):
    """Return the blocks whose error is more than what the report says would have been seen."""
    case, correct = planted.case, planted.correct
    g, truth = arrays(case.df(case.x, *case.args)), arrays(correct.df(correct.x, *correct.args))
    powers = {block_name(block.name): block.power for block in report.blocks}
    beyond = set()
    for name, yours in g.items():
        size = max(np.linalg.norm(yours), np.linalg.norm(truth[name]))
        power = powers.get(name)
        if np.linalg.norm(yours - truth[name]) > (0.0 if power is None else power) * size:
            beyond.add(name)
    return beyond


def is_placed(planted, report):
    """Tell whether the wrong blocks are named, and no others, and whether the worst entries are wrong ones."""
    wrong = {name for name, mask in planted.wrong.items() if mask.any()}
    named = {block_name(name) for name in report.wrong}
    inside = all(planted.wrong[block_name(entry.name)][entry.index] for entry in report.worst)
    return beyond_power(planted, report) & wrong <= named <= wrong and inside


def measure(mutant, seed, check=fl.check_gradient):
    """Plant a bug and look for it."""
    planted = mutant.make(np.random.default_rng((MUTANTS.index(mutant), seed)))
    case = planted.case
    report = check(case.f, case.df, case.x, args=case.args, rng=seed)
    said = f"{report.verdict}: {report.reason}; causes {[cause.number for cause in report.causes]}; {report.wrong}"
    if mutant.number == KINK:  # not a bug
        noted = any("kink" in note for note in report.notes)
        return Outcome(mutant.id, report.passed, noted, None, said)
    is_named = bool(report.causes) and report.causes[0].number in planted.expected
    cause = is_named if planted.tellable else None
    if mutant.number == PRECISION and planted.wrong is None:  # f is at fault, and the gradient right
        return Outcome(mutant.id, None, cause, None, said)
    if planted.wrong is None:
        return Outcome(mutant.id, not report.passed, cause, None, said)
    if report.passed and not beyond_power(planted, report):
        return Outcome(mutant.id, None, None, None, said)
    return Outcome(mutant.id, not report.passed, cause, is_placed(planted, report), said)


def verdict_of(family, seed):
    """Return what the checker says of a correct gradient."""
    case = correct_gradient(family, seed)
    report = fl.check_gradient(case.f, case.df, case.x, args=case.args, rng=seed[1])
    return report.verdict, f"{case.name} {seed}: {report.reason}"


def rate(answers):
    answers = [answer for answer in answers if answer is not None]
    return sum(answers) / len(answers) if answers else np.nan


# ---------------------------------------------------------------------------------------------------------------------
# A sample: a mutant for every entry of the catalogue, another model for another entry
# ---------------------------------------------------------------------------------------------------------------------


def a_sample():
    by_number = defaultdict(list)
    for mutant in MUTANTS:
        by_number[mutant.number].append(mutant)
    return [rows[number % len(rows)] for number, rows in by_number.items()]


SAMPLE = a_sample()


@functools.cache
def outcome(mutant):
    return measure(mutant, 0)


@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda mutant: mutant.id)
def test_a_planted_bug_is_found(mutant):
    """A gradient with a bug does not pass, unless the report says that it would not have seen so small an error."""
    assert outcome(mutant).found is not False, outcome(mutant).said


def test_the_sample_has_a_mutant_for_every_entry():
    assert {mutant.number for mutant in SAMPLE} == set(CATALOGUE)


def test_bugs_are_named_and_placed():
    outcomes = [outcome(mutant) for mutant in SAMPLE]
    assert rate(o.cause for o in outcomes) >= CAUSE, [(o.id, o.said) for o in outcomes if o.cause is False]
    assert rate(o.place for o in outcomes) >= PLACE, [(o.id, o.said) for o in outcomes if o.place is False]
    assert sum(o.found is not None for o in outcomes) >= 0.9 * len(outcomes)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_correct_gradient_is_not_called_wrong(family):
    verdicts = [verdict_of(family, (7, i)) for i in range(12)]
    assert [said for verdict, said in verdicts if verdict == "fail"] == []
    assert sum(verdict == "inconclusive" for verdict, _ in verdicts) <= 1


# ---------------------------------------------------------------------------------------------------------------------
# The measuring itself
# ---------------------------------------------------------------------------------------------------------------------


def mutant(id):
    return next(m for m in MUTANTS if m.id == id)


A_SIGN = next(m for m in MUTANTS if m.number == 2)  # of one block


def saying(verdict, power=1e-9, wrong=(), worst=(), numbers=()):
    """Return a checker that always says the same."""

    def check(f, df, x, args, rng):
        names = [("x" if isinstance(x, np.ndarray) else name, np.shape(leaf)) for name, leaf in leaves(x)]
        blocks = [
            BlockReport(name, shape, "wrong" if wrong == "all" or name in wrong else "right", power=power)
            for name, shape in names
        ]
        entries = [EntryReport(name, (0,) * len(shape), 1.0, 2.0, 0.0) for name, shape in names if name in worst]
        causes = [fl.causes.Cause(number, "", None, "", 1.0) for number in numbers]
        return Report(verdict, "", causes, blocks, entries, power=power)

    return check


def test_whoever_passes_everything_finds_nothing():
    outcomes = [measure(m, 0, saying("pass")) for m in SAMPLE]
    assert not any(o.found for o in outcomes if not o.id.startswith("36"))
    assert sum(o.found is None for o in outcomes) <= 1  # f in single precision
    assert {o.cause for o in outcomes} == {False, None}


def test_who_sees_nothing_need_not_find_anything():
    assert measure(A_SIGN, 0, saying("pass", power=100.0)).found is None
    assert measure(A_SIGN, 0, saying("pass", power=1e-3)).found is False


def test_whoever_fails_everything_places_nothing():
    outcomes = [measure(m, 0, saying("fail", wrong="all")) for m in SAMPLE]
    assert {o.found for o in outcomes if not o.id.startswith(("36", "43"))} == {True}
    assert {o.found for o in outcomes if o.id.startswith("36")} == {False}
    assert measure(A_SIGN, 0, saying("fail", wrong="all")).place is False
    assert measure(A_SIGN, 0, saying("fail", wrong=())).place is False


def test_what_is_placed_and_named():
    planted = A_SIGN.make(np.random.default_rng((MUTANTS.index(A_SIGN), 0)))
    wrong = [name for name, mask in planted.wrong.items() if mask.any()]
    right = [name for name in planted.wrong if name not in wrong]
    assert len(right) > 0
    good = measure(A_SIGN, 0, saying("fail", wrong=wrong, worst=wrong, numbers=[2]))
    assert (good.found, good.cause, good.place) == (True, True, True)
    assert measure(A_SIGN, 0, saying("fail", wrong=wrong, worst=right, numbers=[2])).place is False
    assert measure(A_SIGN, 0, saying("fail", wrong=wrong, numbers=[3, 2])).cause is False


# ---------------------------------------------------------------------------------------------------------------------
# All of it
# ---------------------------------------------------------------------------------------------------------------------


def _measured(job):
    index, seed = job
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return MUTANTS[index].number, measure(MUTANTS[index], seed)
        except Exception as error:
            return MUTANTS[index].number, Outcome(MUTANTS[index].id, False, False, False, repr(error))


def _judged(job):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return verdict_of(*job)
        except Exception as error:
            return "fail", f"{job}: {error!r}"


def show(outcomes, quiet):
    """Print a line for every entry of the catalogue; return the rates of all."""
    print(f"{'entry':28}{'runs':>6}{'found':>8}{'cause':>8}{'place':>8}")

    def line(name, some):
        rates = [rate(getattr(o, what) for o in some) for what in ("found", "cause", "place")]
        cells = "".join(f"{'-':>8}" if np.isnan(r) else f"{r:8.3f}" for r in rates)
        print(f"{name:28}{len(some):6}{cells}")
        return rates

    for number, (slug, _) in CATALOGUE.items():
        line(f"{number} {slug}", outcomes[number])
    rates = line("all", list(itertools.chain(*outcomes.values())))
    if not quiet:
        for o in itertools.chain(*outcomes.values()):
            missed = [what for what in ("found", "cause", "place") if getattr(o, what) is False]
            if missed:
                print(f"  not {' '.join(missed)}: {o.id}: {o.said}")
    return rates


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Measure the gradient checker.")
    parser.add_argument("--full", action="store_true", help="all mutants, three seeds, 10,000 correct gradients")
    parser.add_argument("--seeds", type=int, help="seeds of the mutants")
    parser.add_argument("--correct", type=int, help="how many correct gradients")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quiet", action="store_true", help="rates only")
    options = parser.parse_args(arguments)
    seeds = options.seeds if options.seeds is not None else 3 if options.full else 1
    count = options.correct if options.correct is not None else 10_000 if options.full else 300
    start = time.perf_counter()
    outcomes = defaultdict(list)
    names = list(FAMILIES)
    with ProcessPoolExecutor(options.processes) as pool:
        jobs = [(index, options.start + seed) for seed in range(seeds) for index in range(len(MUTANTS))]
        for number, o in pool.map(_measured, jobs, chunksize=8):
            outcomes[number].append(o)
        cases = [(names[i % len(names)], (options.start, i)) for i in range(count)]
        verdicts = list(pool.map(_judged, cases, chunksize=32))
    found, cause, place = show(outcomes, options.quiet)
    alarms = [said for verdict, said in verdicts if verdict == "fail"]
    undecided = [said for verdict, said in verdicts if verdict == "inconclusive"]
    print(f"{count} correct gradients: {len(alarms)} false alarms, {len(undecided)} inconclusive")
    for said in [*alarms, *([] if options.quiet else undecided)]:
        print(f"  {said}")
    print(f"{time.perf_counter() - start:.0f} s")
    good = found >= DETECTION and cause >= CAUSE and place >= PLACE
    good = good and not alarms and len(undecided) <= UNDECIDED * count
    print("all bars are met" if good else f"below the bars: {DETECTION}, {CAUSE}, {PLACE}, no alarm, {UNDECIDED}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
