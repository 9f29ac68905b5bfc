"""check_gradient: its verdict, the power it states, what it costs, where it points, and that it leaves no trace."""

import ctypes
import itertools
import math

import numpy as np
import pytest

import fallline as fl
from correct import fraction, in_units
from fallline.trees import leaves, rebuild
from gallery import MODELS

X = np.array([0.3, -1.2, 2.0, 0.7, 1.1])


def sines(x):
    return np.sum(np.sin(x))


def check(f, df, x, **options):
    return fl.check_gradient(f, df, x, **options)


def of(case, **options):
    return fl.check_gradient(case.f, case.df, case.x, args=case.args, **options)


def changed(case, change):
    """Return df with the gradient's arrays changed: ``change(name, array)`` returns another."""

    def df(x, *args):
        named = dict(leaves(case.df(x, *args)))
        return rebuild(case.x, lambda name: change(name, np.array(named[name], float)))

    return df


class Counted:
    """A function that counts its calls by itself."""

    def __init__(self, f):
        self.f, self.n = f, 0

    def __call__(self, *args):
        self.n += 1
        return self.f(*args)


# ---------------------------------------------------------------------------------------------------------------------
# Three verdicts
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "directions", "full"])
def test_a_right_gradient_passes(mode):
    report = check(sines, np.cos, X, mode=mode)
    assert report.verdict == "pass"
    assert report.passed
    assert report.causes == report.worst == report.wrong == []
    assert report.power < 1e-7
    assert f"{report.power:.0e}" in report.reason


@pytest.mark.parametrize("mode", ["auto", "directions", "full"])
def test_a_wrong_gradient_fails(mode):
    report = check(sines, lambda x: 1.001 * np.cos(x), X, mode=mode)
    assert report.verdict == "fail"
    assert not report.passed
    assert (report.wrong == []) == (mode == "directions")  # which asks no blocks


def test_what_cannot_be_told_is_inconclusive():
    """Noise as large as f itself: neither a right nor a wrong gradient can be told."""
    for df in (np.cos, lambda x: 1.5 * np.cos(x)):
        report = check(lambda x: sines(x) + 10 * fraction(x), df, X)
        assert report.verdict == "inconclusive"
        assert math.isnan(report.power)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_where_f_is_not_finite_nothing_can_be_told(value):
    report = check(lambda x: value, np.cos, X)
    assert report.verdict == "inconclusive"
    assert str(value) in report.reason


def test_assert_gradient():
    assert fl.assert_gradient(sines, np.cos, X).passed
    with pytest.raises(AssertionError, match="FAIL") as caught:
        fl.assert_gradient(sines, lambda x: -np.cos(x), X, rng=3)
    assert caught.value.report.causes[0].name == "sign"
    assert caught.value.report.seed == 3
    assert str(caught.value) == str(caught.value.report)
    with pytest.raises(AssertionError, match="INCONCLUSIVE"):
        fl.assert_gradient(lambda x: np.nan, np.cos, X)


# ---------------------------------------------------------------------------------------------------------------------
# The stated power
# ---------------------------------------------------------------------------------------------------------------------

POWER_MODELS = [name for i, name in enumerate(MODELS) if i % 2 == 0]


def planted(case, report, factor, single, rng):
    """Return df with an error in one block of `factor` times its power, relative to the block's norm; or None."""
    powers = {
        block.name: block.power for block in report.blocks if block.power is not None and block.verdict == "right"
    }
    names = [name for name, leaf in leaves(case.x) if powers.get("x" if isinstance(case.x, np.ndarray) else name)]
    if not names:
        return None
    chosen = names[rng.integers(len(names))]
    power = powers["x" if isinstance(case.x, np.ndarray) else chosen]

    def change(name, g):
        if name != chosen:
            return g
        error = np.zeros(g.size)
        if single:
            error[place % g.size] = 1.0
        else:
            error[:] = np.random.default_rng(place).standard_normal(g.size)
        error *= factor * power * np.linalg.norm(g) / np.linalg.norm(error)
        return g + error.reshape(g.shape)

    place = int(rng.integers(10**6))
    return changed(case, change)


@pytest.mark.parametrize("single", [True, False], ids=["entry", "block"])
def test_errors_of_ten_times_the_stated_power_are_found(single):
    """Stated by the right gradient's report; where the wrong one's states less power, it need not be found."""
    tried, found, missed = 0, 0, []
    for (i, name), seed in itertools.product(enumerate(POWER_MODELS), range(2)):
        rng = np.random.default_rng((i, seed))
        case = MODELS[name](rng)
        right = of(case, rng=seed, mode="directions")
        df = planted(case, right, 10, single, rng)
        if df is None:
            continue
        report = fl.check_gradient(case.f, df, case.x, args=case.args, rng=seed + 100, mode="directions")
        tried += 1
        found += report.verdict == "fail"
        if report.passed and report.power < 10 * right.power:
            missed.append((name, seed))
    assert tried > 50
    assert found >= 0.97 * tried
    assert len(missed) <= 0.01 * tried, missed


def test_the_stated_power_is_no_exaggeration():
    """What is far below the power may pass, and does: the power is not stated too weak by orders of magnitude."""
    passed = 0
    for i, name in enumerate(POWER_MODELS):
        rng = np.random.default_rng(i)
        case = MODELS[name](rng)
        df = planted(case, of(case, mode="directions"), 1e-3, False, rng)
        passed += fl.check_gradient(case.f, df, case.x, args=case.args, mode="directions").passed
    assert passed >= 0.9 * len(POWER_MODELS)


def test_the_power_of_a_noisy_function_is_as_poor_as_it_is():
    exact, noisy = check(sines, np.cos, X), check(lambda x: sines(x) + 1e-8 * fraction(x), np.cos, X)
    assert noisy.passed
    assert exact.power < 1e-8 < 1e-7 < noisy.power
    assert (
        check(lambda x: sines(x) + 1e-8 * fraction(x), lambda x: (1 + 10 * noisy.power) * np.cos(x), X).verdict
        == "fail"
    )


