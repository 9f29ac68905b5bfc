"""Wrong penalties, and wrong factors beside a penalty that is right: g = aD + bx, g = D + c·sign(x)."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .catalogue import Array, Setting
from .evidence import (
    ENOUGH,
    SLACK,
    Finding,
    Fit,
    Part,
    Scene,
    Told,
    best_fit,
    decimal,
    digits_of,
    explains,
    nearness,
    signed,
)
from .scales import bias_like, ends, factors, named

CHOICES = 100  # values of a penalty that are tried
SOME = 3  # entries, at least, that show what they share


class _Penalty(NamedTuple):
    ratio: float  # of b to λ
    number: int
    level: float
    text: str  # with {} for λ


_PENALTIES = (
    _Penalty(-1.0, 9, 0.9, "the term {}·x of the L2 penalty is missing"),
    _Penalty(1.0, 10, 0.9, "the term {}·x of the L2 penalty is counted twice, or f has none"),
    _Penalty(-2.0, 10, 0.89, "the L2 penalty has the wrong sign, or it is missing and f has {}·|x|² without ½"),
    _Penalty(2.0, 10, 0.89, "the term 2·{}·x of the L2 penalty is counted twice, or f has none"),
    _Penalty(-4.0, 10, 0.88, "the L2 penalty {}·|x|² has the wrong sign"),
    _Penalty(-0.5, 8, 0.85, "the L2 term has half its factor"),
    _Penalty(0.5, 8, 0.85, "the L2 term has ½·{}·x too much"),
    _Penalty(-1.0, 8, 0.7, "the L2 term is {0}·x for 2·{0}·x, if f has {0}·|x|² without ½"),
    _Penalty(1.0, 8, 0.7, "the L2 term is 2·{0}·x for {0}·x, if f has ½·{0}·|x|²"),
)


def _divided(sizes: dict[str, int]) -> Iterator[_Penalty]:
    plain = {p.ratio for p in _PENALTIES}
    for n, c in itertools.product({n for n in sizes.values() if n > 1}, (1, 2)):
        found = (
            _Penalty(c * (1 / n - 1), 11, 0.88, f"the L2 term is divided by {n}, unlike in f"),
            _Penalty(c * (1 - 1 / n), 11, 0.88, f"the L2 term is not divided by {n}, unlike in f"),
            _Penalty(-c / n, 9, 0.84, f"the term {{}}/{n}·x of the L2 penalty is missing"),
            _Penalty(c / n, 10, 0.84, f"the term {{}}/{n}·x of the L2 penalty is counted twice, or f has none"),
            _Penalty(-2 * c / n, 10, 0.82, f"the L2 penalty, with {{}}/{n}, has the wrong sign"),
        )
        yield from (p for p in found if p.ratio not in plain)


def _named_penalties(b: float, bound: float, setting: Setting) -> list[tuple[int, float, str]]:
    """Return what a multiple of x can be, if it is known well enough to tell: entry, level, text."""
    return [
        (p.number, p.level, f", and {name} = {value:g}: {p.text.format(name)}")
        for name, value in setting.numbers.items()
        for p in (*_PENALTIES, *_divided(setting.sizes))
        if value != 0 and abs(p.ratio * value - b) <= bound <= 1e-3 * abs(b)
    ]


def _unnamed_penalty(b: float) -> tuple[int, float, str]:
    word = "missing" if b < 0 else "extra"
    return (9 if b < 0 else 10), 0.6, f": as if an L2 term with λ = {abs(b):.5g} were {word}"


def _regularised(part: Part, scene: Scene) -> Iterator[tuple[str, Array]]:
    """Yield x, then x with a bias among the weights put to 0."""
    yield "", part.x
    if part in scene.parts:
        yield from ((f" but for {place}", np.where(chosen, 0.0, part.x)) for place, chosen in ends(part))


def _l2(part: Part, scene: Scene) -> Iterator[Finding]:
    for place, x in _regularised(part, scene):
        fit = best_fit(part, [x], part.d)
        if fit is not None and fit.exact and digits_of(part, part.tol, 0, CHOICES) >= ENOUGH and not normalised(part):
            yield from _l2_findings(part, scene, fit, place)
            return


def _l2_findings(part: Part, scene: Scene, fit: Fit, place: str) -> Iterator[Finding]:
    b, bound = float(fit.coefficients[0]), float(fit.bounds[0])
    bias = bias_like(part, scene)
    found = _named_penalties(b, bound, scene.setting)
    if not found and fit.digits >= ENOUGH:
        found = [_unnamed_penalty(b)]
    for number, level, text in found if abs(b) > bound else ():
        start = f"g = D {signed(b)}·x {nearness(part, fit.model)}{place}"
        yield Finding(12 if bias else number, level, f"{start}{text}{', in the bias only' if bias else ''}")


def normalised(part: Part) -> bool:
    """Tell whether D is orthogonal to x, so that f does not depend on the length of x."""
    terms = (part.x * part.d)[part.known]
    spread = float((np.abs(part.x) * part.tol)[part.known].sum())
    return part.complete and abs(float(terms.sum())) <= SLACK * spread and float(np.abs(terms).sum()) > 1e3 * spread


def _bias_penalty(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for a penalty on the bias among the weights only."""
    for place, chosen in ends(part):
        if (part.off & ~chosen).any() or not (part.fine & ~chosen).any():
            continue
        fit = best_fit(part, [np.where(chosen, part.x, 0.0)], part.d)
        if fit is None or not fit.exact:
            continue
        b, bound = float(fit.coefficients[0]), float(fit.bounds[0])
        found = _named_penalties(b, bound, scene.setting)
        if fit.digits >= ENOUGH or (found and digits_of(part, part.tol, 0, CHOICES) >= ENOUGH):
            given = found[0][2].split(":")[0] if found else ""
            word = "f has no penalty on the bias" if b > 0 else "f has a penalty on the bias too"
            yield Finding(12, 0.87, f"E = {b:.5g}·x in {place} and 0 elsewhere{given}: {word}")


