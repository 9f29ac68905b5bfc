"""Every message of the derivative functions: how to get it, what it says, and that x was left alone.

A row is one way to get one message. The last test compares the rows with the messages that stand in the sources.
"""
# ruff: noqa: E501 - a message stands in one piece, so that searching for it finds it

import concurrent.futures
import ctypes
import math
import pickle

import numpy as np
import pytest

import fallline as fl
from message_rows import Row, check_ids, check_row, without_a_row
from test_messages import SOURCE

MODULES = [
    "space",
    "evaluate",
    "native",
    "workers",
    "lines",
    "noise",
    "near",
    "fixed",
    "adaptive",
    "complexstep",
    "sparsity",
    "options",
    "task",
    "derivatives",
]
OWN_ERRORS = {"raise _OtherStructure", "raise CoarseError"}  # caught where they are raised


ROWS: list[Row] = []
X = np.array([0.5, 1.5])
TREE = {"a": np.ones(2), "b": 3.0}


def square(x):
    return float((x**2).sum())


def tree_square(t):
    return float((t["a"] ** 2).sum() * t["b"])


def row(id, call, kind, text):
    ROWS.append(Row(id, call, kind, text))


def refused(id, kind, text, f=square, x=X, **options):
    """Add a row for fl.gradient."""
    row(id, lambda: fl.gradient(f, x, **options), kind, f"gradient{text}")


# ---- x

FLOATS = "must be float32, float64 or integer numbers"
CONVERT = "Convert it, for example with .astype(numpy.float64)."
for id, x, got in (
    ("bool", True, "bool"), ("bools", np.ones(2, bool), "bool"), ("half", np.ones(2, np.float16), "float16"),
    ("long", np.ones(2, np.longdouble), "longdouble" if np.longdouble(1).dtype.name == "float64" else np.longdouble(1).dtype.name),
    ("none", None, "NoneType"), ("text", "1.0", "<U3"), ("object", np.array([1.0, None]), "object"),
    ("masked", np.ma.ones(2), "a masked array"), ("set", {1.0}, "set"),
):  # fmt: skip
    refused(f"x-{id}", TypeError, f"(x): {FLOATS}; got {got}. {CONVERT}", x=x)
refused(
    "x-complex",
    TypeError,
    f"(x): {FLOATS}; got complex128. Differentiate by the real and imaginary parts, as two arrays.",
    x=1j,
)
refused("x-leaf", TypeError, f"(x['l/1']): {FLOATS}; got bool. {CONVERT}", x={"l": [np.ones(2), np.ones(2, bool)]})
refused(
    "x-nan", ValueError, "(x): must be finite; got nan at [1]. Choose a point where f is defined.", x=[1.0, math.nan]
)
refused("x-inf", ValueError, "(x): must be finite; got inf. Choose a point where f is defined.", x=math.inf)
refused("x-names", ValueError, "(x): must have a name of its own for every array (keys are joined by '/'); got 'a/b' twice. Rename a key.",
        x={"a": {"b": np.ones(2)}, "a/b": np.ones(2)})  # fmt: skip

# ---- f

refused("f-none", TypeError, "(f): must be callable; got NoneType. Pass a function of x.", f=None)
refused("f-text", TypeError, "(f): must return numbers; got str. Return the value of the function.", f=lambda x: "1")
refused(
    "f-pair", TypeError, "(f): must return numbers; got tuple. Return the value of the function.", f=lambda x: (1.0, x)
)
refused(
    "f-nothing",
    TypeError,
    "(f): must return numbers; got NoneType. Return the value of the function.",
    f=lambda x: None,
)
refused("f-shape", ValueError, "(f): must return the same shape at every point; got (1,) after (2,). Make its shape independent of x.",
        f=lambda x: x[: 1 + (x[0] < 0.5)])  # fmt: skip
refused("f-shape-later", ValueError, "(f): must return the same shape at every point; got (2,) after (1,). Make its shape independent of x.",
        f=lambda x: x[: 1 + (x[1] != 1.5)])  # fmt: skip
