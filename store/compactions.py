"""Compactions: summaries that stand in the place of what a session's model saw before a step, or a conversation's
earlier messages (README, Compaction).

What they stand for stays where it is. A row never changes; `sessions.compacted_step` names the session's newest one, so
what is put before the model follows from the store alone. It is 0 when the session began in a conversation whose
earlier messages are summarised already, or are to be before its first step.

A crash before a summary is recorded loses it, and the next attempt of the step buys it again; afterwards every attempt
goes on from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from sqlalchemy import LargeBinary, bindparam, cast, func, insert, or_, select

from session.usage import Usage
from session.wire import StepRef
from store.context_schema import compactions
from store.database import Database, Row, StoreConnection, every, first
from store.ledger import Ledger, Ledgers
from store.schema import messages
from store.spending import allowed, spend
from store.steps import fence

_NEW = insert(compactions)
_OF_SESSION = select(compactions).where(compactions.c.session_id == bindparam("session")).order_by(compactions.c.step)
_OF_CONVERSATION = (
    select(compactions)
    .where(
        compactions.c.conversation_id == bindparam("conversation"),
        compactions.c.upto_seq < bindparam("seq"),
        or_(compactions.c.session_id == bindparam("session"), compactions.c.created_ms <= bindparam("began")),
    )
    .order_by(compactions.c.upto_seq.desc(), compactions.c.created_ms.desc())
    .limit(1)
)
_SEQ = select(messages.c.seq).where(messages.c.id == bindparam("message"))
_BYTES = func.coalesce(func.sum(func.length(cast(messages.c.content, LargeBinary))), 0)
_BYTES_IN_POSTGRESQL = func.coalesce(func.sum(func.octet_length(messages.c.content)), 0)


@dataclass(frozen=True, slots=True)
class Summary:
    """A summary on its way into the store: what it cost, and the tokens of the prompt that it was made of."""

    text: str
    model: str
    usage: Usage
    cost: float | None
    tokens_before: int


@dataclass(frozen=True, slots=True)
class Compaction:
    """A stored one: `summary` stands for what came before `step`. `upto_seq`: made before the first step, it stands for
    the conversation's messages up to this one."""

    step: int
    upto_seq: int | None
    summary: Summary


class Compactions:
    """Records compactions and reads them."""

    def __init__(self, ledgers: Ledgers) -> None:
        self.ledgers = ledgers
        self.database: Database = ledgers.database

    async def record(self, at: StepRef, attempt: int, summary: Summary) -> int | None:
        """Store the summary that step `at.step` begins with, and what it cost. Returns the tokens that the budgets
        leave for the step's own reply, as `allowed` does. Raises as `fence`."""
        async with self.ledgers.open(at.session_id) as ledger:
            fence(ledger, at, attempt)
            if ledger.value("compacted_step") != at.step:
                ledger.changes["compacted_step"] = at.step
                spend(ledger, summary.usage, summary.cost)
                await ledger.connection.execute(_NEW, await _values(ledger, at.step, summary))
            return await allowed(ledger, at.step)

    async def of(self, session_id: str) -> list[Compaction]:
        """Those that were made for a session, in the order of its steps."""
        async with self.database.read() as connection:
            return [_compaction(row) for row in await every(connection, _OF_SESSION, session=session_id)]

    async def opening(self, session: Mapping[str, Any]) -> Compaction | None:
        """The one that a session's row began with: its own, or the newest that there was when it was created."""
        if session["compacted_step"] is None:
            return None
        async with self.database.read() as connection:
            turn = await _turn(connection, session)
            return None if turn is None else await _known(connection, session, turn)


async def opening_size(connection: StoreConnection, session: Mapping[str, Any], seq: int) -> tuple[bool, int]:
    """Whether a summary stands at the head of what a new session begins with, and how many bytes it begins with before
    its own message, number `seq`."""
    known = await _known(connection, session, seq)
    sized = _BYTES_IN_POSTGRESQL if connection.dialect.name == "postgresql" else _BYTES
    query = select(sized.label("bytes")).where(
        messages.c.conversation_id == session["conversation_id"],
        messages.c.seq < seq,
        messages.c.seq > (known.upto_seq or 0 if known is not None else 0),
    )
    row = await first(connection, query)
    size = int(row["bytes"]) if row is not None else 0
    return known is not None, size + (len(known.summary.text.encode()) if known is not None else 0)


async def _known(connection: StoreConnection, session: Mapping[str, Any], seq: int) -> Compaction | None:
    named = {"conversation": session["conversation_id"], "session": session["id"], "began": session["created_ms"]}
    row = await first(connection, _OF_CONVERSATION, seq=seq, **named)
    return None if row is None else _compaction(row)


async def _turn(connection: StoreConnection, session: Mapping[str, Any]) -> int | None:
    """When the session had its turn, as a number of the conversation's messages (store/transcript.py)."""
    if session["opening_seq"] is not None:
        return int(session["opening_seq"])
    own = await first(connection, _SEQ, message=session["user_message_id"])
    return None if own is None else int(own["seq"])


async def _values(ledger: Ledger, step: int, summary: Summary) -> dict[str, Any]:
    turn = await _turn(ledger.connection, ledger.row) if step == 1 else None
    return {
        "session_id": ledger.id,
        "step": step,
        "conversation_id": ledger.value("conversation_id"),
        "upto_seq": turn - 1 if turn is not None else None,
        "summary": summary.text,
        "model": summary.model,
        "usage": to_json(summary.usage).decode(),
        "cost": summary.cost,
        "tokens_before": summary.tokens_before,
        "created_ms": ledger.now_ms,
    }


def _compaction(row: Row) -> Compaction:
    usage = Usage(**json.loads(row["usage"]))
    summary = Summary(row["summary"], row["model"], usage, row["cost"], row["tokens_before"])
    return Compaction(row["step"], row["upto_seq"], summary)
