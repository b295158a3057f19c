"""Stopping an activity's work at once: on a cancel hint from the bus, at the deadline, or when Temporal says so.

Three fates are told apart. `cancelled` and `deadline` end the session: the caller keeps what was done. `lost` means
that this attempt is no longer ours (the worker shuts down, the attempt timed out or was reset): nothing is recorded,
and another attempt goes on. A deploy is never taken for a cancel (DESIGN §4).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

from temporalio import activity

from activities.failures import lost
from session.vocabulary import CancelMode
from session.wire import StepRef
from store.bus import Bus

T = TypeVar("T")
Cause = Literal["cancelled", "deadline"]


class Stopped(Exception):
    """The work was stopped before it was done, and has been cleaned up."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


async def until_stopped(work: Coroutine[Any, Any, T], at: StepRef, bus: Bus) -> T:
    """Run `work` to its end or to the first stop. Its cleanup has finished when this returns or raises.

    Raises Stopped (cancel or deadline), ApplicationError of type WorkerLost (another attempt follows).
    """
    task = asyncio.ensure_future(work)
    hinted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def hint(mode: CancelMode) -> None:
        if mode == "now" and not hinted.done():
            hinted.set_result(None)

    leave = bus.on_cancel(at.session_id, hint)
    cause: Cause
    either: set[asyncio.Future[Any]] = {task, hinted}
    try:
        left = at.deadline_ms / 1000 - time.time()
        await asyncio.wait(either, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
        cause = "cancelled" if hinted.done() else "deadline"
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        if details is None or not details.cancel_requested:
            await _end(task)
            raise lost() from None
        cause = "cancelled"
    finally:
        leave()
    if not task.done():
        await _end(task)
    if task.cancelled():
        raise Stopped(cause)
    return task.result()  # done before the stop, or faster than it


async def _end(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
