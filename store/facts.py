"""Reading facts: pages of a session's stream, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select

from session.live import Frame, Position
from session.status import is_terminal
from store.database import Database, Row, every, first
from store.ledger import NotFound
from store.schema import facts, sessions

_AFTER = (
    select(facts.c.position, facts.c.frame)
    .where(facts.c.session_id == bindparam("session"), facts.c.position > bindparam("offset"))
    .order_by(facts.c.position)
    .limit(bindparam("most"))
)
_STANDS = select(sessions.c.id, sessions.c.last_offset, sessions.c.status, sessions.c.deadline_ms, sessions.c.cancel_ms)
_HEAD = _STANDS.where(sessions.c.id == bindparam("id"))
_HEADS = _STANDS.where(sessions.c.id.in_(bindparam("ids", expanding=True)))
MOST_HEADS = 500
"""As many as one statement asks for."""
LAST_OFFSET = 2**31 - 1
"""The largest offset that the store can hold; databases refuse to compare with more."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far a session's stream has come: the last fact's offset, and whether nothing will follow it.

    `cancelled`: somebody asked to end the session, so its end is near.
    """

    last: int
    over: bool
    deadline_ms: int
    cancelled: bool = False


class Facts:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def after(self, session_id: str, offset: int, limit: int = 500) -> list[Frame]:
        """Up to `limit` facts after `offset`, oldest first; empty for a session that does not exist."""
        if offset > LAST_OFFSET:
            return []
        async with self.database.read() as connection:
            rows = await every(connection, _AFTER, session=session_id, offset=offset, most=limit)
        return [Frame(Position(row["position"]), row["frame"]) for row in rows]

    async def head(self, session_id: str) -> Head:
        """Raises NotFound."""
        async with self.database.read() as connection:
            row = await first(connection, _HEAD, id=session_id)
        if row is None:
            raise NotFound(f"no session {session_id}")
        return _head(row)

    async def heads(self, session_ids: Sequence[str]) -> dict[str, Head]:
        """The heads of those of these sessions that exist, by their ids."""
        found: dict[str, Head] = {}
        async with self.database.read() as connection:
            for begin in range(0, len(session_ids), MOST_HEADS):
                rows = await every(connection, _HEADS, ids=session_ids[begin : begin + MOST_HEADS])
                found |= {row["id"]: _head(row) for row in rows}
        return found


def _head(row: Row) -> Head:
    return Head(row["last_offset"], is_terminal(row["status"]), row["deadline_ms"], row["cancel_ms"] is not None)
