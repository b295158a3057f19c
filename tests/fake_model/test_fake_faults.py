"""Faults as the real SDK meets them, and clients that leave."""

import asyncio
import json
import time
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic

from fake_model.serve import Running

TOOLS: list[Any] = [{"name": "grep", "description": "", "input_schema": {"type": "object"}}]


def asked(turn: dict[str, Any]) -> dict[str, Any]:
    content = f"```script\n{json.dumps({'turns': [turn]})}\n```"
    return {
        "model": "claude-sonnet-4-6",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": content}],
        "metadata": {"user_id": "s"},
        "tools": TOOLS,
    }


async def streamed(client: AsyncAnthropic, turn: dict[str, Any]) -> list[Any]:
    async with await client.messages.create(**asked(turn), stream=True) as stream:
        return [event async for event in stream]


async def drain(stream: Any, seen: list[Any]) -> None:
    async for event in stream:
        seen.append(event)  # noqa: PERF401 - what came before the failure counts


def failing(fault: dict[str, Any]) -> dict[str, Any]:
    return {"text": "one two three four", "chunk_chars": 4, "tools": [{"name": "grep"}], "faults": [fault]}


def texts(events: list[Any]) -> str:
    return "".join(
        event.delta.text for event in events if getattr(event, "delta", None) and hasattr(event.delta, "text")
    )


@pytest.mark.parametrize(
    ("code", "expected", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.APIStatusError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.OverloadedError, "overloaded_error"),
    ],
)
async def test_a_status_fault_is_the_sdk_error_of_its_code_and_is_met_once(
    fake: Running, client: AsyncAnthropic, code: int, expected: type[anthropic.APIStatusError], kind: str
) -> None:
    turn = failing({"kind": "status", "code": code, "retry_after": 1.5})
    with pytest.raises(expected) as caught:
        await streamed(client, turn)
    assert caught.value.status_code == code
    assert caught.value.type == kind
    assert caught.value.response.headers["retry-after"] == "1.5"
    assert caught.value.request_id
    assert (await streamed(client, turn))[-1].type == "message_stop"
    assert [(record.outcome, record.status, record.nth) for record in fake.requests] == [
        ("error", code, 1),
        ("completed", 200, 2),
    ]
    assert fake.requests[0].usage.as_usage() == dict.fromkeys(fake.requests[0].usage.as_usage(), 0)
    assert fake.bought() == {"s": {0: 1}}


async def test_an_error_event_breaks_a_stream_that_began_well(fake: Running, client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await streamed(client, failing({"kind": "error_event", "after_deltas": 1}))
    assert caught.value.status_code == 200
    assert caught.value.type == "overloaded_error"
    assert fake.requests[0].outcome == "error"
    assert fake.requests[0].usage.output_tokens == 1


async def test_a_cut_breaks_the_connection_and_bills_what_was_sent(fake: Running, client: AsyncAnthropic) -> None:
    seen: list[Any] = []
    async with await client.messages.create(
        **asked(failing({"kind": "cut", "after_deltas": 3})), stream=True
    ) as stream:
        with pytest.raises(httpx2.RemoteProtocolError):
            await drain(stream, seen)
    assert texts(seen) == "one two thre"
    record = fake.requests[0]
    assert record.outcome == "cut"
    assert record.usage.output_tokens == 3
    assert record.usage.input_tokens > 0
    assert fake.bought() == {}


async def test_a_clean_cut_ends_in_silence_without_message_stop(fake: Running, client: AsyncAnthropic) -> None:
    events = await streamed(client, failing({"kind": "clean_cut", "after_deltas": 0}))
    assert [event.type for event in events] == ["message_start"]
    assert fake.requests[0].outcome == "cut"


async def test_a_cut_after_the_last_delta_leaves_its_block_open(client: AsyncAnthropic) -> None:
    events = await streamed(client, failing({"kind": "clean_cut", "after_deltas": 999}))
    assert events[-1].type == "content_block_delta"
    assert texts(events) == "one two three four"


async def test_bad_tool_json_ends_well_with_half_an_input(fake: Running, client: AsyncAnthropic) -> None:
    turn = {**failing({"kind": "bad_tool_json"}), "tools": [{"name": "grep", "input": {"pattern": "abc"}}]}
    events = await streamed(client, turn)
    sent = "".join(
        event.delta.partial_json for event in events if hasattr(getattr(event, "delta", None), "partial_json")
    )
    assert events[-1].type == "message_stop"
    with pytest.raises(json.JSONDecodeError):
        json.loads(sent)
    assert fake.requests[0].outcome == "cut"
    assert fake.bought() == {}


async def test_a_stall_is_silent_and_then_the_connection_closes(fake: Running, client: AsyncAnthropic) -> None:
    turn = failing({"kind": "stall", "after_deltas": 1, "seconds": 0.2})
    begun = time.perf_counter()
    with pytest.raises(httpx2.RemoteProtocolError):
        await streamed(client, turn)
    assert time.perf_counter() - begun >= 0.2
    assert fake.requests[0].outcome == "stalled"


async def test_a_lost_end_breaks_the_connection_after_the_whole_reply_which_counts(
    fake: Running, client: AsyncAnthropic
) -> None:
    seen: list[Any] = []
    async with await client.messages.create(**asked(failing({"kind": "lost_end"})), stream=True) as stream:
        with pytest.raises(httpx2.RemoteProtocolError):
            await drain(stream, seen)
    assert seen[-1].type == "message_stop" and texts(seen) == "one two three four"
    assert fake.bought() == {"s": {0: 1}}


@pytest.mark.parametrize("kind", ["cut", "clean_cut"])
async def test_a_cut_reply_without_streaming_is_no_message(fake: Running, client: AsyncAnthropic, kind: str) -> None:
    with pytest.raises((anthropic.APIError, httpx2.HTTPError, ValueError)):
        await client.messages.create(**asked(failing({"kind": kind})))
    assert fake.requests[0].outcome == "cut"


@pytest.mark.parametrize(
    "turn",
    [
        {"text_tokens": 50, "token_ms": 5_000},
        {"text": "slow to begin", "first_token_ms": 60_000},
        {"text": "one two", "chunk_chars": 4, "faults": [{"kind": "stall", "after_deltas": 1, "seconds": 60}]},
    ],
)
async def test_a_client_that_leaves_is_noticed_at_once(
    fake: Running, client: AsyncAnthropic, turn: dict[str, Any]
) -> None:
    async with await client.messages.create(**asked(turn), stream=True) as stream:
        await anext(aiter(stream))
    left = time.time()
    async with asyncio.timeout(5):
        while fake.requests[0].outcome is None:
            await asyncio.sleep(0)
    record = fake.requests[0]
    assert record.outcome == "aborted"
    assert record.closed_at is not None
    assert record.closed_at - left < 0.05
    assert 1 <= record.usage.output_tokens < 50


async def test_many_slow_streams_keep_their_schedule(fake: Running, client: AsyncAnthropic) -> None:
    turn = {"text_tokens": 40, "token_ms": 10}
    begun = time.perf_counter()
    await asyncio.gather(*(streamed(client, turn) for _ in range(10)))
    assert time.perf_counter() - begun < 3
    assert {record.outcome for record in fake.requests} == {"completed"}
