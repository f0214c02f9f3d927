"""A log for people who have none yet: rows appended from a serving process, and their compaction into Parquet."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llm_monitoring import disk
from llm_monitoring.errors import ConfigError
from llm_monitoring.records import RequestMetrics, UserSignal
from llm_monitoring.results import jsonable

TABLES = {RequestMetrics: "requests", UserSignal: "signals"}


class Recorder:
    """Append requests and signals to a folder that `open_log` reads: JSON Lines, one file an hour and table.

    Each row is written whole under a lock of the file, so threads and processes may share a folder. A last line that a
    crash tore off is mended on the next start or row: kept where it is whole, moved to ``torn/`` where it is not. Files
    are readable by their owner alone, or by the group of a folder that is open to one.

    Attributes
    ----------
    recovered : int
        Torn last lines that this recorder met.

    Parameters
    ----------
    folder : path
        Made where it is not there.

    Examples
    --------
    >>> import tempfile
    >>> from llm_monitoring import RequestMetrics, open_log
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     recorder = Recorder(folder)
    ...     recorder.record(RequestMetrics("r1", 1778490000.0, "search", "m-1", 812.0, 100, 20, 0.002, "end_turn", None))
    ...     open_log(folder).requests["latency_ms"].tolist()
    [812.0]
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self.recovered = 0
        self._lock = threading.Lock()
        for path in [path for table in TABLES.values() for path in sorted((self.folder / table).glob("[!.]*.jsonl"))]:
            with _locked(path, create=False) as file:
                self.recovered += file is not None and _mended(path, file)

    def record(self, row: RequestMetrics | UserSignal, **more: Any) -> None:
        """Append one row; `more` are further columns, such as ``category="returns"`` or ``user_input=...``.

        Raises
        ------
        ConfigError
            Where `row` is neither a request nor a signal.
        OSError
            Where the row could not be written, such as on a full disk; no part of it is left in the file.
        """
        table = next((name for kind, name in TABLES.items() if isinstance(row, kind)), None)
        if table is None:
            raise ConfigError(f"record({type(row).__name__}): expected a RequestMetrics or a UserSignal")
        values = {field.name: getattr(row, field.name) for field in fields(row)} | more
        when = _moment(values["timestamp"])
        line = json.dumps(jsonable(values | {"timestamp": when}), ensure_ascii=True).encode() + b"\n"
        folder = self.folder / table
        with self._lock:
            disk.make_folder(folder)
            with _hour(folder, f"{when:%Y%m%dT%H}") as (path, file):
                self.recovered += _mended(path, file)
                disk.append(file, line)


def compact(folder: str | os.PathLike, before: datetime | None = None) -> dict[str, int]:
    """Turn recorded hours into Parquet; torn lines go to ``torn/`` beside the tables.

    One file an hour, and another one (``20260511T09-1.parquet``) where rows of that hour came after it was compacted. It
    may run while others record, twice at a time, and be killed: `open_log` sees every row, once, throughout, and the next
    run ends what this one began. On a full disk it raises OSError and leaves the hour as it was.

    Parameters
    ----------
    folder : path
        A recorder's folder.
    before : datetime, optional
        Hours that start before it are compacted; the current UTC hour is left alone unless it is given.

    Returns
    -------
    dict
        ``files``, ``rows``, ``torn``: what was compacted, and how many lines could not be read.

    Examples
    --------
    >>> compact("no_such_folder")
    {'files': 0, 'rows': 0, 'torn': 0}
    """
    limit = f"{(before or datetime.now(UTC)).astimezone(UTC):%Y%m%dT%H}"
    done = {"files": 0, "rows": 0, "torn": 0}
    for table in TABLES.values():
        place = Path(folder) / table
        _show_hidden(place)
        for path in [path for path in sorted(place.glob("[!.]*.jsonl")) if path.stem < limit]:
            with _locked(path, create=False) as file:
                if file is None:
                    continue  # another run has compacted it meanwhile
                rows, torn = _compact_file(path)
            done = {"files": done["files"] + 1, "rows": done["rows"] + rows, "torn": done["torn"] + torn}
    return done


