"""Hyperparameters of a Gaussian process, by the gradient of the marginal likelihood.

Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, equations 5.8 and 5.9.
"""

import numpy as np

import fallline as fl

rng = np.random.default_rng(1)
x = np.sort(rng.uniform(0, 6, 40))
y = np.sin(2 * x) + 0.2 * rng.normal(size=40)
distance = (x[:, None] - x) ** 2


def loss_and_grad(p):
    """Return minus the log marginal likelihood of (log length, log height, log noise), and its gradient."""
    length, height, noise = np.exp(p)
    shape = height**2 * np.exp(-distance / (2 * length**2))
    K = shape + noise**2 * np.eye(len(x))
    inverse = np.linalg.inv(K)
    weights = inverse @ y
    loss = 0.5 * y @ weights + 0.5 * np.linalg.slogdet(K)[1] + 0.5 * len(x) * np.log(2 * np.pi)
    inner = inverse - np.outer(weights, weights)
    by = [shape * distance / length**2, 2 * shape, 2 * noise**2 * np.eye(len(x))]
    return loss, np.array([0.5 * np.sum(inner * one) for one in by])


start = np.array([0.5, 0.0, -0.5])
print(fl.check_gradient(loss_and_grad, True, start).verdict)
result = fl.minimize(loss_and_grad, start, jac=True, lr=0.05, maxiter=2000)
length, height, noise = np.exp(result.x)
print(f"{result.nit} steps: -log likelihood {loss_and_grad(start)[0]:.1f} -> {result.fun:.1f}")
print(f"length {length:.2f}, height {height:.2f}, noise {noise:.2f} (the data have 0.2)")
