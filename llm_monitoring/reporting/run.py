"""A log in, an incident folder out: the stage notebooks executed, their results told on one page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_monitoring import addresses, disk, frames
from llm_monitoring.alerts.plan import Plan, open_with, plan_text, read_plan
from llm_monitoring.errors import LogError
from llm_monitoring.incident.learn import check_override
from llm_monitoring.incident.probes import probes_since
from llm_monitoring.log import Log, LogLike
from llm_monitoring.measures import as_table
from llm_monitoring.reporting import folder as files
from llm_monitoring.reporting import writing
from llm_monitoring.reporting.case import PLAN, Case, find_log, open_case, read_log
from llm_monitoring.reporting.moments import add_moments, earlier_moments, known_before, known_now, of_earlier_runs
from llm_monitoring.reporting.notebooks import Failure, Kernels, execute, notebooks_folder
from llm_monitoring.reporting.steps import Steps
from llm_monitoring.results import Result, iso, jsonable
from llm_monitoring.reviewing import verdicts
from llm_monitoring.schema import TABLES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Report(Result):
    """Where a report stands, and its first sentence.

    Attributes
    ----------
    path : Path
        The page.
    folder : Path
        The incident folder around it.
    sentence : str
        What the page says first.
    stages : dict
        Stage -> done, failed or not run.
    failure : str or None
        Which stage stopped, in which cell, with which error.
    notices : list of str
        What the log and the file of verdicts say about themselves; the page holds them too.
    """

    path: Path
    folder: Path
    sentence: str
    stages: dict[str, str]
    failure: str | None = None
    notices: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        """The first sentence of the page."""
        return self.sentence

    def to_frame(self) -> pd.DataFrame:
        """One row per stage: what became of it, and its notebook."""
        import pandas as pd

        rows = [(stage, state, files.notebook_of(stage)) for stage, state in self.stages.items()]
        return pd.DataFrame(rows, columns=["stage", "state", "notebook"])

    def _repr_html_(self) -> str:
        link = escape(self.path.as_posix(), quote=True)
        return f'<p><b>{escape(self.sentence)}</b></p><p><a href="{link}">{link}</a></p>'


def report(
    log: LogLike | None, alert: Any = None, out: str | Path = "reports", until: Any = None, reviews: Any = None,
    force: bool = False, isolated: bool = False, seed: int = 0, progress: bool = True, suite: Any = None,
    override: Mapping[str, str] | None = None, plan: Any = None,
) -> Report:  # fmt: skip
    """Run the five stages on an alert of a log and write an incident folder with one page.

    The folder is written beside its place and put there at the end, so that a run that fails or is killed leaves what
    stood there. A run in which a stage stops goes to ``<incident_id>.failed`` where a finished report stands. New files
    are readable by their owner alone, or by the group of a folder that is open to one.

    Parameters
    ----------
    log : path, URL, dict of DataFrames or Log
        What `open_log` takes.
    alert : str or dict, optional
        An `alert_id` of `check`, or an alert. Default: the most severe, then the earliest alert of the quality layer,
        then of cost, then of infrastructure; the page lists the others.
    out : path
        Folder of the reports; the incident gets a folder of its own in it.
    until : time, optional
        The log as it was known then, in ISO 8601 with a zone.
    reviews : path or DataFrame, optional
        Verdicts of people; default those of the log.
    force : bool
        Overwrite an earlier report of the same incident.
    isolated : bool
        A kernel for each stage in place of one for all: slower, for those who doubt that stages share files only.
    seed : int
        Of everything random.
    progress : bool
        Show a bar over the stages where somebody looks.
    suite : path, optional
        Your eval suite; failing cases that it lacks are appended.
    override : dict, optional
        ``by`` and ``because``: a named person closes the incident with points open. Kept by later runs.
    plan : path, dict or Plan, optional
        What is watched; the folder keeps it as ``monitoring.toml``.

    Returns
    -------
    Report
        `.path` of the page, `.headline`; `.failure` where a stage stopped (the page is written all the same).

    Raises
    ------
    LogError, ConfigError
        The log, the alert, the time or the reviews cannot be read, a report stands there and `force` is off, or the log or
        the suite lies in the folder that the report would fill.

    Examples
    --------
    >>> report("sample_data", out="reports")    # doctest: +SKIP
    Report: Real: ...
    """
    start = time.perf_counter()
    watched = read_plan(plan)
    steps = Steps(progress)
    steps.say(f"reading {_named(log)}")
    opened = read_log(log, files.read_time("until", until), watched)
    watched = watched.model_copy(update={"measures": as_table(watched.own_measures(opened))})
    with Kernels(isolated, addresses.whole(log)) as kernels:  # the first one starts up while the alerts are found
        steps.say(f"checking {opened.count('requests'):,} requests for alerts")
        case = open_case(opened, until=until, alert=alert, reviews=reviews, plan=watched)
        steps.say(f"five stages on {case.incident_id}" if case.alert else "nothing alerted: showing what was watched")
        folder = Path(out).resolve() / case.incident_id
        _check_folder(folder, log, suite, force)
        earlier = earlier_moments(folder)
        parameters = _parameters(log, until, alert, reviews, seed, plan)
        parameters |= {"suite": None if suite is None else str(suite), "override": override or _overridden(folder)}
        check_override(parameters["override"])
        into = "" if suite is None else str(Path(suite).resolve())
        with writing.draft(folder) as draft:
            if watched != Plan():
                disk.write(draft / PLAN, plan_text(watched))
            failure, seconds = run_case(case, log, draft, parameters, earlier, kernels, progress, suite=into)
            sentence = write_page(draft)
            files.write_json(draft / "run.json", {"seconds": {**seconds, "all": time.perf_counter() - start}})
            incident = files.load_result("incident", draft)
            place = writing.place_of_failed(folder) if failure else folder
            if place == folder and _is_own(reviews, folder):
                (draft / files.REVIEWS).unlink()  # the very file that people write their verdicts to stays as it is
            writing.put(draft, place, force or place != folder)
    shown = Path(out) / place.name
    stopped = str(failure) if failure else None
    return Report(shown / "index.html", shown, sentence, incident["stages"], stopped, incident["notices"])


def _named(log: Any) -> str:
    """The log in words, without the secrets of its address."""
    return log.source if isinstance(log, Log) else addresses.masked(log) if isinstance(log, str | Path) else "tables"


def _check_folder(folder: Path, log: Any, suite: Any, force: bool) -> None:
    opened_from = log.opening.get("source") if isinstance(log, Log) else find_log(log)
    writing.check_inputs(folder, log=opened_from, suite=suite)
    writing.check_place(folder, force)


def _is_own(reviews: Any, folder: Path) -> bool:
    own = folder / files.REVIEWS
    return isinstance(reviews, str | Path) and own.is_file() and Path(reviews).resolve() == own.resolve()


def run_case(
    case: Case, log: Any, folder: Path, parameters: dict[str, Any], earlier: list[dict[str, Any]], kernels: Kernels,
    progress: bool = False, until: Any = None, suite: str = "",
) -> tuple[Failure | None, dict[str, float]]:  # fmt: skip
    """Run the stages of a case in a folder that is ready, and write what they rest on.

    Parameters
    ----------
    case : Case
    log : path, URL, dict of DataFrames or Log
        What the case was opened from.
    folder : Path
        Made, with ``results`` in it.
    parameters : dict
        What was asked for, as it is recorded.
    earlier : list of dict
        What earlier runs recorded of what was known when.
    kernels : Kernels
    progress : bool
    until : Timestamp, optional
        Where the notebooks cut the log; default as the parameters say.
    suite : str
        The eval suite to append to, as the last notebook finds it.

    Returns
    -------
    failure : Failure or None
    seconds : dict
        Notebook -> how long it took.
    """
    files.write_lines(folder / "reviews.jsonl", jsonable(case.reviews))
    torn = case.reviews.attrs.get("torn", 0)
    case = replace(case, reviews=verdicts.read(folder / "reviews.jsonl"))
    case.reviews.attrs["torn"] = torn
    where = _keep_log(log, case, folder)
    if where == "log":  # the copy is what the notebooks read, and what can be read again
        case = replace(case, log=open_with(folder / where, case.plan or Plan()))
    case = replace(case, log=case.log.with_reviews(case.reviews))
    incident = _incident(case, parameters) | {"known_when": earlier, "torn_verdicts": torn}
    files.save_result(incident, folder, "incident")
    given = {"log": addresses.masked(where), "until": iso(until) if until is not None else parameters["until"] or ""}
    given |= {"seed": parameters["seed"], "reviews": "reviews.jsonl", "out": "."}
    who = parameters.get("override") or {"by": "", "because": ""}
    closing = {files.notebook_of("learn"): {"suite": suite, "closed_by": who["by"], "because": who["because"]}}
    beside = ThreadPoolExecutor(1)  # while the kernel works, this process looks at the log and looks back
    try:
        rests_on = beside.submit(_rests_on, case, parameters, where)
        before = beside.submit(known_before, case.log, case.alert, case.reviews, case.plan) if case.alert else None
        failure, seconds = execute(_names(case), folder, given, kernels, progress, closing)
        incident |= rests_on.result() | _outcome(case, failure)
        if before and not failure:
            incident |= _told_later(case, files.results_in(folder), before.result(), earlier)
    finally:
        beside.shutdown(wait=False, cancel_futures=True)  # somebody who stops the run does not wait for it
    incident["inputs"]["known_when"] = [files.seal(row) for row in of_earlier_runs(incident["known_when"])]
    files.save_result(incident, folder, "incident")
    return failure, seconds


def _overridden(folder: Path) -> dict[str, str] | None:
    """Who closed the incident in an earlier run; it stays on record."""
    try:
        return files.load_result("learn", folder).get("override")
    except (LogError, ValueError, AttributeError):  # no earlier run, or none that can be read
        return None


def write_page(folder: str | Path) -> str:
    """Write ``index.html`` from the results that stand in an incident folder; return its first sentence."""
    from llm_monitoring.reporting import figures, page, story

    results = files.results_in(folder)
    told = story.tell(results)
    html = page.render(told, lambda name: figures.draw(name, results))
    disk.write(Path(folder) / "index.html", html)
    return f"{told['opening']} {told['headline']}"


def _stages(case: Case) -> tuple[str, ...]:
    return files.STAGES if case.alert else files.STAGES[:1]


def _names(case: Case) -> list[str]:
    return [files.notebook_of(stage) for stage in _stages(case)]


def _rests_on(case: Case, parameters: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fingerprints of all that went in, and what the log had to say of itself."""
    log = files.fingerprint(case.log, parameters["log"] or "tables in memory")
    return {
        "log": {**log, "path": addresses.masked(where)},
        "inputs": files.inputs(parameters, case.reviews, notebooks_folder()),
        "notices": [*case.log.notices, *verdicts.notices(case.reviews, parameters["reviews"] or "reviews")],
    }


