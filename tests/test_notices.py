"""What a log tells about itself without being wrong: counted, named, the first few quoted."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from llm_monitoring import open_log
from tests.builders import make_judgements, make_requests, make_reviews, make_signals, open_tables


def notices(**tables):
    return open_tables(**tables).notices


def test_a_clean_log_has_nothing_to_tell():
    assert notices(requests=make_requests(30), judgements=make_judgements(30), signals=make_signals(30)) == []


@pytest.mark.parametrize(
    ("n", "latency", "told"),
    [
        (20, [1.0, 3.0], True),
        (19, [1.0, 3.0], False),  # too few to say
        (20, [19.9], True),
        (20, [20.0], False),
        (100, [1.0] * 99 + [600.0], False),
        (20, [None], False),
    ],
)
def test_latencies_that_look_like_seconds_are_told_from_twenty_rows_on(n, latency, told):
    said = notices(requests=make_requests(n, latency_ms=latency))
    assert bool(said) is told
    if latency == [1.0, 3.0] and told:
        assert said == ["requests, latency_ms: mean 2, highest 3: these look like seconds, read as milliseconds"]


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (1, "requests, timestamp: 1 row from after now: req-0000"),
        (5, "requests, timestamp: 5 rows from after now: req-0000, req-0001, req-0002, req-0003, req-0004"),
        (6, "requests, timestamp: 6 rows from after now: req-0000, req-0001, req-0002, req-0003, req-0004, ..."),
    ],
)
def test_rows_from_after_now_are_counted_and_the_first_five_named(late, said):
    soon = pd.Timestamp(datetime.now(UTC)).floor("s") + pd.Timedelta("30D")
    requests = make_requests(10)
    requests["timestamp"] = [soon if i < late else at for i, at in enumerate(requests["timestamp"])]
    assert notices(requests=requests) == [said]


@pytest.mark.parametrize(
    ("make", "name"), [(make_signals, "signals"), (make_judgements, "judgements"), (make_reviews, "reviews")]
)
def test_rows_whose_request_is_not_there_are_counted_and_their_ids_named_once(make, name):
    rows = make(4, request_id=["gone", "req-0000", "gone", "away"])
    assert notices(requests=make_requests(1), **{name: rows}) == [
        f"{name}: 3 rows whose request_id is not in requests: away, gone"
    ]


def test_an_orphan_is_none_because_the_log_was_cut():
    log = open_tables(requests=make_requests(10), judgements=make_judgements(10))
    assert log.until(make_requests(10)["timestamp"][4]).notices == []


def test_mended_values_are_told_with_what_they_were_read_as_the_commonest_first():
    reasons = ["stop", "stop", "stop", "length", "end_turn"]
    (told,) = notices(requests=make_requests(5, finish_reason=reasons))
    assert (
        told == "requests, finish_reason: finish reasons mapped: 'stop' as 'end_turn' (3), 'length' as 'max_tokens' (1)"
    )


def test_rows_set_aside_are_counted_of_all_and_their_place_is_named():
    requests = make_requests(1200)
    requests.loc[:2, "latency_ms"] = -1.0
    told = open_log({"requests": requests}, on_error="quarantine").notices
    assert "requests: 3 of 1,200 rows set aside, in log.set_aside['requests']" in told
