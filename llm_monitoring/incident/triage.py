"""Is it real? The rates before and since, what people read, and what else could look like this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring import wording as say
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.checking import find_alert
from llm_monitoring.incident.courses import width_of
from llm_monitoring.incident.inference.causes import Cause, whole
from llm_monitoring.incident.inference.comparison import compare, corrected_for_alert
from llm_monitoring.incident.inference.inquiry import Inquiry, inquire
from llm_monitoring.incident.inference.reviewed import Reviewed, weigh_reviews
from llm_monitoring.incident.inference.separating import separating_step
from llm_monitoring.incident.kinds import of_improvement, road_of, what_it_was
from llm_monitoring.incident.recovery import while_harmed
from llm_monitoring.results import Result, jsonable

if TYPE_CHECKING:
    from llm_monitoring.log import Log

REAL = 0.8  # the limit for a cause that is named
FALSE = 0.3  # odds of more than two to one the other way, see "the price of caution"
USUAL_RATE = 0.02  # false alarms a month of one chart, where the alert does not say: fifty charts share one


@dataclass(frozen=True, repr=False)
class TriageResult(Result):
    """Verdict of the triage; times are ISO strings, numbers raw, so that the saved JSON rebuilds it.

    Attributes
    ----------
    verdict : str
        real, false_positive or inconclusive.
    probability_real : float
        Probability that answers got worse: not chance, not other questions, not the judge.
    change : dict
        estimate, low, high (95 %), corrected for the alert having been chosen; before and after as they are, with
        intervals, n_before, n_after: the feature that alerted, up to a fix.
    reviewed, deserved : int
        Flagged answers of the period that somebody read, and those found bad.
    precision : dict
        deserved / reviewed, with an interval valid whenever the reading stops.
    reasons : list of str
        The evidence, one sentence each.
    next : str
        What decides it, or what to do next.
    chart : list of dict
        The windows of the control chart of this metric, empty where none could be fitted.
    kind : str
        change, standing (a level beyond its limit that did not move) or better (an improvement).
    limit : float or None
        The limit of a standing level.
    summary : str
        The headline of an alert that is no change of single answers.
    """

    verdict: str
    probability_real: float
    metric: str
    unit: str
    feature_id: str | None
    direction: str
    fired_at: str
    since: str
    until: str
    change: dict[str, Any]
    reviewed: int
    deserved: int
    precision: dict[str, float | None]
    reasons: list[str]
    next: str
    message: str | None
    designed_false_alarms_per_month: float | None
    chart: list[dict[str, Any]]
    reviews: list[dict[str, Any]]
    decided_at: int | None
    wald: dict[str, float | None]
    kind: str = "change"
    limit: float | None = None
    summary: str = ""

    @property
    def headline(self) -> str:
        """Verdict, probability, change and n in one sentence."""
        if self.summary:
            return self.summary
        c, words = self.change, {"false_positive": "false positive"}.get(self.verdict, self.verdict)
        told = f"{words} (P {say.probability(self.probability_real)}): {say.metric_words(self.metric)}"
        return (
            f"{told} {say.amount(c['before'], self.unit, like=c['after'])} of {c['n_before']:,} before, "
            f"{say.amount(c['after'], self.unit)} of {c['n_after']:,} since {say.moment(self.since)}; {self.reviewed} answers read"
        )

    def to_frame(self) -> pd.DataFrame:
        """The answers that were read, in reading order, with the share found bad so far and its interval."""
        columns = ["request_id", "timestamp", "user_input", "system_output", "verdict", "note", "share", "low", "high"]
        return pd.DataFrame(self.reviews, columns=columns)

    def plot(self, ax=None, narrow: bool = False):
        """The control chart of the metric; the review's course where there is no chart."""
        from llm_monitoring.incident import drawing

        if self.kind == "standing" and self.chart:
            return drawing.standing_level(pd.DataFrame(self.chart), ax, self.unit, self.limit, narrow=narrow)
        if self.chart:
            return drawing.control_chart(pd.DataFrame(self.chart), ax, self.unit, narrow=narrow)
        return drawing.triage(self.to_frame(), ax, self.wald, self.decided_at)


