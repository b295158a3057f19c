"""How well memory is searched, and how fast: `python -m bench.memory`.

SQLAlchemy's docstrings are synced into a store of their own and asked the questions of `questions.txt`, by full text
alone and fused with vectors. The vectors come over HTTP from a stand-in (fake_model/embeddings.py): hashed bags of
words, which know no meaning. So the fused figures show that fusing works and what it costs, not what an embedding model
adds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from activities.memory import Embedder, Recall, sync
from bench.figures import percentile
from bench.memory import corpus
from bench.memory.corpus import Corpus
from bench.memory.questions import Question, questions
from fake_model.embeddings import serving
from session.policy import EmbeddingPolicy
from session.resources import MemoryChunk
from store import Store, open_store
from store.bus import InProcessBus

RESULTS = 6
Search = Callable[[str], Awaitable[list[MemoryChunk]]]


class Asked:
    """What came of the questions."""

    def __init__(self) -> None:
        self.places: list[int | None] = []
        self.missed: list[str] = []
        self.took_ms: list[float] = []

    def note(self, question: Question, found: list[MemoryChunk], written: Corpus, took_ms: float) -> None:
        hits = [place for place, chunk in enumerate(found, 1) if _answers(chunk, question, written)]
        self.places.append(hits[0] if hits else None)
        self.took_ms.append(took_ms)
        if not hits:
            self.missed.append(question.asked)

    def told(self) -> str:
        found = [place for place in self.places if place is not None]
        asked = len(self.places)
        recall = f"recall@{RESULTS} {len(found) / asked:.2f} ({len(found)} of {asked})"
        mean = sum(1 / place for place in found) / asked
        took = f"{statistics.median(self.took_ms):.1f} ms a query (95 %: {percentile(self.took_ms, 95):.1f})"
        return f"{recall}, the first is right {found.count(1) / asked:.2f}, MRR {mean:.2f}; {took}"


def _answers(chunk: MemoryChunk, question: Question, written: Corpus) -> bool:
    """Whether the passage has lines of a section that answers the question."""
    return any(
        path == chunk.path and lines.first <= chunk.end_line and chunk.start_line <= lines.last
        for path, section in question.answers
        for lines in [written.sections[path, section]]
    )


async def ask(search: Search, written: Corpus) -> Asked:
    """All questions, each once to warm up and once to measure."""
    asked = Asked()
    for question in questions():
        await search(question.asked)
        began = time.perf_counter()
        found = await search(question.asked)
        asked.note(question, found, written, (time.perf_counter() - began) * 1000)
    return asked


def searching(recall: Recall) -> Search:
    async def search(query: str) -> list[MemoryChunk]:
        return (await recall.search(query, RESULTS)).chunks

    return search


def by_vectors_alone(store: Store, embedder: Embedder) -> Search:
    async def search(query: str) -> list[MemoryChunk]:
        vector = await embedder.query(query)
        assert vector is not None
        return await store.memory.chunks(dict(await store.vectors.nearest(embedder.model, vector, RESULTS)))

    return search


@asynccontextmanager
async def stalls() -> AsyncIterator[list[float]]:
    """How long the event loop did not turn, in ms, at each of its turns meanwhile."""
    seen: list[float] = [0.0]

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            seen.append((time.perf_counter() - before) * 1000 - 1)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def measure_sync(store: Store, folder: Path) -> Corpus:
    written = await asyncio.to_thread(corpus.write, folder)
    async with stalls() as seen:
        first = await sync(store, folder)
    stats = await store.memory.stats()
    size = f"{written.files} files, {written.size / 1e6:.1f} MB, {len(written.sections):,} docstrings"
    print(f"corpus: {size}, {stats.chunks:,} passages")
    still = f"{percentile(seen, 99):.0f} ms in 1 % of its turns, {max(seen):.0f} ms at most"
    print(f"sync of all of it: {first.duration_ms} ms; the event loop stood still for {still}")
    unchanged = await sync(store, folder)
    changed = folder / corpus.PACKAGE / "orm" / "session.md"
    await asyncio.to_thread(_lengthen, changed)
    one = await sync(store, folder)
    assert (unchanged.unchanged, one.updated) == (written.files, 1)
    print(f"sync when nothing changed: {unchanged.duration_ms} ms; when a file of 90 KB did: {one.duration_ms} ms")
    return written


def _lengthen(file: Path) -> None:
    with file.open("a") as opened:
        opened.write("\n\nOne more line.\n")


async def measure(store: Store, folder: Path, *, misses: bool) -> None:
    written = await measure_sync(store, folder)
    plain = await ask(searching(Recall(store)), written)
    print(f"full text: {plain.told()}")
    with serving() as server:
        embedder = Embedder(EmbeddingPolicy(f"{server.url}/embeddings", "hashed-words", server.key))
        began = time.perf_counter()
        while (await sync(store, folder, embedder)).unembedded:
            pass
        print(f"vectors of all passages from the stand-in, a bag of hashed words: {time.perf_counter() - began:.1f} s")
        fused = await ask(searching(Recall(store, embedder)), written)
        print(f"fused: {fused.told()}")
        print(f"its vectors alone: {(await ask(by_vectors_alone(store, embedder), written)).told()}")
        await embedder.close()
    if misses:
        print("not found by full text:", *plain.missed, sep="\n  ")
        print("not found fused:", *fused.missed, sep="\n  ")


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description="How well memory is searched.")
    parser.add_argument("--database", help="postgresql+asyncpg://… of an empty database; default: SQLite")
    parser.add_argument("--misses", action="store_true", help="print the questions that were not answered")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perdure-memory-") as folder:
        store = await open_store(options.database or f"sqlite:///{folder}/perdure.db", InProcessBus())
        try:
            await measure(store, Path(folder) / "memory", misses=options.misses)
        finally:
            await store.close()


if __name__ == "__main__":
    asyncio.run(main())
