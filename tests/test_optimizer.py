"""The public face of every optimizer: trees, groups, live hyperparameters and schedules, gradients, state, copies."""

import collections
import copy
import inspect
import itertools
import pickle
import pydoc
import re
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest

import fallline as fl
from rules import ROWS

REGISTRY = fl.optimizers()
STEPS = 6


def gradients(params, steps=STEPS, seed=0):
    """Return `steps` random gradients in the structure of the parameters."""
    rng = np.random.default_rng(seed)

    def like(tree):
        if isinstance(tree, dict):
            return {key: like(child) for key, child in tree.items()}
        if isinstance(tree, (list, tuple)):
            return [like(child) for child in tree]
        return rng.standard_normal(tree.shape).astype(tree.dtype)

    return [like(params) for _ in range(steps)]


def model(seed=1):
    """Return a model of two precisions, one tensor of which is in Fortran order."""
    rng = np.random.default_rng(seed)
    return {"W": np.asfortranarray(rng.standard_normal((3, 4))), "b": rng.standard_normal(5).astype(np.float32)}


def picture(opt):
    """Return all that a step or an assignment may change, as bytes and numbers."""
    arrays = {f"{name}:{key}": one.tobytes() for name, own in opt.state.items() for key, one in own.items()}
    return arrays | {"steps": opt.steps, "skipped": opt.skipped, "groups": repr(opt.groups)}


def leaves(tree):
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else None
    return [tree] if children is None else [leaf for child in children for leaf in leaves(child)]


def bits(tree):
    return [leaf.tobytes() for leaf in leaves(tree)]


# ---------------------------------------------------------------------------------------------------------------------
# Trees
# ---------------------------------------------------------------------------------------------------------------------


def ones(*shape):
    return np.ones(shape)


class Pair(NamedTuple):
    weight: np.ndarray
    bias: np.ndarray


TREES = [
    pytest.param(ones(2, 3), ["0"], id="array"),
    pytest.param(ones(), ["0"], id="0-d"),
    pytest.param([ones(2), ones(3)], ["0", "1"], id="list"),
    pytest.param((ones(2), ones(3)), ["0", "1"], id="tuple"),
    pytest.param(Pair(ones(2), ones(3)), ["0", "1"], id="namedtuple"),
    pytest.param({"W": ones(2), "b": ones(3)}, ["W", "b"], id="dict"),
    pytest.param(
        {"layer1": {"W": ones(2), "b": ones(3)}, "out": ones(1)}, ["layer1/W", "layer1/b", "out"], id="nested"
    ),
    pytest.param({"l": [ones(2), (ones(3), {"x": ones(4)})]}, ["l/0", "l/1/0", "l/1/1/x"], id="mixed"),
    pytest.param({1: ones(2), (0, 1): ones(3)}, ["1", "(0, 1)"], id="keys"),
    pytest.param({"params": ones(2)}, ["params"], id="not-a-group"),
    pytest.param([{"params": ones(2)}, {"params": [ones(3), ones(1)]}], ["0", "1/0", "1/1"], id="groups"),
    pytest.param({"empty": [], "full": ones(2), "none": {}}, ["full"], id="empty-branches"),
    pytest.param([], [], id="empty"),
    pytest.param({"a": ones(0, 3), "b": ones(2)}, ["a", "b"], id="zero-size"),
    pytest.param([ones(0)], ["0"], id="zero-size-alone"),
]


def arrays_of(params):
    grouped = isinstance(params, list) and params and all(isinstance(g, dict) and "params" in g for g in params)
    return [group["params"] for group in params] if grouped else params


@pytest.mark.parametrize(("params", "names"), TREES)
@pytest.mark.parametrize("rule", ["SGD", "Adam", "LAMB"])
def test_every_tree_has_names_and_is_stepped_in_place(params, names, rule):
    params = copy.deepcopy(params)
    tree = arrays_of(params)
    alone = [np.array(leaf) for leaf in leaves(tree)]
    opt = getattr(fl, rule)(params, lr=0.25, weight_decay=0.5)
    assert list(opt.state) == names
    singles = [getattr(fl, rule)(array, lr=0.25, weight_decay=0.5) for array in alone]
    for grads in gradients(tree, 3):
        opt.step(grads)
        for single, grad in zip(singles, leaves(grads), strict=True):
            single.step(grad)
    assert opt.steps == 3
    assert bits(tree) == bits(alone)
    assert [float(opt.state[name]["t"]) for name in names] == [3.0] * len(names)


def test_a_step_of_gradient_descent_is_the_formula():
    params = model()
    before, grads = copy.deepcopy(params), gradients(params, 1)[0]
    fl.SGD(params, lr=0.25, weight_decay=0.5).step(grads)
    # Powers of two leave one rounding a difference, of the decayed gradient.
    assert np.array_equal(params["W"], before["W"] - 0.25 * (grads["W"] + 0.5 * before["W"]))
    assert np.array_equal(params["b"], before["b"] - np.float32(0.25) * (grads["b"] + np.float32(0.5) * before["b"]))


def test_params_is_what_was_given():
    params = model()
    assert fl.SGD(params).params is params


@pytest.mark.parametrize("as_given", [list, tuple, lambda pair: Pair(*pair)])
@pytest.mark.parametrize("as_params", [list, tuple])
def test_lists_and_tuples_stand_for_each_other(as_params, as_given):
    params = as_params([ones(2), ones(3)])
    fl.SGD(params, lr=0.5).step(as_given([ones(2), ones(3)]))
    assert [p[0] for p in params] == [0.5, 0.5]


def test_names_may_come_in_another_order():
    params = {"a": ones(2), "b": ones(2)}
    fl.SGD(params, lr=1.0).step({"b": np.full(2, 3.0), "a": np.full(2, 5.0)})
    assert (params["a"][0], params["b"][0]) == (-4.0, -2.0)


ABSENT = [
    pytest.param({"l": {"W": ones(2)}, "b": ones(1)}, id="missing-name"),
    pytest.param({"l": {"W": ones(2), "v": None}, "b": ones(1)}, id="none"),
    pytest.param(collections.defaultdict(lambda: ones(2), {"l": {"W": ones(2)}, "b": ones(1)}), id="defaultdict"),
]


@pytest.mark.parametrize("grads", ABSENT)
def test_an_absent_gradient_leaves_the_tensor_and_its_counters_alone(grads):
    params = {"l": {"W": ones(2), "v": ones(2)}, "b": ones(1)}
    opt = fl.AdamW(params, lr=0.5, weight_decay=0.25, ema=0.5)
    opt.step({"l": {"W": ones(2), "v": ones(2)}, "b": ones(1)})
    alone = {key: one.tobytes() for key, one in opt.state["l/v"].items()}
    value = params["l"]["v"].tobytes()
    opt.step(grads)
    assert params["l"]["v"].tobytes() == value
    assert {key: one.tobytes() for key, one in opt.state["l/v"].items()} == alone
    assert [float(opt.state[name]["t"]) for name in opt.state] == [2.0, 1.0, 2.0]
    assert opt.steps == 2


def test_an_absent_branch_leaves_all_of_it_alone():
    params = {"l": {"W": ones(2), "v": [ones(2)]}, "b": ones(1)}
    opt = fl.Adam(params)
    opt.step({"l": None, "b": ones(1)})
    opt.step({"b": ones(1)})
    assert [float(opt.state[name]["t"]) for name in opt.state] == [0.0, 0.0, 2.0]
    assert np.array_equal(params["l"]["W"], ones(2))


