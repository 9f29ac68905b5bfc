"""Where a variable lives: a number, an array, or a tree of arrays, seen as one flat vector of doubles."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline import _core
from fallline.trees import leaves, replace

__all__ = ["Leaf", "Space", "as_array", "constant", "kind_of"]

Array = npt.NDArray[Any]

_EPS, _SINGLE_EPS = float(np.finfo(np.float64).eps), float(np.finfo(np.float32).eps)
_KINDS = (np.dtype(np.float32), np.dtype(np.float64))


class Leaf(_core.Block):
    """One number or array of the variable, and its entries in the flat vector.

    Attributes
    ----------
    name : str
        The keys and indices that lead to it, joined by ``/``; ``"0"`` for a variable that is one array.
    shape : tuple of int
    dtype : numpy.dtype
        float32 or float64.
    is_single : bool
        It is float32.
    is_number : bool
        It is a plain number, not an array of shape ().
    start, stop : int
    part : slice
        Its entries in the flat vector.
    """

    __slots__ = ("dtype", "is_number", "is_single", "name", "part")

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], is_number: bool, start: int) -> None:
        self.is_single = dtype == _KINDS[0]
        super().__init__(start, shape, not (is_number or self.is_single))
        self.name, self.dtype, self.is_number = name, dtype, is_number
        self.part = slice(self.start, self.stop)

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how to make it again, in another process."""
        return Leaf, (self.name, self.shape, self.dtype, self.is_number, self.start)

    @property
    def size(self) -> int:
        """Count its entries."""
        return self.stop - self.start

    def index(self, entry: int) -> tuple[int, ...]:
        """Return the index in the array of an entry of the flat vector."""
        return tuple(int(i) for i in np.unravel_index(entry - self.start, self.shape)) if self.shape else ()

    def of(self, flat: Array) -> Any:
        """Return this leaf's part of flat vectors (..., size of all) as (..., *shape); floats in its dtype."""
        array = flat[..., self.part].reshape(self.shape if flat.ndim == 1 else (*flat.shape[:-1], *self.shape))
        if self.is_single and flat.dtype == np.float64:
            with np.errstate(over="ignore"):
                array = array.astype(np.float32)
        return array[()] if self.is_number else array


