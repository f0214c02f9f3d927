"""Write the module map into docs/architecture.md: `python docs/module_map.py`. A test fails where it is stale.

The rows come from the tree and the first line of each module; their order is that of the layers in pyproject.toml.
"""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- module map: begin -->", "<!-- module map: end -->"


def architecture_page() -> str:
    """The page with the map of the tree as it is now."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{module_map()}\n{END}{after}"


def module_map() -> str:
    """A table with a row for each module, lowest layer first."""
    rows = ["| module | holds |", "| --- | --- |"]
    for layer in reversed(layers()):
        place = ROOT / "llm_monitoring" / layer
        if not place.is_dir() and not place.with_suffix(".py").exists():
            continue  # an optional layer that is not there
        if not place.is_dir():
            rows.append(_row(place.with_suffix(".py"), f"`{layer}`"))
            continue
        rows += _folder(place, layer)
    return "\n".join(rows)


def _folder(place: Path, name: str) -> list[str]:
    """A row for a folder, for each of its modules, and for the folders in it."""
    rows = [_row(place / "__init__.py", f"**`{name}/`**")]
    modules = sorted(path for path in place.glob("*.py") if path.name != "__init__.py")
    rows += [_row(path, f"`{name}.{path.stem}`") for path in modules]
    inside = sorted(path.parent for path in place.glob("*/__init__.py"))
    return rows + [row for path in inside for row in _folder(path, f"{name}.{path.name}")]


def layers() -> list[str]:
    """The layers of the import contract, highest first; parentheses (optional layers) taken off."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contract, *_ = settings["tool"]["importlinter"]["contracts"]
    return [layer.strip("()") for layer in contract["layers"]]


def _row(path: Path, name: str) -> str:
    told = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return f"| {name} | {told.split(chr(10))[0].replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    PAGE.write_text(architecture_page(), "utf-8")
    print(PAGE)
