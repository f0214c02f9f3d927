"""Where judgements are kept: one SQLite file, one row per request, judge and rubric. No calls, no sampling.

The file is in WAL mode; a row is written before the next item is taken, so a killed process loses nothing but the
calls in flight. What a call may cost is taken from the purse before it, and put right after it.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_monitoring import disk
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.judging.asking import Outcome, judgement
from llm_monitoring.judging.client import Item
from llm_monitoring.judging.prompt import input_hash, prompt_hash

if TYPE_CHECKING:
    import pandas as pd

TABLES = """
create table if not exists judgement (
    request_id text not null, judge_model text not null, rubric_version text not null, feature_id text,
    status text not null, quality_score real, dimensions text not null, flagged integer not null, flag_reason text,
    reason text, error_kind text, error text, attempts integer not null, cost_usd real, inclusion_probability real,
    reported_model text, fingerprint text, prompt_hash text not null, input_hash text not null, judged_at text not null,
    run_id text not null, minute integer, scale text, unwrapped text,
    primary key (request_id, judge_model, rubric_version)) without rowid;
create table if not exists claim (
    request_id text not null, judge_model text not null, rubric_version text not null, run_id text not null,
    primary key (request_id, judge_model, rubric_version)) without rowid;
create table if not exists run (
    run_id text primary key, host text, pid integer, settings text, started real, seen real, ended real, stopped text);
create table if not exists spend (at real, run_id text, request_id text, usd real, estimated integer);
create table if not exists purse (
    one integer primary key check (one = 1), committed real not null, scale real not null, known integer not null);
create table if not exists intake (
    run_id text not null, minute integer not null, offered integer not null, taken integer not null,
    primary key (run_id, minute)) without rowid;
