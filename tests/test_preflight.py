"""What is asked before any derivative: every finding of the preflight, and nothing found where nothing is wrong."""

import numpy as np
import pytest

import fallline as fl
from fallline.preflight import Calls, preflight
from fallline.space import Space

X = np.array([0.3, -1.2, 2.0])
TREE = {"W": np.arange(1.0, 7).reshape(2, 3), "b": np.array([0.5, -0.25])}
DATA = np.arange(20.0).reshape(5, 4) % 7


def sines(x):
    return float(np.sum(np.sin(x)))


def tree_f(p):
    return np.sum(np.sin(p["W"])) + np.sum(np.sin(p["b"]))


def tree_df(p):
    return {"W": np.cos(p["W"]), "b": np.cos(p["b"])}


def check(f, df, x=X, **options):
    return fl.check_gradient(f, df, x, **options)


def found(report, number):
    """Assert that there is one cause, this one; return its text."""
    assert not report.passed
    assert [cause.number for cause in report.causes] == [number]
    assert report.blocks == report.worst == []  # nothing was compared
    return report.causes[0].text


# ---- 26: changed in place


def test_f_that_changes_x():
    def f(x):
        x *= 2
        return np.sum(np.sin(x / 2))

    assert "f changes x in place. Work on a copy." in found(check(f, np.cos), 26)


def test_df_that_changes_x():
    def df(x):
        np.cos(x, out=x)
        return x

    assert "df changes x in place" in found(check(sines, df), 26)


def test_which_array_is_changed():
    def df(p):
        g = tree_df(p)
        p["b"] += 1
        return g

    assert "df changes x in place, in b" in found(check(tree_f, df, TREE), 26)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_changes_are_seen_in_both_precisions(dtype):
    def f(x):
        value = np.sum(np.sin(x))
        x[1] = np.nextafter(x[1], dtype(9))
        return value

    assert found(check(f, np.cos, X.astype(dtype)), 26)


def test_a_changed_argument():
    A = DATA.copy()

    def f(x, A):
        value = np.sum(np.sin(x)) + A[0, 0]
        A -= 1
        return value

    assert "f changes args[0] in place" in found(check(f, lambda x, A: np.cos(x), args=(A,)), 26)
    assert (A == DATA).all()


def test_f_and_df_that_both_do():
    def f(x):
        value = np.sum(np.sin(x))
        x[0] = 7
        return value

    def df(x):
        g = np.cos(x)
        x[1] = 7
        return g

    assert "f changes x in place and df changes x in place" in found(check(f, df), 26)


# ---- 27, 28, 30: state


def test_a_stale_cache():
    cache = {}

    def f(x):
        cache["x"] = x.copy()
        return np.sum(np.sin(x))

    assert "after f was called at another point" in found(check(f, lambda x: np.cos(cache["x"])), 27)


def test_a_buffer_that_is_not_zeroed():
    buffer = np.zeros(3)

    def df(x):
        buffer[:] += np.cos(x)
        return buffer.copy()

    assert "df adds to what it returned before" in found(check(sines, df), 28)


def test_a_gradient_that_is_one_call_late():
    """It is right as long as x stays the same."""
    last = [X]

    def df(x):
        last.append(x.copy())
        return np.cos(last[-2])

    report = check(sines, df)
    assert "after df was called at another point" in found(report, 27)
    assert report.reason == "the gradient depends on the last call of df"


def test_a_buffer_that_is_returned():
    buffer = np.zeros(3)

    def df(x):
        buffer[:] = np.cos(x)
        return buffer

    assert "Return a copy." in found(check(sines, df), 30)


def test_a_buffer_of_one_block():
    buffer = np.zeros(2)

    def df(p):
        buffer[:] = np.cos(p["b"])
        return {"W": np.cos(p["W"]), "b": buffer}

    found(check(tree_f, df, TREE), 30)


# ---- 34: chance


@pytest.mark.parametrize("level", [1e-9, 1e-12])
def test_a_random_f(level):
    rng = np.random.default_rng(0)
    report = check(lambda x: sines(x) + level * rng.standard_normal(), np.cos)
    assert report.verdict == "inconclusive"
    assert "called again" in found(report, 34)


@pytest.mark.parametrize("level", [1.0, 1e-12])
def test_a_random_gradient(level):
    rng = np.random.default_rng(0)
    report = check(sines, lambda x: np.cos(x) * (1 - level * (rng.random(3) > 0.5)))
    assert report.verdict == "fail"
    assert "two different gradients" in found(report, 34)


# ---- 20, 22, 23: shapes


@pytest.mark.parametrize(
    ("W", "b", "number", "text"),
    [
        ((3, 2), (2,), 20, "it is transposed"),
        ((2, 3), (5, 2), 22, "it is not summed over its first axis, of 5"),
        ((5, 2, 3), (2,), 22, "it is not summed over its first axis, of 5"),
        ((2, 1), (2,), 23, "a broadcast is summed over the wrong axes"),
        ((2, 3), (1,), 23, "a broadcast is summed over the wrong axes"),
    ],
)
def test_shapes_that_tell_a_cause(W, b, number, text):
    report = check(tree_f, lambda p: {"W": np.ones(W), "b": np.ones(b)}, TREE)
    assert report.verdict == "fail"
    assert text in found(report, number)
    block, got, expected = ("W", W, (2, 3)) if W != (2, 3) else ("b", b, (2,))
    assert report.causes[0].block == block
    assert all(part in report.reason for part in (block, str(got), str(expected)))


