"""Figures of the judging pipeline against a fake server: throughput, kill -9, limits, budget, submit, coverage.

python benchmarks/judging.py            all, about two minutes
python benchmarks/judging.py throughput submit
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "judging")]

from fake_judge_server import FakeJudgeServer  # noqa: E402
from frames import judge_at, questions  # noqa: E402

from llm_monitoring.intervals import mean_t  # noqa: E402
from llm_monitoring.judging.background import BackgroundJudge  # noqa: E402
from llm_monitoring.judging.batch import judge_sample  # noqa: E402
from llm_monitoring.judging.prompt import messages  # noqa: E402
from llm_monitoring.judging.rubric import DEFAULT_RUBRIC  # noqa: E402
from llm_monitoring.judging.store import Store  # noqa: E402
from llm_monitoring.raters.agreeing import agreement  # noqa: E402
from llm_monitoring.raters.correcting import corrected_mean  # noqa: E402
from llm_monitoring.sampling import should_sample  # noqa: E402


def throughput(folder: Path, n: int = 1280, concurrency: int = 64, rounds: int = 3) -> None:
    """Answers a second with 0.1 s a call: bare asyncio HTTP, the SDK alone, the pipeline, in turn.

    The server is a process of its own. Beside the rates stands the client's processor time a call, which the load of
    the machine moves less.
    """
    requests = questions(n)
    with FakeJudgeServer(latency=0.1) as server:
        body = json.dumps({"model": "fake", "messages": messages(DEFAULT_RUBRIC, "q", "a"),
                           "response_format": {"json_schema": {"schema": DEFAULT_RUBRIC.answer_schema}}}).encode()  # fmt: skip
        judge_sample(questions(64), judge_at(server), rate=1, out=folder / "warm.db", concurrency=concurrency)
        for i in range(rounds):
            contestants = {
                "bare": lambda: asyncio.run(_bare(server, body, n, concurrency)),
                "openai SDK alone": lambda: asyncio.run(_sdk(server, n, concurrency)),
                "judge_sample": lambda i=i: judge_sample(
                    requests, judge_at(server), rate=1, out=folder / f"speed{i}.db", concurrency=concurrency
                ),
            }
            figures, bare = [], np.nan
            for name, act in contestants.items():
                used = time.process_time()
                rate = n / timed(act)
                bare = rate if name == "bare" else bare
                figures.append(
                    f"{name} {rate:.0f}/s ({rate / bare:.2f}; {(time.process_time() - used) / n * 1e3:.2f} ms)"
                )
            print(f"throughput, load {os.getloadavg()[0]:.1f}: {', '.join(figures)}; to reach .40 of bare")


async def _bare(server, body: bytes, n: int, concurrency: int) -> None:
    port = int(server.root.rsplit(":", 1)[1])
    left = iter(range(n))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(answer.lower().split("content-length: ")[1].split("\r\n")[0])
            json.loads(await reader.readexactly(length))
        writer.close()

    await asyncio.gather(*(work() for _ in range(concurrency)))


async def _sdk(server, n: int, concurrency: int) -> None:
    from openai import AsyncOpenAI

    left = iter(range(n))
    async with AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:

        async def work() -> None:
            for _ in left:
                await client.chat.completions.create(model="fake", messages=messages(DEFAULT_RUBRIC, "q", "a"))

        await asyncio.gather(*(work() for _ in range(concurrency)))


def kill(folder: Path, n: int = 400, concurrency: int = 32) -> None:
    """Kill -9 three times in the middle, then to the end."""
    code = (
        f"import sys; sys.path[:0] = {sys.path[:2]!r}\n"
        "from frames import questions; from llm_monitoring.judging.batch import judge_sample\n"
        "from llm_monitoring.judging.client import Judge\n"
        f"judge_sample(questions({n}), Judge('fake', base_url='URL', api_key='none'), rate=1, out={str(folder / 'k.db')!r},"
        f" concurrency={concurrency}, progress=False)"
    )
    with FakeJudgeServer(latency=0.2) as server:
        for share in (0.2, 0.5, 0.8, None):
            process = subprocess.Popen([sys.executable, "-c", code.replace("URL", server.base_url)])
            while share and process.poll() is None and server.stats()["calls"] < share * n:
                time.sleep(0.02)
            if share:
                process.send_signal(signal.SIGKILL)
            process.wait()
        asked = server.stats()["items"]
    with Store(folder / "k.db") as store:
        ids = store.judgements()["request_id"]
    print(f"kill -9 x 3: {n - len(ids)} lost, {len(ids) - ids.nunique()} double, "
          f"{sum(asked.values()) - n} paid twice (at most {3 * concurrency})")  # fmt: skip


def limits(folder: Path, n: int = 180) -> None:
    """Server limit unknown and told."""
    for name, rpm in (("unknown", None), ("told", 3600)):
        with FakeJudgeServer(limit_per_s=60, burst=3 if rpm else 10) as server:
            started = time.perf_counter()
            judge_sample(questions(n), judge_at(server), rate=1, out=folder / f"{name}.db", concurrency=32, rpm=rpm)
            seconds = time.perf_counter() - started
            stats = server.stats()
        print(f"limit {name}: {stats['answered']} of {n} answered, {stats['refused']} x 429, {seconds:.1f} s")


def budget(folder: Path, cap: float = 0.1) -> None:
    """A cap in USD over three starts."""
    with FakeJudgeServer() as server:
        for _ in range(3):
            judge_sample(questions(600), judge_at(server), rate=1, out=folder / "b.db", budget_usd=cap)
            with Store(folder / "b.db") as store:
                print(f"budget: {store.spent_usd():.5f} of {cap} USD", end="; ")
    print()


def submit(folder: Path, n: int = 20_000, rounds: int = 3) -> None:
    """Time of `submit` while the judge hangs; beside it, in turn, the same number of bare hashes.

    Where other processes want the processors, both lose them for some milliseconds now and then; the thread's own
    processor time does not count that.
    """
    with FakeJudgeServer(mode="hang") as server:
        for part in range(rounds):
            out = folder / f"s{part}.db"
            background = BackgroundJudge(judge_at(server, timeout_s=60), rate=1, out=out, queue_size=500)
            time.sleep(1)
            acts = {
                "submit": lambda i, to=background: to.submit(
                    request_id=f"r{i}", feature_id="f", user_input="q", system_output="a"
                ),
                "a hash alone": lambda i: should_sample(f"r{i}", 1),
                "submit, processor time": lambda i, to=background: to.submit(
                    request_id=f"p{i}", feature_id="f", user_input="q", system_output="a"
                ),
            }
            print(f"load {os.getloadavg()[0]:.1f}", end="")
            for name, act in acts.items():
                clock = time.thread_time if "processor" in name else time.perf_counter
                times = np.empty(n)
                for i in range(n):
                    start = clock()
                    act(i)
                    times[i] = clock() - start
                p50, p999 = np.quantile(times, [0.5, 0.999])
                print(f"; {name}: p50 {p50 * 1e6:.1f} us, p99.9 {p999 * 1e3:.2f} ms", end="")
            print(f"; {background.stats()}")
            background.close(0.1)


def coverage(_: Path, repetitions: int = 1000) -> None:
    """Coverage, width and bias of the corrected mean, simulated and on real labels."""
    rng = np.random.default_rng(11)
    people = np.clip(np.round(rng.normal(3.6, 1.0, 1200)), 1, 5)
    judge = np.clip(np.round(4.2 + 0.9 * (people - 3.6) + rng.normal(0, 0.6, 1200)), 1, 5)
    cases = {"simulated": (judge, people)}
    data = ROOT.parent / "shared" / "data" / "judge_agreement"
    if data.exists():
        labels = pd.read_parquet(data / "human_labels.parquet").query("dimension == 'Q0' and source == 'real'")
        scores = pd.read_parquet(data / "judge_scores.parquet").query("dimension == 'Q0' and source == 'real'")
        both = labels.merge(scores, on="item_id")
        cases["real Q0"] = both["judge_expected"].to_numpy(), both["human_score"].to_numpy(float)
    for name, (f, y) in cases.items():
        for n in (20, 50, 150):
            found = []
            for _ in range(repetitions):
                k = rng.choice(len(y), n, replace=False)
                c = corrected_mean(f, f[k], y[k])
                wide = (c.high - c.low) / (c.labels_high - c.labels_low)
                found.append((c.low <= y.mean() <= c.high, wide, c.estimate - y.mean()))
            cover, width, bias = np.mean(found, axis=0)
            print(
                f"corrected mean, {name}, {n} labels: cover {cover:.3f}, width {width:.2f} of the labels, bias {bias:+.3f}"
            )


def people(_: Path, labels: int = 60, seed: int = 0) -> None:
    """The table of docs/raters.md: what a raw judge would have claimed, question by question."""
    data = ROOT.parent / "shared" / "data" / "judge_agreement"
    humans = pd.read_parquet(data / "human_labels.parquet").groupby(["source", "dimension", "item_id"])["human_score"]
    scores = pd.read_parquet(data / "judge_scores.parquet").set_index(["source", "dimension", "item_id"])
    both = scores.join(humans.mean(), how="inner").dropna(subset=["judge_score", "human_score"])
    for (source, dimension), rows in both.groupby(level=["source", "dimension"]):
        judge, human = rows["judge_score"].to_numpy(float), rows["human_score"].to_numpy(float)
        bias = mean_t(judge - human)
        found = agreement(np.floor(human + 0.5), judge, labels=[1, 2, 3, 4])
        drawn = np.random.default_rng(seed).choice(len(rows), labels, replace=False)
        mean = corrected_mean(judge, judge[drawn], human[drawn])
        print(f"| {source} {dimension} | {len(rows)} | {human.mean():.2f} | {judge.mean():.2f} "
              f"| {bias.estimate:+.2f} ({bias.low:+.2f} to {bias.high:+.2f}) "
              f"| {found.weighted_kappa:.2f} ({found.weighted_kappa_low:.2f} to {found.weighted_kappa_high:.2f}) "
              f"| {mean.estimate:.2f} ({mean.low:.2f} to {mean.high:.2f}) | {'yes' if mean.informative else 'no'} |")  # fmt: skip


def timed(act) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


if __name__ == "__main__":
    parts = {act.__name__: act for act in (throughput, kill, limits, budget, submit, coverage, people)}
    with tempfile.TemporaryDirectory() as place:
        for part in sys.argv[1:] or parts:
            parts[part](Path(place))
