"""Claims about the line of a conversation: whose turn it is, what is seen when it came, and that it always moves."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update

from session.policy import AdmissionPolicy
from session.resources import Session
from session.wire import Ending
from store import Store, open_database
from store.bus import InProcessBus
from store.line import LineFull
from store.schema import conversations
from store.starting import Caller, Conflict
from store.transcript import Said
from tests.store.acting import Clock, begin_session, new_session, step, types

ENDED = Ending("endTurn")


CANCELLED = ["session:cancelling", "message_saved", "error"]


async def joined(store: Store, into: str, content: str = "x", how: str = "enqueue") -> Session:
    return (await begin_session(store, content, into=into, onConflict=how)).session


async def active(store: Store, conversation_id: str) -> str | None:
    return (await store.conversations.get(conversation_id))[1]


async def test_one_that_waits_has_its_message_and_no_limit_until_its_turn_comes(store: Store, clock: Clock) -> None:
    one = await new_session(store, "one")
    into = one.conversation_id
    two, three = await joined(store, into, "two"), await joined(store, into, "three")
    assert (two.status, two.deadline) == ("created", None)
    assert await types(store, two) == ["user_message"]
    assert await store.line.after(one.id) is None and await store.sessions.unfinished() == [
        await store.sessions.row(one.id)
    ]
    clock.now += 600_000
    assert await store.endings.close(one.id, ENDED)
    row = await store.line.after(one.id)
    assert row is not None and row["id"] == two.id == await active(store, into)
    assert row["deadline_ms"] == clock.now + 180_000
    assert await types(store, two) == ["user_message", "session:start"]
    assert await types(store, three) == ["user_message"]
    await store.sessions.mark_queued(two.id)
    assert await store.line.after(one.id) is None, "it was begun"


async def test_a_session_sees_what_was_said_until_its_turn_and_nothing_of_those_behind_it(store: Store) -> None:
    one = await new_session(store, "one")
    two, three = await joined(store, one.conversation_id, "two"), await joined(store, one.conversation_id, "three")
    await store.endings.close(one.id, ENDED)
    opening = await store.transcripts.opening(two.id)
    assert [said.content for said in opening if said.role == "user"] == ["one", "two"]
    assert opening[-1] == Said("user", "two") and opening[1].role == "assistant"
    await store.endings.close(two.id, ENDED)
    assert await store.transcripts.opening(two.id) == opening, "it never changes"
    last = await store.transcripts.opening(three.id)
    assert [said.content for said in last if said.role == "user"] == ["one", "two", "three"]
    assert [said.role for said in last] == ["user", "assistant", "user", "assistant", "user"]


async def test_an_interrupt_goes_first_asks_the_active_one_to_end_and_ends_those_that_wait_to_interrupt(
    store: Store,
) -> None:
    one = await new_session(store, "one")
    into = one.conversation_id
    queued = await joined(store, into, "queued")
    first = await begin_session(store, "first", into=into, onConflict="interrupt", caller=Caller("ann"))
    assert first.interrupted == one.id
    row = await store.sessions.row(one.id)
    assert (row["cancel_mode"], row["cancel_by"]) == ("now", "ann")
    assert first.session.id in row["cancel_reason"]
    second = await joined(store, into, "second", "interrupt")
    assert await types(store, first.session) == ["user_message", "session:start", *CANCELLED]
    assert (await store.sessions.get(first.session.id)).status == "cancelled"
    await store.endings.close(one.id, Ending("cancelled"))
    assert await active(store, into) == second.id
    await store.endings.close(second.id, ENDED)
    assert await active(store, into) == queued.id
    seen = [said.content for said in await store.transcripts.opening(queued.id) if said.role == "user"]
    assert seen == ["one", "first", "second", "queued"]


async def test_without_an_active_session_nobody_waits(store: Store) -> None:
    for how in ("enqueue", "interrupt"):
        alone = await joined(store, (await store.conversations.create(None, None, None, {})).id, "x", how)
        assert alone.deadline is not None and await types(store, alone) == ["user_message", "session:start"]


async def test_a_waiting_session_that_is_cancelled_is_over_and_the_line_closes_up(store: Store) -> None:
    one = await new_session(store)
    into = one.conversation_id
    two, three = await joined(store, into), await joined(store, into)
    session, _ = await store.sessions.request_cancel(two.id, "graceful", "enough", "ann")
    assert (session.status, session.stop_reason) == ("cancelled", "cancelled")
    assert await types(store, two) == ["user_message", "session:start", *CANCELLED]
    assert await active(store, into) == one.id
    await store.endings.close(one.id, ENDED)
    assert await active(store, into) == three.id


async def test_the_line_is_bounded_and_reject_still_rejects(url: str, clock: Clock) -> None:
    policy = AdmissionPolicy(waiting_per_conversation=2)
    store = Store.over(await open_database(url, clock), InProcessBus(), policy)
    one = await new_session(store)
    into = one.conversation_id
    for _ in range(2):
        await joined(store, into)
    for how in ("enqueue", "interrupt"):
        with pytest.raises(LineFull):
            await joined(store, into, "x", how)
    with pytest.raises(Conflict) as refused:
        await joined(store, into, "x", "reject")
    assert refused.value.session_id == one.id
    assert (await store.sessions.row(one.id))["cancel_mode"] is None, "what was refused interrupted nobody"
    assert len(await store.conversations.messages(into)) == 3
    await store.close()


async def test_twenty_that_come_at_once_run_one_after_the_other_in_the_order_of_their_messages(store: Store) -> None:
    into = (await store.conversations.create(None, None, None, {})).id
    made = await asyncio.gather(*(joined(store, into, f"task {n}") for n in range(20)))
    said = [message.session_id for message in await store.conversations.messages(into)]
    ran: list[str] = []
    while (now := await active(store, into)) is not None:
        ran.append(now)
        await store.steps.begin(step(now), 1)
        closed = await asyncio.gather(*(store.endings.close(now, ENDED) for _ in range(3)))
        assert sorted(closed) == [False, False, True], "the turn is passed on once"
    assert ran == said and sorted(ran) == sorted(one.id for one in made)


async def test_interrupts_and_ends_at_the_same_moment_lose_nobody(store: Store) -> None:
    into = (await store.conversations.create(None, None, None, {})).id
    made: list[Session] = []

    async def interrupts(n: int) -> None:
        made.append(await joined(store, into, f"task {n}", "interrupt" if n % 3 else "enqueue"))

    async def ends() -> None:
        for _ in range(15):
            if (now := await active(store, into)) is not None:
                await store.endings.close(now, ENDED)
            await asyncio.sleep(0)

    await asyncio.gather(ends(), *(interrupts(n) for n in range(20)), ends())
    while (now := await active(store, into)) is not None:
        await store.endings.close(now, ENDED)
    assert len(made) == 20
    for session in made:
        told = await types(store, session)
        assert told.count("complete") + told.count("error") == 1 and told[0] == "user_message"
        assert told.count("session:start") <= 1


async def test_a_conversation_that_an_older_build_left_to_nobody_passes_to_the_next(store: Store) -> None:
    one = await new_session(store)
    two = await joined(store, one.conversation_id)
    async with store.database.write() as connection:  # as a build does that knows no line
        await connection.execute(update(conversations).values(active_session_id=None))
    await store.line.move()
    assert await active(store, one.conversation_id) == two.id
    assert {row["id"] for row in await store.sessions.unfinished()} == {one.id, two.id}
    await store.line.move()
    assert await types(store, two) == ["user_message", "session:start"]


async def test_where_places_are_limited_one_whose_turn_came_asks_for_one_then(url: str, clock: Clock) -> None:
    store = Store.over(await open_database(url, clock), InProcessBus(), AdmissionPolicy(running=1))
    one = await new_session(store)
    two = await joined(store, one.conversation_id)
    assert await store.admission.admit() == []
    assert (await store.admission.standing()).waiting == {}, "it waits for its turn, not for a place"
    await store.endings.close(one.id, ENDED)
    assert await store.admission.admit() == [two.id]
    await store.close()


async def test_one_that_was_cancelled_in_line_is_tried_again_from_its_own_message(store: Store) -> None:
    one = await new_session(store, "one")
    two = await joined(store, one.conversation_id, "two")
    await store.sessions.request_cancel(two.id, "now", "", "ann")
    await store.endings.close(one.id, ENDED)
    again = (await store.starting.retry(two.id, Caller())).session
    seen = await store.transcripts.opening(again.id)
    assert seen[-1] == Said("user", "two"), seen


async def test_a_retry_begins_with_the_task_whatever_was_said_and_answered_after_it(store: Store) -> None:
    one = await new_session(store, "one")
    two = await joined(store, one.conversation_id, "two")
    await store.follow_ups.add(two.id, "more", Caller())
    await store.endings.close(one.id, ENDED)
    first = await store.transcripts.opening(two.id)
    await store.endings.close(two.id, ENDED)
    again = (await store.starting.retry(two.id, Caller())).session
    assert await store.transcripts.opening(again.id) == first and first[-1] == Said("user", "two")
