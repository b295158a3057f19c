"""Conversations and their messages (CONTRACT §4)."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from session.resources import Conversation, Message, ToolCall
from session.usage import Usage
from store.cursor import newest_first, page
from store.database import Database, StoreConnection, every, first
from store.ledger import NotFound
from store.retention import remove
from store.rows import conversation_of, message_of, tool_call_of
from store.schema import conversations, messages, sessions, tool_calls
from store.starting import Conflict

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_ALL_TOKENS: ColumnElement[int] = reduce(add, (sessions.c[name] for name in _TOKENS))
_SPENT = select(
    *(func.sum(sessions.c[name]).label(name) for name in _TOKENS),
    func.sum(sessions.c.cost).label("cost"),
    func.count().filter(sessions.c.cost.is_(None), _ALL_TOKENS > 0).label("unpriced"),
).where(sessions.c.conversation_id == bindparam("conversation"))

Messages = list[Message]
Calls = list[ToolCall]


class Taken(Exception):
    """A conversation with this id exists already."""


class Conversations:
    """The conversations table. Each write is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def create(
        self, conversation_id: str | None, title: str | None, preset_id: str | None, metadata: dict[str, Any]
    ) -> Conversation:
        """Raises Taken."""
        now = self.database.clock()
        values = {
            "id": conversation_id or self.database.new_id("conv"),
            "title": title,
            "preset_id": preset_id,
            "metadata": json.dumps(metadata),
            "created_ms": now,
            "updated_ms": now,
        }
        try:
            async with self.database.write() as connection:
                await connection.execute(insert(conversations).values(values))
        except IntegrityError as error:
            raise Taken(f"there is a conversation {conversation_id} already") from error
        return conversation_of(values)

    async def list(self, q: str | None, cursor: str | None, limit: int) -> tuple[list[Conversation], str | None]:
        """A page, newest first, and the next cursor; `q` looks in titles and messages. Raises BadCursor."""
        query = select(conversations)
        if q:
            said = select(messages.c.conversation_id).where(messages.c.content.icontains(q, autoescape=True))
            query = query.where(or_(conversations.c.title.icontains(q, autoescape=True), conversations.c.id.in_(said)))
        async with self.database.read() as connection:
            rows = await every(connection, newest_first(query, conversations, cursor, limit))
        shown, following = page(rows, limit)
        return [conversation_of(row) for row in shown], following

    async def get(self, conversation_id: str) -> tuple[Conversation, str | None]:
        """The conversation and its active session's id. Raises NotFound."""
        query = select(conversations).where(conversations.c.id == conversation_id)
        async with self.database.read() as connection:
            row = await first(connection, query)
        if row is None:
            raise NotFound(f"no conversation {conversation_id}")
        return conversation_of(row), row["active_session_id"]

    async def messages(self, conversation_id: str) -> Messages:
        """All messages in order; an assistant message carries its session's tool calls."""
        query = select(messages).where(messages.c.conversation_id == conversation_id).order_by(messages.c.seq)
        async with self.database.read() as connection:
            rows = await every(connection, query)
            answered = [row["session_id"] for row in rows if row["role"] == "assistant" and row["session_id"]]
            calls = await self._calls(connection, answered)
        return [message_of(row, calls.get(row["session_id"], []) if row["role"] == "assistant" else []) for row in rows]

    async def message(self, message_id: str) -> Message:
        """One message with its tool calls. Raises NotFound."""
        async with self.database.read() as connection:
            row = await first(connection, select(messages).where(messages.c.id == message_id))
            if row is None:
                raise NotFound(f"no message {message_id}")
            answered = [row["session_id"]] if row["role"] == "assistant" and row["session_id"] else []
            calls = await self._calls(connection, answered)
        return message_of(row, calls.get(row["session_id"], []) if row["role"] == "assistant" else [])

    async def spent(self, conversation_id: str) -> tuple[Usage, float | None]:
        """What all sessions of a conversation have spent; the cost (USD) is None where that of a part is not known."""
        async with self.database.read() as connection:
            row = await first(connection, _SPENT, conversation=conversation_id)
        assert row is not None
        return Usage(*(int(row[name] or 0) for name in _TOKENS)), None if row["unpriced"] else float(row["cost"] or 0)

    async def tool_calls(self, session_id: str) -> Calls:
        """A session's tool calls, in order, with the results that there are."""
        async with self.database.read() as connection:
            return (await self._calls(connection, [session_id])).get(session_id, [])

    async def _calls(self, connection: StoreConnection, session_ids: Collection[str]) -> dict[str, Calls]:
        if not session_ids:
            return {}
        columns = tool_calls.c
        query = select(tool_calls).where(columns.session_id.in_(session_ids))
        found: dict[str, Calls] = {}
        for row in await every(connection, query.order_by(columns.step, columns.position)):
            found.setdefault(row["session_id"], []).append(tool_call_of(row))
        return found

    async def change(self, conversation_id: str, changes: dict[str, Any]) -> Conversation:
        """Set `title` and/or `metadata`. Raises NotFound."""
        values = {**changes, "updated_ms": self.database.clock()}
        if "metadata" in values:
            values["metadata"] = json.dumps(values["metadata"])
        async with self.database.write() as connection:
            await connection.execute(update(conversations).where(conversations.c.id == conversation_id).values(values))
        return (await self.get(conversation_id))[0]

    async def delete(self, conversation_id: str) -> None:
        """Remove it with its messages, sessions and all of theirs. Raises NotFound, Conflict while a session runs."""
        async with self.database.write() as connection:
            query = select(conversations.c.active_session_id).where(conversations.c.id == conversation_id)
            row = await first(connection, query.with_for_update())
            if row is None:
                raise NotFound(f"no conversation {conversation_id}")
            if row["active_session_id"] is not None:
                raise Conflict(row["active_session_id"])
            await remove(connection, conversation_id, self.database.clock())
