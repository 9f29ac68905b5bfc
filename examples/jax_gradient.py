"""A gradient from JAX, steps from fallline: any function that returns NumPy arrays will do. Needs JAX."""

import jax
import jax.numpy as jnp
import numpy as np

import fallline as fl

jax.config.update("jax_enable_x64", True)


@jax.jit
def energy(positions):
    """Return the Lennard-Jones energy of a cluster of atoms."""
    gaps = positions[:, None] - positions
    i, j = jnp.triu_indices(len(positions), 1)
    inverse = 1 / jnp.sum(gaps[i, j] ** 2, axis=-1) ** 3
    return 4 * jnp.sum(inverse**2 - inverse)


value_and_gradient = jax.jit(jax.value_and_grad(energy))


def fun(x):
    value, gradient = value_and_gradient(x)
    return float(value), np.asarray(gradient)


start = np.random.default_rng(1).normal(size=(4, 3))
print(fl.check_gradient(fun, True, start).verdict)
result = fl.minimize(fun, start, jac=True, lr=0.02, maxiter=5000)
print(f"energy {float(energy(start)):.3f} -> {result.fun:.3f} (a tetrahedron has -6)")
