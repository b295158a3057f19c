"""Feeds: one per session and process, fanned out to its readers (CONTRACT §3, DESIGN §3).

A reader first reads the facts it has not seen from the store, with the kept deltas in between; then it takes what the
bus delivers. The store is the truth: a reader that sees a gap reads it, and a feed that hears nothing for a while looks
there, so facts also come when the worker is in another process or the bus is gone. A reader that does not keep up is
dropped with a clean end and resumes from its last id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from heapq import merge

from session.live import Frame, Position
from store import Store, StoreUnavailable
from store.bus import Leave
from store.ledger import NotFound

PAGE = 500
READER_FRAMES = 20_000
READER_BYTES = 8 << 20
POLL_FIRST_SECONDS = 0.25
POLL_LONGEST_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class Reader:
    """One reader's mailbox, bounded: what a dropped reader has not taken is let go, it will ask the store for it."""

    frames: deque[Frame] = field(default_factory=deque)
    size: int = 0
    behind: bool = True
    """The store has facts that the mailbox may not: look there."""
    dropped: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, frames: list[Frame], over: bool) -> None:
        if self.dropped:
            return
        self.frames.extend(frames)
        self.size += sum(len(frame.text) for frame in frames)
        self.behind = self.behind or over
        if len(self.frames) > READER_FRAMES or self.size > READER_BYTES:
            self.drop()
        self.news.set()

    def drop(self) -> None:
        """End this reader's stream; it resumes from its last id."""
        self.dropped = True
        self.frames.clear()
        self.size = 0
        self.news.set()

    def is_dropped(self) -> bool:
        return self.dropped

    def stir(self) -> None:
        self.behind = True
        self.news.set()

    def take(self) -> list[Frame]:
        taken = list(self.frames)
        self.frames.clear()
        self.size = 0
        self.news.clear()
        return taken


class Feed:
    """One session's events for the readers of this process."""

    def __init__(self, store: Store, session_id: str, overdue: Callable[[str], Awaitable[None]]) -> None:
        self._store = store
        self._id = session_id
        self._overdue = overdue
        self._readers: set[Reader] = set()
        self._leave: Leave | None = None
        self._polling: asyncio.Task[None] | None = None
        self._seen = 0
        self._heard = 0.0

    @property
    def is_idle(self) -> bool:
        return not self._readers

    def join(self, reader: Reader) -> None:
        """Add a reader. What the bus keeps for late joiners is asked for with `kept`."""
        self._readers.add(reader)
        if self._leave is None:
            _, self._leave = self._store.bus.subscribe(self._id, self._hear)
            self._polling = asyncio.create_task(self._poll())

    async def kept(self) -> list[Frame]:
        """The deltas of the running step. A reader needs them before it first looks in the store: those that lie
        between two facts are not new to it any more once it has read the later one."""
        return await self._store.bus.caught_up(self._id)

    def part(self, reader: Reader) -> None:
        self._readers.discard(reader)
        if not self._readers:
            if self._leave is not None:
                self._leave()
            if self._polling is not None:
                self._polling.cancel()
            self._leave = self._polling = None

    def drop_readers(self) -> None:
        for reader in self._readers:
            reader.drop()

    def _hear(self, frames: list[Frame], over: bool) -> None:
        self._heard = asyncio.get_running_loop().time()
        if frames:
            self._seen = max(self._seen, frames[-1].at.offset)
        for reader in self._readers:
            reader.put(frames, over)

    async def _poll(self) -> None:
        """Look in the store when the bus is silent: soon after news that it did not bring, ever less often without, and
        at the deadline.

        What this process itself publishes (a cancel, say) is no sign that the worker's facts come by the bus too: one
        that is heard puts the look off, and no further than by `POLL_LONGEST_SECONDS`.
        """
        wait, deadline_ms = POLL_FIRST_SECONDS, 0
        clock, now = asyncio.get_running_loop().time, self._store.database.clock
        while True:
            due = (deadline_ms - now()) / 1000 + POLL_FIRST_SECONDS
            await asyncio.sleep(min(wait, due) if due > 0 else wait)
            if clock() - self._heard < POLL_FIRST_SECONDS:
                continue
            try:
                head = await self._store.facts.head(self._id)
            except (StoreUnavailable, NotFound):
                continue
            news, deadline_ms = head.last > self._seen, head.deadline_ms
            self._seen = head.last
            if news or head.over:
                for reader in self._readers:
                    reader.stir()
            elif now() > deadline_ms:
                await self._overdue(self._id)
            wait = POLL_FIRST_SECONDS if news or head.cancelled else min(POLL_LONGEST_SECONDS, wait * 2)


