"""Nothing after `until`: what a table function says of a moment does not change when later rows come."""

from __future__ import annotations

import pandas as pd
import pytest

import llm_monitoring as lm
from tests.builders import START, make_judgements, make_requests, make_reviews, make_signals

WHEN = START + pd.Timedelta(days=3, hours=3)
CALLS = {
    "window_metrics": lambda log: lm.window_metrics(log, "1d", intervals=True),
    "quality_metrics": lambda log: lm.quality_metrics(log),
    "satisfaction_metrics": lambda log: lm.satisfaction_metrics(log, window="1d"),
    "session_metrics": lambda log: lm.session_metrics(log),
    "derive_signals": lambda log: lm.derive_signals(log),
    "sample": lambda log: lm.sample(log, 0.3),
    "check": lambda log: lm.check(log, {"quality": {"query_drift": False}}),
    "reviews": lambda log: log.reviews,
    "judgements": lambda log: log.judgements,
}


def tables(days: int) -> dict[str, pd.DataFrame]:
    """A log of so many days; each judgement comes eight hours after its request, a second one a day after it."""
    n = days * 24
    requests = make_requests(
        n, every="20min", feature_id=["search", "summary"], session_id=[f"s{i // 2}" for i in range(n)]
    )
    first = make_judgements(n, start=START + pd.Timedelta("8h"), every="20min", quality_score=[4, 5, 2, 4])
    again = make_judgements(n, start=START + pd.Timedelta("1D"), every="20min", quality_score=[1, 3])
    judged = pd.concat([first, again]).assign(
        feature_id=lambda f: f["request_id"].map(requests.set_index("request_id")["feature_id"])
    )
    signals = make_signals(
        n, start=START + pd.Timedelta("6h"), every="20min", signal_type=["thumbs_up", "abandoned", "thumbs_down"]
    )
    reviews = make_reviews(n, start=START + pd.Timedelta("6h"), every="20min")
    return {"requests": requests, "judgements": judged, "signals": signals, "reviews": reviews}


def before(frame: pd.DataFrame) -> pd.DataFrame:
    time = next(name for name in ("timestamp", "judged_at", "reviewed_at") if name in frame)
    return frame[frame[time] <= WHEN]


@pytest.mark.parametrize("call", CALLS)
def test_a_cut_log_says_what_the_log_of_that_moment_said(call):
    whole = tables(14)
    cut = lm.open_log(whole).until(WHEN)
    then = lm.open_log({name: before(table) for name, table in whole.items()})
    if call == "derive_signals":  # the last moment that is known is the cut in one, the last request in the other
        then = then.until(WHEN)
    found, expected = CALLS[call](cut), CALLS[call](then)
    assert len(expected) or call == "check"
    pd.testing.assert_frame_equal(found, expected)
