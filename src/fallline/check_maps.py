"""Checks of what else is written by hand: Jacobians, their products with vectors, and those of Hessians.

A Jacobian is a gradient for each output, and read so: all outputs at once. A vector-Jacobian product is the gradient of
a weighted sum of the outputs, and is checked as one. A Jacobian-vector product is compared direction by direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fallline.causes import Block, find_causes
from fallline.check import MISS, NEARBY, NO_POWER, Checker
from fallline.evaluate import Function, as_python
from fallline.locate import SMALL, describe_mask
from fallline.native import is_native
from fallline.options import Options
from fallline.preflight import ROUNDING, Calls, Preflight, preflight_map
from fallline.probes import Probe
from fallline.readings import Judgement, Line, MatrixSlope, Slope
from fallline.report import BlockReport, EntryReport, Report
from fallline.search import WORST_SHOWN
from fallline.setting import describe
from fallline.site import nearby, random_line, usual_scales
from fallline.space import Space, as_array, kind_of
from fallline.trees import leaves

__all__ = ["check_hvp", "check_jacobian", "check_products"]

Array = npt.NDArray[Any]

NAMED = 5  # outputs that are listed


class _Map:
    """A function with several outputs at a point, and directions to compare it along."""

    def __init__(self, owner: str, f: Any, x: Any, args: tuple[Any, ...], bounds: Any, rng: Any) -> None:
        options = Options(bounds=bounds, rng=rng)
        self.owner, self.f, self.args, self.given_bounds = owner, f, args, bounds
        self.space = Space(owner, x)
        if self.space.size == 0:
            raise ValueError(f"{owner}(x): must have at least one entry; got none. Pass a point to check at.")
        self.function = Function(owner, f, self.space, args=args)
        self.bounds = options.bounds_of(owner, self.space)
        self.rng = options.generator(owner)
        self.seed = int(rng) if isinstance(rng, (int, np.integer)) else None
        self.value = self.function.at_origin()[0]
        if self.value.dtype.kind == "c":
            raise TypeError(
                f"{owner}(f): must return real numbers; got {self.value.dtype}. Check its parts one by one."
            )
        if not np.isfinite(self.value).all():
            raise ValueError(
                f"{owner}(f): must be finite at x; got {self.value[~np.isfinite(self.value)][0]}. Choose another point."
            )
        if len(self.value) == 0:
            raise ValueError(
                f"{owner}(f): must return at least one number; got an array of shape {self.shape}. Return the outputs."
            )
        self.scales = usual_scales(self.space)
        eps = max(self.space.coarsest, self.function.eps)
        self.probe = Probe(self.function, self.value, self.bounds, eps)
        self.precision = self.space.coarsest  # of yours
        self.nfev = self.ngev = 0  # besides those of the function

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of f's result."""
        return self.function.shape or ()

    def coarsen(self, eps: float) -> None:
        """Allow for the precision of what yours returned."""
        self.precision = max(self.precision, eps)
        self.probe.eps = max(self.probe.eps, eps)

    def line(self) -> Line:
        """Return a random direction of x's scale."""
        return random_line(self.space, self.scales, self.bounds, self.rng)

    def direction(self, line: Line) -> Any:
        """Return a direction in the structure of x."""
        flat = np.zeros(self.space.size)
        flat[line.index] = line.units
        return self.space.arrange(flat)

    def preflight(self, calls: _Calls) -> Preflight:
        """Ask whether f and yours are functions of x at all; allow for the rounding of yours."""
        near = nearby(self.space, NEARBY * self.scales, self.bounds, self.rng)
        before = preflight_map(calls, self.value, self.outputs, near)
        self.nfev += calls.nfev
        self.ngev += calls.ngev
        self.coarsen(before.eps)
        return before

    def outputs(self, result: Any) -> Array:
        """Return what f returned as a flat vector of doubles."""
        return np.array(as_array(result), np.float64).ravel()

    def report(self, verdict: Any, reason: str, what: str, **found: Any) -> Report:
        """Return the report."""
        nfev = self.function.nfev + self.nfev
        return Report(verdict, reason, nfev=nfev, ngev=self.ngev, seed=self.seed, what=what, **found)


