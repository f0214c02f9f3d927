"""What a column is of: the question (what users bring) or the service (what the team chooses).

Only a moved mix of questions may explain an alert away. More traffic down a bad branch of the service is the harm itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.incident.inference.mix import LOOK_BACK, SURE, Mix, decompositions
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.shifts import EFFECTS, log_harm
from llm_monitoring.incident.inference.slices import Slice, counts, outside

QUESTION = frozenset(
    [
        "category",
        "topic",
        "topics",
        "language",
        "lang",
        "locale",
        "length",
        "channel",
        "tenant",
        "customer",
        "client",
        "user",
        "users",
        "intent",
        "task",
        "segment",
        "audience",
        "question",
        "query",
        "input",
        "device",
        "platform",
        "country",
        "industry",
        "persona",
        "org",
        "organization",
        "organisation",
        "account",
        "subject",
        "product",
    ]
)
SERVICE = frozenset(
    [
        "model",
        "prompt",
        "pool",
        "server",
        "servers",
        "serving",
        "fallback",
        "cache",
        "cached",
        "tool",
        "tools",
        "index",
        "shard",
        "replica",
        "cluster",
        "host",
        "node",
        "gpu",
        "backend",
        "endpoint",
        "provider",
        "deployment",
        "canary",
        "variant",
        "arm",
        "experiment",
        "rollout",
        "fingerprint",
        "retriever",
        "embedder",
        "engine",
        "datacenter",
        "machine",
        "worker",
        "router",
        "build",
        "release",
        "temperature",
    ]
)
EXPLAINS = 0.5


@dataclass(frozen=True)
class Rerouted:
    """A column that is not of the question, whose mix moved and carries the change.

    Attributes
    ----------
    column, value : str
        The value that took more of the traffic and answers worse.
    sorted : bool
        Whether the column is known to be of the service; else the question to ask is which it is.
    share_before, share_since : float
        Part of the requests that it took.
    mix_effect : float
        The change that it makes, in the metric's unit.
    log_odds : float
        What the shares and the levels of the branches say for such a harm, against none.
    """

    column: str
    value: object
    sorted: bool
    share_before: float
    share_since: float
    mix_effect: float
    log_odds: float = 0.0

    @property
    def name(self) -> str:
        """The branch as people write it: ``pool=long``."""
        return f"{outside(self.column)}={self.value}"

    @property
    def sentence(self) -> str:
        """What moved, with its numbers."""
        grew = f"{say.amount(self.share_before, 'share')} to {say.amount(self.share_since, 'share')}"
        told = f"The share of requests with {self.name} went from {grew}, and its answers are worse than the others"
        if self.sorted:
            return f"{told}: the service sends more traffic down a bad branch, the questions did not change."
        return f"{told}. {self.question}"

    @property
    def question(self) -> str:
        """What has to be answered before a column that nobody sorted can count for or against harm."""
        column = outside(self.column)
        return (
            f"Is {column} something that users bring, or something that you choose? Write it into [slices] of the plan, "
            f"under question or service: only a mix of questions explains the alert away."
        )

    def within(self, group: Slice) -> Slice:
        """The part of a slice that took the branch."""
        return Slice((*group.where, (self.column, self.value)))


def role(column: str, question: Iterable[str] = (), service: Iterable[str] = ()) -> str:
    """Whether a column is of the `question`, of the `service`, or `unsorted`; the plan's lists come first.

    A name is read word by word. One that could be either (`region`, `plan`, `route`), or is unknown, is unsorted.

    >>> [role(name) for name in ("language", "serving_pool", "region", "server_region", "user_region")]
    ['question', 'service', 'unsorted', 'service', 'question']
    >>> role("region", question=["region"])
    'question'
    """
    if column in set(question):
        return "question"
    if column in set(service):
        return "service"
    if column == "feature_id":
        return "question"
    words = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).lower()))
    of_question, of_service = bool(words & QUESTION), bool(words & SERVICE)
    if of_question == of_service:
        return "unsorted"
    return "question" if of_question else "service"


def question_columns(seen: Observations, question: Iterable[str] = (), service: Iterable[str] = ()) -> tuple[str, ...]:
    """The slice columns of which a mix may be made."""
    return tuple(name for name in seen.columns if role(outside(name), question, service) == "question")


def rerouted(seen: Observations, question: Iterable[str] = (), service: Iterable[str] = ()) -> list[Rerouted]:
    """The columns, not of the question, whose moved shares carry the change; those of the service first.

    Each column is asked alone, from the window that alerted and up to six days earlier: its mix must move the metric
    towards harm by three standard errors and explain half of the change, with nothing left within its values. Beyond the columns
    that answers are sliced by, those of the service are asked too.
    """
    found = []
    for column in (*seen.columns, *seen.further):
        of = role(outside(column), question, service)
        if of == "question" or (of != "service" and column in seen.further):
            continue
        best = _strongest(seen, column)
        if best is not None:
            found.append(_grown(seen, column, of == "service", *best))
    return sorted(found, key=lambda one: (not one.sorted, -abs(one.mix_effect), one.column))


def _strongest(seen: Observations, column: str) -> tuple[Mix, pd.Timestamp] | None:
    alert = seen.alert
    first = alert.window_start if alert.window_start is not None else alert.fired_at - pd.Timedelta("1D")
    times = [first - pd.Timedelta(days) for days in LOOK_BACK]
    tried = zip(decompositions(seen, times, (column,)), times)
    sure = [
        (mix, since)
        for mix, since in tried
        if mix.mix_se > 0
        and seen.sign * mix.within_effect < 2 * mix.within_se
        and seen.sign * mix.mix_effect > SURE * float(np.hypot(mix.mix_se, mix.level_se))
        and mix.explains >= EXPLAINS
    ]
    return max(sure, key=lambda pair: seen.sign * pair[0].mix_effect / pair[0].mix_se) if sure else None


def _grown(seen: Observations, column: str, known: bool, mix: Mix, since: pd.Timestamp) -> Rerouted:
    feature = seen.alert.feature_id
    requests = seen.asked(since)
    requests = requests if feature is None else requests[requests["feature_id"] == feature]
    n = pd.Series(counts(requests), requests.index)
    frame = seen.frame if feature is None else seen.frame[seen.frame["feature_id"] == feature]
    late = (requests["timestamp"] >= since).to_numpy()
    asked = (n[part].groupby(requests.loc[part, column]).sum() for part in (late, ~late))
    now, before = (one / one.sum() for one in asked)
    grew = now.sub(before, fill_value=0.0)
    level = frame.groupby(column, observed=True)["value"].mean().reindex(grew.index)
    harm = (grew.clip(lower=0) * seen.sign * (level - frame["value"].mean())).fillna(-np.inf)
    value = harm.sort_index(key=lambda names: names.astype(str)).idxmax()
    share_before, share_since = (float(part.get(value, 0.0)) for part in (before, now))
    return Rerouted(column, value, known, share_before, share_since, mix.mix_effect, _log_odds(seen, frame, mix))


def _log_odds(seen: Observations, frame: pd.DataFrame, mix: Mix) -> float:
    """Log Bayes factor of the harm that the mix makes against none: its branches might answer alike."""
    unit = max(abs(float(frame["value"].mean())), 1e-12) if seen.scale == "log" else seen.step
    error = float(np.hypot(mix.mix_se, mix.level_se)) / unit
    return float(log_harm(seen.sign * mix.mix_effect / unit, max(error**2, 1e-12), EFFECTS[seen.scale]))
