"""Pictures: what is drawn is what was given, in the reader's style, with labels that do not overlap."""

import itertools
import sys

import matplotlib as mpl
import numpy as np
import pytest
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.image import imread

from correct import POLYNOMIALS
from fallline import plot, problems
from fallline.plot.style import _spread as spread

mpl.use("Agg")

CURVES = {f"optimizer {k}": 2.0 ** -np.arange(1, 9) * (1 + 0.01 * k) for k in range(7)}
PATHS = {"straight": [(-4, 1), (-2, 0.5), (0, 0)], "round": [(-4, 1), (-1, -1), (1, 0.2)]}


@pytest.fixture
def ax():
    return Figure(figsize=(6, 4), layout="constrained").add_subplot()


def drawn(ax):
    """List the named lines."""
    return [line for line in ax.lines if not line.get_label().startswith("_")]


def pixels(ax, path):
    """Save the picture and read it back."""
    ax.figure.savefig(path)
    return imread(path)


# Loss curves


def test_losses_draws_the_given_curves_by_name(ax):
    assert plot.losses({"counted": [3, 2, 1], "placed": ([10, 100], [5, 4])}, ax) is ax
    counted, placed = drawn(ax)
    assert counted.get_label() == "counted"
    np.testing.assert_array_equal(counted.get_xydata(), [(1, 3), (2, 2), (3, 1)])
    np.testing.assert_array_equal(placed.get_xydata(), [(10, 5), (100, 4)])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "training loss")


def test_losses_leaves_out_what_a_logarithmic_axis_cannot_show(ax):
    plot.losses({"broken": [4, np.nan, 0, -1, np.inf, 2]}, ax)
    np.testing.assert_array_equal(drawn(ax)[0].get_xydata(), [(1, 4), (6, 2)])


def test_losses_draws_the_background_without_names(ax):
    plot.losses({"own": [3, 1]}, ax, background=[[9, 8], [7, 6]])
    assert [line.get_label() for line in drawn(ax)] == ["own"]
    behind = [line for line in ax.lines if line not in drawn(ax)]
    assert [line.get_ydata().tolist() for line in behind] == [[9, 8], [7, 6]]
    assert all(line.get_zorder() < drawn(ax)[0].get_zorder() for line in behind)
    assert [text.get_text() for text in ax.texts] == ["own"]


@pytest.mark.parametrize(
    ("last", "shown"), [(60, {"1", "2", "5", "10", "20", "50"}), (10_000, {"$\\mathdefault{10^{2}}$"})]
)
def test_losses_counts_in_plain_numbers_where_they_are_short(ax, last, shown):
    plot.losses({"curve": ([1, last], [2, 1])}, ax)
    ax.figure.draw_without_rendering()
    assert shown <= {label.get_text() for label in ax.get_xticklabels()}


# Descents


def test_descent_draws_paths_start_and_minima(ax):
    assert plot.descent(problems.himmelblau, PATHS, ax) is ax
    for line, path in zip(drawn(ax), PATHS.values(), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), path)
    starts = [line.get_xydata().tolist() for line in ax.lines if line.get_label() == "_start"]
    assert starts == [[[-4, 1]], [[-4, 1]]]
    stars = [tuple(line.get_xydata()[0]) for line in ax.lines if line.get_label() == "_minimum"]
    assert stars == list(problems.himmelblau.minima)


@pytest.mark.parametrize("bounds", [None, ((-1.0, 2.0), (0.5, 1.5))])
def test_descent_shows_the_bounds(ax, bounds):
    plot.descent(problems.beale, PATHS, ax, bounds=bounds)
    assert (ax.get_xlim(), ax.get_ylim()) == (bounds or problems.beale.bounds)


