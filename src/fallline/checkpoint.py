"""Checkpoints: what `state_dict` returns, checked and in a file.

A file is NumPy's npz without pickle: an entry ``fallline`` with everything but the arrays as JSON, and the arrays,
numbered in the order in which the JSON names them. bfloat16, which npz does not know, is stored as its bits.

What only files need is imported where it is needed: importing fallline should cost little more than importing NumPy.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

FORMAT = 1  # raised when an older fallline could not read what is written
_NEWER = "written by a newer fallline"


def packed(value: Any) -> Any:
    """Return a hyperparameter as numbers, lists and strings; a schedule as its text and, if it has one, its state."""
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


def _with_state(own: Any, given: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the schedules in a hyperparameter with the state that was saved with them."""
    if isinstance(given, list):
        for x, y in zip(own, given, strict=True):
            yield from _with_state(x, y)
    elif isinstance(given, dict) and given["state"] is not None:
        yield own, given["state"]


@contextmanager
def restored_schedules(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Iterator[None]:
    """Give schedules their saved states; take all of them back if that, or what follows, fails."""
    found = [one for own, given in pairs for name in own for one in _with_state(own[name], given[name])]
    before = [(schedule, schedule.state_dict()) for schedule, _ in found]
    try:
        for schedule, state in found:
            schedule.load_state_dict(state)
        yield
    except Exception:
        for schedule, state in before:
            schedule.load_state_dict(state)
        raise


# ---- does a state fit


def _refuse(must: str, got: Any, cure: str, kind: type[Exception] = ValueError) -> Exception:
    return kind(f"load_state_dict(state_dict): must {must}; got {got}. {cure}")


def check(given: Any, own: dict[str, Any]) -> None:
    """Raise unless a state fits an optimizer, whose own state is given for comparison, wholly."""
    unchanged = "Pass that dict unchanged."
    if not isinstance(given, dict):
        raise _refuse("be what state_dict returned", type(given).__name__, unchanged, TypeError)
    for key, value in own.items():
        if key not in given:
            raise _refuse("be what state_dict returned", f"{type(given).__name__} without the key {key!r}", unchanged)
        if type(given[key]) is not type(value):
            raise _refuse(f"have a value of type {type(value).__name__} for {key!r}", repr(given[key]), unchanged)
        if key == "format" and given[key] > FORMAT:
            raise _refuse(f"have a format up to {FORMAT}", f"{given[key]}, {_NEWER}", "Upgrade fallline.")
    for key, bound in (("steps", 2**62), ("skipped", 2**62), ("rng", 2**64)):
        if not 0 <= given[key] < bound:
            raise _refuse(f"have {key!r} between 0 and {bound - 1}", given[key], unchanged)
    _check_build(given, own)
    _check_hypers(given["options"], own["options"], "the options", "opt")
    for i, (settings, values) in enumerate(zip(own["groups"], given["groups"], strict=True)):
        _check_hypers(values, settings, f"group {i}", f"opt.groups[{i}]")
    _check_arrays(
        "state", *({f"{name}:{key}": array for name, key, array in _arrays(d["state"])} for d in (own, given))
    )


def _check_build(given: dict[str, Any], own: dict[str, Any]) -> None:
    """Compare what is fixed when an optimizer is built."""
    cure = "Build the optimizer with the settings it was saved with."
    if given["rule"] != own["rule"]:
        raise _refuse(f"be of the rule {own['rule']!r}", f"{given['rule']!r} (optimizer {given['optimizer']})", cure)
    if given["optimizer"] != own["optimizer"]:
        raise _refuse(f"be of the optimizer {own['optimizer']}", given["optimizer"], cure)
    if given["choices"] != own["choices"]:
        raise _refuse(f"have been built with {own['choices']}", given["choices"], cure)
    if len(given["groups"]) != len(own["groups"]):
        cure = "Build the optimizer with the groups it was saved with."
        raise _refuse(f"have {len(own['groups'])} parameter groups", len(given["groups"]), cure)


def _check_hypers(given: Any, own: dict[str, Any], place: str, owner: str) -> None:
    if not isinstance(given, dict):
        raise _refuse(f"have a dict for {place}", repr(given), "Pass that dict unchanged.", TypeError)
    for name, value in own.items():
        if name not in given or not _same_kind(given[name], value):
            kind = "schedule" if isinstance(value, dict) else "number"
            got = repr(given.get(name, "nothing"))
            raise _refuse(
                f"have a {kind} for {name} of {place}, as the optimizer has", got, f"Assign {owner}.{name} first."
            )
    surplus = given.keys() - own.keys()
    if surplus:
        raise _refuse(
            f"have the hyperparameters of the optimizer for {place}", f"also {sorted(surplus)[0]!r}",
            "Build the optimizer that it was saved from.",
        )  # fmt: skip


def _same_kind(given: Any, own: Any) -> bool:
    """Return whether a packed hyperparameter can take the place of another: a schedule only that of a schedule."""
    if isinstance(own, list):
        return isinstance(given, list) and len(given) == len(own) and all(map(_same_kind, given, own))
    if isinstance(own, dict):
        is_schedule = isinstance(given, dict) and given.keys() == own.keys()
        return is_schedule and (given["state"] is None) == (own["state"] is None)
    return not isinstance(given, (dict, list))


def _arrays(state: dict[str, Any]) -> Iterator[tuple[str, str, np.ndarray]]:
    for name, own in state.items():
        if not isinstance(own, dict):
            raise _refuse(f"have a dict for the state of {name!r}", repr(own), "Pass that dict unchanged.", TypeError)
        for key, array in own.items():
            if not isinstance(array, np.ndarray):
                raise _refuse(f"have an array for {name}:{key}", repr(array), "Pass that dict unchanged.", TypeError)
            yield name, key, array


def check_params(own: dict[str, np.ndarray], given: dict[str, np.ndarray]) -> None:
    """Raise unless the parameters of a file fit those of the optimizer, and can be written to."""
    _check_arrays("params", own, given)
    for name, array in own.items():
        if not array.flags.writeable:
            raise ValueError(
                f"params[{name!r}]: must be writeable; got an array that was made read-only after the optimizer was "
                f"built. Set its flags.writeable."
            )


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


def write(path: str | os.PathLike[str], state_dict: dict[str, Any], params: dict[str, np.ndarray]) -> None:
    """Write a checkpoint aside, sync it and rename it over `path`, which may be a link to a file."""
    import json
    import secrets
    import shutil

    path = os.path.realpath(path)
    arrays = [(name, "param", array) for name, array in params.items()]
    arrays += [(name, f"state:{key}", array) for name, key, array in _arrays(state_dict["state"])]
    header = {key: value for key, value in state_dict.items() if key != "state"}
    header["arrays"] = [[name, key, array.dtype.name] for name, key, array in arrays]
    folder = os.path.dirname(path)
    aside = os.path.join(folder, f".fallline-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with open(aside, "xb") as file:
            if os.path.exists(path):
                shutil.copymode(path, aside)
            _write_npz(file, json.dumps(header), [array for *_, array in arrays])
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(aside)
        raise
    _sync_folder(folder)


def _write_npz(file: Any, header: str, arrays: list[np.ndarray]) -> None:
    """Write what np.savez would, array by array; entries are numbered, because a name may be any text."""
    import zipfile

    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        entries = [("fallline", np.array(header)), *((str(i), _to_bits(array)) for i, array in enumerate(arrays))]
        for key, array in entries:
            with archive.open(f"{key}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def _sync_folder(folder: str) -> None:
    """Make the renaming last through a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the state and the parameters of a file."""
    with open(path, "rb") as file:
        try:
            return _parse(file)
        except _Newer as newer:
            raise ValueError(
                f"load({str(path)!r}): must have a format up to {FORMAT}; got {newer}, {_NEWER}. Upgrade fallline."
            ) from None
        except Exception as error:  # what a damaged file makes zipfile, NumPy and JSON raise is no short list
            raise ValueError(
                f"load({str(path)!r}): must be a whole file that save wrote; got one that is not ({error}). "
                f"Use an earlier checkpoint."
            ) from error


def _parse(file: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    import json

    with np.load(file, allow_pickle=False) as entries:
        if not isinstance(entries, np.lib.npyio.NpzFile) or "fallline" not in entries:
            raise ValueError("it has no entry 'fallline'")
        header = json.loads(str(entries["fallline"]))
        if header["format"] > FORMAT:
            raise _Newer(header["format"])
        params: dict[str, np.ndarray] = {}
        state: dict[str, dict[str, np.ndarray]] = {}
        for i, (name, key, dtype) in enumerate(header.pop("arrays")):
            array = _from_bits(entries[str(i)], dtype)
            if key == "param":
                params[name] = array
            else:
                state.setdefault(name, {})[key.removeprefix("state:")] = array
    return header | {"state": state}, params


class _Newer(Exception):
    """The file's format is newer than this version."""


def _to_bits(array: np.ndarray) -> np.ndarray:
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def _from_bits(array: np.ndarray, name: str) -> np.ndarray:
    if name != "bfloat16":
        return array
    import ml_dtypes

    return array.view(ml_dtypes.bfloat16)
