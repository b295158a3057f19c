"""The SSE response of a session's events (CONTRACT §3): frames, heartbeats, and a clean end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message, Receive, Scope, Send

from api.feed import Feeds
from session.live import Frame, Position
from store import StoreUnavailable

logger = logging.getLogger("perdure.api")
HEARTBEAT_SECONDS = 15
RETRY_MS = 1000
SEND_TIMEOUT_SECONDS = 60
"""A client that takes nothing for so long is gone or stuck: its stream is closed, and it may resume."""


class EventStream(EventSourceResponse):
    """One reader's stream. Closing it, by whichever side, changes nothing for the session."""

    media_type = "text/event-stream"

    def __init__(self, feeds: Feeds, session_id: str, after: Position, headers: dict[str, str] | None = None) -> None:
        super().__init__(
            _chunks(feeds, session_id, after),
            headers={"Cache-Control": "no-store", "X-Session-Id": session_id, **(headers or {})},
            ping=HEARTBEAT_SECONDS,
            sep="\n",
            ping_message_factory=lambda: ServerSentEvent(comment="heartbeat", sep="\n"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, and give a client up that takes nothing: it is looked at now and then, since a time-out around every
        frame would cost as much as sending it."""
        since = None

        async def timed(message: Message) -> None:
            nonlocal since
            since = loop.time()
            await send(message)
            since = None

        async def watch() -> None:
            while since is None or loop.time() - since < SEND_TIMEOUT_SECONDS:
                await asyncio.sleep(SEND_TIMEOUT_SECONDS / 4)
            logger.info("a stream ended: its client took nothing for %s s", SEND_TIMEOUT_SECONDS)

        loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(super().__call__(scope, receive, timed))
        watching = asyncio.ensure_future(watch())
        try:
            await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (serving, watching):
                task.cancel()
            await asyncio.wait({serving, watching})
        if not serving.cancelled():
            serving.result()


async def _chunks(feeds: Feeds, session_id: str, after: Position) -> AsyncIterator[bytes]:
    """The stream's bytes. Where the store goes away in the middle it ends cleanly, and the client comes back."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    try:
        async with aclosing(feeds.read(session_id, after)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                yield "".join(map(_frame, batch)).encode()
    except StoreUnavailable as error:
        logger.warning("a stream of %s ended early: %s", session_id, error)


def _frame(frame: Frame) -> str:
    return f"id: {frame.at}\ndata: {frame.text}\n\n"
