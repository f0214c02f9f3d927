"""Which flagged answers people read: a seeded random draw with equal chances, and its record. No verdicts here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import disk, times
from llm_monitoring.answers import judgements
from llm_monitoring.results import jsonable

if TYPE_CHECKING:
    from llm_monitoring.log import Log

STRATA = ["feature_id", "category", "model_id"]
JUDGED = ["quality_score", "flag_reason"]
COLUMNS = ["request_id", "timestamp", *STRATA, "user_input", "system_output", *JUDGED]


def draw_flagged(
    log: Log, alert: Mapping[str, Any] | pd.Series | None = None, n: int = 20, seed: int = 0
) -> pd.DataFrame:
    """Draw flagged answers at random, each with the same chance, spread over feature, category and model.

    A systematic draw from the answers sorted by stratum: a stratum with a third of the flags gives a third of the draw,
    to within one answer [1]_. The rows come in random order, so that a reader may stop at any of them.

    Parameters
    ----------
    log : Log
        Its `requests` and `judgements` are read; of several judgements of one request the latest that
        succeeded counts.
    alert : mapping or Series, optional
        A row of `lm.check`. Answers of its `feature_id` from its `window_start` on (without one, from a day before
        `fired_at`) to the log's end. Without an alert: all flagged answers.
    n : int
        How many at most.
    seed : int
        The same seed gives the same draw, in whatever order the log's rows stand.

    Returns
    -------
    DataFrame
        `request_id`, `timestamp`, `feature_id`, `category`, `model_id`, `user_input`, `system_output`,
        `quality_score`, `flag_reason`, `inclusion_probability`; no rows where nothing is flagged.

    References
    ----------
    .. [1] W. G. Cochran, Sampling Techniques, 3rd ed., 1977, section 8.5.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> log = lm.open_log("sample_data")                      # doctest: +SKIP
    >>> draw_flagged(log, n=3)["request_id"].tolist()         # doctest: +SKIP
    ['req-01744', 'req-08310', 'req-05021']
    """
    flagged = _flagged(log.requests, judgements(log))
    if alert is not None:
        flagged = flagged[_concerned(flagged, alert)]
    flagged = flagged.sort_values("request_id", ignore_index=True)
    generator = np.random.default_rng(seed)
    size = min(n, len(flagged))
    drawn = flagged.iloc[generator.permutation(_systematic(flagged[STRATA], size, generator))]
    chance = size / len(flagged) if size else np.nan
    return drawn.assign(inclusion_probability=chance).reset_index(drop=True)


def record(
    path: str | Path, draw: pd.DataFrame, alert: Mapping[str, Any] | pd.Series | None, n: int, seed: int
) -> Path:
    """Write beside the verdicts which answers were drawn, from which alert and with which seed."""
    target = record_path(path)
    content = {"alert": _name(alert), "n": n, "seed": seed, "request_ids": draw["request_id"].tolist()}
    disk.write(target, json.dumps(content, indent=1) + "\n")
    return target


def recorded(path: str | Path, alert: Mapping[str, Any] | pd.Series | None, n: int, seed: int) -> list[str] | None:
    """Read the ids of the draw recorded beside `path`; None where there is none for this alert, n and seed.

    A log grows while people read. With the record they go on with the answers that they began with.
    """
    target = record_path(path)
    if not target.exists():
        return None
    content = json.loads(target.read_text(encoding="utf-8"))
    wanted = {"alert": _name(alert), "n": n, "seed": seed}
    return content["request_ids"] if {key: content.get(key) for key in wanted} == wanted else None


def record_path(path: str | Path) -> Path:
    """Where the draw of a verdict file is written down.

    >>> record_path("reports/reviews.jsonl").as_posix()
    'reports/reviews.draw.json'
    """
    return Path(path).with_suffix(".draw.json")


def answers(log: Log, request_ids: list[str]) -> pd.DataFrame:
    """The answers with these ids, in this order, with the columns of a draw; ids no longer logged are left out."""
    flagged = _flagged(log.requests, judgements(log), flagged_only=False).set_index("request_id")
    return flagged.reindex([one for one in request_ids if one in flagged.index]).reset_index()


def alert_row(log: Log, alert: Any, plan: Any = None) -> Mapping[str, Any] | pd.Series | None:
    """The alert that a reader means: a row as it is, an `alert_id` looked for in the log, nothing for none.

    Raises
    ------
    ConfigError
        The log has no such alert, or what was given is no alert.
    """
    from llm_monitoring.alerts.alert import Alert, read_alert
    from llm_monitoring.alerts.checking import find_alert

    if alert is None or (isinstance(alert, str) and not alert):
        return None
    if isinstance(alert, str):
        return find_alert(log, alert, plan).to_dict()
    if not isinstance(alert, Mapping | pd.Series) or (_missing(alert, "fired_at") and _missing(alert, "window_start")):
        alert = read_alert(alert)  # refuses what is no alert, in words
    return alert.to_dict() if isinstance(alert, Alert) else alert


def _missing(alert: Mapping[str, Any] | pd.Series, name: str) -> bool:
    return alert.get(name) is None or bool(pd.isna(alert.get(name)))


def _flagged(requests: pd.DataFrame, judgements: pd.DataFrame, flagged_only: bool = True) -> pd.DataFrame:
    """Requests with the judgement that counts."""
    if flagged_only:
        judgements = judgements[judgements["flagged"].eq(True).fillna(False).astype(bool)]
    kept = judgements.reindex(columns=["request_id", *JUDGED])
    asked = requests.reindex(columns=[name for name in COLUMNS if name not in JUDGED])
    return asked.merge(kept, on="request_id", how="inner")[COLUMNS]


def _concerned(flagged: pd.DataFrame, alert: Mapping[str, Any] | pd.Series) -> pd.Series:
    start = _utc(alert["fired_at"]) - pd.Timedelta("1D") if _missing(alert, "window_start") else alert["window_start"]
    concerned = flagged["timestamp"] >= _utc(start)
    if _missing(alert, "feature_id"):
        return concerned
    return concerned & flagged["feature_id"].eq(alert["feature_id"])


def _systematic(strata: pd.DataFrame, size: int, generator: np.random.Generator) -> np.ndarray:
    if not size:
        return np.array([], dtype=int)
    within = strata.astype("string").fillna("").assign(luck=generator.random(len(strata)))
    order = within.sort_values([*strata.columns, "luck"]).index.to_numpy()
    step = len(order) / size
    return order[((generator.random() + np.arange(size)) * step).astype(int)]


def _utc(when: Any) -> pd.Timestamp:
    return times.moment(when, "alert fired_at")


def _name(alert: Mapping[str, Any] | pd.Series | None) -> Any:
    """What tells one alert from another: its id, or all that was given where it has none."""
    if alert is None:
        return None
    return jsonable(alert.get("alert_id") or dict(sorted(alert.items())))
