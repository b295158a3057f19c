"""`todo_read`: the conversation's list of what is to be done."""

from activities.tools.spec import Arguments, ToolContext, ToolOutput, ToolSpec
from activities.tools.todo_write import read, shown


class TodoRead(Arguments):
    pass


async def run(_arguments: TodoRead, context: ToolContext) -> ToolOutput:
    return ToolOutput(shown(await read(context)))


TOOL = ToolSpec(
    name="todo_read",
    description="Show the list of what is to be done, as todo_write last left it in this conversation.",
    arguments=TodoRead,
    security_level="safe",
    effect="readOnly",
    timeout=15,
    output_cap=120_000,
    run=run,
    quick=True,
    in_workspace=False,
)
