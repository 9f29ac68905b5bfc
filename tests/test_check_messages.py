"""Every message of the checker: how to get it, and what it says; that x was left alone.

A row is one way to get one message. The last test compares the rows with the messages that stand in the sources.
"""
# ruff: noqa: E501 - a message stands in one piece, so that searching for it finds it

import ctypes
import re

import numpy as np
import pytest

import fallline as fl
from message_rows import Row, check_ids, check_row, without_a_row
from test_messages import SOURCE

MODULES = [
    *(
        "check",
        "check_maps",
        "digits",
        "preflight",
        "probes",
        "readings",
        "site",
        "locate",
        "search",
        "masks",
        "setting",
    ),
    *("report", "pytest_plugin", "causes/__init__", "causes/activations", "causes/arrangement", "causes/catalogue"),
    *("causes/entries", "causes/evidence", "causes/find", "causes/groups", "causes/layers", "causes/logits"),
    *("causes/outputs", "causes/penalties", "causes/scales", "causes/subsets"),
]
# Findings about the gradient, which become the reason of a report (test_preflight.py), and the report as an error.
FINDINGS = re.compile(r"raise (Misshapen\(|_misshapen\(|error$)")


ROWS: list[Row] = []
X = np.array([0.5, 1.5])
TREE = {"a": np.array([0.5, 1.5]), "b": 3.0}
A = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])


NATIVE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_size_t, ctypes.c_void_p)(
    lambda x, n, data: x[0]
)


def f(x):
    return float((x**2).sum())


def df(x):
    return 2 * x


def row(id, call, kind, text):
    ROWS.append(Row(id, call, kind, text))


def check(id, kind, text, f=f, df=df, x=X, **options):
    """Add a row for fl.check_gradient."""
    row(id, lambda: fl.check_gradient(f, df, x, **options), kind, f"check_gradient{text}")


def jacobian(id, kind, text, f=lambda x: A @ x, jac=lambda x: A, x=X, **options):
    row(id, lambda: fl.check_jacobian(f, jac, x, **options), kind, f"check_jacobian{text}")


def products(id, kind, text, f=lambda x: A @ x, x=X, **options):
    row(id, lambda: fl.check_products(f, x, **options), kind, f"check_products{text}")


def hvp(id, kind, text, gradient=df, hvp=lambda x, v: 2 * v, x=X, **options):
    row(id, lambda: fl.check_hvp(gradient, hvp, x, **options), kind, f"check_hvp{text}")


# ---- check_gradient

check(
    "mode", ValueError, '(mode): must be "auto", "directions" or "full"; got \'fast\'. Pass one of these.', mode="fast"
)
for id, rtol, got in (
    ("negative", -0.1, "-0.1"),
    ("one", 1, "1"),
    ("nan", float("nan"), "nan"),
    ("text", "0.1", "'0.1'"),
    ("bool", True, "True"),
    ("no", False, "False"),
):
    check(
        f"rtol-{id}",
        ValueError,
        f"(rtol): must be a number >= 0 and < 1; got {got}. Pass such a number, or leave it out.",
        rtol=rtol,
    )
for id, x in (("array", np.zeros(0)), ("tree", {"a": np.zeros((0, 3))}), ("list", [])):
    check(f"x-empty-{id}", ValueError, "(x): must have at least one entry; got none. Pass a point to check at.", x=x)
CALLABLE = (
    "(df): must be a Python function of x, or True if f returns (value, gradient); got {}. Pass the gradient as one."
)
for id, value, got in (
    ("array", X, "ndarray"),
    ("none", None, "NoneType"),
    ("false", False, "bool"),
    ("one", 1, "int"),
):
    check(f"df-{id}", TypeError, CALLABLE.format(got), df=value)
PAIR = "(f): must return (value, gradient) if df=True; got {}. Return both, or pass the gradient as df."
check("pair-number", TypeError, PAIR.format("float"), df=True)
check("pair-three", TypeError, PAIR.format("tuple"), f=lambda x: (1, 2, 3), df=True)
check("pair-array", TypeError, PAIR.format("ndarray"), f=lambda x: x, df=True)
REAL = "(df): must return real numbers; got {} for {}. Return arrays of floats in x's structure."
check("df-complex", TypeError, REAL.format("complex128", "x"), df=lambda x: 2j * x)
check("df-text", TypeError, REAL.format("<U1", "x"), df=lambda x: ["a", "b"])
check("df-object", TypeError, REAL.format("set", "a"), f=lambda p: p["b"], df=lambda p: {"a": {1}, "b": 1.0}, x=TREE)
check(
    "df-complex-of-tree",
    TypeError,
    REAL.format("complex128", "b"),
    f=lambda p: p["b"],
    df=lambda p: {"a": X, "b": 1j},
    x=TREE,
)
check(
    "f-vector",
    ValueError,
    "(f): must return one real number; got shape (2,). Use check_jacobian for several outputs.",
    f=lambda x: x,
)
check(
    "f-empty",
    ValueError,
    "(f): must return one real number; got shape (0,). Use check_jacobian for several outputs.",
    f=lambda x: x[:0],
)
for id, value, got in (("complex", 1j, "complex128"), ("text", "a", "<U1"), ("nothing", None, "NoneType")):
    check(
        f"f-{id}",
        TypeError,
        f"(f): must return one real number; got {got}. Return a float.",
        f=lambda x, value=value: value,
    )