def test_a_tensor_that_comes_late_is_corrected_for_its_own_steps():
    late = {"a": ones(3), "b": ones(3)}
    fresh = {"b": ones(3)}
    opt, other = fl.Adam(late, lr=0.1), fl.Adam(fresh, lr=0.1)
    for grads in gradients(late, 3):
        opt.step({"a": grads["a"]})
    for grads in gradients(late, 3):
        opt.step({"b": grads["b"]})
        other.step({"b": grads["b"]})
    assert late["b"].tobytes() == fresh["b"].tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("as_grad", [np.asarray, lambda x: x, float], ids=["array", "numpy-number", "float"])
def test_0_d_parameters_take_numbers(dtype, as_grad):
    x = np.array(3.0, dtype)
    fl.SGD(x, lr=0.5).step(as_grad(dtype(2)))
    assert x == 2.0
    assert x.shape == ()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_a_python_float_is_rounded_to_the_dtype_of_the_0_d_parameter(dtype):
    x, y = np.array(3.0, dtype), np.array(3.0, dtype)
    opt, other = fl.Momentum({"x": [x]}, lr=0.5), fl.Momentum({"x": [y]}, lr=0.5)
    for number in (0.1, -1 / 3):
        opt.step({"x": [number]})
        other.step({"x": [np.array(number, dtype)]})
    assert x.tobytes() == y.tobytes()
    assert opt.state["x/0"]["b"].tobytes() == other.state["x/0"]["b"].tobytes()
    assert x != 3.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("number", [True, False, 2, 0, 2j, "2", np.bool_(True), np.int64(2), np.complex128(2)])
def test_0_d_parameters_take_no_other_numbers(dtype, number):
    x = np.array(3.0, dtype)
    opt = fl.Adam(x, lr=0.5)
    opt.step(np.array(1.0, dtype))
    before = bits([x]), picture(opt)
    with pytest.raises(TypeError, match=r"grads\['0'\]: must (be a NumPy array or None|have the parameter's dtype)"):
        opt.step(number)
    assert (bits([x]), picture(opt)) == before


def test_parameters_may_be_edited_between_steps():
    x, y = ones(3), ones(3)
    opt, other = fl.Momentum(x, lr=0.5, momentum=0.5), fl.Momentum(y, lr=0.5, momentum=0.5)
    opt.step(ones(3))
    other.step(ones(3))
    x[1] = 7.0
    y[1] = 7.0
    for _ in range(2):
        opt.step(x.copy())
        other.step(y.copy())
    by_hand, b = 7.0, 1.0
    for _ in range(2):
        b = 0.5 * b + by_hand
        by_hand -= 0.5 * b
    assert x[1] == by_hand
    assert np.array_equal(x, y)


def fortran_ones(*shape, dtype=np.float64):
    return np.ones(shape, dtype, order="F")


# How a parameter is made, the attribute that is set in place, and its new value.
CHANGES = [
    pytest.param(lambda: ones(4, 3), "shape", (2, 6), id="C"),
    pytest.param(lambda: ones(4, 3), "shape", (3, 4), id="C-transposed-shape"),
    pytest.param(lambda: ones(4, 3), "shape", (4, 3, 1), id="C-axis-more"),
    pytest.param(lambda: ones(4, 3), "shape", (12,), id="C-flat"),
    pytest.param(lambda: ones(1), "shape", (), id="0-d"),
    pytest.param(lambda: fortran_ones(4, 3), "shape", (4, 3, 1), id="F-still-F"),
    pytest.param(lambda: fortran_ones(4, 3), "shape", (2, 2, 3), id="F-reshaped-away"),
    pytest.param(lambda: fortran_ones(4, 3), "shape", (2, 2, 1, 3), id="F-reshaped-away-4-d"),
    pytest.param(lambda: np.ones((4, 6))[:, ::2], "shape", (2, 2, 3), id="strided"),
    pytest.param(lambda: np.ones((4, 6))[::-1, ::2], "shape", (2, 2, 3, 1), id="strided-reversed"),
    pytest.param(lambda: ones(4, 3), "strides", (8, 32), id="strides-C"),
    pytest.param(lambda: fortran_ones(4, 3), "strides", (24, 8), id="strides-F"),
    pytest.param(lambda: ones(3, 3), "strides", (8, 24), id="strides-transposed"),
    pytest.param(lambda: ones(4, 3), "dtype", np.dtype(np.int64), id="dtype"),
    pytest.param(lambda: ones(4, 3), "dtype", np.dtype(np.float32), id="dtype-and-shape"),
    pytest.param(lambda: np.ones(3, np.float16), "dtype", np.dtype(ml_dtypes.bfloat16), id="dtype-of-the-other-half"),
]
CHANGED = re.escape(
    "params['x']: must keep the memory, shape, strides and dtype that the optimizer was built with; got an array that "
    "was changed since. Build a new optimizer for it."
)


@pytest.mark.filterwarnings("ignore:Setting the .* on a NumPy array:DeprecationWarning")
@pytest.mark.parametrize(("make", "attribute", "value"), CHANGES)
def test_a_parameter_changed_in_place_is_refused_until_it_is_changed_back(make, attribute, value):
    """Its states stay as they were built, and their elements would belong to others of the parameter's."""
    x, y = make(), ones(2)
    old, like_old = getattr(x, attribute), np.ones(x.shape, x.dtype)
    opt = fl.Adam({"y": y, "x": x}, lr=0.5, ema=0.5)
    x_twin, y_twin = make(), ones(2)
    twin = fl.Adam({"y": y_twin, "x": x_twin}, lr=0.5, ema=0.5)
    for one in (opt, twin):
        one.step({"x": like_old, "y": ones(2)})
    setattr(x, attribute, value)
    assert getattr(x, attribute) == value
    before = bits([x, y]), picture(opt)
    for grad in (np.ones(x.shape, x.dtype), like_old, x.copy(), np.ones(x.shape, np.float32)):
        with pytest.raises(RuntimeError, match=CHANGED):
            opt.step({"y": ones(2), "x": grad})
        assert (bits([x, y]), picture(opt)) == before
        assert getattr(x, attribute) == value
    for one in (opt, twin):
        one.step({"x": None, "y": ones(2)})
    assert bits([x]) == before[0][:1]
    setattr(x, attribute, old)
    for one in (opt, twin):
        one.step({"x": like_old, "y": ones(2)})
    assert opt.state["x"]["t"] == 2.0
    assert np.array_equal(x, x_twin)
    assert bits([y]) == bits([y_twin])
    assert picture(opt) == picture(twin)


@pytest.mark.filterwarnings("ignore:Setting the .* on a NumPy array:DeprecationWarning")
def test_a_parameter_changed_in_place_does_not_hinder_a_frozen_group():
    x, y = np.arange(12.0).reshape(4, 3), ones(2)
    opt = fl.Adam([{"params": {"x": x}}, {"params": {"y": y}}], lr=0.5)
    opt.groups[0].frozen = True
    x.shape = (2, 6)
    before = x.tobytes()
    opt.step([{"x": ones(2, 6)}, {"y": ones(2)}])
    assert x.tobytes() == before
    assert [float(own["t"]) for own in opt.state.values()] == [0.0, 1.0]


