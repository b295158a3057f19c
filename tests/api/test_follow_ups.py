"""`POST /api/sessions/:id/messages`: a user's word to a session that runs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fake_model.serve import Running
from tests.support.asking import cancel, follow, following, get, names_field, play, problem, session, start
from tests.support.events import Event, facts, only, opened, the, types
from tests.support.stack import Stack
from tests.support.turns import calls, completes, says, script, slowly

PATH = "/api/sessions/{}/messages"


async def say(http: httpx.AsyncClient, session_id: str, content: str, key: str | None = None) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await http.post(PATH.format(session_id), json={"content": content}, headers=headers)


async def talking(http: httpx.AsyncClient, *turns: dict[str, Any], **fields: Any) -> str:
    """A session that is in the middle of its first, slow reply."""
    running = await start(http, script(*turns), **fields)
    async with following(http, running["id"]) as stream:
        await stream.until("content:delta")
    return str(running["id"])


def asked(fake: Running, session_id: str) -> list[list[dict[str, Any]]]:
    """The messages of each request of a session."""
    return [record.request["body"]["messages"] for record in fake.requests if record.session == session_id]


async def test_what_is_said_during_a_step_is_in_the_request_of_the_next_one(stack: Stack, fake: Running) -> None:
    session_id = await talking(stack.http, {**slowly(0.5, 20), **calls(("exec", {"command": "echo hi"}))})
    answer = await say(stack.http, session_id, script(says("Heard."), task="Also this."))
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert set(told) == {"message", "session"} and told["session"]["id"] == session_id
    assert (told["message"]["role"], told["message"]["sessionId"]) == ("user", session_id)
    events = await follow(stack.http, session_id)
    first, second = asked(fake, session_id)
    assert len(first) == 1
    result, said = second[-1]["content"]
    assert (result["type"], said["type"]) == ("tool_result", "text") and said["text"] == told["message"]["content"]
    assert the(events, "summary")["summary"] == "Heard."
    order = types(facts(events))
    assert order[:4] == ["user_message", "session:start", "step:start", "user_message"]
    assert only(events, "user_message")[1] == {
        "id": told["message"]["id"],
        "content": told["message"]["content"],
        "compactionApplied": False,
        "messageCount": 2,
    }
    steps = (await get(stack.http, f"/api/sessions/{session_id}/transcript"))["steps"]
    assert steps[1]["messages"][0]["content"][0]["text"] == told["message"]["content"]


@pytest.mark.parametrize("last", [slowly(0.5, 20), {**slowly(0.5, 20), **completes("Done.")}])
async def test_the_session_goes_on_after_what_would_have_been_its_last_reply(
    stack: Stack, fake: Running, last: dict[str, Any]
) -> None:
    session_id = await talking(stack.http, last)
    assert (await say(stack.http, session_id, script(completes("Both."), task="And this?"))).status_code == 202
    events = await follow(stack.http, session_id)
    assert [step["step"] for step in only(events, "step:complete")] == [1, 2]
    assert the(events, "summary")["summary"] == "Both."
    ended = await session(stack.http, session_id)
    assert (ended["status"], ended["stopReason"]) == ("completed", "taskCompleted")
    whole = await get(stack.http, f"/api/chat/conversations/{ended['conversationId']}")
    assert [message["role"] for message in whole["messages"]] == ["user", "user", "assistant"]
    assert [message["role"] for message in asked(fake, session_id)[1]] == ["user", "assistant", "user"]


async def test_a_reader_that_comes_back_around_it_gets_every_fact_and_no_delta_twice(http: httpx.AsyncClient) -> None:
    running = await start(http, script(slowly(1.5, 60)))
    path = f"/api/sessions/{running['id']}/events"
    seen: list[Event] = []
    async with opened(http, "GET", path) as whole:
        async with opened(http, "GET", path) as first:
            await first.until("content:delta")
            assert (await say(http, running["id"], script(says("Heard.")))).status_code == 202
            seen += first.events
        async with opened(http, "GET", path, headers={"Last-Event-ID": seen[-1].id}) as second:
            await second.until("user_message")
            await second.until("content:delta")
            seen += second.events
        async with opened(http, "GET", path, headers={"Last-Event-ID": seen[-1].id}) as third:
            seen += await third.rest()
        await whole.rest()
    for events in (seen, whole.events):
        places = [event.place for event in events]
        assert places == sorted(set(places))
        deltas = "".join(event.data["delta"] for event in events if event.type == "content:delta")
        assert deltas == "".join(told["text"] for told in only(events, "content"))
    assert [event.raw for event in facts(seen)] == [event.raw for event in facts(whole.events)]


async def test_without_a_step_left_it_stays_for_the_next_session(stack: Stack, fake: Running) -> None:
    session_id = await talking(stack.http, slowly(0.5, 20), maxSteps=1)
    content = "Too late?"
    assert (await say(stack.http, session_id, content)).status_code == 202
    await follow(stack.http, session_id)
    ended = await session(stack.http, session_id)
    assert ended["stopReason"] == "maxSteps"
    events = await play(stack.http, script(says("Yes.")), conversationId=ended["conversationId"])
    ((opening),) = asked(fake, the(events, "session:start")["sessionId"])
    assert [message["role"] for message in opening] == ["user", "assistant", "user"]
    assert opening[0]["content"][1]["text"] == content


async def test_a_session_that_ends_takes_nothing_more(http: httpx.AsyncClient) -> None:
    session_id = await talking(http, slowly())
    await cancel(http, session_id, mode="graceful")
    told = problem(await say(http, session_id, "And this."), 409, "SESSION_ENDING")
    assert "cancelled" in told["error"] and "new session" in told["error"]
    await cancel(http, session_id)
    await follow(http, session_id)
    problem(await say(http, session_id, "And this."), 409, "SESSION_ENDED")
    problem(await say(http, "sess_none", "And this."), 404, "NOT_FOUND")


async def test_a_key_is_one_message_and_too_many_are_told_to_wait(http: httpx.AsyncClient) -> None:
    session_id = await talking(http, slowly())
    first = await say(http, session_id, "Once.", key="say-once")
    again = await say(http, session_id, "Once.", key="say-once")
    assert again.status_code == 202 and again.json()["message"] == first.json()["message"]
    problem(await say(http, session_id, "Twice.", key="say-once"), 422, "IDEMPOTENCY_KEY_REUSED")
    while (answer := await say(http, session_id, "More.")).status_code == 202:
        pass
    problem(answer, 429, "TOO_MANY_MESSAGES")
    assert int(answer.headers["retry-after"]) > 0
    await cancel(http, session_id)


async def test_a_body_that_is_not_as_it_should_be_is_a_422_that_names_the_field(http: httpx.AsyncClient) -> None:
    path = PATH.format("sess_none")
    for body in ({"content": ""}, {"content": "x" * 200_001}, {}, {"content": 1}):
        names_field(await http.post(path, json=body), "content")
    names_field(await http.post(path, json={"content": "x", "role": "user"}), "role")
    problem(await http.post(path, content=b"{", headers={"Content-Type": "application/json"}), 400, "MALFORMED_JSON")


async def test_a_call_that_waits_for_an_approval_waits_on(http: httpx.AsyncClient) -> None:
    running = await start(http, script(calls(("exec", {"command": "echo hi"}))), securityMode="ask")
    async with following(http, running["id"]) as stream:
        approval = await stream.until("approval:required")
        assert (await say(http, running["id"], script(says("Heard.")))).status_code == 202
        await stream.until("user_message")
        path = f"/api/sessions/{running['id']}/approvals/{approval.data['approvalId']}"
        assert (await http.post(path, json={"decision": "deny"})).json()["approval"]["status"] == "denied"
        await stream.rest()
    assert the(stream.events, "summary")["summary"] == "Heard."
