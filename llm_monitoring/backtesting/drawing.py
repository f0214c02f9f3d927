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
MOST_LINES = 5


def injections(table: pd.DataFrame, ax: Axes | None = None, narrow: bool = False) -> Axes:
    """Share of the cases seen, with its 95 % interval, by fault; the median delay behind it in words."""
    from llm_monitoring.backtesting.result import injection_words

    tried = table[table["n"] > 0]
    on_page = narrow  # whose caption says what is drawn
    with plotting.axes(ax, size=(8.4, 1.2 + 0.32 * max(len(tried), 1))) as ax:
        if tried.empty:
            plotting.nothing(ax, "No fault was planted.")
            return ax
        narrow = narrow or plotting.size_of(ax)[0] < 400
        shown = tried.head(plotting.rows_that_fit(ax))
        at = np.arange(len(shown))[::-1]
        rate, low, high = (shown[name].to_numpy(float) for name in ("found_rate", "low", "high"))
        ax.hlines(at, low, high, color=plotting.MUTE, lw=1.4)
        seen = rate >= 0.8
        ax.plot(rate[seen], at[seen], "o", ms=8, color=plotting.GREEN, clip_on=False, zorder=4)
        ax.plot(rate[~seen], at[~seen], "D", ms=7, color=plotting.VERMILION, clip_on=False, zorder=4)
        names = [one_line(injection_words(row), 40 if narrow else 44) for row in shown.to_dict("records")]
        if narrow:  # names stand over their line
            ax.set_yticks([])
            for place, name in zip(at, names):
                ax.annotate(name, (0, place), (0, 6), textcoords="offset points", va="bottom", color=plotting.INK)
        else:
            ax.set_yticks(at, names)
            ax.tick_params(axis="y", labelcolor=plotting.INK, pad=10)
        for place, row in zip(at, shown.itertuples()):
            words = "never" if not row.found_rate else _delay(row.median_delay_hours)
            ax.annotate(words, (1, place), (10, 0), textcoords="offset points", va="center", annotation_clip=False)
        ax.set(xlim=(0, 1), ylim=(-0.6, len(shown) - 0.2 + (0.4 if narrow else 0)))
        ax.set_xticks([0, 0.5, 1] if narrow else [0, 0.2, 0.4, 0.6, 0.8, 1])
        plotting.percent(ax, "x")
        ax.grid(False)
        ax.grid(True, axis="x")
        if not on_page:
            left_out = f"; the first {len(shown)} of {len(tried)}" if len(shown) < len(tried) else ""
            ax.set_xlabel(f"share of the cases seen, 95 % interval; median delay at the right{left_out}")
    return ax


def rates(frontier: pd.DataFrame, ax: Axes | None = None, narrow: bool = False) -> Axes:
    """Share of the cases seen by sampling rate, a line for each feature that was tried; see `typical_rows` for the size of the falls."""
    rows = typical_rows(frontier)
    with plotting.axes(ax, size=(8.4, 3.6)) as ax:
        for number_, (feature, own) in enumerate(rows.groupby("feature_id", sort=False)):
            look = plotting.series(number_)
            own = own.sort_values("rate")
            ax.plot(own["rate"], own["found_rate"], **look, ms=7, clip_on=False, label=one_line(feature, 24))
            here = own[own["current"]]
            ax.plot(here["rate"], here["found_rate"], "o", ms=14, mfc="none", mec=look["color"], mew=1.4, clip_on=False)
        ax.set_xscale("log")
        ends = (rows["rate"].min(), rows["rate"].max()) if len(rows) else (0.01, 1)
        ticks = [t for t in TICKS if ends[0] / 1.2 <= t <= ends[1] * 1.2]
        ax.set_xticks(ticks, [f"{100 * t:g} %" for t in ticks])
        ax.minorticks_off()
        ax.set(ylim=(0, 1.02), xlabel=f"share of requests judged (ring: now); {falls(rows)}")
        plotting.percent(ax)
        plotting.key_below(ax)
    return ax


def plan(table: pd.DataFrame, ax: Axes | None = None, narrow: bool = False) -> Axes:
    """Smallest fall that each feature shows within seven windows, by sampling rate; the features with most traffic."""
    busiest = table.groupby("feature_id")["traffic"].first().sort_values(ascending=False).index[:MOST_LINES]
    with plotting.axes(ax, size=(8.4, 3.6)) as ax:
        for number_, feature in enumerate(busiest):
            own = table[table["feature_id"] == feature]
            look = plotting.series(number_)
            ax.plot(own["rate"], own["drop_chart"], **look, ms=5, label=one_line(feature, 24))
            here = own[own["current"]]
            ax.plot(here["rate"], here["drop_chart"], "o", ms=13, mfc="none", mec=look["color"], mew=1.4)
        ax.set_xscale("log")
        ticks = [t for t in TICKS if table["rate"].min() / 1.2 <= t][:: 2 if narrow else 1]
        ax.set_xticks(ticks, [f"{100 * t:g} %" for t in ticks])
        ax.minorticks_off()
        ax.set(ylim=(0, None), xlabel="share of requests judged (ring: now)")
        plotting.key_below(ax)
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
