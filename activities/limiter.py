"""The limiter: model calls of a worker start one after the other where the provider's rate limits leave no more.

One for each provider's key, so one per worker; limits are the model's. Whoever waits stands in line, first come first
served, within the session's time, and leaves the line when it is cancelled. What is decided stands in pacing.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from activities.pacing import Pace
from session.prices import undated
from session.usage import Usage

Clock = Callable[[], float]


class NoTurn(Exception):
    """The rate limit leaves the call no turn before the session's limit; nothing was sent."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the next turn is in {seconds:.0f} s")
        self.seconds = seconds


@dataclass(slots=True)
class _Lane:
    """The line of one model. Whoever holds `head` is the next to start."""

    pace: Pace = field(default_factory=Pace)
    head: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Turn:
    """The turn of a call that starts: tell it what it hears and what it took."""

    def __init__(self, lane: _Lane, clock: Clock) -> None:
        self._lane = lane
        self._clock = clock
        self.usage = Usage()

    def hear(self, headers: Mapping[str, str]) -> None:
        self._lane.pace.hear(headers, self._clock())
        self._lane.news.set()


class Limiter:
    """`clock`: Unix seconds. One that is not `on` lets every call start at once."""

    def __init__(self, clock: Clock = time.time, *, on: bool = True) -> None:
        self._on = on
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}

    @asynccontextmanager
    async def turn(self, model: str, deadline: float) -> AsyncIterator[Turn]:
        """A turn for one call, when it has come. Raises NoTurn where that would be after `deadline` (Unix seconds)."""
        lane = self._lanes.setdefault(undated(model), _Lane()) if self._on else _Lane()
        lane.waiting += 1
        try:
            self._check(lane, deadline, lane.waiting - 1)
            async with lane.head:
                await self._until_due(lane, deadline)
                lane.pace.start(self._clock())
        finally:
            lane.waiting -= 1
        turn = Turn(lane, self._clock)
        try:
            yield turn
        finally:
            lane.pace.end(turn.usage)
            lane.news.set()

    async def _until_due(self, lane: _Lane, deadline: float) -> None:
        while (wait := self._check(lane, deadline)) > 0:
            lane.news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await lane.news.wait()

    def _check(self, lane: _Lane, deadline: float, ahead: int = 0) -> float:
        now = self._clock()
        wait = lane.pace.wait(now, ahead)
        if now + wait > deadline:
            raise NoTurn(wait)
        return wait
