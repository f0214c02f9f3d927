"""The figures of the page: each drawn for 840 and for 352 px, so that 12 px stay 12 px; CSS shows one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.incident import drawing
from llm_monitoring.incident.scope import beside_others
from llm_monitoring.incident.time_line import timeline
from llm_monitoring.intervals import wilson
from llm_monitoring.plotting import svg
from llm_monitoring.reporting.outcome import answers_of, started

MOST_SLICES, MOST_CAUSES = 8, 4
WIDE, NARROW = 840, 352


def draw(name: str, results: Mapping[str, Any]) -> str:
    """One figure as SVG, twice.

    Parameters
    ----------
    name : str
        time, chart, who, why, mix, tri or portfolio.
    results : mapping
        As `story.tell` takes them.

    Returns
    -------
    str
        Two svg elements, of the classes ``wide`` and ``narrow``, with title and description for screen readers.
    """
    return _FIGURES[name](results)


def _both(
    paint: Callable[..., Any], name: str, title: str, words: str, heights: tuple[int, int],
    wide: tuple[int, int, int, int], narrow: tuple[int, int, int, int], width: int = WIDE,
) -> str:  # fmt: skip
    sizes = (("wide", (width, heights[0]), wide, False), ("narrow", (NARROW, heights[1]), narrow, True))
    return "\n".join(
        svg(lambda ax, slim=slim: paint(ax, slim), f"{name}-{css[0]}", title, words, size, margins, css)
        for css, size, margins, slim in sizes
    )


def _chart(results: Mapping[str, Any]) -> str:
    triage = results["triage"]
    frame = pd.DataFrame(triage["chart"])
    if triage.get("kind") == "standing":
        return _standing(triage, frame)
    changes = _named_changes(results, frame)
    loud = [row for row in triage["chart"] if row["alarm"]]
    of = triage["feature_id"] or "all features"
    words = f"{len(frame)} windows, {len(loud)} outside the limits"
    if loud:
        first = loud[0]
        words += f"; first {say.moment(first['window_start'])}: {say.amount(first['value'], triage['unit'])}"
        words += f", n {first['n']:,.0f}" if first["n"] is not None else ""
    return _both(
        lambda ax, slim: drawing.control_chart(frame, ax, triage["unit"], changes=changes, narrow=slim),
        "chart", f"Control chart of {say.metric_words(triage['metric'])} in {of}", f"{words}.",
        (320, 330), (56, 14, 10, 92), (48, 14, 8, 96),
    )  # fmt: skip


def _standing(triage: Mapping[str, Any], frame: pd.DataFrame) -> str:
    unit, limit = triage["unit"], triage.get("limit")
    of = triage["feature_id"] or "all features"
    words = "; ".join(
        f"{say.day(row['window_start'])}: {say.amount(row['value'], unit)}, n {row['n']:,}" for row in triage["chart"]
    )
    return _both(
        lambda ax, slim: drawing.standing_level(frame, ax, unit, limit, narrow=slim),
        "chart", f"{say.metric_words(triage['metric'])} in {of} over the log", f"{words}.",
        (300, 310), (56, 14, 10, 92), (48, 14, 8, 96),
    )  # fmt: skip


def _named_changes(results: Mapping[str, Any], frame: pd.DataFrame) -> dict[str, Any]:
    """The recorded changes that the causes are down to, where they fall within the chart."""
    isolate = results.get("isolate")
    if not isolate or not len(frame):
        return {}
    first, last = (pd.Timestamp(frame[name].iloc[i]) for name, i in (("window_start", 0), ("window_end", -1)))
    rows = [
        row for row in isolate["ranking"] if row["recorded"] and row["cause"] in isolate["candidates"] and row["at"]
    ]
    return {say.one_line(row["cause"], 24): row["at"] for row in rows if first <= pd.Timestamp(row["at"]) <= last}


def _time(results: Mapping[str, Any]) -> str:
    isolate = results["isolate"]
    answers, events = pd.DataFrame(isolate["answers"]), _events(results)
    bad = int(answers["bad"].sum())
    words = f"{len(answers):,} answers, {bad:,} of them bad. " + "; ".join(
        f"{row['label']}" if row["kind"] == "span" else f"{row['label']}, {say.moment(row['at'])}"
        for row in events.to_dict("records")
    ).replace("\n", " ")
    return _both(
        lambda ax, slim: timeline(answers, events, ax, narrow=slim),
        "time", f"Time line: {answers_of(isolate['where'])}", f"{words}.", (240, 300), (2, 8, 24, 30), (2, 8, 24, 44),
    )  # fmt: skip


def _events(results: Mapping[str, Any]) -> pd.DataFrame:
    isolate, triage = results["isolate"], results["triage"]
    onset, rows = isolate["onset"], []
    if onset.get("low"):
        ends = [say.moment(onset[name]).removesuffix(f"{say.NBSP}UTC") for name in ("low", "high")]
        rows.append(
            {
                "at": onset["low"],
                "end": onset["high"],
                "kind": "span",
                "label": f"start, 90 %:\n{ends[0]} to\n{ends[1]}",
                "short": f"start, 90 %:\n{ends[0]} to\n{ends[1]}",
            }
        )
    first, last = isolate["answers"][0]["timestamp"], isolate["answers"][-1]["timestamp"]
    for row in isolate["ranking"][:MOST_CAUSES]:
        near = row["recorded"] and row["at"] and first <= row["at"] <= last
        if near and (row["cause"] in isolate["candidates"] or row["probability"] >= 0.01):
            name = say.one_line(row["cause"], 18)
            words = say.one_line(say.cause_line(row), 40)
            rows.append({"at": row["at"], "end": None, "kind": "change", "label": words, "short": name})
    fired = triage["fired_at"]
    rows.append({"at": fired, "end": None, "kind": "event", "label": f"alert\n{say.moment(fired)}", "short": "alert"})
    return pd.DataFrame(rows, columns=["at", "end", "kind", "label", "short"])


def _who(results: Mapping[str, Any]) -> str:
    scope = results["scope"]
    rows = shown_slices(scope)
    apart = any("others" in row for row in rows)
    if apart:
        rows = [beside_others(row) for row in rows if row.get("others") is not None]
    names = ("the others", "here") if apart else ("before", "since")
    words = "; ".join(
        f"{row['label']}: {say.amount(row['before'], scope['unit'], like=row['after'])} to {say.amount(row['after'], scope['unit'])}, {row['verdict']}"
        for row in rows
    )
    high = len(rows)
    return _both(
        lambda ax, slim: drawing.slices(pd.DataFrame(rows), ax, scope["unit"], slim, names),
        "who", f"{say.metric_words(scope['metric'])} before and since, by slice", f"{words}.",
        (30 + 58 * high, 32 + 82 * high), (196, 4, 128, 28), (4, 4, 8, 28),
    )  # fmt: skip


def shown_slices(scope: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The answer on top, then the plain parts of the traffic, each once."""
    named = scope["slices"][:1] if scope["kind"] in ("slice", "all") else []
    labels = {row["label"] for row in named}
    return [*named, *(row for row in scope["leaves"] if row["label"] not in labels)][:MOST_SLICES]