def test_rtol_accepts_errors_of_that_size_and_no_more():
    def df(x):
        return 1.001 * np.cos(x)

    assert check(sines, df, X, rtol=1e-2).passed
    assert "within rtol" in check(sines, df, X, rtol=1e-2).reason
    assert check(sines, df, X, rtol=1e-4).verdict == "fail"


# ---------------------------------------------------------------------------------------------------------------------
# Scales
# ---------------------------------------------------------------------------------------------------------------------

SCALED = ["tanh_mlp", "poisson", "rnn"]


def wrongs(case):
    yield "sign", changed(case, lambda name, g: -g)
    yield "part", changed(case, lambda name, g: g * np.where(np.arange(g.size) == 0, 1.01, 1.0).reshape(g.shape))


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("k", range(-12, 13, 3))
def test_the_verdict_does_not_depend_on_the_scale_of_f(name, k):
    case = MODELS[name](np.random.default_rng(0))
    factor = 10.0**k

    def f(x, *args):
        return factor * case.f(x, *args)

    def verdict(df):
        def scaled(x, *args):
            named = dict(leaves(df(x, *args)))
            return rebuild(case.x, lambda name: factor * named[name])

        return fl.check_gradient(f, scaled, case.x, args=case.args, mode="directions")

    right = verdict(case.df)
    assert right.passed
    assert right.power < 1e-6
    assert [verdict(df).verdict for _, df in wrongs(case)] == ["fail", "fail"]


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("k", range(-6, 7, 2))
def test_the_verdict_does_not_depend_on_the_units_of_x(name, k):
    plain = MODELS[name](np.random.default_rng(0))
    case = in_units(plain, 10.0**k)
    right = of(case, mode="directions")
    assert right.passed
    assert right.power < 1e-6
    for _, df in wrongs(case):
        assert fl.check_gradient(case.f, df, case.x, args=case.args, mode="directions").verdict == "fail"


def test_the_wrong_sign_of_a_tiny_gradient():
    """Measured: scipy.optimize.check_grad calls this 1.5e-8, below "1e-6 or lower is likely correct"."""
    x = np.array([1.0, 2.0, 3.0])
    assert check(lambda x: 1e-9 * np.sum(x**2), lambda x: 2e-9 * x, x).passed
    report = check(lambda x: 1e-9 * np.sum(x**2), lambda x: -2e-9 * x, x)
    assert report.verdict == "fail"
    assert report.causes[0].name == "sign"


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_opposite_numbers_are_not_close(size):
    """Measured: autograd's scalar_close(1e-9, -1e-9) is True and scalar_close(1.0, -1.0) divides by zero."""
    assert check(lambda x: size * x, lambda x: size, 0.5).passed
    assert check(lambda x: size * x, lambda x: -size, 0.5).verdict == "fail"


def test_a_small_block_is_judged_on_its_own_scale():
    x = {"a": X, "b": X[::-1] + 0.1}

    def f(p):
        return np.sum(np.sin(p["a"])) + 1e-7 * np.sum(np.sin(p["b"]))

    def gradient(sign):
        return lambda p: {"a": np.cos(p["a"]), "b": sign * 1e-7 * np.cos(p["b"])}

    assert check(f, gradient(1), x).passed
    report = check(f, gradient(-1), x)
    assert (report.verdict, report.wrong) == ("fail", ["b"])


@pytest.mark.parametrize("size", [1e-9, 1e-12])
@pytest.mark.parametrize("seed", range(3))
def test_a_block_that_one_direction_does_not_see_has_its_say_in_the_other(size, seed):
    """Moved alike, the large block hides it by its rounding."""
    x = {"a": X, "b": X[::-1] + 0.1}

    def f(p):
        return sines(p["a"]) + size * sines(p["b"])

    report = check(f, lambda p: {"a": np.cos(p["a"]), "b": -size * np.cos(p["b"])}, x, jitter=False, rng=seed)
    assert report.wrong == ["b"]
    right = check(f, lambda p: {"a": np.cos(p["a"]), "b": size * np.cos(p["b"])}, x, jitter=False, rng=seed)
    assert right.verdict == "pass"


def test_the_power_of_a_report_is_that_of_its_worst_block():
    x = {"a": X, "b": X[::-1] + 0.1}
    report = check(
        lambda p: sines(p["a"]) + 1e-9 * sines(p["b"]),
        lambda p: {"a": np.cos(p["a"]), "b": 1e-9 * np.cos(p["b"])},
        x,
    )
    small, large = sorted(block.power for block in report.blocks)
    assert small < large / 10 < 0.005
    assert report.power == large
    assert report.reason == f"a relative error above {large:.0e} would have been seen"


def test_a_block_below_the_noise_is_called_unseen():
    x = {"a": X, "b": X[::-1] + 0.1}

    def f(p):
        return np.sum(np.sin(p["a"])) + 1e-20 * np.sum(np.sin(p["b"]))

    report = check(f, lambda p: {"a": np.cos(p["a"]), "b": -1e-20 * np.cos(p["b"])}, x)
    assert {block.name: block.verdict for block in report.blocks} == {"a": "right", "b": "unseen"}
    assert any("b is too small beside the noise" in note for note in report.notes)


# ---------------------------------------------------------------------------------------------------------------------
# Zero derivatives, ends of domains, float32, noise, waves
# ---------------------------------------------------------------------------------------------------------------------


