"""`retrieve_result`: the rest of a result that was too long to show."""

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import Field

from activities.tools.environment import scrubbed
from activities.tools.process import surely
from activities.tools.scan import answered, killed
from activities.tools.spec import Arguments, Shelf, ToolContext, ToolError, ToolOutput, ToolSpec
from session.model import NonEmptyText

SHOWN: Final = 16_000
MOST_SHOWN: Final = 48_000
"""Characters given at once."""
SEEKER: Final = Path(__file__).with_name("seeker.py")
SECONDS: Final = 15.0
HITS: Final = 100
PAGE: Final = 262_144
"""Characters taken from the shelf at once for a search."""


class RetrieveResult(Arguments):
    handle: NonEmptyText = Field(max_length=200, description="The handle given with the long result")
    offset: int = Field(default=0, ge=0, description="Character to begin with; the first is 0")
    length: int = Field(default=SHOWN, ge=1, le=MOST_SHOWN, description="How many characters to show")
    pattern: NonEmptyText | None = Field(
        default=None, max_length=2_000, description="Show the lines that match this regular expression instead"
    )


async def run(arguments: RetrieveResult, context: ToolContext) -> ToolOutput:
    if context.shelf is None:
        raise _unknown(arguments.handle)
    if arguments.pattern is not None:
        return await _search(arguments, arguments.pattern, context.shelf, context)
    text, total = await _page(context.shelf, arguments, arguments.offset, arguments.length)
    end = arguments.offset + len(text)
    more = f"; go on with offset {end}" if end < total else ", which is its end"
    note = f"[characters {arguments.offset} to {end} of {total}{more}]"
    return ToolOutput(f"{text}{'' if text.endswith(chr(10)) else chr(10)}{note}", truncated=end < total)


async def _page(shelf: Shelf, arguments: RetrieveResult, offset: int, length: int) -> tuple[str, int]:
    found = await shelf.output(arguments.handle, offset, length)
    if found is None:
        raise _unknown(arguments.handle)
    if offset >= found[1] > 0:
        raise ToolError("INVALID_ARGUMENTS", f"`offset`: the result has only {found[1]} characters")
    return found


def _unknown(handle: str) -> ToolError:
    told = "handles come with results of this session that were too long to show, and stand where they were cut"
    return ToolError("NOT_FOUND", f"no result is kept under the handle `{handle[:100]}`; {told}")


async def _search(arguments: RetrieveResult, pattern: str, shelf: Shelf, context: ToolContext) -> ToolOutput:
    """The lines that match, each with its offset. Raises `ToolError` as a scan does (see `scan.py`)."""
    first = await _page(shelf, arguments, arguments.offset, PAGE)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(SEEKER)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=scrubbed(context.workspace, context.secrets),
        start_new_session=True,
    )
    request = {"pattern": pattern, "offset": arguments.offset, "limit": HITS, "seconds": SECONDS}
    try:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        feeding = _feed(process.stdin, arguments, shelf, first)
        output, complaint, _ = await asyncio.gather(process.stdout.read(), process.stderr.read(), feeding)
        await process.wait()
    finally:
        await surely(killed(process))
    return answered(process.returncode, output.decode(errors="replace"), complaint.decode(errors="replace"))


async def _feed(inlet: asyncio.StreamWriter, arguments: RetrieveResult, shelf: Shelf, first: tuple[str, int]) -> None:
    """Write the text from the offset on, page by page, as far as the seeker wants it."""
    (text, total), offset = first, arguments.offset
    with suppress(BrokenPipeError, ConnectionResetError):
        while text:
            inlet.write(text.encode(errors="replace"))
            await inlet.drain()
            offset += len(text)
            text = (await _page(shelf, arguments, offset, PAGE))[0] if offset < total else ""
    inlet.close()


TOOL = ToolSpec(
    name="retrieve_result",
    description=(
        "Read on in a result of this session that was too long to show: a page of it from offset on (the text says "
        "where to go on), or with pattern the lines that match, each with the offset at which it begins."
    ),
    arguments=RetrieveResult,
    security_level="safe",
    effect="readOnly",
    timeout=30,
    output_cap=MOST_SHOWN + 1_000,
    run=run,
    quick=True,
    in_workspace=False,
)
