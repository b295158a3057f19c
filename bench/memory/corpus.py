"""The corpus: SQLAlchemy's own docstrings, as a folder of markdown files.

One file for each module, one section for each class, function and method that has a docstring, under its name. Nothing
is imported; the source is read.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PACKAGE = "sqlalchemy"
LEFT_OUT = {"testing"}
"""Its test kit."""


class Lines(NamedTuple):
    first: int
    last: int


@dataclass
class Corpus:
    """`sections`: where each is, by path and name."""

    folder: Path
    files: int = 0
    size: int = 0
    sections: dict[tuple[str, str], Lines] = field(default_factory=dict)


def write(folder: Path, only: Container[str] | None = None) -> Corpus:
    """Write the corpus below a folder. `only`: these files of it."""
    found = find_spec(PACKAGE)
    assert found is not None and found.origin is not None
    root = Path(found.origin).parent
    corpus = Corpus(folder)
    for source in sorted(root.rglob("*.py")):
        below = source.relative_to(root)
        path = f"{PACKAGE}/{below.with_suffix('.md')}"
        if not LEFT_OUT & set(below.parts) and (only is None or path in only):
            _write_module(corpus, path, ast.parse(source.read_text()))
    return corpus


def _write_module(corpus: Corpus, path: str, module: ast.Module) -> None:
    name = path.removesuffix(".md").replace("/", ".").removesuffix(".__init__")
    lines = [f"# {name}", "", *(ast.get_docstring(module) or "").splitlines(), ""]
    for depth, section, docstring in _sections(module, ""):
        first = len(lines) + 1
        lines += [f"{'#' * depth} {section}", "", *docstring.splitlines(), ""]
        corpus.sections[path, section] = Lines(first, len(lines))
    if len(lines) <= 3:
        return
    text = "\n".join(lines)
    place = corpus.folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    corpus.files += 1
    corpus.size += len(text.encode())


def _sections(node: ast.AST, within: str) -> Iterator[tuple[int, str, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = within + child.name
            docstring = ast.get_docstring(child)
            if docstring:
                yield (3 if within else 2), name, docstring
            if isinstance(child, ast.ClassDef):
                yield from _sections(child, f"{name}.")
