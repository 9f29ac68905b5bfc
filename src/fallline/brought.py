"""What a user of the command line brings: functions by the names of their modules, points as numbers or files."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["bring_function", "bring_point", "numbers", "speaking_for"]


def bring_function(owner: str, text: str) -> Any:
    """Import ``module:function``; modules of the current folder are found."""
    module, colon, name = text.partition(":")
    if not (module and colon and name) or module.startswith("."):
        raise ValueError(f"{owner}: must be written module:function; got {text!r}. For instance model:loss.")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"{owner}: must name a function that can be imported; got {text!r} ({error}). Check the names, and the "
            "folder."
        ) from None
    except (Exception, SystemExit) as error:  # a module may raise anything, or leave
        raise ImportError(
            f"{owner}: must be in a module that can be imported; got {text!r}, which raised {_said(error)}. Repair "
            "the module."
        ) from None
    return found


@contextmanager
def speaking_for(*texts: str) -> Iterator[None]:
    """Turn what the functions raise into a message that names the function and the line."""
    try:
        yield
    except Exception as error:
        files = {getattr(sys.modules[text.partition(":")[0]], "__file__", None) for text in texts}
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
        if not own:
            raise
        where = f"{Path(own[-1].filename).name}, line {own[-1].lineno}"
        raise RuntimeError(
            f"check: {own[-1].name} must return at the point and near it; got {_said(error)} ({where}). Repair it, or "
            "choose another point."
        ) from None


def bring_point(text: str) -> Any:
    """Return the point: numbers between commas, or what is in a file of NumPy's."""
    if Path(text).suffix not in (".npz", ".npy"):
        return numbers("at", text)
    try:
        loaded = np.load(text, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, EOFError, zipfile.BadZipFile):
        reason = "which is none, or holds objects"
    raise ValueError(
        f"at: must be a file of numbers that numpy.save or savez wrote; got {text!r} ({reason}). Write it anew, or "
        "check the path."
    )


def numbers(owner: str, text: str) -> np.ndarray[Any, Any]:
    """Return the numbers between commas."""
    try:
        return np.array([float(part) for part in text.split(",")])
    except ValueError:
        raise ValueError(f"{owner}: must be numbers between commas; got {text!r}. Write for instance 1.5,-2.") from None


def _said(error: BaseException) -> str:
    """Return an error in one line, without a full stop."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": .")
