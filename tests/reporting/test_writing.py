"""A report takes its place whole or not at all; what stood there stands until then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from llm_monitoring.errors import ConfigError
from llm_monitoring.reporting import writing

NAMES = {"run": "run.json", "cases": "eval_cases.jsonl"}


def write(folder, text, force=False, **more):
    """A report of one page and one result, put in its place."""
    with writing.draft(folder) as draft:
        (draft / "index.html").write_text(text)
        (draft / "results" / "triage.json").write_text(text)
        for name, content in more.items():
            (draft / NAMES[name]).write_text(content)
        writing.put(draft, folder, force)


def stop_halfway(draft):
    (draft / "index.html").write_text("half")
    raise KeyboardInterrupt


def held(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_an_earlier_report_is_not_written_over_without_force(tmp_path):
    write(tmp_path / "x", "old")
    with pytest.raises(ConfigError) as caught:
        write(tmp_path / "x", "new")
    sentence = "already holds a report. Overwrite it with --force, or choose another folder with --out"
    assert str(caught.value) == f"{tmp_path / 'x'}: {sentence}"
    assert held(tmp_path) == {"x/index.html": "old", "x/results/triage.json": "old"}


def test_force_takes_away_what_a_report_wrote_and_nothing_else(tmp_path):
    write(tmp_path / "x", "old", run="old", cases="old")
    (tmp_path / "x" / "results" / "learn.json").write_text("old")
    (tmp_path / "x" / "3_isolate.ipynb").write_text("old")
    (tmp_path / "x" / "notes.txt").write_text("mine")
    (tmp_path / "x" / "pictures").mkdir()
    (tmp_path / "x" / "pictures" / "a.txt").write_text("mine")
    write(tmp_path / "x", "new", force=True)
    assert held(tmp_path / "x") == {
        "index.html": "new", "results/triage.json": "new", "notes.txt": "mine", "pictures/a.txt": "mine",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_verdicts_that_a_new_report_leaves_out_of_its_draft_stay_in_the_folder(tmp_path):
    write(tmp_path / "x", "old", cases="old")
    (tmp_path / "x" / "reviews.jsonl").write_text("mine")
    write(tmp_path / "x", "new", force=True)
    assert held(tmp_path / "x") == {"index.html": "new", "results/triage.json": "new", "reviews.jsonl": "mine"}


def test_a_folder_in_which_no_report_was_finished_is_taken_over(tmp_path):
    (tmp_path / "x" / "results").mkdir(parents=True)
    (tmp_path / "x" / "results" / "incident.json").write_text("half")
    (tmp_path / "x" / "notes.txt").write_text("mine")
    write(tmp_path / "x", "new")
    assert held(tmp_path / "x") == {"index.html": "new", "results/triage.json": "new", "notes.txt": "mine"}


def test_a_run_that_fails_leaves_what_stood_there_and_nothing_beside(tmp_path):
    write(tmp_path / "x", "old")
    with pytest.raises(KeyboardInterrupt), writing.draft(tmp_path / "x") as draft:
        stop_halfway(draft)
    assert held(tmp_path) == {"x/index.html": "old", "x/results/triage.json": "old"}


@pytest.mark.parametrize("inside", ["log", "log/requests.jsonl", "suite.jsonl", "."])
def test_a_log_or_suite_inside_the_folder_is_refused(tmp_path, inside):
    path = tmp_path / "x" / inside
    for given in (path, str(path), f"duckdb://{path}"):
        with pytest.raises(ConfigError) as caught:
            writing.check_inputs(tmp_path / "x", log=None, suite=given)
        assert str(caught.value) == (
            f"suite {path}: lies in {tmp_path / 'x'}, the folder that this report is written to. "
            "Move it elsewhere, or choose another folder with --out"
        )


def test_a_log_reached_by_a_link_is_refused_too_and_one_beside_is_not(tmp_path):
    (tmp_path / "x" / "log").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "x" / "log")
    with pytest.raises(ConfigError, match=r"link: lies in"):
        writing.check_inputs(tmp_path / "x", log=tmp_path / "link")
    writing.check_inputs(tmp_path / "x", log=tmp_path / "xlog", suite="postgresql://ada@db/llm")


def test_of_two_reports_at_once_the_second_is_refused_or_takes_the_place_whole(tmp_path):
    with writing.draft(tmp_path / "x") as slow:
        (slow / "index.html").write_text("slow")
        write(tmp_path / "x", "fast", run="fast")
        with pytest.raises(ConfigError, match="already holds a report"):
            writing.put(slow, tmp_path / "x")
        assert set(held(tmp_path / "x").values()) == {"fast"}
        writing.put(slow, tmp_path / "x", force=True)
    assert held(tmp_path / "x") == {"index.html": "slow"}


KILLED = """
import os, signal, sys
from pathlib import Path
from llm_monitoring.reporting import writing
from tests.reporting.test_writing import write

calls = 0


def killed(folder, at):
    def kill(event, arguments):
        global calls
        if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod"):
            if any(str(folder) in str(one) for one in arguments):
                calls += 1
                if calls == at:
                    os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    write(folder / "x", "new", force=True)


for folder in sorted(Path(sys.argv[1]).iterdir()):
    if not (child := os.fork()):
        killed(folder, int(folder.name))
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""


def test_a_report_killed_at_any_step_leaves_the_old_one_or_the_new_one_whole(tmp_path):
    """Killed before every single making, renaming and removing of a file, until one run ends by itself."""
    folders = [tmp_path / f"{at:02d}" for at in range(1, 60)]
    for folder in folders:
        write(folder / "x", "old")
        (folder / "x" / "notes.txt").write_text("mine")
    ran = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=True)
    ended = [int(code) for code in ran.stdout.split()]
    steps = ended.index(0)
    assert steps > 10
    assert set(ended[:steps]) == {signal.SIGKILL}
    for folder in folders[: steps + 1]:
        with pytest.raises(ConfigError, match="already holds a report"):
            write(folder / "x", "third")
        found = held(folder / "x")
        assert found.pop("notes.txt") == "mine"
        assert found in [dict.fromkeys(("index.html", "results/triage.json"), text) for text in ("old", "new")]
        assert [path.name for path in folder.iterdir()] == ["x"]


@pytest.mark.parametrize(("parent", "file", "inner"), [(0o755, 0o600, 0o700), (0o770, 0o660, 0o770)])
def test_a_report_is_private_or_for_the_group_of_its_folder(tmp_path, parent, file, inner):
    tmp_path.chmod(parent)
    write(tmp_path / "x", "new")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"x": inner, "results": inner, "index.html": file, "triage.json": file}


def test_a_folder_that_its_owner_has_opened_stays_open(tmp_path):
    write(tmp_path / "x", "old")
    os.chmod(tmp_path / "x", 0o755)
    write(tmp_path / "x", "new", force=True)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o755


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught, writing.draft(tmp_path / "file" / "x"):
        pass
    sentence = "cannot be made (Not a directory). Choose another folder with --out"
    assert str(caught.value) == f"{tmp_path / 'file' / 'x'}: {sentence}"
    with pytest.raises(ConfigError, match="there is a file where the incident folder should be"):
        writing.check_place(tmp_path / "file")
