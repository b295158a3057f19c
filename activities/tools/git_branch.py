"""`git_branch`: list, create and switch branches."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from activities.tools.git import opened, ref
from activities.tools.spec import Arguments, ToolContext, ToolError, ToolOutput, ToolSpec
from session.model import NonEmptyText
from session.vocabulary import Effect


class GitBranch(Arguments):
    name: NonEmptyText | None = Field(default=None, max_length=200, description="A branch; none: list them")
    create: bool = Field(default=False, description="Make it, from the commit that is checked out")
    switch: bool = Field(default=False, description="Check it out; with create, once it is made")
    directory: str = Field(default=".", description="The repository, where it is in a folder of the workspace")


async def run(arguments: GitBranch, context: ToolContext) -> ToolOutput:
    name = arguments.name
    wanted = arguments.create or arguments.switch
    if (name is not None) != wanted:
        raise ToolError("INVALID_ARGUMENTS", "give `name` with `create` or `switch` or both, or none of them to list")
    if name is not None and (".." in ref(name) or "@{" in name or "^" in name or "~" in name):
        raise ToolError("INVALID_ARGUMENTS", f"`{name}` is no name of a branch")
    git = await opened(context, arguments.directory)
    if name is None:
        listed = await git.told("branch", "--no-color", "--no-column", "--list", "--all", "--verbose")
        return ToolOutput(listed.out or "[there are no commits yet, and so no branches]", truncated=listed.truncated)
    if not arguments.switch:
        await git.told("branch", "--no-track", name, writing=True)
        return ToolOutput(f"created {name}; not switched to it")
    await git.refuse_filtered()
    created = ("--no-track", "--create") if arguments.create else ()
    await git.told("switch", "--quiet", "--no-guess", "--no-recurse-submodules", *created, name, writing=True)
    return ToolOutput(f"{'created and ' if arguments.create else ''}switched to {name}")


def effect_of(arguments: Mapping[str, Any]) -> Effect:
    return "sideEffect" if arguments.get("name") is not None else "readOnly"


TOOL = ToolSpec(
    name="git_branch",
    description=(
        "Without a name list the branches of the git repository, the current one with a star. With a name and create "
        "make a branch, with switch check one out, with both do both. Local changes are kept, or refused where they "
        "are in the way."
    ),
    arguments=GitBranch,
    security_level="moderate",
    effect="sideEffect",
    timeout=160,
    output_cap=20_000,
    run=run,
    runs_commands=True,
    effect_of=effect_of,
)
