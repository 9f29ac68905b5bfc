"""What the arguments of a function tell: sizes that factors are made of, coefficients, labels, masks.

They are looked for where a caller puts them: in `args`, in the variables that a nested function uses, in a partial's
arguments and in the attributes of the object that a method belongs to. Nothing is called, nothing is changed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

from fallline.causes import Setting
from fallline.space import Space

__all__ = ["describe"]

_AXES = ("rows", "columns")
MOST_CLASSES = 10_000


def describe(f: Any, df: Any, args: tuple[Any, ...], space: Space, value: float) -> Setting:
    """Collect what is known around f and its gradient."""
    setting = Setting(value, {}, {}, {})
    for name, thing in [*_arguments(f, args), *_around(f), *(_around(df) if callable(df) else ())]:
        _add(setting, name, thing)
    for leaf in space.leaves:
        if len(leaf.shape) > 1:
            _add_sizes(setting, space.label(leaf), leaf.shape)
    return setting


def _arguments(f: Any, args: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the arguments after x, by the names that f gives them."""
    try:
        parameters = list(inspect.signature(f).parameters.values())[1:]
    except (TypeError, ValueError):
        parameters = []
    for i, arg in enumerate(args):
        named = i < len(parameters) and parameters[i].kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        )
        yield parameters[i].name if named else f"args[{i}]", arg


def _around(f: Any) -> Iterator[tuple[str, Any]]:
    """Yield the variables that a function carries with it."""
    while isinstance(f, functools.partial):
        yield from f.keywords.items()
        yield from ((f"argument {i}", arg) for i, arg in enumerate(f.args))
        f = f.func
    owner = getattr(f, "__self__", None)
    if owner is not None and not inspect.ismodule(owner):
        yield from getattr(owner, "__dict__", {}).items()
    function = getattr(f, "__func__", f)
    if inspect.isfunction(function):
        yield from inspect.getclosurevars(function).nonlocals.items()
        code = function.__code__
        yield from ((n, function.__globals__[n]) for n in code.co_names if n in function.__globals__)


def _add(setting: Setting, name: str, thing: Any) -> None:
    if isinstance(thing, np.ndarray) and thing.dtype.kind in "biuf" and thing.ndim:
        setting.arrays.setdefault(name, thing)
        _add_sizes(setting, name, thing.shape)
        if thing.dtype.kind in "iu" and thing.size and thing.min() >= 0 and thing.max() < MOST_CLASSES:
            setting.sizes.setdefault(f"classes in {name}", int(thing.max()) + 1)
    elif isinstance(thing, (int, float, np.integer, np.floating)) and type(thing) is not bool:
        setting.numbers.setdefault(name, float(thing))


def _add_sizes(setting: Setting, name: str, shape: tuple[int, ...]) -> None:
    for axis, size in enumerate(shape):
        what = "entries" if len(shape) == 1 else _AXES[axis] if len(shape) == 2 else f"axis {axis}"
        setting.sizes.setdefault(f"{what} of {name}", size)
