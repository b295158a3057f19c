"""Each fault of a link is the one that it says: what comes through, what does not, and who is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from cli.start_dev import free_ports
from tests.survival.links import Link

SHORT_SECONDS = 0.2


@dataclass
class _Call:
    """A connection through the link to a server that sends everything back."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def echoed(self, word: bytes = b"word\n") -> bytes:
        self.writer.write(word)
        async with asyncio.timeout(SHORT_SECONDS):
            return await self.reader.readline()


@dataclass
class _Room:
    link: Link
    callers: list[asyncio.StreamWriter]

    async def call(self) -> _Call:
        host, _, port = self.link.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        self.callers.append(writer)
        return _Call(reader, writer)


@asynccontextmanager
async def _room() -> AsyncIterator[_Room]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while word := await reader.readline():
            writer.write(word)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", free_ports(usual=False)[0])
    await link.mend()
    room = _Room(link, [])
    try:
        yield room
    finally:
        for writer in room.callers:
            writer.close()
        await link.cut()
        server.close()


async def test_a_dropped_connection_ends_and_a_new_one_is_good() -> None:
    async with _room() as room:
        before = await room.call()
        assert await before.echoed() == b"word\n"
        room.link.drop()
        with pytest.raises(ConnectionResetError):
            await before.echoed()
        assert await (await room.call()).echoed() == b"word\n"


async def test_a_cut_link_refuses_until_it_is_mended_on_the_same_port() -> None:
    async with _room() as room:
        address = room.link.address
        await room.link.cut()
        with pytest.raises(ConnectionRefusedError):
            await room.call()
        await room.link.heal()
        assert room.link.address == address
        assert await (await room.call()).echoed() == b"word\n"


async def test_what_a_stalled_link_held_back_comes_afterwards() -> None:
    async with _room() as room:
        call = await room.call()
        room.link.stall()
        with pytest.raises(TimeoutError):
            await call.echoed()
        room.link.flow()
        async with asyncio.timeout(SHORT_SECONDS):
            assert await call.reader.readline() == b"word\n"


async def test_a_slow_link_passes_everything_later() -> None:
    async with _room() as room:
        call = await room.call()
        room.link.delay = 0.05
        began = time.monotonic()
        assert await call.echoed() == b"word\n"
        assert time.monotonic() - began >= 0.1, "once there and once back"


async def test_a_half_open_connection_is_dead_for_ever_and_a_new_one_is_good() -> None:
    async with _room() as room:
        before = await room.call()
        assert await before.echoed() == b"word\n"
        room.link.half_open()
        with pytest.raises(TimeoutError):
            await before.echoed()
        await room.link.heal()
        with pytest.raises(TimeoutError):
            await before.echoed()
        before.writer.close()
        assert room.link.connections == 1, "the server is not told that its client has gone"
        assert await (await room.call()).echoed() == b"word\n"
