"""What the incident stages draw: tables in, axes out, nothing computed. Columns are those of the stage results.

Rules: before = hollow circle, since = filled diamond, undecided = hollow with a broken line; the word stands beside the
colour, n beside every estimate, intervals are always drawn, dashes mark recorded changes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring.plotting import (
    BAND,
    BLUE,
    CENTRE,
    INK,
    MUTE,
    PAPER,
    RULE,
    SOFT,
    TONE,
    VERMILION,
    axes,
    call_out,
    days,
    mark_change,
    nothing,
    settle,
    size_of,
    small_chart,
)
from llm_monitoring.wording import NBSP, amount, cause_line, in_large_unit, one_line, probability

SURE = ("worse", "better")


def control_chart(
    frame: pd.DataFrame, ax=None, unit: str = "share", changes: Mapping[str, Any] | None = None, narrow: bool = False
):
    """One measure over time with what is expected and the limits of chance; below it n of each window.

    Parameters
    ----------
    frame : DataFrame
        window_start, window_end, value, n, center, lower, upper, alarm (None while the window is open), and where known
        statistic (what the limits are for).
    ax : Axes, optional
    unit : str
        share, score, ms, usd or count: how a value is printed. All but scores start at 0.
    changes : mapping, optional
        Recorded changes to mark: words -> time.
    narrow : bool
        Drawn for a phone.

    Returns
    -------
    Axes

    Examples
    --------
    >>> day = {"window_start": "2026-05-11", "window_end": "2026-05-12", "value": 0.04, "n": 40}
    >>> ax = control_chart(pd.DataFrame([{**day, "center": 0.04, "lower": 0.0, "upper": 0.1, "alarm": False}]))
    >>> len(ax.child_axes)
    1
    """
    with axes(ax) as ax:
        start, end = moments(frame["window_start"]), moments(frame["window_end"])
        at = start + (end - start) / 2
        value, n = _numbers(frame, "value"), _numbers(frame, "n")
        alarm = frame["alarm"].map({True: 1.0, False: 0.0}).astype(float).to_numpy()
        named = _limits(ax, frame, start, end)
        charted = np.isfinite(alarm)
        size = float(np.clip(420 / max(len(frame), 1), 2.5, 6))
        watched = _numbers(frame, "statistic") if "statistic" in frame else np.full(len(at), np.nan)
        ax.plot(at[charted], value[charted], color=BLUE, lw=0.9 if np.isfinite(watched).any() else 1.2, zorder=2)
        ax.plot(at, watched, color=INK, lw=1.8, zorder=2.5)
        for chosen, style in (
            (alarm == 0, {"marker": "o", "ms": size, "mfc": PAPER, "mec": BLUE, "mew": 1.4, "zorder": 3}),
            (alarm == 1, {"marker": "D", "ms": size + 1.5, "mfc": VERMILION, "mec": PAPER, "mew": 0.8, "zorder": 4}),
            (~charted, {"marker": "D", "ms": size, "mfc": PAPER, "mec": VERMILION, "mew": 1.3, "zorder": 3}),
        ):
            ax.plot(at[chosen], value[chosen], ls="none", clip_on=False, **style)
        _level_axis(ax, frame, unit)
        pad = (end[-1] - start[0]) * 0.03
        ax.set_xlim(start[0] - pad / 3, end[-1] + pad)
        _counts_below(ax, at, end - start, n, narrow)
        settle(ax)
        taken: list = []
        for words, when in (changes or {}).items():
            side = "right" if moment(when) > start[len(start) // 2] else "left"
            mark_change(ax, moment(when), words, side=side, taken=taken)
        _call_outs(ax, at, value, n, alarm, unit, taken)
        if named is not None:
            spots, limited = named
            words = "expected, and the limits of chance" if limited else "expected"
            words = words if size_of(ax)[0] > 360 else words.replace(" the", "\nthe")
            call_out(ax, spots, words, MUTE, taken, "normal", 3)
        return ax


def standing_level(frame: pd.DataFrame, ax=None, unit: str = "share", limit: float | None = None, narrow: bool = False):
    """A level over time with its interval, beside its limit; nothing is marked as before or since.

    Parameters
    ----------
    frame : DataFrame
        window_start, window_end, value, low, high, n.
    limit : float, optional
    """
    with axes(ax) as ax:
        start, end = moments(frame["window_start"]), moments(frame["window_end"])
        at = start + (end - start) / 2
        value, low, high = (_numbers(frame, name) for name in ("value", "low", "high"))
        ax.vlines(at, low, high, color=VERMILION, lw=1.6)
        ax.plot(at, value, "D", color=VERMILION, ms=6, mec=PAPER, mew=0.8, zorder=3)
        seen = np.concatenate([value, low, high, [] if limit is None else [limit]])
        seen = seen[np.isfinite(seen)]
        room = 0.2 * (seen.max() - seen.min()) or 0.1 * abs(seen.max()) or 1.0
        ax.set_ylim(max(0.0, seen.min() - room) if unit == "score" else 0, seen.max() + room)
        _say_unit(ax, "y", unit, 4)
        pad = (end[-1] - start[0]) * 0.03
        ax.set_xlim(start[0] - pad, end[-1] + pad)
        if limit is not None:
            ax.axhline(limit, color=INK, lw=1, ls=(0, (4, 3)))
            words = f"limit {amount(limit, unit)}"
            ax.annotate(
                words, (end[-1], limit), (0, 4), textcoords="offset points", ha="right", va="bottom", color=INK, bbox=SOFT,
                zorder=6,
            )  # fmt: skip
        _counts_below(ax, at, end - start, _numbers(frame, "n"), narrow)
        return ax


def slices(frame: pd.DataFrame, ax=None, unit: str = "share", narrow: bool = False, names=("before", "since")):
    """Each slice before (circle) and since (diamond), with intervals, its verdict and n.

    Parameters
    ----------
    frame : DataFrame
        label, verdict, before, before_low, before_high, after, after_low, after_high, n_before, n_after; best first.
    names : (str, str)
        What the circle and the diamond are.
    """
    with axes(ax, size=(8.4, 0.6 + 0.62 * max(len(frame), 1))) as ax:
        narrow = narrow or size_of(ax)[0] < 400
        gap, middle = (0.11, -0.26) if narrow else (0.17, 0.0)
        rows = _that_fit(frame, ax, 54 if narrow else 28).reset_index(drop=True)
        low, high = _reach(rows, unit)
        for k, row in enumerate(rows.to_dict("records")):
            y = len(rows) - 1.0 - k
            sure = row["verdict"] in SURE
            colour = TONE.get(row["verdict"], MUTE)
            if k % 2 == 0:
                ax.axhspan(y - 0.5, y + 0.5, color=BAND, lw=0, zorder=0, alpha=0.6)
            _estimate(ax, row, "before", y + middle + gap, BLUE, "o", True, hollow=True)
            _estimate(ax, row, "after", y + middle - gap, colour, "D", sure, hollow=not sure)
            _row_words(ax, row, y, gap, sure, narrow)
        if len(rows):
            _name_marks(ax, rows.iloc[0], len(rows) - 1.0 + middle, gap, low, high, names)
        ax.set_ylim(-0.55, max(len(rows), 1) - 0.45)
        ax.set_xlim(low, high)
        ax.set_yticks([])
        ax.grid(True, axis="x")
        ax.grid(False, axis="y")
        _say_unit(ax, "x", unit, 5 if narrow else 6)
        return ax


def causes(frame: pd.DataFrame, ax=None, narrow: bool = False):
    """Possible causes, best first: a bar of probability, the name, the strongest evidence.

    The smallest set that holds 0.9 is blue and bold; hatched means that nobody recorded it.

    Parameters
    ----------
    frame : DataFrame
        cause, description, probability, recorded, evidence (list of str).
    """
    own = ax is None
    with axes(ax, size=(8.4, 0.95 * max(len(frame), 1))) as ax:
        if len(frame) == 1 and frame["probability"].iloc[0] > 0.995:  # one full bar says nothing
            row = _rows(frame)[0]
            nothing(ax, " ".join([f"{cause_line(row)}.".capitalize(), *(row.get("evidence") or [])[:1]]))
            return ax
        ax.axis("off")
        settle(ax)
        narrow = narrow or size_of(ax)[0] < 400
        width = 78 if own else int(size_of(ax)[0] / 7)  # letters that fit on a line
        frame = _that_fit(frame, ax, 92 if narrow else 62)
        high = min(0.16, 13 / (size_of(ax)[1] / max(len(frame), 1)))
        above = 0.5 * high + 0.05
        share = _numbers(frame, "probability")
        leads = np.cumsum(share) - share < 0.9
        for k, row in enumerate(_rows(frame)):
            y, weight = len(frame) - 1.0 - k, "bold" if leads[k] else "normal"
            ax.barh(y, 1, height=high, color=BAND, lw=0)
            ax.barh(
                y, share[k], height=high, lw=0, edgecolor=PAPER, color=BLUE if leads[k] else MUTE,
                hatch=None if row["recorded"] else "////",
            )  # fmt: skip
            lines = 2 if narrow else 1
            words = _wrapped(cause_line(row), int((width - 8) * (0.92 if leads[k] else 1)), lines)  # bold is wider
            ax.text(0, y + above, words, va="bottom", weight=weight, linespacing=1.15)
            ax.text(1, y + above, probability(share[k]), va="bottom", ha="right", weight=weight)
            evidence = next(iter(row.get("evidence") or []), "")
            ax.text(0, y - above, _wrapped(evidence, width + 2, lines + 1), va="top", color=MUTE, linespacing=1.15)
        ax.set_xlim(0, 1)
        ax.set_ylim(-0.5, max(len(frame), 1) - 0.5)
        return ax


def triage(
    frame: pd.DataFrame,
    ax=None,
    wald: Mapping[str, Any] | None = None,
    decided_at: int | None = None,
    planned: int = 20,
):
    """The share of flags that were deserved as the review went on, with Wald's boundaries where they are known.

    Parameters
    ----------
    frame : DataFrame
        verdict (real, false_positive, unsure), share, low, high; in reading order.
    wald : mapping, optional
        p_real and p_false: the deserved share under the two hypotheses.
    decided_at : int, optional
        After how many reviews the test could stop.
    """
    with axes(ax) as ax:
        planned = max(planned, len(frame))
        _boundaries(ax, wald or {}, planned)
        k = np.arange(1, len(frame) + 1)
        share = _numbers(frame, "share")
        ax.vlines(k, _numbers(frame, "low"), _numbers(frame, "high"), color=MUTE, lw=1)
        ax.plot(k, share, "o", color=INK, ms=5.5, clip_on=False)
        signs = {"real": ("D", VERMILION, VERMILION), "false_positive": ("o", PAPER, BLUE), "unsure": ("x", MUTE, MUTE)}
        for i, verdict in zip(k, frame["verdict"], strict=True):
            marker, face, line = signs[verdict]
            ax.plot(i, -0.09, marker, ms=6, mfc=face, mec=line, mew=1.4, clip_on=False)
        if decided_at and decided_at <= len(frame):
            here = (decided_at, share[decided_at - 1])
            ax.plot(*here, "D", ms=9, mfc=VERMILION, mec=PAPER, zorder=5, clip_on=False)
            ax.annotate(
                f"decided after {decided_at}", here, (0, 9), textcoords="offset points", annotation_clip=False,
                va="bottom", ha="center" if 2 < decided_at < planned - 2 else "left" if decided_at <= 2 else "right",
                color=VERMILION, weight="bold",
            )  # fmt: skip
        ax.set_xlim(0.4, planned + 0.5)
        ax.set_ylim(0, 1)
        ax.set_xticks([1, *range(5, planned + 1, 5)])
        ax.tick_params(axis="x", pad=30, length=0)
        _say_unit(ax, "y", "share", 5)
        return ax


def portfolio(frame: pd.DataFrame, ax=None, columns: int = 3):
    """Small multiples: one chart per feature and metric, each with its own axis.

    Parameters
    ----------
    frame : DataFrame
        feature_id, metric, unit, window_start, value, statistic, center, lower, upper, alarm.
    """
    with axes(ax, size=(8.4, 1.5 * -(-max(_charts(frame), 1) // columns)), filled=True) as ax:
        ax.axis("off")
        wide, tall = size_of(ax)
        columns = min(columns, max(int(wide / 170), 1))
        groups = list(frame.groupby(["feature_id", "metric"], sort=False, dropna=False))
        groups = groups[: max(int(tall / 60), 1) * columns]
        if not groups:
            nothing(ax, "No chart: too few windows, or nothing judged.")
        rows = -(-max(len(groups), 1) // columns)
        for k, ((feature, metric), one) in enumerate(groups):
            row, column = divmod(k, columns)
            box = [column / columns + 0.012, 1 - (row + 1) / rows + 0.2 / rows, 1 / columns - 0.03, 0.5 / rows]
            _small(ax.inset_axes(box), str(feature), str(metric), one, last=row == rows - 1)
        return ax


def shares(frame: pd.DataFrame, ax=None, narrow: bool = False):
    """How the traffic is made up before (circle) and since (diamond), with intervals.

    Parameters
    ----------
    frame : DataFrame
        label, verdict (grew, shrank, no change seen), before, before_low, ..., after_high, n_before, n_after.
    """
    words = frame["verdict"].map({"grew": "worse", "shrank": "worse"}).fillna("no change seen")
    drawn = slices(frame.assign(verdict=words), ax, "share", narrow)
    for text in drawn.texts:
        text.set_text(text.get_text().replace("worse", "moved"))
    return drawn


def progress(done: float, needed: float, words: str, ax=None, of: str = "answers"):
    """How far a count has come: a bar between its words and the count; the words alone where there is nothing to come."""
    with axes(ax, size=(8.4, 1.3)) as ax:
        if not 0 <= done < needed:
            nothing(ax, f"{words[:1].upper()}{words[1:]}.")
            return ax
        high = 13 / size_of(ax)[1]
        ax.barh(0.5, 1, height=high, color=BAND, lw=0)
        ax.barh(0.5, done / needed, height=high, color=BLUE, lw=0)
        letters = int(size_of(ax)[0] / 7)
        ax.annotate(_wrapped(words, letters, 3), (0, 0.5), (0, 12), textcoords="offset points", va="bottom")
        count = f"{done:,.0f} of {needed:,.0f} {of}"
        ax.annotate(count, (0, 0.5), (0, -12), textcoords="offset points", va="top", color=MUTE)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        ax.axis("off")
        return ax


def _that_fit(frame: pd.DataFrame, ax, points: float) -> pd.DataFrame:
    """The first rows of a table, as many as axes of this height can hold; how many are left out stands above them."""
    most = max(int(size_of(ax)[1] / points), 1)
    if len(frame) > most:
        ax.set_title(f"the first {most} of {len(frame)}", loc="right", fontsize=10, weight="normal", color=MUTE)
    return frame.head(most)


def _wrapped(text: str, width: int, lines: int) -> str:
    """The text on as many lines at most, the last one cut."""
    return "\n".join(textwrap.wrap(" ".join(str(text).split()), width, max_lines=lines, placeholder="…"))


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def moments(column) -> np.ndarray:
    """Times in UTC without a zone, as Matplotlib draws them whatever zone its settings name."""
    return pd.to_datetime(pd.Series(column), utc=True, format="ISO8601").dt.tz_localize(None).to_numpy("datetime64[us]")


def moment(when) -> np.datetime64:
    """One time, as `moments` gives many."""
    return moments([when])[0]


def _numbers(frame: pd.DataFrame, name: str) -> np.ndarray:
    return pd.to_numeric(frame[name], errors="coerce").to_numpy(float)


def _say_unit(ax, axis: str, unit: str, most: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    side = getattr(ax, f"{axis}axis")
    side.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))

    def say(value: float, _: int) -> str:
        large = in_large_unit(max(side.get_view_interval(), key=abs), unit)
        if unit == "share":
            return f"{100 * value:.0f} %"
        if unit == "score":
            return f"{value:.1f}"
        if unit == "ms":  # all of an axis in one unit
            return f"{value / 1000:g}{NBSP}s" if large else f"{value:g}{NBSP}ms"
        if unit == "usd":
            return f"{value:g}{NBSP}USD" if large else f"{100 * value:g}{NBSP}ct"
        return amount(value, unit)

    side.set_major_formatter(FuncFormatter(say))


def dates_axis(ax, most: int, two_lines: bool = False) -> None:
    """Dates on the x axis, as fine as its span asks for."""
    from matplotlib import dates

    low, high = ax.get_xlim()
    days(ax, pd.Timedelta(days=high - low), most)
    if two_lines and high - low <= 3:
        ax.xaxis.set_major_formatter(dates.DateFormatter("%-d %b\n%H:%M"))


def _limits(ax, frame: pd.DataFrame, start: np.ndarray, end: np.ndarray) -> tuple[list[tuple[Any, float]], bool] | None:
    """Draw centre and limits; beside which points of them their name may stand, and whether there are limits."""
    known = np.isfinite(_numbers(frame, "center"))
    if not known.any():
        return None
    edge = np.stack([start[known], end[known]], 1).ravel()
    center, lower, upper = (np.repeat(_numbers(frame, name)[known], 2) for name in ("center", "lower", "upper"))
    ax.fill_between(edge, lower, upper, color=BAND, lw=0)
    ax.plot(edge, center, color=MUTE, lw=1.2, ls=CENTRE)
    spots = list(zip(edge, np.where(np.isfinite(upper), upper, center), strict=True))
    return spots[:: max(len(spots) // 12, 1)], bool(np.isfinite(upper).any())


def _level_axis(ax, frame: pd.DataFrame, unit: str) -> None:
    seen = np.concatenate([_numbers(frame, name) for name in ("value", "lower", "upper")])
    seen = seen[np.isfinite(seen)]
    low, high = (seen.min(), seen.max()) if len(seen) else (0.0, 1.0)
    room = 0.3 * (high - low) or 0.1 * abs(high) or 1.0
    ax.set_ylim(max(1.0, low - room) if unit == "score" else 0, high + room)
    _say_unit(ax, "y", unit, 4)


def _call_outs(ax, at, value, n, alarm, unit: str, taken: list) -> None:
    loud, still = np.flatnonzero(alarm == 1), np.flatnonzero(~np.isfinite(alarm) & np.isfinite(value))
    for i in loud[:1]:
        words = f"alarm: {amount(value[i], unit)}{_n_below(n[i])}"
        call_out(ax, [(at[i], value[i])], words, VERMILION, taken)
    for i in still[-1:]:
        words = f"so far\n{amount(value[i], unit)}{_n_below(n[i])}"
        call_out(ax, [(at[i], value[i])], words, MUTE, taken, "normal")


def _n_below(n: float) -> str:
    return f"\nn = {n:,.0f}" if np.isfinite(n) else ""


def _counts_below(ax, at, width, n, narrow: bool) -> None:
    from matplotlib.ticker import FixedLocator

    ax.tick_params(labelbottom=False, length=0)
    below = ax.inset_axes((0, -0.27, 1, 0.2), sharex=ax)
    below.bar(at, np.nan_to_num(n), width=width * 0.6, color=RULE)
    most = float(np.nanmax(n)) if np.isfinite(n).any() else 1.0
    below.yaxis.set_major_locator(FixedLocator([0, most]))
    below.set_yticklabels(["0", f"{most:,.0f}"])
    below.set_ylim(0, most * 1.05 or 1)
    below.set_ylabel("n", rotation=0, ha="right", va="center")
    below.grid(False)
    days(below, pd.Timedelta(at[-1] - at[0]), 4 if narrow else 8)


def _reach(frame: pd.DataFrame, unit: str) -> tuple[float, float]:
    names = [f"{side}{end}" for side in ("before", "after") for end in ("", "_low", "_high")]
    seen = np.concatenate([_numbers(frame, name) for name in names]) if len(frame) else np.array([])
    seen = seen[np.isfinite(seen)]
    if not len(seen):
        return 0.0, 1.0
    if unit == "share":
        return 0.0, 1.0 if seen.max() > 0.5 else float(seen.max()) * 1.1
    if unit == "score":
        return max(1.0, np.floor(2 * seen.min()) / 2), min(5.0, np.ceil(2 * seen.max()) / 2)
    return 0.0, float(seen.max()) * 1.1


def _estimate(ax, row: Mapping, side: str, y: float, colour, marker: str, firm: bool, hollow: bool) -> None:
    middle, low, high = (np.nan if row[k] is None else row[k] for k in (side, f"{side}_low", f"{side}_high"))
    ax.hlines(y, low, high, color=colour, lw=2, ls="-" if firm else (0, (2, 1.5)))
    ax.plot(
        middle,
        y,
        marker,
        ms=7,
        mfc=PAPER if hollow else colour,
        mec=colour,
        mew=1.6,
        ls="none",
        zorder=3,
        clip_on=False,
    )


def _row_words(ax, row: Mapping, y: float, gap: float, sure: bool, narrow: bool) -> None:
    n = f"n {row['n_before'] or 0:,.0f} → {row['n_after'] or 0:,.0f}"
    weight, tone = "bold" if sure else "normal", TONE.get(row["verdict"], MUTE if narrow else INK)
    where = ax.get_yaxis_transform()
    if narrow:
        above = ((10, one_line(row["label"], 48), weight, INK), (25, f"{row['verdict']}, {n}", "normal", tone))
        for down, words, thick, colour in above:
            ax.annotate(
                words, (0, y + 0.5), (0, -down), xycoords=where, textcoords="offset points", va="center", weight=thick,
                color=colour,
            )  # fmt: skip
        return
    lines = textwrap.wrap(row["label"], 28, max_lines=2, placeholder="…") or [""]
    ax.text(-0.02, y, "\n".join(lines), transform=where, ha="right", va="center", weight=weight, linespacing=1.15)
    ax.text(1.03, y + gap, row["verdict"], transform=where, va="center", color=tone, weight=weight)
    ax.text(1.03, y - gap, n, transform=where, va="center", color=MUTE)


def _name_marks(ax, row, y: float, gap: float, low: float, high: float, names: tuple[str, str]) -> None:
    """Say beside the first row's marks which is which, on the side that has room."""
    for side, words, level, colour in (
        ("before", names[0], y + gap, BLUE),
        ("after", names[1], y - gap, TONE.get(row["verdict"], MUTE)),
    ):
        ends = [row[k] for k in (side, f"{side}_low", f"{side}_high") if row[k] is not None and np.isfinite(row[k])]
        if not ends:
            continue
        right = (max(ends) - low) < 0.75 * (high - low)
        spot = (max(ends) if right else min(ends), level)
        ax.annotate(
            words, spot, (9 if right else -9, 0), textcoords="offset points", va="center", color=colour,
            ha="left" if right else "right",
        )  # fmt: skip