def test_a_gradient_of_zero():
    """At a minimum any factor of the gradient is right; another number is not."""
    x0 = X.copy()
    report = check(lambda x: np.sum((x - x0) ** 2), lambda x: 2 * (x - x0), x0)
    assert report.passed
    assert any("the gradient is 0 within rounding" in note for note in report.notes)
    assert check(lambda x: np.sum((x - x0) ** 2), lambda x: 2 * (x - x0) + 1e-3, x0).verdict == "fail"


def test_a_wrong_factor_at_a_stationary_point_is_found_nearby():
    x0 = X.copy()
    report = check(lambda x: np.sum((x - x0) ** 2), lambda x: 3 * (x - x0), x0)
    assert report.verdict == "fail"
    assert any("x itself hides it" in note for note in report.notes)
    assert check(lambda x: np.sum((x - x0) ** 2), lambda x: 3 * (x - x0), x0, jitter=False).verdict != "fail"
    full = check(lambda x: np.sum((x - x0) ** 2), lambda x: 3 * (x - x0), x0, mode="full")
    assert full.wrong == ["x"]
    assert {entry.index[0] for entry in full.worst} == set(range(5))
    assert all(entry.yours == pytest.approx(1.5 * entry.numeric, rel=1e-6) for entry in full.worst)


def test_a_saddle_with_a_zero_derivative():
    """Measured: scipy.differentiate says success=False at (x - 1)**3, x = 1."""
    assert check(lambda x: (x - 1) ** 3, lambda x: 3 * (x - 1) ** 2, 1.0).passed
    assert check(lambda x: (x - 1) ** 3, lambda x: 3 * (x - 1) ** 2 + 1e-3, 1.0).verdict == "fail"


def test_a_constant_function():
    report = check(lambda x: 3.0, np.zeros_like, X)
    assert report.passed
    assert "does not change" in report.reason
    assert check(lambda x: 3.0, lambda x: np.full_like(x, 1e-3), X).verdict == "fail"


@pytest.mark.parametrize("x", [1e-3, 0.1, 0.3])
def test_near_the_end_of_a_domain(x):
    """Measured: scipy.differentiate and numdifftools leave the domain of log and return NaN."""
    report = check(np.log, lambda x: 1 / x, x)
    assert report.passed
    assert report.power < 1e-6
    assert check(np.log, lambda x: 1.0001 / x, x).verdict == "fail"


@pytest.mark.parametrize("x", [1e2, 1e5, 1e7, 1e20])
def test_far_out_on_a_wave(x):
    """Measured: scipy's absolute steps fail for sin at 1e20, where no step can succeed. That is no fault of cos."""
    report = check(np.sin, np.cos, x)
    assert report.verdict == ("pass" if x < 1e10 else "inconclusive")
    assert x > 1e10 or check(np.sin, lambda x: 2 * np.cos(x), x).verdict == "fail"


@pytest.mark.parametrize(
    ("x", "seed"),
    [
        (64608909.6876005, 1609),
        (44835508.335787155, 290),
        (30570264.247455303, 2905),
        (34233947.71701173, 5264),
        (11961647.365915807, 9010),
    ],
)
def test_distances_in_step_with_a_wave(x, seed):
    """From afar all points have the same phase, or such that waves look like one slope; nearby they are seen."""
    assert check(sines, np.cos, np.array([x]), rng=seed).verdict != "fail"
    assert check(sines, lambda x: 10 * np.cos(x), np.array([x]), rng=seed).verdict != "pass"
    assert check(sines, lambda x: -np.cos(x), np.array([x]), rng=seed).verdict != "pass"


def test_ripples_below_the_signal():
    """Measured: numdifftools is 6e7 times overconfident on this function; its ripples make 1e-6 of noise."""

    def f(x):
        return np.sin(x) + 1e-6 * np.sin(1e9 * x)

    report = check(f, np.cos, 1.0)
    assert report.passed
    assert report.power > 1e-6
    assert check(f, lambda x: (1 + 10 * report.power) * np.cos(x), 1.0).verdict == "fail"


@pytest.mark.parametrize("name", ["tanh_mlp", "softmax_regression", "rnn", "ridge"])
def test_single_precision_is_judged_as_such(name):
    case = MODELS[name](np.random.default_rng(1), np.float32)
    assert all(leaf.dtype == np.float32 for _, leaf in leaves(case.x))
    report = of(case)
    assert report.passed
    assert 1e-7 < report.power < 0.05
    assert fl.check_gradient(case.f, changed(case, lambda _, g: -g), case.x, args=case.args).verdict == "fail"


def test_a_gradient_that_is_right_to_single_precision_alone():
    """x and f are doubles; the rounding of what df returns is no mistake, and one of a hundredth still is."""
    x = np.array([0.3, -1.2, 2.0])
    f = lambda x: float(np.sum(np.sin(x)))  # noqa: E731
    assert fl.check_gradient(f, lambda x: np.float32(np.cos(x)), x).passed
    assert fl.check_gradient(f, lambda x: np.float32(1.01 * np.cos(x)), x).verdict == "fail"


@pytest.mark.parametrize("where", ["argument", "value"])
def test_a_function_that_computes_in_single_precision_is_told(where):
    """The gradient is right and passes; the report says why it could not be seen better."""

    def f(x):
        y = np.sum(np.sin(x.astype(np.float32)))
        return np.float64(y) if where == "argument" else np.float32(y)

    report = check(f, np.cos, X)
    assert report.passed
    assert [cause.number for cause in report.causes] == [43]
    assert report.power > 1e-5


def test_a_small_error_in_double_precision_is_not_called_single():
    """It is as small as rounding to single precision may be, but the numbers have more digits."""
    report = check(sines, lambda x: np.cos(x) * (1 + 3e-5 * np.array([1, -1, 0.3, 0.7, -0.2])), X)
    assert report.verdict == "fail"
    assert 43 not in [cause.number for cause in report.causes]
    single = check(sines, lambda x: np.float64(np.float32(np.cos(x))), X)
    assert single.verdict == "fail"
    assert [cause.number for cause in single.causes] == [43]


