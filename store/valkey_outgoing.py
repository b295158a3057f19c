"""What goes out to the Valkey bus: put at once, sent by one task, many at a time while the one before is on its way.

Nothing waits for the network. While the server is away, facts wait (bounded; readers find them in the store anyway) and
deltas are dropped. A batch whose fate is unknown is sent again without its deltas: the server leaves out facts that it
knows, but would give a delta a second id. What the server refuses of one session is dropped and does not hold up the
others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import groupby
from sys import getsizeof
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError

from session.vocabulary import CancelMode
from store.valkey_script import append_arguments, append_script
from store.valkey_wire import Entry, Names

logger = logging.getLogger("perdure.bus")

MOST_WAITING: Final = 20_000
MOST_WAITING_BYTES: Final = 16 << 20
"""Entries that may wait, and the memory of their texts."""
BATCH: Final = 500
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
CANCELS_KEPT_SECONDS: Final = 15 * 60


class _Waiting:
    """Entries that wait, with their sessions, bounded: the oldest are dropped."""

    def __init__(self) -> None:
        self._entries: deque[tuple[str, Entry]] = deque()
        self.size = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, session_id: str, entry: Entry) -> None:
        self._entries.append((session_id, entry))
        self.size += getsizeof(entry.frame)
        self._bound()

    def take(self, most: int) -> list[tuple[str, Entry]]:
        taken = [self._entries.popleft() for _ in range(min(most, len(self._entries)))]
        self.size -= sum(getsizeof(entry.frame) for _, entry in taken)
        return taken

    def put_back(self, taken: list[tuple[str, Entry]]) -> None:
        """In front of all others, in their order."""
        self._entries.extendleft(reversed(taken))
        self.size += sum(getsizeof(entry.frame) for _, entry in taken)
        self._bound()

    def drop_deltas(self) -> None:
        waiting = self.take(len(self._entries))
        facts = [one for one in waiting if one[1].kind == "f"]
        self.dropped += len(waiting) - len(facts)
        self.put_back(facts)

    def _bound(self) -> None:
        while len(self._entries) > MOST_WAITING or (self.size > MOST_WAITING_BYTES and len(self._entries) > 1):
            self.take(1)
            self.dropped += 1


class Outgoing:
    """A bounded queue and the task that empties it."""

    def __init__(self, client: Redis, names: Names) -> None:
        self._client = client
        self._names = names
        self._waiting = _Waiting()
        self._hints: deque[tuple[str, CancelMode, float]] = deque(maxlen=1000)
        self._sending: asyncio.Task[None] | None = None
        self._script = ""
        self._refused = 0

    @property
    def dropped(self) -> int:
        """Entries that were not told, and will not be."""
        return self._waiting.dropped

    def put(self, session_id: str, entry: Entry) -> None:
        self._waiting.put(session_id, entry)
        self._send()

    def hint(self, session_id: str, mode: CancelMode, now: float) -> None:
        self._hints.append((session_id, mode, now))
        self._send()

    async def sent(self) -> None:
        """Wait until nothing waits any more."""
        while self._sending is not None:
            await asyncio.wait({self._sending})

    async def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait({self._sending})

    def _send(self) -> None:
        if self._sending is None:
            self._sending = asyncio.create_task(self._run())
            self._sending.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._sending = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the bus could not be told", exc_info=error)

    async def _run(self) -> None:
        pause = 0.0
        while self._waiting or self._hints:
            hints = [self._hints.popleft() for _ in range(len(self._hints))]
            batch = self._waiting.take(BATCH)
            try:
                undone = await self._deliver(hints, batch)
                pause = min(LONGEST_PAUSE_SECONDS, pause * 2 or FIRST_PAUSE_SECONDS) if undone else 0.0
                self._waiting.put_back(undone)
            except (RedisError, OSError, TimeoutError) as error:
                if not pause:
                    logger.warning("the bus is away: %s", type(error).__name__)
                self._script = ""
                self._hints.extendleft(reversed(hints))
                self._waiting.put_back([(session_id, entry._replace(again=True)) for session_id, entry in batch])
                self._waiting.drop_deltas()  # they are for those who watch now, and these may have been heard
                pause = min(LONGEST_PAUSE_SECONDS, pause * 2 or FIRST_PAUSE_SECONDS)
            if pause:
                await asyncio.sleep(pause)

    async def _deliver(
        self, hints: list[tuple[str, CancelMode, float]], batch: list[tuple[str, Entry]]
    ) -> list[tuple[str, Entry]]:
        """Send; return what the server surely has not done and should be sent again. Raises where all fates are
        unknown."""
        script = self._script = self._script or await self._load_script()
        pipe = self._client.pipeline(transaction=False)
        for session_id, mode, now in hints:
            pipe.zadd(self._names.cancels, {f"{session_id} {mode}": now})
            pipe.publish(self._names.cancels, f"{session_id} {mode}")
        if hints:
            pipe.zremrangebyscore(self._names.cancels, 0, hints[-1][2] - CANCELS_KEPT_SECONDS)
            pipe.expire(self._names.cancels, CANCELS_KEPT_SECONDS)
        parts = [list(part) for _, part in groupby(batch, key=lambda one: one[0])]
        for part in parts:
            keys = (self._names.live(part[0][0]), self._names.words(part[0][0]))
            pipe.evalsha(script, len(keys), *keys, *append_arguments([entry for _, entry in part]))
        answers = await pipe.execute(raise_on_error=False)
        first = len(answers) - len(parts)
        for answer in answers[:first]:
            self._judge([], answer)
        return [one for part, answer in zip(parts, answers[first:], strict=True) for one in self._judge(part, answer)]

    def _judge(self, part: list[tuple[str, Entry]], answer: Any) -> list[tuple[str, Entry]]:
        """What to send again of one session's part: one session's lasting error is not the others'."""
        if isinstance(answer, NoScriptError):  # the server was started again
            self._script = ""
            return part
        if isinstance(answer, ReadOnlyError):
            raise answer
        if isinstance(answer, Exception):
            self._waiting.dropped += len(part)
            self._refused += 1
            if self._refused == 1:
                logger.error("the bus refused what it was told; it is dropped: %s", answer)
        elif part:
            self._waiting.dropped += answer
        return []

    async def _load_script(self) -> str:
        """Make the script known to the run of the server that is there now; return its name."""
        run_id = await self._run_id()
        name: str = await self._client.script_load(append_script(run_id))
        if await self._run_id() != run_id:
            raise RedisConnectionError("the server was started again")
        return name

    async def _run_id(self) -> str:
        run_id = str((await self._client.info("server")).get("run_id", ""))
        return run_id if run_id.isalnum() else ""
