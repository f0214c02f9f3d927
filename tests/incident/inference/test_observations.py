import numpy as np
import pandas as pd
import pytest

from llm_monitoring.incident import read_alert
from llm_monitoring.incident.inference.lineage import lineage
from llm_monitoring.incident.inference.observations import observe
from tests.incident.worlds import START, make_alert, make_world


def _seen(*ranges):
    rows = [(name, START + pd.Timedelta(days=d)) for name, a, b in ranges for d in np.arange(a, b, 0.05)]
    return pd.DataFrame(rows, columns=["model_id", "timestamp"])


def test_a_model_that_vanishes_as_a_similar_one_appears_is_its_ancestor():
    seen = _seen(("gpt-4-0314", 0, 5), ("gpt-4-0613", 5, 10), ("gpt-3.5-0301", 0, 5), ("gpt-3.5-0613", 5, 10))
    assert lineage(seen, pd.DataFrame()) == {
        "gpt-4-0314": "gpt-4",
        "gpt-4-0613": "gpt-4",
        "gpt-3.5-0301": "gpt-3.5",
        "gpt-3.5-0613": "gpt-3.5",
    }


def test_a_logged_change_of_version_is_taken_at_its_word():
    seen = _seen(("old", 0, 8), ("new", 5, 10))
    changes = pd.DataFrame({"kind": ["model_version"], "model_id": ["old, new"]})
    assert lineage(seen, changes) == {"old": "new / old", "new": "new / old"}


def test_models_that_run_side_by_side_stay_apart():
    seen = _seen(("a-1", 0, 10), ("a-2", 0, 10))
    assert lineage(seen, pd.DataFrame()) == {"a-1": "a-1", "a-2": "a-2"}


def test_the_rows_of_a_judged_metric_carry_the_time_of_the_answer():
    log = make_world(days=12)
    seen = observe(log, read_alert(make_alert()))
    assert seen.columns == ("feature_id", "category", "model")
    assert seen.frame["timestamp"].tolist() == sorted(log.requests["timestamp"])


@pytest.mark.parametrize("metric", ["request_count", "query_drift"])
def test_a_metric_without_a_value_for_single_answers_gives_nothing(metric):
    assert observe(make_world(days=3), read_alert(make_alert(metric=metric))) is None


def test_a_version_column_is_no_slice_since_its_values_come_and_go():
    log = make_world(days=12)
    requests = log.requests.assign(build=np.where(log.requests["timestamp"] < START + pd.Timedelta("8D"), "b1", "b2"))
    from llm_monitoring import open_log

    seen = observe(open_log({"requests": requests, "judgements": log.judgements}), read_alert(make_alert()))
    assert "build" not in seen.columns
