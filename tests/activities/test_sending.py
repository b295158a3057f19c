"""Sending: what the provider says of its limits is heard once, when an answer begins."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from anthropic import APIStatusError, AsyncAnthropic

from activities.limiter import Limiter
from activities.reply import ReplyBuilder
from activities.sending import Sending

MODEL = "claude-sonnet-5-5"
HEADERS = {
    "content-type": "text/event-stream",
    "anthropic-ratelimit-requests-limit": "60",
    "anthropic-ratelimit-requests-remaining": "0",
}
BROKEN = b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}\n\n'


async def test_a_stream_that_breaks_late_does_not_tell_its_old_limits_again() -> None:
    now = 1_790_000_000.0

    async def breaks_later() -> AsyncIterator[bytes]:
        nonlocal now
        now += 50
        yield BROKEN

    answer = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=HEADERS, content=breaks_later()))
    limiter = Limiter(lambda: now)
    async with httpx2.AsyncClient(transport=answer) as http:
        client = AsyncAnthropic(api_key="a key", max_retries=0, http_client=http)
        request = {"model": MODEL, "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
        with pytest.raises(APIStatusError, match="busy"):
            await Sending(client, limiter).reply(request, int(now + 180) * 1000, ReplyBuilder(), lambda _: None)
    async with limiter.turn(MODEL, now):
        pass  # fifty seconds have brought fifty requests: it is there at once