@pytest.mark.filterwarnings("ignore:Setting the .* on a NumPy array:DeprecationWarning")
def test_a_shape_set_back_keeps_all_that_belongs_to_the_parameter(tmp_path):
    """A parameter that was reshaped for a while is averaged, copied and saved as one that never was."""
    x = np.arange(12.0).reshape(4, 3)
    opt = fl.Momentum({"x": x}, lr=0.5, momentum=0.5, ema=0.5)
    opt.step({"x": ones(4, 3)})
    x.shape = (2, 6)
    with pytest.raises(RuntimeError, match=CHANGED):
        opt.step({"x": ones(2, 6)})
    x.shape = (4, 3)
    opt.step({"x": ones(4, 3)})
    assert opt.averaged()["x"].shape == (4, 3)
    opt.save(tmp_path / "run.npz")
    loaded = fl.Momentum({"x": np.zeros((4, 3))}, ema=0.5)
    loaded.load(tmp_path / "run.npz")
    twin = copy.deepcopy(opt)
    for one in (opt, loaded, twin):
        one.step({"x": ones(4, 3)})
    # b is 1, then 1.5, then 1.75: half of their sum is exact in all of these numbers.
    assert np.array_equal(x, np.arange(12.0).reshape(4, 3) - 2.125)
    assert bits([loaded.params, loaded.averaged()]) == bits([opt.params, opt.averaged()])
    assert bits([twin.params, twin.averaged()]) == bits([opt.params, opt.averaged()])


@pytest.mark.filterwarnings("ignore:Setting the .* on a NumPy array:DeprecationWarning")
def test_a_new_optimizer_takes_a_parameter_that_was_changed_in_place():
    x = ones(4, 3)
    fl.SGD(x, lr=1.0).step(ones(4, 3))
    x.shape = (2, 6)
    grad = np.arange(12.0).reshape(2, 6)
    fl.SGD(x, lr=1.0).step(grad)
    assert np.array_equal(x, -grad)


def test_memory_mapped_parameters(tmp_path):
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(4,))
    fl.SGD(x, lr=0.5).step(np.ones(4, np.float32))
    x.flush()
    assert np.array_equal(np.fromfile(tmp_path / "x", np.float32), np.full(4, -0.5))


def test_a_gradient_may_be_broadcast_read_only_and_reused():
    x = ones(2, 3)
    grad = np.broadcast_to(np.array([1.0, 2.0, 3.0]), (2, 3))
    opt = fl.SGD(x, lr=0.5)
    for _ in range(2):
        opt.step(grad)
    assert np.array_equal(x, [[0, -1, -2]] * 2)


def test_interleaved_views_do_not_overlap():
    """Parameters and gradients may be disjoint columns of one array."""
    table = np.arange(30.0).reshape(5, 6)
    expected = table.copy()
    expected[:, 0] -= table[:, 3]
    expected[:, 1] -= table[:, 4]
    fl.SGD([table[:, 0], table[:, 1]], lr=1.0).step([table[:, 3], table[:, 4]])
    assert np.array_equal(table, expected)


def test_a_gradient_that_starts_where_a_disjoint_one_did_is_looked_at_again():
    buffer = np.arange(20.0)
    opt = fl.SGD(buffer[1::2], lr=1.0)
    opt.step(buffer[0::2])
    with pytest.raises(ValueError, match="must not share memory"):
        opt.step(buffer[:10])


def test_one_gradient_may_serve_two_parameters():
    shared, params = ones(3), [ones(3), ones(3)]
    fl.SGD(params, lr=0.5).step([shared, shared])
    assert np.array_equal(params, np.full((2, 3), 0.5))


REPLACED = r"params\['W'\]: must be the array that the optimizer was built with; got another, put in its place"
SPEAKING = [
    pytest.param(lambda opt, path: opt.averaged(), id="averaged"),
    pytest.param(lambda opt, path: opt.grads, id="grads"),
    pytest.param(lambda opt, path: opt.save(path), id="save"),
    pytest.param(lambda opt, path: opt.load(path), id="load"),
    pytest.param(lambda opt, path: pickle.dumps(opt), id="pickle"),
    pytest.param(lambda opt, path: copy.deepcopy(opt), id="deepcopy"),
]


@pytest.mark.parametrize("speak", SPEAKING)
def test_a_container_with_another_array_is_not_mistaken_for_the_optimizers(speak, tmp_path):
    """Steps go to the arrays that the optimizer was built with; what speaks of others is refused."""
    params = {"b": np.zeros(2), "W": np.zeros(3)}
    built = params["W"]
    opt = fl.SGD(params, lr=1.0, ema=0.5)
    opt.step({"W": ones(3)})
    opt.save(tmp_path / "old.npz")
    content = (tmp_path / "old.npz").read_bytes()
    params["W"] = np.full(3, 7.0)
    before = bits(params), picture(opt)
    with pytest.raises(RuntimeError, match=REPLACED):
        speak(opt, tmp_path / "old.npz")
    assert (bits(params), picture(opt)) == before
    assert (tmp_path / "old.npz").read_bytes() == content
    opt.step({"W": ones(3)})
    assert np.array_equal(built, np.full(3, -2.0))
    assert np.array_equal(params["W"], np.full(3, 7.0))
    params["W"] = built  # put back
    speak(opt, tmp_path / "old.npz")


def test_a_container_with_an_array_more_is_refused_or_does_not_matter():
    params = {"W": np.zeros(3)}
    opt = fl.SGD(params, lr=1.0, ema=0.5)
    params["later"] = ones(2)
    for speak in (lambda: opt.averaged(), lambda: opt.grads, lambda: copy.deepcopy(opt).averaged()):
        try:
            found = speak()
        except RuntimeError as error:
            assert "later" in str(error)  # noqa: PT017 - saying so is the other right answer
        else:
            assert np.array_equal(found["W"], np.zeros(3))


def test_names_not_their_order_decide_what_is_whose():
    params = {"a": np.zeros(2), "b": np.zeros(2), "c": np.zeros(3)}
    opt = fl.SGD(params, lr=1.0, ema=0.0)
    opt.step({"a": ones(2), "b": np.full(2, 2.0), "c": np.full(3, 3.0)})
    params["a"] = params.pop("a")  # now the last
    assert {name: array.tolist() for name, array in opt.averaged().items()} == {
        name: array.tolist() for name, array in params.items()
    }
    opt.grads["c"][...] = np.ones(3)
    opt.step()
    assert params["c"].tolist() == [-4.0] * 3


# ---------------------------------------------------------------------------------------------------------------------
# Groups
# ---------------------------------------------------------------------------------------------------------------------


def test_groups_have_their_own_hyperparameters():
    a, b = ones(2), ones(2)
    opt = fl.SGD([{"params": a, "lr": 0.5, "weight_decay": 1.0}, {"params": {"b": b}, "maximize": True}], lr=0.25)
    opt.step([ones(2), {"b": ones(2)}])
    assert a[0] == 1 - 0.5 * (1 + 1.0)
    assert b[0] == 1 + 0.25
    assert [group.lr for group in opt.groups] == [0.5, 0.25]
    assert [group.weight_decay for group in opt.groups] == [1.0, 0.0]
    assert opt.params[0] is a
    assert opt.params[1]["b"] is b


def test_a_single_tree_is_one_group():
    opt = fl.Adam([ones(2), ones(2)], lr=0.5)
    assert len(opt.groups) == 1
    opt.groups[0].lr = 0.125
    assert opt.lr == 0.125


def test_groups_may_be_a_tuple_and_may_be_empty():
    opt = fl.SGD(({"params": []}, {"params": [ones(1)], "lr": 0.5}))
    opt.step([[], [ones(1)]])
    assert opt.params[1][0] == 0.5


def test_a_branch_of_groups_may_be_left_out():
    a, b = ones(2), ones(2)
    fl.SGD([{"params": [a]}, {"params": [b]}], lr=0.5).step([None, [ones(2)]])
    assert (a[0], b[0]) == (1.0, 0.5)


def test_assigning_to_the_optimizer_reaches_all_groups():
    opt = fl.SGD([{"params": ones(1), "lr": 0.5}, {"params": ones(1)}], lr=0.25)
    opt.lr = 0.125
    assert [group.lr for group in opt.groups] == [0.125, 0.125]
    opt.groups[1].lr = 1.0
    opt.step([ones(1), ones(1)])
    assert [float(p[0]) for p in opt.params] == [1 - 0.125, 0.0]


