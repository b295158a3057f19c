"""The engine and its transactions: one way to read, one way to write, the same on SQLite and PostgreSQL.

On SQLite, write transactions begin IMMEDIATE with a busy timeout and take turns inside a process, so that they never
fail half-way on an upgrade of their lock (DESIGN §3). Every failure of the database itself (locked, gone, full) leaves
nothing of the transaction behind and is raised as StoreUnavailable; a broken rule (unique key) stays IntegrityError.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Select, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from session.ids import RANDOM_BYTES, Prefix, make_id
from store.migrate import Migrated, migrate
from store.postgres import postgresql_engine
from store.sqlite import WriteAheadLog, open_connection

Row = dict[str, Any]
"""A row of a table by its columns' names."""

BUSY_TIMEOUT_SECONDS = 10.0
_WRITE: Final = {"perdure_write": True}
"""Execution options of a connection that writes; one that reads is in no transaction on SQLite (see `begin` below)."""


class StoreUnavailable(Exception):
    """The database cannot be used right now; nothing of the transaction was kept. Try again."""


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


async def first(connection: AsyncConnection, query: Select[Any], **parameters: Any) -> Row | None:
    """The first row of what the query finds, None when it finds nothing."""
    row = (await connection.execute(query, parameters)).mappings().first()
    return None if row is None else dict(row)


async def every(connection: AsyncConnection, query: Select[Any], **parameters: Any) -> list[Row]:
    """All rows of what the query finds."""
    return [dict(row) for row in (await connection.execute(query, parameters)).mappings()]


class Database:
    """An engine with its clock. Times are Unix milliseconds."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int] = _unix_ms) -> None:
        self.engine = engine
        self.clock = clock
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._turn = asyncio.Lock()
        reads = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reads = engine.execution_options(**reads)
        self._writes = engine.execution_options(**_WRITE)

    def new_id(self, prefix: Prefix) -> str:
        return make_id(prefix, self.clock(), os.urandom(RANDOM_BYTES))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; each statement sees what was committed before it."""
        with _named_failures():
            async with self._reads.connect() as connection, _dropped_when_silent(connection):
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction: committed at the end, rolled back by any exception."""
        turn = self._turn if self.is_sqlite else nullcontext()
        with _named_failures():
            async with turn, self._writes.begin() as connection, _dropped_when_silent(connection):
                yield connection

    async def close(self) -> None:
        await self.engine.dispose()


_FAILURES: Final = (
    DBAPIError,
    PoolTimeout,  # every connection is in use
    OSError,
    EOFError,
    TimeoutError,
)


@asynccontextmanager
async def _dropped_when_silent(connection: AsyncConnection) -> AsyncIterator[None]:
    """A connection that did not answer in time is not asked to roll back: it is closed, and its server does."""
    try:
        yield
    except TimeoutError:
        await connection.invalidate()
        raise


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
    """Open `sqlite+aiosqlite:///path` or `postgresql+asyncpg://…`, with its migrations applied.

    `busy_timeout_seconds`: how long a statement waits on SQLite for another process's lock. Raises StoreUnavailable
    when the database cannot be reached.
    """
    await migrate_database(url, busy_timeout_seconds)
    return Database(_engine(url, busy_timeout_seconds), clock)


async def migrate_database(url: str, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS) -> Migrated:
    """Bring the schema at such a URL to the newest revision, and say from which. Raises StoreUnavailable."""
    engine = _engine(url, busy_timeout_seconds, patient=True)
    try:
        with _named_failures():
            return await migrate(engine.execution_options(**_WRITE))
    finally:
        await engine.dispose()


def _engine(url: str, busy_timeout_seconds: float, *, patient: bool = False) -> AsyncEngine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, busy_timeout_seconds)
    return postgresql_engine(parsed, patient=patient)


def _sqlite(url: URL, busy_timeout: float) -> AsyncEngine:
    path = url.database or ""
    if path in ("", ":memory:"):
        raise ValueError("SQLite needs a file: what must last cannot live in memory")
    Path(path).parent.mkdir(parents=True, exist_ok=True)

    log = WriteAheadLog(path)

    async def connect() -> Any:
        return await open_connection(path, busy_timeout, log)

    engine = create_async_engine(url, async_creator=connect, pool_size=4, max_overflow=4)

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("perdure_write"):
            raw: Any = connection.connection.driver_connection
            raw.begin_immediate()

    return engine
