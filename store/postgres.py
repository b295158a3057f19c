"""The engine of PostgreSQL, and connections that notice when nobody answers any more.

A network can lose a connection without telling either side. Nothing would ever come back on it: the statement would
wait for ever, with its place in the pool, and the server would keep what the transaction had locked. So every wait has
an end: connecting, a statement (also one that waits for a lock), and on the server's side a transaction that says
nothing. What did not answer is closed, and the pool's other connections of that age are tried before they are used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import asyncpg
from sqlalchemy import URL, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

T = TypeVar("T")

CONNECT_SECONDS: Final = 5.0
STATEMENT_SECONDS: Final = 10.0
"""As long as SQLite waits for its turn."""
GREETING_SECONDS: Final = 2.0
"""For what waits for no lock: the test of a pooled connection, and the begin of a transaction."""

CONNECTIONS: Final = 20
"""Of a process, and all stay open: one that is opened for a crowd and closed after it costs more than it brings."""
TURN_SECONDS: Final = 15.0
"""How long one is waited for while others use all of them."""


class AttentiveConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg is shipped without types
    """Closes itself when it is not even greeted."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 (asyncpg's)
        if query.startswith("BEGIN"):
            return await self._greeted(super().execute(query, *args, timeout=GREETING_SECONDS))
        return await super().execute(query, *args, timeout=timeout)

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None, **more: Any) -> Any:  # noqa: ASYNC109
        if query == ";":  # SQLAlchemy's ping
            return await self._greeted(super().fetchrow(query, *args, timeout=GREETING_SECONDS, **more))
        return await super().fetchrow(query, *args, timeout=timeout, **more)

    async def _greeted(self, answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except TimeoutError:
            self.terminate()
            raise asyncpg.InterfaceError("connection is closed") from None


def postgresql_engine(url: URL, *, patient: bool = False) -> AsyncEngine:
    """`patient`: statements may take as long as they need, as migrations do."""
    idle = int(STATEMENT_SECONDS * 1000)
    arguments: dict[str, Any] = {
        "timeout": CONNECT_SECONDS,
        "command_timeout": None if patient else STATEMENT_SECONDS,
        "connection_class": AttentiveConnection,
        "server_settings": {} if patient else {"idle_in_transaction_session_timeout": str(idle)},
    }
    return create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0, pool_pre_ping=True, connect_args=arguments)


class Pooled:
    """Reading and writing over the engine's pool.

    Who waits for a connection waits here and not in the pool, where a newcomer may be faster than whoever was woken,
    and nobody is woken by a connection that could not be made.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._reads = engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        async with self._turn(), self._reads.connect() as connection, _dropped_when_silent(connection):
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end, rolled back by any exception."""
        async with self._turn(), self._engine.begin() as connection, _dropped_when_silent(connection):
            yield connection

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """First come, first served. Raises TimeoutError."""
        async with asyncio.timeout(TURN_SECONDS):
            await self._turns.acquire()
        try:
            yield
        finally:
            self._turns.release()

    async def apart(self, read: Callable[[Connection], T]) -> T:
        """Read with a function that is not asynchronous itself; the loop goes on meanwhile."""
        async with self.read() as connection:
            return await connection.run_sync(read)

    async def close(self) -> None:
        await self._engine.dispose()


@asynccontextmanager
async def _dropped_when_silent(connection: AsyncConnection) -> AsyncIterator[None]:
    """A connection that did not answer in time is not asked to roll back: it is closed, and its server does."""
    try:
        yield
    except TimeoutError:
        await connection.invalidate()
        raise
