import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.plan import read_plan
from llm_monitoring.backtesting.replay import Replay
from llm_monitoring.intervals import wilson
from tests.backtesting.logs import make

SAMPLE = Path(__file__).parents[2] / "sample_data"
REAL = Path(__file__).parents[3] / "shared" / "data" / "llmdrift"


@pytest.fixture(scope="module")
def fallen():
    """A log in which the quality of search falls by a point on 1 June."""
    return make(3, fall=1.0, since="2026-06-01T00:00Z")


def test_without_incidents_the_rate_is_an_upper_bound_and_says_so(fallen):
    found = lm.backtest(fallen)
    assert found.upper_bound
    assert found.false_alarms_per_month_low < found.false_alarms_per_month < found.false_alarms_per_month_high
    assert found.false_alarms_per_month == pytest.approx(len(found.alerts) / found.months)
    assert "upper bound" in found.headline


def test_an_incident_explains_its_alert(fallen):
    happened = pd.DataFrame({"incident_id": ["INC-1", "INC-2"], "started_at": ["2026-06-01T00:00Z", "2026-05-27T00:00Z"],
                             "ended_at": [None, "2026-05-28T00:00Z"], "feature_id": ["search", "other"]})  # fmt: skip
    found = lm.backtest(fallen, incidents=happened)
    rows = found.incidents.set_index("incident_id")
    assert bool(rows.loc["INC-1", "found"])
    assert 0 < rows.loc["INC-1", "delay_hours"] < 72
    assert rows.loc["INC-1", "alert_id"] in set(found.alerts["alert_id"])
    assert not rows.loc["INC-2", "found"]
    assert not found.upper_bound
    assert found.false_alarms_per_month == 0
    assert "1 of 2 incidents found" in found.headline


def test_the_alerts_are_those_of_check(fallen):
    pd.testing.assert_frame_equal(lm.backtest(fallen).alerts, lm.check(fallen))


def test_the_headline_names_rate_size_feature_and_what_more_would_cost(found):
    words = found.headline.replace("\u00a0", " ")
    assert words.startswith("At 25 % sampling a fall of 0.3 in search is seen in ")
    assert "80 % would see" in words
    assert "USD a month more" in words


def test_the_result_survives_json_and_shows_itself(found):
    data = json.loads(json.dumps(found.to_dict()))
    assert data["headline"] == found.headline
    assert len(data["injections"]) == len(found.injections)
    assert "<b>At 25" in found._repr_html_()
    assert found.to_frame().columns[:4].tolist() == ["what", "size", "where", "share"]


@pytest.mark.parametrize("what", ["auto", "injections", "frontier"])
def test_it_plots(found, what):
    from matplotlib import pyplot as plt

    assert found.plot(what=what).has_data()
    plt.close("all")


def test_a_log_without_requests_says_nothing(tables):
    found = lm.backtest({"requests": tables["requests"].head(0)})
    assert found.months == 0
    assert found.alerts.empty
    assert found.headline.startswith("Nothing was watched")


def test_a_log_that_ends_with_its_baseline_can_be_asked():
    tables = make(0, days=5)
    found = lm.backtest(tables, inject=[lm.Injection("cost", 2)])
    assert found.headline


@pytest.mark.parametrize(("grid", "words"), [
    ({"rates": [0.1]}, "'rates' is not part of a grid; the nearest is 'rate'"),
    ({"rate": [2]}, "expected shares above 0, at most 1"),
    ([0.1], "expected a dict such as"),
])  # fmt: skip
def test_a_wrong_grid_is_refused(tables, grid, words):
    with pytest.raises(lm.ConfigError, match=words):
        lm.backtest(tables, grid=grid)


def test_nothing_on_disk_is_altered(tables, tmp_path):
    for name, table in tables.items():
        table.to_parquet(tmp_path / f"{name}.parquet")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    faults = [lm.Injection("quality", -0.3), lm.Injection("cost", 2), lm.Injection("volume", 0.5)]
    lm.backtest(tmp_path, inject=faults, grid={"rate": [0.1]})
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


