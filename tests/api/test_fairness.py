"""Where model calls pile up in Temporal, keys take turns: with what the compose file's server is told about it."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from api.temporal import Temporal
from cli.embedded import EmbeddedTemporal
from cli.start_dev import SERVER_FLAGS
from session.wire import CALL_MODEL, SEARCH_ATTRIBUTES, TASK_QUEUE, WORKFLOW, SessionInput

SETTINGS = Path(__file__).parents[2] / "docker" / "temporal-dynamic.yaml"
MANY = 20

asked: list[str] = []
called: list[str] = []
"""Sessions, in the order in which they asked for a model call and in which they got it."""


@workflow.defn(name=WORKFLOW)
class OneCall:
    """A session of one model call."""

    @workflow.run
    async def run(self, start: SessionInput) -> None:
        asked.append(start.session_id)
        await workflow.execute_activity(CALL_MODEL, start.session_id, schedule_to_close_timeout=timedelta(seconds=60))


@activity.defn(name=CALL_MODEL)
async def call_model(session_id: str) -> None:
    called.append(session_id)


def fairness() -> list[str]:
    """What the file says of it, as flags of the development server; tasks stand in one partition of their queue."""
    told = [f"{name}=true" for name in re.findall(r"^(matching\.\w+):\n  - value: true$", SETTINGS.read_text(), re.M)]
    assert "matching.enableFairness=true" in told
    told += ["matching.numTaskqueueReadPartitions=1", "matching.numTaskqueueWritePartitions=1"]
    return [flag for value in told for flag in ("--dynamic-config-value", value)]


def row(session_id: str, key: str) -> dict[str, Any]:
    known = {"id": session_id, "tenant": key, "conversation_id": f"conv_{session_id}", "model": "m", "effort": "low"}
    limits = {"deadline_ms": time.time_ns() // 1_000_000 + 60_000, "max_steps": 5, "admitted_ms": 1}
    return known | limits | dict.fromkeys(("max_budget", "max_cost_usd"))


async def test_one_session_of_a_key_does_not_wait_for_the_many_of_another(tmp_path: Path) -> None:
    async with EmbeddedTemporal(tmp_path, SEARCH_ATTRIBUTES, flags=(*SERVER_FLAGS, *fairness())) as server:
        client, another = [await Client.connect(server.address) for _ in range(2)]
        temporal = Temporal(client, eager=False)
        runner = UnsandboxedWorkflowRunner()
        async with (
            asyncio.timeout(30),
            Worker(client, task_queue=TASK_QUEUE, workflows=[OneCall], workflow_runner=runner),
        ):
            keys = {f"sess_{number}": "alice" for number in range(MANY)} | {"sess_late": "bob"}
            for session_id, key in keys.items():
                await temporal.start(row(session_id, key), 60_000)
            while len(asked) < len(keys):
                await asyncio.sleep(0.01)
            async with Worker(another, task_queue=TASK_QUEUE, activities=[call_model], max_concurrent_activities=1):
                for session_id in keys:
                    await client.get_workflow_handle(session_id).result()
    assert sorted(called) == sorted(keys)
    assert called.index("sess_late") < MANY // 2, called
