"""Problems in any number of dimensions: from that number to what `Problem` holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

__all__ = ["SCALABLE", "SURVEY"]

Fields = dict[str, Any]

SURVEY = (
    "Jamil & Yang (2013), A literature survey of benchmark functions for global optimisation problems, "
    "Int. J. Mathematical Modelling and Numerical Optimisation 4(2), 150-194"
)


def _variables(n: int) -> tuple[str, ...]:
    return ("x", "y") if n == 2 else tuple(f"x{i}" for i in range(1, n + 1))


def _sum(term: str, n: int) -> str:
    """Return the sum of a term in which x is a variable and i its number, from 1."""
    return " + ".join(term.format(x=x, i=i) for i, x in enumerate(_variables(n), 1))


def _fields(
    title: str, n: int, formula: str, start: float, minimum: float, at: float, bound: float, cite: str
) -> Fields:
    """Return the fields of a problem that is alike in all variables."""
    return {
        "title": title,
        "formula": formula,
        "variables": _variables(n),
        "start": (start,) * n,
        "minima": ((at,) * n,),
        "minimum": minimum,
        "bounds": ((-bound, bound),) * n,
        "citation": cite,
    }


def sphere(n: int) -> Fields:
    cite = "De Jong (1975), An Analysis of the Behavior of a Class of Genetic Adaptive Systems, University of Michigan"
    return _fields("Sphere", n, _sum("{x}**2", n), 4.0, 0.0, 0.0, 5.12, cite)


def sum_squares(n: int) -> Fields:
    return _fields("Sum of squares", n, _sum("{i}*{x}**2", n), 8.0, 0.0, 0.0, 10.0, SURVEY)


def rosenbrock(n: int) -> Fields:
    names = _variables(n)
    formula = " + ".join(f"100*({b} - {a}**2)**2 + (1 - {a})**2" for a, b in itertools.pairwise(names))
    cite = (
        "Rosenbrock (1960), An automatic method for finding the greatest or least value of a function, The Computer "
        "Journal 3(3), 175-184"
    )
    start = tuple(1.0 if i % 2 else -1.2 for i in range(n))
    bounds = tuple((-1.0, 3.0) if i % 2 else (-2.0, 2.0) for i in range(n))
    return _fields("Rosenbrock", n, formula, 0.0, 0.0, 1.0, 0.0, cite) | {"start": start, "bounds": bounds}


def rastrigin(n: int) -> Fields:
    cite = "Rastrigin (1974), Systems of Extremal Control, Nauka, Moscow"
    return _fields("Rastrigin", n, f"{10 * n} + " + _sum("{x}**2 - 10*cos(2*pi*{x})", n), 3.4, 0.0, 0.0, 5.12, cite)


def ackley(n: int) -> Fields:
    squares, cosines = _sum("{x}**2", n), _sum("cos(2*pi*{x})", n)
    cite = "Ackley (1987), A Connectionist Machine for Genetic Hillclimbing, Kluwer"
    formula = f"20 + e - 20*exp(-0.2*sqrt(({squares})/{n})) - exp(({cosines})/{n})"
    return _fields("Ackley", n, formula, 3.4, 0.0, 0.0, 32.768, cite)


def griewank(n: int) -> Fields:
    product = "*".join(f"cos({x}/sqrt({i}))" if i > 1 else f"cos({x})" for i, x in enumerate(_variables(n), 1))
    cite = "Griewank (1981), Generalized descent for global optimization, J. Optimization Theory and Appl. 34, 11-39"
    return _fields("Griewank", n, f"1 + ({_sum('{x}**2', n)})/4000 - {product}", 100.0, 0.0, 0.0, 600.0, cite)


def levy(n: int) -> Fields:
    *inner, last = (f"(1 + ({x} - 1)/4)" for x in _variables(n))
    terms = [f"({w} - 1)**2*(1 + 10*sin(pi*{w} + 1)**2)" for w in inner]
    first = inner[0] if inner else last
    formula = " + ".join([f"sin(pi*{first})**2", *terms, f"({last} - 1)**2*(1 + sin(2*pi*{last})**2)"])
    cite = (
        "Levy & Montalvo (1985), The tunneling algorithm for the global minimization of functions, SIAM J. Sci. Stat. "
        "Comput. 6, 15-29"
    )
    return _fields("Levy", n, formula, -6.0, 0.0, 1.0, 10.0, cite)


def zakharov(n: int) -> Fields:
    weighted = _sum("{i}*{x}/2", n)
    formula = f"{_sum('{x}**2', n)} + ({weighted})**2 + ({weighted})**4"
    return _fields("Zakharov", n, formula, 3.0, 0.0, 0.0, 10.0, SURVEY) | {"bounds": ((-5.0, 10.0),) * n}


def dixon_price(n: int) -> Fields:
    names = _variables(n)
    terms = [f"{i}*(2*{b}**2 - {a})**2" for i, (a, b) in enumerate(itertools.pairwise(names), 2)]
    inner = tuple(2.0 ** -((2**i - 2) / 2**i) for i in range(1, n))
    last = 2.0 ** -((2**n - 2) / 2**n)
    cite = (
        "Dixon & Price (1989), The truncated Newton method for sparse unconstrained optimisation using automatic "
        "differentiation, J. Optimization Theory and Appl. 60, 261-275"
    )
    fields = _fields("Dixon-Price", n, " + ".join([f"({names[0]} - 1)**2", *terms]), 4.0, 0.0, 0.0, 10.0, cite)
    return fields | {"minima": ((*inner, last), (*inner, -last))}


def schwefel(n: int) -> Fields:
    formula = f"-({_sum('{x}*sin(sqrt(abs({x})))', n)})/{n}"
    cite = "Schwefel (1981), Numerical Optimization of Computer Models, Wiley (problem 2.26)"
    return _fields("Schwefel", n, formula, 300.0, -418.9828872724337, 420.96874635998205, 500.0, cite)


def styblinski_tang(n: int) -> Fields:
    cite = (
        "Styblinski & Tang (1990), Experiments in nonconvex optimization: stochastic approximation with function "
        "smoothing and simulated annealing, Neural Networks 3(4), 467-483"
    )
    formula = f"({_sum('{x}**4 - 16*{x}**2 + 5*{x}', n)})/2"
    fields = _fields("Styblinski-Tang", n, formula, 1.0, -39.16616570377142 * n, -2.903534027771177, 5.0, cite)
    return fields | {"start": tuple(4.0 if i % 2 else 1.0 for i in range(n))}


def trid(n: int) -> Fields:
    names = _variables(n)
    products = "".join(f" - {a}*{b}" for a, b in itertools.pairwise(names))
    fields = _fields("Trid", n, _sum("({x} - 1)**2", n) + products, 0.0, -n * (n + 4) * (n - 1) / 6, 0.0, n * n, SURVEY)
    low = 1.0 - n * n  # a corner, one away from the bounds
    return fields | {"minima": (tuple(float(i * (n + 1 - i)) for i in range(1, n + 1)),), "start": (low,) * n}


SCALABLE: dict[str, Callable[[int], Fields]] = {
    function.__name__: function
    for function in (
        sphere,
        sum_squares,
        rosenbrock,
        rastrigin,
        ackley,
        griewank,
        levy,
        zakharov,
        dixon_price,
        schwefel,
        styblinski_tang,
        trid,
    )
}
