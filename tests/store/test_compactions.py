"""Compactions: recorded once by the newest attempt, paid for, and found by the sessions that may begin with them."""

from __future__ import annotations

import pytest

from session.context import OPENING_BYTES
from session.resources import Session
from session.usage import Usage
from session.wire import Ending
from store import Store
from store.compactions import Summary
from store.ledger import Fenced
from store.starting import Caller
from tests.store.acting import Clock, begin_session, new_session, reply, step, story

SUMMARY = Summary("What was said.", "claude-test", Usage(100, 20), 0.5, 4_000)


async def ends(store: Store, session: Session, text: str = "done") -> None:
    """One step, and the end."""
    begun = await store.sessions.row(session.id)
    if begun["step"] == 0:
        await store.steps.begin(step(session), 1)
    await store.steps.record_reply(step(session), 1, reply(text))
    await store.endings.close(session.id, Ending("endTurn"))


async def applied(store: Store, session: Session) -> bool:
    return bool((await story(store, session))[0].data["compactionApplied"])


async def test_a_compaction_is_recorded_once_and_paid_for(store: Store) -> None:
    session = await new_session(store)
    await store.steps.begin(step(session), 1)
    await store.compactions.record(step(session), 1, SUMMARY)
    await store.compactions.record(step(session), 1, Summary("Another.", "claude-test", Usage(1), 9.0, 1))
    (kept,) = await store.compactions.of(session.id)
    row = await store.sessions.row(session.id)
    assert kept.summary == SUMMARY and kept.step == 1 == row["compacted_step"]
    assert (row["input_tokens"], row["output_tokens"], row["cost"]) == (100, 20, 0.5)
    begun = await store.steps.begin(step(session), 2)
    assert begun.row["compacted_step"] == 1, "the next attempt knows of it"


async def test_an_attempt_that_is_not_the_newest_records_none(store: Store) -> None:
    session = await new_session(store)
    await store.steps.begin(step(session), 1)
    await store.steps.begin(step(session), 2)
    with pytest.raises(Fenced):
        await store.compactions.record(step(session), 1, SUMMARY)
    assert await store.compactions.of(session.id) == []
    assert (await store.sessions.row(session.id))["input_tokens"] == 0


async def compacted(store: Store) -> Session:
    """A session that is over and began with a summary of the one before it."""
    first = await new_session(store, "the first task")
    await ends(store, first, "the first answer")
    second = (await begin_session(store, "the second task", into=first.conversation_id)).session
    await store.steps.begin(step(second), 1)
    await store.compactions.record(step(second), 1, SUMMARY)
    await ends(store, second, "the second answer")
    return second


async def test_later_sessions_of_the_conversation_begin_with_it_and_with_what_was_said_since(store: Store) -> None:
    second = await compacted(store)
    third = (await begin_session(store, "the third task", into=second.conversation_id)).session
    assert await applied(store, third) and not await applied(store, second)
    found = await store.compactions.opening(await store.sessions.row(third.id))
    assert found is not None and found.summary == SUMMARY and found.upto_seq == 2
    said = await store.transcripts.opening(third.id, found.upto_seq)
    assert [one.content for one in said] == ["the second task", "the second answer", "the third task"]
    whole = await store.transcripts.opening(third.id)
    assert [one.content for one in whole][:2] == ["the first task", "the first answer"], "the original stays"


async def test_no_other_conversation_and_no_earlier_session_begins_with_it(store: Store, clock: Clock) -> None:
    second = await compacted(store)
    other = await new_session(store, "elsewhere")
    assert not await applied(store, other)
    assert await store.compactions.opening({**await store.sessions.row(other.id), "compacted_step": 0}) is None
    row = {**await store.sessions.row(second.id), "id": "sess_another", "compacted_step": 0}
    assert await store.compactions.opening(row) is not None
    assert await store.compactions.opening({**row, "created_ms": clock.now - 1}) is None


async def test_a_late_reply_to_what_is_summarised_stands_where_it_came(store: Store) -> None:
    second = await compacted(store)
    first = (await store.conversations.messages(second.conversation_id))[0].session_id
    assert first is not None
    again = (await store.starting.retry(first, Caller())).session
    await ends(store, again, "the first answer, better")
    last = (await begin_session(store, "the last task", into=second.conversation_id)).session
    said = [one.content for one in await store.transcripts.opening(last.id, 2)]
    assert said == ["the second task", "the second answer", "the first answer, better", "the last task"]


async def test_a_session_in_a_conversation_that_is_too_long_is_told_that_it_is_summarised(store: Store) -> None:
    first = await new_session(store, "ü" * (OPENING_BYTES // 4))
    await ends(store, first, "ü" * (OPENING_BYTES // 4))
    second = (await begin_session(store, "and now?", into=first.conversation_id)).session
    assert await applied(store, second) and not await applied(store, first)
    assert (await store.sessions.row(second.id))["compacted_step"] == 0


async def test_a_summary_goes_with_its_conversation(store: Store) -> None:
    second = await compacted(store)
    await store.conversations.delete(second.conversation_id)
    assert await store.compactions.of(second.id) == []
