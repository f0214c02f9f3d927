"""What moved in the queries, in one paragraph, as topics, and as two rankings of the single queries."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_monitoring.drift.comparison import Comparison
from llm_monitoring.drift.consequences import columns_of, compared, measured, sentence
from llm_monitoring.drift.contrast import contrast_words
from llm_monitoring.drift.mapping import draw_map
from llm_monitoring.drift.mix import MIX, mix_p, mix_table
from llm_monitoring.drift.sentences import Form, common_form, example, percent, topic_sentence
from llm_monitoring.drift.topics import Topic, distances_to_reference, find_topics, local_growth
from llm_monitoring.intervals import newcombe
from llm_monitoring.plotting import axes, before_and_now, nothing, rows_that_fit
from llm_monitoring.results import Result, jsonable
from llm_monitoring.wording import NBSP, one_line

if TYPE_CHECKING:
    import pandas as pd

MOST_LOOKED_AT = 500  # questions of a topic, and of all others, whose form is looked at
COLUMNS = ["kind", "examples", "words", "n_before", "n_after", "share_before", "share_after", "low", "high"]


@dataclass(frozen=True, repr=False)
class DriftExplanation(Result):
    """What moved: one paragraph, topics, and two rankings of the current queries.

    Attributes
    ----------
    paragraph : str
        What changed, in plain words: the first topic with its shares, examples and consequences, then the others, then
        the mix of known categories.
    topics : DataFrame
        One row per topic, best first: `kind` (new, grew, shrank), `examples`, `words` (empty where no words describe
        it), `n_before`, `n_after`, `share_before`, `share_after`, `low`, `high` (95 % interval of the change of
        share; since a topic is shown because it moved, it leans away from 0). Where known also, for the topic's current
        queries and for all other current ones (`_rest`): `n_judged`, `quality_after`, `quality_low`, `quality_high`,
        `quality_rest`; `refusal_after`, `refusal_rest`; `cost_usd_after`, `cost_usd_rest` (mean, USD);
        `abandoned_after`, `abandoned_rest`. Empty unless the test found drift.
    grew : DataFrame
        All current queries, those with the most current neighbours first: `query`, `score` (share of current queries
        among the nearest), `row` (position in the input).
    new : DataFrame
        All current queries, those farthest from the reference first: `query`, `score` (distance to the third nearest
        reference query), `percentile` among the reference's own distances, `row`.
    mix : DataFrame
        Known categories: `category`, `share_before`, `share_after`, `low`, `high`; empty where none is logged.
    mix_p_value : float or None
        Permutation p of the shares of the known categories alone.
    n_reference, n_current : int
    drift : bool or None
    looked_before, looked_after : int
        Queries in which topics were looked for: all, or 6,000 at most.
    stands_out : bool
        Whether the first topic moved more than any does by chance; else it is merely what moved most.
    """

    topics: pd.DataFrame
    grew: pd.DataFrame
    new: pd.DataFrame
    mix: pd.DataFrame
    mix_p_value: float | None
    n_reference: int
    n_current: int
    drift: bool | None
    looked_before: int = 0
    looked_after: int = 0
    stands_out: bool = True
    comparison: Comparison | None = field(default=None, repr=False, compare=False)
    members: tuple[np.ndarray, ...] = field(default=(), repr=False, compare=False)
    forms: tuple[tuple[Form | None, bool], ...] = field(default=(), repr=False, compare=False)

    @property
    def headline(self) -> str:
        sizes = f"{self.n_current:,} queries against {self.n_reference:,}"
        if self.drift is None:
            return f"Too few queries to tell ({sizes}), so there is nothing to explain."
        if not self.drift:
            return f"No change found ({sizes}), so there is nothing to explain."
        if self.topics.empty:
            return f"The queries changed ({sizes}), but no topic stands out: the change is spread thin."
        said = self._said(0)
        if not self.stands_out:
            return (
                f"The queries changed ({sizes}), but no topic stands out. What moved most: {said[0].lower()}{said[1:]}"
            )
        return said

    @property
    def paragraph(self) -> str:
        """What changed, for somebody who has no time: a few sentences, each with its numbers."""
        if not self.drift:
            return self.headline
        said = [self.headline]
        if len(self.topics):
            rows = [dict(row) for _, row in self.topics.head(3).iterrows()]
            said[0] += example(rows[0]) + sentence(rows[0])
            said += [f"Also: {self._said(number)}{example(rows[number])}" for number in range(1, len(rows))]
            if len(self.topics) > 3:
                said.append(f"{len(self.topics) - 3} more in the table.")
        return " ".join([*said, *self._mix_said()])

    def _said(self, number: int) -> str:
        form, diffuse = self.forms[number] if self.forms else (None, False)
        return topic_sentence(self.topics.iloc[number], form, self.looked_after, diffuse)

    def _mix_said(self) -> list[str]:
        if self.mix_p_value is None:
            return []
        if self.mix_p_value > 0.05:
            return [f"The mix of the known categories shows no change (p = {self.mix_p_value:.2g})."]
        most = self.mix.iloc[0]
        return [
            f"The mix of the known categories changed too (p = {self.mix_p_value:.2g}), most of all “{most['category']}”: "
            f"{percent(most['share_before'])} before, {percent(most['share_after'])} now."
        ]

    @property
    def alt_text(self) -> str:
        """What the figures show, for who cannot see them: the paragraph."""
        return self.paragraph

    def to_frame(self) -> pd.DataFrame:
        """The topics."""
        return self.topics.copy()

    def to_dict(self) -> dict[str, Any]:
        """The paragraph and all tables, ready for JSON; the vectors stay behind."""
        names = [name for name in self.__dataclass_fields__ if name not in ("comparison", "members", "forms")]
        return {"paragraph": self.paragraph} | {name: jsonable(getattr(self, name)) for name in names}

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.paragraph)}</p>{super()._repr_html_()}"

    def plot(self, ax=None, most: int = 8):
        """Share of each topic before (hollow circle) and now (diamond, with the 95 % interval of the change)."""
        with axes(ax, size=(8.4, 1.7 + 0.5 * max(min(most, len(self.topics)), 1))) as ax:
            shown = self.topics.head(min(most, rows_that_fit(ax))).iloc[::-1]
            if shown.empty:
                nothing(ax, self.headline)
                return ax
            ends = shown[["low", "high"]].to_numpy() + shown[["share_before"]].to_numpy()
            names = [_label(topic) for _, topic in shown.iterrows()]
            before_and_now(ax, names, shown["share_before"], shown["share_after"], ends)
            ax.set_xlabel(
                f"share of the {self.looked_before:,} questions before (circle) and of the {self.looked_after:,} now "
                f"(diamond; bar: 95{NBSP}% interval of the change)"
            )
            ax.set_title("Topics that moved")
        return ax

    def plot_map(self, ax=None, method: str = "pca"):
        """Every question as a point, similar ones close together; what moved is filled and named.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        method : {"pca", "umap"}
            The plane that shows most of the spread, or UMAP where that package is installed.
        """
        names = [_label(topic, 28) for _, topic in self.topics.iterrows()]
        return draw_map(ax, self.comparison, self.members, names, method)


def explain(
    comparison: Comparison | None,
    sizes: dict[str, Any],
    judgements: Any = None,
    signals: pd.DataFrame | None = None,
) -> DriftExplanation:
    """Explain a comparison (None where too few queries were there); `DriftResult.explain` calls it."""
    import pandas as pd

    values = measured(comparison.now if comparison else None, judgements, signals)
    columns = [*COLUMNS, *columns_of(values)]
    if comparison is None:
        grew = pd.DataFrame(columns=["query", "score", "row"])
        new = pd.DataFrame(columns=["query", "score", "percentile", "row"])
        return DriftExplanation(pd.DataFrame(columns=columns), grew, new, pd.DataFrame(columns=MIX), None, **sizes)
    far, usual = distances_to_reference(comparison)
    percentile = np.searchsorted(np.sort(usual), far) / max(len(usual), 1)
    kept = comparison.pool.kept
    current = comparison.current[kept]
    growth = local_growth(comparison)
    topics = find_topics(comparison, growth, far, usual) if sizes["drift"] else []
    rows = [(topic, _row(comparison, topic, values)) for topic in topics]
    rows = [
        (topic, row) for topic, row in rows if (row["share_after"] < row["share_before"]) == (topic.kind == "shrank")
    ]
    found = [(topic, row) for topic, row in rows if row["low"] > 0 or row["high"] < 0] or rows[:1]
    before, now = (side.details.get("category") for side in (comparison.before, comparison.now))
    return DriftExplanation(
        topics=pd.DataFrame([row for _, row in found], columns=columns),
        grew=_ranking(comparison, kept[current], growth[current]),
        new=_ranking(comparison, kept[current], far, percentile=percentile),
        mix=mix_table(before, now),
        mix_p_value=mix_p(before, now, seed=comparison.pool.seed),
        **sizes,
        looked_before=int((~current).sum()),
        looked_after=int(current.sum()),
        stands_out=bool(found and found[0][0].sure > 1),
        comparison=comparison,
        members=tuple(kept[topic.before if topic.kind == "shrank" else topic.after] for topic, _ in found),
        forms=tuple((_form(comparison, topic), not topic.words) for topic, _ in found),
    )


def _ranking(comparison: Comparison, rows: np.ndarray, score: np.ndarray, **more: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    position = comparison.order[rows] - len(comparison.before)
    frame = pd.DataFrame(
        {"query": [comparison.text(row) for row in rows], "score": score, **more, "row": comparison.now.rows[position]}
    )
    return frame.sort_values(["score", "query"], ascending=[False, True], kind="stable").reset_index(drop=True)


def _row(comparison: Comparison, topic: Topic, values: dict[str, np.ndarray]) -> dict[str, Any]:
    kept = comparison.pool.kept
    current = comparison.current[kept]
    n_after, n_before = int(current.sum()), int((~current).sum())
    change = newcombe(len(topic.before), n_before, len(topic.after), n_after)
    shown = kept[topic.before if topic.kind == "shrank" else topic.after]
    row = {
        "kind": topic.kind,
        "examples": list(dict.fromkeys(comparison.text(row) for row in shown[:50]))[:5],
        "words": contrast_words(comparison, shown) if topic.words else [],
        "n_before": len(topic.before),
        "n_after": len(topic.after),
        "share_before": len(topic.before) / n_before,
        "share_after": len(topic.after) / n_after,
        "low": change.low,
        "high": change.high,
    }
    return row | compared(values, comparison.order[kept[topic.after]] - len(comparison.before))


def _form(comparison: Comparison, topic: Topic) -> Form | None:
    """What the topic's questions have in common in form, against some of the others."""
    if comparison.now.texts is None or comparison.before.texts is None:
        return None
    kept, current = comparison.pool.kept, comparison.current[comparison.pool.kept]
    own = topic.before if topic.kind == "shrank" else topic.after
    others = np.setdiff1d(np.arange(len(kept)), np.concatenate([topic.before, topic.after]))
    own, others = (rows[:: len(rows) // MOST_LOOKED_AT + 1] for rows in (own, others))
    texts = [[comparison.text(row) for row in kept[rows]] for rows in (own, others, np.flatnonzero(~current))]
    return common_form(*texts)


def _label(topic: Any, most: int = 40) -> str:
    name = ", ".join(topic["words"][:3]) or f"“{topic['examples'][0]}”"
    return f"{topic['kind']}: {one_line(name, most)}"
