"""What a log holds, at a glance: rows, span, features, models, and what of it is judged. Counted in the engine."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from llm_monitoring import engines
from llm_monitoring import wording as say
from llm_monitoring.results import table_html
from llm_monitoring.schema import TABLES

if TYPE_CHECKING:
    import pandas as pd

MOST_FEATURES = 12
#: Of a table, the column whose values are worth a word.
NAMED = {
    "requests": "model_id", "signals": "signal_type", "judgements": "judge_model", "changes": "kind",
    "probe_results": "probe_id", "reviews": "verdict",
}  # fmt: skip
COLUMNS = ["feature_id", "requests", "share", "models", "judged", "judged_share", "flagged_rate", "first", "last"]


@dataclass(frozen=True)
class Overview:
    """The figures of a log.

    Attributes
    ----------
    source : str
    tables : DataFrame
        One row per table: `table`, `rows`, `first`, `last`, `holds` (the commonest values of its most telling column).
    features : DataFrame
        One row per feature, the busiest first: `requests`, `share`, `models`, `judged` (distinct requests with a
        judgement), `judged_share`, `flagged_rate`, `first`, `last`.
    """

    source: str
    tables: pd.DataFrame
    features: pd.DataFrame

    @property
    def headline(self) -> str:
        """Requests, span, and the share of them that is judged, in one line."""
        table = self.tables.set_index("table")
        if "requests" not in table.index or not table.loc["requests", "rows"]:
            return f"Log {say.one_line(self.source)!r}: no request"
        asked: Any = table.loc["requests"]
        judged, rows = int(self.features["judged"].sum()), int(asked["rows"])
        told = (
            f"{say.number(judged)} of them judged ({say.amount(judged / rows, 'share')})" if judged else "none judged"
        )
        span = f"{say.moment(asked['first'], year=True)} to {say.moment(asked['last'], year=True)}"
        return f"Log {say.one_line(self.source)!r}: {say.number(rows)} requests, {span}, {told}"

    def text(self) -> str:
        """The overview as plain text."""
        lines = [self.headline]
        if len(self.features):
            shown = [
                f"{say.one_line(row.feature_id)} {say.number(row.requests)}"
                for row in _rows(self.features.head(MOST_FEATURES))
            ]
            word = "feature" if len(self.features) == 1 else "features"
            lines.append(f"  {len(self.features)} {word}: {_listed(shown, len(self.features))}")
        for row in _rows(self.tables):
            if row.table != "requests" or row.holds:
                lines.append(f"  {row.table}: {say.number(row.rows)} rows" + (f", {row.holds}" if row.holds else ""))
        return "\n".join(lines).replace(say.NBSP, " ")

    def html(self) -> str:
        """The overview for a notebook, every text escaped."""
        return f"<p><b>{escape(self.headline)}</b></p>{table_html(self.tables)}" + (
            f"<p>Features, the busiest first</p>{table_html(self.features, MOST_FEATURES)}"
            if len(self.features)
            else ""
        )


def overview(log: Any) -> Overview:
    """Count what a log holds: one query for each table, nothing loaded.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> overview(lm.open_log("sample_data")).features.columns[:3].tolist()
    ['feature_id', 'requests', 'share']
    """
    import pandas as pd

    rows = [_of_table(log, name) for name in TABLES if log.has(name)]
    tables = pd.DataFrame(rows, columns=["table", "rows", "first", "last", "holds"])
    return Overview(log.source, tables, _features(log))


def _of_table(log: Any, name: str) -> tuple[str, int, Any, Any, str]:
    rows = log.table(name)
    found = engines.run(rows.group_by(value=rows[NAMED[name]]).aggregate(n=rows.count())).to_pandas()
    first, last = log.span(name)
    known = found[found["value"].notna()].sort_values(["n", "value"], ascending=[False, True])
    what = NAMED[name].replace("_", " ")
    if name == "probe_results":
        return name, int(found["n"].sum()), first, last, f"{len(known)} probes" if len(known) else ""
    listed = [f"{say.one_line(row.value)} {say.number(row.n)}" for row in known.head(5).itertuples()]
    holds = f"{what}: {_listed(listed, len(known))}" if len(known) else ""
    return name, int(found["n"].sum()), first, last, holds


def _features(log: Any) -> pd.DataFrame:
    import pandas as pd

    requests = log.table("requests")
    at = engines.microseconds(requests["timestamp"])
    counted = requests.group_by("feature_id").aggregate(
        requests=requests.count(), models=requests["model_id"].nunique(), first=at.min(), last=at.max()
    )
    table = engines.run(counted).to_pandas()
    if log.has("judgements"):
        judged = log.table("judgements")
        flagged = judged["flagged"].cast("float64").mean()
        of = judged.group_by("feature_id").aggregate(judged=judged["request_id"].nunique(), flagged_rate=flagged)
        table = table.merge(engines.run(of).to_pandas(), on="feature_id", how="left")
    table = table.reindex(columns=[*table.columns, *(name for name in COLUMNS if name not in table)])
    for end in ("first", "last"):
        table[end] = pd.to_datetime(table[end], unit="us", utc=True)
    table["judged"] = pd.to_numeric(table["judged"]).fillna(0).astype(int)
    table["share"] = table["requests"] / max(table["requests"].sum(), 1)
    table["judged_share"] = table["judged"] / table["requests"]
    return table.sort_values(["requests", "feature_id"], ascending=[False, True], ignore_index=True)[COLUMNS]


def _rows(table: pd.DataFrame) -> Any:
    return table.itertuples()


def _listed(shown: list[str], total: int) -> str:
    return ", ".join(shown) + (f" and {total - len(shown)} more" if total > len(shown) else "")
