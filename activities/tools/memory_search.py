"""`memory_search`: passages of what is remembered, by their words."""

from pydantic import Field

from activities.tools.spec import Arguments, Remembering, ToolContext, ToolError, ToolOutput, ToolSpec
from session.model import NonEmptyText


class MemorySearch(Arguments):
    query: NonEmptyText = Field(max_length=1_000, description="What to look for, in words")
    max_results: int = Field(alias="maxResults", default=6, ge=1, le=20, description="Most passages to show")
    min_score: float = Field(
        alias="minScore", default=0.0, ge=0, le=1, allow_inf_nan=False, description="Leave out those that fit less well"
    )


async def run(arguments: MemorySearch, context: ToolContext) -> ToolOutput:
    found, total = await memory_of(context).search(arguments.query, arguments.max_results, arguments.min_score)
    if not found:
        return ToolOutput("[nothing was found; try other words]")
    shown = [
        f"{chunk.path}:{chunk.start_line}-{chunk.end_line} (score {chunk.score:.2f})\n{chunk.text.strip()}"
        for chunk in found
    ]
    return ToolOutput("\n\n".join([f"{len(found)} of {total} passages", *shown]))


def memory_of(context: ToolContext) -> Remembering:
    if context.memory is None:
        raise ToolError("UNAVAILABLE", "there is no memory here")
    return context.memory


TOOL = ToolSpec(
    name="memory_search",
    description=(
        "Look in memory: notes and documents that were put there, summaries of earlier sessions, notes of "
        "conversations. Gives the passages that fit best, with path and lines; read on with memory_get. Any of the "
        "words may be there, rare ones count for more."
    ),
    arguments=MemorySearch,
    security_level="safe",
    effect="readOnly",
    timeout=15,
    output_cap=48_000,
    run=run,
    quick=True,
    in_workspace=False,
)
