"""The chart explorer: turn feature, metric, window, baseline, moment and budget, and see the chart follow."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import pandas as pd

from llm_monitoring import times
from llm_monitoring import wording as say
from llm_monitoring.alerts.charting import control_charts
from llm_monitoring.alerts.plan import open_with, read_plan
from llm_monitoring.charts.portfolio import MONTH
from llm_monitoring.errors import ConfigError, LogError, one_of
from llm_monitoring.exploring.chart_view import ChartView, picture
from llm_monitoring.exploring.choices import WINDOWS, Choices, charted
from llm_monitoring.exploring.reading import answers_in
from llm_monitoring.log import Log, LogLike
from llm_monitoring.measures import Measure, measure
from llm_monitoring.results import table_html, unknown
from llm_monitoring.reviewing.widget import somebody_watches

if TYPE_CHECKING:
    from llm_monitoring.alerts.charting import PlanCharts

REFITS = ("window", "baseline", "until", "false_alarms_per_month")


def explore(
    log: LogLike, *, plan: Any = None, feature: str | None = None, metric: str | None = None, window: str | None = None,
    baseline: int | None = None, until: Any = None, false_alarms_per_month: float | None = None, point: Any = None,
) -> Explorer:  # fmt: skip
    """Explore the control charts of a log: every choice shows its chart, what it promises and the answers behind it.

    Controls choose feature, metric, width of the window, days of the baseline, the moment until which the log is known and
    the budget of false alarms. Click a point of the chart, or move over it with the arrow keys, to read the answers of
    its window, worst first. The charts are those of `lm.control_charts`, so what is seen here is what `lm.check` sees.

    Parameters
    ----------
    log : Log
        What `lm.open_log` gave, or what it takes.
    plan : path, dict or Plan, optional
        What is watched; the controls begin with what it says.
    feature, metric : str, optional
        The chart shown first; by default one that alarms.
    window : {"auto", "1h", "6h", "1d"}, optional
    baseline : int, optional
        Days from the log's start that are taken as normal.
    until : time, optional
        The log as it was known then.
    false_alarms_per_month : float, optional
        Over all charts together.
    point : time, optional
        Start of the window whose answers are read.

    Returns
    -------
    Explorer
        ``.state`` is a dict of what is chosen (``lm.explore(log, **explorer.state)`` opens it again); ``.code()`` is the
        same as a snippet of public calls.

    Raises
    ------
    LogError, ConfigError
        The log or a choice cannot be used as it stands.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> explorer = lm.explore("sample_data", feature="support", metric="flagged_rate")      # doctest: +SKIP
    >>> explorer.state["feature"], explorer.state["window"]                                  # doctest: +SKIP
    ('support', 'auto')
    >>> print(explorer.code())                                                               # doctest: +SKIP
    """
    base = read_plan(plan)
    given: dict[str, Any] = {
        "window": window or base.quality.window,
        "baseline": baseline,
        "until": until or None,
        "false_alarms_per_month": false_alarms_per_month or base.quality.false_alarms_per_month,
        "point": point or None,
    }
    return Explorer(open_with(log, base), base, Choices(feature=feature, metric=metric, **given))


class Explorer(widgets.VBox):
    """What `lm.explore` returns: controls, the chart, and the answers of the window that is chosen.

    Parameters
    ----------
    log : Log
    base : Plan
        The plan that the choices change.
    choices : Choices
    """

    def __init__(self, log: Log, base: Any, choices: Choices):
        self._log, self._base, self._choices = log, base, choices
        self._fitted: dict[tuple, PlanCharts] = {}
        self._frame = pd.DataFrame()
        self._quiet = True  # while controls are set by the code and not by a person
        self._view = ChartView(self._read)
        self._controls = _controls(choices)
        self._snippet = widgets.Textarea(description="as code", layout=widgets.Layout(width="95%", height="9em"))
        for name, control in self._controls.items():
            control.observe(lambda change, name=name: self._chosen(name, change["new"]), "value")
        row = widgets.Layout(flex_flow="row wrap", display="flex")
        folded = widgets.Accordion([self._snippet], titles=["The same as code"], selected_index=None)
        super().__init__([widgets.Box([*self._controls.values()], layout=row), self._view, folded])
        self._refit()
        if choices.point is not None:
            self._read(self._number_of(choices.point))

    @property
    def state(self) -> dict[str, Any]:
        """What is chosen: `feature`, `metric`, `window`, `baseline`, `until`, `false_alarms_per_month`, `point`."""
        return self._choices.state

    def code(self) -> str:
        """Public calls that draw the chart shown, and list the answers of the window chosen."""
        return self._choices.code(self._log, self._base, self._log.measures)

    def to_frame(self) -> pd.DataFrame:
        """The windows of the chart shown, as `lm.control_charts(...).to_frame()` has them."""
        return self._frame.copy()

    def choose(self, **choices: Any) -> None:
        """Choose by code what the controls choose by hand.

        Parameters
        ----------
        **choices
            `feature`, `metric`, `window`, `baseline`, `until`, `false_alarms_per_month`, `point`.

        Raises
        ------
        ConfigError
            A name or a value is not one of those; nothing is changed then.
        """
        for name in choices:
            one_of("choice", name, list(self.state))
        point = choices.pop("point", None)
        before, self._choices = self._choices, replace(self._choices, **choices, point=None)
        try:
            self._refit()
        except (ConfigError, LogError):
            self._choices = before
            raise
        if point is not None:
            self._read(self._number_of(point))

    def _chosen(self, name: str, value: Any) -> None:
        if self._quiet:
            return
        changed = {name: value or None if name in ("baseline", "until") else value}
        if name == "feature":
            changed = {"feature": value, "metric": self._choices.metric}
        try:
            self.choose(**changed)
        except (ConfigError, LogError) as error:
            self._view.show("status", words=f"Not shown: {error}", trouble=True)

    def _refit(self) -> None:
        """Make the charts of what is chosen where they are not there yet, and show the one that is asked for."""
        key = tuple(getattr(self._choices, name) for name in REFITS)
        if key not in self._fitted:
            self._view.show("status", words="fitting the charts …")
            self._fitted[key] = self._charts_of(self._choices)
        self._charts = self._fitted[key]
        table = self._charts.to_frame()
        self._choose_chart(charted(table))
        self._show(table)

    def _charts_of(self, choices: Choices) -> PlanCharts:
        """The charts of the choices: those that a check of the same log and plan kept, else made now."""
        plan = choices.plan(self._base)
        _, kept = (None, None) if choices.until else self._log.checked.get(plan.model_dump_json(), (None, None))
        return control_charts(self._log, plan, until=choices.until) if kept is None else kept

    def _choose_chart(self, there: dict[tuple[str | None, str], bool]) -> None:
        """The chart asked for, or where there is none the nearest thing: of the same feature, of the same metric, the first."""
        asked = (self._choices.feature, self._choices.metric)
        if not there:
            self._set({"feature": ([], None), "metric": ([], None)})
            return
        same = [key for key in there if key[0] == asked[0]] or [key for key in there if key[1] == asked[1]] or [*there]
        if asked[1] is not None and asked not in there and not any(asked[1] == key[1] for key in there):
            one_of("metric", asked[1], sorted({key[1] for key in there}))
        if asked[0] is not None and not any(asked[0] == key[0] for key in there):
            one_of("feature", asked[0], sorted({str(key[0]) for key in there}))
        feature, metric = asked if asked in there else same[0]
        self._choices = replace(self._choices, feature=feature, metric=metric)
        loud = {key[0] for key, alarm in there.items() if alarm}
        features = [(_marked(_feature(one), one in loud), one) for one in dict.fromkeys(key[0] for key in there)]
        metrics = [
            (_marked(self._measure(key[1]).words, alarm), key[1]) for key, alarm in there.items() if key[0] == feature
        ]
        self._set({"feature": (features, feature), "metric": (metrics, metric)})

    def _set(self, lists: dict[str, tuple[list, Any]]) -> None:
        """Let the controls show what is chosen."""
        self._quiet = True
        for name, (options, value) in lists.items():
            self._controls[name].options = options
            self._controls[name].value = value
        for name in REFITS:
            self._controls[name].value = getattr(self._choices, name) or {"baseline": 0, "until": ""}.get(name)
        self._quiet = False

    def _show(self, table: pd.DataFrame) -> None:
        feature, metric = self._choices.feature, self._choices.metric
        if metric is None:
            self._frame = table
            self._view.show("status", words="No chart: too few windows with a value in the baseline.", trouble=True)
            return
        of = table["feature_id"].isna() if feature is None else table["feature_id"] == feature
        self._frame = table[of & (table["metric"] == metric)].reset_index(drop=True)
        meaning = self._measure(metric)
        title = f"{meaning.words} in {_feature(feature)}"
        drawn = picture(self._charts.drawn(feature, metric), meaning.shown_in, title, self._changes())
        self._view.show("status", words="")
        told = {"headline": self._headline(title, meaning), "rate": self._rate(), "feature": feature, "metric": metric}
        self._view.show("chart", **drawn, **told, chosen=None)
        self._snippet.value = self.code()

    def _headline(self, title: str, meaning: Measure) -> str:
        loud = self._frame[self._frame["alarm"]]
        watched = int((~self._frame["baseline"]).sum())
        if loud.empty:
            return f"{title}: no alarm in {watched} windows"
        first = loud.iloc[0]
        n = f" of {first['n']:,.0f}" if pd.notna(first["n"]) else ""
        value = say.amount(first["value"], meaning.shown_in)
        usual = say.amount(first["center"], meaning.shown_in)
        at = say.moment(first["window_start"])
        return f"{title}: alarm in {len(loud)} of {watched} windows, first from {at}: {value}{n}, usual is {usual}"

    def _rate(self) -> str:
        """What the chart shown promises."""
        shown = self._frame
        width = shown["window_end"].iloc[0] - shown["window_start"].iloc[0]
        result = self._charts.results[(self._choices.feature, self._choices.metric)]
        own, budget = MONTH / width / result.arl0, self._choices.false_alarms_per_month
        words = f"Expected false alarms: {budget:g} a month over all {len(self._charts)} charts, {own:.2g} in this one."
        words += f" Windows of {_width(width)}; limits from {int(shown['baseline'].sum())} of them."
        if result.detectable is not None:
            size = say.difference(result.detectable, self._measure(str(self._choices.metric)).shown_in).lstrip("+")
            words += f" A change of {size} would be seen within seven windows in 8 of 10 cases."
        return words

    def _changes(self) -> dict[str, Any]:
        """Recorded changes within the chart that could have touched the feature."""
        known = self._known().changes
        first, last = self._frame["window_start"].min(), self._frame["window_end"].max()
        inside = known[(known["timestamp"] >= first) & (known["timestamp"] <= last)]
        feature = self._choices.feature
        if feature is not None and "feature_id" in inside:
            named = inside["feature_id"].map(lambda value: [] if unknown(value) else _listed(value))
            inside = inside[[not one or feature in one for one in named]]
        return {say.one_line(row.change_id, 24): row.timestamp for row in inside.itertuples()}

    def _read(self, number: int) -> None:
        """Show the answers of a window."""
        if not 0 <= number < len(self._frame):
            return
        row = self._frame.iloc[number]
        start, end = row["window_start"], row["window_end"]
        self._choices = replace(self._choices, point=start)
        meaning = self._measure(str(self._choices.metric))
        count, rows = 0, list[dict[str, Any]]()
        if not meaning.total and meaning.of in ("requests", "judgements", "signals", "thumbs"):
            count, rows = answers_in(self._known(), meaning, self._choices.feature, start, end)
        order = "worst first" if meaning.worse else "largest first"
        shown = f", {order}" if len(rows) == count else f", the {len(rows)} {'worst' if meaning.worse else 'largest'}"
        words = f"{count:,} {meaning.counted} from {say.moment(start)} to {say.moment(end)}{shown if rows else ''}"
        self._view.show("answers", window=self._choices.point, words=words, rows=rows)
        self._snippet.value = self.code()

    def _number_of(self, point: Any) -> int:
        starts = self._frame["window_start"]
        found = starts[starts == times.moment(point, "point")]
        if found.empty:
            raise ConfigError(f"point={str(point)!r}: the chart has no window that starts then; see .to_frame()")
        return int(found.index[0])

    def _known(self) -> Log:
        return self._log.until(self._choices.until) if self._choices.until else self._log

    def _measure(self, name: str) -> Measure:
        return measure(name, self._base.own_measures(self._log))

    def __repr__(self) -> str:
        chosen = ", ".join(f"{name}={value!r}" for name, value in self.state.items() if value is not None)
        return f"Explorer({chosen})"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The live view; where nobody can turn a control (papermill, nbconvert) its words and windows, which an export shows."""
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None or somebody_watches():
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        told = self._view._shown.get("chart", {"headline": "no chart", "rate": ""})
        words = f"<p><b>{escape(told['headline'])}</b></p><p>{escape(told['rate'])}</p>"
        table = table_html(self._frame.drop(columns=["feature_id", "layer"], errors="ignore").tail(12))
        kept = {kind: one for kind, one in data.items() if kind != "application/vnd.jupyter.widget-view+json"}
        return {**kept, "text/html": words + table}, metadata


