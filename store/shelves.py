"""What tools put down for later calls: the whole of long results, and notes of a conversation.

A result's pieces are written in the transaction that records the result, so both are there or neither; a note is one
transaction of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, func, insert, select

from store.database import Database, StoreConnection, every, first
from store.schema import notes, outputs

PIECE = 65_536
"""Characters in a row: small enough to page through, large enough for few rows."""

_MINE = (outputs.c.session_id == bindparam("session"), outputs.c.call_id == bindparam("call"))
_FORGET_OUTPUT = delete(outputs).where(*_MINE)
_SIZE = select(func.max(outputs.c.start + func.length(outputs.c.text)).label("size")).where(*_MINE)
_PIECES = (
    select(outputs.c.start, outputs.c.text)
    .where(*_MINE, outputs.c.start > bindparam("after"), outputs.c.start < bindparam("before"))
    .order_by(outputs.c.start)
)
_THIS_NOTE = (notes.c.conversation_id == bindparam("conversation"), notes.c.name == bindparam("called"))
_NOTE = select(notes.c.text).where(*_THIS_NOTE)
_FORGET_NOTE = delete(notes).where(*_THIS_NOTE)


async def keep_output(connection: StoreConnection, session_id: str, call_id: str, pieces: Iterable[str]) -> None:
    """Write all of a long result inside the caller's transaction. Where a provider names two calls of a session alike,
    the handle stands for the later one."""
    start = 0
    await connection.execute(_FORGET_OUTPUT, {"session": session_id, "call": call_id})
    for piece in _sized(pieces):
        row = {"session_id": session_id, "call_id": call_id, "start": start, "text": piece}
        await connection.execute(insert(outputs), row)
        start += len(piece)


def _sized(pieces: Iterable[str]) -> Iterable[str]:
    """The same text in pieces of `PIECE` characters; only the last is shorter."""
    held = ""
    for piece in pieces:
        held += piece
        while len(held) >= PIECE:
            yield held[:PIECE]
            held = held[PIECE:]
    if held:
        yield held


class Shelves:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def output(self, session_id: str, call_id: str, offset: int, length: int) -> tuple[str, int] | None:
        """`length` characters of a kept result from `offset` on, and its size; None when nothing was kept."""
        named = {"session": session_id, "call": call_id}
        async with self.database.read() as connection:
            found = await first(connection, _SIZE, **named)
            if found is None or found["size"] is None:
                return None
            reach = {"after": offset - PIECE, "before": offset + length}
            rows = await every(connection, _PIECES, **named, **reach)
        if not rows:
            return "", found["size"]
        text = "".join(row["text"] for row in rows)
        skipped = max(0, offset - rows[0]["start"])
        return text[skipped : skipped + length], found["size"]

    async def note(self, conversation_id: str, name: str) -> str | None:
        async with self.database.read() as connection:
            row = await first(connection, _NOTE, conversation=conversation_id, called=name)
        return None if row is None else str(row["text"])

    async def put_note(self, conversation_id: str, name: str, text: str) -> None:
        named = {"conversation": conversation_id, "called": name}
        row = {"conversation_id": conversation_id, "name": name, "text": text, "updated_ms": self.database.clock()}
        async with self.database.write() as connection:
            await connection.execute(_FORGET_NOTE, named)
            await connection.execute(insert(notes), row)
