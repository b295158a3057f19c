"""Claims about endings: one terminal event, every call answered, whoever closes (G1, G6)."""

import asyncio
import json
from typing import Any, get_args

import pytest

from session.events import MessageSaved
from session.live import Frame
from session.vocabulary import ERROR_OF, STATUS_OF, StopReason
from session.wire import Ending
from store import Store
from store.calls import OUTCOME_UNKNOWN
from store.ledger import SessionOver
from tests.store.acting import OK, Clock, new_call, new_session, reply, step, story, tool, types

REASONS: tuple[StopReason, ...] = get_args(StopReason)


@pytest.mark.parametrize("reason", REASONS)
async def test_an_ending_writes_its_facts_the_message_and_the_row(
    store: Store, clock: Clock, reason: StopReason
) -> None:
    session = await new_session(store)
    await store.steps.begin(step(session), 1)
    await store.steps.record_reply(step(session), 1, reply("the answer", tokens=20, cost=0.25))
    clock.now += 1000
    assert await store.endings.close(session.id, Ending(reason)) is True
    ended = await store.sessions.get(session.id)
    assert (ended.status, ended.stop_reason) == (STATUS_OF[reason], reason)
    assert ended.ended_at == "2023-11-14T22:13:21.000Z"
    assert (ended.error is not None) == (reason in ERROR_OF)
    told = await story(store, session)
    tail = ["message_saved", "error"] if reason in ERROR_OF else ["summary", "complete", "message_saved"]
    assert [fact.type for fact in told[-len(tail) :]] == tail
    assert sum(fact.type in ("complete", "error") for fact in told) == 1
    assert ended.message_id is not None
    message = await store.conversations.message(ended.message_id)
    assert (message.role, message.content, message.cost) == ("assistant", "the answer", 0.25)
    assert message.usage is not None
    assert message.usage["totalTokens"] == 20
    assert (await store.conversations.get(session.conversation_id))[1] is None
    head = await store.facts.head(session.id)
    assert (head.over, head.last) == (True, told[-1].offset)


async def test_the_second_closer_changes_nothing(store: Store) -> None:
    session = await new_session(store)
    assert await store.endings.close(session.id, Ending("timeout"))
    before, row = await story(store, session), await store.sessions.row(session.id)
    assert await store.endings.close(session.id, Ending("endTurn")) is False
    assert (await story(store, session), await store.sessions.row(session.id)) == (before, row)


async def test_of_closers_at_the_same_moment_one_ends_the_session(store: Store) -> None:
    session = await new_session(store)
    closed = await asyncio.gather(*(store.endings.close(session.id, Ending(reason)) for reason in REASONS * 3))
    assert sum(closed) == 1
    told = await types(store, session)
    assert sum(kind in ("complete", "error") for kind in told) == 1
    assert len(await store.conversations.messages(session.conversation_id)) == 2


@pytest.mark.parametrize(
    ("reason", "code"), [("cancelled", "CANCELLED"), ("timeout", "TIMEOUT"), ("internalError", "INTERRUPTED")]
)
async def test_closing_answers_every_open_call(store: Store, reason: StopReason, code: str) -> None:
    session = await new_session(store)
    at = step(session)
    await store.steps.begin(at, 1)
    calls = [
        new_call("done"),
        new_call("waiting", "sideEffect"),
        new_call("running", "sideEffect"),
        new_call("reading"),
    ]
    await store.steps.record_reply(at, 1, reply("", *calls))
    await store.calls.record(tool(at, "done"), 1, OK, 1)
    await store.calls.start(tool(at, "running"), 1)
    await store.calls.start(tool(at, "reading"), 1)
    await store.endings.close(session.id, Ending(reason))
    told = {fact.data["id"]: fact.data["result"] for fact in await story(store, session) if fact.type == "tool:result"}
    assert told["done"] == OK.published()
    assert told["waiting"]["error"]["code"] == told["reading"]["error"]["code"] == code
    assert told["running"] == OUTCOME_UNKNOWN.published(), "it may have taken effect"
    (turn,) = await store.transcripts.turns(session.id)
    assert {result.call_id: result.result for result in turn.results} == told
    (_, message) = await store.conversations.messages(session.conversation_id)
    assert [call.status for call in message.tool_calls] == ["success", "error", "error", "error"]


