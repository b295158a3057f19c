"""One reply, laid out: the frames of its stream and the message of a call without streaming."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from fake_model import frames, signing
from fake_model.billing import Bill, tokens
from fake_model.fields import JsonObject
from fake_model.scripts import ToolUse, Turn


class Delta(NamedTuple):
    """A frame that counts as a delta; `before` are the block edges that go out with it. None: a time stamp."""

    before: bytes
    frame: bytes | None
    block: int
    chars: int


@dataclass(slots=True)
class Reply:
    """`head`, then the deltas, then `tail`; what was sent until then is billed."""

    name: str
    model: str
    turn: Turn
    bill: Bill
    output_tokens: int = 0
    head: bytes = b""
    deltas: list[Delta] = field(default_factory=list)
    tail: bytes = b""
    content: list[JsonObject] = field(default_factory=list)
    stopped: JsonObject = field(default_factory=dict)

    def message(self) -> JsonObject:
        """The whole reply as a Message."""
        usage = {**self.bill.as_usage(), "output_tokens": self.output_tokens}
        return {**_message(self, usage), "content": self.content, **self.stopped}

    def tokens_sent(self, deltas: int) -> int:
        """Output tokens to pay when the stream ended after so many deltas."""
        if self.turn.output_tokens is not None:
            return self.turn.output_tokens * deltas // max(1, len(self.deltas))
        return max(1, tokens(sum(delta.chars for delta in self.deltas[:deltas])))


class _Layout:
    """Builds a reply block by block; edges wait for the delta that takes them along."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.chars = 0
        self._edges = b""

    def block(
        self,
        start: JsonObject,
        whole: JsonObject,
        deltas: tuple[tuple[bytes | None, int], ...],
        first: bytes = b"",
        last: bytes = b"",
    ) -> None:
        index = len(self.reply.content)
        self.reply.content.append(whole)
        self._edges += frames.block_start(index, start) + first
        for frame, chars in deltas:
            self.reply.deltas.append(Delta(self._edges, frame, index, chars))
            self._edges = b""
            self.chars += chars
        self._edges += last + frames.block_stop(index)

    def finish(self, max_tokens: int) -> None:
        reply = self.reply
        override = reply.turn.output_tokens
        reply.output_tokens = max(1, tokens(self.chars)) if override is None else override
        reason = reply.turn.reason
        if reply.output_tokens > max_tokens:
            self._cut(max_tokens)
            reason = "max_tokens"
        usage = {**reply.bill.as_usage(), "output_tokens": reply.output_tokens}
        reply.stopped = {"stop_reason": reason, "stop_sequence": None}
        ending = frames.event("message_delta", {"delta": reply.stopped, "usage": usage})
        reply.tail = self._edges + ending + frames.MESSAGE_STOP

    def _cut(self, max_tokens: int) -> None:
        """Keep the deltas that the limit has room for; the block of the last one ends there. All of the limit is paid.
        A message without streaming keeps the whole blocks before that one."""
        reply = self.reply
        kept = bisect_right(range(len(reply.deltas) + 1), max_tokens, key=reply.tokens_sent) - 1
        reply.deltas = reply.deltas[:kept]
        if reply.turn.output_tokens is not None:
            reply.turn = reply.turn.model_copy(update={"output_tokens": max_tokens})
        reply.output_tokens = max_tokens
        index = reply.deltas[-1].block if kept else 0
        reply.content = reply.content[:index]
        self._edges = frames.block_stop(index) if kept else b""


def lay_out(
    turn: Turn,
    *,
    name: str,
    model: str,
    bill: Bill,
    prompt: bytes,
    thinks: bool,
    hidden: bool,
    broken: bool,
    max_tokens: int,
) -> Reply:
    """The reply that a turn becomes. `name` makes its ids, `hidden` leaves thinking blocks without their text (they are
    paid all the same), `broken` cuts the JSON of the last tool's input, and `max_tokens` ends what would be longer."""
    reply = Reply(name=name, model=model, turn=turn, bill=bill)
    started = {**_message(reply, {**bill.as_usage(), "output_tokens": 1}), "content": []}
    reply.head = frames.event("message_start", {"message": started}) + frames.PING
    layout = _Layout(reply)
    signature = _think(layout, turn, prompt, hidden) if thinks and turn.thinking is not None else None
    if turn.text or turn.text_tokens:
        _speak(layout, turn)
    for index, tool in enumerate(turn.tools):
        called = signing.tool_use_id(model, name, index, signature)
        _call(layout, tool, called, turn.chunk_chars, broken=broken and index == len(turn.tools) - 1)
    layout.finish(max_tokens)
    return reply


def _message(reply: Reply, usage: dict[str, int]) -> JsonObject:
    return {
        "id": signing.message_id(reply.name),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "service_tier": "standard"},
    }


def _think(layout: _Layout, turn: Turn, prompt: bytes, hidden: bool) -> str:
    shown = "" if hidden else turn.thinking or ""
    signature = signing.sign(layout.reply.model, prompt, shown)
    index = len(layout.reply.content)
    layout.block(
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking", "thinking": shown, "signature": signature},
        frames.deltas(index, "thinking", shown, turn.chunk_chars),
        last=frames.delta(index, "signature", signature),
    )
    if hidden:
        layout.chars += len(turn.thinking or "")
    return signature


def _speak(layout: _Layout, turn: Turn) -> None:
    index = len(layout.reply.content)
    spoken = frames.deltas(index, "text", turn.text or "", turn.chunk_chars)
    deltas: tuple[tuple[bytes | None, int], ...] = spoken + frames.filler(index, turn.text_tokens)
    text = (turn.text or "") + "".join(frames.filler_words(turn.text_tokens))
    if turn.timestamps:
        deltas = tuple((None, 20) for _ in deltas)
    layout.block({"type": "text", "text": ""}, {"type": "text", "text": text}, deltas)


def _call(layout: _Layout, tool: ToolUse, called: str, size: int, *, broken: bool) -> None:
    index = len(layout.reply.content)
    text = json.dumps(tool.input, ensure_ascii=False)
    whole = {"type": "tool_use", "id": called, "name": tool.name, "input": {} if broken else tool.input}
    if broken:
        text = text[: max(1, len(text) // 2)]
    layout.block(
        {**whole, "input": {}},
        whole,
        frames.deltas(index, "input_json", text, size),
        first=frames.delta(index, "input_json", ""),
    )
