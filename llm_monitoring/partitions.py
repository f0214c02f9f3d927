"""Which files of a table may hold rows of a period, and each file as it was when the log was opened."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from llm_monitoring.datafiles import format_of
from llm_monitoring.errors import ConfigError, Fault, LogError, quote

DAY = 86_400_000_000
UNPARTITIONED = "__HIVE_DEFAULT_PARTITION__"


class Span(NamedTuple):
    """The first and the last moment in a file, in microseconds since 1970."""

    first: int
    last: int

    def meets(self, first: int | None, last: int | None) -> bool:
        """Whether a row from `first` to `last` (both may be open) can be in the file."""
        return (first is None or self.last >= first) and (last is None or self.first <= last)


def spans_of(files: Iterable[Path], time: str, partition_time: str | None) -> dict[Path, Span]:
    """The time span of every file of which it is known: by the statistics of Parquet, or by the name of its folder.

    Parameters
    ----------
    files : list of Path
    time : str
        The column of times.
    partition_time : str, optional
        Key of folders such as ``date=2026-05-11``. A folder stands for its day and a day on either side, since nobody
        says in which zone that day is.
    """
    found = {}
    for file in files:
        span = _of_statistics(file, time) if format_of(file) == "parquet" else None
        span = span or (_of_folder(file, partition_time) if partition_time else None)
        if span:
            found[file] = span
    return found


def _of_statistics(file: Path, time: str) -> Span | None:
    """First and last time of a Parquet file whose every row group says so; times without a zone may be a day off."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = pq.read_metadata(file)
    schema = whole.schema.to_arrow_schema()
    if time not in schema.names or not pa.types.is_timestamp(schema.field(time).type) or not whole.num_row_groups:
        return None
    paths = [whole.row_group(0).column(i).path_in_schema for i in range(whole.num_columns)]
    groups = [whole.row_group(i).column(paths.index(time)) for i in range(whole.num_row_groups)]
    if not all(group.is_stats_set and group.statistics.has_min_max for group in groups):
        return None
    ends = [end for group in groups for end in (group.statistics.min, group.statistics.max)]
    if not all(isinstance(end, datetime) for end in ends):
        return None
    off = 0 if schema.field(time).type.tz else DAY
    return Span(_microseconds(min(ends)) - off, _microseconds(max(ends)) + 1 + off)


def _microseconds(when: datetime) -> int:
    moment = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _of_folder(file: Path, key: str) -> Span | None:
    """The day that a folder above the file names, with a day on either side."""
    named = [part.partition("=")[2] for part in file.parent.parts if part.startswith(f"{key}=")]
    if not named or named[-1] == UNPARTITIONED:
        return None
    match = re.fullmatch(r"(\d{4})-?(\d{2})-?(\d{2})", named[-1])
    try:
        day = datetime(*map(int, match.groups()), tzinfo=UTC) if match else None  # type: ignore[misc, arg-type]
    except ValueError:
        day = None
    if day is None:
        words = f"folder {quote(f'{key}={named[-1]}')}; expected a day such as {key}=2026-05-11"
        raise ConfigError(f"open_log(partition_time={key!r}): {words}")
    start = _microseconds(day)
    return Span(start - DAY, start + 2 * DAY - 1)


@dataclass(frozen=True)
class Seen:
    """The files of a table at one moment. What is appended to a text file later is not read: its first bytes are copied."""

    states: Mapping[Path, _State]
    copies: dict[Path, Path] = field(default_factory=dict)

    @classmethod
    def now(cls, files: Iterable[Path]) -> Seen:
        """The files as they are."""
        return cls({file: _state(file) for file in files})

    def place(self, file: Path, label: str) -> Path:
        """Where the file lies as it was: at its place, or as a copy of what was there before something was appended.

        Raises
        ------
        LogError
            Where the file is gone, or holds something else.
        """
        if file in self.copies:
            return self.copies[file]
        then = self.states.get(file)
        if then is None:  # a copy of our own
            return file
        now = file.stat() if file.exists() else None
        if now and (now.st_size, now.st_mtime_ns, now.st_ino) == (then.size, then.changed, then.number):
            return file
        if not now or format_of(file) == "parquet" or now.st_size < then.size or _edges(file, then.size) != then.edges:
            words = f"{'changed' if now else 'was removed'} after the log was opened; open it again"
            raise LogError(Fault(file.name, label, expected=words))
        self.copies[file] = _beginning(file, then.size)
        return self.copies[file]


class _State(NamedTuple):
    """A file at one moment: its size, when it changed last, its number on the disk, and the bytes at both ends of a text."""

    size: int
    changed: int
    number: int
    edges: bytes


def _state(file: Path) -> _State:
    found = file.stat()
    edges = b"" if format_of(file) == "parquet" else _edges(file, found.st_size)
    return _State(found.st_size, found.st_mtime_ns, found.st_ino, edges)


def _edges(file: Path, size: int) -> bytes:
    """The first bytes of a file, and the last ones before `size`."""
    with file.open("rb") as held:
        first = held.read(min(size, 1024))
        held.seek(max(size - 1024, 0))
        return first + held.read(min(size, 1024))


def _beginning(file: Path, size: int) -> Path:
    """A private copy of the first bytes of a file, in folders of the same names, gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="llm_monitoring-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = folder.joinpath(*(part for part in file.parent.parts if "=" in part), file.name)
    copy.parent.mkdir(parents=True, exist_ok=True)
    with file.open("rb") as source, copy.open("wb") as target:
        while size > 0 and (held := source.read(min(size, 1 << 20))):
            target.write(held)
            size -= len(held)
    return copy
