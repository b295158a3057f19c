"""Claims about warming: the next session begins with what was picked, says so, and the model sees it (CONTRACT §5)."""

from __future__ import annotations

import json
from pathlib import Path

from fake_model.serve import Running
from tests.support.asking import conversation, play
from tests.support.events import only, the
from tests.support.stack import Stack
from tests.support.turns import calls, completes, says, script

WARM = "/api/memory/warm"


def note(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


async def test_the_next_session_begins_with_the_passages_and_the_model_sees_them_at_every_step(
    stack: Stack, fake: Running
) -> None:
    note(stack.settings.memory_folder, "reactor.md", "# Reactor\n\nThe coolant is called Zephyrine.\n")
    into = await conversation(stack.http)
    body = {"conversationId": into, "query": "coolant of the reactor", "maxResults": 1}
    told = (await stack.http.post(WARM, json=body)).json()
    assert (told["warmed"], told["synced"]) == (True, True) and told["lastSyncAt"]
    (chunk,) = told["chunks"]
    place = {"path": "reactor.md", "startLine": 1, "endLine": 3}
    assert {name: chunk[name] for name in place} == place
    note(stack.settings.memory_folder, "reactor.md", "# Reactor\n\nChanged meanwhile.\n")
    await stack.http.post("/api/memory/sync")
    steps = script(calls(("memory_search", {"query": "reactor"})), completes("Done."), task="Refill the coolant.")
    events = await play(stack.http, steps, conversationId=into)
    assert the(events, "session:start")["memory"] == [place]
    session_id = the(events, "session:start")["sessionId"]
    asked = [record.request["body"] for record in fake.requests if record.session == session_id]
    prompts = [json.dumps(body["system"]) for body in asked]
    assert len(prompts) == 2 and len(set(prompts)) == 1, "the same at every step"
    assert "Zephyrine" in prompts[0] and "reactor.md" in prompts[0] and "1-3" in prompts[0]
    assert "Changed meanwhile" in only(events, "tool:result")[0]["result"]["content"]
    events = await play(stack.http, script(says("And again.")), conversationId=into)
    assert "memory" not in the(events, "session:start")


async def test_secrets_of_a_passage_are_not_sent_to_the_model(stack: Stack, fake: Running) -> None:
    token = "ghp_" + "a1B2c3D4e5F6" * 3
    note(stack.settings.memory_folder, "turnstile.md", f"# Turnstile\n\nIt opens with {token}, on weekdays.\n")
    into = await conversation(stack.http)
    assert (await stack.http.post(WARM, json={"conversationId": into, "query": "turnstile"})).json()["warmed"]
    events = await play(stack.http, script(says("Open.")), conversationId=into)
    session_id = the(events, "session:start")["sessionId"]
    (asked,) = [json.dumps(record.request["body"]) for record in fake.requests if record.session == session_id]
    assert "on weekdays" in asked and token not in asked


async def test_without_a_query_what_the_conversation_is_about_is_looked_for(stack: Stack) -> None:
    note(stack.settings.memory_folder, "astrolabe.md", "The astrolabe hangs in the north tower.")
    into = await conversation(stack.http, title="Polish the astrolabe")
    told = (await stack.http.post(WARM, json={"conversationId": into})).json()
    assert told["warmed"] and told["chunks"][0]["path"] == "astrolabe.md"


async def test_a_memory_session_is_warmed_for_the_next_session_that_names_it(stack: Stack) -> None:
    note(stack.settings.memory_folder, "quokka.md", "The quokka is fed at noon.")
    made = (await stack.http.post("/api/memory/sessions", json={"name": "zoo"})).json()["session"]["id"]
    told = (await stack.http.post(WARM, json={"memorySessionId": made, "query": "quokka"})).json()
    assert told["warmed"]
    events = await play(stack.http, script(says("Fed.")), memorySessionId=made)
    assert the(events, "session:start")["memory"][0]["path"] == "quokka.md"
    counted = (await stack.http.get(f"/api/memory/sessions/{made}")).json()["session"]
    assert counted["conversationIds"] == [the(events, "session:start")["conversationId"]]
    assert counted["messageCount"] == 2 and counted["totalTokens"] == the(events, "complete")["totalTokens"]


async def test_without_a_conversation_passages_are_picked_for_nobody(stack: Stack) -> None:
    note(stack.settings.memory_folder, "wombat.md", "The wombat digs.")
    told = (await stack.http.post(WARM, json={"query": "wombat"})).json()
    assert told["chunks"] and told["warmed"] is False
    assert (await stack.http.post(WARM)).status_code == 200


async def test_while_another_sync_goes_on_passages_are_picked_from_what_is_there(stack: Stack, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("api.memory.WARM_WAITS_SECONDS", 0.1)
    assert await stack.store.memory_sync.take("another")
    told = (await stack.http.post(WARM, json={})).json()
    await stack.store.memory_sync.release("another", done=False)
    assert told["synced"] is False


async def test_what_is_not_there_or_archived_is_told(stack: Stack) -> None:
    for body in ({"conversationId": "conv_none"}, {"memorySessionId": "mem_none"}):
        assert (await stack.http.post(WARM, json={**body, "query": "x"})).status_code == 404
    started = await stack.http.post("/api/sessions", json={"content": "x", "memorySessionId": "mem_none"})
    assert (started.status_code, started.json()["code"]) == (404, "NOT_FOUND")
    made = (await stack.http.post("/api/memory/sessions")).json()["session"]["id"]
    await stack.http.post(f"/api/memory/sessions/{made}/archive")
    for path in (WARM, "/api/sessions"):
        body = {"memorySessionId": made} | ({} if path == WARM else {"content": "x"})
        refused = await stack.http.post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "MEMORY_ARCHIVED")
    for bad in ({"maxResults": 0}, {"query": ""}, {"conversation": "x"}):
        assert (await stack.http.post(WARM, json=bad)).status_code == 422


async def test_a_note_is_written_in_a_session_and_found_in_the_next_conversation(stack: Stack) -> None:
    write = script(calls(("memory_write", {"content": "The heron nests by the weir."})), completes("Done."))
    events = await play(stack.http, write)
    result = only(events, "tool:result")[0]
    assert result["status"] == "success" and "@conversations/" in result["result"]["content"]
    look = script(calls(("memory_search", {"query": "heron"})), completes("Done."))
    events = await play(stack.http, look)
    assert "by the weir" in only(events, "tool:result")[0]["result"]["content"]
