"""Every update rule as its paper prints it, in plain NumPy: the truth that the compiled rules are tested against.

One row per rule and variant (`ROWS`). A reference is called as ``reference(p, g, s, t, **row.keywords)``: `p` and `g`
are float64 arrays of one shape, `t` counts steps from 1, `s` holds the state arrays before the step by name, and the
new value of `p` is returned. The state is updated in place (``s["m"] = ...``); `p` and `g` are left as they were.

Nothing here is simplified, fused or reordered for speed, and nothing may be: a reference is read next to its paper.
A scalar with a history of its own (a product, a sum of weights) is computed from `t` alone, which is right while the
hyperparameters are constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# ---------------------------------------------------------------------------------------------------------------------
# What several papers share
# ---------------------------------------------------------------------------------------------------------------------


def ema(average, x, beta):
    return beta * average + (1 - beta) * x


def norm(x):
    return np.sqrt(np.sum(x**2))


def decayed(p, g, lr, weight_decay, decoupled):
    """Return `p` and `g` after weight decay: of the weights, or coupled, as the gradient of an L2 term."""
    if decoupled:
        return p * (1 - lr * weight_decay), g
    return p, g + weight_decay * p


def maximized(reference):
    """Return `reference` climbing instead of descending: the gradient changes its sign before anything else sees it."""
    return lambda p, g, s, t, **keywords: reference(p, -g, s, t, **keywords)


# ---------------------------------------------------------------------------------------------------------------------
# The lecture's optimizers, in its order
# ---------------------------------------------------------------------------------------------------------------------


def sgd(p, g, s, t, *, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, form="torch"):
    # Robbins & Monro 1951; momentum as in Polyak 1964 (torch.optim.SGD) or as in Sutskever et al. 2013 (classic)
    g = g + weight_decay * p
    if momentum == 0:
        return p - lr * g
    if form == "classic":
        s["v"] = momentum * s["v"] - lr * g
        return p + (momentum * s["v"] - lr * g) if nesterov else p + s["v"]
    s["b"] = g if t == 1 else momentum * s["b"] + (1 - dampening) * g  # the first gradient is not dampened
    return p - lr * (g + momentum * s["b"]) if nesterov else p - lr * s["b"]


def momentum(p, g, s, t, *, lr, momentum, dampening=0.0, weight_decay=0.0, form="torch"):
    # Polyak 1964, "Some methods of speeding up the convergence of iteration methods"
    g = g + weight_decay * p
    if form == "classic":
        s["v"] = momentum * s["v"] - lr * g
        return p + s["v"]
    s["b"] = g if t == 1 else momentum * s["b"] + (1 - dampening) * g
    return p - lr * s["b"]


def nesterov(p, g, s, t, *, lr, momentum, weight_decay=0.0, form="torch"):
    # Nesterov 1983; written at the look-ahead point as in Sutskever et al. 2013 and Bengio et al. 2013, eq. 7
    g = g + weight_decay * p
    if form == "classic":
        s["v"] = momentum * s["v"] - lr * g
        return p + (momentum * s["v"] - lr * g)
    s["b"] = g if t == 1 else momentum * s["b"] + g
    return p - lr * (g + momentum * s["b"])


def adagrad(p, g, s, t, *, lr, eps, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps_inside=False):
    # Duchi, Hazan & Singer 2011; lr_decay as torch.optim.Adagrad; eps inside the root as TensorFlow, optax
    g = g + weight_decay * p
    s["s"] = s["s"] + g**2
    lr_t = lr / (1 + (t - 1) * lr_decay)
    divisor = np.sqrt(s["s"] + eps) if eps_inside else np.sqrt(s["s"]) + eps
    return p - lr_t * g / divisor


def adadelta(p, g, s, t, *, lr, rho, eps, weight_decay=0.0):
    # Zeiler 2012, arXiv:1212.5701, algorithm 1
    g = g + weight_decay * p
    s["v"] = ema(s["v"], g**2, rho)
    update = np.sqrt(s["u"] + eps) / np.sqrt(s["v"] + eps) * g
    s["u"] = ema(s["u"], update**2, rho)
    return p - lr * update


def rmsprop(
    p, g, s, t, *, lr, alpha, eps, weight_decay=0.0, momentum=0.0, centered=False, eps_inside=False, form="torch"
):
    # Tieleman & Hinton 2012, lecture 6.5; centered as in Graves 2013, arXiv:1308.0850, eqs. 38-41
    g = g + weight_decay * p
    s["v"] = ema(s["v"], g**2, alpha)
    variance = s["v"]
    if centered:
        s["a"] = ema(s["a"], g, alpha)
        variance = np.maximum(s["v"] - s["a"] ** 2, 0)  # rounding can make it negative
    d = g / np.sqrt(variance + eps) if eps_inside else g / (np.sqrt(variance) + eps)
    if momentum == 0:
        return p - lr * d
    if form == "classic":
        s["b"] = momentum * s["b"] + lr * d
        return p - s["b"]
    s["b"] = momentum * s["b"] + d
    return p - lr * s["b"]


def adam_update(g, s, t, lr, betas, eps, amsgrad, eps_mode, amsgrad_max):
    # Kingma & Ba 2015, arXiv:1412.6980, algorithm 1 ("hat": the end of its section 2); amsgrad: Reddi et al. 2018
    b1, b2 = betas
    s["m"] = ema(s["m"], g, b1)
    s["v"] = ema(s["v"], g**2, b2)
    mhat = s["m"] / (1 - b1**t)
    vhat = s["v"] / (1 - b2**t)
    if amsgrad and amsgrad_max == "raw":
        s["vmax"] = np.maximum(s["vmax"], s["v"])
        vhat = s["vmax"] / (1 - b2**t)
    elif amsgrad:
        s["vmax"] = np.maximum(s["vmax"], vhat)
        vhat = s["vmax"]
    if eps_mode == "outside":
        return lr * mhat / (np.sqrt(vhat) + eps)
    if eps_mode == "inside":
        return lr * mhat / np.sqrt(vhat + eps)
    v = vhat * (1 - b2**t)  # "hat": eps is compared with the root of the moment before its bias is corrected
    return lr * np.sqrt(1 - b2**t) / (1 - b1**t) * s["m"] / (np.sqrt(v) + eps)


def adam(
    p,
    g,
    s,
    t,
    *,
    lr,
    betas,
    eps,
    weight_decay=0.0,
    amsgrad=False,
    decoupled_weight_decay=False,
    eps_mode="outside",
    amsgrad_max="raw",
):
    # Kingma & Ba 2015, arXiv:1412.6980
    p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay)
    return p - adam_update(g, s, t, lr, betas, eps, amsgrad, eps_mode, amsgrad_max)


# ---------------------------------------------------------------------------------------------------------------------
# Further ones
# ---------------------------------------------------------------------------------------------------------------------


def adamw(
    p, g, s, t, *, lr, betas, eps, weight_decay, amsgrad=False, fixed_decay=False, eps_mode="outside", amsgrad_max="raw"
):
    # Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2; the decay is multiplied by lr as in torch, unless fixed
    p = p * (1 - weight_decay) if fixed_decay else p * (1 - lr * weight_decay)
    return p - adam_update(g, s, t, lr, betas, eps, amsgrad, eps_mode, amsgrad_max)


def adamax(p, g, s, t, *, lr, betas, eps, weight_decay=0.0, eps_mode="norm"):
    # Kingma & Ba 2015, arXiv:1412.6980, algorithm 2, which has no eps: in the norm as torch, in the divisor as Keras
    b1, b2 = betas
    g = g + weight_decay * p
    s["m"] = ema(s["m"], g, b1)
    if eps_mode == "norm":
        s["u"] = np.maximum(b2 * s["u"], np.abs(g) + eps)
        return p - lr / (1 - b1**t) * s["m"] / s["u"]
    s["u"] = np.maximum(b2 * s["u"], np.abs(g))
    return p - lr / (1 - b1**t) * s["m"] / (s["u"] + eps)


def nadam(p, g, s, t, *, lr, betas, eps, weight_decay=0.0, momentum_decay=4e-3, decoupled_weight_decay=False):
    # Dozat 2016, "Incorporating Nesterov momentum into Adam", algorithm 2 with its schedule of the momentum
    b1, b2 = betas
    p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay)
    mu = [b1 * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in range(1, t + 2)]  # mu_1 ... mu_(t+1)
    s["m"] = ema(s["m"], g, b1)
    s["v"] = ema(s["v"], g**2, b2)
    ghat = g / (1 - np.prod(mu[:t]))
    mhat = s["m"] / (1 - np.prod(mu))
    vhat = s["v"] / (1 - b2**t)
    return p - lr * ((1 - mu[t - 1]) * ghat + mu[t] * mhat) / (np.sqrt(vhat) + eps)


def radam(p, g, s, t, *, lr, betas, eps, weight_decay=0.0, decoupled_weight_decay=False):
    # Liu et al. 2020, arXiv:1908.03265, algorithm 2; rectified above 5 and eps next to the raw moment, both as torch
    b1, b2 = betas
    p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay)
    s["m"] = ema(s["m"], g, b1)
    s["v"] = ema(s["v"], g**2, b2)
    mhat = s["m"] / (1 - b1**t)
    rho_inf = 2 / (1 - b2) - 1
    rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
    if rho <= 5:
        return p - lr * mhat
    r = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    length = np.sqrt(1 - b2**t) / (np.sqrt(s["v"]) + eps)
    return p - lr * r * mhat * length


def rprop(p, g, s, t, *, lr, etas, step_sizes):
    # Riedmiller & Braun 1993, without the step back (iRprop-: Igel & Huesken 2000); lr is only the first step size
    shrink, grow = etas
    agreement = np.sign(g * s["prev"])
    factor = np.where(agreement > 0, grow, np.where(agreement < 0, shrink, 1))
    s["step"] = np.clip(s["step"] * factor, *step_sizes)
    g = np.where(agreement < 0, 0, g)
    s["prev"] = g
    return p - np.sign(g) * s["step"]


def asgd(p, g, s, t, *, lr, lambd, alpha, t0, weight_decay=0.0):
    # Polyak & Juditsky 1992; step sizes as Bottou 2012 and torch.optim.ASGD
    g = g + weight_decay * p
    eta = lr / (1 + lambd * lr * (t - 1)) ** alpha
    mu = 1 / max(1, t - 1 - t0)
    p = p * (1 - lambd * eta)
    p = p - eta * g
    s["a"] = np.array(p) if mu == 1 else s["a"] + mu * (p - s["a"])
    return p


def lion(p, g, s, t, *, lr, betas, weight_decay=0.0):
    # Chen et al. 2023, arXiv:2302.06675, algorithm 2
    b1, b2 = betas
    update = np.sign(ema(s["m"], g, b1))
    s["m"] = ema(s["m"], g, b2)
    return p * (1 - lr * weight_decay) - lr * update


def adabelief(p, g, s, t, *, lr, betas, eps, weight_decay=0.0, decoupled_weight_decay=False):
    # Zhuang et al. 2020, arXiv:2010.07468, algorithm 2: eps enters every s and the divisor
    b1, b2 = betas
    p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay)
    s["m"] = ema(s["m"], g, b1)
    s["s"] = ema(s["s"], (g - s["m"]) ** 2, b2) + eps
    mhat = s["m"] / (1 - b1**t)
    shat = s["s"] / (1 - b2**t)
    return p - lr * mhat / (np.sqrt(shat) + eps)


def yogi(p, g, s, t, *, lr, betas, eps, weight_decay=0.0, initial_accumulator_value=1e-6, decoupled_weight_decay=False):
    # Zaheer et al. 2018, "Adaptive methods for nonconvex optimization", algorithm 2; start and bias correction as optax
    b1, b2 = betas
    p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay)
    s["m"] = ema(s["m"], g, b1)
    s["v"] = s["v"] - (1 - b2) * np.sign(s["v"] - g**2) * g**2
    mhat = s["m"] / (1 - b1**t)
    vhat = s["v"] / (1 - b2**t)
    return p - lr * mhat / (np.sqrt(vhat) + eps)


def signum(p, g, s, t, *, lr, momentum, weight_decay=0.0):
    # Bernstein et al. 2018, arXiv:1802.04434, algorithms 1 (signSGD) and 2 (Signum)
    g = g + weight_decay * p
    if momentum == 0:
        return p - lr * np.sign(g)
    s["m"] = ema(s["m"], g, momentum)
    return p - lr * np.sign(s["m"])


def adan(p, g, s, t, *, lr, betas, eps, weight_decay=0.0):
    # Xie et al. 2022, arXiv:2208.06677, algorithm 1; betas are 1 minus the paper's, bias corrected as in its code
    b1, b2, b3 = betas
    difference = g - s["prev"] if t > 1 else np.zeros_like(g)
    s["m"] = ema(s["m"], g, b1)
    s["v"] = ema(s["v"], difference, b2)
    s["n"] = ema(s["n"], (g + b2 * difference) ** 2, b3)
    s["prev"] = np.array(g)
    mhat = s["m"] / (1 - b1**t)
    vhat = s["v"] / (1 - b2**t)
    nhat = s["n"] / (1 - b3**t)
    eta = lr / (np.sqrt(nhat) + eps)
    return (p - eta * (mhat + b2 * vhat)) / (1 + weight_decay * lr)


def ftrl(p, g, s, t, *, lr, l1=0.0, l2=0.0, l2_shrinkage=0.0, beta=0.0, initial_accumulator_value=0.1):
    # McMahan et al. 2013, "Ad click prediction: a view from the trenches", algorithm 1; 2 l2 and the shrinkage as Keras
    n = s["n"] + g**2
    sigma = (np.sqrt(n) - np.sqrt(s["n"])) / lr
    s["z"] = s["z"] + (g + 2 * l2_shrinkage * p) - sigma * p
    s["n"] = n
    return np.where(np.abs(s["z"]) <= l1, 0.0, -(s["z"] - np.sign(s["z"]) * l1) / ((beta + np.sqrt(n)) / lr + 2 * l2))


def lars(p, g, s, t, *, lr, momentum, weight_decay=0.0, trust_coefficient=1e-3, eps=1e-9, nesterov=False):
    # You, Gitman & Ginsburg 2017, arXiv:1708.03888, algorithm 1; lr outside the buffer
    ratio = 1.0
    if norm(p) > 0 and norm(g) > 0:
        ratio = trust_coefficient * norm(p) / (norm(g) + weight_decay * norm(p) + eps)
    d = ratio * (g + weight_decay * p)
    s["b"] = momentum * s["b"] + d
    return p - lr * (d + momentum * s["b"]) if nesterov else p - lr * s["b"]


def lamb(p, g, s, t, *, lr, betas, eps, weight_decay=0.0, max_norm=np.inf):
    # You et al. 2020, arXiv:1904.00962, algorithm 2
    b1, b2 = betas
    s["m"] = ema(s["m"], g, b1)
    s["v"] = ema(s["v"], g**2, b2)
    mhat = s["m"] / (1 - b1**t)
    vhat = s["v"] / (1 - b2**t)
    r = mhat / (np.sqrt(vhat) + eps) + weight_decay * p
    ratio = min(norm(p), max_norm) / norm(r) if norm(p) > 0 and norm(r) > 0 else 1.0
    return p - lr * ratio * r


def ademamix(p, g, s, t, *, lr, betas, eps, weight_decay=0.0, alpha, warmup_steps=0):
    # Pagliardini, Ablin & Grangier 2024, arXiv:2409.03137, algorithm 1, with both warm-ups
    b1, b2, b3 = betas
    alpha_t = alpha
    if t < warmup_steps:
        alpha_t = min(t * alpha / warmup_steps, alpha)
        log1, log3, share = np.log(b1), np.log(b3), t / warmup_steps
        b3 = min(np.exp(log1 * log3 / ((1 - share) * log3 + share * log1)), b3)
    s["m1"] = ema(s["m1"], g, b1)
    s["m2"] = ema(s["m2"], g, b3)
    s["v"] = ema(s["v"], g**2, b2)
    m1hat = s["m1"] / (1 - b1**t)
    vhat = s["v"] / (1 - b2**t)
    return p - lr * ((m1hat + alpha_t * s["m2"]) / (np.sqrt(vhat) + eps) + weight_decay * p)


def adopt(p, g, s, t, *, lr, betas, eps, weight_decay=0.0, decoupled_weight_decay=False):
    # Taniguchi et al. 2024, arXiv:2411.02853, algorithm 2 with clipping; its step 0 is the first one here
    b1, b2 = betas
    if t == 1:
        s["v"] = (g if decoupled_weight_decay else g + weight_decay * p) ** 2
        return np.array(p)
    p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay)
    bound = (t - 1) ** 0.25
    s["m"] = ema(s["m"], np.clip(g / np.maximum(np.sqrt(s["v"]), eps), -bound, bound), b1)
    s["v"] = ema(s["v"], g**2, b2)
    return p - lr * s["m"]


def schedule_free_weight(t, lr, warmup_steps, r, weight_lr_power):
    """Return the step size gamma_t and the weight c_t that the t-th z has in the average x."""
    total = largest = 0.0
    for i in range(1, t + 1):
        gamma = lr * min(1, i / warmup_steps) if warmup_steps > 0 else lr
        largest = max(largest, gamma)
        weight = i**r * largest**weight_lr_power
        total = total + weight
    return gamma, weight / total


def schedulefreesgd(y, g, s, t, *, lr, momentum, weight_decay=0.0, warmup_steps=0, r=0.0, weight_lr_power=2.0):
    # Defazio et al. 2024, arXiv:2405.15682, eqs. 3-5; the parameters hold y, and x is recovered from y and z
    gamma, c = schedule_free_weight(t, lr, warmup_steps, r, weight_lr_power)
    z = y if t == 1 else s["z"]
    x = (y - (1 - momentum) * z) / momentum
    s["z"] = z - gamma * (g + weight_decay * y)
    x = (1 - c) * x + c * s["z"]
    return (1 - momentum) * s["z"] + momentum * x


def schedulefreeadamw(y, g, s, t, *, lr, betas, eps, weight_decay=0.0, warmup_steps=0, r=0.0, weight_lr_power=2.0):
    # Defazio et al. 2024, arXiv:2405.15682, algorithm 1, with v corrected for its bias as Adam does (authors' code)
    b1, b2 = betas
    gamma, c = schedule_free_weight(t, lr, warmup_steps, r, weight_lr_power)
    z = y if t == 1 else s["z"]
    x = (y - (1 - b1) * z) / b1
    s["v"] = ema(s["v"], g**2, b2)
    vhat = s["v"] / (1 - b2**t)
    s["z"] = z - gamma * (g / (np.sqrt(vhat) + eps) + weight_decay * y)
    x = (1 - c) * x + c * s["z"]
    return (1 - b1) * s["z"] + b1 * x


# ---------------------------------------------------------------------------------------------------------------------
# The rows
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One rule with one choice of settings, its literal reference, and the peers that have the same convention.

    `torch` is called as ``torch(torch, params, **options)`` and returns a torch optimizer; `optax` as ``optax(optax)``
    and returns a gradient transformation whose updates are added to the parameters. Both follow the *parameters* at
    constant hyperparameters; the names and the scale of their states may differ.
    """

    id: str
    cls: str
    keywords: dict[str, Any]
    reference: Callable[..., np.ndarray]
    states: tuple[str, ...]
    initial: Callable[[str, np.ndarray, dict[str, Any]], np.ndarray]
    torch: Callable | None = None
    optax: Callable | None = None

    def start(self, p):
        """Return the state arrays before the first step."""
        return {name: self.initial(name, p, self.keywords) for name in self.states}


