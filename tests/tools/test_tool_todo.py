"""todo_write and todo_read: a conversation's list of what is to be done."""

from typing import Any

import pytest

from activities.tools import ToolError, call, todo_read, todo_write
from tests.tools.room import Room
from tests.tools.shelf import MemoryShelf


@pytest.fixture
def shelf() -> MemoryShelf:
    return MemoryShelf()


async def write(room: Room, shelf: MemoryShelf, *todos: dict[str, Any]) -> str:
    return (await call(todo_write.TOOL, {"todos": list(todos)}, room.context(shelf=shelf))).content


async def read(room: Room, shelf: MemoryShelf) -> str:
    return (await call(todo_read.TOOL, {}, room.context(shelf=shelf))).content


async def test_the_list_is_read_as_it_was_written(room: Room, shelf: MemoryShelf) -> None:
    assert await read(room, shelf) == "[the list is empty]"
    told = await write(
        room,
        shelf,
        {"content": "look", "status": "completed"},
        {"content": "mend", "status": "in_progress", "id": "1"},
        {"content": "test\nall of it", "status": "pending", "id": "last"},
    )
    assert told == "1 of 3 completed\n[x] 2: look\n[>] 1: mend\n[ ] last: test\nall of it"
    assert await read(room, shelf) == told
    assert await write(room, shelf) == "[the list is empty]" == await read(room, shelf)


async def test_writing_the_same_list_again_changes_nothing(room: Room, shelf: MemoryShelf) -> None:
    todos = [{"content": str(number), "status": "pending"} for number in range(3)]
    assert await write(room, shelf, *todos) == await write(room, shelf, *todos) == await read(room, shelf)
    assert (todo_write.TOOL.effect, todo_read.TOOL.effect) == ("idempotent", "readOnly")


@pytest.mark.parametrize(
    ("todos", "told"),
    [
        ([{"content": "a"}], "`todos.0.status` is missing"),
        ([{"content": "a", "status": "done"}], "`todos.0.status`"),
        ([{"content": "", "status": "pending"}], "`todos.0.content`"),
        ([{"content": "a", "status": "pending", "who": "me"}], "`todos.0.who`"),
        ([{"content": "a", "status": "pending", "id": "x"}] * 2, "same id"),
        ([{"content": "a", "status": "pending"}] * 101, "`todos`"),
    ],
)
async def test_a_list_that_is_none_is_refused_and_the_old_one_stays(
    room: Room, shelf: MemoryShelf, todos: list[dict[str, Any]], told: str
) -> None:
    before = await write(room, shelf, {"content": "kept", "status": "pending"})
    with pytest.raises(ToolError) as caught:
        await write(room, shelf, *todos)
    assert caught.value.code == "INVALID_ARGUMENTS" and told in caught.value.message
    assert await read(room, shelf) == before


async def test_a_note_of_another_form_is_not_in_the_way(room: Room, shelf: MemoryShelf) -> None:
    shelf.notes[todo_write.NOTE] = '{"version": 9}'
    assert await read(room, shelf) == "[the list is empty]"
    assert "mend" in await write(room, shelf, {"content": "mend", "status": "pending"})


async def test_without_a_conversation_there_is_no_list(room: Room) -> None:
    with pytest.raises(ToolError, match="UNAVAILABLE"):
        await call(todo_read.TOOL, {}, room.context())
