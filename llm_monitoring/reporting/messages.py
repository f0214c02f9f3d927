"""What to paste elsewhere: a few lines for a chat, a text for a ticket. Story in, plain text out; logged text is harmless in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_monitoring import wording as say
from llm_monitoring.reporting.outcome import STAGES

Story = Mapping[str, Any]


def chat_text(story: Story, results: Mapping[str, Any]) -> str:
    """Three to five lines for a chat: the sentence, what to do, since when, what it costs, and how to see the page.

    Parameters
    ----------
    story : mapping
        As `story.tell` makes it.
    results : mapping
        The stage results.
    """
    lines = [f"{story['opening']} {story['headline']}", story["lede"], *_costs(story, results), _where(results)]
    return "\n".join(say.harmless(line) for line in lines if line)


def ticket_text(story: Story, results: Mapping[str, Any]) -> str:
    """A text for a ticket: the sentence, the facts, two answers quoted, what is open."""
    parts = [f"{story['opening']} {story['headline']}", "", story["lede"], *_costs(story, results), ""]
    parts += [
        f"{fact['name']}: {fact['value']} ({fact['note']})" if fact["note"] else f"{fact['name']}: {fact['value']}"
        for fact in story["facts"]
    ]
    for quote in story["quotes"]:
        parts += [
            "",
            f"{quote['name']}:",
            f"Question: {say.one_line(quote['question'], 300)}",
            f"Answer: {say.one_line(quote['answer'], 600)}",
        ]
        parts += [f"Why: {say.one_line(quote['why'], 300)}"] if quote["why"] else []
    points = (results.get("learn") or {}).get("open_points") or []
    if points:
        parts += ["", "Open:", *(f"{i}. {point}" for i, point in enumerate(points, 1))]
    stages = results["incident"]["stages"]
    done = [stage for stage in STAGES if stages.get(stage) == "done"]
    parts += ["", f"Stages done: {', '.join(done)}.", _where(results)]
    return "\n".join(say.harmless(part) for part in parts)


def _costs(story: Story, results: Mapping[str, Any]) -> list[str]:
    if story.get("outcome") == "false_positive":
        return []
    waiting = ((results.get("respond") or {}).get("cost_of_waiting") or {}).get("text")
    return [f"Waiting costs {waiting.rstrip('.')}."] if waiting and waiting != "nothing" else []


def _where(results: Mapping[str, Any]) -> str:
    incident = results["incident"]
    return f"Incident {incident['incident_id']}, known at {say.moment(incident['log']['until'], year=True)}."
