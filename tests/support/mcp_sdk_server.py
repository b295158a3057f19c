"""An MCP server made with the SDK: `python mcp_sdk_server.py stdio`, or `python mcp_sdk_server.py KIND PORT FOLDER`.

KIND: `http`; `old-http` (does not know the protocol of 2026, so it has sessions); `locked-http` (wants a token).
"""

import asyncio
import sys
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import AudioContent, BlobResourceContents, EmbeddedResource, ImageContent, TextResourceContents
from mcp.types import ToolAnnotations as Hints
from pydantic import BaseModel
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

server = MCPServer("sdk", log_level="ERROR")
folder = Path(sys.argv[3] if len(sys.argv) > 3 else ".")


class Sum(BaseModel):
    total: int


@server.tool(annotations=Hints(read_only_hint=True))
def add(a: int, b: int) -> Sum:
    """Add two numbers."""
    return Sum(total=a + b)


@server.tool()
def fail(text: str) -> str:
    """Fail with that text."""
    raise ToolError(text)


@server.tool(structured_output=False)
def show() -> list[ImageContent | AudioContent | EmbeddedResource | str]:
    """Show what is no text."""
    blob = BlobResourceContents(uri="file:///a.bin", mime_type="application/zip", blob="AAAA")
    note = TextResourceContents(uri="file:///a.txt", mime_type="text/plain", text="a note")
    return [
        "see:",
        ImageContent(data="iVBORw0KGgo=", mime_type="image/png"),
        AudioContent(data="AAAAAAA=", mime_type="audio/wav"),
        EmbeddedResource(resource=blob),
        EmbeddedResource(resource=note),
    ]


@server.tool()
async def slow(seconds: float, ctx: Context) -> str:
    """Take a while."""
    with (folder / "calls").open("a") as file:
        file.write("slow\n")
    await ctx.report_progress(1, 4, "begun")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        (folder / "cancelled").touch()
        raise
    return "done"


@server.tool()
async def grow(ctx: Context) -> str:
    """Grow another tool."""

    def grown() -> str:
        """Be new."""
        return "new"

    server.add_tool(grown)
    await ctx.notify_tools_changed()
    return "grown"


def guarded(kind: str, app: ASGIApp) -> ASGIApp:
    """The app, with what the kind refuses refused."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if kind == "locked-http" and scope["type"] == "http" and headers.get(b"authorization") != b"Bearer opens-it":
            await PlainTextResponse("no", 401)(scope, receive, send)
        elif kind == "old-http" and headers.get(b"mcp-protocol-version", b"").startswith(b"2026"):
            await PlainTextResponse("no", 400)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return answer


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        app = guarded(sys.argv[1], server.streamable_http_app())
        uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
