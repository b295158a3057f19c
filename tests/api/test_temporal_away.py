"""Temporal away (CONTRACT §6, DESIGN §3.1): nothing is lost, the same key goes on, and at its limit a session ends."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client

from api import reconciler
from api import temporal as api_temporal
from cli.embedded import EmbeddedTemporal
from fake_model.serve import Running
from tests.support.asking import AGENTIC, cancel, conversation, follow, following, get, problem, session, start
from tests.support.events import facts, the, types
from tests.support.relay import Relay, relaying
from tests.support.stack import Stack, running_stack
from tests.support.turns import says, script

HELLO = {"content": script(says("Hello."))}


@dataclass
class Divided:
    """A stack whose API reaches Temporal through a relay; its worker has a way of its own."""

    stack: Stack
    relay: Relay

    @property
    def http(self) -> httpx.AsyncClient:
        return self.stack.http


@pytest_asyncio.fixture(loop_scope="session")
async def divided(
    temporal: EmbeddedTemporal, client: Client, fake: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Divided]:
    monkeypatch.setattr(api_temporal, "RPC_TIMEOUT", timedelta(seconds=0.5))
    monkeypatch.setattr(reconciler, "EVERY_SECONDS", 0.2)
    async with relaying(temporal.address) as relay:
        through = await Client.connect(relay.address)
        async with running_stack(through, fake.url, tmp_path, worker_client=client) as started:
            yield Divided(started, relay)


async def stored(http: httpx.AsyncClient) -> list[tuple[str, str]]:
    return [(one["id"], one["status"]) for one in (await get(http, "/api/sessions"))["sessions"]]


async def test_a_start_is_a_503_the_session_stays_created_and_the_same_key_goes_on_with_it(
    divided: Divided, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "YOUNG_MS", 60_000)
    headers = {"Idempotency-Key": "later"}
    path = AGENTIC.format(await conversation(divided.http))
    await divided.relay.cut()
    refused = await divided.http.post(path, json=HELLO, headers=headers)
    told = problem(refused, 503, "TEMPORAL_UNAVAILABLE")
    assert int(refused.headers["retry-after"]) > 0 and "Idempotency-Key" in told["error"]
    [(session_id, status)] = await stored(divided.http)
    assert status == "created"
    again = await divided.http.post(path, json=HELLO, headers=headers)
    problem(again, 503, "TEMPORAL_UNAVAILABLE")
    ready = await divided.http.get("/health/ready")
    assert (ready.status_code, ready.json()["parts"]["temporal"]["state"]) == (503, "away")
    await divided.relay.mend()
    answer = await divided.http.post(path, json=HELLO, headers=headers)
    assert answer.status_code == 200 and answer.headers["x-session-id"] == session_id
    events = await follow(divided.http, session_id)
    assert the(events, "complete")["stopReason"] == "endTurn"
    assert await stored(divided.http) == [(session_id, "completed")]


async def test_the_reconciler_starts_what_was_stored_but_not_started(
    divided: Divided, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "YOUNG_MS", 100)
    await divided.relay.cut()
    problem(await divided.http.post("/api/sessions", json=HELLO), 503, "TEMPORAL_UNAVAILABLE")
    [(session_id, status)] = await stored(divided.http)
    assert status == "created"
    async with following(divided.http, session_id) as waiting:
        await waiting.until("session:start")
        await divided.relay.mend()
        assert the(await waiting.rest(), "complete")["stopReason"] == "endTurn"


async def test_a_session_that_could_not_be_started_fails_after_its_limit_also_while_temporal_is_away(
    divided: Divided, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "GRACE_MS", 300)
    await divided.relay.cut()
    body = HELLO | {"timeoutSeconds": 1}
    problem(await divided.http.post("/api/sessions", json=body), 503, "TEMPORAL_UNAVAILABLE")
    [(session_id, _)] = await stored(divided.http)
    events = await follow(divided.http, session_id)
    assert types(events) == ["user_message", "session:start", "message_saved", "error"]
    assert the(events, "error")["code"] == "TIMEOUT"
    assert (await session(divided.http, session_id))["status"] == "failed"


async def test_a_cancel_that_temporal_did_not_hear_is_kept_and_told_again(
    divided: Divided, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "YOUNG_MS", 0)
    monkeypatch.setattr(reconciler, "SIGNAL_AGAIN_MS", 100)
    quick = {"tools": [{"name": "exec", "input": {"command": "sleep 2"}}]}
    running = await start(divided.http, script(quick, says("never said")))
    async with following(divided.http, running["id"]) as stream:
        await stream.until("tool:call")
        await divided.relay.cut()
        problem(await cancel(divided.http, running["id"], mode="graceful"), 503, "TEMPORAL_UNAVAILABLE")
        await divided.relay.mend()
        events = await stream.rest()
    assert the(events, "session:cancelling")["mode"] == "graceful"
    assert the(events, "error")["code"] == "CANCELLED"


async def test_a_running_session_runs_on_while_the_api_does_not_reach_temporal(divided: Divided) -> None:
    running = await start(divided.http, script({"text": "On and on.", "token_ms": 100, "chunk_chars": 2}))
    async with following(divided.http, running["id"]) as stream:
        await stream.until("content:delta")
        await divided.relay.cut()
        asked_at = time.monotonic()
        told = await session(divided.http, running["id"])
        assert time.monotonic() - asked_at < 5, "the SDK's own tries go on for ten seconds"
        assert (told["status"], told["progress"]) == ("running", None)
        assert types(facts(await stream.rest()))[-1] == "message_saved"
