"""`grep`: lines of files by a regular expression."""

from pydantic import Field

from activities.tools.globs import translated
from activities.tools.scan import Request, scan
from activities.tools.spec import Arguments, ToolContext, ToolOutput, ToolSpec
from session.model import NonEmptyText, Text


class Grep(Arguments):
    pattern: NonEmptyText = Field(max_length=2_000, description="Regular expression (Python's); (?i) ignores case")
    path: str = Field(default=".", description="File or folder to search, relative to the workspace")
    glob: Text | None = Field(default=None, max_length=1_000, description="Only files like this: *.py, src/**/*.ts")
    context: int = Field(default=0, ge=0, le=20, description="Lines to show before and after each match")
    max_results: int = Field(alias="maxResults", default=100, ge=1, le=1_000, description="Most matching lines to show")


async def run(arguments: Grep, context: ToolContext) -> ToolOutput:
    request = Request(
        question="grep",
        start=arguments.path,
        limit=arguments.max_results,
        pattern=arguments.pattern,
        globs=tuple(translated(arguments.glob)) if arguments.glob else (),
        context=arguments.context,
    )
    return await scan(request, context)


TOOL = ToolSpec(
    name="grep",
    description=(
        "Search inside the workspace's text files, line by line, with a regular expression. Gives "
        "path:line:text; context lines as path-line-text, groups parted by --. Binary files and what "
        ".gitignore leaves out are skipped, and long lines shortened. To find files by name use "
        "search_files."
    ),
    arguments=Grep,
    security_level="safe",
    effect="readOnly",
    timeout=30,
    output_cap=50_000,
    run=run,
    subject="path",
)
