"""Test problems: functions with exact gradients, known minima, and the places they come from.

A problem is its formula. It is callable on one point or on a whole grid, because the coordinates stand on the leading
axis, and `fallline.compile` makes it native::

    problem((x, y))             one number
    problem(np.stack((X, Y)))   an array of X's shape: a surface to draw
    fl.compile(problem)         for `fallline.minimize`

`names` lists them, `get` looks one up, and those of two variables are attributes: ``problems.rosenbrock``.
"""

import difflib
from typing import Any

from fallline.problems.fixed import FIXED
from fallline.problems.problem import Problem
from fallline.problems.scalable import SCALABLE

__all__ = ["Problem", "get", "names"]

_MOST_DIMENSIONS = 1000
_made: dict[tuple[str, int | None], Problem] = {}


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
    return [*SCALABLE, *FIXED]


def get(name: str, dimensions: int | None = None) -> Problem:
    """Look a problem up by name.

    Parameters
    ----------
    name : str
    dimensions : int, optional
        The number of variables, from 2 on, of a problem that has it open; 2 by default.

    Returns
    -------
    Problem
        The same object for the same arguments.

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If there is no such problem (the message offers the nearest names), or not in so many dimensions.

    Examples
    --------
    >>> from fallline import problems
    >>> problems.get("rosenbrock").minima
    ((1.0, 1.0),)
    >>> problems.get("rosenbrock", dimensions=3).formula
    '100*(x2 - x1**2)**2 + (1 - x1)**2 + 100*(x3 - x2**2)**2 + (1 - x2)**2'
    """
    if not isinstance(name, str):
        raise TypeError(f"name: must be a string; got {type(name).__name__}. Known problems: {', '.join(names())}.")
    if name not in SCALABLE and name not in FIXED:
        near = difflib.get_close_matches(name.lower(), names())
        cure = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Known problems: {', '.join(names())}."
        raise ValueError(f"name: must be a known problem; got {name!r}. {cure}")
    if name in SCALABLE:
        n: Any = 2 if dimensions is None else dimensions
        if isinstance(n, bool) or not isinstance(n, int) or not 2 <= n <= _MOST_DIMENSIONS:
            raise ValueError(
                f"dimensions: must be an int from 2 to {_MOST_DIMENSIONS}; got {dimensions!r}. Leave it out for 2."
            )
    else:
        own = len(FIXED[name]["variables"])
        if dimensions not in (None, own):
            raise ValueError(
                f"dimensions: must be {own} for {name!r}; got {dimensions!r}. Those of any number are "
                f"{', '.join(SCALABLE)}."
            )
        n = own
    if (name, n) not in _made:
        _made[name, n] = Problem(name, **(SCALABLE[name](n) if name in SCALABLE else FIXED[name]))
    return _made[name, n]


def __getattr__(name: str) -> Problem:
    if name in SCALABLE or name in FIXED:
        return get(name)
    raise AttributeError(f"module 'fallline.problems' has no attribute {name!r}")


def __dir__() -> list[Any]:
    return sorted({*globals(), *names()})
