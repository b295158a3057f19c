"""The reconciler: closes or starts what a crash left behind, so that every session ends (DESIGN §3.6, G1).

It looks at every row that is not terminal, every few seconds, and at one session when it is read past its deadline:

    waits in line where nobody is active    it is its turn
    created, and Temporal knows no workflow     start it (or end it as TIMEOUT past its deadline)
    its cancel was stored but not delivered     send the signal again
    it waits although there is a place          admit it (a crash after an end, or limits that were raised)
    admitted after waiting, but not begun       tell its workflow again
    terminated, failed or timed out there       close it as INTERNAL or TIMEOUT; cancelled there: CANCELLED
    past its limit and still running            close it as TIMEOUT; its workflow ends by its own time-out

Closing is conditional on the row, so any number of reconcilers and the workflow itself may try.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from activities.admitting import admit_next, tell_admitted
from activities.launching import mark_started
from api.parts import Parts
from api.temporal import Fate, TemporalAway
from session.wire import CancelRequest, Ending
from store import StoreUnavailable
from store.ledger import NotFound

logger = logging.getLogger("perdure.reconciler")
EVERY_SECONDS = 2.0
YOUNG_MS = 2_000
"""A session that was stored so recently is being started by the request that stored it."""
GRACE_MS = 12_000
"""After its limit a workflow has so long to close the session itself; the rest of the 15 s of G1 is for us."""
SIGNAL_AGAIN_MS = 2_000
LOOK_BACK_SECONDS = 60
AT_ONCE = 8
"""Sessions that are looked after at the same time."""
LOOK_AGAIN_MS = 20_000
"""How long a session is believed to run well because Temporal's list does not name it."""

_Row = Mapping[str, Any]


