"""A number means one thing: windows, charts, stages and record-level names give the same figure of the same log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring import incident
from tests.builders import START, make_judgements, make_requests, make_signals

DAYS, A_DAY = 24, 40
FALL = START + pd.Timedelta(days=16)
LLMDRIFT = Path("../shared/data/llmdrift")


def tables(scale: str = "1..5") -> dict[str, pd.DataFrame]:
    """Two features; requests that fail by `error` or by finish reason alone; judgements repeated, weighted, by two judges."""
    rng = np.random.default_rng(3)
    n = DAYS * A_DAY
    requests = make_requests(
        n,
        every=f"{24 * 60 // A_DAY}min",
        feature_id=["search", "summary"],
        finish_reason=list(rng.choice(["end_turn", "error", "refusal", "max_tokens"], n, p=[0.85, 0.05, 0.05, 0.05])),
        error=list(rng.choice([None, "timeout"], n, p=[0.95, 0.05])),
        latency_ms=list(rng.lognormal(6, 0.5, n)),
        cost_usd=list(rng.lognormal(-6, 0.4, n)),
    )
    bad = (requests["timestamp"] >= FALL) & (requests["feature_id"] == "search")
    score = np.clip(np.round(rng.normal(np.where(bad, 2.6, 4.2), 0.7)), 1, 5)
    low, high = (float(end) for end in scale.split(".."))
    on_scale = low + (score - 1) / 4 * (high - low)
    chance = np.where(requests.index % 3 == 0, 0.5, 0.25)
    judged = make_judgements(
        n, every=f"{24 * 60 // A_DAY}min", start=START + pd.Timedelta("5min"), feature_id=["search", "summary"]
    )
    judged = judged.assign(
        quality_score=on_scale, flagged=score <= 2, dimensions=[{"tone": value} for value in on_scale], scale=scale,
        inclusion_probability=chance, judge_model="judge-a",
    )  # fmt: skip
    again = judged.iloc[::7].assign(quality_score=low, judged_at=judged["judged_at"].iloc[::7] - pd.Timedelta("1min"))
    failed = judged.iloc[::11].assign(
        quality_score=np.nan,
        flagged=False,
        status="failed",
        judged_at=judged["judged_at"].iloc[::11] + pd.Timedelta("1h"),
    )
    beside = judged.iloc[::2].assign(judge_model="judge-b", quality_score=high, flagged=False)
    thumbs = make_signals(n, every=f"{24 * 60 // A_DAY}min", signal_type=["thumbs_up", "thumbs_down", "thumbs_up"])
    changed = thumbs.iloc[::5].assign(
        signal_type="thumbs_down", timestamp=thumbs["timestamp"].iloc[::5] + pd.Timedelta("2min")
    )
    left = make_signals(n // 4, every=f"{24 * 60 // A_DAY}min", signal_type="abandoned")
    return {
        "requests": requests,
        "judgements": pd.concat([judged, again, failed, beside], ignore_index=True),
        "signals": pd.concat([thumbs, changed, left, left], ignore_index=True),
    }


@pytest.fixture(
    scope="module", params=["0..1", *(pytest.param(one, marks=pytest.mark.long) for one in ("1..5", "0..10"))]
)
def log(request) -> lm.Log:
    return lm.open_log(tables(request.param))


@pytest.fixture(scope="module")
def charted(log) -> pd.DataFrame:
    return lm.control_charts(log, PLAN).to_frame()


PLAN = {
    "quality": {"window": "1d", "query_drift": False, "metrics": [
        "mean_quality", "flagged_rate", "failed_rate", "refusal_rate", "truncation_rate", "abandonment_rate",
        "explicit_positive_rate", "dimensions",
    ]},
    "cost": {"window": "1d"},
}  # fmt: skip


def by_day(frame: pd.DataFrame, metric: str) -> pd.Series:
    return frame.set_index(["feature_id", "window_start"])[metric].dropna()


@pytest.mark.parametrize(
    ("metric", "room"),
    [
        ("mean_quality", "quality"), ("flagged_rate", "quality"), ("mean_tone", "quality"), ("refusal_rate", "windows"),
        ("truncation_rate", "windows"), ("abandonment_rate", "signals"), ("explicit_positive_rate", "signals"),
    ],
)  # fmt: skip
def test_a_chart_shows_what_the_windows_say(log, charted, metric, room):
    found = {
        "quality": lambda: lm.quality_metrics(log, window="1d"),
        "windows": lambda: lm.window_metrics(log, window="1d"),
        "signals": lambda: lm.satisfaction_metrics(log, window="1d"),
    }[room]()
    drawn = by_day(charted[charted["metric"] == metric], "value")
    expected = by_day(found, metric).reindex(drawn.index)
    assert len(drawn) > 20
    np.testing.assert_allclose(drawn, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "metric", ["mean_quality", "flagged_rate", "error_rate", "refusal_rate", "explicit_positive_rate"]
)
def test_a_stage_compares_what_the_windows_say(log, metric):
    alert = {"metric": metric, "fired_at": FALL + pd.Timedelta("2D"), "direction": "down", "feature_id": "search"}
    triage = incident.triage(log, alert)
    since = pd.Timestamp(triage.since)
    requests = log.requests[log.requests["feature_id"] == "search"]
    late = requests["timestamp"] >= since
    beside = {name: getattr(log, name) for name in ("judgements", "signals")}
    for side, rows in (("before", requests[~late]), ("after", requests[late])):
        assert triage.change[side] == pytest.approx(whole(lm.open_log({**beside, "requests": rows}), metric), rel=1e-9)


def whole(log: lm.Log, metric: str) -> float:
    if metric in ("error_rate", "refusal_rate"):
        return float(lm.window_metrics(log, None)[metric].iloc[0])
    found = lm.satisfaction_metrics(log) if metric == "explicit_positive_rate" else lm.quality_metrics(log, window=None)
    return float(found[metric].iloc[0])


def test_a_second_judge_has_charts_of_its_own_and_is_in_no_mean_of_the_first(log, charted):
    assert {"failed_rate[judge-b]", "flagged_rate[judge-b]"} & set(charted["metric"])
    by_judge = lm.quality_metrics(log, window=None, by=["judge_model"]).set_index("judge_model")
    first = lm.quality_metrics(log, window=None, by=[])
    assert first["mean_quality"][0] == pytest.approx(by_judge.loc["judge-a", "mean_quality"], rel=1e-12)
    assert by_judge.loc["judge-b", "n_judged"] == len(log.requests) / 2


def test_records_in_a_serving_process_give_the_rates_of_the_windows(log):
    rows = log.requests
    records = [
        lm.RequestMetrics(r.request_id, 0.0, r.feature_id, r.model_id, r.latency_ms, r.input_tokens, r.output_tokens,
                          r.cost_usd, r.finish_reason, None if pd.isna(r.error) else r.error)
        for r in rows.itertuples()
    ]  # fmt: skip
    now = lm.compute_window_metrics([*records, *records[:50]], "all")
    windows = lm.window_metrics(log, None, by=[]).iloc[0]
    for name in ("request_count", "error_rate", "refusal_rate", "latency_p95_ms", "avg_cost_per_request_usd"):
        assert now[name] == pytest.approx(windows[name], abs=1e-4)


def test_a_fall_on_any_scale_goes_through_all_five_stages(log, tmp_path):
    alerts = lm.check(log, PLAN)
    alert = alerts[(alerts["feature_id"] == "search") & alerts["metric"].isin(["mean_quality", "flagged_rate"])].iloc[0]
    triage, scope = incident.triage(log, alert), incident.scope(log, alert)
    cause = incident.isolate(log, alert, scope)
    advice = incident.respond(log, alert, scope, cause)
    learned = incident.learn(log, alert, reviews=None, out=tmp_path)
    assert triage.verdict != "false_positive"
    assert abs(pd.Timestamp(triage.since) - FALL) < pd.Timedelta("1D")
    assert cause.ranking
    assert advice.action
    assert learned.cases


@pytest.mark.skipif(not LLMDRIFT.exists(), reason="the recorded calls are not here")
def test_the_rooms_agree_on_real_calls():
    log = lm.open_log(LLMDRIFT)
    charted = lm.control_charts(log, {"quality": {"window": "1d", "query_drift": False}}).to_frame()
    drawn = by_day(charted[charted["metric"] == "mean_quality"], "value")
    np.testing.assert_allclose(drawn, by_day(lm.quality_metrics(log), "mean_quality").reindex(drawn.index), rtol=1e-9)
