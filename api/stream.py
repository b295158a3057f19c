"""The SSE response of a session's events (CONTRACT §3): frames, heartbeats, and a clean end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

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
            send_timeout=SEND_TIMEOUT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            return


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