row("f-shape-at-x", lambda: fl.jacobian(lambda x: np.ones(2 - (x[0] == 0.5)), [0.5], method="forward"), ValueError,
    "jacobian(f): must return the same shape at every point; got (1,) after (2,). Make its shape independent of x.")  # fmt: skip
refused("f-vector", ValueError, "(f): must return one number; got an array of shape (2,). Use fallline.jacobian for functions with several outputs.",
        f=lambda x: x)  # fmt: skip
refused("f-empty", ValueError, "(f): must return one number; got an array of shape (0,). Use fallline.jacobian for functions with several outputs.",
        f=lambda x: x[:0])  # fmt: skip
for id, function in (("hessian", fl.hessian), ("hvp", lambda f, x, **ways: fl.hvp(f, x, x, **ways))):
    row(f"{id}-complex", lambda function=function: function(square, X, method="complex"), ValueError,
        f'{id}(method): must not be "complex" without jac, as it takes first derivatives; got \'complex\'. '
        'Pass jac, or use method="central" or "adaptive".')  # fmt: skip
for id, function in (("directional", fl.directional), ("hvp", fl.hvp)):
    row(f"{id}-v-nan", lambda function=function: function(square, X, [1.0, math.nan]), ValueError,
        f"{id}(v): must be finite; got nan where x has x[1]. Correct it.")  # fmt: skip
row("vjp-u-nan", lambda: fl.vjp(np.sin, X, [1.0, math.inf]), ValueError, "vjp(u): must be finite; got inf. Correct it.")
row(
    "hessian-vector",
    lambda: fl.hessian(lambda x: x, X),
    ValueError,
    "hessian(f): must return one number; got an array of shape (2,). Use fallline.jacobian for functions with several outputs.",
)
ONE_EACH = "(f): must return one result for each point on the leading axis if vectorized=True; got shape {} for 4 points. Write f for x of shape (points, ...), or leave vectorized out."
refused("f-not-vectorized", ValueError, ONE_EACH.format("()"), vectorized=True)
refused("f-half-vectorized", ValueError, ONE_EACH.format("(2,)"), f=lambda x: x.sum(axis=0), vectorized=True)
DERIVATIVE = "must have a derivative at x; got "
LOOK = "Choose another point, pass bounds, or look at what full_output=True tells."
refused(
    "f-nan",
    ValueError,
    f"(f): {DERIVATIVE}no finite difference, however small the step, at x[0]. {LOOK}",
    f=lambda x: math.nan,
)
refused(
    "f-nan-tree",
    ValueError,
    f"(f): {DERIVATIVE}no finite difference, however small the step, at a[0]. {LOOK}",
    f=lambda t: math.nan,
    x=TREE,
)
row(
    "f-nan-along",
    lambda: fl.directional(lambda x: math.nan, X, X),
    ValueError,
    f"directional(f): {DERIVATIVE}no finite difference, however small the step. {LOOK}",
)
row(
    "f-jump",
    lambda: fl.derivative(np.cbrt, 0.0),
    ValueError,
    f"derivative(f): {DERIVATIVE}differences that grow when the step shrinks, as at a jump or an infinite slope, at x. {LOOK}",
)
row(
    "f-wild",
    lambda: fl.derivative(math.sin, 1e20),
    ValueError,
    f"derivative(f): {DERIVATIVE}values that change wildly from one floating-point number to the next at x. {LOOK}",
)

# ---- native functions

POINTER = ctypes.POINTER(ctypes.c_double)
NATIVE = ctypes.CFUNCTYPE(ctypes.c_double, POINTER, ctypes.c_size_t, ctypes.c_void_p)(lambda x, n, data: x[0])
ONE_ARRAY = "(f): must be given one 1-D array of float64 and no args if it is native; got another variable, or args. Put constants into its user_data."
for id, x, options in (
    ("2-d", np.ones((2, 2)), {}),
    ("single", np.ones(2, np.float32), {}),
    ("number", 1.0, {}),
    ("args", X, {"args": (1,)}),
    ("tree", TREE, {}),
):
    refused(f"native-{id}", TypeError, ONE_ARRAY, f=NATIVE, x=x, **options)
