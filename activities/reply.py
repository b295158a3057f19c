"""Putting a streamed reply together: the blocks exactly as received, and the fragments for those who watch.

Works on the events of the wire as plain objects (activities.streaming). The SDK's accumulating helper does the same at
a multiple of the CPU per fragment and accepts a cut stream in silence; here a stream without `message_stop`, or a tool
input that is not whole JSON, is a Cut (DESIGN §4).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from activities.provider_errors import Cut
from session.structured import is_deeper
from session.usage import Usage

Fragment = tuple[Literal["thinking", "text"], str]

DEEPEST = 64
"""Levels of lists and objects in a call's arguments. What walks them (masking, the store's JSON) goes down by
recursion, and a reply that breaks it would be bought again and break it again."""


@dataclass(slots=True)
class _Block:
    start: dict[str, Any]
    pieces: list[str] = field(default_factory=list)
    signature: str = ""


@dataclass(slots=True)
class ReplyBuilder:
    """Feed it the events of one stream; ask for `blocks()` when it is `whole`."""

    usage: Usage = field(default_factory=Usage)
    stop_reason: str | None = None
    request_id: str | None = None
    whole: bool = False
    cut: set[str] = field(default_factory=set)
    """Ids of the calls whose arguments the model's output limit cut off."""
    deep: set[str] = field(default_factory=set)
    """Ids of the calls whose arguments are nested deeper than `DEEPEST`; they are left out."""
    _blocks: list[_Block] = field(default_factory=list)

    def feed(self, event: Mapping[str, Any]) -> Fragment | None:
        """Take one event; return the fragment of text or thinking that it brought. Raises Cut for one that lacks what
        its type has."""
        try:
            return self._feed(event)
        except (AttributeError, LookupError, TypeError) as error:
            raise Cut(f"an event of the stream is not what it should be: {event.get('type')}") from error

    def _feed(self, event: Mapping[str, Any]) -> Fragment | None:
        kind = event["type"]
        if kind == "content_block_delta":
            return self._feed_delta(event["index"], event["delta"])
        if kind == "content_block_start":
            self._blocks.append(_Block(event["content_block"]))
        elif kind == "message_start":
            self._take_usage(event["message"]["usage"])
        elif kind == "message_delta":
            self.stop_reason = event["delta"].get("stop_reason")
            self._take_usage(event.get("usage") or {})
        elif kind == "message_stop":
            self.whole = True
        return None

    def _feed_delta(self, index: int, delta: Mapping[str, Any]) -> Fragment | None:
        block, kind = self._blocks[index], delta["type"]
        if kind == "text_delta":
            text = _encodable(delta["text"])
            block.pieces.append(text)
            return ("text", text)
        if kind == "thinking_delta":
            text = _encodable(delta["thinking"])
            block.pieces.append(text)
            return ("thinking", text)
        if kind == "input_json_delta":
            block.pieces.append(delta["partial_json"])
        elif kind == "signature_delta":
            block.signature += delta["signature"]
        return None

    def _take_usage(self, told: Mapping[str, Any]) -> None:
        """Counts are running totals: a later one replaces an earlier one, an absent one leaves it."""
        now = self.usage
        self.usage = Usage(
            _given(told.get("input_tokens"), now.input_tokens),
            _given(told.get("output_tokens"), now.output_tokens),
            _given(told.get("cache_read_input_tokens"), now.cache_read_tokens),
            _given(told.get("cache_creation_input_tokens"), now.cache_write_tokens),
        )

    def blocks(self) -> list[dict[str, Any]]:
        """The whole reply's blocks, fit to be sent back as they are. Raises Cut."""
        if not self.whole:
            raise Cut("the stream ended before the message did")
        told = [self._finish(block) for block in self._blocks]
        # Models write blank text before a call, and the API refuses it when it comes back.
        return [block for block in told if block["type"] != "text" or block["text"].strip()]

    def _finish(self, block: _Block) -> dict[str, Any]:
        kind = block.start["type"]
        told = {name: value for name, value in block.start.items() if value is not None}
        if kind == "text":
            return {"type": "text", "text": "".join([block.start.get("text") or "", *block.pieces])}
        if kind == "thinking":
            text = "".join([block.start.get("thinking") or "", *block.pieces])
            return {"type": kind, "thinking": text, "signature": block.signature or told.get("signature", "")}
        if kind == "tool_use":
            return {"type": kind, "id": told["id"], "name": told["name"], "input": self._input(block)}
        return told

    def _input(self, block: _Block) -> dict[str, Any]:
        text = "".join(block.pieces)
        try:
            value = json.loads(text) if text.strip() else block.start.get("input") or {}
            if is_deeper(value, DEEPEST):
                raise RecursionError
        except RecursionError:
            self.deep.add(block.start["id"])
            return {}
        except ValueError as error:
            if self.stop_reason == "max_tokens":  # the model ran into its output limit: a bad call, not a bad stream
                self.cut.add(block.start["id"])
                return {}
            raise Cut(f"the input of {block.start.get('name')} is not whole JSON") from error
        return json.loads(_encodable(json.dumps(value, ensure_ascii=False))) if isinstance(value, dict) else {}

    def partial_blocks(self) -> list[dict[str, Any]]:
        """What may be kept of a reply that was stopped: its text. Half a thought or half a call is worth nothing."""
        texts = ["".join(block.pieces) for block in self._blocks if block.start["type"] == "text"]
        return [{"type": "text", "text": text} for text in texts if text]


def _encodable(text: str) -> str:
    """The text with a replacement mark for lone surrogates, which a model may write and UTF-8 cannot."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _given(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def text_of(blocks: list[dict[str, Any]]) -> str:
    return "".join(block["text"] for block in blocks if block["type"] == "text")


def thinking_of(blocks: list[dict[str, Any]]) -> str:
    return "\n\n".join(block["thinking"] for block in blocks if block["type"] == "thinking" and block["thinking"])


def digest(name: str, arguments: dict[str, Any]) -> str:
    """Equal for two calls of the same tool with the same arguments."""
    canonical = json.dumps([name, arguments], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
