"""Expressions: small, immutable, exact in their numbers, and in the order in which their author wrote them.

A node is a number, a named constant, a symbol, or an operation on other nodes. Operators have one or two operands: a
sum of many terms leans to the left, as it is read, and `terms` and `factors` show it flat. Nodes may be shared, so that
what is built in a loop is no larger than the loop; everything here walks without recursion, so depth is no limit.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from fallline.calculus.functions import ALIASES, CONSTANTS, FUNCTIONS, OPERATORS

__all__ = [
    "Constant",
    "Derivative",
    "Expr",
    "Number",
    "Operation",
    "Symbol",
    "as_expression",
    "call",
    "compute",
    "factors",
    "fold",
    "number",
    "postorder",
    "replace",
    "symbols",
    "terms",
]


class Expr:
    """A mathematical expression.

    Made by `parse` from text, by operators and NumPy functions on `symbols`, or by `trace` from a Python function.
    Equal expressions are those written alike: ``x + y`` is not ``y + x``.

    Attributes
    ----------
    op : str
        "number", "constant", "symbol", "derivative", an operator ("add", "sub", "mul", "div", "pow", "neg") or the
        name of a function.
    args : tuple of Expr
        The operands.

    Examples
    --------
    >>> from fallline import calculus
    >>> x, y = calculus.symbols("x y")
    >>> f = 3 * x**2 - y / 2
    >>> print(f)
    3x² − y/2
    >>> f.text, float(f(x=1, y=4))
    ('3*x**2 - y/2', 1.0)
    """

    __slots__ = ("__weakref__", "_hash", "args", "op")
    op: str
    args: tuple[Expr, ...]
    _hash: int

    def __init__(self, op: str, args: tuple[Expr, ...], own: Any = None) -> None:
        put = object.__setattr__
        put(self, "op", op)
        put(self, "args", args)
        put(self, "_hash", hash((op, own, *[arg._hash for arg in args])))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name}: must not be set, for expressions do not change; got {value!r}. Make a new one.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name}: must not be deleted, for expressions do not change; got a del. Make a new one.")

    # ---- what it is ----

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of its symbols, sorted; numbers in names count as numbers (x2 before x10)."""
        return tuple(sorted({node.name for node in postorder(self) if isinstance(node, Symbol)}, key=_natural))

    def _own(self) -> Any:
        return None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Expr):
            return NotImplemented
        return self._hash == other._hash and _alike(self, other)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a flat list, however deep the expression is."""
        place: dict[int, int] = {}
        rows: list[tuple[str, Any, tuple[int, ...]]] = []
        for node in postorder(self):
            place[id(node)] = len(rows)
            rows.append((node.op, node._own(), tuple(place[id(arg)] for arg in node.args)))
        return _rebuild, (rows,)

    def __copy__(self) -> Expr:
        return self

    def __deepcopy__(self, memo: Any) -> Expr:
        return self

    # ---- what it is worth ----

    def __call__(self, **values: Any) -> Any:
        """Evaluate with NumPy.

        Parameters
        ----------
        **values : float or array_like
            One for each of `variables`; arrays are broadcast.

        Returns
        -------
        float64 scalar or ndarray
            NaN or infinite outside the domain, without a warning.

        Raises
        ------
        TypeError
            If a variable has no value, or a value no variable, or one that is no real number.
        """
        names = self.variables
        if missing := [name for name in names if name not in values]:
            raise TypeError(
                f"expression: must be given a value for each of its variables {', '.join(names)}; got none for "
                f"{', '.join(missing)}. Call it as f({', '.join(f'{name}=...' for name in names)})."
            )
        if unknown := [name for name in values if name not in names]:
            raise TypeError(
                f"expression: must be given values for its variables {', '.join(names) or '(it has none)'} only; got "
                f"{', '.join(unknown)} too. Leave out what the expression does not contain."
            )
        arrays = {name: _real(name, value) for name, value in values.items()}
        with np.errstate(all="ignore"):
            return fold(self, lambda node, args: compute(node, args, arrays))

    def substitute(self, **values: Any) -> Expr:
        """Put numbers or expressions in the place of symbols.

        Parameters
        ----------
        **values : number or Expr
            For each symbol that is to be replaced.

        Returns
        -------
        Expr
            Not simplified.

        Examples
        --------
        >>> from fallline import calculus
        >>> print(calculus.parse("x**2*y").substitute(x=3))
        3²·y
        """
        new = {name: as_expression(value, name) for name, value in values.items()}
        return replace(self, lambda node: new.get(node.name) if isinstance(node, Symbol) else None)

    # ---- how it is written ----

    @property
    def text(self) -> str:
        """It in Python's notation, which `parse` reads back as the same expression."""
        return _write(self, "text")

    @property
    def latex(self) -> str:
        """It in LaTeX, for math mode."""
        return _write(self, "latex")

    def __str__(self) -> str:
        return _write(self, "unicode")

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return _write(self, "html")

    # ---- operators ----

    def __bool__(self) -> bool:
        raise TypeError(
            f"expression: must not be asked for its truth, which depends on the values of its symbols; got "
            f"{_short(self)!r} in a condition. Express branches by abs, max, min, relu or step."
        )

    def _compare(self, other: Any) -> Any:
        raise TypeError(
            f"expression: must not be compared by size, for its symbols have no values yet; got {_short(self)!r} in a "
            f"comparison. Express branches by abs, max, min, relu or step."
        )

    __lt__ = __le__ = __gt__ = __ge__ = _compare

    def __add__(self, other: Any) -> Expr:
        return _binary("add", self, other)

    def __radd__(self, other: Any) -> Expr:
        return _binary("add", other, self)

    def __sub__(self, other: Any) -> Expr:
        return _binary("sub", self, other)

    def __rsub__(self, other: Any) -> Expr:
        return _binary("sub", other, self)

    def __mul__(self, other: Any) -> Expr:
        return _binary("mul", self, other)

    def __rmul__(self, other: Any) -> Expr:
        return _binary("mul", other, self)

    def __truediv__(self, other: Any) -> Expr:
        return _binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return _binary("div", other, self)

    def __pow__(self, other: Any) -> Expr:
        return _binary("pow", self, other)

    def __rpow__(self, other: Any) -> Expr:
        return _binary("pow", other, self)

    def __neg__(self) -> Expr:
        return _negative(self)

    def __pos__(self) -> Expr:
        return self

    def __abs__(self) -> Expr:
        return call("abs", self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        op = _UFUNCS.get(ufunc.__name__)
        if op is None or method != "__call__" or options:
            call_seen = f"numpy.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
            raise TypeError(
                f"numpy.{ufunc.__name__}: must be a function that expressions know, called without keywords; got "
                f"{call_seen}({', '.join(['...', *options])}). Known: {', '.join(FUNCTIONS)}."
            )
        if any(isinstance(value, np.ndarray) for value in inputs):
            return np.frompyfunc(lambda *args: op(*args), len(inputs), 1)(*[_boxed(value) for value in inputs])
        return op(*inputs)

    # NumPy calls these on the elements of arrays of expressions.
    def exp(self) -> Expr:
        """Return exp of it."""
        return call("exp", self)

    def log(self) -> Expr:
        """Return its natural logarithm."""
        return call("log", self)

    def sqrt(self) -> Expr:
        """Return its square root."""
        return call("sqrt", self)

    def sin(self) -> Expr:
        """Return its sine."""
        return call("sin", self)

    def cos(self) -> Expr:
        """Return its cosine."""
        return call("cos", self)

    def tan(self) -> Expr:
        """Return its tangent."""
        return call("tan", self)

    def arcsin(self) -> Expr:
        """Return its inverse sine."""
        return call("asin", self)

    def arccos(self) -> Expr:
        """Return its inverse cosine."""
        return call("acos", self)

    def arctan(self) -> Expr:
        """Return its inverse tangent."""
        return call("atan", self)

    def sinh(self) -> Expr:
        """Return its hyperbolic sine."""
        return call("sinh", self)

    def cosh(self) -> Expr:
        """Return its hyperbolic cosine."""
        return call("cosh", self)

    def tanh(self) -> Expr:
        """Return its hyperbolic tangent."""
        return call("tanh", self)


class Number(Expr):
    """An exact number: an integer, or a finite decimal fraction. One half is a quotient, or 0.5.

    Attributes
    ----------
    value : fractions.Fraction
    decimal : bool
        Whether it is written with a decimal point, or was made of such numbers.
    """

    __slots__ = ("decimal", "value")
    value: Fraction
    decimal: bool

    def __init__(self, value: Fraction, decimal: bool = False) -> None:
        super().__init__("number", (), value)
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "decimal", decimal)

    def _own(self) -> Any:
        return self.value, self.decimal


