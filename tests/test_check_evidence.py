"""What causes are told by, wherever the caller keeps it; gradients of other libraries as plain functions."""

import functools

import numpy as np
import pytest

import fallline as fl
from fallline.setting import describe
from fallline.space import Space

RNG = np.random.default_rng(4)
X, Y = RNG.standard_normal((7, 3)), RNG.standard_normal(7)
W = np.array([0.3, -0.7, 1.2])
LAM = 0.37


def loss(w, X, y):
    return np.mean((X @ w - y) ** 2)


def summed(w, X, y):
    return 2 * X.T @ (X @ w - y)


def by_closure(X, y):
    return lambda w: np.mean((X @ w - y) ** 2), lambda w: 2 * X.T @ (X @ w - y)


class Model:
    def __init__(self, X, y):
        self.data, self.target = X, y

    def loss(self, w):
        return loss(w, self.data, self.target)

    def gradient(self, w):
        return summed(w, self.data, self.target)


def by_globals(w):
    return loss(w, X, Y)


WAYS = {
    "args": (loss, summed, (X, Y), "X"),
    "closure": (*by_closure(X, Y), (), "X"),
    "partial keywords": (functools.partial(loss, X=X, y=Y), functools.partial(summed, X=X, y=Y), (), "X"),
    "method": (Model(X, Y).loss, Model(X, Y).gradient, (), "data"),
    "globals": (by_globals, lambda w: summed(w, X, Y), (), "X"),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_batch_size_is_found_where_the_caller_keeps_it(way):
    f, df, args, name = WAYS[way]
    report = fl.check_gradient(f, df, W, args=args)
    assert report.verdict == "fail"
    assert report.causes[0].number == 4
    assert report.causes[0].text.startswith("g = 7.0000·D to ")
    assert f"{name} has 7 rows" in report.causes[0].text


def test_a_coefficient_is_found_where_the_caller_keeps_it():
    lam = 0.37

    def f(w):
        return loss(w, X, Y) + lam * np.sum(w**2)

    report = fl.check_gradient(f, lambda w: summed(w, X, Y) / 7, W)
    assert report.causes[0].number in (9, 10)  # of which one has ½·lam
    assert "lam" in report.causes[0].text


def test_what_is_collected():
    """Sizes, numbers and arrays by name; what is no number is left out."""

    def f(x, A, labels, c, flag, text):
        return 0.0

    args = (np.ones((7, 3)), np.array([0, 2, 1]), 0.5, True, "t")
    setting = describe(f, None, args, Space("f", {"W": np.ones((4, 6))}), 1.5)
    assert setting.value == 1.5
    assert setting.numbers["c"] == 0.5
    assert "flag" not in setting.numbers
    assert setting.arrays["A"] is args[0]
    sizes = {"rows of A": 7, "columns of A": 3, "entries of labels": 3, "classes in labels": 3, "rows of W": 4}
    assert sizes.items() <= setting.sizes.items()


def test_nothing_is_called_or_changed_by_looking():
    class Touchy:
        """An object whose attributes must not be asked for."""

        def __getattr__(self, name):
            raise RuntimeError(name)

    touchy = Touchy()
    assert fl.check_gradient(lambda x, t: np.sum(x**2), lambda x, t: 3 * x, W, args=(touchy,)).verdict == "fail"
    assert fl.check_gradient(lambda x: np.sum(x**2) + 0 * (touchy is None), lambda x: 3 * x, W).verdict == "fail"


def test_built_in_and_numpy_functions_have_no_surroundings():
    assert fl.check_gradient(np.sum, np.ones_like, W).passed
    assert fl.check_gradient(np.sum, lambda x: 2 * np.ones_like(x), W).verdict == "fail"


# ---------------------------------------------------------------------------------------------------------------------
# Gradients of other libraries
# ---------------------------------------------------------------------------------------------------------------------


def plain(w):
    return np.mean(np.tanh(X @ w - Y) ** 2)


def by_torch():
    torch = pytest.importorskip("torch")

    def gradient(w):
        leaf = torch.tensor(w, requires_grad=True)
        ((torch.tensor(X) @ leaf - torch.tensor(Y)).tanh() ** 2).mean().backward()
        return leaf.grad.numpy()

    return gradient


def by_jax():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    with jax.enable_x64(True):
        jitted = jax.jit(jax.grad(lambda w: jnp.mean(jnp.tanh(X @ w - Y) ** 2)))

    def gradient(w):
        with jax.enable_x64(True):
            return np.asarray(jitted(w))

    return gradient


def by_autograd():
    autograd = pytest.importorskip("autograd")
    anp = pytest.importorskip("autograd.numpy")
    return autograd.grad(lambda w: anp.mean(anp.tanh(anp.dot(X, w) - Y) ** 2))


@pytest.mark.parametrize("library", [by_torch, by_jax, by_autograd])
def test_gradients_of_other_libraries(library):
    gradient = library()
    report = fl.check_gradient(plain, gradient, W)
    assert report.passed
    assert report.power < 1e-6
    wrong = fl.check_gradient(plain, lambda w: -gradient(w), W)
    assert wrong.causes[0].name == "sign"


def test_an_array_alone_is_called_x():
    x = np.linspace(0, 1, 6)
    times = fl.check_gradient(lambda x: float(np.sum(np.sin(x))), lambda x: 6 * np.cos(x), x)
    assert "axis 0 of x has 6 entries" in times.causes[0].text
