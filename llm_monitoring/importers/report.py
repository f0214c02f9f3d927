"""What an import did: how many records were read, what became of them, and every guess that was made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_monitoring.plotting import BLUE, axes, name_rows
from llm_monitoring.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False)
class ImportReport(Result):
    """What an import did.

    Attributes
    ----------
    rows_read : int
        Records of the source: rows made, wrappers, scores, records that are no model call, and those set aside.
    rows_made : int
        Requests in the log.
    wrappers : int
        Records that repeat the work of one inside them, not counted twice.
    scores : int
        Scores of judges and people that became part of a row of another table.
    not_requests : dict
        Records that are no call of a language model, by kind.
    set_aside : list of dict
        `place`, `id` and `reason` of every record that could not become a row.
    tables : dict
        Rows made, by table.
    guesses : list of str
        Every decision that the source does not state: which field became which column, units, zones, missing cost.
    """

    format: str
    sources: list[str]
    rows_read: int
    rows_made: int
    wrappers: int
    scores: int
    not_requests: dict[str, int]
    set_aside: list[dict[str, Any]]
    tables: dict[str, int]
    guesses: list[str]

    @property
    def headline(self) -> str:
        """Rows read and made in one sentence."""
        return (
            f"{self.format}: {self.rows_read:,} records read, {self.rows_made:,} requests made, "
            f"{self.wrappers:,} wrappers not counted twice, {sum(self.not_requests.values()):,} no model call, "
            f"{len(self.set_aside):,} set aside, {len(self.guesses):,} guesses"
        )

    def __str__(self) -> str:
        lines = [self.headline]
        lines += [f"  {count:,} x {kind}: no model call" for kind, count in self.not_requests.items()]
        lines += [f"  {count:,} x set aside: {reason}" for reason, count in self._reasons().items()]
        lines += [f"  {count:,} rows in {name}" for name, count in self.tables.items()]
        lines += ["guesses:", *(f"  - {guess}" for guess in self.guesses or ["none"])]
        return "\n".join(lines)

    def to_frame(self) -> pd.DataFrame:
        """One row per thing that a record became: ``became``, ``detail``, ``count``."""
        import pandas as pd

        rows = [("request", "", self.rows_made), ("wrapper", "repeats the work of a record inside it", self.wrappers)]
        rows += [("score", "part of a judgement, a signal or a review", self.scores)]
        rows += [("no model call", kind, count) for kind, count in self.not_requests.items()]
        rows += [("set aside", reason, count) for reason, count in self._reasons().items()]
        return pd.DataFrame(rows, columns=["became", "detail", "count"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Bars of what the records became."""
        with axes(ax) as drawn:
            counts = self.to_frame().groupby("became", sort=False)["count"].sum()
            drawn.barh(range(len(counts)), list(counts)[::-1], height=0.3, color=BLUE)
            name_rows(drawn, [f"{name}: {count:,}" for name, count in counts.items()][::-1])
            drawn.locator_params(axis="x", integer=True, nbins=5)
            drawn.set_xlabel("records")
            drawn.set_title(f"{self.format}: what {self.rows_read:,} records became")
        return drawn

    def _reasons(self) -> Counter[str]:
        return Counter(str(entry["reason"]) for entry in self.set_aside)
