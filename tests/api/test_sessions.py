"""A session as a resource: its status, its progress, lists and the transcript (CONTRACT §1, §2)."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.asking import Json, cancel, follow, following, get, names_field, play, problem, session, start
from tests.support.events import the
from tests.support.stack import Stack, running_stack
from tests.support.turns import calls, completes, says, script, slowly

SLEEP = ("exec", {"command": "sleep 20"})


async def test_a_session_goes_from_created_over_queued_and_running_to_completed(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("no-worker")
    async with running_stack(stack.client, "http://127.0.0.1:9", folder, has_worker=False) as idle:
        waiting = await start(idle.http, "Nobody is there.")
        assert (await session(idle.http, waiting["id"]))["status"] == "queued"
        assert waiting["startedAt"] is None and waiting["queuedAt"] >= waiting["createdAt"]
        assert (await session(idle.http, waiting["id"]))["progress"] is None
    running = await start(stack.http, script(slowly()))
    async with following(stack.http, running["id"]) as stream:
        await stream.until("content:delta")
    told = await session(stack.http, running["id"])
    assert told["status"] == "running" and told["startedAt"] >= told["queuedAt"]
    assert told["endedAt"] is None and told["stopReason"] is None
    await cancel(stack.http, running["id"])
    await follow(stack.http, running["id"])
    ended = await session(stack.http, running["id"])
    assert (ended["status"], ended["stopReason"], ended["progress"]) == ("cancelled", "cancelled", None)
    done = await session(stack.http, the(await play(stack.http, script(says("Yes."))), "session:start")["sessionId"])
    assert (done["status"], done["stopReason"], done["summary"]) == ("completed", "endTurn", "Yes.")
    order = [done[name] for name in ("createdAt", "queuedAt", "startedAt", "endedAt")]
    assert order == sorted(order) and all(moment.endswith("Z") for moment in order)


async def test_progress_tells_the_phase_step_attempt_and_the_tools_that_run(http: httpx.AsyncClient) -> None:
    running = await start(http, script(calls(SLEEP), says("Done.")), timeoutSeconds=60)
    async with following(http, running["id"]) as stream:
        await stream.until("tool:call")
    progress = await _progress(http, running["id"], "runningTools")
    assert set(progress) == {"phase", "step", "attempt", "pendingTools", "usage", "deadline"}
    assert (progress["step"], progress["attempt"], progress["pendingTools"]) == (1, 1, ["exec"])
    assert progress["usage"]["totalTokens"] > 0
    assert progress["deadline"] == running["deadline"]
    lasts = datetime.fromisoformat(running["deadline"]) - datetime.fromisoformat(running["createdAt"])
    assert lasts.total_seconds() == 60
    await cancel(http, running["id"])


async def test_progress_tells_that_the_model_is_being_called(http: httpx.AsyncClient) -> None:
    running = await start(http, script(slowly()))
    async with following(http, running["id"]) as stream:
        await stream.until("content:delta")
    progress = await _progress(http, running["id"], "callingModel")
    assert (progress["step"], progress["pendingTools"]) == (1, [])
    await cancel(http, running["id"])


async def _progress(http: httpx.AsyncClient, session_id: str, phase: str) -> Json:
    """The session's progress as soon as it is in this phase."""
    async with asyncio.timeout(5):
        while True:
            told: Any = (await session(http, session_id))["progress"]
            if told is not None and told["phase"] == phase:
                return dict(told)
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def listed(stack: Stack) -> list[Json]:
    """Five sessions, oldest first: two of one conversation, one of another model, one cancelled."""
    first = await start(stack.http, script(says("One."), task="Alpha 100% sure_thing"))
    await follow(stack.http, first["id"])
    second = await start(stack.http, script(says("Two.")), conversationId=first["conversationId"])
    await follow(stack.http, second["id"])
    other = await start(stack.http, script(says("Three.")), model="claude-opus-5-5")
    await follow(stack.http, other["id"])
    stopped = await start(stack.http, script(slowly()))
    await cancel(stack.http, stopped["id"])
    await follow(stack.http, stopped["id"])
    last = await start(stack.http, script(says("Five."), task="Beta"))
    await follow(stack.http, last["id"])
    return [await session(stack.http, one["id"]) for one in (first, second, other, stopped, last)]


async def found(http: httpx.AsyncClient, **filters: Any) -> list[str]:
    return [one["id"] for one in (await get(http, "/api/sessions", **filters))["sessions"]]


