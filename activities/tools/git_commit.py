"""`git_commit`: a commit of what is staged, of some paths, or of everything."""

from typing import Annotated, Final, NamedTuple, Self

from pydantic import Field

from activities.tools.git import Git, opened, refuse_secrets
from activities.tools.patch import unquoted
from activities.tools.spec import Arguments, ToolContext, ToolError, ToolOutput, ToolSpec
from session.model import NonEmptyText

MAX_STAGED: Final = 5_000
AT_ONCE: Final = 100
"""Files staged by one run of git: a path has at most 4 KiB, a command line at least 2 MiB."""
_PLAIN: Final = ("--no-color", "--no-show-signature", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty")


class GitCommit(Arguments):
    message: NonEmptyText = Field(max_length=20_000, description="The commit message")
    paths: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        default=None, min_length=1, max_length=500, description="Commit these files and folders, and nothing else"
    )
    all: bool = Field(default=False, description="Commit every change, new and deleted files included")
    directory: str = Field(default=".", description="The repository, where it is in a folder of the workspace")


async def run(arguments: GitCommit, context: ToolContext) -> ToolOutput:
    """What fails half-way leaves its paths staged; a crash may leave git's `index.lock`, which it then complains of."""
    if arguments.all and arguments.paths is not None:
        raise ToolError("INVALID_ARGUMENTS", "give `paths` or `all`, not both")
    git = await opened(context, arguments.directory)
    paths = [git.path(path) for path in arguments.paths or ()]
    left_out: list[str] = []
    if paths or arguments.all:
        left_out = await _staged(git, paths or [":(top)"])
    else:
        refuse_secrets(await git.names("diff", "--cached", "--name-only", "--no-renames", "--diff-filter=d"))
    await _refuse_nothing(git, paths)
    commit = ("commit", "--quiet", "--no-verify", "--no-gpg-sign", "--no-edit", f"--message={arguments.message}")
    await git.told(*commit, "--", *paths, writing=True)
    told = await git.told("log", "--max-count=1", *_PLAIN, "--stat", "--format=committed %h on %D%n%s")
    notes = "".join(f"[left out: {name}, a submodule]\n" for name in left_out)
    return ToolOutput(told.out + notes)


async def _staged(git: Git, chosen: list[str]) -> list[str]:
    """Stage all changes of `chosen`; the names of changed submodules, which are left out: for `git add` git would run
    itself in them, by their own config."""
    await git.refuse_filtered()
    status = ("status", "--porcelain=2", "--no-renames", "--untracked-files=all", "--ignore-submodules=dirty")
    lines = await git.lines(*status, "--", *chosen)
    changes = [_Change.read(line) for line in lines]
    refuse_secrets([change.name for change in changes if not change.gone])
    names = [change.name for change in changes if change.open and not change.submodule]
    if len(names) > MAX_STAGED:
        raise ToolError("TOO_LARGE", f"there are {len(names)} changed files to stage; do this with exec")
    for first in range(0, len(names), AT_ONCE):
        some = (f":(top,literal){name}" for name in names[first : first + AT_ONCE])
        await git.told("add", "--all", "--", *some, writing=True)
    return [change.name for change in changes if change.open and change.submodule]


class _Change(NamedTuple):
    """A line of git-status(1), porcelain format version 2. `open`: there is something to stage."""

    name: str
    open: bool
    gone: bool
    submodule: bool

    @classmethod
    def read(cls, line: str) -> Self:
        kind = line[:1]
        if kind == "?":
            return cls(unquoted(line[2:]), open=True, gone=False, submodule=False)
        fields = line.split(" ", 10 if kind == "u" else 8)
        return cls(unquoted(fields[-1]), fields[1][1] != ".", "D" in fields[1], fields[2].startswith("S"))


async def _refuse_nothing(git: Git, paths: list[str]) -> None:
    """Raise ToolError where nothing would be committed: git itself would answer by a status that looks into submodules.
    A merge may be concluded without a change."""
    staged = await git.ask("diff", "--cached", "--quiet", "--no-ext-diff", "--", *paths)
    if staged.code != 0 or (await git.ask("rev-parse", "--verify", "--quiet", "MERGE_HEAD")).code == 0:
        return
    status = await git.ask("status", "--short", "--branch", "--ignore-submodules=dirty")
    told = "there is nothing to commit here; see the status, and `paths` or `all`"
    raise ToolError("NOTHING_TO_COMMIT", told, content=status.out)


TOOL = ToolSpec(
    name="git_commit",
    description=(
        "Commit to the git repository: the files in paths (new, changed or deleted), or with all every change, or "
        "with neither what is staged. Hooks are not run and nothing is signed or pushed. Files that may hold secrets "
        "(.env, keys) are refused."
    ),
    arguments=GitCommit,
    security_level="moderate",
    effect="sideEffect",
    timeout=170,
    output_cap=20_000,
    run=run,
    runs_commands=True,
)
