"""Vectors of passages: kept beside them, and the nearest ones found.

Neither database has an index for them that comes with it, so they are looked through: first by their signs alone (a bit
for each number; how many differ tells the angle well enough to choose `CLOSELY` of them), then those by the numbers
themselves. That takes some microseconds for each passage, away from the event loop.
"""

from __future__ import annotations

import array
import heapq
import math
import sys
from collections.abc import Collection, Iterator, Sequence
from operator import mul
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, delete, func, insert, select

from store.database import Database
from store.memory_schema import memory_chunks, memory_files, memory_vectors

CLOSELY: Final = 400
PAGE: Final = 2_000
"""Rows that are read at once."""
WRITTEN: Final = 16
"""Vectors that are written in one transaction."""

_COLUMNS = memory_vectors.c
_SIGNS = (
    select(_COLUMNS.number, _COLUMNS.signs)
    .where(_COLUMNS.model == bindparam("model"), _COLUMNS.number > bindparam("after"))
    .order_by(_COLUMNS.number)
    .limit(PAGE)
)


class Unembedded(NamedTuple):
    """A passage that has no vector (of this model) yet."""

    number: int
    path: str
    heading: str
    text: str


class Vectors:
    """The memory_vectors table."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def missing(self, model: str, limit: int, after: int = -1) -> list[Unembedded]:
        """The first passages without a vector of this model, beyond the number `after`."""
        chunks, files = memory_chunks.c, memory_files.c
        some = _bare(model, chunks.number, files.path, chunks.heading, chunks.text).where(chunks.number > after)

        def read(connection: Connection) -> list[Unembedded]:
            rows = connection.execute(some.order_by(chunks.number).limit(limit)).all()
            return [Unembedded(*row) for row in rows]

        return await self.database.apart(read)

    async def how_many_missing(self, model: str) -> int:
        """How many passages have no vector of this model: all are looked at."""
        count = _bare(model, func.count())
        return await self.database.apart(lambda connection: int(connection.execute(count).scalar_one()))

    async def put(self, model: str, vectors: Sequence[tuple[int, Sequence[float]]]) -> None:
        """Keep vectors of passages, as far as these are still there."""
        for start in range(0, len(vectors), WRITTEN):
            rows = [
                {"number": number, "model": model, "signs": _signs(vector), "vector": _packed(vector)}
                for number, vector in vectors[start : start + WRITTEN]
            ]
            numbers = [row["number"] for row in rows]
            there = select(memory_chunks.c.number).where(memory_chunks.c.number.in_(numbers))
            async with self.database.write() as connection:
                held = {row[0] for row in await connection.execute(there.with_for_update(read=True, key_share=True))}
                kept = [row for row in rows if row["number"] in held]
                await connection.execute(delete(memory_vectors).where(_COLUMNS.number.in_(numbers)))
                if kept:
                    await connection.execute(insert(memory_vectors), kept)

    async def nearest(self, model: str, vector: Sequence[float], limit: int) -> list[tuple[int, float]]:
        """Numbers of the nearest passages with their cosine, the nearest first."""
        asked = _unit(vector)

        def read(connection: Connection) -> list[tuple[int, float]]:
            close = _by_signs(connection, model, int.from_bytes(_signs(asked)), max(CLOSELY, limit))
            return heapq.nlargest(limit, _cosines(connection, close, asked), key=lambda each: (each[1], -each[0]))

        return await self.database.apart(read)


def _bare(model: str, *columns: Any) -> Select[Any]:
    """Of the passages without a vector of this model."""
    joint = memory_chunks.join(memory_files, memory_chunks.c.file_id == memory_files.c.id)
    mine = and_(_COLUMNS.number == memory_chunks.c.number, _COLUMNS.model == model)
    joint = joint.outerjoin(memory_vectors, mine)
    return select(*columns).select_from(joint).where(memory_files.c.live, _COLUMNS.number.is_(None))


def _by_signs(connection: Connection, model: str, signs: int, limit: int) -> list[int]:
    def distances() -> Iterator[tuple[int, int]]:
        after = -1
        while rows := connection.execute(_SIGNS, {"model": model, "after": after}).all():
            for number, held in rows:
                yield (int.from_bytes(held) ^ signs).bit_count(), number
            after = rows[-1][0]

    return [number for _, number in heapq.nsmallest(limit, distances())]


def _cosines(connection: Connection, numbers: Collection[int], asked: Sequence[float]) -> Iterator[tuple[int, float]]:
    query = select(_COLUMNS.number, _COLUMNS.vector).where(_COLUMNS.number.in_(numbers))
    for number, packed in connection.execute(query):
        held = _unpacked(packed)
        if len(held) == len(asked):  # an endpoint may have changed what its model's name stands for
            yield number, sum(map(mul, held, asked))


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in vector))
    return [value / length for value in vector] if length else list(vector)


def _signs(vector: Sequence[float]) -> bytes:
    bits = int("".join("1" if value > 0 else "0" for value in vector) or "0", 2)
    return bits.to_bytes((len(vector) + 7) // 8 or 1)


def _packed(vector: Sequence[float]) -> bytes:
    numbers = array.array("f", _unit(vector))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _unpacked(packed: bytes) -> array.array[float]:
    numbers = array.array("f")
    numbers.frombytes(packed)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
