"""Windows on a holiday are neither learnt from nor charted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.plan import plan_text, read_plan
from llm_monitoring.errors import ConfigError

START = pd.Timestamp("2026-05-04", tz="UTC")
DAY = pd.Timedelta("1D")
HOLIDAYS = ["2026-05-14", "2026-05-25"]  # one in the baseline, one after it


@pytest.fixture(scope="module")
def log() -> lm.Log:
    """Requests of 28 days; on both holidays hardly any, and one in ten at the price of ten."""
    rng = np.random.default_rng(3)
    at = START + pd.to_timedelta(np.sort(rng.uniform(0, 28 * 86400, 28 * 400)), unit="s").round("ms")
    quiet = pd.Index(at).floor("D").isin(pd.to_datetime(HOLIDAYS, utc=True))
    at = at[~quiet | (rng.random(len(at)) < 0.02)]
    return lm.open_log({
        "requests": pd.DataFrame({
            "request_id": [f"r{i:05d}" for i in range(len(at))], "timestamp": at, "feature_id": "search", "model_id": "m-1",
            "cost_usd": 0.002 * rng.lognormal(0, 0.3, len(at)),
        })
    })  # fmt: skip


def test_a_holiday_is_not_charted(log):
    assert (lm.check(log)["metric"].isin(["request_count", "total_cost_usd"])).any()
    plan = {"baseline": {"holidays": HOLIDAYS}}
    assert lm.check(log, plan).empty
    charts = lm.control_charts(log, plan).to_frame()
    days = charts[(charts["metric"] == "request_count")].set_index("window_start")["value"]
    assert days[pd.to_datetime(HOLIDAYS, utc=True)].isna().all()
    assert days.isna().sum() == 2


def test_holidays_do_not_depend_on_the_end_of_the_log(log):
    plan = {"baseline": {"holidays": HOLIDAYS[:1]}}
    whole = lm.check(log, plan)
    assert len(whole)
    for when in (START + 22.5 * DAY, START + 24 * DAY):
        had = whole[whole["fired_at"] <= when]
        assert lm.check(log, plan, until=when)["alert_id"].tolist() == had["alert_id"].tolist()


def test_keys_are_checked_and_written():
    with pytest.raises(ConfigError, match="Europe/Berlin"):
        read_plan({"baseline": {"timezone": "Berlin/Mitte"}})
    with pytest.raises(ConfigError, match="holidays"):
        read_plan({"baseline": {"holidays": ["Christmas"]}})
    plan = read_plan({"baseline": {"holidays": HOLIDAYS, "timezone": "Europe/Berlin"}})
    import tomllib

    assert read_plan(tomllib.loads(plan_text(plan))) == plan
