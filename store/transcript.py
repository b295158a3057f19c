"""The transcript: what the model saw, turn by turn, read by reference (CONTRACT §2, DESIGN §3).

A transcript never changes once written: the conversation's earlier messages end at the session's user message, a turn
is one row, results are the rows of its calls. So a reader may keep what it has read and ask only for later steps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from session.vocabulary import Role
from store.database import Database, Row, every
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
            answers = messages.outerjoin(sessions, sessions.c.message_id == messages.c.id)
            query = select(messages.c.id, messages.c.role, messages.c.content, sessions.c.user_message_id)
            query = query.select_from(answers).where(messages.c.conversation_id == at.conversation_id)
            rows = await every(connection, query.where(messages.c.seq <= at.seq).order_by(messages.c.seq))
        return _conversation(rows)

    async def turns(self, session_id: str, after: int = 0) -> list[Turn]:
        """The turns after step `after`, with their results."""
        async with self.database.read() as connection:
            query = select(turns).where(turns.c.session_id == session_id, turns.c.step > after)
            rows = await every(connection, query.order_by(turns.c.step))
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


def _conversation(rows: Sequence[Row]) -> list[Said]:
    """The messages as the model is to see them: each of the user's with the last reply to it.

    A reply may have come late, from the retry of a session that others have followed since, so it is put beside the
    message that it answers.
    """
    said: list[Said] = []
    replies: dict[str, Said] = {}
    asked = ""
    for row in rows:
        if row["role"] == "assistant":
            replies[row["user_message_id"] or asked] = Said("assistant", row["content"])
        else:
            asked = row["id"]
    for row in rows:
        if row["role"] == "user":
            said.append(Said("user", row["content"]))
            if row["id"] in replies:
                said.append(replies[row["id"]])
    return said
