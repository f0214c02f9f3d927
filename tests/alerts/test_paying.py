"""What is paid since a change, and how few requests carry it. Expected values by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_monitoring.alerts import paying
from llm_monitoring.measures import measure
from tests.builders import START, make_requests, open_tables

COST, TOKENS = measure("avg_cost_per_request_usd"), measure("avg_output_tokens")
DAY = pd.Timedelta("1D")


def plain(text):
    return None if text is None else text.replace("\u00a0", " ")


def test_means_are_of_the_feature_and_of_the_time_from_and_to():
    rows = make_requests(6, every="1D", cost_usd=[1.0, 3.0, 100.0, 5.0, 7.0, 100.0],
                         feature_id=["a", "a", "b", "a", "a", "a"])  # fmt: skip
    log = open_tables(requests=rows)
    told = paying.paid(log, COST, "a", (), (START, START + 3 * DAY), (START + 3 * DAY, START + 5 * DAY))
    mean, low, high, usual, n, split = told
    assert (mean, usual, n, split) == (6.0, 2.0, 2, None)
    assert (low, high) == (5.0, 7.0)  # of two requests nothing between is the end of 95 %


def test_what_is_usual_is_what_was_usual_at_these_hours_of_the_day():
    """Forty days on which an hour at noon costs 1 and one at night 10; then a night of 11 and a day of 1.5."""
    at = [START.floor("D") + day * DAY + pd.Timedelta(hours=hour) for day in range(42) for hour in (2, 12)]
    rows = make_requests(84, cost_usd=[10.0, 1.0] * 40 + [11.0, 1.5] * 2, feature_id="a").assign(timestamp=at)
    log, base = open_tables(requests=rows), (START.floor("D"), START.floor("D") + 40 * DAY)
    night = START.floor("D") + 40 * DAY, START.floor("D") + 40.25 * DAY
    assert paying.paid(log, COST, "a", (), base, night)[0:4:3] == (11.0, 10.0)
    assert paying.paid(log, COST, "a", (), base, (night[1], night[1] + DAY))[0:4:3] == (6.25, 5.5)


@pytest.mark.parametrize("cost", [None, [None, None, 1.0, 1.0]])
def test_unknown_cost_is_no_cost_of_zero(cost):
    log = open_tables(requests=make_requests(4, every="1D", cost_usd=cost, feature_id="a"))
    mean, low, high, usual, n, split = paying.paid(
        log, COST, "a", (), (START, START + 2 * DAY), (START + 2 * DAY, START + 9 * DAY)
    )
    assert np.isnan([mean, low, high, usual]).all()
    assert (n, split) == (0 if cost is None else 2, None)


@settings(max_examples=8)  # each draws 4,000 times
@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=40))
def test_the_interval_lies_within_the_values_and_is_the_same_again(values):
    x = np.sort(values)
    low, high = paying._bootstrap(x)
    assert x[0] - 1e-9 <= low <= high <= x[-1] + 1e-9 * max(1, x[-1])
    assert paying._bootstrap(x) == (low, high)


def test_of_many_values_the_interval_is_that_of_a_normal():
    x = np.tile([1.0, 3.0], 15_000)  # sd 1
    low, high = paying._bootstrap(x)
    assert (low, high) == pytest.approx((2 - 1.96 / np.sqrt(30_000), 2 + 1.96 / np.sqrt(30_000)), abs=1e-6)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        # 5 of 100 cost 20 where 1 is usual: 100 of 195
        ([1.0] * 95 + [20.0] * 5, "5.0 % of the requests make 51 % of the bill; the typical request is unchanged"),
        ([2.0] * 95 + [50.0] * 5,
         "5.0 % of the requests make 57 % of the bill; the typical request is 2.00 USD, usual 1.00 USD"),
        ([1.0] * 95 + [4.0] * 5, None),  # 20 of 115: not much
        ([1.0] * 89 + [20.0] * 11, None),  # not few
        ([1.0] * 100, None),
        ([3.0] * 100, None),  # three times the usual is not beyond it
    ],
)  # fmt: skip
def test_a_split_is_told_where_few_requests_make_much_of_the_bill(now, said):
    assert plain(paying._split(np.ones(200), np.array(now), COST)) == said


def test_of_what_is_no_money_it_is_the_total():
    told = plain(paying._split(np.full(200, 50.0), np.array([50.0] * 95 + [2000.0] * 5), TOKENS))
    assert told == "5.0 % of the requests make 68 % of the total; the typical request is unchanged"


def test_where_nothing_was_paid_before_and_now_no_split_is_told():
    assert paying._split(np.zeros(50), np.zeros(50), COST) is None
    told = plain(paying._split(np.zeros(50), np.array([0.0] * 95 + [1.0] * 5), COST))
    assert told.startswith("5.0 % of the requests make 100 % of the bill")
