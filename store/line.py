"""The line of a conversation: sessions that wait until those before them are over (CONTRACT §2, `onConflict`).

One that waits has its row (`created`, `waits_since_ms`) and its user message; nothing runs for it, and its limit has
not begun. Its turn comes in the transaction that closes the session before it, so a crash leaves the conversation with
the one or with the other. Whoever closed that one starts the next one's workflow, or else the reconciler does.

The order: one that interrupts goes before those that are enqueued, and they go in the order of their messages.

The locks: sessions before their conversation; of the sessions the active one first. So whoever finds, with the
conversation locked, that others stand in line than those he locked, begins anew with these (`LineMoved`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import aliased

from session.events import SessionStart
from session.policy import AdmissionPolicy
from session.resources import MemoryRef
from store.admission import QueueFull
from store.database import Database, Row, StoreConnection, every, first
from store.ledger import Ledger, Ledgers, Transaction
from store.memory_passages import begin_with
from store.rows import NEVER_MS, iso
from store.schema import conversations, messages, sessions

LATER: Final = 2**31 - 1
"""`opening_seq` of a session whose turn has not come."""

_WAITS = sessions.c.waits_since_ms.is_not(None)
_IN_LINE = (_WAITS, sessions.c.conversation_id == bindparam("conversation"))
_INTERRUPTS = sessions.c.on_conflict == "interrupt"
_NEXT = (
    select(sessions.c.id)
    .join(messages, messages.c.id == sessions.c.user_message_id)
    .where(*_IN_LINE)
    .order_by(_INTERRUPTS.desc(), messages.c.seq)
    .limit(1)
)
_INTERRUPTING = select(sessions.c.id).where(*_IN_LINE, _INTERRUPTS).order_by(sessions.c.id)
_LENGTH = select(func.count().label("waiting")).where(*_IN_LINE)
_ACTIVE = select(conversations.c.active_session_id).where(conversations.c.id == bindparam("conversation"))
_LOCKED = select(conversations.c.active_session_id, conversations.c.message_count)
_LOCKED = _LOCKED.where(conversations.c.id == bindparam("conversation")).with_for_update()

_closed = aliased(sessions, name="closed")
_BEGINS = (
    select(sessions)
    .join(conversations, conversations.c.active_session_id == sessions.c.id)
    .join(_closed, _closed.c.conversation_id == conversations.c.id)
    .where(_closed.c.id == bindparam("closed"), sessions.c.status == "created", sessions.c.opening_seq.is_not(None))
)
_LEFT_ALONE = (
    select(sessions.c.conversation_id)
    .join(conversations, conversations.c.id == sessions.c.conversation_id)
    .where(_WAITS, conversations.c.active_session_id.is_(None))
    .distinct()
)


class LineMoved(Exception):
    """Others stand in line than those that were locked: `following` is next now. Nothing was written."""

    def __init__(self, following: str | None = None) -> None:
        super().__init__(following)
        self.following = following


class LineFull(QueueFull):
    """As many sessions wait in the conversation as may: nothing was stored."""


class Line:
    """Reads the lines, and moves those that nobody else moves."""

    def __init__(self, ledgers: Ledgers, policy: AdmissionPolicy) -> None:
        self.ledgers = ledgers
        self.policy = policy
        self.database: Database = ledgers.database

    async def after(self, session_id: str) -> Row | None:
        """The row of the session whose turn came with the end of this one, if it was not begun yet."""
        async with self.database.read() as connection:
            return await first(connection, _BEGINS, closed=session_id)

    async def move(self) -> None:
        """Let the next ones have the conversations in which nobody is active: a build that knows no line closed the
        last session there. Their workflows are started as those of all that are `created`."""
        async with self.database.read() as connection:
            left = [row["conversation_id"] for row in await every(connection, _LEFT_ALONE)]
        for conversation_id in left:
            async with self.ledgers.transaction() as transaction:
                following = await first(transaction.connection, _NEXT, conversation=conversation_id)
                if following is None:
                    continue
                ledger = await transaction.lock(following["id"])
                row = await first(transaction.connection, _LOCKED, conversation=conversation_id)
                if row is None or row["active_session_id"] is not None or not waits(ledger):
                    continue
                await take_turn(ledger, row["message_count"], self.policy)
                given = update(conversations).where(conversations.c.id == conversation_id)
                await transaction.connection.execute(given.values(active_session_id=ledger.id))


def waits(ledger: Ledger) -> bool:
    """Whether the session waits for its turn in the conversation."""
    return ledger.value("waits_since_ms") is not None


def waiting_since(now: int) -> dict[str, Any]:
    """The columns of a new session that must wait."""
    return {"waits_since_ms": now, "deadline_ms": NEVER_MS, "opening_seq": LATER, "admitted_ms": None}


async def lock_interrupted(transaction: Transaction, conversation_id: str) -> list[Ledger]:
    """Lock those that a new session of the conversation interrupts: the active one, and who waits to interrupt it."""
    connection = transaction.connection
    active = await first(connection, _ACTIVE, conversation=conversation_id)
    if active is None or active["active_session_id"] is None:
        return []
    ids = [active["active_session_id"], *await _interrupting(connection, conversation_id)]
    return [await transaction.lock(session_id) for session_id in ids]


async def check_interrupted(
    connection: StoreConnection, conversation_id: str, active: str | None, locked: Sequence[Ledger]
) -> None:
    """Raise LineMoved unless those that were locked are still those, now that the conversation is locked too."""
    waiting = await _interrupting(connection, conversation_id) if active is not None else []
    if [ledger.id for ledger in locked] != [one for one in (active, *waiting) if one is not None]:
        raise LineMoved


async def _interrupting(connection: StoreConnection, conversation_id: str) -> list[str]:
    return [row["id"] for row in await every(connection, _INTERRUPTING, conversation=conversation_id)]


async def check_room(connection: StoreConnection, conversation_id: str, policy: AdmissionPolicy) -> None:
    """Inside the transaction that holds the conversation: raise LineFull where no one more may wait in it."""
    row = await first(connection, _LENGTH, conversation=conversation_id)
    if row is not None and row["waiting"] >= policy.waiting_per_conversation:
        raise LineFull(conversation_id)


async def pass_on(
    connection: StoreConnection, conversation_id: str, following: Ledger | None, count: int, policy: AdmissionPolicy
) -> str | None:
    """Inside the transaction that closes a session and holds its conversation, of `count` messages now: it is the turn
    of `following`, which was locked before; the id of the one that has the conversation now.

    Raises LineMoved when another one is next.
    """
    row = await first(connection, _NEXT, conversation=conversation_id)
    upcoming = None if row is None else row["id"]
    if upcoming != (None if following is None else following.id):
        raise LineMoved(upcoming)
    if following is not None:
        await take_turn(following, count, policy)
    return upcoming


async def take_turn(ledger: Ledger, count: int, policy: AdmissionPolicy) -> None:
    """Its limit begins now, and it sees the conversation as it is now. Where places are limited it has none yet: they
    are given in a transaction of their own (store/admission.py), whose lock is taken by nobody who holds a session."""
    admitted = None if policy.is_limited else ledger.row["created_ms"]
    ledger.changes |= {"waits_since_ms": None, "opening_seq": count, "admitted_ms": admitted}
    await begin_limit(ledger)


async def begin_limit(ledger: Ledger) -> None:
    """The limit of one that waited begins now: with its turn, or with its end where that comes first, so that the
    events of every session begin alike."""
    ledger.changes["deadline_ms"] = ledger.now_ms + json.loads(ledger.row["settings"])["timeoutSeconds"] * 1000
    await tell_start(ledger)


async def tell_start(ledger: Ledger) -> None:
    """The fact `session:start`: its limit runs."""
    passages = await begin_with(ledger.connection, ledger.row)
    row = ledger.row
    ledger.append(
        "session:start",
        SessionStart(
            session_id=ledger.id,
            conversation_id=row["conversation_id"],
            goal=row["goal"],
            model=row["model"],
            provider=row["provider"],
            effort=row["effort"],
            max_steps=row["max_steps"],
            max_budget=row["max_budget"],
            security_mode=row["security_mode"],
            deadline=iso(ledger.value("deadline_ms")),
            memory=[MemoryRef.of(passage) for passage in passages] or None,
        ),
    )
