"""Claims about facts: offsets without gaps, the same for every reader, each key once (CONTRACT §3, G2)."""

import asyncio

import pytest
from sqlalchemy.exc import IntegrityError

from session.events import MessageSaved
from session.live import Position
from session.wire import Ending
from store import Store
from store import facts as store_facts
from store.facts import LAST_OFFSET
from tests.store.acting import OK, new_call, new_session, reply, step, story, tool


async def test_fifty_writers_at_once_leave_no_gap_and_no_reader_sees_another_order(store: Store) -> None:
    session = await new_session(store)
    at = step(session)
    await store.steps.begin(at, 1)
    await store.steps.record_reply(at, 1, reply("", *(new_call(f"t{n}") for n in range(50))))
    await store.facts.after(session.id, 0)  # so that a connection for reading is open before the writing begins
    seen: list[list[tuple[int, str]]] = []
    writing = True

    async def watch() -> None:
        while writing:
            frames = await store.facts.after(session.id, 0, limit=1000)
            seen.append([(frame.at.offset, frame.text) for frame in frames])
            await asyncio.sleep(0)

    readers = [asyncio.create_task(watch()) for _ in range(2)]
    await asyncio.gather(*(store.calls.record(tool(at, f"t{n}"), 1, OK, n) for n in range(50)))
    writing = False
    await asyncio.gather(*readers)
    last = [(frame.at.offset, frame.text) for frame in await store.facts.after(session.id, 0, limit=1000)]
    assert [offset for offset, _ in last] == list(range(1, 3 + 50 + 50 + 1 + 1))
    assert len(seen) > 2
    assert all(read == last[: len(read)] for read in seen)
    assert (await store.facts.head(session.id)).last == len(last)


async def test_many_heads_at_once_are_those_of_the_sessions_that_there_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_facts, "MOST_HEADS", 2)
    sessions = [(await new_session(store)).id for _ in range(5)]
    await store.sessions.request_cancel(sessions[1], "now", None, "somebody")
    await store.endings.close(sessions[2], Ending("timeout"))
    heads = await store.facts.heads([*sessions, "sess_none"])
    assert heads == {session: await store.facts.head(session) for session in sessions}
    assert [heads[session].cancelled for session in sessions] == [False, True, False, False, False]
    assert [heads[session].over for session in sessions] == [False, False, True, False, False]
    assert await store.facts.heads([]) == {}


async def test_facts_of_sessions_that_are_written_at_once_do_not_mix(store: Store) -> None:
    sessions = [await new_session(store, f"task {n}") for n in range(10)]

    async def run(session_id: str) -> None:
        await store.steps.begin(step(session_id), 1)
        await store.steps.record_reply(step(session_id), 1, reply(f"by {session_id}"))
        await store.endings.close(session_id, Ending("endTurn"))

    await asyncio.gather(*(run(session.id) for session in sessions))
    for session in sessions:
        told = await story(store, session)
        assert [fact.offset for fact in told] == list(range(1, len(told) + 1))
        assert next(fact.data["text"] for fact in told if fact.type == "content") == f"by {session.id}"


async def test_a_fact_is_written_once_per_key_and_a_second_one_takes_its_transaction_with_it(store: Store) -> None:
    session = await new_session(store)

    async def write(key: str, step_number: int) -> None:
        async with store.steps.ledgers.open(session.id) as ledger:
            ledger.changes["step"] = step_number
            ledger.append(key, MessageSaved(id=key))

    await write("once", 1)
    with pytest.raises(IntegrityError):
        await write("once", 2)
    await write("other", 3)
    assert [(fact.offset, fact.type) for fact in (await story(store, session))[2:]] == [
        (3, "message_saved"),
        (4, "message_saved"),
    ]
    assert (await store.sessions.get(session.id)).step == 3


async def test_a_page_starts_after_the_offset_and_holds_no_more_than_asked(store: Store) -> None:
    session = await new_session(store)
    await store.endings.close(session.id, Ending("timeout"))
    assert [frame.at for frame in await store.facts.after(session.id, 1, limit=2)] == [Position(2), Position(3)]
    assert [frame.at for frame in await store.facts.after(session.id, 3)] == [Position(4)]
    for beyond in (4, LAST_OFFSET, LAST_OFFSET + 1, 10**15 - 1):
        assert await store.facts.after(session.id, beyond) == []


async def test_a_head_tells_how_far_and_whether_it_is_over(store: Store) -> None:
    session = await new_session(store, timeoutSeconds=10)
    head = await store.facts.head(session.id)
    assert (head.last, head.over, head.deadline_ms) == (2, False, store.database.clock() + 10_000)
    await store.endings.close(session.id, Ending("timeout"))
    assert (await store.facts.head(session.id)).over