SIGNATURE = '(f): must have the signature "double (const double *, size_t, void *)" if it is native; got "{}". Declare it so (for ctypes: restype and argtypes).'
for id, kind, got in (
    ("number", ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double), "double (double)"),
    ("int", ctypes.CFUNCTYPE(ctypes.c_double, POINTER, ctypes.c_int, ctypes.c_void_p), "double (double *, c_int, void *)"),
    ("result", ctypes.CFUNCTYPE(ctypes.c_float, POINTER, ctypes.c_size_t, ctypes.c_void_p), "c_float (double *, size_t, void *)"),
    ("void", ctypes.CFUNCTYPE(None, POINTER, ctypes.c_size_t, ctypes.c_void_p), "void (double *, size_t, void *)"),
    ("single", ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_float), ctypes.c_size_t, ctypes.c_void_p), "double (LP_c_float, size_t, void *)"),
):  # fmt: skip
    refused(f"signature-{id}", TypeError, SIGNATURE.format(got), f=kind(lambda *_: 0))
refused(
    "signature-none",
    TypeError,
    SIGNATURE.format("c_int ()"),
    f=ctypes.pythonapi["PyErr_Occurred"] if False else ctypes.CDLL(None)["abs"],
)
refused("native-gil", TypeError, "(f): must be callable without the GIL if it is native; got a function of ctypes.PyDLL or PYFUNCTYPE. Use ctypes.CDLL or CFUNCTYPE.",
        f=ctypes.PYFUNCTYPE(ctypes.c_double, POINTER, ctypes.c_size_t, ctypes.c_void_p)(lambda *_: 0.0))  # fmt: skip
refused("native-null", ValueError, "(f): must point to a function if it is native; got a null pointer. Load it first.",
        f=type(NATIVE)())  # fmt: skip


class OfCffi:
    """What a function of cffi is to Python."""

    def __call__(self, x, n, data):
        """Never called."""


OfCffi.__module__ = "_cffi_backend"
refused("native-cffi", TypeError, "(f): must be of SciPy, ctypes or Numba if it is native; got a function of cffi. Pass scipy.LowLevelCallable(f).",
        f=OfCffi())  # fmt: skip
row(
    "native-vjp",
    lambda: fl.vjp(NATIVE, X, 1.0),
    TypeError,
    "vjp(f): must be a Python function; got a native one, which has one output. Use fallline.gradient.",
)

# ---- how f is called

WAYS = ": must be told one way to evaluate f; got {}. Leave one out."
refused("ways", ValueError, WAYS.format("vectorized and workers"), vectorized=True, workers=map)
refused("ways-native", ValueError, WAYS.format("vectorized and a native f"), f=NATIVE, vectorized=True)
refused("ways-native-workers", ValueError, WAYS.format("workers and a native f"), f=NATIVE, workers=map)
WORKERS = "(workers): must be a positive integer, -1 for all CPUs, or a function like map; got {}. Pass one of these."
for workers in (0, -2, 1.5, "2", True):
    refused(f"workers-{workers!r}", ValueError, WORKERS.format(repr(workers)), workers=workers)
PASS_A_MAP = "Pass a function like map, such as the map of a pool or an executor."
ONE_FOR_EACH = f"(workers): must return one result for each point, as map does; got {{}} for 4. {PASS_A_MAP}"
for id, workers, got in (
    ("few", lambda f, points: [f(points[0])], "1"),
    ("many", lambda f, points: [f(point) for point in points] * 2, "8"),
    ("twice", lambda f, points: [f(points[0])] * 4, "3 of them twice"),
):
    refused(f"workers-{id}", ValueError, ONE_FOR_EACH.format(got), workers=workers)


