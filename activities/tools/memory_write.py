"""`memory_write`: adds to the note that the conversation keeps, where later sessions find it."""

from pydantic import Field

from activities.tools.memory_search import memory_of
from activities.tools.spec import Arguments, ToolContext, ToolError, ToolOutput, ToolSpec
from session.model import NonEmptyText


class MemoryWrite(Arguments):
    content: NonEmptyText = Field(max_length=20_000, description="What to remember, as markdown")


async def run(arguments: MemoryWrite, context: ToolContext) -> ToolOutput:
    if not arguments.content.strip():
        raise ToolError("INVALID_ARGUMENTS", "`content` has nothing but blanks")
    written = await memory_of(context).note(context.masker.mask(arguments.content))
    return ToolOutput(f"[remembered at {written.path}:{written.start_line}-{written.end_line}]")


TOOL = ToolSpec(
    name="memory_write",
    description=(
        "Remember something for later sessions: facts, decisions and their reasons, what was tried and did not work. "
        "It is added to the end of this conversation's note, and memory_search finds it from then on. Write it so that "
        "it can be understood alone; never write secrets."
    ),
    arguments=MemoryWrite,
    security_level="moderate",
    effect="sideEffect",
    timeout=15,
    output_cap=1_000,
    run=run,
    quick=True,
    in_workspace=False,
)
