"""What `llm-monitoring probe`, `pins` and `promote` do: lines and an exit code out. Runs are kept in the folder of a log."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from llm_monitoring import disk
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.judging.client import Judge
from llm_monitoring.probes.comparison import ProbeComparison, compare_probes
from llm_monitoring.probes.discovery import discover_border_probes
from llm_monitoring.probes.pins import unpinned_models
from llm_monitoring.probes.power import detectable_shifts, power_lines
from llm_monitoring.probes.promotion import compare_versions
from llm_monitoring.probes.running import run_probes
from llm_monitoring.probes.suite import load_probes, shipped_probes, write_probes
from llm_monitoring.results import jsonable
from llm_monitoring.windows import width
from llm_monitoring.wording import one_line

if TYPE_CHECKING:
    import pandas as pd

NOTHING, FOUND, UNMEASURED = 0, 1, 3
TABLE = "probe_results"


def probe_model(
    log: str,
    *,
    model: str,
    suite: str | None,
    if_due: str | None,
    base_url: str | None,
    discover: int | None,
    budget_calls: int,
    out: str | None,
    tolerance: float,
    alpha: float,
    timeout: float,
    concurrency: int,
) -> tuple[list[str], int]:
    """Run a suite on a model, keep the answers in the log, and compare them with the model's earlier runs.

    Returns
    -------
    lines : list of str
    code : int
        0 nothing found, 1 the model changed, 3 nothing could be measured.
    """
    client = Judge(model, base_url=base_url, timeout_s=timeout)
    if discover is not None:
        return _discover(client, discover, budget_calls, out, timeout, concurrency)
    probes = load_probes(suite) if suite else shipped_probes()
    known = _earlier(Path(log), model, {probe.probe_id for probe in probes})
    wait = _not_due(known, if_due)
    if wait:
        return [wait], NOTHING
    place = _place_of_run(Path(log))
    run = run_probes(probes, client, model_id=model, timeout_s=timeout, concurrency=concurrency)
    lines = [*_run_lines(run), f"kept in {_keep(run, place)}"]
    if not run["output"].notna().any():
        return [*lines, f"{model}: no answer to any probe"], UNMEASURED
    if not len(known):
        return [*lines, f"{model}: the first run of these probes; later runs are compared with it"], NOTHING
    import pandas as pd

    both = pd.concat([known, run.assign(now=True)], ignore_index=True)
    now = both["now"].eq(True).to_numpy()
    found = compare_probes(both, ~now, now, alpha=alpha, tolerance=tolerance)
    seen = power_lines(detectable_shifts(both))
    return [*lines, *_found_lines(model, found), *seen], _code(found)


def _code(found: ProbeComparison) -> int:
    return {"changed": FOUND, "unchanged": NOTHING}.get(found.verdict, UNMEASURED)


def _found_lines(model: str, found: ProbeComparison) -> list[str]:
    lines = [f"{one_line(model, 80)}: {found.headline}"]
    for word, names in (("lost", found.lost), ("won", found.won)):
        lines += [f"{word}: {', '.join(one_line(name) for name in names)}"] if names else []
    return lines


def _run_lines(run: pd.DataFrame) -> list[str]:
    passed = run.loc[run["kind"] != "border", "passed"]
    border = run.loc[run["kind"] == "border", "output"]
    lines = []
    if len(passed):
        lines.append(
            f"{int(passed.sum()):,} of {len(passed):,} answers pass, {int(passed.isna().sum()):,} could not be measured"
        )
    if len(border):
        lines.append(f"{int(border.notna().sum()):,} of {len(border):,} calls to border probes were answered")
    silent = run[run["output"].isna()]
    for reason, n in silent["detail"].value_counts().head(3).items():
        lines.append(f"no answer: {n:,} {one_line(reason, 160)}")
    return lines


def _not_due(known: pd.DataFrame, if_due: str | None) -> str | None:
    if if_due is None:
        return None
    span = width(if_due)
    answered = known[known["output"].notna()]
    if not len(answered):
        return None
    last = answered["run_at"].max()
    due = last + span
    if due <= datetime.now(UTC):
        return None
    return f"not due: the last run was {last:%Y-%m-%d %H:%M} UTC, the next is due {due:%Y-%m-%d %H:%M} UTC"


def _earlier(folder: Path, model: str, probes: set[str]) -> pd.DataFrame:
    """The model's earlier answers to these probes, as the log holds them."""
    import pandas as pd

    from llm_monitoring.log import open_log

    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--log {quote(str(folder))}: a file; expected the folder of a log")
    if _place(folder) is None:
        return pd.DataFrame(columns=["probe_id", "run_at", "model_id", "input", "output", "passed"])
    results = open_log(folder).probe_results
    return results[(results["model_id"] == model) & results["probe_id"].isin(probes)]


def _place(folder: Path) -> Path | None:
    """The file or folder of a log that holds its probe results."""
    from llm_monitoring.datafiles import FORMATS

    if not folder.is_dir():
        return None
    named = [place for place in sorted(folder.iterdir()) if place.name.split(".")[0] == TABLE]
    return next((p for p in named if (p.is_dir() and any(p.iterdir())) or set(p.suffixes) & set(FORMATS)), None)


