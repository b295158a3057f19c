"""The shape of content blocks: which fields each kind has, and in whose messages it may stand."""

from __future__ import annotations

from typing import Any

from fake_model import fields
from fake_model.fields import JsonObject, refuse
from fake_model.refusal import Refused

_CACHED = ("type", "cache_control")
FIELDS: dict[str, tuple[str, ...]] = {
    "text": (*_CACHED, "text", "citations"),
    "image": (*_CACHED, "source", "transformations"),
    "document": (*_CACHED, "source", "title", "context", "citations"),
    "search_result": (*_CACHED, "content", "source", "title", "citations"),
    "tool_reference": (*_CACHED, "tool_name"),
    "thinking": ("type", "thinking", "signature"),
    "redacted_thinking": ("type", "data"),
    "tool_use": (*_CACHED, "id", "name", "input", "caller", "toolset_name"),
    "tool_result": (*_CACHED, "tool_use_id", "content", "is_error", "toolset_name"),
}
_OF_USERS = ("text", "image", "document", "search_result", "tool_result")
_OF_ASSISTANTS = ("text", "thinking", "redacted_thinking", "tool_use")
_IN_RESULTS = ("text", "image", "search_result", "document", "tool_reference")


def blocks_of(content: Any) -> list[JsonObject]:
    """Content as blocks: a string is short for one text block."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def check_content(place: str, role: str, content: Any) -> None:
    """Raises:
    Refused: the content of this message would be refused.
    """
    if isinstance(content, str):
        _check_text(f"{place}.content", content)
        return
    if not isinstance(content, list):
        raise refuse(f"{place}.content", "Input should be a valid list")
    if not content:
        raise refuse(place, f"{role} messages must have non-empty content")
    allowed = _OF_USERS if role == "user" else _OF_ASSISTANTS
    for index, block in enumerate(content):
        _check_block(f"{place}.content.{index}", role, block, allowed)
    if role == "assistant" and content[-1]["type"] in ("thinking", "redacted_thinking"):
        raise refuse(place, "The final block in an assistant message cannot be `thinking`.")


def check_system(system: Any) -> None:
    """A system prompt is a text or a list of text blocks, none of them empty."""
    if isinstance(system, str):
        return
    for index, block in enumerate(fields.a_list("system", system)):
        _check_block(f"system.{index}", "system", block, ("text",))


def _check_block(place: str, role: str, block: Any, allowed: tuple[str, ...]) -> None:
    kind = fields.required(place, fields.an_object(place, block), "type")
    if kind not in FIELDS:
        expected = ", ".join(repr(name) for name in allowed)
        found = f"Input tag {kind!r} found using 'type' does not match any of the expected tags: {expected}"
        raise refuse(place, found)
    if kind not in allowed:
        raise refuse(place, f"`{kind}` blocks are not permitted in {role} messages")
    place = f"{place}.{kind}"
    fields.no_extras(place, block, FIELDS[kind])
    fields.a_cache_control(place, block)
    check = _CHECKS.get(kind)
    if check:
        check(place, block)


def _check_text(place: str, text: str) -> None:
    if not text:
        raise refuse(place, "text content blocks must be non-empty")
    if not text.strip():
        raise refuse(place, "text content blocks must contain non-whitespace text")


def _text(place: str, block: JsonObject) -> None:
    _check_text(place, fields.a_string(place, block, "text"))
    citations = block.get("citations")
    if citations is not None:
        fields.a_list(f"{place}.citations", citations)


def _thinking(place: str, block: JsonObject) -> None:
    fields.a_string(place, block, "thinking")
    fields.a_string(place, block, "signature")


def _redacted(place: str, block: JsonObject) -> None:
    fields.a_string(place, block, "data")


def _source(place: str, block: JsonObject) -> None:
    fields.an_object(f"{place}.source", fields.required(place, block, "source"))


def _tool_use(place: str, block: JsonObject) -> None:
    fields.a_string(place, block, "id")
    fields.a_string(place, block, "name")
    fields.an_object(f"{place}.input", fields.required(place, block, "input"))
    if "caller" in block:
        fields.an_object(f"{place}.caller", block["caller"])


def _tool_result(place: str, block: JsonObject) -> None:
    fields.a_string(place, block, "tool_use_id")
    failed = block.get("is_error", False)
    if not isinstance(failed, bool):
        raise refuse(f"{place}.is_error", "Input should be a valid boolean")
    content = block.get("content", "")
    if failed and not content:
        raise Refused(f"{place}: content cannot be empty if `is_error` is true")
    if isinstance(content, str):
        return
    for index, part in enumerate(fields.a_list(f"{place}.content", content)):
        _check_block(f"{place}.content.{index}", "tool_result", part, _IN_RESULTS)


_CHECKS = {
    "text": _text,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "image": _source,
    "document": _source,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}