class Space:
    """The structure of a variable, with a copy of its value.

    Parameters
    ----------
    owner : str
        What messages begin with.
    x : number, array_like, or tree
        A list or tuple of plain numbers is an array, as it is for NumPy; one that holds arrays or dicts is a tree.

    Attributes
    ----------
    flat : ndarray of float64, shape (size,)
        The value. Never handed out.
    leaves : list of Leaf
    base : ndarray
        What `_core.call_moved` copies: the array itself, or `flat`.
    """

    def __init__(self, owner: str, x: Any) -> None:
        self.tree = _arrays(x)
        self.leaves: list[Leaf] = []
        arrays: list[Array] = []

        def take(name: str, value: Any) -> Leaf:
            array = _leaf(owner, self.tree, name, value)
            start = self.leaves[-1].stop if self.leaves else 0
            self.leaves.append(Leaf(name, array.shape, array.dtype, not isinstance(value, np.ndarray), start))
            arrays.append(array)
            return self.leaves[-1]

        self._layout = replace(self.tree, take)  # the tree, of `Leaf`
        _check_names(owner, [leaf.name for leaf in self.leaves])
        self.size = self.leaves[-1].stop if self.leaves else 0
        self.flat = np.concatenate([a.ravel() for a in arrays] or [np.zeros(0)], dtype=np.float64)
        if not np.isfinite(self.flat).all():
            _refuse_infinite(owner, self.tree)
        self.has_single = any(leaf.is_single for leaf in self.leaves)
        self.is_array = isinstance(self.tree, np.ndarray)
        self.base = np.array(arrays[0], order="C") if self.is_array else self.flat.copy()

    @cached_property
    def is_single(self) -> Array:
        """Tell which entries are float32, (size,)."""
        if not self.has_single:
            return constant(False, self.size)
        return np.repeat([leaf.is_single for leaf in self.leaves], [leaf.size for leaf in self.leaves])

    @cached_property
    def eps(self) -> Array:
        """Return the spacing of every entry's numbers at 1, (size,)."""
        return np.where(self.is_single, _SINGLE_EPS, _EPS) if self.has_single else constant(_EPS, self.size)

    @property
    def coarsest(self) -> float:
        """Return the largest spacing of its numbers at 1."""
        return _SINGLE_EPS if self.has_single and self.is_single.any() else _EPS

    @cached_property
    def index(self) -> Array:
        """Return the indices of all entries, (size,); to be read only."""
        return np.arange(self.size)

    def moved(self, flat: Array) -> Space:
        """Return the same structure at another point, rounded to its dtypes."""
        other = copy(self)
        other.flat = self.round(np.array(flat, np.float64))
        other.base = other.flat.astype(self.base.dtype).reshape(self.base.shape)
        return other

    @property
    def layout(self) -> Any:
        """Return the tree of leaves that f's argument shows of a copy of `base`; None where it is the copy."""
        return None if self.is_array else self._layout

    def arrange(self, flat: Array) -> Any:
        """Return (..., size) in the variable's structure and dtypes; leading axes stay, and what is complex or text.

        The result may share memory with what was given.
        """
        return _core.views(self._layout, flat)

    def watch(self, f: Callable[..., Any], args: tuple[Any, ...], flat: Array) -> tuple[Any, Any, bool]:
        """Call f with what a copy of a flat vector shows; return its result, x, and whether the copy is as it was."""
        return _core.call_watched(f, args, self._layout, flat)

    def gather(self, tree: Any) -> tuple[Array, float] | None:
        """Return a tree of float arrays of x's shapes as a flat vector, a copy, and the eps of the coarsest.

        None if it is any other tree: `flatten` says what is wrong, or takes numbers for arrays.
        """
        return _core.gather(self._layout, tree, self.size)

    def fill(self, leaves: list[Any]) -> Any:
        """Return one object for each leaf in the variable's structure."""
        new = iter(leaves)
        return replace(self.tree, lambda *_: next(new))

    def round(self, values: Array, index: Any = slice(None)) -> Array:
        """Return numbers for all entries, or those of `index`, as x's arrays would hold them: float32 ones rounded."""
        if not self.has_single:
            return values
        return np.where(self.is_single[index], values.astype(np.float32).astype(np.float64), values)

    def spread(self, owner: str, tree: Any) -> Array:
        """Return one number for all entries, or a tree of x's structure, as a flat vector of doubles, or raise."""
        if isinstance(tree, (int, float, np.number)):
            return np.full(self.size, _numbers(owner, tree, "iuf"))
        return self.flatten(owner, tree, "a number or of x's structure")

    def flatten(
        self, owner: str, tree: Any, what: str = "of x's structure", stacked: bool = False, kinds: str = "iuf"
    ) -> Array:
        """Return a tree of x's structure as a flat vector, (size,), or raise.

        With `stacked`, arrays have a leading axis more than those of x, and so has the result.
        """
        try:
            given = dict(_alongside(self.tree, tree, ()))
        except _OtherStructure:
            own, names = [leaf.name for leaf in self.leaves], [name for name, _ in leaves(_arrays(tree))]
            raise ValueError(
                f"{owner}: must be {what}, with {_names(own)}; got {_names(names)}. Pass one entry for each of x."
            ) from None
        parts = [np.zeros((1, 0) if stacked else 0)]
        for leaf in self.leaves:
            part = _numbers(owner, given[leaf.name], kinds)
            shape = part.shape[1:] if stacked else part.shape
            if shape != leaf.shape and not (part.size == leaf.size == 1):
                raise ValueError(f"{owner}: must be {what}; got shape {shape} where x has {leaf.shape}. Reshape it.")
            parts.append(part.reshape(-1, leaf.size) if stacked else part.ravel())
        return np.concatenate(parts[1:] or parts, axis=-1)

    def leaf_of(self, entry: int) -> Leaf:
        """Return the leaf that an entry of the flat vector belongs to."""
        return next(leaf for leaf in self.leaves if entry < leaf.stop)

    def label(self, leaf: Leaf) -> str:
        """Return what a reader calls a leaf: its name, or x if it is all of it."""
        return leaf.name if isinstance(self.tree, (dict, list, tuple)) else "x"

    def place(self, entry: int) -> str:
        """Say in words where an entry is: ``x[3]`` or ``W1[2, 0]``."""
        leaf = self.leaf_of(entry)
        name = self.label(leaf)
        index = leaf.index(entry)
        return f"{name}[{', '.join(map(str, index))}]" if index else name


def constant(number: float | bool, n: int) -> Array:
    """Return an array, to be read only, of n times a number, which takes no memory."""
    one = np.asarray(number)
    return np.ndarray(n, one.dtype, one, strides=(0,))


