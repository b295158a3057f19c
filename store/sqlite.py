"""SQLite's connection: statements run where they are asked for, on the event loop's own thread.

A statement of ours takes some ten microseconds; handing it to a thread and back (as aiosqlite does) takes thirty times
as long, and was a fifth of all CPU that a session took. So nothing here waits inside SQLite: a lock that another
process holds is asked for again after a pause of the loop's, and what waits for the disk (opening, checkpoints of the
write-ahead log, closing) has a thread. A commit only appends to the log (`synchronous=NORMAL`).

SQLAlchemy's dialect for aiosqlite sees a connection of the kind it knows; BEGIN travels with the statement that follows
it, and what has nothing to end is not ended.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, Final, NamedTuple, TypeVar

T = TypeVar("T")
_Row = tuple[Any, ...]

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.001, 0.05
COMMITS_BETWEEN_CHECKPOINTS: Final = 100
PAGES_BEFORE_SQLITE_CHECKPOINTS: Final = 20_000
"""How long the log may get before SQLite itself moves it, within a commit: only where the thread could not."""


class _Outcome(NamedTuple):
    """What a finished statement left: the attributes of its cursor, and all of its rows."""

    description: Any
    rowcount: int
    lastrowid: int | None
    rows: list[_Row]


_NOTHING = _Outcome(None, -1, None, [])


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


class WriteAheadLog:
    """Moves the log's pages into the database now and then, in a thread; writers and readers go on meanwhile.

    A crash in the middle leaves the log, from which the next one to open the database goes on.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._commits = 0
        self._moving: asyncio.Future[None] | None = None

    def committed(self) -> None:
        """A transaction was committed."""
        self._commits += 1
        if self._commits >= COMMITS_BETWEEN_CHECKPOINTS and (self._moving is None or self._moving.done()):
            self._commits = 0
            self._moving = asyncio.get_running_loop().run_in_executor(None, self._checkpoint)

    def _checkpoint(self) -> None:
        with suppress(sqlite3.Error), closing(sqlite3.connect(self._path, timeout=0)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


async def open_connection(path: str, busy_timeout: float, log: WriteAheadLog) -> SqliteConnection:
    """`busy_timeout`: seconds that a statement waits for another connection's lock before it fails.

    Raises sqlite3.Error.
    """
    return SqliteConnection(await asyncio.to_thread(_open, path, busy_timeout), busy_timeout, log)


def _open(path: str, busy_timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    try:
        _write_ahead(connection, time.monotonic() + busy_timeout)
        for pragma in (
            "synchronous=NORMAL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            f"wal_autocheckpoint={PAGES_BEFORE_SQLITE_CHECKPOINTS}",
            "busy_timeout=0",
        ):
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
            if not _is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


class SqliteConnection:
    """A connection in manual transaction mode: only what is executed begins a transaction."""

    isolation_level = None

    def __init__(self, raw: sqlite3.Connection, busy_timeout: float, log: WriteAheadLog) -> None:
        self._connection: sqlite3.Connection | None = raw
        self._raw = raw
        self._busy_timeout = busy_timeout
        self._log = log
        self._begin = ""

    def cursor(self) -> Any:
        return _Cursor(self)

    async def create_function(self, *given: Any, **named: Any) -> None:
        self._raw.create_function(*given, **named)

    def begin_immediate(self) -> None:
        """Begin a write transaction with the next statement."""
        self._begin = "BEGIN IMMEDIATE"

    async def run(self, many: bool, sql: str, parameters: Any) -> _Outcome:
        """Execute one statement, with the BEGIN that waits for it."""

        def statement() -> _Outcome:
            if self._begin:
                self._raw.execute(self._begin)
                self._begin = ""
            return _run(self._raw, many, sql, parameters)

        return await self._patiently(statement)

    async def commit(self) -> None:
        if not self._is_idle():
            await self._patiently(self._raw.commit)
            self._log.committed()

    async def rollback(self) -> None:
        if not self._is_idle():
            self._raw.rollback()

    async def close(self) -> None:
        """The last connection to close moves the whole log into the database, and waits for the disk."""
        if self._connection is not None:
            self._connection = None
            await asyncio.to_thread(self._raw.close)

    def stop(self) -> None:
        """Close at once, without the loop."""
        self._connection = None
        self._raw.close()

    async def _patiently(self, act: Callable[[], T]) -> T:
        """Do it again, with pauses of the loop's, for as long as another connection holds the lock."""
        try:
            return act()
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
        until, pause = time.monotonic() + self._busy_timeout, FIRST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
            try:
                return act()
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > until:
                    raise

    def _is_idle(self) -> bool:
        """No transaction is open."""
        self._begin = ""
        return not self._raw.in_transaction


def _run(connection: sqlite3.Connection, many: bool, sql: str, parameters: Any) -> _Outcome:
    cursor = connection.cursor()
    try:
        (cursor.executemany if many else cursor.execute)(sql, parameters)
        rows = cursor.fetchall() if cursor.description else []
        return _Outcome(cursor.description, cursor.rowcount, cursor.lastrowid, rows)
    finally:
        cursor.close()


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
