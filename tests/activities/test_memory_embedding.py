"""Search by meaning: vectors from an endpoint, kept, fused with full text; and what becomes of it when it fails."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from activities.memory import Embedder, Recall, embedding, sync
from activities.memory.embedding import EmbeddingFailed
from fake_model.embeddings import Embeddings, serving
from session.policy import EmbeddingPolicy
from store import Store, open_store
from store.bus import InProcessBus
from tests.store.acting import new_session

KEY = "sk-embed"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/perdure.db", InProcessBus())
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Embeddings]:
    with serving(KEY) as embeddings:
        yield embeddings


@pytest.fixture
async def embedder(server: Embeddings) -> AsyncIterator[Embedder]:
    server.asked.clear()
    server.answer = None
    made = Embedder(EmbeddingPolicy(f"{server.url}/embeddings", "hashed", KEY))
    yield made
    await made.close()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    made = tmp_path / "memory"
    made.mkdir()
    for number in range(40):
        (made / f"{number}.md").write_text(f"# Note {number}\n\nGardens and weather of place{number}.")
    (made / "pump.md").write_text("# Pumps\n\nThe main pump hums at forty hertz.")
    return made


async def test_passages_get_vectors_once_and_a_search_fuses_both_rankings(
    store: Store, base: Path, embedder: Embedder, server: Embeddings
) -> None:
    synced = await sync(store, base, embedder)
    assert (synced.added, synced.embedded, synced.unembedded, synced.embedding_error) == (41, 41, 0, None)
    assert len(server.asked) == 2 and server.asked[0]["model"] == "hashed"
    assert any(text.startswith("pump.md\nPumps\n# Pumps") for asked in server.asked for text in asked["input"])
    assert (await sync(store, base, embedder)).embedded == 0
    found = await Recall(store, embedder).search("pump at forty hertz", 5)
    assert found.method == "hybrid" and found.total == 41
    assert found.chunks[0].path == "pump.md" and found.chunks[0].score == 1
    assert all(0 < chunk.score < 1 for chunk in found.chunks[1:]) and len(found.chunks) == 5
    assert (await Recall(store).search("pump", 5)).method == "fullText"


async def test_what_no_word_finds_is_found_by_its_vector(
    store: Store, base: Path, embedder: Embedder, server: Embeddings
) -> None:
    def same(request: dict[str, Any]) -> tuple[int, bytes]:
        """Engines and pumps are the same to this model."""
        near = [[1.0, 0.1] if "ump" in text or "ngine" in text else [-0.5, 1.0] for text in request["input"]]
        data = [{"index": index, "embedding": vector} for index, vector in enumerate(near)]
        return 200, json.dumps({"data": data}).encode()

    server.answer = same
    await sync(store, base, embedder)
    assert (await Recall(store).search("engine", 5)).chunks == []
    found = await Recall(store, embedder).search("engine", 5)
    assert found.method == "hybrid" and found.chunks[0].path == "pump.md"


async def test_what_changed_gets_a_new_vector_and_so_does_a_note(
    store: Store, base: Path, embedder: Embedder, server: Embeddings
) -> None:
    await sync(store, base, embedder)
    (base / "pump.md").write_text("# Valves\n\nChanged.")
    session = await new_session(store)
    await store.memory.append_note(session.conversation_id, "a note")
    server.asked.clear()
    assert (await sync(store, base, embedder)).embedded == 2
    assert len(server.asked) == 1 and len(server.asked[0]["input"]) == 2
    stats = await store.memory.stats("hashed")
    assert stats.embedded_chunks == stats.chunks == 42


async def test_another_model_gets_vectors_of_its_own(store: Store, base: Path, embedder: Embedder) -> None:
    await sync(store, base, embedder)
    embedder.model = "other"
    assert (await sync(store, base, embedder)).embedded == 41
    assert (await store.memory.stats("other")).embedded_chunks == 41
    assert (await store.memory.stats("hashed")).embedded_chunks == 0


FAULTS: dict[str, tuple[int, bytes]] = {
    "answered 500": (500, b"sk-embed"),
    "answered 429": (429, b"{}"),
    "answer is not what it should be": (200, b"no json sk-embed"),
    "not what it should be": (200, b'{"data": [{"index": 0, "embedding": [1]}]}'),
    "is not what it should": (200, b'{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1]}]}'),
    "lengths": (200, b'{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [1]}]}'),
    "should be": (200, b'{"data": [{"index": 0, "embedding": []}, {"index": 1, "embedding": [0, 0]}]}'),
}


@pytest.mark.parametrize("said", FAULTS)
async def test_an_answer_that_is_none_is_told_without_what_was_in_it(
    embedder: Embedder, server: Embeddings, said: str
) -> None:
    server.answer = lambda _request: FAULTS[said]
    with pytest.raises(EmbeddingFailed) as caught:
        await embedder.vectors(["a", "b"])
    assert said in str(caught.value) and KEY not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_an_answer_without_end_and_one_that_does_not_come_are_given_up(
    embedder: Embedder, server: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "MOST_BYTES", 1_000)
    server.answer = lambda _request: (200, b" " * 5_000)
    with pytest.raises(EmbeddingFailed, match="more than"):
        await embedder.vectors(["a"])
    with pytest.raises(EmbeddingFailed, match="TimeoutError"):
        await embedder.vectors(["a"], seconds=0)


async def test_a_sync_whose_endpoint_fails_has_its_files_and_tells(
    store: Store, base: Path, embedder: Embedder, server: Embeddings
) -> None:
    server.answer = lambda _request: (503, b"")
    synced = await sync(store, base, embedder)
    assert (synced.added, synced.embedded, synced.unembedded) == (41, 0, 41)
    assert synced.embedding_error == "the embedding endpoint answered 503"
    server.answer = None
    assert (await sync(store, base, embedder)).embedded == 41


async def test_a_search_whose_endpoint_fails_goes_by_words_and_asks_it_no_more_for_a_while(
    store: Store, base: Path, embedder: Embedder, server: Embeddings, caplog: pytest.LogCaptureFixture
) -> None:
    await sync(store, base, embedder)
    server.answer = lambda _request: (401, KEY.encode())
    server.asked.clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = await Recall(store, embedder).search("pump hertz", 5)
            assert found.method == "fullText" and found.chunks[0].path == "pump.md"
    assert len(server.asked) == 1 and "searching by words alone" in caplog.text and KEY not in caplog.text


async def test_a_passage_that_the_endpoint_refuses_keeps_no_other_waiting(
    store: Store, base: Path, embedder: Embedder, server: Embeddings
) -> None:
    def particular(request: dict[str, Any]) -> tuple[int, bytes]:
        if any("Note 7" in text for text in request["input"]):
            return 400, b"too long"
        return 200, json.dumps(
            {"data": [{"index": at, "embedding": [1]} for at in range(len(request["input"]))]}
        ).encode()

    server.answer = particular
    synced = await sync(store, base, embedder)
    assert (synced.embedded, synced.unembedded) == (40, 1)
    assert synced.embedding_error == "the embedding endpoint answered 400"
    assert (await Recall(store, embedder).search("Note 7", 5)).method == "fullText"
    assert (await Recall(store, embedder).search("pump", 5)).method == "hybrid", "it was the query alone"


async def test_an_endpoint_that_refuses_everything_is_soon_left_alone(
    store: Store, base: Path, embedder: Embedder, server: Embeddings
) -> None:
    server.answer = lambda _request: (400, b"no such model")
    assert (await sync(store, base, embedder)).unembedded == 41
    assert len(server.asked) < 20
