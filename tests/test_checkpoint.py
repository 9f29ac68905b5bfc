"""Checkpoints: state dicts and files, which are taken over wholly or not at all."""

import copy
import errno
import io
import json
import os
import re
import stat
import subprocess
import sys
import textwrap
import zipfile

import ml_dtypes
import numpy as np
import pytest

import fallline as fl
from rules import ROWS

EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)


def model(seed=1):
    rng = np.random.default_rng(seed)
    return {
        "W": np.asfortranarray(rng.standard_normal((3, 4))),
        "l": [rng.standard_normal(5).astype(np.float32), rng.standard_normal((4, 4)).astype(np.float32)[::2, ::-1]],
        "h": rng.standard_normal(6).astype(np.float16),
        "bf": rng.standard_normal((2, 3)).astype(ml_dtypes.bfloat16),
        "x": np.array(rng.standard_normal()),
        "none": np.zeros((0, 3)),
    }


def like(tree, rng):
    if isinstance(tree, dict):
        return {key: like(child, rng) for key, child in tree.items()}
    if isinstance(tree, list):
        return [like(child, rng) for child in tree]
    return np.asarray(rng.standard_normal(tree.shape)).astype(tree.dtype)


def gradients(params, steps, seed=2):
    rng = np.random.default_rng(seed)
    return [like(params, rng) for _ in range(steps)]


def leaves(tree):
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else None
    return [tree] if children is None else [leaf for child in children for leaf in leaves(child)]


def bits(tree):
    return [leaf.tobytes() for leaf in leaves(tree)]


def picture(opt):
    state = {f"{n}:{k}": (a.dtype.name, a.tobytes()) for n, own in opt.state.items() for k, a in own.items()}
    return bits(opt.params), state, opt.steps, opt.skipped, repr(opt.groups), opt.rng


def adam(params=None, **options):
    return fl.Adam(model() if params is None else params, **{"lr": 0.01, "ema": 0.5, "rng": 4} | options)


def run(opt, steps=3):
    for grads in gradients(opt.params, steps):
        opt.step(grads)
    return opt


