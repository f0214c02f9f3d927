"""Who judges: an OpenAI-compatible server, or a function of yours. One call, no retries; those are in `asking`."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, NamedTuple, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.judging.answer import JudgeReply
from llm_monitoring.judging.pace import retry_after
from llm_monitoring.judging.rubric import DEFAULT_RUBRIC, Rubric


class JudgeError(Exception):
    """A call that brought no reply; `kind` is what the failed row says."""

    def __init__(self, kind: str, sentence: str = ""):
        self.kind, self.sentence = kind, sentence
        super().__init__(f"{kind}: {sentence}" if sentence else kind)


class RateLimited(JudgeError):
    """The server refuses for now; `retry_after` in seconds, where it says so."""

    def __init__(self, retry_after: float | None = None, sentence: str = ""):
        self.retry_after = retry_after
        super().__init__("rate_limited", sentence)


class Transient(JudgeError):
    """Worth another try: time-out, connection, server error."""


class Permanent(JudgeError):
    """This item will fail again."""


class Fatal(JudgeError):
    """Every item will fail: wrong key, unknown model, no quota. The run stops."""


class Item(NamedTuple):
    """One answer to be judged."""

    request_id: str
    feature_id: str
    user_input: str
    system_output: str


@runtime_checkable
class JudgeProtocol(Protocol):
    """What a custom judge has to be: a model name, a rubric, and one async call."""

    model: str
    rubric: Rubric

    async def __call__(self, messages: list[dict[str, Any]], schema: dict[str, Any], timeout_s: float) -> JudgeReply:
        """Ask once; raise RateLimited, Transient, Permanent or Fatal where no reply came."""


@dataclass(eq=False)
class Judge:
    """A model behind an OpenAI-compatible endpoint: OpenAI, Azure, vLLM, Ollama, a gateway.

    Parameters
    ----------
    model : str
        The model's name as the server knows it.
    rubric : Rubric
    base_url, api_key : str, optional
        Default: the environment's OPENAI_BASE_URL and OPENAI_API_KEY.
    timeout_s : float
        For one try, from the first byte sent to the last received.
    max_tries : int
        Tries per item where a try fails for a reason that may pass. The SDK's own retries are off, or tries multiply.
    max_output_tokens : int
    usd_per_m_input, usd_per_m_output : float, optional
        USD per million tokens. Without them costs are null and no budget can be held.
    assumed_prices : bool
        The prices are no more than an upper bound: they hold the budget, the judgements' costs stay null.
    temperature : float or None
        None leaves it to the server.

    Notes
    -----
    An option that the server refuses by its name is not sent again: ``max_tokens`` goes as ``max_completion_tokens``,
    then not at all; the JSON schema of the answer as plain ``json_object``, then not at all; the temperature not at
    all. The request is repeated at once, which is no further try, and answers are held to the rubric as before.

    Examples
    --------
    >>> judge = Judge("judge-small", base_url="http://127.0.0.1:9/v1", api_key="none",
    ...               usd_per_m_input=0.15, usd_per_m_output=0.60)
    >>> judge.cost_usd(1_000, 100)
    0.00021
    """

    model: str
    rubric: Rubric = DEFAULT_RUBRIC
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 60
    max_tries: int = 3
    max_output_tokens: int = 300
    usd_per_m_input: float | None = None
    usd_per_m_output: float | None = None
    temperature: float | None = 0.0
    assumed_prices: bool = False
    _clients: WeakKeyDictionary = field(default_factory=WeakKeyDictionary, repr=False)
    _refused: set[str] = field(default_factory=set, repr=False)  # options that the server refused by name

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("Judge(model=''); expected the model's name as the server knows it")
        for name in ("timeout_s", "max_tries", "max_output_tokens"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"Judge({name}={quote(getattr(self, name))}); expected a number above 0")
        for name in ("usd_per_m_input", "usd_per_m_output"):
            if not (getattr(self, name) is None or getattr(self, name) >= 0):
                raise ConfigError(f"Judge({name}={quote(getattr(self, name))}); expected USD per million tokens, >= 0")
        if not isinstance(self.rubric, Rubric):
            raise ConfigError(f"Judge(rubric={quote(self.rubric)}); expected a Rubric: Rubric.from_yaml(...) reads one")

    async def __call__(self, messages: list[dict[str, Any]], schema: dict[str, Any], timeout_s: float) -> JudgeReply:
        """Ask once; raise RateLimited, Transient, Permanent or Fatal where no reply came."""
        free = await self._free_clients()
        import httpx2
        import openai

        client = free.pop() if len(free) > 1 else self._new_client(free[0])
        refused = frozenset(self._refused)
        # post, not chat.completions.create: that one walks the whole request by its types, a third of a call's time
        try:
            response = await client.post(
                f"{client.base_url}chat/completions",
                cast_to=httpx2.Response,
                options={"timeout": timeout_s},
                body={"model": self.model, "messages": messages, **self._options(refused, schema)},
            )
        except openai.APITimeoutError:
            raise Transient("timeout", f"no answer within {timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            raise Transient("connection", str(error.__cause__ or error)) from None
        except openai.APIStatusError as error:
            option = refused_option(error, self._options(refused, schema))
            if option is None:
                raise _named(error) from None
            self._refused.add(option)
        else:
            return read_completion(response.content)
        finally:
            free.append(client)
        return await self(messages, schema, timeout_s)  # with one option less each time, so it comes to an end

    def prepare(self) -> None:
        """Load the SDK now: in a process that forks, an import under way in a thread would hang the child."""
        import openai  # noqa: F401

    def cost_usd(self, input_tokens: float | None, output_tokens: float | None) -> float | None:
        """USD for so many tokens; None where a price or a count is unknown."""
        if None in (self.usd_per_m_input, self.usd_per_m_output, input_tokens, output_tokens):
            return None
        return (input_tokens * self.usd_per_m_input + output_tokens * self.usd_per_m_output) / 1e6  # type: ignore[operator]

    def _options(self, refused: frozenset[str], schema: dict[str, Any]) -> dict[str, Any]:
        """What a request sends beside model and messages: of each option the first form that was not refused."""
        strict = {"name": "judgement", "strict": True, "schema": schema}
        forms: list[tuple[str, str, Any]] = [
            ("json_schema", "response_format", {"type": "json_schema", "json_schema": strict}),
            ("json_object", "response_format", {"type": "json_object"}),
            ("max_tokens", "max_tokens", self.max_output_tokens),
            ("max_completion_tokens", "max_completion_tokens", self.max_output_tokens),
        ]
        if self.temperature is not None:
            forms.append(("temperature", "temperature", self.temperature))
        options: dict[str, Any] = {}
        for form, name, value in forms:
            once = "max_tokens" in options if name == "max_completion_tokens" else name in options
            if form not in refused and not once:
                options[name] = value
        return options

    async def _free_clients(self) -> list[Any]:
        """The SDK's clients of the running loop that no call uses, after the TLS settings that they share.

        One client a call in flight: with each call a client looks at every connection it has, with 64 of them for
        longer than all the rest takes.
        """
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            keeper = self._keep_clients()
            self._clients[loop] = (await anext(keeper), keeper)
        return self._clients[loop][0]

    async def _keep_clients(self) -> AsyncIterator[list[Any]]:
        # asyncio closes the generators that are still open when a loop ends, and with this one the clients
        try:
            import httpx2
            import openai  # noqa: F401
        except ImportError:
            raise ImportError(
                'Judge needs the openai package: pip install "llm-monitoring[judge]". '
                "Your own function as judge needs no package"
            ) from None
        free: list[Any] = [httpx2.create_ssl_context()]
        free.append(self._new_client(free[0]))
        try:
            yield free
        finally:
            for client in free[1:]:
                await client.close()

    def _new_client(self, tls: Any) -> Any:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError

        settings: dict[str, Any] = {"base_url": self.base_url, "api_key": self.api_key}
        settings |= {"timeout": self.timeout_s, "max_retries": 0}
        try:
            client = AsyncOpenAI(**settings, http_client=DefaultAsyncHttpxClient(verify=tls))
        except OpenAIError:
            raise ConfigError(
                "Judge: no API key; set OPENAI_API_KEY, or Judge(api_key=...); a local server takes any text"
            ) from None
        if not (client.api_key.isascii() and client.api_key.isprintable()):
            raise ConfigError(
                "Judge: the API key holds a line break or a character that is not ASCII; expected one word"
            )
        return client


def refused_option(error: Any, sent: dict[str, Any]) -> str | None:
    """Which option of the request a server refused by its name, in `param` or in the words of the error.

    Compared is what this request sent: another worker may have learned the same from an answer of its own meanwhile.
    The response format has two forms, ``json_schema`` and ``json_object``; the others are called as they are sent.
    """
    if error.status_code not in (400, 422):
        return None
    words = str(error.body)[:1000]
    for name, value in sent.items():
        named = re.search(rf"\b{name}\b", words) and REFUSES.search(words)
        if re.split(r"[.\[]", str(error.param or ""))[0] == name or (not error.param and named):
            return value["type"] if name == "response_format" else name
    return None


REFUSES = re.compile(
    r"(?i)unsupported|not support|unavailable|not available|not permitted|not allowed|unknown|unrecogni[sz]ed|unexpected|"
    r"extra_forbidden|does not accept|deprecated"
)


def read_completion(body: bytes) -> JudgeReply:
    """The body of a chat completion -> the reply in it.

    Raises
    ------
    Transient
        Where the body is no chat completion, for example a gateway's error page.
    """
    try:
        content = json.loads(body)
        choice = content["choices"][0]
        message, usage = choice["message"], content.get("usage") or {}
        text, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        shown = quote(body[:200].decode("utf-8", "replace"))
        raise Transient("bad_response", f"{shown}; expected a chat completion") from None
    return JudgeReply(
        text=text if isinstance(text, str) else None,
        finish_reason=str(choice.get("finish_reason")),
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        model=_text(content.get("model")),
        fingerprint=_text(content.get("system_fingerprint")),
        refusal=_text(refusal),
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _named(error: Any) -> JudgeError:
    status, said = error.status_code, quote(str(getattr(error, "message", error)), 200)
    if status == 429:
        if error.code == "insufficient_quota":
            return Fatal("quota", said)
        return RateLimited(retry_after(error.response.headers), said)
    if status in (401, 403, 404):
        return Fatal(f"http_{status}", said)
    if status in (408, 409, 425) or status >= 500:
        return Transient(f"http_{status}", said)
    return Permanent(f"http_{status}", said)


GIVEN = ("prompt", "messages", "schema", "timeout_s", "request_id", "feature_id", "user_input", "system_output")


class FunctionJudge:
    """A function of yours, sync or async, as judge.

    It may name any of `prompt`, `messages`, `schema`, `timeout_s`, `request_id`, `feature_id`, `user_input`,
    `system_output` as parameters and gets those; with one parameter of another name it gets the prompt as text, with
    three the messages, the schema and the time-out. It returns a `JudgeReply`, the JSON text, or a dict of the
    scores; all are held to the rubric as strictly as a server's answer. Sync functions run in threads of their own.

    >>> judge = FunctionJudge(lambda user_input, system_output: {"correctness": 5, "completeness": 4, "tone": 4})
    >>> judge.model
    'function'
    """

    usd_per_m_input = usd_per_m_output = None

    def __init__(self, function: Callable[..., Any], rubric: Rubric | None = None):
        self.function = function
        name = getattr(function, "__name__", type(function).__name__)
        self.model = str(getattr(function, "model", "function" if name == "<lambda>" else name))
        self.rubric = rubric or getattr(function, "rubric", None) or DEFAULT_RUBRIC
        self.timeout_s = float(getattr(function, "timeout_s", 60))
        self.max_tries = int(getattr(function, "max_tries", 3))
        self.max_output_tokens = int(getattr(function, "max_output_tokens", 300))
        self._by_name, self._by_place = _parameters(function)
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004
        )

    async def about(
        self, item: Item, messages: list[dict[str, Any]], schema: dict[str, Any], timeout_s: float
    ) -> JudgeReply:
        """Ask once about one item."""
        prompt = "\n\n".join(message["content"] for message in messages)
        given = {"prompt": prompt, "messages": messages, "schema": schema, "timeout_s": timeout_s, **item._asdict()}
        arguments = [given[name] for name in self._by_place]
        named = {name: given[name] for name in self._by_name}
        if self._is_async:
            answer = await self.function(*arguments, **named)
        else:
            answer = await in_thread(lambda: self.function(*arguments, **named))
            if inspect.isawaitable(answer):
                answer = await answer
        return _as_reply(answer)

    def cost_usd(self, input_tokens: float | None, output_tokens: float | None) -> float | None:
        """What the function itself says a call costs, if it says so."""
        cost = getattr(self.function, "cost_usd", None)
        return cost(input_tokens, output_tokens) if callable(cost) else None


def _parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which of GIVEN are passed by name and which by place."""
    try:
        every = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return (), ("prompt",)
    kinds = inspect.Parameter
    if any(p.kind is kinds.VAR_KEYWORD for p in every):
        return ("messages", "schema", "timeout_s"), ()
    if any(p.kind is kinds.VAR_POSITIONAL for p in every):
        return (), ("messages", "schema", "timeout_s")
    nameable = [p for p in every if p.kind is not kinds.POSITIONAL_ONLY]
    needed = [p for p in every if p.default is kinds.empty]
    if nameable and all(p.name in GIVEN for p in needed) and len(nameable) == len(list(every)):
        return tuple(p.name for p in nameable if p.name in GIVEN), ()
    if len(needed) == 1:
        return (), ("prompt",)
    if len(needed) == 3:
        return (), ("messages", "schema", "timeout_s")
    names = ", ".join(p.name for p in needed)
    raise ConfigError(f"judge function with parameters ({names}); expected one, or any of {', '.join(GIVEN)}")


