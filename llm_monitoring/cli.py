"""The command line: a function per command. Each parses, calls one public function, prints and sets the exit code.

Exit codes of check: 0 nothing found, 1 something found, 2 the call or the input is wrong, 3 could not be measured. Those of
report: 0 the page was written, 1 a stage failed, 2 the call or the input is wrong. Heavy imports stand inside the functions.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from llm_monitoring import __version__, disk
from llm_monitoring.disk import UNSUPPORTED
from llm_monitoring.errors import ConfigError, LogError

WRONG = 2
NOTICES_SHOWN = 5
#: Commands that only read, and put what they write in place at their end: they can stop at once.
READERS = ("report", "demo", "check")
#: What an error says to write in Python, and the same on the command line.
REMEDIES = {
    r'\btz="([^"]+)"': "--tz",
    r'timestamp_unit="([^"]+)"': "--timestamp-unit",
    r'on_error="([^"]+)"': "--on-error",
    r"lm\.importers\.(\w+)\(": "llm-monitoring import",
}


class Commands(click.Group):
    """A group whose commands turn wrong input, and files that cannot be used, into one line and exit code 2."""

    def invoke(self, context: click.Context):
        if sys.platform == "win32":
            click.echo(UNSUPPORTED, err=True)
            context.exit(WRONG)
        try:
            return super().invoke(context)
        except (LogError, ConfigError) as error:
            click.echo(f"{type(error).__name__}: {error}", err=True)
            found = {flag: re.search(words, str(error)) for words, flag in REMEDIES.items()}
            options = [f"{flag} {match[1]}" for flag, match in found.items() if match]
            if options:
                click.echo(f"On the command line: {', '.join(options)}", err=True)
            context.exit(WRONG)
        except KeyboardInterrupt:
            if context.invoked_subcommand not in READERS:
                raise
            click.echo("Stopped. What was there before is unchanged; run the command again to start over.", err=True)
            sys.stdout.flush()
            os._exit(130)  # threads that still read the log would hold the process up; nothing is left to be written
        except OSError as error:
            if error.filename is None:
                raise
            click.echo(f"{error.filename}: {error.strerror}. Name another file or folder", err=True)
            context.exit(WRONG)


def example(text: str) -> str:
    """The end of a command's help: an example, kept as it is written."""
    return f"\b\nExample:\n  {text}"


OPENING = (
    click.option("--tz", metavar="ZONE", help="Zone of times without one, such as Europe/Berlin."),
    click.option(
        "--timestamp-unit", type=click.Choice(["s", "ms", "us", "ns"]), help="Unit of times given as numbers."
    ),
    click.option(
        "--on-error",
        type=click.Choice(["raise", "quarantine"]),
        help="Stop at broken rows (the default), or set them aside, counted and written out with the reason.",
    ),
    click.option(
        "--scale",
        "scales",
        metavar="JUDGE=LOW..HIGH",
        multiple=True,
        help="Scale of a judge that does not score from 1 to 5: 0..1, 0..10, pass_fail; * is every other judge.",
    ),
)
PLAN = click.option("--plan", metavar="FILE", help="A plan, as init writes one. Default: the built-in plan.")


