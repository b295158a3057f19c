"""The model's request: caching breakpoints, thinking by model, and a transcript that is always valid."""

from __future__ import annotations

import json
from typing import Any

import pytest

from activities.asking import model_request
from activities.tools import TOOLS
from activities.transcript import opening_messages, turn_messages, woven
from session.security import is_offered
from store.interjections import Interjected
from store.transcript import CallResult, Said, Turn


def row(model: str = "claude-sonnet-5-5", **changes: Any) -> dict[str, Any]:
    settings = {"allowedTools": None, "systemPrompt": None, "temperature": None} | changes.pop("settings", {})
    base = {
        "id": "sess_1",
        "model": model,
        "effort": "medium",
        "security_mode": "full",
        "show_thinking": True,
        "created_ms": 1_790_000_000_000,
    }
    return {**base, **changes, "settings": json.dumps(settings)}


def breakpoints(request: dict[str, Any]) -> int:
    return json.dumps(request).count('"cache_control"')


OFFERED = [spec.tool() for spec in TOOLS.values()]
SYSTEM = ("You are careful.", "Today is 2026-01-02.")
USER = {"role": "user", "content": [{"type": "text", "text": "do it"}]}


def test_breakpoints_stand_on_the_system_prompt_and_the_last_two_user_turns_and_never_pass_four() -> None:
    messages: list[dict[str, Any]] = [USER]
    for step in range(6):
        call = {"type": "tool_use", "id": f"t{step}", "name": "exec", "input": {}}
        result = {"type": "tool_result", "tool_use_id": f"t{step}", "content": "ok"}
        messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    request = model_request(row(), OFFERED, messages, SYSTEM)
    assert breakpoints(request) == 4
    assert [part["text"] for part in request["system"]] == [*SYSTEM]
    assert all(part["cache_control"] == {"type": "ephemeral"} for part in request["system"])
    marked = [index for index, message in enumerate(request["messages"]) if "cache_control" in json.dumps(message)]
    assert marked == [10, 12]


def test_marking_breakpoints_leaves_the_kept_transcript_as_it_was() -> None:
    messages = [json.loads(json.dumps(USER))]
    model_request(row(), OFFERED, messages, SYSTEM)
    assert messages == [USER]


@pytest.mark.parametrize(
    ("model", "thinking", "effort"),
    [
        ("claude-sonnet-5-5", "adaptive", "max"),
        ("claude-opus-4-6", "adaptive", "max"),
        ("claude-opus-4-5", "enabled", "high"),
        ("claude-haiku-4-5-20251001", "enabled", None),
        ("some-other-model", None, None),
    ],
)
def test_effort_and_thinking_are_told_as_the_model_takes_them(
    model: str, thinking: str | None, effort: str | None
) -> None:
    request = model_request(row(model, effort="max"), OFFERED, [USER], SYSTEM)
    assert request.get("thinking", {}).get("type") == thinking
    assert request.get("output_config", {}).get("effort") == effort
    if thinking == "enabled":
        assert 1024 <= request["thinking"]["budget_tokens"] < request["max_tokens"]


def test_a_temperature_excludes_thinking() -> None:
    request = model_request(row("claude-sonnet-4-6", settings={"temperature": 0.5}), OFFERED, [USER], SYSTEM)
    assert "thinking" not in request
    assert request["extra_body"] == {"temperature": 0.5}


def test_hidden_thinking_is_not_asked_to_be_shown() -> None:
    assert model_request(row(show_thinking=False), OFFERED, [USER], SYSTEM)["thinking"]["display"] == "omitted"


def test_without_tools_the_request_has_none_and_no_empty_part_of_a_prompt() -> None:
    request = model_request(row(settings={"allowedTools": []}), [], [USER], ("", "Today is 2026-01-02."))
    assert "tools" not in request
    assert [part["text"] for part in request["system"]] == ["Today is 2026-01-02."]


def test_the_tool_that_ends_a_session_is_offered_with_any_other() -> None:
    offered = [name for name in TOOLS if is_offered(name, ["exec(git *)"])]
    assert offered == ["exec", "complete_task"]


def test_the_opening_alternates_begins_with_the_user_and_keeps_what_fits() -> None:
    said = [Said("assistant", "stray"), Said("user", "a"), Said("user", "b"), Said("assistant", ""), Said("user", "c")]
    opening = opening_messages(said)
    assert [message["role"] for message in opening] == ["user", "assistant", "user"]
    assert all(block["text"].strip() for message in opening for block in message["content"])
    long = [Said("user", "x" * 300_000), Said("assistant", "y" * 300_000), Said("user", "now")]
    assert opening_messages(long)[-1]["content"][0]["text"] == "now"
    assert sum(len(block["text"]) for message in opening_messages(long) for block in message["content"]) < 400_000


def test_every_call_of_a_turn_is_answered_in_order_also_without_a_result() -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "tool_use", "id": call, "name": "exec", "input": {}} for call in ("a", "b", "c")
    ]
    results = [
        CallResult("a", {"success": True, "content": ""}),
        CallResult("b", {"success": False, "error": {"code": "X", "message": "no"}, "content": "out"}),
        CallResult("c", None),
    ]
    turn = Turn(1, blocks, results, "m", "tool_use", {}, partial=False)
    answers = turn_messages(turn)[1]["content"]
    assert [answer["tool_use_id"] for answer in answers] == ["a", "b", "c"]
    assert answers[0]["content"] == "(no output)"
    assert answers[1] == {"type": "tool_result", "tool_use_id": "b", "content": "X: no\n\nout", "is_error": True}
    assert answers[2]["is_error"]


def test_what_is_said_to_a_session_stands_behind_the_results_of_the_step_before() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "exec", "input": {}}
    ran = turn_messages(Turn(1, [call], [CallResult("t1", {"success": True, "content": "ok"})], "m", None, {}, False))
    said = turn_messages(Turn(2, [{"type": "text", "text": "done"}], [], "m", None, {}, False))
    spoken = [Interjected(2, "followUp", "also this"), Interjected(3, "followUp", "and this")]
    messages = woven([USER], [ran, said], spoken)
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant", "user"]
    assert [block["type"] for block in messages[2]["content"]] == ["tool_result", "text"]
    assert messages[2]["content"][1]["text"] == "also this" and messages[4]["content"][0]["text"] == "and this"
    assert len(ran[1]["content"]) == 1, "the kept turn stays as it was"
