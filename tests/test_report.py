"""The report: that its text, its page and its numbers say everything, to people and to programs."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import fallline as fl
from fallline.causes import Cause
from fallline.report import BlockReport, EntryReport, Report

CAUSES = [
    Cause(4, "missing-mean", None, "g = 7.0000·D to 1e-11, and X has 7 rows: the mean over the batch is missing.", 1.9),
    Cause(1, "sign", "b", "In b, g = -D to 2e-12: the sign is flipped.", 0.9),
]
BLOCKS = [
    BlockReport("W1", (3, 4), "wrong", 0.25, 3e-9, "row 2"),
    BlockReport("b", (), "right", None, 4e-9),
    BlockReport("tiny", (2,), "unseen", None, 0.7),
]
WORST = [EntryReport("W1", (2, 1), 1.25, -0.5, 1e-10), EntryReport("b", (), math.inf, 2.0, 1e-9)]
FAILED = Report(
    "fail", "the gradient of W1 is wrong", CAUSES, BLOCKS, WORST, 39, 4, 4e-9, ["x is 0", "a kink"], 17, "gradient"
)
PASSED = Report("pass", "a relative error above 4e-09 would have been seen", blocks=BLOCKS[1:2], nfev=15, ngev=4)


def many(wrong, total=200):
    blocks = [BlockReport(f"layer{i}", (3,), "wrong" if i in wrong else "right", 0.1, 1e-9) for i in range(total)]
    return Report("fail" if wrong else "pass", "as it is", [], blocks, nfev=1, ngev=1)


def flat(text):
    """Return a text without its line breaks and columns."""
    return re.sub(r"\s+", " ", text)


# ---- text


def test_the_text_says_everything():
    text = flat(str(FAILED))
    assert text.startswith("gradient: FAIL: the gradient of W1 is wrong. cause: g = 7.0000·D")
    for cause in CAUSES:
        assert f"cause: {cause.text}" in text
    for block in BLOCKS:
        assert f"{block.name} {block.shape} {block.verdict}" in text
    assert "W1 (3, 4) wrong 2.5e-01 3e-09 row 2" in text
    assert "tiny (2,) unseen 7e-01" in text
    assert "W1[2, 1] 1.25 -0.5 1.8 1e-10" in text
    assert "b inf 2 inf 1e-09" in text
    assert "note: x is 0 note: a kink" in text
    assert text.endswith("39 evaluations of f, 4 of the gradient; seed 17")


def test_the_lines_fit_a_terminal():
    text = str(FAILED)
    assert max(map(len, text.splitlines())) <= 80
    assert "\n    " in text  # the first cause is longer than that
    assert not any(line != line.rstrip() for line in text.splitlines())
    real = fl.check_gradient(
        lambda x, c: np.sum(np.cos(c * x)), lambda x, c: np.sin(x), np.full((2, 2), 0.5), args=(2.0,)
    )
    assert max(map(len, str(real).splitlines())) <= 80


def test_a_word_that_is_longer_than_a_line_is_not_broken():
    assert "W" * 100 in str(Report("fail", "W" * 100))


def test_columns_are_aligned():
    header, *rows = str(FAILED).split("\n\n")[1].splitlines()
    for row in rows:
        for place in (header.index("shape"), header.index("verdict")):
            assert row[place - 2 : place] == "  "
            assert row[place] != " "


def test_columns_that_would_be_empty_are_left_out():
    assert "relative error" in str(FAILED)
    assert "relative error  " not in str(PASSED)
    assert "where" not in str(PASSED)


def test_verdicts_in_the_text():
    assert "cause: unknown" in str(Report("fail", "wrong"))
    assert "cause" not in str(PASSED)
    assert CAUSES[1].text in str(Report("inconclusive", "noise", CAUSES[1:]))
    assert "cause:" not in str(Report("inconclusive", "noise", CAUSES[1:]))
    assert str(PASSED).endswith("  15 evaluations of f, 4 of the gradient")
    assert "  1 evaluation of f" in str(Report("pass", "all is right", nfev=1))


def test_few_blocks_are_shown_all():
    text = str(many({3}, total=12))
    assert all(f"layer{i} " in text for i in range(12))
    assert "blocks:" not in text


@pytest.mark.parametrize("wrong", [(), (3,), (3, 150), tuple(range(0, 200, 2))])
def test_many_blocks_do_not_flood_the_text(wrong):
    """The wrong ones are shown, at most twelve, and the others counted."""
    for text in (str(many(set(wrong))), many(set(wrong))._repr_html_()):
        shown = re.findall(r"layer(\d+)", text)
        assert shown == [str(i) for i in wrong[:12]]
        counts = (
            f"{len(wrong) - 12} wrong, {200 - len(wrong)} right" if len(wrong) > 12 else f"{200 - len(wrong)} right"
        )
        assert f"{'other ' if wrong else ''}blocks: {counts}" in text
    assert len(str(many(set(wrong))).splitlines()) < 25


def test_wrong_blocks_come_before_those_that_are_unclear_or_unseen():
    verdicts = ["unseen", "unclear", "wrong"] * 8
    report = Report("fail", "", blocks=[BlockReport(f"b{i}", (), verdict) for i, verdict in enumerate(verdicts)])
    text = str(report)
    assert text.index("wrong") < text.index("unclear")
    assert text.count("wrong") == 8
    assert text.count("unclear") == 4 + 1
    assert "other blocks: 8 unseen, 4 unclear" in text


# ---- repr, HTML


def test_repr_is_short():
    assert repr(FAILED) == "<Report fail: the gradient of W1 is wrong>"


class Reader(HTMLParser):
    """Check that tags are balanced, and keep the text."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f" {data}"


