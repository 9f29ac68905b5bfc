"""Expressions to text: Python's notation, Unicode as on a blackboard, LaTeX, and HTML.

One walk serves all of them. It puts pieces on a stack, strings and expressions still to be written, so that neither
depth nor length costs more than the text itself. What differs between the notations stands in a table of functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import NamedTuple

from fallline.calculus.expression import Constant, Derivative, Expr, Number, Symbol, factors
from fallline.calculus.functions import FUNCTIONS

__all__ = ["in_ascii", "is_letters", "write", "write_operator"]

_SUM, _SIGN, _PRODUCT, _POWER, _ATOM = range(1, 6)
_BINDING = {
    "add": _SUM,
    "sub": _SUM,
    "neg": _SIGN,
    "mul": _PRODUCT,
    "div": _PRODUCT,
    "pow": _POWER,
    "derivative": _PRODUCT,
}
_SUPERSCRIPTS = str.maketrans("0123456789-n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ")
_BASELINE = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ", "0123456789-n")
_ASCII = str.maketrans(
    {"∂": "d", "−": "-", "·": "*", "π": "pi", "√": "sqrt", "≠": "!=", "≈": "~", "…": "...", "½": "1/2"}
    | dict.fromkeys("⎡⎢⎣", "[") | dict.fromkeys("⎤⎥⎦", "]")
)  # fmt: skip
_GREEK = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi")
) | {"rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"}


class _Part(NamedTuple):
    """An expression still to be written, in brackets if it binds less than it must."""

    node: Expr
    must: int = _SUM
    followed: bool = False  # by what a derivative at its end would seem to include


_Piece = str | _Part


@dataclass(frozen=True)
class _Notation:
    symbol: Callable[[str], str]
    constant: Callable[[str], str]
    minus: str
    times: str
    blackboard: bool  # signs of multiplication may be left out, and brackets around factors
    brackets: tuple[str, str]
    quotient: Callable[[Expr, Expr], list[_Piece]]
    power: Callable[[Expr, Expr], list[_Piece]]
    function: Callable[[str, tuple[Expr, ...]], list[_Piece]]
    derivative: Callable[[str, str], str]


def write(expr: Expr, notation: str, sign: str = "∂") -> str:
    """Write an expression in a notation: "text", "unicode", "latex" or "html"; `sign` is the d of derivatives."""
    style = _NOTATIONS[notation]
    written: list[str] = []
    pieces: list[_Piece] = [_Part(expr)]
    if isinstance(expr, Derivative):  # the whole is shown in brackets, whatever it is
        pieces = ["]", _Part(expr.args[0]), " [", style.derivative(sign, expr.name)]
    while pieces:
        piece = pieces.pop()
        if isinstance(piece, str):
            written.append(piece)
        elif _binding(piece.node) < piece.must:
            pieces.extend((style.brackets[1], _Part(piece.node), style.brackets[0]))
        else:
            pieces.extend(reversed(_pieces(piece, style, sign)))
    return "".join(written)


def write_operator(notation: str, sign: str, name: str) -> str:
    """Write ∂/∂x, or d/dx."""
    return _NOTATIONS[notation].derivative(sign, name)


def in_ascii(text: str) -> str:
    """Write a text about a derivation, with its signs, brackets and exponents, in ASCII."""
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ]+", lambda above: "**" + above[0].translate(_BASELINE), text)
    return text.translate(_ASCII)


def _binding(node: Expr) -> int:
    if isinstance(node, Number) and node.value < 0:
        return _SIGN
    return _BINDING.get(node.op, _ATOM)


def _pieces(part: _Part, style: _Notation, sign: str) -> list[_Piece]:
    node = part.node
    if isinstance(node, Number):
        return [_number(node).replace("-", style.minus)]
    if isinstance(node, Symbol):
        return [style.symbol(node.name)]
    if isinstance(node, Constant):
        return [style.constant(node.name)]
    if isinstance(node, Derivative):
        return _derivative(node, style, sign, bare=not part.followed)
    if node.op in ("add", "sub"):
        sign_between = " + " if node.op == "add" else f" {style.minus} "
        return [_Part(node.args[0]), sign_between, _Part(node.args[1], _PRODUCT)]
    if node.op == "neg":
        return [style.minus, _Part(node.args[0], _PRODUCT)]
    if node.op == "mul":
        return _product(part, style, sign) if style.blackboard else _plain_product(node, style)
    if node.op == "div":
        return style.quotient(*node.args)
    if node.op == "pow":
        return style.power(*node.args)
    return style.function(node.op, node.args)


# ---- numbers ----


def _number(node: Number) -> str:
    value = node.value
    if not node.decimal and value.denominator == 1:
        return str(value.numerator)
    decimal = _decimal(value)
    if decimal is None:
        return f"{value.numerator}/{value.denominator}"
    return f"{decimal:f}" if -7 <= decimal.adjusted() <= 20 else f"{decimal:e}"


def _decimal(value: Fraction) -> Decimal | None:
    """Return it as a decimal fraction if it has a finite one."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return None
    places = max(twos, fives)
    digits = value.numerator * 2 ** (places - twos) * 5 ** (places - fives)
    return (
        Decimal(digits)
        .scaleb(-places, Context(prec=len(str(digits)) + 1, Emin=-99999, Emax=99999))
        .normalize(Context(prec=len(str(digits)) + 1, Emin=-99999, Emax=99999))
    )