class Executor:
    """What an executor, or a pool, has of a function like map."""

    def __repr__(self):
        return "Executor()"

    def map(self, f, points):
        """Return futures, as dask's client does."""
        done = concurrent.futures.Future()
        done.set_result(f(points[0]))
        return [done] * len(points)

    def submit(self, f, points):
        """Return a future."""
        return concurrent.futures.Future()


def broken(f, points):
    raise concurrent.futures.BrokenExecutor("all gone")


def pickled(f, points):
    return map(pickle.loads(pickle.dumps(f)), points)


ALL_CPUS = "(workers): must be a positive integer, -1 for all CPUs, or a function like map; got"
refused("workers-executor", ValueError, f"{ALL_CPUS} Executor(). Pass its map.", workers=Executor())
HANDED = "(workers): must return what the function returns that is handed to it; got {}."
refused(
    "workers-futures", ValueError, HANDED.format("Future") + " Wait for it, as .result() does.", workers=Executor().map
)
refused(
    "workers-none-each",
    ValueError,
    f"{HANDED.format('NoneType')} {PASS_A_MAP}",
    workers=lambda f, points: [None for _ in points],
)
RESULTS = "(workers): must return the results, as map does; got {}. Return a list of them, once they are there."
refused("workers-none", ValueError, RESULTS.format("NoneType"), workers=lambda f, points: None)
refused(
    "workers-complex-none", ValueError, RESULTS.format("NoneType"), workers=lambda f, points: None, method="complex"
)
refused("workers-future", ValueError, RESULTS.format("Future"), workers=Executor().submit)
refused("workers-signature", ValueError, f"(workers): must take a function and a list of points, as map does; got TypeError (...takes 1 positional argument but 2 were given). {PASS_A_MAP}",
        workers=lambda f: f)  # fmt: skip
refused("workers-all-at-once", ValueError, f"(workers): must call the function with one point at a time, as map does; got 4 arguments. {PASS_A_MAP}",
        workers=lambda f, points: f(*points))  # fmt: skip
refused("workers-broken", RuntimeError, "(workers): must have processes that live until f returns; got BrokenExecutor (all gone). Look for what ends them (memory, a crash), and define f in a module that they can import.",
        workers=broken)  # fmt: skip
for id, ways in (("", {}), ("-complex", {"method": "complex"})):
    refused(f"workers-pickle{id}", ValueError, "(workers): must be sent an f and args that can be pickled; got ... (...pickle...). Define f at the top level of a module, or pass the map of threads.",
            f=lambda x: x.sum(), workers=pickled, **ways)  # fmt: skip
refused("args", TypeError, "(args): must be a tuple; got int. For one argument write args=(a,).", args=1)
refused(
    "memory",
    ValueError,
    "(max_memory): must be an integer from 1 to 4611686018427387904; got 0. Pass such a number.",
    max_memory=0,
)

# ---- options

refused(
    "method",
    ValueError,
    "(method): must be one of 'central', 'forward', 'backward', 'complex', 'adaptive'; got '3-point'. Pass one of these.",
    method="3-point",
)
refused("method-none", ValueError, "(method): must be one of ...; got None. Pass one of these.", method=None)
INTEGER = "must be an integer from 1 to {}; got {}. Pass such a number."
for order in (0, 3, 1.0, True, "1"):
    refused(f"order-{order!r}", ValueError, f"(order): {INTEGER.format(2, repr(order))}", order=order)
row("order-7", lambda: fl.derivative(square, 1.0, order=7), ValueError, f"derivative(order): {INTEGER.format(6, 7)}")
refused(
    "order-complex",
    ValueError,
    '(order): must be 1 for method="complex", which has no cancellation only there; got 2. Use method="central" or "adaptive".',
    order=2,
    method="complex",
)
row("order-sparse", lambda: fl.jacobian(lambda x: x, X, order=2, sparsity=np.eye(2)), ValueError,
    "jacobian(order): must be 1 if sparsity is given, which is verified by sums of first derivatives; got 2. Leave one out.")  # fmt: skip
