"""The page of a back-test: one file in the style of the incident page, nothing loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring import disk, plotting
from llm_monitoring import wording as say
from llm_monitoring.backtesting import drawing
from llm_monitoring.backtesting.result import BacktestResult, injection_words, not_tried
from llm_monitoring.reporting import blocks
from llm_monitoring.reporting.page import render

NAME = "backtest.html"
MOST_ROWS = 40
FOOTER = (
    "One file, no script, nothing loaded from elsewhere. A fault counts as seen if an alert reports it while it lasts; "
    "intervals are 95 %."
)


def write_page(result: BacktestResult, path: str | Path, source: str = "") -> Path:
    """Write a back-test as a page.

    Parameters
    ----------
    result : BacktestResult
    path : path
        A file, or a folder in which `backtest.html` is written.
    source : str
        What people call the log.

    Returns
    -------
    Path
        The file.
    """
    path = Path(path)
    path = path / NAME if path.is_dir() or not path.suffix else path
    disk.make_folder(path.parent)
    return disk.write(path, render(tell(result, source), lambda name: _figures(result)[name]()))


def tell(result: BacktestResult, source: str = "") -> dict[str, Any]:
    """The page as texts: headline, facts and sections; nothing is escaped here."""
    sections = [_faults(result), _rates(result), _plan(result), _incidents(result), _alerts(result)]
    real = result.incidents[~result.incidents["injected"]]
    told = result.said
    missed = not real["found"].dropna().astype(bool).all()
    return {
        "title": f"Back-test of {source or 'a log'}",
        "eyebrow": f"Back-test{f' of {source}' if source else ''}",
        "opening": "What it sees:",
        "tone": "bad" if missed else "good",
        "headline": f"{told[0]}.",
        "lede": " ".join(f"{part[:1].upper()}{part[1:]}." for part in told[1:]),
        "answers": [],
        "facts": _facts(result, real),
        "sections": [section for section in sections if section],
        "footer": FOOTER,
    }


def _facts(result: BacktestResult, real: pd.DataFrame) -> list[dict[str, str]]:
    ends = f"{_number(result.false_alarms_per_month_low)} to {_number(result.false_alarms_per_month_high)}"
    note = f"95 %: {ends}" + ("; an upper bound, no incidents were given" if result.upper_bound else "")
    facts = [
        ("Watched", f"{say.number(30 * result.months)} days", f"alerts that would have fired: {len(result.alerts)}"),
        ("Alarms nobody can explain", f"{_number(result.false_alarms_per_month)} a month", note),
        (
            "Asked for",
            f"{result.designed_false_alarms_per_month:g} a month",
            "false alarms of all charts and tests together",
        ),
    ]
    if len(real):
        judged = real["found"].dropna().astype(bool)
        apart = len(real) - len(judged)
        note = "those that you gave" + (f"; {apart} more outside of the log" if apart else "")
        facts.append(("Incidents", f"{int(judged.sum())} of {len(judged)} found", note))
    return [{"name": name, "value": value, "note": more} for name, value, more in facts]


def _section(ident: str, link: str, heading: str, parts: list, answer: str = "") -> dict[str, Any]:
    return {"id": ident, "link": link, "heading": heading, "answer": answer, "blocks": parts, "stages": []}


def _faults(result: BacktestResult) -> dict[str, Any] | None:
    table = result.injections
    if table.empty:
        return None
    rows = []
    tried = table[table["n"] > 0]
    for row in tried.to_dict("records"):
        rate = f"{say.amount(row['found_rate'], 'share')} {say.span(row['low'], row['high'], 'share')}"
        rate += f", {row['note']}" if row["note"] else ""
        rows.append(
            [
                injection_words(row),
                f"{row['n']}",
                rate,
                _hours(row["median_delay_hours"]),
                _usd(row["judge_cost_usd_per_month"]),
            ]
        )
    sure = int((tried["found_rate"] >= 0.8).sum())
    parts = [
        blocks.text(
            "Each fault was planted at seeded times into quiet stretches of the log, in the answers that there are; judged "
            "answers are hit only where the log's own sampling judged them. Trials that overlap count as fewer in the interval."
        ),
    ]
    if len(tried):
        parts += [
            blocks.figure(
                "faults", "Faults seen", "share of the cases; median delay at the right", "Green: 8 of 10 or more."
            ),
            blocks.table(["fault", "cases", "seen", "median delay", "judge, a month"], rows, numeric=(1, 2, 3, 4)),
        ]
    parts += [blocks.text(sentence) for sentence in not_tried(table)]
    return _section(
        "faults",
        "Faults planted",
        "What can be seen at all",
        parts,
        _how_many(sure, len(tried), len(table)),
    )


def _how_many(sure: int, tried: int, asked: int) -> str:
    """How many kinds and sizes of faults are seen, and how many could not be tried."""
    told = f"{sure} of {tried} kinds and sizes are seen in 8 of 10 cases or more." if tried else ""
    left = f"{asked - tried} of {asked} could not be tried." if tried < asked else ""
    return " ".join(part for part in (told, left) if part)


def _rates(result: BacktestResult) -> dict[str, Any] | None:
    table = result.frontier[result.frontier["n"] > 0]
    left = sorted(set(result.frontier["feature_id"]) - set(table["feature_id"]), key=str)
    not_tried = f"Not tried, as their charts are not quiet long enough: {', '.join(map(str, left))}." if left else ""
    if table.empty and not left:
        return None
    if table.empty:
        return _section(
            "rates", "Sampling rates", "What another sampling rate would see", [blocks.text(not_tried)], "Not tried."
        )
    budgets = table["false_alarms_per_month"].nunique() > 1
    head = [
        "feature",
        "size",
        "judged",
        *(["false alarms a month"] if budgets else []),
        "seen",
        "median delay",
        "answers a day",
        "judge, a month",
    ]
    rows: list[list[str]] = []
    hit: list[int] = []
    for row in table.to_dict("records"):
        hit += [len(rows)] if row["current"] else []
        seen = (
            "not tried"
            if not row["n"]
            else f"{say.amount(row['found_rate'], 'share')} {say.span(row['low'], row['high'], 'share')}"
        )
        rows.append([
            str(row["feature_id"]), f"{row['size']:+g}".replace("-", say.MINUS), f"{100 * row['rate']:.3g} %",
            *([f"{row['false_alarms_per_month']:g}"] if budgets else []), seen, _hours(row["median_delay_hours"]),
            say.number(row["judged_per_day"]), _usd(row["judge_cost_usd_per_month"]),
        ])  # fmt: skip
    more = f" The first {MOST_ROWS * 3} of {len(rows)} rows." if len(rows) > MOST_ROWS * 3 else ""
    parts = [
        blocks.text(
            "A lower rate leaves out judged answers. For a higher one answers that nobody judged are drawn from the feature's "
            "own scores. Seen by the chart of mean quality alone (of failed answers where the judge gives no scores)."
        ),
        *([blocks.text(not_tried)] if left else []),
        blocks.figure(
            "rates",
            "Seen by sampling rate",
            f"share of the cases, {drawing.falls(drawing.typical_rows(result.frontier))}",
            "A ring marks today's rate.",
        ),
        blocks.table(
            head, rows[: MOST_ROWS * 3], f"Marked: today's rate.{more}", numeric=tuple(range(1, len(head))), hit=hit
        ),
    ]
    return _section("rates", "Sampling rates", "What another sampling rate would see", parts)


def _plan(result: BacktestResult) -> dict[str, Any] | None:
    plan = result.sampling
    if plan is None:
        return None
    table = plan.to_frame()
    rows = [
        [
            str(row["feature_id"]), f"{100 * row['rate']:.3g} %", say.number(row["n_per_window"], 1), say.rounded(row["drop_chart"]),
            f"{row['delay_days']:.1f}", _usd(30 * row["usd_per_day"]),
        ]
        for row in table[table["current"]].to_dict("records")
    ]  # fmt: skip
    head = ["feature", "judged", "answers a window", "smallest fall", f"days to see {plan.drop:g}", "judge, a month"]
    parts = [
        blocks.text(
            "By arithmetic, for a chart with a known baseline: the smallest fall seen within seven windows on average. What a "
            "fall planted into the log needs is in the tables above."
        ),
        blocks.figure("plan", "Smallest fall seen within seven windows", "points", "A ring marks today's rate."),
        blocks.table(head, rows, "At today's rate.", numeric=(1, 2, 3, 4, 5)),
    ]
    return _section("plan", "Sampling plan", "The smallest fall that each feature can show", parts, plan.headline)


def _incidents(result: BacktestResult) -> dict[str, Any] | None:
    table = result.incidents[~result.incidents["injected"]]
    if table.empty:
        return None
    rows = [
        [
            str(row["incident_id"]), "all" if _none(row["feature_id"]) else str(row["feature_id"]), say.moment(row["started_at"], year=True),
            "outside of the log" if pd.isna(row["found"]) else "found" if row["found"] else "missed", _hours(row["delay_hours"]), "" if _none(row["alert_id"]) else str(row["alert_id"]),
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    head = ["incident", "feature", "started", "found", "delay", "alert"]
    missed = [i for i, row in enumerate(rows) if row[3] == "missed"]
    return _section(
        "incidents", "Incidents", "Incidents that happened", [blocks.table(head, rows, numeric=(4,), hit=missed)]
    )


def _alerts(result: BacktestResult) -> dict[str, Any]:
    table = result.alerts.sort_values(["fired_at", "alert_id"])
    rows = [
        [str(row["alert_id"]), say.moment(row["fired_at"], year=True), str(row["severity"]), str(row["message"])]
        for row in table.head(MOST_ROWS).to_dict("records")
    ]
    more = f"The first {MOST_ROWS} of {len(table)}." if len(table) > MOST_ROWS else ""
    parts = (
        [blocks.table(["alert", "fired", "severity", "what it says"], rows, more)]
        if rows
        else [blocks.text("No alert.")]
    )
    return _section("alerts", "Alerts", "The alerts that would have fired", parts)


def _figures(result: BacktestResult) -> dict[str, Any]:
    tried = result.injections[result.injections["n"] > 0]
    seen = "; ".join(
        f"{injection_words(row)}: {say.amount(row['found_rate'], 'share')}" for row in tried.to_dict("records")
    )
    rates = drawing.typical_rows(result.frontier)
    told = "; ".join(
        f"{row['feature_id']} at {100 * row['rate']:.3g} %: {say.amount(row['found_rate'], 'share')}"
        for row in rates.to_dict("records")
    )
    high = 70 + 26 * len(tried)
    return {
        "faults": lambda: _both(lambda ax, slim: drawing.injections(result.injections, ax, slim), "faults", "Share of the cases in which each fault was seen", seen, (high, 60 + 42 * len(tried)), (300, 12, 74, 44), (6, 12, 64, 30)),
        "rates": lambda: _both(lambda ax, slim: drawing.rates(result.frontier, ax, slim), "rates", "Share of the cases seen by sampling rate", told, (340, 420), (52, 12, 16, 110), (46, 12, 10, 190)),
        "plan": lambda: _both(lambda ax, slim: drawing.plan(result.sampling.table, ax, slim), "plan", "Smallest fall seen by sampling rate", result.sampling.headline, (340, 420), (52, 12, 16, 110), (46, 12, 10, 190)),  # type: ignore[union-attr]
    }  # fmt: skip


def _both(paint: Any, name: str, title: str, words: str, heights: tuple[int, int], wide: tuple, narrow: tuple) -> str:
    sizes = (("wide", (840, heights[0]), wide, False), ("narrow", (352, heights[1]), narrow, True))
    return "\n".join(
        plotting.svg(lambda ax, slim=slim: paint(ax, slim), f"{name}-{css[0]}", title, words, size, margins, css)
        for css, size, margins, slim in sizes
    )


def _none(value: Any) -> bool:
    return value is None or value != value


def _number(value: float) -> str:
    return "unknown" if np.isnan(value) else say.number(value, 1)


def _hours(hours: float) -> str:
    if _none(hours):
        return ""
    return f"{say.number(hours)} h" if hours < 48 else f"{say.number(hours / 24, 1)} days"


def _usd(usd: float) -> str:
    return "" if _none(usd) else f"{say.number(usd, 2)} USD"
