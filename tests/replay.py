"""Run the rules of csrc/rules.h in NumPy, operation by operation as written: what a compiled rule must compute.

The file is read as text. A rule's expressions have the same grammar and the same precedence in C and in Python, and
every operator on NumPy arrays of one precision rounds once. So executing the text is the meaning of the text: no fused
multiply-add, no reassociation, no reciprocal. START, PREPARE and RATIO run in float64, once; their numbers are narrowed
once; MOMENTS, DIRECTION, NORMS and UPDATE run in the precision of the arithmetic.

What happens around a rule is here too, from the contract in csrc/fallline.h: the prologue of the gradient, the sums of
squares in 16 lanes and spans, the moving average of the weights.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

CSRC = Path(__file__).parent.parent / "csrc"
TEXT = (CSRC / "rules.h").read_text()
LANES = 16  # partial sums of a sum of squares
SPAN = int(re.search(r"FL_SPAN = (\d+)", (CSRC / "fallline.h").read_text())[1])

# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------

LISTS = ("HYPER", "RUNNING", "STATE", "DERIVED")
IN_DOUBLE = ("START", "PREPARE", "RATIO")
IN_LOOPS = ("MOMENTS", "DIRECTION", "UPDATE")
TOKEN = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d*)?|[=!<>]=|&&|\|\||[-+*/<>=]")
FUNCTIONS = {"SELECT", "MIN", "MAX", "TIMES", "ABS", "SIGN", "SQRT"}


@dataclass(frozen=True)
class Rule:
    """One rule, taken apart; `code` has every part that is not empty, `norms` the two quantities that are summed."""

    name: str
    hyper: tuple[str, ...]
    running: tuple[str, ...]  # without t
    state: tuple[str, ...]
    derived: tuple[str, ...]
    code: dict[str, CodeType]
    norms: tuple[CodeType, ...]


def blocks(text: str = TEXT) -> dict[str, str]:
    """Return what stands between the parentheses of every rule, by its name, with comments gone and macros replaced."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL).replace("\\\n", " ")
    macros = dict(re.findall(r"^#define +(\w+) (.*)$", text, flags=re.MULTILINE))
    text = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    for _ in range(2):  # ADAM_CONSTANTS uses BIAS_CORRECTION
        for name, body in macros.items():
            text = re.sub(rf"\b{name}\b", lambda _, body=body: body, text)
    found = {}
    for start in re.finditer(r"\bFL_RULE(?:_WITH_NORMS)?\(", text):
        block = " ".join(enclosed(text, start.end()).split())
        found[block.partition(",")[0]] = block
    return found


def enclosed(text: str, start: int) -> str:
    """Return the text from `start` up to the parenthesis that closes it."""
    depth = 1
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i]
    raise SyntaxError("a parenthesis is not closed")


def parts(block: str) -> dict[str, str]:
    """Return the content of every part of a rule, by the part's name."""
    found = {}
    for part in (*LISTS, *IN_DOUBLE, *IN_LOOPS, "NORMS"):
        start = re.search(rf"\b{part}\(", block)
        if start:
            found[part] = enclosed(block, start.end()).strip()
    return found


def read(block: str) -> Rule:
    """Return the rule that is written in a block."""
    name, part = block.partition(",")[0], parts(block)
    lists = {key: tuple(x.strip() for x in part[key].split(",") if x.strip()) for key in LISTS}
    for key in IN_LOOPS:
        refuse_what_c_reads_otherwise(name, part.get(key, ""))
    code = {key: compiled(part[key], name) for key in (*IN_DOUBLE, *IN_LOOPS) if part.get(key)}
    norms = tuple(compile(x.strip(), name, "eval") for x in part.get("NORMS", "").split(",") if x.strip())
    return Rule(name, *(lists[key] for key in LISTS), code, norms)


def rules(text: str = TEXT) -> dict[str, Rule]:
    """Return all rules by name."""
    return {name: read(block) for name, block in blocks(text).items()}


def refuse_what_c_reads_otherwise(name: str, text: str) -> None:
    """In C, a literal with a point is a double and would widen a float's operation; so is a function of libm."""
    for token in TOKEN.findall(text):
        if "." in token or (re.fullmatch(r"[A-Z]\w+", token) and token not in FUNCTIONS):
            raise SyntaxError(f"{name}: the loop must not use {token}")
    for call in re.findall(r"\b([a-z]\w*)\(", text):
        raise SyntaxError(f"{name}: the loop must not call {call}")


