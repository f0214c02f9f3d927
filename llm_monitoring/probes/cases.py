"""Eval cases from a file or a table, as a list in one order. Nothing is asked here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_monitoring.errors import ConfigError, Fault, LogError, quote


def read_cases(cases: Any) -> list[dict[str, Any]]:
    """The cases in order of their ids, each question once; cases without a question cannot be asked and are left out.

    Parameters
    ----------
    cases : path or DataFrame
        JSON Lines or JSON as `learn` writes them, or the folder of an incident; `case_id` and `input` are used here.

    Raises
    ------
    LogError
        A line that is no case, or no case at all.

    Examples
    --------
    >>> import pandas as pd
    >>> read_cases(pd.DataFrame({"case_id": ["b", "a", "c"], "input": ["Hi", "Ho", "Hi "]}))
    [{'case_id': 'a', 'input': 'Ho'}, {'case_id': 'b', 'input': 'Hi'}]
    """
    label, placed = _placed(cases)
    faults = [
        Fault("cases", label, place, "input", _shown(case), "expected the text that the model is asked")
        for place, case in placed
        if not (isinstance(case, Mapping) and isinstance(case.get("input"), str))
    ]
    if faults:
        raise LogError(faults)
    read = [_case(case, place) for place, case in placed if case["input"].strip()]
    once: dict[str, dict[str, Any]] = {}
    for case in sorted(read, key=lambda case: (case["case_id"], case["input"])):
        once.setdefault(case["input"].strip(), case)
    if not once:
        expected = "holds no case that can be asked; expected at least one with `case_id` and `input`"
        raise LogError(Fault("cases", label, expected=expected))
    return list(once.values())


def _shown(case: Any) -> Any:
    return case.get("input", "no input") if isinstance(case, Mapping) else case


def _case(case: Mapping[str, Any], place: str) -> dict[str, Any]:
    known = {str(name): value for name, value in case.items() if value is not None and value == value}
    return known | {"case_id": str(known.get("case_id", place))}


def _placed(cases: Any) -> tuple[str, list[tuple[str, Any]]]:
    if isinstance(cases, str | Path):
        return _of_file(Path(cases))
    if hasattr(cases, "columns") and hasattr(cases, "to_dict"):
        return "cases", [(f"row {number}", row) for number, row in enumerate(cases.to_dict("records"))]
    raise ConfigError(f"compare_versions(cases): {quote(cases)}; expected a path or a DataFrame of eval cases")


def _of_file(path: Path) -> tuple[str, list[tuple[str, Any]]]:
    path = path / "eval_cases.jsonl" if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LogError(Fault("cases", str(path), expected=f"cannot be read ({error.strerror})")) from None
    except UnicodeDecodeError as error:
        raise LogError(Fault("cases", path.name, expected=f"byte {error.start} is not UTF-8")) from None
    if path.suffix == ".json":
        return path.name, [(f"case {number}", case) for number, case in enumerate(_array(text, path.name), start=1)]
    placed, faults = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            placed += [(f"line {number}", json.loads(line))] if line.strip() else []
        except (ValueError, RecursionError):
            faults.append(Fault("cases", path.name, f"line {number}", None, line, "expected one JSON object a line"))
    if faults:
        raise LogError(faults)
    return path.name, placed


def _array(text: str, name: str) -> list[Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LogError(Fault("cases", name, expected=f"{error}; expected a JSON list of cases")) from None
    return content if isinstance(content, list) else [content]
