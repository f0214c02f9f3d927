"""The time line of an incident: every answer a mark, what happened as lines, labels set where they cover the least."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from llm_monitoring.incident.drawing import dates_axis, moment, moments
from llm_monitoring.plotting import AMBER, INK, MUTE, RULE, VERMILION, axes


def timeline(answers: pd.DataFrame, events: pd.DataFrame, ax=None, narrow: bool = False):
    """What happened when, over the answers themselves.

    Parameters
    ----------
    answers : DataFrame
        timestamp, bad (true or false).
    events : DataFrame
        at, end (of a span), kind (span, change, event), label, short (for a phone).
    """
    with axes(ax, size=(8.4, 2.6)) as ax:
        at, bad = moments(answers["timestamp"]), answers["bad"].to_numpy(bool)
        ax.set_ylim(-1.0, 4.1)
        for chosen, level, colour in ((~bad, 0.0, MUTE), (bad, 0.62, VERMILION)):
            ax.axhline(level, color=RULE, lw=0.6, zorder=0)
            _ticks(ax, at[chosen], level, colour)
        _span_ofmoment(ax, at, events)
        left = ax.get_xlim()[0]
        ax.annotate("counted as bad", (left, 1.0), (2, 0), textcoords="offset points", color=VERMILION, va="bottom")
        ax.annotate(
            "each mark one answer: fine", (left, -0.42), (2, 0), textcoords="offset points", color=MUTE, va="top"
        )
        for row in events.to_dict("records"):
            if row["kind"] == "span":
                ax.axvspan(moment(row["at"]), moment(row["end"]), color=AMBER, alpha=0.28, lw=0, zorder=0)
            else:
                ax.axvline(moment(row["at"]), color=INK, lw=1, ls=(0, (4, 3)) if row["kind"] == "change" else "-")
        _place_labels(ax, events, "short" if narrow else "label")
        ax.set_yticks([])
        ax.grid(False)
        dates_axis(ax, 4 if narrow else 8, two_lines=narrow)
        return ax


def _ticks(ax, at: np.ndarray, level: float, colour: str) -> None:
    """Every answer a short upright line, all in one path: 2,000 of them stay small as SVG."""
    x = np.repeat(at, 3)
    y = np.tile([level - 0.18, level + 0.18, np.nan], len(at))
    ax.plot(x, y, color=colour, lw=1.1, solid_capstyle="butt", alpha=1 if len(at) < 400 else 0.55)


def _span_ofmoment(ax, at: np.ndarray, events: pd.DataFrame) -> None:
    seen = np.concatenate([at, moments(events["at"]), moments(events["end"].dropna())]).astype("datetime64[us]")
    first, last = seen.min(), seen.max()
    room = (last - first) * 0.04 + np.timedelta64(60_000_000, "us")
    ax.set_xlim(first - room, last + room)


def _place_labels(ax, events: pd.DataFrame, column: str) -> None:
    """Set each label beside its line, on the side and at the height where it covers the least."""
    from matplotlib import dates

    box = ax.get_window_extent()
    width = box.width * 72 / ax.figure.dpi
    low, high = ax.get_xlim()
    lines = [(dates.date2num(moment(t)) - low) / (high - low) * width for t in events["at"]]
    taken: list[tuple[float, float, float]] = []
    for here, row in sorted(zip(lines, events.to_dict("records"), strict=True), key=lambda pair: pair[0]):
        if row["kind"] == "span":
            here = (dates.date2num(moment(row["end"])) - low) / (high - low) * width
        long = 6.3 * max(len(line) for line in row[column].split("\n")) + 6
        best = min(
            itertools.product(("left", "right"), (3.65, 2.75, 1.85)),
            key=lambda place: _cost(here, long, place, lines, taken, width),
        )
        side, level = best
        start = here if side == "left" else here - long
        taken.append((start, start + long, level))
        at = row["end"] if row["kind"] == "span" else row["at"]
        ax.annotate(
            row[column], (moment(at), level), (5 if side == "left" else -5, 0), textcoords="offset points", ha=side,
            va="center", color=INK, linespacing=1.2,
        )  # fmt: skip


def _cost(
    here: float, long: float, place: tuple[str, float], lines: Sequence[float], taken: Sequence[tuple], width: float
) -> float:
    side, level = place
    start, end = (here + 4, here + long) if side == "left" else (here - long, here - 4)
    outside = max(0.0, end - width) + max(0.0, -start)
    covered = sum(max(0.0, min(end, e) - max(start, s)) for s, e, at in taken if at == level)
    crossed = sum(start < x < end for x in lines if abs(x - here) > 1)
    return 8 * outside + 8 * covered + 25 * crossed + (3.65 - level) * 4 + (side == "right")
