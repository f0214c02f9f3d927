"""Eval cases as files: our own JSON Lines, and the formats that eval tools load. Cases in, one file out; no statistics.

Logged text is hostile: it is never a template, a file name or code in any of these files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from llm_monitoring import disk
from llm_monitoring.errors import Fault, LogError
from llm_monitoring.results import jsonable

Case = Mapping[str, Any]
SAME = 90
MOST_OF_ONE = 20  # cases of one template: the same question with other numbers, names or quoted parts
BRACES, SCHEME = re.compile(r"\{(?=[{%#])|#(?=\})"), re.compile(r"[A-Za-z]+:")
LONE = re.compile("[\ud800-\udfff]")


def write_cases(cases: Iterable[Case], path: Path) -> None:
    """One JSON object a line, keys sorted: case_id, kind (failing or guard), input, bad_output or good_output, ..."""
    _lines(cases, path)


def append_cases(cases: Iterable[Case], path: Path) -> int:
    """Add the cases that a suite (JSON Lines as `write_cases` makes it) lacks; the number added.

    A case is there already where its id is, or a question of the same kind that is nearly the same (`same_question`); of
    one template (`template_of`) a suite holds 20 at most. Lines of the suite stay as they are.

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
    with disk.appending(path) as file:
        known = _read(path)
        ids = {str(case.get("case_id")) for case in known}
        held = Distinct()
        for case in known:
            held.add(str(case.get("kind", "failing")), str(case.get("input", "")), always=True)
        added = [case for case in cases if case["case_id"] not in ids and held.add(case["kind"], str(case["input"]))]
        if added:
            text = path.read_bytes()
            lines = "".join(_line(case) for case in added)
            disk.append(file, (("" if not text or text.endswith(b"\n") else "\n") + lines).encode(), sync=True)
    return len(added)


class Distinct:
    """Questions taken so far: a near-repeat is not taken again, and of one template at most 20 are."""

    def __init__(self) -> None:
        self.taken: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        self.of_template: Counter[tuple[str, str]] = Counter()

    def add(self, kind: str, question: str, always: bool = False) -> bool:
        """Whether a question is taken; `always` takes it whatever there is. An empty one is never a repeat."""
        alike, template = self.taken.setdefault((kind, specifics_of(question)), []), (kind, template_of(question))
        full = self.of_template[template] >= MOST_OF_ONE
        if not always and question.strip() and (full or any(same_question(question, other) for other in alike)):
            return False
        alike.append(question)
        self.of_template[template] += 1
        return True


QUOTED = r"\"[^\"]+\"|\u201c[^\u201d]+\u201d|\u201e[^\u201c\u201d]+[\u201c\u201d]|\u00ab[^\u00bb]+\u00bb|`[^`]+`|(?<!\w)'[^']+'(?!\w)"
CODE = r"(?<!\w)[^\W_]*(?:\d[\w.,:/-]*\w|\d)"  # numbers, dates, versions, ids: words with a digit in them
NAME = r"(?<=[^.!?\s:])[ ]+(?:[^\W\d_a-z\u00df-\u00ff][\w'-]*(?:[ ]+[^\W\d_a-z\u00df-\u00ff][\w'-]*)*)"
SPECIFIC = re.compile(f"({QUOTED})|({CODE})|({NAME})")


def specifics_of(question: str) -> tuple[str, ...]:
    """What makes a question its own beside its wording: numbers, codes, names, quoted parts; sorted.

    >>> specifics_of("Is 20,011 a prime number?"), specifics_of('What did Ada Lovelace mean by "engine"?')
    (('20011',), ('"engine"', 'Ada Lovelace'))
    """
    found = (match[0].strip() for match in SPECIFIC.finditer(question))
    return tuple(sorted(re.sub(r"(?<=\d),(?=\d{3})", "", one) for one in found if one != "I"))


def template_of(question: str) -> str:
    """The question with its specifics taken out.

    >>> template_of("Is 20011 a prime number?") == template_of("is 17 a prime number?")
    True
    """
    bare = SPECIFIC.sub(lambda match: " \u2026 " if match[0].strip() != "I" else match[0], question)
    return " ".join(bare.lower().split())


def same_question(a: str, b: str) -> bool:
    """Whether two questions are nearly the same: the same words in any order (rapidfuzz token-sort ratio of 90 or more).

    A question whose words are a part of the other's is not the same, nor is one with other numbers, names or quoted parts.

    >>> same_question("return my boots, how long?", "how long return my boots"), same_question("boots", "return my boots")
    (True, False)
    >>> same_question("Is 20011 a prime number?", "Is 20021 a prime number?")
    False
    """
    from rapidfuzz import fuzz, utils

    if specifics_of(a) != specifics_of(b):
        return False
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
    disk.write(path, "".join(_line(row) for row in rows))


def _promptfoo(cases: Iterable[Case], path: Path) -> None:
    """Tests for `tests: file://eval_cases.promptfoo.json`; their texts are no templates."""
    tests = [
        {
            "description": f"{case['case_id']} ({case['kind']})",
            "vars": {"input": _literal(case["input"])},
            "assert": [{"type": "llm-rubric", "value": _literal(_rubric(case))}],
            "metadata": {"case_id": case["case_id"], "kind": case["kind"], "incident_id": case.get("incident_id")},
        }
        for case in cases
    ]
    disk.write(path, _json(tests, indent=1) + "\n")


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
    disk.write(path, _json(rows, indent=1) + "\n")


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
    disk.write(path, _PYTEST.format(file=f"{path.stem}.jsonl"))


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
    """The right answer where a person wrote it down, else what must hold of one."""
    return str(case.get("expected_output") or case["expected_property"])


def _rubric(case: Case) -> str:
    right = case.get("expected_output")
    return f"{case['expected_property']}; a right answer: {right}" if right else str(case["expected_property"])


def _about(case: Case) -> dict[str, Any]:
    kept = ("case_id", "kind", "incident_id", "feature_id", "category", "reviewed", "bad_output")
    return {name: case[name] for name in kept if case.get(name) is not None}
