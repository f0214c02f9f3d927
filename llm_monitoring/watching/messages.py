"""What a person reads: the sentence of each alert, where its page is and the command that opens it. Logged text is made harmless."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from llm_monitoring import addresses
from llm_monitoring.watching.events import RECOVERED, REOPENED
from llm_monitoring.watching.state import Event
from llm_monitoring.wording import moment

SEVERITIES = ("critical", "warning", "info")
#: What chat services, Markdown and HTML take for commands, and signs that look alike and are none.
HARMLESS = str.maketrans({
    "@": "＠", "<": "‹", ">": "›", "`": "ˋ", "*": "∗", "[": "［", "]": "］", "#": "＃", "|": "¦", "~": "∼", "\\": "∖",
    "&": "＆", "!": "ǃ",
})  # fmt: skip


@dataclass(frozen=True)
class Message:
    """One message to one place: `severity` is the worst in it, `recovered` whether all of it is over."""

    title: str
    body: str
    severity: str
    recovered: bool
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Where:
    """What opens an incident: the log and the plan as the command line names them, and where pages are written.

    >>> Where("my logs", "plan.toml", "reports").command("20260519-support-flagged_rate")
    "llm-monitoring report 'my logs' --alert 20260519-support-flagged_rate --plan plan.toml"
    """

    log: str
    plan: str | None
    reports: str

    def command(self, alert_id: str) -> str:
        """The command that opens the incident of an alert, quoted for the shell."""
        words = ["llm-monitoring", "report", one_line(addresses.masked(self.log)), "--alert", alert_id]
        words += ["--plan", one_line(self.plan)] if self.plan else []
        words += ["--out", one_line(self.reports)] if self.reports != "reports" else []
        return shlex.join(words)

    def page(self, row: dict[str, Any]) -> Path:
        """The page of an alert, which stands there once its report has been run."""
        from llm_monitoring.reporting.folder import incident_id

        name = incident_id(row["metric"], row["feature_id"], pd.Timestamp(row["fired_at"]))
        return Path(self.reports).absolute() / name / "index.html"


def one_line(text: Any) -> str:
    """A text without control characters and marks that turn the direction of writing.

    >>> one_line("a\\nb\\u202ec")
    'a b c'
    """
    plain = "".join(" " if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") else sign for sign in str(text))
    return re.sub(" +", " ", plain).strip()


def harmless(text: Any) -> str:
    """Logged text as a message may hold it: no mention, no Markdown, no HTML, no link, one line.

    >>> harmless("@channel <b>now</b> [x](http://a.example)")
    '＠channel ‹b›now‹/b› ［x］(http:⧸⧸a.example)'
    """
    return one_line(text).translate(HARMLESS).replace("://", ":⧸⧸")


def messages(events: Iterable[Event], where: Where) -> list[Message]:
    """One message for each feature, the worst first; every alert of it named with its sentence, page and command."""
    by_feature: dict[str | None, list[Event]] = {}
    for event in events:
        by_feature.setdefault(event.row["feature_id"], []).append(event)
    made = [_message(feature, several, where) for feature, several in by_feature.items()]
    return sorted(made, key=lambda one: (one.recovered, SEVERITIES.index(one.severity)))


def _message(feature: str | None, events: Sequence[Event], where: Where) -> Message:
    live = [event for event in events if event.event != RECOVERED]
    severity = min((event.row["severity"] for event in live or events), key=SEVERITIES.index)
    name = "all features" if feature is None else harmless(feature)[:80]
    count = f", {len(events)} alerts" if len(events) > 1 else ""
    title = f"{severity if live else 'over'}: {name}{count}"
    place = f"Run the commands in {one_line(Path.cwd())}"
    body = "\n\n".join([*(_paragraph(event, where) for event in events), place])
    return Message(title, body, severity, not live, tuple(events))


def _paragraph(event: Event, where: Where) -> str:
    row = event.row
    at = plain(moment(event.happened_at))
    again = f"again (earlier {event.reopens})" if event.reopens != row["alert_id"] else f"open again at {at}"
    front = {
        RECOVERED: f"Over since {at}",
        REOPENED: f"{row['severity']}, {again}",
    }.get(event.event, row["severity"])
    page = where.page(row)
    written = page.exists()
    return "\n".join([
        f"{front}: {plain(harmless(row['message']))}",
        f"Alert {row['alert_id']}, fired {plain(moment(row['fired_at']))}",
        f"Page: {one_line(page)}{'' if written else ' (written by the command)'}",
        where.command(row["alert_id"]),
    ])  # fmt: skip


def plain(text: str) -> str:
    """A text with plain spaces, as terminals and chats want it."""
    return text.replace("\u00a0", " ")


def line(event: Event) -> str:
    """An event on one line, as the command prints it."""
    row, when = event.row, plain(moment(event.happened_at, year=True))
    sentence = one_line(plain(row["message"]))
    return f"{when}  {event.event:9}  {row['severity']:8}  {sentence}  [{row['alert_id']}]"
