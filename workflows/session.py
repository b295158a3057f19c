"""SessionWorkflow: one agent session from its first model call to its recorded end.

    waits:   where its input says so, until the `admit` signal, with no activity and no timer but the deadline's
    steps:   while the machine says so: call the model, run the tools it asked for, apply what came of it
    ends:    the steps came to an end | the deadline's timer | the `cancel` signal | Temporal's own cancel
    closing: whatever ended it, running activities are stopped and waited for, then `close_session` records the end

No content passes through here: references, counts and names only (G7).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

with workflow.unsafe.imports_passed_through():
    from session.budget import Budget
    from session.machine import CallModel, RunTools, State, Stop, apply_reply, apply_result, next_step
    from session.vocabulary import Phase, StopReason
    from session.wire import (
        ADMIT_SIGNAL,
        CALL_MODEL,
        CANCEL_SIGNAL,
        CLOSE_SESSION,
        DECIDE_UPDATE,
        NOT_WAITING,
        PROGRESS_QUERY,
        RECORD_DECISION,
        WORKFLOW,
        CallRef,
        CancelRequest,
        CloseRequest,
        Decision,
        DecisionRef,
        Ending,
        ModelReply,
        Progress,
        SessionInput,
        StepRef,
        ToolFate,
    )
    from workflows.endings import SomebodyElseWentOn, ending_of, shielded
    from workflows.options import PARALLEL_TOOLS, close_options, decision_options, step_options
    from workflows.placing import run_call
    from workflows.showing import attributes_of_end, details


@dataclass
class _Waiting:
    """A call that waits for an approval: until when, whether a decision was taken, and whether it was recorded."""

    until: datetime
    taken: bool = False
    recorded: bool = False


@workflow.defn(name=WORKFLOW)
class SessionWorkflow:
    """The workflow id is the session id. Returns the stop reason."""

    @workflow.init
    def __init__(self, start: SessionInput) -> None:
        self._start = start
        self._state = State(Budget(start.max_steps, start.max_budget, start.max_cost_usd))
        self._home = ""
        self._phase: Phase = "callingModel"
        self._may_begin = not start.waits
        self._cancel: CancelRequest | None = None
        self._stopping = False
        self._waiting: dict[str, _Waiting] = {}
        self._waited: set[str] = set()
        self._running = 0
        self._slots = asyncio.Semaphore(PARALLEL_TOOLS)
        self._epoch_ms = round(workflow.info().start_time.timestamp() * 1000)

    @workflow.run
    async def run(self, start: SessionInput) -> str:
        try:
            ending = await self._until_ended()
        except SomebodyElseWentOn:
            return "superseded"
        reason = await self._close(ending)
        if reason == "cancelled" and ending.cancelled_by == "temporal":
            raise CancelledError("cancelled in Temporal")
        return reason

    @workflow.signal(name=CANCEL_SIGNAL)
    def cancel(self, request: CancelRequest) -> None:
        """Ask to end the session: `now` at once, `graceful` after the running step; `now` overrides `graceful`."""
        if self._cancel is None or request.mode == "now":
            self._cancel = request

    @workflow.signal(name=ADMIT_SIGNAL)
    def admit(self) -> None:
        """It is this session's turn: its steps may begin."""
        self._may_begin = True

    @workflow.update(name=DECIDE_UPDATE)
    async def decide(self, decision: Decision) -> bool:
        """Take a decision on an approval and record it. The first one wins: others are refused by the validator.

        The store tells of an approval before the workflow hears of the reply that asked for it (much before, where the
        worker dies between the two): a decision that early waits for it. False when it was not the first after all, or
        when the store knew one already (after operators reset the workflow).
        """
        await workflow.wait_condition(lambda: decision.approval_id in self._waiting or not self._may_ask_yet())
        waiting = self._waiting.get(decision.approval_id)
        if waiting is None or waiting.taken:
            return False
        waiting.taken = True
        ref = DecisionRef(self._start.session_id, decision.approval_id, decision.decision_id)
        try:
            recorded: bool = await workflow.execute_activity(
                RECORD_DECISION, ref, result_type=bool, **decision_options(self._left())
            )
        finally:
            waiting.recorded = True
        return recorded

    @decide.validator
    def _check_decision(self, decision: Decision) -> None:
        waiting = self._waiting.get(decision.approval_id)
        if waiting is not None:
            late = waiting.taken or self._stopping or workflow.now() >= waiting.until
        else:
            late = decision.approval_id in self._waited or not self._may_ask_yet()
        if late:
            raise ApplicationError("no call waits for this approval any more", type=NOT_WAITING, non_retryable=True)

    def _may_ask_yet(self) -> bool:
        """Whether a reply may have been recorded whose approvals are not known here."""
        return self._phase == "callingModel" and not self._stopping

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> Progress:
        """Where the session stands (CONTRACT §2)."""
        running = self._phase == "callingModel"
        return Progress(
            phase=self._phase,
            step=self._state.step + 1 if running else self._state.step,
            pending_tools=[call.name for call in self._state.pending],
            usage=self._state.usage,
            deadline_ms=self._start.deadline_ms,
        )

    # -- the race between the steps and what ends them ---------------------------------------------------------------

    async def _until_ended(self) -> Ending:
        steps = asyncio.create_task(self._steps())
        ending: Ending | None = None
        try:
            await workflow.wait_condition(lambda: steps.done() or self._is_cancelled_now(), timeout=self._left())
        except TimeoutError:
            ending = Ending("timeout")
        except asyncio.CancelledError:
            ending = Ending("cancelled", cancelled_by="temporal")
        if steps.done():
            return ending or steps.result()
        self._stopping = True
        self._show("closing")
        steps.cancel()
        await shielded(steps)
        return ending or self._cancelled()

    def _is_cancelled_now(self) -> bool:
        return self._cancel is not None and self._cancel.mode == "now"

    def _is_cancelled_gracefully(self) -> bool:
        return self._cancel is not None and self._cancel.mode == "graceful"

    def _cancelled(self) -> Ending:
        return Ending("cancelled", cancelled_by=self._cancel.by if self._cancel else "")

    def _left(self) -> timedelta:
        deadline = datetime.fromtimestamp(self._start.deadline_ms / 1000, UTC)
        return max(timedelta(0), deadline - workflow.now())

    # -- the steps ---------------------------------------------------------------------------------------------------

    async def _wait_for_turn(self) -> None:
        """Wait until the store admits the session, or for a cancel, `graceful` too: there is no step to finish."""
        workflow.set_current_details("queued · waits for its turn")
        await workflow.wait_condition(lambda: self._may_begin or self._cancel is not None)

    async def _steps(self) -> Ending:
        if not self._may_begin:
            await self._wait_for_turn()
        try:
            while not isinstance(move := next_step(self._state), Stop):
                if self._stopping:  # an activity finished although it was cancelled: that counts, no more follows
                    raise asyncio.CancelledError
                if self._cancel is not None and isinstance(move, CallModel):
                    return self._cancelled()
                if isinstance(move, CallModel):
                    await self._call_model(move)
                else:
                    await self._run_tools(move)
        except ActivityError as error:
            return ending_of(error)
        return Ending(move.reason)

    async def _call_model(self, move: CallModel) -> None:
        self._show("callingModel")
        reply: ModelReply = await workflow.execute_activity(
            CALL_MODEL,
            self._at(move.step),
            result_type=ModelReply,
            **step_options(self._left(), f"step {move.step} · {self._start.model}"),
        )
        self._state = apply_reply(self._state, reply)
        self._home = reply.home
        if reply.interrupted:
            await self._wait_to_be_stopped()

    async def _run_tools(self, move: RunTools) -> None:
        self._show("runningTools")
        fates = await asyncio.gather(*(self._run_tool(move.step, call) for call in move.calls), return_exceptions=True)
        failure = next((fate for fate in fates if isinstance(fate, BaseException)), None)
        if failure is not None:
            raise failure
        if any(isinstance(fate, ToolFate) and fate.interrupted for fate in fates):
            await self._wait_to_be_stopped()

    async def _run_tool(self, step: int, call: CallRef) -> ToolFate:
        if call.gate == "ask":
            await self._wait_for_approval(call)
        async with self._slots:
            self._count(+1)
            try:
                fate = await run_call(self._at(step), call, self._home, self._left)
            finally:
                self._count(-1)
        self._state = apply_result(self._state, fate)
        return fate

    async def _wait_for_approval(self, call: CallRef) -> None:
        """Wait for the decision, its expiry, or a cancel, which waits for nobody. What came of it stands in the store:
        `run_tool` runs the call if it was approved, and lets the approval lapse if nobody decided."""
        waiting = _Waiting(datetime.fromtimestamp(call.expires_ms / 1000, UTC))
        self._waiting[call.approval_id] = waiting
        self._waited.add(call.approval_id)
        self._count(0)
        left = max(timedelta(0), waiting.until - workflow.now())
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: waiting.taken or self._is_cancelled_gracefully(), timeout=left)
        if waiting.taken:
            await workflow.wait_condition(lambda: waiting.recorded)
        del self._waiting[call.approval_id]

    def _count(self, change: int) -> None:
        """Keep the phase true: it awaits approvals when nothing else runs. A worker that goes drops its workflows
        wherever they are, and nothing can be shown from there."""
        self._running += change
        if not self._stopping and workflow.in_workflow():
            waits = self._waiting and self._running == 0
            self._show("awaitingApproval" if waits else "runningTools")

    async def _wait_to_be_stopped(self) -> None:
        """An activity heard of the cancel or the deadline first; the signal or the timer, which decide, are near."""
        await workflow.wait_condition(lambda: self._stopping)
        raise asyncio.CancelledError

    def _at(self, step: int) -> StepRef:
        return StepRef(self._start.session_id, step, self._epoch_ms, self._start.deadline_ms)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _close(self, ending: Ending) -> StopReason:
        """Record the end; the reason that counts. It is another one where somebody closed the session before, also this
        workflow itself: Temporal takes no ending while it holds news, and asks for the task again."""
        self._stopping = True
        self._show("closing")
        if not workflow.all_handlers_finished():  # a decision is being recorded: what it says comes before the end
            await shielded(asyncio.create_task(workflow.wait_condition(workflow.all_handlers_finished)))
        request = CloseRequest(self._start.session_id, ending)
        closing = asyncio.create_task(
            workflow.execute_local_activity(CLOSE_SESSION, request, result_type=str, **close_options())
        )
        await shielded(closing)
        reason: StopReason = closing.result()
        if self._start.search_attributes:
            workflow.upsert_search_attributes(attributes_of_end(reason))
        return reason

    def _show(self, phase: Phase) -> None:
        """Tell the people in Temporal's UI where the session stands."""
        self._phase = phase
        workflow.set_current_details(details(self._state, self._start.max_steps, phase))
