"""The answers behind one window of a chart, the most telling first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from llm_monitoring import answers, engines
from llm_monitoring import wording as say
from llm_monitoring.measures import Measure
from llm_monitoring.results import jsonable

if TYPE_CHECKING:
    from llm_monitoring.log import Log

MOST_ANSWERS = 20
LONGEST = 4_000
TEXTS = ("user_input", "system_output")
COLUMNS = ["request_id", "timestamp", "value", *TEXTS, "flag_reason"]


def answers_in(
    log: Log, measure: Measure, feature: str | None, start: Any, end: Any, most: int = MOST_ANSWERS
) -> tuple[int, list[dict[str, Any]]]:
    """The answers that a window of a chart rests on.

    Parameters
    ----------
    log : Log
        Cut at `until` where one was chosen.
    measure : Measure
        What is charted.
    feature : str or None
    start, end : time
        The window.
    most : int
        How many are given.

    Returns
    -------
    number : int
        How many answers of the window have a value of the measure.
    rows : list of dict
        `request_id`, `at`, `value` (in words), `user_input`, `system_output`, `flag_reason`; worst first.
    """
    rows = answers.view_of(log, measure.of, [measure] if measure.sql or measure.column else [])
    at = rows["timestamp"]
    chosen = rows.filter((at >= pd.Timestamp(start)) & (at < pd.Timestamp(end)))
    if feature is not None:
        chosen = chosen.filter(chosen["feature_id"] == feature)
    if measure.judged:
        chosen = chosen.filter(chosen["__lm_series"] == (measure.judge or ""))
    kept = {name: chosen[name] for name in COLUMNS if name in chosen.columns and name != "value"}
    known = chosen.select(**kept, value=answers.value(chosen, measure).cast("float64"))
    known = known.filter(known["value"].notnull())
    worst = known["value"].asc() if measure.worse == "down" else known["value"].desc()
    number = engines.count(known)
    found = engines.run(known.order_by([worst, "timestamp", "request_id"]).limit(most)).to_pandas()
    if len(found) and not set(TEXTS) <= set(found.columns):
        found = _with_texts(log, found)
    return number, [_told(row, measure) for row in found.to_dict("records")]


def _with_texts(log: Log, found: pd.DataFrame) -> pd.DataFrame:
    """The rows with the texts of their requests, which a table of judgements does not hold."""
    requests = log.table("requests")
    asked = requests.filter(requests["request_id"].isin(found["request_id"].tolist()))
    names = ["request_id", *(name for name in TEXTS if name in asked.columns and name not in found.columns)]
    return found.merge(engines.run(asked.select(*names)).to_pandas(), on="request_id", how="left")


def _told(row: dict[Any, Any], measure: Measure) -> dict[str, Any]:
    value = float(row["value"])
    words = say.amount(value, measure.shown_in)
    if measure.kind == "proportion":
        words = (
            say.metric_words(measure.name).removeprefix("share of ").removesuffix(" rate")
            + f": {'yes' if value else 'no'}"
        )
    texts = {name: _cut(jsonable(row.get(name))) for name in (*TEXTS, "flag_reason")}
    return {"request_id": str(row["request_id"]), "at": say.moment(row["timestamp"]), "value": words, **texts}


def _cut(text: Any) -> str | None:
    if text is None:
        return None
    return say.cut(str(text), LONGEST)
