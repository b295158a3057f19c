"""Applies the Alembic migrations at start, in one transaction that only one process at a time may be in: on SQLite it
holds the write lock from its first statement (`BEGIN IMMEDIATE`), on PostgreSQL an advisory lock. So processes starting
at once wait for each other, and a crash half-way leaves the schema as it was.

A schema that is newer than this code is left as it is: a release's migrations only add what the release before it can
work with, so a process of that one may be started again during a deploy, or after it was taken back."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from store.sqlite import WRITE

logger = logging.getLogger("perdure.store")
ADVISORY_LOCK = 0x50455244  # "PERD"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
REVISIONS: Final = tuple(sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*.py")))
"""Of this code, by the names of their files: most starts find the newest there, and need no Alembic to know it."""

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
            async with engine.connect() as connection:
                before = await connection.run_sync(_revision)
            if _is_done(before):
                return Migrated(before, before)
            async with engine.begin() as connection:
                return await connection.run_sync(_upgrade)
        finally:
            await engine.dispose()


def _on_sqlite(engine: Engine) -> Migrated:
    with engine.connect() as connection:
        before = _revision(connection)
    if _is_done(before):
        return Migrated(before, before)
    with engine.execution_options(**WRITE).begin() as connection:
        return _upgrade(connection)


def _revision(connection: Connection) -> str | None:
    """Where the schema is; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _is_done(revision: str | None) -> bool:
    if revision is not None and revision not in REVISIONS:
        logger.warning("the store's schema is at %s, which is newer than this code: left as it is", revision)
        return True
    return revision == REVISIONS[-1]


def _upgrade(connection: Connection) -> Migrated:
    """Look again, now that nobody else can migrate, and do what is missing."""
    from alembic import command  # noqa: PLC0415 (a tenth of what a process takes to start, and seldom needed)
    from alembic.config import Config  # noqa: PLC0415

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    before = _revision(connection)
    if _is_done(before):
        return Migrated(before, before)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return Migrated(before, _revision(connection))
