"""Did the model change between two sets of probe runs? Paired by probe; answers that did not come are not counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from llm_monitoring import times
from llm_monitoring.distributions import hypergeometric
from llm_monitoring.errors import ConfigError, nearest, quote
from llm_monitoring.plotting import axes, before_and_now, nothing, rows_that_fit
from llm_monitoring.probes.distance import Distance, compare_shares
from llm_monitoring.probes.passes import (
    change_interval,
    detectable_loss,
    false_discovery,
    per_probe,
    stratified_p,
    sum_p,
)
from llm_monitoring.probes.reported import measures_of
from llm_monitoring.probes.shares import FEWEST_BATCHES, Shares, batch_of, pass_shares, token_shares
from llm_monitoring.results import Result, jsonable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class ProbeComparison(Result):
    """Answers to the same probes in two sets of runs.

    Attributes
    ----------
    verdict : str
        changed, unchanged, or could_not_measure. Changed: more than the tolerance, and the p-value over all probes, or
        the q-value of one, is small enough for an error rate of alpha over both rules. Could not measure: fewer than half
        of the probes were answered on both sides, or there are so few answers that even the loss of all could not have
        shown.
    lost, won : list of str
        Ids of the probes that mostly passed before and mostly fail now, and the other way round. Of a border probe
        `passed` is the token that was commonest before.
    change, low, high : float or None
        Mean change of the share passed per probe, with 95 % interval. Where all probes are border probes: their distance,
        the total variation between the shares of tokens, averaged over the probes, with an interval of level 1 - alpha.
    p_value : float or None
        Of no change, over all probes, from the same sampling model as the interval.
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
    tolerance : float
        Change up to which the verdict stays unchanged.
    sampling : str
        `batches`: interval and p-value rest on the spread between quiet batches. `calls`: they take calls as independent.
    batches_before, batches_after : int or None
        Batches compared; None where calls were compared without asking for batches.
    distance, distance_low, distance_high, distance_p : float or None
        Of the border probes; None where there are none.
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
    tolerance: float = 0.0
    sampling: str = "calls"
    batches_before: int | None = None
    batches_after: int | None = None
    distance: float | None = None
    distance_low: float | None = None
    distance_high: float | None = None
    distance_p: float | None = None

    @property
    def headline(self) -> str:
        if not self.n_probes:
            return f"Could not measure: no probe has an answer on both sides ({self.unmeasured:,} calls without one)."
        sizes = f"{self.n_probes:,} probes, {len(self.lost):,} lost, {len(self.won):,} won, p = {self.p_value:.2g}"
        within = f", below tolerance ({100 * self.tolerance:g} points)" if self._below else ""
        first = {
            "changed": f"The model changed: {self._moved}; {sizes}.",
            "unchanged": f"No change found: {self._moved}{within}; {sizes}.",
            "could_not_measure": f"Could not measure: too few answers to tell; {sizes}.",
        }[self.verdict]
        reported = [
            f" {m['measure']} {m['before']} became {m['after']}."
            for m in self.measures
            if m["changed"] and "model" in m["measure"]
        ]
        return first + self._seen + self._calls_only + "".join(reported)

    @property
    def _moved(self) -> str:
        border = self.distance is not None and self.change == self.distance
        told = [] if border else [f"passes moved by {_points(self.change, self.low, self.high)}"]
        if self.distance is not None:
            found = _points(self.distance, self.distance_low, self.distance_high).replace("+", "")
            told.append(f"answers to border probes moved by {found}")
        return ", ".join(told)

    @property
    def _below(self) -> bool:
        sizes = [abs(size) for size in (self.change, self.distance) if size is not None]
        return self.verdict == "unchanged" and self.tolerance > 0 and max(sizes) <= self.tolerance

    @property
    def _seen(self) -> str:
        if self.verdict != "unchanged" or self.distance is not None or self.detectable is None:
            return ""
        return f" A loss of {100 * self.detectable:.0f} % of the probes would be seen 8 times in 10."

    @property
    def _calls_only(self) -> str:
        if self.sampling == "batches" or self.batches_before is None:
            return ""
        return f" Only calls were compared, as if independent: {self.batches_before} quiet batches, {FEWEST_BATCHES} are needed."

    @cached_property
    def detectable(self) -> float | None:
        """Share of the probes whose loss this suite would see in 8 of 10 runs; None where not even all would show.

        By trial, 100 times each: so many probes at random fail every time now, the rest pass and fail as they did,
        with before and now swapped at random within each probe.
        """
        return detectable_loss(self.probes, self.alpha)

    def to_frame(self) -> pd.DataFrame:
        """One row per probe answered on both sides: n, passes and shares before and after, p and q, flip, kind.

        Of border probes the passes are those of the commonest token before, and `distance` is the total variation.
        """
        return self.probes.copy()

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON, and `detectable`."""
        return super().to_dict() | {"detectable": jsonable(self.detectable)}

    def plot(self, ax=None, most: int = 20):
        """Share passed before (circle) and now (diamond), of the probes that moved most."""
        with axes(ax, size=(8.4, 1.4 + 0.3 * max(min(most, len(self.probes)), 1))) as ax:
            moved = self.probes.assign(size=self.probes["change"].abs())
            shown = moved.nlargest(min(most, rows_that_fit(ax)), "size").iloc[::-1]
            if shown.empty:
                nothing(ax, self.headline)
                return ax
            before_and_now(ax, list(shown["probe_id"]), shown["share_before"], shown["share_after"])
            ax.set_xlabel("share of answers passed, before (circle) and now (diamond)")
            which = "" if len(shown) == len(moved) else f", the {len(shown)} that moved most"
            ax.set_title(f"{self.verdict.replace('_', ' ').capitalize()}: {self.n_probes:,} probes{which}")
        return ax


def compare_probes(
    probe_results: pd.DataFrame,
    baseline: Any,
    current: Any,
    *,
    alpha: float = 0.05,
    batch: str | None = None,
    tolerance: float = 0.0,
) -> ProbeComparison:
    """Compare two sets of probe runs, paired by probe.

    Parameters
    ----------
    probe_results : DataFrame
        The `probe_results` table: `probe_id`, `run_at`, `model_id`, `passed`; further columns are used where there.
    baseline, current : boolean mask, (start, end) of `run_at`, or model id
        Which rows are which; a range is left-closed, None leaves an end open.
    alpha : float
        Chance of the verdict `changed` where nothing did.
    batch : str, optional
        A column, or a span of `run_at` such as `"1d"`: calls of one batch are not independent of each other, and the
        spread between the batches of the baseline says how much they vary. Default `"1d"` for border probes, none for
        others. Below five batches in the baseline only calls are compared, and the headline says so.
    tolerance : float
        Change, as a share, up to which the verdict stays `unchanged`.

    Returns
    -------
    ProbeComparison

    Raises
    ------
    ConfigError
        Columns that are missing, rows on both sides, parameters out of range.

    Notes
    -----
    Over all probes: passes now, given each probe's answers and passes on both sides together, are a sum of
    hypergeometric numbers; the two-sided p adds all sums no likelier than the observed one (the exact stratified test;
    McNemar's for one answer a side). Single probes: Fisher's exact test, q-values by Benjamini and Hochberg [1]_; where
    both can show something each has half of alpha. The interval of the change adds half a pseudo-pair of each kind (Agresti
    and Min [2]_). With batches, and for border probes: `llm_monitoring.probes.distance`. Where both kinds of probes are
    there each has half of alpha.

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
    import pandas as pd

    chosen = _chosen(probe_results, baseline, current, alpha, tolerance)
    border = chosen["kind"].eq("border") if "kind" in chosen else pd.Series(False, index=chosen.index)
    passed = chosen["passed"].astype("boolean")
    told = chosen["output"].notna() if "output" in chosen else pd.Series(False, index=chosen.index)
    answered = passed.notna() & ~border | told & border
    share = alpha / 2 if border.any() and not border.all() else alpha
    parts = []
    if not border.all() or not len(chosen):
        rows = chosen[answered & ~border].assign(passed=passed[answered & ~border].astype(int))
        parts.append(_passes(rows, chosen.loc[~border, "probe_id"].nunique(), share, batch, tolerance))
    if border.any():
        asked = chosen.loc[border, "probe_id"].nunique()
        parts.append(_border(chosen[answered & border], asked, share, batch or "1d", tolerance))
    return _together(parts, chosen, int((~answered).sum()), alpha, tolerance)


class _Part(NamedTuple):
    """What one kind of probes says."""

    kind: str
    verdict: str
    probes: pd.DataFrame
    unpaired: list[str]
    change: float | None
    low: float | None
    high: float | None
    p_value: float | None
    sampling: str
    batches: tuple[int, int] | None


def _chosen(results: pd.DataFrame, baseline: Any, current: Any, alpha: float, tolerance: float) -> pd.DataFrame:
    missing = [name for name in ("probe_id", "run_at", "model_id", "passed") if name not in results.columns]
    if missing:
        raise ConfigError(
            f"compare_probes(probe_results): lacks {', '.join(missing)}; expected the probe_results table"
        )
    for name, value, least in (("alpha", alpha, 0), ("tolerance", tolerance, -1)):
        if not least < value < 1 or value < 0:
            raise ConfigError(f"compare_probes({name}={quote(value)}); expected a number from 0 to below 1")
    results = results.reset_index(drop=True)  # runs put one below the other repeat their labels
    before, after = _select(results, baseline, "baseline"), _select(results, current, "current")
    both = int((before & after).sum())
    if both:
        raise ConfigError(f"compare_probes: {both} rows are in both baseline and current; expected two separate sets")
    return results.loc[before | after].assign(after=after[before | after])


def _passes(answered: pd.DataFrame, asked: int, alpha: float, batch: str | None, tolerance: float) -> _Part:
    """Property probes: exact tests of the passes, or a test by batches where the baseline has enough of them."""
    probes, unpaired = per_probe(answered)
    change, low, high = change_interval(probes)
    p, sampling, batches = stratified_p(probes), "calls", None
    split = alpha / 2 if len(probes) > 1 and _single_probes_can_show(probes, alpha) else alpha
    if batch is not None and len(probes):
        found, batches = _by_batches(answered, probes, batch, alpha, tolerance, pass_shares)
        if found.sampling == "batches":
            change, low, high, p, sampling = found.estimate, found.low, found.high, found.p_value, "batches"
            probes["p_value"], split = found.p_of_probe, alpha / 2
            probes["q_value"] = false_discovery(found.p_of_probe)
    probes = probes.assign(distance=probes["change"].abs(), kind="property")
    moved = p is not None and p <= split and abs(change or 0.0) > tolerance
    single = ((probes["q_value"] <= split) & (probes["change"].abs() > tolerance)).any()
    enough = len(probes) >= max(asked / 2, 1)
    if not enough or not (moved or single or sampling == "batches" or _can_show(probes, alpha)):
        verdict = "could_not_measure"
    else:
        verdict = "changed" if moved or single else "unchanged"
    return _Part("property", verdict, probes, unpaired, change, low, high, p, sampling, batches)


def _can_show(probes: pd.DataFrame, alpha: float) -> bool:
    """Whether the loss of all probes, had they always passed, would have shown."""
    n0, n1 = probes["n_before"].to_numpy(), probes["n_after"].to_numpy()
    return sum_p(n0, n1, n0, 0) <= alpha


def _single_probes_can_show(probes: pd.DataFrame, alpha: float) -> bool:
    n = probes["n_before"] + probes["n_after"]
    least = [
        hypergeometric(0, after, before, total)
        for total, before, after in zip(n, probes["n_before"], probes["n_after"])
    ]
    return bool(min(least) <= alpha)


def _border(answered: pd.DataFrame, asked: int, alpha: float, batch: str, tolerance: float) -> _Part:
    """Border probes: the distance between the shares of tokens."""
    answered = answered.assign(token=answered["output"].astype(str).str.strip())
    usual = answered[~answered["after"]].groupby("probe_id")["token"].agg(lambda tokens: tokens.mode().iloc[0])
    passed = answered["token"] == answered["probe_id"].map(usual)
    probes, unpaired = per_probe(answered.assign(passed=passed.astype(int)))
    probes = probes.assign(distance=np.nan, kind="border")
    if not len(probes):
        return _Part("border", "could_not_measure", probes, unpaired, None, None, None, None, "calls", None)
    found, batches = _by_batches(answered, probes, batch, alpha, tolerance, token_shares)
    probes["p_value"], probes["distance"] = found.p_of_probe, found.of_probe
    probes["q_value"] = false_discovery(found.p_of_probe)
    if len(probes) < asked / 2 or found.p_if_all > alpha:
        verdict = "could_not_measure"
    else:
        verdict = "changed" if found.p_value <= alpha and found.estimate > tolerance else "unchanged"
    return _Part(
        "border",
        verdict,
        probes,
        unpaired,
        found.estimate,
        found.low,
        found.high,
        found.p_value,
        found.sampling,
        batches,
    )


def _by_batches(
    answered: pd.DataFrame, probes: pd.DataFrame, batch: str, alpha: float, tolerance: float, shares_of: Any
) -> tuple[Distance, tuple[int, int]]:
    """The distance between the batches of both sides; a batch that lies on both sides counts as two."""
    import pandas as pd

    paired = answered[answered["probe_id"].astype(str).isin(probes["probe_id"])]
    codes = pd.factorize(batch_of(paired, batch), sort=True)[0]
    shares: Shares = shares_of(paired, pd.Series(2 * codes + paired["after"].to_numpy(int), index=paired.index))
    side = np.array(shares.batches) % 2
    before, after = np.flatnonzero(side == 0), np.flatnonzero(side == 1)
    found = compare_shares(shares, before, after, alpha=alpha, tokens=shares_of is token_shares)
    return found, (len(before), len(after))


def _together(
    parts: list[_Part], chosen: pd.DataFrame, unmeasured: int, alpha: float, tolerance: float
) -> ProbeComparison:
    import pandas as pd

    probes = pd.concat([part.probes for part in parts], ignore_index=True)
    verdicts = {part.verdict for part in parts}
    first, border = parts[0], next((part for part in parts if part.kind == "border"), None)
    if first.change is None and border is not None:
        first = border
    known = [part.p_value for part in parts if part.p_value is not None]
    batches = next((part.batches for part in parts[::-1] if part.batches), None) or (None, None)
    return ProbeComparison(
        verdict=next((each for each in ("changed", "unchanged") if each in verdicts), "could_not_measure"),
        lost=probes.loc[probes["flip"] == "lost", "probe_id"].tolist(),
        won=probes.loc[probes["flip"] == "won", "probe_id"].tolist(),
        change=first.change,
        low=first.low,
        high=first.high,
        p_value=min(1.0, len(known) * min(known)) if known else None,
        n_probes=len(probes),
        n_before=int(probes["n_before"].sum()),
        n_after=int(probes["n_after"].sum()),
        unmeasured=unmeasured,
        unpaired=sorted(name for part in parts for name in part.unpaired),
        alpha=alpha,
        measures=measures_of(chosen, set(probes["probe_id"])),
        probes=probes,
        tolerance=tolerance,
        sampling=parts[-1].sampling,
        batches_before=batches[0],
        batches_after=batches[1],
        distance=border.change if border else None,
        distance_low=border.low if border else None,
        distance_high=border.high if border else None,
        distance_p=border.p_value if border else None,
    )


def _points(change: float | None, low: float | None, high: float | None) -> str:
    return f"{100 * change:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"  # type: ignore[operator]


def _select(results: pd.DataFrame, which: Any, name: str) -> np.ndarray:
    import pandas as pd

    if isinstance(which, str):
        known = results["model_id"].dropna().unique().tolist()
        if which not in known:
            listed = ", ".join(map(repr, sorted(map(str, known))[:5])) or "no model"
            raise ConfigError(
                f"compare_probes({name}): {quote(which)} is not a model_id here ({listed}){nearest(which, known, 0.3)}"
            )
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
    return times.moment(when, f"compare_probes: {name}", tz="UTC")
