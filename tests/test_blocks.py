"""Trees as blocks of a flat vector: what is seen of it, and what is copied into it, against NumPy's own slices."""

import gc
import pickle
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest

from fallline import _core
from fallline.space import Space

DEEP = (1, 2, 1, 1, 2, 1, 1, 1, 2)  # more axes than are seen in C


class Pair(NamedTuple):
    left: Any
    right: Any


def tree(dtype=np.float64):
    """Return a tree with every container, a number, an empty array, and one of many axes."""
    ones = np.ones((2, 3), dtype)
    return {
        "a": ones,
        "b": [Pair(np.ones(2), np.ones((0, 2))), (0.5, np.ones(1))],
        "c": np.ones(DEEP),
        "d": np.ones(()),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_views_are_slices_of_the_flat_vector(dtype):
    space = Space("test", tree(dtype))
    flat = np.arange(float(space.size))
    seen = space.arrange(flat)
    assert list(seen) == ["a", "b", "c", "d"]
    assert seen["a"].dtype == dtype
    assert (seen["a"] == flat[:6].reshape(2, 3)).all()
    assert type(seen["b"]) is list
    assert type(seen["b"][0]) is Pair
    assert type(seen["b"][1]) is tuple
    assert (seen["b"][0].left == flat[6:8]).all()
    assert seen["b"][0].right.shape == (0, 2)
    assert seen["b"][1][0] == 8
    assert not isinstance(seen["b"][1][0], np.ndarray)
    assert (seen["c"] == flat[10:18].reshape(DEEP)).all()
    assert isinstance(seen["d"], np.ndarray)
    assert seen["d"] == 18


def test_views_keep_the_flat_vector_alive():
    space = Space("test", {"a": np.ones(2), "b": np.ones((2, 2))})
    seen = space.arrange(np.arange(6.0))["b"]
    assert isinstance(seen.base, np.ndarray)
    assert seen.flags.writeable
    assert (seen == [[2, 3], [4, 5]]).all()


def test_views_have_leading_axes_and_other_dtypes():
    space = Space("test", {"a": np.ones((2, 2)), "b": np.ones(1)})
    stacked = space.arrange(np.arange(15).reshape(3, 5) * 1j)
    assert stacked["a"].shape == (3, 2, 2)
    assert (stacked["b"] == [[4j], [9j], [14j]]).all()
    assert space.arrange(np.array(list("vwxyz")))["b"] == ["z"]
    every_other = np.arange(10.0)[::2]
    assert (space.arrange(every_other)["a"] == [[0, 2], [4, 6]]).all()


def test_a_space_goes_to_another_process():
    space = pickle.loads(pickle.dumps(Space("test", tree(np.float32))))
    flat = np.arange(float(space.size))
    assert space.arrange(flat)["a"].dtype == np.float32
    assert (space.arrange(flat)["c"].ravel() == flat[10:18]).all()


def test_gathering_copies_arrays_and_tells_the_coarsest_precision():
    space = Space("test", {"a": np.ones((2, 2)), "b": [np.ones(3)]})
    double, single = np.arange(4.0).reshape(2, 2) / 3, np.arange(3, dtype=np.float32) / np.float32(3)
    flat, eps = space.gather({"b": [single], "a": double})
    assert eps == np.finfo(np.float32).eps
    np.testing.assert_array_equal(flat, [*double.ravel(), *single])
    double[0, 0] = 9
    assert flat[0] == 0
    assert space.gather({"a": double, "b": [single.astype(float)]})[1] == np.finfo(np.float64).eps


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.ones((2, 3))},
        {"a": np.ones((2, 3)), "b": [np.ones(3)], "c": 1},
        {"a": np.ones((2, 3)), "c": [np.ones(3)]},
        {"a": np.ones((3, 2)).T, "b": [np.ones(3)]},
        {"a": np.ones((3, 2)), "b": [np.ones(3)]},
        {"a": np.ones(6), "b": [np.ones(3)]},
        {"a": np.ones((2, 3), int), "b": [np.ones(3)]},
        {"a": np.ones((2, 3), ">f8"), "b": [np.ones(3)]},
        {"a": np.ones((2, 3)), "b": np.ones(3)},
        {"a": np.ones((2, 3)), "b": (np.ones(3),)},
        {"a": np.ones((2, 3)), "b": [None]},
        {"a": np.ma.ones((2, 3)), "b": [np.ones(3)]},
        None,
    ],
)
def test_gathering_leaves_other_trees_to_those_who_can_say_what_is_wrong(other):
    assert Space("test", {"a": np.ones((2, 3)), "b": [np.ones(3)]}).gather(other) is None


def test_flat_vectors_that_are_too_short_are_refused():
    block = _core.Block(2, (2, 2), True)
    for short in (np.zeros(5), np.zeros(0)):
        with pytest.raises(IndexError):
            _core.views([block], short)
        with pytest.raises(IndexError):
            _core.gather([block], [np.zeros((2, 2))], len(short))
        for look in (_core.norms, _core.uniform, lambda blocks, flat: _core.usual_scales(blocks, flat, 8.0)):
            with pytest.raises(IndexError):
                look([block], short)


def test_blocks_are_weighed_as_numpy_does_it():
    leaves = Space("test", {"a": np.ones((3, 2)), "b": np.zeros((0, 2)), "c": np.ones(1)}).leaves
    flat = np.random.default_rng(0).standard_normal(7)
    assert _core.norms(leaves, flat) == [np.sqrt(flat[:6] @ flat[:6]), 0.0, abs(flat[6])]
    assert _core.uniform(leaves, flat) == [leaves[2]]
    flat[:6] = 0.0, -0.0, 0.0, 0.0, 0.0, 0.0
    assert _core.uniform(leaves, flat) == [leaves[0], leaves[2]]
    flat[5] = 1.0
    assert _core.uniform(leaves, flat) == [leaves[2]]
    with pytest.raises(IndexError):
        _core.norms(leaves, flat.astype(np.float32))


@pytest.mark.parametrize("seed", range(20))
def test_usual_scales_are_magnitudes_and_at_least_a_part_of_the_median(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 40, 4)
    x = {
        str(i): rng.choice([rng.standard_normal(n), np.zeros(n), np.round(rng.normal(0, 2, n))])
        for i, n in enumerate(sizes)
    }
    space = Space("test", {name: np.asarray(part) for name, part in x.items()})

    def middle(values, default):
        others = np.sort(np.abs(values[values != 0]))
        return others[len(others) // 2] if len(others) else default

    usual = middle(space.flat, 1.0)
    expected = [np.maximum(np.abs(part), middle(part, usual) / 8) for part in x.values()]
    assert _core.usual_scales(space.leaves, space.flat, 8.0).tolist() == np.concatenate(expected).tolist()


def test_a_watched_call_tells_whether_its_argument_was_changed():
    space = Space("test", {"a": np.ones((2, 2)), "b": np.ones(1)})
    flat = np.arange(5.0)

    def spoil(x, by):
        x["b"][0] = by
        return "result"

    result, x, is_same = space.watch(spoil, (7.0,), flat)
    assert (result, is_same) == ("result", False)
    assert x["b"] == [7.0]
    assert flat[4] == 4.0
    assert space.watch(spoil, (4.0,), flat)[2]


def test_a_space_goes_when_nobody_has_it():
    gc.disable()
    try:
        space = Space("test", tree())
        gone = weakref.ref(space)
        space.moved(space.flat).arrange(space.flat)
        del space
        assert gone() is None
    finally:
        gc.enable()
