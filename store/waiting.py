"""How approvals begin and end inside the transactions of their session: with the reply that asks, with the decision
that was first, or by lapsing.

Whoever looks at a call whose wait is over and finds its approval pending lets it lapse. What is written here comes with
its fact and its audit row, or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from session.auditing import AuditKind
from session.events import ApprovalRequired, ApprovalResolved, ResultError
from session.vocabulary import APPROVAL_SECONDS, ApprovalStatus
from session.wire import CallRef
from store.audit import append, entry_of_call
from store.database import Row, every, first
from store.ledger import Ledger
from store.replies import NewCall
from store.rows import iso
from store.schema import approvals, tool_calls

_OF_CALL = select(approvals).where(
    approvals.c.session_id == bindparam("session"),
    approvals.c.step == bindparam("at_step"),
    approvals.c.call_id == bindparam("call"),
)
_PENDING_OF_SESSION = select(approvals).where(
    approvals.c.session_id == bindparam("session"), approvals.c.status == "pending"
)
_NOT_GIVEN_OF_SESSION = select(approvals.c.step, approvals.c.call_id).where(
    approvals.c.session_id == bindparam("session"), approvals.c.status.in_(("denied", "expired"))
)
_SETTLE = (
    update(approvals)
    .where(approvals.c.id == bindparam("approval"))
    .values({column: bindparam(f"new_{column}") for column in ("status", "decision", "by", "reason", "arguments")})
)
CALL = (
    (tool_calls.c.session_id == bindparam("session")),
    (tool_calls.c.step == bindparam("at_step")),
    (tool_calls.c.call_id == bindparam("call")),
)
"""Which row of `tool_calls` an approval is about; its parameters are `names_of` the approval's row."""


def names_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"session": row["session_id"], "at_step": row["step"], "call": row["call_id"]}


def asked(ledger: Ledger, call: NewCall, approval_id: str) -> CallRef:
    """The reference of a call that waits: which approval, and until when (Unix ms)."""
    expires = min(ledger.now_ms + APPROVAL_SECONDS * 1000, ledger.row["deadline_ms"])
    return replace(call.ref, approval_id=approval_id, expires_ms=expires)


async def require(ledger: Ledger, step: int, call: NewCall) -> None:
    """Write the approval that a call waits for, with its fact, inside the transaction that records the reply."""
    ref, shown = call.ref, call.arguments_shown
    row = {
        "id": ref.approval_id,
        "session_id": ledger.id,
        "conversation_id": ledger.row["conversation_id"],
        "step": step,
        "call_id": ref.id,
        "name": ref.name,
        "shown": json.dumps(shown, ensure_ascii=False),
        "security_level": call.security_level,
        "status": "pending",
        "expires_ms": ref.expires_ms,
        "created_ms": ledger.now_ms,
    }
    await ledger.connection.execute(insert(approvals), row)
    fact = ApprovalRequired(
        approval_id=ref.approval_id,
        tool_call_id=ref.id,
        name=ref.name,
        arguments=shown,
        security_level=call.security_level,
        expires_at=iso(ref.expires_ms),
    )
    ledger.append(f"approval/{ref.approval_id}", fact)


async def of_call(ledger: Ledger, step: int, call_id: str) -> Row | None:
    return await first(ledger.connection, _OF_CALL, session=ledger.id, at_step=step, call=call_id)


async def pending_of(ledger: Ledger) -> list[Row]:
    return await every(ledger.connection, _PENDING_OF_SESSION, session=ledger.id)


async def not_given(ledger: Ledger) -> set[tuple[int, str]]:
    """Step and id of the calls whose approval was denied or expired: the audit has their end already."""
    rows = await every(ledger.connection, _NOT_GIVEN_OF_SESSION, session=ledger.id)
    return {(row["step"], row["call_id"]) for row in rows}


def not_approved(approval: Mapping[str, Any], *, cancelling: bool) -> ResultError:
    """What the model is told of a call that was not approved."""
    name = approval["name"]
    if approval["status"] == "denied":
        reason = f" Reason: {approval['reason']}" if approval["reason"] else ""
        return ResultError(code="DENIED", message=f"{name} was not run: it was denied.{reason}")
    if cancelling:
        return ResultError(code="CANCELLED", message=f"{name} was not run: the session is being cancelled.")
    return ResultError(
        code="APPROVAL_EXPIRED", message=f"{name} was not run: nobody approved it within {APPROVAL_SECONDS} s."
    )


async def lapse(ledger: Ledger, row: Mapping[str, Any]) -> None:
    """Nobody decided in time, or the session ends: the approval expires."""
    await resolve(ledger, row, "expired", {"decision": None, "by": None, "reason": None, "arguments": None})


_KINDS: dict[ApprovalStatus, AuditKind] = {"approved": "approval", "denied": "denial", "expired": "expiry"}


async def resolve(ledger: Ledger, row: Mapping[str, Any], status: ApprovalStatus, decision: Mapping[str, Any]) -> None:
    """Write an approval's end, its fact and its audit row."""
    values = {f"new_{column}": decision[column] for column in ("decision", "by", "reason", "arguments")}
    await ledger.connection.execute(_SETTLE, {"approval": row["id"], "new_status": status, **values})
    by = decision["by"] or "perdure"
    told = ApprovalResolved(approval_id=row["id"], decision=decision["decision"] or status, by=by)
    ledger.append(f"approval/{row['id']}/resolved", told)
    call = await first(ledger.connection, select(tool_calls).where(*CALL), **names_of(row))
    if call is not None:
        await append(ledger, entry_of_call(call, _KINDS[status], by=by, preview=decision["reason"]))