def _compact_file(path: Path) -> tuple[int, int]:
    """Write an hour's rows as Parquet and remove its lines: the moment the Parquet file has its name, it stands for both.

    Lines beside a Parquet file of the same name are what a run that was killed had no time to remove.
    """
    target = path.with_suffix(".parquet")
    good: list[dict[str, Any]] = []
    torn: list[bytes] = []
    for line in path.read_bytes().split(b"\n") if not target.exists() else ():
        if line.strip():
            try:
                good.append(json.loads(line))
            except ValueError:
                torn.append(line)
    _set_aside(path, torn)
    if good:
        _write(good, target)
    path.unlink()
    return len(good), len(torn)


def _write(rows: list[dict[str, Any]], target: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(rows)
    for name in frame.columns[frame.map(lambda value: isinstance(value, dict | list)).any()]:
        frame[name] = [None if value is None else json.dumps(value) for value in frame[name]]
    frame = frame.astype(
        {name: "string" for name in frame if frame[name].isna().all()}
    )  # pandas 2 makes the text "None" of null where asked for "str"
    with disk.replacing(target) as part:
        frame.to_parquet(part, index=False)
        with part.open("rb") as file:
            os.fsync(file.fileno())


def _show_hidden(folder: Path) -> None:
    """Give hours that an earlier version had hidden while it compacted them, and was killed, a name that is read."""
    for path in sorted(folder.glob(".*.jsonl")):
        if path.with_name(f"{path.stem.lstrip('.')}.parquet").exists():
            path.unlink()
            continue
        for name in _names(path.stem.lstrip(".")):
            if not (folder / f"{name}.parquet").exists() and not (folder / f"{name}.jsonl").exists():
                path.rename(folder / f"{name}.jsonl")
                break


def _names(hour: str) -> Iterator[str]:
    """Names of an hour's files: the hour, and with a number behind it for what came after it was compacted."""
    return (hour if number == 0 else f"{hour}-{number}" for number in itertools.count())


@contextmanager
def _hour(folder: Path, hour: str) -> Iterator[tuple[Path, int]]:
    """The file that takes the rows of an hour, with its lock held: the first whose name no Parquet file has."""
    while True:
        name = next(name for name in _names(hour) if not (folder / f"{name}.parquet").exists())
        with _locked(folder / f"{name}.jsonl") as file:
            if not (folder / f"{name}.parquet").exists():
                yield folder / f"{name}.jsonl", file
                return


def _moment(timestamp: float | datetime) -> datetime:
    if isinstance(timestamp, datetime):
        return timestamp.astimezone(UTC)
    return datetime.fromtimestamp(timestamp, UTC)


@contextmanager
def _locked(path: Path, create: bool = True) -> Iterator[Any]:
    """The file, opened to append, with its lock held; opened again where it was compacted away meanwhile.

    None where it is gone and is not to be made.
    """
    while True:
        try:
            file = disk.open_private(path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0))
        except FileNotFoundError:
            yield None
            return
        try:
            disk.lock(file)
            if _names_it(path, file):
                yield file
                return
        finally:
            os.close(file)


def _names_it(path: Path, file: int) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _mended(path: Path, file: int) -> bool:
    """Whether the last line was torn; it is closed where it is whole JSON, else cut off and set aside."""
    size = os.fstat(file).st_size
    if size == 0 or os.pread(file, 1, size - 1) == b"\n":
        return False
    start = path.read_bytes().rfind(b"\n") + 1
    tail = os.pread(file, size - start, start)
    try:
        json.loads(tail)
        disk.append(file, b"\n")
    except ValueError:
        _set_aside(path, [tail])
        os.ftruncate(file, start)
    return True


def _set_aside(path: Path, lines: list[bytes]) -> None:
    """Keep torn lines under ``torn/``; those that a run which was killed has kept already are not kept twice."""
    if not lines:
        return
    aside = disk.make_folder(path.parent.parent / "torn") / f"{path.parent.name}-{path.name}"
    with _locked(aside) as file:
        kept = aside.read_bytes().split(b"\n")
        disk.append(file, b"".join(line + b"\n" for line in lines if line not in kept), sync=True)
