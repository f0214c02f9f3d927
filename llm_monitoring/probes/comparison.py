"""Did the model change between two sets of probe runs? Paired by probe; answers that did not come are not counted."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.plotting import BLUE, VERMILION, axes, percent
from llm_monitoring.results import Result, jsonable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "probe_id",
    "n_before",
    "n_after",
    "passed_before",
    "passed_after",
    "share_before",
    "share_after",
    "change",
    "p_value",
    "q_value",
    "flip",
]


@dataclass(frozen=True, repr=False)
class ProbeComparison(Result):
    """Passes of the same probes in two sets of runs.

    Attributes
    ----------
    verdict : str
        changed, unchanged, or could_not_measure. Changed: the p-value over all probes, or the q-value of one probe,
        is at most alpha. Could not measure: fewer than half of the probes were answered on both sides, or there are
        so few answers that even the loss of all could not have shown.
    lost, won : list of str
        Ids of the probes that mostly passed before and mostly fail now, and the other way round.
    change, low, high : float or None
        Mean change of the share passed per probe, with 95 % interval (Agresti and Min).
    p_value : float or None
        Exact conditional test over all probes; McNemar's where each probe was asked once a side.
    n_probes : int
        Probes answered on both sides; the comparison rests on them.
    n_before, n_after : int
        Answers of these probes.
    unmeasured : int
        Calls of either side that brought no answer, or an answer that the check could not tell.
    unpaired : list of str
        Probes with answers on one side only.
    measures : list of dict
        What else moved, per measure: latency_ms and output_characters (mean change of the logarithm per probe, as a
        factor with interval and Wilcoxon's p), response_model and system_fingerprint (what was reported before and
        now, and whether that changed).
    """

    verdict: str
    lost: list[str]
    won: list[str]
    change: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n_probes: int
    n_before: int
    n_after: int
    unmeasured: int
    unpaired: list[str]
    alpha: float
    measures: list[dict[str, Any]]
    probes: pd.DataFrame = field(repr=False)

    @property
    def headline(self) -> str:
        if not self.n_probes:
            return f"Could not measure: no probe has an answer on both sides ({self.unmeasured:,} calls without one)."
        share = f"{100 * self.change:+.1f} points ({100 * self.low:+.1f} to {100 * self.high:+.1f})"  # type: ignore[operator]
        sizes = f"{self.n_probes:,} probes, {len(self.lost):,} lost, {len(self.won):,} won, p = {self.p_value:.2g}"
        first = {
            "changed": f"The model changed: passes moved by {share}; {sizes}.",
            "unchanged": f"No change found: passes moved by {share}; {sizes}.",
            "could_not_measure": f"Could not measure: too few answers to tell; {sizes}.",
        }[self.verdict]
        reported = [
            f" {m['measure']} {m['before']} became {m['after']}."
            for m in self.measures
            if m["changed"] and "model" in m["measure"]
        ]
        seen = ""
        if self.verdict == "unchanged" and self.detectable is not None:
            seen = f" A loss of {100 * self.detectable:.0f} % of the probes would be seen 8 times in 10."
        return first + seen + "".join(reported)

    @cached_property
    def detectable(self) -> float | None:
        """Share of the probes whose loss this suite would see in 8 of 10 runs; None where not even all would show.

        By trial, 100 times each: so many probes at random fail every time now, the rest pass and fail as they did,
        with before and now swapped at random within each probe.
        """
        return _detectable(self.probes, self.alpha)

    def to_frame(self) -> pd.DataFrame:
        """One row per probe answered on both sides: n, passes and shares before and after, p and q, flip."""
        return self.probes.copy()

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON, and `detectable`."""
        return super().to_dict() | {"detectable": jsonable(self.detectable)}

    def plot(self, ax=None, most: int = 20):
        """Share passed before (circle) and now (diamond), of the probes that moved most."""
        shown = self.probes.assign(size=self.probes["change"].abs()).nlargest(most, "size").iloc[::-1]
        with axes(ax, size=(8.4, 1.4 + 0.3 * max(len(shown), 1))) as ax:
            for y, probe in enumerate(shown.itertuples()):
                ax.plot([probe.share_before, probe.share_after], [y, y], color=VERMILION, lw=1)
                ax.plot(probe.share_before, y, "o", mfc="white", mec=BLUE)
                ax.plot(probe.share_after, y, "D", color=VERMILION)
            ax.set_yticks(range(len(shown)), [name.replace("$", r"\$")[:40] for name in shown["probe_id"]])
            percent(ax, "x")
            ax.set_xlabel("share of answers passed, before (circle) and now (diamond)")
            ax.set_title(f"{self.verdict.replace('_', ' ').capitalize()}: {self.n_probes:,} probes")
        return ax


