"""A value that was there and is null after reading is a fault, unless a documented rule made it null, with a counted notice."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.schema import TABLES
from tests.builders import make_changes, make_judgements, make_probe_results, make_requests, make_reviews, make_signals

MADE = {
    "requests": make_requests,
    "signals": make_signals,
    "judgements": make_judgements,
    "changes": make_changes,
    "probe_results": make_probe_results,
    "reviews": make_reviews,
}
ODD = ["?", "  ", "NaN", "None", "0", "false", "yes", "1e999", "0,5", "2026", "infinity", "{}", "[]", "{bad", "-1", "é"]


def rows_with_one_odd_value(name: str) -> list[tuple[str, str, dict]]:
    """For every column and odd value a sound row that holds it."""
    sound = MADE[name](1).iloc[0].to_dict()
    sound = {key: value.isoformat() if isinstance(value, pd.Timestamp) else value for key, value in sound.items()}
    key = TABLES[name].unique
    made = []
    for column in TABLES[name].names:
        for odd in ODD:
            row = {**sound, column: odd}
            made.append((column, odd, {**row, key: f"id-{len(made)}"} if key and column != key else row))
    return made


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, "jsonl") for name in MADE),
        *(
            pytest.param(name, "csv", marks=[] if name in ("requests", "judgements") else pytest.mark.long)
            for name in MADE
        ),
    ],
)
def test_what_was_there_is_read_told_or_set_aside(name, form, tmp_path):
    made = rows_with_one_odd_value(name)
    rows = [{**row, "note_of_test": str(number)} for number, (_, _, row) in enumerate(made)]
    if form == "jsonl":
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    else:
        texts = [
            {key: json.dumps(value) if isinstance(value, dict) else value for key, value in row.items()} for row in rows
        ]
        pd.DataFrame(texts).to_csv(tmp_path / f"{name}.csv", index=False)
    log = lm.open_log(tmp_path, on_error="quarantine")
    found = getattr(log, name).set_index("note_of_test")
    lost: dict[str, int] = {}
    for number, (column, odd, _) in enumerate(made):
        if str(number) not in found.index:
            continue
        value = found.at[str(number), column]
        if value in (None, {}) or (not isinstance(value, dict) and pd.isna(value)):
            lost[column] = lost.get(column, 0) + (odd != "{}" or TABLES[name][column].kind != "json")
    counted: dict[str, int] = {}
    told = log._tables[name].counts()
    for number, each in enumerate(log._tables[name].mended):
        counted[each.column] = counted.get(each.column, 0) + (told[f"mended_{number}"] or 0)
    assert {column: n for column, n in lost.items() if counted.get(column, 0) < n} == {}
    aside = log.set_aside[name]
    assert len(aside) + len(found) == len(made)
    assert set(aside["reason"].str.split(":").str[0]) <= set(TABLES[name].names)