def test_a_batch_that_is_not_summed_names_the_argument():
    f, df = lambda x, b, A: np.sum(A[:, :3] @ x), lambda x, b, A: A[:, :3]
    assert "as many as args[1] has rows" in found(check(f, df, np.arange(3.0), args=(np.ones(4), DATA)), 22)


@pytest.mark.parametrize("shape", [(4,), (7, 7), (3, 2, 2), (0,)])
def test_other_shapes(shape):
    report = check(sines, lambda x: np.ones(shape))
    assert report.verdict == "fail"
    assert str(shape) in report.reason
    assert report.causes == []


# ---- names


def test_missing_names():
    report = check(tree_f, lambda p: {"W": np.cos(p["W"])}, TREE)
    assert (report.verdict, report.causes) == ("fail", [])
    assert report.reason == "the gradient has nothing for 'b'"
    assert "nothing for 'b'" in check(tree_f, lambda p: {**tree_df(p), "b": None}, TREE).reason


def test_surplus_names():
    report = check(tree_f, lambda p: {**tree_df(p), "bias": np.ones(2)}, TREE)
    assert report.verdict == "fail"
    assert report.reason == "the gradient has 'bias', which x has not"


def test_nothing_is_returned():
    report = check(sines, lambda x: None)
    assert report.verdict == "fail"
    assert "nothing" in report.reason


# ---- numbers that are none


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite(value):
    def df(p):
        g = tree_df(p)
        g["W"][1, 2] = value
        return g

    report = check(tree_f, df, TREE)
    assert report.verdict == "fail"
    assert report.reason == f"the gradient is {value} at W[1, 2], where f is finite"


# ---- nothing is found where nothing is wrong


@pytest.mark.parametrize(
    ("f", "df", "x"),
    [
        (lambda x: np.sum(x**2) / 2, lambda x: x, X),  # x itself
        (lambda x: np.sum(x**2) / 2, lambda x: x[:], X),
        (lambda x: np.sum(x), lambda x: np.broadcast_to(1.0, x.shape), X),
        (sines, lambda x: np.cos(x).tolist(), X),
        (sines, lambda x: tuple(np.cos(x)), X),
        (lambda x: np.sum(x) * 3, lambda x: [3, 3, 3], X),
        (lambda x: np.sum(x) * 3, lambda x: np.full(3, 3, np.int8), X),
        (lambda x: np.sum(x), lambda x: np.ones(3, bool), X),
        (sines, lambda x: np.asfortranarray(np.cos(x)), np.ones((2, 3)) * X),
        (np.sin, lambda x: np.array([np.cos(x)]), 0.7),
        (lambda x: np.sin(x[0]), lambda x: np.cos(x[0]), np.array([0.7])),
        (lambda x: np.array([[np.sum(np.sin(x))]]), np.cos, X),  # one number, in brackets
        (lambda x: int(np.floor(1.5)), np.zeros_like, X),
        (tree_f, lambda p: dict(reversed(tree_df(p).items())), TREE),
        (lambda p: np.sum(np.sin(p[0])) + p[1], lambda p: (np.cos(p[0]), 1), [X, 0.5]),
        (lambda p: np.sum(p["a"]), lambda p: {"a": p["a"] * 0 + 1}, {"a": X}),
    ],
)
def test_what_is_right_is_not_found_fault_with(f, df, x):
    report = fl.check_gradient(f, df, x)
    assert report.passed, report
    assert report.causes == []


def test_state_that_does_no_harm():
    """A cache keyed by the point, a buffer that is copied, a counter, an in-place change of a copy."""
    cache, buffer = {}, np.zeros(3)

    def f(x):
        cache.clear()
        cache[x.tobytes()] = np.cos(x)
        x = x.copy()
        x += 1
        return np.sum(np.sin(x - 1))

    def df(x):
        buffer[:] = cache.get(x.tobytes(), np.cos(x))
        return buffer.copy()

    assert check(f, df).passed


def test_arguments_with_nan_are_not_called_changed():
    A = np.array([np.nan, 1.0])
    for given in (A, np.repeat(A, 2)[::2]):  # with gaps in memory, too
        assert check(lambda x, A: np.sum(x**2) * A[1], lambda x, A: 2 * x * A[1], args=(given,)).passed


def test_rounding_of_threads_is_no_randomness():
    """Sums in another order differ by a few roundings from call to call."""
    rng = np.random.default_rng(0)

    def f(x):
        return np.sum(np.sin(x)[rng.permutation(len(x))])

    def df(x):
        return np.cos(x) * (1 + np.finfo(float).eps * rng.integers(-2, 3, len(x)))

    x = np.random.default_rng(1).standard_normal(1000)
    assert check(f, df, x).passed
    x[0] = np.pi / 2  # what is left of terms that cancel is rounding alone
    assert check(f, lambda x: df(x) + np.finfo(float).eps * rng.integers(-2, 3, len(x)), x).passed


def test_the_precision_of_a_gradient():
    for x in (np.array([0.3]), 0.3):
        calls = Calls("check", np.sin, np.cos, (), Space("check", x))
        for given in (np.float32(0.5), np.float32([0.5]).reshape(np.shape(x)), np.float64(0.5)):
            flat, eps = calls.flatten(given)
            assert flat.tolist() == [0.5]
            assert eps == np.finfo(given.dtype).eps


def test_the_calls_are_counted():
    calls = Calls("check", sines, np.cos, (), Space("check", X))
    before = preflight(calls, X + 1e-6)
    assert (calls.nfev, calls.ngev) == (3, 3)
    assert (before.verdict, before.causes) == (None, [])
    assert before.value == sines(X)
    assert (before.gradient == np.cos(X)).all()
    assert before.eps == np.finfo(np.float64).eps
