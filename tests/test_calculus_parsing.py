"""Reading expressions: against Python's own grammar, by hand, and every message of the package."""
# ruff: noqa: E501 - a message stands in one piece, so that searching for it finds it

import ast
import builtins
import copy
import pickle
import re
from fractions import Fraction

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fallline import calculus
from fallline.calculus.expression import Expr, Number, postorder
from message_rows import Row, check_ids, check_row, without_a_row
from message_rows import message as provoked
from test_messages import SOURCE, pattern_of

X = calculus.symbols("x")


# ---- grammar


def exact(expr, **point):
    """Evaluate an expression of numbers, + - * / and whole powers in fractions."""
    made = {}
    for node in postorder(expr):
        args = [made[id(arg)] for arg in node.args]
        made[id(node)] = (
            node.value if isinstance(node, Number)
            else point[node.name] if not node.args
            else -args[0] if node.op == "neg"
            else {"add": Fraction.__add__, "sub": Fraction.__sub__, "mul": Fraction.__mul__, "div": Fraction.__truediv__, "pow": lambda a, b: a ** int(b)}[node.op](*args)
        )  # fmt: skip
    return made[id(expr)]


def by_python(text, **point):
    """Evaluate by Python's grammar, in fractions."""

    def value(node):
        if isinstance(node, ast.Expression):
            return value(node.body)
        if isinstance(node, ast.Constant):
            return Fraction(str(node.value))
        if isinstance(node, ast.Name):
            return point[node.id]
        if isinstance(node, ast.UnaryOp):
            return -value(node.operand) if isinstance(node.op, ast.USub) else value(node.operand)
        left, right = value(node.left), value(node.right)
        if isinstance(node.op, ast.Pow):
            return left ** int(right)
        return {ast.Add: left + right, ast.Sub: left - right, ast.Mult: left * right}.get(type(node.op)) if not isinstance(node.op, ast.Div) else left / right  # fmt: skip

    return value(ast.parse(text, mode="eval"))


def sums():
    leaf = st.sampled_from(["x", "y", "2", "3", "0.5", "1.25", "7"])
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds("{}{}{}".format, inner, st.sampled_from([" + ", " - ", "*", "/", "+", "-"]), inner),
            st.builds("({})".format, inner),
            st.builds("-{}".format, inner),
            st.builds("({})**{}".format, inner, st.sampled_from(["2", "3", "(-1)"])),
            st.builds("x**2**{}".format, st.sampled_from(["2", "1"])),
        ),
        max_leaves=8,
    )


@hypothesis.settings(max_examples=400, deadline=None, derandomize=True)
@hypothesis.given(sums())
def test_precedence_and_order_are_pythons(text):
    point = {"x": Fraction(3, 7), "y": Fraction(-5, 2)}
    try:
        truth = by_python(text, **point)
    except ZeroDivisionError:
        hypothesis.reject()
    assert exact(calculus.parse(text), **point) == truth, text


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2x", "2*x"), ("3x^3 z", "3*x**3*z"), ("2(x + 1)", "2*(x + 1)"), ("(x + 1)(x - 1)", "(x + 1)*(x - 1)"),
        ("2 sin(x) cos(x)", "2*sin(x)*cos(x)"), ("x²", "x**2"), ("x⁻¹", "x**(-1)"), ("x·y", "x*y"), ("x − y", "x - y"),
        ("√(x)", "sqrt(x)"), ("|x|", "abs(x)"), ("|x + |y||", "abs(x + abs(y))"), ("2π", "2*pi"), ("ln(x)", "log(x)"),
        ("arctan(x)", "atan(x)"), ("expit(x)", "sigmoid(x)"), ("max(x, y, 2)", "max(max(x, y), 2)"), ("1e3*x", "1000.0*x"),
        ("-x**2", "-(x**2)"), ("2**-x", "2**(-x)"), ("x^2^3", "x**(2**3)"), ("+x", "x"), ("  x\n+ y ", "x + y"),
    ],
)  # fmt: skip
def test_what_is_written_by_hand(text, same):
    read, expected = calculus.parse(text), calculus.parse(same)
    assert read.variables == expected.variables
    for point in ({"x": 0.37, "y": 1.9, "z": 0.7}, {"x": 2.5, "y": 0.3, "z": 1.1}):
        at = {name: point[name] for name in read.variables}
        assert read(**at) == pytest.approx(expected(**at), rel=1e-15), text


