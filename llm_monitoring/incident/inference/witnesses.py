"""What speaks beside the alert's own metric: fixed probes, what users do, and people who read flagged answers.

Each witness gives log odds for the causes that it can tell apart, and the sentence with its numbers. None counts
for more than thirty to one: probes repeat themselves, and users complain in waves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.incident.inference.cells import unhappy_sessions
from llm_monitoring.incident.inference.lineage import families
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.shifts import log_raised
from llm_monitoring.incident.inference.slices import Slice

if TYPE_CHECKING:
    from llm_monitoring.log import Log

MOST = np.log(30)
PROBES_NOTICE, USERS_NOTICE = 0.8, 0.5  # belief that a change which hurts answers moves them
MOVES = np.array([0.05, 0.1, 0.2, 0.4, 0.7])
UNHAPPY = ("thumbs_down", "correction", "retry", "abandoned")


@dataclass(frozen=True)
class Testimony:
    """Log odds that something moved at a time, and what was seen; no numbers where there was nothing to see."""

    log_odds: float = 0.0
    told: str | None = None


def probes(log: Log, seen: Observations, model: str | None, at: pd.Timestamp) -> Testimony:
    """Whether the probes of one model (None: of any) answer otherwise since a time."""
    table = log.probe_results
    table = table[table["passed"].notna()]
    if not len(table):
        return Testimony()
    family = {str(model): str(of) for model, of in families(seen.requests).items()}
    own = (
        np.ones(len(table), bool)
        if model is None
        else (table["model_id"].astype(str).replace(family) == model).to_numpy()
    )
    late = (table["run_at"] >= at).to_numpy()
    passed = table["passed"].astype(bool).to_numpy()
    before, since = passed[own & ~late], passed[own & late]
    if not len(before) or not len(since):
        return Testimony()
    moves = np.concatenate([-MOVES, MOVES])
    possible = np.abs(before.mean() + moves - 0.5) < 0.5  # of probes that all passed none passes more often
    moved = log_raised(since.sum(), len(since), before.sum(), len(before), moves[possible])
    name = "the models" if model is None else model
    told = (
        f"Probes of {name} passed {say.amount(before.mean(), 'share')} of {len(before):,} before and "
        f"{say.amount(since.mean(), 'share')} of {len(since):,} since {say.moment(at)}."
    )
    return Testimony(_noticed(moved, PROBES_NOTICE), told)


def users(log: Log, seen: Observations, where: Slice, at: pd.Timestamp) -> Testimony:
    """Whether more users show that they are not helped (thumbs down, correction, retry, abandoned) since a time.

    Counted by session, since one user presses more than once.
    """
    if not log.has("signals") or seen.source is None:
        return Testimony()
    counted = unhappy_sessions(log, seen.source.within(where), UNHAPPY, at)
    if counted is None or not all(n for _, n in counted):
        return Testimony()
    (k_before, before), (k_since, since) = counted
    raised = log_raised(k_since, since, k_before, before, MOVES)
    told = (
        f"Sessions with a sign that the user was not helped: {say.amount(k_before / before, 'share')} of {before:,} "
        f"before, {say.amount(k_since / since, 'share')} of {since:,} since."
    )
    return Testimony(_noticed(raised, USERS_NOTICE), told)


def _noticed(log_ratio, belief: float) -> float:
    """Log odds of a change, where only some changes are noticed by this witness."""
    return float(np.clip(np.logaddexp(np.log(belief) + float(log_ratio), np.log(1 - belief)), -MOST, MOST))
