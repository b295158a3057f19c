"""Bringing the index up to date with the memory folder: what a run of it writes.

Any number of processes may ask for a run at once. One holds the sync at a time: a row says which, every transaction of
a run locks that row, renews the hold and fails when somebody else has it by now. So a run whose process died is taken
over after `HOLD_MS`, and one that was only stopped for a while writes nothing any more (Displaced).

No transaction writes more than `BATCH` pieces, so that sessions get their turn at the store in between. A file that is
longer is written under a row that is not `live`, which the last transaction makes so, in the place of the old one. A
crash leaves the old file found and whole, and rows that the next run sweeps away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from store.database import Database, StoreConnection
from store.memory_schema import memory_chunks, memory_files, memory_syncs
from store.memory_writing import NewFile, write_file, write_pieces

BATCH: Final = 16
HOLD_MS: Final = 30_000
_FILES: Final = memory_syncs.c.name == "files"


class Displaced(Exception):
    """Another run has taken this one's place: nothing was written."""


class MemorySync:
    """The writing of runs. `holder` names a run."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def take(self, holder: str) -> bool:
        """Hold the sync, unless another run does."""
        now, columns = self.database.clock(), memory_syncs.c
        free = or_(columns.holder.is_(None), columns.holder == holder, columns.until_ms < now)
        claim = update(memory_syncs).where(_FILES, free).values(holder=holder, until_ms=now + HOLD_MS)
        async with self.database.write() as connection:
            return (await connection.execute(claim)).rowcount == 1

    async def release(self, holder: str, *, done: bool) -> None:
        """Let go of it. `done`: the index is as the folder was."""
        values = {"holder": None, "until_ms": 0} | ({"synced_ms": self.database.clock()} if done else {})
        async with self.database.write() as connection:
            await connection.execute(update(memory_syncs).where(_FILES, _held_by(holder)).values(values))

    async def known(self) -> dict[str, str]:
        """The files of the folder that are indexed, with the hashes of their content."""
        columns = memory_files.c
        query = select(columns.path, columns.hash).where(columns.source == "file", columns.live)

        def read(connection: Connection) -> dict[str, str]:
            return {row.path: row.hash for row in connection.execute(query)}

        return await self.database.apart(read)

    async def put(self, holder: str, files: Sequence[NewFile]) -> None:
        """Index files as they are now, together no more than `BATCH` pieces, or one file of any length. Raises
        Displaced."""
        if sum(len(file.pieces) for file in files) > BATCH:
            (file,) = files
            await self._put_long(holder, file)
            return
        async with self._holding(holder) as connection:
            now = self.database.clock()
            await _retire(connection, [file.path for file in files])
            for file in files:
                await write_pieces(connection, await write_file(connection, file, now), file.path, file.pieces, now)

    async def _put_long(self, holder: str, file: NewFile) -> None:
        now = self.database.clock()
        async with self._holding(holder) as connection:
            file_id = await write_file(connection, file, now, live=False)
        for start in range(0, len(file.pieces), BATCH):
            async with self._holding(holder) as connection:
                await write_pieces(connection, file_id, file.path, file.pieces[start : start + BATCH], now)
        async with self._holding(holder) as connection:
            await _retire(connection, [file.path])
            await connection.execute(update(memory_files).where(memory_files.c.id == file_id).values(live=True))

    async def remove(self, holder: str, paths: Sequence[str]) -> None:
        """Files that are gone are found no more. Raises Displaced."""
        for start in range(0, len(paths), BATCH):
            async with self._holding(holder) as connection:
                await _retire(connection, paths[start : start + BATCH])

    async def sweep(self, holder: str) -> None:
        """Take away what is not live. Raises Displaced."""
        stale = select(memory_files.c.id).where(memory_files.c.live.is_(False))
        some = select(memory_chunks.c.number).where(memory_chunks.c.file_id.in_(stale)).limit(BATCH)
        cleared = BATCH
        while cleared:
            async with self._holding(holder) as connection:
                cleared = (
                    await connection.execute(delete(memory_chunks).where(memory_chunks.c.number.in_(some)))
                ).rowcount
        async with self._holding(holder) as connection:
            await connection.execute(delete(memory_files).where(memory_files.c.live.is_(False)))

    @asynccontextmanager
    async def _holding(self, holder: str) -> AsyncIterator[StoreConnection]:
        """A transaction of the run that holds the sync."""
        async with self.database.write() as connection:
            hold = update(memory_syncs).where(_FILES, _held_by(holder))
            held = await connection.execute(hold.values(until_ms=self.database.clock() + HOLD_MS))
            if held.rowcount != 1:
                raise Displaced(holder)
            yield connection


def _held_by(holder: str) -> ColumnElement[bool]:
    return memory_syncs.c.holder == holder


async def _retire(connection: StoreConnection, paths: Sequence[str]) -> None:
    columns = memory_files.c
    gone = update(memory_files).where(columns.path.in_(paths), columns.source == "file", columns.live)
    await connection.execute(gone.values(live=False))
