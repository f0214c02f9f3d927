import pandas as pd
import pytest

from llm_monitoring import ConfigError
from llm_monitoring.alerts.alert import read_alert


def test_a_row_of_the_alerts_table_is_read_and_unknown_means_none():
    row = pd.Series({"metric": "mean_quality", "fired_at": pd.Timestamp("2026-05-19T02:00+02:00"), "direction": "down",
                     "feature_id": float("nan"), "n": 20})  # fmt: skip
    alert = read_alert(row)
    assert alert.feature_id is None
    assert alert.fired_at == pd.Timestamp("2026-05-19T00:00Z")
    assert alert.unit == "score"
    assert alert.harmful


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"metric": None}, "alert: metric is missing; an alert is a row of check(log), or a dict with this name"),
        ({"direction": "sideways"}, "alert direction='sideways'; expected one of 'up', 'down'"),
        (
            {"fired_at": "2026-05-19"},
            "alert fired_at='2026-05-19' has no time zone; write it with one, such as '2026-05-12T09:31Z'",
        ),
    ],
)
def test_what_an_alert_lacks_is_named(change, sentence):
    given = {"metric": "mean_quality", "fired_at": "2026-05-19T00:10Z", "direction": "down", **change}
    with pytest.raises(ConfigError) as caught:
        read_alert(given)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("metric", "direction", "harmful"),
    [
        ("mean_quality", "up", False),
        ("flagged_rate", "up", True),
        ("latency_p95_ms", "down", False),
        ("explicit_positive_rate", "down", True),
    ],
)
def test_harm_is_told_by_what_the_metric_means(metric, direction, harmful):
    assert read_alert({"metric": metric, "fired_at": "2026-05-19T00:10Z", "direction": direction}).harmful is harmful
