"""Which tools a session runs: `allowedTools`, `securityMode` (CONTRACT §2), and what the model is offered."""

from __future__ import annotations

import httpx
import pytest

from fake_model.serve import Running
from tests.support.asking import follow, get, names_field, play, start
from tests.support.events import the
from tests.support.turns import calls, says, script


@pytest.mark.parametrize(
    ("allowed", "offered"),
    [
        (["read_file"], ["read_file", "complete_task"]),
        (["exec", "grep"], ["grep", "exec", "complete_task"]),
        ([], []),
    ],
)
async def test_the_model_is_offered_the_allowed_tools_and_the_one_that_ends_the_session(
    http: httpx.AsyncClient, fake: Running, allowed: list[str], offered: list[str]
) -> None:
    running = await start(http, script(says("Hello.")), allowedTools=allowed)
    await follow(http, running["id"])
    asked = next(record for record in fake.requests if record.session == running["id"])
    assert asked.request["tools"] == offered


async def test_without_allowed_tools_all_are_offered_as_the_catalog_lists_them(
    http: httpx.AsyncClient, fake: Running
) -> None:
    running = await start(http, script(says("Hello.")))
    await follow(http, running["id"])
    asked = next(record for record in fake.requests if record.session == running["id"]).request["body"]
    listed = (await get(http, "/api/chat/tools"))["tools"]
    offered = [{"name": t["name"], "description": t["description"], "input_schema": t["inputSchema"]} for t in listed]
    for tool in asked["tools"]:
        tool.pop("cache_control", None)
    assert asked["tools"] == offered


async def test_sessions_of_a_conversation_share_a_workspace_and_others_do_not(http: httpx.AsyncClient) -> None:
    write = ("write_file", {"path": "note.txt", "content": "remember"})
    look = script(calls(("read_file", {"path": "note.txt"})))
    first = await start(http, script(calls(write)))
    await follow(http, first["id"])
    same = await play(http, look, conversationId=first["conversationId"])
    assert "remember" in the(same, "tool:result")["result"]["content"]
    assert the(await play(http, look), "tool:result")["status"] == "error"
    await play(http, script(calls(write)), workspace="shared/notes")
    assert the(await play(http, look, workspace="shared/notes"), "tool:result")["status"] == "success"


async def test_a_temperature_is_refused_where_the_model_takes_none_and_the_answer_says_what_to_do(
    http: httpx.AsyncClient,
) -> None:
    refused = await http.post("/api/sessions", json={"content": "x", "temperature": 0.5})
    told = names_field(refused, "temperature")
    assert "claude-sonnet-5-5" in told["error"] and "leave it out" in told["error"]
    body = {"content": "x", "temperature": 1.5, "model": "claude-sonnet-4-6"}
    assert "between 0 and 1" in names_field(await http.post("/api/sessions", json=body), "temperature")["error"]


async def test_a_temperature_reaches_a_model_that_takes_one(http: httpx.AsyncClient, fake: Running) -> None:
    running = await start(http, script(says("Warm.")), model="claude-sonnet-4-6", temperature=0.3)
    assert the(await follow(http, running["id"]), "complete")["stopReason"] == "endTurn"
    asked = next(record for record in fake.requests if record.session == running["id"]).request["body"]
    assert asked["temperature"] == 0.3 and asked["model"] == "claude-sonnet-4-6"


async def test_the_system_prompt_and_the_effort_reach_the_model(http: httpx.AsyncClient, fake: Running) -> None:
    running = await start(http, script(says("Ahoy.")), systemPrompt="Speak like a sailor.", effort="high")
    await follow(http, running["id"])
    asked = next(record for record in fake.requests if record.session == running["id"]).request["body"]
    assert "Speak like a sailor." in asked["system"][1]["text"]
    assert asked["output_config"] == {"effort": "high"}
