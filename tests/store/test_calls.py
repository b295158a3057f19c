"""Claims about tool calls: at most once, first result wins, every call answered (G4, G6)."""

import asyncio

import pytest

from session.vocabulary import Effect
from session.wire import ToolRef
from store import Store
from store.calls import OUTCOME_UNKNOWN
from store.ledger import Fenced, NotFound
from store.replies import NewCall
from tests.store.acting import FAILED, OK, Clock, new_call, new_session, reply, step, story, tool, types

HARMFUL: list[Effect] = ["sideEffect", "idempotent"]


async def called(store: Store, *calls: NewCall, epoch: int = 1) -> tuple[str, list[ToolRef]]:
    """A session whose first reply made these calls."""
    session = await new_session(store)
    at = step(session, epoch=epoch)
    await store.steps.begin(at, 1)
    await store.steps.record_reply(at, 1, reply("", *calls))
    return session.id, [tool(at, call.ref.id) for call in calls]


async def test_every_call_of_a_reply_is_told_and_waits(store: Store) -> None:
    session_id, _ = await called(store, new_call("b", path="x"), new_call("a", "sideEffect"))
    told = [fact.data for fact in await story(store, session_id) if fact.type == "tool:call"]
    assert [data["id"] for data in told] == ["b", "a"]
    assert told[0] == {
        "toolCallId": "b",
        "id": "b",
        "name": "exec",
        "arguments": {"path": "x"},
        "args": {"path": "x"},
        "step": 1,
        "securityLevel": "moderate",
    }
    (turn,) = await store.transcripts.turns(session_id)
    assert [(result.call_id, result.result) for result in turn.results] == [("b", None), ("a", None)]


async def test_a_claim_gives_the_arguments_and_the_session(store: Store) -> None:
    _, (harmful, harmless) = await called(store, new_call("a", "sideEffect", n=1), new_call("b", "readOnly", n=2))
    started = await store.calls.start(harmful, 1)
    assert (started.arguments, started.fate, started.session["security_mode"]) == ({"n": 1}, None, "full")
    looked = await store.calls.look(harmless)
    assert (looked.arguments, looked.fate, looked.session["security_mode"]) == ({"n": 2}, None, "full")


async def test_a_result_is_told_and_the_step_completes_with_the_last(store: Store, clock: Clock) -> None:
    session_id, (one, other) = await called(store, new_call("a"), new_call("b"))
    fate = await store.calls.record(other, 1, FAILED, 12)
    assert (fate.call_id, fate.status, fate.duration_ms) == ("b", "error", 12)
    assert (await types(store, session_id))[-1] == "tool:result"
    clock.now += 70
    await store.calls.record(one, 1, OK, 34)
    told = await story(store, session_id)
    assert [fact.type for fact in told[-3:]] == ["tool:result", "tool:result", "step:complete"]
    assert told[-3].data == {
        "toolCallId": "b",
        "id": "b",
        "name": "exec",
        "status": "error",
        "result": {"success": False, "error": {"code": "BROKEN", "message": "it broke"}},
        "durationMs": 12,
        "step": 1,
    }
    assert (told[-1].data["toolCallsInStep"], told[-1].data["durationMs"]) == (2, 70)
    (turn,) = await store.transcripts.turns(session_id)
    assert [result.result for result in turn.results] == [OK.published(), FAILED.published()]


@pytest.mark.parametrize("effect", HARMFUL)
async def test_a_call_that_was_started_and_lost_is_not_run_again(store: Store, effect: Effect) -> None:
    session_id, (at,) = await called(store, new_call("a", effect))
    assert (await store.calls.start(at, 1)).fate is None
    for attempt in (2, 3):
        fate = (await store.calls.start(at, attempt)).fate
        assert fate is not None
        assert fate.status == "error"
    told = [fact.data["result"] for fact in await story(store, session_id) if fact.type == "tool:result"]
    assert told == [OUTCOME_UNKNOWN.published()]
    assert (await types(store, session_id))[-1] == "step:complete"


