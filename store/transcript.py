"""The transcript: what the model saw, turn by turn, read by reference (CONTRACT §2, DESIGN §3).

A transcript never changes once written: the conversation's earlier messages end at the session's user message, a turn is
one row, results are the rows of its calls. So a reader may keep what it has read and ask only for later steps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from session.vocabulary import Role
from store.database import Database
from store.ledger import NotFound
from store.schema import messages, sessions, tool_calls, turns


@dataclass(frozen=True, slots=True)
class Said:
    """An earlier message of the conversation, or the session's user message."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class CallResult:
    """A call of a turn, with its result (None while it has none)."""

    call_id: str
    result: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Turn:
    """One step: the model's blocks as received, and the results of its calls in the order of the calls."""

    step: int
    blocks: list[dict[str, Any]]
    results: list[CallResult]
    model: str
    stop_reason: str | None
    usage: dict[str, int]
    partial: bool


class Transcripts:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def opening(self, session_id: str) -> list[Said]:
        """What was said before the session's first step; its user message comes last. Raises NotFound.

        Of several replies to one message (a retried session) only the last counts.
        """
        async with self.database.read() as connection:
            own = select(messages.c.conversation_id, messages.c.seq).join(
                sessions, sessions.c.user_message_id == messages.c.id
            )
            at = (await connection.execute(own.where(sessions.c.id == session_id))).first()
            if at is None:
                raise NotFound(f"no session {session_id}")
            query = select(messages.c.role, messages.c.content).where(
                messages.c.conversation_id == at.conversation_id, messages.c.seq <= at.seq
            )
            rows = (await connection.execute(query.order_by(messages.c.seq))).all()
        said: list[Said] = []
        for row in rows:
            if said and said[-1].role == row.role == "assistant":
                said.pop()
            said.append(Said(row.role, row.content))
        return said

    async def turns(self, session_id: str, after: int = 0) -> list[Turn]:
        """The turns after step `after`, with their results."""
        async with self.database.read() as connection:
            query = select(turns).where(turns.c.session_id == session_id, turns.c.step > after)
            rows = (await connection.execute(query.order_by(turns.c.step))).mappings().all()
            columns = tool_calls.c
            asked = select(columns.step, columns.call_id, columns.result).where(
                columns.session_id == session_id, columns.step > after
            )
            calls = (await connection.execute(asked.order_by(columns.step, columns.position))).all()
        results: dict[int, list[CallResult]] = {}
        for call in calls:
            result = json.loads(call.result) if call.result else None
            results.setdefault(call.step, []).append(CallResult(call.call_id, result))
        return [
            Turn(
                step=row["step"],
                blocks=json.loads(row["blocks"]),
                results=results.get(row["step"], []),
                model=row["model"],
                stop_reason=row["stop_reason"],
                usage=json.loads(row["usage"]),
                partial=row["partial"],
            )
            for row in rows
        ]
