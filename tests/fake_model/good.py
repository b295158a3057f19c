"""A request that the fake serves, and the blocks that it is made of."""

from __future__ import annotations

from typing import Any

from anthropic import AsyncAnthropic

Request = dict[str, Any]
MARK = {"type": "ephemeral"}


def use(call: str = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call, "name": "grep", "input": {"pattern": "x"}, **more}


def result(call: str = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call, "content": "found", **more}


def text(said: str = "hello", **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def good(model: str = "claude-sonnet-4-6") -> Request:
    return {
        "model": model,
        "max_tokens": 2000,
        "system": [text("You are good.", cache_control=MARK)],
        "messages": [
            {"role": "user", "content": [text("Look.")]},
            {"role": "assistant", "content": [text("I look.", citations=None), use(), use("toolu_2")]},
            {"role": "user", "content": [result(), result("toolu_2"), text('```script\n{"then_text": "fine"}\n```')]},
        ],
        "tools": [
            {"name": "grep", "description": "finds", "input_schema": {"type": "object", "properties": {}}},
            {"name": "read_file", "input_schema": {"type": "object"}, "cache_control": MARK},
        ],
    }


async def send(client: AsyncAnthropic, request: Request, headers: dict[str, str] | None = None) -> Any:
    options: Any = {"headers": headers} if headers else {}
    return await client.post("/v1/messages", body=request, cast_to=object, options=options)
