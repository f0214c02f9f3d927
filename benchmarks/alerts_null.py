"""How often `check` fires on healthy traffic, by chart and window, and how long it takes on a large log.

    python benchmarks/alerts_null.py --logs 10 --days 364          # false alarms a month, against the budget of 1
    python benchmarks/alerts_null.py --logs 10 --busy --days 84    # few features, hourly charts
    python benchmarks/alerts_null.py --large                       # 1 million requests, 20 features, 90 days: seconds and MB

Logs are those of `traffic.healthy`: day and week, day effects, holidays (which the plan does not name unless `--named`), two
changes of the clocks a year. No texts and no probes: the whole budget is the charts'. Alerts against a fixed limit have their
own stated rate and are counted apart.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd
from scipy import stats

import llm_monitoring as lm
from benchmarks.traffic import HOLIDAYS, START, ZONE, healthy

MANY, BUSY = tuple(np.geomspace(20, 500, 20).round()), (1500, 1000, 700, 500)
MONTH = pd.Timedelta("30D")


def null(logs: int, first: int, days: int, busy: bool, plan: dict) -> None:
    """Alerts a month on healthy logs; a month counts from the end of the first baseline."""
    found, months = [], 0.0
    for seed in range(first, first + logs):
        begin = time.process_time()
        tables = healthy(
            seed, days, BUSY if busy else MANY, holidays=HOLIDAYS, start=START + pd.Timedelta(weeks=seed % 40)
        )
        log = lm.open_log(tables)
        alerts, charts = lm.check(log, plan), lm.control_charts(log, plan)
        months += (charts.span.end - charts.span.split) / MONTH
        width = {run.key: run.width for run in charts.runs}
        keys = zip(alerts["feature_id"], alerts["metric"])
        alerts = alerts.assign(seed=seed, window=[width.get(key, "") for key in keys])
        found.append(alerts)
        chance = alerts[alerts["rule"] != "limit"]
        print(f"{seed}: {len(chance)} of {charts.span.end - charts.span.split}, {len(alerts) - len(chance)} by limits, "
              f"{time.process_time() - begin:.0f} s", flush=True)  # fmt: skip
        for line in chance.itertuples():
            print(f"    {line.fired_at:%Y-%m-%d %H} {line.feature_id} {line.metric} {line.window} {line.direction} "
                  f"{line.value:.4g} for {line.expected:.4g}", flush=True)  # fmt: skip
    alerts = pd.concat(found)
    chance = alerts[alerts["rule"] != "limit"]
    k = len(chance)
    low, high = stats.chi2.ppf(0.025, 2 * k) / 2 if k else 0.0, stats.chi2.ppf(0.975, 2 * k + 2) / 2
    print(f"{k} statistical alerts in {months:.1f} months: {k / months:.2f} ({low / months:.2f} to {high / months:.2f}) "
          f"a month for a budget of 1; {len(alerts) - k} by limits")  # fmt: skip
    print(chance.groupby(["window", "metric"]).size().to_string())


def large() -> None:
    """Seconds and memory of one check."""
    tables = healthy(0, 90, [556] * 20, rate=0.05)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    log = lm.open_log(tables)
    begin, cpu = time.perf_counter(), time.process_time()
    alerts = lm.check(log)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(tables['requests']):,} requests: {time.perf_counter() - begin:.1f} s ({time.process_time() - cpu:.1f} s CPU)"
    )
    print(f"peak memory {peak:.0f} MB, {before:.0f} MB of it before the check; {len(alerts)} alerts")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="seed of the first log")
    parser.add_argument("--days", type=int, default=364)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--named", action="store_true", help="the plan names the holidays")
    parser.add_argument("--large", action="store_true")
    chosen = parser.parse_args()
    if chosen.large:
        large()
    else:
        named = {"baseline": {"holidays": list(HOLIDAYS), "timezone": ZONE}} if chosen.named else {}
        null(chosen.logs, chosen.first, chosen.days, chosen.busy, named)
