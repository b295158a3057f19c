"""`test_run`: the tests of the workspace, by whatever runs them there."""

import asyncio
import os
import posixpath
import sys
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from activities.tools.command import run_command
from activities.tools.confine import located
from activities.tools.counts import Counts, counted
from activities.tools.frameworks import Framework, Project, project
from activities.tools.process import Hear
from activities.tools.spec import Arguments, Stream, ToolContext, ToolError, ToolOutput, ToolSpec
from activities.tools.text import Recording
from session.model import NonEmptyText

DEFAULT_SECONDS: Final = 120.0
MAX_SECONDS: Final = 165.0
PROBE_SECONDS: Final = 20.0
KEPT: Final = 1_000_000
"""Characters of output kept from the beginning, and as many from the end."""
PROGRESS: Final = 262_144
"""Characters of output reported while the tests run; what comes after is only in the result."""
NONE_COLLECTED: Final = 5
"""pytest's exit code, and unittest's since Python 3.12, when there was no test to run."""
_ENVIRONMENT: Final = {"CI": "true", "NO_COLOR": "1", "CARGO_TERM_COLOR": "never", "PYTHONUNBUFFERED": "1"}


class TestRun(Arguments):
    __test__ = False  # not one of ours to collect

    path: NonEmptyText | None = Field(
        default=None, description="Folder or file to test; for pytest also path::name. All tests if left out"
    )
    framework: Framework | None = Field(default=None, description="What runs the tests; found if left out")
    args: tuple[Annotated[str, Field(max_length=4_000)], ...] = Field(
        default=(), max_length=50, description="More arguments for it, such as -k NAME"
    )
    timeout: float = Field(
        default=DEFAULT_SECONDS, gt=0, le=MAX_SECONDS, allow_inf_nan=False, description="Seconds it may take"
    )


class _Output:
    """What the runner prints: reported as it comes, and kept."""

    def __init__(self, context: ToolContext) -> None:
        self.recording = Recording(KEPT)
        self._progress = context.progress
        self._left = PROGRESS

    def hear(self, stream: Stream, text: str) -> None:
        self.recording.add(text)
        if self._left > 0:
            self._progress(stream, text[: self._left])
            self._left -= len(text)


async def run(arguments: TestRun, context: ToolContext) -> ToolOutput:
    path, _, node = (arguments.path or ".").partition("::")
    found = await asyncio.to_thread(project, context.workspace, path or ".", arguments.framework)
    program = await _program(found, node, arguments, context)
    shown = " ".join(program) + (f" (in {found.folder})" if found.folder != "." else "")
    output = _Output(context)
    try:
        code = await _run(context, found.folder, program, arguments.timeout, output.hear)
    except ToolError as error:
        raise ToolError(error.code, f"{shown}: {error.message}", output.recording.text()) from error
    text = output.recording.text()
    counts = counted(text)
    told = str(counts) if counts is not None else ("passed" if code == 0 else "failed")
    also = f" · also set up here: {', '.join(found.others)}" if found.others else ""
    content = f"{told} · exit code {code} · {shown}{also}\n{text}"
    if found.framework in ("pytest", "unittest") and (code == NONE_COLLECTED or (code == 0 and counts == Counts())):
        raise ToolError("NO_TESTS_FOUND", f"{shown} found no tests", content)
    if code != 0:
        raise ToolError("TESTS_FAILED", f"{told} ({found.framework}, exit code {code})", content)
    return ToolOutput(content, truncated=output.recording.truncated)


async def _run(context: ToolContext, folder: str, program: tuple[str, ...], seconds: float, hear: Hear) -> int:
    opened = await asyncio.to_thread(_opened, context.workspace, folder)
    try:
        ended = await run_command(context, program, opened, timeout=seconds, hear=hear, environment=_ENVIRONMENT)
    finally:
        os.close(opened)
    return ended.code


