"""Features that end just as another one begins: one feature under two names, as far as their traffic can tell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from llm_monitoring import windows
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.measurements import DAY, HOUR, WEEK
from llm_monitoring.alerts.scopes import Span
from llm_monitoring.wording import NBSP, moment, number, one_line

LEAST = 20  # requests of the new name, and of the old one that are missing
ALIKE = 0.5, 2.0  # of the requests that the old name would have had at these hours
SAID = 4 * WEEK  # after its beginning; by then the new name has charts of its own
SHARED = pd.Timedelta("2D")  # most that both names are asked at once, as while a deployment rolls out


def renamed(hours: pd.DataFrame, span: Span) -> list[dict]:
    """Pairs of names where one is asked no more since another is, about as often as the first was at the same hours.

    Parameters
    ----------
    hours : DataFrame
        `feature_id`, `hour`, `n`: requests, as `operation.hours_of` gives them.
    span : Span

    Returns
    -------
    list of dict
        `old`, `new`, `since` (the first hour of the new name), `until` (a week later, or the log's end), `n` and `usual` (requests of
        the new name between, and of the old one in such hours). A name is in one pair at the most.
    """
    rows = hours[hours["n"] > 0].sort_values("hour")
    asked = {str(name): own.set_index("hour")["n"] for name, own in rows.groupby("feature_id")}
    end = windows.begin(span.asked, "1h") + HOUR
    found = []
    for new, after in asked.items():
        since, before = after.index[0], min(after.index[0] + WEEK, end)
        # one that was there from the start had no other name
        if since - span.start < WEEK or span.asked - since > SAID:
            continue
        n = float(after[after.index < before].sum())
        for old, own in asked.items():
            if old == new or not _handed_over(own, since, span):
                continue
            usual = _at_these_hours(own[own.index < since], since, before)
            both = float(own[own.index >= since].sum())
            if usual >= LEAST and n >= LEAST and ALIKE[0] <= (n + both) / usual <= ALIKE[1]:
                found.append({"old": old, "new": new, "since": since, "until": before, "n": round(n), "usual": usual})
    return _paired(found)


def _handed_over(own: pd.Series, since: pd.Timestamp, span: Span) -> bool:
    """Whether a name was asked for a week, until another one began, and has been silent for longer than it ever was."""
    last = own.index[-1]
    pause = own.index.to_series().diff().max()
    if since - own.index[0] < WEEK or last - since > SHARED:
        return False
    return bool(since - last <= max(DAY, pause) and span.asked - last > pause)


def _at_these_hours(own: pd.Series, since: pd.Timestamp, before: pd.Timestamp) -> float:
    """Requests of a name's last two weeks at the hours of the week from one moment to another, for one such week."""
    weeks = min(2, int((since - own.index[0]) / WEEK))
    asked = own[own.index >= since - weeks * WEEK]
    late = (pd.DatetimeIndex(asked.index) - (since - weeks * WEEK)) % WEEK
    return float(asked[late < before - since].sum()) / weeks


def _paired(found: list[dict]) -> list[dict]:
    """The likest pairs first, each name once."""
    out: list[dict] = []
    for pair in sorted(found, key=lambda one: (abs(one["n"] / one["usual"] - 1), one["old"], one["new"])):
        if not any(pair["old"] == one["old"] or pair["new"] == one["new"] for one in out):
            out.append(pair)
    return sorted(out, key=lambda one: (one["since"], one["new"]))


def suggestions(found: list[dict], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence for each pair, with the line for the plan; `groups` are the names that it has as one already.

    >>> pair = {"old": "chat", "new": "assistant", "n": 310, "usual": 298.0}
    >>> pair |= {"since": pd.Timestamp("2026-05-12T14:00Z"), "until": pd.Timestamp("2026-05-15T14:00Z")}
    >>> print(suggestions([pair], {})[0].replace(NBSP, " ").replace("; ", ";\\n"))
    renamed? assistant began on 12 May 14:00 UTC, as chat ended (310 requests by 15 May 14:00 UTC, chat usually had 298 at these hours);
    if they are one feature, [features] "assistant" = ["chat"] in the plan makes its charts go on
    """
    out = []
    for one in found:
        old, new = one["old"], one["new"]
        names = dict.fromkeys([*groups.get(new, []), *groups.get(old, []), old])
        line = f"{_toml(new)} = [{', '.join(map(_toml, names))}]"
        out.append(
            f"renamed? {one_line(new)} began on {moment(one['since'])}, as {one_line(old)} ended ({number(one['n'])}{NBSP}requests "
            f"by {moment(one['until'])}, {one_line(old)} usually had {number(one['usual'])} at these hours); if they are one feature, "
            f"[features] {line} in the plan makes its charts go on"
        )
    return out


def _toml(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def with_new_names(events: list[Alert], found: list[dict]) -> list[Alert]:
    """The alerts, those of traffic that ended saying which name it may have gone to."""
    to = {one["old"]: one for one in found}

    def said(event: Alert) -> Alert:
        one = to.get(str(event.feature_id)) if event.metric == "request_count" and event.direction == "down" else None
        if one is None or event.words is None or event.over is not None or event.ended < one["since"]:
            return event
        return replace(event, words=f"{event.words}; perhaps renamed: {one_line(one['new'])} began then")

    return [said(event) for event in events]
