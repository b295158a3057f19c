"""The provider's client: one per worker, without retries of its own, since Temporal retries (DESIGN §3.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from anthropic import AsyncAnthropic
from pydantic import SecretStr

from activities.transport import WatchedClient

Provider = AsyncAnthropic
"""What a model call talks to; other rooms name it so, since only this one imports the provider's SDK."""

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0
"""The provider sends pings while the model thinks; a stream that is silent for so long is taken for dead."""


@asynccontextmanager
async def provider_client(
    api_key: SecretStr | None, base_url: str | None, silence_seconds: float = SILENCE_SECONDS
) -> AsyncIterator[Provider]:
    """A client that is closed at the end. Without a key every call ends as PROVIDER_ERROR and says what to set."""
    timeout = httpx2.Timeout(silence_seconds, connect=CONNECT_SECONDS)
    # aiohttp's parser takes half the CPU of the default's for a fragment. Its 0 is "as many as there are"; its own
    # default of 100 would let model calls wait for each other.
    limits = httpx2.Limits(max_connections=0)
    client = AsyncAnthropic(
        # Empty rather than None: the SDK would look for credentials in the environment and at home by itself.
        api_key=api_key.get_secret_value() if api_key else "",
        base_url=base_url,
        max_retries=0,
        http_client=WatchedClient(silence_seconds, timeout=timeout, limits=limits),
        timeout=timeout,
    )
    try:
        yield client
    finally:
        await client.close()
