"""The demonstration: its hand-written gradient, what it trains, what it draws, and how it ends early."""

import dataclasses
import itertools
import json
import math
import os
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import fallline
from fallline import demo, handwriting, plot

pytest.importorskip("sklearn", reason="scikit-learn has the digits")

COMMAND = Path(sysconfig.get_path("scripts"), "fallline")

LECTURE = [
    "Gradient Descent",
    "Stochastic Gradient Descent",
    "Mini-Batch SGD",
    "SGD with momentum",
    "Nesterov Accelerated Gradient",
    "AdaGrad",
    "AdaDelta",
    "RMSprop",
    "Adam",
]
TITLES = [method.title for method in demo.METHODS]


@pytest.fixture(scope="module")
def data():
    return handwriting.load_data()


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """Run the demonstration through the console script, for two passes over the digits."""
    folder = tmp_path_factory.mktemp("demo")
    command = [COMMAND, "demo", "--epochs", "2", "--json", "--output", folder / "new" / "pictures"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def few_methods(monkeypatch):
    """Make a run short: three optimizers, one of each group."""
    methods = [demo.METHODS[TITLES.index(title)] for title in ("Mini-Batch SGD", "Adam", "AdamW")]
    monkeypatch.setattr(demo, "METHODS", methods)
    return methods


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(demo, "_draw", lambda folder, curves, paths: {})


@pytest.fixture
def no_check(monkeypatch):
    monkeypatch.setattr(demo, "check_network", lambda data, seed: {})


def untimed(result):
    return {key: value for key, value in result.items() if "seconds" not in key and "share" not in key}


# The check of its gradient


def test_the_gradient_passes_and_the_planted_bug_is_diagnosed(data):
    checks = demo.check_network(data)
    assert checks["network"].passed
    assert checks["network"].power < 1e-6
    assert checks["planted"].verdict == "fail"
    assert checks["planted"].wrong == ["W1", "b1", "W2", "b2"]
    (cause,) = checks["planted"].causes
    assert (cause.name, "X has 7 rows" in cause.text) == ("missing-mean", True)


def test_the_check_is_in_the_results_and_shown_first(small_run):
    check = json.loads(small_run.stdout)["check"]
    assert (check["network"]["verdict"], check["planted"]["verdict"]) == ("pass", "fail")
    before, _, after = small_run.stderr.partition("Gradient Descent")
    assert "PASS" in before
    assert "the mean over the batch is missing" in " ".join(before.split())
    assert "PASS" not in after


# The network


def test_backward_pass_agrees_with_the_complex_step():
    rng = np.random.default_rng(5)
    network = handwriting.init_network(6, 9, 4, rng)
    params = {name: weights + rng.standard_normal(weights.shape) / 4 for name, weights in network.items()}
    X, y = rng.standard_normal((7, 6)), rng.integers(0, 4, 7)
    assert np.abs(X @ params["W1"] + params["b1"]).min() > 1e-3  # no unit so near its kink that rounding decides
    _, grads = handwriting.loss_and_grad(params, X, y)
    h = 1e-200  # h**2 vanishes: no truncation error
    for name, weights in params.items():
        for index in np.ndindex(weights.shape):
            shifted = {**params, name: weights.astype(complex)}
            shifted[name][index] += 1j * h
            numeric = _loss(shifted, X, y).imag / h
            assert grads[name][index] == pytest.approx(numeric, rel=1e-12, abs=1e-14), (name, index)


def _loss(params, X, y):
    """Compute the mean cross-entropy as it is defined, sample by sample."""
    losses = []
    for x, digit in zip(X, y, strict=True):
        a = x @ params["W1"] + params["b1"]
        scores = np.where(a.real > 0, a, 0) @ params["W2"] + params["b2"]
        losses.append(-np.log(np.exp(scores[digit]) / np.exp(scores).sum()))
    return np.mean(losses)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_is_the_mean_cross_entropy_in_the_dtype_of_the_weights(dtype):
    rng = np.random.default_rng(6)
    params = {name: weights.astype(dtype) for name, weights in handwriting.init_network(6, 9, 4, rng).items()}
    X, y = rng.standard_normal((7, 6)).astype(dtype), rng.integers(0, 4, 7)
    loss, grads = handwriting.loss_and_grad(params, X, y)
    assert loss == pytest.approx(_loss(params, X, y), rel=100 * float(np.finfo(dtype).eps))  # some 100 roundings
    assert {name: (g.shape, g.dtype) for name, g in grads.items()} == {n: (p.shape, dtype) for n, p in params.items()}


def test_loss_survives_large_scores():
    params = {"W1": np.eye(2), "b1": np.zeros(2), "W2": np.eye(2) * 1e4, "b2": np.zeros(2)}
    loss, _ = handwriting.loss_and_grad(params, np.array([[1.0, 0.0]]), np.array([1]))
    assert loss == 1e4


def test_predictions_are_the_largest_scores():
    params = {"W1": np.eye(3), "b1": np.zeros(3), "W2": np.eye(3), "b2": np.array([0.0, 0.0, 5.0])}
    assert handwriting.predict(params, np.array([[9.0, 1, 0], [0, 7, 0], [1, 1, 1]])).tolist() == [0, 1, 2]


def test_data_are_scaled_and_all_digits_are_held_out(data):
    assert (data.X.shape, data.X_test.shape) == ((1347, 64), (450, 64))
    assert data.X.dtype == data.X_test.dtype == np.float32
    assert data.X.mean() == pytest.approx(0, abs=1e-5)  # of 86208 numbers in float32
    assert data.X.std() == pytest.approx(1, abs=1e-5)
    assert np.bincount(data.y_test).min() >= 40
    rows = {row.tobytes() for row in data.X}
    assert not any(row.tobytes() in rows for row in data.X_test)


# The optimizers


def test_the_lecture_comes_first_and_five_follow():
    assert TITLES[:9] == LECTURE
    assert len(set(TITLES)) == 14
    assert [method.batch_size for method in demo.METHODS[:3]] == [None, 1, 32]
    assert {method.name for method in demo.METHODS} <= set(fallline.optimizers())


@pytest.mark.parametrize("method", demo.METHODS, ids=TITLES)
def test_accuracy_after_all_passes(method, data):
    result, history = demo._train(method, data, demo.EPOCHS, 0, lambda epoch: None)
    assert history.stopped == "epochs"
    # Sixty steps of full-batch gradient descent are honestly fewer than what the others do in sixty passes.
    assert result["accuracy"] >= (0.95 if method.batch_size is None else 0.97)
    assert result["loss"] < (0.2 if method.batch_size is None else 0.01)


@pytest.mark.parametrize("method", demo.METHODS, ids=TITLES)
def test_descents_reach_the_ravines_bottom(method):
    path = demo._descend(method)
    assert path.shape == (demo.SURFACE_STEPS + 1, 2)
    assert tuple(path[0]) == demo.SURFACE.start
    # From 38.25; the noise of the stochastic ones keeps them from going much deeper.
    assert demo.SURFACE(path[-1]) < 0.1
    np.testing.assert_array_equal(demo._descend(method), path)


def test_a_diverging_optimizer_is_reported_as_such(data):
    wild = dataclasses.replace(demo.METHODS[2], digits={"lr": 1e30})
    result, history = demo._train(wild, data, 1, 0, lambda epoch: None)
    assert history.stopped == result["stopped"] == "non-finite loss"
    assert result["loss"] is None
    json.dumps(result, allow_nan=False)


# The whole


def test_small_run_prints_json_alone_and_progress_beside_it(small_run):
    assert small_run.returncode == 0, small_run.stderr
    results = json.loads(small_run.stdout)
    lines = small_run.stderr.splitlines()
    assert [line[:30].strip() for line in lines[-len(TITLES) :]] == TITLES
    assert lines[0] == "First, the network's gradient, which is written by hand. Is it right?"
    assert [row["optimizer"] for row in results["results"]] == TITLES
    assert [row["optimizer"] for row in results["surface"]] == TITLES
    assert (results["epochs"], results["interrupted"]) == (2, False)
    assert results["data"] == {"name": "digits of scikit-learn", "train": 1347, "test": 450}


def test_small_run_learns_counts_and_times(small_run):
    for row in json.loads(small_run.stdout)["results"]:
        batch = row["batch_size"] or 1347
        assert row["steps"] == 2 * math.ceil(1347 / batch), row
        assert row["accuracy"] > 0.25, row  # ten classes: chance is 0.10, and its standard deviation here 0.014
        assert 0 < row["optimizer_share"] < 1, row
        assert row["seconds_per_step"] == pytest.approx(row["seconds"] / row["steps"])


def test_small_run_draws_pictures(small_run):
    from matplotlib.image import imread

    pictures = json.loads(small_run.stdout)["pictures"]
    assert set(pictures) == {"losses", "descent"}
    assert Path(json.loads(small_run.stdout)["page"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    for path in pictures.values():
        assert Path(path).is_absolute()
        assert Path(path).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        image = imread(path)[..., :3]
        assert image.shape[0] > 500
        assert image.shape[1] > 1500
        assert image.std() > 0.05
        assert (np.ptp(image, axis=2) > 0.2).mean() > 0.005  # coloured pixels


def test_all_words_in_the_pictures_are_inside_and_apart():
    import matplotlib

    rng = np.random.default_rng(7)
    with matplotlib.rc_context(plot.STYLE):
        figures = [
            demo._draw_losses({title: np.geomspace(2, rng.uniform(0.001, 0.1), 60) for title in TITLES}),
            demo._draw_descent({method.title: demo._descend(method) for method in demo.METHODS}),
        ]
        for figure in figures:
            figure.draw_without_rendering()
            words = [child for part in (figure, *figure.axes) for child in part.get_children()]
            words = [word for word in words if isinstance(word, matplotlib.text.Text) and word.get_text()]
            boxes = [(word.get_text(), matplotlib.text.Text.get_window_extent(word)) for word in words]
            assert len(boxes) >= 18
            for name, box in boxes:
                assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, name
                assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, name
            for (one, box), (other, next_box) in itertools.combinations(boxes, 2):
                assert not box.overlaps(next_box), (one, other)


def test_results_are_the_same_again(few_methods, no_pictures, tmp_path, capfd):
    first, second = demo.run(tmp_path / "a", epochs=1), demo.run(tmp_path / "b", epochs=1)
    other = demo.run(tmp_path / "b", epochs=1, seed=1)
    assert list(map(untimed, first["results"])) == list(map(untimed, second["results"]))
    assert first["surface"] == second["surface"]
    assert all(a["loss"] != b["loss"] for a, b in zip(first["results"], other["results"], strict=True))


def test_ctrl_c_during_training_keeps_what_was_done(few_methods, no_check, tmp_path, monkeypatch, capfd):
    calls = []

    def interrupted_loss(params, X, y):
        calls.append(len(y))
        if len(calls) == 60:  # 43 steps and the final loss of the first optimizer, then in the midst of the second's
            raise KeyboardInterrupt
        return true_loss(params, X, y)

    true_loss = handwriting.loss_and_grad
    monkeypatch.setattr(demo, "loss_and_grad", interrupted_loss)
    results = demo.run(tmp_path, epochs=1)
    assert results["interrupted"] is True
    assert [(row["optimizer"], row["steps"], row["stopped"]) for row in results["results"]] == [
        ("Mini-Batch SGD", 43, "epochs"),
        ("Adam", 15, "interrupted"),
    ]
    assert (tmp_path / "losses.png").stat().st_size > 10_000
    assert (tmp_path / "descent.png").stat().st_size > 10_000


def test_ctrl_c_between_trainings_keeps_what_was_done(few_methods, tmp_path, monkeypatch, capfd):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_result", interrupt)
    results = demo.run(tmp_path, epochs=1)
    assert results["interrupted"] is True
    assert results["results"] == []
    assert set(results["pictures"]) == {"descent"}


@pytest.mark.parametrize("width", [40, 80])
def test_live_bars_on_a_terminal(few_methods, no_pictures, no_check, tmp_path, monkeypatch, capfd, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    demo.run(tmp_path, epochs=2)
    shown = capfd.readouterr().err
    names = [method.title if width == 80 else method.short for method in few_methods]
    assert all(name in shown for name in names)
    assert "━" in shown
    plain = [_without_escapes(line) for line in shown.splitlines()]
    assert max(map(len, plain)) <= width


def _without_escapes(line):
    import re

    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).rpartition("\r")[2]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda folder: demo.run(folder, epochs=0), ValueError, r"epochs: must be positive; got 0\."),
        (
            lambda folder: demo.run(folder / "file" / "below"),
            NotADirectoryError,
            r"output: must be a folder that can be written to; got '.*below' \(Not a directory\)\. Choose another with",
        ),
        (lambda folder: demo.run(folder / "file"), FileExistsError, r"output: must be a folder .* \(File exists\)\."),
    ],
)
def test_messages(call, error, message, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(error, match=message):
        call(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused_before_training(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(
        PermissionError, match=r"output: must be a folder that can be written to; .* \(Permission denied\)"
    ):
        demo.run(tmp_path)


@pytest.mark.parametrize("module", ["sklearn", "matplotlib", "rich"])
def test_missing_packages_are_named_before_training(module, tmp_path, monkeypatch):
    found = demo.find_spec
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == module else found(name))
    package = "scikit-learn" if module == "sklearn" else module
    with pytest.raises(ModuleNotFoundError, match=rf'got no {package}\. Run: pip install "fallline\[demo\]"'):
        demo.run(tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()
