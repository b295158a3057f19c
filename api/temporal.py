"""The API's side of Temporal: start a session's workflow, signal its cancel, ask for progress, look how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.launching import start_workflow
from session.wire import (
    CANCEL_SIGNAL,
    DECIDE_UPDATE,
    PROGRESS_QUERY,
    TASK_QUEUE,
    WORKFLOW,
    CancelRequest,
    Decision,
    Progress,
)
from workflows.deployment import pollers, takes_new_sessions
from workflows.registration import register_search_attributes

RPC_TIMEOUT = timedelta(seconds=5)
PROGRESS_TIMEOUT = timedelta(seconds=1)
DECIDE_TIMEOUT = timedelta(seconds=10)
"""A worker must take the decision and record it within this; one that was just lost is replaced within some seconds."""
Fate = Literal["running", "completed", "cancelled", "terminated", "timedOut", "failed", "missing"]
_FATES: dict[WorkflowExecutionStatus, Fate] = {
    WorkflowExecutionStatus.RUNNING: "running",
    WorkflowExecutionStatus.CONTINUED_AS_NEW: "running",
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timedOut",
    WorkflowExecutionStatus.FAILED: "failed",
}


class TemporalAway(Exception):
    """Temporal did not answer. What was stored is kept and goes on when it is back."""


_FAILED = (RPCError, RuntimeError)
"""A client that connects with its first call (cli.roles, `api`) raises RuntimeError when it cannot."""


def _status(error: RPCError | RuntimeError) -> RPCStatusCode:
    return error.status if isinstance(error, RPCError) else RPCStatusCode.UNAVAILABLE


@asynccontextmanager
async def _within(limit: timedelta) -> AsyncIterator[None]:
    """Bound a call as a whole. `rpc_timeout` bounds one try; the SDK makes several, for ten seconds, while nobody is
    there to refuse them. Raises TemporalAway."""
    try:
        async with asyncio.timeout(limit.total_seconds()):
            yield
    except TimeoutError as error:
        raise TemporalAway("Temporal did not answer in time") from error


class Temporal:
    """Temporal as the API needs it. Every method raises TemporalAway when it does not answer."""

    def __init__(self, client: Client, task_queue: str = TASK_QUEUE, *, eager: bool = True) -> None:
        """`eager`: a worker in this process may begin a session at once. One that has a version must not, since it
        would take the session past the current version."""
        self.client = client
        self._task_queue = task_queue
        self._eager = eager
        self._attributes: bool | None = None

    async def start(self, row: Mapping[str, Any], left_ms: int) -> None:
        """Start the workflow of a session's row, once: an id that is known already is left alone."""
        try:
            attributes = await self.has_search_attributes()
            async with _within(RPC_TIMEOUT):
                await start_workflow(
                    self.client, row, left_ms, task_queue=self._task_queue, attributes=attributes, eager=self._eager
                )
        except _FAILED as error:
            raise TemporalAway("Temporal did not accept the session") from error

    async def cancel(self, session_id: str, request: CancelRequest) -> None:
        """Send the cancel signal; a workflow that is gone or over needs none."""
        handle = self.client.get_workflow_handle(session_id)
        try:
            async with _within(RPC_TIMEOUT):
                await handle.signal(CANCEL_SIGNAL, request, rpc_timeout=RPC_TIMEOUT)
        except _FAILED as error:
            if _status(error) != RPCStatusCode.NOT_FOUND:
                raise TemporalAway("Temporal did not take the cancel") from error

    async def decide(self, session_id: str, decision: Decision) -> bool:
        """Offer a decision to the workflow; True when it was the first and is recorded, False when no call waits for
        it any more. A decision that was taken while the answer was lost stays taken: ask the store."""
        handle = self.client.get_workflow_handle(session_id)
        try:
            async with _within(DECIDE_TIMEOUT):
                recorded: bool = await handle.execute_update(
                    DECIDE_UPDATE, decision, id=decision.decision_id, result_type=bool, rpc_timeout=DECIDE_TIMEOUT
                )
                return recorded
        except WorkflowUpdateFailedError:
            return False
        except (WorkflowUpdateRPCTimeoutOrCancelledError, *_FAILED) as error:
            if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
                return False
            raise TemporalAway("Temporal did not take the decision") from error

    async def progress(self, session_id: str) -> Progress | None:
        """Where the workflow stands; None when it cannot say in time (no worker, over, Temporal away)."""
        handle = self.client.get_workflow_handle(session_id)
        try:
            async with _within(PROGRESS_TIMEOUT):
                told: Progress = await handle.query(PROGRESS_QUERY, result_type=Progress, rpc_timeout=PROGRESS_TIMEOUT)
        except (RPCError, WorkflowQueryRejectedError, WorkflowQueryFailedError, TemporalAway):
            return None
        return told

    async def fate(self, session_id: str) -> Fate:
        """How the workflow stands in Temporal."""
        try:
            async with _within(RPC_TIMEOUT):
                description = await self.client.get_workflow_handle(session_id).describe(rpc_timeout=RPC_TIMEOUT)
        except _FAILED as error:
            if _status(error) == RPCStatusCode.NOT_FOUND:
                return "missing"
            raise TemporalAway("Temporal did not say how the session stands") from error
        return _FATES[description.status] if description.status is not None else "running"

    async def ended_badly(self, since: datetime) -> list[str]:
        """The sessions whose workflows were terminated, cancelled, failed or timed out after `since`."""
        query = (
            f"WorkflowType = '{WORKFLOW}' AND CloseTime > '{since.astimezone(UTC).isoformat()}'"
            " AND ExecutionStatus IN ('Terminated', 'Canceled', 'Failed', 'TimedOut')"
        )
        try:
            async with _within(RPC_TIMEOUT):
                found = self.client.list_workflows(query, limit=1000, rpc_timeout=RPC_TIMEOUT)
                return [one.id async for one in found]
        except _FAILED as error:
            raise TemporalAway("Temporal did not list its workflows") from error

    async def terminate(self, session_id: str, reason: str) -> None:
        """End a workflow whose session is over already; one that is gone needs nothing."""
        try:
            async with _within(RPC_TIMEOUT):
                await self.client.get_workflow_handle(session_id).terminate(reason=reason, rpc_timeout=RPC_TIMEOUT)
        except _FAILED as error:
            if _status(error) != RPCStatusCode.NOT_FOUND:
                raise TemporalAway("Temporal did not end the workflow") from error

    async def is_up(self) -> bool:
        try:
            return await self.client.service_client.check_health(timeout=timedelta(seconds=2))
        except _FAILED:
            return False

    async def has_worker(self) -> bool:
        """Whether a worker that new sessions go to polled the task queue in the last minutes."""
        try:
            return takes_new_sessions(await pollers(self.client, self._task_queue))
        except _FAILED:
            return False

    async def has_search_attributes(self) -> bool:
        """Whether Perdure's search attributes are registered; they are added where that is allowed. Asked once."""
        if self._attributes is None:
            try:
                async with _within(RPC_TIMEOUT):
                    self._attributes = await register_search_attributes(self.client)
            except _FAILED as error:
                raise TemporalAway("Temporal did not answer") from error
        return self._attributes
