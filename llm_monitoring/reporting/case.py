"""What a report is about: the log as it was known, one alert of it, and the verdicts of people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_monitoring import addresses
from llm_monitoring import wording as say
from llm_monitoring.alerts.plan import Plan, open_with, read_plan
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.reporting.folder import incident_id, load_result, read_time, save_result
from llm_monitoring.results import jsonable, table_html
from llm_monitoring.sources import shipped

if TYPE_CHECKING:
    import pandas as pd

    from llm_monitoring.log import Log
    from llm_monitoring.reporting.quiet import QuietResult

LAYERS = ("quality", "cost", "infrastructure")
KINDS = ("change", "standing", "better")
SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True, repr=False)
class Case:
    """One alert of a log, ready for the stages.

    Attributes
    ----------
    log : Log
        Cut at `until` where one was given.
    alert : dict or None
        The alert that is looked into; None where nothing alerted.
    others : list of dict
        All other alerts.
    reviews : DataFrame
        Verdicts known by then.
    folder : Path
        Where results are kept.
    incident_id : str
    plan : Plan
        What was watched.
    """

    log: Log
    alert: dict[str, Any] | None
    others: list[dict[str, Any]]
    reviews: pd.DataFrame
    folder: Path
    incident_id: str
    plan: Plan | None = None

    @classmethod
    def waiting(cls, find: Callable[[], dict[str, Any]], **known: Any) -> Case:
        """A case whose alert is looked for when something first asks for it: to show what a log holds takes no check."""
        case = object.__new__(cls)
        vars(case).update(known, _find=find)
        return case

    def __getattr__(self, name: str) -> Any:
        if name not in ("alert", "others", "folder", "incident_id") or "_find" not in vars(self):
            raise AttributeError(name)
        vars(self).update(self._find())
        return vars(self)[name]

    def __repr__(self) -> str:
        if self.alert is None:
            return f"{self.incident_id}: nothing alerted"
        return f"{self.incident_id}: {self.alert.get('message') or self.alert['metric']}"

    def _repr_html_(self) -> str:
        import pandas as pd

        rows = [] if self.alert is None else [self.alert, *self.others]
        columns = ["alert_id", "layer", "metric", "feature_id", "fired_at", "severity", "message"]
        alerts = pd.DataFrame(rows, columns=columns).head(10)
        return f"<p><b>{escape(repr(self))}</b></p>{table_html(alerts) if len(alerts) else ''}"

    def earlier(self, stage: str) -> Any:
        """The result of an earlier stage: from its file in the folder, or found now where there is none."""
        from llm_monitoring import incident

        if (self.folder / "results" / f"{stage}.json").exists():
            return getattr(incident, f"{stage.capitalize()}Result")(**load_result(stage, self.folder))
        find = {
            "triage": lambda: incident.triage(self.log, self.alert, self.reviews, plan=self.plan),
            "scope": lambda: incident.scope(self.log, self.alert, plan=self.plan),
            "isolate": lambda: incident.isolate(self.log, self.alert, self.earlier("scope"), plan=self.plan),
            "respond": lambda: incident.respond(
                self.log, self.alert, self.earlier("scope"), self.earlier("isolate"), plan=self.plan
            ),
        }
        return find[stage]()

    def save(self, result: Any, name: str | None = None) -> Path:
        """Write the result of a stage where the next stage and the report look for it.

        Parameters
        ----------
        result : Result
            Of a stage.
        name : str, optional
            The stage, where the result's class does not say it.

        Returns
        -------
        Path
            ``<folder>/results/<stage>.json``.
        """
        return save_result(result, self.folder, name)

    def quiet(self) -> QuietResult:
        """What was watched while nothing alerted."""
        from llm_monitoring.reporting.quiet import watched

        return watched(self.log, self.plan)


def open_case(
    log: Any = "sample_data", *, alert=None, until=None, reviews=None, out: str | Path | None = None, plan: Any = None
) -> Case:
    """Open a log and choose the alert to look into.

    Parameters
    ----------
    log : path, URL, dict of DataFrames or Log
        A relative path is looked for from the current folder upward, then in the package (``sample_data`` is there).
    until : time, optional
        The log as it was known then; None or "" takes all of it.
    alert : str or dict, optional
        `alert_id` of an alert of `check`, or an alert; None or "" takes the most severe, then the earliest alert of
        the quality layer, then cost, then infrastructure.
    reviews : path or DataFrame, optional
        Verdicts of people; None or "" takes those of the log.
    out : path, optional
        The incident folder; a report that stands there gives the alert. None or "": ``reports/<incident_id>-draft``.
    plan : path, dict or Plan, optional
        What was watched; None or "" takes the plan that the incident folder keeps, else the built-in one.

    Returns
    -------
    Case

    Raises
    ------
    LogError, ConfigError
        The log, the time, the alert or the reviews cannot be read.

    Examples
    --------
    >>> open_case("sample_data").incident_id    # doctest: +SKIP
    '20260519-support-flagged_rate'
    """
    when = read_time("until", until)
    watched = read_plan(plan or kept_plan(out))
    opened = _opened(log, when, watched)
    known = _known(out)
    verdicts = read_reviews(opened, reviews, when)

    def find() -> dict[str, Any]:
        chosen, others = (
            (known["alert"], known["other_alerts"]) if known and not alert else choose(opened, alert, watched)
        )
        name = incident_id(
            *(
                (chosen["metric"], chosen["feature_id"], read_time("fired_at", chosen["fired_at"]))
                if chosen
                else (None, None, opened.span("requests")[1])
            )
        )
        folder = Path(out) if out else Path("reports") / f"{name}-draft"
        return {"alert": chosen, "others": others, "folder": folder, "incident_id": name}

    given: dict[str, Any] = {"log": _with_verdicts(opened, verdicts), "reviews": verdicts, "plan": watched}
    return Case(**given, **find()) if alert else Case.waiting(find, **given)  # a wrong alert is refused here


PLAN = "monitoring.toml"
_LAST: dict[str, tuple[str, Any]] = {}  # the log opened last in this process, and with the verdicts that it had


def _opened(log: Any, when: pd.Timestamp | None, plan: Plan) -> Log:
    """The log; files that did not change since they were opened last in this process are not read again.

    So five notebooks in one kernel share one Log, and with it what was found about it.
    """
    key = _state_of(find_log(log), when, plan)
    if key is None:
        return read_log(log, when, plan)
    if _LAST.get("log", ("", None))[0] != key:
        _LAST["log"] = key, read_log(log, when, plan)
    return _LAST["log"][1]


def _state_of(log: Any, when: pd.Timestamp | None, plan: Plan) -> str | None:
    """What the files of a log look like from outside; None where it is no path."""
    if not isinstance(log, str | Path) or "://" in str(log) or not Path(log).exists():
        return None
    place = Path(log)
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    stats = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files]
    return repr((str(place.resolve()), stats, when, plan.model_dump_json()))


def _with_verdicts(log: Log, verdicts: pd.DataFrame) -> Log:
    """The log with these verdicts; the same one again where both are those of the last call."""
    said = verdicts.to_json(date_format="iso")
    known = _LAST.get("verdicts")
    if known is None or known[0] != said or known[1][0] is not log:
        known = _LAST["verdicts"] = said, (log, log.with_reviews(verdicts))
    return known[1][1]


def kept_plan(folder: Any) -> Path | None:
    """The plan that an incident folder keeps, where there is one."""
    return Path(folder) / PLAN if folder and (Path(folder) / PLAN).is_file() else None


def read_log(log: Any, when: pd.Timestamp | None = None, plan: Plan | None = None) -> Log:
    """The log, as it was known at a moment; one without a request is refused."""
    opened = open_with(find_log(log), plan or read_plan(None))
    opened = opened if when is None else opened.until(when)
    if not opened.count("requests"):
        until = "" if when is None else f" until {when}"
        raise ConfigError(f"log {quote(addresses.masked(log))}: no request{until}; a report needs some")
    return opened


def find_log(log: Any) -> Any:
    """A log as it can be opened: a relative path is looked for from here upward, then in the package and beside it.

    So a notebook finds ``sample_data`` from whatever folder it runs in.
    """
    if not isinstance(log, str | Path) or "://" in str(log) or Path(log).exists() or Path(log).is_absolute():
        return log
    above = (base / log for base in Path.cwd().parents)
    return next((path for path in above if path.exists()), shipped(log) or log)


def choose(
    log: Log, alert: str | Mapping[str, Any] | None = None, plan: Plan | None = None
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The alert to look into, and all others.

    Raises
    ------
    ConfigError
        The log has no alert of this id.
    """
    from llm_monitoring.alerts.alert import read_alert
    from llm_monitoring.alerts.checking import checked

    found = [{str(k): v for k, v in row.items()} for row in jsonable(checked(log, read_plan(plan))[0])]
    if alert is None or (isinstance(alert, str) and not alert):
        ranked = sorted(found, key=rank)
        return (ranked[0], ranked[1:]) if ranked else (None, [])
    if isinstance(alert, str):
        mine = [row for row in found if row["alert_id"] == alert]
        if not mine:
            raise ConfigError(f"alert {quote(alert)}: the log has no such alert; it has {_ids(found)}")
        return mine[0], sorted((row for row in found if row is not mine[0]), key=rank)
    given = read_alert(alert, log.measures).to_dict()
    return given, sorted((row for row in found if row["alert_id"] != given["alert_id"]), key=rank)


