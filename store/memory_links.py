"""Which conversations belong to a memory session; written inside the transactions of others."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from store.database import StoreConnection, first
from store.ledger import NotFound
from store.memory_schema import memory_links, memory_sessions

_LINK = {
    "sqlite": sqlite.insert(memory_links).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(memory_links).on_conflict_do_nothing(),
}


class Archived(Exception):
    """The memory session is archived: nothing new belongs to it."""


async def belong(connection: StoreConnection, memory_session_id: str, conversation_id: str | None) -> None:
    """Link a conversation, if there is one. Raises NotFound, Archived."""
    query = select(memory_sessions.c.status).where(memory_sessions.c.id == memory_session_id).with_for_update()
    row = await first(connection, query)
    if row is None:
        raise NotFound(f"no memory session {memory_session_id}")
    if row["status"] == "archived":
        raise Archived(memory_session_id)
    if conversation_id is not None:
        await link(connection, memory_session_id, conversation_id)


async def link(connection: StoreConnection, memory_session_id: str, conversation_id: str) -> None:
    """Link the two; again changes nothing."""
    values = {"memory_session_id": memory_session_id, "conversation_id": conversation_id}
    await connection.execute(_LINK[connection.dialect.name], values)
