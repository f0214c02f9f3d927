"""What a log looks like from outside: enough to say which tables grew or changed since the last look, without reading them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from llm_monitoring.schema import TABLES

#: Table -> a text that differs once the table differs; None where only a look can tell.
Marks: TypeAlias = "dict[str, str] | None"


def marks(source: Any) -> Marks:
    """A mark for every table of a source.

    Of files: names, sizes, times of change and inodes. Of a database: how many rows each table has, and the latest time
    in it. A log in memory has none: it is looked at each time.

    >>> marks({"requests": None}) is None
    True
    """
    if not isinstance(source, str | os.PathLike):
        return None
    if "://" in str(source):
        return _of_database(str(source))
    path = Path(source)
    if path.suffix in (".duckdb", ".ddb") and path.is_file():
        return {name: _of_files([path, path.with_name(f"{path.name}.wal")]) for name in TABLES}
    return _of_folder(path) if path.is_dir() else {"requests": _of_files([path])}


def _of_folder(folder: Path) -> dict[str, str]:
    found = {}
    for name in TABLES:
        places = [place for place in sorted(folder.iterdir()) if place.name.split(".")[0] == name]
        found[name] = _of_files([file for place in places for file in _files(place)])
    return found


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(each for each in folders if each != "quarantine")
        yield from (Path(folder) / name for name in sorted(names) if name[0] not in "._")


def _of_files(files: list[Path]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for file in files:
        try:
            seen = file.stat()
        except FileNotFoundError:
            continue
        digest.update(f"{file}\0{seen.st_size}\0{seen.st_mtime_ns}\0{seen.st_ino}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _of_database(url: str) -> dict[str, str]:
    from llm_monitoring.log import open_log

    log = open_log(url)
    return {name: f"{log.count(name)} {log.span(name)[1]}" if log.has(name) else "" for name in TABLES}