@pytest.mark.parametrize("name", [name for name in problems.names() if problems.get(name).dimensions == 2])
def test_every_surface_can_be_drawn(ax, name):
    problem = problems.get(name)
    plot.descent(problem, {"path": [problem.start]}, ax)
    levels = ax.collections[-1].levels
    assert np.isfinite(levels).all()
    assert (np.diff(levels) > 0).all()


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_contours_grow_by_one_factor_and_reach_the_top(ax, name):
    problem = problems.get(name)
    plot.descent(problem, {"path": [problem.start]}, ax)
    levels = ax.collections[-1].levels
    assert len(levels) == 14
    assert np.ptp(np.diff(np.log(levels))) < 1e-9  # rounding only
    corners = problem(np.stack(np.meshgrid(*problem.bounds))) - problem.minimum
    assert levels[-1] >= corners.max()
    assert 0 < levels[0] < 1e-2 * levels[-1]


@pytest.mark.parametrize(("count", "legend"), [(1, None), (2, ["straight", "round"])])
def test_descent_has_a_legend_beside_the_axes_if_there_is_something_to_tell_apart(ax, count, legend):
    plot.descent(problems.ravine, dict(itertools.islice(PATHS.items(), count)), ax)
    if legend is None:
        assert ax.get_legend() is None
        return
    assert [text.get_text() for text in ax.get_legend().get_texts()] == legend
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


# Schedules


def test_schedules_draws_each_value(ax):
    assert plot.schedules({"half": lambda t: 0.5**t, "flat": lambda t: 0.1}, 5, ax) is ax
    half, flat = drawn(ax)
    np.testing.assert_array_equal(half.get_xydata(), [(t, 0.5**t) for t in range(5)])
    np.testing.assert_array_equal(flat.get_ydata(), [0.1] * 5)
    assert [text.get_text() for text in ax.texts] == ["half", "flat"]


# All of them

DRAWINGS = {
    "losses": lambda ax: plot.losses(CURVES, ax),
    "descent": lambda ax: plot.descent(
        problems.ravine, {name: np.ones((4, 2)) * k for k, name in enumerate(CURVES)}, ax
    ),
    "schedules": lambda ax: plot.schedules({name: lambda t: 1 / (1 + t) for name in CURVES}, 20, ax),
}
every_drawing = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


@every_drawing
def test_lines_differ_in_more_than_colour(ax, draw):
    draw(ax)
    lines = drawn(ax)
    assert len(lines) == 7
    assert (
        len({(str(line.get_linestyle()), str(line._unscaled_dash_pattern), line.get_marker()) for line in lines}) == 7
    )


@every_drawing
def test_the_readers_colours_line_styles_and_fonts_are_used(ax, draw):
    settings = {"axes.prop_cycle": cycler(color=["#112233", "#445566"], linestyle=[":", "-."]), "font.size": 7.0}
    with mpl.rc_context(settings):
        before = dict(mpl.rcParams)
        draw(ax)
        assert dict(mpl.rcParams) == before
    assert [line.get_color() for line in drawn(ax)] == ["#112233", "#445566"] * 3 + ["#112233"]
    assert [line.get_linestyle() for line in drawn(ax)] == [":", "-."] * 3 + [":"]
    assert all(text.get_fontsize() <= 7 for text in ax.texts)


@pytest.mark.parametrize("draw", [DRAWINGS["losses"], DRAWINGS["schedules"]], ids=["losses", "schedules"])
def test_names_at_the_ends_overlap_neither_each_other_nor_the_lines_nor_the_border(ax, draw):
    draw(ax)
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    # An annotation's extent includes its leader; the text alone begins right of the axes.
    words = [mpl.text.Text.get_window_extent(text) for text in ax.texts]
    assert len(words) == 7
    assert not any(one.overlaps(other) for one, other in itertools.combinations(words, 2))
    assert all(word.x0 >= ax.get_window_extent().x1 for word in words)
    assert all(ax.figure.bbox.x0 <= box.x0 <= box.x1 <= ax.figure.bbox.x1 for box in boxes)
    assert all(ax.figure.bbox.y0 <= box.y0 <= box.y1 <= ax.figure.bbox.y1 for box in boxes)


@every_drawing
def test_the_style_draws_a_picture_of_the_asked_size(draw, tmp_path):
    with mpl.rc_context(plot.STYLE):
        ax = Figure(figsize=(6, 4), layout="constrained").add_subplot()
        image = pixels(draw(ax), tmp_path / "picture.png")
    assert image.shape == (600, 900, 4)
    assert image[..., :3].std() > 0.05
    coloured = np.ptp(image[..., :3], axis=2) > 0.2
    assert coloured.mean() > 0.001