def test_letters_are_products_where_the_variables_are_known():
    assert calculus.parse("2yz", "x y z") == calculus.parse("2*y*z")
    assert calculus.parse("yz").variables == ("yz",)
    assert calculus.parse("e*x", "e x").variables == ("e", "x")


def test_numbers_are_exact():
    assert calculus.parse("0.1").value == Fraction(1, 10)
    assert calculus.parse("12345678901234567890").value == 12345678901234567890
    assert calculus.simplify(calculus.parse("0.1 + 0.2")).value == Fraction(3, 10)
    assert calculus.simplify(calculus.parse("1/3 + 1/6")).text == "1/2"


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "x.real", "x[0]", "(lambda: 1)()", "x if x else 1", "x; y", "x = 1", "'a'", '"a"', "x == 1", "[1, 2]",
        "{1}", "f(x)", "x(1)", "import os", "x and y", "not x", "x @ y", "x // y", "x % y", "~x", "x := 2", "`ls`", "$x", "f'{x}'", "x!",
        "exec(x)", "eval(x)", "open(x)", "sin", "x..y", "1__0", "0x10", "1j", "None",
    ],
)  # fmt: skip
def test_text_is_never_evaluated(text, monkeypatch):
    for name in ("eval", "exec"):
        monkeypatch.setattr(builtins, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    try:
        expr = calculus.parse(text)
    except calculus.ParseError as error:
        message = str(error)
    else:
        message = None
        assert expr.variables or expr.args
    monkeypatch.undo()
    if message is None:
        assert text in ("None", "0x10", "1__0", "1j")  # a variable, or an implied product with one
    else:
        assert "^" in message


# ---- expressions


def test_expressions_do_not_change():
    expr = X**2 + 1
    for name in ("op", "args", "value", "new"):
        with pytest.raises(AttributeError):
            setattr(expr, name, 1)
        with pytest.raises(AttributeError):
            delattr(expr, name)
    assert copy.copy(expr) is copy.deepcopy(expr) is expr
    assert pickle.loads(pickle.dumps(expr)) == expr
    assert hash(expr) == hash(calculus.parse("x**2 + 1"))
    assert expr != calculus.parse("1 + x**2")  # another order is another expression
    assert expr != 3


def test_operators_and_functions_of_numpy():
    x, y = calculus.symbols("x, y")
    made = (
        np.exp(-(x**2)) * 2 / (1 + y)
        - abs(x) ** 0.5
        + np.maximum(x, y)
        - 3 % 5 * np.sqrt(y)
        + np.float64(0.5) * np.log1p(x)
    )
    at = {"x": 0.7, "y": 1.3}
    truth = np.exp(-(0.7**2)) * 2 / 2.3 - 0.7**0.5 + 1.3 - 3 * np.sqrt(1.3) + 0.5 * np.log1p(0.7)
    assert made(**at) == pytest.approx(truth, rel=1e-14)
    vector = np.array([1.0, 2.0]) * x
    assert [v(x=3.0) for v in vector] == [3, 6]
    assert isinstance((np.array([x, y], dtype=object) ** 2).sum(), Expr)


def test_values():
    expr = calculus.parse("x**2*y")
    grid = expr(x=np.arange(3.0)[:, None], y=np.arange(2.0))
    assert grid.tolist() == [[0, 0], [0, 1], [0, 4]]
    assert np.isnan(calculus.parse("log(x)")(x=-1))
    assert calculus.parse("x**2")(x=[Fraction(1, 2), 3]).tolist() == [0.25, 9]
    assert calculus.parse("x + 1")(x=np.array([10**20, True], dtype=object)).tolist() == [1e20, 2]
    assert expr.substitute(x=3)(y=2) == 18
    assert expr.substitute(x=calculus.parse("a + b")).variables == ("a", "b", "y")


def test_a_hundred_thousand_nodes():
    deep = X
    for _ in range(100_000):
        deep = deep + 1
    assert deep(x=1.0) == 100_001
    assert pickle.loads(pickle.dumps(deep)) == deep
    assert calculus.parse("+".join(["x"] * 50_000))(x=2.0) == 100_000
    assert calculus.parse("(" * 5000 + "x" + ")" * 5000) == X


def test_trace():
    def f(a, b, n=3):
        total = 0
        for k in range(1, n + 1):
            total = total + a**k / k
        return total * np.sin(b)

    traced = calculus.trace(f)
    assert traced.variables == ("a", "b")
    assert traced(a=0.5, b=1.2) == pytest.approx(f(0.5, 1.2), rel=1e-14)


def test_exchange_with_sympy():
    import sympy

    x, y = sympy.symbols("x y")
    for text in (
        "3*x**2 - y/2",
        "exp(x)*sin(y)",
        "sqrt(x) + abs(y)",
        "max(x, y)",
        "pi*x + e",
        "x**(1/3)",
        "-x/y",
        "step(x)",
    ):
        expr = calculus.parse(text)
        again = calculus.from_sympy(calculus.to_sympy(expr))
        assert again(**{"x": 0.7, "y": 1.9} if len(again.variables) == 2 else {"x": 0.7}) == pytest.approx(
            expr(**{"x": 0.7, "y": 1.9} if len(expr.variables) == 2 else {"x": 0.7}), rel=1e-14
        )
    assert calculus.to_sympy(calculus.parse("x**2 + y/3")) == x**2 + y / 3
    assert calculus.from_sympy(x**2 + y / 3)(x=2.0, y=3.0) == 5


# ---- messages


def parsed(id, text, message, place, variables=None, line=0):
    """Add a row for parse; the caret stands below column `place` of a line of the text."""
    ROWS.append(Row(id, lambda: calculus.parse(text, variables), calculus.ParseError, f"text: {message}"))
    CARETS[id] = (text.split("\n")[line], place)


ROWS, CARETS = [], {}
HERE = "must have a number, a variable, a function or a bracket here; got {}. Complete it, or leave out the operator."
PLAIN = "Use numbers, variables, + - * / **, brackets and functions."
parsed("empty", "", 'must hold an expression; got nothing. Write for instance "x**2 + 1".', 0)
parsed("blank", "   ", 'must hold an expression; got nothing. Write for instance "x**2 + 1".', 0)
parsed("end", "x + ", HERE.format("the end of the text"), 3)
parsed("operators", "x * / y", HERE.format("'/'"), 4)
parsed("first", "* x", HERE.format("'*'"), 0)
parsed("open", "(x + (y)", "must close every bracket; got an open '('. Add ')'.", 0)
parsed("close", "x + y)", "must open every bracket that it closes; got ')'. Leave it out, or open it.", 5)
parsed(
    "crossed", "(x + |y)|", "must open every bracket that it closes; got ')', after '|'. Leave it out, or open it.", 7
)
parsed("nothing-inside", "sin()", HERE.format("')'"), 4)
parsed("attribute", "x.real", f"must be a mathematical expression; got attribute access, '.'. {PLAIN}", 1)
parsed("assignment", "x = 2", f"must be a mathematical expression; got a comparison or assignment, '='. {PLAIN}", 2)
parsed("comparison", "x < 2", f"must be a mathematical expression; got a comparison, '<'. {PLAIN}", 2)
parsed("string", "x + 'a'", f'must be a mathematical expression; got "\'". {PLAIN}', 4)
parsed(
    "keyword",
    "x if y",
    "must be a mathematical expression; got Python's 'if'. Leave it out, or choose another name.",
    2,
)
parsed("subscript", "x[0]", "must not have subscripts; got '['. Use names such as x0, x1, and ( for brackets.", 1)
parsed("function", "3*x + sinn(y)", "must call known functions only; got 'sinn'. Did you mean 'sin' or 'sinh'?", 6)
parsed("function-far", "qqq(y)", "must call known functions only; got 'qqq'. Known functions: exp, ...", 0)
parsed("call", "x(2)", "must call functions only; got a bracket right after 'x'. Write x*(...) for a product.", 0)
parsed("no-argument", "sin + 1", "must give sin its argument in brackets; got 'sin' without. Write sin(...).", 0)
parsed("root", "√x", "must give √ its argument in brackets; got '√' without. Write √(...).", 0)
parsed("one-argument", "max(x)", "must give max two arguments or more; got one. Write max(a, b).", 3)
parsed(
    "comma",
    "sin(x, y)",
    "must not have a comma here; got ','. Only max and min have several arguments; decimals have a point.",
    5,
)
parsed("comma-first", "max(, x)", HERE.format("','"), 4)
parsed("variable", "x + z", "must contain known variables only; got 'z'. Known variables: x, y.", 4, "x y")
parsed(
    "variable-near",
    "rate + weigth",
    "must contain known variables only; got 'weigth'. Did you mean 'weight'?",
    7,
    "rate weight",
)
parsed(
    "two-numbers",
    "2 3",
    "must have an operator before a number; got '3'. Write * for a product, ** for a power.",
    2,
)
parsed(
    "after-division",
    "1/2x",
    "must not leave out a sign of multiplication after a division; got 'x'. Write a/(b*c) or (a/b)*c.",
    3,
)
parsed("zero", "x/0", "must not divide by a constant 0; got /0. Divide by something else.", 1)
parsed("zero-made", "x/(2 - 2)", "must not divide by a constant 0; got /(2 - 2). Divide by something else.", 1)
parsed("large", "1e999999", "must hold numbers in the range of float64; got 1e999999. Scale the variables.", 0)
parsed("superscript", "²", HERE.format("'²'"), 0)
parsed("sign-only", "x*-", HERE.format("the end of the text"), 3)
parsed("blanks-after", "x +   ", HERE.format("the end of the text"), 3)
parsed("operator-inside", "sin(x + )", HERE.format("')'"), 8)
parsed("bar", "x + |y", "must close every bracket; got an open '|'. Add '|'.", 4)
parsed("square", "[x]", "must not have subscripts; got '['. Use names such as x0, x1, and ( for brackets.", 0)
parsed("digits", "1" * 401, f"must hold numbers in the range of float64; got {'1' * 20}. Scale the variables.", 0)
parsed("second-line", "x +\n  y * / 2", HERE.format("'/'"), 6, line=1)
parsed("first-line", "x * / 2 +\ny", HERE.format("'/'"), 4)
parsed("windows", "x +\r\n*", HERE.format("'*'"), 0, line=1)
parsed("wide", "größe + zahl", "must contain known variables only; got 'zahl'. Known variables: größe.", 8, "größe")


def test_the_caret_stands_below_a_mistake_after_tabs():
    with pytest.raises(calculus.ParseError) as caught:
        calculus.parse("x\t+\t* y")
    assert str(caught.value).splitlines()[1:] == ["    x\t+\t* y", "     \t \t^"]


def message(id, call, kind, text):
    ROWS.append(Row(id, call, kind, text))


explain, check_steps = calculus.explain, calculus.check_steps
message("type", lambda: calculus.parse(3), TypeError, 'text: must be a string; got int. Write for instance "x**2 + 1".')
message(
    "names",
    lambda: calculus.symbols("2x"),
    ValueError,
    "names: must be identifiers; got '2x'. Use letters, digits and underscores, a letter first.",
)
message(
    "names-function",
    lambda: calculus.symbols("sin"),
    ValueError,
    "names: must not be those of functions; got 'sin'. Choose another name.",
)
message(
    "names-type",
    lambda: calculus.symbols(3),
    TypeError,
    'names: must be a string; got int. Write for instance symbols("x y z").',
)
message(
    "set",
    lambda: setattr(X, "name", "y"),
    AttributeError,
    "name: must not be set, for expressions do not change; got 'y'. Make a new one.",
)
message(
    "delete",
    lambda: delattr(X, "name"),
    AttributeError,
    "name: must not be deleted, for expressions do not change; got a del. Make a new one.",
)
message(
    "truth",
    lambda: bool(X),
    TypeError,
    "expression: must not be asked for its truth, which depends on the values of its symbols; got 'x' in a condition. Express branches by abs, max, min, relu or step.",
)
message(
    "size",
    lambda: X > 0,
    TypeError,
    "expression: must not be compared by size, for its symbols have no values yet; got 'x' in a comparison. Express branches by abs, max, min, relu or step.",
)
message(
    "missing",
    lambda: (X * 2)(),
    TypeError,
    "expression: must be given a value for each of its variables x; got none for x. Call it as f(x=...).",
)
message(
    "surplus",
    lambda: X(x=1, y=2),
    TypeError,
    "expression: must be given values for its variables x only; got y too. Leave out what the expression does not contain.",
)
message(
    "surplus-none",
    lambda: calculus.parse("2")(y=2),
    TypeError,
    "expression: must be given values for its variables (it has none) only; got y too. ...",
)
REAL = "expression: must be given real numbers in the range of float64; got {} for x. Pass floats."
for name, value, got in [
    ("complex", 1j, "complex128"), ("complex-array", np.array([1, 2j]), "complex128"),
    ("complex64", np.complex64(1), "complex64"), ("no-number", None, "NoneType"), ("digits-as-text", "1", "<U1"),
    ("nones", [1, None], "list"), ("large-value", 10**400, "int"), ("dates", np.datetime64("2020"), "datetime64[Y]"),
]:  # fmt: skip
    message(f"real-{name}", lambda value=value: (X * 2)(x=value), TypeError, REAL.format(got))
message(
    "real-substitute",
    lambda: X.substitute(x=1j),
    TypeError,
    "x: must be an expression, an int, a float or a Fraction; got complex. Convert it, or parse it.",
)
message(
    "real-at",
    lambda: explain("x**2", at={"x": 1j}),
    TypeError,
    "at['x']: must be an expression, an int, a float or a Fraction; got complex. Convert it, or parse it.",
)
message(
    "divide",
    lambda: X / 0,
    ZeroDivisionError,
    "expression: must not be divided by the constant 0; got x/0. Divide by another.",
)
message(
    "finite", lambda: X + np.inf, ValueError, "expression: must be finite; got inf. Leave it out of the expression."
)
message(
    "kind",
    lambda: calculus.differentiate(2j, "x"),
    TypeError,
    "expr: must be an expression, an int, a float or a Fraction; got complex. Convert it, or parse it.",
)
message(
    "ufunc",
    lambda: np.arctan2(X, 1),
    TypeError,
    "numpy.arctan2: must be a function that expressions know, called without keywords; got numpy.arctan2(...). Known: exp, ...",
)
message(
    "ufunc-method",
    lambda: np.add.reduce(X),
    TypeError,
    "numpy.add: must be a function that expressions know, called without keywords; got numpy.add.reduce(...). Known: ...",
)
message(
    "heaviside",
    lambda: np.heaviside(X, 0.5),
    TypeError,
    "numpy.heaviside: must be 0 at 0 for expressions; got 0.5. Write (1 + sign(x))/2 for one half.",
)
message(
    "derivative-left",
    lambda: explain("x**2", "x").lines[0].expr(x=1),
    TypeError,
    "expression: must have no derivative left to be taken; got ... Use the result of differentiate.",
)
message(
    "trace",
    lambda: calculus.trace(3),
    TypeError,
    "function: must be callable; got int. Pass for instance lambda x, y: x*y.",
)
message(
    "trace-args",
    lambda: calculus.trace(lambda *x: x),
    TypeError,
    "function: must name each of its arguments, which become the variables; got *x. Wrap it: lambda x, y: f(x, y).",
)
message(
    "trace-result",
    lambda: calculus.trace(lambda x: [x]),
    TypeError,
    "function's result: must be an expression, ...; got list. Convert it, or parse it.",
)
message(
    "variable-unclear",
    lambda: calculus.differentiate("x*y"),
    TypeError,
    "differentiate: must be told the variable unless there is exactly one; got an expression in x, y. Pass its name.",
)
message(
    "variable-none",
    lambda: calculus.differentiate("2"),
    TypeError,
    "differentiate: must be told the variable unless there is exactly one; got an expression in none. Pass its name.",
)
message(
    "variable-type",
    lambda: calculus.differentiate("x", 3),
    TypeError,
    'variables: must be the name of a variable; got int. Write for instance "x".',
)
message(
    "var-empty",
    lambda: explain("x", []),
    ValueError,
    "var: must name a variable; got []. Leave it out to see all partial derivatives.",
)
message(
    "at",
    lambda: explain("x*yes", at={"yet": 1}),
    ValueError,
    "at: must give values to variables of the expression (x, yes); got 'yet'. Did you mean 'yes'?",
)
message(
    "at-far",
    lambda: explain("x", at={"qq": 1}),
    ValueError,
    "at: must give values to variables of the expression (x); got 'qq'. Leave it out.",
)
message(
    "style",
    lambda: explain("x", style="x"),
    ValueError,
    "style: must be one of lecture, every-rule; got 'x'. Leave it out for the lecture's.",
)
message(
    "maxsteps",
    lambda: explain("x", maxsteps=1),
    ValueError,
    "maxsteps: must be an int of 2 or more; got 1. The last line is always shown.",
)
message(
    "understood",
    lambda: explain("x", understood=["products"]),
    ValueError,
    "understood: must hold names of rules; got 'products'. Did you mean 'product'...?",
)
message(
    "understood-far",
    lambda: explain("x", understood=["qqqq"]),
    ValueError,
    "understood: must hold names of rules; got 'qqqq'. Known: constant, ...",
)
message(
    "lines",
    lambda: check_steps("x", "x", [1]),
    TypeError,
    'lines: must be strings; got int. Write for instance ["2*x"].',
)
message(
    "no-lines",
    lambda: check_steps("x", "x", []),
    ValueError,
    "lines: must hold at least one expression; got []. Write for instance 2*x.",
)
message(
    "lines-syntax",
    lambda: check_steps("x", "x", ["2*"]),
    calculus.ParseError,
    f"text: {HERE.format('the end of the text')}",
)
CARETS["lines-syntax"] = ("2*", 2)
message(
    "to-sympy", lambda: calculus.to_sympy("x"), TypeError, "expr: must be an expression; got str. Parse text first."
)
message(
    "from-sympy",
    lambda: calculus.from_sympy(3),
    TypeError,
    "expr: must be an expression of SymPy; got int. Pass it through sympify.",
)


def unknown_to_us():
    import sympy

    calculus.from_sympy(sympy.gamma(sympy.Symbol("x")))


def without_sympy():
    real = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "sympy":
            raise ImportError(name)
        return real(name, *arguments, **options)

    builtins.__import__ = refuse
    try:
        calculus.to_sympy(X)
    finally:
        builtins.__import__ = real


def wrong_derivation():
    import dataclasses

    right = explain("x**2", "x")
    dataclasses.replace(right, lines=(right.lines[0], right.lines[0]._replace(expr=X))).verify()


message(
    "from-sympy-unknown",
    unknown_to_us,
    TypeError,
    "expr: must consist of numbers, symbols, operators and functions that parse knows; got gamma(x). Rewrite it with those.",
)
message(
    "sympy",
    without_sympy,
    ImportError,
    'to_sympy, from_sympy: SymPy must be installed; got none. Run: pip install "fallline[sympy]"',
)
message(
    "verify",
    wrong_derivation,
    ArithmeticError,
    "derivation: must be equal in each step (line); got ∂/∂x [x²] = ..., but x = ..., for x = .... Please report it.",
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_message(row):
    check_row(row, lambda: str(X))


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind is calculus.ParseError], ids=lambda row: row.id)
def test_the_caret_stands_below_the_mistake(row):
    line, place = CARETS[row.id]
    with pytest.raises(calculus.ParseError) as caught:
        row.call()
    assert str(caught.value).split("\n")[1:] == ["    " + line, " " * (4 + place) + "^"]
    assert caught.value.text[caught.value.position :].partition("\n")[0] == line[place:]


