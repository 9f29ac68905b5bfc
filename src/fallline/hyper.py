"""Hyperparameters, declared: a default, a range, and the names of their numbers in a rule of ``csrc/rules.h``.

An optimizer's class lists its hyperparameters as fields, in the order of its arguments::

    class Lion(Optimizer):
        lr: Number = hyper(default=1e-4)
        betas: Numbers = hyper(default=(0.9, 0.99), slots=("b1", "b2"), below=1)

`Declared` makes the signature, the live attributes and the checks out of that.
"""

import inspect
import math
import numbers
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, dataclass_transform

import numpy as np

from fallline.runtime import check_threads

Number = float | Callable[[int], float]
Numbers = tuple[Number, ...]

# What torch.optim's constructors take and what has no counterpart here.
_TORCH_ONLY = {"foreach", "fused", "capturable", "differentiable"}


def _plain(x: Any) -> float | None:
    """Return a real number as Python's own int or float, or None for anything else."""
    if isinstance(x, bool):
        return None
    if isinstance(x, int):
        return x
    return float(x) if isinstance(x, numbers.Real) else None


class Field(ABC):
    """One declared argument: an attribute of the optimizer, and of its groups where they may differ in it."""

    name: str
    live = True  # may be assigned after the optimizer was built
    common = False  # belongs to the base class: the same for all optimizers

    def __init__(self, default: Any, kw_only: bool, in_groups: bool) -> None:
        self.default = default
        self.kw_only = kw_only
        self.in_groups = in_groups

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: type) -> Any:
        if optimizer is None:
            return self
        if not self.in_groups:
            return optimizer._common[self.name]
        given = [settings[self.name] for settings in optimizer._settings]
        if any(value != given[0] for value in given):
            raise AttributeError(
                f"{owner.__name__}.{self.name}: must be the same in all groups to be read here; got "
                f"{', '.join(map(repr, given))}. Read opt.groups[i].{self.name}."
            )
        return given[0]

    def __set__(self, optimizer: Any, value: Any) -> None:
        optimizer._assign(self, value)

    @abstractmethod
    def check(self, owner: str, value: Any) -> Any:
        """Return the value as it is kept, or raise."""

    def numbers(self, value: Any) -> dict[str, Any]:
        """Return the numbers that a checked value without schedules becomes, by their names in the rule."""
        return {}

    def refuse(self, kind: type[Exception], owner: str, must: str, value: Any, cure: str) -> Exception:
        """Return the error for a value that does not do."""
        return kind(f"{owner}({self.name}): must be {must}; got {value!r}. {cure}")


class Hyper(Field):
    """A number, or a tuple of numbers, each of which may be a schedule instead."""

    def __init__(
        self,
        default: Any,
        slots: tuple[str, ...] | None,
        at_least: float,
        above: float | None,
        below: float | None,
        optional: bool,
        infinite: bool,
        narrowed: bool,
        kw_only: bool,
        in_groups: bool,
    ) -> None:
        super().__init__(default, kw_only, in_groups)
        self.slots = slots
        self.at_least, self.above, self.below = at_least, above, below
        self.optional, self.infinite = optional, infinite
        self.narrowed = narrowed

    def __set_name__(self, owner: type, name: str) -> None:
        super().__set_name__(owner, name)
        if self.slots is None:
            self.slots = (name,)

    @property
    def range(self) -> str:
        """Say in words what a number must be."""
        low = f">= {self.at_least:g}" if self.above is None else f"> {self.above:g}"
        high = "" if self.below is None else f" and < {self.below:g}"
        return f"a {'' if self.infinite else 'finite '}number {low}{high}"

    def check(self, owner: str, value: Any) -> Any:
        if value is None and self.optional:
            return None
        if not isinstance(self.default, tuple):
            return self._check_number(owner, value, value)
        n = len(self.default)
        is_tuple = isinstance(value, (tuple, list))
        if not is_tuple or len(value) != n:
            kind = ValueError if is_tuple else TypeError
            raise self.refuse(kind, owner, f"a tuple of {n} numbers", value, f"Pass {self.default!r}, for example.")
        return tuple(self._check_number(owner, number, value) for number in value)

    def _check_number(self, owner: str, number: Any, value: Any) -> Any:
        if callable(number) and not isinstance(number, type):
            return number
        return self.number(owner, number, value)

    def number(self, owner: str, number: Any, value: Any) -> float:
        """Return a number that is in range, or raise; `value` is what the message shows."""
        x = _plain(number)
        if x is not None and self._in_range(x):
            return x
        kind = TypeError if x is None else ValueError
        raise self.refuse(kind, owner, self.range, value, "Pass a number in that range, or a schedule.")

    def scaled(self, owner: str, number: float, factor: float) -> float:
        """Return a number times a factor, which must be in range too."""
        return number if factor == 1 else self.number(owner, factor * number, factor * number)

    def _in_range(self, x: float) -> bool:
        """NaN is in no range, because every comparison with it is false."""
        high_enough = x > self.above if self.above is not None else x >= self.at_least
        low_enough = x < self.below if self.below is not None else x <= sys.float_info.max
        return bool(high_enough and (low_enough or (self.infinite and x == math.inf)))

    def is_scheduled(self, value: Any) -> bool:
        """Return whether the value holds a schedule."""
        return callable(value) or (isinstance(value, tuple) and any(map(callable, value)))

    def at(self, owner: str, value: Any, t: int) -> Any:
        """Return the value with its schedules evaluated after t steps, checked."""
        if isinstance(value, tuple):
            return tuple(self.at(owner, x, t) for x in value)
        if not callable(value):
            return value
        given = value(t)
        if given is None and self.optional:
            return None
        x = given if type(given) is float else _plain(given)
        if x is not None and self._in_range(x):
            return x
        kind = TypeError if x is None else ValueError
        raise self.refuse(kind, owner, self.range, given, f"The schedule {value!r} gave it at t={t}: correct it.")

    def numbers(self, value: Any) -> dict[str, Any]:
        values = value if isinstance(value, tuple) else (value,)
        return dict(zip(self.slots or (), values, strict=True))


