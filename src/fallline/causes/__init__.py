"""From numbers to causes: which mistake explains exactly how a gradient differs from the numerical derivative."""

from .catalogue import CATALOGUE, Block, Cause, Setting
from .find import find_causes

__all__ = ["CATALOGUE", "Block", "Cause", "Setting", "find_causes"]
