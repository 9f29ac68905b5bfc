"""A pytest fixture that checks gradients; found by pytest through the entry point of the package."""

import zlib
from collections.abc import Callable
from typing import Any

import pytest

__all__ = ["gradient_checker"]


@pytest.fixture
def gradient_checker(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return `fallline.assert_gradient` with a seed of its own for every test: tests look in different directions.

    The seed is a function of the test's id: a failure repeats. It is in the report; pass ``rng`` to choose another.

    Examples
    --------
    >>> def test_my_gradient(gradient_checker):
    ...     gradient_checker(my_loss, my_gradient, my_parameters)
    """
    from fallline.check import assert_gradient

    seed = zlib.crc32(request.node.nodeid.encode())

    def check(f: Any, df: Any, x: Any, **options: Any) -> Any:
        __tracebackhide__ = True  # a failure shows the test and the report
        return assert_gradient(f, df, x, **{"rng": seed, **options})

    return check
