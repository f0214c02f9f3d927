"""The six tables of a log as data: columns, kinds, row rules, scales of judges, and the map of finish reasons."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from llm_monitoring.errors import ConfigError, quote

#: Start of the names of columns that the package adds to rows on their way; a log must not have such columns.
RESERVED = "__lm_"
FLAG, ROW, FILE = f"{RESERVED}bad", f"{RESERVED}row", f"{RESERVED}file"


@dataclass(frozen=True)
class Column:
    """One column: what it is called, what kind of value it holds, and what a row of it may be.

    `kind` is text, number, time, flag or json. `required` columns must be there and, unless `nullable`, known in every
    row; the others are unknown (null) where absent. Numbers lie in `low` to `high` (above `low` where it is `open`),
    texts in `choices`, where given.
    """

    name: str
    kind: str = "text"
    required: bool = False
    nullable: bool = True
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    open: bool = False

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        unknown = ", or null where unknown" if self.nullable else ""
        if self.choices:
            return f"expected one of {', '.join(repr(choice) for choice in self.choices)}{unknown}"
        if self.kind == "number":
            span = "a finite number" if self.low is None else f"a number >= {self.low:g}"
            if self.high is not None:
                start = f"above {self.low:g}, up to" if self.open else f"from {self.low:g} to"
                span = f"a number {start} {self.high:g}"
            return f"expected {span}{unknown}"
        words = {"text": "a text", "time": "a time", "flag": "true or false", "json": "a JSON object"}
        return f"expected {words[self.kind]}{unknown}"


@dataclass(frozen=True)
class Table:
    """One table: its columns, the column of its time, and the column whose values must be unique (if any)."""

    name: str
    time: str
    columns: tuple[Column, ...]
    unique: str | None = None

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns that must be there."""
        return tuple(column.name for column in self.columns if column.required)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns that the schema knows."""
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


def _key(name: str, **rules: Any) -> Column:
    return Column(name, required=True, nullable=False, **rules)


def _amount(name: str) -> Column:
    return Column(name, "number", low=0)


FINISH_REASONS = ("end_turn", "max_tokens", "error", "refusal")

#: What providers write -> what the log means. Sources: the API references of OpenAI (chat completions, responses),
#: Anthropic (messages), Google (Gemini FinishReason), Cohere, Mistral, Amazon Bedrock and Vercel's AI SDK.
FINISH_REASON_MAP = {
    "stop": "end_turn",
    "stop_sequence": "end_turn",
    "completed": "end_turn",
    "complete": "end_turn",
    "eos": "end_turn",
    "eos_token": "end_turn",
    "tool_use": "end_turn",
    "tool_call": "end_turn",
    "tool_calls": "end_turn",
    "tool-calls": "end_turn",
    "function_call": "end_turn",
    "pause_turn": "end_turn",
    "length": "max_tokens",
    "max_length": "max_tokens",
    "max_output_tokens": "max_tokens",
    "model_length": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "incomplete": "max_tokens",
    "content_filter": "refusal",
    "content-filter": "refusal",
    "content_filtered": "refusal",
    "guardrail_intervened": "refusal",
    "safety": "refusal",
    "recitation": "refusal",
    "blocklist": "refusal",
    "prohibited_content": "refusal",
    "spii": "refusal",
    "error_toxic": "refusal",
    "failed": "error",
    "cancelled": "error",
    "canceled": "error",
    "errored": "error",
    "expired": "error",
    "timeout": "error",
    "malformed_function_call": "error",
}

SIGNAL_TYPES = ("thumbs_up", "thumbs_down", "correction", "follow_up", "retry", "abandoned")
CHANGE_KINDS = ("deployment", "prompt", "model_version", "rag_index", "config", "routing", "judge")
PROBE_KINDS = ("property", "border")
VERDICTS = ("real", "false_positive", "unsure")

REQUESTS = Table(
    "requests",
    time="timestamp",
    unique="request_id",
    columns=(
        _key("request_id"),
        _key("timestamp", kind="time"),
        _key("feature_id"),
        _key("model_id"),
        _amount("latency_ms"),
        _amount("input_tokens"),
        _amount("output_tokens"),
        _amount("cost_usd"),
        Column("finish_reason", choices=FINISH_REASONS),
        Column("error"),
        Column("session_id"),
        Column("category"),
        Column("prompt_version"),
        Column("user_input"),
        Column("system_output"),
        Column("raw_finish_reason"),
        Column("system_fingerprint"),
    ),
)

SIGNALS = Table(
    "signals",
    time="timestamp",
    columns=(
        _key("request_id"),
        Column("session_id", required=True),
        _key("signal_type", choices=SIGNAL_TYPES),
        _key("timestamp", kind="time"),
        Column("metadata", "json"),
    ),
)

JUDGEMENTS = Table(
    "judgements",
    time="judged_at",
    columns=(
        _key("request_id"),
        _key("feature_id"),
        Column("quality_score", "number", required=True),
        Column("dimensions", "json", required=True),
        Column("flagged", "flag", required=True),
        Column("flag_reason", required=True),
        _key("judged_at", kind="time"),
        Column("judge_model"),
        Column("rubric_version"),
        Column("status", choices=("ok", "failed")),
        Column("scale"),
        Column("error"),
        Column("inclusion_probability", "number", low=0, high=1, open=True),
        _amount("cost_usd"),
    ),
)

CHANGES = Table(
    "changes",
    time="timestamp",
    unique="change_id",
    columns=(
        _key("change_id"),
        _key("timestamp", kind="time"),
        _key("kind", choices=CHANGE_KINDS),
        Column("description", required=True),
        Column("feature_id"),
        Column("category"),
        Column("model_id"),
        Column("prompt_version"),
        Column("ends_at", "time"),
    ),
)

PROBE_RESULTS = Table(
    "probe_results",
    time="run_at",
    columns=(
        _key("probe_id"),
        _key("run_at", kind="time"),
        _key("model_id"),
        Column("input", required=True),
        Column("output", required=True),
        Column("passed", "flag", required=True),
        Column("detail"),
        _amount("latency_ms"),
        Column("response_model"),
        Column("system_fingerprint"),
        Column("kind", choices=PROBE_KINDS),
        Column("logprobs", "json"),
        Column("feature_id"),
    ),
)

REVIEWS = Table(
    "reviews",
    time="reviewed_at",
    columns=(
        _key("request_id"),
        _key("verdict", choices=VERDICTS),
        Column("reviewer", required=True),
        _key("reviewed_at", kind="time"),
        Column("note"),
        Column("quality_score", "number", low=1, high=5),
        Column("expected_output"),
    ),
)

PASS_FAIL = "pass_fail"
DEFAULT_SCALE = "1..5"
_SCALE = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*\.\.\s*(-?\d+(?:\.\d+)?)\s*")


def scale_text(scale: object, name: str = "scale") -> str:
    """A scale of a judge as the log writes it: ``"0..10"`` or ``"pass_fail"``.

    Parameters
    ----------
    scale : tuple of two numbers, or str
        ``(0, 10)``, ``"0..10"`` or ``"pass_fail"``.
    name : str
        What an error calls it.

    Raises
    ------
    ConfigError
        Where it is neither, or its lower end is not below its upper one.

    Examples
    --------
    >>> scale_text((0, 1)), scale_text("0..10"), scale_text("pass_fail")
    ('0..1', '0..10', 'pass_fail')
    """
    if scale == PASS_FAIL:
        return PASS_FAIL
    ends: tuple = tuple(scale) if isinstance(scale, tuple | list) else ()
    if isinstance(scale, str) and (match := _SCALE.fullmatch(scale)):
        ends = (match[1], match[2])
    try:
        low, high = (float(end) for end in ends)
    except (TypeError, ValueError):
        low = high = float("nan")
    if not (low < high < float("inf") and low > float("-inf")):
        raise ConfigError(
            f"{name}: {quote(scale)}; expected two numbers, the lower one first, such as (0, 10) or '0..10', or 'pass_fail'"
        )
    return f"{low:.15g}..{high:.15g}"


def scale_ends(scale: str) -> tuple[float, float]:
    """The ends of a scale as the log writes it; pass_fail runs from 0 (fail) to 1 (pass).

    >>> scale_ends("0..10"), scale_ends("pass_fail")
    ((0.0, 10.0), (0.0, 1.0))
    """
    if scale == PASS_FAIL:
        return 0.0, 1.0
    low, high = scale.split("..")
    return float(low), float(high)


TABLES = {table.name: table for table in (REQUESTS, SIGNALS, JUDGEMENTS, CHANGES, PROBE_RESULTS, REVIEWS)}
