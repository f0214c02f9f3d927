"""The command line: exit codes, last lines, help. Run in process; the report itself is made once, by a fixture."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from builders import make_requests
from click.testing import CliRunner

from llm_monitoring.cli import main
from llm_monitoring.disk import lock

ROOT = Path(__file__).parents[1]
SAMPLE = str(ROOT / "sample_data")
COMMANDS = sorted(main.list_commands(click.Context(main)))


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_python_m_is_the_command():
    done = subprocess.run([sys.executable, "-m", "llm_monitoring", "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("llm-monitoring, version ")


@pytest.fixture
def calm(tmp_path):
    """A log of 50 requests in which nothing can alert."""
    folder = tmp_path / "calm"
    folder.mkdir()
    make_requests(50).to_json(folder / "requests.jsonl", orient="records", lines=True, date_format="iso")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_holds_an_example_of_the_command(command):
    told = run(command, "--help").output
    assert "Example:" in told
    assert f"llm-monitoring {command}" in told.split("Example:")[1]


def test_the_help_page_in_the_docs_is_fresh():
    found = importlib.util.spec_from_file_location("cli_page", ROOT / "docs" / "cli_page.py")
    page = importlib.util.module_from_spec(found)
    found.loader.exec_module(page)
    assert page.cli_page() + "\n" == page.PAGE.read_text("utf-8"), "run: python docs/cli_page.py"


def test_help_loads_no_heavy_package():
    code = (
        "import sys; from llm_monitoring.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('heavy:', sorted({'pandas', 'ibis', 'matplotlib', 'papermill', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


@pytest.fixture
def failing(tmp_path):
    """A log of two days, of which every request of the last ten hours fails."""
    folder = tmp_path / "failing"
    folder.mkdir()
    requests = make_requests(300, every="10min", error=[None] * 240 + ["timeout"] * 60)
    requests.to_json(folder / "requests.jsonl", orient="records", lines=True, date_format="iso")
    return folder


def test_check_tells_the_alerts_in_words_or_as_json_lines_and_exits_with_one(failing):
    done = run("check", failing)
    assert done.exit_code == 1
    assert "[" in done.output.splitlines()[0]
    done = run("check", failing, "--json")
    assert done.exit_code == 1
    rows = [json.loads(line) for line in done.output.splitlines()]
    assert {"alert_id", "layer", "metric", "fired_at", "message"} <= set(rows[0])


def test_check_of_a_calm_log_exits_with_zero(calm):
    done = run("check", calm)
    assert (done.exit_code, done.output) == (
        0,
        "no alert\nnot watched: search: 0 days of history; error rate 0\N{NO-BREAK SPACE}%\n",
    )


def test_check_before_the_first_request_could_not_measure(calm):
    done = run("check", calm, "--until", "2020-01-01T00:00Z")
    assert done.exit_code == 3
    assert done.output == f"{calm}: no request to measure\n"


@pytest.fixture
def local(tmp_path):
    """A CSV log with local times and one broken row, as a team keeps it."""
    folder = tmp_path / "local"
    folder.mkdir()
    frame = make_requests(50, latency_ms=[-1.0, *[800.0] * 49], finish_reason="stop")
    frame = frame.assign(timestamp=frame["timestamp"].dt.tz_localize(None))
    frame.to_csv(folder / "requests.csv", index=False)
    return folder


def test_an_error_about_times_says_the_option_that_mends_it(local):
    done = run("check", local)
    assert done.exit_code == 2
    assert done.output.splitlines()[-1] == "On the command line: --tz Europe/Berlin, --on-error quarantine"


def test_check_takes_the_zone_and_tells_what_was_mapped_and_where_broken_rows_went(local):
    done = run("check", local, "--tz", "Europe/Berlin", "--on-error", "quarantine")
    assert (done.exit_code, done.stdout) == (
        0,
        "no alert\nnot watched: search: 0 days of history; error rate 0\N{NO-BREAK SPACE}%\n",
    )
    aside = local / "quarantine" / "requests.jsonl"
    assert done.stderr == (
        "2 notices about the log:\n"
        "  requests.csv, finish_reason: finish reasons mapped: 'stop' as 'end_turn' (50)\n"
        f"  requests.csv: 1 of 50 rows set aside, written to {aside}\n"
    )
    assert json.loads(aside.read_text())["place"] == "line 2"


def test_check_takes_the_unit_of_times_that_are_numbers(tmp_path):
    frame = make_requests(50)
    frame.assign(timestamp=frame["timestamp"].dt.as_unit("us").astype("int64") // 1_000_000).to_csv(
        tmp_path / "requests.csv", index=False
    )
    assert run("check", tmp_path).exit_code == 2
    assert run("check", tmp_path, "--timestamp-unit", "s").exit_code == 0


@pytest.mark.parametrize("command", ["check", "report", "review", "judge"])
def test_every_command_that_opens_a_log_takes_the_options_of_open_log(command):
    told = run(command, "--help").output
    assert all(option in told for option in ("--tz", "--timestamp-unit", "--on-error"))


@pytest.mark.notebooks
def test_a_report_on_a_quiet_log_says_so_how_to_make_it_again_and_what_the_crash_left(local, tmp_path):
    reviews = tmp_path / "reviews.jsonl"
    line = {"request_id": "req-0", "verdict": "real", "reviewed_at": "2026-05-12T09:00:00Z"}
    reviews.write_text(json.dumps(line) + '\n{"request_id": "req-1", "verd')
    opening = ("--tz", "UTC", "--on-error", "quarantine")
    done = run("report", local, *opening, "--reviews", reviews, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    torn = "reviews.jsonl: 1 line that a crash left unfinished was skipped"
    assert torn in done.stderr
    path = Path(done.stdout.splitlines()[-1])
    assert path == tmp_path / "out" / "20260511-all-quiet" / "index.html"
    page = path.read_text("utf-8")
    assert "No alert:" in page
    assert torn in page
    assert f"llm-monitoring report {local} --tz UTC --on-error quarantine --reviews {reviews}" in page
    again = run("report", local, *opening, "--out", tmp_path / "out")
    assert again.exit_code == 2
    assert again.output.endswith("Overwrite it with --force, or choose another folder with --out\n")
    assert "1 line that a crash left unfinished was skipped" in run("review", local, *opening, "--out", reviews).stderr


@pytest.mark.parametrize("command", ["report", "check", "review"])
def test_a_log_that_is_not_there_exits_with_two(command, tmp_path):
    done = run(command, tmp_path / "nowhere")
    assert done.exit_code == 2
    assert done.output.startswith("LogError: ")
    assert "Traceback" not in done.output


def test_an_option_that_does_not_exist_exits_with_two():
    assert run("report", SAMPLE, "--untl", "x").exit_code == 2


def test_a_time_without_a_zone_exits_with_two():
    done = run("report", SAMPLE, "--until", "2026-05-19")
    assert done.exit_code == 2
    assert done.output == (
        "ConfigError: until='2026-05-19' has no time zone; write it with one, such as '2026-05-12T09:31Z'\n"
    )


def test_a_file_where_a_folder_should_be_and_a_folder_where_a_file_should_be_exit_with_two(calm):
    done = run("init", calm / "requests.jsonl")
    assert (done.exit_code, done.output) == (
        2,
        f"{calm / 'requests.jsonl'}: File exists. Name another file or folder\n",
    )
    done = run("report", calm, "--reviews", calm)
    assert (done.exit_code, done.output) == (2, f"{calm}: Is a directory. Name another file or folder\n")


def test_an_alert_that_the_log_does_not_have_exits_with_two(calm):
    done = run("report", calm, "--alert", "q-1")
    assert done.exit_code == 2
    assert done.output == "ConfigError: alert 'q-1': the log has no such alert; it has none\n"


def test_review_says_how_to_read_on_and_how_much_was_read(failing, tmp_path):
    done = run("review", failing, "--out", tmp_path / "reviews.jsonl")
    assert done.exit_code == 0
    assert " holds 0 verdicts" in done.output
    assert "lm.review(case.log, case.alert" in done.output


def test_init_copies_notebooks_and_plan_and_writes_nothing_over(tmp_path):
    folder = tmp_path / "mine"
    done = run("init", folder, "--log", SAMPLE)
    assert done.exit_code == 0, done.output
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "0_explore.ipynb", "1_triage.ipynb", "2_scope.ipynb", "3_isolate.ipynb", "4_respond.ipynb", "5_learn.ipynb",
        "monitoring.toml",
    ]  # fmt: skip
    book = json.loads((folder / "1_triage.ipynb").read_text())
    assert f"log: str = {json.dumps(SAMPLE)}" in "".join(book["cells"][1]["source"])
    assert run("init", folder).exit_code == 2
    assert run("init", folder, "--force").exit_code == 0


def test_on_windows_the_command_says_in_one_line_that_it_is_not_supported(calm, monkeypatch):
    monkeypatch.setattr("llm_monitoring.cli.sys", SimpleNamespace(platform="win32"))
    done = run("check", calm)
    words = "llm_monitoring does not support Microsoft Windows: run it on Linux or macOS, or inside WSL\n"
    assert (done.exit_code, done.output) == (2, words)


def test_on_windows_a_file_that_has_to_be_locked_is_refused_in_the_same_words(tmp_path, monkeypatch):
    monkeypatch.setattr("llm_monitoring.disk.sys", SimpleNamespace(platform="win32"))
    with pytest.raises(OSError, match="does not support Microsoft Windows"), (tmp_path / "lock").open("w") as file:
        lock(file.fileno())
