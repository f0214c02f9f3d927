"""A round tells what is new, once; it reads nothing of a quiet log, and loses nothing where a sink or the log fails."""

import shutil

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.errors import ConfigError, LogError
from llm_monitoring.watching import looking
from llm_monitoring.watching.state import State
from tests.watching.logs import alert, as_known_at, at, lines_of


def watch(watched, **options):
    return lm.watch(str(watched.log.folder), watched.plan, watched.state, **options)


def told(watched):
    return [(line["alert_id"], line["event"]) for line in lines_of(watched.told)]


def test_the_first_round_tells_what_is_open_and_fired_within_a_day_of_the_log_and_takes_the_rest_as_known(watched):
    watched.log.grow(100)
    watched.alerts = [alert("old", 10), alert("over", 90, ended=95), alert("open", 90)]
    found = watch(watched)
    assert found["alert_id"].tolist() == ["open"]
    assert found["event"].tolist() == ["fired"]
    assert told(watched) == [("open", "fired")]
    assert watch(watched).empty
    assert told(watched) == [("open", "fired")]


def test_the_first_round_reaches_back_as_far_as_the_plan_says(watched):
    watched.plan["watch"] = {"first_round": "4d"}
    watched.log.grow(100)
    watched.alerts = [alert("old", 10)]
    assert watch(watched)["alert_id"].tolist() == ["old"]


def test_what_comes_later_is_told_however_long_ago_it_fired(watched):
    watched.log.grow(100)
    watch(watched)
    watched.alerts = [alert("late", 20)]
    watched.log.grow(101)
    assert watch(watched)["alert_id"].tolist() == ["late"]


def test_a_round_over_a_quiet_log_does_not_open_it(watched, monkeypatch):
    watched.log.grow(100)
    watch(watched)
    monkeypatch.setattr(looking, "open_with", None)
    assert watch(watched).empty
    assert len(watched.checks) == 1


def test_requests_within_an_open_window_wait_for_its_end_and_late_rows_do_not(watched):
    watched.log.grow(100)
    watch(watched)
    with (watched.log.folder / "requests.jsonl").open("a") as file:
        file.write(
            '{"request_id": "x1", "timestamp": "2026-05-08T04:00:01Z", "feature_id": "search", "model_id": "m-1"}\n'
        )
    watch(watched)
    assert len(watched.checks) == 1  # a second after the last row: no window has closed
    with (watched.log.folder / "requests.jsonl").open("a") as file:
        file.write(
            '{"request_id": "x2", "timestamp": "2026-05-05T04:00:00Z", "feature_id": "search", "model_id": "m-1"}\n'
        )
    watch(watched)
    assert len(watched.checks) == 2


def test_late_judgements_are_looked_at_at_once(watched):
    watched.log.grow(100)
    watch(watched)
    watched.log.judge(50, 99)
    watched.alerts = [alert("late", 50)]
    assert watch(watched)["alert_id"].tolist() == ["late"]


def minutes(watched, number):
    """A request so many minutes after the hundredth hour."""
    with (watched.log.folder / "requests.jsonl").open("a") as file:
        when = f"2026-05-08T04:{number:02d}:00Z"
        file.write(f'{{"request_id": "x{number}", "timestamp": "{when}", "feature_id": "search", "model_id": "m-1"}}\n')


LIMIT = {"layer": "infrastructure", "rule": "limit", "metric": "error_rate"}


def test_a_closed_window_of_minutes_is_looked_at_for_its_limits_alone(watched):
    watched.log.grow(100)
    watch(watched)
    minutes(watched, 10)
    watched.alerts = [alert("chart", 100)]
    assert watch(watched).empty
    assert not watched.checks[-1].quality.enabled
    watched.log.grow(101)
    assert watch(watched)["alert_id"].tolist() == ["chart"]


