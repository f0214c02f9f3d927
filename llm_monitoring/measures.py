"""What each metric is: its words, unit and kind, which way is worse, and which value of one answer it rests on.

Everything that shows a number takes its meaning from here; `answers` has the values themselves.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from llm_monitoring.errors import ConfigError, nearest, one_of, quote

KINDS = ("mean", "proportion", "positive", "count")


@dataclass(frozen=True)
class Measure:
    """One metric, declared once: what it is called, what it is counted in, and when it is worse.

    Parameters
    ----------
    name : str
        How results, plans and alerts call it.
    column : str, optional
        Column of `requests` that holds the value of one answer; unknown (null) values are left out.
    kind : {"mean", "proportion", "positive", "count"}
        A plain mean; a share of answers (values 0 and 1, or true and false); a skewed amount above 0 that changes by
        factors (latency, cost, tokens); or a small whole number per answer.
    worse : {"up", "down", None}
        Which way hurts; None where both do.
    unit : str, optional
        ms, usd, tokens, share, score, or any word that is printed behind the number.
    sql : str, optional
        In place of `column`: one scalar expression in DuckDB's dialect over the columns of `requests`.
    label, of, quantile, total, judge
        What the metrics of this package need beside: their words, the table behind them (`requests`, `judgements`,
        `signals`, `thumbs`, `probes`, `questions`), the quantile or the total that they are, and the second judge.

    Raises
    ------
    ConfigError
        The declaration cannot be used: a name that is taken, neither `column` nor `sql`, an unknown kind.

    Examples
    --------
    >>> Measure("ttft", column="ttft_ms", kind="positive", worse="up", unit="ms").words
    'ttft'
    >>> measure("mean_quality[judge-b]").words
    'mean quality by judge-b'
    """

    name: str
    column: str | None = None
    kind: str = "mean"
    worse: str | None = "up"
    unit: str | None = None
    sql: str | None = None
    label: str | None = None
    of: str = "requests"
    quantile: float | None = None
    total: bool = False
    judge: str | None = None

    def __post_init__(self) -> None:
        one_of(f"Measure({self.name!r}, kind)", self.kind, KINDS)
        if self.worse is not None:
            one_of(f"Measure({self.name!r}, worse)", self.worse, ("up", "down"))

    @property
    def words(self) -> str:
        """The metric in words, as it stands in a sentence."""
        named = self.label or self.name.split("[")[0].replace("_", " ")
        return f"{named} by {self.judge}" if self.judge else named

    @property
    def judged(self) -> bool:
        """Whether it rests on judged answers: then it may be the judge that changed."""
        return self.of == "judgements"

    @property
    def counted(self) -> str:
        """What n counts, in words."""
        return {"judgements": "judged answers", "thumbs": "thumbs", "probes": "probe results"}.get(
            self.of, "questions" if self.of == "questions" else "requests"
        )

    @property
    def shown_in(self) -> str:
        """How its numbers are printed: share, score, ms, usd, count, or a unit of your own."""
        if self.unit is None:
            return "share" if self.kind == "proportion" else "count"
        return "count" if self.unit == "tokens" else self.unit

    @property
    def layer(self) -> str:
        """The alert layer that charts it: infrastructure for errors, latency and volume, cost for money or tokens, else quality."""
        if self.name in ("error_rate", "request_count") or (self.name in BUILT_IN and self.unit == "ms"):
            return "infrastructure"
        return "cost" if self.unit in ("usd", "tokens") else "quality"

    def is_worse(self, direction: str) -> bool:
        """Whether a move up or down hurts."""
        return self.worse is None or direction == self.worse


def _share(name: str, label: str, of: str = "requests", worse: str | None = "up", column: str | None = None) -> Measure:
    return Measure(name, column or name.removesuffix("_rate"), "proportion", worse, "share", label=label, of=of)


def _amount(name: str, column: str, unit: str, label: str, **more: Any) -> Measure:
    return Measure(name, column, "positive", "up", unit, label=label, **more)


BUILT_IN: dict[str, Measure] = {
    each.name: each
    for each in (
        _share("error_rate", "error rate"),
        _share("refusal_rate", "refusal rate"),
        _share("truncation_rate", "share of truncated answers"),
        _amount("latency_p50_ms", "latency_ms", "ms", "median latency", quantile=0.5),
        _amount("latency_p95_ms", "latency_ms", "ms", "latency (p95)", quantile=0.95),
        _amount("latency_p99_ms", "latency_ms", "ms", "latency (p99)", quantile=0.99),
        _amount("avg_cost_per_request_usd", "cost_usd", "usd", "cost per request"),
        _amount("avg_input_tokens", "input_tokens", "tokens", "input tokens per request"),
        _amount("avg_output_tokens", "output_tokens", "tokens", "output tokens per request"),
        _amount("total_cost_usd", "cost_usd", "usd", "total cost", total=True),
        Measure("request_count", None, "count", None, "requests", label="request volume", total=True),
        Measure("mean_quality", "quality_score", "mean", "down", "score", label="mean quality", of="judgements"),
        _share("flagged_rate", "share of flagged answers", "judgements"),
        _share("failed_rate", "share of failed judgements", "judgements"),
        _share("correction_rate", "correction rate", "signals"),
        _share("follow_up_rate", "follow-up rate", "signals"),
        _share("retry_rate", "retry rate", "signals"),
        _share("abandonment_rate", "abandonment rate", "signals", column="abandoned"),
        _share("abandonment_risk", "abandonment rate", "signals", column="abandoned"),
        _share("survivorship_bias_risk", "abandonment rate", "signals", column="abandoned"),
        _share("explicit_positive_rate", "share of thumbs up", "thumbs", "down", "up"),
        _share("probe_pass_rate", "share of probes passed", "probes", "down", "passed"),
        Measure("probe_distance", None, "mean", "up", "share", label="distance of the border probes", of="probes"),
        Measure("query_drift", None, "mean", None, "p", label="kind of questions asked", of="questions"),
    )
}


TAKEN = frozenset(
    {
        *BUILT_IN,
        *("window_start", "window_end", "request_count", "n_thumbs", "sd_quality", "se_quality", "session_count"),
        *("explicit_feedback_coverage", "requests_per_session", "median_length_minutes", "single_request_rate"),
        *("positive_rate_low", "positive_rate_high", "positive_rate_weighted", "survivorship_bias_risk"),
        *("abandonment_risk", "silent_abandonment_rate", "responding_abandonment_rate"),
    }
)


def is_known(name: str) -> bool:
    """Whether a name is that of a measure of this package, a dimension's mean included."""
    base = _split(name)[0]
    return base in BUILT_IN or (base.startswith("mean_") and len(base) > len("mean_"))


