"""Windows in a row: one alarm at a new topic, few in quiet, the mix apart from the content."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, norm

import llm_monitoring as lm
from llm_monitoring.drift.embedding import hash_embed
from llm_monitoring.drift.monitor import limits, mix_p
from llm_monitoring.errors import ConfigError

START = pd.Timestamp("2026-05-11", tz="UTC")
ASKED = ["where is my parcel {}", "refund for order {}", "change the address of {}", "is size {} in stock"]


def traffic(days, rng, n=30, feature="search", new_from=None):
    rows = []
    for day in range(days):
        for i in range(n):
            text = rng.choice(ASKED).format(rng.integers(10_000))
            if new_from is not None and day >= new_from and i % 3 == 0:
                text = f"sing the song number {rng.integers(10_000)} aloud"
            rows.append({"timestamp": START + pd.Timedelta(day, unit="D"), "user_input": text, "feature_id": feature})
    return pd.DataFrame(rows)


def test_a_new_topic_is_found_in_its_first_window_and_only_in_its_feature():
    rng = np.random.default_rng(0)
    reference = pd.concat([traffic(4, rng), traffic(4, rng, feature="chat")])
    current = pd.concat([traffic(5, rng, new_from=3), traffic(5, rng, feature="chat")])
    result = lm.DriftMonitor(reference, embedder=hash_embed).monitor(current)
    first = result.alarms.iloc[0]
    assert (first["feature_id"], first["window_start"]) == ("search", START + pd.Timedelta(3, unit="D"))
    assert set(result.alarms["feature_id"]) == {"search"}
    assert result.headline == (
        "2 of 10 windows drifted, first search at 2026-05-14 00:00 (n = 30; "
        "a false alarm about every 100 windows of 1d)."
    )
    json.dumps(result.to_dict(), allow_nan=False)
    result.plot()


def test_only_windows_that_differ_beyond_doubt_stay_out_of_the_pool(monkeypatch):
    monitor = lm.DriftMonitor(traffic(1, np.random.default_rng(0)), by=[], embedder=hash_embed)
    limit = monitor.p_limit_
    pools, p_values = [], iter([0.5, 0.9 * limit, 0.05 * limit, 0.5, 0.5])

    def p_of(watch, before, now, at):
        pools.append(len(before))
        return next(p_values) if at == limit else 0.5

    monkeypatch.setattr("llm_monitoring.drift.monitor._Watch._p", p_of)
    table = monitor.monitor(traffic(4, np.random.default_rng(1))).to_frame()
    assert table["alarm"].tolist() == [False, True, True, False]
    assert pools[:4] == [30, 60, 90, 90]
    assert limit * (monitor.permutations_ + 1) > 10  # a tenth of the limit can be reached


def test_quiet_windows_raise_few_alarms():
    alarms = 0
    for seed in range(2):
        rng = np.random.default_rng(seed)
        monitor = lm.DriftMonitor(traffic(6, rng), embedder=hash_embed, arl0=50, seed=seed)
        alarms += len(monitor.monitor(traffic(10, rng)).alarms)
    assert alarms <= 4  # 20 windows at 1 in 50: 99.9 % quantile of Poisson(.4)


def test_the_two_limits_together_give_the_stated_run_length_in_a_simulation():
    """200,000 normal scores, no part of the package but the limits: one alarm in 60 windows."""
    p_limit, limit = limits(60)
    scores = np.random.default_rng(0).normal(size=200_000)
    once, total, alarms = norm.isf(p_limit), 0.0, 0
    for score in scores:
        total = max(0.0, total + score - 0.5)
        if score >= once or total > limit:
            total, alarms = 0.0, alarms + 1
    assert len(scores) / alarms == pytest.approx(60, rel=0.07)  # three standard errors of 3,300 alarms are 5 %


def test_no_later_window_changes_what_was_said_of_a_window():
    rng = np.random.default_rng(5)
    current = traffic(9, rng, new_from=6)
    monitor = lm.DriftMonitor(traffic(4, rng), embedder=hash_embed)
    whole = monitor.monitor(current).to_frame()
    for day in (1, 4, 7):
        part = monitor.monitor(current[current["timestamp"] < START + pd.Timedelta(day, unit="D")]).to_frame()
        pd.testing.assert_frame_equal(part, whole.head(day))


def test_a_change_too_slow_for_any_window_is_found_against_the_reference_itself():
    def creeping(day, rng, n=40):
        texts = [rng.choice(ASKED).format(rng.integers(10_000)) for _ in range(n)]
        for i in range(day // 2):
            texts[i] = f"sing the song number {rng.integers(10_000)} aloud"
        at = START + pd.Timedelta(day, unit="D")
        return pd.DataFrame({"timestamp": at, "user_input": texts, "feature_id": "search"})

    rng = np.random.default_rng(6)
    current = pd.concat([creeping(day, rng) for day in range(16)])
    result = lm.DriftMonitor(traffic(10, rng), embedder=hash_embed).monitor(current)
    assert len(result.alarms)
    looked = result.to_frame()["reference_p_value"].notna()
    assert looked.tolist() == [day % 4 == 3 for day in range(16)]
    assert result.to_frame()["reference_p_value"].iloc[-1] < 0.01


def test_the_slow_rule_says_a_thing_once_until_it_is_over(monkeypatch):
    monitor = lm.DriftMonitor(traffic(1, np.random.default_rng(0)), by=[], embedder=hash_embed)
    low = 0.5 * monitor.slow_limit_
    seen = iter([0.5, low, low, 0.4, low, 0.6, low])
    monkeypatch.setattr("llm_monitoring.drift.monitor._Watch._p", lambda *given: 0.4)
    monkeypatch.setattr("llm_monitoring.drift.monitor._Watch._slow", lambda *given: next(seen))
    table = monitor.monitor(traffic(7, np.random.default_rng(1), n=12)).to_frame()
    assert table["rule"].tolist() == [None, "slow", None, None, None, None, "slow"]


def test_only_accept_changes_the_reference_and_it_is_on_record():
    rng = np.random.default_rng(7)
    monitor = lm.DriftMonitor(traffic(6, rng), embedder=hash_embed)
    song = traffic(4, rng, new_from=0)
    assert monitor.monitor(song).to_frame()["alarm"].all()
    assert monitor.monitor(song).to_frame()["alarm"].all()  # nothing was learnt from seeing it once
    wider = monitor.accept(song, reason="songs are sung since release 7")
    later = song.assign(timestamp=song["timestamp"] + pd.Timedelta(7, unit="D"))
    result = wider.monitor(later)
    assert not result.to_frame()["alarm"].any()
    assert [(act["reason"], act["queries"]) for act in result.acts] == [("songs are sung since release 7", 120)]
    assert json.loads(json.dumps(result.to_dict()))["acts"][0]["first"] == "2026-05-11T00:00:00Z"
    with pytest.raises(ConfigError) as error:
        monitor.accept(song, reason=" ")
    assert str(error.value) == ("DriftMonitor.accept(reason=''); expected why these requests are normal from now on")


def rhythmic(days, rng, n=60):
    """On Saturday and Sunday nine of ten questions are about parcels."""
    rows = []
    for day in range(days):
        at = START + pd.Timedelta(day, unit="D")
        share = [0.9, 0.04, 0.03, 0.03] if at.day_of_week >= 5 else [0.25] * 4
        texts = [rng.choice(ASKED, p=share).format(rng.integers(10_000)) for _ in range(n)]
        rows.append(pd.DataFrame({"timestamp": at, "user_input": texts, "feature_id": "search"}))
    return pd.concat(rows, ignore_index=True)


def test_a_weekend_with_topics_of_its_own_is_compared_with_weekends():
    rng = np.random.default_rng(8)
    traffic_ = rhythmic(28, rng, n=40)
    monitor = lm.DriftMonitor(traffic_[traffic_["timestamp"] < START + pd.Timedelta(14, unit="D")], embedder=hash_embed)
    assert monitor.rhythm_ == {("search",): "weekend"}
    later = traffic_[traffic_["timestamp"] >= START + pd.Timedelta(14, unit="D")]
    assert len(monitor.monitor(later).alarms) <= 1
    monday = later[later["timestamp"].dt.day_of_week < 5].copy()
    monday["user_input"] = (
        later.loc[later["timestamp"].dt.day_of_week == 5, "user_input"]
        .sample(len(monday), replace=True, random_state=0)
        .to_numpy()
    )
    assert monitor.monitor(monday).to_frame()["alarm"].iloc[0]  # a Monday like a Saturday is a change


def test_days_without_a_rhythm_are_compared_with_all_days():
    rng = np.random.default_rng(9)
    found = [lm.DriftMonitor(traffic(14, rng, n=20), embedder=hash_embed).rhythm_[("search",)] for _ in range(10)]
    assert found.count("none") >= 7  # two tests at 5 %


def test_row_order_changes_nothing():
    rng = np.random.default_rng(0)
    monitor = lm.DriftMonitor(traffic(3, rng), embedder=hash_embed)
    current = traffic(3, rng)
    shuffled = current.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(monitor.monitor(current).to_frame(), monitor.monitor(shuffled).to_frame())


def test_small_windows_and_unknown_features_are_null():
    rng = np.random.default_rng(0)
    monitor = lm.DriftMonitor(traffic(3, rng), embedder=hash_embed)
    table = monitor.monitor(pd.concat([traffic(1, rng, n=4), traffic(1, rng, feature="new")])).to_frame()
    assert table["p_value"].isna().all()
    assert not table["alarm"].any()
    assert table["n"].tolist() == [30, 4]


def test_no_rows_give_an_empty_table_with_its_columns():
    rng = np.random.default_rng(0)
    result = lm.DriftMonitor(traffic(3, rng), embedder=hash_embed).monitor(traffic(1, rng).head(0))
    assert result.to_frame().empty
    assert "mix_p_value" in result.to_frame()
    assert result.headline == "No window of 1d has enough queries to tell (0 queries)."


def test_p_of_the_mix_is_that_of_chi_square_in_large_samples():
    before, now = np.repeat(list("abc"), [500, 300, 200]), np.repeat(list("abc"), [140, 100, 60])
    expected = chi2_contingency([[500, 300, 200], [140, 100, 60]], correction=False).pvalue
    assert mix_p(before, now, seed=0, permutations=9_999) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"arl0": 1}, "DriftMonitor(arl0)=1; expected at least 2 windows"),
        (
            {"by": ["featur_id"]},
            "DriftMonitor(reference) needs the column 'featur_id'; it='featur_id'; expected one of 'timestamp', "
            "'user_input', 'feature_id'; the nearest is 'feature_id'",
        ),
        ({"window": "1 month"}, "window='1 month'; expected a whole number of s, min, h, d or w, such as '1h'"),
    ],
)
def test_errors_are_whole_sentences(given, sentence):
    with pytest.raises(ConfigError) as error:
        lm.DriftMonitor(traffic(1, np.random.default_rng(0)), embedder=hash_embed, **given)
    assert str(error.value) == sentence
