"""Write docs/api.md from the docstrings: `python docs/api_page.py`. A test fails where the file is stale."""

import inspect
from itertools import groupby
from pathlib import Path

import llm_monitoring as lm

PAGE = Path(__file__).with_name("api.md")
HEAD = """# Public names

Made by `python docs/api_page.py` from the docstrings; do not edit. `import llm_monitoring as lm` gives all of them; each
loads on first use. `help(lm.check)` shows parameters, columns, what is raised, and an example.
"""
OPENING = {"incident": ("triage", "scope", "isolate", "respond", "learn")}


def api_page() -> str:
    """The page: every public name with its signature and the first sentence of its docstring, by module."""
    parts = [HEAD]
    homes = list(dict.fromkeys(lm._HOME.values()))  # in the order of the road, each once
    by_home = sorted(lm._HOME, key=lambda name: homes.index(lm._HOME[name]))
    for home, names in groupby(by_home, key=lm._HOME.__getitem__):
        parts.append(f"\n## `llm_monitoring.{home}`\n")
        parts += [_entry(f"lm.{name}", getattr(lm, name)) for name in names]
    for module, names in OPENING.items():
        parts.append(f"\n## `llm_monitoring.{module}`\n")
        parts += [_entry(f"lm.{module}.{name}", getattr(getattr(lm, module), name)) for name in names]
    parts.append("\n## `llm_monitoring.importers`\n")
    parts.append(inspect.getdoc(lm.importers) or "")
    return "\n".join(parts)


def _entry(name: str, thing: object) -> str:
    told = inspect.getdoc(thing) if callable(thing) else None
    first = (told or "").split("\n\n")[0].replace("\n", " ")
    return f"- `{name}{_signature(thing)}`: {first}" if first else f"- `{name}`: {type(thing).__name__}, a constant."


def _signature(thing: object) -> str:
    if not callable(thing) or (inspect.isclass(thing) and issubclass(thing, BaseException)):
        return ""
    taken = inspect.signature(thing).parameters.values()
    return f"({', '.join(_word(one) for one in taken if not one.name.startswith('_'))})"


def _word(taken: inspect.Parameter) -> str:
    word = str(taken.replace(annotation=taken.empty))
    return word if len(word) <= 50 else f"{taken.name}=..."


if __name__ == "__main__":
    PAGE.write_text(api_page() + "\n", "utf-8")
    print(PAGE)