def zeros(name, p, keywords):
    return np.zeros_like(p)


def filled(keyword, *names):
    """Return an `initial` that fills the states `names` with the value of `keyword`, and the others with zeros."""
    return lambda name, p, keywords: np.full_like(p, keywords[keyword] if name in names else 0)


def copied(name, p, keywords):
    """Start z where the parameters are, everything else at zero."""
    return np.array(p) if name == "z" else np.zeros_like(p)


def by_torch(name, *absent, **changes):
    """Return a maker of torch.optim's `name` from a row's keywords, without those `absent` there, with some changed."""

    def bound(keywords):
        keywords = {key: value for key, value in keywords.items() if key not in absent}
        keywords |= {key: change(keywords) for key, change in changes.items()}
        return lambda torch, params, **options: getattr(torch.optim, name)(params, **keywords, **options)

    return bound


def by_optax(build):
    return lambda keywords: lambda optax: build(optax, keywords)


def coupled(build):
    """Return a maker of optax's `build` behind a coupled weight decay."""
    return by_optax(lambda o, k: o.chain(o.add_decayed_weights(k["weight_decay"]), build(o, k)))


def decoupled(build):
    """Return a maker of optax's `build`, a direction without learning rate, with a decoupled weight decay."""
    return by_optax(
        lambda o, k: o.chain(build(o, k), o.add_decayed_weights(k["weight_decay"]), o.scale_by_learning_rate(k["lr"]))
    )


