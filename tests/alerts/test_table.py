"""The alerts table shows its sentences whole."""

from __future__ import annotations

import copy
import json
import pickle
from html import unescape

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.alert import COLUMNS, Alert
from llm_monitoring.alerts.grouping import alerts_table
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.table import Alerts

AT = pd.Timestamp("2026-05-19", tz="UTC")
WORDS = "search: " + "answers cost $2 and $4 " * 8 + "<script>alert(1)</script> & more"


@pytest.fixture
def alerts() -> pd.DataFrame:
    one = Alert(
        "query_drift", AT, "up", "search", AT - pd.Timedelta("7D"), layer="quality", value=0.01, expected=0.05, low=0.0,
        high=1.0, n=200, rule="test", words=WORDS, began=AT, began_low=AT, began_by=AT, ended=AT,
        designed_false_alarms_per_month=0.1,
    )  # fmt: skip
    return alerts_table([one], Plan())


def test_sentences_are_shown_whole_and_no_option_of_pandas_is_changed(alerts):
    before = {name: pd.get_option(name) for name in ("display.max_colwidth", "display.max_columns")}
    assert WORDS in repr(alerts)
    html = alerts._repr_html_()
    assert WORDS in unescape(html)
    assert "<script>" not in html
    assert "tex2jax_ignore" in html
    assert before == {name: pd.get_option(name) for name in before}


def test_slices_copies_and_pickles_show_them_too(alerts):
    pickled = pickle.loads(pickle.dumps(alerts))
    for part in (alerts[["alert_id", "message"]], alerts.iloc[:1], alerts.copy(), copy.deepcopy(alerts), pickled,
                 alerts[alerts["layer"] == "quality"], alerts.sort_values("fired_at"), alerts.head()):  # fmt: skip
        assert isinstance(part, Alerts)
        assert WORDS in repr(part)
    pd.testing.assert_frame_equal(pickled, alerts)
    assert pickled.attrs == alerts.attrs
    assert WORDS in json.loads(alerts.to_json(orient="records", date_format="iso"))[0]["message"]
    assert type(alerts["message"]) is pd.Series
    assert type(alerts.iloc[0]) is pd.Series


def test_an_empty_table_is_shown(alerts):
    empty = alerts_table([], Plan())
    assert isinstance(empty, Alerts)
    assert list(empty.columns) == list(COLUMNS)
    assert repr(empty)
    assert empty._repr_html_()


def test_check_gives_such_a_table():
    requests = pd.DataFrame({
        "request_id": ["a"], "timestamp": [AT], "feature_id": ["search"], "model_id": ["m-1"],
    })  # fmt: skip
    assert isinstance(lm.check({"requests": requests}), Alerts)
