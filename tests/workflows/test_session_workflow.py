"""The workflow's promises, with the cache and without (then each workflow task replays from the start)."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import WorkflowEnvironment

from session.usage import Usage
from session.wire import (
    CANCEL_SIGNAL,
    FENCED,
    PROGRESS_QUERY,
    PROVIDER_ERROR,
    CallRef,
    CancelRequest,
    CloseRequest,
    Ending,
    ModelReply,
    Progress,
    StepRef,
    ToolRef,
)
from tests.workflows.played import Played, hang, reply, session

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_session_runs_until_the_model_stops_calling_tools(client: Client, cache: int) -> None:
    played = Played([reply(("a", "exec"), ("b", "exec")), reply(("c", "exec")), reply()])
    async with session(client, played, cache) as handle:
        assert await handle.result() == "endTurn"
    assert played.model_calls == [1, 2, 3]
    assert sorted(played.tool_calls) == ["a", "b", "c"]
    assert played.endings == [Ending("endTurn")]


async def test_complete_task_ends_it(client: Client, cache: int) -> None:
    played = Played([reply(("a", "complete_task"), ("b", "exec"))])
    async with session(client, played, cache) as handle:
        assert await handle.result() == "taskCompleted"
    assert sorted(played.tool_calls) == ["a", "b"]


async def test_the_step_limit_ends_it_after_the_last_step_had_its_results(client: Client, cache: int) -> None:
    replies = [reply((f"call{step}", "exec")) for step in range(1, 4)]
    played = Played(replies)
    async with session(client, played, cache, max_steps=3) as handle:
        assert await handle.result() == "maxSteps"
    assert played.model_calls == [1, 2, 3]
    assert played.tool_calls == ["call1", "call2", "call3"]


async def test_a_spent_budget_ends_it_before_the_next_call_is_paid_for(client: Client, cache: int) -> None:
    played = Played([reply(("a", "exec"), tokens=1500), reply()])
    async with session(client, played, cache, max_budget=1000) as handle:
        assert await handle.result() == "budgetExceeded"
    assert played.model_calls == [1]


async def test_the_same_call_three_times_running_ends_it(client: Client, cache: int) -> None:
    async def again(at: StepRef) -> ModelReply:
        return ModelReply(calls=[CallRef(f"call{at.step}", "exec", "sideEffect", "same")])

    played = Played([again])
    async with session(client, played, cache) as handle:
        assert await handle.result() == "loopDetected"
    assert played.model_calls == [1, 2, 3]


async def test_three_minutes_end_it_and_take_no_time_here(skipping: WorkflowEnvironment, cache: int) -> None:
    async def busy(at: StepRef) -> ModelReply:
        raise ApplicationError("busy", next_retry_delay=timedelta(seconds=185), type=PROVIDER_ERROR)

    played = Played([busy])
    now = await skipping.get_current_time()
    began = time.monotonic()
    async with session(skipping.client, played, cache, now=now) as handle:
        assert await handle.result() == "timeout"
        history = await handle.fetch_history()
    lasted = (history.events[-1].event_time.ToDatetime() - history.events[0].event_time.ToDatetime()).total_seconds()
    assert 179 <= lasted <= 195
    assert played.endings == [Ending("timeout")]
    print(f"three minutes of waiting took {time.monotonic() - began:.2f} s")


async def test_cancel_now_stops_a_model_call_and_closes_once(client: Client, cache: int) -> None:
    played = Played([hang])
    async with session(client, played, cache) as handle:
        await played.running.wait()
        await handle.signal(CANCEL_SIGNAL, CancelRequest("now", by="somebody"))
        await handle.signal(CANCEL_SIGNAL, CancelRequest("now", by="somebody else"))
        assert await handle.result() == "cancelled"
    assert [ending.reason for ending in played.endings] == ["cancelled"]


async def test_graceful_cancel_lets_the_running_step_finish(client: Client, cache: int) -> None:
    async def cancel_meanwhile(at: ToolRef) -> None:
        handle = client.get_workflow_handle(at.at.session_id)
        await handle.signal(CANCEL_SIGNAL, CancelRequest("graceful"))

    played = Played([reply(("a", "exec")), reply()], on_tool=cancel_meanwhile)
    async with session(client, played, cache) as handle:
        assert await handle.result() == "cancelled"
    assert played.tool_calls == ["a"]
    assert played.model_calls == [1]


async def test_a_cancel_before_the_first_step_ends_it_without_a_call(client: Client, cache: int) -> None:
    played = Played([reply()])
    async with session(client, played, cache) as handle:
        await handle.signal(CANCEL_SIGNAL, CancelRequest("now"))
        assert await handle.result() in ("cancelled", "endTurn")
    assert len(played.endings) == 1


async def test_temporals_own_cancel_is_recorded_and_shown_there_too(client: Client, cache: int) -> None:
    played = Played([hang])
    async with session(client, played, cache) as handle:
        await played.running.wait()
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
    assert isinstance(failure.value.cause, CancelledError)
    assert played.endings == [Ending("cancelled", cancelled_by="temporal")]


async def test_temporals_own_cancel_after_another_changes_nothing(client: Client, cache: int) -> None:
    both_came = asyncio.Event()

    async def stops_slowly(at: StepRef) -> ModelReply:
        stopped = await hang(at)
        await both_came.wait()
        return stopped

    played = Played([stops_slowly])
    async with session(client, played, cache) as handle:
        await played.running.wait()
        await handle.signal(CANCEL_SIGNAL, CancelRequest("now", by="somebody"))
        await handle.cancel()
        while (await handle.query(PROGRESS_QUERY, result_type=Progress)).phase != "closing":
            await asyncio.sleep(0.01)
        both_came.set()
        assert await handle.result() == "cancelled"
    assert played.endings == [Ending("cancelled", cancelled_by="somebody")]


async def test_temporals_own_cancel_during_the_closing_does_not_undo_it(client: Client, cache: int) -> None:
    async def cancel_meanwhile(request: CloseRequest) -> None:
        await client.get_workflow_handle(request.session_id).cancel()

    played = Played([reply()], on_close=cancel_meanwhile)
    async with session(client, played, cache) as handle:
        assert await handle.result() == "endTurn"
    assert played.endings == [Ending("endTurn")]


async def test_a_final_provider_error_ends_it_without_the_providers_words(client: Client, cache: int) -> None:
    async def refused(at: StepRef) -> ModelReply:
        raise ApplicationError("invalid_request_error: no", False, type=PROVIDER_ERROR, non_retryable=True)

    played = Played([refused])
    async with session(client, played, cache) as handle:
        assert await handle.result() == "providerError"
    assert played.endings == [Ending("providerError", retryable=False)]


async def test_a_retried_provider_error_goes_on(client: Client, cache: int) -> None:
    failures = iter([True, True, False])

    async def sometimes(at: StepRef) -> ModelReply:
        if next(failures):
            raise ApplicationError("overloaded", type=PROVIDER_ERROR)
        return reply()

    played = Played([sometimes])
    async with session(client, played, cache) as handle:
        assert await handle.result() == "endTurn"
    assert played.model_calls == [1, 1, 1]


async def test_an_unforeseen_failure_ends_as_internal_error(client: Client, cache: int) -> None:
    async def broken(at: StepRef) -> ModelReply:
        raise ApplicationError("unforeseen: KeyError", type="KeyError", non_retryable=True)

    played = Played([broken])
    async with session(client, played, cache) as handle:
        assert await handle.result() == "internalError"
    assert [ending.reason for ending in played.endings] == ["internalError"]


async def test_a_fenced_run_closes_nothing(client: Client, cache: int) -> None:
    async def fenced(at: StepRef) -> ModelReply:
        raise ApplicationError("newer", type=FENCED, non_retryable=True)

    played = Played([fenced])
    async with session(client, played, cache) as handle:
        assert await handle.result() == "superseded"
    assert played.endings == []


async def test_progress_tells_phase_step_and_pending_tools(client: Client, cache: int) -> None:
    seen: list[Progress] = []

    async def look(at: ToolRef) -> None:
        handle = client.get_workflow_handle(at.at.session_id)
        seen.append(await handle.query(PROGRESS_QUERY, result_type=Progress))

    played = Played([reply(("a", "exec")), reply()], on_tool=look)
    async with session(client, played, cache) as handle:
        await handle.result()
        last = await handle.query(PROGRESS_QUERY, result_type=Progress)
    assert (seen[0].phase, seen[0].step, seen[0].pending_tools) == ("runningTools", 1, ["exec"])
    assert (last.phase, last.usage) == ("closing", Usage(input_tokens=20))
