"""Blocking file work, off the event loop, that stops soon after its call does."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Check = Callable[[], None]
"""Called between pieces of work: raises `Stopped` when the call is over."""

GRACE = 1.0
"""Seconds that a cancelled call waits for its thread to see it. A disk that hangs longer is left behind."""


class Stopped(Exception):
    """The call that asked for this work was cancelled or ran out of time."""


async def in_thread(work: Callable[[Check], T]) -> T:
    """`work(check)` in a thread. When this is cancelled, the thread stops at its next `check`, and is waited
    for: a write that was cancelled has either happened or will not happen."""
    over = threading.Event()

    def check() -> None:
        if over.is_set():
            raise Stopped

    def checked() -> T:
        check()
        return work(check)

    task = asyncio.ensure_future(asyncio.to_thread(checked))
    # Nobody may be left to ask for the outcome; asking here keeps the loop from reporting it as lost.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        over.set()
        await asyncio.wait({task}, timeout=GRACE)
        raise