insert or ignore into purse values (1, 0, 1, 0);
"""
COLUMNS = [
    "request_id",
    "feature_id",
    "quality_score",
    "dimensions",
    "flagged",
    "flag_reason",
    "judged_at",
    "judge_model",
    "rubric_version",
    "status",
    "scale",
    "error",
    "inclusion_probability",
    "cost_usd",
]
WRITTEN = (
    "request_id, judge_model, rubric_version, feature_id, status, quality_score, dimensions, flagged, flag_reason, reason, "
    "error_kind, error, attempts, cost_usd, inclusion_probability, reported_model, fingerprint, prompt_hash, input_hash, "
    "judged_at, run_id, minute, scale, unwrapped"
)
RETRIED = (
    "timeout",
    "connection",
    "bad_response",
    "rate_limited",
    "http_408",
    "http_409",
    "http_425",
    "http_5%",
    "judge_error",
)
ALWAYS_AGAIN = (
    "http_401",
    "http_403",
    "http_404",
    "quota",
    "rate_limited",
    "redaction",
)  # the run's fault, not the item's
DEAD_AFTER = 120.0  # seconds without a sign of life


class Store:
    """One file of judgements, open in one process; several processes may have it open at once.

    Parameters
    ----------
    path : str or Path
        Made where it is missing, with its folder.
    run_id : str, optional
        To go on as a run that was started before.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "judgements.db") as store:
    ...     store.spent_usd(), len(store.judgements())
    (0.0, 0)
    """

    def __init__(self, path: str | Path, run_id: str | None = None):
        self.path = Path(path)
        self.run_id = run_id or uuid.uuid4().hex
        self._lock = threading.RLock()  # one connection: a thread's transaction is its own until it ends
        self._prompt: tuple[Any, str] | None = None
        self._signs: dict[
            str, tuple[float, float]
        ] = {}  # of other runs: the last sign of life, and when it was first met
        try:
            disk.make_folder(self.path.parent)
            os.close(disk.open_private(self.path, os.O_RDWR | os.O_CREAT))  # SQLite's own files beside it get its mode
            self.db = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.OperationalError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"{self.path}: {why}; expected the name of a file that may be written") from None
        try:
            self.db.execute("pragma journal_mode=wal")
            self.db.execute("pragma synchronous=normal")
            with self.writing():
                for statement in TABLES.strip().split(";\n"):
                    self.db.execute(statement)
                known = {row[1] for row in self.db.execute("pragma table_info(judgement)")}
                for name in {"scale", "unwrapped"} - known:  # a file of an earlier version
                    self.db.execute(f"alter table judgement add column {name} text")
        except sqlite3.DatabaseError as error:
            self.db.close()
            written = "that may be written" if isinstance(error, sqlite3.OperationalError) else "or none yet"
            raise ConfigError(f"{self.path}: {error}; expected a file of judgements, {written}") from None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was written stays."""
        self.db.close()

    @contextmanager
    def writing(self) -> Iterator[Store]:
        """One transaction for all that is written inside; a part of the one that this thread has open, if any.

        Another thread waits until it has ended.
        """
        with self._lock:
            if self.db.in_transaction:
                yield self
                return
            self.db.execute("begin immediate")
            try:
                yield self
                self.db.execute("commit")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("rollback")
                raise

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple]:
        with self._lock:
            return self.db.execute(query, values).fetchall()

    # one run

    def start_run(self, settings: dict[str, Any]) -> None:
        """Sign in, so that others can tell whether this run's claims still stand."""
        row = (self.run_id, socket.gethostname(), os.getpid(), json.dumps(settings, default=str))
        with self.writing():
            self.db.execute(
                "insert or replace into run values (?, ?, ?, ?, ?, ?, null, null)", (*row, time.time(), time.time())
            )

    def still_here(self) -> None:
        """A sign of life."""
        with self.writing():
            self.db.execute("update run set seen = ? where run_id = ?", (time.time(), self.run_id))

    def end_run(self, stopped: str | None) -> None:
        """Sign out and let go of what is claimed."""
        with self.writing():
            self.db.execute("delete from claim where run_id = ?", (self.run_id,))
            self.db.execute(
                "update run set ended = ?, stopped = ? where run_id = ?", (time.time(), stopped, self.run_id)
            )

    def free_dead_claims(self) -> None:
        """Let go of what ended, killed or silent runs had claimed."""
        runs = self._read(
            "select run_id, host, pid, seen, ended from run where run_id in (select distinct run_id from claim)"
        )
        dead = [run_id for run_id, *signs in runs if run_id != self.run_id and not self._alive(run_id, *signs)]
        with self.writing():
            self.db.executemany("delete from claim where run_id = ?", [(run_id,) for run_id in dead])

    def _alive(self, run_id: str, host: str, pid: int, seen: float, ended: float | None) -> bool:
        """Whether a run goes on. A sign of life from after now (a clock went back) counts for as long as it changes."""
        now = time.monotonic()
        if self._signs.get(run_id, (None, 0.0))[0] != seen:
            self._signs[run_id] = (seen, now)
        silent = max(time.time() - seen, now - self._signs[run_id][1])
        if ended is not None or silent > DEAD_AFTER:
            return False
        if host != socket.gethostname():
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    # what is to be done

    def check_prompt(self, judge: Any) -> None:
        """Refuse a rubric that was edited under its old version: its scores would be mixed with the old ones."""
        known = self._read("select prompt_hash from judgement where rubric_version = ? limit 1", (judge.rubric.label,))
        if known and known[0][0] != prompt_hash(judge.rubric):
            raise ConfigError(
                f"{self.path}: rubric {quote(judge.rubric.label)} was worded differently when its judgements in this "
                "file were made. Give the new wording a version of its own: Rubric(version=...)"
            )

    def pending(self, ids: Iterable[str], judge: Any, retry_failed: bool = False) -> list[str]:
        """Those of the ids that have no final judgement, in their order."""
        kinds = (*ALWAYS_AGAIN, *(RETRIED if retry_failed else ()))
        again = " or ".join("error_kind like ?" for _ in kinds)
        final = {
            row[0]
            for row in self._read(
                f"select request_id from judgement where judge_model = ? and rubric_version = ? "
                f"and not (status = 'failed' and ({again}))",
                (judge.model, judge.rubric.label, *kinds),
            )
        }
        return [request_id for request_id in ids if request_id not in final]

    def is_final(self, request_id: str, judge: Any, retry_failed: bool = False) -> bool:
        """Whether the item has a judgement that is not to be tried again."""
        rows = self._read(
            "select status, error_kind from judgement where request_id = ? and judge_model = ? and rubric_version = ?",
            (request_id, judge.model, judge.rubric.label),
        )
        if not rows or rows[0][0] == "ok":
            return bool(rows)
        row = rows[0]
        passing = row[1].startswith("http_5") or row[1] in RETRIED
        return not (row[1] in ALWAYS_AGAIN or (retry_failed and passing))

    def claim(self, request_id: str, judge: Any) -> bool:
        """Take an item, unless another run has it."""
        key = (request_id, judge.model, judge.rubric.label)
        with self.writing():
            done = self.db.execute("insert or ignore into claim values (?, ?, ?, ?)", (*key, self.run_id))
        return done.rowcount == 1

    def take(self, request_id: str, judge: Any, retry_failed: bool = False) -> bool:
        """Claim an item that nobody else has claimed, and that has no final judgement."""
        with self.writing():
            if not self.claim(request_id, judge):
                return False
            if self.is_final(request_id, judge, retry_failed):
                self.release(request_id, judge)
                return False
            return True

    def release(self, request_id: str, judge: Any) -> None:
        """Give an item back."""
        key = (request_id, judge.model, judge.rubric.label)
        with self.writing():
            self.db.execute(
                "delete from claim where request_id = ? and judge_model = ? and rubric_version = ? and run_id = ?",
                (*key, self.run_id),
            )

    # money

    def reserve(self, worst_usd: float, budget_usd: float | None) -> float | None:
        """Set the worst case of one call aside; None where the budget does not hold it."""
        with self.writing():
            scale = self.db.execute("select scale from purse").fetchone()[0]
            worst = worst_usd * scale
            done = self.db.execute(
                "update purse set committed = committed + ? where ? is null or committed + ? <= ?",
                (worst, budget_usd, worst, budget_usd),
            )
        return worst if done.rowcount else None

    def settle(self, request_id: str, reserved: float, usd: float | None) -> None:
        """Put the true cost in the place of what was set aside; where it is unknown the worst case stands."""
        paid = reserved if usd is None else usd
        with self.writing():
            self.db.execute(
                "update purse set committed = committed + ?, known = max(known, ?), "
                "scale = case when ? > ? and ? > 0 then max(scale, scale * ? / ?) else scale end",
                (paid - reserved, usd is not None and usd > 0, paid, reserved, reserved, paid, reserved),
            )
            self.db.execute(
                "insert into spend values (?, ?, ?, ?, ?)", (time.time(), self.run_id, request_id, paid, usd is None)
            )

    def spent_usd(self) -> float:
        """All that this file ever spent, calls in flight and lost ones at their worst case."""
        return float(self._read("select committed from purse")[0][0])

    def knows_costs(self) -> bool:
        """Whether a call's true cost has been seen, so that the worst case is known to be one."""
        return bool(self._read("select known from purse")[0][0])

    # judgements

    def record(
        self, outcome: Outcome, judge: Any, inclusion_probability: float | None, minute: int | None = None
    ) -> None:
        """Write one outcome and let go of its item."""
        found, item = judgement(outcome, judge), outcome.item
        cost_usd = None if getattr(judge, "assumed_prices", False) else outcome.cost_usd
        row = (
            *(item.request_id, judge.model, judge.rubric.label, item.feature_id, found.status, found.quality_score),
            *(json.dumps(found.dimensions), found.flagged, found.flag_reason, outcome.answer.reason),
            *(outcome.answer.error_kind, found.error, outcome.attempts, cost_usd, inclusion_probability),
            *(outcome.model, outcome.fingerprint, self._prompt_hash(judge.rubric), _input_hash(item), found.judged_at),
            *(self.run_id, minute, judge.rubric.scale_label, outcome.answer.unwrapped),
        )
        places = ", ".join("?" * len(row))
        with self.writing():
            self.db.execute(f"insert or replace into judgement ({WRITTEN}) values ({places})", _storable(row))
            self.release(item.request_id, judge)

    def _prompt_hash(self, rubric: Any) -> str:
        if self._prompt is None or self._prompt[0] is not rubric:
            self._prompt = rubric, prompt_hash(rubric)
        return self._prompt[1]

    def count_intake(self, minute: int, offered: int, taken: int) -> None:
        """What a serving process offered and what the queue took, by minute (since 1970)."""
        with self.writing():
            self.db.execute(
                "insert into intake values (?, ?, ?, ?) on conflict (run_id, minute) "
                "do update set offered = excluded.offered, taken = excluded.taken",
                (self.run_id, minute, offered, taken),
            )

    def judgements(self, ids: Sequence[str] | None = None, judge: Any = None) -> pd.DataFrame:
        """The judgements as the log's table, in the order of their ids.

        Parameters
        ----------
        ids : sequence of str, optional
            Only these requests.
        judge : Judge, optional
            Only what this judge with this rubric found.

        Returns
        -------
        DataFrame
            Columns of the `judgements` table. `inclusion_probability` of rows from a serving process is the sampling
            rate times the share of the minute's sampled requests that was judged and not dropped. In
            ``.attrs["unwrapped"]`` how many answers came in a code fence or after thinking, by what was taken off.
        """
        import pandas as pd

        where = " where j.judge_model = ? and j.rubric_version = ?" if judge else ""
        rows = self._read(
            "with judged as (select run_id, minute, count(*) as n from judgement where minute is not null group by 1, 2)"
            f" select {', '.join(f'j.{name}' for name in [*COLUMNS, 'unwrapped'])}, judged.n, intake.offered from judgement j "
            "left join judged on judged.run_id = j.run_id and judged.minute = j.minute "
            f"left join intake on intake.run_id = j.run_id and intake.minute = j.minute{where} order by j.request_id",
            (judge.model, judge.rubric.label) if judge else (),
        )
        if ids is not None:
            wanted = set(ids)
            rows = [row for row in rows if row[0] in wanted]
        frame = pd.DataFrame.from_records(rows, columns=[*COLUMNS, "unwrapped", "n", "offered"])
        unwrapped = frame.pop("unwrapped").dropna()
        frame["scale"] = frame["scale"].fillna("1..5")  # rows of an earlier version
        kept = (frame.pop("n").astype(float) / frame.pop("offered").astype(float)).clip(upper=1).fillna(1.0)
        frame["inclusion_probability"] = frame["inclusion_probability"].astype(float) * kept
        frame["dimensions"] = [json.loads(text) for text in frame["dimensions"]]
        frame["flagged"] = frame["flagged"].astype(bool)
        frame["judged_at"] = pd.to_datetime(frame["judged_at"], utc=True, format="ISO8601")
        for name in ("quality_score", "cost_usd"):
            frame[name] = frame[name].astype(float)
        frame.attrs["unwrapped"] = {str(what): int(n) for what, n in unwrapped.value_counts().items()}
        return frame