async def test_the_summary_comes_from_the_complete_task_that_succeeded(store: Store) -> None:
    session = await new_session(store)
    at = step(session)
    await store.steps.begin(at, 1)
    calls = [
        new_call(f"t{n}", "idempotent", "complete_task", summary=said, artifacts=[{"type": "file", "id": "a"}])
        for n, said in enumerate(("good", "refused"))
    ]
    await store.steps.record_reply(at, 1, reply("chatter", *calls))
    await store.calls.start(tool(at, "t0"), 1)
    await store.calls.record(tool(at, "t0"), 1, OK, 1)
    await store.endings.close(session.id, Ending("taskCompleted"))
    summary = next(fact.data for fact in await story(store, session) if fact.type == "summary")
    assert summary == {"summary": "good", "artifacts": [{"type": "file", "id": "a"}], "nextSteps": []}
    assert (await store.sessions.get(session.id)).summary == "good"


async def test_what_was_said_last_is_kept_when_a_session_is_cut_off(store: Store) -> None:
    session = await new_session(store)
    await store.steps.begin(step(session), 1)
    await store.steps.record_reply(step(session), 1, reply("first I look", new_call("t")))
    await store.calls.record(tool(step(session), "t"), 1, OK, 1)
    await store.steps.begin(step(session, 2), 1)
    await store.steps.record_partial(step(session, 2), 1, reply("then I th"))
    await store.endings.close(session.id, Ending("timeout"))
    assert (await store.conversations.messages(session.conversation_id))[-1].content == "then I th"


async def test_a_model_that_says_what_no_database_takes_can_still_be_closed(store: Store) -> None:
    session = await new_session(store)
    await store.steps.begin(step(session), 1)
    await store.steps.record_reply(step(session), 1, reply("a\x00b"))
    await store.endings.close(session.id, Ending("endTurn"))
    assert (await store.conversations.messages(session.conversation_id))[-1].content == "a\ufffdb"


async def test_a_cancel_is_told_when_it_is_asked_for_and_its_reason_at_the_end(store: Store, clock: Clock) -> None:
    session = await new_session(store)
    asked, at_ms = await store.sessions.request_cancel(session.id, "graceful", "enough", "alice")
    assert (asked.status, at_ms) == ("created", clock.now)
    clock.now += 10
    assert (await store.sessions.request_cancel(session.id, "graceful", "again", "bob"))[1] == at_ms
    assert (await store.sessions.request_cancel(session.id, "now", "hurry", "bob"))[1] == at_ms
    assert (await store.sessions.request_cancel(session.id, "graceful", "slow", "bob"))[1] == at_ms
    await store.endings.close(session.id, Ending("cancelled"))
    told = await story(store, session)
    cancels = [fact.data for fact in told if fact.type == "session:cancelling"]
    assert cancels == [
        {"mode": "graceful", "reason": "enough", "by": "alice"},
        {"mode": "now", "reason": "hurry", "by": "bob"},
    ]
    assert "hurry" in told[-1].data["message"]
    with pytest.raises(SessionOver):
        await store.sessions.request_cancel(session.id, "now", None, "alice")


async def test_a_cancel_from_temporal_s_own_side_is_told_too(store: Store) -> None:
    session = await new_session(store)
    await store.endings.close(session.id, Ending("cancelled", "stopped in the UI", cancelled_by="ops"))
    told = await story(store, session)
    assert [fact.type for fact in told[2:]] == ["session:cancelling", "message_saved", "error"]
    assert told[2].data == {"mode": "now", "reason": "stopped in the UI", "by": "ops"}


async def test_the_bus_is_told_of_each_fact_after_its_commit_and_of_the_end(store: Store) -> None:
    session = await new_session(store)
    heard: list[tuple[int, bool]] = []

    def deliver(frames: list[Frame], over: bool) -> None:
        heard.extend((frame.at.offset, over) for frame in frames)

    _, leave = store.bus.subscribe(session.id, deliver)
    await store.steps.begin(step(session), 1)
    with pytest.raises(RuntimeError):
        await _crash(store, session.id)
    await store.endings.close(session.id, Ending("timeout"))
    leave()
    assert heard == [(3, False), (4, True), (5, True)]


async def test_a_terminal_fact_stays_small_after_many_large_results(store: Store) -> None:
    session = await new_session(store)
    for number in range(1, 6):
        at = step(session, number)
        await store.steps.begin(at, 1)
        await store.steps.record_reply(at, 1, reply("", new_call("t", path="x" * 50_000)))
        await store.calls.record(tool(at, "t"), 1, OK.model_copy(update={"content": "y" * 100_000}), 1)
    await store.endings.close(session.id, Ending("maxSteps"))
    complete: dict[str, Any] = next(f.data for f in await story(store, session) if f.type == "complete")
    assert len(complete["toolCalls"]) == 5
    assert len(json.dumps(complete)) < 30_000


async def _crash(store: Store, session_id: str) -> None:
    async with store.steps.ledgers.open(session_id) as ledger:
        ledger.append("lost", MessageSaved(id="never"))
        raise RuntimeError("a crash inside the transaction")
