"""Every message of minimize, multistart and scipy_method."""
# ruff: noqa: E501 - a message stands in one piece, so that searching for it finds it

import ctypes
import sys

import numpy as np
import pytest

import fallline as fl
from message_rows import Row, check_ids, check_row, without_a_row
from test_messages import SOURCE

g = fl.compile("(x - 1)**2 + y**2")
X = np.array([0.5, 1.5])
ROWS = []


def f(x):
    return float((x**2).sum())


def df(x):
    return 2 * x


def row(id, kind, text, fun=f, x0=X, jac=df, **options):
    """Add a row for fl.minimize."""
    ROWS.append(Row(id, lambda: fl.minimize(fun, x0, jac=jac, **options), kind, f"minimize{text}"))


def compiled(id, kind, text, x0=X, **options):
    row(id, kind, text, fun=g, x0=x0, jac=options.pop("jac", None), **options)


# ---- the start, the function, the gradient

row("x0-complex", TypeError, "(x0): must be real numbers; got complex128. Pass an array of floats.", x0=[1j])
row("x0-text", TypeError, "(x0): must be real numbers; got <U1. Pass an array of floats.", x0="a")
row("x0-empty", TypeError, "(x0): must be real numbers; got an empty array. Pass an array of floats.", x0=[])
row("x0-nan", ValueError, "(x0): must be finite; got nan at entry 1. Choose another start.", x0=[1.0, np.nan])
row("fun", TypeError, "(fun): must be callable; got int. Pass a function of x, or compile it.", fun=3)
row("fun-text", TypeError, "(fun): must be callable; got str. Pass a function of x, or compile it.", fun="x**2")
row(
    "fun-shape",
    TypeError,
    "(fun): must return a real number; got an array of shape (2,). Sum it up, or take its mean.",
    fun=lambda x: x,
)
row(
    "fun-complex",
    TypeError,
    "(fun): must return a real number; got complex128. Sum it up, or take its mean.",
    fun=lambda x: 1j,
)
row("fun-none", TypeError, "(fun): must return a real number; got object. ...", fun=lambda x: None)
row(
    "fun-nan",
    ValueError,
    "(fun): must be finite at x0, and its gradient too; got nan and [1. 3.]. Choose another start.",
    fun=lambda x: np.nan,
)
row(
    "gradient-nan",
    ValueError,
    "(fun): must be finite at x0, and its gradient too; got 2.5 and [nan nan]. Choose another start.",
    jac=lambda x: x * np.nan,
)
row(
    "pair",
    TypeError,
    "(fun): must return (value, gradient) with jac=True; got float. Return both, or pass jac another way.",
    jac=True,
)
row(
    "gradient-shape",
    ValueError,
    "(jac): must return real numbers in the shape of x, (2,); got float64 of shape (). Check the formula, or the broadcasting in it.",
    jac=lambda x: x.sum(),
)
row(
    "gradient-complex",
    ValueError,
    "(jac): must return real numbers in the shape of x, (2,); got complex128 of shape (2,). ...",
    jac=lambda x: x * 1j,
)
row(
    "jac",
    ValueError,
    '(jac): must be a function, True, "2-point", "3-point", "cs" or "spsa"; got \'3point\'. Did you mean \'3-point\'?',
    jac="3point",
)
row(
    "jac-number",
    ValueError,
    "(jac): must be a function, True, ...; got 7. Pass a function that returns the gradient.",
    jac=7,
)
row("args", TypeError, "(args): must be a tuple; got int. For one argument write args=(a,).", args=3)
row(
    "step",
    ValueError,
    '(step): must be left out unless jac is "2-point", "3-point" or "spsa"; got 0.1. It is that of the differences.',
    step=0.1,
)
row(
    "step-zero",
    ValueError,
    "(step): must be a finite number > 0; got 0. Leave it out for the default.",
    jac="spsa",
    step=0,
)
row(
    "rng",
    TypeError,
    "(rng): must be None, an integer >= 0 or a numpy.random.Generator; got 'a'. Pass a seed.",
    jac="spsa",
    rng="a",
)

# ---- compiled and native functions

compiled(
    "compiled-shape",
    ValueError,
    "(x0): must have shape (2,), for x, y with this function; got shape (3,). Pass one number for each variable.",
    x0=[1.0, 2.0, 3.0],
)
compiled(
    "compiled-axes",
    ValueError,
    "(x0): must have shape (2,), for x, y with this function; got shape (1, 2). ...",
    x0=[[1.0, 2.0]],
)
compiled(
    "compiled-args",
    TypeError,
    "(args): must be left out with a native or compiled function; got 1. Put constants into its user_data, or into the expression.",
    args=(1,),
)
compiled("compiled-step", ValueError, "(step): must be left out unless jac is ...", step=0.1)
compiled(
    "compiled-nan",
    ValueError,
    "(fun): must be finite at x0, and its gradient too; got inf and [2.e+200 0.e+000]. Choose another start.",
    x0=[1e200, 0.0],
)