def test_the_array_that_f_rounds_is_named():
    def f(p):
        return sines(p["a"]) + sines(p["b"].astype(np.float32).astype(np.float64))

    report = check(f, lambda p: {"a": np.cos(p["a"]), "b": np.cos(p["b"])}, {"a": X, "b": X[::-1] + 0.1})
    assert report.passed
    assert [(cause.number, cause.block) for cause in report.causes] == [(43, "b")]
    assert report.causes[0].text.startswith("f does not change when b changes by ")
    assert report.causes[0].text.endswith(": f rounds b.")


def test_noise_in_double_precision_is_not_called_single():
    for seed in range(5):
        x = np.random.default_rng(seed).standard_normal(5)
        report = check(lambda x: sines(x) + 1e-8 * fraction(x), np.cos, x)
        assert report.passed
        assert report.causes == []
    assert check(lambda x: np.maximum(x, 0), lambda x: 1.2 * (x >= 0), 0.0).causes == []  # whose values are 0
    unused = {"a": X, "b": X + 1}  # f ignores b, and does not round it
    report = check(
        lambda p: sines(p["a"]) + 1e-8 * fraction(p["a"]),
        lambda p: {"a": np.cos(p["a"]), "b": np.zeros(5)},
        unused,
    )
    assert report.passed
    assert report.causes == []


def test_what_is_asked_about_noise_is_asked_within_the_bounds():
    points = []

    def f(x):
        points.append(x.copy())
        return sines(x) + 1e-8 * fraction(x)

    assert check(f, np.cos, X, bounds=(X, X + 1)).passed
    assert all((point >= X).all() for point in points)
    assert check(f, np.cos, X, bounds=(X - 1, X)).passed
    assert all((point <= X).all() for point in points[-10:])


@pytest.mark.parametrize("size", [1e-12, 1e-9, 1e-6])
def test_noise(size):
    def f(x):
        return sines(x) + size * fraction(x)

    right = check(f, np.cos, X)
    assert right.passed
    assert right.power > size / 100
    assert check(f, lambda x: 1.5 * np.cos(x), X).verdict == "fail"


def test_noise_that_is_known():
    """What is given is believed: less noise, more power; so much of it that nothing can be seen."""

    def f(x):
        return sines(x) + 1e-6 * fraction(x)

    assert check(f, np.cos, X, noise=1e-6).passed
    assert check(sines, lambda x: 1.0001 * np.cos(x), X, noise=1e-3).verdict == "inconclusive"
    assert check(sines, lambda x: 1.0001 * np.cos(x), X, noise=1e-12).verdict == "fail"


# ---------------------------------------------------------------------------------------------------------------------
# Evaluations, exactly
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 10, 1000, 10**5])
def test_a_right_smooth_gradient_takes_fifteen_evaluations(n):
    """Three of the preflight, six for each of two directions, whatever the size of x; three of the gradient."""
    x = np.random.default_rng(n).standard_normal(n)
    f, df = Counted(sines), Counted(np.cos)
    report = check(f, df, x)
    assert report.passed
    assert (report.nfev, report.ngev) == (f.n, df.n) == (15, 3)


