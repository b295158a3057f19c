"""The session's workflow with one incompatible change: replays must notice it, and deploys survive it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

from session.machine import CallModel
from session.wire import WORKFLOW, SessionInput
from workflows.session import SessionWorkflow

WEIGH_STEP = "weigh_step"


@activity.defn(name=WEIGH_STEP)
async def weigh_step(step: int) -> int:
    """The activity that the earlier version does not have."""
    return step


@workflow.defn(name=WORKFLOW)
class ChangedWorkflow(SessionWorkflow):
    """Calls one activity more before each model call, which running sessions did not."""

    @workflow.init
    def __init__(self, start: SessionInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: SessionInput) -> str:
        return await super().run(start)

    async def _call_model(self, move: CallModel) -> None:
        await workflow.execute_activity(WEIGH_STEP, move.step, schedule_to_close_timeout=timedelta(seconds=60))
        await super()._call_model(move)
