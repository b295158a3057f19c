"""Asking the reader (see `reader.py`), from the worker's side."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from activities.tools.environment import scrubbed
from activities.tools.process import surely
from activities.tools.spec import ToolContext

READER = Path(__file__).with_name("reader.py")


@dataclass(frozen=True)
class Readable:
    """A page's text. `whole`: that is all of it. `trouble`: why there is no text."""

    text: str = ""
    whole: bool = True
    trouble: str = ""


async def readable(html: str, url: str, context: ToolContext, seconds: float) -> Readable:
    """The page as text, its links resolved against `url`. An ordinary one takes a tenth of a second, most of it for the
    process; after `seconds` that is given up. When this is cancelled, the process is dead."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(READER)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=scrubbed(context.workspace, context.secrets),
        start_new_session=True,
    )
    head = json.dumps({"seconds": seconds, "url": url}).encode()
    try:
        output, _ = await process.communicate(head + b"\n" + html.encode(errors="replace"))
    finally:
        await surely(_ended(process))
    match process.returncode:
        case 0 | 3 as code:
            return Readable(output.decode(errors="replace"), whole=code == 0)
        case code if code == -signal.SIGALRM:
            return Readable(trouble=f"it could not be read within {seconds:g} s")
        case code:
            return Readable(trouble=f"its reader ended unexpectedly (exit code {code})")


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