for accuracy in (0, 9, 2.0):
    refused(
        f"accuracy-{accuracy!r}",
        ValueError,
        f"(accuracy): {INTEGER.format(8, repr(accuracy))}",
        accuracy=accuracy,
        method="forward",
    )
refused(
    "accuracy-odd",
    ValueError,
    '(accuracy): must be even for method="central", whose odd terms cancel; got 3. Use 4, which costs no more.',
    accuracy=3,
)
ABSENT = (
    '({}): must be left out for method="{}", which chooses by itself; got {}. Leave it out, or choose another method.'
)
refused("accuracy-adaptive", ValueError, ABSENT.format("accuracy", "adaptive", 4), accuracy=4, method="adaptive")
refused("step-complex", ValueError, ABSENT.format("step", "complex", 0.1), step=0.1, method="complex")
POSITIVE = "must be positive and finite; got {}. Correct it."
for step in (0.0, -1.0, math.inf, math.nan):
    refused(f"step-{step}", ValueError, f"(step): {POSITIVE.format(step)}", step=step)
refused(
    "step-name",
    ValueError,
    "(step): must be a number, x's structure or \"shi\"; got 'auto'. Pass one of these.",
    step="auto",
)
refused("step-entry", ValueError, f"(step): {POSITIVE.format(0.0)}", step=[1.0, 0.0])
refused(
    "step-relative",
    ValueError,
    "(relative): must go with a step; got none. Pass step, or leave relative out.",
    relative=True,
)
refused("typical", ValueError, f"(typical): {POSITIVE.format(0.0)}", typical=0)
refused("typical-zero", ValueError, f"(typical): {POSITIVE.format(0.0)}", typical=0.0)
refused("typical-inf", ValueError, f"(typical): {POSITIVE.format(np.inf)}", typical=np.inf)
refused("typical-inf-entry", ValueError, f"(typical): {POSITIVE.format(np.inf)}", typical=[1.0, np.inf])
refused(
    "typical-shape",
    ValueError,
    "(typical): must be a number or of x's structure; got shape (3,) where x has (2,). Reshape it.",
    typical=np.ones(3),
)
refused(
    "typical-type",
    TypeError,
    "(typical): must be real numbers; got complex128. Pass numbers or arrays of floats.",
    typical=[1j, 1.0],
)
NOISE = '(noise): must be None, "estimate" or the absolute error of f; got {}. Pass one of these.'
for noise in (-1.0, math.nan, math.inf, "auto", True, [1e-3]):
    refused(f"noise-{noise!r}", ValueError, NOISE.format(repr(noise)), noise=noise)
refused("rng", TypeError, "(rng): must be an integer or a numpy.random.Generator; got 'seed'. Pass a seed.", rng="seed")
refused(
    "rng-negative", TypeError, "(rng): must be an integer or a numpy.random.Generator; got -1. Pass a seed.", rng=-1
)
refused(
    "keyword",
    TypeError,
    "(metod): must be a keyword that it takes; got 'metod'. Perhaps 'method' is meant.",
    metod="central",
)
refused(
    "keyword-far",
    TypeError,
    "(epsilon): must be a keyword that it takes; got 'epsilon'. It takes f, x, order, method, ....",
    epsilon=1e-8,
)
row(
    "keyword-omitted",
    lambda: fl.hessian(square, X, order=2),
    TypeError,
    "hessian(order): must be a keyword that it takes; got 'order'. It takes f, x, jac, ....",
)
row(
    "keyword-options",
    lambda: fl.hvp(square, X, X, options=None),
    TypeError,
    "hvp(options): must be a keyword that it takes; got 'options'. It takes f, x, v, jac, ....",
)
CALL = ": must be called with its arguments, and options by keyword; got a call with {}. See help(fallline.{})."
row(
    "call-few",
    lambda: fl.gradient(square),
    TypeError,
    "gradient" + CALL.format("missing a required argument: 'x'", "gradient"),
)
row(
    "call-many",
    lambda: fl.gradient(square, X, 2),
    TypeError,
    "gradient" + CALL.format("too many positional arguments", "gradient"),
)
row(
    "call-twice",
    lambda: fl.gradient(square, X, x=X),
    TypeError,
    "gradient" + CALL.format("multiple values for argument 'x'", "gradient"),
)

