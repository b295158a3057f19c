"""`directory_tree`: what is where."""

from pydantic import Field

from activities.tools.scan import Request, scan
from activities.tools.spec import Arguments, ToolContext, ToolOutput, ToolSpec

MAX_LINES = 1_000


class DirectoryTree(Arguments):
    path: str = Field(default=".", description="Folder to begin with, relative to the workspace")
    depth: int = Field(default=3, ge=1, le=20, description="How many levels to show")


async def run(arguments: DirectoryTree, context: ToolContext) -> ToolOutput:
    return await scan(Request("tree", arguments.path, MAX_LINES, depth=arguments.depth), context)


TOOL = ToolSpec(
    name="directory_tree",
    description=(
        "Show the folders and files of the workspace as an indented tree, folders with a slash at the "
        f"end. What .gitignore leaves out is left out, and .git. At most {MAX_LINES} entries: begin "
        "further down for more."
    ),
    arguments=DirectoryTree,
    security_level="safe",
    effect="readOnly",
    timeout=30,
    output_cap=50_000,
    run=run,
    quick=True,
    subject="path",
)
