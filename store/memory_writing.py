"""Writing files of memory inside a caller's transaction: the file's row, its pieces and their words.

The search index follows by triggers, so what is written is found as soon as it is committed, and never before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import insert

from session.ids import RANDOM_BYTES, make_id
from session.passages import Piece, pieces_of
from session.vocabulary import MemorySource
from session.words import words_of
from store.database import StoreConnection
from store.ledger import Ledger
from store.memory_schema import memory_chunks, memory_files

SUMMARIES: Final = "@sessions"
NOTES: Final = "@conversations"
"""Folders of what is in the store alone; no file of the memory folder can have such a path."""
MOST_SUMMARY_CHARS: Final = 8_000
MOST_HEADING_CHARS: Final = 200


_FILE: Final = insert(memory_files)
_CHUNK: Final = insert(memory_chunks)


class Indexed(NamedTuple):
    """A piece with the words that it is found by."""

    piece: Piece
    heading_words: str
    text_words: str


def indexed(pieces: Sequence[Piece]) -> list[Indexed]:
    """The pieces with their words: some 100 µs for each, so for many of them in a thread."""
    return [Indexed(piece, words_of(piece.heading), words_of(piece.text)) for piece in pieces]


@dataclass(frozen=True, slots=True)
class NewFile:
    """A text to be indexed. `size` is in bytes."""

    path: str
    source: MemorySource
    hash: str
    size: int
    lines: int
    pieces: Sequence[Indexed]
    conversation_id: str | None = None
    session_id: str | None = None


async def write_file(connection: StoreConnection, file: NewFile, now_ms: int, *, live: bool = True) -> str:
    """Write the file's row alone, and return its id."""
    file_id = make_id("memf", now_ms, os.urandom(RANDOM_BYTES))
    row = {
        "id": file_id,
        "path": file.path,
        "source": file.source,
        "live": live,
        "conversation_id": file.conversation_id,
        "session_id": file.session_id,
        "hash": file.hash,
        "size": file.size,
        "lines": file.lines,
        "chunks": len(file.pieces),
        "created_ms": now_ms,
    }
    await connection.execute(_FILE, row)
    return file_id


async def write_pieces(
    connection: StoreConnection, file_id: str, path: str, pieces: Sequence[Indexed], now_ms: int
) -> None:
    """Write some pieces of a file whose row is there."""
    if pieces:
        place = words_of(path)
        await connection.execute(_CHUNK, [_row(file_id, place, piece, now_ms) for piece in pieces])


def _row(file_id: str, place: str, of: Indexed, now_ms: int) -> Mapping[str, Any]:
    piece, heading, text = of
    return {
        "id": make_id("memc", now_ms, os.urandom(RANDOM_BYTES)),
        "file_id": file_id,
        "start_line": piece.start_line,
        "end_line": piece.end_line,
        "heading": piece.heading,
        "text": piece.text,
        "place_words": place,
        "heading_words": heading,
        "text_words": text,
        "length": sum(words.count(" ") + 1 for words in (place, heading, text) if words),
    }


async def keep_summary(ledger: Ledger, summary: str) -> None:
    """Index the summary of a session that completes, with its goal for a heading, in the transaction that ends it."""
    goal = " ".join(str(ledger.row["goal"]).split())[:MOST_HEADING_CHARS]
    text = f"# {goal}\n\n{summary[:MOST_SUMMARY_CHARS].strip()}"
    pieces = indexed(pieces_of(text))
    file = NewFile(
        path=f"{SUMMARIES}/{ledger.id}.md",
        source="summary",
        hash="",
        size=len(text.encode()),
        lines=pieces[-1].piece.end_line,
        pieces=pieces,
        conversation_id=ledger.row["conversation_id"],
        session_id=ledger.id,
    )
    file_id = await write_file(ledger.connection, file, ledger.now_ms)
    await write_pieces(ledger.connection, file_id, file.path, pieces, ledger.now_ms)
