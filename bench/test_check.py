"""The time of checking a gradient that is right, against the checks that others have."""

import numpy as np

import fallline as fl
from bench.harness import Bar, Race

INPUTS, HIDDEN, ROWS = 19, 20, 32  # 421 parameters


def network():
    """Return loss and gradient of a tanh network by hand, its parameters and data."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((ROWS, INPUTS)), rng.standard_normal((ROWS, 1))
    params = {
        "W1": rng.standard_normal((INPUTS, HIDDEN)) / 4,
        "b1": rng.standard_normal(HIDDEN),
        "W2": rng.standard_normal((HIDDEN, 1)) / 4,
        "b2": rng.standard_normal(1),
    }

    def loss(p, X, y):
        return np.mean((np.tanh(X @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"] - y) ** 2)

    def gradient(p, X, y):
        hidden = np.tanh(X @ p["W1"] + p["b1"])
        error = 2 * (hidden @ p["W2"] + p["b2"] - y) / y.size
        back = error @ p["W2"].T * (1 - hidden**2)
        return {"W1": X.T @ back, "b1": back.sum(0), "W2": hidden.T @ error, "b2": error.sum(0)}

    return loss, gradient, params, (X, y)


def torch_gradcheck(params, data, **options):
    """Return torch's gradcheck of the same network, with torch's gradient."""
    import torch

    X, y = map(torch.tensor, data)
    tensors = [torch.tensor(p, requires_grad=True) for p in params.values()]

    def loss(W1, b1, W2, b2):
        return ((torch.tanh(X @ W1 + b1) @ W2 + b2 - y) ** 2).mean()

    return lambda: torch.autograd.gradcheck(loss, tensors, **options)


def torch_gradcheck_of(loss, gradient, params, data, **options):
    """Return torch's gradcheck of the gradient that is written by hand."""
    import torch

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            ctx.save_for_backward(*tensors)
            arrays = {name: tensor.detach().numpy() for name, tensor in zip(params, tensors, strict=True)}
            return torch.tensor(loss(arrays, *data))

        @staticmethod
        def backward(ctx, factor):
            arrays = {name: tensor.numpy() for name, tensor in zip(params, ctx.saved_tensors, strict=True)}
            grads = gradient(arrays, *data)
            return tuple(factor * torch.from_numpy(grads[name]) for name in params)

    tensors = [torch.tensor(p, requires_grad=True) for p in params.values()]
    return lambda: torch.autograd.gradcheck(Loss.apply, tensors, **options)


def scipy_check_grad(loss, gradient, params, data):
    """Return SciPy's check_grad, which wants one vector."""
    from scipy.optimize import check_grad

    shapes = [p.shape for p in params.values()]
    ends = np.cumsum([p.size for p in params.values()])

    def unpack(x):
        return {n: part.reshape(s) for n, part, s in zip(params, np.split(x, ends[:-1]), shapes, strict=True)}

    x = np.concatenate([p.ravel() for p in params.values()])

    def flat_gradient(x):
        return np.concatenate([g.ravel() for g in gradient(unpack(x), *data).values()])

    return lambda: check_grad(lambda x: loss(unpack(x), *data), flat_gradient, x)


def test_right_gradient(benchmark, report):
    loss, gradient, params, data = network()
    result = fl.check_gradient(loss, gradient, params, args=data)
    assert result.passed
    assert sum(p.size for p in params.values()) == 421
    race = Race("check of a right gradient, network of 421 parameters")
    ours = "fallline"
    race.add(ours, lambda: fl.check_gradient(loss, gradient, params, args=data))
    race.invite("torch gradcheck, fast", torch_gradcheck_of, loss, gradient, params, data, fast_mode=True)
    race.invite("torch gradcheck, slow", torch_gradcheck_of, loss, gradient, params, data)
    race.invite("torch gradcheck of torch's own gradient, fast", torch_gradcheck, params, data, fast_mode=True)
    race.invite("torch gradcheck of torch's own gradient, slow", torch_gradcheck, params, data)
    race.invite("scipy check_grad", scipy_check_grad, loss, gradient, params, data)
    race.run(benchmark, rounds=14)
    table = race.table(ours)
    table.bars = [Bar("evaluations of f", result.nfev, 30, "")]
    for peer, most in (("torch gradcheck, fast", 1 / 3), ("torch gradcheck, slow", 1 / 100)):
        if peer in race.seconds:
            table.bars.append(race.bar(ours, peer, most))
    report(table)
