"""Signatures of thinking blocks and ids of tool calls: both can be checked later without remembering anything.

A signature holds the digest of the prompt that the block was issued for, the mark of the model, and an HMAC over both
and the text. A tool call's id begins with a mark of the thinking block that came with it, so a block that was left out
is missed, and one of the model.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from binascii import Error
from dataclasses import dataclass
from hashlib import blake2b

from fake_model.prompt import DIGEST_BYTES

_KEY = b"perdure fake model"
_PREFIX = b"fake-thinking/1:"
_MODEL_BYTES = 4
_UNTHINKING = "0" * 8
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789"


@dataclass(frozen=True, slots=True)
class Signed:
    prompt: bytes
    model: bytes


def sign(model: str, prompt: bytes, thinking: str) -> str:
    """The signature of a thinking block that a model issued for this prompt."""
    head = prompt + model_mark(model)
    return b64encode(_PREFIX + head + _seal(head, thinking)).decode()


def model_mark(model: str) -> bytes:
    return blake2b(model.encode(), key=_KEY, digest_size=_MODEL_BYTES).digest()


def verify(signature: str, thinking: str) -> Signed | None:
    """What the signature says, or None when it was not issued for this text."""
    try:
        raw = b64decode(signature, validate=True)
    except (Error, ValueError):
        return None
    head = raw[len(_PREFIX) : len(_PREFIX) + DIGEST_BYTES + _MODEL_BYTES]
    expected = _PREFIX + head + _seal(head, thinking)
    return Signed(head[:DIGEST_BYTES], head[DIGEST_BYTES:]) if hmac.compare_digest(raw, expected) else None


def tool_use_id(model: str, reply: str, index: int, signature: str | None) -> str:
    """The id of the reply's tool call `index`: unique, and the same again for the same reply."""
    return f"toolu_01{_mark(signature)}{_letters(model, 4)}{_letters(f'{reply}/{index}', 10)}"


def came_from(tool_use_id: str, model: str) -> bool:
    """True when the call was issued by this model."""
    return tool_use_id[16:20] == _letters(model, 4)


def came_with_thinking(tool_use_id: str) -> bool:
    return tool_use_id.startswith("toolu_01") and len(tool_use_id) == 30 and tool_use_id[8:16] != _UNTHINKING


def came_with(tool_use_id: str, signature: str) -> bool:
    """True when the call was issued together with the thinking block of this signature."""
    return tool_use_id[8:16] == _mark(signature)


def message_id(reply: str) -> str:
    return f"msg_01{_letters(reply, 22)}"


def _seal(head: bytes, thinking: str) -> bytes:
    return hmac.digest(_KEY, head + thinking.encode(), "sha256")


def _mark(signature: str | None) -> str:
    return _UNTHINKING if signature is None else _letters(signature, 8)


def _letters(text: str, count: int) -> str:
    number = int.from_bytes(blake2b(text.encode(), key=_KEY, digest_size=24).digest())
    found = []
    for _ in range(count):
        number, rest = divmod(number, len(_LETTERS))
        found.append(_LETTERS[rest])
    return "".join(found)
