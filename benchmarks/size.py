"""Processor seconds, peak memory and rows loaded of every step of the road, over logs of growing size.

    python benchmarks/size.py [--rows 10000 1000000] [--steps check triage ...] [--keep FOLDER] [--no-texts]

The log is generated (seeded): 20 features, 90 days, sessions of one to four requests, 5 % of the answers judged, thumbs
on 3 %, and one change on day 70 after which `feature-03` gets worse. Every step runs in a process of its own. Seconds
are those of the processor over all its threads, imports counted apart; `loaded` is what `log.loaded` says came out of
the engine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DAYS, FEATURES, START = 90, 20, 1_775_001_600  # from 2026-04-01
BAD_FROM, BAD = 70, 3

REQUESTS = """
SELECT 'req-' || lpad(i::VARCHAR, 9, '0') AS request_id,
       to_timestamp({start} + {days} * 86400 * ((i // 4) * 4 + (i % 4) * 0.3) / {rows}::DOUBLE) AS timestamp,
       'feature-' || lpad((hash(i // 4) % {features})::VARCHAR, 2, '0') AS feature_id,
       ['returns', 'billing', 'delivery', 'other'][(1 + hash(i, 1) % 4)::INT] AS category,
       'model-' || (hash(i // 4, 2) % 3) || '-2026-01-01' AS model_id,
       CASE WHEN i > {rows}::BIGINT * {bad_from} / {days} THEN 'v2' ELSE 'v1' END AS prompt_version,
       'ses-' || (CASE WHEN hash(i // 4, 3) % 3 < 2 THEN i // 4 ELSE i + 1000000000 END) AS session_id,
       round(exp(6 + 1.5 * (hash(i, 4) % 10000) / 10000), 1) AS latency_ms,
       (50 + hash(i, 5) % 1000)::BIGINT AS input_tokens, (20 + hash(i, 6) % 300)::BIGINT AS output_tokens,
       round((70 + hash(i, 5) % 1000 + 4 * (hash(i, 6) % 300)) * 1e-6, 9) AS cost_usd,
       CASE WHEN hash(i, 7) % 1000 < 8 THEN 'refusal' WHEN hash(i, 7) % 1000 < 20 THEN 'max_tokens'
            WHEN hash(i, 7) % 1000 < 30 THEN 'error' ELSE 'end_turn' END AS finish_reason,
       CASE WHEN hash(i, 7) % 1000 BETWEEN 20 AND 29 THEN 'timeout' END AS "error"
       {texts}
FROM range({rows}) AS t(i)
"""
TEXTS = """,
       'where is order ' || (hash(i // (1 + hash(i // 4, 8) % 2), 9) % 100000)
           || ['', ' please', ', I asked before', ' and when does it come'][(1 + hash(i, 10) % 4)::INT] AS user_input,
       'Order ' || (hash(i, 9) % 100000) || ' is on its way and comes on day ' || (hash(i, 11) % 28) AS system_output"""
BROKEN = "(hash({i}, 12) % 100 < CASE WHEN f = 'feature-03' AND v = 'v2' THEN 30 ELSE 8 END)"
JUDGEMENTS = f"""
SELECT request_id, f AS feature_id, s::DOUBLE AS quality_score,
       json_object('correctness', s, 'tone', 3 + hash(i, 13) % 3)::VARCHAR AS dimensions, s <= 2 AS flagged,
       CASE WHEN s <= 2 THEN 'low score' END AS flag_reason, asked_at + INTERVAL 10 MINUTE AS judged_at,
       'judge-1' AS judge_model, '1' AS rubric_version, 'ok' AS status, 0.05::DOUBLE AS inclusion_probability
FROM (SELECT *, CASE WHEN {BROKEN.format(i="i")} THEN 1 + hash(i, 14) % 2 ELSE 3 + hash(i, 15) % 3 END AS s FROM (
      SELECT request_id, timestamp AS asked_at, feature_id AS f, prompt_version AS v, substr(request_id, 5)::BIGINT AS i
      FROM '{{requests}}') WHERE hash(i, 16) % 20 = 0)
"""
SIGNALS = """
SELECT request_id, session_id, CASE WHEN hash(i, 18) % 10 < 7 THEN 'thumbs_up' ELSE 'thumbs_down' END AS signal_type,
       timestamp + INTERVAL 1 MINUTE AS timestamp, NULL::VARCHAR AS metadata
FROM (SELECT *, substr(request_id, 5)::BIGINT AS i FROM '{requests}') WHERE hash(i, 17) % 33 = 0
"""
CHANGES = """
SELECT 'chg-prompt-2' AS change_id, to_timestamp({start} + {bad_from} * 86400) AS timestamp, 'prompt' AS kind,
       'prompt v2' AS description, 'feature-03' AS feature_id, 'v2' AS prompt_version
"""


def generate(folder: Path, rows: int, texts: bool = True) -> Path:
    """Write a log of so many requests as Parquet files, sorted by time."""
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    connection.execute("SET threads = 1; SET TimeZone = 'UTC'")
    said = {"start": START, "days": DAYS, "features": FEATURES, "rows": rows, "bad_from": BAD_FROM}
    path = folder / "requests.parquet"
    queries = {
        "requests": REQUESTS.format(**said, texts=TEXTS if texts else ""),
        "judgements": JUDGEMENTS.format(requests=path),
        "signals": SIGNALS.format(requests=path),
        "changes": CHANGES.format(**said),
    }
    for name, query in queries.items():
        connection.execute(f"COPY ({query}) TO '{folder / name}.parquet' (FORMAT parquet)")
    return folder


def steps() -> dict:
    """Name of a step -> what it calls on an open log."""
    import llm_monitoring as lm
    from llm_monitoring import incident

    alert = {"metric": "flagged_rate", "feature_id": "feature-03", "direction": "up", "fired_at": "2026-06-14T00:00Z"}

    def judge(user_input: str, system_output: str) -> dict:
        return {"correctness": 5, "completeness": 5, "tone": 5}

    def judged(log):
        with tempfile.TemporaryDirectory() as folder:
            return lm.judge_sample(log, judge, rate=0.001, out=f"{folder}/judgements.db", progress=False)

    def learned(log):
        with tempfile.TemporaryDirectory() as folder:
            return incident.learn(log, alert, out=folder)

    def responded(log):
        scope = incident.scope(log, alert)
        return incident.respond(log, alert, scope, incident.isolate(log, alert, scope))

    def reported(log):
        with tempfile.TemporaryDirectory() as folder:
            return lm.report(log, alert=alert, out=folder, progress=False)

    return {
        "open": lambda log: None,
        "validate": lambda log: log.validate(),
        "window_metrics": lm.window_metrics,
        "quality_metrics": lm.quality_metrics,
        "satisfaction_metrics": lm.satisfaction_metrics,
        "session_metrics": lm.session_metrics,
        "derive_signals": lm.derive_signals,
        "sample": lm.sample,
        "judge_sample": judged,
        "check": lm.check,
        "triage": lambda log: incident.triage(log, alert),
        "scope": lambda log: incident.scope(log, alert),
        "isolate": lambda log: incident.isolate(log, alert),
        "respond": responded,
        "learn": learned,
        "report": reported,
    }


def run(step: str, folder: str) -> None:
    """Run one step in this process and print what it took."""
    import llm_monitoring as lm

    call = steps()[step]
    lm.window_metrics(lm.open_log(Path(folder)).until("2000-01-02T00:00Z"), None)  # the imports
    before, peak_before = _used(), _peak()
    log = lm.open_log(Path(folder))
    started = time.perf_counter()
    call(log)
    loaded = {name: row for name, row in log.loaded.to_dict("index").items() if row["rows"]}
    took = {"processor": _used() - before, "seconds": time.perf_counter() - started}
    print(json.dumps({"step": step, **took, "imports_mb": peak_before, "peak_mb": _peak(), "loaded": loaded}))


def _used() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def _peak() -> float:
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--steps", nargs="+", default=None)
    parser.add_argument("--keep", type=Path, help="folder to keep the logs in, made where absent")
    parser.add_argument("--no-texts", action="store_true")
    parser.add_argument("--step")
    parser.add_argument("--log")
    given = parser.parse_args()
    if given.step:
        run(given.step, given.log)
        return
    with tempfile.TemporaryDirectory() as scratch:
        for rows in given.rows:
            folder = (given.keep or Path(scratch)) / str(rows)
            if not (folder / "changes.parquet").exists():
                generate(folder, rows, texts=not given.no_texts)
            print(f"{rows:,} requests, load {os.getloadavg()[0]:.1f}", flush=True)
            for step in given.steps or list(steps()):
                _measure(step, folder)


def _measure(step: str, folder: Path) -> None:
    command = [sys.executable, __file__, "--step", step, "--log", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{step:22} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}", flush=True)
        return
    found = json.loads(done.stdout.strip().splitlines()[-1])
    loaded = ", ".join(f"{name} {row['rows']:,} ({row['bytes'] / 1e6:.1f} MB)" for name, row in found["loaded"].items())
    print(f"{step:22}{found['processor']:8.1f} s {found['peak_mb']:7.0f} MB   {loaded}", flush=True)


if __name__ == "__main__":
    main()
