"""SQLite: statements run where they are asked for, on the event loop's own thread.

A statement of ours takes some ten microseconds; handing it to a thread and back (as aiosqlite does) takes thirty times
as long, and was a fifth of all CPU that a session took. So nothing here waits inside SQLite: a lock that another
process holds is asked for again after a pause of the loop's, and what waits for the disk (opening, checkpoints of the
write-ahead log, closing) has a thread. A commit only appends to the log (`synchronous=NORMAL`).

Two connections are enough for a process: one for reading, outside of any transaction, so that each statement sees what
was committed before it, and one for writing, which transactions take in turn. What takes long by its nature (a search)
has a third one, and a thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, NullPool, Select, create_engine, event
from sqlalchemy.exc import OperationalError

from store.prepared import Statements

T = TypeVar("T")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.001, 0.05
COMMITS_BETWEEN_CHECKPOINTS: Final = 100
LONGEST_TURN_SECONDS: Final = 0.01
PAGES_BEFORE_SQLITE_CHECKPOINTS: Final = 20_000
"""How long the log may get before SQLite itself moves it, within a commit: only where the thread could not."""
WRITE: Final = {"perdure_write": True}
"""Execution options of an engine whose transactions begin with the lock for writing."""


def sqlite_engine(path: str, busy_timeout: float) -> Engine:
    """An engine over a file; its transactions are SQLite's own only with the option `WRITE`.

    `busy_timeout`: seconds that opening a file, and such a transaction, wait for another connection's lock.
    """
    if path in ("", ":memory:"):
        raise ValueError("SQLite needs a file: what must last cannot live in memory")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", creator=lambda: _open(path, busy_timeout), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("perdure_write"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _open(path: str, busy_timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    try:
        _write_ahead(connection, time.monotonic() + busy_timeout)
        for pragma in (
            "synchronous=NORMAL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            f"wal_autocheckpoint={PAGES_BEFORE_SQLITE_CHECKPOINTS}",
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


def _is_busy(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


async def _patiently(act: Callable[[], T], until: float) -> T:
    """Do it; again, with pauses of the loop's, for as long as another connection holds the lock. `until`: on the
    monotonic clock."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return act()
        except (sqlite3.OperationalError, OperationalError) as error:
            cause = error.orig if isinstance(error, OperationalError) else error
            if not _is_busy(cause) or time.monotonic() > until:
                raise
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE_SECONDS, pause * 2)


