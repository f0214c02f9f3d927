"""What is said of planted faults is what a whole check of a log with that fault in it says."""

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring import engines
from llm_monitoring.backtesting.planting import judged_answers, touched_log, worse
from tests.backtesting.logs import make, spoiled, thinned


def planted_rows(found, what):
    rows = found.incidents[found.incidents["injected"] & found.incidents["incident_id"].str.contains(f"-{what}-")]
    return rows.reset_index(drop=True)


def first_alert(tables, since):
    alerts = lm.check(tables)
    late = alerts[alerts["fired_at"] >= since].sort_values("fired_at")
    return None if late.empty else late["fired_at"].iloc[0]


@pytest.mark.parametrize("trial", [0, 12])
def test_a_fault_of_cost_is_seen_when_a_check_of_the_spoiled_log_sees_it(tables, found, trial):
    row = planted_rows(found, "cost").loc[trial]
    mine = tables["requests"]["feature_id"] == "search"
    bad = spoiled(tables, "cost_usd", row["started_at"], row["ended_at"], lambda usd: usd.where(~mine, 1.4 * usd))
    assert row["found"]
    assert first_alert(bad, row["started_at"]) == row["started_at"] + pd.Timedelta(hours=row["delay_hours"])


@pytest.mark.parametrize("trial", [3])
def test_a_fault_of_latency_is_seen_when_a_check_of_the_spoiled_log_sees_it(tables, found, trial):
    row = planted_rows(found, "latency").loc[trial]
    bad = spoiled(tables, "latency_ms", row["started_at"], row["ended_at"], lambda ms: 2.5 * ms)
    assert row["found"]  # by the fixed limits; the charts of latency, which a trial leaves out, may see it earlier
    assert (
        row["started_at"]
        < first_alert(bad, row["started_at"])
        <= row["started_at"] + pd.Timedelta(hours=row["delay_hours"])
    )


@pytest.mark.parametrize("trial", [2, 15])
def test_a_fall_of_quality_is_seen_when_a_check_of_the_spoiled_log_sees_it(tables, found, trial):
    row = found.incidents[found.incidents["incident_id"] == f"injected-02-quality-{trial:02d}"].iloc[0]
    answers = judged_answers(lm.open_log(tables))
    hit = worse(answers, lm.Injection("quality", -0.3, {"feature_id": "search"}), seed=0).set_index("request_id")
    judgements = tables["judgements"].astype({"flagged": float})
    asked = judgements["request_id"].map(tables["requests"].set_index("request_id")["timestamp"])
    inside = (asked >= row["started_at"]) & (asked < row["ended_at"])
    for name, column in (("quality_score", "score"), ("flagged", "flagged"), ("dimensions", "dimensions")):
        judgements.loc[inside, name] = judgements.loc[inside, "request_id"].map(hit[column])
    judgements["flagged"] = judgements["flagged"].astype(bool)
    seen = first_alert({**tables, "judgements": judgements}, row["started_at"])
    assert row["found"]
    assert seen == row["started_at"] + pd.Timedelta(hours=row["delay_hours"])


RUNAWAY = lm.Injection("cost", 150, {"feature_id": "search"}, share=0.015, days=3)


@pytest.fixture(scope="module")
def operated(tables):
    faults = [lm.Injection("volume", 0.1), lm.Injection("latency", 1.3), RUNAWAY]
    return lm.backtest(tables, inject=faults, grid={"rate": [0.25]}).incidents.set_index("incident_id")


def test_a_fall_of_volume_is_seen_when_a_check_of_the_thinned_log_sees_it(tables, operated):
    row = operated.loc["injected-01-volume-05"]
    alerts = lm.check(thinned(tables, row["started_at"], row["ended_at"], 0.1))
    alerts = alerts[(alerts["metric"] == "request_count") & (alerts["fired_at"] >= row["started_at"])]
    # which requests are left is drawn anew here: a limit on a small feature may be passed in one draw only
    fired = alerts.set_index("alert_id")["fired_at"]
    assert fired[row["alert_id"]] == row["started_at"] + pd.Timedelta(hours=row["delay_hours"])


@pytest.mark.parametrize("trial", ["03", "09"])
def test_runaway_requests_are_seen_when_a_check_of_the_spoiled_log_sees_them(tables, operated, trial):
    """By the test beside the chart of cost, which hardly moves."""
    row = operated.loc[f"injected-03-cost-{trial}"]
    hit = engines.run(touched_log(lm.open_log(tables), RUNAWAY, 0).table("requests")).to_pandas()["request_id"]
    dear = tables["requests"]["request_id"].isin(hit)
    bad = spoiled(tables, "cost_usd", row["started_at"], row["ended_at"], lambda usd: usd.where(~dear, 150 * usd))
    alerts = lm.check(bad)
    mine = alerts[(alerts["metric"] == "avg_cost_per_request_usd") & (alerts["fired_at"] >= row["started_at"])]
    assert row["found"]
    assert mine["fired_at"].min() == row["started_at"] + pd.Timedelta(hours=row["delay_hours"])
    assert operated.filter(like="-03-cost-", axis=0)["found"].astype(bool).mean() > 0.8


