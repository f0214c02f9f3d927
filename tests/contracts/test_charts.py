"""What every chart promises."""

import pandas as pd
import pytest

import llm_monitoring as lm
from tests.contracts.instances import BASELINE, CHARTS, STREAM, windows

COLUMNS = ["window", "value", "n", "statistic", "center", "lower", "upper", "alarm"]
every_chart = pytest.mark.parametrize("make", CHARTS.values(), ids=CHARTS)


def test_every_public_chart_is_in_the_list():
    public = {name for name in lm.__all__ if name.endswith("Chart") or name == "EDetector"}
    assert public - {"QualityControlChart"} == set(CHARTS)


@every_chart
def test_fit_returns_the_chart_and_monitor_leaves_it_as_it_is(make):
    chart = make()
    assert chart.fit(windows(BASELINE)) is chart
    first = chart.monitor(windows(STREAM, "2026-05-18")).to_frame()
    pd.testing.assert_frame_equal(first, chart.monitor(windows(STREAM, "2026-05-18")).to_frame())


@every_chart
def test_neither_baseline_nor_stream_is_altered(make):
    baseline, stream = windows(BASELINE), windows(STREAM, "2026-05-18")
    make().fit(baseline).monitor(stream)
    pd.testing.assert_frame_equal(baseline, windows(BASELINE))
    pd.testing.assert_frame_equal(stream, windows(STREAM, "2026-05-18"))


@every_chart
def test_windows_in_another_order_give_the_same(make):
    here = make().fit(windows(BASELINE)).monitor(windows(STREAM, "2026-05-18"))
    there = make().fit(windows(BASELINE)[::-1]).monitor(windows(STREAM, "2026-05-18").sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(here.to_frame(), there.to_frame())


@every_chart
def test_the_table_of_a_result_has_the_promised_columns_and_a_row_per_window(make):
    frame = make().fit(windows(BASELINE)).monitor(windows(STREAM, "2026-05-18")).to_frame()
    assert set(COLUMNS) <= set(frame.columns)
    assert len(frame) == len(STREAM)
    assert frame["alarm"].dtype == bool


@every_chart
def test_one_window_at_a_time_gives_the_same_as_all_at_once(make):
    # values alone, following the baseline directly
    at_once = make().fit(BASELINE).monitor(STREAM).to_frame()
    chart = make().fit(BASELINE)
    steps = pd.DataFrame([chart.update(value) for value in STREAM])
    for column in ("statistic", "lower", "upper"):
        pd.testing.assert_series_equal(steps[column], at_once[column], check_dtype=False)
    assert steps["alarm"].tolist() == at_once["alarm"].tolist()


@every_chart
def test_a_deep_fall_alarms_and_an_empty_stream_does_not(make):
    fitted = make().fit(windows(BASELINE))
    assert fitted.monitor(windows(STREAM * 20, "2026-05-18")).to_frame()["alarm"].any()
    nothing = fitted.monitor(windows([], "2026-05-18"))
    assert nothing.to_frame().empty
    assert nothing.first_alarm is None