def row(id, cls, reference, states, keywords, *, initial=zeros, torch=None, optax=None):
    return Row(
        id,
        cls,
        keywords,
        reference,
        tuple(states.split()),
        initial,
        torch and torch(keywords),
        optax and optax(keywords),
    )


def optax_sgd(o, k):
    return o.sgd(k["lr"], momentum=k.get("momentum"), nesterov=k.get("nesterov", False))


def optax_nesterov(o, k):
    return o.sgd(k["lr"], momentum=k["momentum"], nesterov=True)


def optax_adagrad(o, k):
    def rate(count):
        return k["lr"] / (1 + count * k["lr_decay"])

    return o.adagrad(rate, k["initial_accumulator_value"], k["eps"])


def optax_rmsprop(o, k):
    chosen = {"eps_in_sqrt": k.get("eps_inside", False), "centered": k.get("centered", False)}
    return o.rmsprop(k["lr"], decay=k["alpha"], eps=k["eps"], momentum=k.get("momentum"), **chosen)


def optax_adam_direction(o, k):
    (b1, b2), eps, mode = k["betas"], k["eps"], k.get("eps_mode", "outside")

    def grown(count):
        return eps / (1 - b2 ** (count + 1)) ** 0.5

    if mode == "hat":  # the same as an eps outside the root that grows by the bias of v
        return o.inject_hyperparams(o.scale_by_adam)(b1=b1, b2=b2, eps=grown)
    outside, inside = (0.0, eps) if mode == "inside" else (eps, 0.0)
    if k.get("amsgrad", False):
        return o.scale_by_amsgrad(b1, b2, outside, inside)
    return o.scale_by_adam(b1, b2, outside, inside)