def _read_mode(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Say which mode new files get; a mode that the owner could not work with is refused."""
    if value is None:
        return
    mode = int(value, 8) if re.fullmatch(r"0?[0-7]{3}", value) else 0
    if mode & 0o600 != 0o600 or mode & 0o111:
        expected = "expected an octal mode that lets the owner read and write, such as 0640"
        raise click.BadParameter(f"{value!r}; {expected}")
    disk.say_mode(mode)
    context.call_on_close(lambda: disk.say_mode(None))


MODE = click.option(
    "--mode",
    metavar="OCTAL",
    callback=_read_mode,
    expose_value=False,
    help="Mode of new files, such as 0640. Default: 0600, or 0660 in a folder that is open to a group.",
)


def opens_log(required: bool = True) -> Callable:
    """Give a command the argument LOG, and the options of `open_log` that were named, as a dict."""

    def decorate(command: Callable) -> Callable:
        @functools.wraps(command)
        def call(log: str | None, scales: tuple[str, ...], **options):
            from llm_monitoring.importers.registry import read_scales

            named = {name: options.pop(name) for name in ("tz", "timestamp_unit", "on_error")}
            named["scales"] = read_scales(scales) or None
            return command(log, {name: value for name, value in named.items() if value is not None}, **options)

        for option in reversed((click.argument("log", required=required), *OPENING)):
            call = option(call)
        return call

    return decorate


def begin(words: str) -> None:
    """Say at once what is being done, before anything heavy is imported; silent where nobody looks."""
    if sys.stderr.isatty():
        click.echo(words, err=True)


def tell(notices: Iterable[str]) -> None:
    """What the log says about itself, on standard error: how many notices, and the first few of them."""
    told = list(notices)
    if not told:
        return
    click.echo(f"{len(told)} {'notice' if len(told) == 1 else 'notices'} about the log:", err=True)
    for notice in told[:NOTICES_SHOWN]:
        click.echo(f"  {notice}", err=True)
    if len(told) > NOTICES_SHOWN:
        click.echo(f"  and {len(told) - NOTICES_SHOWN} more, in lm.open_log(...).notices", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="llm-monitoring")
def main() -> None:
    """Notice that the quality of an LLM feature fell, and say what broke, for whom, since when and because of what."""


@main.command(epilog=example("llm-monitoring report sample_data --reviews reviews.jsonl"))
@opens_log(required=False)
@click.option(
    "--alert", metavar="ID", help="An alert_id that check prints. Default: the most severe, then the earliest."
)
@click.option("--until", metavar="TIME", help="The log as it was known then, such as 2026-05-19T08:00Z.")
@click.option("--reviews", metavar="FILE", help="File of verdicts from review. Default: the log's own.")
@PLAN
@click.option("--out", metavar="DIR", default="reports", show_default=True, help="Folder of the reports.")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option("--force", is_flag=True, help="Overwrite an earlier report of the same incident.")
@click.option("--isolated", is_flag=True, help="Run each stage in its own kernel; slower.")
@click.option("--suite", metavar="FILE", help="Your eval suite; failing cases that it lacks are appended.")
@click.option(
    "--close-by",
    metavar="NAME",
    help="Close the incident although points are open; needs --because. Both are recorded.",
)
@click.option("--because", metavar="TEXT", help="Why it is closed with points open.")
@click.option(
    "--verify", metavar="FOLDER", help="Run the incident in FOLDER again and say whether every figure is the same."
)
@MODE
def report(
    log: str | None, opening: dict[str, Any], verify: str | None, close_by: str | None, because: str | None, **options
) -> None:
    """Run the five stages on an alert of LOG and write an incident folder with one page.

    LOG is a folder, a file or a database URL. The last line printed is the path of the page. With --verify nothing is
    written: the incident in FOLDER is run again from what it recorded. LOG then says where the log is now, if it moved.

    Exit code: 0 the page was written, or the same was found again; 1 a stage failed, or something was altered; 2 the call
    or the input is wrong.
    """
    begin("starting")
    import llm_monitoring as lm
    from llm_monitoring.alerts.plan import open_with, read_plan
    from llm_monitoring.reporting.case import find_log

    if verify is not None:
        opened = lm.open_log(find_log(log), **opening) if opening and log is not None else log
        _verify(verify, opened, options["until"])
    if log is None:
        raise click.UsageError("Missing argument 'LOG'.")
    override = {"by": close_by or "", "because": because or ""} if close_by or because else None
    opened = open_with(find_log(log), read_plan(options["plan"]), **opening) if opening else log
    done = lm.report(opened, override=override, **options)
    tell(done.notices)
    click.echo(done.headline)
    if done.failure:
        click.echo(done.failure, err=True)
    click.echo(done.path)
    sys.exit(1 if done.failure else 0)


def _verify(folder: str, log: Any, until: str | None) -> None:
    """Print what running an incident again has shown, and leave: 0 where it is the same, 1 where it is not."""
    from llm_monitoring.reporting.verifying import verify

    done = verify(folder, log, until)
    for line in [done.headline, *done.lines]:
        click.echo(line)
    sys.exit(0 if done.same else 1)


@main.command(epilog=example("llm-monitoring check sample_data --plan monitoring.toml"))
@opens_log()
@PLAN
@click.option("--until", metavar="TIME", help="The log as it was known then, such as 2026-05-19T08:00Z.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, all columns.")
def check(log: str, opening: dict[str, Any], plan: str | None, until: str | None, as_json: bool) -> None:
    """Print the alerts of LOG: operation, cost and quality. Notices about LOG go to standard error.

    Exit code: 0 nothing alerted, 1 something did, 2 the call or the input is wrong, 3 LOG holds no request to measure.
    """
    begin("starting")
    import llm_monitoring as lm
    from llm_monitoring import addresses
    from llm_monitoring.alerts.lines import alert_lines
    from llm_monitoring.alerts.plan import open_with, read_plan
    from llm_monitoring.reporting.folder import read_time

    watched = read_plan(plan)
    opened = open_with(log, watched, **opening)
    when = read_time("until", until)
    opened = opened if when is None else opened.until(when)
    if not opened.count("requests"):
        tell(opened.notices)
        click.echo(f"{addresses.masked(log)}: no request to measure", err=True)
        sys.exit(3)
    alerts = lm.check(opened, plan=watched)
    tell(opened.notices)
    for line in alert_lines(alerts, as_json):
        click.echo(line)
    sys.exit(1 if (alerts["kind"] != "better").any() else 0)  # what got better is nothing to act on


@main.command(epilog=example("llm-monitoring backtest sample_data --inject --out backtest.html"))
@opens_log()
@PLAN
@click.option(
    "--incidents", metavar="FILE", help="What happened: a folder of reports, or a CSV or JSON Lines file of incidents."
)
@click.option("--inject", is_flag=True, help="Plant faults of known size into quiet stretches of the log.")
@click.option(
    "--grid",
    multiple=True,
    metavar="NAME=NUMBERS",
    help="Sampling rates (rate=0.05,0.2) or budgets (false_alarms_per_month=0.5,1) to compare.",
)
@click.option("--out", metavar="FILE", default="backtest.html", show_default=True, help="The page.")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
def backtest(log: str, opening: dict[str, Any], plan: str | None, **options) -> None:
    """Replay a plan against LOG: what it would have caught, how late, with how many false alarms, and what it can detect.

    Nothing of LOG is altered. The last line printed is the path of the page.

    Exit code: 0 the page was written, 2 the call or the input is wrong, 3 LOG holds no request to measure.
    """
    from llm_monitoring import addresses
    from llm_monitoring.alerts.plan import open_with, read_plan
    from llm_monitoring.backtesting.command import backtest_log

    watched = read_plan(plan)
    opened = open_with(log, watched, **opening)
    if not opened.count("requests"):
        tell(opened.notices)
        click.echo(f"{addresses.masked(log)}: no request to measure", err=True)
        sys.exit(3)
    lines = backtest_log(opened, log, watched, **options)
    tell(opened.notices)
    for line in lines:
        click.echo(line)


@main.command(epilog=example("llm-monitoring judge sample_data --model judge-small --rate 0.05 --budget 5 --dry-run"))
@opens_log()
@click.option("--model", required=True, help="The model's name at the server of OPENAI_BASE_URL and OPENAI_API_KEY.")
@click.option("--rate", default=0.05, show_default=True, help="Share of requests, 0 to 1.")
@click.option(
    "--budget",
    type=float,
    metavar="USD",
    help="Most that all runs into this file may cost. Unknown prices are assumed high.",
)
@click.option("--input-price", type=float, metavar="USD", help="Per million input tokens.")
@click.option("--output-price", type=float, metavar="USD", help="Per million output tokens.")
@click.option("--rubric", metavar="FILE", help="A rubric in YAML. Default: correctness, completeness, tone.")
@click.option("--base-url", metavar="URL", help="Default: OPENAI_BASE_URL.")
@click.option(
    "--out", metavar="FILE", default="judgements.db", show_default=True, help="Where every judgement is kept."
)
@click.option(
    "--export", metavar="FILE", help="Write the judgements as a table of the log, such as judgements.parquet."
)
@click.option("--concurrency", default=16, show_default=True, help="Calls at a time.")
@click.option("--rpm", type=float, help="Requests a minute that the provider allows.")
@click.option("--tpm", type=float, help="Tokens a minute that the provider allows.")
@click.option("--redact", is_flag=True, help="Remove personal data from what the judge gets.")
@click.option("--retry-failed", is_flag=True, help="Judge again what failed for a passing reason, such as a timeout.")
@click.option("--dry-run", is_flag=True, help="Only say how many answers, their cost, and what they could detect.")
@MODE
def judge(log: str, opening: dict[str, Any], **options) -> None:
    """Judge a sample of LOG; stop it at any moment and call it again.

    Exit code: 0 all judged or the budget is spent, 2 the call or the input is wrong, 3 the run was stopped by the server
    or no answer could be judged.
    """
    import llm_monitoring as lm
    from llm_monitoring.judging.command import judge_log

    opened = lm.open_log(log, **opening)
    lines, code = judge_log(opened, **options)
    tell(opened.notices)
    for line in lines:
        click.echo(line)
    sys.exit(code)


@main.command(epilog=example("llm-monitoring probe --suite probes.yaml --model gpt-4o --log my_log --if-due 7d"))
@click.option("--model", required=True, help="The model's name at the server of OPENAI_BASE_URL and OPENAI_API_KEY.")
@click.option("--suite", metavar="FILE", help="Probes in YAML or JSON Lines. Default: the 26 that are shipped.")
@click.option(
    "--log", metavar="FOLDER", default=".", show_default=True, help="Folder of the log that keeps the answers."
)
@click.option("--if-due", metavar="SPAN", help="Do nothing if the last run is more recent, such as 7d; for cron.")
@click.option(
    "--discover", type=click.IntRange(1), metavar="N", help="Find N border probes instead of running a suite."
)
@click.option(
    "--budget-calls",
    type=click.IntRange(2),
    metavar="M",
    default=500,
    show_default=True,
    help="Calls that --discover may spend.",
)
@click.option("--out", metavar="FILE", help="Where --discover writes the suite.")
@click.option(
    "--tolerance", default=0.0, show_default=True, help="Change, as a share, that is not worth an alarm, such as 0.05."
)
@click.option("--alpha", default=0.05, show_default=True, help="Chance of a false alarm in one run.")
@click.option("--base-url", metavar="URL", help="Default: OPENAI_BASE_URL.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for one answer.")
@click.option("--concurrency", type=click.IntRange(1), default=4, show_default=True, help="Calls at a time.")
@MODE
def probe(log: str, **options) -> None:
    """Ask a model the probes of a suite, keep the answers in a log, and say whether the model changed.

    The answers are added to probe_results.jsonl of the log, which check and watch read; the run is compared with all earlier
    runs of the same model in it.

    Exit code: 0 nothing found (also: not due, or the first run), 1 the model changed, 2 the call or the input is wrong, 3
    could not be measured.
    """
    from llm_monitoring.probes.command import probe_model

    _finish(*probe_model(log, **options))


@main.command(epilog=example("llm-monitoring pins src config.toml .env my_log"))
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, all columns.")
def pins(paths: tuple[str, ...], as_json: bool) -> None:
    """Name the model ids in logs, source and configuration files that a provider may move to another model.

    Exit code: 0 every model id is pinned, 1 an alias or an unknown id was found, 2 the call or the input is wrong, 3 no model
    id was found.
    """
    from llm_monitoring.probes.command import find_pins

    _finish(*find_pins(list(paths), as_json))


@main.command(
    epilog=example("llm-monitoring promote eval_cases.jsonl --old gpt-4o-2024-08-06 --new gpt-4.1-2025-04-14")
)
@click.argument("cases")
@click.option(
    "--old", required=True, metavar="MODEL", help="The model that serves now, at the server of OPENAI_BASE_URL."
)
@click.option("--new", required=True, metavar="MODEL", help="The model that may take its place.")
@click.option("--margin", default=0.1, show_default=True, help="Share of cases by which the new one may be worse.")
@click.option("--alpha", default=0.05, show_default=True, help="Chance of each wrong verdict.")
@click.option(
    "--judge-model", metavar="MODEL", help="Model that judges the answers. Default: LLM_MONITORING_JUDGE_MODEL."
)
@click.option("--rubric", metavar="FILE", help="A rubric in YAML. Default: correctness, completeness, tone.")
@click.option("--base-url", metavar="URL", help="Default: OPENAI_BASE_URL.")
@click.option("--seed", default=0, show_default=True, help="Random seed for the order of the cases.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for one answer.")
@click.option("--concurrency", type=click.IntRange(1), default=4, show_default=True, help="Calls at a time.")
def promote(cases: str, **options) -> None:
    """Ask two models the eval cases that incidents left behind, and say whether the new one may take the old one's place.

    CASES is the file that learn wrote, or the folder of an incident. The run stops as soon as the verdict is certain enough.

    Exit code: 0 promote, 1 hold, 2 the call or the input is wrong, 3 not enough cases, or could not be measured.
    """
    from llm_monitoring.probes.command import promote_model

    _finish(*promote_model(cases, **options))


def _finish(lines: Iterable[str], code: int) -> None:
    for line in lines:
        click.echo(line)
    sys.exit(code)


@main.command("import", epilog=example("llm-monitoring import langfuse traces/ scores.json --out my_log"))
@click.argument("format")
@click.argument("source", nargs=-1, required=True)
@click.option("--out", metavar="LOG", required=True, help="Folder of the log; import_report.json is written beside it.")
@click.option(
    "--column", "columns", metavar="NAME=FIELD", multiple=True, help="Column of the log and the field that holds it."
)
@click.option(
    "--scale", "scales", metavar="NAME=LOW..HIGH", multiple=True, help="Scale of a score: 0..1, 0..10, pass_fail."
)
@click.option("--timestamp", metavar="TIME", help="When the requests of a batch were made, without its batch object.")
@click.option("--force", is_flag=True, help="Overwrite a log that is already there.")
@MODE
def import_(format: str, source: tuple[str, ...], out: str, force: bool, **options: Any) -> None:
    """Make a log of another tool's files, and say what was guessed.

    FORMAT is otel, openinference, vercel, langfuse, langsmith, litellm, openai_batch or anthropic_batch. Files that
    belong together (traces and scores, a batch's input and output) go into one call.

    Exit code: 0 a log was written; 2 the call is wrong, or SOURCE holds no request of FORMAT: then nothing is written.
    """
    from llm_monitoring import importers

    log, report = importers.read(format, list(source), **options)
    folder = importers.write_log(log, report, out, force=force)
    click.echo(str(report))
    click.echo(folder)


@main.command(epilog=example("llm-monitoring review sample_data --out reviews.jsonl"))
@opens_log()
@click.option(
    "--alert", metavar="ID", help="An alert_id that check prints. Default: the most severe, then the earliest."
)
@click.option("--until", metavar="TIME", help="The log as it was known then, such as 2026-05-19T08:00Z.")
@click.option("--out", metavar="FILE", default="reviews.jsonl", show_default=True, help="Where the verdicts are kept.")
@PLAN
@MODE
def review(log: str, opening: dict[str, Any], alert: str | None, until: str | None, out: str, plan: str | None) -> None:
    """Say how to read flagged answers of LOG, and how many verdicts the file holds."""
    import shlex

    from llm_monitoring import addresses
    from llm_monitoring.alerts.plan import open_with, read_plan
    from llm_monitoring.reporting.case import describe, find_log, open_case
    from llm_monitoring.reviewing import verdicts

    watched = read_plan(plan)
    opened = open_with(find_log(log), watched, **opening)
    case = open_case(opened, until=until, alert=alert, plan=watched)
    tell(opened.notices)
    click.echo(f"{describe(case.alert)}")
    read = verdicts.read(out) if Path(out).exists() else verdicts.empty()
    click.echo(f"{out} holds {len(read)} verdicts")
    tell(verdicts.notices(read, out))
    given = "".join(
        f", {name}={value!r}" for name, value in (("until", until), ("alert", alert), ("plan", plan)) if value
    )
    named = "".join(f", {name}={value!r}" for name, value in opening.items())
    log = addresses.masked(log)
    opened_by = f"lm.open_log({log!r}{named})" if opening else repr(log)
    click.echo("Read on in JupyterLab (jupyter lab), in a cell:")
    click.echo("  import llm_monitoring as lm")
    click.echo(f"  case = lm.open_case({opened_by}{given})\n  lm.review(case.log, case.alert, out={out!r})")
    flags = "".join(f" --scale {shlex.quote(f'{judge}={one}')}" for judge, one in opening.pop("scales", {}).items())
    flags += "".join(f" --{name.replace('_', '-')} {shlex.quote(value)}" for name, value in opening.items())
    flags += f" --plan {shlex.quote(plan)}" if plan else ""
    click.echo(f"then: llm-monitoring report {log}{flags} --reviews {out}")


@main.command(epilog=example("llm-monitoring watch my_log --plan monitoring.toml --state watch.db --once"))
@opens_log()
@PLAN
@click.option(
    "--state",
    metavar="FILE",
    default="watch.db",
    show_default=True,
    help="Remembers alerts and deliveries; made if missing.",
)
@click.option("--once", is_flag=True, help="One round, for cron.")
@click.option("--heartbeat", metavar="URL", help="Requested after each round that has read LOG: a dead man's switch.")
@click.option("--test-sinks", is_flag=True, help="Send one test message to each sink of the plan, then stop.")
@click.option("--ack", metavar="ID", help="Send no more about an alert; needs --until.")
@click.option("--until", metavar="TIME", help="End of --ack, such as 2026-05-20T08:00Z.")
def watch(log: str, opening: dict[str, Any], **options) -> None:
    """Watch LOG: tell each alert once to the sinks of the plan, as long as it runs or for one round.

    What is told is printed; when it last looked, and what it could not read or deliver, goes to standard error.

    Exit code of --once: 0 nothing new, 1 something was told, 2 the call or the plan is wrong, 3 LOG could not be read.
    """
    from llm_monitoring.watching.command import watch_log

    sys.exit(watch_log(log, opening, **options, say=click.echo, warn=functools.partial(click.echo, err=True)))


@main.command(epilog=example("llm-monitoring export prometheus my_log --plan monitoring.toml --out prometheus"))
@click.argument("format", type=click.Choice(["prometheus"]))
@opens_log()
@PLAN
@click.option("--out", metavar="DIR", required=True, help="Folder of the files.")
def export(log: str, opening: dict[str, Any], format: str, plan: str | None, out: str) -> None:
    """Write the infrastructure layer of a plan for another tool.

    FORMAT is prometheus: rules.yml, which promtool accepts, and dashboard.json for Grafana. Both read the numbers that
    watch shows where the plan has a sink such as prometheus://127.0.0.1:9464.
    """
    from llm_monitoring.alerts.plan import open_with, read_plan
    from llm_monitoring.watching.prometheus import export_prometheus

    watched = read_plan(plan)
    for path in export_prometheus(open_with(log, watched, **opening), watched, out):
        click.echo(path)


@main.command(epilog=example("llm-monitoring init monitoring --log path/to/log"))
@click.argument("folder", default="monitoring")
@click.option("--log", metavar="LOG", help="A log to check and write into the first cell of each notebook.")
@click.option("--tz", metavar="ZONE", help="Zone of times without one, such as Europe/Berlin.")
@click.option("--force", is_flag=True, help="Overwrite files that are already there.")
def init(folder: str, log: str | None, tz: str | None, force: bool) -> None:
    """Check LOG, then copy the notebooks and a plan with every key into FOLDER, to be opened in JupyterLab.

    Exit code: 0 all is copied, 2 the call is wrong or the log cannot be used; then nothing is written.
    """
    import llm_monitoring as lm
    from llm_monitoring.reporting.starting import start_folder

    opening = {"tz": tz} if tz else {}
    written = start_folder(Path(folder), log, force, opening)
    if log is not None:
        opened = lm.open_log(log, **opening)
        tell(opened.notices)
        click.echo(opened)
    for path in written:
        click.echo(path)
    click.echo(f"Open them with: jupyter lab {folder}")


@main.command(epilog=example("llm-monitoring demo --open"))
@click.option("--out", metavar="DIR", default="demo", show_default=True, help="Folder of the report.")
@click.option("--open", "show", is_flag=True, help="Open the page in the browser.")
@MODE
def demo(out: str, show: bool) -> None:
    """Run the five stages on the log of a made-up shop that comes with the package, and print the path of the page.

    Three weeks of four features; in the third week one of them gets worse. Nothing is sent anywhere.

    Exit code: 0 the page was written, 1 a stage failed, 2 the call is wrong.
    """
    begin("starting")
    import llm_monitoring as lm
    from llm_monitoring.reporting.case import find_log

    log = find_log(Path("sample_data"))
    done = lm.report(log, out=out, force=True)
    click.echo(done.headline)
    if done.failure:
        click.echo(done.failure, err=True)
    click.echo(
        f"Your own log: llm-monitoring check path/to/log, then llm-monitoring report path/to/log (this one: {log})"
    )
    click.echo(done.path)
    if show:
        click.launch(str(Path(done.path).resolve()))
    sys.exit(1 if done.failure else 0)


if __name__ == "__main__":
    main()
