"""Custom measures: declared with a log or a plan, used in windows, charts, alerts and all five stages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring import incident
from tests.builders import START, make_requests

DAYS, A_DAY = 28, 48
RISE = START + pd.Timedelta(days=20)
TTFT = lm.Measure("ttft", column="ttft_ms", kind="positive", worse="up", unit="ms")
SPEED = lm.Measure("speed", sql="output_tokens / latency_ms", worse="down")


def slow_start() -> pd.DataFrame:
    """Four weeks in which the first token comes half as fast from day 20 on."""
    rng = np.random.default_rng(1)
    requests = make_requests(DAYS * A_DAY, every="30min")
    late = (requests["timestamp"] >= RISE).to_numpy()
    return requests.assign(ttft_ms=rng.lognormal(5, 0.4, len(requests)) * np.where(late, 2.0, 1.0))


def test_window_metrics_gives_mean_n_interval_and_quantiles_of_an_own_measure():
    requests = make_requests(5, ttft_ms=[100.0, 200.0, 300.0, None, 400.0])
    row = lm.window_metrics(lm.open_log(requests, measures=[TTFT]), None, measures=["ttft"], intervals=True).iloc[0]
    assert (row["ttft"], row["ttft_n"], row["ttft_p50"]) == (250.0, 4, 250.0)
    assert row["ttft_p95"] == pytest.approx(np.quantile([100, 200, 300, 400], 0.95))
    half = 3.182446 * np.std([100, 200, 300, 400], ddof=1) / 2  # Student's t, 3 degrees of freedom
    assert (row["ttft_low"], row["ttft_high"]) == pytest.approx((250 - half, 250 + half))


def test_a_share_has_a_wilson_interval():
    requests = make_requests(10, cached=[True] * 3 + [False] * 7)
    cached = lm.Measure("cached", column="cached", kind="proportion", worse="down")
    row = lm.window_metrics(requests, None, measures=[cached], intervals=True).iloc[0]
    assert (row["cached"], row["cached_n"]) == (0.3, 10)
    assert (row["cached_low"], row["cached_high"]) == pytest.approx((0.1078, 0.6032), abs=1e-4)  # Wilson (1927)


def test_an_expression_is_worked_out_in_the_engine():
    requests = make_requests(2, output_tokens=[50, 100], latency_ms=[100.0, 400.0])
    assert lm.window_metrics(requests, None, measures=[SPEED])["speed"].tolist() == [0.375]


def test_numbers_of_a_csv_file_are_numbers_for_a_measure(tmp_path):
    make_requests(3, ttft_ms=[100, 200, None]).drop(columns="error").to_csv(tmp_path / "requests.csv", index=False)
    log = lm.open_log(tmp_path, measures=[TTFT])
    assert lm.window_metrics(log, None, measures=["ttft"])["ttft"].tolist() == [150.0]


@pytest.mark.parametrize("declared", ["log", "plan"])
def test_an_own_measure_is_charted_alerts_and_goes_through_all_five_stages(declared, tmp_path):
    plan = {"quality": {"query_drift": False}}
    if declared == "plan":
        plan["measures"] = {"ttft": {"column": "ttft_ms", "kind": "positive", "worse": "up", "unit": "ms"}}
    log = lm.open_log(slow_start(), measures=[TTFT])
    given = log if declared == "log" else {"requests": slow_start()}
    alerts = lm.check(given, plan)
    (row,) = alerts[alerts["metric"] == "ttft"].to_dict("records")
    assert (row["layer"], row["direction"], row["kind"]) == ("quality", "up", "change")
    assert RISE <= row["fired_at"] <= RISE + pd.Timedelta("2D")
    assert "ms" in row["message"]
    triage, scope = incident.triage(log, row), incident.scope(log, row)
    cause = incident.isolate(log, row, scope)
    advice = incident.respond(log, row, scope, cause)
    learned = incident.learn(log, row, reviews=None, out=tmp_path)
    assert triage.verdict != "false_positive"
    assert abs(pd.Timestamp(triage.since) - RISE) < pd.Timedelta("1D")
    assert cause.ranking
    assert advice.action
    assert learned.file


@pytest.mark.parametrize(
    ("measures", "sentence"),
    [
        ([lm.Measure("error_rate", column="x")], "measures: 'error_rate' is the name of a metric of this package; choose another name"),
        ([lm.Measure("ttft")], "measures: 'ttft' has neither column and sql; expected one"),
        ([TTFT, lm.Measure("ttft", column="latency_ms")], "measures: 'ttft' is declared twice, differently; keep one of them"),
        ([lm.Measure("ttft", column="ttft_mss")], "measure 'ttft': requests have no column 'ttft_mss'; the nearest is 'ttft_ms'"),
        ([5], "measures: 5; expected Measure objects, such as Measure('ttft', column='ttft_ms')"),
    ],
)  # fmt: skip
def test_a_measure_that_cannot_be_is_refused_when_the_log_is_opened(measures, sentence):
    with pytest.raises(lm.ConfigError) as caught:
        lm.open_log(make_requests(2, ttft_ms=1.0), measures=measures)
    assert str(caught.value) == sentence


def test_a_column_of_texts_is_no_measure():
    with pytest.raises(lm.ConfigError) as caught:
        lm.window_metrics(make_requests(2), measures=[lm.Measure("kind", column="category")])
    assert str(caught.value) == "measure 'kind': column 'category' holds 'general'; expected numbers"


def test_an_unknown_name_is_answered_with_the_nearest():
    log = lm.open_log(make_requests(2, ttft_ms=1.0), measures=[TTFT])
    with pytest.raises(lm.ConfigError) as caught:
        lm.window_metrics(log, measures=["tft"])
    assert str(caught.value) == "measures='tft'; expected one of 'ttft'; the nearest is 'ttft'"


@pytest.mark.parametrize(
    "sql",
    ["(SELECT 1)", "sum(latency_ms)", "nope + 1", "latency_ms, 2", "latency_ms FROM x", "read_csv('a')", "1; DROP TABLE x",
     "random()", "getenv('HOME')", "row_number() OVER ()", "user_input", "latency_ms) AS x, (2", "*"],
)  # fmt: skip
def test_sql_is_one_scalar_expression_over_the_columns_and_makes_a_number(sql):
    with pytest.raises(lm.ConfigError, match=r"^measure 'x': "):
        lm.window_metrics(make_requests(2), measures=[lm.Measure("x", sql=sql)])


def test_a_misspelt_metric_of_an_alert_is_answered_with_the_nearest(tmp_path):
    alert = {"fired_at": "2026-05-12T00:00Z", "direction": "down"}
    with pytest.raises(lm.ConfigError) as caught:
        incident.triage(lm.open_log(make_requests(40)), alert | {"metric": "eror_rate"})
    assert str(caught.value) == "metric 'eror_rate' is not known; the nearest is 'error_rate'"
    with pytest.raises(lm.ConfigError) as caught:
        incident.triage(lm.open_log("sample_data"), alert | {"metric": "mean_qualty"})
    assert (
        str(caught.value)
        == "metric 'mean_qualty': no judgement has this dimension; the nearest metric is 'mean_quality'"
    )