def _opened(workspace: Path, folder: str) -> int:
    with located(workspace, folder) as place:
        return place.open_folder()


async def _program(found: Project, node: str, arguments: TestRun, context: ToolContext) -> tuple[str, ...]:
    target = (f"{found.target or '.'}::{node}" if node else found.target,) if found.target or node else ()
    args = arguments.args
    match found.framework:
        case "pytest" | "unittest":
            return await _python(found, target, arguments, context)
        case "npm":
            more = (*target, *args)
            return ("npm", "test", *(("--", *more) if more else ()))
        case "go":
            return ("go", "test", "-v", *args, _go_package(found))
        case "cargo":
            return ("cargo", "test", *args)
        case "make":
            return ("make", "test", *args)


def _go_package(found: Project) -> str:
    folder = posixpath.dirname(found.target) if found.target_is_file else found.target
    return f"./{folder}" if found.target_is_file and folder else f"./{folder + '/' if folder else ''}..."


async def _python(found: Project, target: tuple[str, ...], arguments: TestRun, context: ToolContext) -> tuple[str, ...]:
    """The workspace's own environment, else what is on PATH, else the worker's interpreter: the first that has
    pytest, or where none has and it was not asked for, the first there is, with unittest."""
    runners = await asyncio.to_thread(_runners, context.workspace, found.folder)
    if found.framework == "pytest":
        for runner in runners:
            if await _works(context, found.folder, (*runner, "--version")):
                return (*runner, *arguments.args, *target)
        if arguments.framework == "pytest":
            raise ToolError(
                "NOT_FOUND", "pytest is not installed, neither in the workspace (.venv) nor on this machine"
            )
    pythons = [runner[0] for runner in runners if len(runner) > 1]
    for python in pythons:
        if await _works(context, found.folder, (python, "-c", "import unittest")):
            return (python, "-m", "unittest", *_discovery(found, target, context.workspace), *arguments.args)
    raise ToolError("NOT_FOUND", "there is no Python to run the tests with")


def _discovery(found: Project, target: tuple[str, ...], workspace: Path) -> tuple[str, ...]:
    if target and found.target_is_file:
        return target
    folder = workspace / found.folder
    start = found.target or next((name for name in ("tests", "test") if (folder / name).is_dir()), ".")
    is_package = start != "." and (folder / start / "__init__.py").exists()
    return ("discover", "-s", start, *(("-t", ".") if is_package else ()))


def _runners(workspace: Path, folder: str) -> list[tuple[str, ...]]:
    """Ways to start pytest, the best first."""
    own = [
        str(root / name / "bin/python")
        for root in dict.fromkeys((workspace.resolve() / folder, workspace.resolve()))
        for name in (".venv", "venv")
    ]
    pythons = [python for python in own if os.path.exists(python)]
    return [
        *((python, "-m", "pytest") for python in (*pythons, "python3", "python")),
        ("pytest",),
        (sys.executable, "-m", "pytest"),
    ]


async def _works(context: ToolContext, folder: str, program: tuple[str, ...]) -> bool:
    try:
        return await _run(context, folder, program, PROBE_SECONDS, lambda _stream, _text: None) == 0
    except ToolError as error:
        if error.code in ("NOT_FOUND", "TIMEOUT"):
            return False
        raise


TOOL = ToolSpec(
    name="test_run",
    description=(
        "Run the tests of the workspace, or of a folder or file in it. Finds out how: pytest or unittest (with the "
        "workspace's .venv, if it has one), npm test, go test, cargo test or make test. The first line tells the "
        "counts and the command; failing tests are an error with the output. Of long output the beginning and the "
        f"end are shown. timeout in seconds, {DEFAULT_SECONDS:g} by default, at most {MAX_SECONDS:g}."
    ),
    arguments=TestRun,
    security_level="dangerous",
    effect="sideEffect",
    timeout=178,
    output_cap=24_000,
    run=run,
    subject="path",
    runs_commands=True,
)
