"""What every result can do: show itself, become JSON, become a table. No statistics here."""

from __future__ import annotations

import dataclasses
import math
import re
from datetime import date, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from llm_monitoring.errors import ConfigError, quote

if TYPE_CHECKING:
    import pandas as pd


LEVELS = ("value", "expected", "low", "high", "center", "lower", "upper", "statistic", "before", "after")
CHANGES = ("change", "size", "difference")
SHARES = (
    r"(_rate|share|precision|coverage)(_low|_high|_before|_after|_of_change|_weighted)*$|^(share|positive_rate)_|^rate$"
)
CHANCES = r"^(p|probability.*|.*p_value|.*_probability)$"
ISO_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)"


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
        table = table_html(self.to_frame(), unit=getattr(self, "unit", None))
        return f"<p><b>{escape(self.headline)}</b></p>{table}"


def expect(kind: type, value: Any, where: str, how: str) -> None:
    """Refuse what is not the result of another call, in one line.

    >>> expect(Result, "x", "isolate(scope", "lm.incident.scope(log, alert)")
    Traceback (most recent call last):
    llm_monitoring.errors.ConfigError: isolate(scope='x'); expected what lm.incident.scope(log, alert) gives
    """
    if not isinstance(value, kind):
        raise ConfigError(f"{where}={quote(value)}); expected what {how} gives")


def unknown(value: Any) -> bool:
    """Whether one value says that nothing is known: None, NaN, NaT or NA.

    >>> [unknown(value) for value in (None, float("nan"), "", 0, [])]
    [True, True, False, False, False]
    """
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


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


def table_html(frame: pd.DataFrame, most: int = 60, unit: str | None = None) -> str:
    """A small table for a notebook, every cell escaped, numbers and times written as on the page.

    A column's name says what its numbers are (``_rate``, ``_usd``, ``_ms``, ``p_value``); levels and changes are in `unit`,
    or in what a column `unit` or `metric` says of each row.

    >>> import pandas as pd
    >>> "0.04 ct" in table_html(pd.DataFrame({"usd_per_day": [0.0004]})).replace("\xa0", " ")
    True
    >>> shown = table_html(pd.DataFrame({"error_rate": [0.0512], "p_value": [5.6e-37], "n": [1200.0], "low": [-0.0]}))
    >>> [cell in shown.replace("\xa0", " ") for cell in ("5.1 %", "&lt; 0.001", "1,200", ">0</td>")]
    [True, True, True, True]
    """
    rows = frame.head(most)
    units, names = _units(rows, unit), _meanings([str(name) for name in rows.columns])
    cells = [
        [_cell(value, name, of) for value, of in zip(rows.iloc[:, number].tolist(), units, strict=True)]
        for number, name in enumerate(names)
    ]
    sides = ["left" if _is_text(rows.iloc[:, number]) else "right" for number in range(len(names))]
    head = _row("th", [str(name) for name in rows.columns], sides)
    body = "\n".join(_row("td", list(row), sides) for row in zip(*cells, strict=True))
    more = f"<p>{len(frame) - most:,} more rows</p>" if len(frame) > most else ""
    return f'<table class="dataframe">\n<thead>\n{head}\n</thead>\n<tbody>\n{body}\n</tbody>\n</table>{more}'


def _row(tag: str, cells: list[str], sides: list[str]) -> str:
    """One row of a table, every cell escaped."""
    inner = (
        f'<{tag} style="text-align: {side}">{escape(text)}</{tag}>' for text, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{''.join(inner)}</tr>"


def _is_text(column: pd.Series) -> bool:
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    number = is_numeric_dtype(column) and not is_bool_dtype(column)
    return not (
        number or is_datetime64_any_dtype(column) or all(isinstance(one, int | float) for one in column.dropna())
    )


def _meanings(names: list[str]) -> list[str]:
    """The names of columns, where `low` and `high` belong to a change or a share with that in front."""
    of = next((name for name in ("change", "share", "precision") if name in names), "")
    return [f"{of}_{name}" if of and name in ("low", "high") else name for name in names]


def _units(rows: pd.DataFrame, unit: str | None) -> list[str | None]:
    """How the levels of each row are printed, None where nothing says so."""
    from llm_monitoring.measures import is_known, measure

    if "unit" in rows:
        return [str(unit) if isinstance(unit, str) and unit else None for unit in rows["unit"]]
    if "metric" in rows:
        return [measure(name).shown_in if isinstance(name, str) and is_known(name) else None for name in rows["metric"]]
    return [unit] * len(rows)


def _cell(value: Any, name: str, unit: str | None) -> str:
    from llm_monitoring import wording as say

    if isinstance(value, datetime) or (isinstance(value, str) and re.fullmatch(ISO_TIME, value)):
        return "" if value != value else say.moment(value, year=True) if _zoned(value) else str(value)
    value = jsonable(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(float(value), name, unit)
    if isinstance(value, dict):
        value = " and ".join(f"{key} = {_cell(one, str(key), None)}" for key, one in value.items())
    if isinstance(value, list):
        value = ", ".join(_cell(one, "", None) for one in value)
    text = str(value)
    return text if len(text) <= 160 or name == "message" else text[:159] + "…"


def _zoned(value: Any) -> bool:
    return isinstance(value, str) or value.tzinfo is not None


def _number(value: float, name: str, unit: str | None) -> str:
    from llm_monitoring import wording as say

    if re.search(CHANCES, name):
        return say.probability(value)
    base = re.sub(r"_(low|high)$", "", name)
    if unit is not None and base in LEVELS:
        return say.amount(value, unit)
    if unit is not None and base in CHANGES:
        return say.difference(value, unit)
    for ending, kind in ((r"_ms$", "ms"), (r"(^|_)usd(_per_(day|month))?$", "usd")):
        if re.search(ending, base):
            return say.amount(value, kind)
    if re.search(SHARES, name) and abs(value) <= 1:
        return say.amount(value, "share")
    if value == round(value) and abs(value) < 1e15:
        return say.number(value)
    size = abs(value)
    if size < 1e-4:
        return f"{value:.1e}".replace("-", say.MINUS)
    return say.number(value, 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3)


class Shown:
    """A table as `show` gives it: rendered where a notebook asks, the table itself in `.frame`."""

    def __init__(self, frame: pd.DataFrame, unit: str | None, most: int):
        self.frame, self._unit, self._most = frame, unit, most

    def __repr__(self) -> str:
        return repr(self.frame)

    def _repr_html_(self) -> str:
        return table_html(self.frame, self._most, self._unit)


def show(table: pd.DataFrame | list, unit: str | None = None, most: int = 60) -> Shown:
    """Show a table in a notebook as the incident page would: 4.6 %, 1.7 s, 18 May 2026 00:00 UTC, every cell escaped.

    Parameters
    ----------
    table : DataFrame or list of dict
        Such as `lm.window_metrics` gives.
    unit : {"share", "score", "ms", "usd", "count"}, optional
        What levels and changes are in, where neither the columns' names nor a column `metric` says so.
    most : int
        Rows shown at most.

    Returns
    -------
    Shown

    Examples
    --------
    >>> import pandas as pd
    >>> shown = show(pd.DataFrame({"error_rate": [0.0512], "latency_p95_ms": [1700.0]}))
    >>> "1.7\xa0s" in shown._repr_html_()
    True
    """
    import pandas as pd

    return Shown(table if isinstance(table, pd.DataFrame) else pd.DataFrame(table), unit, most)
