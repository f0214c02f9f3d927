"""A judge that falls silent is told, once, with when and how many verdicts were due; a night, a quiet feature, a slow judge are not."""

import numpy as np
import pandas as pd

import llm_monitoring as lm
from llm_monitoring.alerts.checking import check
from tests.builders import START, make_judgements, make_requests, open_tables

HOUR, DAY = pd.Timedelta("1h"), pd.Timedelta("1D")
QUIET = {
    "infrastructure": {"enabled": False},
    "cost": {"enabled": False},
    "quality": {"metrics": ["mean_quality", "failed_rate"]},
}


def judged(requests: pd.DataFrame, late="5min", failed=None) -> pd.DataFrame:
    """Every fourth request is judged, so many minutes later."""
    rows = requests.iloc[::4]
    scores = np.where(np.arange(len(rows)) % 2, 4.0, 5.0).tolist()
    if failed is not None:
        scores = [None if at >= failed else score for score, at in zip(scores, rows["timestamp"])]
    return make_judgements(
        len(rows), request_id=rows["request_id"].tolist(), judged_at=(rows["timestamp"] + pd.Timedelta(late)).tolist(),
        feature_id=rows["feature_id"].tolist(), quality_score=scores,
    )  # fmt: skip


def told(log, plan=QUIET) -> pd.DataFrame:
    found = check(log, plan)
    return found[found["metric"] == "failed_rate"]


def traffic(days=20, every="5min", **columns) -> pd.DataFrame:
    return make_requests(int(pd.Timedelta(f"{days}D") / pd.Timedelta(every)), every=every, **columns)


def test_a_judge_that_falls_silent_is_told_once_twenty_verdicts_are_due():
    requests = traffic()
    verdicts = judged(requests)
    stops, again = START + 16 * DAY + 12 * HOUR, START + 18 * DAY
    kept = verdicts[(verdicts["judged_at"] < stops) | (verdicts["judged_at"] >= again)]
    log = open_tables(requests=requests, judgements=kept)
    (row,) = told(log).to_dict("records")
    # three an hour: twenty are due after seven hours, and an hour for those that come late
    assert row["fired_at"] == stops + 8 * HOUR
    assert (row["feature_id"], row["layer"], row["severity"], row["rule"]) == ("search", "quality", "warning", "limit")
    assert "no judgement since 27 May 12:00" in row["message"].replace("\u00a0", " ")
    assert "nothing is known of its quality" in row["message"]
    assert (
        check(log, QUIET).attrs["ended"][row["alert_id"]].startswith("2026-05-29T01:")
    )  # known at the end of its hour
    assert told(log.until(row["fired_at"] - HOUR)).empty
    assert told(log.until(row["fired_at"]))["alert_id"].tolist() == [row["alert_id"]]


def test_a_silence_told_at_the_end_of_patience_is_known_at_that_very_moment():
    requests = traffic(days=17, every="1min")
    verdicts = judged(requests, late="0min")
    stops = START + 16 * DAY + 12 * HOUR
    log = open_tables(requests=requests, judgements=verdicts[verdicts["judged_at"] < stops])
    (row,) = told(log).to_dict("records")
    assert row["fired_at"] == stops + 6 * HOUR  # twenty were due long before
    assert told(log.until(row["fired_at"]))["alert_id"].tolist() == [row["alert_id"]]


def test_failed_judgements_are_told_by_their_chart():
    requests = traffic()
    since = START + 16 * DAY + 12 * HOUR
    (row,) = told(open_tables(requests=requests, judgements=judged(requests, failed=since))).to_dict("records")
    assert row["rule"] == "chart"
    assert row["value"] == 0.5  # of a day, as seventeen verdicts in six hours are too few for a window
    assert since < row["fired_at"] <= since + 13 * HOUR


def test_nights_slow_judges_and_features_that_nobody_asks_are_no_silence():
    requests = traffic()
    day = requests[requests["timestamp"].dt.hour.between(8, 19)]
    assert told(open_tables(requests=day, judgements=judged(day))).empty
    assert told(
        open_tables(
            requests=requests, judgements=judged(requests, late="9h").query("judged_at <= @requests.timestamp.max()")
        )
    ).empty
    early = requests[requests["timestamp"] < START + 16 * DAY]
    other = traffic(feature_id="chat", request_id=[f"c{i}" for i in range(len(requests))])
    both = pd.concat([early, other], ignore_index=True)
    assert told(
        open_tables(requests=both, judgements=pd.concat([judged(early), judged(other)], ignore_index=True))
    ).empty


def test_a_judge_that_never_had_a_baseline_is_told_as_not_watched():
    requests = traffic()
    found = lm.check(open_tables(requests=requests, judgements=judged(requests).head(10)), QUIET)
    assert found.empty
    assert {row["metric"] for row in found.attrs["not_watched"]} >= {"mean_quality"}


def test_a_judge_that_takes_over_is_no_silence_though_its_first_day_is_not_charted():
    requests = traffic(days=20)
    verdicts = judged(requests)
    late = verdicts["judged_at"] >= START + 16 * DAY + 12 * HOUR
    log = open_tables(requests=requests, judgements=verdicts.assign(judge_model=np.where(late, "b", "a")))
    assert told(log).empty
    assert told(log.until(START + 17 * DAY)).empty
    gap = verdicts["judged_at"].between(START + 18 * DAY, START + 19 * DAY)
    silent = open_tables(requests=requests, judgements=log.judgements[~gap.to_numpy()])
    assert len(told(silent)) == 1
