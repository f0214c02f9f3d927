"""Any source of an importer as JSON values with their place: files, folders, packed files, values already read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from llm_monitoring import textfiles
from llm_monitoring.errors import Fault, LogError
from llm_monitoring.importers.draft import Draft

ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".parquet", ".txt", ".log")


class Document(NamedTuple):
    """One JSON value and where it stood, as people count: `line 7` of a text file, `row 6` of a table."""

    place: str
    value: Any


def documents(source: Any, draft: Draft) -> Iterator[Document]:
    """The JSON values of a source; lines that are no JSON are set aside.

    Parameters
    ----------
    source : path, list of paths, or values already read (a dict or a list of dicts)
        A folder gives its files in the order of their names; ``.gz`` and ``.zst`` are unpacked.
    draft : Draft
        Gets the names of the sources.
    """
    if isinstance(source, Mapping):
        draft.sources.append("a dict")
        yield Document("the dict", source)
    elif isinstance(source, str | Path):
        yield from _files(Path(source), draft)
    elif isinstance(source, Iterable):
        for number, item in enumerate(source):
            if isinstance(item, str | Path):
                yield from _files(Path(item), draft)
            else:
                draft.sources[:] = draft.sources or ["a list"]
                yield Document(f"item {number}", item)
    else:
        kind = type(source).__name__
        raise LogError(
            Fault("source", value=kind, expected="expected a path, a list of paths, or values read from JSON")
        )


def _files(path: Path, draft: Draft) -> Iterator[Document]:
    if not path.exists():
        raise LogError(Fault("source", str(path), expected="there is no such file or folder"))
    if path.is_dir():
        found = [each for each in sorted(path.rglob("*")) if each.is_file() and _ending(each) in ENDINGS]
        if not found:
            raise LogError(Fault("source", str(path), expected=f"holds no file that ends in {', '.join(ENDINGS)}"))
        for each in found:
            yield from _files(each, draft)
        return
    draft.sources.append(str(path))
    if not path.stat().st_size:
        draft.aside(path.name, None, "the file is empty", read=False)
        return
    ending = _ending(path)
    kind = {".csv": "csv", ".parquet": "parquet"}.get(ending, "JSON")
    if broken := textfiles.broken_at_once(path, kind, "source"):
        raise LogError(broken)
    try:
        if kind == "JSON":
            yield from _text(path, ending in (".jsonl", ".ndjson", ".log"), draft)
        else:
            yield from _table(path, ending)
    except OSError as error:
        if error.filename is not None:
            raise
        words = f"the file is cut short or damaged ({error})"
        raise LogError(Fault("source", path.name, expected=words, remedy="Write it again")) from error


def _ending(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix.lower() in (".gz", ".zst") else path.suffix.lower()


def _table(path: Path, ending: str) -> Iterator[Document]:
    import pandas as pd

    try:
        with textfiles.open_bytes(path) as file:
            frame = pd.read_csv(file, dtype=str) if ending == ".csv" else pd.read_parquet(path)
    except ValueError as error:  # pandas and Arrow alike: not UTF-8, not a table
        expected = f"cannot be read as {ending[1:]}: {str(error).strip()}"
        raise LogError(Fault("source", path.name, expected=expected)) from error
    for number, row in enumerate(frame.to_dict("records")):
        known = {str(name): _plain(value) for name, value in row.items()}
        yield Document(f"{path.name} {f'line {number + 2}' if ending == '.csv' else f'row {number}'}", known)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if value is None or value != value else value


def _text(path: Path, lines: bool, draft: Draft) -> Iterator[Document]:
    """A JSON file, or one JSON value a line. A file of one kind that holds the other is read as what it holds."""
    with textfiles.open_bytes(path) as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LogError(Fault("source", str(path), f"byte {error.start}", expected="the text is not UTF-8")) from error
    rows = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines or (rows and not _is_json(rows[0][1])):
        try:
            whole = _loads(text)
        except ValueError as error:
            if not any(_is_json(line) for _, line in rows) or not (lines or "Extra data" in str(error)):
                place = f"line {getattr(error, 'lineno', 1)}"
                raise LogError(Fault("source", path.name, place, expected=f"not JSON: {error}")) from error
        else:
            yield Document(path.name, whole)
            return
    for number, line in rows:
        try:
            value = _loads(line)
        except ValueError:
            draft.aside(f"{path.name} line {number}", None, "the line is not JSON")
        else:
            yield Document(f"{path.name} line {number}", value)


def _is_json(text: str) -> bool:
    try:
        _loads(text)
    except ValueError:
        return False
    return True


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
