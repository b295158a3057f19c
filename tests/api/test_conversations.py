"""Conversations, their messages and the catalogs (CONTRACT §4)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from fake_model.serve import Running
from session.prices import KNOWN_MODELS
from tests.support.asking import Json, cancel, conversation, follow, get, names_field, play, problem, session, start
from tests.support.events import the
from tests.support.stack import Stack
from tests.support.turns import calls, completes, says, script, slowly

CHAT = "/api/chat/conversations"


async def test_a_client_may_choose_the_id_of_a_conversation_and_a_taken_one_is_a_409(http: httpx.AsyncClient) -> None:
    body = {"id": "conv_01", "title": "Mine", "presetId": "p1", "metadata": {"a": [1, None]}}
    made = await http.post(CHAT, json=body)
    assert made.status_code == 201 and made.headers["location"] == f"{CHAT}/conv_01"
    told = made.json()["conversation"]
    assert {name: told[name] for name in body} == body
    assert set(told) == {*body, "createdAt", "updatedAt"}
    problem(await http.post(CHAT, json={"id": "conv_01"}), 409, "CONVERSATION_EXISTS")
    assert (await get(http, f"{CHAT}/conv_01"))["conversation"] == told


async def test_a_conversation_needs_nothing_at_all(http: httpx.AsyncClient) -> None:
    for answer in (await http.post(CHAT), await http.post(CHAT, json={})):
        told = answer.json()["conversation"]
        assert answer.status_code == 201 and told["id"].startswith("conv_")
        assert (told["title"], told["presetId"], told["metadata"]) == (None, None, {})


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        *[("id", bad) for bad in ("", "a/b", "../x", "a b", "-x", "é", "i" * 129, 5)],
        *[("title", bad) for bad in (5, "t" * 501, "t\x00")],
        *[("presetId", bad) for bad in (5, "p" * 129)],
        *[("metadata", bad) for bad in ("x", {str(n): n for n in range(17)})],
        ("preset_id", "x"),
        ("nonsense", 1),
    ],
)
async def test_a_field_out_of_its_bounds_is_a_422_that_names_it(http: httpx.AsyncClient, field: str, bad: Any) -> None:
    names_field(await http.post(CHAT, json={field: bad}), field)


async def test_lists_are_newest_first_found_by_words_and_paged(http: httpx.AsyncClient) -> None:
    made = [await conversation(http, title=title) for title in ("Pear 50%", "Plum", "Peach_x")]
    said = await start(http, script(says("The quince is ripe.")), conversationId=made[1])
    await follow(http, said["id"])

    async def ids(**filters: Any) -> list[str]:
        return [one["id"] for one in (await get(http, CHAT, **filters))["conversations"]]

    assert (await ids())[:3] == [*reversed(made)]
    assert await ids(q="50%") == [made[0]] and await ids(q="PEACH_") == [made[2]]
    assert await ids(q="quince is") == [made[1]]
    assert await ids(q="no such words") == []
    first = await get(http, CHAT, limit=2)
    assert [one["id"] for one in first["conversations"]] == [made[2], made[1]]
    second = await get(http, CHAT, limit=2, cursor=first["nextCursor"])
    assert second["conversations"][0]["id"] == made[0]
    for bad in ("0", "101", "x"):
        names_field(await http.get(CHAT, params={"limit": bad}), "limit")


async def test_an_untitled_conversation_takes_its_first_message_s_first_50_characters(http: httpx.AsyncClient) -> None:
    task = "ä" * 60
    untitled, titled = await conversation(http), await conversation(http, title="Kept")
    for one in (untitled, titled):
        for content in (script(says("Yes."), task=task), script(says("Yes."), task="Second")):
            await follow(http, (await start(http, content, conversationId=one))["id"])
    assert (await get(http, f"{CHAT}/{untitled}"))["conversation"]["title"] == "ä" * 50
    assert (await get(http, f"{CHAT}/{titled}"))["conversation"]["title"] == "Kept"


async def test_a_conversation_shows_its_messages_with_tool_calls_and_the_session_that_runs(
    http: httpx.AsyncClient,
) -> None:
    content = script(calls(("exec", {"command": "echo hi"}), ("read_file", {"path": "none"})), completes("Done."))
    done = await start(http, content)
    await follow(http, done["id"])
    path = f"{CHAT}/{done['conversationId']}"
    told = await get(http, path)
    assert (
        set(told) == {"conversation", "messages", "activeSessionId", "usage", "cost"}
        and told["activeSessionId"] is None
    )
    user, assistant = told["messages"]
    assert (user["role"], user["content"], user["toolCalls"], user["usage"]) == ("user", content, [], None)
    ended = await session(http, done["id"])
    assert (assistant["content"], assistant["sessionId"]) == ("Done.", done["id"])
    assert (assistant["model"], assistant["provider"]) == ("claude-sonnet-5-5", "anthropic")
    assert assistant["usage"] == ended["usage"] and assistant["cost"] == ended["cost"]
    shown = [(call["name"], call["status"], call["step"]) for call in assistant["toolCalls"]]
    assert shown == [("exec", "success", 1), ("read_file", "error", 1), ("complete_task", "success", 2)]
    assert set(assistant["toolCalls"][0]) == {"id", "name", "arguments", "result", "status", "durationMs", "step"}
    running = await start(http, script(slowly()), conversationId=done["conversationId"])
    assert (await get(http, path))["activeSessionId"] == running["id"]
    await cancel(http, running["id"])


async def test_title_and_metadata_can_be_changed_and_what_is_not_named_stays(http: httpx.AsyncClient) -> None:
    path = f"{CHAT}/{await conversation(http, title='Old', metadata={'a': 1})}"
    changed = (await http.patch(path, json={"title": "New"})).json()["conversation"]
    assert (changed["title"], changed["metadata"]) == ("New", {"a": 1})
    changed = (await http.patch(path, json={"metadata": {"b": 2}})).json()["conversation"]
    assert (changed["title"], changed["metadata"]) == ("New", {"b": 2})
    changed = (await http.patch(path, json={"title": None, "metadata": None})).json()["conversation"]
    assert (changed["title"], changed["metadata"]) == (None, {})
    assert changed["updatedAt"] >= changed["createdAt"]
    for bad in ({"id": "x"}, {"title": 5}, {"presetId": "p"}):
        names_field(await http.patch(path, json=bad), next(iter(bad)))
    problem(await http.patch(f"{CHAT}/conv_none", json={"title": "x"}), 404, "NOT_FOUND")


async def test_a_conversation_is_deleted_with_everything_but_not_while_a_session_runs(http: httpx.AsyncClient) -> None:
    running = await start(http, script(slowly()))
    path = f"{CHAT}/{running['conversationId']}"
    assert problem(await http.delete(path), 409, "SESSION_ACTIVE")["sessionId"] == running["id"]
    await cancel(http, running["id"])
    await follow(http, running["id"])
    answer = await http.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    for gone in (path, f"{path}/export", f"/api/sessions/{running['id']}", f"/api/sessions/{running['id']}/events"):
        problem(await http.get(gone), 404, "NOT_FOUND")
    problem(await http.delete(path), 404, "NOT_FOUND")


async def test_an_export_is_the_whole_conversation_as_one_document(http: httpx.AsyncClient) -> None:
    first = await start(http, script(says("One.")))
    await follow(http, first["id"])
    second = await start(http, script(says("Two.")), conversationId=first["conversationId"])
    await follow(http, second["id"])
    answer = await http.get(f"{CHAT}/{first['conversationId']}/export")
    assert f'filename="{first["conversationId"]}.json"' in answer.headers["content-disposition"]
    told = answer.json()
    assert [message["content"] for message in told["messages"]][1::2] == ["One.", "Two."]
    assert {one["id"] for one in told["sessions"]} == {first["id"], second["id"]}
    assert told["conversation"]["id"] == first["conversationId"] and told["exportedAt"].endswith("Z")


async def test_a_later_session_sees_what_was_said_before_and_the_last_reply_to_each_message(
    http: httpx.AsyncClient, fake: Running
) -> None:
    first = await start(http, script(says("My name is Ada."), task="First"))
    await follow(http, first["id"])
    retried = (await http.post(f"/api/sessions/{first['id']}/retry")).json()["session"]
    await follow(http, retried["id"])
    second = script(says("You are Ada."), task="Second")
    await follow(http, (await start(http, second, conversationId=first["conversationId"]))["id"])
    asked = fake.requests[-1].request["body"]["messages"]
    said = [(message["role"], "".join(block["text"] for block in message["content"])) for message in asked]
    assert [role for role, _ in said] == ["user", "assistant", "user"]
    assert said[1] == ("assistant", "My name is Ada.") and said[2] == ("user", second)


async def test_models_and_tools_are_listed(http: httpx.AsyncClient) -> None:
    models = (await get(http, "/api/chat/models"))["models"]
    assert [model["id"] for model in models if model["default"]] == ["claude-sonnet-5-5"]
    assert {model["id"] for model in models} == set(KNOWN_MODELS) and models[0]["default"]
    assert all(model["provider"] == "anthropic" and model["maxOutputTokens"] > 0 for model in models)
    takes = {model["id"] for model in models if model["takesTemperature"]}
    assert "claude-sonnet-4-6" in takes and "claude-sonnet-5-5" not in takes
    tools = {tool["name"]: tool for tool in (await get(http, "/api/chat/tools"))["tools"]}
    assert {"read_file", "write_file", "edit_file", "search_files", "grep", "directory_tree", "exec"} <= set(tools)
    for tool in tools.values():
        assert set(tool) == {"name", "description", "inputSchema", "securityLevel", "effect"}
        assert tool["inputSchema"]["type"] == "object" and tool["description"]
    assert tools["exec"]["effect"] == "sideEffect" and tools["read_file"]["effect"] == "readOnly"


async def reply(http: httpx.AsyncClient, where: str, body: Json, key: str = "") -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await http.post(f"{CHAT}/{where}/messages", json=body, headers=headers)


async def test_a_message_gets_one_reply_without_tools(http: httpx.AsyncClient, fake: Running) -> None:
    where = await conversation(http)
    told = (await reply(http, where, {"content": script(says("Just words."))})).json()
    assert set(told) == {"userMessage", "assistantMessage", "usage"}
    assert (told["userMessage"]["role"], told["assistantMessage"]["content"]) == ("user", "Just words.")
    assert told["usage"] == told["assistantMessage"]["usage"] and told["usage"]["totalTokens"] > 0
    assert "tools" not in fake.requests[-1].request["body"]
    whole = await get(http, f"{CHAT}/{where}")
    assert whole["messages"] == [told["userMessage"], told["assistantMessage"]]


async def test_a_single_reply_is_bought_once_per_key(stack: Stack, fake: Running) -> None:
    where = await conversation(stack.http)
    body = {"content": script({"text": "Once.", "token_ms": 20})}
    answers = await asyncio.gather(*(reply(stack.http, where, body, "single") for _ in range(5)))
    assert {answer.text for answer in answers} == {answers[0].text}
    session_id = answers[0].json()["assistantMessage"]["sessionId"]
    assert fake.bought()[session_id] == {0: 1}
    problem(await reply(stack.http, where, {"content": "Other"}, "single"), 422, "IDEMPOTENCY_KEY_REUSED")


async def test_a_single_reply_that_fails_says_why_and_the_conversation_goes_on(http: httpx.AsyncClient) -> None:
    where = await conversation(http)
    bad = {"text": "x", "faults": [{"kind": "status", "code": 400, "message": "not like this"}]}
    failed = await reply(http, where, {"content": script(bad)})
    assert "not like this" in problem(failed, 502, "PROVIDER_ERROR")["error"]
    names_field(await reply(http, where, {"content": "x", "temperature": 0.5}), "temperature")
    for field in ("tools", "securityMode", "maxSteps"):
        names_field(await reply(http, where, {"content": "x", field: 1}), field)
    warm = {"content": script(says("Warm.")), "model": "claude-sonnet-4-6", "temperature": 0.5}
    assert (await reply(http, where, warm)).json()["assistantMessage"]["model"] == "claude-sonnet-4-6"


async def test_a_message_of_a_play_is_the_one_that_its_events_name(http: httpx.AsyncClient) -> None:
    events = await play(http, script(says("Yes.")))
    path = f"{CHAT}/{the(events, 'session:start')['conversationId']}"
    ids = [message["id"] for message in (await get(http, path))["messages"]]
    assert ids == [the(events, "user_message")["id"], the(events, "message_saved")["id"]]
