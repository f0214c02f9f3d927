"""Any name of a column is the user's: the same figures come out whatever a log calls its own columns."""

from __future__ import annotations

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring import incident
from tests.builders import START, make_judgements, make_requests

NAMES = [
    "value",
    "weight",
    "exposure",
    "n",
    "mean",
    "sum",
    "span",
    "leaf",
    "day",
    "square",
    "errors",
    "bad",
    "latencies",
    "first",
    "up",
    "_bad",
    "_row",
    "_file",
    "hour",
    "metric",
    "kind",
    "model",
    "scale",
    "status",
    "judge_model",
    "quality_score",
    "window",
    "variance",
    "index",
]


@pytest.fixture(scope="module")
def log() -> lm.Log:
    n = 24 * 14
    own = {name: [f"{name}-{'b' if i % 3 else 'a'}" for i in range(n)] for name in NAMES}
    requests = make_requests(n, every="1h", feature_id=["search", "summary"]).assign(**own)
    late = requests["timestamp"] >= START + pd.Timedelta(days=10)
    hit = late & (requests["value"] == "value-a")
    judgements = make_judgements(
        n, every="1h", quality_score=[1.0 if bad else 4.0 + i % 2 for i, bad in enumerate(hit)]
    )
    return lm.open_log({"requests": requests, "judgements": judgements.assign(feature_id=requests["feature_id"])})


@pytest.mark.parametrize(
    "names",
    [NAMES[::2], NAMES[1::2], *(pytest.param([name], marks=pytest.mark.long) for name in NAMES)],
    ids=["half of them", "the others", *NAMES],
)
def test_a_log_can_be_split_by_columns_of_any_name(log, names):
    """Each column splits the log in the same two parts, and so do many of them together."""
    windows, sessions = lm.window_metrics(log, None, by=names), lm.session_metrics(log, by=names)
    for name in names:
        assert windows.set_index(name)["request_count"].to_dict() == {f"{name}-a": 112, f"{name}-b": 224}
        assert sessions[name].tolist() == [f"{name}-a", f"{name}-b"]
    assert lm.satisfaction_metrics(log, by=names)["request_count"].tolist() == [112, 224]
    of_request = [name for name in names if name not in ("judge_model", "quality_score", "status", "scale")]
    if of_request:
        assert lm.quality_metrics(log, window=None, by=of_request)["n_judged"].tolist() == [112, 224]


def test_check_and_the_stages_take_a_log_with_columns_of_any_name(log):
    assert len(lm.check(log)) >= 0
    alert = {"metric": "mean_quality", "fired_at": START + pd.Timedelta(days=12), "direction": "down"}
    scope = incident.scope(log, alert)
    found = incident.isolate(log, alert, scope)
    advice = incident.respond(log, alert, scope, found)
    assert found.ranking
    assert advice.action
    assert not [key for each in scope.slices for key in each["where"] if key.startswith("__lm_")]


def test_a_column_of_the_result_cannot_split_it(log):
    with pytest.raises(lm.ConfigError) as caught:
        lm.window_metrics(make_requests(3, error_rate=0.5), by=["error_rate"])
    assert str(caught.value) == "by='error_rate': the result has a column of this name. Rename the column of the log"
