"""Train a network that is written in NumPy: forward, backward, and an optimizer in one call a step."""

import numpy as np

import fallline as fl

rng = np.random.default_rng(0)
angle = rng.uniform(0, 3 * np.pi, 400)
side = rng.integers(0, 2, 400)
X = (angle / 10)[:, None] * np.stack([np.cos(angle + np.pi * side), np.sin(angle + np.pi * side)], axis=1)
y = side.astype(float)  # which arm of a double spiral a point is on

params = {
    "W1": rng.normal(size=(2, 32)),
    "b1": rng.normal(size=32),
    "W2": rng.normal(size=(32, 32)) / 6,
    "b2": np.zeros(32),
    "w3": rng.normal(size=32) / 6,
    "b3": np.zeros(()),
}


def loss_and_grad(p, X, y):
    """Return the mean cross-entropy and its gradient, by hand."""
    h1 = np.tanh(X @ p["W1"] + p["b1"])
    h2 = np.tanh(h1 @ p["W2"] + p["b2"])
    z = h2 @ p["w3"] + p["b3"]
    loss = np.mean(np.logaddexp(0, z) - y * z)
    dz = (1 / (1 + np.exp(-z)) - y) / len(y)
    d2 = np.outer(dz, p["w3"]) * (1 - h2**2)
    d1 = d2 @ p["W2"].T * (1 - h1**2)
    return loss, {
        "W1": X.T @ d1,
        "b1": d1.sum(0),
        "W2": h1.T @ d2,
        "b2": d2.sum(0),
        "w3": h2.T @ dz,
        "b3": dz.sum(),
    }


print(fl.check_gradient(loss_and_grad, True, params, args=(X[:9], y[:9])).verdict)

epochs = 200
optimizer = fl.Adam(params, lr=fl.schedules.cosine(0.01, total=epochs * 13))
history = fl.train(loss_and_grad, params, (X, y), optimizer=optimizer, batch_size=32, epochs=epochs, rng=0)
hidden = np.tanh(np.tanh(X @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"])
right = np.mean((hidden @ params["w3"] + params["b3"] > 0) == y)
print(f"loss {history.epoch_loss[0]:.3f} -> {history.epoch_loss[-1]:.3f}, {right:.1%} of the points are right")
