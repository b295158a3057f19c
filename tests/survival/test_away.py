"""An API that starts while Temporal is away serves what is stored, and starts sessions as soon as it is back (G1)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.survival.promises import check_promises
from tests.survival.reader import Reader, start
from tests.survival.scripts import task
from tests.survival.topology import split

HELLO = {"content": task([{"text": "Hello."}])}


async def test_an_api_that_starts_without_temporal_reads_and_says_503_and_then_goes_on(tmp_path: Path) -> None:
    async with split(tmp_path) as topology:
        before = await start(topology.http, topology.url, HELLO, "before")
        await Reader(topology.http, topology.url, before["id"]).run()
        topology.kill("temporal", "api")
        await topology.restart("api")
        again = Reader(topology.http, topology.url, before["id"])
        async with asyncio.timeout(10):
            await again.run()
        assert again.facts[-1].type == "message_saved"
        refused = await topology.http.post(
            f"{topology.url}/api/sessions", json=HELLO, headers={"Idempotency-Key": "during"}
        )
        assert (refused.status_code, refused.json()["code"]) == (503, "TEMPORAL_UNAVAILABLE")
        await topology.restart("temporal")
        during = await start(topology.http, topology.url, HELLO, "during")
        reader = Reader(topology.http, topology.url, during["id"])
        async with asyncio.timeout(30):
            await reader.run()
        verdict = await check_promises(topology, reader)
        assert not verdict.broken, verdict.broken
        assert topology.parts["api"].starts == 2, "the API ended while Temporal was away"
