"""Any source of an importer as JSON values with their place: files, folders, packed files, archives, values already read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llm_monitoring import textfiles
from llm_monitoring.errors import Fault, LogError
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.jsontexts import Document, json_documents
from llm_monitoring.importers.packing import decoded, ending, members, unpacked
from llm_monitoring.importers.tables import csv_rows, parquet_rows

__all__ = ["Document", "documents"]

ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt", ".log")
KINDS = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
LINES = (".jsonl", ".ndjson", ".log")


def documents(source: Any, draft: Draft) -> Iterator[Document]:
    """The JSON values of a source; lines that are no JSON are set aside.

    Parameters
    ----------
    source : path, list of paths, or values already read (a dict or a list of dicts)
        A folder gives its files in the order of their names; ``.gz``, ``.zst`` and ``.zip`` are unpacked.
    draft : Draft
        Gets the names of the sources, and a few of the values to recognise their format by.
    """
    for document in _documents(source, draft):
        draft.remember(document.value)
        yield document


def _documents(source: Any, draft: Draft) -> Iterator[Document]:
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
        known = (*ENDINGS, ".zip")
        found = [each for each in sorted(path.rglob("*")) if each.is_file() and ending(each.name) in known]
        if not found:
            raise LogError(Fault("source", str(path), expected=f"holds no file that ends in {', '.join(known)}"))
        for each in found:
            yield from _files(each, draft)
        return
    draft.sources.append(str(path))
    if path.suffix.lower() == ".zip":
        yield from _archive(path, draft)
        return
    kind = KINDS.get(ending(path.name), "JSON")
    if path.stat().st_size and (broken := textfiles.broken_at_once(path, kind, "source")):
        raise LogError(broken)
    yield from _content(path.name, path.read_bytes(), draft)


def _archive(path: Path, draft: Draft) -> Iterator[Document]:
    found = 0
    for name, raw in members(path.name, path.read_bytes()):
        if ending(name) in ENDINGS:
            found += 1
            yield from _content(name, raw, draft)
    if not found:
        expected = f"holds no file that ends in {', '.join(ENDINGS)}"
        raise LogError(Fault("source", path.name, expected=expected))


def _content(name: str, packed: bytes, draft: Draft) -> Iterator[Document]:
    """The values in the bytes of one file, by the ending of its name."""
    if packed[:4] == b"PK\x03\x04":
        words = "holds a zip archive or an Excel workbook, not text"
        raise LogError(Fault("source", name, expected=words, remedy="Name it .zip, or save the sheet as CSV"))
    raw, behind = unpacked(name, packed)
    if behind:
        draft.guess(f"{behind:,} bytes after the end of the gzip data in {name}: left out")
    kind = KINDS.get(ending(name), "JSON")
    if not raw:
        draft.aside(name, None, "the file is empty", read=False)
    elif kind == "parquet":
        yield from parquet_rows(name, raw)
    elif kind == "csv":
        yield from csv_rows(name, decoded(name, raw), draft)
    else:
        yield from json_documents(name, decoded(name, raw), ending(name) in LINES, draft)