def _keep_log(log: Any, case: Case, folder: Path) -> str:
    """Where the notebooks find the log: where it is, or a copy in the folder.

    Of tables in memory, and of an open log that was cut or read with options, which a path alone does not say.
    """
    opening = log.opening if isinstance(log, Log) else {}
    again = [*opening] == ["source"] and Path(opening["source"]).exists()
    found = opening["source"] if again else find_log(log)
    if isinstance(found, str | Path):
        return str(found) if "://" in str(found) else str(Path(found).resolve())
    disk.make_folder(folder / "log")
    for name in TABLES:
        if case.log.has(name) and case.log.count(name):  # a file without a line is no table
            pieces = frames.pieces(case.log.table(name), TABLES[name])
            rows = (row for piece in pieces for row in piece.to_dict("records"))
            files.write_lines(folder / "log" / f"{name}.jsonl", rows)
    return "log"


def _parameters(log: Any, until: Any, alert: Any, reviews: Any, seed: int, plan: Any = None) -> dict[str, Any]:
    opening = log.opening if isinstance(log, Log) else {}
    named = {"log": opening.pop("source", log), "reviews": reviews}
    texts = {name: addresses.masked(one) if isinstance(one, str | Path) else None for name, one in named.items()}
    when = files.read_time("until", until)
    wanted = (
        alert if isinstance(alert, str) and alert else jsonable(dict(alert)) if isinstance(alert, Mapping) else None
    )
    named_plan = {"plan": str(plan)} if isinstance(plan, str | Path) else {}
    return {
        **texts,
        **opening,
        **named_plan,
        "until": iso(when) if when is not None else None,
        "alert": wanted,
        "seed": seed,
    }


