"""Memory of an attached reader that waits: a session sleeps in a tool, readers attach, the service's memory grows."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from bench import scripts
from bench.figures import Figure, figure
from bench.processes import resident_bytes
from bench.stand import Stand, session
from bench.wire import ask, sent

READERS = 200
FIRST_READERS = 20
"""Attached before the first look: what the first reader of a process makes is not a reader's share."""
SETTLE_SECONDS = 1.0


async def measure(stand: Stand) -> list[Figure]:
    content = scripts.message({"text": "Wait.", "tools": [{"name": "exec", "input": {"command": "sleep 100"}}]})
    async with session(stand.service.url, content) as first, AsyncExitStack() as readers:
        started = await first.until("session:start")
        await first.until("tool:call")
        session_id = started.event["data"]["sessionId"]
        await _attach(stand, session_id, readers, FIRST_READERS)
        before = resident_bytes(stand.service.pid)
        await _attach(stand, session_id, readers, READERS)
        grown = resident_bytes(stand.service.pid) - before
        await ask(stand.service.url, "POST", f"/api/sessions/{session_id}/cancel", {})
        await first.whole()
    return [figure("memory", f"per idle attached reader ({READERS} of them)", "KiB", [grown / READERS / 1024])]


async def _attach(stand: Stand, session_id: str, readers: AsyncExitStack, count: int) -> None:
    path = f"/api/sessions/{session_id}/events"
    attached = [await readers.enter_async_context(sent(stand.service.url, "GET", path)) for _ in range(count)]
    for stream in attached:
        await stream.until("tool:call")
    await asyncio.sleep(SETTLE_SECONDS)
