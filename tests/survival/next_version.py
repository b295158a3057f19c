"""The next version of Perdure, as far as its workers go: `python -m tests.survival.next_version worker …`.

    NEXT_VERSION=changed      the workflow calls one activity more before each step: what an earlier version's running
                              sessions did not, so a worker of this kind cannot go on with one of them
    NEXT_VERSION=compatible   the workflow tells people more and has another query: the same commands as before

Everything else is the code of this version, run as the `perdure` command runs it.
"""

from __future__ import annotations

import os
from typing import Any

from temporalio import workflow
from temporalio.worker import Worker

import worker
from cli.main import main
from session.vocabulary import Phase
from session.wire import WORKFLOW, SessionInput
from tests.workflows.changed import ChangedWorkflow, weigh_step
from workflows.session import SessionWorkflow


@workflow.defn(name=WORKFLOW)
class Compatible(SessionWorkflow):
    """The same commands; more to look at."""

    @workflow.init
    def __init__(self, start: SessionInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: SessionInput) -> str:
        return await super().run(start)

    @workflow.query(name="next_version")
    def next_version(self) -> str:
        return "compatible"

    def _show(self, phase: Phase) -> None:
        super()._show(phase)
        workflow.set_current_details(f"next version: {workflow.get_current_details()}")


WORKFLOWS = {"changed": ChangedWorkflow, "compatible": Compatible}


class NextWorker(Worker):
    """A worker whose workflow, where it has one, is the next version's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        if options.get("workflows"):
            options["workflows"] = [WORKFLOWS[os.environ["NEXT_VERSION"]]]
        options["activities"] = [*options.get("activities", ()), weigh_step]
        super().__init__(*args, **options)


if __name__ == "__main__":
    vars(worker)["Worker"] = NextWorker  # where the composition root finds it
    main()