KIND = ctypes.CFUNCTYPE(
    ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_size_t, ctypes.POINTER(ctypes.c_double), ctypes.c_void_p
)
SHORT = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_size_t, ctypes.c_void_p)
GOOD, WRONG = KIND(lambda x, n, gradient, data: 0.0), SHORT(lambda x, n, data: 0.0)
row(
    "signature",
    TypeError,
    '(fun): must have the signature "double (const double *, size_t, double *, void *)" if it is native; got "double (double *, ..., void *)". Declare it so (for ctypes: restype and argtypes).',
    fun=WRONG,
    jac=None,
)
row(
    "native-jac",
    TypeError,
    "(jac): must be left out with a native function; got <function df ...>. It fills the gradient.",
    fun=GOOD,
)
row(
    "native-gil",
    TypeError,
    "(fun): must be callable without the GIL if it is native; got a function of ctypes.PyDLL or PYFUNCTYPE. ...",
    fun=ctypes.pythonapi.Py_IsInitialized,
    jac=None,
)

# ---- the method

row(
    "method",
    ValueError,
    "(method): must be one of sgd, ..., or \"hiker\"; got 'adm'. Did you mean ...'adam'...?",
    method="adm",
)
row(
    "method-far",
    ValueError,
    "(method): must be one of sgd, ..., or \"hiker\"; got 'qqqq'. See fallline.optimizers().",
    method="qqqq",
)
row("lr", ValueError, "(lr): must be > 0; got 0. Leave it out for the optimizer's default.", lr=0)
row("lr-negative", ValueError, "(lr): must be > 0; got -1.0. ...", lr=-1.0)
ROWS.append(
    Row(
        "keyword",
        lambda: fl.minimize(f, X, jac=df, beta=1),
        TypeError,
        "Adam: must be given its own keywords (lr, ...); got 'beta'. See help(Adam).",
    )
)
ROWS.append(
    Row(
        "schedule",
        lambda: fl.minimize(g, X, lr=lambda t: 1.0 - t, gtol=None),
        ValueError,
        "Adam(lr): must be a finite number >= 0; got -1.0. The schedule ... gave it at t=2: correct it.",
    )
)
row(
    "hiker-jac",
    ValueError,
    '(jac): must be left out with "hiker"; got <function df ...>. He only sees values.',
    method="hiker",
)
row(
    "hiker-keyword",
    TypeError,
    ": must be given lr only with \"hiker\"; got 'betas'. It is the length of the first step.",
    method="hiker",
    jac=None,
    betas=(0.9, 0.9),
)
row(
    "hiker-lr",
    ValueError,
    "(lr): must be a finite number > 0; got inf. It is the length of the first step.",
    method="hiker",
    jac=None,
    lr=np.inf,
)
row(
    "hiker-nan",
    ValueError,
    "(fun): must be finite at x0; got nan. Choose another start.",
    method="hiker",
    jac=None,
    fun=lambda x: np.nan,
)
row("hiker-fun", TypeError, "(fun): must be callable; got NoneType. ...", method="hiker", jac=None, fun=None)
row(
    "hiker-rng",
    TypeError,
    "(rng): must be None, an integer >= 0 or a numpy.random.Generator; got -1. Pass a seed.",
    method="hiker",
    jac=None,
    rng=-1,
)

# ---- when to stop, where to stay

for name in ("gtol", "ftol", "xtol", "maxtime"):
    row(
        f"{name}-negative",
        ValueError,
        f"({name}): must be a number >= 0 or None; got -1. None switches it off.",
        **{name: -1},
    )
    row(
        f"{name}-nan",
        ValueError,
        f"({name}): must be a number >= 0 or None; got nan. None switches it off.",
        **{name: np.nan},
    )
