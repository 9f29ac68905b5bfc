"""Build the compiled core ``fallline._core``; everything else is declared in pyproject.toml."""

import os
import sys
from glob import glob

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FALLLINE_DEBUG", "0") not in ("", "0")
# The C that Cython writes fits one version of NumPy's headers: builds against another one have a folder of their own.
BUILD = f"build/{'debug' if DEBUG else 'release'}/numpy-{np.__version__}"

# These come after the user's CFLAGS, and so win over them. -fno-fast-math has to be the first of them, because it also
# switches back on what the next two switch off (and then sqrt is no longer vectorised). At link time it keeps
# -ffast-math from linking the start-up code that makes every thread of the process flush subnormal numbers to zero.
NO_FAST_MATH = ["-fno-fast-math", "-fno-unsafe-math-optimizations"]
MATH = [*NO_FAST_MATH, "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
OPTIMIZE = ["-O1", "-g"] if DEBUG else ["-O3"]
STRIP = ["-Wl,-s"] if sys.platform == "linux" and not DEBUG else []

core = Extension(
    "fallline._core",
    sources=["src/fallline/_core/_core.pyx", *sorted(set(glob("csrc/*.c")) - {"csrc/selftest.c"})],
    depends=glob("csrc/*.h"),
    include_dirs=["csrc", np.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    extra_compile_args=[*OPTIMIZE, "-std=c11", *MATH, "-fvisibility=hidden", "-pthread"],
    extra_link_args=[*OPTIMIZE, *NO_FAST_MATH, "-pthread", *STRIP],
    libraries=["m"],
)

setup(
    ext_modules=cythonize(
        core,
        build_dir=f"{BUILD}/cython",
        include_path=["src/fallline/_core"],
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": DEBUG,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "embedsignature": True,
            "freethreading_compatible": True,
        },
    ),
    options={"build": {"build_base": BUILD}},
)
