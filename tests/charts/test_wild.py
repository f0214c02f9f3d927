"""Totals of days that hang on a few dear hours: limits from days drawn from the hours of the baseline."""

import numpy as np
import pandas as pd
import pytest

from llm_monitoring import ControlChart
from llm_monitoring.charts.wild import wild_days

HOUR = np.arange(14 * 24) % 24


def hours(seed, night):
    """A day's requests by hour: busy days, and nights of one request or none with costs of sd `night` (of logarithms)."""
    rng = np.random.default_rng(seed)
    busy = HOUR >= 8
    count = np.where(busy, 20, rng.poisson(0.6, len(HOUR)))
    sd = np.where(busy, 0.5, night)
    return np.array([np.exp(rng.normal(0, one, n)).sum() for n, one in zip(count, sd)])


def test_a_sum_of_like_requests_needs_no_tail():
    assert wild_days(HOUR, hours(1, 0.5)) is None
    assert wild_days(HOUR, np.zeros(len(HOUR))) is None


def test_the_tail_of_a_sum_is_that_of_days_never_seen():
    truth = np.concatenate([np.log(hours(seed, 2.5).reshape(14, 24).sum(axis=1)) for seed in range(100, 300)])
    truth = truth - truth.mean()
    drawn = [wild_days(HOUR, hours(seed, 2.5)) for seed in range(12)]
    for share in (0.95, 0.99, 0.999):
        told = np.median([np.quantile(each, share) for each in drawn])
        assert 1 < told / np.quantile(truth, share) < 2  # on the safe side


@pytest.mark.parametrize(("night", "wider"), [(0.5, False), (2.5, True)])
def test_limits_are_wider_where_few_hours_make_the_sum(night, wider):
    per_hour = hours(1, night)
    days = pd.date_range("2026-05-04", periods=14, freq="D", tz="UTC")
    baseline = pd.DataFrame({"window_start": days, "window_end": days + pd.Timedelta("1D")})
    baseline["value"] = per_hour.reshape(14, 24).sum(axis=1)
    plain, wild = (ControlChart(kind="positive", arl0=500, season=1) for _ in range(2))
    wild.tail = wild_days(HOUR, per_hour)
    limits = plain.fit(baseline).limit_, wild.fit(baseline).limit_
    assert (limits[1] > 1.1 * limits[0]) == wider
    assert wider or limits[0] == limits[1]
