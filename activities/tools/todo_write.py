"""`todo_write`: the conversation's list of what is to be done, replaced as a whole."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from activities.tools.spec import Arguments, Shelf, ToolContext, ToolError, ToolOutput, ToolSpec
from session.model import NonEmptyText

NOTE: Final = "todos"
"""Name of the note on the shelf: the list as JSON."""
MARKS: Final = {"pending": " ", "in_progress": ">", "completed": "x"}


class Todo(BaseModel):
    """One thing to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: NonEmptyText = Field(max_length=1_000, description="What is to be done")
    status: Literal["pending", "in_progress", "completed"] = Field(description="How far it is")
    id: NonEmptyText | None = Field(default=None, max_length=64, description="A name for it; numbered if left out")


class TodoWrite(Arguments):
    todos: tuple[Todo, ...] = Field(max_length=100, description="The whole list, in order; it replaces the old one")

    @model_validator(mode="after")
    def _named_once(self) -> "TodoWrite":
        names = [todo.id for todo in self.todos if todo.id is not None]
        if len(set(names)) < len(names):
            raise ValueError("two todos have the same id")
        return self


_LIST: Final = TypeAdapter(tuple[Todo, ...])


async def run(arguments: TodoWrite, context: ToolContext) -> ToolOutput:
    todos = _numbered(arguments.todos)
    await shelf_of(context).put_note(NOTE, _LIST.dump_json(todos).decode())
    return ToolOutput(shown(todos))


def shelf_of(context: ToolContext) -> Shelf:
    if context.shelf is None:
        raise ToolError("UNAVAILABLE", "there is no conversation to keep the list for")
    return context.shelf


async def read(context: ToolContext) -> tuple[Todo, ...]:
    """The list as it was last written; empty when there is none."""
    text = await shelf_of(context).note(NOTE)
    try:
        return () if text is None else _LIST.validate_json(text)
    except ValidationError:  # of another version: it can be written anew, so it must not be in the way
        return ()


def shown(todos: tuple[Todo, ...]) -> str:
    """The list as lines with a mark each, below a line that counts."""
    if not todos:
        return "[the list is empty]"
    done = sum(todo.status == "completed" for todo in todos)
    lines = (f"[{MARKS[todo.status]}] {todo.id}: {todo.content}" for todo in todos)
    return "\n".join((f"{done} of {len(todos)} completed", *lines))


def _numbered(todos: tuple[Todo, ...]) -> tuple[Todo, ...]:
    taken = {todo.id for todo in todos}
    free = (str(number) for number in range(1, 10_000) if str(number) not in taken)
    return tuple(todo if todo.id is not None else todo.model_copy(update={"id": next(free)}) for todo in todos)


TOOL = ToolSpec(
    name="todo_write",
    description=(
        "Write the list of what is to be done, for work of several steps: all of it each time, in order, with what is "
        "in progress and what is completed. It is kept for the conversation."
    ),
    arguments=TodoWrite,
    security_level="safe",
    effect="idempotent",
    timeout=15,
    output_cap=120_000,
    run=run,
    quick=True,
    in_workspace=False,
)