row(
    "assert-mode", lambda: fl.assert_gradient(f, df, X, mode=2), ValueError,
    'check_gradient(mode): must be "auto", "directions" or "full"; got 2. Pass one of these.',
)  # fmt: skip

# ---- what others refuse for it, by its name

check("df-native", TypeError, CALLABLE.format("CFunctionType"), df=NATIVE)
check("f-native-pair", TypeError, "(f): must return (value, gradient) if df=True; got float. Return both, or pass the gradient as df.",
      f=NATIVE, df=True)  # fmt: skip
check("f-native-ways", ValueError, ": must be told one way to evaluate f; got vectorized and a native f. Leave one out.",
      f=NATIVE, vectorized=True)  # fmt: skip
ONE_ARRAY = "(f): must be given one 1-D array of float64 and no args if it is native; got another variable, or args. Put constants into its user_data."
check("f-native-args", TypeError, ONE_ARRAY, f=NATIVE, args=(1,))
check("f-native-tree", TypeError, ONE_ARRAY, f=NATIVE, x=TREE)
check("f-callable", TypeError, "(f): must be callable; got int. Pass a function of x.", f=3)
check("args", TypeError, "(args): must be a tuple; got int. For one argument write args=(a,).", args=3)
check("bounds", TypeError, "(bounds): must be a pair (low, high), or have lb and ub; got 3. ...", bounds=3)
check(
    "outside",
    ValueError,
    "(x): must be within the bounds; got 0.5 at x[0], outside of [1.0, 2.0]. Move x or widen the bounds.",
    bounds=(1, 2),
)
check(
    "noise",
    ValueError,
    '(noise): must be None, "estimate" or the absolute error of f; got -1. Pass one of these.',
    noise=-1,
)
check("rng", TypeError, "(rng): must be an integer or a numpy.random.Generator; got 'a'. Pass a seed.", rng="a")
check("x-complex", TypeError, "(x): must be float32, float64 or integer numbers; got complex128. ...", x=1j)
check(
    "vectorized",
    ValueError,
    "(f): must return one result for each point on the leading axis if vectorized=True; got shape () for 6 points. ...",
    vectorized=True,
)

# ---- check_jacobian

jacobian("j-empty", ValueError, "(x): must have at least one entry; got none. Pass a point to check at.", x=np.zeros(0))
jacobian(
    "j-f-complex",
    TypeError,
    "(f): must return real numbers; got complex128. Check its parts one by one.",
    f=lambda x: 1j * x,
)
for value in ("nan", "inf", "-inf"):
    jacobian(
        f"j-f-{value}",
        ValueError,
        f"(f): must be finite at x; got {value}. Choose another point.",
        f=lambda x, value=value: np.array([1.0, float(value)]),
    )
SHAPE = "(jac): must return real numbers of shape {} for {}; got {}. Return f's shape followed by x's."
jacobian("j-shape", ValueError, SHAPE.format("(3, 2)", "x", "shape (2,)"), jac=lambda x: x)
jacobian("j-none", ValueError, SHAPE.format("(3, 2)", "x", "NoneType"), jac=lambda x: None)
jacobian("j-complex", ValueError, SHAPE.format("(3, 2)", "x", "complex128"), jac=lambda x: A * 1j)
jacobian(
    "j-tree",
    ValueError,
    SHAPE.format("(2,)", "b", "shape (3,)"),
    f=lambda p: p["a"] * p["b"],
    jac=lambda p: {"a": np.eye(2), "b": np.ones(3)},
    x=TREE,
)
jacobian(
    "j-tree-missing",
    ValueError,
    SHAPE.format("(2,)", "b", "NoneType"),
    f=lambda p: p["a"] * p["b"],
    jac=lambda p: {"a": np.eye(2)},
    x=TREE,
)
jacobian("j-callable", TypeError, "(jac): must be a Python function; got ndarray. Pass one.", jac=A)
jacobian("j-ragged", ValueError, SHAPE.format("(3, 2)", "x", "list"), jac=lambda x: [[1.0, 2.0], [3.0]])
jacobian("j-more", ValueError, "(jac): must be of x's structure; got 'c', which x has not. Leave it out.",
         f=lambda p: p["a"], jac=lambda p: {"a": np.eye(2), "b": np.zeros(2), "c": 1.0}, x=TREE)  # fmt: skip
