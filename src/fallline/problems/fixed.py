"""Problems in the number of dimensions that their authors gave them."""

from __future__ import annotations

from typing import Any

from fallline.problems.scalable import SURVEY

__all__ = ["FIXED"]

FIXED: dict[str, dict[str, Any]] = {}

_MORE = (
    "Moré, Garbow & Hillstrom (1981), Testing unconstrained optimization software, ACM Trans. Math. Software 7, 17-41"
)


def _add(
    name: str, title: str, formula: str, start: Any, minima: Any, minimum: float, bounds: Any, citation: str
) -> None:
    variables = ("x", "y") if len(start) == 2 else tuple(f"x{i}" for i in range(1, len(start) + 1))
    FIXED[name] = {
        "title": title,
        "formula": formula,
        "variables": variables,
        "start": start,
        "minima": minima,
        "minimum": minimum,
        "bounds": bounds,
        "citation": citation,
    }


def _square(low: float, high: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return ((low, high), (low, high))


# ---- one valley

_add(
    "ravine", "Quadratic ravine",
    "(x**2 + 25*y**2)/2",
    (-4.5, 1.5), ((0.0, 0.0),), 0.0, ((-5.0, 5.0), (-2.0, 2.0)),
    "Sutton (1986), Two problems with backpropagation and other steepest-descent learning procedures for networks, "
    "Proc. 8th Annual Conf. of the Cognitive Science Society, 823-831",
)  # fmt: skip
_add(
    "booth", "Booth",
    "(x + 2*y - 7)**2 + (2*x + y - 5)**2",
    (-8.0, -6.0), ((1.0, 3.0),), 0.0, _square(-10.0, 10.0), SURVEY,
)  # fmt: skip
_add(
    "matyas", "Matyas",
    "0.26*(x**2 + y**2) - 0.48*x*y",
    (-8.0, 3.0), ((0.0, 0.0),), 0.0, _square(-10.0, 10.0), SURVEY,
)  # fmt: skip
_add(
    "beale", "Beale",
    "(1.5 - x + x*y)**2 + (2.25 - x + x*y**2)**2 + (2.625 - x + x*y**3)**2",
    (1.0, 1.0), ((3.0, 0.5),), 0.0, _square(-4.5, 4.5),
    "Beale (1958), On an iterative method for finding a local minimum of a function of more than one variable, "
    "Technical Report 25, Statistical Techniques Research Group, Princeton University",
)  # fmt: skip
_add(
    "leon", "Leon",
    "100*(y - x**3)**2 + (1 - x)**2",
    (-1.2, -1.0), ((1.0, 1.0),), 0.0, _square(-1.2, 1.2),
    "Leon (1966), A comparison among eight known optimizing procedures, in: Lavi & Vogl, Recent Advances in "
    "Optimization Techniques, Wiley",
)  # fmt: skip
_add(
    "mccormick", "McCormick",
    "sin(x + y) + (x - y)**2 - 1.5*x + 2.5*y + 1",
    (3.0, 2.0), ((-0.5471975511965977, -1.5471975511965979),), -1.9132229549810364, ((-1.5, 4.0), (-3.0, 3.0)),
    "Adorio (2005), MVF: multivariate test functions library in C, University of the Philippines Diliman",
)  # fmt: skip
_add(
    "easom", "Easom",
    "-cos(x)*cos(y)*exp(-((x - pi)**2 + (y - pi)**2))",
    (1.9, 2.1), ((3.141592653589793, 3.141592653589793),), -1.0, _square(-10.0, 10.0),
    "Easom (1990), A Survey of Global Optimization Techniques, University of Louisville",
)  # fmt: skip
_add(
    "brown_badly_scaled", "Brown, badly scaled",
    "(x - 1000000)**2 + (y - 0.000002)**2 + (x*y - 2)**2",
    (1.0, 1.0), ((1e6, 2e-6),), 0.0, ((0.0, 2e6), (-1.0, 1.0)), _MORE,
)  # fmt: skip
_add(
    "powell_badly_scaled", "Powell, badly scaled",
    "(10000*x*y - 1)**2 + (exp(-x) + exp(-y) - 1.0001)**2",
    (0.0, 1.0), ((1.0981593296998175e-05, 9.106146739866524), (9.106146739866524, 1.0981593296998175e-05)), 0.0,
    _square(-1.0, 10.0), _MORE,
)  # fmt: skip
_add(
    "jennrich_sampson", "Jennrich-Sampson",
    " + ".join(f"({2 + 2 * i} - (exp({i}*x) + exp({i}*y)))**2" for i in range(1, 11)),
    (0.3, 0.4), ((0.2578252136703641, 0.2578252136703641),), 124.36218235561485, _square(-1.0, 1.0), _MORE,
)  # fmt: skip
_add(
    "freudenstein_roth", "Freudenstein-Roth",
    "(x - 13 + ((5 - y)*y - 2)*y)**2 + (x - 29 + ((y + 1)*y - 14)*y)**2",
    (0.5, -2.0), ((5.0, 4.0),), 0.0, ((-15.0, 15.0), (-5.0, 6.0)), _MORE,
)  # fmt: skip
_add(
    "powell_singular", "Powell, singular",
    "(x1 + 10*x2)**2 + 5*(x3 - x4)**2 + (x2 - 2*x3)**4 + 10*(x1 - x4)**4",
    (3.0, -1.0, 0.0, 1.0), ((0.0, 0.0, 0.0, 0.0),), 0.0, ((-4.0, 5.0),) * 4, _MORE,
)  # fmt: skip
_add(
    "wood", "Wood",
    "100*(x2 - x1**2)**2 + (1 - x1)**2 + 90*(x4 - x3**2)**2 + (1 - x3)**2 + 10*(x2 + x4 - 2)**2 + (x2 - x4)**2/10",
    (-3.0, -1.0, -3.0, -1.0), ((1.0, 1.0, 1.0, 1.0),), 0.0, ((-10.0, 10.0),) * 4, _MORE,
)  # fmt: skip

# ---- several valleys

_add(
    "himmelblau", "Himmelblau",
    "(x**2 + y - 11)**2 + (x + y**2 - 7)**2",
    (-0.3, -0.9),
    (
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.2831859912861696),
        (3.5844283403304917, -1.8481265269644036),
    ),
    0.0, _square(-5.0, 5.0), "Himmelblau (1972), Applied Nonlinear Programming, McGraw-Hill",
)  # fmt: skip
_add(
    "three_hump_camel", "Three-hump camel",
    "2*x**2 - 1.05*x**4 + x**6/6 + x*y + y**2",
    (-2.0, 1.8), ((0.0, 0.0),), 0.0, _square(-2.5, 2.5), SURVEY,
)  # fmt: skip
_add(
    "six_hump_camel", "Six-hump camel",
    "(4 - 2.1*x**2 + x**4/3)*x**2 + x*y + (4*y**2 - 4)*y**2",
    (1.9, 1.4), ((0.08984201310031806, -0.7126564030207396), (-0.08984201310031806, 0.7126564030207396)),
    -1.0316284534898774, ((-2.0, 2.0), (-1.5, 1.5)),
    "Branin & Hoo (1972), A method for finding multiple extrema of a function of n variables, in: Lootsma, Numerical "
    "Methods for Nonlinear Optimization, Academic Press",
)  # fmt: skip
_add(
    "branin", "Branin",
    "(y - 5.1*x**2/(4*pi**2) + 5*x/pi - 6)**2 + 10*(1 - 1/(8*pi))*cos(x) + 10",
    (-3.0, 3.0), ((-3.141592653589793, 12.275), (3.141592653589793, 2.275), (9.42477796076938, 2.475)),
    0.3978873577297383, ((-5.0, 10.0), (0.0, 15.0)),
    "Branin (1972), Widely convergent method for finding multiple solutions of simultaneous nonlinear equations, IBM "
    "J. Research and Development 16, 504-522",
)  # fmt: skip
_add(
    "goldstein_price", "Goldstein-Price",
    "(1 + (x + y + 1)**2*(19 - 14*x + 3*x**2 - 14*y + 6*x*y + 3*y**2))"
    "*(30 + (2*x - 3*y)**2*(18 - 32*x + 12*x**2 + 48*y - 36*x*y + 27*y**2))",
    (-1.5, 0.5), ((0.0, -1.0),), 3.0, _square(-2.0, 2.0),
    "Goldstein & Price (1971), On descent from local minima, Mathematics of Computation 25, 569-574",
)  # fmt: skip
_add(
    "bohachevsky", "Bohachevsky",
    "x**2 + 2*y**2 - 0.3*cos(3*pi*x) - 0.4*cos(4*pi*y) + 0.7",
    (60.0, 40.0), ((0.0, 0.0),), 0.0, _square(-100.0, 100.0),
    "Bohachevsky, Johnson & Stein (1986), Generalized simulated annealing for function optimization, Technometrics 28, "
    "209-217",
)  # fmt: skip
_add(
    "michalewicz", "Michalewicz",
    "-sin(x)*sin(x**2/pi)**20 - sin(y)*sin(2*y**2/pi)**20",
    (0.8, 0.4), ((2.2029055201726093, 1.5707963267948966),), -1.8013034100985525,
    _square(0.0, 3.141592653589793),
    "Michalewicz (1992), Genetic Algorithms + Data Structures = Evolution Programs, Springer",
)  # fmt: skip

