"""Features that end just as others begin: one feature under several names, as far as their traffic can tell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from llm_monitoring import windows
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.measurements import DAY, HOUR, WEEK
from llm_monitoring.alerts.scopes import Span
from llm_monitoring.wording import NBSP, listed, moment, number, one_line

LEAST = 20  # requests of a new name, and of the old one that are missing
ALIKE = 0.5, 2.0  # of the requests that the old name would have had at these hours
TOGETHER = 0.7, 1.4  # the same of several names together, which have more ways to come near
SAID = 4 * WEEK  # after its beginning; by then the new name has charts of its own
SHARED = 8 * DAY  # most that both names are asked at once, as while a deployment rolls out
PAUSED = 2 * DAY  # most that lies between them, or as long as the old name ever paused


def renamed(hours: pd.DataFrame, span: Span) -> list[dict]:
    """Names that are asked no more since others are, about as often together as the first were at the same hours.

    Parameters
    ----------
    hours : DataFrame
        `feature_id`, `hour`, `n`: requests, as `operation.hours_of` gives them.
    span : Span

    Returns
    -------
    list of dict
        `old`, `new` (lists of names; of one of them there is one), `since` (the first hour of the new names), `until` (a
        week after the last hour of the old ones, or the log's end), `n` and `usual` (requests of the new names between, and
        of the old ones in such hours). A name is in one of them at the most.
    """
    rows = hours[hours["n"] > 0].sort_values("hour")
    asked = {str(name): own.set_index("hour")["n"] for name, own in rows.groupby("feature_id")}
    begun = [name for name, own in asked.items() if _has_begun(own, span)]
    pairs = {
        (old, new)
        for new in begun
        for old, own in asked.items()
        if old != new and _handed_over(own, asked[new].index[0], span)
    }
    found = [_compared(asked, [old], [new], span) for old, new in sorted(pairs)]
    for names, place in ((sorted({old for old, _ in pairs}), 0), (sorted({new for _, new in pairs}), 1)):
        for name in names:
            others = sorted(pair[1 - place] for pair in pairs if pair[place] == name)
            if len(others) > 1:
                found.append(_compared(asked, *(([name], others), (others, [name]))[place], span))
    return _each_once([one for one in found if one is not None])


def _has_begun(own: pd.Series, span: Span) -> bool:
    """Whether a name was not there from the start, which had no other name, and began lately."""
    return bool(own.index[0] - span.start >= WEEK and span.asked - own.index[0] <= SAID)


def _handed_over(own: pd.Series, since: pd.Timestamp, span: Span) -> bool:
    """Whether a name was asked for a week, until another one began, and has been silent for longer than it ever was."""
    last = own.index[-1]
    pause = own.index.to_series().diff().max()
    if since - own.index[0] < WEEK or last - since > SHARED:
        return False
    return bool(since - last <= max(PAUSED, pause) and span.asked - last > pause)


def _compared(asked: Mapping[str, pd.Series], old: list[str], new: list[str], span: Span) -> dict | None:
    """How often new names are asked once the old ones are silent; None where that is not about as often as those were."""
    since = min(asked[name].index[0] for name in new)
    start = max(*(asked[name].index[0] for name in new), *(asked[name].index[-1] + HOUR for name in old))
    until = min(start + WEEK, windows.begin(span.asked, "1h") + HOUR)
    each = [float(own[(own.index >= start) & (own.index < until)].sum()) for own in (asked[name] for name in new)]
    usual = [_at_these_hours(own[own.index < since], since, start, until) for own in (asked[name] for name in old)]
    low, high = ALIKE if len(old) == len(new) == 1 else TOGETHER
    if min(*each, *usual) < LEAST or not low <= sum(each) / sum(usual) <= high:
        return None
    return {"old": old, "new": new, "since": since, "until": until, "n": round(sum(each)), "usual": sum(usual)}


def _at_these_hours(own: pd.Series, since: pd.Timestamp, start: pd.Timestamp, until: pd.Timestamp) -> float:
    """Requests of a name in its last two weeks before a moment, at the hours of the week from one moment to another, for one such week."""
    weeks = min(2, int((since - own.index[0]) / WEEK))
    asked = own[own.index >= since - weeks * WEEK]
    late = (pd.DatetimeIndex(asked.index) - start) % WEEK
    return float(asked[late < until - start].sum()) / weeks


def _each_once(found: list[dict]) -> list[dict]:
    """The likest first, two names before several, each name once."""
    out: list[dict] = []
    told: set[str] = set()
    for one in sorted(found, key=_unlike):
        names = {*one["old"], *one["new"]}
        if not names & told:
            out.append(one)
            told |= names
    return sorted(out, key=lambda one: (one["since"], one["new"]))


def _unlike(one: dict) -> tuple:
    several = len(one["old"]) + len(one["new"]) > 2
    return (abs(one["n"] / one["usual"] - 1) + 0.2 * several, one["old"], one["new"])


def suggestions(found: list[dict], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence for each, with the line for the plan; `groups` are the names that it has as one already.

    >>> pair = {"old": ["chat"], "new": ["assistant"], "n": 310, "usual": 298.0}
    >>> pair |= {"since": pd.Timestamp("2026-05-12T14:00Z"), "until": pd.Timestamp("2026-05-15T14:00Z")}
    >>> print(suggestions([pair], {})[0].replace(NBSP, " ").replace("; ", ";\\n"))
    renamed? assistant began on 12 May 14:00 UTC, as chat ended (310 requests by 15 May 14:00 UTC, chat usually had 298 at these hours);
    if they are one feature, [features] "assistant" = ["chat"] in the plan makes its charts go on
    """
    out = []
    for one in found:
        first, *more = one["new"]
        old, new = (listed([one_line(name) for name in one[which]]) for which in ("old", "new"))
        known = [same for name in (first, *more, *one["old"]) for same in groups.get(name, [])]
        names = dict.fromkeys([*known, *more, *one["old"]])
        line = f"{_toml(first)} = [{', '.join(map(_toml, names))}]"
        out.append(
            f"renamed? {new} began on {moment(one['since'])}, as {old} ended ({number(one['n'])}{NBSP}requests "
            f"by {moment(one['until'])}, {old} usually had {number(one['usual'])} at these hours); if they are one feature, "
            f"[features] {line} in the plan makes its charts go on"
        )
    return out


def _toml(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def with_new_names(events: list[Alert], found: list[dict]) -> list[Alert]:
    """The alerts, those of traffic that ended saying which name it may have gone to."""
    to = {old: one for one in found for old in one["old"]}

    def said(event: Alert) -> Alert:
        one = to.get(str(event.feature_id)) if event.metric == "request_count" and event.direction == "down" else None
        if one is None or event.words is None or event.over is not None or event.ended < one["since"]:
            return event
        new = listed([one_line(name) for name in one["new"]])
        return replace(event, words=f"{event.words}; perhaps renamed: {new} began then")

    return [said(event) for event in events]
