"""The events of a streamed reply, as the provider's API writes them: plain JSON objects.

The SDK sends the request, and splits the answer into server-sent events; its typed objects are left out. Each fragment
of text would become three of them, which takes twice as much CPU as everything else that is done with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx2
from anthropic import AnthropicError, APIStatusError, AsyncStream

from activities.provider_errors import Cut

AFTER_THE_REPLY_SECONDS = 0.5


async def events_of(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """The events in order, without pings and without what has no name: some gateways end with a bare `[DONE]`.

    Raises APIStatusError for an `error` event (its status is the answer's own, 200), Cut for what is no JSON object,
    and the HTTP client's errors when the connection is lost."""
    async for event in AsyncStream.raw_events(response):
        if event.event in (None, "ping") or not event.data:
            continue
        try:
            told = json.loads(event.data)
        except (ValueError, RecursionError) as error:
            raise Cut("an event of the stream is not whole JSON") from error
        if not isinstance(told, dict):
            raise Cut("an event of the stream is no JSON object")
        if event.event == "error":
            raise APIStatusError(str(told), response=response, body=told)
        yield told


async def read_out(events: AsyncIterator[dict[str, Any]]) -> None:
    """Read what follows a whole reply, so that its connection can be used again: not for long, and whatever becomes of
    it, since the reply does not depend on it any more."""
    with suppress(AnthropicError, httpx2.HTTPError, Cut, TimeoutError):
        async with asyncio.timeout(AFTER_THE_REPLY_SECONDS):
            async for _ in events:
                pass
