"""The events of a streamed reply: in order, without what is none, and a broken one is a cut."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from anthropic import APIStatusError

from activities.provider_errors import Cut
from activities.streaming import events_of

REQUEST = httpx2.Request("POST", "http://model.test/v1/messages")
STOP = 'event: message_stop\ndata: {"type": "message_stop"}\n\n'


async def events(text: str) -> list[dict[str, Any]]:
    return [event async for event in events_of(httpx2.Response(200, text=text, request=REQUEST))]


async def test_pings_and_what_has_no_name_are_left_out() -> None:
    ping = 'event: ping\ndata: {"type": "ping"}\n\n'
    assert await events(f"{ping}: a comment\n\n{STOP}data: [DONE]\n\n") == [{"type": "message_stop"}]


@pytest.mark.parametrize("told", ['{"type": "mess', "[1]", "null", '"text"', "[" * 100_000])
async def test_an_event_that_is_no_json_object_is_a_cut(told: str) -> None:
    with pytest.raises(Cut):
        await events(f"event: message_start\ndata: {told}\n\n{STOP}")


async def test_an_error_event_is_the_providers_error_with_its_type() -> None:
    told = '{"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}'
    with pytest.raises(APIStatusError) as raised:
        await events(f"event: error\ndata: {told}\n\n")
    assert (raised.value.status_code, raised.value.type) == (200, "overloaded_error")
