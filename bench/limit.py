"""The memory-traffic limit: limit.c compiled for this machine, its passes as functions of NumPy arrays."""

import ctypes
import functools
import os
import pathlib
import shlex
import subprocess
import sysconfig
import tempfile


@functools.cache
def library():
    """Compile limit.c into a temporary folder and load it."""
    source = pathlib.Path(__file__).with_name("limit.c")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder, "limit.so")
        options = ["-std=c11", "-O3", "-march=native", "-pthread", "-shared", "-fPIC"]
        subprocess.run([*compiler, *options, str(source), "-o", str(target)], check=True)
        loaded = ctypes.CDLL(str(target))
    pointer = ctypes.c_void_p
    loaded.limit_move.argtypes = [ctypes.POINTER(pointer), ctypes.c_int, pointer, ctypes.c_size_t, ctypes.c_int]
    return loaded


def limit(changed, kept, *, threads, read_first=False):
    """Return a function that reads `kept` and reads and writes each of `changed` once, all of 4-byte elements.

    With `read_first`, `kept` is read once more, by a pass of its own before anything is written: what a step must do
    that checks its gradient, or takes its norm, first.
    """
    move = library().limit_move
    pointers = (ctypes.c_void_p * len(changed))(*[a.ctypes.data for a in changed])

    def run():
        if read_first and move(pointers, 0, kept.ctypes.data, kept.size, threads):
            raise RuntimeError("limit_move: refused its arguments or could not start its threads")
        if move(pointers, len(changed), kept.ctypes.data, kept.size, threads):
            raise RuntimeError("limit_move: refused its arguments or could not start its threads")

    run.arrays = changed, kept  # the pointers do not keep the arrays alive
    return run
