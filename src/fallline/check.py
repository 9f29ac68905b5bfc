"""Is a gradient right, and if not, where and why?

The order of questions: are f and df functions of x at all (preflight); do two random directions agree, at this point and, if it
hides mistakes, at one nearby; which block, which entry; which cause fits exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fallline.causes import Block, Cause, find_causes
from fallline.evaluate import Function
from fallline.locate import (
    Entries,
    Site,
    choose_entries,
    describe_mask,
    find_single,
    measure_entries,
    wrong_leaves,
)
from fallline.options import Options
from fallline.preflight import Calls, Preflight, cause, preflight
from fallline.probes import Judgement, Line, MatrixSlope, Probe
from fallline.report import BlockReport, EntryReport, Report
from fallline.setting import describe
from fallline.space import Leaf, Space

__all__ = ["assert_gradient", "check_gradient"]

Array = npt.NDArray[Any]
Mode = Literal["auto", "directions", "full"]

NEARBY = 2.0**-20  # how far the preflight goes, relative to the scale of x
AWAY = 2.0**-5  # how far the second point is
SMALL = 8.0  # an entry counts as at least the median magnitude of its block over this
MISS = 30.0  # stated power over the bound: a random direction sees less than 1/30 of an error once in fifty times
NO_POWER = 0.05
UNSEEN = 1e3  # noise over this hides a block
WORST_SHOWN = 10


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
        Further arguments of f and df. Their sizes and values serve as evidence for causes; so do the variables that a nested
        function carries with it.
    mode : {"auto", "directions", "full"}
        "auto": two random directions and, if they disagree, blocks, entries and causes. "directions": the directions alone.
        "full": every entry, whatever the directions say.
    rtol : float, default 0.0
        Errors up to this part of the gradient's size are accepted, for gradients that are approximate on purpose.
    bounds : (low, high), optional
        f is not called outside.
    noise : float, optional
        The absolute error of a value of f; found from its values by default.
    jitter : bool, default True
        Check at a second point, nearby, if this one hides mistakes: arrays that are all 0 or all 1, a stationary point, a
        kink.
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
    The verdict does not depend on the scale of f or of x. A residual counts only where truncation, noise and rounding cannot
    explain it, at two distances. Tolerances are not asked for: they follow from the values of f. A gradient between the
    one-sided derivatives at a kink passes, with a note. A right gradient of a smooth function takes 15 evaluations of f, of
    whatever size x is.

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
    g = 7.0000·D to ..., and X has 7 rows: the mean over them is missing.
    """
    checker = _Checker("check_gradient", f, df, x, args, mode, rtol, bounds, noise, jitter, vectorized, rng)
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
    return check_gradient(f, df, x, **options).require()


@dataclass(slots=True)
class _Finding:
    """What a direction says at a site."""

    site: Site
    judgement: Judgement

    @property
    def is_wrong(self) -> bool:
        return self.judgement.finding in ("wrong", "wrong at kink")


