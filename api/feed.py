"""Feeds: one per session and process, fanned out to its readers (CONTRACT §3, DESIGN §3).

A reader first reads the facts it has not seen from the store, with the kept deltas in between; then it takes what the
bus delivers. The store is the truth: a reader that sees a gap reads it, and a feed that hears nothing for a while looks
there, so facts also come when the worker is in another process or the bus is gone. A reader that does not keep up is
dropped with a clean end and resumes from its last id.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from heapq import merge

from session.live import Frame, Position
from store import Store, StoreUnavailable
from store.bus import Leave
from store.facts import Head

PAGE = 500
READER_FRAMES = 20_000
READER_BYTES = 8 << 20
POLL_FIRST_SECONDS = 0.25
POLL_LONGEST_SECONDS = 1.0
LOOK_EVERY_SECONDS = 0.05
"""Those that are due within so long are asked about together."""

logger = logging.getLogger("perdure.api")


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

    def __init__(self, store: Store, session_id: str) -> None:
        self._store = store
        self._id = session_id
        self._readers: set[Reader] = set()
        self._leave: Leave | None = None
        self._seen = 0
        self._wait = POLL_FIRST_SECONDS
        self._deadline_ms = 0
        self.next_look = 0.0
        """In the store, on the loop's clock."""
        self.is_overdue = False
        """Whether the session is past its deadline and not over, as far as the store has told."""

    @property
    def is_idle(self) -> bool:
        return not self._readers

    def join(self, reader: Reader) -> None:
        """Add a reader. What the bus keeps for late joiners is asked for with `kept`."""
        self._readers.add(reader)
        if self._leave is None:
            _, self._leave = self._store.bus.subscribe(self._id, self._hear)
            self._put_off()

    async def kept(self) -> list[Frame]:
        """The deltas of the running step. A reader needs them before it first looks in the store: those that lie
        between two facts are not new to it any more once it has read the later one."""
        return await self._store.bus.caught_up(self._id)

    def part(self, reader: Reader) -> None:
        self._readers.discard(reader)
        if not self._readers and self._leave is not None:
            self._leave()
            self._leave = None

    def drop_readers(self) -> None:
        for reader in self._readers:
            reader.drop()

    def _hear(self, frames: list[Frame], over: bool) -> None:
        """What the bus brings puts the next look off.

        What this process itself publishes (a cancel, say) is no sign that the worker's facts come by the bus too, so
        it is put off no further than by `POLL_LONGEST_SECONDS`.
        """
        if frames:
            self._seen = max(self._seen, frames[-1].at.offset)
        self._put_off()
        for reader in self._readers:
            reader.put(frames, over)

    def tell(self, head: Head | None) -> None:
        """What the store has; None when that is not known now. Look again soon after news that the bus did not bring,
        ever less often without, and at the deadline."""
        if head is not None:
            is_news, self._deadline_ms = head.last > self._seen, head.deadline_ms
            self._seen = head.last
            if is_news or head.over:
                for reader in self._readers:
                    reader.stir()
            is_near = is_news or head.cancelled
            self._wait = POLL_FIRST_SECONDS if is_near else min(POLL_LONGEST_SECONDS, self._wait * 2)
            self.is_overdue = not is_news and not head.over and self._left_ms() < 0
        self._put_off()

    def _put_off(self) -> None:
        due = self._left_ms() / 1000 + POLL_FIRST_SECONDS
        self.next_look = asyncio.get_running_loop().time() + (min(self._wait, due) if due > 0 else self._wait)

    def _left_ms(self) -> int:
        return self._deadline_ms - self._store.database.clock()


async def _nothing(session_id: str) -> None: ...


async def _told(overdue: Callable[[str], Awaitable[None]], session_id: str) -> None:
    try:
        await overdue(session_id)
    except Exception:
        logger.exception("could not look after %s, which is past its deadline", session_id)


class Feeds:
    """All feeds of this process. `overdue` is told of a session that is read past its deadline."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._feeds: dict[str, Feed] = {}
        self.overdue: Callable[[str], Awaitable[None]] = _nothing
        self.readers = 0
        self._closed = False
        self._looking: asyncio.Task[None] | None = None
        self._telling: dict[str, asyncio.Task[None]] = {}

    async def read(self, session_id: str, after: Position) -> AsyncIterator[list[Frame]]:
        """Everything after a position, in order, each once, until the session's last fact (or the reader is dropped).

        The caller has checked that the session exists and that `after` is not beyond its last fact.
        """
        feed = self._feeds.setdefault(session_id, Feed(self._store, session_id))
        reader = Reader(dropped=self._closed)
        feed.join(reader)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        self.readers += 1
        try:
            async for batch in self._follow(session_id, reader, await feed.kept(), after):
                yield batch
        finally:
            self.readers -= 1
            feed.part(reader)
            if feed.is_idle and self._feeds.get(session_id) is feed:
                del self._feeds[session_id]
            if not self._feeds and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def close(self) -> None:
        """End all streams cleanly, also those that come after, so that their clients reconnect elsewhere."""
        self._closed = True
        for feed in self._feeds.values():
            feed.drop_readers()
        for telling in self._telling.values():
            telling.cancel()

    async def _look(self) -> None:
        """Look in the store for all sessions of which the bus is silent: one question for those that are due."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            due = {name: feed for name, feed in self._feeds.items() if feed.next_look <= now()}
            if not due:
                continue
            try:
                heads = await self._store.facts.heads(list(due))
            except StoreUnavailable:
                heads = {}
            except Exception:  # a feed that is never looked at again would stand still with its readers
                logger.exception("will look again")
                heads = {}
            for session_id, feed in due.items():
                feed.tell(heads.get(session_id))
                if feed.is_overdue:
                    self._tell_overdue(session_id)

    def _tell_overdue(self, session_id: str) -> None:
        """Beside the looks: whoever looks after it may wait for Temporal."""
        if session_id not in self._telling and not self._closed:
            telling = asyncio.create_task(_told(self.overdue, session_id))
            self._telling[session_id] = telling
            telling.add_done_callback(lambda _: self._telling.pop(session_id, None))

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