def compare_probes(probe_results: pd.DataFrame, baseline: Any, current: Any, *, alpha: float = 0.05) -> ProbeComparison:
    """Compare two sets of probe runs, paired by probe.

    Parameters
    ----------
    probe_results : DataFrame
        The `probe_results` table: `probe_id`, `run_at`, `model_id`, `passed`; further columns are used where there.
    baseline, current : boolean mask, (start, end) of `run_at`, or model id
        Which rows are which; a range is left-closed, None leaves an end open.
    alpha : float
        Chance of the verdict `changed` where nothing did, for each of the two rules (all probes, single probes).

    Returns
    -------
    ProbeComparison

    Notes
    -----
    Over all probes: passes now, given each probe's answers and passes on both sides together, are a sum of
    hypergeometric numbers; the two-sided p adds all sums no likelier than the observed one (the exact stratified test;
    McNemar's for one answer a side). Single probes: Fisher's exact test, q-values by Benjamini and Hochberg [1]_.
    The interval of the change adds half a pseudo-pair of each kind (Agresti and Min [2]_).

    References
    ----------
    .. [1] Benjamini, Hochberg, Controlling the false discovery rate, JRSS B 57 (1995).
    .. [2] Agresti, Min, Simple improved confidence intervals for comparing matched proportions, Stat. Med. 24 (2005).

    Examples
    --------
    >>> import pandas as pd
    >>> runs = pd.DataFrame({"probe_id": [f"p{i}" for i in range(8)] * 2, "model_id": ["m1"] * 8 + ["m2"] * 8,
    ...                      "run_at": pd.Timestamp("2026-05-01", tz="UTC"), "passed": [True] * 8 + [False] * 7 + [True]})
    >>> result = compare_probes(runs, "m1", "m2")
    >>> result.verdict, len(result.lost), round(result.p_value, 4)
    ('changed', 7, 0.0156)
    """
    missing = [name for name in ("probe_id", "run_at", "model_id", "passed") if name not in probe_results.columns]
    if missing:
        raise ConfigError(
            f"compare_probes(probe_results): lacks {', '.join(missing)}; expected the probe_results table"
        )
    probe_results = probe_results.reset_index(drop=True)  # runs put one below the other repeat their labels
    before = _select(probe_results, baseline, "baseline")
    after = _select(probe_results, current, "current")
    both = int((before & after).sum())
    if both:
        raise ConfigError(f"compare_probes: {both} rows are in both baseline and current; expected two sets apart")
    chosen = probe_results.loc[before | after].assign(after=after[before | after])
    passed = chosen["passed"].astype("boolean")
    answered = chosen.loc[passed.notna()].assign(passed=passed[passed.notna()].astype(int))
    probes, unpaired = _per_probe(answered)
    diffs = probes["change"].to_numpy(float)
    change, low, high = _agresti_min(diffs)
    p = _stratified_p(probes)
    verdict = _verdict(probes, p, alpha, asked=chosen["probe_id"].nunique())
    return ProbeComparison(
        verdict=verdict,
        lost=probes.loc[probes["flip"] == "lost", "probe_id"].tolist(),
        won=probes.loc[probes["flip"] == "won", "probe_id"].tolist(),
        change=change,
        low=low,
        high=high,
        p_value=p,
        n_probes=len(probes),
        n_before=int(probes["n_before"].sum()),
        n_after=int(probes["n_after"].sum()),
        unmeasured=int(passed.isna().sum()),
        unpaired=unpaired,
        alpha=alpha,
        measures=_measures(chosen, set(probes["probe_id"])),
        probes=probes,
    )


