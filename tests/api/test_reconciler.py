"""What operators do in Temporal, and what was lost there, ends the session's stream (CONTRACT §3, G1)."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client

from api import reconciler
from api.temporal import Fate, TemporalAway
from tests.support.asking import Json, follow, following, session, start
from tests.support.events import Event, facts, the, types
from tests.support.stack import Stack, running_stack
from tests.support.turns import script, slowly


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reconciler looks more often than every two seconds. Not at the young: while a request is starting a session,
    a second start might come after the test took its workflow away."""
    monkeypatch.setattr(reconciler, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(reconciler, "LOOK_AGAIN_MS", 100)


async def ended(stack: Stack, session_id: str, events: list[Event]) -> Json:
    """The session, whose stream ended as it should; the `error` of its events."""
    assert types(facts(events))[-2:] == ["message_saved", "error"]
    error = the(events, "error")
    told = await session(stack.http, session_id)
    assert told["error"] == {"code": error["code"], "message": error["message"]}
    assert told["messageId"] == the(events, "message_saved")["id"]
    return error


async def test_a_session_that_operators_terminate_ends_with_internal_and_says_so(stack: Stack) -> None:
    running = await start(stack.http, script(slowly()))
    async with following(stack.http, running["id"]) as stream:
        await stream.until("content:delta")
        await stack.client.get_workflow_handle(running["id"]).terminate("by hand")
        events = await stream.rest()
    error = await ended(stack, running["id"], events)
    assert error["code"] == "INTERNAL" and "terminated by an operator" in error["message"]
    assert (await session(stack.http, running["id"]))["status"] == "failed"


async def test_a_session_that_operators_cancel_ends_as_cancelled_and_keeps_what_was_said(stack: Stack) -> None:
    running = await start(stack.http, script(slowly()))
    async with following(stack.http, running["id"]) as stream:
        await stream.until("content:delta")
        await stack.client.get_workflow_handle(running["id"]).cancel()
        events = await stream.rest()
    error = await ended(stack, running["id"], events)
    assert error["code"] == "CANCELLED"
    assert the(events, "session:cancelling")["by"] == "temporal"
    assert the(events, "content")["partial"] is True
    assert (await session(stack.http, running["id"]))["status"] == "cancelled"


async def test_a_session_whose_workflow_is_no_longer_known_is_closed(
    client: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("vanished")
    async with running_stack(client, "http://127.0.0.1:9", folder, has_worker=False) as idle:
        waiting = await start(idle.http, "Hello?")
        gone = WorkflowExecution(workflow_id=waiting["id"])
        await client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=gone)
        )
        error = await ended(idle, waiting["id"], await follow(idle.http, waiting["id"]))
    assert error["code"] == "INTERNAL" and error["retryable"] is True
    assert "Temporal" in error["message"]


async def test_a_session_that_no_worker_takes_ends_after_its_limit(
    client: Client, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "GRACE_MS", 300)
    folder = tmp_path_factory.mktemp("unmanned")
    async with running_stack(client, "http://127.0.0.1:9", folder, has_worker=False) as idle:
        waiting = await start(idle.http, "Hello?", timeoutSeconds=1)
        error = await ended(idle, waiting["id"], await follow(idle.http, waiting["id"]))
    assert (error["code"], error["retryable"]) == ("TIMEOUT", True)


async def test_a_session_past_its_limit_is_closed_in_time_though_temporal_hangs(
    client: Client, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Temporal that takes connections and says nothing holds up every question; it may not hold up this."""
    monkeypatch.setattr(reconciler, "GRACE_MS", 1_000)
    monkeypatch.setattr(reconciler, "EVERY_SECONDS", 0.1)
    folder = tmp_path_factory.mktemp("hanging")
    async with running_stack(client, "http://127.0.0.1:9", folder, has_worker=False) as idle:
        asked = asyncio.Event()

        async def hangs(since: object) -> list[str]:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(idle.parts.temporal, "ended_badly", hangs)  # of this API alone: others run beside it
        waiting = await start(idle.http, "Hello?", timeoutSeconds=1)
        await asked.wait()
        error = await ended(idle, waiting["id"], await follow(idle.http, waiting["id"]))
    assert error["code"] == "TIMEOUT"


async def test_what_temporal_does_not_say_of_one_session_keeps_no_other_from_being_looked_after(
    client: Client, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a question that is broken off end the looking."""
    folder = tmp_path_factory.mktemp("mute")
    async with running_stack(client, "http://127.0.0.1:9", folder, has_worker=False) as idle:
        temporal = idle.parts.temporal
        mute, other = await start(idle.http, "Hello?"), await start(idle.http, "Hello?")
        asked = asyncio.Event()
        fate = temporal.fate

        async def silent(session_id: str) -> Fate:
            if session_id != mute["id"]:
                return await fate(session_id)
            if not asked.is_set():
                asked.set()
                raise asyncio.CancelledError
            raise TemporalAway("it did not say")

        monkeypatch.setattr(temporal, "fate", silent)
        await asked.wait()
        await client.get_workflow_handle(other["id"]).terminate("by hand")
        error = await ended(idle, other["id"], await follow(idle.http, other["id"]))
    assert error["code"] == "INTERNAL"
