"""What `llm-monitoring backtest` prints: the sentence, the tables, and where the page is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from llm_monitoring import addresses
from llm_monitoring import wording as say
from llm_monitoring.backtesting.page import write_page
from llm_monitoring.backtesting.result import BacktestResult, injection_words, not_tried
from llm_monitoring.backtesting.run import backtest
from llm_monitoring.errors import ConfigError, quote

MOST = 2000  # characters of a line: a sentence that names many faults is not cut


def backtest_log(
    log: Any, source: str, plan: Any, incidents: str | None, inject: bool, grid: tuple[str, ...], out: str, seed: int
) -> list[str]:
    """Run a back-test and write its page.

    Parameters
    ----------
    log : Log
    source : str
        What the log was opened from.
    plan, incidents, inject, grid, out, seed
        As the options of the command have them; `grid` holds texts such as ``rate=0.05,0.2``.

    Returns
    -------
    list of str
        The lines to print; the last one is the path of the page.
    """
    result = backtest(log, plan, incidents, inject or None, read_options(grid), seed)
    path = write_page(result, out, addresses.masked(source))
    return [*lines_of(result), str(path)]


def read_options(grid: tuple[str, ...]) -> dict[str, list[float]] | None:
    """``--grid`` as `backtest` takes it.

    >>> read_options(("rate=0.05,0.2",))
    {'rate': [0.05, 0.2]}
    """
    found: dict[str, list[float]] = {}
    for text in grid:
        name, sign, values = text.partition("=")
        try:
            found.setdefault(name.strip(), []).extend(float(value) for value in values.split(","))
        except ValueError:
            sign = ""
        if not sign:
            raise ConfigError(
                f"--grid {quote(text)}; expected numbers such as rate=0.05,0.2 or false_alarms_per_month=0.5,1"
            )
    return found or None


def lines_of(result: BacktestResult) -> Iterator[str]:
    """The sentence, then a line for each incident and for each fault that was planted."""
    yield result.headline
    for row in result.incidents[~result.incidents["injected"]].to_dict("records"):
        told = "missed"
        if pd.isna(row["found"]):
            told = "not judged: it lies outside of the time of the log"
        elif row["found"]:
            told = f"found after {_hours(row['delay_hours'])}  [{row['alert_id']}]"
        yield f"incident {say.one_line(row['incident_id'])}  {told}"
    if len(result.injections):
        yield "Faults planted into quiet stretches of this log (in brackets the 95 % interval; cases that overlap count as fewer):"
    tried = result.injections[result.injections["n"] > 0]
    for row in tried.to_dict("records"):
        rate = (
            f"{say.amount(row['found_rate'], 'share')} {say.span(row['low'], row['high'], 'share')} of {row['n']} cases"
        )
        late = "" if not row["found_rate"] else f", half of them within {_hours(row['median_delay_hours'])}"
        note = f"  ({row['note']})" if row["note"] else ""
        yield f"{say.one_line(injection_words(row), MOST)}: seen in {rate}{late}{note}"
    for sentence in not_tried(result.injections):
        yield say.one_line(sentence, MOST)


def _hours(hours: float) -> str:
    return f"{say.number(hours)}{say.NBSP}h" if hours < 48 else f"{say.number(hours / 24, 1)}{say.NBSP}days"
