"""Logs that grow, and alerts that a check of them would give: what fired by the log's end, as `check` promises."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from llm_monitoring.alerts.alert import COLUMNS
from llm_monitoring.alerts.grouping import TEXT
from llm_monitoring.results import iso

START = pd.Timestamp("2026-05-04", tz="UTC")


def at(hours: float) -> pd.Timestamp:
    return START + pd.Timedelta(hours=hours)


def alert(name: str = "a1", fired: float = 1, ended: float | None = None, **columns) -> dict:
    """One row of an alerts table, fired and ended so many hours after `START`."""
    row = dict.fromkeys(COLUMNS) | {
        "alert_id": name, "layer": "quality", "metric": "flagged_rate", "feature_id": "search", "fired_at": at(fired),
        "window_start": at(fired - 1), "value": 0.3, "expected": 0.1, "low": 0.2, "high": 0.4, "direction": "up",
        "severity": "warning", "n": 20, "designed_false_alarms_per_month": 0.1, "kind": "change", "rule": "chart",
        "message": f"search: {name} rose.", "version": name,
    }  # fmt: skip
    return row | columns | {"ended": None if ended is None else at(ended)}


def as_known_at(rows: list[dict], end: pd.Timestamp) -> pd.DataFrame:
    """What `check` gives of a log that reaches to `end`."""
    fired = [row for row in rows if row["fired_at"] <= end]
    names = list(dict.fromkeys([*COLUMNS, *(name for row in fired for name in row if name != "ended")]))
    table = pd.DataFrame([{name: row.get(name) for name in names} for row in fired], columns=names)
    table = table.astype({name: TEXT if kind == "str" else kind for name, kind in COLUMNS.items()})
    over = {row["alert_id"]: row["ended"] for row in fired if row["ended"] is not None and row["ended"] <= end}
    table.attrs["ended"] = {
        row["alert_id"]: iso(over[row["alert_id"]]) if row["alert_id"] in over else None for row in fired
    }
    return table


class GrowingLog:
    """A folder with a request an hour, as far as it was told to reach."""

    def __init__(self, folder: Path, reaches: float = 0):
        self.folder, self.count = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        self.grow(reaches)

    def grow(self, reaches: float) -> None:
        """Append requests up to so many hours after `START`, in one write."""
        lines = []
        while self.count <= reaches:
            row = {
                "request_id": f"r{self.count}",
                "timestamp": iso(at(self.count)),
                "feature_id": "search",
                "model_id": "m-1",
            }
            lines.append(json.dumps(row) + "\n")
            self.count += 1
        with (self.folder / "requests.jsonl").open("a") as file:
            file.write("".join(lines))

    def judge(self, request: int, hour: float) -> None:
        """Append a judgement of a request."""
        row = {
            "request_id": f"r{request}", "feature_id": "search", "quality_score": 2, "dimensions": {}, "flagged": True,
            "flag_reason": None, "judged_at": iso(at(hour)),
        }  # fmt: skip
        with (self.folder / "judgements.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