def test_lr_scale_multiplies_the_rate_and_a_schedule_of_it():
    opt = fl.SGD([{"params": ones(1), "lr_scale": 0.5}, {"params": ones(1)}], lr=lambda t: 0.5 / (1 + t))
    opt.step([ones(1), ones(1)])
    opt.groups[0].lr_scale = 0.25
    opt.step([ones(1), ones(1)])
    assert float(opt.params[0][0]) == 1 - 0.5 * 0.5 - 0.25 * 0.25
    assert float(opt.params[1][0]) == 1 - 0.5 - 0.25


@pytest.mark.parametrize("name", REGISTRY)
def test_a_rate_scaled_to_zero_makes_no_number_that_is_not_finite(name):
    params = ones(3)
    opt = None
    try:
        opt = REGISTRY[name]([{"params": params, "lr_scale": 0.0}])
        for grads in gradients(params, 3):
            opt.step([grads])
    except ValueError as error:
        assert name == "ftrl", error  # noqa: PT017 - the one rule that divides by the rate
        assert "FTRL(lr): must be a finite number > 0; got 0.0" in str(error)  # noqa: PT017
    assert (opt is None) == (name == "ftrl")
    assert np.isfinite(params).all()
    if opt is not None:
        assert opt.steps == 3
        assert all(np.isfinite(array).all() for array in opt.state["0"].values())


@pytest.mark.parametrize(("rule", "late"), [("FTRL", 5e-324), ("SGD", 1e308)], ids=["underflow", "overflow"])
def test_a_scheduled_rate_is_checked_after_it_was_scaled(rule, late):
    """As a rate that is constant is, when it is assigned."""
    x = ones(3)
    scale = 0.25 if rule == "FTRL" else 4.0
    opt = getattr(fl, rule)([{"params": x, "lr_scale": scale}], lr=lambda t: 0.5 if t == 0 else late)
    opt.step([ones(3)])
    before = x.tobytes(), picture(opt)
    with pytest.raises(ValueError, match=rf"{rule}\(lr\): must be a finite number"):
        opt.step([ones(3)])
    assert (x.tobytes(), picture(opt)) == before


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_frozen_group_is_left_alone_and_thaws(row):
    params = [np.linspace(1, 2, 5), np.linspace(-2, -1, 5)]
    opt = getattr(fl, row.cls)([{"params": p} for p in params], ema=0.5, **row.keywords)
    other_params = [p.copy() for p in params]
    other = getattr(fl, row.cls)([{"params": p} for p in other_params], ema=0.5, **row.keywords)
    opt.groups[1].frozen = True
    for i, grads in enumerate(gradients(params)):
        opt.groups[1].frozen = i < 3
        opt.step(grads)
        other.step([grads[0], None if i < 3 else grads[1]])
    assert bits(params) == bits(other_params)
    assert picture(opt) | {"groups": 0} == picture(other) | {"groups": 0}
    assert float(opt.state["1"]["t"]) == STEPS - 3


def test_a_frozen_group_may_hold_what_cannot_be_stepped():
    """What is frozen is not written: it may be read-only, and its gradient may hold NaN."""
    a, b = ones(2), ones(2)
    opt = fl.SGD([{"params": a}, {"params": b, "frozen": True}], lr=0.5, clip_norm=1.0)
    b.flags.writeable = False
    opt.step([np.array([3.0, 4.0]), np.full(2, np.nan)])
    assert np.allclose(a, 1 - 0.5 * np.array([0.6, 0.8]), rtol=1e-15)
    assert np.array_equal(b, ones(2))


def test_a_group_shows_its_settings_and_can_be_copied():
    opt = fl.SGD([{"params": ones(1), "lr": 0.5}], momentum=0.25)
    text = repr(opt.groups[0])
    assert text.startswith("Group(")
    for part in ("lr=0.5", "momentum=0.25", "lr_scale=1.0", "frozen=False", "maximize=False"):
        assert part in text
    assert copy.copy(opt.groups[0]).lr == 0.5


# ---------------------------------------------------------------------------------------------------------------------
# Live hyperparameters and schedules
# ---------------------------------------------------------------------------------------------------------------------


# What begins a state, and what a variant of a rule does not look at.
WITHOUT_EFFECT = {
    ("rprop", "lr", None),
    ("radam-never-rectified", "betas", 1),
    ("radam-never-rectified", "eps", None),
    ("signum-without-momentum", "momentum", None),
}


def live_fields(row):
    """Return (name, index in a tuple or None) of all hyperparameters of a row that act after the first step."""
    for name, value in row.keywords.items():
        places = range(len(value)) if isinstance(value, tuple) else [None]
        numbers = not isinstance(value, (bool, str)) and value != 0 and name != "initial_accumulator_value"
        yield from ((name, i) for i in places if numbers and (row.id, name, i) not in WITHOUT_EFFECT)


FIELDS = [
    pytest.param(row, name, i, id=f"{row.id}-{name}{'' if i is None else i}")
    for row in ROWS
    for name, i in live_fields(row)
]


def changed(row, name, i):
    """Return the value of a hyperparameter, or of entry i of one, after it changed."""
    value = row.keywords[name]
    other = {"etas": (0.4, 1.4), "step_sizes": (0.003, 0.02), "t0": 0.0, "warmup_steps": 9}
    if i is None:
        return other.get(name, value * 0.75)
    return tuple(other.get(name, tuple(x * 0.75 for x in value))[k] if k == i else x for k, x in enumerate(value))


def run(row, keywords, assign=lambda t, opt: None):
    params = {"W": np.linspace(-2, 3, 12).reshape(3, 4), "b": np.linspace(1, 2, 5, dtype=np.float32)}
    opt = getattr(fl, row.cls)(params, **keywords)
    for t, grads in enumerate(gradients(params, 8)):
        assign(t, opt)
        opt.step(grads)
    return bits(params), picture(opt) | {"groups": 0}


@pytest.mark.parametrize(("row", "name", "i"), FIELDS)
def test_every_hyperparameter_is_live_and_takes_a_schedule(row, name, i):
    """An assignment before step t and a schedule that changes at t give the same bits, which a constant does not."""
    before, after = row.keywords[name], changed(row, name, i)
    constant = run(row, row.keywords)
    assigned = run(row, row.keywords, lambda t, opt: setattr(opt, name, after) if t == 3 else None)
    if i is None:
        schedule = lambda t: before if t < 3 else after  # noqa: E731
    else:
        entry = lambda t: before[i] if t < 3 else after[i]  # noqa: E731
        schedule = (*before[:i], entry, *before[i + 1 :])
    scheduled = run(row, row.keywords | {name: schedule})
    assert scheduled == assigned
    assert assigned != constant


WITHOUT_HISTORY = [row for row in ROWS if row.cls not in ("ScheduleFreeSGD", "ScheduleFreeAdamW", "Rprop")]


