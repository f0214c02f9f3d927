"""Figures of a back-test: planted faults by size, and what each sampling rate sees. Drawn on axes, nothing computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import plotting
from llm_monitoring.wording import NBSP, number, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TYPICAL, HALF = 0.2, 0.5  # the fall that is shown, if half of the cases show it at some rate
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
MARKS = ("o", "s", "D", "^", "v")
COLOURS = (plotting.BLUE, plotting.VERMILION, plotting.GREEN, plotting.AMBER, plotting.INK)


def injections(table: pd.DataFrame, ax: Axes | None = None, narrow: bool = False) -> Axes:
    """Share of the cases seen, with its 95 % interval, by fault; the median delay behind it in words."""
    from llm_monitoring.backtesting.result import injection_words

    tried = table[table["n"] > 0]
    with plotting.axes(ax, size=(8.4, 1.2 + 0.32 * max(len(tried), 1))) as ax:
        at = np.arange(len(tried))[::-1]
        rate, low, high = (tried[name].to_numpy(float) for name in ("found_rate", "low", "high"))
        ax.hlines(at, low, high, color=plotting.MUTE, lw=1.4)
        seen = rate >= 0.8
        ax.plot(rate[seen], at[seen], "o", ms=8, color=plotting.GREEN, clip_on=False, zorder=4)
        ax.plot(rate[~seen], at[~seen], "D", ms=7, color=plotting.VERMILION, clip_on=False, zorder=4)
        names = [one_line(injection_words(row), 40 if narrow else 44) for row in tried.to_dict("records")]
        if narrow:  # names stand over their line
            ax.set_yticks([])
            for place, name in zip(at, names):
                ax.text(0, place + 0.28, name, va="bottom", ha="left", color=plotting.INK)
        else:
            ax.set_yticks(at, names)
            ax.tick_params(axis="y", labelcolor=plotting.INK, pad=10)
        for place, row in zip(at, tried.itertuples()):
            words = "never" if not row.found_rate else _delay(row.median_delay_hours)
            ax.annotate(words, (1, place), (10, 0), textcoords="offset points", va="center", annotation_clip=False)
        ax.set(xlim=(0, 1), ylim=(-0.6, max(len(tried) - 0.2, 0.6) + (0.4 if narrow else 0)))
        ax.set_xticks([0, 0.5, 1] if narrow else [0, 0.2, 0.4, 0.6, 0.8, 1])
        plotting.percent(ax, "x")
        ax.grid(False)
        ax.grid(True, axis="x")
        if not narrow:
            ax.set_xlabel("share of the cases seen, 95 % interval; median delay at the right")
    return ax


def rates(frontier: pd.DataFrame, ax: Axes | None = None, narrow: bool = False) -> Axes:
    """Share of the cases seen by sampling rate, a line for each feature that was tried; see `typical_rows` for the size of the falls."""
    rows = typical_rows(frontier)
    with plotting.axes(ax, size=(8.4, 3.6)) as ax:
        for number_, (feature, own) in enumerate(rows.groupby("feature_id", sort=False)):
            colour, mark = COLOURS[number_ % len(COLOURS)], MARKS[number_ % len(MARKS)]
            own = own.sort_values("rate")
            ax.plot(
                own["rate"],
                own["found_rate"],
                mark + "-",
                color=colour,
                ms=7,
                clip_on=False,
                label=one_line(str(feature), 24),
            )
            here = own[own["current"]]
            ax.plot(here["rate"], here["found_rate"], mark, ms=13, mfc="none", mec=colour, mew=1.4, clip_on=False)
        ax.set_xscale("log")
        ends = (rows["rate"].min(), rows["rate"].max()) if len(rows) else (0.01, 1)
        ticks = [t for t in TICKS if ends[0] / 1.2 <= t <= ends[1] * 1.2]
        ax.set_xticks(ticks, [f"{100 * t:g} %" for t in ticks])
        ax.minorticks_off()
        ax.set(ylim=(0, 1.02), xlabel=f"share of requests judged (ring: now); {falls(rows)}")
        plotting.percent(ax)
        if len(rows):
            ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.2), ncols=1 if narrow else 3)
    return ax


def plan(table: pd.DataFrame, ax: Axes | None = None, narrow: bool = False) -> Axes:
    """Smallest fall that each feature shows within seven windows, by sampling rate; the features with most traffic."""
    busiest = table.groupby("feature_id")["traffic"].first().sort_values(ascending=False).index[: len(MARKS)]
    with plotting.axes(ax, size=(8.4, 3.6)) as ax:
        for number_, feature in enumerate(busiest):
            own = table[table["feature_id"] == feature]
            colour, mark = COLOURS[number_ % len(COLOURS)], MARKS[number_ % len(MARKS)]
            ax.plot(own["rate"], own["drop_chart"], mark + "-", color=colour, ms=5, label=one_line(str(feature), 24))
            here = own[own["current"]]
            ax.plot(here["rate"], here["drop_chart"], mark, ms=13, mfc="none", mec=colour, mew=1.4)
        ax.set_xscale("log")
        ticks = [t for t in TICKS if table["rate"].min() / 1.2 <= t][:: 2 if narrow else 1]
        ax.set_xticks(ticks, [f"{100 * t:g} %" for t in ticks])
        ax.minorticks_off()
        ax.set(ylim=(0, None), xlabel="share of requests judged (ring: now)")
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.2), ncols=1 if narrow else 3)
    return ax


def typical_rows(frontier: pd.DataFrame) -> pd.DataFrame:
    """The rows that were tried at the first budget, of a fall of one size: 0.2, or the least that half of the cases show.

    The least is taken where hardly anything is seen of 0.2 at any rate, the largest where nothing is seen of any size.
    """
    tried = frontier[frontier["n"] > 0]
    if tried.empty:
        return tried
    rows = tried[tried["false_alarms_per_month"] == tried["false_alarms_per_month"].iloc[0]]
    size = rows["size"].abs()
    far = (size - TYPICAL).abs()
    usual = rows[far == far.groupby(rows["feature_id"]).transform("min")]
    if usual["found_rate"].max() >= HALF:
        return usual
    seen = size[rows["found_rate"] >= HALF]
    far = (size - (seen.min() if len(seen) else size.max())).abs()
    return rows[far == far.groupby(rows["feature_id"]).transform("min")]


def falls(rows: pd.DataFrame) -> str:
    """The sizes of these falls in words."""
    sizes = sorted(set(rows["size"].abs()))
    return f"falls of {' and '.join(f'{size:g}' for size in sizes)}" if sizes else "falls"


def _delay(hours: Any) -> str:
    return f"{number(hours)}{NBSP}h" if hours < 48 else f"{number(hours / 24, 1)}{NBSP}d"
