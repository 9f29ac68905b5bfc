"""Numerical derivatives with honest errors, of functions of numbers, arrays and trees of arrays.

All of them are derivatives along lines (`fallline.lines`): what differs is which lines, and how the results are laid
out. The keywords that they share are described in `fallline.options`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.adaptive import resolve
from fallline.complexstep import complex_step
from fallline.evaluate import Elementwise, Function
from fallline.fixed import bound_errors
from fallline.lines import Applied, Differences, Lines, power_of_two
from fallline.native import as_native
from fallline.noise import measure_noise, shi_steps
from fallline.options import HIGHEST_ORDER, Options, with_options
from fallline.space import Space
from fallline.sparsity import Pattern, colour_columns

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

PATTERN_AGREES = 1e-6  # relative to the sum of magnitudes of a row
SPREAD = 0.5  # relative to the scale: how far to go to see how much f varies
NO_DERIVATIVE = {
    "not finite": "no finite difference, however small the step,",
    "diverges": "differences that grow when the step shrinks, as at a jump or an infinite slope,",
    "unresolved": "values that change wildly from one floating-point number to the next",
}
HONEST_NOISE = 2.0**-2  # of eps: what rounding makes of a value, at least


@dataclass(frozen=True, slots=True)
class Derivative:
    """A derivative, with what is known of it: what the functions return for ``full_output=True``.

    Attributes
    ----------
    value : array or structure
        The derivative, as it is returned without ``full_output``.
    error : same structure
        Bound of the absolute error of every entry: truncation, rounding and noise. Infinite where no derivative was
        found. An estimate, not a proof: it holds in at least 99 of 100 cases of the functions it is tested with.
    step : same structure
        The step in x that was used.
    noise : float
        The absolute error of a value of f that the bound allows for: given, or measured along one direction.
    nfev : int
        Points at which f was evaluated.
    status : str or structure of str
        "ok"; "kink" (the one-sided derivatives differ: the value is between them); "diverges" (a jump or an infinite
        slope); "unresolved" (f changes wildly between neighbouring floating-point numbers); "not finite".
    asymmetry : float or None
        Of a Hessian from gradients: the greatest difference between opposite entries, before they were averaged. Much
        more than `error` means that the gradient is wrong.
    """

    value: Any
    error: Any
    step: Any
    noise: float
    nfev: int
    status: Any
    asymmetry: float | None = None


@dataclass(slots=True)
class _Slopes:
    """Derivatives along lines, (lines, outputs), and what is known of them."""

    value: Array
    error: Array
    step: Array
    status: Array

    def map(self, operation: Callable[[Array], Any]) -> _Slopes:
        return _Slopes(*(operation(getattr(self, name)) for name in ("value", "error", "step", "status")))


class _Task:
    """One call: the function, the variable and the options."""

    def __init__(
        self,
        owner: str,
        f: Any,
        x: Any,
        options: Options,
        kind: type[Function] = Function,
        read: Callable[[Any, bool], Any] | None = None,
    ) -> None:
        self.owner = owner
        self.options = options.check(owner, HIGHEST_ORDER if kind is Elementwise else 2)
        self.space = x if isinstance(x, Space) else Space(owner, x)
        self.function = kind(
            owner,
            f,
            self.space,
            read=read,
            args=options.args,
            vectorized=options.vectorized,
            workers=options.workers,
            max_memory=options.max_memory,
        )
        self.typical = options.typical_of(owner, self.space)
        self.bounds = options.bounds_of(owner, self.space)
        self.rng = options.generator(owner)
        self.given_noise = options.noise_of(owner)
        self.noise: Array | None = None  # (lines or 1, outputs), once it is known

    def coordinates(self, index: Array | None = None) -> Lines:
        index = np.arange(self.space.size) if index is None else index
        return Lines.coordinates(self.space, index, self.typical, self.bounds)

    def along(self, directions: Array) -> Lines:
        return Lines.along(self.space, directions, self.typical, self.bounds)

    def slopes(self, lines: Lines, steps: Array | None = None, order: int | None = None) -> _Slopes:
        """Differentiate along lines, by the method that was asked for."""
        options = self.options
        order = options.order if order is None else order
        if options.method == "complex":
            return self._complex(lines)
        if options.method == "adaptive":
            differences = Differences(self.function, lines, order, 2, "central")
            found = resolve(differences, self._noise(differences))
            return _Slopes(found.value, found.error, found.step, found.status)
        assert options.accuracy is not None
        differences = Differences(self.function, lines, order, options.accuracy, options.method)
        applied = self._apply(differences, steps)
        if options.full_output:
            error, status = bound_errors(differences, applied, self._noise(differences))
        else:
            error, status = (np.broadcast_to(constant, applied.value.shape) for constant in (np.nan, "ok"))
        return _Slopes(applied.value, error, np.broadcast_to(applied.step[:, None], error.shape), status)

    def _complex(self, lines: Lines) -> _Slopes:
        value, h = complex_step(self.function, lines, self.typical, self.rng, self.options.max_memory)
        error = 8 * self.space.eps.max(initial=0.0) * np.abs(value)
        return _Slopes(value, error, np.repeat(h[:, None], value.shape[1], axis=1), np.full(value.shape, "ok", "<U10"))

    def _apply(self, differences: Differences, steps: Array | None) -> Applied:
        if steps is not None:
            return differences(steps)
        if isinstance(self.options.step, str):
            return differences(shi_steps(differences, self._noise(differences)))
        if self.options.noise is not None:
            return differences(differences.steps(self._relative_noise(differences)))
        return self._with_eps(differences)

    def _with_eps(self, differences: Differences) -> Applied:
        """Apply the first stencil alone, which tells f's precision; or all, where many cost as little."""
        eps = differences.lines.eps if self.space.has_single else np.array(np.finfo(np.float64).eps)
        h = differences.steps(eps)
        every = np.arange(len(h))
        n_first = len(h) if self.options.vectorized or self.options.workers is not None else 1
        first = differences(h[:n_first], every[:n_first])
        if self.function.eps > eps.min(initial=np.inf):
            return differences(differences.steps(np.maximum(eps, self.function.eps)))
        return first.join(differences(h[n_first:], every[n_first:])) if n_first < len(h) else first

    def _noise(self, differences: Differences) -> Array:
        """Return the noise for lines, (lines, outputs)."""
        lines = differences.lines
        if self.given_noise is not None:
            return np.full((len(lines), differences.f0(np.arange(1)).shape[1]), self.given_noise)
        if self.noise is None:
            if isinstance(self.function, Elementwise):
                self.noise = np.array([measure_noise(differences, line)[0] for line in range(len(lines))])
            else:
                self.noise = measure_noise(self._random(differences))[0][None, :]
        return np.broadcast_to(self.noise, (len(lines), self.noise.shape[1]))

    def _random(self, differences: Differences) -> Differences:
        """Return the same differences along one random direction, of x's scale."""
        line = Lines.random(self.space, self.typical, self.bounds, self.rng)
        return Differences(self.function, line, differences.order, 2, "central")

    def _relative_noise(self, differences: Differences) -> Array:
        """Return the noise for every line, relative to how much f varies on the scale of x."""
        lines, noise = differences.lines, self._noise(differences)
        probe = differences if isinstance(self.function, Elementwise) else self._random(differences)
        every = np.arange(len(probe.lines))
        values, _ = probe.values(every, np.array([-1.0, 0.0, 1.0]), power_of_two(probe.lines.scale * SPREAD))
        distance = np.abs(values - values[:, 1:2])
        spread = np.max(distance, axis=1, initial=0.0, where=np.isfinite(distance))
        noise = noise[: len(spread)]
        with np.errstate(invalid="ignore"):
            relative = np.broadcast_to(np.nanmax(noise / np.fmax(spread, noise), axis=1, initial=0.0), len(lines))
        return np.asarray(np.fmax(relative, lines.eps * HONEST_NOISE))

    def steps(self, lines: Lines) -> Array | None:
        """Return the steps that were asked for, for lines of single entries."""
        if isinstance(self.options.step, str):
            if self.options.step != "shi":
                raise ValueError(
                    f'{self.owner}(step): must be a number, x\'s structure or "shi"; got {self.options.step!r}. Pass '
                    f"one of "
                    f"these."
                )
            return None
        steps = self.options.steps_of(self.owner, self.space, self.typical)
        return None if steps is None else steps[lines.index]

    def inward(self) -> Array:
        """Return x's magnitudes, with the signs of where the bounds leave more room."""
        at, (low, high) = self.space.flat, self.bounds
        return np.where(high - at >= at - low, 1.0, -1.0) * np.maximum(np.abs(at), self.typical)

    def seconds(self, lines: Lines, steps: Array | None = None) -> _Slopes:
        """Return the second derivatives of a scalar function along lines, (lines,)."""
        if len(lines) == 0:
            return _Slopes(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, "<U10"))
        slopes = self.slopes(lines, steps, order=2)
        self.refuse_nothing(slopes)
        return self.number(slopes)

    def number(self, slopes: _Slopes) -> _Slopes:
        """Return the slopes of a function that must be scalar, (lines,)."""
        if slopes.value.shape[1] != 1:
            raise ValueError(
                f"{self.owner}(f): must return one number; got an array of shape {self.function.shape}. Use "
                f"fallline.jacobian for functions with several outputs."
            )
        return slopes.map(lambda array: array[:, 0])

    def refuse_nothing(self, slopes: _Slopes) -> None:
        """Raise if no output has a derivative along some line: the question has no answer there.

        With ``full_output=True`` the status says so.
        """
        found = np.isfinite(slopes.value) & ~np.isposinf(slopes.error)
        if self.options.full_output or found.all() or found.any(axis=1).all():
            return
        line = int(np.argmin(found.any(axis=1)))
        place = f" at {self.space.place(line)}" if len(found) == self.space.size else ""
        status = str(slopes.status[line, 0]) if np.isfinite(slopes.value[line, 0]) else "not finite"
        raise ValueError(
            f"{self.owner}(f): must have a derivative at x; got {NO_DERIVATIVE[status]}{place}. Choose another point, "
            f"pass bounds, or look at what full_output=True tells."
        )

    def answer(self, slopes: _Slopes, layout: Callable[[Array], Any], asymmetry: float | None = None) -> Any:
        """Return the value, laid out, or all that is known of it."""
        if not self.options.full_output:
            return layout(slopes.value)
        noise = self.given_noise
        if noise is None:
            noise = float(np.max(self.noise, initial=0.0)) if self.noise is not None else 0.0
        parts = slopes.map(layout)
        return Derivative(
            parts.value, parts.error, parts.step, noise, self.function.nfev, _plain_text(parts.status), asymmetry
        )


