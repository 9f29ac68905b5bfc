"""What six values of a function say of a derivative: what the core refuses, and what it makes of easy cases."""

import numpy as np
import pytest

from fallline import _core

STEPS = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
SIX = np.array([-1.0, 9.0, -45.0, 45.0, -9.0, 1.0]) / 60
FOUR = np.array([0.0, 1.0, -8.0, 8.0, -1.0, 0.0]) / 12
POINTS = _core.SixPoints(STEPS, SIX, FOUR, float(np.linalg.norm(SIX)))
EPS = float(np.finfo(np.float64).eps)


def read(f, yours, distance=2.0**-10, outputs=2, given=np.nan, **other):
    """Read f, a function of t and the number of the output, whose derivative is said to be `yours`."""
    t = STEPS * distance
    arrays = {
        "values": np.array([[f(s, j) for j in range(outputs)] for s in t]),
        "along": np.outer(t, np.full(outputs, yours)),
        "sizes": np.full(outputs, abs(yours)),
        "units": None,
    }
    value = np.array([f(0.0, j) for j in range(outputs)])
    known = _core.Known(value, np.zeros(outputs), given, EPS, EPS)
    return _core.Reading(POINTS, known, "the line", distance, **(arrays | other))


def test_a_right_derivative_is_within_its_bound():
    reading = read(lambda t, j: np.exp(t) + j, 1.0)
    assert reading.line == "the line"
    assert reading.is_right
    assert reading.is_bounded
    assert not reading.has_kink
    assert np.abs(reading.numeric - 1).max() <= reading.bound.max() < 1e-8
    assert reading.rank == (reading.quality, reading.bound.max())
    assert reading.quality == reading.qualities.max()


def test_a_gradient_may_be_off_by_what_its_terms_were_rounded_by():
    """A sum of terms of 1e6 that cancel to 1 is known to some 1e6*EPS; so is a slope beside a curvature of 1e7."""
    off = 1 + 8e6 * EPS
    assert read(lambda t, j: t + j, off, sizes=np.full(2, 1e6)).is_right
    assert not read(lambda t, j: t + j, off, sizes=np.ones(2)).is_right
    assert not read(lambda t, j: t + j, 1 + 1e8 * EPS, sizes=np.full(2, 1e6)).is_right
    assert read(lambda t, j: t + 1e6 * t**2, 1 + 8e7 * EPS).is_right
    assert not read(lambda t, j: t + 1e6 * t**2, 1 + 1e10 * EPS).is_right


def test_one_wrong_output_is_enough():
    reading = read(lambda t, j: (1 + 0.5 * j) * t, 1.0)
    assert not reading.is_right
    assert reading.residual == pytest.approx([0.0, 0.5], abs=1e-9)


def test_readings_that_are_not_finite_or_do_not_move_tell_nothing():
    reading = read(lambda t, j: np.nan if t > 0 else 1.0, 1.0)
    assert (reading.finite, reading.is_bounded, reading.quality) == (False, False, np.inf)
    reading = read(lambda t, j: 3.0, 1.0)
    assert reading.is_stuck
    assert reading.is_bounded
    reading.distrust()
    assert not reading.is_bounded
    assert not read(lambda t, j: 3.0, 0.0).is_stuck


def test_readings_of_one_line_agree_on_its_noise():
    def noisy(t, j):
        return t + 1e-6 * np.sin(1e9 * t + j)

    readings = [read(noisy, 1.0, 2.0**-k) for k in (6, 8, 10)]
    _core.settle(readings)
    assert all(1e-7 < reading.noise.max() < 1e-5 for reading in readings)
    given = read(noisy, 1.0, given=0.25)
    _core.settle([given])
    assert given.noise.tolist() == [0.25, 0.25]
    _core.settle([])


def test_noise_of_rounded_values():
    """An error evenly spread over a unit has a standard deviation of 0.29 units."""
    unit = 1e-3
    reading = read(lambda t, j: unit * (t > 1.5 * 2.0**-10), 0.0)  # most neighbours are equal: a stair
    assert 0.25 * unit <= reading.noise.min() <= reading.noise.max() <= 0.5 * unit
    told = read(lambda t, j: t, 1.0, units=np.array([unit, np.nan]))
    assert told.noise[0] == unit
    assert told.noise[1] < EPS
    assert told.bound[0] > unit * 2.0**10 > 1e6 * told.bound[1]


def test_what_is_of_another_shape_or_dtype_is_refused():
    for name, wrong in {
        "values": np.zeros((5, 2)),
        "along": np.zeros((6, 2), np.float32),
        "sizes": np.zeros(3),
        "units": np.zeros(4)[::2],
    }.items():
        with pytest.raises(IndexError):
            read(lambda t, j: t, 1.0, **{name: wrong})
    with pytest.raises(IndexError):
        _core.settle([read(lambda t, j: t, 1.0), read(lambda t, j: t, 1.0, outputs=3)])
    with pytest.raises(TypeError):
        _core.settle([None])
    with pytest.raises(IndexError):
        _core.SixPoints(STEPS[:5], SIX, FOUR, 1.0)
    with pytest.raises(IndexError):
        _core.points_along(np.zeros(2), np.zeros(3), STEPS)
    with pytest.raises(IndexError):
        _core.random_units(np.zeros(2), np.zeros(3))


def test_points_along_a_line_and_how_far_they_are():
    at, units = np.array([1.0, 2.0**53, 0.0]), np.array([0.5, 1.0, -1.0])
    points, taken = _core.points_along(at, units, np.array([1.0, -2.0]))
    assert points.tolist() == [[1.5, 2.0**53, -1.0], [0.0, 2.0**53 - 2, 2.0]]
    assert taken.tolist() == [[0.5, 0.0, -1.0], [-1.0, -2.0, 2.0]]
    assert _core.random_units(np.array([0.0, 0.25, 0.5, 0.75]), np.full(4, 2.0)).tolist() == [-3.0, -2.0, 1.0, 2.0]
