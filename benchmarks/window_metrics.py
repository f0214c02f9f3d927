"""Seconds and peak memory of `window_metrics` against hand-written DuckDB SQL, Polars and pandas: same rows, same numbers.

    python benchmarks/window_metrics.py [--rows 10000000] [--curve] [--spark]

Generated requests of 30 days, feature x model x hour, read from one Parquet file. Every contender runs in a process of
its own, best of three; imports are not counted, the row checks of `window_metrics` are. Seconds are those of the clock
and of the processor: the first depend on what else the machine does. The SQL stands there twice, as people write it
(``date_trunc``) and with windows by whole numbers, which DuckDB works out several times faster on times with a zone.
`--spark` adds the same call on ``local[2]``. Polars runs where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SQL = """
SELECT {window} AS window_start, feature_id, model_id, count(*) AS request_count,
       count(error) / count(*) AS error_rate, avg((finish_reason = 'refusal')::INT) AS refusal_rate,
       avg((finish_reason = 'max_tokens')::INT) AS truncation_rate,
       quantile_cont(latency_ms, [0.5, 0.95, 0.99]) AS latencies, sum(cost_usd) AS total_cost_usd,
       avg(cost_usd) AS avg_cost_per_request_usd, avg(input_tokens) AS avg_input_tokens, avg(output_tokens) AS avg_output_tokens
FROM read_parquet(?) GROUP BY ALL
"""
COMPARED = [
    "request_count", "error_rate", "refusal_rate", "truncation_rate", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms",
    "total_cost_usd", "avg_cost_per_request_usd", "avg_input_tokens", "avg_output_tokens",
]  # fmt: skip


def generate(path: Path, rows: int) -> None:
    """Requests with three models, eight features, log-normal latencies, 1 % errors and refusals."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1; SELECT setseed(0.5)")
    connection.execute(
        f"""COPY (SELECT 'req-' || lpad(i::VARCHAR, 9, '0') AS request_id,
        to_timestamp(1775001600 + 30 * 86400 * (i / {rows}::DOUBLE)) AS timestamp,
        'feature-' || (i % 8) AS feature_id, 'model-' || (hash(i) % 3) AS model_id, exp(6 + random()) AS latency_ms,
        (random() * 1000)::BIGINT AS input_tokens, (random() * 300)::BIGINT AS output_tokens, random() / 100 AS cost_usd,
        CASE WHEN random() < 0.01 THEN 'refusal' WHEN random() < 0.02 THEN 'max_tokens' ELSE 'end_turn' END AS finish_reason,
        CASE WHEN random() < 0.01 THEN 'timeout' END AS "error" FROM range({rows}) AS t(i)) TO '{path}' (FORMAT parquet)"""
    )


def ours(path: str):
    import llm_monitoring as lm

    return lambda: lm.window_metrics(lm.open_log(path), "1h", by=["feature_id", "model_id"])


def sql(path: str, window: str = "date_trunc('hour', timestamp)"):
    import duckdb

    def call():
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        frame = connection.execute(SQL.format(window=window), [path]).fetch_arrow_table().to_pandas()
        for i, name in enumerate(("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")):
            frame[name] = [each[i] for each in frame["latencies"]]
        return frame

    return call


def sql_whole(path: str):
    return sql(path, "epoch_us(timestamp) // 3600000000")


def pandas(path: str):
    import pandas as pd

    def call():
        columns = ["timestamp", "feature_id", "model_id", "latency_ms", "input_tokens", "output_tokens", "cost_usd"]
        frame = pd.read_parquet(path, columns=[*columns, "finish_reason", "error"])
        frame["failed"], frame["refused"] = frame["error"].notna(), frame["finish_reason"] == "refusal"
        frame["cut"] = frame["finish_reason"] == "max_tokens"
        keys = [frame["timestamp"].dt.floor("h").rename("window_start"), "feature_id", "model_id"]
        groups = frame.groupby(keys)
        latencies = groups["latency_ms"].quantile([0.5, 0.95, 0.99]).unstack()
        return pd.DataFrame(
            {
                "request_count": groups.size(),
                "error_rate": groups["failed"].mean(),
                "refusal_rate": groups["refused"].mean(),
                "truncation_rate": groups["cut"].mean(),
                "latency_p50_ms": latencies[0.5],
                "latency_p95_ms": latencies[0.95],
                "latency_p99_ms": latencies[0.99],
                "total_cost_usd": groups["cost_usd"].sum(),
                "avg_cost_per_request_usd": groups["cost_usd"].mean(),
                "avg_input_tokens": groups["input_tokens"].mean(),
                "avg_output_tokens": groups["output_tokens"].mean(),
            }
        ).reset_index()

    return call


