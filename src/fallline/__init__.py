"""Gradient descent on NumPy arrays: gradients you can trust, steps at the speed of memory."""

__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fallline.optim import (
    ADOPT,
    ASGD,
    FTRL,
    LAMB,
    LARS,
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Adan,
    AdEMAMix,
    Lion,
    Momentum,
    NAdam,
    Nesterov,
    RAdam,
    RMSprop,
    Rprop,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Signum,
    Yogi,
    optimizers,
)
from fallline.optimizer import Optimizer
from fallline.runtime import get_num_threads, set_num_threads, show_config
from fallline.train import Epoch, History, StopTraining, batches, train

if TYPE_CHECKING:
    from fallline import plot, problems, schedules

__all__ = [
    "ADOPT",
    "ASGD",
    "FTRL",
    "LAMB",
    "LARS",
    "SGD",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adan",
    "Epoch",
    "History",
    "Lion",
    "Momentum",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Signum",
    "StopTraining",
    "Yogi",
    "batches",
    "get_num_threads",
    "optimizers",
    "plot",
    "problems",
    "schedules",
    "set_num_threads",
    "show_config",
    "train",
]

# Imported when first used, so that importing fallline costs little more than importing NumPy.
_LATER = ("plot", "problems", "schedules")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'fallline' has no attribute {name!r}")
    return import_module(f"fallline.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
