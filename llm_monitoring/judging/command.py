"""What `llm-monitoring judge` does: a dry run that prices the sample, or the sample judged. Lines and an exit code out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_monitoring.judging.asking import most_tokens
from llm_monitoring.judging.batch import items_of, judge_sample
from llm_monitoring.judging.client import Judge
from llm_monitoring.judging.prompt import messages
from llm_monitoring.judging.rubric import DEFAULT_RUBRIC, Rubric
from llm_monitoring.judging.store import export as write_table
from llm_monitoring.log import Log
from llm_monitoring.sampling import chances

DEAREST = (15.0, 75.0)  # USD per million tokens in and out: an upper bound where nobody gave a price


def judge_log(
    log: Log,
    *,
    model: str,
    rate: float,
    budget: float | None,
    input_price: float | None,
    output_price: float | None,
    rubric: str | None,
    base_url: str | None,
    out: str,
    export: str | None,
    concurrency: int,
    rpm: float | None,
    tpm: float | None,
    redact: bool,
    retry_failed: bool,
    dry_run: bool,
) -> tuple[list[str], int]:
    """Judge a log's sample, or say what that would take.

    Returns
    -------
    lines : list of str
    code : int
        0, or 3 where the server stopped the run or nothing could be judged.
    """
    assumed = budget is not None and (input_price is None or output_price is None)
    judge = Judge(
        model,
        rubric=Rubric.from_yaml(Path(rubric)) if rubric else DEFAULT_RUBRIC,
        base_url=base_url,
        usd_per_m_input=DEAREST[0] if assumed and input_price is None else input_price,
        usd_per_m_output=DEAREST[1] if assumed and output_price is None else output_price,
        assumed_prices=assumed,
    )
    price = []
    if assumed:
        price.append(
            f"no price was given: the budget counts {judge.usd_per_m_input:g} USD per million tokens in and "
            f"{judge.usd_per_m_output:g} out, more than nearly any model costs. Give --input-price and --output-price"
        )
    if dry_run:
        return [*_dry_run(log, judge, rate, budget), *price], 0
    found = judge_sample(
        log,
        judge,
        rate,
        out,
        concurrency=concurrency,
        budget_usd=budget,
        rpm=rpm,
        tpm=tpm,
        retry_failed=retry_failed,
        redact=redact,
    )
    ok, stopped = int((found["status"] == "ok").sum()), found.attrs["stopped"]
    lines = [f"{ok:,} judged, {len(found) - ok:,} failed, {int(found['flagged'].sum()):,} flagged; kept in {out}"]
    if found["cost_usd"].notna().any():
        lines[0] += f"; {found['cost_usd'].sum():.4f} USD"
    if found["quality_score"].notna().any():
        lines.append(f"mean quality {found['quality_score'].mean():.2f} before weighting; see quality_metrics")
    for kind, n in found["error"].dropna().str.split(":").str[0].value_counts().items():
        lines.append(f"failed: {n:,} {kind}")
    for what, n in found.attrs["unwrapped"].items():
        lines.append(f"read after taking off {what}: {n:,}")
    if stopped:
        lines.append(f"stopped: {stopped}")
    lines += price
    if export:
        lines.append(str(write_table(out, export)))
    spent = bool(stopped) and stopped.startswith("budget")
    return lines, 0 if (ok or not len(found)) and (spent or not stopped) else 3


def _dry_run(log: Any, judge: Judge, rate: float, budget: float | None) -> list[str]:
    items = items_of(log, chances(log, rate))
    n = len(items)
    lines = [f"{n:,} answers would be judged at a rate of {rate:g} by {judge.model}, rubric {judge.rubric.label}"]
    if not n:
        return lines
    tokens = [most_tokens(messages(judge.rubric, item.user_input, item.system_output)) for item in items.values()]
    worst = judge.cost_usd(sum(tokens), n * judge.max_output_tokens)
    if worst is None:
        lines.append(f"at most {sum(tokens):,.0f} tokens in; no price is known: give --input-price and --output-price")
    else:
        lines.append(f"at most {sum(tokens):,.0f} tokens in, {worst:.4f} USD without repeated calls")
        if budget is not None and worst > budget:
            lines.append(f"the budget of {budget:g} USD holds at least {int(n * budget / worst):,} of them")
    return [*lines, *(_detectable(log, n) if judge.rubric.is_usual else [])]


def _detectable(log: Any, n: int) -> list[str]:
    """The fall that a day's sample would show, over all features."""
    first, last = log.span("requests")
    days = max(1.0, (last - first).total_seconds() / 86400)
    per_day = n / days
    seen = 2.8 * 0.9 / per_day**0.5  # 5 % two-sided, 80 %, sd 0.9
    return [
        f"{per_day:.0f} a day: a day shows a fall of {seen:.2f} points (sd 0.9, 80 %); plan_sampling says more",
    ]
