"""The engine and its transactions: one way to read, one way to write, the same on SQLite and PostgreSQL.

On SQLite, write transactions begin IMMEDIATE with a busy timeout and take turns inside a process, so that they never
fail half-way on an upgrade of their lock (DESIGN §3). Every failure of the database itself (locked, gone, full) leaves
nothing of the transaction behind and is raised as StoreUnavailable; a broken rule (unique key) stays IntegrityError.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, Select, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from session.ids import RANDOM_BYTES, Prefix, make_id
from store.migrate import Migrated, migrate
from store.postgres import Pooled, postgresql_engine
from store.sqlite import Inline, InlineConnection, sqlite_engine

T = TypeVar("T")

Row = dict[str, Any]
"""A row of a table by its columns' names."""

BUSY_TIMEOUT_SECONDS = 10.0
StoreConnection = AsyncConnection | InlineConnection
"""What statements are executed on: `await transaction.execute(statement, parameters)`."""


class StoreUnavailable(Exception):
    """The database cannot be used right now; nothing of the transaction was kept. Try again."""


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


async def first(connection: StoreConnection, query: Select[Any], **parameters: Any) -> Row | None:
    """The first row of what the query finds, None when it finds nothing."""
    if isinstance(connection, InlineConnection):
        found = await connection.rows(query, parameters)
        return found[0] if found else None
    row = (await connection.execute(query, parameters)).mappings().first()
    return None if row is None else dict(row)


async def every(connection: StoreConnection, query: Select[Any], **parameters: Any) -> list[Row]:
    """All rows of what the query finds."""
    if isinstance(connection, InlineConnection):
        return await connection.rows(query, parameters)
    return [dict(row) for row in (await connection.execute(query, parameters)).mappings()]


class Database:
    """An engine with its clock. Times are Unix milliseconds."""

    def __init__(
        self,
        engine: AsyncEngine | Engine,
        clock: Callable[[], int] = _unix_ms,
        busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.is_sqlite = isinstance(engine, Engine)
        self._ways: Inline | Pooled = (
            Inline(engine, busy_timeout_seconds) if isinstance(engine, Engine) else Pooled(engine)
        )

    def new_id(self, prefix: Prefix) -> str:
        return make_id(prefix, self.clock(), os.urandom(RANDOM_BYTES))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[StoreConnection]:
        """A connection for reading; each statement sees what was committed before it."""
        with _named_failures():
            async with self._ways.read() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[StoreConnection]:
        """A write transaction: committed at the end, rolled back by any exception."""
        with _named_failures():
            async with self._ways.write() as connection:
                yield connection

    async def apart(self, read: Callable[[Connection], T]) -> T:
        """What a function reads that takes long by its nature: on SQLite in a thread, so that the loop goes on."""
        with _named_failures():
            return await self._ways.apart(read)

    async def close(self) -> None:
        await self._ways.close()


_FAILURES: Final = (
    DBAPIError,
    sqlite3.Error,
    PoolTimeout,  # every connection is in use
    OSError,
    EOFError,
    TimeoutError,
)


@contextmanager
def _named_failures() -> Iterator[None]:
    """Turns the driver's failures into StoreUnavailable, and lets broken rules pass as they are."""
    try:
        yield
    except IntegrityError:
        raise
    except _FAILURES as error:
        raise StoreUnavailable("the store did not answer; nothing was changed") from error


async def open_database(
    url: str, clock: Callable[[], int] = _unix_ms, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS
) -> Database:
    """Open `sqlite:///path` or `postgresql+asyncpg://…`, with its migrations applied.

    `busy_timeout_seconds`: how long a statement waits on SQLite for another process's lock. Raises StoreUnavailable
    when the database cannot be reached.
    """
    await migrate_database(url, busy_timeout_seconds)
    return Database(_engine(url, busy_timeout_seconds), clock, busy_timeout_seconds)


async def migrate_database(url: str, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS) -> Migrated:
    """Bring the schema at such a URL to the newest revision, and say from which. Raises StoreUnavailable."""
    engine = _engine(url, busy_timeout_seconds, patient=True)
    with _named_failures():
        return await migrate(engine)


def _engine(url: str, busy_timeout_seconds: float, *, patient: bool = False) -> AsyncEngine | Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return sqlite_engine(parsed.database or "", busy_timeout_seconds)
    return postgresql_engine(parsed, patient=patient)
