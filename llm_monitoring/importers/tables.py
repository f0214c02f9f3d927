"""Rows of CSV and Parquet exports as records. Every cell of a CSV file stays the text that it is; an empty one is unknown."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from llm_monitoring.errors import Fault, LogError, quote
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.jsontexts import Document
from llm_monitoring.importers.values import CommaText
from llm_monitoring.textfiles import SEPARATOR, delimiter_of

COMMA = re.compile(r"\s*-?\d[\d.]*,\d+\s*")
END = "\0end of the file\0"
csv.field_size_limit(2**31 - 1)


def csv_rows(name: str, text: str, draft: Draft) -> Iterator[Document]:
    """The rows of a CSV file by their column names.

    Separators are the comma, the semicolon, the tab and the bar, or what a first line ``sep=;`` names; lines may end in
    LF, CR or both. A column without a name (an index) is left out, a row with another number of fields is set aside.
    """
    lines = iter(io.StringIO(text, newline=""))
    before, head = 0, next(lines, "")
    delimiter = delimiter_of(head)
    if SEPARATOR.fullmatch(head):
        before, head = 1, next(lines, "")
    rows = csv.reader(itertools.chain([head], lines, ["\n", END]), delimiter=delimiter)
    names = next(rows, [])
    if names and names[-1].endswith(END):
        raise _open_quote(name, before + 1)
    start, comma = rows.line_num, False
    for number, cells in enumerate(rows):
        line, start = before + start + 1, rows.line_num
        if cells == [END]:
            return
        if cells and cells[-1].endswith(END):
            raise _open_quote(name, line)
        if not any(cells):
            continue
        if number == 0:
            names = _named(name, names, cells, draft)
        if len(cells) != len(names):
            draft.aside(f"{name} line {line}", None, f"expected {len(names)} fields, found {len(cells)}")
            continue
        record = {each: cell or None for each, cell in zip(names, cells) if each}
        if delimiter == ";":
            decimal = {each: CommaText(cell) for each, cell in record.items() if cell and COMMA.fullmatch(cell)}
            record |= decimal
            if decimal and not comma:
                comma = True
                draft.guess("';' separates the fields: a comma inside a number is its decimal point")
        yield Document(f"{name} line {line}", record)


def _named(name: str, names: list[str], cells: list[str], draft: Draft) -> list[str]:
    """The names of the columns: an index without a name has none, a name that stands twice holds once."""
    names = [each.strip() for each in names]
    if len(cells) == len(names) + 1:
        names = [*names, ""] if not cells[-1] else ["", *names]
    if "" in names:
        draft.guess(f"a column of {name} has no name: left out, as an index")
    kept: list[str] = []
    for each in names:
        if each and each in kept:
            draft.guess(f"column {quote(each)} occurs twice in {name}: the first one is read")
        kept.append("" if each in kept else each)
    return kept


def _open_quote(name: str, line: int) -> LogError:
    return LogError(Fault("source", name, f"line {line}", expected="the quote is not closed", remedy="Close it"))


def parquet_rows(name: str, raw: bytes) -> Iterator[Document]:
    """The rows of a Parquet file, nested values as JSON has them."""
    import pandas as pd

    try:
        frame = pd.read_parquet(io.BytesIO(raw))
    except (ValueError, OSError) as error:
        expected = f"cannot be read as parquet: {str(error).strip()}"
        raise LogError(Fault("source", name, expected=expected)) from error
    for number, row in enumerate(frame.to_dict("records")):
        yield Document(f"{name} row {number}", {str(key): plain(value) for key, value in row.items()})


def plain(value: Any) -> Any:
    """A value of a table as JSON has it: lists, objects, and None where it is unknown."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if value is None or value != value else value
