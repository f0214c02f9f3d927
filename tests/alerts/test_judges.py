"""Which judge's scores are which series: chosen in the first two weeks, handed on where a judge falls silent."""

import pandas as pd
import pytest

from llm_monitoring import engines
from llm_monitoring.alerts import judges
from llm_monitoring.alerts.judges import FOREVER, series_of, with_series
from llm_monitoring.answers import view_of
from tests.builders import START, make_judgements, make_requests, open_tables

DAY, HOUR = pd.Timedelta("1D"), pd.Timedelta("1h")


def judged(judge, first, last, n=1, every="6h", scale="1..5", feature="f"):
    """`n` judgements each so often from day `first` up to day `last`."""
    hours = pd.date_range(START + first * DAY, START + last * DAY, freq=every, inclusive="left")
    return pd.DataFrame({"feature_id": feature, "judge": judge, "scale": scale, "hour": hours, "n": n})


def told(*parts, days=14):
    table = series_of(pd.concat(parts, ignore_index=True), days)
    return [
        (row.judge, row.series, (row.since - START) / DAY, (row.before - START) / DAY) for row in table.itertuples()
    ]


EVER = (FOREVER - START) / DAY


def test_one_judge_is_the_series_without_a_name():
    assert told(judged("a", 0, 30)) == [("a", "", 0, EVER)]


def test_the_first_two_weeks_choose_however_much_another_judges_later():
    assert told(judged("a", 0, 30, n=2), judged("b", 5, 30, n=1), judged("b", 14, 30, n=50)) == [
        ("a", "", 0, EVER), ("b", "b", 0, EVER),
    ]  # fmt: skip


def test_of_equally_busy_judges_the_first_by_name_is_taken():
    assert [row[:2] for row in told(judged("b", 0, 20), judged("a", 0, 20))] == [("a", ""), ("b", "b")]


def test_a_new_judge_goes_on_a_day_after_the_old_one_fell_silent():
    # the last hour of a is day 19.75; the first of b that is more than a day later is 21.0
    assert told(judged("a", 0, 20), judged("b", 20, 30)) == [("a", "", 0, 21), ("b", "", 21, EVER)]


def test_a_judge_that_pauses_as_long_as_usual_is_not_gone():
    # a judges every two days: its longest pause doubled is four days, so b has it from day 22 on
    assert told(judged("a", 0, 19, every="2D"), judged("b", 19, 30)) == [("a", "", 0, 22.25), ("b", "", 22.25, EVER)]


def test_a_judge_that_was_there_beside_does_not_take_over():
    assert told(judged("a", 0, 20, n=5), judged("b", 0, 30)) == [("a", "", 0, EVER), ("b", "b", 0, EVER)]


def test_a_judge_on_another_scale_has_a_series_of_its_own():
    assert told(judged("a", 0, 20), judged("b", 20, 30, scale="0..1")) == [("a", "", 0, EVER), ("b", "b", 0, EVER)]


def test_a_judge_that_changes_its_scale_is_named_with_it():
    made = told(judged("a", 0, 20), judged("a", 20, 30, scale="0..1"))
    assert [row[:2] for row in made] == [("a", ""), ("a", "a 0..1")]


def test_a_judge_without_a_name_beside_another_is_called_unnamed():
    assert [row[:2] for row in told(judged("a", 0, 20, n=5), judged("", 0, 20))] == [("a", ""), ("", "unnamed")]


def test_features_are_told_apart():
    made = series_of(pd.concat([judged("a", 0, 20, feature="x"), judged("b", 0, 20, feature="y")]))
    assert made[["feature_id", "judge", "series"]].values.tolist() == [["x", "a", ""], ["y", "b", ""]]


@pytest.mark.parametrize("until", [16, 20.5, 21.25, 25])
def test_what_was_said_by_a_moment_does_not_change_later(until):
    parts = [judged("a", 0, 20), judged("b", 20, 30)]
    early = series_of(pd.concat([part[part["hour"] < START + until * DAY] for part in parts]))
    late = series_of(pd.concat(parts))
    seen = late[late["since"] < START + until * DAY]
    assert early.loc[early["series"] == "", "judge"].tolist() == seen.loc[seen["series"] == "", "judge"].tolist()


def rows_of(**columns):
    n = 24 * 6
    log = open_tables(
        requests=make_requests(n, every="4h"), judgements=make_judgements(n, every="4h", feature_id="search", **columns)
    )
    return view_of(log, "judgements")


def test_hours_of_judging_are_counted_by_the_time_of_the_judgement():
    hours = judges.judging_hours(rows_of(judge_model="a"))
    assert hours["n"].sum() == 144
    assert hours["hour"].min() == START
    assert set(hours["judge"]) == {"a"}


@pytest.mark.parametrize(("models", "series"), [("a", {"": 144}), (["a", "a", "b"], {"": 96, "b": 48})])
def test_each_judged_row_is_in_one_series(models, series):
    rows = with_series(rows_of(judge_model=models))
    found = engines.run(rows.group_by("__lm_series").aggregate(n=rows.count())).to_pandas()
    assert dict(zip(found["__lm_series"], found["n"])) == series
