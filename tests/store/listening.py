"""Waiting until what was published on a bus has been heard."""

from __future__ import annotations

import asyncio
import uuid

from store.bus import Bus
from store.valkey import ValkeyBus


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
        await bus._client.publish(incoming._names.cancels, f"{word} now")
        await asyncio.sleep(0.005)
    while incoming._tasks and any(watched.early is not None for watched in incoming._watched.values()):
        await asyncio.sleep(0.005)
