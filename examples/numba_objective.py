"""An objective in machine code by Numba: the whole descent runs without Python. Needs Numba."""

import time

import numba
import numpy as np
from numba import types

import fallline as fl

signature = types.double(
    types.CPointer(types.double), types.uintp, types.CPointer(types.double), types.CPointer(types.void)
)


@numba.cfunc(signature)
def chain(x, n, gradient, _):
    """Return Rosenbrock's function in n variables, and fill its gradient."""
    total = 0.0
    for i in range(n):
        gradient[i] = 0.0
    for i in range(n - 1):
        a, b = x[i + 1] - x[i] * x[i], 1 - x[i]
        total += 100 * a * a + b * b
        gradient[i] += -400 * a * x[i] - 2 * b
        gradient[i + 1] += 200 * a
    return total


began = time.perf_counter()
result = fl.minimize(chain, np.zeros(50), lr=fl.schedules.cosine(0.01, total=100_000), maxiter=100_000)
seconds = time.perf_counter() - began
print(f"{result.nit} steps in 50 variables: f = {result.fun:.1e}; {result.message}")
print(f"every entry is 1: {bool(np.allclose(result.x, 1, atol=1e-3))}; some {1e6 * seconds / result.nit:.1f} µs a step")
