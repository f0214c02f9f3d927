"""What is new between two looks."""

import pytest

from llm_monitoring.watching.events import changes
from tests.watching.logs import alert, as_known_at, at


def look(rows, end, known, *, held=(), since=None, shorter=False):
    """The events of a look, and what is known after it."""
    found = changes(as_known_at(rows, at(end)), known, log_end=at(end), held=set(held), since=since, shorter=shorter)
    kept = {c.known.alert_id for c in found}
    known = {key: one for key, one in known.items() if one.alert_id not in kept}
    return [(e.alert_id, e.event) for c in found for e in c.events], known | {c.found_as: c.known for c in found}


def test_nothing_new_is_no_change():
    rows = [alert("a1", 5)]
    events, known = look(rows, 6, {})
    assert events == [("a1", "fired")]
    assert look(rows, 7, known) == ([], known)


def test_a_message_that_was_added_to_is_remembered_and_not_told():
    _, known = look([alert("a1", 5)], 6, {})
    events, known = look([alert("a1", 5, message="search: a1 rose; also b.")], 7, known)
    assert events == []
    assert next(iter(known.values())).row["message"] == "search: a1 rose; also b."


def test_what_was_taken_as_known_recovers_in_silence_and_is_told_where_it_comes_back():
    events, known = look([alert("a1", 5)], 100, {}, since=at(76))
    assert events == []
    events, known = look([alert("a1", 5, ended=101)], 102, known)
    assert events == []
    assert look([alert("a1", 5)], 110, known)[0] == [("a1", "reopened")]


@pytest.mark.parametrize("first", [{}, {"since": at(76)}])
def test_what_was_over_is_not_back_where_the_log_does_not_reach_so_far_any_more(first):
    """Yesterday's last file was taken away, and comes back."""
    _, known = look([alert("a1", 5)], 100, {}, **first)
    _, known = look([alert("a1", 5, ended=101)], 102, known)
    events, known = look([alert("a1", 5)], 100, known, shorter=True)
    assert events == []
    assert look([alert("a1", 5)], 100.5, known)[0] == []


@pytest.mark.parametrize("ended", [None, 8])
def test_a_silenced_alert_that_ends_meanwhile_is_never_told(ended):
    events, known = look([alert("a1", 5, silenced="planned")], 6, {})
    assert events == []
    events, known = look([alert("a1", 5, ended=ended, silenced=None)], 9, known)
    assert events == ([("a1", "fired")] if ended is None else [])


def test_an_old_silenced_alert_is_not_told_when_its_silence_ends():
    _, known = look([alert("a1", 5, silenced="planned")], 100, {}, since=at(76))
    assert look([alert("a1", 5)], 101, known)[0] == []


def test_a_fall_that_late_judgements_show_is_not_the_alert_that_no_judgements_came():
    events, known = look([alert("silent", 90, rule="limit", metric="failed_rate", version=None)], 95, {})
    assert events == [("silent", "fired")]
    events, known = look([alert("fall", 88, rule="chart", metric="mean_quality", version=None)], 96, known)
    assert sorted(events) == [("fall", "fired"), ("silent", "recovered")]
