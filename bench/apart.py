"""The stand of many machines on one: API, worker, Temporal, PostgreSQL and Valkey, each a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bench import scripts
from bench.bare import bare_loop
from bench.processes import scratch
from bench.stand import Stand
from tests.survival.cluster import DATABASE, Cluster, cluster

APART: Final = "apart"


@dataclass(frozen=True)
class _At:
    url: str
    pid: int


@dataclass(frozen=True)
class StandApart(Stand):
    """The same stand with roles apart, and where its servers are."""

    database_url: str = ""
    bus_url: str = ""


def bus_url(parts: Cluster) -> str:
    """As the roles are told it; empty where there is no bus."""
    return parts.parts["api"].environment.get("PERDURE_BUS_URL", "")


@asynccontextmanager
async def stand_apart(*, quick: bool = False, apis: int = 1, workers: int = 1) -> AsyncIterator[StandApart]:
    """Everything started; all of it is stopped and removed at the end. Raises NotReady."""
    with scratch() as folder:
        folder.chmod(0o755)  # PostgreSQL may run as another user
        async with cluster(folder, apis=apis, workers=workers) as parts:
            workspace = scripts.prepare(parts.data_dir / "workspaces")
            async with bare_loop(parts.fake_url, workspace) as bare:
                pids = {name: part.pid for name, part in parts.parts.items() if name != "fake"}
                model = _At(parts.fake_url, parts.parts["fake"].pid)
                pids["model"] = model.pid
                made = StandApart(
                    model=model,
                    service=_At(parts.url, parts.parts["api"].pid),
                    bare=bare,
                    data_dir=parts.data_dir,
                    pids=pids,
                    temporal=parts.temporal_address,
                    quick=quick,
                    name=APART,
                    database_url=parts.postgres.url(DATABASE) if parts.postgres else "",
                    bus_url=bus_url(parts),
                )
                await made.warm_up()
                yield made
