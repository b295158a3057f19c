"""`write_file`: a whole file, or more at the end of one."""

from pydantic import Field

from activities.tools.confine import located
from activities.tools.files import append, replace
from activities.tools.spec import Arguments, ToolContext, ToolOutput, ToolSpec
from activities.tools.text import count
from activities.tools.threads import Check, in_thread


class WriteFile(Arguments):
    path: str = Field(min_length=1, description="File to write, relative to the workspace")
    content: str = Field(description="The text, written as UTF-8 exactly as given")
    append: bool = Field(default=False, description="Add to the end instead of replacing the file")
    create_dirs: bool = Field(alias="createDirs", default=True, description="Make missing folders on the way")


async def run(arguments: WriteFile, context: ToolContext) -> ToolOutput:
    content = arguments.content.encode()

    def work(check: Check) -> str:
        with located(context.workspace, arguments.path, writing=True, create_folders=arguments.create_dirs) as place:
            if arguments.append:
                done = "created" if append(place, content) else "appended to"
            else:
                done = "created" if replace(place, content, check) else "replaced"
            lines = content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
            return f"{done} {place.relative}: {count(len(content), 'byte')}, {count(lines, 'line')} written"

    return ToolOutput(await in_thread(work))


TOOL = ToolSpec(
    name="write_file",
    description=(
        "Write a text file: a new one, or in place of the one that is there, or with append at its end. "
        "Missing folders are made unless createDirs is false. To change a part of a file use edit_file."
    ),
    arguments=WriteFile,
    security_level="moderate",
    effect="sideEffect",
    timeout=30,
    output_cap=2_000,
    run=run,
    quick=True,
    subject="path",
)
