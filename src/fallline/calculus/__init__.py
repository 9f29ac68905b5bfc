"""Derivatives by rule, shown step by step: expressions, rules, derivations, and their compiled forms."""

from fallline.calculus.derivation import Derivation, Explanation, explain
from fallline.calculus.differentiation import differentiate, gradient, hessian, jacobian
from fallline.calculus.exchange import from_sympy, to_sympy
from fallline.calculus.expression import Expr, symbols
from fallline.calculus.marking import Marking, check_steps
from fallline.calculus.parsing import ParseError, parse
from fallline.calculus.rules import RULES
from fallline.calculus.simplifying import simplify
from fallline.calculus.tracing import trace

__all__ = [
    "RULES",
    "Derivation",
    "Explanation",
    "Expr",
    "Marking",
    "ParseError",
    "check_steps",
    "differentiate",
    "explain",
    "from_sympy",
    "gradient",
    "hessian",
    "jacobian",
    "parse",
    "simplify",
    "symbols",
    "to_sympy",
    "trace",
]