@dataclass(slots=True)
class _State:
    """What becomes the report."""

    findings: list[_Finding] = field(default_factory=list)
    blocks: dict[str, BlockReport] = field(default_factory=dict)
    worst: list[EntryReport] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Checker:
    """One check of a gradient."""

    def __init__(
        self,
        owner: str,
        f: Any,
        df: Any,
        x: Any,
        args: tuple[Any, ...],
        mode: Mode,
        rtol: float,
        bounds: Any,
        noise: float | None,
        jitter: bool,
        vectorized: bool,
        rng: Any,
    ) -> None:
        if mode not in ("auto", "directions", "full"):
            raise ValueError(f'{owner}(mode): must be "auto", "directions" or "full"; got {mode!r}. Pass one of these.')
        if isinstance(rtol, bool) or not isinstance(rtol, (int, float)) or not 0 <= rtol < 1:
            raise ValueError(f"{owner}(rtol): must be a number >= 0 and < 1; got {rtol!r}. Pass such a number, or leave it out.")
        options = Options(bounds=bounds, noise=noise, args=args, vectorized=vectorized, rng=rng)
        self.owner, self.mode, self.rtol, self.jitter = owner, mode, float(rtol), jitter
        self.space = Space(owner, x)
        if self.space.size == 0:
            raise ValueError(f"{owner}(x): must have at least one entry; got none. Pass a point to check at.")
        self.calls = Calls(owner, f, df, args, self.space)
        self.function = Function(owner, self.calls.value_of, self.space, args=args, vectorized=vectorized)
        self.bounds = options.bounds_of(owner, self.space)
        self.noise = options.noise_of(owner)
        self.rng = options.generator(owner)
        self.seed = int(rng) if isinstance(rng, (int, np.integer)) else None
        self.scales = _scales(self.space)
        self.state = _State()

    # The order of questions

    def run(self) -> Report:
        """Ask until there is an answer."""
        before = preflight(self.calls, self._elsewhere(NEARBY))
        if before.verdict is not None:
            self.state.causes += before.causes
            return self._report(before.verdict, before.reason)
        assert before.gradient is not None
        site = self._site(self.function, before.value, before.gradient, before)
        self._examine(site)
        self._note_masks(site)
        if self.jitter and self._is_masked(site):
            self._examine_elsewhere(before)
        self._ask_entries_at_kinks()
        wrong = [finding for finding in self.state.findings if finding.is_wrong]
        if self.mode == "full" or (wrong and self.mode == "auto"):
            self._search(wrong, site, before)
        return self._conclude(wrong, site)

    def _site(self, function: Function, value: float, gradient: Array, before: Preflight) -> Site:
        eps = max(before.eps, float(self.space.eps.max()), function.eps)
        noise = self.noise if self.noise is not None else None
        probe = Probe(function, np.array([value]), self.bounds, eps, noise)
        probe.noise = np.fmax(probe.noise, before.noise)
        return Site(probe, MatrixSlope(gradient[None, :]), self.scales, gradient)

    def _examine(self, site: Site) -> None:
        """Look along two independent directions: one of x's scale, one in which every block has its say."""
        for weights in (None, self._block_weights(site)):
            line = self._direction(site, weights)
            self.state.findings.append(_Finding(site, site.probe.judge(site.slope, line)))

    def _direction(self, site: Site, weights: Array | None) -> Line:
        """Return a random direction. No entry moves by less than half of its scale, so that none is overlooked."""
        n = self.space.size
        units = self.scales * self.rng.choice((-1.0, 1.0), n) * self.rng.uniform(0.5, 1.5, n)
        low, high = self.bounds
        inward = np.where(site.space.flat <= low, 1.0, np.where(site.space.flat >= high, -1.0, 0.0))
        units = np.where(inward != 0, inward * np.abs(units), units)
        units[low == high] = 0.0
        return Line(np.arange(n), units if weights is None else units * weights)

    def _block_weights(self, site: Site) -> Array:
        """Return weights that make all blocks contribute alike, as far as the noise lets the least of them be seen."""
        shares = self._shares(site, self.scales)
        visible = float(site.probe.noise.max()) / site.probe.distance * UNSEEN
        least = max(float(np.min(shares[shares > 0], initial=np.inf)), min(visible, float(shares.max())))
        with np.errstate(divide="ignore"):
            weights = np.minimum(1.0, least / shares)
        return np.concatenate([np.full(leaf.size, w) for leaf, w in zip(self.space.leaves, weights, strict=True)])

    def _shares(self, site: Site, units: Array) -> Array:
        """Return by how much every block contributes to the derivative along random directions."""
        terms = (site.gradient * units) ** 2
        return np.sqrt([terms[leaf.part].sum() for leaf in self.space.leaves])

    # Points that hide mistakes

    def _note_masks(self, site: Site) -> None:
        for leaf in self.space.leaves:
            values = self.space.flat[leaf.part]
            name = "x" if self.space.is_array else leaf.name
            if leaf.size and (values == 0).all():
                self.state.notes.append(f"{name} is 0: mistakes in what it multiplies, or in its decay, cannot show here")
            elif leaf.size and (values == 1).all():
                self.state.notes.append(f"{name} is 1: a factor {name} that is missing cannot show here")
            elif leaf.size > 1 and (values == values[0]).all():
                self.state.notes.append(f"all entries of {name} are equal: entries in the wrong order may not show here")
            if len(leaf.shape) == 2 and leaf.shape[0] == leaf.shape[1] > 1:
                self.state.notes.append(f"{name} is square: a transpose that is missing or extra keeps all shapes right")
        for i, arg in enumerate(self.calls.args):
            if np.ndim(arg) > 1 and np.shape(arg)[0] == 1:
                self.state.notes.append(f"args[{i}] has one row: mistakes in sums and means over rows cannot show")
        if self._is_stationary(site):
            self.state.notes.append("the gradient is 0 within rounding: any factor of it is right here")

    def _is_stationary(self, site: Site) -> bool:
        return all(finding.judgement.reading.quality > 1 for finding in self.state.findings if finding.site is site)

    def _is_masked(self, site: Site) -> bool:
        flat = [self.space.flat[leaf.part] for leaf in self.space.leaves if leaf.size]
        uniform = any((values == values[0]).all() and (len(values) > 1 or values[0] in (0, 1)) for values in flat)
        kink = any("kink" in finding.judgement.finding for finding in self.state.findings)
        return uniform or kink or self._is_stationary(site)

    def _elsewhere(self, distance: float) -> Array:
        """Return a point nearby, within the bounds."""
        n = self.space.size
        moved = self.space.flat + distance * self.scales * self.rng.choice((-1.0, 1.0), n) * self.rng.uniform(0.5, 1.5, n)
        return np.clip(moved, *self.bounds)

    def _examine_elsewhere(self, before: Preflight) -> None:
        """Check at a point nearby, where nothing is 0 or 1 and no kink is."""
        space = self.space.moved(self._elsewhere(AWAY))
        value = float(np.asarray(self.calls.value(space.flat)))
        gradient, _ = self.calls.flatten(self.calls.gradient(space.flat))
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            return
        function = Function(self.owner, self.calls.value_of, space, args=self.calls.args, vectorized=self.function.vectorized)
        site = self._site(function, value, gradient, before)
        already = len(self.state.findings)
        self._examine(site)
        findings = self.state.findings[already:]
        if any(finding.is_wrong for finding in findings):
            self.state.notes.append("found at a point near x: x itself hides it")

    def _ask_entries_at_kinks(self) -> None:
        """Ask single entries where a direction cannot tell: a sum of kinks bends less than its parts may differ."""
        for finding in self.state.findings:
            if finding.judgement.finding == "wrong at kink":
                chosen = [choose_entries(leaf, self.rng) for leaf in self.space.leaves]
                entries = measure_entries(finding.site, np.concatenate(chosen))
                said = "wrong" if entries.wrong.any() else "kink"
                finding.judgement = Judgement(said, finding.judgement.reading)

    # Where and why

    def _search(self, wrong: list[_Finding], site: Site, before: Preflight) -> None:
        """Find the blocks and entries that are wrong, and the causes that fit."""
        if wrong:
            site = wrong[0].site
        if wrong and self.mode == "auto":
            single = find_single(site, wrong[0].judgement.reading)
            if single is not None:
                entries = measure_entries(site, np.array([single]))
                entries.wrong[:] = True
                self._add_entries(site, {self.space.leaf_of(single).name: (self.space.leaf_of(single), entries)})
                return self._find_causes(site, {self.space.leaf_of(single).name: entries})
        if self.mode == "full":
            suspects = [leaf for leaf in self.space.leaves if leaf.size]
        else:
            suspects = [leaf for leaf, _, _ in wrong_leaves(site, wrong[0].judgement.reading.line)]
        looked = {}
        for leaf in suspects:
            index = np.arange(leaf.start, leaf.stop) if self.mode == "full" else choose_entries(leaf, self.rng)
            looked[leaf.name] = (leaf, measure_entries(site, index))
        self._add_entries(site, looked)
        return self._find_causes(site, {name: entries for name, (_, entries) in looked.items()})

    def _add_entries(self, site: Site, looked: dict[str, tuple[Leaf, Entries]]) -> None:
        worst: list[tuple[float, EntryReport]] = []
        for name, (leaf, entries) in looked.items():
            yours = site.gradient[entries.index]
            gap = np.abs(yours - entries.numeric)
            size = float(np.linalg.norm(entries.numeric)) or float(np.linalg.norm(yours)) or 1.0
            mask, known = np.zeros(leaf.size, bool), np.zeros(leaf.size, bool)
            known[entries.index - leaf.start] = True
            mask[entries.index - leaf.start] = entries.wrong
            is_wrong = bool(entries.wrong.any()) or self.mode == "auto"
            place = describe_mask(mask.reshape(leaf.shape), known.reshape(leaf.shape)) if is_wrong else ""
            verdict = "wrong" if is_wrong else "right"
            error = float(np.linalg.norm(gap)) / size
            shown = "x" if self.space.is_array else name
            self.state.blocks[name] = BlockReport(shown, leaf.shape, verdict, error, None, place)
            for k in np.flatnonzero(entries.wrong):
                entry = EntryReport(
                    shown,
                    leaf.index(int(entries.index[k])),
                    float(yours[k]),
                    float(entries.numeric[k]),
                    float(entries.error[k]),
                )
                worst.append((float(gap[k]) / size, entry))
        worst.sort(key=lambda pair: -pair[0])
        self.state.worst = [entry for _, entry in worst[:WORST_SHOWN]]

    def _find_causes(self, site: Site, looked: dict[str, Entries]) -> None:
        blocks = []
        for leaf in self.space.leaves:
            numeric, error = np.full(leaf.size, np.nan), np.full(leaf.size, np.nan)
            entries = looked.get(leaf.name)
            if entries is not None:
                numeric[entries.index - leaf.start], error[entries.index - leaf.start] = entries.numeric, entries.error
            arrays = (site.space.flat[leaf.part], site.gradient[leaf.part], numeric, error)
            wrong = leaf.name in self.state.blocks and self.state.blocks[leaf.name].verdict == "wrong"
            blocks.append(Block(leaf.name, *(array.reshape(leaf.shape) for array in arrays), wrong=wrong))
        setting = describe(self.calls.f, self.calls.df, self.calls.args, self.space, float(site.probe.value[0]))
        self.state.causes += find_causes(blocks, setting)
        self._compare_precision(site, looked)

    def _compare_precision(self, site: Site, looked: dict[str, Entries]) -> None:
        """Name single precision where yours has no other digits, and is as near as those allow."""
        if self.state.causes or not looked:
            return
        index = np.concatenate([entries.index for entries in looked.values()])
        numeric = np.concatenate([entries.numeric for entries in looked.values()])
        yours = site.gradient[index]
        if np.array_equal(yours, yours.astype(np.float32)) and np.linalg.norm(yours - numeric) <= 1e-4 * np.linalg.norm(numeric):
            text = "all entries of g are float32 numbers, and differ from D by no more than that: df computes in single precision."
            self.state.causes.append(cause(43, text))

    # The verdict

    def _conclude(self, wrong: list[_Finding], site: Site) -> Report:
        powers = self._powers()
        for leaf, power in zip(self.space.leaves, powers, strict=True):
            self._complete_block(leaf, power, bool(wrong))
        seen = [power for power in powers if power is not None and power <= NO_POWER]
        power = max(seen, default=np.nan)
        kinks = [finding for finding in self.state.findings if finding.judgement.finding == "kink"]
        if kinks:
            self.state.notes.append("x lies on a kink of f, and the gradient is between the one-sided derivatives there")
        entries_wrong = [block for block in self.state.blocks.values() if block.verdict == "wrong"]
        if wrong or (self.mode == "full" and entries_wrong):
            return self._failure(wrong, site, power)
        unclear = [finding for finding in self.state.findings if finding.judgement.finding == "unclear"]
        if unclear and all(finding.site is site for finding in unclear):
            return self._report("inconclusive", "f is too noisy, or not smooth enough, to tell", power)
        if not seen and not self._does_not_move():
            return self._report("inconclusive", "the derivatives are too small beside the noise of f to be compared", power)
        if not seen:
            return self._report("pass", "f does not change, and the gradient is 0", power)
        return self._report("pass", f"a relative error above {power:.0e} would have been seen", power)

    def _does_not_move(self) -> bool:
        readings = [finding.judgement.reading for finding in self.state.findings]
        return all(reading.constant and (reading.yours == 0).all() for reading in readings)

    def _failure(self, wrong: list[_Finding], site: Site, power: float) -> Report:
        sizes = [_relative(finding) for finding in wrong]
        if sizes and max(sizes) <= self.rtol:
            return self._report("pass", f"the relative error {max(sizes):.1e} is within rtol", power)
        names = [block.name for block in self.state.blocks.values() if block.verdict == "wrong"]
        where = f" of {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}" if names and not self.space.is_array else ""
        by = f", by {max(sizes):.1e} of its size along a random direction" if sizes else ""
        return self._report("fail", f"the gradient{where} is wrong{by}", power)

    def _powers(self) -> list[float | None]:
        """Return the relative error of every block that would have been seen, None where yours is 0."""
        best: list[float | None] = [None] * len(self.space.leaves)
        for finding in self.state.findings:
            reading = finding.judgement.reading
            if not np.isfinite(reading.bound).all():
                continue
            shares = self._shares(finding.site, reading.line.units)
            threshold = float(reading.bound[0]) + (float(reading.bend[0]) if finding.judgement.finding == "kink" else 0.0)
            for i, share in enumerate(shares):
                if share > 0:
                    power = MISS * threshold / share
                    known = best[i]
                    best[i] = power if known is None else min(known, power)
        return best

    def _complete_block(self, leaf: Leaf, power: float | None, failed: bool) -> None:
        known = self.state.blocks.get(leaf.name)
        if known is not None:
            self.state.blocks[leaf.name] = BlockReport(
                known.name, known.shape, known.verdict, known.error, power, known.place
            )
            return
        name = "x" if self.space.is_array else leaf.name
        unseen = power is not None and power > NO_POWER
        searched = self.mode == "auto" or not failed
        verdict = "unseen" if unseen else "right" if searched else "unclear"
        if unseen:
            self.state.notes.append(f"the gradient of {name} is too small beside the noise of f to be judged")
        self.state.blocks[leaf.name] = BlockReport(name, leaf.shape, verdict, None, power)

    def _report(self, verdict: Any, reason: str, power: float = np.nan) -> Report:
        order = [leaf.name for leaf in self.space.leaves]
        nfev = self.function.nfev + sum(
            {id(f.site): f.site.probe.function.nfev for f in self.state.findings if f.site.probe.function is not self.function}.values()
        )
        return Report(
            verdict=verdict,
            reason=reason,
            causes=self.state.causes,
            blocks=[self.state.blocks[name] for name in order if name in self.state.blocks],
            worst=self.state.worst,
            nfev=nfev + self.calls.nfev,
            ngev=self.calls.ngev,
            power=float(power),
            notes=list(dict.fromkeys(self.state.notes)),
            seed=self.seed,
        )


def _relative(finding: _Finding) -> float:
    reading = finding.judgement.reading
    size = max(float(reading.size[0]), float(np.abs(reading.numeric[0])))
    return abs(float(reading.residual[0])) / size if size else np.inf


def _scales(space: Space) -> Array:
    """Return how far every entry moves: its magnitude, or what is usual in its block, or in the others."""
    magnitude = np.abs(space.flat)
    usual = np.median(magnitude[magnitude > 0]) if magnitude.any() else 1.0
    scales = np.empty(space.size)
    for leaf in space.leaves:
        own = magnitude[leaf.part]
        floor = (np.median(own[own > 0]) if own.any() else usual) / SMALL
        scales[leaf.part] = np.maximum(own, floor)
    return scales
