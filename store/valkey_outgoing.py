"""What goes out to the Valkey bus: put at once, sent by one task, many at a time while the one before is on its way.

Nothing waits for the network. While the server is away, facts wait (bounded; readers find them in the store anyway) and
deltas are dropped. A batch whose fate is unknown is sent again without its deltas: the server leaves out facts that it
knows, but would give a delta a second id.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import groupby
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from session.live import KEEP_DELTAS
from session.vocabulary import CancelMode
from store.valkey_wire import Entry, Names

logger = logging.getLogger("perdure.bus")

MOST_WAITING: Final = 20_000
"""Entries that may wait; beyond it the oldest are dropped."""
BATCH: Final = 500
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
KEPT_MS: Final = 15 * 60 * 1000
"""How long a session's stream outlives its last entry: longer than any session."""
KEPT_AFTER_END_MS: Final = 60_000
CANCELS_KEPT_SECONDS: Final = 15 * 60

_APPEND: Final = """
local key, length, ttl = KEYS[1], ARGV[1], ARGV[2]
for i = 3, #ARGV, 3 do
  local offset, opens, entry, id = ARGV[i], ARGV[i + 1], ARGV[i + 2], nil
  if offset ~= '' then
    id = redis.pcall('XADD', key, offset .. '-0', 'e', entry)
    if type(id) == 'table' then
      id = nil
    elseif opens == '1' then
      redis.call('XTRIM', key, 'MINID', id)
    end
  else
    local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
    if last then
      id = redis.call('XADD', key, 'MAXLEN', '~', length, string.match(last[1], '^%d+') .. '-*', 'e', entry)
    end
  end
  if id then
    redis.call('PUBLISH', key, id .. '\\n' .. entry)
  end
end
redis.call('PEXPIRE', key, ttl)
"""


class Outgoing:
    """A bounded queue and the task that empties it."""

    def __init__(self, client: Redis, names: Names) -> None:
        self._client = client
        self._names = names
        self._waiting: deque[tuple[str, Entry]] = deque()
        self._hints: deque[tuple[str, CancelMode, float]] = deque(maxlen=1000)
        self._sending: asyncio.Task[None] | None = None
        self._script = ""

    def put(self, session_id: str, entry: Entry) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
        self._waiting.append((session_id, entry))
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
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._deliver(hints, batch)
                pause = 0.0
            except (RedisError, OSError, TimeoutError) as error:
                if not pause:
                    logger.warning("the bus is away: %s", type(error).__name__)
                self._hints.extendleft(reversed(hints))
                pause = min(LONGEST_PAUSE_SECONDS, pause * 2 or FIRST_PAUSE_SECONDS)
                await asyncio.sleep(pause)
                # Deltas are for those who watch now, and this one may have been heard.
                facts = [one for one in (*batch, *self._waiting) if one[1].kind == "f"]
                self._waiting = deque(facts[-MOST_WAITING:])

    async def _deliver(self, hints: list[tuple[str, CancelMode, float]], batch: list[tuple[str, Entry]]) -> None:
        if not self._script:
            self._script = await self._client.script_load(_APPEND)
        pipe = self._client.pipeline(transaction=False)
        for session_id, mode, now in hints:
            pipe.zadd(self._names.cancels, {f"{session_id} {mode}": now})
            pipe.publish(self._names.cancels, f"{session_id} {mode}")
        if hints:
            pipe.zremrangebyscore(self._names.cancels, 0, hints[-1][2] - CANCELS_KEPT_SECONDS)
            pipe.expire(self._names.cancels, CANCELS_KEPT_SECONDS)
        for session_id, entries in groupby(batch, key=lambda one: one[0]):
            pipe.evalsha(self._script, 1, self._names.live(session_id), *_arguments([one for _, one in entries]))
        try:
            await pipe.execute()
        except NoScriptError:  # the server was started again, and has done nothing of this
            self._script = ""
            raise


def _arguments(entries: list[Entry]) -> list[Any]:
    over = any(entry.over for entry in entries)
    told: list[Any] = [KEEP_DELTAS, KEPT_AFTER_END_MS if over else KEPT_MS]
    for entry in entries:
        told += [entry.offset or "", int(entry.opens), entry.text()]
    return told
