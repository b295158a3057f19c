"""The one way in which tools run commands: scrubbed environment, sandbox, limits, masked output, a warden over all.

`exec`, the git tools and `test_run` go through `run_command`; none of them starts a program by itself.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from activities.tools.confine import located
from activities.tools.environment import scrubbed
from activities.tools.process import Hear, run_tree
from activities.tools.sandbox import INSTALL, Probe, inside, probe, sandbox_path
from activities.tools.spec import Stream, ToolContext, ToolError
from activities.tools.toolchains import installed

Sandbox = Literal["bubblewrap", "limits"]


@dataclass(frozen=True)
class CommandEnd:
    """How a command ended: its exit code (128 + n for signal n), and what confined it."""

    code: int
    sandbox: Sandbox


async def run_command(
    context: ToolContext,
    program: Sequence[str],
    folder: int | None = None,
    *,
    timeout: float,  # noqa: ASYNC109 (not a wait to be wrapped: its end is an error of its own)
    hear: Hear,
    environment: Mapping[str, str] | None = None,
) -> CommandEnd:
    """Run `program` (found on PATH) in the open folder `folder` (default: the workspace), for at most `timeout`
    seconds.

    `hear` gets its output as it comes, masked. `environment` is added to what commands see anyway. However this ends,
    also by cancellation, the command and all that it started are dead by then.

    Raises ToolError: TIMEOUT, NOT_FOUND (no such program), SANDBOX_UNAVAILABLE (the sandbox is required and does not
    work here), SUPERVISOR_KILLED, and for a limit that was passed MEMORY_LIMIT, PROCESS_LIMIT, CPU_LIMIT or
    FILE_SIZE_LIMIT. An exit code other than 0 is no error here.
    """
    found = await sandbox_for(context)
    if folder is not None:
        return await _run(context, found, program, folder, timeout, hear, environment or {})
    opened = await asyncio.to_thread(_workspace, context)
    try:
        return await _run(context, found, program, opened, timeout, hear, environment or {})
    finally:
        os.close(opened)


async def sandbox_for(context: ToolContext) -> Probe | None:
    """The sandbox that commands of this call run in; None: limits alone. Raises ToolError SANDBOX_UNAVAILABLE where it
    must be used and cannot."""
    mode = context.policy.commands.sandbox
    if mode == "off" and not context.sandbox_only:
        return None
    found = await asyncio.to_thread(probe)
    if found.works:
        return found
    if mode != "require" and not context.sandbox_only:
        return None
    why = "this session may run commands only in the sandbox" if context.sandbox_only else "the sandbox is required"
    raise ToolError("SANDBOX_UNAVAILABLE", f"{why}, and {found.reason}; on the worker's machine, {INSTALL}")


async def sandbox_name(context: ToolContext) -> Sandbox:
    """What commands of this call are confined by. Raises as `sandbox_for`."""
    return "limits" if await sandbox_for(context) is None else "bubblewrap"


def shell() -> str:
    """The shell that command lines are run by."""
    return shutil.which("bash") or "/bin/sh"


async def _run(
    context: ToolContext,
    found: Probe | None,
    program: Sequence[str],
    folder: int,
    seconds: float,
    hear: Hear,
    additions: Mapping[str, str],
) -> CommandEnd:
    environment = {**installed(), **scrubbed(context.workspace, context.secrets), **additions}
    if found is not None:
        environment.pop("TMPDIR", None)  # inside there is /tmp alone
    start = shutil.which(program[0], path=environment["PATH"])
    if start is None:
        raise ToolError("NOT_FOUND", f"there is no program {program[0]} on this machine")
    command: Sequence[str] = (start, *program[1:])
    if found is not None:
        workspace = sandbox_path(context.workspace)
        where = sandbox_path(f"/proc/self/fd/{folder}")
        command = await asyncio.to_thread(
            inside, found, context.policy.commands, workspace, where, environment["PATH"], command
        )
    masked = _Masked(context, hear)
    try:
        async with asyncio.timeout(seconds):
            code = await run_tree(command, folder, environment, masked.hear, context.policy.commands.limits)
    except TimeoutError as error:
        told = f"the command was killed after {seconds:g} s, with all that it had started"
        raise ToolError("TIMEOUT", told) from error
    finally:
        masked.flush()
    return CommandEnd(code, "bubblewrap" if found is not None else "limits")


class _Masked:
    """Between the command and who hears it: secrets are replaced, also where one comes in two pieces."""

    def __init__(self, context: ToolContext, hear: Hear) -> None:
        self._hear = hear
        self._streams = {"stdout": context.masker.stream(), "stderr": context.masker.stream()}

    def hear(self, stream: Stream, text: str) -> None:
        if shown := self._streams[stream].feed(text):
            self._hear(stream, shown)

    def flush(self) -> None:
        streams: tuple[Stream, ...] = ("stdout", "stderr")
        for stream in streams:
            if held := self._streams[stream].flush():
                self._hear(stream, held)


def _workspace(context: ToolContext) -> int:
    with located(context.workspace, ".") as place:
        return place.open_folder()
