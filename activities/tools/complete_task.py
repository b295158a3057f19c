"""`complete_task`: the model says that it is done. The session ends as `taskCompleted` (CONTRACT §1)."""

from pydantic import Field

from activities.tools.spec import Arguments, ToolContext, ToolOutput, ToolSpec
from session.events import Artifact
from session.model import NonEmptyText, Text
from session.vocabulary import COMPLETE_TASK


class CompleteTask(Arguments):
    """Also for the session's end, which takes the `summary` event from the recorded arguments."""

    summary: NonEmptyText = Field(description="What was done and what came of it, for the user to read")
    artifacts: tuple[Artifact, ...] = Field(
        default=(),
        description="What was made: `type` such as file, `id` such as its path, description and url if any",
    )
    next_steps: tuple[Text, ...] = Field(alias="nextSteps", default=(), description="What the user may want to do next")


async def run(arguments: CompleteTask, context: ToolContext) -> ToolOutput:
    return ToolOutput(arguments.summary)


TOOL = ToolSpec(
    name=COMPLETE_TASK,
    description=(
        "Call this once, alone, when the task is finished or cannot be taken further: it ends the "
        "session. Check your work before. The summary is what the user reads."
    ),
    arguments=CompleteTask,
    security_level="safe",
    effect="idempotent",
    timeout=5,
    output_cap=20_000,
    run=run,
    quick=True,
    in_workspace=False,
)
