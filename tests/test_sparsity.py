"""Sparse Jacobians: the colouring, the pattern that is not trusted, and what comes out."""

import numpy as np
import pytest

import fallline as fl
from fallline.sparsity import colour_columns

N = 12
TRIDIAGONAL = np.eye(N) + np.eye(N, k=1) + np.eye(N, k=-1)


def banded(x):
    """Return a vector with a tridiagonal Jacobian."""
    y = np.concatenate([[0.0], x, [0.0]])
    return y[1:-1] ** 2 + np.sin(y[:-2]) * y[1:-1] + 3 * y[2:]


def colours_of(pattern):
    return colour_columns(*np.nonzero(pattern), pattern.shape[1])


def is_valid(pattern, colours):
    return all((pattern[:, colours == c] != 0).sum(axis=1).max(initial=0) <= 1 for c in np.unique(colours))


def test_colourings_are_valid_and_small():
    rng = np.random.default_rng(0)
    for n in (3, 10, 100):
        tridiagonal = np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)
        assert len(np.unique(colours_of(tridiagonal))) == 3
        assert is_valid(tridiagonal, colours_of(tridiagonal))
    assert colours_of(np.eye(7)).tolist() == [0] * 7
    assert sorted(colours_of(np.ones((2, 5)))) == [0, 1, 2, 3, 4]
    for density in (0.02, 0.1, 0.5):
        pattern = rng.random((60, 80)) < density
        colours = colours_of(pattern)
        assert is_valid(pattern, colours)
        assert pattern.sum(axis=1).max() <= colours.max() + 1 <= pattern.sum(axis=1).max() * pattern.sum(axis=0).max()
        assert set(colours) == set(range(colours.max() + 1))
    grid = np.kron(np.eye(6), np.eye(6, k=1) + np.eye(6, k=-1)) + np.kron(np.eye(6, k=1) + np.eye(6, k=-1), np.eye(6))
    five_point = grid + np.eye(36)
    assert is_valid(five_point, colours_of(five_point))
    assert colours_of(five_point).max() + 1 <= 9


@pytest.mark.parametrize(
    "options",
    [{}, {"accuracy": 6}, {"method": "forward"}, {"method": "adaptive"}, {"step": 1e-4}, {"step": "shi"},
     {"step": 1e-5, "relative": True}, {"noise": "estimate"}, {"bounds": (0.0, 10.0)}],
    ids=str,
)  # fmt: skip
def test_sparse_and_dense_agree(options):
    x = np.linspace(0.0, 3.0, N)
    found = fl.jacobian(banded, x, sparsity=TRIDIAGONAL, **options)
    assert found == pytest.approx(fl.jacobian(banded, x, accuracy=8), abs=1e-6)
    assert (found[TRIDIAGONAL == 0] == 0).all()


def test_the_complex_step_is_sparse_too():
    x = np.linspace(0.1, 3.0, N)
    found = fl.jacobian(banded, x, sparsity=TRIDIAGONAL, method="complex")
    assert found == pytest.approx(fl.jacobian(banded, x, method="complex"), abs=1e-14)


def test_columns_are_differentiated_together():
    for offset, options in ((0.0, {}), (0.0, {"step": 2.0**-12}), (2.0**36, {})):
        calls = []
        f = lambda x, calls=calls, offset=offset: calls.append(1) or banded(x) + offset  # noqa: E731
        fl.jacobian(f, np.linspace(0.1, 3.0, N) * 2.0**-4, sparsity=TRIDIAGONAL, **options)
        assert len(calls) == 2 * 3 + 2  # three colours, and the direction that verifies


@pytest.mark.parametrize("options", [{}, {"step": 2.0**-7}, {"step": 2.0 ** -np.arange(3.0, 3 + N)}, {"accuracy": 4}])
def test_steps_and_errors_are_those_of_the_dense_jacobian(options):
    """Of a function whose rows depend on one entry each, moved by powers of two."""
    x = 2.0 ** np.arange(-2, N - 2)
    f = lambda x: np.sin(x) + 3 * x  # noqa: E731
    sparse = fl.jacobian(f, x, sparsity=np.eye(N), full_output=True, noise=1e-12, **options)
    dense = fl.jacobian(f, x, full_output=True, noise=1e-12, **({"step": sparse.step.diagonal()} | options))
    for name in ("value", "error", "step"):
        found, wanted = (getattr(result, name).diagonal() for result in (sparse, dense))
        assert found == pytest.approx(wanted, rel=1e-6 if name == "value" else 0.5, abs=0)
    if "step" in options:
        assert np.array_equal(sparse.step.diagonal(), np.broadcast_to(options["step"], N))


