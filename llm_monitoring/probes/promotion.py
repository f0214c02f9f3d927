"""The eval suite on two models: is the new one good enough to take the place of the old one? Paired, and may stop early."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.plotting import BLUE, GREEN, VERMILION, axes, percent
from llm_monitoring.probes.calling import Call, Reply, ask_all, check_client, in_own_loop
from llm_monitoring.probes.cases import read_cases
from llm_monitoring.probes.checks import check_of, run_check
from llm_monitoring.probes.sequential import limits, paired_score, score_interval
from llm_monitoring.results import Result

if TYPE_CHECKING:
    import pandas as pd

LOOKS, FIRST, STEP = 20, 20, 10  # at most so many looks, the first after so many cases, then every so many
CORRECTION = 0.5
HOPE = 0.15  # a run goes on while the cases left bring a verdict at least so probably
POWER, INFLATION = 0.8, 1.15  # what early looks cost a sequential test in cases
COLUMNS = ["case_id", "input", "output_old", "output_new", "passed_old", "passed_new", "detail"]


@dataclass(frozen=True, repr=False)
class VersionComparison(Result):
    """An eval suite on two models.

    Attributes
    ----------
    verdict : str
        promote: the new model is worse by less than the margin. hold: it is worse. not enough cases: neither is shown.
    change, low, high : float or None
        Share of cases passed by the new model minus that of the old one, with the interval that the verdict rests on:
        promote where `low` is above -margin, else hold where `high` is below 0. It holds whenever the run stopped, each
        end with error rate `alpha`.
    n : int
        Cases answered and judged on both sides; the verdict rests on them.
    needed_n : int or None
        Cases with which the verdict would be reached in 8 of 10 runs, were the true change the one found; `n` where it is
        reached; None where nothing could be measured.
    lost, won : list of str
        Ids of cases that only the old model passed, and only the new one.
    passed_old, passed_new : float or None
        Shares passed.
    total : int
        Cases of the suite, repeated questions counted once.
    unmeasured : int
        Cases asked that brought no answer or no judgement on one side or both.
    margin, alpha : float
    reason : str or None
        The commonest reason why a case could not be measured.
    """

    verdict: str
    change: float | None
    low: float | None
    high: float | None
    n: int
    needed_n: int | None
    lost: list[str]
    won: list[str]
    passed_old: float | None
    passed_new: float | None
    total: int
    unmeasured: int
    margin: float
    alpha: float
    reason: str | None
    cases: pd.DataFrame = field(repr=False)

    @property
    def headline(self) -> str:
        if self.change is None:
            why = f" ({self.reason})" if self.reason else ""
            return f"Not enough cases: none of {self.total:,} could be measured on both models{why}."
        points = f"{100 * self.change:+.1f} points ({100 * self.low:+.1f} to {100 * self.high:+.1f})"  # type: ignore[operator]
        sizes = f"{self.n:,} of {self.total:,} cases, {len(self.lost):,} lost, {len(self.won):,} won"
        margin = f"{100 * self.margin:g} points"
        said = {
            "promote": f"Promote: the share of cases passed moves by {points}, a loss below the margin of {margin}",
            "hold": f"Hold: the share of cases passed moves by {points}",
            "not enough cases": f"Not enough cases: the share passed moves by {points}; a loss of {margin} is as possible as none",
        }[self.verdict]
        if self.verdict == "promote" and self.high < 0:  # type: ignore[operator]
            said += ", but a loss"
        missing = f" {self.unmeasured:,} could not be measured ({self.reason})." if self.unmeasured else ""
        more, left = "", self.total - self.n - self.unmeasured
        if self.verdict == "not enough cases" and left:
            more = f" The {left:,} left would hardly have decided and were not asked."
        if self.verdict == "not enough cases" and self.needed_n is not None:
            more += f" About {self.needed_n:,} cases would decide, {self.needed_n - self.n:,} more."
        return f"{said}; {sizes}.{more}{missing}"

    def to_frame(self) -> pd.DataFrame:
        """One row per case asked: both answers, whether each passed (null = could not be measured), and why not."""
        return self.cases.copy()

    def plot(self, ax=None):
        """The change with its interval, beside 0 and the margin."""
        colour = {"promote": GREEN, "hold": VERMILION}.get(self.verdict, BLUE)
        with axes(ax, size=(7.4, 1.8)) as ax:
            if self.change is not None:
                ax.plot([self.low, self.high], [0, 0], color=colour, lw=3)
                ax.plot(self.change, 0, "D", color=colour)
            ax.axvline(-self.margin, color=VERMILION, ls="--", lw=1)
            ax.axvline(0, color=BLUE, lw=1)
            ax.set_yticks([])
            percent(ax, "x")
            ax.set_xlabel("change of the share of cases passed; dashed: the margin")
            ax.set_title(f"{self.verdict.capitalize()}: {self.n:,} cases")
        return ax


def compare_versions(
    cases: str | Path | pd.DataFrame,
    old: Any,
    new: Any,
    judge: Any = None,
    margin: float = 0.1,
    alpha: float = 0.05,
    seed: int = 0,
    *,
    timeout_s: float = 60,
    concurrency: int = 4,
) -> VersionComparison:
    """Ask two models the cases of an eval suite and say whether the new one may take the place of the old one.

    Parameters
    ----------
    cases : path or DataFrame
        Eval cases as `learn` writes them (JSON Lines, JSON, or the incident's folder): `case_id`, `input`; a case of your
        own may name its check in `check_fn`, `params` and `expected_property`, as a probe does.
    old, new : callable or Judge
        text -> text, sync or async, or a client as for `run_probes`.
    judge : Judge or callable, optional
        As `lm.set_judge` takes it; a case passes where the judge does not flag the answer. Default: the case's own check
        where it names one, else the judge of `lm.set_judge` or of the environment. Equal answers are judged once.
    margin : float
        Share of cases by which the new model may be worse, above 0 and below 1.
    alpha : float
        Chance of `promote` where the new model is worse by the margin, and chance of `hold` where both are equal.
    seed : int
        Random seed for the order of the cases.
    timeout_s : float
        Seconds to wait for one answer.
    concurrency : int
        Calls in flight at once.

    Returns
    -------
    VersionComparison

    Raises
    ------
    LogError
        A line of `cases` that is no case.
    ConfigError
        A margin or alpha out of range, a client or judge that cannot be called, no judge at all.

    Notes
    -----
    Cases are asked in random order on both models and looked at up to 20 times. At each look Tango's score statistic
    [1]_ with half a pair as continuity correction is compared with limits that spend alpha over the looks [2]_; the run
    stops at the first `promote` (change above -margin) or `hold` (change below 0), and as `not enough cases` where the
    cases left would bring a verdict with a chance below 15 %, were the true change the one found. The limits do not count
    on that last rule, so it only lowers the error rates.

    References
    ----------
    .. [1] Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
       Statistics in Medicine 17 (1998).
    .. [2] Hwang, Shih, DeCani, Group sequential designs using a family of type I error probability spending functions,
       Statistics in Medicine 9 (1990), with gamma = -1.

    Examples
    --------
    >>> import pandas as pd
    >>> cases = pd.DataFrame({"case_id": [f"c{i}" for i in range(60)], "input": [f"Add 1 to {i}" for i in range(60)]})
    >>> def judge(user_input, system_output):
    ...     right = int(user_input.split()[-1]) + 1 == int(system_output)
    ...     return dict.fromkeys(["correctness", "completeness", "tone"], 5 if right else 1)
    >>> add = lambda text: str(int(text.split()[-1]) + 1)
    >>> compare_versions(cases, add, add, judge).verdict
    'promote'
    """
    if not 0 < margin < 1:
        raise ConfigError(f"compare_versions(margin={quote(margin)}); expected a share of cases above 0 and below 1")
    if not 0 < alpha < 0.5:
        raise ConfigError(f"compare_versions(alpha={quote(alpha)}); expected an error rate above 0 and below 0.5")
    check_client("compare_versions(old)", old)
    check_client("compare_versions(new)", new)
    suite = read_cases(cases)
    check_each = _checker(suite, judge)
    order = np.random.default_rng(seed).permutation(len(suite))
    shuffled = [suite[i] for i in order]
    asked: list[dict[str, Any]] = []
    looks: list[int] = []
    verdict, limit = "not enough cases", np.inf
    step = max(STEP, math.ceil(len(suite) / LOOKS))
    while len(asked) < len(suite):
        upto = len(asked) + step if asked else max(FIRST, step)
        asked += in_own_loop(_ask(shuffled[len(asked) : upto], old, new, check_each, timeout_s, concurrency))
        lost, won, n = _counts(asked)
        if not n:
            break  # neither model, or no judge, can be reached: asking on would cost and say nothing
        looks.append(n)
        limit = limits(tuple(looks), len(suite), alpha, last=len(asked) == len(suite))[-1]
        verdict = _verdict(lost, won, n, margin, limit)
        left = len(suite) - len(asked)
        if verdict != "not enough cases" or not left:
            break
        # The limit of a last look, were all that are left asked at once.
        last_limit = limits((*looks, n + left), len(suite), alpha, last=True)[-1]
        if _hope(lost, won, n, left, margin, last_limit) < HOPE:
            break
    return _result(verdict, asked, len(suite), margin, alpha, limit)


def _verdict(lost: int, won: int, n: int, margin: float, limit: float) -> str:
    if paired_score(lost, won, n, -margin, CORRECTION) >= limit:
        return "promote"
    return "hold" if paired_score(lost, won, n, 0.0, CORRECTION) <= -limit else "not enough cases"


def _hope(lost: int, won: int, n: int, left: int, margin: float, limit: float) -> float:
    """Chance of a verdict once the cases that are left are asked too, were the true change the one found; the likelier verdict's."""
    variance, total = _variance(lost, won, n), n + left
    expected = (won - lost) * total / n
    needed = limit * np.sqrt(total * variance) + CORRECTION
    away = min(needed - total * margin - expected, needed + expected)  # from the end where `promote` begins, and `hold`
    return float(stats.norm.sf(away / np.sqrt(left * variance)))


def _variance(lost: int, won: int, n: int) -> float:
    """Of the change of one case; above 0 also where none or all were lost or won."""
    return (lost + won + 1) / (n + 2) - ((won - lost) / (n + 2)) ** 2


def _counts(asked: list[dict[str, Any]]) -> tuple[int, int, int]:
    pairs = [(row["passed_old"], row["passed_new"]) for row in asked]
    return pairs.count((True, False)), pairs.count((False, True)), sum(None not in pair for pair in pairs)


def _result(
    verdict: str, asked: list[dict[str, Any]], total: int, margin: float, alpha: float, limit: float
) -> VersionComparison:
    import pandas as pd

    lost, won, n = _counts(asked)
    measured = [row for row in asked if None not in (row["passed_old"], row["passed_new"])]
    change = (won - lost) / n if n else None
    low, high = score_interval(lost, won, n, limit, CORRECTION) if n else (None, None)
    reasons = Counter(row["detail"] for row in asked if None in (row["passed_old"], row["passed_new"]))
    frame = pd.DataFrame(asked, columns=COLUMNS).sort_values("case_id", ignore_index=True)
    return VersionComparison(
        verdict=verdict,
        change=change,
        low=low,
        high=high,
        n=n,
        needed_n=_needed(lost, won, n, margin, alpha) if verdict == "not enough cases" else n,
        lost=sorted(row["case_id"] for row in measured if row["passed_old"] and not row["passed_new"]),
        won=sorted(row["case_id"] for row in measured if row["passed_new"] and not row["passed_old"]),
        passed_old=sum(row["passed_old"] for row in measured) / n if n else None,
        passed_new=sum(row["passed_new"] for row in measured) / n if n else None,
        total=total,
        unmeasured=len(asked) - n,
        margin=margin,
        alpha=alpha,
        reason=min(reasons, key=lambda text: (-reasons[text], text)) if reasons else None,
        cases=frame.astype({"passed_old": "boolean", "passed_new": "boolean"}),
    )


def _needed(lost: int, won: int, n: int, margin: float, alpha: float) -> int | None:
    """Cases for a verdict in 8 of 10 runs: towards `promote` or `hold`, whichever is nearer to what was found."""
    if not n:
        return None
    change = (won - lost) / n
    reach = max(change + margin, -change)
    wanted = INFLATION * _variance(lost, won, n) * ((stats.norm.isf(alpha) + stats.norm.ppf(POWER)) / reach) ** 2
    return max(math.ceil(wanted), n + 1)


async def _ask(
    part: list[dict[str, Any]], old: Any, new: Any, check_each: Any, timeout_s: float, concurrency: int
) -> list[dict[str, Any]]:
    calls = [Call(case["input"]) for case in part]
    answers = await asyncio.gather(
        ask_all(calls, old, timeout_s, concurrency, "old"), ask_all(calls, new, timeout_s, concurrency, "new")
    )
    turns = asyncio.Semaphore(int(concurrency))

    async def checked(case: dict[str, Any], before: Reply, after: Reply) -> dict[str, Any]:
        texts = [reply.answer.text if reply.answer else None for reply in (before, after)]
        row = {"case_id": case["case_id"], "input": case["input"], "output_old": texts[0], "output_new": texts[1]}
        errors = [reply.error for reply in (before, after) if reply.error]
        if errors:
            return row | {"passed_old": None, "passed_new": None, "detail": errors[0]}
        async with turns:
            outcomes = [await check_each(case, text) for text in dict.fromkeys(texts)]
        (passed_old, why_old), (passed_new, why_new) = outcomes[0], outcomes[-1]
        unmeasured = why_old if passed_old is None else why_new
        return row | {"passed_old": passed_old, "passed_new": passed_new, "detail": unmeasured or why_old}

    return list(await asyncio.gather(*(checked(*each) for each in zip(part, *answers, strict=True))))


def _checker(suite: list[dict[str, Any]], judge: Any) -> Any:
    """An async function (case, answer) -> (passed or None, why): the judge that was given, the case's own check, or the judge of the environment."""
    from llm_monitoring.judging.asking import Item, ask
    from llm_monitoring.judging.client import as_judge, current_judge

    chosen = as_judge(judge) if judge is not None else None
    if chosen is None and not all(case.get("check_fn") for case in suite):
        try:
            chosen = current_judge()
        except ConfigError as error:
            raise ConfigError(f"compare_versions(judge): {error}; or give every case a check_fn") from None

    async def check(case: dict[str, Any], text: str) -> tuple[bool | None, str | None]:
        if judge is None and case.get("check_fn"):
            return _own_check(case, text)
        if not text.strip():
            return False, "an empty answer"
        found = await ask(chosen, Item(case["case_id"], str(case.get("feature_id") or "cases"), case["input"], text))
        if found.answer.scores is None:
            return None, f"the judge failed: {found.answer.error_kind}: {found.answer.error}"[:500]
        reason = chosen.rubric.flag_reason(found.answer.scores)  # type: ignore[union-attr]
        return reason is None, reason

    return check


def _own_check(case: Mapping[str, Any], text: str) -> tuple[bool | None, str | None]:
    from llm_monitoring.probes.probe import ModelBehaviorProbe

    params = case.get("params") or {}
    expected = str(case.get("expected_property") or "")
    probe = ModelBehaviorProbe(case["case_id"], case["input"], expected, str(case["check_fn"]), params)
    outcome = run_check(check_of(probe.check_fn), text, probe, params)
    return outcome.passed, outcome.detail
