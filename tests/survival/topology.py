"""The parts of Perdure as separate real processes on free ports, to be killed and started again from outside.

    split:  fake model ─ Temporal ─ worker (one or more) ─ API      one data dir, SQLite shared by two processes, no bus
    whole:  fake model ─ `perdure serve` (embedded Temporal inside) one process tree, in-process bus

Every process is a child of the one that made the topology and ends with it (cli/with_parent.py); leaving the topology
kills what still runs, by pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from cli.start_dev import HOST, SERVER_FLAGS, free_ports, start_command, temporal_binary
from cli.whereabouts import told
from session.wire import SEARCH_ATTRIBUTES
from tests.survival.part import Part

PATIENCE_SECONDS = 60.0
T = TypeVar("T", bound="Topology")


class NotReady(Exception):
    """A part did not come up in time; the message has the end of what it said."""


@dataclass
class Topology:
    """Running parts. `killed` remembers when what was killed, for the tables."""

    folder: Path
    url: str
    fake_url: str
    http: httpx.AsyncClient
    parts: dict[str, Part] = field(default_factory=dict)
    temporal_address: str = ""
    killed: list[tuple[float, str]] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    """URLs of the APIs beyond the first, by their part's name."""

    def url_of(self, name: str) -> str:
        """Of the part of this name, where it listens; of any other part the first API's."""
        return self.others.get(name, self.url)

    @property
    def urls(self) -> list[str]:
        """Of all APIs."""
        return [self.url, *self.others.values()]

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def workspace(self, conversation_id: str) -> Path:
        return self.data_dir / "workspaces" / conversation_id

    def kill(self, *names: str) -> None:
        """SIGKILL these parts at once. `embedded` is the Temporal inside `serve`."""
        self.killed.append((time.time(), "+".join(names)))
        for name in names:
            if name == "embedded":
                os.kill(embedded_pid(self.data_dir), signal.SIGKILL)
            else:
                self.parts[name].signal(signal.SIGKILL)
        for name in names:
            if name != "embedded":
                self.parts[name].kill()

    def start(self, *names: str) -> None:
        for name in names:
            self.parts[name].start()

    async def restart(self, *names: str) -> None:
        """Start again, all at once, and wait until each is ready. As a supervisor would, start again what ends."""
        self.start(*names)
        for name in names:
            await self.ready(name)

    async def ready(self, name: str) -> None:
        """Raises NotReady."""
        part = self.parts[name]
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not await self._is_ready(part):
            if not part.is_running:
                part.start()
            if time.monotonic() > give_up:
                raise NotReady(f"{name}: {part.said()[-2000:]}")
            await asyncio.sleep(0.05)

    async def _is_ready(self, part: Part) -> bool:
        if part.answers is not None:
            return await part.answers()
        if part.name == "temporal":
            return await temporal_answers(self.temporal_address)
        if part.name.startswith("worker"):
            return "is polling" in part.said_since_start()
        try:
            return (await self.http.get(f"{self.url_of(part.name)}/health/live", timeout=2)).status_code == 200
        except httpx.HTTPError:
            return False

    async def embedded_again(self, killed: int) -> None:
        """Wait until `serve` has started another Temporal than the one with this pid, and it answers."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (where := told(self.data_dir)) is None or where.pid == killed:
                await asyncio.sleep(0.02)
            while not await temporal_answers(where.address):
                await asyncio.sleep(0.02)

    def add_worker(self, name: str, *, like: str = "worker", module: str = "cli.main", **more: str) -> None:
        """Another worker, not started yet: as one that there is, but from this module and with more settings."""
        part = self.parts[like]
        command = [module if word == "cli.main" else word for word in part.command]
        add(self, name, command, {**part.environment, **more})

    async def bought(self, session_id: str) -> list[dict[str, Any]]:
        """The fake model's requests for one session, in order."""
        answer = await self.http.get(f"{self.fake_url}/_fake/requests", params={"session": session_id})
        requests: list[dict[str, Any]] = answer.json()
        return requests

    def stop(self) -> None:
        """Kill everything that still runs."""
        for part in reversed(self.parts.values()):
            part.kill()
        with contextlib.suppress(OSError, ValueError, KeyError):
            os.kill(embedded_pid(self.data_dir), signal.SIGKILL)