def rank(row: Mapping[str, Any]) -> tuple:
    """A change first, then what stands, then what got better; quality, cost, infrastructure; the most severe, the earliest."""
    order = [
        names.index(row[key]) if row.get(key) in names else len(names)
        for key, names in (("kind", KINDS), ("layer", LAYERS), ("severity", SEVERITIES))
    ]
    return (*order, row["fired_at"], row["alert_id"])


def _ids(found: list[dict[str, Any]], most: int = 5) -> str:
    ids = [repr(row["alert_id"]) for row in sorted(found, key=rank)]
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "") if ids else "none"


def read_reviews(log: Log, reviews: Any, when: pd.Timestamp | None) -> pd.DataFrame:
    """The verdicts given (a file, a table, or the log's own), as they were known at a moment."""
    if reviews is None or (isinstance(reviews, str) and not reviews):
        return log.reviews
    if isinstance(reviews, str | Path):
        from llm_monitoring.reviewing.verdicts import read

        reviews = read(reviews)
    return reviews if when is None else reviews[reviews["reviewed_at"] <= when]


def _known(out: Any) -> dict[str, Any] | None:
    if not out or not (Path(out) / "results" / "incident.json").exists():
        return None
    return load_result("incident", out)


def describe(alert: Mapping[str, Any] | None) -> str:
    """The alert in one line.

    >>> describe(None)
    'nothing alerted'
    """
    if alert is None:
        return "nothing alerted"
    return alert.get("message") or f"{say.metric_words(alert['metric'])}, {say.moment(alert['fired_at'])}"