def optax_adam(o, k):
    return o.chain(optax_adam_direction(o, k), o.scale_by_learning_rate(k["lr"]))


def optax_belief(o, k):
    return o.scale_by_belief(*k["betas"], eps=k["eps"], eps_root=k["eps"])


def optax_yogi(o, k):
    return o.scale_by_yogi(*k["betas"], eps=k["eps"], initial_accumulator_value=k["initial_accumulator_value"])


def optax_signum(o, k):
    return o.signum(k["lr"], k["momentum"]) if k["momentum"] else o.sign_sgd(k["lr"])


def optax_ademamix(o, k):
    """Build optax's AdEMAMix, which takes the warm-ups of alpha and of b3 as schedules."""
    b1, b2, b3 = k["betas"]

    def share(count):
        return ((count + 1.0) / k["warmup_steps"]).clip(max=1.0)

    def slow(count):
        w = share(count)
        return b3 ** (np.log(b1) / ((1 - w) * np.log(b3) + w * np.log(b1)))

    rates = (lambda count: k["alpha"] * share(count), slow) if k.get("warmup_steps") else (k["alpha"], b3)
    return o.contrib.ademamix(k["lr"], b1, b2, rates[1], rates[0], eps=k["eps"], weight_decay=k["weight_decay"])


def optax_lars(o, k):
    chosen = {name: k[name] for name in ("trust_coefficient", "eps", "momentum")}
    return o.lars(k["lr"], nesterov=k.get("nesterov", False), **chosen)


