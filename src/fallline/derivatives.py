"""Numerical derivatives with honest errors, of functions of numbers, arrays and trees of arrays.

All of them are derivatives along lines (`fallline.lines`): what differs is which lines, and how the results are laid
out. The keywords that they share are described in `fallline.options`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.evaluate import Elementwise, Function
from fallline.lines import Lines
from fallline.native import as_native
from fallline.options import Options, with_options
from fallline.space import Space, as_array
from fallline.sparsity import Pattern, sparse_slopes
from fallline.task import Derivative, Slopes, Task

__all__ = [
    "Derivative",
    "derivative",
    "directional",
    "gradient",
    "hessian",
    "hvp",
    "jacobian",
    "partial",
    "vjp",
]

Array = npt.NDArray[Any]


@with_options(method="adaptive")
def derivative(f: Callable[..., Any], x: Any, *, options: Options) -> Any:
    """Differentiate a function of one number.

    Parameters
    ----------
    f : callable
        Takes a number (a NumPy scalar) and returns a number or an array, real or complex. With ``vectorized=True`` it
        takes an array (points,) and returns (points, ...).
    x : number or array
        Where: float32, float64 or integer. For an array the derivative is found at each of its entries; f still sees
        one number at a time.

    Returns
    -------
    number or ndarray, shape x.shape + f's shape
        In the dtype of x, or complex if f is; with ``full_output=True`` a `Derivative`.

    Raises
    ------
    TypeError
        If x or another argument has a type that has no derivative.
    ValueError
        If f is not finite near x, or an argument is out of its range.

    References
    ----------
    Ridders (1982), Accurate computation of F'(x) and F'(x) F''(x), Advances in Engineering Software 4(2), 75-76.
    Moré & Wild (2011), Estimating computational noise, SIAM J. Sci. Comput. 33(3), 1292-1314.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> print(fl.derivative(np.sin, 0.0).round(12))
    1.0
    >>> at_kink = fl.derivative(abs, 0.0, full_output=True)
    >>> print(at_kink.status, at_kink.error >= 1)
    kink True
    """
    task = Task("derivative", f, x, options, Elementwise)
    lines = task.coordinates()
    if len(lines) == 0:
        return task.answer(Slopes.none(0, 1), lambda rows: _trailing(task, rows))
    if task.options.method == "complex":
        return _elementwise_complex(f, task)
    slopes = task.slopes(lines, task.steps(lines))
    task.refuse_nothing(slopes, lines)
    return task.answer(slopes, lambda rows: _trailing(task, rows))


def _elementwise_complex(f: Callable[..., Any], task: Task) -> Any:
    """Take the complex step at every entry, with a cross-check for each."""
    parts = []
    for entry in range(task.space.size):
        number = (np.float32 if task.space.is_single[entry] else np.float64)(task.space.flat[entry])
        bounds = (task.bounds.low[entry], task.bounds.high[entry])
        one = Task(task.owner, f, number, replace(task.options, typical=task.typical[entry], bounds=bounds))
        parts.append(one.slopes(one.coordinates()))
        task.function.nfev += one.function.nfev
        task.function.shape = one.function.shape
    names = ("value", "error", "step", "status")
    slopes = Slopes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    return task.answer(slopes, lambda rows: _trailing(task, rows))


def _trailing(task: Task, rows: Array) -> Any:
    """Lay out (entries, outputs) as x.shape + f's shape, for every array of x."""
    shape = task.function.shape or ()
    parts = [np.moveaxis(leaf.of(rows.T), 0, -1).reshape(leaf.shape + shape) for leaf in task.space.leaves]
    numbers = [leaf.is_number for leaf in task.space.leaves]
    return task.space.fill([part[()] if plain else part for part, plain in zip(parts, numbers, strict=True)])


