"""Claims about `/api/memory` (CONTRACT §5)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from activities.memory import Embedder
from fake_model.embeddings import serving
from settings import Settings
from tests.support.asking import play
from tests.support.events import the
from tests.support.stack import Stack
from tests.support.turns import says, script

MEMORY = "/api/memory"


async def made(http: httpx.AsyncClient, **said: Any) -> dict[str, Any]:
    answer = await http.post(f"{MEMORY}/sessions", json=said)
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()["session"]
    assert answer.headers["Location"] == f"{MEMORY}/sessions/{session['id']}"
    return session


async def test_a_memory_session_is_made_read_listed_and_archived(http: httpx.AsyncClient) -> None:
    events = await play(http, script(says("Yes.")))
    conversation = the(events, "session:start")["conversationId"]
    session = await made(http, name="work", conversationId=conversation, userId="ann")
    assert session["messageCount"] == 2 and session["totalTokens"] == the(events, "complete")["totalTokens"] > 0
    assert session["cost"] == pytest.approx(the(events, "complete")["cost"])
    other = await made(http)
    assert (await http.get(f"{MEMORY}/sessions/{session['id']}")).json()["session"] == session
    page = (await http.get(f"{MEMORY}/sessions", params={"limit": 1})).json()
    assert [one["id"] for one in page["sessions"]] == [other["id"]]
    page = (await http.get(f"{MEMORY}/sessions", params={"limit": 1, "cursor": page["nextCursor"]})).json()
    assert [one["id"] for one in page["sessions"]] == [session["id"]]
    archived = (await http.post(f"{MEMORY}/sessions/{other['id']}/archive")).json()["session"]
    assert archived["status"] == "archived" and archived["archivedAt"]
    listed = (await http.get(f"{MEMORY}/sessions", params={"status": "archived"})).json()["sessions"]
    assert listed[0]["id"] == other["id"] and session["id"] not in [one["id"] for one in listed]


async def test_the_same_key_makes_one_memory_session(http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "memory-once"}
    first, second = [(await http.post(f"{MEMORY}/sessions", json={"name": "a"}, headers=key)).json() for _ in range(2)]
    assert first == second
    refused = await http.post(f"{MEMORY}/sessions", json={"name": "b"}, headers=key)
    assert (refused.status_code, refused.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_files_are_brought_in_found_and_listed(stack: Stack) -> None:
    folder = stack.settings.memory_folder
    (folder / "ops").mkdir(parents=True)
    (folder / "ops" / "turbines.md").write_text("# Turbines\n\nThe spare gasket is in locker 7.\n")
    (folder / "server.pem.txt").write_bytes(b"\x00")
    told = (await stack.http.post(f"{MEMORY}/sync")).json()
    assert (told["added"], told["removed"], told["skippedCount"]) == (1, 0, 1)
    assert told["skipped"] == [{"path": "server.pem.txt", "reason": "binary"}] and told["lastSyncAt"]
    again = (await stack.http.post(f"{MEMORY}/sync", json={})).json()
    assert (again["added"], again["unchanged"]) == (0, 1)
    found = (await stack.http.post(f"{MEMORY}/search", json={"query": "Where is the spare gasket?"})).json()
    assert (found["query"], found["method"], found["totalCandidates"]) == (
        "Where is the spare gasket?",
        "fullText",
        1,
    )
    (chunk,) = found["chunks"]
    assert set(chunk) == {"id", "path", "startLine", "endLine", "text", "score"}
    assert (chunk["path"], chunk["startLine"], chunk["endLine"]) == ("ops/turbines.md", 1, 3)
    assert "locker 7" in chunk["text"] and 0 < chunk["score"] <= 1
    body = {"query": "spare gasket", "minScore": 1}
    assert (await stack.http.post(f"{MEMORY}/search", json=body)).json()["chunks"] == []
    stats = (await stack.http.get(f"{MEMORY}/stats")).json()
    assert stats["sources"]["file"] >= 1 and stats["lastSyncAt"] == again["lastSyncAt"]
    files = (await stack.http.get(f"{MEMORY}/files", params={"limit": 100})).json()["files"]
    (file,) = [one for one in files if one["path"] == "ops/turbines.md"]
    assert (file["source"], file["lines"], file["chunks"]) == ("file", 3, 1)


async def test_with_an_embedding_endpoint_vectors_take_part(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        monkeypatch.setenv("PERDURE_EMBEDDINGS_URL", server.url)
        monkeypatch.setenv("PERDURE_EMBEDDINGS_MODEL", "hashed")
        monkeypatch.setenv("PERDURE_EMBEDDINGS_KEY", server.key)
        policy = Settings(data_dir=stack.settings.data_dir).embedding_policy
        assert policy is not None
        embedder = Embedder(policy)
        monkeypatch.setattr(stack.parts.recall, "embedder", embedder)
        stack.settings.memory_folder.mkdir(exist_ok=True)
        (stack.settings.memory_folder / "otter.md").write_text("The otter sleeps by day.")
        told = (await stack.http.post(f"{MEMORY}/sync")).json()
        assert told["embedded"] >= 1 and (told["unembedded"], told["embeddingError"]) == (0, None)
        stats = (await stack.http.get(f"{MEMORY}/stats")).json()
        assert stats["embeddingModel"] == "hashed" and stats["embeddedChunks"] == stats["chunks"]
        found = (await stack.http.post(f"{MEMORY}/search", json={"query": "otter"})).json()
        assert found["method"] == "hybrid" and found["chunks"][0]["path"] == "otter.md"
        await embedder.close()


async def test_what_a_session_came_to_is_remembered(http: httpx.AsyncClient) -> None:
    events = await play(http, script(says("The lighthouse keeper is called Ottokar.")))
    found = (await http.post(f"{MEMORY}/search", json={"query": "lighthouse keeper"})).json()
    assert found["chunks"][0]["path"] == f"@sessions/{the(events, 'session:start')['sessionId']}.md"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("search", {}, "query"),
        ("search", {"query": ""}, "query"),
        ("search", {"query": "x" * 10_001}, "query"),
        ("search", {"query": "x", "maxResults": 0}, "maxResults"),
        ("search", {"query": "x", "maxResults": 51}, "maxResults"),
        ("search", {"query": "x", "minScore": 1.5}, "minScore"),
        ("search", {"query": "x", "max_results": 5}, "max_results"),
        ("search", {"query": "x", "limit": 5}, "limit"),
        ("sync", {"force": True}, "force"),
        ("sessions", {"name": 5}, "name"),
        ("sessions", {"conversationId": "a b"}, "conversationId"),
        ("sessions", {"userId": ""}, "userId"),
        ("sessions", {"title": "x"}, "title"),
    ],
)
async def test_what_cannot_be_taken_is_named(http: httpx.AsyncClient, path: str, body: Any, field: str) -> None:
    refused = await http.post(f"{MEMORY}/{path}", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID"), refused.text
    assert refused.json()["details"][0]["field"] == field


async def test_what_is_not_there_is_404_and_bad_cursors_are_400(http: httpx.AsyncClient) -> None:
    for method, path in (("GET", "sessions/mem_none"), ("POST", "sessions/mem_none/archive")):
        missing = await http.request(method, f"{MEMORY}/{path}")
        assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")
    missing = await http.post(f"{MEMORY}/sessions", json={"conversationId": "conv_none"})
    assert missing.status_code == 404
    for path in ("sessions", "files"):
        assert (await http.get(f"{MEMORY}/{path}", params={"cursor": "x"})).status_code == 400
        assert (await http.get(f"{MEMORY}/{path}", params={"limit": 0})).status_code == 422
    assert (await http.get(f"{MEMORY}/sessions", params={"status": "lost"})).status_code == 422
