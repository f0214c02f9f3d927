"""Which formats there are, by the name under which people ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from llm_monitoring.errors import ConfigError, one_of, quote
from llm_monitoring.importers.anthropic_batch import anthropic_batch
from llm_monitoring.importers.langfuse import langfuse
from llm_monitoring.importers.langsmith import langsmith
from llm_monitoring.importers.litellm import litellm
from llm_monitoring.importers.openai_batch import openai_batch
from llm_monitoring.importers.openinference import openinference
from llm_monitoring.importers.otel import otel
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.vercel import vercel
from llm_monitoring.schema import scale_text

if TYPE_CHECKING:
    from llm_monitoring.log import Log

FORMATS: dict[str, Callable[..., Any]] = {
    "otel": otel,
    "openinference": openinference,
    "vercel": vercel,
    "langfuse": langfuse,
    "langsmith": langsmith,
    "litellm": litellm,
    "openai_batch": openai_batch,
    "anthropic_batch": anthropic_batch,
}
SCORED = ("otel", "openinference", "vercel", "langfuse")
BATCHES = ("openai_batch", "anthropic_batch")


def read(
    name: str,
    source: Any,
    columns: Iterable[str] = (),
    timestamp: str | None = None,
    scales: Iterable[str] = (),
) -> tuple[Log, ImportReport]:
    """Import a source of a format, with options as the command line takes them.

    >>> read("oteln", {})
    Traceback (most recent call last):
    ...
    llm_monitoring.errors.ConfigError: format='oteln'; expected one of 'otel', ...; the nearest is 'otel'
    """
    known = one_of("format", name.replace("-", "_"), tuple(FORMATS))
    if timestamp is not None and known not in BATCHES:
        raise ConfigError(f"--timestamp is for {' and '.join(BATCHES)}; {known} has times of its own")
    named = read_scales(scales)
    if named and known not in SCORED:
        raise ConfigError(f"--scale is for {', '.join(SCORED)}; {known} has no scores")
    options: dict[str, Any] = {} if timestamp is None else {"timestamp": timestamp}
    options |= {"scales": named} if named else {}
    return FORMATS[known](source, columns=read_columns(columns), **options)


def read_columns(pairs: Iterable[str]) -> dict[str, str]:
    """Columns and the fields that hold them, from texts of the form ``column=field``.

    >>> read_columns(["feature_id=app.team"])
    {'feature_id': 'app.team'}
    """
    found = {}
    for pair in pairs:
        column, equals, field = pair.partition("=")
        if not (column and equals and field):
            raise ConfigError(f"--column {quote(pair)}; expected column=field, such as feature_id=app.team")
        found[column] = field
    return found


def read_scales(pairs: Iterable[str]) -> dict[str, str]:
    """Scales by the names of their scores, from texts of the form ``name=0..1`` or ``name=pass_fail``.

    >>> read_scales(["helpfulness=0..1", "*=pass_fail"])
    {'helpfulness': '0..1', '*': 'pass_fail'}
    """
    found = {}
    for pair in pairs:
        name, _, scale = pair.rpartition("=")
        if not (name and scale):
            raise ConfigError(
                f"--scale {quote(pair)}; expected name=low..high, such as helpfulness=0..1 or tone=pass_fail"
            )
        found[name] = scale_text(scale, f"--scale {name}")
    return found
