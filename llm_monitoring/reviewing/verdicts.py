"""Verdicts on disk: one JSON line each, there before it is acknowledged. The highest `seq` of an id stands."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from llm_monitoring.errors import Fault, LogError, one_of
from llm_monitoring.schema import REVIEWS, VERDICTS

COLUMNS = list(REVIEWS.names)
TORN = b" #torn"


def append(path: str | Path, line: Mapping[str, Any]) -> None:
    """Write one verdict, or with `verdict` None an undo, and return when it is on the disk.

    Parameters
    ----------
    path : str or Path
        The file; made where absent, with its folder. A line that a crash left unfinished is marked, never joined.
    line : mapping
        `request_id`, `verdict`, `note`, `reviewer`, `reviewed_at` (ISO 8601), `seq` (counts up over sessions) and
        `session`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "reviews.jsonl"
    >>> line = {"request_id": "r1", "verdict": "real", "reviewed_at": "2026-05-12T09:00:00Z", "seq": 1}
    >>> append(path, line)
    >>> read(path)["verdict"].tolist()
    ['real']
    >>> append(path, {**line, "verdict": None, "seq": 2})
    >>> len(read(path))
    0
    """
    if line["verdict"] is not None:
        one_of("verdict", line["verdict"], VERDICTS)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(line)).encode() + b"\n"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, _unfinished(path) + text)
        os.fsync(file)
    finally:
        os.close(file)


def read(path: str | Path) -> pd.DataFrame:
    """Read the verdicts that stand, as the `reviews` table of a log.

    Parameters
    ----------
    path : str or Path
        JSON Lines as the widget writes them, or a CSV that people fill in (`request_id`, `verdict`, any of the others).

    Returns
    -------
    DataFrame
        `request_id`, `verdict`, `reviewer`, `reviewed_at` (UTC), `note`, `quality_score`, one row per request, in the
        order of reading. `.attrs["torn"]` counts the lines that a crash left unfinished; they are skipped.

    Raises
    ------
    LogError
        Where the file is absent, or a line is no verdict, with its number.
    """
    path = Path(path)
    if not path.exists():
        raise LogError(Fault("reviews", str(path), expected="no such file; expected JSON Lines or CSV with verdicts"))
    lines, torn = state(path)
    frame = _table([one for one in lines.values() if one["verdict"] is not None])
    frame.attrs["torn"] = torn
    return frame


def notices(read: pd.DataFrame, path: str | Path) -> list[str]:
    """What to tell of a file of verdicts beside its rows: the lines that a crash left unfinished.

    >>> frame = empty()
    >>> frame.attrs["torn"] = 2
    >>> notices(frame, "reviews.jsonl")
    ['reviews.jsonl: 2 lines that a crash left unfinished were skipped']
    """
    torn = read.attrs.get("torn", 0)
    if not torn:
        return []
    words = (
        "1 line that a crash left unfinished was" if torn == 1 else f"{torn:,} lines that a crash left unfinished were"
    )
    return [f"{Path(path).name}: {words} skipped"]


def empty() -> pd.DataFrame:
    """The `reviews` table before the first verdict."""
    return _table([])


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS)
    frame = frame.astype(dict.fromkeys(("request_id", "verdict", "reviewer", "note"), object))
    frame["reviewed_at"] = pd.to_datetime(frame["reviewed_at"], utc=True, format="ISO8601").dt.as_unit("us")
    frame["quality_score"] = pd.to_numeric(frame["quality_score"])
    return frame


def state(path: str | Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The last line of each request by `seq` (undone ones with verdict None), and the number of torn lines.

    A line without `seq`, written by hand, counts as later than all before it.
    """
    stands: dict[str, dict[str, Any]] = {}
    faults, torn, last = [], 0, 0
    for place, line in _lines(Path(path)):
        if line is None:
            torn += 1
            continue
        fault = _fault(Path(path), place, line)
        if fault:
            faults.append(fault)
            continue
        line["seq"] = int(line["seq"]) if line.get("seq") is not None else last + 1
        last = max(last, line["seq"])
        earlier = stands.get(line["request_id"])
        if earlier is None or line["seq"] >= earlier["seq"]:
            stands[line["request_id"]] = line
    if faults:
        raise LogError(faults)
    return dict(sorted(stands.items(), key=lambda item: item[1]["seq"])), torn


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line with its place; None for a torn one, the text itself for one that is no JSON."""
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype=str)
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        yield from ((f"row {number}", row) for number, row in enumerate(rows, start=1))
        return
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, text in enumerate(content, start=1):
        if not text.strip():
            continue
        try:
            yield f"line {number}", json.loads(text)
        except ValueError:  # also what UTF-8 cannot decode
            unfinished = text.endswith(TORN) or number == len(content)
            yield f"line {number}", None if unfinished else text.decode(errors="replace")


def _fault(path: Path, place: str, line: Any) -> Fault | None:
    if not isinstance(line, dict):
        return Fault("reviews", path.name, place, None, str(line), "expected one JSON object a line")
    if not isinstance(line.get("request_id"), str):
        return Fault("reviews", path.name, place, "request_id", line.get("request_id"), "expected a text")
    if line.setdefault("verdict", None) not in (*VERDICTS, None):
        expected = f"expected one of {', '.join(VERDICTS)}, or null for an undo"
        return Fault("reviews", path.name, place, "verdict", line["verdict"], expected)
    for column, (fits, expected) in VALUES.items():
        if line.get(column) is not None and not fits(line[column]):
            return Fault("reviews", path.name, place, column, line[column], expected)
    return None


def _is_score(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and 1 <= float(value) <= 5
    except (TypeError, ValueError):
        return False


def _is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and pd.to_datetime(value, format="ISO8601").tzinfo is not None
    except ValueError:
        return False


def _is_whole(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and value.isdecimal())


VALUES = {
    "reviewed_at": (_is_moment, "expected a time with its zone, such as 2026-05-19T08:00Z, or null where unknown"),
    "quality_score": (_is_score, "expected a number from 1 to 5, or null where unknown"),
    "seq": (_is_whole, "expected a whole number, or null"),
}


def _unfinished(path: Path) -> bytes:
    """What must stand before the next line: nothing, a line end, or the mark of a line that a crash cut off."""
    tail = path.read_bytes().rsplit(b"\n", 1)[-1]
    if not tail:
        return b""
    try:
        json.loads(tail)
    except ValueError:
        return TORN + b"\n"
    return b"\n"
