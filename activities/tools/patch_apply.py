"""`patch_apply`: a unified diff over several files, all of it or nothing."""

from collections.abc import Sequence

from pydantic import Field

from activities.tools.files import text_of
from activities.tools.hunks import Fitted, Misfit, applied, fitted
from activities.tools.patch import FilePatch, Malformed, parsed
from activities.tools.plan import Plan, Planned
from activities.tools.spec import Arguments, ToolContext, ToolError, ToolOutput, ToolSpec
from activities.tools.text import count
from activities.tools.threads import Check, in_thread
from session.model import NonEmptyText

MAX_CHARACTERS = 1_000_000
MAX_FILES = 500


class PatchApply(Arguments):
    patch: NonEmptyText = Field(
        max_length=MAX_CHARACTERS,
        description="A unified diff, as git diff or diff -u write it, with paths relative to the workspace",
    )


async def run(arguments: PatchApply, context: ToolContext) -> ToolOutput:
    """Nothing is written before every hunk of every file was found to fit; what a crash leaves, see `plan.py`."""

    def work(check: Check) -> str:
        patches = _parsed(arguments.patch)
        plan = Plan(context.workspace, check)
        told = _planned(plan, patches, check)
        if not plan.changes:
            raise ToolError("INVALID_PATCH", "the patch changes nothing: it has no lines with `+` or `-`")
        plan.carry_out()
        return f"applied to {count(len(patches), 'file')}:\n" + "\n".join(told)

    return ToolOutput(await in_thread(work))


def _parsed(patch: str) -> list[FilePatch]:
    try:
        patches = parsed(patch)
    except Malformed as error:
        raise ToolError("INVALID_PATCH", f"the patch cannot be read, nothing was changed: {error}") from error
    if len(patches) > MAX_FILES:
        raise ToolError("INVALID_PATCH", f"the patch has {len(patches)} files; at most {MAX_FILES} are applied at once")
    return patches


def _planned(plan: Plan, patches: Sequence[FilePatch], check: Check) -> list[str]:
    """A line for each file; raises one `ToolError` that tells of all the files that do not fit."""
    told: list[str] = []
    wrong: list[tuple[str, str, str]] = []
    for patch in patches:
        try:
            told.append(_one(plan, patch, check))
        except ToolError as error:
            wrong.append((error.code, f"{patch.name}: {error.message}", error.content))
        except ExceptionGroup as misfits:
            wrong += [
                (each.code, f"{patch.name}: {each.message}", each.shown)
                for each in misfits.exceptions
                if isinstance(each, Misfit)
            ]
    if not wrong:
        return told
    shown = "\n\n".join(f"{message}\n{lines}".rstrip() for _, message, lines in wrong)
    more = f" (and {count(len(wrong) - 1, 'more fault')}, see below)" if len(wrong) > 1 else ""
    raise ToolError(wrong[0][0], f"the patch does not fit, nothing was changed: {wrong[0][1]}{more}", content=shown)


def _one(plan: Plan, patch: FilePatch, check: Check) -> str:
    """Plan what one file of the patch says, and tell of it."""
    if patch.old is None:
        return _created(plan, patch, check)
    source = plan.file(patch.old)
    if source.after is None:
        raise ToolError("NOT_FOUND", f"`{patch.old}` does not exist in the workspace")
    text = text_of(source.after, patch.old)
    places = _fitted(text, patch, check)
    result = applied(text, places)
    if patch.new is None:
        if result:
            raise ToolError("NO_MATCH", "it is to be deleted, but has lines that the patch does not remove")
        source.after = None
        return f"deleted {source.path}"
    if patch.new == patch.old:
        _set(source, result, patch)
        return f"changed {source.path}{_hunks(places)}"
    target = plan.file(patch.new)
    if target.after is not None:
        raise ToolError("EXISTS", f"`{patch.new}` exists already")
    _set(target, result, patch)
    if patch.executable is None:
        target.executable = source.was_executable
    if not patch.copy:
        source.after = None
    return f"{'copied' if patch.copy else 'renamed'} {source.path} to {target.path}{_hunks(places)}"


def _created(plan: Plan, patch: FilePatch, check: Check) -> str:
    target = plan.file(patch.name)
    if target.after is not None:
        raise ToolError("EXISTS", "it is to be created, but exists already")
    _set(target, applied("", _fitted("", patch, check)), patch)
    return f"created {target.path}"


def _set(planned: Planned, text: str, patch: FilePatch) -> None:
    planned.after = text.encode()
    planned.executable = patch.executable


def _fitted(text: str, patch: FilePatch, check: Check) -> list[Fitted]:
    places, wrong = fitted(text, patch.hunks, check)
    if wrong:
        raise ExceptionGroup("hunks that do not fit", wrong)
    return places


def _hunks(places: Sequence[Fitted]) -> str:
    if not places:
        return ""
    moved = [f"hunk {each.hunk.number} {_drift(each.drift)}" for each in places if each.drift and each.hunk.start]
    return f" ({count(len(places), 'hunk')}{': ' if moved else ''}{', '.join(moved[:10])})"


def _drift(lines: int) -> str:
    return f"found {count(abs(lines), 'line')} {'lower' if lines > 0 else 'higher'}"


TOOL = ToolSpec(
    name="patch_apply",
    description=(
        "Apply a unified diff to one or several files of the workspace, all of it or nothing. It may create "
        "(--- /dev/null), delete (+++ /dev/null) and rename files. Unchanged and removed lines must be in the "
        "file character for character; line numbers may be off where those lines stand at one place only. "
        "When it does not fit, nothing is changed, and the lines expected and found are shown."
    ),
    arguments=PatchApply,
    security_level="moderate",
    effect="sideEffect",
    timeout=60,
    output_cap=20_000,
    run=run,
    quick=True,
)
