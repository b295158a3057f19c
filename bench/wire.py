"""The load client's HTTP: one connection per request, and event streams whose frames are stamped as they arrive.

No HTTP library stands between socket and clock: the client's own cost would be measured with the relay's.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

ANSWER_SECONDS = 200.0


class Refused(Exception):
    """The server answered with an error status; the message is its body."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as it arrived: Unix nanoseconds and the JSON text of its `data:` line."""

    at_ns: int
    data: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.data)
        return event

    def is_a(self, kind: str) -> bool:
        return self.data.startswith(b'{"type":"%b"' % kind.encode())


class Stream(asyncio.Protocol):
    """An answer on its way: `frames` of an event stream, or the `body` of another one."""

    def __init__(self, request: bytes) -> None:
        self.frames: list[Frame] = []
        self.body = b""
        self.begun_ns = 0
        self.ended_ns = 0
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._events = False
        self._news = asyncio.Event()

    @property
    def status(self) -> int:
        return int(self._parser.get_status_code())

    async def until(self, kind: str) -> Frame:
        """The first frame of a type. Raises Refused when the stream ends without one."""
        seen = 0
        while True:
            for frame in self.frames[seen:]:
                if frame.is_a(kind):
                    return frame
            seen = len(self.frames)
            if self.ended_ns:
                raise Refused(f"the stream ended without {kind}: {self.frames[-1:]} {self.body[:500]!r}")
            await self._wait()

    async def over(self) -> None:
        """Wait for the end of the answer, whatever it says."""
        while not self.ended_ns:
            await self._wait()

    async def whole(self) -> Stream:
        """Wait for the end of the answer. Raises Refused for an error status."""
        await self.over()
        if self.status >= 400:
            raise Refused(f"{self.status} {self.body[:500]!r}")
        return self

    async def _wait(self) -> None:
        self._news.clear()
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._news.wait()

    # -- asyncio.Protocol and httptools' callbacks ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.begun_ns = time.time_ns()
        cast(asyncio.Transport, transport).write(self._request)  # uvloop's own is not derived from it

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        self._news.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended_ns = self.ended_ns or time.time_ns()
        self._news.set()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._events = value.startswith(b"text/event-stream")

    def on_body(self, data: bytes) -> None:
        self.body += data
        if not self._events:
            return
        now = time.time_ns()
        *frames, self.body = self.body.split(b"\n\n")
        for frame in frames:
            _, found, text = frame.partition(b"data: ")
            if found:
                self.frames.append(Frame(now, text))

    def on_message_complete(self) -> None:
        self.ended_ns = time.time_ns()


@asynccontextmanager
async def sent(url: str, method: str, path: str, body: Any = None, *, key: str = "") -> AsyncIterator[Stream]:
    """Send a request on a connection of its own, which is closed at the end of the context. `key`: Idempotency-Key."""
    at = urlsplit(url)
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: close\r\n"
    if key:
        head += f"Idempotency-Key: {key}\r\n"
    if content:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    loop = asyncio.get_running_loop()
    transport, stream = await loop.create_connection(
        lambda: Stream(head.encode() + b"\r\n" + content), at.hostname or "", at.port or 80
    )
    try:
        yield stream
    finally:
        transport.close()


async def ask(url: str, method: str, path: str, body: Any = None) -> Any:
    """The answer's JSON; None for an empty one. Raises Refused."""
    async with sent(url, method, path, body) as stream:
        await stream.whole()
        return json.loads(stream.body) if stream.body else None
