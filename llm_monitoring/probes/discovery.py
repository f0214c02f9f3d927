"""Find border probes: questions to which a model, asked for one token at temperature 0, does not always say the same."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.probes.calling import Call, Reply, ask_all, check_client, in_own_loop
from llm_monitoring.probes.probe import ModelBehaviorProbe
from llm_monitoring.probes.running import first_word

WORDS = [
    "tea",
    "coffee",
    "river",
    "lake",
    "amber",
    "teal",
    "violin",
    "cello",
    "maple",
    "birch",
    "copper",
    "silver",
    "falcon",
    "heron",
    "April",
    "October",
    "Monday",
    "Thursday",
    "seven",
    "nine",
    "north",
    "west",
    "granite",
    "marble",
    "pepper",
    "ginger",
    "ferry",
    "tram",
    "harbour",
    "valley",
    "lantern",
    "candle",
    "linen",
    "wool",
    "chess",
    "draughts",
    "novel",
    "poem",
    "comet",
    "meteor",
    "olive",
    "almond",
    "winter",
    "autumn",
    "square",
    "circle",
    "whisper",
    "murmur",
    "ladder",
    "bridge",
    "velvet",
    "satin",
]
FORMS = (
    "Choose one and answer with that word only: {a} or {b}.",
    "Which word do you like better, {a} or {b}? Answer with one word.",
    "Complete with one word: {a}, {b},",
    "Name one thing that goes with {a} and {b}. One word only.",
    "Think of a number between 10 and 99 that fits {a} and {b}. Answer with the number only.",
)
TRIES, CONFIRM = 2, 6  # calls for a candidate, and more for one that gave two tokens
NEAR = math.log(3)  # between the two best tokens: the lesser has a quarter of the chance or more


@dataclass(frozen=True)
class Discovery:
    """Border probes that were found, best first, and what that took."""

    probes: list[ModelBehaviorProbe]
    calls: int
    candidates: int
    unanswered: int
    reason: str | None


def discover_border_probes(
    client: Any,
    n: int,
    budget_calls: int,
    *,
    repeats: int = 3,
    timeout_s: float = 60,
    concurrency: int = 4,
    seed: int = 0,
) -> Discovery:
    """Find questions on which a model is undecided.

    Parameters
    ----------
    client : callable or Judge
        As for `run_probes`.
    n : int
        Probes wanted.
    budget_calls : int
        Calls that may be spent.
    repeats : int
        Calls a run of each probe, written into the suite.
    timeout_s : float
        Seconds to wait for one answer.
    concurrency : int
        Calls in flight at once.
    seed : int
        Of the order of the candidates.

    Returns
    -------
    Discovery
        `.probes`: at most n, the most undecided first, with the shares found in `params`; fewer where the budget ends.

    Notes
    -----
    A candidate is asked twice; where two tokens come, or where the server tells log-probabilities of which the best two
    lie within a factor of three, six more calls give its shares (after B3IT, arXiv 2602.11083).

    Examples
    --------
    >>> turns = itertools.cycle(["tea", "coffee", "coffee"])
    >>> found = discover_border_probes(lambda text: next(turns), n=2, budget_calls=40, concurrency=1)
    >>> len(found.probes), found.probes[0].kind
    (2, 'border')
    """
    for name, value in (("n", n), ("budget_calls", budget_calls), ("repeats", repeats)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"discover_border_probes({name}={quote(value)}); expected a whole number, 1 or more")
    check_client("discover_border_probes(client)", client)
    candidates = _candidates(seed)
    found: list[tuple[float, str, Counter]] = []
    calls = asked = unanswered = 0
    reason = None
    while len(found) < n and budget_calls - calls >= TRIES:
        left = budget_calls - calls
        spare = left - CONFIRM * (n - len(found))  # kept back, so that what looks undecided can be asked more
        part = list(itertools.islice(candidates, min(4 * max(concurrency, 4), max(spare, TRIES) // TRIES)))
        if not part:
            break
        replies = _ask(part, TRIES, client, timeout_s, concurrency)
        calls, asked = calls + TRIES * len(part), asked + len(part)
        failed = [reply.error for text in part for reply in replies[text] if reply.error]
        unanswered, reason = unanswered + len(failed), failed[0] if failed else reason
        if len(failed) == TRIES * len(part):
            break  # nothing can be reached: asking on would cost and say nothing
        near = [text for text in part if _undecided(replies[text])]
        near = near[: (budget_calls - calls) // CONFIRM]
        more = _ask(near, CONFIRM, client, timeout_s, concurrency)
        calls += CONFIRM * len(near)
        for text in near:
            tokens = Counter(_tokens(replies[text] + more[text]))
            if len(tokens) > 1:
                found.append((max(tokens.values()) / tokens.total(), text, tokens))
    best = sorted(found, key=lambda one: (one[0], one[1]))[:n]
    return Discovery([_probe(text, tokens, repeats) for _, text, tokens in best], calls, asked, unanswered, reason)


def _candidates(seed: int) -> Iterator[str]:
    pairs = [(form, a, b) for form in FORMS for a, b in itertools.permutations(WORDS, 2)]
    random.Random(seed).shuffle(pairs)
    return (form.format(a=a, b=b) for form, a, b in pairs)


def _ask(texts: list[str], times: int, client: Any, timeout_s: float, concurrency: int) -> dict[str, list[Reply]]:
    calls = [Call(text, one_token=True) for text in texts for _ in range(times)]
    replies = in_own_loop(ask_all(calls, client, timeout_s, concurrency, "border probes"))
    return {text: replies[times * i : times * (i + 1)] for i, text in enumerate(texts)}


def _tokens(replies: list[Reply]) -> list[str]:
    texts = [reply.answer.text for reply in replies if reply.answer is not None]
    return [word for word in (first_word(text or "") for text in texts) if word]


def _undecided(replies: list[Reply]) -> bool:
    if len(set(_tokens(replies))) > 1:
        return True
    told = [sorted(r.answer.logprobs.values())[::-1] for r in replies if r.answer is not None and r.answer.logprobs]
    return any(len(values) > 1 and values[0] - values[1] < NEAR for values in told)


def _probe(text: str, tokens: Counter, repeats: int) -> ModelBehaviorProbe:
    import hashlib

    ranked = sorted(tokens.items(), key=lambda one: (-one[1], one[0]))
    shares = {token: round(count / tokens.total(), 3) for token, count in ranked}
    name = f"border-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return ModelBehaviorProbe(name, text, ranked[0][0], "check_token", {"shares": shares}, repeats, "border")
