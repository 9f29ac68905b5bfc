"""Functions in machine code, which run without Python and without the GIL: of SciPy, ctypes and Numba."""

from __future__ import annotations

import re
import sys
from typing import Any

from fallline import _core

__all__ = ["as_native", "as_objective", "is_native"]

VALUE = "double (const double *, size_t, void *)"
VALUE_AND_GRADIENT = "double (const double *, size_t, double *, void *)"


def as_native(owner: str, f: Any) -> _core.Native | None:
    """Return f as a native function if it is one, or None; or raise if its signature is another."""
    address = _address(f"{owner}(f)", f, VALUE)
    return None if address is None else _core.Native(address, f)


def as_objective(owner: str, fun: Any) -> _core.Objective | None:
    """Return fun as an objective if it is native or compiled, or None; or raise if its signature is another."""
    address = fun if isinstance(fun, _core.Tape) else _address(f"{owner}(fun)", fun, VALUE_AND_GRADIENT)
    return None if address is None else _core.Objective(address, fun)


def is_native(f: Any) -> bool:
    """Tell whether f is a native function, of whatever signature."""
    return _is_scipys(f) or _is_numbas(f) or _is_of_ctypes(f) or _is_of_cffi(f)


def _is_scipys(f: Any) -> bool:  # without importing it
    return type(f).__name__ == "LowLevelCallable" and isinstance(f, tuple)


def _is_numbas(f: Any) -> bool:
    return type(f).__name__ == "CFunc" and hasattr(f, "ctypes")


def _is_of_ctypes(f: Any) -> bool:
    ctypes = sys.modules.get("ctypes")  # whoever has such a function has imported it
    return ctypes is not None and isinstance(f, ctypes._CFuncPtr)


def _is_of_cffi(f: Any) -> bool:
    return type(f).__module__ == "_cffi_backend" and callable(f)


def _address(name: str, f: Any, signature: str) -> Any:
    """Return where a native function is, as an int or a capsule, or None if it is not native."""
    if _is_scipys(f):
        capsule = tuple.__getitem__(f, 0)
        _check_signature(name, _core.capsule_name(capsule) or "none", signature)
        return capsule
    if _is_numbas(f):
        return _address(name, f.ctypes, signature)
    if _is_of_cffi(f):
        raise TypeError(
            f"{name}: must be of SciPy, ctypes or Numba if it is native; got a function of cffi. Pass "
            f"scipy.LowLevelCallable(f)."
        )
    return _ctypes_address(name, f, signature) if _is_of_ctypes(f) else None


def _ctypes_address(name: str, f: Any, signature: str) -> int:
    ctypes: Any = sys.modules["ctypes"]
    if f._flags_ & ctypes._FUNCFLAG_PYTHONAPI:
        raise TypeError(
            f"{name}: must be callable without the GIL if it is native; got a function of ctypes.PyDLL or "
            f"PYFUNCTYPE. Use ctypes.CDLL or CFUNCTYPE."
        )
    _check_signature(name, _ctypes_signature(f), signature)
    address: int | None = ctypes.cast(f, ctypes.c_void_p).value
    if address is None:
        raise ValueError(f"{name}: must point to a function if it is native; got a null pointer. Load it first.")
    return address


def _ctypes_signature(f: Any) -> str:
    import ctypes

    names = {
        ctypes.c_double: "double",
        ctypes.POINTER(ctypes.c_double): "double *",
        ctypes.c_size_t: "size_t",
        ctypes.c_void_p: "void *",
        None: "void",
    }
    arguments = ", ".join(names.get(kind, getattr(kind, "__name__", "?")) for kind in f.argtypes or ())
    return f"{names.get(f.restype, getattr(f.restype, '__name__', '?'))} ({arguments})"


# The names that ctypes, SciPy, Numba and C give to an integer of a pointer's size.
_SIZE = r"(s?size_t|Py_ssize_t|(unsigned)?long(long)?(int)?|ulong(long)?|u?int(p|64)(_t)?|u?intptr_t)"
_PATTERNS = {
    VALUE: re.compile(rf"double\((double|void)\*,{_SIZE},void\*\)"),
    VALUE_AND_GRADIENT: re.compile(rf"double\((double|void)\*,{_SIZE},(double|void)\*,void\*\)"),
}


def _check_signature(name: str, found: str, signature: str) -> None:
    if not _PATTERNS[signature].fullmatch(re.sub(r"\bconst\b|\s|\bc_", "", found)):
        raise TypeError(
            f'{name}: must have the signature "{signature}" if it is native; got "{found}". Declare it so (for ctypes: '
            f"restype and argtypes)."
        )
