"""Incidents that happened: read from a table, a file or a folder of reports, and set against the alerts of a replay."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from llm_monitoring import times
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.measures import Measure, is_known, measure

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
        return _checked(pd.DataFrame(_of_reports(path), columns=list(COLUMNS)), str(path))
    if not path.is_file():
        raise ConfigError(f"incidents {quote(str(path))}: no such file or folder; {WANTED}")
    if path.suffix.lower() == ".csv":
        return _checked(pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""]), path.name)
    rows = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if line.strip():
            rows.append(_json_row(line, f"{path.name} line {number}"))
    return _checked(pd.DataFrame(rows), path.name)


def _json_row(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise ConfigError(f"{place}: {quote(line)}; expected one JSON object a line, with incident_id and started_at")
    return row


def _of_reports(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for file in sorted(folder.glob("*/results/triage.json")):
        triage = json.loads(file.read_text("utf-8"))
        if triage.get("verdict") == "false_positive":
            continue
        isolate = file.with_name("isolate.json")
        onset = json.loads(isolate.read_text("utf-8")).get("onset") or {} if isolate.is_file() else {}
        started = onset.get("at") or triage.get("window_start") or triage.get("fired_at")
        if started is not None:
            named = {name: triage.get(name) for name in ("feature_id", "metric")}
            rows.append({"incident_id": file.parent.parent.name, "started_at": started, "ended_at": None, **named})
    return rows


def _checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
    lacking = [column for column in COLUMNS[:2] if column not in table]
    if lacking and len(table):
        raise ConfigError(f"{name}: no column {' and no column '.join(map(repr, lacking))}; {WANTED}")
    out: dict[str, list[Any]] = {column: [] for column in COLUMNS}
    faults: list[str] = []
    for number, row in enumerate(table.to_dict("records")):
        place = f"{name} row {number}"
        known = {column: None if _absent(row.get(column)) else row[column] for column in COLUMNS}
        try:
            for column in COLUMNS[:2]:
                if known[column] is None:
                    raise ConfigError(f"{place}, {column}: unknown; expected a value in every row")
            for column in ("started_at", "ended_at"):
                if known[column] is not None:
                    known[column] = times.moment(known[column], f"{place}, {column}")
            if known["ended_at"] is not None and known["ended_at"] < known["started_at"]:
                raise ConfigError(f"{place}, ended_at: {known['ended_at']}; expected a time after started_at")
        except ConfigError as fault:
            faults.append(str(fault))
            continue
        for column in COLUMNS:
            out[column].append(known[column] if column.endswith("_at") or known[column] is None else str(known[column]))
    if faults:
        raise ConfigError("\n".join(faults))
    frame = pd.DataFrame(out, dtype=object)
    if frame["incident_id"].duplicated().any():
        twice = frame.loc[frame["incident_id"].duplicated(), "incident_id"].iloc[0]
        raise ConfigError(f"{name}: incident_id {quote(twice)} occurs twice; expected one row for each incident")
    for column in ("started_at", "ended_at"):
        frame[column] = pd.to_datetime(frame[column], utc=True).astype("datetime64[us, UTC]")
    return frame.sort_values(["started_at", "incident_id"], ignore_index=True)


def _absent(value: Any) -> bool:
    return value is None or value == "" or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def matched(
    incidents: pd.DataFrame, alerts: pd.DataFrame, own: tuple[Measure, ...] = ()
) -> tuple[pd.DataFrame, pd.Series]:
    """What the alerts made of the incidents.

    An alert tells of an incident where it fired while that lasted (up to two days after its end, or within 14 days of the
    start where the end is unknown), of the same feature (an incident or alert of no feature is of all), and, where the
    incident names a metric, of that metric or of one that rests on the same rows of the log.

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
        rows.append({
            "incident_id": incident["incident_id"], "found": bool(first),
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
