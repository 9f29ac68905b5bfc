"""The calibration itself: it moves what it says, and counts what then goes wrong."""

import pytest

from calibrate import THRESHOLDS, main, moved, use_of_bounds

BY_TITLE = {threshold.title: threshold for threshold in THRESHOLDS}


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda threshold: threshold.title)
def test_the_present_value_is_among_those_that_are_tried(threshold):
    present = getattr(threshold.module, threshold.name)
    assert present in threshold.tried()
    with moved(threshold, 7.0):
        assert getattr(threshold.module, threshold.name) == 7.0
    assert getattr(threshold.module, threshold.name) == present


@pytest.mark.parametrize(
    ("title", "value", "what"),
    [
        ("fixed.WORST", 0.5, "bounds that do not hold"),
        ("near.SMOOTH", 400.0, "smooth, not ok"),
        ("near.BEND", 1e9, "kinks and jumps overlooked"),
        ("check.NO_POWER", 1e-9, "right, inconclusive"),
    ],
)
def test_what_goes_wrong_is_counted(title, value, what):
    threshold = BY_TITLE[title]

    def count():
        return int(threshold.evidence(20)[what].split()[0])

    before = count()
    with moved(threshold, value):
        assert count() > before + 2


def test_a_table_is_printed(capsys):
    assert main(["--each", "4", "--only", "near.STAYS"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["near.STAYS", "smooth,", "not", "ok", "jumps", "overlooked"]
    assert [line.split()[0] for line in lines[2:]] == ["0.55", "0.6", "*0.7", "0.8", "0.95"]


def test_right_gradients_stay_within_the_bound():
    found = use_of_bounds(2)
    assert int(found["lines"]) > 50
    assert 0 < float(found["bound used, median"]) < float(found["most"]) <= 1
