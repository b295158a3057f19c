"""The embedded Temporal: real servers, killed for real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from cli import embedded
from cli.embedded import DataDirTaken, EmbeddedTemporal, TemporalMissing, find_embedded

ROOT = Path(__file__).parents[2]
ATTRIBUTES = {"PerdureConversation": "Keyword", "PerdureStatus": "Keyword"}
PARENT = """
import asyncio, sys
from pathlib import Path
from cli.embedded import EmbeddedTemporal
async def main():
    async with EmbeddedTemporal(Path(sys.argv[1])) as temporal:
        print(temporal.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
async def temporal(tmp_path: Path) -> AsyncIterator[EmbeddedTemporal]:
    async with EmbeddedTemporal(tmp_path / "data", ATTRIBUTES) as running:
        yield running


@contextlib.asynccontextmanager
async def parent_process(data_dir: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Another process that runs an embedded Temporal, and the server's pid."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(data_dir), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    server = 0
    try:
        server = int(await asyncio.wait_for(process.stdout.readline(), 20))
        yield process, server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if server:
            await until(lambda: gone(server), 10)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.02)


async def gone(pid: int) -> bool:
    """Ended; an orphan may stay in the table until init has read its exit code."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_it_answers_with_its_search_attributes_and_is_found_by_its_data_dir(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with EmbeddedTemporal(folder, ATTRIBUTES) as temporal:
        client = await Client.connect(temporal.address, namespace=temporal.namespace)
        handle = await client.start_workflow("Idle", id="sess_1", task_queue="nobody")
        assert (await handle.describe()).id == "sess_1"
        await until(lambda: listed(client, "PerdureStatus IS NULL", "sess_1"), 5)
        found = await find_embedded(folder)
        assert found is not None
        assert (found.address, found.ui_url, found.pid) == (temporal.address, temporal.ui_url, temporal.pid)
        server = temporal.pid
    assert await gone(server)
    assert await find_embedded(folder) is None
    assert not (folder / "temporal.json").exists()


async def listed(client: Client, query: str, workflow_id: str) -> bool:
    try:
        return workflow_id in [workflow.id async for workflow in client.list_workflows(query)]
    except RPCError:
        return False


async def test_a_killed_server_comes_back_on_its_port_with_its_data(temporal: EmbeddedTemporal) -> None:
    client = await Client.connect(temporal.address)
    await client.start_workflow("Idle", id="sess_kept", task_queue="nobody")
    for _ in range(2):
        before, address, ui = temporal.pid, temporal.address, temporal.ui_url
        os.kill(before, signal.SIGKILL)
        await until(lambda: listed(client, "WorkflowId = 'sess_kept'", "sess_kept"), 15)
        assert temporal.pid != before
        assert (temporal.address, temporal.ui_url) == (address, ui)


async def test_other_processes_are_told_where_the_new_server_is(tmp_path: Path, temporal: EmbeddedTemporal) -> None:
    before = temporal.pid
    os.kill(before, signal.SIGKILL)

    async def told_anew() -> bool:
        found = await find_embedded(tmp_path / "data")
        return found is not None and found.pid != before

    await until(told_anew, 15)


async def test_the_server_is_gone_three_seconds_after_its_parent_was_killed(tmp_path: Path) -> None:
    async with parent_process(tmp_path) as (parent, server):
        parent.kill()
        await parent.wait()
        await until(lambda: gone(server), 3)


async def test_a_data_dir_can_be_used_again_at_once_after_its_parent_was_killed(tmp_path: Path) -> None:
    async with parent_process(tmp_path) as (parent, _):
        parent.kill()
        await parent.wait()
        async with EmbeddedTemporal(tmp_path) as temporal:
            await Client.connect(temporal.address)


async def test_a_second_server_on_the_same_data_dir_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    async with parent_process(tmp_path) as (parent, server):
        with pytest.raises(DataDirTaken) as refused:
            await EmbeddedTemporal(tmp_path).__aenter__()
        assert f"Process {parent.pid} " in str(refused.value) and str(tmp_path) in str(refused.value)
        found = await find_embedded(tmp_path)
        assert found is not None and found.pid == server, "the refused one changed nothing"


async def test_a_server_beside_one_that_has_the_usual_ports_takes_others(
    tmp_path: Path, temporal: EmbeddedTemporal
) -> None:
    async with EmbeddedTemporal(tmp_path / "other") as beside:
        assert beside.address != temporal.address and beside.ui_url != temporal.ui_url
        assert await find_embedded(tmp_path / "other") != await find_embedded(tmp_path / "data")


async def test_a_stale_file_that_names_a_foreign_process_neither_finds_nor_kills_it(tmp_path: Path) -> None:
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    try:
        where = {"address": "127.0.0.1:1", "uiUrl": "http://127.0.0.1:2", "pid": stranger.pid}
        (tmp_path / "temporal.json").write_text(json.dumps(where))
        assert await find_embedded(tmp_path) is None
        async with EmbeddedTemporal(tmp_path):
            assert stranger.returncode is None
    finally:
        await stranger.communicate(b"\n")


async def test_a_server_that_cannot_start_says_why_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "temporal.db").mkdir()
    with pytest.raises(embedded.EmbeddedError, match="unable to open database file"):
        await EmbeddedTemporal(tmp_path).__aenter__()
    assert not (tmp_path / "temporal.json").exists()


async def test_the_server_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sesame")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "elsewhere.example:7233")
    async with EmbeddedTemporal(tmp_path) as temporal:
        # Python's launcher may add LC_CTYPE on its own (PEP 538).
        assert set(psutil.Process(temporal.pid).environ()) - {"LC_CTYPE"} == {"PATH", "HOME"}


def test_a_missing_program_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TemporalMissing, match=r"perdure\[embedded\]"):
        embedded.temporal_binary()
