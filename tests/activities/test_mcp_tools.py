"""How tools of MCP servers become tools of ours: names, hints, schemas, results."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from mcp import types

from activities.mcp.adapting import OUTPUT_CAP, as_text, judged, specs_of
from activities.mcp.schemas import Unusable, checker, shown
from activities.tools import ToolContext, ToolError, call
from session.masking import Masker
from tests.support.mcp_room import SUPPORT, opened

OBJECT: dict[str, Any] = {"type": "object", "properties": {}}


def answers(result: types.CallToolResult) -> Any:
    async def answer(_tool: str, _given: dict[str, Any], _heard: Callable[[str], None]) -> types.CallToolResult:
        return result

    return answer


def named(*names: str) -> list[str]:
    tools = [types.Tool(name=name, input_schema=OBJECT) for name in names]
    return [spec.name for spec in specs_of("server", 10, tools, answers(types.CallToolResult(content=[])))]


def test_names_fit_the_models_api_whatever_the_server_calls_its_tools() -> None:
    names = named("plain", "with.dot", "über/alles", "x" * 200, "y" * 57, "", "a b")
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names) and len(set(names)) == 7
    assert {"server__plain", "server__with_dot", "server__a_b"} <= set(names)


def test_names_that_would_meet_are_told_apart_in_the_same_way_each_time() -> None:
    given = ["a.b", "a b", "a_b", "x" * 100 + "1", "x" * 100 + "2"]
    names = named(*given)
    assert names == named(*reversed(given))
    assert len(set(names)) == 5 and "server__a_b" in names
    assert named("a.b") == ["server__a_b"] and named("twice", "twice") == ["server__twice"]


@pytest.mark.parametrize(
    ("hints", "effect", "level"),
    [
        (None, "sideEffect", "dangerous"),
        ({}, "sideEffect", "dangerous"),
        ({"readOnlyHint": True}, "readOnly", "safe"),
        ({"readOnlyHint": True, "destructiveHint": True}, "readOnly", "safe"),
        ({"destructiveHint": False}, "sideEffect", "moderate"),
        ({"idempotentHint": True}, "idempotent", "dangerous"),
        ({"idempotentHint": True, "destructiveHint": False}, "idempotent", "moderate"),
        ({"readOnlyHint": False, "destructiveHint": True}, "sideEffect", "dangerous"),
    ],
)
def test_hints_become_effect_and_level(hints: dict[str, bool] | None, effect: str, level: str) -> None:
    assert judged(None if hints is None else types.ToolAnnotations.model_validate(hints)) == (effect, level)


def test_a_schema_is_shown_as_it_came_but_for_alternatives_at_the_top() -> None:
    schema = {**OBJECT, "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "required": ["a"]}
    assert shown(schema) == schema
    assert shown({"properties": {}}) == {"type": "object", "properties": {}}
    either = {**schema, "required": [], "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert "anyOf" not in shown(either)
    assert checker(either)({}) == ["{} is not valid under any of the given schemas"] and not checker(either)({"b": 1})


@pytest.mark.parametrize(
    "schema", [{"type": "nothing"}, {"type": "string"}, {**OBJECT, "properties": {"a b": {}}}, {"properties": []}]
)
def test_a_tool_that_models_cannot_be_offered_is_left_out_and_logged(
    schema: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Unusable):
        shown(schema)
    tools = [types.Tool(name="bad", input_schema=schema), types.Tool(name="good", input_schema=OBJECT)]
    with caplog.at_level(logging.WARNING, "perdure.mcp"):
        specs = specs_of("server", 10, tools, answers(types.CallToolResult(content=[])))
    assert [spec.name for spec in specs] == ["server__good"] and "the tool bad of" in caplog.text


def test_faults_name_the_field() -> None:
    schema = {**OBJECT, "properties": {"at": {"type": "object", "properties": {"x": {"type": "integer"}}}}}
    check = checker({**schema, "required": ["name"], "additionalProperties": False})
    assert sorted(check({"at": {"x": "one"}, "more": 1})) == [
        "'name' is a required property",
        "Additional properties are not allowed ('more' was unexpected)",
        "`at.x`: 'one' is not of type 'integer'",
    ]


def test_a_schema_that_points_elsewhere_is_not_fetched() -> None:
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        schema = {**OBJECT, "properties": {"a": {"$ref": f"http://127.0.0.1:{server.server_port}/schema.json"}}}
        try:
            assert checker(schema)({"a": 1}) == []
        finally:
            server.shutdown()
            thread.join()
    assert asked == []


def test_a_result_is_its_text_and_a_line_for_what_is_no_text() -> None:
    text = types.TextContent(text="a\nb")
    link = types.ResourceLink(name="log", uri="file:///log", mime_type="text/plain", size=2048)
    assert (
        as_text(types.CallToolResult(content=[text, link])) == "a\nb\n[resource: file:///log, text/plain, 2,048 bytes]"
    )
    assert as_text(types.CallToolResult(content=[text], structured_content={"a": 1})) == "a\nb"
    assert as_text(types.CallToolResult(content=[], structured_content={"ü": 1})) == '{"ü": 1}'
    assert as_text(types.CallToolResult(content=[])) == ""


async def test_what_an_sdk_server_shows_and_how_it_fails(tmp_path: Path) -> None:
    sdk = {"command": sys.executable, "args": [str(SUPPORT / "mcp_sdk_server.py"), "stdio"]}
    async with opened(tmp_path, {"sdk": sdk}) as room:
        assert (await room.says("sdk__show")).splitlines() == [
            "see:",
            "[image: image/png, 8 bytes, not shown]",
            "[audio: audio/wav, 5 bytes, not shown]",
            "[resource: file:///a.bin, application/zip, 3 bytes, not shown]",
            "[resource: file:///a.txt, text/plain, 6 characters]",
            "a note",
        ]
        failed = await room.refused("sdk__fail", text="it broke")
        assert failed.code == "MCP_ERROR" and "it broke" in failed.message
        long = await room.refused("sdk__fail", text="x" * 5_000)
        assert len(long.message) < 100 and "x" * 5_000 in long.content


async def test_long_results_are_cut_and_secrets_in_results_and_progress_are_masked(tmp_path: Path) -> None:
    async def answer(_tool: str, _given: dict[str, Any], heard: Callable[[str], None]) -> types.CallToolResult:
        heard("with tok-123456")
        return types.CallToolResult(content=[types.TextContent(text=f"tok-123456 {'x' * OUTPUT_CAP}")])

    (spec,) = specs_of("server", 10, [types.Tool(name="t", input_schema=OBJECT)], answer)
    heard: list[str] = []
    context = ToolContext(tmp_path, lambda _, text: heard.append(text), masker=Masker(("tok-123456",)))
    output = await call(spec, {}, context)
    assert output.truncated and len(output.content) <= OUTPUT_CAP + 200
    assert "tok-123456" not in output.content + heard[0]
    if output.whole is not None:
        output.whole.close()


async def test_arguments_that_are_no_text_are_refused_like_those_of_any_tool(tmp_path: Path) -> None:
    tool = types.Tool(name="t", input_schema=OBJECT)
    (spec,) = specs_of("server", 10, [tool], answers(types.CallToolResult(content=[])))
    with pytest.raises(ToolError, match="half a surrogate"):
        await call(spec, {"a": "\ud800"}, ToolContext(tmp_path))


@pytest.mark.parametrize("rule", [{"type": "string", "pattern": r"^\p{L}+$"}, {"$ref": "#/$defs/round"}])
def test_what_cannot_be_checked_here_is_left_to_the_server(rule: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"name": rule}, "$defs": {"round": {"$ref": "#/$defs/round"}}}
    assert checker(schema)({"name": "Anna"}) == []