def test_a_limit_that_fires_calls_for_a_whole_check_which_says_what_one_cause_is_and_under_which_id(watched):
    watched.log.grow(100)
    watched.alerts = [alert("slow", 99, layer="infrastructure", metric="latency_p50_ms")]
    watch(watched)
    whole = watched.alerts
    burst = alert("burst", 100.1, **LIMIT)
    watched.alerts = [burst]  # by limits alone
    real = watched.check
    watched.check_whole = lambda log, plan=None: as_known_at(whole, log.span("requests")[1])

    def check(log, plan=None, until=None):
        return watched.check_whole(log) if plan.quality.enabled else real(log, plan)

    watched.patch(check)
    minutes(watched, 10)
    assert watch(watched).empty  # the whole check counts it to the alert that was told
    whole.append(burst)
    minutes(watched, 20)
    assert watch(watched)["alert_id"].tolist() == ["burst"]
    minutes(watched, 30)
    assert watch(watched).empty
    whole[1] = watched.alerts[0] = alert("burst", 100.1, ended=100.4, **LIMIT)
    minutes(watched, 40)
    assert watch(watched)["event"].tolist() == ["recovered"]


def test_late_rows_that_move_the_moment_of_an_alert_make_no_other_one_of_it(watched):
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    watch(watched)
    watched.alerts = [alert("a1", 10)]  # the same id, one window later
    watched.log.grow(11)
    assert watch(watched).empty
    watched.alerts = [alert("a1", 10, ended=12)]
    watched.log.grow(13)
    watch(watched)
    assert told(watched) == [("a1", "fired"), ("a1", "recovered")]


def test_late_rows_that_let_another_metric_fire_first_make_no_other_alert_of_it(watched):
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9, version=None)]
    watch(watched)
    watched.alerts = [alert("b1", 8, metric="mean_quality", version=None)]
    watched.log.grow(11)
    assert watch(watched).empty
    watched.alerts[0]["ended"], watched.alerts[0]["message"] = at(12), "search: b1 fell."
    watched.log.grow(13)
    watch(watched)
    assert told(watched) == [("a1", "fired"), ("a1", "recovered")]
    assert lines_of(watched.told)[1]["alert"]["message"] == "search: b1 fell."


def test_an_id_that_is_taken_is_not_told_of_another_alert(watched):
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    watch(watched)
    watched.alerts = [alert("a1", 9) | {"alert_id": "a1-2"}, alert("a2", 10) | {"alert_id": "a1"}]
    watched.log.grow(11)
    watch(watched)
    assert told(watched) == [("a1", "fired"), ("a1-2", "fired")]


def test_an_alert_that_late_rows_take_away_is_over_and_says_why(watched):
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    watch(watched)
    taken, watched.alerts = watched.alerts, []
    watched.log.grow(11)
    watch(watched)
    assert told(watched) == [("a1", "fired"), ("a1", "recovered")]
    assert "no longer found" in lines_of(watched.told)[1]["alert"]["message"]
    watched.log.grow(12)
    assert watch(watched).empty
    watched.alerts = taken
    watched.log.grow(13)
    assert watch(watched)["event"].tolist() == ["reopened"]


def test_other_rules_do_not_hide_what_fired_while_nobody_looked(watched):
    watched.log.grow(10)
    watch(watched)
    watched.alerts = [alert("weekend", 30)]
    watched.log.grow(100)
    watched.plan["quality"] = {"false_alarms_per_month": 2}
    assert watch(watched)["alert_id"].tolist() == ["weekend"]


def test_the_first_round_names_the_open_alerts_that_it_does_not_tell(watched):
    watched.log.grow(100)
    watched.alerts = [alert("old", 10), alert("over", 20, ended=30), alert("new", 99)]
    (line,) = [line for line in watch(watched).attrs["lines"] if line.startswith("first look")]
    assert line == (
        "first look: not told as it fired before the last 24h of the log ([watch] first_round): 1 open alert, old"
    )


