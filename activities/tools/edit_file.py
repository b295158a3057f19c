"""`edit_file`: one exact piece of text replaced by another."""

from dataclasses import dataclass

from pydantic import Field

from activities.tools.confine import located
from activities.tools.files import read_whole, replace, text_of
from activities.tools.spec import Arguments, ToolContext, ToolError, ToolOutput, ToolSpec
from activities.tools.text import count
from activities.tools.threads import Check, in_thread

CONTEXT = 3
MAX_HUNKS = 20


class EditFile(Arguments):
    path: str = Field(min_length=1, description="File to change, relative to the workspace")
    old_string: str = Field(
        min_length=1,
        description="Text to replace, exactly as in the file, blanks included",
    )
    new_string: str = Field(description="Text to put there instead")
    replace_all: bool = Field(default=False, description="Replace every occurrence, not just one")


@dataclass(frozen=True)
class Edit:
    """A text, a piece of it, what takes its place, and where (offsets in characters, none overlapping)."""

    text: str
    old: str
    new: str
    at: tuple[int, ...]

    def result(self) -> str:
        return self.text.replace(self.old, self.new)

    def line(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1


async def run(arguments: EditFile, context: ToolContext) -> ToolOutput:
    if arguments.old_string == arguments.new_string:
        raise ToolError("INVALID_ARGUMENTS", "`new_string` is the same as `old_string`: nothing would change")

    def work(check: Check) -> str:
        with located(context.workspace, arguments.path, writing=True) as place:
            content = read_whole(place)
            check()
            edit = _found(text_of(content, place.relative), arguments, place.relative)
            replace(place, edit.result().encode(), check)
            return f"{count(len(edit.at), 'replacement')} in {place.relative}\n{diff(edit)}"

    return ToolOutput(await in_thread(work))


def _found(text: str, arguments: EditFile, path: str) -> Edit:
    old, new = arguments.old_string, arguments.new_string
    if old not in text and "\r\n" in text:  # a model writes \n where the file has \r\n
        old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
    edit = Edit(text, old, new, _offsets(text, old))
    if not edit.at:
        raise ToolError(
            "NO_MATCH",
            f"`old_string` is not in {path}; read the file and copy the text exactly, indentation included",
        )
    if len(edit.at) > 1 and not arguments.replace_all:
        lines = ", ".join(str(edit.line(offset)) for offset in edit.at[:10]) + (", ..." if edit.at[10:] else "")
        raise ToolError(
            "NOT_UNIQUE",
            f"`old_string` is in {path} {len(edit.at)} times (lines {lines}); "
            "add surrounding lines to make it unique, or set replace_all",
        )
    return edit


def _offsets(text: str, old: str) -> tuple[int, ...]:
    offsets = []
    at = text.find(old)
    while at >= 0:
        offsets.append(at)
        at = text.find(old, at + len(old))
    return tuple(offsets)


def diff(edit: Edit) -> str:
    """The change as hunks with three lines around each; matches that share lines share a hunk."""
    groups: list[list[int]] = []
    for offset in edit.at:
        if groups and "\n" not in edit.text[groups[-1][-1] + len(edit.old) : offset]:
            groups[-1].append(offset)
        else:
            groups.append([offset])
    shown = [_hunk(edit, group) for group in groups[:MAX_HUNKS]]
    if len(groups) > MAX_HUNKS:
        shown.append(f"[... and {count(len(groups) - MAX_HUNKS, 'place')} more ...]")
    return "\n".join(shown)


def _hunk(edit: Edit, offsets: list[int]) -> str:
    text = edit.text
    start = text.rfind("\n", 0, offsets[0]) + 1
    last = offsets[-1] + len(edit.old)
    end, after = last, text[start:last].replace(edit.old, edit.new)
    if text[last - 1] != "\n" or (after and not after.endswith("\n")):  # the rest of its last line, too
        end = text.find("\n", last) + 1 or len(text)
        after += text[last:end]
    above = text[:start].rsplit("\n", CONTEXT + 1)[-CONTEXT - 1 : -1] if start else []
    below = _lines(text[end:], CONTEXT)
    shown = [f"@@ line {edit.line(start)} @@"]
    for mark, lines in ((" ", above), ("-", _lines(text[start:end])), ("+", _lines(after)), (" ", below)):
        shown += [mark + line for line in lines]
    return "\n".join(shown)


def _lines(text: str, most: int = -1) -> list[str]:
    lines = text.split("\n", most)
    if lines[-1] == "":
        del lines[-1]
    return lines if most < 0 else lines[:most]


TOOL = ToolSpec(
    name="edit_file",
    description=(
        "Replace a piece of a text file. old_string must be in the file exactly once, character for "
        "character; include enough surrounding lines to make it so, or set replace_all to change every "
        "occurrence. Gives the change as a diff. Read the file first; use write_file for new files."
    ),
    arguments=EditFile,
    security_level="moderate",
    effect="sideEffect",
    timeout=30,
    output_cap=12_000,
    run=run,
    quick=True,
    subject="path",
)
