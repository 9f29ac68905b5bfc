"""The time of derivatives by rule: differentiating long expressions against parsing them, and showing derivations."""

import pytest

from bench.harness import Bar, Race
from fallline import calculus
from fallline.calculus.expression import postorder

TERMS = {
    "polynomial": (" + ", "{c}*x**{n}*y"),
    "functions": (" - ", "sin({c}*x)*exp(x/{c})/(x**2 + {c})"),
    "one product": ("*", "(x + {c}*y)"),
}
LECTURE = ["x + y", "2*x + 3*y**2", "x*y", "3*x**3*z - y**2 + 5*z + 2*y*z"]


def nodes(text):
    return sum(1 for _ in postorder(calculus.parse(text)))


def long_text(kind, least=10_000):
    """Return a text of at least so many nodes; no two of its terms are alike."""
    joint, term = TERMS[kind]
    count = 1 + least // (nodes(term.format(c=2, n=2)) + 1)
    return joint.join(term.format(c=c, n=c % 7 + 2) for c in range(2, count + 2))


def sympy_derivative(text):
    import sympy

    expr, x = sympy.sympify(text), sympy.Symbol("x")

    def differentiate():
        sympy.core.cache.clear_cache()
        return sympy.diff(expr, x)

    return differentiate


@pytest.mark.parametrize("kind", TERMS)
def test_differentiate(benchmark, report, kind):
    text = long_text(kind)
    expr = calculus.parse(text)
    race = Race(f"differentiating an expression of {nodes(text)} nodes: {kind}")
    race.add("differentiate", lambda: calculus.differentiate(expr, "x"))
    race.add("parse", lambda: calculus.parse(text))
    if kind != "one product":  # sympy needs minutes for it
        race.invite("sympy.diff, cache cleared", sympy_derivative, text)
    race.run(benchmark)
    table = race.table("parse")
    table.bars = [race.bar("differentiate", "parse", 10)]
    report(table)


def test_explain(benchmark, report):
    race = Race("explain() of the lecture's examples, with printing")
    for text in LECTURE:
        race.add(text, lambda text=text: str(calculus.explain(text)))
    race.run(benchmark)
    table = race.table(LECTURE[0])
    table.bars = [Bar(text, race.best(text) * 1e3, 5, "ms") for text in LECTURE]
    report(table)