row("maxiter", ValueError, "(maxiter): must be an integer >= 0; got -1. Pass a number of steps.", maxiter=-1)
row("maxiter-float", ValueError, "(maxiter): must be an integer >= 0; got 10.0. Pass a number of steps.", maxiter=10.0)
row("every", ValueError, "(every): must be an integer >= 1; got 0. Pass a number of steps.", every=0)
row("record", ValueError, "(record): must be an integer >= 1 or \"path\"; got 'x'. Pass a number of steps.", record="x")
row("callback", TypeError, "(callback): must be callable; got int. Pass a function of one result.", callback=3)
row(
    "bounds",
    TypeError,
    "(bounds): must be pairs (low, high), one for each entry of x, or have lb and ub; got 3. Write None where there is no bound.",
    bounds=3,
)
row(
    "bounds-count",
    ValueError,
    "(bounds): must have a low and a high end for each of 2 entries; got shapes (3,) and (3,). Pass one pair (low, high) for each entry of x.",
    bounds=[(0, 1)] * 3,
)
row(
    "bounds-crossed",
    ValueError,
    "(bounds): must have low <= high; got (1.0, 0.0) at entry 1. Swap them.",
    bounds=[(0, 1), (1, 0)],
)
row(
    "bounds-nan",
    ValueError,
    "(bounds): must have low <= high; got (nan, 1.0) at entry 0. Swap them.",
    bounds=[(np.nan, 1), (0, 9)],
)
row(
    "outside",
    ValueError,
    "(x0): must be within the bounds; got 1.5 at entry 1, outside of [0.0, 1.0]. Move it, or widen the bounds.",
    bounds=[(0, 1), (0, 1)],
)
row(
    "both",
    ValueError,
    ": must be given bounds or a projection; got both. Clip to the bounds in the projection.",
    bounds=[(0, 9)] * 2,
    projection=abs,
)
row(
    "projection",
    TypeError,
    "(projection): must be callable; got int. Pass a function that returns the nearest allowed point.",
    projection=3,
)
row(
    "projection-shape",
    ValueError,
    "(projection): must return a point of x's shape (2,); got shape (). Return the nearest allowed point.",
    projection=lambda x: 0.0,
)


def without_rich():
    before = {name: sys.modules.get(name) for name in ("rich.console", "rich.progress")}
    sys.modules.update(dict.fromkeys(before))
    try:
        fl.minimize(g, X, progress=True)
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


ROWS.append(
    Row(
        "rich",
        without_rich,
        ModuleNotFoundError,
        'minimize(progress): rich must be installed; got none. Run: pip install "fallline[progress]"',
    )
)


# ---- multistart and scipy_method


def starts(id, kind, text, X0=X[None], fun=g, **options):
    ROWS.append(Row(id, lambda: fl.multistart(fun, X0, **options), kind, f"multistart{text}"))


starts("starts-axes", ValueError, "(X0): must have shape (starts, n); got shape (2,). Pass one start in a row.", X0=X)
starts(
    "starts-columns",
    ValueError,
    "(X0): must have shape (starts, 2), for x, y; got shape (1, 3). Pass one start in a row.",
    X0=np.ones((1, 3)),
)
starts("starts-nan", ValueError, "(x0): must be finite; got nan at entry 0. ...", X0=[[np.nan, 1.0]])
starts(
    "starts-rates",
    ValueError,
    "(lr): must be one number, or one for each of 1 starts; got shape (2,). Repeat it.",
    lr=[0.1, 0.2],
)
starts(
    "starts-lr",
    ValueError,
    "(lr): must be finite and > 0; got 0.0 for start 0. Leave such ones out.",
    lr=[0.0],
)
starts("starts-threads", ValueError, "(threads): must be between 1 and 256; got 0. ...", threads=0)
starts("starts-method", ValueError, "(method): must be one of sgd, ...", method="x")
starts(
    "starts-maxiter", ValueError, "(maxiter): must be an integer >= 0; got None. Pass a number of steps.", maxiter=None
)
starts("starts-bounds", ValueError, "(x0): must be within the bounds; ...", bounds=[(0, 1), (0, 1)])


def scipys(id, kind, text, **options):
    def call():
        pytest.importorskip("scipy")
        fl.scipy_method("sgd", lr=0.1)(f, X, jac=df, **options)

    ROWS.append(Row(id, call, kind, f"scipy_method{text}"))


scipys(
    "constraints",
    ValueError,
    "(constraints): must be empty; got some. Pass bounds, or a projection in the options.",
    constraints=({"type": "eq"},),
)
scipys(
    "options",
    TypeError,
    "(options): must be among maxiter, gtol, ... and disp; got 'lr'. Give hyperparameters to scipy_method itself.",
    lr=3,
)


def picture():
    return X.tobytes()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_message(row):
    check_row(row, picture)


def test_ids_are_distinct():
    check_ids(ROWS)


FILES = [f"{name}.py" for name in ("minimizing", "starts", "scipy_protocol", "oracle", "region", "blindfolded")]


@pytest.mark.skipif(not SOURCE.exists(), reason="needs the sources")
def test_every_message_in_the_sources_has_a_row():
    pytest.importorskip("scipy")
    found, missing = without_a_row(ROWS, [*FILES, "_core/descend.pxi"], {"raise error"}.__contains__)
    assert missing == []
    assert found >= 30
