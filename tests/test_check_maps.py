"""Checks of Jacobians, of their products with vectors, and of Hessian-vector products."""

import math

import numpy as np
import pytest

import fallline as fl

X = np.array([0.3, -1.2, 2.0, 0.7])
A = np.random.default_rng(0).standard_normal((5, 4))
TREE = {"a": X[:3].copy(), "b": {"c": np.array([[0.5, 0.2], [1.5, -0.3]])}}


def f(x):
    return np.sin(A @ x)


def jac(x):
    return np.cos(A @ x)[:, None] * A


def tree_f(p):
    return np.outer(np.sin(p["a"]), p["b"]["c"].ravel()[:2] ** 2)  # (3, 2)


def tree_jac(p):
    a, c = p["a"], p["b"]["c"]
    by_a, by_c = np.zeros((3, 2, 3)), np.zeros((3, 2, 2, 2))
    for i in range(3):
        for j in range(2):
            by_a[i, j, i] = np.cos(a[i]) * c[0, j] ** 2
            by_c[i, j, 0, j] = np.sin(a[i]) * 2 * c[0, j]
    return {"a": by_a, "b": {"c": by_c}}


def changed(places, factor=1.3, more=0.0):
    def wrong(x):
        J = jac(x)
        J[places] = J[places] * factor + more
        return J

    return wrong


# ---------------------------------------------------------------------------------------------------------------------
# Jacobians
# ---------------------------------------------------------------------------------------------------------------------


def test_a_right_jacobian():
    report = fl.check_jacobian(f, jac, X)
    assert report.passed
    assert report.what == "jacobian"
    assert report.power < 1e-7
    assert (report.nfev, report.ngev) == (15, 3)  # two at x, one nearby, six for each of two directions


@pytest.mark.parametrize("places", [(0, 0), (4, 3), (2, slice(None)), (slice(None), 1)])
def test_wrong_entries_are_located(places):
    report = fl.check_jacobian(f, changed(places), X)
    assert report.verdict == "fail"
    mask = np.zeros((5, 4), bool)
    mask[places] = True
    assert {entry.index for entry in report.worst} == {tuple(place) for place in np.argwhere(mask).tolist()}
    for entry in report.worst:
        assert abs(entry.numeric - jac(X)[entry.index]) <= entry.tolerance < 1e-6
        assert entry.yours == changed(places)(X)[entry.index]
    words = {1: "entry", 4: "row 2", 5: "column 1"}[mask.sum()]
    assert words in report.blocks[0].place


def test_signs_and_factors_of_jacobians_have_causes():
    assert fl.check_jacobian(f, lambda x: -jac(x), X).causes[0].number == 1
    assert fl.check_jacobian(f, lambda x: 2 * jac(x), X).causes[0].number == 7


def test_transposed_jacobian():
    """Square, so that nothing but the numbers shows it."""
    B = A[:4]
    report = fl.check_jacobian(lambda x: np.sin(B @ x), lambda x: (np.cos(B @ x)[:, None] * B).T, X)
    assert report.verdict == "fail"
    assert report.causes[0].number == 20


@pytest.mark.parametrize("at", [(0, 3), (3, 0)])
def test_an_entry_that_a_sparse_jacobian_omits(at):
    """Measured: scipy's check_derivative says 2.8e-11, "correct", as the pattern of the Jacobian is trusted."""
    sparse = pytest.importorskip("scipy.sparse")
    D = np.diag([1.0, 2.0, 3.0, 4.0])
    full = D.copy()
    full[at] = 5.0

    def linear(x):
        return full @ x

    assert fl.check_jacobian(linear, lambda x: sparse.csr_array(full), X).passed
    for make in (sparse.csr_array, sparse.csc_array, sparse.coo_matrix, np.asarray):
        report = fl.check_jacobian(linear, lambda x, make=make: make(D), X)
        assert report.verdict == "fail"
        assert [entry.index for entry in report.worst] == [at]
        assert report.worst[0].numeric == pytest.approx(5.0, abs=1e-8)