def optax_schedule_free(direction):
    """Build optax's schedule-free wrapper from its parts.

    optax's own warm-up gives the base step the rate of the step before, and it has no `r`. But the rate the wrapper is
    told serves the weights alone, so that the weight i**r * gamma**power can be put there, as a rate.
    """

    def build(o, k):
        def gamma(i):
            return k["lr"] * (i * 1.0 / k["warmup_steps"]).clip(max=1.0) if k.get("warmup_steps") else k["lr"]

        def told(i):
            return gamma(i) * i ** (k.get("r", 0.0) / k["weight_lr_power"])

        rate = o.scale_by_learning_rate(lambda count: gamma(count + 1))
        base = o.chain(direction(o, k), o.add_decayed_weights(k["weight_decay"]), rate)
        b1 = k["momentum"] if "momentum" in k else k["betas"][0]
        return o.contrib.schedule_free(base, told, b1=b1, weight_lr_power=k["weight_lr_power"])

    return by_optax(build)


SGD = by_torch("SGD", "form")
TORCH_NESTEROV = by_torch("SGD", "form", nesterov=lambda k: True)
RMSPROP = by_torch("RMSprop", "form", "eps_inside")
ADAM = by_torch("Adam", "amsgrad_max")
ADAMW = by_torch("AdamW", "amsgrad_max")
ADAMW_FIXED = by_torch("AdamW", "fixed_decay", weight_decay=lambda k: k["weight_decay"] / k["lr"])

sgd_settings = {"lr": 0.05, "weight_decay": 0.3}
heavy = sgd_settings | {"momentum": 0.7}
adagrad_settings = {"lr": 0.05, "lr_decay": 0.07, "weight_decay": 0.3, "initial_accumulator_value": 0.2, "eps": 0.03}
rmsprop_settings = {"lr": 0.02, "alpha": 0.8, "eps": 0.03, "weight_decay": 0.3}
# The small betas and the large eps make every place where they enter, and every bias correction, visible in ten steps.
adam_settings = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3}
free = {"weight_decay": 0.3, "weight_lr_power": 1.5}

