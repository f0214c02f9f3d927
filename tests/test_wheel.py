"""The built wheel alone: what a person has who never saw the repository."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as the wheel holds it, in a folder of its own, and an environment that finds it there first."""
    pytest.importorskip("hatchling", reason="needs hatchling: pip install hatchling")
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(place / "site")
    return place / "site", {**os.environ, "PYTHONPATH": str(place / "site")}


def command(installed, *words, folder):
    call = [sys.executable, "-m", "llm_monitoring.cli", *words]
    return subprocess.run(call, cwd=folder, env=installed[1], capture_output=True, text=True)


def test_the_sample_log_is_found_in_the_package_from_any_folder(installed, tmp_path):
    code = "import llm_monitoring as lm\nfrom llm_monitoring.reporting.case import find_log\nprint(find_log('sample_data'))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=installed[1], capture_output=True, text=True, check=True
    )
    assert Path(run.stdout.strip()) == installed[0] / "llm_monitoring" / "sample_data"


def test_the_wheel_holds_the_package_the_notebooks_and_the_sample_log(installed):
    inside = installed[0] / "llm_monitoring"
    ours = {path.relative_to(ROOT): path for path in (ROOT / "llm_monitoring").rglob("*")}
    ours |= {"llm_monitoring" / path.relative_to(ROOT): path for path in (ROOT / "notebooks").glob("*.ipynb")}
    data = [path for path in (ROOT / "sample_data").iterdir() if path.suffix != ".py"]
    ours |= {"llm_monitoring" / path.relative_to(ROOT): path for path in data}
    held = {path.relative_to(installed[0]): path for path in inside.rglob("*")}

    def contents(files):  # without what Python compiled, here or there
        return {
            name: path.read_bytes()
            for name, path in files.items()
            if path.is_file() and "__pycache__" not in path.parts
        }

    assert contents(held) == contents(ours)


def test_the_sample_log_opens_by_its_name_wherever_one_is(installed, tmp_path):
    code = "import llm_monitoring as lm; print(lm.open_log('sample_data').count('requests'))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=installed[1], capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == "10431", run.stderr


def test_init_checks_the_log_and_copies_nothing_where_it_cannot_be_used(installed, tmp_path):
    (tmp_path / "requests.csv").write_text("request_id,timestamp,feature_id,model_id\nr1,yesterday,search,m-1\n")
    run = command(installed, "init", "here", "--log", "requests.csv", folder=tmp_path)
    assert run.returncode == 2
    assert "yesterday" in run.stderr
    assert not (tmp_path / "here").exists()


def test_init_says_what_the_log_holds_and_names_it_in_the_notebooks(installed, tmp_path):
    sample = str(ROOT / "sample_data")
    run = command(installed, "init", "here", "--log", sample, folder=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "10,431 requests" in run.stdout
    assert len(list((tmp_path / "here").glob("*.ipynb"))) == 6
    assert f'log: str = \\"{sample}\\"' in (tmp_path / "here" / "0_explore.ipynb").read_text()


def _to_the_end(terminal: int) -> bytes:
    """What is written until the last writer is gone, which Linux tells by an error."""
    told = b""
    try:
        while more := os.read(terminal, 4096):
            told += more
    except OSError:
        pass
    return told


@pytest.mark.skipif(sys.platform == "win32", reason="no terminal to attach")
def test_a_demo_that_is_stopped_says_so_and_leaves_no_report(installed, tmp_path):
    import pty

    ours, theirs = pty.openpty()
    call = [sys.executable, "-m", "llm_monitoring.cli", "demo", "--out", "stopped"]
    with subprocess.Popen(
        call, cwd=tmp_path, env=installed[1], stdout=theirs, stderr=theirs, start_new_session=True
    ) as run:
        os.close(theirs)
        told = b""
        while b"for alerts" not in told:  # the log is read, the charts are being made
            told += os.read(ours, 4096)
        os.killpg(run.pid, signal.SIGINT)
        told += _to_the_end(ours)
        assert run.wait(60) == 130
        assert b"Stopped." in told
    os.close(ours)
    assert list(tmp_path.glob("stopped/*")) == []


@pytest.mark.long
def test_the_demo_writes_a_page_and_prints_its_path_last(installed, tmp_path):
    run = command(installed, "demo", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].startswith("Real: ")
    assert (tmp_path / lines[-1]).name == "index.html"
    assert (tmp_path / lines[-1]).exists()