def test_recoveries_and_reopenings_are_told(watched):
    watched.log.grow(10)
    watch(watched)
    watched.alerts = [alert("a1", 11, ended=15), alert("a2", 30, reopens="a1")]
    for hours in (12, 20, 31):
        watched.log.grow(hours)
        watch(watched)
    assert told(watched) == [("a1", "fired"), ("a1", "recovered"), ("a2", "reopened")]
    assert lines_of(watched.told)[2]["reopens"] == "a1"
    watched.alerts[0] = alert("a1", 11)  # goes on after all
    watched.log.grow(40)
    watch(watched)
    assert told(watched)[3] == ("a1", "reopened")


def test_what_fired_and_ended_between_two_rounds_is_told_with_its_recovery(watched):
    watched.log.grow(10)
    watch(watched)
    watched.alerts = [alert("a1", 11, ended=15)]
    watched.log.grow(50)
    assert watch(watched)["event"].tolist() == ["fired", "recovered"]


def test_an_alert_keeps_the_id_under_which_it_was_told(watched):
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    watch(watched)
    watched.alerts = [alert("a1", 9, version="a1", ended=20) | {"alert_id": "renamed"}]
    watched.log.grow(30)
    watch(watched)
    assert told(watched) == [("a1", "fired"), ("a1", "recovered")]


def test_silenced_and_acknowledged_alerts_wait_and_are_told_where_they_are_open_after_it(watched):
    watched.log.grow(10)
    watched.alerts = [alert("quiet", 9, silenced="planned"), alert("acked", 9)]
    state = State(watched.state)
    with state.round():
        state.acknowledge("acked", "2999-01-01T00:00:00Z")
    assert watch(watched).empty
    watched.alerts[0]["silenced"] = None
    with state.round():
        state.acknowledge("acked", "2020-01-01T00:00:00Z")
    watched.log.grow(12)
    assert watch(watched)["alert_id"].tolist() == ["acked", "quiet"]


@pytest.mark.parametrize(("ended", "events"), [(None, ["fired"]), (11, [])])
def test_what_fired_while_it_was_silenced_is_told_once_the_silence_is_over_where_it_is_still_open(
    watched, ended, events
):
    watched.plan |= {"silence": [{"feature": "search", "from": at(8), "to": at(12)}]}
    watched.log.grow(10)
    watched.alerts = [alert("quiet", 9, ended=ended, silenced=True)]
    assert watch(watched).empty
    watched.log.grow(13)
    watch(watched)
    assert told(watched) == [("quiet", event) for event in events]


def test_a_silence_that_is_taken_out_of_the_plan_or_added_counts_at_once_although_the_log_did_not_grow(watched):
    watched.plan |= {"silence": [{"feature": "search"}]}
    watched.log.grow(10)
    watched.alerts = [alert("quiet", 9, silenced=True)]
    assert watch(watched).empty
    watched.plan["silence"] = []
    watched.alerts[0]["silenced"] = False
    assert watch(watched)["alert_id"].tolist() == ["quiet"]
    assert watch(watched).empty
    looks = len(watched.checks)
    watched.plan["silence"] = [{"feature": "search", "reason": "known"}]
    watched.alerts[0]["silenced"] = True
    assert watch(watched).empty
    assert len(watched.checks) == looks + 1
    assert watch(watched).empty
    assert len(watched.checks) == looks + 1
    assert told(watched) == [("quiet", "fired")]


def test_an_acknowledged_alert_is_not_delivered_where_it_waits_for_a_sink(watched, tmp_path):
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    (tmp_path / "told.jsonl").mkdir()  # cannot be written
    watch(watched)
    state = State(watched.state)
    with state.round():
        state.acknowledge("a1", "2999-01-01T00:00:00Z")
    (tmp_path / "told.jsonl").rmdir()
    watch(watched)
    assert told(watched) == []