def test_a_tree_of_jacobians():
    assert fl.check_jacobian(tree_f, tree_jac, TREE).passed

    def wrong(p):
        J = tree_jac(p)
        J["b"]["c"][1, 1, 0, 1] *= 1.01
        return J

    report = fl.check_jacobian(tree_f, wrong, TREE)
    assert report.verdict == "fail"
    # Row (1, 1) of 3 x 2 outputs; column 3 + 1: after a, entry (0, 1) of c.
    assert [entry.index for entry in report.worst] == [(3, 4)]


def test_shapes_of_jacobians():
    """Of an array-valued f of a matrix: f's shape and x's, or a matrix; of a number: the gradient."""
    M = np.arange(1.0, 7).reshape(2, 3)

    def g(x):
        return x[:, None, :] * x[None, :, :]  # (2, 2, 3)

    def full(x):
        J = np.zeros((2, 2, 3, 2, 3))
        for i, j, k in np.ndindex(2, 2, 3):
            J[i, j, k, i, k] += x[j, k]
            J[i, j, k, j, k] += x[i, k]
        return J

    assert fl.check_jacobian(g, full, M).passed
    assert fl.check_jacobian(g, lambda x: full(x).reshape(12, 6), M).passed
    assert fl.check_jacobian(lambda x: np.sum(np.sin(x)), np.cos, M).passed
    assert fl.check_jacobian(lambda x: np.array([x, x**2]), lambda x: np.array([1.0, 2 * x]), 0.7).passed
    assert fl.check_jacobian(g, lambda x: full(x) * (1 + (np.arange(3) == 1)), M).verdict == "fail"


def test_one_output_of_a_small_scale():
    """Outputs are judged each on its own scale."""
    scales = np.array([1.0, 1e-9, 1.0, 1e6, 1.0])
    report = fl.check_jacobian(lambda x: scales * f(x), lambda x: scales[:, None] * changed((1, 2))(x), X)
    assert report.verdict == "fail"
    assert [entry.index for entry in report.worst] == [(1, 2)]
    assert fl.check_jacobian(lambda x: scales * f(x), lambda x: scales[:, None] * jac(x), X).passed


def test_a_jacobian_that_is_not_finite():
    report = fl.check_jacobian(f, changed((3, 1), more=np.nan), X)
    assert report.verdict == "fail"
    assert "nan at [3, 1]" in report.reason


def test_a_jacobian_at_kinks():
    """relu at 0: any slope between 0 and 1 in the diagonal."""

    def diagonal(slope):
        return lambda x: np.diag(np.where(x > 0, 1.0, np.where(x < 0, 0.0, slope)))

    x = np.array([0.0, 0.7, -0.4])
    assert fl.check_jacobian(lambda x: np.maximum(x, 0), diagonal(0.3), x).passed
    assert fl.check_jacobian(lambda x: np.maximum(x, 0), diagonal(1.2), x).verdict == "fail"


def test_noise_too_large_for_a_jacobian():
    def noisy(x):
        return f(x) + 3 * np.sin(1e12 * x.sum()) * np.arange(1, 6)

    report = fl.check_jacobian(noisy, jac, X)
    assert report.verdict == "inconclusive"


def test_jacobians_take_args_bounds_and_seeds():
    points = []

    def g(x, c):
        points.append(x.copy())
        return c * np.sqrt(x)

    x = np.array([0.0, 1.0, 2.0]) + 1e-3
    report = fl.check_jacobian(g, lambda x, c: np.diag(c / 2 / np.sqrt(x)), x, args=(3.0,), bounds=(1e-3, 3), rng=9)
    assert report.passed
    assert report.seed == 9
    assert (np.array(points) >= 1e-3).all()
    wrong = fl.check_jacobian(g, lambda x, c: np.diag(c / np.sqrt(x)), x, args=(3.0,), bounds=(1e-3, 3))
    assert wrong.verdict == "fail"


def test_single_precision_jacobians():
    x = X.astype(np.float32)
    B = A.astype(np.float32)
    assert fl.check_jacobian(lambda x: np.sin(B @ x), lambda x: np.cos(B @ x)[:, None] * B, x).passed
    wrong = fl.check_jacobian(lambda x: np.sin(B @ x), lambda x: 1.1 * np.cos(B @ x)[:, None] * B, x)
    assert wrong.verdict == "fail"


