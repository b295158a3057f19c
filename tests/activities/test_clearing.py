"""Claims about folders of removed conversations: what was made for them goes, and nothing else does."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from activities.clearing import clear
from activities.workspaces import Workspaces
from store import Store, open_store
from store.bus import InProcessBus


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/perdure.db", InProcessBus())
    yield opened
    await opened.close()


@pytest.fixture
def workspaces(tmp_path: Path) -> Workspaces:
    return Workspaces(tmp_path / "root")


def row(conversation_id: str, workspace: str | None = None) -> dict[str, str]:
    return {"conversation_id": conversation_id, "settings": json.dumps({"workspace": workspace})}


async def removed(store: Store, *names: str) -> None:
    for name in names:
        await store.conversations.create(name, None, None, {})
        await store.conversations.delete(name)


async def test_the_folder_of_a_removed_conversation_goes_with_all_that_is_in_it(
    store: Store, workspaces: Workspaces, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    folder = workspaces.of(row("conv_1"))
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "deep" / "file").write_text("text")
    (folder / "link").symlink_to(outside)
    (folder / "sub" / "deep").chmod(0o500)
    workspaces.of(row("conv_2"))
    await store.conversations.create("conv_2", None, None, {})
    await removed(store, "conv_1")
    await clear(workspaces, store)
    assert sorted(os.listdir(workspaces.root)) == [".perdure", "conv_2"]
    assert workspaces.owned() == ["conv_2"]
    assert os.listdir(workspaces.root / ".perdure" / "gone") == []
    assert (outside / "kept.txt").read_text() == "kept"


async def test_folders_that_were_there_before_or_were_asked_for_by_name_stay(
    store: Store, workspaces: Workspaces
) -> None:
    (workspaces.root / "project").mkdir(parents=True)
    workspaces.of(row("project"))
    workspaces.of(row("conv_1", "shared/place"))
    await removed(store, "project", "conv_1", "shared")
    await clear(workspaces, store)
    assert (workspaces.root / "project").is_dir()
    assert (workspaces.root / "shared" / "place").is_dir()


async def test_a_store_that_never_heard_of_the_conversation_removes_nothing(
    store: Store, workspaces: Workspaces
) -> None:
    """A worker at the wrong database, or at one restored from before the conversation began."""
    folder = workspaces.of(row("conv_1"))
    await clear(workspaces, store)
    assert folder.is_dir()


async def test_a_conversation_that_was_made_anew_keeps_its_folder(store: Store, workspaces: Workspaces) -> None:
    folder = workspaces.of(row("conv_1"))
    await removed(store, "conv_1")
    await store.conversations.create("conv_1", None, None, {})
    await clear(workspaces, store)
    assert folder.is_dir()


async def test_what_a_killed_worker_had_set_aside_is_removed_by_the_next(store: Store, workspaces: Workspaces) -> None:
    (workspaces.of(row("conv_1")) / "file").write_text("text")
    workspaces.set_aside("conv_1")
    assert not (workspaces.root / "conv_1").exists()
    await clear(workspaces, store)
    assert os.listdir(workspaces.root / ".perdure" / "gone") == []


async def test_a_link_in_the_place_of_the_folder_goes_and_what_it_names_stays(
    store: Store, workspaces: Workspaces, tmp_path: Path
) -> None:
    workspaces.of(row("conv_1")).rmdir()
    (tmp_path / "elsewhere").mkdir()
    (workspaces.root / "conv_1").symlink_to(tmp_path / "elsewhere")
    await removed(store, "conv_1")
    await clear(workspaces, store)
    assert not (workspaces.root / "conv_1").is_symlink()
    assert (tmp_path / "elsewhere").is_dir()


def test_no_session_works_in_the_workers_own_folder(workspaces: Workspaces) -> None:
    workspaces.of(row("conv_1"))
    with pytest.raises(ValueError, match="own folder"):
        workspaces.of(row("conv_2", ".perdure/own"))
