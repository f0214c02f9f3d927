"""An incident folder is written beside its place and put there whole: what stood there stands until then.

A draft is a hidden folder whose lock its process holds; the draft of a process that was killed is cleared away by the next.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from llm_monitoring import disk
from llm_monitoring.errors import ConfigError
from llm_monitoring.reporting.folder import REVIEWS, WRITTEN, load_result

ELSEWHERE = "Choose another folder with --out"


def holds_report(folder: Path) -> bool:
    """Whether a report was written in the folder: its page is the last of it."""
    return (folder / "index.html").is_file()


def check_place(folder: Path, force: bool = False) -> None:
    """Refuse a place where no report can go: a file, or a folder that holds a report already and `force` is off.

    Raises
    ------
    ConfigError
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: there is a file where the incident folder should be. {ELSEWHERE}")
    if holds_report(folder) and not force:
        raise ConfigError(
            f"{folder}: already holds a report. Overwrite it with --force, or choose another folder with --out"
        )


def check_inputs(folder: Path, **inputs: Any) -> None:
    """Refuse a report over its own inputs: a log or an eval suite inside the folder that the report is to fill.

    Parameters
    ----------
    folder : Path
        The incident folder.
    **inputs
        What was given under which name; only paths, and URLs that hold one, are looked at.

    Raises
    ------
    ConfigError
        Naming the input, its place and the folder.
    """
    for name, given in inputs.items():
        for path in _paths(given):
            if path.resolve().is_relative_to(folder.resolve()):
                raise ConfigError(
                    f"{name} {path}: lies in {folder}, the folder that this report is written to. "
                    f"Move it elsewhere, or choose another folder with --out"
                )


def _paths(given: Any) -> list[Path]:
    if not isinstance(given, str | Path) or not str(given):
        return []
    return [Path(str(given).split("://")[-1].split("?")[0])]


@contextmanager
def draft(folder: Path) -> Iterator[Path]:
    """A private folder beside the place of a report, to write it in; taken away at the end where it was not put in place.

    Raises
    ------
    ConfigError
        It cannot be made there.
    """
    try:
        disk.make_folder(folder.parent)
        _clear(folder)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".draft", dir=folder.parent))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}). {ELSEWHERE}") from None
    with disk.holding(made):
        try:
            (made / "results").mkdir()
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def put(made: Path, folder: Path, force: bool = False) -> None:
    """Put a finished draft in its place. Files of other names that stand there stay, and so does the folder's mode.

    Raises
    ------
    ConfigError
        Another report was put there meanwhile, and `force` is off.
    """
    place = folder.resolve()
    shared = disk.is_shared(place)
    disk.make_private(made, shared)
    with disk.holding(place.parent):
        _recover(place)
        check_place(place, force)
        if place.exists():
            made.chmod(stat.S_IMODE(place.stat().st_mode))
            place.rename(_replaced(place))
        made.rename(place)
        _recover(place)


def place_of_failed(folder: Path) -> Path:
    """Where a report goes in which a stage stopped: beside a finished report, never over it.

    >>> place_of_failed(Path("reports/20260519-search-mean_quality")).as_posix()
    'reports/20260519-search-mean_quality'
    """
    with suppress(ValueError, KeyError):
        if holds_report(folder) and load_result("incident", folder)["failure"] is None:
            return folder.with_name(f"{folder.name}.failed")
    return folder


def _replaced(place: Path) -> Path:
    return place.with_name(f".{place.name}.replaced")


def _recover(place: Path) -> None:
    """End a swap, this one or one that was killed half way: what stood there comes back, or its other files move over."""
    old = _replaced(place)
    if not old.exists():
        return
    if not place.exists():
        old.rename(place)
        return
    for entry in old.iterdir():
        mine = entry.name in WRITTEN and entry.name != REVIEWS  # verdicts stay where the new report left them out
        if not mine and not os.path.lexists(place / entry.name):
            entry.rename(place / entry.name)
    shutil.rmtree(old)


def _clear(folder: Path) -> None:
    """Take away drafts that no process writes any more, and end a swap that was killed half way."""
    for path in folder.parent.glob(f".{folder.name}.*.draft"):
        with disk.holding(path, wait=False) as held:
            if held:
                shutil.rmtree(path, ignore_errors=True)
    if _replaced(folder).exists():
        with disk.holding(folder.parent):
            _recover(folder)
