"""A server's tools, all pages of them."""

from __future__ import annotations

from typing import Final

from mcp import Client, types

MOST_TOOLS: Final = 1000


async def listed(client: Client) -> list[types.Tool]:
    """All pages. What a server has beyond `MOST_TOOLS` is not looked at."""
    tools: list[types.Tool] = []
    cursor: str | None = None
    if client.server_capabilities.tools is None:
        return tools
    while len(tools) < MOST_TOOLS:
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None or not page.tools:
            break
    return tools[:MOST_TOOLS]