@with_options(method="adaptive")
def partial(f: Callable[..., Any], x: Any, i: Any, *, options: Options) -> Any:
    """Differentiate by one entry of x, the others held constant.

    Parameters
    ----------
    f : callable
        ``f(x, *args)``, a number or an array.
    x : array or tree of arrays
    i : int, tuple, or (name, index)
        Which entry: the index in an array; in a tree the name of the array (keys joined by ``/``) and the index there.

    Returns
    -------
    number or ndarray of f's shape
        With ``full_output=True`` a `Derivative`.

    Raises
    ------
    IndexError
        If there is no such entry.
    TypeError, ValueError
        As `derivative`.

    Examples
    --------
    >>> import fallline as fl
    >>> f = lambda v: 3 * v[0] ** 3 * v[2] - v[1] ** 2 + 5 * v[2] + 2 * v[1] * v[2]
    >>> print(fl.partial(f, [1.0, 2.0, 3.0], 0).round(9))  # 9 x**2 z
    27.0
    """
    task = Task("partial", f, x, options)
    lines = task.coordinates(np.array([_entry(task.space, i)]))
    slopes = task.slopes(lines, task.steps(lines))
    task.refuse_nothing(slopes, lines)
    return task.answer(slopes, lambda rows: _output(task.function, rows[0]))


def _entry(space: Space, i: Any) -> int:
    """Return the place in the flat vector of an entry."""
    name, index = i if isinstance(i, tuple) and len(i) == 2 and isinstance(i[0], str) else (space.leaves[0].name, i)
    if isinstance(i, str):
        name, index = i, ()
    leaf = next((leaf for leaf in space.leaves if leaf.name == name), None)
    try:
        if leaf is None:
            raise IndexError
        place = np.arange(leaf.start, leaf.stop).reshape(leaf.shape)[index]
        if np.ndim(place):
            raise IndexError
    except (IndexError, TypeError, ValueError):
        names = ", ".join(f"{leaf.name!r} of shape {leaf.shape}" for leaf in space.leaves[:5])
        raise IndexError(
            f"partial(i): must name one entry of x; got {i!r} where x has {names}. Pass an index, or (name, index)."
        ) from None
    return int(place)


def _output(function: Function, row: Array) -> Any:
    """Return one row of outputs in f's shape; a number for a scalar f."""
    return row.reshape(function.shape or ())[()]


@with_options()
def gradient(f: Callable[..., Any], x: Any, *, options: Options) -> Any:
    """Differentiate a scalar function by every entry of x.

    Parameters
    ----------
    f : callable, or native function
        ``f(x, *args)`` returns one number, real or complex. A `scipy.LowLevelCallable`, a ctypes function pointer or a
        Numba ``cfunc`` of signature ``double (const double *x, size_t n, void *user_data)`` is called without Python
        and without the GIL; x is then one 1-D array of float64.
    x : number, array or tree of arrays
        Not changed, whatever f does with what it is given: f always gets a copy.

    Returns
    -------
    number, ndarray or tree, as x
        With ``full_output=True`` a `Derivative`. ``order=2`` gives the pure second derivatives, the diagonal of the
        Hessian.

    Raises
    ------
    TypeError, ValueError
        As `derivative`; also if f returns several numbers.

    Notes
    -----
    Evaluations: accuracy times the size of x for "central"; one more for "forward" and "backward"; the size of x and
    three for each array for "complex".

    References
    ----------
    Fornberg (1988), Generation of finite difference formulas on arbitrarily spaced grids, Math. Comp. 51(184), 699-706.
    Shi, Xie, Xuan & Nocedal (2022), Adaptive finite-difference interval estimation for noisy derivative-free
    optimization, SIAM J. Sci. Comput. 44(4), A2302-A2321.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> fl.gradient(lambda p: (p["w"] ** 2).sum() * p["b"], {"w": np.array([1.0, 2.0]), "b": 3.0})
    {'w': array([ 6., 12.]), 'b': np.float64(5.0)}
    """
    return _gradient(Task("gradient", f, x, options))


def _gradient(task: Task) -> Any:
    lines = task.coordinates()
    if len(lines) == 0:
        return task.answer(Slopes.none(0), task.space.arrange)
    slopes = task.slopes(lines, task.steps(lines))
    task.refuse_nothing(slopes, lines)
    return task.answer(task.number(slopes), task.space.arrange)


