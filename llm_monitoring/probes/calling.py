"""Ask a client many texts at once, each call with a time limit. What a call did not bring is a reason, never an error."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

from llm_monitoring.errors import ConfigError, quote

TOP_LOGPROBS = 5
#: What a server that refuses a parameter by name is asked instead; None: without it.
INSTEAD = {"max_tokens": "max_completion_tokens", "temperature": None, "logprobs": None, "top_logprobs": None}


class Call(NamedTuple):
    """What is asked: the text, and whether one token at temperature 0 is wanted (an endpoint is asked for just that)."""

    text: str
    one_token: bool = False


class Answer(NamedTuple):
    """What a client gave back: the text, and what the provider reported, where it did."""

    text: str | None
    model: str | None = None
    system_fingerprint: str | None = None
    logprobs: dict[str, float] | None = None


class Reply(NamedTuple):
    """What became of a call: an answer with a text, or the reason why there is none."""

    answer: Answer | None
    error: str | None
    latency_ms: float


def check_client(name: str, client: Any) -> None:
    """Refuse what cannot be asked.

    Raises
    ------
    ConfigError
        `client` is neither callable nor a Judge.
    """
    if not (callable(client) or _is_endpoint(client)):
        raise ConfigError(f"{name}: {quote(client)}; expected a function text -> text, or lm.Judge(...)")


def in_own_loop(work: Any) -> Any:
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


async def ask_all(
    calls: Sequence[Call], client: Any, timeout_s: float, concurrency: int, label: str = "probes"
) -> list[Reply]:
    """The replies to all calls, in their order, with at most `concurrency` of them under way."""
    from tqdm.auto import tqdm

    turns = asyncio.Semaphore(int(max(concurrency, 1)))
    async with _opened(client) as asked:
        with tqdm(total=len(calls), desc=label, disable=None, leave=False) as bar:

            async def one(call: Call) -> Reply:
                async with turns:
                    reply = await _ask(call, asked, timeout_s)
                bar.update()
                return reply

            return list(await asyncio.gather(*(one(call) for call in calls)))


async def _ask(call: Call, asked: Callable[[Call], Any], timeout_s: float) -> Reply:
    start = time.perf_counter()
    answer, error = None, None
    try:
        answer = read_answer(await asyncio.wait_for(asked(call), timeout_s))
        if answer.text is None:
            error = "no text in the answer"
    except TimeoutError:
        error = f"timeout: no answer within {timeout_s:g} s"
    except ConfigError:
        raise
    except Exception as failure:  # a client may raise anything; that says nothing about the model
        error = f"{type(failure).__name__}: {failure}"[:500]
    return Reply(answer, error, 1000 * (time.perf_counter() - start))


def read_answer(raw: Any) -> Answer:
    """The text and the reported model of whatever a client returned.

    >>> read_answer({"text": "hi", "model": "model-a"})
    Answer(text='hi', model='model-a', system_fingerprint=None, logprobs=None)
    """
    if raw is None or isinstance(raw, str):
        return Answer(raw)
    if isinstance(raw, Answer):
        return raw
    choices = _look(raw, "choices")
    if choices:
        text = _look(_look(choices[0], "message"), "content")
        logprobs = _first_token(_look(choices[0], "logprobs"))
    else:
        text, logprobs = _look(raw, "text"), _look(raw, "logprobs")
    if text is not None and not isinstance(text, str):
        raise TypeError(f"the client returned {quote(raw)}; expected a text")
    if text is None and not choices:
        raise TypeError(f"the client returned {quote(raw)}; expected a text, or an object with `text`")
    return Answer(text, _look(raw, "model"), _look(raw, "system_fingerprint"), logprobs)


def _look(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def _first_token(logprobs: Any) -> dict[str, float] | None:
    """The log-probabilities of the first token of a chat completion, best first."""
    listed = _look(logprobs, "content") if logprobs else None
    if not listed:
        return None
    top = _look(listed[0], "top_logprobs") or [listed[0]]
    return {str(_look(entry, "token")): float(_look(entry, "logprob")) for entry in top}


def _is_endpoint(client: Any) -> bool:
    return hasattr(client, "rubric") and hasattr(client, "base_url")


@contextlib.asynccontextmanager
async def _opened(client: Any) -> AsyncIterator[Callable[[Call], Any]]:
    """The client as a function of a call; a Judge's endpoint is opened once for all calls and closed after them."""
    if not _is_endpoint(client):
        yield lambda call: _call(call.text, client)
        return
    try:
        import openai
    except ImportError:
        raise ImportError('Judge needs the openai package: pip install "llm-monitoring[judge]"') from None
    try:
        opened = openai.AsyncOpenAI(
            base_url=client.base_url,
            api_key=client.api_key,
            timeout=client.timeout_s,
            max_retries=client.max_tries - 1,
        )
    except openai.OpenAIError:
        raise ConfigError(
            "no API key; set OPENAI_API_KEY, or Judge(api_key=...); a local server takes any text"
        ) from None
    refused: set[str] = set()
    async with opened as sdk:
        yield lambda call: _complete(sdk, client, call, refused)


async def _complete(sdk: Any, judge: Any, call: Call, refused: set[str]) -> Answer:
    """Ask the Judge's model, without its rubric; parameters that the server refuses by name are left out from then on."""
    import openai

    wanted: dict[str, Any] = {"max_tokens": judge.max_output_tokens, "temperature": judge.temperature}
    if call.one_token:
        wanted = {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
    if judge.temperature is None:
        del wanted["temperature"]
    named = {name: INSTEAD[name] if name in refused else name for name in wanted}
    options = {sent: wanted[name] for name, sent in named.items() if sent is not None}
    try:
        completion = await sdk.chat.completions.create(
            model=judge.model, messages=[{"role": "user", "content": call.text}], **options
        )
    except openai.BadRequestError as error:
        unwanted = {name for name in options if name in INSTEAD and name in f"{error.param} {error.message}"}
        if not unwanted:
            raise
        refused |= unwanted | ({"top_logprobs"} if "logprobs" in unwanted else set())
        return await _complete(sdk, judge, call, refused)
    return read_answer(json.loads(completion.model_dump_json()))


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
            outcome = None, RuntimeError("StopIteration") if isinstance(error, StopIteration) else error
        with contextlib.suppress(RuntimeError):  # where the loop has ended nobody waits any more
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=work, daemon=True).start()  # a daemon: a client that never returns must not hold the exit
    value = await future
    return await value if inspect.isawaitable(value) else value
