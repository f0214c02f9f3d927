"""How fast a judge may be asked: one time slot after another for all workers, wider after each refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 120.0  # seconds; a server that asks for more is asked again after this
WIDEST_GAP = 10.0  # seconds between two calls; a server that wants more says so with each refusal


class Pace:
    """Spaces the calls of many workers by one clock.

    Parameters
    ----------
    rpm, tpm : float, optional
        Requests and tokens a minute that the provider allows. Without them the pace is found from its refusals: the
        gap between two calls grows by half at most once in half a second, and shrinks by 2 % with every answer.

    Examples
    --------
    >>> Pace(rpm=600).gap
    0.1
    """

    def __init__(self, rpm: float | None = None, tpm: float | None = None):
        self.least = 60 / rpm if rpm else 0.0
        self.gap = self.least
        self.seconds_per_token = 60 / tpm if tpm else 0.0
        self._next = self._next_tokens = self._held_until = self._widened_at = 0.0
        self.answers = 0
        self._line = asyncio.Lock()

    async def turn(self, tokens: float = 0) -> None:
        """Wait for the next slot; `tokens` is the estimate for this call.

        Workers go one after another: on a machine that is late, the calls that should have gone meanwhile do not all
        go at once.
        """
        clock = asyncio.get_running_loop().time
        async with self._line:
            start = now = clock()
            while (due := max(self._next, self._next_tokens, self._held_until)) > now:
                await asyncio.sleep(due - now)
                now = clock()
                start = max(due, now - self.gap / 2)
            self._next = start + self.gap
            self._next_tokens = start + tokens * self.seconds_per_token

    def refused(self, retry_after: float | None) -> None:
        """A 429 came: everybody waits as long as it says, and the gap widens."""
        now = asyncio.get_running_loop().time()
        wait = 0.1 if retry_after is None else min(max(retry_after, 0.0), LONGEST_WAIT)
        self._held_until = max(self._held_until, now + wait)
        if now - self._widened_at >= 0.5:
            self._widened_at = now
            self.gap = max(min(self.gap * 1.5, WIDEST_GAP), 0.01, self.least)
            self._next = max(self._next, self._held_until)

    def answered(self) -> None:
        """An answer came: the gap shrinks, never below what `rpm` says."""
        self.answers += 1
        self.gap = max(self.gap * 0.98, self.least)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a server asks for: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date.

    >>> retry_after({"retry-after-ms": "250"})
    0.25
    >>> retry_after({"retry-after": "2"})
    2.0
    >>> retry_after({"retry-after": "Tue, 12 May 2026 09:31:07 GMT"}, now=datetime(2026, 5, 12, 9, 31, 4, tzinfo=UTC))
    3.0
    >>> retry_after({}) is None
    True
    """
    for name, scale in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers[name]) / scale
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        when = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
