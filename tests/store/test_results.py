"""Claims about structured results as they are recorded: one repair, over both ways in which an answer may come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from session.resources import Session
from session.wire import Ending, ModelReply
from store import Store
from store.interjections import interject
from store.results import Answer
from tests.store.acting import OK, new_call, new_session, reply, step, tool

SCHEMA = {"type": "object"}
BAD = Answer(fault="`a`: missing")
GOOD = Answer('{"a": [1]}')


async def asked(store: Store, **said: Any) -> Session:
    return await new_session(store, responseSchema=SCHEMA, **said)


async def replied(store: Store, session: Session, number: int, answer: Answer) -> ModelReply:
    at = step(session, number)
    await store.steps.begin(at, 1)
    return await store.steps.record_reply(at, 1, replace(reply("text"), answer=answer))


async def completed(store: Store, session: Session, number: int, answer: Answer) -> str:
    """The status of a `complete_task` that brought this answer."""
    at, call = step(session, number), new_call(f"t{number}", "idempotent", "complete_task", summary="s")
    await store.steps.begin(at, 1)
    await store.steps.record_reply(at, 1, reply("", call))
    await store.calls.start(tool(at, f"t{number}"), 1)
    return (await store.calls.record(tool(at, f"t{number}"), 1, OK, 1, answer=answer)).status


async def result(store: Store, session: Session) -> tuple[Any, str | None]:
    told = await store.sessions.get(session.id)
    return told.result, told.result_error


async def test_an_answer_that_keeps_to_the_schema_is_the_result(store: Store) -> None:
    session = await asked(store)
    assert not (await replied(store, session, 1, GOOD)).more
    assert await result(store, session) == ({"a": [1]}, None)
    assert await completed(store, other := await asked(store), 1, GOOD) == "success"
    assert await result(store, other) == ({"a": [1]}, None)


async def test_the_first_that_does_not_is_told_to_the_model_which_repairs_it(store: Store) -> None:
    session = await asked(store)
    assert (await replied(store, session, 1, BAD)).more
    assert not (await replied(store, session, 2, GOOD)).more
    (said,) = await store.interjections.of(session.id)
    assert (said.step, said.kind) == (2, "repair") and BAD.fault in said.content
    assert await result(store, session) == ({"a": [1]}, None)


async def test_the_second_ends_the_session_without_a_result(store: Store) -> None:
    session = await asked(store)
    assert (await replied(store, session, 1, BAD)).more
    assert not (await replied(store, session, 2, Answer(fault="not JSON"))).more
    await store.endings.close(session.id, Ending("endTurn"))
    assert await result(store, session) == (None, "not JSON")


async def test_a_completion_is_repaired_once_and_then_taken_without_a_result(store: Store) -> None:
    session = await asked(store)
    assert await completed(store, session, 1, BAD) == "error"
    assert await completed(store, session, 2, BAD) == "success"
    assert await result(store, session) == (None, BAD.fault)
    first, second = await store.transcripts.turns(session.id)
    error = (first.results[0].result or {})["error"]
    assert error["code"] == "RESULT_INVALID" and BAD.fault in error["message"]
    assert BAD.fault in (second.results[0].result or {})["content"]


async def test_several_completions_in_one_reply_are_one_try(store: Store) -> None:
    async def both(session: Session, number: int, *answers: Answer) -> list[str]:
        at, names = step(session, number), [f"t{number}{n}" for n in range(len(answers))]
        calls = [new_call(name, "idempotent", "complete_task", summary=name) for name in names]
        await store.steps.begin(at, 1)
        await store.steps.record_reply(at, 1, reply("", *calls))
        for name in names:
            await store.calls.start(tool(at, name), 1)
        told = zip(names, answers, strict=True)
        return [(await store.calls.record(tool(at, name), 1, OK, 1, answer=one)).status for name, one in told]

    session = await asked(store)
    assert await both(session, 1, BAD, BAD) == ["error", "error"]
    assert await both(session, 2, BAD, BAD) == ["success", "success"]
    assert await result(store, session) == (None, BAD.fault)
    good = await asked(store)
    assert await both(good, 1, GOOD, BAD) == ["success", "success"]
    assert await result(store, good) == ({"a": [1]}, None)


async def test_there_is_one_repair_over_both_ways(store: Store) -> None:
    session = await asked(store)
    assert (await replied(store, session, 1, BAD)).more
    assert await completed(store, session, 2, BAD) == "success"
    other = await asked(store)
    assert await completed(store, other, 1, BAD) == "error"
    assert not (await replied(store, other, 2, BAD)).more


async def test_where_no_step_is_left_nothing_is_repaired_and_that_is_told(store: Store) -> None:
    session = await asked(store, maxSteps=1)
    assert not (await replied(store, session, 1, BAD)).more
    told = (await result(store, session))[1] or ""
    assert told.startswith(BAD.fault) and "no step was left" in told
    assert await completed(store, await asked(store, maxSteps=1), 1, BAD) == "success"
    spent = await asked(store, maxBudget=1000)
    await store.steps.begin(step(spent), 1)
    assert not (await store.steps.record_reply(step(spent), 1, replace(reply("x", tokens=1000), answer=BAD))).more


async def test_a_reply_that_the_user_has_spoken_into_is_not_the_final_answer(store: Store) -> None:
    session = await asked(store)
    await store.steps.begin(step(session), 1)
    async with store.steps.ledgers.open(session.id) as ledger:
        await interject(ledger, "followUp", "and this")
    assert (await store.steps.record_reply(step(session), 1, replace(reply("x"), answer=BAD))).more
    assert await result(store, session) == (None, None)
    assert (await replied(store, session, 2, BAD)).more, "the repair is still to be had"


async def test_a_session_that_ends_before_its_answer_says_so_and_one_without_a_schema_says_nothing(
    store: Store,
) -> None:
    session, plain = await asked(store), await new_session(store)
    for one in (session, plain):
        await store.endings.close(one.id, Ending("timeout"))
    assert await result(store, session) == (None, "the session ended (timeout) without a final answer")
    assert await result(store, plain) == (None, None)


async def test_an_attempt_that_reads_the_reply_again_takes_the_answer_once(store: Store) -> None:
    session = await asked(store)
    first = await replied(store, session, 1, BAD)
    again = await store.steps.record_reply(step(session), 1, replace(reply("text"), answer=BAD))
    assert again == first and again.more
    assert (await store.sessions.row(session.id))["interjected"] == 1
