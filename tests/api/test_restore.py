"""A store restored from a backup, beside a Temporal that went on (docs/production.md, "Backup and restore")."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from temporalio.client import Client

from api import reconciler
from fake_model.serve import Running
from tests.support.asking import conversation, follow, following, get, play, session, start
from tests.support.events import facts, the, types
from tests.support.stack import running_stack
from tests.support.turns import script, slowly


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(reconciler, "YOUNG_MS", 0)
    monkeypatch.setattr(reconciler, "LOOK_AGAIN_MS", 100)


def backed_up(folder: Path, to: Path) -> None:
    with closing(sqlite3.connect(folder / "perdure.db")) as kept, closing(sqlite3.connect(to)) as copy:
        kept.backup(copy)


def restored(copy: Path, folder: Path) -> None:
    for name in ("perdure.db", "perdure.db-wal", "perdure.db-shm"):
        (folder / name).unlink(missing_ok=True)
    copy.rename(folder / "perdure.db")


async def test_an_older_store_closes_what_temporal_has_finished_and_goes_on(
    client: Client, fake: Running, tmp_path: Path
) -> None:
    """Sessions that ran at the backup end as INTERNAL; those begun after it are unknown; their conversations go on."""
    async with running_stack(client, fake.url, tmp_path) as before:
        talk = await conversation(before.http)
        earlier = await start(before.http, script(), conversationId=talk)
        finished = await follow(before.http, earlier["id"])
        running = await start(before.http, script(slowly()), conversationId=talk)
        async with following(before.http, running["id"]) as stream:
            await stream.until("content:delta")
            backed_up(tmp_path, tmp_path / "backup.db")
            await before.http.post(f"/api/sessions/{running['id']}/cancel", json={})
            await stream.rest()
        later = await start(before.http, script())
        await follow(before.http, later["id"])
    restored(tmp_path / "backup.db", tmp_path)
    async with running_stack(client, fake.url, tmp_path) as after:
        assert facts(await follow(after.http, earlier["id"])) == facts(finished), "what was over is as it was"
        events = await follow(after.http, running["id"])
        assert types(facts(events))[-2:] == ["message_saved", "error"]
        assert the(events, "error")["code"] == "INTERNAL"
        assert (await session(after.http, running["id"]))["status"] == "failed"
        assert (await after.http.get(f"/api/sessions/{later['id']}")).status_code == 404
        again = await play(after.http, script(), conversationId=talk)
        assert types(facts(again))[-1] == "message_saved"
        assert (await get(after.http, f"/api/chat/conversations/{talk}"))["activeSessionId"] is None
