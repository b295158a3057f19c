"""Who may run: a session has a place from its admission to its end, and there are only so many (settings).

`admitted_ms` of a session's row says when it got its place: NULL while it waits, equal to `created_ms` where it never
had to. A session that starts asks for a place in its own transaction; when one ends, whoever closed it calls `admit`,
and the reconciler calls it too, for those who crashed in between and for limits that were raised. Each of them decides
for all who wait, by one rule (session/admission.py), so nobody jumps the queue.

One that waits for its turn in its conversation (store/line.py) asks for no place until that comes.

Exact under concurrency: whoever counts has PostgreSQL's advisory lock, or SQLite's write lock, until it has committed.
The lock is taken last: its holder waits for row locks of those who never ask for it, so there is no deadlock. Without
limits nothing is locked or counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select, text, update

from session.admission import Candidate, admitted, free_places
from session.policy import AdmissionPolicy
from store.database import Database, StoreConnection, every
from store.schema import sessions

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_KEY = 0x50455241  # "PERA"

_UNFINISHED = sessions.c.status.in_(("created", "queued", "running"))
_WAITS = (sessions.c.admitted_ms.is_(None), sessions.c.ended_ms.is_(None), sessions.c.waits_since_ms.is_(None))
_RUNNING = (
    select(sessions.c.tenant, func.count().label("held"))
    .where(_UNFINISHED, sessions.c.admitted_ms.is_not(None))
    .group_by(sessions.c.tenant)
)
_WAITING = select(sessions.c.tenant, func.count().label("held")).where(*_WAITS).group_by(sessions.c.tenant)


class QueueFull(Exception):
    """As many sessions of this key wait as may: nothing was stored."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How many unfinished sessions of each key have a place, and how many wait for one."""

    running: Mapping[str, int]
    waiting: Mapping[str, int]


class Admission:
    """Gives places to sessions. After a crash a place was given or not; the session's workflow may not know of it
    yet, and the reconciler tells it."""

    def __init__(self, database: Database, policy: AdmissionPolicy) -> None:
        self.database = database
        self.policy = policy

    async def admit(self) -> list[str]:
        """Give the free places to those who wait; the ids of those admitted, whose workflows are to be told."""
        async with self.database.write() as connection:
            await self._lock(connection)
            return await self._give(connection, await self._chosen(connection))

    async def ask(self, connection: StoreConnection, session_id: str, key: str, now: int) -> int | None:
        """Inside the transaction that starts a session: its `admitted_ms`, None when it must wait. Raises QueueFull.

        It takes a place only if there is one beside those that are due to others: they are admitted by whoever ended
        a session before them, and told.
        """
        if not self.policy.is_limited:
            return now
        await self._lock(connection)
        newcomer = Candidate(session_id, key, now)
        if newcomer in await self._chosen(connection, newcomer):
            return now
        most = self.policy.waiting_per_key
        if most is not None and (await _counted(connection, _WAITING))[key] >= most:
            raise QueueFull(key)
        return None

    async def standing(self) -> Standing:
        async with self.database.read() as connection:
            return Standing(await _counted(connection, _RUNNING), await _counted(connection, _WAITING))

    async def _lock(self, connection: StoreConnection) -> None:
        if not self.database.is_sqlite:
            await connection.execute(_LOCK, {"key": _KEY})

    async def _chosen(self, connection: StoreConnection, newcomer: Candidate | None = None) -> list[Candidate]:
        running = await _counted(connection, _RUNNING) if self.policy.is_limited else Counter[str]()
        places = free_places(running, self.policy)
        if places == 0:
            return []
        waiting = await self._oldest(connection, places)
        if newcomer is not None:
            waiting.append(newcomer)
        return admitted(waiting, running, self.policy)

    async def _oldest(self, connection: StoreConnection, places: int | None) -> list[Candidate]:
        """Of each key those who wait longest, as many as could be admitted at all."""
        columns = sessions.c
        place = func.row_number().over(partition_by=columns.tenant, order_by=(columns.created_ms, columns.id))
        query = select(columns.id, columns.tenant, columns.created_ms, place.label("place")).where(*_WAITS)
        bounds = [bound for bound in (places, self.policy.running_per_key) if bound is not None]
        if bounds:
            ranked = query.subquery()
            query = select(ranked).where(ranked.c.place <= min(bounds))
        return [Candidate(row["id"], row["tenant"], row["created_ms"]) for row in await every(connection, query)]

    async def _give(self, connection: StoreConnection, chosen: Sequence[Candidate]) -> list[str]:
        if not chosen:
            return []
        # Later than `created_ms`, whatever the clocks say: that is how those who had to wait are known.
        now = self.database.clock()
        given = func.max if self.database.is_sqlite else func.greatest
        place = update(sessions).where(sessions.c.id.in_([one.id for one in chosen]), *_WAITS)
        place = place.values(admitted_ms=given(now, sessions.c.created_ms + 1))
        found = await connection.execute(place.returning(sessions.c.id))
        given_to = set(found.scalars())
        return [one.id for one in chosen if one.id in given_to]


async def _counted(connection: StoreConnection, query: Select[Any]) -> Counter[str]:
    return Counter({row["tenant"]: row["held"] for row in await every(connection, query)})
