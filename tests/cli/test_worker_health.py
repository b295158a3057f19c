"""Claims about a worker's port: live while its loop turns, ready while what it needs answers it."""

from __future__ import annotations

from pathlib import Path

import httpx
from temporalio.client import Client

from cli.embedded import EmbeddedTemporal
from cli.start_dev import free_ports
from cli.worker_health import health_app
from session.wire import SEARCH_ATTRIBUTES
from store import Store, open_store
from store.bus import InProcessBus
from tests.survival.links import Link


async def test_a_worker_is_live_without_its_temporal_and_ready_only_with_it(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/perdure.db", InProcessBus())
    async with EmbeddedTemporal(tmp_path / "temporal", SEARCH_ATTRIBUTES) as temporal:
        # A port that is given up may be another test's server's at once, which would answer.
        link = Link(temporal.address, free_ports(usual=False)[0])
        await link.mend()
        client = await Client.connect(link.address)
        assert await answers(client, store) == (200, 200, {"temporal": "up", "store": "up"})
        link.stall()
        assert await answers(client, store) == (200, 503, {"temporal": "away", "store": "up"})
        await link.cut()
    await store.close()


async def answers(client: Client, store: Store) -> tuple[int, int, dict[str, str]]:
    transport = httpx.ASGITransport(health_app(client, store))
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as http:
        live, ready = await http.get("/health/live"), await http.get("/health/ready")
    parts = {name: part["state"] for name, part in ready.json()["parts"].items()}
    return live.status_code, ready.status_code, parts
