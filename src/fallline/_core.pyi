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
