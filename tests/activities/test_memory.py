"""The memory folder and its sync: what is indexed, what is left alone, and that runs at once do no harm."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from activities.memory import Recall, SyncRunning, folder, sync
from activities.memory.folder import MOST_BYTES, Skipped, look
from store import Store, open_store
from store.bus import InProcessBus


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/perdure.db", InProcessBus())
    yield opened
    await opened.close()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    made = tmp_path / "memory"
    (made / "notes").mkdir(parents=True)
    (made / "notes" / "db.md").write_text("# Database\n\nThe password rotates weekly.\n")
    (made / "plain.txt").write_bytes(b"\xef\xbb\xbfA plain text.\r\nIts second line.\r\n")
    return made


def counts(synced: object) -> tuple[int, ...]:
    return tuple(getattr(synced, name) for name in ("added", "updated", "removed", "unchanged"))


async def found(store: Store, query: str) -> list[str]:
    return [chunk.path for chunk in (await Recall(store).search(query, 10)).chunks]


async def test_a_run_writes_what_changed_and_removes_what_is_gone(store: Store, base: Path) -> None:
    assert counts(await sync(store, base)) == (2, 0, 0, 0)
    assert counts(await sync(store, base)) == (0, 0, 0, 2)
    assert await found(store, "password") == ["notes/db.md"]
    (base / "notes" / "db.md").write_text("# Database\n\nThe certificate rotates weekly.\n")
    (base / "new.md").write_text("brand new")
    (base / "plain.txt").unlink()
    assert counts(await sync(store, base)) == (1, 1, 1, 0)
    assert await found(store, "password") == [] and await found(store, "certificate") == ["notes/db.md"]
    assert await found(store, "plain") == [] and await found(store, "brand") == ["new.md"]


async def test_a_file_that_was_only_touched_or_moved_back_is_not_written(store: Store, base: Path) -> None:
    await sync(store, base)
    os.utime(base / "notes" / "db.md", (1, 1))
    before = (await store.memory.list(None, 10))[0]
    assert counts(await sync(store, base)) == (0, 0, 0, 2)
    assert (await store.memory.list(None, 10))[0] == before


async def test_what_may_hold_secrets_is_binary_too_large_or_a_link_is_left_alone(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside.md").write_text("outside")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.md").write_text("outside")
    (base / "link.md").symlink_to(tmp_path / "outside.md")
    (base / "folder").symlink_to(tmp_path / "elsewhere")
    (base / "binary.md").write_bytes(b"a\x00b")
    (base / "latin.txt").write_bytes("é".encode("latin-1"))
    (base / "large.md").write_bytes(b"x" * (MOST_BYTES + 1))
    (base / "id_rsa.txt").write_text("key")
    (base / ".env.md").write_text("hidden")
    (base / ".git").mkdir()
    (base / ".git" / "x.md").write_text("hidden")
    (base / ".ssh").mkdir()
    (base / "image.png").write_bytes(b"png")
    (base / "@sessions").mkdir()
    (base / "@sessions" / "sess_1.md").write_text("not from here")
    os.mkfifo(base / "pipe.md")
    os.makedirs(base / "/".join("d" * 20))
    (base / "/".join("d" * 20) / "deep.md").write_text("deep")
    contents = look(base)
    assert set(contents.hashes) == {"notes/db.md", "plain.txt"} and contents.whole
    assert set(contents.skipped) == {
        Skipped("binary.md", "binary"),
        Skipped("latin.txt", "binary"),
        Skipped("large.md", "tooLarge"),
        Skipped("id_rsa.txt", "secret"),
        Skipped("link.md", "link"),
        Skipped("pipe.md", "link"),
    }
    monkeypatch.setattr(folder, "MOST_FILES", 1)
    assert Skipped("plain.txt", "tooMany") not in look(base).skipped
    assert Skipped("notes/db.md", "tooMany") in look(base).skipped


async def test_a_file_that_may_not_be_indexed_any_more_is_removed(store: Store, base: Path) -> None:
    await sync(store, base)
    (base / "plain.txt").write_bytes(b"a\x00b")
    synced = await sync(store, base)
    assert counts(synced) == (0, 0, 1, 1) and synced.skipped == [Skipped("plain.txt", "binary")]


async def test_a_folder_that_is_not_there_or_cannot_be_read_removes_nothing(
    store: Store, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sync(store, base)
    os.rename(base, base.with_name("away"))
    assert counts(await sync(store, base)) == (0, 0, 0, 0)
    os.rename(base.with_name("away"), base)
    monkeypatch.setattr(folder, "_content", lambda _folder, _path: "unreadable")
    assert counts(await sync(store, base)) == (0, 0, 0, 0)
    monkeypatch.undo()
    assert counts(await sync(store, base)) == (0, 0, 0, 2)


async def test_runs_at_once_leave_what_is_there(store: Store, base: Path) -> None:
    for number in range(30):
        (base / f"{number}.md").write_text(f"file {number}")
    runs = [asyncio.create_task(sync(store, base)) for _ in range(4)]
    ended = await asyncio.gather(*runs)
    assert sum(one.added for one in ended) == 32, "no file is written twice"
    known = await store.memory_sync.known()
    assert known == look(base).hashes


async def test_a_run_does_not_wait_for_another_one_for_ever(store: Store, base: Path) -> None:
    assert await store.memory_sync.take("another")
    with pytest.raises(SyncRunning):
        await sync(store, base, wait_seconds=0.1)
    await store.memory_sync.release("another", done=False)
    await sync(store, base, wait_seconds=0.1)


async def test_a_search_gives_what_is_good_enough(store: Store, base: Path) -> None:
    await sync(store, base)
    everything = await Recall(store).search("password database text", 10)
    assert everything.method == "fullText" and everything.total == 2 and len(everything.chunks) == 2
    best, second = everything.chunks
    assert best.path == "notes/db.md" and (best.start_line, best.end_line) == (1, 3)
    enough = (best.score + second.score) / 2
    assert [chunk.path for chunk in (await Recall(store).search("password database text", 10, enough)).chunks] == [
        "notes/db.md"
    ]
    assert len((await Recall(store).search("password database text", 1)).chunks) == 1
