"""The worker: composition root of the process that runs sessions' workflows and activities."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import (
    PollerBehaviorSimpleMaximum,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
)

from activities.asking import Transcript
from activities.call_model import ModelCalls
from activities.catalog import Catalog, ToolSource, custom_tools
from activities.clearing import clearing
from activities.client import Provider, provider_client
from activities.close_session import Closings
from activities.judging import Offers
from activities.mcp import mcp_tools
from activities.record_decision import Decisions
from activities.run_tool import ToolCalls
from activities.surroundings import Surroundings
from activities.sweeping import sweeping
from activities.tools.environment import conceal
from activities.workspaces import Workspaces
from session.masking import Masker
from session.wire import TASK_QUEUE
from settings import Settings
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


def make_worker(
    client: Client,
    store: Store,
    provider: Provider,
    around: Surroundings,
    *,
    task_queue: str = TASK_QUEUE,
    max_cached_workflows: int = 1000,
    grace: timedelta = GRACE,
    version: WorkerDeploymentConfig | None = None,
) -> Worker:
    """A worker for sessions. It does not poll before it is run. `version`: the build whose sessions stay with it."""
    transcript = Transcript(store)
    offers = Offers(store, around.catalog)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[SessionWorkflow],
        activities=[
            ModelCalls(store, provider, transcript, offers, around.masker).call_model,
            ToolCalls(store, around).run_tool,
            Decisions(store, offers, around.masker).record_decision,
            Closings(store, transcript, around.jobs).close_session,
        ],
        # The sandbox finds what is not deterministic, for a tenth of the CPU. It watches in the tests, where every
        # workflow test and every recorded history runs inside it; here the same code runs without.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=max_cached_workflows,
        max_concurrent_activities=500,
        max_concurrent_workflow_tasks=100,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(4),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(4),
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        graceful_shutdown_timeout=grace,
        deployment_config=version,
        disable_eager_activity_execution=False,
    )


def surroundings(settings: Settings, sources: Sequence[ToolSource] = ()) -> Surroundings:
    """What the settings lend to tools. `sources`: where further tools come from."""
    policy = settings.tool_policy
    return Surroundings(
        workspaces=Workspaces(settings.workspace_root),
        catalog=Catalog(policy, custom_tools(), sources),
        policy=policy,
        masker=Masker(settings.secret_values()),
    )


@asynccontextmanager
async def running_worker(
    client: Client, store: Store, settings: Settings, *, build_id: str | None = None
) -> AsyncIterator[Worker]:
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
        worker = make_worker(client, store, provider, around, grace=grace, version=version)
        deployment = Deployment(client, settings.deployment, TASK_QUEUE)
        looks = {
            asyncio.create_task(sweeping(around.jobs, store)),
            asyncio.create_task(taken_up(deployment, build_id)),
            asyncio.create_task(clearing(around.workspaces, store)),
        }
        try:
            async with worker:
                yield worker
        finally:
            for look in looks:
                look.cancel()
            await asyncio.wait(looks)
            await around.jobs.close()
