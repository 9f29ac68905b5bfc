from collections.abc import Callable
from typing import Any, Literal, Self, TypeAlias, final

import numpy as np
import numpy.typing as npt

_Array: TypeAlias = npt.NDArray[Any]

def instruction_sets() -> dict[str, bool]: ...
def instruction_set() -> str: ...
def rules() -> dict[str, dict[str, list[str]]]: ...
def start_values(rule: str, hypers: list[float]) -> tuple[list[float], list[float]]: ...
def set_default_threads(n: int) -> None: ...
def default_threads() -> int: ...
def is_supported(dtype: npt.DTypeLike) -> bool: ...

L2: int

@final
class Plan:
    names: list[str]
    steps: int
    skipped: int
    def __new__(cls, rule: str, names: list[str], structure: Any, n_groups: int) -> Self: ...
    def place(
        self,
        i: int,
        param: _Array,
        group: int,
        states: list[_Array],
        running: npt.NDArray[np.float64],
        average: _Array | None = None,
        master: npt.NDArray[np.float32] | None = None,
        stochastic: bool = False,
    ) -> None: ...
    def arrange(self, owners: list[_Array]) -> None: ...
    def check_params(self) -> None: ...
    def set_group(self, i: int, hypers: list[float], l2: float, maximize: bool, frozen: bool) -> None: ...
    def set_number(self, i: int, index: int, number: float) -> None: ...
    def set_options(
        self,
        scale: float,
        clip_value: float | None,
        clip_norm: float | None,
        average_decay: float | None,
        seed: int,
        nonfinite: Literal["raise", "skip", "ignore"],
        threads: int,
    ) -> None: ...
    def step(self, grads: Any) -> None: ...

_Floats: TypeAlias = npt.NDArray[np.float64]
_Indices: TypeAlias = npt.NDArray[np.uintp]

class Block:
    start: int
    stop: int
    shape: tuple[int, ...]
    def __init__(self, start: int, shape: tuple[int, ...], is_plain: bool) -> None: ...

def views(layout: Any, flat: _Array) -> Any: ...
def gather(layout: Any, tree: Any, out: _Floats) -> float | None: ...

OUTSIDE: float

def stencil(order: int, nodes: _Floats) -> _Floats: ...
def stencil_error(order: int, nodes: _Floats) -> tuple[int, float]: ...
def differences(weights: _Floats, values: _Floats, factors: _Floats) -> _Floats: ...
def noise(values: _Floats) -> tuple[float, Literal["found", "large", "small"]]: ...
def reading(
    steps: _Floats, six: _Floats, four: _Floats, distance: float, change: _Floats, along: _Floats
) -> tuple[_Floats, bool, bool]: ...
def extrapolate(
    differences: _Floats, roundoff: _Floats, ratio: float, power: int
) -> tuple[_Floats, _Floats, _Indices]: ...
def call_moved(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    build: Callable[[_Array], Any] | None,
    base: _Array,
    starts: _Indices | None,
    index: _Indices,
    moved: _Floats,
) -> list[Any]: ...
def floats(results: list[Any]) -> _Floats | None: ...
def same_bytes(a: _Array, b: _Array) -> bool: ...
def capsule_name(capsule: Any) -> str | None: ...

@final
class Native:
    def __new__(cls, function: Any, owner: Any) -> Self: ...
    def call_moved(self, base: _Floats, starts: _Indices | None, index: _Indices, moved: _Floats) -> _Floats: ...
    def differentiate(
        self,
        x: _Floats,
        index: _Indices,
        steps: _Floats,
        order: int,
        nodes: _Floats,
        weights: _Floats,
        origin: float,
    ) -> tuple[_Floats, _Floats, npt.NDArray[np.bool_]]: ...

def operations() -> dict[str, tuple[int, int]]: ...

class Tape:
    variables: tuple[str, ...]
    def __init__(
        self,
        names: tuple[str, ...],
        constants: _Floats,
        instructions: npt.NDArray[np.uint32],
        result: int,
    ) -> None: ...
    def __call__(self, x: npt.ArrayLike, /) -> float: ...
    def gradient(self, x: npt.ArrayLike, /) -> _Floats: ...
    def value_and_gradient(self, x: npt.ArrayLike, /) -> tuple[float, _Floats]: ...
    def hessian(self, x: npt.ArrayLike, /) -> _Floats: ...
    def _batch(self, x: _Array, values: _Floats | None, gradients: _Floats | None, threads: int) -> None: ...
    def _numbers(self, x: npt.ArrayLike, n_axes: int) -> _Floats: ...
    def native(self) -> Native: ...
    def capsule(self) -> Any: ...

class Objective:
    is_native: bool
    def __new__(cls, function: Any, owner: Any) -> Self: ...

class Descent:
    best_x: _Floats
    best_gradient: _Floats
    def __new__(
        cls,
        plan: Plan,
        objective: Objective,
        projection: Callable[[_Floats], _Floats] | tuple[_Floats, _Floats] | None,
        gtol: float,
        ftol: float,
        xtol: float,
        maximize: bool,
    ) -> Self: ...
    @property
    def value(self) -> float: ...
    @property
    def best(self) -> float: ...
    @property
    def n_steps(self) -> int: ...
    @property
    def n_evaluations(self) -> int: ...
    @property
    def stop(self) -> str: ...
    def start(self) -> None: ...
    def advance(self, n_steps: int, index: _Indices, table: _Floats, every: int) -> _Floats | None: ...

def advance_all(descents: list[Descent], n_steps: int, index: _Indices, table: _Floats, threads: int) -> None: ...

STOPS: dict[int, str]

class Samples:
    @property
    def is_canonical(self) -> bool: ...
    def __new__(
        cls,
        data: _Array,
        columns: npt.NDArray[np.int32] | None,
        starts: npt.NDArray[np.int32] | None,
        n_features: int,
        targets: _Floats,
        weights: _Floats | None,
    ) -> Self: ...

class Learner:
    n_averaged: int
    def __new__(
        cls,
        plan: Plan,
        loss: str,
        parameter: float,
        l2: float,
        l1: float,
        n_outputs: int,
        lr: int,
        only_seen: bool,
        is_exact: bool,
        average: tuple[_Floats, _Floats] | None,
    ) -> Self: ...
    @property
    def is_exact(self) -> bool: ...
    def learn(self, samples: Samples, order: _Indices, batch: int, index: _Indices, table: _Floats) -> float: ...

LOSSES: dict[str, int]