# ---- bounds

PAIR = "(bounds): must be a pair (low, high), or have lb and ub; got {}. For one range for all entries write bounds=(0, 1)."
refused("bounds-number", TypeError, PAIR.format(1), bounds=1)
refused("bounds-three", TypeError, PAIR.format("(0, 1, 2)"), bounds=(0, 1, 2))
refused(
    "bounds-x",
    ValueError,
    "(x): must be within the bounds; got 1.5 at x[1], outside of [0.0, 1.0]. Move x or widen the bounds.",
    bounds=(0, 1),
)
refused(
    "bounds-turned",
    ValueError,
    "(x): must be within the bounds; got 0.5 at x[0], outside of [2.0, 0.0]. Move x or widen the bounds.",
    bounds=(2, 0),
)
refused(
    "bounds-tree",
    ValueError,
    "(x): must be within the bounds; got 3.0 at b, outside of [0.0, 1.0]. Move x or widen the bounds.",
    f=tree_square,
    x=TREE,
    bounds=(0, 1),
)
refused(
    "bounds-none",
    TypeError,
    "(bounds): must be real numbers; got NoneType. Pass numbers or arrays of floats.",
    bounds=(None, 1),
)
refused("bounds-narrow", ValueError, "(bounds): must leave room for a step that rounding does not hide; got 1e-10 at x[1]. Widen them.",
        bounds=([0.5, 1.5 - 1e-10], [2.0, 1.5 + 1e-10]), order=2)  # fmt: skip
refused(
    "bounds-room",
    ValueError,
    "(bounds): must leave room for a step; got none at x[1]. Widen them.",
    bounds=([0, 1.5], [1, 1.5]),
)
refused(
    "bounds-room-tree",
    ValueError,
    "(bounds): must leave room for a step; got none at b. Widen them.",
    f=tree_square,
    x=TREE,
    bounds=({"a": [0, 0], "b": 3.0}, {"a": [2, 2], "b": 3.0}),
)

# ---- structures

