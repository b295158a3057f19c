"""`git_status`: the branch, and what differs from its last commit."""

from pydantic import Field

from activities.tools.git import opened
from activities.tools.spec import Arguments, ToolContext, ToolOutput, ToolSpec


class GitStatus(Arguments):
    directory: str = Field(default=".", description="The repository, where it is in a folder of the workspace")


async def run(arguments: GitStatus, context: ToolContext) -> ToolOutput:
    git = await opened(context, arguments.directory)
    answer = await git.told("status", "--short", "--branch", "--untracked-files=normal", "--ignore-submodules=dirty")
    clean = "" if "\n" in answer.out.strip() else "nothing to commit, the working tree is clean\n"
    return ToolOutput(answer.out + clean, truncated=answer.truncated)


TOOL = ToolSpec(
    name="git_status",
    description=(
        "Show the branch and the files of the git repository that changed since the last commit, in git's short "
        "form: two letters (staged, not staged) and the path. ?? is a new file."
    ),
    arguments=GitStatus,
    security_level="safe",
    effect="readOnly",
    timeout=110,
    output_cap=20_000,
    run=run,
    runs_commands=True,
)
