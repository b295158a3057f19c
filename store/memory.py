"""Memory: what is indexed, found by words and read by lines, and the notes that conversations keep.

A note is a file that is in the store alone, so that any worker may write it and any may read it. It is written in one
transaction with its words: a crash leaves the line there and found, or not there. Its conversation takes it along.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, delete, func, select, update

from session.passages import Excerpt, Piece, joined, lines_of, pieces_of
from session.resources import MemoryChunk, MemoryFile, MemoryStats
from store.cursor import newest_first, page
from store.database import Database, Row, StoreConnection, every, first
from store.ledger import NotFound
from store.memory_fts5 import Fts5Index
from store.memory_index import Ranked, WordIndex
from store.memory_schema import memory_chunks, memory_files, memory_sessions, memory_syncs, memory_vectors
from store.memory_tsvector import TsvectorIndex
from store.memory_writing import NOTES, NewFile, indexed, write_file, write_pieces
from store.rows import iso
from store.schema import conversations

MOST_NOTE_BYTES: Final = 256 << 10
"""A conversation's notes at most: they go with it in one transaction."""

MOST_RANKED: Final = 10_000
"""Pieces that are looked at to find live ones among them."""

Files = list[MemoryFile]
_PIECE = (memory_chunks.c.start_line, memory_chunks.c.end_line, memory_chunks.c.heading, memory_chunks.c.text)
_NOTE_OF = "a conversation's note"


class NoteFull(Exception):
    """The conversation's notes are as long as they may get: nothing was written."""


def _live(*columns: Any) -> Select[Any]:
    joint = memory_chunks.join(memory_files, memory_chunks.c.file_id == memory_files.c.id)
    return select(*columns).select_from(joint).where(memory_files.c.live)