def _select(results: pd.DataFrame, which: Any, name: str) -> np.ndarray:
    import pandas as pd

    if isinstance(which, str):
        known = results["model_id"].dropna().unique().tolist()
        if which not in known:
            close = difflib.get_close_matches(which, map(str, known), n=1, cutoff=0.3)
            nearest = f"; the nearest is {close[0]!r}" if close else ""
            listed = ", ".join(map(repr, sorted(map(str, known))[:5])) or "no model"
            raise ConfigError(f"compare_probes({name}): {quote(which)} is no model_id here ({listed}){nearest}")
        return (results["model_id"] == which).to_numpy(bool)
    if isinstance(which, tuple | slice) or (isinstance(which, list) and len(which) == 2 and len(results) != 2):
        start, end = (which.start, which.stop) if isinstance(which, slice) else which
        when = pd.to_datetime(results["run_at"], utc=True)
        chosen = when.notna()
        if start is not None:
            chosen &= when >= _utc(start, name)
        if end is not None:
            chosen &= when < _utc(end, name)
        return chosen.to_numpy(bool)
    mask = np.asarray(which)
    if mask.shape != (len(results),) or mask.dtype.kind not in "bO":
        raise ConfigError(
            f"compare_probes({name}): {quote(which)}; expected a boolean mask of {len(results)} rows, "
            "a (start, end) of run_at, or a model id"
        )
    return pd.array(mask, dtype="boolean").fillna(False).to_numpy(bool)


def _utc(when: Any, name: str):
    import pandas as pd

    try:
        moment = pd.Timestamp(when)
    except (ValueError, TypeError):
        raise ConfigError(f"compare_probes({name}): {quote(when)}; expected a time in ISO 8601") from None
    return moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")