@every_drawing
def test_without_axes_pyplots_current_ones_are_used(draw):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    try:
        assert draw(None) is ax
    finally:
        plt.close(figure)


def test_names_keep_their_place_where_there_is_room_and_their_order_where_not():
    np.testing.assert_allclose(spread(np.array([0.9, 0.1, 0.5]), 0.2), [0.9, 0.1, 0.5])
    np.testing.assert_allclose(spread(np.array([0.5, 0.5, 0.5]), 0.1), [0.4, 0.5, 0.6])
    np.testing.assert_allclose(spread(np.array([1.0, 1.0, 0.99]), 0.1), [0.9, 1.0, 0.8])
    np.testing.assert_allclose(spread(np.array([0.0, 0.0]), 0.25), [0.0, 0.25])


def test_names_are_moved_as_little_as_possible():
    scipy = pytest.importorskip("scipy.optimize", reason="SciPy solves the same problem in another way")
    rng = np.random.default_rng(0)
    for _ in range(20):
        wanted, gap = np.sort(rng.uniform(0.3, 0.7, 6)), 0.05
        apart = {"type": "ineq", "fun": lambda y, gap=gap: np.diff(y) - gap}
        best = scipy.minimize(
            lambda y, w=wanted: ((y - w) ** 2).sum(), wanted, method="SLSQP", constraints=apart, tol=1e-12
        )
        np.testing.assert_allclose(spread(wanted, gap), best.x, atol=1e-5)  # SLSQP's accuracy


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda ax: plot.losses([1, 2], ax),
            TypeError,
            r"curves: must be a mapping of names; got list\. Pass a dict\.",
        ),
        (lambda ax: plot.losses({}, ax), ValueError, r"curves: must hold at least one entry; got none\."),
        (
            lambda ax: plot.losses({"a": [[[1]]]}, ax),
            ValueError,
            r"curves\['a'\]: must be one-dimensional, .* got shapes .*\(1, 1, 1\)",
        ),
        (
            lambda ax: plot.losses({"a": ([1], [1, 2])}, ax),
            ValueError,
            r"curves\['a'\]: .* got shapes \(1,\) and \(2,\)",
        ),
        (lambda ax: plot.losses({"a": [0, -1]}, ax), ValueError, r"curves\['a'\]: must have a positive finite value"),
        (
            lambda ax: plot.losses({"a": [1]}, ax, background=[[0]]),
            ValueError,
            r"background\[0\]: must have a positive",
        ),
        (lambda ax: plot.losses({"a": [1]}, 3), TypeError, r"losses: ax must be a matplotlib Axes; got int\."),
        (
            lambda ax: plot.descent(problems.get("wood"), PATHS, ax),
            ValueError,
            r"descent: problem must have 2 variables to be drawn; got wood with 4\. Choose another\.",
        ),
        (lambda ax: plot.descent("beale", PATHS, ax), TypeError, r"descent: problem must be a Problem; got str\."),
        (lambda ax: plot.descent(problems.beale, [], ax), TypeError, r"paths: must be a mapping of names; got list\."),
        (
            lambda ax: plot.descent(problems.beale, {"a": [1, 2]}, ax),
            ValueError,
            r"paths\['a'\]: must have shape \(steps \+ 1, 2\)",
        ),
        (lambda ax: plot.schedules({"a": 0.1}, 9, ax), TypeError, r"schedules\['a'\]: must be callable; got float\."),
        (lambda ax: plot.schedules({"a": float}, 0, ax), ValueError, r"schedules: steps must be positive; got 0\."),
    ],
)
def test_messages(ax, call, error, message):
    with pytest.raises(error, match=message):
        call(ax)


@every_drawing
def test_without_matplotlib_the_extra_is_named(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    with pytest.raises(ModuleNotFoundError, match=r'matplotlib must be installed; .* pip install "fallline\[plots\]"'):
        draw(None)


def test_importing_the_module_imports_no_matplotlib():
    import subprocess

    code = "import sys, fallline.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
