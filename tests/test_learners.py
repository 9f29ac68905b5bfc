"""Linear learners against their definition, written out in NumPy, and against what scikit-learn asks of an estimator."""
# ruff: noqa: E501 - a message stands in one piece, so that searching for it finds it

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse

import fallline as fl
from message_rows import Row, check_ids, check_row, without_a_row
from test_messages import SOURCE

pytest.importorskip("sklearn")
from sklearn.datasets import load_iris, make_classification, make_regression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from fallline.sklearn import LinearClassifier, LinearRegressor

N, D = 40, 11
RNG = np.random.default_rng(5)
X = RNG.normal(size=(N, D)) * (RNG.random((N, D)) < 0.5)
Y2 = (X @ RNG.normal(size=D) + RNG.normal(size=N) > 0).astype(int)
Y3 = RNG.integers(0, 3, N)
YR = X @ RNG.normal(size=D) + 2 + RNG.normal(size=N)
WEIGHTS = RNG.random(N) + 0.5
WEIGHTS /= WEIGHTS.mean()


# ---- the definition


def slope(loss, score, y, parameter):
    """The derivative of each loss, as its definition has it; y is -1 or 1 for classes."""
    z, e = y * score, score - y
    return {
        "log": lambda: -y / (1 + np.exp(z)),
        "hinge": lambda: -y * (z < 1),
        "squared_hinge": lambda: -2 * y * np.maximum(0, 1 - z),
        "modified_huber": lambda: np.where(z < -1, -4.0 * y, -2 * y * np.maximum(0, 1 - z)),
        "squared": lambda: e,
        "huber": lambda: np.clip(e, -parameter, parameter),
        "quantile": lambda: np.where(e < 0, -parameter, np.where(e > 0, 1 - parameter, 0.0)),
    }[loss]()


def value(loss, score, y, parameter):
    z, e = y * score, score - y
    return {
        "log": lambda: np.log(1 + np.exp(-z)),
        "hinge": lambda: np.maximum(0, 1 - z),
        "squared_hinge": lambda: np.maximum(0, 1 - z) ** 2,
        "modified_huber": lambda: np.where(z < -1, -4 * z, np.maximum(0, 1 - z) ** 2),
        "squared": lambda: e**2 / 2,
        "huber": lambda: np.where(abs(e) <= parameter, e**2 / 2, parameter * (abs(e) - parameter / 2)),
        "quantile": lambda: np.maximum(parameter * -e, (1 - parameter) * e),
    }[loss]()


def of_batch(loss, scores, y, parameter):
    """The losses and slopes of a batch, (rows, outputs)."""
    n_outputs = scores.shape[1]
    if loss == "softmax":
        p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(y)), y])[:, None], p - np.eye(n_outputs)[y]
    if loss in LinearClassifier._losses:
        y = np.where(y[:, None] == ([1] if n_outputs == 1 else np.arange(n_outputs)), 1, -1)
    else:
        y = y[:, None]
    return value(loss, scores, y, parameter), slope(loss, scores, y, parameter)


def literal(
    loss, y, n_outputs, optimizer, batch, epochs, l2=0.0, l1=0.0, weights=None, parameter=0.0, **hyperparameters
):
    """Learn, in order, by the definition: one optimizer's step for each batch. Returns weights, intercepts, mean losses."""
    params = {"w": np.zeros((D, n_outputs)), "b": np.zeros(n_outputs)}
    step = fl.optimizers()[optimizer](params, **hyperparameters)
    weights = np.ones(N) if weights is None else weights
    w, losses, seen = params["w"], [], []
    for _ in range(epochs):
        total = 0.0
        for start in range(0, N, batch):
            rows = slice(start, min(start + batch, N))
            n = rows.stop - rows.start
            values, slopes = of_batch(loss, X[rows] @ w + params["b"], y[rows], parameter)
            total += (weights[rows, None] * values).sum()
            slopes = slopes * weights[rows, None] / n
            g, before = X[rows].T @ slopes + l2 * w, w.copy()
            if l1:
                g = np.where(w != 0, g + l1 * np.sign(w), np.sign(g) * np.maximum(abs(g) - l1, 0))
            step.step({"w": g, "b": slopes.sum(axis=0)})
            if l1:
                w[w * np.where(before != 0, before, -g) <= 0] = 0
            seen.append((w.copy(), params["b"].copy()))
        losses.append(total / N)
    return w, params["b"], losses, seen


