"""The whole road on small logs: one row per cause, nothing from the future, quiet logs quiet."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.charting import control_charts
from llm_monitoring.alerts.checking import check, detectable
from llm_monitoring.alerts.grouping import COLUMNS
from llm_monitoring.alerts.one_chart import chart_of
from tests.builders import START, make_judgements, make_requests

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "llmdrift"
DAY = pd.Timedelta("1D")
PLAN = {"quality": {"query_drift": False}}


def scored(fall: float = 0.0, seed: int = 0, days: int = 21) -> dict:
    """Two features, 48 judged answers a day each; search falls by `fall` on day 15."""
    rng = np.random.default_rng(seed)
    n = days * 96
    requests = make_requests(n, every="15min", feature_id=["search", "summary"])
    requests["cost_usd"] = 0.002 * rng.lognormal(0, 0.5, n)
    requests["input_tokens"] = rng.integers(50, 200, n)
    requests["output_tokens"] = rng.integers(20, 90, n)
    fallen = ((requests["feature_id"] == "search") & (requests["timestamp"] >= START + 15 * DAY)).to_numpy()
    scores = np.clip(np.round(rng.normal(4.2 - fall * fallen, 0.7)), 1, 5)
    judgements = make_judgements(n, start=START + pd.Timedelta("5min"), every="15min", feature_id=["search", "summary"],
                                 quality_score=scores.tolist(), dimensions={})  # fmt: skip
    return {"requests": requests, "judgements": judgements}


@pytest.fixture(scope="module")
def fallen():
    return lm.open_log(scored(fall=1.5))


@pytest.fixture(scope="module")
def alerts(fallen):
    return check(fallen, PLAN)


def test_a_fall_of_quality_is_one_critical_row_within_two_days(alerts):
    assert list(alerts.columns) == list(COLUMNS)
    assert alerts[["feature_id", "severity"]].values.tolist() == [["search", "critical"]]
    row = alerts.iloc[0]
    assert row["metric"] in ("mean_quality", "flagged_rate")
    assert START + 15 * DAY < row["fired_at"] <= START + 17 * DAY
    assert row["low"] <= row["value"] <= row["high"]
    assert row["n"] >= 20
    assert 0 < row["designed_false_alarms_per_month"] < 1


def test_nothing_fires_before_it_could_be_known(fallen, alerts):
    fired = alerts["fired_at"].iloc[0]
    before = check(fallen, PLAN, until=fired - pd.Timedelta("1s"))
    assert before[before["feature_id"] == "search"].empty
    then = check(fallen, PLAN, until=fired)
    assert then["alert_id"].tolist() == alerts["alert_id"].tolist()
    assert then["value"].tolist() == alerts["value"].tolist()


def test_row_order_has_no_effect_and_ids_stay(alerts):
    shuffled = {name: table.sample(frac=1, random_state=1) for name, table in scored(fall=1.5).items()}
    pd.testing.assert_frame_equal(check(lm.open_log(shuffled), PLAN), alerts)


def test_a_rise_of_quality_is_info():
    better = check(lm.open_log(scored(fall=-0.7)), PLAN)
    assert better["severity"].tolist() == ["info"] * len(better)
    assert len(better) == 1


def test_a_quiet_log_gives_an_empty_table_and_a_sentence_on_what_would_have_been_seen():
    log = lm.open_log(scored())
    assert check(log, PLAN).empty
    told = detectable(control_charts(log, PLAN)).replace("\u00a0", " ")
    assert "charts over 7 days after the baseline; a fall of quality by 0." in told
    assert told.endswith("would have been seen within a week in 8 of 10 cases.")


def test_an_empty_log_gives_an_empty_table_with_its_columns():
    table = check(lm.open_log({"requests": make_requests(0)}))
    assert table.empty
    assert list(table.columns) == list(COLUMNS)


def test_a_log_of_a_few_rows_gives_no_alert_and_says_what_is_not_charted():
    log = lm.open_log({"requests": make_requests(5), "judgements": make_judgements(5)})
    assert check(log).empty
    assert control_charts(log).not_charted["reason"].unique().tolist() == ["0 days of history"]


def test_judgements_of_requests_that_are_nowhere_count_in_no_room_and_a_notice_says_so():
    tables = scored(fall=1.5)
    tables["judgements"]["request_id"] = "gone-" + tables["judgements"]["request_id"]
    log = lm.open_log(tables)
    assert check(log, PLAN).empty
    assert lm.quality_metrics(log).empty
    assert any("whose request_id is not in requests" in notice for notice in log.notices)


def test_every_layer_can_be_switched_off(fallen):
    off = {name: {"enabled": False} for name in ("infrastructure", "cost", "quality")}
    assert check(fallen, off).empty


@pytest.mark.parametrize(
    "metric",
    ["mean_quality", "flagged_rate", "latency_p95_ms", "avg_cost_per_request_usd", "request_count", "total_cost_usd"],
)
def test_every_layer_has_a_daily_chart(fallen, metric):
    chart = chart_of(fallen, metric, "search", PLAN, false_alarms_per_month=0.02)
    if metric in ("latency_p95_ms", "request_count"):
        assert chart is None  # the builder's latency and volume never vary
        return
    frame = chart.to_frame()
    assert {"window_start", "window_end", "value", "n", "center", "lower", "upper", "alarm"} <= set(frame.columns)
    assert len(frame) == 20  # the last of 21 days is still open
    assert frame["alarm"].any() == (metric in ("mean_quality", "flagged_rate"))


def test_a_metric_that_is_not_charted_has_no_chart(fallen):
    assert chart_of(fallen, "query_drift", "search", PLAN) is None


def test_all_features_together_have_a_chart(fallen):
    whole = chart_of(fallen, "mean_quality", None, PLAN, false_alarms_per_month=0.02).to_frame()
    one = chart_of(fallen, "mean_quality", "search", PLAN, false_alarms_per_month=0.02).to_frame()
    assert whole["n"].sum() == 2 * one["n"].sum()


def test_the_sample_has_one_incident_and_one_warning():
    found = check(lm.open_log(ROOT / "sample_data"))
    assert found[["feature_id", "severity"]].values.tolist() == [["support", "critical"], ["summary", "warning"]]
    assert found["metric"][0] in ("mean_quality", "flagged_rate")
    began = pd.Timestamp("2026-05-18T10:00Z")
    assert began < found["fired_at"][0] <= began + 2 * DAY
    assert found["metric"][1] == "abandonment_rate"


@pytest.mark.skipif(not REAL.exists(), reason="the real log ../shared/data/llmdrift is not here")
def test_the_real_update_is_seen_on_its_first_day_and_cheaper_is_no_success():
    found = check(lm.open_log(REAL))
    first = found.iloc[0]
    assert (first["feature_id"], first["severity"], first["layer"]) == ("opinionqa", "critical", "quality")
    assert pd.Timestamp("2023-06-27T00:00Z") < first["fired_at"] <= pd.Timestamp("2023-06-28T00:00Z")
    assert "leetcode_easy" in found["feature_id"].tolist()
    assert set(found.loc[found["feature_id"] == "sensitiveq", "severity"]) <= {"info"}
