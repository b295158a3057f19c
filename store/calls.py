"""Writing tool calls: started, result, and the end of the step when the last result is in (G4, G6)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, func, select, update

from session.auditing import AuditKind, AuditStatus
from session.events import Result, ResultError, ToolResulted
from session.live import tool_scope
from session.usage import Usage
from session.vocabulary import COMPLETE_TASK
from session.wire import ToolFate, ToolRef
from store.audit import append, entry_of_call
from store.completing import complete_step
from store.database import Row, first
from store.interjections import waits
from store.ledger import Fenced, Ledger, Ledgers, NotFound, SessionOver
from store.results import Answer, has_step_left, taken
from store.schema import sessions, tool_calls, turns
from store.shelves import keep_output
from store.waiting import lapse, not_approved, of_call

_OF_STEP = (tool_calls.c.session_id == bindparam("session"), tool_calls.c.step == bindparam("at_step"))
_THIS = (*_OF_STEP, tool_calls.c.call_id == bindparam("call"))
_CALL = select(tool_calls).where(*_THIS)
_CALL_AND_ITS_RULES = (
    select(
        tool_calls,
        sessions.c.id,
        sessions.c.conversation_id,
        sessions.c.settings,
        sessions.c.security_mode,
        sessions.c.deadline_ms,
    )
    .join(sessions, sessions.c.id == tool_calls.c.session_id)
    .where(*_THIS)
)
_STARTED = (
    update(tool_calls)
    .where(*_THIS)
    .values({column: bindparam(f"new_{column}") for column in ("status", "epoch_ms", "attempt", "started_ms")})
)
_ANSWERED = (
    update(tool_calls)
    .where(*_THIS)
    .values({column: bindparam(f"new_{column}") for column in ("status", "result", "duration_ms")})
)
_PROGRESS = select(
    select(func.count()).where(*_OF_STEP).scalar_subquery().label("calls"),
    select(func.count(tool_calls.c.result)).where(*_OF_STEP).scalar_subquery().label("done"),
    turns.c.usage,
).where(turns.c.session_id == bindparam("session"), turns.c.step == bindparam("at_step"))

OUTCOME_UNKNOWN = Result(
    success=False,
    error=ResultError(
        code="OUTCOME_UNKNOWN",
        message="The worker was lost while this call ran. It may or may not have taken effect, and it was not run"
        " again. Check before you repeat it.",
    ),
)

SPOKEN_TO = Result(
    success=False,
    error=ResultError(
        code="NEW_MESSAGE",
        message="The user has written again meanwhile; the message follows. Take it into account, then call"
        " complete_task again.",
    ),
)

WORKSPACE_AWAY = Result(
    success=False,
    error=ResultError(
        code="WORKSPACE_AWAY",
        message="No worker that has the workspace of this session took the call in time: its machine is away, or busy."
        " The call was not run; files cannot be reached until a worker there takes calls again.",
    ),
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What `run_tool` may do: run the call (`arguments`), or return the fate that was recorded before."""

    call: Mapping[str, Any]
    session: Mapping[str, Any]
    fate: ToolFate | None = None
    edited: bool = False
    """Whether the one who approved the call put other arguments in the place of the model's."""

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(json.loads(self.call["arguments"]))


class Calls:
    """Writes tool calls. Each method is one transaction."""

    def __init__(self, ledgers: Ledgers) -> None:
        self.ledgers = ledgers
        self.database = ledgers.database

    async def start(self, at: ToolRef, attempt: int) -> Claim:
        """Record `started` before the effect, so that a crash during it is seen afterwards.

        A side-effecting call that was started before and has no result gets the result "outcome unknown" here: it never
        runs twice (G4). A call that was refused, or not approved while there was time, is answered here as well.
        Raises NotFound, SessionOver.
        """
        async with self.ledgers.open(at.at.session_id) as ledger:
            call = await _call(ledger, at)
            approval = await of_call(ledger, at.at.step, at.call_id) if at.gate == "ask" else None
            if (fate := await _settled(ledger, at, call, approval)) is not None:
                return Claim(call, ledger.row, fate)
            started = {
                "status": "started",
                "epoch_ms": at.at.epoch_ms,
                "attempt": attempt,
                "started_ms": ledger.now_ms,
            }
            values = {f"new_{column}": value for column, value in started.items()}
            await ledger.connection.execute(_STARTED, {**_names(at), **values})
            edited = approval is not None and approval["arguments"] is not None
            return Claim({**call, **started}, ledger.row, edited=edited)

    async def abandon(self, at: ToolRef) -> ToolFate:
        """Answer a call that no worker took which has its workspace. Raises NotFound, SessionOver."""
        async with self.ledgers.open(at.at.session_id) as ledger:
            call = await _call(ledger, at)
            approval = await of_call(ledger, at.at.step, at.call_id) if at.gate == "ask" else None
            fate = await _settled(ledger, at, call, approval)
            return fate or await _record(ledger, at, call, WORKSPACE_AWAY, 0)

    async def look(self, at: ToolRef) -> Claim:
        """Like `start` for a call that only reads: nothing is written, since running it twice does no harm."""
        async with self.database.read() as connection:
            row = await first(connection, _CALL_AND_ITS_RULES, **_names(at))
        if row is None:
            raise NotFound(f"no tool call {at.call_id}")
        return Claim(row, row, _fate(row) if row["result"] is not None else None)

    async def record(
        self,
        at: ToolRef,
        attempt: int,
        result: Result,
        duration_ms: int,
        whole: Iterable[str] | None = None,
        answer: Answer | None = None,
    ) -> ToolFate:
        """Store the result with its fact, and `step:complete` when it was the last one. The first result wins.

        `whole`: all of a result that was too long to show, in pieces; `answer`: the session's own result, where the
        call brought it. Raises SessionOver, Fenced (a side-effecting call was started by somebody else since).
        """
        async with self.ledgers.open(at.at.session_id) as ledger:
            call = await _call(ledger, at)
            if call["result"] is not None:
                return _fate(call)
            if ledger.is_terminal:
                raise SessionOver(ledger.id)
            mine = (call["epoch_ms"], call["attempt"]) == (at.at.epoch_ms, attempt)
            if call["effect"] != "readOnly" and not mine:
                raise Fenced(f"call {at.call_id} was started by a newer attempt")
            if whole is not None:
                await keep_output(ledger.connection, ledger.id, at.call_id, whole)
            if answer is not None:
                result = await taken(ledger, at.at.step, answer, result)
            return await _record(ledger, at, {**call, "attempt": attempt}, result, duration_ms)


