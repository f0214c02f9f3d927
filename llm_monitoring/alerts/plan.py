"""The plan: what is watched, how closely, and how many false alarms are allowed. TOML in, a checked model out."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from llm_monitoring.addresses import destination
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.measures import Measure, declared, together
from llm_monitoring.windows import width

if TYPE_CHECKING:
    from llm_monitoring.log import Log

QualityMetric = Literal[
    "mean_quality",
    "dimensions",
    "flagged_rate",
    "failed_rate",
    "refusal_rate",
    "truncation_rate",
    "abandonment_rate",
    "retry_rate",
    "correction_rate",
    "explicit_positive_rate",
]
Spent = Literal["avg_cost_per_request_usd", "avg_input_tokens", "avg_output_tokens", "total_cost_usd"]
Operated = Literal["request_count", "error_rate", "latency_p50_ms", "latency_p95_ms"]
Auto = Literal["auto", "1h", "6h", "1d"]
Layer = Literal["infrastructure", "cost", "quality"]
Severity = Literal["critical", "warning", "info"]


def _written_out(when: Any) -> Any:
    """A text that is no date is no time: "7" is not seven seconds after 1970."""
    if isinstance(when, str) and not re.match(r"\d{4}-\d\d?-\d\d?", when):
        raise ValueError(f"expected {A_TIME}")
    return when


def _zoned(when: datetime) -> datetime:
    if when.tzinfo is None:
        raise ValueError(f"expected {A_TIME}")
    return when


def _after_start(when: datetime, info: ValidationInfo) -> datetime:
    """Refuse an end before its start, which would cover nothing and say nothing."""
    start = info.data.get("start")
    if start is not None and when <= start:
        raise ValueError("expected a moment after its start")
    return when


ZonedTime = Annotated[datetime, BeforeValidator(_written_out), AfterValidator(_zoned)]
EndTime = Annotated[ZonedTime, AfterValidator(_after_start)]
A_TIME = "a time with a zone, such as 2026-05-11T00:00:00Z"
#: Kind of a key -> the kinds of value that it takes, and what it is in words.
KINDS = {
    bool: ((bool,), "true or false"),
    int: ((int, float), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text in quotes"),
    datetime: ((datetime, str), A_TIME),
}


def _kinds_of(annotation: Any) -> list[Any]:
    """The kinds that a key takes: `float | None` is a float, an annotated time a time."""
    if hasattr(annotation, "__metadata__"):
        return _kinds_of(get_args(annotation)[0])
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return [annotation] if parts == (annotation,) else [kind for part in parts for kind in _kinds_of(part)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _of_its_kind(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what would be taken for something else: true for 1, 0 for a time, a number in quotes."""
        kinds = [kind for kind in _kinds_of(cls.model_fields[str(info.field_name)].annotation) if kind in KINDS]
        fits = any(isinstance(value, KINDS[kind][0]) for kind in kinds) and (
            bool in kinds or not isinstance(value, bool)
        )
        if value is None or not kinds or fits:
            return value
        raise ValueError(f"expected {' or '.join(KINDS[kind][1] for kind in kinds)}")