def read(report):
    reader = Reader()
    reader.feed(report._repr_html_())
    assert reader.open == []
    return flat(reader.text)


def test_the_page_says_what_the_text_says():
    page = read(FAILED)
    for cause in CAUSES:
        assert f"cause: {cause.text}" in page
    for part in (
        "gradient: fail",
        "W1 (3, 4) wrong 2.5e-01",
        "W1[2, 1] 1.25 -0.5",
        "note: x is 0",
        "seed 17",
        "39 evaluations",
    ):
        assert part in page
    assert "cause: unknown" in read(Report("fail", "wrong"))
    assert "cause" not in read(PASSED)
    assert "gradient: pass" in read(PASSED)


def test_the_page_escapes_what_users_name():
    evil = '<b>&"x"</b>'
    block, entry = BlockReport(evil, (2,), "wrong", 0.1, 0.1, evil), EntryReport(evil, (1,), 1.0, 2.0, 0.0)
    report = Report("fail", evil, [Cause(1, "sign", evil, evil, 1.0)], [block], [entry], notes=[evil], what=evil)
    assert evil not in report._repr_html_()
    assert read(report).count(evil) == 8


def test_a_page_fits_narrow_windows_and_dark_ones():
    """What is wide is scrolled by itself, long names are broken, and the verdict takes part of the text's colour."""
    page = FAILED._repr_html_()
    assert page.startswith('<div style="overflow-wrap: anywhere">')
    tables = page.count("<table>")
    assert tables == 2
    assert len(re.findall(r"<div style=.overflow-x: auto[^>]*><table>", page)) == tables
    for report in (FAILED, PASSED, Report("inconclusive", "noise")):
        assert "color-mix(in srgb, currentColor" in report._repr_html_()


def test_a_page_of_a_real_report():
    report = fl.check_gradient(
        lambda p: np.sum(np.sin(p["a<b"])), lambda p: {"a<b": -np.cos(p["a<b"])}, {"a<b": np.ones(3)}
    )
    assert "a<b[0]" in read(report)


# ---- for programs


def test_to_dict_is_complete_and_ready_for_json():
    data = FAILED.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["verdict"] == "fail"
    assert data["passed"] is False
    assert data["wrong"] == ["W1"]
    assert data["causes"][0] == {
        "number": 4, "name": "missing-mean", "block": None, "text": CAUSES[0].text, "score": 1.9,
    }  # fmt: skip
    assert data["blocks"][0] == {
        "name": "W1", "shape": [3, 4], "verdict": "wrong", "error": 0.25, "power": 3e-9, "place": "row 2",
    }  # fmt: skip
    assert data["worst"][1] == {"name": "b", "index": [], "yours": None, "numeric": 2.0, "tolerance": 1e-9}
    assert (data["nfev"], data["ngev"], data["seed"], data["what"]) == (39, 4, 17, "gradient")
    assert data["notes"] == ["x is 0", "a kink"]


def test_what_is_no_number_is_null():
    assert Report("inconclusive", "noise").to_dict()["power"] is None
    assert math.isnan(Report("inconclusive", "noise").power)


@pytest.mark.parametrize(
    ("f", "df"),
    [
        (lambda x: np.sum(np.sin(x)), np.cos),
        (lambda x: np.sum(np.sin(x)), lambda x: np.float32(2) * np.cos(x)),
        (lambda x: np.nan, np.cos),
        (lambda x: np.sum(np.abs(x)), np.sign),
    ],
)
@pytest.mark.parametrize("x", [np.array([[0.5, 0.2], [0.0, 1.0]]), np.float32([0.5, 0.2])])
def test_real_reports_are_ready_for_json(f, df, x):
    for mode in ("auto", "full"):
        data = fl.check_gradient(f, df, x, mode=mode, rng=np.int64(3)).to_dict()
        assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_reports_of_maps_are_ready_for_json():
    A = np.arange(6.0).reshape(3, 2)
    reports = [
        fl.check_jacobian(lambda x: A @ x, lambda x: A + 1, np.array([0.3, 0.7])),
        fl.check_products(lambda x: A @ x, np.array([0.3, 0.7]), vjp=lambda x, u: 2 * u @ A),
        fl.check_hvp(lambda x: x**3, lambda x, v: 2 * x * v, np.array([0.3, 0.7])),
    ]
    for report in reports:
        data = report.to_dict()
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        assert data["verdict"] == "fail"


def test_require():
    assert PASSED.require() is PASSED
    for report in (FAILED, Report("inconclusive", "noise")):
        with pytest.raises(AssertionError) as caught:
            report.require()
        assert caught.value.report is report
        assert str(caught.value) == str(report)


def test_a_report_cannot_be_changed():
    with pytest.raises(AttributeError):
        FAILED.verdict = "pass"


def test_where_an_entry_is():
    assert EntryReport("W1", (2, 1), 0.0, 0.0, 0.0).place == "W1[2, 1]"
    assert EntryReport("b", (), 0.0, 0.0, 0.0).place == "b"


def test_seeds_and_counts_in_the_text():
    right = [BlockReport(f"b{i}", (2,), "right") for i in range(20)]
    report = Report("pass", "why", blocks=right, seed=0)
    assert "\n  blocks: 20 right\n" in str(report)
    assert str(report).endswith("; seed 0")
    assert "seed" not in str(Report("pass", "why"))