async def test_lists_are_newest_first_and_page_without_gaps_or_repeats(
    http: httpx.AsyncClient, listed: list[Json]
) -> None:
    newest = [one["id"] for one in reversed(listed)]
    assert await found(http, limit=5) == newest
    pages: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        start_at: Json = {"cursor": cursor} if cursor else {}
        answer = await get(http, "/api/sessions", headers=None, limit=2, **start_at)
        assert set(answer) == {"sessions", "nextCursor"}
        pages += [one["id"] for one in answer["sessions"]]
        cursor = answer["nextCursor"]
    assert pages[:5] == newest and len(set(pages)) == 6
    shown = (await get(http, "/api/sessions", limit=1))["sessions"][0]
    assert shown == listed[-1]


async def test_lists_filter_by_status_conversation_model_time_and_words(
    http: httpx.AsyncClient, listed: list[Json]
) -> None:
    first, second, other, stopped, last = (one["id"] for one in listed)
    conversation_id = listed[0]["conversationId"]
    assert await found(http, conversationId=conversation_id) == [second, first]
    assert (await found(http, status="cancelled"))[0] == stopped
    assert (await found(http, status="completed,cancelled", limit=3)) == [last, stopped, other]
    assert (await found(http, model="claude-opus-5-5"))[0] == other
    since = listed[2]["createdAt"]
    assert await found(http, createdAfter=since) == [last, stopped]
    assert (await found(http, createdBefore=since))[0] == second
    assert await found(http, createdAfter=listed[0]["createdAt"], createdBefore=since) == [second]
    assert await found(http, q="alpha 100% SURE_thing") == [first]
    assert await found(http, q="alphaX100") == []
    assert await found(http, q="100%", conversationId=conversation_id) == [first]
    assert await found(http, conversationId="conv_none") == []


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "many"),
        ("limit", "9" * 30),
        ("status", "over"),
        ("status", "running,over"),
        ("createdAfter", "yesterday"),
        ("createdBefore", "2026-01-01T00:00:00"),
        ("q", "w" * 501),
    ],
)
async def test_filters_out_of_their_bounds_are_a_422(http: httpx.AsyncClient, name: str, bad: str) -> None:
    names_field(await http.get("/api/sessions", params={name: bad}), name)


async def test_times_at_the_edges_and_odd_text_are_no_failure(http: httpx.AsyncClient) -> None:
    for edge in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"):
        for name in ("createdAfter", "createdBefore"):
            assert (await http.get("/api/sessions", params={name: edge})).status_code == 200
    for odd in ("\x00", "%_\\", "'; drop table sessions"):
        for name in ("q", "model", "conversationId"):
            answer = await http.get("/api/sessions", params={name: odd})
            assert (answer.status_code, answer.json()["sessions"]) == (200, [])


@pytest.mark.parametrize("cursor", ["x", "AAAA", "é", "9" * 500])
async def test_a_cursor_that_was_not_given_out_is_a_400(http: httpx.AsyncClient, cursor: str) -> None:
    for path in ("/api/sessions", "/api/chat/conversations"):
        problem(await http.get(path, params={"cursor": cursor}), 400, "BAD_CURSOR")


async def test_the_transcript_is_the_blocks_that_the_model_saw_step_by_step(stack: Stack, fake: Any) -> None:
    content = script(calls(("exec", {"command": "echo hi"}), thinking="Let me see.", text="Look."), completes("Done."))
    events = await play(stack.http, content)
    session_id = the(events, "session:start")["sessionId"]
    told = await get(stack.http, f"/api/sessions/{session_id}/transcript")
    assert told["sessionId"] == session_id
    assert told["opening"] == [{"role": "user", "content": [{"type": "text", "text": content}]}]
    assert [step["step"] for step in told["steps"]] == [1, 2]
    asked, answered = told["steps"][0]["messages"]
    assert [block["type"] for block in asked["content"]] == ["thinking", "text", "tool_use"]
    assert asked["content"][0]["signature"]
    assert answered["content"][0]["tool_use_id"] == asked["content"][2]["id"]
    seen = [record.request["body"]["messages"] for record in fake.requests if record.session == session_id][-1]
    for message in seen:
        for block in message["content"]:
            block.pop("cache_control", None)
    assert [*told["opening"], asked, answered] == seen