class BaselinePlan(_Section):
    """What counts as normal: the first weeks of each feature. It is frozen: later days never move it."""

    days: int | None = Field(
        default=None,
        ge=1,
        le=36_500,
        description="length; by default charts begin after 14 days and are fitted once more at 28",
    )
    start: ZonedTime | None = Field(default=None, description="first moment; by default each feature's first day")
    end: EndTime | None = Field(default=None, description="last moment, if `days` is not given")

    holidays: list[date] = Field(
        default=[],
        description="days such as 2026-12-25 that are neither learnt from nor charted, nor is their volume limited",
    )
    timezone: str = Field(
        default="UTC",
        description="whose midnight holidays begin and end at; windows of hours and days are those of UTC",
    )

    @field_validator("timezone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise ValueError("expected a name such as Europe/Berlin") from None
        return zone


class InfrastructurePlan(_Section):
    """Fixed limits, checked window by window and per feature."""

    enabled: bool = Field(default=True, description="false switches the layer off")
    window: str = Field(default="5min", description="width; a feature with less traffic gets 1h, 6h or 1d")
    min_requests: int = Field(
        default=20, ge=2, description="requests that are judged at once; windows with fewer are put together"
    )
    for_windows: int = Field(default=2, ge=1, alias="for", description="windows in a row that must be over the limit")
    level: float = Field(
        default=0.99, gt=0.5, lt=1, description="level of the interval whose end must be over the limit"
    )
    hysteresis: float = Field(default=0.2, ge=0, lt=1, description="an alert ends this share below its limit")
    error_rate: float = Field(default=0.05, gt=0, lt=1, description="limit of the share of requests with an error")
    latency_factor: float = Field(default=2.0, gt=1, description="limit of p95 and p99, in multiples of the baseline's")
    latency_p95_ms: float | None = Field(default=None, gt=0, description="limit of p95 in ms, in place of the multiple")
    latency_p99_ms: float | None = Field(default=None, gt=0, description="limit of p99 in ms, in place of the multiple")
    volume_low: float = Field(default=0.2, ge=0, lt=1, description="fewer requests than this share of the usual ones")
    volume_high: float = Field(default=5.0, gt=1, description="more requests than this multiple of the usual ones")
    metrics: list[Operated] = Field(
        default=list(get_args(Operated)), description="what is charted beside the limits, under the budget of [quality]"
    )

    @field_validator("window")
    @classmethod
    def _width(cls, window: str) -> str:
        width(window)
        return window


class CostPlan(_Section):
    """Money and tokens a request, by charts that share the budget of [quality]."""

    enabled: bool = Field(default=True, description="false switches the layer off")
    window: Auto = Field(default="auto", description="1h, 6h, 1d, or auto: the shortest with enough requests")
    requests_per_window: int = Field(default=10, ge=1, description="requests that auto wants in most windows")
    metrics: list[Spent] = Field(default=list(get_args(Spent)), description="what is charted")
    smallest_change: float = Field(default=0.0, ge=0, description="a change by a smaller share is info (0.05 = 5 %)")
    critical_factor: float = Field(default=2.0, gt=1, description="a rise to this multiple is critical")


class QualityPlan(_Section):
    """Judged quality and what users do, by charts with one budget of false alarms."""

    enabled: bool = Field(default=True, description="false switches the layer off")
    false_alarms_per_month: float = Field(
        default=1.0, gt=0, description="over all charts and tests of the plan together"
    )
    reserve: float = Field(
        default=0.05, ge=0, lt=1, description="share of it that is kept for charts which begin later"
    )
    window: Auto = Field(default="auto", description="1h, 6h, 1d, or auto: the shortest with enough answers")
    settle: str | float = Field(
        default=0.95, description="wait after a window for its judgements: a share of the baseline's, or a time (2h)"
    )
    answers_per_window: int = Field(default=20, ge=1, description="judged answers that auto wants in most windows")
    requests_per_window: int = Field(
        default=100, ge=1, description="the same for shares of requests, which are usually small"
    )
    metrics: list[QualityMetric] = Field(default=list(get_args(QualityMetric)), description="what is charted")
    versions: list[str] = Field(
        default=["prompt_version", "model_id"],
        description="columns whose values are compared at the same hours where they serve side by side",
    )
    smallest_change: float = Field(
        default=0.0, ge=0, description="a change by less is info (points of a score, or of a share: 0.01 = 1 point)"
    )
    flagged_rate_limit: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="alert where a week's share of flagged answers is above it, baseline or not",
    )
    mean_quality_limit: float | None = Field(
        default=None, description="alert where a week's mean quality is below it, baseline or not"
    )
    critical_fall: float = Field(default=0.3, gt=0, description="a fall of a mean score by this much is critical")
    critical_rise: float = Field(
        default=0.1, gt=0, lt=1, description="a rise of a share by this much is critical (0.1 = 10 points)"
    )
    abandonment_above: float = Field(
        default=0.3, gt=0, lt=1, description="warn where the abandonment rate is above this"
    )
    query_drift: bool = Field(
        default=True, description="test weekly whether the questions changed, where texts are logged"
    )
    probes: bool = Field(default=True, description="compare each probe run with earlier runs of the same model")
    same_cause_days: float = Field(
        default=2.0, ge=0, description="changes of one feature this close together are one alert"
    )

    @field_validator("settle", mode="before")
    @classmethod
    def _settles(cls, settle: Any) -> Any:
        if isinstance(settle, str):
            width(settle)
        elif isinstance(settle, bool) or not isinstance(settle, int | float) or not 0 < settle < 1:
            raise ValueError("expected a share above 0 and below 1, or a time such as '2h'")
        return settle