def _arrays(tree: Any) -> Any:
    """Return the tree with every list of plain numbers as an array, and numbers as they are."""
    if isinstance(tree, np.ndarray):
        return tree
    if isinstance(tree, dict):
        return {key: _arrays(child) for key, child in tree.items()}
    if isinstance(tree, (list, tuple)):
        if _is_plain(tree):
            try:
                return np.asarray(tree)
            except ValueError:  # rows of different lengths
                pass
        children = [_arrays(child) for child in tree]
        if isinstance(tree, list):
            return children
        return type(tree)(*children) if hasattr(tree, "_fields") else tuple(children)
    leaf = _detached(tree)
    return np.asarray(leaf) if np.ndim(leaf) else leaf


class _OtherStructure(Exception):
    """A tree is not of the structure that it should have."""


def _alongside(x: Any, tree: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the name of every leaf of x, and what another tree has in its place."""
    if isinstance(x, dict):
        if not isinstance(tree, dict) or set(tree) != set(x):
            raise _OtherStructure
        for key, child in x.items():
            yield from _alongside(child, tree[key], (*path, str(key)))
    elif isinstance(x, (list, tuple)):
        if not isinstance(tree, (list, tuple)) or len(tree) != len(x):
            raise _OtherStructure
        for i, child in enumerate(x):
            yield from _alongside(child, tree[i], (*path, str(i)))
    else:
        if isinstance(_arrays(tree), (dict, list, tuple)):
            raise _OtherStructure
        yield "/".join(path) or "0", tree


def _is_plain(tree: Any) -> bool:
    """Return whether lists hold nothing but numbers, so that NumPy would take them for one array."""
    if isinstance(tree, (list, tuple)):
        return not hasattr(tree, "_fields") and all(map(_is_plain, tree))
    return isinstance(tree, (int, float, complex, np.number, np.bool_))


def _name(tree: Any, name: str) -> str:
    return f"x[{name!r}]" if isinstance(tree, (dict, list, tuple)) else "x"


def _names(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "") if names else "nothing"


def _check_names(owner: str, names: list[str]) -> None:
    twice = (
        next((name for i, name in enumerate(names) if name in names[:i]), None)
        if len(set(names)) < len(names)
        else None
    )
    if twice is not None:
        raise ValueError(
            f"{owner}(x): must have a name of its own for every array (keys are joined by '/'); got {twice!r} twice. "
            f"Rename a key."
        )


def _leaf(owner: str, tree: Any, name: str, value: Any) -> Array:
    """Return a leaf as an array of float32 or float64, or raise."""
    if type(value) is np.ndarray and value.dtype in _KINDS:
        return value
    array = as_array(value)
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    if array.dtype not in _KINDS or isinstance(value, np.ma.MaskedArray):
        cure = (
            "Differentiate by the real and imaginary parts, as two arrays."
            if array.dtype.kind == "c"
            else "Convert it, for example with .astype(numpy.float64)."
        )
        got = "a masked array" if np.ma.isMaskedArray(value) else kind_of(value, array)
        raise TypeError(f"{owner}({_name(tree, name)}): must be float32, float64 or integer numbers; got {got}. {cure}")
    return array


def _refuse_infinite(owner: str, tree: Any) -> None:
    """Raise: one of the leaves is not finite."""
    name, array = next((name, np.asarray(value)) for name, value in leaves(tree) if not np.isfinite(value).all())
    first = np.argwhere(~np.isfinite(array))[0].tolist()
    where = f" at {first}" if first else ""
    raise ValueError(
        f"{owner}({_name(tree, name)}): must be finite; got {array[tuple(first)]}{where}. Choose a point where f is "
        f"defined."
    )


def kind_of(value: Any, array: Array) -> str:
    """Say what a value is that was to be numbers: its type, or that of the array that NumPy makes of it."""
    return type(value).__name__ if array.dtype == object and not isinstance(value, np.ndarray) else str(array.dtype)


def as_array(value: Any) -> Array:
    """Return the array that NumPy makes of a value, with numbers of Python (integers of any size, fractions) as floats.

    It is one of objects where there are others than numbers, or rows of different lengths. Tensors of torch are taken
    out of their graph.
    """
    try:
        array = np.asarray(_detached(value))
    except ValueError:
        return np.asarray(None)
    if array.dtype == object and all(isinstance(number, numbers.Real) for number in array.flat):
        return np.array([_float(number) for number in array.flat]).reshape(array.shape)
    return array


def _detached(value: Any) -> Any:
    return value.detach() if getattr(value, "requires_grad", False) is True else value


def _float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _numbers(owner: str, value: Any, kinds: str) -> Array:
    array = as_array(value)
    if array.dtype.kind not in kinds:
        raise TypeError(
            f"{owner}: must be real numbers; got {kind_of(value, array)}. Pass numbers or arrays of floats."
        )
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
