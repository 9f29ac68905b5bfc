"""Derivatives by rule, shown step by step: expressions, rules, derivations, and their compiled forms."""

from fallline.calculus.expression import Expr, symbols

__all__ = ["Expr", "symbols"]
