"""Claims about warmed passages: the next session takes them, no other does, and a repeated one begins as it did."""

import asyncio
from typing import Any

import pytest

from session.passages import Passage
from session.resources import MemoryChunk
from session.wire import Ending
from store import Store
from store.ledger import NotFound
from store.memory_links import Archived
from store.starting import Caller
from tests.store.acting import Clock, begin_session, story

NOBODY = Caller()


def chunk(path: str, line: int = 1) -> MemoryChunk:
    return MemoryChunk(id="memc_1", path=path, start_line=line, end_line=line + 1, text=f"of {path}", score=0.5)


def ref(path: str, line: int = 1) -> dict[str, Any]:
    return {"path": path, "startLine": line, "endLine": line + 1}


async def begun(store: Store, into: str | None, **said: Any) -> tuple[str, Any]:
    """Start a session and end it; its id, and what `session:start` says of memory."""
    session = (await begin_session(store, into=into, **said)).session
    start = next(fact for fact in await story(store, session) if fact.type == "session:start")
    await store.endings.close(session.id, Ending("maxSteps"))
    return session.id, start.data.get("memory")


async def test_the_next_session_of_the_conversation_takes_what_was_picked_last(store: Store) -> None:
    for conversation in ("conv_1", "conv_2"):
        await store.conversations.create(conversation, None, None, {})
    await store.passages.keep("conv_1", None, [chunk("old.md")])
    await store.passages.keep("conv_1", None, [chunk("b.md"), chunk("a.md", 5)])
    _, other = await begun(store, "conv_2")
    assert other is None
    first, told = await begun(store, "conv_1")
    assert told == [ref("b.md"), ref("a.md", 5)]
    assert await store.passages.of(first) == [Passage("b.md", 1, 2, "of b.md"), Passage("a.md", 5, 6, "of a.md")]
    _, told = await begun(store, "conv_1")
    assert told is None


async def test_a_session_that_is_repeated_begins_as_it_did_unless_something_new_was_picked(store: Store) -> None:
    await store.conversations.create("conv_1", None, None, {})
    await store.passages.keep("conv_1", None, [chunk("a.md")])
    first, _ = await begun(store, "conv_1")
    again = (await store.starting.retry(first, NOBODY)).session
    assert await store.passages.of(again.id) == await store.passages.of(first) != []
    await store.endings.close(again.id, Ending("maxSteps"))
    await store.passages.keep("conv_1", None, [chunk("new.md")])
    third = (await store.starting.retry(first, NOBODY)).session
    assert [passage.path for passage in await store.passages.of(third.id)] == ["new.md"]


async def test_a_session_that_names_a_memory_session_takes_its_passages_and_belongs_to_it(store: Store) -> None:
    memory = await store.memory_sessions.create(NOBODY, "work", None, None)
    await store.conversations.create("conv_1", None, None, {})
    await store.passages.keep(None, memory.id, [chunk("a.md"), chunk("shared.md")])
    await store.passages.keep("conv_1", memory.id, [chunk("shared.md"), chunk("c.md")])
    assert (await store.memory_sessions.get(memory.id)).conversation_ids == ["conv_1"]
    _, told = await begun(store, "conv_1", memorySessionId=memory.id)
    assert sorted(each["path"] for each in told) == ["a.md", "c.md", "shared.md"], "each once"
    _, told = await begun(store, None, memorySessionId=memory.id)
    assert told is None
    joined = await store.memory_sessions.get(memory.id)
    assert joined.message_count == 4 and len(joined.conversation_ids) == 2


async def test_two_sessions_that_start_at_once_do_not_begin_with_the_same_picks(store: Store) -> None:
    memory = await store.memory_sessions.create(NOBODY, None, None, None)
    await store.passages.keep(None, memory.id, [chunk("a.md")])
    told = await asyncio.gather(*(begun(store, None, memorySessionId=memory.id) for _ in range(4)))
    assert [one for _, one in told if one] == [[ref("a.md")]]


async def test_an_unknown_or_archived_memory_session_starts_nothing(store: Store) -> None:
    await store.conversations.create("conv_1", None, None, {})
    memory = await store.memory_sessions.create(NOBODY, None, None, None)
    await store.memory_sessions.archive(memory.id)
    for named, refusal in (("mem_none", NotFound), (memory.id, Archived)):
        with pytest.raises(refusal):
            await begin_session(store, into="conv_1", memorySessionId=named)
        with pytest.raises(refusal):
            await store.passages.keep(None, named, [chunk("a.md")])
    assert await store.conversations.messages("conv_1") == []
    with pytest.raises(NotFound):
        await store.passages.keep("conv_none", None, [chunk("a.md")])


async def test_what_a_conversation_is_about_is_told_by_its_title_and_last_questions(store: Store, clock: Clock) -> None:
    memory = await store.memory_sessions.create(NOBODY, "Turbines", None, None)
    assert await store.passages.about(None, None) == ""
    assert await store.passages.about(None, memory.id) == "Turbines"
    for question in ("one", "two", "three", "four" + "x" * 5_000):
        clock.now += 1
        await begun(store, "conv_1" if question != "one" else await _named(store), content=question)
    about = await store.passages.about("conv_1", memory.id)
    assert about.startswith("Turbines\none\nfour") and "\nthree\ntwo" in about
    assert len(about) < 1_200
    for conversation, named in (("conv_none", None), (None, "mem_none")):
        with pytest.raises(NotFound):
            await store.passages.about(conversation, named)


async def _named(store: Store) -> str:
    return (await store.conversations.create("conv_1", None, None, {})).id


async def test_a_conversation_that_is_not_there_is_not_found_with_a_memory_session_either(store: Store) -> None:
    memory = await store.memory_sessions.create(NOBODY, None, None, None)
    with pytest.raises(NotFound, match="no conversation conv_none"):
        await begin_session(store, into="conv_none", memorySessionId=memory.id)