def _boundaries(ax, wald: Mapping[str, Any], planned: int) -> None:
    p_real, p_false = wald.get("p_real"), wald.get("p_false")
    if not p_real or not p_false or not 0 < p_false < p_real < 1:
        return
    n, edge = np.arange(1, planned + 1), np.log(0.95 / 0.05)
    up, down = np.log(p_real / p_false), np.log((1 - p_real) / (1 - p_false))
    real, false = (edge / n - down) / (up - down), (-edge / n - down) / (up - down)
    ax.fill_between(n, np.clip(real, 0, 1), 1.0, color=VERMILION, alpha=0.13, lw=0)
    ax.fill_between(n, 0, np.clip(false, 0, 1), color=BLUE, alpha=0.13, lw=0)
    ax.plot(n, np.where(real <= 1, real, np.nan), color=VERMILION, lw=1)
    ax.plot(n, np.where(false >= 0, false, np.nan), color=BLUE, lw=1)
    edge_of_chart = planned + 0.3
    if real[-1] <= 0.97:
        ax.text(
            edge_of_chart, real[-1] + 0.02, "above: real, stop", ha="right", va="bottom", color=VERMILION, bbox=SOFT
        )
    if false[-1] >= 0.08:
        ax.text(edge_of_chart, 0.03, "below: false positive, stop", ha="right", va="bottom", color=BLUE, bbox=SOFT)