CASES = [
    *[(LinearClassifier, loss, Y2, 1) for loss in ("log", "hinge", "squared_hinge", "modified_huber")],
    *[(LinearClassifier, loss, Y3, 3) for loss in ("log", "squared_hinge", "softmax")],
    *[(LinearRegressor, loss, YR, 1) for loss in ("squared", "huber", "quantile")],
]
FORMS = {
    "dense": np.asarray,
    "fortran": np.asfortranarray,
    "csr": sparse.csr_matrix,
    "float32": lambda x: x.astype("f4"),
}


def model(kind, **settings):
    own = {"epsilon": 0.7, "quantile": 0.3} if kind is LinearRegressor else {}
    return kind(**own, **{"shuffle": False, "tol": None, "max_iter": 3} | settings)


def parameter_of(loss):
    return {"huber": 0.7, "quantile": 0.3}.get(loss, 0.0)


def assert_same(fitted, w, b, rtol=1e-10):
    np.testing.assert_allclose(np.atleast_2d(fitted.coef_).T, w, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(fitted.intercept_, b, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 7, "all"])
@pytest.mark.parametrize("form", ["dense", "fortran"])
@pytest.mark.parametrize(("kind", "loss", "y", "n_outputs"), CASES, ids=[f"{c[1]}-{c[3]}" for c in CASES])
def test_learns_as_defined(kind, loss, y, n_outputs, form, batch):
    options = {"optimizer": "adam", "lr": 0.05}
    fitted = model(kind, loss=loss, penalty="elasticnet", alpha=0.02, l1_ratio=0.25, batch_size=batch,
                   optimizer_params={"betas": (0.8, 0.95)}, **options).fit(FORMS[form](X), y, sample_weight=WEIGHTS)  # fmt: skip
    w, b, losses, _ = literal(loss, y, n_outputs, batch=N if batch == "all" else batch, epochs=3, l2=0.015, l1=0.005,
                              weights=WEIGHTS, parameter=parameter_of(loss), betas=(0.8, 0.95), **options)  # fmt: skip
    assert_same(fitted, w, b)
    np.testing.assert_allclose(fitted.loss_curve_, losses, rtol=1e-10)
    assert fitted.t_ == 3 * -(-N // (N if batch == "all" else batch))


@pytest.mark.parametrize("batch", [1, 7, "all"])
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet", None])
@pytest.mark.parametrize(("kind", "loss", "y", "n_outputs"), CASES, ids=[f"{c[1]}-{c[3]}" for c in CASES])
def test_sparse_gradient_descent_is_exact(kind, loss, y, n_outputs, penalty, batch):
    """Steps of the features of a row, and the penalty made up for, end where steps of all features end."""
    fitted = model(kind, loss=loss, penalty=penalty, alpha=0.05, l1_ratio=0.4, lr=0.1, batch_size=batch)
    fitted.fit(sparse.csr_matrix(X), y)
    alpha, share = {"l2": (0.05, 0), "l1": (0.05, 1), "elasticnet": (0.05, 0.4), None: (0, 0)}[penalty]
    w, b, losses, _ = literal(loss, y, n_outputs, "sgd", N if batch == "all" else batch, 3, alpha * (1 - share),
                              alpha * share, parameter=parameter_of(loss), lr=0.1)  # fmt: skip
    assert_same(fitted, w, b, 1e-9)
    np.testing.assert_allclose(fitted.loss_curve_, losses, rtol=1e-9)


def test_l1_finds_the_features_that_matter():
    """The slope of the loss is alpha where a weight is not 0, and no more where it is (the conditions of a minimum)."""
    for name, lr in (("sgd", 0.5), ("adam", fl.schedules.cosine(0.02, total=4000))):
        fitted = model(
            LinearClassifier, penalty="l1", alpha=0.1, optimizer=name, lr=lr, batch_size="all", max_iter=4000
        )
        w = fitted.fit(X, Y2).coef_[0]
        g = X.T @ slope("log", X @ w + fitted.intercept_, 2 * Y2 - 1, 0) / N
        assert 2 < (w == 0).sum() < D - 1
        np.testing.assert_allclose(g[w != 0], -0.1 * np.sign(w[w != 0]), atol=1e-4)
        assert (abs(g[w == 0]) < 0.1).all()


def test_a_strong_penalty_does_not_overflow_its_units():
    """The units of the weights would fall to 0.235**800 within an epoch, below the least double."""
    rows, y = np.tile(X, (20, 1)), np.tile(Y2, 20)
    settings = {"alpha": 9.0, "lr": 0.1, "penalty": "elasticnet"}
    dense, rare = (model(LinearClassifier, **settings).fit(form, y) for form in (rows, sparse.csr_matrix(rows)))
    np.testing.assert_allclose(dense.coef_, rare.coef_, rtol=1e-9, atol=1e-12)
    l2_only = {"alpha": 7.65, "lr": 0.1}
    dense, rare = (model(LinearClassifier, **l2_only).fit(form, y) for form in (rows, sparse.csr_matrix(rows)))
    np.testing.assert_allclose(dense.coef_, rare.coef_, rtol=1e-9)
    assert (dense.coef_ != 0).all()


@pytest.mark.parametrize("batch", [1, 7])
def test_sparse_adagrad_without_a_penalty_is_exact(batch):
    settings = {"penalty": None, "optimizer": "adagrad", "lr": 0.3, "batch_size": batch, "loss": "softmax"}
    dense, rare = (model(LinearClassifier, **settings).fit(form, Y3) for form in (X, sparse.csr_matrix(X)))
    np.testing.assert_allclose(dense.coef_, rare.coef_, rtol=1e-10)


def test_sparse_adam_leaves_absent_features_alone():
    """As documented: its moments move only where a row has something."""
    params = {"w": np.zeros((D, 1)), "b": np.zeros(1)}
    m, v = np.zeros(D), np.zeros(D)
    mb = vb = 0.0
    w, b, lr, b1, b2, alpha = params["w"][:, 0], 0.0, 0.05, 0.9, 0.999, 0.02
    for t, (row, y) in enumerate(zip(X, Y2 * 2 - 1, strict=True), 1):
        d = slope("log", row @ w + b, y, 0)
        at = row != 0
        g = d * row + alpha * w
        m[at] = b1 * m[at] + (1 - b1) * g[at]
        v[at] = b2 * v[at] + (1 - b2) * g[at] ** 2
        w[at] -= lr * (m[at] / (1 - b1**t)) / (np.sqrt(v[at] / (1 - b2**t)) + 1e-8)
        mb, vb = b1 * mb + (1 - b1) * d, b2 * vb + (1 - b2) * d**2
        b -= lr * (mb / (1 - b1**t)) / (np.sqrt(vb / (1 - b2**t)) + 1e-8)
    fitted = model(LinearClassifier, optimizer="adam", lr=lr, alpha=alpha, max_iter=1).fit(sparse.csr_matrix(X), Y2)
    assert_same(fitted, w[:, None], [b], 1e-9)


@pytest.mark.parametrize("name", sorted(fl.optimizers()))
def test_every_optimizer_learns_as_its_class_steps(name):
    lr = {} if name in ("adadelta", "rprop") else {"lr": 0.02}
    fitted = model(LinearClassifier, optimizer=name, batch_size=8, alpha=0.03, **lr).fit(X, Y2)
    optimizer = fl.optimizers()[name]({"w": np.zeros((D, 1)), "b": np.zeros(1)}, **lr)
    for _ in range(3):
        for start in range(0, N, 8):
            w, b = optimizer.params["w"], optimizer.params["b"]
            _, slopes = of_batch("log", X[start : start + 8] @ w + b, Y2[start : start + 8], 0)
            g = X[start : start + 8].T @ slopes / 8 + 0.03 * w
            optimizer.step({"w": g, "b": slopes.mean(axis=0)})
    own = type(optimizer)._average_of is not fl.Optimizer._average_of
    end = optimizer.averaged() if own else optimizer.params
    assert_same(fitted, end["w"], end["b"], 1e-6 if name in ("rprop", "signum", "lion") else 1e-9)


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_average_is_the_mean_of_all_steps(form):
    fitted = model(LinearClassifier, average=True, lr=0.1, alpha=0.01).fit(FORMS[form](X), Y2)
    _, _, _, seen = literal("log", Y2, 1, "sgd", 1, 3, 0.01, lr=0.1)
    assert_same(fitted, np.mean([w for w, _ in seen], axis=0), np.mean([b for _, b in seen], axis=0))


@pytest.mark.parametrize("batch", [1, 7, "all"])
@pytest.mark.parametrize("penalty", ["l2", "elasticnet", None])
@pytest.mark.parametrize(("kind", "loss", "y", "n_outputs"), CASES, ids=[f"{c[1]}-{c[3]}" for c in CASES])
def test_averages_of_sparse_rows_are_of_all_weights_after_all_steps(kind, loss, y, n_outputs, penalty, batch):
    """A strong penalty, so that the weights are settled within an epoch; the last part is learned by another call."""
    l2, l1 = {"l2": (0.5, 0.0), "elasticnet": (0.3, 0.2), None: (0.0, 0.0)}[penalty]
    fitted = model(kind, loss=loss, penalty=penalty, alpha=0.5, l1_ratio=0.4, lr=0.2, batch_size=batch, average=True)
    rows = sparse.csr_matrix(X)
    first = {"classes": np.unique(y)} if kind is LinearClassifier else {}
    for _ in range(3):
        fitted.partial_fit(rows, y, **first)
    _, _, _, seen = literal(loss, y, n_outputs, "sgd", N if batch == "all" else batch, 3, l2, l1,
                            parameter=parameter_of(loss), lr=0.2)  # fmt: skip
    assert_same(fitted, np.mean([w for w, _ in seen], axis=0), np.mean([b for _, b in seen], axis=0), 1e-9)


def test_averages_under_a_strong_penalty_lose_no_digits():
    """The units of the weights would fall to 0.8**800 within an epoch, and sums in them to nothing but rounding."""
    rows, y = np.tile(X, (20, 1)), np.tile(Y2, 20)
    settings = {"alpha": 2.0, "lr": 0.1, "average": True}
    dense, rare = (model(LinearClassifier, **settings).fit(form, y) for form in (rows, sparse.csr_matrix(rows)))
    np.testing.assert_allclose(rare.coef_, dense.coef_, rtol=1e-11)
    np.testing.assert_allclose(rare.intercept_, dense.intercept_, rtol=1e-11)


def test_averages_of_sparse_adam_are_of_what_it_did():
    """Of the weights after every step, which models that stop there have."""
    rows, settings = sparse.csr_matrix(X), {"optimizer": "adam", "lr": 0.05, "alpha": 0.02}
    ends = []
    step_by_step = model(LinearClassifier, **settings)
    for i in range(N):
        step_by_step.partial_fit(rows[i], Y2[i : i + 1], classes=[0, 1])
        ends.append((step_by_step.coef_.T.copy(), step_by_step.intercept_.copy()))
    fitted = model(LinearClassifier, average=True, max_iter=1, **settings).fit(rows, Y2)
    assert_same(fitted, np.mean([w for w, _ in ends], axis=0), np.mean([b for _, b in ends], axis=0), 1e-9)


def test_schedules_count_steps():
    lr = fl.schedules.cosine(0.2, total=3 * N)
    fitted = model(LinearClassifier, lr=lr, optimizer="momentum", optimizer_params={"momentum": 0.8}).fit(X, Y2)
    w, b, _, _ = literal("log", Y2, 1, "momentum", 1, 3, 1e-4, lr=lr, momentum=0.8)
    assert_same(fitted, w, b)


def test_float32_rows_are_learned_in_double():
    narrow = X.astype("f4")
    one, other = (model(LinearClassifier, lr=0.1).fit(form, Y2) for form in (narrow, narrow.astype("f8")))
    assert one.coef_.tobytes() == other.coef_.tobytes()
    rare = model(LinearClassifier, lr=0.1, penalty=None).fit(sparse.csr_matrix(narrow), Y2)
    np.testing.assert_allclose(
        rare.coef_, model(LinearClassifier, lr=0.1, penalty=None).fit(narrow, Y2).coef_, rtol=1e-9
    )


@pytest.mark.parametrize("margin", [0.1, 1, 20, 36, 40, 300, -0.1, -20, -300])
def test_the_log_loss_is_exact_near_and_far(margin):
    fitted = model(LinearClassifier, lr=0.1, penalty=None, batch_size="all", max_iter=1, warm_start=True)
    fitted.fit([[1.0], [-1.0]], [1, 0])
    fitted.coef_, fitted.intercept_ = np.array([[margin]], float), np.zeros(1)
    fitted.fit([[1.0], [-1.0]], [1, 0])
    np.testing.assert_allclose(fitted.loss_curve_[0], np.logaddexp(0, -float(margin)), rtol=5e-16)


@pytest.mark.parametrize("flag", [None, True])
def test_sparse_rows_may_have_entries_in_any_order_and_twice(flag):
    """Also where the matrix says of itself that they are not."""
    half = sparse.csr_matrix(X / 2)
    starts, ends = half.indptr[:-1], half.indptr[1:]
    twice = [np.r_[start:end, start:end][::-1] for start, end in zip(starts, ends, strict=True)]
    scattered = sparse.csr_matrix(
        (half.data[np.concatenate(twice)], half.indices[np.concatenate(twice)], 2 * half.indptr), X.shape
    )
    if flag is not None:
        scattered.has_sorted_indices = scattered.has_canonical_format = flag
    kept = scattered.data.copy(), scattered.indices.copy()
    ours, ordered = (model(LinearClassifier, lr=0.1).fit(form, Y2) for form in (scattered, sparse.csr_matrix(X)))
    assert ours.coef_.tobytes() == ordered.coef_.tobytes()
    assert all(np.array_equal(a, b) for a, b in zip(kept, (scattered.data, scattered.indices), strict=True))


# ---- fitting on


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_parts_make_a_whole(form):
    whole = model(LinearClassifier, optimizer="adam", lr=0.01).fit(FORMS[form](X), Y2)
    parts = model(LinearClassifier, optimizer="adam", lr=0.01)
    for epoch in range(3):
        for start in (0, 13):
            rows = slice(start, 13 if start == 0 else N)
            parts.partial_fit(FORMS[form](X[rows]), Y2[rows], classes=[0, 1] if epoch == start == 0 else None)
        parts = pickle.loads(pickle.dumps(parts))
    assert parts.coef_.tobytes() == whole.coef_.tobytes()
    assert parts.t_ == whole.t_ == 3 * N


def test_warm_start_goes_on():
    settings = {"lr": 0.05, "warm_start": True, "max_iter": 1, "loss": "softmax"}
    for y, penalty in ((Y3, "l2"), (Y2, None)):
        twice = model(LinearClassifier, **settings, penalty=penalty).fit(X, y)
        first = twice.coef_.copy()
        twice.fit(X, y)
        once = model(LinearClassifier, **settings | {"max_iter": 2}, penalty=penalty).fit(X, y)
        np.testing.assert_allclose(twice.coef_, once.coef_, rtol=1e-10)
        assert not np.allclose(first, once.coef_)


def test_early_stopping_watches_what_was_held_out():
    data, y = make_classification(400, 8, flip_y=0.3, random_state=0)
    fitted = LinearClassifier(early_stopping=True, max_iter=1000, random_state=0, n_iter_no_change=3).fit(data, y)
    assert 3 < fitted.n_iter_ < 1000
    data, y = make_regression(400, 8, noise=5, random_state=0)
    assert LinearRegressor(early_stopping=True, random_state=0).fit(data, y).score(data, y) > 0.99


def test_weights_of_classes_are_weights_of_samples():
    given = model(LinearClassifier, class_weight={0: 3.0, 1: 0.5}).fit(X, Y2)
    same = model(LinearClassifier).fit(X, Y2, sample_weight=np.where(Y2 == 0, 3.0, 0.5))
    assert given.coef_.tobytes() == same.coef_.tobytes()


# ---- predicting


def test_probabilities():
    for loss, y in (("log", Y2), ("log", Y3), ("softmax", Y2), ("softmax", Y3), ("modified_huber", Y3)):
        fitted = model(LinearClassifier, loss=loss, lr=0.1).fit(X, y)
        p = fitted.predict_proba(X)
        np.testing.assert_allclose(p.sum(axis=1), 1)
        assert (p >= 0).all()
        assert (fitted.classes_[p.argmax(axis=1)] == fitted.predict(X)).mean() > 0.9
    w, b, _, _ = literal("softmax", Y2, 2, "sgd", 1, 3, 1e-4, lr=0.1)
    scores = X @ w + b
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        model(LinearClassifier, loss="softmax", lr=0.1).fit(X, Y2).predict_proba(X), p, rtol=1e-9
    )


