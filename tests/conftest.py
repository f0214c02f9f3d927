"""What is costly to make, made once; and which tests are costly, so that the quick targets can leave them out."""

from __future__ import annotations

import functools
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# In the background of a script SIGINT is ignored, by processes too that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("the same everywhere", deadline=None, derandomize=True, database=None)
settings.load_profile("the same everywhere")  # a busy machine fails no test, and a run no other than the last one

TESTS = Path(__file__).parent
ROOT = TESTS.parent
#: A file or folder of tests, and the mark that every test in it bears.
MARKED = {
    TESTS / "browser": "browser",
    TESTS / "engines": "engines",
    TESTS / "test_notebooks.py": "notebooks",
    TESTS / "test_wheel.py": "notebooks",
    TESTS / "reporting" / "test_run.py": "notebooks",
    TESTS / "reporting" / "test_verifying.py": "notebooks",
}
#: Tests of whole checks, stages, processes and servers, half a second and more each: make test-fast leaves them out.
SLOW = (
    "backtesting/*", "contracts/*", "exploring/*", "incident/test_*", "incident/inference/test_shapes.py",
    "incident/inference/test_causes.py", "reporting/*", "watching/test_[!s]*", "watching/test_showing.py", "sample_data/*",
    "alerts/test_checking.py", "alerts/test_operation.py", "alerts/test_versions.py", "alerts/test_silent_judges.py",
    "alerts/test_switches.py", "alerts/test_infrastructure.py", "alerts/test_holidays.py", "alerts/test_runaway.py",
    "alerts/test_seasons.py", "drift/test_monitor.py", "reviewing/test_widget.py",
    "importers/test_scores.py", "importers/test_batches.py", "judging/test_background.py", "judging/test_batch.py",
    "judging/test_redaction.py", "probes/test_border.py", "probes/test_command.py", "reviewing/test_drawing.py",
    "test_cli.py", "test_distributions.py", "test_recorder.py", "test_sources.py", "test_validation.py",
)  # fmt: skip
#: A fixture that is costly to make, and the worker of pytest-xdist that makes it for all who use it.
WORKERS = {
    "report_folder": "notebooks",
    "drift_folder": "report on real data",
    "small_report": "small report",
    "reported": "verified report",
}
#: A folder of tests that share one costly fixture, likewise.
TOGETHER = {TESTS / "backtesting": "back-test", TESTS / "exploring": "explorer"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the costly tests; those that share a server or the executed report go to one worker of pytest-xdist."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        mark, slow, worker = _of_file(item.path)
        if mark is None and "report_folder" in fixtures:
            mark = "notebooks"
        if mark is not None:
            item.add_marker(mark)
        if slow:
            item.add_marker("slow")
        worker = next((worker for fixture, worker in WORKERS.items() if fixture in fixtures), worker)
        if worker is None and _made_for_its_file(item):
            worker = "/".join(item.path.parts[-2:])
        if worker is not None:
            item.add_marker(pytest.mark.xdist_group(worker))


@functools.cache
def _of_file(path: Path) -> tuple[str | None, bool, str | None]:
    """The mark of every test of a file, whether they are slow, and the worker that they share."""
    mark = next((mark for place, mark in MARKED.items() if path.is_relative_to(place)), None)
    slow = path.is_relative_to(TESTS) and any(path.relative_to(TESTS).match(place) for place in SLOW)
    worker = None if path.parent == TESTS / "reporting" else mark
    together = next((worker for place, worker in TOGETHER.items() if path.is_relative_to(place)), None)
    return mark, slow, worker or together


def _made_for_its_file(item) -> bool:
    """Whether a test uses a fixture that is made once for all tests of its file: then one worker runs them."""
    known = getattr(item, "_fixtureinfo", None)
    return known is not None and any(made[-1].scope == "module" for made in known.name2fixturedefs.values())


def pytest_make_parametrize_id(config, val, argname):
    """Bytes are named by their length: an archive made while tests are collected holds the time, and workers would differ."""
    return f"{argname} of {len(val)} bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def report_folder(tmp_path_factory) -> Path:
    """The incident folder that `report` writes for sample_data: notebooks executed, page written."""
    import llm_monitoring as lm

    return lm.report(ROOT / "sample_data", out=tmp_path_factory.mktemp("reports"), progress=False).folder


@pytest.fixture(scope="session")
def drift_folder(tmp_path_factory) -> Path:
    """The incident folder that `report` writes for the real update of a provider, where that log is on this machine."""
    import llm_monitoring as lm

    log = ROOT / "../shared/data/llmdrift"
    if not log.exists():
        pytest.skip("the real data of ../shared/data is not on this machine")
    return lm.report(log, out=tmp_path_factory.mktemp("drift"), progress=False).folder