def _as_reply(answer: Any) -> JudgeReply:
    if isinstance(answer, JudgeReply):
        return answer
    if answer is None or isinstance(answer, str):
        return JudgeReply(answer)
    if isinstance(answer, Mapping):
        try:
            return JudgeReply(json.dumps(dict(answer), default=_plain_number))
        except (TypeError, ValueError):
            return JudgeReply(str(answer))
    if isinstance(answer, tuple) and 2 <= len(answer) <= len(JudgeReply._fields):
        return JudgeReply(*answer)
    return JudgeReply(str(answer))


def _plain_number(value: Any) -> float:
    """A numpy number as what it is; anything else has no place in JSON."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError


async def in_thread(function: Callable[[], Any]) -> Any:
    """Run a blocking function in a daemon thread of its own, so that one that hangs cannot hold up the exit."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future = loop.create_future()

    def deliver(method: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            method(value)

    def run() -> None:
        try:
            outcome = (done.set_result, function())
        except BaseException as error:
            outcome = (done.set_exception, _storable(error))
        with contextlib.suppress(RuntimeError):  # where the loop has ended nobody waits any more
            loop.call_soon_threadsafe(deliver, *outcome)

    threading.Thread(target=run, name="judge-function", daemon=True).start()
    return await done


def _storable(error: BaseException) -> BaseException:
    return RuntimeError("StopIteration") if isinstance(error, StopIteration) else error


def as_judge(judge: Any) -> Any:
    """A judge from what people pass: a `Judge`, an object of the protocol, a function.

    >>> as_judge("gpt-4o-mini")
    Traceback (most recent call last):
    ...
    llm_monitoring.errors.ConfigError: judge='gpt-4o-mini'; expected Judge('gpt-4o-mini'), or a function
    """
    if isinstance(judge, Judge | FunctionJudge) or hasattr(type(judge), "cost_usd"):
        return judge  # whole judges: with a rubric, limits and prices
    if callable(judge) and not isinstance(judge, type):
        return FunctionJudge(judge)
    raise ConfigError(f"judge={quote(judge)}; expected Judge({quote(judge)}), or a function")


_chosen: dict[str, Any] = {}


def set_judge(judge: Any) -> None:
    """Set the judge of `judge_production_sample`; None goes back to the one that the environment names.

    Parameters
    ----------
    judge : Judge, callable or None
        A `Judge`, or a function (user_input, system_output) -> dimension scores, sync or async.

    Examples
    --------
    >>> set_judge(lambda user_input, system_output: {"correctness": 5, "completeness": 5, "tone": 4})
    >>> set_judge(None)
    """
    _chosen.clear()
    if judge is not None:
        _chosen["set"] = as_judge(judge)


def current_judge() -> Any:
    """The judge that was set, else the one of OPENAI_BASE_URL, OPENAI_API_KEY and LLM_MONITORING_JUDGE_MODEL.

    Raises
    ------
    ConfigError
        Where neither is there.
    """
    if "set" in _chosen:
        return _chosen["set"]
    names = ("LLM_MONITORING_JUDGE_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY")
    model, base_url, api_key = settings = tuple(os.environ.get(name) for name in names)
    if not model:
        raise ConfigError(
            "no judge: call set_judge(...), or set LLM_MONITORING_JUDGE_MODEL (and OPENAI_BASE_URL, OPENAI_API_KEY)"
        )
    if _chosen.get("settings") != settings:
        _chosen.update(settings=settings, environment=Judge(model, base_url=base_url, api_key=api_key or None))
    return _chosen["environment"]
