"""The request of a model call: system prompt, tools, transcript, and how hard the model should think.

Prompt caching breakpoints stand on both parts of the system prompt and on the last two user turns: at most four, as the
API allows. The first part and the tools before it are the same for many sessions, which so read them from the cache at
their first step.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from activities.transcript import THOUGHTS
from session.budget import LEAST_OUTPUT
from session.compaction import SUMMARISE
from session.models import ModelCard, card
from session.tooling import Tool
from session.vocabulary import Effort

_THINKING_TOKENS: dict[Effort, int] = {"low": 1_024, "medium": 4_096, "high": 12_000, "max": 24_000}
_SHORTEST_THOUGHT = 1_024
_CACHED = {"type": "ephemeral"}
_WITH_TEMPERATURE = {"anthropic-version": "2023-06-01"}
"""The version of the API that the SDK speaks has no temperature any more; the first one still takes it."""


def model_request(
    row: Mapping[str, Any],
    tools: Collection[Tool],
    messages: list[dict[str, Any]],
    system: Sequence[str],
    allowed: int | None = None,
) -> dict[str, Any]:
    """Arguments of `client.messages.create` for a session's row, the tools it was offered, its messages, the parts
    of its system prompt, and the tokens that its budgets let the reply have."""
    settings = json.loads(row["settings"])
    known = card(row["model"])
    most = known.output_limit if allowed is None else min(known.output_limit, allowed)
    request: dict[str, Any] = {
        "model": row["model"],
        "max_tokens": most,
        "system": [{"type": "text", "text": part, "cache_control": _CACHED} for part in system if part],
        "messages": _with_breakpoints(messages),
        "metadata": {"user_id": row["id"]},
        **_thinking(known, row, most, settings["temperature"], may_begin=_may_think(messages)),
    }
    if tools:
        request["tools"] = [_described(tool) for tool in tools]
    return request


def summary_request(row: Mapping[str, Any], transcript: str, most: int, allowed: int | None) -> dict[str, Any]:
    """The same for a summary of a transcript, `most` tokens long at most: without tools, with little thought."""
    known = card(row["model"])
    most = min(most + _THINKING_TOKENS["medium"], known.output_limit, allowed or known.output_limit)
    return {
        "model": row["model"],
        "max_tokens": most,
        "system": [_text(SUMMARISE)],
        "messages": [{"role": "user", "content": [_text(transcript)]}],
        "metadata": {"user_id": row["id"]},
        **_thinking(known, {**row, "effort": "low", "show_thinking": False}, most, None, may_begin=True),
    }


def counted_part(request: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a request that makes its prompt, as `client.messages.count_tokens` takes it."""
    names = ("model", "system", "messages", "tools", "thinking", "output_config")
    return {name: request[name] for name in names if name in request}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _described(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}


def _thinking(
    known: ModelCard, row: Mapping[str, Any], most: int, temperature: float | None, *, may_begin: bool
) -> dict[str, Any]:
    """Effort and thinking as the model takes them. A temperature (where it is taken) excludes thinking. So does, for a
    model that is given a budget of its own for it, a reply that may not be much longer than the shortest thought that
    can be asked for, and a loop of tool calls that was begun without."""
    told: dict[str, Any] = {}
    if known.takes_effort:
        told["output_config"] = {"effort": known.effort(row["effort"])}
    if temperature is not None and known.takes_temperature:
        return {**told, "extra_body": {"temperature": temperature}, "extra_headers": _WITH_TEMPERATURE}
    if known.thinking == "adaptive":
        told["thinking"] = {"type": "adaptive", "display": "summarized" if row["show_thinking"] else "omitted"}
    elif known.thinking == "budget" and may_begin and most >= _SHORTEST_THOUGHT + LEAST_OUTPUT:
        told["thinking"] = {
            "type": "enabled",
            "budget_tokens": min(_THINKING_TOKENS[row["effort"]], most - LEAST_OUTPUT),
        }
    return told


def _may_think(messages: list[dict[str, Any]]) -> bool:
    """False within a loop of tool calls whose last turn has no thought at its head: another model's was left out, or
    there was none. With a budget for thinking the API takes such a loop for a mistake."""
    last = next((message["content"] for message in reversed(messages) if message["role"] == "assistant"), None)
    calls = last is not None and any(block["type"] == "tool_use" for block in last)
    return last is None or not calls or last[0]["type"] in THOUGHTS


def _with_breakpoints(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    marked = list(messages)
    last_two = [index for index, message in enumerate(marked) if message["role"] == "user"][-2:]
    for index in last_two:
        *before, last = marked[index]["content"]
        marked[index] = {**marked[index], "content": [*before, {**last, "cache_control": _CACHED}]}
    return marked
