"""What a crowd of tasks that comes at once does to a worker whose loop is busy."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from worker import tuner

CROWD = 60
BUSY_SECONDS = 0.03


@activity.defn
async def begin_late() -> float:
    """How long after Temporal gave this task away it began: seconds. The loop is busy, as with hundreds of streams."""
    late = time.time() - activity.info().started_time.timestamp()
    time.sleep(BUSY_SECONDS)  # noqa: ASYNC251 - that the loop stands still is what this is for
    return late


@workflow.defn
class Crowd:
    @workflow.run
    async def run(self) -> list[float]:
        lasting = timedelta(seconds=30)
        tasks = [workflow.execute_activity(begin_late, start_to_close_timeout=lasting) for _ in range(CROWD)]
        return list(await asyncio.gather(*tasks))


async def test_the_tasks_of_a_crowd_wait_in_temporal_and_not_in_the_worker(client: Client) -> None:
    """Taken all at once, the last would lie in the worker for nearly two seconds with its clocks running."""
    queue = f"queue-{uuid.uuid4()}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Crowd],
        activities=[begin_late],
        tuner=tuner(2 * CROWD),
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        late = await client.execute_workflow(Crowd.run, id=queue, task_queue=queue)
    assert len(late) == CROWD
    assert max(late) < CROWD * BUSY_SECONDS / 2
