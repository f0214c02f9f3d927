"""What is said of planted faults is what a whole check of a log with that fault in it says."""

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.backtesting.planting import judged_answers, worse
from tests.backtesting.logs import spoiled


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