# ---- kinks

_add(
    "cross_in_tray", "Cross-in-tray",
    "-0.0001*(abs(sin(x)*sin(y)*exp(abs(100 - sqrt(x**2 + y**2)/pi))) + 1)**0.1",
    (5.0, 3.0), tuple((x, y) for x in (-1.3494066171539107, 1.3494066171539107)
                      for y in (-1.3494066171539107, 1.3494066171539107)),
    -2.062611870822737, _square(-10.0, 10.0),
    "Mishra (2006), Some new test functions for global optimization and performance of repulsive particle swarm method",
)  # fmt: skip
_add(
    "holder_table", "Hölder table",
    "-abs(sin(x)*cos(y)*exp(abs(1 - sqrt(x**2 + y**2)/pi)))",
    (6.0, 7.0), tuple((x, y) for x in (-8.055023475736563, 8.055023475736563)
                      for y in (-9.664590019241272, 9.664590019241272)),
    -19.208502567886732, _square(-10.0, 10.0),
    "Mishra (2006), Some new test functions for global optimization and performance of repulsive particle swarm method",
)  # fmt: skip
_add(
    "drop_wave", "Drop wave",
    "-(1 + cos(12*sqrt(x**2 + y**2)))/(0.5*(x**2 + y**2) + 2)",
    (3.0, 2.0), ((0.0, 0.0),), -1.0, _square(-5.12, 5.12),
    "Molga & Smutnicki (2005), Test functions for optimization needs",
)  # fmt: skip
_add(
    "bukin6", "Bukin 6",
    "100*sqrt(abs(y - 0.01*x**2)) + 0.01*abs(x + 10)",
    (-7.0, 2.0), ((-10.0, 1.0),), 0.0, ((-15.0, -5.0), (-3.0, 3.0)), SURVEY,
)  # fmt: skip
