"""What every result can do: show itself, become JSON, become a table. No statistics here."""

from __future__ import annotations

import dataclasses
import math
from datetime import date, datetime
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Result:
    """Base of the frozen dataclasses that the statistics return.

    A subclass gives `headline` (one sentence with n and uncertainty), `to_frame` and `plot(ax=None)`.
    """

    @property
    def headline(self) -> str:
        """One sentence that a tired person understands, with n and uncertainty."""
        raise NotImplementedError

    def to_frame(self) -> pd.DataFrame:
        """The result as a table."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON: times as ISO 8601 UTC with Z, unknown numbers as None."""
        return {f.name: jsonable(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.headline}"

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(self.headline)}</b></p>{table_html(self.to_frame())}"


def jsonable(value: Any) -> Any:
    """The value as JSON knows it. NaN, NaT and infinities become None, so that no reader takes them for numbers.

    >>> import pandas as pd
    >>> jsonable({"at": pd.Timestamp("2026-05-11", tz="UTC"), "share": float("nan")})
    {'at': '2026-05-11T00:00:00Z', 'share': None}
    """
    if value is None or type(value).__name__ == "NAType":
        return None
    if isinstance(value, str | bool):
        return value
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Result):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a DataFrame, told without importing pandas
        return [jsonable(row) for row in value.to_dict("records")]
    if hasattr(value, "tolist"):  # numpy scalars and arrays, pandas Series
        return jsonable(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [jsonable(item) for item in items]
    return str(value)


def iso(when: datetime) -> str | None:
    """ISO 8601 in UTC with Z, to the microsecond at most; None for NaT."""
    if when != when:  # NaT
        return None
    from datetime import UTC

    if when.tzinfo is not None:
        when = when.astimezone(UTC)
    text = when.replace(tzinfo=None).isoformat()
    return f"{text[:26]}Z"


def table_html(frame: pd.DataFrame, most: int = 60) -> str:
    """A small table for a notebook, every cell escaped, numbers rounded for reading."""
    shown = frame.head(most).map(_cell)
    more = f"<p>{len(frame) - most:,} more rows</p>" if len(frame) > most else ""
    return shown.to_html(escape=True, index=False, border=0) + more


def _cell(value: Any) -> str:
    value = jsonable(value) if not isinstance(value, datetime) else value
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    text = str(value)
    return text if len(text) <= 160 else text[:159] + "…"
