"""The notebooks: as they are committed, and as the report executed them."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest

import llm_monitoring as lm
from llm_monitoring.errors import ConfigError
from llm_monitoring.reporting.folder import STAGES, notebook_of
from llm_monitoring.reporting.notebooks import Kernels, check_parameters, execute, notebooks_folder

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def run(names, folder, parameters):
    with Kernels() as kernels:
        return execute(names, folder, parameters, kernels, progress=False)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs_and_for_any_kernel(path):
    book = nbformat.read(path, as_version=4)
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(path))
    assert book.metadata.kernelspec.name == "python3"
    assert set(book.metadata) == {"kernelspec", "language_info"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_says_what_it_asks_takes_and_gives_then_names_its_parameters(path):
    first, second = nbformat.read(path, as_version=4).cells[:2]
    for word in ("**Question:**", "**Input:**", "**Output:**", "**Next:**"):
        assert word in first.source
    assert second.metadata.tags == ["parameters"]
    assert 'log: str = "sample_data"' in second.source


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_notebook_shows_logged_text_as_html(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    for word in ("HTML(", "Markdown(", ".style"):
        assert word not in source


def test_a_notebook_uses_public_names_only():
    for path in SOURCES:
        source = "\n".join(cell.source for cell in code_cells(path))
        assert set(re.findall(r"^(?:import|from) .*llm_monitoring.*$", source, re.MULTILINE)) == {
            "import llm_monitoring as lm"
        }
        names = set(re.findall(r"\blm\.(\w+)", source))
        assert names <= set(lm.__all__), path.name


def test_every_notebook_links_to_the_next():
    stages = [path.name for path in SOURCES]
    for path, following in zip(SOURCES, stages[1:]):
        text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        assert f"[{following}]({following})" in text, path.name


def test_the_package_finds_its_notebooks():
    assert sorted(path.name for path in notebooks_folder().glob("*.ipynb")) == [path.name for path in SOURCES]


def test_a_parameter_that_no_notebook_has_is_refused_with_the_nearest():
    with pytest.raises(ConfigError) as caught:
        check_parameters(ROOT / "notebooks" / "1_triage.ipynb", {"untl": ""})
    expected = "expected one of 'log', 'until', 'alert', 'reviews', 'plan', 'out', 'seed'; the nearest is 'until'"
    assert str(caught.value) == f"1_triage: parameter='untl'; {expected}"


def test_a_parameter_of_another_type_is_refused():
    with pytest.raises(ConfigError, match=r"^1_triage: parameter seed='zero'; expected int$"):
        check_parameters(ROOT / "notebooks" / "1_triage.ipynb", {"seed": "zero"})


def test_the_report_leaves_five_notebooks_executed_without_errors(report_folder):
    for stage in STAGES:
        cells = code_cells(report_folder / notebook_of(stage))
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]


def test_every_stage_shows_its_result_and_a_figure(report_folder):
    for stage in STAGES:
        outputs = [output for cell in code_cells(report_folder / notebook_of(stage)) for output in cell.outputs]
        kinds = {kind for output in outputs if "data" in output for kind in output.data}
        assert {"text/html", "image/png"} <= kinds, stage
        assert not [output for output in outputs if output.get("name") == "stderr"], stage


@pytest.mark.long
def test_an_executed_notebook_runs_again_where_it_lies_in_a_kernel_of_its_own(report_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(report_folder, copy)
    before = {stage: (copy / "results" / f"{stage}.json").read_bytes() for stage in STAGES}
    given = json.loads((report_folder / "results" / "incident.json").read_text())["parameters"]
    parameters = {"log": given["log"], "out": ".", "reviews": "reviews.jsonl"}
    failure, seconds = run([notebook_of("scope")], copy, parameters)
    assert failure is None
    assert list(seconds) == ["2_scope.ipynb"]
    assert {stage: (copy / "results" / f"{stage}.json").read_bytes() for stage in STAGES} == before


def test_explore_runs_from_any_folder(tmp_path):
    failure, _ = run(["0_explore.ipynb"], tmp_path, {"until": "2026-05-14T00:00:00Z"})  # half of it, sooner charted
    assert failure is None, str(failure)
    book = (tmp_path / "0_explore.ipynb").read_text("utf-8")
    assert "image/png" in book  # the explorer draws before any other cell: later figures are shown all the same
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0_explore.ipynb"]


def test_a_notebook_that_fails_names_notebook_cell_and_error(tmp_path):
    failure, _ = run(["2_scope.ipynb", "3_isolate.ipynb"], tmp_path, {"log": "nowhere"})
    start = "2_scope failed in cell 3: LogError: nowhere: "
    assert str(failure).startswith(start)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2_scope.ipynb"]
