"""What the workflow promises about calls that wait for approvals (CONTRACT §4), with the cache and without."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from session.wire import (
    CANCEL_SIGNAL,
    DECIDE_UPDATE,
    NOT_WAITING,
    PROGRESS_QUERY,
    CallRef,
    CancelRequest,
    Decision,
    Ending,
    ModelReply,
    Progress,
    StepRef,
    ToolRef,
)
from tests.workflows.played import Played, reply, session, working

pytestmark = pytest.mark.asyncio(loop_scope="session")
MINUTE_MS = 60_000


def asks(*call_ids: str, now_ms: float | None = None, runs: tuple[str, ...] = ()) -> ModelReply:
    """A reply whose calls wait for approvals named after them, besides some that run at once."""
    expires = round((now_ms or time.time() * 1000) + MINUTE_MS)
    waiting = [CallRef(one, "exec", "sideEffect", one, "ask", f"appr_{one}", expires) for one in call_ids]
    return ModelReply(calls=[*waiting, *(CallRef(one, "grep", "readOnly", one) for one in runs)])


async def phase(handle: WorkflowHandle[object, str]) -> str:
    """Its phase; empty while it cannot be told: a question may be given to a worker that has just gone."""
    try:
        progress: Progress = await handle.query(PROGRESS_QUERY, result_type=Progress, rpc_timeout=timedelta(seconds=3))
    except RPCError:
        return ""
    return progress.phase


async def awaiting(handle: WorkflowHandle[object, str]) -> None:
    async with asyncio.timeout(30):
        while await phase(handle) != "awaitingApproval":
            await asyncio.sleep(0.02)


async def decide(handle: WorkflowHandle[object, str], approval_id: str, decision_id: str) -> bool:
    """Whether the decision was the first."""
    try:
        return bool(await handle.execute_update(DECIDE_UPDATE, Decision(approval_id, decision_id), id=decision_id))
    except WorkflowUpdateFailedError as refused:
        if not isinstance(refused.cause, ApplicationError) or refused.cause.type != NOT_WAITING:
            raise
        return False


async def sent(handle: WorkflowHandle[object, str], approval_id: str, decision_id: str) -> WorkflowUpdateHandle[bool]:
    """A decision that the workflow has accepted, but perhaps not recorded."""
    accepted = WorkflowUpdateStage.ACCEPTED
    decision = Decision(approval_id, decision_id)
    return await handle.start_update(DECIDE_UPDATE, decision, id=decision_id, result_type=bool, wait_for_stage=accepted)


async def test_a_call_waits_for_its_decision_while_its_sisters_go_on(client: Client, cache: int) -> None:
    sister = asyncio.Event()

    async def on_tool(at: ToolRef) -> None:
        if at.call_id == "sister":
            sister.set()

    played = Played([asks("a", runs=("sister",)), reply()], on_tool=on_tool)
    async with session(client, played, cache) as handle:
        await asyncio.wait_for(sister.wait(), 10)
        await awaiting(handle)
        assert played.tool_calls == ["sister"]
        assert await decide(handle, "appr_a", "dec_1")
        assert await handle.result() == "endTurn"
    assert played.decisions == ["dec_1"]
    assert played.tool_calls == ["sister", "a"]


async def test_of_ten_decisions_at_once_one_wins_and_the_others_are_told(client: Client, cache: int) -> None:
    played = Played([asks("a"), reply()])
    async with session(client, played, cache) as handle:
        await awaiting(handle)
        won = await asyncio.gather(*(decide(handle, "appr_a", f"dec_{n}") for n in range(10)))
        assert await handle.result() == "endTurn"
    assert won.count(True) == 1
    assert played.decisions == [f"dec_{won.index(True)}"]
    assert played.tool_calls == ["a"]


async def test_a_decision_on_what_does_not_wait_is_refused(client: Client, cache: int) -> None:
    played = Played([asks("a"), reply()])
    async with session(client, played, cache) as handle:
        await awaiting(handle)
        assert not await decide(handle, "appr_other", "dec_0")
        assert await decide(handle, "appr_a", "dec_1")
        assert await handle.result() == "endTurn"
    assert played.decisions == ["dec_1"]


async def test_a_decision_may_come_before_the_workflow_hears_of_the_reply_that_asks(client: Client, cache: int) -> None:
    told = asyncio.Event()

    async def recorded_and_not_yet_told(_: StepRef) -> ModelReply:
        await asyncio.wait_for(told.wait(), 10)
        return asks("a")

    played = Played([recorded_and_not_yet_told, reply()])
    async with session(client, played, cache) as handle:
        await asyncio.wait_for(played.running.wait(), 10)
        early = [await sent(handle, "appr_a", decision) for decision in ("dec_1", "dec_2")]
        told.set()
        assert [await one.result() for one in early] == [True, False]
        assert await handle.result() == "endTurn"
    assert played.decisions == ["dec_1"]
    assert played.tool_calls == ["a"]


async def test_an_early_decision_on_what_never_waits_is_told_so(client: Client, cache: int) -> None:
    told = asyncio.Event()

    async def slow(_: StepRef) -> ModelReply:
        await asyncio.wait_for(told.wait(), 10)
        return asks("a")

    played = Played([slow, reply()])
    async with session(client, played, cache) as handle:
        await asyncio.wait_for(played.running.wait(), 10)
        early = asyncio.create_task(decide(handle, "appr_other", "dec_0"))
        told.set()
        assert not await early
        assert await decide(handle, "appr_a", "dec_1")
        assert await handle.result() == "endTurn"
    assert played.decisions == ["dec_1"]


async def test_a_decision_after_the_minute_is_refused_also_where_no_worker_saw_it_end(client: Client) -> None:
    expires = time.time() + 2
    played = Played([asks("a", now_ms=expires * 1000 - MINUTE_MS), reply()])
    async with session(client, played, 0) as handle:
        await awaiting(handle)
    queue = (await handle.describe()).raw_description.execution_config.task_queue.name
    async with asyncio.timeout(10):
        while time.time() < expires + 0.1:
            await asyncio.sleep(0.05)
    late = asyncio.create_task(decide(handle, "appr_a", "dec_late"))
    async with working(client, played, 0, queue):
        assert not await late
        assert await handle.result() == "endTurn"
    assert played.decisions == []
    assert played.tool_calls == ["a"]


async def test_a_minute_without_a_decision_ends_the_wait(skipping: WorkflowEnvironment, cache: int) -> None:
    now = await skipping.get_current_time()
    played = Played([asks("a", "b", now_ms=now.timestamp() * 1000), reply()])
    async with session(skipping.client, played, cache, now=now) as handle:
        assert await handle.result() == "endTurn"
        told = await handle.describe()
    assert told.close_time is not None
    assert 59 <= (told.close_time - told.start_time).total_seconds() < 75
    assert played.decisions == []
    assert sorted(played.tool_calls) == ["a", "b"], "each is answered by run_tool, which lets its approval lapse"


@pytest.mark.parametrize(("mode", "runs"), [("now", []), ("graceful", ["a"])])
async def test_a_cancel_waits_for_nobody(client: Client, cache: int, mode: str, runs: list[str]) -> None:
    played = Played([asks("a"), reply()])
    async with session(client, played, cache) as handle:
        await awaiting(handle)
        await handle.signal(CANCEL_SIGNAL, CancelRequest(mode, "", "me"))  # type: ignore[arg-type]
        assert await handle.result() == "cancelled"
        assert not await _decide_after_the_end(handle)
    assert played.tool_calls == runs
    assert played.endings == [Ending("cancelled", cancelled_by="me")]


async def _decide_after_the_end(handle: WorkflowHandle[object, str]) -> bool:
    try:
        return await decide(handle, "appr_a", "dec_late")
    except Exception:  # the workflow is over: the server itself refuses
        return False


async def test_a_decision_being_recorded_comes_before_the_end(client: Client, cache: int) -> None:
    order: list[str] = []
    recording = asyncio.Event()

    async def on_close(_: object) -> None:
        order.append("closed")

    async def on_decision() -> None:
        recording.set()
        await asyncio.sleep(0.5)
        order.append("recorded")

    played = Played([asks("a"), reply()], on_close=on_close, on_decision=on_decision)
    async with session(client, played, cache) as handle:
        await awaiting(handle)
        deciding = asyncio.create_task(decide(handle, "appr_a", "dec_1"))
        await asyncio.wait_for(recording.wait(), 10)
        await handle.signal(CANCEL_SIGNAL, CancelRequest("now", "", "me"))
        assert await handle.result() == "cancelled"
        assert await deciding
    assert order == ["recorded", "closed"]


async def test_no_more_than_eight_calls_run_at_once(client: Client, cache: int) -> None:
    running, most, all_eight = 0, 0, asyncio.Event()

    async def on_tool(at: ToolRef) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 8:
            all_eight.set()
        await asyncio.wait_for(all_eight.wait(), 10)
        running -= 1

    played = Played([reply(*((f"c{n}", "exec") for n in range(20))), reply()], on_tool=on_tool)
    async with session(client, played, cache) as handle:
        assert await handle.result() == "endTurn"
    assert most == 8
    assert len(played.tool_calls) == 20
