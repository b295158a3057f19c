"""How conversations go: by request, or because nobody used them for as long as the operator keeps them.

A conversation goes whole, in one transaction of its own: rows of other tables that belong to it go with it by their
foreign keys, the audit stays. In the same transaction its id is put down among the removals, by which workers know
that the folder they made for it may go too: only what was removed on record is ever taken from a disk, so a worker
that is pointed at another database, or at an older copy of this one, takes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, insert, select, tuple_

from store.database import Database, StoreConnection, every
from store.homes import forget
from store.schema import audit, conversations, outputs, removals, sessions


async def remove(connection: StoreConnection, conversation_id: str, now_ms: int) -> None:
    """Take a conversation away inside the caller's transaction, which holds its row and knows that it is idle."""
    await connection.execute(delete(conversations).where(conversations.c.id == conversation_id))
    await forget(connection, conversation_id)
    await connection.execute(delete(removals).where(removals.c.conversation_id == conversation_id))
    await connection.execute(insert(removals), {"conversation_id": conversation_id, "removed_ms": now_ms})


class Retention:
    """Removes by age. Any number of processes may try at once: each takes what no other one is taking."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def idle(self, before_ms: int, limit: int) -> list[str]:
        """Conversations whose last activity was before then and of which no session is active, the oldest first."""
        columns = conversations.c
        query = (
            select(columns.id)
            .where(columns.created_ms < before_ms, columns.updated_ms < before_ms, columns.active_session_id.is_(None))
            .order_by(columns.created_ms, columns.id)
            .limit(limit)
        )
        async with self.database.read() as connection:
            return [row["id"] for row in await every(connection, query)]

    async def remove_idle(self, conversation_id: str, before_ms: int) -> bool:
        """Remove it if it is still idle; False when it was used meanwhile, or somebody else removes it."""
        columns = conversations.c
        query = select(columns.id).where(
            columns.id == conversation_id, columns.updated_ms < before_ms, columns.active_session_id.is_(None)
        )
        async with self.database.write() as connection:
            if not await every(connection, query.with_for_update(skip_locked=True)):
                return False
            await remove(connection, conversation_id, self.database.clock())
        return True

    async def trim_outputs(self, conversation_id: str, before_ms: int, limit: int) -> int:
        """Remove at most `limit` pieces of the long results of a conversation that is still idle; return how many went.

        They are most of what a conversation weighs. What is then left of it goes in one quick transaction, and a
        conversation that is taken up again in between has lost nothing but what `retrieve_result` would read.
        """
        columns = conversations.c
        idle = select(columns.id).where(
            columns.id == conversation_id, columns.updated_ms < before_ms, columns.active_session_id.is_(None)
        )
        mine = select(sessions.c.id).where(sessions.c.conversation_id.in_(idle))
        piece = tuple_(outputs.c.session_id, outputs.c.call_id, outputs.c.start)
        some = select(outputs.c.session_id, outputs.c.call_id, outputs.c.start)
        some = some.where(outputs.c.session_id.in_(mine)).limit(limit)
        async with self.database.write() as connection:
            return (await connection.execute(delete(outputs).where(piece.in_(some)))).rowcount

    async def trim_audit(self, before_ms: int, limit: int) -> int:
        """Remove at most `limit` audit entries from before then, the oldest first; return how many went."""
        oldest = select(audit.c.id).where(audit.c.at_ms < before_ms).order_by(audit.c.at_ms, audit.c.id).limit(limit)
        async with self.database.write() as connection:
            return (await connection.execute(delete(audit).where(audit.c.id.in_(oldest)))).rowcount

    async def removed(self, conversation_ids: Collection[str]) -> set[str]:
        """Which of these were removed and have not been made anew."""
        columns = removals.c
        query = select(columns.conversation_id).where(
            columns.conversation_id.in_(conversation_ids),
            columns.conversation_id.not_in(select(conversations.c.id)),
        )
        async with self.database.read() as connection:
            return {row["conversation_id"] for row in await every(connection, query)}

    async def forget_removals(self, before_ms: int) -> None:
        """Forget what was removed before then."""
        async with self.database.write() as connection:
            await connection.execute(delete(removals).where(removals.c.removed_ms < before_ms))