@pytest.mark.long
def test_a_real_fall_is_seen_as_late_as_a_planted_one_of_the_same_size():
    since, real, planted = pd.Timestamp("2026-06-03T09:00Z"), [], []
    shape = {"days": 42, "features": 1, "a_day": 200, "rate": 0.3}
    happened = pd.DataFrame({"incident_id": ["fall"], "started_at": [since], "ended_at": [since + pd.Timedelta("7D")]})
    for seed in range(10):
        fallen = lm.backtest(make(1000 + seed, **shape, fall=0.4, since=str(since)), incidents=happened)
        real.append(fallen.incidents["delay_hours"].iloc[0])
        quiet = lm.backtest(make(2000 + seed, **shape), inject=[lm.Injection("quality", -0.4)], grid={"rate": [0.3]})
        planted += quiet.incidents["delay_hours"].tolist()
    rng = np.random.default_rng(0)
    medians = [np.nanmedian(rng.choice(real, len(real))) for _ in range(2000)]
    assert np.quantile(medians, 0.025) <= np.nanmedian(planted) <= np.quantile(medians, 0.975)
    _, most = wilson(int(np.isfinite(real).sum()), len(real))
    apart = 10 * 4  # faults of a week that fit one after the other into the four weeks watched of ten logs
    least, _ = wilson(round(float(np.isfinite(planted).mean()) * apart), apart)
    assert least <= most


@pytest.mark.long
def test_false_alarms_of_twenty_logs_are_what_twenty_others_predict_within_thirty_percent():
    plan = read_plan({"quality": {"metrics": ["mean_quality", "flagged_rate", "refusal_rate"], "query_drift": False,
                                  "probes": False, "false_alarms_per_month": 8},
                      "cost": {"metrics": ["avg_cost_per_request_usd"]}})  # fmt: skip
    counted, months = [], []
    for seed in range(40):
        replay = Replay.of(lm.open_log(make(3000 + seed, days=70, features=2, a_day=120, rate=0.3)), plan)
        counted.append(int((replay.alerts["fired_at"] >= replay.span.split).sum()))
        months.append(replay.months)
    predicted = sum(counted[::2]) / sum(months[::2]) * sum(months[1::2])
    assert predicted >= 60
    assert sum(counted[1::2]) / predicted == pytest.approx(1, abs=0.3)


LARGE = """
import re, sys
from pathlib import Path
import llm_monitoring as lm
plan = {"quality": {"metrics": ["mean_quality", "flagged_rate", "refusal_rate"], "query_drift": False, "probes": False},
        "cost": {"metrics": ["avg_cost_per_request_usd"]}}
found = lm.backtest(sys.argv[1], plan, inject=lm.default_injections())
tried = found.injections[found.injections["what"] != "abandonment"]  # which this plan does not chart
assert (tried["n"] > 0).all()
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""  # ru_maxrss would hold what the process had that started it


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
def test_ninety_days_twenty_features_and_a_million_requests_take_less_than_a_gigabyte(tmp_path):
    for name, table in make(0, days=90, features=20, a_day=556, rate=0.05).items():
        table.to_parquet(tmp_path / f"{name}.parquet")
    done = subprocess.run([sys.executable, "-c", LARGE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) * 1024 < 1e9


def log_of(seed):
    if seed == "sample_data":
        return SAMPLE
    if seed == "llmdrift" and not REAL.exists():
        pytest.skip("the real log ../shared/data/llmdrift is not here")
    fall = {"fall": 0.5, "since": "2026-06-01T00:00Z"} if seed != "llmdrift" and seed % 2 else {}
    return REAL if seed == "llmdrift" else make(seed, **fall)


FIXED = ["alert_id", "metric", "feature_id", "fired_at", "window_start", "value", "expected", "low", "high", "direction",
         "designed_false_alarms_per_month"]  # fmt: skip


def equal_step_by_step(log, at_most=None, between=3):
    """The replay, and at each alert (or some of them) and at some moments between what a check then knew."""
    log = lm.open_log(log)
    alerts = lm.backtest(log, grid={"rate": [0.2]}).alerts.sort_values(["fired_at", "alert_id"], ignore_index=True)
    rng = np.random.default_rng(0)
    moments = alerts["fired_at"].drop_duplicates()
    if at_most is not None and len(moments) > at_most:
        moments = moments.iloc[np.sort(rng.choice(len(moments), at_most, replace=False))]
    first, last = log.requests["timestamp"].min(), log.requests["timestamp"].max()
    others = [first + (last - first) * share for share in rng.uniform(0.3, 1, between)]
    for moment in sorted([*moments, *others]):
        then = lm.check(log, until=moment).sort_values(["fired_at", "alert_id"], ignore_index=True)
        known = alerts[alerts["fired_at"] <= moment].reset_index(drop=True)
        pd.testing.assert_frame_equal(then[FIXED], known[FIXED])
    return alerts


def test_the_replay_never_sees_the_future(fallen):
    assert len(equal_step_by_step(fallen, at_most=3, between=1))


@pytest.mark.long
@pytest.mark.parametrize("seed", ["sample_data", "llmdrift", *range(10)])
def test_the_replay_equals_a_step_by_step_run_cut_at_every_alert_and_between(seed):
    equal_step_by_step(log_of(seed))
