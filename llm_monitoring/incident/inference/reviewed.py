"""What people who read flagged answers say: how many flags were deserved, and how that bears on the alert."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import answers
from llm_monitoring import wording as say
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.errors import Fault, LogError
from llm_monitoring.incident.inference.cells import requests_of
from llm_monitoring.intervals import anytime_share
from llm_monitoring.reviewing.verdicts import majority
from llm_monitoring.schema import DEFAULT_SCALE, VERDICTS, scale_ends

if TYPE_CHECKING:
    from llm_monitoring.log import Log

PLANNED, ERROR = 20, 0.05
USUAL_PRECISION = (8.0, 2.0)  # Beta: flags deserved before, where nobody has read any: 0.8, worth ten reviews
#: Belief, before anyone reads, that all extra flags are undeserved in the part that fell: a tenth of the judges that move
#: (`weighing.JUDGE`) err in a part of the answers alone; one that moved in all of them is a cause of its own.
UNDESERVED = 0.03
RELIABLE = 0.75  # of the spread of scores, what the answers differ by; the rest is the judge's slips


@dataclass(frozen=True)
class Reviewed:
    """Counts and course of the reviews of the alert's period."""

    reviewed: int
    deserved: int
    precision: dict[str, float | None]
    deserved_probability: float
    decided_at: int | None
    wald: dict[str, float | None]
    rows: list[dict[str, Any]]
    sentences: list[str]


def weigh_reviews(
    log: Log, alert: Alert, since: pd.Timestamp, reviews=None, until: pd.Timestamp | None = None
) -> Reviewed:
    """Weigh the verdicts on flagged answers since the start; ``unsure`` counts as not deserved, the cautious side.

    Flags are counted up to the end of the harm, where it has one.

    Two hypotheses for the share of deserved flags: as before (p_real), or only the flags that there were before are
    deserved (p_false = p_real x flag rate before / now).
    """
    if not alert.judged:
        nothing: dict[str, float | None] = {"estimate": None, "low": None, "high": None}
        return Reviewed(0, 0, nothing, 1.0, None, {"p_real": None, "p_false": None, "expected_n": None}, [], [])
    now, before = _split(log, alert, since, reviews)
    good = (now["verdict"] == "real").to_numpy()
    a, b = (
        USUAL_PRECISION[0] + (before["verdict"] == "real").sum(),
        USUAL_PRECISION[1] + (before["verdict"] != "real").sum(),
    )
    flags = answers.flags(log, alert.feature_id, since, until)
    ratio = _ratio(flags)
    wald = _wald(a / (a + b), ratio)
    undeserved = _log_undeserved(good, a, b, ratio)
    low, high = anytime_share(good.sum(), len(good)) if len(good) else (None, None)
    course = [
        {"share": float(good[: i + 1].mean()), **dict(zip(("low", "high"), anytime_share(good[: i + 1].sum(), i + 1)))}
        for i in range(len(good))
    ]
    rows = [{**row, **point} for row, point in zip(now.to_dict("records"), course)]
    return Reviewed(
        len(good),
        int(good.sum()),
        {"estimate": float(good.mean()) if len(good) else None, "low": low, "high": high},
        float((1 - UNDESERVED) / (1 - UNDESERVED + UNDESERVED * np.exp(undeserved))),
        _decided(good, wald),
        wald,
        rows,
        [*([] if alert.metric == "flagged_rate" else [_of_flags(flags)]), *_sentences(good, low, high, wald, before)],
    )


def log_judge_moved(log: Log, since: pd.Timestamp, reviews=None) -> float:
    """Log Bayes factor of a judge that moved against answers that did, from what people say of single scores.

    P(bad | score s) = logistic(a + b (s - 3)), learned from reviews of before. Where the judge got stricter by d, a score of s is what
    s + d was: more of the answers that are read will be found fine. Where all answers got worse by d, the same score stands for a
    somewhat worse answer, since it is less often a slip of the judge: as s - d (1 - r) / r was, r being the reliability of a score.
    """
    from scipy.special import log_expit, logsumexp

    table = read_reviews(log, reviews)
    table = majority(table)
    table = table[table["verdict"].isin(["real", "false_positive"])]
    if table.empty:
        return 0.0
    scored = _in_points(answers.judgements(log, ["quality_score", "scale", "timestamp"]))
    rows = table[["request_id", "verdict"]].merge(scored, on="request_id")
    late, level = rows["timestamp"] >= since, scored.groupby(scored["timestamp"] >= since)["quality_score"].mean()
    if not late.any() or len(level) < 2:
        return 0.0
    a, b = (grid.ravel() for grid in np.meshgrid(np.linspace(-5, 5, 41), np.linspace(-6, 1, 29)))
    log_prior = -0.5 * ((a + 0.5) / 1.5) ** 2 - 0.5 * ((b + 2.5) / 1.0) ** 2

    def likelihood(part: pd.DataFrame, moved: float) -> np.ndarray:
        logit = a[:, None] + b[:, None] * (part["quality_score"].to_numpy(float) + moved - 3)
        return log_expit(np.where(part["verdict"] == "real", logit, -logit)).sum(1)

    learned = log_prior + likelihood(rows[~late], 0.0)
    stricter = float(level[False] - level[True])
    worse = -stricter * (1 - RELIABLE) / RELIABLE
    of_judge, of_answers = (logsumexp(learned + likelihood(rows[late], moved)) for moved in (stricter, worse))
    return float(of_judge - of_answers)


