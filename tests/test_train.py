"""Mini-batches and the training loop: every sample, every bit, closed forms, every exit, every error."""

import copy
import itertools
import json
import math
import pickle
import re
import signal
import sys
import tracemalloc

import numpy as np
import pytest

import fallline as fl
from fallline.train import Epoch, StopTraining

MODULE = sys.modules["fallline.train"]  # fl.train is the function

N = 10
X = np.arange(3.0 * N).reshape(N, 3)
Y = np.arange(N)


def listed(batches):
    return [batch.tolist() for batch in batches]


# Batches


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    ("size", "drop_last", "sizes"),
    [
        (1, False, [1] * 10),
        (1, True, [1] * 10),
        (2, False, [2] * 5),
        (3, False, [3, 3, 3, 1]),
        (3, True, [3, 3, 3]),
        (7, False, [7, 3]),
        (7, True, [7]),
        (10, True, [10]),
        (11, False, [10]),
        (np.int8(4), False, [4, 4, 2]),
        (None, False, [10]),
        (None, True, [10]),
    ],
)
def test_an_epoch_holds_every_sample_once(size, drop_last, sizes, shuffle):
    data = fl.batches(X, Y, size=size, epochs=3, rng=1, shuffle=shuffle, drop_last=drop_last)
    found = list(data)
    assert len(data) == len(found) == 3 * len(sizes)
    for k in range(3):
        epoch = found[k * len(sizes) : (k + 1) * len(sizes)]
        assert [(xb.shape, yb.shape) for xb, yb in epoch] == [((n, 3), (n,)) for n in sizes]
        assert {(xb.dtype, yb.dtype) for xb, yb in epoch} == {(X.dtype, Y.dtype)}
        seen = [sample for _, yb in epoch for sample in yb.tolist()]
        assert len(set(seen)) == len(seen) == sum(sizes)
        assert shuffle or seen == list(range(sum(sizes)))
        for xb, yb in epoch:
            assert xb.tolist() == X[yb].tolist()


def test_each_epoch_is_shuffled_anew():
    orders = {tuple(batch.tolist()) for batch in fl.batches(np.arange(100), size=100, epochs=5, rng=0)}
    assert len(orders | {tuple(range(100))}) == 6


def test_drop_last_drops_other_samples_in_each_epoch():
    kept = listed(fl.batches(Y, size=9, epochs=100, rng=0, drop_last=True))
    assert {missing for batch in kept for missing in set(range(N)) - set(batch)} == set(range(N))


@pytest.mark.parametrize("size", [1, 3, 10])
def test_the_same_rng_gives_the_same_batches(size):
    first = listed(fl.batches(Y, size=size, epochs=4, rng=7))
    assert first == listed(fl.batches(Y, size=size, epochs=4, rng=7))
    assert first == listed(fl.batches(Y, size=size, epochs=4, rng=np.random.default_rng(7)))
    assert first != listed(fl.batches(Y, size=size, epochs=4, rng=8))


def test_the_order_does_not_depend_on_the_size_or_the_arrays():
    order = [sample for batch in fl.batches(Y, size=3, epochs=2, rng=7) for sample in batch.tolist()]
    assert order == [int(yb[0]) for _, yb, _ in fl.batches(X, Y, X, size=1, epochs=2, rng=7)]


def test_without_rng_the_order_is_not_fixed():
    one, other = (listed(fl.batches(np.arange(1000), size=1000)) for _ in range(2))
    assert one != other


def test_a_generator_is_used_up_and_not_copied():
    rng = np.random.default_rng(7)
    one, other = (listed(fl.batches(Y, size=3, rng=rng)) for _ in range(2))
    assert one + other == listed(fl.batches(Y, size=3, epochs=2, rng=7))


def test_iterating_again_goes_on_shuffling():
    data = fl.batches(Y, size=5, rng=7)
    assert listed(data) + listed(data) == listed(fl.batches(Y, size=5, epochs=2, rng=7))


def test_one_array_gives_arrays_and_several_give_tuples():
    assert all(type(batch) is np.ndarray for batch in fl.batches(Y, size=3, epochs=2))
    assert all(type(batch) is tuple and len(batch) == 2 for batch in fl.batches(Y, X, size=3, epochs=2))
    assert all(type(batch) is tuple and len(batch) == 3 for batch in fl.batches(Y, X, Y, size=None))


@pytest.mark.parametrize("size", [1, 3, 10])
@pytest.mark.parametrize(
    "array",
    [
        X,
        X.astype(">f4"),
        np.asfortranarray(X),
        X[:, ::2],
        X[::-1],
        np.frombuffer(b"\0" + X.tobytes(), dtype=np.uint8)[1:].view(float).reshape(X.shape),
        np.arange(2 * N * 2).reshape(N, 2, 2).transpose(0, 2, 1),
        Y % 2 == 0,
        Y.astype("U2"),
        Y.astype(object),
        np.zeros((N, 0)),
    ],
    ids=["C", "swapped", "F", "columns", "reversed", "misaligned", "3-d", "bool", "str", "object", "empty rows"],
)
def test_shuffled_batches_share_memory_with_nothing(array, size):
    found = list(fl.batches(array, Y, size=size, rng=3, epochs=2))
    for i, (xb, yb) in enumerate(found):
        assert xb.flags.c_contiguous
        assert xb.flags.writeable
        assert xb.dtype == array.dtype
        assert np.array_equal(xb, array[yb])
        others = itertools.chain([array, Y], *found[:i])
        assert not any(np.shares_memory(other, batch) for other in others for batch in (xb, yb))


