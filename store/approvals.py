"""Approvals: calls that wait for somebody's decision (CONTRACT §4).

An approval is born with the reply that asks for it. Decisions are stored as they are sent, then offered to the
workflow, which takes the first and has it recorded here: status, fact, audit and grant in one transaction. A crash
before that leaves the approval pending and the decision may be sent again; after it the call runs or is answered,
whatever dies. How an approval begins and ends inside the transactions of its session stands in `store/waiting.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from session.patterns import grant
from session.resources import Approval
from session.tooling import Tool
from session.vocabulary import ApprovalDecision, ApprovalStatus, Effect
from session.wire import DecisionRef
from store.cursor import newest_first, page
from store.database import Row, every, first
from store.ledger import Ledger, Ledgers, NotFound, SessionOver
from store.rows import iso
from store.schema import approvals, decisions, grants, tool_calls
from store.waiting import CALL, names_of, resolve

Patterns = list[str]

_APPROVAL = select(approvals).where(approvals.c.id == bindparam("id"))
_DECISION = select(decisions).where(decisions.c.id == bindparam("id"))
_EDIT_CALL = (
    update(tool_calls)
    .where(*CALL)
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
        call = await first(ledger.connection, select(tool_calls.c.effect).where(*CALL), **names_of(row))
        shown = None if told.shown is None else json.dumps(told.shown, ensure_ascii=False)
        effect = told.effect or (call["effect"] if call else None)
        values = {**names_of(row), "new_arguments": arguments, "new_shown": shown, "new_effect": effect}
        await ledger.connection.execute(_EDIT_CALL, values)

    async def _grant(self, ledger: Ledger, row: Row, tool: Tool, decision: Row) -> None:
        query = select(tool_calls.c.arguments).where(*CALL)
        call = await first(ledger.connection, query, **names_of(row))
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
