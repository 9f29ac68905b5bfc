"""Test problems: functions of two variables with exact gradients, known minima, and the places they come from.

Every problem is callable on one point or on a whole grid, because the coordinates stand on the leading axis::

    problem((x, y))             one number
    problem(np.stack((X, Y)))   an array of X's shape: a surface to draw

Real floating-point types are kept and complex ones allowed, so a gradient can be checked by the complex step.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Problem", "get", "names"]

_PROBLEMS: dict[str, "Problem"] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Describe a function to minimize, and everything a test or a picture wants to know about it.

    Attributes
    ----------
    name : str
        Name for `get`, lower case.
    title : str
        Name for pictures.
    formula : str
        The function in Python's notation, in the variables x and y.
    start : tuple of float, length 2
        The customary starting point.
    minima : tuple of tuples of float
        All global minimizers, each correct to double precision.
    minimum : float
        The value there.
    bounds : tuple of (low, high) pairs, one per coordinate
        The customary region to search, and to draw.
    citation : str
        Where the problem comes from.
    function : callable, (x, y) -> value
    partials : callable, (x, y) -> (value of the derivative by x, by y)

    Examples
    --------
    >>> from fallline import problems
    >>> booth = problems.get("booth")
    >>> float(booth((1, 3))), booth.gradient((0, 0)).tolist()
    (0.0, [-34.0, -38.0])
    """

    name: str
    title: str
    formula: str
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    minimum: float
    bounds: tuple[tuple[float, float], tuple[float, float]]
    citation: str
    function: Callable[[Any, Any], Any]
    partials: Callable[[Any, Any], tuple[Any, Any]]

    def __call__(self, x: npt.ArrayLike) -> Any:
        """Evaluate the function.

        Parameters
        ----------
        x : array_like, shape (2, ...)
            One point, or any number of them; integers become float64, other dtypes are kept.

        Returns
        -------
        scalar or ndarray, shape (...)

        Raises
        ------
        ValueError
            If the leading axis is not of length 2.
        """
        return self.function(*self._coordinates(x))

    def gradient(self, x: npt.ArrayLike) -> npt.NDArray[Any]:
        """Evaluate the exact gradient.

        Parameters
        ----------
        x : array_like, shape (2, ...)

        Returns
        -------
        ndarray, shape (2, ...)

        Raises
        ------
        ValueError
            If the leading axis is not of length 2.
        """
        return np.stack(self.partials(*self._coordinates(x)))

    def value_and_gradient(self, x: npt.ArrayLike) -> tuple[Any, npt.NDArray[Any]]:
        """Evaluate both; see `__call__` and `gradient`."""
        return self(x), self.gradient(x)

    def _coordinates(self, point: npt.ArrayLike) -> npt.NDArray[Any]:
        x = np.asarray(point)
        if x.ndim == 0 or x.shape[0] != 2:
            raise ValueError(
                f"{self.name}: x must have 2 coordinates on its first axis; got shape {x.shape}. "
                "Pass (x, y), or np.stack((X, Y)) for a grid."
            )
        return x.astype(np.float64) if x.dtype.kind in "biu" else x

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name."""
        return get, (self.name,)

    def __repr__(self) -> str:
        """Show name and formula."""
        return f"<Problem {self.name}: {self.formula}>"


def names() -> list[str]:
    """List the names of all problems.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from fallline import problems
    >>> "rosenbrock" in problems.names()
    True
    """
    return list(_PROBLEMS)


def get(name: str) -> Problem:
    """Look a problem up by name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Problem

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If there is no such problem; the message offers the nearest names.

    Examples
    --------
    >>> from fallline import problems
    >>> problems.get("rosenbrock").minima
    ((1.0, 1.0),)
    """
    if not isinstance(name, str):
        raise TypeError(f"name: must be a string; got {type(name).__name__}. Known problems: {', '.join(_PROBLEMS)}.")
    if name not in _PROBLEMS:
        near = difflib.get_close_matches(name.lower(), _PROBLEMS)
        cure = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Known problems: {', '.join(_PROBLEMS)}."
        raise ValueError(f"name: must be a known problem; got {name!r}. {cure}")
    return _PROBLEMS[name]


def _add(name: str, title: str, **fields: Any) -> Problem:
    _PROBLEMS[name] = Problem(name, title, **fields)
    return _PROBLEMS[name]


_SURVEY = (
    "Jamil & Yang (2013), A literature survey of benchmark functions for global optimisation problems, "
    "Int. J. Mathematical Modelling and Numerical Optimisation 4(2), 150-194"
)


ravine = _add(
    "ravine",
    "Quadratic ravine",
    formula="(x**2 + 25*y**2)/2",
    function=lambda x, y: (x**2 + 25 * y**2) / 2,
    partials=lambda x, y: (x, 25 * y),
    start=(-4.5, 1.5),
    minima=((0.0, 0.0),),
    minimum=0.0,
    bounds=((-5.0, 5.0), (-2.0, 2.0)),
    citation="Sutton (1986), Two problems with backpropagation and other steepest-descent learning procedures for "
    "networks, Proc. 8th Annual Conf. of the Cognitive Science Society, 823-831",
)

booth = _add(
    "booth",
    "Booth",
    formula="(x + 2*y - 7)**2 + (2*x + y - 5)**2",
    function=lambda x, y: (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2,
    partials=lambda x, y: (10 * x + 8 * y - 34, 8 * x + 10 * y - 38),
    start=(-8.0, -6.0),
    minima=((1.0, 3.0),),
    minimum=0.0,
    bounds=((-10.0, 10.0), (-10.0, 10.0)),
    citation=_SURVEY,
)

matyas = _add(
    "matyas",
    "Matyas",
    formula="0.26*(x**2 + y**2) - 0.48*x*y",
    function=lambda x, y: 0.26 * (x**2 + y**2) - 0.48 * x * y,
    partials=lambda x, y: (0.52 * x - 0.48 * y, 0.52 * y - 0.48 * x),
    start=(-8.0, 3.0),
    minima=((0.0, 0.0),),
    minimum=0.0,
    bounds=((-10.0, 10.0), (-10.0, 10.0)),
    citation=_SURVEY,
)

rosenbrock = _add(
    "rosenbrock",
    "Rosenbrock",
    formula="100*(y - x**2)**2 + (1 - x)**2",
    function=lambda x, y: 100 * (y - x**2) ** 2 + (1 - x) ** 2,
    partials=lambda x, y: (-400 * x * (y - x**2) - 2 * (1 - x), 200 * (y - x**2)),
    start=(-1.2, 1.0),
    minima=((1.0, 1.0),),
    minimum=0.0,
    bounds=((-2.0, 2.0), (-1.0, 3.0)),
    citation="Rosenbrock (1960), An automatic method for finding the greatest or least value of a function, "
    "The Computer Journal 3(3), 175-184",
)


def _beale_residuals(x: Any, y: Any) -> tuple[Any, Any, Any]:
    return 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3


def _beale_partials(x: Any, y: Any) -> tuple[Any, Any]:
    a, b, c = _beale_residuals(x, y)
    by_x = 2 * (a * (y - 1) + b * (y**2 - 1) + c * (y**3 - 1))
    by_y = 2 * x * (a + 2 * b * y + 3 * c * y**2)
    return by_x, by_y


beale = _add(
    "beale",
    "Beale",
    formula="(1.5 - x + x*y)**2 + (2.25 - x + x*y**2)**2 + (2.625 - x + x*y**3)**2",
    function=lambda x, y: sum(r**2 for r in _beale_residuals(x, y)),
    partials=_beale_partials,
    start=(1.0, 1.0),
    minima=((3.0, 0.5),),
    minimum=0.0,
    bounds=((-4.5, 4.5), (-4.5, 4.5)),
    citation="Beale (1958), On an iterative method for finding a local minimum of a function of more than one "
    "variable, Technical Report 25, Statistical Techniques Research Group, Princeton University",
)

himmelblau = _add(
    "himmelblau",
    "Himmelblau",
    formula="(x**2 + y - 11)**2 + (x + y**2 - 7)**2",
    function=lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
    partials=lambda x, y: (
        4 * x * (x**2 + y - 11) + 2 * (x + y**2 - 7),
        2 * (x**2 + y - 11) + 4 * y * (x + y**2 - 7),
    ),
    start=(-0.3, -0.9),
    minima=(
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.2831859912861696),
        (3.5844283403304917, -1.8481265269644036),
    ),
    minimum=0.0,
    bounds=((-5.0, 5.0), (-5.0, 5.0)),
    citation="Himmelblau (1972), Applied Nonlinear Programming, McGraw-Hill",
)

three_hump_camel = _add(
    "three_hump_camel",
    "Three-hump camel",
    formula="2*x**2 - 1.05*x**4 + x**6/6 + x*y + y**2",
    function=lambda x, y: 2 * x**2 - 1.05 * x**4 + x**6 / 6 + x * y + y**2,
    partials=lambda x, y: (4 * x - 4.2 * x**3 + x**5 + y, x + 2 * y),
    start=(-2.0, 1.8),
    minima=((0.0, 0.0),),
    minimum=0.0,
    bounds=((-2.5, 2.5), (-2.5, 2.5)),
    citation=_SURVEY,
)

styblinski_tang = _add(
    "styblinski_tang",
    "Styblinski-Tang",
    formula="(x**4 - 16*x**2 + 5*x + y**4 - 16*y**2 + 5*y)/2",
    function=lambda x, y: (x**4 - 16 * x**2 + 5 * x + y**4 - 16 * y**2 + 5 * y) / 2,
    partials=lambda x, y: (2 * x**3 - 16 * x + 2.5, 2 * y**3 - 16 * y + 2.5),
    start=(1.0, 4.0),
    minima=((-2.903534027771177, -2.903534027771177),),
    minimum=-78.33233140754282,
    bounds=((-5.0, 5.0), (-5.0, 5.0)),
    citation="Styblinski & Tang (1990), Experiments in nonconvex optimization: stochastic approximation with function "
    "smoothing and simulated annealing, Neural Networks 3(4), 467-483",
)