def measure(name: str, own: Iterable[Measure] = ()) -> Measure:
    """The measure of a name: one of section 5, one of the user's, a dimension of the rubric, or either by a second judge.

    Parameters
    ----------
    name : str
        Such as ``error_rate``, ``mean_tone``, ``flagged_rate[judge-b]``.
    own : iterable of Measure
        The measures that a log or a plan declares.

    Raises
    ------
    ConfigError
        No measure is called so; the nearest name is given.
    """
    mine = {each.name: each for each in own}
    if name in mine:
        return mine[name]
    base, judge = _split(name)
    found = BUILT_IN.get(base)
    if found is None and base.startswith("mean_") and len(base) > len("mean_"):
        dimension = base.removeprefix("mean_")
        found = Measure(base, dimension, "mean", "down", "score", label=base.replace("_", " "), of="judgements")
    if found is None or (judge is not None and not found.judged):
        known = [*BUILT_IN, *mine]
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
        raise ConfigError(f"metric {quote(str(name))} is not known; the nearest is {near!r}")
    return replace(found, name=name, judge=judge)


def _split(name: str) -> tuple[str, str | None]:
    match = re.fullmatch(r"([^\[\]]+)\[(.+)\]", str(name), re.DOTALL)
    return (match[1], match[2]) if match else (str(name), None)


#: What stands in `error` where there is none: a flag, a word for nothing, an empty object or list.
NO_ERROR = ("", "false", "0", "no", "none", "null", "nan", "{}", "[]")


