"""`git_log`: commits, the newest first."""

from pydantic import Field

from activities.tools.git import opened, ref
from activities.tools.spec import Arguments, ToolContext, ToolOutput, ToolSpec
from session.model import NonEmptyText

_FORM = "--format=commit %H%d%n%an <%ae> %ad%n%w(0,4,4)%B%w(0,0,0)"


class GitLog(Arguments):
    max_count: int = Field(alias="maxCount", default=20, ge=1, le=500, description="Most commits to show")
    path: NonEmptyText | None = Field(default=None, description="Only commits that changed this file or folder")
    ref: NonEmptyText | None = Field(
        default=None, max_length=500, description="Branch, tag, commit or range to show instead of what is checked out"
    )
    directory: str = Field(default=".", description="The repository, where it is in a folder of the workspace")


async def run(arguments: GitLog, context: ToolContext) -> ToolOutput:
    revision = [ref(arguments.ref)] if arguments.ref else []
    git = await opened(context, arguments.directory)
    chosen = [git.path(arguments.path)] if arguments.path else []
    if not revision and (await git.ask("rev-parse", "--verify", "--quiet", "HEAD")).code == 1:
        return ToolOutput("[there are no commits yet]")
    shown = ("--no-color", "--decorate=short", "--date=iso-strict", "--no-show-signature", "--no-patch", _FORM)
    answer = await git.told("log", f"--max-count={arguments.max_count}", *shown, *revision, "--", *chosen)
    return ToolOutput(answer.out or "[no commits]", truncated=answer.truncated)


TOOL = ToolSpec(
    name="git_log",
    description="Show commits of the git repository, the newest first: hash, branches and tags, author, date, message.",
    arguments=GitLog,
    security_level="safe",
    effect="readOnly",
    timeout=160,
    output_cap=20_000,
    run=run,
    runs_commands=True,
)
