"""The explorer without a browser: its choices, its charts, its code, and the answers behind a window."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.errors import ConfigError
from tests.builders import START, make_judgements, make_requests

DAYS, A_DAY = 24, 30
FALL = START + pd.Timedelta(days=18)


def tables(**columns) -> dict[str, pd.DataFrame]:
    """Two features judged thirty times a day; from the 19th day on the answers of `search` are bad."""
    n = DAYS * A_DAY
    every = f"{24 * 60 // A_DAY}min"
    requests = make_requests(n, every=every, feature_id=["search", "summary"], **columns)
    bad = (requests["timestamp"] >= FALL) & (requests["feature_id"] == "search")
    score = [2.0 if now else [4.0, 5.0, 4.0, 4.0, 3.0, 4.0, 5.0][i % 7] for i, now in enumerate(bad)]
    judged = make_judgements(n, every=every, quality_score=score, feature_id=["search", "summary"])
    return {"requests": requests, "judgements": judged}


@pytest.fixture(scope="module")
def explorer():
    return lm.explore(lm.open_log(tables()))


@pytest.fixture
def fresh(explorer):
    """The explorer, back where it began; its charts are made once."""
    explorer.choose(**{**dict.fromkeys(explorer.state), "window": "auto", "false_alarms_per_month": 1.0})
    return explorer


def test_it_opens_at_a_chart_that_alarms(fresh):
    assert fresh.state["feature"] == "search"
    assert fresh.state["metric"] in ("flagged_rate", "mean_quality")
    assert fresh.to_frame()["alarm"].any()


def test_its_chart_is_that_of_the_check(fresh):
    charts = lm.control_charts(lm.open_log(tables())).to_frame()
    for metric in ("mean_quality", "flagged_rate"):
        fresh.choose(feature="search", metric=metric)
        same = charts[(charts["feature_id"] == "search") & (charts["metric"] == metric)].reset_index(drop=True)
        pd.testing.assert_frame_equal(fresh.to_frame(), same)


def test_the_state_is_json_and_opens_it_again(fresh):
    fresh.choose(metric="mean_quality", window="1d", baseline=14, until="2026-06-02T00:00Z", false_alarms_per_month=2)
    state = json.loads(json.dumps(fresh.state))
    again = lm.explore(lm.open_log(tables()), **state)
    assert again.state == state
    pd.testing.assert_frame_equal(again.to_frame(), fresh.to_frame())


def test_a_control_that_is_turned_changes_state_chart_and_code(fresh):
    fresh._controls["false_alarms_per_month"].value = 4.0
    fresh._controls["until"].value = "2026-06-01T00:00Z"
    assert fresh.state["false_alarms_per_month"] == 4.0
    assert fresh.state["until"] == "2026-06-01T00:00:00Z"
    assert fresh.to_frame()["window_end"].max() <= pd.Timestamp("2026-06-01", tz="UTC")
    assert "'false_alarms_per_month': 4.0" in fresh.code()
    assert fresh._snippet.value == fresh.code()


def test_more_false_alarms_give_narrower_limits(fresh):
    fresh.choose(feature="summary", metric="mean_quality")
    wide = fresh.to_frame().dropna(subset="lower")
    fresh.choose(false_alarms_per_month=20.0)
    narrow = fresh.to_frame().dropna(subset="lower")
    assert (narrow["upper"] - narrow["lower"] < wide["upper"] - wide["lower"]).all()


def test_its_code_gives_the_same_chart_and_the_answers_of_the_window(fresh):
    fresh.choose(metric="mean_quality", feature="search", window="1d", until="2026-06-02T00:00Z")
    alarmed = fresh.to_frame()[fresh.to_frame()["alarm"]].iloc[0]
    fresh.choose(point=alarmed["window_start"])
    names = {"log": lm.open_log(tables())}
    exec(fresh.code(), names)
    shown = names["table"]
    chosen = shown[(shown["feature_id"] == "search") & (shown["metric"] == "mean_quality")].reset_index(drop=True)
    pd.testing.assert_frame_equal(chosen, fresh.to_frame())
    assert len(names["answers"]) == alarmed["n"]


def test_the_code_of_a_log_in_a_folder_opens_it(tmp_path):
    for name, table in tables().items():
        table.to_parquet(tmp_path / f"{name}.parquet")
    names = {}
    exec(lm.explore(tmp_path, metric="flagged_rate").code(), names)
    assert names["log"].count("requests") == DAYS * A_DAY
    assert len(names["charts"])


def test_a_window_shows_its_answers_worst_first(fresh):
    fresh.choose(feature="search", metric="mean_quality", window="1d")
    row = fresh.to_frame()[fresh.to_frame()["alarm"]].iloc[0]
    fresh.choose(point=row["window_start"])
    told = fresh._view._shown["answers"]
    assert fresh.state["point"] == told["window"]
    assert told["words"].startswith(f"{row['n']:.0f} judged answers from ")
    assert {one["value"] for one in told["rows"]} == {"2.00"}
    assert all(one["user_input"].startswith("question ") for one in told["rows"])


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"metric": "flaged_rate"}, "the nearest is 'flagged_rate'"),
        ({"feature": "serch"}, "the nearest is 'search'"),
        ({"window": "2h"}, "expected one of 'auto', '1h', '6h', '1d'"),
        ({"baseline": 0}, "expected days, 1 or more"),
        ({"false_alarms_per_month": 0}, "expected a number above 0"),
        ({"until": "yesterday"}, "is not a time"),
        ({"point": "2020-01-01T00:00Z"}, "the chart has no window that starts then"),
        ({"colour": 1}, "expected one of 'feature', 'metric'"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_and_nothing_changes(fresh, choice, words):
    before = fresh.state
    with pytest.raises(ConfigError, match=words):
        fresh.choose(**choice)
    assert fresh.state == before


def test_a_moment_mistyped_in_the_control_is_told_and_the_chart_stays(fresh):
    before = fresh.to_frame()
    fresh._controls["until"].value = "tomorrow"
    assert "is not a time" in fresh._view._shown["status"]["words"]
    pd.testing.assert_frame_equal(fresh.to_frame(), before)


def test_where_nobody_can_turn_a_control_it_is_a_table_escaped(fresh):
    html = fresh._repr_mimebundle_()[0]["text/html"]
    assert "Expected false alarms: 1 a month over all " in html
    evil = lm.explore({**tables(), "requests": tables()["requests"].assign(feature_id="<img src=x onerror=alert(1)>")})
    assert "<img" not in evil._repr_mimebundle_()[0]["text/html"]


def test_a_log_too_short_for_a_chart_says_so():
    short = lm.explore({"requests": make_requests(20)})
    assert short._view._shown["status"]["words"].startswith("No chart")
    assert short.state["metric"] is None
    assert short.to_frame().empty


def test_no_trait_holds_logged_text(fresh):
    fresh.choose(feature="search", metric="mean_quality")
    fresh._view._hear({"kind": "choose", "window": 3}, fresh._read)
    assert fresh._view._shown["answers"]["rows"]
    assert "question " not in json.dumps(fresh._view.get_state(), default=str)