class SlicesPlan(_Section):
    """What each column of the log is of: only a moved mix of questions explains an alert away."""

    question: list[str] = Field(default=[], description="columns that users bring, such as their region")
    service: list[str] = Field(default=[], description="columns that you choose, such as a pool or a route")

    @model_validator(mode="after")
    def _one_role(self) -> SlicesPlan:
        both = sorted(set(self.question) & set(self.service))
        if both:
            raise ValueError(f"expected each column in one list; {both[0]!r} is in both")
        return self


class IncidentPlan(_Section):
    """What the incident stages take for granted before they look."""

    incidents_per_month: float = Field(
        default=1.0, gt=0, description="how often something breaks; the stages weigh chance against it"
    )


class WatchPlan(_Section):
    """How often `watch` looks, and what it does beside telling. No key of it moves an alert."""

    infrastructure: str = Field(default="1min", description="how often a running watch looks at this layer, at most")
    cost: str = Field(default="15min", description="the same; a call with --once looks at all that is due")
    quality: str = Field(default="15min", description="the same")
    first_round: str = Field(default="24h", description="the first round reports open alerts that fired this recently")
    report: bool = Field(
        default=False, description="true writes the incident folder of each alert of the quality layer"
    )
    reports: str = Field(default="reports", description="where incident folders are written")

    @field_validator("infrastructure", "cost", "quality", "first_round")
    @classmethod
    def _width(cls, span: str) -> str:
        width(span)
        return span


class SinkPlan(_Section):
    """Where alerts are sent: an address of Apprise, jsonl://PATH, prometheus://HOST:PORT or otlp://HOST:PORT."""

    url: str = Field(
        repr=False, description="a name in ${NAME} is taken from the environment, so that no secret is written here"
    )
    layers: list[Layer] = Field(default=[], description="which layers; an empty list is all")
    severity: list[Severity] = Field(
        default=list(get_args(Severity)),
        description='a list (an empty one sends nothing), or one word: "warning" is warning and worse',
    )
    features: list[str] = Field(default=[], description="which features; an empty list is all")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        if "://" not in url and not re.fullmatch(r"\$\{\w+\}", url):
            raise ValueError("expected an address with its kind in front, such as jsonl://alerts.jsonl or slack://...")
        return url

    @field_validator("severity", mode="before")
    @classmethod
    def _and_worse(cls, severity: Any) -> Any:
        known = get_args(Severity)
        if not isinstance(severity, str):
            return severity
        return list(known[: known.index(severity) + 1]) if severity in known else [severity]


class SilencePlan(_Section):
    """Alerts that are known: they stay in the table, marked, and are not delivered."""

    feature: str | None = Field(default=None, description="which feature; left out: all")
    metric: str | None = Field(default=None, description="which metric; left out: all")
    start: ZonedTime | None = Field(default=None, alias="from", description="start; left out: always")
    end: EndTime | None = Field(default=None, alias="to", description="end; left out: forever")
    reason: str = Field(default="", description="the reason, for later readers of the plan")

    def covers(self, alert: Any) -> bool:
        """Whether an alert is meant."""
        named = self.feature in (None, alert.feature_id) and self.metric in (None, alert.metric)
        after = self.start is None or alert.fired_at >= self.start
        return named and after and (self.end is None or alert.fired_at < self.end)


class Plan(_Section):
    """A monitoring plan; every key has a default.

    >>> Plan().quality.false_alarms_per_month
    1.0
    """

    baseline: BaselinePlan = BaselinePlan()
    infrastructure: InfrastructurePlan = InfrastructurePlan()
    cost: CostPlan = CostPlan()
    quality: QualityPlan = QualityPlan()
    slices: SlicesPlan = SlicesPlan()
    incident: IncidentPlan = IncidentPlan()
    watch: WatchPlan = WatchPlan()
    sinks: list[SinkPlan] = Field(default=[], description="Where watch sends alerts, one table for each place.")
    silence: list[SilencePlan] = Field(
        default=[], description="Alerts that are known: they stay in the table, marked, and are not delivered."
    )
    features: dict[str, list[str]] = Field(default={}, description="Several names of one feature, as after a renaming.")
    measures: dict[str, Any] = Field(default={}, description="Measures of your own, charted beside the others.")
    scales: dict[str, Any] = Field(default={}, description="The scale of a judge that does not score from 1 to 5.")

    def own_measures(self, log: Log) -> tuple[Measure, ...]:
        """The custom measures that the log and this plan declare."""
        return together(log.measures, declared(self.measures, "plan"))


def _key(name: str, field) -> str:
    return field.alias or name


