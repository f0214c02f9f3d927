"""Is a report what its inputs give? The incident run again beside it, and everything that differs named."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from llm_monitoring import addresses, disk
from llm_monitoring.alerts.plan import read_plan
from llm_monitoring.errors import Fault, LogError, quote
from llm_monitoring.reporting import folder as files
from llm_monitoring.reporting.case import kept_plan, open_case, read_log
from llm_monitoring.reporting.moments import of_earlier_runs
from llm_monitoring.reporting.notebooks import Kernels
from llm_monitoring.reporting.run import run_case, write_page
from llm_monitoring.results import Result, jsonable
from llm_monitoring.reviewing.verdicts import by_reader, read

if TYPE_CHECKING:
    import pandas as pd

    from llm_monitoring.log import Log

COLUMNS = ["kind", "where", "recorded", "now"]
ABSENT, UNREADABLE = "absent", "cannot be read"
NOT_FIGURES = (
    "log",
    "inputs",
    "parameters",
    "versions",
    "notices",
    "torn_verdicts",
)  # of incident.json: said as inputs, not as figures
SHOWN = 20


@dataclass(frozen=True, repr=False)
class Verification(Result):
    """What running a report again has shown.

    Attributes
    ----------
    same : bool
        Whether the inputs and every figure are those that were recorded.
    altered : list of dict
        kind (log, review, parameter, plan, notebook, history, figure, case or page), where, recorded, now.
    said : list of str
        What differs without altering a figure: versions of packages, a file that is not there any more.
    """

    folder: Path
    same: bool
    altered: list[dict[str, Any]]
    said: list[str]

    @property
    def headline(self) -> str:
        """Same or altered, and how much."""
        if self.same:
            return f"the same: {self.folder} run again gives every figure as it was recorded"
        kinds = [row["kind"] for row in self.altered]
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        return f"altered: {self.folder} run again does not give what was recorded ({counted})"

    @property
    def lines(self) -> list[str]:
        """One line for each thing that was altered, at most 20 of a kind, then what is only said."""
        told: list[str] = []
        for kind in dict.fromkeys(row["kind"] for row in self.altered):
            rows = [row for row in self.altered if row["kind"] == kind]
            told += [f"{kind} {row['where']}: {row['recorded']} recorded, {row['now']} now" for row in rows[:SHOWN]]
            if len(rows) > SHOWN:
                told.append(f"{kind}: {len(rows) - SHOWN:,} more")
        return [*told, *self.said]

    def to_frame(self) -> pd.DataFrame:
        """One row for each thing that was altered."""
        import pandas as pd

        return pd.DataFrame(self.altered, columns=COLUMNS)


def verify(folder: str | Path, log: Any = None, until: Any = None) -> Verification:
    """Run the incident of a report again, from what it recorded, and compare.

    Parameters
    ----------
    folder : path
        The incident folder.
    log : path, URL, dict of DataFrames or Log, optional
        Where the log is now; default where it was.
    until : time, optional
        Compare with the log as it was known then: for a log that has grown since.

    Returns
    -------
    Verification

    Raises
    ------
    LogError, ConfigError
        The folder holds no report that can be read, or the log is not there.

    Examples
    --------
    >>> verify("reports/20260519-support-flagged_rate").same     # doctest: +SKIP
    True
    """
    folder = Path(folder)
    recorded = _recorded(folder)
    altered = [*_altered_parameters(recorded), *_altered_reviews(recorded, folder)]
    if any(row["kind"] in ("parameter", "history") or row["now"] == UNREADABLE for row in altered):
        return Verification(folder, False, jsonable(altered), ["not run again: what to run is not what was recorded"])
    place = log if log is not None else _place(folder, recorded)
    try:
        when = files.read_time("until", until or recorded["parameters"]["until"])
        watched = read_plan(kept_plan(folder))
        opened = read_log(place, when, watched)
        opened.validate()
    except LogError as error:
        if log is not None or "://" in str(place):
            raise
        found = {
            "kind": "log",
            "where": addresses.masked(place),
            "recorded": "a log that could be read",
            "now": str(error),
        }
        return Verification(folder, False, [*jsonable(altered), found], ["not run again: the log cannot be read"])
    with TemporaryDirectory() as made, Kernels(address=addresses.whole(place)) as kernels:
        given = recorded["parameters"]
        case = open_case(
            opened, until=given["until"], alert=given["alert"], reviews=folder / "reviews.jsonl", plan=watched
        )
        case.reviews.attrs["torn"] = recorded.get("torn_verdicts", 0)
        again = Path(made) / folder.resolve().name
        disk.make_folder(again / "results")
        suite = str(Path(made) / "suite.jsonl") if given.get("suite") else ""  # never a line in the suite of people
        run_case(case, place, again, given, of_earlier_runs(recorded["known_when"]), kernels, until=when, suite=suite)
        write_page(again)
        now = files.load_result("incident", again)
        said = _said(recorded, now)
        altered += [*_altered_log(recorded, now, opened), *_altered_files(folder, again, pages=not said)]
    return Verification(folder, not altered, jsonable(altered), [*said, *_gone(recorded)])


def _recorded(folder: Path) -> dict[str, Any]:
    path = folder / "results" / "incident.json"
    if not path.is_file():
        remedy = "Name the folder of an incident, such as reports/20260519-support-flagged_rate"
        raise LogError(Fault("report", str(folder), expected="no results/incident.json in it", remedy=remedy))
    try:
        recorded = json.loads(path.read_text("utf-8"))
    except ValueError:
        recorded = None
    if not isinstance(recorded, dict) or not {"log", "inputs", "parameters", "versions", "known_when"} <= set(recorded):
        remedy = "A report of an earlier version has no fingerprints of its inputs: run report again with --force"
        raise LogError(Fault("report", str(path), expected="no record of an incident", remedy=remedy))
    return recorded


def _place(folder: Path, recorded: Mapping[str, Any]) -> Any:
    """Where the log was: as it was named, seen from here, else the path that was written down, else the copy beside."""
    path = recorded["log"]["path"]
    if path == "log":
        return folder / "log"
    named = recorded["parameters"].get("log")
    written = [addresses.whole(place) for place in (path, named) if place]
    places = [place for place in written if addresses.HIDDEN not in place]  # no password is written down
    found = [place for place in places if "://" in place or Path(place).exists()]
    if not found:
        remedy = f"Say where it is now: llm-monitoring report LOG --verify {folder}"
        raise LogError(Fault("log", str(path), expected="the log of this report is not there", remedy=remedy))
    return found[0]


def _said(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What came with another version of a package: its number, the plan and the notebooks that it ships."""
    told = []
    for what, then, is_ in zip(("version of", "shipped"), _shipped(recorded), _shipped(now)):
        for name in sorted({*then, *is_}):
            if then.get(name) != is_.get(name):
                told.append(f"{what} {name}: {then.get(name, ABSENT)} recorded, {is_.get(name, ABSENT)} now")
    return told