def npz(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# ---------------------------------------------------------------------------------------------------------------------
# There and back
# ---------------------------------------------------------------------------------------------------------------------


def by_file(folder):
    def through(opt, other):
        opt.save(folder / "run.npz")
        other.load(folder / "run.npz")

    return through


def by_dict(folder):
    def through(opt, other):
        other.load_state_dict(opt.state_dict())
        for mine, given in zip(leaves(other.params), leaves(opt.params), strict=True):
            mine[...] = given

    return through


def by_json(folder):
    """What is no array survives JSON, which is what the file holds."""

    def through(opt, other):
        state = opt.state_dict()
        arrays = state.pop("state")
        other.load_state_dict(json.loads(json.dumps(state)) | {"state": arrays})
        for mine, given in zip(leaves(other.params), leaves(opt.params), strict=True):
            mine[...] = given

    return through


@pytest.mark.parametrize("way", [by_file, by_dict, by_json])
@EVERY_ROW
def test_a_run_resumes_with_the_same_bits(row, way, tmp_path):
    opt = getattr(fl, row.cls)(model(), **row.keywords, ema=0.5, half_params="stochastic", rng=1)
    other = getattr(fl, row.cls)(model(seed=9), **row.keywords, ema=0.5, half_params="stochastic", rng=2)
    grads = gradients(opt.params, 6)
    for one in grads[:3]:
        opt.step(one)
    way(tmp_path)(opt, other)
    assert picture(other) == picture(opt)
    for one in grads[3:]:
        opt.step(one)
        other.step(one)
    assert picture(other) == picture(opt)
    assert bits(other.averaged()) == bits(opt.averaged())


@pytest.mark.parametrize("steps", range(5))
def test_a_run_resumes_at_every_step(steps, tmp_path):
    opt, other = adam(), adam(model(seed=9))
    grads = gradients(opt.params, 5)
    for one in grads[:steps]:
        opt.step(one)
    opt.save(str(tmp_path / "run.npz"))  # a string is a path too
    other.load(str(tmp_path / "run.npz"))
    for one in grads[steps:]:
        opt.step(one)
        other.step(one)
    assert picture(other) == picture(opt)


def test_counters_of_every_tensor_and_of_skips_are_kept(tmp_path):
    opt = adam(nonfinite="skip")
    opt.step({"W": np.ones((3, 4))})
    opt.step({"x": np.array(np.nan)})
    opt.step({"x": np.array(1.0), "W": np.ones((3, 4))})
    opt.save(tmp_path / "run.npz")
    other = adam(nonfinite="skip")
    other.load(tmp_path / "run.npz")
    assert (other.steps, other.skipped) == (2, 1)
    assert [float(other.state[name]["t"]) for name in ("W", "x", "h")] == [2.0, 1.0, 0.0]


def test_the_dtype_of_every_state_is_kept(tmp_path):
    """Moments of half parameters are float32, and stay so: another framework casts them to the parameter's dtype."""
    opt = run(adam())
    opt.save(tmp_path / "run.npz")
    other = adam()
    other.load(tmp_path / "run.npz")
    for name in ("h", "bf"):
        for key in ("m", "v", "average", "master"):
            assert other.state[name][key].dtype == np.float32
            assert other.state[name][key].tobytes() == opt.state[name][key].tobytes()
    assert other.state["W"]["m"].dtype == np.float64
    assert not np.array_equal(opt.state["h"]["m"], opt.state["h"]["m"].astype(np.float16))  # so a cast would be seen


def test_a_file_is_an_npz_without_pickle(tmp_path):
    opt = run(adam())
    opt.save(tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz", allow_pickle=False) as entries:
        arrays = {key: entries[key] for key in entries.files}
    header = json.loads(str(arrays.pop("fallline")))
    assert (header["format"], header["optimizer"], header["steps"]) == (1, "Adam", 3)
    assert list(arrays) == [str(i) for i in range(len(header["arrays"]))]
    given = {"W": opt.params["W"], "l/0": opt.params["l"][0], "l/1": opt.params["l"][1]}
    given |= {name: opt.params[name] for name in ("h", "bf", "x", "none")}
    expected = {(name, "param"): array for name, array in given.items()}
    expected |= {(name, f"state:{key}"): array for name, own in opt.state.items() for key, array in own.items()}
    assert [(name, kind) for name, kind, _ in header["arrays"]] == list(expected)
    for array, (name, kind, dtype) in zip(arrays.values(), header["arrays"], strict=True):
        assert dtype == expected[name, kind].dtype.name
        assert array.dtype == (np.uint16 if dtype == "bfloat16" else expected[name, kind].dtype)
        assert np.array_equal(array.view(expected[name, kind].dtype), expected[name, kind])


def test_a_state_dict_is_a_copy(tmp_path):
    opt = run(adam())
    state = opt.state_dict()
    before = copy.deepcopy(state)
    run(opt)
    for name, own in state["state"].items():
        for key, array in own.items():
            assert array.tobytes() == before["state"][name][key].tobytes()
    other = adam()
    other.load_state_dict(state)
    state["state"]["W"]["m"][...] = 99
    assert not (other.state["W"]["m"] == 99).any()
    assert other.state["W"]["m"].tobytes() == before["state"]["W"]["m"].tobytes()


def test_names_not_their_order_decide(tmp_path):
    opt = run(fl.Adam({"a": np.ones(2), "b": np.zeros(2)}))
    opt.save(tmp_path / "run.npz")
    other = fl.Adam({"b": np.zeros(2), "a": np.zeros(2)})
    other.load(tmp_path / "run.npz")
    assert {n: a.tobytes() for n, a in other.params.items()} == {n: a.tobytes() for n, a in opt.params.items()}
    assert other.state["a"]["m"].tobytes() == opt.state["a"]["m"].tobytes()


def test_load_writes_in_place():
    opt = run(adam())
    arrays, states = leaves(opt.params), [a for own in opt.state.values() for a in own.values()]
    opt.load_state_dict(opt.state_dict())
    assert all(a is b for a, b in zip(leaves(opt.params), arrays, strict=True))
    assert all(a is b for a, b in zip([a for own in opt.state.values() for a in own.values()], states, strict=True))


ODD_NAMES = [
    "a/b:c", "..", "../../evil", "/etc/passwd", "file", "fallline", "params:x", "state:x:m", "allow_pickle", "self",
    "Ω≠ü", "日本", " ", "a b", "x.npy", "x", "con", "a\\b", "%s{}", "'\"", "\n", "x:t", "x:", "W;rm",
    "e\u0301", "é", "-", "x" * 300, "nul\0byte", "nul\0other",
]  # fmt: skip


def test_odd_names(tmp_path):
    """All at once, so that one cannot be taken for another."""
    opt = fl.Adam({name: np.full(2, float(i)) for i, name in enumerate(ODD_NAMES)}, lr=0.5)
    opt.step({name: np.full(2, float(i)) for i, name in enumerate(ODD_NAMES)})
    before = picture(opt)
    opt.save(tmp_path / "run.npz")
    assert os.listdir(tmp_path) == ["run.npz"]
    other = fl.Adam({name: np.zeros(2) for name in ODD_NAMES}, lr=0.5)
    other.load(tmp_path / "run.npz")
    assert picture(other) == before


@pytest.mark.parametrize(
    "names", [("x", "x.npy"), ("a", "a.npy"), ("nul\0a", "nul\0b"), ("é", "e\u0301"), ("a/b:c", "a/b"), ("", "0x")]
)
def test_names_that_look_alike(names, tmp_path):
    opt = fl.SGD({name: np.full(2, 1.0 + i) for i, name in enumerate(names)})
    opt.save(tmp_path / "run.npz")
    other = fl.SGD({name: np.zeros(2) for name in names})
    other.load(tmp_path / "run.npz")
    assert [float(a[0]) for a in other.params.values()] == [1.0, 2.0]


@pytest.mark.parametrize(
    "name", ["run", "run.npz", "run.ckpt", ".hidden", "ü.npz", "a b", "x" * 240, "x" * 255, "ü" * 127]
)
def test_the_path_is_taken_as_it_is(name, tmp_path, monkeypatch):
    """numpy.savez would add .npz. A name may have all the 255 bytes of the file system: the file aside has another."""
    run(adam()).save(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    monkeypatch.chdir(tmp_path)
    opt = run(adam())
    opt.save(name)
    other = adam()
    other.load(name)
    assert picture(other) == picture(opt)
    assert os.listdir(tmp_path) == [name]


# ---------------------------------------------------------------------------------------------------------------------
# Hyperparameters and schedules
# ---------------------------------------------------------------------------------------------------------------------


def test_hyperparameters_of_all_groups_are_kept(tmp_path):
    def build(*rates):
        return fl.SGD([{"params": np.ones(2), "lr": rate} for rate in rates], momentum=0.5)

    opt = build(0.5, 0.25)
    opt.groups[0].weight_decay, opt.groups[1].frozen, opt.groups[1].lr_scale, opt.groups[0].maximize = (
        0.125,
        True,
        0.5,
        True,
    )
    opt.momentum = 0.75
    opt.save(tmp_path / "run.npz")
    other = build(1.0, 1.0)
    other.load(tmp_path / "run.npz")
    assert repr(other.groups) == repr(opt.groups)
    other.step([np.ones(2), np.ones(2)])
    assert float(other.params[0][0]) == 1 - 0.5 * (-1 + 0.125)
    assert float(other.params[1][0]) == 1.0


@pytest.mark.parametrize("name", ["clip_norm", "clip_value", "grad_scale", "ema"])
def test_options_are_kept(name, tmp_path):
    """A run that goes on with another scale or clip is another run."""
    opt = fl.SGD(np.zeros(2), lr=1.0, ema=0.5)
    setattr(opt, name, 0.25)
    opt.save(tmp_path / "run.npz")
    other = fl.SGD(np.zeros(2), lr=1.0, ema=0.5)
    other.load(tmp_path / "run.npz")
    assert getattr(other, name) == 0.25
    for one in (opt, other):
        one.step(np.array([3.0, 4.0]))
        one.step(np.array([3.0, 4.0]))
    assert bits(other.params) == bits(opt.params)
    assert bits(other.averaged()) == bits(opt.averaged())


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
def test_an_option_that_was_switched_off_is_switched_off_again(name, tmp_path):
    opt = fl.SGD(np.zeros(2), lr=1.0)
    opt.save(tmp_path / "run.npz")
    other = fl.SGD(np.zeros(2), lr=1.0, **{name: 0.25})
    other.load(tmp_path / "run.npz")
    assert getattr(other, name) is None
    other.step(np.array([3.0, 4.0]))
    assert other.params.tolist() == [-3.0, -4.0]


@pytest.mark.parametrize("way", [by_file, by_dict, by_json])
def test_choices_and_options_are_in_the_state(way, tmp_path):
    def build(**options):
        return fl.Adam(np.ones(2), eps_mode="hat", half_params="nearest", ema=0.5, **options)

    opt = build(clip_norm=0.5, grad_scale=2.0)
    state = opt.state_dict()
    assert state["choices"] == {
        "amsgrad": False, "decoupled_weight_decay": False, "eps_mode": "hat", "amsgrad_max": "raw",
        "half_params": "nearest",
    }  # fmt: skip
    assert state["options"] == {"clip_value": None, "clip_norm": 0.5, "grad_scale": 2.0, "ema": 0.5}
    other = build(clip_value=0.125)
    way(tmp_path)(opt, other)
    assert other.state_dict()["options"] == state["options"]
    assert (other.clip_value, other.clip_norm, other.grad_scale) == (None, 0.5, 2.0)


CHOICES = [
    (fl.Adam, "decoupled_weight_decay", True), (fl.Adam, "eps_mode", "hat"), (fl.Adam, "eps_mode", "inside"),
    (fl.AdamW, "fixed_decay", True), (fl.Adamax, "eps_mode", "divisor"), (fl.NAdam, "decoupled_weight_decay", True),
    (fl.RAdam, "decoupled_weight_decay", True), (fl.Yogi, "decoupled_weight_decay", True),
    (fl.Adagrad, "eps_inside", True),
    (fl.RMSprop, "eps_inside", True), (fl.SGD, "form", "classic"), (fl.SGD, "half_params", "nearest"),
    (fl.Lion, "half_params", "stochastic"),
]  # fmt: skip


@pytest.mark.parametrize("way", [by_file, by_dict])
@pytest.mark.parametrize(("cls", "name", "value"), CHOICES)
def test_fixed_settings_must_be_the_same(cls, name, value, way, tmp_path):
    """Whichever of the two was built with the default."""
    for mine, saved in (({}, {name: value}), ({name: value}, {})):
        opt, other = run(cls(np.zeros(2), **saved)), run(cls(np.ones(2), **mine))
        before = picture(other)
        with pytest.raises(
            ValueError, match=r"^load_state_dict\(state_dict\): must (have been built with|be of the rule) "
        ):
            way(tmp_path)(opt, other)
        assert picture(other) == before


@pytest.mark.parametrize("way", [by_file, by_dict])
def test_what_is_not_of_the_run_is_left_as_the_new_optimizer_has_it(way, tmp_path):
    """Threads and the policy for gradients that are not finite belong to where and how it runs."""
    opt = run(fl.SGD(np.ones(2), threads=1, nonfinite="raise"))
    other = fl.SGD(np.zeros(2), threads=2, nonfinite="skip")
    way(tmp_path)(opt, other)
    assert (other.threads, other.nonfinite) == (2, "skip")


def test_a_schedule_goes_on_where_it_was(tmp_path):
    schedule = fl.schedules.cosine(0.5, total=10)
    opt = run(adam(lr=schedule, betas=(0.9, lambda t: 0.9 + 0.01 * t)), 4)
    opt.save(tmp_path / "run.npz")
    other = adam(lr=schedule, betas=(0.9, lambda t: 0.9 + 0.01 * t))
    other.load(tmp_path / "run.npz")
    assert other.current("lr") == schedule(4)
    assert other.lr is schedule
    assert bits(run(other).params) == bits(run(opt).params)


@pytest.mark.parametrize("way", [by_file, by_dict, by_json])
@pytest.mark.parametrize("where", ["lr", "betas", "lr_scale", "grad_scale"])
def test_the_state_of_a_plateau_is_kept(way, where, tmp_path):
    def build():
        plateau = fl.schedules.ReduceOnPlateau(0.5, factor=0.5, patience=1)
        group = {"params": np.ones(2)}
        options = {}
        if where == "lr_scale":
            group["lr_scale"] = plateau
        else:
            options[where] = (0.25, plateau) if where == "betas" else plateau
        return plateau, fl.Adam([group], **options)

    plateau, opt = build()
    for loss in (3.0, 2.0, 2.5, 2.5, 2.25):
        plateau.update(loss)
    assert plateau.current == 0.25
    other_plateau, other = build()
    way(tmp_path)(opt, other)
    assert other_plateau.state_dict() == plateau.state_dict()
    assert other.current(where) == opt.current(where)
    assert other_plateau is not plateau


def test_a_plateau_that_cannot_be_taken_over_changes_nothing():
    """Two plateaus, of which the second is spoiled: the first keeps its state, and so does all else."""

    def build():
        plateaus = [fl.schedules.ReduceOnPlateau(0.5, patience=0) for _ in range(2)]
        return plateaus, fl.Adam([{"params": np.ones(2), "lr": plateau} for plateau in plateaus])

    plateaus, opt = build()
    for plateau in plateaus:
        plateau.update(1.0)
    state = opt.state_dict()
    state["groups"][1]["lr"]["state"]["current"] = -1.0
    plateaus, other = build()
    before = [plateau.state_dict() for plateau in plateaus], picture(other)
    with pytest.raises(ValueError, match="current"):
        other.load_state_dict(state)
    assert ([plateau.state_dict() for plateau in plateaus], picture(other)) == before


WRONG_VALUES = [
    pytest.param(fl.Adam, key, wrong, id=f"{key}-{wrong}")
    for key, wrong in (
        ("lr", -1.0), ("lr", "0.5"), ("eps", float("nan")), ("eps", 1e-50), ("betas", [0.5, 1.0]),
        ("betas", (0.5, 0.5)), ("frozen", 3), ("maximize", None), ("lr_scale", -1.0),
    )
] + [
    pytest.param(fl.Nesterov, "momentum", -0.5, id="nesterov"),
    pytest.param(fl.Rprop, "etas", [1.5, 2.0], id="etas"),
    pytest.param(fl.Rprop, "step_sizes", [2.0, 1.0], id="step_sizes"),
    pytest.param(fl.FTRL, "lr", 0.0, id="ftrl"),
    pytest.param(fl.FTRL, "lr_scale", 0.0, id="ftrl-scale"),
    pytest.param(fl.SGD, "momentum", 0.5, id="no-buffer"),
    pytest.param(lambda params: fl.Momentum(params, form="classic"), "dampening", 0.5, id="dampening"),
    pytest.param(lambda params: fl.SGD(params, momentum=0.5, nesterov=True), "momentum", 0.0, id="nesterov-without"),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "key", "wrong"), WRONG_VALUES)
def test_a_value_in_a_state_dict_must_pass_all_checks_before_anything_is_written(cls, key, wrong):
    opt, other = run(cls(model())), cls(model(seed=9))
    state = opt.state_dict()
    state["groups"][0][key] = wrong
    before = picture(other)
    with pytest.raises((TypeError, ValueError), match="must"):
        other.load_state_dict(state)
    assert picture(other) == before
    run(other, 1)


WRONG_OPTIONS = [
    ("clip_norm", 0.0), ("clip_norm", "1"), ("clip_value", float("nan")), ("grad_scale", None), ("grad_scale", -1.0),
    ("ema", 1.0), ("ema", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "wrong"), WRONG_OPTIONS)
def test_an_option_in_a_state_dict_must_pass_all_checks_before_anything_is_written(name, wrong):
    opt, other = run(adam()), adam(model(seed=9))
    state = opt.state_dict()
    state["options"][name] = wrong
    before = picture(other)
    with pytest.raises((TypeError, ValueError), match="must"):
        other.load_state_dict(state)
    assert picture(other) == before


@pytest.mark.parametrize("odd", [{"a": 1}, {}, {"schedule": "cosine"}, {"state": None}])
def test_an_odd_dict_in_place_of_a_schedule_is_refused_or_is_the_schedule(odd):
    opt = fl.SGD(np.ones(2), lr=fl.schedules.cosine(0.5, total=10))
    state = opt.state_dict()
    state["groups"][0]["lr"] = odd
    before = picture(opt)
    try:
        opt.load_state_dict(state)
    except (TypeError, ValueError) as error:
        assert "must" in str(error)  # noqa: PT017
    assert picture(opt) == before


def test_momentum_that_is_not_used_at_present_is_kept(tmp_path):
    opt = run(fl.SGD(np.ones(2), lr=0.5, momentum=0.5))
    opt.momentum = 0.0
    opt.save(tmp_path / "run.npz")
    other = fl.SGD(np.ones(2), momentum=0.5)
    other.load(tmp_path / "run.npz")
    assert other.momentum == 0.0
    for one in (opt, other):
        one.momentum = 0.75
        run(one)
    assert picture(other) == picture(opt)


# ---------------------------------------------------------------------------------------------------------------------
# Spoiled files
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return the bytes of a file, and what loading it makes of an optimizer."""
    folder = tmp_path_factory.mktemp("checkpoint")
    small = fl.Adam({"W": np.ones((2, 3), np.float32), "b": np.array([0.25, 0.5])}, lr=0.5)
    run(small).save(folder / "run.npz")
    return (folder / "run.npz").read_bytes(), picture(small)


def loads(content, path):
    """Load a file of this content; return whether it was taken, after checking that it was wholly or not at all."""
    path.write_bytes(content)
    opt = fl.Adam({"W": np.zeros((2, 3), np.float32), "b": np.zeros(2)}, lr=0.125)
    before = picture(opt)
    try:
        opt.load(path)
    except (ValueError, TypeError) as error:
        assert re.fullmatch(r".+: (.* )?must .+; got .+\. .+\.", str(error), re.DOTALL), error  # noqa: PT017
        assert picture(opt) == before
        return False
    assert path.read_bytes() == content
    return picture(opt)


def test_a_whole_file_loads(checkpoint, tmp_path):
    content, expected = checkpoint
    assert loads(content, tmp_path / "run.npz") == expected


def test_truncated_files_are_refused(checkpoint, tmp_path):
    content, _ = checkpoint
    lengths = {0, 1, 2, 3, 4, 21, 22, 30, 100, *range(5, len(content), 61), *range(len(content) - 120, len(content))}
    for length in sorted(lengths):
        assert loads(content[:length], tmp_path / "run.npz") is False, length


def test_files_with_something_behind_or_before_them(checkpoint, tmp_path):
    """Zip allows both; it is refused, or it is the same state."""
    content, expected = checkpoint
    for other in (content + b"\0" * 100, content + b"x", b"\0" * 100 + content, content + content):
        assert loads(other, tmp_path / "run.npz") in (False, expected)


def test_files_with_a_piece_missing_or_doubled(checkpoint, tmp_path):
    content, _ = checkpoint
    for at in range(40, len(content) - 40, 501):
        assert loads(content[:at] + content[at + 1 :], tmp_path / "run.npz") is False
        assert loads(content[:at] + b"\0" + content[at:], tmp_path / "run.npz") is False


def test_single_flipped_bytes_are_refused_or_harmless(checkpoint, tmp_path):
    """Every third byte with all bits flipped, every seventh with one: the state is the saved one, or it is refused."""
    content, expected = checkpoint
    path = tmp_path / "run.npz"
    harmless = tried = 0
    places = [(at, 0xFF) for at in range(0, len(content), 3)] + [(at, 1 << at % 8) for at in range(1, len(content), 7)]
    for at, mask in places:
        spoiled = bytearray(content)
        spoiled[at] ^= mask
        found = loads(bytes(spoiled), path)
        assert found in (False, expected), at
        harmless += found is not False
        tried += 1
    assert 0 < harmless < tried / 4  # dates and the like in the zip's headers


def test_zeroed_pages_are_refused(checkpoint, tmp_path):
    """What a crash without fsync leaves."""
    content, _ = checkpoint
    page = 512
    for start in range(0, len(content), page):
        spoiled = content[:start] + b"\0" * min(page, len(content) - start) + content[start + page :]
        if spoiled != content:
            assert loads(spoiled, tmp_path / "run.npz") is False, start


def zipped(entries, **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def archived(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


FOREIGN = {
    "empty": b"",
    "text": b"lr = 0.5\n" * 10,
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
    "npy": npy(np.ones(3)),
    "npz": archived(W=np.ones((2, 3))),
    "npz-empty": archived(),
    "zip": zipped({"readme.txt": "hello"}),
    "zip-empty": zipped({}),
    "zip-of-text": zipped({"fallline.npy": "{}"}),
    "zip-not-npy": zipped({"fallline": '{"format": 1}'}),
    "pickle": npy(np.array({"format": 1}, dtype=object)),
    "npz-pickle": archived(fallline=np.array({"format": 1}, dtype=object)),
    "not-json": archived(fallline=np.array("format 1")),
    "json-list": archived(fallline=np.array("[1]")),
    "json-number": archived(fallline=np.array("1")),
    "json-null": archived(fallline=np.array("null")),
    "no-format": archived(fallline=np.array("{}")),
    "format-string": archived(fallline=np.array('{"format": "1", "arrays": []}')),
    "format-null": archived(fallline=np.array('{"format": null, "arrays": []}')),
    "only-format": archived(fallline=np.array('{"format": 1}')),
    "no-groups": archived(fallline=np.array('{"format": 1, "arrays": []}')),
    "arrays-dict": archived(fallline=np.array('{"format": 1, "arrays": {"0": ["W", "param", "float32"]}}')),
    "arrays-number": archived(fallline=np.array('{"format": 1, "arrays": 3}')),
    "arrays-pairs": archived(fallline=np.array('{"format": 1, "arrays": [["W", "param"]]}'), **{"0": np.ones(3)}),
    "arrays-odd": archived(fallline=np.array('{"format": 1, "arrays": [["W", 1, 3]]}'), **{"0": np.ones(3)}),
    "name-list": archived(fallline=np.array('{"format": 1, "arrays": [[[], "param", "f"]]}'), **{"0": np.ones(3)}),
    "array-missing": archived(fallline=np.array('{"format": 1, "arrays": [["W", "param", "float32"]]}')),
    "state-of-nothing": archived(
        fallline=np.array('{"format": 1, "arrays": [["q", "state:m", "float32"]]}'), **{"0": np.ones(3)}
    ),
    "bits-wrong": archived(
        fallline=np.array('{"format": 1, "arrays": [["W", "param", "bfloat16"]]}'), **{"0": np.ones(3, np.uint8)}
    ),
    "numbers": archived(fallline=np.arange(3)),
    "gzip": b"\x1f\x8b" + b"\0" * 100,
    "deep-json": archived(fallline=np.array("[" * 100_000)),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_refused(name, tmp_path):
    assert loads(FOREIGN[name], tmp_path / "run.npz") is False


def test_a_compressed_copy_of_a_checkpoint_loads(checkpoint, tmp_path):
    """Somebody repacked it: the entries decide, not how they are packed."""
    content, expected = checkpoint
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    assert loads(zipped(npz(path), compression=zipfile.ZIP_DEFLATED), path) == expected


def test_flipped_bytes_in_a_compressed_copy(checkpoint, tmp_path):
    content, expected = checkpoint
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    packed = zipped(npz(path), compression=zipfile.ZIP_DEFLATED)
    for at in range(0, len(packed), 11):
        spoiled = bytearray(packed)
        spoiled[at] ^= 0xFF
        assert loads(bytes(spoiled), path) in (False, expected), at


def rewritten(content, path, edit):
    """Return a checkpoint with its header edited, and its checksums right."""
    path.write_bytes(content)
    entries = npz(path)
    header = json.loads(str(np.load(io.BytesIO(entries["fallline.npy"]))))
    edit(header)
    entries["fallline.npy"] = npy(np.array(json.dumps(header)))
    return zipped(entries)


def array_of(header, name, kind):
    """Return the number of an array."""
    return [one[:2] for one in header["arrays"]].index([name, kind])


EDITS = {
    "newer": lambda header: header.update(format=2),
    "much-newer": lambda header: header.update(format=10**30),
    "negative-lr": lambda header: header["groups"][0].update(lr=-1.0),
    "nan": lambda header: header["groups"][0].update(eps=float("nan")),
    "string": lambda header: header["groups"][0].update(lr="0.5"),
    "list": lambda header: header["groups"][0].update(lr=[0.5]),
    "schedule": lambda header: header["groups"][0].update(lr={"schedule": "x", "state": None}),
    "odd-dict": lambda header: header["groups"][0].update(lr={"a": 1}),
    "betas": lambda header: header["groups"][0].update(betas=[0.9]),
    "betas-2": lambda header: header["groups"][0].update(betas=[0.9, 2.0]),
    "no-betas": lambda header: header["groups"][0].pop("betas"),
    "no-group": lambda header: header["groups"].clear(),
    "two-groups": lambda header: header["groups"].append(header["groups"][0]),
    "groups-dict": lambda header: header.update(groups={"0": header["groups"][0]}),
    "group-list": lambda header: header.update(groups=[[1, 2]]),
    "rule": lambda header: header.update(rule="sgd"),
    "rule-odd": lambda header: header.update(rule=["adam"]),
    "no-rule": lambda header: header.pop("rule"),
    "no-steps": lambda header: header.pop("steps"),
    "no-skipped": lambda header: header.pop("skipped"),
    "no-rng": lambda header: header.pop("rng"),
    "steps-string": lambda header: header.update(steps="3"),
    "steps-negative": lambda header: header.update(steps=-3),
    "steps-huge": lambda header: header.update(steps=10**30),
    "steps-float": lambda header: header.update(steps=2.5),
    "rng-negative": lambda header: header.update(rng=-1),
    "rng-string": lambda header: header.update(rng="x"),
    "rng-huge": lambda header: header.update(rng=2**64),
    "no-choices": lambda header: header.pop("choices"),
    "choices-list": lambda header: header.update(choices=[]),
    "choice-differs": lambda header: header["choices"].update(eps_mode="hat"),
    "choice-forgotten": lambda header: header["choices"].pop("amsgrad"),
    "choice-unknown": lambda header: header["choices"].update(mode="x"),
    "no-options": lambda header: header.pop("options"),
    "option-negative": lambda header: header["options"].update(clip_norm=-1.0),
    "option-string": lambda header: header["options"].update(clip_norm="1"),
    "option-schedule": lambda header: header["options"].update(clip_norm={"schedule": "x", "state": None}),
    "option-forgotten": lambda header: header["options"].pop("clip_norm"),
    "option-unknown": lambda header: header["options"].update(clip=1.0),
    "option-ema": lambda header: header["options"].update(ema=0.5),
    "no-arrays": lambda header: header.pop("arrays"),
    "arrays-dict": lambda header: header.update(arrays={str(i): one for i, one in enumerate(header["arrays"])}),
    "dtype-lies": lambda header: header["arrays"][array_of(header, "W", "param")].__setitem__(2, "bfloat16"),
    "another-kind": lambda header: header["arrays"][array_of(header, "b", "param")].__setitem__(1, "state:q"),
    "renamed": lambda header: header["arrays"][array_of(header, "W", "state:m")].__setitem__(0, "w"),
    "doubled": lambda header: header["arrays"].append(header["arrays"][0]),
    "forgets-the-last": lambda header: header["arrays"].pop(),
    "forgets-an-array": lambda header: header["arrays"].pop(array_of(header, "W", "state:m")),
    "forgets-a-param": lambda header: header["arrays"].pop(array_of(header, "b", "param")),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_headers_that_were_edited_are_refused(name, checkpoint, tmp_path):
    path = tmp_path / "run.npz"
    assert loads(rewritten(checkpoint[0], path, EDITS[name]), path) is False


def test_an_edit_that_is_right_is_taken(checkpoint, tmp_path):
    path = tmp_path / "run.npz"
    content = rewritten(checkpoint[0], path, lambda header: header["groups"][0].update(lr=0.0625))
    found = loads(content, path)
    assert found
    assert "lr=0.0625" in found[4]


def test_a_missing_file_and_a_folder(tmp_path):
    opt = adam()
    before = picture(opt)
    with pytest.raises(FileNotFoundError, match=r"run\.npz"):
        opt.load(tmp_path / "run.npz")
    with pytest.raises(OSError, match=tmp_path.name):
        opt.load(tmp_path)
    assert picture(opt) == before


def matrix_and_bias(shape=(3, 4), dtype=np.float64):
    return {"W": np.zeros(shape, dtype), "b": np.zeros(2)}


MISFITS = [
    pytest.param(lambda: fl.Adam({"W": np.zeros((3, 4))}), "adds b", id="surplus"),
    pytest.param(lambda: fl.Adam(matrix_and_bias() | {"c": np.zeros(1)}), "lacks c", id="missing"),
    pytest.param(lambda: fl.Adam({"w": np.zeros((3, 4)), "b": np.zeros(2)}), "lacks w and adds W", id="renamed"),
    pytest.param(lambda: fl.Adam([np.zeros((3, 4)), np.zeros(2)]), "lacks 0, 1 and adds W, b", id="list"),
    pytest.param(lambda: fl.Adam(matrix_and_bias((4, 3))), r"\['W'\] must be .*\(4, 3\); got .*\(3, 4\)", id="shape"),
    pytest.param(lambda: fl.Adam(matrix_and_bias(12)), r"\['W'\] must be .*\(12,\); got .*\(3, 4\)", id="flat"),
    pytest.param(lambda: fl.Adam(matrix_and_bias(dtype="f")), r"\['W'\] must be float32 .*; got float64", id="dtype"),
    pytest.param(lambda: fl.Adam(matrix_and_bias(), ema=0.5), "lacks W:average, b:average", id="ema"),
    pytest.param(lambda: fl.Adam(matrix_and_bias(), amsgrad=True), "rule 'amsgrad'; got 'adam'", id="amsgrad"),
    pytest.param(lambda: fl.NAdam(matrix_and_bias()), "rule 'nadam'; got 'adam'", id="rule"),
    pytest.param(lambda: fl.AdamW(matrix_and_bias()), "AdamW.* got .*Adam", id="class"),
    pytest.param(lambda: fl.Adam([{"params": matrix_and_bias()}]), "lacks 0/W, 0/b and adds W, b", id="groups"),
]


@pytest.mark.parametrize(("build", "text"), MISFITS)
def test_an_optimizer_that_does_not_fit_is_left_alone(build, text, tmp_path):
    run(fl.Adam(matrix_and_bias())).save(tmp_path / "run.npz")
    opt = run(build())
    before = picture(opt)
    with pytest.raises(ValueError, match=text):
        opt.load(tmp_path / "run.npz")
    assert picture(opt) == before


@pytest.mark.parametrize("way", ["master", "stochastic"])
def test_half_params_must_be_kept_in_the_same_way(way, tmp_path):
    other = {"master": "stochastic", "stochastic": "master"}[way]
    run(fl.Adam(np.ones(3, np.float16), half_params=way)).save(tmp_path / "run.npz")
    opt = fl.Adam(np.zeros(3, np.float16), half_params=other)
    before = picture(opt)
    text = rf"must have been built with \{{.*'half_params': '{other}'\}}; got \{{.*'half_params': '{way}'\}}\. "
    with pytest.raises(ValueError, match=text):
        opt.load(tmp_path / "run.npz")
    assert picture(opt) == before


@pytest.mark.parametrize("spoil", ["read-only", "resized"])
def test_parameters_that_cannot_be_written_leave_the_state_alone(spoil, tmp_path):
    params = {"a": np.ones(3), "b": np.ones(2)}
    opt = run(fl.Adam(params))
    opt.save(tmp_path / "run.npz")
    run(opt)
    if spoil == "read-only":
        params["b"].flags.writeable = False
    else:
        params["b"].resize(5, refcheck=False)
    before = picture(opt)
    with pytest.raises((ValueError, RuntimeError), match="must"):
        opt.load(tmp_path / "run.npz")
    assert picture(opt) == before


# ---------------------------------------------------------------------------------------------------------------------
# Interrupted and refused writing
# ---------------------------------------------------------------------------------------------------------------------


class Boom(BaseException):
    """Like KeyboardInterrupt: no Exception."""


def failing(module, name, monkeypatch, error, nth=1):
    """Make the nth call of a function fail."""
    real, calls = getattr(module, name), []

    def function(*args, **keywords):
        calls.append(args)
        if len(calls) == nth:
            raise error
        return real(*args, **keywords)

    monkeypatch.setattr(module, name, function)
    return calls


FULL = OSError(errno.ENOSPC, "No space left on device")
FAILURES = [
    pytest.param(np.lib.format, "write_array", 1, id="write-first"),
    pytest.param(np.lib.format, "write_array", 4, id="write-later"),
    pytest.param(zipfile.ZipFile, "open", 3, id="zip-entry"),
    pytest.param(os, "fsync", 1, id="fsync"),
    pytest.param(os, "replace", 1, id="replace"),
    pytest.param(json, "dumps", 1, id="header"),
]


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt(), Boom(), MemoryError()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("old", [True, False], ids=["over-a-file", "new"])
@pytest.mark.parametrize(("module", "name", "nth"), FAILURES)
def test_an_interrupted_save_leaves_the_old_file_and_no_debris(module, name, nth, old, error, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    opt = run(adam())
    if old:
        opt.save(path)
    content, saved = path.read_bytes() if old else None, picture(opt)
    run(opt)
    before = picture(opt)
    handles = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    with monkeypatch.context() as patch:
        calls = failing(module, name, patch, error, nth)
        with pytest.raises(type(error)) as caught:
            opt.save(path)
        assert caught.value is error
        assert len(calls) >= nth
    assert picture(opt) == before
    assert os.listdir(tmp_path) == (["run.npz"] if old else [])
    assert handles == (len(os.listdir("/proc/self/fd")) if handles else 0)
    if old:
        assert path.read_bytes() == content
        other = adam()
        other.load(path)
        assert picture(other) == saved
    opt.save(path)  # and the next save works
    other = adam()
    other.load(path)
    assert picture(other) == before


def test_a_full_disk_as_the_system_reports_it(tmp_path):
    """A limit on the size of files makes write() itself fail, in the middle of an array."""
    code = """
        import os, resource, signal, sys
        import numpy as np
        import fallline as fl
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        opt = fl.Adam(np.ones(1000))
        opt.save("run.npz")
        content = open_read("run.npz")
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, resource.RLIM_INFINITY))
        try:
            opt.save("run.npz")
        except OSError as error:
            print(error.errno)
        print(os.listdir("."), open_read("run.npz") == content)
    """
    helper = "def open_read(name):\n    with open(name, 'rb') as file:\n        return file.read()\n"
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", helper + textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{errno.EFBIG}\n['run.npz'] True\n", "")


def test_a_process_that_is_killed_while_saving_leaves_a_whole_file(tmp_path):
    """Killed at some moment of many saves, the file is the first or a later one, never half of one."""
    code = """
        import numpy as np
        import fallline as fl
        opt = fl.Adam(np.ones(20_000))
        opt.save("run.npz")
        print("saved", flush=True)
        while True:
            opt.step(np.ones(20_000))
            opt.save("run.npz")
    """
    for delay in (0.0, 0.013, 0.05):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout.readline() == b"saved\n"
            try:
                process.wait(delay or 0.001)
            except subprocess.TimeoutExpired:
                process.kill()
        opt = fl.Adam(np.zeros(20_000))
        opt.load(tmp_path / "run.npz")
        assert (opt.params == opt.params[0]).all()
        assert opt.steps == opt.state["0"]["t"]


def test_a_folder_that_is_not_there_or_cannot_be_written(tmp_path):
    opt = adam()
    with pytest.raises(FileNotFoundError) as caught:
        opt.save(tmp_path / "missing" / "run.npz")
    assert str(tmp_path / "missing") in str(caught.value)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        opt.save(tmp_path / "file" / "run.npz")
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        opt.save(tmp_path / "folder")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    if sys.platform.startswith("linux"):
        with pytest.raises(OSError, match="/proc"):
            opt.save("/proc/run.npz")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if not os.access(closed, os.W_OK):  # the superuser may write everywhere
        with pytest.raises(PermissionError, match="closed"):
            opt.save(closed / "run.npz")
        assert os.listdir(closed) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_that_any_new_file_has(mask, tmp_path):
    """A temporary file is private to its owner; a checkpoint is for whom the umask says."""
    before = os.umask(mask)
    try:
        adam().save(tmp_path / "run.npz")
    finally:
        os.umask(before)
    assert oct(stat.S_IMODE((tmp_path / "run.npz").stat().st_mode)) == oct(0o666 & ~mask)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links")
def test_saving_over_a_link_keeps_the_link(tmp_path):
    """`latest.npz -> runs/7.npz` is a common arrangement, and open(path, "wb") would write through it."""
    (tmp_path / "runs").mkdir()
    opt = run(adam())
    opt.save(tmp_path / "runs" / "7.npz")
    (tmp_path / "latest.npz").symlink_to(tmp_path / "runs" / "7.npz")
    run(opt)
    opt.save(tmp_path / "latest.npz")
    assert (tmp_path / "latest.npz").is_symlink()
    other = adam()
    other.load(tmp_path / "runs" / "7.npz")
    assert picture(other) == picture(opt)


def test_a_file_is_synced_before_it_is_renamed_and_the_folder_after(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (order.append(name), real(*args))[1])
    adam().save(tmp_path / "run.npz")
    assert order[:2] == ["fsync", "replace"]
    assert order[2:] == (["fsync"] if sys.platform != "win32" else [])


def test_the_file_aside_is_named_after_the_process(tmp_path, monkeypatch):
    """Short, whatever the file's own name is; hidden; in the same folder, so that it can be renamed."""
    seen = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (seen.append(str(source)), real(source, target))[1])
    for _ in range(2):
        adam().save(tmp_path / "run.npz")
    assert {os.path.dirname(path) for path in seen} == {os.path.realpath(tmp_path)}
    assert all(re.fullmatch(rf"\.fallline-{os.getpid()}-[0-9a-f]{{8}}", os.path.basename(path)) for path in seen)
    assert len(set(seen)) == 2


def test_loading_keeps_no_file_open(tmp_path):
    opt = run(adam())
    opt.save(tmp_path / "run.npz")
    opt.load(tmp_path / "run.npz")
    (tmp_path / "run.npz").unlink()
    if os.path.exists("/proc/self/fd"):
        links = [
            os.readlink(f"/proc/self/fd/{fd}")
            for fd in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{fd}")
        ]
        assert not any(str(tmp_path) in link for link in links)