@with_options()
def jacobian(f: Callable[..., Any], x: Any, *, sparsity: Any = None, options: Options) -> Any:
    """Differentiate every output of a function by every entry of x.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a number or an array.
    x : number, array or tree of arrays
    sparsity : array_like or scipy.sparse array, shape (outputs, size of x), optional
        Where the Jacobian may differ from 0. Columns that share no row are differentiated together. The pattern is not
        trusted: one more random direction, over all columns, must agree.

    Returns
    -------
    ndarray, shape f's shape + x.shape, or a tree of them
        With `sparsity`, a matrix (outputs, size of x), sparse if the pattern is. With ``full_output=True`` a
        `Derivative`.

    Raises
    ------
    TypeError, ValueError
        As `derivative`; also if the Jacobian has entries outside of `sparsity`.

    References
    ----------
    Curtis, Powell & Reid (1974), On the estimation of sparse Jacobian matrices, IMA J. Applied Mathematics 13(1),
    117-119.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> fl.jacobian(lambda x: np.array([x[0] * x[1], x[1]]), [2.0, 3.0]).round(9)
    array([[3., 2.],
           [0., 1.]])
    """
    task = Task("jacobian", f, x, options)
    if sparsity is not None:
        pattern = Pattern("jacobian", sparsity, task.space.size)
        return task.answer(sparse_slopes(task, pattern), pattern.fill)
    lines = task.coordinates()
    if len(lines) == 0:
        return task.answer(Slopes.none(0, task.function.outputs()), lambda rows: _by_outputs(task, rows))
    slopes = task.slopes(lines, task.steps(lines))
    task.refuse_nothing(slopes, lines)
    return task.answer(slopes, lambda rows: _by_outputs(task, rows))


def _by_outputs(task: Task, rows: Array) -> Any:
    """Lay out (size of x, outputs) as f's shape + x's structure."""
    return task.space.arrange(rows.T.reshape(*(task.function.shape or ()), task.space.size))


@with_options(omit=("order",))
def hessian(f: Callable[..., Any], x: Any, *, jac: Callable[..., Any] | None = None, options: Options) -> Any:
    """Compute the matrix of second derivatives of a scalar function.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns one number. Not called if `jac` is given.
    x : number, array or tree of arrays
    jac : callable, optional
        The gradient, ``jac(x, *args)`` in x's structure: its differences are more accurate than second differences of
        f.

    Returns
    -------
    ndarray, shape x.shape + x.shape, or a tree of trees
        Symmetric. With ``full_output=True`` a `Derivative`, whose `asymmetry` tells how far a Hessian from `jac` was
        from being symmetric: a test of the gradient.

    Raises
    ------
    TypeError, ValueError
        As `derivative`.

    Notes
    -----
    From f alone, second differences are taken along every axis and, for a mixed derivative, along the diagonal of the
    two (polarization): n (n + 1) + 1 evaluations with accuracy 2. Differences are never nested.

    Examples
    --------
    >>> import fallline as fl
    >>> fl.hessian(lambda v: v[0] ** 2 * v[1], [1.0, 2.0]).round(6)
    array([[4., 2.],
           [2., 0.]])
    """
    if jac is not None:
        return _hessian_from_gradients(x, jac, options)
    task = Task("hessian", f, x, options)
    n = task.space.size
    units = task.inward()
    rows, columns = np.triu_indices(n, 1)
    axes = Lines(task.space, np.arange(n + 1), np.arange(n), units, task.typical, task.bounds)
    index = np.column_stack([rows, columns]).ravel()
    diagonals = Lines(task.space, 2 * np.arange(len(rows) + 1), index, units[index], task.typical, task.bounds)
    pure = task.seconds(axes, _relative_steps(task, axes, units))
    mixed = task.seconds(diagonals, _relative_steps(task, diagonals, units))
    return task.answer(_polarize(units, pure, mixed, rows, columns), lambda entries: _twice(task.space, entries))


def _relative_steps(task: Task, lines: Lines, units: Array) -> Array | None:
    """Return the steps that were asked for, in the units of the lines: the least of the entries that a line moves."""
    single = task.steps(task.coordinates())
    if single is None:
        return None
    return np.minimum.reduceat((single / np.abs(units))[lines.index], lines.starts[:-1])