@pytest.mark.parametrize("row", WITHOUT_HISTORY, ids=lambda row: row.id)
def test_a_schedule_of_the_rate_enters_the_formula(row):
    """The literal reference, handed another rate at each step: t steps were done when step t+1 asks for its rate."""
    p = np.linspace(-2, 3, 7)
    truth, state = p.copy(), row.start(p)
    opt = getattr(fl, row.cls)(p, **row.keywords | {"lr": lambda t: row.keywords["lr"] / (1 + t)})
    for t, g in enumerate(gradients(p)):
        opt.step(g)
        if row.cls == "FTRL" and t > 0:
            # The paper's sigma is 1/eta of this step less 1/eta of the one before, each with the rate of its own step;
            # the reference takes both with the rate of this step: 1/lr grew by 1/row's lr.
            root = np.sqrt(state["n"]) + row.keywords.get("beta", 0.0)
            state["z"] = state["z"] - root / row.keywords["lr"] * truth
        truth = row.reference(truth, g, state, t + 1, **row.keywords | {"lr": row.keywords["lr"] / (1 + t)})
    # 4 ulp a step of the largest value met, doubled for the cancellation in second moments and ratios.
    np.testing.assert_allclose(p, truth, rtol=0, atol=STEPS * 8 * np.spacing(np.abs(truth).max() + 3))


def test_a_schedule_is_asked_for_the_number_of_steps_done():
    asked = []
    x = ones(2)
    opt = fl.SGD(x, lr=lambda t: asked.append(t) or 0.5, nonfinite="skip")
    asked.clear()
    seen = []
    for grad in (1.0, np.nan, 1.0, 1.0):
        opt.step(np.full(2, grad))
        seen.append(asked[-1])
        asked.clear()
    assert seen == [0, 1, 1, 2]
    assert all(type(t) is int for t in seen)
    assert (opt.steps, opt.skipped) == (3, 1)


def test_a_schedule_counts_the_steps_of_the_optimizer_not_of_a_tensor():
    params = {"a": ones(1), "b": ones(1)}
    opt = fl.SGD(params, lr=lambda t: 2.0**-t)
    opt.step({"a": ones(1)})
    opt.step({"b": ones(1)})
    assert (params["a"][0], params["b"][0]) == (0.0, 0.5)


OPTIONS = [
    pytest.param({"clip_norm": lambda t: 5.0 / (t + 1)}, [5.0, 2.5, 5 / 3], id="clip_norm"),
    pytest.param({"clip_value": lambda t: 3.0 - t}, [np.hypot(3, 3), np.hypot(2, 2), np.hypot(1, 1)], id="clip_value"),
    pytest.param({"grad_scale": lambda t: 2.0**-t}, [50.0, 25.0, 12.5], id="grad_scale"),
]


@pytest.mark.parametrize(("options", "lengths"), OPTIONS)
def test_schedules_of_options(options, lengths):
    x = np.zeros(2)
    opt = fl.SGD(x, lr=1.0, **options)
    moved = []
    for _ in range(3):
        before = x.copy()
        opt.step(np.array([30.0, 40.0]))
        moved.append(np.hypot(*(x - before)))
    np.testing.assert_allclose(moved, lengths, rtol=1e-14)  # a few roundings


def test_a_schedule_of_an_option_may_switch_it_off():
    """None between bounds, whatever the option is by itself; the first step may be one without."""
    grad = np.array([30.0, 40.0])
    for option, lengths in (("clip_norm", [50.0, 5.0, 50.0, 5.0]), ("clip_value", [50.0, np.hypot(5, 5)] * 2)):
        x = np.zeros(2)
        opt = fl.SGD(x, lr=1.0, **{option: lambda t: 5.0 if t % 2 else None})
        for t, length in enumerate(lengths):
            before = x.copy()
            assert opt.current(option) == (5.0 if t % 2 else None)
            opt.step(grad)
            np.testing.assert_allclose(np.hypot(*(x - before)), length, rtol=1e-14)  # a few roundings


def test_a_schedule_of_ema_may_switch_it_off():
    """Without a decay, the average is the weights."""
    x = np.zeros(1)
    opt = fl.SGD(x, lr=1.0, ema=lambda t: 0.5 if t in (1, 3) else None)
    found = []
    for _ in range(4):
        opt.step(np.array([-1.0]))
        found.append(opt.averaged()[0])
    assert found == [1.0, 0.5 * 1 + 0.5 * 2, 3.0, 0.5 * 3 + 0.5 * 4]


def test_an_option_that_must_be_a_number_cannot_be_switched_off():
    opt = fl.SGD(ones(2), lr=1.0, grad_scale=lambda t: None if t else 1.0)
    opt.step(ones(2))
    with pytest.raises(TypeError, match=r"SGD\(grad_scale\): must be a finite number > 0; got None\. The schedule"):
        opt.step(ones(2))
    assert opt.steps == 1


def test_a_schedule_of_ema():
    x = np.zeros(1)
    opt = fl.SGD(x, lr=1.0, ema=lambda t: 1 - 2.0**-t)  # the decays of steps 2, 3, 4 are 1/2, 3/4, 7/8
    expected = None
    for t in range(4):
        opt.step(np.array([-1.0]))
        expected = x[0] if t == 0 else (1 - 2.0**-t) * expected + 2.0**-t * x[0]
        assert opt.averaged()[0] == expected


def test_options_are_live():
    x = np.zeros(2)
    opt = fl.SGD(x, lr=1.0)
    opt.clip_norm = 5.0
    opt.step(np.array([-30.0, -40.0]))
    np.testing.assert_allclose(x, [3, 4], rtol=1e-15)
    opt.clip_norm, opt.clip_value = None, 10.0
    opt.step(np.array([-30.0, -40.0]))
    np.testing.assert_allclose(x, [13, 14], rtol=1e-15)
    opt.clip_value, opt.grad_scale, opt.maximize = None, 0.1, True
    opt.step(np.array([-30.0, -40.0]))
    np.testing.assert_allclose(x, [10, 10], rtol=1e-14)
    opt.nonfinite = "skip"
    opt.step(np.array([np.nan, 1]))
    assert opt.skipped == 1
    opt.threads = 2
    assert opt.threads == 2


def test_an_error_in_a_schedule_passes_through_and_changes_nothing():
    x = ones(2)

    def broken(t):
        if t == 1:
            raise KeyError("the schedule's own")
        return 0.5

    opt = fl.Adam(x, lr=broken)
    opt.step(ones(2))
    before = x.tobytes(), picture(opt)
    with pytest.raises(KeyError, match="the schedule's own"):
        opt.step(ones(2))
    assert (x.tobytes(), picture(opt)) == before


def test_integers_fractions_and_numpy_numbers_are_numbers():
    from fractions import Fraction

    for lr in (1, np.int32(1), np.float32(1), Fraction(1), np.float64(1)):
        x = ones(1)
        opt = fl.SGD(x, lr=lr)
        opt.step(np.full(1, 0.25))
        assert x[0] == 0.75
        assert opt.lr == 1
        opt.lr = lambda t, lr=lr: lr
        opt.step(np.full(1, 0.25))
        assert x[0] == 0.5


def test_current_evaluates_schedules_for_the_next_step():
    opt = fl.Adam(
        [{"params": ones(1), "lr": lambda t: 1.0 / (t + 1)}, {"params": ones(1), "betas": (lambda t: t / 10, 0.5)}],
        lr=0.25, clip_norm=lambda t: t + 1, grad_scale=2.0,
    )  # fmt: skip
    for t in range(3):
        assert opt.current("lr") == 1 / (t + 1)
        assert opt.current("lr", group=1) == 0.25
        assert opt.current("betas") == (0.9, 0.999)
        assert opt.current("betas", group=1) == (t / 10, 0.5)
        assert opt.current("clip_norm") == t + 1
        assert opt.current("clip_value") is None
        assert opt.current("grad_scale") == 2.0
        assert opt.current("nonfinite") == "raise"
        assert opt.current("frozen") is False
        opt.step([ones(1), ones(1)])


