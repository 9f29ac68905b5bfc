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
    from fallline import calculus, plot, problems, schedules
    from fallline.calculus.compiled import Compiled, compile
    from fallline.check import assert_gradient, check_gradient
    from fallline.check_maps import check_hvp, check_jacobian, check_products
    from fallline.derivatives import (
        Derivative,
        derivative,
        directional,
        gradient,
        hessian,
        hvp,
        jacobian,
        partial,
        vjp,
    )
    from fallline.minimizing import minimize
    from fallline.result import Result
    from fallline.scipy_protocol import scipy_method
    from fallline.starts import multistart

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
    "Compiled",
    "Derivative",
    "Epoch",
    "History",
    "Lion",
    "Momentum",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Result",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Signum",
    "StopTraining",
    "Yogi",
    "assert_gradient",
    "batches",
    "calculus",
    "check_gradient",
    "check_hvp",
    "check_jacobian",
    "check_products",
    "compile",
    "derivative",
    "directional",
    "get_num_threads",
    "gradient",
    "hessian",
    "hvp",
    "jacobian",
    "minimize",
    "multistart",
    "optimizers",
    "partial",
    "plot",
    "problems",
    "schedules",
    "scipy_method",
    "set_num_threads",
    "show_config",
    "train",
    "vjp",
]

# Imported when first used, so that importing fallline costs little more than importing NumPy.
_MODULES = ("calculus", "plot", "problems", "schedules")
_LATER = {
    "assert_gradient": "check",
    "check_gradient": "check",
    "check_hvp": "check_maps",
    "check_jacobian": "check_maps",
    "check_products": "check_maps",
    "Compiled": "calculus.compiled",
    "compile": "calculus.compiled",
    "Derivative": "derivatives",
    "derivative": "derivatives",
    "directional": "derivatives",
    "gradient": "derivatives",
    "hessian": "derivatives",
    "hvp": "derivatives",
    "jacobian": "derivatives",
    "partial": "derivatives",
    "vjp": "derivatives",
    "minimize": "minimizing",
    "multistart": "starts",
    "Result": "result",
    "scipy_method": "scipy_protocol",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"fallline.{name}")
    if name not in _LATER:
        raise AttributeError(f"module 'fallline' has no attribute {name!r}")
    value = getattr(import_module(f"fallline.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_LATER})
