"""A new version comes while sessions run: the short runs of `python -m tests.survival.deploy`."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.survival.promises import check_promises
from tests.survival.reader import Reader, start
from tests.survival.rolling import NON_DETERMINISM, Report, rolling_deploy, table
from tests.survival.scripts import LINES, mark, task
from tests.survival.topology import split

LIMIT_SECONDS = 6
"""Of the session that nobody can go on with."""


def _nothing_was_lost(report: Report) -> None:
    print(table(report))
    assert not report.verdict.broken, "\n".join(report.verdict.broken)
    assert report.verdict.ended == {"endTurn": report.started}
    assert report.failed == report.cancelled == report.non_determinism == report.said_non_determinism == 0
    assert report.verdict.recorded_bought_twice == report.verdict.lines_doubled == 0
    assert set(report.exits) == {0}


@pytest.mark.slow
async def test_a_changed_workflow_comes_as_a_version_and_no_session_notices(tmp_path: Path) -> None:
    report = await rolling_deploy(tmp_path, "versioned", every=2.5, around=2.0)
    _nothing_was_lost(report)
    assert report.versions["v1"] > 0 and report.weighed["v1"] == 0, "sessions of v1 stayed with it"
    assert report.weighed["v2"] == report.versions["v2"] > 0, "new ones did what only v2 does"
    assert "Version v1 is drained" in report.promoted


@pytest.mark.slow
async def test_a_compatible_change_comes_without_versions_and_no_session_notices(tmp_path: Path) -> None:
    report = await rolling_deploy(tmp_path, "compatible", every=2.5, around=1.0)
    _nothing_was_lost(report)
    assert report.versions == {"no version": report.started}


@pytest.mark.slow
async def test_a_session_that_the_new_code_cannot_go_on_with_ends_all_the_same_and_the_log_says_why(
    tmp_path: Path,
) -> None:
    """What versions prevent: an incompatible change that took the place of the code that began the session (G1)."""
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