def _plain_text(status: Any) -> Any:
    return str(status) if isinstance(status, np.str_) else status


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
    task = _Task("derivative", f, x, options, Elementwise)
    if task.options.method == "complex":
        return _elementwise_complex(f, task)
    lines = task.coordinates()
    slopes = task.slopes(lines, task.steps(lines))
    task.refuse_nothing(slopes)
    return task.answer(slopes, lambda rows: _trailing(task, rows))


def _elementwise_complex(f: Callable[..., Any], task: _Task) -> Any:
    """Take the complex step at every entry, with a cross-check for each."""
    parts = []
    for entry in range(task.space.size):
        number = (np.float32 if task.space.is_single[entry] else np.float64)(task.space.flat[entry])
        bounds = (task.bounds[0][entry], task.bounds[1][entry])
        one = _Task(task.owner, f, number, replace(task.options, typical=task.typical[entry], bounds=bounds))
        parts.append(one.slopes(one.coordinates()))
        task.function.nfev += one.function.nfev
        task.function.shape = one.function.shape
    names = ("value", "error", "step", "status")
    slopes = _Slopes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    return task.answer(slopes, lambda rows: _trailing(task, rows))


def _trailing(task: _Task, rows: Array) -> Any:
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
    task = _Task("partial", f, x, options)
    lines = task.coordinates(np.array([_entry(task.space, i)]))
    slopes = task.slopes(lines, task.steps(lines))
    task.refuse_nothing(slopes)
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
    return _gradient(_Task("gradient", f, x, options))


