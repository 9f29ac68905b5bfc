"""How a user's function is called: what it gets, how often, in which ways, and what it may do."""

import concurrent.futures
import ctypes
import fractions
import math
import multiprocessing
import os
import shutil
import subprocess
import sysconfig
import threading
import tracemalloc
import warnings

import numpy as np
import pytest

import fallline as fl
from fallline.evaluate import Function, Points, Rows
from fallline.space import Space
from fallline.workers import worker_map

CENTRAL = {"method": "central"}


class Recorder:
    """A function that keeps a copy of every point."""

    def __init__(self, f):
        self.f, self.points = f, []

    def __call__(self, x, *args):
        self.points.append(np.array(x))
        return self.f(x, *args)

    def __len__(self):
        return len(self.points)


def cube_sum(x):
    return float((x**3).sum())


def moved(x):
    """Return what must not change."""
    return [a.tobytes() for a in (x.values() if isinstance(x, dict) else [x])]


# ---------------------------------------------------------------------------------------------------------------------
# What f gets
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 2)])
def test_f_gets_an_array_like_x(shape, dtype):
    x = np.ones(shape, dtype)
    seen = []

    def f(y):
        seen.append((type(y), y.shape, y.dtype, y.flags.c_contiguous, y.flags.writeable, y is x))
        return (y**2).sum()

    fl.gradient(f, x)
    assert set(seen) == {(np.ndarray, shape, np.dtype(dtype), True, True, False)}


def test_f_gets_the_structure_of_x():
    x = {"W": np.ones((2, 2), np.float32), "l": [np.ones(2), (3.0, {"b": np.zeros(())})]}

    def f(y):
        assert list(y) == ["W", "l"]
        assert type(y["l"]) is list
        assert type(y["l"][1]) is tuple
        assert (y["W"].dtype, y["l"][0].dtype) == (np.float32, np.float64)
        assert isinstance(y["l"][1][0], float)
        assert isinstance(y["l"][1][1]["b"], np.ndarray)
        return float(y["W"].sum() + y["l"][0] @ [1, 2] + y["l"][1][0] * 5 + y["l"][1][1]["b"])

    found = fl.gradient(f, x)
    assert found["W"].tolist() == pytest.approx(np.ones((2, 2)))
    assert found["W"].dtype == np.float32
    assert found["l"][0] == pytest.approx([1, 2])
    assert found["l"][1][0] == pytest.approx(5)
    assert type(found["l"][1]) is tuple
    assert found["l"][1][1]["b"].shape == ()


def test_fortran_and_strided_arrays():
    x = np.asfortranarray(np.arange(12.0).reshape(3, 4))[:, ::2]
    assert fl.gradient(cube_sum, x) == pytest.approx(3 * x**2, abs=1e-7)


@pytest.mark.parametrize(
    "ways", [{}, {"vectorized": True}, {"method": "adaptive"}, {"full_output": True}, {"method": "complex"}]
)
def test_f_may_modify_its_argument(ways):
    """It gets a copy that is its own: x, and the points that come after, are as they were."""
    x = np.array([1.0, 2.0, 3.0])
    before = moved(x)

    def f(y):
        result = (y**3).sum(axis=-1)
        y *= 0
        y += 7
        return result

    found = fl.gradient(f, x, **ways)
    value = found.value if "full_output" in ways else found
    assert value == pytest.approx(3 * x**2, rel=1e-8)
    assert moved(x) == before


def test_f_may_keep_what_it_got():
    kept = []

    def f(y):
        kept.append(y)
        return cube_sum(y)

    x = np.array([1.0, 2.0, 3.0])
    fl.gradient(f, x)
    assert len({id(y) for y in kept}) == len(kept) == 6
    assert all((y != x).sum() == 1 for y in kept)
    kept.clear()
    fl.gradient(lambda y: f(y["a"]), {"a": x})
    assert all((y != x).sum() == 1 for y in kept)


def test_f_may_keep_a_view():
    kept = []

    def f(y):
        kept.append(y[1:])
        return cube_sum(y)

    fl.gradient(f, np.array([1.0, 2.0, 3.0]))
    assert sum((view != [2.0, 3.0]).any() for view in kept) == 4


def into_a_buffer(kind, buffer):
    """Return a function whose results, squares of what it is given, share the memory of one buffer."""

    def f(y):
        if np.iscomplexobj(y):
            return kind(np.multiply(y, y))
        np.multiply(y, y, out=buffer)
        return kind(buffer)

    return f