def _in_points(judged: pd.DataFrame) -> pd.DataFrame:
    """Scores as points from 1 to 5, whatever the judge's scale."""
    scored = judged[judged["quality_score"].notna()]
    codes, texts = pd.factorize(scored["scale"].fillna(DEFAULT_SCALE))
    low, high = np.array([scale_ends(text) for text in texts]).reshape(-1, 2)[codes].T
    points = 1 + 4 * (scored["quality_score"] - low) / (high - low)
    return pd.DataFrame({name: scored[name] for name in ("request_id", "timestamp")} | {"quality_score": points})


def read_reviews(log: Log, reviews=None) -> pd.DataFrame:
    """The reviews table from a DataFrame, a file of verdicts, or the log."""
    if reviews is None:
        return log.reviews
    if isinstance(reviews, str | Path):
        from llm_monitoring.reviewing.verdicts import read

        return read(reviews)
    return _checked(reviews)


def _checked(reviews: pd.DataFrame) -> pd.DataFrame:
    """A frame of verdicts handed in by a person, with all that is wrong with it in one error."""
    missing = [name for name in ("request_id", "verdict", "reviewed_at") if name not in reviews]
    faults = [Fault("reviews", column=name, expected="the column is missing") for name in missing]
    verdicts = reviews["verdict"].reset_index(drop=True) if "verdict" in reviews else pd.Series(dtype=object)
    listed = f"expected one of {', '.join(VERDICTS)}"
    wrong = verdicts[~verdicts.isin(VERDICTS)]
    faults += [Fault("reviews", None, f"row {row}", "verdict", value, listed) for row, value in wrong.items()]
    if faults:
        raise LogError(faults)
    return reviews


def _split(log: Log, alert: Alert, since: pd.Timestamp, reviews) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reviews of flagged answers since the start (in reading order), and those of before."""
    table = read_reviews(log, reviews)
    columns = ["request_id", "timestamp", "feature_id", "user_input", "system_output"]
    flagged = answers.flagged_ids(log) if len(table) else set()
    table = table[table["request_id"].isin(flagged)].sort_values(["reviewed_at", "request_id"], kind="stable")
    notes = table.reindex(columns=["request_id", "note"]).drop_duplicates("request_id", keep="last")
    table = majority(table)[["request_id", "verdict"]].merge(notes, on="request_id", how="left")
    asked = requests_of(log).columns(table["request_id"], columns[1:]).reindex(columns=columns[1:])
    rows = pd.concat([table, asked], axis=1)
    if alert.feature_id is not None:
        rows = rows[rows["feature_id"] == alert.feature_id]
    late = rows["timestamp"] >= since
    return rows[late].reset_index(drop=True), rows[~late]


def _ratio(flags: list[tuple[int, int]]) -> float:
    """Flag rate before over flag rate since, at most 1, each with half a flag added."""
    before, now = ((k + 0.5) / (n + 1) for k, n in flags)
    return float(min(before / now, 1.0))


def _log_undeserved(good: np.ndarray, a: float, b: float, ratio: float) -> float:
    """Log Bayes factor of undeserved extra flags given the verdicts, the precision before integrated over its Beta."""
    from scipy import special, stats

    p = np.linspace(0.0025, 0.9975, 400)
    k, n = good.sum(), len(good)
    prior = stats.beta.logpdf(p, a, b)
    real, false = (special.logsumexp(prior + k * np.log(q) + (n - k) * np.log1p(-q)) for q in (p, p * ratio))
    return float(false - real)


def _wald(p_real: float, ratio: float) -> dict[str, float | None]:
    p_false = p_real * ratio
    if ratio > 0.98:
        return {"p_real": p_real, "p_false": p_false, "expected_n": None}
    up, down = np.log(p_real / p_false), np.log((1 - p_real) / (1 - p_false))
    edge = np.log((1 - ERROR) / ERROR)
    expected = (1 - 2 * ERROR) * edge / (p_real * up + (1 - p_real) * down)
    return {"p_real": float(p_real), "p_false": float(p_false), "expected_n": float(np.ceil(expected))}


def _decided(good: np.ndarray, wald: dict) -> int | None:
    if wald["expected_n"] is None:
        return None
    up = np.log(wald["p_real"] / wald["p_false"])
    down = np.log((1 - wald["p_real"]) / (1 - wald["p_false"]))
    crossed = np.abs(np.cumsum(np.where(good, up, down))) >= np.log((1 - ERROR) / ERROR)
    return int(np.argmax(crossed)) + 1 if crossed.any() else None


def _of_flags(flags: list[tuple[int, int]]) -> str:
    told = [f"{say.amount(k / n, 'share')} of {n:,}" if n else "none judged" for k, n in flags]
    return f"Flagged answers: {told[0]} before, {told[1]} since."


def _sentences(good: np.ndarray, low, high, wald: dict, before: pd.DataFrame) -> list[str]:
    source = f"{len(before)} earlier reviews" if len(before) else "no earlier review: 0.8 is assumed"
    if not len(good):
        need = "" if wald["expected_n"] is None else f" About {wald['expected_n']:.0f} readings would decide it."
        return [f"Nobody has read a flagged answer of this period yet.{need}"]
    told = (
        f"{good.sum()} of {len(good)} flagged answers that were read deserved the flag "
        f"{say.span(low, high, 'share')}, 95 % whenever you stop; {say.amount(wald['p_real'], 'share')} would be "
        f"expected if the fall is real, {say.amount(wald['p_false'], 'share')} if the extra flags are not ({source})."
    )
    return [told]