EXAMPLES = {
    "silence": [
        "# [[silence]]",
        *(
            f"# {_key(key, field)} = {shown}  # {field.description}"
            for (key, field), shown in zip(
                SilencePlan.model_fields.items(),
                ('"search"', '"latency_p95_ms"', "2026-05-11T00:00:00Z", "2026-05-18T00:00:00Z", '"planned move"'),
            )
        ),
    ],
    "features": ["# [features]", '# assistant = ["chat", "assistant"]  # the names that are one feature'],
    "measures": [
        "# [measures.ttft]",
        '# column = "ttft_ms"  # a column of requests with numbers; or sql = "output_tokens / latency_ms"',
        '# kind = "positive"  # mean, proportion, positive (changes by factors), count',
        '# worse = "up"  # up, down, or both',
        '# unit = "ms"',
    ],
    "scales": ["# [scales]", '# my-judge = "0..10"  # LOW..HIGH or pass_fail; "*" is every other judge'],
    "sinks": [
        "# [[sinks]]",
        *(
            f"# {key} = {shown}  # {SinkPlan.model_fields[key].description}"
            for key, shown in (
                ("url", '"jsonl://alerts.jsonl"'),
                ("layers", "[]"),
                ("severity", '"info"'),
                ("features", "[]"),
            )
        ),
    ],
}


def read_plan(plan: Plan | Mapping[str, Any] | str | os.PathLike | None = None) -> Plan:
    """The plan of a TOML file, of a dict, or the defaults.

    Parameters
    ----------
    plan : path, dict, Plan or None
        A path of a TOML file, its content as a dict, or a plan as it is. None gives the defaults.

    Raises
    ------
    ConfigError
        The file is missing or no TOML, a key is unknown (the nearest known one is named), or a value cannot be used.

    Examples
    --------
    >>> read_plan({"quality": {"window": "1d"}}).quality.window
    '1d'
    >>> read_plan({"quality": {"false_alarm_per_month": 2}})
    Traceback (most recent call last):
    ...
    llm_monitoring.errors.ConfigError: plan: 'false_alarm_per_month' is not a key of [quality]; the nearest is 'false_alarms_per_month'
    """
    if plan is None or isinstance(plan, Plan):
        return plan or Plan()
    if isinstance(plan, Mapping):
        return _checked(dict(plan), "plan", "")
    path = Path(plan)
    try:
        text = path.read_text(encoding="utf-8")
        return _checked(tomllib.loads(text), path.name, text)
    except OSError as fault:
        raise ConfigError(
            f"plan {quote(str(path))}: cannot be read ({fault.strerror}). Name a TOML file, such as the one that llm-monitoring init writes"
        ) from fault
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise ConfigError(f"{path.name}: not TOML: {fault}") from fault


def open_with(log: Log | Any, plan: Plan, **opening: Any) -> Log:
    """A log opened with the measures and the scales that a plan declares.

    Parameters
    ----------
    log : path, URL, dict or Log
    plan : Plan
    **opening
        Options of `open_log`. Its scales go over those of the plan.

    Raises
    ------
    ConfigError
        The log is open already, without the plan's scales.
    """
    from llm_monitoring.log import Log, open_log

    measures = plan.own_measures(log) if isinstance(log, Log) else declared(plan.measures, "plan")
    scales = {**plan.scales, **(opening.pop("scales", None) or {})}
    opened = open_log(log, measures=measures or None, scales=scales or None, **opening)
    return opened.with_features(plan.features) if plan.features else opened


def default_plan_text() -> str:
    """The whole plan with its defaults as TOML, each key with a word on what it does.

    >>> print(default_plan_text().splitlines()[3])
    [baseline]
    """
    return plan_text(Plan())


def plan_text(plan: Plan) -> str:
    """A plan as TOML, each key with a word on what it does; what is not set is a comment, and no secret of a sink is in it."""
    lines = ["# Monitoring plan. Every key may be left out; its default then applies.", ""]
    for name, section in Plan.model_fields.items():
        value = getattr(plan, name)
        if isinstance(value, dict | list):
            written = _tables(name, value) if isinstance(value, dict) else _listed(name, value)
            lines += [f"# {section.description}", *(written if value else EXAMPLES[name]), ""]
            continue
        lines += [f"# {type(value).__doc__}", f"[{name}]"]
        for key, field in type(value).model_fields.items():
            own = getattr(value, key)
            shown = f"# {_key(key, field)} =" if own is None else f"{_key(key, field)} = {_toml(own)}"
            lines.append(f"{shown}  # {field.description}")
        lines.append("")
    return "\n".join(lines)


