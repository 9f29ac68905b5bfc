"""The package as it is shipped: version, source distribution, wheel, and the flags the core is compiled with."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import fallline

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Build the sdist and, from it, the wheel, as a user would whose CFLAGS ask for -ffast-math."""
    out = tmp_path_factory.mktemp("dist")
    env = {key: value for key, value in os.environ.items() if key != "FALLLINE_DEBUG"}
    env["CFLAGS"] = env["LDFLAGS"] = "-ffast-math"
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def sdist(dist):
    (path,) = dist.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def wheel(dist):
    (path,) = dist.glob("*.whl")
    return path


def test_version_has_one_source():
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert metadata.version("fallline") == fallline.__version__


def test_changelog_begins_with_this_version():
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert heading[1] == fallline.__version__


def test_build_requirements_agree():
    assert PYPROJECT["dependency-groups"]["build"] == PYPROJECT["build-system"]["requires"]


def test_selftest_is_compiled_with_the_flags_of_the_package():
    quoted = {name: re.findall(r'"(-f[^"]+)"', line) for name, line in assignments(ROOT / "setup.py", " = ")}
    made = {name: line.split() for name, line in assignments(ROOT / "Makefile", " *:= ")}
    assert made["MATH"] == quoted["NO_FAST_MATH"] + quoted["MATH"]


def assignments(path, operator):
    return re.findall(rf"^(\w+){operator}(.*)$", path.read_text(), flags=re.MULTILINE)


def test_console_script():
    (script,) = metadata.entry_points(group="console_scripts", name="fallline")
    assert callable(script.load())


def test_sdist_holds_every_file_of_the_repository(sdist):
    listed = tracked_files()
    if not listed:
        pytest.skip("not a git checkout: nothing to compare with")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in listed if (ROOT / name).exists()} <= held


def tracked_files():
    if shutil.which("git") is None:
        return []
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


def test_sdist_holds_nothing_built(sdist):
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    assert "_core.pyx" in {Path(name).name for name in names}
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc", "_core.c"))]


def test_wheel_holds_the_package_and_nothing_else(wheel):
    source = ROOT / "src"
    expected = {str(path.relative_to(source)) for path in source.glob("fallline/**/*.py")}
    expected |= {str(path.relative_to(source)) for path in source.glob("fallline/*.pyi")}
    expected |= {"fallline/py.typed", "fallline/page.html", "fallline/_core.so"}
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert sorted(re.sub(r"_core\.[\w-]+\.so$", "_core.so", name) for name in names) == sorted(expected)


def test_wheel_metadata(wheel):
    info = f"fallline-{fallline.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"{info}/METADATA").decode()
        assert "fallline = fallline.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert f"\nVersion: {fallline.__version__}\n" in text
    assert "\nLicense-Expression: BSD-3-Clause\n" in text
    assert re.findall(r"^Requires-Dist: ([^;\n]+)$", text, flags=re.MULTILINE) == ["numpy>=2.0"]


def test_wheel_is_small(wheel):
    assert wheel.stat().st_size <= 1.5e6


DESCEND = """
import hashlib, sys
import numpy as np
import fallline as fl

rng = np.random.default_rng(1)
p = rng.standard_normal(1000, dtype=np.float32)
opt = fl.Adam([p], lr=0.01)
for _ in range(10):
    opt.step([rng.standard_normal(1000, dtype=np.float32)])
subnormal = np.full(8, 1e-40, dtype=np.float32) * np.float32(0.5)
print(fl.__file__, hashlib.sha256(p.tobytes()).hexdigest(), bool(subnormal.all()))
"""


def test_fast_math_of_the_builder_does_not_reach_the_core(wheel, tmp_path):
    shutil.unpack_archive(wheel, tmp_path, "zip")
    shipped, installed = descend({"PYTHONPATH": str(tmp_path)}), descend({})
    assert Path(shipped[0]).is_relative_to(tmp_path)
    assert not Path(installed[0]).is_relative_to(tmp_path)
    assert shipped[1:] == installed[1:]
    assert shipped[2] == "True"


def descend(env):
    command = [sys.executable, "-c", DESCEND]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=True)
    return done.stdout.split()