def test_ids_are_distinct():
    check_ids(ROWS)


FILES = ["derivation", "differentiation", "exchange", "expression", "marking", "printing", "rules", "simplifying"]
FILES += ["tracing", "unfolding", "verification", "functions", "mistakes"]


@pytest.mark.skipif(not SOURCE.exists(), reason="needs the sources")
def test_every_message_in_the_sources_has_a_row():
    found, missing = without_a_row(ROWS, [f"calculus/{name}.py" for name in FILES])
    assert missing == []
    assert found >= 30


def failures():
    """Yield the line of each `fail` of the reader, and the pattern of its whole sentence."""
    tree = ast.parse((SOURCE / "calculus" / "parsing.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    for call in calls:
        if call.func.attr == "fail":
            must, got, cure = map(pattern_of, call.args[1:])
            yield call.lineno, f"text: {must}; got {got}\\. {cure}"
        elif call.func.attr == "fail_for_operand":
            must, _, cure = HERE.partition("{}")
            yield call.lineno, f"text: {re.escape(must)}{pattern_of(call.args[1])}{re.escape(cure)}"


@pytest.mark.skipif(not SOURCE.exists(), reason="needs the sources")
def test_every_failure_of_the_reader_has_a_row():
    """The reader raises at one place, `fail`, whose calls are looked at here: all that each of them says is in a row."""
    found = list(failures())
    said = [provoked(row).partition("\n")[0] for row in ROWS if row.kind is calculus.ParseError]
    assert len(found) >= 20
    assert [(line, pattern) for line, pattern in found if not any(re.fullmatch(pattern, one) for one in said)] == []