async def _nothing(session_id: str) -> None: ...


class Feeds:
    """All feeds of this process. `overdue` is told of a session that is read past its deadline."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._feeds: dict[str, Feed] = {}
        self.overdue: Callable[[str], Awaitable[None]] = _nothing
        self.readers = 0
        self._closed = False

    async def read(self, session_id: str, after: Position) -> AsyncIterator[list[Frame]]:
        """Everything after a position, in order, each once, until the session's last fact (or the reader is dropped).

        The caller has checked that the session exists and that `after` is not beyond its last fact.
        """
        feed = self._feeds.setdefault(session_id, Feed(self._store, session_id, self._tell_overdue))
        reader = Reader(dropped=self._closed)
        feed.join(reader)
        self.readers += 1
        try:
            async for batch in self._follow(session_id, reader, await feed.kept(), after):
                yield batch
        finally:
            self.readers -= 1
            feed.part(reader)
            if feed.is_idle and self._feeds.get(session_id) is feed:
                del self._feeds[session_id]

    def close(self) -> None:
        """End all streams cleanly, also those that come after, so that their clients reconnect elsewhere."""
        self._closed = True
        for feed in self._feeds.values():
            feed.drop_readers()

    async def _tell_overdue(self, session_id: str) -> None:
        await self.overdue(session_id)

    async def _follow(
        self, session_id: str, reader: Reader, kept: list[Frame], after: Position
    ) -> AsyncIterator[list[Frame]]:
        at, live = after, kept
        while True:
            if reader.is_dropped():
                return
            if reader.behind:
                reader.behind = False
                head = await self._store.facts.head(session_id)
                # A bus that was away at the end keeps deltas as if the step still ran.
                async for batch in self._catch_up(session_id, at, [] if head.over else live):
                    yield batch
                    at = batch[-1].at
                    if reader.is_dropped():
                        return
                live = []
                if head.over and at.offset >= head.last:
                    return
            ready, rest = _contiguous(at, reader.take())
            if ready:
                yield ready
                at = ready[-1].at
            if rest:
                live = [frame for frame in rest if frame.at.n]
                reader.behind = True
            elif not reader.behind and not reader.is_dropped():
                await reader.news.wait()

    async def _catch_up(self, session_id: str, at: Position, deltas: list[Frame]) -> AsyncIterator[list[Frame]]:
        """Facts from the store after `at`, with the deltas where they belong."""
        waiting = [frame for frame in deltas if frame.at > at]
        while True:
            page = await self._store.facts.after(session_id, at.offset, PAGE)
            upto = page[-1].at if page else at
            last_page = len(page) < PAGE
            due = [frame for frame in waiting if frame.at < upto or (last_page and frame.at.offset == upto.offset)]
            waiting = [frame for frame in waiting if frame.at > upto]
            batch = list(merge(page, due))
            if batch:
                yield batch
                at = batch[-1].at
            if last_page:
                return


def _contiguous(at: Position, frames: list[Frame]) -> tuple[list[Frame], list[Frame]]:
    """What is new and follows, and the rest from where a fact is missing on."""
    ready: list[Frame] = []
    for index, frame in enumerate(frames):
        if frame.at <= at:
            continue
        follows = frame.at.offset == at.offset if frame.at.n else frame.at.offset == at.offset + 1
        if not follows:
            return ready, frames[index:]
        ready.append(frame)
        at = frame.at
    return ready, []
