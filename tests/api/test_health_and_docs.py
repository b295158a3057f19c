"""Health, metrics, the published description, and failures of our own (CONTRACT §6)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import text
from temporalio.client import Client

from fake_model.serve import Running
from session.events import EVENTS
from tests.support.asking import following, get, play, problem, start
from tests.support.events import types
from tests.support.stack import Stack, http_client, running_stack
from tests.support.turns import says, script, slowly


async def test_a_service_that_works_is_live_and_ready_and_says_so_for_every_part(http: httpx.AsyncClient) -> None:
    assert await get(http, "/health/live") == {"status": "live"}
    told = await get(http, "/health/ready")
    assert told["status"] == "ready"
    assert told["parts"] == {name: {"state": "up"} for name in ("store", "temporal", "bus", "worker")}


async def test_without_a_worker_it_is_not_ready(client: Client, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("idle")
    async with running_stack(client, "http://127.0.0.1:9", folder, has_worker=False) as idle:
        answer = await idle.http.get("/health/ready")
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
        assert answer.json()["parts"]["worker"] == {"state": "away"}
        assert answer.json()["parts"]["store"] == {"state": "up"}
        assert (await idle.http.get("/health/live")).status_code == 200


async def test_metrics_count_sessions_by_status_and_readers(http: httpx.AsyncClient) -> None:
    await play(http, script(says("Yes.")))
    running = await start(http, script(slowly(0.5, pieces=10)))
    async with following(http, running["id"]) as stream:
        await stream.until("content:delta")
        answer = await http.get("/metrics")
        await stream.rest()
    assert answer.headers["content-type"].startswith("text/plain")
    told = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert float(told['perdure_sessions{status="completed"}']) >= 1
    assert float(told['perdure_sessions{status="running"}']) >= 1
    assert float(told["perdure_stream_readers"]) >= 1


async def described(http: httpx.AsyncClient) -> dict[str, Any]:
    return await get(http, "/openapi.json")


async def test_the_description_names_every_call_with_its_errors_in_their_real_shape(http: httpx.AsyncClient) -> None:
    told = await described(http)
    assert (await http.get("/docs")).status_code == 200
    assert {path for path in told["paths"] if path.startswith("/api")} == {
        "/api/sessions",
        "/api/sessions/{session_id}",
        "/api/sessions/{session_id}/events",
        "/api/sessions/{session_id}/cancel",
        "/api/sessions/{session_id}/messages",
        "/api/sessions/{session_id}/retry",
        "/api/sessions/{session_id}/transcript",
        "/api/chat/conversations",
        "/api/chat/conversations/{conversation_id}",
        "/api/chat/conversations/{conversation_id}/export",
        "/api/chat/conversations/{conversation_id}/messages",
        "/api/chat/conversations/{conversation_id}/messages/agentic",
        "/api/chat/conversations/{conversation_id}/messages/with-tools",
        "/api/chat/tools/approve",
        "/api/approvals",
        "/api/approvals/{approval_id}",
        "/api/sessions/{session_id}/approvals/{approval_id}",
        "/api/sessions/{session_id}/audit",
        "/api/audit",
        "/api/chat/models",
        "/api/chat/tools",
        "/api/memory/sessions",
        "/api/memory/sessions/{memory_session_id}",
        "/api/memory/sessions/{memory_session_id}/archive",
        "/api/memory/warm",
        "/api/memory/search",
        "/api/memory/sync",
        "/api/memory/stats",
        "/api/memory/files",
    }
    for path, calls in told["paths"].items():
        for method, call in calls.items():
            if path.startswith("/api"):
                assert call["summary"] and call["description"], (method, path)
                for status in ("400", "401", "403", "404", "409", "413", "415", "422", "503"):
                    schema = call["responses"][status]["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ProblemAnswer"}, (method, path, status)
    assert "HTTPValidationError" not in told["components"]["schemas"]


async def test_the_description_speaks_the_wire_s_names_and_every_event(http: httpx.AsyncClient) -> None:
    told = await described(http)
    schemas = told["components"]["schemas"]
    start_fields = schemas["StartBody"]["properties"]
    assert {"content", "maxSteps", "maxBudget", "showThinking", "conversationId", "timeoutSeconds"} <= set(start_fields)
    assert schemas["StartBody"]["additionalProperties"] is False
    assert {"conversationId", "stopReason", "createdAt"} <= set(schemas["Session"]["properties"])
    assert set(schemas["Event"]["discriminator"]["mapping"]) == set(EVENTS)
    for kind, reference in schemas["Event"]["discriminator"]["mapping"].items():
        schema = schemas[reference.rsplit("/", 1)[1]]
        assert schema["properties"]["type"] == {"const": kind}
        assert "_" not in "".join(schema["properties"]["data"]["properties"]), kind
    stream = told["paths"]["/api/sessions/{session_id}/events"]["get"]["responses"]
    assert set(stream["200"]["content"]) == {"text/event-stream", "application/json"} and "204" in stream
    agentic = told["paths"]["/api/chat/conversations/{conversation_id}/messages/agentic"]["post"]["responses"]
    assert set(agentic["200"]["content"]) == {"text/event-stream"}


async def test_the_root_says_where_things_are(http: httpx.AsyncClient) -> None:
    assert (await get(http, "/"))["docs"] == "/docs"


async def broken(stack: Stack) -> None:
    """Take the store's tables away: what no code of ours foresees."""
    async with stack.store.database.write() as connection:
        await connection.execute(text("PRAGMA foreign_keys=OFF"))
        await connection.execute(text("ALTER TABLE sessions RENAME TO lost"))


async def test_a_store_that_is_away_is_a_503_that_can_be_tried_again_and_ends_streams_cleanly(
    client: Client, fake: Running, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with running_stack(client, fake.url, tmp_path_factory.mktemp("away"), has_worker=False) as one:
        waiting = await start(one.http, "Wait.")
        async with following(one.http, waiting["id"]) as stream:
            await stream.until("session:start")
            await broken(one)
            one.parts.feeds._feeds[waiting["id"]]._hear([], True)
            assert types(await stream.rest()) == ["user_message", "session:start"], "no frame is cut in the middle"
        for answer in (
            await one.http.post("/api/sessions", json={"content": "x"}),
            await one.http.get(f"/api/sessions/{waiting['id']}"),
            await one.http.get("/api/sessions"),
            await one.http.get(f"/api/sessions/{waiting['id']}/events"),
        ):
            problem(answer, 503, "STORE_UNAVAILABLE")
            assert int(answer.headers["retry-after"]) > 0 and "sessions" not in answer.json()["error"]


async def test_a_failure_of_our_own_is_a_500_without_a_trace(
    client: Client, fake: Running, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_stack(client, fake.url, tmp_path_factory.mktemp("bad"), has_worker=False) as one:
        answer = await one.http.post("/api/chat/conversations", json={})
        conversation_id = answer.json()["conversation"]["id"]
        async with one.store.database.write() as connection:
            await connection.execute(text("UPDATE conversations SET metadata = 'secret, and no JSON'"))
        async with http_client(one.url) as http:
            told = problem(await http.get(f"/api/chat/conversations/{conversation_id}"), 500, "INTERNAL")
        assert "secret" not in str(told) and set(told) == {"error", "code"}