@pytest.mark.parametrize("tree", [False, True])
def test_what_is_right_to_single_precision_alone(tree):
    """As a gradient may be: x and f are doubles, and mistakes are still found."""
    dense = lambda x: np.cos(A @ x)[:, None] * A  # noqa: E731
    single = lambda a: {"x": np.float32(a)} if tree else np.float32(a)  # noqa: E731
    of = (lambda t: t["x"]) if tree else (lambda x: x)
    x = {"x": X} if tree else X

    def verdicts(factor):
        yield fl.check_jacobian(lambda x: np.sin(A @ of(x)), lambda x: single(factor * dense(of(x))), x)
        yield fl.check_products(
            lambda x: np.sin(A @ of(x)),
            x,
            jvp=lambda x, v: np.float32(factor * dense(of(x)) @ of(v)),
            vjp=lambda x, u: single(u @ dense(of(x))),
        )
        yield fl.check_products(
            lambda x: np.sin(A @ of(x)),
            x,
            jvp=lambda x, v: factor * dense(of(x)) @ of(v),
            vjp=lambda x, u: single(u @ dense(of(x))),
        )
        yield fl.check_hvp(
            lambda x: {"x": A.T @ np.sin(A @ of(x))} if tree else A.T @ np.sin(A @ x),
            lambda x, v: single(factor * A.T @ (dense(of(x)) @ of(v))),
            x,
        )

    assert [report.verdict for report in verdicts(1.0)] == ["pass"] * 4
    assert [report.verdict for report in verdicts(1.01)] == ["fail"] * 4


def test_the_power_is_that_of_the_output_that_is_seen_worst():
    f = lambda x: np.array([np.sin(x[0]), np.sin(x[1]) + 1e-8 * np.sin(1e12 * x.sum())])  # noqa: E731
    x = np.array([0.3, 0.7])
    unseen = np.array([1, 1 + 1e-6])
    report = fl.check_jacobian(f, lambda x: np.diag(np.cos(x) * unseen), x)
    assert report.passed
    assert 1e-6 < report.power < 0.05
    assert fl.check_jacobian(f, lambda x: np.diag(np.cos(x) * unseen[::-1]), x).verdict == "fail"


def test_entries_are_listed_worst_first_and_in_the_units_of_x():
    """In other units of x, which are a power of two, what is said of an entry is the same number in those units."""
    f = lambda x: np.sin(A @ x)  # noqa: E731
    off = np.zeros_like(A)
    off[1, 2], off[3, 0], off[4, 2] = 1e-3, -0.5, 0.02

    def worst(unit):
        wrong = lambda x: (np.cos(A @ (x / unit))[:, None] * A + off) / unit  # noqa: E731
        return fl.check_jacobian(lambda x: f(x / unit), wrong, X * unit).worst

    plain, scaled = worst(1.0), worst(2.0**10)
    assert [entry.index for entry in plain] == [(3, 0), (4, 2), (1, 2)]
    for one, other in zip(plain, scaled, strict=True):
        assert other.index == one.index
        for name in ("yours", "numeric", "tolerance"):
            assert getattr(other, name) == pytest.approx(getattr(one, name) / 2.0**10, rel=1e-6, abs=0)


def test_single_precision_products():
    """What u.(Jv) and (uJ).v differ by is the rounding of float32."""
    x, B = X.astype(np.float32), A.astype(np.float32)
    slopes = lambda x: np.cos(B @ x)[:, None] * B  # noqa: E731
    f, forward = lambda x: np.sin(B @ x), lambda x, v: slopes(x) @ v
    backward = lambda x, u: u.astype(np.float32) @ slopes(x)  # noqa: E731
    assert fl.check_products(f, x, jvp=forward, vjp=backward).passed
    gradient = lambda x: B.T @ np.sin(B @ x)  # noqa: E731
    assert fl.check_hvp(gradient, lambda x, v: B.T @ (slopes(x) @ v), x).passed