def _l2_of_some(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for a wrong penalty on some entries only, such as the weights in a vector of all parameters."""
    n, k = int(part.known.sum()), int(part.off.sum())
    if k < SOME or not part.fine.any() or normalised(part):
        return
    fit = best_fit(part, [np.where(part.off, part.x, 0.0)], part.d)
    if fit is not None and fit.exact and fit.digits >= ENOUGH:
        place = f" in {k} of {n} entries, and g = D in the others"
        for finding in _l2_findings(part, scene, fit, place):
            yield finding._replace(level=finding.level - 0.05)


# A wrong factor beside a penalty that is right


def _scale_beside_l2(part: Part, scene: Scene) -> Iterator[Finding]:
    for place, x in _regularised(part, scene):
        fit = best_fit(part, [part.d, x])
        if fit is not None and fit.exact and fit.digits >= ENOUGH:
            yield from _scale_of_term(part, scene, fit, place)
            return


def _scale_of_term(part: Part, scene: Scene, fit: Fit, place: str = "") -> Iterator[Finding]:
    """Name the scale a of the other term: b = λ(1 - a)."""
    (a, b), (da, db) = fit.coefficients.tolist(), fit.bounds.tolist()
    if abs(a - 1) <= da or abs(b) <= db:
        return
    decay = b / (1 - a)
    known = _is_penalty(decay, abs(decay) * (db / abs(b) + da / abs(1 - a)), scene.setting)
    start = f"g = {decimal(a)}·D {signed(b)}·x {nearness(part, fit.model)}{place}"
    term = f"the L2 term ({known or 'λ'} = {decay:.5g}) is right, the other one is not"
    for f in named(a, da, part, scene):
        yield Finding(
            2 if f.number == 1 else f.number,
            f.level - (0.05 if known else 0.3),
            f"{start}: {term}{f.text.replace(':', ',', 1)}",
        )


def _scale_beside_l2_of_some(part: Part, scene: Scene) -> Iterator[Finding]:
    """Look for a wrong factor beside a penalty on some entries only: g = aD + bx there, and g = aD elsewhere."""
    if not part.off.any() or part not in scene.parts:
        return
    known = factors(part, scene)
    for f in known:
        tol, rest = part.tol * max(1.0, abs(f.value)), part.g - f.value * part.d
        some = np.abs(rest) > SLACK * tol
        n, k = int((some | part.off).sum()), int(some.sum())
        if f.value == 1 or k < SOME or n - k < SOME or not np.any(part.x[some]):
            continue
        weight = np.where(some, part.x / tol**2, 0.0)
        b = float(np.nansum(weight * rest) / np.nansum(weight * part.x))
        model, decay = f.value * part.d + b * np.where(some, part.x, 0.0), b / (1 - f.value)
        bound = abs(SLACK / (1 - f.value)) * float(np.nanmin(np.where(some, tol / np.abs(part.x), np.nan)))
        penalty = _is_penalty(decay, bound, scene.setting)
        if penalty and explains(part, model, f.value, 1, CHOICES * len(known)):
            start = f"g = {decimal(f.value)}·D, and {signed(b)}·x in {k} of {n} entries, {nearness(part, model)}"
            term = f"the L2 term ({penalty} = {decay:.5g}) is right, the other one is not"
            text = f"{start}: {term}{f.text.replace(':', ',', 1)}"
            yield Finding(2 if f.number == 1 else f.number, f.level - 0.1, text)


def _is_penalty(decay: float, bound: float, setting: Setting) -> str:
    """Return the argument that a factor of x is made of, or an empty string."""
    divisors = {1, *setting.sizes.values()}
    for name, value in setting.numbers.items():
        for c, n in itertools.product((0.5, 1.0, 2.0), divisors):
            if n and abs(c * value / n - decay) <= bound:
                return f"{'' if c == 1 else f'{c:g}·'}{name}{'' if n == 1 else f'/{n}'}"
    return ""


def _shared_scale(scene: Scene) -> Iterator[Told]:
    """Take one scale for all blocks, beside an L2 term in some of them only."""
    plain = [p for p in scene.wrong if (fit := best_fit(p, [p.d])) is not None and fit.exact]
    if not plain or len(plain) == len(scene.wrong):
        return
    x = np.concatenate([p.x[p.known] * (p not in plain) for p in scene.wrong])
    fit = best_fit(scene.whole, [scene.whole.d, x])
    if fit is not None and fit.exact and fit.digits >= ENOUGH:
        yield from (Told(finding, scene.wrong) for finding in _scale_of_term(scene.whole, scene, fit))


# L1


def _l1(part: Part, scene: Scene) -> Iterator[Finding]:
    fit = best_fit(part, [np.sign(part.x)], part.d)
    signs = np.sign(part.x[part.off])
    if fit is None or not fit.exact or len(signs) < 2:
        return
    c, bound = float(fit.coefficients[0]), float(fit.bounds[0])
    start = f"g = D {signed(c)}·sign(x) {nearness(part, fit.model)}"
    if bound <= 1e-3 * abs(c) and digits_of(part, part.tol, 0, CHOICES) >= ENOUGH:
        for ratio, text in ((-1, "is missing"), (1, "is counted twice, or f has none"), (-2, "has the wrong sign")):
            known = _is_penalty(c / ratio, bound, scene.setting)
            if known and "·" not in known:
                yield Finding(13, 0.9, f"{start}, and {known} = {c / ratio:g}: the L1 term {text}")
                return
        for n in {n for n in scene.setting.sizes.values() if n > 1} if bound <= 1e-4 * abs(c) else ():
            known = _is_penalty(c / (1 / n - 1), bound, scene.setting)
            if known and not set(known) & set("·/"):
                yield Finding(13, 0.88, f"{start}, with {known}: the L1 term is divided by {n}, unlike in f")
                return
    if fit.digits >= ENOUGH and len(np.unique(signs)) > 1:
        yield Finding(13, 0.65, f"{start}: as if an L1 term were {'missing' if c < 0 else 'extra'}")


OF_ALL = (_l2, _scale_beside_l2, _l1)
OF_BLOCK = (_bias_penalty, _l2_of_some, _scale_beside_l2_of_some)
OF_BLOCKS = (_shared_scale,)
