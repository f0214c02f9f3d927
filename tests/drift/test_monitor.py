"""Windows in a row: one alarm at a new topic, few in quiet, the mix apart from the content."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency

import llm_monitoring as lm
from llm_monitoring.drift.embedding import hash_embed
from llm_monitoring.drift.monitor import _mix_p
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


def test_quiet_windows_raise_few_alarms():
    alarms = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        monitor = lm.DriftMonitor(traffic(6, rng), embedder=hash_embed, arl0=50, seed=seed)
        alarms += len(monitor.monitor(traffic(10, rng)).alarms)
    assert alarms <= 5  # 40 windows at 1 in 50: 99.9 % quantile of Poisson(.8)


def test_the_limit_of_the_sum_is_that_of_a_one_sided_cusum():
    monitor = lm.DriftMonitor(traffic(2, np.random.default_rng(0)), embedder=hash_embed, arl0=84)
    # Siegmund's approximation: (exp(2 k b) - 2 k b - 1) / (2 k^2), b = h + 1.166, k = .5
    b = monitor.limit_ + 1.166
    assert (np.exp(b) - b - 1) / 0.5 == pytest.approx(168, rel=0.03)


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
    assert _mix_p(before, now, seed=0, permutations=9_999) == pytest.approx(expected, abs=0.02)


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
