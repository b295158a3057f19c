"""The ledger: one session's row, locked inside a write transaction, and the facts written with it.

Every change to a session goes through here, so three promises are kept in one place: offsets come from the row's own
counter inside the writing transaction (offset order is commit order, no gaps); a key makes a fact once-only; and after
the commit the facts are handed to the bus. A crash before the commit leaves nothing, after it the facts are there and
a reader finds them in the store even if the bus was never told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Update, bindparam, insert, select, update

from session.events import Event
from session.live import StoredFact
from session.status import is_terminal, move
from session.usage import Usage
from session.vocabulary import SessionStatus
from store.database import Database, Row, StoreConnection, first
from store.schema import facts, sessions

Announce = Callable[[str, Sequence[StoredFact], bool], None]
"""Called after a commit with the session's id, its new facts, and whether the session is now over."""


# Statements are built once: building one costs more than running it.
_LOCKED = select(sessions).where(sessions.c.id == bindparam("id")).with_for_update()
_FACT = select(facts.c.position).where(facts.c.session_id == bindparam("session_id"), facts.c.key == bindparam("key"))
_APPEND = insert(facts)


@lru_cache(maxsize=256)
def _change(columns: tuple[str, ...]) -> Update:
    values: dict[str, Any] = {column: bindparam(f"new_{column}") for column in columns}
    return update(sessions).where(sessions.c.id == bindparam("row_id")).values(values)


class NotFound(LookupError):
    """No such session or conversation."""


class SessionOver(Exception):
    """The session is terminal: nothing was written."""


class Fenced(Exception):
    """A newer attempt of this step has begun: nothing was written."""


class Ledger:
    """A locked session row, the changes to it and the facts to append; written when the transaction ends."""

    def __init__(self, connection: StoreConnection, row: Row, now_ms: int) -> None:
        self.connection = connection
        self.row = row
        self.now_ms = now_ms
        self.changes: dict[str, Any] = {}
        self._facts: list[tuple[str, StoredFact]] = []

    @property
    def id(self) -> str:
        return str(self.row["id"])

    def value(self, column: str) -> Any:
        """The column as it will be after this transaction."""
        return self.changes.get(column, self.row[column])

    @property
    def is_terminal(self) -> bool:
        return is_terminal(self.value("status"))

    @property
    def usage(self) -> Usage:
        return Usage(
            self.value("input_tokens"),
            self.value("output_tokens"),
            self.value("cache_read_tokens"),
            self.value("cache_write_tokens"),
        )

    def move(self, to: SessionStatus) -> None:
        self.changes["status"] = move(self.value("status"), to)

    def append(self, key: str, event: Event, *, closes: str = "", attempt: int = 0) -> None:
        """Append a fact under its dedupe key. `closes`: the scope whose deltas it replaces (session.live)."""
        offset = self.row["last_offset"] + len(self._facts) + 1
        frame = event.frame(self.now_ms)
        self._facts.append((key, StoredFact(offset, event.type, frame, closes, attempt)))

    async def has_fact(self, key: str) -> bool:
        return await first(self.connection, _FACT, session_id=self.id, key=key) is not None

    async def write(self) -> list[StoredFact]:
        """Write the facts and the changed columns; called once, when the transaction ends."""
        if self._facts:
            rows = [
                {
                    "session_id": self.id,
                    "position": fact.offset,
                    "key": key,
                    "type": fact.type,
                    "frame": fact.frame,
                }
                for key, fact in self._facts
            ]
            await self.connection.execute(_APPEND, rows)
            self.changes["last_offset"] = self.row["last_offset"] + len(rows)
        if self.changes:
            values = {f"new_{column}": value for column, value in self.changes.items()}
            await self.connection.execute(_change(tuple(self.changes)), {"row_id": self.id, **values})
        return [fact for _, fact in self._facts]


class Transaction:
    """A write transaction, and the ledgers of the sessions that it locked, in order."""

    def __init__(self, connection: StoreConnection, now_ms: int) -> None:
        self.connection = connection
        self.now_ms = now_ms
        self.locked: list[Ledger] = []

    async def lock(self, session_id: str) -> Ledger:
        """Lock a session's row; what its ledger collects is written at the end. Raises NotFound."""
        row = await first(self.connection, _LOCKED, id=session_id)
        if row is None:
            raise NotFound(f"no session {session_id}")
        self.locked.append(Ledger(self.connection, row, self.now_ms))
        return self.locked[-1]


class Ledgers:
    """Opens ledgers and announces what they committed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.announce: Announce = lambda session_id, new_facts, over: None

    @asynccontextmanager
    async def open(self, session_id: str) -> AsyncIterator[Ledger]:
        """Lock the session's row. Raises NotFound; an exception inside leaves nothing behind."""
        async with self.transaction() as transaction:
            yield await transaction.lock(session_id)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A write transaction for several sessions; an exception inside leaves nothing behind."""
        async with self.database.write() as connection:
            transaction = Transaction(connection, self.database.clock())
            yield transaction
            written = [(ledger, await ledger.write()) for ledger in transaction.locked]
        for ledger, new_facts in written:
            if new_facts:
                self.announce(ledger.id, new_facts, ledger.is_terminal)

    @asynccontextmanager
    async def create(self, connection: StoreConnection, values: dict[str, Any]) -> AsyncIterator[Ledger]:
        """Insert a session's row inside the caller's transaction, with its first facts; the caller announces nothing:
        nobody can read a session before its creation is committed."""
        row = {column.name: None for column in sessions.c} | {"last_offset": 0} | values
        await connection.execute(insert(sessions).values(values))
        ledger = Ledger(connection, row, self.database.clock())
        yield ledger
        await ledger.write()