def polars(path: str):
    import polars as pl

    def call():
        latency = pl.col("latency_ms")
        lazy = pl.scan_parquet(path).group_by(
            pl.col("timestamp").dt.truncate("1h").alias("window_start"), "feature_id", "model_id"
        )
        return (
            lazy.agg(
                pl.len().alias("request_count"),
                pl.col("error").is_not_null().mean().alias("error_rate"),
                (pl.col("finish_reason") == "refusal").mean().alias("refusal_rate"),
                (pl.col("finish_reason") == "max_tokens").mean().alias("truncation_rate"),
                pl.col("cost_usd").mean().alias("avg_cost_per_request_usd"),
                *[latency.quantile(p / 100, "linear").alias(f"latency_p{p}_ms") for p in (50, 95, 99)],
                pl.col("cost_usd").sum().alias("total_cost_usd"),
                pl.col("input_tokens").mean().alias("avg_input_tokens"),
                pl.col("output_tokens").mean().alias("avg_output_tokens"),
            )
            .collect()
            .to_pandas()
        )

    return call


def spark(path: str):
    import ibis
    from pyspark.sql import SparkSession

    import llm_monitoring as lm

    options = {"spark.ui.enabled": "false", "spark.driver.memory": "4g", "spark.sql.shuffle.partitions": "4"}
    session = SparkSession.builder.master("local[2]").config(map=options).getOrCreate()
    session.read.parquet(path).createOrReplaceTempView("requests")
    connection = ibis.pyspark.connect(session)
    return lambda: lm.window_metrics(lm.open_log(connection), "1h", by=["feature_id", "model_id"])


CONTENDERS = {
    "llm_monitoring": ours, "duckdb_sql": sql, "duckdb_sql_whole": sql_whole, "polars": polars, "pandas": pandas,
    "spark": spark,
}  # fmt: skip


def contend(name: str, path: str, times: int) -> None:
    """Run one contender in this process and print what it took."""
    call, seconds = CONTENDERS[name](path), []
    for _ in range(times):
        started, used = time.perf_counter(), time.process_time()
        frame = call()
        seconds.append((time.perf_counter() - started, time.process_time() - used))
    frame = frame.sort_values(["window_start", "feature_id", "model_id"])
    sums = {column: float(frame[column].astype(float).sum()) for column in COMPARED}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    best = {"seconds": min(wall for wall, _ in seconds), "processor": min(used for _, used in seconds)}
    print(json.dumps({**best, "peak_mb": peak, "cells": len(frame), "sums": sums}))


def race(rows: int, names: list[str], times: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.parquet"
        generate(path, rows)
        found = {}
        for name in names:
            command = [sys.executable, __file__, "--contender", name, "--path", str(path), "--times", str(times)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name}: failed: {done.stderr.strip().splitlines()[-1]}")
                continue
            found[name] = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"{rows:,} requests, load {os.getloadavg()[0]:.1f}")
        print(f"{'':18}{'seconds':>9}{'we take':>9}{'processor':>11}{'we take':>9}{'peak MB':>9}{'cells':>9}")
        us = found["llm_monitoring"]
        for name, each in found.items():
            wall, used = us["seconds"] / each["seconds"], us["processor"] / each["processor"]
            print(
                f"{name:18}{each['seconds']:9.2f}{wall:9.2f}{each['processor']:11.2f}{used:9.2f}"
                f"{each['peak_mb']:9.0f}{each['cells']:9,}"
            )
        first = found["llm_monitoring"]["sums"]
        for name, each in found.items():
            apart = max(abs(each["sums"][column] / value - 1) for column, value in first.items())
            print(f"{name}: largest relative difference of a column's sum from ours {apart:.1e}")
            assert apart < 1e-9, (name, each["sums"], first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--curve", action="store_true", help="0.1, 1 and 10 million rows")
    parser.add_argument("--spark", action="store_true", help="the same call on Spark local[2]")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--path")
    given = parser.parse_args()
    if given.contender:
        contend(given.contender, given.path, given.times)
        return
    names = [
        "llm_monitoring",
        "duckdb_sql",
        "duckdb_sql_whole",
        *(["polars"] if importlib.util.find_spec("polars") else []),
        "pandas",
    ]
    for rows in [100_000, 1_000_000, 10_000_000] if given.curve else [given.rows]:
        race(rows, names + (["spark"] if given.spark else []), given.times)


if __name__ == "__main__":
    main()
