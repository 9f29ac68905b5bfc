"""The catalogue of mistakes, docs/gradient-bugs.md, and what is given and found when one is looked for."""

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

CATALOGUE: dict[int, tuple[str, str]] = {
    1: ("sign", "The sign is flipped"),
    2: ("sign-of-part", "The sign of one block or one term is flipped"),
    3: ("sign-in-branch", "The sign is flipped in one branch"),
    4: ("missing-mean", "A sum where f has a mean"),
    5: ("mean-twice", "The mean is taken twice"),
    6: ("wrong-divisor", "Divided by the wrong size"),
    7: ("factor-two", "The 2 of a square is lost, or counted twice"),
    8: ("penalty-factor", "The L2 term has the wrong factor"),
    9: ("penalty-missing", "The L2 term is missing"),
    10: ("penalty-wrong", "The L2 term is doubled or has the wrong sign"),
    11: ("penalty-divided", "The L2 term is divided by the batch size, or not, unlike in f"),
    12: ("bias-penalty", "The bias is regularised in one of f and g only"),
    13: ("l1-term", "The L1 term is missing or extra"),
    14: ("activation-missing", "The derivative of the activation is missing"),
    15: ("activation-wrong", "The derivative of the activation is wrong, or taken at the wrong variable"),
    16: ("softmax-diagonal", "Only the diagonal of the softmax Jacobian is used"),
    17: ("one-hot-missing", "The labels are not subtracted from the probabilities"),
    18: ("softmax-twice", "Softmax is applied, or differentiated, twice"),
    19: ("log-softmax", "The Kronecker term of log-softmax is wrong"),
    20: ("order", "The entries are right but in another order: transposed, reshaped or exchanged"),
    21: ("weights-transposed", "W stands for its transpose in the backward pass"),
    22: ("bias-sum", "The bias gradient is a mean for a sum, or a sum for a mean"),
    23: ("broadcast-axis", "A broadcast is summed over the wrong axis, or not at all"),
    24: ("normalisation-path", "The path through the mean or the variance of a normalisation is missing"),
    25: ("scale-dropped", "The learned scale of a normalisation is missing"),
    26: ("in-place", "f or g changes x in place"),
    27: ("stale-cache", "g uses what an earlier call of f left behind"),
    28: ("buffer-not-zeroed", "A gradient buffer is not zeroed between calls"),
    29: ("not-accumulated", "A gradient is assigned where it must be added"),
    30: ("buffer-shared", "The returned array is overwritten by the next call"),
    31: ("recurrent-index", "The recurrent weights see the state of the wrong time step"),
    32: ("slice-missing", "A slice is left out"),
    33: ("shifted", "The entries are shifted"),
    34: ("not-deterministic", "f is random"),
    35: ("dropout-scale", "The dropout scale is missing or wrong"),
    36: ("kink", "x lies on a kink, where any subgradient is right"),
    37: ("overlap", "Overlapping windows are not accumulated"),
    38: ("border-or-stride", "Padding or stride is wrong"),
    39: ("kernel-flip", "The kernel is flipped"),
    40: ("mask-ignored", "A clip, a condition or a mask is ignored"),
    41: ("path-detached", "A path is cut: something that depends on x is taken for a constant"),
    42: ("integers", "The gradient is stored in integers"),
    43: ("single-precision", "f computes in single precision"),
    44: ("chart", "The derivative is by another variable: of log f, by log x, of half a symmetric matrix"),
}
"""Entries of the catalogue, docs/gradient-bugs.md: number -> (slug, title)."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Hold one parameter array with its two gradients.

    Attributes
    ----------
    name : str
    x, yours, numeric, error : ndarray of float64, all of one shape
        Values of the parameter, your gradient, the numerical derivative, and a bound of its absolute error that
        includes the rounding of both. ``numeric`` and ``error`` are NaN where they were not computed.
    wrong : bool
        Whether the two gradients were found to differ.
    """

    name: str
    x: Array
    yours: Array
    numeric: Array
    error: Array
    wrong: bool


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """Hold what else is known of the function.

    Attributes
    ----------
    value : float
        f(x).
    sizes : dict of str to int
        Numbers that factors can be made of, by description: ``{"rows of X": 7}``.
    numbers : dict of str to float
        Scalars among f's arguments, by name.
    arrays : dict of str to ndarray
        Arrays among f's arguments, by name.
    """

    value: float
    sizes: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cause:
    """Name a mistake that explains the difference exactly.

    Attributes
    ----------
    number : int
        Entry of the catalogue.
    name : str
        Its slug.
    block : str or None
        The block it was found in, None when it explains the whole gradient.
    text : str
        The evidence and the conclusion in one sentence.
    score : float
        Larger is simpler and more specific; above 1 for an explanation of all wrong blocks.
    """

    number: int
    name: str
    block: str | None
    text: str
    score: float
