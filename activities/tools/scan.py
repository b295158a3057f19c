"""Asking the scanner (see `scanner.py`), from the worker's side."""

import asyncio
import json
import os
import signal
import stat
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from activities.tools.confine import located, open_workspace
from activities.tools.environment import scrubbed
from activities.tools.process import surely
from activities.tools.secret_files import SECRET
from activities.tools.spec import ToolContext, ToolError, ToolOutput

SCANNER = Path(__file__).with_name("scanner.py")
SECONDS = 15.0
"""How long a scan may take before it gives what it has; a pattern that cannot be interrupted is killed 1
s later."""


@dataclass(frozen=True)
class Request:
    """What the scanner is asked; `start` is a folder of the workspace, or for grep also a file."""

    question: Literal["files", "tree", "grep"]
    start: str
    limit: int
    pattern: str = ""
    globs: tuple[str, ...] = ()
    context: int = 0
    depth: int = 100


async def scan(request: Request, context: ToolContext) -> ToolOutput:
    """The scanner's answer.

    Raises `ToolError`: those of `located`, INVALID_ARGUMENTS, TIMEOUT with what was found until then,
    SEARCH_FAILED.
    """
    file_allowed = request.question == "grep"
    root, names, is_file = await asyncio.to_thread(_start, context.workspace, request.start, file_allowed)
    details = {"start": names, "file": is_file, "seconds": SECONDS, "secret": SECRET.pattern}
    asked = json.dumps({**asdict(request), **details})
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(SCANNER), str(root)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=scrubbed(context.workspace, context.secrets),
            pass_fds=(root,),
            start_new_session=True,
        )
        try:
            output, complaint = await process.communicate(asked.encode())
        finally:
            await surely(killed(process))
    finally:
        os.close(root)
    return answered(process.returncode, output.decode(errors="replace"), complaint.decode(errors="replace"))


def answered(code: int | None, output: str, complaint: str) -> ToolOutput:
    """What a searching process said, by its exit code. Raises `ToolError`."""
    content = output.removesuffix("\n")
    match code:
        case 0:
            return ToolOutput(content)
        case 3:
            return ToolOutput(content, truncated=True)
        case 2:
            raise ToolError("INVALID_ARGUMENTS", complaint.strip())
        case _ if code == -signal.SIGALRM:
            told = "the search took too long and was killed; use a simpler pattern, or search less"
            raise ToolError("TIMEOUT", told, content=content)
        case _:
            raise ToolError("SEARCH_FAILED", f"the search ended unexpectedly (exit code {code})", content=content)


def _start(workspace: Path, start: str, file_allowed: bool) -> tuple[int, list[str], bool]:
    """The workspace's descriptor, the names from there to `start` with links resolved, and whether it is a
    file."""
    with located(workspace, start) as place:
        status = place.status()
        if status is None:
            raise ToolError("NOT_FOUND", f"`{start}` does not exist in the workspace")
        is_file = not stat.S_ISDIR(status.st_mode)
        if is_file and not file_allowed:
            raise ToolError("NOT_A_FOLDER", f"`{start}` is not a folder")
        if is_file:
            place.require_file(status)
        names = [] if place.relative == "." else place.relative.split("/")
    return open_workspace(workspace), names, is_file


async def killed(process: asyncio.subprocess.Process) -> None:
    """End it, if it has not ended."""
    if process.returncode is None:
        process.kill()
    await process.wait()