def test_each_sink_gets_the_layers_severities_and_features_that_it_asked_for(watched, tmp_path):
    watched.log.grow(10)
    watched.alerts = [
        alert("cost", 9, layer="cost", metric="total_cost_usd"),
        alert("bad", 9, severity="critical"),
        alert("other", 9, feature_id="chat", severity="info"),
        alert("all", 9, feature_id=None, severity="info"),
    ]
    wishes = {"layers": ["cost"]}, {"severity": "warning"}, {"features": ["chat"]}, {"severity": ["info"]}
    watched.plan = {"sinks": [{"url": f"jsonl://{tmp_path}/{i}.jsonl", **wish} for i, wish in enumerate(wishes)]}
    watch(watched)
    got = [{line["alert_id"] for line in lines_of(tmp_path / f"{i}.jsonl")} for i in range(4)]
    assert got == [{"cost"}, {"cost", "bad"}, {"other", "all"}, {"other", "all"}]


def test_an_alert_that_becomes_more_severe_reaches_the_sink_that_waits_for_such(watched, tmp_path):
    watched.plan["sinks"].append({"url": f"jsonl://{tmp_path}/page.jsonl", "severity": "critical"})
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    watch(watched)
    assert lines_of(tmp_path / "page.jsonl") == []
    watched.alerts = [alert("a1", 9, severity="critical")]
    for hours in (12, 14):
        watched.log.grow(hours)
        watch(watched)
    assert [line["event"] for line in lines_of(tmp_path / "page.jsonl")] == ["fired"]
    assert told(watched) == [("a1", "fired")]


def test_without_sinks_the_table_returned_is_the_telling(watched):
    watched.plan = None
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    assert watch(watched)["alert_id"].tolist() == ["a1"]
    assert watch(watched).empty
    assert list(watch(watched).columns)[:4] == ["alert_id", "layer", "metric", "feature_id"]


def test_a_sink_that_takes_the_place_of_another_gets_what_nobody_got(watched, tmp_path):
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    (tmp_path / "told.jsonl").mkdir()
    assert watch(watched).attrs["waiting"] == 1
    watched.plan = {"sinks": [{"url": f"jsonl://{tmp_path}/new.jsonl"}]}
    watch(watched)
    assert [line["alert_id"] for line in lines_of(tmp_path / "new.jsonl")] == ["a1"]


def test_other_rules_of_the_plan_tell_no_old_alerts_anew(watched):
    watched.log.grow(100)
    watch(watched)
    watched.plan["quality"] = {"false_alarms_per_month": 2.0}
    watched.alerts = [alert("old", 10), alert("new", 99)]
    assert watch(watched)["alert_id"].tolist() == ["new"]


def test_a_log_that_cannot_be_read_is_an_error_and_what_is_owed_is_sent_all_the_same(watched, tmp_path, monkeypatch):
    monkeypatch.setattr(looking, "PAUSE_S", 0)
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    watched.told.mkdir()
    watch(watched)
    watched.told.rmdir()
    with (watched.log.folder / "requests.jsonl").open("a") as file:
        file.write('{"request_id": \n')
    with pytest.raises(LogError, match=r"requests.jsonl line 12"):
        watch(watched)
    assert told(watched) == [("a1", "fired")]


def test_a_clock_that_went_back_and_a_log_that_ends_earlier_are_said(watched):
    watched.log.grow(10)
    watch(watched)
    state = State(watched.state)
    with state.round():
        state.note("looked_at", "2999-01-01T00:00:00Z")
        state.note("log_end", "2026-06-01T00:00:00Z")
    watched.log.grow(12)
    lines = watch(watched).attrs["lines"]
    assert lines[0].startswith("the clock went back by ")
    assert "the log ends earlier than it did" in lines[1]
    assert "nothing new since" in lines[2]


def test_a_log_in_memory_is_looked_at_each_time(watched):
    frame = pd.DataFrame(
        {
            "request_id": ["r1"],
            "timestamp": [pd.Timestamp("2026-05-04T09:00Z")],
            "feature_id": "search",
            "model_id": "m-1",
        }
    )
    for _ in range(2):
        lm.watch({"requests": frame}, watched.plan, watched.state)
    assert len(watched.checks) == 2


def test_an_open_log_is_opened_anew(watched):
    watched.log.grow(10)
    log = lm.open_log(str(watched.log.folder))
    lm.watch(log, watched.plan, watched.state)
    watched.log.grow(20)
    watched.alerts = [alert("a1", 15)]
    assert lm.watch(log, watched.plan, watched.state)["alert_id"].tolist() == ["a1"]


