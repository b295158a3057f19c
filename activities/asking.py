"""The request of a model call: system prompt, tools, transcript, and how hard the model should think.

The transcript is loaded by reference and never changes, so what was read for one step is kept for the next (bounded);
a worker that has nothing kept reads it all. Prompt caching breakpoints stand on the system prompt, the last tool and
the last two user turns: at most four, as the API allows.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from session.masking import Masker
from session.models import ModelCard, card
from session.passages import Passage
from session.prompt import system_prompt
from session.tooling import Tool
from session.vocabulary import Effort
from store import Store
from store.transcript import CallResult, Said, Turn

MAX_OUTPUT_TOKENS = 32_000
KEPT_TRANSCRIPTS = 64
OPENING_BYTES = 400_000
"""Earlier messages beyond this are left out. Bytes rather than characters: a token is some four letters of English but
hardly one character of Chinese, and both must stay well inside the smallest window, 200,000 tokens."""
_THINKING_TOKENS: dict[Effort, int] = {"low": 1_024, "medium": 4_096, "high": 12_000, "max": 24_000}
_CACHED = {"type": "ephemeral"}
_WITH_TEMPERATURE = {"anthropic-version": "2023-06-01"}
"""The version of the API that the SDK speaks has no temperature any more; the first one still takes it."""
_UNANSWERED = "This call has no result: the session was interrupted before it ran."


class Transcript:
    """The messages of running sessions, and what these began with, kept between the steps of a worker."""

    def __init__(self, store: Store, masker: Masker | None = None) -> None:
        self._store = store
        self._masker = masker or Masker()
        self._kept: OrderedDict[str, list[list[dict[str, Any]]]] = OrderedDict()
        self._passages: OrderedDict[str, list[Passage]] = OrderedDict()

    async def messages(self, session_id: str, steps: int) -> list[dict[str, Any]]:
        """The messages before step `steps + 1`: what was said before the session, then its turns."""
        kept = self._kept.pop(session_id, None)
        if kept is None:
            kept = [opening_messages(await self._store.transcripts.opening(session_id))]
        if len(kept) - 1 < steps:
            turns = await self._store.transcripts.turns(session_id, after=len(kept) - 1)
            kept.extend(turn_messages(turn) for turn in turns if turn.step <= steps)
        self._kept[session_id] = kept
        while len(self._kept) > KEPT_TRANSCRIPTS:
            self._kept.popitem(last=False)
        return [message for part in kept[: steps + 1] for message in part]

    async def passages(self, session_id: str) -> list[Passage]:
        """What the session began with, masked as the results of tools are. Raises StoreUnavailable."""
        if session_id not in self._passages:
            found = await self._store.passages.of(session_id)
            self._passages[session_id] = [replace(one, text=self._masker.mask(one.text)) for one in found]
            while len(self._passages) > KEPT_TRANSCRIPTS:
                self._passages.popitem(last=False)
        return self._passages[session_id]

    def forget(self, session_id: str) -> None:
        self._kept.pop(session_id, None)
        self._passages.pop(session_id, None)


def opening_messages(said: list[Said]) -> list[dict[str, Any]]:
    """Earlier messages and the user's task as alternating messages, the oldest left out when they are too long."""
    kept: list[Said] = []
    size = 0
    for one in reversed(said):
        size += len(one.content.encode())
        if kept and size > OPENING_BYTES:
            break
        kept.append(one)
    messages: list[dict[str, Any]] = []
    for one in reversed(kept):
        if not messages and one.role == "assistant":
            continue
        text = {"type": "text", "text": one.content if one.content.strip() else "(empty)"}
        if messages and messages[-1]["role"] == one.role:
            messages[-1]["content"].append(text)
        else:
            messages.append({"role": one.role, "content": [text]})
    return messages


def turn_messages(turn: Turn) -> list[dict[str, Any]]:
    """A step as the model's message and the message with the results of its calls (every call has one, G6)."""
    if not turn.blocks:
        return []
    messages = [{"role": "assistant", "content": turn.blocks}]
    if turn.results:
        messages.append({"role": "user", "content": [_result_block(result) for result in turn.results]})
    return messages


def _result_block(call: CallResult) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": call.call_id}
    result = call.result or {"success": False, "error": {"code": "NOT_RUN", "message": _UNANSWERED}}
    text = result.get("content") or ""
    if not result["success"]:
        error = result["error"]
        said = f"{error['code']}: {error['message']}"
        text = f"{said}\n\n{text}" if text else said
        block["is_error"] = True
    block["content"] = text if text.strip() else "(no output)"
    return block


def model_request(
    row: Mapping[str, Any],
    tools: Collection[Tool],
    messages: list[dict[str, Any]],
    passages: Sequence[Passage] = (),
) -> dict[str, Any]:
    """Arguments of `client.messages.create` for a session's row, the tools it was offered, its messages, and the
    passages of memory that it began with."""
    settings = json.loads(row["settings"])
    today = datetime.fromtimestamp(row["created_ms"] / 1000, UTC).date().isoformat()
    system = system_prompt(agent=bool(tools), custom=settings["systemPrompt"], today=today, passages=passages)
    known = card(row["model"])
    request: dict[str, Any] = {
        "model": row["model"],
        "max_tokens": min(MAX_OUTPUT_TOKENS, known.max_output_tokens),
        "system": [{"type": "text", "text": system, "cache_control": _CACHED}],
        "messages": _with_breakpoints(messages),
        "metadata": {"user_id": row["id"]},
        **_thinking(known, row["effort"], settings["temperature"], row["show_thinking"]),
    }
    if tools:
        described = [_described(tool) for tool in tools]
        described[-1] = {**described[-1], "cache_control": _CACHED}
        request["tools"] = described
    return request


def _described(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}


def _thinking(known: ModelCard, effort: Effort, temperature: float | None, shown: bool) -> dict[str, Any]:
    """Effort and thinking as the model takes them. A temperature (where it is taken) excludes thinking."""
    told: dict[str, Any] = {}
    if known.takes_effort:
        told["output_config"] = {"effort": known.effort(effort)}
    if temperature is not None and known.takes_temperature:
        return {**told, "extra_body": {"temperature": temperature}, "extra_headers": _WITH_TEMPERATURE}
    if known.thinking == "adaptive":
        told["thinking"] = {"type": "adaptive", "display": "summarized" if shown else "omitted"}
    elif known.thinking == "budget":
        told["thinking"] = {
            "type": "enabled",
            "budget_tokens": min(_THINKING_TOKENS[effort], known.max_output_tokens - 1),
        }
    return told


def _with_breakpoints(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    marked = list(messages)
    last_two = [index for index, message in enumerate(marked) if message["role"] == "user"][-2:]
    for index in last_two:
        *before, last = marked[index]["content"]
        marked[index] = {**marked[index], "content": [*before, {**last, "cache_control": _CACHED}]}
    return marked