def triage(log: Log, alert, reviews=None, *, plan: Any = None) -> TriageResult:
    """Say whether an alert is real, a false positive, or not decided yet.

    Parameters
    ----------
    log : Log
        Everything in it is used; cut it with ``log.until(when)`` for the state of an earlier moment.
    alert : row of `check`, dict or Alert
        Needs metric, fired_at and direction.
    reviews : DataFrame or path, optional
        Verdicts of people (table `reviews`, or the file that the review widget writes); default the log's own.
        Reviews of flagged answers since the start are evidence, older ones say how often flags were deserved before.
    plan : Plan, dict or path, optional
        `[slices]` says which columns are of the question and which of the service; see `incident.inference.roles`.

    Returns
    -------
    TriageResult

    Raises
    ------
    ConfigError
        The alert lacks metric, fired_at or direction.

    Notes
    -----
    P(real) is the belief that a change, recorded or not, hit the answers (`incident.inference.causes`), times the belief that the
    extra flags are deserved given what people read. Until somebody reads, that second part is 0.97. real from
    0.8 on, false positive up to 0.3, inconclusive between; the judge clears nothing where the scores alone speak. Reviews
    are also shown as Wald's sequential test between "precision as before" and "all extra flags undeserved" at 5 % error
    each [1]_, with Robbins' interval.

    References
    ----------
    .. [1] Wald, Sequential tests of statistical hypotheses, Ann. Math. Stat. 16 (1945).

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> log = lm.open_log("sample_data")        # doctest: +SKIP
    >>> alert = lm.check(log).iloc[0]           # doctest: +SKIP
    >>> lm.incident.triage(log, alert).verdict  # doctest: +SKIP
    'real'
    """
    alert = find_alert(log, alert, plan)
    inquiry = None if alert.kind == "standing" else inquire(log, alert, reviews, plan)
    if inquiry is None or alert.kind == "standing":
        return TriageResult(**jsonable(_by_road(log, alert, plan)))
    if alert.kind == "better":
        inquiry = of_improvement(inquiry)
    read = weigh_reviews(log, alert, inquiry.since, reviews, inquiry.until)
    hit = 1 - inquiry.chance_of("none", "mix", "judge")
    real = hit * read.deserved_probability
    verdict = _verdict(inquiry, real)
    seen = compare(while_harmed(log, inquiry), whole(inquiry.seen), inquiry.since, until=inquiry.until)
    change = {k: v for k, v in seen.items() if k not in ("where", "label", "change", "low", "high")}
    change |= corrected_for_alert(inquiry.seen, seen)
    if alert.kind == "better":
        real = _moved(change, alert)
        verdict = "real" if real >= 0.975 else "inconclusive"
    return TriageResult(
        **jsonable(
            {
                "verdict": verdict,
                "probability_real": real,
                **_about(alert, inquiry.since, log),
                "change": change,
                "reviewed": read.reviewed,
                "deserved": read.deserved,
                "precision": read.precision,
                "reasons": _reasons(alert, inquiry, change, read),
                "next": _next(verdict, alert, inquiry, read),
                "chart": chart_windows(log, alert),
                "reviews": read.rows,
                "decided_at": read.decided_at,
                "wald": read.wald,
                "summary": _better_summary(alert, change, inquiry, real) if alert.kind == "better" else "",
            }
        )
    )


def _verdict(inquiry: Inquiry, real: float) -> str:
    """Real from four to one on, false positive from one to three; only what can be shown clears.

    A column that nobody sorted never clears. Nor does the judge where the scores of one feature or model alone speak
    (`Inquiry.judge_shown`): half of what speaks for it then counts as harm.
    """
    if inquiry.branch is not None and not inquiry.branch.sorted:
        return "inconclusive"
    if real >= REAL:
        return "real"
    doubt = real if inquiry.judge_shown else real + inquiry.chance_of("judge") / 2
    return "false_positive" if doubt <= FALSE else "inconclusive"


def _by_road(log: Log, alert: Alert, plan: Any) -> dict[str, Any]:
    """The fields of an alert that is no change of single answers: nobody reads answers for it, no test stops."""
    road = road_of(log, alert, plan)
    assert road is not None
    told = road.triage()
    unread = {"reviewed": 0, "deserved": 0, "precision": dict.fromkeys(("estimate", "low", "high")), "reviews": []}
    test = {"decided_at": None, "wald": dict.fromkeys(("p_real", "p_false", "expected_n"))}
    told["chart"] = (chart_windows(log, alert) if alert.kind != "standing" else []) or told["chart"]
    return {**_about(alert, told["since"], log), **unread, **test, **told}


def _moved(change: dict[str, Any], alert: Alert) -> float:
    """Probability that the level moved the way the alert says, from the change and its interval."""
    if not np.isfinite(change["low"]) or not np.isfinite(change["high"]):
        return 0.5
    error = max((change["high"] - change["low"]) / (2 * stats.norm.ppf(0.975)), 1e-12)
    return float(stats.norm.cdf((1 if alert.direction == "up" else -1) * change["estimate"] / error))


def _better_summary(alert: Alert, change: dict[str, Any], inquiry: Inquiry, p: float) -> str:
    return (
        f"better (P {say.probability(p)}): {say.metric_words(alert.metric)} in {alert.of} {say.amount(change['after'], alert.unit)} "
        f"of {change['n_after']:,} since {say.moment(inquiry.since)}, {say.amount(change['before'], alert.unit, like=change['after'])} of "
        f"{change['n_before']:,} before; nothing to do"
    )


