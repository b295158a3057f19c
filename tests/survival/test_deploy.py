"""A worker that is told to go, or that sleeps and wakes up: the session goes on elsewhere and nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.survival.deltas import heard
from tests.survival.promises import Verdict, check_promises
from tests.survival.reader import Reader, start
from tests.survival.scripts import LINES, mark, task
from tests.survival.topology import Topology, split, whole

ASLEEP_SECONDS = 8.0
"""Longer than the heartbeat timeout, so that another attempt begins meanwhile."""
SPEECH = {"thinking": "Hm. " * 10, "text": "A long speech, word by word. " * 12, "token_ms": 10, "chunk_chars": 4}
LONG_SPEECH = SPEECH | {"text": "A long speech, word by word. " * 40}


async def test_a_worker_that_is_told_to_go_finishes_its_model_call_first(tmp_path: Path) -> None:
    async with split(tmp_path) as topology:
        reader, reading, _ = await _begun(topology, [SPEECH | {"tools": [mark("one", "0.1")]}, SPEECH])
        await _speaking(topology, reader.session_id)
        await _deploy(topology)
        verdict = await _ended(topology, reader, reading)
        assert verdict.ended == {"endTurn": 1}
        assert verdict.cut_and_bought_again == verdict.lost_and_bought_again == 0, "the grace period was not used"


async def test_a_worker_that_is_told_to_go_finishes_its_command_first(tmp_path: Path) -> None:
    async with split(tmp_path) as topology:
        reader, reading, file = await _begun(topology, [{"tools": [mark("one", "2.5")]}, SPEECH])
        await _marked(file)
        await _deploy(topology)
        verdict = await _ended(topology, reader, reading)
        assert verdict.ended == {"endTurn": 1}
        assert verdict.unknown_outcomes == 0, "the grace period was not used"


@pytest.mark.slow
async def test_a_command_that_outlasts_the_grace_period_is_of_unknown_outcome_and_no_cancel(tmp_path: Path) -> None:
    async with split(tmp_path, workers=2) as topology:
        topology.parts["worker2"].kill()
        reader, reading, file = await _begun(topology, [{"tools": [mark("one", "40.5")]}, SPEECH])
        await _marked(file)
        topology.start("worker2")
        topology.parts["worker"].signal(signal.SIGTERM)
        assert await topology.parts["worker"].ended(35) == 0, topology.parts["worker"].said()
        verdict = await _ended(topology, reader, reading)
        assert verdict.ended == {"endTurn": 1}
        assert verdict.unknown_outcomes == 1


async def test_a_worker_that_slept_through_its_model_call_is_not_heard(tmp_path: Path) -> None:
    async with split(tmp_path, workers=2) as topology:
        topology.parts["worker2"].kill()
        reader, reading, _ = await _begun(topology, [LONG_SPEECH | {"tools": [mark("one", "0.1")]}, SPEECH])
        await _speaking(topology, reader.session_id)
        await _slept(topology, "worker2", reader, "step:retry")
        verdict = await _ended(topology, reader, reading)
        assert verdict.ended == {"endTurn": 1}
        attempts = [one.data["attempt"] for one in reader.facts if one.type == "step:retry"]
        assert len(attempts) == 1 and attempts[0] >= 2, "one may have been given to the sleeper, who never began it"


async def test_a_worker_that_slept_through_its_command_is_not_heard(tmp_path: Path) -> None:
    async with split(tmp_path, workers=2) as topology:
        topology.parts["worker2"].kill()
        reader, reading, file = await _begun(topology, [{"tools": [mark("one", "7.5")]}, SPEECH])
        await _marked(file)
        await _slept(topology, "worker2", reader, "tool:result")
        verdict = await _ended(topology, reader, reading)
        assert verdict.ended == {"endTurn": 1}
        assert verdict.unknown_outcomes == 1


async def test_a_service_that_slept_tells_the_fragments_of_one_attempt_only(tmp_path: Path) -> None:
    async with whole(tmp_path) as topology:
        reader, reading, _ = await _begun(topology, [LONG_SPEECH | {"tools": [mark("one", "0.1")]}, SPEECH])
        await _speaking(topology, reader.session_id)
        topology.parts["serve"].signal(signal.SIGSTOP)
        await asyncio.sleep(ASLEEP_SECONDS)
        topology.parts["serve"].signal(signal.SIGCONT)
        verdict = await _ended(topology, reader, reading)
        assert verdict.ended == {"endTurn": 1}
        assert not heard(reader).wrong and not heard(reader).late


async def _begun(topology: Topology, turns: list[dict[str, Any]]) -> tuple[Reader, asyncio.Task[None], Path]:
    session = await start(topology.http, topology.url, {"content": task(turns)}, "one")
    reader = Reader(topology.http, topology.url, session["id"])
    reading = asyncio.create_task(reader.run())
    return reader, reading, topology.workspace(session["conversationId"]) / LINES


async def _speaking(topology: Topology, session_id: str) -> None:
    """The model's reply is on its way."""
    async with asyncio.timeout(10):
        while not [one for one in await topology.bought(session_id) if one["outcome"] is None]:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)


async def _marked(file: Path) -> None:
    """The command runs and has left its mark."""
    async with asyncio.timeout(10):
        while not os.access(file, os.R_OK):
            await asyncio.sleep(0.01)


async def _deploy(topology: Topology) -> None:
    """SIGTERM, wait for the end in good order, start the next one."""
    worker = topology.parts["worker"]
    worker.signal(signal.SIGTERM)
    assert await worker.ended(25) == 0, worker.said()
    assert "nobody caught this" not in worker.said(), "it did not leave in good order"
    await topology.restart("worker")


async def _slept(topology: Topology, other: str, reader: Reader, taken_over: str) -> None:
    """The worker sleeps, another one starts and takes over, as a fact of this type tells, and the first wakes up."""
    topology.parts["worker"].signal(signal.SIGSTOP)
    topology.start(other)
    await asyncio.sleep(ASLEEP_SECONDS)
    async with asyncio.timeout(30):
        while not [one for one in reader.facts if one.type == taken_over]:
            await asyncio.sleep(0.05)
    topology.parts["worker"].signal(signal.SIGCONT)


async def _ended(topology: Topology, reader: Reader, reading: asyncio.Task[None]) -> Verdict:
    async with asyncio.timeout(60):
        await reading
    verdict = await check_promises(topology, reader)
    assert not verdict.broken, verdict.broken
    return verdict
