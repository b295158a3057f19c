"""Claims about vectors: kept for what is there, the nearest found, those of one model alone."""

import random

import pytest
from sqlalchemy import text

from store import Store
from store import memory_vectors as vectors_room
from tests.store.remembering import index


def drawn(chance: random.Random) -> list[float]:
    return [chance.gauss(0, 1) for _ in range(48)]


async def test_the_nearest_are_found_among_many_by_their_signs_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors_room, "CLOSELY", 40)
    monkeypatch.setattr(vectors_room, "PAGE", 64)
    await index(store, *((f"{number}.md", f"text {number}") for number in range(150)))
    bare, total = await store.vectors.missing("m", 1_000), await store.vectors.how_many_missing("m")
    assert total == len(bare) == 150
    chance = random.Random(7)
    held = {one.number: drawn(chance) for one in bare}
    await store.vectors.put("m", [*held.items()])
    assert await store.vectors.missing("m", 10) == [] and await store.vectors.how_many_missing("m") == 0
    sought = bare[99].number
    near = [value + chance.gauss(0, 0.3) for value in held[sought]]
    found = await store.vectors.nearest("m", near, 5)
    assert found[0][0] == sought and 0.8 < found[0][1] <= 1.0001
    assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)
    assert await store.vectors.nearest("another", near, 5) == []
    assert await store.vectors.nearest("m", near[:8], 5) == [], "of another length"


async def test_a_vector_of_a_passage_that_is_gone_is_not_kept(store: Store) -> None:
    await index(store, ("a.md", "old"), ("b.md", "kept"))
    bare = await store.vectors.missing("m", 10)
    await index(store, ("a.md", "new"))
    await store.vectors.put("m", [(one.number, [1.0, -1.0]) for one in bare])
    left, total = await store.vectors.missing("m", 10), await store.vectors.how_many_missing("m")
    assert total == 1 and left[0].text == "new"
    async with store.database.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM memory_vectors"))).scalar_one() == 1
