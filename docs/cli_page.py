"""Write docs/cli.md from the help pages: `python docs/cli_page.py`. A test fails where the file is stale."""

from pathlib import Path

import click

from llm_monitoring.cli import main

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Command line

Made by `python docs/cli_page.py` from the help pages; do not edit.

Exit codes of `check`, `probe` and `pins`: 0 nothing found, 1 something found, 2 the call or the input is wrong, 3 could not
be measured. Those of `report`: 0 the page was written, 1 a stage failed (the page says which), 2 the call or the input is
wrong; with `--verify` 0 the same, 1 something was altered, 2 there is no report or no log to run again.
"""


def cli_page() -> str:
    """The page: every command with its help."""
    parts = [HEAD, _help(main, "llm-monitoring")]
    for name in main.list_commands(click.Context(main)):
        parts += [f"\n## {name}\n", _help(main.commands[name], f"llm-monitoring {name}")]
    return "\n".join(parts)


def _help(command: click.Command, name: str) -> str:
    known = {**main.context_settings, "max_content_width": 100}  # as the group hands them on
    text = command.get_help(click.Context(command, info_name=name, terminal_width=100, **known))
    return f"```text\n{text}\n```"


if __name__ == "__main__":
    PAGE.write_text(cli_page() + "\n", "utf-8")
    print(PAGE)
