"""All MCP servers of a worker, as a source of tools."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from mcp import types

from activities.mcp.adapting import specs_of
from activities.mcp.connection import Connection, Open
from activities.mcp.transports import over_http, over_pipes
from activities.tools.spec import ToolSpec
from session.masking import Masker
from session.mcp import HttpServer, StdioServer

logger = logging.getLogger("perdure.mcp")

PATIENCE: Final = 10.0
"""Seconds that a worker's start waits for its servers. The tools of one that comes later are there from then on."""


class McpServers:
    """Connections to MCP servers, open while the context lasts; a `ToolSource` for the catalog.

    Entering waits at most `patience` seconds for the servers, and never fails because of one. `folder`: where the
    servers that the worker starts have their homes. Their standard error goes to the log, masked. Leaving ends the
    connections and the processes; a worker that is killed takes the processes with it.
    """

    def __init__(
        self,
        servers: Mapping[str, StdioServer | HttpServer],
        folder: Path,
        masker: Masker | None = None,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._servers = dict(servers)
        self._folder = folder
        self._masker = masker or Masker()
        self._patience = patience
        self._specs: dict[str, list[ToolSpec[Any]]] = {}
        self._connections: dict[str, Connection] = {}
        for name, server in self._servers.items():
            self._connections[name] = Connection(name, self._way(name, server), partial(self._learn, name))

    async def __aenter__(self) -> Self:
        for connection in self._connections.values():
            connection.start()
        waits = [asyncio.create_task(connection.tried()) for connection in self._connections.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=self._patience)
            for wait in late:
                wait.cancel()
        for name, state in self.states().items():
            if state is not None:
                logger.warning("MCP server %s: its tools are absent until it is up (%s)", name, state)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))

    def specs(self) -> Sequence[ToolSpec[Any]]:
        """The tools of all servers as last listed, in the order of the setting."""
        return [spec for name in self._servers for spec in self._specs.get(name, ())]

    def states(self) -> dict[str, str | None]:
        """Every server by name: None when it is up, else why it is not."""
        return {name: None if each.up else each.failure for name, each in self._connections.items()}

    def _learn(self, name: str, tools: Sequence[types.Tool]) -> None:
        call = self._connections[name].call
        self._specs[name] = specs_of(name, self._servers[name].timeout, tools, call)

    def _way(self, name: str, server: StdioServer | HttpServer) -> Open:
        if isinstance(server, StdioServer):
            hear = partial(self._hear, name)
            return lambda ended: over_pipes(server, self._folder / name, hear, ended)
        return partial(_over_http, server)

    def _hear(self, name: str, line: str) -> None:
        if text := line.strip():
            logger.info("MCP server %s says: %s", name, self._masker.mask(text))


def _over_http(server: HttpServer, _ended: Callable[[], None]) -> AbstractAsyncContextManager[Any]:
    """Nothing tells the end of a connection that is made anew for every request."""
    return over_http(server)
