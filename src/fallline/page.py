"""The interactive page: a race of optimizers as one HTML file that needs nothing else, played in a browser."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

__all__ = ["write_page"]


def write_page(data: dict[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write a race as a page: surface, paths and losses, linked to one clock; playable, with every swept learning rate.

    Parameters
    ----------
    data : dict
        What `Race.to_dict` returns.
    path : path
        Where to; an existing file is replaced, but only once the new one is whole.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OSError
        If it cannot be written.

    Notes
    -----
    Styles, script and data are in the file; nothing is loaded, so it works from a disk without a network.
    """
    text = resources.files("fallline").joinpath("page.html").read_text(encoding="utf-8")
    # "</script>" in the data would end it; JSON may write "<" as an escape.
    own = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    target = Path(path)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        aside.write_text(text.replace(">DATA<", f">{own}<", 1), encoding="utf-8")
        aside.replace(target)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise type(error)(
            f"page: must be a file that can be written; got {str(target)!r} ({error.strerror}). Choose another path."
        ) from None
    return target