def _gradient(task: _Task) -> Any:
    lines = task.coordinates()
    if len(lines) == 0:
        return task.answer(_Slopes(*[np.zeros(0)] * 4), task.space.arrange)
    slopes = task.slopes(lines, task.steps(lines))
    task.refuse_nothing(slopes)
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
    task = _Task("jacobian", f, x, options)
    if sparsity is not None:
        return _sparse_jacobian(task, Pattern("jacobian", sparsity, task.space.size))
    lines = task.coordinates()
    if len(lines) == 0:
        empty = np.zeros((0, task.function.outputs()))
        return task.answer(_Slopes(empty, empty, empty, empty), lambda rows: _by_outputs(task, rows))
    slopes = task.slopes(lines, task.steps(lines))
    task.refuse_nothing(slopes)
    return task.answer(slopes, lambda rows: _by_outputs(task, rows))


def _by_outputs(task: _Task, rows: Array) -> Any:
    """Lay out (size of x, outputs) as f's shape + x's structure."""
    return task.space.arrange(rows.T.reshape(*(task.function.shape or ()), task.space.size))


def _sparse_jacobian(task: _Task, pattern: Pattern) -> Any:
    """Differentiate groups of columns that share no row, and verify the pattern by one more direction."""
    space = task.space
    if task.options.order != 1:
        raise ValueError(
            f"jacobian(order): must be 1 if sparsity is given, which is verified by sums of first derivatives; got "
            f"{task.options.order}. Leave one out."
        )
    colours = colour_columns(pattern.rows, pattern.columns, space.size)
    steps = task.steps(task.coordinates())
    units = np.maximum(np.abs(space.flat), task.typical) if steps is None else steps
    order = np.argsort(colours, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(colours))])
    lines = Lines(space, starts, order, units[order], task.typical, task.bounds)
    slopes = task.slopes(lines, None if steps is None else np.ones(len(lines)))
    task.refuse_nothing(slopes)
    outputs = slopes.value.shape[1]
    if outputs != pattern.shape[0]:
        raise ValueError(
            f"jacobian(sparsity): must have a row for each output of f; got {pattern.shape[0]} rows for {outputs} "
            f"outputs. Correct the pattern."
        )
    scale = units[pattern.columns]
    at = (colours[pattern.columns], pattern.rows)
    found = _Slopes(slopes.value[at] / scale, slopes.error[at] / scale, slopes.step[at] * scale, slopes.status[at])
    _verify_pattern(task, pattern, found.value, units, None if steps is None else 1.0)
    return task.answer(found, pattern.fill)


