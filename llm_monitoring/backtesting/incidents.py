"""Incidents that happened: read from a table, a file or a folder of reports, and set against the alerts of a replay."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from llm_monitoring import times
from llm_monitoring.errors import ConfigError, nearest, quote
from llm_monitoring.measures import BUILT_IN, Measure, is_known, measure
from llm_monitoring.results import unknown

COLUMNS = ("incident_id", "started_at", "ended_at", "feature_id", "metric")
WANTED = "expected a folder of reports, a DataFrame, or a CSV or JSON Lines file with incident_id and started_at"
OPEN_DAYS = 14  # how long after its start an incident counts whose end nobody wrote down
AFTER = pd.Timedelta("2D")  # a window that holds the end may close, and be judged, so much later


def read_incidents(source: Any) -> pd.DataFrame:
    """The incidents as a table: `incident_id`, `started_at`, `ended_at`, `feature_id`, `metric`, null where unknown.

    Parameters
    ----------
    source : DataFrame, path
        A folder of reports (the start is what isolate found, else when the alert's window began; verdicts of
        ``false_positive`` are no incidents), a CSV or a JSON Lines file.

    Raises
    ------
    ConfigError
        Naming file and row of what cannot be used.

    Examples
    --------
    >>> table = pd.DataFrame({"incident_id": ["INC-7"], "started_at": ["2026-05-19T08:00Z"]})
    >>> read_incidents(table)["feature_id"].tolist()
    [None]
    """
    if isinstance(source, pd.DataFrame):
        return _checked(source, "incidents")
    if not isinstance(source, str | Path):
        raise ConfigError(f"incidents={quote(source)}; {WANTED}")
    path = Path(source)
    if path.is_dir():
        found = _checked(pd.DataFrame(_of_reports(path), columns=list(COLUMNS)), str(path))
        found.attrs.clear()  # names in reports come from logs, perhaps from others than this one
        return found
    if not path.is_file():
        raise ConfigError(f"incidents {quote(str(path))}: no such file or folder; {WANTED}")
    rows = list(_of_csv(path) if path.suffix.lower() == ".csv" else _of_lines(path))
    broken = [row for _, row in rows if isinstance(row, str)]
    if broken:
        raise ConfigError("\n".join(broken))
    return _checked(pd.DataFrame([row for _, row in rows], dtype=object), path.name, [place for place, _ in rows])


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: no UTF-8 text at byte {error.start}; {WANTED}") from error


def _of_csv(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Place and cells of each row, or what is wrong with it; rows are named by the line on which they begin."""
    lines = csv.reader(io.StringIO(_text_of(path), newline=""), strict=True)
    place = f"{path.name} line 1"
    try:
        names = next(lines, [])
        lacking = [column for column in COLUMNS[:2] if column not in names]
        if lacking:
            there = f"the columns are {', '.join(map(quote, names))}" if names else "the file is empty"
            raise ConfigError(f"{place}: no column {' and no column '.join(map(repr, lacking))}; {there}; {WANTED}")
        place = f"{path.name} line {lines.line_num + 1}"
        for cells in lines:
            if len(cells) > len(names):
                yield place, f"{place}: {len(cells)} values; expected {len(names)}, one for each column"
            elif cells:
                yield place, dict(zip(names, cells))
            place = f"{path.name} line {lines.line_num + 1}"
    except csv.Error as error:
        yield place, f"{place}: {error}; expected a row of a CSV file, every quotation mark closed"


