"""Memory sessions (CONTRACT §5): conversations that belong together, and what they came to.

Counts are taken when they are read, so that none can be wrong: of the messages and of the sessions of the conversations
that are linked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from session.resources import MemorySession
from session.vocabulary import MemoryStatus
from store.cursor import newest_first, page
from store.database import Database, Row, StoreConnection, every, first
from store.ledger import NotFound
from store.memory_links import link
from store.memory_schema import memory_links, memory_sessions
from store.rows import iso
from store.schema import conversations, sessions
from store.starting import Caller, KeyReused

Page = list[MemorySession]
_TOKENS = (
    sessions.c.input_tokens + sessions.c.output_tokens + sessions.c.cache_read_tokens + sessions.c.cache_write_tokens
)


class MemorySessions:
    """The memory_sessions table."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def create(
        self, caller: Caller, name: str | None, conversation_id: str | None, user_id: str | None
    ) -> MemorySession:
        """Make one, once per key. Raises NotFound (conversation), KeyReused."""
        memory_id = self.database.new_id("mem")
        values: dict[str, Any] = {
            "id": memory_id,
            "name": name,
            "user_id": user_id,
            "conversation_id": conversation_id,
            "status": "active",
            "tenant": caller.tenant,
            "request_key": caller.key,
            "request_hash": caller.request_hash if caller.key is not None else None,
            "created_ms": self.database.clock(),
        }
        for last_try in (False, True):
            try:
                async with self.database.write() as connection:
                    known = await self._known(connection, caller)
                    if known is not None:
                        memory_id = known
                        break
                    await _require_conversation(connection, conversation_id)
                    await connection.execute(insert(memory_sessions), values)
                    if conversation_id is not None:
                        await link(connection, memory_id, conversation_id)
                break
            except IntegrityError:  # the same request won at this moment
                if last_try or caller.key is None:
                    raise
        return await self.get(memory_id)

    async def _known(self, connection: StoreConnection, caller: Caller) -> str | None:
        if caller.key is None:
            return None
        columns = memory_sessions.c
        query = select(columns.id, columns.request_hash)
        query = query.where(columns.tenant == caller.tenant, columns.request_key == caller.key)
        row = await first(connection, query)
        if row is not None and row["request_hash"] != caller.request_hash:
            raise KeyReused("this Idempotency-Key was used before with another request")
        return None if row is None else str(row["id"])

    async def get(self, memory_session_id: str) -> MemorySession:
        """Raises NotFound."""
        async with self.database.read() as connection:
            rows = await every(connection, select(memory_sessions).where(memory_sessions.c.id == memory_session_id))
            if not rows:
                raise NotFound(f"no memory session {memory_session_id}")
            return (await _counted(connection, rows))[0]

    async def list(self, status: MemoryStatus | None, cursor: str | None, limit: int) -> tuple[Page, str | None]:
        """A page, newest first, and the next cursor. Raises BadCursor."""
        query = select(memory_sessions)
        if status is not None:
            query = query.where(memory_sessions.c.status == status)
        async with self.database.read() as connection:
            rows = await every(connection, newest_first(query, memory_sessions, cursor, limit))
            shown, following = page(rows, limit)
            return await _counted(connection, shown), following

    async def archive(self, memory_session_id: str) -> MemorySession:
        """Nothing new belongs to it from now on; asking again changes nothing. Raises NotFound."""
        mine = (memory_sessions.c.id == memory_session_id, memory_sessions.c.status == "active")
        values = {"status": "archived", "archived_ms": self.database.clock()}
        async with self.database.write() as connection:
            await connection.execute(update(memory_sessions).where(*mine).values(values))
        return await self.get(memory_session_id)


async def _require_conversation(connection: StoreConnection, conversation_id: str | None) -> None:
    if conversation_id is not None:
        query = select(conversations.c.id).where(conversations.c.id == conversation_id).with_for_update()
        if await first(connection, query) is None:
            raise NotFound(f"no conversation {conversation_id}")


async def _counted(connection: StoreConnection, rows: Sequence[Row]) -> Page:
    """Memory sessions with their conversations and what these came to."""
    ids = [row["id"] for row in rows]
    links = memory_links.c
    said = select(links.memory_session_id, links.conversation_id, conversations.c.message_count)
    said = said.join(conversations, conversations.c.id == links.conversation_id)
    said = said.where(links.memory_session_id.in_(ids)).order_by(links.conversation_id)
    spent = select(links.memory_session_id, func.sum(_TOKENS).label("tokens"), func.sum(sessions.c.cost).label("cost"))
    spent = spent.join(sessions, sessions.c.conversation_id == links.conversation_id)
    spent = spent.where(links.memory_session_id.in_(ids)).group_by(links.memory_session_id)
    linked: dict[str, list[Row]] = {}
    for row in await every(connection, said):
        linked.setdefault(row["memory_session_id"], []).append(row)
    spendings = {row["memory_session_id"]: row for row in await every(connection, spent)}
    return [_memory_session(row, linked.get(row["id"], []), spendings.get(row["id"])) for row in rows]


def _memory_session(row: Row, links: Sequence[Row], spent: Row | None) -> MemorySession:
    return MemorySession(
        id=row["id"],
        name=row["name"],
        user_id=row["user_id"],
        conversation_id=row["conversation_id"],
        conversation_ids=[link["conversation_id"] for link in links],
        status=row["status"],
        message_count=sum(link["message_count"] for link in links),
        total_tokens=int(spent["tokens"]) if spent else 0,
        cost=spent["cost"] if spent else None,
        created_at=iso(row["created_ms"]),
        archived_at=iso(row["archived_ms"]) if row["archived_ms"] is not None else None,
    )