def test_reading_a_hyperparameter_returns_what_was_assigned():
    schedule = fl.schedules.cosine(0.5, total=10)
    opt = fl.Adam(ones(1), lr=schedule)
    assert opt.lr is schedule
    assert opt.betas == (0.9, 0.999)
    opt.betas = [0.5, schedule]
    assert opt.betas == (0.5, schedule)
    assert opt.groups[0].betas == (0.5, schedule)


def test_momentum_built_with_a_buffer_may_become_zero_and_come_back():
    x, b, p = ones(1), 0.0, 1.0
    opt = fl.SGD(x, lr=0.5, momentum=0.5)
    for mu in (0.5, 0.0, 0.75):
        opt.momentum = mu
        opt.step(ones(1))
        b = mu * b + 1
        p -= 0.5 * b
    assert x[0] == p


# ---------------------------------------------------------------------------------------------------------------------
# Owned gradients
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("params", "names"), TREES)
def test_owned_gradients_have_the_structure_of_the_parameters(params, names):
    params = copy.deepcopy(params)
    opt = fl.SGD(params, lr=0.5)
    tree = arrays_of(params)
    assert [(g.shape, g.dtype) for g in leaves(opt.grads)] == [(p.shape, p.dtype) for p in leaves(tree)]
    assert all(not g.any() for g in leaves(opt.grads))
    assert opt.grads is opt.grads
    assert type(opt.grads) is type(tree)
    for grad in leaves(opt.grads):
        grad[...] = 2.0
    opt.step()
    assert all((p == 0.0).all() for p in leaves(tree))
    opt.step()
    assert all((p == -1.0).all() for p in leaves(tree))


def test_owned_gradients_are_not_used_by_a_step_with_gradients():
    x = ones(2)
    opt = fl.SGD(x, lr=1.0)
    opt.grads[:] = 5.0
    opt.step(ones(2))
    assert np.array_equal(x, np.zeros(2))
    assert np.array_equal(opt.grads, np.full(2, 5.0))


def test_a_step_without_argument_takes_the_owned_gradients():
    x = {"W": np.zeros(2), "l": [np.zeros(3)]}
    opt = fl.SGD(x, lr=1.0)
    with pytest.raises(RuntimeError, match=r"find them in opt\.grads"):
        opt.step()  # nobody asked for them, so nobody can have filled them
    opt.grads["W"][...] = 2.0
    opt.grads["l"][0][...] = 3.0
    opt.step()
    assert bits(x) == bits([np.full(2, -2.0), np.full(3, -3.0)])
    assert bits(opt.grads) == bits([np.full(2, 2.0), np.full(3, 3.0)])  # still the caller's to clear
    assert (opt.steps, float(opt.state["W"]["t"]), float(opt.state["l/0"]["t"])) == (1, 1.0, 1.0)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
@pytest.mark.parametrize("filled", [False, True], ids=["without-buffers", "with-buffers"])
def test_none_stands_for_no_gradient_of_any_tensor(row, filled):
    """Only the count of steps goes on, even if opt.grads was filled."""
    params = model()
    opt = getattr(fl, row.cls)(params, ema=0.5, **row.keywords)
    opt.step(gradients(params, 1)[0])
    if filled:
        for grad in leaves(opt.grads):
            grad[...] = 1.0
    before, state = bits(params), picture(opt)
    opt.step(None)
    assert bits(params) == before
    assert picture(opt) == state | {"steps": 2}


def test_none_stands_for_no_gradient_whatever_the_structure():
    for params in (ones(2), ones(), [ones(2), ones(3)], {"l": {"W": ones(2)}}, [], [{"params": ones(2)}]):
        opt = fl.AdamW(params, lr=0.5, weight_decay=0.5)
        opt.step(None)
        opt.step(grads=None)
        assert opt.steps == 2
        assert all((p == 1.0).all() for p in leaves(opt.params))


def test_a_schedule_goes_on_in_a_step_without_gradients():
    x = ones(1)
    opt = fl.SGD(x, lr=lambda t: 2.0**-t)
    opt.step(None)
    opt.step(ones(1))
    assert x[0] == 0.5


# ---------------------------------------------------------------------------------------------------------------------
# State
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_state_is_live_and_named(row):
    params = model()
    opt = getattr(fl, row.cls)(params, **row.keywords)
    views = {name: dict(own) for name, own in opt.state.items()}
    for name, own in views.items():
        assert set(row.states) <= set(own)
        for key in row.states:
            assert own[key].shape == params[name].shape
            assert own[key].dtype == params[name].dtype
        assert own["t"].shape == ()
        assert own["t"].dtype == np.float64
        counters = set(own) - set(row.states)
        assert all(own[key].shape == () and own[key].dtype == np.float64 for key in counters)
    for grads in gradients(params, 2):
        opt.step(grads)
    for name, own in views.items():
        assert all(own[key] is opt.state[name][key] for key in own)
        assert own["t"] == 2.0


def test_writing_into_the_state_is_seen_by_the_next_step():
    x = ones(2)
    opt = fl.Momentum(x, lr=0.5, momentum=0.5)
    opt.step(ones(2))
    opt.state["0"]["b"][...] = 4.0
    opt.step(ones(2))
    assert x[0] == 0.5 - 0.5 * (0.5 * 4 + 1)


def test_the_state_cannot_be_rebound():
    opt = fl.Adam(ones(2))
    with pytest.raises(TypeError):
        opt.state["0"] = {}
    with pytest.raises(TypeError):
        opt.state["0"]["m"] = ones(2)
    for name in ("state", "steps", "skipped", "groups", "grads"):
        with pytest.raises(AttributeError):
            setattr(opt, name, None)


def test_the_state_of_a_fortran_parameter_lies_as_the_parameter_does():
    params = model()
    opt = fl.Adam(params)
    opt.step(gradients(params, 1)[0])
    assert opt.state["W"]["m"].flags.f_contiguous
    expected = 0.1 * gradients(params, 1)[0]["W"]
    np.testing.assert_allclose(opt.state["W"]["m"], expected, rtol=1e-15)  # 1 - 0.9 is not 0.1


# ---------------------------------------------------------------------------------------------------------------------
# Averages
# ---------------------------------------------------------------------------------------------------------------------


def test_averaged_returns_new_arrays_in_the_structure():
    params = {"l": [ones(2), np.ones(3, np.float32)]}
    opt = fl.SGD(params, lr=0.5, ema=0.5)
    for _ in range(2):
        opt.step({"l": [ones(2), np.ones(3, np.float32)]})
    found = opt.averaged()
    assert np.array_equal(found["l"][0], np.full(2, 0.25))  # of 1/2 and 0
    assert [a.dtype for a in found["l"]] == [np.float64, np.float32]
    found["l"][0][:] = 99
    assert np.array_equal(opt.averaged()["l"][0], np.full(2, 0.25))
    assert np.array_equal(params["l"][0], np.zeros(2))


def test_averaged_keeps_the_kind_of_containers():
    found = fl.SGD(Pair(ones(2), ones(3)), ema=0.5).averaged()
    assert isinstance(found, Pair)
    assert np.array_equal(found.bias, ones(3))


def test_averaged_before_the_first_step_is_the_parameters():
    for opt in (fl.SGD(ones(2), ema=0.5), fl.ASGD(ones(2)), fl.ScheduleFreeSGD(ones(2)), fl.ScheduleFreeAdamW(ones(2))):
        found = opt.averaged()
        assert np.array_equal(found, ones(2))
        assert not np.shares_memory(found, opt.params)