def _shipped(record: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    seals = {name: record["inputs"][name] for name in ("package", "plan")} | record["inputs"]["notebooks"]
    return record["versions"], {name: sealed[:12] for name, sealed in seals.items()}


def _gone(recorded: Mapping[str, Any]) -> list[str]:
    """Files of reviews that were named and are not there: the verdicts used stand in the folder."""
    named = recorded["parameters"].get("reviews")
    return (
        [f"reviews {named}: no longer there; the verdicts used are in the folder"]
        if named and not Path(named).exists()
        else []
    )


def _row(kind: str, where: str, recorded: Any, now: Any) -> dict[str, Any]:
    return {"kind": kind, "where": where, "recorded": recorded, "now": now}


def _altered_log(recorded: Mapping[str, Any], now: Mapping[str, Any], opened: Log) -> Iterator[dict[str, Any]]:
    then, is_ = recorded["log"]["tables"], now["log"]["tables"]
    for name in dict.fromkeys([*then, *is_]):
        if then.get(name) != is_.get(name):
            yield _row("log", name, _table(then.get(name)), _table(is_.get(name)) + _grown(recorded, opened, name))


def _altered_parameters(recorded: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Parameters, and moments that earlier runs recorded, that do not fit their seals."""
    given, seals = recorded["parameters"], recorded["inputs"]["parameters"]
    for name in dict.fromkeys([*seals, *given]):
        value = given.get(name, ABSENT)
        if seals.get(name) != files.seal(value):
            yield _row("parameter", name, _was(recorded, name), _short(value))
    earlier = [files.seal(row) for row in of_earlier_runs(recorded["known_when"])]
    for number, pair in enumerate(zip_longest(recorded["inputs"]["known_when"], earlier)):
        if pair[0] != pair[1]:
            yield _row("history", f"known_when[{number}]", *(ABSENT if one is None else one[:12] for one in pair))


def _table(table: Mapping[str, Any] | None) -> str:
    return ABSENT if table is None else f"{table['rows']:,} rows, SHA-256 {table['sha256'][:12]}"


def _grown(recorded: Mapping[str, Any], opened: Log, name: str) -> str:
    """Whether the rows that were known then are still the same: a log that only grew can be compared as of then."""
    moment, then = recorded["log"].get("known"), recorded["log"]["tables"].get(name)
    if moment is None or then is None:
        return ""
    held = files.fingerprint(opened.until(moment), "")["tables"].get(name)
    return f" (rows came since; those known by {moment} are the same: --until {moment})" if held == then else ""


def _was(recorded: Mapping[str, Any], name: str) -> str:
    """What a parameter was, where the record says it twice; else its seal."""
    twice = {
        "seed": recorded.get("seed"),
        "log": recorded["log"]["source"],
        "until": None,
        "alert": None,
        "reviews": None,
    }
    sealed = recorded["inputs"]["parameters"].get(name)
    if sealed is None:
        return ABSENT
    return _short(twice.get(name)) if files.seal(twice.get(name)) == sealed else f"another (SHA-256 {sealed[:12]})"


def _altered_reviews(recorded: Mapping[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """Verdicts that differ from the recorded ones: in the folder, and in the file that they came from."""
    named = recorded["parameters"].get("reviews")
    sealed = recorded["inputs"]["reviews"]
    when = files.read_time("until", recorded["parameters"].get("until"))
    for place in [folder / "reviews.jsonl", *([Path(named)] if named and Path(named).exists() else [])]:
        try:
            table = read(place)
        except LogError as error:
            yield _row("review", str(error), f"{sealed['rows']} verdicts", UNREADABLE)
            continue
        table = table if when is None else table[table["reviewed_at"] <= when]
        verdicts = by_reader(table)
        differ = [k for k in sorted({*sealed["verdicts"], *verdicts}) if sealed["verdicts"].get(k) != verdicts.get(k)]
        for key in differ:
            sides = (one.get(key, ABSENT) for one in (sealed["verdicts"], verdicts))
            yield _row("review", f"{key} in {place}", *sides)
        if not differ and files.hash_rows(table) != sealed["sha256"]:
            seals = (one[:12] for one in (sealed["sha256"], files.hash_rows(table)))
            yield _row("review", f"a note, score, reviewer or time in {place}", *seals)


def _altered_files(folder: Path, again: Path, pages: bool) -> Iterator[dict[str, Any]]:
    """Figures, cases and pages that running again does not give; pages only where all versions are those of then."""
    for path in sorted({p.relative_to(root) for root in (folder, again) for p in (root / "results").glob("*.json")}):
        was, now = _read(folder / path), _read(again / path)
        if path.name == "incident.json":
            was, now = ({k: v for k, v in one.items() if k not in NOT_FIGURES} for one in (was, now))
        for place, a, b in differences(was, now):
            yield _row("figure", f"{path.as_posix()} {place}".strip(), _short(a), _short(b))
    for number, (a, b) in enumerate(zip_longest(*(_lines(root / "eval_cases.jsonl") for root in (folder, again))), 1):
        if a != b:
            yield _row(
                "case", f"eval_cases.jsonl line {number}", *(ABSENT if one is None else _short(one) for one in (a, b))
            )
    for stage in files.STAGES:
        yield from _altered_notebook(folder / files.notebook_of(stage), again / files.notebook_of(stage), pages)
    if pages and _bytes(folder / "index.html") != _bytes(again / "index.html"):
        yield _row("page", "index.html", "another page", "the page that these results give")


def _altered_notebook(was: Path, now: Path, outputs: bool) -> Iterator[dict[str, Any]]:
    """Cells of an executed notebook that differ; their outputs count only where all versions are those of then."""
    if was.exists() != now.exists():
        yield _row("notebook", was.name, *("there" if path.exists() else ABSENT for path in (was, now)))
    elif was.exists():
        kept = ("cell_type", "source", "outputs") if outputs else ("cell_type", "source")
        sides = ([{key: cell.get(key) for key in kept} for cell in _cells(path)] for path in (was, now))
        for number, (a, b) in enumerate(zip_longest(*sides), 1):
            if a != b:
                what = "outputs" if a and b and a["source"] == b["source"] else "source"
                yield _row(
                    "notebook", f"{was.name} cell {number}", f"other {what}", f"the {what} that running it gives"
                )


def _cells(path: Path) -> list[dict[str, Any]]:
    try:
        return files.cells_of(path)
    except (ValueError, KeyError, TypeError, AttributeError):
        return [{"cell_type": "unreadable", "source": "", "outputs": None}]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError:
        return {}
    except ValueError:
        return {"": "no JSON"}


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8", "replace").splitlines() if path.exists() else []


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _short(value: Any) -> str:
    return quote(value if isinstance(value, str) else json.dumps(value))


def differences(was: Any, now: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ: path, value was, value now. Numbers that agree to nine places are the same.

    >>> list(differences({"a": [1, 2.0]}, {"a": [1, 2.5]}))
    [('a[1]', 2.0, 2.5)]
    """
    if isinstance(was, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*was, *now]):
            yield from differences(was.get(name, ABSENT), now.get(name, ABSENT), f"{place}.{name}" if place else name)
    elif isinstance(was, list) and isinstance(now, list):
        for number, (a, b) in enumerate(zip_longest(was, now, fillvalue=ABSENT)):
            yield from differences(a, b, f"{place}[{number}]")
    elif not _equal(was, now):
        yield place, was, now


def _equal(a: Any, b: Any) -> bool:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (a, b))
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) if numbers else type(a) is type(b) and a == b
