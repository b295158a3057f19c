"""The provider's client on connections that misbehave: nothing is waited for longer than it may be, and whoever stops
listening stops the provider's writing, over TLS too."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
import uvloop
from anthropic import APITimeoutError
from pydantic import SecretStr

from activities.client import provider_client
from activities.provider_errors import is_provider_error, posture
from activities.streaming import events_of

EVENT = b'event: content_block_delta\ndata: {"type": "content_block_delta"}\n\n'
PIECE = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SILENCE = 0.3


async def listen(
    url: str, heard: Callable[[], None] = lambda: None, content: str = "hello", silence: float = SILENCE
) -> int:
    """Ask for a reply, and count its events."""
    count = 0
    asked: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": content}]}
    async with (
        provider_client(SecretStr("sk-test"), url, silence) as client,
        client.messages.with_streaming_response.create(**asked, stream=True) as answer,
    ):
        async for _ in events_of(answer.http_response):
            count += 1
            heard()
    return count


@asynccontextmanager
async def serving(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server of plain TCP, that ends its connections when the context does."""
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await answer(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def test_a_broken_stream_that_stays_open_is_a_silent_one() -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + PIECE)
        heard.clear()
        await heard.wait()
        writer.write(b"no number\r\n")

    heard = asyncio.Event()
    async with serving(breaks) as url:
        with pytest.raises(httpx2.ReadTimeout) as raised:
            await asyncio.wait_for(listen(url, heard.set), 10)
    assert is_provider_error(raised.value) and not posture(raised.value, 1, 60).final


@pytest.mark.filterwarnings("ignore:Sending a large body")  # so large that no buffer takes it
async def test_a_request_that_nobody_reads_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody, pytest.raises(APITimeoutError):
        await asyncio.wait_for(listen(f"http://127.0.0.1:{nobody.getsockname()[1]}", content="x" * (16 << 20)), 10)


async def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def passes_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(HEAD + PIECE + b"0\r\n\r\n")

    asked: list[bytes] = []
    async with serving(passes_on) as url:
        monkeypatch.setenv("http_proxy", url)
        assert await listen("http://model.test") == 1
    assert asked == [b"POST http://model.test/v1/messages HTTP/1.1"]


def _trusted(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS; who trusts `authority.pem` in the folder trusts it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    return tls


class Writing(threading.Thread):
    """A provider over TLS that writes until it cannot, and does not listen."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._tls = _trusted(folder)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"
        self.may_go_on_until = time.monotonic() + 20

    def run(self) -> None:
        with (
            self._listener,
            self._listener.accept()[0] as plain,
            self._tls.wrap_socket(plain, server_side=True) as peer,
        ):
            peer.recv(65536)
            peer.sendall(HEAD)
            try:
                while time.monotonic() < self.may_go_on_until:
                    peer.sendall(PIECE)
                    threading.Event().wait(0.01)
            except OSError:
                pass


def test_a_provider_that_writes_over_tls_is_cut_off_when_the_call_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled() -> float:
        heard = asyncio.Event()
        call = asyncio.create_task(listen(provider.url, heard.set))
        await asyncio.wait({call, asyncio.create_task(heard.wait())}, return_when=asyncio.FIRST_COMPLETED)
        began = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(provider.join)
        return time.monotonic() - began

    provider = Writing(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    provider.start()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the worker has it; asyncio's does not wait
        assert runner.run(cancelled()) < 2


ESTABLISHED = 1


class Deaf(threading.Thread):
    """A provider over TLS that neither reads nor answers, and looks whether the other side is still there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._tls = _trusted(folder)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"
        self.connected = threading.Event()
        self.may_go_on_until = time.monotonic() + 20

    def run(self) -> None:
        with (
            self._listener,
            self._listener.accept()[0] as plain,
            self._tls.wrap_socket(plain, server_side=True) as peer,
        ):
            self.connected.set()
            while self._is_there(peer) and time.monotonic() < self.may_go_on_until:
                threading.Event().wait(0.01)

    def _is_there(self, peer: socket.socket) -> bool:
        return peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED


def test_a_provider_that_did_not_answer_over_tls_is_cut_off_when_the_call_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled() -> float:
        call = asyncio.create_task(listen(provider.url, silence=30))
        await asyncio.to_thread(provider.connected.wait)
        await asyncio.sleep(0.1)  # the request is on its way
        began = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(provider.join)
        return time.monotonic() - began

    provider = Deaf(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    provider.start()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(cancelled()) < 2
