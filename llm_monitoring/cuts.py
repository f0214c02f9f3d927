"""What a log was cut to: the rows from a moment on and before another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class Cut(NamedTuple):
    """The rows from a moment on and before another (up to and with it, where closed)."""

    start: pd.Timestamp | None
    end: pd.Timestamp
    closed: bool

    def keeps(self, at: Any) -> Any:
        before = at <= self.end if self.closed else at < self.end
        return before if self.start is None else (at >= self.start) & before
