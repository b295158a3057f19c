"""A TCP link between two parts that can be cut, stalled, slowed and left half open: the network's faults."""

from __future__ import annotations

import asyncio

from tests.support.relay import Relay


class Link(Relay):
    """A relay to one server for one client.

    cut, mend     no connections, and none can be made; as before
    drop          every connection ends at once, new ones are good
    stall, flow   nothing passes in either direction, and nobody is told; what was held back passes
    delay         every chunk comes so many seconds later
    half_open     the connections that are open now are dead for ever, and neither side is told of it or of the other
                  side's end; new ones are good
    """

    def __init__(self, target: str, port: int) -> None:
        super().__init__(target, port)
        self.delay = 0.0
        self._flows = asyncio.Event()
        self._flows.set()
        self._dead: set[asyncio.StreamWriter] = set()
        self._over = asyncio.Event()

    @property
    def connections(self) -> int:
        return len(self._open) // 2

    def drop(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    def stall(self) -> None:
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    def half_open(self) -> None:
        self._dead |= self._open

    async def heal(self) -> None:
        """As it was made; what is dead stays dead."""
        self.delay = 0.0
        self.flow()
        if not self.is_open:
            await self.mend()

    async def cut(self) -> None:
        self.flow()
        self._over.set()
        await super().cut()
        self._dead.clear()
        self._over.clear()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._pass(reader, writer)
        if writer in self._dead:
            await self._over.wait()
        writer.transport.abort()

    async def _carry(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._flows.wait()
        if writer not in self._dead:
            await super()._carry(chunk, writer)
