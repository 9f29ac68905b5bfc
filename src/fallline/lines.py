"""Straight lines through a point, and finite differences along them.

Every derivative here is one along a line x + t u: a partial derivative moves one entry, a group of columns that share
no row moves several, a directional derivative all of them. A stencil is applied to many lines at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.bounds import Bounds
from fallline.evaluate import Function, Points
from fallline.space import Space, constant

__all__ = [
    "CENTRAL",
    "CODES",
    "FORWARD",
    "Applied",
    "Differences",
    "Lines",
    "Side",
    "Stencil",
    "by_side",
    "power_of_two",
    "real_and_imaginary",
    "real_parts",
    "stencil",
]

Array = npt.NDArray[Any]
Side = Literal["central", "forward", "backward"]

CODES: dict[Side, int] = {"central": 0, "forward": 1, "backward": -1}
NAMES: dict[int, Side] = {code: name for name, code in CODES.items()}
CENTRAL, FORWARD, BACKWARD = CODES.values()

_EXPONENT = np.int64(0x7FF0000000000000)
_TO_CARRY = np.float64(2.0).view(np.int64) - np.float64(2**0.5).view(np.int64)

SHRINK = 16.0  # by how much steps become smaller where f is not finite
SHIFT = 8.0  # a central stencil that the bounds would shrink by more than that goes to one side
RETREATS = 14  # how often: down to the spacing of doubles


@dataclass(frozen=True, slots=True)
class Stencil:
    """Nodes and weights: the derivative is h**-order times the weighted sum of f(x + node*h).

    Attributes
    ----------
    nodes, weights : ndarray
        Those of weight 0 are left out.
    accuracy : int
        The error is ``constant * h**accuracy`` times the derivative of order ``order + accuracy``.
    norm : float
        Sum of the magnitudes of the weights: how roundoff in f counts.
    """

    order: int
    nodes: Array
    weights: Array
    accuracy: int
    constant: float
    norm: float

    def step(self, relative_noise: Any) -> Any:
        """Return the step at which truncation and roundoff are least together, if all derivatives are about 1."""
        d, p = self.order, self.accuracy
        best = np.asarray(d * relative_noise * self.norm / (p * abs(self.constant)))
        return np.asarray(best ** (1 / (p + d)))


@functools.lru_cache
def stencil(side: Side, order: int, accuracy: int) -> Stencil:
    """Return the shortest stencil on one or both sides of a point."""
    if side == "central":
        reach = (order + 1) // 2 - 1 + accuracy // 2
        nodes = np.arange(-reach, reach + 1, dtype=np.float64)
    else:
        nodes = np.arange(order + accuracy, dtype=np.float64) * (1 if side == "forward" else -1)
    weights = _core.stencil(order, nodes)
    p, constant = _core.stencil_error(order, nodes)
    used = weights != 0
    return Stencil(order, nodes[used], weights[used], p, constant, float(np.abs(weights).sum()))


def by_side(sides: Array) -> Iterator[tuple[Side, Any]]:
    """Yield every side that occurs, and the rows where it does."""
    if len(sides) and (sides == sides[0]).all():
        yield NAMES[sides[0]], slice(None)
        return
    for code, name in NAMES.items():
        rows = np.flatnonzero(sides == code)
        if len(rows):
            yield name, rows


def power_of_two(h: Any) -> Array:
    """Round steps to powers of two, so that x + h and h**order are exact wherever they can be."""
    h = np.asarray(h, np.float64)
    if h.min(initial=1.0) < np.finfo(np.float64).tiny:
        return np.asarray(np.exp2(np.round(np.log2(h))))
    # In the bits of a double: a fraction above the square root of 2 carries into the exponent, and then is cleared.
    return np.asarray(((h.view(np.int64) + _TO_CARRY) & _EXPONENT).view(np.float64))


class Lines:
    """Lines through the variable's value.

    Parameters
    ----------
    space : Space
    starts, index, units : array_like
        Line l moves entry ``index[m]`` by ``t*units[m]``, for ``starts[l] <= m < starts[l + 1]``.
    typical : ndarray, shape (size,)
        Magnitudes below which an entry counts as this big.
    bounds : Bounds

    Attributes
    ----------
    scale : ndarray
        The t that moves no entry by more than its magnitude (or its typical one), for every line.
    left, right : ndarray
        How far t may go either way within the bounds.
    plain : bool
        Every line moves one entry, by t itself.
    eps : ndarray
        The spacing, at 1, of the numbers that a line moves.
    """

    def __init__(self, space: Space, starts: Any, index: Any, units: Any, typical: Array, bounds: Bounds) -> None:
        self.space = space
        self.starts = np.asarray(starts, np.intp)
        self.index = np.asarray(index, np.intp)
        self.units = np.asarray(units, np.float64)
        self.bounds = bounds
        self.plain = bool(self.is_coordinates and (self.units == 1).all())
        part = self._part()
        size = np.maximum(np.abs(space.flat[part]), typical[part])
        if self.plain:
            self.scale = size
        else:
            with np.errstate(divide="ignore"):
                self.scale = self._least(size / np.abs(self.units))
            self.scale[np.isinf(self.scale)] = 1.0  # a line that does not move
        self.left = self.right = constant(np.inf, len(self))
        if not bounds.is_free:
            self._measure_room()
        eps = space.eps[part]
        self.eps = eps if self.is_coordinates else -self._least(-eps) if len(eps) else np.zeros(len(self))

    @classmethod
    def coordinates(cls, space: Space, index: Array, typical: Array, bounds: Bounds) -> Lines:
        """Return a line for each of some entries."""
        return cls(space, np.arange(len(index) + 1), index, constant(1.0, len(index)), typical, bounds)

    @classmethod
    def along(cls, space: Space, directions: Array, typical: Array, bounds: Bounds) -> Lines:
        """Return a line for each row of directions, (lines, size)."""
        k, n = directions.shape
        return cls(space, np.arange(k + 1) * n, np.tile(np.arange(n), k), directions.ravel(), typical, bounds)

    def __len__(self) -> int:
        """Count the lines."""
        return len(self.starts) - 1

    def _part(self) -> Any:
        """Return `index`, or a slice if it is all of x in order: views are quicker than copies."""
        is_whole = len(self.index) == len(self) == self.space.size and (self.index == self.starts[:-1]).all()
        return slice(None) if is_whole else self.index

    def _measure_room(self) -> None:
        at, units = self.space.flat[self.index], self.units
        above, below = self.bounds.high[self.index] - at, at - self.bounds.low[self.index]
        moves, up = units != 0, units > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            right, left = np.where(up, above, below) / np.abs(units), np.where(up, below, above) / np.abs(units)
        self.right, self.left = (self._least(np.where(moves, room, np.inf)) for room in (right, left))

    def _least(self, values: Array) -> Array:
        if len(values) == len(self):
            return values
        return np.minimum.reduceat(values, self.starts[:-1])

    @classmethod
    def random(
        cls,
        space: Space,
        typical: Array,
        bounds: Bounds,
        rng: np.random.Generator,
        entries: Array | None = None,
        size: Array | None = None,
    ) -> Lines:
        """Return one line in a random direction, of all or some entries, with room on its right side.

        It moves them by about as much as they are, or by `size`, for each unit of t.
        """
        at = space.flat
        up, down = bounds.high - at, at - bounds.low
        sign = np.where(up > down, 1.0, np.where(up < down, -1.0, rng.choice((-1.0, 1.0), space.size)))
        size = np.maximum(np.abs(at), typical) if size is None else size
        direction = sign * rng.uniform(0.5, 1.0, space.size) * size
        direction[bounds.low == bounds.high] = 0
        if entries is not None:
            direction[np.setdiff1d(np.arange(space.size), entries)] = 0
        return cls.along(space, direction[None, :], typical, bounds)

    @property
    def is_coordinates(self) -> bool:
        """Whether every line moves one entry."""
        return len(self.index) == len(self)

    def points(self, which: Array, t: Array) -> tuple[Points, Array]:
        """Return the points at parameters t, (lines, k), of some lines, and the parameters really reached.

        They are reached up to rounding; where a line moves one entry, (x + t) - x is known exactly.
        """
        if self.is_coordinates:
            index = self.index[which]
            at = self.space.flat[index][:, None]
            moved = self._inside(at + (t if self.plain else t * self.units[which, None]), index[:, None])
            taken = moved - at
            if not self.plain:
                taken /= self.units[which, None]
            return Points.single(np.repeat(index, t.shape[1]), moved), taken
        counts = np.diff(self.starts)[which]
        slots = np.concatenate([np.arange(self.starts[line], self.starts[line + 1]) for line in which for _ in t[0]])
        index = self.index[slots]
        steps = np.repeat(t.ravel(), np.repeat(counts, t.shape[1]))
        moved = self._inside(self.space.flat[index] + steps * self.units[slots], index)
        starts = np.concatenate([[0], np.cumsum(np.repeat(counts, t.shape[1]))])
        return Points(starts, index, moved), t

    def _inside(self, values: Array, index: Array) -> Array:
        return self.bounds.clip(self.space.round(values, index), index)


@dataclass(slots=True)
class Applied:
    """What came out of stencils: for every line, its outputs and how they were made.

    Attributes
    ----------
    value : ndarray, shape (lines, outputs)
    step : ndarray, shape (lines,)
    side : ndarray of int, shape (lines,)
        CENTRAL, FORWARD or BACKWARD.
    size : ndarray, shape (lines, outputs)
        The greatest magnitude among the values of f.
    """

    value: Array
    step: Array
    side: Array
    size: Array


class Differences:
    """Finite differences of one order and accuracy along lines.

    Parameters
    ----------
    function : Function
    lines : Lines
    order, accuracy : int
    side : {"central", "forward", "backward"}
        Preferred; the others serve where bounds or f's domain leave no room.
    smooth_within : float, default 1.0
        Relative to the scale of a line: from farther away f was seen to vary too quickly for a look.
    """

    def __init__(
        self, function: Function, lines: Lines, order: int, accuracy: int, side: Side, smooth_within: float = 1.0
    ) -> None:
        self.function, self.lines, self.order, self.accuracy, self.side = function, lines, order, accuracy, side
        self.smooth_within = smooth_within

    def stencil(self, side: Side) -> Stencil:
        """Return the stencil for one side, of the same order and accuracy."""
        return stencil(side, self.order, self.accuracy)

    def steps(self, relative_noise: Any) -> Array:
        """Return a step for every line, by its scale."""
        return power_of_two(self.lines.scale * self.stencil(self.side).step(relative_noise))

    def f0(self, which: Array) -> Array:
        """Return f at x for some lines, (lines or 1, outputs)."""
        origin = self.function.origin
        return origin[which] if len(origin) > 1 else origin

    def fit(self, h: Array, which: Array) -> tuple[Array, Array]:
        """Return sides and steps that stay within the bounds."""
        sides = np.full(len(which), CODES[self.side], np.int8)
        if self.lines.bounds.is_free:
            return sides, h
        left, right = self.lines.left[which], self.lines.right[which]
        if (np.maximum(left, right) <= 0).any():
            line = int(which[np.argmax(np.maximum(left, right) <= 0)])
            place = self.lines.space.place(int(self.lines.index[self.lines.starts[line]]))
            raise ValueError(
                f"{self.function.owner}(bounds): must leave room for a step; got none at {place}. Widen them."
            )
        one_sided = np.where(right >= left, FORWARD, BACKWARD)
        far = np.abs(self.stencil("forward").nodes).max()
        both = self.stencil("central").nodes.max() if self.side == "central" else 0.0
        if self.side == "central":
            sides = np.where(np.minimum(left, right) < both * h / SHIFT, one_sided, sides)
        else:
            own, other = (right, left) if self.side == "forward" else (left, right)
            sides = np.where((own < far * h) & (other > own), one_sided, sides)
        room = np.where(sides == CENTRAL, np.minimum(left, right), np.where(sides == FORWARD, right, left))
        reach = np.where(sides == CENTRAL, both, far)
        h = np.where(reach * h > room, np.exp2(np.floor(np.log2(room / np.maximum(reach, 1)))), h)
        return sides.astype(np.int8), h

    def __call__(self, h: Array, which: Array | None = None) -> Applied:
        """Apply the stencils with steps h to all lines, or some of them, retreating from where f is not finite."""
        which = np.arange(len(self.lines)) if which is None else which
        result = self.plain(h, which)
        if not np.isfinite(result.value).all():
            self._retreat(result, which, result.step)
        return result

    def plain(self, h: Array, which: Array) -> Applied:
        """Apply the stencils with steps h to some lines, where the bounds allow, without retreating."""
        return self._apply(which, *self.fit(h, which))

    def _bad(self, applied: Applied, which: Array) -> Array:
        """Return the rows that lack an output which is finite at x."""
        return np.flatnonzero((~np.isfinite(applied.value) & np.isfinite(self.f0(which))).any(axis=1))

    def repeat(self, applied: Applied, h: Array) -> Applied:
        """Apply the stencils that were applied to all lines once more, with other steps."""
        return self._apply(np.arange(len(self.lines)), applied.side, h)

    def _retreat(self, result: Applied, which: Array, h: Array) -> None:
        """Look for finite values nearer to x, then on one side of it; keep what has the most finite outputs.

        Where f's domain ends at a distance, that distance, and no longer the magnitude of x, is the scale of the
        problem: the step shrinks in proportion.
        """
        result.step, result.side = result.step.copy(), result.side.copy()
        relative = h / self.lines.scale[which]
        bad = self._bad(result, which)
        for side in dict.fromkeys((self.side, "forward", "backward")):
            for attempt in range(1 if side == self.side else 0, RETREATS + 1):
                if len(bad) == 0:
                    return
                near = h[bad] * SHRINK**-attempt
                found = np.isin(range(len(bad)), self._bad(self._at(side, near, which[bad]), which[bad]), invert=True)
                found |= attempt == 0
                tried = self._at(side, near[found] * (relative[bad[found]] if attempt else 1), which[bad[found]])
                rows = bad[found]
                better = np.isfinite(tried.value).sum(axis=1) > np.isfinite(result.value[rows]).sum(axis=1)
                for name in ("value", "step", "side", "size"):
                    getattr(result, name)[rows[better]] = getattr(tried, name)[better]
                bad = self._bad(result, which)

    def on(self, side: Side) -> Differences:
        """Return the same with another preferred side."""
        return Differences(self.function, self.lines, self.order, self.accuracy, side, self.smooth_within)

    def _at(self, side: Side, h: Array, which: Array) -> Applied:
        """Apply the stencils of a wanted side where the bounds allow it, else of what they do."""
        return self._apply(which, *self.on(side).fit(h, which))

    def _apply(self, which: Array, sides: Array, h: Array) -> Applied:
        parts = [(rows, *self._one_side(which[rows], self.stencil(side), h[rows])) for side, rows in by_side(sides)]
        if len(parts) == 1:
            _, value, size = parts[0]
            return Applied(value, h, sides, size)
        outputs = max((value.shape[1] for _, value, _ in parts), default=1)
        result = Applied(
            np.empty((len(which), outputs), np.result_type(float, *(value for _, value, _ in parts))),
            h, sides, np.empty((len(which), outputs)),
        )  # fmt: skip
        for rows, value, size in parts:
            result.value[rows], result.size[rows] = value, size
        return result

    def _one_side(self, which: Array, chosen: Stencil, h: Array) -> tuple[Array, Array]:
        """Return differences and the sizes of f, for lines on one side."""
        if self.function.native is not None and self.lines.plain and self.lines.bounds.is_free:
            return self._native_axes(which, chosen, h)
        return self._by_values(which, chosen, h)

    def _native_axes(self, which: Array, chosen: Stencil, h: Array) -> tuple[Array, Array]:
        index = self.lines.index[which]
        value, size, exact = self.function.differentiate(index, h, self.order, chosen.nodes, chosen.weights)
        if not exact.all():
            rest = np.flatnonzero(~exact)
            values, sizes = self._by_values(which[rest], chosen, h[rest])
            value[rest], size[rest] = values[:, 0], sizes[:, 0]
        return value[:, None], size[:, None]

    def _by_values(self, which: Array, chosen: Stencil, h: Array) -> tuple[Array, Array]:
        values, taken = self.values(which, chosen.nodes, h)
        weights = self._weights(chosen, taken / h[:, None])
        magnitude = np.abs(values)
        size = magnitude[:, 0]
        for node in range(1, magnitude.shape[1]):  # a few: quicker than max
            size = np.maximum(size, magnitude[:, node])
        factors = 1 / h**self.order
        return real_and_imaginary(lambda part: _core.differences(weights, part, factors), values), size

    def values(self, which: Array, nodes: Array, h: Array) -> tuple[Array, Array]:
        """Return f at x + node*h, (lines, nodes, outputs), and the parameters reached, (lines, nodes)."""
        moved = np.flatnonzero(nodes)
        points, taken_there = self.lines.points(which, h[:, None] * nodes[moved])
        there = self.function(points)
        there = there.reshape(len(which), len(moved), there.shape[1])
        if len(moved) == len(nodes):
            return there, taken_there
        values = np.empty((len(which), len(nodes), there.shape[2]), there.dtype)
        taken = np.zeros((len(which), len(nodes)))
        values[:, moved], taken[:, moved] = there, taken_there
        values[:, nodes == 0] = self.f0(which)[:, None, :]
        return values, taken

    def _weights(self, chosen: Stencil, reached: Array) -> Array:
        """Return the weights for the nodes really reached: the stencil's own, but where x + h had to be rounded.

        One row for each line, or one for all.
        """
        exact = reached == chosen.nodes
        if exact.all():
            return chosen.weights[None, :]
        weights = np.empty(reached.shape)
        weights[:] = chosen.weights
        for row in np.flatnonzero(~exact.all(axis=1)):
            if len(np.unique(reached[row])) == len(chosen.nodes):
                weights[row] = _core.stencil(self.order, np.ascontiguousarray(reached[row]))
            else:
                weights[row] = np.nan  # the step is too small for x to change
        return weights


def real_parts(values: Array) -> Array:
    """Return complex outputs, on the last axis, as twice as many real ones; real ones as they are."""
    if values.dtype.kind != "c":
        return values
    return np.concatenate([values.real, values.imag], axis=-1)


def real_and_imaginary(operation: Callable[[Array], Array], values: Array) -> Array:
    """Return a linear operation on real numbers applied to complex ones, too."""
    if values.dtype.kind != "c":
        return operation(np.ascontiguousarray(values))
    real, imaginary = operation(np.ascontiguousarray(values.real)), operation(np.ascontiguousarray(values.imag))
    return real + 1j * imaginary