NAMED = "must be a number or of x's structure, with 'a', 'b'; got {}. Pass one entry for each of x."
refused(
    "structure-keys", ValueError, f"(step): {NAMED.format(repr('a'))}", f=tree_square, x=TREE, step={"a": np.ones(2)}
)
refused("structure-array", ValueError, f"(step): {NAMED.format(repr('0'))}", f=tree_square, x=TREE, step=np.ones(2))
refused("structure-empty", ValueError, f"(step): {NAMED.format('nothing')}", f=tree_square, x=TREE, step={})
row(
    "direction-keys",
    lambda: fl.directional(tree_square, TREE, {"a": np.ones(2), "c": 1.0}),
    ValueError,
    "directional(v): must be of x's structure, with 'a', 'b'; got 'a', 'c'. Pass one entry for each of x.",
)
row(
    "direction-key-more",
    lambda: fl.directional(tree_square, TREE, {"a": np.ones(2), "b": 1.0, "c": 1.0}),
    ValueError,
    "directional(v): must be of x's structure, with 'a', 'b'; got 'a', 'b', 'c'. Pass one entry for each of x.",
)
row(
    "direction-array-more",
    lambda: fl.directional(lambda t: t[0].sum(), [X], [X, X]),
    ValueError,
    "directional(v): must be of x's structure, with '0'; got '0', '1'. Pass one entry for each of x.",
)
row(
    "direction-transposed",
    lambda: fl.directional(square, np.ones((2, 3)), np.ones((3, 2))),
    ValueError,
    "directional(v): must be of x's structure; got shape (3, 2) where x has (2, 3). Reshape it.",
)
row(
    "direction-shape",
    lambda: fl.hvp(square, X, np.ones(3)),
    ValueError,
    "hvp(v): must be of x's structure; got shape (3,) where x has (2,). Reshape it.",
)
row(
    "direction-number",
    lambda: fl.hvp(square, X, 1.0),
    ValueError,
    "hvp(v): must be of x's structure; got shape () where x has (2,). Reshape it.",
)
row(
    "direction-type",
    lambda: fl.directional(square, X, ["a", "b"]),
    ValueError,
    "directional(v): must be of x's structure, with '0'; got '0', '1'. Pass one entry for each of x.",
)
row(
    "direction-complex",
    lambda: fl.directional(square, X, [1j, 0]),
    TypeError,
    "directional(v): must be real numbers; got complex128. Pass numbers or arrays of floats.",
)
row(
    "jac-shape",
    lambda: fl.hessian(None, X, jac=lambda x: 2 * x[:1]),
    ValueError,
    "hessian(jac): must be of x's structure; got shape (1,) where x has (2,). Reshape it.",
)
row(
    "jac-number",
    lambda: fl.hvp(None, X, X, jac=square),
    ValueError,
    "hvp(jac): must be of x's structure; got shape () where x has (2,). Reshape it.",
)
row(
    "jac-keys",
    lambda: fl.hessian(None, TREE, jac=lambda t: {"a": t["a"]}),
    ValueError,
    "hessian(jac): must be of x's structure, with 'a', 'b'; got 'a'. Pass one entry for each of x.",
)
row(
    "jac-stacked",
    lambda: fl.hessian(None, X, jac=lambda x: x[:, :1], vectorized=True),
    ValueError,
    "hessian(jac): must be of x's structure; got shape (1,) where x has (2,). Reshape it.",
)
JAC = "(jac): must be a Python function that returns the gradient; got {}. Pass one, or leave jac out."
row("jac-true", lambda: fl.hessian(square, X, jac=True), TypeError, "hessian" + JAC.format("bool"))
row("jac-native", lambda: fl.hvp(square, X, X, jac=NATIVE), TypeError, "hvp" + JAC.format("CFunctionType"))
row(
    "u-shape",
    lambda: fl.vjp(lambda x: x, X, [1.0]),
    ValueError,
    "vjp(u): must have the shape of f's result, (2,); got (1,). Reshape it.",
)
row(
    "u-type",
    lambda: fl.vjp(lambda x: x, X, [1j, 1]),
    TypeError,
    "vjp(u): must be real numbers; got complex128. Pass a weight for each output of f.",
)
for id, i, x, names in (
    ("outside", 2, X, "'0' of shape (2,)"), ("slice", slice(1), X, "'0' of shape (2,)"), ("few", 0, np.ones((2, 2)), "'0' of shape (2, 2)"),
    ("name", ("c", 0), TREE, "'a' of shape (2,), 'b' of shape ()"), ("none", None, X, "'0' of shape (2,)"), ("float", 0.5, X, "'0' of shape (2,)"),
    ("ragged", [[0], [0, 1]], X, "'0' of shape (2,)"), ("slice of text", slice("a"), X, "'0' of shape (2,)"),
):  # fmt: skip
    row(
        f"partial-{id}",
        lambda i=i, x=x: fl.partial(square, x, i),
        IndexError,
        f"partial(i): must name one entry of x; got {i!r} where x has {names}. Pass an index, or (name, index).",
    )

# ---- sparsity

COLUMNS = "jacobian(sparsity): must be a matrix with a column for each of x's 2 entries; got shape {}. Pass one row for each output."
for pattern in (np.ones(2), np.ones((2, 3)), 1.0):
    row(
        f"sparsity-{np.shape(pattern)}",
        lambda p=pattern: fl.jacobian(lambda x: x, X, sparsity=p),
        ValueError,
        COLUMNS.format(np.shape(pattern)),
    )
