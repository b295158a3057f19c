"""A session that must wait for its turn: nothing of it runs before, and nothing keeps it from ending."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from session.vocabulary import CancelMode
from session.wire import ADMIT_SIGNAL, CANCEL_SIGNAL, PROGRESS_QUERY, CancelRequest, Ending, Progress
from tests.workflows.played import Played, hang, reply, session

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def started(handle: WorkflowHandle[Any, str]) -> None:
    """A worker has begun the workflow: it can say where it stands."""
    assert (await handle.query(PROGRESS_QUERY, result_type=Progress)).step == 1


async def events(handle: WorkflowHandle[Any, str], kind: str) -> int:
    wanted = EventType.Value(f"EVENT_TYPE_{kind}")
    return sum(event.event_type == wanted for event in (await handle.fetch_history()).events)


async def test_it_begins_when_it_is_admitted(client: Client, cache: int) -> None:
    played = Played([reply()])
    async with session(client, played, cache, waits=True) as handle:
        await started(handle)
        assert played.model_calls == []
        await handle.signal(ADMIT_SIGNAL)
        assert await handle.result() == "endTurn"
        assert await events(handle, "TIMER_STARTED") == 1, "waiting costs no timer of its own"
    assert played.model_calls == [1]


async def test_being_admitted_twice_or_without_need_changes_nothing(client: Client, cache: int) -> None:
    played = Played([reply(("a", "exec")), reply()])
    for waits in (True, False):
        async with session(client, played, cache, waits=waits) as handle:
            await handle.signal(ADMIT_SIGNAL)
            await handle.signal(ADMIT_SIGNAL)
            assert await handle.result() == "endTurn"
    assert played.model_calls == [1, 2, 1, 2]


@pytest.mark.parametrize("mode", ["now", "graceful"])
async def test_a_cancel_ends_it_while_it_waits(client: Client, cache: int, mode: CancelMode) -> None:
    played = Played([reply()])
    async with session(client, played, cache, waits=True) as handle:
        await started(handle)
        await handle.signal(CANCEL_SIGNAL, CancelRequest(mode, by="somebody"))
        assert await handle.result() == "cancelled"
        assert await events(handle, "ACTIVITY_TASK_SCHEDULED") == 0, "nothing was bought"
    assert (played.model_calls, played.endings) == ([], [Ending("cancelled", cancelled_by="somebody")])


async def test_temporals_own_cancel_ends_it_while_it_waits(client: Client, cache: int) -> None:
    played = Played([reply()])
    async with session(client, played, cache, waits=True) as handle:
        await started(handle)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert (played.model_calls, played.endings) == ([], [Ending("cancelled", cancelled_by="temporal")])


async def test_its_limit_ends_it_while_it_waits(skipping: WorkflowEnvironment, cache: int) -> None:
    played = Played([reply()])
    now = await skipping.get_current_time()
    async with session(skipping.client, played, cache, now=now, waits=True) as handle:
        assert await handle.result() == "timeout"
        history = (await handle.fetch_history()).events
    lasted = (history[-1].event_time.ToDatetime() - history[0].event_time.ToDatetime()).total_seconds()
    assert 179 <= lasted <= 185
    assert (played.model_calls, played.endings) == ([], [Ending("timeout")])


async def test_waiting_counts_against_its_limit(skipping: WorkflowEnvironment, cache: int) -> None:
    played = Played([hang])
    now = await skipping.get_current_time()
    async with session(skipping.client, played, cache, now=now, limit=60, waits=True) as handle:
        with skipping.auto_time_skipping_disabled():
            await started(handle)
        await skipping.sleep(50)  # the rest is waited for: time is not skipped while an activity runs
        await handle.signal(ADMIT_SIGNAL)
        async with asyncio.timeout(30):
            await played.running.wait()
        assert await handle.result() == "timeout"
        history = (await handle.fetch_history()).events
    lasted = (history[-1].event_time.ToDatetime() - history[0].event_time.ToDatetime()).total_seconds()
    assert 59 <= lasted <= 65
