"""Points at which a gradient cannot be told from others, or from a wrong one: kinks, and values that hide mistakes."""

import numpy as np
import pytest

import fallline as fl

KINK = "x lies on a kink of f, and the gradient is between the one-sided derivatives there"


def relu(x):
    return np.maximum(x, 0)


def step(at):
    """Return the derivative of relu, with this value at 0."""
    return lambda x: np.where(x > 0, 1.0, np.where(x < 0, 0.0, at))


def sign(at):
    return lambda x: np.where(x == 0, at, np.sign(x))


def inside(at):
    """Return the derivative of clip to [0, 1], with this value at 0 and 1."""
    return lambda x: np.where((x == 0) | (x == 1), at, ((x > 0) & (x < 1)) * 1.0)


# name: function, its derivative given that at the kink, the ends of the interval, where the kink is
FUNCTIONS = {
    "relu": (relu, step, 0, 1, 0.0),
    "abs": (np.abs, sign, -1, 1, 0.0),
    "clip at 0": (lambda x: np.clip(x, 0, 1), inside, 0, 1, 0.0),
    "clip at 1": (lambda x: np.clip(x, 0, 1), inside, 0, 1, 1.0),
    "leaky relu": (
        lambda x: np.where(x > 0, x, 0.1 * x),
        lambda at: lambda x: np.where(x > 0, 1.0, np.where(x < 0, 0.1, at)),
        0.1,
        1,
        0.0,
    ),
}
POINTS = {
    "number": lambda at: at,
    "two": lambda at: np.full(2, at),
    "among others": lambda at: np.array([at, 0.7, -0.4]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("where", POINTS)
@pytest.mark.parametrize("weight", [0, 1, 0.5, 0.3])
def test_any_subgradient_is_accepted_with_a_note(name, where, weight):
    f, derivative, low, high, at = FUNCTIONS[name]
    df = derivative((1 - weight) * low + weight * high)
    report = fl.check_gradient(lambda x: np.sum(f(x)), df, POINTS[where](at))
    assert report.verdict == "pass"
    assert KINK in report.notes
    assert report.causes == report.wrong == []


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("where", POINTS)
@pytest.mark.parametrize("beyond", [-0.5, -0.01, 1.01, 1.5])
def test_what_lies_outside_of_the_one_sided_derivatives_fails(name, where, beyond):
    f, derivative, low, high, at = FUNCTIONS[name]
    df = derivative((1 - beyond) * low + beyond * high)
    report = fl.check_gradient(lambda x: np.sum(f(x)), df, POINTS[where](at))
    assert report.verdict == "fail"
    assert report.wrong == ["x"]
    if where == "among others":
        assert [entry.index for entry in report.worst] == [(0,)]


@pytest.mark.parametrize("f", [relu, np.abs], ids=["relu", "abs"])
def test_half_way_is_never_called_exact(f):
    """Measured: scipy.differentiate gives relu'(0) = 0.5 and abs'(0) = 0.0 with success and an error of 0."""
    derivative = step(0.5) if f is relu else sign(0.0)
    report = fl.check_gradient(f, derivative, 0.0)
    assert KINK in report.notes
    assert KINK not in fl.check_gradient(f, derivative, 1e-3).notes


@pytest.mark.parametrize("kind", ["first", "shared", "last"])
def test_tied_maxima(kind):
    """Any way to share the gradient among k equal maxima is right: 1 for one of them, or 1/k."""

    def df(x):
        top = x == x.max()
        place = {"first": np.argmax(top), "last": len(x) - 1 - np.argmax(top[::-1])}.get(kind)
        return top / top.sum() if kind == "shared" else np.where(np.arange(len(x)) == place, 1.0, 0.0)

    report = fl.check_gradient(np.max, df, np.array([0.3, 1.2, 1.2, 1.2, -0.5]))
    assert report.passed
    assert KINK in report.notes
    double = fl.check_gradient(np.max, lambda x: 2 * df(x), np.array([0.3, 1.2, 1.2, 1.2, -0.5]))
    assert double.verdict == "fail"


@pytest.mark.parametrize("distance", [1e-12, 1e-9, 1e-6, 1e-4, 1e-2])
def test_a_kink_nearby_is_no_excuse(distance):
    """Beside a kink the derivative is one number."""
    x = np.array([distance, 0.7, -0.4])

    def f(x):
        return np.sum(np.abs(x)) + np.sum(x**2)

    assert fl.check_gradient(f, lambda x: np.sign(x) + 2 * x, x).passed
    wrong = fl.check_gradient(f, lambda x: np.where(np.abs(x) < 0.1, 0.0, np.sign(x)) + 2 * x, x)
    assert wrong.verdict == "fail"
    assert wrong.worst[0].index == (0,)


def test_a_second_derivative_that_jumps_is_no_kink():
    report = fl.check_gradient(lambda x: np.sum(x * np.abs(x)), lambda x: 2 * np.abs(x), np.array([0.0, 0.5, -0.3]))
    assert report.passed
    assert KINK not in report.notes


def test_every_mode_accepts_a_subgradient():
    for mode in ("auto", "directions", "full"):
        report = fl.check_gradient(lambda x: np.sum(relu(x)), step(0.3), np.array([0.0, 0.4]), mode=mode)
        assert report.passed, mode
        assert KINK in report.notes


def test_f_that_is_rounded_to_steps_is_constant_nearby():
    """Its values follow the gradient from afar; near x they do not move."""

    def f(x):
        return np.round(1e6 * np.sum(np.sin(x))) / 1e6

    x = np.array([0.3, -1.2, 2.0])
    assert fl.check_gradient(f, np.cos, x).passed
    assert fl.check_gradient(f, lambda x: 2 * np.cos(x), x).verdict == "fail"


# ---------------------------------------------------------------------------------------------------------------------
# Points that hide mistakes
# ---------------------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(2)
DATA, TARGET = RNG.standard_normal((8, 3)), RNG.standard_normal(8)


def penalised(p):
    r = DATA @ p["w"] + p["b"] - TARGET
    return np.mean(r**2) + 0.3 * (np.sum(p["w"] ** 2) + p["b"] ** 2)


def without_penalty_of_the_bias(p):
    r = DATA @ p["w"] + p["b"] - TARGET
    return {"w": 2 * DATA.T @ r / 8 + 0.6 * p["w"], "b": 2 * np.mean(r)}


def test_a_penalty_that_is_missing_where_the_parameter_is_zero():
    """The mistake of Burton2000/CS231n-2017#9, which passed at 1e-8: the L2 term of a bias that is 0."""
    x = {"w": np.array([0.3, -0.5, 1.1]), "b": np.array(0.0)}
    report = fl.check_gradient(penalised, without_penalty_of_the_bias, x)
    assert report.verdict == "fail"
    assert report.wrong == ["b"]
    assert any("b is 0" in note for note in report.notes)
    assert any("found at a point near x" in note for note in report.notes)
    there = fl.check_gradient(penalised, without_penalty_of_the_bias, x, jitter=False)
    assert there.passed
    assert any("b is 0" in note for note in there.notes)


def test_a_scale_that_is_missing_where_it_is_one():
    """The mistake of Knet.jl#288: gamma left out of the gradient, and initialised to 1."""

    def f(p):
        return np.sum(p["gamma"] * np.sin(p["x"]))

    def df(p):
        return {"gamma": np.sin(p["x"]), "x": np.cos(p["x"])}

    x = {"gamma": np.ones(3), "x": np.array([0.2, 0.5, 1.1])}
    report = fl.check_gradient(f, df, x)
    assert report.wrong == ["x"]
    assert any("gamma is 1" in note for note in report.notes)
    assert fl.check_gradient(f, df, x, jitter=False).passed


@pytest.mark.parametrize(
    ("x", "args", "note"),
    [
        (np.zeros(3), (), "x is 0"),
        (np.ones(3), (), "x is 1"),
        (np.full(3, 0.4), (), "x is the same in all entries"),
        (np.array([[1.0, 2.0], [3.0, 4.5]]), (), "x is square"),
        ({"a": np.array([0.3, 0.2]), "bias": np.zeros(2)}, (), "bias is 0"),
        (np.array([0.3, 0.2]), (np.ones((1, 5)),), "args[0] has one row"),
    ],
)
def test_notes_on_what_may_hide_mistakes(x, args, note):
    def f(x, *args):
        return sum(np.sum(np.sin(leaf)) for leaf in (x.values() if isinstance(x, dict) else [x]))

    def df(x, *args):
        return {name: np.cos(leaf) for name, leaf in x.items()} if isinstance(x, dict) else np.cos(x)

    report = fl.check_gradient(f, df, x, args=args)
    assert report.passed
    assert any(text.startswith(note) for text in report.notes)


@pytest.mark.parametrize(
    ("n", "subject"), [(1, "W0"), (3, "each of W0, W1 and W2"), (30, "each of W0, W1, W2, W3 and 26 more")]
)
def test_what_is_true_of_many_arrays_is_one_note(n, subject):
    x = {f"W{i}": np.arange(1.0, 5).reshape(2, 2) + i for i in range(n)}
    report = fl.check_gradient(
        lambda p: sum(float(np.sum(leaf**2)) for leaf in p.values()),
        lambda p: {name: 2 * leaf for name, leaf in p.items()},
        x,
    )
    assert report.notes == [f"{subject} is square: with a transpose missing or extra, all shapes are right"]


def test_many_arrays_with_one_cause_are_counted():
    x = {f"W{i}": np.arange(1.0, 4) + i for i in range(9)}
    report = fl.check_gradient(
        lambda p: sum(float(np.sum(leaf**2)) for leaf in p.values()),
        lambda p: {name: 2 * leaf if name == "W8" else leaf for name, leaf in p.items()},
        x,
    )
    assert report.wrong == [f"W{i}" for i in range(8)]
    assert report.causes[0].text.startswith("In W0, W1, W2, W3, W4 and 3 more, g = 0.5000·D")


def test_an_ordinary_point_has_no_notes():
    x = {"W": np.arange(1.0, 7).reshape(2, 3), "b": np.array([0.3, 0.1])}
    report = fl.check_gradient(
        lambda p: np.sum(np.sin(p["W"])) + np.sum(p["b"] ** 2), lambda p: {"W": np.cos(p["W"]), "b": 2 * p["b"]}, x
    )
    assert report.notes == []


def test_the_second_point_is_left_out_where_f_is_not_finite():
    """At the very end of a domain, the point nearby may lie outside: that is no verdict on the gradient."""

    def f(x):
        return np.where(x >= 1, np.sqrt(np.maximum(x - 1, 0)) ** 3 + x, np.nan)

    report = fl.check_gradient(f, lambda x: 1.5 * np.sqrt(np.maximum(x - 1, 0)) + 1, 1.0)
    assert report.verdict in ("pass", "inconclusive")


@pytest.mark.parametrize("power", [1.5, 1.8])
def test_a_power_of_the_distance_is_no_kink(power):
    """It bends less and less: there is one derivative, 0."""
    x = np.array([0.0, 0.7])

    def df(x, off=0.0):
        return power * np.sign(x) * np.abs(x) ** (power - 1) + np.where(x == 0, off, 0.0)

    f = lambda x: np.sum(np.abs(x) ** power)  # noqa: E731
    right = fl.check_gradient(f, df, x, jitter=False)
    assert right.verdict == "pass"
    assert KINK not in right.notes
    for off in (0.3, -0.5):
        assert fl.check_gradient(f, lambda x, off=off: df(x, off), x, jitter=False).verdict == "fail"


@pytest.mark.parametrize("jitter", [True, False])
def test_where_f_is_vertical_no_gradient_is_right(jitter):
    for df in (lambda x: 1.0, lambda x: 1e3, lambda x: 0.0):
        assert fl.check_gradient(np.cbrt, df, 0.0, jitter=jitter).verdict != "pass"


@pytest.mark.parametrize("side", [1, -1])
def test_at_the_end_of_a_domain(side):
    """f is not a number on one side of x: the derivative is that on the other side, and a wrong one is found."""
    x = np.array([2.0, 3.0, 5.0])

    def f(x):
        return np.sum(x**2) if side * (x[0] - 2) >= 0 else np.nan

    assert fl.check_gradient(f, lambda x: 2 * x, x, jitter=False).verdict == "pass"
    assert fl.check_gradient(f, lambda x: (2 + 1e-5) * x, x, jitter=False).verdict == "fail"
    one = fl.check_gradient(f, lambda x: np.array([4.0, 1.0, 1.0]) * x, x, jitter=False)
    assert one.verdict == "fail"
    assert [entry.index for entry in one.worst] == [(2,), (0,), (1,)]  # off by 5, 4 and 3
    for entry in one.worst:
        assert abs(entry.numeric - 2 * x[entry.index]) <= entry.tolerance < 1e-4


@pytest.mark.parametrize("side", [1, -1])
def test_one_wrong_coordinate_at_the_end_of_a_domain(side):
    """It is found in as few looks as elsewhere, unless the second direction leads out of the domain."""
    x = np.linspace(2, 5, 1000)

    def df(x):
        g = 2 * x
        g[700] *= 2
        return g

    f = lambda x: np.sum(x**2) if side * (x[0] - 2) >= 0 else np.nan  # noqa: E731
    reports = [fl.check_gradient(f, df, x, jitter=False, rng=seed) for seed in range(4)]
    assert [report.verdict for report in reports] == ["fail"] * 4
    assert {entry.index for report in reports for entry in report.worst} == {(700,)}
    assert min(report.nfev for report in reports) < 200


def test_every_entry_is_asked_in_full():
    """Forty kinks allow for more than what one entry is off, wherever it is."""
    df = lambda x: np.where(np.arange(40) == 29, 1.5, 0.0) + np.sign(x)  # noqa: E731
    f = lambda x: np.sum(np.abs(x))  # noqa: E731
    assert fl.check_gradient(f, np.sign, np.zeros(40), mode="full", jitter=False).verdict == "pass"
    report = fl.check_gradient(f, df, np.zeros(40), mode="full", jitter=False)
    assert (report.verdict, report.wrong) == ("fail", ["x"])
    assert [entry.index for entry in report.worst] == [(29,)]
    assert "along a random direction" not in report.reason


def test_directions_alone_move_every_entry():
    points = []
    f = lambda x: points.append(x.copy()) or np.sum(np.abs(x))  # noqa: E731
    report = fl.check_gradient(f, np.sign, np.zeros(20), mode="directions", jitter=False)
    assert report.verdict == "pass"
    assert KINK in report.notes
    assert all(point.all() or not point.any() for point in points)
    assert report.nfev == len(points) < 100


@pytest.mark.parametrize("size", [1e-5, 1e-7])
def test_slopes_that_never_settle_are_not_compared(size):
    """x*sin(log(abs(x))) has slopes between -1 and 1 at every distance from 0, and so no derivative there."""
    f = lambda x: x + size * x * np.sin(np.log(abs(x))) if x else 0.0  # noqa: E731
    df = lambda x: 1 + size * (np.sin(np.log(abs(x))) + np.cos(np.log(abs(x)))) if x else 1.0  # noqa: E731
    assert fl.check_gradient(f, df, 0.0, jitter=False).verdict == "inconclusive"
    assert fl.check_gradient(f, df, 0.0).verdict == "pass"  # it is right nearby
    assert fl.check_gradient(f, lambda x: 1.1 * df(x) if x else 1.0, 0.0).verdict == "fail"


@pytest.mark.parametrize("seed", range(6))
def test_a_wrong_row_among_kinks_is_found_wherever_the_sample_lies(seed):
    """A line along the other axis crosses every row; of 64 entries anywhere, most samples have none of the five."""

    def df(x):
        g = np.sign(x)
        g[120] += 30
        return g

    x = np.random.default_rng(1).normal(size=(200, 5))
    x[::20, 2] = 0
    report = fl.check_gradient(lambda x: np.sum(np.abs(x)), df, x, jitter=False, rng=seed)
    assert report.verdict == "fail"
    assert {entry.index[0] for entry in report.worst} == {120}


def test_kinks_that_hide_each_other_along_the_first_direction():
    """There f is straight, and yours, an end of the one-sided derivatives by either entry, is far off."""
    x, points = np.array([0.0, 0.0, 1.3]), []
    right = fl.check_gradient(lambda x: points.append(x.copy()) or np.sum(np.sin(x)), np.cos, x)
    assert right.nfev == len(points) == 15
    u, v, _ = points[-7] - points[-12]  # from the first to the last of its six points
    c = abs(u / v)
    f = lambda x: abs(x[0]) - c * abs(x[1]) + np.sin(x[2])  # noqa: E731

    def df(x, beyond=1, elsewhere=1):
        a = elsewhere * np.sign(x[0]) if x[0] else beyond * np.sign(u)
        return np.array([a, -c * np.sign(x[1] or -v), np.cos(x[2])])

    for jitter in (True, False):
        report = fl.check_gradient(f, df, x, jitter=jitter)
        assert report.verdict == "pass"
        assert KINK in report.notes
        assert report.causes == report.wrong == report.worst == []
        assert fl.check_gradient(f, lambda x: df(x, beyond=1.2), x, jitter=jitter).wrong == ["x"]
    elsewhere = fl.check_gradient(f, lambda x: df(x, elsewhere=2), x)
    assert elsewhere.verdict == "fail"
    assert "found at a point near x: x itself hides it" in elsewhere.notes
    assert fl.check_gradient(f, lambda x: df(x, elsewhere=2), x, jitter=False).passed


@pytest.mark.parametrize("seed", range(3))
def test_of_many_entries_those_at_whole_numbers_are_asked_first(seed):
    """A direction sees ten kinks, which allow for more than what one of them is off."""
    x = np.random.default_rng(2).normal(size=300)
    zeros = np.arange(10, 300, 30)
    x[zeros] = 0

    def df(x):
        g = np.sign(x)
        g[zeros[4]] = 1.5
        return g

    report = fl.check_gradient(lambda x: np.sum(np.abs(x)), df, x, jitter=False, rng=seed)
    assert report.verdict == "fail"
    assert [entry.index for entry in report.worst] == [(zeros[4],)]
    right = fl.check_gradient(lambda x: np.sum(np.abs(x)), np.sign, x, jitter=False, rng=seed)
    assert right.verdict == "pass"


def test_notes_are_of_what_can_hide_mistakes():
    """One number is in no order, one by one has no transpose, and a vector of one number has no rows."""
    one = np.array([2.0])
    for x in (0.7, np.array([0.7]), np.array([[0.7]])):
        found = fl.check_gradient(lambda x, a: np.sum(np.sin(x)) * a[0], lambda x, a: np.cos(x) * a[0], x, args=(one,))
        assert found.verdict == "pass"
        assert found.notes == []
    five = {name: np.full(3, 0.7) for name in "abcde"}
    report = fl.check_gradient(
        lambda p: sum(np.sum(np.sin(part)) for part in p.values()),
        lambda p: {name: np.cos(part) for name, part in p.items()},
        five,
    )
    assert report.notes == [
        "each of a, b, c, d and 1 more is the same in all entries: a wrong order of them may not show here"
    ]
