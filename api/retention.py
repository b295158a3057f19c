"""Retention: removes conversations, and audit entries, that are older than the operator keeps them.

    PERDURE_RETENTION_DAYS         a conversation whose last activity is older goes whole (store/retention.py)
    PERDURE_AUDIT_RETENTION_DAYS   an audit entry that is older goes, whether its conversation is still there or not

Every API has this loop, and nothing decides which one works: whoever comes second finds less to do. Each transaction
is one conversation, or one batch of its long results or of entries, with a pause after it, so that sessions get their
turn at the store. A crash costs nothing: the next round does what was left.
"""

from __future__ import annotations

import asyncio
import logging
import random

from settings import Settings
from store import Store, StoreUnavailable

logger = logging.getLogger("perdure.retention")
DAY_MS = 86_400_000
EVERY_SECONDS = 600.0
PAUSE_SECONDS = 0.05
BATCH = 100
"""Conversations that are looked up at a time."""
AUDIT_BATCH = 500
OUTPUTS_BATCH = 32
"""Pieces of long results, 64 KiB each, that are removed at a time."""
REMEMBERED_DAYS = 90
"""How long a removal is remembered: as long a worker may be away and still take the folders when it is back."""


class Retention:
    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._days = settings.retention_days
        self._audit_days = settings.audit_retention_days

    async def run(self) -> None:
        """Remove what is too old, every ten minutes or so, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS * random.uniform(0.5, 1.0))  # APIs that started together part ways
            try:
                await self.round()
            except StoreUnavailable as error:
                logger.warning("will try again: %s", error)
            except Exception:
                logger.exception("will try again")

    async def round(self) -> None:
        """Remove all that is too old now. Raises StoreUnavailable; what was removed until then stays removed."""
        now = self._store.database.clock()
        if self._days is not None:
            await self._conversations(now - int(self._days * DAY_MS))
        if self._audit_days is not None:
            await self._audit(now - int(self._audit_days * DAY_MS))
        await self._store.retention.forget_removals(now - REMEMBERED_DAYS * DAY_MS)

    async def _conversations(self, before_ms: int) -> None:
        gone = 0
        while idle := await self._store.retention.idle(before_ms, BATCH):
            taken = [await self._remove(conversation_id, before_ms) for conversation_id in idle]
            gone += sum(taken)
            if not any(taken):  # another API is at the same ones
                break
        if gone:
            logger.info("removed %d conversations without activity for %s days", gone, self._days)

    async def _remove(self, conversation_id: str, before_ms: int) -> bool:
        while await self._store.retention.trim_outputs(conversation_id, before_ms, OUTPUTS_BATCH):
            await asyncio.sleep(PAUSE_SECONDS)
        removed = await self._store.retention.remove_idle(conversation_id, before_ms)
        await asyncio.sleep(PAUSE_SECONDS)
        return removed

    async def _audit(self, before_ms: int) -> None:
        gone = 0
        while removed := await self._store.retention.trim_audit(before_ms, AUDIT_BATCH):
            gone += removed
            await asyncio.sleep(PAUSE_SECONDS)
        if gone:
            logger.info("removed %d audit entries older than %s days", gone, self._audit_days)