@pytest.mark.parametrize("array", [np.zeros((1000, 1000)), np.zeros((1000, 1000)).T], ids=["C", "F"])
def test_a_batch_does_not_cost_a_copy_of_the_data(array):
    data = iter(fl.batches(array, size=4, rng=0))
    tracemalloc.start()
    try:
        next(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 4 * 1000 * 8 <= peak < array.nbytes / 10, "the gathered rows, and little else"


@pytest.mark.parametrize("size", [1, 2, 7, 5000, 8192, 20000])
def test_data_larger_than_what_is_gathered_at_once(size):
    samples = 20000  # of 16 bytes: 4096 of them are 64 KiB
    a = np.arange(samples, dtype=np.int64)
    b = 2 * a
    found = list(fl.batches(a, b, size=size, rng=0))
    assert [len(batch) for batch, _ in found] == [min(size, samples - i) for i in range(0, samples, size)]
    seen = np.concatenate([batch for batch, _ in found])
    assert np.array_equal(np.sort(seen), a)
    assert np.array_equal(np.concatenate([batch for _, batch in found]), 2 * seen)


@pytest.mark.parametrize("size", [1, 3, 10, 11])
def test_batches_in_order_are_views(size):
    for xb, yb in fl.batches(X, Y, size=size, epochs=2, shuffle=False):
        assert np.shares_memory(xb, X)
        assert np.shares_memory(yb, Y)


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_whole_data_are_not_copied(shuffle):
    rng = np.random.default_rng(0)
    for xb, yb in fl.batches(X, Y, size=None, epochs=2, rng=rng, shuffle=shuffle):
        assert xb is X
        assert yb is Y
    assert rng.random() == np.random.default_rng(0).random(), "nothing is shuffled, so nothing is drawn"


def test_a_memory_mapped_array_gives_plain_arrays(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for xb, yb in fl.batches(mapped, Y, size=3, rng=0):
        assert type(xb) is np.ndarray
        assert not np.shares_memory(xb, mapped)
        assert xb.tolist() == X[yb].tolist()


def test_lists_become_arrays():
    assert listed(fl.batches([[1, 2], [3, 4]], size=1, shuffle=False)) == [[[1, 2]], [[3, 4]]]


def test_batches_say_what_they_are():
    assert repr(fl.batches(X, Y, size=3, epochs=2)) == "<batches of 3 from 10 samples, 4 an epoch, epochs=2>"


# Training on a problem whose iterates are known: loss (w - mean x)^2 / 2, so that every step multiplies w - mean x by
# 1 - lr. All numbers are small sums of powers of 2, so float64 holds them exactly.

PAIR = np.array([1.0, 3.0])


def pull(w, x):
    residual = w - x.mean()
    return 0.5 * float(residual @ residual), residual


def descend(w=None, *, lr=0.5, x=PAIR, function=pull, **keywords):
    w = np.zeros(1) if w is None else w
    optimizer = fl.SGD(w, lr=lr)
    return w, optimizer, fl.train(function, w, x, optimizer=optimizer, **{"batch_size": None, "epochs": 6, **keywords})


def on_call(n, action):
    """Make `pull` do something instead when it is called for the n-th time."""
    calls = itertools.count(1)
    return lambda w, x: action() if next(calls) == n else pull(w, x)


def fail(error):
    raise error


def stop_at_once(w, x):
    raise StopTraining


def test_gradient_descent_has_the_closed_form():
    w, optimizer, history = descend()
    losses = [2 * 4.0**-t for t in range(6)]
    assert history.loss.tolist() == history.epoch_loss.tolist() == losses
    assert history.lr.tolist() == [0.5] * 6
    assert w.tolist() == [2 - 2 * 2.0**-6]
    assert (history.steps, history.epochs, optimizer.steps) == (6, 6, 6)
    assert (history.stopped, history.metrics) == ("epochs", {})
    best = history.best
    assert (best.epoch, best.steps, best.loss, best.monitored, best.lr) == (6, 6, losses[-1], losses[-1], 0.5)
    assert {a.dtype for a in (history.loss, history.lr, history.epoch_loss)} == {np.dtype("float64")}


def test_the_learning_rate_of_every_step_is_recorded():
    w, _, history = descend(lr=lambda t: 2.0 ** -(t + 1), epochs=3)
    assert history.lr.tolist() == [1 / 2, 1 / 4, 1 / 8]
    assert history.loss.tolist() == [2.0, 2 * (1 / 2) ** 2, 2 * (1 / 2 * 3 / 4) ** 2]
    assert w.tolist() == [2 - 2 * (1 / 2 * 3 / 4 * 7 / 8)]


@pytest.mark.parametrize("size", [1, 2, 3, None])
def test_the_batches_are_those_of_the_same_rng(size):
    x = np.array([0.0, 8.0, 16.0, 4.0, 2.0])
    w, _, history = descend(x=x, batch_size=size, epochs=3, rng=5)
    value, losses = 0.0, []
    for batch in fl.batches(x, size=size, epochs=3, rng=5):
        mean = float(batch.mean())
        losses.append(0.5 * (value - mean) ** 2)
        value = value - 0.5 * (value - mean)
    assert history.loss.tolist() == losses
    assert w.tolist() == [value]
    assert history.steps == len(losses)


def test_several_arrays_reach_the_function():
    w, seen = np.zeros(1), []

    def function(params, xb, yb, zb):
        assert params is w
        seen.extend(zip(xb.tolist(), yb.tolist(), zb.tolist(), strict=True))
        return 0.0, np.zeros(1)

    fl.train(function, w, (X, Y, -Y), optimizer=fl.SGD(w), batch_size=3, epochs=1)
    assert sorted(seen) == [(X[i].tolist(), i, -i) for i in range(N)]


def test_the_loss_of_an_epoch_is_the_mean_over_samples():
    # Batches of 3, 3 and 2 from multiples of 6: all batch means are integers, and the weights are eighths.
    x = 6.0 * np.arange(8)
    _, _, history = descend(x=x, function=lambda w, xb: (xb.mean(), np.zeros(1)), batch_size=3, epochs=4, rng=0)
    assert history.epoch_loss.tolist() == [21.0] * 4
    assert history.loss.reshape(4, 3).mean(axis=1).tolist() != [21.0] * 4


def test_losses_whose_sum_overflows_have_a_mean():
    huge = 1.5 * 2.0**1023
    _, _, history = descend(x=np.zeros(4), function=lambda w, x: (huge, np.zeros(1)), batch_size=1, epochs=1)
    assert history.epoch_loss.tolist() == [huge]


@pytest.mark.parametrize("loss", [1.5, np.float32(1.5), np.array(1.5), np.float64(1.5), 2, np.int64(2)], ids=repr)
def test_any_real_number_is_a_loss(loss):
    _, _, history = descend(function=lambda w, x: (loss, np.zeros(1)))
    assert history.loss.tolist() == [float(loss)] * 6


def test_params_may_be_arranged_otherwise_than_the_optimizers():
    w, b = np.zeros(1), np.zeros(2)
    params = {"layer": {"w": w}, "b": b}

    def function(p, x):
        assert p is params
        return 0.0, [np.ones(1), np.ones(2)]

    fl.train(function, params, PAIR, optimizer=fl.SGD([w, b], lr=1.0), epochs=2)
    assert (w.tolist(), b.tolist()) == ([-2.0], [-2.0, -2.0])


def test_training_again_trains_on():
    w, optimizer, _ = descend(epochs=2)
    again = fl.train(pull, w, PAIR, optimizer=optimizer, batch_size=None, epochs=4)
    assert again.loss.tolist() == [2 * 4.0**-t for t in range(2, 6)]
    assert (optimizer.steps, again.best.epoch, again.best.steps) == (6, 4, 4)


# Validation, monitoring, patience


def preset(values):
    """Make a validation that returns these values, one after the other."""
    iterator = iter(values)
    return lambda params: next(iterator)


def test_the_validation_sees_the_parameters_after_the_epoch():
    w, _, history = descend(validation=lambda params: params[0], batch_size=1, x=np.array([2.0, 2.0]), epochs=3)
    assert history.metrics.keys() == {"validation"}
    assert history.metrics["validation"].tolist() == [2 - 2 * 2.0 ** -(2 * k) for k in (1, 2, 3)]
    assert history.metrics["validation"].dtype == np.float64
    assert w[0] == history.metrics["validation"][-1]


def test_a_validation_may_return_several_numbers():
    values = [{"error": 3, "hits": 1}, {"error": np.float32(1), "hits": 5}, {"error": 2, "hits": np.int8(7)}]
    history = descend(validation=preset(values), epochs=3)[2]
    assert {name: v.tolist() for name, v in history.metrics.items()} == {"error": [3, 1, 2], "hits": [1, 5, 7]}
    assert history.best.metrics == {"error": 1.0, "hits": 5.0}
    history = descend(validation=preset(values), epochs=3, monitor="hits", mode="max")[2]
    assert (history.best.epoch, history.best.monitored) == (3, 7.0)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "epochs", "best", "stopped"),
    [
        ([5, 3, 4, 3, 2, 6, 6, 6, 0], 3, 0, 8, 5, "patience"),
        ([5, 3, 4, 3, 2, 6, 6, 6, 0], 3, 1, 5, 5, "patience"),  # 2 is the best, but not better than 3 by more than 1
        ([5, 3, 4, 3, 2, 6, 6, 6, 0], 3, 0.5, 8, 5, "patience"),
        ([5, 3, 4, 3, 2, 6, 6, 6, 0], 4, 0, 9, 9, "epochs"),
        ([5, 3, 3, 1], 1, 0, 3, 2, "patience"),
        ([4, 3, 2, 1], 1, 0, 4, 4, "epochs"),
        ([4, 3, 3, 3], 2, 0, 4, 2, "patience"),  # in the last epoch
        ([math.nan, 4, math.nan, 5, 1], 2, 0, 4, 2, "patience"),
        ([math.inf, 4, math.inf, 5, 1], 2, 0, 4, 2, "patience"),
        ([math.nan, math.nan, 1], 2, 0, 2, None, "patience"),
        ([5, 3, 4], None, 0, 3, 2, "epochs"),
    ],
)
def test_patience(values, patience, min_delta, epochs, best, stopped, sign):
    validation = preset([sign * value for value in values])
    mode = "min" if sign == 1 else "max"
    keywords = {"patience": patience, "min_delta": min_delta, "mode": mode, "epochs": len(values)}
    w, optimizer, history = descend(validation=validation, **keywords)
    assert (history.epochs, history.steps, history.stopped) == (epochs, epochs, stopped)
    assert np.array_equal(history.metrics["validation"], sign * np.array(values[:epochs], dtype=float), equal_nan=True)
    assert (history.best and history.best.epoch) == best
    at = epochs if patience is None or best is None else best
    assert w.tolist() == [2 - 2 * 2.0**-at]
    assert optimizer.steps == at