def _charts(frame: pd.DataFrame) -> int:
    return frame[["feature_id", "metric"]].drop_duplicates().shape[0]


def _small(ax, feature: str, metric: str, one: pd.DataFrame, last: bool) -> None:
    from matplotlib import dates

    from llm_monitoring.wording import metric_words

    at = moments(one["window_start"])
    numbers = {name: _numbers(one, name) for name in ("lower", "center", "upper", "value", "statistic")}
    value, lower, center, upper = (numbers[name] for name in ("value", "lower", "center", "upper"))
    loud = one["alarm"].eq(True).to_numpy()
    small_chart(ax, at, numbers, loud)
    unit = str(one["unit"].iloc[0])
    known = value[np.isfinite(value)]
    newest = known[-1] if len(known) else None
    ends = f"{amount(center[-1], unit, like=newest)} → {amount(newest, unit)}"
    ax.set_title(one_line(feature, 28), loc="left", fontsize=12, weight="bold" if loud.any() else "normal", pad=20)
    ends += "  alarm" if loud.any() else ""
    words = one_line(metric_words(metric), max(int(size_of(ax)[0] / (0.5 * 11)) - len(ends) - 2, 12))
    ax.text(
        0, 1.05, f"{words}: {ends}", transform=ax.transAxes, va="bottom",
        color=VERMILION if loud.any() else MUTE, fontsize=11,
    )  # fmt: skip
    usual = [np.median(ends[np.isfinite(ends)]) for ends in (lower, upper) if np.isfinite(ends).any()]
    seen = np.concatenate([known, usual])  # limits begin wide: their first windows may run off the panel
    seen = seen if len(seen) else np.array([0.0, 1.0])
    room = 0.08 * (seen.max() - seen.min()) or 0.1
    ax.set_ylim(0 if unit == "share" else seen.min() - room, seen.max() + room)
    ax.set_yticks([])
    ax.grid(False)
    ax.set_xticks([at[0], at[-1]] if last else [])
    ax.xaxis.set_major_formatter(dates.DateFormatter("%-d %b"))
    for tick, side in zip(ax.get_xticklabels(), ("left", "right"), strict=False):
        tick.set_ha(side)
