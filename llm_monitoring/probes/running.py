"""Ask a model every probe and check the answers. A call that brought no answer is null with a reason, never failed."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.probes.checks import check_of, run_check
from llm_monitoring.probes.suite import ModelBehaviorProbe, faults_of

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
]


class Answer(NamedTuple):
    """What a client gave back: the text, and the model and fingerprint that the provider reported, where it did."""

    text: str | None
    model: str | None = None
    system_fingerprint: str | None = None


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
        `text` and, where known, `model` and `system_fingerprint`. Or an `lm.Judge`, whose model and server are asked.
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
        The `probe_results` table, one row per probe and repeat: `probe_id`, `run_at`, `model_id`, `input`, `output`,
        `passed` (null where the call or the check failed), `detail`, `latency_ms`, `response_model`,
        `system_fingerprint`, `repeat` (from 0).

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
    asked = _endpoint(client) if hasattr(client, "rubric") and hasattr(client, "base_url") else client
    if not callable(asked):
        raise ConfigError(f"run_probes(client): {quote(client)}; expected a function text -> text, or lm.Judge(...)")
    when = _moment(run_at)
    calls = [(probe, repeat) for probe in probes for repeat in range(probe.repeats)]
    replies = _in_own_loop(_ask_all([probe.input for probe, _ in calls], asked, timeout_s, concurrency))
    named = model_id or getattr(client, "model", None)
    rows = [_row(probe, repeat, reply, when, named) for (probe, repeat), reply in zip(calls, replies, strict=True)]
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"passed": "boolean", "latency_ms": "float64"})
    frame["run_at"] = pd.to_datetime(frame["run_at"], utc=True)
    return frame


class _Reply(NamedTuple):
    answer: Answer | None
    error: str | None
    latency_ms: float


def _row(probe: ModelBehaviorProbe, repeat: int, reply: _Reply, when: datetime, model_id: str | None) -> dict[str, Any]:
    answer = reply.answer or Answer(None)
    if answer.text is None:
        passed, detail = None, reply.error
    else:
        passed, detail = _verdict(probe, answer.text)
    values = [
        probe.probe_id,
        when,
        str(model_id or answer.model or "unknown"),
        probe.input,
        answer.text,
        passed,
        detail,
        reply.latency_ms,
        answer.model,
        answer.system_fingerprint,
        repeat,
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


def _in_own_loop(work: Any) -> Any:
    """Run a coroutine to its end on a thread of its own: a notebook has a loop running already."""
    outcome: list[Any] = []

    def run():
        try:
            outcome.append((asyncio.run(work), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


async def _ask_all(inputs: Sequence[str], client: Callable, timeout_s: float, concurrency: int) -> list[_Reply]:
    from tqdm.auto import tqdm

    turns = asyncio.Semaphore(int(max(concurrency, 1)))
    with tqdm(total=len(inputs), desc="probes", disable=None, leave=False) as bar:

        async def one(text: str) -> _Reply:
            async with turns:
                reply = await _ask(text, client, timeout_s)
            bar.update()
            return reply

        return list(await asyncio.gather(*(one(text) for text in inputs)))


async def _ask(text: str, client: Callable, timeout_s: float) -> _Reply:
    start = time.perf_counter()
    try:
        raw = await asyncio.wait_for(_call(text, client), timeout_s)
        answer, error = read_answer(raw), None
        if answer.text is None:
            error = "no text in the answer"
    except TimeoutError:
        answer, error = None, f"timeout: no answer within {timeout_s:g} s"
    except Exception as failure:  # a client may raise anything; that says nothing about the model
        answer, error = None, f"{type(failure).__name__}: {failure}"[:500]
    return _Reply(answer, error, 1000 * (time.perf_counter() - start))


async def _call(text: str, client: Callable) -> Any:
    if inspect.iscoroutinefunction(client) or inspect.iscoroutinefunction(type(client).__call__):
        return await client(text)
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_exception(error) if error else future.set_result(value)

    def work() -> None:
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = client(text), None
        except Exception as error:
            outcome = None, error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=work, daemon=True).start()  # a daemon: a client that never returns must not hold the exit
    value = await future
    return await value if inspect.isawaitable(value) else value


def read_answer(raw: Any) -> Answer:
    """The text and the reported model of whatever a client returned.

    >>> read_answer({"text": "hi", "model": "model-a"})
    Answer(text='hi', model='model-a', system_fingerprint=None)
    """
    if raw is None or isinstance(raw, str):
        return Answer(raw)
    if isinstance(raw, Answer):
        return raw
    look = raw.get if isinstance(raw, dict) else lambda name: getattr(raw, name, None)
    choices = look("choices")
    if choices:
        message = choices[0]["message"] if isinstance(choices[0], dict) else choices[0].message
        text = message["content"] if isinstance(message, dict) else message.content
    else:
        text = look("text")
    if text is not None and not isinstance(text, str):
        raise TypeError(f"the client returned {quote(raw)}; expected a text")
    if text is None and not choices:
        raise TypeError(f"the client returned {quote(raw)}; expected a text, or an object with `text`")
    return Answer(text, look("model"), look("system_fingerprint"))


def _endpoint(judge: Any) -> Callable:
    """A client that asks the model and server of a Judge, without its rubric."""
    try:
        import openai
    except ImportError:
        raise ImportError('Judge needs the openai package: pip install "llm-monitoring[judge]"') from None

    async def ask(text: str) -> Answer:
        async with openai.AsyncOpenAI(
            base_url=judge.base_url, api_key=judge.api_key, timeout=judge.timeout_s, max_retries=judge.max_tries - 1
        ) as client:
            completion = await client.chat.completions.create(
                model=judge.model,
                messages=[{"role": "user", "content": text}],
                max_tokens=judge.max_output_tokens,
                **({} if judge.temperature is None else {"temperature": judge.temperature}),
            )
        return read_answer(json.loads(completion.model_dump_json()))

    return ask
