"""Starting the workflow of a stored session: by whoever stored it, by whoever closed the one before it in its
conversation, or by the reconciler. A session that was started already stays as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.admitting import tell_admitted
from session.wire import WORKFLOW
from store import Store, StoreUnavailable
from store.sessions import session_input

logger = logging.getLogger("perdure.launching")

BACKSTOP = timedelta(seconds=15)
"""The server-side execution timeout is the limit plus this: only for a worker that is gone."""
TASK_TIMEOUT = timedelta(seconds=5)
"""How long a worker that died (or sleeps) with a workflow task in its hands is waited for. The default is 10 s."""
RPC_TIMEOUT = timedelta(seconds=5)
MOST_FAIRNESS_KEY = 64
"""Where tasks pile up in Temporal, keys take turns (servers with `matching.enableFairness`). Its bound is in bytes."""

Registered = Callable[[Client], Awaitable[bool]]
"""Whether Temporal knows our search attributes."""


async def start_workflow(
    client: Client, row: Mapping[str, Any], left_ms: int, *, task_queue: str, attributes: bool, eager: bool = False
) -> None:
    """Start the workflow of a session's row, once: an id that is known already is left alone. Raises RPCError."""
    try:
        await client.start_workflow(
            WORKFLOW,
            session_input(row, attributes),
            id=row["id"],
            task_queue=task_queue,
            execution_timeout=timedelta(milliseconds=max(0, left_ms)) + BACKSTOP,
            task_timeout=TASK_TIMEOUT,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=_attributes(row) if attributes else None,
            static_summary=f"{row['model']} · {row['effort']} · at most {row['max_steps']} steps",
            priority=Priority(fairness_key=(row["tenant"] or "local")[:MOST_FAIRNESS_KEY]),
            request_eager_start=eager,
            rpc_timeout=RPC_TIMEOUT,
        )
    except WorkflowAlreadyStartedError:
        return


def _attributes(row: Mapping[str, Any]) -> TypedSearchAttributes:
    told = {
        "PerdureConversation": row["conversation_id"],
        "PerdureModel": row["model"],
        "PerdureStatus": "running",
        "PerdureTenant": row["tenant"] or "local",
    }
    pairs = [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in told.items()]
    return TypedSearchAttributes(pairs)


async def mark_started(store: Store, client: Client, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The workflow of this row was started: the session is `queued`. One that was given its place before there was
    anybody to tell is told now. The row as it is then."""
    now = await store.sessions.mark_queued(row["id"])
    if row["admitted_ms"] is None and now["admitted_ms"] is not None:
        await tell_admitted(client, [row["id"]])
    return now


class Successors:
    """Begins sessions whose turn came in a worker, with the end of the one before. What fails here is done by the
    reconciler within seconds, so it fails nothing else."""

    def __init__(self, store: Store, registered: Registered) -> None:
        self._store = store
        self._registered = registered
        self._attributes: bool | None = None

    async def begin(self, client: Client, session_id: str, task_queue: str) -> None:
        """Begin the one whose turn came when this session ended, if there is one."""
        try:
            row = await self._store.line.after(session_id)
            if row is None:
                return
            async with asyncio.timeout(RPC_TIMEOUT.total_seconds()):
                if self._attributes is None:
                    self._attributes = await self._registered(client)
                left = row["deadline_ms"] - self._store.database.clock()
                await start_workflow(client, row, left, task_queue=task_queue, attributes=self._attributes)
            await mark_started(self._store, client, row)
        except (RPCError, RuntimeError, StoreUnavailable, TimeoutError) as error:
            logger.warning("the session after %s was not begun, the reconciler will: %s", session_id, error)