def _place_of_run(folder: Path) -> Path:
    """Where a run is added to the log, found before a call is paid: its JSON Lines file, or a new file where the table is a folder."""
    place = _place(folder) or folder / f"{TABLE}.jsonl"
    if place.is_dir():
        place = place / f"probes-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.jsonl"
    if place.suffix not in (".jsonl", ".ndjson"):
        raise ConfigError(
            f"{place}: nothing can be added to a {place.suffix} file. Move it into a folder {TABLE}/, or name another --log"
        )
    disk.make_folder(place.parent)
    return place


def _keep(run: pd.DataFrame, place: Path) -> Path:
    """Add the run to the file, in one write at its end."""
    table = run.drop(columns=["repeat"]).astype(object)
    text = "".join(json.dumps(row) + "\n" for row in jsonable(table.where(table.notna(), None)))
    with disk.appending(place) as file:
        size = os.fstat(file).st_size
        torn = size and os.pread(file, 1, size - 1) != b"\n"
        disk.append(file, ("\n" * bool(torn) + text).encode(), sync=True)
    return place


def _discover(
    client: Judge, n: int, budget_calls: int, out: str | None, timeout: float, concurrency: int
) -> tuple[list[str], int]:
    if out is None:
        raise ConfigError("--discover: expected --out FILE, where the suite is written (.yaml or .jsonl)")
    if Path(out).suffix not in (".yaml", ".yml", ".jsonl"):
        raise ConfigError(f"--out {quote(out)}: expected a name that ends in .yaml, .yml or .jsonl")
    found = discover_border_probes(client, n, budget_calls, timeout_s=timeout, concurrency=concurrency)
    lines = [f"{found.calls:,} calls, {found.candidates:,} candidates, {found.unanswered:,} calls without an answer"]
    if found.reason:
        lines.append(f"no answer: {one_line(found.reason, 160)}")
    if not found.probes:
        return [*lines, "no border probe was found; give a larger --budget-calls"], UNMEASURED
    write_probes(found.probes, out)
    missing = f" of {n:,} wanted: the budget is spent" if len(found.probes) < n else ""
    return [*lines, f"{len(found.probes):,} border probes{missing}", out], NOTHING


def find_pins(paths: list[str], as_json: bool = False) -> tuple[list[str], int]:
    """Name the model ids in logs and files that are not pinned.

    Returns
    -------
    lines : list of str
    code : int
        0 all are pinned, 1 an alias or an unknown id stands somewhere, 3 no model id was found at all.
    """
    found = unpinned_models(paths)
    if as_json:
        return [json.dumps(row) for row in jsonable(found)], FOUND if len(found) else NOTHING
    lines = []
    for row in jsonable(found.sort_values(["found_in", "model_id"], kind="stable")):
        if row["status"] == "unknown":
            lines.append(f"{row['found_in']}: {one_line(row['model_id'], 80)} is unknown: {row['why']}")
        else:
            form = f"; pin it: {row['pinned_form']}" if row["pinned_form"] else ""
            told = f"{row['why']} ({row['source']}, {row['as_of']})"
            lines.append(
                f"{row['found_in']}: {one_line(row['model_id'], 80)} is an alias of {row['provider']}{form}; {told}"
            )
    seen = found.attrs["seen"]
    if not seen:
        return ["no model id of a known shape was found"], UNMEASURED
    ids = f"{seen:,} model {'id' if seen == 1 else 'ids'}"
    loose = found["model_id"].nunique()
    return [*lines, f"{ids}, {loose:,} not pinned"], FOUND if loose else NOTHING


def promote_model(
    cases: str,
    *,
    old: str,
    new: str,
    margin: float,
    alpha: float,
    judge_model: str | None,
    rubric: str | None,
    base_url: str | None,
    seed: int,
    timeout: float,
    concurrency: int,
) -> tuple[list[str], int]:
    """Compare two models on an eval suite.

    Returns
    -------
    lines : list of str
    code : int
        0 promote, 1 hold, 3 not enough cases or nothing could be measured.
    """
    from llm_monitoring.judging.rubric import DEFAULT_RUBRIC, Rubric

    given = Rubric.from_yaml(Path(rubric)) if rubric else DEFAULT_RUBRIC
    judge = Judge(judge_model, rubric=given, base_url=base_url, timeout_s=timeout) if judge_model else None
    before, after = (Judge(name, base_url=base_url, timeout_s=timeout) for name in (old, new))
    found = compare_versions(
        cases, before, after, judge, margin, alpha, seed, timeout_s=timeout, concurrency=concurrency
    )
    lines = [found.headline]
    for word, names in (("lost", found.lost), ("won", found.won)):
        lines += [f"{word}: {', '.join(one_line(name) for name in names[:20])}"] if names else []
    return lines, {"promote": NOTHING, "hold": FOUND}.get(found.verdict, UNMEASURED)
