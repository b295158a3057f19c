"""The worker: composition root of the process that runs sessions' workflows and activities."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import (
    FixedSizeSlotSupplier,
    PollerBehaviorSimpleMaximum,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
    WorkerTuner,
)

from activities.backpressure import Backpressure
from activities.call_model import ModelCalls
from activities.catalog import Catalog, ToolSource, custom_tools
from activities.clearing import clearing
from activities.client import Provider, provider_client
from activities.close_session import Closings
from activities.judging import Offers
from activities.launching import Successors
from activities.limiter import Limiter
from activities.mcp import mcp_tools
from activities.memory import Embedder
from activities.presets import Presets
from activities.record_decision import Decisions
from activities.run_tool import ToolCalls
from activities.surroundings import Surroundings
from activities.sweeping import sweeping
from activities.tools.environment import conceal
from activities.transcript import Transcript
from activities.workspaces import Workspaces
from session.masking import Masker
from session.wire import TASK_QUEUE, tools_queue
from settings import Settings, SettingsError
from store import Store, StoreUnavailable
from workflows.deployment import Deployment, taken_up, versioned
from workflows.registration import register_search_attributes
from workflows.session import SessionWorkflow

GRACE = timedelta(seconds=20)
"""How long running activities may go on after SIGTERM before they are given up and retried elsewhere; for workers
that are told nothing else (PERDURE_GRACE_SECONDS)."""

HEARTBEAT_THROTTLE = timedelta(seconds=1)
STICKY_TIMEOUT = timedelta(seconds=1)
"""How long a workflow task waits for the worker that knows the workflow; after a crash nobody is there."""


@dataclass(frozen=True)
class Slots:
    """How many activities a worker runs at once. Model calls wait for the provider, so there may be many; tools take
    this machine's processors and memory. Apart from each other, neither starves the other. Quick tool calls run in the
    workflow tasks' own slots."""

    model: int = 500
    tools: int = 64


def make_workers(
    client: Client,
    store: Store,
    provider: Provider,
    around: Surroundings,
    *,
    task_queue: str = TASK_QUEUE,
    slots: Slots = Slots(),
    grace: timedelta = GRACE,
    version: WorkerDeploymentConfig | None = None,
) -> tuple[Worker, ...]:
    """The workers of one process: one for workflows and model calls, and where the workspace root has a name, one for
    the tool calls that belong to it. They do not poll before they are run. `version`: the build whose sessions stay
    with it."""
    transcript = Transcript(store)
    offers = Offers(store, around.catalog)
    run_tool = ToolCalls(store, around).run_tool
    common: dict[str, Any] = {
        "max_heartbeat_throttle_interval": HEARTBEAT_THROTTLE,
        "default_heartbeat_throttle_interval": HEARTBEAT_THROTTLE,
        "graceful_shutdown_timeout": grace,
    }
    sessions = Worker(
        client,
        task_queue=task_queue,
        workflows=[SessionWorkflow],
        activities=[
            ModelCalls(store, provider, transcript, offers, around).call_model,
            run_tool,
            Decisions(store, offers, around.masker).record_decision,
            Closings(store, transcript, around.jobs, Successors(store, register_search_attributes)).close_session,
        ],
        # The sandbox finds what is not deterministic, for a tenth of the CPU. It watches in the tests, where every
        # workflow test and every recorded history runs inside it; here the same code runs without.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=1000,
        tuner=tuner(slots.model),
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(4),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(4),
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        disable_eager_activity_execution=False,
        deployment_config=version,
        **common,
    )
    if not around.home:
        return (sessions,)
    # It has no version: files have none either, so whichever build is where they are takes the calls of all. A version
    # may have a limited number of queues, too, and none of them may be missing from the next one.
    tools = Worker(
        client,
        task_queue=tools_queue(task_queue, around.home),
        activities=[run_tool],
        tuner=tuner(slots.tools),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(2),
        **common,
    )
    return sessions, tools


def tuner(activities: int) -> WorkerTuner:
    """So many activities at once, taken as they can be begun; workflow tasks and quick calls take moments each."""
    return WorkerTuner.create_composite(
        workflow_supplier=FixedSizeSlotSupplier(100),
        activity_supplier=Backpressure(activities),
        local_activity_supplier=FixedSizeSlotSupplier(100),
        nexus_supplier=FixedSizeSlotSupplier(1),
    )


@asynccontextmanager
async def polling(workers: Sequence[Worker]) -> AsyncIterator[None]:
    """Workers that poll while the context lasts, and drain together when it is left."""
    async with AsyncExitStack() as running:
        for worker in workers:
            await running.enter_async_context(worker)
        try:
            yield
        finally:
            await asyncio.gather(*(worker.shutdown() for worker in workers))


def surroundings(settings: Settings, sources: Sequence[ToolSource] = ()) -> Surroundings:
    """What the settings lend to tools. `sources`: where further tools come from. Raises SettingsError."""
    policy = settings.tool_policy
    embedding = settings.embedding_policy
    workspaces = Workspaces(settings.workspace_root)
    try:
        home = workspaces.home()
    except OSError as error:
        raise SettingsError(
            f"PERDURE_WORKSPACE cannot be used: {error.filename} cannot be made ({error.strerror}); choose another."
        ) from error
    except ValueError as error:
        raise SettingsError(f"PERDURE_WORKSPACE cannot be used: {error}.") from error
    return Surroundings(
        workspaces=workspaces,
        home=home,
        catalog=Catalog(policy, custom_tools(), sources),
        policy=policy,
        masker=Masker(settings.secret_values()),
        embedder=Embedder(embedding) if embedding is not None else None,
        presets=Presets(settings.presets_folder),
        limiter=Limiter(on=settings.pace_calls),
        context=settings.context_policy,
    )


@asynccontextmanager
async def running_worker(
    client: Client, store: Store, settings: Settings, *, build_id: str | None = None
) -> AsyncIterator[None]:
    """A worker that polls while the context lasts; leaving it drains: no new work, running activities get their grace
    period, and what is left is retried elsewhere. The worker ends before the provider's client; the rest is the
    caller's. `build_id`: its version, if it has one."""
    conceal()
    with suppress(RPCError):  # sessions run without them
        await register_search_attributes(client)
    async with (
        mcp_tools(settings.mcp_servers, settings.data_dir / "mcp", Masker(settings.secret_values())) as sources,
        provider_client(settings.anthropic_api_key, settings.anthropic_base_url) as provider,
    ):
        around = surroundings(settings, sources)
        with suppress(StoreUnavailable):  # it is told again with the first step
            await Offers(store, around.catalog).current()
        version = versioned(settings.deployment, build_id)
        grace = timedelta(seconds=settings.grace_seconds)
        slots = Slots(settings.model_slots, settings.tool_slots)
        workers = make_workers(client, store, provider, around, slots=slots, grace=grace, version=version)
        deployment = Deployment(client, settings.deployment, TASK_QUEUE)
        looks = {
            asyncio.create_task(sweeping(around.jobs, store)),
            asyncio.create_task(taken_up(deployment, build_id)),
            asyncio.create_task(clearing(around.workspaces, store)),
        }
        try:
            async with polling(workers):
                yield
        finally:
            for look in looks:
                look.cancel()
            await asyncio.wait(looks)
            await around.close()
