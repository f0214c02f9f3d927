"""Whom does it hit? The slice whose answers changed, the slices around it, and the part that is only other questions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.alerts.checking import find_alert
from llm_monitoring.incident.courses import LEVELS
from llm_monitoring.incident.inference.causes import whole
from llm_monitoring.incident.inference.comparison import compare, corrected_for_choice
from llm_monitoring.incident.inference.inquiry import Inquiry, inquire
from llm_monitoring.incident.inference.roles import Rerouted
from llm_monitoring.incident.inference.slices import ALL, Band, Slice
from llm_monitoring.incident.kinds import of_improvement, road_of
from llm_monitoring.incident.recovery import while_harmed
from llm_monitoring.results import Result, jsonable

if TYPE_CHECKING:
    from llm_monitoring.log import Log

MOST_LEAVES = 12
SLICE_FIELDS = (
    "label", "verdict", *LEVELS, "change", "low", "high", "n_before", "n_after",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class ScopeResult(Result):
    """The slice that was hit.

    Attributes
    ----------
    kind : str
        all (every answer), slice, mix (no answer got worse, other questions came) or none (no slice can be named).
    slices : list of dict
        `where`, label, verdict, levels before and since with intervals, change, low, high, n_before, n_after,
        share_of_change, probability. The first is the answer, the rest are runners-up and other slices that got worse.
    leaves : list of dict
        The same for the plain parts of the traffic (feature x category or model), for the figure.
    looked_at, not_looked_at : list of str, dict
        The columns that were searched for slices, and those that were not, with the reason.
    branch : str or None
        In a sentence: more traffic down a branch of the service that answers worse, or a column that nobody sorted.
    summary : str
        The headline of an alert that is no change of single answers.
    mix_effect, within_effect : float
        The two parts of the change of the feature that alerted (Kitagawa), in the metric's unit.
    """

    kind: str
    metric: str
    unit: str
    since: str
    until: str
    slices: list[dict[str, Any]]
    leaves: list[dict[str, Any]]
    mix_effect: float | None
    within_effect: float | None
    reasons: list[str]
    next: str
    branch: str | None = None
    looked_at: list[str] = field(default_factory=list)
    not_looked_at: dict[str, str] = field(default_factory=dict)
    summary: str = ""

    @property
    def headline(self) -> str:
        """The slice, its change and n in one sentence."""
        if self.summary:
            return self.summary
        if not self.slices:
            return self.reasons[0]
        if self.branch is not None:
            return self.branch
        s = self.slices[0]
        told = (
            f"{s['label']}: {say.amount(s['before'], self.unit, like=s['after'])} of {s['n_before']:,} before, "
            f"{say.amount(s['after'], self.unit)} of {s['n_after']:,} since; {say.difference(s['change'], self.unit)} "
            f"{say.span(s['low'], s['high'], self.unit, sign=True, like=s['change'])}, probability {say.probability(s['probability'])}"
        )
        return {
            "mix": f"other questions, no slice got worse; {told}",
            "none": f"no slice can be named; nearest {told}",
        }.get(self.kind, told)

    def to_frame(self) -> pd.DataFrame:
        """All slices, the answer first, then the plain parts of the traffic."""
        columns = [
            "label",
            "verdict",
            "before",
            "after",
            "change",
            "low",
            "high",
            "n_before",
            "n_after",
            "share_of_change",
        ]
        known = {s["label"] for s in self.slices}
        return pd.DataFrame([*self.slices, *(s for s in self.leaves if s["label"] not in known)], columns=columns)

    def plot(self, ax=None, narrow: bool = False):
        """Before and since of each part of the traffic, the answer on top."""
        from llm_monitoring.incident import drawing

        known = [s["label"] for s in self.slices[:1]]
        shown = [*self.slices[:1], *(s for s in self.leaves if s["label"] not in known)][:MOST_LEAVES]
        if any("others" in row for row in shown):
            frame = pd.DataFrame([beside_others(row) for row in shown], columns=[*SLICE_FIELDS])
            return drawing.slices(frame, ax, self.unit, narrow=narrow, names=("the others", "here"))
        return drawing.slices(pd.DataFrame(shown, columns=[*SLICE_FIELDS]), ax, self.unit, narrow=narrow)


def beside_others(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a standing alert as the figure takes it: the other answers of the same time in the place of before."""
    names = {"before": "others", "before_low": "others_low", "before_high": "others_high"}
    told = {side: row.get(other) for side, other in names.items()} | {"n_before": row.get("n_others") or 0}
    return {**row, **told, "verdict": row["verdict"].replace("no change seen", "no difference seen")}


