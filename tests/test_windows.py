"""Windows are left-closed spans of equal width in UTC, weeks from Monday; pandas and the engine put a row into the same."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_monitoring import ConfigError, engines, windows
from tests.builders import make_requests, open_tables

WIDTHS = ["7min", "90min", "6h", "5h", "1d", "1w", "2w"]
MOMENTS = st.integers(min_value=-(10**15), max_value=4 * 10**15)  # microseconds: 1938 to 2096
HOUR = pd.Timedelta("1h")


def at(text):
    return pd.Timestamp(text, tz="UTC")


def cells(*rows):
    """Counts of one feature at these hours of 11 May 2026."""
    start = [at("2026-05-11") + hour * HOUR for hour, *_ in rows]
    frame = pd.DataFrame(rows, columns=["hour", "feature_id", "request_count", "mean"]).drop(columns="hour")
    return frame.assign(window_start=pd.Series(start).astype("datetime64[us, UTC]"))


@pytest.mark.parametrize("written", ["0h", "-1h", "1.5h", "1 month", "h", "", "1hh", "10000000s", "1e3s", None, 3600])
def test_a_width_that_is_no_whole_number_of_a_unit_is_quoted(written):
    with pytest.raises(ConfigError) as told:
        windows.width(written)
    assert str(told.value) == f"window={written!r}; expected a whole number of s, min, h, d or w, such as '1h'"


@pytest.mark.parametrize(("written", "hours"), [(" 2 H ", 2), ("90min", 1.5), ("7d", 168), ("1W", 168), ("3600s", 1)])
def test_a_width_is_read_with_spaces_and_capitals(written, hours):
    assert windows.width(written) == hours * HOUR


@pytest.mark.parametrize(
    ("moment", "window", "start"),
    [
        ("2026-05-11 00:00", "1w", "2026-05-11"),  # a Monday begins its week
        ("2026-05-10 23:59:59.999999", "1w", "2026-05-04"),
        ("2026-05-11 06:00", "6h", "2026-05-11 06:00"),
        ("2026-05-11 05:59:59.999999", "6h", "2026-05-11"),
        ("1970-01-04 23:00", "1w", "1969-12-29"),  # before the anchor too
        ("1969-12-31 23:59", "1d", "1969-12-31"),
    ],
)
def test_a_window_holds_its_first_moment_and_not_its_last(moment, window, start):
    assert windows.floor(pd.Series([at(moment)]), window).iloc[0] == at(start)


def test_times_of_any_zone_fall_into_windows_of_utc_and_the_index_stays():
    local = pd.Series([pd.Timestamp("2026-05-11 01:30", tz="Europe/Berlin"), pd.NaT], index=["a", "b"])
    day = windows.floor(local, "1d")
    assert day["a"] == at("2026-05-10")
    assert pd.isna(day["b"])


@given(MOMENTS, st.sampled_from(WIDTHS))
def test_every_moment_lies_in_its_window_and_windows_do_not_overlap(micro, window):
    moment = pd.Timestamp(micro, unit="us", tz="UTC").as_unit("us")
    start = windows.floor(pd.Series([moment]), window).iloc[0]
    assert start <= moment < start + windows.width(window)
    assert (start - windows.ANCHOR) % windows.width(window) == pd.Timedelta(0)
    assert windows.floor(pd.Series([start]), window).iloc[0] == start


@pytest.mark.parametrize("window", WIDTHS)
def test_the_engine_and_pandas_agree_on_the_window_of_a_row(window):
    moments = pd.to_datetime(
        ["1969-12-28 23:59:59.999999", "1970-01-05", "2024-02-29 12:34:56.000001", "2026-05-10 23:59", "2026-05-11"],
        utc=True,
        format="ISO8601",
    ).as_unit("us")
    rows = open_tables(requests=make_requests(5, timestamp=moments)).table("requests")
    keyed, keys = windows.keyed(rows, "timestamp", window, ["request_id"])
    frame = engines.run(keyed.select("timestamp", *keys)).to_pandas()
    told = windows.labelled(frame, window, ["request_id"])
    assert told["window_start"].tolist() == windows.floor(told["timestamp"], window).tolist()
    assert (told["window_end"] - told["window_start"] == windows.width(window)).all()


def test_a_column_to_group_by_that_is_not_there_is_named():
    rows = open_tables(requests=make_requests(2)).table("requests")
    with pytest.raises(ConfigError, match=r"by='categry'.*'category'"):
        windows.keyed(rows, "timestamp", "1h", ["categry"])


def test_without_a_window_rows_are_one_group_from_the_first_to_the_last():
    rows = open_tables(requests=make_requests(2)).table("requests")
    same, keys = windows.keyed(rows, "timestamp", None, ["feature_id"])
    assert same is rows
    assert keys == ["feature_id"]
    frame = pd.DataFrame(
        {"f": ["b", "a"], windows.FIRST: [at("2026-05-11"), None], windows.LAST: [at("2026-05-12"), None]}
    )
    told = windows.labelled(frame, None, ["f"])
    assert told["f"].tolist() == ["a", "b"]
    assert pd.isna(told["window_start"][0])
    assert told["window_end"][1] == at("2026-05-12")


def test_a_row_without_a_time_is_in_no_window():
    frame = pd.DataFrame({windows.WINDOW: [1.0, None, 0.0], "n": [5, 6, 7]})
    told = windows.labelled(frame, "1w", [])
    assert told["n"].tolist() == [7, 5]
    assert told["window_start"].tolist() == [at("1970-01-05"), at("1970-01-12")]


def test_windows_in_which_nothing_happened_count_zero_and_have_no_mean():
    full = windows.filled(cells((0, "a", 4, 1.5), (3, "b", 2, 2.5)), "1h", ["feature_id"])
    assert len(full) == 8  # two features, four hours
    assert full["request_count"].tolist() == [4, 0, 0, 0, 0, 0, 0, 2]
    assert full["mean"].notna().sum() == 2
    assert full["request_count"].dtype == "int64"
    assert (full["window_end"] - full["window_start"] == HOUR).all()


@pytest.mark.parametrize("window", [None, "1h"])
def test_nothing_is_filled_in_where_there_is_no_window_or_no_row(window):
    frame = cells((0, "a", 4, 1.5), (3, "a", 2, 2.5)) if window is None else cells()
    assert windows.filled(frame, window, ["feature_id"]) is frame
