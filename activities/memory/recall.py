"""Finding passages of memory: by their words, each piece once, the best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from session.resources import MemoryChunk
from session.words import query_words
from store import Store

Method = Literal["fullText", "hybrid"]
CANDIDATES: Final = 100
"""Pieces that are looked at, at least."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a query. `total`: how many pieces had anything of it."""

    query: str
    method: Method
    total: int
    chunks: list[MemoryChunk]


class Recall:
    """Searches the memory of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def search(self, query: str, limit: int, min_score: float = 0.0) -> Found:
        """At most `limit` pieces with at least that score (0 to 1). Raises StoreUnavailable."""
        ranked = await self._store.memory.ranked(query_words(query), max(limit, CANDIDATES))
        scores = {number: score for number, score in ranked.hits if score >= min_score}
        chunks = await self._store.memory.chunks(dict(list(scores.items())[:CANDIDATES]))
        return Found(query, "fullText", ranked.total, chunks[:limit])