class _Named(Expr):
    __slots__ = ("name",)
    name: str
    kind: ClassVar[str]

    def __init__(self, name: str) -> None:
        super().__init__(self.kind, (), name)
        object.__setattr__(self, "name", name)

    def _own(self) -> Any:
        return self.name


class Symbol(_Named):
    """A variable.

    Attributes
    ----------
    name : str
    """

    __slots__ = ()
    kind = "symbol"


class Constant(_Named):
    """A number that has a name: pi or e.

    Attributes
    ----------
    name : str
    """

    __slots__ = ()
    kind = "constant"


class Operation(Expr):
    """An operator or a function, applied to its operands."""

    __slots__ = ()


class Derivative(Expr):
    """A derivative that is still to be taken: ∂/∂x of its operand.

    Attributes
    ----------
    name : str
        The variable.
    """

    __slots__ = ("name",)
    name: str

    def __init__(self, operand: Expr, name: str) -> None:
        super().__init__("derivative", (operand,), name)
        object.__setattr__(self, "name", name)

    def _own(self) -> Any:
        return self.name


# ---- making them ----


def symbols(names: str) -> Any:
    """Make the variables of expressions.

    Parameters
    ----------
    names : str
        One name or several, between spaces or commas.

    Returns
    -------
    Symbol, or tuple of Symbol if there are several names

    Raises
    ------
    TypeError
        If `names` is not a string.
    ValueError
        If a name is not an identifier, or is the name of a function.

    Examples
    --------
    >>> from fallline import calculus
    >>> x, y = calculus.symbols("x y")
    >>> x * y
    x*y
    """
    if not isinstance(names, str):
        raise TypeError(f'names: must be a string; got {type(names).__name__}. Write for instance symbols("x y z").')
    made = tuple(Symbol(check_name(name)) for name in re.split(r"[,\s]+", names.strip(", \t\n")))
    return made[0] if len(made) == 1 else made


