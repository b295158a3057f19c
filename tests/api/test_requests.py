"""What a request may be: bodies, their size and type, start fields and their bounds (CONTRACT §2, §6)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.asking import AGENTIC, MESSAGES, conversation, names_field, problem
from tests.support.turns import says, script

HELLO = script(says("Hello."))
JSON = {"Content-Type": "application/json"}

BAD_FIELDS: list[tuple[str, Any]] = [
    *[("content", bad) for bad in ("", None, 5, ["x"], "a" * 200_001, "a\x00b")],
    *[("model", bad) for bad in ("", 5, "m" * 201, "m\x00")],
    *[("provider", bad) for bad in ("openai", "", None)],
    *[("temperature", bad) for bad in (-0.1, 2.1, "hot")],
    *[("effort", bad) for bad in ("", "huge", 3)],
    *[("maxSteps", bad) for bad in (0, 201, -1, 1.5, "many", 10**30)],
    *[("maxBudget", bad) for bad in (999, 0, -1, 1000.5, 10**400, 10**16)],
    *[("maxCostUsd", bad) for bad in (0, -1, "much")],
    *[("showThinking", bad) for bad in ("perhaps", None, 7)],
    *[("securityMode", bad) for bad in ("", "none", None)],
    *[("allowedTools", bad) for bad in ("exec", {"a": 1}, ["exec", "no_such_tool"])],
    *[("systemPrompt", bad) for bad in (5, "a" * 200_001, "a\x00")],
    *[("timeoutSeconds", bad) for bad in (0, 181, -5, 2.5, "long")],
    *[("workspace", bad) for bad in ("", "/etc", "../up", "a/../../b", "a\\b", "w" * 401, 5)],
    *[("memorySessionId", bad) for bad in ("", 5, "m" * 129)],
    *[("metadata", bad) for bad in ("x", 5, dict.fromkeys("abcdefghijklmnopq"))],
    *[("onConflict", bad) for bad in ("", "Enqueue", "panic", None)],
    *[("nonsense", 1), ("max_steps", 5), ("conversation_id", "conv_1"), ("Content", "x")],
]


@pytest.mark.parametrize(("field", "bad"), BAD_FIELDS, ids=[f"{f}={str(b)[:16]!a}" for f, b in BAD_FIELDS])
async def test_a_field_out_of_its_bounds_or_unknown_is_a_422_that_names_it(
    http: httpx.AsyncClient, field: str, bad: Any
) -> None:
    body = json.dumps({"content": HELLO, field: bad})
    answer = await http.post("/api/sessions", content=body, headers=JSON)
    told = problem(answer, 422, "INVALID")
    named = [detail["field"].split(".")[0] for detail in told["details"]]
    assert set(named) == {field}, told
    assert len(answer.content) < 5000, "values are not echoed"


@pytest.mark.parametrize(
    ("field", "bad", "said"),
    [
        ("content", "", "content: must have at least 1 characters"),
        ("content", "a" * 200_001, "content: must have at most 200000 characters"),
        ("content", "a\x00b", "content: must not contain NUL"),
        ("workspace", "../x", "workspace: must be a relative path"),
    ],
)
async def test_what_is_wrong_with_a_text_is_told_in_words_for_people(
    http: httpx.AsyncClient, field: str, bad: str, said: str
) -> None:
    told = names_field(await http.post("/api/sessions", json={"content": HELLO, field: bad}), field)
    assert said in told["error"]


async def test_a_limit_in_dollars_is_refused_for_a_model_without_a_known_price(http: httpx.AsyncClient) -> None:
    body = {"content": HELLO, "model": "claude-unheard-of-9", "maxCostUsd": 1}
    told = names_field(await http.post("/api/sessions", json=body), "maxCostUsd")
    assert "claude-unheard-of-9" in told["error"] and "maxBudget" in told["error"]


async def test_the_agentic_call_takes_the_same_fields_and_no_conversation_in_its_body(http: httpx.AsyncClient) -> None:
    path = AGENTIC.format(await conversation(http))
    names_field(await http.post(path, json={"content": HELLO, "conversationId": "conv_1"}), "conversationId")
    names_field(await http.post(path, json={"content": HELLO, "maxSteps": 0}), "maxSteps")
    names_field(await http.post("/api/sessions", json={"content": HELLO, "conversationId": "a b"}), "conversationId")


async def test_the_bounds_themselves_are_accepted(http: httpx.AsyncClient) -> None:
    fields: dict[str, Any] = {
        "content": HELLO + "é" * (200_000 - len(HELLO)),
        "effort": "low",
        "maxSteps": 200,
        "maxBudget": 1000,
        "maxCostUsd": 0.000001,
        "timeoutSeconds": 180,
        "metadata": {str(n): {"nested": [n, None, "\x00"]} for n in range(15)} | {"deep": {"x": [1.5]}},
        "allowedTools": ["exec"],
        "systemPrompt": "Be brief.",
        "workspace": "a/b",
        "onConflict": "reject",
        "securityMode": "full",
    }
    answer = await http.post("/api/sessions", json=fields)
    assert answer.status_code == 202, answer.text
    told = answer.json()["session"]
    assert (told["maxSteps"], told["maxBudget"], told["effort"], told["provider"]) == (200, 1000, "low", "anthropic")


@pytest.mark.parametrize(("effort", "steps"), [("low", 5), ("medium", 20), ("high", 50), ("max", 200)])
async def test_effort_is_a_budget_of_steps(http: httpx.AsyncClient, effort: str, steps: int) -> None:
    answer = await http.post("/api/sessions", json={"content": HELLO, "effort": effort})
    assert answer.json()["session"]["maxSteps"] == steps


FIELDS = {"id", "conversationId", "status", "stopReason", "goal", "model", "provider", "effort", "maxSteps"}
FIELDS |= {"maxBudget", "showThinking", "securityMode", "step", "usage", "cost", "messageId", "summary", "error"}
FIELDS |= {"result", "resultError"}
FIELDS |= {"deadline", "createdAt", "queuedAt", "startedAt", "endedAt", "progress"}
POSTS = ["/api/sessions", "/api/chat/conversations/conv_x/messages", "/api/chat/conversations/conv_x/messages/agentic"]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "body",
    [b"{", b"not json", b'{"content": }', b"\xff\xfe", b'{"content": "\xff"}', b"{'a': 1}", b'{"content": "\\ud800"}'],
)
async def test_a_body_that_is_no_json_is_a_400(http: httpx.AsyncClient, path: str, body: bytes) -> None:
    problem(await http.post(path, content=body, headers=JSON), 400, "MALFORMED_JSON")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"text"', b"5", b"{}"])
async def test_a_body_that_is_no_object_or_empty_is_a_422(http: httpx.AsyncClient, body: bytes) -> None:
    for path in POSTS:
        problem(await http.post(path, content=body, headers=JSON), 422, "INVALID")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_numbers_that_json_does_not_have_are_a_400(http: httpx.AsyncClient, number: str) -> None:
    for body in (f'{{"content": "x", "metadata": {{"a": {number}}}}}', f'{{"content": "x", "temperature": {number}}}'):
        problem(await http.post("/api/sessions", content=body, headers=JSON), 400, "MALFORMED_JSON")
    body = f'{{"metadata": {{"a": [{number}]}}}}'
    problem(await http.post("/api/chat/conversations", content=body, headers=JSON), 400, "MALFORMED_JSON")


@pytest.mark.parametrize("depth", [300, 2_000, 100_000])
async def test_a_body_nested_without_end_is_refused_and_breaks_nothing(http: httpx.AsyncClient, depth: int) -> None:
    nest = "[" * depth + "]" * depth
    for path, body in (
        ("/api/sessions", f'{{"content": "x", "metadata": {{"a": {nest}}}}}'),
        ("/api/chat/conversations", f'{{"metadata": {{"a": {nest}}}}}'),
        ("/api/sessions", nest),
    ):
        problem(await http.post(path, content=body, headers=JSON), 400, "MALFORMED_JSON")


async def test_numbers_of_endless_digits_are_refused(http: httpx.AsyncClient) -> None:
    body = f'{{"content": "x", "maxBudget": {"9" * 10_000}}}'
    problem(await http.post("/api/sessions", content=body, headers=JSON), 400, "MALFORMED_JSON")
    for field in ('"maxBudget": 1e999', '"temperature": 1e999', '"metadata": {"a": [1e999]}'):
        answer = await http.post("/api/sessions", content=f'{{"content": "x", {field}}}', headers=JSON)
        problem(answer, 422, "INVALID")


async def test_many_and_odd_unknown_fields_are_told_briefly(http: httpx.AsyncClient) -> None:
    for body in (
        json.dumps({"content": "x"} | {f"field{n}": n for n in range(5_000)}),
        json.dumps({"content": "x", "f" * 100_000: 1}),
        '{"content": "x", "\\u0000": 1}',
    ):
        answer = await http.post("/api/sessions", content=body, headers=JSON)
        problem(answer, 422, "INVALID")
        assert len(answer.content) < 10_000


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", ""],
)
async def test_a_body_that_is_not_declared_as_json_is_a_415(http: httpx.AsyncClient, kind: str) -> None:
    for path in POSTS:
        answer = await http.post(path, content=json.dumps({"content": HELLO}), headers={"Content-Type": kind})
        problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


async def test_json_may_name_its_charset(http: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    answer = await http.post("/api/sessions", content=json.dumps({"content": HELLO}), headers=headers)
    assert answer.status_code == 202


@pytest.mark.parametrize("path", POSTS)
async def test_a_body_that_is_too_large_is_a_413_whether_it_tells_its_length_or_not(
    http: httpx.AsyncClient, path: str
) -> None:
    large = json.dumps({"content": "x" * (5 << 20)}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(large), 1 << 16):
            yield large[at : at + (1 << 16)]

    problem(await http.post(path, content=large, headers=JSON), 413, "BODY_TOO_LARGE")
    problem(await http.post(path, content=chunks(), headers=JSON), 413, "BODY_TOO_LARGE")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("GET", "/api/sessions/sess_none", 404, "NOT_FOUND"),
        ("GET", "/api/sessions/%00", 404, "NOT_FOUND"),
        ("GET", "/api/sessions/%ff%fe", 404, "NOT_FOUND"),
        ("GET", "/api/sessions/sess_none/transcript", 404, "NOT_FOUND"),
        ("POST", "/api/sessions/sess_none/cancel", 404, "NOT_FOUND"),
        ("POST", "/api/sessions/sess_none/retry", 404, "NOT_FOUND"),
        ("GET", "/api/chat/conversations/conv_none", 404, "NOT_FOUND"),
        ("DELETE", "/api/chat/conversations/conv_none", 404, "NOT_FOUND"),
        ("DELETE", "/api/sessions", 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/api/chat/conversations", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_what_is_not_there_is_told_as_json(
    http: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    problem(await http.request(method, path), status, code)


async def test_starting_in_a_conversation_that_is_not_there_is_a_404(http: httpx.AsyncClient) -> None:
    body = {"content": HELLO}
    problem(await http.post("/api/sessions", json=body | {"conversationId": "conv_none"}), 404, "NOT_FOUND")
    problem(await http.post(AGENTIC.format("conv_none"), json=body), 404, "NOT_FOUND")
    problem(await http.post(MESSAGES.format("conv_none"), json=body), 404, "NOT_FOUND")


async def test_a_start_answers_202_with_the_session_and_its_address(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/sessions", json={"content": HELLO})
    told = answer.json()["session"]
    assert answer.status_code == 202 and answer.headers["location"] == f"/api/sessions/{told['id']}"
    assert told["id"].startswith("sess_") and told["conversationId"].startswith("conv_")
    assert told["status"] in ("queued", "running")
    assert set(told) == FIELDS


async def test_the_agentic_call_names_its_session_in_its_headers(http: httpx.AsyncClient) -> None:
    path = AGENTIC.format(await conversation(http))
    answer = await http.post(path, json={"content": HELLO})
    assert answer.status_code == 200
    assert answer.headers["location"] == f"/api/sessions/{answer.headers['x-session-id']}"


async def test_a_query_parameter_that_does_not_exist_is_named(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/sessions", params={"staus": "failed"})
    assert answer.status_code == 422
    assert answer.json()["details"] == [{"field": "staus", "problem": "is not a parameter of this call"}]
