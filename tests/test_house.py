"""The house rules, read from the source of every module: which room may use which, and how large anything may be.

cli → api, worker → workflows → activities → store → session        settings: for cli, api and worker alone;
                                                                    it knows the pure room only, and its own forms
fake_model knows no other room, and only the demo, tests and bench know it
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
NOT_OURS: Final = frozenset({"build", "dist", "node_modules", "__pycache__"})

LEVEL: Final = {"session": 0, "store": 1, "activities": 2, "workflows": 3, "api": 4, "worker": 4, "cli": 5}
ROOMS: Final = frozenset(LEVEL) | {"settings", "settings_forms", "fake_model"}
READERS_OF_SETTINGS: Final = frozenset({"cli", "api", "worker"})
USERS_OF_THE_SCRIPTED_MODEL: Final = frozenset({"cli/demonstration.py"})

ONLY_IN: Final = {"anthropic": "activities", "fastapi": "api", "sqlalchemy": "store", "alembic": "store"}
"""Libraries that one room hides from the others."""

PURE: Final = frozenset(sys.stdlib_module_names) | {"pydantic", "pydantic_core", "session"}
IMPURE: Final = frozenset(
    {"asyncio", "ctypes", "fcntl", "getpass", "glob", "http", "io", "logging", "mmap", "multiprocessing", "os"}
    | {"pathlib", "platform", "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3"}
    | {"ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uuid", "zoneinfo"}
)
IMPURE_CALLS: Final = frozenset({"open", "print", "input", "breakpoint", "now", "utcnow", "today"})

READS_THE_ENVIRONMENT: Final = {
    "settings.py": "the one place where settings come from",
    "activities/tools/environment.py": "passes an allow-list on to commands and interprets none of it",
}

MOST_LINES, MOST_LINES_OF_A_FUNCTION = 320, 60


def modules() -> Iterator[tuple[str, str]]:
    """Path below the root and source of every module of ours."""
    for path in sorted(ROOT.rglob("*.py")):
        below = path.relative_to(ROOT)
        if not any(part.startswith(".") or part in NOT_OURS for part in below.parts):
            yield below.as_posix(), path.read_text()


def room_of(path: str) -> str:
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported, also inside functions; `from a import b` names `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def broken_rules(path: str, source: str) -> list[str]:
    """Every rule that this module breaks, as a sentence."""
    tree = ast.parse(source)
    room = room_of(path)
    said = [*_too_large(source, tree)]
    if room in ROOMS:
        said += _wrong_rooms(path, room, tree)
        said += [
            f"imports {library}, which is for {home}/ alone"
            for library, home in ONLY_IN.items()
            if room != home and library in {name.split(".")[0] for name in imports(tree)}
        ]
        if path not in READS_THE_ENVIRONMENT and _reads_environment(tree):
            said.append("reads the environment, which is for settings.py")
    if room == "session":
        said += _impurities(tree)
    return [f"{path} {sentence}" for sentence in said]


def _wrong_rooms(path: str, room: str, tree: ast.AST) -> Iterator[str]:
    for other in sorted({name.split(".")[0] for name in imports(tree)} & ROOMS - {room}):
        if other == "settings":
            allowed = room in READERS_OF_SETTINGS
        elif other == "settings_forms":
            allowed = room == "settings"
        elif other == "fake_model":
            allowed = path in USERS_OF_THE_SCRIPTED_MODEL
        elif room in {"settings", "settings_forms"}:
            allowed = other == "session"
        else:
            allowed = room in LEVEL and LEVEL[other] < LEVEL[room]
        if not allowed:
            yield f"imports {other}, which {room} may not know"


def _impurities(tree: ast.AST) -> Iterator[str]:
    names = set(imports(tree))
    for name in sorted({name.split(".")[0] for name in names} - PURE - ROOMS):
        yield f"imports {name}, but session knows the standard library and pydantic alone"
    for name in sorted((names | {name.split(".")[0] for name in names}) & IMPURE):
        yield f"imports {name}, but session has no clock and touches nothing"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if called in IMPURE_CALLS:
                yield f"calls {called}() on line {node.lineno}, but session has no clock and touches nothing"


def _reads_environment(tree: ast.AST) -> bool:
    names = {"environ", "environb", "getenv", "getenvb"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names and isinstance(node.value, ast.Name):
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "os" and names & {alias.name for alias in node.names}:
            return True
    return False


def _too_large(source: str, tree: ast.AST) -> Iterator[str]:
    lines = len(source.splitlines())
    if lines > MOST_LINES:
        yield f"has {lines} lines, more than {MOST_LINES}"
    for name, length in functions(tree):
        if length > MOST_LINES_OF_A_FUNCTION:
            yield f"has {name}() of {length} lines, more than {MOST_LINES_OF_A_FUNCTION}"


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Name and length in lines of every function, nested ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_every_module_keeps_the_house_rules() -> None:
    sizes = {path: len(source.splitlines()) for path, source in modules()}
    longest = max(sizes, key=lambda path: sizes[path])
    p90 = round(statistics.quantiles(sizes.values(), n=10, method="inclusive")[8])
    print(
        f"{len(sizes)} modules; the longest is {longest} with {sizes[longest]} lines; nine of ten have {p90} or fewer"
    )
    assert {"session", "store", "cli", "settings"} <= {room_of(path) for path in sizes}, "the walk misses rooms"
    broken = [sentence for path, source in modules() for sentence in broken_rules(path, source)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("path", "source", "said"),
    [
        ("session/x.py", "from store import Store", "imports store, which session may not know"),
        ("store/x.py", "def f():\n    from activities.reply import Reply", "imports activities"),
        ("activities/x.py", "import workflows.session", "imports workflows"),
        ("workflows/x.py", "import api", "imports api"),
        ("worker.py", "from api.app import create_app", "imports api"),
        ("api/x.py", "from worker import make_workers", "imports worker"),
        ("api/x.py", "from cli.main import main", "imports cli"),
        ("settings.py", "from store.schema import sessions", "imports store"),
        ("settings_forms.py", "from store.schema import sessions", "imports store"),
        ("settings_forms.py", "import os\nx = os.environ", "reads the environment"),
        ("api/x.py", "from settings_forms import ApiKey", "imports settings_forms"),
        ("store/x.py", "from settings import Settings", "imports settings"),
        ("workflows/x.py", "from settings import Settings", "imports settings"),
        ("fake_model/x.py", "from session.usage import Usage", "imports session"),
        ("cli/main.py", "from fake_model.serve import running", "imports fake_model"),
        ("worker.py", "from anthropic import AsyncAnthropic", "imports anthropic, which is for activities/ alone"),
        ("cli/x.py", "import fastapi.routing", "imports fastapi"),
        ("activities/x.py", "import sqlalchemy as sa", "imports sqlalchemy"),
        ("api/x.py", "from alembic import op", "imports alembic"),
        ("session/x.py", "import temporalio", "the standard library and pydantic alone"),
        ("session/x.py", "import time", "no clock"),
        ("session/x.py", "from os import path", "no clock and touches nothing"),
        ("session/x.py", "from urllib import request", "imports urllib.request"),
        ("session/x.py", "from datetime import datetime\nx = datetime.now()", "calls now() on line 2"),
        ("session/x.py", "x = open('y')", "calls open()"),
        ("store/x.py", "import os\nx = os.environ['Y']", "reads the environment"),
        ("cli/x.py", "from os import getenv", "reads the environment"),
        ("cli/x.py", "x = 1\n" * 321, "has 321 lines"),
        ("tests/x.py", "def f():\n" + "    x = 1\n" * 60, "has f() of 61 lines"),
        ("api/x.py", "class A:\n  async def g(self):\n" + "    x = 1\n" * 60, "has g() of 61 lines"),
    ],
)
def test_a_module_that_breaks_a_rule_is_told_which(path: str, source: str, said: str) -> None:
    sentences = broken_rules(path, source)
    assert len(sentences) == 1, sentences
    assert sentences[0].startswith(path) and said in sentences[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("cli/x.py", "import api.app, worker, settings, session.ids, store"),
        ("cli/demonstration.py", "from fake_model.serve import running"),
        ("tests/x.py", "import fake_model, anthropic, sqlalchemy, os\nx = os.environ"),
        ("bench/x.py", "import fake_model"),
        ("worker.py", "import activities, workflows.session, settings, temporalio"),
        ("activities/x.py", "import anthropic, store, session"),
        ("activities/tools/environment.py", "import os\nx = os.environ"),
        ("store/migrations/env.py", "import alembic, sqlalchemy"),
        ("session/x.py", "import pydantic, json, re\nfrom datetime import datetime\nfrom session.ids import make_id"),
        ("session/x.py", "x = 1\n" * 320),
    ],
)
def test_a_module_that_keeps_the_rules_is_left_alone(path: str, source: str) -> None:
    assert broken_rules(path, source) == []
