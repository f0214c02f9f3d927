"""The time line of an incident: every answer a mark, what happened as lines, labels set where they cover the least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from llm_monitoring.incident.drawing import dates_axis, moment, moments
from llm_monitoring.plotting import AMBER, INK, MUTE, RULE, SOFT, VERMILION, axes

EVENT, EDGE = 60, 12  # how much it costs a label to cross the line of an event, or the edge of a span
APART = 6  # points between two labels


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
        for words, level, va, colour in (
            ("counted as bad", 1.0, "bottom", VERMILION),
            ("each mark one answer: fine", -0.42, "top", MUTE),
        ):
            ax.annotate(
                words, (left, level), (2, 0), textcoords="offset points", color=colour, va=va, bbox=SOFT, zorder=6
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

    width = ax.get_window_extent().width * 72 / ax.figure.dpi
    low, high = ax.get_xlim()

    def place(when) -> float:
        return (dates.date2num(moment(when)) - low) / (high - low) * width

    lines = [(place(row["at"]), EDGE if row["kind"] == "span" else EVENT) for row in events.to_dict("records")]
    taken: list[Box] = []
    for row in sorted(events.to_dict("records"), key=lambda row: moment(row["at"])):
        ends = [(side, row[name]) for name in ("end", "at") if pd.notna(row[name]) for side in ("left", "right")]
        words = row[column].split("\n")
        boxes = [_box(at, place(at), words, side, top) for side, at in ends for top in (4.0, 3.1, 2.6, 2.2)]
        best = min(boxes, key=lambda box: _cost(box, lines, taken, width))
        taken.append(best)
        crossing = any(best.start < line < best.end for line, price in lines if price == EVENT)
        ax.annotate(
            row[column], (moment(best.at), best.top), (5 if best.side == "left" else -5, 0), textcoords="offset points",
            ha=best.side, va="top", color=INK, linespacing=1.2, bbox=SOFT if crossing else None, zorder=6,
        )  # fmt: skip


class Box(NamedTuple):
    """Where a label would stand: the moment beside it, ends in points from the left, heights in the units of the axis."""

    at: pd.Timestamp
    side: str
    start: float
    end: float
    bottom: float
    top: float


def _box(at: pd.Timestamp, line: float, words: Sequence[str], side: str, top: float) -> Box:
    long = 6.2 * max(map(len, words))
    start = line + 5 if side == "left" else line - 5 - long
    return Box(at, side, start, start + long, top - 0.37 * len(words), top)


def _cost(box: Box, lines: Sequence[tuple[float, int]], taken: Sequence[Box], width: float) -> float:
    """What a label would cover; the edge of a span is no line, so words may cross it sooner."""
    outside = max(0.0, box.end - width) + max(0.0, -box.start)
    covered = sum(
        max(0.0, min(box.end, other.end) - max(box.start, other.start) + APART)
        for other in taken
        if box.bottom < other.top and other.bottom < box.top
    )
    crossed = sum(price for line, price in lines if box.start < line < box.end)
    return 8 * outside + 8 * covered + crossed + 4 * (4 - box.top) + (box.side == "right")
