"""Figures from results: what is drawn, and that nothing in the numbers stops the drawing."""

import matplotlib
import matplotlib.figure
import pandas as pd
import pytest
from reporting.results import make_isolate, make_results, make_scope, make_slice, make_triage

from llm_monitoring.plotting import STYLE
from llm_monitoring.reporting import figures
from llm_monitoring.reporting.folder import results_in
from tests.drawings import hidden_by_words

NAMES = ["time", "chart", "who", "why", "mix", "tri"]


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_the_same_each_time_and_leaves_settings_alone(name):
    before = dict(matplotlib.rcParams)
    assert figures.draw(name, make_results()) == figures.draw(name, make_results())
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", NAMES)
def test_the_phone_gets_a_figure_of_its_own_width(name):
    drawn = figures.draw(name, make_results())
    assert 'class="narrow" role="img"' in drawn
    assert 'width="352"' in drawn


@pytest.mark.parametrize("unit", ["share", "score", "ms", "usd", "count"])
def test_every_unit_can_be_drawn(unit):
    rows = [make_slice(before=2.5, before_low=2.0, before_high=3.0, after=4.0, after_low=3.5, after_high=4.5)]
    chart = [
        {**row, "value": 2.0 + row["value"], "center": 2.1, "lower": 2.0, "upper": 2.3}
        for row in make_triage()["chart"]
    ]
    results = make_results(scope={"unit": unit, "slices": rows, "leaves": rows}, triage={"unit": unit, "chart": chart})
    assert "<svg" in figures.draw("who", results)
    assert "<svg" in figures.draw("chart", results)


def test_unknown_numbers_are_left_out_of_the_drawing():
    empty = dict.fromkeys(("before", "before_low", "before_high", "after", "after_low", "after_high"))
    rows = [make_slice(), make_slice({"feature_id": "new"}, label="new", verdict="too few to tell", **empty)]
    chart = [{**row, "center": None, "lower": None, "upper": None, "alarm": None} for row in make_triage()["chart"]]
    results = make_results(scope={"slices": rows[:1], "leaves": rows}, triage={"chart": chart})
    assert "new" in figures.draw("who", results)
    assert "<svg" in figures.draw("chart", results)


def test_one_window_makes_a_chart():
    assert "<svg" in figures.draw("chart", make_results(triage={"chart": make_triage()["chart"][-2:-1]}))


def test_letters_that_no_font_has_do_not_warn():
    row = make_slice(label="\U0001f600 日本語 \x00")
    assert "<svg" in figures.draw("who", make_results(scope={"slices": [row], "leaves": [row]}))


def test_the_share_of_a_part_is_of_the_answers_seen():
    leaves = [make_slice(label="a", n_before=100, n_after=310), make_slice(label="b", n_before=900, n_after=690)]
    rows = {row["label"]: row for row in figures.mixed(make_scope(leaves=leaves))}
    assert rows["a"]["before"] == pytest.approx(0.1)
    assert rows["a"]["after"] == pytest.approx(0.31)
    assert (rows["a"]["verdict"], rows["b"]["verdict"]) == ("grew", "shrank")


def test_the_answer_stands_on_top_and_once():
    shown = figures.shown_slices(make_scope())
    assert [row["label"] for row in shown].count("gpt-4 in opinionqa") == 1
    assert shown[0]["label"] == "gpt-4 in opinionqa"


def test_a_change_with_the_start_is_marked_on_the_time_line():
    drawn = figures.draw("time", make_results(isolate=make_isolate()))
    assert "chg-0613" in drawn
    assert "alert" in drawn


@pytest.fixture
def hidden(monkeypatch):
    """What words hide in each figure that is drawn for the page, wide and narrow."""
    found = []

    def look(draw, ident, title, description, size, margins, css=""):
        (width, height), (left, top, right, bottom) = size, margins
        with matplotlib.rc_context({**STYLE, "figure.dpi": 72}):
            figure = matplotlib.figure.Figure(figsize=(width / 72, height / 72))
            place = left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height
            draw(figure.add_axes(place))
            figure.canvas.draw()
            found.extend((ident, words) for words in hidden_by_words(figure))
        return ""

    monkeypatch.setattr(figures, "svg", look)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_words_of_the_sample_log_s_page_hide_no_mark_and_no_line_goes_through_them(name, report_folder, hidden):
    figures.draw(name, results_in(report_folder))
    assert not hidden


@pytest.mark.parametrize("hours", [2, 20, 60])
def test_words_of_changes_that_are_close_to_each_other_have_a_place_each(hours, hidden):
    results = make_results()
    first, second = results["isolate"]["ranking"][:2]
    at = pd.Timestamp(first["at"]) + pd.Timedelta(hours=hours)
    second |= {"recorded": True, "at": at.isoformat(), "probability": 0.3}
    results["isolate"]["candidates"] = [first["cause"], second["cause"]]
    figures.draw("chart", results)
    figures.draw("time", results)
    assert not hidden
