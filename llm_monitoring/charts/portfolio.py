"""One chart per feature and metric under one budget of false alarms."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import plotting, wording
from llm_monitoring.charts.arguments import expect, is_number, is_whole
from llm_monitoring.charts.measurements import holds_times, read_times, spacing
from llm_monitoring.charts.posterior import GRID, DayEffect
from llm_monitoring.charts.predictive import DIRECTIONS, FEWEST_TO_FIT, ControlChart
from llm_monitoring.charts.result import EVENT_COLUMNS, ChartResult
from llm_monitoring.errors import ConfigError, one_of, quote
from llm_monitoring.measures import is_known, measure
from llm_monitoring.results import Result, jsonable, table_html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "ChartPortfolio"
MONTH = pd.Timedelta(days=30)
KEYS = ["feature_id", "metric"]
SIDES: Any = ("left", "right")


@dataclass
class ChartPortfolio:
    """A `ControlChart` for every feature and metric; together they give so many false alarms a month.

    Each of C charts gets arl0 = C * windows per month / false_alarms_per_month.

    Parameters
    ----------
    false_alarms_per_month : float
        The budget over all charts.
    horizon, season, seed
        As for `ControlChart`; `season` None is one week of windows (7 days, 28 of six hours, 168 hours).
    directions : dict, optional
        Metric name -> "both", "up" or "down".
    learn_day_effect : bool
        Learn the prior of the day effect from all charts of a metric, where there are at least five: a feature with
        few windows then borrows from the others how much days differ.

    Attributes
    ----------
    charts_ : dict
        (feature_id, metric) -> fitted ControlChart.
    not_charted_ : DataFrame
        `feature_id`, `metric`, `reason`: too few windows, or nothing that varies. Never an exception.
    arl0_ : float

    >>> import pandas as pd
    >>> days = pd.date_range("2026-05-01", periods=20, tz="UTC")
    >>> m = pd.DataFrame({"feature_id": "search", "metric": "flagged_rate", "kind": "proportion",
    ...                   "window_start": days, "value": [.02, .03, .02, .01] * 5, "n": 100})
    >>> m.loc[18:, "value"] = 0.3
    >>> result = ChartPortfolio().fit(m[:14]).monitor(m[14:])
    >>> result.alarms[["feature_id", "metric", "direction"]].values.tolist()
    [['search', 'flagged_rate', 'up']]
    """

    false_alarms_per_month: float = 1.0
    horizon: int = 60
    season: int | None = None
    directions: dict[str, str] | None = None
    learn_day_effect: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        budget = self.false_alarms_per_month
        expect(is_number(budget, above=0), NAME, "a number above 0", false_alarms_per_month=budget)
        expect(is_whole(self.horizon, 1), NAME, "a whole number of windows, 1 at least", horizon=self.horizon)
        fine = self.season is None or is_whole(self.season, 1)
        expect(fine, NAME, "a whole number of windows, 1 at least, or None", season=self.season)
        expect(is_whole(self.seed), NAME, "a whole number, 0 at least", seed=self.seed)
        fine = self.directions is None or isinstance(self.directions, dict)
        expect(fine, NAME, "a dict of metric -> 'both', 'up' or 'down'", directions=self.directions)
        for metric, direction in (self.directions or {}).items():
            one_of(f"ChartPortfolio(directions[{quote(metric)}])", direction, DIRECTIONS)

    def fit(self, baseline: pd.DataFrame) -> ChartPortfolio:
        """Fit one chart per feature and metric.

        Parameters
        ----------
        baseline : DataFrame
            Long form: `feature_id`, `metric`, `window_start` (or `window`, a time or a number; numbered windows count
            as days), `value`, and where known `n`, `sd`, `kind`, `low`, `high` (the same in all windows of a chart;
            `low` and `high` are the ends of a score's scale).
        """
        baseline = _checked(baseline, "baseline")
        groups = list(_groups(baseline))
        self.charts_: dict[tuple[Any, Any], ControlChart] = {}
        skipped = []
        likely = sum(frame["value"].notna().sum() >= FEWEST_TO_FIT for _, _, frame in groups)
        self.arl0_ = self._arl0(_usual_spacing(baseline), likely)
        for key, asked, frame in groups:
            try:
                chart = self._chart(key[1], _constants(asked), _usual_spacing(frame), likely)
                chart._weigh(frame)
                self.charts_[key] = chart
            except ConfigError as error:
                skipped.append((*key, str(error)))
        set_limits(self.charts_, learn=self.learn_day_effect)
        self.not_charted_ = pd.DataFrame(skipped, columns=[*KEYS, "reason"])
        return self

    def _arl0(self, period: pd.Timedelta, charts: int) -> float:
        return max(max(charts, 1) * float(MONTH / period) / self.false_alarms_per_month, 1.01)

    def _chart(self, metric: str, asked: dict[str, Any], period: pd.Timedelta, charts: int) -> ControlChart:
        a_week = max(round(pd.Timedelta(days=7) / period), 1)
        return ControlChart(
            **asked,
            arl0=self._arl0(period, charts),
            horizon=self.horizon,
            direction=(self.directions or {}).get(metric, "both"),
            season=self.season or (a_week if a_week <= 168 else 1),
            seed=self.seed,
        )

    def monitor(self, stream: pd.DataFrame, *, seams: dict[str, Any] | None = None) -> PortfolioResult:
        """Chart all streams.

        Parameters
        ----------
        stream : DataFrame
            Long form, as for `fit`. A feature or metric without a chart is listed in `not_charted`.
        seams : dict, optional
            Metric -> seams as `ControlChart.monitor` takes them.

        Returns
        -------
        PortfolioResult
        """
        if not hasattr(self, "charts_"):
            raise ConfigError("ChartPortfolio.monitor: no baseline yet; expected portfolio.fit(baseline) before it")
        stream = _checked(stream, "stream")
        results, skipped = {}, self.not_charted_.values.tolist()
        known = {(row[0], row[1]) for row in skipped}
        for key, _, frame in _groups(stream):
            if key not in self.charts_:
                if key not in known:
                    skipped.append([*key, "no baseline windows"])
                continue
            try:
                results[key] = self.charts_[key].monitor(frame, seams=(seams or {}).get(key[1]))
            except ConfigError as error:
                skipped.append([*key, str(error)])
        return PortfolioResult(
            results=results,
            not_charted=pd.DataFrame(skipped, columns=[*KEYS, "reason"]),
            false_alarms_per_month=float(self.false_alarms_per_month),
            arl0=float(self.arl0_),
        )


def set_limits(charts: dict[tuple[Any, Any], ControlChart], learn: bool = True) -> None:
    """Finish charts that have read their baselines; with `learn` each metric's charts tell each other how much days differ."""
    learned = _day_effects(charts) if learn else {}
    for key, chart in charts.items():
        if key in learned:
            chart.day_effect = learned[key]
        chart._settle()


@dataclass(frozen=True, repr=False)
class PortfolioResult(Result):
    """What all charts saw.

    Attributes
    ----------
    results : dict
        (feature_id, metric) -> ChartResult.
    not_charted : DataFrame
        `feature_id`, `metric`, `reason`.
    false_alarms_per_month : float
        Over all charts, as designed.
    arl0 : float
        Windows per false alarm of each chart.
    """

    results: dict[tuple[Any, Any], ChartResult]
    not_charted: pd.DataFrame
    false_alarms_per_month: float
    arl0: float

    @property
    def alarms(self) -> pd.DataFrame:
        """All events of all charts, earliest first, with `feature_id`, `metric` and the columns of a chart's events."""
        parts = [r.alarms.assign(feature_id=f, metric=m) for (f, m), r in self.results.items() if len(r.alarms)]
        columns = [*KEYS, *EVENT_COLUMNS]
        if not parts:
            return pd.DataFrame(columns=columns)
        return pd.concat(parts, ignore_index=True)[columns].sort_values(["start", *KEYS], ignore_index=True)

    @property
    def groups(self) -> pd.DataFrame:
        """Alarms that are one event: those whose change intervals touch, one row per group, earliest first.

        `change_low`, `change_high`, `start` (of the first alarm), `alarms`, `features`, `metrics` (lists).
        """
        columns = ["change_low", "change_high", "start", "alarms", "features", "metrics"]
        rows: list[dict[str, Any]] = []
        for event in self.alarms.sort_values(["change_low", *KEYS]).itertuples():
            if not (rows and event.change_low <= rows[-1]["change_high"]):
                rows.append(dict(zip(columns, [event.change_low, event.change_high, event.start, 0, [], []])))
            row = rows[-1]
            row["change_high"], row["start"] = (
                max(row["change_high"], event.change_high),
                min(row["start"], event.start),
            )
            row["alarms"] += 1
            row["features"] = sorted({*row["features"], event.feature_id}, key=str)
            row["metrics"] = sorted({*row["metrics"], event.metric}, key=str)
        return pd.DataFrame(rows, columns=columns)

    def ranked(self) -> pd.DataFrame:
        """One row per chart, first what a person should look at first.

        `feature_id`, `metric`, `alarm` (now), `events`, `strength` (largest deviation in the last season of
        windows, in limits: above 1 it alarmed), `direction`, `since` (likely start of the last event), `value`,
        `expected`, `n` (of the last window charted in that season; null where none was).
        """
        rows = [_standing(key, result) for key, result in self.results.items() if len(result.windows)]
        names = [*KEYS, "alarm", "events", "strength", "direction", "since", "value", "expected", "n"]
        table = pd.DataFrame(rows, columns=names)
        return table.sort_values(["alarm", "events", "strength"], ascending=False, ignore_index=True, kind="stable")

    @property
    def headline(self) -> str:
        """How many charts, how many alarms, at which budget."""
        alarms, charts = self.alarms, len(self.results)
        windows = sum(int(r.windows["statistic"].notna().sum()) for r in self.results.values())
        budget = (
            f"budget {self.false_alarms_per_month:g} false alarms a month over {charts} charts, {windows:,} windows"
        )
        aside = f"; {len(self.not_charted)} not charted" if len(self.not_charted) else ""
        if alarms.empty:
            return f"no alarm ({budget}{aside})"
        first = alarms.iloc[0]
        return f"{len(alarms)} events, first {first['metric']} of {first['feature_id']} {first['direction']} ({budget}{aside})"

    def to_frame(self) -> pd.DataFrame:
        """One row per chart and window: `feature_id`, `metric` and the columns of a chart's table."""
        parts = [r.to_frame().assign(feature_id=f, metric=m) for (f, m), r in self.results.items()]
        if not parts:
            return pd.DataFrame(
                columns=[*KEYS, "window", "value", "n", "statistic", "center", "lower", "upper", "alarm"]
            )
        table = pd.concat(parts, ignore_index=True)
        return table[[*KEYS, *[c for c in table if c not in KEYS]]]

    def to_dict(self) -> dict[str, Any]:
        """Alarms, charts and what was not charted, ready for JSON."""
        return {
            "false_alarms_per_month": self.false_alarms_per_month,
            "arl0": self.arl0,
            "alarms": jsonable(self.alarms),
            "not_charted": jsonable(self.not_charted),
            "charts": [
                {"feature_id": jsonable(f), "metric": jsonable(m), **r.to_dict()} for (f, m), r in self.results.items()
            ],
        }

    def _repr_html_(self) -> str:
        """The charts, one row each, first what a person should look at first."""
        table = self.ranked().drop(columns=["strength"])
        return f"<p><b>{escape(self.headline)}</b></p>{table_html(table, most=20)}"

    def plot(self, ax: Axes | None = None, *, columns: int | None = None, most: int = 24) -> Axes:
        """Small multiples, the charts with alarms first, each on its own scale; a line says how many are left out.

        Parameters
        ----------
        ax : Axes, optional
        columns : int, optional
            Charts side by side; by default as many as the axes are wide enough for.
        most : int
            Charts drawn at most.
        """
        order = sorted(self.results, key=lambda key: (self.results[key].alarms.empty, str(key)))[:most]
        height = 1.6 * max(-(-len(order) // (columns or 3)), 1) + 0.3
        with plotting.axes(ax, size=(8.4, height), filled=True) as ax:
            if not order:
                plotting.nothing(ax, f"No chart; {self._left_out(0)}.")
                return ax
            ax.axis("off")
            width, tall = plotting.size_of(ax)
            columns = columns or max(int(width / 170), 1)
            order = order[: max(int(tall / 95), 1) * columns]
            rows = max(-(-len(order) // columns), 1)
            words = textwrap.wrap(self._left_out(len(order)), int(width / 5.8))
            foot = max(0.06, 13 * len(words) / tall)
            for number, key in enumerate(order):
                row, column = divmod(number, columns)
                w, h = 1 / columns, (1 - foot) / rows
                place = (column * w + 0.012, 1 - (row + 1) * h + 0.22 * h, w - 0.04, h * 0.42)
                _panel(ax.inset_axes(place), key, self.results[key], int(width / columns / 6.1))
            said = ax.text(0, 0, "\n".join(words), va="bottom", color=plotting.MUTE, fontsize=10)
            said.set_in_layout(False)
        return ax

    def _left_out(self, drawn: int) -> str:
        total, without = len(self.results), len(self.not_charted)
        words = f"{drawn} of {total} charts, those with alarms first" if drawn < total else f"all {total} charts"
        return f"{words}; {without} without a chart, see .not_charted" if without else words


def _standing(key: tuple[Any, Any], result: ChartResult) -> tuple:
    """One row of `PortfolioResult.ranked`."""
    season = result.windows.tail(result.season).dropna(subset="statistic")
    above, below = season["statistic"] > season["center"], season["upper"] - season["center"]
    reach = np.where(above, below, season["center"] - season["lower"])
    strength = float(((season["statistic"] - season["center"]).abs() / reach).max())
    alarm, value, center, n = (
        season[["alarm", "value", "center", "n"]].iloc[-1] if len(season) else (False, np.nan, np.nan, np.nan)
    )
    event = {"direction": None, "change_start": None} if result.alarms.empty else result.alarms.iloc[-1]
    return (
        *key, bool(alarm), len(result.alarms), strength, event["direction"], event["change_start"], value, center, n,
    )  # fmt: skip


def _day_effects(
    charts: dict[tuple[Any, Any], ControlChart], fewest: int = 5, strength: float = 3.0
) -> dict[tuple[Any, Any], DayEffect]:
    """Empirical Bayes: the mass of the day effect's grid from all charts of a metric, mixed with the default prior.

    The default counts as `strength` charts; the mass is the fixed point of averaging the charts' posteriors (EM).
    """
    families: dict[tuple, list[tuple[Any, Any]]] = {}
    for key, chart in charts.items():
        if len(chart._evidence.by_day) == len(GRID):
            families.setdefault((key[1], chart.kind), []).append(key)
    learned = {}
    for keys in families.values():
        if len(keys) < fewest:
            continue
        default = charts[keys[0]]._evidence.day.mass
        evidence = np.array([charts[key]._evidence.by_day for key in keys])
        likelihood = np.exp(evidence - evidence.max(axis=1, keepdims=True))
        mass = default
        for _ in range(25):
            each = likelihood * mass
            mass = strength * default + (each / each.sum(axis=1, keepdims=True)).sum(axis=0)
            mass = mass / mass.sum()
        learned.update({key: charts[key]._evidence.day.learned(mass) for key in keys})
    return learned


def _panel(ax: Axes, key: tuple[Any, Any], result: ChartResult, letters: int) -> None:
    frame = result.windows
    timed = "window_start" in frame
    at = frame["window_start"] if timed else frame["window"]
    loud = frame["alarm"].to_numpy(dtype=bool)
    plotting.small_chart(ax, at, frame, loud)
    name = "all features" if key[0] is None or key[0] != key[0] else str(key[0])
    weight, colour = ("bold", plotting.VERMILION) if loud.any() else ("normal", plotting.MUTE)
    ax.set_title(wording.one_line(name, letters), loc="left", fontsize=12, weight=weight, pad=18)
    metric, last = _in_words(str(key[1]), frame)
    metric = wording.one_line(f"{'alarm, ' if loud.any() else ''}{metric}", letters + 2 - len(last))
    words = metric + last
    ax.text(0, 1.05, words, transform=ax.transAxes, color=colour, va="bottom", fontsize=10.5)
    ax.set_yticks([])
    ax.grid(False)
    ax.set_xticks([at.iloc[0], at.iloc[-1]] if len(at) > 1 else [])
    if len(at) > 1:
        ax.set_xticklabels(
            [f"{one.day} {one:%b}" if timed else f"{one:g}" for one in (at.iloc[0], at.iloc[-1])], fontsize=10
        )
        for tick, side in zip(ax.get_xticklabels(), SIDES, strict=True):
            tick.set_horizontalalignment(side)


def _in_words(metric: str, frame: pd.DataFrame) -> tuple[str, str]:
    """The metric, and its last value in its unit."""
    known = frame["value"].dropna()
    words = wording.metric_words(metric)
    if known.empty:
        return words, ""
    unit = measure(metric).shown_in if is_known(metric) else "count"
    return words, f": {wording.amount(float(known.iloc[-1]), unit)}"


def _checked(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table, its windows under `window_start` where they are times and under `window` where they are numbers."""
    wanted = (
        "expected feature_id, metric, window_start (or window, a number or a time), value and, where known, "
        "n, sd, kind, one row per chart and window"
    )
    if not isinstance(frame, pd.DataFrame):
        raise ConfigError(f"{name}: {quote(frame)}; expected a DataFrame with feature_id, metric, window and value")
    lacking = [c for c in (*KEYS, "value") if c not in frame]
    lacking += [] if "window_start" in frame or "window" in frame else ["window_start"]
    if lacking:
        raise ConfigError(f"{name}: no column {', '.join(map(repr, lacking))}; {wanted}")
    if "window_start" not in frame and holds_times(frame["window"]):
        return frame.rename(columns={"window": "window_start"})
    return frame


def _groups(frame: pd.DataFrame) -> Iterator[tuple[tuple[Any, Any], pd.DataFrame, pd.DataFrame]]:
    """Feature and metric, what is constant (kind and scale), and the windows of each chart."""
    window = "window_start" if "window_start" in frame else "window"
    windows = frame[[c for c in (window, "window_end", "value", "n", "sd") if c in frame]].reset_index(drop=True)
    asked = frame[[c for c in ("kind", "low", "high") if c in frame]].reset_index(drop=True)
    numbered = frame[KEYS].assign(row=np.arange(len(frame)))
    for key, group in numbered.groupby(KEYS, sort=True, dropna=False)["row"]:
        rows = group.to_numpy()
        feature, metric = key  # type: ignore[misc]
        yield (feature, metric), asked.take(rows), windows.take(rows)


def _constants(asked: pd.DataFrame) -> dict[str, Any]:
    """Kind and ends of the scale of one chart, as `ControlChart` takes them; null counts as not given."""
    found = {}
    for name in asked:
        several = asked[name].dropna().unique()
        if len(several) > 1:
            shown = " and ".join(quote(one) for one in sorted(several, key=str)[:2])
            raise ConfigError(f"{name}: {shown}; expected the same in all windows of a chart")
        if len(several):
            found[str(name)] = several[0]
    return found


def _usual_spacing(frame: pd.DataFrame) -> pd.Timedelta:
    """Width of the windows; a day where they are numbers or there is but one."""
    day = pd.Timedelta(days=1)
    return (spacing(read_times(frame, "window_start", "baseline")) or day) if "window_start" in frame else day