ROWS = (
    row("sgd", "SGD", sgd, "", sgd_settings, torch=SGD, optax=coupled(optax_sgd)),
    row("sgd-momentum", "SGD", sgd, "b", heavy, torch=SGD, optax=coupled(optax_sgd)),
    row("sgd-dampening", "SGD", sgd, "b", heavy | {"dampening": 0.4}, torch=SGD),
    row("sgd-nesterov", "SGD", sgd, "b", heavy | {"nesterov": True}, torch=SGD, optax=coupled(optax_sgd)),
    row("sgd-classic", "SGD", sgd, "v", heavy | {"form": "classic"}, torch=SGD, optax=coupled(optax_sgd)),
    row(
        "sgd-classic-nesterov",
        "SGD",
        sgd,
        "v",
        heavy | {"form": "classic", "nesterov": True},
        torch=SGD,
        optax=coupled(optax_sgd),
    ),
    row("momentum", "Momentum", momentum, "b", heavy, torch=SGD, optax=coupled(optax_sgd)),
    row("momentum-dampening", "Momentum", momentum, "b", heavy | {"dampening": 0.4}, torch=SGD),
    row(
        "momentum-classic", "Momentum", momentum, "v", heavy | {"form": "classic"}, torch=SGD, optax=coupled(optax_sgd)
    ),
    row("nesterov", "Nesterov", nesterov, "b", heavy, torch=TORCH_NESTEROV, optax=coupled(optax_nesterov)),
    row(
        "nesterov-classic",
        "Nesterov",
        nesterov,
        "v",
        heavy | {"form": "classic"},
        torch=TORCH_NESTEROV,
        optax=coupled(optax_nesterov),
    ),
    row(
        "adagrad",
        "Adagrad",
        adagrad,
        "s",
        adagrad_settings,
        initial=filled("initial_accumulator_value", "s"),
        torch=by_torch("Adagrad"),
    ),
    row(
        "adagrad-eps-inside",
        "Adagrad",
        adagrad,
        "s",
        adagrad_settings | {"eps_inside": True},
        initial=filled("initial_accumulator_value", "s"),
        optax=coupled(optax_adagrad),
    ),
    row(
        "adadelta",
        "Adadelta",
        adadelta,
        "v u",
        {"lr": 0.5, "rho": 0.8, "eps": 0.03, "weight_decay": 0.3},
        torch=by_torch("Adadelta"),
        optax=coupled(lambda o, k: o.adadelta(k["lr"], k["rho"], k["eps"])),
    ),
    row("rmsprop", "RMSprop", rmsprop, "v", rmsprop_settings, torch=RMSPROP, optax=coupled(optax_rmsprop)),
    row(
        "rmsprop-eps-inside",
        "RMSprop",
        rmsprop,
        "v",
        rmsprop_settings | {"eps_inside": True},
        optax=coupled(optax_rmsprop),
    ),
    row(
        "rmsprop-centered",
        "RMSprop",
        rmsprop,
        "v a",
        rmsprop_settings | {"centered": True},
        torch=RMSPROP,
        optax=coupled(optax_rmsprop),
    ),
    row(
        "rmsprop-centered-eps-inside",
        "RMSprop",
        rmsprop,
        "v a",
        rmsprop_settings | {"centered": True, "eps_inside": True},
        optax=coupled(optax_rmsprop),
    ),
    row(
        "rmsprop-momentum",
        "RMSprop",
        rmsprop,
        "v b",
        rmsprop_settings | {"momentum": 0.7},
        torch=RMSPROP,
        optax=coupled(optax_rmsprop),
    ),
    row(
        "rmsprop-momentum-eps-inside",
        "RMSprop",
        rmsprop,
        "v b",
        rmsprop_settings | {"momentum": 0.7, "eps_inside": True},
        optax=coupled(optax_rmsprop),
    ),
    row(
        "rmsprop-centered-momentum",
        "RMSprop",
        rmsprop,
        "v a b",
        rmsprop_settings | {"momentum": 0.7, "centered": True},
        torch=RMSPROP,
        optax=coupled(optax_rmsprop),
    ),
    row(
        "rmsprop-classic",
        "RMSprop",
        rmsprop,
        "v b",
        rmsprop_settings | {"momentum": 0.7, "form": "classic"},
        torch=RMSPROP,
        optax=coupled(optax_rmsprop),
    ),
    row(
        "rmsprop-centered-classic-eps-inside",
        "RMSprop",
        rmsprop,
        "v a b",
        rmsprop_settings | {"momentum": 0.7, "form": "classic", "centered": True, "eps_inside": True},
        optax=coupled(optax_rmsprop),
    ),
    row("adam", "Adam", adam, "m v", adam_settings, torch=ADAM, optax=coupled(optax_adam)),
    row(
        "adam-decoupled",
        "Adam",
        adam,
        "m v",
        adam_settings | {"decoupled_weight_decay": True},
        torch=ADAM,
        optax=decoupled(optax_adam_direction),
    ),
    row("adam-hat", "Adam", adam, "m v", adam_settings | {"eps_mode": "hat"}, optax=coupled(optax_adam)),
    row("adam-inside", "Adam", adam, "m v", adam_settings | {"eps_mode": "inside"}, optax=coupled(optax_adam)),
    row("adam-amsgrad", "Adam", adam, "m v vmax", adam_settings | {"amsgrad": True}, torch=ADAM),
    row("adam-amsgrad-hat", "Adam", adam, "m v vmax", adam_settings | {"amsgrad": True, "eps_mode": "hat"}),
    row("adam-amsgrad-inside", "Adam", adam, "m v vmax", adam_settings | {"amsgrad": True, "eps_mode": "inside"}),
    row(
        "adam-amsgrad-corrected",
        "Adam",
        adam,
        "m v vmax",
        adam_settings | {"amsgrad": True, "amsgrad_max": "corrected"},
        optax=coupled(optax_adam),
    ),
    row(
        "adam-amsgrad-corrected-hat",
        "Adam",
        adam,
        "m v vmax",
        adam_settings | {"amsgrad": True, "amsgrad_max": "corrected", "eps_mode": "hat"},
    ),
    row(
        "adam-amsgrad-corrected-inside",
        "Adam",
        adam,
        "m v vmax",
        adam_settings | {"amsgrad": True, "amsgrad_max": "corrected", "eps_mode": "inside"},
        optax=coupled(optax_adam),
    ),
    row("adamw", "AdamW", adamw, "m v", adam_settings, torch=ADAMW, optax=decoupled(optax_adam_direction)),
    row("adamw-fixed-decay", "AdamW", adamw, "m v", adam_settings | {"fixed_decay": True}, torch=ADAMW_FIXED),
    row("adamw-hat", "AdamW", adamw, "m v", adam_settings | {"eps_mode": "hat"}, optax=decoupled(optax_adam_direction)),
    row(
        "adamw-inside",
        "AdamW",
        adamw,
        "m v",
        adam_settings | {"eps_mode": "inside"},
        optax=decoupled(optax_adam_direction),
    ),
    row("adamw-amsgrad", "AdamW", adamw, "m v vmax", adam_settings | {"amsgrad": True}, torch=ADAMW),
    row(
        "adamw-amsgrad-corrected",
        "AdamW",
        adamw,
        "m v vmax",
        adam_settings | {"amsgrad": True, "amsgrad_max": "corrected"},
        optax=decoupled(optax_adam_direction),
    ),
    row(
        "adamw-amsgrad-fixed-decay",
        "AdamW",
        adamw,
        "m v vmax",
        adam_settings | {"amsgrad": True, "fixed_decay": True},
        torch=ADAMW_FIXED,
    ),
    row(
        "adamax",
        "Adamax",
        adamax,
        "m u",
        adam_settings,
        torch=by_torch("Adamax"),
        optax=coupled(lambda o, k: o.adamax(k["lr"], *k["betas"], eps=k["eps"])),
    ),
    row("adamax-divisor", "Adamax", adamax, "m u", adam_settings | {"eps_mode": "divisor"}),
    row("nadam", "NAdam", nadam, "m v", adam_settings | {"momentum_decay": 0.3}, torch=by_torch("NAdam")),
    row(
        "nadam-decoupled",
        "NAdam",
        nadam,
        "m v",
        adam_settings | {"momentum_decay": 0.3, "decoupled_weight_decay": True},
        torch=by_torch("NAdam"),
    ),
    row("radam", "RAdam", radam, "m v", adam_settings, torch=by_torch("RAdam")),
    row(
        "radam-decoupled",
        "RAdam",
        radam,
        "m v",
        adam_settings | {"betas": (0.8, 0.8), "decoupled_weight_decay": True},
        torch=by_torch("RAdam"),
    ),
    row("radam-never-rectified", "RAdam", radam, "m v", adam_settings | {"betas": (0.8, 0.6)}, torch=by_torch("RAdam")),
    row(
        "rprop",
        "Rprop",
        rprop,
        "step prev",
        {"lr": 0.05, "etas": (0.6, 1.3), "step_sizes": (0.02, 0.1)},
        initial=filled("lr", "step"),
        torch=by_torch("Rprop"),
    ),
    row(
        "asgd",
        "ASGD",
        asgd,
        "a",
        {"lr": 0.05, "lambd": 0.4, "alpha": 0.6, "t0": 3.0, "weight_decay": 0.3},
        torch=by_torch("ASGD"),
    ),
    row(
        "lion",
        "Lion",
        lion,
        "m",
        {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.3},
        optax=decoupled(lambda o, k: o.scale_by_lion(*k["betas"])),
    ),
    row(
        "adabelief",
        "AdaBelief",
        adabelief,
        "m s",
        adam_settings,
        optax=coupled(lambda o, k: o.chain(optax_belief(o, k), o.scale_by_learning_rate(k["lr"]))),
    ),
    row(
        "adabelief-decoupled",
        "AdaBelief",
        adabelief,
        "m s",
        adam_settings | {"decoupled_weight_decay": True},
        optax=decoupled(optax_belief),
    ),
    row(
        "yogi",
        "Yogi",
        yogi,
        "m v",
        adam_settings | {"initial_accumulator_value": 0.02},
        initial=filled("initial_accumulator_value", "m", "v"),
        optax=coupled(lambda o, k: o.chain(optax_yogi(o, k), o.scale_by_learning_rate(k["lr"]))),
    ),
    row(
        "yogi-decoupled",
        "Yogi",
        yogi,
        "m v",
        adam_settings | {"initial_accumulator_value": 0.02, "decoupled_weight_decay": True},
        initial=filled("initial_accumulator_value", "m", "v"),
        optax=decoupled(optax_yogi),
    ),
    row("signum", "Signum", signum, "m", sgd_settings | {"momentum": 0.7}, optax=coupled(optax_signum)),
    row(
        "signum-without-momentum",
        "Signum",
        signum,
        "",
        sgd_settings | {"momentum": 0.0, "weight_decay": 1.5},
        optax=coupled(optax_signum),
    ),
    row("adan", "Adan", adan, "m v n prev", adam_settings | {"betas": (0.9, 0.8, 0.95)}),
    row(
        "adan-half",  # optax puts 1 - b2 where the paper has b2: the same at one half
        "Adan",
        adan,
        "m v n prev",
        adam_settings | {"betas": (0.9, 0.5, 0.95), "weight_decay": 0.0},
        optax=by_optax(lambda o, k: o.adan(k["lr"], *k["betas"], eps=k["eps"], eps_root=0.0)),
    ),
    row(
        "ftrl",
        "FTRL",
        ftrl,
        "n z",
        {"lr": 0.2, "l1": 0.6, "l2": 0.3, "l2_shrinkage": 0.1, "beta": 0.4, "initial_accumulator_value": 0.2},
        initial=filled("initial_accumulator_value", "n"),
    ),
    row("lars", "LARS", lars, "b", heavy | {"trust_coefficient": 0.2, "eps": 0.03}),
    row("lars-nesterov", "LARS", lars, "b", heavy | {"trust_coefficient": 0.2, "eps": 0.03, "nesterov": True}),
    row(
        "lars-without-decay",
        "LARS",
        lars,
        "b",
        heavy | {"trust_coefficient": 0.2, "eps": 0.03, "weight_decay": 0.0},
        optax=by_optax(optax_lars),
    ),
    row(
        "lars-without-decay-nesterov",
        "LARS",
        lars,
        "b",
        heavy | {"trust_coefficient": 0.2, "eps": 0.03, "weight_decay": 0.0, "nesterov": True},
        optax=by_optax(optax_lars),
    ),
    row(
        "lamb",
        "LAMB",
        lamb,
        "m v",
        adam_settings,
        optax=by_optax(lambda o, k: o.lamb(k["lr"], *k["betas"], eps=k["eps"], weight_decay=k["weight_decay"])),
    ),
    row(
        "lamb-without-decay",
        "LAMB",
        lamb,
        "m v",
        adam_settings | {"weight_decay": 0.0},
        optax=by_optax(lambda o, k: o.lamb(k["lr"], *k["betas"], eps=k["eps"])),
    ),
    row("lamb-max-norm", "LAMB", lamb, "m v", adam_settings | {"max_norm": 0.5}),
    row(
        "ademamix",
        "AdEMAMix",
        ademamix,
        "m1 m2 v",
        adam_settings | {"betas": (0.8, 0.95, 0.9), "alpha": 3.0},
        optax=by_optax(optax_ademamix),
    ),
    row(
        "ademamix-warmup",
        "AdEMAMix",
        ademamix,
        "m1 m2 v",
        adam_settings | {"betas": (0.8, 0.95, 0.9), "alpha": 3.0, "warmup_steps": 4},
        optax=by_optax(optax_ademamix),
    ),
    row(  # b3 below b1 is where it is from the first step on
        "ademamix-warmup-of-alpha",
        "AdEMAMix",
        ademamix,
        "m1 m2 v",
        adam_settings | {"betas": (0.9, 0.95, 0.8), "alpha": 3.0, "warmup_steps": 4},
    ),
    row(
        "adopt",
        "ADOPT",
        adopt,
        "m v",
        adam_settings | {"eps": 2.0},
        optax=coupled(lambda o, k: o.contrib.adopt(k["lr"], *k["betas"], eps=k["eps"])),
    ),
    row("adopt-decoupled", "ADOPT", adopt, "m v", adam_settings | {"eps": 2.0, "decoupled_weight_decay": True}),
    row(
        "schedulefreesgd",
        "ScheduleFreeSGD",
        schedulefreesgd,
        "z",
        free | {"lr": 0.1, "momentum": 0.8},
        initial=copied,
        optax=optax_schedule_free(lambda o, k: o.identity()),
    ),
    row(
        "schedulefreesgd-warmup",
        "ScheduleFreeSGD",
        schedulefreesgd,
        "z",
        free | {"lr": 0.1, "momentum": 0.8, "warmup_steps": 4, "r": 0.5},
        initial=copied,
        optax=optax_schedule_free(lambda o, k: o.identity()),
    ),
    row(
        "schedulefreeadamw",
        "ScheduleFreeAdamW",
        schedulefreeadamw,
        "z v",
        adam_settings | free,
        initial=copied,
        optax=optax_schedule_free(lambda o, k: o.scale_by_rms(k["betas"][1], k["eps"], 0.0, False, True)),
    ),
    row(
        "schedulefreeadamw-warmup",
        "ScheduleFreeAdamW",
        schedulefreeadamw,
        "z v",
        adam_settings | free | {"warmup_steps": 4, "r": 0.5},
        initial=copied,
        optax=optax_schedule_free(lambda o, k: o.scale_by_rms(k["betas"][1], k["eps"], 0.0, False, True)),
    ),
)
