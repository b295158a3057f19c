"""What comes in from the Valkey bus: one connection for all sessions that somebody watches in this process.

A session that gets its first reader is subscribed, and when the server confirms it, its stream is read: what is there
already and what comes from then on meet in one order, since an entry's id says where it belongs. After the connection
was lost all of it is done again; what was heard before is not told twice. What cannot be read is skipped, counted and
spoken of once in the log: it must not silence the rest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, cast, get_args

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from session.live import Frame
from session.vocabulary import CancelMode
from store.bus import Deliver, Hint, Leave
from store.valkey_outgoing import CANCELS_KEPT_SECONDS
from store.valkey_watched import Told, Watched
from store.valkey_wire import Entry, Names, position_of

logger = logging.getLogger("perdure.bus")

PING_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 12.0
"""A connection that does not even answer pings for so long is given up."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
CATCH_UP_SECONDS: Final = 0.5
"""How long a reader waits at most for what a stream holds already."""
REMEMBERED_CANCELS: Final = 4096


class Incoming:
    """Subscriptions and cancel hints of one process."""

    def __init__(self, client: Redis, names: Names) -> None:
        self._client = client
        self._names = names
        self._watched: dict[str, Watched] = {}
        self._hints: dict[str, dict[int, Hint]] = {}
        self._cancels: OrderedDict[str, CancelMode] = OrderedDict()
        self._tickets = 0
        self._listening: asyncio.Task[None] | None = None
        self._pubsub: Any = None
        self._heard = 0.0
        self._connected = asyncio.Event()
        self._failing = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self.skipped = 0

    # -- this process's side -----------------------------------------------------------------------------------------

    def subscribe(self, session_id: str, deliver: Deliver) -> tuple[list[Frame], Leave]:
        watched = self._watched.get(session_id)
        if watched is None:
            watched = self._watched[session_id] = Watched()
            self._tell_server("subscribe", session_id)
        ticket = self._ticket()
        watched.readers[ticket] = deliver
        return watched.tail.kept(), lambda: self._leave(session_id, watched, ticket)

    def _leave(self, session_id: str, watched: Watched, ticket: int) -> None:
        watched.readers.pop(ticket, None)
        if not watched.readers and self._watched.get(session_id) is watched:
            del self._watched[session_id]
            self._tell_server("unsubscribe", session_id)

    async def caught_up(self, session_id: str) -> list[Frame]:
        """The kept deltas, once the session's stream was read here; soon without them while the server is away."""
        watched = self._watched.get(session_id)
        if watched is None:
            return []
        if not self._failing:
            with suppress(TimeoutError):
                async with asyncio.timeout(CATCH_UP_SECONDS):
                    await watched.read.wait()
        return watched.tail.kept()

    async def hears(self) -> None:
        """Return when what is said on the bus is heard here: at once where nobody listens, never while it is away."""
        if self._listening is not None:
            await self._connected.wait()

    def on_cancel(self, session_id: str, hint: Hint) -> Leave:
        self._listen()
        ticket = self._ticket()
        self._hints.setdefault(session_id, {})[ticket] = hint
        if (known := self._cancels.get(session_id)) is not None:
            hint(known)
        return lambda: self._unhint(session_id, ticket)

    def _unhint(self, session_id: str, ticket: int) -> None:
        hints = self._hints.get(session_id, {})
        hints.pop(ticket, None)
        if not hints:
            self._hints.pop(session_id, None)

    def hear_cancel(self, session_id: str, mode: CancelMode) -> None:
        """Somebody asked to cancel; told once here, and `now` is not weakened by a `graceful` after it."""
        known = self._cancels.get(session_id)
        if known in ("now", mode):
            return
        self._cancels[session_id] = mode
        self._cancels.move_to_end(session_id)
        if len(self._cancels) > REMEMBERED_CANCELS:
            self._cancels.popitem(last=False)
        for hint in list(self._hints.get(session_id, {}).values()):
            hint(mode)

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._watched.clear()

    def _ticket(self) -> int:
        self._tickets += 1
        return self._tickets

    # -- the server's side -------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self._listening is None:
            self._listening = asyncio.create_task(self._keep_listening())

    def _tell_server(self, what: str, session_id: str) -> None:
        """Change a subscription; while there is no connection, the next one is made with what is watched then."""
        self._listen()
        if self._pubsub is not None:
            self._spawn(self._change(self._pubsub, what, session_id))

    async def _change(self, pubsub: Any, what: str, session_id: str) -> None:
        watched = session_id in self._watched  # it may have changed again by now
        if watched == (what == "subscribe"):
            await getattr(pubsub, what)(self._names.live(session_id))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, work: Any) -> None:
        try:
            await work
        except ResponseError as error:  # the server is well, but not this key
            self._skip(error)
        except (RedisError, OSError, TimeoutError, RuntimeError):
            self._drop_connection()

    def _skip(self, error: Exception) -> None:
        self.skipped += 1
        if self.skipped == 1:
            logger.warning("the bus holds what cannot be read; it is skipped: %s", type(error).__name__)

    def _drop_connection(self) -> None:
        """What was asked for on it may be lost: begin anew."""
        pubsub, self._pubsub = self._pubsub, None
        self._connected.clear()
        if pubsub is not None:
            connection = pubsub.connection
            if connection is not None and connection._writer is not None:  # noqa: SLF001 (closing waits for the peer)
                connection._writer.transport.abort()  # noqa: SLF001

    async def _keep_listening(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                await self._listen_once()
            except (RedisError, OSError, TimeoutError, RuntimeError) as error:
                logger.debug("the bus is not heard: %s", type(error).__name__)
            except Exception:
                logger.exception("the bus is not heard")  # and is listened to again: silence for good would be worse
            self._failing = True
            pause = FIRST_PAUSE_SECONDS if time.monotonic() - began > SILENCE_SECONDS else pause
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    async def _listen_once(self) -> None:
        """Connect, subscribe to all that is watched, and take what comes until the connection is lost."""
        pubsub: Any = self._client.pubsub()
        try:
            for watched in self._watched.values():
                watched.begin_anew()
            await pubsub.subscribe(self._names.cancels, *map(self._names.live, self._watched))
            self._pubsub = pubsub
            for missed in set(self._watched) - {channel.rsplit(":", 1)[1] for channel in pubsub.channels}:
                await pubsub.subscribe(self._names.live(missed))
            self._heard = time.monotonic()
            self._failing = False
            self._connected.set()
            self._spawn(self._ping(pubsub))
            async for message in pubsub.listen():
                self._heard = time.monotonic()
                self._take(message)
        finally:
            self._pubsub = None
            self._connected.clear()
            await pubsub.aclose()

    async def _ping(self, pubsub: Any) -> None:
        while self._pubsub is pubsub:
            if time.monotonic() - self._heard > SILENCE_SECONDS:
                raise TimeoutError
            await pubsub.ping()
            await asyncio.sleep(PING_SECONDS)

    def _take(self, message: dict[str, Any]) -> None:
        kind, channel, data = message["type"], message["channel"], message["data"]
        if kind == "subscribe":
            if channel == self._names.cancels:
                self._spawn(self._read_cancels())
            else:
                self._spawn(self._read_stream(channel.rsplit(":", 1)[1]))
        elif kind == "message" and channel == self._names.cancels:
            self._hear_cancels([data])
        elif kind == "message" and (watched := self._watched.get(channel.rsplit(":", 1)[1])) is not None:
            entry_id, _, text = data.partition("\n")
            new = self._readable([(entry_id, text)])
            if watched.early is not None:
                watched.early += new
            else:
                self._tell(channel.rsplit(":", 1)[1], watched, new)

    def _readable(self, told: Iterable[tuple[str, str]]) -> list[Told]:
        entries = []
        for entry_id, text in told:
            try:
                entries.append((position_of(entry_id), Entry.parse(text)))
            except ValueError as error:
                self._skip(error)
        return entries

    async def _read_stream(self, session_id: str) -> None:
        """What the stream holds already, then what came while it was read."""
        found: Any = []
        try:
            found = await self._client.xrange(self._names.live(session_id))
        except ResponseError as error:
            self._skip(error)
        watched = self._watched.get(session_id)
        if watched is not None:
            there = self._readable((entry_id, fields.get("e", "")) for entry_id, fields in found)
            self._tell(session_id, watched, there + watched.take_early())

    def _tell(self, session_id: str, watched: Watched, entries: list[Told]) -> None:
        frames, over = watched.hear(entries)
        if over:
            self._watched.pop(session_id, None)
            self._tell_server("unsubscribe", session_id)
        watched.tell(frames, over)

    async def _read_cancels(self) -> None:
        since = time.time() - CANCELS_KEPT_SECONDS
        told: Any = await self._client.zrangebyscore(self._names.cancels, since, "+inf")
        self._hear_cancels(told)

    def _hear_cancels(self, told: list[str]) -> None:
        for one in told:
            session_id, _, mode = one.rpartition(" ")
            if session_id and mode in get_args(CancelMode):
                self.hear_cancel(session_id, cast(CancelMode, mode))
