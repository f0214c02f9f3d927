"""What would tell two causes apart: the answers that saw only one of them, and how many more have to be looked at."""

from __future__ import annotations

import numpy as np
import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.incident.inference.causes import Cause, in_scope
from llm_monitoring.incident.inference.inquiry import Inquiry
from llm_monitoring.incident.inference.slices import counts

POWER = 1.645 + 0.842  # one-sided 5 % error, 80 % power


def separating_step(inquiry: Inquiry, first: Cause, second: Cause) -> str:
    """The next step that separates two causes, in a sentence with its numbers.

    Two recorded changes are told apart by the answers that saw exactly one of them; where hardly any did, by taking one
    back for a part of the traffic. The judge is told from the answers by judging old answers again.
    """
    kinds = {first.kind, second.kind}
    n = _needed(inquiry)
    if first.recorded and second.recorded:
        return _between_changes(inquiry, first, second, n)
    if "judge" in kinds:
        return (
            f"Judge {max(n, 60):,} answers from before {say.moment(inquiry.since)} again with today's judge: if the "
            "scores fall, the judge moved; if they stay, the answers did."
        )
    if kinds & {"none", "mix"}:
        return f"Judge about {n:,} more answers of {inquiry.slice.label} since {say.moment(inquiry.since)}: a shift of this size shows in that many (5 % error, 80 % power)."
    recorded = first if first.recorded else second
    return (
        f"Take {recorded.name} back for about {n:,} judged answers of {inquiry.slice.label}: if they stay bad, something that "
        "nobody recorded did it."
    )


def exposed(cause: Cause, frame: pd.DataFrame) -> np.ndarray:
    """True for the rows that saw a recorded change: of its new version where the log names one, else in scope and after."""
    late = (frame["timestamp"] >= cause.at).to_numpy() if cause.at is not None else np.ones(len(frame), bool)
    carried = [
        (frame[trace.column] == trace.value).to_numpy(bool, na_value=False)
        for trace in cause.traces
        if trace.column in frame
    ]
    return in_scope(cause.declared, frame) & late & (np.any(carried, axis=0) if carried else True)


def _between_changes(inquiry: Inquiry, first: Cause, second: Cause, n: int) -> str:
    requests, frame = inquiry.seen.asked(first.at, second.at), inquiry.seen.frame
    inside, asked = inquiry.slice.mask(requests), counts(requests)
    a, b = (exposed(cause, requests) & inside for cause in (first, second))
    only, either = int(asked[a ^ b].sum()), int(asked[a | b].sum())
    counted = ((exposed(first, frame) ^ exposed(second, frame)) & inquiry.slice.mask(frame)).sum()
    told = (
        f"Of {either:,} requests of {inquiry.slice.label} that saw {first.name} or {second.name}, {only:,} "
        f"({say.amount(only / max(either, 1), 'share')}) saw only one; {counted:,} of those count here. "
    )
    if only - counted >= n > counted:
        return (
            told
            + f"Judge {n - counted:,} more of them: a shift of this size shows in about {n:,} (5 % error, 80 % power)."
        )
    later = first if first.at >= second.at else second  # type: ignore[operator]
    return (
        told
        + f"Take {later.name}, the later one, back for about {n:,} answers: a shift of this size shows in that many."
    )


def _needed(inquiry: Inquiry) -> int:
    """Answers in which the shift that was seen would show, against a known level before."""
    seen = inquiry.seen
    rows = seen.mask(inquiry.slice)
    y, late = seen.model_values()[rows], (seen.frame["timestamp"] >= inquiry.since).to_numpy()[rows]
    if not late.any() or late.all():
        return 60
    shift = max(abs(y[late].mean() - y[~late].mean()), 1e-3)
    return int(np.clip(np.ceil(POWER**2 * y.var() / shift**2), 10, 10_000))
