"""The topology of docker-compose.yml as plain processes on free ports of loopback.

                       ┌─ worker, worker2 ─┐
    fake model ────────┤                   ├── Temporal, PostgreSQL, Valkey
                       └─ api, api2 ───────┘

Every part is started, killed, stopped (SIGSTOP), woken and started again by its name, on the same port and data. With
`links`, each API and worker reaches each server over a link of its own, where the network's faults are made.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.start_dev import HOST, free_ports
from tests.support.postgres import Postgres, made_postgres
from tests.support.valkey import Valkey
from tests.survival.links import Link
from tests.survival.topology import Topology, add, add_temporal, environment, made, role_command

DATABASE: Final = "perdure"
SERVERS: Final = ("temporal", "postgres", "valkey")
FAKE: Final = "fake"
MEMORY: Final = ("--maxmemory", "48mb", "--maxmemory-policy", "volatile-ttl")
"""The policy of docker-compose.yml, and so little that a fault fills it within a second."""


@dataclass
class Cluster(Topology):
    """Running parts: `temporal`, `postgres`, `valkey`, `fake`, `api`, `api2` …, `worker`, `worker2` …

    `links`: by client and server, as in ("worker2", "postgres"); empty unless asked for.
    """

    links: dict[tuple[str, str], Link] = field(default_factory=dict)
    postgres: Postgres | None = None
    valkey: Valkey | None = None
    stopped: set[str] = field(default_factory=set)

    @property
    def apis(self) -> list[str]:
        return [name for name in self.parts if name.startswith("api")]

    @property
    def workers(self) -> list[str]:
        return [name for name in self.parts if name.startswith("worker")]

    def sleep(self, name: str) -> None:
        """SIGSTOP the whole part."""
        self.parts[name].signal(signal.SIGSTOP)
        self.stopped.add(name)

    def wake(self, name: str) -> None:
        self.stopped.discard(name)
        if self.parts[name].is_running:
            self.parts[name].signal(signal.SIGCONT)

    async def told_to_go(self, name: str, seconds: float = 30) -> None:
        """SIGTERM, and SIGKILL when it has not ended by then: what an orchestrator does."""
        part = self.parts[name]
        if part.process is not None:
            # Its children are its own to end. PostgreSQL would wait for its clients at SIGTERM.
            part.process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        try:
            await part.ended(seconds)
        except TimeoutError:
            part.kill()

    def address_of(self, server: str) -> str:
        """Where it listens itself."""
        if server == "temporal":
            return self.temporal_address
        if server == FAKE:
            return self.fake_url.removeprefix("http://")
        if server == "valkey":
            assert self.valkey is not None
            return f"{HOST}:{self.valkey.port}"
        assert self.postgres is not None
        return self.postgres.address

    def links_of(self, client: str = "", server: str = "") -> list[Link]:
        """Those of this client, to this server, or of all."""
        return [link for (one, other), link in self.links.items() if client in ("", one) and server in ("", other)]

    async def healed(self) -> None:
        """All links are as they were made."""
        for link in self.links.values():
            await link.heal()

    async def all_ready(self) -> None:
        """Wake what is stopped, start what does not run, wait until each answers. Raises NotReady."""
        for name in list(self.stopped):
            self.wake(name)
        for name in (*SERVERS, *self.apis, *self.workers):
            if name in self.parts:
                await self.ready(name)


@asynccontextmanager
async def cluster(
    folder: Path,
    *,
    workers: int = 2,
    apis: int = 2,
    links: bool = False,
    shared_workspace: bool = True,
    model: str = "fake_model",
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[Cluster]:
    """All parts up and ready. `folder` should be short-lived and, under root, below one that others may enter.

    `links`: put one between each API or worker and each server. `shared_workspace`: one folder for all workers, as a
    volume that all of them mount; otherwise each has its own. `more`: further environment variables of the four.
    """
    async with made(Cluster, folder, model) as parts:
        add_temporal(parts)
        parts.postgres = made_postgres(folder, free_ports(usual=False)[0])
        server = add(parts, "postgres", parts.postgres.command, {"PATH": os.defpath, "HOME": str(folder)})
        server.user, server.has_children, server.answers = parts.postgres.user, True, parts.postgres.answers
        _add_valkey(parts)
        await parts.restart(*SERVERS)
        await parts.postgres.run(f"CREATE DATABASE {DATABASE}")
        names = [
            f"{role}{number or ''}"
            for role, count in (("worker", workers), ("api", apis))
            for number in _numbers(count)
        ]
        try:
            for name in names:
                await _add_role(parts, name, links=links, shared_workspace=shared_workspace, more=more or {})
            await parts.restart(*names)
            yield parts
        finally:
            parts.stop()
            for link in parts.links.values():
                await link.cut()


def _add_valkey(parts: Cluster) -> None:
    """It is a part like the others here, so its own way to start and end is not used."""
    parts.valkey = valkey = Valkey(parts.folder / "valkey", flags=MEMORY)
    (parts.folder / "valkey").mkdir(exist_ok=True)

    async def answers() -> bool:
        return await asyncio.to_thread(valkey.answers)

    add(parts, "valkey", valkey.command, {"PATH": os.defpath}).answers = answers


def _numbers(count: int) -> list[int]:
    """The first of a kind has none: `api`, `api2`, `api3` …"""
    return [0, *range(2, count + 1)][:count]


async def _add_role(parts: Cluster, name: str, *, links: bool, shared_workspace: bool, more: Mapping[str, str]) -> None:
    role = name.rstrip("0123456789")
    if role == "api" and name != "api":
        parts.others[name] = f"http://{HOST}:{free_ports(usual=False)[0]}"
    at = {server: parts.address_of(server) for server in (*SERVERS, FAKE)}
    if links:
        for server in at if role == "worker" else SERVERS:
            link = parts.links[name, server] = Link(at[server], free_ports(usual=False)[0])
            await link.mend()
            at[server] = link.address
    assert parts.postgres is not None
    workspaces = parts.data_dir / ("workspaces" if shared_workspace else f"workspaces-of-{name}")
    given = environment(parts) | {
        "TEMPORAL_ADDRESS": at["temporal"],
        "PERDURE_DATABASE_URL": parts.postgres.url(DATABASE, at["postgres"]),
        "PERDURE_BUS_URL": f"redis://{at['valkey']}/0",
        "PERDURE_WORKSPACE": str(workspaces),
        "ANTHROPIC_BASE_URL": f"http://{at[FAKE]}",
        "PERDURE_DATA_DIR": str(parts.data_dir / name),
    }
    command = role_command(parts, role, url=parts.url_of(name) if role == "api" else "")
    add(parts, name, command, {**given, **more})
