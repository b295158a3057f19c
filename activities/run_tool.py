"""The tool call: claimed before its effect, run once, its result recorded with its fact (DESIGN §3.4, G4).

A crash after the claim leaves a `started` call without a result: a call that only reads is run again, any other is
answered "outcome unknown", and the model is told so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.failures import alive
from activities.results import RESULT, schema_of
from activities.stopping import Stopped, until_stopped
from activities.surroundings import SessionMemory, SessionShelf, Surroundings
from activities.tools.spec import ToolContext, ToolError, ToolOutput, ToolSpec, Whole, call
from session.events import Result, ResultError, ToolProgress
from session.live import tool_scope
from session.vocabulary import COMPLETE_TASK, Effect
from session.wire import RUN_TOOL, ToolFate, ToolRef
from store import Store
from store.calls import Claim
from store.results import Answer

_STOPPED: dict[str, tuple[str, str]] = {
    "cancelled": ("CANCELLED", "The session was cancelled while this call ran; it was stopped."),
    "deadline": ("TIMEOUT", "The session reached its time limit while this call ran; it was stopped."),
}


class ToolCalls:
    """The `run_tool` activity over the registered tools."""

    def __init__(self, store: Store, around: Surroundings) -> None:
        self._store = store
        self._around = around

    @activity.defn(name=RUN_TOOL)
    async def run_tool(self, at: ToolRef, effect: Effect) -> ToolFate:
        """Run one call to its result, unless it has one already, or its workspace is elsewhere."""
        attempt = activity.info().attempt
        async with alive():
            if at.abandoned:
                return await self._store.calls.abandon(at)
            if at.home not in ("", self._around.home):
                return ToolFate(at.call_id, "pending", elsewhere=True)
            reads = effect == "readOnly" and at.gate == "run"
            claim = await (self._store.calls.look(at) if reads else self._store.calls.start(at, attempt))
            if claim.fate is not None:
                return claim.fate
            return await self._run(at, attempt, claim)

    async def _run(self, at: ToolRef, attempt: int, claim: Claim) -> ToolFate:
        began = time.monotonic()
        interrupted = False
        whole: Whole | None = None
        answer: Answer | None = None
        try:
            output, answer = await until_stopped(self._done(at, attempt, claim), at.at, self._store.bus)
            result = Result(success=True, content=output.content, truncated=output.truncated or None)
            whole = output.whole
        except ToolError as error:
            result = _failed(error.code, error.message, error.content)
            whole = error.whole
        except Stopped as stop:
            interrupted = True
            result = _failed(*_STOPPED[stop.cause])
        duration_ms = round((time.monotonic() - began) * 1000)
        try:
            pieces = whole.pieces() if whole is not None else None
            fate = await self._store.calls.record(at, attempt, _edited(claim, result), duration_ms, pieces, answer)
        finally:
            if whole is not None:
                whole.close()
        return ToolFate(fate.call_id, fate.status, fate.duration_ms, interrupted)

    async def _done(self, at: ToolRef, attempt: int, claim: Claim) -> tuple[ToolOutput, Answer | None]:
        """The call's output; where it completes the task of a session with a schema, its `result` held against that."""
        schema = schema_of(claim.session) if claim.call["name"] == COMPLETE_TASK else None
        if schema is None:
            return await self._call(at, attempt, claim, claim.arguments), None
        others = {name: value for name, value in claim.arguments.items() if name != RESULT}
        output = await self._call(at, attempt, claim, others)
        return output, await self._around.validators.of_completion(schema, claim.arguments, self._around.masker)

    async def _call(self, at: ToolRef, attempt: int, claim: Claim, arguments: dict[str, Any]) -> ToolOutput:
        spec = self._around.catalog.spec(claim.call["name"])
        if spec is None:
            told = "this tool was there when the session began and is not now; go on without it"
            raise ToolError("TOOL_GONE", f"{claim.call['name']}: {told}")
        try:
            return await call(spec, arguments, self._context(at, attempt, claim.session, spec))
        except (ToolError, ApplicationError):
            raise
        except Exception as error:  # a tool that breaks is an error for the model, not the end of the session
            activity.logger.exception("tool %s failed", spec.name)
            told = self._around.masker.mask(f"{spec.name} failed: {type(error).__name__}: {error}")
            raise ToolError("TOOL_FAILED", told) from error

    def _context(self, at: ToolRef, attempt: int, session: Mapping[str, Any], spec: ToolSpec[Any]) -> ToolContext:
        scope = tool_scope(at.at.step, at.call_id)

        def progress(stream: Literal["stdout", "stderr"], text: str) -> None:
            frame = ToolProgress(tool_call_id=at.call_id, stream=stream, delta=text).frame(time.time_ns() // 1_000_000)
            self._store.bus.publish_delta(at.at.session_id, scope, attempt, frame)

        try:
            spaces = self._around.workspaces
            workspace = spaces.of(session) if spec.in_workspace else spaces.root
        except (OSError, ValueError) as error:
            raise ToolError("WORKSPACE", f"the workspace cannot be used ({type(error).__name__})") from error
        return ToolContext(
            workspace=workspace,
            progress=progress,
            session_id=at.at.session_id,
            call_id=at.call_id,
            deadline_ms=at.at.deadline_ms,
            sandbox_only=session["security_mode"] == "sandbox",
            policy=self._around.policy,
            masker=self._around.masker,
            jobs=self._around.jobs,
            shelf=SessionShelf(self._store, session),
            memory=SessionMemory(self._store, session, self._around.embedder),
        )


def _edited(claim: Claim, result: Result) -> Result:
    """The result, with a line that says so where the one who approved the call changed its arguments: the model's own
    words in the transcript stay as they were."""
    if not claim.edited:
        return result
    line = f"(Run with the arguments of the one who approved it: {claim.call['shown'] or claim.call['arguments']})"
    content = f"{line}\n{result.content}" if result.content else line
    return result.model_copy(update={"content": content})


def _failed(code: str, message: str, content: str = "") -> Result:
    return Result(success=False, content=content or None, error=ResultError(code=code, message=message))
