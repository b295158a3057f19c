"""A reader of event streams that takes nothing for granted: every byte is accounted for (CONTRACT §3)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from session.events import AnyEvent

_FRAME = re.compile(rb"id: (?P<id>[0-9]+(?:\.[1-9][0-9]*)?)\ndata: (?P<data>[^\r\n]+)")
DELTAS = frozenset({"thinking:update", "content:delta", "tool:progress"})


@dataclass(frozen=True)
class Event:
    """One event as it came: its id, its published shape (checked), and its frame's bytes."""

    id: str
    type: str
    data: dict[str, Any]
    timestamp: int
    raw: bytes = b""

    @property
    def is_fact(self) -> bool:
        return "." not in self.id

    @property
    def place(self) -> tuple[int, int]:
        offset, _, n = self.id.partition(".")
        return int(offset), int(n or 0)


def event_of(event_id: str, told: dict[str, Any], raw: bytes = b"") -> Event:
    """An event whose shape is the published one."""
    assert set(told) == {"type", "data", "timestamp"}, told
    AnyEvent.validate_python({"type": told["type"], **told["data"]})
    assert (told["type"] in DELTAS) == ("." in event_id), (event_id, told["type"])
    return Event(event_id, told["type"], told["data"], told["timestamp"], raw)


@dataclass
class Stream:
    """An open stream. `events` are those read so far, `comments` the heartbeats, `retries` the `retry:` fields."""

    response: httpx.Response
    events: list[Event] = field(default_factory=list)
    comments: list[bytes] = field(default_factory=list)
    retries: list[bytes] = field(default_factory=list)
    raw: bytes = b""
    _frames: AsyncIterator[Event] | None = None

    async def next(self) -> Event:
        """The next event. Raises StopAsyncIteration when the stream has closed."""
        if self._frames is None:
            self._frames = self._read()
        return await anext(self._frames)

    async def until(self, wanted: str | Callable[[Event], bool]) -> Event:
        """Read up to the first event of this type, or that this is true of."""
        while True:
            event = await self.next()
            if event.type == wanted if isinstance(wanted, str) else wanted(event):
                return event

    async def rest(self) -> list[Event]:
        """Read until the server closes; all events of the stream."""
        try:
            while True:
                await self.next()
        except StopAsyncIteration:
            return self.events

    async def _read(self) -> AsyncIterator[Event]:
        pending = b""
        async for chunk in self.response.aiter_raw():
            self.raw += chunk
            pending += chunk
            *blocks, pending = pending.split(b"\n\n")
            for block in blocks:
                if (event := self._take(block)) is not None:
                    self.events.append(event)
                    yield event
        assert not pending, f"the stream ended inside a frame: {pending[-200:]!r}"

    def _take(self, block: bytes) -> Event | None:
        if block.startswith(b":"):
            self.comments.append(block)
            return None
        if block.startswith(b"retry:"):
            self.retries.append(block)
            return None
        found = _FRAME.fullmatch(block)
        assert found is not None, f"not a frame: {block[:200]!r}"
        return event_of(found["id"].decode(), json.loads(found["data"]), block)


@asynccontextmanager
async def opened(http: httpx.AsyncClient, method: str, path: str, **request: Any) -> AsyncIterator[Stream]:
    """A stream; leaving closes it from the client's side."""
    async with http.stream(method, path, **request) as response:
        if response.status_code != 200:
            await response.aread()
        assert response.status_code == 200, response.text
        yield Stream(response)


def types(events: Sequence[Event]) -> list[str]:
    return [event.type for event in events]


def facts(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.is_fact]


def only(events: Sequence[Event], kind: str) -> list[dict[str, Any]]:
    """The data of the events of one type."""
    return [event.data for event in events if event.type == kind]


def the(events: Sequence[Event], kind: str) -> dict[str, Any]:
    """The data of the one event of this type."""
    found = only(events, kind)
    assert len(found) == 1, (kind, types(events))
    return found[0]
