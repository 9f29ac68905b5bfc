"""Calling a user's function at many points: one by one, all at once, on workers, or natively.

f gets a variable of its own each time: what it does to it reaches nobody else. Whatever it raises reaches the caller,
but for what means "not defined here" in the scalar world (1/0, ``math.log(-1)``), which is taken as NaN.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.native import as_native
from fallline.space import Space, as_array
from fallline.workers import ask

__all__ = ["CoarseError", "Elementwise", "Function", "Points", "Rows", "as_python", "check_args"]

Array = npt.NDArray[Any]


class Points:
    """Points that differ from the variable's value in some entries of the flat vector.

    Parameters
    ----------
    starts : array_like of int, shape (points + 1,), or None
        Point k has entry ``index[m]`` set to ``values[m]`` for ``starts[k] <= m < starts[k + 1]``; for m = k if None.
    index, values : array_like
    """

    def __init__(self, starts: Any, index: Any, values: Any) -> None:
        self._starts = None if starts is None else _unsigned(starts)
        self._index = _unsigned(index)
        self.values = np.ascontiguousarray(values, np.float64)

    @property
    def starts(self) -> Array:
        """Return where the entries of each point begin and end."""
        return np.arange(len(self.index) + 1, dtype=np.uintp) if self._starts is None else self._starts

    @property
    def index(self) -> Array:
        """Return which entries are set."""
        return self._index

    @property
    def moves(self) -> tuple[Array | None, Array | None, Array]:
        """Return what `_core.call_moved` takes."""
        return self._starts, self._index, self.values

    def part(self, first: int, last: int) -> Points:
        """Return some of the points."""
        if self._starts is None:
            return Points(None, self.index[first:last], self.values[first:last])
        return Points(self._starts[first : last + 1], self.index, self.values)

    @classmethod
    def single(cls, index: Any, values: Any) -> Points:
        """Move one entry for each point: equal shapes, any."""
        values = np.asarray(values).ravel()
        return cls(None, np.asarray(index).ravel(), values)

    @classmethod
    def rows(cls, rows: Array, index: Array) -> Points:
        """Move the same entries for each point, to a row of numbers."""
        n_points, n = rows.shape
        return cls(np.arange(n_points + 1) * n, np.tile(index, n_points), rows.ravel())

    def __len__(self) -> int:
        """Count the points."""
        return len(self.index) if self._starts is None else len(self._starts) - 1

    def dense(self, flat: Array, first: int, last: int) -> Array:
        """Return some of the points in full, (last - first, size)."""
        rows = np.tile(flat, (last - first, 1))
        low, high = int(self.starts[first]), int(self.starts[last])
        lengths = np.diff(self.starts.astype(np.intp)[first : last + 1])
        rows[np.repeat(np.arange(last - first), lengths), self.index[low:high]] = self.values[low:high]
        return rows


class Rows(Points):
    """Points that differ in all entries: (points, size), contiguous doubles."""

    def __init__(self, rows: Array) -> None:
        self._rows = rows
        self.values = rows.ravel()

    @property
    def starts(self) -> Array:
        """Return where the entries of each point begin and end."""
        return np.arange(len(self) + 1, dtype=np.uintp) * np.uintp(self._rows.shape[1])

    @property
    def index(self) -> Array:
        """Return which entries are set."""
        return np.tile(np.arange(self._rows.shape[1], dtype=np.uintp), len(self))

    @property
    def moves(self) -> tuple[None, None, Array]:
        """Return what `_core.call_moved` takes."""
        return None, None, self.values

    def part(self, first: int, last: int) -> Rows:
        """Return some of the points."""
        return Rows(self._rows[first:last])

    def __len__(self) -> int:
        """Count the points."""
        return len(self._rows)

    def dense(self, flat: Array, first: int, last: int) -> Array:
        """Return a copy of some of the points."""
        return self._rows[first:last].copy()


class CoarseError(Exception):
    """f computes in a lower precision than the steps are made for."""


class Function:
    """A user's function of a variable.

    Parameters
    ----------
    owner : str
        The public function that was called, for messages.
    f : callable, or native function
    space : Space
    args : tuple
    vectorized : bool
    workers : None or callable
        A function like map: what `fallline.workers` makes of what users may pass.
    max_memory : int
        Bytes of points in one vectorized call.
    read : callable, optional
        ``read(result, stacked)`` makes numbers of what f returned: with `stacked`, of many points, on a leading axis.

    Attributes
    ----------
    nfev : int
        Points evaluated so far.
    shape : tuple of int or None
        Of f's result, once it is known.
    dtype : numpy.dtype
        Of f's result; float64 until it is known.
    finest : float or None
        While f's precision is not known: raise `CoarseError` after the first result if its `eps` is greater.
    """

    def __init__(
        self,
        owner: str,
        f: Any,
        space: Space,
        args: tuple[Any, ...] = (),
        vectorized: bool = False,
        workers: Callable[..., Any] | None = None,
        max_memory: int = 2**26,
        read: Callable[[Any, bool], Any] | None = None,
    ) -> None:
        self.owner, self.space, self.args = owner, space, check_args(owner, args)
        self.native = as_native(owner, f)
        if isinstance(f, _core.Tape) and workers is None and not (vectorized or args) and _is_point(space, f.variables):
            self.native = f.native()
        if self.native is None and not callable(f):
            raise TypeError(f"{owner}(f): must be callable; got {type(f).__name__}. Pass a function of x.")
        self.f = f
        self.vectorized, self.workers, self.max_memory, self.read = vectorized, workers, max_memory, read
        self._check_ways()
        self.finest: float | None = None
        self._asked = False
        self.nfev = 0
        self.shape: tuple[int, ...] | None = None
        self.dtype = np.dtype(np.float64)

    def _check_ways(self) -> None:
        ways = [name for name in ("vectorized", "workers") if getattr(self, name)]
        if self.native is not None:
            ways.append("a native f")
            _check_native(self.owner, self.space, self.args)
        if len(ways) > 1:
            raise ValueError(
                f"{self.owner}: must be told one way to evaluate f; got {' and '.join(ways)}. Leave one out."
            )

    @property
    def eps(self) -> float:
        """Return the spacing of f's numbers at 1."""
        return _eps(self.dtype)

    def __call__(self, points: Points) -> Array:
        """Evaluate at all points.

        Returns
        -------
        ndarray of float64 or complex128, shape (points, outputs)
        """
        if len(points) == 0:
            return np.zeros((0, 1 if self.shape is None else math.prod(self.shape)))
        with np.errstate(all="ignore"):  # the points are ours: that f overflows there is not the user's concern
            if self.vectorized:
                return self._blocks(points)
            if self.native is not None:
                values = self.native.call_moved(self.space.flat, *points.moves)
            else:
                results = self._results(points)
                numbers = _core.floats(results) if self.read is None and self.shape in (None, ()) else None
                if numbers is None:
                    return self._as_rows(results)
                values = numbers
        self._take((), np.dtype(np.float64), len(points))
        return values[:, None]

    def differentiate(
        self, index: Array, h: Array, order: int, nodes: Array, weights: Array
    ) -> tuple[Array, Array, Array]:
        """Apply a stencil along axes to a native f; return differences, sizes, and where x + node*h was exact."""
        assert self.native is not None
        with_origin = not nodes.all()
        origin = float(self.origin[0, 0]) if with_origin else 0.0
        arguments = _unsigned(index), np.ascontiguousarray(h), order, nodes, weights, origin
        value, size, exact = self.native.differentiate(self.space.base, *arguments)
        self._take((), np.dtype(np.float64), int(exact.sum()) * (len(nodes) - with_origin))
        return value, size, exact

    def outputs(self) -> int:
        """Count f's outputs; evaluates it if that is not known yet."""
        return len(self.origin[0]) if self.shape is None else math.prod(self.shape)

    @functools.cached_property
    def origin(self) -> Array:
        """Evaluate at the variable's value once: (1 or more, outputs)."""
        return self.at_origin()

    def at_origin(self) -> Array:
        """Evaluate at the variable's value: (1, outputs)."""
        return self(Points([0, 0], [], []))

    def at_rows(self, rows: Array) -> list[Array]:
        """Evaluate at flat vectors, (points, size), real or complex, outside of the fast ways; f gets copies."""
        with np.errstate(all="ignore"):
            if self.vectorized:
                self.nfev += len(rows)
                return list(self._stack(self.space.arrange(rows.copy()), len(rows)))
            if self.native is not None:
                results = [self.native.call_moved(row, *_NOWHERE)[0] for row in rows]
            else:
                results = self._answers(_Row(self.f, self.args, self.space), list(rows))
        self.nfev += len(rows)
        return [self._array(result) for result in results]

    def _outputs_or_one(self) -> int:
        """Count f's outputs where it has no result; f(x) may tell, else it is one NaN."""
        if self.shape is None and not self._asked:
            self._asked = True
            return len(self.origin[0])
        return 1 if self.shape is None else math.prod(self.shape)

    def _results(self, points: Points) -> list[Any]:
        if self.workers is not None:
            return self._on_workers(points)
        if self.finest is None or self.shape is not None:
            return self._call_moved(points)
        first = self._call_moved(points.part(0, 1))
        if first[0] is not _core.OUTSIDE:
            array = self._array(first[0])
            if np.finfo(array.dtype).eps > self.finest:
                self._take(array.shape, array.dtype, 1)
                raise CoarseError
        return first + self._call_moved(points.part(1, len(points)))

    def _call_moved(self, points: Points) -> list[Any]:
        return _core.call_moved(self.f, self.args, self.space.layout, self.space.base, *points.moves)

    def _as_rows(self, results: list[Any]) -> Array:
        """Return results as (points, outputs), or raise unless they are numbers of one shape."""
        arrays = [None if result is _core.OUTSIDE else self._array(result) for result in results]
        known = [array for array in arrays if array is not None]
        if not known:
            self.nfev += len(results)
            return np.full((len(results), self._outputs_or_one()), np.nan)
        shape = known[0].shape
        for array in known:
            self._check_shape(array.shape, shape)
        dtype = np.result_type(*{array.dtype for array in known})
        self._take(shape, dtype, len(results))
        values = np.full((len(results), math.prod(shape)), np.nan, _wide(dtype))
        for row, found in zip(values, arrays, strict=True):
            if found is not None:
                row[:] = found.ravel()
        return values

    def _array(self, result: Any, stacked: bool = False) -> Array:
        given = result if self.read is None else self.read(result, stacked)
        array = as_array(given)
        if array.dtype.kind in "biu":
            array = array.astype(np.float64)
        if array.dtype.kind not in "fc":
            raise TypeError(
                f"{self.owner}(f): must return numbers; got {type(result).__name__}. Return the value of the function."
            )
        return array

    def _check_shape(self, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
        if shape != expected:
            raise ValueError(
                f"{self.owner}(f): must return the same shape at every point; got {shape} after {expected}. "
                f"Make its shape independent of x."
            )

    def _take(self, shape: tuple[int, ...], dtype: np.dtype[Any], n_points: int) -> None:
        if self.shape is not None:
            self._check_shape(shape, self.shape)
        self.shape, self.dtype = shape, dtype
        self.nfev += n_points

    # The ways to evaluate

    def _blocks(self, points: Points) -> Array:
        """Call f with many points at a time, on a new leading axis, as many as the memory allows."""
        most = max(1, self.max_memory // max(1, 8 * self.space.size))
        parts = []
        for first in range(0, len(points), most):
            last = min(len(points), first + most)
            stacked = self.space.arrange(points.dense(self.space.flat, first, last))
            array = self._stack(stacked, last - first)
            self._take(array.shape[1:], array.dtype, len(array))
            parts.append(array.reshape(len(array), math.prod(array.shape[1:])).astype(_wide(array.dtype)))
        return np.concatenate(parts)

    def _stack(self, stacked: Any, n_points: int) -> Array:
        """Call f with points on a leading axis, or raise unless there are as many results."""
        array = self._array(self.f(stacked, *self.args), stacked=True)
        if array.ndim == 0 or len(array) != n_points:
            raise ValueError(
                f"{self.owner}(f): must return one result for each point on the leading axis if vectorized=True; got "
                f"shape {array.shape} for {n_points} points. Write f for x of shape (points, ...), or leave vectorized "
                f"out."
            )
        return array

    def _on_workers(self, points: Points) -> list[Any]:
        index, values, starts = points.index, points.values, points.starts.tolist()
        moves = [(index[low:high], values[low:high]) for low, high in pairwise(starts)]
        answers = self._answers(_Move(self.f, self.args, self.space), moves)
        return [_core.OUTSIDE if isinstance(answer, _Outside) else answer for answer in answers]

    def _answers(self, evaluate: Callable[[Any], Any], questions: list[Any]) -> list[Any]:
        """Evaluate on the workers, or if there are none, here."""
        if self.workers is None:
            return [evaluate(question) for question in questions]
        return ask(self.owner, self.workers, evaluate, questions)


class Elementwise(Function):
    """A function of one number, at every entry of the variable: a point moves one entry, and f sees it alone."""

    def __init__(self, owner: str, f: Any, space: Space, **ways: Any) -> None:
        number = np.float32(0) if space.is_single.all() and space.size else np.float64(0)
        super().__init__(owner, f, Space(owner, number), **ways)
        self.variable = space

    def __call__(self, points: Points) -> Array:
        """Evaluate at all points: (points, outputs)."""
        return super().__call__(Points.single(np.zeros(len(points), np.uintp), points.values))

    def at_origin(self) -> Array:
        """Evaluate at every entry: (entries, outputs)."""
        return self(Points.single(np.arange(self.variable.size), self.variable.flat))


class _Outside:
    """What a worker answers where f is not defined: an object that keeps its meaning when it is pickled."""


class _Move:
    """Evaluate f at one point, in another process or thread."""

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], space: Space) -> None:
        self.f, self.args, self.space = f, args, space

    def __call__(self, move: tuple[Array, Array]) -> Any:
        points = Points([0, len(move[0])], *move)
        with np.errstate(all="ignore"):
            (result,) = _core.call_moved(self.f, self.args, self.space.layout, self.space.base, *points.moves)
        return _Outside() if result is _core.OUTSIDE else result