# ---- products ----


def _plain_product(node: Expr, style: _Notation) -> list[_Piece]:
    return [_Part(node.args[0], _PRODUCT), style.times, _Part(node.args[1], _POWER)]


def _product(part: _Part, style: _Notation, sign: str) -> list[_Piece]:
    """Write a product as on a blackboard: 3x²z, 2(x + 1), 3z·3x², x·sin(x)."""
    pieces: list[_Piece] = []
    groups = _groups(part.node)
    for group in groups:
        closed = group[0].op == "number"  # a coefficient binds the letters after it
        for before, factor in zip([None, *group[:-1]], group, strict=True):
            if pieces:
                pieces.append(_sign_between(before, factor, closed, style, alone=len(pieces) == 1))
            bare = group is groups[-1] and factor is group[-1] and not part.followed
            pieces.extend(
                _derivative(factor, style, sign, bare=bare)
                if isinstance(factor, Derivative)
                else [_Part(factor, _POWER)]
            )
    return pieces


def _groups(node: Expr) -> list[list[Expr]]:
    """Return the factors; those of a product that was a factor itself stay together."""
    groups: list[list[Expr]] = [[]]
    for factor in factors(node):
        if factor.op == "mul":
            groups.append(factors(factor))
            groups.append([])
        else:
            groups[-1].append(factor)
    return [group for group in groups if group]


def _sign_between(before: Expr | None, factor: Expr, closed: bool, style: _Notation, *, alone: bool) -> str:
    if factor.op == "derivative":
        return " " if alone and before is not None and before.op == "symbol" else style.times
    if before is None or not closed:
        return style.times
    coefficient = isinstance(before, Number) and before.value != 1
    if _binding(factor) < _POWER:  # it will be in brackets
        return "" if coefficient else style.times
    return "" if is_letters(factor) and (coefficient or is_letters(before)) else style.times


def is_letters(node: Expr) -> bool:
    """Tell whether it is a single letter, or a power of one with a number above it."""
    if node.op == "pow":
        return is_letters(node.args[0]) and node.args[0].op != "pow" and node.args[1].op == "number"
    return node.op == "constant" or (isinstance(node, Symbol) and len(node.name) == 1)


# ---- derivatives ----


def _derivative(node: Derivative, style: _Notation, sign: str, *, bare: bool) -> list[_Piece]:
    operator, operand = style.derivative(sign, node.name), node.args[0]
    if not (bare and style.blackboard and _is_short(operand)):
        return [operator, " [", _Part(operand), "]"]
    if operand.op != "mul":
        return [operator, " ", _Part(operand)]
    return [operator, " ", *(_Part(factor, _POWER) for factor in factors(operand))]


def _is_short(operand: Expr) -> bool:
    """Tell whether ∂/∂x reads well before it without brackets: letters with a coefficient, a power, a function."""
    first, *rest = factors(operand)
    if rest:
        return (first.op == "number" or is_letters(first)) and all(map(is_letters, rest))
    return _binding(operand) >= _POWER


# ---- the notations ----


def _text_function(name: str, args: tuple[Expr, ...]) -> list[_Piece]:
    pieces: list[_Piece] = [name, "(", _Part(args[0])]
    for arg in args[1:]:
        pieces.extend((", ", _Part(arg)))
    return [*pieces, ")"]


