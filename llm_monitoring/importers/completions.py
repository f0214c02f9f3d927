"""A provider's answer, in whatever wrapping an SDK or a tracer keeps it: text, model, ending, and what it used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.messages import answer, error_text
from llm_monitoring.importers.values import amount, first, listing, mapping, number, parsed, text, whole_input

#: Where wrappers keep the counts, the answer itself, and what they say of it.
USAGES = ("usage", "usage_metadata", "usageMetadata", "token_usage", "tokenUsage", "x_groq")
INNER = ("response", "message", "output", "kwargs", "generation_info", "response_metadata", "llm_output",
         "additional_kwargs", "metrics")  # fmt: skip
LISTED = ("choices", "generations", "candidates", "messages")
GIVEN = ("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "prompt_token_count", "promptTokenCount",
         "prompt_eval_count")  # fmt: skip
WRITTEN = ("completion_tokens", "output_tokens", "completionTokens", "outputTokens", "candidates_token_count",
           "candidatesTokenCount", "eval_count")  # fmt: skip
TOTAL = ("total_tokens", "totalTokens", "total_token_count", "totalTokenCount")
THOUGHTS = ("thoughts_token_count", "thoughtsTokenCount")
BESIDE = ("cache_read_input_tokens", "cache_creation_input_tokens", "cacheReadInputTokens", "cacheWriteInputTokens")
INSIDE = ("cached_content_token_count", "cachedContentTokenCount", "cachedInputTokens", "cached_tokens")
DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details", "inputTokenDetails")
ENDINGS = ("finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason")
MODELS = ("model", "model_name", "modelVersion", "model_version")
LAYERS, CHUNKS = 40, "chunks"


def completion(body: Any) -> dict[str, Any]:
    """The fields of a provider's answer: OpenAI, Anthropic, Gemini, Bedrock, LangChain, streamed chunks, or an error.

    Parameters
    ----------
    body : dict or list
        The answer as its SDK gives it, a wrapper around it, or the chunks of a stream.

    Returns
    -------
    dict
        ``model_id``, ``system_output``, ``finish_reason``, ``error``, ``system_fingerprint`` and the token counts
        ``given``, ``cached``, ``written``, ``total``; ``beside`` where cached tokens are counted beside the given.

    Examples
    --------
    >>> said = completion({"choices": [{"finish_reason": "stop", "message": {"content": "Yes."}}],
    ...     "usage_metadata": {"input_tokens": 9, "output_tokens": 2}})
    >>> said["system_output"], said["finish_reason"], said["given"], said["written"]
    ('Yes.', 'stop', 9, 2)
    """
    found = parsed(body)
    chunks = found.get(CHUNKS) if isinstance(found, Mapping) else found
    if isinstance(chunks, list) and any(map(_is_chunk, chunks)):
        return _streamed([mapping(each) for each in chunks])
    if isinstance(found, list):
        found = {"messages": found[-1:]}
    if isinstance(found, str) and found:
        return {
            "model_id": None,
            "finish_reason": None,
            "error": None,
            "system_fingerprint": None,
            **usage([]),
            "system_output": found,
        }
    body = mapping(found)
    if _is_chunk(body):
        return _streamed([body])
    fault = body.get("error")
    if fault:
        return {"model_id": body.get("model"), "finish_reason": "error", "error": error_text(fault)}
    layers = list(_layers(body))
    return {
        "model_id": text(_known(layers, MODELS)),
        "system_output": _text(body),
        "finish_reason": _ending(body, layers),
        "error": None,
        "system_fingerprint": text(_known(layers, ("system_fingerprint",))),
        **usage(layers),
    }


def _layers(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The answer and what it is wrapped around, from outside to inside."""
    waiting = [body]
    for _ in range(LAYERS):
        if not waiting:
            return
        layer = waiting.pop(0)
        yield layer
        waiting += [inner for name in INNER if (inner := mapping(layer.get(name)))]
        for name in LISTED:
            item = parsed(layer.get(name))
            while isinstance(item, list) and item:
                item = item[0]
            waiting += [item] if isinstance(item, Mapping) else []


def _known(layers: list[Mapping[str, Any]], names: tuple[str, ...]) -> Any:
    return next((value for layer in layers if (value := first(layer, *names)) is not None), None)


