"""Claims about follow-ups: the next step sees them, or they are refused; and they stand in the conversation."""

from __future__ import annotations

import asyncio

import pytest

from session.events import ResultError
from session.resources import Session
from session.wire import Ending
from store import Store
from store.follow_ups import MOST_UNSEEN, Added, SessionEnding, TooManyUnseen
from store.ledger import NotFound, SessionOver
from store.starting import Caller, KeyReused
from tests.store.acting import FAILED, OK, begin_session, new_call, new_session, reply, step, story, tool


async def say(store: Store, session: Session, content: str = "and this", caller: Caller | None = None) -> Added:
    return await store.follow_ups.add(session.id, content, caller or Caller())


async def seen(store: Store, session: Session) -> list[tuple[int, str]]:
    return [(one.step, one.content) for one in await store.interjections.of(session.id)]


async def running(store: Store) -> Session:
    """A session whose first step is being made."""
    session = await new_session(store, "the task")
    await store.steps.begin(step(session), 1)
    return session


async def test_it_is_a_message_a_fact_and_what_the_next_step_sees(store: Store) -> None:
    session = await running(store)
    added = await say(store, session)
    assert (added.message.role, added.message.content, added.message.session_id) == ("user", "and this", session.id)
    assert (added.session.id, added.session.status, added.session.goal) == (session.id, "running", "the task")
    messages = await store.conversations.messages(session.conversation_id)
    assert [one.content for one in messages] == ["the task", "and this"] and messages[1] == added.message
    assert (await story(store, session))[-1][1:] == (
        "user_message",
        {"id": added.message.id, "content": "and this", "compactionApplied": False, "messageCount": 2},
    )
    assert (await store.conversations.get(session.conversation_id))[0].title == "the task"
    assert (await store.steps.record_reply(step(session), 1, reply("done"))).more
    await store.steps.begin(step(session, 2), 1)
    assert await seen(store, session) == [(2, "and this")]


async def test_said_before_the_first_step_it_is_seen_by_the_first(store: Store) -> None:
    session = await new_session(store)
    await say(store, session)
    await store.steps.begin(step(session), 1)
    assert await seen(store, session) == [(1, "and this")]
    assert not (await store.steps.record_reply(step(session), 1, reply("done"))).more


async def test_what_a_session_was_told_while_it_waited_is_seen_by_its_first_step_alone(store: Store) -> None:
    session = await new_session(store, "the task")
    await say(store, session)
    async with store.steps.ledgers.open(session.id) as ledger:
        ledger.changes["opening_seq"] = 2  # as if its turn in the conversation had come only now
    assert [one.content for one in await store.transcripts.opening(session.id)] == ["the task"]


async def test_after_the_last_answer_it_is_refused_and_nothing_is_written(store: Store) -> None:
    session = await running(store)
    await store.steps.record_reply(step(session), 1, reply("done"))
    with pytest.raises(SessionEnding):
        await say(store, session)
    assert len(await store.conversations.messages(session.conversation_id)) == 1
    await store.endings.close(session.id, Ending("endTurn"))
    with pytest.raises(SessionOver):
        await say(store, session)
    with pytest.raises(NotFound):
        await store.follow_ups.add("sess_none", "and this", Caller())


async def test_while_tools_run_it_is_taken_and_a_cancelled_session_takes_none(store: Store) -> None:
    session = await running(store)
    await store.steps.record_reply(step(session), 1, reply("", new_call("t1")))
    await say(store, session)
    await store.sessions.request_cancel(session.id, "graceful", None, "me")
    with pytest.raises(SessionEnding):
        await say(store, session)


async def test_a_task_that_is_said_to_be_complete_takes_none_unless_that_failed(store: Store) -> None:
    session = await running(store)
    done = new_call("t1", "idempotent", "complete_task", summary="done")
    await store.steps.record_reply(step(session), 1, reply("", done))
    with pytest.raises(SessionEnding):
        await say(store, session)
    await store.calls.start(tool(step(session), "t1"), 1)
    with pytest.raises(SessionEnding):
        await say(store, session)
    await store.calls.record(tool(step(session), "t1"), 1, FAILED, 1)
    await say(store, session)
    await store.steps.begin(step(session, 2), 1)
    assert await seen(store, session) == [(2, "and this")]


async def test_a_task_is_not_complete_before_the_model_saw_what_was_said(store: Store) -> None:
    session = await running(store)
    await say(store, session)
    done = new_call("t1", "idempotent", "complete_task", summary="done")
    await store.steps.record_reply(step(session), 1, reply("", done))
    claim = await store.calls.start(tool(step(session), "t1"), 1)
    assert claim.fate is not None and claim.fate.status == "error"
    (turn,) = await store.transcripts.turns(session.id)
    assert ResultError.model_validate((turn.results[0].result or {})["error"]).code == "NEW_MESSAGE"
    await store.steps.begin(step(session, 2), 1)
    again = new_call("t2", "idempotent", "complete_task", summary="done")
    await store.steps.record_reply(step(session, 2), 1, reply("", again))
    assert (await store.calls.start(tool(step(session, 2), "t2"), 1)).fate is None