@pytest.mark.parametrize("ways", [{}, {"workers": map}, {"full_output": True}, {"method": "adaptive"}], ids=str)
@pytest.mark.parametrize("kind", [lambda y: y, lambda y: y[:], lambda y: [y[0:1], y[1:2]], lambda y: (y,)])
def test_f_may_return_a_buffer_of_its_own(kind, ways):
    x = np.array([1.0, 2.0])
    found = fl.jacobian(into_a_buffer(kind, np.empty(2)), x, **ways)
    value = found.value if "full_output" in ways else found
    assert value.reshape(2, 2) == pytest.approx(np.diag(2 * x), rel=1e-8, abs=1e-12)


def test_a_gradient_or_number_may_be_a_buffer_too():
    x, gradient, value = np.array([1.0, 2.0]), {"a": np.empty(2)}, np.empty(())

    def df(tree):
        np.multiply(tree["a"], tree["a"], out=gradient["a"])
        return gradient

    def f(y):
        value[()] = (y**3).sum() / 3
        return value

    hessian = fl.hessian(lambda tree: 0.0, {"a": x}, jac=df)["a"]
    assert hessian["a"] == pytest.approx(np.diag(2 * x), rel=1e-8, abs=1e-12)
    assert fl.gradient(f, x) == pytest.approx(x**2, rel=1e-8)
    buffer = np.empty(2, np.complex128)
    complex_step = fl.jacobian(lambda y: np.multiply(y, y, out=buffer), x, method="complex")
    assert complex_step == pytest.approx(np.diag(2 * x), rel=1e-14)


