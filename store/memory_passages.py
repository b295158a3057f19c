"""Passages picked for the next session of a conversation or of a memory session, and what sessions began with.

They are copies: a session's prompt stays as it was, whatever becomes of the files. A session takes what was picked in
the transaction that creates it, so no two begin with the same picks, and a crash before its commit leaves them waiting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, or_, select

from session.passages import Passage
from session.resources import MemoryChunk
from store.database import Database, Row, StoreConnection, every, first
from store.ledger import NotFound
from store.memory_links import belong
from store.memory_schema import memory_links, memory_passages, memory_sessions
from store.schema import conversations, messages

QUESTIONS: Final = 3
QUESTION_CHARS: Final = 1_000
"""How much of a conversation tells what it is about: its last user messages, and so much of each."""

_COLUMNS = memory_passages.c
_NAMES = ("path", "start_line", "end_line", "text")
_SHOWN = [_COLUMNS[name] for name in (*_NAMES, "score")]
_OF_SESSION = select(*_SHOWN).where(_COLUMNS.session_id == bindparam("session")).order_by(_COLUMNS.number)
_WAITING = (
    select(_COLUMNS.number, *_SHOWN)
    .where(
        _COLUMNS.session_id.is_(None),
        or_(
            _COLUMNS.conversation_id == bindparam("conversation"),
            _COLUMNS.memory_session_id == bindparam("memory_session"),
        ),
    )
    .order_by(_COLUMNS.number)
    .with_for_update()
)


class Passages:
    """The memory_passages table."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def of(self, session_id: str) -> list[Passage]:
        """What a session began with."""
        async with self.database.read() as connection:
            return [_passage(row) for row in await every(connection, _OF_SESSION, session=session_id)]

    async def keep(
        self, conversation_id: str | None, memory_session_id: str | None, chunks: Sequence[MemoryChunk]
    ) -> None:
        """Let these wait for the next session, in the place of those that wait. Raises NotFound, Archived."""
        async with self.database.write() as connection:
            if conversation_id is not None:
                query = select(conversations.c.id).where(conversations.c.id == conversation_id).with_for_update()
                if await first(connection, query) is None:
                    raise NotFound(f"no conversation {conversation_id}")
            if memory_session_id is not None:
                await belong(connection, memory_session_id, conversation_id)
            owner = (
                {"conversation_id": conversation_id}
                if conversation_id is not None
                else {"memory_session_id": memory_session_id}
            )
            mine = [memory_passages.c[name] == value for name, value in owner.items()]
            await connection.execute(delete(memory_passages).where(_COLUMNS.session_id.is_(None), *mine))
            rows = [owner | _row(chunk) for chunk in chunks]
            if rows:
                await connection.execute(insert(memory_passages), rows)

    async def about(self, conversation_id: str | None, memory_session_id: str | None) -> str:
        """What a conversation, or the last one of a memory session, is about, in its own words. Raises NotFound."""
        said: list[str] = []
        async with self.database.read() as connection:
            if memory_session_id is not None:
                name = select(memory_sessions.c.name).where(memory_sessions.c.id == memory_session_id)
                named = await first(connection, name)
                if named is None:
                    raise NotFound(f"no memory session {memory_session_id}")
                said.append(named["name"] or "")
                conversation_id = conversation_id or await _last_of(connection, memory_session_id)
            if conversation_id is not None:
                query = select(conversations.c.title).where(conversations.c.id == conversation_id)
                titled = await first(connection, query)
                if titled is None:
                    raise NotFound(f"no conversation {conversation_id}")
                said.append(titled["title"] or "")
                asked = select(messages.c.content).where(
                    messages.c.conversation_id == conversation_id, messages.c.role == "user"
                )
                rows = await every(connection, asked.order_by(messages.c.seq.desc()).limit(QUESTIONS))
                said += [row["content"][:QUESTION_CHARS] for row in rows]
        return "\n".join(part for part in said if part.strip())


async def _last_of(connection: StoreConnection, memory_session_id: str) -> str | None:
    query = select(conversations.c.id).join(memory_links, memory_links.c.conversation_id == conversations.c.id)
    query = query.where(memory_links.c.memory_session_id == memory_session_id)
    row = await first(connection, query.order_by(conversations.c.updated_ms.desc()).limit(1))
    return None if row is None else str(row["id"])


async def begin_with(connection: StoreConnection, session: Mapping[str, Any]) -> list[Passage]:
    """Give a new session (its row is written) what waits for it, each once; where nothing does, what the session began
    with that it repeats."""
    named = json.loads(session["settings"])["memorySessionId"]
    found = await every(connection, _WAITING, conversation=session["conversation_id"], memory_session=named)
    if found:
        await connection.execute(delete(memory_passages).where(_COLUMNS.number.in_([row["number"] for row in found])))
    elif session["original_session_id"] is not None:
        found = await every(connection, _OF_SESSION, session=session["original_session_id"])
    rows = list({tuple(row[name] for name in _NAMES): row for row in found}.values())
    if rows:
        begun = [{name: row[name] for name in (*_NAMES, "score")} | {"session_id": session["id"]} for row in rows]
        await connection.execute(insert(memory_passages), begun)
    return [_passage(row) for row in rows]


def _passage(row: Row) -> Passage:
    return Passage(**{name: row[name] for name in _NAMES})


def _row(chunk: MemoryChunk) -> Row:
    return {
        "path": chunk.path,
        "start_line": chunk.start_line,
        "end_line": chunk.end_line,
        "text": chunk.text,
        "score": chunk.score,
    }