def embedded_pid(data_dir: Path) -> int:
    """Of the Temporal that runs inside `serve` on this data dir. Raises OSError, ValueError."""
    return int(json.loads((data_dir / "temporal.json").read_text())["pid"])


async def temporal_answers(address: str) -> bool:
    try:
        async with asyncio.timeout(2):
            client = await Client.connect(address)
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    except Exception:
        return False
    return True


@asynccontextmanager
async def split(
    folder: Path, *, workers: int = 1, apis: int = 1, model: str = "fake_model", more: Mapping[str, str] | None = None
) -> AsyncIterator[Topology]:
    """Fake model, Temporal, workers and APIs, each a process of its own; ready when this yields.

    `url` is the first API's, the second one's is `url_of("api2")`. `model`: the module that is run as the fake model.
    `more`: settings of the workers and the APIs.
    """
    async with made(Topology, folder, model) as topology:
        add_temporal(topology)
        ours = environment(topology) | {"TEMPORAL_ADDRESS": topology.temporal_address} | dict(more or {})
        for number in range(workers):
            name = "worker" if number == 0 else f"worker{number + 1}"
            add(topology, name, role_command(topology, "worker"), ours)
        for number in range(apis):
            name = "api" if number == 0 else f"api{number + 1}"
            if number:
                topology.others[name] = f"http://{HOST}:{free_ports(usual=False)[0]}"
            add(topology, name, role_command(topology, "api", url=topology.url_of(name)), ours)
        await topology.restart("temporal")
        await topology.restart(*[name for name in topology.parts if name not in ("temporal", "fake")])
        yield topology


@asynccontextmanager
async def whole(folder: Path) -> AsyncIterator[Topology]:
    """Fake model and `perdure serve`; ready when this yields."""
    async with made(Topology, folder) as topology:
        add(topology, "serve", role_command(topology, "serve", url=topology.url), environment(topology))
        await topology.restart("serve")
        yield topology


@asynccontextmanager
async def made(kind: type[T], folder: Path, model: str = "fake_model") -> AsyncIterator[T]:
    """Only the fake model runs yet; on leaving, all that was added is killed."""
    os.makedirs(folder, exist_ok=True)
    port, fake_port = free_ports(usual=False)
    url, fake_url = f"http://{HOST}:{port}", f"http://{HOST}:{fake_port}"
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=httpx.Timeout(10), limits=limits, trust_env=False) as http:
        topology = kind(folder, url, fake_url, http)
        try:
            command = [sys.executable, "-m", model, "--port", str(fake_port)]
            add(topology, "fake", command, {"PATH": os.defpath})
            topology.start("fake")
            await _answers(http, f"{fake_url}/_fake/bought")
            yield topology
        finally:
            topology.stop()


async def _answers(http: httpx.AsyncClient, url: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(httpx.HTTPError):
                await http.get(url)
                return
            await asyncio.sleep(0.02)


def add_temporal(topology: Topology) -> None:
    """The development server with the flags and attributes that the embedded one has."""
    ports = free_ports(usual=False)
    topology.temporal_address = f"{HOST}:{ports[0]}"
    database = topology.folder / "temporal.db"
    command = start_command(temporal_binary(), database, ports, SERVER_FLAGS, SEARCH_ATTRIBUTES)
    add(topology, "temporal", command, {"PATH": os.defpath, "HOME": str(topology.folder)})


def add(topology: Topology, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Part:
    part = topology.parts[name] = Part(name, list(command), environment, topology.folder / f"{name}.log")
    return part


def role_command(topology: Topology, role: str, *, url: str = "") -> list[str]:
    command = [sys.executable, "-m", "cli.main", role, "--data-dir", str(topology.data_dir)]
    return [*command, "--port", url.rsplit(":", 1)[1]] if url else command


def environment(topology: Topology) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(topology.folder),
        "PYTHONUNBUFFERED": "1",
        "ANTHROPIC_API_KEY": "sk-survival",
        "ANTHROPIC_BASE_URL": topology.fake_url,
    }
