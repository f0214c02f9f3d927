"""Eval cases as files: our own JSON Lines, and the formats that eval tools load. Cases in, one file out; no statistics.

Logged text is hostile: it is never a template, a file name or code in any of these files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from llm_monitoring.errors import Fault, LogError
from llm_monitoring.results import jsonable

Case = Mapping[str, Any]
SAME = 90
BRACES, SCHEME = re.compile(r"\{(?=[{%#])|#(?=\})"), re.compile(r"[A-Za-z]+:")
LONE = re.compile("[\ud800-\udfff]")


def write_cases(cases: Iterable[Case], path: Path) -> None:
    """One JSON object a line, keys sorted: case_id, kind (failing or guard), input, bad_output or good_output, ..."""
    _lines(cases, path)


def append_cases(cases: Iterable[Case], path: Path) -> int:
    """Add the cases that a suite (JSON Lines as `write_cases` makes it) lacks; the number added.

    A case is there already where its id is, or a question of the same kind that is nearly the same (`same_question`).
    Lines of the suite stay as they are.

    Raises
    ------
    LogError
        A line of the suite is no JSON object.

    Examples
    --------
    >>> import tempfile
    >>> suite = Path(tempfile.mkdtemp()) / "suite.jsonl"
    >>> case = {"case_id": "r1", "kind": "failing", "input": "how long may I return boots?"}
    >>> append_cases([case], suite), append_cases([case, {**case, "case_id": "r2"}], suite)
    (1, 0)
    """
    known = _read(path)
    ids = {str(case.get("case_id")) for case in known}
    questions = [(case.get("kind", "failing"), str(case.get("input", ""))) for case in known]
    added = []
    for case in cases:
        kind, question = case["kind"], str(case["input"])
        if case["case_id"] not in ids and not any(kind == k and same_question(question, q) for k, q in questions):
            added.append(case)
            questions.append((kind, question))
    if added:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = "".join(_line(case) for case in added)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + ("" if not text or text.endswith("\n") else "\n") + lines, encoding="utf-8")
    return len(added)


def same_question(a: str, b: str) -> bool:
    """Whether two questions are nearly the same: the same words in any order (rapidfuzz token-sort ratio of 90 or more).

    A question whose words are a part of the other's is not the same.

    >>> same_question("return my boots, how long?", "how long return my boots"), same_question("boots", "return my boots")
    (True, False)
    """
    from rapidfuzz import fuzz, utils

    return fuzz.token_sort_ratio(a, b, processor=utils.default_process) >= SAME


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            case = json.loads(line)
        except ValueError:
            case = None
        if not isinstance(case, dict):
            fault = Fault("eval suite", path.name, f"line {number}", None, line, "expected one JSON object a line")
            raise LogError(fault)
        found.append(case)
    return found


def _line(row: Any) -> str:
    return _json(row) + "\n"


def _json(value: Any, indent: int | None = None) -> str:
    """JSON that every reader takes: half surrogates, which no file can hold, become a visible mark."""
    text = json.dumps(jsonable(value), ensure_ascii=False, indent=indent, sort_keys=True)
    return LONE.sub("\ufffd", text)


def _lines(rows: Iterable[Any], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_line(row) for row in rows)


def _promptfoo(cases: Iterable[Case], path: Path) -> None:
    """Tests for `tests: file://eval_cases.promptfoo.json`; their texts are no templates."""
    tests = [
        {
            "description": f"{case['case_id']} ({case['kind']})",
            "vars": {"input": _literal(case["input"])},
            "assert": [{"type": "llm-rubric", "value": _literal(_expected(case))}],
            "metadata": {"case_id": case["case_id"], "kind": case["kind"], "incident_id": case.get("incident_id")},
        }
        for case in cases
    ]
    path.write_text(_json(tests, indent=1) + "\n", encoding="utf-8")


def _literal(text: str) -> str:
    """A text that promptfoo renders to itself: no brace of it opens or closes a template, its start names no file or package.

    A raw block would not do: the text may end it (`{%- endraw -%}`), and promptfoo leaves a value that names an unknown
    variable as it is, the raw marks too.

    >>> _literal("{{ x }}"), _literal("file:///etc/passwd")
    ('{{ "{" }}{ x }}', '{{ "f" }}ile:///etc/passwd')
    """
    text = BRACES.sub(lambda mark: f'{{{{ "{mark[0]}" }}}}', text)
    return f'{{{{ "{text[0]}" }}}}{text[1:]}' if SCHEME.match(text) else text


def _inspect(cases: Iterable[Case], path: Path) -> None:
    """Samples for `inspect_ai.dataset.json_dataset`: id, input, target, metadata."""
    rows = (
        {"id": case["case_id"], "input": case["input"], "target": _expected(case), "metadata": _about(case)}
        for case in cases
    )
    _lines(rows, path)


def _deepeval(cases: Iterable[Case], path: Path) -> None:
    """Goldens for `EvaluationDataset.add_goldens_from_json_file`: input, expected_output, additional_metadata."""
    rows = [
        {
            "input": case["input"],
            "expected_output": _expected(case),
            "name": case["case_id"],
            "additional_metadata": _about(case),
        }
        for case in cases
    ]
    path.write_text(_json(rows, indent=1) + "\n", encoding="utf-8")


def _openai(cases: Iterable[Case], path: Path) -> None:
    """Rows of a data source for the OpenAI evals API: one object under `item` a line."""
    rows = (
        {"item": {"case_id": case["case_id"], "input": case["input"], "expected": _expected(case), **_about(case)}}
        for case in cases
    )
    _lines(rows, path)


def _pytest(cases: Iterable[Case], path: Path) -> None:
    """A test module that reads the cases beside it; the fixtures `answer` and `holds` are the team's."""
    _lines(cases, path.with_name(f"{path.stem}.jsonl"))
    path.write_text(_PYTEST.format(file=f"{path.stem}.jsonl"), encoding="utf-8")


_PYTEST = '''"""Failing cases of an incident. Give two fixtures in conftest.py: `answer` (question -> answer of your feature) and
`holds` (expected property, question, answer -> bool: a judge, or a rule of yours)."""

import json
from pathlib import Path

import pytest

LINES = Path(__file__).with_name("{file}").read_text(encoding="utf-8").split("\\n")
CASES = [json.loads(line) for line in LINES if line.strip()]


@pytest.mark.parametrize("case", CASES, ids=[case["case_id"] for case in CASES])
def test_case(case, answer, holds):
    given = answer(case["input"])
    assert given.strip() != case.get("bad_output", "").strip() or case["kind"] == "guard"
    assert holds(case["expected_property"], case["input"], given)
'''

FORMATS: dict[str, tuple[str, Callable[[Iterable[Case], Path], None]]] = {
    "jsonl": ("eval_cases.jsonl", write_cases),
    "promptfoo": ("eval_cases.promptfoo.json", _promptfoo),
    "inspect": ("eval_cases.inspect.jsonl", _inspect),
    "deepeval": ("eval_cases.deepeval.json", _deepeval),
    "openai": ("eval_cases.openai.jsonl", _openai),
    "pytest": ("test_eval_cases.py", _pytest),
}


def _expected(case: Case) -> str:
    return str(case["expected_property"])


def _about(case: Case) -> dict[str, Any]:
    kept = ("case_id", "kind", "incident_id", "feature_id", "category", "reviewed", "bad_output")
    return {name: case[name] for name in kept if case.get(name) is not None}
