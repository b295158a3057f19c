"""The session's workflow with one incompatible change, to prove that the replay of histories would notice."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from session.machine import CallModel
from session.wire import WORKFLOW, SessionInput
from workflows.session import SessionWorkflow


@workflow.defn(name=WORKFLOW)
class ChangedWorkflow(SessionWorkflow):
    """Waits a moment before each model call, which running sessions did not."""

    @workflow.init
    def __init__(self, start: SessionInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: SessionInput) -> str:
        return await super().run(start)

    async def _call_model(self, move: CallModel) -> None:
        await workflow.sleep(timedelta(seconds=1))
        await super()._call_model(move)
