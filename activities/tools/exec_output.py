"""`exec_output`: what a job in the background has written, and whether it still runs."""

from pydantic import Field

from activities.tools.jobs import Job
from activities.tools.spec import Arguments, ToolContext, ToolError, ToolOutput, ToolSpec
from activities.tools.text import gap
from session.model import NonEmptyText

SHOWN = 32_768
"""Characters shown in one answer."""
MAX_WAIT = 120


class ExecOutput(Arguments):
    handle: NonEmptyText = Field(max_length=100, description="The handle that exec gave")
    offset: int = Field(
        default=0, ge=0, description="Character to begin at: 0, or the next offset that the last answer gave"
    )
    wait: float = Field(
        default=0, ge=0, le=MAX_WAIT, allow_inf_nan=False, description="Seconds to wait for its end before answering"
    )


async def run(arguments: ExecOutput, context: ToolContext) -> ToolOutput:
    if context.jobs is None:
        raise ToolError("JOB_LOST", "there are no background jobs here")
    job = context.jobs.job(context.session_id, arguments.handle)
    await job.wait(arguments.wait)
    # Not in a thread: the job writes on this one. It is a block or two of a file that was just written.
    text, begins = job.output.read(arguments.offset, SHOWN)
    following = begins + len(text)
    lost = gap(begins - arguments.offset) if begins > arguments.offset else ""
    more = following < job.output.characters
    last = f"{state(job)} · next offset: {following}" + (" (there is more)" if more else "")
    body = lost + text
    return ToolOutput(body + ("" if body.endswith("\n") or not body else "\n") + last, truncated=more)


def state(job: Job) -> str:
    """How it is, in a line."""
    if job.running:
        return f"{job.handle} is running · sandbox: {job.sandbox}"
    if isinstance(job.end, ToolError):
        return f"{job.handle} has ended · {job.end.code}: {job.end.message}"
    code = job.end.code if job.end is not None else "unknown"
    return f"{job.handle} has ended · exit code: {code} · sandbox: {job.sandbox}"


TOOL = ToolSpec(
    name="exec_output",
    description=(
        "Read what a background job of exec has written (stdout and stderr together), from offset on, and whether it "
        "still runs or how it ended. With wait it answers when the job ends or the seconds have passed: wait longer "
        "rather than asking again and again."
    ),
    arguments=ExecOutput,
    security_level="safe",
    effect="readOnly",
    timeout=MAX_WAIT + 10,
    output_cap=SHOWN + 1_000,
    run=run,
    subject="handle",
)
