"""Ask a model every probe and check the answers. A call that brought no answer is null with a reason, never failed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.probes.calling import Answer, Call, Reply, ask_all, check_client, in_own_loop
from llm_monitoring.probes.checks import check_of, run_check
from llm_monitoring.probes.probe import ModelBehaviorProbe
from llm_monitoring.probes.suite import faults_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "probe_id",
    "run_at",
    "model_id",
    "input",
    "output",
    "passed",
    "detail",
    "latency_ms",
    "response_model",
    "system_fingerprint",
    "repeat",
    "kind",
    "logprobs",
    "feature_id",
]


def run_probes(
    probes: Iterable[ModelBehaviorProbe],
    client: Any,
    *,
    model_id: str | None = None,
    run_at: datetime | str | None = None,
    timeout_s: float = 60,
    concurrency: int = 4,
) -> pd.DataFrame:
    """Ask the model every probe `repeats` times and check every answer.

    Parameters
    ----------
    probes : iterable of ModelBehaviorProbe
    client : callable or Judge
        text -> text, sync or async; instead of a text also an OpenAI chat completion, or an object or dict with
        `text` and, where known, `model`, `system_fingerprint` and `logprobs` (token -> log-probability). Or an
        `lm.Judge`, whose model and server are asked; border probes are then asked for one token at temperature 0, with
        its log-probabilities where the server gives them.
    model_id : str, optional
        Name of the model in the table; default the client's `model`, else what the provider reported.
    run_at : datetime or str, optional
        Time of the run, with time zone; default now.
    timeout_s : float
        Seconds to wait for one answer.
    concurrency : int
        Calls in flight at once.

    Returns
    -------
    DataFrame
        The `probe_results` table, one row per probe and repeat: `probe_id`, `run_at`, `model_id`, `input`, `output`
        (of a border probe its first word), `passed` (null where the call or the check failed), `detail`,
        `latency_ms`, `response_model`, `system_fingerprint`, `repeat` (from 0), `kind`, `logprobs` (JSON), `feature_id`.

    Raises
    ------
    ConfigError
        Unknown checks or parameters, before the first call.

    Examples
    --------
    >>> from llm_monitoring.probes.suite import CANARY_PROBES
    >>> def client(text):
    ...     return '{"name": "Ann", "age": 41}' if "JSON" in text else "I cannot help with that."
    >>> run_probes(CANARY_PROBES, client, model_id="model-a")["passed"].tolist()
    [True, True]
    """
    import pandas as pd

    probes = list(probes)
    faults = faults_of(probes)
    if faults:
        raise ConfigError("\n".join(faults))
    for name, value in (("timeout_s", timeout_s), ("concurrency", concurrency)):
        if not value > 0:
            raise ConfigError(f"run_probes({name}={quote(value)}); expected a number above 0")
    check_client("run_probes(client)", client)
    when = _moment(run_at)
    asked = [(probe, repeat) for probe in probes for repeat in range(probe.repeats)]
    calls = [Call(probe.input, probe.kind == "border") for probe, _ in asked]
    replies = in_own_loop(ask_all(calls, client, timeout_s, concurrency))
    named = model_id or getattr(client, "model", None)
    rows = [_row(probe, repeat, reply, when, named) for (probe, repeat), reply in zip(asked, replies, strict=True)]
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"passed": "boolean", "latency_ms": "float64"})
    frame["run_at"] = pd.to_datetime(frame["run_at"], utc=True)
    return frame


def first_word(text: str) -> str:
    """The token of a border probe's answer: an endpoint gives one, of a longer text it is the first word.

    >>> first_word(" Tea, I think."), first_word(""), first_word("...")
    ('Tea', '', '...')
    """
    word = (text.split(maxsplit=1) or [""])[0]
    return word.rstrip(".,;:!?") or word


def _row(probe: ModelBehaviorProbe, repeat: int, reply: Reply, when: datetime, model_id: str | None) -> dict[str, Any]:
    answer = reply.answer or Answer(None)
    text = first_word(answer.text) if answer.text and probe.kind == "border" else answer.text
    passed, detail = (None, reply.error) if text is None else _verdict(probe, text)
    values = [
        probe.probe_id,
        when,
        str(model_id or answer.model or "unknown"),
        probe.input,
        text,
        passed,
        detail,
        reply.latency_ms,
        answer.model,
        answer.system_fingerprint,
        repeat,
        probe.kind,
        json.dumps(answer.logprobs) if answer.logprobs else None,
        probe.feature_id,
    ]
    return dict(zip(COLUMNS, values, strict=True))


def _verdict(probe: ModelBehaviorProbe, text: str) -> tuple[bool | None, str | None]:
    outcome = run_check(check_of(probe.check_fn), text, probe, probe.params)
    return outcome.passed, outcome.detail


def _moment(run_at: datetime | str | None) -> datetime:
    if run_at is None:
        return datetime.now(UTC)
    try:
        when = datetime.fromisoformat(run_at) if isinstance(run_at, str) else run_at
        aware = when.tzinfo is not None
    except (ValueError, AttributeError):
        raise ConfigError(f"run_probes(run_at): {quote(run_at)}; expected a time in ISO 8601") from None
    if not aware:
        raise ConfigError(
            f"run_probes(run_at): {quote(str(run_at))} has no time zone; expected one, for example +00:00"
        )
    return when.astimezone(UTC)
