"""Learning linear classifiers sample by sample, beside scikit-learn's: five epochs of the log loss, batches of one."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

from bench.harness import Bar, Race
from fallline.sklearn import LinearClassifier

EPOCHS = 5
FIVE = {"max_iter": EPOCHS, "tol": None, "random_state": 0}


def dense():
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(250_000, 50)), rng.normal(size=50)
    return X, (X @ w + 2 * rng.normal(size=len(X)) > 0).astype(int), 200_000


def newsgroups_like():
    """Rows as of 20 newsgroups: some 100 of 130000 words, as frequent as Zipf's law has it, of unit norm."""
    rng = np.random.default_rng(0)
    n, words, length = 15_000, 130_000, 160
    columns = np.minimum(rng.zipf(1.3, (n, length)) - 1, words - 1)
    rows = np.repeat(np.arange(n), length)
    X = sparse.csr_matrix((np.ones(n * length), (rows, columns.ravel())), (n, words))
    X.sum_duplicates()
    X.data = np.log1p(X.data)
    X = sparse.csr_matrix(X.multiply(1 / np.sqrt(X.multiply(X).sum(axis=1))))
    return X, (X @ rng.normal(size=words) + 0.3 * rng.normal(size=n) > 0).astype(int), 12_000


# The learning rates were chosen for the loss on what is held out, of those that double; scikit-learn chooses its own.
DATA = {"dense": (dense, 0.001, 0.001), "csr": (newsgroups_like, 0.35, 0.01)}


BARS = {"dense": 1 / 1.5, "csr": 1.0}


@pytest.mark.parametrize("name", DATA)
def test_epochs(benchmark, report, name):
    build, lr, adam_lr = DATA[name]
    X, y, n = build()
    models = {
        "fallline sgd": LinearClassifier(lr=lr, **FIVE),
        "fallline adam": LinearClassifier(optimizer="adam", lr=adam_lr, **FIVE),
        "fallline adagrad": LinearClassifier(optimizer="adagrad", lr=0.1, **FIVE),
        "fallline sgd, averaged": LinearClassifier(lr=2 * lr, average=True, **FIVE),
        "scikit-learn": SGDClassifier(loss="log_loss", **FIVE),
        "scikit-learn, averaged": SGDClassifier(loss="log_loss", average=True, **FIVE),
    }
    race = Race(f"{EPOCHS} epochs of {n} rows, {name}")
    for one, model in models.items():
        race.add(one, lambda model=model: model.fit(X[:n], y[:n]))
    race.run(benchmark)
    losses = {one: log_loss(y[n:], model.predict_proba(X[n:])) for one, model in models.items()}
    table = race.table("scikit-learn", "fallline sgd")
    table.header.append("held-out loss")
    for row in table.rows:
        row.append(f"{losses[row[0]]:.4f}")
    table.bars = [
        race.bar("fallline sgd", "scikit-learn", BARS[name]),
        Bar("held-out loss, fallline sgd / scikit-learn", losses["fallline sgd"] / losses["scikit-learn"], 1),
        race.bar("fallline adam", "fallline sgd", 2.5),
    ]
    report(table)