def test_f_may_reshape_its_argument():
    x, seen = np.arange(1.0, 7.0), []

    def f(y):
        seen.append(y.shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            y.shape = (2, 3)
        return cube_sum(y)

    assert fl.gradient(f, x) == pytest.approx(3 * x**2, rel=1e-7)
    assert set(seen) == {(6,)}


def test_f_may_lock_its_argument():
    x, seen = np.arange(1.0, 7.0), []

    def f(y):
        seen.append(y.flags.writeable)
        y.flags.writeable = False
        return cube_sum(y)

    assert fl.gradient(f, x) == pytest.approx(3 * x**2, rel=1e-7)
    assert all(seen)


def test_f_may_return_its_argument():
    """What it returns is copied before the argument is used again."""
    x = np.array([1.0, 2.0])
    assert fl.jacobian(lambda y: y, x) == pytest.approx(np.eye(2), abs=1e-9)
    assert fl.jacobian(lambda y: y[::-1], x, vectorized=False) == pytest.approx(np.eye(2)[::-1], abs=1e-9)


@pytest.mark.parametrize("when", [1, 2, 5])
@pytest.mark.parametrize("error", [ValueError("mine"), KeyError("k"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("x", [np.array([1.0, 2.0, 3.0]), {"a": np.ones(2), "b": np.ones(())}], ids=["array", "tree"])
def test_what_f_raises_reaches_the_caller_and_x_is_untouched(x, error, when):
    before, calls = moved(x), []

    def f(y):
        calls.append(y)
        for a in y.values() if isinstance(y, dict) else [y]:
            a += 1
        if len(calls) == when:
            raise error
        return 0.0

    for function in (fl.gradient, fl.hessian, lambda *a: fl.gradient(*a, method="adaptive"), fl.jacobian):
        calls.clear()
        with pytest.raises(type(error)) as caught:
            function(f, x)
        assert caught.value is error
        assert len(calls) == when
    assert moved(x) == before


def test_what_means_undefined_for_numbers_is_nan():
    """1/0 and math.log(-1) say that x is outside of f's domain, as NaN does; other errors of the same types do not."""
    assert fl.derivative(math.log, 1e-6) == pytest.approx(1e6)
    assert fl.derivative(lambda t: 1 / t if t > 0 else 1 / 0, 1e-7) == pytest.approx(-1e14)
    assert fl.derivative(lambda t: math.exp(t) if t < 1 else math.exp(1000), 1 - 1e-5) == pytest.approx(
        math.e, rel=1e-4
    )
    for error in (ValueError("shapes do not fit"), np.linalg.LinAlgError("singular"), UnicodeError("x")):

        def f(t, error=error):
            raise error

        with pytest.raises(type(error)):
            fl.derivative(f, 1.0)


def test_f_warns_nothing():
    """f is called at points that the user did not choose: that it overflows there is nobody's concern."""
    assert fl.derivative(lambda t: np.log(t), 1e-3) == pytest.approx(1e3)
    assert fl.gradient(lambda x: np.sqrt(x).sum(), np.array([1e-7, 1.0])) == pytest.approx(
        [0.5 / 1e-7**0.5, 0.5], rel=1e-3
    )


def test_args_are_handed_on():
    assert fl.gradient(lambda x, a, b: a * x[0] + b, [1.0], args=(3.0, 4.0)) == pytest.approx([3.0])
    assert fl.derivative(lambda x, a: a * x, 1.0, args=(3.0,)) == pytest.approx(3.0)
    assert fl.vjp(lambda x, a: a * x, [1.0, 2.0], [1.0, 1.0], args=(3.0,)) == pytest.approx([3.0, 3.0])
    jac = lambda x, a: 2 * a * x  # noqa: E731
    assert fl.hessian(None, [1.0, 2.0], jac=jac, args=(3.0,)) == pytest.approx(6 * np.eye(2))
    assert fl.hvp(None, [1.0, 2.0], [1.0, 0.0], jac=jac, args=(3.0,)) == pytest.approx([6.0, 0.0])


def test_results_of_many_types():
    for convert in (float, np.float32, np.float64, int, np.int8, lambda v: np.array(v), lambda v: np.longdouble(v)):
        f = Function("test", lambda x, convert=convert: convert(x[0]), Space("test", [3.0]))
        values = f(Points.single([0, 0], [3.0, 5.0]))
        assert values.dtype == np.float64
        assert values.tolist() == [[3.0], [5.0]]
        assert f.shape == ()
    mixed = Function("test", lambda x: 1 if x[0] > 4 else 2.5, Space("test", [3.0]))
    assert mixed(Points.single([0, 0], [3.0, 5.0])).tolist() == [[2.5], [1.0]]
    rows = Function("test", lambda x: [[x[0], 1j]], Space("test", [3.0]))
    assert rows(Points.single([0], [3.0])).tolist() == [[3.0, 1j]]
    assert rows.shape == (1, 2)


@pytest.mark.parametrize("ways", [{}, {"vectorized": True}, {"workers": map}])
@pytest.mark.parametrize(
    "x", [np.ones(3), np.ones(3, np.float32), {"a": np.ones((1, 2)), "b": np.float64(1)}, {"a": np.ones(3, np.float32)}]
)
def test_points_in_full(x, ways):
    def f(y):
        parts = y.values() if isinstance(y, dict) else [y]
        n_points = 2 if "vectorized" in ways else 1
        total = sum((np.reshape(part, (n_points, -1)) ** 3).sum(axis=1) for part in parts)
        return total if "vectorized" in ways else total[0]

    rows = np.array([[0.1, 2.0, 3.0], [-1.0, 0.7, 5.0]])
    function = Function("test", f, Space("test", x), **ways)
    values = function(Rows(rows))
    assert values.tolist() == function(Points.rows(rows, np.arange(3))).tolist()
    assert values[:, 0] == pytest.approx((rows**3).sum(axis=1))


# ---------------------------------------------------------------------------------------------------------------------
# Many points in one call
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["central", "forward", "adaptive", "complex"])
@pytest.mark.parametrize("shape", [(4,), (2, 2), ()])
def test_vectorized_gives_the_same(method, shape):
    x = np.random.default_rng(0).normal(size=shape)
    f = lambda x: np.sin(x).reshape(*x.shape[: x.ndim - len(shape)], -1).sum(axis=-1)  # noqa: E731
    assert np.array_equal(fl.gradient(f, x, method=method, vectorized=True), fl.gradient(f, x, method=method))


def test_vectorized_trees_and_vectors():
    x = {"a": np.array([1.0, 2.0]), "b": 3.0}

    def f(y):
        return np.stack([y["a"][..., 0] * y["b"], y["a"].sum(axis=-1)], axis=-1)

    for other in ({}, {"vectorized": True}):
        found = fl.jacobian(f, x, **other)
        assert found["a"] == pytest.approx(np.array([[3.0, 0.0], [1.0, 1.0]]), abs=1e-9)
        assert found["b"] == pytest.approx([1.0, 0.0], abs=1e-9)
    assert fl.derivative(
        lambda t: np.stack([t, t**2], axis=-1), np.array([1.0, 2.0]), vectorized=True
    ) == pytest.approx(np.array([[1.0, 2.0], [1.0, 4.0]]))
    assert fl.vjp(f, x, [1.0, 10.0], vectorized=True)["a"] == pytest.approx([13.0, 10.0])
    jac = lambda y: {"b": y["a"][..., 0], "a": np.stack([y["b"], 2 * y["a"][..., 1]], axis=-1)}  # noqa: E731
    plain, stacked = (fl.hessian(None, x, jac=jac, vectorized=way) for way in (False, True))
    assert plain["a"]["a"] == pytest.approx(np.array([[0.0, 0.0], [0.0, 2.0]]), abs=1e-8)
    assert plain["b"]["a"] == pytest.approx([1.0, 0.0], abs=1e-8)
    assert np.array_equal(plain["a"]["b"], stacked["a"]["b"])
    assert np.array_equal(plain["a"]["a"], stacked["a"]["a"])


def test_vectorized_calls_once_where_memory_allows():
    f = Recorder(lambda x: (x**2).sum(axis=-1))
    fl.gradient(f, np.ones(10), vectorized=True)
    assert [p.shape for p in f.points] == [(20, 10)]
    f.points.clear()
    fl.gradient(f, np.ones(10), vectorized=True, max_memory=7 * 80)
    assert [p.shape for p in f.points] == [(7, 10), (7, 10), (6, 10)]
    f.points.clear()
    fl.gradient(f, np.ones(10), vectorized=True, max_memory=1)  # a point at a time is the least
    assert [p.shape for p in f.points] == [(1, 10)] * 20
    f.points.clear()
    fl.gradient(f, np.ones(10), vectorized=True, method="complex", max_memory=4 * 160)
    assert [p.shape for p in f.points][:3] == [(4, 10), (4, 10), (2, 10)]


def test_vectorized_keeps_to_its_memory():
    n, most = 2000, 2**20
    tracemalloc.start()
    fl.gradient(lambda x: x.sum(axis=-1), np.ones(n), vectorized=True, max_memory=most)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * most  # all points at once would be 64 MB


# ---------------------------------------------------------------------------------------------------------------------
# Workers
# ---------------------------------------------------------------------------------------------------------------------


class Tree:
    """Picklable functions."""

    @staticmethod
    def value(x):
        return float((x["a"] ** 2).sum() * x["b"])

    @staticmethod
    def vector(x):
        return np.array([x[0] * x[1], x[1] ** 2])

    @staticmethod
    def jac(x):
        return 2 * x

    @staticmethod
    def log(x):
        return math.log(x)


X = np.array([0.5, 1.5, 2.5])


# Other libraries of the process, and our own pool, have threads, of which forked children know nothing.
FORKS = pytest.mark.filterwarnings(
    "ignore:os.fork:RuntimeWarning",
    "ignore:This process:DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def test_many_points_of_nothing():
    assert fl.jacobian(lambda x: np.ones((len(x), 2)), np.zeros(0), vectorized=True).shape == (2, 0)


def test_what_is_a_number():
    """Numbers that NumPy would subtract in another way, and real ones among complex ones."""
    assert fl.gradient(lambda x: x[0] > 5, [3.0, 1.0]).tolist() == [0, 0]
    unsigned = lambda x: (8 - np.round(x)).astype(np.uint8)  # noqa: E731
    assert fl.jacobian(unsigned, [5.0, 3.0], step=1.0).tolist() == [[-1, 0], [0, -1]]
    sometimes_real = lambda x: x[0] ** 2 + 1j * x[1] if x[1] else x[0] ** 2  # noqa: E731
    assert fl.gradient(sometimes_real, [3.0, 0.0]) == pytest.approx(np.array([6, 1j]))
    assert fl.vjp(lambda x: float(x[0] * x[1]), [2.0, 3.0], 10.0) == pytest.approx([30, 20])


@FORKS
def test_workers_as_processes():
    expected = fl.gradient(cube_sum, X)
    assert np.array_equal(fl.gradient(cube_sum, X, workers=2), expected)
    assert np.array_equal(fl.gradient(cube_sum, X, workers=1), expected)
    with multiprocessing.Pool(2) as pool:
        for map_like in (pool.map, pool.imap, pool.imap_unordered):
            assert np.array_equal(fl.gradient(cube_sum, X, workers=map_like), expected)
        assert fl.gradient(Tree.value, {"a": X, "b": 2.0}, workers=pool.map)["a"] == pytest.approx(4 * X)
        assert fl.vjp(Tree.vector, [2.0, 3.0], [1.0, 1.0], workers=pool.map) == pytest.approx([3.0, 8.0])
        assert fl.hessian(None, X, jac=Tree.jac, workers=pool.map) == pytest.approx(2 * np.eye(3))
        assert fl.derivative(Tree.log, 1e-6, workers=pool.map) == pytest.approx(1e6)  # NaN travels, too
        assert fl.gradient(np.prod, X, method="complex", workers=pool.map) == pytest.approx(X.prod() / X)


def test_the_complex_step_on_workers():
    rows = []

    def mapped(function, questions):
        rows.extend(row for _, row in questions)
        return map(function, questions)

    assert fl.gradient(np.prod, X, method="complex", workers=mapped) == pytest.approx(X.prod() / X)
    assert sum(np.iscomplexobj(row) for row in rows) == len(X) + 1  # one more for the comparison


def test_workers_as_threads_and_maps():
    expected = fl.gradient(cube_sum, X)
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        assert np.array_equal(fl.gradient(cube_sum, X, workers=executor.map), expected)
        seen = []

        def f(x):
            seen.append(threading.current_thread())
            return cube_sum(x)

        fl.gradient(f, X, workers=executor.map)
        assert threading.main_thread() not in seen
    calls = []

    def own_map(function, iterable):
        points = list(iterable)
        calls.append(len(points))
        return [function(point) for point in points]

    assert np.array_equal(fl.gradient(cube_sum, X, workers=own_map), expected)
    assert calls == [6]  # all points of a stage at once


def test_warnings_of_numpy_at_points_of_ours_reach_nobody():
    """In whatever thread f runs, and where it is called once alone."""
    overflows = lambda x: 1 / (1 + np.exp(1000 * x).prod())  # noqa: E731
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        for ways in ({}, {"workers": executor.map}):
            assert fl.gradient(overflows, X, **ways).tolist() == [0, 0, 0]
            assert fl.directional(overflows, X, 0 * X, **ways) == 0
            divides = lambda x: np.where(x.real > 0, x**2, 1 / (0 * x)).sum()  # noqa: E731
            assert fl.gradient(divides, X, method="complex", **ways) == pytest.approx(2 * X)


def test_x_may_change_while_it_is_differentiated():
    x = np.array([1.0, 2.0])

    def f(y):
        x[:] = 99.0
        return float((y**2).sum())

    assert fl.gradient(f, x) == pytest.approx([2, 4])


def process(_):
    return os.getpid()


@FORKS
def test_all_processes_of_this_machine(monkeypatch):
    monkeypatch.setattr("fallline.workers.usable_cpus", lambda: 2)
    assert np.array_equal(fl.gradient(cube_sum, X, workers=-1), fl.gradient(cube_sum, X))
    with worker_map("gradient", -1) as mapped:
        assert os.getpid() not in mapped(process, range(4))
    with worker_map("gradient", 1) as mapped:
        assert mapped is None  # one process is this one


def fails(x):
    raise RuntimeError("in a worker")


@FORKS
def test_what_a_worker_raises_reaches_the_caller():
    with pytest.raises(RuntimeError, match="in a worker"):
        fl.gradient(fails, X, workers=2)
    assert multiprocessing.active_children() == []


def ends_its_process(x):
    os._exit(1)


@FORKS
def test_a_process_that_ends_is_not_waited_for():
    with pytest.raises(RuntimeError, match="must have processes that live until f returns"):
        fl.gradient(ends_its_process, X, workers=2)
    assert multiprocessing.active_children() == []


def backwards(function, points):
    return [function(point) for point in reversed(points)]


@pytest.mark.parametrize("workers", [backwards, lambda *given: (answer for answer in backwards(*given))])
def test_answers_of_workers_may_come_in_any_order(workers):
    assert np.array_equal(fl.gradient(cube_sum, X, workers=workers), fl.gradient(cube_sum, X))
    by_complex = fl.jacobian(np.sin, X, method="complex", workers=workers)
    assert np.array_equal(by_complex, np.diag(np.cos(X)))
    assert fl.derivative(np.sin, X, workers=workers) == pytest.approx(np.cos(X), rel=1e-10)


def test_workers_of_joblib():
    joblib = pytest.importorskip("joblib")
    expected = fl.gradient(cube_sum, X)
    for order in ("list", "generator", "generator_unordered"):

        def in_threads(function, points, order=order):
            parallel = joblib.Parallel(2, prefer="threads", return_as=order)
            return parallel(joblib.delayed(function)(point) for point in points)

        assert np.array_equal(fl.gradient(cube_sum, X, workers=in_threads), expected)


def test_a_type_error_of_f_is_not_that_of_workers():
    """Nor is it taken for a failure of pickling, though f cannot be pickled."""
    with pytest.raises(TypeError, match=r"^by f$"):
        fl.gradient(lambda x: raises(TypeError("by f")), X, workers=map)
    with pytest.raises(AttributeError, match=r"^by f$"):
        fl.gradient(lambda x: raises(AttributeError("by f")), X, workers=map)


def raises(error):
    raise error


# ---------------------------------------------------------------------------------------------------------------------
# Native functions
# ---------------------------------------------------------------------------------------------------------------------

SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_size_t, ctypes.c_void_p)
SOURCE = """
#include <stddef.h>
double scaled_square(const double *x, size_t n, void *user_data)
{
    double sum = 0, scale = user_data ? *(const double *)user_data : 1;
    for (size_t i = 0; i < n; i++)
        sum += x[i]*x[i];
    return scale*sum;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which((sysconfig.get_config_var("CC") or "gcc").split()[0])
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("native")
    (folder / "f.c").write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", folder / "f.c", "-o", folder / "f.so"], check=True)
    return ctypes.CDLL(str(folder / "f.so"))


def declared(library):
    f = library["scaled_square"]  # a new object each time, whose types may be set
    f.restype, f.argtypes = ctypes.c_double, [ctypes.POINTER(ctypes.c_double), ctypes.c_size_t, ctypes.c_void_p]
    return f


def test_native_of_ctypes(library):
    f = declared(library)
    for other in ({}, {"method": "forward"}, {"method": "adaptive"}, {"accuracy": 4}):
        assert fl.gradient(f, X, **other) == pytest.approx(2 * X, rel=1e-6)
    assert fl.hessian(f, X, accuracy=4) == pytest.approx(2 * np.eye(3), abs=1e-8)
    assert fl.directional(f, X, [1.0, 0.0, 0.0]) == pytest.approx(1.0)
    assert fl.gradient(f, X, full_output=True, noise="estimate").status.tolist() == ["ok"] * 3
    f.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    assert fl.gradient(f, X) == pytest.approx(2 * X)


def test_native_gets_points_in_full(library):
    function = Function("test", SIGNATURE(lambda x, n, _: x[0] + 10 * x[n - 1]), Space("test", np.zeros(3)))
    assert function(Rows(np.arange(6.0).reshape(2, 3))).tolist() == [[20.0], [53.0]]


def test_native_gets_all_of_x(library):
    """The Python callback of ctypes lets us look."""
    seen = []

    @SIGNATURE
    def f(x, n, user_data):
        seen.append([x[i] for i in range(n)])
        x[0] = 99.0  # it is a copy; but a native function is trusted to leave it alone
        x[0] = seen[-1][0]
        return sum(v * v for v in seen[-1])

    before = X.copy()
    assert fl.gradient(f, X) == pytest.approx(2 * X)
    assert np.array_equal(X, before)
    assert len(seen) == 6
    assert [sum(a != b for a, b in zip(point, X, strict=True)) for point in seen] == [1] * 6


@pytest.mark.parametrize("options", [{}, {"order": 2}, {"method": "forward"}, {"step": 0.3}, {"step": 0.3, "order": 2}])
def test_nfev_counts_every_call_of_a_native_function(options):
    """With step 0.3, x + h is exact at some entries alone."""
    calls = []
    f = SIGNATURE(lambda x, n, user_data: calls.append(n) or sum(x[i] ** 3 for i in range(n)))
    x = np.array([0.1, 1.0, 0.3])
    assert fl.gradient(f, x, full_output=True, **options).nfev == len(calls)


def test_native_functions_along_lines_that_machine_code_does_not_know():
    """Bounds, diagonals of a Hessian, and x + h that is rounded: the points are those of a Python function."""
    seen = []
    cube = lambda x: x[0] ** 3 * x[1] + x[2] ** 2  # noqa: E731

    @SIGNATURE
    def native(x, n, user_data):
        seen.append([x[i] for i in range(n)])
        return cube(seen[-1])

    x = np.array([3.0, 0.1, -5.0])
    python = Recorder(lambda x: cube(x.tolist()))
    for function, options in (
        (fl.gradient, {"bounds": ([2.9, 0.1, -5.5], [3.0, 0.2, -4.5]), "step": 0.07}),
        (fl.gradient, {"step": 0.3}),
        (fl.gradient, {"step": 0.3, "method": "forward"}),
        (fl.hessian, {}),
        (fl.hessian, {"method": "forward", "accuracy": 2}),
    ):
        seen.clear()
        python.points.clear()
        assert np.array_equal(function(native, x, **options), function(python, x, **options))
        assert {tuple(point) for point in seen} == {tuple(point) for point in np.array(python.points).tolist()}


def test_a_compiled_function_is_called_in_the_ways_that_are_asked_for():
    """As native code it knows but one: what it cannot do is refused by itself, as a Python function is."""
    product, points = fl.compile("x*y"), []

    def mapped(function, moves):
        points.extend(moves)
        return map(function, moves)

    assert fl.gradient(product, [2.0, 3.0], workers=mapped) == pytest.approx([3, 2])
    assert len(points) == 4
    for x, options in (([2.0, 3.0, 4.0], {}), ([2.0], {}), ([2.0, 3.0], {"vectorized": True})):
        with pytest.raises(ValueError, match=r"x: must have shape \(2,\)"):
            fl.gradient(product, x, **options)
    with pytest.raises(TypeError, match="positional argument"):
        fl.gradient(product, [2.0, 3.0], args=(1.0,))


def test_native_of_scipy(library):
    scipy = pytest.importorskip("scipy")
    scale = ctypes.c_double(3.0)
    f = scipy.LowLevelCallable(declared(library), ctypes.cast(ctypes.pointer(scale), ctypes.c_void_p))
    assert fl.gradient(f, X) == pytest.approx(6 * X)
    assert fl.gradient(scipy.LowLevelCallable(declared(library)), X) == pytest.approx(2 * X)
    wrong = scipy.LowLevelCallable(ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(abs))
    with pytest.raises(TypeError, match="signature"):
        fl.gradient(wrong, X)


def test_native_of_numba():
    numba = pytest.importorskip("numba")
    types = numba.types

    @numba.cfunc(types.float64(types.CPointer(types.float64), types.uintp, types.voidptr))
    def f(x, n, user_data):
        total = 0.0
        for i in range(n):
            total += x[i] ** 2
        return total

    assert fl.gradient(f, X) == pytest.approx(2 * X)


def test_native_runs_without_the_gil(library):
    """Threads of Python run while it does: here, one that must answer before f returns."""
    asked, answered = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asked.wait(10) and answered.set())
    thread.start()

    @SIGNATURE
    def f(x, n, user_data):  # ctypes takes the GIL for it, which deadlocks if the caller still held it
        asked.set()
        assert answered.wait(10)
        return x[0] ** 2

    assert fl.gradient(f, np.ones(1)) == pytest.approx([2.0])
    thread.join()


def test_many_native_evaluations_can_be_interrupted(library):
    """Between blocks, signals are looked at."""
    import signal

    f, x = declared(library), np.ones(5000)
    previous = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with pytest.raises(KeyboardInterrupt):
            [fl.gradient(f, x) for _ in range(1000)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


# ---------------------------------------------------------------------------------------------------------------------
# How often
# ---------------------------------------------------------------------------------------------------------------------

N = 5
Y = np.linspace(0.5, 1.5, N)


def count(function, *arguments, f=cube_sum, **options):
    recorder = Recorder(f)
    function(recorder, Y, *arguments, **options)
    return len(recorder)


@pytest.mark.parametrize("accuracy", [2, 4, 6, 8])
def test_evaluations_of_central_differences(accuracy):
    assert count(fl.gradient, accuracy=accuracy) == accuracy * N
    assert count(fl.gradient, accuracy=accuracy, step=1e-3) == accuracy * N
    assert count(fl.jacobian, f=lambda x: x**2, accuracy=accuracy) == accuracy * N
    assert count(fl.partial, 2, accuracy=accuracy, method="central") == accuracy
    assert count(fl.directional, Y, accuracy=accuracy) == accuracy
    assert count(fl.vjp, Y, f=lambda x: x**2, accuracy=accuracy) == accuracy * N
    assert count(fl.gradient, order=2, accuracy=accuracy) == accuracy * N + 1


@pytest.mark.parametrize("accuracy", range(1, 9))
@pytest.mark.parametrize("method", ["forward", "backward"])
def test_evaluations_of_one_sided_differences(method, accuracy):
    assert count(fl.gradient, method=method, accuracy=accuracy) == accuracy * N + 1
    assert count(fl.directional, Y, method=method, accuracy=accuracy) == accuracy + 1
    assert count(fl.gradient, method=method, accuracy=accuracy, order=2) == (accuracy + 1) * N + 1


def test_evaluations_of_the_complex_step():
    assert count(fl.gradient, f=lambda x: (x**3).sum(), method="complex") == N + 3
    tree = Recorder(lambda x: x["a"] ** 2 * x["b"].sum())
    fl.gradient(tree, {"a": 1.0, "b": Y}, method="complex")
    assert len(tree) == (1 + 3) + (N + 3)


def test_evaluations_of_second_derivatives():
    assert count(fl.hessian) == N * (N + 1) + 1
    assert count(fl.hvp, Y) == 4 * N + 1
    assert count(lambda f, x: fl.hessian(None, x, jac=f), f=lambda x: 3 * x**2) == 2 * N
    assert count(lambda f, x: fl.hvp(None, x, Y, jac=f), f=lambda x: 3 * x**2) == 2
    assert count(lambda f, x: fl.hvp(None, x, Y, jac=f, accuracy=4), f=lambda x: 3 * x**2) == 4
    assert count(lambda f, x: fl.hvp(None, x, 0 * Y, jac=f), f=lambda x: 3 * x**2) <= 1


def test_evaluations_of_a_function_that_computes_in_single_precision():
    """Its first value tells, and all are taken with steps that fit."""
    assert count(fl.gradient, f=lambda x: np.float32((x**2).sum())) == 2 * N + 1
    assert count(fl.hessian, f=lambda x: np.float32((x**2).sum())) == N * (N + 1) + 2


@pytest.mark.parametrize(
    "options",
    [{}, {"method": "forward"}, {"method": "adaptive"}, {"noise": "estimate"}, {"step": "shi"}, {"method": "complex"}],
)
def test_nfev_counts_every_point(options):
    points = []

    def f(x):
        points.append(np.shape(x)[:-1])
        return (x**3).sum(axis=-1)

    for ways in ({}, {"vectorized": True}, {"workers": map}):
        points.clear()
        found = fl.gradient(f, Y, full_output=True, **options, **ways)
        assert found.nfev == sum(math.prod(shape) for shape in points)
    calls = Recorder(np.sin)
    assert fl.derivative(calls, [1.0, 2.0], full_output=True, **({"method": "central"} | options)).nfev == len(calls)
    assert count(fl.gradient, method="adaptive") <= 23 * N
    undefined = Recorder(math.log)  # at points where it raises, too
    if options.get("method") != "complex":
        own = {"method": "backward"} | options
        assert fl.derivative(undefined, 1e-7, full_output=True, **own).nfev == len(undefined)


def test_numbers_of_python_are_numbers_of_any_size_and_kind():
    big, half = 2**70, fractions.Fraction(1, 2)
    assert fl.gradient(lambda x: int(x) * big, 8.0, step=1.0) == pytest.approx(big)
    assert np.array_equal(fl.jacobian(lambda x: [big * int(x), half * int(x)], 8.0, step=1.0), [big, 0.5])
    assert fl.gradient(lambda x: 3 * x, big) == pytest.approx(3)
    assert fl.check_gradient(lambda x: fractions.Fraction(float(x[0])) ** 2, lambda x: 2 * x, np.array([3.0])).passed
    with pytest.raises(ValueError, match="no finite difference"):
        fl.gradient(lambda x: 10**400, 1.0)


def test_tensors_of_torch_are_taken_out_of_their_graph():
    torch = pytest.importorskip("torch")

    def sines(x):
        return torch.sin(torch.tensor(x, requires_grad=True))

    def cosines(x):
        return torch.cos(torch.tensor(x, requires_grad=True))

    def pair(x):
        t = torch.tensor(x, requires_grad=True)
        loss = torch.sin(t).sum()
        loss.backward()
        return loss, t.grad

    assert fl.gradient(lambda x: sines(x).sum(), X) == pytest.approx(np.cos(X))
    assert fl.vjp(sines, X, np.ones(3)) == pytest.approx(np.cos(X))
    assert fl.hvp(None, X, X, jac=sines) == pytest.approx(np.cos(X) * X)
    parameters = {"w": torch.tensor(X, requires_grad=True)}
    assert fl.gradient(lambda p: sines(p["w"]).sum(), parameters)["w"] == pytest.approx(np.cos(X))
    assert fl.check_gradient(pair, True, X).passed
    assert fl.check_gradient(lambda x: sines(x).sum(), lambda x: -cosines(x), X).verdict == "fail"
    assert fl.check_products(sines, X, vjp=lambda x, u: cosines(x) * torch.tensor(u)).passed
    assert fl.check_jacobian(sines, lambda x: torch.diag(cosines(x)).to_sparse(), X).passed
    assert fl.check_jacobian(sines, lambda x: torch.diag(-cosines(x)).to_sparse(), X).verdict == "fail"
