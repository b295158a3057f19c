"""Approvals: calls that wait for somebody's decision (CONTRACT §4).

An approval is born with the reply that asks for it. Decisions are stored as they are sent, then offered to the
workflow, which takes the first and has it recorded here: status, fact, audit and grant in one transaction. A crash
before that leaves the approval pending and the decision may be sent again; after it the call runs or is answered,
whatever dies.
Whoever looks at a call whose wait is over and finds its approval pending lets it lapse.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from session.auditing import AuditKind
from session.events import ApprovalRequired, ApprovalResolved, ResultError
from session.patterns import grant
from session.resources import Approval
from session.tooling import Tool
from session.vocabulary import APPROVAL_SECONDS, ApprovalDecision, ApprovalStatus, Effect
from session.wire import CallRef, DecisionRef
from store.audit import append, entry_of_call
from store.cursor import newest_first, page
from store.database import Row, every, first
from store.ledger import Ledger, Ledgers, NotFound, SessionOver
from store.replies import NewCall
from store.rows import iso
from store.schema import approvals, decisions, grants, tool_calls

Patterns = list[str]

_APPROVAL = select(approvals).where(approvals.c.id == bindparam("id"))
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
_DECISION = select(decisions).where(decisions.c.id == bindparam("id"))
_SETTLE = (
    update(approvals)
    .where(approvals.c.id == bindparam("approval"))
    .values({column: bindparam(f"new_{column}") for column in ("status", "decision", "by", "reason", "arguments")})
)
_CALL = (
    (tool_calls.c.session_id == bindparam("session")),
    (tool_calls.c.step == bindparam("at_step")),
    (tool_calls.c.call_id == bindparam("call")),
)
_EDIT_CALL = (
    update(tool_calls)
    .where(*_CALL)
    .values({column: bindparam(f"new_{column}") for column in ("arguments", "shown", "effect")})
)
_GRANTED = select(grants.c.pattern).where(grants.c.conversation_id == bindparam("conversation"))


class NotPending(Exception):
    """The approval was decided or has lapsed: nothing was changed. `approval` tells how."""

    def __init__(self, approval: Approval) -> None:
        super().__init__(approval.status)
        self.approval = approval


@dataclass(frozen=True, slots=True)
class Offer:
    """A decision as it was sent. `arguments` replace the model's."""

    decision: ApprovalDecision
    by: str
    reason: str | None = None
    arguments: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AsTold:
    """What a decision brings, as it may be shown: new arguments and the reason, masked. `effect`: that of the call with
    the new arguments, where it is known."""

    shown: Mapping[str, Any] | None = None
    reason: str | None = None
    effect: Effect | None = None


def approval_of(row: Mapping[str, Any]) -> Approval:
    return Approval(
        id=row["id"],
        approval_id=row["id"],
        session_id=row["session_id"],
        conversation_id=row["conversation_id"],
        tool_call_id=row["call_id"],
        name=row["name"],
        arguments=json.loads(row["shown"]),
        security_level=row["security_level"],
        status=row["status"],
        decision=row["decision"],
        by=row["by"],
        expires_at=iso(row["expires_ms"]),
        created_at=iso(row["created_ms"]),
    )


