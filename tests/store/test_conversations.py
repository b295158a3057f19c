"""Claims about conversations (CONTRACT §4)."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import func, insert, select

from session.prompt import SystemPrompt
from session.usage import Usage
from session.wire import DecisionRef, Ending
from store import Store
from store.approvals import Offer
from store.compactions import Summary
from store.conversations import Taken
from store.cursor import BadCursor, encode
from store.ledger import NotFound
from store.memory_schema import memory_chunks, memory_passages
from store.schema import metadata
from store.starting import Caller, Conflict
from tests.store.acting import EXEC, MODEL, OK, Clock, asking, begin_session, new_call, new_session, reply, step, tool


async def test_a_conversation_is_kept_as_it_was_made(store: Store, clock: Clock) -> None:
    made = await store.conversations.create("conv_01", "A title", "preset", {"k": ["v", None, 1.5, "ü\x00"]})
    assert (made.id, made.title, made.preset_id) == ("conv_01", "A title", "preset")
    assert made.metadata == {"k": ["v", None, 1.5, "ü\x00"]}
    assert made.created_at == made.updated_at == "2023-11-14T22:13:20.000Z"
    assert await store.conversations.get("conv_01") == (made, None)
    assert (await store.conversations.create(None, None, None, {})).id.startswith("conv_")


async def test_an_id_can_be_taken_once_also_at_the_same_moment(store: Store) -> None:
    made = await asyncio.gather(
        *(store.conversations.create("conv_01", str(n), None, {}) for n in range(10)), return_exceptions=True
    )
    assert sum(isinstance(one, Taken) for one in made) == 9
    with pytest.raises(Taken):
        await store.conversations.create("conv_01", None, None, {})


async def test_title_and_metadata_can_be_changed(store: Store, clock: Clock) -> None:
    await store.conversations.create("conv_01", "old", None, {"a": 1})
    clock.now += 1000
    changed = await store.conversations.change("conv_01", {"title": "new"})
    assert (changed.title, changed.metadata, changed.updated_at) == ("new", {"a": 1}, "2023-11-14T22:13:21.000Z")
    changed = await store.conversations.change("conv_01", {"metadata": {"b": 2}})
    assert (changed.title, changed.metadata) == ("new", {"b": 2})
    for asked in (store.conversations.change("conv_none", {"title": "x"}), store.conversations.get("conv_none")):
        with pytest.raises(NotFound):
            await asked


async def test_a_list_is_newest_first_and_its_pages_are_stable_while_rows_are_added(store: Store, clock: Clock) -> None:
    made = []
    for n in range(7):
        clock.now += n % 2  # some share a millisecond
        made.append((await store.conversations.create(None, str(n), None, {})).id)
    newest = sorted(made, reverse=True)
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(4):
        page, cursor = await store.conversations.list(None, cursor, 2)
        seen += [one.id for one in page]
        clock.now += 1
        await store.conversations.create(None, "added", None, {})
    assert cursor is None
    assert seen == newest


@pytest.mark.parametrize("size", [1, 3])
async def test_the_last_page_has_no_cursor_also_when_it_is_full(store: Store, size: int) -> None:
    for _ in range(size):
        await store.conversations.create(None, None, None, {})
    page, cursor = await store.conversations.list(None, None, size)
    assert (len(page), cursor) == (size, None)


BAD = [
    "",
    "x",
    "MTIz",
    "!!!",
    "ü",
    "\ud800",
    encode(10**20, "conv_1"),
    encode(1, "a\x00"),
    encode(1, ""),
    encode(-1, "c"),
]


@pytest.mark.parametrize("cursor", BAD)
async def test_a_cursor_that_was_not_given_out_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadCursor):
        await store.conversations.list(None, cursor, 10)


async def test_a_search_looks_in_titles_and_messages_and_takes_every_sign_literally(store: Store) -> None:
    titles = {"a": "100% sure", "b": "snake_case", "c": "back\\slash", "d": "plain"}
    for conversation_id, title in titles.items():
        await store.conversations.create(conversation_id, title, None, {})
    await begin_session(store, "Look in MESSAGES too", into="d")

    async def found(q: str) -> set[str]:
        return {one.id for one in (await store.conversations.list(q, None, 10))[0]}

    assert await found("%") == {"a"}
    assert await found("_") == {"b"}
    assert await found("\\") == {"c"}
    assert await found("SNAKE") == {"b"}
    assert await found("messages") == {"d"}
    assert await found("nothing") == set()
    assert await found("a\x00") == set()
    assert await found("") == set(titles)


async def test_messages_come_in_order_and_a_reply_carries_its_calls(store: Store) -> None:
    session = await new_session(store, "question")
    at = step(session)
    await store.steps.begin(at, 1)
    await store.steps.record_reply(at, 1, reply("answer", new_call("b", path="x"), new_call("a", "sideEffect")))
    await store.calls.record(tool(at, "b"), 1, OK, 12)
    await store.endings.close(session.id, Ending("maxSteps"))
    asked, answered = await store.conversations.messages(session.conversation_id)
    assert (asked.role, asked.content, asked.tool_calls) == ("user", "question", [])
    assert (answered.role, answered.model, answered.session_id) == ("assistant", session.model, session.id)
    assert [(call.id, call.status, call.step) for call in answered.tool_calls] == [
        ("b", "success", 1),
        ("a", "error", 1),
    ]
    assert (answered.tool_calls[0].arguments, answered.tool_calls[0].duration_ms) == ({"path": "x"}, 12)
    assert answered.tool_calls[0].result == OK.published()
    assert await store.conversations.message(answered.id) == answered
    assert await store.conversations.message(asked.id) == asked
    with pytest.raises(NotFound):
        await store.conversations.message("msg_none")


async def test_a_conversation_with_a_running_session_is_not_deleted(store: Store) -> None:
    session = await new_session(store)
    with pytest.raises(Conflict) as refused:
        await store.conversations.delete(session.conversation_id)
    assert refused.value.session_id == session.id
    assert await store.sessions.get(session.id) == session


async def test_deleting_a_conversation_leaves_nothing_of_it_and_all_of_the_others(store: Store) -> None:
    async def lived(key: str) -> str:
        started = await begin_session(store, caller=Caller("t", key, "h"))
        at = step(started.session)
        await store.steps.begin(at, 1, await store.toolsets.publish([EXEC]), "home")
        await store.follow_ups.add(started.session.id, "and this", Caller())
        asks = asking("t", command="ls")
        await store.compactions.record(at, 1, Summary("before", MODEL, Usage(), None, 1))
        said = replace(reply("a", asks, new_call("u")), prompt=SystemPrompt("for all", "for this one"))
        told = await store.steps.record_reply(at, 1, said)
        decision = await store.approvals.offer(told.calls[0].approval_id, Offer("allow-always", "ann"))
        ref = DecisionRef(started.session.id, told.calls[0].approval_id, decision)
        assert await store.approvals.settle(ref, {"exec": EXEC}, None)
        await store.calls.record(tool(at, "u"), 1, OK, 1, ["all of it"])
        await store.shelves.put_note(started.session.conversation_id, "todos", "[]")
        await store.memory.append_note(started.session.conversation_id, "remember")
        await store.memory_sessions.create(Caller(), None, started.session.conversation_id, None)
        await _recalled(store, started.session.id)
        await store.endings.close(started.session.id, Ending("maxSteps"))
        return started.session.conversation_id

    await store.conversations.delete(await lived("first"))  # so that the tables of what outlives it have rows as well
    kept = await lived("kept")
    before = await _rows(store)
    gone = await lived("gone")
    await store.conversations.delete(gone)
    after = await _rows(store)
    assert all(before.values()), "every table has rows that could have been left behind"
    assert after.pop("audit") > before.pop("audit"), "what was done stays on record"
    assert after.pop("removals") > before.pop("removals"), "and that it is gone"
    assert after == before
    assert {table for table in metadata.tables if await _names(store, table, gone)} == {"audit", "removals"}
    assert len(await store.conversations.messages(kept)) == 3
    with pytest.raises(NotFound):
        await store.conversations.delete(gone)


async def test_a_delete_and_a_start_at_the_same_moment_leave_one_of_two_worlds(store: Store) -> None:
    for n in range(10):
        await store.conversations.create(f"conv_{n}", None, None, {})
        deleted, started = await asyncio.gather(
            store.conversations.delete(f"conv_{n}"), begin_session(store, into=f"conv_{n}"), return_exceptions=True
        )
        if deleted is None:
            assert isinstance(started, NotFound)
        else:
            assert isinstance(deleted, Conflict)
            assert not isinstance(started, BaseException)


async def _recalled(store: Store, session_id: str) -> None:
    """A passage that the session began with, and a vector of the newest one."""
    passage = {"session_id": session_id, "path": "a.md", "start_line": 1, "end_line": 1, "text": "a", "score": 1.0}
    async with store.database.write() as connection:
        newest = (await connection.execute(select(func.max(memory_chunks.c.number)))).scalar_one()
        await connection.execute(insert(memory_passages), passage)
    await store.vectors.put("m", [(newest, [1.0])])


async def _names(store: Store, table: str, text: str) -> bool:
    """Whether a row of this table has the text anywhere."""
    async with store.database.read() as connection:
        rows = await connection.execute(metadata.tables[table].select())
    return any(text in str(value) for row in rows for value in row)


async def _rows(store: Store) -> dict[str, int]:
    async with store.database.read() as connection:
        return {
            table.name: (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            for table in metadata.sorted_tables
        }
