"""The incident folder: its name, its files, and the fingerprint of the log that they rest on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_monitoring import disk, frames, times
from llm_monitoring.errors import Fault, LogError
from llm_monitoring.results import iso, jsonable
from llm_monitoring.schema import TABLES

if TYPE_CHECKING:
    import pandas as pd

    from llm_monitoring.log import Log

STAGES = ("triage", "scope", "isolate", "respond", "learn")
REVIEWS = "reviews.jsonl"
NOTEBOOKS = {stage: f"{number}_{stage}.ipynb" for number, stage in enumerate(STAGES, start=1)}
WRITTEN = (
    "index.html",
    "run.json",
    REVIEWS,
    "eval_cases.jsonl",
    "results",
    "log",
    "monitoring.toml",
    *NOTEBOOKS.values(),
)
PACKAGES = ("pandas", "numpy", "scipy", "ibis-framework", "duckdb", "matplotlib")


def incident_id(metric: str | None, feature_id: str | None, when) -> str:
    """The name of an incident: date, feature or all, metric; letters, digits and ``. _ -`` only.

    Parameters
    ----------
    metric : str or None
        None where nothing alerted.
    feature_id : str or None
        None means all features.
    when : Timestamp
        `fired_at` of the alert; the log's last moment where nothing alerted.

    Examples
    --------
    >>> import pandas as pd
    >>> incident_id("flagged_rate", "a/b <c>", pd.Timestamp("2023-06-28T00:03Z"))
    '20230628-a_b_c-flagged_rate'
    >>> incident_id(None, None, pd.Timestamp("2023-06-28T00:03Z"))
    '20230628-all-quiet'
    """
    parts = [f"{when:%Y%m%d}", "all", "quiet"] if metric is None else [f"{when:%Y%m%d}", feature_id or "all", metric]
    return "-".join(re.sub(r"[^A-Za-z0-9._-]+", "_", part).strip("_")[:80] or "x" for part in parts)


def notebook_of(stage: str) -> str:
    """The notebook of a stage.

    >>> notebook_of("scope")
    '2_scope.ipynb'
    """
    return NOTEBOOKS[stage]


def save_result(result: Any, folder: str | Path, name: str | None = None) -> Path:
    """Write a stage result as ``results/<stage>.json``.

    Parameters
    ----------
    result : Result or dict
        `TriageResult` is saved as triage, and so on; a dict needs `name`.
    folder : path
        The incident folder.
    name : str, optional

    Returns
    -------
    Path
        The file.
    """
    stage = name or type(result).__name__.removesuffix("Result").lower()
    path = Path(folder) / "results" / f"{stage}.json"
    disk.make_folder(path.parent)
    return write_json(path, result)


def write_json(path: Path, value: Any) -> Path:
    """Write a result, a dict or a table as JSON; the same value gives the same bytes."""
    return disk.write(path, json.dumps(jsonable(value), indent=1) + "\n")


def load_result(name: str, folder: str | Path) -> dict[str, Any]:
    """Read ``results/<name>.json``.

    Raises
    ------
    LogError
        The file is absent; the sentence says which notebook makes it.
    """
    path = Path(folder) / "results" / f"{name}.json"
    if not path.exists():
        maker = f"Run {notebook_of(name)} first" if name in STAGES else "llm-monitoring report makes it"
        raise LogError(Fault(name, str(path), expected="no such file", remedy=maker))
    return json.loads(path.read_text("utf-8"))


def results_in(folder: str | Path) -> dict[str, Any]:
    """Every result that stands in a folder, by name."""
    there = (Path(folder) / "results").glob("*.json")
    return {path.stem: load_result(path.stem, folder) for path in sorted(there)}


def fingerprint(log: Log, source: str) -> dict[str, Any]:
    """Rows and hash of every table that the log holds, whatever file format it came from.

    Without the verdicts, which may have come from elsewhere: `inputs` has those that were used.

    Returns
    -------
    dict
        source, from, until (first and last request), known (the last moment in any table), tables {name: {rows, sha256}}.
    """
    log.validate()
    held = [name for name in TABLES if log.has(name) and name != "reviews"]
    first, until = log.span("requests")
    known = [last for last in (log.span(name)[1] for name in held) if last is not None]
    return {
        "source": source,
        "from": first and iso(first),
        "until": until and iso(until),
        "known": iso(max(known)) if known else None,
        "tables": {name: hash_table(log, name) for name in held},
    }


def hash_table(log: Log, name: str) -> dict[str, Any]:
    """Rows of a table of a log, and `hash_rows` of them; read piece by piece."""
    rows = log.table(name)
    found = [hash_each(piece) for piece in frames.pieces(rows, TABLES[name])]
    return {"rows": sum(len(each) for each in found), "sha256": _hash_of(rows.columns, found)}


def hash_rows(frame: pd.DataFrame) -> str:
    """SHA-256 over the rows as Python writes them, sorted: row and column order have no effect."""
    return _hash_of(frame.columns, [hash_each(frame)])


def hash_each(frame: pd.DataFrame) -> np.ndarray:
    """SHA-256 of each row, 32 bytes in an array of as many rows."""
    rows = zip(*(_values(frame[name]) for name in sorted(frame.columns)), strict=True)
    hashed = b"".join(hashlib.sha256(repr(row).encode("utf-8", "replace")).digest() for row in rows)
    return np.frombuffer(hashed, dtype="V32")


def _hash_of(columns: Iterable[str], rows: list[np.ndarray]) -> str:
    listed = np.concatenate(rows).view(">u8").reshape(-1, 4) if rows else np.empty((0, 4), ">u8")
    ordered = listed[np.lexsort(listed.T[::-1])]
    return hashlib.sha256(repr(sorted(columns)).encode() + ordered.tobytes()).hexdigest()


def _values(column: pd.Series) -> list[Any]:
    """The values of a column as Python's own, unknown ones as None, objects as JSON."""
    values = column.tolist()
    if column.dtype.kind in "iu":  # as floats, which a column of some tables is where a value is unknown
        known = (_plain(value) for value in values)
        return [value if value is None or abs(value) >= 2**53 else float(value) for value in known]
    if column.dtype == object:
        return [_plain(value) for value in values]
    return [None if gone else value for value, gone in zip(values, column.isna())] if column.hasnans else values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(jsonable(value), sort_keys=True)
    unknown = value is None or type(value).__name__ in ("NAType", "NaTType") or value != value
    return None if unknown else value


