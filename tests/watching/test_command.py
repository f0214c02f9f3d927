"""`llm-monitoring watch` as a process: exit codes, what it prints, and how it is ended."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from llm_monitoring.cli import main
from tests.builders import make_requests
from tests.watching.logs import alert, lines_of

PATIENCE_S = 120


@pytest.fixture
def bursting(tmp_path) -> Path:
    """Three weeks of a request every half hour; all of the last eighteen hours fail."""
    rows = make_requests(21 * 48, every="30min", category=None, session_id=None)
    rows["error"] = ["timeout" if i >= len(rows) - 37 else None for i in range(len(rows))]
    (tmp_path / "log").mkdir()
    rows.to_json(tmp_path / "log" / "requests.jsonl", orient="records", lines=True, date_format="iso")
    (tmp_path / "plan.toml").write_text(
        f'[infrastructure]\nwindow = "6h"\nmin_requests = 5\n[quality]\nenabled = false\n[cost]\nenabled = false\n'
        f'[[sinks]]\nurl = "jsonl://{tmp_path}/told.jsonl"\n'
    )
    return tmp_path


def command(folder, *more):
    return [
        "watch",
        str(folder / "log"),
        "--plan",
        str(folder / "plan.toml"),
        "--state",
        str(folder / "watch.db"),
        *more,
    ]


def run(folder, *more):
    return CliRunner().invoke(main, command(folder, *more))


def test_once_says_by_its_exit_code_whether_something_was_told(bursting):
    first = run(bursting, "--once")
    assert first.exit_code == 1
    assert "error rate" in first.stdout
    assert "log read, 1 told" in first.stderr
    second = run(bursting, "--once")
    assert (second.exit_code, second.stdout) == (0, "")
    (line,) = lines_of(bursting / "told.jsonl")
    assert (line["event"], line["alert"]["metric"]) == ("fired", "error_rate")


def test_once_says_that_the_log_could_not_be_read(bursting):
    with (bursting / "log" / "requests.jsonl").open("a") as file:
        file.write("{\n")
    found = run(bursting, "--once")
    assert found.exit_code == 3
    assert "could not be read: requests.jsonl line 1009" in found.stderr
    assert run(bursting / "nowhere", "--once").exit_code == 2  # no such plan
    os.rename(bursting / "log", bursting / "gone")
    assert run(bursting, "--once").exit_code == 3


def test_a_wrong_call_is_exit_code_2(bursting):
    assert run(bursting, "--once", "--ack", "a1").exit_code == 2
    assert run(bursting, "--once", "--heartbeat", "ping").exit_code == 2
    (bursting / "plan.toml").write_text('[[sinks]]\nurl = "nosuch://s3cret"\n')
    wrong = run(bursting, "--once")
    assert wrong.exit_code == 2
    assert "s3cret" not in wrong.output
    (bursting / "plan.toml").write_text("")
    assert run(bursting, "--test-sinks").exit_code == 2


def test_sinks_are_tested_without_a_look_at_the_log(bursting):
    found = run(bursting, "--test-sinks")
    assert (found.exit_code, found.stdout) == (0, f"jsonl://{bursting}/told.jsonl: taken\n")
    (bursting / "told.jsonl").unlink()
    (bursting / "told.jsonl").mkdir()
    assert run(bursting, "--test-sinks").exit_code == 3


def test_pages_and_collectors_are_tested_too(bursting):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (bursting / "plan.toml").write_text(f'[[sinks]]\nurl = "prometheus://127.0.0.1:{port}"\n')
        assert run(bursting, "--test-sinks").exit_code == 3
    found = run(bursting, "--test-sinks")
    assert (found.exit_code, found.stdout) == (0, f"prometheus://127.0.0.1:{port}: numbers can be shown\n")
    pytest.importorskip("opentelemetry.proto")
    (bursting / "plan.toml").write_text(f'[[sinks]]\nurl = "otlp://127.0.0.1:{port}"\n')
    found = run(bursting, "--test-sinks")
    assert found.exit_code == 3
    assert "numbers cannot be shown: [Errno 111] Connection refused" in found.stdout


def test_once_says_by_its_exit_code_that_a_sink_still_waits(bursting):
    (bursting / "told.jsonl").mkdir()
    assert [run(bursting, "--once").exit_code for _ in range(2)] == [1, 1]
    (bursting / "told.jsonl").rmdir()
    assert [run(bursting, "--once").exit_code for _ in range(2)] == [1, 0]


def test_an_acknowledged_alert_is_held_back(bursting):
    name = CliRunner().invoke(main, ["check", str(bursting / "log"), "--plan", str(bursting / "plan.toml"), "--json"])
    alert_id = json.loads(name.stdout.splitlines()[0])["alert_id"]
    held = run(bursting, "--ack", alert_id, "--until", "2999-01-01T00:00Z")
    assert held.exit_code == 0
    assert held.stdout.startswith(f"{alert_id} is not told until 1 Jan 2999")
    assert run(bursting, "--once").exit_code == 0
    assert lines_of(bursting / "told.jsonl") == []


def test_without_sinks_what_is_told_is_printed_once(bursting):
    text = (bursting / "plan.toml").read_text()
    (bursting / "plan.toml").write_text(text.partition("[[sinks]]")[0])
    assert "error rate" in run(bursting, "--once").stdout
    assert run(bursting, "--once").stdout == ""


def test_a_running_watch_tells_what_is_new_and_ends_when_it_is_asked_to(bursting):
    whole = (bursting / "log" / "requests.jsonl").read_text().splitlines(keepends=True)
    (bursting / "log" / "requests.jsonl").write_text("".join(whole[:-40]))
    text = (bursting / "plan.toml").read_text()
    (bursting / "plan.toml").write_text('[watch]\ninfrastructure = "1s"\ncost = "1s"\nquality = "1s"\n' + text)
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_monitoring.cli", *command(bursting)], stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        until(lambda: (bursting / "watch.db").exists())
        with (bursting / "log" / "requests.jsonl").open("a") as file:
            file.write("".join(whole[-40:]))
        until(lambda: lines_of(bursting / "told.jsonl"))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0
    assert said.splitlines()[-1].endswith(": stopped")


def until(seen):
    end = time.monotonic() + PATIENCE_S
    while not seen():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_an_alert_of_the_quality_layer_gets_its_incident_folder(watched, monkeypatch, tmp_path):
    import llm_monitoring as lm
    from llm_monitoring.watching import rounds

    written = []
    monkeypatch.setattr(rounds, "write_page", lambda source, plan, alert_id: written.append(alert_id) or "page")
    watched.plan["watch"] = {"report": True, "reports": str(tmp_path / "reports")}
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9), alert("c1", 9, layer="cost", metric="total_cost_usd")]
    found = lm.watch(str(watched.log.folder), watched.plan, watched.state)
    assert written == ["a1"]
    assert "a1: page" in found.attrs["lines"]
    lm.watch(str(watched.log.folder), watched.plan, watched.state)
    assert written == ["a1"]


def test_a_page_that_cannot_be_written_is_told_and_tried_twice(watched, monkeypatch):
    import llm_monitoring as lm
    from llm_monitoring.errors import ConfigError
    from llm_monitoring.watching import rounds

    tries = []

    def fail(source, plan, alert_id):
        tries.append(alert_id)
        raise ConfigError("no room")

    monkeypatch.setattr(rounds, "write_page", fail)
    watched.plan["watch"] = {"report": True}
    watched.log.grow(10)
    watched.alerts = [alert("a1", 9)]
    for _ in range(3):
        found = lm.watch(str(watched.log.folder), watched.plan, watched.state)
    assert tries == ["a1", "a1"]
    assert pd.isna(found["alert_id"]).sum() == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[sinks]]\nurl = 'jsonl://a'\n[[sinks]]\nurl = 'jsonl://b'\nlayer = []\n",
         "plan.toml line 5: 'layer' is not a key of [[sinks]]; the nearest is 'layers'"),
        ("[[sinks]]\nlayers = []\n", "plan.toml line 1: [[sinks]] url is missing; expected a value"),
        ("[[sinks]]\nurl = 'jsonl://a'\nlayers = ['qualty']\n",
         "plan.toml line 3: [[sinks]] layers = 'qualty'; expected 'infrastructure', 'cost' or 'quality'"),
        ("[[sinks]]\nurl = 's3cret'\n", "plan.toml line 2: [[sinks]] url = 's3cret'; expected an address with its kind in "
         "front, such as jsonl://alerts.jsonl or slack://..."),
        ("[sinks]\nurl = 'slack://s3cret'\n", "plan.toml line 1: [sinks] = 'dict'; expected tables, each under a line [[sinks]]"),
        ("[watch]\nfirst_round = 'today'\n", "plan.toml line 2: [watch] first_round = 'today'; expected a whole number of s, min, "
         "h, d or w, such as '1h'"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_plan_is_named_with_its_line(bursting, text, sentence):
    (bursting / "plan.toml").write_text(text)
    found = run(bursting, "--once")
    assert (found.exit_code, found.stderr) == (2, f"ConfigError: {sentence}\n")


def test_every_key_of_a_sink_may_be_empty(bursting):
    with (bursting / "plan.toml").open("a") as plan:
        plan.write("layers = []\nfeatures = []\nseverity = []\n")
    assert run(bursting, "--once").exit_code == 0
    assert lines_of(bursting / "told.jsonl") == []