def test_without_validation_patience_watches_the_training_loss():
    losses = iter([3.0, 2.0, 2.0, 2.5, 1.0])
    history = descend(function=lambda w, x: (next(losses), np.zeros(1)), patience=2)[2]
    assert (history.epochs, history.best.epoch, history.best.monitored, history.stopped) == (4, 2, 2.0, "patience")


OPTIMIZERS = {
    "sgd": lambda p: fl.SGD(p, lr=0.1),
    "nesterov": lambda p: fl.Nesterov(p, lr=0.1),
    "adam": lambda p: fl.Adam(p, lr=lambda t: 0.1 / (1 + t)),
    "ema": lambda p: fl.AdamW(p, lr=0.1, ema=0.9),
    "asgd": lambda p: fl.ASGD(p, lr=0.1, t0=2),
    "schedule-free": lambda p: fl.ScheduleFreeAdamW(p, lr=0.1),
    "plateau": lambda p: fl.SGD(p, lr=fl.schedules.ReduceOnPlateau(0.1, patience=0)),
    "master": lambda p: fl.Adam(p, lr=0.01),
    "stochastic": lambda p: fl.Momentum(p, lr=0.01, half_params="stochastic", rng=3),
}
EXITS = {
    "patience": {"patience": 3},
    "epochs": {"patience": 5, "epochs": 5},
    "callback": {"patience": 9, "callbacks": lambda epoch: epoch.epoch == 5},
    "interrupted": {"patience": 9, "at": (18, KeyboardInterrupt())},
    "non-finite loss": {"patience": 9, "at": (18, None)},
}


