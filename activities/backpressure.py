"""How many tasks a worker takes from Temporal before it can begin them.

Temporal's clocks (a task's time-out, the first heartbeat) run from the moment it gives a task away. The SDK takes tasks
as long as there are slots, in threads of its own, and keeps them until Python asks; where hundreds of sessions begin at
once they lay there longer than a heartbeat may be late, were given to somebody else, and made the crowd larger. So a
worker takes no more than a few tasks ahead: the others wait in Temporal, where no clock runs and any worker may come.
"""

from __future__ import annotations

import asyncio
import threading

from temporalio.worker import (
    CustomSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
)

AHEAD = 12
"""Tasks that were asked for and are not begun. Every poller asks for one before it polls, so more than there are of
them; at twenty tasks a second, as a small machine under full load begins them, the last one waits half a second."""
LOOK_AGAIN_SECONDS = 0.01


class Backpressure(CustomSlotSupplier):
    """So many slots, of which `AHEAD` at most are given to tasks that nobody has begun."""

    def __init__(self, slots: int, ahead: int = AHEAD) -> None:
        self._slots = slots
        self._most_ahead = ahead
        self._given = 0
        self._ahead = 0
        self._lock = threading.Lock()  # the SDK's threads mark and release

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        while (permit := self.try_reserve_slot(ctx)) is None:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return permit

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        with self._lock:
            if self._given >= self._slots or self._ahead >= self._most_ahead:
                return None
            self._given += 1
            self._ahead += 1
        return SlotPermit()

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        """Python has asked for the task, and begins it now."""
        with self._lock:
            self._ahead -= 1

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        with self._lock:
            self._given -= 1
            self._ahead -= ctx.slot_info is None
