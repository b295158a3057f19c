"""Rules for request bodies: at most 4 MiB and declared as JSON before anything is read; then strictly JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
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


class _StrictRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        try:
            return from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error)[:200], "", 0) from None


class StrictRoute(APIRoute):
    """A route that reads JSON as RFC 8259 has it. Python's own parser also takes NaN and half surrogate pairs, which
    could never be sent again, and numbers and nesting without end, which would fail somewhere behind it. A query
    parameter that the call does not have is named like an unknown field, not dropped in silence."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        known = {field.alias for field in self.dependant.query_params}

        async def strictly(request: Request) -> Response:
            unknown = sorted(set(request.query_params) - known)
            if unknown:
                fields = [{"field": name[:100], "problem": "is not a parameter of this call"} for name in unknown[:20]]
                told = "; ".join(f"{field['field']}: {field['problem']}" for field in fields[:5])
                raise Problem(422, "INVALID", f"The request is not valid: {told}", details=fields)
            return await handle(_StrictRequest(request.scope, request.receive))

        return strictly
