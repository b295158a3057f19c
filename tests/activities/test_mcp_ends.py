"""Calls that do not come to their end: servers killed, sessions cancelled, workers killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.support.mcp_room import SUPPORT, TIME, McpRoom, opened, pid_of, plain, read, until

ROOT = SUPPORT.parents[1]


async def test_a_server_killed_between_calls_is_started_again_for_the_next(tmp_path: Path) -> None:
    async with opened(tmp_path, {"time": TIME}) as room:
        await room.call("time__get_current_time", timezone="UTC")
        first = pid_of("mcp_server_time")
        os.kill(first, signal.SIGKILL)
        await until(lambda: not psutil.pid_exists(first))
        assert "UTC" in await room.says("time__get_current_time", timezone="UTC")
        assert pid_of("mcp_server_time") != first


async def _killed_during(room: McpRoom, tool: str, files: Path) -> asyncio.Task[str]:
    call = asyncio.create_task(room.says(tool))
    await until(lambda: room.heard)
    os.kill(int(read(files / "pid")), signal.SIGKILL)
    return call


async def test_a_call_whose_server_is_killed_is_an_error_that_says_nobody_knows(tmp_path: Path) -> None:
    files = tmp_path / "files"
    async with opened(tmp_path, {"plain": plain(files)}) as room:
        call = await _killed_during(room, "plain__slow", files)
        killed = time.monotonic()
        (error,) = await asyncio.gather(call, return_exceptions=True)
        assert time.monotonic() - killed < 5
        assert getattr(error, "code", "") == "MCP_SERVER_LOST" and "is unknown" in str(error)
        assert await room.says("plain__echo", text="again") == "again"
    assert read(files / "calls").split() == ["slow", "echo"]


async def test_a_call_that_only_reads_is_made_once_more_on_a_new_connection(tmp_path: Path) -> None:
    files = tmp_path / "files"
    async with opened(tmp_path, {"plain": plain(files)}) as room:
        call = await _killed_during(room, "plain__slow_reading", files)
        await until(lambda: len(room.heard) == 2)
        assert read(files / "calls").split() == ["slow_reading"] * 2 and not call.done()
        os.kill(int(read(files / "pid")), signal.SIGKILL)
        (error,) = await asyncio.gather(call, return_exceptions=True)
        assert getattr(error, "code", "") == "MCP_SERVER_LOST" and "tried twice" in str(error)
        assert read(files / "calls").split() == ["slow_reading"] * 2


async def test_a_cancelled_call_is_called_off_at_the_server_and_its_sisters_go_on(tmp_path: Path) -> None:
    files = tmp_path / "files"
    async with opened(tmp_path, {"plain": plain(files)}) as room:
        call = asyncio.create_task(room.says("plain__slow", text="at work"))
        await until(lambda: room.heard)
        assert room.heard == ["at work (1/3)\n"]
        begun = time.monotonic()
        call.cancel()
        await asyncio.wait({call})
        assert call.cancelled() and time.monotonic() - begun < 5
        await until(lambda: read(files / "cancelled"))
        assert await room.says("plain__echo", text="on") == "on"
        assert read(files / "calls").split() == ["slow", "echo"]


async def test_a_call_past_the_servers_time_limit_is_ended_and_called_off(tmp_path: Path) -> None:
    files = tmp_path / "files"
    async with opened(tmp_path, {"plain": plain(files, timeout=0.5)}) as room:
        assert (await room.refused("plain__slow")).code == "TIMEOUT"
        await until(lambda: read(files / "cancelled"))


async def test_a_server_that_stopped_listening_does_not_hold_up_a_cancel(tmp_path: Path) -> None:
    files = tmp_path / "files"
    async with opened(tmp_path, {"plain": plain(files)}) as room:
        os.kill(int(read(files / "pid")), signal.SIGSTOP)
        calls = [asyncio.create_task(room.says("plain__echo", text="x" * 200_000)) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.wait(calls, timeout=0.2)
        begun = time.monotonic()
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert time.monotonic() - begun < 5


async def test_what_a_server_started_ends_with_the_connection(tmp_path: Path) -> None:
    async with opened(tmp_path, {"plain": plain(tmp_path / "files")}) as room:
        child = int(await room.says("plain__branch"))
        assert psutil.pid_exists(child)
    await until(lambda: not psutil.pid_exists(child))


WORKER = """
import asyncio, json, sys
from pathlib import Path
from tests.support.mcp_room import opened, plain, read

async def main(folder):
    async with opened(folder, {"plain": plain(folder / "files")}) as room:
        print(json.dumps([int(read(folder / "files/pid")), int(await room.says("plain__branch"))]), flush=True)
        await asyncio.sleep(60)

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_servers_end_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    command = (sys.executable, "-c", WORKER, str(tmp_path))
    worker = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT)
    assert worker.stdout is not None
    pids = json.loads(await asyncio.wait_for(worker.stdout.readline(), 20))
    assert all(psutil.pid_exists(pid) for pid in pids)
    worker.kill()
    begun = time.monotonic()
    await worker.wait()
    await until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    assert time.monotonic() - begun < 5
