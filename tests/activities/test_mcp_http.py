"""MCP servers over streamable HTTP: there, gone, and there again."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.mcp_room import SUPPORT, opened, read, until


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def at(port: int) -> dict[str, str]:
    return {"url": f"http://127.0.0.1:{port}/mcp"}


@asynccontextmanager
async def serving(port: int, folder: Path, era: str = "http") -> AsyncIterator[asyncio.subprocess.Process]:
    """The SDK's server on that port, until it is killed."""
    command = (sys.executable, str(SUPPORT / "mcp_sdk_server.py"), era, str(port), str(folder))
    process = await asyncio.create_subprocess_exec(*command)

    def listens() -> bool:
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", port)) == 0

    try:
        await until(listens, 20)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("era", ["http", "old-http"])
async def test_a_server_over_http_is_used_killed_and_used_again(tmp_path: Path, era: str) -> None:
    port = free_port()
    async with serving(port, tmp_path, era) as first, opened(tmp_path, {"web": at(port)}) as room:
        assert '"total": 3' in await room.says("web__add", a=1, b=2)
        call = asyncio.create_task(room.says("web__slow", seconds=30))
        await until(lambda: room.heard)
        first.kill()
        (error,) = await asyncio.gather(call, return_exceptions=True)
        assert getattr(error, "code", "") == "MCP_SERVER_LOST" and "is unknown" in str(error)

        await first.wait()
        gone = await room.refused("web__fail", text="not sent")
        assert gone.code == "MCP_SERVER_UNAVAILABLE" and "nothing was done" in gone.message

        async with serving(port, tmp_path, era):
            assert '"total": 7' in await room.says("web__add", a=3, b=4)
    assert read(tmp_path / "calls").split() == ["slow"]


@pytest.mark.parametrize("era", ["http", "old-http"])
async def test_a_server_that_was_started_anew_unseen_is_called_as_if_nothing_had_been(tmp_path: Path, era: str) -> None:
    port = free_port()
    async with serving(port, tmp_path, era) as first, opened(tmp_path, {"web": at(port)}) as room:
        first.kill()
        await first.wait()
        async with serving(port, tmp_path, era):
            failed = await room.refused("web__fail", text="side effects, too, for nothing was sent twice")
            assert failed.code == "MCP_ERROR" and "sent twice" in failed.message


@pytest.mark.parametrize("era", ["http", "old-http"])
async def test_a_call_over_http_is_called_off_when_cancelled(tmp_path: Path, era: str) -> None:
    port = free_port()
    async with serving(port, tmp_path, era), opened(tmp_path, {"web": at(port)}) as room:
        call = asyncio.create_task(room.says("web__slow", seconds=30))
        await until(lambda: room.heard)
        assert room.heard == ["begun (1/4)\n"]
        call.cancel()
        await asyncio.wait({call}, timeout=2)
        assert call.cancelled()
        await until((tmp_path / "cancelled").exists)


async def test_headers_are_sent_and_a_server_that_wants_others_is_told_of_in_the_log(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    async with serving(port, tmp_path, "locked-http"):
        servers = {"open": {"url": url, "headers": {"Authorization": "Bearer opens-it"}}, "shut": {"url": url}}
        async with opened(tmp_path, servers) as room:
            assert '"total": 3' in await room.says("open__add", a=1, b=2)
            assert not room.names("shut") and room.servers.states()["shut"] is not None


async def test_tools_that_change_over_http_are_learned(tmp_path: Path) -> None:
    port = free_port()
    async with serving(port, tmp_path), opened(tmp_path, {"web": at(port)}) as room:
        await room.call("web__grow")
        await until(lambda: room.catalog.spec("web__grown"))
