"""Verdicts on disk: one JSON line each, there before it is acknowledged.

A verdict belongs to a request and a reviewer; of several lines for both, the last one of the file stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from llm_monitoring import disk
from llm_monitoring.errors import Fault, LogError, one_of
from llm_monitoring.schema import REVIEWS, VERDICTS

COLUMNS = list(REVIEWS.names)
TORN = b" #torn"


def append(path: str | Path, line: Mapping[str, Any]) -> None:
    """Write one verdict, or with `verdict` None an undo, and return when it is on the disk.

    Parameters
    ----------
    path : str or Path
        The file; made where absent, with its folder, for its owner alone (or the group of a folder that is open to one).
        A line that a crash left unfinished is marked, never joined.
    line : mapping
        `request_id`, `verdict`, `note`, `reviewer`, `reviewed_at` (ISO 8601), `quality_score`, `expected_output`, and
        `seq` and `session` of the widget, which only acknowledge.

    Raises
    ------
    ConfigError
        The verdict is none of those known.
    LogError
        Another value is none that could be read back.
    OSError
        The line could not be written, such as on a full disk; no part of it is left in the file.

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
    if fault := _fault(path, "new line", dict(line)):
        raise LogError(fault)  # or the whole file could not be read any more
    text = json.dumps(dict(line)).encode() + b"\n"
    with disk.appending(path) as file:
        disk.append(file, _unfinished(path) + text, sync=True)


def read(path: str | Path) -> pd.DataFrame:
    """Read the verdicts that stand, as the `reviews` table of a log.

    Parameters
    ----------
    path : str or Path
        JSON Lines as the widget writes them, or a CSV that people fill in (`request_id`, `verdict`, any of the others).

    Returns
    -------
    DataFrame
        `request_id`, `verdict`, `reviewer`, `reviewed_at` (UTC), `note`, `quality_score`, `expected_output`; one row per
        request and reviewer, in the order of reading. `majority` makes one row per request of it. `.attrs["torn"]` counts
        the lines that a crash left unfinished; they are skipped.

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


def majority(reviews: pd.DataFrame) -> pd.DataFrame:
    """One verdict per request: what most of its readers say, and how many agree.

    Parameters
    ----------
    reviews : DataFrame
        As `read` gives it, one row per request and reviewer.

    Returns
    -------
    DataFrame
        `request_id`, `verdict`, `readers` (how many read it) and `agreeing` (how many of them gave this verdict), one row
        per request in the order of reading. A reader who is unsure does not vote where another one decides; a tie
        between real and false_positive is unsure.

    Examples
    --------
    >>> table = pd.DataFrame({"request_id": ["a", "a", "a", "b", "b"], "reviewer": ["x", "y", "z", "x", "y"]})
    >>> table["verdict"] = ["real", "real", "false_positive", "unsure", "real"]
    >>> majority(table).to_dict("list")
    {'request_id': ['a', 'b'], 'verdict': ['real', 'real'], 'readers': [3, 2], 'agreeing': [2, 1]}
    """
    votes = pd.crosstab(reviews["request_id"], reviews["verdict"]).reindex(columns=list(VERDICTS), fill_value=0)
    votes = votes.reindex(reviews["request_id"].drop_duplicates())
    more = votes["real"] - votes["false_positive"]
    verdict = more.map(lambda ahead: "real" if ahead > 0 else "false_positive" if ahead < 0 else "unsure")
    agreeing = [row[said] for row, said in zip(votes.to_dict("records"), verdict, strict=True)]
    counted = {"verdict": verdict.astype(object), "readers": votes.sum(axis=1), "agreeing": agreeing}
    return pd.DataFrame(counted, index=votes.index).rename_axis("request_id").reset_index()


def by_reader(reviews: pd.DataFrame) -> dict[str, str]:
    """Each verdict under the id of its request, followed by the reader's name where several read the same.

    >>> table = pd.DataFrame({"request_id": ["a", "b", "b"], "reviewer": ["x", "x", "y"], "verdict": ["real"] * 3})
    >>> by_reader(table)
    {'a': 'real', 'b by x': 'real', 'b by y': 'real'}
    """
    several = reviews["request_id"].duplicated(keep=False)
    rows = zip(reviews["request_id"], reviews["reviewer"], reviews["verdict"], several, strict=True)
    return {f"{key} by {reader}" if many else key: verdict for key, reader, verdict, many in rows}


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
    frame = pd.DataFrame([{name: row.get(name) for name in COLUMNS} for row in rows], columns=COLUMNS, dtype=object)
    frame = frame.astype(dict.fromkeys(("request_id", "verdict", "reviewer", "note", "expected_output"), object))
    frame["reviewed_at"] = pd.to_datetime(frame["reviewed_at"], utc=True, format="ISO8601").dt.as_unit("us")
    frame["quality_score"] = pd.to_numeric(frame["quality_score"]).astype(float)
    return frame


def state(path: str | Path) -> tuple[dict[tuple[str, str | None], dict[str, Any]], int]:
    """The last line of each request and reviewer (undone ones with verdict None), and the number of torn lines."""
    stands: dict[tuple[str, str | None], dict[str, Any]] = {}
    faults, torn = [], 0
    for place, line in _lines(Path(path)):
        if line is None:
            torn += 1
            continue
        fault = _fault(Path(path), place, line)
        if fault:
            faults.append(fault)
            continue
        key = line["request_id"], line.get("reviewer")
        stands.pop(key, None)  # a later line comes later in the order of reading
        stands[key] = line
    if faults:
        raise LogError(faults)
    return stands, torn


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


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


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
    "reviewer": (_is_text, "expected a text, or null where unknown"),
    "expected_output": (_is_text, "expected a text, or null where unknown"),
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