def _tables(name: str, value: Mapping[str, Any]) -> list[str]:
    flat = [f"{_toml(key)} = {_toml(one)}" for key, one in value.items() if not isinstance(one, Mapping)]
    nested = [
        line
        for key, one in value.items()
        if isinstance(one, Mapping)
        for line in (f"[{name}.{_toml(key)}]", *(f"{part} = {_toml(each)}" for part, each in one.items()))
    ]
    return [*([f"[{name}]", *flat] if flat else []), *nested]


def _listed(name: str, value: list[Any]) -> list[str]:
    lines = []
    for one in value:
        shown = one.model_dump(by_alias=True, exclude_none=True) | (
            {"url": destination(one.url)} if "url" in type(one).model_fields else {}
        )
        lines += [f"[[{name}]]", *(f"{key} = {_toml(each)}" for key, each in shown.items())]
    return lines


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def _checked(given: dict, name: str, text: str) -> Plan:
    faults = _unknown_keys(given, name, text)
    if faults:
        raise ConfigError("\n".join(faults))
    try:
        plan = Plan(**given)
        declared(plan.measures, f"{name}: measures")
        return plan
    except ValidationError as error:
        raise ConfigError("\n".join(_wording(fault, name, text) for fault in error.errors())) from None


def _unknown_keys(given: dict, name: str, text: str) -> list[str]:
    faults = []
    sections = list(Plan.model_fields)
    for section, content in given.items():
        if section not in sections:
            faults.append(f"{_place(name, text, section, None)}: {_no_key(section, 'a plan', sections)}")
            continue
        default = Plan.model_fields[section].default
        if isinstance(default, dict):
            continue
        kind = get_args(Plan.model_fields[section].annotation)[0] if isinstance(default, list) else type(default)
        known = [_key(key, field) for key, field in kind.model_fields.items()]
        called = f"[[{section}]]" if isinstance(default, list) else f"[{section}]"
        for nth, table in enumerate(content if isinstance(content, list) else [content]):
            strange = [key for key in table if key not in known] if isinstance(table, Mapping) else []
            faults += [f"{_place(name, text, section, key, nth)}: {_no_key(key, called, known)}" for key in strange]
    return faults


def _no_key(key: str, of: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"{quote(key)} is not a key of {of}; the nearest is {close[0]!r}"


def _wording(fault: Any, name: str, text: str) -> str:
    section, *inner = fault["loc"]
    nth = inner.pop(0) if inner and isinstance(inner[0], int) else None
    key = str(inner[0]) if inner else None
    kind = next((words for start, words in PARSED.items() if fault["type"].startswith(start)), None)
    expected = (
        kind or fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ").split("; expected ")[-1]
    )
    missing = fault["type"] == "missing"
    place = _place(name, text, section, None if missing else key, nth or 0)
    if fault["type"] in ("model_type", "model_attributes_type"):
        expected = "a table of keys"
    if fault["type"] == "list_type":
        expected = f"tables, each under a line [[{section}]]" if key is None else "a list"
    where = (f"[{section}]" if nth is None else f"[[{section}]]") + (f" {key}" if key else "")
    if missing:
        return f"{place}: {where} is missing; expected a value"
    given = fault["input"]
    if section == "sinks" and key in (None, "url"):
        given = destination(given) if isinstance(given, str) else type(given).__name__
    return f"{place}: {where} = {quote(given)}; expected {expected.removeprefix('expected ')}"


#: What a fault of reading a value begins with -> what was expected, in words.
PARSED = {
    "datetime_": A_TIME, "date_": "days such as 2026-12-25", "int_": "a whole number", "float_": "a number",
    "finite_": "a number", "string_type": "a text in quotes",
}  # fmt: skip


def _place(name: str, text: str, section: str, key: str | None, nth: int = 0) -> str:
    """The file, and the line of a key of a section (of the nth of its name) where the text has it."""
    current: str | None = None
    before = 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*\"?([^\]\".]+)", line)
        current = header[1].strip() if header else current
        if header and current == section and line.lstrip().startswith("[["):
            before += 1
            current = section if before == nth + 1 else None
            header = header if current else None
        found = re.match(r"\s*\"?([\w-]+)\"?\s*=", line)
        if current == section and ((key is None and header) or (found and found[1] == key)):
            return f"{name} line {number}"
        if current is None and found and found[1] == section:
            return f"{name} line {number}"
    return name