class Memory:
    """Reads the whole memory, and writes notes; what is brought in from outside is `MemorySync`'s."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._index: WordIndex = Fts5Index() if database.is_sqlite else TsvectorIndex()

    async def ranked(self, words: Sequence[str], limit: int) -> Ranked:
        """The `limit` best pieces for any of these words (as session.words cuts them).

        The index knows what is being written and what is on its way out as well, perhaps many pieces of it: more are
        asked for until enough of them are live.
        """

        def read(connection: Connection) -> Ranked:
            asked = limit
            while True:
                ranked = self._index.rank(connection, words, asked)
                there = _live(memory_chunks.c.number).where(memory_chunks.c.number.in_([hit[0] for hit in ranked.hits]))
                live = set(connection.execute(there).scalars())
                hits = [hit for hit in ranked.hits if hit[0] in live]
                if len(hits) >= limit or len(ranked.hits) < asked or asked >= MOST_RANKED:
                    return Ranked(hits[:limit], ranked.total - (len(ranked.hits) - len(hits)))
                asked = min(MOST_RANKED, asked * 4)

        return await self.database.apart(read)

    async def chunks(self, scores: dict[int, float]) -> list[MemoryChunk]:
        """The pieces of these numbers, with these scores, in their order; those that are gone are left out."""
        columns = (memory_chunks.c.number, memory_chunks.c.id, memory_files.c.path, *_PIECE)

        def read(connection: Connection) -> dict[int, Row]:
            query = _live(*columns).where(memory_chunks.c.number.in_(scores))
            return {row["number"]: dict(row) for row in connection.execute(query).mappings()}

        found = await self.database.apart(read)
        return [_chunk(found[number], score) for number, score in scores.items() if number in found]

    async def latest(self, limit: int, conversation_id: str | None = None) -> list[MemoryChunk]:
        """The last pieces of what was written last, perhaps of one conversation alone; without a score."""
        query = _live(memory_chunks.c.number, memory_chunks.c.id, memory_files.c.path, *_PIECE)
        if conversation_id is not None:
            query = query.where(memory_files.c.conversation_id == conversation_id)
        query = query.order_by(memory_files.c.created_ms.desc(), memory_chunks.c.start_line.desc()).limit(limit)

        def read(connection: Connection) -> list[Row]:
            return [dict(row) for row in connection.execute(query).mappings()]

        return [_chunk(row, 0.0) for row in await self.database.apart(read)]

    async def excerpt(self, path: str, start_line: int, count: int) -> Excerpt:
        """At most `count` lines of a file from a line on, and its length: of one version of it. Raises NotFound."""
        columns = memory_chunks.c
        asked = and_(
            columns.file_id == memory_files.c.id,
            columns.end_line >= start_line,
            columns.start_line < start_line + count,
        )
        query = (
            select(memory_files.c.lines, *_PIECE)
            .select_from(memory_files.outerjoin(memory_chunks, asked))
            .where(memory_files.c.path == path, memory_files.c.live)
            .order_by(columns.start_line, columns.number)
        )
        async with self.database.read() as connection:
            rows = await every(connection, query)
        if not rows:
            raise NotFound(f"no file {path} in memory")
        total = rows[0]["lines"]
        if rows[0]["start_line"] is None:  # the file is there, and has no such lines
            return Excerpt(path, start_line, [], total)
        pieces = [Piece(*(row[name] for name in Piece._fields)) for row in rows]
        lines = joined(pieces)
        skipped = max(0, start_line - pieces[0].start_line)
        return Excerpt(path, pieces[0].start_line + skipped, lines[skipped : skipped + count], total)

    async def append_note(self, conversation_id: str, content: str) -> Excerpt:
        """Add to the conversation's notes, and return what was added. Raises NotFound, NoteFull."""
        path = f"{NOTES}/{conversation_id}.md"
        added = lines_of(content.strip("\r\n"))
        async with self.database.write() as connection:
            query = select(conversations.c.id).where(conversations.c.id == conversation_id).with_for_update()
            if await first(connection, query) is None:
                raise NotFound(f"no conversation {conversation_id}")
            note = await first(connection, _file_at(path))
            if note is None:
                start = 1
                await self._begin_note(connection, path, conversation_id, added)
            else:
                start = note["lines"] + 2
                await self._lengthen_note(connection, note, added)
        return Excerpt(path, start, added, start + len(added) - 1)

    async def _begin_note(
        self, connection: StoreConnection, path: str, conversation_id: str, added: Sequence[str]
    ) -> None:
        text = "\n".join(added)
        size, pieces = len(text.encode()), indexed(pieces_of(text))
        if size > MOST_NOTE_BYTES:
            raise NoteFull(_NOTE_OF)
        now = self.database.clock()
        file = NewFile(path, "note", _hash(text), size, len(added), pieces, conversation_id)
        await write_pieces(connection, await write_file(connection, file, now), path, pieces, now)

    async def _lengthen_note(self, connection: StoreConnection, note: Row, added: Sequence[str]) -> None:
        """Only the last piece is cut anew: what a note costs does not grow with it."""
        text = "\n".join(["", "", *added])
        size = note["size"] + len(text.encode())
        if size > MOST_NOTE_BYTES:
            raise NoteFull(_NOTE_OF)
        columns, now = memory_chunks.c, self.database.clock()
        query = select(columns.number, *_PIECE).where(columns.file_id == note["id"])
        last = await first(connection, query.order_by(columns.start_line.desc(), columns.number.desc()).limit(1))
        assert last is not None
        await connection.execute(delete(memory_chunks).where(columns.number == last["number"]))
        pieces = indexed(pieces_of(last["text"] + text, last["start_line"], last["heading"]))
        await write_pieces(connection, note["id"], note["path"], pieces, now)
        changes = {
            "size": size,
            "lines": note["lines"] + 1 + len(added),
            "chunks": note["chunks"] - 1 + len(pieces),
            "hash": _hash(note["hash"] + text),
            "created_ms": now,
        }
        await connection.execute(update(memory_files).where(memory_files.c.id == note["id"]).values(changes))

    async def list(self, cursor: str | None, limit: int) -> tuple[Files, str | None]:
        """A page of files, those indexed last first, and the next cursor. Raises BadCursor."""
        query = select(memory_files).where(memory_files.c.live)
        async with self.database.read() as connection:
            rows = await every(connection, newest_first(query, memory_files, cursor, limit))
        shown, following = page(rows, limit)
        return [_file(row) for row in shown], following

    async def last_sync_at(self) -> str | None:
        """When the files were last brought up to date."""
        async with self.database.read() as connection:
            row = await first(connection, select(memory_syncs.c.synced_ms).where(memory_syncs.c.name == "files"))
        return iso(row["synced_ms"]) if row and row["synced_ms"] is not None else None

    async def stats(self, embedding_model: str | None = None) -> MemoryStats:
        """How much there is. `embedding_model`: whose vectors to count."""
        files = select(memory_files.c.source, func.count().label("held"), func.sum(memory_files.c.chunks).label("cut"))
        files = files.where(memory_files.c.live).group_by(memory_files.c.source)
        made = select(memory_sessions.c.status, func.count().label("held")).group_by(memory_sessions.c.status)
        vectors = select(func.count()).select_from(memory_vectors).where(memory_vectors.c.model == embedding_model)

        def read(connection: Connection) -> tuple[dict[str, tuple[int, int]], dict[str, int], int]:
            sources = {row.source: (row.held, int(row.cut)) for row in connection.execute(files)}
            sessions = {row.status: row.held for row in connection.execute(made)}
            return sources, sessions, int(connection.execute(vectors).scalar_one())

        sources, sessions, embedded = await self.database.apart(read)
        return MemoryStats(
            files=sum(held for held, _ in sources.values()),
            chunks=sum(cut for _, cut in sources.values()),
            sources={source: held for source, (held, _) in sources.items()},
            sessions=sessions,
            embedding_model=embedding_model,
            embedded_chunks=embedded,
            last_sync_at=await self.last_sync_at(),
        )


def _file_at(path: str) -> Select[Any]:
    return select(memory_files).where(memory_files.c.path == path, memory_files.c.live)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _chunk(row: Row, score: float) -> MemoryChunk:
    return MemoryChunk(
        id=row["id"],
        path=row["path"],
        start_line=row["start_line"],
        end_line=row["end_line"],
        text=row["text"],
        score=round(score, 6),
    )


def _file(row: Row) -> MemoryFile:
    return MemoryFile(
        id=row["id"],
        path=row["path"],
        source=row["source"],
        conversation_id=row["conversation_id"],
        session_id=row["session_id"],
        size=row["size"],
        lines=row["lines"],
        chunks=row["chunks"],
        indexed_at=iso(row["created_ms"]),
    )