def _verify_pattern(task: _Task, pattern: Pattern, values: Array, units: Array, step: float | None) -> None:
    """Compare J v with the derivative along v, a random direction over all columns, or raise.

    The derivative along v is taken as the entries were, once more with half the step, and its bend at x is looked at:
    what these say of truncation, noise and kinks is allowed.
    """
    options = task.options
    line = Lines.random(task.space, units, task.bounds, task.rng)
    v = line.units
    side = options.method if options.method in ("forward", "backward") else "central"
    differences = Differences(task.function, line, 1, options.accuracy or 2, side)
    h = differences.steps(max(task.function.eps, float(line.eps[0]))) if step is None else np.full(1, step)
    applied = differences(h)
    half = differences.repeat(applied, applied.step / 2)
    bend = differences.values(np.arange(1), np.array([-1.0, 0.0, 1.0]), applied.step)[0][0]
    expected, magnitude = np.zeros(pattern.shape[0], values.dtype), np.zeros(pattern.shape[0])
    products = values * v[pattern.columns]
    np.add.at(expected, pattern.rows, products)
    np.add.at(magnitude, pattern.rows, np.abs(products))
    truncation = np.abs(half.value[0] - applied.value[0]) + np.abs(bend[0] - 2 * bend[1] + bend[2]) / applied.step[0]
    rounding = task.function.eps * (applied.size[0] + magnitude) / applied.step[0]
    allowed = PATTERN_AGREES * magnitude + 10 * truncation + 100 * rounding
    wrong = np.flatnonzero(np.abs(applied.value[0] - expected) > allowed)
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"jacobian(sparsity): must cover every entry that is not 0; got a derivative of "
            f"{applied.value[0, row]:.6g} of output {row} along a random direction, where the pattern's entries make "
            f"{expected[row]:.6g}. Add the missing entries, or leave sparsity out."
        )


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
    task = _Task("hessian", f, x, options)
    n = task.space.size
    units = task.inward()
    rows, columns = np.triu_indices(n, 1)
    axes = Lines(task.space, np.arange(n + 1), np.arange(n), units, task.typical, task.bounds)
    index = np.column_stack([rows, columns]).ravel()
    diagonals = Lines(task.space, 2 * np.arange(len(rows) + 1), index, units[index], task.typical, task.bounds)
    pure = task.seconds(axes, _relative_steps(task, axes, units))
    mixed = task.seconds(diagonals, _relative_steps(task, diagonals, units))
    return task.answer(_polarize(units, pure, mixed, rows, columns), lambda entries: _twice(task.space, entries))


def _relative_steps(task: _Task, lines: Lines, units: Array) -> Array | None:
    """Return the steps that were asked for, in the units of the lines: the least of the entries that a line moves."""
    single = task.steps(task.coordinates())
    if single is None or len(lines) == 0:
        return None
    return np.minimum.reduceat((single / np.abs(units))[lines.index], lines.starts[:-1])


