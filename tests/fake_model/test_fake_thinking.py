"""Thinking comes back to the fake as the fake issued it, or is refused."""

from copy import deepcopy
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from tests.fake_model.good import Request, good, result, send, text


async def thought(client: AsyncAnthropic, name: str) -> tuple[Request, list[Any]]:
    """A request with the transcript of one thinking tool turn that was really issued, and its blocks."""
    request = good(name)
    script = '```script\n{"turns": [{"thinking": "I think", "tools": [{"name": "grep"}]}], "then_text": "fine"}\n```'
    request["messages"] = [{"role": "user", "content": [text(script)]}]
    request["thinking"] = {"type": "adaptive", "display": "summarized"}
    blocks = (await send(client, request))["content"]
    request["messages"] += [{"role": "assistant", "content": blocks}]
    request["messages"] += [{"role": "user", "content": [result(blocks[1]["id"])]}]
    return request, blocks


async def test_thinking_must_come_back_as_it_was_issued(client: AsyncAnthropic) -> None:
    request, blocks = await thought(client, "claude-sonnet-4-6")
    assert (await send(client, request))["content"][0]["text"] == "fine"

    request["messages"][1]["content"] = [{**blocks[0], "thinking": "I thought"}, blocks[1]]
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.1\.content\.0: Invalid `signature`"):
        await send(client, request)

    request["messages"][1]["content"] = blocks[1:]
    with pytest.raises(
        anthropic.BadRequestError, match="Expected `thinking` or `redacted_thinking`, but found `tool_use`"
    ):
        await send(client, request)
    request["thinking"] = {"type": "disabled"}
    assert (await send(client, request))["content"][0]["text"] == "fine"


async def test_thinking_must_stand_before_its_tool_calls(client: AsyncAnthropic) -> None:
    request, blocks = await thought(client, "claude-sonnet-4-6")
    request["messages"][1]["content"] = [blocks[1], blocks[0], text("then")]
    with pytest.raises(anthropic.BadRequestError, match="must come before the `tool_use` blocks"):
        await send(client, request)


@pytest.mark.parametrize(("name", "bound"), [("claude-opus-5-5", True), ("claude-opus-4-8", False)])
async def test_newest_models_bind_thinking_to_the_prompt_before_it(
    client: AsyncAnthropic, name: str, bound: bool
) -> None:
    request, _ = await thought(client, name)
    moved = deepcopy(request)
    moved["system"][0].pop("cache_control")
    assert (await send(client, moved))["content"][-1]["text"] == "fine"

    request["system"][0]["text"] = "You are better."
    if not bound:
        assert (await send(client, request))["content"][-1]["text"] == "fine"
        return
    with pytest.raises(anthropic.BadRequestError, match="The block is bound to a different conversation"):
        await send(client, request)