def scope(log: Log, alert, *, plan: Any = None) -> ScopeResult:
    """Name the slice whose answers changed.

    Parameters
    ----------
    log : Log
        Everything in it is used; cut it with ``log.until(when)`` for an earlier moment.
    alert : row of `check`, dict or Alert
    plan : Plan, dict or path, optional
        `[slices]` says which columns are of the question and which of the service; see `incident.inference.roles`.

    Returns
    -------
    ScopeResult
        `slices[0]` is the slice with the largest expected overlap (Jaccard) with the one that was hit, over all causes
        and times. Candidates are all answers, each value of a dimension and each pair of values; a model is followed
        over its versions. Each kind of slice has the same prior, and each slice within a kind: that is what many slices
        cost.

    Notes
    -----
    Readings of the other slices are held to 0.05 over all slices shown; below 20 answers they are ``too few to tell``. The
    change of a slice that was chosen among others is corrected for having been chosen (drawn towards its siblings, with the
    interval of that); levels before and since are as they are. After a fix that is seen in the answers nothing is counted.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> log = lm.open_log("sample_data")        # doctest: +SKIP
    >>> alert = lm.check(log).iloc[0]           # doctest: +SKIP
    >>> lm.incident.scope(log, alert).slices[0]["where"]  # doctest: +SKIP
    {'feature_id': 'support', 'category': 'returns'}
    """
    alert = find_alert(log, alert, plan)
    road = road_of(log, alert, plan)
    if road is not None:
        about = {"metric": alert.metric, "unit": alert.unit, "mix_effect": None, "within_effect": None}
        return ScopeResult(**jsonable({**about, **road.scope()}))
    inquiry = inquire(log, alert, plan=plan)
    assert inquiry is not None
    better = alert.kind == "better"
    inquiry = of_improvement(inquiry) if better else replace(inquiry, seen=while_harmed(log, inquiry))
    leaves = _leaves(inquiry)
    rows = [_row(inquiry, found, len(leaves), among=True) for found in _shown(inquiry)]
    if inquiry.branch is not None and _kind(inquiry) != "none":
        rows.insert(0, _of_branch(inquiry, inquiry.branch, len(leaves)))
    way = "better" if alert.kind == "better" else "worse"
    also = [leaf for leaf in leaves if leaf["verdict"] == way and leaf["label"] not in {r["label"] for r in rows}]
    kind = _kind(inquiry)
    if alert.kind == "better" and rows[0]["verdict"] == "better":
        kind = "all" if inquiry.slice == ALL else "slice"
    return ScopeResult(
        **jsonable(
            {
                "kind": kind,
                "metric": alert.metric,
                "unit": alert.unit,
                "since": inquiry.since,
                "until": log.span("requests")[1],
                "slices": [*rows, *also],
                "leaves": leaves,
                "mix_effect": inquiry.mix.mix_effect,
                "within_effect": inquiry.mix.within_effect,
                "reasons": _reasons(inquiry, kind, rows, also),
                "next": "Nothing to do." if alert.kind == "better" else _next(kind),
                "looked_at": inquiry.finer.looked_at,
                "not_looked_at": inquiry.finer.not_looked_at,
                "branch": None if inquiry.branch is None else inquiry.branch.sentence,
            }
        )
    )


def _kind(inquiry: Inquiry) -> str:
    if inquiry.chance_of("mix") > 0.5:
        return "mix"
    if inquiry.chance_of("none", "judge", "mix") > 0.5:
        return "none"
    return "all" if inquiry.slice == ALL else "slice"


def _shown(inquiry: Inquiry, most: int = 4, least: float = 0.02) -> list[Slice]:
    """The answer, then the runners-up that keep some probability."""
    order = sorted(range(len(inquiry.shifts.slices)), key=lambda i: -inquiry.slice_probability[i])
    runners = [inquiry.shifts.slices[i] for i in order[:most] if inquiry.slice_probability[i] >= least]
    return [inquiry.slice, *(s for s in runners if s != inquiry.slice)]