def test_averaged_of_asgd():
    """Torch's recursion: the average restarts at the parameters until t - 1 - t0 is above 1."""
    x = ones(1)
    opt = fl.ASGD(x, lr=0.25, lambd=0.5, alpha=0.75, t0=2.0, weight_decay=0.125)
    p, a = 1.0, 0.0
    for t in range(1, 8):
        opt.step(np.full(1, 0.5 + t))
        g = 0.5 + t + 0.125 * p
        eta = 0.25 / (1 + 0.5 * 0.25 * (t - 1)) ** 0.75
        p = p * (1 - 0.5 * eta) - eta * g
        a += (p - a) / max(1.0, t - 1 - 2.0)
        np.testing.assert_allclose(opt.averaged(), [a], rtol=1e-14)  # a few roundings a step


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_averaged_of_schedule_free(name):
    """The x of the paper's algorithm 1, kept as an array of its own here: y = (1 - beta) z + beta x."""
    beta, b2, lr, wd, warmup, r, power, eps = 0.8, 0.95, 0.25, 0.125, 3, 0.5, 1.5, 0.0625
    start = np.linspace(-1, 2, 4)
    p = start.copy()
    common = {"lr": lr, "weight_decay": wd, "warmup_steps": warmup, "r": r, "weight_lr_power": power}
    if name == "sgd":
        opt = fl.ScheduleFreeSGD(p, momentum=beta, **common)
    else:
        opt = fl.ScheduleFreeAdamW(p, betas=(beta, b2), eps=eps, **common)
    x, z, v, weights, top = start.copy(), start.copy(), np.zeros(4), 0.0, 0.0
    for t, g in enumerate(gradients(p), 1):
        y = (1 - beta) * z + beta * x
        if name == "adamw":
            v = b2 * v + (1 - b2) * g**2
            d = g / (np.sqrt(v / (1 - b2**t)) + eps) + wd * y
        else:
            d = g + wd * y
        gamma = lr * min(1, t / warmup)
        top = max(top, gamma)
        weight = t**r * top**power
        weights += weight
        z = z - gamma * d
        x = (1 - weight / weights) * x + weight / weights * z
        opt.step(g)
        np.testing.assert_allclose(opt.averaged(), x, rtol=1e-12, atol=1e-14)  # x is computed from y, divided by 0.8
        np.testing.assert_allclose(p, (1 - beta) * z + beta * x, rtol=1e-12, atol=1e-14)


def test_ema_takes_precedence_over_the_rules_own_average():
    x = ones(1)
    opt = fl.ASGD(x, lr=0.5, lambd=0.0, t0=0.0, ema=0.75)
    opt.step(ones(1))
    opt.step(ones(1))
    # The second rate is lr as well, because lambd is 0.
    assert opt.averaged()[0] == 0.75 * 0.5 + 0.25 * 0.0


# ---------------------------------------------------------------------------------------------------------------------
# Registry, signatures, help, repr
# ---------------------------------------------------------------------------------------------------------------------

COMMON = (
    "maximize=False, clip_value=None, clip_norm=None, grad_scale=1.0, nonfinite='raise', ema=None, "
    "half_params='master', rng=None, threads=None"
)
ADAMS = "lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0"
SIGNATURES = {
    "SGD": "lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, *, form='torch'",
    "Momentum": "lr=1e-3, momentum=0.9, dampening=0.0, weight_decay=0.0, *, form='torch'",
    "Nesterov": "lr=1e-3, momentum=0.9, weight_decay=0.0, *, form='torch'",
    "Adagrad": "lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, *, eps_inside=False",
    "Adadelta": "lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0",
    "RMSprop": "lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, *, "
    "eps_inside=False, form='torch'",
    "Adam": ADAMS + ", amsgrad=False, *, decoupled_weight_decay=False, eps_mode='outside', amsgrad_max='raw'",
    "AdamW": "lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *, fixed_decay=False, "
    "eps_mode='outside', amsgrad_max='raw'",
    "Adamax": "lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, *, eps_mode='norm'",
    "NAdam": "lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3, "
    "decoupled_weight_decay=False",
    "RAdam": ADAMS + ", decoupled_weight_decay=False",
    "Rprop": "lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0)",
    "ASGD": "lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0",
    "Lion": "lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0",
    "AdaBelief": "lr=1e-3, betas=(0.9, 0.999), eps=1e-16, weight_decay=0.0, *, decoupled_weight_decay=False",
    "Yogi": "lr=1e-2, betas=(0.9, 0.999), eps=1e-3, weight_decay=0.0, initial_accumulator_value=1e-6, *, "
    "decoupled_weight_decay=False",
    "Signum": "lr=1e-3, momentum=0.9, weight_decay=0.0",
    "Adan": "lr=1e-3, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=0.0",
    "FTRL": "lr=1e-3, l1=0.0, l2=0.0, l2_shrinkage=0.0, beta=0.0, initial_accumulator_value=0.1",
    "LARS": "lr=1e-3, momentum=0.9, weight_decay=0.0, trust_coefficient=1e-3, eps=1e-9, *, nesterov=False",
    "LAMB": "lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0, *, max_norm=float('inf')",
    "AdEMAMix": "lr=1e-3, betas=(0.9, 0.999, 0.9999), eps=1e-8, weight_decay=0.0, alpha=5.0, warmup_steps=0",
    "ADOPT": "lr=1e-3, betas=(0.9, 0.9999), eps=1e-6, weight_decay=0.0, *, decoupled_weight_decay=False",
    "ScheduleFreeSGD": "lr=1.0, momentum=0.9, weight_decay=0.0, warmup_steps=0, r=0.0, weight_lr_power=2.0",
    "ScheduleFreeAdamW": "lr=2.5e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, "
    "warmup_steps=0, r=0.0, weight_lr_power=2.0",
}  # fmt: skip


def arguments(text):
    found = inspect.signature(eval(f"lambda params, {text}: None")).parameters.values()
    return [(p.name, p.default, p.kind) for p in found]


def test_the_registry_has_every_class_under_its_name():
    assert list(REGISTRY)[:7] == ["sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam"]
    assert list(REGISTRY) == [cls.__name__.lower() for cls in REGISTRY.values()]
    assert {name.lower() for name in SIGNATURES} <= REGISTRY.keys()
    assert all(getattr(fl, cls.__name__) is cls for cls in REGISTRY.values())
    fl.optimizers().clear()
    assert fl.optimizers() == REGISTRY


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    own = arguments(SIGNATURES[name])
    options = arguments(f"*, {COMMON}")[1:]
    found = [(p.name, p.default, p.kind) for p in inspect.signature(getattr(fl, name)).parameters.values()]
    assert [entry for entry in found if entry not in options] == own
    assert [entry for entry in found if entry in options] == options


