"""MCP servers, opened for a test, with their tools called by sentences."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from activities.catalog import Catalog
from activities.mcp.servers import McpServers
from activities.tools import ToolContext, ToolError, ToolOutput, ToolSpec, call
from session.masking import Masker
from session.mcp import parse_servers
from session.policy import ToolPolicy

SUPPORT = Path(__file__).parent
TIME = {"command": sys.executable, "args": ["-m", "mcp_server_time"]}


def plain(folder: Path, manner: str = "plain", **more: Any) -> dict[str, Any]:
    """The setting of a server of the standard library, which leaves its files in `folder`."""
    folder.mkdir(exist_ok=True)
    return {
        "command": sys.executable,
        "args": [str(SUPPORT / "mcp_plain_server.py"), manner, str(folder)],
        **more,
    }


class McpRoom:
    """What a session sees of the servers of `mcpServers`."""

    def __init__(self, servers: McpServers, folder: Path) -> None:
        self.servers = servers
        self.folder = folder
        self.catalog = Catalog(ToolPolicy(), (), (servers,))
        self.heard: list[str] = []

    def spec(self, name: str) -> ToolSpec[Any]:
        spec = self.catalog.spec(name)
        assert spec is not None, f"there is no {name}"
        return spec

    async def call(self, name: str, /, **arguments: Any) -> ToolOutput:
        context = ToolContext(self.folder, lambda _, text: self.heard.append(text))
        return await call(self.spec(name), arguments, context)

    async def says(self, name: str, /, **arguments: Any) -> str:
        return (await self.call(name, **arguments)).content

    async def refused(self, name: str, /, **arguments: Any) -> ToolError:
        with pytest.raises(ToolError) as caught:
            await self.call(name, **arguments)
        return caught.value

    def names(self, server: str) -> list[str]:
        return [name for name in self.catalog.specs() if name.startswith(f"{server}__")]


@asynccontextmanager
async def opened(
    folder: Path, servers: Mapping[str, Any], *, patience: float = 10.0, secrets: tuple[str, ...] = ()
) -> AsyncIterator[McpRoom]:
    """The servers by name; at the end no process of theirs is left."""
    before = set(psutil.Process().children(recursive=True))
    config = parse_servers(json.dumps({"mcpServers": servers}), {})
    async with McpServers(config, folder / "homes", Masker(secrets), patience=patience) as running:
        yield McpRoom(running, folder)
    assert set(psutil.Process().children(recursive=True)) <= before


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What the condition gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.005)
    return found


def pid_of(argument: str) -> int:
    """The process of ours (no keeper) that has the argument in its command line."""
    for process in psutil.Process().children(recursive=True):
        line = process.cmdline()
        if any(argument in part for part in line) and not any("keeper.py" in part for part in line):
            return int(process.pid)
    raise AssertionError(f"no process with {argument}")


def read(file: Path) -> str:
    return file.read_text() if file.exists() else ""
