"""What every chart keeps to: the past does not change with what comes later, one window at a time is the whole."""

import numpy as np
import pandas as pd
import pytest

from llm_monitoring.charts.portfolio import ChartPortfolio
from llm_monitoring.charts.predictive import ControlChart
from llm_monitoring.charts.textbook.cusum import CUSUMChart
from llm_monitoring.charts.textbook.e_detector import EDetector
from llm_monitoring.charts.textbook.ewma import EWMAChart
from llm_monitoring.charts.textbook.xmr import XmRChart

CHARTS = {
    "mean": lambda: ControlChart(low=1, high=5),
    "proportion": lambda: ControlChart(kind="proportion"),
    "count": lambda: ControlChart(kind="count", direction="up"),
    "positive": lambda: ControlChart(kind="positive"),
    "EWMA": EWMAChart,
    "CUSUM": CUSUMChart,
    "XmR": XmRChart,
    "EDetector": lambda: EDetector(direction="both"),
}
TIMES = pd.to_datetime(
    ["2026-06-01", "2026-06-02", "2026-06-03", "2026-06-05", "2026-06-05T08:00", "2026-06-11", "2026-06-12T01:00"],
    format="ISO8601",
)


def windows(name, count, seed, worse_from=99):
    rng = np.random.default_rng(seed)
    worse = np.arange(count) >= worse_from
    value = 4 + 0.1 * rng.standard_normal(count) - 0.5 * worse
    if name in ("proportion", "count"):
        value = rng.binomial(100, np.where(worse, 0.2, 0.05)) / (100 if name == "proportion" else 1)
    table = pd.DataFrame({"value": value.astype(float), "n": 100.0, "sd": 0.9})
    table.loc[2, "value"] = np.nan if count < 20 else table["value"][2]
    return table


def placed(table, how, start="2026-05-04"):
    if how == "times":
        return table.assign(window_start=pd.date_range(start, periods=len(table)))
    if how == "numbers":
        return table.assign(window=np.arange(len(table)) + (0 if start == "2026-05-04" else 28))
    return table


@pytest.mark.parametrize("baseline", ["times", "numbers", "neither"])
@pytest.mark.parametrize("stream", ["uneven times", "times", "numbers", "neither"])
@pytest.mark.parametrize("name", CHARTS)
def test_the_first_windows_are_judged_alike_whatever_comes_after_them(name, baseline, stream):
    chart = CHARTS[name]().fit(placed(windows(name, 28, 1), baseline))
    later = windows(name, 7, 2, worse_from=3)
    later = later.assign(window_start=TIMES) if stream == "uneven times" else placed(later, stream, "2026-06-01")
    whole = chart.monitor(later).to_frame()
    assert whole["alarm"].any() or name == "EDetector"
    for k in range(1, len(later)):
        first = chart.monitor(later[:k]).to_frame()
        pd.testing.assert_frame_equal(first, whole[:k], check_exact=True)


@pytest.mark.parametrize("name", CHARTS)
def test_one_window_at_a_time_without_naming_it_is_the_stream_without_times(name):
    chart = CHARTS[name]().fit(placed(windows(name, 28, 1), "times"))
    later = windows(name, 7, 2, worse_from=3)
    whole = chart.monitor(later).to_frame()
    sized = isinstance(chart, ControlChart)
    rows = [chart.update(row.value, **({"n": row.n, "sd": row.sd} if sized else {})) for row in later.itertuples()]
    found = pd.DataFrame(rows)
    pd.testing.assert_frame_equal(found, whole[list(found)], check_exact=True, check_dtype=False)


def test_a_portfolio_judges_the_first_windows_alike_whatever_comes_after_them():
    parts = [
        windows(kind, 35, seed, worse_from=30).assign(feature_id=f"f{seed}", metric=kind, kind=kind)
        for seed in (1, 2)
        for kind in ("mean", "proportion")
    ]
    table = pd.concat([placed(part, "times") for part in parts])
    split = pd.Timestamp("2026-06-01")
    fitted = ChartPortfolio(false_alarms_per_month=0.1).fit(table[table["window_start"] < split])
    later = table[table["window_start"] >= split]
    whole = fitted.monitor(later).to_frame()
    assert whole["alarm"].any()
    for days in (1, 3, 5):
        until = split + pd.Timedelta(days=days)
        first = fitted.monitor(later[later["window_start"] < until]).to_frame()
        pd.testing.assert_frame_equal(
            first, whole[whole["window_start"] < until].reset_index(drop=True), check_exact=True
        )
