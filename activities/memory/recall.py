"""Finding passages of memory: by their words, and by their meaning where there is an embedding endpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Final, Literal

from activities.memory.embedding import Embedder
from session.fusion import fused
from session.resources import MemoryChunk
from session.words import query_words
from store import Store

WARM_CHARS: Final = 40_000
"""What a session begins with at most, in characters: about 10,000 tokens."""

Method = Literal["fullText", "hybrid"]
CANDIDATES: Final = 100
"""Pieces that are looked at, at least."""
NEAREST: Final = 50
"""Pieces that are near by their meaning, of which there is no telling where they stop to be."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a query. `total`: how many pieces had anything of it."""

    query: str
    method: Method
    total: int
    chunks: list[MemoryChunk]


@dataclass(frozen=True, slots=True)
class Wanted:
    """For which session passages are to be picked, and by which words."""

    conversation_id: str | None = None
    memory_session_id: str | None = None
    query: str | None = None


class Recall:
    """Searches the memory of a store."""

    def __init__(self, store: Store, embedder: Embedder | None = None) -> None:
        self._store = store
        self.embedder = embedder

    async def search(self, query: str, limit: int, min_score: float = 0.0) -> Found:
        """At most `limit` pieces with at least that score (0 to 1). Raises StoreUnavailable."""
        ranked, near = await asyncio.gather(
            self._store.memory.ranked(query_words(query), max(limit, CANDIDATES)), self._near(query)
        )
        scores, total = dict(ranked.hits), ranked.total
        if near:
            scores = fused([list(scores), near])
            total += len(set(near) - {number for number, _ in ranked.hits})
        good = {number: score for number, score in islice(scores.items(), CANDIDATES) if score >= min_score}
        chunks = await self._store.memory.chunks(good)
        return Found(query, "hybrid" if near else "fullText", total, chunks[:limit])

    async def _near(self, query: str) -> list[int]:
        """Numbers of the pieces that are nearest by their meaning; none where nobody can tell."""
        if self.embedder is None:
            return []
        vector = await self.embedder.query(query)
        if vector is None:
            return []
        return [number for number, _ in await self._store.vectors.nearest(self.embedder.model, vector, NEAREST)]

    async def warm(self, wanted: Wanted, limit: int) -> list[MemoryChunk]:
        """Pick passages and let them wait for the next session of the conversation, or of the memory session.

        Without a query, what the conversation is about is looked for; where nothing was said yet, what was written
        last is taken. Raises NotFound, Archived, StoreUnavailable.
        """
        passages = self._store.passages
        about = await passages.about(wanted.conversation_id, wanted.memory_session_id)
        query = wanted.query or about
        if query_words(query):
            chunks = (await self.search(query, limit)).chunks
        else:
            chunks = await self._store.memory.latest(limit)
        picked = _within(chunks, WARM_CHARS)
        if wanted.conversation_id is not None or wanted.memory_session_id is not None:
            await passages.keep(wanted.conversation_id, wanted.memory_session_id, picked)
        return picked


def _within(chunks: list[MemoryChunk], size: int) -> list[MemoryChunk]:
    """The first of these that are together no longer than that."""
    sums = accumulate(len(chunk.text) for chunk in chunks)
    return [chunk for chunk, held in zip(chunks, sums, strict=True) if held <= size]