@pytest.mark.parametrize("effect", HARMFUL)
async def test_of_many_who_would_start_a_call_at_once_one_may(store: Store, effect: Effect) -> None:
    session_id, (at,) = await called(store, new_call("a", effect))
    claims = await asyncio.gather(*(store.calls.start(at, attempt) for attempt in range(1, 21)))
    assert sum(claim.fate is None for claim in claims) == 1
    assert (await types(store, session_id)).count("tool:result") == 1


async def test_a_worker_that_wakes_up_is_not_heard_after_its_call_was_given_up(store: Store) -> None:
    session_id, (at,) = await called(store, new_call("a", "sideEffect"))
    await store.calls.start(at, 1)
    await store.calls.start(at, 2)
    fate = await store.calls.record(at, 1, OK, 5)
    assert fate.status == "error"
    assert (await types(store, session_id)).count("tool:result") == 1


async def test_only_who_started_a_harmful_call_may_record_it(store: Store) -> None:
    _, (at,) = await called(store, new_call("a", "sideEffect"))
    with pytest.raises(Fenced):
        await store.calls.record(at, 1, OK, 5)
    await store.calls.start(at, 1)
    with pytest.raises(Fenced):
        await store.calls.record(at, 2, OK, 5)
    with pytest.raises(Fenced):
        await store.calls.record(ToolRef(step(at.at.session_id, epoch=9), "a"), 1, OK, 5)
    assert (await store.calls.record(at, 1, OK, 5)).status == "success"


async def test_of_several_results_of_a_call_that_reads_the_first_wins(store: Store) -> None:
    session_id, (at,) = await called(store, new_call("a"))
    first = await store.calls.record(at, 1, OK, 5)
    assert await store.calls.record(at, 2, FAILED, 9) == first
    assert (await store.calls.look(at)).fate == first
    assert (await store.calls.start(at, 3)).fate == first
    assert (await types(store, session_id)).count("tool:result") == 1


async def test_a_reset_run_is_given_the_results_that_were_recorded(store: Store) -> None:
    session_id, (at,) = await called(store, new_call("a", "sideEffect"), epoch=1)
    await store.calls.start(at, 1)
    first = await store.calls.record(at, 1, OK, 5)
    again = await store.calls.start(ToolRef(step(session_id, epoch=2), "a"), 1)
    assert again.fate == first


async def test_parallel_results_complete_the_step_exactly_once(store: Store) -> None:
    calls = [new_call(f"t{n}") for n in range(30)]
    session_id, refs = await called(store, *calls)
    await asyncio.gather(*(store.calls.record(at, 1, OK, 1) for at in refs + refs))
    told = await types(store, session_id)
    assert (told.count("tool:result"), told.count("step:complete"), told[-1]) == (30, 1, "step:complete")


async def test_a_call_that_nobody_made_is_not_found(store: Store) -> None:
    session_id, (at,) = await called(store, new_call("a"))
    for wrong in (ToolRef(at.at, "b"), ToolRef(step(session_id, 2), "a")):
        for asked in (
            store.calls.start(wrong, 1),
            store.calls.look(wrong),
            store.calls.record(wrong, 1, OK, 1),
        ):
            with pytest.raises(NotFound):
                await asked


async def test_where_a_provider_names_calls_of_two_steps_alike_the_handle_stands_for_the_later(store: Store) -> None:
    session = await new_session(store)
    for number, text in ((1, "first " * 20_000), (2, "second")):
        at = step(session, number)
        await store.steps.begin(at, 1)
        await store.steps.record_reply(at, 1, reply("", new_call("call_0")))
        await store.calls.record(tool(at, "call_0"), 1, OK, 5, [text])
        assert await store.shelves.output(session.id, "call_0", 0, 10) == (text[:10], len(text))