def regression(at=(0, None)):
    """Make the loss of a linear regression that goes wrong at its n-th call."""
    calls, (n, error) = itertools.count(1), at

    def loss_and_grad(params, x, y):
        if next(calls) == n:
            return (math.nan, params) if error is None else fail(error)
        residual = x @ params["w"] + params["b"] - y
        grads = {"w": x.T @ residual / len(x), "b": np.array([residual.mean()])}
        grads = {name: grad.astype(params[name].dtype) for name, grad in grads.items()}
        return 0.5 * float(residual @ residual) / len(x), grads

    return loss_and_grad


def bits(params):
    return {name: a.tobytes() for name, a in params.items()}


@pytest.mark.parametrize("stopped", EXITS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_best_epoch_is_restored_to_the_bit(name, stopped):
    rng = np.random.default_rng(11)
    x = rng.standard_normal((12, 3))
    data = x, x @ [1.0, -2.0, 0.5] + 0.3

    def start():
        dtype = np.float16 if name in ("master", "stochastic") else np.float64
        params = {"w": np.zeros(3, dtype), "b": np.zeros(1, dtype)}
        return params, OPTIMIZERS[name](params)

    params, optimizer = start()
    keywords = {"batch_size": 3, "epochs": 9, "rng": 2, **EXITS[stopped]}
    function = regression(keywords.pop("at", (0, None)))
    values = [3, 2, 1, 4, 5, 6, 7, 8, 9]
    history = fl.train(function, params, data, optimizer=optimizer, validation=preset(values), **keywords)
    assert (history.stopped, history.best.epoch) == (stopped, 3)
    assert history.steps > 12

    only, other = start()
    fl.train(regression(), only, data, optimizer=other, batch_size=3, epochs=3, rng=2, validation=preset(values))
    assert bits(params) == bits(only)
    assert optimizer.steps == other.steps == 12
    # The optimizer is where it was, too: both go on alike.
    for p, o in ((params, optimizer), (only, other)):
        fl.train(regression(), p, data, optimizer=o, batch_size=3, epochs=2, rng=4)
    assert bits(params) == bits(only)
    if name in ("ema", "asgd", "schedule-free"):
        assert bits(optimizer.averaged()) == bits(other.averaged())


def test_without_patience_the_last_parameters_stay():
    w, _, history = descend(validation=preset([1, 2, 3, 4, 5, 6]))
    assert history.best.epoch == 1
    assert w.tolist() == [2 - 2 * 2.0**-6]


def test_the_validation_may_ask_for_averaged_weights():
    w = np.zeros(1)
    optimizer = fl.SGD(w, lr=0.5, ema=0.5)
    seen = []
    fl.train(pull, w, PAIR, optimizer=optimizer, epochs=3, batch_size=None,
             validation=lambda params: seen.append((params[0], optimizer.averaged()[0])) or 0.0)  # fmt: skip
    assert [raw for raw, _ in seen] == [1.0, 1.5, 1.75]
    assert all(average != raw for raw, average in seen[1:])


# Schedules with state


def test_reduce_on_plateau_is_given_the_monitored_number():
    # Updates: best, bad, bad (one more than patience: halved), bad, bad (halved), bad.
    rate = fl.schedules.ReduceOnPlateau(0.5, factor=0.5, patience=1)
    history = descend(lr=rate, validation=lambda params: 1.0)[2]
    assert history.lr.tolist() == [0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_reduce_on_plateau_in_mode_max():
    rate = fl.schedules.ReduceOnPlateau(0.5, mode="max", factor=0.5, patience=0)
    history = descend(lr=rate, validation=preset([1, 2, 1, 3]), epochs=4, mode="max")[2]
    assert history.lr.tolist() == [0.5, 0.5, 0.5, 0.25]
    assert rate.current == 0.25


def test_a_schedule_shared_by_groups_is_updated_once():
    class Counter:
        updates = 0

        def __call__(self, t):
            return 0.5

        def update(self, metric):
            self.updates += 1

    rate, other = Counter(), Counter()
    w, b = np.zeros(1), np.zeros(1)
    groups = [{"params": w, "lr": rate}, {"params": b, "lr": other}, {"params": (c := np.zeros(1)), "lr": rate}]
    optimizer = fl.SGD(groups)
    optimizer.groups[0].lr = rate
    fl.train(lambda p, x: (0.0, [np.zeros(1)] * 3), [w, b, c], PAIR, optimizer=optimizer, epochs=4)
    assert (rate.updates, other.updates) == (4, 4)


# Callbacks and exits


def test_callbacks_receive_every_epoch():
    first, second = [], []
    _, _, history = descend(callbacks=[first.append, second.append], validation=lambda params: params[0], epochs=3)
    assert first == second
    assert [type(epoch) for epoch in first] == [Epoch] * 3
    assert [(e.epoch, e.steps, e.loss, e.lr) for e in first] == [(k, k, 2 * 4.0 ** (1 - k), 0.5) for k in (1, 2, 3)]
    assert [e.metrics for e in first] == [{"validation": 2 - 2 * 2.0**-k} for k in (1, 2, 3)]
    assert [e.monitored for e in first] == history.metrics["validation"].tolist()
    assert 0 < first[0].seconds <= first[1].seconds <= first[2].seconds <= history.seconds
    assert history.best == first[0]


@pytest.mark.parametrize("answer", [True, np.True_], ids=repr)
def test_a_callback_that_returns_true_stops(answer):
    called = []
    callbacks = (lambda epoch: answer if epoch.epoch == 2 else False, lambda epoch: called.append(epoch.epoch))
    history = descend(callbacks=callbacks)[2]
    assert (history.stopped, history.epochs, called) == ("callback", 2, [1, 2])


@pytest.mark.parametrize("answer", [None, False, np.False_, 1, 57, "text", [0]], ids=repr)
def test_a_callback_that_returns_anything_else_does_not(answer):
    assert descend(callbacks=lambda epoch: answer)[2].stopped == "epochs"


def test_stop_training_in_a_callback():
    history = descend(callbacks=lambda epoch: fail(StopTraining()) if epoch.loss < 0.2 else None)[2]
    assert (history.stopped, history.epochs) == ("callback", 3)


EVENTS = {
    "callback": lambda: fail(StopTraining()),
    "interrupted": lambda: signal.raise_signal(signal.SIGINT),
    "non-finite loss": lambda: (math.nan, np.array([math.nan])),
}


@pytest.mark.parametrize("stopped", EVENTS)
@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_what_was_done_before_an_exit_is_kept(stopped, n):
    keywords = {"x": np.full(3, 2.0), "batch_size": 1, "epochs": 4}
    w, optimizer, history = descend(function=on_call(n, EVENTS[stopped]), **keywords)
    losses = [2 * 4.0**-t for t in range(n - 1)]
    assert history.stopped == stopped
    assert history.loss.tolist() == losses
    assert len(history.lr) == history.steps == optimizer.steps == n - 1
    assert history.epochs == (n - 1) // 3
    # The sum of three weighted losses is rounded: by 3 products and 2 sums.
    expected = [sum(losses[3 * k : 3 * k + 3]) / 3 for k in range((n - 1) // 3)]
    assert history.epoch_loss.tolist() == pytest.approx(expected, rel=5 * 2.0**-52, abs=0)
    assert w.tolist() == [2 - 2 * 2.0 ** (1 - n)]
    assert (history.best is None) == (n <= 3)


@pytest.mark.parametrize("loss", [math.inf, -math.inf, np.float32("nan")], ids=repr)
def test_a_loss_that_is_not_finite_ends_training_before_its_step(loss):
    w, _, history = descend(function=on_call(3, lambda: (loss, np.ones(1))))
    assert (history.stopped, history.steps, w.tolist()) == ("non-finite loss", 2, [1.5])


def test_gradients_that_are_not_finite_are_left_to_the_optimizer():
    function = on_call(3, lambda: (1.0, np.array([math.nan])))
    w = np.zeros(1)
    with pytest.raises(ValueError, match="must be finite"):
        descend(w, function=function)
    assert w.tolist() == [1.5]
    optimizer = fl.SGD(w, lr=0.5, nonfinite="skip")
    history = fl.train(on_call(3, lambda: (1.0, np.array([math.nan]))), w, PAIR, optimizer=optimizer, epochs=4)
    assert history.loss.tolist() == [2 * 4.0**-2, 2 * 4.0**-3, 1.0, 2 * 4.0**-4]
    assert (history.steps, optimizer.steps, optimizer.skipped) == (4, 3, 1)


def test_a_diverging_run_ends_with_its_finite_losses():
    # Every step multiplies w by -2^50, so the losses are 2^(100 t - 1); 2^999 is the last below 2^1024.
    with np.errstate(over="ignore"):
        w, _, history = descend(np.ones(1), x=np.zeros(1), lr=2.0**50 + 1, epochs=100)
    assert history.stopped == "non-finite loss"
    assert history.loss.tolist() == [2.0 ** (100 * t - 1) for t in range(11)]
    assert w.tolist() == [-(2.0**550)]


def test_an_interrupted_validation_keeps_the_steps():
    validation = lambda params: 1.0 if params[0] < 1.6 else fail(KeyboardInterrupt())  # noqa: E731
    history = descend(validation=validation)[2]
    assert (history.stopped, history.steps, history.epochs) == ("interrupted", 3, 2)
    assert history.metrics["validation"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("where", ["function", "validation", "callbacks"])
def test_other_errors_pass_through(where):
    w = np.zeros(1)
    error = ZeroDivisionError("mine")
    function = on_call(3, lambda: fail(error)) if where == "function" else pull
    keywords = {} if where == "function" else {where: lambda _: fail(error)}
    with pytest.raises(ZeroDivisionError, match="mine"):
        descend(w, function=function, **keywords)
    assert w.tolist() == ([1.5] if where == "function" else [1.0])


def test_errors_of_the_function_are_not_mistaken_for_a_wrong_result():
    with pytest.raises(TypeError, match=r"^mine$"):
        descend(function=lambda w, x: fail(TypeError("mine")))


# History


def test_times_are_measured_around_the_steps(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(MODULE, "perf_counter", lambda: float(next(ticks)))
    history = descend(epochs=4)[2]
    # One look at the clock at the start, two for each of 4 steps, one for each of 4 epochs, one at the end.
    assert history.optimizer_seconds == 4.0
    assert history.seconds == 1 + 2 * 4 + 4


def test_a_history_as_a_dict():
    history = descend(validation=lambda params: {"error": 1.0, "hits": 2}, epochs=2)[2]
    d = history.to_dict()
    assert json.loads(json.dumps(d)) == d
    assert (d["steps"], d["epochs"], d["stopped"]) == (2, 2, "epochs")
    assert (d["loss"], d["epoch_loss"], d["lr"]) == ([2.0, 0.5], [2.0, 0.5], [0.5, 0.5])
    assert d["metrics"] == {"error": [1.0, 1.0], "hits": [2.0, 2.0]}
    assert d["best"]["epoch"] == 1
    assert d["best"]["metrics"] == {"error": 1.0, "hits": 2.0}
    assert (d["seconds"], d["optimizer_seconds"]) == (history.seconds, history.optimizer_seconds)
    assert descend(function=stop_at_once)[2].to_dict()["best"] is None


def test_a_history_reads_well(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(MODULE, "perf_counter", lambda: float(next(ticks)))
    history = descend(epochs=4, validation=preset([0.5, 0.25, 0.125, 1]))[2]
    assert repr(history).splitlines() == [
        "History: 4 steps, 4 epochs in 13 s (4 s in the optimizer), stopped by 'epochs'",
        "  loss: 2 in the first epoch, 0.03125 in the last",
        "  validation: 0.5 in the first epoch, 1 in the last",
        "  best: 0.125 in epoch 3",
    ]
    assert len(repr(descend(function=stop_at_once)[2]).splitlines()) == 1


def test_a_history_can_be_pickled_and_copied():
    history = descend(validation=lambda params: 1.0)[2]
    for other in (pickle.loads(pickle.dumps(history)), copy.deepcopy(history)):
        assert other.to_dict() == history.to_dict()


# Progress


def shown(capsys):
    out, err = capsys.readouterr()
    assert out == "", "the standard output is the user's"
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err)


def test_training_is_quiet(capsys):
    descend()
    assert shown(capsys) == ""


@pytest.fixture
def wide(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "150")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_progress_without_a_terminal_is_one_line(capsys, wide):
    history = descend(progress=True, batch_size=1, epochs=3, validation=lambda params: {"[red]hits": 0.25})[2]
    (line,) = shown(capsys).splitlines()
    assert line.startswith("epoch 3/3 ")
    assert f"6/6 loss {history.loss[-1]:.4g} [red]hits 0.25" in line


def test_progress_on_a_terminal_is_live(capsys, wide):
    wide.setenv("FORCE_COLOR", "1")
    wide.setenv("TERM", "xterm")
    wide.setattr(MODULE, "_SECONDS_BETWEEN_DRAWINGS", 0.0)
    descend(progress=True, batch_size=1, epochs=3)
    text = shown(capsys)
    drawn = re.findall(r"epoch (\d)/3\D+(\d)/6", text)
    assert drawn[-1] == ("3", "6")
    assert {("1", "1"), ("1", "2"), ("2", "3"), ("2", "4"), ("3", "5")} <= set(drawn)


def test_progress_is_drawn_ten_times_a_second_at_most(capsys, wide):
    wide.setenv("FORCE_COLOR", "1")
    wide.setenv("TERM", "xterm")
    ticks = itertools.count()
    wide.setattr(MODULE, "perf_counter", lambda: next(ticks) * 0.001)  # so 1000 looks at the clock are one second
    descend(progress=True, batch_size=1, x=np.full(1000, 2.0), epochs=1)
    # 2000 looks at the clock around the steps, and one after each drawing.
    assert 15 <= shown(capsys).count("epoch 1/1") <= 25


@pytest.mark.parametrize("stopped", EVENTS)
def test_progress_ends_with_the_training(capsys, wide, stopped):
    history = descend(progress=True, function=on_call(3, EVENTS[stopped]))[2]
    assert history.stopped == stopped
    assert " 2/6 loss 0.5" in shown(capsys)


def test_progress_ends_before_the_first_step(capsys, wide):
    descend(progress=True, function=stop_at_once)
    assert " 0/6 " in shown(capsys)


def test_progress_needs_rich(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"] + ["rich"]:
        monkeypatch.setitem(sys.modules, name, None)
    w = np.zeros(1)
    message = 'train: progress=True must find the package rich; got none. Run: pip install "fallline[progress]"'
    with pytest.raises(ModuleNotFoundError, match=f"^{re.escape(message)}$"):
        descend(w, progress=True)
    assert w.tolist() == [0.0]
    assert descend(w)[2].stopped == "epochs"


# Errors


COUNT = "must be a positive integer; got"
OPTION = "must be None or a positive integer; got"
BATCHES_ERRORS = [
    ([], {}, TypeError, "batches: data must be at least one array; got none. Pass the inputs and targets, X, y."),
    (
        [X, np.ma.masked_less(X, 3)],
        {},
        TypeError,
        "batches: array 1 must not be masked; got a MaskedArray. Pass its filled().",
    ),
    ([X, 3.5], {}, ValueError, "batches: array 1 must have a first dimension, the samples; got 3.5."),
    (
        [X, Y, Y[:9]],
        {},
        ValueError,
        (
            "batches: arrays must have the same number of samples; got 10 in array 0 and 9 in array 2. "
            "The first dimension counts the samples."
        ),
    ),
    ([X[:0]], {}, ValueError, "batches: arrays must hold at least one sample; got shape (0, 3)."),
    ([X], {"size": 0}, ValueError, f"batches: size {OPTION} 0."),
    ([X], {"size": -1}, ValueError, f"batches: size {OPTION} -1."),
    ([X], {"size": 2.0}, TypeError, f"batches: size {OPTION} 2.0."),
    ([X], {"size": True}, TypeError, f"batches: size {OPTION} True."),
    ([X], {"epochs": 0}, ValueError, f"batches: epochs {COUNT} 0."),
    ([X], {"epochs": None}, TypeError, f"batches: epochs {COUNT} None."),
    (
        [X],
        {"rng": "seed"},
        TypeError,
        "batches: rng must be None, an int >= 0 or a numpy.random.Generator; got 'seed'.",
    ),
    ([X], {"rng": -1}, ValueError, "batches: rng must be None, an int >= 0 or a numpy.random.Generator; got -1."),
    (
        [X],
        {"size": 11, "drop_last": True},
        ValueError,
        "batches: drop_last=True must leave at least one batch; got 10 samples and size=11. Use a size of at most 10.",
    ),
]


@pytest.mark.parametrize(("arrays", "keywords", "error", "message"), BATCHES_ERRORS)
def test_errors_of_batches(arrays, keywords, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        fl.batches(*arrays, **keywords)


RESULT = "train: loss_and_grad must return (loss, grads), the loss a number; got"
MAXIMUM = fl.schedules.ReduceOnPlateau(0.5, mode="max")
TRAIN_ERRORS = [
    ({"function": 3}, TypeError, "train: loss_and_grad must be a function of (params, *batch); got 3."),
    ({"x": [PAIR, PAIR]}, TypeError, "train: data must be an array or a tuple of arrays; got a list. Pass (X, y)."),
    ({"x": {"x": PAIR}}, TypeError, "train: data must be an array or a tuple of arrays; got a dict. Pass (X, y)."),
    ({"x": ()}, TypeError, "train: data must be at least one array; got none. Pass the inputs and targets, X, y."),
    ({"batch_size": 0}, ValueError, f"train: batch_size {OPTION} 0."),
    ({"batch_size": "all"}, TypeError, f"train: batch_size {OPTION} 'all'."),
    ({"epochs": 0}, ValueError, f"train: epochs {COUNT} 0."),
    ({"rng": 0.5}, TypeError, "train: rng must be None, an int >= 0 or a numpy.random.Generator; got 0.5."),
    (
        {"validation": (X, Y)},
        TypeError,
        "train: validation must be callable; got a tuple. Pass lambda params: loss_and_grad(params, X, y)[0].",
    ),
    ({"monitor": "error"}, ValueError, "train: monitor must be left out without validation; got 'error'."),
    ({"mode": "lowest"}, ValueError, "train: mode must be 'min' or 'max'; got 'lowest'."),
    ({"patience": 0}, ValueError, f"train: patience {OPTION} 0."),
    ({"patience": 1.5}, TypeError, f"train: patience {OPTION} 1.5."),
    ({"patience": 1, "min_delta": "1"}, TypeError, "train: min_delta must be a number; got '1'."),
    ({"patience": 1, "min_delta": -1}, ValueError, "train: min_delta must be finite and not negative; got -1."),
    (
        {"patience": 1, "min_delta": math.nan},
        ValueError,
        "train: min_delta must be finite and not negative; got nan.",
    ),
    (
        {"min_delta": 0.1},
        ValueError,
        "train: min_delta must be left out without patience; got 0.1. Pass patience=.",
    ),
    (
        {"callbacks": [print, 3]},
        TypeError,
        f"train: callbacks must be a callable, or a list or tuple of them; got [{print!r}, 3].",
    ),
    (
        {"callbacks": None},
        TypeError,
        "train: callbacks must be a callable, or a list or tuple of them; got None.",
    ),
    (
        {"lr": MAXIMUM},
        ValueError,
        (
            "train: mode must be that of the learning-rate schedule, 'max'; got 'min'. "
            "Pass mode='max', or change the schedule's."
        ),
    ),
]
LATE_ERRORS = [
    ({"function": lambda w, x: None}, TypeError, f"{RESULT} None."),
    ({"function": lambda w, x: (1.0,)}, TypeError, f"{RESULT} (1.0,)."),
    ({"function": lambda w, x: (1.0, w, w)}, TypeError, f"{RESULT} (1.0, array([0.]), array([0.]))."),
    ({"function": lambda w, x: (np.zeros(2), w)}, TypeError, f"{RESULT} (array([0., 0.]), array([0.]))."),
    ({"function": lambda w, x: (1j, w)}, TypeError, f"{RESULT} (1j, array([0.]))."),
    ({"function": lambda w, x: ("low", w)}, TypeError, f"{RESULT} ('low', array([0.]))."),
    (
        {"validation": lambda params: None},
        TypeError,
        "train: validation must return a number or a dict of numbers; got None.",
    ),
    (
        {"validation": lambda params: {"error": "low"}},
        TypeError,
        "train: validation must return a number or a dict of numbers; got {'error': 'low'}.",
    ),
    ({"validation": lambda params: {}}, ValueError, "train: validation must return at least one number; got {}."),
    (
        {"validation": preset([{"a": 1}, {"b": 1}])},
        ValueError,
        "train: validation must return the same names after every epoch, ['a']; got ['b'].",
    ),
    (
        {"validation": lambda params: {"error": 1, "hits": 2}, "monitor": "hit"},
        ValueError,
        "train: monitor must be one of the validation's names, ['error', 'hits']; got 'hit'.",
    ),
]


@pytest.mark.parametrize(("keywords", "error", "message"), TRAIN_ERRORS)
def test_errors_before_training(keywords, error, message):
    w = np.zeros(1)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        descend(w, **keywords)
    assert w.tolist() == [0.0]


@pytest.mark.parametrize(("keywords", "error", "message"), LATE_ERRORS)
def test_errors_of_what_the_functions_return(keywords, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        descend(**keywords)


@pytest.mark.parametrize("optimizer", [None, "adam", fl.Adam, object()], ids=["None", "name", "class", "object"])
def test_the_optimizer_must_be_one(optimizer):
    message = f"train: optimizer must be an optimizer built over params; got {optimizer!r:.60}. Pass fl.Adam(params)."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        fl.train(pull, np.zeros(1), PAIR, optimizer=optimizer)


def test_the_optimizer_must_step_the_same_arrays():
    w, b = np.zeros(1), np.zeros(2)
    cases = [
        ({"w": w, "b": b}, {"w": w.copy(), "b": b}, (2, 2, 1)),
        ({"w": w, "b": b}, {"w": w}, (2, 1, 1)),
        ([w], [w, b], (1, 2, 1)),
        (w, w[:], (1, 1, 0)),
        ([w, b], {}, (2, 0, 0)),
    ]
    for stepped, params, (own, given, both) in cases:
        message = (
            f"train: params must hold the very arrays that the optimizer steps, {own} of them; got {given} arrays, "
            f"{both} of them the same. Build the optimizer over params: fl.Adam(params)."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            fl.train(pull, params, PAIR, optimizer=fl.SGD(stepped))


@pytest.mark.parametrize("keyword", ["shuffle", "batchsize", "lr"])
def test_unknown_keywords_are_errors(keyword):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{keyword}'"):
        fl.train(pull, np.zeros(1), PAIR, optimizer=None, **{keyword: 1})
    with pytest.raises(TypeError, match="unexpected keyword argument 'batch_size'"):
        fl.batches(X, batch_size=3)
