"""The rules between messages: alternating roles, every tool call answered once, thinking blocks as they were issued."""

from __future__ import annotations

from fake_model import signing
from fake_model.abilities import Abilities
from fake_model.blocks import blocks_of, check_content
from fake_model.fields import JsonObject, a_list, a_string, an_object, no_extras, one_of, refuse, required
from fake_model.prompt import Prompt
from fake_model.refusal import Refused


def check_messages(body: JsonObject, rules: Abilities) -> None:
    """Shape, roles and tool calls. We are stricter than the API, which joins neighbours of the same role."""
    messages = a_list("messages", required("", body, "messages"))
    if not messages:
        raise refuse("messages", "at least one message is required")
    for index, message in enumerate(messages):
        place = f"messages.{index}"
        no_extras(place, an_object(place, message), ("role", "content"))
        role = a_string(place, message, "role")
        one_of(f"{place}.role", role, ("user", "assistant"))
        if index == 0 and role != "user":
            raise refuse("messages", 'first message must use the "user" role')
        if index and role == messages[index - 1]["role"]:
            raise refuse(
                "messages",
                'roles must alternate between "user" and "assistant", '
                f'but found multiple "{role}" roles in a row (messages.{index})',
            )
        check_content(place, role, required(place, message, "content"))
    _check_calls(messages, {tool.get("name") for tool in body.get("tools") or ()})
    if messages[-1]["role"] == "assistant" and not rules.prefill:
        raise Refused(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _check_calls(messages: list[JsonObject], declared: set[str]) -> None:
    seen: set[str] = set()
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        blocks = blocks_of(message["content"])
        if message["role"] == "user":
            _check_results(index, blocks, open_calls)
            open_calls = []
            continue
        open_calls = _calls(index, blocks, seen, declared)
    if open_calls:
        raise _unanswered(len(messages) - 1, open_calls)


def _calls(index: int, blocks: list[JsonObject], seen: set[str], declared: set[str]) -> list[str]:
    found: list[str] = []
    for at, block in enumerate(blocks):
        place = f"messages.{index}.content.{at}"
        if block["type"] == "thinking" and found:
            raise refuse(place, "`thinking` blocks must come before the `tool_use` blocks that they were issued with")
        if block["type"] != "tool_use":
            continue
        if not declared:
            raise Refused("Requests which include `tool_use` or `tool_result` blocks must define tools")
        if block["name"] not in declared:
            raise refuse(f"{place}.tool_use.name", f"Tool {block['name']!r} not found in provided tools")
        if block["id"] in seen:
            raise refuse(place, "`tool_use` ids must be unique")
        seen.add(block["id"])
        found.append(block["id"])
    return found


def _check_results(index: int, blocks: list[JsonObject], calls: list[str]) -> None:
    answered: set[str] = set()
    spoke = False
    for at, block in enumerate(blocks):
        place = f"messages.{index}.content.{at}"
        if block["type"] != "tool_result":
            spoke = True
            continue
        called = block["tool_use_id"]
        if called not in calls:
            raise refuse(
                place,
                f"unexpected `tool_use_id` found in `tool_result` blocks: {called}. Each `tool_result` block must have "
                "a corresponding `tool_use` block in the previous message.",
            )
        if called in answered:
            told = "each tool_use must have a single result. Found multiple `tool_result` blocks with id"
            raise refuse(place, f"{told}: {called}")
        if spoke:
            raise refuse(place, "`tool_result` blocks must come first in the message, before any other content")
        answered.add(called)
    missing = [call for call in calls if call not in answered]
    if missing:
        raise _unanswered(index - 1, missing)


def _unanswered(index: int, calls: list[str]) -> Refused:
    return refuse(
        f"messages.{index}",
        f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(calls)}. Each "
        "`tool_use` block must have a corresponding `tool_result` block in the next message.",
    )


def check_thinking(body: JsonObject, rules: Abilities, prompt: Prompt, thinks: bool) -> None:
    """Every thinking block must be as it was issued, and the one of the last tool turn must be there."""
    messages = body["messages"]
    last = max((index for index, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    for index, message in enumerate(messages):
        if message["role"] != "assistant" or isinstance(message["content"], str):
            continue
        for at, block in enumerate(message["content"]):
            if block["type"] == "thinking":
                _check_signature(f"messages.{index}.content.{at}", block, body["model"], rules, prompt.before[index])
        if index == last and thinks:
            _check_first(f"messages.{index}.content.0", message["content"], body)


def _check_signature(place: str, block: JsonObject, model: str, rules: Abilities, prefix: bytes) -> None:
    signed = signing.verify(block["signature"], block["thinking"])
    if signed is None:
        raise refuse(place, "Invalid `signature` in `thinking` block")
    if signed.model != signing.model_mark(model):  # the API drops it: here it is to be left out
        raise refuse(place, "Invalid `signature` in `thinking` block. The block is bound to another model.")
    if rules.bound_thinking and signed.prompt != prefix:
        raise refuse(
            place,
            "Invalid `signature` in `thinking` block. The block is bound to a different conversation. Remove the "
            'block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block".',
        )


def _check_first(place: str, blocks: list[JsonObject], body: JsonObject) -> None:
    calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    if not calls or not signing.came_with_thinking(calls[0]):
        return
    first = blocks[0]
    adapts = (body.get("thinking") or {}).get("type") != "enabled"
    if adapts and not signing.came_from(calls[0], body["model"]):
        return  # the thoughts of another model cannot be there
    if first["type"] != "thinking":
        raise refuse(
            f"{place}.type",
            f"Expected `thinking` or `redacted_thinking`, but found `{first['type']}`. When `thinking` is enabled, a "
            "final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` "
            "and `tool_result` blocks).",
        )
    if not signing.came_with(calls[0], first["signature"]):
        raise refuse(place, "`thinking` blocks in the latest assistant message cannot be modified")