def _controls(choices: Choices) -> dict[str, Any]:
    style, apart = {"description_width": "initial"}, {"margin": "2px 20px 2px 0", "max_width": "100%"}
    narrow = {"style": style, "layout": widgets.Layout(width="auto", **apart)}
    small = {"style": style, "layout": widgets.Layout(width="17em", **apart)}
    return {
        "feature": widgets.Dropdown(description="feature", **narrow),
        "metric": widgets.Dropdown(description="metric", **narrow),
        "window": widgets.Dropdown(description="window", options=WINDOWS, value=choices.window, **narrow),
        "baseline": widgets.BoundedIntText(
            description="baseline days (0: auto)", min=0, max=3660, continuous_update=False, **small
        ),
        "until": widgets.Text(
            description="until", placeholder="2026-05-19T08:00Z", continuous_update=False, **small
        ),
        "false_alarms_per_month": widgets.BoundedFloatText(
            description="false alarms a month", min=0.01, max=1000, step=0.5, continuous_update=False, **small
        ),
    }  # fmt: skip


def _feature(name: str | None) -> str:
    return "all features" if name is None else str(name)


def _marked(words: str, alarm: bool) -> str:
    return f"{words} (alarm)" if alarm else words


def _width(width: pd.Timedelta) -> str:
    hours = width / pd.Timedelta("1h")
    return "a day" if hours == 24 else "an hour" if hours == 1 else f"{hours:g} hours"


def _listed(value: Any) -> list[str]:
    return [str(one).strip() for one in (value if isinstance(value, list | tuple) else str(value).split(","))]
