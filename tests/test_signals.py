"""Derived signals by their stated rules, satisfaction by counting, sessions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from rapidfuzz import fuzz, utils

import llm_monitoring as lm
from tests.builders import START, make_requests, make_signals


def kinds(frame: pd.DataFrame) -> dict[str, str]:
    return dict(zip(frame["request_id"], frame["signal_type"]))


def minutes(*after: float) -> list[pd.Timestamp]:
    return [START + pd.Timedelta(minutes=each) for each in after]


def test_the_next_request_is_a_retry_by_text_or_error_and_else_a_follow_up():
    frame = make_requests(
        7,
        session_id=["a", "a", "b", "b", "c", "c", "c"],
        timestamp=minutes(0, 4, 0, 4, 0, 6, 60),
        user_input=["return my shoes", "Return my shoes!", "one", "two", "same text", "same text", "same text"],
        error=[None, None, "timeout", None, None, None, None],
    )
    found = lm.derive_signals(frame)
    assert kinds(found) == {"req-0000": "retry", "req-0002": "retry", "req-0004": "follow_up"}
    assert set(found["timestamp"]) == set(minutes(4, 6))
    assert {each["source"] for each in found["metadata"]} == {"derived"}


def test_texts_are_compared_as_rapidfuzz_does_whatever_the_engine_decided_before():
    """Equal texts without a letter or digit are not alike to rapidfuzz: of nothing there is no share."""
    texts = ["one two", "One, two!", "two one", "!!!", "!!!", "é", "é", "", "", None, None, "one two", "other words"]
    rng = np.random.default_rng(0)
    inputs = [texts[i] for i in rng.integers(0, len(texts), 400)]
    frame = make_requests(400, session_id="s", user_input=inputs)
    near = [
        a is not None and b is not None and fuzz.token_set_ratio(a, b, processor=utils.default_process) >= 85
        for a, b in pairwise(inputs)
    ]
    expected = {f"req-{i:04d}": "retry" if each else "follow_up" for i, each in enumerate(near)}
    assert kinds(lm.derive_signals(frame)) == expected
    assert kinds(lm.derive_signals(frame, similarity=100.5)) == dict.fromkeys(expected, "follow_up")


@pytest.mark.parametrize(
    "bad", [{"error": "x"}, {"finish_reason": "refusal"}, {"finish_reason": "length"}, {"latency_ms": 9000.0}]
)
def test_a_session_that_ends_with_a_bad_first_response_is_abandoned(bad):
    (column, value), *_ = bad.items()
    frame = make_requests(40)
    frame[column] = frame[column].astype(object)
    frame.loc[7, column] = value
    found = lm.derive_signals(frame)
    assert kinds(found) == {"req-0007": "abandoned"}
    assert found["timestamp"].tolist() == minutes(7 + 30)


def test_the_caller_may_state_a_further_rule_of_abandonment():
    frame = make_requests(3, output_tokens=[50, 0, 50], every="1h")
    assert kinds(lm.derive_signals(frame, abandoned_if=lambda t: t["output_tokens"] == 0)) == {"req-0001": "abandoned"}


def test_logged_signals_win_over_derived_ones():
    frame = make_requests(2, session_id="s", user_input="same")
    logged = make_signals(1, signal_type="follow_up")
    assert lm.derive_signals(frame, logged).empty
    assert lm.derive_signals(lm.open_log({"requests": frame, "signals": logged})).empty


def test_derived_signals_are_a_signals_table():
    found = lm.derive_signals(make_requests(2, session_id="s", user_input=["one", "two"]))
    assert lm.open_log({"signals": found}).signals["signal_type"].tolist() == ["follow_up"]
    assert list(lm.derive_signals(make_requests(0)).columns) == [
        "request_id",
        "session_id",
        "signal_type",
        "timestamp",
        "metadata",
    ]


def test_satisfaction_counts_requests_and_no_signal_twice():
    requests = make_requests(10)
    ids = ["req-0000", "req-0000", "req-0001", "req-0002", "req-0002", "req-0002", "elsewhere"]
    signals = make_signals(
        7, request_id=ids, signal_type=["thumbs_down", "thumbs_up", "thumbs_down", *["retry"] * 3, "abandoned"]
    )
    row = lm.satisfaction_metrics(signals, requests).iloc[0]
    assert (row["request_count"], row["n_thumbs"]) == (10, 2)
    rates = ["explicit_positive_rate", "explicit_feedback_coverage", "retry_rate", "abandonment_rate"]
    assert row[rates].tolist() == [0.5, 0.2, 0.1, 0.0]
    assert row[["positive_rate_low", "positive_rate_high"]].tolist() == [0.1, 0.9]


def test_abandonment_is_warned_of_without_a_single_thumb():
    signals = make_signals(45, signal_type="abandoned")
    row = lm.satisfaction_metrics(signals, make_requests(100)).iloc[0]
    assert np.isnan(row["explicit_positive_rate"])
    assert (row["survivorship_bias_risk"], row["abandonment_risk"]) == (False, True)
    few = lm.satisfaction_metrics(make_signals(2, signal_type="abandoned"), make_requests(4)).iloc[0]
    assert (few["abandonment_rate"], few["abandonment_risk"]) == (0.5, False)


def test_the_original_warning_holds_beside_happy_thumbs():
    signals = make_signals(50, signal_type=["thumbs_up", *["abandoned"] * 4])
    assert lm.satisfaction_metrics(signals, make_requests(100)).loc[0, "survivorship_bias_risk"]


def test_the_weighted_rate_undoes_a_response_that_depends_on_what_is_known():
    """Half the requests are slow; of them 1 in 10 answers and half like it, of the quick 1 in 2 and all like it."""
    n = 2000
    requests = make_requests(n, latency_ms=[500.0] * 1000 + [9000.0] * 1000)
    quick = [f"req-{i:04d}" for i in range(500)]
    slow = [f"req-{i:04d}" for i in range(1000, 1100)]
    thumbs = ["thumbs_up"] * 500 + ["thumbs_up", "thumbs_down"] * 50
    row = lm.satisfaction_metrics(make_signals(600, request_id=quick + slow, signal_type=thumbs), requests).iloc[0]
    assert row["explicit_positive_rate"] == pytest.approx(550 / 600)
    assert row["positive_rate_weighted"] == pytest.approx(0.75, abs=0.01)
    assert row["positive_rate_weighted_low"] < 0.75 < row["positive_rate_weighted_high"]


def test_nothing_by_nothing_is_null_and_no_signals_table_is_unknown():
    row = lm.satisfaction_metrics(make_signals(0), make_requests(0), by=[]).iloc[0]
    assert row.drop(["request_count", "n_thumbs"]).isna().all()
    absent = lm.satisfaction_metrics(lm.open_log({"requests": make_requests(5)})).iloc[0]
    assert np.isnan(absent["abandonment_rate"])
    empty = lm.satisfaction_metrics(lm.open_log({"requests": make_requests(5), "signals": make_signals(0)})).iloc[0]
    assert empty["abandonment_rate"] == 0
    with pytest.raises(lm.ConfigError, match="rates are shares of requests"):
        lm.satisfaction_metrics(make_signals(1))


def test_sessions_are_counted_measured_and_held_to_their_signals():
    frame = make_requests(5, session_id=["a", "a", "a", "b", None], timestamp=minutes(0, 10, 20, 0, 0))
    row = lm.session_metrics(frame, make_signals(1, request_id="req-0003", signal_type="abandoned")).iloc[0]
    measures = [
        "session_count",
        "requests_per_session",
        "median_length_minutes",
        "single_request_rate",
        "abandonment_rate",
    ]
    assert row[measures].tolist() == [2, 2, 10, 0.5, 0.5]
