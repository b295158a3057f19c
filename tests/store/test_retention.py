"""Claims about conversations and audit entries that go by age."""

import asyncio

import pytest
from sqlalchemy import update

from session.wire import Ending
from store import Store
from store.audit import AuditFilters
from store.database import Database
from store.ledger import NotFound
from store.schema import conversations
from tests.store.acting import OK, Clock, begin_session, new_call, reply, step, tool

DAY = 86_400_000


async def lived(store: Store, into: str) -> str:
    """A conversation with a session that has ended, and with something of every kind a session leaves."""
    session = (await begin_session(store, into=into)).session
    at = step(session)
    await store.steps.begin(at, 1)
    await store.steps.record_reply(at, 1, reply("a", new_call("t")))
    await store.calls.record(tool(at, "t"), 1, OK, 1, ["all of it"])
    await store.endings.close(session.id, Ending("endTurn"))
    return session.id


async def made(store: Store, *names: str) -> None:
    for name in names:
        await store.conversations.create(name, None, None, {})


async def test_only_conversations_that_nobody_used_since_then_are_idle(store: Store, clock: Clock) -> None:
    await made(store, "conv_old", "conv_used", "conv_busy", "conv_empty")
    for name in ("conv_old", "conv_used"):
        await lived(store, name)
    running = (await begin_session(store, into="conv_busy")).session
    clock.now += DAY
    limit = clock.now
    clock.now += DAY
    await lived(store, "conv_used")
    await made(store, "conv_young")
    assert await store.retention.idle(limit, 10) == ["conv_empty", "conv_old"]
    assert await store.retention.idle(limit, 1) == ["conv_empty"]
    await store.endings.close(running.id, Ending("timeout"))
    assert await store.retention.idle(limit, 10) == ["conv_empty", "conv_old"], "its session has just ended"


async def test_long_results_of_an_idle_conversation_go_in_batches_and_nobody_elses(store: Store, clock: Clock) -> None:
    await made(store, "conv_1", "conv_2")
    one, other = await lived(store, "conv_1"), await lived(store, "conv_2")
    clock.now += DAY
    await touched(store.database, "conv_2")
    assert await store.retention.trim_outputs("conv_2", clock.now, 10) == 0, "it is in use"
    assert await store.retention.trim_outputs("conv_1", clock.now, 10) == 1
    assert await store.retention.trim_outputs("conv_1", clock.now, 10) == 0
    assert await store.shelves.output(one, "t", 0, 99) is None
    assert await store.shelves.output(other, "t", 0, 99) == ("all of it", 9)


async def test_a_conversation_that_is_used_after_all_is_not_removed(store: Store, clock: Clock) -> None:
    await made(store, "conv_1")
    clock.now += DAY
    limit = clock.now
    assert await store.retention.idle(limit, 10) == ["conv_1"]
    session = (await begin_session(store, into="conv_1")).session
    assert not await store.retention.remove_idle("conv_1", limit)
    assert await store.sessions.get(session.id) == session


async def test_processes_that_remove_at_once_remove_each_conversation_once(store: Store, clock: Clock) -> None:
    names = [f"conv_{n}" for n in range(8)]
    await made(store, *names)
    for name in names:
        await lived(store, name)
    clock.now += DAY

    async def one(name: str) -> int:
        return sum(await asyncio.gather(*(store.retention.remove_idle(name, clock.now) for _ in range(3))))

    assert await asyncio.gather(*(one(name) for name in names)) == [1] * 8
    assert await store.retention.removed(names) == set(names)
    with pytest.raises(NotFound):
        await store.conversations.get("conv_0")


async def test_a_removal_is_known_until_the_conversation_is_made_anew_or_it_is_forgotten(
    store: Store, clock: Clock
) -> None:
    await made(store, "conv_1", "conv_2", "conv_3")
    await store.conversations.delete("conv_1")
    await store.conversations.delete("conv_2")
    names = ["conv_1", "conv_2", "conv_3", "conv_never"]
    assert await store.retention.removed(names) == {"conv_1", "conv_2"}
    await made(store, "conv_2")
    assert await store.retention.removed(names) == {"conv_1"}
    clock.now += DAY
    await store.conversations.delete("conv_2")
    await store.retention.forget_removals(clock.now)
    assert await store.retention.removed(names) == {"conv_2"}


async def test_audit_entries_go_by_their_own_age_and_in_batches(store: Store, clock: Clock) -> None:
    await made(store, "conv_1", "conv_2")
    await lived(store, "conv_1")
    clock.now += DAY
    await store.conversations.delete("conv_1")
    limit = clock.now
    young = await lived(store, "conv_2")
    old, _ = await store.audit.list(AuditFilters(until_ms=limit), None, 100)
    assert old, "what was done outlives its conversation"
    assert await store.retention.trim_audit(limit, 1) == 1
    while await store.retention.trim_audit(limit, 1):
        pass
    assert await store.audit.list(AuditFilters(until_ms=limit), None, 100) == ([], None)
    kept, _ = await store.audit.of_session(young, None, 100)
    assert len(kept) == len(old)


async def test_ages_are_told_by_the_last_activity_also_of_what_is_old(store: Store, clock: Clock) -> None:
    await made(store, "conv_1")
    clock.now += 3 * DAY
    await touched(store.database, "conv_1")
    assert await store.retention.idle(clock.now - DAY, 10) == []


async def touched(database: Database, name: str) -> None:
    async with database.write() as connection:
        query = update(conversations).where(conversations.c.id == name)
        await connection.execute(query.values(updated_ms=database.clock()))
