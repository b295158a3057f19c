"""What aiohttp, under the provider's client, does not see to by itself.

Three things were seen to go wrong, and each kept a session, or the provider's spending, for longer than it may last:

    a call that is left in the middle     over TLS, uvloop says goodbye and waits 30 s for an answer; the provider
                                          writes on meanwhile. Such a connection is aborted, before the answer's
                                          head as after it: it is of no more use.
    a stream that is broken               a chunk whose length is no number ends in aiohttp without waking the reader,
                                          and without its own time-out. Silence is watched here as well.
    a request that nobody reads           sending has no time-out. So the answer has to begin within a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx2
from aiohttp import ClientSession, TCPConnector
from anthropic import DefaultAioHttpClient

MORE: float = 1.1
"""The watch over silence comes a little later than aiohttp's own, which says better what it was."""


class WatchedClient(DefaultAioHttpClient):
    """The SDK's client over aiohttp; also where the environment names proxies.

    `silence_seconds`: how long nothing may come; an answer begins within twice that (sending, then waiting)."""

    def __init__(self, silence_seconds: float, **options: Any) -> None:
        self._silence_seconds = silence_seconds
        super().__init__(**options)

    def _init_transport(self, *given: Any, **options: Any) -> httpx2.AsyncBaseTransport:
        return _Watched(_aborting(super()._init_transport(*given, **options)), self._silence_seconds)

    def _init_proxy_transport(self, *given: Any, **options: Any) -> httpx2.AsyncBaseTransport:
        return _Watched(_aborting(super()._init_proxy_transport(*given, **options)), self._silence_seconds)


class _Connector(TCPConnector):
    """Connections that are not to be used again end at once."""

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        if should_close or protocol.should_close:
            protocol.abort()
        super()._release(key, protocol, should_close=should_close)


def _aborting(transport: Any) -> Any:
    """The SDK's transport over connections of ours; it makes its session with its first request."""
    limits = transport.limits

    def session() -> ClientSession:
        connector = _Connector(
            limit=limits.max_connections, keepalive_timeout=limits.keepalive_expiry, ssl=transport.ssl_context
        )
        return ClientSession(connector=connector)

    transport.client = session
    return transport


class _Watched(httpx2.AsyncBaseTransport):
    def __init__(self, inner: httpx2.AsyncBaseTransport, silence_seconds: float) -> None:
        self._inner = inner
        self._silence_seconds = silence_seconds

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            async with asyncio.timeout(2 * self._silence_seconds):
                response = await self._inner.handle_async_request(request)
        except TimeoutError as error:
            raise httpx2.WriteTimeout("the request was not read, or not answered", request=request) from error
        response.stream = _Body(cast(httpx2.AsyncByteStream, response.stream), MORE * self._silence_seconds)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Body(httpx2.AsyncByteStream):
    """The bytes of an answer. Whoever leaves before its end leaves no connection behind."""

    def __init__(self, inner: httpx2.AsyncByteStream, silence_seconds: float) -> None:
        self._inner = inner
        self._silence_seconds = silence_seconds
        self._loop = asyncio.get_running_loop()
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._whole = self._silent = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._heard_at = self._loop.time()
        self._look()
        try:
            async for piece in self._inner:
                self._heard_at = self._loop.time()
                yield piece
        except httpx2.HTTPError as error:
            if self._silent:
                raise httpx2.ReadTimeout("nothing came any more") from error
            raise
        self._whole = True

    async def aclose(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if not self._whole:
            self._abort()
        await self._inner.aclose()

    def _look(self) -> None:
        """One timer for the whole answer: setting one for each piece would take longer than reading it."""
        due = self._heard_at + self._silence_seconds
        if self._loop.time() < due:
            self._watch = self._loop.call_at(due, self._look)
            return
        self._silent = True
        self._abort()
        self._answer.close()  # wakes whoever reads

    def _abort(self) -> None:
        connection = self._answer.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    @property
    def _answer(self) -> Any:
        """aiohttp's own response. There is no public way to it."""
        return self._inner._aiohttp_response  # type: ignore[attr-defined]  # noqa: SLF001