def inputs(parameters: Mapping[str, Any], reviews: pd.DataFrame, notebooks: Path) -> dict[str, Any]:
    """Fingerprints of what a report rests on beside the log, so that what was altered later can be named.

    Returns
    -------
    dict
        parameters {name: sha256}, reviews {rows, sha256, verdicts {request_id: verdict}, where several people read the
        same with their names}, package (the source of this
        one), plan (the built-in one) and notebooks {name: sha256}.
    """
    from llm_monitoring.alerts.plan import default_plan_text
    from llm_monitoring.reviewing.verdicts import by_reader

    verdicts = by_reader(reviews)
    return {
        "parameters": {name: seal(value) for name, value in parameters.items()},
        "reviews": {"rows": len(reviews), "sha256": hash_rows(reviews), "verdicts": dict(sorted(verdicts.items()))},
        "package": _source_of_package(),
        "plan": seal(default_plan_text()),
        "notebooks": {notebook_of(stage): seal_of_cells(notebooks / notebook_of(stage)) for stage in STAGES},
    }


def _source_of_package() -> str:
    root = Path(__file__).parents[1]
    sources = sorted(root.rglob("*.py"))
    return seal([(path.relative_to(root).as_posix(), path.read_text("utf-8")) for path in sources])


def seal_of_cells(notebook: Path) -> str:
    """Seal of the cells of a notebook as they were written: their outputs do not count, nor the parameters put in."""
    return seal([(cell["cell_type"], "".join(cell["source"])) for cell in cells_of(notebook)])


def cells_of(notebook: Path) -> list[dict[str, Any]]:
    """The cells of a notebook, without the one in which papermill puts the parameters."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return [cell for cell in cells if "injected-parameters" not in cell["metadata"].get("tags", [])]


def seal(value: Any) -> str:
    """SHA-256 of a value as JSON; the same value gives the same seal.

    >>> seal({"a": 1, "b": None}) == seal({"b": None, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(jsonable(value), sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """The versions that figures can depend on."""
    import platform

    from llm_monitoring import __version__

    found = {"llm_monitoring": __version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in PACKAGES}


def write_lines(path: Path, rows: Iterable[Mapping[Any, Any]]) -> None:
    """Write rows as JSON Lines."""
    disk.write(path, (json.dumps(jsonable(dict(row))) + "\n" for row in rows))


def read_time(name: str, value: Any) -> pd.Timestamp | None:
    """A time with its zone, or None for nothing.

    >>> read_time("until", "2023-06-28T02:40Z")
    Timestamp('2023-06-28 02:40:00+0000', tz='UTC')
    """
    return None if value is None or value == "" else times.moment(value, name)
