"""What a newcomer types by mistake is answered in one line that says what to type."""

from __future__ import annotations

import pytest

import llm_monitoring as lm
from llm_monitoring.errors import ConfigError
from tests.builders import make_log

AT = {"fired_at": "2026-05-12T00:00Z", "direction": "down"}


@pytest.fixture(scope="module")
def log():
    return lm.open_log(make_log(40))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda log: lm.incident.triage("sample_data", {"metric": "error_rate", **AT}), "log: 'sample_data'; expected what open_log gives, such as lm.open_log('sample_data')"),
        (lambda log: lm.incident.triage(log, {"metric": "mean_qualty", **AT}), "nearest"),
        (lambda log: lm.incident.triage(log, {"metric": "error_rate", "feature_id": "serch", **AT}), "alert feature_id='serch'; expected one of 'search', 'summary'; the nearest is 'search'"),
        (lambda log: lm.incident.triage(log, lm.check(log)), "alert: a table; take one row, such as alerts.iloc[0]"),
        (lambda log: lm.review(log, "no-such-alert"), "alert 'no-such-alert': the log has no such alert; it has none"),
        (lambda log: lm.explore(log, window="2h"), "window='2h'; expected one of 'auto', '1h', '6h', '1d'"),
    ],
)  # fmt: skip
def test_a_slip_is_answered_in_one_line(log, call, words):
    with pytest.raises(ConfigError) as caught:
        call(log)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_record_level_chart_says_where_it_stands():
    chart = lm.QualityControlChart(alpha=0.1, k=3, warmup_n=4)
    assert repr(chart) == "QualityControlChart(alpha=0.1, k=3, warmup_n=4): warming up, 0 of 4 values"
    for value in (4.0, 4.2, 3.8, 4.0, 1.0, 1.0):
        chart.update(value)
    assert repr(chart).startswith(
        "QualityControlChart(alpha=0.1, k=3, warmup_n=4): alarm, ewma 3.43 after 6 values, limits "
    )


def test_a_log_says_rows_span_features_and_what_is_judged(log):
    text = repr(log)
    assert text.startswith("Log 'DataFrames': 40 requests, 11 May 2026")
    assert "2 features: search 20, summary 20" in text
    assert "<b>Log &#x27;DataFrames&#x27;: 40 requests" in log._repr_html_()


def test_names_in_a_log_are_text_wherever_the_log_is_shown():
    evil = "<img src=x onerror=alert(1)>\nsecond line"
    shown = lm.open_log({"requests": make_log(3)["requests"].assign(feature_id=evil)})
    assert "<img" not in shown._repr_html_()
    assert len(repr(shown).splitlines()) == 3


def test_what_was_found_at_one_moment_is_not_what_was_found_at_another(log):
    log.checked["plan"] = "alerts of the whole log"
    assert log.until("2026-05-11T00:10Z").checked == {}
    del log.checked["plan"]
