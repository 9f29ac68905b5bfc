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
    assert (report.nfev, report.ngev) == (13, 1)  # one at x, six for each of two directions


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
    unseen = np.array([1, 1 + 1e-7])
    report = fl.check_jacobian(f, lambda x: np.diag(np.cos(x) * unseen), x)
    assert report.passed
    assert 1e-7 < report.power < 0.05
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


def test_x_is_left_alone():
    x = X.copy()

    def spoil(x, *rest):
        x[:] = 0

    def f_and_spoil(x):
        value = f(x)
        spoil(x)
        return value

    def jac_and_spoil(x):
        J = jac(x)
        spoil(x)
        return J

    assert fl.check_jacobian(f_and_spoil, jac_and_spoil, x).passed
    fl.check_products(f_and_spoil, x, jvp=lambda x, v: jac_and_spoil(x) @ v, vjp=lambda x, u: u @ jac_and_spoil(x))
    assert x.tobytes() == X.tobytes()


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


def test_what_is_done_to_x_and_to_directions_reaches_nobody():
    def scribbling(function):
        def wrapper(*arguments):
            result = function(*arguments)
            for argument in arguments:
                argument[...] = 7.0
            return result

        return wrapper

    dense = lambda x: np.cos(A @ x)[:, None] * A  # noqa: E731
    f = scribbling(lambda x: np.sin(A @ x))
    forward, scribbled = scribbling(lambda x, v: dense(x) @ v), scribbling(lambda x, u: u @ dense(x))
    assert fl.check_jacobian(f, scribbling(dense), X).passed
    assert fl.check_products(f, X, jvp=forward).passed
    gradient = scribbling(lambda x: A.T @ np.sin(A @ x))
    assert fl.check_hvp(gradient, scribbling(lambda x, v: A.T @ dense(x) @ v), X).passed
    accumulating = lambda x, u: np.multiply(u, np.cos(A @ x), out=u) @ A  # noqa: E731
    for backward in (scribbled, accumulating):
        own = lambda x, u, g=backward: g(np.array(x), u)  # noqa: E731
        assert fl.check_products(lambda x: np.sin(A @ x), X, vjp=own).passed
        assert fl.check_products(lambda x: np.sin(A @ x), X, jvp=forward, vjp=own).passed


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
