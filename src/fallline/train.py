"""Mini-batches, and the training loop with its history.

`batches` cuts arrays into batches; `train` feeds them to a function that returns loss and gradients, and steps an
optimizer. Of the optimizer it uses the public face alone, so a loop of your own can do all of it.
"""

from __future__ import annotations

import itertools
import math
import operator
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from numbers import Real
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from fallline.trees import leaves

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy.typing as npt
    from rich.progress import Progress

    from fallline.optimizer import Optimizer

    Array = npt.NDArray[Any]
    Rng = int | np.random.Generator | None
    Callback = Callable[["Epoch"], object]

__all__ = ["Epoch", "History", "StopTraining", "batches", "train"]

_OPTIONAL = "None or a positive integer"
_GATHERED_BYTES = 2**16
_SECONDS_BETWEEN_DRAWINGS = 0.1


# Batches


def batches(
    *arrays: npt.ArrayLike,
    size: int | None = 32,
    epochs: int = 1,
    rng: Rng = None,
    shuffle: bool = True,
    drop_last: bool = False,
) -> Batches:
    """Cut arrays into mini-batches, shuffled anew in each epoch.

    Parameters
    ----------
    *arrays : array_like, shape (samples, ...)
        Any number of arrays with the same number of samples: inputs and targets, say. Any dtypes; masked arrays are
        refused.
    size : int or None, default 32
        Samples in a batch. None: the whole data (gradient descent); 1: one sample (stochastic gradient descent); k: a
        mini-batch.
    epochs : int, default 1
        How often to pass over the data.
    rng : None, int or numpy.random.Generator, default None
        Source of the shuffles, as in `numpy.random.default_rng`: the same int gives the same batches. Not used if
        nothing is shuffled.
    shuffle : bool, default True
        False keeps the order of the samples.
    drop_last : bool, default False
        Leave out the last batch of an epoch if it has fewer than `size` samples.

    Returns
    -------
    Batches
        An iterable of tuples, one array of shape (size, ...) for each given array; for a single array, of the arrays
        themselves. Its length is the number of batches in all epochs together. Iterating again continues with the same
        random generator: new shuffles, not the first ones again.

    Raises
    ------
    TypeError
        If no array is given, one is masked, or an argument has the wrong type.
    ValueError
        If the arrays differ in their first dimension or have none, are empty, or `drop_last` would leave no batch.

    Notes
    -----
    Shuffled batches are copies that share memory with nothing else, C-contiguous: write into them, keep them. (Small
    ones are cut from 64 KiB that are gathered at once.) With ``shuffle=False`` batches are views, and with
    ``size=None`` they are the data themselves, not shuffled: nothing is copied, and writing into them writes into the
    data. A memory-mapped array is read batch by batch.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> X, y = np.arange(10.0).reshape(5, 2), np.arange(5)
    >>> for xb, yb in fl.batches(X, y, size=2, shuffle=False):
    ...     print(xb.tolist(), yb)
    [[0.0, 1.0], [2.0, 3.0]] [0 1]
    [[4.0, 5.0], [6.0, 7.0]] [2 3]
    [[8.0, 9.0]] [4]
    >>> len(fl.batches(X, y, size=2, epochs=10, rng=0))
    30
    """
    return Batches("batches", arrays, size, epochs, rng, shuffle, drop_last)


