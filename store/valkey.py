"""The live bus over Valkey (or Redis): joins APIs and workers in any number of processes (DESIGN §3).

    perdure:<db>:live:<session>   a stream: the running step's facts and deltas, in the one order that all readers see
                                  (and, under the same name, the channel on which each is told as it comes)
    perdure:<db>:words:<session>  a hash: what the facts have said so far, of steps and of who may speak
    perdure:<db>:cancels          who was asked to cancel lately, by time; and the channel on which it is told

**Ids are given by the server.** A stream entry's id *is* the event's position: a fact of offset 12 is `12-0`, and a
delta gets the number that follows the last entry (`12-1`, `12-2` …), in a script, so that two publishers cannot get the
same one and every reader of every process sees the same. A fact that is not newer than the last entry is left out, so
one that is told twice is heard once. What is fenced is refused there too (valkey_script), and every reader heeds the
same pure rules of session.live.

The fact that announces an attempt empties the stream before it: late joiners need the running step, no more, and of
that KEEP_DELTAS entries and KEEP_BYTES. Keys expire. Where the server lost its memory, or came back with an older one,
deltas have no id until the next fact comes, and are left out until then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from session.live import Frame, StoredFact
from session.vocabulary import CancelMode
from store.bus import Deliver, Hint, Leave
from store.valkey_incoming import Incoming
from store.valkey_outgoing import Outgoing
from store.valkey_wire import Names, delta_entry, fact_entry

ANSWER_SECONDS: Final = 2.0
CLOSE_SECONDS: Final = 1.0


class ValkeyBus:
    """A `Bus`. It connects by itself, again and again while the server is away; nothing of it waits or raises.

    `url`: redis://, rediss:// or valkey://, with a password if one is asked for; it is shown to nobody.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._client: Redis = Redis.from_url(
            urlunsplit(parts._replace(scheme="redis" if parts.scheme == "valkey" else parts.scheme)),
            decode_responses=True,
            encoding_errors="replace",  # what is not ours must not end the reading of what is
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),  # what is tried again, and when, is decided here
        )
        names = Names(int(self._client.connection_pool.connection_kwargs.get("db") or 0))
        self._out = Outgoing(self._client, names)
        self._in = Incoming(self._client, names)

    def publish_facts(self, session_id: str, facts: Sequence[StoredFact], over: bool) -> None:
        for number, fact in enumerate(facts, 1):
            ends = over and number == len(facts)
            self._out.put(session_id, fact_entry(fact, over=ends))

    def publish_delta(self, session_id: str, scope: str, attempt: int, frame: str) -> None:
        self._out.put(session_id, delta_entry(scope, attempt, frame))

    def hint_cancel(self, session_id: str, mode: CancelMode) -> None:
        self._in.hear_cancel(session_id, mode)  # whoever runs in this process need not wait for the network
        self._out.hint(session_id, mode, time.time())

    def subscribe(self, session_id: str, deliver: Deliver) -> tuple[list[Frame], Leave]:
        """Join. The kept deltas that this process does not know yet follow through `deliver`, like all that is new."""
        return self._in.subscribe(session_id, deliver)

    async def caught_up(self, session_id: str) -> list[Frame]:
        return await self._in.caught_up(session_id)

    def on_cancel(self, session_id: str, hint: Hint) -> Leave:
        return self._in.on_cancel(session_id, hint)

    @property
    def dropped(self) -> int:
        return self._out.dropped + self._in.skipped

    async def is_up(self) -> bool:
        """Whether the server answers, and what it tells is heard here where anybody listens."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answered = bool(await self._client.ping())
                await self._in.hears()
                return answered
        except (RedisError, OSError, TimeoutError):
            return False

    async def close(self) -> None:
        """Send what waits, if that is quickly done, and leave."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._out.sent()
        await self._out.close()
        await self._in.close()
        await self._client.aclose()