# ---------------------------------------------------------------------------------------------------------------------
# Products
# ---------------------------------------------------------------------------------------------------------------------


def jvp(x, v):
    return jac(x) @ v


def vjp(x, u):
    return u @ jac(x)


def test_right_products():
    for products in ({"jvp": jvp}, {"vjp": vjp}, {"jvp": jvp, "vjp": vjp}):
        report = fl.check_products(f, X, **products)
        assert report.passed, report
        assert report.power < 1e-6


@pytest.mark.parametrize("wrong", [changed((2, 1)), changed((slice(None), 0)), lambda x: -jac(x)])
def test_wrong_products(wrong):
    assert fl.check_products(f, X, jvp=lambda x, v: wrong(x) @ v).verdict == "fail"
    assert fl.check_products(f, X, vjp=lambda x, u: u @ wrong(x)).verdict == "fail"
    assert fl.check_products(f, X, jvp=jvp, vjp=lambda x, u: u @ wrong(x)).what == "vjp"
    assert fl.check_products(f, X, jvp=lambda x, v: wrong(x) @ v, vjp=vjp).what == "jvp"


def test_a_wrong_vjp_has_place_and_cause():
    report = fl.check_products(f, X, vjp=lambda x, u: u @ changed((slice(None), 2))(x))
    assert [entry.index for entry in report.worst] == [(2,)]
    assert fl.check_products(f, X, vjp=lambda x, u: -u @ jac(x)).causes[0].name == "sign"


def test_a_vjp_that_is_right_for_most_weights():
    """It is off by what is orthogonal to the weights that the check against f used: only the dot product shows it."""
    used = []

    def sly(x, u):
        if not used:
            used.append(u.copy())
        return u @ jac(x) + 0.1 * (u - used[0] * (u @ used[0]) / (used[0] @ used[0]))[:4]

    assert fl.check_products(f, X, vjp=sly).passed
    used.clear()
    report = fl.check_products(f, X, jvp=jvp, vjp=sly)
    assert report.verdict == "fail"
    assert report.what == "products"
    assert "u.(Jv) and (uJ).v differ" in report.reason


def test_products_of_trees():
    def tree_jvp(p, v):
        J = tree_jac(p)
        return np.einsum("ija,a->ij", J["a"], v["a"]) + np.einsum("ijkl,kl->ij", J["b"]["c"], v["b"]["c"])

    def tree_vjp(p, u):
        J = tree_jac(p)
        return {"a": np.einsum("ij,ija->a", u, J["a"]), "b": {"c": np.einsum("ij,ijkl->kl", u, J["b"]["c"])}}

    assert fl.check_products(tree_f, TREE, jvp=tree_jvp, vjp=tree_vjp).passed

    def half(p, v):
        return tree_jvp(p, {"a": v["a"], "b": {"c": v["b"]["c"] / 2}})

    assert fl.check_products(tree_f, TREE, jvp=half).wrong == ["b/c"]

    def dropped(p, u):
        g = tree_vjp(p, u)
        return {"a": g["a"] * 1.5, "b": g["b"]}

    assert fl.check_products(tree_f, TREE, vjp=dropped).wrong == ["a"]


def test_products_take_args_and_give_the_seed():
    def g(x, c):
        return c * f(x)

    report = fl.check_products(
        g, X, jvp=lambda x, v, c: c * jvp(x, v), vjp=lambda x, u, c: c * vjp(x, u), args=(2.5,), rng=4
    )
    assert report.passed
    assert report.seed == 4
    assert not fl.check_products(g, X, jvp=lambda x, v, c: jvp(x, v), args=(2.5,)).passed


# ---------------------------------------------------------------------------------------------------------------------
# Hessian-vector products
# ---------------------------------------------------------------------------------------------------------------------

S = np.array([[2.0, 0.5, 0.0, 1.0], [0.5, 1.0, -0.3, 0.0], [0.0, -0.3, 3.0, 0.2], [1.0, 0.0, 0.2, 1.5]])


def gradient(x):
    return S @ x + x**3


def hvp(x, v):
    return S @ v + 3 * x**2 * v