row(
    "sparsity-rows",
    lambda: fl.jacobian(lambda x: x, X, sparsity=np.ones((3, 2))),
    ValueError,
    "jacobian(sparsity): must have a row for each output of f; got 3 rows for 2 outputs. Correct the pattern.",
)
row(
    "sparsity-rows-few",
    lambda: fl.jacobian(lambda x: x, X, sparsity=np.ones((1, 2))),
    ValueError,
    "jacobian(sparsity): must have a row for each output of f; got 1 rows for 2 outputs. Correct the pattern.",
)
row("sparsity-missing", lambda: fl.jacobian(lambda x: np.array([x[0] + 5 * x[1], x[1]]), X, sparsity=np.eye(2)), ValueError,
    "jacobian(sparsity): must cover every entry that is not 0; got a derivative of ... of output 0 along a random direction, where the pattern's entries make .... Add the missing entries, or leave sparsity out.")  # fmt: skip

# ---- the complex step

CURE = 'Use method="central".'
COMPLEX = 'must take complex numbers for method="complex"'
refused(
    "complex-type",
    ValueError,
    f"(f): {COMPLEX}; got TypeError (...). {CURE}",
    f=lambda x: math.sin(complex(x[0])),
    method="complex",
)
refused(
    "complex-native",
    ValueError,
    f"(f): {COMPLEX}; got a native function of doubles. {CURE}",
    f=NATIVE,
    method="complex",
)
refused(
    "complex-real",
    ValueError,
    f'(f): must return complex numbers at complex points for method="complex"; got float64: somewhere it drops the imaginary part. {CURE}',
    f=lambda x: abs(x).sum(),
    method="complex",
)
ANALYTIC = 'must be real at real points and analytic in its code for method="complex"; got a derivative of 0 where real differences give ..., along a random direction{}. abs, conj, casts to real and the like are not analytic. '
refused(
    "complex-conj", ValueError, f"(f): {ANALYTIC.format('')}{CURE}", f=lambda x: (x * x.conj()).sum(), method="complex"
)
refused(
    "complex-conj-tree",
    ValueError,
    f"(f): {ANALYTIC.format(' in ' + repr('b'))}{CURE}",
    f=lambda t: t["a"].sum() + t["b"] * np.conj(t["b"]),
    x=TREE,
    method="complex",
)


# ---------------------------------------------------------------------------------------------------------------------
# The tests
# ---------------------------------------------------------------------------------------------------------------------


def variables():
    return [X.tobytes(), TREE["a"].tobytes(), TREE["b"], list(TREE)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_message(row):
    check_row(row, variables)


def test_ids_are_distinct():
    check_ids(ROWS)


def test_every_function_names_itself():
    """The messages begin with the function that was called, whatever lies below it."""
    jac, vector = (lambda x: x), (lambda x: x)
    calls = {
        "derivative": lambda **o: fl.derivative(square, 1.0, **o),
        "partial": lambda **o: fl.partial(square, X, 0, **o),
        "gradient": lambda **o: fl.gradient(square, X, **o),
        "jacobian": lambda **o: fl.jacobian(vector, X, **o),
        "hessian": lambda **o: fl.hessian(None, X, jac=jac, **o),
        "hvp": lambda **o: fl.hvp(None, X, X, jac=jac, **o),
        "directional": lambda **o: fl.directional(square, X, X, **o),
        "vjp": lambda **o: fl.vjp(vector, X, X, **o),
    }
    for name, call in calls.items():
        for options in (
            {"method": "x"},
            {"accuracy": 0, "method": "central"},
            {"bounds": 3},
            {"args": 1},
            {"workers": 0},
            {"x_": 1},
            {"noise": -1},
        ):
            with pytest.raises((TypeError, ValueError), match=rf"^{name}\("):
                call(**options)


@pytest.mark.skipif(not SOURCE.exists(), reason="needs the sources")
def test_every_message_in_the_sources_has_a_row():
    files = [*(f"{name}.py" for name in MODULES), "_core/diff.pxi"]
    found, missing = without_a_row(ROWS, files, OWN_ERRORS.__contains__)
    assert missing == []
    assert found >= 40  # so that the search itself is known to find them
