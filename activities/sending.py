"""Sending a request to the model: in its turn by the provider's rate limits, its reply put together as it comes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from anthropic import APIStatusError, AsyncAnthropic
from temporalio import activity

from activities.limiter import Limiter, Turn
from activities.reply import Fragment, ReplyBuilder
from activities.streaming import events_of, read_out

NOTABLE_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Sending:
    """The way to the provider of one worker."""

    client: AsyncAnthropic
    limiter: Limiter

    async def reply(
        self, request: dict[str, Any], deadline_ms: int, builder: ReplyBuilder, tell: Callable[[Fragment], None]
    ) -> None:
        """Feed the reply to a request to `builder`, and its fragments to `tell`. Raises what the provider's client
        raises, Cut, NoTurn."""
        send = self.client.messages.with_streaming_response.create
        turn_of = self._turn(request["model"], deadline_ms, builder)
        async with turn_of as turn, send(**request, stream=True) as answer:
            builder.request_id = answer.headers.get("request-id")
            turn.hear(answer.headers)
            events = events_of(answer.http_response)
            async for event in events:
                fragment = builder.feed(event)
                if fragment is not None:
                    tell(fragment)
                if builder.whole:
                    break
            await read_out(events)

    @asynccontextmanager
    async def _turn(self, model: str, deadline_ms: int, builder: ReplyBuilder) -> AsyncIterator[Turn]:
        """The call's turn by the provider's rate limits. Raises NoTurn."""
        began = time.monotonic()
        async with self.limiter.turn(model, deadline_ms / 1000) as turn:
            if (waited := time.monotonic() - began) >= NOTABLE_WAIT_SECONDS:
                activity.logger.info("waited %.1f s for the provider's rate limit", waited)
            try:
                yield turn
            except APIStatusError as error:
                if not error.response.is_success:  # what came with a stream that broke later was heard when it began
                    turn.hear(error.response.headers)
                raise
            finally:
                turn.usage = builder.usage
