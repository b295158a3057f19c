"""The transcript: what the model saw, turn by turn, read by reference (CONTRACT §2, DESIGN §3).

A transcript never changes once written: the conversation's earlier messages end where the session's turn came, a turn
is one row, results are the rows of its calls. So a reader may keep what it has read and ask only for later steps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import and_, bindparam, case, func, or_, select

from session.vocabulary import Role
from store.database import Database, Row, every, first
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
    cost: float | None = None


class Transcripts:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def opening(self, session_id: str, after: int = 0) -> list[Said]:
        """What was said before the session's first step, after place `after` of the conversation; the session's user
        message comes last. Raises NotFound.

        What sessions behind it in the conversation's line were asked is not among it: messages stand where their
        session's turn came. Of several replies to one message (a retried session) only the last counts.
        """
        async with self.database.read() as connection:
            at = await first(connection, _OPENED_AT, session=session_id)
            if at is None:
                raise NotFound(f"no session {session_id}")
            rows = await every(connection, _SAID, session=session_id, after=after, **at)
        return _conversation(rows)

    async def turns(self, session_id: str, after: int = 0) -> list[Turn]:
        """The turns after step `after`, with their results."""
        async with self.database.read() as connection:
            rows = await every(connection, _TURNS, session=session_id, after=after)
        return [_turn(list(parts)) for _, parts in groupby(rows, key=itemgetter("step"))]


_TURN = func.coalesce(sessions.c.opening_seq, messages.c.seq)
"""When a session had its turn, as a number of the conversation's messages: that of the last one that was there already,
or of its own user message where it did not wait. A session sees what has a place up to its own turn."""
_OPENED_AT = (
    select(messages.c.id.label("task"), messages.c.conversation_id.label("conversation"), _TURN.label("upto"))
    .join(sessions, sessions.c.user_message_id == messages.c.id)
    .where(sessions.c.id == bindparam("session"))
)
_COMES_AFTER = and_(sessions.c.user_message_id == bindparam("task"), messages.c.id != bindparam("task"))
"""What was said to the session itself, which its steps see, and what came of earlier tries: a session begins with its
task, which nothing follows."""
_IS_USERS = messages.c.role == "user"
_PLACE = case((_IS_USERS, _TURN), else_=messages.c.seq)
_SAID = (
    select(messages.c.id, messages.c.role, messages.c.content, sessions.c.user_message_id)
    .select_from(messages.outerjoin(sessions, sessions.c.id == messages.c.session_id))
    .where(messages.c.conversation_id == bindparam("conversation"), messages.c.seq <= bindparam("upto"))
    .where(bindparam("upto") >= _PLACE, bindparam("after") < _PLACE)
    .where(or_(sessions.c.user_message_id.is_(None), ~_COMES_AFTER))
    .order_by(_PLACE, _IS_USERS, messages.c.seq)
)
_ANSWERED = and_(tool_calls.c.session_id == turns.c.session_id, tool_calls.c.step == turns.c.step)
_TURNS = (
    select(turns, tool_calls.c.call_id, tool_calls.c.result)
    .select_from(turns.outerjoin(tool_calls, _ANSWERED))
    .where(turns.c.session_id == bindparam("session"), turns.c.step > bindparam("after"))
    .order_by(turns.c.step, tool_calls.c.position)
)
"""A row for each call of a turn, one for a turn without calls: one question instead of two, asked at every step."""


def _turn(rows: list[Row]) -> Turn:
    row = rows[0]
    asked = [part for part in rows if part["call_id"] is not None]
    return Turn(
        step=row["step"],
        blocks=json.loads(row["blocks"]),
        results=[CallResult(part["call_id"], json.loads(part["result"]) if part["result"] else None) for part in asked],
        model=row["model"],
        stop_reason=row["stop_reason"],
        usage=json.loads(row["usage"]),
        cost=row["cost"],
        partial=row["partial"],
    )


def _conversation(rows: Sequence[Row]) -> list[Said]:
    """The messages as the model is to see them: each task with what was said to its sessions, and the last reply to it.

    A reply may have come late, from the retry of a session that others have followed since, so it is put beside the
    message that it answers, and where that one is not among these, where it came.
    """
    said: dict[str, list[Said]] = {}
    replies: dict[str, Said] = {}
    asked = ""
    for row in rows:
        if row["role"] == "assistant":
            task = row["user_message_id"] or asked
            replies[task] = Said("assistant", row["content"])
            said.setdefault(task, [])
        else:
            task = row["user_message_id"] or row["id"]
            said.setdefault(task, []).append(Said("user", row["content"]))
            asked = task
    return [one for task, spoken in said.items() for one in [*spoken, *([replies[task]] if task in replies else [])]]
