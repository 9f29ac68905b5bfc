"""Text to expressions. Text is read by the grammar below and never evaluated.

Sums and differences bind least, then products and quotients (signs ``*  ·  ×  /  ÷``, or none: ``3x^3 z``), then
powers (``**``, ``^`` or ``x³``), from the right. A minus before a term belongs to the whole term. Operators wait on a
stack of our own, so nesting may be as deep as it likes.
"""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple, NoReturn

from fallline.calculus.expression import Constant, Derivative, Expr, Number, Operation, Symbol, check_name
from fallline.calculus.functions import ALIASES, CONSTANTS, FUNCTIONS, names_of_functions

__all__ = ["ParseError", "parse", "read"]

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d⁰¹²³⁴⁵⁶⁷⁸⁹](?:(?![⁰¹²³⁴⁵⁶⁷⁸⁹])\w)*)
      | (?P<superscript>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)
      | (?P<operator>\*\*|[-+*/^−–·⋅×÷])
      | (?P<bracket>[()\[\]|,√])
    """,
    re.VERBOSE,
)
_OPERATOR = re.compile(r"[d∂]/[d∂]([^\W\d]\w*)")
_SIGNS = {
    "+": "add", "-": "sub", "−": "sub", "–": "sub", "*": "mul", "·": "mul", "⋅": "mul", "×": "mul",
    "/": "div", "÷": "div", "**": "pow", "^": "pow",
}  # fmt: skip
_BINDING = {"add": 1, "sub": 1, "neg": 2, "derivative": 2, "mul": 3, "div": 3, "tight neg": 4, "pow": 5}
_CLOSING = {"(": ")", "[": "]", "|": "|"}
_LARGEST_EXPONENT = 400  # of a number in decimal notation: float64 ends at 308
_LARGEST_POWER = 64  # of constants, for finding divisors that are 0


class ParseError(ValueError):
    """Text that is not an expression.

    Attributes
    ----------
    text : str
    position : int
        The index of the character at fault.
    """

    def __init__(self, text: str, position: int, must: str, got: str, cure: str) -> None:
        self.text, self.position = text, position
        before = text[:position].rpartition("\n")[2]
        line = before + text[position:].partition("\n")[0]
        below = re.sub(r"[^\t]", " ", before)  # tabs stay, so that the caret stands where they lead to
        super().__init__(f"text: {must}; got {got}. {cure}\n    {line}\n    {below}^")


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


class _Waiting(NamedTuple):
    """An operator whose right operand is still to come, or an open bracket."""

    op: str
    token: _Token
    arity: int = 0  # of a bracket: arguments before the last comma
    function: str = ""  # of a bracket: what it is the argument of


class _Operand(NamedTuple):
    expr: Expr
    value: Fraction | None  # of a constant


def parse(text: str, variables: str | Sequence[str] | None = None) -> Expr:
    """Read an expression.

    Parameters
    ----------
    text : str
        In Python's notation or as written by hand: ``^`` is a power too, signs of multiplication may be left out
        (``3x^3 z``), ``x³``, ``·``, ``−``, ``√(x)`` and ``|x|`` are understood. ``pi`` and ``e`` are the constants.
    variables : str or sequence of str, optional
        The names that are allowed. They may be those of constants. Letters without a sign between them (``yz``) are
        taken as a product if each of them is a variable. By default every name is a variable.

    Returns
    -------
    Expr
        Not simplified: the order of terms and the numbers are the author's.

    Raises
    ------
    TypeError
        If `text` is not a string.
    ParseError
        If it is not an expression; the message points at the place. A subclass of ValueError.

    Examples
    --------
    >>> from fallline import calculus
    >>> calculus.parse("3x^3 z - y²")
    3*x**3*z - y**2
    >>> calculus.parse("2*sqr(x)")
    Traceback (most recent call last):
        ...
    fallline.calculus.parsing.ParseError: text: must call known functions only; got 'sqr'. Did you mean 'sqrt'?
        2*sqr(x)
          ^
    """
    return read(text, _names(variables), derivatives=False)


def _names(variables: str | Sequence[str] | None) -> frozenset[str] | None:
    if variables is None:
        return None
    names = re.split(r"[,\s]+", variables.strip(", \t\n")) if isinstance(variables, str) else list(variables)
    return frozenset(check_name(name) for name in names)


def read(text: str, names: frozenset[str] | None, *, derivatives: bool) -> Expr:
    """Read an expression; with `derivatives`, ∂/∂x and d/dx are operators."""
    if not isinstance(text, str):
        raise TypeError(f'text: must be a string; got {type(text).__name__}. Write for instance "x**2 + 1".')
    return _Reader(text, names, derivatives).read()


class _Reader:
    def __init__(self, text: str, names: frozenset[str] | None, derivatives: bool) -> None:
        self.text, self.names, self.derivatives = text, names, derivatives
        self.operands: list[_Operand] = []
        self.waiting: list[_Waiting] = []
        self.complete = False  # the last thing read ends an operand

    def read(self) -> Expr:
        tokens = list(self.tokens())
        if not tokens:
            self.fail(0, "must hold an expression", "nothing", 'Write for instance "x**2 + 1".')
        for token, following in zip(tokens, [*tokens[1:], None], strict=True):
            getattr(self, f"read_{token.kind}")(token, following)
        if not self.complete:
            self.fail_for_operand(len(self.text.rstrip()), "the end of the text")
        self.apply_above(0)
        if self.waiting:
            bracket = self.waiting[-1].token
            self.fail(
                bracket.position,
                "must close every bracket",
                f"an open {bracket.text!r}",
                f"Add {_CLOSING[bracket.text]!r}.",
            )
        return self.operands[0].expr

    def fail(self, position: int, must: str, got: str, cure: str) -> NoReturn:
        raise ParseError(self.text, position, must, got, cure)

    def fail_for_operand(self, position: int, got: str) -> NoReturn:
        self.fail(
            position,
            "must have a number, a variable, a function or a bracket here",
            got,
            "Complete it, or leave out the operator.",
        )

    # ---- tokens ----

    def tokens(self) -> Iterator[_Token]:
        position = 0
        while position < len(self.text):
            operator = _OPERATOR.match(self.text, position) if self.derivatives else None
            if operator:
                yield _Token("derivative", operator[1], position)
                position = operator.end()
                continue
            match = _TOKEN.match(self.text, position)
            if match is None or match.lastgroup is None:
                self.fail_for_character(position)
            elif match.lastgroup != "space":
                yield _Token(match.lastgroup, match.group(), position)
            position = match.end()

    def fail_for_character(self, position: int) -> NoReturn:
        character = self.text[position]
        what = {".": "attribute access", "=": "a comparison or assignment", "<": "a comparison", ">": "a comparison"}
        got = f"{what[character]}, {character!r}" if character in what else repr(character)
        self.fail(
            position,
            "must be a mathematical expression",
            got,
            "Use numbers, variables, + - * / **, brackets and functions.",
        )

    def read_number(self, token: _Token, following: _Token | None) -> None:
        mantissa, _, exponent = token.text.lower().partition("e")
        if len(mantissa) > _LARGEST_EXPONENT or abs(int(exponent or 0)) > _LARGEST_EXPONENT:
            self.fail(
                token.position, "must hold numbers in the range of float64", token.text[:20], "Scale the variables."
            )
        value = Fraction(token.text)
        self.operand(token, Number(value, decimal="." in mantissa or bool(exponent)), value)

    def read_superscript(self, token: _Token, following: _Token | None) -> None:
        if not self.complete:
            self.fail_for_operand(token.position, f"{token.text!r}")
        value = Fraction(token.text.translate(_SUPERSCRIPTS))
        self.read_operator(_Token("operator", "**", token.position), None)
        self.operand(token, Number(value), value)

    def read_derivative(self, token: _Token, following: _Token | None) -> None:
        self.multiply_if_complete(token)
        if following is not None and following.text == "[":  # the bracket alone is its operand
            self.waiting.append(_Waiting("derivative of", token))
        else:
            self.waiting.append(_Waiting("derivative", token))

    def read_name(self, token: _Token, following: _Token | None) -> None:
        called = following is not None and following.text == "("
        name = ALIASES.get(token.text, token.text)
        if name in FUNCTIONS:
            self.read_function(token, name, called)
            return
        if keyword.iskeyword(token.text):
            self.fail(
                token.position,
                "must be a mathematical expression",
                f"Python's {token.text!r}",
                "Leave it out, or choose another name.",
            )
        for expr in self.named(token, called):
            self.operand(token, expr, None)

    def read_function(self, token: _Token, name: str, called: bool) -> None:
        if not called:
            self.fail(
                token.position,
                f"must give {token.text} its argument in brackets",
                f"{token.text!r} without",
                f"Write {token.text}(...).",
            )
        self.multiply_if_complete(token)
        self.waiting.append(_Waiting("function", token, function=name))

    def named(self, token: _Token, called: bool) -> list[Expr]:
        """Return the variable or constant of this name, or the variables whose product it is."""
        name = token.text
        if called and name not in (self.names or ()) and (len(name) > 1 or name in CONSTANTS):
            near = difflib.get_close_matches(name, names_of_functions(), n=2)
            cure = (
                f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Known functions: {', '.join(FUNCTIONS)}."
            )
            self.fail(token.position, "must call known functions only", repr(name), cure)
        if called:
            self.fail(
                token.position,
                "must call functions only",
                f"a bracket right after {name!r}",
                f"Write {name}*(...) for a product.",
            )
        if self.names is not None and name in self.names:
            return [Symbol(name)]
        if name in CONSTANTS or name == "π":
            return [Constant("pi" if name == "π" else name)]
        if self.names is None:
            return [Symbol(name)]
        if not all(letter in self.names for letter in name):
            near = difflib.get_close_matches(name, sorted(self.names), n=2, cutoff=0.5)
            cure = (
                f"Did you mean {' or '.join(map(repr, near))}?"
                if near
                else f"Known variables: {', '.join(sorted(self.names))}."
            )
            self.fail(token.position, "must contain known variables only", repr(name), cure)
        return [Symbol(letter) for letter in name]

    # ---- operands and operators ----

    def operand(self, token: _Token, expr: Expr, value: Fraction | None) -> None:
        self.multiply_if_complete(token)
        self.operands.append(_Operand(expr, value))
        self.complete = True

    def multiply_if_complete(self, token: _Token) -> None:
        """Read a product whose sign was left out."""
        if not self.complete:
            return
        if token.kind == "number":
            self.fail(
                token.position,
                "must have an operator before a number",
                f"{token.text!r}",
                "Write * for a product, ** for a power.",
            )
        self.apply_above(_BINDING["mul"])
        if self.waiting and self.waiting[-1].op == "div":
            self.fail(
                token.position, "must not leave out a sign of multiplication after a division", f"{token.text!r}",
                "Write a/(b*c) or (a/b)*c.",
            )  # fmt: skip
        self.apply_above(_BINDING["mul"] - 1)
        self.waiting.append(_Waiting("mul", token))
        self.complete = False

    def read_operator(self, token: _Token, following: _Token | None) -> None:
        op = _SIGNS[token.text]
        if not self.complete:
            self.read_sign(token, op)
            return
        self.apply_above(_BINDING[op] - (op != "pow"))
        self.waiting.append(_Waiting(op, token))
        self.complete = False

    def read_sign(self, token: _Token, op: str) -> None:
        if op not in ("add", "sub"):
            self.fail_for_operand(token.position, f"{token.text!r}")
        if op == "sub":
            # A minus before a term is that of the whole term; after * / ** only of the next factor.
            tight = bool(self.waiting) and _BINDING.get(self.waiting[-1].op, 0) >= _BINDING["mul"]
            self.waiting.append(_Waiting("tight neg" if tight else "neg", token))

    def apply_above(self, binding: int) -> None:
        """Apply the operators that wait and bind more tightly than this, up to the last bracket."""
        while self.waiting and _BINDING.get(self.waiting[-1].op, 0) > binding:
            self.apply(self.waiting.pop())

    def apply(self, waiting: _Waiting) -> None:
        right = self.operands.pop()
        if waiting.op == "derivative":
            self.operands.append(_Operand(Derivative(right.expr, waiting.token.text), None))
        elif waiting.op in ("neg", "tight neg"):
            value = None if right.value is None else -right.value
            expr = (
                Number(-right.expr.value, right.expr.decimal)
                if isinstance(right.expr, Number)
                else Operation("neg", (right.expr,))
            )
            self.operands.append(_Operand(expr, value))
        else:
            left = self.operands.pop()
            if waiting.op == "div" and right.value == 0:
                self.fail(
                    waiting.token.position,
                    "must not divide by a constant 0",
                    f"/({right.expr.text})" if right.expr.args else "/0",
                    "Divide by something else.",
                )
            expr = Operation(waiting.op, (left.expr, right.expr))
            self.operands.append(_Operand(expr, _value(waiting.op, left.value, right.value)))

    # ---- brackets ----

    def read_bracket(self, token: _Token, following: _Token | None) -> None:
        if token.text == "√":
            if following is None or following.text != "(":
                self.fail(token.position, "must give √ its argument in brackets", "'√' without", "Write √(...).")
            self.multiply_if_complete(token)
            self.waiting.append(_Waiting("function", token, function="sqrt"))
        elif token.text == ",":
            self.end_of_argument(token)
        elif token.text in ")]" or (token.text == "|" and self.complete and self.inside("|")):
            self.close(token)
        else:
            self.open(token)

    def inside(self, bracket: str) -> bool:
        opened = [waiting for waiting in self.waiting if waiting.op == "open"]
        return bool(opened) and opened[-1].token.text == bracket

    def open(self, token: _Token) -> None:
        function = ""
        if self.waiting and self.waiting[-1].op == "function":
            function = self.waiting.pop().function
        elif token.text == "[" and (self.complete or not self.derivatives):
            self.fail(
                token.position, "must not have subscripts", "'['", "Use names such as x0, x1, and ( for brackets."
            )
        else:
            self.multiply_if_complete(token)
        self.waiting.append(_Waiting("open", token, function="abs" if token.text == "|" else function))
        self.complete = False

    def end_of_argument(self, token: _Token) -> None:
        if not self.complete:
            self.fail_for_operand(token.position, "','")
        self.apply_above(0)
        if not self.waiting or FUNCTIONS.get(self.waiting[-1].function, FUNCTIONS["exp"]).arity == 1:
            self.fail(
                token.position,
                "must not have a comma here",
                "','",
                "Only max and min have several arguments; decimals have a point.",
            )
        bracket = self.waiting.pop()
        self.waiting.append(bracket._replace(arity=bracket.arity + 1))
        self.complete = False

    def close(self, token: _Token) -> None:
        if not self.complete:
            self.fail_for_operand(token.position, f"{token.text!r}")
        self.apply_above(0)
        if not self.waiting or _CLOSING[self.waiting[-1].token.text] != token.text:
            opened = f", after {self.waiting[-1].token.text!r}" if self.waiting else ""
            self.fail(
                token.position,
                "must open every bracket that it closes",
                f"{token.text!r}{opened}",
                "Leave it out, or open it.",
            )
        bracket = self.waiting.pop()
        if bracket.function:
            self.apply_function(bracket)
        if self.waiting and self.waiting[-1].op == "derivative of":
            self.operands[-1] = _Operand(Derivative(self.operands[-1].expr, self.waiting.pop().token.text), None)

    def apply_function(self, bracket: _Waiting) -> None:
        if FUNCTIONS[bracket.function].arity == 1:
            self.operands[-1] = _Operand(Operation(bracket.function, (self.operands[-1].expr,)), None)
            return
        if bracket.arity == 0:
            self.fail(
                bracket.token.position,
                f"must give {bracket.function} two arguments or more",
                "one",
                f"Write {bracket.function}(a, b).",
            )
        args = [self.operands.pop().expr for _ in range(bracket.arity + 1)][::-1]
        expr = args[0]
        for arg in args[1:]:
            expr = Operation(bracket.function, (expr, arg))
        self.operands.append(_Operand(expr, None))


def _value(op: str, left: Fraction | None, right: Fraction | None) -> Fraction | None:
    """Return the exact value of a constant, if it is easily had."""
    if left is None or right is None:
        return None
    if op == "pow":
        small = right.denominator == 1 and abs(right) <= _LARGEST_POWER and not (left == 0 and right < 0)
        return left**right.numerator if small else None
    if max(left.denominator, right.denominator).bit_length() + abs(left.numerator).bit_length() > 1 << 14:
        return None
    return {"add": left + right, "sub": left - right, "mul": left * right}.get(op, left / right if right else None)
