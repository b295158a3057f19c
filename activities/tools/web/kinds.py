"""What kind of content an answer has: text that can be shown, a page to be made readable, or neither."""

from __future__ import annotations

from typing import Literal

Kind = Literal["page", "text", "binary", "unknown"]

_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_TEXTS = frozenset(
    f"application/{name}"
    for name in (
        *("json", "xml", "javascript", "ecmascript", "x-javascript", "yaml", "x-yaml", "toml", "sql", "graphql"),
        *("x-ndjson", "jsonl", "json-seq", "x-sh", "rtf", "x-www-form-urlencoded", "xml-dtd", "x-httpd-php", "x-tex"),
    )
)
_UNTOLD = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/unknown"})


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def kind(content_type: str) -> Kind:
    """By the header alone. `unknown`: the header does not say, the content has to be looked at."""
    name = media_type(content_type)
    if name in _PAGES:
        return "page"
    if name.startswith("text/") or name in _TEXTS or name.endswith(("+json", "+xml", "+yaml")):
        return "text"
    return "unknown" if name in _UNTOLD else "binary"


def looked_at(body: bytes) -> Kind:
    """By the content: binary has NUL bytes or control characters that no text has, a page begins like one."""
    begin = body[:8_192]
    if begin.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16
        return "text"
    odd = sum(byte < 32 and byte not in b"\t\n\r\f\b\x1b" for byte in begin)
    if b"\x00" in begin or odd > len(begin) // 50:
        return "binary"
    head = begin.removeprefix(b"\xef\xbb\xbf").lstrip()[:100].lower()
    return "page" if head.startswith((b"<!doctype html", b"<html")) else "text"
