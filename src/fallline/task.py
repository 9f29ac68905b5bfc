"""One call of a derivative function: its options checked, steps, noise and method chosen, its answer laid out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.adaptive import resolve
from fallline.complexstep import complex_step
from fallline.evaluate import CoarseError, Elementwise, Function
from fallline.fixed import bound_errors
from fallline.lines import Applied, Differences, Lines, power_of_two
from fallline.near import compare_sides
from fallline.noise import measure_noise, shi_steps
from fallline.options import HIGHEST_ORDER, Options
from fallline.space import Space

__all__ = ["Derivative", "Slopes", "Task"]

Array = npt.NDArray[Any]

NARROW = 64.0  # steps: bounds that are no farther away determine the step
HIDES = 8.0  # roundings of f: a difference of less says nothing
SPREAD = 0.5  # relative to the scale: how far to go to see how much f varies
HONEST_NOISE = 2.0**-2  # of eps: what rounding makes of a value, at least
NO_DERIVATIVE = {
    "not finite": "no finite difference, however small the step,",
    "diverges": "differences that grow when the step shrinks, as at a jump or an infinite slope,",
    "unresolved": "values that change wildly from one floating-point number to the next",
}


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
        slope); "unresolved" (f changes wildly between neighbouring floating-point numbers, or jumps within the step);
        "no room" (the bounds are so near that rounding hides the derivative); "not finite".
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
class Slopes:
    """Derivatives along lines, (lines, outputs), and what is known of them."""

    value: Array
    error: Array
    step: Array
    status: Array

    @classmethod
    def none(cls, *shape: int) -> Slopes:
        """Return those along no line, or of no output."""
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape, "<U10"))

    def map(self, operation: Callable[[Array], Any]) -> Slopes:
        """Apply an operation to each of the arrays."""
        return Slopes(*(operation(getattr(self, name)) for name in ("value", "error", "step", "status")))


class Task:
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
        self.options = options
        options.check(owner, HIGHEST_ORDER if kind is Elementwise else 2)
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
        options.check_rng(owner)
        self.given_noise = options.noise_of(owner)
        self.noise: Array | None = None  # (lines or 1, outputs), once it is known
        self.smooth_within = 1.0

    @functools.cached_property
    def rng(self) -> np.random.Generator:
        """Make the random generator, once it is needed."""
        return np.random.default_rng(self.options.rng)

    def coordinates(self, index: Array | None = None) -> Lines:
        """Return a line for every entry of x, or some."""
        index = np.arange(self.space.size) if index is None else index
        return Lines.coordinates(self.space, index, self.typical, self.bounds)

    def along(self, directions: Array) -> Lines:
        """Return a line for each row of directions."""
        return Lines.along(self.space, directions, self.typical, self.bounds)

    def slopes(self, lines: Lines, steps: Array | None = None, order: int | None = None) -> Slopes:
        """Differentiate along lines, by the method that was asked for."""
        order = self.options.order if order is None else order
        with np.errstate(all="ignore"):  # what is not finite has a status
            slopes = self._slopes(lines, steps, order)
            self._look_for_room(slopes, lines, order)
            if order > 1 and self.options.full_output:
                self._widen_at_kinks(slopes, lines, order)
        return slopes

    def _look_for_room(self, slopes: Slopes, lines: Lines, order: int) -> None:
        """Say so where the bounds allow only steps at which rounding hides a derivative that f's scale lets expect."""
        if self.bounds.is_free or self.options.method == "complex":
            return
        step = slopes.step[:, :1]
        narrow = np.fmax(lines.left, lines.right)[:, None] <= NARROW * step
        eps = np.fmax(lines.eps, self.function.eps)[:, None] * 2.0**order  # in values, of which differences are made
        narrow &= (step / lines.scale[:, None]) ** order < eps
        if narrow.any():
            f0 = np.abs(Differences(self.function, lines, order, 2, "central").f0(np.arange(len(lines))))
            hidden = narrow & (np.abs(slopes.value) < HIDES * eps * f0 / step**order)
            slopes.error = np.where(hidden, np.inf, slopes.error)
            slopes.status = np.where(hidden, "no room", slopes.status)

    def _widen_at_kinks(self, slopes: Slopes, lines: Lines, order: int) -> None:
        """Look for kinks of the derivative before: x|x| has symmetric differences of order 2 that are all 0 there."""
        differences = Differences(self.function, lines, order, 2, "central")
        gap, kink = compare_sides(differences, slopes.step[:, 0], self._noise(differences))
        kink &= slopes.status == "ok"
        slopes.error[kink], slopes.status[kink] = np.fmax(slopes.error, gap)[kink], "kink"

    def _slopes(self, lines: Lines, steps: Array | None, order: int) -> Slopes:
        options = self.options
        if options.method == "complex":
            return self._complex(lines)
        if options.method == "adaptive":
            differences = Differences(self.function, lines, order, 2, "central")
            found = resolve(differences, self._noise(differences))
            return Slopes(found.value, found.error, found.step, found.status)
        differences = Differences(self.function, lines, order, options.power, options.method)
        applied = self.apply(differences, steps)
        if options.full_output:
            error, status = bound_errors(differences, applied, self._noise(differences))
        else:
            error, status = (np.broadcast_to(one, applied.value.shape) for one in (np.nan, "ok"))
        return Slopes(applied.value, error, np.repeat(applied.step[:, None], error.shape[1], axis=1), status)

    def _complex(self, lines: Lines) -> Slopes:
        value, h = complex_step(self.function, lines, self.typical, self.rng, self.options.max_memory)
        error = 8 * self.space.eps.max(initial=0.0) * np.abs(value)
        return Slopes(value, error, np.repeat(h[:, None], value.shape[1], axis=1), np.full(value.shape, "ok", "<U10"))

    def apply(self, differences: Differences, steps: Array | None) -> Applied:
        """Apply differences with the steps that were asked for, or those that fit f."""
        if steps is not None:
            return differences(steps)
        if isinstance(self.options.step, str):
            return differences(shi_steps(differences, self._noise(differences)))
        if self.options.noise is not None:
            return differences(differences.steps(self._relative_noise(differences)))
        return self._with_eps(differences)

    def _with_eps(self, differences: Differences) -> Applied:
        """Apply differences with the steps of f's precision, which is known when f has been called."""
        function = self.function
        own = differences.lines.eps if self.space.has_single else np.array(np.finfo(np.float64).eps)
        eps = np.maximum(own, function.eps)
        function.finest = float(eps.min(initial=1.0))
        try:
            applied = differences(differences.steps(eps))
        except CoarseError:
            applied = None
        if applied is None or function.eps > function.finest:
            applied = differences(differences.steps(np.maximum(own, function.eps)))
        function.finest = None
        return applied

    def _noise(self, differences: Differences) -> Array:
        """Return the noise for lines, (lines, outputs)."""
        lines = differences.lines
        if self.given_noise is not None:
            return np.full((len(lines), differences.f0(np.arange(1)).shape[1]), self.given_noise)
        if self.noise is None:
            if isinstance(self.function, Elementwise):
                measured = [measure_noise(differences, line) for line in range(len(lines))]
            else:
                measured = [measure_noise(self._random(differences))]
            self.noise = np.array([noise for noise, _, _ in measured])
            self.smooth_within = min((distance for _, _, distance in measured), default=1.0)
        differences.smooth_within = self.smooth_within
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
        with np.errstate(invalid="ignore"):
            relative = np.broadcast_to(np.nanmax(noise / np.fmax(spread, noise), axis=1, initial=0.0), len(lines))
        return np.asarray(np.fmax(relative, lines.eps * HONEST_NOISE))

    def steps(self, lines: Lines) -> Array | None:
        """Return the steps that were asked for, for lines of single entries."""
        if isinstance(self.options.step, str):
            if self.options.step != "shi":
                raise ValueError(
                    f'{self.owner}(step): must be a number, x\'s structure or "shi"; got {self.options.step!r}. Pass '
                    f"one of these."
                )
            return None
        steps = self.options.steps_of(self.owner, self.space, self.typical)
        return None if steps is None else steps[lines.index]

    def inward(self) -> Array:
        """Return x's magnitudes, with the signs of where the bounds leave more room."""
        at, bounds = self.space.flat, self.bounds
        return np.where(bounds.high - at >= at - bounds.low, 1.0, -1.0) * np.maximum(np.abs(at), self.typical)

    def seconds(self, lines: Lines, steps: Array | None = None) -> Slopes:
        """Return the second derivatives of a scalar function along lines, (lines,), or raise."""
        if self.options.method == "complex":
            raise ValueError(
                f'{self.owner}(method): must not be "complex" without jac, as it takes first derivatives; got '
                f'{self.options.method!r}. Pass jac, or use method="central" or "adaptive".'
            )
        if len(lines) == 0:
            return Slopes.none(0)
        slopes = self.slopes(lines, steps, order=2)
        self.refuse_nothing(slopes, lines)
        return self.number(slopes)

    def number(self, slopes: Slopes) -> Slopes:
        """Return the slopes of a function that must be scalar, (lines,)."""
        if slopes.value.shape[1] != 1:
            raise ValueError(
                f"{self.owner}(f): must return one number; got an array of shape {self.function.shape}. Use "
                f"fallline.jacobian for functions with several outputs."
            )
        return slopes.map(lambda array: array[:, 0])

    def refuse_nothing(self, slopes: Slopes, lines: Lines) -> None:
        """Raise if no output has a derivative along some line: the question has no answer there.

        With ``full_output=True`` the status says so.
        """
        found = np.isfinite(slopes.value) & ~np.isposinf(slopes.error)
        if self.options.full_output or found.all() or found.any(axis=1).all():
            return
        line = int(np.argmin(found.any(axis=1)))
        place = f" at {self.space.place(int(lines.index[line]))}" if lines.is_coordinates else ""
        if slopes.status[line, 0] == "no room":
            room = max(lines.left[line], lines.right[line])
            raise ValueError(
                f"{self.owner}(bounds): must leave room for a step that rounding does not hide; got {room:.1g}{place}. "
                f"Widen them."
            )
        status = str(slopes.status[line, 0]) if np.isfinite(slopes.value[line, 0]) else "not finite"
        got = f"{NO_DERIVATIVE[status]}{place}".rstrip(",")
        raise ValueError(
            f"{self.owner}(f): must have a derivative at x; got {got}. Choose another point, "
            f"pass bounds, or look at what full_output=True tells."
        )

    def answer(self, slopes: Slopes, layout: Callable[[Array], Any], asymmetry: float | None = None) -> Any:
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
