"""Abandonment behind happy thumbs, questions that changed, probes that fail."""

import numpy as np
import pandas as pd

import llm_monitoring as lm
from llm_monitoring.alerts import weekly
from llm_monitoring.alerts.measurements import hourly
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.scopes import span_of
from llm_monitoring.alerts.weekly import abandonment_events, drift_events, probe_events
from llm_monitoring.measures import measure
from tests.builders import START, make_probe_results, make_requests, make_signals

WEEK = pd.Timedelta("7D")


def leave(share: int, thumbs: int = 0, n: int = 400) -> list:
    """Events of a log of 16 days in which `share` of 10 requests are abandoned and `thumbs` people press thumbs up."""
    requests = make_requests(n, every="57min")
    left = requests[requests.index % 10 < share]
    signals = make_signals(len(left), signal_type="abandoned").assign(
        request_id=left["request_id"].to_numpy(), timestamp=left["timestamp"].to_numpy()
    )
    happy = make_signals(thumbs, every="1h")
    log = lm.open_log({"requests": requests, "signals": pd.concat([signals, happy]) if thumbs else signals})
    return abandonment_events(
        hourly(log, [measure("abandonment_rate"), measure("explicit_positive_rate")]), Plan(), span_of(log, Plan())
    )


def test_an_abandoned_feature_is_warned_about_though_nobody_pressed_a_thumb():
    (event,) = leave(5)
    assert event.fired_at == START + WEEK
    assert abs(event.value - 0.5) < 0.01
    assert "nobody pressed a thumb" in event.words


def test_happy_thumbs_beside_abandoned_sessions_are_named_with_numbers():
    (event,) = leave(5, thumbs=20)
    assert event.words.replace("\u00a0", " ").endswith("and 100 % of 20 thumbs are up: those who leave press none")


def test_an_abandonment_rate_at_the_limit_is_no_warning():
    assert leave(3) == []


def test_duplicate_signals_do_not_push_the_rate_up():
    requests = make_requests(400, every="57min")
    left = make_signals(100, signal_type="abandoned", every="57min")
    log = lm.open_log({"requests": requests, "signals": pd.concat([left, left, left])})
    assert (
        abandonment_events(
            hourly(log, [measure("abandonment_rate"), measure("explicit_positive_rate")]), Plan(), span_of(log, Plan())
        )
        != []
    )
    tallies = hourly(log, [measure("abandonment_rate"), measure("explicit_positive_rate")])
    hours = tallies.groupby(["metric", "hour"])[["n", "total"]].sum()
    assert (hours["total"] <= hours["n"]).all()


def questions(changed: bool) -> lm.Log:
    rng = np.random.default_rng(2)
    things, asks = (
        ["parcel", "refund", "invoice", "tent", "jacket"],
        ["where is my", "when comes my", "i want a new", "cancel the"],
    )
    texts = [f"{rng.choice(asks)} {rng.choice(things)} {rng.integers(1000)}" for _ in range(600)]
    requests = make_requests(600, every="1h", user_input=texts)
    if changed:
        later = requests["timestamp"] >= START + 2 * WEEK
        requests.loc[later, "user_input"] = [f"write python code that sorts list {i}" for i in range(later.sum())]
    return lm.open_log({"requests": requests})


def test_questions_that_changed_are_one_event():
    log = questions(changed=True)
    (event,) = drift_events(log, Plan(), span_of(log, Plan()), {("search", "query_drift"): 0.1})
    assert (event.metric, event.feature_id, event.fired_at) == ("query_drift", "search", START + 3 * WEEK)


def test_questions_of_the_same_kind_are_none():
    log = questions(changed=False)
    assert drift_events(log, Plan(), span_of(log, Plan()), {("search", "query_drift"): 0.1}) == []


def test_texts_fetched_feature_by_feature_are_the_same(monkeypatch):
    once = questions(changed=True).requests
    again = once.assign(feature_id="other", request_id="o" + once["request_id"])
    log = lm.open_log({"requests": pd.concat([once, again], ignore_index=True)})
    span_ = span_of(log, Plan())
    found = []
    for most in (weekly.AT_ONCE, 1):
        monkeypatch.setattr(weekly, "AT_ONCE", most)
        found.append(weekly._texts(log, weekly._asked_since(log, Plan()), span_))
    assert found[0]["feature_id"].nunique() == 2
    pd.testing.assert_frame_equal(*found)


def test_a_log_without_texts_is_not_tested():
    log = lm.open_log({"requests": make_requests(600, every="1h", user_input=None)})
    assert drift_events(log, Plan(), span_of(log, Plan()), {("search", "query_drift"): 0.1}) == []


def probe_log(*lost: int) -> lm.Log:
    """Three weekly runs that pass, then one for each number of lost probes."""
    runs = [
        make_probe_results(20, start=START + k * WEEK, every="1min", probe_id=[f"p{i}" for i in range(20)],
                           passed=[i >= fewer for i in range(20)])
        for k, fewer in enumerate([0, 0, 0, *lost])
    ]  # fmt: skip
    requests = make_requests(30 + 7 * len(lost), every="1D")
    return lm.open_log({"requests": requests, "probe_results": pd.concat(runs)})


def probes_of(log: lm.Log) -> list:
    return probe_events(log, span_of(log, Plan()), {("model-a-2026-01-01", "probe_pass_rate"): 0.1})


def test_a_run_that_lost_probes_is_an_event_with_the_lost_ones_named():
    (event,) = probes_of(probe_log(10))
    assert (event.metric, event.feature_id, event.direction, event.value) == ("probe_pass_rate", None, "down", 0.5)
    assert "lost: p0, p1" in event.words


def test_runs_that_all_pass_are_none():
    assert probes_of(probe_log(0)) == []


def test_probes_that_pass_again_are_over_and_bad_runs_that_were_got_used_to_are_not():
    (event,) = probes_of(probe_log(10, 0, 0))
    assert event.over == event.fired_at
    (event,) = probes_of(probe_log(10, *[10] * 12))
    assert event.over is None


def test_abandonment_and_drift_are_open_while_they_last():
    (event,) = leave(5)
    assert event.over is None
    log = questions(changed=True)
    (event,) = drift_events(log, Plan(), span_of(log, Plan()), {("search", "query_drift"): 0.1})
    assert event.over is None
