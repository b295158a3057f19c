"""A request's prompt as a chain of hashes, read once: for the token count, the prompt cache and the thinking blocks.

The order is the API's: tools, system, messages. Cache breakpoints are no part of what is hashed, and the order of JSON
keys does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from fake_model.blocks import blocks_of
from fake_model.fields import JsonObject

DIGEST_BYTES = 12
_dump = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


@dataclass(slots=True)
class Prompt:
    """`digests[k]`, `chars[k]`: of the prompt up to and with its k-th block. `marks`: the blocks with a breakpoint.

    `before[i]` is the digest of all that stands before message i; its last one is the whole prompt's.
    """

    digests: list[bytes] = field(default_factory=list)
    chars: list[int] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    before: list[bytes] = field(default_factory=list)

    @property
    def total_chars(self) -> int:
        return self.chars[-1] if self.chars else 0


def read_prompt(body: JsonObject) -> Prompt:
    """The prompt of a request whose shape was found good."""
    prompt = Prompt()
    running = blake2b(digest_size=DIGEST_BYTES)
    total = 0
    for kind, block in _blocks(body):
        if kind == "message":
            prompt.before.append(running.digest())
            running.update(b"\0" + block["role"].encode())
            continue
        text = _dump(_without_marks(block))
        running.update(text.encode())
        total += len(text)
        prompt.digests.append(running.digest())
        prompt.chars.append(total)
        if _is_marked(block):
            prompt.marks.append(len(prompt.digests) - 1)
    prompt.before.append(running.digest())
    if body.get("cache_control") is not None and prompt.digests:
        prompt.marks.append(len(prompt.digests) - 1)
    return prompt


def _blocks(body: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for tool in body.get("tools") or ():
        yield "tool", tool
    for block in blocks_of(body.get("system") or []):
        yield "system", block
    for message in body["messages"]:
        yield "message", message
        for block in blocks_of(message["content"]):
            yield "block", block


def _is_marked(block: JsonObject) -> bool:
    if block.get("cache_control") is not None:
        return True
    content = block.get("content")
    return isinstance(content, list) and any(part.get("cache_control") is not None for part in content)


def _without_marks(block: JsonObject) -> JsonObject:
    clean: dict[str, Any] = {key: value for key, value in block.items() if key != "cache_control"}
    content = clean.get("content")
    if isinstance(content, list):
        clean["content"] = [_without_marks(part) for part in content]
    return clean
