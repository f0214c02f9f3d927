"""Versions that serve side by side are compared in the same hours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts import versions
from llm_monitoring.alerts.plan import read_plan
from llm_monitoring.alerts.versions import version_looks

START = pd.Timestamp("2026-05-04", tz="UTC")
DAY = pd.Timedelta("1D")
ONLY = {
    "infrastructure": {"enabled": False},
    "cost": {"enabled": False},
    "quality": {"metrics": ["mean_quality", "flagged_rate"], "query_drift": False},
}
STAYS = [
    "alert_id",
    "metric",
    "fired_at",
    "window_start",
    "value",
    "expected",
    "low",
    "high",
    "n",
    "version",
    "reopens",
]


def canary(seed: int, bad: float, part: float = 0.04, days: int = 26, a_day: int = 600, names=("v8", "v9")) -> lm.Log:
    """A feature with day effects; from day 18 a part of its traffic is served by another prompt. Half is judged, weighted."""
    rng = np.random.default_rng(seed)
    n = days * a_day
    at = START + pd.to_timedelta(np.sort(rng.uniform(0, days * 86400, n)), unit="s").round("ms")
    day = np.asarray((at - START) // DAY)
    other = (day >= 18) & (rng.random(n) < part)
    usual = np.clip(0.05 * np.exp(rng.normal(0, 0.5, days)), 0.01, 0.3)[day]  # what a day does to all
    flagged = rng.random(n) < np.where(other, usual + bad, usual)
    score = np.where(flagged, rng.integers(1, 3, n), rng.integers(4, 6, n)).astype(float)
    requests = pd.DataFrame({
        "request_id": [f"r{i:06d}" for i in range(n)], "timestamp": at, "feature_id": "search", "model_id": "m-1",
        "prompt_version": np.where(other, names[1], names[0]),
    })  # fmt: skip
    chance = np.where(day % 2, 0.6, 0.4)
    judgements = pd.DataFrame({
        "request_id": requests["request_id"], "feature_id": "search", "quality_score": score, "dimensions": None,
        "flagged": flagged, "flag_reason": None, "inclusion_probability": chance,
        "judged_at": at + pd.to_timedelta(rng.exponential(3600, n), unit="s").round("ms"),
    })[rng.random(n) < chance]  # fmt: skip
    return lm.open_log({"requests": requests, "judgements": judgements})


def of_versions(alerts: pd.DataFrame) -> pd.DataFrame:
    return alerts[alerts["version"].notna()]


@pytest.fixture(scope="module")
def bad() -> lm.Log:
    return canary(1, bad=0.26)


def test_a_bad_canary_of_four_per_cent_is_found_within_days(bad):
    found = of_versions(lm.check(bad, ONLY))
    assert len(found) == 1
    row = found.iloc[0]
    assert row["fired_at"] <= START + 23 * DAY
    assert (row["version"], row["rule"], row["kind"], row["layer"]) == ("v9", "test", "change", "quality")
    assert row["alert_id"].endswith(f"-search-{row['metric']}-prompt_version-v9")
    assert row["low"] < row["value"] < row["high"]
    assert "answers of prompt_version v9 (4" in row["message"]
    assert "those of v8 in the same hours" in row["message"]
    assert 0 < row["designed_false_alarms_per_month"] <= 0.05


@pytest.mark.long
def test_versions_that_are_alike_do_not_alert():
    for seed in range(6):
        assert of_versions(lm.check(canary(seed, bad=0.0, part=0.2, days=30), ONLY)).empty


@pytest.mark.long
def test_tests_of_versions_that_are_alike_keep_their_level():
    p = pd.concat(
        [version_looks(log, read_plan(ONLY), START + 26 * DAY) for log in (canary(s, 0.0) for s in range(15))]
    )
    assert len(p) > 100
    assert (p["p"] < 0.05).mean() < 0.1  # looks of one log overlap
    assert (p["p"] < 0.001).mean() < 0.01


def test_alerts_of_versions_stay_as_they_were(bad):
    whole = lm.check(bad, ONLY)
    fired = of_versions(whole)["fired_at"].iloc[0]
    for when in (fired - pd.Timedelta("1us"), fired, fired + 1.3 * DAY, START + 25.5 * DAY):
        then = lm.check(bad, ONLY, until=when)
        had = whole[whole["fired_at"] <= when]
        pd.testing.assert_frame_equal(
            then.sort_values("alert_id", ignore_index=True)[STAYS],
            had.sort_values("alert_id", ignore_index=True)[STAYS],
            check_dtype=False,
            check_exact=True,
        )


def test_features_looked_at_one_by_one_give_the_same_looks(monkeypatch):
    tables = [canary(seed, bad=0.3, part=0.4, days=21, a_day=150) for seed in (1, 2, 3)]
    requests, judged = (
        pd.concat([
            getattr(log, name).assign(feature_id=f"f{i}", request_id=f"{i}-" + getattr(log, name)["request_id"])
            for i, log in enumerate(tables)
        ], ignore_index=True)
        for name in ("requests", "judgements")
    )  # fmt: skip
    log = lm.open_log({"requests": requests, "judgements": judged})
    together = version_looks(log, read_plan(None), log.span("requests")[1])
    in_parts = versions._in_parts
    monkeypatch.setattr(versions, "_in_parts", lambda cells: in_parts(cells, most=1))
    alone = version_looks(log, read_plan(None), log.span("requests")[1])
    assert set(together["feature_id"]) == {"f0", "f1", "f2"}
    pd.testing.assert_frame_equal(alone, together)


def test_one_version_after_the_other_is_not_compared():
    log = canary(2, bad=0.3, part=1.0)
    assert version_looks(log, read_plan(ONLY), START + 26 * DAY).empty


def test_columns_are_named_by_the_plan_and_may_be_none(bad):
    quality = ONLY["quality"]
    assert of_versions(lm.check(bad, ONLY | {"quality": quality | {"versions": []}})).empty
    assert of_versions(lm.check(bad, ONLY | {"quality": quality | {"versions": ["model_id"]}})).empty


def test_a_hostile_version_is_told_on_one_line():
    found = of_versions(lm.check(canary(1, bad=0.3, names=("v8", "<b>v9</b>\n../x")), ONLY))
    assert found["version"].tolist() == ["<b>v9</b>\n../x"]
    assert "\n" not in found["message"].iloc[0]
    assert "/" not in found["alert_id"].iloc[0]


def test_the_stages_take_an_alert_of_a_version(bad):
    alert = of_versions(lm.check(bad, ONLY)).iloc[0]
    case = lm.incident.triage(bad, alert)
    assert case.verdict
    assert len(lm.incident.isolate(bad, alert).to_frame())
