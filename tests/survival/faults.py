"""What can go wrong in a cluster, one fault at a time or two at once, and when each was (for what it excuses)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from tests.survival.cluster import DATABASE, FAKE, SERVERS, Cluster
from tests.survival.topology import NotReady

TWO_AT_ONCE: Final = 0.25
NEEDED: Final = frozenset({"temporal", "postgres"})
"""Servers without which nobody can end a session (G1)."""
FLOOD: Final = "flood:"
LINK_FAULTS: Final = ("drop", "cut", "stall", "delay", "half_open")


@dataclass(frozen=True)
class Fault:
    """`touches`: the parts that it concerns. `excuses`: nobody can end a session meanwhile."""

    name: str
    run: Callable[[], Awaitable[None]]
    touches: frozenset[str]
    excuses: bool = False


@dataclass(frozen=True)
class Window:
    """From the moment of a fault until all that it touched was back. Unix seconds."""

    name: str
    began: float
    ended: float
    excuses: bool


@dataclass
class Faults:
    """Draws faults from a deck that has every kind, and remembers their windows. `only`: those whose name has this."""

    parts: Cluster
    chance: random.Random
    only: str = ""
    windows: list[Window] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    not_back: list[str] = field(default_factory=list)
    ended_alone: list[str] = field(default_factory=list)
    _deck: list[Fault] = field(default_factory=list)

    async def next(self) -> int:
        """One fault, now and then two at once, over when all is back. How many there were."""
        faults = [self._drawn(frozenset())]
        if self.chance.random() < TWO_AT_ONCE:
            faults.append(self._drawn(faults[0].touches))
        await asyncio.gather(*map(self._make, faults))
        return len(faults)

    def _drawn(self, without: frozenset[str]) -> Fault:
        while len(self._deck) < 2:
            fresh = [fault for fault in deck(self.parts, self.chance) if self.only in fault.name]
            self.chance.shuffle(fresh)
            self._deck += fresh
        for at, fault in enumerate(self._deck):
            if not fault.touches & without:
                return self._deck.pop(at)
        return self._deck.pop()

    async def _make(self, fault: Fault) -> None:
        began = time.time()
        self.touched |= fault.touches
        try:
            await fault.run()
        except NotReady as error:
            self.not_back.append(f"after {fault.name}: {error}")
        finally:
            self.touched -= fault.touches
            self.windows.append(Window(fault.name, began, time.time(), fault.excuses))

    async def supervise(self) -> None:
        """Start again whatever ends by itself, as an orchestrator does; until cancelled."""
        while True:
            for name, part in self.parts.parts.items():
                if not part.is_running and name not in self.touched:
                    self.ended_alone.append(f"{name}: {part.said()[-400:]}")
                    part.start()
            await asyncio.sleep(0.2)

    def excused(self, start: float, end: float) -> float:
        """The seconds between two moments in which nobody could have ended a session."""
        total, at = 0.0, start
        for window in sorted(self.windows, key=lambda one: one.began):
            if window.excuses and window.ended > at and window.began < end:
                total += min(window.ended, end) - max(window.began, at)
                at = max(at, window.ended)
        return total

    def is_quiet(self, start: float, end: float) -> bool:
        """Whether no fault was about between two moments."""
        return all(window.ended < start or window.began > end for window in self.windows)


def deck(parts: Cluster, chance: random.Random) -> list[Fault]:
    """Every kind once, those of the network thrice, with seconds and victims drawn."""
    servers = [name for name in SERVERS if name in parts.parts]
    ours = [*parts.apis, *parts.workers]
    found = [_fault("kill", [name], partial(_killed, parts, [name])) for name in (*servers, *ours)]
    several = (parts.apis, parts.workers, ours)
    found += [_fault("kill", names, partial(_killed, parts, names)) for names in several]
    found += [_fault("restart", [name], partial(_restarted, parts, name)) for name in (*servers, *ours)]
    for name in (*servers, *ours, FAKE):
        found.append(_fault("stop", [name], partial(_stopped, parts, name, chance.uniform(1.0, 8.0))))
    for kind in LINK_FAULTS * 3:
        found.append(_link_fault(parts, chance, kind))
    found.append(_fault("lock", ["postgres"], partial(_locked, parts, chance.uniform(2.0, 6.0))))
    found.append(_fault("cut off", ["postgres"], partial(_cut_off, parts)))
    found.append(_fault("flush", ["valkey"], partial(_flushed, parts)))
    found.append(_fault("fill", ["valkey"], partial(_filled, parts, chance.uniform(2.0, 6.0))))
    return found


def _fault(kind: str, names: Sequence[str], run: Callable[[], Awaitable[None]]) -> Fault:
    return Fault(f"{kind} {'+'.join(names)}", run, frozenset(names), excuses=bool(NEEDED & set(names)))


def _link_fault(parts: Cluster, chance: random.Random, kind: str) -> Fault:
    """On one client's link to one server, on all of one client's, or on all to one server."""
    client, server = chance.choice(list(parts.links))
    scope = chance.choice(("one", "one", "client", "server"))
    links = parts.links_of(client if scope != "server" else "", server if scope != "client" else "")
    name = f"{client if scope != 'server' else '*'}/{server if scope != 'client' else '*'}"
    seconds, delay = chance.uniform(1.0, 8.0), chance.uniform(0.02, 0.3)

    async def run() -> None:
        for link in links:
            if kind == "cut":
                await link.cut()
            elif kind == "delay":
                link.delay = delay
            else:
                {"drop": link.drop, "stall": link.stall, "half_open": link.half_open}[kind]()
        await asyncio.sleep(seconds if kind in ("cut", "stall", "delay") else 0.5)
        for link in links:
            await link.heal()

    touches = frozenset({server} if scope == "server" else {client})
    return Fault(f"{kind} {name}", run, touches, excuses=scope == "server" and server in NEEDED)


async def _killed(parts: Cluster, names: list[str]) -> None:
    parts.kill(*names)
    await parts.restart(*names)


async def _restarted(parts: Cluster, name: str) -> None:
    await parts.told_to_go(name)
    await parts.restart(name)


async def _stopped(parts: Cluster, name: str, seconds: float) -> None:
    parts.sleep(name)
    await asyncio.sleep(seconds)
    parts.wake(name)
    if name != FAKE:
        await parts.ready(name)


async def _locked(parts: Cluster, seconds: float) -> None:
    """Somebody holds the tables; nobody else can read or write them."""
    assert parts.postgres is not None
    connection = await asyncpg.connect(parts.postgres.url(DATABASE), timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE sessions, facts IN ACCESS EXCLUSIVE MODE", timeout=10)
            await asyncio.sleep(seconds)
    finally:
        connection.terminate()


async def _cut_off(parts: Cluster) -> None:
    """The server ends all connections."""
    assert parts.postgres is not None
    ending = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'"  # noqa: S608
    with suppress(asyncpg.PostgresError, OSError, TimeoutError):
        await parts.postgres.run(ending)


async def _flushed(parts: Cluster) -> None:
    """Everything that the bus remembers is gone, while its connections stay."""
    async with _bus(parts) as bus:
        await bus.flushall()


async def _filled(parts: Cluster, seconds: float) -> None:
    """Strangers' keys that do not expire fill the memory: ours are evicted, then writes are refused."""
    async with _bus(parts) as bus:
        for size in (1_000_000, 10_000, 100):
            with suppress(OutOfMemoryError):
                for number in range(1000):
                    await bus.set(f"{FLOOD}{size}:{number}", b"x" * size)
        await asyncio.sleep(seconds)
        async for key in bus.scan_iter(f"{FLOOD}*", count=1000):
            await bus.unlink(key)


@asynccontextmanager
async def _bus(parts: Cluster) -> AsyncIterator[Redis]:
    """Past all links. A server that is killed meanwhile by another fault has done enough."""
    bus = Redis.from_url(f"redis://{parts.address_of('valkey')}/0", socket_timeout=10)
    try:
        with suppress(RedisError, OSError, TimeoutError):
            yield bus
    finally:
        await bus.aclose()