def _row(inquiry: Inquiry, found: Slice, looks: int, among: bool = False) -> dict[str, Any]:
    """One slice before and since; its change is corrected where it was chosen `among` others."""
    i = inquiry.shifts.slices.index(found) if found in inquiry.shifts.slices else None
    row = compare(inquiry.seen, found, inquiry.since, max(looks, 1), inquiry.until)
    total = compare(inquiry.seen, whole(inquiry.seen), inquiry.since, until=inquiry.until)
    excess = total["change"] * total["n_after"]
    share = row["change"] * _rows_of_feature(inquiry, found) / excess if excess else None
    probability = None if i is None else float(inquiry.slice_probability[i])
    if found == inquiry.finer.slice:
        probability = 1 - inquiry.chance_of("none", "mix", "judge")
    narrow = among and found not in (ALL, whole(inquiry.seen))
    chosen = corrected_for_choice(inquiry.seen, found, inquiry.since, inquiry.until) if narrow else None
    return {**row, **(chosen or {}), "share_of_change": share, "probability": probability}


def _of_branch(inquiry: Inquiry, branch: Rerouted, looks: int) -> dict[str, Any]:
    """The answers that took the branch: their level need not have moved, their number did."""
    assert inquiry.branch is not None
    group = whole(inquiry.seen) if inquiry.slice == ALL else inquiry.slice
    row = _row(inquiry, branch.within(group), looks)
    total = compare(inquiry.seen, whole(inquiry.seen), inquiry.since, until=inquiry.until)["change"]
    share = branch.mix_effect / total if total else None
    return {**row, "share_of_change": share, "probability": 1 - inquiry.chance_of("none", "mix", "judge")}


def _rows_of_feature(inquiry: Inquiry, found: Slice) -> int:
    """Answers since, in the slice and in the feature that alerted: what the slice adds to the feature's change."""
    frame = inquiry.seen.frame
    late = (frame["timestamp"] >= inquiry.since).to_numpy()
    if inquiry.until is not None:
        late = late & (frame["timestamp"] < inquiry.until).to_numpy()
    return int((inquiry.seen.mask(found) & inquiry.seen.mask(whole(inquiry.seen)) & late).sum())


def _leaves(inquiry: Inquiry) -> list[dict[str, Any]]:
    """Plain parts of the traffic: the columns of the answer where it has two, else feature with the next column."""
    seen = inquiry.seen
    columns = [c for c, value in inquiry.slice.where if not isinstance(value, Band)] or list(seen.columns[:1])
    if len(columns) == 1 and len(seen.columns) > 1:
        order = [*seen.columns, *columns]
        columns = sorted({columns[0], seen.columns[0], *seen.columns[1:2]}, key=order.index)[:2]
    if not columns:
        return []
    sizes = seen.frame.groupby(columns, observed=True).size().sort_values(ascending=False, kind="stable")
    parts = [Slice(tuple(zip(columns, values if isinstance(values, tuple) else (values,)))) for values in sizes.index]
    inside = [p for p in parts if (seen.mask(p) & seen.mask(whole(seen))).any()]
    parts = (inside + [p for p in parts if p not in inside])[:MOST_LEAVES]
    rows = [{**_row(inquiry, part, len(parts)), "probability": None} for part in parts]
    rank = {"worse": 0, "better": 1, "no change seen": 2, "too few to tell": 3}
    return sorted(rows, key=lambda row: (rank[row["verdict"]], -row["n_after"], row["label"]))


def _reasons(inquiry: Inquiry, kind: str, rows: list[dict], also: list[dict]) -> list[str]:
    unit, first = inquiry.seen.alert.unit, rows[0]
    told = [] if inquiry.branch is None else [inquiry.branch.sentence]
    told += [
        f"{len(inquiry.shifts.slices):,} slices over {', '.join(inquiry.seen.columns) or 'no dimension'} were compared; "
        f"{first['label']} has probability {say.probability(first['probability'])}."
    ]
    if kind == "mix":
        told.insert(0, "No slice got worse; the share of questions that were always harder grew.")
    if kind == "none":
        told.insert(0, "No slice can be named: chance or the judge explains the alert at least as well.")
    if first["share_of_change"] is not None:
        told.append(
            f"It carries {say.amount(first['share_of_change'], 'share')} of the change in {inquiry.seen.alert.of}."
        )
    mix = inquiry.mix
    told.append(
        f"Mix: {say.difference(mix.mix_effect, unit)}; within slices: {say.difference(mix.within_effect, unit)}."
    )
    told += [
        f"Also {row['verdict']}: {row['label']}, {say.amount(row['before'], unit, like=row['after'])} of {row['n_before']:,} to "
        f"{say.amount(row['after'], unit)} of {row['n_after']:,}."
        for row in also
    ]
    return told


def _next(kind: str) -> str:
    if kind in ("all", "slice"):
        return "Go on to isolate: which change did it?"
    if kind == "mix":
        return "Look at the questions that grew; none of your changes needs to be rolled back."
    return "Judge more answers in the slices listed, then run this stage again."
