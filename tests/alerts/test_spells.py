"""One alert for each spell outside the limits; it is over when two looks in a row are inside."""

import pandas as pd
import pytest

from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.grouping import alerts_table
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.spells import spells

START = pd.Timestamp("2026-05-04T00:00Z")
DAY = pd.Timedelta("1D")


def look(number: int, outside: bool) -> tuple[pd.Timestamp, Alert | None]:
    end = START + number * DAY
    alert = Alert(
        "query_drift", end, "up", "search", end - DAY, layer="quality", rule="test", value=0.01, expected=0.05, n=50,
        words="They ask other things", began=end - DAY, began_low=end - DAY, began_by=end, ended=end,
        designed_false_alarms_per_month=0.1,
    )  # fmt: skip
    return end, alert if outside else None


def found(marks: str) -> list[Alert]:
    """A look a day: x outside, a point inside, a space where nothing could be told."""
    return spells(look(number, mark == "x") for number, mark in enumerate(marks) if mark != " ")


@pytest.mark.parametrize(
    ("marks", "fired", "over"),
    [
        ("....", [], []),
        ("..x", [2], [None]),
        ("..x.", [2], [None]),
        ("..x..", [2], [2]),
        ("..xxx..", [2], [4]),
        ("..x    ", [2], [None]),
        ("..x  .  .", [2], [2]),
        ("..x.x", [2, 4], [2, None]),
        (".xx.x...", [1, 4], [2, 4]),
    ],
)
def test_a_spell_begins_at_its_first_look_and_is_over_after_two_inside(marks, fired, over):
    alerts = found(marks)
    assert [alert.fired_at for alert in alerts] == [START + day * DAY for day in fired]
    assert [alert.over for alert in alerts] == [None if day is None else START + day * DAY for day in over]


@pytest.mark.parametrize(("marks", "ended"), [("..x.", None), ("..x..", "2026-05-06T00:00:00Z"), ("..x.x", None)])
def test_the_table_says_when_a_test_was_inside_again(marks, ended):
    table = alerts_table(found(marks), Plan(), START + len(marks) * DAY)
    assert set(table.attrs["ended"].values()) == {ended}
