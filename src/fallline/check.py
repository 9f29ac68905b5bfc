"""Whether a gradient is right, and if not, where and why.

The order of questions: are f and df functions of x at all (`preflight`); do two random directions agree, at this point
and, if it hides mistakes, at one nearby; which block, which entry, which cause fits exactly (`search`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fallline import _core, masks
from fallline.causes import Cause
from fallline.digits import decimal_unit, is_single
from fallline.evaluate import Function, check_args
from fallline.locate import choose_entries, entries_at_kinks, measure_entries
from fallline.options import Options
from fallline.preflight import Calls, Preflight, cause, preflight
from fallline.probes import Probe
from fallline.readings import Judgement, MatrixSlope
from fallline.report import BlockReport, Report
from fallline.search import Found, Search
from fallline.site import Site, nearby, usual_scales
from fallline.space import Space, as_array

__all__ = ["assert_gradient", "check_gradient"]

Array = npt.NDArray[Any]
Mode = Literal["auto", "directions", "full"]

NEARBY = 2.0**-20  # how far the preflight goes, relative to the scale of x
AWAY = 2.0**-5  # how far the second point is
MISS = 30.0  # stated power over the bound: a random direction sees less than 1/30 of an error once in fifty times
NO_POWER = 0.05  # a check that would not see this error says nothing
COARSE = 1e3  # noise of so many roundings is looked into
FINE = 2.0**-36  # a relative change that single precision does not see, and double precision does


def check_gradient(
    f: Callable[..., Any],
    df: Callable[..., Any] | Literal[True],
    x: Any,
    *,
    args: tuple[Any, ...] = (),
    mode: Mode = "auto",
    rtol: float = 0.0,
    bounds: Any = None,
    noise: float | None = None,
    jitter: bool = True,
    vectorized: bool = False,
    rng: int | np.random.Generator = 0,
) -> Report:
    """Check a gradient against f, and if it is wrong, say where and why.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns one real number.
    df : callable or True
        ``df(x, *args)`` returns the gradient in x's structure. True: f returns ``(value, gradient)``.
    x : number, array or tree of arrays
        Where to check: float32 or float64. Never changed.
    args : tuple, optional
        Further arguments of f and df. Their sizes and values serve as evidence for causes; so do the variables that a
        nested function carries with it.
    mode : {"auto", "directions", "full"}
        "auto": two random directions and, if they disagree, blocks, entries and causes. "directions": the directions
        alone. "full": every entry, whatever the directions say.
    rtol : float, default 0.0
        Errors up to this part of the gradient's size are accepted, for gradients that are approximate on purpose.
    bounds : (low, high), optional
        f is not called outside.
    noise : float, optional
        The absolute error of a value of f; found from its values by default.
    jitter : bool, default True
        Check at a second point, nearby, if this one hides mistakes: arrays that are all 0 or all 1, a stationary point,
        a kink.
    vectorized : bool, default False
        f takes many points on a new leading axis.
    rng : int or numpy.random.Generator, default 0
        Of the directions. The seed is in the report.

    Returns
    -------
    Report
        Printable; in a notebook a table. ``report.verdict`` is "pass", "fail" or "inconclusive".

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it must be. What is wrong with the gradient is never an exception.

    Notes
    -----
    The verdict does not depend on the scale of f or of x. A residual counts only where truncation, noise and rounding
    cannot explain it, at two distances. Tolerances are not asked for: they follow from the values of f. A gradient
    between the one-sided derivatives at a kink passes, with a note. A right gradient of a smooth function takes 15
    evaluations of f, of whatever size x is.

    References
    ----------
    Moré & Wild (2011), Estimating computational noise, SIAM J. Sci. Comput. 33(3), 1292-1314.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> X, y = np.arange(14.0).reshape(7, 2) % 5, np.arange(7.0)
    >>> f = lambda w, X, y: np.mean((X @ w - y) ** 2) / 2
    >>> right = lambda w, X, y: X.T @ (X @ w - y) / len(y)
    >>> fl.check_gradient(f, right, np.array([0.3, -0.7]), args=(X, y)).verdict
    'pass'
    >>> wrong = lambda w, X, y: X.T @ (X @ w - y)
    >>> print(fl.check_gradient(f, wrong, np.array([0.3, -0.7]), args=(X, y)).causes[0].text)
    g = 7.0000·D to ..., and X has 7 rows: the mean over the batch is missing.
    """
    checker = Checker(
        "check_gradient",
        f,
        df,
        x,
        args=args,
        mode=mode,
        rtol=rtol,
        bounds=bounds,
        noise=noise,
        jitter=jitter,
        vectorized=vectorized,
        rng=rng,
    )
    return checker.run()


def assert_gradient(f: Callable[..., Any], df: Callable[..., Any] | Literal[True], x: Any, **options: Any) -> Report:
    """Raise unless a gradient is right: `check_gradient` for tests.

    Parameters
    ----------
    f, df, x
        As `check_gradient`.
    **options
        As `check_gradient`.

    Returns
    -------
    Report

    Raises
    ------
    AssertionError
        If the verdict is not "pass". Its text is the report, which it carries as ``error.report``.
    TypeError, ValueError
        As `check_gradient`.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> fl.assert_gradient(lambda x: np.sum(np.sin(x)), np.cos, np.array([0.3, 1.0])).passed
    True
    """
    __tracebackhide__ = True  # by pytest: a failure shows the test and the report
    return check_gradient(f, df, x, **options).require()


@dataclass(slots=True)
class _Finding:
    """What a direction says at a site."""

    site: Site
    judgement: Judgement

    @property
    def is_wrong(self) -> bool:
        return self.judgement.finding in ("wrong", "wrong at kink")

    @property
    def relative(self) -> float:
        """Return the residual relative to the size of the derivative."""
        reading = self.judgement.reading
        size = max(float(reading.size[0]), float(np.abs(reading.numeric[0])))
        return abs(float(reading.residual[0])) / size if size else np.inf


def _lesser(known: float | None, power: float) -> float:
    return power if known is None else min(power, known)


def _number(value: Any) -> float:
    """Return a real number as a float, NaN for anything else."""
    return float(value) if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) else np.nan


class Checker:
    """One check of a gradient; `check_gradient` describes the arguments."""

    def __init__(
        self,
        owner: str,
        f: Any,
        df: Any,
        x: Any,
        *,
        args: tuple[Any, ...] = (),
        mode: Mode = "auto",
        rtol: float = 0.0,
        bounds: Any = None,
        noise: float | None = None,
        jitter: bool = True,
        vectorized: bool = False,
        rng: Any = 0,
        what: str = "gradient",
    ) -> None:
        if mode not in ("auto", "directions", "full"):
            raise ValueError(f'{owner}(mode): must be "auto", "directions" or "full"; got {mode!r}. Pass one of these.')
        if not 0 <= _number(rtol) < 1:
            raise ValueError(
                f"{owner}(rtol): must be a number >= 0 and < 1; got {rtol!r}. Pass such a number, or leave it out."
            )
        options = Options(bounds=bounds, noise=noise, args=args, vectorized=vectorized, rng=rng)
        self.owner, self.mode, self.rtol, self.jitter, self.what = owner, mode, float(rtol), jitter, what
        self.space = Space(owner, x)
        if self.space.size == 0:
            raise ValueError(f"{owner}(x): must have at least one entry; got none. Pass a point to check at.")
        self.calls = Calls(owner, f, df, check_args(owner, args), self.space, "df" if what == "gradient" else what)
        self.vectorized = vectorized
        self.functions = [self._function(self.space)]
        self.bounds = options.bounds_of(owner, self.space)
        self.noise = options.noise_of(owner)
        self.rng = options.generator(owner)
        self.seed = int(rng) if isinstance(rng, (int, np.integer)) else None
        self.scales = usual_scales(self.space)
        self.findings: list[_Finding] = []
        self.causes: list[Cause] = []
        self.notes: list[str] = []

    def _function(self, space: Space) -> Function:
        return Function(self.owner, self.calls.value_of, space, args=self.calls.args, vectorized=self.vectorized)

    def run(self) -> Report:
        """Ask until there is an answer."""
        before = preflight(self.calls, nearby(self.space, NEARBY * self.scales, self.bounds, self.rng))
        if before.verdict is not None:
            self.causes += before.causes
            return self._report(before.verdict, before.reason)
        assert before.gradient is not None
        site = self._site(self.functions[0], before.value, before.gradient, before)
        self._examine(site)
        self.notes += masks.notes(self.space, self.calls.args)
        if all(finding.judgement.reading.quality > 1 for finding in self.findings):
            self.notes.append("the gradient is 0 within rounding: any factor of it is right here")
        self._ask_entries_at_kinks()
        if self.jitter and self._may_hide_mistakes() and not any(finding.is_wrong for finding in self.findings):
            self._examine_elsewhere(before)
            self._ask_entries_at_kinks()
        self._look_for_rounding(site)
        found = self._search(site)
        if self.jitter and found.only_kinks and self.mode == "auto":
            self._examine_elsewhere(before)
            found = self._search(site)
        self.causes += found.causes
        return self._conclude(site, self._wrong(), found)

    def _wrong(self) -> list[_Finding]:
        return [finding for finding in self.findings if finding.is_wrong]

    def _search(self, site: Site) -> Found:
        """Look for blocks, entries and causes; where there is nothing but kinks that hide each other, say so."""
        wrong = self._wrong()
        if self.mode == "full":
            return Search(wrong[0].site if wrong else site, self.calls, self.rng).all()
        if not wrong or self.mode == "directions":
            return Found()
        search = Search(wrong[0].site, self.calls, self.rng)
        found = search.by_halves(wrong[0].judgement.reading)
        if not search.is_kinks_alone(wrong[0].judgement.reading):
            return found
        for finding in wrong:  # at one site, as no other is asked after a mistake
            finding.judgement = Judgement("kink", finding.judgement.reading)
        return Found(only_kinks=True)

    # Directions

    def _site(self, function: Function, value: float, gradient: Array, before: Preflight) -> Site:
        eps = max(before.eps, self.space.coarsest, function.eps)
        probe = Probe(function, np.array([value]), self.bounds, eps, self.noise)
        probe.noise = np.fmax(probe.noise, before.noise)
        return Site(probe, MatrixSlope(gradient[None, :]), self.scales, gradient)

    def _examine(self, site: Site) -> None:
        """Look along two independent directions: one of x's scale, one in which every block has its say."""
        first = _Finding(site, site.probe.judge(site.slope, site.line(self.rng)))
        self.findings.append(first)
        if self.mode != "auto" or not first.is_wrong:
            self.findings.append(_Finding(site, site.probe.judge(site.slope, site.fair_line(self.rng))))

    def _may_hide_mistakes(self) -> bool:
        """Tell whether another point may show more: uniform blocks, kinks, directions that see little."""
        judgements = [finding.judgement for finding in self.findings]
        kink = any(judgement.finding in ("kink", "wrong at kink", "unclear") for judgement in judgements)
        return masks.is_uniform(self.space) or kink or all(MISS * j.reading.quality > NO_POWER for j in judgements)

    def _examine_elsewhere(self, before: Preflight) -> None:
        """Check at a point nearby, where nothing is 0 or 1 and no kink is, if f and its gradient are finite there."""
        space = self.space.moved(nearby(self.space, AWAY * self.scales, self.bounds, self.rng))
        with np.errstate(all="ignore"):
            value = float(as_array(self.calls.value(space.flat)))
            gradient, _ = self.calls.flatten(self.calls.gradient(space.flat))
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            return
        self.functions.append(self._function(space))
        already = len(self.findings)
        self._examine(self._site(self.functions[-1], value, gradient, before))
        if any(finding.is_wrong for finding in self.findings[already:]):
            self.notes.append("found at a point near x: x itself hides it")

    def _ask_entries_at_kinks(self) -> None:
        """Ask single entries where a direction cannot tell: many kinks bend more than what one of them may be off."""
        said: dict[tuple[int, str], str] = {}
        for finding in self.findings:
            what = finding.judgement.finding
            if not (what == "wrong at kink" or (what == "kink" and self.mode == "auto")):
                continue
            asked = (id(finding.site), what)
            if asked not in said and what == "kink":
                chosen = entries_at_kinks(finding.site.space, self.rng)
            elif asked not in said:
                chosen = np.concatenate([choose_entries(leaf, self.rng) for leaf in self.space.leaves])
            if asked not in said and len(chosen):
                said[asked] = "wrong" if measure_entries(finding.site, chosen).wrong.any() else "kink"
            if asked in said:
                finding.judgement = Judgement(said[asked], finding.judgement.reading)

    def _look_for_rounding(self, site: Site) -> None:
        """Say so if f is noisy because it rounds to single precision: its value, or an array of x."""
        value = float(site.probe.value[0])
        rounding = sys.float_info.epsilon * abs(value)
        kink = any("kink" in finding.judgement.finding for finding in self.findings)
        if self.space.has_single or kink or site.probe.noise[0] <= COARSE * rounding:
            return
        other = self._value_at(nearby(self.space, AWAY * self.scales, self.bounds, self.rng))
        if decimal_unit([value, other]) > 0:
            self.notes.append("f(x) has few digits: it is rounded")
            return
        if is_single(value, other):
            self.causes.append(cause(43, "f(x) is a float32 number: f computes in single precision."))
            return
        for leaf in self.space.leaves:
            moved = self.space.flat.copy()
            moved[leaf.part] *= 1 + FINE * self.rng.choice((-1.0, 1.0), leaf.size)
            moved = self.bounds.clip(moved)
            expected = float(site.gradient @ (moved - self.space.flat))
            if abs(expected) > 16 * rounding and self._value_at(moved) == value:
                text = f"f does not change when {leaf.name} changes by {FINE:.0e} of its size: f rounds {leaf.name}."
                self.causes.append(cause(43, text, leaf.name))

    def _value_at(self, flat: Array) -> float:
        with np.errstate(all="ignore"):
            return float(as_array(self.calls.value(flat)))

    # The verdict

    def _conclude(self, site: Site, wrong: list[_Finding], found: Found) -> Report:
        plain, powers = self._powers()
        blocks = self._blocks(plain, powers, found, searched=self.mode != "directions" or not wrong)
        seen = [power for power in powers if power is not None and power <= NO_POWER]
        power = max(seen, default=np.nan)
        findings = {finding.judgement.finding for finding in self.findings if finding.site is site}
        if "kink" in findings:
            self.notes.append("x lies on a kink of f, and the gradient is between the one-sided derivatives there")
        if wrong or any(block.verdict == "wrong" for block in blocks):
            verdict, reason = self._failure(wrong, blocks)
        elif "unclear" in findings and not self._is_right_elsewhere(site):
            verdict, reason = "inconclusive", "f is too noisy, or not smooth enough, to tell"
        elif seen:
            verdict, reason = "pass", f"a relative error above {power:.0e} would have been seen"
        elif self._does_not_move():
            verdict, reason = "pass", "f does not change, and the gradient is 0"
        elif "kink" in findings and all(finding.judgement.finding != "unclear" for finding in self.findings):
            verdict, reason = "pass", "x lies on a kink, where all that can be told is that the gradient is a valid one"
        else:
            verdict = "inconclusive"
            reason = "the derivatives are too small beside the noise of f to be compared"
        return self._report(verdict, reason, power, blocks, found)

    def _is_right_elsewhere(self, site: Site) -> bool:
        others = [finding.judgement.finding for finding in self.findings if finding.site is not site]
        return bool(others) and all(finding in ("right", "kink") for finding in others)

    def _does_not_move(self) -> bool:
        readings = [finding.judgement.reading for finding in self.findings]
        return all(reading.constant and (reading.yours == 0).all() for reading in readings)

    def _failure(self, wrong: list[_Finding], blocks: list[BlockReport]) -> tuple[str, str]:
        bad = [block for block in blocks if block.verdict == "wrong"]
        by = [finding.relative for finding in wrong]
        sizes = by or [block.error or 0.0 for block in bad]
        if max(sizes) <= self.rtol:
            return "pass", f"the relative error, {max(sizes):.1e}, is within rtol"
        names = ", ".join([block.name for block in bad[:4]] + ["..."] * (len(bad) > 4))
        where = f" of {names}" if bad and not self.space.is_array else ""
        size = f", by {max(by):.1e} of its size along a random direction" if by else ""
        return "fail", f"the gradient{where} is wrong{size}"

    def _powers(self) -> tuple[list[float | None], list[float | None]]:
        """Return the relative error of every block that would have been seen, None where yours is 0.

        What any of many gradients at a kink may differ by is part of the second of the two.
        """
        plain: list[float | None] = [None] * len(self.space.leaves)
        at_kinks = plain.copy()
        for finding in self.findings:
            reading = finding.judgement.reading
            bound = float(reading.bound[0]) if finding.judgement.finding != "unclear" else math.inf
            bend = float(reading.bend[0]) if finding.judgement.finding == "kink" else 0.0
            # What the terms of a block add up to with random signs.
            for i, share in enumerate(_core.norms(self.space.leaves, finding.site.gradient * reading.line.units)):
                if share > 0 and math.isfinite(bound):
                    plain[i] = _lesser(plain[i], MISS * bound / share)
                if share > 0 and math.isfinite(bound + bend):
                    at_kinks[i] = _lesser(at_kinks[i], MISS * (bound + bend) / share)
        return plain, at_kinks

    def _blocks(
        self, plain: list[float | None], powers: list[float | None], found: Found, searched: bool
    ) -> list[BlockReport]:
        blocks, hidden = [], []
        for leaf, best, power in zip(self.space.leaves, plain, powers, strict=True):
            name = self.space.label(leaf)
            if leaf.name in found.blocks:
                blocks.append(found.blocks[leaf.name].with_power(power))
                continue
            unseen = best is not None and best > NO_POWER
            if unseen:
                hidden.append(name)
            verdict = "unseen" if unseen else "right" if searched else "unclear"
            blocks.append(BlockReport(name, leaf.shape, verdict, power=power))
        if hidden:
            self.notes.append(
                f"the gradient of {masks.each_of(hidden)} is too small beside the noise of f to be judged"
            )
        return blocks

    def _report(
        self,
        verdict: Any,
        reason: str,
        power: float = np.nan,
        blocks: list[BlockReport] | None = None,
        found: Found | None = None,
    ) -> Report:
        return Report(
            verdict=verdict,
            reason=reason,
            causes=self.causes,
            blocks=blocks or [],
            worst=found.worst if found else [],
            nfev=self.calls.nfev + sum(function.nfev for function in self.functions),
            ngev=self.calls.ngev,
            power=float(power),
            notes=list(dict.fromkeys(self.notes)),
            seed=self.seed,
            what=self.what,
        )