def compiled(text: str, name: str) -> CodeType:
    text = text.replace("&&", " and ").replace("||", " or ")
    statements = [re.sub(r"^(real|double) ", "", statement.strip()) for statement in text.split(";")]
    return compile("\n".join(statements), name, "exec")


# ---------------------------------------------------------------------------------------------------------------------
# Arithmetic
# ---------------------------------------------------------------------------------------------------------------------

# As C has them, on numbers. NumPy's own power and exponential need not be libm's.
IN_NUMBERS = {
    "SELECT": lambda condition, a, b: np.float64(a if condition else b),
    "MIN": lambda a, b: np.float64(a if a < b else b),
    "MAX": lambda a, b: np.float64(a if a > b else b),
    "TIMES": lambda a, b: np.float64(a * b if a * b >= np.finfo(np.float64).tiny else 0),
    "sqrt": np.sqrt,
    "pow": lambda a, b: np.float64(math.pow(a, b)),
    "exp": lambda a: np.float64(math.exp(a)),
    "log": lambda a: np.float64(math.log(a)),
}


def in_arrays(real: Any) -> dict[str, Any]:
    """Return the functions of a loop in the precision `real`; integer literals become numbers of it, as in C."""

    def same(x):
        return real(x) if isinstance(x, int) else x

    def select(condition, a, b):
        return np.where(condition, same(a), same(b))

    return {
        "SELECT": select,
        "MIN": lambda a, b: select(np.less(a, same(b)), a, b),
        "MAX": lambda a, b: select(np.greater(a, same(b)), a, b),
        "ABS": np.abs,
        "SIGN": lambda x: np.greater(x, 0).astype(real) - np.less(x, 0).astype(real),
        "SQRT": np.sqrt,
    }


def run(code: CodeType | None, functions: dict[str, Any], names: dict[str, Any], real: Any) -> None:
    """Execute a part of a rule; what it assigns is in `names` afterwards."""
    if code is None:
        return
    exec(code, functions | {"__builtins__": {}}, names)
    for name, value in names.items():
        if getattr(value, "dtype", None) != real:
            raise TypeError(f"{code.co_filename}: {name} must be of {real.__name__}; got {value!r}")


# ---------------------------------------------------------------------------------------------------------------------
# What surrounds a rule
# ---------------------------------------------------------------------------------------------------------------------


