"""An import is there whole or not at all, whenever it is killed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llm_monitoring as lm
from llm_monitoring import importers
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.sources import UNFINISHED
from tests.builders import make_judgements, make_log, make_requests

KILLED = """
import os, pickle, signal, sys
from pathlib import Path
import llm_monitoring as lm
from llm_monitoring import importers

folder = Path(sys.argv[1])
log = lm.open_log(folder / "new")
log.requests, log.judgements
report = pickle.loads((folder / "report.pickle").read_bytes())
calls = 0


def killed(out, at):
    def kill(event, arguments):
        global calls
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.chmod") and any(str(out) in str(a) for a in arguments):
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    importers.write_log(log, report, out / "log", force=True)


for out in sorted((folder / "out").iterdir()):
    if not (child := os.fork()):
        killed(out, int(out.name))
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""


def make(folder: Path, rows: int) -> lm.Log:
    folder.mkdir()
    make_requests(rows, session_id=f"of {rows}").to_parquet(folder / "requests.parquet")
    make_judgements(rows).assign(dimensions="{}").to_parquet(folder / "judgements.parquet")
    return lm.open_log(folder)


@pytest.mark.long
@pytest.mark.parametrize("there", [False, True], ids=["into a new folder", "over another log"])
def test_an_import_killed_at_any_step_leaves_one_log_or_says_that_it_is_none(tmp_path, there):
    import pickle

    make(tmp_path / "new", 70)
    old = make(tmp_path / "old", 30)
    (tmp_path / "report.pickle").write_bytes(pickle.dumps(report()))
    for step in range(1, 60):
        out = tmp_path / "out" / f"{step:03d}"
        out.mkdir(parents=True)
        if there:
            shutil.copytree(tmp_path / "old", out / "log")
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, check=True)
    ended = done.stdout.split()
    assert 5 < ended.count("9") < len(ended)
    states = {state_of(out / "log") for out in (tmp_path / "out").iterdir()}
    assert states == ({"old", "new", "refused"} if there else {"nothing", "new"})
    for out in sorted((tmp_path / "out").iterdir())[
        ::4
    ]:  # the next import mends it, and takes away what the other had begun
        importers.write_log(old, report(), out / "log", force=True)
        assert len(lm.open_log(out / "log").requests) == 30
        assert not list(out.rglob("*.draft")) + list(out.rglob(".new-*")) + list(out.rglob(UNFINISHED))


def report() -> ImportReport:
    return ImportReport("litellm", [], 1, 1, 0, 0, {}, [], {"requests": 1}, [])


def state_of(folder: Path) -> str:
    if not folder.exists():
        return "nothing"
    if (folder / UNFINISHED).exists():
        with pytest.raises(lm.LogError, match="an import was stopped while it replaced this log; import it again with"):
            lm.open_log(folder)
        return "refused"
    log = lm.open_log(folder)
    rows, judged = len(log.requests), len(log.judgements)
    assert rows == judged
    return {30: "old", 70: "new"}[rows]


def test_files_of_other_names_stay_where_a_log_is_replaced(tmp_path):
    log = lm.open_log(make_log(20))
    importers.write_log(log, report(), tmp_path / "log")
    (tmp_path / "log" / "notes.txt").write_text("mine")
    (tmp_path / "log" / "signals.csv").write_text("request_id,session_id,signal_type,timestamp,metadata\n")
    importers.write_log(log, report(), tmp_path / "log", force=True)
    found = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert found == ["import_report.json", "judgements.parquet", "notes.txt", "requests.parquet"]
