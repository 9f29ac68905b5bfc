"""Bands, sweeps, surfaces, basins of attraction, and where a gradient is wrong."""

import types

import matplotlib
import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure

import fallline as fl
from fallline import plot, problems


@pytest.fixture
def ax():
    with matplotlib.rc_context(plot.STYLE):
        yield Figure().add_subplot()


@pytest.fixture
def solid():
    with matplotlib.rc_context(plot.STYLE):
        yield Figure().add_subplot(projection="3d")


def draw(ax):
    ax.figure.canvas.draw()
    return ax


def test_several_seeds_are_a_median_and_a_band(ax):
    seeds = np.array([[5.0, 4, 3], [1, 1, 1], [3, 2, 2]])
    assert plot.losses({"a": seeds, "b": [1, 2, 3]}, ax) is ax
    assert ax.lines[0].get_ydata().tolist() == [3, 2, 2]
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    low, high = np.quantile(seeds, [0.1, 0.9], axis=0)
    assert (heights.min(), heights.max()) == (low.min(), high.max())
    draw(ax)


def test_a_sweep_marks_the_best_and_the_diverged(ax):
    rates = [0.01, 0.1, 1.0, 10.0]
    plot.sweep({"sgd": (rates, [3, 0.5, 2, np.inf]), "adam": (rates[::-1], [1, 2, 3, 4])}, ax)
    drawn = {line.get_label(): line for line in ax.lines}
    assert drawn["sgd"].get_xdata().tolist() == [0.01, 0.1, 1]
    assert drawn["adam"].get_xdata().tolist() == rates
    assert drawn["_best of sgd"].get_xydata().tolist() == [[0.1, 0.5]]
    assert drawn["_best of adam"].get_xydata().tolist() == [[10, 1]]
    assert drawn["_diverged of sgd"].get_xdata().tolist() == [10]
    assert "_diverged of adam" not in drawn
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    draw(ax)


def test_a_sweep_of_multistart(ax):
    rates = np.geomspace(1e-4, 1, 9)
    found = fl.multistart(
        fl.compile(problems.booth), np.tile([-8.0, -6.0], (9, 1)), method="sgd", lr=rates, maxiter=200
    )
    plot.sweep({"sgd": (rates, np.where(found.status == 6, np.inf, found.fun))}, ax)
    assert "_diverged of sgd" in [line.get_label() for line in ax.lines]


@pytest.mark.parametrize("name", ["rosenbrock", "himmelblau", "ackley"])
def test_a_surface(solid, name):
    problem = problems.get(name)
    path = fl.minimize(fl.compile(problem), problem.start, lr=0.05, maxiter=50, record="path").path
    outside = np.array([[1e6, 1e6]])
    assert plot.surface(problem, {"adam": np.concatenate([path, outside])}, solid) is solid
    x, y, height = solid.lines[0].get_data_3d()
    np.testing.assert_array_equal(np.stack([x, y], axis=1), path)
    np.testing.assert_allclose(height, np.log10(1 + problem(path.T) - problem.minimum) + 0.02)
    assert sum(line.get_label() == "_minimum" for line in solid.lines) == len(problem.minima)
    draw(solid)


def test_without_axes_one_is_made():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure = pyplot.figure()
    made = plot.surface(problems.booth, {"a": [(0, 0), (1, 3)]})
    assert made.name == "3d"
    assert figure.axes == [made]
    pyplot.close(figure)


def test_basins(ax):
    starts = np.array([[0.0, 0], [5, 5], [0, 1], [5, 6], [9, 9]])
    ends = np.array([[1.0, 1], [4, 4], [1.001, 1], [4, 4], [np.nan, 0]])
    result = types.SimpleNamespace(
        x0=starts, x=ends, fun=np.array([2.0, 1.0, 2.0, 1.0, np.nan]), status=np.array([0, 0, 3, 0, 6])
    )
    plot.basins(result, ax)
    groups = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert [line.get_label() for line in groups] == ["(4, 4), f = 1", "(1, 1), f = 2", "diverged"]
    assert [line.get_xydata().tolist() for line in groups] == [[[5, 5], [5, 6]], [[0, 0], [0, 1]], [[9, 9]]]
    stars = [line.get_xydata().tolist() for line in ax.lines if line.get_label() == "_minimum"]
    assert stars == [[[4, 4]], [[1, 1]]]
    assert len({line.get_marker() for line in groups}) == 3  # not told by colour alone
    draw(ax)