class InlineConnection:
    """What the store uses of SQLAlchemy's AsyncConnection, over a connection that does not wait."""

    def __init__(self, connection: Connection, statements: Statements, busy_timeout: float) -> None:
        self.sync_connection = connection
        self.dialect = connection.dialect
        self._raw = _raw(connection)
        self._statements = statements
        self._busy_timeout = busy_timeout

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        """SQLAlchemy's result; `Changed` of what gives no rows. Raises SQLAlchemy's DBAPIError, as an AsyncConnection
        does, and sqlite3's errors."""
        prepared = None if isinstance(statement, Select) else self._statements.prepared(statement, parameters or {})
        if prepared is None:
            return await self._doing(lambda: self.sync_connection.execute(statement, parameters))
        return await self._doing(lambda: prepared.change(self._raw, parameters or {}))

    async def rows(self, query: Select[Any], parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the query finds, by its columns' names. Raises as `execute` does."""
        prepared = self._statements.prepared(query, parameters)
        if prepared is None:
            found = await self._doing(lambda: self.sync_connection.execute(query, parameters))
            return [dict(row) for row in found.mappings()]
        return await self._doing(lambda: prepared.rows(self._raw, parameters))

    async def _doing(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except (sqlite3.OperationalError, OperationalError) as error:
            if not _is_busy(error.orig if isinstance(error, OperationalError) else error):
                raise
        return await _patiently(act, time.monotonic() + self._busy_timeout)

    async def run_sync(self, act: Callable[[Connection], T]) -> T:
        return act(self.sync_connection)


class _Turn:
    """One writer at a time. All who wait are woken when it ends, and those whose transaction does not wait for anything
    take their turns within one round of the loop. With a lock that is handed from one to the next there is one
    transaction in a round, and three hundred sessions whose deltas fill the rounds stand still."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()

    @asynccontextmanager
    async def taken(self, patience: float | None = None) -> AsyncIterator[None]:
        """`patience`: seconds. Raises TimeoutError."""
        if not self._free.is_set():
            async with asyncio.timeout(patience):
                while not self._free.is_set():
                    await self._free.wait()
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()


class Inline:
    """The two connections of a process, opened when they are needed."""

    def __init__(self, engine: Engine, busy_timeout: float) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._busy_timeout = busy_timeout
        self._statements = Statements(engine.dialect)
        self._log = WriteAheadLog(str(engine.url.database))
        self._opening = asyncio.Lock()
        self._turn = _Turn()
        self._let_at = 0.0
        self._reader: InlineConnection | None = None
        self._writer: InlineConnection | None = None
        self._apart: Connection | None = None
        self._apart_turn = asyncio.Lock()

    async def _opened(self) -> InlineConnection:
        connection = await asyncio.to_thread(self._engine.connect)
        _raw(connection).execute("PRAGMA busy_timeout=0")  # from here on the loop waits, not SQLite
        return InlineConnection(connection, self._statements, self._busy_timeout)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[InlineConnection]:
        await self._let_others()
        async with self._opening:
            if self._reader is None:
                self._reader = await self._opened()
        yield self._reader

    @asynccontextmanager
    async def write(self) -> AsyncIterator[InlineConnection]:
        """A transaction: committed at the end, rolled back by any exception. It waits for its turn and for the lock no
        longer than `busy_timeout` together. Raises TimeoutError, sqlite3's errors."""
        await self._let_others()
        until = time.monotonic() + self._busy_timeout
        async with self._turn.taken(self._busy_timeout):
            if self._writer is None:
                self._writer = await self._opened()
            raw = _raw(self._writer.sync_connection)
            await _patiently(lambda: raw.execute("BEGIN IMMEDIATE"), until)
            try:
                yield self._writer
                await _patiently(raw.commit, until)
            finally:
                if raw.in_transaction:
                    raw.rollback()
        self._log.committed()

    async def apart(self, read: Callable[[Connection], T]) -> T:
        """Read in a thread, one at a time. Whoever is cancelled waits until SQLite has let go of it. Raises
        TimeoutError when the turn does not come within `busy_timeout`."""
        async with asyncio.timeout(self._busy_timeout):
            await self._apart_turn.acquire()
        try:
            if self._apart is None:
                self._apart = (await self._opened()).sync_connection
                wait_ms = round(self._busy_timeout * 1000)
                _raw(self._apart).execute(f"PRAGMA busy_timeout={wait_ms}")  # a thread may wait inside SQLite
            reading = asyncio.ensure_future(asyncio.to_thread(read, self._apart))
            try:
                return await asyncio.shield(reading)
            except asyncio.CancelledError:
                _raw(self._apart).interrupt()
                await _over(reading)
                raise
        finally:
            self._apart_turn.release()

    async def _let_others(self) -> None:
        """Nothing else here lets others of this loop have their turn. Not before each statement: on a busy loop one
        turn of all others takes long."""
        clock = asyncio.get_running_loop().time
        if clock() - self._let_at > LONGEST_TURN_SECONDS:
            await asyncio.sleep(0)
            self._let_at = clock()

    async def close(self) -> None:
        """A transaction that goes on is waited for. The last connection to close moves the whole log into the database,
        and waits for the disk."""
        async with self._turn.taken(), self._opening, self._apart_turn:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    await asyncio.to_thread(connection.sync_connection.close)
            if self._apart is not None:
                await asyncio.to_thread(self._apart.close)
            self._reader = self._writer = self._apart = None


async def _over(reading: asyncio.Future[Any]) -> None:
    """Wait for its end, also when that is cancelled again: until then the connection is the thread's."""
    while not reading.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({reading})
    if not reading.cancelled():
        reading.exception()  # it was looked at


def _raw(connection: Connection) -> sqlite3.Connection:
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


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
