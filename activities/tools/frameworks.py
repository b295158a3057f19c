"""How the tests of a project are run, found by the files in its folder.

The project is the nearest folder, from where is asked up to the workspace, in which something says how to test it.
Of several ways the first of `FRAMEWORKS` that is set up there is taken. Python test files without settings are taken
where nothing is set up but a Makefile, from the uppermost folder that has any.
"""

import json
import os
import posixpath
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from activities.tools.confine import located
from activities.tools.files import read_whole
from activities.tools.spec import ToolError

Framework = Literal["pytest", "unittest", "npm", "go", "cargo", "make"]
FRAMEWORKS: Final[tuple[Framework, ...]] = get_args(Framework)

_PYTEST_SETTINGS: Final = {
    "pytest.ini": "",
    ".pytest.ini": "",
    "pytest.toml": "",
    "conftest.py": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}
"""Files that set pytest up, and what must be in them."""
_TEST_FILE = re.compile(r"(?:test.*|.*_test)\.py")
_MAKE_TARGET = re.compile(r"^test\s*:(?!=)", re.MULTILINE)
_MAKEFILES: Final = ("GNUmakefile", "makefile", "Makefile")


@dataclass(frozen=True)
class Project:
    """`folder`: from the workspace on. `target`: what is to be tested, from `folder` on; empty: all of it."""

    folder: str
    target: str
    target_is_file: bool
    framework: Framework
    others: tuple[Framework, ...] = ()


def project(workspace: Path, path: str, wanted: Framework | None) -> Project:
    """The project that `path` belongs to, and how to test it. Blocks. Raises `ToolError`, also NO_TESTS_FOUND."""
    with located(workspace, path) as place:
        status = place.status()
        if status is None:
            raise ToolError("NOT_FOUND", f"`{path}` does not exist in the workspace")
        is_file = not stat.S_ISDIR(status.st_mode)
        if is_file:
            place.require_file(status)
        names = [] if place.relative == "." else place.relative.split("/")
    plain: Project | None = None
    for depth in range(len(names) - is_file, -1, -1):
        folder, target = "/".join(names[:depth]) or ".", "/".join(names[depth:])
        ways = _ways(workspace, folder)
        if wanted in ways or (ways and wanted is None):
            chosen = wanted or ways[0]
            others = tuple(each for each in ways if each != chosen)
            return Project(folder, target, is_file, chosen, others)
        if _has_tests(workspace, folder):  # the uppermost of such folders is the project
            plain = Project(folder, target, is_file, wanted if wanted == "unittest" else "pytest")
    if plain is not None and wanted in (None, "pytest", "unittest"):
        return plain
    if wanted is not None:  # it was named, so it is tried where it was asked for
        depth = len(names) - is_file
        return Project("/".join(names[:depth]) or ".", "/".join(names[depth:]), is_file, wanted)
    raise ToolError(
        "NO_TESTS_FOUND",
        f"nothing in `{path}` or above says how to run its tests (looked for pytest and unittest files, package.json "
        "with a test script, go.mod, Cargo.toml, a Makefile with a test target); name the framework, or use exec",
    )


def _ways(workspace: Path, folder: str) -> list[Framework]:
    """The frameworks that are set up in this folder."""
    names = _listed(workspace, folder)

    def says(name: str, what: str) -> bool:
        return name in names and (not what or what in _text(workspace, posixpath.join(folder, name)))

    ways: list[Framework] = []
    if any(says(name, what) for name, what in _PYTEST_SETTINGS.items()):
        ways.append("pytest")
    if "package.json" in names and _has_script(_text(workspace, posixpath.join(folder, "package.json"))):
        ways.append("npm")
    if "go.mod" in names:
        ways.append("go")
    if "Cargo.toml" in names:
        ways.append("cargo")
    makefile = next((name for name in _MAKEFILES if name in names), None)
    # A Makefile is often a short form of what is there anyway, so it is the last resort.
    if makefile is not None and not (ways or _has_tests(workspace, folder)):
        ways += ["make"] if _MAKE_TARGET.search(_text(workspace, posixpath.join(folder, makefile))) else []
    return ways


def _has_tests(workspace: Path, folder: str) -> bool:
    """Whether there are Python test files here or in its folder of tests."""
    folders = (folder, posixpath.join(folder, "tests"), posixpath.join(folder, "test"))
    return any(_TEST_FILE.fullmatch(name) for each in folders for name in _listed(workspace, each))


def _has_script(package: str) -> bool:
    try:
        script = json.loads(package)["scripts"]["test"]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(script, str) and "no test specified" not in script  # what npm init writes


def _listed(workspace: Path, folder: str) -> set[str]:
    with suppress(ToolError), located(workspace, folder) as place:
        opened = place.open_folder()
        try:
            return set(os.listdir(opened))
        finally:
            os.close(opened)
    return set()


def _text(workspace: Path, path: str) -> str:
    with suppress(ToolError), located(workspace, path) as place:
        return read_whole(place).decode(errors="replace")
    return ""
