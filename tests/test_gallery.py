"""The gallery's gradients against independent truths, and what the mutants do to them."""

import functools
import itertools
from collections import defaultdict

import numpy as np
import pytest

from correct import DOMAINS, FAMILIES, KINKED, correct_gradient, correct_gradients, fraction
from fallline.trees import leaves, rebuild
from gallery import KINKS, MODELS
from mutants import MUTANTS

EVERY_MODEL = pytest.mark.parametrize("name", MODELS)
NOT_ANALYTIC = {  # an absolute value, or LAPACK's real log-determinant
    "elastic_net",
    "sparse_coding",
    "poisson",
    "gaussian_process",
    "covariance",
    "packed_covariance",
}
# Offsets and weights of f'; those of the one side are exact for polynomials of degree 4.
CENTRAL = {-3: -1 / 60, -2: 9 / 60, -1: -45 / 60, 1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
FORWARD = {0: -25 / 12, 1: 48 / 12, 2: -36 / 12, 3: 16 / 12, 4: -3 / 12}
BACKWARD = {-offset: -weight for offset, weight in FORWARD.items()}


def named(tree):
    return {name: np.asarray(leaf) for name, leaf in leaves(tree)}


def values(tree):
    return np.concatenate([leaf.ravel() for leaf in named(tree).values()])


def moved(x, name, index, by):
    """Return x with one entry of one block moved."""

    def leaf(other):
        a = named(x)[other].astype(np.result_type(np.float64, type(by)))
        if other == name:
            a[index] += by
        return a

    return rebuild(x, leaf)


def differentiated(case, along):
    """Return ``along(f of the distance by which an entry is moved)`` for every entry, by block."""
    return {
        name: np.array(
            [
                along(lambda by, name=name, index=index: case.f(moved(case.x, name, index, by), *case.args))
                for index in np.ndindex(leaf.shape)
            ]
        ).reshape(leaf.shape)
        for name, leaf in named(case.x).items()
    }


def complex_step(f):
    return f(1e-30j).imag / 1e-30


def difference(f, weights, h=1e-3):
    return sum(weight * f(offset * h) for offset, weight in weights.items()) / h


def bits(*trees):
    return [(leaf.dtype, leaf.shape, leaf.tobytes()) for tree in trees for leaf in named(tree).values()]


# ---------------------------------------------------------------------------------------------------------------------
# The models
# ---------------------------------------------------------------------------------------------------------------------


@EVERY_MODEL
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_right(name, seed):
    case = MODELS[name](np.random.default_rng(seed))
    analytic = name not in NOT_ANALYTIC
    truth = differentiated(case, complex_step if analytic else functools.partial(difference, weights=CENTRAL))
    g = named(case.df(case.x, *case.args))
    largest = max(np.max(np.abs(block)) for block in truth.values())
    assert case.name == name
    assert list(g) == list(truth)
    for block, expected in truth.items():
        assert g[block].shape == expected.shape
        if analytic:
            np.testing.assert_allclose(g[block], expected, rtol=1e-9, atol=1e-14 * largest)
        else:
            np.testing.assert_allclose(g[block], expected, rtol=1e-7, atol=1e-9 * np.max(np.abs(expected)))


@EVERY_MODEL
def test_single_precision_is_kept_and_close(name):
    case = MODELS[name](np.random.default_rng(0), np.float32)
    g = named(case.df(case.x, *case.args))
    assert case.f(case.x, *case.args).dtype == np.float32
    assert {leaf.dtype for tree in (case.x, g) for leaf in named(tree).values()} == {np.dtype(np.float32)}
    args = [a.astype(np.float64) if getattr(a, "dtype", None) == np.float32 else a for a in case.args]
    exact = named(case.df(rebuild(case.x, lambda block: named(case.x)[block].astype(np.float64)), *args))
    largest = max(np.max(np.abs(block)) for block in exact.values())
    for block, expected in exact.items():
        np.testing.assert_allclose(g[block], expected, rtol=1e-4, atol=1e-5 * largest)


@EVERY_MODEL
def test_functions_are_pure_and_points_are_not_special(name):
    case = MODELS[name](np.random.default_rng(1))
    before = bits(case.x, case.args)
    assert case.f(case.x, *case.args) == case.f(case.x, *case.args)
    assert bits(case.df(case.x, *case.args)) == bits(case.df(case.x, *case.args))
    assert bits(case.x, case.args) == before
    assert np.all(np.abs(values(case.x)) > 1e-3)
    assert np.all(values(case.x) != 1)


@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("seed", range(3))
def test_at_a_kink_both_gradients_are_between_the_slopes(name, seed):
    cases = KINKS[name](np.random.default_rng(seed))
    left = differentiated(cases[0], functools.partial(difference, weights=BACKWARD))
    right = differentiated(cases[0], functools.partial(difference, weights=FORWARD))
    assert any(np.any(np.abs(left[block] - right[block]) > 1e-4) for block in left)
    first, second = (named(case.df(case.x, *case.args)) for case in cases)
    assert any(np.any(first[block] != second[block]) for block in left)
    for g, block in itertools.product((first, second), left):
        low, high = np.minimum(left[block], right[block]), np.maximum(left[block], right[block])
        assert np.all((low - 1e-8 <= g[block]) & (g[block] <= high + 1e-8))


# ---------------------------------------------------------------------------------------------------------------------
# The mutants
# ---------------------------------------------------------------------------------------------------------------------


def plant(mutant, seed=0):
    return mutant.make(np.random.default_rng(seed))


def test_every_entry_of_the_catalogue_has_three_mutants_in_three_models():
    ids = defaultdict(set)
    models = defaultdict(set)
    for mutant in MUTANTS:
        ids[mutant.number].add(mutant.id)
        models[mutant.number].add(plant(mutant).correct.name)
        assert mutant.id.startswith(f"{mutant.number:02}-{plant(mutant).correct.name}-")
    assert set(ids) == set(range(1, 45))
    assert sum(map(len, ids.values())) == len(MUTANTS)
    assert all(len(ids[number]) >= 3 and len(models[number]) >= 3 for number in ids)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
@pytest.mark.parametrize("seed", range(2))
def test_mutants_are_wrong_where_they_say(mutant, seed):
    planted = plant(mutant, seed)
    assert mutant.number in planted.expected
    assert planted.expected <= set(range(1, 45))
    if planted.wrong is None:
        return
    case, correct = planted.case, planted.correct
    assert bits(case.x, case.args) == bits(correct.x, correct.args)
    assert case.f(case.x, *case.args) == correct.f(correct.x, *correct.args)
    g, truth = named(case.df(case.x, *case.args)), named(correct.df(correct.x, *correct.args))
    largest = max(np.max(np.abs(block)) for block in truth.values())
    assert list(planted.wrong) == list(truth)
    if mutant.number == 36:
        assert not any(mask.any() for mask in planted.wrong.values())
        return
    margin = 0.0
    for block, mask in planted.wrong.items():
        assert mask.shape == truth[block].shape
        error = np.abs(g[block] - truth[block])
        relative = error / np.maximum(np.maximum(np.abs(g[block]), np.abs(truth[block])), 1e-9 * largest)
        margin = max(margin, np.max(relative[mask], initial=0))
        assert np.all(relative[~mask] < 1e-6)
    assert margin > (1e-8 if mutant.number == 43 else 0.01)  # single precision is wrong by little


RIGGED = [mutant for mutant in MUTANTS if plant(mutant).wrong is None]


def rigged(number):
    return pytest.mark.parametrize("mutant", [m for m in RIGGED if m.number == number], ids=lambda mutant: mutant.id)


def nearby(x):
    return rebuild(x, lambda block: named(x)[block] + 0.01)


def test_what_is_wrong_with_every_rigged_mutant_is_tested_below():
    assert {mutant.number for mutant in RIGGED} == {22, 26, 27, 28, 30, 34, 42, 43}


@rigged(22)
def test_rigged_shape(mutant):
    planted = plant(mutant)
    g, truth = (named(case.df(case.x, *case.args)) for case in (planted.case, planted.correct))
    assert g["b"].shape == (len(planted.case.args[0]), *truth["b"].shape)
    np.testing.assert_allclose(g["b"].sum(axis=0), truth["b"])


@rigged(26)
def test_rigged_inputs(mutant):
    case = plant(mutant).case
    before = bits(case.x, case.args)
    case.f(case.x, *case.args)
    case.df(case.x, *case.args)
    assert bits(case.x, case.args) != before


@rigged(27)
def test_rigged_cache(mutant):
    planted = plant(mutant)
    case = planted.case
    case.f(case.x, *case.args)
    fresh = values(case.df(case.x, *case.args))
    np.testing.assert_allclose(fresh, values(planted.correct.df(case.x, *case.args)), rtol=1e-12)
    case.f(nearby(case.x), *case.args)
    assert np.max(np.abs(values(case.df(case.x, *case.args)) - fresh)) > 1e-4 * np.max(np.abs(fresh))


@rigged(28)
def test_rigged_sum(mutant):
    case = plant(mutant).case
    first = values(case.df(case.x, *case.args))
    np.testing.assert_allclose(values(case.df(case.x, *case.args)), 2 * first)


@rigged(30)
def test_rigged_buffer(mutant):
    planted = plant(mutant)
    case = planted.case
    g = case.df(case.x, *case.args)
    first = values(g)
    assert np.array_equal(first, values(planted.correct.df(case.x, *case.args)))
    case.df(nearby(case.x), *case.args)
    assert not np.array_equal(values(g), first)


@rigged(34)
def test_rigged_chance(mutant):
    case = plant(mutant).case
    assert len({float(case.f(case.x, *case.args)) for _ in range(8)}) > 1


@rigged(42)
def test_rigged_steps(mutant):
    case = plant(mutant).case
    assert np.all(differentiated(case, lambda f: f(1e-7) - f(0.0))["W1"] == 0)
    assert np.all(named(case.df(case.x, *case.args))["W1"] != 0)


@rigged(43)
def test_rigged_precision(mutant):
    planted = plant(mutant)
    case, correct = planted.case, planted.correct
    value, exact = (c.f(c.x, *c.args) for c in (case, correct))
    assert np.asarray(value).dtype == np.float64
    assert 1e-10 < abs(value / exact - 1) < 1e-5
    assert bits(case.df(case.x, *case.args)) == bits(correct.df(correct.x, *correct.args))


# ---------------------------------------------------------------------------------------------------------------------
# The correct gradients
# ---------------------------------------------------------------------------------------------------------------------

KINK = {"at_kink", "near_kink", "scaled_kink", "model_at_kink", "tied_maximum", "piecewise_linear"}
COARSE = {"noise": 1e-1, "rounded_value": 1e-2, "shifted_value": 1e-2, "single_precision": 3e-1, "domain_end": 1e-4}
COARSE["scaled_single_precision"] = COARSE["single_precision"]


def agrees(case, rtol, rng):
    """Return whether some difference quotient along one direction is what the gradient says."""
    x, g, value = named(case.x), named(case.df(case.x, *case.args)), case.f(case.x, *case.args)
    for in_units_of_x, h in itertools.product((True, False), 10.0 ** np.arange(-9, 4)):
        v = {name: rng.standard_normal(a.shape).astype(a.dtype) for name, a in x.items()}
        if in_units_of_x:
            v = {name: direction * np.abs(x[name]) for name, direction in v.items()}
        slope = sum(np.sum(g[name] * v[name], dtype=np.float64) for name in x)
        size = sum(np.sum(np.abs(g[name] * v[name]), dtype=np.float64) for name in x)
        with np.errstate(all="ignore"):
            ends = [
                case.f(rebuild(case.x, lambda n, s=s, v=v: (x[n] + s * v[n]).astype(x[n].dtype)), *case.args)
                for s in (h, -h)
            ]
            d = (np.float64(ends[0]) - np.float64(ends[1])) / (2 * h)
        if abs(d - slope) <= rtol * size + 1e-12 * min(abs(value), 1) + 1e-15:
            return True
    return False


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_correct_and_well_behaved(family):
    for seed in range(6):
        case = correct_gradient(family, seed)
        before = bits(case.x, case.args)
        value, g = case.f(case.x, *case.args), case.df(case.x, *case.args)
        assert np.ndim(value) == 0
        assert np.isfinite(value)
        assert value == case.f(case.x, *case.args)
        assert bits(case.x, case.args) == before
        assert [(n, a.shape, a.dtype) for n, a in named(g).items()] == [
            (n, a.shape, a.dtype) for n, a in named(case.x).items()
        ]
        assert np.all(np.isfinite(values(g)))
        if family not in KINK:
            assert agrees(case, COARSE.get(family, 1e-5), np.random.default_rng(seed)), (case.name, seed)


@pytest.mark.parametrize("name", KINKED)
def test_kinked_functions(name):
    function, derivative, slopes = KINKED[name]
    left, right = (difference(function, weights, h=1e-4) for weights in (BACKWARD, FORWARD))
    np.testing.assert_allclose(sorted((left, right)), slopes, atol=1e-8)
    x = np.array([-0.7, -0.2, 0.3, 0.6])
    np.testing.assert_allclose(difference(lambda by: function(x + by), CENTRAL), derivative(x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", DOMAINS)
def test_functions_with_an_end(name):
    function, derivative, _ = DOMAINS[name]
    x = np.array([0.2, 0.5, 0.8])
    np.testing.assert_allclose(difference(lambda by: function(x + by), CENTRAL), derivative(x), rtol=1e-9)


def test_the_same_cases_whatever_the_count():
    few, many = list(correct_gradients(5)), list(correct_gradients(40))
    assert [bits(a.x, a.args) for a in few] == [bits(b.x, b.args) for b in many[:5]]
    assert {case.name.partition("/")[0] for case in many} == set(FAMILIES)


def test_fraction_looks_like_chance_and_repeats():
    x = np.linspace(0, 1, 1000)
    numbers = np.array([fraction(np.array([t])) for t in x])
    assert np.array_equal(numbers, [fraction(np.array([t])) for t in x])
    assert abs(numbers.mean()) < 0.1
    assert abs((numbers**2).mean() - 1 / 3) < 0.05
