"""Derivatives by rule, shown step by step: expressions, rules, derivations, and their compiled forms."""

from fallline.calculus.derivation import Derivation, Explanation, explain
from fallline.calculus.differentiation import differentiate, gradient, hessian, jacobian
from fallline.calculus.expression import Expr, symbols
from fallline.calculus.parsing import ParseError, parse
from fallline.calculus.rules import RULES
from fallline.calculus.simplifying import simplify
from fallline.calculus.tracing import trace

__all__ = [
    "RULES",
    "Derivation",
    "Explanation",
    "Expr",
    "ParseError",
    "differentiate",
    "explain",
    "gradient",
    "hessian",
    "jacobian",
    "parse",
    "simplify",
    "symbols",
    "trace",
]
