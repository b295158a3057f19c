"""test_run: the tests of a workspace, by whatever runs them there."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from activities.tools import ToolContext, ToolError, call
from activities.tools.counts import Counts, counted
from activities.tools.frameworks import project
from activities.tools.test_run import TOOL
from session.policy import CommandPolicy, ToolPolicy
from tests.tools.room import Room, running, until

PASSING = "def test_one():\n    assert True\n\ndef test_two():\n    assert True\n"
FAILING = "def test_three():\n    assert 1 == 2, 'not the same'\n"
UNITTEST = "import unittest\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(1, {})\n"
PACKAGE = '{{"name": "p", "version": "1.0.0", "scripts": {{"test": "{}"}}}}'


class Bench(Room):
    """A room without the sandbox, for which other tests are there."""

    def context(self, **details: Any) -> ToolContext:
        return super().context(policy=ToolPolicy(commands=CommandPolicy(sandbox="off")), **details)

    async def tests(self, **arguments: Any) -> str:
        return (await call(TOOL, arguments, self.context())).content

    async def tests_refused(self, **arguments: Any) -> ToolError:
        with pytest.raises(ToolError) as caught:
            await self.tests(**arguments)
        return caught.value


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_passing_tests_are_told_by_a_first_line_with_counts_and_command(bench: Bench) -> None:
    bench.file("tests/test_a.py", PASSING)
    bench.file("pytest.ini", "[pytest]\n")
    told = await bench.tests()
    first = told.splitlines()[0]
    assert first.startswith("2 passed, 0 failed · exit code 0 · ") and first.endswith("-m pytest")
    assert "".join(text for _, text in bench.heard) == told.split("\n", 1)[1]


async def test_failing_tests_are_an_error_with_the_output(bench: Bench) -> None:
    bench.file("tests/test_a.py", PASSING)
    bench.file("tests/test_b.py", FAILING)
    error = await bench.tests_refused()
    assert error.code == "TESTS_FAILED" and error.message == "2 passed, 1 failed (pytest, exit code 1)"
    assert error.content.startswith("2 passed, 1 failed · exit code 1 · ") and "not the same" in error.content


@pytest.mark.parametrize(
    ("asked", "counts"),
    [
        ({"path": "tests/test_a.py"}, "2 passed"),
        ({"path": "tests/test_a.py::test_two"}, "1 passed"),
        ({"path": "tests", "args": ["-k", "test_one"]}, "1 passed"),
    ],
)
async def test_a_part_of_the_tests_may_be_asked_for(bench: Bench, asked: dict[str, Any], counts: str) -> None:
    bench.file("tests/test_a.py", PASSING)
    bench.file("tests/test_b.py", FAILING)
    assert (await bench.tests(**asked)).startswith(counts)


async def test_unittest_is_run_when_it_is_asked_for(bench: Bench) -> None:
    bench.file("thing.py", "x = 1\n")
    bench.file("tests/test_u.py", "import thing\n" + UNITTEST.format("1"))
    assert (await bench.tests(framework="unittest")).startswith("1 passed, 0 failed")
    bench.file("tests/test_v.py", UNITTEST.format("2"))
    error = await bench.tests_refused(framework="unittest")
    assert error.code == "TESTS_FAILED" and "1 passed, 1 failed (unittest" in error.message
    assert (await bench.tests(framework="unittest", path="tests/test_u.py")).startswith("1 passed")


async def test_the_workspaces_own_environment_is_preferred(bench: Bench) -> None:
    """One that has no pytest is passed over, and one that has it is used."""
    bench.file("test_a.py", PASSING)
    python = bench.file(".venv/bin/python", "#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    assert str(python) not in (await bench.tests()).splitlines()[0]
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    assert f" · {python} -m pytest" in (await bench.tests()).splitlines()[0]


async def test_no_tests_is_not_taken_for_passing(bench: Bench) -> None:
    bench.file("pytest.ini", "[pytest]\n")
    assert (await bench.tests_refused()).code == "NO_TESTS_FOUND"
    bench.file("tests/test_empty.py", "")
    assert (await bench.tests_refused(framework="unittest")).code == "NO_TESTS_FOUND"


async def test_a_workspace_without_tests_says_what_was_looked_for(bench: Bench) -> None:
    bench.file("package.json", PACKAGE.format('echo \\"Error: no test specified\\" && exit 1'))
    bench.file("Makefile", "testing: all\n")
    error = await bench.tests_refused()
    assert error.code == "NO_TESTS_FOUND"
    assert all(name in error.message for name in ("pytest", "package.json", "go.mod", "Cargo.toml", "Makefile"))


@pytest.mark.parametrize(
    ("files", "path", "expected"),
    [
        (["pyproject.toml", "Makefile", "tests/test_a.py"], ".", (".", "", "pytest", ())),
        (["pyproject.toml", "package.json"], ".", (".", "", "pytest", ("npm",))),
        (["pyproject.toml", "web/package.json", "web/src/a.test.js"], "web/src", ("web", "src", "npm", ())),
        (["pyproject.toml", "tests/test_a.py"], "tests/test_a.py", (".", "tests/test_a.py", "pytest", ())),
        (["tests/unit/test_a.py", "tests/test_b.py"], "tests/unit", (".", "tests/unit", "pytest", ())),
        (["go.mod", "pkg/a_test.go"], "pkg", (".", "pkg", "go", ())),
        (["Cargo.toml", "Makefile"], ".", (".", "", "cargo", ())),
        (["Makefile", "src/a.c"], "src", (".", "src", "make", ())),
        (["Makefile", "test_a.py"], ".", (".", "", "pytest", ())),
    ],
)
def test_the_nearest_project_is_found_and_how_it_is_tested(
    bench: Bench, files: list[str], path: str, expected: tuple[object, ...]
) -> None:
    contents = {
        "pyproject.toml": "[tool.pytest.ini_options]\n",
        "package.json": PACKAGE.format("node --test"),
        "Makefile": "all:\n\ntest: all\n\ttrue\n",
    }
    for name in files:
        bench.file(name, contents.get(name.rsplit("/", maxsplit=1)[-1], ""))
    found = project(bench.workspace, path, None)
    assert (found.folder, found.target, found.framework, found.others) == expected


async def test_make_and_npm_are_run_where_they_are(bench: Bench) -> None:
    for program, name, content, line in (
        ("make", "Makefile", "test:\n\t@echo 3 passing; test ! -e broken\n", "make test"),
        ("npm", "web/package.json", PACKAGE.format("echo 3 passing; test ! -e broken"), "npm test (in web)"),
    ):
        bench.file(name, content)
        folder = str(Path(name).parent)
        if shutil.which(program) is None:
            assert (await bench.tests_refused(path=folder)).code == "NOT_FOUND"
            continue
        assert (await bench.tests(path=folder)).startswith(f"3 passed, 0 failed · exit code 0 · {line}\n")
        bench.file(f"{folder}/broken")
        assert (await bench.tests_refused(path=folder)).code == "TESTS_FAILED"


async def test_tests_that_take_too_long_are_killed_and_their_output_is_shown(bench: Bench, sleep: str) -> None:
    bench.file("Makefile", f"test:\n\t@echo begun; {sleep}\n")
    if shutil.which("make") is None:
        assert (await bench.tests_refused()).code == "NOT_FOUND"
        return
    error = await bench.tests_refused(timeout=1)
    assert error.code == "TIMEOUT" and "begun" in error.content
    await until(lambda: not running(sleep), 2)


@pytest.mark.parametrize("path", ["../outside", "/etc", "out/x", "none"])
async def test_a_path_outside_is_refused(bench: Bench, path: str) -> None:
    (bench.workspace / "out").symlink_to(bench.outside)
    assert (await bench.tests_refused(path=path)).code in ("OUTSIDE_WORKSPACE", "NOT_FOUND")


def test_it_is_dangerous_and_runs_commands() -> None:
    assert (TOOL.security_level, TOOL.effect, TOOL.runs_commands) == ("dangerous", "sideEffect", True)


async def test_tests_run_inside_the_sandbox_too(room: Room) -> None:
    room.file("tests/test_a.py", PASSING)
    assert (await call(TOOL, {}, room.context())).content.startswith("2 passed, 0 failed")


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        ("===== 2 failed, 10 passed, 1 skipped, 3 warnings in 0.12s =====\n", Counts(10, 2, 1)),
        ("3 passed in 61.20s (0:01:01)\n", Counts(3)),
        ("\x1b[32m==== \x1b[1m1 passed\x1b[0m in 0.01s ====\x1b[0m\n", Counts(1)),
        ("=== 1 passed, 2 errors in 1.00s ===\n", Counts(1, 2)),
        ("== no tests ran in 0.01s ==\n", None),
        ("Ran 5 tests in 0.001s\n\nOK\n", Counts(5)),
        ("Ran 1 test in 0.001s\n\nOK (skipped=1)\n", Counts(0, 0, 1)),
        ("Ran 9 tests in 0.001s\n\nFAILED (failures=1, errors=2, skipped=1)\n", Counts(5, 3, 1)),
        (
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n\n"
            "test result: FAILED. 1 passed; 2 failed; 0 ignored\n",
            Counts(4, 2, 1),
        ),
        ("--- PASS: TestA (0.00s)\n    --- PASS: TestA/x\n--- FAIL: TestB (0.00s)\nFAIL\tp\t0.1s\n", Counts(1, 1)),
        ("ok  \tp\t0.1s\n", None),
        ("Tests:       1 failed, 1 skipped, 3 passed, 5 total\n", Counts(3, 1, 1)),
        ("      Tests  1 failed | 3 passed (4)\n", Counts(3, 1)),
        ("# tests 3\n# pass 2\n# fail 1\n# skipped 0\n", Counts(2, 1)),
        ("  3 passing (5ms)\n  1 failing\n", Counts(3, 1)),
        ("all is well\n", None),
        ("", None),
    ],
)
def test_counts_are_read_from_what_runners_print(output: str, counts: Counts | None) -> None:
    assert counted(output) == counts
