"""Server-sent events of a streamed reply, as bytes. Frames of short texts are made once and kept."""

from __future__ import annotations

import json
from functools import lru_cache

from fake_model.fields import JsonObject

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
KEPT_CHARS = 4096
"""Frames of longer texts are made anew each time, so that memory stays small."""
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_LOREM = (
    *("lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do", "eiusmod", "tempor"),
    *("incididunt", "ut", "labore", "et", "dolore", "magna", "aliqua", "quis", "nostrud", "exercitation", "ullamco"),
)
_DELTA_FIELD = {"text": "text", "thinking": "thinking", "input_json": "partial_json", "signature": "signature"}


def event(kind: str, rest: JsonObject) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **rest}).encode())


def block_start(index: int, block: JsonObject) -> bytes:
    return event("content_block_start", {"index": index, "content_block": block})


@lru_cache(maxsize=64)
def block_stop(index: int) -> bytes:
    return event("content_block_stop", {"index": index})


def delta(index: int, kind: str, value: str) -> bytes:
    """A content_block_delta of kind text, thinking, input_json or signature."""
    inner = {"type": f"{kind}_delta", _DELTA_FIELD[kind]: value}
    return event("content_block_delta", {"index": index, "delta": inner})


@lru_cache(maxsize=64)
def _text_edges(index: int) -> tuple[bytes, bytes]:
    before, after = delta(index, "text", "|").split(b"|")
    return before, after


def stamped(index: int, text: str) -> bytes:
    """A text delta around `text`, which needs no escaping; for frames made at the moment of writing."""
    before, after = _text_edges(index)
    return before + text.encode() + after


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def deltas(index: int, kind: str, text: str, size: int) -> tuple[tuple[bytes, int], ...]:
    """The deltas of a text in pieces of `size` characters, each with its number of characters."""
    made = _kept_deltas if len(text) <= KEPT_CHARS else _deltas
    return made(index, kind, text, size)


def _deltas(index: int, kind: str, text: str, size: int) -> tuple[tuple[bytes, int], ...]:
    return tuple((delta(index, kind, piece), len(piece)) for piece in pieces(text, size))


_kept_deltas = lru_cache(maxsize=1024)(_deltas)


@lru_cache(maxsize=256)
def filler(index: int, count: int) -> tuple[tuple[bytes, int], ...]:
    """`count` text deltas of one word each."""
    words = filler_words(count)
    made = {word: (delta(index, "text", word), len(word)) for word in set(words)}
    return tuple(made[word] for word in words)


def filler_words(count: int) -> list[str]:
    return [_LOREM[at % len(_LOREM)] + " " for at in range(count)]