def test_a_right_hvp():
    report = fl.check_hvp(gradient, hvp, X)
    assert report.passed
    assert report.what == "hvp"
    assert report.power < 1e-6


@pytest.mark.parametrize(
    "wrong",
    [lambda x, v: S @ v, lambda x, v: hvp(x, v) / 2, lambda x, v: S @ v + 3 * x**2, lambda x, v: np.zeros(4)],
    ids=["term missing", "half", "not a product", "zero"],
)
def test_a_wrong_hvp(wrong):
    report = fl.check_hvp(gradient, wrong, X)
    assert report.verdict == "fail"
    assert "hvp" in report.reason


def test_a_hessian_that_is_not_symmetric():
    """A field that is no gradient: its Jacobian is right, and no Hessian."""
    T = S + np.triu(np.ones((4, 4)), 1)
    report = fl.check_hvp(lambda x: T @ x, lambda x, v: T @ v, X)
    assert report.verdict == "fail"
    assert "not symmetric" in report.reason


def test_the_hvp_of_a_tree():
    p = {"a": X[:2], "b": np.array(0.7)}

    def gradient(p):
        return {"a": p["a"] ** 2 * p["b"], "b": np.sum(p["a"] ** 3) / 3 + np.exp(p["b"])}

    def hvp(p, v, k=1.0):
        a, b = p["a"], p["b"]
        return {
            "a": 2 * a * b * v["a"] + k * a**2 * v["b"],
            "b": np.sum(a**2 * v["a"]) + np.exp(b) * v["b"],
        }

    assert fl.check_hvp(gradient, hvp, p).passed
    wrong = fl.check_hvp(gradient, lambda p, v: hvp(p, v, 2.0), p)
    assert wrong.verdict == "fail"
    assert wrong.wrong == ["b"]  # moving a alone, all is right


def caused(report, number, verdict="fail"):
    """Assert that there is one cause, this one, and nothing was compared; return its text."""
    assert report.verdict == verdict
    assert [cause.number for cause in report.causes] == [number]
    assert math.isnan(report.power)
    return report.causes[0].text


def spoiling(function):
    """Return the same, which then overwrites its first argument."""

    def spoil(x, *rest):
        result = function(x, *rest)
        x[...] = 7.0
        return result

    return spoil


def test_who_changes_x_is_told_and_x_is_as_it_was():
    x = X.copy()
    assert caused(fl.check_jacobian(spoiling(f), jac, x), 26) == "f changes x in place. Work on a copy."
    assert "jac changes x in place" in caused(fl.check_jacobian(f, spoiling(jac), x), 26)
    assert "jvp changes x in place" in caused(fl.check_products(f, x, jvp=spoiling(jvp)), 26)
    assert "vjp changes x in place" in caused(fl.check_products(f, x, vjp=spoiling(vjp)), 26)
    assert "hvp changes x in place" in caused(fl.check_hvp(gradient, spoiling(hvp), x), 26)
    assert "gradient changes x in place" in caused(fl.check_hvp(spoiling(gradient), hvp, x), 26)
    assert x.tobytes() == X.tobytes()


def test_functions_that_do_not_repeat_themselves():
    rng = np.random.default_rng(3)
    noisy = lambda x, *rest: f(x) * rng.uniform(0.9, 1.1, 5)  # noqa: E731
    assert "output" in caused(fl.check_jacobian(noisy, jac, X), 34, "inconclusive")
    assert caused(fl.check_jacobian(f, lambda x: jac(x) * rng.uniform(0.9, 1.1), X), 34).startswith("called twice")
    assert "jvp returns two different" in caused(
        fl.check_products(f, X, jvp=lambda x, v: jvp(x, v) * rng.uniform(0.9, 1.1)), 34
    )


def test_a_jacobian_that_uses_what_the_last_call_of_f_left():
    last = {}

    def remember(x):
        last["x"] = x.copy()
        return f(x)

    text = caused(fl.check_jacobian(remember, lambda x: jac(last["x"]), X), 27)
    assert "it uses what the last call of f left" in text
    assert "last call of f left" in caused(fl.check_products(remember, X, jvp=lambda x, v: jvp(last["x"], v)), 27)