def test_an_empty_log_is_no_fault(watched, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    pd.DataFrame(columns=["request_id", "timestamp", "feature_id", "model_id"]).to_csv(
        folder / "requests.csv", index=False
    )
    found = lm.watch(str(folder), watched.plan, watched.state)
    assert found.empty
    assert found.attrs["lines"] == ["the log holds no request"]


def test_a_file_that_is_no_state_is_named(watched, tmp_path):
    watched.log.grow(1)
    watched.state.write_text("no database, but a file of some length, so that SQLite looks at it")
    with pytest.raises(ConfigError, match=r"file is not a database. Name another file"):
        watch(watched)


def test_a_heartbeat_goes_out_after_rounds_that_read_the_log_only(watched, hook, monkeypatch):
    monkeypatch.setattr(looking, "PAUSE_S", 0)
    watched.log.grow(10)
    beat = f"http://127.0.0.1:{hook.port}/ping/s3cret"
    assert watch(watched, heartbeat=beat).attrs["lines"][1:] == []
    watch(watched, heartbeat=beat)
    assert hook.asked == ["/ping/s3cret"] * 2
    hook.status = 503
    assert (
        watch(watched, heartbeat=beat).attrs["lines"][-1] == f"heartbeat: http://127.0.0.1:{hook.port}/*** answered 503"
    )
    (watched.log.folder / "requests.jsonl").write_text("{\n")
    with pytest.raises(LogError):
        watch(watched, heartbeat=beat)
    assert len(hook.asked) == 3
    with pytest.raises(ConfigError, match="expected an address that starts with http"):
        watch(watched, heartbeat="ping.example.com")


def test_a_file_that_is_being_written_is_read_a_moment_later(watched, monkeypatch):
    watched.log.grow(10)
    path = watched.log.folder / "requests.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-20])
    monkeypatch.setattr(looking, "PAUSE_S", 0)
    opened = looking.open_with

    def as_it_is_written(source, plan, **options):
        try:
            return opened(source, plan, **options)
        finally:
            path.write_text(whole)

    monkeypatch.setattr(looking, "open_with", as_it_is_written)
    watched.alerts = [alert("a1", 9)]
    assert watch(watched)["alert_id"].tolist() == ["a1"]


def test_a_database_that_is_away_is_no_reason_to_show_its_password(watched):
    with pytest.raises(LogError) as caught:
        lm.watch("postgresql://ada:s3cret@127.0.0.1:9/llm", watched.plan, watched.state)
    assert "s3cret" not in str(caught.value)


def test_a_state_is_taken_by_one_round_at_a_time(watched):
    state, other = State(watched.state), State(watched.state)
    with (
        state.round(),
        pytest.raises(ConfigError, match="another watch has been using it"),
        other.round(wait_s=0.1),
    ):
        pass
    with other.round(wait_s=0.1):
        assert other.waiting() == 0


def test_what_is_owed_to_a_sink_that_left_the_plan_is_not_waited_for(watched, tmp_path):
    (tmp_path / "broken").mkdir()
    watched.plan["sinks"].append({"url": f"jsonl://{tmp_path}/broken"})
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    assert watch(watched).attrs["waiting"] == 1
    del watched.plan["sinks"][1]
    assert watch(watched).attrs["waiting"] == 0


def test_a_state_of_another_log_is_said_once(watched, tmp_path):
    watched.log.grow(10)
    watch(watched)
    other = tmp_path / "other"
    shutil.copytree(watched.log.folder, other)
    first, second = (lm.watch(str(other), watched.plan, watched.state).attrs["lines"] for _ in range(2))
    assert any("is of another log" in line and str(watched.log.folder) in line for line in first)
    assert not any("is of another log" in line for line in second)


def test_a_folder_is_no_state(watched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (".", tmp_path):
        with pytest.raises(ConfigError, match="is a folder"):
            lm.watch(str(watched.log.folder), watched.plan, folder)
