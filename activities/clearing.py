"""The end of folders whose conversation was removed.

The API may not see the disk that tools work on, so whoever made the folder takes it away: each worker looks at the
folders that workers made on its own disk and asks the store which of their conversations were removed. Workers that
share a disk may do so at once: a folder is moved aside in one step before it is emptied.
"""

from __future__ import annotations

import asyncio
import logging

from activities.workspaces import Workspaces
from store import Store, StoreUnavailable

logger = logging.getLogger("perdure.clearing")
LOOK_SECONDS = 60.0
"""Seconds between two looks: about as long a folder outlives its conversation."""
BATCH = 500


async def clear(workspaces: Workspaces, store: Store) -> None:
    """Take away the folders of removed conversations. Raises StoreUnavailable."""
    owned = await asyncio.to_thread(workspaces.owned)
    for start in range(0, len(owned), BATCH):
        for conversation_id in await store.retention.removed(owned[start : start + BATCH]):
            try:
                await asyncio.to_thread(workspaces.set_aside, conversation_id)
            except OSError as error:  # one folder that cannot be moved must not keep the others
                logger.warning("will try again: the folder of %s cannot be cleared: %s", conversation_id, error)
    await asyncio.to_thread(workspaces.empty)


async def clearing(workspaces: Workspaces, store: Store, every: float = LOOK_SECONDS) -> None:
    """Clear until cancelled."""
    while True:
        await asyncio.sleep(every)
        try:
            await clear(workspaces, store)
        except StoreUnavailable:
            continue
        except OSError as error:
            logger.warning("will try again: the folders of removed conversations cannot be cleared: %s", error)