def _text(body: Mapping[str, Any]) -> str | None:
    found = first(body, "choices", "output", "content", "generations", "message", "response", "candidates", "messages")
    while isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    if isinstance(found, list) and found and (body.get("choices") or body.get("generations") or body.get("candidates")):
        found = found[0]  # several answers to one question: the first is the one that was shown
    if isinstance(found, Mapping) and ("generations" in found or "choices" in found):
        return _text(found)
    if isinstance(found, Mapping) and "generation_info" in found and not answer(found.get("message")):
        return text(found.get("text"))
    return answer(found) or answer(body)


def _ending(body: Mapping[str, Any], layers: list[Mapping[str, Any]]) -> str | None:
    if any(layer.get("refusal") for layer in layers):
        return "refusal"
    if body.get("object") == "response":
        parts = [part for item in listing(body.get("output")) for part in listing(mapping(item).get("content"))]
        if any(mapping(part).get("type") == "refusal" for part in parts):
            return "refusal"
        return text(mapping(body.get("incomplete_details")).get("reason")) or text(body.get("status"))
    return ending(_known(layers, ENDINGS))


def ending(value: Any) -> str | None:
    """The word for why an answer ended, out of a word, a list of words, or an object that holds one.

    >>> ending('["stop"]'), ending({"unified": "stop", "raw": "end_turn"}), ending("length")
    ('stop', 'stop', 'length')
    """
    found = parsed(value)
    if isinstance(found, list):
        return next((word for word in map(ending, found) if word), None)
    if isinstance(found, Mapping):
        return ending(first(found, "unified", "reason", "type", "value", *ENDINGS))
    return text(found) if isinstance(found, str) else None


def usage(layers: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts of tokens from the first layer that has any, by any of the names that providers give them."""
    places = [mapping(layer.get(name)) for layer in layers for name in USAGES]
    places = [mapping(place.get("usage")) or place for place in places if place]
    counted = next((each for each in [*places, *layers] if number(first(each, *GIVEN, *WRITTEN)) is not None), {})
    details = next((mapping(counted[name]) for name in DETAILS if mapping(counted.get(name))), {})
    beside = sum(number(counted.get(name)) or 0 for name in BESIDE)
    inside = number(first(counted, *INSIDE)) or number(first(details, "cached_tokens", "cache_read", "cacheReadTokens"))
    written, thoughts = first(counted, *WRITTEN), number(first(counted, *THOUGHTS))
    langchain = "input_token_details" in counted  # it adds what providers count beside to its input_tokens
    return {
        "given": first(counted, *GIVEN),
        "written": written if not thoughts else (number(written) or 0) + thoughts,
        "total": first(counted, *TOTAL),
        "cached": inside if langchain or not any(name in counted for name in BESIDE) else beside,
        "beside": not langchain and any(name in counted for name in BESIDE),
    }


def tokens(said: Mapping[str, Any], draft: Draft) -> tuple[float | None, float | None]:
    """All tokens that an answer says went in, those of the cache included, and came out."""
    given, written, beside = said.get("given"), said.get("written"), bool(said.get("beside"))
    whole = whole_input(given, said.get("cached"), draft, output=written, total=said.get("total"), beside=beside)
    return whole, amount(written, draft, "a count of output tokens")


def _is_chunk(value: Any) -> bool:
    choices = mapping(value).get("choices")
    if isinstance(choices, list):
        return any("delta" in mapping(choice) for choice in choices)
    return mapping(value).get("type") in ("message_start", "content_block_delta", "message_delta")


def _streamed(chunks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The chunks of a stream as one answer: text put together, the last ending, the counts where they came."""
    said = {"model_id": None, "finish_reason": None, "error": None, "system_fingerprint": None, **usage([])}
    words: list[str] = []
    for chunk in chunks:
        choices = chunk.get("choices")
        choice = mapping(choices[0]) if isinstance(choices, list) and choices else {}
        delta = mapping(choice.get("delta") or chunk.get("delta"))
        words += [part for name in ("content", "text") if isinstance(part := delta.get(name), str)]
        inner = [chunk, choice, delta, mapping(chunk.get("message"))]
        counts = {name: value for name, value in usage(inner).items() if value not in (None, 0, 0.0, False)}
        about = {"model_id": text(_known(inner, MODELS)), "system_fingerprint": text(chunk.get("system_fingerprint"))}
        about["finish_reason"] = "refusal" if delta.get("refusal") else ending(_known(inner, ENDINGS))
        said |= {name: value for name, value in (about | counts).items() if value is not None}
    return {**said, "system_output": "".join(words) or None}
