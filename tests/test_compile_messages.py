"""Every message of compiled expressions."""

import builtins

import numpy as np
import pytest

import fallline as fl
from fallline import _core, calculus
from message_rows import Row, check_ids, check_row, without_a_row
from test_messages import SOURCE

g = fl.compile("x*y")
many = fl.compile(" + ".join(f"x{i}" for i in range(9)))
X = np.ones((4, 2))
LOOK = "Many points, one in a row, are for batch, one point for the call."


def without_scipy():
    real = builtins.__import__

    def refuse(name, *arguments, **options):
        if name.partition(".")[0] == "scipy":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **options)

    builtins.__import__ = refuse
    try:
        g.low_level_callable()
    finally:
        builtins.__import__ = real


ROWS = [
    Row("few", lambda: g([1.0]), ValueError, f"x: must have shape (2,), a number for each of x, y; got shape (1,). {LOOK}"),
    Row("two axes", lambda: g.gradient([[1.0, 2.0]]), ValueError, f"x: must have shape (2,), ...; got shape (1, 2). {LOOK}"),
    Row("scalar", lambda: g.hessian(1.0), ValueError, f"x: must have shape (2,), ...; got shape (). {LOOK}"),
    Row("many", lambda: many([1.0]), ValueError, "x: must have shape (9,), a number for each of x0, x1, x2, x3, x4, x5, ...; got ..."),
    Row("none", lambda: fl.compile("2")([1.0]), ValueError, "x: must have shape (0,), a number for each of no variables; got ..."),
    Row("batch", lambda: g.batch([1.0, 2.0]), ValueError, f"x: must have shape (points, 2), ...; got shape (2,). {LOOK}"),
    Row("columns", lambda: g.batch(np.ones((3, 4))), ValueError, "x: must have shape (points, 2), ...; got shape (3, 4). ..."),
    Row("complex", lambda: g([1.0, 2j]), TypeError, "x: must be real numbers; got complex128. Pass floats."),
    Row("text", lambda: g.value_and_gradient("ab"), TypeError, "x: must be real numbers; got <U2. Pass floats."),
    Row("objects", lambda: g.batch_gradient([[None, 1]]), TypeError, "x: must be real numbers; got object. Pass floats."),
    Row("out", lambda: g.batch(X, out=[0.0] * 4), TypeError, "out: must be an array of float64; got list. Leave it out to get a new one."),
    Row("out-dtype", lambda: g.batch(X, out=np.ones(4, np.float32)), TypeError, "out: must be an array of float64; got an array of float32. ..."),
    Row("out-shape", lambda: g.batch_gradient(X, out=np.ones((2, 4)).T), ValueError, "out: must be writeable, C-contiguous and of shape (4, 2); got shape (4, 2) and strides (8, 32). ..."),
    Row("out-pair", lambda: g.batch_value_and_gradient(X, out=np.ones(4)), TypeError, "out: must be a tuple of two arrays; got ndarray. Pass (values, gradients)."),
    Row("out-second", lambda: g.batch_value_and_gradient(X, out=(np.ones(4), np.ones(4))), ValueError, "out[1]: must be writeable, ..."),
    Row("out-overlap", lambda: g.batch_gradient(X, out=X), ValueError, "out: must not overlap the points; got an array that does. ..."),
    Row("threads", lambda: g.batch([[1, 2]], threads=0), ValueError, "threads: must be between 1 and 256; got 0. ..."),
    Row("threads-type", lambda: g.batch([[1, 2]], threads=1.5), TypeError, "threads: must be an integer >= 1; got 1.5. ..."),
    Row("missing", lambda: fl.compile("x*y", "x"), ValueError, "variables: must have all variables of the expression (x, y); got no 'y'. Add it."),
    Row("near", lambda: fl.compile("rate*x", "x rat"), ValueError, "variables: must have all ...; got no 'rate'. Add it, or rename 'rat'."),
    Row("twice", lambda: fl.compile("x", "x x"), ValueError, "variables: must name each variable once; got 'x' twice. Leave one out."),
    Row("number", lambda: fl.compile("x", [1]), TypeError, "variables: must be the name of a variable; got int. ..."),
    Row("nothing", lambda: fl.compile(None), TypeError, "expr: must be an expression, ...; got NoneType. ..."),
    Row("syntax", lambda: fl.compile("x +"), calculus.ParseError, "text: must ..."),
    Row("derivative", lambda: fl.compile(calculus.explain("x**2", "x").lines[0].expr), TypeError, "compile: expression must have no derivative left to be taken; got ∂/∂x [x**2]. Use the result of differentiate."),
    Row("scipy", without_scipy, ModuleNotFoundError, "low_level_callable: SciPy must be installed; got none. Run: pip install scipy"),
    Row("unmade", lambda: _core.Tape.__new__(_core.Tape)([]), RuntimeError, "Tape: must be made before it is used; got none. Call __init__."),
    Row("remade", lambda: _core.Tape.__init__(g, (), np.ones(0), np.ones((0, 3), np.uint32), 0), RuntimeError, "Tape: must be made once; got a second call of __init__. Make another one."),
]  # fmt: skip
# ruff: noqa: E501 - a message stands in one piece, so that searching for it finds it


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_message(row):
    check_row(row, lambda: (g([2.0, 3.0]), X.tobytes()))


def test_ids_are_distinct():
    check_ids(ROWS)


@pytest.mark.skipif(not SOURCE.exists(), reason="needs the sources")
def test_every_message_in_the_sources_has_a_row():
    found, missing = without_a_row(ROWS, ["_core/tape.pxi", "calculus/compiled.py", "calculus/lowering.py"])
    assert missing == []
    assert found >= 8