def _per_probe(answered: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One row per probe with answers on both sides, and the ids of the others."""
    sides = [answered[~answered["after"]], answered[answered["after"]]]
    before, after = (
        side.groupby("probe_id", as_index=False).agg(n=("passed", "size"), passed=("passed", "sum")) for side in sides
    )
    frame = before.merge(after, on="probe_id", suffixes=("_before", "_after")).sort_values(
        "probe_id", ignore_index=True
    )
    frame["probe_id"] = frame["probe_id"].astype(str)
    frame["share_before"] = frame["passed_before"] / frame["n_before"]
    frame["share_after"] = frame["passed_after"] / frame["n_after"]
    frame["change"] = frame["share_after"] - frame["share_before"]
    frame["p_value"] = [_fisher(*row) for row in frame[COLUMNS[1:5]].itertuples(index=False)]
    frame["q_value"] = stats.false_discovery_control(frame["p_value"]) if len(frame) else frame["p_value"]
    was, is_now = frame["share_before"] >= 0.5, frame["share_after"] >= 0.5
    frame["flip"] = np.select([was & ~is_now, ~was & is_now], ["lost", "won"], "")
    unpaired = set(answered["probe_id"].astype(str)) - set(frame["probe_id"])
    return frame[COLUMNS], sorted(unpaired)


def _fisher(n_before: int, n_after: int, passed_before: int, passed_after: int) -> float:
    if passed_before + passed_after in (0, n_before + n_after) or n_before == n_after == 1:
        return 1.0
    table = [[passed_before, n_before - passed_before], [passed_after, n_after - passed_after]]
    return float(stats.fisher_exact(table)[1])


def _agresti_min(change: np.ndarray) -> tuple[float | None, float | None, float | None]:
    if len(change) == 0:
        return None, None, None
    n, total = len(change) + 2, change.sum()
    half = stats.norm.ppf(0.975) * np.sqrt(max((change**2).sum() + 1 - total**2 / n, 0)) / n
    return float(change.mean()), float(max(total / n - half, -1)), float(min(total / n + half, 1))


def _stratified_p(probes: pd.DataFrame) -> float | None:
    """Two-sided p of the passes now, given every probe's margins."""
    if not len(probes):
        return None
    n0, n1, k0, k1 = (probes[name].to_numpy() for name in COLUMNS[1:5])
    undecided = (k0 + k1 > 0) & (k0 + k1 < n0 + n1)
    return _sum_p(n0[undecided], n1[undecided], (k0 + k1)[undecided], int(k1[undecided].sum()))


def _sum_p(n0: np.ndarray, n1: np.ndarray, passes: np.ndarray, observed: int) -> float:
    """Two-sided p of a sum of hypergeometric numbers: all sums no likelier than the observed one."""
    single = (n0 == 1) & (n1 == 1)
    chance = stats.binom.pmf(np.arange(single.sum() + 1), single.sum(), 0.5)
    kinds, times = np.unique(np.stack([n0, n1, passes])[:, ~single], axis=1, return_counts=True)
    for (a, b, k), count in zip(kinds.T, times, strict=True):
        one = stats.hypergeom.pmf(np.arange(min(b, k) + 1), a + b, k, b)
        for _ in range(count):
            chance = np.convolve(chance, one)
    tail = chance[chance <= chance[observed] * (1 + 1e-9)].sum()
    return float(min(1.0, max(tail, 1e-300)))  # a chance too small for a float is still none of 0


def _verdict(probes: pd.DataFrame, p: float | None, alpha: float, asked: int) -> str:
    if p is None or len(probes) < asked / 2:
        return "could_not_measure"
    if p <= alpha or (probes["q_value"] <= alpha).any():
        return "changed"
    n0, n1 = probes["n_before"].to_numpy(), probes["n_after"].to_numpy()
    all_lost = _sum_p(n0, n1, n0, 0)  # every probe passed always, and now never
    return "unchanged" if all_lost <= alpha else "could_not_measure"


def _detectable(probes: pd.DataFrame, alpha: float) -> float | None:
    rng = np.random.default_rng(0)
    n0, n1, k0, k1 = (probes[name].to_numpy() for name in COLUMNS[1:5])
    for share in (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0):
        lost = int(np.ceil(share * len(probes)))
        seen = 0
        for _ in range(100):
            after = rng.hypergeometric(k0 + k1, n0 + n1 - k0 - k1, n1)
            before = k0 + k1 - after
            gone = rng.permutation(len(probes))[:lost]
            before[gone], after[gone] = n0[gone], 0
            passes = before + after
            undecided = (passes > 0) & (passes < n0 + n1)
            seen += _sum_p(n0[undecided], n1[undecided], passes[undecided], int(after[undecided].sum())) <= alpha
        if seen >= 80:
            return share
    return None


def _measures(chosen: pd.DataFrame, paired: set[str]) -> list[dict[str, Any]]:
    measures = []
    sizes = {"latency_ms": chosen.get("latency_ms")}
    if "output" in chosen:
        sizes["output_characters"] = chosen["output"].astype("string").str.len()
    inside = chosen["probe_id"].astype(str).isin(paired)
    for name, values in sizes.items():
        if values is not None:
            measures.append(_factor(name, chosen[inside], values[inside].astype("Float64")))
    for name in ("response_model", "system_fingerprint"):
        if name in chosen:
            before, after = (
                sorted(set(chosen.loc[side, name].dropna())) for side in (~chosen["after"], chosen["after"])
            )
            changed = None if not before or not after else not set(before) & set(after)
            row = {"measure": name, "before": ", ".join(before) or None, "after": ", ".join(after) or None}
            measures.append(
                row | {"factor": None, "low": None, "high": None, "p_value": None, "n": None, "changed": changed}
            )
    return measures


def _factor(name: str, chosen: pd.DataFrame, values: pd.Series) -> dict[str, Any]:
    """Mean change of the logarithm per probe, as a factor; unknown where fewer than six probes tell."""
    logs = values[values > 0].astype(float).map(np.log)
    keys = chosen.loc[logs.index, ["probe_id", "after"]]
    mean = keys.assign(log=logs).pivot_table(index="probe_id", columns="after", values="log")
    change = (mean[True] - mean[False]).dropna().to_numpy() if {True, False} <= set(mean.columns) else np.array([])
    row: dict[str, Any] = {"measure": name, "n": len(change), "changed": None}
    sides = [float(values[chosen["after"] == side].astype(float).median()) for side in (False, True)]
    row |= {"before": jsonable(sides[0]), "after": jsonable(sides[1])}
    if len(change) < 6:
        return row | dict.fromkeys(("factor", "low", "high", "p_value"))
    half = stats.t.ppf(0.975, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change))
    ends = np.exp([change.mean(), change.mean() - half, change.mean() + half])
    p = float(stats.wilcoxon(change).pvalue) if np.any(change) else 1.0
    return row | {"factor": float(ends[0]), "low": float(ends[1]), "high": float(ends[2]), "p_value": p}
