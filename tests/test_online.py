import asyncio
import json
import math

import numpy as np
import pandas as pd
import pytest
from fake_judge_server import BAD_CONTENT, FakeJudgeServer

import llm_monitoring as lm
from llm_monitoring import online
from llm_monitoring.charts.textbook.ewma import EWMAChart
from llm_monitoring.errors import ConfigError
from llm_monitoring.online import RequestMetrics, UserSignal


def request(i=0, **changed):
    values = {
        "request_id": f"req-{i}", "timestamp": 1778493600.0 + i, "feature_id": "search", "model_id": "m-1",
        "latency_ms": 100.0 + i, "input_tokens": 10, "output_tokens": 5, "cost_usd": 0.001,
        "finish_reason": "end_turn", "error": None,
    }  # fmt: skip
    return RequestMetrics(**{**values, **changed})


def signal(i, kind, at=0.0):
    return UserSignal(f"req-{i}", "ses", kind, at, {})


def test_window_metrics_have_the_keys_and_roundings_of_the_original():
    records = [request(0), request(1, error="boom", finish_reason="error"), request(2, finish_reason="refusal")]
    assert online.compute_window_metrics(records, "09:00") == {
        "window": "09:00",
        "request_count": 3,
        "error_rate": 0.3333,
        "refusal_rate": 0.3333,
        "latency_p50_ms": 101.0,
        "latency_p95_ms": pytest.approx(101.9),
        "latency_p99_ms": pytest.approx(101.98),
        "total_cost_usd": 0.003,
        "avg_cost_per_request_usd": 0.001,
        "avg_input_tokens": 10.0,
        "avg_output_tokens": 5.0,
    }
    assert online.compute_window_metrics([], "x") == {"window": "x", "count": 0}


def test_window_metrics_equal_those_of_the_table_function():
    rng = np.random.default_rng(0)
    records = [
        request(
            i,
            latency_ms=float(rng.lognormal(6, 1)) if i % 7 else None,
            cost_usd=0.001 * i if i % 5 else None,
            error="boom" if i % 11 == 0 else None,
        )
        for i in range(200)
    ]
    frame = pd.DataFrame([vars(record) for record in records])
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    table = lm.window_metrics(frame, window=None, by=[]).iloc[0]
    found = online.compute_window_metrics(records, "all")
    for name in ("error_rate", "refusal_rate", "total_cost_usd"):
        assert found[name] == round(table[name], 4)
    for name in ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms"):
        assert found[name] == pytest.approx(table[name], rel=1e-9)
    assert found["avg_cost_per_request_usd"] == round(table["avg_cost_per_request_usd"], 6)


def test_unknown_numbers_are_unknown_and_a_repeated_record_counts_once():
    found = online.compute_window_metrics([request(0, latency_ms=None, cost_usd=None)] * 3, "w")
    assert found["request_count"] == 1
    assert found["latency_p95_ms"] is None
    assert found["total_cost_usd"] is None


def test_rates_of_signals_stay_at_most_one_when_signals_repeat():
    found = online.compute_user_satisfaction_metrics(
        [signal(0, "abandoned")] * 5 + [signal(0, "thumbs_up")] * 3 + [signal(9, "abandoned")], [request(0)] * 2
    )
    assert found == {
        "explicit_positive_rate": 1.0,
        "explicit_feedback_coverage": 1.0,
        "correction_rate": 0.0,
        "follow_up_rate": 0.0,
        "abandonment_rate": 1.0,
        "survivorship_bias_risk": True,
    }


def test_abandonment_without_any_thumb_is_a_risk():
    requests = [request(i) for i in range(10)]
    found = online.compute_user_satisfaction_metrics([signal(i, "abandoned") for i in range(4)], requests)
    assert found["explicit_positive_rate"] is None
    assert found["survivorship_bias_risk"] is True


def test_no_requests_are_no_division_by_zero():
    assert set(online.compute_user_satisfaction_metrics([], []).values()) == {None}


def test_the_later_of_two_thumbs_counts():
    signals = [signal(0, "thumbs_down", at=2.0), signal(0, "thumbs_up", at=1.0)]
    assert online.compute_user_satisfaction_metrics(signals, [request(0)])["explicit_positive_rate"] == 0.0


def original_rule(values, alpha=0.1, k=3.0, warmup_n=30):
    """The chart of the original design, as written: whether it ever alarms."""
    ewma = var = None
    for n, value in enumerate(values, 1):
        if ewma is None:
            ewma, var = value, 0.0
            continue
        before = ewma
        ewma = alpha * value + (1 - alpha) * ewma
        var = (1 - alpha) * (var + alpha * (value - before) ** 2)
        sd = math.sqrt(var) if var > 0 else 0.0
        if n >= warmup_n and abs(value - ewma) > (k * sd if sd > 0 else math.inf):
            return True
    return False