def test_where_a_gradient_is_wrong(ax):
    rng = np.random.default_rng(0)
    numeric = rng.normal(size=(4, 6))
    yours = numeric * (1 + 1e-9)
    yours[1, 2] += 0.5
    yours[3, 5] = np.nan
    plot.gradient_errors(yours, numeric, ax)
    (marks,) = ax.lines
    assert sorted(map(tuple, marks.get_xydata().tolist())) == [(2, 1), (5, 3)]
    shades = ax.images[0].get_array()
    largest = np.abs(numeric).max()
    assert shades[1, 2] == pytest.approx(np.log10(0.5 / largest), abs=1e-6)
    assert shades[3, 5] == 1
    assert shades[0, 0] == pytest.approx(np.log10(abs(numeric[0, 0]) * 1e-9 / largest), abs=1e-3)
    draw(ax)


def test_a_vector_is_a_row(ax):
    plot.gradient_errors([1.0, 2.0], [1.0, 2.0], ax)
    assert ax.images[0].get_array().shape == (1, 2)
    assert ax.lines[0].get_xdata().size == 0


def test_shades_grow_lighter_or_darker_throughout():
    """So that the heat map reads in grey: the luminance of its colours never turns."""
    with matplotlib.rc_context(plot.STYLE):
        colours = matplotlib.colormaps[matplotlib.rcParams["image.cmap"]](np.linspace(0, 1, 64))[:, :3]
    luminance = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all() or (np.diff(luminance) < 0).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda ax: plot.sweep([], ax), TypeError, r"results: must be a mapping of names; got list\."),
        (
            lambda ax: plot.sweep({"a": ([1], [1, 2])}, ax),
            ValueError,
            r"results\['a'\]: must be learning rates and losses, one for",
        ),
        (
            lambda ax: plot.sweep({"a": ([1], [np.inf])}, ax),
            ValueError,
            r"results\['a'\]: .* got shapes \(1,\) and \(1,\)\. Pass a",
        ),
        (
            lambda ax: plot.surface(problems.booth, {"a": [(0, 0)]}, ax),
            TypeError,
            r"surface: ax must be three-dimensional; got Axes\. ",
        ),
        (
            lambda ax: plot.basins(3, ax),
            ValueError,
            r"basins: result must be that of multistart in two variables; got x0 of shape \(0,\)",
        ),
        (
            lambda ax: plot.gradient_errors(np.ones(3), np.ones(2), ax),
            ValueError,
            r"gradient_errors: yours and numeric must be matrices",
        ),
        (
            lambda ax: plot.gradient_errors([], [], ax),
            ValueError,
            r"gradient_errors: .* got shapes \(0,\) and \(0,\)\. Pass one array",
        ),
    ],
)
def test_messages(ax, call, error, message):
    with pytest.raises(error, match=message):
        call(ax)


def test_messages_of_surfaces(solid):
    with pytest.raises(ValueError, match=r"surface: problem must have 2 variables to be drawn; got wood with 4\."):
        plot.surface(problems.wood, {"a": [(0, 0)]}, solid)
    with pytest.raises(TypeError, match=r"surface: problem must be a Problem; got str\."):
        plot.surface("booth", {"a": [(0, 0)]}, solid)


def test_numbers_on_a_surface_are_few(solid):
    """Seen from the side, nine along an edge would run into each other in a picture of the documentation."""
    plot.surface(problems.rosenbrock, {"way": [(-1.2, 1), (1, 1)]}, solid, bounds=((-2, 2), (-1, 3)))
    draw(solid)
    for axis, (low, high) in ((solid.xaxis, (-2, 2)), (solid.yaxis, (-1, 3)), (solid.zaxis, (0, 3))):
        assert 3 <= sum(low <= place <= high for place in axis.get_ticklocs()) <= 6
