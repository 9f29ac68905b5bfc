"""Fit a damped oscillator to noisy readings, with a gradient by hand that is checked before it is trusted."""

import numpy as np

import fallline as fl

rng = np.random.default_rng(2)
t = np.linspace(0, 10, 200)
truth = {"height": 1.5, "decay": 0.3, "frequency": 2.2}
readings = truth["height"] * np.exp(-truth["decay"] * t) * np.cos(truth["frequency"] * t) + 0.05 * rng.normal(
    size=t.size
)


def loss(p):
    model = p["height"] * np.exp(-p["decay"] * t) * np.cos(p["frequency"] * t)
    return np.mean((model - readings) ** 2)


def gradient(p, forgotten=False):
    fade, wave = np.exp(-p["decay"] * t), np.cos(p["frequency"] * t)
    error = 2 * (p["height"] * fade * wave - readings) / t.size
    by_frequency = p["height"] * fade * np.sin(p["frequency"] * t) * (1 if forgotten else -t)  # the inner derivative
    return {
        "height": error @ (fade * wave),
        "decay": error @ (-t * p["height"] * fade * wave),
        "frequency": error @ by_frequency,
    }


params = {"height": np.array(1.0), "decay": np.array(0.1), "frequency": np.array(2.0)}
print(fl.check_gradient(loss, lambda p: gradient(p, forgotten=True), params).verdict, "with the chain rule forgotten")
fl.assert_gradient(loss, gradient, params)  # raises if it is wrong

optimizer = fl.Adam(params, lr=0.02)
for _ in range(1500):
    optimizer.step(gradient(params))
print(", ".join(f"{name} {float(value):.2f} (true {truth[name]})" for name, value in params.items()))