jacobian("j-f-empty", ValueError, "(f): must return at least one number; got an array of shape (0,). Return the outputs.",
         f=lambda x: x[:0])  # fmt: skip
jacobian("j-native", TypeError, "(jac): must be a Python function; got CFunctionType. Pass one.", jac=NATIVE)
jacobian("j-f-callable", TypeError, "(f): must be callable; got ndarray. Pass a function of x.", f=A)

# ---- check_products

products("p-neither", TypeError, ": must be given a product to check; got neither jvp nor vjp. Pass one, or both.")
products("p-jvp-callable", TypeError, "(jvp): must be a Python function; got ndarray. Pass one.", jvp=A)
products("p-vjp-callable", TypeError, "(vjp): must be a Python function; got int. Pass one.", vjp=1)
PRODUCT = "(jvp): must return real numbers of f's shape (3,); got {}. Return the Jacobian times v."
products("p-vjp-pair", TypeError, "(vjp): must return real numbers; got tuple for x. Return arrays of floats in x's structure.",
         vjp=lambda x, u: (A @ x, u @ A))  # fmt: skip
products("p-jvp-pair", ValueError, PRODUCT.format("tuple"), jvp=lambda x, v: (1.0, A @ v))
products("p-shape", ValueError, PRODUCT.format("shape (2,)"), jvp=lambda x, v: v)
products("p-shape-more", ValueError, PRODUCT.format("shape (4,)"), jvp=lambda x, v: np.append(A @ v, 0))
products("p-complex", ValueError, PRODUCT.format("complex128"), jvp=lambda x, v: A @ v * 1j)
products(
    "p-vjp-complex", TypeError, REAL.format("complex128", "x").replace("(df)", "(vjp)"), vjp=lambda x, u: u @ A * 1j
)
products(
    "p-empty",
    ValueError,
    "(x): must have at least one entry; got none. Pass a point to check at.",
    x=[],
    jvp=lambda x, v: v,
)

# ---- check_hvp

hvp("h-callable", TypeError, "(hvp): must be a Python function; got float. Pass one.", hvp=2.0)
hvp("h-gradient-callable", TypeError, "(gradient): must be a Python function; got ndarray. Pass one.", gradient=X)
hvp(
    "h-shape",
    ValueError,
    "(hvp): must be of x's structure; got shape (3,) where x has (2,). Reshape it.",
    hvp=lambda x, v: np.ones(3),
)
hvp(
    "h-gradient-shape",
    ValueError,
    "(gradient): must be of x's structure; got shape (1,) where x has (2,). Reshape it.",
    gradient=lambda x: x[:1],
)
hvp("h-nan", ValueError, "(f): must be finite at x; got nan. Choose another point.", gradient=lambda x: x * np.nan)


# ---------------------------------------------------------------------------------------------------------------------
# The tests
# ---------------------------------------------------------------------------------------------------------------------


def variables():
    return [X.tobytes(), TREE["a"].tobytes(), TREE["b"], list(TREE), A.tobytes()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_message(row):
    check_row(row, variables)


def test_ids_are_distinct():
    check_ids(ROWS)


def test_unknown_keywords_are_errors():
    for call in (fl.check_gradient, fl.assert_gradient, fl.check_jacobian, fl.check_hvp):
        with pytest.raises(TypeError, match="tolerance"):
            call(f, df, X, tolerance=1e-6)
    with pytest.raises(TypeError, match="tolerance"):
        fl.check_products(f, X, jvp=df, tolerance=1e-6)


@pytest.mark.skipif(not SOURCE.exists(), reason="needs the sources")
def test_every_message_in_the_sources_has_a_row():
    found, missing = without_a_row(ROWS, [f"{name}.py" for name in MODULES], FINDINGS.match)
    assert missing == []
    assert found >= 15  # so that the search itself is known to find them


@pytest.mark.skipif(not SOURCE.exists(), reason="needs the sources")
def test_every_module_of_the_checker_is_looked_at():
    assert {f"causes/{path.stem}" for path in (SOURCE / "causes").glob("*.py")} <= set(MODULES)
