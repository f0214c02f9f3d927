"""window_metrics and quality_metrics against pandas, closed forms and what the real data say of themselves."""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

import llm_monitoring as lm
from llm_monitoring import windows
from tests.builders import START, make_judgements, make_requests

LLMDRIFT = Path("../shared/data/llmdrift")
COLUMNS = [
    "window_start", "window_end", "feature_id", "request_count", "error_rate", "refusal_rate", "truncation_rate",
    "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "total_cost_usd", "avg_cost_per_request_usd",
    "avg_input_tokens", "avg_output_tokens",
]  # fmt: skip


def traffic(n: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    unknown = np.where(rng.random(n) < 0.1, np.nan, 1)
    return make_requests(
        n,
        timestamp=list(START + pd.to_timedelta(rng.integers(0, 3 * 86_400_000, n), unit="ms")),
        feature_id=list(rng.choice(["search", "code"], n)),
        latency_ms=list(rng.lognormal(6, 1, n) * unknown),
        cost_usd=list(rng.random(n) * unknown),
        error=list(rng.choice([None, "timeout"], n, p=[0.9, 0.1])),
        finish_reason=list(rng.choice(["end_turn", "refusal", "max_tokens"], n)),
    )


def test_window_metrics_are_those_of_pandas():
    frame = traffic()
    found = lm.window_metrics(frame, "6h")
    groups = frame.groupby([frame["timestamp"].dt.floor("6h").rename("window_start"), "feature_id"])
    expected = pd.DataFrame(
        {
            "request_count": groups.size(),
            "error_rate": groups["error"].count() / groups.size(),
            "refusal_rate": groups["finish_reason"].agg(lambda each: (each == "refusal").mean()),
            "truncation_rate": groups["finish_reason"].agg(lambda each: (each == "max_tokens").mean()),
            **{f"latency_p{p}_ms": groups["latency_ms"].quantile(p / 100) for p in (50, 95, 99)},
            "total_cost_usd": groups["cost_usd"].sum(),
            "avg_cost_per_request_usd": groups["cost_usd"].mean(),
            "n_latency": groups["latency_ms"].count(),
        }
    ).reset_index()
    pd.testing.assert_frame_equal(found[list(expected)], expected, rtol=1e-12, check_dtype=False)


def test_the_columns_are_there_when_nothing_else_is():
    found = lm.window_metrics(make_requests(0))
    assert (len(found), list(found.columns)[: len(COLUMNS)]) == (0, COLUMNS)
    whole = lm.window_metrics(make_requests(0), None, by=[])
    assert whole["request_count"].tolist() == [0]
    assert whole[["error_rate", "latency_p50_ms", "total_cost_usd"]].isna().all(axis=None)


def test_unknown_is_null_and_never_zero():
    found = lm.window_metrics(make_requests(4, drop=["cost_usd", "latency_ms", "error", "finish_reason"]), None, by=[])
    unknown = ["error_rate", "refusal_rate", "latency_p95_ms", "total_cost_usd", "avg_cost_per_request_usd"]
    assert found[unknown].isna().all(axis=None)
    half = lm.window_metrics(make_requests(4, cost_usd=[0.2, None], latency_ms=[float("nan"), 100.0]), None, by=[])
    assert half[["avg_cost_per_request_usd", "n_cost", "latency_p50_ms", "n_latency"]].iloc[0].tolist() == [
        0.2,
        2,
        100,
        2,
    ]


def test_windows_are_left_closed_and_weeks_start_on_monday():
    frame = make_requests(2, timestamp=[START, START - pd.Timedelta("1us")])
    assert lm.window_metrics(frame, "1d")["window_start"].tolist() == [START - pd.Timedelta("1D"), START]
    assert lm.window_metrics(frame, "1w")["window_start"].tolist() == [START - pd.Timedelta("7D"), START]


@settings(max_examples=20)
@given(
    st.lists(
        st.datetimes(pd.Timestamp("2000-01-01").to_pydatetime(), pd.Timestamp("2099-01-01").to_pydatetime()), min_size=1
    ),
    st.sampled_from(["1s", "5min", "1h", "6h", "1d", "1w"]),
)
def test_the_engine_and_pandas_put_a_time_into_the_same_window(times, window):
    frame = make_requests(len(times), timestamp=[pd.Timestamp(time, tz="UTC") for time in times])
    expected = windows.floor(frame["timestamp"], window).value_counts().sort_index()
    found = lm.window_metrics(frame, window, by=[])
    assert found["window_start"].tolist() == expected.index.tolist()
    assert found["request_count"].tolist() == expected.tolist()


def test_a_repeated_request_id_is_refused_in_a_frame_as_in_a_log():
    frame = make_requests(3, request_id=["a", "b", "a"])
    for source in (frame, lm.open_log({"requests": frame})):
        with pytest.raises(lm.LogError, match=r"^requests row 2, request_id: 'a'; expected each request_id once"):
            lm.window_metrics(source, None, by=[])


def test_empty_windows_are_filled_on_request():
    found = lm.window_metrics(make_requests(2, every="3h"), "1h", by=[], fill=True)
    assert found["request_count"].tolist() == [1, 0, 0, 1]
    assert found["error_rate"].fillna(-1).tolist() == [0, -1, -1, 0]


def test_intervals_are_wilsons():
    """0.0279, 0.3010 for 2 of 20: Newcombe, Statistics in Medicine 17 (1998), formula 3."""
    frame = make_requests(20, error=["x", *[None] * 9])
    found = lm.window_metrics(frame, None, by=[], intervals=True)[["error_rate_low", "error_rate_high"]]
    assert found.iloc[0].tolist() == pytest.approx([0.0279, 0.3010], abs=1e-4)


def test_a_row_that_would_spoil_a_figure_is_refused_by_name():
    with pytest.raises(lm.LogError, match=r"^requests row 1, cost_usd: -0.5; expected a number >= 0"):
        lm.window_metrics(make_requests(2, cost_usd=[1, -0.5]))


def test_an_unknown_column_or_window_says_what_there_is():
    with pytest.raises(lm.ConfigError, match=r"by='feature'; expected one of .*; the nearest is 'feature_id'"):
        lm.window_metrics(make_requests(1), by=["feature"])
    with pytest.raises(
        lm.ConfigError, match=r"window='1 month'; expected a whole number of s, min, h, d or w, such as '1h'"
    ):
        lm.window_metrics(make_requests(1), "1 month")


@pytest.mark.skipif(not LLMDRIFT.exists(), reason="real data of ../shared/data are not here")
def test_the_real_log_gives_the_figures_that_came_with_it():
    log, stats = lm.open_log(LLMDRIFT), json.loads((LLMDRIFT / "stats.json").read_text())["by"]
    found = lm.window_metrics(log, None, by=["feature_id", "model_id"])
    for row in found.to_dict("records"):
        expected = stats[f"{row['feature_id']}|{row['model_id']}"]
        assert row["request_count"] == expected["n"]
        assert row["refusal_rate"] == pytest.approx(expected["finish_reason"].get("refusal", 0) / expected["n"])
        assert row["latency_p95_ms"] == pytest.approx(expected["latency_ms_p95"], abs=0.06)
        assert row["total_cost_usd"] == pytest.approx(expected["cost_usd_sum"])


def test_quality_of_a_plain_sample_is_mean_sd_and_standard_error():
    scores = [4.0, 2.0, 5.0, 3.0, None]
    row = lm.quality_metrics(make_judgements(5, quality_score=scores), window=None).iloc[0]
    known = pd.Series(scores).dropna()
    assert (row["n_judged"], row["n_failed"], row["flagged_rate"]) == (4, 1, 0.25)
    assert [row["mean_quality"], row["sd_quality"], row["se_quality"]] == pytest.approx(
        [known.mean(), known.std(), known.sem()]
    )
    assert (row["mean_correctness"], row["mean_tone"]) == (3.5, 4)


def test_quality_is_weighted_by_the_chance_to_be_drawn():
    """Four answers at 1 in 20, two at 1 in 2: Hajek mean (4*20*4 + 2*2*1) / (4*20 + 2*2)."""
    frame = make_judgements(6, quality_score=[4, 4, 4, 4, 1, 1], inclusion_probability=[0.05] * 4 + [0.5] * 2)
    row = lm.quality_metrics(frame, window=None).iloc[0]
    assert row["mean_quality"] == pytest.approx((80 * 4 + 4 * 1) / 84)
    assert row["flagged_rate"] == pytest.approx(4 / 84)


def test_quality_goes_by_the_time_and_columns_of_the_request_where_it_is_known():
    requests = make_requests(2, category=["a", "b"])
    judgements = make_judgements(2, start=START + pd.Timedelta("2D"))
    found = lm.quality_metrics(judgements, requests, by=["category"])
    assert found[["window_start", "category"]].to_numpy().tolist() == [[START, "a"], [START, "b"]]
    assert lm.quality_metrics(judgements)["window_start"].tolist() == [START + pd.Timedelta("2D")]


def test_dimensions_may_have_any_name():
    frame = make_judgements(2, dimensions={"a.b": 1, "c/d~e": 2, "$ 'x'": 3, "é": None})
    row = lm.quality_metrics(frame, window=None).iloc[0]
    assert [row["mean_a.b"], row["mean_c/d~e"], row["mean_$ 'x'"]] == [1, 2, 3]
    assert np.isnan(row["mean_é"])


def test_standard_errors_of_quality_are_clustered_by_session():
    # closed form: sums of w (y - m) per session, squared, times G / (G - 1)
    rng = np.random.default_rng(0)
    session, shared = rng.integers(0, 60, 300), rng.normal(0, 0.5, 60)
    score = np.clip(np.round(4 + shared[session] + rng.normal(0, 0.5, 300)), 1, 5)
    chance = rng.choice([0.05, 0.5], 300)
    requests = make_requests(300, every="1min", session_id=[f"ses-{i}" for i in session])
    judgements = make_judgements(300, quality_score=score.tolist(), inclusion_probability=chance.tolist())
    found = lm.quality_metrics(judgements, requests).iloc[0]
    weight = 1 / chance
    mean = (weight * score).sum() / weight.sum()
    sums = pd.Series(weight * (score - mean)).groupby(session).sum()
    expected = np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / weight.sum()
    assert found["mean_quality"] == pytest.approx(mean)
    assert found["se_quality"] == pytest.approx(expected)
    assert lm.quality_metrics(judgements).iloc[0]["se_quality"] < expected


def test_no_judgement_at_all_is_none_failed():
    assert lm.quality_metrics(make_judgements(3).head(0), window=None, by=[])["n_failed"].tolist() == [0]
