"""Every switch of the plan off, alone and together, and every list empty: check gives a table."""

from __future__ import annotations

import itertools

import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.alert import COLUMNS
from tests.builders import make_log, make_signals

SWITCHES = [(*each, None) for each in itertools.product([True, False], repeat=3)]
LISTS = [(True, True, quality, metrics) for quality in (True, False) for metrics in ([], ["mean_quality"])]
SEVERAL = [(True, True, True, None), *(each for each in SWITCHES if sum(each[:3]) == 1), *LISTS[2:]]


@pytest.fixture(scope="module")
def log() -> lm.Log:
    return lm.open_log(make_log(24 * 10, signals=make_signals(30, every="1h", signal_type="abandoned")))


@pytest.mark.parametrize(
    ("infrastructure", "cost", "quality", "metrics"),
    [pytest.param(*each, marks=[pytest.mark.long] if each in SEVERAL else []) for each in SWITCHES + LISTS],
)
def test_check_gives_a_table_whatever_is_switched_off(log, infrastructure, cost, quality, metrics):
    plan = {"infrastructure": {"enabled": infrastructure}, "cost": {"enabled": cost}}
    plan["quality"] = {"enabled": quality, "query_drift": False, "probes": False}
    if metrics is not None:
        plan["quality"]["metrics"] = metrics
        plan["cost"]["metrics"] = []
    assert list(lm.check(log, plan).columns) == list(COLUMNS)
    assert len(lm.control_charts(log, plan)) >= 0
