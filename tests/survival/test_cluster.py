"""The topology of many machines as processes: nothing of it is left, whatever was done to its parts."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import pytest

from tests.survival.cluster import cluster
from tests.survival.promises import check_promises, processes_with
from tests.survival.reader import Reader, start
from tests.survival.scripts import busy_session

NOTICED_SECONDS = 22


async def test_a_session_outlives_its_store_and_nothing_of_the_topology_is_left() -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-cluster-", ignore_cleanup_errors=True) as scratch:
        async with cluster(Path(scratch)) as parts:
            session = await start(parts.http, parts.url_of("api"), {"content": busy_session("71")}, "one")
            reader = Reader(parts.http, parts.url_of("api2"), session["id"])
            reading = asyncio.create_task(reader.run())
            async with asyncio.timeout(30):
                while not await parts.bought(session["id"]):
                    await asyncio.sleep(0.01)
            parts.kill("postgres")
            await parts.restart("postgres")
            parts.sleep("worker2")
            async with asyncio.timeout(90):
                await reading
            verdict = await check_promises(parts, reader)
            assert not verdict.broken, verdict.broken
            assert verdict.ended == {"endTurn": 1}
        async with asyncio.timeout(5):
            while processes_with(scratch):
                await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_an_api_whose_connection_to_temporal_is_lost_in_silence_has_another_within_seconds() -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-cluster-", ignore_cleanup_errors=True) as scratch:
        async with cluster(Path(scratch), links=True, apis=1, workers=1) as parts:
            await start(parts.http, parts.url, {"content": "Say hello."}, "before", 60)
            (link,) = parts.links_of("api", "temporal")
            assert link.connections
            link.half_open()
            began = time.monotonic()
            session = await start(parts.http, parts.url, {"content": "Say hello."}, "one", 60)
            assert time.monotonic() - began < NOTICED_SECONDS
            reader = Reader(parts.http, parts.url, session["id"])
            async with asyncio.timeout(60):
                await reader.run()
            assert reader.facts[-1].type == "message_saved"
