"""Learning rates, or any other hyperparameter, as pure functions of the step.

A schedule is called with ``t``, the number of steps already done: the first step sees ``t = 0``.

>>> from fallline import schedules
>>> lr = schedules.warmup(1000, schedules.cosine(1e-3, total=50_000))
>>> lr(0), lr(500), lr(1000), lr(51_000)
(0.0, 0.0005, 0.001, 0.0)

It has no state, so resuming, chaining and jumping to any step are right by construction. Beyond its end it stays at its
final value. Schedules are small immutable values: they print as the call that makes them, compare and hash by value,
pickle and copy; ``dataclasses.replace(schedule, total=...)`` makes a changed one. Their first argument is called ``lr``
but serves any hyperparameter. Every value must be finite and >= 0, every length a whole number of steps; a wrong type
raises TypeError, a wrong value ValueError. Optimizers take any callable ``t -> float``, so a function of one's own too.

Only :class:`ReduceOnPlateau` follows a measured quantity; it has state, which it can save and load.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, field, fields
from itertools import pairwise
from math import cos, inf, isfinite, isinf, isnan, pi, sqrt
from typing import Annotated, Any, Literal, dataclass_transform, get_args, get_origin, get_type_hints

__all__ = [
    "ReduceOnPlateau",
    "Schedule",
    "constant",
    "cosine",
    "cosine_restarts",
    "cyclic",
    "exponential",
    "inverse_sqrt",
    "inverse_time",
    "linear",
    "multi_step",
    "one_cycle",
    "piecewise",
    "polynomial",
    "sequence",
    "step",
    "warmup",
    "warmup_stable_decay",
]

# ---- Arguments: the type of a field is its check ---------------------------------------------------------------------


def _check(convert: Callable[[Any], Any], must: str, holds: Callable[[Any], bool], cure: str) -> Any:
    """Make the function that converts an argument, or refuses it, naming where it was found."""

    def check(value: Any, where: str) -> Any:
        kind: type[Exception] = ValueError
        try:
            result = convert(value)
        except (TypeError, OverflowError) as error:  # an int may be too large for a float
            kind = TypeError if isinstance(error, TypeError) else ValueError
        else:
            if holds(result):
                return result
        raise kind(f"{where}: must be {must}; got {value!r}. {cure}")

    return check


def _float(value: Any) -> float:
    plain = value.item() if getattr(value, "ndim", None) == 0 else value  # NumPy scalars and 0-d arrays
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise TypeError
    return float(plain)


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _function_or_float(value: Any) -> Any:
    if hasattr(value, "state_dict"):
        raise TypeError
    return value if callable(value) else _float(value)


def _tuple_of(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert_all(values: Any) -> tuple[Any, ...]:
        if isinstance(values, Mapping | set | frozenset):  # no order, or a half that would be lost
            raise TypeError
        return tuple(convert(value) for value in values)

    return convert_all


def _one_of(*choices: Any) -> Any:
    def convert(value: Any) -> Any:
        if not isinstance(value, type(choices[0])):
            raise TypeError
        return value

    return _check(convert, " or ".join(map(repr, choices)), choices.__contains__, "Pass one of these.")


def _or_none(check: Any) -> Any:
    return lambda value, where: None if value is None else check(value, where)


def _is_rate(x: float) -> bool:
    return 0 <= x < inf


def _is_source(x: Any) -> bool:
    return callable(x) or _is_rate(x)


def _is_increasing(numbers: tuple[int, ...]) -> bool:
    return all(a < b for a, b in pairwise((0, *numbers)))


_rate = _check(_float, "a finite number >= 0", _is_rate, "Pass a plain number such as 1e-3.")
_steps = _check(_int, "a positive integer number of steps", lambda n: n > 0, "Pass an int such as 1000.")
_count = _check(_int, "an integer >= 0", lambda n: n >= 0, "Pass an int such as 10, or 0 for none.")
_clock = _check(_int, "the number of steps done, an integer >= 0", lambda t: t >= 0, "Pass 0 for the first step.")
_result = _check(_float, "a function that returns finite numbers >= 0", _is_rate, "Correct it for this step.")
_PURE = "a pure function of t or a finite number >= 0"
_ALONE = "Pass a schedule such as cosine(1e-3, total=1000); a ReduceOnPlateau has state and works only by itself."

Rate = Annotated[float, _rate]
MaybeRate = Annotated[float | None, _or_none(_rate)]
Factor = Annotated[float, _check(_float, "a finite number > 0", lambda x: 0 < x < inf, "Pass a number such as 0.5.")]
Share = Annotated[float, _check(_float, "a number > 0 and < 1", lambda x: 0 < x < 1, "Pass a number such as 0.1.")]
Steps = Annotated[int, _steps]
MaybeSteps = Annotated[int | None, _or_none(_steps)]
Count = Annotated[int, _count]
Multiple = Annotated[int, _check(_int, "a positive integer", lambda n: n > 0, "Pass 1 for equal cycles, or 2.")]
Flag = Annotated[bool, _one_of(True, False)]
Function = Callable[[int], float]
Source = Annotated[Function | float, _check(_function_or_float, _PURE, _is_source, _ALONE)]
Sources = Annotated[
    Sequence[Function | float],
    _check(_tuple_of(_function_or_float), f"a list, each {_PURE}", lambda x: all(map(_is_source, x)), _ALONE),
]
Rates = Annotated[
    Sequence[float],
    _check(_tuple_of(_float), "a list of finite numbers >= 0", lambda x: all(map(_is_rate, x)), "Pass [1e-2, 1e-3]."),
]
Borders = Annotated[
    Sequence[int],
    _check(_tuple_of(_int), "a strictly increasing list of positive integers", _is_increasing, "Pass [1000, 2000]."),
]


def _check_of(hint: Any) -> Any:
    if get_origin(hint) is Literal:
        return _one_of(*get_args(hint))
    return getattr(hint, "__metadata__", [lambda value, where: value])[0]


class _Checked:
    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for name in (f.name for f in fields(self) if f.init):  # type: ignore[arg-type]
            vars(self)[name] = _check_of(hints[name])(getattr(self, name), f"{type(self).__name__}({name})")

    def _require(self, holds: bool, name: str, must: str, cure: str) -> None:
        if not holds:
            raise ValueError(f"{type(self).__name__}({name}): must be {must}; got {getattr(self, name)!r}. {cure}")


@dataclass_transform(frozen_default=True)
class Schedule(_Checked, ABC):
    """Give a hyperparameter from the step alone: ``schedule(t) -> float``. Base of the pure schedules."""

    def __init_subclass__(cls) -> None:  # each method that dataclass does not write saves time at import
        dataclass(repr=False, eq=False, match_args=False)(cls)

    def __call__(self, t: int) -> float:
        """Return the value for the step that follows `t` steps."""
        if type(t) is not int or t < 0:
            t = _clock(t, f"{type(self).__name__}(...)(t)")
        value = self._value(t)
        if not 0 <= value < inf:
            cure = "Pass gamma <= 1, or final= as a bound."
            raise ValueError(f"{self!r}: must stay finite and >= 0; got {value!r} at t={t}. {cure}")
        return value

    @abstractmethod
    def _value(self, t: int) -> float:
        """Evaluate the formula at an integer ``t >= 0``."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __setattr__(self, name: str, value: object) -> None:
        if name in vars(self) or name not in {f.name for f in fields(self)}:  # type: ignore[arg-type]
            change = f"dataclasses.replace(schedule, {name}=...)"
            raise FrozenInstanceError(f"{type(self).__name__}.{name}: must stay as made; got {value!r}. Use {change}.")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"{type(self).__name__}.{name}: must stay as made; got del. Make another schedule.")