def _incident(case: Case, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "incident_id": case.incident_id,
        "log": None,
        "inputs": None,
        "parameters": parameters,
        "versions": files.versions(),
        "seed": parameters["seed"],
        "alert": case.alert,
        "other_alerts": case.others,
        "notices": [],
        "timeline": [],
        "probes": [],
        "known_when": [],
        "cost_of_acting": None,
        "cost_of_waiting": None,
        "stages": dict.fromkeys(files.STAGES, "not run"),
        "failure": None,
    }


def _outcome(case: Case, failure: Failure | None) -> dict[str, Any]:
    """What became of each stage."""
    states = dict.fromkeys(files.STAGES, "not run")
    for stage in _stages(case):
        if failure and failure.notebook == files.notebook_of(stage):
            states[stage] = "failed"
            told = {"stage": stage, "notebook": failure.notebook, "cell": failure.cell, "error": failure.error}
            return {"stages": states, "failure": told}
        states[stage] = "done"
    return {"stages": states, "failure": None}


def _told_later(
    case: Case, results: Mapping[str, Any], before: list[dict[str, Any]], earlier: list[dict[str, Any]]
) -> dict[str, Any]:
    """What needs the stages: the time line, what was known when, what acting and waiting cost."""
    since = results["scope"]["since"]
    return {
        "timeline": _timeline(case, results),
        "probes": jsonable(probes_since(case.log, since)) if since and case.log.has("probe_results") else [],
        "known_when": add_moments(earlier, [*before, known_now(results)]),
        "cost_of_acting": results["respond"]["cost_of_acting"],
        "cost_of_waiting": results["respond"]["cost_of_waiting"],
    }


def _timeline(case: Case, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What happened when, as rows: recorded changes in reach, the start, the alert, the reviews, the last request."""
    assert case.alert is not None
    isolate, triage = results["isolate"], results["triage"]
    rows = [
        (row["at"], "change", f"{row['cause']}: {row['description']}") for row in isolate["ranking"] if row["recorded"]
    ]
    if isolate["onset"]:
        rows.append((isolate["onset"].get("at"), "start", "the change of quality begins"))
    rows.append((case.alert["fired_at"], "alert", case.alert.get("message") or triage["metric"]))
    if len(case.reviews):
        rows.append((iso(case.reviews["reviewed_at"].max()), "reviews", f"{len(case.reviews)} answers were read"))
    rows.append((triage["until"], "page", "the log ends"))
    return [{"at": at, "kind": kind, "what": what} for at, kind, what in sorted(rows, key=lambda r: (r[0] or "", r[1]))]