@pytest.mark.parametrize("n", [10**3, 10**4, 10**5])
@pytest.mark.parametrize("where", ["first", "last", "one", "other"])
def test_one_wrong_coordinate_takes_at_most_forty_evaluations(n, where):
    place = {"first": 0, "last": n - 1, "one": n // 3, "other": 17}[where]
    x = np.random.default_rng(0).standard_normal(n)
    f = Counted(sines)
    report = check(f, off_by(place, 1.0), x)
    assert f.n == report.nfev <= 40
    assert report.verdict == "fail"
    assert [(entry.name, entry.index) for entry in report.worst] == [("x", (place,))]
    assert report.blocks[0].place == f"entry [{place}]"
    assert report.worst[0].numeric == pytest.approx(np.cos(x[place]), abs=1e-4)


def test_one_wrong_coordinate_among_a_million():
    report = check(
        lambda x: np.sum(x * x), lambda x: 2 * x + 0.5 * (np.arange(10**6) == 765_432), np.linspace(1, 2, 10**6)
    )
    assert report.nfev <= 40
    assert [entry.index for entry in report.worst] == [(765_432,)]


LARGE = np.random.default_rng(5).uniform(0.5, 1.5, (60, 70))
SPOILED = {
    "the wrong sign": (lambda g: -g, 1024, 1, "in all 64 entries looked at"),
    "a part of x too much": (lambda g: g + 0.01 * LARGE, 1024, 10, "in all 64 entries looked at"),
    "upside down": (lambda g: g[::-1], 1024, 39, None),
    "a row left out": (lambda g: np.where(np.arange(60)[:, None] == 7, 0.0, g), 4000, 32, "row 7"),
    "with noise of its own": (lambda g: g * np.random.default_rng(6).uniform(0.8, 1.2, g.shape), 4000, None, None),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_large_array_that_is_wrong_takes_few_evaluations(name):
    """4200 entries: where 64 of them tell the cause, by some 15 evaluations each, no more are asked."""
    spoil, most, number, place = SPOILED[name]
    mixed = np.random.default_rng(7).permutation(LARGE.size).reshape(LARGE.shape)
    weights = 1 + mixed / LARGE.size
    report = fl.check_gradient(
        lambda x: float(np.sum(np.sin(weights * x))), lambda x: spoil(weights * np.cos(weights * x)), LARGE
    )
    assert report.verdict == "fail"
    assert report.nfev <= most
    assert [cause.number for cause in report.causes[:1]] == ([number] if number else [])
    assert place is None or report.blocks[0].place == place


def off_by(places, error):
    def df(x):
        g = np.cos(x)
        g[places] += error
        return g

    return df


def mlp(activation, slope):
    """Return logistic regression on 38 hidden units of 7 features, 3 classes: 421 parameters, biases 0."""
    rng = np.random.default_rng(0)
    X, y, rows = rng.standard_normal((32, 7)), rng.integers(0, 3, 32), np.arange(32)

    def probabilities(p):
        z = activation(X @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def f(p):
        return -np.mean(np.log(probabilities(p)[rows, y]))

    def df(p):
        a = X @ p["W1"] + p["b1"]
        d = probabilities(p)
        d[rows, y] -= 1
        d /= 32
        back = d @ p["W2"].T * slope(a)
        return {"W1": X.T @ back, "b1": back.sum(0), "W2": activation(a).T @ d, "b2": d.sum(0)}

    W1, W2 = 0.4 * rng.standard_normal((7, 38)), rng.standard_normal((38, 3))
    x = {"W1": W1, "b1": np.zeros(38), "W2": W2, "b2": np.zeros(3)}
    assert sum(leaf.size for leaf in x.values()) == 421
    return f, df, x


ACTIVATIONS = {
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2),
    "relu": (lambda a: np.maximum(a, 0), lambda a: np.where(a > 0, 1.0, 0.0)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_right_network_takes_at_most_thirty_evaluations(name):
    """Three of the preflight, twelve at x, and as the biases are 0, thirteen nearby; more where a kink is in reach."""
    f, df, x = mlp(*ACTIVATIONS[name])
    counts = []
    for seed in range(20):
        counted = Counted(f)
        report = check(counted, df, x, rng=seed)
        assert report.passed
        assert report.nfev == counted.n
        counts.append(counted.n)
    assert sorted(counts)[-1 if name == "tanh" else 16] == 28
    assert max(counts) <= 60


# ---------------------------------------------------------------------------------------------------------------------
# Places
# ---------------------------------------------------------------------------------------------------------------------

NETWORK = {"W1": (6, 4), "b1": (4,), "W2": (4, 3), "b2": (3,)}


def network():
    rng = np.random.default_rng(3)
    return {name: rng.standard_normal(shape) for name, shape in NETWORK.items()}


def all_sines(p):
    return sum(np.sum(np.sin(leaf)) for _, leaf in leaves(p))


def cosines(p, change=lambda g: None):
    g = rebuild(p, {name: np.cos(leaf) for name, leaf in leaves(p)}.__getitem__)
    change(g)
    return g


def times(name, index, factor):
    def change(g):
        g[name][index] *= factor

    return change


@pytest.mark.parametrize(
    ("name", "index", "place"),
    [
        ("W1", (2, 3), "entry [2, 3]"),
        ("W1", np.s_[3], "row 3"),
        ("W1", np.s_[:, 1], "column 1"),
        ("W1", np.s_[:, :2], "columns 0 and 1"),
        ("W2", np.s_[:], "everywhere"),
        ("b1", 2, "entry [2]"),
        ("b2", np.s_[:], "everywhere"),
    ],
)
def test_block_slab_and_entry_are_named(name, index, place):
    report = check(all_sines, lambda p: cosines(p, times(name, index, 1.2)), network())
    assert report.wrong == [name]
    assert next(block.place for block in report.blocks if block.name == name) == place
    mask = np.zeros(NETWORK[name], bool)
    mask[index] = True
    assert all(entry.name == name and mask[entry.index] for entry in report.worst)
    assert len(report.worst) == min(10, mask.sum())


def test_two_blocks_are_named():
    def change(g):
        times("W1", (0, 0), 1.5)(g)
        times("b2", 1, 0.5)(g)

    report = check(all_sines, lambda p: cosines(p, change), network())
    assert report.wrong == ["W1", "b2"]
    assert {(entry.name, entry.index) for entry in report.worst} == {("W1", (0, 0)), ("b2", (1,))}


@pytest.mark.parametrize("mode", ["auto", "full"])
def test_the_worst_entries_are_listed_with_their_numbers(mode):
    def change(g):
        g["W1"][2, 1] += 3.0
        g["W1"][0, 0] += 1.0

    p = network()
    report = check(all_sines, lambda p: cosines(p, change), p, mode=mode)
    first, second = report.worst
    assert (first.name, first.index, second.index) == ("W1", (2, 1), (0, 0))
    assert first.yours == np.cos(p["W1"][2, 1]) + 3.0
    assert abs(first.numeric - np.cos(p["W1"][2, 1])) <= first.tolerance < 1e-6


@pytest.mark.parametrize("mode", ["auto", "full"])
def test_the_worst_entries_are_ranked_by_the_size_of_their_blocks(mode):
    """An error of 1e-6 in a block of some 1e-6 is worse than one of 0.01 in a block of some 1."""
    x = {"a": X, "b": X[::-1] + 0.1}

    def df(p):
        g = {"a": np.cos(p["a"]), "b": 1e-6 * np.cos(p["b"])}
        g["a"][2] += 0.01
        g["b"][3] += 1e-6
        return g

    report = check(lambda p: sines(p["a"]) + 1e-6 * sines(p["b"]), df, x, mode=mode)
    assert [(entry.name, entry.index) for entry in report.worst] == [("b", (3,)), ("a", (2,))]
    errors = {block.name: block.error for block in report.blocks}
    assert errors["a"] == pytest.approx(0.01 / np.linalg.norm(np.cos(x["a"])), rel=1e-4)
    assert errors["b"] == pytest.approx(1 / np.linalg.norm(np.cos(x["b"])), rel=1e-3)


@pytest.mark.parametrize("mode", ["auto", "full"])
@pytest.mark.parametrize("n", [3, 100])
def test_entries_are_told_in_the_units_of_x(n, mode):
    """In units of a power of two, all numbers are the same ones in those units, bit for bit."""
    units = 2.0**20
    x = np.linspace(-1.5, 2.5, n)
    plain = check(sines, off_by([1], 0.3), x, mode=mode)
    other = check(lambda x: sines(x / units), lambda x: off_by([1], 0.3)(x / units) / units, x * units, mode=mode)
    assert len(plain.worst) == len(other.worst) == 1
    assert plain.worst[0].tolerance > 0
    for part in ("yours", "numeric", "tolerance"):
        assert getattr(other.worst[0], part) * units == getattr(plain.worst[0], part)
    assert other.blocks == plain.blocks


@pytest.mark.parametrize("wrong", [2, 5, 20])
def test_a_few_wrong_entries_among_many_are_found_by_halves(wrong):
    n = 10**4
    places = np.sort(np.random.default_rng(wrong).choice(n, wrong, replace=False))
    report = check(sines, off_by(places, 0.3), np.random.default_rng(0).standard_normal(n))
    assert report.blocks[0].place == f"{wrong} of {n} entries"
    assert {entry.index[0] for entry in report.worst} <= set(places.tolist())
    assert len(report.worst) == min(wrong, 10)
    assert report.nfev < n / 2


@pytest.mark.parametrize("seen", [[700], [700, 900]])
@pytest.mark.parametrize("shape", [(1000,), (20, 50)])
@pytest.mark.parametrize("end", [0, 1, -1])
def test_errors_that_cancel_along_the_first_direction_are_not_overlooked(seen, shape, end):
    """Neither a ramp nor halves show them: a second direction does, and no place is said to be the only one.

    Where that direction leads out of the domain of f, it does not confirm the place either.
    """
    x, points = np.linspace(0.5, 1.5, 1000).reshape(shape), []
    right = check(lambda x: points.append(x.flatten()) or sines(x), np.cos, x)
    assert right.nfev == len(points) == 15
    first = points[-7] - points[-12]  # from the first to the last of its six points
    hidden = np.array([100, 170, 230])
    ramp = np.array([first[hidden], first[hidden] * hidden])
    error = np.zeros(1000)
    error[hidden] = np.linalg.svd(ramp / np.abs(ramp).max(axis=1, keepdims=True))[2][-1]
    assert abs(error @ first) < 1e-12 * np.abs(first).max()
    error[seen] = 0.5
    f = lambda x: sines(x) if end * (x.flat[0] - 0.5) >= 0 else np.nan  # noqa: E731
    report = check(f, lambda x: np.cos(x) + error.reshape(shape), x, jitter=False)
    assert report.verdict == "fail"
    assert {np.ravel_multi_index(entry.index, shape) for entry in report.worst} <= {*seen, *hidden}
    assert report.blocks[0].place.endswith(" entries looked at")


@pytest.mark.parametrize(("wrong", "named"), [(4, "a, b, c, d is"), (5, "a, b, c, d, ... is")])
def test_of_many_wrong_blocks_four_are_named(wrong, named):
    x = {name: X + i for i, name in enumerate("abcdef")}
    factors = dict(zip(x, [1.3] * wrong + [1.0] * (6 - wrong), strict=True))
    report = check(
        lambda p: sum(sines(part) for part in p.values()),
        lambda p: {name: factors[name] * np.cos(part) for name, part in p.items()},
        x,
    )
    assert report.wrong == list("abcdef")[:wrong]
    assert f"the gradient of {named} wrong" in report.reason


def test_a_large_block_behind_another():
    rng = np.random.default_rng(0)
    x = {"b": rng.standard_normal(30), "w": rng.standard_normal((40, 25))}
    report = check(
        lambda p: sines(p["b"]) + sines(p["w"]),
        lambda p: {"b": np.cos(p["b"]), "w": 1.5 * np.cos(p["w"])},
        x,
    )
    assert report.wrong == ["w"]
    assert report.blocks[1].place == "in all 64 entries looked at"
    assert report.blocks[1].error == pytest.approx(0.5, rel=1e-6)
    assert len({entry.index for entry in report.worst}) == 10
    for entry in report.worst:
        assert entry.name == "w"
        assert entry.yours == 1.5 * np.cos(x["w"][entry.index])
        assert abs(entry.numeric - np.cos(x["w"][entry.index])) <= entry.tolerance < 1e-4


def test_a_wrong_row_of_a_large_block():
    def df(x):
        g = np.cos(x)
        g[17] *= 2
        return g

    report = check(sines, df, np.random.default_rng(0).standard_normal((60, 50)))
    assert report.blocks[0].place == "row 17"


def test_the_only_wrong_number_is_not_called_the_whole():
    """One number that is wrong is found without a look at the other blocks, which are right all the same."""
    x = {"w": np.linspace(0.1, 3, 40), "t": np.array(0.7)}
    report = check(
        lambda p: np.sum(np.sin(p["w"] * p["t"])),
        lambda p: {"w": p["t"] * np.cos(p["w"] * p["t"]), "t": -np.sum(p["w"] * np.cos(p["w"] * p["t"]))},
        x,
    )
    assert report.wrong == ["t"]
    assert [cause.number for cause in report.causes] == [2]
    assert report.nfev < 40


def network_in_single_precision(rng):
    """Return a loss with relus, and its gradient with a mean for a sum in the first bias."""
    X, y = rng.normal(size=(10, 6)).astype(np.float32), rng.integers(0, 3, 10)
    shapes = {"W1": (6, 8), "b1": (8,), "W2": (8, 3), "b2": (3,)}

    def forward(p):
        z = X @ p["W1"] + p["b1"]
        h = np.maximum(z, 0)
        s = h @ p["W2"] + p["b2"]
        return z, h, s - np.log(np.sum(np.exp(s), axis=1, keepdims=True))

    def df(p):
        z, h, log_p = forward(p)
        d = (np.exp(log_p) - np.eye(3, dtype=np.float32)[y]) / np.float32(10)
        below = d @ p["W2"].T * (z > 0)
        return {"W1": X.T @ below, "b1": below.mean(axis=0), "W2": h.T @ d, "b2": d.sum(axis=0)}

    x = {name: (0.6 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    return lambda p: -np.mean(forward(p)[-1][np.arange(10), y]), df, x


def test_a_block_that_cannot_be_told_is_not_called_wrong():
    """Many kinks and rounding: directions of a right block may be unclear, and its entries tell no mistake."""
    unclear = []
    for seed in range(40):
        f, df, x = network_in_single_precision(np.random.default_rng(seed))
        report = check(f, df, x, rng=seed)
        unclear += [report.wrong] if report.verdict == "fail" and report.wrong != ["b1"] else []
    assert unclear == []


def test_blocks_that_are_many_are_asked_by_halves():
    x = {f"layer{i}": np.random.default_rng(i).standard_normal(2) for i in range(100)}
    report = check(all_sines, lambda p: cosines(p, times("layer42", np.s_[:], 1.5)), x)
    assert report.wrong == ["layer42"]


# ---------------------------------------------------------------------------------------------------------------------
# Structures, arguments, ways to call
# ---------------------------------------------------------------------------------------------------------------------

STRUCTURES = {
    "number": 0.7,
    "int": 3,
    "list": [0.7, 0.2, -0.4],
    "0-d": np.array(0.7),
    "matrix": np.arange(1.0, 7).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(1.0, 7).reshape(2, 3)),
    "strided": np.arange(1.0, 13)[::2],
    "float32": np.arange(1, 5, dtype=np.float32),
    "dict": {"a": np.array([0.3, 0.4]), "b": 0.5},
    "nested": {"layers": [{"W": np.ones((2, 2)) * [[1, 2], [3, 4.5]], "b": np.array(0.2)}, (np.array([1.5]), 2.0)]},
    "mixed": [np.arange(1.0, 4), np.arange(1, 4, dtype=np.float32)],
    "empty block": {"a": np.array([0.3, 0.4]), "none": np.zeros(0)},
}


@pytest.mark.parametrize("x", STRUCTURES.values(), ids=STRUCTURES)
def test_structures_of_x(x):
    def f(x):
        return float(sum(np.sum(np.sin(leaf)) for _, leaf in leaves(x)))

    def df(x, factor=1.0):
        return rebuild(x, {name: factor * np.cos(leaf) for name, leaf in leaves(x)}.__getitem__)

    if isinstance(x, list) and isinstance(x[0], float):  # an array, for NumPy and here
        x, f, df = x, sines, lambda x, factor=1.0: factor * np.cos(x)
    assert check(f, df, x).passed
    report = check(f, lambda x: df(x, 1.5), x)
    assert report.verdict == "fail"
    is_tree = isinstance(x, (dict, list)) and not isinstance(x[next(iter(x))] if isinstance(x, dict) else x[0], float)
    names = [name for name, leaf in leaves(x) if np.size(leaf)] if is_tree else ["x"]
    assert sorted(report.wrong) == sorted(names)


def test_names_are_paths():
    x = {"layers": [{"W": np.ones((2, 2)) * [[1, 2], [3, 4.5]], "b": np.array([0.2, 0.1])}, (np.array([1.5, 1.0]),)]}

    def df(x):
        g = cosines(x)
        g["layers"][0]["b"][1] += 1
        return g

    report = check(all_sines, df, x)
    assert report.wrong == ["layers/0/b"]
    assert report.worst[0].place == "layers/0/b[1]"
    assert [block.name for block in report.blocks] == ["layers/0/W", "layers/0/b", "layers/1/0"]


def test_args_go_to_f_and_df():
    def f(x, a, b):
        return np.sum(a * np.sin(x)) + b

    assert check(f, lambda x, a, b: a * np.cos(x), X, args=(2.5, 7.0)).passed
    assert check(f, lambda x, a, b: b * np.cos(x), X, args=(2.5, 7.0)).verdict == "fail"


def test_a_function_that_returns_value_and_gradient():
    """With df=True each call counts as one of f and, in the preflight, one of the gradient."""
    both = Counted(lambda x: (sines(x), np.cos(x)))
    report = check(both, True, X)
    assert report.passed
    assert report.nfev == both.n == 18
    assert report.ngev == 3
    wrong = check(lambda x: (sines(x), -np.cos(x)), True, X)
    assert wrong.causes[0].name == "sign"


def test_a_vectorized_function_is_called_with_many_points():
    shapes = []

    def f(x):
        shapes.append(x.shape)
        return np.sin(x).sum(axis=-1)

    assert check(f, np.cos, X, vectorized=True).passed
    assert (6, 5) in shapes
    assert check(f, lambda x: -np.cos(x), X, vectorized=True).verdict == "fail"


def test_modes():
    def df(x):
        return np.where(np.arange(5) == 2, 1.5, 1.0) * np.cos(x)

    directions, auto, full = (check(sines, df, X, mode=mode) for mode in ("directions", "auto", "full"))
    assert {report.verdict for report in (directions, auto, full)} == {"fail"}
    assert directions.blocks[0].verdict == "unclear"
    assert directions.worst == []
    assert auto.worst[0].index == full.worst[0].index == (2,)
    assert check(sines, np.cos, X, mode="full").blocks[0].error < 1e-8  # every entry was looked at


# ---------------------------------------------------------------------------------------------------------------------
# Bounds
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["inside", "low", "high", "narrow", "one fixed"])
def test_f_is_never_called_outside_of_the_bounds(where):
    x = {
        "inside": X / 10,
        "low": np.zeros(5),
        "high": np.ones(5),
        "narrow": np.full(5, 0.5),
        "one fixed": X / 10 + 0.5,
    }[where]
    low, high = {"narrow": (0.5 - 1e-9, 0.5 + 1e-9)}.get(where, (-0.2 if where == "inside" else 0.0, 1.0))
    if where == "one fixed":
        low, high = np.zeros(5), np.ones(5)
        low[1] = high[1] = x[1]
    points = []

    def f(x):
        points.append(x.copy())
        return np.sum(np.sin(x + 0.3)) + np.sum(x**2)

    def df(x):
        return np.cos(x + 0.3) + 2 * x

    report = check(f, df, x, bounds=(low, high))
    assert report.passed
    assert report.power < (1e-2 if where == "narrow" else 1e-6)
    seen = np.array(points)
    assert (seen >= low).all()
    assert (seen <= high).all()
    assert len(np.unique(seen, axis=0)) > 6
    assert check(f, lambda x: 1.3 * df(x), x, bounds=(low, high)).verdict == "fail"


def test_bounds_in_the_manner_of_scipy():
    class Bounds:
        lb, ub = 0.0, np.full(5, 3.0)

    assert check(lambda x: np.sum(np.sqrt(x)), lambda x: 0.5 / np.sqrt(x), np.abs(X), bounds=Bounds()).passed


# ---------------------------------------------------------------------------------------------------------------------
# No trace, no chance
# ---------------------------------------------------------------------------------------------------------------------


def test_x_and_args_stay_as_they_were():
    """Whatever f and df do to what they are given."""
    x = {"a": X.copy(), "b": np.float32([1, 2])}
    A = X.copy()
    before = [x["a"].tobytes(), x["b"].tobytes(), A.tobytes()]

    def f(p, A):
        value = np.sum(np.sin(p["a"])) + np.sum(p["b"])
        p["a"][:] = 7
        p["b"] = None
        A += 1
        return value

    def df(p, A):
        g = {"a": np.cos(p["a"]), "b": np.ones(2)}
        A[:] = 0
        p.clear()
        return g

    check(f, df, x, args=(A,))
    assert [x["a"].tobytes(), x["b"].tobytes(), A.tobytes()] == before


@pytest.mark.parametrize("calls", [0, 1, 2, 5, 12])
def test_what_f_raises_reaches_the_caller_and_x_is_unchanged(calls):
    x = X.copy()

    def f(x):
        counted.append(0)
        x[0] += 0.0
        if len(counted) > calls:
            x[:] = 99
            raise KeyError("mine")
        return sines(x)

    counted = []
    with pytest.raises(KeyError, match="mine"):
        check(f, np.cos, x)
    with pytest.raises(KeyError, match="its"):
        check(sines, lambda x: {}["its"], x)
    assert x.tobytes() == X.tobytes()


def test_the_same_seed_gives_the_same_report():
    def df(x):
        return np.cos(x) * np.where(x > 1, 1.1, 1)

    assert str(check(sines, df, X, rng=5)) == str(check(sines, df, X, rng=5))
    assert check(sines, np.cos, X, rng=5).to_dict() == check(sines, np.cos, X, rng=5).to_dict()
    assert check(sines, np.cos, X, rng=5).power != check(sines, np.cos, X, rng=6).power


def test_the_seed_is_in_the_report():
    assert check(sines, np.cos, X).seed == 0
    assert check(sines, np.cos, X, rng=np.int64(41)).seed == 41
    assert "seed 41" in str(check(sines, np.cos, X, rng=41))
    by_generator = check(sines, np.cos, X, rng=np.random.default_rng(1))
    assert by_generator.seed is None
    assert "seed" not in str(by_generator)


def test_the_state_of_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    check(sines, np.cos, X)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_two_directions_are_independent():
    """Two errors that cancel along one direction of signs do not along the other: none of 100 pairs goes unseen."""
    for seed in range(100):
        report = check(sines, off_by(np.array([0, 1]), [0.1, -0.1]), np.full(2, 0.8), rng=seed, jitter=False)
        assert report.verdict == "fail"


# ---------------------------------------------------------------------------------------------------------------------
# Native functions
# ---------------------------------------------------------------------------------------------------------------------


SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_size_t, ctypes.c_void_p)


@SIGNATURE
def native_cubes(x, n, data):
    return sum(x[i] ** 3 for i in range(n))


def test_a_native_function_is_checked_as_any_other():
    right, wrong = check(native_cubes, lambda x: 3 * x**2, X), check(native_cubes, lambda x: 2 * x**2, X)
    assert (right.verdict, wrong.verdict) == ("pass", "fail")
    assert right.nfev == check(lambda x: np.sum(x**3), lambda x: 3 * x**2, X).nfev
    numeric = [entry.numeric for entry in wrong.worst]
    assert numeric == pytest.approx([3 * X[entry.index[0]] ** 2 for entry in wrong.worst], rel=1e-6)


def test_products_of_a_native_function():
    def vjp(x, u, factor=3):
        return u * factor * x**2

    assert fl.check_products(native_cubes, X, vjp=vjp).passed
    assert not fl.check_products(native_cubes, X, vjp=lambda x, u: vjp(x, u, 2)).passed
    assert fl.check_jacobian(native_cubes, lambda x: 3 * x**2, X).passed


def test_a_native_function_of_scipy_and_numba():
    LowLevelCallable = pytest.importorskip("scipy").LowLevelCallable
    numba = pytest.importorskip("numba")
    from numba import types

    pointer = types.CPointer(types.double)

    @numba.cfunc(types.double(pointer, types.uintp, types.CPointer(types.void)))
    def squares(x, n, _):
        total = 0.0
        for i in range(n):
            total += x[i] ** 2
        return total

    for native in (squares, LowLevelCallable(squares.ctypes)):
        assert check(native, lambda x: 2 * x, X).passed
        assert check(native, lambda x: x, X).verdict == "fail"