class Approvals:
    """Reads and decides approvals. Each write is one transaction."""

    def __init__(self, ledgers: Ledgers) -> None:
        self.ledgers = ledgers
        self.database = ledgers.database

    async def get(self, approval_id: str) -> Approval:
        """Raises NotFound."""
        return approval_of(await self._row(approval_id))

    async def list(
        self,
        status: ApprovalStatus | None,
        session_id: str | None,
        conversation_id: str | None,
        cursor: str | None,
        limit: int,
    ) -> tuple[list[Approval], str | None]:
        """A page, newest first, and the next cursor. Raises BadCursor."""
        query = select(approvals)
        for column, value in (("status", status), ("session_id", session_id), ("conversation_id", conversation_id)):
            if value is not None:
                query = query.where(approvals.c[column] == value)
        async with self.database.read() as connection:
            rows = await every(connection, newest_first(query, approvals, cursor, limit))
        shown, following = page(rows, limit)
        return [approval_of(row) for row in shown], following

    async def offer(self, approval_id: str, offer: Offer) -> str:
        """Keep a decision, so that it can be named to the workflow. Returns its id. Raises NotFound, NotPending."""
        row = await self._row(approval_id)
        if row["status"] != "pending":
            raise NotPending(approval_of(row))
        decision_id = self.database.new_id("dec")
        values = {
            "id": decision_id,
            "approval_id": approval_id,
            "decision": offer.decision,
            "by": offer.by,
            "reason": offer.reason,
            "arguments": None if offer.arguments is None else json.dumps(offer.arguments, ensure_ascii=False),
            "created_ms": self.database.clock(),
        }
        try:
            async with self.database.write() as connection:
                await connection.execute(insert(decisions), values)
        except IntegrityError:  # its conversation was deleted meanwhile
            raise NotFound(f"no approval {approval_id}") from None
        return decision_id

    async def settle(self, ref: DecisionRef, tools: Mapping[str, Tool], told: AsTold | None) -> bool:
        """Record the decision that won; False, and nothing is changed, where the approval is not pending any more.

        `tools`: the session's, for what `allow-always` stores. `told`: what the decision brings; None where that may be
        told as it was sent. Raises NotFound, SessionOver.
        """
        async with self.ledgers.open(ref.session_id) as ledger:
            row = await first(ledger.connection, _APPROVAL, id=ref.approval_id)
            decision = await first(ledger.connection, _DECISION, id=ref.decision_id)
            if row is None or decision is None:
                raise NotFound(f"no approval {ref.approval_id}")
            if row["status"] != "pending":
                return False
            if ledger.is_terminal:
                raise SessionOver(ledger.id)
            denied = decision["decision"] == "deny"
            status: ApprovalStatus = "denied" if denied else "approved"
            if decision["arguments"] is not None and not denied:
                await self._edit(ledger, row, decision["arguments"], told or AsTold())
            await resolve(ledger, row, status, {**decision, "reason": told.reason} if told else decision)
            if decision["decision"] == "allow-always" and row["name"] in tools:
                await self._grant(ledger, row, tools[row["name"]], decision)
        return True

    async def came_to(self, approval_id: str, offer: Offer) -> bool:
        """Whether the approval came to just what this decision says. Raises NotFound."""
        row = await self._row(approval_id)
        edited = None if row["arguments"] is None else json.loads(row["arguments"])
        return (row["decision"], row["by"], edited) == (offer.decision, offer.by, offer.arguments)

    async def decision(self, decision_id: str) -> Row | None:
        async with self.database.read() as connection:
            return await first(connection, _DECISION, id=decision_id)

    async def granted(self, conversation_id: str) -> Patterns:
        """The patterns that were allowed always in a conversation."""
        async with self.database.read() as connection:
            rows = await every(connection, _GRANTED, conversation=conversation_id)
        return [row["pattern"] for row in rows]

    async def _row(self, approval_id: str) -> Row:
        async with self.database.read() as connection:
            row = await first(connection, _APPROVAL, id=approval_id)
        if row is None:
            raise NotFound(f"no approval {approval_id}")
        return row

    async def _edit(self, ledger: Ledger, row: Row, arguments: str, told: AsTold) -> None:
        call = await first(ledger.connection, select(tool_calls.c.effect).where(*_CALL), **_names(row))
        shown = None if told.shown is None else json.dumps(told.shown, ensure_ascii=False)
        effect = told.effect or (call["effect"] if call else None)
        values = {**_names(row), "new_arguments": arguments, "new_shown": shown, "new_effect": effect}
        await ledger.connection.execute(_EDIT_CALL, values)

    async def _grant(self, ledger: Ledger, row: Row, tool: Tool, decision: Row) -> None:
        query = select(tool_calls.c.arguments).where(*_CALL)
        call = await first(ledger.connection, query, **_names(row))
        pattern = grant(tool, json.loads(call["arguments"]) if call else {})
        values = {
            "conversation_id": ledger.row["conversation_id"],
            "digest": hashlib.sha256(pattern.encode()).hexdigest(),
            "pattern": pattern,
            "by": decision["by"],
            "created_ms": ledger.now_ms,
        }
        same = (grants.c.conversation_id == values["conversation_id"], grants.c.digest == values["digest"])
        if await first(ledger.connection, select(grants.c.digest).where(*same)) is None:
            await ledger.connection.execute(insert(grants), values)


def _names(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"session": row["session_id"], "at_step": row["step"], "call": row["call_id"]}


def asked(ledger: Ledger, call: NewCall, approval_id: str) -> CallRef:
    """The reference of a call that waits: which approval, and until when (Unix ms)."""
    expires = min(ledger.now_ms + APPROVAL_SECONDS * 1000, ledger.row["deadline_ms"])
    ref = call.ref
    return CallRef(ref.id, ref.name, ref.effect, ref.digest, ref.gate, approval_id, expires)


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
    call = await first(ledger.connection, select(tool_calls).where(*_CALL), **_names(row))
    if call is not None:
        await append(ledger, entry_of_call(call, _KINDS[status], by=by, preview=decision["reason"]))