def _polarize(units: Array, pure: Slopes, mixed: Slopes, rows: Array, columns: Array) -> Slopes:
    """Return the matrix of second derivatives from those along axes a and b, and along a + b."""

    def fill(diagonal: Array, entries: Array) -> Array:
        matrix = np.empty((len(units), len(units)), diagonal.dtype)
        np.fill_diagonal(matrix, diagonal)
        matrix[rows, columns] = matrix[columns, rows] = entries
        return matrix

    a, b = pure.map(lambda array: array[rows]), pure.map(lambda array: array[columns])
    square, product = units**2, units[rows] * units[columns]
    return Slopes(
        fill(pure.value / square, (mixed.value - a.value - b.value) / 2 / product),
        fill(pure.error / square, (mixed.error + a.error + b.error) / 2 / np.abs(product)),
        fill(pure.step * np.abs(units), mixed.step * np.sqrt(np.abs(product))),
        fill(pure.status, _first_trouble(mixed.status, a.status, b.status)),
    )


def _first_trouble(*statuses: Array) -> Array:
    """Return, for every entry, the first status that is not "ok"."""
    result = statuses[0]
    for status in statuses[1:]:
        result = np.where(result == "ok", status, result)
    return result


def _hessian_from_gradients(x: Any, jac: Callable[..., Any], options: Options) -> Any:
    task = _gradient_task("hessian", x, jac, options)
    lines = task.coordinates()
    if len(lines) == 0:
        return task.answer(Slopes.none(0, 0), lambda entries: _twice(task.space, entries), 0.0)
    slopes = task.slopes(lines, task.steps(lines))
    task.refuse_nothing(slopes, lines)
    distance = np.abs(slopes.value - slopes.value.T)
    error = np.fmax(slopes.error, distance / 2)
    matrix = replace(slopes, value=(slopes.value + slopes.value.T) / 2, error=np.fmax(error, error.T))
    return task.answer(matrix, lambda entries: _twice(task.space, entries), float(np.max(distance, initial=0.0)))


def _gradient_task(owner: str, x: Any, jac: Any, options: Options) -> Task:
    """Return a task that differentiates the gradient, a vector of x's size."""
    space = Space(owner, x)
    if as_native(owner, jac) is not None or not callable(jac):
        raise TypeError(
            f"{owner}(jac): must be a Python function that returns the gradient; got {type(jac).__name__}. Pass one, "
            f"or leave jac out."
        )

    def read(result: Any, stacked: bool) -> Array:
        return space.flatten(f"{owner}(jac)", result, stacked=stacked, kinds="iufc")

    return Task(owner, jac, space, options, read=read)


def _twice(space: Space, matrix: Array) -> Any:
    """Lay out (size, size) as x.shape + x.shape, or as a tree of trees."""
    if space.is_array:
        return space.arrange(matrix).reshape(*space.leaves[0].shape, *space.leaves[0].shape)
    rows = [
        space.arrange(np.ascontiguousarray(matrix[leaf.part]).reshape(*leaf.shape, space.size)) for leaf in space.leaves
    ]
    return space.fill(rows)


@with_options(omit=("step", "relative"))
def directional(f: Callable[..., Any], x: Any, v: Any, *, options: Options) -> Any:
    """Differentiate along a direction: the Jacobian times v, at the cost of one derivative.

    Parameters
    ----------
    f : callable
        ``f(x, *args)``, a number or an array.
    x : number, array or tree of arrays
    v : x's structure
        The direction, of any length: the result is proportional to it.

    Returns
    -------
    number or ndarray of f's shape
        With ``full_output=True`` a `Derivative`.

    Raises
    ------
    TypeError, ValueError
        As `derivative`.

    Examples
    --------
    >>> import fallline as fl
    >>> print(fl.directional(lambda x: x[0] * x[1], [2.0, 3.0], [1.0, 1.0]).round(9))
    5.0
    """
    task = Task("directional", f, x, options)
    direction = _direction(task, v)
    if not direction.any():
        value = np.zeros_like(task.function.origin[0])
        return task.answer(_zero_slopes(value), lambda rows: _output(task.function, rows[0]))
    line = task.along(direction[None, :])
    slopes = task.slopes(line)
    task.refuse_nothing(slopes, line)
    return task.answer(slopes, lambda rows: _output(task.function, rows[0]))


def _direction(task: Task, v: Any) -> Array:
    """Return v as a flat vector, or raise."""
    direction = task.space.flatten(f"{task.owner}(v)", v)
    finite = np.isfinite(direction)
    if not finite.all():
        entry = int(np.argmin(finite))
        place = task.space.place(entry)
        raise ValueError(f"{task.owner}(v): must be finite; got {direction[entry]} where x has {place}. Correct it.")
    return direction


