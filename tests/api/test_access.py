"""Who may call (CONTRACT §6): keys, names, loopback, and the origin of a browser's requests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client

from api.access import COOKIE
from fake_model.serve import Running
from tests.support.asking import follow, get, problem
from tests.support.events import the, types
from tests.support.stack import Stack, http_client, running_stack
from tests.support.turns import says, script, slowly

ALICE = {"Authorization": "Bearer alice-key"}
HELLO = {"content": script(says("Hello."))}
CLOSED = ["/api/sessions", "/api/chat/conversations", "/api/chat/models", "/api/chat/tools", "/metrics"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def locked(client: Client, fake: Running, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("locked")
    async with running_stack(client, fake.url, folder, api_keys="alice:alice-key,bare-key") as started:
        yield started


@pytest.mark.parametrize("path", CLOSED)
async def test_without_a_key_or_with_an_unknown_one_it_is_a_401(locked: Stack, path: str) -> None:
    missing = await locked.http.get(path)
    problem(missing, 401, "UNAUTHORIZED")
    assert missing.headers["www-authenticate"] == "Bearer"
    for bad in ("Bearer wrong", "Bearer alice-key2", "Bearer alice-ke", "Bearer älice-key", "Bearer x" + "y" * 5000):
        wrong = await locked.http.get(path, headers={b"Authorization": bad.encode("latin-1")})
        problem(wrong, 401, "UNAUTHORIZED")
        assert wrong.headers["www-authenticate"].startswith("Bearer")
    for none in ("Basic YWxpY2U6YQ==", "Bearer", "Bearer ", "alice-key", ""):
        problem(await locked.http.get(path, headers={"Authorization": none.strip()}), 401, "UNAUTHORIZED")
    problem(await locked.http.get(path, headers={"Cookie": f"{COOKIE}=wrong"}), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("path", CLOSED)
async def test_a_key_opens_as_bearer_token_and_as_cookie(locked: Stack, path: str) -> None:
    for headers in (ALICE, {"authorization": "bearer bare-key"}, {"Cookie": f"{COOKIE}=alice-key"}):
        assert (await locked.http.get(path, headers=headers)).status_code == 200


async def test_every_call_that_starts_or_changes_something_needs_a_key(locked: Stack) -> None:
    for method, path in (
        ("POST", "/api/sessions"),
        ("POST", "/api/sessions/s/cancel"),
        ("POST", "/api/sessions/s/retry"),
        ("GET", "/api/sessions/s/events"),
        ("GET", "/api/sessions/s/transcript"),
        ("POST", "/api/chat/conversations"),
        ("DELETE", "/api/chat/conversations/c"),
        ("PATCH", "/api/chat/conversations/c"),
        ("GET", "/api/chat/conversations/c/export"),
        ("POST", "/api/chat/conversations/c/messages"),
        ("POST", "/api/chat/conversations/c/messages/agentic"),
    ):
        problem(await locked.http.request(method, path, json=HELLO), 401, "UNAUTHORIZED")


async def test_health_is_open_to_those_who_ask_for_it(locked: Stack) -> None:
    assert (await locked.http.get("/health/live")).status_code == 200
    assert (await locked.http.get("/health/ready")).status_code == 200


async def test_whoever_cancels_is_named_by_the_name_of_the_key(locked: Stack) -> None:
    async with http_client(locked.url, headers=ALICE) as alice:
        answer = await alice.post("/api/sessions", json={"content": script(slowly())})
        session_id = answer.json()["session"]["id"]
        await locked.http.post(f"/api/sessions/{session_id}/cancel", headers={"Cookie": f"{COOKIE}=alice-key"})
        events = await follow(alice, session_id)
    assert the(events, "session:cancelling")["by"] == "alice"
    assert types(events)[-1] == "error"
    assert "alice-key" not in str([event.data for event in events])


async def test_keys_of_two_bearers_do_not_share_idempotency_keys(locked: Stack) -> None:
    told = set()
    for key in ("alice-key", "bare-key"):
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "same"}
        answer = await locked.http.post("/api/sessions", json=HELLO, headers=headers)
        told.add(answer.json()["session"]["id"])
    assert len(told) == 2


async def test_with_keys_any_host_name_may_be_used(locked: Stack) -> None:
    assert (await locked.http.get("/api/sessions", headers={**ALICE, "Host": "perdure.example"})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:1", "[", "", "a b"])
async def test_without_keys_only_loopback_names_are_answered(http: httpx.AsyncClient, host: str) -> None:
    problem(await http.get("/api/sessions", headers={"Host": host}), 403, "HOST_NOT_ALLOWED")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3000", "127.0.0.1:80", "[::1]:3000"])
async def test_without_keys_every_loopback_name_will_do(http: httpx.AsyncClient, host: str) -> None:
    assert (await http.get("/api/sessions", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[", "x"])
async def test_a_page_of_another_origin_may_change_nothing(stack: Stack, locked: Stack, origin: str) -> None:
    headers = {"Origin": origin}
    for one, more in ((stack, headers), (locked, headers | {"Cookie": f"{COOKIE}=alice-key"})):
        problem(await one.http.post("/api/sessions", json=HELLO, headers=more), 403, "FOREIGN_ORIGIN")
        problem(await one.http.delete("/api/chat/conversations/conv_1", headers=more), 403, "FOREIGN_ORIGIN")
    assert "access-control-allow-origin" not in (await stack.http.get("/api/sessions", headers=headers)).headers


async def test_a_page_of_the_server_s_own_origin_may_start_sessions(stack: Stack) -> None:
    answer = await stack.http.post("/api/sessions", json=HELLO, headers={"Origin": stack.url})
    assert answer.status_code == 202
    assert (await get(stack.http, f"/api/sessions/{answer.json()['session']['id']}"))["session"]["goal"]
