"""The exported files in the tools themselves, where those are installed: point the variables at them, else this is skipped.

`INSPECT_PYTHON` and `DEEPEVAL_PYTHON` name the Python of an environment with inspect-ai and with deepeval, `PROMPTFOO` the
command; the tools are too heavy for the development environment (checked with inspect-ai 0.3.285, deepeval 4.3.1,
promptfoo 0.121.20).
"""

import json
import os
import shutil
import subprocess

import pytest

from llm_monitoring.incident.suites import FORMATS

TEXTS = [
    "plain question", "{{ 7*7 }} {% if x %} {% endraw %} {%- endraw -%} {# c #}", "{% raw %}a{% endraw %}b", "{{{ a }}} {{{{",
    "a {{ input }} b {{ env.PATH }}", "}} %} #}", "{", "{%\nendraw\n%}", "file:///etc/passwd", "package:@x/y", "python:os.system",
    "quotes \" ' ` \\ \\n ${HOME} $(id) %s {x}", "line1\nline2\r\nline3\u2028x\u2029y\ttab", "nul \x00 bell \x07 esc \x1b[31m",
    "<script>alert(1)</script><img src=x onerror=alert(1)>", "- yaml: &a [*a, !!python/object]\n--- \n? k\n: v # c",
    "=cmd|' /C calc'!A0", "x" * 50_000, "日本 🎉 \u202e rtl", '["a","b"]', '{"a": 1}', "null", "123", "http://x/y.png",
]  # fmt: skip
CASES = [
    {
        "case_id": f"r{number}", "kind": "failing", "incident_id": "inc {{ env.HOME }}", "input": text, "bad_output": text,
        "expected_property": f"{text} holds", "reviewed": True,
    }
    for number, text in enumerate(TEXTS)
]  # fmt: skip
READ = {
    "INSPECT_PYTHON": (
        "inspect",
        "from inspect_ai.dataset import json_dataset\nrows = [[s.id, s.input, s.target] for s in json_dataset(path)]\n",
    ),
    "DEEPEVAL_PYTHON": (
        "deepeval",
        "from deepeval.dataset import EvaluationDataset\n"
        "found = EvaluationDataset()\nfound.add_goldens_from_json_file(path)\n"
        "rows = [[g.name, g.input, g.expected_output] for g in found.goldens]\n",
    ),
}


@pytest.mark.parametrize("variable", READ)
def test_a_python_tool_reads_every_text_as_it_was_logged(variable, tmp_path):
    python, (name, code) = os.environ.get(variable), READ[variable]
    if not python:
        pytest.skip(f"{variable} names no environment with the tool")
    file, write = FORMATS[name]
    write(CASES, tmp_path / file)
    script = f"import json\npath = {str(tmp_path / file)!r}\n{code}json.dump(rows, open('rows.json', 'w'))\n"
    quiet = {**os.environ, "DEEPEVAL_TELEMETRY_OPT_OUT": "1"}
    subprocess.run([python, "-c", script], cwd=tmp_path, env=quiet, check=True, capture_output=True)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert rows == [[case["case_id"], case["input"], case["expected_property"]] for case in CASES]


def test_promptfoo_asks_every_question_as_it_was_logged(tmp_path):
    command = os.environ.get("PROMPTFOO") or shutil.which("promptfoo")
    if not command:
        pytest.skip("PROMPTFOO names no command, and promptfoo is not on the path")
    file, write = FORMATS["promptfoo"]
    write(CASES, tmp_path / file)
    (tmp_path / "model.js").write_text(
        "module.exports = class { id() { return 'model' }\n"
        "  async callApi(prompt) { return { output: JSON.stringify({ asked: prompt }) } } };\n"
    )
    (tmp_path / "grader.js").write_text(
        "const fs = require('fs');\nmodule.exports = class { id() { return 'grader' }\n"
        "  async callApi(prompt) { fs.appendFileSync('graded.jsonl', JSON.stringify(JSON.parse(prompt)[1].content) + '\\n');\n"
        "    return { output: JSON.stringify({ pass: true, score: 1, reason: 'ok' }) } } };\n"
    )
    (tmp_path / "promptfooconfig.yaml").write_text(
        "prompts: ['{{input}}']\nproviders: ['file://model.js']\n"
        f"defaultTest: {{options: {{provider: 'file://grader.js'}}}}\ntests: file://{file}\n"
    )
    quiet = {**os.environ, "PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1"}
    quiet["PROMPTFOO_CONFIG_DIR"] = str(tmp_path / "home")
    line = [command, "eval", "-c", "promptfooconfig.yaml", "--no-cache", "--no-table", "--no-write", "-o", "out.json"]
    subprocess.run(line, cwd=tmp_path, env=quiet, check=False, capture_output=True)
    rows = json.loads((tmp_path / "out.json").read_text())["results"]["results"]
    assert not [row["error"] for row in rows if row.get("error")]
    asked = {row["testCase"]["metadata"]["case_id"]: row["response"]["output"] for row in rows}
    told = {
        name: json.loads(given)["asked"] if isinstance(given, str) else given["asked"] for name, given in asked.items()
    }
    assert told == {case["case_id"]: case["input"] for case in CASES}
    graded = [json.loads(line) for line in (tmp_path / "graded.jsonl").read_text().split("\n") if line]
    assert all(any(case["expected_property"] in rubric for rubric in graded) for case in CASES)
