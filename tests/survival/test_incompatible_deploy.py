"""What versions prevent: a change that running sessions cannot go on with takes the place of their code (G1)."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.survival.promises import check_promises
from tests.survival.reader import Reader, start
from tests.survival.rolling import NON_DETERMINISM
from tests.survival.scripts import LINES, mark, task
from tests.survival.topology import split

LIMIT_SECONDS = 6


@pytest.mark.slow
async def test_a_session_that_the_new_code_cannot_go_on_with_ends_all_the_same_and_the_log_says_why(
    tmp_path: Path,
) -> None:
    async with split(tmp_path) as topology:
        body = {"content": task([{"tools": [mark("one", "1.5")]}, {"text": "Done."}]), "timeoutSeconds": LIMIT_SECONDS}
        began = time.time()
        session = await start(topology.http, topology.url, body, "one")
        reader = Reader(topology.http, topology.url, session["id"])
        reading = asyncio.create_task(reader.run())
        topology.add_worker("worker2", module="tests.survival.next_version", NEXT_VERSION="changed")
        async with asyncio.timeout(LIMIT_SECONDS):
            while not os.access(topology.workspace(session["conversationId"]) / LINES, os.R_OK):
                await asyncio.sleep(0.01)
        topology.kill("worker")
        await topology.restart("worker2")
        async with asyncio.timeout(60):
            await reading
        assert reader.ended_at - began < LIMIT_SECONDS + 15 + 1
        verdict = await check_promises(topology, reader)
        assert not verdict.broken and verdict.ended == {"timeout": 1}
        client = await Client.connect(topology.temporal_address)
        history = await client.get_workflow_handle(session["id"]).fetch_history()
        causes = [event.workflow_task_failed_event_attributes.cause for event in history.events]
        assert NON_DETERMINISM in causes
        assert "ondeterminism" in topology.parts["worker2"].said()
