"""Functions in machine code, which run without Python and without the GIL: of SciPy, ctypes and Numba."""

from __future__ import annotations

import re
import sys
from typing import Any

from fallline import _core

__all__ = ["as_native"]


def as_native(owner: str, f: Any) -> _core.Native | None:
    """Return f as a native function if it is one, or None; or raise if its signature is another."""
    if type(f).__name__ == "LowLevelCallable" and isinstance(f, tuple):  # scipy's, without importing it
        capsule = tuple.__getitem__(f, 0)
        _check_signature(owner, _core.capsule_name(capsule) or "none")
        return _core.Native(capsule, f)
    if type(f).__name__ == "CFunc" and hasattr(f, "ctypes"):  # numba's
        return as_native(owner, f.ctypes)
    ctypes = sys.modules.get("ctypes")  # whoever has such a function has imported it
    if ctypes is None or not isinstance(f, ctypes._CFuncPtr):
        return None
    if f._flags_ & ctypes._FUNCFLAG_PYTHONAPI:
        raise TypeError(
            f"{owner}(f): must be callable without the GIL if it is native; got a function of ctypes.PyDLL or "
            f"PYFUNCTYPE. Use ctypes.CDLL or CFUNCTYPE."
        )
    _check_signature(owner, _ctypes_signature(f))
    return _core.Native(ctypes.cast(f, ctypes.c_void_p).value, f)


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
_SIGNATURE = re.compile(rf"double\((double|void)\*,{_SIZE},void\*\)")


def _check_signature(owner: str, signature: str) -> None:
    if not _SIGNATURE.fullmatch(re.sub(r"\bconst\b|\s|\bc_", "", signature)):
        raise TypeError(
            f'{owner}(f): must have the signature "double (const double *, size_t, void *)" if it is native; got '
            f'"{signature}". Declare it so (for ctypes: restype and argtypes).'
        )
