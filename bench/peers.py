"""Other libraries' steps, each by its fastest way.

A builder takes lists of float32 arrays and returns one step as a function; it raises ModuleNotFoundError if its library
is not installed. Hyperparameters are everyone's default for Adam: lr 1e-3, betas (0.9, 0.999), eps 1e-8. Arrays are
shared with the caller where the library allows it.
"""

import functools

import numpy as np


def numpy_expression(params, grads):
    """Adam as one writes it down: every operator allocates its result."""
    moments = [[np.zeros_like(p), np.zeros_like(p)] for p in params]
    t = 0

    def step():
        nonlocal t
        t += 1
        for p, g, s in zip(params, grads, moments, strict=True):
            s[0] = 0.9 * s[0] + 0.1 * g
            s[1] = 0.999 * s[1] + 0.001 * g**2
            p -= 1e-3 * (s[0] / (1 - 0.9**t)) / (np.sqrt(s[1] / (1 - 0.999**t)) + 1e-8)

    return step


def numpy_in_place(params, grads):
    """Adam without temporaries: every result goes into an array that exists, the constants outside the arrays."""
    moments = [(np.zeros_like(p), np.zeros_like(p), np.empty_like(p)) for p in params]
    t = 0

    def step():
        nonlocal t
        t += 1
        for p, g, (m, v, d) in zip(params, grads, moments, strict=True):
            np.multiply(g, 0.1, out=d)
            np.multiply(m, 0.9, out=m)
            np.add(m, d, out=m)
            np.multiply(g, g, out=d)
            np.multiply(d, 0.001, out=d)
            np.multiply(v, 0.999, out=v)
            np.add(v, d, out=v)
            np.sqrt(v, out=d)
            root = (1 - 0.999**t) ** 0.5
            np.add(d, 1e-8 * root, out=d)
            np.divide(m, d, out=d)
            np.multiply(d, 1e-3 * root / (1 - 0.9**t), out=d)
            np.subtract(p, d, out=p)

    return step


def torch_adam(params, grads, *, threads, **fast_path):
    import torch

    torch.set_num_threads(threads)
    tensors = torch_tensors(params, grads)
    return torch.optim.Adam(tensors, **fast_path).step


def torch_tensors(params, grads):
    """Return tensors on the memory of `params`, their gradients on that of `grads`."""
    import torch

    tensors = [torch.from_numpy(p).requires_grad_() for p in params]
    for tensor, g in zip(tensors, grads, strict=True):
        tensor.grad = torch.from_numpy(g)
    return tensors


def torch_clipped_averaged(params, grads, *, threads, max_norm, decay):
    """AdamW with the clipping of the global norm before it and a moving average of the weights after it."""
    import torch

    torch.set_num_threads(threads)
    tensors = torch_tensors(params, grads)
    averages = [tensor.detach().clone() for tensor in tensors]
    optimizer = torch.optim.AdamW(tensors, fused=True)

    def step():
        torch.nn.utils.clip_grad_norm_(tensors, max_norm, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, tensors, 1 - decay)

    return step


def optax_adam(params, grads):
    import optax

    return jitted(optax.adam(1e-3), params, grads)


def optax_clipped_averaged(params, grads, *, max_norm, decay):
    import optax

    rule = optax.chain(optax.clip_by_global_norm(max_norm), optax.adamw(1e-3, weight_decay=1e-2))
    return jitted(rule, params, grads, decay=decay)


def jitted(rule, params, grads, decay=None):
    """Compile a whole step; parameters, states and averages are donated, so that it may work in place."""
    import jax
    import optax

    def update(carry, grads):
        params, state, average = carry
        updates, state = rule.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        if decay is not None:
            average = optax.incremental_update(params, average, 1 - decay)
        return params, state, average

    compiled = jax.jit(update, donate_argnums=0)
    params, grads = ([jax.numpy.array(a) for a in arrays] for arrays in (params, grads))
    average = [p.copy() for p in params] if decay is not None else None
    carry = params, rule.init(params), average

    def step():
        nonlocal carry
        carry = compiled(carry, grads)
        carry[0][-1].block_until_ready()  # one program: all its results are ready together

    return step


def thinc_adam(params, grads):
    from thinc.api import Adam

    optimizer = Adam(1e-3, L2=0.0, grad_clip=0.0, use_averages=False)
    rows = [((i, "W"), p, g.copy(), g) for i, (p, g) in enumerate(zip(params, grads, strict=True))]

    def step():
        for key, p, buffer, g in rows:
            buffer[:] = g  # thinc overwrites the gradient with zeros
            optimizer(key, p, buffer)

    return step


def sklearn_adam(params, grads):
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

    return functools.partial(AdamOptimizer(params).update_params, params, grads)
