"""Passes of the probes before and since, by feature, check and model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import make_requests

from llm_monitoring import open_log
from llm_monitoring.incident.probes import COLUMNS, probes_since

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "llmdrift"
SINCE = pd.Timestamp("2026-05-12", tz="UTC")


def runs(passed_before, passed_after, **columns):
    """Thirty probes run a day before and at the moment, the first ones passed."""
    sides = ((SINCE - pd.Timedelta("1D"), passed_before), (SINCE, passed_after))
    frames = [
        pd.DataFrame({"probe_id": [f"p{i}" for i in range(30)], "run_at": at, "passed": np.arange(30) < n, **columns})
        for at, n in sides
    ]
    return pd.concat(frames).assign(input="q", output="a")


def table(*parts):
    return probes_since(open_log({"requests": make_requests(3), "probe_results": pd.concat(parts)}), SINCE)


def test_each_check_of_a_feature_is_told_with_its_direction_and_size():
    fence = runs(30, 3, model_id="m-1", feature_id="code", check="no_fence")
    right = runs(10, 28, model_id="m-1", feature_id="code", check="is_right")
    found = table(fence, right).set_index("check")
    assert found.index.tolist() == ["no_fence", "is_right"]  # the largest loss first
    assert found.loc["no_fence", ["before", "after", "n_before", "n_after", "verdict"]].tolist() == [
        1.0,
        0.1,
        30,
        30,
        "passes less",
    ]
    assert found.loc["is_right", "verdict"] == "passes more"
    assert found.loc["is_right", "low"] > 0
    assert found.loc["no_fence", "label"] == "code, m-1: no fence"


def test_what_was_asked_on_one_side_only_has_no_row_and_few_answers_no_verdict():
    once = runs(30, 0, model_id="m-1", feature_id="code", check="x")
    found = table(once[once["run_at"] < SINCE], once.iloc[[0, 30]].assign(check="y"))
    assert found["check"].tolist() == ["y"]
    assert found["verdict"].tolist() == ["too few to tell"]


def test_without_probes_the_table_is_empty_with_its_columns():
    found = probes_since(open_log({"requests": make_requests(3)}), SINCE)
    assert found.columns.tolist() == COLUMNS
    assert not len(found)


@pytest.mark.skipif(not DATA.exists(), reason=f"needs the real log at {DATA}")
def test_the_features_of_a_real_update_move_each_its_own_way():
    found = probes_since(open_log(DATA), "2023-06-27T00:00Z").set_index("label")
    for label, before, after, verdict in (
        ("opinionqa, gpt-4: picks an option", 1470 / 1506, 352 / 1506, "passes less"),
        ("leetcode_easy, gpt-4: code directly usable", 0.52, 0.10, "passes less"),
        ("leetcode_easy, gpt-4: correct after stripping fences", 0.52, 0.70, "passes more"),
        ("sensitiveq, gpt-4: refuses sensitive question", 0.79, 0.95, "passes more"),
    ):
        row = found.loc[label]
        assert (row["before"], row["after"]) == (pytest.approx(before), pytest.approx(after))
        assert row["low"] <= row["after"] - row["before"] <= row["high"]
        assert row["verdict"] == verdict
