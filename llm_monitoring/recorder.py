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

from llm_monitoring.errors import ConfigError
from llm_monitoring.records import RequestMetrics, UserSignal
from llm_monitoring.results import jsonable

TABLES = {RequestMetrics: "requests", UserSignal: "signals"}


class Recorder:
    """Append requests and signals to a folder that `open_log` reads: JSON Lines, one file an hour and table.

    Each row is one write under a lock of the file, so threads and processes may share a folder. A last line that a
    crash tore off is mended on the next start or row: kept where it is whole, moved to ``torn/`` where it is not.

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
            with _locked(path) as file:
                self.recovered += _mended(path, file)

    def record(self, row: RequestMetrics | UserSignal, **more: Any) -> None:
        """Append one row; `more` are further columns, such as ``category="returns"`` or ``user_input=...``.

        Raises
        ------
        ConfigError
            Where `row` is neither a request nor a signal.
        """
        table = next((name for kind, name in TABLES.items() if isinstance(row, kind)), None)
        if table is None:
            raise ConfigError(f"record({type(row).__name__}): expected a RequestMetrics or a UserSignal")
        values = {field.name: getattr(row, field.name) for field in fields(row)} | more
        when = _moment(values["timestamp"])
        line = json.dumps(jsonable(values | {"timestamp": when}), ensure_ascii=True).encode() + b"\n"
        path = self.folder / table / f"{when:%Y%m%dT%H}.jsonl"
        with self._lock:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path) as file:
                self.recovered += _mended(path, file)
                os.write(file, line)


def compact(folder: str | os.PathLike, before: datetime | None = None) -> dict[str, int]:
    """Turn recorded hours into Parquet; torn lines go to ``torn/`` beside the tables.

    One file an hour, and another one (``20260511T09-1.parquet``) where rows of that hour came after it was compacted. It
    may run while others record, twice at a time, and be killed: the next run ends what this one began.

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
        begun = sorted((Path(folder) / table).glob(".*.jsonl"))
        hours = [path for path in sorted((Path(folder) / table).glob("[!.]*.jsonl")) if path.stem < limit]
        for path in [*begun, *hours]:
            with _locked(path, create=False) as file:
                if file is None:
                    continue  # another run has compacted it meanwhile
                rows, torn = _compact_file(path if path in begun else _set_off(path))
            done = {"files": done["files"] + 1, "rows": done["rows"] + rows, "torn": done["torn"] + torn}
    return done


def _set_off(path: Path) -> Path:
    """The hour's file under a hidden name of its own, which says what its Parquet file will be called."""
    names = (path.stem if number == 0 else f"{path.stem}-{number}" for number in itertools.count())
    taken = {each.stem.lstrip(".") for each in path.parent.iterdir() if each != path}
    return path.rename(path.with_name(f".{next(name for name in names if name not in taken)}.jsonl"))


def _compact_file(path: Path) -> tuple[int, int]:
    """Write a hidden file's rows as Parquet, unless an earlier run did and was stopped before it removed the file."""
    target = path.with_name(path.stem.lstrip(".") + ".parquet")
    good: list[dict[str, Any]] = []
    torn: list[bytes] = []
    for line in path.read_bytes().split(b"\n") if not target.exists() else ():
        if line.strip():
            try:
                good.append(json.loads(line))
            except ValueError:
                torn.append(line)
    if good:
        _write(good, target)
    _set_aside(path.with_name(path.name.lstrip(".")), torn)
    path.unlink()
    return len(good), len(torn)


def _write(rows: list[dict[str, Any]], target: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(rows)
    for name in frame.columns[frame.map(lambda value: isinstance(value, dict | list)).any()]:
        frame[name] = [None if value is None else json.dumps(value) for value in frame[name]]
    part = target.with_suffix(".part")
    frame.astype({name: "str" for name in frame if frame[name].isna().all()}).to_parquet(part, index=False)
    part.replace(target)


def _moment(timestamp: float | datetime) -> datetime:
    if isinstance(timestamp, datetime):
        return timestamp.astimezone(UTC)
    return datetime.fromtimestamp(timestamp, UTC)


@contextmanager
def _locked(path: Path, create: bool = True) -> Iterator[Any]:
    """The file, opened to append, with its lock held; opened again where it was compacted away meanwhile.

    None where it is gone and is not to be made.
    """
    import fcntl

    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0), 0o644)
        except FileNotFoundError:
            yield None
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists() and os.fstat(file).st_ino == path.stat().st_ino:
                yield file
                return
        finally:
            os.close(file)


def _mended(path: Path, file: int) -> bool:
    """Whether the last line was torn; it is closed where it is whole JSON, else cut off and set aside."""
    size = os.fstat(file).st_size
    if size == 0 or os.pread(file, 1, size - 1) == b"\n":
        return False
    start = path.read_bytes().rfind(b"\n") + 1
    tail = os.pread(file, size - start, start)
    try:
        json.loads(tail)
        os.write(file, b"\n")
    except ValueError:
        _set_aside(path, [tail])
        os.ftruncate(file, start)
    return True


def _set_aside(path: Path, lines: list[bytes]) -> None:
    if lines:
        aside = path.parent.parent / "torn" / f"{path.parent.name}-{path.name}"
        aside.parent.mkdir(exist_ok=True)
        with aside.open("ab") as file:
            file.writelines(line + b"\n" for line in lines)
