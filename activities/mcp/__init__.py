"""The tools of MCP servers: one lasting connection per server (`servers.py`), their tools as ours (`adapting.py`).

McpServers ── Connection (one task each) ── SDK client ── transport ── keeper ── server process
    │                                                         └─ or HTTP ── server elsewhere
    └─ specs() ── Catalog
"""

from activities.mcp.servers import McpServers

__all__ = ["McpServers"]
