"""Checkpoints: what `state_dict` returns, checked and in a file.

A file is NumPy's npz without pickle: an entry ``fallline`` with everything but the arrays as JSON, and one entry for
every array. bfloat16, which npz does not know, is stored as its bits.
"""

import json
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1  # raised when an older fallline could not read what is written


def packed(value: Any) -> Any:
    """Return a hyperparameter as numbers, tuples and strings; a schedule as its text and, if it has one, its state."""
    if isinstance(value, tuple):
        return [packed(x) for x in value]
    if not callable(value):
        return value
    return {"schedule": repr(value), "state": value.state_dict() if hasattr(value, "state_dict") else None}


def unpacked(given: Any, own: Any) -> Any:
    """Return the hyperparameter that a packed one stands for. A schedule is not read: it stays the optimizer's own."""
    if isinstance(given, list):
        return tuple(unpacked(x, y) for x, y in zip(given, own, strict=True))
    return own if isinstance(given, dict) else given


def restore_schedule(own: Any, given: Any) -> None:
    """Give the schedules in a hyperparameter the state that was saved with them."""
    if isinstance(given, list):
        for x, y in zip(own, given, strict=True):
            restore_schedule(x, y)
    elif isinstance(given, dict) and given["state"] is not None:
        own.load_state_dict(given["state"])


def _same_kind(given: Any, own: Any) -> bool:
    if isinstance(given, list):
        return isinstance(own, tuple) and len(given) == len(own) and all(map(_same_kind, given, own))
    if isinstance(given, dict):
        return callable(own) and hasattr(own, "load_state_dict") == (given["state"] is not None)
    return not callable(own) and not isinstance(own, tuple)


def check_state(optimizer: Any, state_dict: dict[str, Any]) -> None:
    """Raise unless the state fits the optimizer wholly."""
    if "format" not in state_dict:
        raise ValueError(
            f"load_state_dict(state_dict): must be what state_dict returned; got {type(state_dict).__name__} without "
            f"the key 'format'. Pass that dict unchanged."
        )
    if state_dict["format"] > FORMAT:
        raise ValueError(
            f"load_state_dict(state_dict): must have a format up to {FORMAT}; got {state_dict['format']}, written by a "
            f"newer fallline. Upgrade fallline."
        )
    if state_dict["rule"] != optimizer._built:
        raise ValueError(
            f"load_state_dict(state_dict): must be of the rule {optimizer._built!r}; got {state_dict['rule']!r} "
            f"(optimizer {state_dict['optimizer']}). Build the optimizer with the settings it was saved with."
        )
    _check_groups(optimizer._settings, state_dict["groups"])
    _check_arrays(
        "state", {f"{name}:{key}": array for name, own in optimizer._state.items() for key, array in own.items()},
        {f"{name}:{key}": array for name, own in state_dict["state"].items() for key, array in own.items()},
    )  # fmt: skip


def _check_groups(own: list[dict[str, Any]], given: list[dict[str, Any]]) -> None:
    if len(own) != len(given):
        raise ValueError(
            f"load_state_dict(state_dict): must have {len(own)} parameter groups; got {len(given)}. "
            f"Build the optimizer with the groups it was saved with."
        )
    for i, (settings, values) in enumerate(zip(own, given, strict=True)):
        for name, value in settings.items():
            if name not in values or not _same_kind(values[name], value):
                kind = "schedule" if callable(value) else "number"
                raise ValueError(
                    f"load_state_dict(state_dict): must have a {kind} for {name} of group {i}, as the optimizer has; "
                    f"got {values.get(name, 'nothing')!r}. Assign opt.groups[{i}].{name} first."
                )


def check_params(own: dict[str, np.ndarray], given: dict[str, np.ndarray]) -> None:
    """Raise unless the parameters of a file fit those of the optimizer."""
    _check_arrays("params", own, given)


def _check_arrays(what: str, own: dict[str, np.ndarray], given: dict[str, np.ndarray]) -> None:
    missing, surplus = own.keys() - given.keys(), given.keys() - own.keys()
    if missing or surplus:
        differences = (("lacks", missing), ("adds", surplus))
        lists = [f"{label} {', '.join(sorted(names))}" for label, names in differences if names]
        raise ValueError(
            f"load: must have the names of this optimizer's {what}; got a checkpoint that {' and '.join(lists)}. "
            f"Build the optimizer over the parameters it was saved with."
        )
    for name, array in own.items():
        if given[name].shape != array.shape or given[name].dtype != array.dtype:
            raise ValueError(
                f"load: {what}[{name!r}] must be {array.dtype} of shape {array.shape}; got {given[name].dtype} of "
                f"shape {given[name].shape}. Build the optimizer over the parameters it was saved with."
            )


# ---- files


def _to_bits(array: np.ndarray) -> np.ndarray:
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def write(path: str | Path, state_dict: dict[str, Any], params: dict[str, np.ndarray]) -> None:
    """Write a checkpoint aside, sync it and rename it over `path`."""
    path = Path(path)
    arrays = {f"params:{name}": array for name, array in params.items()}
    for name, own in state_dict["state"].items():
        arrays |= {f"state:{name}:{key}": array for key, array in own.items()}
    header = {key: value for key, value in state_dict.items() if key != "state"}
    header["dtypes"] = {key: array.dtype.name for key, array in arrays.items()}
    entries = {"fallline": np.array(json.dumps(header)), **{key: _to_bits(array) for key, array in arrays.items()}}
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            _write_npz(file, entries)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
    _sync_folder(path.parent)


def _write_npz(file: Any, entries: dict[str, np.ndarray]) -> None:
    """Write what np.savez would, whose keyword arguments leave no entry free to be called ``file``."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for key, array in entries.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def _sync_folder(folder: Path) -> None:
    """Make the renaming last through a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the state and the parameters of a file."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as entries:
            if not isinstance(entries, np.lib.npyio.NpzFile) or "fallline" not in entries:
                raise ValueError("no entry 'fallline'")
            header = json.loads(str(entries["fallline"]))
            if header["format"] > FORMAT:
                raise _Newer(header["format"])
            arrays = {key: _from_bits(entries[key], name) for key, name in header.pop("dtypes").items()}
    except _Newer as newer:
        raise ValueError(
            f"load({str(path)!r}): must have a format up to {FORMAT}; got {newer}, written by a newer fallline. "
            f"Upgrade fallline."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"load({str(path)!r}): must be a whole file that save wrote; got one that is not ({error}). "
            f"Use an earlier checkpoint."
        ) from error
    params = {key.removeprefix("params:"): array for key, array in arrays.items() if key.startswith("params:")}
    state: dict[str, dict[str, np.ndarray]] = {name: {} for name in params}
    for key, array in arrays.items():
        if key.startswith("state:"):
            name, _, part = key.removeprefix("state:").rpartition(":")
            state[name][part] = array
    return header | {"state": state}, params


class _Newer(Exception):
    """The file's format is newer than this version."""


def _from_bits(array: np.ndarray, name: str) -> np.ndarray:
    if name != "bfloat16":
        return array
    import ml_dtypes

    return array.view(ml_dtypes.bfloat16)
