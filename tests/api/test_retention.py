"""Claims about the retention loop: what the settings say goes, for every reader; the rest stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.retention import DAY_MS, Retention
from session.wire import Ending
from settings import Settings
from store import Store, open_store
from store.audit import AuditFilters
from store.bus import InProcessBus
from tests.store.acting import OK, Clock, begin_session, new_call, reply, step, tool


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/perdure.db", InProcessBus(), clock)
    yield opened
    await opened.close()


async def lived(store: Store, into: str) -> None:
    await store.conversations.create(into, None, None, {})
    session = (await begin_session(store, into=into)).session
    at = step(session)
    await store.steps.begin(at, 1)
    await store.steps.record_reply(at, 1, reply("a", new_call("t")))
    await store.calls.record(tool(at, "t"), 1, OK, 1)
    await store.endings.close(session.id, Ending("endTurn"))


async def left(store: Store) -> tuple[list[str], set[str]]:
    """The conversations, and those that the audit tells of."""
    conversations, _ = await store.conversations.list(None, None, 100)
    entries, _ = await store.audit.list(AuditFilters(), None, 100)
    return sorted(one.id for one in conversations), {entry.conversation_id for entry in entries}


async def test_conversations_and_audit_go_each_by_its_own_number_of_days(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    await lived(store, "conv_old")
    clock.now += 10 * DAY_MS
    await lived(store, "conv_middle")
    clock.now += 10 * DAY_MS
    await lived(store, "conv_young")
    settings = Settings(data_dir=tmp_path, retention_days=5, audit_retention_days=15)
    for _ in range(2):
        await Retention(store, settings).round()
        assert await left(store) == (["conv_young"], {"conv_middle", "conv_young"})


async def test_without_the_settings_everything_is_kept(store: Store, clock: Clock, tmp_path: Path) -> None:
    await lived(store, "conv_old")
    clock.now += 10_000 * DAY_MS
    await Retention(store, Settings(data_dir=tmp_path)).round()
    assert await left(store) == (["conv_old"], {"conv_old"})
