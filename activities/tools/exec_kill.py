"""`exec_kill`: the end of a job in the background."""

from pydantic import Field

from activities.tools.exec_output import state
from activities.tools.spec import Arguments, ToolContext, ToolError, ToolOutput, ToolSpec
from session.model import NonEmptyText


class ExecKill(Arguments):
    handle: NonEmptyText = Field(max_length=100, description="The handle that exec gave")


async def run(arguments: ExecKill, context: ToolContext) -> ToolOutput:
    if context.jobs is None:
        raise ToolError("JOB_LOST", "there are no background jobs here")
    job = context.jobs.job(context.session_id, arguments.handle)
    if not job.running:
        return ToolOutput(f"nothing was left to kill: {state(job)}")
    await job.kill()
    return ToolOutput(f"{state(job)}; what it wrote can still be read with exec_output")


TOOL = ToolSpec(
    name="exec_kill",
    description=(
        "End a background job of exec, with every process it started. Killing one that has ended already is no error."
    ),
    arguments=ExecKill,
    # It can end nothing but what this session itself was allowed to start.
    security_level="safe",
    effect="idempotent",
    timeout=15,
    output_cap=2_000,
    run=run,
    subject="handle",
)