def _names(at: ToolRef) -> dict[str, Any]:
    return {"session": at.at.session_id, "at_step": at.at.step, "call": at.call_id}


async def _call(ledger: Ledger, at: ToolRef) -> Row:
    row = await first(ledger.connection, _CALL, **_names(at))
    if row is None:
        raise NotFound(f"no tool call {at.call_id}")
    return row


def _fate(call: Mapping[str, Any]) -> ToolFate:
    status: Literal["success", "error"] = "success" if call["status"] == "success" else "error"
    return ToolFate(call["call_id"], status, call["duration_ms"] or 0)


async def _settled(
    ledger: Ledger, at: ToolRef, call: Mapping[str, Any], approval: Mapping[str, Any] | None
) -> ToolFate | None:
    """The fate of a call that must not run (any more): it has a result, its fate is unknown, or it was refused; None
    for one that may. Raises SessionOver."""
    if call["result"] is not None:
        return _fate(call)
    if ledger.is_terminal:
        raise SessionOver(ledger.id)
    if call["status"] == "started" and call["effect"] != "readOnly":
        return await _record(ledger, at, call, OUTCOME_UNKNOWN)
    if call["name"] == COMPLETE_TASK and await has_step_left(ledger, at.at.step) and await waits(ledger, at.at.step):
        return await _record(ledger, at, call, SPOKEN_TO, 0, kind="refusal")
    return await _refused(ledger, at, call, approval)


async def _refused(
    ledger: Ledger, at: ToolRef, call: Mapping[str, Any], approval: Mapping[str, Any] | None
) -> ToolFate | None:
    """Answer a call that must not run; None for one that may."""
    if call["refusal"] is not None:
        error = ResultError.model_validate_json(call["refusal"])
        return await _record(ledger, at, call, Result(success=False, error=error), 0, kind="refusal")
    if approval is None or approval["status"] == "approved":
        return None
    if approval["status"] == "pending":
        await lapse(ledger, approval)
    error = not_approved(approval, cancelling=ledger.row["cancel_mode"] is not None)
    return await _record(ledger, at, call, Result(success=False, error=error), kind=None)


async def _record(
    ledger: Ledger,
    at: ToolRef,
    call: Mapping[str, Any],
    result: Result,
    duration_ms: int | None = None,
    kind: AuditKind | None = "call",
) -> ToolFate:
    fate = await write_result(ledger, at.at.step, call, result, duration_ms, kind)
    await _complete_step_if_last(ledger, at)
    return fate


async def write_result(
    ledger: Ledger,
    step: int,
    call: Mapping[str, Any],
    result: Result,
    duration_ms: int | None = None,
    kind: AuditKind | None = "call",
) -> ToolFate:
    """Write one call's result, its `tool:result` fact and its audit row (`kind` None: there is one already); the
    duration defaults to the time since it was started."""
    call_id = call["call_id"]
    status: Literal["success", "error"] = "success" if result.success else "error"
    if duration_ms is None:
        duration_ms = ledger.now_ms - (call["started_ms"] or ledger.now_ms)
    told = result.published()
    values = {
        "new_status": status,
        "new_result": json.dumps(told, ensure_ascii=False),
        "new_duration_ms": duration_ms,
    }
    named = {"session": ledger.id, "at_step": step, "call": call_id}
    await ledger.connection.execute(_ANSWERED, {**named, **values})
    fact = ToolResulted(
        tool_call_id=call_id,
        id=call_id,
        name=call["name"],
        status=status,
        result=told,
        duration_ms=duration_ms,
        step=step,
    )
    ledger.append(f"step/{step}/tool/{call_id}/result", fact, closes=tool_scope(step, call_id))
    if kind is not None:
        told_status: AuditStatus | None = status if kind == "call" else None
        shown = result.content if result.error is None else f"{result.error.code}: {result.error.message}"
        entry = entry_of_call(call, kind, status=told_status, duration_ms=duration_ms, preview=shown)
        await append(ledger, entry)
    return ToolFate(call_id, status, duration_ms)


async def _complete_step_if_last(ledger: Ledger, at: ToolRef) -> None:
    found = await first(ledger.connection, _PROGRESS, session=ledger.id, at_step=at.at.step)
    if found is None or found["calls"] != found["done"]:
        return
    spent = Usage(**json.loads(found["usage"]))
    await complete_step(ledger, at.at.step, spent, found["calls"])
