"""Idempotency-Key and the one active session of a conversation (CONTRACT §2, G8)."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from fake_model.serve import Running
from tests.support.asking import AGENTIC, MESSAGES, cancel, conversation, follow, following, get, play, problem, start
from tests.support.events import opened, the
from tests.support.stack import Stack
from tests.support.turns import says, script, slowly

HELLO = {"content": script(says("Hello."))}


async def test_fifty_requests_with_one_key_are_one_session_and_all_are_told_of_it(stack: Stack, fake: Running) -> None:
    headers = {"Idempotency-Key": "fifty"}
    posts = [stack.http.post("/api/sessions", json=HELLO, headers=headers) for _ in range(50)]
    answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.headers["location"] for answer in answers}) == 1
    told = {answer.json()["session"]["id"] for answer in answers}
    assert len(told) == 1
    session_id = told.pop()
    await follow(stack.http, session_id)
    assert fake.bought()[session_id] == {0: 1}
    conversation_id = answers[0].json()["session"]["conversationId"]
    assert len((await get(stack.http, "/api/sessions", conversationId=conversation_id))["sessions"]) == 1


async def test_the_agentic_call_with_the_same_key_attaches_again_and_gets_the_whole_stream(
    http: httpx.AsyncClient,
) -> None:
    path = AGENTIC.format(await conversation(http))
    request = {"json": {"content": script(slowly(0.5, pieces=50))}, "headers": {"Idempotency-Key": "attach"}}
    async with opened(http, "POST", path, **request) as first:
        await first.until("content:delta")
    async with opened(http, "POST", path, **request) as again:
        while_running = await again.rest()
    async with opened(http, "POST", path, **request) as late:
        after_the_end = await late.rest()
    ids = {one.response.headers["x-session-id"] for one in (first, again, late)}
    assert len(ids) == 1
    assert [event.raw for event in while_running if event.is_fact] == [event.raw for event in after_the_end]
    assert after_the_end[0].id == "1" and after_the_end[-1].type == "message_saved"


async def test_concurrent_agentic_calls_with_one_key_all_stream_one_session(http: httpx.AsyncClient) -> None:
    path = AGENTIC.format(await conversation(http))

    async def stream() -> tuple[str, list[bytes]]:
        async with opened(http, "POST", path, json=HELLO, headers={"Idempotency-Key": "together"}) as opened_stream:
            events = await opened_stream.rest()
            return opened_stream.response.headers["x-session-id"], [one.raw for one in events if one.is_fact]

    told = await asyncio.gather(*(stream() for _ in range(10)))
    assert all(one == told[0] for one in told)


async def test_a_key_with_another_body_or_another_call_is_a_422(http: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "taken"}
    first = await http.post("/api/sessions", json=HELLO, headers=headers)
    assert first.status_code == 202
    other = {"content": script(says("Other."))}
    problem(await http.post("/api/sessions", json=other, headers=headers), 422, "IDEMPOTENCY_KEY_REUSED")
    more = HELLO | {"maxSteps": 5}
    problem(await http.post("/api/sessions", json=more, headers=headers), 422, "IDEMPOTENCY_KEY_REUSED")
    path = AGENTIC.format(first.json()["session"]["conversationId"])
    problem(await http.post(path, json=HELLO, headers=headers), 422, "IDEMPOTENCY_KEY_REUSED")
    assert (await http.post("/api/sessions", json=HELLO, headers=headers)).json()["session"]["id"] == first.json()[
        "session"
    ]["id"]


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "tab\there", "ümlaut"])
async def test_a_key_of_another_form_is_a_400(http: httpx.AsyncClient, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    path = AGENTIC.format(await conversation(http))
    for where in ("/api/sessions", path, path.removesuffix("/agentic"), "/api/sessions/sess_none/retry"):
        body = None if where.endswith("retry") else HELLO
        problem(await http.post(where, json=body, headers=headers), 400, "BAD_IDEMPOTENCY_KEY")


async def test_keys_may_have_255_visible_characters(http: httpx.AsyncClient) -> None:
    for key in ("!", "~" * 255):
        assert (await http.post("/api/sessions", json=HELLO, headers={"Idempotency-Key": key})).status_code == 202


async def test_a_conversation_has_one_active_session_and_a_second_is_told_which(http: httpx.AsyncClient) -> None:
    running = await start(http, script(slowly()))
    conversation_id = running["conversationId"]
    body = HELLO | {"conversationId": conversation_id}
    tries = [
        ("/api/sessions", body),
        (AGENTIC.format(conversation_id), HELLO),
        (MESSAGES.format(conversation_id), HELLO),
    ]
    for path, asked in tries:
        answer = await http.post(path, json=asked)
        assert problem(answer, 409, "SESSION_ACTIVE")["sessionId"] == running["id"]
    await cancel(http, running["id"])
    await follow(http, running["id"])
    assert (await http.post("/api/sessions", json=body)).status_code == 202
    messages = (await get(http, f"/api/chat/conversations/{conversation_id}"))["messages"]
    assert [message["role"] for message in messages][:2] == ["user", "assistant"], "a refused start leaves no message"


async def test_of_many_starts_at_once_in_a_conversation_one_wins(http: httpx.AsyncClient) -> None:
    body = {"content": script(slowly()), "conversationId": await conversation(http)}
    answers = await asyncio.gather(*(http.post("/api/sessions", json=body) for _ in range(12)))
    won = [answer.json()["session"]["id"] for answer in answers if answer.status_code == 202]
    assert len(won) == 1
    for answer in answers:
        if answer.status_code != 202:
            assert problem(answer, 409, "SESSION_ACTIVE")["sessionId"] == won[0]
    await cancel(http, won[0])


async def test_a_retry_starts_a_new_session_from_the_same_message_once_per_key(
    http: httpx.AsyncClient, fake: Running
) -> None:
    events = await play(http, script(says("First answer.")), metadata={"a": 1}, effort="low")
    original = the(events, "session:start")["sessionId"]
    retry = f"/api/sessions/{original}/retry"
    answer = await http.post(retry, headers={"Idempotency-Key": "again"})
    assert answer.status_code == 202
    told = answer.json()
    assert told["originalSessionId"] == original and told["session"]["id"] != original
    assert answer.headers["location"] == f"/api/sessions/{told['session']['id']}"
    again = await http.post(retry, headers={"Idempotency-Key": "again"})
    assert again.json()["session"]["id"] == told["session"]["id"]
    retold = await follow(http, told["session"]["id"])
    assert the(retold, "user_message")["id"] == the(events, "user_message")["id"]
    assert told["session"]["maxSteps"] == 5 and told["session"]["goal"] == the(events, "session:start")["goal"]
    asked = [record.request["body"]["messages"] for record in fake.requests if record.session == told["session"]["id"]]
    assert len(asked) == 1 and len(asked[0]) == 1, "the answer that is tried again is not part of the prompt"


async def test_only_a_session_that_is_over_can_be_retried(http: httpx.AsyncClient) -> None:
    running = await start(http, script(slowly()))
    refused = await http.post(f"/api/sessions/{running['id']}/retry")
    assert problem(refused, 409, "SESSION_ACTIVE")["sessionId"] == running["id"]
    await cancel(http, running["id"])
    async with following(http, running["id"]) as stream:
        await stream.rest()
    assert (await http.post(f"/api/sessions/{running['id']}/retry")).status_code == 202