def _of_lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Place and object of each line of JSON Lines, or what is wrong with it."""
    for number, line in enumerate(_text_of(path).splitlines(), start=1):
        place = f"{path.name} line {number}"
        if line.strip():
            yield place, _json_row(line, place)


def _json_row(line: str, place: str) -> dict[str, Any] | str:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if isinstance(row, dict):
        return row
    return f"{place}: {quote(line)}; expected one JSON object a line, with incident_id and started_at"


def _of_reports(folder: Path) -> list[dict[str, Any]]:
    rows = []
    files = sorted(folder.glob("*/results/triage.json"))
    if not files:
        raise ConfigError(
            f"incidents {quote(str(folder))}: no report is in this folder, none has results/triage.json; {WANTED}"
        )
    for file in files:
        triage = _found(file)
        if triage.get("verdict") == "false_positive":
            continue
        isolate = file.with_name("isolate.json")
        onset = _found(isolate).get("onset") or {} if isolate.is_file() else {}
        started = onset.get("at") or triage.get("window_start") or triage.get("fired_at")
        if started is not None:
            named = {name: triage.get(name) for name in ("feature_id", "metric")}
            rows.append({"incident_id": file.parent.parent.name, "started_at": started, "ended_at": None, **named})
    return rows


def _found(file: Path) -> dict[str, Any]:
    """What a stage of a report found."""
    place = "/".join(file.parts[-3:])
    found = _json_row(_text_of(file).strip(), place)
    if isinstance(found, str):
        raise ConfigError(f"{place}: no JSON object; run the report again or leave its folder out")
    return found


def _checked(table: pd.DataFrame, name: str, places: list[str] | None = None) -> pd.DataFrame:
    """The rows as they are used; `attrs["places"]` says where each incident stands. Every fault of a row is told."""
    lacking = [column for column in COLUMNS[:2] if column not in table]
    if places is None and lacking and len(table.columns):
        raise ConfigError(f"{name}: no column {' and no column '.join(map(repr, lacking))}; {WANTED}")
    out: dict[str, list[Any]] = {column: [] for column in COLUMNS}
    places = [f"{name} row {number}" for number in range(len(table))] if places is None else places
    where: dict[str, str] = {}
    faults: list[str] = []
    for place, row in zip(places, table.to_dict("records")):
        known, wrong = _row({str(name): value for name, value in row.items()}, place)
        ident = str(known["incident_id"])
        if known["incident_id"] is not None and ident in where:
            wrong.append(
                f"{place}, incident_id: {quote(ident)} stands in {where[ident]} already; expected one row for each incident"
            )
        where.setdefault(ident, place)
        faults += wrong
        for column in COLUMNS:
            out[column].append(known[column] if column.endswith("_at") or known[column] is None else str(known[column]))
    if faults:
        raise ConfigError("\n".join(faults))
    frame = pd.DataFrame(out, dtype=object)
    for column in ("started_at", "ended_at"):
        frame[column] = pd.to_datetime(frame[column], utc=True).astype("datetime64[us, UTC]")
    frame = frame.sort_values(["started_at", "incident_id"], ignore_index=True)
    frame.attrs["places"] = where
    return frame


def _row(row: dict[str, Any], place: str) -> tuple[dict[str, Any], list[str]]:
    """The known values of a row, and a line for everything that is wrong with it."""
    known: dict[str, Any] = {
        column: None if unknown(row.get(column)) or row[column] == "" else row[column] for column in COLUMNS
    }
    wrong = [
        f"{place}, {column}: unknown; expected a value in every row" for column in COLUMNS[:2] if known[column] is None
    ]
    for column in ("started_at", "ended_at"):
        if known[column] is not None:
            try:
                known[column] = times.moment(known[column], f"{place}, {column}")
            except ConfigError as fault:
                wrong.append(str(fault))
                known[column] = None
    if None not in (known["started_at"], known["ended_at"]) and known["ended_at"] < known["started_at"]:
        wrong.append(f"{place}, ended_at: {known['ended_at']}; expected a time after started_at")
    return known, wrong


def check_names(incidents: pd.DataFrame, features: Iterable[str], own: tuple[Measure, ...] = ()) -> None:
    """Refuse incidents of a feature that the log does not have, or in a metric that nothing measures: no alert could tell of them.

    Raises
    ------
    ConfigError
        A line for each, with the nearest name.
    """
    named, there = {each.name for each in own}, sorted(set(features))
    faults: list[str] = []
    for incident in incidents.to_dict("records"):
        place = incidents.attrs.get("places", {}).get(incident["incident_id"])
        if place is None:
            continue
        feature, metric = incident["feature_id"], incident["metric"]
        if feature is not None and feature not in there:
            faults.append(f"{place}, feature_id: the log has no feature {quote(feature)}{nearest(feature, there)}")
        if metric is not None and metric not in named and not is_known(metric):
            known = sorted({*BUILT_IN, *named})
            faults.append(f"{place}, metric: there is no metric {quote(metric)}{nearest(metric, known)}")
    if faults:
        raise ConfigError("\n".join(faults))


def matched(
    incidents: pd.DataFrame,
    alerts: pd.DataFrame,
    own: tuple[Measure, ...] = (),
    log: tuple[pd.Timestamp, pd.Timestamp] | None = None,
) -> tuple[pd.DataFrame, pd.Series]:
    """What the alerts made of the incidents.

    An alert tells of an incident where it fired while that lasted (up to two days after its end, or within 14 days of the
    start where the end is unknown), of the same feature (an incident or alert of no feature is of all), and, where the
    incident names a metric, of that metric or of one that rests on the same rows of the log. An incident that lies outside
    of the `log` (its first and last moment) is neither found nor missed: `found` is null.

    Returns
    -------
    DataFrame
        `incident_id`, `found`, `delay_hours`, `alert_id` (of the first alert), and what was known of it.
    Series
        For every alert whether an incident explains it.
    """
    explained = pd.Series(False, index=alerts.index)
    rows = []
    for incident in incidents.to_dict("records"):
        start, end = incident["started_at"], incident["ended_at"]
        until = start + pd.Timedelta(days=OPEN_DAYS) if pd.isna(end) else end + AFTER
        tells = (alerts["fired_at"] >= start) & (alerts["fired_at"] <= until)
        if incident["feature_id"] is not None:
            tells &= (alerts["feature_id"] == incident["feature_id"]).fillna(False) | alerts["feature_id"].isna()
        if incident["metric"] is not None:
            tells &= alerts["metric"].map(lambda name, of=incident["metric"]: _related(name, of, own)).astype(bool)
        explained |= tells
        first = alerts[tells].sort_values(["fired_at", "alert_id"], kind="stable").head(1).to_dict("records")
        hit: Mapping[str, Any] = first[0] if first else {}
        apart = log is not None and (start > log[1] or until < log[0])
        rows.append({
            "incident_id": incident["incident_id"], "found": pd.NA if apart and not first else bool(first),
            "delay_hours": (hit["fired_at"] - start) / pd.Timedelta("1h") if first else float("nan"),
            "alert_id": hit.get("alert_id"), "started_at": start, "ended_at": end,
            "feature_id": incident["feature_id"], "metric": incident["metric"], "injected": False,
        })  # fmt: skip
    table = pd.DataFrame(rows)
    for column in ("started_at", "ended_at"):
        if column in table:
            table[column] = pd.to_datetime(table[column], utc=True).astype("datetime64[us, UTC]")
    return table, explained


def _related(alert: str, incident: str, own: tuple[Measure, ...]) -> bool:
    """Whether an alert on one metric can tell of an incident in another: the same, or both of the same rows of the log."""
    if alert == incident:
        return True
    named = {each.name for each in own}
    if not all(name in named or is_known(name) for name in (alert, incident)):
        return False
    one, other = measure(alert, own), measure(incident, own)
    if one.of != "requests":
        return one.of == other.of
    return one.of == other.of and (one.column == other.column or one.layer == other.layer == "cost")
