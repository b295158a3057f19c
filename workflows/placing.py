"""Where a tool call runs.

A quick call is a local activity: it runs in the worker that has the workflow task in its hands and saves a round trip
through Temporal. It may run again when that worker is lost, as others may: whether a call takes effect is decided by
the store alone (G4). Other calls, and quick ones whose workspace is not at that worker, go to the queue of the workers
that have it. When none of them takes a call in time, it is answered without being run, and the model is told so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from temporalio import exceptions, workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from session.wire import RUN_TOOL, CallRef, StepRef, ToolFate, ToolRef, tools_queue
    from workflows.options import quick_options, tool_options


async def run_call(at: StepRef, call: CallRef, home: str, left: Callable[[], timedelta]) -> ToolFate:
    """Run one call to its result. `left`: how much of the session's time there is. Raises ActivityError."""
    ref = ToolRef(at, call.id, call.gate, "" if call.anywhere else home)
    if call.quick:
        fate = await _run_here(ref, call, left())
        if not fate.elsewhere:
            return fate
    queue = tools_queue(workflow.info().task_queue, home)
    try:
        taken: ToolFate = await workflow.execute_activity(
            RUN_TOOL, args=[ref, call.effect], result_type=ToolFate, **tool_options(left(), call.name, queue)
        )
        return taken
    except ActivityError as error:
        if not _was_not_taken(error):
            raise
    return await _run_here(replace(ref, abandoned=True), call, left())


async def _run_here(ref: ToolRef, call: CallRef, left: timedelta) -> ToolFate:
    fate: ToolFate = await workflow.execute_local_activity(
        RUN_TOOL, args=[ref, call.effect], result_type=ToolFate, **quick_options(left, call.name)
    )
    return fate


def _was_not_taken(error: ActivityError) -> bool:
    return (
        isinstance(error.cause, exceptions.TimeoutError)
        and error.cause.type == exceptions.TimeoutType.SCHEDULE_TO_START
    )
