"""Claims about bringing memory up to date: one run at a time, short transactions, nothing half-written is found."""

import pytest

from store import Store
from store.memory_sync import BATCH, HOLD_MS, Displaced
from store.memory_writing import write_file, write_pieces
from tests.store.acting import Clock, new_session
from tests.store.remembering import index, look, new_file, paths

LONG = "\n\n".join(f"# Part {number}\n\nword{number}" for number in range(3 * BATCH))


async def test_a_file_takes_the_place_of_what_it_was_before(store: Store) -> None:
    await index(store, ("a.md", "old words"), ("b.md", "other"))
    before = await store.memory_sync.known()
    await index(store, ("a.md", "new text"))
    after = await store.memory_sync.known()
    assert before["a.md"] != after["a.md"] and before["b.md"] == after["b.md"]
    assert await paths(store, "old") == [] and await paths(store, "new") == ["a.md"]


async def test_a_long_file_is_found_only_when_all_of_it_is_there(store: Store) -> None:
    await index(store, ("long.md", "the old one"))
    sync = store.memory_sync
    assert await sync.take("run")
    writing = sync._put_long("run", new_file("long.md", LONG))
    original, seen = sync._holding, list[list[str]]()

    def watched(holder: str):  # type: ignore[no-untyped-def]
        seen.append([])
        return original(holder)

    sync._holding = watched  # type: ignore[method-assign]
    await writing
    assert len(seen) == 5, "the row, three batches, and the change"
    await sync.sweep("run")
    assert len(await look(store, "part", 200)) == 3 * BATCH
    assert await paths(store, "old") == []


async def test_what_a_crash_left_half_written_is_never_found_and_swept_away(store: Store, clock: Clock) -> None:
    await index(store, ("long.md", "the old one"))
    sync = store.memory_sync
    assert await sync.take("crashed")
    file = new_file("long.md", LONG)
    calls = 0
    original = sync._holding

    def failing(holder: str):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError
        return original(holder)

    sync._holding = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await sync.put("crashed", [file])
    sync._holding = original  # type: ignore[method-assign]
    assert await paths(store, "part") == [] and await paths(store, "old") == ["long.md"]
    assert not await sync.take("next")
    clock.now += HOLD_MS + 1
    assert await sync.take("next")
    await sync.sweep("next")
    assert (await store.memory.ranked(["part"], 5)).total == 0
    assert await paths(store, "old") == ["long.md"]


async def test_a_run_that_was_overtaken_writes_nothing_any_more(store: Store, clock: Clock) -> None:
    sync = store.memory_sync
    assert await sync.take("slow")
    clock.now += HOLD_MS + 1
    assert await sync.take("fast")
    for late in (sync.put("slow", [new_file("a.md", "late")]), sync.remove("slow", ["b.md"]), sync.sweep("slow")):
        with pytest.raises(Displaced):
            await late
    await sync.release("slow", done=True)
    assert not await sync.take("third"), "who was overtaken does not let go of what another one holds"
    assert await store.memory.last_sync_at() is None
    await sync.put("fast", [new_file("a.md", "in time")])
    await sync.release("fast", done=True)
    assert await paths(store, "late") == [] and await paths(store, "time") == ["a.md"]


async def test_only_files_of_the_folder_are_removed(store: Store) -> None:
    session = await new_session(store)
    await store.memory.append_note(session.conversation_id, "kept")
    await index(store, ("a.md", "gone"))
    assert set(await store.memory_sync.known()) == {"a.md"}
    assert await store.memory_sync.take("run")
    await store.memory_sync.remove("run", ["a.md", f"@conversations/{session.conversation_id}.md"])
    assert await paths(store, "gone") == []
    assert len(await paths(store, "kept")) == 1


async def test_what_a_crash_left_half_written_hides_nothing_that_fits_less_well(store: Store, clock: Clock) -> None:
    await index(
        store, ("whole.md", "Tomatoes are mentioned once here, among many other words that say nothing of them.")
    )
    half = new_file("half.md", "\n".join(f"# tomatoes {number}\n\ntomatoes" for number in range(40)))
    async with store.database.write() as connection:
        file_id = await write_file(connection, half, clock.now, live=False)
        await write_pieces(connection, file_id, half.path, half.pieces, clock.now)
    assert [chunk.path for chunk in await look(store, "tomatoes", 3)] == ["whole.md"]
    assert (await store.memory.ranked(["tomatoes"], 3)).total == 1
