"""Claims about crowded conversations from outside: what `onConflict` says (CONTRACT §2)."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import httpx
import pytest
from temporalio.client import Client

from fake_model.serve import Running
from tests.support.asking import cancel, conversation, follow, following, get, names_field, problem, session, start
from tests.support.events import facts, the, types
from tests.support.stack import Stack, running_stack
from tests.support.turns import says, script, slowly

CANCELLED = ["session:cancelling", "message_saved", "error"]


async def test_enqueued_sessions_run_in_order_and_each_sees_those_before(http: httpx.AsyncClient) -> None:
    into = await conversation(http)
    tasks = [script(says(f"answer {n}", first_token_ms=50), task=f"task {n}") for n in range(4)]
    running = [await start(http, task, conversationId=into, onConflict="enqueue") for task in tasks]
    assert running[1]["status"] == "created" and running[1]["deadline"] is None
    problem(await http.post("/api/sessions", json={"content": "x", "conversationId": into}), 409, "SESSION_ACTIVE")
    for one in running:
        events = await follow(http, one["id"])
        assert types(facts(events))[:3] == ["user_message", "session:start", "step:start"]
        assert the(events, "complete")["stopReason"] == "endTurn"
    told = [await session(http, one["id"]) for one in running]
    for before, after in pairwise(told):
        assert before["endedAt"] <= after["startedAt"]
    opening = (await get(http, f"/api/sessions/{running[3]['id']}/transcript"))["opening"]
    said = [block["text"] for message in opening for block in message["content"]]
    assert [text for text in said if text.startswith("answer")] == ["answer 0", "answer 1", "answer 2"]
    assert (await get(http, f"/api/chat/conversations/{into}"))["activeSessionId"] is None


async def test_an_interrupt_ends_the_running_one_keeps_its_partial_work_and_goes_first(http: httpx.AsyncClient) -> None:
    into = await conversation(http)
    running = await start(http, script(slowly()), conversationId=into)
    async with following(http, running["id"]) as stream:
        await stream.until("content:delta")
        queued = await start(http, script(says("later")), conversationId=into, onConflict="enqueue")
        urgent = await start(http, script(says("at once")), conversationId=into, onConflict="interrupt")
        events = await stream.rest()
    assert the(events, "error")["code"] == "CANCELLED" and the(events, "content")["partial"] is True
    assert urgent["id"] in the(events, "session:cancelling")["reason"]
    assert the(await follow(http, urgent["id"]), "complete")["stopReason"] == "endTurn"
    assert the(await follow(http, queued["id"]), "complete")["stopReason"] == "endTurn"
    assert (await session(http, urgent["id"]))["endedAt"] <= (await session(http, queued["id"]))["startedAt"]


async def test_one_that_waits_can_be_cancelled_followed_and_started_again_with_its_key(http: httpx.AsyncClient) -> None:
    into = await conversation(http)
    running = await start(http, script(slowly()), conversationId=into)
    fields = {"conversationId": into, "onConflict": "enqueue"}
    waiting = await start(http, script(says("never")), key="waits", **fields)
    assert (await start(http, script(says("never")), key="waits", **fields))["id"] == waiting["id"]
    async with following(http, waiting["id"]) as stream:
        await stream.until("user_message")
        answer = await cancel(http, waiting["id"], reason="not needed")
        assert answer.status_code == 202 and answer.json()["session"]["status"] == "cancelled"
        events = await stream.rest()
    assert types(facts(events)) == ["user_message", "session:start", *CANCELLED]
    problem(await cancel(http, waiting["id"]), 409, "SESSION_ENDED")
    await cancel(http, running["id"])
    await follow(http, running["id"])
    assert (await get(http, f"/api/chat/conversations/{into}"))["activeSessionId"] is None


async def test_what_is_no_mode_is_refused_and_a_full_line_says_so(
    client: Client, fake: Running, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("full")
    async with running_stack(client, fake.url, folder, max_waiting_per_conversation=1) as stack:
        into = await conversation(stack.http)
        body = {"content": script(slowly()), "conversationId": into, "onConflict": "enqueue"}
        names_field(await stack.http.post("/api/sessions", json={**body, "onConflict": "later"}), "onConflict")
        ids = [(await start(stack.http, **body))["id"] for _ in range(2)]
        full = await stack.http.post("/api/sessions", json=body)
        assert "conversation" in problem(full, 429, "QUEUE_FULL")["error"] and full.headers["retry-after"]
        for session_id in reversed(ids):
            await cancel(stack.http, session_id)
            await follow(stack.http, session_id)


async def test_the_next_one_runs_although_whoever_closed_the_one_before_did_not_begin_it(
    client: Client, fake: Running, tmp_path_factory: pytest.TempPathFactory, stack: Stack
) -> None:
    """As when the worker dies between the two: an API's reconciler begins it."""
    folder = tmp_path_factory.mktemp("left")
    async with running_stack(client, fake.url, folder, has_worker=False) as idle:
        into = await conversation(idle.http)
        one = await start(idle.http, script(says("x")), conversationId=into)
        two = await start(idle.http, script(says("y")), conversationId=into, onConflict="enqueue")
        await client.get_workflow_handle(one["id"]).terminate("by hand")
        await asyncio.wait_for(follow(idle.http, one["id"]), 60)
        async with asyncio.timeout(20):
            while (await session(idle.http, two["id"]))["status"] != "queued":
                await asyncio.sleep(0.05)
        assert (await session(idle.http, two["id"]))["deadline"] is not None
        await client.get_workflow_handle(two["id"]).terminate("by hand")