def test_buffers_of_maps():
    buffer, total = np.zeros((5, 4)), np.zeros(5)

    def same_array(x):
        buffer[...] = jac(x)
        return buffer

    def adding(x, v):
        nonlocal total
        total = total + jvp(x, v)
        return total

    assert "it is a buffer" in caused(fl.check_jacobian(f, same_array, X), 30)
    assert "jvp adds to what it returned before" in caused(fl.check_products(f, X, jvp=adding), 28)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_that_are_not_finite(value):
    report = fl.check_jacobian(f, changed((2, 1), 0.0, value), X)
    assert (report.verdict, report.reason) == ("fail", f"the Jacobian is {value} at [2, 1], where f is finite")
    report = fl.check_products(f, X, jvp=lambda x, v: np.where(np.arange(5) == 3, value, jvp(x, v)))
    assert (report.verdict, report.reason) == ("fail", f"the product is {value} at [3], where f is finite")


def test_what_differences_do_not_see_products_do():
    """Between themselves they are compared without any difference of f, to the last digits."""
    dense = lambda x: np.cos(A @ x)[:, None] * A  # noqa: E731
    f, forward = lambda x: np.sin(A @ x), lambda x, v: dense(x) @ v
    turn = np.triu(np.ones((4, 4)), 1) - np.tril(np.ones((4, 4)), -1)
    for error, verdict in ((0.0, "pass"), (1e-11, "fail")):
        backward = lambda x, u, e=error: (1 + e) * u @ dense(x)  # noqa: E731
        assert fl.check_products(f, X, vjp=backward).passed
        assert fl.check_products(f, X, jvp=forward, vjp=backward).verdict == verdict
        product = lambda x, v, e=error: A.T @ dense(x) @ v + e * turn @ v  # noqa: E731
        assert fl.check_hvp(lambda x: A.T @ np.sin(A @ x), product, X).verdict == verdict


def test_every_call_is_counted():
    calls, values = [], []

    def counted(function, calls=calls):
        return lambda *arguments: calls.append(1) or function(*arguments)

    dense = lambda x: np.cos(A @ x)[:, None] * A  # noqa: E731
    f = counted(lambda x: np.sin(A @ x), values)
    forward, backward = lambda x, v: dense(x) @ v, lambda x, u: u @ dense(x)
    gradient = counted(lambda x: A.T @ np.sin(A @ x), values)
    for check in (
        lambda: fl.check_jacobian(f, counted(dense), X),
        lambda: fl.check_products(f, X, jvp=counted(forward)),
        lambda: fl.check_products(f, X, vjp=counted(backward)),
        lambda: fl.check_products(f, X, jvp=counted(forward), vjp=counted(backward)),
        lambda: fl.check_products(f, X, jvp=counted(forward), vjp=counted(lambda x, u: -backward(x, u))),
        lambda: fl.check_hvp(gradient, counted(lambda x, v: A.T @ dense(x) @ v), X),
    ):
        calls.clear()
        values.clear()
        report = check()
        assert report.ngev == len(calls) > 0
        assert report.nfev == len(values) > 0


def test_products_keep_to_the_bounds():
    points = []
    low, high = X - np.array([0.0, 1.0, 1.0, 1.0]), X + np.array([1.0, 1.0, 0.0, 1.0])

    def f(x):
        points.append(np.array(x))
        return np.sin(A @ x)

    dense = lambda x: np.cos(A @ x)[:, None] * A  # noqa: E731
    for products in ({"jvp": lambda x, v: dense(x) @ v}, {"vjp": lambda x, u: u @ dense(x)}):
        points.clear()
        assert fl.check_products(f, X, bounds=(low, high), **products).passed
        assert (low <= np.array(points)).all()
        assert (np.array(points) <= high).all()