def _about(alert: Alert, since, log: Log) -> dict[str, Any]:
    return {
        "metric": alert.metric,
        "unit": alert.unit,
        "feature_id": alert.feature_id,
        "direction": alert.direction,
        "kind": alert.kind,
        "fired_at": alert.fired_at,
        "since": since,
        "until": log.span("requests")[1],
        "message": alert.message,
        "designed_false_alarms_per_month": alert.designed_false_alarms_per_month,
    }


def chart_windows(log: Log, alert: Alert) -> list[dict[str, Any]]:
    """Windows of the alert's control chart as rows, as wide as the alert's; empty where no chart can be fitted."""
    from llm_monitoring.alerts.one_chart import chart_of

    of_chart = alert.rule in (None, "chart")  # the rate of a limit or a test is not that of a chart
    rate = (alert.designed_false_alarms_per_month if of_chart else None) or USUAL_RATE
    width = width_of(alert) if of_chart else "1d"
    chart = chart_of(log, alert.metric, alert.feature_id, window=width, false_alarms_per_month=rate)
    if chart is None and width != "1d":
        chart = chart_of(log, alert.metric, alert.feature_id, false_alarms_per_month=rate)
    if chart is None:
        return []
    columns = ["window_start", "window_end", "value", "n", "statistic", "center", "lower", "upper", "alarm"]
    return jsonable(chart.to_frame().reindex(columns=columns))


def _reasons(alert: Alert, inquiry: Inquiry, change: dict, read: Reviewed) -> list[str]:
    unit = alert.unit
    moved = (
        f"{say.metric_words(alert.metric).capitalize()} in {alert.of} went from {say.amount(change['before'], unit, like=change['after'])} "
        f"(n {change['n_before']:,}) to {say.amount(change['after'], unit)} (n {change['n_after']:,}) since "
        f"{say.moment(inquiry.since)}: {say.difference(change['estimate'], unit)} "
        f"{say.span(change['low'], change['high'], unit, sign=True, like=change['estimate'])}, 95 %."
    )
    chance = (
        f"Chance alone: probability {say.probability(inquiry.chance_of('none'))}; "
        f"other questions alone: {say.probability(inquiry.chance_of('mix'))}."
    )
    reasons = [moved, chance]
    if alert.kind == "better":
        return [moved, what_it_was(inquiry)]
    if any(cause.kind == "judge" for cause in inquiry.causes):
        judge = say.probability(inquiry.chance_of("judge"))
        reasons.append(f"A judge that changed would have moved every feature alike: probability {judge}.")
    mix = inquiry.mix
    reasons.append(
        f"Of the change, {say.difference(mix.mix_effect, unit)} come from other questions (mix) and "
        f"{say.difference(mix.within_effect, unit)} from answers within the same kinds of questions."
    )
    if inquiry.branch is not None:
        reasons.insert(1, inquiry.branch.sentence)
    return [*reasons, *read.sentences]


def _next(verdict: str, alert: Alert, inquiry: Inquiry, read: Reviewed) -> str:
    if alert.kind == "better":
        return "Nothing to do. If the weeks before were an incident, set [baseline] of the plan."
    if verdict == "real":
        unread = (
            " Nobody has read an answer yet: read 20 flagged ones to make sure."
            if alert.judged and not read.reviewed
            else ""
        )
        return f"Go on to scope: whom does it hit?{unread}"
    if verdict == "false_positive":
        if inquiry.chance_of("mix") > 0.5:
            return "No answer got worse; look at the new mix of questions, and chart the features apart."
        if alert.judged and read.deserved_probability < 0.5:
            return "The flags are not deserved: correct the judge or its rubric, not the feature."
        if alert.judged and inquiry.chance_of("judge") > 0.5:
            return f"Make sure of the judge, then correct it: {separating_step(inquiry, *_rivals(inquiry))}"
        return "Close it as a false alarm; the chart goes on with the same baseline."
    if inquiry.branch is not None and not inquiry.branch.sorted:
        return inquiry.branch.question
    more = f"Read {20 - read.reviewed} more flagged answers. " if alert.judged and read.reviewed < 20 else ""
    return more + separating_step(inquiry, *_rivals(inquiry))


def _rivals(inquiry: Inquiry) -> tuple[Cause, Cause]:
    """The likeliest cause by which answers got worse, and the likeliest by which they did not."""
    harmless = ("none", "mix", "judge")
    first = {cause.kind in harmless: cause for cause in reversed(inquiry.causes)}
    return first[False], first[True]
