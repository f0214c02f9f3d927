"""The portfolio: one budget, nothing that breaks it, alarms of one event together."""

import json

import numpy as np
import pandas as pd
import pytest

from llm_monitoring.charts.portfolio import ChartPortfolio
from llm_monitoring.errors import ConfigError


def measurements(features=6, windows=40, freq="1D", seed=0, broken=(), since=30, n=200):
    """Mean quality and flagged rate per feature; from window `since` on the broken features are worse."""
    rng = np.random.default_rng(seed)
    start = pd.date_range("2026-05-01", periods=windows, freq=freq, tz="UTC")
    parts = []
    for f in range(features):
        worse = (np.arange(windows) >= since) & (f in broken)
        mean = 4.1 + rng.standard_normal(windows) / np.sqrt(n) - 0.4 * worse
        flagged = rng.binomial(n, np.where(worse, 0.2, 0.04)) / n
        for metric, kind, value, sd in (
            ("mean_quality", "mean", mean, 1.0),
            ("flagged_rate", "proportion", flagged, np.nan),
        ):
            parts.append(pd.DataFrame({
                "feature_id": f"f{f}", "metric": metric, "kind": kind, "window_start": start,
                "window_end": start + pd.Timedelta(freq), "value": value, "n": n, "sd": sd,
            }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def split(table, window):
    cut = np.sort(table["window_start"].unique())[window]
    return table[table["window_start"] < cut], table[table["window_start"] >= cut]


def test_broken_features_are_named_first_and_their_alarms_are_one_group():
    before, after = split(measurements(broken=(2, 4)), 28)
    result = ChartPortfolio(false_alarms_per_month=0.1).fit(before).monitor(after)
    assert set(result.alarms["feature_id"]) == {"f2", "f4"}
    assert set(result.ranked()["feature_id"][:4]) == {"f2", "f4"}
    assert (result.ranked()["strength"][:4] > 1).all()
    assert len(result.groups) == 1
    assert result.groups["features"].iloc[0] == ["f2", "f4"]
    assert result.groups["metrics"].iloc[0] == ["flagged_rate", "mean_quality"]


def test_the_budget_is_divided_by_charts_and_windows():
    before, _ = split(measurements(), 28)
    assert ChartPortfolio(false_alarms_per_month=2).fit(before).arl0_ == 12 * 30 / 2


@pytest.mark.parametrize(("freq", "windows", "season"), [("1h", 24 * 5, 168), ("6h", 40, 28), ("1D", 40, 7)])
def test_season_follows_the_windows(freq, windows, season):
    before, after = split(measurements(features=1, windows=windows, freq=freq), windows // 2)
    fitted = ChartPortfolio(false_alarms_per_month=0.1).fit(before)
    assert {chart.season for chart in fitted.charts_.values()} == {season}
    assert fitted.monitor(after).alarms.empty


def test_what_cannot_be_charted_is_listed_with_its_reason():
    table = measurements(features=3, windows=30)
    table.loc[(table["feature_id"] == "f0") & (table["metric"] == "mean_quality"), ["value", "sd"]] = [4.0, np.nan]
    table = table[(table["feature_id"] != "f1") | (table["window_start"] < "2026-05-04")]
    late = measurements(features=1, seed=1, windows=30).assign(feature_id="new")
    before, after = split(table, 28)
    result = ChartPortfolio().fit(before).monitor(pd.concat([after, split(late, 28)[1]]))
    reasons = result.not_charted.set_index(["feature_id", "metric"])["reason"].to_dict()
    assert reasons == {
        (
            "f0",
            "mean_quality",
        ): "baseline: 28 windows, all of them 4.0; ControlChart needs 2 distinct values, or n and sd per "
        "window. Give earlier windows, or kind='proportion' for rare events",
        (
            "f1",
            "flagged_rate",
        ): "baseline: 3 windows with a value; ControlChart needs 5. Give earlier windows, or shorter ones",
        (
            "f1",
            "mean_quality",
        ): "baseline: 3 windows with a value; ControlChart needs 5. Give earlier windows, or shorter ones",
        ("new", "flagged_rate"): "no baseline windows",
        ("new", "mean_quality"): "no baseline windows",
    }


def test_the_day_effect_of_a_short_chart_is_learned_from_the_others_of_its_metric():
    table = measurements(features=12, n=2000)
    table = table[table["metric"] == "mean_quality"]
    short = (table["feature_id"] == "f0") & (table["window_start"] < "2026-05-20")
    before, _ = split(table[~short], 28)
    alone = ChartPortfolio(learn_day_effect=False).fit(before).charts_["f0", "mean_quality"]
    together = ChartPortfolio().fit(before).charts_["f0", "mean_quality"]
    assert together.day_effect_[0] < 0.7 * alone.day_effect_[0]


def test_an_empty_stream_gives_an_empty_result_that_survives_json():
    before, after = split(measurements(features=1), 28)
    result = ChartPortfolio().fit(before).monitor(after[:0])
    assert result.alarms.empty
    assert result.to_frame().empty
    assert result.ranked().empty
    assert json.loads(json.dumps(result.to_dict()))["charts"] == []
    whole = ChartPortfolio().fit(before).monitor(after)
    assert len(json.loads(json.dumps(whole.to_dict()))["charts"]) == 2


def test_row_order_has_no_effect():
    before, after = split(measurements(broken=(1,)), 28)
    one = ChartPortfolio().fit(before).monitor(after)
    two = ChartPortfolio().fit(before.sample(frac=1, random_state=1)).monitor(after.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(one.alarms, two.alarms)


def test_plots_draw_and_leave_the_settings_alone():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    before, after = split(measurements(broken=(1,)), 28)
    settings = dict(matplotlib.rcParams)
    result = ChartPortfolio().fit(before).monitor(after)
    result.plot()
    result.results["f1", "mean_quality"].plot()
    assert dict(matplotlib.rcParams) == settings
    plt.close("all")


def test_a_frame_without_its_columns_is_refused():
    with pytest.raises(ConfigError) as error:
        ChartPortfolio().fit(pd.DataFrame({"feature_id": [], "value": []}))
    assert str(error.value) == (
        "baseline: no column 'metric', 'window_start'; expected feature_id, metric, window_start (or window, a number or a "
        "time), value and, where known, n, sd, kind, one row per chart and window"
    )


def test_a_kind_that_is_none_is_listed_and_the_other_charts_go_on():
    before, after = split(measurements(features=2), 28)
    before.loc[before["feature_id"] == "f0", "kind"] = "means"
    result = ChartPortfolio().fit(before).monitor(after)
    assert {feature for feature, _ in result.results} == {"f1"}
    assert (
        result.not_charted["reason"].tolist()
        == [
            "ControlChart(kind)='means'; expected one of 'mean', 'proportion', 'count', 'positive'; the nearest is 'mean'"
        ]
        * 2
    )


def test_windows_of_several_widths_each_get_their_season_and_their_share_of_the_budget():
    daily = measurements(features=1, windows=40)
    hourly = measurements(features=1, windows=24 * 8, freq="1h").assign(feature_id="hourly")
    fitted = ChartPortfolio(false_alarms_per_month=2).fit(pd.concat([daily, hourly]))
    seasons = {key[0]: (chart.season, chart.arl0) for key, chart in fitted.charts_.items()}
    assert seasons == {"f0": (7, 4 * 30 / 2), "hourly": (168, 4 * 720 / 2)}


def test_latencies_of_several_features_share_what_they_say_about_the_day_effect():
    rng, days = np.random.default_rng(8), pd.date_range("2026-05-01", periods=28, tz="UTC")
    parts = []
    for f in range(8):
        value = (300 + 100 * f) * np.exp(0.02 * rng.standard_normal(28))
        parts.append(
            pd.DataFrame({"feature_id": f"f{f}", "window_start": days, "value": value, "sd": 0.5 * value, "n": 625})
        )
    table = pd.concat(parts).assign(metric="latency", kind="positive")
    alone = ChartPortfolio(learn_day_effect=False).fit(table).charts_["f0", "latency"]
    together = ChartPortfolio().fit(table).charts_["f0", "latency"]
    assert together.day_effect_[0] < alone.day_effect_[0]


def test_strength_looks_at_the_last_season_of_the_chart_and_not_at_older_windows():
    table = measurements(features=2, windows=24 * 12, freq="6h", broken=(1,), since=24 * 11)
    table.loc[(table["feature_id"] == "f1") & (table["window_start"] >= table["window_start"].max()), "value"] = np.nan
    before, after = split(table, 24 * 10)
    result = ChartPortfolio(false_alarms_per_month=0.1).fit(before).monitor(after)
    key = ("f1", "mean_quality")
    assert result.results[key].season == 28
    last = result.results[key].windows.tail(28).dropna(subset="statistic")
    shown = result.ranked().set_index(["feature_id", "metric"]).loc[key]
    reach = np.where(last["statistic"] > last["center"], last["upper"] - last["center"], last["center"] - last["lower"])
    assert shown["strength"] == pytest.approx(((last["statistic"] - last["center"]).abs() / reach).max())
    after = after.copy()
    silent = (after["feature_id"] == "f1") & (after["window_start"] >= after["window_start"].max() - pd.Timedelta("7D"))
    after.loc[silent, "value"] = np.nan
    shown = ChartPortfolio(false_alarms_per_month=0.1).fit(before).monitor(after).ranked()
    row = shown.set_index(["feature_id", "metric"]).loc[key]
    assert not row["alarm"]
    assert np.isnan(row["strength"])
    assert np.isnan(row["value"])


def test_windows_may_be_named_by_window_as_times_texts_or_numbers():
    before, after = split(measurements(features=2, broken=(1,)), 28)
    usual = ChartPortfolio(false_alarms_per_month=0.1).fit(before).monitor(after)
    times = [part.rename(columns={"window_start": "window"}) for part in (before, after)]
    texts = [part.assign(window=part["window"].map(lambda at: at.isoformat())) for part in times]
    for early, late in (times, texts):
        found = ChartPortfolio(false_alarms_per_month=0.1).fit(early).monitor(late)
        pd.testing.assert_frame_equal(found.alarms, usual.alarms)
    first = before["window_start"].min()
    numbers = [
        part.assign(window=(part["window"] - first) // pd.Timedelta("1D")).drop(columns="window_end") for part in times
    ]
    found = ChartPortfolio(false_alarms_per_month=0.1).fit(numbers[0]).monitor(numbers[1])
    assert found.alarms["size"].tolist() == usual.alarms["size"].tolist()
    assert found.alarms["start"].tolist() == ((usual.alarms["start"] - first) // pd.Timedelta("1D")).tolist()
    assert len(found.groups) == len(usual.groups)
    json.dumps(found.to_dict())


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: ChartPortfolio(horizon="a"),
            "ChartPortfolio(horizon='a'); expected a whole number of windows, 1 at least",
        ),
        (
            lambda: ChartPortfolio(season=0),
            "ChartPortfolio(season=0); expected a whole number of windows, 1 at least, or None",
        ),
        (lambda: ChartPortfolio(seed="a"), "ChartPortfolio(seed='a'); expected a whole number, 0 at least"),
        (
            lambda: ChartPortfolio(false_alarms_per_month="1"),
            "ChartPortfolio(false_alarms_per_month='1'); expected a number above 0",
        ),
        (
            lambda: ChartPortfolio(directions="down"),
            "ChartPortfolio(directions='down'); expected a dict of metric -> 'both', 'up' or 'down'",
        ),
        (
            lambda: ChartPortfolio(directions={"mean_quality": "downn"}),
            "ChartPortfolio(directions['mean_quality'])='downn'; expected one of 'both', 'up', 'down'; the nearest is 'down'",
        ),
        (
            lambda: ChartPortfolio().monitor(measurements(1)),
            "ChartPortfolio.monitor: no baseline yet; expected portfolio.fit(baseline) before it",
        ),
        (
            lambda: ChartPortfolio().fit([1, 2]),
            "baseline: [1, 2]; expected a DataFrame with feature_id, metric, window and value",
        ),
        (
            lambda: ChartPortfolio().fit(measurements(1).assign(window_start="soon")),
            "baseline row 0, window_start: 'soon'; expected times, such as '2026-05-12T00:00Z', all with a time zone or all without",
        ),
    ],
)
def test_parameters_that_no_chart_can_use_are_refused_at_once(call, sentence):
    with pytest.raises(ConfigError) as error:
        call()
    assert str(error.value) == sentence


def test_numbers_of_numpy_are_numbers():
    fitted = ChartPortfolio(np.float32(0.5), horizon=np.int64(30), season=np.int32(7), seed=np.int64(1)).fit(
        split(measurements(1), 28)[0]
    )
    assert {chart.horizon for chart in fitted.charts_.values()} == {30}


def test_the_ends_of_a_scale_reach_the_chart_and_any_scale_alarms_alike():
    table = measurements(features=2, broken=(1,), n=60)
    table = table[table["metric"] == "mean_quality"]
    shares = table.assign(value=(table["value"] - 1) / 4, sd=table["sd"] / 4, low=0.0, high=1.0)
    tens = table.assign(value=(table["value"] - 1) * 2.5, sd=table["sd"] * 2.5, low=0, high=10)
    alarms = []
    for each in (table.assign(low=1, high=5), shares, tens):
        before, after = split(each, 28)
        fitted = ChartPortfolio(false_alarms_per_month=0.1).fit(before)
        assert {(c.low, c.high) for c in fitted.charts_.values()} == {(each["low"].iloc[0], each["high"].iloc[0])}
        alarms.append(fitted.monitor(after).alarms.drop(columns="size"))
    assert len(alarms[0])
    for other in alarms[1:]:
        pd.testing.assert_frame_equal(other, alarms[0])


def test_a_scale_that_changes_within_a_chart_or_is_no_number_is_listed_with_the_reason():
    table = measurements(features=3, windows=30).assign(low=1.0, high=5.0).astype({"high": object})
    table = table[table["metric"] == "mean_quality"]
    table.loc[(table["feature_id"] == "f0") & (table["window_start"] > "2026-05-10"), "high"] = 10.0
    table.loc[table["feature_id"] == "f1", "high"] = "five"
    fitted = ChartPortfolio().fit(table)
    assert fitted.not_charted_["reason"].tolist() == [
        "high: 10.0 and 5.0; expected the same in all windows of a chart",
        "ControlChart(low=1.0, high='five'); expected both ends of the scale, low < high",
    ]
    assert list(fitted.charts_) == [("f2", "mean_quality")]