def _why(results: Mapping[str, Any]) -> str:
    isolate = results["isolate"]
    rows = [row for i, row in enumerate(isolate["ranking"]) if i < MOST_CAUSES or row["cause"] in isolate["candidates"]]
    words = "; ".join(f"{say.cause_line(row)}: {say.probability(row['probability'])}" for row in rows)
    return _both(
        lambda ax, slim: drawing.causes(pd.DataFrame(rows), ax, narrow=slim),
        "why", "Probability of each possible cause", f"{words}.",
        (82 * len(rows), 116 * len(rows)), (0, 2, 0, 2), (0, 2, 0, 2),
    )  # fmt: skip


def _mix(results: Mapping[str, Any]) -> str:
    rows = mixed(results["scope"])
    words = "; ".join(
        f"{row['label']}: {say.amount(row['before'], 'share')} to {say.amount(row['after'], 'share')}" for row in rows
    )
    high = len(rows)
    return _both(
        lambda ax, slim: drawing.shares(pd.DataFrame(rows), ax, narrow=slim),
        "mix", f"Parts of the answers before and since {say.moment(started(results))}", f"{words}.",
        (30 + 58 * high, 32 + 82 * high), (196, 4, 128, 28), (4, 4, 8, 28),
    )  # fmt: skip


def mixed(scope: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each part's share of the answers seen, before and since, with Wilson intervals over all parts together."""
    totals = [sum(row[name] for row in scope["leaves"]) for name in ("n_before", "n_after")]
    level = 1 - 0.05 / max(len(scope["leaves"]), 1)
    made = []
    for row in scope["leaves"]:
        one: dict[str, Any] = {"label": row["label"], "n_before": row["n_before"], "n_after": row["n_after"]}
        for side, n, total in (("before", row["n_before"], totals[0]), ("after", row["n_after"], totals[1])):
            low, high = wilson(n, total, level)
            one |= {side: n / total if total else None, f"{side}_low": float(low), f"{side}_high": float(high)}
        grew, shrank = one["after_low"] > one["before_high"], one["after_high"] < one["before_low"]
        made.append({**one, "verdict": "grew" if grew else "shrank" if shrank else "no change seen"})
    return sorted(made, key=lambda row: -abs((row["after"] or 0) - (row["before"] or 0)))[:MOST_SLICES]


def _tri(results: Mapping[str, Any]) -> str:
    triage = results["triage"]
    p = triage["precision"]
    words = f"{triage['deserved']} of {triage['reviewed']} flags deserved, {say.amount(p['estimate'], 'share')} {say.span(p['low'], p['high'], 'share')}"
    decided = f", decided after {triage['decided_at']}" if triage["decided_at"] else ", not decided"
    return _both(
        lambda ax, slim: drawing.triage(pd.DataFrame(triage["reviews"]), ax, triage["wald"], triage["decided_at"]),
        "tri", "Share of flags that were deserved, as the review went on", f"{words}{decided}.",
        (320, 320), (48, 26, 16, 62), (44, 26, 14, 62), 760,
    )  # fmt: skip


def _portfolio(results: Mapping[str, Any]) -> str:
    frame = pd.DataFrame(results["triage"]["portfolio"])
    count = frame[["feature_id", "metric"]].drop_duplicates().shape[0]
    return _both(
        lambda ax, slim: drawing.portfolio(frame, ax, columns=1 if slim else 3),
        "portfolio", f"{count} quality charts", "None of them left its limits.",
        (150 * -(-count // 3) + 12, 130 * count + 12), (2, 4, 2, 20), (2, 4, 2, 20),
    )  # fmt: skip


_FIGURES = {
    "time": _time,
    "chart": _chart,
    "who": _who,
    "why": _why,
    "mix": _mix,
    "tri": _tri,
    "portfolio": _portfolio,
}
