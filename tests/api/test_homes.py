"""Workers with folders of their own: tools run where the workspace is, whichever worker has the session's workflow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from cli.embedded import EmbeddedTemporal
from fake_model.serve import Running
from tests.support.asking import play
from tests.support.events import only, the
from tests.support.stack import Stack, running_stack, working
from tests.support.turns import calls, completes, script
from workflows import options

WRITE = ("write_file", {"path": "note.txt", "content": "here\n"})
READ = ("read_file", {"path": "note.txt"})
LOOK = ("exec", {"command": "cat note.txt"})


@asynccontextmanager
async def two_roots(
    client: Client, temporal: EmbeddedTemporal, model_url: str, folder: Path
) -> AsyncIterator[tuple[Stack, list[Path]]]:
    """An API, and two workers on one queue that share the store and no workspace."""
    async with running_stack(client, model_url, folder / "east") as stack:
        there = stack.settings.model_copy(update={"workspace_root": folder / "west"})
        second = await Client.connect(temporal.address)  # a connection has one worker of a queue
        async with working(there, stack.store, second, stack.task_queue):
            yield stack, [stack.settings.workspace_root, folder / "west"]


async def test_what_a_session_wrote_is_there_for_all_its_later_calls(
    client: Client, temporal: EmbeddedTemporal, fake: Running, tmp_path: Path
) -> None:
    async with two_roots(client, temporal, fake.url, tmp_path) as (stack, roots):
        written = script(calls(WRITE), calls(READ, LOOK), completes("Done."))

        async def one(number: int) -> None:
            for _ in range(2):  # a second session of the same workspace finds what the first one left
                events = await play(stack.http, written, workspace=f"work-{number}")
                results = only(events, "tool:result")
                assert [told["status"] for told in results] == ["success"] * 4, results
                assert "here" in results[1]["result"]["content"] and "here" in results[2]["result"]["content"]

        await asyncio.gather(*(one(number) for number in range(8)))
        held = [{path.name for path in root.glob("work-*")} for root in roots]
    assert held[0] | held[1] == {f"work-{number}" for number in range(8)}
    assert not held[0] & held[1], "no workspace is in two places"


async def test_where_the_machine_with_the_workspace_is_gone_the_model_is_told_and_the_session_goes_on(
    client: Client, fake: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "NOT_TAKEN", timedelta(seconds=1))
    async with running_stack(client, fake.url, tmp_path / "east", has_worker=False) as stack:
        there = stack.settings.model_copy(update={"workspace_root": tmp_path / "west"})
        async with working(there, stack.store, client, stack.task_queue):
            await play(stack.http, script(calls(WRITE), completes("Done.")), workspace="kept")
        async with working(stack.settings, stack.store, client, stack.task_queue):
            events = await play(stack.http, script(calls(READ, LOOK), completes("Sorry.")), workspace="kept")
    results = [told["result"] for told in only(events, "tool:result")]
    assert [told["error"]["code"] for told in results[:2]] == ["WORKSPACE_AWAY"] * 2
    assert the(events, "complete")["stopReason"] == "taskCompleted"
    assert not list((tmp_path / "east" / "workspaces").glob("kept")), "nothing was made in its place"
