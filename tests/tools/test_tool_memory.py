"""memory_search, memory_get and memory_write, over a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from activities.memory import sync
from activities.surroundings import SessionMemory
from activities.tools import TOOLS, ToolError, call
from session.masking import Masker
from store import Store, open_store
from store.bus import InProcessBus
from store.memory import MOST_NOTE_BYTES
from tests.tools.room import Room

Use = Callable[..., Awaitable[str]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/perdure.db", InProcessBus())
    await opened.conversations.create("conv_1", None, None, {})
    yield opened
    await opened.close()


@pytest.fixture
def use(room: Room, store: Store) -> Use:
    memory = SessionMemory(store, {"conversation_id": "conv_1"})

    async def used(name: str, **arguments: Any) -> str:
        context = room.context(memory=memory, masker=Masker(["sesame-key"]))
        return (await call(TOOLS[name], arguments, context)).content

    return used


async def test_passages_are_found_and_read_on(use: Use, store: Store, tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    lines = ["# Gaskets", "", "Spare gaskets are in locker 7.", *(f"line {number}" for number in range(4, 300))]
    (tmp_path / "memory" / "ops.md").write_text("\n".join(lines))
    await sync(store, tmp_path / "memory")
    told = await use("memory_search", query="where are spare gaskets", maxResults=1)
    assert told.startswith("1 of ") and "\n\nops.md:1-" in told and "locker 7" in told
    assert await use("memory_search", query="submarine") == "[nothing was found; try other words]"
    assert await use("memory_search", query="gaskets", minScore=1) == "[nothing was found; try other words]"
    head, *shown = (await use("memory_get", path="ops.md", startLine=3, lines=2)).split("\n")
    assert head == "[ops.md, lines 3 to 4 of 299; go on with startLine 5]" and shown == lines[2:4]
    head, *shown = (await use("memory_get", path="ops.md", startLine=298)).split("\n")
    assert head == "[ops.md, lines 298 to 299 of 299]" and shown == lines[297:]


async def test_what_is_written_is_found_in_the_conversations_own_note(use: Use, store: Store) -> None:
    assert (
        await use("memory_write", content="The pump runs at 40 Hz.") == "[remembered at @conversations/conv_1.md:1-1]"
    )
    assert await use("memory_write", content="key: sesame-key\nnext\n") == (
        "[remembered at @conversations/conv_1.md:3-4]"
    )
    assert "The pump runs at 40 Hz." in await use("memory_search", query="pump")
    whole = await use("memory_get", path="@conversations/conv_1.md")
    assert whole.startswith("[@conversations/conv_1.md, lines 1 to 4 of 4]\nThe pump") and whole.endswith("\nnext")
    excerpt = await store.memory.excerpt("@conversations/conv_1.md", 1, 9)
    assert "sesame" not in "".join(excerpt.lines), "secrets do not reach the store"


async def test_what_cannot_be_done_is_told_by_code(use: Use, room: Room, store: Store) -> None:
    async def code(name: str, **arguments: Any) -> str:
        with pytest.raises(ToolError) as caught:
            await use(name, **arguments)
        return caught.value.code

    assert await code("memory_get", path="none.md") == "NOT_FOUND"
    await use("memory_write", content="one line")
    assert await code("memory_get", path="@conversations/conv_1.md", startLine=9) == "INVALID_ARGUMENTS"
    assert await code("memory_write", content=" \n") == "INVALID_ARGUMENTS"
    await store.memory.append_note("conv_1", "x" * (MOST_NOTE_BYTES - 100))
    assert await code("memory_write", content="y" * 200) == "TOO_LARGE"
    with pytest.raises(ToolError, match="UNAVAILABLE"):
        await call(TOOLS["memory_search"], {"query": "x"}, room.context())


@pytest.mark.parametrize("name", ["memory_search", "memory_get", "memory_write"])
def test_they_run_in_any_worker(name: str) -> None:
    assert TOOLS[name].quick and not TOOLS[name].in_workspace
