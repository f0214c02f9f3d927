"""What is sent names every alert, and what a log says in it is only text."""

import shlex

from hypothesis import given, settings
from hypothesis import strategies as st

from llm_monitoring.results import jsonable
from llm_monitoring.watching.messages import Where, harmless, line, messages
from llm_monitoring.watching.state import Event
from tests.watching.logs import alert

WHERE = Where("my log", "plan.toml", "reports")


def event(name="a1", what="fired", reopens=None, **columns):
    return Event(0, name, what, reopens, jsonable(alert(name, **columns)), "2026-05-04T10:00:00Z")


def test_a_storm_is_one_message_for_each_feature_with_every_id_and_its_command():
    storm = [event(f"{feature}-{i}", feature_id=feature) for i in range(40) for feature in ("search", "chat")]
    found = messages(storm, WHERE)
    assert [one.title for one in found] == ["warning: search, 40 alerts", "warning: chat, 40 alerts"]
    for one in found:
        feature = one.title.split()[1].strip(",")
        for i in range(40):
            assert f"Alert {feature}-{i}, fired 4 May 01:00 UTC" in one.body
            assert f"llm-monitoring report 'my log' --alert {feature}-{i} --plan plan.toml" in one.body.splitlines()


def test_the_title_says_the_worst_and_what_is_over():
    assert (
        messages([event(severity="info"), event("a2", severity="critical")], WHERE)[0].title
        == "critical: search, 2 alerts"
    )
    (over,) = messages([event(what="recovered", severity="critical")], WHERE)
    assert (over.title, over.recovered) == ("over: search", True)
    assert over.body.startswith("Over since 4 May 10:00 UTC: search: a1 rose.")
    (again,) = messages([event(what="reopened", reopens="a0")], WHERE)
    assert again.body.startswith("warning, again (earlier a0): search: a1 rose.")
    back = event(what="reopened", reopens="a1")
    assert messages([back], WHERE)[0].body.startswith("warning, open again at 4 May 10:00 UTC: search: a1 rose.")
    assert line(back).startswith("4 May 2026 10:00 UTC  reopened   warning   search: a1 rose.")


def test_the_page_is_named_and_said_to_be_missing_where_it_is(tmp_path):
    where = Where("log", None, str(tmp_path))
    (before,) = messages([event()], where)
    page = tmp_path / "20260504-search-flagged_rate" / "index.html"
    assert f"Page: {page} (written by the command)" in before.body.splitlines()
    page.parent.mkdir()
    page.write_text("")
    (after,) = messages([event()], where)
    assert f"Page: {page}" in after.body.splitlines()


def test_the_command_can_be_pasted_whatever_the_names():
    where = Where("a b'; rm -rf ~", "p $(x).toml", "out dir")
    assert shlex.split(where.command("a1")) == [
        "llm-monitoring", "report", "a b'; rm -rf ~", "--alert", "a1", "--plan", "p $(x).toml", "--out", "out dir",
    ]  # fmt: skip


def test_the_password_of_a_database_is_not_in_the_command():
    assert "s3cret" not in Where("postgresql://ada:s3cret@db/llm", None, "reports").command("a1")


def test_what_a_log_says_mentions_nobody_links_nowhere_and_formats_nothing():
    evil = "@channel <!here> <script>x</script> [win](http://evil.example) **b** `c`\n# head\u202e\x1b[31m"
    (one,) = messages([event(feature_id=evil, message=f"{evil}: rose.")], WHERE)
    sentence = one.body.splitlines()[0]
    for text in (one.title, sentence):
        assert not set("@<>[]*`#\u202e\x1b\n") & set(text)
        assert "://" not in text
    assert "channel" in sentence


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.text())
def test_any_text_is_made_one_harmless_line(text):
    found = harmless(text)
    assert not set("@<>[]*`#|~\\&\n\r\x00") & set(found)
    assert "://" not in found
    assert harmless(found) == found