def _zero_slopes(value: Array) -> Slopes:
    zeros = np.zeros((1, len(value)))
    return Slopes(zeros.astype(value.dtype), zeros, zeros, np.full(zeros.shape, "ok", "<U10"))


@with_options(omit=("order",))
def vjp(f: Callable[..., Any], x: Any, u: Any, *, options: Options) -> Any:
    """Weight the outputs of a function and differentiate: u times the Jacobian.

    Parameters
    ----------
    f : callable
        ``f(x, *args)``, a number or an array.
    x : number, array or tree of arrays
    u : array_like of f's shape
        The weight of every output.

    Returns
    -------
    as x
        With ``full_output=True`` a `Derivative`. As many evaluations as for `gradient`: differences know no reverse
        mode.

    Raises
    ------
    TypeError, ValueError
        As `derivative`; also if u has not f's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> fl.vjp(lambda x: np.array([x[0] * x[1], x[1]]), [2.0, 3.0], [1.0, 10.0]).round(9)
    array([ 3., 12.])
    """
    weights = np.asarray(u)
    if weights.dtype.kind not in "iuf":
        raise TypeError(f"vjp(u): must be real numbers; got {weights.dtype}. Pass a weight for each output of f.")
    if not np.isfinite(weights).all():
        raise ValueError(f"vjp(u): must be finite; got {weights[~np.isfinite(weights)][0]}. Correct it.")

    def weigh(result: Any, stacked: bool) -> Array:
        values = as_array(result)
        shape = values.shape[1:] if stacked else values.shape
        if shape != weights.shape:
            raise ValueError(f"vjp(u): must have the shape of f's result, {shape}; got {weights.shape}. Reshape it.")
        return np.asarray(np.tensordot(values, weights, axes=weights.ndim))

    task = Task("vjp", f, x, options, read=weigh)
    if task.function.native is not None:
        raise TypeError(
            "vjp(f): must be a Python function; got a native one, which has one output. Use fallline.gradient."
        )
    return _gradient(task)


@with_options(omit=("order", "step", "relative"))
def hvp(f: Callable[..., Any], x: Any, v: Any, *, jac: Callable[..., Any] | None = None, options: Options) -> Any:
    """Multiply the Hessian of a scalar function by a vector, without the Hessian.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns one number. Not called if `jac` is given.
    x : number, array or tree of arrays
    v : x's structure
    jac : callable, optional
        The gradient, ``jac(x, *args)`` in x's structure: then two evaluations of it are enough.

    Returns
    -------
    as x
        With ``full_output=True`` a `Derivative`.

    Raises
    ------
    TypeError, ValueError
        As `derivative`.

    Notes
    -----
    From f alone, second differences are taken along v plus and minus every axis, 4n + 1 evaluations with accuracy 2.
    Differences are never nested.

    Examples
    --------
    >>> import fallline as fl
    >>> fl.hvp(lambda x: x[0] ** 2 * x[1], [1.0, 2.0], [1.0, 1.0]).round(6)
    array([6., 2.])
    """
    task = Task("hvp", f, x, options) if jac is None else _gradient_task("hvp", x, jac, options)
    direction = _direction(task, v)
    if not direction.any():
        return task.answer(_zero_slopes(np.zeros(task.space.size)).map(lambda rows: rows[0]), task.space.arrange)
    if jac is None:
        return task.answer(_hvp_from_values(task, direction), task.space.arrange)
    line = task.along(direction[None, :])
    slopes = task.slopes(line)
    task.refuse_nothing(slopes, line)
    return task.answer(slopes.map(lambda rows: rows[0]), task.space.arrange)


def _hvp_from_values(task: Task, direction: Array) -> Slopes:
    """Return H v from second differences along v + u and v - u, for every axis u: they differ by four times u'H v."""
    v = direction * task.along(direction[None, :]).scale[0]  # moves no entry by more than its scale
    units = task.inward()
    ahead = task.seconds(task.along(v + np.diag(units)))
    behind = task.seconds(task.along(v - np.diag(units)))
    scale = 1 / (4 * units * task.along(direction[None, :]).scale[0])
    return Slopes(
        (ahead.value - behind.value) * scale,
        (ahead.error + behind.error) * np.abs(scale),
        ahead.step * np.abs(units),
        _first_trouble(ahead.status, behind.status),
    )
