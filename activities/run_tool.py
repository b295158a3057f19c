"""The tool call: claimed before its effect, run once, its result recorded with its fact (DESIGN §3.4, G4).

A crash after the claim leaves a `started` call without a result: a call that only reads is run again, any other is
answered "outcome unknown", and the model is told so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Literal

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.failures import alive
from activities.stopping import Stopped, until_stopped
from activities.tools import TOOLS
from activities.tools.spec import ToolContext, ToolError, ToolOutput, ToolSpec, call
from activities.workspaces import Workspaces
from session.events import Result, ResultError, ToolProgress
from session.live import tool_scope
from session.security import refusal
from session.vocabulary import Effect
from session.wire import RUN_TOOL, ToolFate, ToolRef
from store import Store
from store.calls import Claim

_STOPPED: dict[str, tuple[str, str]] = {
    "cancelled": ("CANCELLED", "The session was cancelled while this call ran; it was stopped."),
    "deadline": ("TIMEOUT", "The session reached its time limit while this call ran; it was stopped."),
}


class ToolCalls:
    """The `run_tool` activity over the registered tools."""

    def __init__(self, store: Store, workspaces: Workspaces) -> None:
        self._store = store
        self._workspaces = workspaces

    @activity.defn(name=RUN_TOOL)
    async def run_tool(self, at: ToolRef, effect: Effect) -> ToolFate:
        """Run one call to its result, unless it has one already."""
        attempt = activity.info().attempt
        async with alive():
            reads = effect == "readOnly"
            claim = await (self._store.calls.look(at) if reads else self._store.calls.start(at, attempt))
            if claim.fate is not None:
                return claim.fate
            return await self._run(at, attempt, claim)

    async def _run(self, at: ToolRef, attempt: int, claim: Claim) -> ToolFate:
        began = time.monotonic()
        interrupted = False
        try:
            output = await until_stopped(self._call(at, attempt, claim), at.at, self._store.bus)
            result = Result(success=True, content=output.content, truncated=output.truncated or None)
        except ToolError as error:
            result = _failed(error.code, error.message, error.content)
        except Stopped as stop:
            interrupted = True
            result = _failed(*_STOPPED[stop.cause])
        duration_ms = round((time.monotonic() - began) * 1000)
        fate = await self._store.calls.record(at, attempt, result, duration_ms)
        return ToolFate(fate.call_id, fate.status, fate.duration_ms, interrupted)

    async def _call(self, at: ToolRef, attempt: int, claim: Claim) -> ToolOutput:
        spec = _permitted(claim.call, claim.session)
        scope = tool_scope(at.at.step, at.call_id)

        def progress(stream: Literal["stdout", "stderr"], text: str) -> None:
            frame = ToolProgress(tool_call_id=at.call_id, stream=stream, delta=text).frame(time.time_ns() // 1_000_000)
            self._store.bus.publish_delta(at.at.session_id, scope, attempt, frame)

        try:
            workspace = self._workspaces.of(claim.session)
        except (OSError, ValueError) as error:
            raise ToolError("WORKSPACE", f"the workspace cannot be used ({type(error).__name__})") from error
        try:
            return await call(spec, claim.arguments, ToolContext(workspace=workspace, progress=progress))
        except (ToolError, ApplicationError):
            raise
        except Exception as error:  # a tool that breaks is an error for the model, not the end of the session
            activity.logger.exception("tool %s failed", spec.name)
            raise ToolError("TOOL_FAILED", f"{spec.name} failed: {type(error).__name__}: {error}") from error


def _permitted(row: Mapping[str, Any], session: Mapping[str, Any]) -> ToolSpec[Any]:
    """The tool of a call. Raises ToolError when there is none or the session's security mode refuses it."""
    spec = TOOLS.get(row["name"])
    if spec is None:
        raise ToolError("UNKNOWN_TOOL", f"there is no tool {row['name']!r}; the tools are {', '.join(sorted(TOOLS))}")
    allowed = json.loads(session["settings"])["allowedTools"]
    refused = refusal(session["security_mode"], spec.name, spec.security_level, spec.effect, allowed)
    if refused is not None:
        raise ToolError("REFUSED", refused)
    return spec


def _failed(code: str, message: str, content: str = "") -> Result:
    return Result(success=False, content=content or None, error=ResultError(code=code, message=message))