@pytest.mark.long
def test_a_new_price_is_seen_when_a_check_of_the_spoiled_log_sees_it():
    """By the test beside the chart of cost: the same tokens cost more."""
    requests = make(3, 35, a_day=300)["requests"]
    tokens = (1000 * requests["cost_usd"] / requests["cost_usd"].mean()).round() + 10
    priced = {"requests": requests.assign(input_tokens=tokens, output_tokens=100.0, cost_usd=tokens * 2e-6 + 8e-4)}
    asked = lm.Injection("cost", 2, {"region": "eu"}, days=3)
    tried = lm.backtest(priced, inject=[asked]).incidents
    assert tried["found"].astype(bool).all()
    assert tried["delay_hours"].median() < 6
    row = tried.iloc[4]
    hit = priced["requests"]["region"] == "eu"
    bad = spoiled(priced, "cost_usd", row["started_at"], row["ended_at"], lambda usd: usd.where(~hit, 2 * usd))
    assert first_alert(bad, row["started_at"]) == row["started_at"] + pd.Timedelta(hours=row["delay_hours"])


def test_slower_answers_are_seen_by_their_chart_no_sooner_than_a_check_of_the_spoiled_log_sees_them(tables, operated):
    row = operated.loc["injected-02-latency-03"]
    assert row["metric"] in ("latency_p50_ms", "latency_p95_ms")
    slower = spoiled(tables, "latency_ms", row["started_at"], row["ended_at"], lambda ms: ms * 1.3)
    alerts = lm.check(slower)
    alerts = alerts[alerts["metric"].str.startswith("latency") & (alerts["fired_at"] >= row["started_at"])]
    seen = row["started_at"] + pd.Timedelta(hours=row["delay_hours"])
    assert seen - pd.Timedelta("1D") <= alerts["fired_at"].min() <= seen  # a window that the fault half fills


def test_a_log_that_is_quiet_for_a_short_while_is_tried_with_shorter_faults(tables):
    start = tables["requests"]["timestamp"].min()
    short = {name: table[pd.to_datetime(table["timestamp"] if "timestamp" in table else table["judged_at"]) < start + pd.Timedelta("28D")]
             for name, table in tables.items()}  # fmt: skip
    loud = spoiled(short, "cost_usd", start + pd.Timedelta("19D"), start + pd.Timedelta("24D"), lambda usd: usd * 3)
    row = lm.backtest(loud, inject=[lm.Injection("cost", 2)], grid={"rate": [0.25]}).injections.iloc[0]
    assert 0 < row["days"] < 7
    assert row["n"]
    assert row["note"] == f"for {row['days']:.1f} days: the log is not quiet for longer"


def test_found_rates_rise_with_the_size(found):
    rates = found.injections.query("what == 'quality'")["found_rate"].tolist()
    assert rates == sorted(rates)
    assert rates[-1] > rates[0]


def test_every_found_rate_has_n_and_an_interval_that_holds_it(found):
    table = found.injections
    assert (table["n"] > 0).all()
    assert ((table["low"] <= table["found_rate"]) & (table["found_rate"] <= table["high"])).all()
    assert (table["low"] < table["high"]).all()


def test_planted_faults_stand_among_the_incidents(found):
    counted = found.incidents.groupby("incident_id").size()
    assert (counted == 1).all()
    assert found.incidents["injected"].sum() == found.injections["n"].sum()
    hit = found.incidents[found.incidents["found"].astype(bool)]
    assert hit[["alert_id", "delay_hours"]].notna().all(axis=None)
    assert (hit["delay_hours"] > 0).all()
    missed = found.incidents[~found.incidents["found"].astype(bool)]
    assert missed[["alert_id", "delay_hours"]].isna().all(axis=None)


def test_the_same_seed_gives_the_same_and_nothing_of_the_log_is_altered(tables, found):
    from tests.backtesting.conftest import PLANTED

    before = {name: table.copy(deep=True) for name, table in tables.items()}
    again = lm.backtest(tables, inject=list(PLANTED[:2]), grid={"rate": [0.25]})
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, before[name])
    pd.testing.assert_frame_equal(again.injections, found.injections.head(2))


def test_a_fault_that_nothing_watches_says_so(tables):
    silent = {name: tables[name] for name in ("requests",)}
    table = lm.backtest(silent, inject=[lm.Injection("quality", -0.2), lm.Injection("abandonment", 0.1)]).injections
    assert table["n"].tolist() == [0, 0]
    assert table["found_rate"].isna().all()
    assert table["note"].tolist() == ["no judged answers in the log", "no chart watches it"]