class Reconciler:
    """Runs beside the API. A crash of it costs nothing: the next round does what was left."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store
        self._temporal = parts.temporal
        self._looked_at: dict[str, int] = {}
        self._told_at: dict[str, int] = {}

    async def run(self) -> None:
        """Look after all unfinished sessions until cancelled. What is past its limit, and conversations' lines, have
        looks of their own: they must not wait for a Temporal that does not answer."""
        looks = (self._round, self._close_late, self._store.line.move)
        await asyncio.gather(*(self._again(look) for look in looks))

    async def _again(self, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await look()
            except (StoreUnavailable, TemporalAway) as error:
                logger.warning("will look again: %s", error)
            except asyncio.CancelledError:
                if _is_told_to_stop():
                    raise
                logger.warning("will look again: a question to Temporal was broken off")
            except Exception:
                logger.exception("will look again")

    async def _round(self) -> None:
        """One question to Temporal for all that run well; those that may not be are looked at one by one."""
        rows = await self._store.sessions.unfinished()
        if not rows:
            return
        now = self._store.database.clock()
        await self._admit(rows, now)
        ended = set(await self._temporal.ended_badly(datetime.fromtimestamp(now / 1000 - LOOK_BACK_SECONDS, UTC)))
        due = [row for row in rows if self._is_due(row, now, ended)]
        self._looked_at |= {row["id"]: now for row in due}
        await self._all(due, self._look_after)
        unfinished = {row["id"] for row in rows}
        self._looked_at = {session: at for session, at in self._looked_at.items() if session in unfinished}
        self._told_at = {session: at for session, at in self._told_at.items() if session in unfinished}

    def _is_due(self, row: Mapping[str, Any], now: int, ended: Collection[str]) -> bool:
        """Whether something may be wrong with it, or it was not looked at for long."""
        stale = now - self._looked_at.setdefault(row["id"], now) > LOOK_AGAIN_MS
        is_ill = row["status"] == "created" or row["cancel_ms"] or row["deadline_ms"] < now or row["id"] in ended
        return bool(stale or is_ill)

    async def _admit(self, rows: Sequence[Mapping[str, Any]], now: int) -> None:
        """Give the places that are free, and tell those again who have one and did not begin: more and more seldom,
        since a worker may as well be busy or away."""
        told = []
        if any(row["admitted_ms"] is None for row in rows):
            told = await self._store.admission.admit()
        for row in rows:
            waited = row["admitted_ms"] is not None and row["admitted_ms"] > row["created_ms"]
            if waited and row["status"] == "queued":
                last = self._told_at.get(row["id"], row["admitted_ms"])
                if now - last > SIGNAL_AGAIN_MS and now - last > (last - row["admitted_ms"]):
                    told.append(row["id"])
        self._told_at |= dict.fromkeys(told, now)
        await tell_admitted(self._temporal.client, told)

    async def _close_late(self) -> None:
        """Without Temporal: what is past its limit ends all the same; its workflow ends by its own time-out, or by the
        next round that finds Temporal there."""
        late = await self._store.sessions.unfinished(self._store.database.clock() - GRACE_MS)
        await self._all(late, lambda row: self._store.endings.close(row["id"], Ending("timeout")))

    async def _all(self, rows: Sequence[_Row], care: Callable[[_Row], Awaitable[Any]]) -> None:
        """What is wrong with one session must not keep the others from being looked after, nor must what Temporal does
        not say of it. Raises StoreUnavailable, TemporalAway, when all were tried."""
        places = asyncio.Semaphore(AT_ONCE)

        async def each(row: _Row) -> None:
            async with places:
                try:
                    await care(row)
                except (StoreUnavailable, TemporalAway):
                    raise
                except Exception:
                    logger.exception("could not look after %s", row["id"])

        fates = await asyncio.gather(*(each(row) for row in rows), return_exceptions=True)
        for fate in fates:
            if isinstance(fate, BaseException):
                raise fate

    async def look_at(self, session_id: str) -> None:
        """Look after one session now; silent when the store or Temporal is away."""
        try:
            await self._look_after(await self._store.sessions.row(session_id))
        except (StoreUnavailable, TemporalAway, NotFound) as error:
            logger.warning("could not look at %s: %s", session_id, error)

    async def _look_after(self, row: Mapping[str, Any]) -> None:
        now = self._store.database.clock()
        if now - row["created_ms"] < YOUNG_MS:
            return
        late = now - row["deadline_ms"]
        if late > GRACE_MS:
            await self._close(row, Ending("timeout"))
            await self._temporal.terminate(row["id"], "the session is over")
            return
        fate = await self._temporal.fate(row["id"])
        if fate == "missing":
            await self._begin_or_end(row, late)
        elif fate == "running":
            if row["cancel_ms"] is not None and now - row["cancel_ms"] > SIGNAL_AGAIN_MS:
                await self._temporal.cancel(row["id"], CancelRequest(row["cancel_mode"], "", row["cancel_by"] or ""))
            if row["status"] == "created":
                await self._store.sessions.mark_queued(row["id"])
        else:
            await self._close(row, _ending(fate))

    async def _begin_or_end(self, row: Mapping[str, Any], late: int) -> None:
        if row["cancel_ms"] is not None:
            await self._close(row, Ending("cancelled"))
        elif late >= 0:
            await self._close(row, Ending("timeout", "The session could not be started before its limit."))
        elif row["status"] == "created":
            await self._begin(row)
        else:
            lost = "The session's workflow is no longer known to Temporal; its history was lost or deleted."
            await self._close(row, Ending("internalError", lost, retryable=True))

    async def _close(self, row: Mapping[str, Any], ending: Ending) -> None:
        if await self._store.endings.close(row["id"], ending):
            logger.info("closed %s: %s", row["id"], ending.reason)
            if (following := await self._store.line.after(row["id"])) is not None:
                await self._begin(following)
            await admit_next(self._store, self._temporal.client)

    async def _begin(self, row: Mapping[str, Any]) -> None:
        await self._temporal.start(row, row["deadline_ms"] - self._store.database.clock())
        await mark_started(self._store, self._temporal.client, row)


def _is_told_to_stop() -> bool:
    """Whether it is this task that is cancelled, and not a call that it waits for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _ending(fate: Fate) -> Ending:
    if fate == "cancelled":
        return Ending("cancelled", cancelled_by="temporal")
    if fate == "timedOut":
        return Ending("timeout")
    if fate == "terminated":
        return Ending("internalError", "The session's workflow was terminated by an operator in Temporal.")
    return Ending("internalError", "The session's workflow ended without recording its end.", retryable=True)
