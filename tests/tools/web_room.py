"""A real HTTP server on loopback that says exactly what a test wants, and roads that lead to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpcore2
import pytest

from activities.tools.spec import ToolContext, ToolError, ToolOutput, call
from activities.tools.web.connecting import connect
from activities.tools.web.exchange import Bounds, Road
from activities.tools.web.fetching import fetch
from activities.tools.web_fetch import TOOL, WebFetch
from session.policy import ToolPolicy, WebPolicy

Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes | str, kind: str = "text/plain", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer; `headers` with `_` for `-`."""
    content = body.encode() if isinstance(body, str) else body
    lines = {"content-type": kind, "content-length": str(len(content))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + content


def redirect(to: str, status: str = "302 Found") -> bytes:
    return answer("", status=status, location=to)


@dataclass
class Heard:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Answers by path: bytes are sent as they are, functions write what they like."""

    port: int
    scheme: str = "http"
    answers: dict[str, bytes | Say] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    open: int = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(await self._request(reader), writer)
        finally:
            self.open -= 1
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> Heard:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = first.split(" ")
        heard = Heard(method, path, headers, body)
        self.heard.append(heard)
        return heard

    async def _answer(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        said = self.answers.get(heard.path.partition("?")[0], answer("no such page", status="404 Not Found"))
        if isinstance(said, bytes):
            writer.write(said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if heard.method == "HEAD" else said)
            await writer.drain()
        else:
            await said(writer)


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(0, "https" if tls else "http")
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


class Network:
    """A road whose names are made up and whose connections are counted. Only loopback is really connected to."""

    def __init__(self, names: Mapping[str, Sequence[str]] | None = None, **bounds: Any) -> None:
        self.names: dict[str, Sequence[str]] = dict(names or {})
        self.resolved: list[str] = []
        self.connected: list[str] = []
        self.road = Road(self._resolve, self._connect, bounds=Bounds(**bounds))

    async def _resolve(self, host: str) -> Sequence[str]:
        self.resolved.append(host)
        if host not in self.names:
            raise OSError("name or service not known")
        return self.names[host]

    async def _connect(self, host: str, port: int, seconds: float | None) -> httpcore2.AsyncNetworkStream:
        self.connected.append(host)
        if host != "127.0.0.1":
            raise httpcore2.ConnectError("there is no internet in tests")
        return await connect(host, port, seconds)


class Web:
    """web_fetch in a workspace, over a made-up network."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.network = Network()
        self.allow: tuple[str, ...] = ()
        self.progress: list[str] = []

    async def call(self, url: str, **arguments: Any) -> ToolOutput:
        async def run(given: WebFetch, context: ToolContext) -> ToolOutput:
            return await fetch(given.method, given.url, given.headers, given.body, context, self.network.road)

        context = ToolContext(
            self.workspace,
            lambda _stream, text: self.progress.append(text),
            policy=ToolPolicy(web=WebPolicy(self.allow)),
        )
        return await call(replace(TOOL, run=run), {"url": url, **arguments}, context)

    async def says(self, url: str, **arguments: Any) -> str:
        return (await self.call(url, **arguments)).content

    async def refused(self, url: str, **arguments: Any) -> ToolError:
        with pytest.raises(ToolError) as caught:
            await self.call(url, **arguments)
        return caught.value
