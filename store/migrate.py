"""Applies the Alembic migrations at start, in one transaction that only one process at a time may be in: on SQLite it
holds the write lock from its first statement (`BEGIN IMMEDIATE`), on PostgreSQL an advisory lock. So processes starting
at once wait for each other, and a crash half-way leaves the schema as it was.

A schema that is newer than this code is left as it is: a release's migrations only add what the release before it can
work with, so a process of that one may be started again during a deploy, or after it was taken back."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from store.sqlite import WRITE

logger = logging.getLogger("perdure.store")
ADVISORY_LOCK = 0x50455244  # "PERD"

# Alembic keeps what it works on in module globals, so inside a process migrations take turns as well.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class Migrated(NamedTuple):
    """The schema's revision before and after; None is an empty database."""

    before: str | None
    after: str | None


async def migrate(engine: AsyncEngine | Engine) -> Migrated:
    """Bring the schema to the newest revision, and dispose of the engine; a no-op when it is there."""
    turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    async with turn:
        if isinstance(engine, Engine):
            return await asyncio.to_thread(_on_sqlite, engine)
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(_upgrade)
        finally:
            await engine.dispose()


def _on_sqlite(engine: Engine) -> Migrated:
    with engine.execution_options(**WRITE).begin() as connection:
        return _upgrade(connection)


def _upgrade(connection: Connection) -> Migrated:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    before = MigrationContext.configure(connection).get_current_revision()
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if before is not None and before not in known:
        logger.warning("the store's schema is at %s, which is newer than this code: left as it is", before)
        return Migrated(before, before)
    command.upgrade(config, "head")
    return Migrated(before, MigrationContext.configure(connection).get_current_revision())