def test_labels_may_be_text():
    names = np.array(["larch", "oak", "pine"])[Y3]
    assert set(LinearClassifier(random_state=0).fit(X, names).predict(X)) <= {"larch", "oak", "pine"}


def test_the_quantile_is_one():
    fitted = LinearRegressor("quantile", quantile=0.8, penalty=None, lr=0.01, average=True, tol=None, random_state=0)
    y = np.random.default_rng(0).normal(size=2000)
    assert abs((y < fitted.fit(np.zeros((2000, 1)), y).predict([[0.0]])[0]).mean() - 0.8) < 0.02


# ---- in scikit-learn


@pytest.mark.slow
@pytest.mark.parametrize("kind", [LinearClassifier, LinearRegressor])
def test_check_estimator(kind):
    reason = "A repeated sample makes another step, so the order differs; SGDClassifier is excused for the same."
    excused = {f"check_sample_weight_equivalence_on_{form}_data": reason for form in ("dense", "sparse")}
    check_estimator(kind(), expected_failed_checks=excused, on_skip=None)


def test_pipeline_and_grid_search():
    data, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LinearClassifier("softmax", random_state=0))
    grid = {"linearclassifier__optimizer": ["adagrad", "adam"], "linearclassifier__lr": [0.03, 0.1]}
    assert GridSearchCV(pipeline, grid, cv=3).fit(data, y).best_score_ > 0.94


