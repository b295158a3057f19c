"""One run of the sync: what changed in the memory folder since the last one is indexed, what is gone is removed.

Incremental by content: every file is read and hashed, only those with another hash are written. Runs at once, in any
processes, take turns (store.memory_sync); a run that was overtaken begins again. Machines that run an API share one
memory folder, or only one of them has it: a folder that is not there removes nothing.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from activities.memory.embedding import BATCH as BATCH_OF_VECTORS
from activities.memory.embedding import SECONDS, Embedder, EmbeddingFailed, EmbeddingRefused
from activities.memory.folder import Contents, Skipped, Text, look, read
from session.passages import lines_of, pieces_of
from store import Store, StoreUnavailable
from store.memory_sync import BATCH, Displaced
from store.memory_writing import NewFile, indexed

WAIT_SECONDS: Final = 20.0
"""How long a run waits for the one before it."""
EMBED_SECONDS: Final = 60.0
MOST_REFUSED: Final = 8
"""Passages that an endpoint may refuse in a row."""
_PAUSE_SECONDS: Final = 0.05


class SyncRunning(Exception):
    """Another run is still going on."""


@dataclass
class Synced:
    """What a run did, in files."""

    added: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    embedded: int = 0
    unembedded: int = 0
    embedding_error: str | None = None
    duration_ms: int = 0


async def sync(
    store: Store,
    base: Path,
    embedder: Embedder | None = None,
    *,
    wait_seconds: float = WAIT_SECONDS,
    embed_seconds: float = EMBED_SECONDS,
) -> Synced:
    """Bring the index up to date with the folder. Raises SyncRunning, StoreUnavailable.

    Then passages without a vector get one, for at most `embed_seconds`, summaries and notes too; `unembedded` are left.

    A crash leaves every file as it was before or as it is now; the next run does the rest.
    """
    until = time.monotonic() + wait_seconds
    while True:
        holder = uuid.uuid4().hex
        while not await store.memory_sync.take(holder):
            if time.monotonic() > until:
                raise SyncRunning
            await asyncio.sleep(_PAUSE_SECONDS)
        done = False
        try:
            began = time.monotonic()
            synced = await _run(store, base, holder)
            done = True
            if embedder is not None:
                await _embed(store, embedder, holder, synced, time.monotonic() + embed_seconds)
                synced.unembedded = await store.vectors.how_many_missing(embedder.model)
            synced.duration_ms = round((time.monotonic() - began) * 1000)
            return synced
        except Displaced:
            if time.monotonic() > until:
                raise SyncRunning from None
        finally:
            with suppress(StoreUnavailable):  # then the hold runs out
                await store.memory_sync.release(holder, done=done)


async def _run(store: Store, base: Path, holder: str) -> Synced:
    await store.memory_sync.sweep(holder)
    found = await asyncio.to_thread(look, base)
    known = await store.memory_sync.known()
    synced = Synced(skipped=found.skipped)
    changed = [path for path, digest in found.hashes.items() if known.get(path) != digest]
    async for batch in _batches(base, changed):
        await store.memory_sync.put(holder, batch)
        synced.updated += sum(file.path in known for file in batch)
        synced.added += sum(file.path not in known for file in batch)
    gone = _gone(found, known)
    await store.memory_sync.remove(holder, gone)
    await store.memory_sync.sweep(holder)
    synced.removed = len(gone)
    synced.unchanged = len(found.hashes) - len(changed)
    return synced


async def _embed(store: Store, embedder: Embedder, holder: str, synced: Synced, until: float) -> None:
    """Ask for vectors as long as there is time, and the sync is still this run's: else two would pay for the same. A
    passage that the endpoint refuses keeps no other waiting: it is found by halving, and passed over until the next
    run."""
    after, size, refused = -1, BATCH_OF_VECTORS, 0
    while True:
        some = await store.vectors.missing(embedder.model, size, after)
        if not some or time.monotonic() > until or not await store.memory_sync.take(holder):
            return
        try:
            texts = ["\n".join(part for part in (one.path, one.heading, one.text) if part) for one in some]
            vectors = await embedder.vectors(texts, max(1.0, min(SECONDS, until - time.monotonic())))
        except EmbeddingFailed as error:
            synced.embedding_error = str(error)
            if not isinstance(error, EmbeddingRefused):
                return
            if len(some) > 1:
                size = len(some) // 2
                continue
            after, refused = some[0].number, refused + 1
            if refused == MOST_REFUSED:  # it is not the passages
                return
            continue
        numbered = [(one.number, vector) for one, vector in zip(some, vectors, strict=True)]
        await store.vectors.put(embedder.model, numbered)
        synced.embedded += len(numbered)
        after = some[-1].number  # those before it need not be looked through again
        size, refused = min(BATCH_OF_VECTORS, size * 2), 0


def _gone(found: Contents, known: Iterable[str]) -> list[str]:
    """What was indexed and is there no more. A file that may not be indexed any more (it has grown too large) is gone
    too; where the folder could not be read whole, only those are."""
    refused = {one.path for one in found.skipped if one.reason != "unreadable"}
    return sorted(path for path in known if path in refused or (found.whole and path not in found.hashes))


async def _batches(base: Path, paths: Iterable[str]) -> AsyncIterator[list[NewFile]]:
    """The files to write, so many at a time as go into one transaction."""
    batch: list[NewFile] = []
    held = 0
    for path in paths:
        file = await asyncio.to_thread(_new_file, base, path)
        if file is None:  # it has gone since it was looked at; the next run sees what became of it
            continue
        if batch and (held + len(file.pieces) > BATCH or len(batch) >= BATCH):
            yield batch
            batch, held = [], 0
        batch.append(file)
        held += len(file.pieces)
    if batch:
        yield batch


def _new_file(base: Path, path: str) -> NewFile | None:
    content = read(base, path)
    return None if content is None else _cut(content)


def _cut(content: Text) -> NewFile:
    return NewFile(
        path=content.path,
        source="file",
        hash=content.hash,
        size=content.size,
        lines=len(lines_of(content.text)),
        pieces=indexed(pieces_of(content.text)),
    )
