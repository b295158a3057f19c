"""System prompts: kept with the first reply that was made with them, and sent as they are ever after.

A reply's thinking is bound to the prompt before it, and prompts are cached by their beginning; so a session's system
prompt stays what it was, whatever a later step would make of its workspace or a newer build of the texts. Before the
first reply nothing depends on it, and a crash there leaves none.
"""

from __future__ import annotations

import json

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from session.prompt import SystemPrompt
from store.context_schema import prompts
from store.database import Database, first
from store.ledger import Ledger
from store.schema import conversations

_OF = select(prompts.c.text).where(prompts.c.session_id == bindparam("session"))
_PRESET = select(conversations.c.preset_id).where(conversations.c.id == bindparam("conversation"))
_KEEP = {
    "sqlite": sqlite.insert(prompts).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(prompts).on_conflict_do_nothing(),
}


class Prompts:
    """Reads what stands at the head of sessions' model calls."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def of(self, session_id: str) -> SystemPrompt | None:
        """The system prompt that the session's replies were made with; None before there is a reply."""
        async with self.database.read() as connection:
            row = await first(connection, _OF, session=session_id)
        return None if row is None else SystemPrompt(*json.loads(row["text"]))

    async def preset_of(self, conversation_id: str) -> str | None:
        """The conversation's preset id."""
        async with self.database.read() as connection:
            row = await first(connection, _PRESET, conversation=conversation_id)
        preset: str | None = None if row is None else row["preset_id"]
        return preset


async def keep(ledger: Ledger, prompt: SystemPrompt) -> None:
    """Keep the prompt that a reply was made with, unless the session has one."""
    values = {"session_id": ledger.id, "text": json.dumps(prompt, ensure_ascii=False)}
    await ledger.connection.execute(_KEEP[ledger.connection.dialect.name], values)
