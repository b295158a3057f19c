"""An API that is told to go: it says so, answers on for a while, and its readers move on without a loss."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.survival.promises import check_promises
from tests.survival.reader import start
from tests.survival.rolling import Traveller
from tests.survival.scripts import task
from tests.survival.topology import Topology, split

SPEECH = {"text": "A long speech, word by word. " * 30, "token_ms": 20, "chunk_chars": 4}


async def _status(topology: Topology, name: str, path: str) -> tuple[int, str]:
    answer = await topology.http.get(f"{topology.url_of(name)}{path}", timeout=5)
    return answer.status_code, answer.json()["status"]


@pytest.mark.slow
async def test_an_api_that_goes_says_so_answers_on_and_hands_its_readers_over(tmp_path: Path) -> None:
    async with split(tmp_path, apis=2, more={"PERDURE_DRAIN_SECONDS": "3"}) as topology:
        session = await start(topology.http, topology.url, {"content": task([SPEECH, SPEECH])}, "one")
        reader = Traveller(topology.http, topology.url, session["id"])
        reader.urls = (topology.url, topology.url_of("api2"))
        reading = asyncio.create_task(reader.run())
        async with asyncio.timeout(20):
            while "step:start" not in [one.type for one in reader.facts]:
                await asyncio.sleep(0.01)
            topology.parts["api"].signal(signal.SIGTERM)
            while (told := await _status(topology, "api", "/health/ready")) != (503, "leaving"):
                assert told == (200, "ready")
        assert await _status(topology, "api", "/health/live") == (200, "live")
        late = await topology.http.post(f"{topology.url}/api/sessions", json={"content": task([{"text": "Yes."}])})
        assert late.status_code == 202, "what comes before the balancer has noticed is still taken"
        assert reader.connections == 1, "nobody is sent away before the balancer has noticed"
        assert await topology.parts["api"].ended(20) == 0, topology.parts["api"].said()
        with pytest.raises(httpx.ConnectError):
            await topology.http.get(f"{topology.url}/health/live")
        topology.url = topology.url_of("api2")
        async with asyncio.timeout(60):
            await reading
        assert reader.connections == 2
        verdict = await check_promises(topology, reader)
        assert not verdict.broken and verdict.ended == {"endTurn": 1}
        assert verdict.deltas_doubled == verdict.facts_lost == 0


@pytest.mark.slow
async def test_a_reply_that_is_waited_for_when_the_api_goes_is_answered_with_where_it_goes_on(tmp_path: Path) -> None:
    async with split(tmp_path, apis=2) as topology:
        await topology.http.post(f"{topology.url}/api/chat/conversations", json={"id": "conv_a"})
        messages = f"{topology.url}/api/chat/conversations/conv_a/messages"
        body = {"content": task([SPEECH])}
        asked = asyncio.create_task(topology.http.post(messages, json=body, headers={"Idempotency-Key": "k"}))
        async with asyncio.timeout(20):
            while not (await topology.http.get(f"{topology.url}/api/sessions?status=running")).json()["sessions"]:
                await asyncio.sleep(0.05)
        topology.parts["api"].signal(signal.SIGTERM)
        answer = await asked
        assert (answer.status_code, answer.json()["code"]) == (503, "STILL_RUNNING")
        assert int(answer.headers["retry-after"]) > 0
        assert await topology.parts["api"].ended(20) == 0, topology.parts["api"].said()
        again = messages.replace(topology.url, topology.url_of("api2"))
        replied = await topology.http.post(again, json=body, headers={"Idempotency-Key": "k"}, timeout=60)
        assert replied.status_code == 200, replied.text
        assert replied.json()["assistantMessage"]["sessionId"] == answer.json()["sessionId"]
