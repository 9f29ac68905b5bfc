"""Parameter trees: an array, or lists, tuples and dicts of them, nested as the model is.

Every array has a name: the keys and list indices that lead to it, joined by ``/``.
"""

from collections.abc import Callable, Iterator
from typing import Any


def is_groups(params: Any) -> bool:
    """Return whether this is a list of groups in torch's style: dicts that all have the key ``"params"``."""
    return (
        isinstance(params, (list, tuple))
        and len(params) > 0
        and all(isinstance(group, dict) and "params" in group for group in params)
    )


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the name and the leaf for every leaf of a tree; anything but a list, tuple or dict is a leaf."""
    if isinstance(tree, dict):
        for key, child in tree.items():
            yield from leaves(child, (*path, str(key)))
    elif isinstance(tree, (list, tuple)):
        for i, child in enumerate(tree):
            yield from leaves(child, (*path, str(i)))
    else:
        yield "/".join(path) or "0", tree


def numbered(tree: Any, start: int = 0) -> tuple[Any, int]:
    """Return the tree with a number for every leaf, counted from `start`, and the next number. Tuples become lists."""
    if isinstance(tree, dict):
        result: dict[Any, Any] = {}
        for key, child in tree.items():
            result[key], start = numbered(child, start)
        return result, start
    if isinstance(tree, (list, tuple)):
        entries = []
        for child in tree:
            entry, start = numbered(child, start)
            entries.append(entry)
        return entries, start
    return start, start + 1


def rebuild(tree: Any, leaf: Callable[[str], Any]) -> Any:
    """Return a tree of the same containers with a new leaf for each, asked for by its name."""
    return replace(tree, lambda name, _: leaf(name))


def replace(tree: Any, leaf: Callable[[str, Any], Any], path: tuple[str, ...] = ()) -> Any:
    """Return a tree of the same containers with a new leaf for each, asked for by its name and the leaf that was."""
    if isinstance(tree, dict):
        return {key: replace(child, leaf, (*path, str(key))) for key, child in tree.items()}
    if isinstance(tree, (list, tuple)):
        entries = [replace(child, leaf, (*path, str(i))) for i, child in enumerate(tree)]
        if isinstance(tree, list):
            return entries
        return type(tree)(*entries) if hasattr(tree, "_fields") else tuple(entries)
    return leaf("/".join(path) or "0", tree)
