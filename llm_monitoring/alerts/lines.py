"""The alerts as lines of the command line: a sentence each, what is not watched, and what was expected by chance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llm_monitoring.alerts.unwatched import sentences
from llm_monitoring.results import jsonable
from llm_monitoring.wording import moment

if TYPE_CHECKING:
    import pandas as pd


def alert_lines(alerts: pd.DataFrame, as_json: bool) -> Iterator[str]:
    """What `llm-monitoring check` prints."""
    rows = jsonable(alerts)
    if as_json:
        yield from (json.dumps(row) for row in rows)
        return
    for row in rows:
        yield f"{moment(row['fired_at'], year=True)}  {row['severity']:8}  {row['message']}  [{row['alert_id']}]"
    if not rows:
        yield "no alert"
    yield from sentences(alerts.attrs.get("not_watched", []))
    yield from alerts.attrs.get("renamed", [])
    yield from (f"plan: {line}" for line in alerts.attrs.get("not_in_log", []))
    charts = alerts.attrs.get("charts")
    if charts and rows:
        budget = alerts.attrs["false_alarms_per_month"]
        yield f"Expected false alarms: {budget:g} a month over {charts} charts and tests together."