class _Calls(Calls):
    """f, and yours as a function of x alone, watched; `read` makes numbers of what it returned, and tells their eps."""

    def __init__(
        self,
        task: _Map,
        yours: Callable[..., Any],
        name: str,
        what: str,
        read: Callable[[Any], tuple[Array, float]],
    ) -> None:
        of = "gradient" if name == "hvp" else "f"
        super().__init__(task.owner, task.f, yours, task.args, task.space, name, what, of)
        self.read = read
        self.shape: tuple[int, ...] = ()

    def flatten(self, result: Any) -> tuple[Array, float]:
        """Return yours as a flat vector of doubles, a copy, and the eps of its precision."""
        numbers, eps = self.read(result)
        self.shape = numbers.shape
        return numbers.ravel(), eps

    def place(self, entry: int) -> str:
        """Say in words where an entry of the flat vector is."""
        return str([int(i) for i in np.unravel_index(entry, self.shape)])


def _check_callable(owner: str, **functions: Any) -> None:
    for name, function in functions.items():
        if is_native(function) or not callable(function):
            raise TypeError(f"{owner}({name}): must be a Python function; got {type(function).__name__}. Pass one.")


def _what(given: Any, array: Array) -> str:
    """Say what was returned for real numbers of some shape."""
    return f"shape {array.shape}" if array.dtype.kind in "biuf" else kind_of(given, array)


