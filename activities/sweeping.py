"""The end of jobs whose session was closed elsewhere.

`close_session` ends the jobs of the worker that it happens to run on. Another worker may hold them, or nobody runs
`close_session` at all: the server closes a session itself whose workflow was terminated or lost.
"""

from __future__ import annotations

import asyncio

from activities.tools.jobs import Jobs
from store import Store, StoreUnavailable

LOOK_SECONDS = 5.0
"""Seconds between two looks: as long a job may outlive its session."""


async def sweep(jobs: Jobs, store: Store) -> None:
    """End the jobs of sessions that are over. Raises StoreUnavailable."""
    held = set(jobs.sessions())
    if held:
        going = {row["id"] for row in await store.sessions.unfinished()}
        for session_id in held - going:
            await jobs.end_session(session_id)


async def sweeping(jobs: Jobs, store: Store, every: float = LOOK_SECONDS) -> None:
    """Sweep until cancelled. While the store is away nothing is ended: each job has its own limit."""
    while True:
        await asyncio.sleep(every)
        try:
            await sweep(jobs, store)
        except StoreUnavailable:
            continue