class Batches:
    """Iterate over mini-batches of arrays; made by `batches`, which describes it."""

    def __init__(
        self,
        caller: str,
        arrays: Sequence[npt.ArrayLike],
        size: int | None,
        epochs: int,
        rng: Rng,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        self.arrays = _samples(caller, arrays)
        self.samples = len(self.arrays[0])
        size_name = f"{caller}: {'size' if caller == 'batches' else 'batch_size'}"
        self.size = self.samples if size is None else _positive(size_name, size, _OPTIONAL)
        self.epochs = _positive(f"{caller}: epochs", epochs)
        self._rng = _generator(caller, rng)
        self._shuffle = shuffle and size is not None
        full, rest = divmod(self.samples, self.size)
        self._full = full * self.size
        self._rest = 0 if drop_last else rest
        self.per_epoch = full + (self._rest > 0)
        if not self.per_epoch:
            raise ValueError(
                f"{caller}: drop_last=True must leave at least one batch; got {self.samples} samples and size={size}. "
                f"Use a size of at most {self.samples}."
            )

    def __len__(self) -> int:
        """Count the batches of all epochs together."""
        return self.epochs * self.per_epoch

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the batches of all epochs."""
        tuples = itertools.chain.from_iterable(self.epoch() for _ in range(self.epochs))
        return tuples if len(self.arrays) > 1 else map(operator.itemgetter(0), tuples)

    def __repr__(self) -> str:
        return f"<batches of {self.size} from {self.samples} samples, {self.per_epoch} an epoch, epochs={self.epochs}>"

    def epoch(self) -> Iterator[tuple[Array, ...]]:
        """Iterate over the batches of one more epoch, as tuples also for a single array."""
        if self._shuffle:
            return self._gather(self._rng.permutation(self.samples))
        if self.size == self.samples:
            return iter([self.arrays])
        starts = range(0, self._full + self._rest, self.size)
        return (tuple([a[start : start + self.size] for a in self.arrays]) for start in starts)

    def mean(self, losses: Sequence[float]) -> float:
        """Average the mean losses of one epoch's batches over the samples."""
        samples = np.full(self.per_epoch, self.size, dtype=float)
        if self._rest:
            samples[-1] = self._rest
        # Weights first: a sum of diverging losses would overflow where their mean does not.
        return float((samples / samples.sum() * losses).sum())

    def _gather(self, order: npt.NDArray[np.intp]) -> Iterator[tuple[Array, ...]]:
        # Several batches at once, because gathering costs more than a small batch. All of it is handed out once.
        size, row_bytes = self.size, sum(a.nbytes for a in self.arrays) // self.samples
        many = max(1, _GATHERED_BYTES // (size * max(1, row_bytes))) * size
        for start in range(0, self._full, many):
            rows = order[start : min(start + many, self._full)]
            blocks = [_take(a, rows).reshape(len(rows) // size, size, *a.shape[1:]) for a in self.arrays]
            yield from zip(*blocks, strict=True)
        if self._rest:
            yield tuple([_take(a, order[self._full :]) for a in self.arrays])


def _take(samples: Array, rows: npt.NDArray[np.intp]) -> Array:
    """Gather rows into a new C-contiguous array."""
    if samples.flags.c_contiguous and samples.flags.aligned:
        return samples.take(rows, axis=0)
    # take() would first copy the whole of such an array, for every batch anew.
    return np.ascontiguousarray(samples[rows])


def _samples(caller: str, arrays: Sequence[npt.ArrayLike]) -> tuple[Array, ...]:
    if not arrays:
        raise TypeError(f"{caller}: data must be at least one array; got none. Pass the inputs and targets, X, y.")
    for i, given in enumerate(arrays):
        if isinstance(given, np.ma.MaskedArray):
            raise TypeError(f"{caller}: array {i} must not be masked; got a MaskedArray. Pass its filled().")
    samples = tuple([np.asarray(given) for given in arrays])
    for i, a in enumerate(samples):
        if a.ndim == 0:
            raise ValueError(f"{caller}: array {i} must have a first dimension, the samples; got {arrays[i]!r:.60}.")
        if len(a) != len(samples[0]):
            raise ValueError(
                f"{caller}: arrays must have the same number of samples; got {len(samples[0])} in array 0 and {len(a)} "
                f"in array {i}. The first dimension counts the samples."
            )
    if not len(samples[0]):
        raise ValueError(f"{caller}: arrays must hold at least one sample; got shape {samples[0].shape}.")
    return samples


def _positive(what: str, value: object, must: str = "a positive integer") -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what} must be {must}; got {value!r}.") from None
    if isinstance(value, bool):
        raise TypeError(f"{what} must be {must}; got {value!r}.")
    if number < 1:
        raise ValueError(f"{what} must be {must}; got {value!r}.")
    return number


def _generator(caller: str, rng: Rng) -> np.random.Generator:
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        message = f"{caller}: rng must be None, an int >= 0 or a numpy.random.Generator; got {rng!r}."
        raise type(error)(message) from None


# Training


class StopTraining(Exception):
    """Raise this anywhere inside `train` (in the loss, the validation, a callback) to stop it and get the history."""


class Epoch(NamedTuple):
    """Report a finished epoch: what callbacks of `train` receive.

    Attributes
    ----------
    epoch : int
        Number of epochs done; 1 after the first.
    steps : int
        Number of steps done, with those that ``nonfinite="skip"`` left out.
    loss : float
        Mean training loss over the samples of this epoch, each taken when its batch was seen.
    lr : float
        Learning rate of the last step (of the first group).
    metrics : dict of str to float
        What the validation returned; empty without one.
    monitored : float
        The number that patience, `History.best` and reduce-on-plateau schedules watch.
    seconds : float
        Time since training began.
    """

    epoch: int
    steps: int
    loss: float
    lr: float
    metrics: dict[str, float]
    monitored: float
    seconds: float


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """Hold what happened in a call of `train`.

    Attributes
    ----------
    loss : ndarray of float64, shape (steps,)
        Loss of each step's batch, before the step.
    lr : ndarray of float64, shape (steps,)
        Learning rate of each step (of the first group).
    epoch_loss : ndarray of float64, shape (epochs,)
        Mean training loss over the samples of each finished epoch.
    metrics : dict of str to ndarray of float64, shape (epochs,)
        What the validation returned after each finished epoch; the name is "validation" if it returned a number.
    best : Epoch or None
        The epoch whose monitored number is best, the first of equals; None if there is no such epoch.
    stopped : str
        Why training ended: "epochs" (all done), "patience", "callback" (one returned True, or `StopTraining` was
        raised), "interrupted" (Ctrl-C), or
        "non-finite loss".
    seconds : float
        Wall time of the training.
    optimizer_seconds : float
        The part of it spent in the optimizer's step.
    """

    loss: npt.NDArray[np.float64]
    lr: npt.NDArray[np.float64]
    epoch_loss: npt.NDArray[np.float64]
    metrics: dict[str, npt.NDArray[np.float64]]
    best: Epoch | None
    stopped: str
    seconds: float
    optimizer_seconds: float

    @property
    def steps(self) -> int:
        """Number of steps, with those that ``nonfinite="skip"`` left out."""
        return len(self.loss)

    @property
    def epochs(self) -> int:
        """Number of epochs finished."""
        return len(self.epoch_loss)

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain dicts, lists and numbers, ready for JSON.

        Returns
        -------
        dict
            The attributes by name, with `steps` and `epochs`.
        """
        return {
            "steps": self.steps,
            "epochs": self.epochs,
            "loss": self.loss.tolist(),
            "lr": self.lr.tolist(),
            "epoch_loss": self.epoch_loss.tolist(),
            "metrics": {name: values.tolist() for name, values in self.metrics.items()},
            "best": None if self.best is None else self.best._asdict(),
            "stopped": self.stopped,
            "seconds": self.seconds,
            "optimizer_seconds": self.optimizer_seconds,
        }

    def __repr__(self) -> str:
        done = f"{self.steps} steps, {self.epochs} epochs in {self.seconds:.3g} s"
        lines = [f"History: {done} ({self.optimizer_seconds:.3g} s in the optimizer), stopped by {self.stopped!r}"]
        for name, values in {"loss": self.epoch_loss, **self.metrics}.items():
            if len(values):
                lines.append(f"  {name}: {values[0]:.6g} in the first epoch, {values[-1]:.6g} in the last")
        if self.best is not None:
            lines.append(f"  best: {self.best.monitored:.6g} in epoch {self.best.epoch}")
        return "\n".join(lines)


def train(
    loss_and_grad: Callable[..., tuple[float, Any]],
    params: Any,
    data: npt.ArrayLike | tuple[npt.ArrayLike, ...],
    *,
    optimizer: Optimizer,
    batch_size: int | None = 32,
    epochs: int = 10,
    rng: Rng = None,
    validation: Callable[[Any], float | Mapping[str, float]] | None = None,
    monitor: str | None = None,
    mode: Literal["min", "max"] = "min",
    patience: int | None = None,
    min_delta: float = 0.0,
    callbacks: Callback | Sequence[Callback] = (),
    progress: bool = False,
) -> History:
    """Train parameters in place, batch by batch.

    Parameters
    ----------
    loss_and_grad : callable, ``(params, *batch) -> (loss, grads)``
        Mean loss over the batch, a number, and its gradients in the structure the optimizer was built over.
    params : array, or list, tuple or dict of arrays, nested too
        What `loss_and_grad` and `validation` receive. Its arrays must be the very arrays the optimizer steps.
    data : array or tuple of arrays, shape (samples, ...)
        Cut into batches as by `batches`: the same `rng` gives the same batches, so ``(X, y)`` calls
        ``loss_and_grad(params, xb, yb)``.
    optimizer : Optimizer
        Built over the arrays of `params`: ``fl.Adam(params, lr=1e-3)``. It keeps its state, so a second call trains on.
    batch_size : int or None, default 32
        None: gradient descent on the whole data; 1: stochastic gradient descent; k: mini-batches.
    epochs : int, default 10
        How often to pass over the data, at most.
    rng : None, int or numpy.random.Generator, default None
        Source of the shuffles.
    validation : callable, (params) -> float or dict of str to float, optional
        Called after every epoch; ``lambda params: loss_and_grad(params, X_val, y_val)[0]`` is the loss of other data.
    monitor : str, optional
        The number to watch, by its name in what `validation` returns. Default: the first of them; without validation,
        the epoch's mean training loss.
    mode : {"min", "max"}, default "min"
        Whether the watched number is better when it is lower (a loss) or higher (an accuracy).
    patience : int, optional
        Stop after this many epochs in a row without improvement. With patience, the parameters and the optimizer's
        state are in the end those of `History.best`, to the bit, for whatever reason training ended.
        ``patience=epochs`` keeps the best and never stops early.
    min_delta : float, default 0.0
        Improvements not larger than this do not reset the patience; they can still be the best.
    callbacks : callable, or list or tuple of callables, (Epoch) -> object
        Called after every epoch, after the validation. Returning True stops training; so does raising `StopTraining`,
        here or anywhere else.
    progress : bool, default False
        Show a live bar on the terminal (standard error); needs the extra ``progress``.

    Returns
    -------
    History
        Losses, learning rates, metrics, times, and why training stopped.

    Raises
    ------
    TypeError
        If an argument, or what `loss_and_grad` or `validation` returned, has the wrong type.
    ValueError
        If an argument has a wrong value, or the optimizer was built over other arrays than `params`.
    ModuleNotFoundError
        If `progress` is asked for and rich is not installed.

    Notes
    -----
    A loss that is NaN or infinite ends training before its step, with all steps before it kept; it is not part of the
    history. Gradients that are not finite while the loss is are left to the optimizer's own policy, ``nonfinite=``.
    Ctrl-C ends training too, and what was done is kept. Any other exception passes through, and the parameters are
    those of the last step.

    A learning-rate schedule with a method ``update``, like `schedules.ReduceOnPlateau`, is given the watched number
    after every epoch, and must not be given it by a callback as well.

    The validation sees the parameters as they are. To validate averaged weights (``ema=``, ASGD, schedule-free
    optimizers), ask the optimizer for them: ``validation=lambda _: error(opt.averaged())``.

    Examples
    --------
    Fit a line by gradient descent, until the validation error stops falling:

    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.linspace(-1.0, 1.0, 40)
    >>> y = 3 * x + 1
    >>> def loss_and_grad(params, x, y):
    ...     residual = params["slope"] * x + params["offset"] - y
    ...     grads = {"slope": np.array(2 * (residual * x).mean()), "offset": np.array(2 * residual.mean())}
    ...     return (residual**2).mean(), grads
    >>> params = {"slope": np.array(0.0), "offset": np.array(0.0)}
    >>> history = fl.train(
    ...     loss_and_grad, params, (x[::2], y[::2]), optimizer=fl.SGD(params, lr=0.2), batch_size=4, epochs=100, rng=0,
    ...     validation=lambda params: loss_and_grad(params, x[1::2], y[1::2])[0], patience=3, min_delta=1e-6,
    ... )
    >>> history.stopped
    'patience'
    >>> print(f"{params['slope']:.2f} {params['offset']:.2f}")
    3.00 1.00
    """
    if not callable(loss_and_grad):
        raise TypeError(f"train: loss_and_grad must be a function of (params, *batch); got {loss_and_grad!r:.60}.")
    _require_stepped(optimizer, params)
    if isinstance(data, list | dict):
        raise TypeError(f"train: data must be an array or a tuple of arrays; got a {type(data).__name__}. Pass (X, y).")
    run = _Run(
        loss_and_grad,
        params,
        optimizer,
        Batches("train", data if isinstance(data, tuple) else (data,), batch_size, epochs, rng),
        _Validation(validation, monitor),
        _Watch(mode, patience, min_delta, params, optimizer),
        _callables(callbacks),
    )
    with _bar(run) if progress else nullcontext():
        stopped = run.train()
    return run.finish(stopped)


@dataclass(eq=False, repr=False)
class _Run:
    """One call of `train`: its parts, and its records so far."""

    loss_and_grad: Callable[..., tuple[float, Any]]
    params: Any
    optimizer: Optimizer
    data: Batches
    validation: _Validation
    watch: _Watch
    callbacks: tuple[Callback, ...]
    losses: array[float] = field(default_factory=lambda: array("d"))
    rates: array[float] = field(default_factory=lambda: array("d"))
    epochs: list[Epoch] = field(default_factory=list)
    optimizer_seconds: float = 0.0
    draw: Callable[[], None] = lambda: None
    next_drawing: float = math.inf
    start: float = field(default_factory=lambda: perf_counter())

    def train(self) -> str:
        """Train, and return why it ended."""
        try:
            for _ in range(self.data.epochs):
                if not self.step_through():
                    return "non-finite loss"
                epoch = self.report()
                out_of_patience = self.watch.see(epoch)
                answers = [callback(epoch) for callback in self.callbacks]
                # Not any truthy answer: a callback may end in a write() that returns a count.
                if any(isinstance(answer, bool | np.bool) and answer for answer in answers):
                    return "callback"
                if out_of_patience:
                    return "patience"
        except StopTraining:
            return "callback"
        except KeyboardInterrupt:
            return "interrupted"
        return "epochs"

    def step_through(self) -> bool:
        """Step through one epoch; return whether all its losses were finite."""
        loss_and_grad, params = self.loss_and_grad, self.params
        step, current = self.optimizer.step, self.optimizer.current
        keep_loss, keep_rate = self.losses.append, self.rates.append
        draw, next_drawing = self.draw, self.next_drawing
        isfinite, clock, spent = math.isfinite, perf_counter, 0.0
        try:
            for batch in self.data.epoch():
                result = loss_and_grad(params, *batch)
                try:
                    loss, grads = result
                    loss = float(loss)
                except (TypeError, ValueError):
                    raise _not_a_pair(result) from None
                if not isfinite(loss):
                    return False
                # Before the step: Ctrl-C during the step arrives when it is done.
                keep_loss(loss)
                keep_rate(current("lr"))
                before = clock()
                step(grads)
                now = clock()
                spent += now - before
                if now >= next_drawing:
                    draw()
                    next_drawing = clock() + _SECONDS_BETWEEN_DRAWINGS
        finally:
            self.optimizer_seconds += spent
            self.next_drawing = next_drawing
        return True

    def report(self) -> Epoch:
        """Validate, and record the epoch that just ended."""
        loss = self.data.mean(self.losses[-self.data.per_epoch :])
        metrics = self.validation.measure(self.params)
        epoch = Epoch(
            epoch=len(self.epochs) + 1,
            steps=len(self.losses),
            loss=loss,
            lr=self.rates[-1],
            metrics=metrics,
            monitored=self.validation.choose(metrics, loss),
            seconds=perf_counter() - self.start,
        )
        self.epochs.append(epoch)
        return epoch

    def finish(self, stopped: str) -> History:
        """Restore the best, if that was wanted, and return the history."""
        self.watch.restore()
        return History(
            loss=np.array(self.losses),
            lr=np.array(self.rates),
            epoch_loss=np.array([epoch.loss for epoch in self.epochs], dtype=float),
            metrics={name: np.array([e.metrics[name] for e in self.epochs]) for name in self.validation.names},
            best=self.watch.best,
            stopped=stopped,
            seconds=perf_counter() - self.start,
            optimizer_seconds=self.optimizer_seconds,
        )


class _Validation:
    """The user's validation, its numbers checked."""

    def __init__(self, function: Callable[[Any], Any] | None, monitor: str | None) -> None:
        if function is not None and not callable(function):
            raise TypeError(
                f"train: validation must be callable; got a {type(function).__name__}. "
                "Pass lambda params: loss_and_grad(params, X, y)[0]."
            )
        if function is None and monitor is not None:
            raise ValueError(f"train: monitor must be left out without validation; got {monitor!r}.")
        self.function = function
        self.monitor = monitor
        self.names: list[str] = []

    def measure(self, params: Any) -> dict[str, float]:
        """Return the numbers of the validation by name; none without one."""
        if self.function is None:
            return {}
        result = self.function(params)
        numbers = result if isinstance(result, Mapping) else {"validation": result}
        try:
            metrics = {name: float(number) for name, number in numbers.items()}
        except (TypeError, ValueError):
            message = f"train: validation must return a number or a dict of numbers; got {result!r:.60}."
            raise TypeError(message) from None
        self.names = self.names or self._checked(list(metrics))
        if list(metrics) != self.names:
            raise ValueError(
                f"train: validation must return the same names after every epoch, {self.names}; got {list(metrics)}."
            )
        return metrics

    def choose(self, metrics: dict[str, float], loss: float) -> float:
        """Return the monitored number."""
        return metrics[self.monitor or self.names[0]] if metrics else loss

    def _checked(self, names: list[str]) -> list[str]:
        if not names:
            raise ValueError("train: validation must return at least one number; got {}.")
        if self.monitor is not None and self.monitor not in names:
            raise ValueError(f"train: monitor must be one of the validation's names, {names}; got {self.monitor!r}.")
        return names


class _Watch:
    """What the monitored number decides: the best epoch, the end of patience, reduced learning rates."""

    def __init__(self, mode: str, patience: int | None, min_delta: float, params: Any, optimizer: Optimizer) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"train: mode must be 'min' or 'max'; got {mode!r}.")
        self.sign = 1.0 if mode == "min" else -1.0
        self.mode = mode
        self.patience = patience if patience is None else _positive("train: patience", patience, _OPTIONAL)
        self.min_delta = _min_delta(min_delta, patience)
        self.arrays = _arrays(params)
        self.optimizer = optimizer
        self.best: Epoch | None = None
        self.saved: tuple[list[Array], Any] | None = None
        self.level = math.inf
        self.waited = 0
        self.plateaus()

    def plateaus(self) -> list[Any]:
        """List the learning-rate schedules that want to be told the monitored number."""
        rates = {id(group.lr): group.lr for group in self.optimizer.groups}
        plateaus = [rate for rate in rates.values() if callable(getattr(rate, "update", None))]
        for plateau in plateaus:
            if getattr(plateau, "mode", self.mode) != self.mode:
                raise ValueError(
                    f"train: mode must be that of the learning-rate schedule, {plateau.mode!r}; got {self.mode!r}. "
                    f"Pass mode={plateau.mode!r}, or change the schedule's."
                )
        return plateaus

    def see(self, epoch: Epoch) -> bool:
        """Take an epoch into account; return whether patience has run out."""
        for plateau in self.plateaus():
            plateau.update(epoch.monitored)
        # Turned so that lower is better; NaN compares as false, so it never is.
        value = self.sign * epoch.monitored
        if value < (math.inf if self.best is None else self.sign * self.best.monitored):
            if self.patience is not None:
                self.saved = [a.copy() for a in self.arrays], self.optimizer.state_dict()
            self.best = epoch
        if value < self.level - self.min_delta:
            self.level, self.waited = value, 0
        else:
            self.waited += 1
        return self.patience is not None and self.waited >= self.patience

    def restore(self) -> None:
        """Bring back the best epoch, if it was kept."""
        if self.saved is not None:
            arrays, state = self.saved
            for live, kept in zip(self.arrays, arrays, strict=True):
                live[...] = kept
            self.optimizer.load_state_dict(state)


def _bar(run: _Run) -> AbstractContextManager[None]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'train: progress=True must find the package rich; got none. Run: pip install "fallline[progress]"'
        ) from None
    epoch, numbers = TextColumn("{task.description}"), TextColumn("{task.fields[numbers]}", markup=False)
    columns = (epoch, BarColumn(), MofNCompleteColumn(), numbers, TimeRemainingColumn())
    # Drawn by the training loop itself: a thread that draws would take turns with it.
    progress = Progress(*columns, console=Console(stderr=True), auto_refresh=False)
    task = progress.add_task("", total=len(run.data), numbers="")

    def draw() -> None:
        numbers = {"loss": run.losses[-1], **(run.epochs[-1].metrics if run.epochs else {})} if run.losses else {}
        progress.update(
            task,
            description=f"epoch {min(len(run.epochs) + 1, run.data.epochs)}/{run.data.epochs}",
            completed=len(run.losses),
            numbers=" ".join(f"{name} {number:.4g}" for name, number in numbers.items()),
            refresh=True,
        )

    run.draw, run.next_drawing = draw, 0.0
    return _drawing(progress, draw)


@contextmanager
def _drawing(progress: Progress, draw: Callable[[], None]) -> Iterator[None]:
    with progress:
        try:
            yield
        finally:
            draw()


def _not_a_pair(result: object) -> TypeError:
    return TypeError(f"train: loss_and_grad must return (loss, grads), the loss a number; got {result!r:.80}.")


def _min_delta(min_delta: Any, patience: int | None) -> float:
    if isinstance(min_delta, bool) or not isinstance(min_delta, Real):
        raise TypeError(f"train: min_delta must be a number; got {min_delta!r:.60}.")
    number = float(min_delta)
    if not 0 <= number < math.inf:
        raise ValueError(f"train: min_delta must be finite and not negative; got {min_delta!r}.")
    if number and patience is None:
        raise ValueError(f"train: min_delta must be left out without patience; got {min_delta!r}. Pass patience=.")
    return number


def _callables(callbacks: object) -> tuple[Callback, ...]:
    several = (callbacks,) if callable(callbacks) else callbacks
    if not isinstance(several, list | tuple) or not all(callable(callback) for callback in several):
        raise TypeError(f"train: callbacks must be a callable, or a list or tuple of them; got {callbacks!r:.60}.")
    return tuple(several)


def _require_stepped(optimizer: Any, params: object) -> None:
    if isinstance(optimizer, type) or not hasattr(optimizer, "step") or not hasattr(optimizer, "current"):
        raise TypeError(
            f"train: optimizer must be an optimizer built over params; got {optimizer!r:.60}. Pass fl.Adam(params)."
        )
    own = {id(a) for a in _arrays(optimizer.params)}
    given = {id(a) for a in _arrays(params)}
    if own != given:
        raise ValueError(
            f"train: params must hold the very arrays that the optimizer steps, {len(own)} of them; got {len(given)} "
            f"arrays, {len(own & given)} of them the same. Build the optimizer over params: fl.Adam(params)."
        )


def _arrays(tree: object) -> list[Array]:
    return [leaf for _, leaf in leaves(tree) if isinstance(leaf, np.ndarray)]