# ---- Pieces of formulas ----------------------------------------------------------------------------------------------


def _between(first: float, last: float, weight: float) -> float:
    """Return exactly `first` at weight 1, exactly `last` at weight 0."""
    return weight * first + (1 - weight) * last


_WEIGHT: dict[str, Callable[[float], float]] = {  # of the first value, at the share p of the way to the last
    "linear": lambda p: 1 - p,
    "cosine": lambda p: (1 + cos(pi * p)) / 2,
    "1-sqrt": lambda p: 1 - sqrt(p),
    "1-square": lambda p: 1 - p * p,
}


def _power(base: float, exponent: float) -> float:
    try:
        power: float = base**exponent
    except OverflowError:
        return inf
    return power


def _at(source: Function | float, t: int, where: str) -> float:
    value: Any = source(t) if callable(source) else source
    return value if type(value) is float and 0 <= value < inf else _result(value, where)


# ---- From one value to another ---------------------------------------------------------------------------------------


class constant(Schedule):
    """Keep one value: ``lr``.

    Parameters
    ----------
    lr : float
        The value at every step.

    Examples
    --------
    >>> constant(0.1)(1000)
    0.1
    """

    lr: Rate

    def _value(self, t: int) -> float:
        return self.lr


class linear(Schedule):
    """Go straight from one value to another: ``(1 - p)·lr + p·final``, ``p = min(t/total, 1)``.

    Follows optax ``linear_schedule(lr, final, total)`` and, on a base rate of 1, torch
    ``LinearLR(start_factor=lr, end_factor=final, total_iters=total)``.

    Parameters
    ----------
    lr, final : float
        First and last value; either may be the larger one.
    total : int
        Steps from the first to the last value.

    Examples
    --------
    >>> linear(1.0, total=4)
    linear(lr=1.0, total=4, final=0.0)
    >>> [linear(1.0, total=4)(t) for t in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    lr: Rate
    total: Steps
    final: Rate = 0.0

    def _value(self, t: int) -> float:
        p = min(t, self.total) / self.total
        return _between(self.lr, self.final, 1 - p)


class polynomial(Schedule):
    """Fall as a power: ``final + (lr - final)·(1 - p)^power``, ``p = min(t/total, 1)``.

    Follows torch ``PolynomialLR(total_iters=total, power=power)``, which always ends at 0, and optax
    ``polynomial_schedule(lr, final, power, total)``.

    Parameters
    ----------
    lr, final : float
        First and last value.
    total : int
        Steps from the first to the last value.
    power : float
        Exponent > 0; with 1 this is :class:`linear`.

    Examples
    --------
    >>> [polynomial(1.0, total=4, power=2)(t) for t in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    lr: Rate
    total: Steps
    power: Factor = 1.0
    final: Rate = 0.0

    def _value(self, t: int) -> float:
        p = min(t, self.total) / self.total
        return _between(self.lr, self.final, (1 - p) ** self.power)


class cosine(Schedule):
    """Fall along half a cosine: ``final + (lr - final)·(1 + cos πp)/2``, ``p = min(t/total, 1)``.

    Loshchilov & Hutter 2017 (arXiv:1608.03983), equation 5. Follows optax ``cosine_decay_schedule(lr, total,
    alpha=final/lr)``, and torch ``CosineAnnealingLR(T_max=total, eta_min=final)`` up to `total`: torch rises after it.

    Parameters
    ----------
    lr, final : float
        First and last value.
    total : int
        Steps from the first to the last value.

    Examples
    --------
    >>> [round(cosine(1.0, total=4)(t), 3) for t in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    lr: Rate
    total: Steps
    final: Rate = 0.0

    def _value(self, t: int) -> float:
        p = min(t, self.total) / self.total
        return _between(self.lr, self.final, (1 + cos(pi * p)) / 2)


class warmup_stable_decay(Schedule):
    """Rise linearly, stay, cool down (WSD): ``start + (lr - start)·t/warmup``; ``lr``; ``final + (lr - final)·w(q)``.

    Here `q` goes from 0 to 1 in the last `cooldown` steps of `total`, and `w` is ``1 - q``, ``(1 + cos πq)/2``,
    ``1 - √q`` or ``1 - q²``. Hu et al. 2024 (arXiv:2404.06395); shapes by Hägele et al. 2024 (arXiv:2405.18392). torch
    and optax have no such schedule; Transformers' ``get_wsd_schedule`` gives these numbers with ``start=0``.

    Parameters
    ----------
    lr : float
        Value of the stable phase.
    total, warmup, cooldown : int
        Steps in all, of the rise (0 for none), and of the cool-down; ``warmup + cooldown <= total``.
    shape : {"linear", "cosine", "1-sqrt", "1-square"}
        Curve of the cool-down.
    start, final : float
        Value at ``t = 0``, if there is a rise, and from ``t = total`` on.

    Examples
    --------
    >>> lr = warmup_stable_decay(1.0, total=10, warmup=2, cooldown=4, shape="1-sqrt")
    >>> [lr(t) for t in (0, 1, 2, 6, 7, 10)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """

    lr: Rate
    total: Steps
    warmup: Count
    cooldown: Steps
    shape: Literal["linear", "cosine", "1-sqrt", "1-square"] = "linear"
    start: Rate = 0.0
    final: Rate = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        least = self.warmup + self.cooldown
        self._require(self.total >= least, "total", f"at least warmup + cooldown = {least}", "Pass the whole length.")

    def _value(self, t: int) -> float:
        if t < self.warmup:
            return _between(self.lr, self.start, t / self.warmup)
        cooling = min(t, self.total) - (self.total - self.cooldown)
        return _between(self.lr, self.final, _WEIGHT[self.shape](max(cooling, 0) / self.cooldown))


# ---- Decay without an end --------------------------------------------------------------------------------------------


class exponential(Schedule):
    """Multiply by a factor every so many steps, smoothly: ``lr·gamma^(t/every)``.

    Follows torch ``ExponentialLR(gamma)`` with ``every=1``, and optax ``exponential_decay(lr, every, gamma,
    staircase=staircase, end_value=final)``.

    Parameters
    ----------
    lr : float
        Value at ``t = 0``.
    gamma : float
        Factor > 0; above 1 the values grow, as for a learning-rate range test.
    every : int
        Steps that one factor takes.
    staircase : bool
        Multiply at once rather than smoothly: the exponent is ``⌊t/every⌋``.
    final : float, optional
        Never fall below this; for ``gamma > 1``, never rise above it.

    Examples
    --------
    >>> [exponential(1.0, gamma=0.25, every=2)(t) for t in range(5)]
    [1.0, 0.5, 0.25, 0.125, 0.0625]
    >>> exponential(1e-7, gamma=1e8, every=100, final=10.0)(5000)
    10.0
    """

    lr: Rate
    gamma: Factor
    every: Steps = 1
    staircase: Flag = False
    final: MaybeRate = None

    def _value(self, t: int) -> float:
        value = self.lr * _power(self.gamma, t // self.every if self.staircase else t / self.every)
        if self.final is None:
            return value
        return max(value, self.final) if self.gamma <= 1 else min(value, self.final)


class inverse_time(Schedule):
    """Fall as one over the time: ``lr/(1 + decay·t/every)``.

    Robbins & Monro 1951. Follows Keras ``InverseTimeDecay(lr, every, decay, staircase)`` and ``lr_decay`` of torch's
    Adagrad. scikit-learn's 'optimal' ``1/(alpha·(t + t0))`` is ``inverse_time(1 / (alpha * t0), decay=1 / t0)``.

    Parameters
    ----------
    lr : float
        Value at ``t = 0``.
    decay : float
        How much the divisor grows in `every` steps, >= 0.
    every : int
        Steps in the unit of time.
    staircase : bool
        Use ``⌊t/every⌋`` for ``t/every``.

    Examples
    --------
    >>> [inverse_time(1.0, decay=1, every=10)(t) for t in (0, 10, 30)]
    [1.0, 0.5, 0.25]
    """

    lr: Rate
    decay: Rate
    every: Steps = 1
    staircase: Flag = False

    def _value(self, t: int) -> float:
        return self.lr / (1 + self.decay * (t // self.every if self.staircase else t / self.every))


class inverse_sqrt(Schedule):
    """Rise linearly, then fall as one over the root (Noam): ``lr·min(n/warmup, √(warmup/n))``, ``n = t + 1``.

    Follows Vaswani et al. 2017 (arXiv:1706.03762), equation 3, which counts steps from 1 and scales by the width of the
    model: ``d_model^-0.5·min(n^-0.5, n·warmup^-1.5)`` is ``inverse_sqrt((d_model * warmup) ** -0.5, warmup)``.
    Transformers' ``get_inverse_sqrt_schedule`` has ``n = t``. torch and optax have no such schedule.

    Parameters
    ----------
    lr : float
        The peak, which step number ``n = warmup`` takes: ``t = warmup - 1``.
    warmup : int
        Steps of the rise; with 1 there is none and the values are ``lr/√n``.

    Examples
    --------
    >>> [inverse_sqrt(0.5, warmup=4)(t) for t in (0, 1, 3, 15, 63)]
    [0.125, 0.25, 0.5, 0.25, 0.125]
    """

    lr: Rate
    warmup: Steps = 1

    def _value(self, t: int) -> float:
        n = t + 1
        return self.lr * min(n / self.warmup, sqrt(self.warmup / n))


# ---- Steps and pieces ------------------------------------------------------------------------------------------------


class step(Schedule):
    """Multiply by a factor at regular steps: ``lr·gamma^⌊t/every⌋``.

    Follows torch ``StepLR(step_size=every, gamma=gamma)``.

    Parameters
    ----------
    lr : float
        Value at ``t = 0``.
    every : int
        Steps between two changes.
    gamma : float
        Factor > 0.

    Examples
    --------
    >>> [step(1.0, every=2, gamma=0.5)(t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    lr: Rate
    every: Steps
    gamma: Factor = 0.1

    def _value(self, t: int) -> float:
        return self.lr * _power(self.gamma, t // self.every)


class multi_step(Schedule):
    """Multiply by a factor at each milestone: ``lr·gamma^k``, `k` the number of milestones ``<= t``.

    Follows torch ``MultiStepLR(milestones, gamma)``; there, a milestone given twice counts twice, here it is an error.

    Parameters
    ----------
    lr : float
        Value at ``t = 0``.
    milestones : sequence of int
        Strictly increasing steps.
    gamma : float
        Factor > 0.

    Examples
    --------
    >>> [multi_step(1.0, [2, 3], gamma=0.5)(t) for t in range(5)]
    [1.0, 1.0, 0.5, 0.25, 0.25]
    """

    lr: Rate
    milestones: Borders
    gamma: Factor = 0.1

    def _value(self, t: int) -> float:
        return self.lr * _power(self.gamma, bisect_right(self.milestones, t))


class piecewise(Schedule):
    """Keep one value after another: ``values[k]`` while ``boundaries[k-1] <= t < boundaries[k]``.

    ``piecewise([lr * factor, lr], [total_iters])`` is torch's ``ConstantLR``. optax ``piecewise_constant_schedule``
    changes at the same steps but takes factors; Keras ``PiecewiseConstantDecay`` changes one step later.

    Parameters
    ----------
    values : sequence of float
        One more than `boundaries`.
    boundaries : sequence of int
        Strictly increasing steps, each the first of a new value.

    Examples
    --------
    >>> [piecewise([0.1, 0.05, 0.01], [2, 4])(t) for t in range(6)]
    [0.1, 0.1, 0.05, 0.05, 0.01, 0.01]
    """

    values: Rates
    boundaries: Borders

    def __post_init__(self) -> None:
        super().__post_init__()
        must = f"one fewer than the {len(self.values)} values"
        self._require(
            len(self.boundaries) == len(self.values) - 1,
            "boundaries",
            must,
            "Pass the first step of each but the first.",
        )

    def _value(self, t: int) -> float:
        return self.values[bisect_right(self.boundaries, t)]


# ---- Cycles ----------------------------------------------------------------------------------------------------------


class cosine_restarts(Schedule):
    """Fall along half a cosine, again and again (SGDR): ``final + (lr - final)·(1 + cos πs/T)/2``.

    Here `s` counts the steps since the last restart, and ``T = period·mult^k`` is the length of cycle ``k = 0, 1, …``.
    Loshchilov & Hutter 2017 (arXiv:1608.03983). Follows torch ``CosineAnnealingWarmRestarts(T_0=period, T_mult=mult,
    eta_min=final)``.

    Parameters
    ----------
    lr : float
        Value at ``t = 0`` and at each restart.
    period : int
        Steps in the first cycle.
    mult : int
        How many times longer each cycle is than the one before.
    final : float
        Value a cycle falls towards; it restarts at the step that would reach it.

    Examples
    --------
    >>> [round(cosine_restarts(1.0, period=2, mult=2)(t), 3) for t in range(7)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    lr: Rate
    period: Steps
    mult: Multiple = 1
    final: Rate = 0.0

    def _value(self, t: int) -> float:
        s, period = (t % self.period if self.mult == 1 else t), self.period
        while s >= period:
            s, period = s - period, period * self.mult
        return _between(self.lr, self.final, (1 + cos(pi * s / period)) / 2)


class one_cycle(Schedule):
    """Rise from `initial` to `lr` and fall to `final`: peak at ``t = pct_start·total - 1``, end at ``t = total - 1``.

    Smith & Topin 2019 (arXiv:1708.07120). Follows torch ``OneCycleLR(max_lr=lr, total_steps=total)``, whose
    ``div_factor`` is ``lr/initial`` and whose ``final_div_factor`` is ``initial/final``; it refuses ``t > total``. Its
    cycled momentum is ``one_cycle(0.85, total, initial=0.95, final=0.95)``. optax ``cosine_onecycle_schedule`` differs:
    peak at ``t = ⌊pct_start·total⌋``, end at ``t = total``.

    Parameters
    ----------
    lr : float
        The peak, which lies between two steps unless ``pct_start * total`` is whole.
    total : int
        Steps in all.
    initial, final : float, optional
        First and last value; ``lr / 25`` and ``initial / 10_000`` if left out.
    pct_start : float
        Share of the steps spent rising, > 0 and < 1.
    shape : {"cosine", "linear"}
        Curve of each phase.
    three_phase : bool
        Fall to `initial` as fast as the rise, then go on to `final`; needs ``pct_start <= 0.5``.

    Examples
    --------
    >>> lr = one_cycle(1.0, total=10, pct_start=0.5, shape="linear")
    >>> lr(0), lr(4), lr(9)
    (0.04, 1.0, 4e-06)
    """

    lr: Rate
    total: Steps
    initial: MaybeRate = None
    final: MaybeRate = None
    pct_start: Share = 0.3
    shape: Literal["cosine", "linear"] = "cosine"
    three_phase: Flag = False

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.pct_start <= 0.5 or not self.three_phase
        self._require(fits, "pct_start", "at most 0.5 with three_phase=True", "Pass a smaller share.")

    def _value(self, t: int) -> float:
        initial = self.lr / 25 if self.initial is None else self.initial
        final = initial / 10_000 if self.final is None else self.final
        rise, end = self.pct_start * self.total - 1, self.total - 1
        t = min(t, end)
        fall = [(2 * rise, initial), (end, final)] if self.three_phase else [(end, final)]
        phases = pairwise([(0, initial), (rise, self.lr), *fall])
        (start, first), (stop, last) = next(phase for phase in phases if t <= phase[1][0])
        p = (t - start) / (stop - start) if stop > start else 1
        return _between(first, last, _WEIGHT[self.shape](p))


class cyclic(Schedule):
    """Go up and down in straight lines, again and again: ``base + (peak - base)·h·scale``.

    The height `h` goes from 0 to 1 in `up` steps and back in `down` steps; `scale` is 1 (triangular), halved after each
    cycle (triangular2), or ``gamma^t`` (exp_range). Smith 2017 (arXiv:1506.01186). Follows torch ``CyclicLR(base_lr,
    max_lr, step_size_up, step_size_down, mode, gamma)``; its momentum is ``cyclic(max_momentum, base_momentum, …)``.

    Parameters
    ----------
    base, peak : float
        Value at the ends and in the middle of a cycle; either may be the larger one.
    up, down : int
        Steps from `base` to `peak` and back; `down` is `up` if left out.
    mode : {"triangular", "triangular2", "exp_range"}
        What becomes of the height.
    gamma : float
        Factor > 0 of one step; only with ``mode="exp_range"``.

    Examples
    --------
    >>> [cyclic(0.0, 1.0, up=2, mode="triangular2")(t) for t in range(9)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25, 0.0]
    """

    base: Rate
    peak: Rate
    up: Steps = 2000
    down: MaybeSteps = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: Factor = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        used = self.gamma == 1 or self.mode == "exp_range"
        self._require(used, "gamma", f"left out with mode={self.mode!r}", "Pass mode='exp_range' to use it.")

    def _value(self, t: int) -> float:
        up, down = self.up, self.down or self.up
        cycle, s = divmod(t, up + down)
        h = s / up if s <= up else (up + down - s) / down
        scale = 0.5**cycle if self.mode == "triangular2" else _power(self.gamma, t)
        return _between(self.peak, self.base, h * scale)


# ---- Made of others --------------------------------------------------------------------------------------------------


class warmup(Schedule):
    """Rise linearly into another schedule: ``start + (schedule(0) - start)·t/steps``, then ``schedule(t - steps)``.

    The schedule's own clock starts after the warm-up: for a run of `T` steps in all, give it ``total = T - steps``.
    Goyal et al. 2017 (arXiv:1706.02677). ``warmup(w, cosine(lr, T - w), start)`` follows optax
    ``warmup_cosine_decay_schedule(start, lr, w, T)`` and torch ``SequentialLR([LinearLR(…), …], milestones=[w])``.

    Parameters
    ----------
    steps : int
        Length of the warm-up.
    schedule : callable or float
        What to warm up into: a schedule, a pure function of `t`, or a value to keep.
    start : float
        Value at ``t = 0``. With 0, as in optax, the first step moves nothing; ``start = lr / steps`` makes it count.
    overlap : bool
        Let the schedule's clock start at once, so that its `total` is the whole run:
        ``start + (schedule(t) - start)·t/steps``, then ``schedule(t)``.

    Examples
    --------
    >>> warmup(4, 1.0)
    warmup(steps=4, schedule=1.0, start=0.0, overlap=False)
    >>> [warmup(4, linear(1.0, total=2))(t) for t in range(7)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 0.5, 0.0]
    """

    steps: Steps
    schedule: Source
    start: Rate = 0.0
    overlap: Flag = False

    def _value(self, t: int) -> float:
        target = _at(self.schedule, t if self.overlap else max(t - self.steps, 0), "warmup(schedule)")
        return _between(target, self.start, min(t, self.steps) / self.steps)


class sequence(Schedule):
    """Run one schedule after another, each on its own clock: ``schedules[k](t - boundaries[k-1])``.

    Follows optax ``join_schedules(schedules, boundaries)`` and torch ``SequentialLR(schedulers, milestones)``.

    Parameters
    ----------
    schedules : sequence of callable or float
        Schedules, pure functions of `t`, or values to keep; one more than `boundaries`.
    boundaries : sequence of int
        Strictly increasing steps; at each the next schedule starts, with its clock at 0.

    Examples
    --------
    >>> lr = sequence([linear(1.0, total=2), 0.25, linear(0.5, total=2)], [2, 3])
    >>> [lr(t) for t in range(6)]
    [1.0, 0.5, 0.25, 0.5, 0.25, 0.0]
    """

    schedules: Sources
    boundaries: Borders

    def __post_init__(self) -> None:
        super().__post_init__()
        must = f"one fewer than the {len(self.schedules)} schedules"
        self._require(
            len(self.boundaries) == len(self.schedules) - 1,
            "boundaries",
            must,
            "Pass the first step of each but the first.",
        )

    def _value(self, t: int) -> float:
        k = bisect_right(self.boundaries, t)
        return _at(self.schedules[k], t - (0, *self.boundaries)[k], f"sequence(schedules)[{k}]")


# ---- With state ------------------------------------------------------------------------------------------------------


@dataclass
class ReduceOnPlateau(_Checked):
    """Reduce the value when a metric has stopped improving: ``current = max(current·factor, min_lr)``.

    After each validation call :meth:`update` with the metric; as a schedule it returns the current value, whatever `t`.
    Follows torch ``ReduceLROnPlateau``, except that a relative threshold works for negative metrics too (there, a
    slightly worse one counts as an improvement). A metric that is NaN or infinite is no improvement and never becomes
    the best, so that a run that diverges has its rate reduced.

    Parameters
    ----------
    lr : float
        Value at the start.
    mode : {"min", "max"}
        Whether the metric should fall (a loss) or rise (an accuracy).
    factor : float
        Factor of one reduction, > 0 and < 1.
    patience : int
        Updates in a row without improvement that are tolerated; the next one reduces.
    threshold : float
        A metric improves if it is better than the best by more than ``threshold·|best|``, or by `threshold` ("abs").
    threshold_mode : {"rel", "abs"}
        Meaning of `threshold`.
    cooldown : int
        Updates after a reduction that do not count as bad.
    min_lr : float
        Never reduce below this; at most `lr`.
    eps : float
        Leave out a reduction that is not larger than this.

    Attributes
    ----------
    current, best : float
        The value in use; the best metric so far, infinite before the first.
    bad_updates, cooldown_left : int
        Updates in a row without improvement; updates of the cool-down still to come.

    Examples
    --------
    >>> plateau = ReduceOnPlateau(1.0, factor=0.5, patience=1)  # then opt.lr = plateau
    >>> [plateau.update(loss) for loss in (3.0, 2.0, 2.0, 2.0)]
    [1.0, 1.0, 1.0, 0.5]
    >>> plateau(4), plateau.best
    (0.5, 2.0)
    """

    lr: Rate
    mode: Literal["min", "max"] = "min"
    factor: Share = 0.1
    patience: Count = 10
    threshold: Rate = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: Count = 0
    min_lr: Rate = 0.0
    eps: Rate = 1e-8
    current: float = field(init=False)
    best: float = field(init=False)
    bad_updates: int = field(init=False, default=0)
    cooldown_left: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.min_lr <= self.lr, "min_lr", f"at most lr={self.lr}", "Pass a smaller number.")
        self.current, self.best = self.lr, inf if self.mode == "min" else -inf

    def __call__(self, t: int) -> float:
        """Return the current value."""
        _clock(t, "ReduceOnPlateau(...)(t)")
        return self.current

    def update(self, metric: float) -> float:
        """Take a new value of the metric into account; return the value in use from now on."""
        metric = _metric(metric, "ReduceOnPlateau.update(metric)")
        self.bad_updates += 1
        if self._improves(metric):
            self.best, self.bad_updates = metric, 0
        if self.cooldown_left > 0:
            self.cooldown_left, self.bad_updates = self.cooldown_left - 1, 0
        if self.bad_updates > self.patience:
            reduced = max(self.current * self.factor, self.min_lr)
            self.current = reduced if self.current - reduced > self.eps else self.current
            self.cooldown_left, self.bad_updates = self.cooldown, 0
        return self.current

    def _improves(self, metric: float) -> bool:
        if not isfinite(metric) or isinf(self.best):
            return isfinite(metric)
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1)
        return metric < self.best - margin if self.mode == "min" else metric > self.best + margin

    def state_dict(self) -> dict[str, float | int]:
        """Return what :meth:`update` changes, as plain numbers; the arguments are not among it."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, float | int]) -> None:
        """Take over what :meth:`state_dict` returned; if it is refused, nothing changes."""
        where = "ReduceOnPlateau.load_state_dict(state)"
        _state(state, where)
        checked = {name: check(state[name], f"{where}[{name!r}]") for name, check in _STATE.items()}
        vars(self).update(checked)


_metric = _check(_float, "a number", lambda x: True, "Pass a plain number, for example float(loss).")
_best = _check(_float, "a number, infinite before the first update", lambda x: not isnan(x), "Load an intact state.")
_STATE = {"current": _rate, "best": _best, "bad_updates": _count, "cooldown_left": _count}
_state = _check(
    dict, f"a dict of {', '.join(_STATE)}", lambda s: s.keys() == _STATE.keys(), "Pass what state_dict() gave."
)