class Choice(Field):
    """One of a few values; in the rule it is its index among them."""

    def __init__(
        self, default: Any, among: tuple[Any, ...], slot: str | None, live: bool, kw_only: bool, in_groups: bool
    ) -> None:
        super().__init__(default, kw_only, in_groups)
        self.among = among
        self.slot = slot
        self.live = live

    def check(self, owner: str, value: Any) -> Any:
        if isinstance(value, np.bool_):
            value = bool(value)
        if not any(value is one or (isinstance(value, str) and value == one) for one in self.among):
            kind = ValueError if isinstance(value, type(self.among[0])) else TypeError
            raise self.refuse(kind, owner, f"one of {', '.join(map(repr, self.among))}", value, "Pass one of these.")
        return value

    def numbers(self, value: Any) -> dict[str, Any]:
        return {self.slot: float(self.among.index(value))} if self.slot else {}


class Seed(Field):
    """Where random numbers come from, by SPEC 7: None, an integer or a Generator; kept as 64 bits."""

    live = False

    def check(self, owner: str, value: Any) -> int:
        if isinstance(value, np.random.Generator):
            return int(value.integers(2**64, dtype=np.uint64))
        is_integer = hasattr(value, "__index__") and not isinstance(value, bool)
        if value is not None and not (is_integer and int(value) >= 0):
            kind = ValueError if is_integer else TypeError
            raise self.refuse(kind, owner, "None, an integer >= 0 or a numpy.random.Generator", value, "Pass a seed.")
        return int(np.random.SeedSequence(value).generate_state(1, np.uint64)[0])


class Threads(Field):
    """How many threads to use at most, or None for the process's default."""

    def check(self, owner: str, value: Any) -> int | None:
        return None if value is None else check_threads(f"{owner}({self.name})", value)


def hyper(
    *,
    default: Any,
    slots: tuple[str, ...] | None = None,
    at_least: float = 0.0,
    above: float | None = None,
    below: float | None = None,
    optional: bool = False,
    infinite: bool = False,
    narrowed: bool = False,
    kw_only: bool = False,
    in_groups: bool = True,
) -> Any:
    """Declare a number (or a tuple of numbers) that becomes the rule's hyperparameters named by `slots`.

    `narrowed` marks a number that must not vanish when it is narrowed to float32.
    """
    return Hyper(default, slots, at_least, above, below, optional, infinite, narrowed, kw_only, in_groups)


def choice(
    *,
    default: Any,
    among: tuple[Any, ...] = (False, True),
    slot: str | None = None,
    live: bool = False,
    kw_only: bool = False,
    in_groups: bool = False,
) -> Any:
    """Declare a choice between values; unless `live`, it is fixed when the optimizer is built."""
    return Choice(default, among, slot, live, kw_only, in_groups)


def seed(*, default: None = None, kw_only: bool = True) -> Any:
    """Declare a source of random numbers."""
    return Seed(default, kw_only, in_groups=False)


def threads(*, default: None = None, kw_only: bool = True) -> Any:
    """Declare a number of threads."""
    return Threads(default, kw_only, in_groups=False)


@dataclass_transform(field_specifiers=(hyper, choice, seed, threads))
class Declared:
    """Base of classes whose arguments are declared as fields."""

    _fields: ClassVar[dict[str, Field]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        inherited = {name: field for name, field in cls._fields.items() if isinstance(getattr(cls, name), Field)}
        for field in own.values():
            field.common = Declared in cls.__bases__
        cls._fields = dict(sorted((inherited | own).items(), key=lambda item: (item[1].common, item[1].kw_only)))
        ordered = sorted(cls._fields.values(), key=lambda field: field.kw_only)
        kinds = inspect.Parameter
        cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [kinds("params", kinds.POSITIONAL_OR_KEYWORD)]
            + [
                kinds(f.name, kinds.KEYWORD_ONLY if f.kw_only else kinds.POSITIONAL_OR_KEYWORD, default=f.default)
                for f in ordered
            ]
        )

    @classmethod
    def _bind(cls, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the parameters and the checked value of every field."""
        unknown = [name for name in keywords if name not in cls._fields and name != "params"]
        if unknown:
            torch_only = unknown[0] in _TORCH_ONLY
            cure = "Remove it: a step here is always fused." if torch_only else f"See help({cls.__name__})."
            raise TypeError(
                f"{cls.__name__}: must be given its own keywords ({', '.join(cls._fields)}); got {unknown[0]!r}. {cure}"
            )
        try:
            bound = cls.__signature__.bind(*args, **keywords)  # type: ignore[attr-defined]
        except TypeError as error:
            raise TypeError(
                f"{cls.__name__}: must be called as {cls.__name__}(params, ...); got a call with {error}. "
                f"Pass the parameters first, and each argument once."
            ) from None
        bound.apply_defaults()
        given = dict(bound.arguments)
        params = given.pop("params")
        return params, {name: cls._fields[name].check(cls.__name__, value) for name, value in given.items()}