def span_sums(x: np.ndarray) -> Iterator[np.float64]:
    """Yield the sum of squares of every span of a tensor: element i in lane i % 16, lanes halved until one is left."""
    for start in range(0, x.size, SPAN):
        span = x[start : start + SPAN].astype(np.float64)
        padded = np.zeros(-(-span.size // LANES) * LANES)
        padded[: span.size] = span * span
        lanes = np.cumsum(padded.reshape(-1, LANES), axis=0)[-1]  # one row after the other, unlike np.sum
        while lanes.size > 1:
            half = lanes.size // 2
            lanes = lanes[:half] + lanes[half:]
        yield lanes[0]


def added(numbers: Any) -> np.float64:
    """Add from left to right; Python's own sum may compensate."""
    return reduce(operator.add, numbers, np.float64(0))


def clamped(g: np.ndarray, clip: float, real: Any) -> np.ndarray:
    function, clip = in_arrays(real), real(clip)
    return function["MAX"](-clip, function["MIN"](clip, g))


def prologue(g: np.ndarray, p: np.ndarray, scale: float, clip: float, l2: float) -> np.ndarray:
    """Return the gradient as the rule sees it."""
    real = g.dtype.type
    g = real(scale) * clamped(g, clip, real)
    return g + real(l2) * p if l2 != 0 else g


# ---------------------------------------------------------------------------------------------------------------------
# Stepping
# ---------------------------------------------------------------------------------------------------------------------


class Replay:
    """Tensors of one precision and one group that are stepped together, as a `fallline.Optimizer` should step them.

    `params` are arrays of one dimension. `p`, `state` and `average` hold all of them, one after the other; `running` is
    the same for all, because all are stepped every time.
    """

    def __init__(self, rule: Rule, params: list[np.ndarray], hypers: list[float], average: bool = False) -> None:
        self.rule = rule
        self.ends = np.cumsum([len(p) for p in params])
        self.p = np.concatenate(params)
        self.real = self.p.dtype.type
        names = {name: np.float64(x) for name, x in zip(rule.hyper, hypers, strict=True)}
        names |= {name: np.float64(0) for name in (*rule.running, *rule.state)}
        self._run_in_double("START", names)
        self.running = {"t": np.float64(0)} | {name: np.float64(names[name]) for name in rule.running}
        self.state = {name: np.full_like(self.p, names[name]) for name in rule.state}
        self.average = np.zeros_like(self.p) if average else None

    def step(
        self,
        grads: list[np.ndarray],
        hypers: list[float],
        l2: float = 0.0,
        *,
        maximize: bool = False,
        grad_scale: float = 1.0,
        clip_value: float = math.inf,
        clip_norm: float = math.inf,
        decay: float = 0.0,
    ) -> None:
        """Step all tensors; the arguments are the numbers that an optimizer hands to its plan."""
        with np.errstate(all="ignore"):
            g, clip = np.concatenate(grads), np.float64(clip_value) / grad_scale
            scale = self._shortened(g, np.float64(grad_scale), clip, clip_norm)
            g = prologue(g, self.p, -scale if maximize else scale, clip, l2)
            constants = self._prepared(hypers)
            for tensor in self._tensors() if self.rule.norms else [slice(None)]:
                self._step_tensor(tensor, g[tensor], dict(constants))
            if self.average is not None:
                decay = decay if self.running["t"] > 1 else 0.0  # the first average is the first weights
                moved = self.average + self.real(1 - decay) * (self.p - self.average)
                self.average = moved if self.real(decay) else self.p.copy()

    def _tensors(self) -> list[slice]:
        return [slice(start, end) for start, end in zip([0, *self.ends], self.ends, strict=False)]

    def _shortened(self, g, scale, clip, clip_norm):
        """Return the factor of the gradients after clipping by their global norm."""
        if math.isinf(clip_norm):
            return scale
        g = clamped(g, clip, self.real)
        norm = scale * np.sqrt(added(x for tensor in self._tensors() for x in span_sums(g[tensor])))
        return scale * (clip_norm / norm) if clip_norm < norm < math.inf else scale

    def _run_in_double(self, part, names):
        with np.errstate(all="ignore"):
            exec(self.rule.code.get(part, ""), IN_NUMBERS | {"__builtins__": {}}, names)

    def _prepared(self, hypers):
        """Advance the running numbers and return the hyperparameters and derived constants in double."""
        rule = self.rule
        names = {name: np.float64(x) for name, x in zip(rule.hyper, hypers, strict=True)}
        names |= self.running | {name: np.float64(0) for name in rule.derived}
        names["t"] += 1
        self._run_in_double("PREPARE", names)
        self.running = {name: np.float64(names[name]) for name in self.running}
        return {name: np.float64(names[name]) for name in (*rule.hyper, *rule.derived)}

    def _step_tensor(self, tensor, g, constants):
        rule, functions = self.rule, in_arrays(self.real)
        if rule.norms:
            names = self._loaded(tensor, g, constants)
            run(rule.code.get("MOMENTS"), functions, names, self.real)
            self._store(tensor, names)
            run(rule.code.get("DIRECTION"), functions, names, self.real)
            x, y = (np.sqrt(added(span_sums(eval(norm, functions, names)))) for norm in rule.norms)
            names = constants | {"x": x, "y": y}
            self._run_in_double("RATIO", names)
            constants[rule.derived[-1]] = np.float64(names[rule.derived[-1]])
        names = self._loaded(tensor, g, constants)
        run(rule.code.get("DIRECTION"), functions, names, self.real)
        run(rule.code["UPDATE"], functions, names, self.real)
        self._store(tensor, names)
        self.p[tensor] = names["p"]

    def _loaded(self, tensor, g, constants):
        narrowed = {name: self.real(x) for name, x in constants.items()}
        return {"p": self.p[tensor], "g": g} | {name: x[tensor] for name, x in self.state.items()} | narrowed

    def _store(self, tensor, names):
        for name, x in self.state.items():
            x[tensor] = names[name]
