"""`exec`: a shell command in the workspace, with its process tree under a warden; in the background, as a job."""

import asyncio
import os
from pathlib import Path

from pydantic import Field

from activities.tools.command import Sandbox, run_command, sandbox_name, shell
from activities.tools.confine import located
from activities.tools.spec import Arguments, Stream, ToolContext, ToolError, ToolOutput, ToolSpec, Whole
from activities.tools.spool import Spool
from activities.tools.text import Recording
from session.model import NonEmptyText

MAX_SECONDS = 170
DEFAULT_SECONDS = 60.0
KEPT = 16_384
"""Characters of output shown to the model from the beginning, and as many from the end."""
PROGRESS = 262_144
"""Characters of output reported while the command runs; what comes after is only in the result."""


class Exec(Arguments):
    # Linux takes 128 KiB in one argument (MAX_ARG_STRLEN, execve(2)); a character has up to 4 bytes.
    command: NonEmptyText = Field(
        max_length=30_000, description="The command line, run by bash (sh where there is none)"
    )
    timeout: float | None = Field(
        default=None,
        gt=0,
        le=MAX_SECONDS,
        allow_inf_nan=False,
        description=f"Seconds after which it is killed; {DEFAULT_SECONDS:g} by default, in the background none",
    )
    workdir: str = Field(default=".", description="Folder to run in, relative to the workspace")
    background: bool = Field(
        default=False, description="Answer at once with a handle for exec_output and exec_kill, and let it run on"
    )


class _Output:
    """What the command wrote: both ends to show, all to keep, and reported as it comes, up to `PROGRESS` characters."""

    def __init__(self, context: ToolContext) -> None:
        self._recording = Recording(KEPT, context.call_id)
        self._spool = Spool()
        self._progress = context.progress
        self._left = PROGRESS

    def hear(self, stream: Stream, text: str) -> None:
        self._recording.add(text)
        self._spool.add(text)
        if self._left > 0:
            self._progress(stream, text[: self._left])
            self._left -= len(text)

    @property
    def truncated(self) -> bool:
        return self._recording.truncated

    def shown(self, line: str) -> str:
        """What the model sees, with a last line of ours."""
        text = self._recording.text()
        return text + ("" if text.endswith("\n") or not text else "\n") + line

    def whole(self) -> Whole | None:
        """All of it, where it is more than is shown; the one who asks closes it."""
        if self.truncated:
            return self._spool
        self.close()
        return None

    def close(self) -> None:
        self._spool.close()


async def run(arguments: Exec, context: ToolContext) -> ToolOutput:
    sandbox = await sandbox_name(context)
    program = (shell(), "-c", arguments.command)
    folder = await asyncio.to_thread(_folder, context.workspace, arguments.workdir)
    if arguments.background:
        return _begun(context, sandbox, program, folder, arguments.timeout)
    try:
        return await _ended(context, sandbox, program, folder, arguments.timeout or DEFAULT_SECONDS)
    finally:
        os.close(folder)


async def _ended(
    context: ToolContext, sandbox: Sandbox, program: tuple[str, ...], folder: int, seconds: float
) -> ToolOutput:
    output = _Output(context)
    try:
        end = await run_command(context, program, folder, timeout=seconds, hear=output.hear)
    except ToolError as error:
        why = "time limit" if error.code == "TIMEOUT" else error.code
        shown = output.shown(f"killed: {why} · sandbox: {sandbox}")
        raise ToolError(error.code, error.message, shown, output.whole()) from error
    except BaseException:
        output.close()
        raise
    shown = output.shown(f"exit code: {end.code} · sandbox: {end.sandbox}")
    if end.code != 0:
        raise ToolError("EXIT_CODE", f"the command ended with exit code {end.code}", shown, output.whole())
    return ToolOutput(shown, output.truncated, output.whole())


def _begun(
    context: ToolContext, sandbox: Sandbox, program: tuple[str, ...], folder: int, seconds: float | None
) -> ToolOutput:
    try:
        if context.jobs is None:
            raise ToolError("NO_BACKGROUND", "commands cannot run on in the background here; leave background out")
        job = context.jobs.start(context, sandbox, program, folder, seconds)
    finally:
        os.close(folder)  # the job has a descriptor of its own
    told = "It runs on until it ends, is ended with exec_kill, or the session ends; read it with exec_output."
    return ToolOutput(f"handle: {job.handle} · sandbox: {sandbox}\n{told}")


def _folder(workspace: Path, workdir: str) -> int:
    with located(workspace, workdir) as place:
        return place.open_folder()


TOOL = ToolSpec(
    name="exec",
    description=(
        "Run a shell command in the workspace: build, test, git, scripts. Gives stdout and stderr "
        "together and the exit code. There is no stdin and no terminal: pass flags such as --yes. Every "
        "process it starts is killed when the command ends; for a server or a long job pass background, and "
        "use exec_output and exec_kill with the handle it gives. timeout in seconds, "
        f"{DEFAULT_SECONDS:g} by default, at most {MAX_SECONDS}. Memory, CPU time, processes and the size of "
        "files are limited. In the sandbox (the last line says whether) only the workspace and /tmp can be "
        "written, /tmp is empty for each command, and there may be no network. Of long output the beginning "
        "and the end are shown."
    ),
    arguments=Exec,
    security_level="dangerous",
    effect="sideEffect",
    timeout=MAX_SECONDS + 8,
    output_cap=2 * KEPT + 1_000,
    run=run,
    subject="command",
    runs_commands=True,
)
