"""An answer as the model sees it: a line that says what came from where, then its text.

    200 OK · text/html · https://docs.example/guide (redirected from https://docs.example/)
    Title: Guide

    # Guide
    …

Raises ToolError: HTTP_STATUS for 400 and above, TOO_LARGE, TIMEOUT and BROKEN_RESPONSE for an answer that is not whole
(each with the text that came), BINARY_CONTENT.
"""

from __future__ import annotations

import asyncio

from activities.tools.spec import ToolContext, ToolError, ToolOutput
from activities.tools.text import count
from activities.tools.web.charset import decoded
from activities.tools.web.exchange import Bounds, Head, Reply
from activities.tools.web.kinds import kind, looked_at, media_type
from activities.tools.web.readable import Readable, readable

_SHOWN_HEADERS = 8_000


def refuse_binary(head: Head) -> None:
    """For the head of an answer, so that what could not be shown is not even loaded."""
    content_type = head.headers.get("content-type", "")
    if head.status < 400 and head.headers.get("content-length") != "0" and kind(content_type) == "binary":
        length = head.headers.get("content-length", "")
        raise _binary(media_type(content_type), count(int(length), "byte") if length.isdecimal() else "unknown size")


async def shown(method: str, reply: Reply, context: ToolContext, bounds: Bounds) -> ToolOutput:
    """The answer as the model sees it."""
    head = reply.head
    if method == "HEAD":
        read = Readable("".join(f"{name}: {value}\n" for name, value in head.headers.items())[:_SHOWN_HEADERS])
    else:
        read = await _text(reply, context, bounds)
    notes = [f"[{note}]" for note in (read.trouble, "" if read.whole else "the page goes on") if note]
    content = "\n".join((_line(reply), "\n".join((*notes, read.text or "[no content]"))))
    if reply.ended != "whole":
        raise _cut(method, reply, bounds, content)
    if head.status >= 400 or head.status < 200:
        named = f"{head.status} {head.reason}".strip()
        raise ToolError("HTTP_STATUS", f"{head.target} answered {named}", content)
    return ToolOutput(content, truncated=not read.whole)


async def _text(reply: Reply, context: ToolContext, bounds: Bounds) -> Readable:
    head, body = reply.head, reply.body
    content_type = head.headers.get("content-type", "")
    found = kind(content_type)
    if found == "unknown" or (found == "text" and "charset" not in content_type.lower()):
        seen = looked_at(body)
        found = seen if found == "unknown" or seen == "binary" else found
    if found == "binary" and body:
        if head.status < 400:
            raise _binary(media_type(content_type) or "unknown type", count(len(body), "byte"))
        return Readable(trouble=f"{count(len(body), 'byte')} that are not text")
    text = await asyncio.to_thread(decoded, body, content_type, found == "page")
    if found != "page" or not text.strip():
        return Readable(text)
    read = await readable(text, str(head.target), context, bounds.reading_seconds)
    if not read.trouble:
        return read
    return Readable(text, whole=True, trouble=f"the page is shown as it is, since {read.trouble}")


def _line(reply: Reply) -> str:
    head = reply.head
    parts = [f"{head.status} {head.reason}".strip()]
    if content_type := media_type(head.headers.get("content-type", "")):
        parts.append(content_type)
    came_from = f" (redirected from {reply.hops[0]})" if reply.hops else ""
    parts.append(f"{head.target}{came_from}")
    if (location := head.headers.get("location")) and head.status < 400:
        parts.append(f"location: {location[:1_000]}")
    return " · ".join(parts)


def _cut(method: str, reply: Reply, bounds: Bounds, content: str) -> ToolError:
    came = f"what came of it, {count(len(reply.body), 'byte')}, is shown"
    if reply.ended == "too large":
        return ToolError("TOO_LARGE", f"the answer is larger than {count(bounds.size, 'byte')}; {came}", content)
    if reply.ended == "too slow":
        return ToolError("TIMEOUT", f"the answer did not come to its end in time; {came}", content)
    return ToolError("BROKEN_RESPONSE", f"the answer broke off, or is not compressed as it says; {came}", content)


def _binary(content_type: str, size: str) -> ToolError:
    return ToolError("BINARY_CONTENT", f"the answer is {content_type}, {size}, which cannot be shown as text")