def test_complex_outputs_and_points_without_a_derivative():
    x = np.linspace(0.1, 3.0, N)
    found = fl.jacobian(lambda x: (2 + 1j) * banded(x), x, sparsity=TRIDIAGONAL)
    assert found == pytest.approx((2 + 1j) * fl.jacobian(banded, x, accuracy=8), abs=1e-6)
    with pytest.raises(ValueError, match="must have a derivative at x"):
        fl.jacobian(np.cbrt, np.zeros(2), sparsity=np.eye(2), method="adaptive")


def test_scipy_patterns_give_scipy_matrices():
    sparse = pytest.importorskip("scipy.sparse")
    x = np.linspace(0.1, 3.0, N)
    dense = fl.jacobian(banded, x, sparsity=TRIDIAGONAL)
    for kind in (sparse.csr_array, sparse.coo_matrix, sparse.csc_array, sparse.dia_array):
        found = fl.jacobian(banded, x, sparsity=kind(TRIDIAGONAL))
        assert sparse.issparse(found)
        assert np.array_equal(found.toarray(), dense)
        assert found.nnz == 3 * N - 2
    stored = sparse.coo_array(TRIDIAGONAL)
    stored.data[5] = 0  # an entry that is stored but 0 is outside of the pattern
    with pytest.raises(ValueError, match="cover every entry"):
        fl.jacobian(banded, x, sparsity=stored)
    full = fl.jacobian(banded, x, sparsity=sparse.csr_array(TRIDIAGONAL), full_output=True)
    assert full.error.max() < 1e-6
    assert full.status.tolist() == ["ok"] * (3 * N - 2)


@pytest.mark.parametrize("size", [5.0, 1e-3])
@pytest.mark.parametrize(
    "options", [{}, {"method": "forward"}, {"method": "adaptive"}, {"step": 1e-4}, {"method": "complex"}]
)
def test_an_entry_that_the_pattern_omits_is_found(options, size):
    """A checker that believes the pattern passes whatever the pattern hides."""
    x = np.linspace(0.1, 3.0, N)

    def f(x):
        y = banded(x)
        y[2] += size * x[9]
        return y

    with pytest.raises(ValueError, match="output 2 along a random direction"):
        fl.jacobian(f, x, sparsity=TRIDIAGONAL, **options)
    more = TRIDIAGONAL.copy()
    more[2, 9] = 1
    assert fl.jacobian(f, x, sparsity=more, **options)[2, 9] == pytest.approx(size, rel=1e-2)


def test_a_coordinate_given_twice_counts_once():
    """coo_array adds what stands at one place, and would so double an entry."""
    sparse = pytest.importorskip("scipy.sparse")
    pattern = sparse.coo_array((np.ones(4), ([0, 0, 1, 1], [0, 0, 1, 1])), shape=(2, 2))
    found = fl.jacobian(lambda x: x**2, np.array([1.0, 2.0]), sparsity=pattern)
    assert found.toarray() == pytest.approx(np.diag([2.0, 4.0]))
    assert pattern.nnz == 4


def test_right_patterns_raise_no_alarm():
    """Of functions with kinks, noise, wild scales and coarse steps."""
    rng = np.random.default_rng(0)
    options = [{}, {"method": "forward", "accuracy": 1}, {"accuracy": 8}, {"method": "forward", "step": 0.05}]
    for round in range(200):
        n = int(rng.integers(2, 15))
        pattern = rng.random((n, n)) < 0.3
        weights = rng.normal(size=(n, n)) * pattern * 10.0 ** rng.uniform(-6, 6, (n, 1))
        x = rng.normal(size=n) * 10.0 ** rng.uniform(-3, 3, n) * (rng.random(n) < 0.8)
        inner = (np.sin, np.tanh, lambda t: np.maximum(t, 0), np.abs)[round % 4]
        noise = 10.0 ** rng.uniform(-16, -8) * (round % 3 == 0)
        f = lambda x: weights @ inner(x) * (1 + noise * rng.normal())  # noqa: B023, E731
        extra = {} if noise == 0 else {"noise": "estimate"}
        found = fl.jacobian(f, x, sparsity=pattern, rng=round, **options[round % 4], **extra)
        assert found.shape == (n, n)  # not a Derivative, whatever it took to be sure


def test_odd_patterns():
    x = np.ones(3)
    assert fl.jacobian(lambda x: 0 * x[:2], x, sparsity=np.zeros((2, 3))).tolist() == [[0.0] * 3] * 2
    tree = {"a": np.ones(2), "b": 3.0}
    found = fl.jacobian(lambda t: np.array([t["a"][0] * t["b"], t["a"][1]]), tree, sparsity=[[1, 0, 1], [0, 1, 0]])
    assert found == pytest.approx(np.array([[3.0, 0, 1], [0, 1, 0]]), abs=1e-9)
    full = fl.jacobian(banded, np.ones(N), sparsity=TRIDIAGONAL, full_output=True)
    assert full.status.shape == full.value.shape == full.error.shape == (N, N)
    assert (full.error[TRIDIAGONAL == 0] == 0).all()
