"""Linear models for scikit-learn that learn with any optimizer, in one native loop over the samples."""

from __future__ import annotations

import difflib
import math
import pickle
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

try:
    import scipy.sparse
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state, compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'fallline.sklearn: scikit-learn must be installed; got none. Run: pip install "fallline[sklearn]"',
        name=missing.name,
    ) from None

from fallline import _core
from fallline.optim import optimizers
from fallline.optimizer import Optimizer

__all__ = ["LinearClassifier", "LinearRegressor"]

Array = npt.NDArray[Any]

_PENALTIES = ("l2", "l1", "elasticnet", None)
_CHUNK = 1 << 16  # samples between looks at Ctrl-C; with schedules, numbers that are written down before
_LR = 0.01  # of the optimizers that have no default of their own
_WITH_NORMS = ("lars", "lamb")  # need the norm of all weights, and so have no sparse step
_MOST_SPARSE_OUTPUTS = 1024


class _Linear(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What the classifier and the regressor share."""

    _losses: ClassVar[tuple[str, ...]]

    # ---- settings

    def _check_settings(self) -> None:
        self._check_choice("loss", self._losses)
        self._check_choice("penalty", _PENALTIES)
        self._check_choice("optimizer", tuple(optimizers()))
        self._check_number("alpha", 0, math.inf)
        self._check_number("l1_ratio", 0, 1)
        self._check_number("validation_fraction", 0, 1, is_open=True)
        self._check_count("max_iter")
        self._check_count("n_iter_no_change")
        if self.batch_size != "all":
            self._check_count("batch_size", ' or "all"')
        if self.tol is not None:
            self._check_number("tol", 0, math.inf)
        if self.optimizer_params is not None and not isinstance(self.optimizer_params, dict):
            raise ValueError(
                f"{type(self).__name__}(optimizer_params): must be a dict of hyperparameters or None; got "
                f"{self.optimizer_params!r}. Pass {{'momentum': 0.9}}, say."
            )

    def _refused(self, name: str, what: str, cure: str) -> ValueError:
        return ValueError(f"{type(self).__name__}({name}): must be {what}; got {getattr(self, name)!r}. {cure}")

    def _check_choice(self, name: str, among: tuple[Any, ...]) -> None:
        value = getattr(self, name)
        if value not in among:
            near = difflib.get_close_matches(str(value).lower(), [one for one in among if one], n=1)
            cure = f"Did you mean {near[0]!r}?" if near else "Choose one of them."
            raise self._refused(name, f"one of {', '.join(map(str, among))}", cure)

    def _check_number(self, name: str, low: float, high: float, is_open: bool = False) -> None:
        value = getattr(self, name)
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not is_number or not (low < value < high if is_open else low <= value <= high and value < math.inf):
            what = f"a number >= {low}" if high == math.inf else f"a number between {low} and {high}"
            raise self._refused(name, what, "Leave it out for the default.")

    def _check_count(self, name: str, also: str = "") -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise self._refused(name, f"an integer >= 1{also}", "Leave it out for the default.")

    @property
    def _penalties(self) -> tuple[float, float]:
        """L2 and l1."""
        share = {"l2": 0.0, "l1": 1.0, "elasticnet": self.l1_ratio, None: 0.0}[self.penalty]
        alpha = 0.0 if self.penalty is None else self.alpha
        return alpha * (1 - share), alpha * share

    @property
    def _parameter(self) -> float:
        return 0.0

    # ---- the model

    def _begin(self, n_features: int, n_outputs: int, start: tuple[Array, Array] | None) -> None:
        """Make new weights, zero or as they were, and their optimizer."""
        weights, intercept = np.zeros((n_features, n_outputs)), np.zeros(n_outputs)
        if start is not None:
            weights[...], intercept[...] = start
        params = {"weights": weights, "intercept": intercept} if self.fit_intercept else {"weights": weights}
        given = dict(self.optimizer_params or {})
        if self.lr is not None:
            given["lr"] = self.lr
        elif self.optimizer in ("sgd", "momentum", "nesterov"):
            given["lr"] = _LR
        self._optimizer: Optimizer = optimizers()[self.optimizer](params, **given)
        self._averages = (np.zeros_like(weights), np.zeros_like(intercept)) if self.average else None
        self._n_averaged = 0
        self.t_ = 0

    def _learner(self, is_sparse: bool) -> _core.Learner:
        """Return the native loop over the present weights, for rows of one kind."""
        optimizer, (l2, l1) = self._optimizer, self._penalties
        n_outputs = optimizer.params["weights"].shape[1]
        is_sgd = optimizer._built == "sgd"
        only_seen = is_sparse and self.batch_size != "all" and not (self.average and is_sgd and l1 > 0)
        is_exact = only_seen and is_sgd
        if only_seen:
            self._check_sparse(n_outputs)
        lr = _core.rules()[optimizer._built]["hypers"].index("lr")
        learner = _core.Learner(
            optimizer._plan, self.loss, self._parameter, l2, l1, n_outputs, lr, only_seen, is_exact, self._averages
        )
        learner.n_averaged = self._n_averaged
        return learner

    def _check_sparse(self, n_outputs: int) -> None:
        name, optimizer = type(self).__name__, self._optimizer
        cure = 'Use X.toarray() or batch_size="all", which step all weights.'
        if optimizer._built in _WITH_NORMS or optimizer.clip_norm is not None or optimizer.ema is not None:
            what = f"{self.optimizer}, clip_norm or ema" if optimizer._built in _WITH_NORMS else "clip_norm or ema"
            raise ValueError(
                f"{name}(X): must be dense with {what}, which look at all weights at every step; got a sparse matrix. "
                f"{cure}"
            )
        if n_outputs > _MOST_SPARSE_OUTPUTS:
            raise ValueError(
                f"{name}(y): must have at most {_MOST_SPARSE_OUTPUTS} classes if X is sparse; got {n_outputs}. {cure}"
            )

    def _timetable(self, n_steps: int, t: int, limit: float) -> tuple[Array, Array]:
        """Return the scheduled numbers of the next steps; without a penalty the limit of lr is infinite."""
        optimizer = self._optimizer
        timetable = optimizer._timetable(n_steps, t)
        if timetable is None:
            raise ValueError(
                f"{type(self).__name__}(optimizer_params): must have schedules of numbers of the rule only; got one of "
                f"an option. Give it a number."
            )
        index, table = timetable
        lr = max([optimizer._numbers(0, t)[0][0], *table[:, index == 0].ravel()]) if limit < math.inf else 0.0
        if lr >= limit:
            raise ValueError(
                f"{type(self).__name__}(lr): must be below 1/alpha on sparse rows, or the penalty turns weights round; "
                f"got {lr}, and 1/alpha is {limit:g}. Lower one of them."
            )
        return index, table

    def _epoch(self, learner: _core.Learner, samples: _core.Samples, n: int, rng: np.random.RandomState) -> float:
        """Learn from every sample once; return the mean of the weighted losses."""
        key = int(rng.randint(1 << 63, dtype=np.int64))
        order = _core.shuffled(n, key) if self.shuffle else np.arange(n, dtype=np.uintp)
        batch = n if self.batch_size == "all" else min(int(self.batch_size), n)
        chunk = max(_CHUNK // batch, 1) * batch
        l2, _ = self._penalties
        limit = 1 / l2 if l2 > 0 and learner.is_exact else math.inf
        total = 0.0
        for start in range(0, n, chunk):
            part = order[start : start + chunk]
            n_steps = -(-len(part) // batch)
            total += learner.learn(samples, part, batch, *self._timetable(n_steps, self.t_, limit))
            self.t_ += n_steps
        self._n_averaged = learner.n_averaged
        return total / n

    def _samples(self, X: Any, targets: Array, weights: Array | None) -> _core.Samples:
        if not scipy.sparse.issparse(X):
            return _core.Samples(np.ascontiguousarray(X), None, None, X.shape[1], targets, weights)
        columns, starts = (part.astype(np.int32, copy=False) for part in (X.indices, X.indptr))
        samples = _core.Samples(X.data, columns, starts, X.shape[1], targets, weights)
        if samples.is_canonical:
            return samples
        X = X.copy()  # which other threads may read
        X.has_sorted_indices = X.has_canonical_format = False
        X.sum_duplicates()
        return self._samples(X, targets, weights)

    def _set_coefficients(self) -> None:
        """Publish the weights: copies, of the averages if there are some."""
        params = self._optimizer.params
        if self._averages is not None and self._n_averaged:
            weights, intercept = self._averages
        else:
            averaged = self._averaged()
            weights, intercept = averaged["weights"], averaged.get("intercept", np.zeros(params["weights"].shape[1]))
        if not (np.isfinite(weights).all() and np.isfinite(intercept).all()):
            raise ValueError(
                f"{type(self).__name__}: must stay finite while it learns; got weights that are not. Lower lr, or "
                f"scale the features."
            )
        self._publish(weights.T.copy(), intercept.copy())

    def _averaged(self) -> Any:
        """Return the weights; of a rule that averages, or with ema, the average."""
        optimizer = self._optimizer
        if optimizer.ema is None and type(optimizer)._average_of is Optimizer._average_of:
            return optimizer.params
        return optimizer.averaged()

    def _publish(self, coef: Array, intercept: Array) -> None:
        self.coef_, self.intercept_ = coef, intercept

    # ---- fitting

    def _fit(self, X: Any, targets: Array, weights: Array | None, n_outputs: int) -> None:
        if weights is not None:
            weights = self._scaled(weights)
        rng = check_random_state(self.random_state)
        start = self._warm_start(X.shape[1], n_outputs)
        self._begin(X.shape[1], n_outputs, start)
        held_out = None
        if self.early_stopping:
            X, held_out, targets, weights = self._split(X, targets, weights, rng)
        learner = self._learner(scipy.sparse.issparse(X))
        samples = self._samples(X, targets, weights)
        self.loss_curve_: list[float] = []
        patience = _Patience(self.tol, self.n_iter_no_change)
        for epoch in range(self.max_iter):
            loss = self._epoch(learner, samples, len(targets), rng)
            self.loss_curve_.append(loss)
            self.n_iter_ = epoch + 1
            if not math.isfinite(loss):
                break  # which _set_coefficients reports
            if held_out is not None:
                self._set_coefficients()
                loss = -self._score(*held_out)
            if patience.ends(loss):
                break
        self._set_coefficients()

    def _scaled(self, weights: Array) -> Array:
        """Return the weights with a mean of 1, so that lr and alpha mean the same whatever their unit."""
        mean = weights.mean()
        if not mean > 0:
            raise ValueError(
                f"{type(self).__name__}(sample_weight): must have a positive sum; got {len(weights)} weights of 0. "
                f"Leave it out for equal weights."
            )
        scaled: Array = weights / mean
        return scaled

    def _warm_start(self, n_features: int, n_outputs: int) -> tuple[Array, Array] | None:
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        coef = np.atleast_2d(self.coef_)
        if coef.shape != (n_outputs, n_features):
            raise ValueError(
                f"{type(self).__name__}(warm_start): must find coefficients of shape {(n_outputs, n_features)}; got "
                f"{coef.shape} from the fit before. Fit the same kind of data, or switch it off."
            )
        return coef.T, np.atleast_1d(self.intercept_)

    def _split(self, X: Any, targets: Array, weights: Array | None, rng: np.random.RandomState) -> tuple[Any, ...]:
        """Return X, what is held out (X, targets, weights), targets and weights."""
        stratify = targets if isinstance(self, ClassifierMixin) else None
        inside, outside = train_test_split(
            np.arange(len(targets)), test_size=self.validation_fraction, random_state=rng, stratify=stratify
        )
        held_out = X[outside], targets[outside], None if weights is None else weights[outside]
        return X[inside], held_out, targets[inside], None if weights is None else weights[inside]

    def _fit_part(self, X: Any, targets: Array, weights: Array | None, n_outputs: int) -> None:
        if not hasattr(self, "_optimizer"):
            self._begin(X.shape[1], n_outputs, None)
        rng = check_random_state(self.random_state)
        learner = self._learner(scipy.sparse.issparse(X))
        self.loss_curve_ = [self._epoch(learner, self._samples(X, targets, weights), len(targets), rng)]
        self.n_iter_ = 1
        self._set_coefficients()

    def _validated(self, X: Any, y: Any, reset: bool, **checks: Any) -> tuple[Any, Any]:
        X, y = validate_data(
            self, X, y, accept_sparse="csr", accept_large_sparse=False, dtype=[np.float64, np.float32], order="C",
            reset=reset, **checks,
        )  # fmt: skip
        return X, y

    def _weights(self, sample_weight: Any, X: Any) -> Array | None:
        if sample_weight is None:
            return None
        weights: Array = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        return weights

    def _predicted(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        scores = X @ np.atleast_2d(self.coef_).T + self.intercept_
        return np.asarray(scores)

    # A memory map may hold a pickle's arrays, which then are read-only, but not its bytes.
    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if "_optimizer" not in state:
            return state
        return state | {"_optimizer": pickle.dumps((self._optimizer, self._averages))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_optimizer" in state:
            optimizer, averages = pickle.loads(state["_optimizer"])
            state = state | {"_optimizer": optimizer, "_averages": averages}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class _Patience:
    """Says when the loss has not become better for some epochs."""

    def __init__(self, tol: float | None, epochs: int) -> None:
        self.tol, self.epochs = tol, epochs
        self.best, self.waited = math.inf, 0

    def ends(self, loss: float) -> bool:
        if self.tol is None:
            return False
        self.waited = self.waited + 1 if loss > self.best - self.tol else 0
        self.best = min(self.best, loss)
        return self.waited >= self.epochs


class LinearClassifier(ClassifierMixin, _Linear):  # type: ignore[misc]
    """Classify by linear scores, learned sample by sample with any optimizer.

    Minimizes sum(weight*loss)/sum(weight) + alpha*((1 - l1_ratio)/2*|w|^2 + l1_ratio*|w|_1) over weights w and an
    intercept, which is not penalized.

    Parameters
    ----------
    loss : {"log", "hinge", "squared_hinge", "modified_huber", "softmax"}
        Of more than two classes, "softmax" is the multinomial log loss; the others learn one class against the rest.
    penalty : {"l2", "l1", "elasticnet", None}
        l1 makes weights exactly 0: a step does not take a weight across 0, and leaves it there while the slope is
        smaller than the penalty (Andrew & Gao 2007), whatever the optimizer.
    alpha : float
        Strength of the penalty, >= 0.
    l1_ratio : float
        Share of l1 in "elasticnet", 0 to 1.
    optimizer : str
        A name of `fallline.optimizers`.
    lr : float or schedule, optional
        Learning rate, a schedule counts steps. Default: the optimizer's own; 0.01 for "sgd", "momentum", "nesterov".
    optimizer_params : dict, optional
        Other hyperparameters of the optimizer.
    batch_size : int or "all"
        Samples to a step: 1 is stochastic gradient descent, "all" gradient descent.
    max_iter : int
        Greatest number of epochs.
    tol : float or None
        Stop when the loss (with `early_stopping`, the score on what was held out) has not become better by this for
        `n_iter_no_change` epochs. None: never.
    n_iter_no_change : int
    early_stopping : bool
        Hold out `validation_fraction` of the samples, and watch the score there.
    validation_fraction : float
    average : bool
        Use the mean of the weights after all steps (Polyak & Juditsky 1992).
    fit_intercept, shuffle, warm_start : bool
        As in scikit-learn.
    class_weight : dict, "balanced" or None
        Weights of the classes; those of samples are multiplied by them.
    random_state : int, RandomState or None
        Of the order of the samples and of what is held out.

    Attributes
    ----------
    classes_ : array, (n_classes,)
    coef_ : array, (1, n_features) of two classes, else (n_classes, n_features)
    intercept_ : array, (1,) or (n_classes,)
    n_iter_ : int
        Epochs.
    t_ : int
        Steps.
    loss_curve_ : list of float
        Mean loss of each epoch, every sample's at the weights before its step, without the penalty.

    Notes
    -----
    X is dense, float64 or float32, or a CSR matrix; other orders and formats are copied. Weights are float64. On sparse
    rows a step touches the weights of the features that the batch has. With "sgd" the penalty of the others is made up
    for exactly (Lipton & Elkan 2015); with "adagrad" and without a penalty nothing is missed, because a gradient of 0
    changes nothing. Other optimizers leave the moments of absent features as they are, and with them the penalty
    (the "lazy" Adam of other libraries). Averages are of all weights after all steps, and made up for, too.
    ``batch_size="all"`` steps all weights, and so does ``average=True`` with "sgd" and l1. Other than in scikit-learn's
    SGDClassifier, the classes of "one against the rest" see the samples in one order, and class weights hold in all of
    the problems.

    The loop over the samples is native, without the GIL: models fit in parallel in threads.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fallline.sklearn import LinearClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LinearClassifier(loss="softmax", optimizer="adam", lr=0.01, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    _losses = ("log", "hinge", "squared_hinge", "modified_huber", "softmax")

    def __init__(
        self,
        loss: str = "log",
        *,
        penalty: str | None = "l2",
        alpha: float = 1e-4,
        l1_ratio: float = 0.15,
        optimizer: str = "sgd",
        lr: Any = None,
        optimizer_params: dict[str, Any] | None = None,
        batch_size: int | str = 1,
        max_iter: int = 100,
        tol: float | None = 1e-3,
        n_iter_no_change: int = 5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        average: bool = False,
        fit_intercept: bool = True,
        shuffle: bool = True,
        warm_start: bool = False,
        class_weight: Any = None,
        random_state: Any = None,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.optimizer = optimizer
        self.lr = lr
        self.optimizer_params = optimizer_params
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.average = average
        self.fit_intercept = fit_intercept
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearClassifier:
        """Learn from the beginning.

        Parameters
        ----------
        X : array or CSR matrix, (n_samples, n_features)
        y : array, (n_samples,)
            Classes, of any type.
        sample_weight : array, (n_samples,), optional
            Each >= 0.
        """
        self._check_settings()
        X, y = self._validated(X, y, True)
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__}(y): must have at least 2 classes; got {len(self.classes_)} class. Look at the "
                f"labels."
            )
        self._fit(X, *self._prepared(X, targets, sample_weight))
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> LinearClassifier:
        """Learn from some samples, once, with the optimizer as the call before left it.

        Weights are taken as they are, so that those of several calls compare; ``class_weight="balanced"`` is refused.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array, (n_classes,)
            All classes there will be; only the first call needs them.
        """
        self._check_settings()
        if self.class_weight == "balanced":
            raise ValueError(
                f"{type(self).__name__}.partial_fit(class_weight): must be a dict or None; got 'balanced', which needs "
                f"all samples. Compute it by sklearn.utils.compute_class_weight."
            )
        is_first = not hasattr(self, "_optimizer")
        X, y = self._validated(X, y, is_first)
        check_classification_targets(y)
        if is_first:
            if classes is None:
                raise ValueError(
                    f"{type(self).__name__}.partial_fit(classes): must be given at the first call; got None. Pass all "
                    f"classes there will be."
                )
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"{type(self).__name__}.partial_fit(classes): must be those of the first call, {self.classes_}; got "
                f"{np.unique(classes)}. Leave them out."
            )
        targets = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if not np.array_equal(self.classes_[targets], y):
            strange = next(one for one in np.unique(y) if one not in self.classes_)
            raise ValueError(
                f"{type(self).__name__}.partial_fit(y): must be among the classes of the first call, {self.classes_}; "
                f"got {strange!r}. Name all classes in the first call."
            )
        self._fit_part(X, *self._prepared(X, targets, sample_weight))
        return self

    def _prepared(self, X: Any, targets: Array, sample_weight: Any) -> tuple[Array, Array | None, int]:
        """Return targets, weights and the number of outputs."""
        n_classes = len(self.classes_)
        weights = self._weights(sample_weight, X)
        if self.class_weight is not None:
            of_class = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_[targets])
            weights = of_class[targets] * (1.0 if weights is None else weights)
        return targets.astype(np.float64), weights, n_classes if n_classes > 2 or self.loss == "softmax" else 1

    def _publish(self, coef: Array, intercept: Array) -> None:
        if self.loss == "softmax" and len(self.classes_) == 2:  # the difference decides, and is what others expect
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        self.coef_, self.intercept_ = coef, intercept

    def _warm_start(self, n_features: int, n_outputs: int) -> tuple[Array, Array] | None:
        start = super()._warm_start(n_features, 1 if len(self.classes_) == 2 else n_outputs)
        if start is None or n_outputs == start[0].shape[1]:
            return start
        return start[0] * [-0.5, 0.5], start[1] * [-0.5, 0.5]

    def _score(self, X: Any, targets: Array, weights: Array | None) -> float:
        return float(np.average(self._decide(self._predicted(X)) == targets, weights=weights))

    @staticmethod
    def _decide(scores: Array) -> Array:
        chosen: Array = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(np.intp)
        return chosen

    def decision_function(self, X: Any) -> Array:
        """Return the scores, (n_samples,) of two classes, else (n_samples, n_classes)."""
        scores = self._predicted(X)
        return scores if scores.shape[1] > 1 else scores[:, 0]

    def predict(self, X: Any) -> Array:
        """Return the class of each row."""
        chosen: Array = (
            self.classes_[self._decide(self._predicted(X))] if hasattr(self, "classes_") else self._predicted(X)
        )
        return chosen

    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities of the classes, (n_samples, n_classes), of "log", "softmax" and "modified_huber".

        One against the rest they are scaled to add up to 1; of "modified_huber" they are (clip(score, -1, 1) + 1)/2
        (Zhang 2002).
        """
        if self.loss not in ("log", "softmax", "modified_huber"):
            raise AttributeError(
                f"{type(self).__name__}.predict_proba: must have loss log, softmax or modified_huber; got "
                f"{self.loss!r}. Use decision_function, or sklearn.calibration."
            )
        scores = self._predicted(X)
        if self.loss == "softmax" and scores.shape[1] > 1:
            exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
            shares: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
            return shares
        chances: Array = (
            (scores.clip(-1, 1) + 1) / 2 if self.loss == "modified_huber" else 0.5 * (1 + np.tanh(scores / 2))
        )
        if scores.shape[1] == 1:
            return np.hstack([1 - chances, chances])
        totals = chances.sum(axis=1, keepdims=True)
        chances[totals[:, 0] == 0] = 1
        chances /= chances.sum(axis=1, keepdims=True)
        return chances

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


class LinearRegressor(RegressorMixin, _Linear):  # type: ignore[misc]
    """Predict a number by a linear function, learned sample by sample with any optimizer.

    Parameters
    ----------
    loss : {"squared", "huber", "quantile"}
        Of an error e: e^2/2; the same up to `epsilon` and linear beyond (Huber 1964); or the pinball loss, whose
        minimum is the quantile (Koenker & Bassett 1978).
    epsilon : float
        Of "huber", > 0, in units of y.
    quantile : float
        Of "quantile", between 0 and 1.
    penalty, alpha, l1_ratio, optimizer, lr, optimizer_params, batch_size, max_iter, tol, n_iter_no_change, \
