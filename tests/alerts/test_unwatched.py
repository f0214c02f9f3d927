"""What has no chart is named with its level; absolute limits alarm without a baseline. Expected values by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from llm_monitoring.alerts.measurements import tally
from llm_monitoring.alerts.plan import read_plan
from llm_monitoring.alerts.scopes import Span
from llm_monitoring.alerts.unwatched import limit_events, not_watched, sentences
from llm_monitoring.intervals import wilson
from tests.builders import START

DAY = pd.Timedelta("1D")
SPAN = Span(START, START + 14 * DAY, START + 30 * DAY, START + 30 * DAY)


def charts(levels, *without):
    table = pd.DataFrame(without, columns=["feature_id", "metric", "reason"])
    return SimpleNamespace(levels=levels, not_charted=table)


def line(metric="flagged_rate", level=0.34, others=None, feature="returns", reason="3 days of history"):
    return {"feature_id": feature, "metric": metric, "reason": reason, "level": level, "others": others}


def plain(texts):
    return [text.replace("\u00a0", " ") for text in texts]


def test_a_level_stands_beside_the_lowest_and_highest_of_the_other_features():
    levels = {("a", "flagged_rate"): 0.4, ("b", "flagged_rate"): 0.02, ("c", "flagged_rate"): 0.07,
              ("d", "flagged_rate"): np.nan, ("b", "mean_quality"): 4.0}  # fmt: skip
    (row,) = not_watched(charts(levels, ("a", "flagged_rate", "new")))
    assert row == {"feature_id": "a", "metric": "flagged_rate", "reason": "new", "level": 0.4, "others": [0.02, 0.07]}


def test_what_has_no_level_or_no_other_feature_says_nothing_in_its_place():
    (row,) = not_watched(charts({("a", "error_rate"): np.nan}, ("a", "error_rate", "new")))
    assert (row["level"], row["others"]) == (None, None)
    assert plain(sentences([row])) == ["not watched: a: error rate: new"]
    assert not_watched(charts({})) == []


def test_metrics_of_one_feature_and_reason_are_one_line_with_the_most_telling_level():
    rows = [line("refusal_rate", 0.1), line("mean_quality", 3.1), line("flagged_rate", None)]
    assert plain(sentences(rows)) == [
        "not watched: returns: share of flagged answers, mean quality, refusal rate: 3 days of history; mean quality 3.10"
    ]


def test_other_reasons_and_features_are_lines_of_their_own():
    assert len(sentences([line(), line(reason="no value"), line(feature="search")])) == 3


def test_more_than_five_metrics_are_not_listed():
    metrics = ["flagged_rate", "mean_quality", "error_rate", "refusal_rate", "abandonment_rate", "truncation_rate"]
    assert plain(sentences([line(name) for name in metrics]))[0].startswith("not watched: returns: 3 days of history;")


def test_equal_levels_of_the_others_are_said_once():
    assert plain(sentences([line(others=[0.02, 0.02])]))[0].endswith("34 %, the other features 2.0 %")


def test_a_metric_of_ones_own_keeps_its_name_and_a_feature_stays_on_one_line():
    (told,) = plain(sentences([line("words\u2028", 3.0) | {"metric": "my_own_measure", "feature_id": "a\nb"}]))
    assert "my_own_measure 3.0" in told
    assert "\n" not in told


def flags(per_day, metric="flagged_rate", start=START, known="0h", **more):
    """`(n, total)` of each day, all in its hour from noon."""
    hours = [start + day * DAY + pd.Timedelta("12h") for day in range(len(per_day))]
    n, total = zip(*per_day)
    frame = pd.DataFrame({"feature_id": "search", "hour": hours, "n": n, "total": total}).assign(**more)
    frame["known"] = frame["hour"] + pd.Timedelta("1h") + pd.Timedelta(known)
    return tally(frame, metric, "proportion" if metric == "flagged_rate" else "mean")


def alarms(tallies, **limits):
    limits = limits or {"flagged_rate_limit": 0.2}
    return limit_events(tallies, read_plan({"quality": limits}), SPAN)


def test_a_share_alarms_on_the_day_on_which_its_interval_lies_wholly_beyond_the_limit():
    # Wilson: 5 of 10 is too few answers, 10 of 20 has its lower end at 0.30
    (alert,) = alarms(flags([(10, 5)] * 10))
    low, high = wilson(10, 20)
    assert alert.fired_at == START + 2 * DAY
    assert (alert.n, alert.value, alert.limit, alert.kind) == (20, 0.5, 0.2, "standing")
    assert (alert.low, alert.high) == pytest.approx((float(low), float(high)))
    assert alert.low > 0.2
    assert "limit 20\u00a0%" in alert.words


def test_a_share_whose_interval_holds_the_limit_does_not_alarm():
    # 6 of 20 a week at most: the lower end is 0.145
    assert alarms(flags([(20, 6)])) == []


def test_only_answers_of_the_last_seven_days_count_and_a_new_stretch_alarms_again():
    days = [(20, 16)] + [(20, 0)] * 9 + [(20, 16)] * 4
    told = alarms(flags(days), flagged_rate_limit=0.2)
    # days 11 to 14: 16 of 140, 32 of 140 (0.229, from 0.167), 48 of 140 (0.343, from 0.269)
    assert [alert.fired_at for alert in told] == [START + DAY, START + 13 * DAY]
    assert told[1].n == 140
    assert told[1].window_start == START + 6 * DAY


def test_an_answer_counts_from_the_day_on_which_its_judgement_was_known():
    (alert,) = alarms(flags([(40, 30)], known="60h"))  # noon, an hour, 60 hours: on day 3 at 1 a.m.
    assert alert.fired_at == START + 4 * DAY


def test_a_low_mean_alarms_and_a_high_one_does_not():
    scores = {"squares": 40 * 5.0}  # mean 2, variance 1 of each day's 40
    (alert,) = alarms(flags([(40, 80)], "mean_quality", **scores), mean_quality_limit=3.0)
    assert (alert.direction, alert.value) == ("down", 2.0)
    assert alert.high == pytest.approx(2 + 1.96 * np.sqrt(1 / 39))
    assert alarms(flags([(40, 160)], "mean_quality", squares=40 * 17.0), mean_quality_limit=3.0) == []


def test_unequal_weights_are_worth_fewer_answers():
    # 40 answers of which the weights are worth 1600 / 100 = 16: too few
    assert alarms(flags([(40, 40)], weight=40.0, weight2=100.0)) == []


def test_without_a_limit_or_for_other_metrics_nothing_alarms():
    assert limit_events(flags([(40, 40)]), read_plan(None), SPAN) == []
    assert alarms(flags([(40, 40)], "refusal_rate")) == []