async def test_without_another_step_the_task_is_complete_all_the_same(store: Store) -> None:
    session = await new_session(store, maxSteps=1)
    await store.steps.begin(step(session), 1)
    await say(store, session)
    done = new_call("t1", "idempotent", "complete_task", summary="done")
    await store.steps.record_reply(step(session), 1, reply("", done))
    assert (await store.calls.start(tool(step(session), "t1"), 1)).fate is None


async def test_only_so_many_wait_to_be_seen(store: Store) -> None:
    session = await running(store)
    for _ in range(MOST_UNSEEN):
        await say(store, session)
    with pytest.raises(TooManyUnseen):
        await say(store, session)
    await store.steps.record_reply(step(session), 1, reply("", new_call("t1")))
    await store.calls.record(tool(step(session), "t1"), 1, OK, 1)
    await store.steps.begin(step(session, 2), 1)
    await say(store, session)


async def test_one_key_is_one_message_and_another_request_with_it_is_refused(store: Store) -> None:
    session = await running(store)
    mine = Caller("t", "key", "hash")
    added = await asyncio.gather(*(say(store, session, caller=mine) for _ in range(20)))
    assert len({one.message.id for one in added}) == 1
    assert len(await store.conversations.messages(session.conversation_id)) == 2
    await say(store, session, caller=Caller("u", "key", "hash"))
    with pytest.raises(KeyReused):
        await say(store, session, "else", Caller("t", "key", "other"))
    with pytest.raises(KeyReused):
        await begin_session(store, caller=Caller("t", "key", "start"))
    await begin_session(store, caller=Caller("t", "start", "start"))
    with pytest.raises(KeyReused):
        await say(store, session, caller=Caller("t", "start", "hash"))
    await store.endings.close(session.id, Ending("timeout"))
    again = await say(store, session, caller=mine)
    assert again.message == added[0].message and again.session.status == "failed"


async def test_one_key_for_two_sessions_at_once_is_one_message(store: Store) -> None:
    for number in range(10):
        sessions = [await running(store), await running(store)]
        said = [say(store, one, caller=Caller("t", f"key{number}", one.id)) for one in sessions]
        told = await asyncio.gather(*said, return_exceptions=True)
        assert sorted(type(one).__name__ for one in told) == ["Added", "KeyReused"]


async def test_whichever_comes_first_of_it_and_the_last_answer_it_is_seen_or_refused(store: Store) -> None:
    outcomes = set()
    for number in range(40):
        session = await running(store)
        last = store.steps.record_reply(step(session), 1, reply("done"))
        pair = (say(store, session), last) if number % 2 else (last, say(store, session))
        told = await asyncio.gather(*pair, return_exceptions=True)
        added, recorded = told if number % 2 else (told[1], told[0])
        assert not isinstance(recorded, BaseException)
        assert isinstance(added, Added if recorded.more else SessionEnding)
        outcomes.add(recorded.more)
        if recorded.more:
            await store.steps.begin(step(session, 2), 1)
            assert await seen(store, session) == [(2, "and this")]
    assert outcomes == {True, False}


async def test_with_starts_and_ends_around_it_nobody_waits_for_ever(store: Store) -> None:
    for _ in range(10):
        session = await running(store)
        into = session.conversation_id
        told = await asyncio.gather(
            say(store, session),
            store.endings.close(session.id, Ending("timeout")),
            begin_session(store, into=into),
            say(store, session),
            return_exceptions=True,
        )
        failures = {type(one).__name__ for one in told if isinstance(one, BaseException)}
        assert failures <= {"SessionOver", "Conflict"}, told


async def test_the_next_session_sees_it_behind_its_task_and_before_the_reply(store: Store) -> None:
    session = await running(store)
    await say(store, session, "unseen")
    await store.steps.record_partial(step(session), 1, reply("half"))
    await store.endings.close(session.id, Ending("timeout"))
    following = (await begin_session(store, "next", into=session.conversation_id)).session
    opening = await store.transcripts.opening(following.id)
    assert [(one.role, one.content) for one in opening] == [
        ("user", "the task"),
        ("user", "unseen"),
        ("assistant", "half"),
        ("user", "next"),
    ]


async def test_a_retry_begins_with_the_task_alone_and_its_reply_is_the_one_that_counts(store: Store) -> None:
    session = await running(store)
    await say(store, session, "first")
    await store.endings.close(session.id, Ending("timeout"))
    again = (await store.starting.retry(session.id, Caller())).session
    assert [one.content for one in await store.transcripts.opening(again.id)] == ["the task"]
    await store.steps.begin(step(again), 1)
    await say(store, again, "second")
    await store.steps.record_partial(step(again), 1, reply("better"))
    await store.endings.close(again.id, Ending("timeout"))
    following = (await begin_session(store, "next", into=session.conversation_id)).session
    opening = await store.transcripts.opening(following.id)
    assert [one.content for one in opening] == ["the task", "first", "second", "better", "next"]
