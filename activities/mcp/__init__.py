"""The tools of MCP servers: one lasting connection per server (`servers.py`), their tools as ours (`adapting.py`).

McpServers ── Connection (one task each) ── SDK client ── transport ── keeper ── server process
    │                                                         └─ or HTTP ── server elsewhere
    └─ specs() ── Catalog
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from activities.catalog import ToolSource
from session.masking import Masker
from session.mcp import HttpServer, StdioServer


@asynccontextmanager
async def mcp_tools(
    servers: Mapping[str, StdioServer | HttpServer], folder: Path, masker: Masker
) -> AsyncIterator[tuple[ToolSource, ...]]:
    """The source of the servers' tools while the context lasts (`McpServers`); no source where there is no server."""
    if not servers:
        yield ()
        return
    # Who has no server need not pay for the SDK: 30 MB, and a third of a second at the start.
    from activities.mcp.servers import McpServers  # noqa: PLC0415

    async with McpServers(servers, folder, masker) as running:
        yield (running,)
