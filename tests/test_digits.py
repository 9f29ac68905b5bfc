"""What the digits of numbers tell of how they were rounded."""

import numpy as np
import pytest

from fallline.digits import decimal_unit, is_single

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("digits", [1, 4, 8, 11])
def test_the_unit_of_rounded_numbers(digits):
    values = RNG.uniform(0.1, 1, 50)
    unit = 10.0**-digits
    for rounded in (np.round(values, digits), unit * np.round(values / unit), -np.round(values, digits)):
        assert decimal_unit(rounded) == pytest.approx(unit)


def test_units_of_other_sizes():
    assert decimal_unit(np.array([12300.0, 45600.0, 0.0])) in (1.0, 100.0)
    assert decimal_unit(np.array([1.5e-300, 2e-300])) == pytest.approx(1e-301)
    assert decimal_unit(np.array([0.25, 0.1])) == 0.01


def test_numbers_that_were_not_rounded_have_none():
    for scale in (1e-200, 1e-5, 1.0, 1e7, 1e200):
        values = scale * RNG.standard_normal((1000, 2))
        assert [decimal_unit(pair) for pair in values] == [0.0] * 1000
    assert decimal_unit(np.array([0.5, np.pi])) == 0.0
    assert decimal_unit(np.array([0.5, np.nan])) == 0.0
    assert decimal_unit(np.array([0.5, np.inf])) == 0.0


def test_single_precision():
    values = RNG.standard_normal(1000)
    assert not any(is_single(value) for value in values)
    assert np.mean([is_single(float(np.float32(value))) for value in values]) > 0.99
    assert is_single(float(np.float32(0.1)), 0.5)
    assert not is_single(0.1, float(np.float32(0.1)))


def test_short_numbers_tell_nothing():
    assert not is_single(0.0)
    assert not is_single(1.0, 0.75, -1024.0)
    assert not is_single(1e300)  # too large for it, and no warning