early_stopping, validation_fraction, average, fit_intercept, shuffle, warm_start, random_state
        As in `LinearClassifier`; the score that early stopping watches is R^2.

    Attributes
    ----------
    coef_ : array, (n_features,)
    intercept_ : array, (1,)
    n_iter_, t_, loss_curve_
        As in `LinearClassifier`, whose notes hold here, too.

    Examples
    --------
    >>> import numpy as np
    >>> from fallline.sklearn import LinearRegressor
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = LinearRegressor(optimizer="adagrad", lr=0.5, alpha=0, random_state=0).fit(X, X @ [1.0, -2.0] + 3)
    >>> model.coef_.round(3), model.intercept_.round(3)
    (array([ 1., -2.]), array([3.]))
    """

    _losses = ("squared", "huber", "quantile")

    def __init__(
        self,
        loss: str = "squared",
        *,
        epsilon: float = 1.35,
        quantile: float = 0.5,
        penalty: str | None = "l2",
        alpha: float = 1e-4,
        l1_ratio: float = 0.15,
        optimizer: str = "sgd",
        lr: Any = None,
        optimizer_params: dict[str, Any] | None = None,
        batch_size: int | str = 1,
        max_iter: int = 100,
        tol: float | None = 1e-3,
        n_iter_no_change: int = 5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        average: bool = False,
        fit_intercept: bool = True,
        shuffle: bool = True,
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        self.loss = loss
        self.epsilon = epsilon
        self.quantile = quantile
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.optimizer = optimizer
        self.lr = lr
        self.optimizer_params = optimizer_params
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.average = average
        self.fit_intercept = fit_intercept
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state

    def _check_settings(self) -> None:
        super()._check_settings()
        self._check_number("quantile", 0, 1, is_open=True)
        self._check_number("epsilon", 0, math.inf, is_open=True)

    @property
    def _parameter(self) -> float:
        return {"squared": 0.0, "huber": float(self.epsilon), "quantile": float(self.quantile)}[self.loss]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearRegressor:
        """Learn from the beginning.

        Parameters
        ----------
        X : array or CSR matrix, (n_samples, n_features)
        y : array, (n_samples,)
        sample_weight : array, (n_samples,), optional
            Each >= 0.
        """
        self._check_settings()
        X, y = self._validated(X, y, True, y_numeric=True)
        self._fit(X, y.astype(np.float64), self._weights(sample_weight, X), 1)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearRegressor:
        """Learn from some samples, once, with the optimizer as the call before left it; see `fit`."""
        self._check_settings()
        X, y = self._validated(X, y, not hasattr(self, "_optimizer"), y_numeric=True)
        self._fit_part(X, y.astype(np.float64), self._weights(sample_weight, X), 1)
        return self

    def _publish(self, coef: Array, intercept: Array) -> None:
        self.coef_, self.intercept_ = coef[0], intercept

    def _score(self, X: Any, targets: Array, weights: Array | None) -> float:
        return float(self.score(X, targets, weights))

    def predict(self, X: Any) -> Array:
        """Return the number of each row."""
        return self._predicted(X)[:, 0]