def export(path: str | Path, out: str | Path) -> Path:
    """Write the judgements of a store as a table of the log.

    Parameters
    ----------
    path : str or Path
        The SQLite file.
    out : str or Path
        ``.parquet``, ``.jsonl`` or ``.csv``; in a log's folder it is named ``judgements.parquet`` or so.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ConfigError
        Where the file is missing or the ending is another.
    """
    if not Path(path).is_file():
        raise ConfigError(f"{path}: no such file; expected the file that judge_sample wrote")
    with Store(path) as store:
        frame = store.judgements()
    target = Path(out)
    if target.suffix != ".jsonl":
        frame["dimensions"] = [json.dumps(dimensions) for dimensions in frame["dimensions"]]
    if target.suffix not in (".parquet", ".jsonl", ".csv"):
        raise ConfigError(f"{out}: expected a name that ends in .parquet, .jsonl or .csv")
    with disk.replacing(target) as part:
        if target.suffix == ".parquet":
            frame.to_parquet(part, index=False)
        elif target.suffix == ".jsonl":
            frame.to_json(part, orient="records", lines=True, date_format="iso", date_unit="us")
        else:
            frame.to_csv(part, index=False)
    return target


def _input_hash(item: Item) -> str:
    return input_hash(str(item.user_input), str(item.system_output))


def _storable(row: Iterable[Any]) -> list[Any]:
    """Texts with lone surrogates cannot be stored as UTF-8."""
    return [value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for value in row]
