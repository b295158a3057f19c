"""What the tests of memory do again and again: index a text, look for words."""

from __future__ import annotations

import hashlib

from session.passages import lines_of, pieces_of
from session.resources import MemoryChunk
from session.words import query_words
from store import Store
from store.memory_writing import NewFile, indexed


def new_file(path: str, text: str) -> NewFile:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return NewFile(path, "file", digest, len(text.encode()), len(lines_of(text)), indexed(pieces_of(text)))


async def index(store: Store, *files: tuple[str, str]) -> None:
    """A run of the sync that writes these files."""
    assert await store.memory_sync.take("a run")
    for path, text in files:
        await store.memory_sync.put("a run", [new_file(path, text)])
    await store.memory_sync.sweep("a run")
    await store.memory_sync.release("a run", done=True)


async def look(store: Store, query: str, limit: int = 10) -> list[MemoryChunk]:
    ranked = await store.memory.ranked(query_words(query), limit)
    return await store.memory.chunks(dict(ranked.hits))


async def paths(store: Store, query: str) -> list[str]:
    return [chunk.path for chunk in await look(store, query)]
