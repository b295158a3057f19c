"""Activities played under their real names: what the workflow sees, without a store or a model."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from session.usage import Usage
from session.vocabulary import Effect, StopReason
from session.wire import (
    CALL_MODEL,
    CLOSE_SESSION,
    RECORD_DECISION,
    RUN_TOOL,
    WORKFLOW,
    CallRef,
    CloseRequest,
    DecisionRef,
    Ending,
    ModelReply,
    SessionInput,
    StepRef,
    ToolFate,
    ToolRef,
)
from workflows.session import SessionWorkflow

Play = Callable[[StepRef], Awaitable[ModelReply]]


def reply(*calls: tuple[str, str], tokens: int = 10) -> ModelReply:
    """A reply that calls tools, each given as (id, name)."""
    refs = [CallRef(call_id, name, "sideEffect", digest=call_id) for call_id, name in calls]
    return ModelReply(Usage(input_tokens=tokens), calls=refs)


@dataclass
class Played:
    """The activities of one test, and what was asked of them."""

    replies: Sequence[ModelReply | Play]
    on_tool: Callable[[ToolRef], Awaitable[None]] | None = None
    on_decision: Callable[[], Awaitable[None]] | None = None
    on_close: Callable[[CloseRequest], Awaitable[None]] | None = None
    decisions: list[str] = field(default_factory=list)
    model_calls: list[int] = field(default_factory=list)
    tool_calls: list[str] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    running: asyncio.Event = field(default_factory=asyncio.Event)

    @activity.defn(name=CALL_MODEL)
    async def call_model(self, at: StepRef) -> ModelReply:
        self.model_calls.append(at.step)
        self.running.set()
        played = self.replies[min(at.step, len(self.replies)) - 1]
        return played if isinstance(played, ModelReply) else await played(at)

    @activity.defn(name=RUN_TOOL)
    async def run_tool(self, at: ToolRef, effect: Effect) -> ToolFate:
        self.tool_calls.append(at.call_id)
        if self.on_tool is not None:
            await self.on_tool(at)
        return ToolFate(at.call_id, "success", 1)

    @activity.defn(name=RECORD_DECISION)
    async def record_decision(self, ref: DecisionRef) -> bool:
        if self.on_decision is not None:
            await self.on_decision()
        self.decisions.append(ref.decision_id)
        return True

    @activity.defn(name=CLOSE_SESSION)
    async def close_session(self, request: CloseRequest) -> StopReason:
        """As in the store, the first ending counts."""
        if self.on_close is not None:
            await self.on_close(request)
        if not self.endings:
            self.endings.append(request.ending)
        return self.endings[0].reason


async def hang(at: StepRef) -> ModelReply:
    """A model call that never answers, but is alive: it stops when Temporal says so, and keeps nothing."""
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return ModelReply(interrupted=True)


@asynccontextmanager
async def session(
    client: Client, played: Played, cache: int, *, now: datetime | None = None, limit: float = 180.0, **limits: Any
) -> AsyncIterator[WorkflowHandle[Any, str]]:
    """A session's workflow that was started, with a worker of its own."""
    queue = f"queue-{uuid.uuid4()}"
    session_id = f"sess_{uuid.uuid4().hex}"
    deadline = (now or datetime.now(UTC)) + timedelta(seconds=limit)
    start = SessionInput(
        session_id=session_id,
        deadline_ms=round(deadline.timestamp() * 1000),
        max_steps=limits.pop("max_steps", 20),
        model="claude-sonnet-5-5",
        **limits,
    )
    async with working(client, played, cache, queue):
        yield await client.start_workflow(WORKFLOW, start, id=session_id, task_queue=queue, result_type=str)


def working(client: Client, played: Played, cache: int, queue: str) -> Worker:
    """A worker that plays; it works while its context lasts."""
    return Worker(
        client,
        task_queue=queue,
        workflows=[SessionWorkflow],
        activities=[played.call_model, played.run_tool, played.record_decision, played.close_session],
        max_cached_workflows=cache,
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
        default_heartbeat_throttle_interval=timedelta(milliseconds=100),
    )
