"""The engine and its transactions: one way to read, one way to write, the same on SQLite and PostgreSQL.

On SQLite, write transactions begin IMMEDIATE with a busy timeout and take turns inside a process, so that they never
fail half-way on an upgrade of their lock (DESIGN §3). Every failure of the database itself (locked, gone, full) leaves
nothing of the transaction behind and is raised as StoreUnavailable; a broken rule (unique key) stays IntegrityError.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from session.ids import RANDOM_BYTES, Prefix, make_id
from store.migrate import migrate

BUSY_TIMEOUT_SECONDS = 10


class StoreUnavailable(Exception):
    """The database cannot be used right now; nothing of the transaction was kept. Try again."""


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Database:
    """An engine with its clock. Times are Unix milliseconds."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int] = _unix_ms) -> None:
        self.engine = engine
        self.clock = clock
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._turn = asyncio.Lock()
        self._reads = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writes = engine.execution_options(perdure_write=True)

    def new_id(self, prefix: Prefix) -> str:
        return make_id(prefix, self.clock(), os.urandom(RANDOM_BYTES))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; each statement sees what was committed before it."""
        with _named_failures():
            async with self._reads.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction: committed at the end, rolled back by any exception."""
        turn = self._turn if self.is_sqlite else nullcontext()
        with _named_failures():
            async with turn, self._writes.begin() as connection:
                yield connection

    async def close(self) -> None:
        await self.engine.dispose()


class _named_failures:
    """Turns the driver's failures into StoreUnavailable, and lets broken rules pass as they are."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, IntegrityError):
            return
        if isinstance(error, (DBAPIError, OSError, TimeoutError)):
            raise StoreUnavailable("the store did not answer; nothing was changed") from error


async def open_database(url: str, clock: Callable[[], int] = _unix_ms) -> Database:
    """Open `sqlite+aiosqlite:///path` or `postgresql+asyncpg://…`, with its migrations applied.

    Raises StoreUnavailable when it cannot be reached.
    """
    parsed = make_url(url)
    options: dict[str, Any] = {"pool_pre_ping": False}
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        options |= {"connect_args": {"timeout": BUSY_TIMEOUT_SECONDS}, "pool_size": 4, "max_overflow": 4}
    else:
        options |= {"pool_size": 10, "max_overflow": 10, "pool_pre_ping": True, "pool_timeout": 10}
    engine = create_async_engine(parsed, **options)
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    with _named_failures():
        await migrate(engine)
    return Database(engine, clock)


def _prepare_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def set_pragmas(connection: Any, record: object) -> None:
        connection.isolation_level = None  # sqlite3 must not begin transactions by itself: _begin does
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("isolation_level") == "AUTOCOMMIT":
            return
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("perdure_write") else "BEGIN")
