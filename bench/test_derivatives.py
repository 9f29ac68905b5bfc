"""The overhead of numerical derivatives: what they take beyond the calls of the function itself."""

import ctypes
import functools
import os
import pathlib
import shlex
import subprocess
import sysconfig
import tempfile

import numpy as np
import pytest

import fallline as fl
from bench.harness import Bar, Race

N = 1000
BARE = "bare calls"
MANY = 100_000
SOURCE = """
#include <stddef.h>
double ends(const double *x, size_t n, void *user_data) { return x[0]*x[n - 1]; }
void call_often(double (*f)(const double *, size_t, void *), const double *x, size_t n, size_t times, double *values)
{
    for (size_t i = 0; i < times; i++)
        values[i] = f(x, n, NULL);
}
"""


def dot(x):
    return x @ x


def simulation(x):
    """Integrate springs in a ring whose stiffnesses are x, (..., k): many small steps, as for fitting a model."""
    place = np.zeros(x.shape) + np.arange(x.shape[-1]) / x.shape[-1]
    speed = np.zeros(x.shape)
    for _ in range(100):
        stretch = x * (np.roll(place, -1, axis=-1) - place)
        speed = 0.99 * speed + 0.01 * (stretch - np.roll(stretch, 1, axis=-1))
        place = place + 0.01 * speed
    return (place**2).sum(axis=-1)


def square_sum(x):
    return np.einsum("...i,...i", x, x)


@functools.cache
def library():
    """Compile the native function, and a loop that does nothing but call it."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "f.c"), pathlib.Path(folder, "f.so")
        source.write_text(SOURCE)
        subprocess.run([*compiler, "-std=c11", "-O3", "-shared", "-fPIC", str(source), "-o", str(target)], check=True)
        loaded = ctypes.CDLL(str(target))
    loaded.ends.restype = ctypes.c_double
    loaded.ends.argtypes = [ctypes.POINTER(ctypes.c_double), ctypes.c_size_t, ctypes.c_void_p]
    pointer = ctypes.c_void_p
    loaded.call_often.restype = None
    loaded.call_often.argtypes = [pointer, pointer, ctypes.c_size_t, ctypes.c_size_t, pointer]
    return loaded


def scipy_jacobian(f, x):
    from scipy.optimize._numdiff import approx_derivative

    return lambda: approx_derivative(f, x, method="3-point")


def numdifftools_gradient(f, x):
    import numdifftools

    gradient = numdifftools.Gradient(f)
    return lambda: gradient(x)


def low_level(f):
    from scipy import LowLevelCallable

    return LowLevelCallable(f)


def per_evaluation(race, name, n, unit):
    """Return what a contender takes beyond the bare calls, for each of the 2n evaluations."""
    return (race.best(name) - race.best(BARE)) / (2 * n) / unit


def test_cheap_function(benchmark, report):
    x = np.random.default_rng(0).standard_normal(N)
    race = Race(f"gradient of x @ x, {N} entries, central differences, and {2 * N} bare calls")
    race.add("fallline", lambda: fl.gradient(dot, x))
    race.add(BARE, "for _ in range(n): f(x)", n=2 * N, f=dot, x=x)
    race.invite("scipy approx_derivative", scipy_jacobian, dot, x)
    race.invite("numdifftools Gradient", numdifftools_gradient, dot, x)
    race.run(benchmark, rounds=42)
    table = race.table(BARE)
    ours = per_evaluation(race, "fallline", N, 1e-6)
    table.bars = [Bar("beyond the bare calls, per evaluation", ours, 0.4, "µs")]
    report(table)


@pytest.mark.parametrize(("f", "n", "least"), [(simulation, 20, 10), (square_sum, 100, None)])
def test_vectorized(benchmark, report, f, n, least):
    x = 1 + np.random.default_rng(0).random(n)
    race = Race(f"gradient of {f.__name__}, {n} entries: in one call, or in a loop")
    race.add("vectorized", lambda: fl.gradient(f, x, vectorized=True))
    race.add("loop", lambda: fl.gradient(f, x))
    race.run(benchmark, rounds=14)
    table = race.table("vectorized")
    if least is not None:
        table.bars = [race.bar("vectorized", "loop", 1 / least)]
    report(table)


def test_native(benchmark, report):
    """So many entries that what a call of gradient takes by itself, some 0.3 ms, is little beside."""
    x = np.random.default_rng(0).standard_normal(MANY)
    f, values = library().ends, np.empty(2 * MANY)
    address = ctypes.cast(f, ctypes.c_void_p)
    race = Race(f"gradient of a C function, {MANY} entries, central differences, and {2 * MANY} bare calls")
    race.add("ctypes function", lambda: fl.gradient(f, x))
    race.invite("scipy.LowLevelCallable", lambda: functools.partial(fl.gradient, low_level(f), x))
    race.add(BARE, lambda: library().call_often(address, x.ctypes.data, MANY, 2 * MANY, values.ctypes.data))
    race.run(benchmark, rounds=42)
    table = race.table(BARE)
    table.bars = [
        Bar(f"{name}, beyond the bare calls, per evaluation", per_evaluation(race, name, MANY, 1e-9), 30, "ns")
        for name in ("ctypes function", "scipy.LowLevelCallable")
        if name in race.seconds
    ]
    report(table)
