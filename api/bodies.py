"""Rules for request bodies, before anything is read into memory: at most 4 MiB, and JSON says so (CONTRACT §6)."""

from __future__ import annotations

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem

MAX_BYTES = 4 << 20
"""200,000 characters of content, each escaped as `\\uXXXX` pairs, fit into 2.4 MB."""

_TOO_LARGE = Problem(413, "BODY_TOO_LARGE", f"The body must be at most {MAX_BYTES} bytes.")
_NOT_JSON = Problem(415, "UNSUPPORTED_MEDIA_TYPE", "Send JSON with the header 'Content-Type: application/json'.")


class BodyRules:
    """ASGI middleware. A JSON content type is demanded of every request with a body, which also keeps plain forms of
    foreign pages out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        has_body = (length.isdigit() and int(length) > 0) or "transfer-encoding" in headers
        if length.isdigit() and int(length) > MAX_BYTES:
            await _TOO_LARGE.response()(scope, receive, send)
        elif has_body and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            await _NOT_JSON.response()(scope, receive, send)
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = 0

        async def counting() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > MAX_BYTES:
                    # Of this type, since the framework takes any other for a body that is no JSON.
                    raise HTTPException(413, _TOO_LARGE.body["error"])
            return message

        await self._app(scope, counting, send)
