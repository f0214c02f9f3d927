"""Files that hold users' texts: their modes, whatever the umask of the process is."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from llm_monitoring import disk
from llm_monitoring.cli import main
from llm_monitoring.judging.store import Store, export
from llm_monitoring.probes.suite import shipped_probes, write_probes


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=["umask 000", "umask 022", "umask 077"], autouse=True)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def said():
    yield disk.say_mode
    disk.say_mode(None)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("parent", "file", "inner"), [(0o755, 0o600, 0o700), (0o777, 0o600, 0o700), (0o770, 0o660, 0o770)]
)
def test_new_files_are_private_or_the_groups(tmp_path, parent, file, inner):
    tmp_path.chmod(parent)
    disk.write(disk.make_folder(tmp_path / "inner") / "a.txt", "text")
    with Store(tmp_path / "judged" / "judgements.db"):
        assert modes(tmp_path / "judged") == dict.fromkeys(
            ("judgements.db", "judgements.db-wal", "judgements.db-shm"), file
        )
    export(tmp_path / "judged" / "judgements.db", tmp_path / "judgements.jsonl")
    assert modes(tmp_path) == {
        "inner": inner, "a.txt": file, "judged": inner, "judgements.db": file, "judgements.jsonl": file
    }  # fmt: skip


@pytest.mark.parametrize(("mode", "folder"), [(0o640, 0o750), (0o644, 0o755), (0o600, 0o700), (0o660, 0o770)])
def test_a_mode_that_was_said_holds_everywhere(tmp_path, said, mode, folder):
    said(mode)
    disk.write(disk.make_folder(tmp_path / "inner") / "a.txt", "text")
    os.close(disk.open_private(tmp_path / "b.txt", os.O_WRONLY | os.O_CREAT))
    assert modes(tmp_path) == {"inner": folder, "a.txt": mode, "b.txt": mode}


def test_a_file_that_exists_keeps_its_mode(tmp_path, said):
    for name in ("a.txt", "judgements.db"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o640)
    said(0o666)
    disk.write(tmp_path / "a.txt", "text")
    with Store(tmp_path / "judgements.db"):
        assert set(modes(tmp_path).values()) == {0o640}


def test_a_command_takes_the_mode_of_what_it_writes(tmp_path):
    row = {"request_id": "c1", "startTime": "2025-01-24 09:20:41", "endTime": "2025-01-24 09:20:42", "model": "gpt-4o"}
    (tmp_path / "spend.jsonl").write_text(json.dumps({**row, "call_type": "acompletion", "status": "success"}))
    words = ["import", "litellm", str(tmp_path / "spend.jsonl"), "--out", str(tmp_path / "log"), "--mode", "0640"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    found = modes(tmp_path)
    assert (found["log"], found["requests.parquet"], found["import_report.json"]) == (0o750, 0o640, 0o640)
    disk.write(tmp_path / "after.txt", "text")
    assert modes(tmp_path)["after.txt"] == 0o600


@pytest.mark.parametrize("mode", ["rw-r-----", "0755", "0444", "999", "00640"])
def test_a_mode_that_is_none_for_a_file_is_refused(mode, tmp_path):
    done = CliRunner().invoke(
        main, ["import", "litellm", "spend.jsonl", "--out", str(tmp_path / "log"), "--mode", mode]
    )
    assert done.exit_code == 2
    assert f"{mode!r}; expected an octal mode that lets the owner read and write, such as 0640" in done.output


def test_a_suite_is_private(tmp_path):
    write_probes(shipped_probes(), tmp_path / "suites" / "probes.yaml")
    assert modes(tmp_path) == {"suites": 0o700, "probes.yaml": 0o600}
