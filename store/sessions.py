"""Reading, listing and cancelling sessions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, or_, select, update

from session.auditing import NewEntry
from session.events import SessionCancelling
from session.resources import Session
from session.status import sources
from session.vocabulary import CancelMode
from session.wire import SessionInput
from store.audit import append
from store.cursor import newest_first, page
from store.database import StoreConnection, every, first
from store.endings import end_in_line
from store.ledger import Ledger, Ledgers, NotFound, SessionOver
from store.line import begin_limit, waits
from store.rows import session_of
from store.schema import sessions

Rows = list[Mapping[str, Any]]

_SESSION = select(sessions).where(sessions.c.id == bindparam("id"))
_QUEUED = (
    update(sessions)
    .where(sessions.c.id == bindparam("session"), or_(*(sessions.c.status == one for one in sorted(sources("queued")))))
    .values(status="queued", queued_ms=bindparam("now"))
)


@dataclass(frozen=True, slots=True)
class Filters:
    """`GET /api/sessions` (CONTRACT §2); times in Unix ms."""

    statuses: Collection[str] = ()
    conversation_id: str | None = None
    model: str | None = None
    created_after_ms: int | None = None
    created_before_ms: int | None = None
    q: str | None = None


class Sessions:
    """The sessions table. Every write is one transaction: after a crash it happened whole or not at all."""

    def __init__(self, ledgers: Ledgers) -> None:
        self.ledgers = ledgers
        self.database = ledgers.database

    async def get(self, session_id: str) -> Session:
        """Raises NotFound."""
        return session_of(await self.row(session_id))

    async def row(self, session_id: str) -> Mapping[str, Any]:
        """The whole row, for those who need more than is published. Raises NotFound."""
        async with self.database.read() as connection:
            return await row_of(connection, session_id)

    async def mark_queued(self, session_id: str) -> Mapping[str, Any]:
        """Temporal accepted the workflow; nothing happens if a worker was faster. The row as it is then. Raises
        NotFound."""
        async with self.database.write() as connection:
            await connection.execute(_QUEUED, {"session": session_id, "now": self.database.clock()})
            return await row_of(connection, session_id)

    async def request_cancel(
        self, session_id: str, mode: CancelMode, reason: str | None, by: str
    ) -> tuple[Session, int]:
        """Record a cancel and its fact; return the session and when cancel was first requested (Unix ms).

        A crash before the signal reached Temporal leaves the request in the row, and the reconciler sends it.
        Raises NotFound, SessionOver. Asking again changes nothing, except that `now` overrides `graceful`. A session
        that waits for its turn in the conversation is over with it.
        """
        async with self.ledgers.open(session_id) as ledger:
            if ledger.is_terminal:
                raise SessionOver(session_id)
            await ask_to_end(ledger, mode, reason, by, self.database.new_id("msg"))
            requested = ledger.value("cancel_ms")
            session = session_of({**ledger.row, **ledger.changes})
        return session, requested

    async def list(self, filters: Filters, cursor: str | None, limit: int) -> tuple[list[Session], str | None]:
        """A page, newest first, and the next cursor. Raises BadCursor."""
        query = select(sessions)
        if filters.statuses:
            query = query.where(sessions.c.status.in_(filters.statuses))
        if filters.conversation_id is not None:
            query = query.where(sessions.c.conversation_id == filters.conversation_id)
        if filters.model is not None:
            query = query.where(func.coalesce(sessions.c.fallback_model, sessions.c.model) == filters.model)
        if filters.created_after_ms is not None:
            query = query.where(sessions.c.created_ms > filters.created_after_ms)
        if filters.created_before_ms is not None:
            query = query.where(sessions.c.created_ms < filters.created_before_ms)
        if filters.q:
            query = query.where(sessions.c.goal.icontains(filters.q, autoescape=True))
        async with self.database.read() as connection:
            rows = await every(connection, newest_first(query, sessions, cursor, limit))
        shown, following = page(rows, limit)
        return [session_of(row) for row in shown], following

    async def counts(self) -> dict[str, int]:
        """How many sessions there are in each status."""
        query = select(sessions.c.status, func.count().label("held")).group_by(sessions.c.status)
        async with self.database.read() as connection:
            return {row.status: row.held for row in await connection.execute(query)}

    async def unfinished(self, due_before_ms: int | None = None) -> Rows:
        """The rows that are not terminal and whose turn has come, oldest first: what the reconciler looks after.
        `due_before_ms`: only those whose limit was before that."""
        unfinished = sessions.c.status.in_(("created", "queued", "running"))
        query = select(sessions).where(unfinished, sessions.c.waits_since_ms.is_(None))
        if due_before_ms is not None:
            query = query.where(sessions.c.deadline_ms < due_before_ms)
        async with self.database.read() as connection:
            return [*await every(connection, query.order_by(sessions.c.created_ms))]


async def ask_to_end(ledger: Ledger, mode: CancelMode, reason: str | None, by: str, message_id: str) -> None:
    """Record a cancel inside the session's ledger: again changes nothing, except that `now` overrides `graceful`. One
    that waits for its turn in the conversation ends with it; `message_id` is that of its assistant message."""
    in_line, asked = waits(ledger), ledger.row["cancel_mode"]
    if in_line:
        await begin_limit(ledger)
    if asked is None or (asked, mode) == ("graceful", "now"):
        ledger.changes |= {"cancel_mode": mode, "cancel_reason": reason, "cancel_by": by}
        ledger.changes["cancel_ms"] = ledger.row["cancel_ms"] or ledger.now_ms
        ledger.append(f"cancel/{mode}", SessionCancelling(mode=mode, reason=reason, by=by))
        await append(ledger, NewEntry(kind="cancel", by=by, preview=f"{mode}: {reason}" if reason else mode))
    if in_line:
        await end_in_line(ledger, message_id)


async def row_of(connection: StoreConnection, session_id: str) -> Mapping[str, Any]:
    """The session's row. Raises NotFound."""
    row = await first(connection, _SESSION, id=session_id)
    if row is None:
        raise NotFound(f"no session {session_id}")
    return row


def session_input(row: Mapping[str, Any], search_attributes: bool) -> SessionInput:
    """The workflow's input for a session's row: ids and limits, no content."""
    return SessionInput(
        session_id=row["id"],
        deadline_ms=row["deadline_ms"],
        max_steps=row["max_steps"],
        model=row["model"],
        max_budget=row["max_budget"],
        max_cost_usd=row["max_cost_usd"],
        search_attributes=search_attributes,
        waits=row["admitted_ms"] is None,
    )
