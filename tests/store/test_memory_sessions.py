"""Claims about memory sessions: made once per key, counted from what belongs to them, gone with their conversation."""

import asyncio

import pytest

from session.wire import Ending
from store import Store
from store.ledger import NotFound
from store.memory_links import Archived, belong
from store.starting import Caller, KeyReused
from tests.store.acting import Clock, begin_session, reply, step

NOBODY = Caller()


async def test_it_counts_the_messages_tokens_and_cost_of_its_conversations(store: Store, clock: Clock) -> None:
    ids = []
    for number in range(2):
        session = (await begin_session(store, into=None)).session
        ids.append(session.conversation_id)
        await store.steps.begin(step(session), 1)
        await store.steps.record_reply(step(session), 1, reply("done", tokens=10 + number, cost=0.25))
        await store.endings.close(session.id, Ending("endTurn"))
    made = await store.memory_sessions.create(NOBODY, "work", ids[0], "ann")
    assert made.id.startswith("mem_") and made.status == "active"
    assert (made.name, made.conversation_id, made.user_id, made.conversation_ids) == ("work", ids[0], "ann", [ids[0]])
    assert (made.message_count, made.total_tokens, made.cost) == (2, 10, 0.25)
    async with store.database.write() as connection:
        for _ in range(2):
            await belong(connection, made.id, ids[1])
    both = await store.memory_sessions.get(made.id)
    assert (both.conversation_ids, both.message_count, both.total_tokens, both.cost) == (sorted(ids), 4, 21, 0.5)
    await store.conversations.delete(ids[1])
    assert (await store.memory_sessions.get(made.id)).message_count == 2
    await store.conversations.delete(ids[0])
    with pytest.raises(NotFound):
        await store.memory_sessions.get(made.id)


async def test_an_archived_one_takes_nothing_new_and_may_be_archived_again(store: Store, clock: Clock) -> None:
    conversation = await store.conversations.create(None, None, None, {})
    made = await store.memory_sessions.create(NOBODY, None, None, None)
    assert (made.conversation_ids, made.message_count, made.total_tokens, made.cost) == ([], 0, 0, None)
    archived = await store.memory_sessions.archive(made.id)
    clock.now += 1
    assert archived == await store.memory_sessions.archive(made.id)
    assert (archived.status, archived.archived_at) == ("archived", "2023-11-14T22:13:20.000Z")
    with pytest.raises(Archived):
        async with store.database.write() as connection:
            await belong(connection, made.id, conversation.id)
    for asked in (store.memory_sessions.archive("mem_none"), store.memory_sessions.get("mem_none")):
        with pytest.raises(NotFound):
            await asked
    with pytest.raises(NotFound):
        await store.memory_sessions.create(NOBODY, None, "conv_none", None)


async def test_a_key_makes_one_also_at_the_same_moment(store: Store) -> None:
    caller = Caller("t", "key", "hash")
    made = await asyncio.gather(*(store.memory_sessions.create(caller, "n", None, None) for _ in range(5)))
    assert len({one.id for one in made}) == 1
    with pytest.raises(KeyReused):
        await store.memory_sessions.create(Caller("t", "key", "other"), "n", None, None)
    assert (await store.memory_sessions.create(Caller("u", "key", "other"), "n", None, None)).id != made[0].id


async def test_the_list_is_newest_first_by_status(store: Store, clock: Clock) -> None:
    made = []
    for number in range(4):
        clock.now += 1
        made.append((await store.memory_sessions.create(NOBODY, str(number), None, None)).id)
    await store.memory_sessions.archive(made[1])
    first, cursor = await store.memory_sessions.list(None, None, 3)
    rest, end = await store.memory_sessions.list(None, cursor, 3)
    assert [one.id for one in first + rest] == made[::-1] and end is None
    assert [one.id for one in (await store.memory_sessions.list("archived", None, 9))[0]] == [made[1]]
    assert len((await store.memory_sessions.list("active", None, 9))[0]) == 3