def _polarize(units: Array, pure: _Slopes, mixed: _Slopes, rows: Array, columns: Array) -> _Slopes:
    """Return the matrix of second derivatives from those along axes a and b, and along a + b."""

    def fill(diagonal: Array, entries: Array) -> Array:
        matrix = np.empty((len(units), len(units)), diagonal.dtype)
        np.fill_diagonal(matrix, diagonal)
        matrix[rows, columns] = matrix[columns, rows] = entries
        return matrix

    a, b = pure.map(lambda array: array[rows]), pure.map(lambda array: array[columns])
    square, product = units**2, units[rows] * units[columns]
    return _Slopes(
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
    slopes = task.slopes(lines, task.steps(lines))
    task.refuse_nothing(slopes)
    distance = np.abs(slopes.value - slopes.value.T)
    error = np.fmax(slopes.error, distance / 2)
    matrix = replace(slopes, value=(slopes.value + slopes.value.T) / 2, error=np.fmax(error, error.T))
    return task.answer(matrix, lambda entries: _twice(task.space, entries), float(np.max(distance, initial=0.0)))


def _gradient_task(owner: str, x: Any, jac: Any, options: Options) -> _Task:
    """Return a task that differentiates the gradient, a vector of x's size."""
    space = Space(owner, x)
    if as_native(owner, jac) is not None or not callable(jac):
        raise TypeError(
            f"{owner}(jac): must be a Python function that returns the gradient; got {type(jac).__name__}. Pass one, "
            f"or leave jac out."
        )

    def read(result: Any, stacked: bool) -> Array:
        return space.flatten(f"{owner}(jac)", result, stacked=stacked, kinds="iufc")

    return _Task(owner, jac, space, options, read=read)


def _twice(space: Space, matrix: Array) -> Any:
    """Lay out (size, size) as x.shape + x.shape, or as a tree of trees."""
    if space.is_array:
        return space.arrange(matrix).reshape(*space.leaves[0].shape, *space.leaves[0].shape)
    rows = [
        space.arrange(np.ascontiguousarray(matrix[leaf.part]).reshape(*leaf.shape, space.size))
        if not leaf.is_number
        else space.arrange(matrix[leaf.start])
        for leaf in space.leaves
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
    task = _Task("directional", f, x, options)
    direction = task.space.flatten("directional(v)", v)
    if not direction.any():
        value = np.zeros_like(task.function.origin[0])
        return task.answer(_zero_slopes(value), lambda rows: _output(task.function, rows[0]))
    slopes = task.slopes(task.along(direction[None, :]))
    task.refuse_nothing(slopes)
    return task.answer(slopes, lambda rows: _output(task.function, rows[0]))


def _zero_slopes(value: Array) -> _Slopes:
    zeros = np.zeros((1, len(value)))
    return _Slopes(zeros.astype(value.dtype), zeros, zeros, np.full(zeros.shape, "ok", "<U10"))


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

    def weigh(result: Any, stacked: bool) -> Array:
        values = np.asarray(result)
        shape = values.shape[1:] if stacked else values.shape
        if shape != weights.shape:
            raise ValueError(f"vjp(u): must have the shape of f's result, {shape}; got {weights.shape}. Reshape it.")
        return np.asarray(np.tensordot(values, weights, axes=weights.ndim))

    task = _Task("vjp", f, x, options, read=weigh)
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
    task = _Task("hvp", f, x, options) if jac is None else _gradient_task("hvp", x, jac, options)
    direction = task.space.flatten("hvp(v)", v)
    if not direction.any():
        return task.answer(_zero_slopes(np.zeros(task.space.size)).map(lambda rows: rows[0]), task.space.arrange)
    if jac is None:
        return task.answer(_hvp_from_values(task, direction), task.space.arrange)
    slopes = task.slopes(task.along(direction[None, :]))
    task.refuse_nothing(slopes)
    return task.answer(slopes.map(lambda rows: rows[0]), task.space.arrange)


def _hvp_from_values(task: _Task, direction: Array) -> _Slopes:
    """Return H v from second differences along v + u and v - u, for every axis u: they differ by four times u'H v."""
    v = direction * task.along(direction[None, :]).scale[0]  # moves no entry by more than its scale
    units = task.inward()
    ahead = task.seconds(task.along(v + np.diag(units)))
    behind = task.seconds(task.along(v - np.diag(units)))
    scale = 1 / (4 * units * task.along(direction[None, :]).scale[0])
    return _Slopes(
        (ahead.value - behind.value) * scale,
        (ahead.error + behind.error) * np.abs(scale),
        ahead.step * np.abs(units),
        _first_trouble(ahead.status, behind.status),
    )