def _eps(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0


def _coarsest(tree: Any) -> float:
    return max(_eps(as_array(part).dtype) for _, part in leaves(tree))


def _verdict(judgements: list[Judgement]) -> tuple[str, str, float, list[str]]:
    """Return the verdict on several directions, its reason, the power, and notes."""
    findings = {judgement.finding for judgement in judgements}
    powers = MISS * np.min([judgement.reading.qualities for judgement in judgements], axis=0)
    seen = powers <= NO_POWER
    power = float(np.max(powers[seen], initial=0.0)) if seen.any() else np.nan
    notes = []
    if seen.any() and not seen.all():
        listed = ", ".join(map(str, np.flatnonzero(~seen)[:NAMED])) + (", ..." if (~seen).sum() > NAMED else "")
        notes.append(f"too small beside the noise of f to be judged: the derivatives of outputs {listed}")
    if "kink" in findings:
        notes.append("x lies on a kink of f, and yours is between the one-sided derivatives there")
    if findings & {"wrong", "wrong at kink"}:
        return "fail", "it disagrees with f along a random direction", power, notes
    if "unclear" in findings:
        return "inconclusive", "f is too noisy, or not smooth enough, to tell", power, notes
    if all(judgement.reading.constant and not judgement.reading.yours.any() for judgement in judgements):
        return "pass", "f does not change, and yours is 0", power, notes
    if not seen.any():
        return "inconclusive", "the derivatives are too small beside the noise of f to be compared", power, notes
    return "pass", f"a relative error above {power:.0e} would have been seen", power, notes


# Jacobians


def check_jacobian(
    f: Callable[..., Any],
    jac: Callable[..., Any],
    x: Any,
    *,
    args: tuple[Any, ...] = (),
    bounds: Any = None,
    rng: int | np.random.Generator = 0,
) -> Report:
    """Check a Jacobian against f, and if it is wrong, say in which entries.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a number or an array.
    jac : callable
        ``jac(x, *args)`` returns the Jacobian: f's shape + x.shape, a matrix (outputs, size of x), a tree of such
        arrays if x is a tree, or a scipy.sparse array. No pattern is trusted: directions move all columns.
    x : number, array or tree of arrays
    args, bounds, rng
        As `check_gradient`.

    Returns
    -------
    Report

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it must be, or f is not finite at x.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> f = lambda x: np.array([x[0] * x[1], np.sin(x[1])])
    >>> jac = lambda x: np.array([[x[1], x[0]], [0, np.cos(x[1])]])
    >>> fl.check_jacobian(f, jac, np.array([2.0, 3.0])).passed
    True
    """
    _check_callable("check_jacobian", jac=jac)
    task = _Map("check_jacobian", f, x, args, bounds, rng)
    before = task.preflight(_Calls(task, jac, "jac", "Jacobian", lambda given: _matrix(task, given)))
    if before.verdict is not None or before.gradient is None:
        return task.report(before.verdict, before.reason, "jacobian", causes=before.causes)
    matrix = before.gradient.reshape(len(task.value), task.space.size)
    slope = MatrixSlope(matrix)
    judgements = [task.probe.judge(slope, task.line()) for _ in range(2)]
    verdict, reason, power, notes = _verdict(judgements)
    if verdict != "fail":
        return task.report(verdict, reason, "jacobian", power=power, notes=notes)
    return _locate_in_jacobian(task, f, jac, matrix, slope, power)


def _matrix(task: _Map, given: Any) -> tuple[Array, float]:
    """Return a Jacobian as (outputs, size), a copy, and the eps of its coarsest part, or raise."""
    outputs, eps = len(task.value), 0.0
    named = {"0": given} if task.space.is_array else dict(leaves(given))
    parts = []
    for leaf in task.space.leaves:
        part: Any = named.pop(leaf.name, None)
        array = as_array(_dense(part))
        if array.dtype.kind not in "biuf" or array.size != outputs * leaf.size:
            shape = (*task.shape, *leaf.shape)
            raise ValueError(
                f"{task.owner}(jac): must return real numbers of shape {shape} for {task.space.label(leaf)}; got "
                f"{_what(part, array)}. Return f's shape followed by x's."
            )
        eps = max(eps, _eps(array.dtype))
        parts.append(array.astype(np.float64).reshape(outputs, leaf.size))
    if named:
        raise ValueError(
            f"{task.owner}(jac): must be of x's structure; got {next(iter(named))!r}, which x has not. Leave it out."
        )
    return np.concatenate(parts, axis=1), eps


def _dense(part: Any) -> Any:
    """Return a matrix in full: sparse ones of SciPy, JAX and torch name the way to do so differently."""
    for name in ("toarray", "todense", "to_dense"):
        if hasattr(part, name):
            return getattr(part, name)()
    return part


def _locate_in_jacobian(task: _Map, f: Any, jac: Any, matrix: Array, slope: MatrixSlope, power: float) -> Report:
    """Differentiate by single entries, which gives whole columns, and compare them."""
    n = task.space.size
    columns = np.arange(n) if n <= SMALL else np.sort(task.rng.choice(n, SMALL, replace=False))
    numeric, error = np.full(matrix.shape, np.nan), np.full(matrix.shape, np.nan)
    wrong = np.zeros(matrix.shape, bool)
    for column in columns:
        scale = task.scales[column]
        judgement = task.probe.judge(slope, Line(np.array([column]), np.array([scale])))
        numeric[:, column] = judgement.reading.numeric / scale
        error[:, column] = judgement.reading.bound / scale
        if judgement.finding in ("wrong", "wrong at kink"):
            wrong[:, column] = np.abs(matrix[:, column] - numeric[:, column]) > error[:, column]
    known = np.isfinite(numeric)
    gap = np.where(known, np.abs(matrix - np.nan_to_num(numeric)), 0.0)
    size = float(np.linalg.norm(numeric[known])) or 1.0
    block = BlockReport(
        "J", matrix.shape, "wrong", float(np.linalg.norm(gap)) / size, power, describe_mask(wrong, known)
    )
    places = sorted(np.argwhere(wrong).tolist(), key=lambda at: -gap[at[0], at[1]])[:WORST_SHOWN]
    worst = [
        EntryReport(
            "J", (row, column), float(matrix[row, column]), float(numeric[row, column]), float(error[row, column])
        )
        for row, column in places
    ]
    point = np.broadcast_to(task.space.flat, matrix.shape)
    setting = describe(f, jac, task.args, task.space, float(task.value[0]))
    causes = find_causes([Block("J", point, matrix, numeric, error, wrong=True)], setting)
    reason = "the Jacobian disagrees with f along a random direction"
    return task.report("fail", reason, "jacobian", causes=causes, blocks=[block], worst=worst, power=power)


# Products


class _ProductSlope:
    """A Jacobian-vector product along one direction."""

    def __init__(self, product: Array) -> None:
        self.product = product

    def along(self, line: Line, t: Array, taken: Array) -> Array:
        """Return t times the product."""
        return np.asarray(t[:, None] * self.product)

    def size(self, line: Line) -> Array:
        """Return its magnitude."""
        return np.abs(self.product)


def check_products(
    f: Callable[..., Any],
    x: Any,
    *,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    args: tuple[Any, ...] = (),
    bounds: Any = None,
    rng: int | np.random.Generator = 0,
) -> Report:
    """Check Jacobian-vector products (forward mode), vector-Jacobian products (reverse mode), or both, against f.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a number or an array.
    x : number, array or tree of arrays
    jvp : callable, optional
        ``jvp(x, v, *args)`` returns the Jacobian times v, of f's shape; v has x's structure.
    vjp : callable, optional
        ``vjp(x, u, *args)`` returns u times the Jacobian, in x's structure; u has f's shape.
    args, bounds, rng
        As `check_gradient`.

    Returns
    -------
    Report
        With both, they are also compared with each other, without any difference of f: the dot-product test.

    Raises
    ------
    TypeError, ValueError
        If neither product is given, or an argument is not what it must be.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> A = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> f, x = lambda x: A @ x, np.array([1.0, -1.0])
    >>> fl.check_products(f, x, jvp=lambda x, v: A @ v, vjp=lambda x, u: u @ A).passed
    True
    >>> fl.check_products(f, x, vjp=lambda x, u: -u @ A).causes[0].name
    'sign'
    """
    if jvp is None and vjp is None:
        raise TypeError("check_products: must be given a product to check; got neither jvp nor vjp. Pass one, or both.")
    given = {"jvp": jvp, "vjp": vjp}
    _check_callable("check_products", **{name: product for name, product in given.items() if product is not None})
    task = _Map("check_products", f, x, args, bounds, rng)
    reports = []
    if jvp is not None:
        reports.append(_check_jvp(task, jvp, "jvp"))
    if vjp is not None:
        reports.append(_check_vjp(task, f, vjp))
    if jvp is not None and vjp is not None and all(report.passed for report in reports):
        reports.append(_check_adjoint(task, jvp, vjp))
    decisive = next((report for report in reports if not report.passed), reports[-1])
    return replace(decisive, nfev=task.function.nfev + task.nfev, ngev=task.ngev)


def _product(task: _Map, jvp: Callable[..., Any], line: Line) -> Array:
    """Call jvp along a line, or raise."""
    task.ngev += 1
    result = jvp(task.space.arrange(np.array(task.space.flat)), task.direction(line), *task.args)
    product, eps = _outputs(task, result)
    task.coarsen(eps)
    return product


def _outputs(task: _Map, result: Any) -> tuple[Array, float]:
    """Return what jvp returned as a flat vector, a copy, and its eps, or raise."""
    array = as_array(result)
    if array.dtype.kind not in "biuf" or array.size != len(task.value):
        raise ValueError(
            f"{task.owner}(jvp): must return real numbers of f's shape {task.shape}; got {_what(result, array)}. "
            f"Return the Jacobian times v."
        )
    return array.astype(np.float64).ravel(), _eps(array.dtype)


def _check_jvp(task: _Map, jvp: Callable[..., Any], what: str) -> Report:
    def along(x: Any, *args: Any) -> Any:
        return jvp(x, task.direction(line), *args)

    line = task.line()
    before = task.preflight(_Calls(task, along, what, "product", lambda given: _outputs(task, given)))
    if before.verdict is not None:
        return task.report(before.verdict, before.reason, what, causes=before.causes)

    def judge(line: Line) -> Judgement:
        slope: Slope = _ProductSlope(_product(task, jvp, line))
        return task.probe.judge(slope, line)

    judgements = [judge(task.line()) for _ in range(2)]
    verdict, reason, power, notes = _verdict(judgements)
    blocks = []
    if verdict == "fail" and len(task.space.leaves) > 1:
        whole = judgements[0].reading.line
        for leaf in task.space.leaves:
            finding = judge(whole.part(np.arange(leaf.start, leaf.stop))).finding
            blocks.append(BlockReport(leaf.name, leaf.shape, "wrong" if "wrong" in finding else "right", None, power))
    return task.report(verdict, f"{what}: {reason}", what, blocks=blocks, power=power, notes=notes)


def _check_vjp(task: _Map, f: Callable[..., Any], vjp: Callable[..., Any]) -> Report:
    """Check the gradient of a weighted sum of the outputs."""
    u = task.rng.standard_normal(task.shape)
    python_f = as_python(task.owner, f, task.space, task.args)

    def weighted(x: Any, *args: Any) -> Any:
        return np.sum(u * as_array(python_f(x, *args)))

    def gradient(x: Any, *args: Any) -> Any:
        return vjp(x, np.array(u), *args)

    x = task.space.arrange(np.array(task.space.flat))
    checker = Checker(
        task.owner, weighted, gradient, x, args=task.args, bounds=task.given_bounds, rng=task.rng, what="vjp"
    )
    report = checker.run()
    task.nfev += report.nfev
    task.ngev += report.ngev
    return replace(report, seed=task.seed)


def _check_adjoint(task: _Map, jvp: Callable[..., Any], vjp: Callable[..., Any]) -> Report:
    """Compare u . (J v) with (u J) . v."""
    line = task.line()
    u = task.rng.standard_normal(task.shape)
    forward = _product(task, jvp, line)
    task.ngev += 1
    given = vjp(task.space.arrange(np.array(task.space.flat)), np.array(u), *task.args)
    backward = task.space.flatten(f"{task.owner}(vjp)", given)
    task.coarsen(_coarsest(given))
    terms = np.concatenate([u.ravel() * forward, -backward[line.index] * line.units])
    size = float(np.linalg.norm(terms))
    error = abs(float(terms.sum())) / size if size else 0.0
    allowed = ROUNDING * task.precision * np.sqrt(len(terms))
    verdict = "pass" if error <= allowed else "fail"
    reason = (
        f"u.(Jv) and (uJ).v differ by {error:.1e} of their size"
        if verdict == "fail"
        else "jvp and vjp agree with f and each other"
    )
    return task.report(verdict, reason, "products", power=allowed)


def check_hvp(
    gradient: Callable[..., Any],
    hvp: Callable[..., Any],
    x: Any,
    *,
    args: tuple[Any, ...] = (),
    bounds: Any = None,
    rng: int | np.random.Generator = 0,
) -> Report:
    """Check Hessian-vector products against a gradient.

    Parameters
    ----------
    gradient : callable
        ``gradient(x, *args)``, in x's structure. Check it with `check_gradient` first.
    hvp : callable
        ``hvp(x, v, *args)`` returns the Hessian times v, in x's structure.
    x : number, array or tree of arrays
    args, bounds, rng
        As `check_gradient`.

    Returns
    -------
    Report
        Products must also be symmetric: w . (H v) = v . (H w).

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it must be.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> gradient = lambda x: np.array([2 * x[0] * x[1], x[0] ** 2])
    >>> hvp = lambda x, v: np.array([2 * x[1] * v[0] + 2 * x[0] * v[1], 2 * x[0] * v[0]])
    >>> fl.check_hvp(gradient, hvp, np.array([1.0, 2.0])).passed
    True
    """
    _check_callable("check_hvp", gradient=gradient, hvp=hvp)
    space = Space("check_hvp", x)

    def flat_gradient(x: Any, *args: Any) -> Array:
        return space.flatten("check_hvp(gradient)", gradient(x, *args))

    def flat_product(x: Any, v: Any, *args: Any) -> Array:
        product = hvp(x, v, *args)
        task.coarsen(_coarsest(product))
        return space.flatten("check_hvp(hvp)", product)

    task = _Map("check_hvp", flat_gradient, x, args, bounds, rng)
    report = _check_jvp(task, flat_product, "hvp")
    if not report.passed:
        return report
    v, w = task.line(), task.line()
    terms = np.concatenate([w.units * _product(task, flat_product, v), -v.units * _product(task, flat_product, w)])
    size = float(np.linalg.norm(terms))
    allowed = ROUNDING * task.precision * np.sqrt(len(terms))
    if size and abs(float(terms.sum())) > allowed * size:
        reason = f"w.(Hv) and v.(Hw) differ by {abs(float(terms.sum())) / size:.1e} of their size: it is not symmetric"
        return task.report("fail", reason, "hvp", power=report.power)
    return task.report("pass", report.reason, "hvp", power=report.power)