def test_what_is_done_to_directions_reaches_nobody():
    def scribbling(function):
        def wrapper(x, direction):
            result = function(x, direction)
            direction[...] = 7.0
            return result

        return wrapper

    dense = lambda x: np.cos(A @ x)[:, None] * A  # noqa: E731
    f = lambda x: np.sin(A @ x)  # noqa: E731
    forward, backward = scribbling(lambda x, v: dense(x) @ v), scribbling(lambda x, u: u @ dense(x))
    accumulating = lambda x, u: np.multiply(u, np.cos(A @ x), out=u) @ A  # noqa: E731
    assert fl.check_products(f, X, jvp=forward).passed
    assert fl.check_hvp(lambda x: A.T @ f(x), scribbling(lambda x, v: A.T @ dense(x) @ v), X).passed
    for product in (backward, accumulating):
        assert fl.check_products(f, X, vjp=product).passed
        assert fl.check_products(f, X, jvp=forward, vjp=product).passed


def test_reports_of_maps_are_complete():
    for report in (
        fl.check_jacobian(f, changed((1, 1)), X),
        fl.check_products(f, X, jvp=lambda x, v: 2 * jvp(x, v)),
        fl.check_hvp(gradient, lambda x, v: S @ v, X),
    ):
        assert report.what in str(report)
        assert not math.isnan(report.power)
        with pytest.raises(AssertionError):
            report.require()


# ---------------------------------------------------------------------------------------------------------------------
# What is returned
# ---------------------------------------------------------------------------------------------------------------------


def single(function, factor=1.0):
    """Return a function whose result is rounded to float32, as that of another library may be."""
    return lambda *given: (factor * function(*given)).astype(np.float32)


@pytest.mark.parametrize("factor", [1.0, 1.2])
def test_what_is_rounded_to_single_precision_is_right_within_that(factor):
    expected = factor == 1
    assert fl.check_jacobian(f, single(jac, factor), X).passed == expected
    assert fl.check_products(f, X, jvp=single(jvp, factor)).passed == expected
    assert fl.check_products(f, X, jvp=single(jvp), vjp=single(vjp, factor)).passed == expected
    assert fl.check_products(f, X, jvp=jvp, vjp=single(vjp, factor)).passed == expected
    assert fl.check_hvp(lambda x: A.T @ (A @ x), single(lambda x, v: A.T @ (A @ v), factor), X).passed == expected


def test_a_function_that_does_not_change():
    def constant(x):
        return np.ones(3)

    report = fl.check_jacobian(constant, lambda x: np.zeros((3, 4)), X)
    assert (report.verdict, report.reason) == ("pass", "f does not change, and yours is 0")
    assert fl.check_products(constant, X, jvp=lambda x, v: np.zeros(3)).passed
    assert not fl.check_jacobian(constant, lambda x: np.ones((3, 4)), X).passed
    assert not fl.check_jacobian(f, lambda x: np.zeros((5, 4)), X).passed
    random = np.random.default_rng(0).random
    assert fl.check_jacobian(lambda x: random(), lambda x: np.zeros(4), X).verdict == "inconclusive"


def test_a_product_that_is_none_is_named_as_the_user_names_it():
    report = fl.check_products(f, X, vjp=lambda x, u: None)
    assert report.reason == "the gradient has nothing for 'x'"
    kept = np.empty(4)

    def buffered(x, u):
        kept[:] = vjp(x, u)
        return kept

    assert fl.check_products(f, X, vjp=buffered).causes[0].text.startswith("the array that vjp returned changes")


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"])
def test_every_sparse_format(kind):
    sparse = pytest.importorskip("scipy.sparse")
    B = np.triu(np.tril(A[:4], 1), -1)
    omitted = B.copy()
    omitted[1, 2] = 0
    for suffix in ("array", "matrix"):
        make = getattr(sparse, f"{kind}_{suffix}")
        assert fl.check_jacobian(lambda x: B @ x, lambda x, make=make: make(B), X).passed
        report = fl.check_jacobian(lambda x: B @ x, lambda x, make=make: make(omitted), X)
        assert [entry.index for entry in report.worst] == [(1, 2)]


def test_every_report_of_products_has_the_seed():
    for products in ({"jvp": jvp}, {"vjp": vjp}, {"vjp": lambda x, u: -vjp(x, u)}, {"jvp": jvp, "vjp": vjp}):
        assert fl.check_products(f, X, **products, rng=7).seed == 7
