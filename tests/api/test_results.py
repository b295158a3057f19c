"""`responseSchema`: the final answer is held against it, repaired once, and read as the session's `result`."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fake_model.scripts import Script, Turn
from fake_model.serve import Running
from tests.support.asking import AGENTIC, Json, conversation, follow, get, names_field, play, session, start
from tests.support.events import only, the, types
from tests.support.stack import Stack
from tests.support.turns import calls, completes, says, script

SCHEMA: Json = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"$ref": "#/$defs/count"}},
    "required": ["city", "people"],
    "$defs": {"count": {"type": "integer", "minimum": 0}},
}
CITY = {**SCHEMA, "properties": {**SCHEMA["properties"], "city": {"enum": ["Bern"]}}}
GOOD = '{"city": "Bern", "people": 134000}'
BAD = '{"city": "Bern"}'
VALUE = {"city": "Bern", "people": 134000}


async def ended(http: httpx.AsyncClient, *turns: dict[str, Any], schema: Any = SCHEMA, **fields: Any) -> Json:
    """A session with a schema, after its end."""
    events = await play(http, script(*turns), responseSchema=schema, **fields)
    return await session(http, the(events, "session:start")["sessionId"])


def bodies(fake: Running, session_id: str) -> list[Json]:
    return [record.request["body"] for record in fake.requests if record.session == session_id]


async def test_an_answer_that_keeps_to_the_schema_is_the_result(stack: Stack, fake: Running) -> None:
    told = await ended(stack.http, says(GOOD))
    assert (told["result"], told["resultError"], told["stopReason"], told["step"]) == (VALUE, None, "endTurn", 1)
    (body,) = bodies(fake, told["id"])
    assert '"$ref": "#/$defs/count"' in body["system"][-1]["text"]
    (completion,) = [tool for tool in body["tools"] if tool["name"] == "complete_task"]
    assert "result" in completion["input_schema"]["required"]
    assert "output_config" not in body or "format" not in body["output_config"]


async def test_one_that_does_not_is_repaired_in_another_step(stack: Stack, fake: Running) -> None:
    fake.add_script(Script(name="repaired", turns=(Turn(text=f"```json\n{GOOD}\n```"),)))
    # What is wrong is told with the value, which is a word to the scripted model here.
    events = await play(stack.http, script(says('{"city": " #script repaired", "people": 1.5}')), responseSchema=CITY)
    session_id = the(events, "session:start")["sessionId"]
    first, second = bodies(fake, session_id)
    request = second["messages"][-1]["content"][-1]["text"]
    assert len(first["messages"]) == 1 and "`city`: " in request and "only repair" in request
    told = await session(stack.http, session_id)
    assert (told["result"], told["resultError"], told["stopReason"]) == (VALUE, None, "endTurn")
    steps = (await get(stack.http, f"/api/sessions/{session_id}/transcript"))["steps"]
    assert steps[1]["messages"][0]["content"][0]["text"] == request
    assert types(events).count("user_message") == 1, "what we ask for is no message of the user's"


async def test_by_complete_task_it_is_repaired_and_completes_the_task(stack: Stack, fake: Running) -> None:
    bad, good = {"city": "Bern", "people": -1}, VALUE
    told = await ended(stack.http, completes("Found.", result=bad), completes("Found it.", result=good))
    assert (told["result"], told["resultError"], told["stopReason"]) == (VALUE, None, "taskCompleted")
    assert (told["step"], told["summary"]) == (2, "Found it.")
    result = bodies(fake, told["id"])[1]["messages"][-1]["content"][0]
    assert result["is_error"] and "`people`: -1 is less than the minimum of 0" in result["content"]


async def test_after_the_second_failure_there_is_none_and_that_is_told(http: httpx.AsyncClient) -> None:
    told = await ended(http, completes("Found."), completes("Found, really.", result={"city": 1}))
    assert (told["status"], told["stopReason"], told["step"]) == ("completed", "taskCompleted", 2)
    assert told["result"] is None and "`city`: 1 is not of type 'string'" in told["resultError"]


async def test_with_one_step_it_is_the_result_or_there_is_none(http: httpx.AsyncClient) -> None:
    good, bad = await ended(http, says(GOOD), maxSteps=1), await ended(http, says(BAD), maxSteps=1)
    assert (good["result"], good["resultError"]) == (VALUE, None)
    assert (bad["result"], bad["stopReason"]) == (None, "endTurn")
    assert "'people' is a required property" in bad["resultError"] and "no step was left" in bad["resultError"]
    stopped = await ended(http, calls(("exec", {"command": "true"})), maxSteps=1)
    assert stopped["resultError"] == "the session ended (maxSteps) without a final answer"


async def test_without_tools_and_in_the_agentic_stream_it_works_too(stack: Stack, fake: Running) -> None:
    told = await ended(stack.http, says(GOOD), allowedTools=[])
    assert told["result"] == VALUE and "tools" not in bodies(fake, told["id"])[0]
    path = AGENTIC.format(await conversation(stack.http))
    answer = await stack.http.post(path, json={"content": script(says(GOOD)), "responseSchema": SCHEMA})
    assert (await session(stack.http, answer.headers["x-session-id"]))["result"] == VALUE


async def test_a_retry_keeps_the_schema(http: httpx.AsyncClient) -> None:
    first = await ended(http, says(BAD), maxSteps=1)
    again = (await http.post(f"/api/sessions/{first['id']}/retry")).json()["session"]
    assert again["result"] is None and again["resultError"] is None
    await follow(http, again["id"])
    assert "'people' is a required property" in (await session(http, again["id"]))["resultError"]


async def test_a_session_without_a_schema_has_neither(http: httpx.AsyncClient) -> None:
    events = await play(http, script(completes("Done.", result={"a": 1}), completes("Done.")))
    (refused, _) = only(events, "tool:result")
    assert "`result` is not an argument" in refused["result"]["error"]["message"]
    told = await session(http, the(events, "session:start")["sessionId"])
    assert (told["result"], told["resultError"]) == (None, None)


async def test_a_pattern_that_would_match_for_years_does_not_hold_the_session(http: httpx.AsyncClient) -> None:
    schema = {"type": "string", "pattern": "^(a+)+$"}
    told = await ended(http, says('"' + "a" * 60 + '!"'), schema=schema, maxSteps=1)
    assert told["result"] is None and "too long" in told["resultError"]


@pytest.mark.parametrize(
    "schema",
    [
        "object",
        [],
        True,
        {"type": "text"},
        {"$ref": "https://example.com/schema.json"},
        {"$schema": "https://example.com/mine"},
        {"properties": {"a": {"pattern": "("}}},
        {"description": "x" * 70_000},
    ],
)
async def test_what_is_no_schema_is_refused_at_the_start(http: httpx.AsyncClient, schema: Any) -> None:
    body = {"content": "Do it.", "responseSchema": schema}
    names_field(await http.post("/api/sessions", json=body), "responseSchema")


async def test_the_description_of_the_api_tells_of_it(http: httpx.AsyncClient) -> None:
    schemas = (await get(http, "/openapi.json"))["components"]["schemas"]
    assert {"result", "resultError"} <= set(schemas["Session"]["properties"])
    assert "responseSchema" in schemas["StartBody"]["properties"]
    assert (await start(http, script(says("Hi."))))["result"] is None