def failed(error: object, finish_reason: str | None) -> bool:
    """Whether one request is an error: where `error` says so, or its finish reason does.

    >>> failed(None, "error"), failed("false", "end_turn"), failed("timeout", None)
    (True, False, True)
    """
    told = error is not None and error is not False and str(error).strip().lower() not in NO_ERROR
    return told or finish_reason == "error"


def of_judge(name: str, judge: str) -> str:
    """The name of a metric as a second judge gives it; the first judge's has no addition.

    >>> of_judge("mean_quality", ""), of_judge("mean_quality", "judge-b")
    ('mean_quality', 'mean_quality[judge-b]')
    """
    return f"{name}[{judge}]" if judge else name


def check_columns(measures: Iterable[Measure], columns: Iterable[str]) -> None:
    """Refuse a custom measure of a column that requests do not have."""
    there = list(columns)
    for each in measures:
        if each.column is not None and each.column not in there:
            more = nearest(each.column, there)
            raise ConfigError(f"measure {each.name!r}: requests have no column {each.column!r}{more}")


def declared(given: Any, of: str = "measures") -> tuple[Measure, ...]:
    """The custom measures, checked: from `Measure` objects, or from a table of a plan (name -> keys).

    Raises
    ------
    ConfigError
        An entry that is no measure, a name that is taken or declared twice, neither or both of `column` and `sql`.
    """
    if given is None:
        return ()
    listed = [_of_keys(str(name), keys, of) for name, keys in given.items()] if isinstance(given, Mapping) else given
    found: dict[str, Measure] = {}
    for each in listed:
        if not isinstance(each, Measure):
            raise ConfigError(
                f"{of}: {quote(each)}; expected Measure objects, such as Measure('ttft', column='ttft_ms')"
            )
        if not isinstance(each.name, str) or not re.fullmatch(r"[^\W\d][\w.-]*", each.name):
            raise ConfigError(
                f"{of}: {quote(each.name)!s} is not a valid name of a measure; expected one such as 'ttft'"
            )
        if each.name in TAKEN or each.name.startswith(("mean_", "n_")):
            raise ConfigError(f"{of}: {each.name!r} is the name of a metric of this package; choose another name")
        if (each.column is None) == (each.sql is None):
            raise ConfigError(
                f"{of}: {each.name!r} has {'both' if each.sql else 'neither'} column and sql; expected one"
            )
        if found.setdefault(each.name, each) != each:
            raise ConfigError(f"{of}: {each.name!r} is declared twice, differently; keep one of them")
    return tuple(found.values())


def _of_keys(name: str, keys: Any, of: str) -> Measure:
    allowed = [field.name for field in fields(Measure)][1:6]
    if not isinstance(keys, Mapping):
        raise ConfigError(f"{of}: {name} = {quote(keys)}; expected keys such as column, kind, worse, unit")
    for key in keys:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, n=1, cutoff=0.0)[0]
            raise ConfigError(f"{of}: {key!r} is not a key of [measures.{name}]; the nearest is {near!r}")
    given = dict(keys)
    if given.get("worse") in ("", "both", "none"):
        given["worse"] = None
    return Measure(name, **given)


def together(*groups: Iterable[Measure]) -> tuple[Measure, ...]:
    """The measures of a log and of a plan as one list; the same name declared differently is refused."""
    return declared([each for group in groups for each in group])


def as_table(own: Iterable[Measure]) -> dict[str, dict[str, Any]]:
    """Custom measures as the table `[measures]` of a plan.

    >>> as_table([Measure("ttft", column="ttft_ms", kind="positive", unit="ms")])
    {'ttft': {'column': 'ttft_ms', 'kind': 'positive', 'worse': 'up', 'unit': 'ms'}}
    """
    keys = ("column", "kind", "worse", "unit", "sql")
    table = {each.name: {key: getattr(each, key) for key in keys} for each in own}
    return {
        name: {k: v for k, v in row.items() if v is not None} | ({} if row["worse"] else {"worse": "both"})
        for name, row in table.items()
    }
