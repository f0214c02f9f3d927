"""What a chart saw in a stream: one row per window, and the alarms grouped into events."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import plotting
from llm_monitoring.results import Result, jsonable
from llm_monitoring.wording import rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EVENT_COLUMNS = [
    "start", "end", "first_window", "direction", "size", "change_start", "change_low", "change_high", "windows", "n",
]  # fmt: skip
FRAME_COLUMNS = ["window", "value", "n", "statistic", "center", "lower", "upper", "alarm"]


@dataclass(frozen=True, repr=False)
class ChartResult(Result):
    """A stream as a chart judged it.

    Attributes
    ----------
    windows : DataFrame
        What `to_frame` returns.
    alarms : DataFrame
        One row per event (a run of alarming windows in one direction): `start`, `end`, `first_window`, `direction`
        (up or down), `size` (mean shift since the change, in the measure's unit), `change_start`, `change_low`,
        `change_high` (when the change most likely began, and its 95 % interval), `windows` (alarming ones), `n`.
    false_alarm_probability : float or None
        Probability of one or more false alarms within `horizon` windows, as designed.
    arl0 : float
        The false-alarm rate as it was asked for: windows per false alarm.
    horizon : int
    detectable : float or None
        Smallest shift that is seen with probability 0.8 within seven windows, in the measure's unit.
    n_baseline : int
        Windows that the limits rest on.
    assumes : str
        What the stated rate takes for granted.
    notes : tuple of str
        Warnings: autocorrelation, a short baseline, windows set aside.
    season : int
        Windows in a season.
    """

    windows: pd.DataFrame
    alarms: pd.DataFrame
    false_alarm_probability: float | None
    arl0: float
    horizon: int
    detectable: float | None
    n_baseline: int
    kind: str = "mean"
    chart: str = "ControlChart"
    assumes: str = ""
    notes: tuple[str, ...] = ()
    seams: pd.DataFrame = field(default_factory=pd.DataFrame)
    season: int = 7

    @property
    def first_alarm(self) -> Any:
        """The first alarming window (its `window`), None where there is none."""
        return None if self.alarms.empty else self.alarms["first_window"].iloc[0]

    @property
    def headline(self) -> str:
        """What was seen, over how many windows, and how often that happens by chance."""
        charted = int(self.windows["statistic"].notna().sum())
        chance = self.false_alarm_probability
        designed = "" if chance is None else f"; chance of a false alarm in {self.horizon} windows: {chance:.2g}"
        if self.alarms.empty:
            seen = (
                ""
                if self.detectable is None
                else f"; a shift of {rounded(self.detectable)} would have been seen in 8 of 10 cases"
            )
            return f"no alarm in {charted} windows (baseline {self.n_baseline} windows{designed}{seen})"
        first = self.alarms.iloc[0]
        more = f", {len(self.alarms)} events in all" if len(self.alarms) > 1 else ""
        return (
            f"alarm in window {_label(first['first_window'])}: {first['direction']} by {rounded(abs(first['size']), 3)} since "
            f"{_label(first['change_start'])} ({_label(first['change_low'])} to {_label(first['change_high'])}){more} "
            f"(baseline {self.n_baseline} windows{designed})"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per window: window, value, n, statistic, center, lower, upper, alarm, and times where known.

        The statistic is outside lower and upper exactly where alarm is True, but for falls that have not lasted
        (`ControlChart.lasting_falls`); it is null where nothing was charted.
        """
        return self.windows.copy()

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {**super().to_dict(), "first_alarm": jsonable(self.first_alarm)}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Values, the chart's statistic, its limits and the alarms; seams as dashed lines.

        Parameters
        ----------
        ax : Axes, optional
        """
        frame = self.windows
        timed = "window_start" in frame
        at = frame["window_start"] if timed else frame["window"]
        alarm = frame["alarm"].to_numpy(dtype=bool)
        with plotting.axes(ax) as ax:
            watched = frame["statistic"]
            evidence = self.chart == "EDetector"  # of a scale of its own, beside which the values would be a flat line
            value = watched if evidence else frame["value"]
            if evidence:
                ax.plot(at, frame["upper"], color=plotting.INK, lw=1, ls=(0, (4, 3)))
                ax.set_yscale("log")
                ax.yaxis.set_major_formatter(lambda evidence, _: f"{evidence:g}")
            else:
                ax.fill_between(at, frame["lower"], frame["upper"], color=plotting.BAND, lw=0, step="mid")
                ax.plot(at, frame["center"], color=plotting.MUTE, lw=1.2, ls=plotting.CENTRE)
                ax.plot(at, watched, color=plotting.INK, lw=1.8)
            ax.plot(at, value, color=plotting.BLUE, lw=0.8, alpha=0.6)
            ax.plot(at[~alarm], value[~alarm], "o", ms=6, mfc=plotting.PAPER, mec=plotting.BLUE, mew=1.5)
            ax.plot(at[alarm], value[alarm], "D", ms=8, mfc=plotting.VERMILION, mec=plotting.PAPER, mew=1)
            apart = not evidence and not watched.dropna().equals(frame["value"][watched.notna()])
            ax.set_xlabel(
                "circle: evidence against the baseline; dashes: its limit" if evidence
                else f"circle: a window; diamond: alarm; {'dark line: what is watched; ' if apart else ''}band: its limits"
            )  # fmt: skip
            named: list = []
            for seam in self.seams.itertuples():
                plotting.mark_change(ax, seam.time, "seam", taken=named)
            if self.kind == "proportion":
                plotting.percent(ax)
            if timed and len(at) > 1:
                plotting.days(ax, at.max() - at.min())
            ax.set_title(f"{self.chart}: {self.n_baseline} baseline windows", loc="left")
            if len(self.alarms):
                plotting.settle(ax)
            for event in self.alarms.itertuples():
                self._name_event(ax, frame, at, event, named)
        return ax

    def _name_event(self, ax: Axes, frame: pd.DataFrame, at: pd.Series, event: Any, named: list) -> None:
        row = frame.index[frame["window"] == event.first_window][0]
        value, n = frame["value"][row], frame["n"][row]
        said = f"{100 * value:.3g} %" if self.kind == "proportion" else f"{value:.3g}"
        words = f"alarm: {said}" + ("" if n != n else f"\nn = {n:,.0f}")
        height = frame["statistic"][row] if self.chart == "EDetector" else value
        plotting.call_out(ax, [(at[row], height)], words, plotting.VERMILION, named)


def frame_of(windows: Any, **columns: Any) -> pd.DataFrame:
    """The table of a result from the windows as read (columns by name) and the chart's; times only where the input had them."""
    table = {"window": windows["window"], "value": windows["value"], "n": windows["n"], **columns}
    table["alarm"] = np.asarray(table["alarm"], dtype=bool)
    for column in ("window_start", "window_end"):
        if windows[column].notna().any():
            table[column] = windows[column]
    return pd.DataFrame({**{name: table[name] for name in FRAME_COLUMNS}, **table})


def events_of(
    frame: pd.DataFrame, side: np.ndarray, error: np.ndarray, weight: np.ndarray, center_variance: float, gap: int = 3
) -> pd.DataFrame:
    """The alarms as events: runs of alarming windows in one direction, at most `gap` quiet ones between.

    Parameters
    ----------
    frame : DataFrame
        As `frame_of` gives it.
    side : array
        +1 or -1 where the window alarms, else 0.
    error, weight : array
        Deviation from the centre in the measure's unit, and 1 / its variance (0 where nothing was charted).
    center_variance : float
        Variance of the centre line.
    gap : int
        Quiet windows that do not end an event.
    """
    from llm_monitoring.charts.onset import change_point

    if not side.any():
        return _no_events().copy()
    rows: list[dict[str, Any]] = []
    begin = 0
    for first, last, sign in _runs(side, gap):
        rising = np.where(weight > 0, np.nan_to_num(error), 0)
        found = change_point(rising[begin : last + 1], weight[begin : last + 1], center_variance, latest=first - begin)
        start, low, high = (begin + k for k in (found.at, found.low, found.high))
        inside = slice(start, last + 1)
        mean = np.average(rising[inside], weights=weight[inside]) if weight[inside].sum() > 0 else float("nan")
        window = frame["window"]
        rows.append({
            "start": _start(frame, first), "end": _end(frame, last), "first_window": window.iloc[first],
            "direction": "up" if sign > 0 else "down", "size": float(mean),
            "change_start": _start(frame, start), "change_low": _start(frame, low), "change_high": _start(frame, high),
            "windows": int((side[first : last + 1] == sign).sum()),
            "n": float(frame["n"].iloc[first : last + 1].sum(min_count=1)),
        })  # fmt: skip
        begin = last + 1
    return pd.DataFrame(rows, columns=EVENT_COLUMNS)


@cache  # to make an empty table takes ten times as long as to copy one
def _no_events() -> pd.DataFrame:
    return pd.DataFrame([], columns=EVENT_COLUMNS)


def _runs(side: np.ndarray, gap: int) -> list[tuple[int, int, int]]:
    runs: list[tuple[int, int, int]] = []
    for i in np.flatnonzero(side):
        if runs and runs[-1][2] == side[i] and i - runs[-1][1] <= gap + 1:
            runs[-1] = (runs[-1][0], int(i), int(side[i]))
        else:
            runs.append((int(i), int(i), int(side[i])))
    return runs


def _start(frame: pd.DataFrame, row: int) -> Any:
    return frame["window_start" if "window_start" in frame else "window"].iloc[row]


def _end(frame: pd.DataFrame, row: int) -> Any:
    known = "window_end" in frame and pd.notna(frame["window_end"].iloc[row])
    return frame["window_end"].iloc[row] if known else _start(frame, row)


def _label(window: Any) -> str:
    if isinstance(window, pd.Timestamp):
        return window.strftime("%d %b %Y" if window == window.normalize() else "%d %b %Y %H:%M")
    return f"{window:g}" if isinstance(window, int | float | np.number) else str(window)