@pytest.mark.parametrize("fall", [-1, -3, -1000, 1e6])
def test_the_original_rule_cannot_alarm_and_this_chart_does(fall):
    # |x - ewma| = (1 - a) d and sd >= sqrt((1 - a) a) d, so an alarm needs (1 - a) / a > k^2: 9 > 9
    rng = np.random.default_rng(0)
    values = [*rng.integers(3, 6, 40).tolist(), *([4 + fall] * 30)]
    assert not original_rule(values)
    chart = online.QualityControlChart()
    assert any(chart.update(value)["alert"] for value in values)


def test_a_slow_fall_is_not_absorbed():
    rng = np.random.default_rng(1)
    values = rng.normal(4, 0.5, 300)
    values[60:] -= np.linspace(0, 1.5, 240)
    chart = online.QualityControlChart(warmup_n=60)
    alerts = [chart.update(value)["alert"] for value in values]
    assert all(alerts[-50:])


def test_the_chart_is_the_textbook_ewma_on_its_warm_up():
    rng = np.random.default_rng(2)
    values = rng.normal(4, 0.5, 80)
    chart = online.QualityControlChart(alpha=0.2, k=2.962, warmup_n=30)
    found = [chart.update(value) for value in values][30:]
    core = EWMAChart(lambda_=0.2, arl0=500).fit(values[:30]).monitor(values[30:]).to_frame()
    assert [row["ewma"] for row in found] == pytest.approx(core["statistic"].tolist(), abs=1e-4)


def test_the_chart_keeps_the_keys_and_leaves_failures_out():
    chart = online.QualityControlChart()
    assert chart.update(4) == {"alert": False, "n": 1, "ewma": 4.0}
    keys = {"alert", "value", "ewma", "ewmstd", "deviation", "alert_threshold", "n"}
    assert set(chart.update(5)) == keys
    assert chart.update(None)["n"] == 2
    assert chart.update(float("nan"))["n"] == 2


def test_one_score_only_never_ends_the_warm_up():
    chart = online.QualityControlChart(warmup_n=5)
    assert not any(chart.update(5)["alert"] for _ in range(100))
    assert chart.center is None


def test_the_parameters_of_the_chart_are_checked():
    with pytest.raises(ConfigError) as error:
        online.QualityControlChart(alpha=0)
    assert str(error.value) == "QualityControlChart(alpha=0); expected a number above 0, at most 1"


def test_tracking_a_fall_calls_the_hook(capsys):
    for score in [4, 5, 4, 3, 4] * 8 + [1] * 3:
        online.track_quality_metric("test-feature", score)
    online.quality_charts.pop("test-feature.quality")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("[QUALITY ALERT] test-feature: EWMA ")


class Store:
    """The least that a store can be."""

    __slots__ = ("kept",)

    def __init__(self):
        self.kept = {}

    def get_centroid(self, feature_id):
        return self.kept.get(feature_id)

    def update_centroid(self, feature_id, centroid):
        self.kept[feature_id] = centroid


def test_the_cut_comes_from_the_features_own_queries():
    rng = np.random.default_rng(0)
    things = ["parcel", "order", "delivery", "refund", "invoice", "shipping", "return label", "voucher"]
    asks = [
        "Where is my {}?",
        "I have a question about my {}",
        "How do I change the {}?",
        "My {} is late",
        "Cancel the {}",
    ]
    store = Store()

    def known():
        return f"{rng.choice(asks).format(rng.choice(things))} number {rng.integers(1000)}"

    for _ in range(250):
        online.track_input_distribution(known(), "support", store)
    quiet = [online.track_input_distribution(known(), "support", store) for _ in range(200)]
    assert np.mean([row["distribution_shift"] for row in quiet]) <= 0.06  # the fixed cut flagged all of them
    new = ["Quantum field theory on curved spacetime", "def quicksort(a): return a", "the mitochondria make energy"]
    found = [online.track_input_distribution(query, "support", store) for query in new]
    assert sum(row["distribution_shift"] for row in found) >= 2
    assert set(found[0]) == {"distribution_shift", "similarity_to_centroid"}


def test_cosines_of_vectors_without_length_or_of_unequal_length():
    assert online.cosine_similarity([0, 0], [1, 1]) == 0.0
    with pytest.raises(ConfigError) as error:
        online.cosine_similarity([1, 2], [1, 2, 3])
    assert str(error.value) == "cosine_similarity(a, b): 2 and 3 numbers; expected the same number of both"


def test_production_samples_are_judged_by_a_server_and_bad_answers_are_never_scores(monkeypatch):
    with FakeJudgeServer() as server:
        monkeypatch.setenv("LLM_MONITORING_JUDGE_MODEL", "fake")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")

        async def judge_all():
            marks = ["score=2", *(f"[[{mode}]]" for mode in BAD_CONTENT), "[[refusal]]", "[[400]]", "[[401]]"]
            return await asyncio.gather(
                *(online.judge_production_sample(f"r{i}", "search", "q", f"a {mark}") for i, mark in enumerate(marks))
            )

        good, *bad = asyncio.run(judge_all())
    assert (good.quality_score, good.flagged, good.flag_reason) == (2, True, "quality_score 2 <= 2; correctness 2 <= 2")
    for found in bad:
        assert (found.quality_score, found.dimensions, found.flagged, found.status) == (None, {}, False, "failed")
        assert found.error
    json.dumps(vars(good))
