"""SQLite's connection: aiosqlite's, with one trip to its thread for each statement.

SQLAlchemy talks to an aiosqlite cursor in four trips (open, execute, fetch, close), to which a transaction adds three
for its BEGIN and one for the rollback that a pool does after a commit. A trip costs more than most of our statements,
so here a statement is one trip, BEGIN travels with the statement that follows it, and what has nothing to end is not
ended. Given to the engine as `async_creator`; everything else (the thread, its order, closing) stays aiosqlite's.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from functools import partial
from typing import Any, NamedTuple

import aiosqlite

_Row = tuple[Any, ...]


class _Outcome(NamedTuple):
    """What a finished statement left: the attributes of its cursor, and all of its rows."""

    description: Any
    rowcount: int
    lastrowid: int | None
    rows: list[_Row]


_NOTHING = _Outcome(None, -1, None, [])


def _run(connection: sqlite3.Connection, begin: str, many: bool, sql: str, parameters: Any) -> _Outcome:
    if begin:
        connection.execute(begin)
    cursor = connection.cursor()
    try:
        (cursor.executemany if many else cursor.execute)(sql, parameters)
        rows = cursor.fetchall() if cursor.description else []
        return _Outcome(cursor.description, cursor.rowcount, cursor.lastrowid, rows)
    finally:
        cursor.close()


def _open(path: str, busy_timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
    try:
        _write_ahead(connection, time.monotonic() + busy_timeout)
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection, until: float) -> None:
    """Set WAL mode. Where several open a new file at once, SQLite refuses without waiting: the wait is here."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


class SqliteConnection(aiosqlite.Connection):
    """A connection in manual transaction mode: only what is executed begins a transaction."""

    def __init__(self, path: str, busy_timeout: float) -> None:
        """`busy_timeout`: seconds that a statement waits for another connection's lock before it fails."""
        super().__init__(lambda: _open(path, busy_timeout), iter_chunk_size=64)
        self._thread.daemon = True  # as SQLAlchemy does: a connection left open must not hold up the exit
        self._begin = ""
        self._settled = True
        self._stopped: asyncio.Future[Any] | None = None

    async def _connect(self) -> aiosqlite.Connection:
        try:
            return await super()._connect()
        except Exception:  # aiosqlite has told its thread to stop, and would leave it to answer a loop that is gone
            if self._stopped is not None:
                await self._stopped
            raise

    def stop(self) -> asyncio.Future[Any] | None:
        self._stopped = super().stop()
        return self._stopped

    def cursor(self) -> Any:
        return _Cursor(self)

    def begin_immediate(self) -> None:
        """Begin a write transaction with the next statement."""
        self._begin = "BEGIN IMMEDIATE"

    async def run(self, many: bool, sql: str, parameters: Any) -> _Outcome:
        """Execute one statement on the connection's thread, with the BEGIN that waits for it."""
        begin, self._begin = self._begin, ""
        self._settled = False
        try:
            work = partial(_run, self._conn, begin, many, sql, parameters)
            outcome: _Outcome = await self._execute(work)  # type: ignore[no-untyped-call]
        except Exception:
            self._settled = True
            raise
        self._settled = True
        return outcome

    async def commit(self) -> None:
        if not self._is_idle():
            await super().commit()

    async def rollback(self) -> None:
        if not self._is_idle():
            await super().rollback()

    def _is_idle(self) -> bool:
        """No transaction is open. A statement whose caller was cancelled may still run; then nobody can tell."""
        self._begin = ""
        return self._settled and not self.in_transaction


class _Cursor:
    """A cursor in name only: it holds what its statement left."""

    arraysize = 1

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._outcome = _NOTHING

    async def __aenter__(self) -> _Cursor:
        return self

    @property
    def description(self) -> Any:
        return self._outcome.description

    @property
    def rowcount(self) -> int:
        return self._outcome.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._outcome.lastrowid

    async def execute(self, sql: str, parameters: Any = ()) -> _Cursor:
        self._outcome = await self._connection.run(False, sql, parameters)
        return self

    async def executemany(self, sql: str, parameters: Any) -> _Cursor:
        self._outcome = await self._connection.run(True, sql, parameters)
        return self

    async def fetchall(self) -> list[_Row]:
        return self._outcome.rows

    async def close(self) -> None: ...
