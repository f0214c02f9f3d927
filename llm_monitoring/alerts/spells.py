"""From looks, one after the other, to alerts: one for each spell outside the limits, and when it was over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from llm_monitoring.alerts.alert import Alert

QUIET = 2  # looks inside, one after the other, after which a spell is over


def spells(looks: Iterable[tuple[pd.Timestamp, Alert | None]]) -> list[Alert]:
    """The first alert of each spell.

    Parameters
    ----------
    looks : iterable of (Timestamp, Alert or None)
        The end of each look that could tell, in order, and the alert where it found something.

    Returns
    -------
    list of Alert
        `over` is the end of the last look outside, where two looks after it were inside or another spell began.
    """
    found: list[Alert] = []
    last, inside = pd.Timestamp(0, tz="UTC"), QUIET
    for end, alert in looks:
        begins = alert is not None and inside > 0
        inside = 0 if alert else inside + 1
        if found and (begins or inside == QUIET):
            found[-1] = replace(found[-1], over=last)
        if alert is not None:
            found += [alert] if begins else []
            last = end
    return found