def _text_power(base: Expr, exponent: Expr) -> list[_Piece]:
    must = _SIGN if exponent.op == "number" else _POWER
    return [_Part(base, _ATOM), "**", _Part(exponent, must)]


def _slash(left: Expr, right: Expr) -> list[_Piece]:
    return [_Part(left, _PRODUCT, followed=True), "/", _Part(right, _POWER)]


def _unicode_power(base: Expr, exponent: Expr) -> list[_Piece]:
    if _is_raised(exponent):
        above = exponent.name if isinstance(exponent, Symbol) else _number(exponent)  # type: ignore[arg-type]
        return [_Part(base, _ATOM), above.translate(_SUPERSCRIPTS)]
    return [_Part(base, _ATOM), "^", _Part(exponent, _ATOM)]


def _is_raised(exponent: Expr) -> bool:
    """Tell whether Unicode has superscripts for it."""
    if isinstance(exponent, Number):
        return exponent.value.denominator == 1 and not exponent.decimal
    return isinstance(exponent, Symbol) and exponent.name == "n"


def _unicode_function(name: str, args: tuple[Expr, ...]) -> list[_Piece]:
    if name == "abs":
        return ["|", _Part(args[0]), "|"]
    return _text_function({"log": "ln", "sqrt": "√"}.get(name, name), args)


def _html_power(base: Expr, exponent: Expr) -> list[_Piece]:
    return [_Part(base, _ATOM), "<sup>", _Part(exponent), "</sup>"]


def _latex_symbol(name: str) -> str:
    stem, digits = re.fullmatch(r"(.*?)_?(\d*)", name).groups()  # type: ignore[union-attr]
    if not stem:
        stem, digits = name, ""
    if stem in _GREEK:
        stem = "\\" + stem
    elif len(stem) > 1:
        stem = r"\mathrm{" + stem.replace("_", r"\_") + "}"
    return f"{stem}_{{{digits}}}" if digits else stem


def _latex_power(base: Expr, exponent: Expr) -> list[_Piece]:
    return [_Part(base, _ATOM), "^{", _Part(exponent), "}"]


def _latex_quotient(left: Expr, right: Expr) -> list[_Piece]:
    return [r"\frac{", _Part(left), "}{", _Part(right), "}"]


def _latex_function(name: str, args: tuple[Expr, ...]) -> list[_Piece]:
    if name == "sqrt":
        return [r"\sqrt{", _Part(args[0]), "}"]
    if name == "abs":
        return [r"\left|", _Part(args[0]), r"\right|"]
    pieces = _text_function(FUNCTIONS[name].latex, args)
    return [pieces[0], r"\left(", *pieces[2:-1], r"\right)"]


_NOTATIONS = {
    "text": _Notation(
        symbol=str,
        constant=str,
        minus="-",
        times="*",
        blackboard=False,
        brackets=("(", ")"),
        quotient=_slash,
        power=_text_power,
        function=_text_function,
        derivative=lambda sign, name: f"{sign}/{sign}{name}",
    ),
    "unicode": _Notation(
        symbol=str,
        constant=lambda name: "π" if name == "pi" else name,
        minus="−",
        times="·",
        blackboard=True,
        brackets=("(", ")"),
        quotient=_slash,
        power=_unicode_power,
        function=_unicode_function,
        derivative=lambda sign, name: f"{sign}/{sign}{name}",
    ),
    "latex": _Notation(
        symbol=_latex_symbol,
        constant=lambda name: r"\pi" if name == "pi" else r"\mathrm{e}",
        minus="-",
        times=r" \cdot ",
        blackboard=True,
        brackets=(r"\left(", r"\right)"),
        quotient=_latex_quotient,
        power=_latex_power,
        function=_latex_function,
        derivative=lambda sign, name: (
            (r"\frac{\partial}{\partial " if sign == "∂" else r"\frac{\mathrm{d}}{\mathrm{d}")
            + _latex_symbol(name)
            + "}"
        ),
    ),
    "html": _Notation(
        symbol=lambda name: f"<i>{name}</i>",
        constant=lambda name: "π" if name == "pi" else "e",
        minus="−",
        times="·",
        blackboard=True,
        brackets=("(", ")"),
        quotient=_slash,
        power=_html_power,
        function=_unicode_function,
        derivative=lambda sign, name: f"{sign}/{sign}<i>{name}</i>",
    ),
}
