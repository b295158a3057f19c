"""`exec`: a shell command in the workspace, with its process tree under a warden."""

import asyncio
import os
import shutil
from pathlib import Path

from pydantic import Field

from activities.tools.confine import located
from activities.tools.environment import scrubbed
from activities.tools.process import run_tree
from activities.tools.spec import Arguments, Stream, ToolContext, ToolError, ToolOutput, ToolSpec
from activities.tools.text import Recording
from session.model import NonEmptyText

MAX_SECONDS = 170
KEPT = 16_384
"""Characters of output kept from the beginning, and as many from the end: what the model is shown."""
PROGRESS = 262_144
"""Characters of output reported while the command runs; what comes after is only in the result."""


class Exec(Arguments):
    # Linux takes 128 KiB in one argument (MAX_ARG_STRLEN, execve(2)); a character has up to 4 bytes.
    command: NonEmptyText = Field(
        max_length=30_000, description="The command line, run by bash (sh where there is none)"
    )
    timeout: float = Field(
        default=60, gt=0, le=MAX_SECONDS, allow_inf_nan=False, description="Seconds after which it is killed"
    )
    workdir: str = Field(default=".", description="Folder to run in, relative to the workspace")


class _Output:
    """What the command wrote: kept at both ends, and reported as it comes, up to `PROGRESS` characters."""

    def __init__(self, context: ToolContext) -> None:
        self.recording = Recording(KEPT)
        self._progress = context.progress
        self._left = PROGRESS

    def hear(self, stream: Stream, text: str) -> None:
        self.recording.add(text)
        if self._left > 0:
            self._progress(stream, text[: self._left])
            self._left -= len(text)

    def with_line(self, line: str) -> str:
        text = self.recording.text()
        return text + ("" if text.endswith("\n") or not text else "\n") + line


async def run(arguments: Exec, context: ToolContext) -> ToolOutput:
    environment = scrubbed(context.workspace, context.secrets)
    shell = shutil.which("bash", path=environment["PATH"]) or "/bin/sh"
    output = _Output(context)
    folder = await asyncio.to_thread(_folder, context.workspace, arguments.workdir)
    try:
        async with asyncio.timeout(arguments.timeout):
            code = await run_tree(
                (shell, "-c", arguments.command), folder, environment, output.hear, context.policy.commands.limits
            )
    except TimeoutError as error:
        told = f"the command was killed after {arguments.timeout:g} s, with all that it had started"
        raise ToolError("TIMEOUT", told, content=output.with_line("killed: time limit")) from error
    except ToolError as error:
        raise ToolError(error.code, error.message, content=output.recording.text()) from error
    finally:
        os.close(folder)
    content = output.with_line(f"exit code: {code}")
    if code != 0:
        raise ToolError("EXIT_CODE", f"the command ended with exit code {code}", content=content)
    return ToolOutput(content, truncated=output.recording.truncated)


def _folder(workspace: Path, workdir: str) -> int:
    with located(workspace, workdir) as place:
        return place.open_folder()


TOOL = ToolSpec(
    name="exec",
    description=(
        "Run a shell command in the workspace: build, test, git, scripts. Gives stdout and stderr "
        "together and the exit code. There is no stdin and no terminal: pass flags such as --yes. Every "
        "process it starts, also in the background, is killed when the command ends. timeout in seconds, "
        f"60 by default, at most {MAX_SECONDS}. Of long output the beginning and the end are shown; write "
        "it to a file to read the rest."
    ),
    arguments=Exec,
    security_level="dangerous",
    effect="sideEffect",
    timeout=MAX_SECONDS + 8,
    output_cap=2 * KEPT + 1_000,
    run=run,
)
