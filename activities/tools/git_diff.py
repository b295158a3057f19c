"""`git_diff`: changes of the working tree, of the index, or between commits."""

from pydantic import Field

from activities.tools.git import Git, opened, ref
from activities.tools.secret_files import is_secret
from activities.tools.spec import Arguments, ToolContext, ToolOutput, ToolSpec
from session.model import NonEmptyText

_PLAIN = (
    *("--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=dirty", "--submodule=short"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)


class GitDiff(Arguments):
    path: NonEmptyText | None = Field(default=None, description="Only this file or folder")
    staged: bool = Field(default=False, description="What is staged instead of what is not")
    ref: NonEmptyText | None = Field(
        default=None, max_length=500, description="Compare with this commit or branch, or show a range: main..topic"
    )
    directory: str = Field(default=".", description="The repository, where it is in a folder of the workspace")


async def run(arguments: GitDiff, context: ToolContext) -> ToolOutput:
    revision = [ref(arguments.ref)] if arguments.ref else []
    git = await opened(context, arguments.directory)
    asked = [*(["--cached"] if arguments.staged else []), *revision, "--"]
    chosen = [git.path(arguments.path)] if arguments.path else [":(top)"]
    secret = await _secret(git, asked, chosen)
    left_out = [f":(top,exclude,literal){name}" for name in secret]
    answer = await git.told("diff", *_PLAIN, *asked, *chosen, *left_out)
    notes = "".join(f"[not shown: {name}, which may hold secrets, going by its name]\n" for name in secret)
    return ToolOutput((answer.out or "[no differences]\n") + notes, truncated=answer.truncated)


async def _secret(git: Git, asked: list[str], chosen: list[str]) -> list[str]:
    """The changed files that are not for showing."""
    changed = await git.names("diff", *_PLAIN, "--name-only", "--no-renames", *asked, *chosen)
    return [name for name in changed if is_secret(name)]


TOOL = ToolSpec(
    name="git_diff",
    description=(
        "Show changes of the git repository as a unified diff: by default what is not staged yet, with staged what "
        "is, with ref the working tree against a commit or branch, or what lies between two (main..topic). New files "
        "that git does not know yet are not in it."
    ),
    arguments=GitDiff,
    security_level="safe",
    effect="readOnly",
    timeout=160,
    output_cap=48_000,
    run=run,
    runs_commands=True,
)
