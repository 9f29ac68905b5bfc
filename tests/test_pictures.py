"""The pictures of the documentation: drawn again, one for every function of fallline.plot."""

import importlib.util
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from fallline import plot

DOCS = Path(__file__).parents[1] / "docs"
FUNCTIONS = set(plot.__all__) - {"STYLE"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("pictures")
    module.draw(folder)
    return folder


def test_every_function_has_a_picture(drawn):
    assert {path.stem for path in drawn.glob("*.png")} == FUNCTIONS
    assert {path.stem for path in (DOCS / "pictures").glob("*.png")} == FUNCTIONS
    text = (DOCS / "pictures.md").read_text(encoding="utf-8")
    assert all(f"pictures/{name}.png" in text for name in FUNCTIONS)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_picture_is_as_it_was(drawn, name):
    """Fonts and versions of matplotlib differ a little; the picture does not."""
    now, then = (matplotlib.image.imread(folder / f"{name}.png")[..., :3] for folder in (drawn, DOCS / "pictures"))
    assert now.shape == then.shape
    assert now.std() > 0.05  # not blank
    assert np.mean(np.abs(now - then)) < 0.05
