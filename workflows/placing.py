"""Where a tool call runs.

A quick call is a local activity: it runs in the worker that has the workflow task in its hands and saves a round trip
through Temporal. It may run again when that worker is lost, as others may: whether a call takes effect is decided by
the store alone (G4).
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from session.wire import RUN_TOOL, CallRef, StepRef, ToolFate, ToolRef
    from workflows.options import Left, quick_options, step_options


async def run_call(at: StepRef, call: CallRef, left: Left) -> ToolFate:
    """Run one call to its result. Raises ActivityError."""
    args = [ToolRef(at, call.id, call.gate), call.effect]
    if call.quick:
        fate: ToolFate = await workflow.execute_local_activity(
            RUN_TOOL, args=args, result_type=ToolFate, **quick_options(left(), call.name)
        )
    else:
        fate = await workflow.execute_activity(
            RUN_TOOL, args=args, result_type=ToolFate, **step_options(left(), call.name)
        )
    return fate