@pytest.mark.parametrize("name", SIGNATURES)
def test_positional_arguments_are_those_of_the_signature(name):
    given = [
        default
        for _, default, kind in arguments(SIGNATURES[name])[1:]
        if kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    first, *others = given
    opt = getattr(fl, name)(ones(2), first / 2, *others)
    assert opt.lr == first / 2
    with pytest.raises(TypeError, match="too many positional arguments"):
        getattr(fl, name)(ones(2), *given, "one too many")


@pytest.mark.parametrize("name", SIGNATURES)
def test_help_shows_the_signature_and_every_argument(name):
    cls = getattr(fl, name)
    text = pydoc.render_doc(cls, renderer=pydoc.plaintext)
    assert f"{name}(params,lr=" in re.sub(r"[\s|]", "", text)  # from Python 3.13 on, an argument a line
    section = inspect.getdoc(cls).split("Parameters\n")[1]
    listed = [line for line in section.splitlines() if line and not line.startswith(" ")]
    names = {part.strip() for line in listed for part in line.split(" : ")[0].split(",")}
    missing = {argument for argument, _, _ in arguments(SIGNATURES[name])} - names
    assert not missing


def test_the_repr_reads_like_the_call():
    opt = fl.Adam({"W": ones(3, 4), "b": ones(4)}, lr=0.125, clip_norm=2.0, rng=7)
    text = repr(opt)
    assert text.startswith("Adam(")
    for part in ("lr=0.125", "betas=(0.9, 0.999)", "eps=1e-08", "weight_decay=0.0", "clip_norm=2.0"):
        assert part in text
    assert text.endswith("on 2 arrays, 16 elements, 0 steps done")
    for absent in ("clip_value", "ema", "amsgrad", "threads", "maximize", "object at"):
        assert absent not in text
    opt.step({"b": ones(4)})
    assert repr(opt).endswith("1 step done")
    assert repr(fl.SGD(ones(1))).endswith("on 1 array, 1 element, 0 steps done")


def test_the_repr_shows_schedules_and_groups():
    opt = fl.SGD(
        [{"params": ones(1), "lr": 0.5}, {"params": ones(1)}],
        lr=fl.schedules.cosine(0.25, total=10),
        nesterov=True,
        momentum=0.5,
    )
    assert "lr=0.5/cosine(lr=0.25, total=10" in repr(opt)
    assert "nesterov=True" in repr(opt)


def test_an_attribute_that_is_no_hyperparameter_cannot_be_set():
    """A misspelt hyperparameter, or one that only groups have, must not be swallowed."""
    opt = fl.SGD(ones(2))
    for name in ("learning_rate", "wd", "frozen", "lr_scale", "beta1"):
        with pytest.raises(AttributeError, match=name):
            setattr(opt, name, 0.5)


# ---------------------------------------------------------------------------------------------------------------------
# Copies
# ---------------------------------------------------------------------------------------------------------------------

COPIES = [
    pytest.param(copy.deepcopy, id="deepcopy"),
    pytest.param(lambda opt: pickle.loads(pickle.dumps(opt)), id="pickle"),
]


@pytest.mark.parametrize("duplicate", COPIES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_copy_goes_on_by_itself_with_the_same_bits(row, duplicate):
    params = model()
    opt = getattr(fl, row.cls)(params, ema=0.75, clip_norm=3.0, **row.keywords)
    grads = gradients(params)
    for one in grads[:3]:
        opt.step(one)
    twin = duplicate(opt)
    assert type(twin) is type(opt)
    assert repr(twin) == repr(opt)
    before = bits(twin.params)
    for one in grads[3:]:
        opt.step(one)
    assert bits(twin.params) == before
    for one in grads[3:]:
        twin.step(one)
    assert bits(twin.params) == bits(params)
    assert picture(twin) == picture(opt)
    assert bits(twin.averaged()) == bits(opt.averaged())


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copy_keeps_groups_schedules_options_and_owned_gradients(duplicate):
    opt = fl.SGD(
        [
            {"params": ones(2), "lr": fl.schedules.linear(0.5, total=4)},
            {"params": ones(2), "frozen": True, "lr_scale": 0.5},
        ],
        momentum=0.5, nonfinite="skip", grad_scale=0.5, maximize=True, threads=1, rng=3, half_params="stochastic",
    )  # fmt: skip
    opt.grads[0][:] = 2.0
    opt.step()
    opt.step([np.full(2, np.nan), None])
    twin = duplicate(opt)
    assert (twin.steps, twin.skipped, twin.threads, twin.nonfinite, twin.rng) == (1, 1, 1, "skip", opt.rng)
    assert repr(twin.groups) == repr(opt.groups)
    assert bits(twin.grads) == bits(opt.grads)
    opt.step()
    twin.step()
    assert bits(twin.params) == bits(opt.params)
    twin.grads[0][:] = 0.0
    assert opt.grads[0][0] == 2.0


@pytest.mark.parametrize("duplicate", COPIES)
@pytest.mark.parametrize("build", [
    pytest.param(lambda p: fl.SGD(p, lr=0.5, momentum=0.5), id="sgd"),
    pytest.param(lambda p: fl.RMSprop(p, lr=0.5, momentum=0.5), id="rmsprop"),
    pytest.param(lambda p: fl.Signum(p, lr=0.5, momentum=0.5), id="signum"),
])  # fmt: skip
def test_a_copy_keeps_a_buffer_that_is_not_used_at_present(build, duplicate):
    params = ones(3)
    opt = build(params)
    opt.step(np.array([1.0, 2, 3]))
    opt.momentum = 0.0
    twin = duplicate(opt)
    for one in (opt, twin):
        one.momentum = 0.75
        one.step(np.array([3.0, -2, 1]))
    assert twin.params.tobytes() == params.tobytes()
    assert picture(twin) == picture(opt)


def test_a_copy_of_a_model_with_its_optimizer_stays_tied_to_it():
    both = {"params": model()}
    both["optimizer"] = fl.Adam(both["params"], lr=0.5)
    twin = copy.deepcopy(both)
    assert twin["optimizer"].params is twin["params"]
    before = twin["params"]["W"].copy()
    twin["optimizer"].step(gradients(both["params"], 1)[0])
    assert not np.array_equal(twin["params"]["W"], before)
    assert np.array_equal(both["params"]["W"], before)


def test_a_copy_has_a_plateau_of_its_own():
    plateau = fl.schedules.ReduceOnPlateau(0.5, patience=0, factor=0.5)
    opt = fl.SGD(ones(1), lr=plateau)
    twin = copy.deepcopy(opt)
    for loss in (1.0, 2.0):
        plateau.update(loss)
    assert (opt.current("lr"), twin.current("lr")) == (0.25, 0.5)


# ---------------------------------------------------------------------------------------------------------------------
# Non-finite gradients
# ---------------------------------------------------------------------------------------------------------------------

SPOILED = [
    pytest.param(bad, dtype, where, id=f"{bad}-{np.dtype(dtype).name}-{where}")
    for bad, dtype, where in itertools.product(
        (np.nan, np.inf, -np.inf), (np.float32, np.float64, np.float16), (0, 1023, 1024, 40_000)
    )
]


@pytest.mark.parametrize(("bad", "dtype", "where"), SPOILED)
def test_policies_of_nonfinite_gradients(bad, dtype, where):
    """Wherever it is (blocks of 1024, spans of 32768), one such element is found before anything is written."""
    params = {"a": np.ones(100, dtype), "b": np.ones(40_001, dtype)}
    grads = {"a": np.ones(100, dtype), "b": np.ones(40_001, dtype)}
    grads["b"][where] = bad
    opt = fl.Adam(params, lr=0.5, ema=0.5, nonfinite="skip", threads=2)
    opt.step({key: np.ones_like(p) for key, p in params.items()})
    before, state = bits(params), picture(opt)
    opt.step(grads)
    assert bits(params) == before
    assert picture(opt) == state | {"skipped": 1}
    opt.nonfinite = "raise"
    with pytest.raises(ValueError, match=rf"grads\['b'\]: must be finite; got {bad} at index \({where},\), 1 of 40001"):
        opt.step(grads)
    assert bits(params) == before
    assert picture(opt) == state | {"skipped": 1}
    opt.nonfinite = "ignore"
    opt.step(grads)
    assert np.isfinite(params["a"]).all()
    assert np.isnan(params["b"][where])  # inf/inf in Adam is NaN too
    assert np.isfinite(params["b"]).sum() == 40_000
    assert opt.steps == 2


def test_the_largest_numbers_are_finite():
    for dtype in (np.float16, np.float32, np.float64):
        x, of = np.zeros(3, dtype), np.finfo(dtype)
        grad = np.array([of.max, of.min, of.smallest_subnormal], dtype)
        fl.SGD(x, lr=1.0).step(grad)
        assert np.array_equal(x, -grad)
