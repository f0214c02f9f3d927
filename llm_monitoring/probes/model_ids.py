"""Model ids in source and configuration files: Python, TOML, YAML, JSON, .env, notebooks. Where each stands, nothing judged."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MOST_BYTES = 2_000_000
NOT_OURS = {
    ".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", "site-packages", ".mypy_cache", ".ruff_cache", ".tox",
    ".ipynb_checkpoints",
}  # fmt: skip
HASHED = {
    ".py",
    ".toml",
    ".yaml",
    ".yml",
    ".env",
    ".ini",
    ".cfg",
    ".sh",
    ".conf",
    ".properties",
}  # `#` begins a comment
KNOWN = re.compile(
    r"(?:[a-z_]+/)*(?:(?:ft:)?gpt-\d[\w.:@-]*|chatgpt-[\w.-]+|o[1-9](?:-[\w.-]+)?|text-embedding-[\w.-]+"
    r"|(?:[a-z-]+\.)?(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek)\.[a-z][\w.:-]+|claude-[\w.:@-]+"
    r"|gemini-[\w.@-]+|(?:open-)?(?:mistral|mixtral|codestral|ministral|pixtral|magistral|devstral)-[\w.-]+"
    r"|(?:c4ai-)?command-[\w.-]+|deepseek-(?:chat|reasoner|v\d)[\w.-]*|grok-[\w.-]+)"
)
KEY = re.compile(
    r"(?:^|_)(?:model|deployment|engine)(?:_(?:id|name|version|path))?$|(?:^|_)model_or_path$|_model_.*name_or_path$"
)
VALUE = re.compile(r"(?=.*[-/:\d])[A-Za-z0-9][\w./:@+-]{1,119}")
NO_ID = re.compile(
    r"https?:|.*\.(?:py|pkl|bin|json|ya?ml|onnx|txt|pt|gguf|safetensors|md|csv|parquet)$|[\d.:/-]+$|\./|/"
)
LOADERS = {"from_pretrained", "pipeline", "SentenceTransformer", "InferenceClient", "snapshot_download", "CrossEncoder"}
PAIR = re.compile(
    r"""(?:^|[\s,{(\[])\\?["']?([A-Za-z_][\w.-]*)\\?["']?\s*[:=]\s*(?:\\?["']([^"'\\]*)\\?["']|([^\s"',}#]+))"""
)
QUOTED = re.compile(r"""\\?["'`]([^"'`\\\s]{2,120})\\?["'`]""")
BARE = re.compile(r"^\s*-\s+([^\s#\"']+)\s*$")
COMMENT = re.compile(r"(?:^|\s)#.*$")


class Found(NamedTuple):
    """A model id, the file and line it stands in, and whether it names a deployment on Azure."""

    model_id: str
    file: Path
    line: int
    deployment: bool = False


def files_below(path: Path) -> Iterator[Path]:
    """The file, or the text-sized files of a folder without those of tools and environments."""
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if (
            file.is_file()
            and not NOT_OURS & set(file.relative_to(path).parts[:-1])
            and file.stat().st_size <= MOST_BYTES
        ):
            yield file


def model_ids(file: Path) -> list[Found]:
    """The model ids in a text file; none in a file that is no text.

    An id is a text of a shape that a provider uses, or whatever stands under a name such as `model`, `model_id`,
    `OPENAI_MODEL`, `azure_deployment`. Comments do not count.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):  # no text, or not ours to read: no model id can be told
        return []
    if file.suffix == ".py":
        try:
            return _unique(_in_python(ast.parse(text), file))
        except (SyntaxError, ValueError, RecursionError):
            pass
    return _unique(_in_lines(text, file))


def _unique(found: Iterable[Found]) -> list[Found]:
    return sorted(found, key=lambda one: (one.line, one.model_id))


def _is_key(name: str) -> bool:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(".", "_")
    return bool(KEY.search(snake))


def _is_id(value: str, key: str | None) -> bool:
    if KNOWN.fullmatch(value):
        return True
    return key is not None and _is_key(key) and bool(VALUE.fullmatch(value)) and not NO_ID.match(value)


def _in_python(tree: ast.AST, file: Path) -> Iterator[Found]:
    keys, pinned = _named(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            key = keys.get(id(node))
            if id(node) not in pinned and _is_id(node.value.strip(), key):
                yield Found(node.value.strip(), file, node.lineno, _is_deployment(key))


def _named(tree: ast.AST) -> tuple[dict[int, str], set[int]]:
    """The name under which each constant stands, and the constants beside which a revision is given."""
    keys: dict[int, str] = {}
    pinned: set[int] = set()
    for node in ast.walk(tree):
        pairs: list[tuple[str, ast.AST | None]] = []
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            pairs = [(word.arg, word.value) for word in node.keywords if word.arg]
            pairs += [("model", node.args[0])] if called in LOADERS and node.args else []
            if called in ("getenv", "get") and len(node.args) == 2 and isinstance(node.args[0], ast.Constant):
                pairs.append((str(node.args[0].value), node.args[1]))
            revision = next((word.value for word in node.keywords if word.arg == "revision"), None)
            if isinstance(revision, ast.Constant) and re.fullmatch(r"[0-9a-f]{7,40}", str(revision.value)):
                pinned |= {id(value) for _, value in pairs}
        elif isinstance(node, ast.Dict):
            pairs = [(str(k.value), v) for k, v in zip(node.keys, node.values) if isinstance(k, ast.Constant)]
        elif isinstance(node, ast.Assign):
            pairs = [(name, node.value) for target in node.targets if (name := _name(target))]
        elif isinstance(node, ast.AnnAssign):
            pairs = [(_name(node.target), node.value)]
        elif isinstance(node, ast.arguments):
            late = (node.posonlyargs + node.args)[::-1]
            pairs = [(a.arg, d) for a, d in zip(late, node.defaults[::-1])]
            pairs += [(a.arg, d) for a, d in zip(node.kwonlyargs, node.kw_defaults)]
        keys.update({id(value): name for name, value in pairs if isinstance(value, ast.Constant)})
    return keys, pinned


def _name(target: ast.AST) -> str:
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def _in_lines(text: str, file: Path) -> Iterator[Found]:
    hashed = file.suffix in HASHED or file.name.startswith(".env") or ".env" in file.suffixes
    for number, line in enumerate(text.split("\n"), start=1):
        line = COMMENT.sub("", line) if hashed else line
        found: dict[str, bool] = {}
        for match in PAIR.finditer(line):
            value = (match[2] if match[2] is not None else match[3]).strip()
            if _is_id(value, match[1]):
                found[value] = found.get(value, False) or _is_deployment(match[1])
        bare = [match[1] for match in (BARE.match(line),) if match]
        for value in [*(match[1] for match in QUOTED.finditer(line)), *bare]:
            if KNOWN.fullmatch(value):
                found.setdefault(value, False)
        yield from (Found(value, file, number, deployment) for value, deployment in found.items())


def _is_deployment(key: str | None) -> bool:
    return key is not None and "deployment" in key.lower()