def test_processes_and_threads_of_joblib_fit_the_same():
    import joblib

    alone = LinearClassifier(random_state=0).fit(X, Y2).coef_
    for backend in ("loky", "threading"):
        with joblib.parallel_config(backend=backend, n_jobs=2):
            jobs = (joblib.delayed(LinearClassifier(random_state=0).fit)(X, Y2) for _ in range(4))
            assert all(np.array_equal(one.coef_, alone) for one in joblib.Parallel()(jobs))


def test_threads_fit_side_by_side():
    def fit(seed):
        return LinearClassifier(random_state=seed, optimizer="adam", lr=0.01).fit(X, Y2).coef_.tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fit, range(8))) == [fit(seed) for seed in range(8)]


# ---- messages

ROWS = []


def row(id, text, fit=lambda one: one.fit(X, Y2), kind=LinearClassifier, error=ValueError, **settings):
    ROWS.append(Row(id, lambda: fit(kind(**settings)), error, f"{kind.__name__}{text}"))


row(
    "loss",
    "(loss): must be one of log, hinge, squared_hinge, modified_huber, softmax; got 'hing'. Did you mean 'hinge'?",
    loss="hing",
)
row(
    "loss-of-numbers",
    "(loss): must be one of squared, huber, quantile; got 'x'. Choose one of them.",
    kind=LinearRegressor,
    loss="x",
)
row(
    "penalty",
    "(penalty): must be one of l2, l1, elasticnet, None; got 'elastic'. Did you mean 'elasticnet'?",
    penalty="elastic",
)
row("optimizer", "(optimizer): must be one of sgd, ...; got 'adagrd'. Did you mean 'adagrad'?", optimizer="adagrd")
row("alpha", "(alpha): must be a number >= 0; got -1. Leave it out for the default.", alpha=-1)
row("l1_ratio", "(l1_ratio): must be a number between 0 and 1; got 2. Leave it out for the default.", l1_ratio=2)
row(
    "epsilon", "(epsilon): must be a number >= 0; got 0. Leave it out for the default.", kind=LinearRegressor, epsilon=0
)
row("batch", '(batch_size): must be an integer >= 1 or "all"; got 0. Leave it out for the default.', batch_size=0)
row(
    "params",
    "(optimizer_params): must be a dict of hyperparameters or None; got 3. Pass {'momentum': 0.9}, say.",
    optimizer_params=3,
)
row(
    "one-class",
    "(y): must have at least 2 classes; got 1 class. Look at the labels.",
    lambda one: one.fit(X, np.zeros(N)),
)
row(
    "no-weight",
    "(sample_weight): must have a positive sum; got 40 weights of 0. Leave it out for equal weights.",
    class_weight={0: 0.0, 1: 0.0},
)
row(
    "diverged",
    ": must stay finite while it learns; got weights that are not. Lower lr, or scale the features.",
    lambda one: one.fit(X, YR),
    LinearRegressor,
    lr=1e9,
)
row(
    "warm",
    "(warm_start): must find coefficients of shape (3, 11); got (1, 11) from the fit before. Fit the same kind of data, or switch it off.",
    lambda one: one.fit(X, Y2).fit(X, Y3),
    warm_start=True,
)
row(
    "part-classes",
    ".partial_fit(classes): must be given at the first call; got None. Pass all classes there will be.",
    lambda one: one.partial_fit(X, Y2),
)
row(
    "part-other",
    ".partial_fit(classes): must be those of the first call, [0 1]; got [0 1 2]. Leave them out.",
    lambda one: one.partial_fit(X, Y2, [0, 1]).partial_fit(X, Y2, [0, 1, 2]),
)
row(
    "part-label",
    ".partial_fit(y): must be among the classes of the first call, [0 1]; got np.int64(2). Name all classes in the first call.",
    lambda one: one.partial_fit(X, Y3, [0, 1]),
)
row(
    "part-balanced",
    ".partial_fit(class_weight): must be a dict or None; got 'balanced', which needs all samples. Compute it by sklearn.utils.compute_class_weight.",
    lambda one: one.partial_fit(X, Y2, [0, 1]),
    class_weight="balanced",
)
row(
    "proba",
    ".predict_proba: must have loss log, softmax or modified_huber; got 'hinge'. Use decision_function, or sklearn.calibration.",
    lambda one: one.fit(X, Y2).predict_proba(X),
    error=AttributeError,
    loss="hinge",
)
row(
    "sparse-norm",
    '(X): must be dense with lamb, clip_norm or ema, which look at all weights at every step; got a sparse matrix. Use X.toarray() or batch_size="all", which step all weights.',
    lambda one: one.fit(sparse.csr_matrix(X), Y2),
    optimizer="lamb",
)
row(
    "sparse-many",
    '(y): must have at most 1024 classes if X is sparse; got 1100. Use X.toarray() or batch_size="all", which step all weights.',
    lambda one: one.fit(sparse.csr_matrix((3300, 2)), np.arange(3300) % 1100),
)
row(
    "sparse-lr",
    "(lr): must be below 1/alpha on sparse rows, or the penalty turns weights round; got 0.5, and 1/alpha is 0.1. Lower one of them.",
    lambda one: one.fit(sparse.csr_matrix(X), Y2),
    alpha=10.0,
    lr=0.5,
)
row(
    "option",
    "(optimizer_params): must have schedules of numbers of the rule only; got one of an option. Give it a number.",
    optimizer_params={"clip_value": lambda t: 1.0},
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_message(row):
    with np.errstate(all="ignore"):
        check_row(row)


def test_ids_are_distinct():
    check_ids(ROWS)


@pytest.mark.skipif(not SOURCE.exists(), reason="needs the sources")
def test_every_message_in_the_sources_has_a_row():
    with np.errstate(all="ignore"):
        found, missing = without_a_row(
            ROWS, ["sklearn.py", "_core/linear.pxi"], lambda text: "must be installed" in text
        )
    assert missing == []
    assert found >= 12