class _Row:
    """Evaluate f at one flat vector, real or complex, perhaps in another process or thread."""

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], space: Space) -> None:
        self.f, self.args, self.space = f, args, space

    def __call__(self, row: Array) -> Any:
        with np.errstate(all="ignore"):
            return _core.owned(self.f(self.space.arrange(row.copy()), *self.args))


_NOWHERE = (np.zeros(2, np.uintp), np.zeros(0, np.uintp), np.zeros(0))


def _is_point(space: Space, variables: tuple[str, ...] | None = None) -> bool:
    """Tell whether the variable is one 1-D array of float64, with as many numbers as there are variables, if given."""
    if space.has_single or not (space.is_array and space.base.ndim == 1):
        return False
    return variables is None or space.base.size == len(variables)


@functools.cache
def _eps(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).eps)


def _unsigned(index: Any) -> Array:
    index = np.ascontiguousarray(index)
    return np.asarray(index.view(np.uintp) if index.dtype == np.intp else index.astype(np.uintp))


def _wide(dtype: np.dtype[Any]) -> Any:
    return np.complex128 if dtype.kind == "c" else np.float64


def as_python(owner: str, f: Any, space: Space, args: tuple[Any, ...]) -> Any:
    """Return f, or if it is native, a Python function of x that calls it; or raise if it cannot take x."""
    native = as_native(owner, f)
    if native is None:
        return f
    _check_native(owner, space, args)
    return lambda x: float(native.call_moved(x, *_NOWHERE)[0])


def _check_native(owner: str, space: Space, args: tuple[Any, ...]) -> None:
    if args or not _is_point(space):
        raise TypeError(
            f"{owner}(f): must be given one 1-D array of float64 and no args if it is native; got another variable, or "
            f"args. Put constants into its user_data."
        )


def check_args(owner: str, args: Any) -> tuple[Any, ...]:
    """Return args, or raise unless they are a tuple."""
    if not isinstance(args, tuple):
        raise TypeError(f"{owner}(args): must be a tuple; got {type(args).__name__}. For one argument write args=(a,).")
    return args
