"""Buses as several processes have them, who listens there, and waiting until what was published has been heard."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from redis.exceptions import RedisError

from session.live import Frame, StoredFact
from store.bus import Bus
from store.valkey import ValkeyBus
from tests.support.valkey import Valkey


class Ear:
    """A reader of one process: what it knows after joining and listening, each id once."""

    def __init__(self, bus: Bus, session_id: str = "s") -> None:
        self.bus = bus
        self.heard: dict[str, str] = {}
        self.over = False
        kept, self.leave = bus.subscribe(session_id, self)
        self(kept, False)

    def __call__(self, frames: list[Frame], over: bool) -> None:
        for frame in frames:
            assert str(frame.at) not in self.heard, "nothing is told twice"
            self.heard[str(frame.at)] = frame.text
        self.over = self.over or over


def fact(offset: int, closes: str = "", attempt: int = 0, *, text: str = "") -> StoredFact:
    return StoredFact(offset, "kind", text or f"fact {offset}", closes, attempt)


@asynccontextmanager
async def buses(valkey: Valkey, count: int) -> AsyncIterator[list[ValkeyBus]]:
    """As many as that many processes would have."""
    made = [ValkeyBus(valkey.url) for _ in range(count)]
    try:
        yield made
    finally:
        await asyncio.gather(*(bus.close() for bus in made))


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def settle(publisher: Bus, *listeners: Bus) -> None:
    """Until all that `publisher` was given has been sent, and heard by itself and by `listeners`."""
    if not isinstance(publisher, ValkeyBus):
        return
    async with asyncio.timeout(10):
        await publisher._out.sent()
        for bus in (publisher, *listeners):
            assert isinstance(bus, ValkeyBus)
            await _heard(bus)


async def _heard(bus: ValkeyBus) -> None:
    """A word that is said now comes back after all that was said before, on the same connection."""
    incoming = bus._in
    incoming._listen()
    word = uuid.uuid4().hex
    while word not in incoming._cancels:
        with suppress(RedisError):  # of a server that was started again
            await bus._client.publish(incoming._names.cancels, f"{word} now")
        await asyncio.sleep(0.005)
    while incoming._tasks and any(watched.early is not None for watched in incoming._watched.values()):
        await asyncio.sleep(0.005)
