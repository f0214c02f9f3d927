"""Messages to a real HTTP and a real SMTP server, lines to a file: taken once, refused, slow, away for a while."""

import tomllib

import pytest

from llm_monitoring.alerts.plan import plan_text, read_plan
from llm_monitoring.errors import ConfigError
from llm_monitoring.watching import delivering
from llm_monitoring.watching.delivering import Delivery, greet
from llm_monitoring.watching.messages import Where
from llm_monitoring.watching.sinks import sinks_of
from llm_monitoring.watching.state import State
from tests.watching.logs import alert, lines_of
from tests.watching.test_rounds import told, watch

WHERE = Where("log", None, "reports")


def test_a_web_hook_gets_one_message_for_each_feature_and_round(watched, hook):
    watched.plan["sinks"].append({"url": hook.url()})
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9), alert("a2", 9), alert("b1", 9, feature_id="chat", severity="critical")]
    watch(watched)
    assert [one["title"] for one in hook.taken] == ["critical: chat", "warning: search, 2 alerts"]
    assert "llm-monitoring report " in hook.taken[1]["message"]
    assert [one["type"] for one in hook.taken] == ["failure", "warning"]
    watch(watched)
    assert len(hook.taken) == 2


def test_a_mail_says_what_happened_and_no_text_of_the_log_is_html_in_it(watched, mailbox):
    watched.plan["sinks"] = [{"url": mailbox.url}]
    watched.log.grow(10)
    evil = "<img src=x onerror=alert(1)>"
    watched.alerts = [alert("a1", 9, feature_id=evil, message=f"{evil}: flagged answers rose.")]
    assert watch(watched)["alert_id"].tolist() == ["a1"]
    (mail,) = mailbox.mails
    assert "warning: " in mail["Subject"]
    parts = [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
    assert parts
    assert not any("<img" in part for part in parts)
    assert any("llm-monitoring report" in part and "--alert a1" in part for part in parts)


def test_a_mail_that_is_refused_is_sent_at_the_next_round(watched, mailbox):
    watched.plan["sinks"].append({"url": mailbox.url})
    mailbox.refusal = "451 later"
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    found = watch(watched)
    assert told(watched) == [("a1", "fired")]  # the file got it
    assert found.attrs["waiting"] == 1
    assert "451 later" in found.attrs["lines"][-1]
    assert f"mailto://127.0.0.1:{mailbox.port} did not take" in found.attrs["lines"][-1]
    mailbox.refusal = None
    watch(watched)
    assert len(mailbox.mails) == 1
    assert told(watched) == [("a1", "fired")]


def test_two_sinks_that_are_shown_alike_are_told_apart_by_their_place(hook):
    plan = {"sinks": [{"url": hook.url("a" * 9)}, {"url": "jsonl://told.jsonl"}, {"url": hook.url("b" * 9)}]}
    shown = [sink.shown for sink in sinks_of(read_plan(plan))]
    address = f"json://127.0.0.1:{hook.port}/***"
    assert shown == [f"{address} ([[sinks]] 1)", "jsonl://told.jsonl", f"{address} ([[sinks]] 3)"]


def test_a_sink_that_nobody_listens_at_says_why(hook):
    (sink,) = sinks_of(read_plan({"sinks": [{"url": hook.url("s3cretpath")}]}))
    hook.close()
    ((_, reason),) = greet([sink])
    assert "Connection refused" in reason
    assert "s3cretpath" not in reason


def test_an_outage_of_one_sink_stops_no_other_and_all_comes_in_order_after_it(watched, hook):
    watched.plan["sinks"].append({"url": hook.url("s3cretpath")})
    hook.status = 500
    watched.log.grow(10)
    for i in range(3):
        watched.alerts.append(alert(f"a{i}", 10 + i))
        watched.log.grow(10 + i)
        lines = watch(watched).attrs["lines"]
        assert any("did not take what it was sent" in line for line in lines)
        assert not any("s3cretpath" in line for line in lines)
    assert told(watched) == [(f"a{i}", "fired") for i in range(3)]
    hook.status = 200
    watch(watched)
    assert [one["title"] for one in hook.taken] == ["warning: search, 3 alerts"]


@pytest.fixture
def owing():
    """Makes a state that owes some alerts to every sink of a plan, and what delivers them."""
    from llm_monitoring.results import jsonable
    from llm_monitoring.watching.state import Event

    opened = []

    def make(tmp_path, plan, *names):
        sinks, state = sinks_of(read_plan(plan)), State(tmp_path / "owing.db")
        opened.append(state)
        with state.round(), state.transaction():
            for name in names:
                row = jsonable(alert(name, feature_id=name))
                state.owe(Event(0, name, "fired", None, row, "2026-05-04T10:00:00Z"), [sink.key for sink in sinks])
        return state, Delivery(sinks, WHERE)

    yield make
    for state in opened:
        state.close()


def test_a_slow_sink_is_not_waited_for_and_not_asked_twice_for_what_it_took_late(tmp_path, hook, owing):
    plan = {"sinks": [{"url": hook.url()}, {"url": f"jsonl://{tmp_path}/told.jsonl"}]}
    state, delivery = owing(tmp_path, plan, "a1")
    delivery.limit_s, hook.wait_s = 0.1, 1.0
    with state.round():
        assert [event.alert_id for event in delivery.deliver(state)] == ["a1"]  # by the file
        assert list(delivery.failed.values()) == ["no answer within 0 s"]
        assert state.waiting() == 1
        for thread in [one.thread for one in delivery._tries.values()]:
            thread.join()
        assert [event.alert_id for event in delivery.deliver(state)] == ["a1"]  # by the web hook
        assert delivery.deliver(state) == []
        assert state.waiting() == 0
    assert len(hook.asked) == 1
    assert delivery.failed == {}


def test_a_sink_that_fails_is_let_alone_for_five_seconds_then_twice_as_long_up_to_two_minutes(
    tmp_path, hook, monkeypatch, owing
):
    now = [1000.0]
    monkeypatch.setattr(delivering.time, "monotonic", lambda: now[0])
    state, delivery = owing(tmp_path, {"sinks": [{"url": hook.url()}]}, "a1")
    hook.status, waits = 503, []
    with state.round():
        for _ in range(8):
            before = len(hook.asked)
            delivery.deliver(state)
            for one in list(delivery._tries.values()):
                one.thread.join()
            delivery.deliver(state)
            assert len(hook.asked) == before + 1  # the second call came too early
            waits.append(delivery.seconds_to_next_try())
            now[0] += waits[-1]
        assert waits == [5, 10, 20, 40, 80, 120, 120, 120]
        hook.status = 200
        delivery.deliver(state)
        for one in list(delivery._tries.values()):
            one.thread.join()
        delivery.deliver(state)
        assert state.waiting() == 0
    assert delivery.seconds_to_next_try() is None


def test_messages_that_were_taken_before_a_failure_are_not_sent_again(tmp_path, hook, owing):
    state, delivery = owing(tmp_path, {"sinks": [{"url": hook.url()}]}, "a1", "a2", "a3")
    hook.room = 2
    with state.round():
        assert [event.alert_id for event in delivery.deliver(state)] == ["a1", "a2"]
        assert state.waiting() == 1


def test_a_torn_last_line_of_the_file_is_cut_off_and_a_whole_one_is_closed(watched):
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    watched.told.write_text('{"alert_id": "a0"}\n{"alert_id": "a1", "ev')
    watch(watched)
    assert [line["alert_id"] for line in lines_of(watched.told)] == ["a0", "a1"]
    whole = watched.told.read_text().rstrip("\n")
    watched.told.write_text(whole)
    watched.alerts.append(alert("a2", 12))
    watched.log.grow(13)
    watch(watched)
    assert [line["alert_id"] for line in lines_of(watched.told)] == ["a0", "a1", "a2"]


def test_a_line_holds_the_event_and_the_whole_row(watched):
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    watch(watched)
    (line,) = lines_of(watched.told)
    assert list(line) == ["alert_id", "event", "reopens", "sent_at", "alert"]
    assert line["alert"]["message"] == "search: a1 rose."
    assert watched.told.stat().st_mode & 0o777 == 0o600


def test_an_address_that_nobody_can_read_is_named_without_its_secrets():
    with pytest.raises(ConfigError) as caught:
        sinks_of(read_plan({"sinks": [{"url": "slak://T0/B0/s3cret"}]}))
    assert "slak://***" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_secret_may_come_from_the_environment(monkeypatch, hook):
    plan = read_plan({"sinks": [{"url": "${HOOK_URL}"}]})
    with pytest.raises(ConfigError, match=r"names \$\{HOOK_URL\}, which the environment does not have"):
        sinks_of(plan)
    monkeypatch.setenv("HOOK_URL", hook.url())
    assert sinks_of(plan)[0].shown == f"json://127.0.0.1:{hook.port}/***"


def test_a_plan_that_is_shown_or_kept_holds_no_secret_of_a_sink():
    plan = read_plan({"sinks": [{"url": "slack://T0/B0/s3cret", "layers": ["cost"]}]})
    assert "s3cret" not in plan_text(plan) + repr(plan)
    assert read_plan(tomllib.loads(plan_text(plan))).sinks[0].layers == ["cost"]


def test_every_sink_can_be_tested(tmp_path, hook, mailbox):
    plan = {
        "sinks": [
            {"url": hook.url()},
            {"url": mailbox.url},
            {"url": f"jsonl://{tmp_path}/t.jsonl"},
            {"url": "json://127.0.0.1:9/x"},
        ]
    }
    found = greet(sinks_of(read_plan(plan)))
    assert [reason is None for _, reason in found] == [True, True, True, False]
    assert (hook.taken[0]["title"], len(mailbox.mails)) == ("llm-monitoring: test", 1)
    assert lines_of(tmp_path / "t.jsonl")[0]["event"] == "test"
