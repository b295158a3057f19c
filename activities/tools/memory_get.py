"""`memory_get`: lines of a file of memory."""

from typing import Final

from pydantic import Field

from activities.tools.memory_search import memory_of
from activities.tools.spec import Arguments, ToolContext, ToolError, ToolOutput, ToolSpec
from session.model import NonEmptyText

LINES: Final = 200
MOST_LINES: Final = 1_000


class MemoryGet(Arguments):
    path: NonEmptyText = Field(max_length=1_024, description="A path as memory_search shows it")
    start_line: int = Field(alias="startLine", default=1, ge=1, le=10_000_000, description="Line to begin with")
    lines: int = Field(default=LINES, ge=1, le=MOST_LINES, description="How many lines to show")


async def run(arguments: MemoryGet, context: ToolContext) -> ToolOutput:
    excerpt = await memory_of(context).excerpt(arguments.path, arguments.start_line, arguments.lines)
    if not excerpt.lines:
        raise ToolError("INVALID_ARGUMENTS", f"`startLine`: the file has only {excerpt.total:,} lines")
    more = f"; go on with startLine {excerpt.end_line + 1}" if excerpt.end_line < excerpt.total else ""
    head = f"[{excerpt.path}, lines {excerpt.start_line} to {excerpt.end_line} of {excerpt.total}{more}]"
    return ToolOutput("\n".join([head, *excerpt.lines]))


TOOL = ToolSpec(
    name="memory_get",
    description="Read lines of a file of memory, by the path that memory_search or the passages you were given show.",
    arguments=MemoryGet,
    security_level="safe",
    effect="readOnly",
    timeout=15,
    output_cap=48_000,
    run=run,
    subject="path",
    quick=True,
    in_workspace=False,
)
