"""`search_files`: files by name."""

from pydantic import Field

from activities.tools.globs import part_of_name, translated
from activities.tools.scan import Request, scan
from activities.tools.spec import Arguments, ToolContext, ToolOutput, ToolSpec
from session.model import NonEmptyText


class SearchFiles(Arguments):
    pattern: NonEmptyText = Field(
        max_length=1_000,
        description="A glob such as *.py, src/**/*.ts or *.{md,txt}; or a part of a file's name",
    )
    directory: str = Field(default=".", description="Folder to search, relative to the workspace")
    max_results: int = Field(alias="maxResults", default=200, ge=1, le=2_000, description="Most files to list")


async def run(arguments: SearchFiles, context: ToolContext) -> ToolOutput:
    globs = tuple(translated(part_of_name(arguments.pattern)))
    return await scan(Request("files", arguments.directory, arguments.max_results, globs=globs), context)


TOOL = ToolSpec(
    name="search_files",
    description=(
        "Find files of the workspace by name. A glob without a slash matches names at any depth, one with "
        "a slash the path from `directory` on. What .gitignore leaves out is left out, and links are not "
        "followed. Gives paths, one a line. To search inside files use grep."
    ),
    arguments=SearchFiles,
    security_level="safe",
    effect="readOnly",
    timeout=30,
    output_cap=50_000,
    run=run,
    subject="directory",
)
