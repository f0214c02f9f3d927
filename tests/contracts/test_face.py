"""What the package promises about its face, its command line and its pages."""

import ast
import asyncio
import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from numpydoc.docscrape import NumpyDocString

import llm_monitoring as lm
from tests.contracts.instances import commands

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llm_monitoring"
HEAVY = ("pandas", "ibis", "matplotlib", "papermill", "numpy", "scipy", "duckdb", "wordllama", "openai", "anywidget")
STAGES = [f"incident.{name}" for name in ("triage", "scope", "isolate", "respond", "learn")]
CALLABLES = [name for name in lm._HOME if callable(getattr(lm, name)) and not name.endswith("Error")] + STAGES


def public(name):
    thing = lm
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def fresh(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, llm_monitoring; print([one for one in {HEAVY} if one in sys.modules])"
    assert fresh(code) == "[]"


def test_importing_the_command_line_loads_nothing_heavy():
    code = f"import sys, llm_monitoring.cli; print([one for one in {HEAVY} if one in sys.modules])"
    assert fresh(code) == "[]"


def test_every_line_of_the_lazy_table_leads_to_its_name_and_again_at_the_second_use():
    for name in lm.__all__:
        assert getattr(lm, name) is getattr(lm, name)
    for name, home in lm._HOME.items():
        assert getattr(lm, name) is getattr(importlib.import_module(f"llm_monitoring.{home}"), name)
    assert set(dir(lm)) == set(lm.__all__)


def test_no_public_name_is_a_submodule_but_those_meant_as_modules():
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert modules & set(lm.__all__) == {"importers", "incident"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'llm_monitoring' has no attribute 'checks'$"):
        lm.checks  # noqa: B018


@pytest.mark.parametrize("name", CALLABLES)
def test_every_public_callable_has_types_and_a_docstring_with_its_parts(name):
    thing = public(name)
    told = NumpyDocString(inspect.getdoc(thing))
    assert told["Summary"], "no first line"
    taken = [one for one in inspect.signature(thing).parameters.values() if not one.name.startswith("_")]
    if inspect.isfunction(thing):
        untyped = [one.name for one in taken if one.annotation is one.empty]
        assert inspect.signature(thing).return_annotation is not inspect.Signature.empty, "no return type"
        assert len(untyped) <= 3, f"no types: {untyped}"
    described = {part.strip("* ") for one in told["Parameters"] + told["Attributes"] for part in one.name.split(",")}
    given = {one.name for one in taken} if name != "Log" else set()  # a Log is made by open_log
    assert given <= described, given - described
    assert ">>>" in inspect.getdoc(thing), "no example"


def test_every_public_name_is_in_the_documentation():
    pages = "\n".join(path.read_text("utf-8") for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
    absent = [name for name in [*lm._HOME, *STAGES] if not re.search(rf"\b{re.escape(name)}\b", pages)]
    assert absent == []


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("script", "function", "page"),
    [
        ("cli_page", "cli_page", "cli.md"),
        ("api_page", "api_page", "api.md"),
        ("module_map", "architecture_page", "architecture.md"),
    ],
)
def test_pages_made_from_the_code_are_up_to_date(script, function, page):
    made = getattr(load_script(script), function)()
    assert (ROOT / "docs" / page).read_text("utf-8").rstrip() == made.rstrip(), "stale: make docs"


def test_the_module_map_and_the_layers_hold_every_module_of_the_tree():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    paths = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]
    names = [".".join(path.with_suffix("").parts) for path in paths if path.name != "__init__.py"]
    assert [name for name in names if f"| `{name}` |" not in page] == []
    assert not re.search(r"\| `[^`]+` \|  \|", page), "a module without a first line"
    contract, *_ = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {path.parts[0].removesuffix(".py") for path in paths} <= {layer.strip("()") for layer in contract["layers"]}


@pytest.mark.parametrize(
    "page", ["README.md", "CHANGELOG.md", *sorted(f"docs/{one.name}" for one in ROOT.glob("docs/*.md"))]
)
def test_links_of_the_pages_lead_to_files(page):
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
    absent = [one for one in targets if not one.startswith("http") and not (path.parent / one).exists()]
    assert absent == []


def test_every_page_is_reached_from_the_index():
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    assert [one.name for one in ROOT.glob("docs/*.md") if one.name != "index.md" and f"({one.name})" not in index] == []


@pytest.mark.parametrize("name", commands())
def test_every_command_has_a_help_with_an_example_of_itself(name):
    from llm_monitoring.cli import main

    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0
    assert f"llm-monitoring {name} " in shown.output.split("Example")[1]


def test_no_module_runs_as_a_script_but_the_command_line():
    scripts = [path.name for path in PACKAGE.rglob("*.py") if "__main__" in path.read_text("utf-8")]
    assert set(scripts) <= {"cli.py", "__main__.py"}


def test_logged_text_reaches_a_notebook_or_a_page_through_escaping_only():
    """`HTML(`, `Markdown(`, `.style` and `escape=False` on logged text would run what it says."""
    risky = re.compile(
        r"\bHTML\(|\bHTMLMath\(|\bMarkdown\(|\.style\b(?!\.css)|escape=False|innerHTML|insertAdjacentHTML"
    )
    places = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.js"), *PACKAGE.rglob("*.html"), *ROOT.glob("notebooks/*.ipynb")]
    found = [f"{path.name}: {hit[0]}" for path in places for hit in risky.finditer(path.read_text("utf-8"))]
    assert found == []
    templates = [path.name for path in PACKAGE.rglob("*.html") if re.search(r"\| ?safe\b", path.read_text("utf-8"))]
    assert templates == []


def test_modules_stay_short_enough_to_be_read():
    lengths = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text("utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 600} == {}


def test_the_example_of_the_readme_that_needs_no_log_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (serving,) = [block for block in blocks if "QualityControlChart" in block]
    for block in blocks:
        compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    code = compile(serving, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    try:
        waiting = eval(code, {})
        if waiting is not None:
            asyncio.run(waiting)
    finally:
        lm.set_judge(None)
