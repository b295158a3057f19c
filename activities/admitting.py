"""Telling the workflows of sessions that waited that they may begin.

The store decides who is admitted (store/admission.py); a signal lost here is sent again by the reconciler, within some
seconds, so nothing here fails what called it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from session.wire import ADMIT_SIGNAL
from store import Store, StoreUnavailable

logger = logging.getLogger("perdure.admission")
SIGNAL_TIMEOUT = timedelta(seconds=2)


async def admit_next(store: Store, client: Client) -> None:
    """After a session's end: give its place to whoever is next. Nothing is asked where no limit is set."""
    if not store.admission.policy.is_limited:
        return
    try:
        admitted = await store.admission.admit()
    except StoreUnavailable as error:
        logger.warning("nobody was admitted, the reconciler will: %s", error)
        return
    await tell_admitted(client, admitted)


async def tell_admitted(client: Client, session_ids: Iterable[str]) -> None:
    """Signal these sessions' workflows. One that was not started yet is told by whoever starts it."""
    await asyncio.gather(*(_tell(client, session_id) for session_id in session_ids))


async def _tell(client: Client, session_id: str) -> None:
    try:
        async with asyncio.timeout(SIGNAL_TIMEOUT.total_seconds()):
            handle = client.get_workflow_handle(session_id)
            await handle.signal(ADMIT_SIGNAL, rpc_timeout=SIGNAL_TIMEOUT)
    except (RPCError, RuntimeError, TimeoutError) as error:
        logger.info("%s was not told that it is admitted; the reconciler will: %s", session_id, error)