def check_name(name: str) -> str:
    """Return a variable's name, or raise if it cannot be one."""
    if not name.isidentifier():
        raise ValueError(
            f"names: must be identifiers; got {name!r}. Use letters, digits and underscores, a letter first."
        )
    if name in FUNCTIONS or name in ALIASES:
        raise ValueError(f"names: must not be those of functions; got {name!r}. Choose another name.")
    return name


def number(value: Any, owner: str = "number", decimal: bool = False) -> Number:
    """Return an exact number; a float stands for the shortest decimal that rounds to it."""
    if isinstance(value, Fraction):
        return Number(value, decimal)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return Number(Fraction(int(value)), decimal)
    if isinstance(value, (float, np.floating)):
        real = float(value)
        if not math.isfinite(real):
            raise ValueError(f"{owner}: must be finite; got {real}. Leave it out of the expression.")
        return Number(Fraction(repr(real)), not (real.is_integer() and abs(real) < 2**53))
    raise TypeError(
        f"{owner}: must be an expression, an int, a float or a Fraction; got {type(value).__name__}. "
        "Convert it, or parse it."
    )


def as_expression(value: Any, owner: str = "expression") -> Expr:
    """Return an expression as it is, and a number as an expression."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, Fraction) and value.denominator != 1:
        quotient = Operation("div", (Number(Fraction(abs(value.numerator))), Number(Fraction(value.denominator))))
        return quotient if value > 0 else Operation("neg", (quotient,))
    return number(value, owner)


def call(function: str, *args: Any) -> Expr:
    """Apply a function of the table to expressions or numbers."""
    return Operation(function, tuple(as_expression(arg, function) for arg in args))


def _boxed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.astype(object)
    box = np.empty((), dtype=object)
    box[()] = value
    return box


def _binary(op: str, left: Any, right: Any) -> Expr:
    """Apply an operator; to an array, element by element."""
    for value in (left, right):
        if isinstance(value, np.ndarray):
            array: Expr = np.frompyfunc(lambda a, b: _binary(op, a, b), 2, 1)(_boxed(left), _boxed(right))
            return array
        if not isinstance(value, (Expr, numbers.Real, np.generic)):
            return NotImplemented  # type: ignore[no-any-return]
    left, right = as_expression(left), as_expression(right)
    if op == "div" and isinstance(right, Number) and right.value == 0:
        raise ZeroDivisionError(
            f"expression: must not be divided by the constant 0; got {_short(left)}/0. Divide by another."
        )
    return Operation(op, (left, right))


def _negative(value: Any) -> Expr:
    expr = as_expression(value)
    return Number(-expr.value, expr.decimal) if isinstance(expr, Number) else Operation("neg", (expr,))


def _ufunc(op: str) -> Callable[..., Any]:
    if op in FUNCTIONS:
        return lambda *args: call(op, *args)
    if op == "neg":
        return _negative
    return lambda left, right: _binary(op, left, right)


_UFUNCS: dict[str, Callable[..., Any]] = {
    **{compute.__name__: _ufunc(op) for op, compute in OPERATORS.items() if isinstance(compute, np.ufunc)},
    **{entry.compute.__name__: _ufunc(op) for op, entry in FUNCTIONS.items() if isinstance(entry.compute, np.ufunc)},
    "square": lambda value: _binary("pow", value, 2),
    "reciprocal": lambda value: _binary("div", 1, value),
    "positive": as_expression,
    "fabs": _ufunc("abs"),
    "fmax": _ufunc("max"),
    "fmin": _ufunc("min"),
    "float_power": _ufunc("pow"),
    "log1p": lambda value: call("log", _binary("add", 1, value)),
    "expm1": lambda value: _binary("sub", call("exp", value), 1),
    "heaviside": lambda value, half: _heaviside(value, half),
}


def _heaviside(value: Any, half: Any) -> Expr:
    if isinstance(half, Expr) or half != 0:
        raise TypeError(
            f"numpy.heaviside: must be 0 at 0 for expressions; got {half!r}. Write (1 + sign(x))/2 for one half."
        )
    return call("step", value)


# ---- walking over them ----


def postorder(*roots: Expr) -> Iterator[Expr]:
    """Yield every node once, operands before what is made of them."""
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            if not node.args:
                yield node
                continue
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(node.args))


def fold(root: Expr, combine: Callable[[Expr, list[Any]], Any]) -> Any:
    """Return what `combine` makes of the root and of what it made of the operands, bottom up."""
    made: dict[int, Any] = {}
    for node in postorder(root):
        made[id(node)] = combine(node, [made[id(arg)] for arg in node.args])
    return made[id(root)]


def replace(root: Expr, new: Callable[[Expr], Expr | None]) -> Expr:
    """Return the expression with new(node) in the place of each node for which it is not None."""

    def combine(node: Expr, args: list[Expr]) -> Expr:
        found = new(node)
        if found is not None:
            return found
        return node if all(a is b for a, b in zip(args, node.args, strict=True)) else like(node, tuple(args))

    result: Expr = fold(root, combine)
    return result


def like(node: Expr, args: tuple[Expr, ...]) -> Expr:
    """Return the same operation with other operands."""
    return Derivative(args[0], node.name) if isinstance(node, Derivative) else Operation(node.op, args)


def terms(expr: Expr) -> list[tuple[int, Expr]]:
    """Return the terms of a sum with their signs, in the order in which they are written."""
    found: list[tuple[int, Expr]] = []
    node, sign = expr, 1
    while node.op in ("add", "sub"):
        found.append((1 if node.op == "add" else -1, node.args[1]))
        node = node.args[0]
    if node.op == "neg":
        node, sign = node.args[0], -1
    found.append((sign, node))
    return found[::-1]


def factors(expr: Expr) -> list[Expr]:
    """Return the factors of a product in the order in which they are written."""
    found = []
    while expr.op == "mul":
        found.append(expr.args[1])
        expr = expr.args[0]
    return [expr, *found[::-1]]


def _natural(name: str) -> list[Any]:
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", name)]


def _alike(a: Expr, b: Expr) -> bool:
    seen: set[tuple[int, int]] = set()
    stack: list[tuple[Expr, Expr]] = [(a, b)]
    while stack:
        left, right = stack.pop()
        if left is right or (id(left), id(right)) in seen:
            continue
        if left._hash != right._hash or left.op != right.op or len(left.args) != len(right.args):
            return False
        if isinstance(left, Number):
            if left.value != right.value:  # type: ignore[attr-defined]
                return False
        elif left._own() != right._own():
            return False
        seen.add((id(left), id(right)))
        stack.extend(zip(left.args, right.args, strict=True))
    return True


def _rebuild(rows: Sequence[tuple[str, Any, tuple[int, ...]]]) -> Expr:
    made: list[Expr] = []
    for op, own, places in rows:
        args = tuple(made[place] for place in places)
        if op == "number":
            made.append(Number(*own))
        elif op in ("symbol", "constant"):
            made.append((Symbol if op == "symbol" else Constant)(own))
        elif op == "derivative":
            made.append(Derivative(args[0], own))
        else:
            made.append(Operation(op, args))
    return made[-1]


def as_float(value: Fraction) -> float:
    """Return the nearest float64, infinite beyond its range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def compute(node: Expr, args: list[Any], values: Mapping[str, Any]) -> Any:
    """Return the value of a node from those of its operands and of the variables."""
    if isinstance(node, Number):
        return np.float64(as_float(node.value))
    if isinstance(node, Symbol):
        return values[node.name]
    if isinstance(node, Constant):
        return np.float64(CONSTANTS[node.name])
    if isinstance(node, Derivative):
        raise TypeError(
            f"expression: must have no derivative left to be taken; got {_short(node)!r}. "
            "Use the result of differentiate."
        )
    function = OPERATORS.get(node.op) or FUNCTIONS[node.op].compute
    return function(*args)


def _real(name: str, value: Any) -> Any:
    """Return a value as float64; NumPy would drop an imaginary part, and take None for NaN and "1" for a number."""
    array = np.asarray(value)
    try:
        if array.dtype.kind == "O":  # fractions, and integers of any size
            array = np.array([float(entry) for entry in array.flat]).reshape(array.shape)
        return array.astype(np.float64, casting="unsafe" if array.dtype.kind in "biufV" else "no")[()]
    except (TypeError, ValueError, OverflowError):
        got = type(value).__name__ if array.dtype == object else array.dtype
        raise TypeError(
            f"expression: must be given real numbers in the range of float64; got {got} for {name}. Pass floats."
        ) from None


def _write(expr: Expr, notation: str) -> str:
    from fallline.calculus.printing import write

    return write(expr, notation)


def _short(expr: Expr) -> str:
    text = expr.text
    return text if len(text) <= 60 else text[:57] + "..."
